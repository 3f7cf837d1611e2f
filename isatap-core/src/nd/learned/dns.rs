//! DNS servers and search domains. [RFC 8106 §5.3]

use core::fmt;
use core::net::Ipv6Addr;

use super::{Sources, row_to_take};
use crate::capacity::{Bounded, Count};
use crate::error::{Table, TableFull};
use crate::nd::option::{DnsSearchList, DomainName, RecursiveDnsServers};
use crate::time::{Expiry, Instant, Lifetime};

/// Things that routers advertise with a lifetime: [`DnsServer`]s or
/// [`SearchDomain`]s, in the order in which they were learned.
///
/// Bounded: what finds no row is [`TableFull`]. It may take the row of a
/// router that has more of them: see the [module](super). Room for three or
/// more is sufficient. [RFC 8106 §5.3.1]
///
/// That the list changed is told once, by [`poll_changed`](Self::poll_changed),
/// whatever changed: who asks reads the whole list.
#[derive(Clone)]
pub(crate) struct TimedSet<T: Copy, K: Count> {
    rows: K::Vec<TimedRow<T>>,
    changed: bool,
}

/// One row of a `TimedSet`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimedRow<T> {
    item: T,
    until: Expiry,
    sources: Sources,
}

/// What a `TimedSet` holds.
pub(crate) trait TimedItem: Copy + PartialEq {
    /// The table that a [`TableFull`] names.
    const TABLE: Table;
}

/// A DNS server. A link-local address belongs to the link that it was
/// learned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DnsServer(pub Ipv6Addr);

impl TimedItem for DnsServer {
    const TABLE: Table = Table::DnsServers;
}

/// A search domain, with room for a name of `N` bytes in wire form; any name
/// fits in the default, 255.
#[derive(Clone, Copy)]
pub struct SearchDomain<const N: usize = 255> {
    wire: [u8; N],
    len: u8,
}

impl<const N: usize> SearchDomain<N> {
    /// The name, if there is room for it.
    #[must_use]
    pub fn new(name: &DomainName<'_>) -> Option<Self> {
        let name = name.as_slice();
        let mut wire = [0; N];
        // Not `copy_from_slice`: see Writer::bytes.
        wire.get_mut(..name.len())?.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
        Some(SearchDomain { wire, len: u8::try_from(name.len()).ok()? })
    }

    /// The name in wire form.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        self.wire.get(..usize::from(self.len)).unwrap_or(&[])
    }

    /// The name; `None` only of a row that is not in use.
    #[must_use]
    pub fn name(&self) -> Option<DomainName<'_>> {
        DomainName::from_wire(self.as_slice())
    }
}

impl<const N: usize> PartialEq for SearchDomain<N> {
    /// Case does not count. [RFC 1035 §2.3.3]
    fn eq(&self, other: &Self) -> bool {
        self.as_slice().eq_ignore_ascii_case(other.as_slice())
    }
}

impl<const N: usize> Eq for SearchDomain<N> {}

impl<const N: usize> fmt::Debug for SearchDomain<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name().fmt(f)
    }
}

impl<const N: usize> TimedItem for SearchDomain<N> {
    const TABLE: Table = Table::SearchDomains;
}

impl<T> TimedRow<T> {
    /// What was learned.
    pub const fn item(&self) -> &T {
        &self.item
    }

    /// Until when it may be used.
    pub const fn until(&self) -> Expiry {
        self.until
    }

    /// The routers that advertised it.
    pub const fn sources(&self) -> Sources {
        self.sources
    }
}

impl<T: TimedItem, K: Count> TimedSet<T, K> {
    /// Nothing learned.
    pub(crate) const EMPTY: Self = TimedSet { rows: Bounded::EMPTY, changed: false };

    /// The router in slot `router` says that `item` may be used for
    /// `lifetime`; zero: no longer. Gives the row that had to go for it.
    ///
    /// `NDP-13 [RFC 8106 §5.1, 5.2]`
    ///
    /// # Errors
    /// It is new and there is no row for it.
    pub(crate) fn learn(
        &mut self,
        now: Instant,
        item: T,
        lifetime: Lifetime,
        router: u8,
    ) -> Result<Option<TimedRow<T>>, TableFull> {
        let mut displaced = None;
        if lifetime.is_zero() {
            self.retain(|row| row.item != item);
            return Ok(displaced);
        }
        let until = Expiry::after(now, lifetime);
        if let Some(row) = self.rows.iter_mut().find(|row| row.item == item) {
            row.until = until;
            row.sources.add(router);
        } else {
            if self.rows.is_full() {
                let full = TableFull::new(T::TABLE);
                displaced = self.rows.take(row_to_take(self.rows.iter().map(TimedRow::sources), router).ok_or(full)?);
            }
            self.rows.add(TimedRow { item, until, sources: Sources::of(router) }, T::TABLE)?;
            self.changed = true;
        }
        Ok(displaced)
    }

    /// The router in `slot` is no potential router any more: what only it
    /// advertised is gone. `ISA-23`
    pub(crate) fn forget_router(&mut self, slot: u8) {
        self.retain(|row| !row.sources.take(slot));
    }

    /// Lets time pass up to `now`.
    pub(crate) fn expire(&mut self, now: Instant) {
        self.retain(|row| !row.until.is_due(now));
    }

    /// The earliest time at which [`expire`](Self::expire) will change
    /// something.
    #[must_use]
    pub(crate) fn deadline(&self) -> Expiry {
        self.rows.iter().map(|row| row.until).min().unwrap_or(Expiry::NEVER)
    }

    /// What may be used, as of the last [`expire`](Self::expire).
    pub(crate) fn iter(&self) -> core::slice::Iter<'_, TimedRow<T>> {
        self.rows.iter()
    }

    /// Whether something came or went since this was last asked.
    pub(crate) fn poll_changed(&mut self) -> bool {
        core::mem::take(&mut self.changed)
    }

    fn retain(&mut self, keep: impl FnMut(&mut TimedRow<T>) -> bool) {
        let before = self.rows.len();
        self.rows.keep(keep);
        self.changed |= self.rows.len() != before;
    }
}

impl<K: Count> TimedSet<DnsServer, K> {
    /// Takes in the servers of an option, as far as they fit.
    ///
    /// `refused` hears of each server that has no row, and of which
    /// routers it was.
    ///
    /// # Errors
    /// One is new and there is no row for it; the others were taken.
    pub(crate) fn learn_each(
        &mut self,
        now: Instant,
        option: &RecursiveDnsServers<'_>,
        router: u8,
        mut refused: impl FnMut(Sources, DnsServer),
    ) -> Result<(), TableFull> {
        let mut result = Ok(());
        for server in option.addresses().map(DnsServer) {
            match self.learn(now, server, option.lifetime(), router) {
                Ok(Some(displaced)) => refused(displaced.sources, displaced.item),
                Ok(None) => {}
                Err(full) => {
                    refused(Sources::of(router), server);
                    result = Err(full);
                }
            }
        }
        result
    }
}

impl<const N: usize, K: Count> TimedSet<SearchDomain<N>, K> {
    /// Takes in the domains of an option, as far as they fit.
    ///
    /// `refused` hears of each domain that has no row, by the routers
    /// that it was of.
    ///
    /// Security: names that are no plain host names are ignored, since what
    /// a router advertises ends in resolver files and scripts.
    ///
    /// # Errors
    /// One is new and there is no row for it, or it is longer than a row;
    /// the others were taken.
    pub(crate) fn learn_each(
        &mut self,
        now: Instant,
        option: &DnsSearchList<'_>,
        router: u8,
        mut refused: impl FnMut(Sources),
    ) -> Result<(), TableFull> {
        let mut result = Ok(());
        for name in option.names().filter(DomainName::is_hostname) {
            let learned = match SearchDomain::new(&name) {
                Some(domain) => self.learn(now, domain, option.lifetime(), router),
                None if option.lifetime().is_zero() => Ok(None),
                None => Err(TableFull::new(Table::SearchDomains)),
            };
            match learned {
                Ok(Some(displaced)) => refused(displaced.sources),
                Ok(None) => {}
                Err(full) => {
                    refused(Sources::of(router));
                    result = Err(full);
                }
            }
        }
        result
    }
}

impl<T: TimedItem + fmt::Debug, K: Count> fmt::Debug for TimedSet<T, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.fmt(f)
    }
}

#[cfg(test)]
mod tests;
