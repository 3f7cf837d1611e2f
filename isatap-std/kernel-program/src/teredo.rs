//! Datagrams of Teredo: headers with UDP, and what of their content is plain.
//!
//! A datagram's checksum costs no look at its payload: that of TCP, UDP and ICMPv6 inside makes the sum of
//! all behind the IPv6 header a matter of that header. Where a datagram has the checksum that follows from
//! it, both are right or both are wrong, and the receiver of the packet inside looks at that one.

use crate::kernel::{Packet, coarse_now, random, store};
use crate::layout::{Path, Used};
use crate::{ICMPV6, UDP, UDP_HEADER, be16, half, put};

/// Nanoseconds for which a flow is left to user space since datagrams of it came joined.
const JOINED: u64 = 1_000_000_000;

/// Whether this is a single packet of UDP or ICMPv6 whose IPv6 header begins `at` that byte, of a row whose
/// packets are.
#[inline(always)]
pub fn is_plain(packet: Packet, at: usize, ipv6: &[u8; 40], used: &Used) -> bool {
    let is_data = match ipv6[6] {
        // Only one with a checksum, of all that the packet holds: a surplus area [RFC 9868] is in none.
        UDP => packet.bytes::<8>(at + 40).is_some_and(|udp| udp[6] | udp[7] != 0 && be16(udp, 4) == be16(ipv6, 4)),
        // Neighbor Discovery is user space's.
        ICMPV6 => packet.bytes::<1>(at + 40).is_some_and(|kind| kind[0] < 133),
        // TCP is faster there: sockets take it in pieces of 64 KiB, and nobody joins it here.
        _ => false,
    };
    if !is_data {
        return false;
    }
    if packet.segment_size() != 0 {
        store(&used.joined, coarse_now() + JOINED);
        return false;
    }
    coarse_now() >= used.joined
}

/// The UDP header in front of a packet of `len` bytes.
#[inline(always)]
pub fn header(path: &Path, ipv6: &[u8; 40], len: u32) -> [u8; 8] {
    let mut udp = [0; 8];
    put(&mut udp, 0, &path.ports.to_ne_bytes());
    put(&mut udp, 4, &((len + UDP_HEADER) as u16).to_be_bytes());
    let pseudo = pseudo_header(path.outer_source, path.outer_destination, len + UDP_HEADER);
    let sum = checksum(pseudo, &udp, ipv6);
    put(&mut udp, 6, &sum.to_be_bytes());
    udp
}

/// Clears DF [RFC 4380 §5.1.2]. The identification is any: with a checksum that is as good as one that is
/// counted [RFC 6864 §4.3], and nobody on the way joins datagrams that would have to be taken apart again.
#[inline(always)]
pub fn may_be_fragmented(ipv4: &mut [u8; 20]) {
    put(ipv4, 4, &(random() as u16).to_ne_bytes());
    ipv4[6] = 0;
}

/// Whether a datagram is as long as its packet says and has the checksum that follows from that, or none.
/// One that was left to a device to complete has not: it is for a socket.
#[inline(always)]
pub fn is_whole(front: &[u8; 74], ipv6: &[u8; 40]) -> bool {
    let len = u32::from(be16(ipv6, 4)) + 40 + UDP_HEADER;
    if u32::from(be16(front, 38)) != len {
        return false;
    }
    let mut udp = [0; 8];
    put(&mut udp, 0, &half(front, 34).to_ne_bytes());
    put(&mut udp, 4, &half(front, 38).to_ne_bytes());
    let pseudo = pseudo_header(half(front, 26), half(front, 30), len);
    let (field, open) = (be16(front, 40), fold(pseudo));
    udp[6] = 0;
    udp[7] = 0;
    field == 0 || (field == checksum(pseudo, &udp, ipv6) && field != open)
}

/// That of a datagram whose field is zero: what lies behind the IPv6 header sums up to what its checksum
/// takes away, the pseudo-header. Addresses and lengths of both cancel.
#[inline(always)]
fn checksum(pseudo: u32, udp: &[u8; 8], ipv6: &[u8; 40]) -> u16 {
    let inner = u32::from(be16(ipv6, 0)) + u32::from(be16(ipv6, 2)) + u32::from(be16(ipv6, 6));
    let upper = 0xffff - u32::from(ipv6[6]);
    let own = u32::from(be16(udp, 0)) + u32::from(be16(udp, 2)) + u32::from(be16(udp, 4));
    match !fold(pseudo + own + inner + upper) {
        0 => 0xffff,
        sum => sum,
    }
}

/// The sum of the pseudo-header; addresses as they lie in the packet.
#[inline(always)]
fn pseudo_header(source: u32, destination: u32, len: u32) -> u32 {
    let halves = |address: u32| (u32::from_be(address) >> 16) + (u32::from_be(address) & 0xffff);
    halves(source) + halves(destination) + u32::from(UDP) + len
}

#[inline(always)]
fn fold(sum: u32) -> u16 {
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}
