//! What the interface of every automatic tunnel has beside its link.

use core::net::Ipv6Addr;

use crate::capacity::{Capacity, Rows};
use crate::engine::{Change, Delegation, Event, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::interface::{AddressRow, Addresses, Context};
use crate::link::OuterPolicy;
use crate::route::Route;
use crate::time::{Expiry, Instant};

/// Addresses, delegation and MTU as they should be and as the caller was
/// told.
#[derive(Clone)]
pub(crate) struct Automatic<C: Capacity> {
    addresses: Addresses<Rows<C::Addresses, AddressRow>>,
    delegation: Option<Delegation>,
    told_delegation: Option<Delegation>,
    told_mtu: u16,
    /// The table that had no room, until that is told.
    full: Option<Table>,
    told_full: bool,
}

impl<C: Capacity> Automatic<C> {
    /// Nothing is there, and nothing was told.
    pub(crate) const EMPTY: Self = Automatic {
        addresses: Addresses::EMPTY,
        delegation: None,
        told_delegation: None,
        told_mtu: 0,
        full: None,
        told_full: false,
    };

    /// Replaces the addresses, each without a prefix of its own. `anycast`:
    /// one to answer at, and not to speak from: it comes deprecated. For
    /// [`note_room`](Self::note_room), with what else was replaced.
    pub(crate) fn set_addresses(
        &mut self,
        addresses: impl Iterator<Item = Ipv6Addr>,
        anycast: Option<Ipv6Addr>,
        until: Expiry,
    ) -> Result<(), TableFull> {
        let learned = |address, preferred_until| LearnedAddress {
            address,
            prefix_length: 128,
            preferred_until,
            valid_until: until,
        };
        let anycast = anycast.map(|address| learned(address, Expiry::at(Instant::ZERO)));
        self.addresses.replace(addresses.map(|address| learned(address, until)).chain(anycast))
    }

    /// The addresses.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.addresses.iter()
    }

    /// Replaces what this node may give to its LANs.
    pub(crate) fn set_delegation(&mut self, delegation: Option<Delegation>) {
        self.delegation = delegation;
    }

    /// What this node may give to its LANs.
    pub(crate) fn delegation(&self) -> Option<Delegation> {
        self.delegation
    }

    /// Notes whether there was room, to be told once until there is.
    pub(crate) fn note_room(&mut self, result: Result<(), TableFull>) {
        match result {
            Ok(()) => (self.full, self.told_full) = (None, false),
            Err(full) => self.full = Some(full.table),
        }
    }

    /// The next difference.
    pub(crate) fn poll_event(&mut self, cx: &mut Context<'_, C>, policy: &OuterPolicy) -> Option<Event> {
        let link = cx.id;
        if let Some((change, address)) = self.addresses.poll() {
            return Some(Event::Address { link, change, address });
        }
        if let Some((change, delegation)) = self.poll_delegation() {
            return Some(Event::Delegation { link, change, delegation });
        }
        if self.told_mtu != policy.link_mtu {
            self.told_mtu = policy.link_mtu;
            return Some(Event::Mtu { link, mtu: self.told_mtu });
        }
        let table = self.full.filter(|_| !self.told_full)?;
        self.told_full = true;
        Some(Event::TableFull { link, table })
    }

    fn poll_delegation(&mut self) -> Option<(Change, Delegation)> {
        if self.told_delegation == self.delegation {
            return None;
        }
        let same = |wanted: Delegation| self.told_delegation.is_some_and(|told| told.prefix == wanted.prefix);
        match (self.told_delegation, self.delegation) {
            // S6R-9, S64-38: the old one goes before the new one comes.
            (Some(told), wanted) if !wanted.is_some_and(same) => {
                self.told_delegation = None;
                Some((Change::Removed, told))
            }
            (told, Some(wanted)) => {
                self.told_delegation = Some(wanted);
                Some((if told.is_some() { Change::Changed } else { Change::Added }, wanted))
            }
            _ => None,
        }
    }

    /// Whether [`poll_event`](Self::poll_event) has something.
    pub(crate) fn has_event(&self, policy: &OuterPolicy) -> bool {
        self.addresses.has_changes()
            || self.told_delegation != self.delegation
            || self.told_mtu != policy.link_mtu
            || (self.full.is_some() && !self.told_full)
    }
}

/// Brings the routes that `own` says are the interface's to those `wanted`.
///
/// # Errors
/// Not all found a row.
pub(crate) fn replace_routes<C: Capacity>(
    cx: &mut Context<'_, C>,
    own: impl Fn(&Route) -> bool,
    wanted: impl Iterator<Item = Route> + Clone,
) -> Result<(), TableFull> {
    cx.routes.remove_if(|route| own(route) && !wanted.clone().any(|other| other.key() == route.key()));
    let mut result = Ok(());
    for route in wanted {
        if cx.routes.find(&route.key()) != Some(&route) {
            result = result.and(cx.insert_route(route));
        }
    }
    result
}
