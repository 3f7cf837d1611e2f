//! Links in one process: those that speak protocol 41 with one set of raw sockets, and each
//! Teredo client, server and relay with UDP sockets of its own.
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

use crate::driver::Tap;
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::node::status::Status;
use crate::node::{Node, Notice, Observer};
use crate::proto41_socket;
use crate::runtime_dir::RuntimeDir;
use crate::signal::{Request, Signals};
use crate::spec::{Link, Native, conflicts};
use crate::teredo::secrets::Secrets;
use crate::teredo::{self, Member};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Running links; gone, devices and all, when dropped.
pub struct Run {
    protocol41: Option<Protocol41>,
    teredo: Vec<Teredo>,
    runtime: Option<RuntimeDir>,
    observer: Arc<Shared>,
    epoll: Epoll,
    /// The next number for a descriptor; 0 is that of the signals.
    next: u64,
}

type Shared = Mutex<dyn FnMut(&Notice) + Send>;

/// The links that speak protocol 41, and what they were made of.
struct Protocol41 {
    node: Box<Node>,
    links: Vec<Link>,
    natives: Vec<Native>,
    number: u64,
}

/// A Teredo client, server or relay, and what it was made of.
struct Teredo {
    member: Box<dyn Member>,
    link: Link,
    secrets: Secrets,
    number: u64,
}

const SIGNALS: u64 = 0;

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
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| Error::refused("open", "an epoll instance", errno.into()))?;
        let mut run = Self {
            protocol41: None,
            teredo: Vec::new(),
            runtime: runtime.cloned(),
            observer: Arc::new(Mutex::new(observer)),
            epoll,
            next: SIGNALS + 1,
        };
        run.apply(links, natives, None)?;
        Ok(run)
    }

    /// Becomes what is said now. What is said as before goes on undisturbed: the links
    /// that speak protocol 41 together, Teredo each for itself. Hosts of LANs are told of what
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
        let (of_teredo, of_protocol41): (Vec<Link>, Vec<Link>) = links.iter().cloned().partition(Link::is_teredo);
        let wanted: Vec<(Link, Secrets)> = of_teredo
            .into_iter()
            .map(|link| teredo::secrets_of(&link).map(|secrets| (link, secrets)))
            .collect::<Result<_, _>>()?;
        let is_wanted = |running: &Teredo| {
            wanted.iter().any(|(link, secrets)| *link == running.link && *secrets == running.secrets)
        };
        // The old devices go first: the new ones may have their names.
        self.teredo.retain(is_wanted);
        // A table that was moved is the same link: devices differ, so that one order is enough.
        let in_order = |links: &[Link]| {
            let mut links: Vec<Link> = links.to_vec();
            links.sort_by(|one, other| one.device().cmp(other.device()));
            links
        };
        let is_same = |node: &Protocol41| in_order(&node.links) == in_order(&of_protocol41) && node.natives == natives;
        let mut recording = None;
        if !self.protocol41.as_ref().is_some_and(is_same) {
            if let (Some(protocol41), Some(signals)) = (&mut self.protocol41, signals) {
                protocol41.node.finish(signals)?;
            }
            // Into the same file it goes on: this process may not be able to open it any more.
            recording = self.protocol41.take().and_then(|mut old| old.node.driver_mut().take_recording());
            self.check_natives(natives)?;
        }
        if self.protocol41.is_none() && !of_protocol41.is_empty() {
            let node = self.open_node(&of_protocol41, recording)?;
            let number = self.watch(node.as_fd())?;
            self.protocol41 = Some(Protocol41 { node, links: of_protocol41, natives: natives.to_vec(), number });
        }
        for (link, secrets) in wanted {
            if self.teredo.iter().any(|running| running.link == link) {
                continue;
            }
            let around = teredo::Surroundings {
                runtime: self.runtime.as_ref(),
                secrets: secrets.clone(),
                observer: self.observer(),
                own: &self.devices(),
            };
            let Some(member) = teredo::open(&link, around)? else { continue };
            let number = self.watch(member.as_fd())?;
            self.teredo.push(Teredo { member, link, secrets, number });
        }
        Ok(())
    }

    /// Asks all routers, relays and servers now, whatever the timers say.
    pub fn solicit(&mut self) {
        if let Some(protocol41) = &mut self.protocol41 {
            protocol41.node.solicit_all();
        }
        for running in &mut self.teredo {
            running.member.solicit();
        }
    }

    /// Whether no link runs: after a [`reload`](Self::reload) that failed, say.
    pub fn is_idle(&self) -> bool {
        self.protocol41.is_none() && self.teredo.is_empty()
    }

    /// What each link knows and has counted; Teredo last.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        let node = self.protocol41.iter().flat_map(|protocol41| protocol41.node.statuses());
        node.chain(self.teredo.iter().map(|running| running.member.status()))
    }

    /// Tells the hosts of LANs that their prefixes and their router go, which takes 4 seconds
    /// at most; a second signal ends it. Without LANs it does nothing. Teredo rests meanwhile.
    /// What a signal asked for is still to be taken afterwards.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        self.protocol41.as_mut().map_or(Ok(()), |protocol41| protocol41.node.finish(signals))
    }

    /// Waits at most `timeout` for something to do, and does it: a batch of packets, what is due,
    /// what the system has changed. `Some(Duration::ZERO)` does not wait.
    ///
    /// # Errors
    ///
    /// Somebody deleted a device. What single packets meet is counted instead.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        if let (Some(protocol41), []) = (&mut self.protocol41, self.teredo.as_slice()) {
            return protocol41.node.turn(timeout).map(drop);
        }
        self.arm()?;
        self.wait(timeout)?.into_iter().try_for_each(|number| self.turn_one(number))
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
        // Without Teredo there is one loop already.
        if let (Some(protocol41), []) = (&mut self.protocol41, self.teredo.as_slice()) {
            return protocol41.node.run_until_asked(signals);
        }
        self.arm()?;
        add(&self.epoll, signals.as_fd(), SIGNALS)?;
        let result = self.turn_until_asked(signals);
        let _ = self.epoll.delete(signals.as_fd());
        result
    }

    fn turn_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        loop {
            for number in self.wait(None)? {
                if number != SIGNALS {
                    self.turn_one(number)?;
                } else if let Some(request) = signals.take() {
                    return Ok(request);
                }
            }
        }
    }

    /// Each arms its timer by that.
    fn arm(&mut self) -> Result<(), Error> {
        (SIGNALS + 1..self.next).try_for_each(|number| self.turn_one(number))
    }

    /// The numbers of those that have something to do.
    fn wait(&self, timeout: Option<Duration>) -> Result<Vec<u64>, Error> {
        let timeout =
            timeout.map_or(EpollTimeout::NONE, |timeout| EpollTimeout::try_from(timeout).unwrap_or(EpollTimeout::MAX));
        let mut events = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Error::refused("wait for", "packets", errno.into())),
        };
        Ok(events.iter().take(count).map(EpollEvent::data).collect())
    }

    /// Lets the one with this number do what it has to do.
    fn turn_one(&mut self, number: u64) -> Result<(), Error> {
        if let Some(protocol41) = self.protocol41.as_mut().filter(|protocol41| protocol41.number == number) {
            return protocol41.node.turn(Some(Duration::ZERO)).map(drop);
        }
        match self.teredo.iter_mut().find(|running| running.number == number) {
            Some(running) => running.member.turn(Some(Duration::ZERO)),
            None => Ok(()),
        }
    }

    fn open_node(&self, links: &[Link], recording: Option<Tap>) -> Result<Box<Node>, Error> {
        let mut node = Box::new(Node::open(&proto41_socket::Options::default(), self.observer())?);
        if let Some(path) = links.iter().find_map(Link::pcap) {
            match recording.filter(|recording| AsRef::<Path>::as_ref(recording.path()) == path) {
                Some(recording) => node.driver_mut().go_on_recording(recording),
                None => node.driver_mut().record(path)?,
            }
        }
        for link in links {
            node.add_link(link, self.runtime.as_ref())?;
        }
        node.ready()?;
        Ok(node)
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

    /// The interface indices of the devices that run.
    fn devices(&self) -> Vec<u32> {
        let node = self.protocol41.iter().flat_map(|protocol41| protocol41.node.devices());
        node.chain(self.teredo.iter().map(|running| running.member.device())).collect()
    }

    /// One observer for all.
    fn observer(&self) -> Observer {
        let observer = self.observer.clone();
        Box::new(move |notice| observer.lock().unwrap_or_else(PoisonError::into_inner)(notice))
    }

    /// Waits for a descriptor too; gives its number.
    fn watch(&mut self, fd: BorrowedFd<'_>) -> Result<u64, Error> {
        let number = self.next;
        add(&self.epoll, fd, number)?;
        self.next += 1;
        Ok(number)
    }
}

fn add(epoll: &Epoll, fd: BorrowedFd<'_>, number: u64) -> Result<(), Error> {
    epoll
        .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, number))
        .map_err(|errno| Error::refused("wait for", "a descriptor", errno.into()))
}

impl AsFd for Run {
    /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
