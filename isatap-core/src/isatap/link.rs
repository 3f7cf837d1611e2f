//! The ISATAP link: next hop to IPv4 address and back, over plain data.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::{Bounded, Capacity, Parts, Vec};
use crate::drop_reason::DropReason;
use crate::error::{Table, TableFull};
use crate::interface::Context;
use crate::isatap::addr::{self, embedded_ipv4};
use crate::isatap::ingress;
use crate::isatap::prl::{EntryOrigin, PotentialRouter, Prl};
use crate::link::{Admitted, Denied, Link, LinkKind, Locator, OuterPolicy, Resolution, Traits};
use crate::nd::learned::{self, Prefixes};
use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
use crate::proto41::underlay::Underlay;
use crate::proto41::{Flow, Marks};
use crate::route::{Origin, Route};
use crate::select::{self, Source};

/// An ISATAP interface's data: who we are, who the routers are, what is
/// on-link. One of each for one site, since the locators of two would let one
/// site's routers speak in the other. `ISA-10 [RFC 5214 §6.2]`
///
/// A host's or a router's control machine changes it; the datapath only reads
/// it.
#[derive(Clone)]
pub struct IsatapLink<C: Capacity> {
    pub(crate) underlay: Underlay<C>,
    pub(crate) prl: Prl<C>,
    /// Whether the router in the first row of the list, once it is listed, is
    /// none of the others.
    is_first_router_plain: bool,
    pub(crate) prefixes: Prefixes<C::Prefixes>,
    pub(crate) members: Vec<Ipv4Prefix, C::Members>,
    pub(crate) router: bool,
    /// Other tunnel routers. `SEC-4`
    known: Vec<Ipv4Addr, C::KnownRouters>,
}

impl<C: Capacity> IsatapLink<C> {
    /// A link without locators, routers or prefixes.
    pub(crate) const fn new(policy: OuterPolicy, router: bool) -> Self {
        IsatapLink {
            underlay: Underlay::new(policy),
            prl: Prl::EMPTY,
            is_first_router_plain: false,
            prefixes: Prefixes::EMPTY,
            members: Bounded::EMPTY,
            router,
            known: Bounded::EMPTY,
        }
    }

    /// The locators: IPv4 addresses that this link sends from.
    #[must_use]
    pub fn locators(&self) -> &[Locator] {
        self.underlay.locators()
    }

    /// The potential router list.
    #[must_use]
    pub fn potential_routers(&self) -> &Prl<C> {
        &self.prl
    }

    /// `SEC-2`: adds an IPv4 prefix to the site's. With none, every IPv4
    /// address counts as the site's. It keeps other sites out; a tunnel router
    /// inside the prefix it does not see.
    ///
    /// # Errors
    /// The table is full.
    pub fn add_member(&mut self, prefix: Ipv4Prefix) -> Result<(), TableFull> {
        self.members.add(prefix, Table::Members)
    }

    /// Other tunnel routers, which are no hosts. `SEC-4`
    pub fn known_routers(&self) -> impl Iterator<Item = Ipv4Addr> + '_ {
        self.known.iter().copied()
    }

    /// `SEC-4`: see [`RouterInterface::set_known_routers`](super::RouterInterface::set_known_routers).
    pub(crate) fn set_known_routers(&mut self, routers: &[Ipv4Addr]) -> Result<(), TableFull> {
        self.known.clear();
        let mut routers = routers.iter().filter(|router| !router.is_unspecified());
        let result = routers.try_for_each(|router| self.known.add(*router, Table::KnownRouters));
        self.mark();
        result
    }

    /// `SEC-4 [RFC 6324 §3.2.3]`: whether that is another tunnel router.
    fn knows(&self, address: Ipv4Addr) -> bool {
        self.known.bounded().contains(&address)
    }

    /// The locator to send from toward `destination` when the inner source
    /// does not say: one of the same subnet, else the first. `ISA-13`
    pub(crate) fn locator_for(&self, destination: Ipv4Addr) -> Option<Ipv4Addr> {
        let own = self.locators();
        own.iter().find(|locator| locator.is_near(destination)).or(own.first()).map(|locator| locator.address)
    }

    /// Replaces the locators by those that can be locators, without repeats.
    pub(crate) fn replace_locators(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        let result = self.underlay.replace(locators.iter().copied());
        self.mark();
        result
    }

    /// Lists a potential router; the number of its row and whether it is new.
    pub(crate) fn list_router(&mut self, address: Ipv4Addr, origin: EntryOrigin) -> Result<(usize, bool), TableFull> {
        let result = self.prl.add(address, origin);
        self.mark();
        result
    }

    fn mark(&mut self) {
        if !C::PARTS.contains(Parts::SHORTCUTS) {
            return;
        }
        let routers = self.known_routers().fold(self.prl.marks(), Marks::with_address);
        self.underlay.mark(routers);
        let is_plain = |router| !self.underlay.excludes(router) && !self.knows(router);
        self.is_first_router_plain = !self.underlay.first.is_unspecified() && self.prl.address(0).is_some_and(is_plain);
    }

    /// Brings the on-link routes to what the prefixes say. One that found no
    /// room is tried again each time.
    pub(crate) fn sync_routes(&mut self, cx: &mut Context<'_, C>) -> Result<(), TableFull> {
        let mut result = Ok(());
        while let Some((change, prefix)) = self.prefixes.poll_on_link() {
            if change == learned::Change::Removed {
                cx.routes.remove(&Route::on_link(prefix, cx.id, Origin::OnLink).key());
            }
        }
        for row in self.prefixes.iter().filter(|row| row.is_on_link()) {
            let route = Route::on_link(row.prefix(), cx.id, Origin::OnLink);
            if cx.routes.find(&route.key()).is_none() {
                result = result.and(cx.insert_route(route));
            }
        }
        result
    }

    /// Whether addresses are made of a prefix that `address` lies in. Not the
    /// same as on-link: L and A of an advertisement are independent.
    /// `NDP-33 [RFC 5942 §4]`
    fn makes_addresses(&self, address: &Ipv6Addr) -> bool {
        Ipv6Prefix::LINK_LOCAL.contains(address) || self.prefixes.makes_addresses(address)
    }

    /// The outer source for an inner source.
    ///
    /// `ISA-13`, `TUN-2 [RFC 4213 §3.5]`: it is the IPv4 address in the inner
    /// source when that is an ISATAP address of this interface, whatever the
    /// IPv4 routing would choose: the receiver compares the two. A router
    /// sends from its own locator what it forwards, since hosts believe it by
    /// their potential router lists.
    fn outer_source(&self, inner_source: &Ipv6Addr, destination: Ipv4Addr) -> Result<Ipv4Addr, DropReason> {
        if let Some(embedded) = embedded_ipv4(inner_source) {
            let of_this_link = self.is_on_link(inner_source) || self.makes_addresses(inner_source);
            if of_this_link && self.owns_ipv4(embedded) {
                return Ok(embedded);
            }
            // ISA-11: the locator is gone, and so are packets from its addresses.
            if of_this_link && !self.router {
                return Err(DropReason::SourceUnusable);
            }
        }
        self.locator_for(destination).ok_or(DropReason::NoLocator)
    }

    /// Who sent a packet that is clearly in order; `None` says only that
    /// [`judge`](Self::judge) must look.
    ///
    /// Every packet that comes in runs through here, so the instructions
    /// count: no walk, and nothing that reads the flow from memory. That both
    /// ways agree is a property test.
    #[inline(always)]
    fn plain(&self, flow: &Flow) -> Option<Admitted> {
        let (source, inner_source) = (flow.outer_source, &flow.inner_source);
        let is_on = C::PARTS.contains(Parts::SHORTCUTS) && flow.outer_destination == self.underlay.first;
        if !is_on || !ingress::is_plainly_unicast(&flow.inner_destination) {
            return None;
        }
        if !self.underlay.marks.may_have(source) {
            let is_host = self.members.is_empty()
                && addr::embeds(inner_source, source)
                && self.prefixes.is_plainly_on_link(inner_source);
            return is_host.then_some(Admitted::Host);
        }
        let is_router = self.is_first_router_plain && self.prl.is_first(source) && !inner_source.is_unspecified();
        is_router.then_some(Admitted::Router)
    }

    /// The checks one by one, for packets that are not plain.
    #[inline(never)]
    fn judge(&self, addresses: &Judged) -> Result<Admitted, Denied> {
        let Judged { outer_source, outer_destination, inner_source, inner_destination } = addresses;
        let (outer_source, outer_destination) = (*outer_source, *outer_destination);
        let (mut addressed, mut refused) = (false, false);
        for locator in self.underlay.locators.bounded() {
            addressed |= locator.address == outer_destination;
            refused |= locator.excludes(outer_source);
        }
        // ISA-40 [RFC 5214 §7.3]
        if !addressed {
            return Err(Denied::NotAddressed);
        }
        if refused {
            return Err(Denied::Refused(DropReason::OuterSourceRefused));
        }
        // ISA-41; the rest of the source list is Flow::parse's (TUN-16).
        ingress::source_is_specified(inner_source).map_err(Denied::Refused)?;
        ingress::destination(inner_destination, self.router).map_err(Denied::Refused)?;
        if self.knows(outer_source) {
            return Err(Denied::Refused(DropReason::KnownRouter));
        }
        let listed = self.prl.lists(outer_source);
        // ISA-50: a router is no exception.
        let from = ingress::source(inner_source, outer_source, self.is_on_link(inner_source), listed)
            .map_err(Denied::Refused)?;
        if from == Admitted::Host {
            ingress::member(outer_source, self.members.bounded()).map_err(Denied::Refused)?;
        }
        Ok(from)
    }
}

/// What [`IsatapLink::judge`] looks at, as one argument: BPF has five registers for
/// them, and an address takes two.
struct Judged {
    outer_source: Ipv4Addr,
    outer_destination: Ipv4Addr,
    inner_source: Ipv6Addr,
    inner_destination: Ipv6Addr,
}

impl<C: Capacity> Link for IsatapLink<C> {
    type Capacity = C;

    fn kind(&self) -> LinkKind {
        LinkKind::Isatap
    }

    fn traits(&self) -> Traits {
        Traits::AUTOMATIC
    }

    #[inline]
    fn underlay(&self) -> &Underlay<C> {
        &self.underlay
    }

    fn underlay_mut(&mut self) -> &mut Underlay<C> {
        &mut self.underlay
    }

    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        // ISA-5, ISA-80: the next hop's last four bytes, of either u bit.
        let destination = embedded_ipv4(next_hop).ok_or(DropReason::NextHopUnresolvable)?;
        if !self.underlay.may_send_to(destination) {
            return Err(DropReason::DestinationRefused);
        }
        // Whoever is in a table is marked: see `mark`.
        let is_marked = self.underlay.marks.may_have(destination);
        if is_marked && self.knows(destination) {
            return Err(DropReason::KnownRouter);
        }
        if !is_marked || !self.prl.lists(destination) {
            // SEC-2
            ingress::member(destination, &self.members)?;
        }
        let source = self.outer_source(inner_source, destination)?;
        Ok(Resolution::To { source, destination })
    }

    /// To a neighbour, or by the first router of the list whose advertisements
    /// make it a default router.
    fn next_hop(&self, destination: &Ipv6Addr) -> Result<Ipv6Addr, DropReason> {
        if self.is_on_link(destination) {
            return Ok(*destination);
        }
        // NDP-37 [RFC 4861 §6.3.6]: one that does not answer, where none does.
        let router = self.prl.iter().find(|row| row.is_reachable_default());
        let router = router.or_else(|| self.prl.iter().find(|row| row.is_default_router()));
        router.map(PotentialRouter::speaks_from).ok_or(DropReason::NoRoute)
    }

    #[inline]
    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        match self.plain(flow) {
            Some(from) => Ok(from),
            None => {
                // Copies: what is handed on by reference would have to be in
                // memory for the plain packets too.
                let Flow { outer_source, outer_destination, inner_source, inner_destination, .. } = *flow;
                self.judge(&Judged { outer_source, outer_destination, inner_source, inner_destination })
            }
        }
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        self.prefixes.is_plainly_on_link(address) || self.prefixes.is_on_link(address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        match embedded_ipv4(address) {
            // Most addresses are a neighbour's: see `Underlay::marks`.
            Some(embedded) => {
                self.underlay.marks.may_have(embedded) && self.owns_ipv4(embedded) && self.makes_addresses(address)
            }
            // ISA-70 [RFC 4291 §2.6.1]: the subnet-router anycast address of a
            // router's subnets; nobody's is fe80::.
            None => {
                self.router
                    && is_zero_identifier(address)
                    && !Ipv6Prefix::LINK_LOCAL.contains(address)
                    && self.prefixes.is_on_link(address)
            }
        }
    }

    fn own_marks(&self) -> Marks {
        let anycast = if self.router { Marks::NONE.with_last_of(&Ipv6Addr::UNSPECIFIED) } else { Marks::NONE };
        self.locators().iter().fold(anycast, |marks, own| marks.with_address(own.address))
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        let toward = embedded_ipv4(destination).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let locator = self.locator_for(toward)?;
        let learned = self.prefixes.iter().filter(|row| row.valid_until().is_some()).filter_map(|row| {
            let deprecated = row.preferred_until().is_none();
            Some(Source { deprecated, ..Source::new(addr::address(&row.prefix(), locator)?.into(), 64) })
        });
        let link_local = Source::new(addr::link_local(locator).into(), 64);
        select::source_among(core::iter::once(link_local).chain(learned), destination)
    }
}

/// Whether the lower 64 bits are zero.
fn is_zero_identifier(address: &Ipv6Addr) -> bool {
    Ipv6Prefix::subnet_of(address).address() == *address
}

#[cfg(test)]
mod tests;
