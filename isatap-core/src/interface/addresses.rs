//! The addresses that an interface has, as they should be and as the caller
//! was told.

use core::net::Ipv6Addr;

use crate::capacity::{Bounded, Count};
use crate::engine::{Change, LearnedAddress};
use crate::error::{Table, TableFull};
use crate::time::Expiry;

/// The addresses of one interface; level-triggered.
#[derive(Clone)]
pub(crate) struct Addresses<K: Count> {
    rows: K::Vec<AddressRow>,
}

/// One address, wanted, told, or both. The fields of a [`LearnedAddress`],
/// laid out for small tables.
#[derive(Clone, Copy, Debug)]
struct AddressRow {
    address: Ipv6Addr,
    preferred_until: Expiry,
    valid_until: Expiry,
    prefix_length: u8,
    wanted: bool,
    told: bool,
    changed: bool,
}

impl AddressRow {
    const EMPTY: Self = AddressRow {
        address: Ipv6Addr::UNSPECIFIED,
        preferred_until: Expiry::NEVER,
        valid_until: Expiry::NEVER,
        prefix_length: 64,
        wanted: false,
        told: false,
        changed: false,
    };

    fn learned(&self) -> LearnedAddress {
        let &AddressRow { address, prefix_length, preferred_until, valid_until, .. } = self;
        LearnedAddress { address, prefix_length, preferred_until, valid_until }
    }

    fn set(&mut self, learned: LearnedAddress) {
        let LearnedAddress { address, prefix_length, preferred_until, valid_until } = learned;
        *self = AddressRow { address, prefix_length, preferred_until, valid_until, wanted: true, ..*self };
    }
}

impl<K: Count> Addresses<K> {
    /// None.
    pub(crate) const EMPTY: Self = Addresses { rows: Bounded::EMPTY };

    /// Replaces the wanted addresses by those that are given to what this
    /// returns.
    pub(crate) fn replace(&mut self) -> Replacement<'_, K> {
        for row in self.rows.iter_mut() {
            row.wanted = false;
        }
        Replacement { addresses: self, given: 0, result: Ok(()) }
    }

    /// The addresses that should be.
    pub(crate) fn iter(&self) -> impl Iterator<Item = LearnedAddress> + '_ {
        self.rows.iter().filter(|row| row.wanted).map(AddressRow::learned)
    }

    /// The next difference: what is to go first.
    pub(crate) fn poll(&mut self) -> Option<(Change, LearnedAddress)> {
        if let Some(at) = self.rows.iter().position(|row| row.told && !row.wanted) {
            return self.rows.take(at).map(|row| (Change::Removed, row.learned()));
        }
        let row = self.rows.iter_mut().find(|row| row.wanted && (!row.told || row.changed))?;
        let change = if row.told { Change::Changed } else { Change::Added };
        row.told = true;
        row.changed = false;
        Some((change, row.learned()))
    }
}

/// The wanted addresses, one after the other. If there are more than rows, the
/// first ones count.
pub(crate) struct Replacement<'a, K: Count> {
    addresses: &'a mut Addresses<K>,
    given: usize,
    result: Result<(), TableFull>,
}

impl<K: Count> Replacement<'_, K> {
    /// The next one.
    pub(crate) fn add(&mut self, address: LearnedAddress) {
        let rows = &mut self.addresses.rows;
        self.given = self.given.saturating_add(1);
        if self.given > K::ROWS {
            self.result = Err(TableFull::new(Table::Addresses));
            return;
        }
        if let Some(row) = rows.iter_mut().find(|row| row.address == address.address) {
            row.changed |= row.learned() != address;
            row.set(address);
            return;
        }
        // A row of an address that nobody was told of is as good as free.
        rows.keep(|row| row.wanted || row.told);
        let mut row = AddressRow::EMPTY;
        row.set(address);
        if let Err(full) = rows.add(row, Table::Addresses) {
            self.result = Err(full);
        }
    }

    /// These were all.
    ///
    /// # Errors
    /// Not all found a row. A row whose removal is still to be told is not free
    /// yet: replace them again afterwards.
    pub(crate) fn end(self) -> Result<(), TableFull> {
        self.addresses.rows.keep(|row| row.wanted || row.told);
        self.result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capacity::N;

    fn address(last: u16) -> LearnedAddress {
        LearnedAddress { address: Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last), ..AddressRow::EMPTY.learned() }
    }

    fn replace(table: &mut Addresses<N<2>>, wanted: &[LearnedAddress]) -> Result<(), TableFull> {
        let mut replacement = table.replace();
        wanted.iter().for_each(|address| replacement.add(*address));
        replacement.end()
    }

    #[test]
    fn differences_are_told_once_and_an_add_then_remove_is_silence() {
        let mut table: Addresses<N<2>> = Addresses::EMPTY;
        replace(&mut table, &[address(1), address(2)]).unwrap();
        assert_eq!(table.poll(), Some((Change::Added, address(1))));
        // 2 was never told: replacing it by 3 needs no row of its own.
        replace(&mut table, &[address(1), address(3)]).unwrap();
        assert_eq!(table.poll(), Some((Change::Added, address(3))));
        assert_eq!(table.poll(), None);
        assert!(replace(&mut table, &[address(4)]).is_err(), "two removals wait to be told");
        assert_eq!(table.poll().map(|(change, _)| change), Some(Change::Removed));
        assert_eq!(table.poll().map(|(change, _)| change), Some(Change::Removed));
        replace(&mut table, &[address(4)]).unwrap();
        assert_eq!(table.poll(), Some((Change::Added, address(4))));
        let shorter = LearnedAddress { valid_until: Expiry::at(crate::time::Instant::ZERO), ..address(4) };
        replace(&mut table, &[shorter]).unwrap();
        assert_eq!(table.poll(), Some((Change::Changed, shorter)));
    }
}
