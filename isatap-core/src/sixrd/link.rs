//! The 6rd link: next hop to IPv4 address and back, over plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::addr::Domain;
use super::ingress::{self, is_sixtofour_relay};
use crate::capacity::{Bounded, Capacity, Parts, Vec};
use crate::drop_reason::DropReason;
use crate::engine::LearnedAddress;
use crate::error::{Table, TableFull};
use crate::interface::automatic;
use crate::link::{Admitted, Denied, Link, LinkKind, Locator, OuterPolicy, Resolution, Traits};
use crate::prefix::{Ipv6Prefix, is_never_unicast, is_plainly_global};
use crate::proto41::underlay::Underlay;
use crate::proto41::{Flow, Marks};
use crate::time::{Expiry, Instant};

/// A 6rd interface's data. A customer edge's or a border relay's control
/// machine changes it; the datapath only reads it.
#[derive(Clone)]
pub struct SixRdLink<C: Capacity> {
    /// The domain and our place in it; `None`: no IPv4 address, or disabled.
    pub(crate) place: Option<Place>,
    /// With all IPv4 addresses of this node, though the place is that of one.
    pub(crate) underlay: Underlay<C>,
    /// A customer edge's border relays; to a border relay, other tunnel
    /// routers, which are no customers. `S6R-33`
    pub(crate) relays: Vec<Ipv4Addr, C::PotentialRouters>,
    /// The relay in use: one that may be sent to.
    pub(crate) relay: Option<Ipv4Addr>,
    pub(crate) side: Side,
    pub(crate) strict_siblings: bool,
    /// Whether a probe of ours is on its way. `S6R-50`
    pub(crate) probing: bool,
}

/// A domain as the node at one IPv4 address sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) domain: Domain,
    pub(crate) own: Locator,
    /// The delegated prefix of `own`.
    pub(crate) delegated: Ipv6Prefix,
}

impl Place {
    pub(crate) fn new(domain: Domain, own: Locator) -> Self {
        Place { domain, own, delegated: domain.delegated(own.address) }
    }

    /// This node's address on the link: `::1` of the delegated prefix, whose
    /// `::` is every router's (`S6R-7`).
    pub(crate) fn address(&self) -> Ipv6Addr {
        let last = u128::from(self.delegated.length() < 128);
        Ipv6Addr::from_bits(self.delegated.address().to_bits() | last)
    }
}

/// Which end of 6rd a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A customer edge.
    Edge,
    /// A border relay; whether others have the same IPv4 address.
    Relay { anycast: bool },
}

impl<C: Capacity> SixRdLink<C> {
    /// A link without an IPv4 address.
    pub(crate) const fn new(policy: OuterPolicy, side: Side, strict_siblings: bool) -> Self {
        SixRdLink {
            place: None,
            underlay: Underlay::new(policy),
            relays: Bounded::EMPTY,
            relay: None,
            side,
            strict_siblings,
            probing: false,
        }
    }

    /// The domain, while the link has an IPv4 address.
    #[must_use]
    pub fn domain(&self) -> Option<&Domain> {
        self.place.as_ref().map(|place| &place.domain)
    }

    /// The IPv4 address that this link sends from.
    #[must_use]
    pub fn locator(&self) -> Option<Locator> {
        self.place.map(|place| place.own)
    }

    /// The prefix delegated to this node by its IPv4 address.
    #[must_use]
    pub fn delegated(&self) -> Option<Ipv6Prefix> {
        self.place.map(|place| place.delegated)
    }

    /// This node's address on the link.
    #[must_use]
    pub fn address(&self) -> Option<Ipv6Addr> {
        self.place.map(|place| place.address())
    }

    /// The subnet-router anycast address of the delegated prefix, where it is
    /// not this node's only address. `S6R-7 [RFC 5969 §5]`
    #[must_use]
    pub fn anycast(&self) -> Option<Ipv6Addr> {
        self.place.map(|place| place.delegated.address()).filter(|anycast| self.address() != Some(*anycast))
    }

    /// The addresses that the caller is told of. The anycast one, to answer at
    /// and not to speak from, comes deprecated.
    pub(crate) fn told_addresses(&self, until: Expiry) -> impl Iterator<Item = LearnedAddress> + use<C> {
        let anycast = self.anycast().map(|anycast| automatic(anycast, Expiry::at(Instant::ZERO), until));
        self.address().map(|own| automatic(own, until, until)).into_iter().chain(anycast)
    }

    /// The border relays of a customer edge, the preferred one first.
    #[must_use]
    pub fn relays(&self) -> &[Ipv4Addr] {
        &self.relays
    }

    /// The border relay that a customer edge uses: the first that it may send
    /// to.
    #[must_use]
    pub fn relay(&self) -> Option<Ipv4Addr> {
        self.relay
    }

    /// Replaces the IPv4 addresses by those that can be unicast ones.
    pub(crate) fn replace_locators(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        let result = self.underlay.replace(locators.iter().copied());
        self.mark();
        result
    }

    /// Relays, and to a relay other tunnel routers, are no plain customers.
    fn mark(&mut self) {
        if !C::PARTS.contains(Parts::SHORTCUTS) {
            return;
        }
        let relays = self.relays.iter().copied().fold(Marks::NONE, Marks::with_address);
        self.underlay.mark(relays);
    }

    /// Replaces the border relays. `S6R-13`: those that cannot be are left
    /// out.
    pub(crate) fn replace_relays(&mut self, relays: impl Iterator<Item = Ipv4Addr>) -> Result<(), TableFull> {
        self.relays.clear();
        let mut result = Ok(());
        for relay in relays.filter(|relay| !is_never_unicast(*relay)) {
            if !self.relays.contains(&relay)
                && let Err(full) = self.relays.add(relay, Table::PotentialRouters)
            {
                result = Err(full);
            }
        }
        self.mark();
        result
    }

    /// The IPv4 address behind a next hop: the border relay's, for whatever lies outside of
    /// the domain, or the one that a customer's address embeds. `S6R-21`
    fn neighbour(&self, place: &Place, next_hop: &Ipv6Addr) -> Option<Ipv4Addr> {
        let Some(embedded) = place.domain.embedded_ipv4(next_hop) else {
            // S6R-20: the relay is an IPv4 next hop; a border relay has none.
            return self.relay;
        };
        // S6R-15: a relay outside the common block shares its lower bits with a customer, whose
        // prefix it is. What is the relay's is the address that routes name it by.
        let is_its = |relay: &&Ipv4Addr| {
            place.domain.is_embedded_alike(**relay, embedded) && place.domain.anycast(**relay) == *next_hop
        };
        let relay = || self.relays.iter().find(is_its).copied();
        match self.side {
            Side::Edge => relay().or(Some(embedded)),
            Side::Relay { .. } => Some(embedded),
        }
    }

    /// Who sent a packet that is clearly in order; `None` says only that
    /// [`judge`](Self::judge) must look. That both agree is a property test.
    #[inline(always)]
    fn plain(&self, flow: &Flow) -> Option<Admitted> {
        let place = self.place.as_ref().filter(|_| C::PARTS.contains(Parts::SHORTCUTS))?;
        let (outer_source, inner_source) = (flow.outer_source, &flow.inner_source);
        if flow.outer_destination != place.own.address {
            return None;
        }
        // A domain has neither multicast nor link-local addresses.
        let is_for_us = match self.side {
            Side::Edge => place.delegated.contains(&flow.inner_destination),
            Side::Relay { .. } => is_plainly_global(&flow.inner_destination) && !is_sixtofour_relay(outer_source),
        };
        if !is_for_us {
            return None;
        }
        if !self.underlay.marks.may_have(outer_source) {
            let is_customer = place.domain.embedded_ipv4(inner_source) == Some(outer_source);
            return is_customer.then_some(Admitted::Host);
        }
        // S6R-22: a customer edge believes its relay.
        if self.relay != Some(outer_source) || self.strict_siblings || !is_plainly_global(inner_source) {
            return None;
        }
        Some(if place.domain.prefix().contains(inner_source) { Admitted::Router } else { Admitted::Relay })
    }

    /// The checks one by one, for packets that are not plain.
    #[inline(never)]
    fn judge(&self, flow: &Flow) -> Result<Admitted, Denied> {
        match &self.place {
            Some(place) if flow.outer_destination == place.own.address => {
                self.judge_addressed(place, flow).map_err(Denied::Refused)
            }
            _ => Err(Denied::NotAddressed),
        }
    }

    fn judge_addressed(&self, place: &Place, flow: &Flow) -> Result<Admitted, DropReason> {
        if self.underlay.excludes(flow.outer_source) {
            return Err(DropReason::OuterSourceRefused);
        }
        ingress::scope(&flow.inner_source, &flow.inner_destination)?;
        match self.side {
            Side::Edge => {
                let from = ingress::source_at_edge(&place.domain, flow, &self.relays)?;
                if self.strict_siblings && self.relays.contains(&flow.outer_source) {
                    ingress::no_sibling(&place.domain, flow, &place.delegated)?;
                }
                ingress::destination(flow, &place.delegated)?;
                Ok(from)
            }
            Side::Relay { .. } => {
                ingress::customer(flow.outer_source, &self.relays)?;
                ingress::source(&place.domain, flow)
            }
        }
    }
}

impl<C: Capacity> Link for SixRdLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::SixRd
    }

    fn traits(&self) -> Traits {
        // S6R-32, TUN-37 [RFC 5969 §7.2, §9.1]: an error about a fragment may reach
        // another relay of the address.
        let never_fragments = self.side == Side::Relay { anycast: true };
        Traits { hairpins: true, refuses_automatic: true, never_fragments, own_prefix: true, ..Traits::AUTOMATIC }
    }

    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        // S6R-20
        match &self.place {
            Some(place) if place.delegated.contains(destination) => Err(DropReason::NullRoute),
            Some(place) if self.relay.is_some() || place.domain.prefix().contains(destination) => Ok(*destination),
            _ => Err(DropReason::NoRoute),
        }
    }

    fn permit(
        &self,
        inner_source: &Ipv6Addr,
        inner_destination: &Ipv6Addr,
        _next_hop: &Ipv6Addr,
    ) -> Result<(), DropReason> {
        ingress::scope(inner_source, inner_destination)?;
        let Some(place) = &self.place else { return Err(DropReason::NoLocator) };
        match self.side {
            // TUN-2: others compare the source with where it comes from.
            Side::Edge if !place.delegated.contains(inner_source) => Err(DropReason::SourceUnusable),
            // S6R-34: nothing else has its place in this tunnel.
            Side::Relay { .. } if !place.domain.prefix().contains(inner_destination) => {
                Err(DropReason::NextHopUnresolvable)
            }
            _ => Ok(()),
        }
    }

    fn resolve(&self, _inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        let Some(place) = &self.place else { return Err(DropReason::NoLocator) };
        // S6R-21 [RFC 5969 §9.2]: to the customer edge itself, or to the relay.
        let destination = self.neighbour(place, next_hop).ok_or(DropReason::NextHopUnresolvable)?;
        // TUN-4
        if !self.underlay.may_send_to(destination) {
            return Err(DropReason::DestinationRefused);
        }
        if self.side != Side::Edge {
            ingress::customer(destination, &self.relays)?;
        }
        // S6R-32 [RFC 5969 §7.2]: a relay's one address, anycast or not.
        Ok(Resolution::To { source: place.own.address, destination })
    }

    fn awaits(&self, flow: &Flow) -> bool {
        // S6R-50 [RFC 5969 §8], SEC-10: our own packet, back from the relay.
        C::PARTS.contains(Parts::PROBES)
            && self.probing
            && self.relay == Some(flow.outer_source)
            && flow.inner_source == flow.inner_destination
            && self.address() == Some(flow.inner_source)
    }

    fn claims_source(&self, inner_source: &Ipv6Addr) -> bool {
        // S6R-35: customers believe what a relay sends them.
        match &self.place {
            Some(place) if self.side != Side::Edge => {
                place.domain.prefix().contains(inner_source) && !place.delegated.contains(inner_source)
            }
            _ => false,
        }
    }

    fn embeds_own(&self, address: &Ipv6Addr) -> bool {
        // SEC-3: known prefixes make even private IPv4 addresses unambiguous.
        self.place.as_ref().is_some_and(|place| place.delegated.contains(address))
    }

    #[inline(always)]
    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        match self.plain(flow) {
            Some(from) => Ok(from),
            // A copy, so that the flow of a plain packet need not be in memory.
            None => self.judge(&{ *flow }),
        }
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        self.place.as_ref().is_some_and(|place| place.domain.prefix().contains(address))
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        // S6R-7 [RFC 5969 §5]: the subnet-router anycast address too.
        self.place.as_ref().is_some_and(|place| *address == place.address() || *address == place.delegated.address())
    }

    fn own_marks(&self) -> Marks {
        let Some(place) = &self.place else { return Marks::NONE };
        Marks::NONE.with_last_of(&place.address()).with_last_of(&place.delegated.address())
    }

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.place.as_ref().is_some_and(|place| place.own.address == address)
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.address()
    }
}

#[cfg(test)]
mod tests;
