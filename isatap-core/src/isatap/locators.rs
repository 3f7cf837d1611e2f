//! The locators of a link, and who needs a closer look than others.

use core::net::Ipv4Addr;

use crate::capacity::{Capacity, List, Rows};
use crate::error::{Table, TableFull};
use crate::isatap::addr::is_locator;
use crate::link::Locator;

/// A set of IPv4 addresses in one word: it may take an address for one of its
/// own that is not, and never misses one that is.
///
/// Nearly every packet comes from an address that is in no table. One test
/// says so, and walks are for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks(u64);

impl Marks {
    /// No address.
    pub(crate) const NONE: Marks = Marks(0);
    /// Any address.
    pub(crate) const ALL: Marks = Marks(u64::MAX);

    /// With those of `other` as well.
    pub(crate) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// With `address` as well.
    pub(crate) const fn with_address(self, address: Ipv4Addr) -> Marks {
        // Hosts of one subnet differ in the last bits.
        Marks(self.0 | 1_u64.wrapping_shl(address.to_bits()))
    }

    /// Whether `address` may be in the set.
    #[inline(always)]
    pub(crate) const fn may_have(self, address: Ipv4Addr) -> bool {
        self.0.wrapping_shr(address.to_bits()) & 1 != 0
    }
}

/// The IPv4 addresses that a link sends from.
#[derive(Clone)]
pub(crate) struct Locators<C: Capacity> {
    rows: List<Locator, Rows<C::Locators, Locator>>,
    /// See [`marks`](Self::marks).
    marks: Marks,
}

impl<C: Capacity> Locators<C> {
    /// No locators.
    pub(crate) const EMPTY: Self = Locators { rows: List::EMPTY, marks: Marks::ALL };

    /// Replaces them by those that can be locators, without repeats.
    ///
    /// # Errors
    /// There is not room for all.
    pub(crate) fn replace(&mut self, locators: &[Locator]) -> Result<(), TableFull> {
        self.rows.clear();
        let mut result = Ok(());
        for locator in locators.iter().filter(|locator| is_locator(locator.address)) {
            if !self.own(locator.address)
                && let Err(full) = self.rows.push(*locator, Table::Locators)
            {
                result = Err(full);
            }
        }
        let mark = |marks: Marks, row: &Locator| marks.with_address(row.address).with_address(row.last_address());
        self.marks = if self.rows.is_empty() { Marks::ALL } else { self.rows.iter().fold(Marks::NONE, mark) };
        result
    }

    /// In the order in which they were given.
    #[inline]
    pub(crate) fn as_slice(&self) -> &[Locator] {
        self.rows.as_slice()
    }

    pub(crate) fn iter(&self) -> core::slice::Iter<'_, Locator> {
        self.rows.iter()
    }

    /// For loops that packets run through: see [`List::rows`].
    #[inline(always)]
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Locator> {
        self.rows.rows()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Whether `address` is one of them.
    #[inline]
    pub(crate) fn own(&self, address: Ipv4Addr) -> bool {
        self.rows.iter().any(|locator| locator.address == address)
    }

    /// Whether `address` is a directed broadcast address of a subnet of ours.
    pub(crate) fn is_broadcast(&self, address: Ipv4Addr) -> bool {
        self.rows.iter().any(|locator| locator.is_broadcast(address))
    }

    /// The addresses that no neighbour sends from: the locators and the
    /// broadcast addresses of their subnets. Any address while there is no
    /// locator.
    pub(crate) fn marks(&self) -> Marks {
        self.marks
    }

    /// Whether `address` may be among the [`marks`](Self::marks).
    #[inline(always)]
    pub(crate) fn may_have(&self, address: Ipv4Addr) -> bool {
        // A rotation where Marks::may_have() has a shift: the compiler would
        // else prepare a mask for both questions where one is asked.
        self.marks.0.rotate_right(address.to_bits()) & 1 != 0
    }

    /// Whether `address` is the first locator; means nothing while there is
    /// none, when [`marks`](Self::marks) has every address.
    #[inline(always)]
    pub(crate) fn is_first(&self, address: Ipv4Addr) -> bool {
        self.rows.storage().first().is_some_and(|own| own.address == address)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use crate::capacity::Standard;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn address(low: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 | low)
    }

    proptest! {
        #[test]
        fn who_is_not_marked_is_neither_a_locator_nor_a_broadcast_address(
            own in prop::collection::vec((0_u32..200, 0_u8..=32), 0..8),
            source in 0_u32..200,
            destination in 0_u32..200,
        ) {
            let (source, destination) = (address(source), address(destination));
            let mut locators = Locators::<Standard>::EMPTY;
            prop_assert!(locators.marks().may_have(source));
            let row = |&(low, subnet_length): &(u32, u8)| Locator { address: address(low), subnet_length };
            locators.replace(&own.iter().map(row).collect::<Vec<_>>()).unwrap();
            prop_assert_eq!(locators.may_have(source), locators.marks().may_have(source));
            if !locators.may_have(source) {
                prop_assert!(!locators.own(source) && !locators.is_broadcast(source));
                prop_assert!(locators.own(destination) || !locators.is_first(destination));
            }
            locators.replace(&[]).unwrap();
            prop_assert!(locators.marks().may_have(source), "the first row is that of before");
        }
    }

    #[test]
    fn a_neighbour_of_the_same_subnet_is_not_marked() {
        let mut locators = Locators::<Standard>::EMPTY;
        locators.replace(&[Locator { address: address(2), subnet_length: 24 }]).unwrap();
        assert!(locators.is_first(address(2)));
        let marked = |low| locators.marks().may_have(address(low));
        assert_eq!([2, 3, 254, 255].map(marked), [true, false, false, true]);
    }
}
