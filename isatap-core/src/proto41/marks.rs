//! Which IPv4 addresses need a closer look than others.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::underlay::Locator;
use crate::wire::field::ipv4_at;

/// A set of IPv4 addresses in one word: it may take an address for one of its
/// own that is not, and never misses one that is.
///
/// Nearly every packet comes from an address that is in no table. One test
/// says so, and walks are for the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks(u64);

impl Marks {
    /// No address.
    pub(crate) const NONE: Marks = Marks(0);
    /// Any address.
    pub(crate) const ALL: Marks = Marks(u64::MAX);

    /// The addresses that no neighbour sends from: the locators and the
    /// broadcast addresses of their subnets. Any address while there is no
    /// locator.
    pub(crate) fn of(locators: &[Locator]) -> Marks {
        let own = |own: &Locator| [Some(own.address), own.broadcast()];
        let marks = locators.iter().flat_map(own).flatten().fold(Marks::NONE, Marks::with_address);
        if locators.is_empty() { Marks::ALL } else { marks }
    }

    /// With those of `other` as well.
    pub(crate) const fn with(self, other: Marks) -> Marks {
        Marks(self.0 | other.0)
    }

    /// With `address` as well.
    pub(crate) const fn with_address(self, address: Ipv4Addr) -> Marks {
        // Hosts of one subnet differ in the last bits.
        Marks(self.0 | 1_u64.wrapping_shl(address.to_bits()))
    }

    /// With the last four bytes of `address` as well: what tells the addresses of one subnet apart.
    pub(crate) fn with_last_of(self, address: &Ipv6Addr) -> Marks {
        self.with_address(ipv4_at::<12, 16>(&address.octets()))
    }

    /// Whether the last four bytes of `address` may be in the set.
    #[inline(always)]
    pub(crate) fn may_have_last_of(self, address: &Ipv6Addr) -> bool {
        self.may_have(ipv4_at::<12, 16>(&address.octets()))
    }

    /// Whether `address` may be in the set.
    #[inline(always)]
    pub(crate) const fn may_have(self, address: Ipv4Addr) -> bool {
        self.0.wrapping_shr(address.to_bits()) & 1 != 0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use crate::proto41::underlay::may_send_to;
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
        ) {
            let source = address(source);
            let row = |&(low, subnet_length): &(u32, u8)| Locator { address: address(low), subnet_length };
            let own: Vec<_> = own.iter().map(row).collect();
            let marks = Marks::of(&own);
            prop_assert!(marks.may_have(source) || (!own.is_empty() && may_send_to(source, &own)));
        }
    }

    #[test]
    fn a_neighbour_of_the_same_subnet_is_not_marked() {
        let marks = Marks::of(&[Locator { address: address(2), subnet_length: 24 }]);
        let marked = |low| marks.may_have(address(low));
        assert_eq!([2, 3, 254, 255].map(marked), [true, false, false, true]);
    }
}
