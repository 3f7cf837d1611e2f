//! The links of a configuration file in one process, with one set of raw sockets.
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

use crate::config::{Config, Link};
use crate::error::Error;
use crate::netlink::sysctl;
use crate::node::status::Status;
use crate::node::{Node, Notice};
use crate::proto41_socket;
use crate::runtime_dir::RuntimeDir;
use crate::signal::{Request, Signals};

/// The running links of a file; gone, devices and all, when dropped.
pub struct Run(Box<Node>);

impl Run {
    /// Makes the devices and starts; `observer` is called with what happens. With a folder,
    /// this process can be asked about each device.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine, or a native device that
    /// is not there; the kernel's refusal, mostly for lack of privilege.
    pub fn open(
        config: &Config,
        runtime: Option<&RuntimeDir>,
        mut observer: impl FnMut(&Notice) + Send + 'static,
    ) -> Result<Self, Error> {
        let is_off = sysctl::ipv6("all", "forwarding").is_ok_and(|value| value == 0);
        if let Some(native) = config.natives.iter().find(|native| native.forwarding && is_off) {
            observer(&Notice::Warning(format!(
                "{} is to forward, and the kernel does not forward IPv6: sysctl -w net.ipv6.conf.all.forwarding=1",
                native.device
            )));
        }
        let mut node = Box::new(Node::open(&proto41_socket::Options::default(), Box::new(observer))?);
        for native in &config.natives {
            node.netlink().link(&native.device)?;
        }
        if let Some(path) = config.links.iter().find_map(|link| link.common().pcap.as_ref()) {
            node.driver_mut().record(path)?;
        }
        for link in &config.links {
            let mut link = link.clone();
            link.common_mut().runtime = runtime.cloned();
            match link {
                Link::IsatapHost(host) => host.add(&mut node)?,
                Link::IsatapRouter(router) => router.add(&mut node)?,
                Link::Tunnel(tunnel) => tunnel.add(&mut node)?,
                Link::SixRd(sixrd) => sixrd.add(&mut node)?,
                Link::SixToFour(sixtofour) => sixtofour.add(&mut node)?,
            };
        }
        node.ready()?;
        Ok(Self(node))
    }

    /// What each link knows and has counted, in their order in the file.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.0.statuses()
    }

    /// Tells the hosts of LANs that their prefixes and their router go, which takes 4 seconds
    /// at most; a second signal ends it. Without LANs it does nothing.
    ///
    /// # Errors
    ///
    /// As [`run_until_asked`](Self::run_until_asked).
    pub fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        self.0.finish(signals)
    }

    /// Turns until a signal asks for something.
    ///
    /// # Errors
    ///
    /// Somebody deleted a device. What single packets meet is counted instead.
    pub fn run_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        self.0.run_until_asked(signals)
    }
}

impl std::fmt::Debug for Run {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Run").finish_non_exhaustive()
    }
}
