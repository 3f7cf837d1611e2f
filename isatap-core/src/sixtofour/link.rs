//! The 6to4 link: next hop to IPv4 address and back, over plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::addr::{self, ANYCAST_RELAY, PREFIX, embedded_ipv4};
use super::ingress;
use crate::capacity::{Bounded, Capacity, Parts, Vec};
use crate::drop_reason::DropReason;
use crate::error::TableFull;
use crate::link::{Admitted, Denied, Link, LinkKind, Locator, OuterPolicy, Resolution, Traits};
use crate::prefix::{Ipv4Prefix, is_plainly_global};
use crate::proto41::underlay::Underlay;
use crate::proto41::{Flow, Marks};
use crate::wire::protocol;

/// A 6to4 interface's data: who we are, and whom we listen to. A router's or
/// a relay's control machine changes it; the datapath only reads it.
#[derive(Clone)]
pub struct SixToFourLink<C: Capacity> {
    pub(crate) underlay: Underlay<C>,
    /// The relays that native packets are accepted from; none: all. `S64-24`
    pub(crate) relays: Vec<Ipv4Addr, C::PotentialRouters>,
    /// The 6to4 routers that a relay serves; none: all. `S64-46`
    pub(crate) clients: Vec<Ipv4Prefix, C::Members>,
    pub(crate) accept_bogons: bool,
    pub(crate) side: Side,
    /// The relay that everything else goes to, of who has no route table.
    pub(crate) gateway: Option<Ipv4Addr>,
    /// The relay of which an answer is waited for. `S64-35`
    pub(crate) probed: Option<Ipv4Addr>,
}

/// Which end of 6to4 a link is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// A site's router, or a host/router.
    Site,
    /// A relay to the native Internet; whether it answers at 192.88.99.1.
    Relay { anycast: bool },
}

impl<C: Capacity> SixToFourLink<C> {
    /// A link without IPv4 addresses.
    pub(crate) const fn new(policy: OuterPolicy, accept_bogons: bool, side: Side) -> Self {
        SixToFourLink {
            underlay: Underlay::new(policy),
            relays: Bounded::EMPTY,
            clients: Bounded::EMPTY,
            accept_bogons,
            side,
            gateway: None,
            probed: None,
        }
    }

    /// The IPv4 addresses that this link sends from.
    #[must_use]
    pub fn locators(&self) -> &[Locator] {
        self.underlay.locators()
    }

    /// This node's address for a locator of its own.
    pub(crate) fn address_of(&self, locator: Ipv4Addr) -> Ipv6Addr {
        match self.side {
            Side::Site => addr::host_router(locator),
            Side::Relay { .. } => addr::relay(locator),
        }
    }

    /// Replaces the locators by those that may be. `S64-1`
    pub(crate) fn replace_locators(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        let (accept_bogons, side) = (self.accept_bogons, self.side);
        let is_anycast = |ipv4| side == Side::Relay { anycast: true } && ipv4 == ANYCAST_RELAY;
        let may_be = |own: &Locator| ingress::locator(own.address, accept_bogons) || is_anycast(own.address);
        self.underlay.replace(locators.iter().copied().filter(may_be))
    }

    /// The outer source for an inner source.
    fn outer_source(&self, inner_source: &Ipv6Addr) -> Result<Ipv4Addr, DropReason> {
        match embedded_ipv4(inner_source) {
            // S64-11, S64-12 [RFC 3964 §3.1, §5.1], TUN-2: the one that the
            // receiver compares with.
            Some(embedded) if self.owns_ipv4(embedded) => Ok(embedded),
            Some(_) => Err(DropReason::SourceUnusable),
            // S64-34 [RFC 6343 §4.4]: firewalls of 6to4 users expect answers
            // from where they sent to.
            None if self.owns_ipv4(ANYCAST_RELAY) => Ok(ANYCAST_RELAY),
            None => self.underlay.locators().first().map(|own| own.address).ok_or(DropReason::NoLocator),
        }
    }

    /// Whether a packet clearly may leave: from our first address to the site
    /// that it is for, or to a relay what is for no site. `false` says only
    /// that [`judge_leaving`](Self::judge_leaving) must look.
    #[inline(always)]
    fn plainly_permits(&self, source: &Ipv6Addr, destination: &Ipv6Addr, next_hop: &Ipv6Addr) -> bool {
        let Some(neighbour) = embedded_ipv4(next_hop) else { return false };
        let by_relay = || self.side == Side::Site && is_plainly_native(destination);
        // That our own address is usable was asked before it became a locator.
        C::PARTS.contains(Parts::SHORTCUTS)
            && !self.underlay.first.is_unspecified()
            && addr::embeds(source, self.underlay.first)
            && (addr::embeds(destination, neighbour) || by_relay())
            && ingress::is_usable(neighbour, self.accept_bogons)
    }

    /// The rules on a packet that is to leave.
    #[inline(never)]
    fn judge_leaving(
        &self,
        inner_source: &Ipv6Addr,
        inner_destination: &Ipv6Addr,
        next_hop: &Ipv6Addr,
    ) -> Result<(), DropReason> {
        for address in [inner_source, inner_destination] {
            ingress::inner(address)?;
            ingress::embedded(address, self.accept_bogons)?;
        }
        ingress::embedded(next_hop, self.accept_bogons)?;
        ingress::one_is_sixtofour(inner_source, inner_destination)?;
        if matches!(self.side, Side::Relay { .. }) {
            ingress::enters_sixtofour(inner_destination)?;
        }
        ingress::direct(inner_destination, next_hop)
    }

    /// Who sent a packet that is clearly in order; `None` says only that
    /// [`judge`](Self::judge) must look. That both agree is a property test.
    #[inline(always)]
    fn plain(&self, flow: &Flow) -> Option<Admitted> {
        let (outer_source, outer_destination) = (flow.outer_source, flow.outer_destination);
        // That our own address is usable was asked before it became a locator.
        let is_plain = C::PARTS.contains(Parts::SHORTCUTS)
            && self.underlay.is_plain(outer_source, outer_destination)
            && ingress::is_usable(outer_source, self.accept_bogons);
        if !is_plain {
            return None;
        }
        let from_host = addr::embeds(&flow.inner_source, outer_source);
        match self.side {
            Side::Site if !addr::embeds(&flow.inner_destination, outer_destination) => None,
            Side::Site if from_host => Some(Admitted::Host),
            Side::Site => {
                let by_any_relay = self.relays.is_empty() && is_plainly_native(&flow.inner_source);
                by_any_relay.then_some(Admitted::UnverifiedRelay)
            }
            Side::Relay { .. } => {
                let to_native = from_host && self.clients.is_empty() && is_plainly_native(&flow.inner_destination);
                to_native.then_some(Admitted::Host)
            }
        }
    }

    /// The rules on a packet that came in, in the order of RFC 3964 §5.2.
    #[inline(never)]
    fn judge(&self, flow: &Flow) -> Result<Admitted, Denied> {
        if !self.owns_ipv4(flow.outer_destination) {
            return Err(Denied::NotAddressed);
        }
        self.judge_addressed(flow).map_err(Denied::Refused)
    }

    fn judge_addressed(&self, flow: &Flow) -> Result<Admitted, DropReason> {
        let is_broadcast = |ipv4| self.locators().iter().any(|own| own.is_broadcast(ipv4));
        if self.underlay.excludes(flow.outer_source) {
            return Err(DropReason::OuterSourceRefused);
        }
        ingress::outer(flow, self.accept_bogons)?;
        for address in [&flow.inner_source, &flow.inner_destination] {
            ingress::inner(address)?;
            ingress::embedded(address, self.accept_bogons)?;
            if embedded_ipv4(address).is_some_and(is_broadcast) {
                return Err(DropReason::SixToFourEmbeddedRefused);
            }
        }
        let from = ingress::source(flow)?;
        ingress::destination(flow)?;
        ingress::one_is_sixtofour(&flow.inner_source, &flow.inner_destination)?;
        match self.side {
            Side::Site => {
                ingress::in_site(flow)?;
                if from == Admitted::UnverifiedRelay {
                    ingress::relay(flow.outer_source, &self.relays)?;
                }
            }
            Side::Relay { .. } => {
                ingress::leaves_sixtofour(flow, self.is_local(&flow.inner_destination))?;
                ingress::client(flow.outer_source, &self.clients)?;
            }
        }
        Ok(from)
    }
}

/// Whether an address is clearly one of the native Internet.
#[inline(always)]
fn is_plainly_native(address: &Ipv6Addr) -> bool {
    is_plainly_global(address) && embedded_ipv4(address).is_none()
}

impl<C: Capacity> Link for SixToFourLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::SixToFour
    }

    fn traits(&self) -> Traits {
        Traits::AUTOMATIC
    }

    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        match embedded_ipv4(destination) {
            // RTE-10: what no LAN of ours has.
            Some(site) if self.side == Side::Site && self.owns_ipv4(site) => Err(DropReason::NullRoute),
            Some(_) => Ok(*destination),
            None => self.gateway.map(addr::relay).ok_or(DropReason::NoRoute),
        }
    }

    fn permit(
        &self,
        inner_source: &Ipv6Addr,
        inner_destination: &Ipv6Addr,
        next_hop: &Ipv6Addr,
    ) -> Result<(), DropReason> {
        if self.plainly_permits(inner_source, inner_destination, next_hop) {
            return Ok(());
        }
        self.judge_leaving(inner_source, inner_destination, next_hop)
    }

    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        // S64-10 [RFC 3056 §3, §5.3], RTE-3: the next hop's, not the
        // destination's.
        let destination = embedded_ipv4(next_hop).ok_or(DropReason::NextHopUnresolvable)?;
        // TUN-4; S64-11: nor to ourselves.
        if !self.underlay.may_send_to(destination) {
            return Err(DropReason::DestinationRefused);
        }
        if matches!(self.side, Side::Relay { .. }) {
            ingress::client(destination, &self.clients)?;
        }
        Ok(Resolution::To { source: self.outer_source(inner_source)?, destination })
    }

    fn awaits(&self, flow: &Flow) -> bool {
        // S64-35: an echo reply, or an error of the relay's.
        self.probed == Some(flow.outer_source)
            && flow.next_header == protocol::ICMPV6
            && self.is_local(&flow.inner_destination)
    }

    #[inline(always)]
    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        match self.plain(flow) {
            Some(from) => Ok(from),
            // A copy, so that the flow of a plain packet need not be in memory.
            None => self.judge(&{ *flow }),
        }
    }

    #[inline]
    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        PREFIX.contains(address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        match embedded_ipv4(address) {
            Some(ipv4) if self.owns_ipv4(ipv4) => {
                // ISA-70 [RFC 4291 §2.6.1]: the subnet-router anycast address
                // of subnet 0 too.
                *address == self.address_of(ipv4) || *address == addr::site(ipv4).address()
            }
            _ => false,
        }
    }

    fn own_marks(&self) -> Marks {
        // The anycast address ends in zeros.
        let anycast = Marks::NONE.with_last_of(&Ipv6Addr::UNSPECIFIED);
        let own = |marks: Marks, own: &Locator| marks.with_last_of(&self.address_of(own.address));
        self.locators().iter().fold(anycast, own)
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        // S64-34: of the anycast relay too, but not as the first choice.
        let unicast = self.underlay.locators().iter().find(|locator| locator.address != ANYCAST_RELAY);
        unicast.or_else(|| self.underlay.locators().first()).map(|locator| self.address_of(locator.address))
    }
}

#[cfg(test)]
mod tests;
