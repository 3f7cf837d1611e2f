//! Protocol-41 packets of every kind, good and bad, for comparisons with other
//! implementations: every field of both headers, every class of address, options,
//! padding, fragments, ECN, lengths that lie.
//!
//! Written by hand from RFC 791 and RFC 8200, without a line of the library: it is
//! the library that is judged by what comes out of here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A generator of numbers that is the same everywhere (SplitMix64, public domain).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 to `below - 1`.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize]
    }
}

/// The addresses that a setup makes interesting.
pub struct Addresses {
    /// The receiver's own, outer.
    pub own: Ipv4Addr,
    /// Outer sources that the receiver treats in different ways.
    pub outer_sources: Vec<Ipv4Addr>,
    /// Inner sources for an outer source.
    pub inner_sources: fn(&mut Numbers, Ipv4Addr) -> Ipv6Addr,
    /// Inner destinations.
    pub inner_destinations: Vec<Ipv6Addr>,
}

/// Outer sources of every class; none of them is any setup's own.
pub const OUTER_CLASSES: [Ipv4Addr; 12] = [
    Ipv4Addr::new(0, 0, 0, 0),
    Ipv4Addr::new(0, 1, 2, 3),
    Ipv4Addr::new(10, 255, 255, 254),
    Ipv4Addr::new(100, 64, 1, 1),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(169, 254, 1, 1),
    Ipv4Addr::new(172, 16, 3, 4),
    Ipv4Addr::new(192, 88, 99, 1),
    Ipv4Addr::new(203, 0, 113, 7),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(240, 0, 0, 1),
    Ipv4Addr::new(255, 255, 255, 255),
];

/// Inner addresses of every class, as text.
pub const INNER_CLASSES: [&str; 15] = [
    "::",
    "::1",
    "::192.0.2.1",
    "::ffff:192.0.2.1",
    "::ffff:0:192.0.2.1",
    "64:ff9b::192.0.2.1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8:1::1",
    "2002:c000:201::1",
    "2600::1",
    "fc00::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1234",
];

pub fn inner_class(numbers: &mut Numbers) -> Ipv6Addr {
    numbers.pick(&INNER_CLASSES).parse().unwrap()
}

/// A packet, told from the others by its inner flow label: what a kernel has let in
/// can then be recognised by its first four bytes alone.
pub fn packet(numbers: &mut Numbers, addresses: &Addresses, label: u32) -> Vec<u8> {
    assert!(label < 1 << 20);
    // Most packets have one thing wrong, or nothing: two faults hide each other.
    let fault = if numbers.one_in(2) { numbers.below(14) } else { u64::MAX };

    let outer_source =
        if numbers.one_in(8) { numbers.pick(&OUTER_CLASSES) } else { numbers.pick(&addresses.outer_sources) };
    let inner = inner_packet(numbers, addresses, outer_source, label, fault);

    let options = if numbers.one_in(4) { options(numbers) } else { Vec::new() };
    let padding = if numbers.one_in(6) { numbers.below(64) as usize } else { 0 };
    let mut payload = inner;
    payload.extend((0..padding).map(|_| numbers.next() as u8));

    let header_len = 20 + options.len();
    let mut total = header_len + payload.len();
    match fault {
        0 => total = numbers.below(total as u64 + 40) as usize,
        1 => payload.truncate(numbers.below(payload.len() as u64 + 1) as usize),
        _ => {}
    }
    let version = if fault == 2 { numbers.below(16) as u8 } else { 4 };
    let length = if fault == 3 { numbers.below(16) as u8 } else { (header_len / 4) as u8 };
    let flags: u16 = match numbers.below(8) {
        0 => 0x4000,
        1 => 0x8000,
        2 if fault == 4 => 0x2000,
        3 if fault == 4 => numbers.below(0x1fff) as u16 + 1,
        _ => 0,
    };
    let protocol = if fault == 5 { numbers.pick(&[0, 1, 4, 6, 17, 47, 58, 255]) } else { 41 };
    let destination = if fault == 6 { numbers.pick(&OUTER_CLASSES) } else { addresses.own };

    let mut packet = vec![version << 4 | length, numbers.next() as u8];
    packet.extend((total as u16).to_be_bytes());
    packet.extend((numbers.next() as u16).to_be_bytes());
    packet.extend(flags.to_be_bytes());
    packet.extend([if numbers.one_in(4) { numbers.next() as u8 } else { 64 }, protocol, 0, 0]);
    packet.extend(outer_source.octets());
    packet.extend(destination.octets());
    packet.extend(options);
    let sum = internet_checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    if fault == 7 {
        packet[10 + numbers.below(2) as usize] ^= 1 << numbers.below(8);
    }
    packet.extend(payload);
    packet
}

/// IPv4 options of every type: most in order, many nearly. [RFC 791 §3.1, 1108, 2113]
fn options(numbers: &mut Numbers) -> Vec<u8> {
    let room = 4 * (numbers.below(10) as usize + 1);
    let mut options = Vec::new();
    while options.len() < room {
        match numbers.below(8) {
            0 => options.push(0),
            1 => options.push(1),
            _ => options.extend(option(numbers, room - options.len())),
        }
    }
    // The last one may be cut, and so run past the end.
    options.truncate(room);
    options
}

fn option(numbers: &mut Numbers, room: usize) -> Vec<u8> {
    const RECORDS: [u8; 4] = [7, 68, 131, 137];
    let kind = match numbers.below(6) {
        0 => numbers.pick(&[130, 133, 134, 136, 148]),
        1 => numbers.next() as u8,
        _ => numbers.pick(&[7, 7, 7, 68, 68, 68, 131, 137]),
    };
    // What is recorded in it: by a clock four bytes or eight, by routers four.
    let flag = numbers.pick(&[0, 1, 3, 3, 2, 15]);
    let (head, slot) = if kind == 68 { (4, if flag == 0 { 4 } else { 8 }) } else { (3, 4) };
    let mut length = head + slot * numbers.below(4) as usize;
    if !numbers.one_in(4) {
        length = length.min(room);
    }
    if numbers.one_in(8) {
        length = numbers.pick(&[0, 1, 2, 3, 4, 5, 8, 40, 255]);
    }
    let mut pointer = match numbers.below(3) {
        0 => head + 1,
        1 => length + 1,
        _ => head + 1 + slot * numbers.below(4) as usize,
    };
    if numbers.one_in(6) {
        pointer = numbers.below(48) as usize;
    }
    let missed = if numbers.one_in(4) { 15 } else { numbers.below(16) as u8 };
    let mut option: Vec<u8> = (0..length.max(2)).map(|_| numbers.next() as u8).collect();
    (option[0], option[1]) = (kind, length as u8);
    if RECORDS.contains(&kind) && option.len() > 3 {
        (option[2], option[3]) = (pointer as u8, if kind == 68 { missed << 4 | flag } else { option[3] });
    }
    if kind == 134 && option.len() > 7 {
        // A label of one tag, of a domain of interpretation.
        let tag = option.len() as u8 - 6;
        option[2..8].copy_from_slice(&[0, 0, 0, 1, 1, tag]);
    }
    option
}

fn inner_packet(
    numbers: &mut Numbers,
    addresses: &Addresses,
    outer_source: Ipv4Addr,
    label: u32,
    fault: u64,
) -> Vec<u8> {
    let body: Vec<u8> = {
        let length = match numbers.below(4) {
            0 => 0,
            1 => numbers.below(64),
            _ => numbers.below(1300),
        };
        (0..length).map(|_| numbers.next() as u8).collect()
    };
    let version = if fault == 8 { numbers.below(16) as u32 } else { 6 };
    let announced = if fault == 9 { numbers.below(body.len() as u64 + 60) as usize } else { body.len() };
    // No ICMPv6 among them: its messages are judged behind the tunnel. See `nd` for those.
    let next_header = match numbers.below(6) {
        0 => numbers.pick(&[6, 17, 59, 132, 255]),
        1 if fault == 10 => numbers.pick(&[0, 43, 44, 60]),
        _ => 59,
    };
    let source =
        if numbers.one_in(6) { inner_class(numbers) } else { (addresses.inner_sources)(numbers, outer_source) };
    let destination =
        if numbers.one_in(6) { inner_class(numbers) } else { numbers.pick(&addresses.inner_destinations) };
    let class = u32::from(numbers.next() as u8);
    let mut packet = (version << 28 | class << 20 | label).to_be_bytes().to_vec();
    packet.extend((announced as u16).to_be_bytes());
    packet.extend([next_header, numbers.next() as u8]);
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(body);
    packet
}

/// The label of a packet as it comes out of a tunnel.
pub fn label(inner: &[u8]) -> Option<u32> {
    inner.first_chunk().map(|word| u32::from_be_bytes(*word) & 0x000f_ffff)
}

fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
