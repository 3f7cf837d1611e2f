//! Teredo addresses. [RFC 4380 §4, RFC 5991 §3]
//!
//! ```text
//! byte 0-3        4-7          8-9    10-11          12-15
//!      2001:0000  server IPv4  flags  port ^ ffff    mapped IPv4 ^ ffffffff
//! flags, first bit first:  C z RRRR U G RRRRRRRR
//! ```
//!
//! Port and address are what a NAT shows of the client, inverted so that NATs
//! that rewrite whatever looks like an address leave them alone. Link-local
//! addresses have the last 8 bytes in the same layout.

use core::net::{Ipv4Addr, Ipv6Addr};

use bitflags::bitflags;

use crate::prefix::{Ipv6Prefix, halves};

/// The UDP port of servers. [RFC 4380 §2.7]
pub const SERVER_PORT: u16 = 3544;

/// `2001:0::/32`.
pub const PREFIX: Ipv6Prefix = prefix32(0x2001, 0);

/// `3ffe:831f::/32`, which Windows XP used before the RFC: to be recognised,
/// never generated. `TER-7`
pub const OBSOLETE_PREFIX: Ipv6Prefix = prefix32(0x3ffe, 0x831f);

/// The source of a client that solicits a server without the cone bit:
/// `fe80::ffff:ffff:ffff`, port 0 and 0.0.0.0 inverted. `TER-5`
pub const CLIENT_LINK_LOCAL: Ipv6Addr = link_local(Flags::empty(), 0, Ipv4Addr::UNSPECIFIED);

/// The same with the cone bit: `fe80::8000:ffff:ffff:ffff`.
pub const CLIENT_LINK_LOCAL_CONE: Ipv6Addr = link_local(Flags::CONE, 0, Ipv4Addr::UNSPECIFIED);

bitflags! {
    /// The flags of an address. Every bit is kept: peers set what they like
    /// (`TER-4`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct Flags: u16 {
        /// C: the client thought itself behind a cone NAT. New clients leave
        /// it zero and do not believe it of others. [RFC 5991 §3.2]
        const CONE = 0x8000;
        /// z: zero in what is built, ignored in what is read. [RFC 5991 §3.1]
        const RESERVED = 0x4000;
        /// U, the universal/local bit of an interface identifier: zero.
        const UNIVERSAL = 0x0200;
        /// G, the individual/group bit: zero.
        const GROUP = 0x0100;
        const _ = !0;
    }
}

impl Flags {
    /// The 12 bits that a client draws at random. [RFC 5991 §3.1]
    pub const RANDOM: u16 = 0x3cff;

    /// Flags whose random bits are those of `random`: everything else is
    /// zero. `TER-1`, `TER-2`: `random` comes from a cryptographic generator.
    #[must_use]
    pub const fn from_random(random: u16) -> Self {
        Flags::from_bits_retain(random & Flags::RANDOM)
    }

    /// The random bits.
    #[must_use]
    pub const fn random(self) -> u16 {
        self.bits() & Flags::RANDOM
    }

    /// Whether a bit is set that RFC 5991 wants zero in new addresses: z, U
    /// or G. Old clients set them, so it is no reason to refuse.
    #[must_use]
    pub const fn has_reserved(self) -> bool {
        self.bits() & !(Flags::RANDOM | Flags::CONE.bits()) != 0
    }
}

/// What a Teredo address says. Two addresses are the same peer only if all
/// 128 bits are the same. `TER-6`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The server that the client keeps in touch with, at [`SERVER_PORT`].
    pub server: Ipv4Addr,
    /// The flags.
    pub flags: Flags,
    /// The client's UDP port as its NAT shows it; 0 makes no peer (`TER-4`).
    pub port: u16,
    /// The client's IPv4 address as its NAT shows it.
    pub client: Ipv4Addr,
}

impl Address {
    /// What `address` says, if it is in [`PREFIX`]. Any flags are taken.
    ///
    /// Judges none of the two IPv4 addresses (`TER-40`).
    #[inline]
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the lower 32 bits are meant, in a const fn")]
    pub const fn from_ipv6(address: &Ipv6Addr) -> Option<Self> {
        // TER-4 [RFC 4380 §4]: whatever the flags say.
        let (high, low) = halves(address);
        if high >> 32 == PREFIX.high() >> 32 {
            let (flags, port, client) = take_identifier(low);
            Some(Address { server: Ipv4Addr::from_bits(high as u32), flags, port, client })
        } else {
            None
        }
    }

    /// The same for [`OBSOLETE_PREFIX`]. `TER-7`: who reads captures wants
    /// this, and a server that is told to serve them; clients and relays send to
    /// no such address.
    #[inline]
    #[must_use]
    #[expect(clippy::as_conversions, reason = "the lower 32 bits are meant, in a const fn")]
    pub const fn from_obsolete_ipv6(address: &Ipv6Addr) -> Option<Self> {
        let (high, low) = halves(address);
        if high >> 32 == OBSOLETE_PREFIX.high() >> 32 {
            let (flags, port, client) = take_identifier(low);
            Some(Address { server: Ipv4Addr::from_bits(high as u32), flags, port, client })
        } else {
            None
        }
    }

    /// The address on the wire, in [`PREFIX`].
    #[inline]
    #[must_use]
    pub const fn to_ipv6(&self) -> Ipv6Addr {
        // TER-1 [RFC 4380 §4]: the layout; TER-7: never under the old prefix.
        join(PREFIX.high() | widen(self.server.to_bits()), identifier(self.flags, self.port, self.client))
    }
}

/// The /64 that a server gives its clients: `2001:0:server::/64`.
#[must_use]
pub const fn prefix_of(server: Ipv4Addr) -> Ipv6Prefix {
    Ipv6Prefix::subnet_of(&join(PREFIX.high() | widen(server.to_bits()), 0))
}

/// The link-local address of these flags, port and address, which may be a
/// private one. `TER-5 [RFC 4380 §4]`
#[must_use]
pub const fn link_local(flags: Flags, port: u16, ipv4: Ipv4Addr) -> Ipv6Addr {
    join(Ipv6Prefix::LINK_LOCAL.high(), identifier(flags, port, ipv4))
}

/// The link-local address of a server: `fe80::8000:f227:` and its address
/// inverted. `TER-5 [RFC 4380 §5.3.2]`
#[must_use]
pub const fn server_link_local(server: Ipv4Addr) -> Ipv6Addr {
    link_local(Flags::CONE, SERVER_PORT, server)
}

/// Whether the cone bit of an address is set: all that a server may read in
/// the link-local source of a solicitation. `TER-3 [RFC 5991 §3.2]`, `TER-5`
#[must_use]
pub const fn is_cone(address: &Ipv6Addr) -> bool {
    halves(address).1 >> 63 != 0
}

/// Flags, port and address in the last 8 bytes of `address`, whatever its
/// prefix is.
///
/// Only the prefix of an [`Address`] says that they mean something: any
/// interface identifier reads as some port and some address.
#[inline]
#[must_use]
pub const fn read_identifier(address: &Ipv6Addr) -> (Flags, u16, Ipv4Addr) {
    take_identifier(halves(address).1)
}

/// A port as it is written into an address or an origin indication, and
/// back.
#[inline]
#[must_use]
pub const fn obfuscate_port(port: u16) -> u16 {
    !port
}

/// An IPv4 address as it is written into an address or an origin indication,
/// and back.
#[inline]
#[must_use]
pub const fn obfuscate_ipv4(ipv4: Ipv4Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(!ipv4.to_bits())
}

#[inline]
#[expect(clippy::as_conversions, reason = "parts of a word are meant, in a const fn")]
const fn take_identifier(low: u64) -> (Flags, u16, Ipv4Addr) {
    let flags = Flags::from_bits_retain((low >> 48) as u16);
    (flags, obfuscate_port((low >> 32) as u16), obfuscate_ipv4(Ipv4Addr::from_bits(low as u32)))
}

#[inline]
#[expect(clippy::as_conversions, reason = "u16 to u64 loses nothing, in a const fn")]
const fn identifier(flags: Flags, port: u16, ipv4: Ipv4Addr) -> u64 {
    (flags.bits() as u64) << 48 | (obfuscate_port(port) as u64) << 32 | widen(obfuscate_ipv4(ipv4).to_bits())
}

#[inline]
#[expect(clippy::as_conversions, reason = "u32 to u64 loses nothing, in a const fn")]
const fn widen(word: u32) -> u64 {
    word as u64
}

#[inline]
#[expect(clippy::as_conversions, reason = "u64 to u128 loses nothing, in a const fn; the shift is constant")]
const fn join(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits((high as u128) << 64 | low as u128)
}

const fn prefix32(first: u16, second: u16) -> Ipv6Prefix {
    match Ipv6Prefix::new(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0), 32) {
        Some(prefix) => prefix,
        None => Ipv6Prefix::DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    /// Server, flags, mapped address and port, address.
    const VECTORS: &[(&str, u16, &str, u16, &str)] = &[
        ("206.73.118.1", 0xe866, "157.60.0.1", 4096, "2001:0:ce49:7601:e866:efff:62c3:fffe"),
        ("206.73.118.1", 0x2cad, "131.107.0.1", 8192, "2001:0:ce49:7601:2cad:dfff:7c94:fffe"),
        ("206.73.118.1", 0x8000, "157.60.0.1", 4096, "2001:0:ce49:7601:8000:efff:62c3:fffe"),
        ("203.0.113.120", 0, "192.0.2.1", 4096, "2001:0:cb00:7178:0:efff:3fff:fdfe"),
        ("198.51.100.118", 0, "192.0.2.10", 8192, "2001:0:c633:6476:0:dfff:3fff:fdf5"),
        ("203.0.113.120", 0, "198.51.100.118", 4095, "2001:0:cb00:7178:0:f000:39cc:9b89"),
        ("203.0.113.120", 0, "198.51.100.118", 4096, "2001:0:cb00:7178:0:efff:39cc:9b89"),
        ("65.54.227.120", 0x8000, "192.0.2.45", 40000, "2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ("198.51.100.1", 0, "192.0.2.1", 4096, "2001:0:c633:6401:0:efff:3fff:fdfe"),
        ("198.51.100.1", 0, "203.0.113.10", 8192, "2001:0:c633:6401:0:dfff:34ff:8ef5"),
    ];

    #[test]
    fn ter_1_ter_4_addresses_are_built_and_read_as_the_vectors_say() {
        for &(server, flags, client, port, text) in VECTORS {
            let address =
                Address { server: v4(server), flags: Flags::from_bits_retain(flags), port, client: v4(client) };
            assert_eq!(address.to_ipv6(), v6(text));
            assert_eq!(Address::from_ipv6(&v6(text)), Some(address));
            assert!(prefix_of(v4(server)).contains(&v6(text)), "{text}");
        }
        assert_eq!(obfuscate_port(5000), 0xec77);
        assert_eq!(obfuscate_ipv4(v4("131.107.0.1")).to_bits(), 0x7c94_fffe);
        assert_eq!(Address::from_ipv6(&v6("2001:1::")), None);
        assert_eq!(Address::from_ipv6(&v6("2001:db8::1")), None);
        assert_eq!(prefix_of(v4("131.107.0.2")), "2001:0:836b:2::/64".parse().unwrap());
    }

    #[test]
    fn ter_4_flags_that_no_new_client_sets_are_read_as_they_are() {
        let old = Address::from_ipv6(&v6("2001:0:ce49:7601:e866:efff:62c3:fffe")).unwrap();
        assert!(old.flags.contains(Flags::CONE | Flags::RESERVED) && old.flags.has_reserved());
        let new = Address::from_ipv6(&v6("2001:0:ce49:7601:2cad:dfff:7c94:fffe")).unwrap();
        assert!(!new.flags.contains(Flags::CONE) && !new.flags.has_reserved());
        assert_eq!(new.flags.random(), 0x2cad);
        let all_ones = Address::from_ipv6(&v6("2001:0:ce49:7601:ffff:ffff:ffff:ffff")).unwrap();
        assert_eq!((all_ones.port, all_ones.client, all_ones.flags.bits()), (0, Ipv4Addr::UNSPECIFIED, 0xffff));
    }

    #[test]
    fn ter_5_ter_3_link_local_addresses() {
        assert_eq!(server_link_local(v4("206.73.118.1")), v6("fe80::8000:f227:31b6:89fe"));
        assert_eq!(server_link_local(v4("198.51.100.1")), v6("fe80::8000:f227:39cc:9bfe"));
        assert_eq!(CLIENT_LINK_LOCAL, v6("fe80::ffff:ffff:ffff"));
        assert_eq!(CLIENT_LINK_LOCAL_CONE, v6("fe80::8000:ffff:ffff:ffff"));
        for (text, cone) in [
            ("fe80::ffff:ffff:ffff", false),
            ("fe80::8000:ffff:ffff:ffff", true),
            ("fe80::5445:5245:444f", false),
            ("fe80::8000:5445:5245:444f", true),
            ("fe80::ffff:ffff:fffe", false),
            ("fe80::8000:ffff:ffff:fffd", true),
        ] {
            assert_eq!(is_cone(&v6(text)), cone, "{text}");
        }
    }

    #[test]
    fn ter_7_the_old_prefix_is_read_and_never_written() {
        let old = v6("3ffe:831f:ce49:7601:8000:efff:62c3:fffe");
        assert_eq!(Address::from_ipv6(&old), None);
        let address = Address::from_obsolete_ipv6(&old).unwrap();
        assert_eq!(address.to_ipv6(), v6("2001:0:ce49:7601:8000:efff:62c3:fffe"));
        assert_eq!(Address::from_obsolete_ipv6(&v6("3ffe:8320::")), None);
        assert_eq!(Address::from_obsolete_ipv6(&address.to_ipv6()), None);
    }

    proptest! {
        #[test]
        fn ter_1_ter_2_ter_6_every_address_reads_back_bit_for_bit(bits: u128, random: u16) {
            let address = Ipv6Addr::from_bits(bits >> 32 | 0x2001_0000 << 96);
            let read = Address::from_ipv6(&address).unwrap();
            prop_assert_eq!(read.to_ipv6(), address);
            prop_assert_eq!(read_identifier(&address), (read.flags, read.port, read.client));
            // An oracle in octets.
            let octets = address.octets();
            prop_assert_eq!(&read.server.octets()[..], &octets[4..8]);
            let inverted = read.client.octets().map(|octet| octet ^ 0xff);
            prop_assert_eq!(&inverted[..], &octets[12..]);
            prop_assert_eq!(read.port, u16::from_be_bytes([octets[10] ^ 0xff, octets[11] ^ 0xff]));
            let flags = Flags::from_random(random);
            prop_assert!(!flags.has_reserved() && !flags.contains(Flags::CONE));
            // Another draw is another peer.
            let other = Address { flags: Flags::from_bits_retain(read.flags.bits() ^ 1), ..read };
            prop_assert_ne!(other.to_ipv6(), address);
        }
    }
}
