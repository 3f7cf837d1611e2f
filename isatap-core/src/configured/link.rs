//! The link of a configured tunnel, over plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Bounded, Capacity, Vec};
use crate::drop_reason::DropReason;
use crate::engine::Admitted;
use crate::error::{Table, TableFull};
use crate::link::{Denied, InterfaceAddress, Link, LinkKind, Locator, OuterPolicy, Resolution, Traits, is_in};
use crate::prefix::Ipv6Prefix;
use crate::proto41::Flow;
use crate::proto41::icmp::TunnelError;
use crate::proto41::underlay::Underlay;
use crate::select;
use crate::time::Instant;

/// A configured tunnel's data.
#[derive(Clone)]
pub struct ConfiguredLink<C: Capacity> {
    local: Ipv4Addr,
    remote: Ipv4Addr,
    /// Whether the remote can be a host's address. `TUN-4`: configuration may
    /// be wrong too.
    is_remote_usable: bool,
    /// With all IPv4 addresses of this node, though it sends from one.
    pub(crate) underlay: Underlay<C>,
    addresses: Vec<InterfaceAddress, C::Addresses>,
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
    pub(crate) fn new(local: Ipv4Addr, remote: Ipv4Addr, policy: OuterPolicy) -> Self {
        let underlay = Underlay::new(policy);
        let mut link = ConfiguredLink { local, remote, is_remote_usable: false, underlay, addresses: Bounded::EMPTY };
        // One always fits.
        let _ = link.set_locators(&[]);
        link
    }

    /// This end's IPv4 address.
    #[must_use]
    pub fn local(&self) -> Ipv4Addr {
        self.local
    }

    /// The other end's IPv4 address.
    #[must_use]
    pub fn remote(&self) -> Ipv4Addr {
        self.remote
    }

    pub(crate) fn set_locators(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        let known = self.underlay.replace(core::iter::once(self.local.into()).chain(locators.iter().copied()));
        self.is_remote_usable = self.underlay.may_send_to(self.remote);
        known
    }

    /// This node's addresses on the tunnel, the link-local one first.
    pub fn addresses(&self) -> impl Iterator<Item = InterfaceAddress> + '_ {
        let own = InterfaceAddress { address: link_local(self.local), prefix_length: 64 };
        core::iter::once(own).chain(self.addresses.iter().copied())
    }

    pub(crate) fn add_address(&mut self, address: InterfaceAddress) -> Result<(), TableFull> {
        self.addresses.add(address, Table::Addresses)
    }

    /// Whether one more address can be told of, besides the link-local one.
    pub(crate) fn has_room(&self) -> bool {
        self.addresses().count() < self.addresses.view().capacity()
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
        if !self.is_remote_usable {
            return Err(DropReason::DestinationRefused);
        }
        Ok(Resolution::To { source: self.local, destination: self.remote })
    }

    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        // TUN-13, TUN-14 [RFC 4213 §3.6]: both ends must be those configured.
        // Nothing is said of a mismatch, since another tunnel may have the
        // same local end.
        if flow.outer_destination != self.local || flow.outer_source != self.remote {
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

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        address == self.local
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        select::source_among(self.addresses().map(|own| own.source()), destination)
    }

    fn path_error(&mut self, now: Instant, error: &TunnelError) -> Result<(), DropReason> {
        // TUN-35, TUN-45: about the one remote that we send to.
        if error.destination != self.remote {
            return Err(DropReason::IcmpV4Ignored);
        }
        self.underlay.path_error(now, error)
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
