//! A service as the loop of a process has it: what is ready, what is due, who asks.

use super::role::{Common, Role, SolicitedBy};
#[cfg(feature = "control")]
use super::{FIRST_CLIENT, LISTENER, evidence};
use super::{FIRST_OF_ROLE, FULL_TABLE, MONITOR, Notice, Service, repair, status};
#[cfg(feature = "control")]
use crate::control;
use crate::driver::{Shortcut, Source, Token, is_deleted};
use crate::error::Error;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
#[cfg(feature = "control")]
use std::os::fd::AsFd as _;

/// A running service, for a loop that runs several.
pub(crate) trait Member: Send {
    /// Something of it is readable.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected.
    fn ready(&mut self, source: Source) -> Result<(), Error>;

    /// Does what is due, carries out what the machine tells, and sends.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    fn advance(&mut self) -> Result<(), Error>;

    /// The links whose devices another program has deleted since the last call. They do nothing
    /// any more, and are the caller's to end.
    fn take_deleted(&mut self) -> Vec<LinkId>;

    /// When to [`advance`](Self::advance) although nothing is ready.
    fn deadline(&self) -> Option<Instant>;

    /// Of that, what packets may have changed.
    fn packet_deadline(&self) -> Option<Instant> {
        self.deadline()
    }

    /// Asks now whom its links would ask in time, where there is anybody.
    fn solicit(&mut self);

    fn statuses(&self) -> Vec<status::Status>;

    /// Has packets of known flows carried so from now on, or says why they are not.
    ///
    /// # Errors
    ///
    /// It cannot carry those of a device that there is.
    fn shorten(&mut self, _shorter: Result<Box<dyn Shortcut>, String>) -> Result<(), Error> {
        Ok(())
    }
}

impl<R: Role> Member for Service<R> {
    fn ready(&mut self, source: Source) -> Result<(), Error> {
        let ready = match (self.driver.ready(source), source) {
            (Err(error), Source::Device(link)) if is_deleted(error.raw_os_error()) => {
                self.deleted.push(link);
                return Ok(());
            }
            (ready, _) => ready?,
        };
        let Some(Token(number)) = ready else { return Ok(()) };
        #[cfg(feature = "control")]
        if let Some(client) = number.checked_sub(FIRST_CLIENT) {
            self.answer(client);
            return Ok(());
        }
        let [.., link, what] = number.to_be_bytes();
        let (id, what) = (LinkId(link), u32::from(what));
        let Some(at) = self.at(id) else { return R::Common::ready(self, id, what) };
        match what {
            MONITOR => self.changed(at),
            FULL_TABLE => self.with(at, |role, env| role.mirror(env)),
            #[cfg(feature = "control")]
            LISTENER => {
                self.accept(at);
                Ok(())
            }
            what => {
                let of_role = usize::try_from(what - FIRST_OF_ROLE).unwrap_or_default();
                self.with(at, |role, env| role.ready(env, of_role))
            }
        }
    }

    fn advance(&mut self) -> Result<(), Error> {
        self.driver.advance();
        if let Some(error) = self.driver.take_capture_error() {
            self.notice(&Notice::Warning(error.to_string()));
        }
        if let Some(error) = self.driver.take_shortcut_error() {
            self.notice(&Notice::Warning(format!("{error}; its packets are carried by the daemon")));
        }
        match self.driver.take_listening() {
            Some(Err(error)) => self.notice(&Notice::Warning(format!("{error}; it is tried again"))),
            Some(Ok(())) => self.notice(&Notice::Mended("packets of all bound devices are taken again".to_owned())),
            None => {}
        }
        let now = self.driver.now();
        for at in 0..self.links.len() {
            if self.links.get(at).and_then(|link| link.role.deadline()).is_some_and(|due| due <= now) {
                self.with(at, |role, env| role.handle_timeout(env))?;
            }
            if let Some(link) = self.links.get_mut(at) {
                let repaired = repair(&mut link.attachment, &self.netlink, now);
                let device = Some(link.attachment.name());
                repaired.into_iter().for_each(|notice| self.observer.notice(device, &notice));
            }
        }
        #[cfg(feature = "control")]
        if self.server.expire(now) {
            (0..self.links.len()).for_each(|at| self.accept(at));
        }
        R::Common::handle_timeout(self, now)?;
        self.settle()?;
        self.driver.transmit();
        Ok(())
    }

    fn take_deleted(&mut self) -> Vec<LinkId> {
        let mut deleted = std::mem::take(&mut self.deleted);
        deleted.sort_unstable();
        deleted.dedup();
        deleted
    }

    fn deadline(&self) -> Option<Instant> {
        let of_links = self.links.iter().flat_map(|link| [link.role.deadline(), link.attachment.deadline()]);
        let all = of_links.chain([self.driver.deadline(), self.common.deadline()]);
        #[cfg(feature = "control")]
        let all = all.chain([self.server.deadline()]);
        all.flatten().min()
    }

    fn packet_deadline(&self) -> Option<Instant> {
        self.driver.deadline()
    }

    fn solicit(&mut self) {
        for at in 0..self.links.len() {
            let Ok(asked) = self.solicit_one(at, SolicitedBy::Signal) else { continue };
            let device = self.links.get(at).map(|link| link.attachment.name().to_owned()).unwrap_or_default();
            let asked: Vec<String> = asked.iter().map(ToString::to_string).collect();
            let asked = if asked.is_empty() { "by name or URL".to_owned() } else { asked.join(", ") };
            self.observer.notice(Some(&device), &Notice::Info(format!("{device} asks now: {asked}")));
        }
    }

    fn statuses(&self) -> Vec<status::Status> {
        (0..self.links.len()).filter_map(|at| self.status(at)).collect()
    }

    fn shorten(&mut self, shorter: Result<Box<dyn Shortcut>, String>) -> Result<(), Error> {
        match shorter {
            Ok(way) => self.driver.shorten(way),
            Err(why_not) => {
                self.driver.do_not_shorten(why_not);
                Ok(())
            }
        }
    }
}

#[cfg(feature = "control")]
impl<R: Role> Service<R> {
    fn accept(&mut self, at: usize) {
        let Some(link) = self.links.get(at) else { return };
        let Some(listener) = &link.listener else { return };
        let id = link.attachment.link();
        loop {
            match self.server.accept(self.driver.now(), listener, id) {
                Ok(Some((client, fd))) => {
                    // Not watched is not answered: the client runs into its own time limit.
                    let _ = self.driver.watcher().watch(fd, Source::Owner(Token(FIRST_CLIENT + client)));
                }
                Ok(None) => return,
                Err(error) => return self.notice(&Notice::Warning(error.to_string())),
            }
        }
    }

    fn answer(&mut self, client: u32) {
        let Some((id, request)) = self.server.read(client) else { return };
        if let (Some(at), Ok(control::Request::Monitor)) = (self.at(id), &request) {
            return self.subscribe(client, at);
        }
        let answer = match (self.at(id), request) {
            (None, _) => serde_json::json!({ "error": "there is no such link any more" }),
            (Some(at), Ok(control::Request::Status)) => serde_json::to_value(self.status(at)).unwrap_or_default(),
            (Some(at), Ok(control::Request::Evidence)) => serde_json::to_value(self.evidence(at)).unwrap_or_default(),
            (Some(at), Ok(control::Request::Solicit)) => control::solicited(self.solicit_one(at, SolicitedBy::Person)),
            (Some(at), Ok(control::Request::Examine)) => control::solicited(self.solicit_one(at, SolicitedBy::Doctor)),
            (Some(_), Ok(control::Request::Monitor)) => serde_json::Value::Null,
            (_, Err(why)) => serde_json::json!({ "error": why }),
        };
        self.server.answer(client, &answer);
    }

    /// From now on a client hears what happens to a link, and first of all how it is.
    fn subscribe(&mut self, client: u32, at: usize) {
        let Some(stream) = self.server.take(client) else { return };
        self.driver.watcher().unwatch(stream.as_fd());
        if let Some(status) = self.status(at) {
            let first = serde_json::json!({ "event": "status", "status": status });
            self.observer.monitors(|monitors| monitors.subscribe(Some(&status.dev), stream, &first));
        }
    }

    /// What one link tells the doctor.
    fn evidence(&self, at: usize) -> Option<evidence::Evidence> {
        let link = self.links.get(at)?;
        let mut evidence = evidence::Evidence::of_driver(
            self.status(at)?,
            link.attachment.link(),
            self.driver.now(),
            self.driver.heard(),
        );
        evidence.wanted_locators = link.role.locators().fixed().to_vec();
        link.role.testify(&self.view(link), &mut evidence);
        Some(evidence)
    }
}
