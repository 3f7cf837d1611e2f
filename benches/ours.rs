//! The operations of isatap-core.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::drop_reason::DropReason;
use isatap_core::embedded::{Kind, classify as classify_one};
use isatap_core::engine::{Machine, Verdict};
use isatap_core::link::{Admitted, Denied, Link, Resolution, TtlMode};
use isatap_core::nd::message::router_solicitation_packet;
use isatap_core::nd::option::NdOption;
use isatap_core::nd::validate::{self, Received};
use isatap_core::packet::PacketMut;
use isatap_core::proto41::{self, Flow, Outer, Template};
use isatap_core::route::{Fib, Node};
use isatap_core::select::{Choice, Destination, Policy, Source};
use isatap_core::wire::{checksum, ipv6};

use crate::inputs::NOW;
use crate::routes::Table;

/// The source address for a destination, by the table of RFC 6724.
#[inline(always)]
pub fn choose_source(to: &Destination, sources: &[Source; 4]) -> Option<Choice> {
    Policy::RFC6724.choose_source(to, *sources)
}

/// Four destinations in their order.
#[inline(always)]
pub fn sort_destinations(destinations: &mut [Destination; 4]) {
    Policy::RFC6724.sort(destinations);
}

/// Every check on an outer packet: outer header with checksum, inner header,
/// addresses, and the link's source rule.
#[inline(always)]
pub fn parse_and_admit(outer: &[u8], link: &impl Link) -> Option<Admitted> {
    let flow = Flow::parse(outer).ok()?;
    link.admit(&flow).map_err(|_: Denied| ()).ok()
}

/// [`parse_and_admit`] where IPv4-compatible sources are let in, of a packet
/// whose outer header a socket took off.
#[inline(always)]
pub fn parse_and_admit_compatible(outer: &Outer, inner: &[u8], link: &impl Link) -> Option<Admitted> {
    let flow = Flow::of_compatible(outer, inner).ok()?;
    link.admit(&flow).map_err(|_: Denied| ()).ok()
}

/// Out by a link: its rules, outer addresses, outer header in front.
#[inline(always)]
pub fn send(link: &impl Link, packet: &mut PacketMut<'_>, source: &Ipv6Addr, next_hop: &Ipv6Addr) -> bool {
    let permitted = link.permit(source, next_hop, next_hop).and_then(|()| link.resolve(source, next_hop));
    let Ok(Resolution::To { source, destination }) = permitted else { return false };
    let TtlMode::Fixed(ttl) = link.underlay().policy.ttl else { return false };
    let outer = Outer { ttl, dont_fragment: true, ..Outer::new(source, destination) };
    outer.push(packet).is_ok()
}

/// In by a link: every check on headers and addresses, outer header off.
#[inline(always)]
pub fn receive(link: &impl Link, packet: &mut PacketMut<'_>) -> Option<Admitted> {
    received(Flow::parse(packet.as_slice()), link, packet)
}

/// [`receive`] where IPv4-compatible sources are let in.
#[inline(always)]
pub fn receive_compatible(link: &impl Link, packet: &mut PacketMut<'_>) -> Option<Admitted> {
    let outer = Outer::pull(packet).ok()?;
    received(Flow::of_compatible(&outer, packet.as_slice()), link, packet)
}

#[inline(always)]
fn received(flow: Result<Flow, DropReason>, link: &impl Link, packet: &mut PacketMut<'_>) -> Option<Admitted> {
    let flow = flow.ok()?;
    let from = link.admit(&flow).map_err(|_: Denied| ()).ok()?;
    proto41::decapsulate(packet, &flow).ok()?;
    Some(from)
}

/// The metrics of the routes to some destinations, added up.
#[inline(always)]
pub fn lookups<const ROUTES: usize>(table: &Table<ROUTES>, destinations: &[Ipv6Addr]) -> u32 {
    let metric = |destination: &Ipv6Addr| table.lookup(black_box(destination)).map_or(0, |route| route.metric);
    destinations.iter().fold(0, |sum, destination| sum.wrapping_add(metric(destination)))
}

/// The values of the longest prefixes of some destinations, added up.
#[inline(always)]
pub fn full_lookups(fib: &Fib<Box<[Node]>>, destinations: &[Ipv6Addr]) -> u32 {
    let value = |destination: &Ipv6Addr| fib.lookup(black_box(destination)).map_or(0, u32::from);
    destinations.iter().fold(0, |sum, destination| sum.wrapping_add(value(destination)))
}

/// The form of four addresses, one of each.
#[inline(always)]
pub fn classify(addresses: &[Ipv6Addr; 4]) -> [Kind; 4] {
    addresses.each_ref().map(classify_one)
}

/// The outer header, from a template.
#[inline(always)]
pub fn encapsulate(template: &Template, packet: &mut PacketMut<'_>, destination: Ipv4Addr) -> bool {
    template.encapsulate(packet, destination, 0).is_ok()
}

/// A Router Advertisement: validated with its checksum, options read.
#[inline(always)]
pub fn router_advertisement(packet: &[u8]) -> Option<(u32, u32, u8)> {
    let header = ipv6::Header::parse(packet).ok()?;
    let received = Received {
        source: header.source(),
        destination: header.destination(),
        hop_limit: header.hop_limit(),
        fragmented: false,
        icmpv6: header.payload(),
    };
    let advertisement = validate::router_advertisement(&received).ok()?;
    let (mut mtu, mut length) = (0, 0);
    for option in advertisement.options() {
        match option.ok()? {
            NdOption::PrefixInformation(option) => length = black_box(option.prefix).length(),
            NdOption::Mtu(option) => mtu = option.0,
            _ => {}
        }
    }
    Some((advertisement.router_lifetime().secs(), mtu, length))
}

/// A Router Solicitation with its IPv6 header and checksum.
#[inline(always)]
pub fn router_solicitation(packet: &mut PacketMut<'_>, source: &Ipv6Addr, destination: &Ipv6Addr) -> bool {
    packet.copy_from(&router_solicitation_packet(source, destination)).is_ok()
}

/// The Internet checksum.
#[inline(always)]
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    checksum::checksum(bytes)
}

/// A packet from this host, for a socket whose kernel writes the outer header.
#[inline(always)]
pub fn node_encapsulate(node: &mut impl Machine, packet: &mut PacketMut<'_>) -> Verdict {
    node.encapsulate(NOW, packet)
}

/// The same, with the outer header put in front.
#[inline(always)]
pub fn node_encapsulate_ipv4(node: &mut impl Machine, packet: &mut PacketMut<'_>) -> bool {
    let Verdict::Tunnel { outer, .. } = node.encapsulate(NOW, packet) else { return false };
    outer.push(packet).is_ok()
}

/// A packet to this host, from a socket whose kernel takes the outer header off.
#[inline(always)]
pub fn node_decapsulate(node: &mut impl Machine, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
    node.decapsulate(NOW, outer, packet)
}

/// The same of a whole IPv4 packet.
#[inline(always)]
pub fn node_decapsulate_ipv4(node: &mut impl Machine, packet: &mut PacketMut<'_>) -> Verdict {
    node.decapsulate_ipv4(NOW, packet)
}

/// The outer header of what [`node_encapsulate`] and its like have given, in
/// front. Over UDP with the checksum of the packet.
#[inline(always)]
pub fn push(outer: &Outer, packet: &mut PacketMut<'_>) -> bool {
    outer.push(packet).is_ok()
}
