//! Packets made byte by byte, and nodes that get and give them.
#![allow(dead_code, reason = "each test program uses a part")]

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Standard;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::link::{Link, Locator};
use isatap_core::node::AnyNode;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::{Flow, Outer};
use isatap_core::time::Instant;

pub(crate) type Any = AnyNode<Standard, 4>;

/// Bytes of hexadecimal digits, whatever stands between them.
pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(crate) fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub(crate) fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Locators without a known subnet.
pub(crate) fn locators(addresses: &[&str]) -> Vec<Locator> {
    addresses.iter().map(|address| Locator::from(v4(address))).collect()
}

/// An IPv6 packet without an upper layer.
pub(crate) fn inner(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, hop_limit];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet
}

/// An IPv4 packet around `inner`, with its checksum.
pub(crate) fn outer(source: Ipv4Addr, destination: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    let total = u16::try_from(inner.len() + 20).unwrap().to_be_bytes();
    let mut packet = vec![0x45, 0, total[0], total[1], 0, 0, 0, 0, 64, 41, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap();
    packet[10..12].copy_from_slice(&checksum.to_be_bytes());
    packet.extend(inner);
    packet
}

/// What a link says to a packet with these four addresses.
pub(crate) fn flow(inner_source: &str, outer_source: &str, inner_destination: &str, outer_destination: &str) -> Flow {
    let packet = outer(v4(outer_source), v4(outer_destination), &inner(v6(inner_source), v6(inner_destination), 64));
    Flow::parse(&packet)
        .or_else(|_| {
            let outer = Outer::new(v4(outer_source), v4(outer_destination));
            Flow::of_compatible(&outer, &packet[20..])
        })
        .unwrap()
}

/// Gives a packet to `call` in a buffer with headroom; the verdict and the
/// bytes that are then in it: of what is sent into a tunnel, the packet on the
/// wire.
pub(crate) fn with_packet(packet: &[u8], call: impl FnOnce(&mut PacketMut<'_>) -> Verdict) -> (Verdict, Vec<u8>) {
    let mut buffer = vec![0; HEADROOM + packet.len() + 1500];
    buffer[HEADROOM..HEADROOM + packet.len()].copy_from_slice(packet);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + packet.len()).unwrap();
    let verdict = call(&mut packet);
    if let Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
        outer.push(&mut packet).unwrap();
    }
    (verdict, packet.as_slice().to_vec())
}

/// A packet from the IPv4 network, at a node that forwards by itself.
pub(crate) fn arrive(node: &mut Any, now: Instant, packet: &[u8]) -> (Verdict, Vec<u8>) {
    with_packet(packet, |packet| match Outer::pull(packet) {
        Ok(outer) => node.forward(now, &outer, packet),
        Err(reason) => node.refused(now, reason),
    })
}

/// A packet from the native link `link`, at a node that forwards by itself.
pub(crate) fn arrive_natively(node: &mut Any, now: Instant, link: LinkId, packet: &[u8]) -> (Verdict, Vec<u8>) {
    with_packet(packet, |packet| node.forward_native(now, link, packet))
}

/// A packet of the node's own.
pub(crate) fn send(node: &mut Any, now: Instant, packet: &[u8]) -> (Verdict, Vec<u8>) {
    with_packet(packet, |packet| node.encapsulate(now, packet))
}

/// The outer addresses of what a verdict sends into a tunnel.
pub(crate) fn tunnelled((verdict, packet): &(Verdict, Vec<u8>)) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let Verdict::Tunnel { outer, .. } = verdict else { return None };
    assert_eq!(packet[12..16], outer.source.octets());
    assert_eq!(packet[16..20], outer.destination.octets());
    Some((outer.source, outer.destination))
}

pub(crate) fn dropped((verdict, _): &(Verdict, Vec<u8>)) -> Option<DropReason> {
    match verdict {
        Verdict::Drop(reason) => Some(*reason),
        Verdict::Answer { reason, .. } => *reason,
        _ => None,
    }
}

pub(crate) fn events(machine: &mut impl Machine) -> Vec<Event> {
    std::iter::from_fn(|| machine.poll_event()).collect()
}

/// The next packet that a machine sends of its own accord.
pub(crate) fn transmit(machine: &mut impl Machine) -> Option<Vec<u8>> {
    let mut buffer = [0; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    let transmit = machine.poll_transmit(&mut packet).unwrap()?;
    if let Some(outer) = transmit.outer {
        outer.push(&mut packet).unwrap();
    }
    Some(packet.as_slice().to_vec())
}

/// Entropy of nothing but zeros.
pub(crate) fn zeros(out: &mut [u8]) {
    out.fill(0);
}

/// The link of an interface, to be asked.
pub(crate) fn link(node: &Any, id: LinkId) -> &dyn Link<Capacity = Standard> {
    node.interface(id).unwrap().link()
}

/// Whatever entered is counted once.
pub(crate) fn assert_counted(node: &Any) {
    let counters = node.counters();
    let ends = counters.tunnelled + counters.delivered + counters.native + counters.consumed + counters.held;
    assert_eq!(counters.entered, ends + counters.total_dropped(), "{counters:?}");
}
