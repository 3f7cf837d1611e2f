//! What an interface tells, as it should be and as the caller was told.

use core::net::Ipv6Addr;

use crate::capacity::{Capacity, Count as _};
use crate::engine::{Change, Delegation, Event, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::interface::full::FullTables;
use crate::interface::{Addresses, Context, Replacement};
use crate::link::OuterPolicy;
use crate::packet::LinkId;
use crate::route::{Origin, Route};
use crate::time::Expiry;

/// What every tunnel tells: its addresses, its MTU, tables without room.
#[derive(Clone)]
pub(crate) struct Told<C: Capacity> {
    pub(crate) addresses: Addresses<C::Addresses>,
    mtu: u16,
    pub(crate) full: FullTables,
}

impl<C: Capacity> Told<C> {
    /// Nothing is there, and nothing was told.
    pub(crate) const NOTHING: Self = Told { addresses: Addresses::EMPTY, mtu: 0, full: FullTables::NONE };

    /// Brings the addresses to those that `give` gives.
    pub(crate) fn sync_addresses(&mut self, give: impl FnOnce(&mut Replacement<'_, C::Addresses>)) {
        let mut wanted = self.addresses.replace();
        give(&mut wanted);
        let replaced = wanted.end();
        self.full.set(Table::Addresses, replaced);
    }

    /// The same for an automatic tunnel, of which no address has a prefix of
    /// its own.
    pub(crate) fn sync_automatic(&mut self, addresses: impl Iterator<Item = Ipv6Addr>, until: Expiry) {
        self.sync_addresses(|wanted| addresses.for_each(|address| wanted.add(automatic(address, until, until))));
    }

    /// Brings the routes that an automatic tunnel has made to those `wanted`.
    ///
    /// # Errors
    /// Not all found a row.
    pub(crate) fn sync_routes(
        &mut self,
        cx: &mut Context<'_, C>,
        wanted: impl Iterator<Item = Route> + Clone,
    ) -> Result<(), TableFull> {
        if C::Routes::ROWS == 0 {
            return Ok(());
        }
        let id = cx.id;
        let is_own = |route: &Route| route.link == id && route.origin == Origin::Automatic;
        cx.routes.remove_if(|route| is_own(route) && !wanted.clone().any(|other| other.key() == route.key()));
        let mut result = Ok(());
        for route in wanted {
            if cx.routes.find(&route.key()) != Some(&route) {
                result = result.and(cx.insert_route(route));
            }
        }
        self.full.set(Table::Routes, result);
        result
    }

    /// The next difference.
    pub(crate) fn poll_event(&mut self, link: LinkId, policy: &OuterPolicy) -> Option<Event> {
        if let Some((change, address)) = self.addresses.poll() {
            return Some(Event::Address { link, change, address });
        }
        let mtu = policy.ipv6_mtu();
        if self.mtu != mtu {
            self.mtu = mtu;
            return Some(Event::Mtu { link, mtu: self.mtu });
        }
        self.full.poll().map(|table| Event::TableFull { link, table })
    }
}

/// A prefix that a tunnel has for this node's LANs.
#[derive(Clone, Copy)]
pub(crate) struct Delegated {
    pub(crate) wanted: Option<Delegation>,
    told: Option<Delegation>,
}

impl Delegated {
    pub(crate) const NOTHING: Self = Delegated { wanted: None, told: None };

    /// The next difference. `S6R-9`, `S64-38`: the old prefix goes before the
    /// new one comes.
    pub(crate) fn poll_event(&mut self, link: LinkId) -> Option<Event> {
        if self.told == self.wanted {
            return None;
        }
        let prefix = |delegation: Option<Delegation>| delegation.map(|delegation| delegation.prefix);
        let (change, next) = match self.told {
            None => (Change::Added, self.wanted),
            Some(_) if prefix(self.told) == prefix(self.wanted) => (Change::Changed, self.wanted),
            Some(_) => (Change::Removed, None),
        };
        let told = core::mem::replace(&mut self.told, next);
        let delegation = next.or(told)?;
        Some(Event::Delegation { link, change, delegation })
    }
}

/// An address of an automatic tunnel.
pub(crate) fn automatic(address: Ipv6Addr, preferred_until: Expiry, valid_until: Expiry) -> LearnedAddress {
    LearnedAddress { address, prefix_length: 128, preferred_until, valid_until }
}
