//! Prefixes, and the classes of addresses that RFCs refuse.
//!
//! An IPv6 prefix is compared as two 64-bit halves: on 32-bit targets and in
//! BPF a variable shift of 128 bits would be a function call.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use special::{Kinds, has_ipv4};

mod error;
mod public;
pub mod special;
#[cfg(feature = "serde")]
mod text_serde;

pub use error::PrefixError;
pub use public::is_public;

/// An IPv6 prefix: bits behind its length are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv6Prefix {
    high: u64,
    low: u64,
    len: u8,
}

impl Ipv6Prefix {
    /// `::/0`: every address.
    pub const DEFAULT: Ipv6Prefix = Ipv6Prefix { high: 0, low: 0, len: 0 };
    /// `fe80::/64`: what is on-link on every interface. [RFC 4291 §2.5.6]
    pub const LINK_LOCAL: Ipv6Prefix = Ipv6Prefix { high: 0xfe80 << 48, low: 0, len: 64 };

    /// `2002::/16`: every 6to4 site. [RFC 3056 §2]
    pub const SIX_TO_FOUR: Ipv6Prefix = Ipv6Prefix { high: 0x2002 << 48, low: 0, len: 16 };
    /// `::/96`: IPv4-compatible addresses, `::` and `::1`. [RFC 4291 §2.5.5.1]
    pub const COMPATIBLE: Ipv6Prefix = Ipv6Prefix { high: 0, low: 0, len: 96 };

    /// The prefix of `len` bits that `address` starts with, or `None` if
    /// `len > 128`.
    #[must_use]
    pub const fn new(address: Ipv6Addr, len: u8) -> Option<Self> {
        if len > 128 {
            return None;
        }
        let (high, low) = halves(&address);
        let (high_mask, low_mask) = masks(len);
        Some(Ipv6Prefix { high: high & high_mask, low: low & low_mask, len })
    }

    /// The /64 that `address` lies in.
    #[inline]
    #[must_use]
    pub const fn subnet_of(address: &Ipv6Addr) -> Self {
        let (high, _) = halves(address);
        Ipv6Prefix { high, low: 0, len: 64 }
    }

    /// The length in bits, 0 to 128.
    #[inline]
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.len
    }

    /// Whether this is `::/0`.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.len == 0
    }

    /// The first address of the prefix.
    #[inline]
    #[must_use]
    pub const fn address(&self) -> Ipv6Addr {
        from_halves(self.high, self.low)
    }

    /// Whether `address` starts with this prefix.
    #[inline]
    #[must_use]
    pub const fn contains(&self, address: &Ipv6Addr) -> bool {
        let (high, low) = halves(address);
        self.contains_halves(high, low)
    }

    /// [`contains`](Self::contains), of an address taken apart before.
    #[inline]
    pub(crate) const fn contains_halves(&self, high: u64, low: u64) -> bool {
        // One shift: the bits that may differ are pushed out. `len <= 128`.
        if self.len <= 64 {
            is_zero_above(high ^ self.high, 64_u8.wrapping_sub(self.len))
        } else {
            high == self.high && is_zero_above(low ^ self.low, 128_u8.wrapping_sub(self.len))
        }
    }

    /// The upper 64 bits.
    #[inline]
    pub(crate) const fn high(&self) -> u64 {
        self.high
    }

    /// Ones where the upper 64 bits count.
    #[inline]
    pub(crate) const fn high_mask(&self) -> u64 {
        masks(self.len).0
    }

    /// Whether every address of `other` is one of this prefix.
    #[must_use]
    pub const fn covers(&self, other: &Ipv6Prefix) -> bool {
        self.len <= other.len && self.contains(&other.address())
    }

    /// The address of a /64 with the interface identifier `identifier`;
    /// `None` when the prefix is longer or shorter.
    #[inline]
    #[must_use]
    pub const fn with_identifier(&self, identifier: [u8; 8]) -> Option<Ipv6Addr> {
        if self.len != 64 {
            return None;
        }
        Some(from_halves(self.high, u64::from_be_bytes(identifier)))
    }
}

impl fmt::Display for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.len)
    }
}

impl fmt::Debug for Ipv6Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv6Prefix {
    type Err = PrefixError;

    /// Reads `2001:db8::/64`. Bits behind the length must be zero: a typing
    /// error is more likely than a wish.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, len, at) = PrefixError::split::<Ipv6Addr>(text, 64)?;
        let prefix = len.parse().ok().and_then(|len| Ipv6Prefix::new(address, len));
        let prefix = prefix.ok_or(PrefixError::length(at, 128))?;
        if prefix.address() == address {
            Ok(prefix)
        } else {
            Err(PrefixError::bits(at, IpAddr::V6(prefix.address()), prefix.len))
        }
    }
}

/// An IPv4 prefix: bits behind its length are zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ipv4Prefix {
    bits: u32,
    len: u8,
}

impl Ipv4Prefix {
    /// `0.0.0.0/0`: every address.
    pub const DEFAULT: Ipv4Prefix = Ipv4Prefix { bits: 0, len: 0 };

    /// The prefix of `len` bits that `address` starts with, or `None` if
    /// `len > 32`.
    #[must_use]
    pub const fn new(address: Ipv4Addr, len: u8) -> Option<Self> {
        if len > 32 {
            return None;
        }
        Some(Ipv4Prefix { bits: address.to_bits() & mask32(len), len })
    }

    /// The length in bits, 0 to 32.
    #[must_use]
    pub const fn length(&self) -> u8 {
        self.len
    }

    /// Whether this is `0.0.0.0/0`.
    #[must_use]
    pub const fn is_default(&self) -> bool {
        self.len == 0
    }

    /// The first address of the prefix.
    #[must_use]
    pub const fn address(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.bits)
    }

    /// Whether `address` starts with this prefix.
    #[inline]
    #[must_use]
    pub const fn contains(&self, address: Ipv4Addr) -> bool {
        (address.to_bits() ^ self.bits) & mask32(self.len) == 0
    }

    /// The subnet's directed broadcast address, for lengths up to 30; longer
    /// prefixes have none. [RFC 3021]
    #[must_use]
    pub const fn broadcast(&self) -> Option<Ipv4Addr> {
        if self.len > 30 { None } else { Some(Ipv4Addr::from_bits(self.bits | !mask32(self.len))) }
    }
}

impl fmt::Display for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address(), self.len)
    }
}

impl fmt::Debug for Ipv4Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Ipv4Prefix {
    type Err = PrefixError;

    /// Reads `10.0.0.0/8`. Bits behind the length must be zero.
    fn from_str(text: &str) -> Result<Self, PrefixError> {
        let (address, len, at) = PrefixError::split::<Ipv4Addr>(text, 24)?;
        let prefix = len.parse().ok().and_then(|len| Ipv4Prefix::new(address, len));
        let prefix = prefix.ok_or(PrefixError::length(at, 32))?;
        if prefix.address() == address {
            Ok(prefix)
        } else {
            Err(PrefixError::bits(at, IpAddr::V4(prefix.address()), prefix.len))
        }
    }
}

/// Whether the address can never be the source or destination of a packet
/// between two nodes: 0/8, 127/8, 224/4, 240/4. [RFC 1122 §3.2.1.3]
///
/// Broadcast addresses of attached subnets are refused too, but only their
/// owner knows them.
#[inline]
#[must_use]
pub const fn is_never_unicast(address: Ipv4Addr) -> bool {
    // Every packet runs through here: three comparisons do for four blocks.
    let first = address.to_bits() >> 24;
    first == 0 || first == 127 || first >= 224
}

/// IPv4 addresses that are used by many: private [RFC 1918], shared
/// [RFC 6598], link-local [RFC 3927].
#[inline]
#[must_use]
pub const fn is_ambiguous(address: Ipv4Addr) -> bool {
    has_ipv4::<{ Kinds::AMBIGUOUS.bits() }>(address)
}

/// Whether the address is in 10/8, 172.16/12 or 192.168/16. [RFC 1918]
#[inline]
#[must_use]
pub const fn is_private(address: Ipv4Addr) -> bool {
    has_ipv4::<{ Kinds::PRIVATE.bits() }>(address)
}

/// Whether the address is a host's, and yet not of the public Internet:
/// private, shared by carriers' customers, for documentation, for benchmarks,
/// or in 192.0.0/24. Labs live in these, so that a node may be told to take
/// them for global ones. [RFC 6890 §2.2.2]
#[inline]
pub(crate) const fn is_bogon(address: Ipv4Addr) -> bool {
    has_ipv4::<{ Kinds::BOGON.bits() }>(address)
}

/// Whether an IPv6 source must be discarded when it comes out of a tunnel:
/// multicast, `::1`, `::/96` other than `::`, IPv4-mapped.
/// `TUN-16 [RFC 4213 §3.6]`
///
/// Every packet runs through here: by hand, two comparisons do for five blocks.
#[inline]
#[must_use]
pub const fn is_refused_inner_source(address: &Ipv6Addr) -> bool {
    let (high, low) = halves(address);
    // ::/96 and ::ffff:0:0/96 both have 80 zero bits; `::` itself is the
    // source of duplicate address detection and is judged by the mechanism.
    let low_high = low >> 32;
    (high >> 56 == 0xff) || (high == 0 && ((low_high == 0 && low != 0) || low_high == 0xffff))
}

/// Whether an address is clearly one that leaves the link: neither of `::/8`
/// nor link-local, site-local or multicast. `false` says only that somebody
/// must look.
#[inline(always)]
pub(crate) const fn is_plainly_global(address: &Ipv6Addr) -> bool {
    let [first, ..] = address.octets();
    // Neither 0 nor 0xfe or 0xff, in one comparison.
    first.wrapping_sub(1) < 0xfd
}

/// The two 64-bit halves of an address.
#[inline]
#[must_use]
pub(crate) const fn halves(address: &Ipv6Addr) -> (u64, u64) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address.octets();
    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p]))
}

/// An address of two 64-bit halves.
#[inline]
const fn from_halves(high: u64, low: u64) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = high.to_be_bytes();
    let [i, j, k, l, m, n, o, p] = low.to_be_bytes();
    Ipv6Addr::from_octets([a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p])
}

/// Masks of the two halves for a prefix of `len` bits, `len <= 128`.
#[inline]
const fn masks(len: u8) -> (u64, u64) {
    if len <= 64 { (mask64(len), 0) } else { (u64::MAX, mask64(len.wrapping_sub(64))) }
}

/// Whether nothing is left of `bits` without the lower `count`.
#[inline]
#[expect(clippy::as_conversions, reason = "a const fn cannot call From; u8 to u32 loses nothing")]
const fn is_zero_above(bits: u64, count: u8) -> bool {
    match bits.checked_shr(count as u32) {
        Some(rest) => rest == 0,
        None => true,
    }
}

/// The upper `len` bits, `len <= 64`.
#[inline]
#[expect(clippy::as_conversions, reason = "a const fn cannot call From; u8 to u32 loses nothing")]
const fn mask64(len: u8) -> u64 {
    match u64::MAX.checked_shr(len as u32) {
        Some(rest) => !rest,
        None => u64::MAX,
    }
}

/// The upper `len` bits, `len <= 32`.
#[inline]
#[expect(clippy::as_conversions, reason = "a const fn cannot call From; u8 to u32 loses nothing")]
const fn mask32(len: u8) -> u32 {
    match u32::MAX.checked_shr(len as u32) {
        Some(rest) => !rest,
        None => u32::MAX,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::error::ParseErrorKind;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    /// The same question, bit by bit.
    fn first_bits_equal(a: &Ipv6Addr, b: &Ipv6Addr, len: u8) -> bool {
        (0..usize::from(len)).all(|bit| {
            let at = |x: &Ipv6Addr| x.octets()[bit / 8] >> (7 - bit % 8) & 1;
            at(a) == at(b)
        })
    }

    proptest! {
        #[test]
        fn contains_agrees_with_comparing_bits(a: u128, flip in 0_u8..=128, len in 0_u8..=128) {
            let a = Ipv6Addr::from_bits(a);
            let b = Ipv6Addr::from_bits(a.to_bits() ^ if flip < 128 { 1 << flip } else { 0 });
            let prefix = Ipv6Prefix::new(a, len).unwrap();
            prop_assert_eq!(prefix.contains(&b), first_bits_equal(&a, &b, len));
            prop_assert!(prefix.contains(&prefix.address()));
            prop_assert_eq!(prefix.to_string().parse::<Ipv6Prefix>(), Ok(prefix));
        }

        #[test]
        fn ipv4_contains_agrees_with_comparing_bits(a: u32, flip in 0_u32..=32, len in 0_u8..=32) {
            let b = a ^ 1_u32.checked_shl(flip).unwrap_or(0);
            let same = (0..u32::from(len)).all(|bit| (a ^ b) >> (31 - bit) & 1 == 0);
            prop_assert_eq!(Ipv4Prefix::new(a.into(), len).unwrap().contains(b.into()), same);
        }
    }

    /// Every length, and what lies just outside of it.
    #[test]
    fn prefixes_of_every_length() {
        let ones = Ipv6Addr::from_bits(u128::MAX);
        for len in 0..=128_u8 {
            let prefix = Ipv6Prefix::new(ones, len).unwrap();
            let cut = u128::MAX.checked_shr(u32::from(len)).map_or(u128::MAX, |rest| !rest);
            assert_eq!((prefix.address().to_bits(), prefix.length()), (cut, len));
            assert_eq!(prefix.is_default(), len == 0);
            assert_eq!((prefix.high(), prefix.high_mask()), ((cut >> 64) as u64, (cut >> 64) as u64));
            for other in 0..=128_u8 {
                let other = Ipv6Prefix::new(ones, other).unwrap();
                assert_eq!(prefix.covers(&other), len <= other.length(), "{prefix} {other}");
            }
            let sibling = Ipv6Prefix::new(Ipv6Addr::from_bits(cut ^ 1 << (128 - len.max(1))), len).unwrap();
            assert_eq!(prefix.covers(&sibling), len == 0, "{prefix} {sibling}");
            let identifier = [1, 2, 3, 4, 5, 6, 7, 8];
            let made = prefix.with_identifier(identifier);
            assert_eq!(made, (len == 64).then(|| "ffff:ffff:ffff:ffff:102:304:506:708".parse().unwrap()));
        }
        assert_eq!(Ipv6Prefix::new(ones, 129), None);
        assert_eq!(Ipv6Prefix::subnet_of(&ones), Ipv6Prefix::new(ones, 64).unwrap());
        let ones = Ipv4Addr::from_bits(u32::MAX);
        for len in 0..=32_u8 {
            let prefix = Ipv4Prefix::new(ones, len).unwrap();
            let cut = u32::MAX.checked_shr(u32::from(len)).map_or(u32::MAX, |rest| !rest);
            assert_eq!((prefix.address().to_bits(), prefix.length()), (cut, len));
            assert_eq!(prefix.is_default(), len == 0);
            let zeros = Ipv4Prefix::new(Ipv4Addr::UNSPECIFIED, len).unwrap();
            let last = Ipv4Addr::from_bits(!cut);
            assert_eq!(zeros.broadcast(), (len <= 30).then_some(last), "{zeros}");
            assert_eq!(zeros.to_string(), format!("0.0.0.0/{len}"));
            assert_eq!(format!("{zeros:?}"), zeros.to_string());
        }
        assert_eq!(Ipv4Prefix::new(ones, 33), None);
        assert_eq!(format!("{:?}", Ipv6Prefix::LINK_LOCAL), "fe80::/64");
    }

    /// At the borders of each block, and one beside them.
    #[test]
    fn ambiguous_and_private_ipv4_addresses() {
        let blocks = [
            ("10.0.0.0/8", true),
            ("172.16.0.0/12", true),
            ("192.168.0.0/16", true),
            ("100.64.0.0/10", false),
            ("169.254.0.0/16", false),
        ]
        .map(|(block, private)| (block.parse::<Ipv4Prefix>().unwrap(), private));
        for (block, private) in blocks {
            let (first, last) = (block.address(), block.broadcast().unwrap());
            for inside in [first, last] {
                assert!(is_ambiguous(inside), "{inside}");
                assert_eq!(is_private(inside), private, "{inside}");
            }
            for outside in [first.to_bits() - 1, last.to_bits() + 1].map(Ipv4Addr::from_bits) {
                assert!(!is_ambiguous(outside) && !is_private(outside), "{outside}");
            }
        }
    }

    #[test]
    fn text_that_is_no_prefix_says_where() {
        assert!("2001:db8::/129".parse::<Ipv6Prefix>().is_err());
        assert_eq!("2001:db8::1/64".parse::<Ipv6Prefix>().unwrap_err().offset, 12);
        assert_eq!("2001:db8::".parse::<Ipv6Prefix>().unwrap_err().kind, ParseErrorKind::Truncated);
        assert!("2001:db8::/+4".parse::<Ipv6Prefix>().is_err());
        assert_eq!("10.0.0.0/8".parse::<Ipv4Prefix>().unwrap().broadcast(), Some(Ipv4Addr::new(10, 255, 255, 255)));
        assert!("10.0.0.1/8".parse::<Ipv4Prefix>().is_err());
        // The first byte that does not fit, or where the text ends too early.
        for (text, kind, offset) in [
            ("2001:db8::", ParseErrorKind::Truncated, 10),
            ("2001:db8::/", ParseErrorKind::Length, 11),
            ("2001:db8::/+4", ParseErrorKind::Length, 11),
            ("2001:db8::/129", ParseErrorKind::Length, 11),
            ("2001:db8::/999", ParseErrorKind::Length, 11),
            ("2001:db8:/32", ParseErrorKind::Value, 0),
            ("2001:db8::1/64", ParseErrorKind::Value, 12),
        ] {
            let error = text.parse::<Ipv6Prefix>().unwrap_err();
            assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
        }
        for (text, kind, offset) in [
            ("10.0.0.0", ParseErrorKind::Truncated, 8),
            ("10.0.0.0/", ParseErrorKind::Length, 9),
            ("10.0.0.0/-1", ParseErrorKind::Length, 9),
            ("10.0.0.0/33", ParseErrorKind::Length, 9),
            ("10.0.0.0/256", ParseErrorKind::Length, 9),
            ("10.0.0/8", ParseErrorKind::Value, 0),
            ("10.0.0.1/8", ParseErrorKind::Value, 9),
        ] {
            let error = text.parse::<Ipv4Prefix>().unwrap_err();
            assert_eq!((error.kind, error.offset), (kind, offset), "{text}");
        }
    }

    #[test]
    fn text_that_is_no_prefix_says_what_to_write() {
        for (text, expected) in [
            ("2001:db8:0:7::1/64", "has bits behind its length: write 2001:db8:0:7::/64"),
            ("2001:db8::1", "the length is missing: for example, write 2001:db8::/64"),
            ("2001:db8::/129", "the length behind the slash is 0 to 128"),
            ("10.0.0.0/8", "an IPv6 prefix was expected: write one as 2001:db8::/64"),
            ("x", "an IPv6 prefix was expected: write one as 2001:db8::/64"),
        ] {
            assert_eq!(text.parse::<Ipv6Prefix>().unwrap_err().to_string(), expected, "{text}");
        }
        for (text, expected) in [
            ("10.0.0.1/8", "has bits behind its length: write 10.0.0.0/8"),
            ("10.0.0.1", "the length is missing: for example, write 10.0.0.0/24"),
            ("10.0.0.0/33", "the length behind the slash is 0 to 32"),
            ("2001:db8::/32", "an IPv4 prefix was expected: write one as 10.0.0.0/24"),
        ] {
            assert_eq!(text.parse::<Ipv4Prefix>().unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn tun_16_refused_inner_sources() {
        for refused in [
            "ff00::",
            "::255.255.255.255",
            "::ffff:0.0.0.0",
            "::ffff:255.255.255.255",
            "ff02::1",
            "::1",
            "::192.0.2.1",
            "::ffff:192.0.2.1",
            "ff0e::1",
            "::0.0.0.2",
        ] {
            assert!(is_refused_inner_source(&refused.parse().unwrap()), "{refused}");
        }
        for kept in [
            "feff::1",
            "::1:0:0",
            "::fffe:192.0.2.1",
            "0:0:0:1:0:ffff:c000:201",
            "1::ffff:192.0.2.1",
            "::",
            "2001:db8::1",
            "fe80::1",
            "fec0::1",
            "::ffff:0:192.0.2.1",
            "0:0:0:1::1",
        ] {
            assert!(!is_refused_inner_source(&kept.parse().unwrap()), "{kept}");
        }
    }

    #[test]
    fn tun_15_never_unicast() {
        for (text, never) in [
            ("0.1.2.3", true),
            ("127.0.0.1", true),
            ("224.0.0.1", true),
            ("239.255.255.255", true),
            ("240.0.0.1", true),
            ("255.255.255.255", true),
            ("1.0.0.0", false),
            ("126.255.255.255", false),
            ("128.0.0.0", false),
            ("223.255.255.255", false),
        ] {
            assert_eq!(is_never_unicast(text.parse().unwrap()), never, "{text}");
        }
    }
}
