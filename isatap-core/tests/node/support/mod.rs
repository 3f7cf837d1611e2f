//! Packets made by hand, and nodes to give them to.
//!
//! Nothing here uses the crate's own parsers or emitters: what these bytes
//! say about the code is an independent opinion. Only the outer headers of
//! whole packets are put on, and taken off, as a caller would do it.
#![allow(dead_code)]

pub mod traffic;

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Standard;
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::isatap::{CheckNeighbors, HostConfig, HostInterface, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::{InterfaceAddress, Locator, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Instant;

pub fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// The Internet checksum, by the book: 16 bits at a time, carries at the end.
pub fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes = parts.concat();
    let mut sum: u32 =
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An IPv6 packet.
#[derive(Clone, Debug)]
pub struct Inner {
    pub source: Ipv6Addr,
    pub destination: Ipv6Addr,
    pub class: u8,
    pub hop_limit: u8,
    pub next_header: u8,
    pub payload: Vec<u8>,
}

impl Inner {
    /// UDP from port 1 to port 2 that says "hello".
    pub fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        let payload = [&[0, 1, 0, 2, 0, 13, 0xab, 0xcd], &b"hello"[..]].concat();
        Inner { source, destination, class: 0, hop_limit: 64, next_header: 17, payload }
    }

    /// The same from text.
    pub fn of(source: &str, destination: &str) -> Self {
        Inner::new(v6(source), v6(destination))
    }

    /// An ICMPv6 message with its checksum.
    pub fn icmp(source: Ipv6Addr, destination: Ipv6Addr, kind: u8, code: u8, rest: &[u8]) -> Self {
        let mut message = [&[kind, code, 0, 0], rest].concat();
        let len = u32::try_from(message.len()).unwrap().to_be_bytes();
        let sum = checksum(&[&source.octets(), &destination.octets(), &len, &[0, 0, 0, 58], &message]);
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        Inner { next_header: 58, payload: message, ..Inner::new(source, destination) }
    }

    pub fn echo(source: &str, destination: &str) -> Self {
        Inner::icmp(v6(source), v6(destination), 128, 0, b"\x12\x34\x00\x01abcdefgh")
    }

    pub fn hops(mut self, hop_limit: u8) -> Self {
        self.hop_limit = hop_limit;
        self
    }

    pub fn class(mut self, class: u8) -> Self {
        self.class = class;
        self
    }

    /// Padded with bytes until the whole packet is `len` bytes long.
    pub fn len(mut self, len: usize) -> Self {
        self.payload.resize(len - 40, 0x5a);
        self
    }

    /// With this extension header (its own next-header field is filled in).
    pub fn behind(mut self, kind: u8, header: &[u8]) -> Self {
        let mut front = header.to_vec();
        front[0] = self.next_header;
        self.payload = [front, self.payload].concat();
        self.next_header = kind;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let len = u16::try_from(self.payload.len()).unwrap().to_be_bytes();
        let first = (0x6000_0000_u32 | u32::from(self.class) << 20).to_be_bytes();
        let fixed = [&first[..], &len, &[self.next_header, self.hop_limit]].concat();
        [&fixed[..], &self.source.octets(), &self.destination.octets(), &self.payload].concat()
    }

    /// In an IPv4 packet.
    pub fn from(&self, source: &str, destination: &str) -> Vec<u8> {
        Outer::new(v4(source), v4(destination)).around(&self.bytes())
    }
}

/// The header of an IPv4 packet.
#[derive(Clone, Copy, Debug)]
pub struct Outer {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub ttl: u8,
    pub protocol: u8,
}

impl Outer {
    pub fn new(source: Ipv4Addr, destination: Ipv4Addr) -> Self {
        Outer { source, destination, tos: 0, id: 0, dont_fragment: false, ttl: 64, protocol: 41 }
    }

    pub fn tos(mut self, tos: u8) -> Self {
        self.tos = tos;
        self
    }

    pub fn around(&self, payload: &[u8]) -> Vec<u8> {
        let total = u16::try_from(payload.len() + 20).unwrap().to_be_bytes();
        let id = self.id.to_be_bytes();
        let flags = if self.dont_fragment { 0x40 } else { 0 };
        let fixed = [0x45, self.tos, total[0], total[1], id[0], id[1], flags, 0, self.ttl, self.protocol, 0, 0];
        let mut header = [&fixed[..], &self.source.octets(), &self.destination.octets()].concat();
        let sum = checksum(&[&header]);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        [&header[..], payload].concat()
    }
}

/// An ICMPv4 error.
pub fn icmpv4(kind: u8, code: u8, word: [u8; 4], quote: &[u8]) -> Vec<u8> {
    let mut message = [&[kind, code, 0, 0][..], &word, quote].concat();
    let sum = checksum(&[&message]);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    message
}

/// The addresses of an outer packet, checked to be a good IPv4 header without
/// options around the rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub tos: u8,
    pub ttl: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub inner: Vec<u8>,
}

/// Takes an outer packet apart that has the TTL of most.
pub fn seen(packet: &[u8]) -> Seen {
    let seen = seen_with_ttl(packet);
    assert_eq!(seen.ttl, 64);
    seen
}

/// Takes an outer packet apart.
pub fn seen_with_ttl(packet: &[u8]) -> Seen {
    assert_eq!(packet[0], 0x45);
    assert_eq!(checksum(&[&packet[..20]]), 0, "header checksum");
    assert_eq!(usize::from(u16::from_be_bytes([packet[2], packet[3]])), packet.len());
    assert_eq!(packet[9], 41);
    assert!(packet[6] & 0xbf == 0 && packet[7] == 0, "no fragment");
    let address = |at: usize| Ipv4Addr::new(packet[at], packet[at + 1], packet[at + 2], packet[at + 3]);
    Seen {
        source: address(12),
        destination: address(16),
        tos: packet[1],
        ttl: packet[8],
        id: u16::from_be_bytes([packet[4], packet[5]]),
        dont_fragment: packet[6] & 0x40 != 0,
        inner: packet[20..].to_vec(),
    }
}

pub type Any = AnyNode<Standard, 4>;

/// What a call made of a packet.
pub type Outcome = (Verdict, Vec<u8>);

/// Hands bytes to `call` with headroom in front, and gives what is then there:
/// of what is sent into a tunnel, the packet on the wire.
pub fn with(bytes: &[u8], call: impl FnOnce(&mut PacketMut<'_>) -> Verdict) -> Outcome {
    let mut buffer = vec![0xee; HEADROOM + bytes.len()];
    buffer[HEADROOM..].copy_from_slice(bytes);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()).unwrap();
    let verdict = call(&mut packet);
    if let Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
        outer.push(&mut packet).unwrap();
    }
    (verdict, packet.as_slice().to_vec())
}

/// Takes the outer header off an IPv4 packet for `call`, which gets no other.
pub fn pulled(
    packet: &mut PacketMut<'_>,
    call: impl FnOnce(&proto41::Outer, &mut PacketMut<'_>) -> Verdict,
) -> Verdict {
    match proto41::Outer::pull(packet) {
        Ok(outer) => call(&outer, packet),
        Err(reason) => Verdict::Drop(reason),
    }
}

/// An IPv4 packet at a node that forwards by itself.
pub fn forward_ipv4(node: &mut Any, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
    match proto41::Outer::pull(packet) {
        Ok(outer) => node.forward(now, &outer, packet),
        Err(reason) => node.refused(now, reason),
    }
}

pub const NOW: Instant = Instant::from_secs(1000);

pub fn send(node: &mut Any, inner: &Inner) -> Outcome {
    with(&inner.bytes(), |packet| node.encapsulate(NOW, packet))
}

/// Of the device of one link.
pub fn send_on(node: &mut Any, link: LinkId, inner: &Inner) -> Outcome {
    with(&inner.bytes(), |packet| {
        packet.set_link(Some(link));
        node.encapsulate(NOW, packet)
    })
}

pub fn receive(node: &mut Any, outer: &[u8]) -> Outcome {
    with(outer, |packet| node.decapsulate_ipv4(NOW, packet))
}

pub fn forward(node: &mut Any, outer: &[u8]) -> Outcome {
    with(outer, |packet| forward_ipv4(node, NOW, packet))
}

pub fn forward_native(node: &mut Any, link: LinkId, inner: &Inner) -> Outcome {
    with(&inner.bytes(), |packet| node.forward_native(NOW, link, packet))
}

/// What the node wants to send by itself.
pub fn transmits(node: &mut Any) -> Vec<Vec<u8>> {
    std::iter::from_fn(|| {
        let mut buffer = vec![0; HEADROOM + 1500];
        let mut packet = PacketMut::empty(&mut buffer);
        let transmit = node.poll_transmit(&mut packet).unwrap()?;
        if let Some(outer) = transmit.outer {
            outer.push(&mut packet).unwrap();
        }
        Some(packet.as_slice().to_vec())
    })
    .collect()
}

/// Whatever entered has one end.
pub fn balanced(node: &Any) {
    let Counters { entered, tunnelled, delivered, native, consumed, held, .. } = *node.counters();
    let ends = tunnelled + delivered + native + consumed + held + node.counters().total_dropped();
    assert_eq!(entered, ends, "{:?}", node.counters());
}

pub fn locators(addresses: &[&str]) -> Vec<Locator> {
    addresses.iter().map(|text| v4(text).into()).collect()
}

pub const ISATAP_PREFIX: &str = "2001:db8:0:7::/64";
/// What lies on the native link.
pub const LAN_PREFIX: &str = "2001:db8:0:8::/64";

/// A router's ISATAP interface, added to `node` with this IPv4 address.
///
/// It asks nobody whether he is there: who tests that says so.
pub fn add_router(node: &mut Any, address: &str, prefix: &str, switches: Switches) -> LinkId {
    let mut config = RouterConfig::DEFAULT;
    config.check_neighbors = CheckNeighbors::Off;
    add_router_of(node, config, address, prefix, switches)
}

/// The same of any configuration.
pub fn add_router_of(node: &mut Any, config: RouterConfig, address: &str, prefix: &str, switches: Switches) -> LinkId {
    let id = node.add(AnyInterface::IsatapRouter(RouterInterface::new(config)), switches).unwrap();
    node.with_interface(NOW, id, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &[Locator { address: v4(address), subnet_length: 24 }]).unwrap();
        router.publish(cx, PublishedPrefix::new(prefix.parse().unwrap())).unwrap();
    });
    id
}

/// A host's ISATAP interface with this IPv4 address and potential router.
pub fn add_host(node: &mut Any, address: &str, router: &str, switches: Switches) -> LinkId {
    let mut config = HostConfig::DEFAULT;
    config.resolve = false;
    let id = node.add(AnyInterface::IsatapHost(HostInterface::new(config)), switches).unwrap();
    node.with_interface(NOW, id, |interface, cx| {
        let AnyInterface::IsatapHost(host) = interface else { unreachable!() };
        host.set_locators(cx, &[Locator { address: v4(address), subnet_length: 24 }]).unwrap();
        host.add_router(cx, v4(router)).unwrap();
    });
    id
}

/// A configured tunnel with an address of its own.
pub fn add_tunnel(node: &mut Any, local: &str, remote: &str, address: &str, switches: Switches) -> LinkId {
    let config = configured::Config::new(v4(local), v4(remote));
    let id = node.add(AnyInterface::Configured(configured::ConfiguredInterface::new(config)), switches).unwrap();
    let address = InterfaceAddress { address: v6(address), prefix_length: 64 };
    node.with_interface(NOW, id, |interface, cx| {
        let AnyInterface::Configured(tunnel) = interface else { unreachable!() };
        tunnel.add_address(cx, address).unwrap();
    });
    id
}

/// A native link with this address, and its on-link route.
pub fn add_lan(node: &mut Any, address: &str, switches: Switches) -> LinkId {
    let address = InterfaceAddress { address: v6(address), prefix_length: 64 };
    let mut lan = NativeLink::new(1500);
    lan.add_address(address).unwrap();
    let id = node.add(AnyInterface::Native(lan), switches).unwrap();
    node.insert_route(Route::on_link(address.prefix().unwrap(), id, Origin::Manual)).unwrap();
    id
}

pub fn route(node: &mut Any, prefix: &str, link: LinkId, next_hop: &str) {
    node.insert_route(Route::via(prefix.parse().unwrap(), link, v6(next_hop), Origin::Manual)).unwrap();
}

/// A border router: ISATAP inside, a LAN, a configured tunnel to a peer, and
/// a default route over the LAN.
pub struct Border {
    pub node: Any,
    pub isatap: LinkId,
    pub lan: LinkId,
    pub tunnel: LinkId,
}

/// The border router's own IPv4 address in its site.
pub const SITE4: &str = "10.0.0.1";
/// The same on the tunnel, and the peer's.
pub const NEAR4: &str = "192.0.2.1";
pub const FAR4: &str = "198.51.100.1";

pub fn border() -> Border {
    border_of(NodeConfig::DEFAULT, SITE4)
}

pub fn border_of(config: NodeConfig, site4: &str) -> Border {
    let mut node = Any::new(config);
    let isatap = add_router(&mut node, site4, ISATAP_PREFIX, Switches::FORWARDING);
    let lan = add_lan(&mut node, "2001:db8:0:8::1", Switches::FORWARDING);
    let tunnel = add_tunnel(&mut node, NEAR4, FAR4, "2001:db8:0:9::1", Switches::FORWARDING);
    route(&mut node, "::/0", lan, "2001:db8:0:8::fe");
    route(&mut node, "2001:db8:f::/48", tunnel, "2001:db8:0:9::2");
    Border { node, isatap, lan, tunnel }
}

/// An ISATAP address of the site.
pub fn site6(ipv4: &str) -> Ipv6Addr {
    isatap6("2001:db8:0:7::", ipv4)
}

/// `prefix` with an ISATAP identifier whose u bit is zero.
pub fn isatap6(prefix: &str, ipv4: &str) -> Ipv6Addr {
    let mut octets = v6(prefix).octets();
    octets[8..12].copy_from_slice(&[0, 0, 0x5e, 0xfe]);
    octets[12..].copy_from_slice(&v4(ipv4).octets());
    octets.into()
}

/// What an ICMPv6 error must look like, whole: `NDP-61` cuts the quote.
pub fn error(source: Ipv6Addr, culprit: &[u8], kind: u8, code: u8, word: u32) -> Vec<u8> {
    let mut to = [0; 16];
    to.copy_from_slice(&culprit[8..24]);
    let quote = &culprit[..culprit.len().min(1232)];
    Inner::icmp(source, to.into(), kind, code, &[&word.to_be_bytes()[..], quote].concat()).bytes()
}
