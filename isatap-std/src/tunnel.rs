//! A configured tunnel on this machine: both IPv4 ends are given. [RFC 4213 §3]
//!
//! ```no_run
//! use isatap_std::signal::Signals;
//! use isatap_std::tunnel::TunnelOptions;
//!
//! let mut options = TunnelOptions::new("192.0.2.1".parse()?, "198.51.100.1".parse()?);
//! options.address("2001:db8::1".parse()?, 64);
//! let mut tunnel = options.open(|_| ())?;
//! tunnel.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The prefix of each address is on-link there; other routes are the administrator's: `ip
//! -6 route add default dev tun6in4`. The kernel forwards, if it is told to.
//!
//! # Security limits
//!
//! Whoever can forge the remote's IPv4 address can send into the tunnel.

use crate::error::Error;
use crate::link::{self, LinkOptions, Running, check_locator, running, too_many};
use crate::node::{FixedRole, LinkPlan, LocatorSource, Node, Notice, Role};
use crate::runtime_dir::Ends;
use isatap_core::configured::{Config, Interface};
use isatap_core::datapath::Switches;
use isatap_core::link::{InterfaceAddress, OuterPolicy};
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "tun6in4";

/// What a configured tunnel is to be. `TUN-60`
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TunnelOptions {
    /// What it has in common with links of other kinds.
    pub link: LinkOptions,
    /// This end's IPv4 address, of this machine.
    pub local: Ipv4Addr,
    /// The other end's.
    pub remote: Ipv4Addr,
    /// This node's addresses on it, beside the link-local one.
    pub addresses: Vec<InterfaceAddress>,
    /// Whether the remote is asked whether it is there, when packets are sent. `TUN-62`
    pub probe_remote: bool,
}

impl TunnelOptions {
    /// A tunnel from `local` to `remote`, with a link-local address alone.
    #[must_use]
    pub fn new(local: Ipv4Addr, remote: Ipv4Addr) -> Self {
        let link = LinkOptions { device: DEFAULT_DEVICE.to_owned(), ..LinkOptions::default() };
        Self { link, local, remote, addresses: Vec::new(), probe_remote: true }
    }

    /// Adds an address of this node.
    pub fn address(&mut self, address: Ipv6Addr, prefix_length: u8) {
        self.addresses.push(InterfaceAddress { address, prefix_length });
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        self.link.policy(OuterPolicy::DEFAULT)?;
        check_locator(self.local)?;
        // TUN-4
        if check_locator(self.remote).is_err() || self.remote == self.local {
            let error = Error::usage("send to", self.remote, "it is no other host's address");
            return Err(error.with_advice("give the IPv4 address of the other end"));
        }
        for own in &self.addresses {
            let address = own.address;
            let is_unicast = !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
            if !is_unicast || own.prefix().is_none() {
                return Err(Error::usage("use the address", address, "it is no unicast address with a prefix length"));
            }
        }
        Ok(())
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Tunnel, Error> {
        let link = self.link.clone();
        link::open(&link, Box::new(observer), |node| self.add(node)).map(Tunnel)
    }

    /// Makes the link in a node.
    pub(crate) fn add(self, node: &mut Node) -> Result<LinkId, Error> {
        self.check()?;
        let mut config = Config::new(self.local, self.remote);
        config.policy = self.link.policy(OuterPolicy::DEFAULT)?;
        config.probe_remote = self.probe_remote;
        let (locators, remote) = (LocatorSource::Fixed(vec![self.local]), self.remote);
        locators.check(node.netlink())?;
        let plan = LinkPlan {
            device: self.link.device.clone(),
            metric: self.link.metric,
            interface: AnyInterface::Configured(Interface::new(config)),
            switches: Switches::DEFAULT,
            role: Role::Fixed(FixedRole::end("configured", locators, self.link.device.clone())),
            ends: Box::new(move |local| Some(Ends::Configured { local, remote })),
        };
        let link = node.add(plan, self.link.runtime.as_ref())?;
        for own in &self.addresses {
            let told = node.with_interface(link, |interface, cx| match interface {
                AnyInterface::Configured(tunnel) => tunnel.add_address(cx, *own),
                _ => Ok(()),
            });
            told.unwrap_or(Ok(())).map_err(|full| too_many("the address", own.address, full))?;
        }
        Ok(link)
    }
}

/// A configured tunnel; gone, device and all, when dropped.
#[derive(Debug)]
pub struct Tunnel(Running);

running!(Tunnel);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tun_4_ends_that_cannot_be_are_refused_before_anything_is_made() {
        let v4 = |text: &str| text.parse::<Ipv4Addr>().unwrap();
        assert!(TunnelOptions::new(v4("192.0.2.1"), v4("192.0.2.2")).check().is_ok());
        for (local, remote) in [
            ("192.0.2.1", "192.0.2.1"),
            ("192.0.2.1", "224.0.0.1"),
            ("192.0.2.1", "255.255.255.255"),
            ("127.0.0.1", "192.0.2.2"),
            ("192.0.2.1", "0.0.0.0"),
        ] {
            let error = TunnelOptions::new(v4(local), v4(remote)).check().unwrap_err();
            assert_eq!(error.class(), crate::error::Class::Usage, "{local} {remote}");
        }
        let mut options = TunnelOptions::new(v4("192.0.2.1"), v4("192.0.2.2"));
        options.address("ff02::1".parse().unwrap(), 64);
        assert!(options.check().is_err());
    }
}
