//! Which links there are, in which order they are asked, and whose an address
//! is.

use core::cell::Cell;
use core::net::Ipv6Addr;

use super::{Datapath, Port, Switches};
use crate::capacity::{Capacity, Parts};
use crate::error::{Table, TableFull};
use crate::interface::{Interface, Routes};
use crate::link::Link;
use crate::packet::LinkId;
use crate::prefix::Ipv6Prefix;
use crate::proto41::Marks;

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Datapath<I, C, LINKS> {
    /// Adds an interface behind those of the same kind or one that takes
    /// precedence. `TUN-23`
    ///
    /// # Errors
    /// There are `LINKS` links already, or the interface's metric cannot be
    /// kept.
    pub fn add(&mut self, interface: I, switches: Switches) -> Result<LinkId, TableFull> {
        let full = TableFull::new(Table::Links);
        let mut free = (0..LinkId::NULL.0).zip(&self.ports).filter(|(_, port)| port.is_none());
        let (number, _) = free.find(|(number, _)| !self.routes.is_leaving(LinkId(*number))).ok_or(full)?;
        let kind = interface.link().kind();
        let place = self.links().take_while(|(_, link)| link.kind() <= kind).count();
        self.routes.set_interface_metric(LinkId(number), switches.metric)?;
        *self.ports.get_mut(usize::from(number)).ok_or(full)? = Some(Port { interface, switches });
        self.reach = self.reach.max(number.saturating_add(1));
        // Not `rotate_right`, which panics on an empty slice.
        let mut displaced = LinkId(number);
        self.order.iter_mut().skip(place).for_each(|place| core::mem::swap(place, &mut displaced));
        self.note_links();
        Ok(LinkId(number))
    }

    /// Removes an interface, and the routes by it: `RTE-8`. Its number is free
    /// once their removal was told.
    pub(crate) fn remove(&mut self, id: LinkId) -> Option<I> {
        let port = self.ports.get_mut(id.index())?.take()?;
        let mut others = [LinkId::NULL; LINKS];
        let kept = self.order.iter().filter(|&&other| other != id);
        others.iter_mut().zip(kept).for_each(|(place, &other)| *place = other);
        self.order = others;
        self.routes.remove_link(id);
        self.note_links();
        Some(port.interface)
    }

    /// Notes what any link has: after each change of which links there are, and of one of them.
    pub(crate) fn note_links(&mut self) {
        let none = if C::PARTS.contains(Parts::SHORTCUTS) { Marks::NONE } else { Marks::ALL };
        let (mut natives, mut has_own_prefix, mut own) = ([LinkId::NULL; LINKS], false, none);
        let mut places = natives.iter_mut();
        for (id, link) in self.links() {
            let traits = link.traits();
            if traits.native
                && let Some(place) = places.next()
            {
                *place = id;
            }
            has_own_prefix |= traits.own_prefix;
            if C::PARTS.contains(Parts::SHORTCUTS) {
                own = own.with(link.own_marks());
            }
        }
        (self.natives, self.has_own_prefix, self.own) = (natives, has_own_prefix, own);
    }

    /// Offers packets to links of one kind in this order, as if they had been
    /// added so; those that are not named come last. `TUN-23`
    pub fn set_order(&mut self, wanted: &[LinkId]) {
        let ports = &self.ports;
        let rank = |link: LinkId| {
            let port = ports.get(link.index()).and_then(Option::as_ref);
            let place = wanted.iter().position(|id| *id == link).unwrap_or(usize::MAX);
            // Nobody comes last.
            (port.is_none(), port.map(|port| port.interface.link().kind()), place)
        };
        let order = Cell::from_mut(self.order.as_mut_slice()).as_slice_of_cells();
        // The sorts of `core` can panic.
        for _ in order {
            for (one, next) in order.iter().zip(order.iter().skip(1)) {
                if rank(next.get()) < rank(one.get()) {
                    one.swap(next);
                }
            }
        }
    }

    /// The interface of this number, with its switches.
    #[inline]
    #[must_use]
    pub fn port(&self, id: LinkId) -> Option<&Port<I>> {
        self.ports.get(id.index())?.as_ref()
    }

    /// The same, to be changed, but not for an interface of another kind.
    pub fn port_mut(&mut self, id: LinkId) -> Option<&mut Port<I>> {
        // Whoever has it may give its link addresses.
        self.own = Marks::ALL;
        self.lent_port(id)
    }

    /// The same for who tells of a link's [changes](Self::note_links).
    pub(crate) fn lent_port(&mut self, id: LinkId) -> Option<&mut Port<I>> {
        self.ports.get_mut(id.index())?.as_mut()
    }

    /// Gives an interface another metric. `RTE-1`
    ///
    /// # Errors
    /// There is no such interface, or its metric cannot be kept.
    pub fn set_metric(&mut self, id: LinkId, metric: u32) -> Result<(), TableFull> {
        let port = self.ports.get_mut(id.index()).and_then(Option::as_mut).ok_or(TableFull::new(Table::Links))?;
        self.routes.set_interface_metric(id, metric)?;
        port.switches.metric = metric;
        Ok(())
    }

    /// One link and the routes, to be changed together.
    pub(crate) fn split(&mut self, id: LinkId) -> Option<(&mut Port<I>, &mut Routes<C>)> {
        Some((self.ports.get_mut(id.index())?.as_mut()?, &mut self.routes))
    }

    /// The interfaces in the order in which packets are offered to them.
    #[inline]
    pub fn by_precedence(&self) -> impl Iterator<Item = (LinkId, &Port<I>)> {
        self.order.iter().map_while(|&id| Some((id, self.port(id)?)))
    }

    /// The links by number: for what any of them may say.
    #[inline]
    pub(crate) fn numbered(&self) -> impl Iterator<Item = (usize, &I::Link)> {
        let ports = self.ports.get(..usize::from(self.reach)).unwrap_or(&[]).iter().enumerate();
        ports.filter_map(|(number, port)| Some((number, port.as_ref()?.interface.link())))
    }

    /// Those that are native.
    #[inline]
    pub(super) fn natives(&self) -> impl Iterator<Item = (LinkId, &I::Link)> {
        self.natives.iter().map_while(|&id| Some((id, self.link(id)?)))
    }

    /// Their links.
    #[inline]
    pub(crate) fn links(&self) -> impl Iterator<Item = (LinkId, &I::Link)> {
        self.by_precedence().map(|(id, port)| (id, port.interface.link()))
    }

    /// The link of this number.
    #[inline]
    pub(crate) fn link(&self, id: LinkId) -> Option<&I::Link> {
        self.port(id).map(|port| port.interface.link())
    }

    /// The link that packets are offered to after `place` others. `TUN-23`
    pub(crate) fn in_order(&self, place: usize) -> Option<LinkId> {
        self.order.get(place).copied().filter(|id| *id != LinkId::NULL)
    }

    /// Whether `address` is this node's: link-local ones only on their link.
    #[inline]
    #[must_use]
    pub fn is_local(&self, on: LinkId, address: &Ipv6Addr) -> bool {
        if Ipv6Prefix::LINK_LOCAL.contains(address) {
            return self.link(on).is_some_and(|link| link.is_local(address));
        }
        // Most are nobody's here, which one look tells.
        (!C::PARTS.contains(Parts::SHORTCUTS) || self.own.may_have_last_of(address)) && self.is_of_any_link(address)
    }

    #[inline(never)]
    fn is_of_any_link(&self, address: &Ipv6Addr) -> bool {
        self.numbered().any(|(_, link)| link.is_local(address))
    }
}
