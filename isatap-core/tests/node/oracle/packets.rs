//! Packets out of a fuzzer's bytes: most of them with addresses that belong
//! together, so that what comes behind the first checks is reached too.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::input::{Input, fix_icmpv6, fix_ipv4};
use super::options;
use super::rules::{Domain, Net6, Own4};

/// A public and a private address of this node, and their subnets' others.
pub const PUBLIC: Own4 = (0x836b_0002, 24);
/// See [`PUBLIC`].
pub const PRIVATE: Own4 = (0x0a00_0002, 24);

/// IPv4 addresses that mean something here: our own, neighbours' of both
/// subnets, relays', the subnets' broadcast addresses, and some that are
/// nobody's.
pub const IPV4: [u32; 18] = [
    PUBLIC.0,
    PRIVATE.0,
    0x836b_0007,
    0x836b_0008,
    0x836b_00ff,
    0x836b_0901,
    0x0a00_0001,
    0x0a00_0003,
    0x0a00_00ff,
    0xc058_6301,
    0xc633_6407,
    0xcb00_7109,
    0x6440_0001,
    0xc000_0209,
    0x7f00_0001,
    0xe000_0001,
    0x0000_0001,
    0xffff_ffff,
];

/// What is on-link behind ISATAP, on the LAN, and in the 6rd domain.
#[derive(Clone, Copy)]
pub struct World {
    /// The prefix of the site's ISATAP link.
    pub isatap: Net6,
    /// The prefix of the LAN.
    pub lan: Net6,
    /// The 6rd domain.
    pub domain: Domain,
}

/// The one that nodes stand in.
pub const WORLD: World = World {
    isatap: (0x2001_0db8_0000_0007 << 64, 64),
    lan: (0x2001_0db8_0000_0008 << 64, 64),
    domain: Domain { prefix: (0x2001_0db8_6000 << 80, 40), common: (0x836b_0000, 16) },
};

/// One of [`IPV4`], or any.
pub fn ipv4(input: &mut Input<'_>) -> u32 {
    match input.byte() {
        0xf0.. => input.u32(),
        other => IPV4[usize::from(other) % IPV4.len()],
    }
}

/// An IPv6 address that embeds `ipv4`, in one of the forms that there are; or
/// one that embeds nothing.
pub fn ipv6(input: &mut Input<'_>, world: &World, ipv4: u32) -> u128 {
    let embedded = u128::from(ipv4);
    let form = input.byte() % 16;
    let tail = |input: &mut Input<'_>| match input.byte() & 3 {
        0 => 0,
        1 => 1,
        2 => embedded,
        _ => u128::from(input.u32()),
    };
    let isatap = |prefix: u128, u: u128| prefix | (u << 56 | 0x5efe) << 32 | embedded;
    match form {
        0 => isatap(0xfe80 << 112, 0),
        1 => isatap(0xfe80 << 112, 2),
        2 => isatap(world.isatap.0, 0),
        3 => isatap(world.isatap.0, 2),
        4..=6 => 0x2002 << 112 | embedded << 80 | tail(input),
        7..=9 => {
            let (prefix, length) = world.domain.delegated(ipv4);
            prefix | tail(input) & u128::MAX.checked_shr(length.into()).unwrap_or(0)
        }
        10 => embedded,
        11 => world.lan.0 | tail(input),
        12 => 0x2a00 << 112 | tail(input),
        13 => 0x2001 << 112 | 0x4136_e378 << 64 | u128::from(!ipv4),
        14 => input.among(&[
            0,
            1,
            0xff02 << 112 | 1,
            0xff02 << 112 | 2,
            0xff0e << 112 | 1,
            0xfe80 << 112 | embedded,
            0xfec0 << 112 | 1,
            0xffff << 32 | embedded,
            world.isatap.0,
            world.isatap.0 | embedded,
        ]),
        _ => input.ipv6().to_bits(),
    }
}

/// The same as an address.
pub fn any_ipv6(input: &mut Input<'_>, world: &World) -> Ipv6Addr {
    let ipv4 = ipv4(input);
    Ipv6Addr::from_bits(ipv6(input, world, ipv4))
}

/// An IPv6 packet, whose addresses mostly embed `from` and `to`.
fn inner_between(input: &mut Input<'_>, world: &World, from: u32, to: u32) -> Vec<u8> {
    let kinship = input.byte();
    let from = if kinship & 3 == 3 { ipv4(input) } else { from };
    let source = ipv6(input, world, from);
    let to = if kinship & 12 == 12 { ipv4(input) } else { to };
    let destination = ipv6(input, world, to);
    let (protocol, hop_limit) =
        (input.among(&[58, 58, 58, 17, 59, 41, 43, 44, 60, 0]), input.among(&[255, 255, 64, 1]));
    let len = input.byte();
    let payload = input.bytes(usize::from(len));
    let mut packet = vec![0x60, input.byte() & 0xf, 0, 0, 0, u8::try_from(payload.len()).unwrap(), protocol, hop_limit];
    packet.extend(source.to_be_bytes());
    packet.extend(destination.to_be_bytes());
    packet.extend(payload);
    if protocol == 58 && input.byte() & 7 != 0 {
        fix_icmpv6(&mut packet);
    }
    packet
}

/// An IPv6 packet.
pub fn inner(input: &mut Input<'_>, world: &World) -> Vec<u8> {
    let (from, to) = (ipv4(input), ipv4(input));
    inner_between(input, world, from, to)
}

/// An outer packet; few are malformed.
pub fn outer(input: &mut Input<'_>, world: &World) -> Vec<u8> {
    let from = ipv4(input);
    // Most come to us.
    let to = match input.byte() {
        0..=0x7f => PUBLIC.0,
        0x80..=0xbf => PRIVATE.0,
        _ => ipv4(input),
    };
    let inner = inner_between(input, world, from, to);
    let flags = input.byte();
    let options = if flags & 0x0f == 0x0f { usize::from(input.byte() % 11) } else { 0 };
    let padding = if flags & 0x30 == 0x30 { usize::from(input.byte() % 9) } else { 0 };
    let header_len = 20 + options * 4;
    let total = u16::try_from(header_len + inner.len() + padding).unwrap().to_be_bytes();
    let mut packet = vec![0x40 | u8::try_from(header_len / 4).unwrap(), flags & 3, total[0], total[1]];
    packet.extend([0, 0, flags & 0x40, 0, 64, 41, 0, 0]);
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(options::any(input, header_len - 20));
    packet.extend(inner);
    packet.resize(packet.len() + padding, 0);
    if flags & 0x8c == 0x8c {
        // Bytes that the shape above never has.
        for _ in 0..input.byte() & 3 {
            let at = usize::from(input.byte()) % packet.len();
            packet[at] ^= input.byte();
        }
    }
    fix_ipv4(&mut packet);
    packet
}

/// An IPv4 address as the core has it.
pub fn address(ipv4: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(ipv4)
}
