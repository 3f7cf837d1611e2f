//! What links of all kinds have in common: their options, and how one is run.

use crate::driver::attachment::{Attachment, DEFAULT_METRIC};
use crate::error::Error;
use crate::isatap::DEFAULT_DEVICE;
use crate::node::{Node, Observer};
use crate::proto41_socket;
use crate::runtime_dir::RuntimeDir;
use isatap_core::error::TableFull;
use isatap_core::isatap::addr::is_locator;
use isatap_core::link::OuterPolicy;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::wire::ipv6::MINIMUM_MTU;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What links of all kinds have in common.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkOptions {
    /// The TUN device to make.
    pub device: String,
    /// The IPv6 MTU in bytes, 1280 to 65515; `None`: 1280, and for an ISATAP host what a
    /// router advertises.
    pub mtu: Option<u16>,
    /// Outer time to live.
    pub ttl: u8,
    /// Whether the IPv4 path MTU is found by DF and ICMPv4. Without it, packets of up to the
    /// MTU are fragmented where they do not fit.
    pub path_mtu_discovery: bool,
    /// An ISATAP site's IPv4 prefixes; none: every address counts as the site's. `SEC-2`
    pub members: Vec<Ipv4Prefix>,
    /// The metric of routes through the device.
    pub metric: u32,
    /// A file to record outer packets into.
    pub pcap: Option<PathBuf>,
    /// Where this process becomes the daemon of the device and can be asked; `None`: nowhere.
    pub runtime: Option<RuntimeDir>,
    /// How the raw sockets are opened.
    pub socket: proto41_socket::Options,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            device: DEFAULT_DEVICE.to_owned(),
            mtu: None,
            ttl: OuterPolicy::DEFAULT.ttl,
            path_mtu_discovery: true,
            members: Vec::new(),
            metric: DEFAULT_METRIC,
            pcap: None,
            runtime: None,
            socket: proto41_socket::Options::default(),
        }
    }
}

impl LinkOptions {
    /// `base`, changed as the options say.
    pub(crate) fn policy(&self, base: OuterPolicy) -> Result<OuterPolicy, Error> {
        let mut policy = base;
        if let Some(mtu) = self.mtu {
            if !(MINIMUM_MTU..=LARGEST_MTU).contains(&mtu) {
                let why = format!("a tunnel carries {MINIMUM_MTU} to {LARGEST_MTU} bytes");
                return Err(Error::usage("set the MTU", mtu, why));
            }
            policy.link_mtu = mtu;
        }
        if self.ttl == 0 {
            return Err(Error::usage("set the time to live", self.ttl, "nothing would leave this machine"));
        }
        policy.ttl = self.ttl;
        if !self.path_mtu_discovery {
            policy.mtu = MtuMode::Static(policy.link_mtu);
        }
        Ok(policy)
    }
}

/// The longest inner packet that an IPv4 packet takes.
const LARGEST_MTU: u16 = 65_515;

/// A node with one link, in its loop.
pub(crate) struct Running {
    pub(crate) node: Box<Node>,
    link: LinkId,
}

/// Makes a node, and in it one link.
pub(crate) fn open(
    options: &LinkOptions,
    observer: Observer,
    add: impl FnOnce(&mut Node) -> Result<LinkId, Error>,
) -> Result<Running, Error> {
    let mut node = Box::new(Node::open(&options.socket, observer)?);
    if let Some(path) = &options.pcap {
        node.driver_mut().record(path)?;
    }
    let link = add(&mut node)?;
    node.ready()?;
    Ok(Running { node, link })
}

/// What every kind of running link offers.
macro_rules! running {
    ($role:ident) => {
        impl $role {
            /// The name of the device.
            pub fn device(&self) -> &str {
                self.0.attachment().map_or("", $crate::driver::attachment::Attachment::name)
            }

            /// The first link-local address; `None` while there is no IPv4 address to make
            /// it of, and on links that have none.
            pub fn link_local(&self) -> Option<std::net::Ipv6Addr> {
                let addresses = self.0.attachment()?.addresses();
                addresses.iter().map(|address| address.address).find(std::net::Ipv6Addr::is_unicast_link_local)
            }

            /// What it knows and has counted.
            pub fn status(&self) -> Option<$crate::node::status::Status> {
                self.0.node.status(0)
            }

            /// Waits at most `timeout` for something to do, and does it: a batch of packets,
            /// what is due, what the system has changed. `Some(Duration::ZERO)` does not wait.
            ///
            /// # Errors
            ///
            /// Somebody deleted the device. What single packets meet is counted instead.
            pub fn turn(&mut self, timeout: Option<std::time::Duration>) -> Result<(), $crate::Error> {
                self.0.node.turn(timeout).map(drop)
            }

            /// Turns until a signal asks to stop.
            ///
            /// # Errors
            ///
            /// As [`turn`](Self::turn).
            pub fn run_until(&mut self, signals: &mut $crate::signal::Signals) -> Result<(), $crate::Error> {
                self.0.node.run_until(signals)
            }
        }

        impl std::os::fd::AsFd for $role {
            /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
            fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
                std::os::fd::AsFd::as_fd(&*self.0.node)
            }
        }
    };
}

pub(crate) use running;

impl Running {
    pub(crate) fn attachment(&self) -> Option<&Attachment> {
        self.node.attachment(self.link)
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("attachment", &self.attachment()).finish_non_exhaustive()
    }
}

pub(crate) fn too_many(what: &'static str, which: impl std::fmt::Display, full: TableFull) -> Error {
    Error::usage(format!("use {what}"), which, full.to_string())
}

pub(crate) fn check_locator(address: Ipv4Addr) -> Result<(), Error> {
    if is_locator(address) {
        return Ok(());
    }
    Err(Error::usage("send from", address, "no host can have this address").with_advice("see: ip -4 address"))
}
