//! What was advertised or configured and found no room, by who asked for it.

use core::net::Ipv6Addr;

use crate::capacity::{Array, Row, Storage};
use crate::error::Table;
use crate::packet::LinkId;
use crate::prefix::Ipv6Prefix;

/// Counts of what tables had no room for: one row a link, table and router.
///
/// Bounded: a new row takes that of the least count.
#[derive(Clone)]
pub struct Refusals<S> {
    /// Free are those that count nothing.
    rows: S,
}

/// What one router asked for and did not get, or had to give up for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// The link that it was for.
    pub link: LinkId,
    /// The table without room.
    pub table: Table,
    /// The router's link-local address; `None`: no router asked.
    pub router: Option<Ipv6Addr>,
    /// What was refused last; `None`: a name.
    pub last: Option<Ipv6Prefix>,
    /// How often.
    pub count: u32,
}

impl Row for Refusal {
    const EMPTY: Self = Refusal { link: LinkId(0), table: Table::Routes, router: None, last: None, count: 0 };
}

impl<S: Array<Refusal>> Refusals<S> {
    /// None.
    pub(crate) const EMPTY: Self = Refusals { rows: S::EMPTY };
}

impl<S: Storage<Refusal>> Refusals<S> {
    /// Counts one.
    pub(crate) fn note(&mut self, link: LinkId, table: Table, router: Option<Ipv6Addr>, last: Option<Ipv6Prefix>) {
        let router = router.map(without_u);
        let same = |row: &&mut Refusal| row.link == link && row.table == table && row.router == router;
        if let Some(row) = self.rows.as_mut().iter_mut().filter(|row| row.count > 0).find(same) {
            row.count = row.count.saturating_add(1);
            row.last = last;
            return;
        }
        if let Some(least) = self.rows.as_mut().iter_mut().min_by_key(|row| row.count) {
            *least = Refusal { link, table, router, last, count: 1 };
        }
    }

    /// Of a link that is gone.
    pub(crate) fn forget(&mut self, link: LinkId) {
        self.rows.as_mut().iter_mut().filter(|row| row.link == link).for_each(|row| *row = Refusal::EMPTY);
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &Refusal> {
        self.rows.as_ref().iter().filter(|row| row.count > 0)
    }
}

/// ISA-5: an ISATAP router may write its address with or without the u bit,
/// and is one router.
fn without_u(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() & !(1 << 57))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn prefix(last: u16) -> Option<Ipv6Prefix> {
        Ipv6Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, last, 0, 0, 0, 0, 0), 48)
    }

    #[test]
    fn one_row_a_link_table_and_router_and_the_least_goes_first() {
        let mut refusals: Refusals<[Refusal; 2]> = Refusals::EMPTY;
        let (own, other): (Ipv6Addr, Ipv6Addr) =
            ("fe80::5efe:10.0.0.9".parse().unwrap(), "fe80::200:5efe:10.0.0.9".parse().unwrap());
        refusals.note(LinkId(0), Table::Routes, Some(own), prefix(1));
        refusals.note(LinkId(0), Table::Routes, Some(other), prefix(2));
        refusals.note(LinkId(1), Table::Routes, Some(own), prefix(3));
        let row = |link, router, last, count| Refusal { link: LinkId(link), table: Table::Routes, router, last, count };
        let rows = [row(0, Some(own), prefix(2), 2), row(1, Some(own), prefix(3), 1)];
        assert_eq!(refusals.iter().copied().collect::<Vec<_>>(), rows);
        refusals.note(LinkId(0), Table::SearchDomains, None, None);
        let least = Refusal { table: Table::SearchDomains, ..row(0, None, None, 1) };
        assert_eq!(refusals.iter().copied().collect::<Vec<_>>(), [rows[0], least]);
    }

    #[test]
    fn a_table_without_rows_forgets() {
        let mut refusals: Refusals<[Refusal; 0]> = Refusals::EMPTY;
        refusals.note(LinkId(0), Table::Routes, None, None);
        assert_eq!(refusals.iter().count(), 0);
    }
}
