//! The links of a configuration file in one process: those that speak protocol 41 with one
//! set of raw sockets, and each Teredo client, server and relay with UDP sockets of its own.
//!
//! ```no_run
//! use isatap_std::config::Config;
//! use isatap_std::run::Run;
//! use isatap_std::signal::{Request, Signals};
//!
//! let file = "/etc/isatap.toml";
//! let config = Config::parse(file, &std::fs::read_to_string(file)?).map_err(|problems| problems[0].to_string())?;
//! let mut run = Run::open(&config, None, |notice| eprintln!("{notice}"))?;
//! while run.run_until_asked(&mut Signals::catch()?)? != Request::Stop {}
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use crate::config::{Config, Link, Native};
use crate::driver::Tap;
use crate::error::Error;
use crate::netlink::{Netlink, sysctl};
use crate::node::status::Status;
use crate::node::{Node, Notice, Observer};
use crate::proto41_socket;
use crate::runtime_dir::RuntimeDir;
use crate::signal::{Request, Signals};
use crate::teredo::{Member, RoleOptions};
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The running links of a file; gone, devices and all, when dropped.
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
    options: RoleOptions,
    number: u64,
}

const SIGNALS: u64 = 0;

impl Run {
    /// Makes the devices and starts; `observer` is called with what happens. With a folder,
    /// this process can be asked about each device.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine, a native device that
    /// is not there, or a file of secrets that cannot be used; the kernel's refusal, mostly for
    /// lack of privilege.
    pub fn open(
        config: &Config,
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
        run.apply(config, None)?;
        Ok(run)
    }

    /// Becomes what another file says. What it says as before goes on undisturbed: the links
    /// that speak protocol 41 together, Teredo each for itself. Hosts of LANs are told of what
    /// ends, as by [`finish`](Self::finish); what a signal asks for meanwhile is still to be taken
    /// afterwards.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open). A file of secrets that cannot be used changes nothing. Else what
    /// was to end has ended then, and what begins before the one that failed has begun: call it
    /// again with a file that works.
    pub fn reload(&mut self, config: &Config, signals: &mut Signals) -> Result<(), Error> {
        self.apply(config, Some(signals))
    }

    fn apply(&mut self, config: &Config, signals: Option<&mut Signals>) -> Result<(), Error> {
        let wanted: Vec<RoleOptions> = config.teredo.iter().map(|link| link.load()).collect::<Result<_, _>>()?;
        // The old devices go first: the new ones may have their names.
        self.teredo.retain(|running| wanted.contains(&running.options));
        let is_same = |node: &Protocol41| node.links == config.links && node.natives == config.natives;
        let mut recording = None;
        if !self.protocol41.as_ref().is_some_and(is_same) {
            if let (Some(protocol41), Some(signals)) = (&mut self.protocol41, signals) {
                protocol41.node.finish(signals)?;
            }
            // Into the same file it goes on: this process may not be able to open it any more.
            recording = self.protocol41.take().and_then(|mut old| old.node.driver_mut().take_recording());
            self.check_natives(&config.natives)?;
        }
        if self.protocol41.is_none() && !config.links.is_empty() {
            let node = self.open_node(config, recording)?;
            let number = self.watch(node.as_fd())?;
            let (links, natives) = (config.links.clone(), config.natives.clone());
            self.protocol41 = Some(Protocol41 { node, links, natives, number });
        }
        for options in wanted {
            if self.teredo.iter().any(|running| running.options == options) {
                continue;
            }
            let mut own = options.clone();
            own.link_mut().runtime.clone_from(&self.runtime);
            let member = own.start(self.observer(), &self.devices())?;
            let number = self.watch(member.as_fd())?;
            self.teredo.push(Teredo { member, options, number });
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
    /// As [`run_until_asked`](Self::run_until_asked).
    pub fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        self.protocol41.as_mut().map_or(Ok(()), |protocol41| protocol41.node.finish(signals))
    }

    /// Turns until a signal asks for something.
    ///
    /// # Errors
    ///
    /// Somebody deleted a device. What single packets meet is counted instead.
    pub fn run_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        // Without Teredo there is one loop already.
        if let (Some(protocol41), []) = (&mut self.protocol41, self.teredo.as_slice()) {
            return protocol41.node.run_until_asked(signals);
        }
        // Each arms its timer by that.
        for number in SIGNALS + 1..self.next {
            self.turn(number)?;
        }
        add(&self.epoll, signals.as_fd(), SIGNALS)?;
        let result = self.turn_until_asked(signals);
        let _ = self.epoll.delete(signals.as_fd());
        result
    }

    fn turn_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        loop {
            let mut events = [EpollEvent::empty(); 16];
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(Error::refused("wait for", "packets", errno.into())),
            };
            for event in events.iter().take(count) {
                if event.data() != SIGNALS {
                    self.turn(event.data())?;
                } else if let Some(request) = signals.take() {
                    return Ok(request);
                }
            }
        }
    }

    /// Lets the one with this number do what it has to do.
    fn turn(&mut self, number: u64) -> Result<(), Error> {
        if let Some(protocol41) = self.protocol41.as_mut().filter(|protocol41| protocol41.number == number) {
            return protocol41.node.turn(Some(Duration::ZERO)).map(drop);
        }
        match self.teredo.iter_mut().find(|running| running.number == number) {
            Some(running) => running.member.turn(Some(Duration::ZERO)),
            None => Ok(()),
        }
    }

    fn open_node(&self, config: &Config, recording: Option<Tap>) -> Result<Box<Node>, Error> {
        let mut node = Box::new(Node::open(&proto41_socket::Options::default(), self.observer())?);
        if let Some(path) = config.links.iter().find_map(|link| link.common().pcap.as_ref()) {
            match recording.filter(|recording| recording.path() == path) {
                Some(recording) => node.driver_mut().go_on_recording(recording),
                None => node.driver_mut().record(path)?,
            }
        }
        for link in &config.links {
            let mut link = link.clone();
            link.common_mut().runtime.clone_from(&self.runtime);
            match link {
                Link::IsatapHost(host) => host.add(&mut node)?,
                Link::IsatapRouter(router) => router.add(&mut node)?,
                Link::Tunnel(tunnel) => tunnel.add(&mut node)?,
                Link::SixRd(sixrd) => sixrd.add(&mut node)?,
                Link::SixToFour(sixtofour) => sixtofour.add(&mut node)?,
            };
        }
        node.ready()?;
        Ok(node)
    }

    fn check_natives(&self, natives: &[Native]) -> Result<(), Error> {
        for native in natives {
            Netlink::open()?.link(&native.device)?;
        }
        if let Some(native) = natives.iter().find(|native| native.forwarding && !sysctl::forwards(&native.device)) {
            (self.observer())(&Notice::Warning(format!(
                "{} is to forward, and the kernel does not forward IPv6: sysctl -w net.ipv6.conf.all.forwarding=1",
                native.device
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

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
