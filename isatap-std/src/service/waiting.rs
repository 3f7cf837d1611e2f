//! A link that has no device: it waits for something, and can be asked meanwhile.

use super::status::Status;
#[cfg(feature = "control")]
use super::{FIRST_CLIENT, LISTENER, evidence::Evidence};
use super::{MONITOR, Member, Observer};
#[cfg(feature = "control")]
use crate::control::{self, Listener, Server};
use crate::driver::{Source, Token, Watcher};
use crate::error::Error;
use crate::netlink::{Event, Monitor};
#[cfg(feature = "control")]
use crate::runtime_dir::Claim;
use crate::runtime_dir::RuntimeDir;
use crate::spec::LinkSpec;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::os::fd::AsFd as _;

/// The only link of such a member.
#[cfg(feature = "control")]
const LINK: LinkId = LinkId(0);

/// What may end the waiting.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum News {
    #[default]
    None,
    /// A device has come, changed or gone: it may bring the address that is waited for.
    Device,
    /// An IPv4 address has come.
    Address,
}

/// See the module. It ends, and leaves the device's name, before the link is tried again.
pub(crate) struct Waiting {
    status: Status,
    monitor: Monitor,
    news: News,
    #[cfg(feature = "control")]
    watcher: Watcher,
    observer: Observer,
    #[cfg(feature = "control")]
    asked: Option<Asked>,
}

/// Where it is asked.
#[cfg(feature = "control")]
struct Asked {
    server: Server,
    listener: Listener,
    // Dropped after the socket.
    _claim: Claim,
}

impl Waiting {
    /// `what`: for what, for people. Where another daemon has the name of the device, that one is
    /// asked.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub(crate) fn open(
        link: &LinkSpec,
        what: String,
        runtime: Option<&RuntimeDir>,
        watcher: Watcher,
        observer: Observer,
    ) -> Result<Self, Error> {
        let status = Status { waiting: Some(what), ..Status::without_device(link.device(), link.role()) };
        // No device has the index 0: only IPv4 addresses and links matter.
        let monitor = Monitor::open(0)?;
        watcher.watch(monitor.as_fd(), Source::Owner(Token(MONITOR)))?;
        #[cfg(feature = "control")]
        let asked = runtime.and_then(|runtime| Asked::open(link.device(), runtime, &watcher).ok());
        #[cfg(not(feature = "control"))]
        let _ = runtime;
        Ok(Self {
            status,
            monitor,
            news: News::None,
            #[cfg(feature = "control")]
            watcher,
            observer,
            #[cfg(feature = "control")]
            asked,
        })
    }

    /// What it says of itself now.
    fn status(&self) -> Status {
        let mut status = self.status.clone();
        self.observer.describe(&mut status);
        status
    }

    /// What has come since the last call.
    pub(crate) fn take_news(&mut self) -> News {
        std::mem::take(&mut self.news)
    }
}

#[cfg(feature = "control")]
impl Asked {
    fn open(device: &str, runtime: &RuntimeDir, watcher: &Watcher) -> Result<Self, Error> {
        let claim = runtime.claim(device)?;
        let listener = Listener::open(&claim)?;
        watcher.watch_edge(listener.as_fd(), Source::Owner(Token(LISTENER)))?;
        Ok(Self { server: Server::default(), listener, _claim: claim })
    }

    fn accept(&mut self, now: Instant, watcher: &Watcher) {
        while let Ok(Some((client, fd))) = self.server.accept(now, &self.listener, LINK) {
            // Not watched is not answered: the client runs into its own time limit.
            let _ = watcher.watch(fd, Source::Owner(Token(FIRST_CLIENT + client)));
        }
    }
}

impl Member for Waiting {
    fn ready(&mut self, source: Source) -> Result<(), Error> {
        let Source::Owner(Token(number)) = source else { return Ok(()) };
        if number == MONITOR {
            while let Some(event) = self.monitor.next_event()? {
                self.news = self.news.max(match event {
                    Event::Ipv4AddressAdded(_) | Event::Resync => News::Address,
                    Event::LinkChanged(_) | Event::LinkRemoved { .. } => News::Device,
                    _ => News::None,
                });
            }
        }
        #[cfg(feature = "control")]
        let status = self.status();
        #[cfg(feature = "control")]
        if let Some(asked) = &mut self.asked {
            if number == LISTENER {
                asked.accept(self.watcher.clock().now(), &self.watcher);
            }
            let request =
                number.checked_sub(FIRST_CLIENT).and_then(|client| Some((client, asked.server.read(client)?)));
            if let Some((client, (_, Ok(control::Request::Monitor)))) = request {
                if let Some(stream) = asked.server.take(client) {
                    self.watcher.unwatch(stream.as_fd());
                    let first = serde_json::json!({ "event": "status", "status": status });
                    self.observer.monitors(|monitors| monitors.subscribe(Some(&status.dev), stream, &first));
                }
            } else if let Some((client, (_, request))) = request {
                let answer = match request {
                    Ok(control::Request::Status) => serde_json::to_value(&status).unwrap_or_default(),
                    Ok(control::Request::Evidence) => {
                        serde_json::to_value(Evidence::of_status(status)).unwrap_or_default()
                    }
                    Ok(control::Request::Solicit | control::Request::Examine) => {
                        let what = status.waiting.as_deref().unwrap_or_default();
                        serde_json::json!({ "error": format!("it waits for {what}") })
                    }
                    Ok(control::Request::Monitor) => serde_json::Value::Null,
                    Err(why) => serde_json::json!({ "error": why }),
                };
                asked.server.answer(client, &answer);
            }
        }
        Ok(())
    }

    fn advance(&mut self) -> Result<(), Error> {
        #[cfg(feature = "control")]
        if let Some(asked) = &mut self.asked {
            let now = self.watcher.clock().now();
            if asked.server.expire(now) {
                asked.accept(now, &self.watcher);
            }
        }
        Ok(())
    }

    fn take_deleted(&mut self) -> Vec<LinkId> {
        Vec::new()
    }

    fn deadline(&self) -> Option<Instant> {
        #[cfg(feature = "control")]
        return self.asked.as_ref()?.server.deadline();
        #[cfg(not(feature = "control"))]
        None
    }

    /// Whoever runs it tries it soon.
    fn solicit(&mut self) {}

    fn statuses(&self) -> Vec<Status> {
        vec![self.status()]
    }
}
