//! IPv4 addresses behind a translator's prefix. [RFC 6052 §2.2]
//!
//! ```text
//! prefix  32  40  48  56  64  96
//! v0 at    4   5   6   7   9  12
//! v1 at    5   6   7   9  10  13
//! v2 at    6   7   9  10  11  14
//! v3 at    7   9  10  11  12  15
//! ```
//!
//! Byte 8, in which an interface identifier has its u and g bits, is zero.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::prefix::{Ipv6Prefix, halves};

/// `64:ff9b::/96`, which every network may use, for public IPv4 addresses
/// only. [RFC 6052 §2.1, §3.1]
pub const WELL_KNOWN: Nat64Prefix = Nat64Prefix(match Ipv6Prefix::new(WELL_KNOWN_ADDRESS, 96) {
    Some(prefix) => prefix,
    None => Ipv6Prefix::DEFAULT,
});

/// `64:ff9b:1::/48`, in which networks choose prefixes of 48 to 96 bits of
/// their own. [RFC 8215 §3]
pub const LOCAL_USE: Ipv6Prefix = match Ipv6Prefix::new(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0), 48) {
    Some(prefix) => prefix,
    None => Ipv6Prefix::DEFAULT,
};

const WELL_KNOWN_ADDRESS: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0);

/// The prefix of a translator between IPv4 and IPv6 (NAT64, SIIT).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Nat64Prefix(Ipv6Prefix);

impl Nat64Prefix {
    /// The translator's prefix `prefix`; `None` unless it is of 32, 40, 48,
    /// 56, 64 or 96 bits, with zeros in byte 8. `N64-1 [RFC 6052 §2.2]`
    #[must_use]
    pub const fn new(prefix: Ipv6Prefix) -> Option<Self> {
        let (_, low) = halves(&prefix.address());
        match prefix.length() {
            32 | 40 | 48 | 56 | 64 | 96 if low >> 56 == 0 => Some(Nat64Prefix(prefix)),
            _ => None,
        }
    }

    /// The prefix.
    #[must_use]
    pub const fn prefix(&self) -> Ipv6Prefix {
        self.0
    }

    /// The address that stands for `ipv4`; what is behind it is zero.
    /// `N64-1`
    ///
    /// The caller of [`WELL_KNOWN`] sees to it that `ipv4` is public
    /// (`N64-2`).
    #[must_use]
    #[expect(clippy::as_conversions, reason = "u32 to u128 loses nothing, in a const fn; all shifts are constant")]
    pub const fn embed(&self, ipv4: Ipv4Addr) -> Ipv6Addr {
        let v4 = ipv4.to_bits() as u128;
        let placed = match self.0.length() {
            32 => v4 << 64,
            40 => (v4 >> 8) << 64 | (v4 & 0xff) << 48,
            48 => (v4 >> 16) << 64 | (v4 & 0xffff) << 40,
            56 => (v4 >> 24) << 64 | (v4 & 0xff_ffff) << 32,
            64 => v4 << 24,
            _ => v4,
        };
        Ipv6Addr::from_bits(self.0.address().to_bits() | placed)
    }

    /// The IPv4 address that `address` stands for; `None` when the prefix is
    /// another or byte 8 is not zero. `N64-5`
    ///
    /// What lies behind the IPv4 address is ignored. `N64-1`
    #[must_use]
    pub const fn embedded_ipv4(&self, address: &Ipv6Addr) -> Option<Ipv4Addr> {
        if self.0.contains(address) { read(address, self.0.length()) } else { None }
    }
}

/// The IPv4 address behind the first `length` bits of `address`.
///
/// `N64-5`: none when byte 8 is not zero; for other lengths than the six
/// there is nothing to read either.
#[expect(clippy::as_conversions, reason = "parts of a word are meant, in a const fn")]
pub(super) const fn read(address: &Ipv6Addr, length: u8) -> Option<Ipv4Addr> {
    let (high, low) = halves(address);
    if low >> 56 != 0 {
        return None;
    }
    // Byte 8 is zero and the bytes behind it move up into its place.
    let low = low << 8;
    let bits = match length {
        32 => high as u32,
        40 => (high << 8) as u32 | (low >> 56) as u32,
        48 => (high << 16) as u32 | (low >> 48) as u32,
        56 => (high << 24) as u32 | (low >> 40) as u32,
        64 => (low >> 32) as u32,
        96 => (low >> 8) as u32,
        _ => return None,
    };
    Some(Ipv4Addr::from_bits(bits))
}

impl fmt::Display for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for Nat64Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn nat64(text: &str) -> Nat64Prefix {
        Nat64Prefix::new(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn n64_1_n64_4_addresses_of_all_six_lengths_are_those_of_the_rfc() {
        for (prefix, ipv4, address) in [
            ("2001:db8::/32", "192.0.2.33", "2001:db8:c000:221::"),
            ("2001:db8:100::/40", "192.0.2.33", "2001:db8:1c0:2:21::"),
            ("2001:db8:122::/48", "192.0.2.33", "2001:db8:122:c000:2:2100::"),
            ("2001:db8:122:300::/56", "192.0.2.33", "2001:db8:122:3c0:0:221::"),
            ("2001:db8:122:344::/64", "192.0.2.33", "2001:db8:122:344:c0:2:2100:0"),
            ("2001:db8:122:344::/96", "192.0.2.33", "2001:db8:122:344::c000:221"),
            ("64:ff9b::/96", "192.0.2.33", "64:ff9b::c000:221"),
            ("fd9c:30c:2da4:7777::/96", "10.0.0.5", "fd9c:30c:2da4:7777::a00:5"),
            ("fd9c:30c:2da4:7777::/96", "172.16.10.25", "fd9c:30c:2da4:7777::ac10:a19"),
        ] {
            let (ipv4, address) = (ipv4.parse().unwrap(), address.parse().unwrap());
            assert_eq!(nat64(prefix).embed(ipv4), address, "{prefix}");
            assert_eq!(nat64(prefix).embedded_ipv4(&address), Some(ipv4), "{prefix}");
        }
        assert_eq!(nat64("64:ff9b::/96"), WELL_KNOWN);
    }

    #[test]
    fn n64_1_other_lengths_and_a_byte_8_that_is_not_zero_make_no_prefix() {
        for length in 0..=128 {
            let prefix = Ipv6Prefix::new("2001:db8::".parse().unwrap(), length).unwrap();
            let allowed = [32, 40, 48, 56, 64, 96].contains(&length);
            assert_eq!(Nat64Prefix::new(prefix).is_some(), allowed, "{length}");
        }
        assert_eq!(Nat64Prefix::new("2001:db8:0:0:100::/96".parse().unwrap()), None);
        assert!(Nat64Prefix::new("2001:db8:0:0:1::/96".parse().unwrap()).is_some());
    }

    proptest! {
        #[test]
        fn n64_1_n64_5_reading_agrees_with_the_table_of_byte_positions(bits: u128, which in 0_usize..6, byte_8: bool) {
            let (length, places) = [
                (32, [4, 5, 6, 7]),
                (40, [5, 6, 7, 9]),
                (48, [6, 7, 9, 10]),
                (56, [7, 9, 10, 11]),
                (64, [9, 10, 11, 12]),
                (96, [12, 13, 14, 15]),
            ][which];
            let bits = if byte_8 { bits } else { bits & !(0xff << 56) };
            let address = Ipv6Addr::from_bits(bits);
            let prefix = Ipv6Prefix::new(Ipv6Addr::from_bits(bits & !(0xff << 56)), length).unwrap();
            let octets = address.octets();
            let expected = (octets[8] == 0).then(|| Ipv4Addr::from(places.map(|place| octets[place])));
            let nat64 = Nat64Prefix::new(prefix).unwrap();
            prop_assert_eq!(nat64.embedded_ipv4(&address), expected);
            if let Some(ipv4) = expected {
                prop_assert_eq!(nat64.embedded_ipv4(&nat64.embed(ipv4)), Some(ipv4));
                prop_assert!(nat64.prefix().contains(&nat64.embed(ipv4)));
            }
            let outside = Ipv6Addr::from_bits(bits ^ 1 << 127);
            prop_assert_eq!(nat64.embedded_ipv4(&outside), None);
        }
    }
}
