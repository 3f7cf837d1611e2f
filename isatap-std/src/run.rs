//! Links in one process and one loop: those that speak protocol 41 with one set of raw sockets,
//! and each Teredo client, server and relay with UDP sockets of its own.
//!
//! ```no_run
//! use isatap_std::run::Run;
//! use isatap_std::signal::Signals;
//! use isatap_std::spec::IsatapHost;
//!
//! let mut host = IsatapHost::new();
//! host.local = vec!["10.0.0.2".parse()?];
//! host.router = vec!["isatap.corp.example".parse()?];
//! let mut run = Run::open(&[host.into()], |notice| eprintln!("{notice}"))?;
//! run.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it is gone when the value is dropped: devices, addresses, routes. Needs CAP_NET_ADMIN
//! and, for protocol 41, CAP_NET_RAW. [`Run::turn`] and its [`AsFd`] serve loops of others.
//!
//! # What it does not do
//!
//! - It applies no DNS configuration; what routers advertise is in [`Run::statuses`].
//! - It switches the kernel's forwarding neither on nor off: a router says in a [`Notice`] that it
//!   is off, and is no default router meanwhile. A host forwards for nobody, whatever the kernel
//!   does: what is for none of this machine's addresses is dropped, and the device's own
//!   `forwarding` is 0 (RTE-7).
//! - Routes of other programs on a device are followed in the main table only.
//!
//! # Security limits
//!
//! - ISATAP: whoever can send protocol 41 to this machine from inside the site can pretend to be
//!   any host of it, and a potential router is believed in everything. Filter protocol 41 at the
//!   border. A router ends the loops that forged packets can make between it and other tunnel
//!   routers by asking its hosts whether they are there (SEC-1), as long as it is let do so.
//! - A configured tunnel: whoever can forge the remote's IPv4 address can send into it.
//! - 6rd: customers cannot speak for each other, as long as nobody in the provider's IPv4 network
//!   forges IPv4 addresses and a border relay's cannot be reached from outside of it. What a border
//!   relay brings from the native Internet has no source that can be verified. The kernel forwards
//!   between tunnels too: a border relay that is also another tunnel's end needs a filter between
//!   the two (S6R-34).
//! - 6to4: a packet with a native source may come from any relay, and nothing vouches for it
//!   (S64-24); name those to believe. A relay without a list of clients works for everybody
//!   (S64-46). There is no crossing of a NAT, not even of one with public-looking addresses.

use crate::driver::{Poller, Source, Token};
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::runtime_dir::RuntimeDir;
use crate::service::status::Status;
use crate::service::{self, LAST_WORDS, Member, Notice, Observer, Proto41, Service, Surroundings};
use crate::signal::{Request, Signals};
use crate::spec::{Link, Native, conflicts};
use crate::teredo::secrets::Secrets;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Running links; gone, devices and all, when dropped.
pub struct Run {
    poller: Poller,
    links: Vec<Running>,
    /// All links that speak protocol 41; `None`: there are none.
    proto41: Option<Box<Service<Proto41>>>,
    natives: Vec<Native>,
    runtime: Option<RuntimeDir>,
    observer: Arc<SharedObserver>,
}

type SharedObserver = Mutex<dyn FnMut(&Notice) + Send>;

/// A link, and what it was made of.
struct Running {
    link: Link,
    secrets: Secrets,
    place: Place,
}

/// Whose a link is.
enum Place {
    /// A number of the service of protocol 41.
    Proto41(LinkId),
    /// A service of its own, and its number at the poller.
    Alone(u16, Box<dyn Member>),
}

// Numbers at the poller.
const PROTO41: u16 = 0;
const SIGNALS: u16 = u16::MAX - 1;

impl Run {
    /// Makes the devices and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with).
    pub fn open(links: &[Link], observer: impl FnMut(&Notice) + Send + 'static) -> Result<Self, Error> {
        Self::open_with(links, &[], None, observer)
    }

    /// The same beside native devices. With a folder, this process can be asked about each
    /// device.
    ///
    /// # Errors
    ///
    /// A usage error for what makes no sense on this machine, a native device that is not there,
    /// or a file of secrets that cannot be used; the kernel's refusal, mostly for lack of
    /// privilege.
    pub fn open_with(
        links: &[Link],
        natives: &[Native],
        runtime: Option<&RuntimeDir>,
        observer: impl FnMut(&Notice) + Send + 'static,
    ) -> Result<Self, Error> {
        let mut run = Self {
            poller: Poller::open()?,
            links: Vec::new(),
            proto41: None,
            natives: Vec::new(),
            runtime: runtime.cloned(),
            observer: Arc::new(Mutex::new(observer)),
        };
        run.apply(links, natives, None)?;
        Ok(run)
    }

    /// Becomes what is said now. A link of which the same is said as before goes on undisturbed:
    /// its device, its counters, the routes of other programs. Hosts of LANs are told of what
    /// ends, as by [`finish`](Self::finish); what a signal asks for meanwhile is still to be taken
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As [`open_with`](Self::open_with). A link that can be on no machine, or a file of secrets
    /// that cannot be used, changes nothing. Else what was to end has ended then, and what begins
    /// before the one that failed has begun: call it again with what works.
    pub fn reload(&mut self, links: &[Link], natives: &[Native], signals: &mut Signals) -> Result<(), Error> {
        self.apply(links, natives, Some(signals))
    }

    fn apply(&mut self, links: &[Link], natives: &[Native], signals: Option<&mut Signals>) -> Result<(), Error> {
        links.iter().try_for_each(Link::check_first)?;
        if let Some(conflict) = conflicts(links, natives).into_iter().next() {
            let device = links.get(conflict.link).map(Link::device);
            return Err(Error::usage("run", device.unwrap_or("a native device"), conflict.text));
        }
        let wanted: Vec<(Link, Secrets)> = links
            .iter()
            .map(|link| service::secrets_of(link).map(|secrets| (link.clone(), secrets)))
            .collect::<Result<_, _>>()?;
        // The old devices go first: the new ones may have their names.
        self.end_others(&wanted, signals)?;
        if natives != self.natives {
            self.check_natives(natives)?;
            self.natives = natives.to_vec();
        }
        let begun = self.begin_others(&wanted);
        let published: Vec<Ipv6Prefix> =
            self.links.iter().flat_map(|running| running.link.published_routes()).copied().collect();
        let ready = self.proto41.as_mut().map_or(Ok(()), |proto41| proto41.ready_all(&published));
        begun.and(ready)
    }

    /// Ends what is not wanted as it is.
    fn end_others(&mut self, wanted: &[(Link, Secrets)], signals: Option<&mut Signals>) -> Result<(), Error> {
        let is_wanted = |running: &Running| {
            wanted.iter().any(|(link, secrets)| *link == running.link && *secrets == running.secrets)
        };
        let others = self.links.iter().filter(|running| !is_wanted(running));
        let gone: Vec<LinkId> = others.filter_map(|running| running.place.proto41()).collect();
        if let (Some(proto41), Some(signals)) = (&mut self.proto41, signals) {
            let last_words = proto41.leave_lans(&gone);
            self.wait_for(&last_words, signals)?;
        }
        if let Some(proto41) = &mut self.proto41 {
            gone.iter().try_for_each(|id| proto41.remove_link(*id))?;
        }
        self.links.retain(is_wanted);
        if !wanted.iter().any(|(link, _)| !link.is_teredo()) {
            self.proto41 = None;
        }
        Ok(())
    }

    /// Begins what is wanted and does not run; Teredo last, since a client looks for what else
    /// there is.
    fn begin_others(&mut self, wanted: &[(Link, Secrets)]) -> Result<(), Error> {
        let runs = |run: &Self, link: &Link| run.links.iter().any(|running| running.link == *link);
        let pcap = wanted.iter().find_map(|(link, _)| link.pcap().filter(|_| !link.is_teredo()));
        for (link, secrets) in wanted.iter().filter(|(link, _)| !link.is_teredo()) {
            if runs(self, link) {
                continue;
            }
            let proto41 = match &mut self.proto41 {
                Some(proto41) => proto41,
                None => {
                    let opened = Service::open(self.poller.watcher(PROTO41), self.observer())?;
                    self.proto41.insert(Box::new(opened))
                }
            };
            proto41.record(pcap)?;
            let id = proto41.add_link(link, self.runtime.as_ref())?;
            self.links.push(Running { link: link.clone(), secrets: secrets.clone(), place: Place::Proto41(id) });
        }
        for (link, secrets) in wanted.iter().filter(|(link, _)| link.is_teredo()) {
            if runs(self, link) {
                continue;
            }
            let taken = |number: &u16| self.member(*number).is_some();
            let number = (PROTO41 + 1..SIGNALS).find(|number| !taken(number)).unwrap_or(SIGNALS);
            let around = Surroundings {
                runtime: self.runtime.as_ref(),
                secrets: secrets.clone(),
                observer: self.observer(),
                own: &self.members().flat_map(|(_, member)| member.devices()).collect::<Vec<u32>>(),
                watcher: self.poller.watcher(number),
            };
            let Some(member) = service::open_teredo(link, around)? else { continue };
            let place = Place::Alone(number, member);
            self.links.push(Running { link: link.clone(), secrets: secrets.clone(), place });
        }
        Ok(())
    }

    /// Asks all routers, relays and servers now, whatever the timers say.
    pub fn solicit(&mut self) {
        self.members_mut().for_each(|(_, member)| member.solicit());
    }

    /// Whether no link runs: after a [`reload`](Self::reload) that failed, say.
    pub fn is_idle(&self) -> bool {
        self.links.is_empty()
    }

    /// What each link knows and has counted; Teredo last.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.members().flat_map(|(_, member)| member.statuses())
    }

    /// Tells the hosts of LANs that their prefixes and their router go, which takes 4 seconds
    /// at most; a second signal ends it. Without LANs it does nothing. What a signal asked for is
    /// still to be taken afterwards.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        let last_words = self.proto41.as_mut().map(|proto41| proto41.leave_all_lans()).unwrap_or_default();
        self.wait_for(&last_words, signals)
    }

    /// Goes on until LANs have spoken. What was asked for meanwhile is put back, for the caller
    /// to take: this may be the end before a new beginning.
    fn wait_for(&mut self, last_words: &[(LinkId, u64)], signals: &mut Signals) -> Result<(), Error> {
        let has_spoken = |run: &Self| run.proto41.as_ref().is_none_or(|proto41| proto41.has_spoken(last_words));
        if has_spoken(self) {
            return Ok(());
        }
        let end = self.poller.clock().now().saturating_add(LAST_WORDS);
        let mut asked = Vec::new();
        let outcome = self.beside(signals, |run, signals| {
            while !has_spoken(run) && !asked.contains(&Request::Stop) {
                let left = run.poller.clock().until(end);
                if left.is_zero() {
                    break;
                }
                if run.round(Some(left))? {
                    asked.extend(signals.take());
                }
            }
            Ok(())
        });
        asked.into_iter().for_each(|request| signals.put_back(request));
        outcome
    }

    /// Waits at most `timeout` for something to do, and does it: a batch of packets, what is due,
    /// what the system has changed. `Some(Duration::ZERO)` does not wait.
    ///
    /// # Errors
    ///
    /// Somebody deleted a device. What single packets meet is counted instead.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.round(timeout).map(drop)
    }

    /// Turns until a signal asks to stop; SIGHUP asks routers, relays and servers. Hosts of LANs
    /// are told of the end, as by [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn run_until(&mut self, signals: &mut Signals) -> Result<(), Error> {
        while self.run_until_asked(signals)? != Request::Stop {
            self.solicit();
        }
        self.finish(signals)
    }

    /// Turns until a signal asks for something.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn run_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        self.beside(signals, |run, signals| {
            loop {
                if run.round(None)?
                    && let Some(request) = signals.take()
                {
                    return Ok(request);
                }
            }
        })
    }

    /// Watches signals meanwhile.
    fn beside<T>(
        &mut self,
        signals: &mut Signals,
        work: impl FnOnce(&mut Self, &mut Signals) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let watcher = self.poller.watcher(SIGNALS);
        watcher.watch(signals.as_fd(), Source::Owner(Token(0)))?;
        let outcome = work(self, signals);
        watcher.unwatch(signals.as_fd());
        outcome
    }

    /// A round of the loop; whether a signal has come.
    fn round(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let mut has_signal = false;
        let mut busy = Vec::new();
        let deadline = self.deadline();
        for (number, source) in self.poller.wait(timeout, deadline)? {
            has_signal |= number == SIGNALS;
            if let Some(member) = self.member_mut(number) {
                member.ready(source)?;
                busy.push(number);
            }
        }
        let now = self.poller.clock().now();
        self.members_mut()
            .filter(|(number, member)| busy.contains(number) || member.deadline().is_some_and(|due| due <= now))
            .try_for_each(|(_, member)| member.advance())?;
        // For who waits on our descriptor instead.
        self.poller.arm(self.deadline())?;
        Ok(has_signal)
    }

    fn deadline(&self) -> Option<isatap_core::time::Instant> {
        self.members().filter_map(|(_, member)| member.deadline()).min()
    }

    fn members(&self) -> impl Iterator<Item = (u16, &dyn Member)> {
        let proto41 = self.proto41.iter().map(|proto41| (PROTO41, &**proto41 as &dyn Member));
        proto41.chain(self.links.iter().filter_map(|running| match &running.place {
            Place::Alone(number, member) => Some((*number, &**member)),
            Place::Proto41(_) => None,
        }))
    }

    fn members_mut(&mut self) -> impl Iterator<Item = (u16, &mut (dyn Member + 'static))> {
        let proto41 = self.proto41.iter_mut().map(|proto41| (PROTO41, &mut **proto41 as &mut (dyn Member + 'static)));
        proto41.chain(self.links.iter_mut().filter_map(|running| match &mut running.place {
            Place::Alone(number, member) => Some((*number, &mut **member)),
            Place::Proto41(_) => None,
        }))
    }

    fn member(&self, number: u16) -> Option<&dyn Member> {
        self.members().find(|(own, _)| *own == number).map(|(_, member)| member)
    }

    fn member_mut(&mut self, number: u16) -> Option<&mut (dyn Member + 'static)> {
        self.members_mut().find(|(own, _)| *own == number).map(|(_, member)| member)
    }

    fn check_natives(&self, natives: &[Native]) -> Result<(), Error> {
        for native in natives {
            Netlink::open()?.link(&native.dev)?;
        }
        if let Some(native) = natives.iter().find(|native| native.forwarding && !sysctl::forwards(&native.dev)) {
            (self.observer())(&Notice::Warning(format!(
                "{} is to forward, and the kernel does not forward IPv6: sysctl -w net.ipv6.conf.all.forwarding=1",
                native.dev
            )));
        }
        Ok(())
    }

    /// One observer for all.
    fn observer(&self) -> Observer {
        let observer = self.observer.clone();
        Box::new(move |notice| observer.lock().unwrap_or_else(PoisonError::into_inner)(notice))
    }
}

impl Place {
    fn proto41(&self) -> Option<LinkId> {
        match self {
            Place::Proto41(id) => Some(*id),
            Place::Alone(..) => None,
        }
    }
}

impl AsFd for Run {
    /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
