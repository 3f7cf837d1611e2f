//! Who is told of what happens: the caller's function, and those who watch by the control socket.

use super::status::Status;
use super::{Hooks, LinkEvent, Notice};
#[cfg(feature = "control")]
use crate::control::Monitors;
use crate::error::Error;
use crate::runtime_dir::RuntimeDir;
use crate::thread::has_given_up;
use crate::told;
#[cfg(feature = "dns-update")]
use crate::{dns_update::Updater, service::status::DnsUpdateStatus, spec::DnsUpdate};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// One for all links of a process; a clone tells the same.
#[derive(Clone)]
pub(crate) struct Observer(Arc<Mutex<Told>>);

struct Told {
    say: Box<dyn FnMut(&Notice) + Send>,
    #[cfg(feature = "control")]
    monitors: Monitors,
    #[cfg(feature = "dns-update")]
    updaters: Vec<Updater>,
    hooks: Option<Arc<dyn Hooks>>,
}

impl Observer {
    pub(crate) fn new(say: impl FnMut(&Notice) + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(Told {
            say: Box::new(say),
            #[cfg(feature = "control")]
            monitors: Monitors::default(),
            #[cfg(feature = "dns-update")]
            updaters: Vec::new(),
            hooks: None,
        })))
    }

    /// Tells what is about one device, or about the whole process.
    pub(crate) fn notice(&self, device: Option<&str>, notice: &Notice) {
        let mut told = self.lock();
        (told.say)(notice);
        #[cfg(feature = "control")]
        match notice {
            Notice::Link { device, event } => told.monitors.tell(Some(device), event),
            Notice::Up { device, address, mtu } => {
                told.monitors.tell(Some(device), &LinkEvent::Up { address: *address, mtu: *mtu });
            }
            Notice::Info(text) | Notice::Rule(text) => {
                told.monitors.tell(device, &LinkEvent::Info { text: text.clone() })
            }
            Notice::Warning(text) => told.monitors.tell(device, &LinkEvent::Warning { text: text.clone() }),
            Notice::Mended(text) => told.monitors.tell(device, &LinkEvent::Mended { text: text.clone() }),
        }
        #[cfg(not(feature = "control"))]
        let _ = device;
    }

    /// Tells what a thread has to tell of one device, or of the whole process. A thread does not keep those whom it
    /// tells: it may outlive the daemon.
    pub(crate) fn teller(&self, device: Option<&str>) -> impl Fn(told::Told) + Send + Sync + 'static {
        let (told, device) = (Arc::downgrade(&self.0), device.map(str::to_owned));
        move |news| {
            if let Some(told) = told.upgrade() {
                Self(told).notice(device.as_deref(), &news.into());
            }
        }
    }

    /// Tells what those who watch have heard already in another way.
    pub(crate) fn log(&self, notice: &Notice) {
        (self.lock().say)(notice);
    }

    /// Tells what happened to a link.
    pub(crate) fn link(&self, device: &str, event: LinkEvent) {
        let is_end = event == LinkEvent::Ended;
        #[cfg(feature = "dns-update")]
        for updater in &mut self.lock().updaters {
            match &event {
                LinkEvent::AddressAdded(own) | LinkEvent::AddressChanged(own) => {
                    // One that is deprecated is not for new connections.
                    updater.follow(device, own.address, own.preferred != Some(0));
                }
                LinkEvent::AddressRemoved(own) => updater.follow(device, own.address, false),
                LinkEvent::Ended => updater.end(device),
                _ => {}
            }
        }
        self.notice(Some(device), &Notice::Link { device: device.to_owned(), event });
        #[cfg(feature = "control")]
        if is_end {
            self.lock().monitors.end(Some(device));
        }
        #[cfg(not(feature = "control"))]
        let _ = is_end;
    }

    /// Where something is kept for the next daemon; a warning where that cannot be.
    pub(crate) fn memory<'d>(&self, runtime: &'d RuntimeDir, what: &str) -> Option<&'d Path> {
        let made = made_state(runtime).inspect_err(|error| {
            let forgotten =
                format!("{error}; should this daemon be killed, the next one does not know {what} that it left");
            self.notice(None, &Notice::Warning(forgotten));
        });
        made.ok()
    }

    /// Works with those who watch.
    #[cfg(feature = "control")]
    pub(crate) fn monitors<R>(&self, work: impl FnOnce(&mut Monitors) -> R) -> R {
        work(&mut self.lock().monitors)
    }

    /// Keeps the addresses of all links in the DNS too: those that they have, and those to come.
    #[cfg(feature = "dns-update")]
    pub(crate) fn update_dns(
        &self,
        specs: &[DnsUpdate],
        runtime: Option<&RuntimeDir>,
        statuses: impl Iterator<Item = Status>,
    ) -> Result<(), Error> {
        let state = runtime.filter(|_| !specs.is_empty());
        let state = state.map(|runtime| made_state(runtime).map_err(|error| error.to_string()));
        let mut updaters = Vec::new();
        for spec in specs {
            updaters.push(Updater::start(spec, state.clone(), self.teller(None))?);
        }
        for status in statuses {
            for updater in &mut updaters {
                for own in &status.addresses {
                    updater.follow(&status.dev, own.address, own.preferred != Some(0));
                }
            }
        }
        self.lock().updaters = updaters;
        Ok(())
    }

    /// Removes what is in the DNS, which takes 4 seconds at most.
    #[cfg(feature = "dns-update")]
    pub(crate) fn end_dns_updates(&self) {
        // They tell how it went, and so are dropped outside of the lock.
        let mut ended = std::mem::take(&mut self.lock().updaters);
        // All at once: their servers may be silent for as long as each may take.
        ended.iter_mut().for_each(Updater::close);
        drop(ended);
    }

    /// Tells how these hooks go from now on.
    pub(crate) fn set_hooks(&self, hooks: Arc<dyn Hooks>) {
        self.lock().hooks = Some(hooks);
    }

    /// Those that were set.
    pub(crate) fn hooks(&self) -> Option<Arc<dyn Hooks>> {
        self.lock().hooks.clone()
    }

    /// Adds what all links of a process have together.
    pub(super) fn describe(&self, status: &mut Status) {
        #[cfg(feature = "dns-update")]
        {
            status.dns_updates = self.dns_updates();
        }
        status.hooks = self.hooks().map(|hooks| hooks.status());
    }

    /// How the updates of names went.
    #[cfg(feature = "dns-update")]
    fn dns_updates(&self) -> Vec<DnsUpdateStatus> {
        let of = |updater: &Updater| {
            let state = updater.state();
            DnsUpdateStatus {
                name: updater.name().to_owned(),
                server: state.server.map(|server| server.to_string()),
                addresses: state.addresses,
                updated: state.updated.map(|at| at.elapsed().as_secs()),
                fix: state.failure.as_ref().map(|failure| failure.fix.clone()),
                failure: state.failure.map(|failure| failure.cause),
                forgotten: state.forgotten,
            }
        };
        self.lock().updaters.iter().map(of).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the next daemon finds what this one leaves.
fn made_state(runtime: &RuntimeDir) -> Result<&Path, Error> {
    runtime.make_state().map(|()| runtime.state()).map_err(|error| {
        // As a reload does that is the first to remember anything.
        if has_given_up() { error.with_advice("start isatap again: it has given up the right to") } else { error }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_thread_keeps_nobody_whom_it_tells() {
        let (said, heard) = channel();
        let observer = Observer::new(move |notice| said.send(notice.to_string()).unwrap());
        let tell = observer.teller(None);
        tell(told::Told::Done("it works".to_owned()));
        assert_eq!(heard.recv().as_deref(), Ok("it works"));
        drop(observer);
        tell(told::Told::Done("nobody listens".to_owned()));
        assert!(heard.recv().is_err(), "the observer is gone");
    }
}
