//! 6rd addresses: a provider's prefix, followed by the bits of an IPv4
//! address in which its customers differ.
//!
//! ```text
//! |      6rd prefix      |  IPv4 address without   | subnet | identifier |
//! |  6rdPrefixLen bits   |  its IPv4MaskLen bits   |        |            |
//! |<------------- delegated prefix -------------->|
//! ```
//!
//! [RFC 5969 §4]

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::prefix::{Ipv4Prefix, Ipv6Prefix, halves};

/// The longest delegated prefix that leaves room for LANs with stateless
/// addresses. `S6R-2 [RFC 5969 §11]`
const LONGEST_DELEGATION: u8 = 64;

/// How the addresses of one 6rd domain are made. The same on each of its
/// customer edges and border relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Domain {
    prefix: Ipv6Prefix,
    common: Ipv4Prefix,
}

impl Domain {
    /// The domain of the 6rd prefix `prefix` whose customer edges all have
    /// IPv4 addresses in `common`, the length of which is the IPv4MaskLen.
    /// `S6R-5`, `S6R-15`
    ///
    /// # Errors
    /// Delegated prefixes would be longer than 64 bits; or `prefix` overlaps
    /// addresses that are no global unicast.
    pub fn new(prefix: Ipv6Prefix, common: Ipv4Prefix) -> Result<Self, DomainError> {
        let domain = Domain::long(prefix, common)?;
        if domain.delegated_length() > LONGEST_DELEGATION {
            return Err(DomainError::LongDelegation { delegated: domain.delegated_length() });
        }
        Ok(domain)
    }

    /// The same where delegated prefixes may be longer than 64 bits: RFC 5969
    /// allows up to 128, Linux does not.
    ///
    /// # Errors
    /// Delegated prefixes would be longer than 128 bits; or `prefix` overlaps
    /// addresses that are no global unicast.
    pub fn long(prefix: Ipv6Prefix, common: Ipv4Prefix) -> Result<Self, DomainError> {
        let embedded = 32_u8.saturating_sub(common.length());
        let delegated = prefix.length().saturating_add(embedded);
        if delegated > 128 {
            return Err(DomainError::Length { delegated });
        }
        let overlaps = |other: &Ipv6Prefix| prefix.covers(other) || other.covers(&prefix);
        if NOT_GLOBAL.iter().flatten().any(overlaps) {
            return Err(DomainError::Prefix { prefix });
        }
        Ok(Domain { prefix, common })
    }

    /// The domain as the node at `ipv4` knows it: the common bits are its
    /// own. `S6R-15`
    ///
    /// # Errors
    /// As [`Domain::new`]; or `ipv4_mask_len` is more than 32.
    pub fn around(prefix: Ipv6Prefix, ipv4_mask_len: u8, ipv4: Ipv4Addr) -> Result<Self, DomainError> {
        let common = Ipv4Prefix::new(ipv4, ipv4_mask_len).ok_or(DomainError::MaskLength { ipv4_mask_len })?;
        Domain::new(prefix, common)
    }

    /// The 6rd prefix.
    #[inline]
    #[must_use]
    pub const fn prefix(&self) -> Ipv6Prefix {
        self.prefix
    }

    /// The IPv4 bits that all customer edges share. `S6R-15`
    #[inline]
    #[must_use]
    pub const fn common(&self) -> Ipv4Prefix {
        self.common
    }

    /// How many IPv4 bits are not in the addresses: the IPv4MaskLen.
    #[must_use]
    pub const fn ipv4_mask_len(&self) -> u8 {
        self.common.length()
    }

    /// Bits of each delegated prefix, at most 128.
    #[must_use]
    pub const fn delegated_length(&self) -> u8 {
        self.prefix.length().saturating_add(32_u8.saturating_sub(self.common.length()))
    }

    /// The prefix that the node at `ipv4` has for its LANs. `S6R-1`
    ///
    /// Only the bits of `ipv4` behind the IPv4MaskLen count: a border relay's
    /// address may lie outside the common block. `S6R-6`
    #[must_use]
    pub fn delegated(&self, ipv4: Ipv4Addr) -> Ipv6Prefix {
        let length = self.delegated_length();
        // S6R-4: no bits where the mask has 32, and a shift by 128 where the
        // prefix has none.
        let own = u32::MAX.checked_shr(u32::from(self.common.length())).unwrap_or(0) & ipv4.to_bits();
        let shift = 128_u32.saturating_sub(u32::from(length));
        let bits = self.prefix.address().to_bits() | u128::from(own).checked_shl(shift).unwrap_or(0);
        // The length is at most 128 by construction.
        Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap_or(self.prefix)
    }

    /// The IPv4 address in an address of this domain; `None` for any other.
    /// `S6R-3`
    ///
    /// For an address in a border relay's own prefix this is not the relay's
    /// address when that lies outside the common block (`S6R-15`).
    #[inline(always)]
    #[must_use]
    pub fn embedded_ipv4(&self, address: &Ipv6Addr) -> Option<Ipv4Addr> {
        // By construction neither prefix is longer than 128 bits, and no prefix
        // is empty: no shift is by 64.
        let count = 32_u8.wrapping_sub(self.common.length());
        let length = self.prefix.length().wrapping_add(count);
        if length > LONGEST_DELEGATION {
            return self.embedded_far(address);
        }
        // In one shift what an address of the domain has behind the prefix, and
        // more where it is no such address.
        let (high, _) = halves(address);
        let own = (high ^ self.prefix.high()).wrapping_shr(64_u8.wrapping_sub(length).into());
        if own.wrapping_shr(count.into()) != 0 {
            return None;
        }
        let own = u32::try_from(own & u64::from(u32::MAX)).unwrap_or(0);
        Some(Ipv4Addr::from_bits(self.common.address().to_bits() | own))
    }

    /// The same where delegated prefixes are longer than 64 bits.
    #[cold]
    pub(super) fn embedded_far(&self, address: &Ipv6Addr) -> Option<Ipv4Addr> {
        let (high, low) = halves(address);
        if !self.prefix.contains_halves(high, low) {
            return None;
        }
        let start = u32::from(self.prefix.length());
        // The 64 bits that start behind the prefix, of which the first 32 can
        // be the IPv4 address's.
        let window = match start.checked_sub(64) {
            None => high.wrapping_shl(start) | low.checked_shr(64_u32.saturating_sub(start)).unwrap_or(0),
            Some(start) => low.checked_shl(start).unwrap_or(0),
        };
        let first = u32::try_from(window >> 32).unwrap_or(0);
        // A mask of 32 bits leaves nothing to take, and is no shift.
        let own = first.checked_shr(u32::from(self.common.length())).unwrap_or(0);
        Some(Ipv4Addr::from_bits(self.common.address().to_bits() | own))
    }

    /// Whether both addresses have the bits in common that the domain's
    /// addresses embed.
    #[inline]
    pub(crate) fn is_embedded_alike(&self, one: Ipv4Addr, other: Ipv4Addr) -> bool {
        let embedded = u32::MAX.checked_shr(u32::from(self.common.length())).unwrap_or(0);
        (one.to_bits() ^ other.to_bits()) & embedded == 0
    }

    /// The subnet-router anycast address of the delegated prefix of `ipv4`:
    /// what stands for a border relay in routes. `S6R-6`, `S6R-7`
    #[must_use]
    pub fn anycast(&self, ipv4: Ipv4Addr) -> Ipv6Addr {
        self.delegated(ipv4).address()
    }
}

impl fmt::Display for Domain {
    /// `2001:db8::/32 of 10.0.0.0/8`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.prefix, self.common)
    }
}

/// Values that make no 6rd domain. `S6R-5`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DomainError {
    /// The IPv4MaskLen is more than 32.
    MaskLength {
        /// What was asked for.
        ipv4_mask_len: u8,
    },
    /// The 6rd prefix and the IPv4 bits need more than 128 bits.
    Length {
        /// How many.
        delegated: u8,
    },
    /// Delegated prefixes longer than 64 bits, on which stateless addresses
    /// do not work.
    LongDelegation {
        /// How many bits they would have.
        delegated: u8,
    },
    /// The 6rd prefix overlaps `::/96`, the IPv4-mapped, link-local or
    /// multicast addresses.
    Prefix {
        /// The prefix.
        prefix: Ipv6Prefix,
    },
}

impl fmt::Display for DomainError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DomainError::MaskLength { ipv4_mask_len } => {
                write!(f, "an IPv4 mask of {ipv4_mask_len} bits; it has at most 32")
            }
            DomainError::Length { delegated } => {
                write!(f, "delegated prefixes of {delegated} bits; shorten the 6rd prefix or lengthen the IPv4 mask")
            }
            DomainError::LongDelegation { delegated } => write!(
                f,
                "delegated prefixes of {delegated} bits, over 64; shorten the 6rd prefix or lengthen the IPv4 mask"
            ),
            DomainError::Prefix { prefix } => {
                write!(f, "{prefix} overlaps ::/96, IPv4-mapped, link-local or multicast addresses")
            }
        }
    }
}

impl core::error::Error for DomainError {}

/// What a 6rd prefix may not overlap: `::/96`, `::ffff:0:0/96`, `fe80::/10`,
/// `ff00::/8`.
const NOT_GLOBAL: [Option<Ipv6Prefix>; 4] = [
    Ipv6Prefix::new(Ipv6Addr::UNSPECIFIED, 96),
    Ipv6Prefix::new(Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96),
    Ipv6Prefix::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0), 10),
    Ipv6Prefix::new(Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8),
];

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::sixtofour;
    use proptest::prelude::*;
    use std::string::{String, ToString};
    use std::{format, vec};

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn net(text: &str) -> Ipv6Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn s6r_1_s6r_4_delegated_prefixes_of_the_vectors() {
        for (prefix, mask, ipv4, delegated) in [
            ("2001:db8::/32", 8, "10.100.100.1", "2001:db8:6464:100::/56"),
            ("2001:db8::/32", 8, "10.0.0.1", "2001:db8:0:100::/56"),
            ("2001:db8::/32", 0, "192.0.2.1", "2001:db8:c000:201::/64"),
            ("2001:db8:80::/41", 16, "172.16.255.3", "2001:db8:ff:8180::/57"),
            ("2001:db8::/30", 12, "172.17.1.2", "2001:db8:4040:8000::/50"),
            ("2001:db8:8000::/33", 8, "10.1.2.3", "2001:db8:8081:180::/57"),
            ("2001:db8:1::/56", 24, "192.0.2.129", "2001:db8:1:81::/64"),
            ("2001:db8:1::/64", 32, "192.0.2.129", "2001:db8:1::/64"),
            ("2002::/16", 0, "192.0.2.1", "2002:c000:201::/48"),
        ] {
            let domain = Domain::around(net(prefix), mask, v4(ipv4)).unwrap();
            assert_eq!(domain.delegated(v4(ipv4)), net(delegated), "{domain}");
            assert_eq!(domain.delegated_length(), net(delegated).length());
            assert_eq!(domain.embedded_ipv4(&net(delegated).address()), Some(v4(ipv4)));
        }
    }

    #[test]
    fn s6r_6_s6r_7_a_relay_outside_the_common_block() {
        let domain = Domain::around(net("2001:db8::/32"), 8, v4("10.100.100.1")).unwrap();
        assert_eq!(domain.anycast(v4("10.0.0.1")).to_string(), "2001:db8:0:100::");
        assert_eq!(domain.anycast(v4("192.0.2.9")).to_string(), "2001:db8:2:900::");
        // Only a table of relays can tell it from the customer edge 10.0.2.9.
        assert_eq!(domain.embedded_ipv4(&domain.anycast(v4("192.0.2.9"))), Some(v4("10.0.2.9")));
    }

    #[test]
    fn s6r_2_s6r_5_what_makes_no_domain() {
        let all: Ipv4Prefix = "0.0.0.0/0".parse().unwrap();
        let one: Ipv4Prefix = "192.0.2.1/32".parse().unwrap();
        assert!(Domain::new(net("2001:db8::/32"), all).is_ok());
        assert_eq!(Domain::new(net("2001:db8::/33"), all), Err(DomainError::LongDelegation { delegated: 65 }));
        assert!(Domain::long(net("2001:db8::/33"), all).is_ok());
        assert!(Domain::long(net("2001:db8::/96"), all).is_ok());
        assert_eq!(Domain::long(net("2001:db8::/97"), all), Err(DomainError::Length { delegated: 129 }));
        assert!(Domain::long(net("2001:db8::1/128"), one).is_ok());
        let mask = DomainError::MaskLength { ipv4_mask_len: 33 };
        assert_eq!(Domain::around(net("2001:db8::/32"), 33, v4("192.0.2.1")), Err(mask));
        for refused in ["::/0", "::/20", "fe80::/32", "fe80::/10", "ff00::/8", "ff3e::/32", "f000::/4", "::ffff:0:0/96"]
        {
            let prefix = net(refused);
            assert_eq!(Domain::long(prefix, one), Err(DomainError::Prefix { prefix }), "{refused}");
        }
    }

    #[test]
    fn s6r_4_the_ends_of_the_arithmetic() {
        // Linux shifted by 32 here.
        let one: Ipv4Prefix = "192.0.2.1/32".parse().unwrap();
        let whole = Domain::long(net("2001:db8::7/128"), one).unwrap();
        assert_eq!(whole.delegated(v4("198.51.100.1")), net("2001:db8::7/128"));
        assert_eq!(whole.embedded_ipv4(&net("2001:db8::7/128").address()), Some(v4("192.0.2.1")));
        assert_eq!(whole.embedded_ipv4(&net("2001:db8::6/128").address()), None);
        let last = Domain::long(net("2001:db8::/96"), "0.0.0.0/0".parse().unwrap()).unwrap();
        assert_eq!(last.delegated(v4("192.0.2.1")), net("2001:db8::c000:201/128"));
        let across = Domain::long(net("2001:db8:0:aaaa::/63"), "0.0.0.0/0".parse().unwrap()).unwrap();
        assert_eq!(across.delegated(v4("255.255.255.255")), net("2001:db8:0:aaab:ffff:fffe::/95"));
    }

    /// The bits of an address as characters.
    fn text_of(bits: u128, len: usize) -> String {
        format!("{bits:0128b}")[..len].to_string()
    }

    /// The delegated prefix written as a string of bits, as the RFC draws it.
    fn by_concatenation(prefix: &Ipv6Prefix, mask: u8, ipv4: Ipv4Addr) -> Ipv6Prefix {
        let mut bits = text_of(prefix.address().to_bits(), usize::from(prefix.length()));
        bits.push_str(&format!("{:032b}", ipv4.to_bits())[usize::from(mask)..]);
        let len = bits.len();
        let padded = bits + &String::from_utf8(vec![b'0'; 128 - len]).unwrap();
        Ipv6Prefix::new(Ipv6Addr::from_bits(u128::from_str_radix(&padded, 2).unwrap()), len as u8).unwrap()
    }

    fn any_domain() -> impl Strategy<Value = Domain> {
        let mask_and_length = (0_u8..=32).prop_flat_map(|mask| (3..=96 + mask, Just(mask)));
        (mask_and_length, any::<u128>(), any::<u32>()).prop_map(|((length, mask), bits, common)| {
            // In 2000::/3, so that nothing refused is overlapped.
            let bits = bits & !(7 << 125) | 1 << 125;
            let prefix = Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap();
            Domain::long(prefix, Ipv4Prefix::new(Ipv4Addr::from_bits(common), mask).unwrap()).unwrap()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn s6r_1_s6r_3_s6r_4_any_lengths_agree_with_strings_of_bits(
            domain in any_domain(), ipv4: u32, rest: u128
        ) {
            let mask = domain.ipv4_mask_len();
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            let delegated = domain.delegated(ipv4);
            prop_assert_eq!(delegated, by_concatenation(&domain.prefix(), mask, ipv4));
            prop_assert!(domain.prefix().covers(&delegated));
            prop_assert_eq!(domain.anycast(ipv4), delegated.address());
            // The common bits in front of what the address has; whatever
            // follows in the address.
            let own = format!("{:032b}", ipv4.to_bits())[usize::from(mask)..].to_string();
            let common = format!("{:032b}", domain.common().address().to_bits())[..usize::from(mask)].to_string();
            let expected = Ipv4Addr::from_bits(u32::from_str_radix(&(common + &own), 2).unwrap());
            let behind = u128::MAX.checked_shr(u32::from(delegated.length())).unwrap_or(0);
            let address = Ipv6Addr::from_bits(delegated.address().to_bits() | rest & behind);
            prop_assert_eq!(domain.embedded_ipv4(&address), Some(expected));
        }

        #[test]
        fn s6r_3_nothing_outside_of_the_prefix_has_an_ipv4_address(domain in any_domain(), flip in 0_u32..128) {
            let address = Ipv6Addr::from_bits(domain.prefix().address().to_bits() ^ 1 << flip);
            prop_assert_eq!(domain.embedded_ipv4(&address).is_some(), domain.prefix().contains(&address));
        }

        #[test]
        fn s6r_1_6to4_is_the_domain_of_2002_without_a_mask(ipv4: u32, rest: u128) {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            let domain = Domain::new(sixtofour::addr::PREFIX, Ipv4Prefix::DEFAULT).unwrap();
            prop_assert_eq!(domain.delegated(ipv4), sixtofour::addr::site(ipv4));
            let any = Ipv6Addr::from_bits(0x2002 << 112 | rest >> 16);
            prop_assert_eq!(domain.embedded_ipv4(&any), sixtofour::addr::embedded_ipv4(&any));
        }
    }
}
