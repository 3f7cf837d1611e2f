//! ISATAP addresses: a /64 and an identifier that carries an IPv4 address.
//!
//! ```text
//! byte  8        9        10       11       12 13 14 15
//!       000000u0 00000000 01011110 11111110  IPv4 address
//! ```
//!
//! u = 1 says that the IPv4 address is known to be globally unique. Peers
//! disagree on when that is so (`ISA-2`), hence this module builds one form
//! and recognises both; nothing compares a built address with a received one
//! bit by bit. [RFC 5214 §6.1]

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::prefix::special::{Kinds, has_ipv4};
use crate::prefix::{Ipv6Prefix, halves, is_never_unicast};

/// The upper half of the identifier with u = 0: `00-00-5E-FE`.
const LOCAL: u32 = 0x0000_5efe;
/// The same with u = 1: `02-00-5E-FE`.
const UNIVERSAL: u32 = 0x0200_5efe;
/// All but the u bit of the upper half, as it is sent.
const ALL_BUT_U: u32 = u32::from_ne_bytes([0xfd, 0xff, 0xff, 0xff]);

/// The interface identifier for `ipv4`, with the u bit of `ISA-2` and the g
/// bit zero. `ISA-1 [RFC 5214 §6.1]`
///
/// Does not judge whether `ipv4` can be a locator: see [`is_locator`].
#[inline]
#[must_use]
pub const fn identifier(ipv4: Ipv4Addr) -> [u8; 8] {
    identifier_with(if is_globally_unique(ipv4) { UNIVERSAL } else { LOCAL }, ipv4)
}

/// The link-local address for `ipv4`: `fe80::5efe:10.0.0.1`.
#[inline]
#[must_use]
pub const fn link_local(ipv4: Ipv4Addr) -> Ipv6Addr {
    on_link_local(identifier(ipv4))
}

/// The link-local address with the u bit that [`link_local`] does not set:
/// what a peer with another list of unique addresses would form. `ISA-26`
#[must_use]
pub const fn other_link_local(ipv4: Ipv4Addr) -> Ipv6Addr {
    on_link_local(identifier_with(if is_globally_unique(ipv4) { LOCAL } else { UNIVERSAL }, ipv4))
}

/// The address for `ipv4` in `prefix`; `None` unless the prefix is a /64.
/// `ISA-4`
#[inline]
#[must_use]
pub const fn address(prefix: &Ipv6Prefix, ipv4: Ipv4Addr) -> Option<Ipv6Addr> {
    prefix.with_identifier(identifier(ipv4))
}

/// The IPv4 address in an ISATAP interface identifier, of either u bit; the
/// prefix is not looked at. `ISA-3`, `ISA-5`
///
/// The identifier alone proves nothing about who sent a packet or where a
/// packet may go (`ISA-42`, `ISA-81`).
#[inline(always)]
#[must_use]
#[expect(clippy::as_conversions, reason = "the lower 32 bits are meant, in a const fn")]
pub const fn embedded_ipv4(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    // In one piece, and as it was sent: the bytes of a shifted number would be read one by one.
    let [_, _, _, _, _, _, _, _, upper @ .., _, _, _, _] = address.octets();
    let (_, low) = halves(address);
    if u32::from_ne_bytes(upper) & ALL_BUT_U == u32::from_ne_bytes(LOCAL.to_be_bytes()) {
        Some(Ipv4Addr::from_bits(low as u32))
    } else {
        None
    }
}

/// Whether [`embedded_ipv4`] of `address` is `ipv4`, asked word-wide on the
/// bytes as they were sent.
#[inline(always)]
pub(crate) fn embeds(address: &Ipv6Addr, ipv4: Ipv4Addr) -> bool {
    let octets = &address.octets();
    let [_, _, _, _, _, _, _, _, upper @ .., _, _, _, _] = *octets;
    u32::from_ne_bytes(upper) & ALL_BUT_U == u32::from_ne_bytes(LOCAL.to_be_bytes())
        && octets.last_chunk() == Some(&ipv4.octets())
}

/// Whether `ipv4` is known to be globally unique, so that u = 1.
///
/// `ISA-2 [RFC 5214 §6.1]`: the RFC gives no list. Not unique here: 0/8,
/// 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12, 192.0.2/24, 192.88.99/24,
/// 192.168/16, 198.18/15, multicast and the broadcast address. TEST-NET-2 and
/// -3 count as unique: they occur only in tests against peers that do so.
#[inline]
#[must_use]
pub const fn is_globally_unique(ipv4: Ipv4Addr) -> bool {
    !has_ipv4::<{ NOT_UNIQUE.bits() }>(ipv4)
}

const NOT_UNIQUE: Kinds = Kinds::AMBIGUOUS
    .union(Kinds::UNSPECIFIED)
    .union(Kinds::LOOPBACK)
    .union(Kinds::MULTICAST)
    .union(Kinds::BROADCAST)
    .union(Kinds::TEST_NET_1)
    .union(Kinds::BENCHMARK)
    .union(Kinds::RELAY);

/// Whether `ipv4` can be a locator: a unicast address, 240/4 excluded.
#[inline]
#[must_use]
pub const fn is_locator(ipv4: Ipv4Addr) -> bool {
    !is_never_unicast(ipv4)
}

/// Shows an ISATAP address with its IPv4 address dotted, any other address
/// as usual: `2001:db8:0:7:0:5efe:10.0.0.2`. In brackets and with a port that is
/// at most 52 characters, a `%zone` apart. `ISA-8`
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Dotted(pub Ipv6Addr);

impl fmt::Display for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(ipv4) = embedded_ipv4(&self.0) else { return fmt::Display::fmt(&self.0, f) };
        // Six groups stay hexadecimal, so only they can hold the run of zeros
        // that `::` stands for.
        let [a, b, c, d, e, g, _, _] = self.0.segments();
        let groups = [a, b, c, d, e, g];
        let (start, len) = longest_zero_run(&groups);
        for (at, group) in groups.iter().enumerate() {
            if len >= 2 && at == start {
                f.write_str("::")?;
            } else if len < 2 || at < start || at >= start.saturating_add(len) {
                write!(f, "{group:x}")?;
                if at.saturating_add(1) != start || len < 2 {
                    f.write_str(":")?;
                }
            }
        }
        fmt::Display::fmt(&ipv4, f)
    }
}

impl fmt::Debug for Dotted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Start and length of the first longest run of zero groups. [RFC 5952 §4.2]
fn longest_zero_run(groups: &[u16; 6]) -> (usize, usize) {
    let mut best = (0, 0);
    let mut run = (0_usize, 0_usize);
    for (at, group) in groups.iter().enumerate() {
        if *group != 0 {
            run = (at.saturating_add(1), 0);
            continue;
        }
        run.1 = run.1.saturating_add(1);
        if run.1 > best.1 {
            best = run;
        }
    }
    best
}

#[inline]
const fn identifier_with(upper: u32, ipv4: Ipv4Addr) -> [u8; 8] {
    let [a, b, c, d] = upper.to_be_bytes();
    let [w, x, y, z] = ipv4.octets();
    [a, b, c, d, w, x, y, z]
}

#[inline]
const fn on_link_local(identifier: [u8; 8]) -> Ipv6Addr {
    match Ipv6Prefix::LINK_LOCAL.with_identifier(identifier) {
        Some(address) => address,
        None => Ipv6Addr::UNSPECIFIED,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::format;
    use std::string::ToString;

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    #[test]
    fn isa_1_isa_2_isa_4_link_locals_of_the_vectors() {
        for (ipv4, link) in [
            ("10.40.1.29", "fe80::5efe:a28:11d"),
            ("192.168.41.30", "fe80::5efe:c0a8:291e"),
            ("131.107.71.209", "fe80::200:5efe:836b:47d1"),
            ("157.60.0.1", "fe80::200:5efe:9d3c:1"),
            ("131.107.4.92", "fe80::200:5efe:836b:45c"),
            ("100.64.1.1", "fe80::5efe:6440:101"),
            ("172.31.255.255", "fe80::5efe:ac1f:ffff"),
            ("172.32.0.0", "fe80::200:5efe:ac20:0"),
            ("169.254.1.2", "fe80::5efe:a9fe:102"),
            ("192.88.99.1", "fe80::5efe:c058:6301"),
            ("8.8.8.8", "fe80::200:5efe:808:808"),
            ("10.0.0.1", "fe80::5efe:a00:1"),
        ] {
            assert_eq!(link_local(v4(ipv4)), v6(link), "{ipv4}");
            assert_eq!(embedded_ipv4(&v6(link)), Some(v4(ipv4)));
            assert_eq!(embedded_ipv4(&other_link_local(v4(ipv4))), Some(v4(ipv4)));
            assert_ne!(other_link_local(v4(ipv4)), link_local(v4(ipv4)));
        }
    }

    #[test]
    fn isa_4_any_unicast_64_bit_prefix() {
        for (prefix, ipv4, expected) in [
            ("2001:db8:0:7::/64", "131.107.4.92", "2001:db8:0:7:200:5efe:836b:45c"),
            ("2001:db8:0:7::/64", "192.168.47.99", "2001:db8:0:7:0:5efe:c0a8:2f63"),
            ("fd9c:30c:2da4:1::/64", "172.16.10.25", "fd9c:30c:2da4:1:0:5efe:ac10:a19"),
        ] {
            assert_eq!(address(&prefix.parse().unwrap(), v4(ipv4)), Some(v6(expected)));
        }
        assert_eq!(address(&"2001:db8::/48".parse().unwrap(), v4("10.0.0.1")), None);
    }

    #[test]
    fn isa_3_both_u_bits_and_no_g_bit() {
        for (identifier, recognised) in [
            ("::5efe:a00:1", true),
            ("::200:5efe:a00:1", true),
            ("::100:5efe:a00:1", false),
            ("::300:5efe:a00:1", false),
            ("::5eff:a00:1", false),
            ("::1:5efe:a00:1", false),
            ("fe80::10.0.0.1", false),
        ] {
            assert_eq!(embedded_ipv4(&v6(identifier)).is_some(), recognised, "{identifier}");
        }
    }

    #[test]
    fn isa_2_edges_of_every_block() {
        for (first, last) in [
            ("0.0.0.0", "0.255.255.255"),
            ("10.0.0.0", "10.255.255.255"),
            ("100.64.0.0", "100.127.255.255"),
            ("127.0.0.0", "127.255.255.255"),
            ("169.254.0.0", "169.254.255.255"),
            ("172.16.0.0", "172.31.255.255"),
            ("192.0.2.0", "192.0.2.255"),
            ("192.88.99.0", "192.88.99.255"),
            ("192.168.0.0", "192.168.255.255"),
            ("198.18.0.0", "198.19.255.255"),
            ("224.0.0.0", "239.255.255.255"),
        ] {
            assert!(!is_globally_unique(v4(first)) && !is_globally_unique(v4(last)), "{first}");
            let (before, after) = (v4(first).to_bits().wrapping_sub(1), v4(last).to_bits().wrapping_add(1));
            for outside in [before, after].map(Ipv4Addr::from_bits) {
                assert_eq!(is_globally_unique(outside), outside != Ipv4Addr::BROADCAST, "{outside}");
            }
        }
        for unique in ["198.51.100.1", "203.0.113.1", "14.0.0.1", "192.0.0.1", "240.0.0.1"] {
            assert!(is_globally_unique(v4(unique)), "{unique}");
        }
        assert!(!is_locator(v4("240.0.0.1")) && !is_locator(v4("0.0.0.0")) && !is_locator(v4("255.255.255.255")));
    }

    #[test]
    fn isa_8_dotted_text_and_its_longest_length() {
        assert_eq!(Dotted(v6("fe80::5efe:a00:1")).to_string(), "fe80::5efe:10.0.0.1");
        assert_eq!(Dotted(v6("fe80::200:5efe:836b:45c")).to_string(), "fe80::200:5efe:131.107.4.92");
        assert_eq!(Dotted(v6("2001:db8:0:7:0:5efe:a00:2")).to_string(), "2001:db8:0:7:0:5efe:10.0.0.2");
        assert_eq!(Dotted(v6("2001:db8::1")).to_string(), "2001:db8::1");
        assert_eq!(Dotted(v6("::5efe:a00:2")).to_string(), "::5efe:10.0.0.2");
        let longest = v6("ffff:ffff:ffff:ffff:200:5efe:255.255.255.255");
        assert_eq!(format!("[{}]:65535", Dotted(longest)).len(), 52);
        let local = v6("ffff:ffff:ffff:ffff:0:5efe:255.255.255.255");
        assert_eq!(format!("[{}]:65535", Dotted(local)).len(), 50);
    }

    proptest! {
        #[test]
        fn isa_5_the_ipv4_address_comes_back(prefix: u64, ipv4: u32) {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            let prefix = Ipv6Prefix::new(Ipv6Addr::from_bits(u128::from(prefix) << 64), 64).unwrap();
            let address = address(&prefix, ipv4).unwrap();
            prop_assert_eq!(embedded_ipv4(&address), Some(ipv4));
            prop_assert!(embeds(&address, ipv4));
            prop_assert_eq!(Dotted(address).to_string().parse::<Ipv6Addr>(), Ok(address));
        }
    }
}
