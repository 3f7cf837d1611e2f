//! The link of a configured tunnel, over plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::Config;
use crate::capacity::{Bounded, Capacity, Count as _, Vec};
use crate::drop_reason::DropReason;
use crate::engine::Admitted;
use crate::error::{Table, TableFull};
use crate::link::{Denied, InterfaceAddress, Link, LinkKind, Locator, Resolution, Traits, is_in};
use crate::prefix::Ipv6Prefix;
use crate::proto41::icmp::TunnelError;
use crate::proto41::underlay::Underlay;
use crate::proto41::{Flow, Marks};
use crate::select;

/// A configured tunnel's data.
#[derive(Clone)]
pub struct ConfiguredLink<C: Capacity> {
    local: Option<Ipv4Addr>,
    remote: Option<Ipv4Addr>,
    /// Whether the remote can be a host's address. `TUN-4`: configuration may
    /// be wrong too.
    is_remote_usable: bool,
    /// With all IPv4 addresses of this node, though it sends from one.
    pub(crate) underlay: Underlay<C>,
    addresses: Vec<InterfaceAddress, C::Addresses>,
    /// Whether it is a way to everywhere, but not to the prefix that comes by it.
    pub(crate) default_route: bool,
    pub(crate) routed: Option<Ipv6Prefix>,
}

/// The link-local address that an end of a configured tunnel makes of its
/// IPv4 address: `fe80::192.0.2.1`.
///
/// `TUN-61 [RFC 4213 §3.7]`: 32 zero bits in front of it, u bit 0.
#[must_use]
pub const fn link_local(ipv4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ipv4.octets();
    match Ipv6Prefix::LINK_LOCAL.with_identifier([0, 0, 0, 0, a, b, c, d]) {
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED,
    }
}

impl<C: Capacity> ConfiguredLink<C> {
    pub(crate) fn new(config: &Config) -> Self {
        let mut link = ConfiguredLink {
            local: None,
            remote: config.remote,
            is_remote_usable: false,
            underlay: Underlay::new(config.policy),
            addresses: Bounded::EMPTY,
            default_route: false,
            routed: None,
        };
        // One always fits.
        let _ = link.set_locators(config.local, &[]);
        link
    }

    /// This end's IPv4 address; `None`: there is none now.
    #[must_use]
    pub fn local(&self) -> Option<Ipv4Addr> {
        self.local
    }

    /// The other end's IPv4 address; `None`: it is not known yet.
    #[must_use]
    pub fn remote(&self) -> Option<Ipv4Addr> {
        self.remote
    }

    /// The node has these IPv4 addresses; `local`: the one to send from, though
    /// it may not be among them; `None`: the first.
    pub(crate) fn set_locators(&mut self, local: Option<Ipv4Addr>, locators: &[Locator]) -> Result<(), TableFull> {
        let fixed = local.map(Locator::from);
        let known = self.underlay.replace(fixed.into_iter().chain(locators.iter().copied()));
        self.local = local.or(self.underlay.locators().first().map(|first| first.address));
        self.set_remote(self.remote);
        known
    }

    pub(crate) fn set_remote(&mut self, remote: Option<Ipv4Addr>) {
        self.remote = remote;
        self.is_remote_usable = remote.is_some_and(|remote| self.underlay.may_send_to(remote));
    }

    /// Whether packets have a way.
    pub(crate) fn is_usable(&self) -> bool {
        self.local.is_some() && self.is_remote_usable
    }

    /// The link-local address. `TUN-61`
    fn own(&self) -> Option<Ipv6Addr> {
        self.local.map(link_local)
    }

    /// This node's addresses on the tunnel, the link-local one first.
    pub fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> + '_ {
        let own = self.own().map(|address| InterfaceAddress { address, prefix_length: 64 });
        own.into_iter().chain(self.addresses.iter().copied())
    }

    pub(crate) fn add_address(&mut self, address: InterfaceAddress) -> Result<(), TableFull> {
        self.addresses.add(address, Table::Addresses)
    }

    /// Whether one more address can be told of, besides the link-local one,
    /// which may come later.
    pub(crate) fn has_room(&self) -> bool {
        self.addresses.len().saturating_add(1) < C::Addresses::ROWS
    }
}

impl<C: Capacity> Link for ConfiguredLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::Configured
    }

    fn traits(&self) -> Traits {
        Traits { point_to_point: true, ..Traits::TUNNEL }
    }

    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn resolve(&self, _inner_source: &Ipv6Addr, _next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        let source = self.local.ok_or(DropReason::NoLocator)?;
        let destination = self.remote.ok_or(DropReason::NextHopUnresolvable)?;
        if !self.is_remote_usable {
            return Err(DropReason::DestinationRefused);
        }
        Ok(Resolution::To { source, destination })
    }

    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        match &self.routed {
            _ if self.is_on_link(destination) => Ok(*destination),
            Some(routed) if routed.contains(destination) => Err(DropReason::NullRoute),
            _ if self.default_route && self.is_usable() => Ok(*destination),
            _ => Err(DropReason::NoRoute),
        }
    }

    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        // TUN-13, TUN-14 [RFC 4213 §3.6]: both ends must be those configured.
        // Nothing is said of a mismatch, since another tunnel may have the
        // same local end.
        if Some(flow.outer_destination) != self.local || Some(flow.outer_source) != self.remote {
            return Err(Denied::NotAddressed);
        }
        if !self.is_remote_usable {
            return Err(Denied::Refused(DropReason::OuterSourceRefused));
        }
        let destination = &flow.inner_destination;
        if destination.is_loopback() || destination.is_unspecified() {
            return Err(Denied::Refused(DropReason::InnerDestinationRefused));
        }
        Ok(Admitted::Remote)
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        Ipv6Prefix::LINK_LOCAL.contains(address) || is_in(&self.addresses, address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        self.addresses().any(|own| own.address == *address)
    }

    fn own_marks(&self) -> Marks {
        self.addresses.iter().fold(Marks::NONE, |marks, own| marks.with_last_of(&own.address))
    }

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.local == Some(address)
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        select::source_among(self.addresses().map(|own| own.source()), destination)
    }

    fn believes(&self, error: &TunnelError) -> bool {
        // TUN-35, TUN-45: about the one remote that we send to.
        self.local == Some(error.source) && self.remote == Some(error.destination) && self.underlay.heeds(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tun_61_link_local_address_of_the_ipv4_address() {
        assert_eq!(link_local(Ipv4Addr::new(192, 0, 2, 1)).to_string(), "fe80::c000:201");
    }

    use std::string::ToString;
}
