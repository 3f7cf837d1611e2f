//! Blocks of addresses with a meaning of their own: the one table, of which
//! every predicate on addresses is made. [RFC 6890, and the IANA special-purpose
//! address registries that it began]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;

use super::{Ipv4Prefix, Ipv6Prefix};

/// What is to be known of a block.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Block {
    /// Where it is defined.
    pub rfc: &'static str,
    /// What it is, in a sentence.
    pub what: &'static str,
}

bitflags! {
    /// What the addresses of a block are, beside what those of the block
    /// around it are; a set of kinds is what some RFC refuses.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(crate) struct Kinds: u16 {
        /// Reachable from anywhere, though the block around them is not.
        const GLOBAL = 1;
        /// This host or network.
        const UNSPECIFIED = 1 << 1;
        /// Never leaves the host.
        const LOOPBACK = 1 << 2;
        /// Groups.
        const MULTICAST = 1 << 3;
        /// All hosts of the link.
        const BROADCAST = 1 << 4;
        /// Kept for later, or given back.
        const RESERVED = 1 << 5;
        /// Unique within one site.
        const PRIVATE = 1 << 6;
        /// Unique within one provider's network.
        const SHARED = 1 << 7;
        /// Unique on one link.
        const LINK_LOCAL = 1 << 8;
        /// For protocols of the IETF.
        const PROTOCOL = 1 << 9;
        /// In texts, and in labs.
        const DOCUMENTATION = 1 << 10;
        /// The block that was alone for documentation until RFC 5737.
        const TEST_NET_1 = 1 << 11;
        /// In laboratories that measure devices.
        const BENCHMARK = 1 << 12;
        /// Of 6to4 relays.
        const RELAY = 1 << 13;
        /// Of a service that the network around a host answers, another one at each place.
        const SERVICE = 1 << 14;

        /// Never the source or destination of a packet between two nodes.
        const NEVER_UNICAST =
            Self::UNSPECIFIED.bits() | Self::LOOPBACK.bits() | Self::MULTICAST.bits() | Self::RESERVED.bits();
        /// Used by many.
        const AMBIGUOUS = Self::PRIVATE.bits() | Self::SHARED.bits() | Self::LINK_LOCAL.bits();
        /// A host's, and yet not of the public Internet.
        const BOGON = Self::PRIVATE.bits()
            | Self::SHARED.bits()
            | Self::PROTOCOL.bits()
            | Self::DOCUMENTATION.bits()
            | Self::BENCHMARK.bits();
    }
}

impl Kinds {
    const AS_AROUND: Kinds = Kinds::empty();
}

/// The smallest special block that an address lies in, with its length in bits.
#[must_use]
pub fn block_of(address: IpAddr) -> Option<(u8, &'static Block)> {
    match address {
        IpAddr::V4(address) => IPV4.iter().find(|row| row.0.contains(address)).map(|row| (row.0.length(), &row.2)),
        IpAddr::V6(address) => IPV6.iter().find(|row| row.0.contains(&address)).map(|row| (row.0.length(), &row.2)),
    }
}

/// Whether `address` lies in a block of one of these kinds.
///
/// Where there are many such blocks, the first byte of an address says of
/// nearly all that they lie in none: packets ask about each of their addresses.
#[inline(always)]
pub(crate) const fn has_ipv4<const KINDS: u16>(address: Ipv4Addr) -> bool {
    let kinds = Kinds::from_bits_retain(KINDS);
    if const { count_ipv4(Kinds::from_bits_retain(KINDS)) <= FEW } {
        return compare_ipv4(address, kinds);
    }
    let [first, ..] = address.octets();
    let bits = const { FirstBytes::of(Kinds::from_bits_retain(KINDS)) };
    bits.have(first) && compare_ipv4_apart::<KINDS>(address)
}

/// As many comparisons cost no more than a look at the first byte.
const FEW: u8 = 6;

/// How many blocks are of one of these kinds.
const fn count_ipv4(kinds: Kinds) -> u8 {
    let (mut rows, mut count) = (IPV4, 0_u8);
    while let [row, rest @ ..] = rows {
        count = count.wrapping_add(if row.1.intersects(kinds) { 1 } else { 0 });
        rows = rest;
    }
    count
}

/// The comparisons out of line: they are for the few.
#[inline(never)]
const fn compare_ipv4_apart<const KINDS: u16>(address: Ipv4Addr) -> bool {
    compare_ipv4(address, Kinds::from_bits_retain(KINDS))
}

/// A set of first bytes of IPv4 addresses.
struct FirstBytes([u64; 4]);

impl FirstBytes {
    /// The first bytes of the addresses in blocks of these kinds.
    const fn of(kinds: Kinds) -> FirstBytes {
        let mut words = [0; 4];
        let mut byte = 0_u8;
        loop {
            if begins_ipv4(kinds, byte) {
                let [a, b, c, d] = &mut words;
                let word = match byte >> 6 {
                    0 => a,
                    1 => b,
                    2 => c,
                    _ => d,
                };
                *word |= bit(byte);
            }
            if byte == u8::MAX {
                return FirstBytes(words);
            }
            byte = byte.wrapping_add(1);
        }
    }

    #[inline(always)]
    const fn have(&self, byte: u8) -> bool {
        let [a, b, c, d] = self.0;
        let word = match byte >> 6 {
            0 => a,
            1 => b,
            2 => c,
            _ => d,
        };
        word & bit(byte) != 0
    }
}

/// The place of a byte among the 64 that it is counted with.
#[inline(always)]
#[expect(clippy::as_conversions, reason = "a const fn cannot call From; u8 to u32 loses nothing")]
const fn bit(byte: u8) -> u64 {
    1_u64.wrapping_shl(byte as u32)
}

/// Whether an address of a block of these kinds begins with `byte`.
const fn begins_ipv4(kinds: Kinds, byte: u8) -> bool {
    let mut rows = IPV4;
    while let [(prefix, row, _), rest @ ..] = rows {
        let [first, ..] = prefix.address().octets();
        let begin = Ipv4Addr::new(byte, 0, 0, 0);
        if row.intersects(kinds) && (first == byte || prefix.contains(begin)) {
            return true;
        }
        rows = rest;
    }
    false
}

/// Makes a table, and a chain of comparisons with its blocks: where the kinds
/// are constant, only those of their blocks are left, and no table.
macro_rules! blocks {
    ($table:ident of $prefix:ty, $has:ident($address:ty), $new:ident:
     $($first:expr, $length:literal, $($kind:ident)|+, $rfc:literal, $what:literal;)+) => {
        /// Smaller blocks stand in front of those around them.
        const $table: &[($prefix, Kinds, Block)] = &[$((
            $new($first, $length),
            Kinds::empty()$(.union(Kinds::$kind))+,
            Block { rfc: $rfc, what: $what },
        )),+];

        /// Whether `address` lies in a block of one of these kinds.
        #[inline(always)]
        pub(crate) const fn $has(address: $address, kinds: Kinds) -> bool {
            $((kinds.intersects(Kinds::empty()$(.union(Kinds::$kind))+)
                && const { $new($first, $length) }.contains(address)))||+
        }
    };
}

blocks! { IPV4 of Ipv4Prefix, compare_ipv4(Ipv4Addr), ipv4:
    [0, 0, 0, 0], 32, AS_AROUND, "RFC 1122 §3.2.1.3", "No address: this host, which Linux connects to itself.";
    [0, 0, 0, 0], 8, UNSPECIFIED, "RFC 1122 §3.2.1.3", "This network: never the source or destination of a packet.";
    [10, 0, 0, 0], 8, PRIVATE, "RFC 1918 §3", "Private: unique within one site only.";
    [100, 64, 0, 0], 10, SHARED, "RFC 6598 §7", "Shared between customers of one provider, behind its NAT.";
    [127, 0, 0, 0], 8, LOOPBACK, "RFC 1122 §3.2.1.3", "Loopback: this host.";
    [169, 254, 0, 0], 16, LINK_LOCAL, "RFC 3927 §2.1", "Link-local; clouds have their metadata service here.";
    [168, 63, 129, 16], 32, SERVICE, "Microsoft Azure", "Azure's platform answers here, to each of its virtual machines.";
    [172, 16, 0, 0], 12, PRIVATE, "RFC 1918 §3", "Private: unique within one site only.";
    [192, 0, 0, 9], 32, SERVICE, "RFC 7723 §4", "The nearest port control server.";
    [192, 0, 0, 10], 32, SERVICE, "RFC 8155", "The nearest TURN server.";
    [192, 0, 0, 0], 24, PROTOCOL, "RFC 6890 §2.2.2", "For protocols of the IETF.";
    [192, 0, 2, 0], 24, DOCUMENTATION | TEST_NET_1, "RFC 5737 §3", "For documentation.";
    [192, 31, 196, 0], 24, AS_AROUND, "RFC 7535", "The nearest AS112 server, which answers for private addresses.";
    [192, 52, 193, 0], 24, AS_AROUND, "RFC 7450 §7", "The nearest relay of automatic multicast tunnelling.";
    [192, 88, 99, 0], 24, RELAY, "RFC 7526 §5", "The deprecated anycast address of 6to4 relays.";
    [192, 168, 0, 0], 16, PRIVATE, "RFC 1918 §3", "Private: unique within one site only.";
    [192, 175, 48, 0], 24, AS_AROUND, "RFC 7534", "The nearest AS112 server, which answers for private addresses.";
    [198, 18, 0, 0], 15, BENCHMARK, "RFC 2544 §C.2.2", "For benchmarks of network devices.";
    [198, 51, 100, 0], 24, DOCUMENTATION, "RFC 5737 §3", "For documentation.";
    [203, 0, 113, 0], 24, DOCUMENTATION, "RFC 5737 §3", "For documentation.";
    [224, 0, 0, 253], 32, AS_AROUND, "RFC 4380 §2.17", "The group in which Teredo clients of one link find each other.";
    [224, 0, 0, 0], 4, MULTICAST, "RFC 1112 §4", "Multicast.";
    [255, 255, 255, 255], 32, BROADCAST, "RFC 919 §7", "Broadcast on this link.";
    [240, 0, 0, 0], 4, RESERVED, "RFC 1112 §4", "Reserved.";
}

blocks! { IPV6 of Ipv6Prefix, has_ipv6(&Ipv6Addr), ipv6:
    0, 128, UNSPECIFIED, "RFC 4291 §2.5.2", "No address: an interface that has none yet.";
    1, 128, LOOPBACK, "RFC 4291 §2.5.3", "Loopback: this host.";
    0x0064_ff9b_0001 << 80, 48, PRIVATE, "RFC 8215 §3", "For translators of one network.";
    0x0100 << 112, 64, RESERVED, "RFC 6666 §4", "Whatever is sent here is discarded.";
    0x0100_0000_0000_0001 << 64, 64, RESERVED, "RFC 9780", "Nobody's: packets to it are for the end of an MPLS path.";
    0x2001_0001 << 96 | 1, 128, SERVICE, "RFC 7723 §4", "The nearest port control server.";
    0x2001_0001 << 96 | 2, 128, SERVICE, "RFC 8155", "The nearest TURN server.";
    0x2001_0001 << 96 | 3, 128, SERVICE, "RFC 9665", "The nearest server that registers services for DNS-SD.";
    0x2001_0002 << 96, 48, BENCHMARK, "RFC 5180 §8", "For benchmarks of network devices.";
    0x2001_0003 << 96, 32, GLOBAL, "RFC 7450 §7", "Automatic multicast tunnelling.";
    0x2001_0004_0112 << 80, 48, GLOBAL, "RFC 7535", "The nearest AS112 server, which answers for private addresses.";
    0x2001_0010 << 96, 28, RESERVED, "RFC 4843 §2", "Identifiers of cryptographic keys, the old ones: no addresses.";
    0x2001_0020 << 96, 28, GLOBAL, "RFC 7343 §2", "Identifiers of cryptographic keys: no addresses.";
    0x2001_0030 << 96, 28, GLOBAL, "RFC 9374", "Identifiers of drones.";
    0x2001_0db8 << 96, 32, DOCUMENTATION, "RFC 3849 §2", "For documentation.";
    0x2001 << 112, 23, PROTOCOL, "RFC 2928 §2", "For protocols of the IETF.";
    0x2620_004f_8000 << 80, 48, AS_AROUND, "RFC 7534", "The nearest AS112 server, which answers for private addresses.";
    0x3ffe << 112, 16, RESERVED, "RFC 3701 §2", "The 6bone, which ended in 2006.";
    0x3fff << 112, 20, DOCUMENTATION, "RFC 9637 §3", "For documentation.";
    0x5f00 << 112, 16, RESERVED, "RFC 9602 §2", "Identifiers of segment routing: no addresses.";
    0xfc00 << 112, 7, PRIVATE, "RFC 4193 §3", "Unique local: routed within sites that agree on it, not beyond.";
    0xfe80 << 112, 10, LINK_LOCAL, "RFC 4291 §2.5.6", "Link-local: says nothing without the interface.";
    0xfec0 << 112, 10, PRIVATE, "RFC 3879 §4", "Site-local, deprecated.";
    0xff02 << 112 | 1, 128, AS_AROUND, "RFC 4291 §2.7.1", "All nodes of the link.";
    0xff02 << 112 | 2, 128, AS_AROUND, "RFC 4291 §2.7.1", "All routers of the link.";
    0xff02 << 112 | 0x1_ff00_0000, 104, AS_AROUND, "RFC 4291 §2.7.1", "Solicited-node multicast: who has an address that ends so.";
    0xff00 << 112, 8, MULTICAST, "RFC 4291 §2.7", "Multicast; no tunnel of this kind carries it beyond the link.";
}

const fn ipv4(first: [u8; 4], len: u8) -> Ipv4Prefix {
    Ipv4Prefix { bits: u32::from_be_bytes(first), len }
}

const fn ipv6(first: u128, len: u8) -> Ipv6Prefix {
    let (high, low) = super::halves(&Ipv6Addr::from_bits(first));
    Ipv6Prefix { high, low, len }
}

/// The first and the last address of each block, and one beside each.
#[cfg(test)]
pub(crate) fn borders() -> std::vec::Vec<Ipv4Addr> {
    let of = |(prefix, ..): &(Ipv4Prefix, Kinds, Block)| {
        let first = prefix.address().to_bits();
        let last = first | u32::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        [first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv4Addr::from_bits)
    };
    IPV4.iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By the table and by the first byte, for some sets of kinds.
    fn both_ways(address: Ipv4Addr) {
        const NO_HOST: Kinds = Kinds::NEVER_UNICAST.union(Kinds::LINK_LOCAL);
        const NOT_GLOBAL: Kinds = NO_HOST.union(Kinds::BOGON);
        const NOT_CLIENT: Kinds = Kinds::NEVER_UNICAST.union(Kinds::AMBIGUOUS).union(Kinds::RELAY);
        macro_rules! agree {
            ($($kinds:expr),+) => {$(
                let found = has_ipv4::<{ $kinds.bits() }>(address);
                assert_eq!(found, compare_ipv4(address, $kinds), "{address} {}", stringify!($kinds));
            )+};
        }
        agree!(NO_HOST, NOT_GLOBAL, NOT_CLIENT, Kinds::BOGON, Kinds::AMBIGUOUS, Kinds::PRIVATE, Kinds::all());
        agree!(Kinds::GLOBAL, Kinds::RELAY, Kinds::NEVER_UNICAST, Kinds::empty());
    }

    #[test]
    fn the_first_byte_rules_out_no_address_of_a_block() {
        borders().into_iter().for_each(both_ways);
        for first in 0..=u8::MAX {
            both_ways(Ipv4Addr::new(first, 0, 0, 0));
            both_ways(Ipv4Addr::new(first, 255, 255, 255));
        }
    }

    proptest! {
        #[test]
        fn the_first_byte_rules_out_no_address_at_random(bits: u32) {
            both_ways(Ipv4Addr::from_bits(bits));
        }
    }

    /// What the chains say at each border of each block, and beside it, for each kind.
    #[test]
    fn the_chains_of_comparisons_say_what_the_tables_do() {
        for address in borders() {
            let rows = IPV4.iter().filter(|(prefix, ..)| prefix.contains(address));
            let kinds = rows.fold(Kinds::empty(), |kinds, (_, kind, _)| kinds | *kind);
            for kind in Kinds::all() {
                assert_eq!(compare_ipv4(address, kind), kinds.intersects(kind), "{address} {kind:?}");
            }
            // Written by hand.
            let never = kinds.intersects(Kinds::NEVER_UNICAST);
            assert_eq!(crate::prefix::is_never_unicast(address), never, "{address}");
        }
        for (prefix, ..) in IPV6 {
            let first = prefix.address().to_bits();
            let last = first | u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
            for bits in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                let address = Ipv6Addr::from_bits(bits);
                let rows = IPV6.iter().filter(|(prefix, ..)| prefix.contains(&address));
                let kinds = rows.fold(Kinds::empty(), |kinds, (_, kind, _)| kinds | *kind);
                for kind in Kinds::all() {
                    assert_eq!(has_ipv6(&address, kind), kinds.intersects(kind), "{address} {kind:?}");
                }
            }
        }
    }

    #[test]
    fn the_smallest_block_is_found_first_and_no_bits_stand_behind_a_length() {
        for (at, (prefix, ..)) in IPV4.iter().enumerate() {
            assert_eq!(Ipv4Prefix::new(prefix.address(), prefix.length()), Some(*prefix));
            let covers = |later: &Ipv4Prefix| prefix.len <= later.len && prefix.contains(later.address());
            assert!(!IPV4.iter().skip(at + 1).any(|(later, ..)| covers(later)), "{prefix}");
        }
        for (at, (prefix, ..)) in IPV6.iter().enumerate() {
            assert_eq!(Ipv6Prefix::new(prefix.address(), prefix.length()), Some(*prefix));
            assert!(!IPV6.iter().skip(at + 1).any(|(later, ..)| prefix.covers(later)), "{prefix}");
        }
    }
}
