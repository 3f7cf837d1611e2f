//! Packets, links and nodes. Everything lives for ever, so that no harness
//! measures how it is given back.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::capacity::Standard;
use isatap_core::configured;
use isatap_core::datapath::{Remember, Switches};
use isatap_core::engine::Machine;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, Resolved, addr};
use isatap_core::link::{Link, NativeLink};
use isatap_core::nd::message::{RouterAdvertisementRepr, RouterFlags, write_packet};
use isatap_core::nd::option::{LinkLayerAddress, Mtu, NdOption, PrefixFlags, PrefixInformation};
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::{Flow, Outer, Template};
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::select::{Destination, Policy, Source};
use isatap_core::time::{Instant, Lifetime};
use isatap_core::wire::{ipv6, protocol};

/// This host's locator.
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
/// Another host of the site.
pub const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
/// The potential router.
pub const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
/// The far end of the configured tunnel.
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// When everything happens.
pub const NOW: Instant = Instant::from_secs(1);

/// The site's prefix.
pub fn site() -> Ipv6Prefix {
    "2001:db8:0:7::/64".parse().expect("a prefix")
}

/// A host that has learned the site's prefix from its router.
pub fn host() -> &'static mut IsatapHost<Standard> {
    taught(Box::leak(Box::new(IsatapHost::<Standard>::host(HostConfig::DEFAULT))))
}

/// The same of a host with a table of decisions or without.
pub fn taught<D: Remember>(host: &'static mut IsatapHost<Standard, D>) -> &'static mut IsatapHost<Standard, D> {
    let mut entropy = |out: &mut [u8]| out.fill(0x5a);
    host.set_locators(NOW, &[HOST.into()]).expect("room for one locator");
    host.routers_resolved(NOW, Ok(Resolved { addresses: &[ROUTER], ttl: Some(Duration::from_secs(3600).into()) }))
        .expect("room for one router");
    settle(host, &mut entropy);
    let mut buffer = vec![0; 512];
    let mut packet = PacketMut::empty(&mut buffer);
    advertisement(&mut packet);
    host.decapsulate(NOW, &Outer::new(ROUTER, HOST), &mut packet);
    settle(host, &mut entropy);
    let (_, own) = site_addresses();
    assert!(host.addresses().any(|known| known.address == own), "nothing learned from the advertisement");
    host
}

/// A router between a configured tunnel and a native link.
pub fn forwarder() -> &'static mut AnyNode<Standard, 4> {
    between(Box::leak(Box::new(AnyNode::<Standard, 4>::new(Default::default()))))
}

/// Makes such a router of a node.
pub fn between<D: Remember>(node: &'static mut AnyNode<Standard, 4, D>) -> &'static mut AnyNode<Standard, 4, D> {
    let tunnel = configured::ConfiguredInterface::new(configured::Config::new(HOST, REMOTE));
    node.add(AnyInterface::Configured(tunnel), Switches::FORWARDING).expect("room");
    let native = node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).expect("room");
    node.insert_route(Route::on_link(site(), native, Origin::Manual)).expect("room");
    settle(node, &mut |out: &mut [u8]| out.fill(0x5a));
    node
}

/// Lets a machine do and say what it has to.
pub fn settle(machine: &mut impl Machine, entropy: &mut impl FnMut(&mut [u8])) {
    let mut buffer = vec![0; 512];
    machine.handle_timeout(NOW, entropy);
    while machine.poll_transmit(&mut PacketMut::empty(&mut buffer)).expect("room").is_some() {}
    while machine.poll_event().is_some() {}
}

/// The advertisement that everybody reads: prefix, MTU, link-layer address.
fn advertisement(packet: &mut PacketMut<'_>) {
    let repr = RouterAdvertisementRepr {
        cur_hop_limit: 64,
        flags: RouterFlags::empty(),
        preference: Preference::Medium,
        router_lifetime: 1800,
        reachable_time: 0,
        retrans_timer: 0,
    };
    let prefix = PrefixInformation {
        prefix: site(),
        flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
        valid_lifetime: Lifetime::from_secs(86_400),
        preferred_lifetime: Lifetime::from_secs(43_200),
    };
    let (source, destination) = (addr::link_local(ROUTER), addr::link_local(HOST));
    write_packet(packet, &source, &destination, |writer| {
        repr.emit(writer);
        prefix.emit(writer);
        Mtu(1280).emit(writer);
        NdOption::SourceLinkLayerAddress(LinkLayerAddress { address: &[2, 0, 0, 0, 0, 1] }).emit(writer);
    })
    .expect("room");
}

/// The IPv6 packet that holds it.
pub fn advertisement_packet() -> &'static [u8] {
    let mut buffer = vec![0; 512];
    let mut packet = PacketMut::empty(&mut buffer);
    advertisement(&mut packet);
    packet.as_slice().to_vec().leak()
}

/// Puts an IPv4 header before the packet.
pub fn tunnel(packet: &mut PacketMut<'_>, source: Ipv4Addr, destination: Ipv4Addr) {
    let outer = Outer { identification: 7, ..Outer::new(source, destination) };
    outer.push(packet).expect("headroom");
}

/// An outer header, and what came behind it.
pub type Arrived = (Outer, PacketMut<'static>);

/// An outer packet as a socket's owner gets it.
pub fn opened(mut packet: PacketMut<'static>) -> Arrived {
    let outer = Outer::pull(&mut packet).expect("a good packet");
    (outer, packet)
}

/// An IPv6 packet with `length` bytes, UDP in it.
pub fn inner(length: usize, source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let header = ipv6::Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(length - 40).expect("short"),
        next_header: protocol::UDP,
        hop_limit: 64,
        source,
        destination,
    };
    let mut bytes = header.to_bytes().to_vec();
    bytes.extend((40..length).map(|index| index.to_le_bytes()[0]));
    bytes
}

/// A packet in a buffer of its own.
pub fn packet(bytes: &[u8]) -> PacketMut<'static> {
    let mut buffer = vec![0; HEADROOM];
    buffer.extend_from_slice(bytes);
    let end = buffer.len();
    PacketMut::new(buffer.leak(), HEADROOM..end).expect("inside the buffer")
}

/// Addresses of the site: the peer's and ours.
pub fn site_addresses() -> (Ipv6Addr, Ipv6Addr) {
    let address = |ipv4| addr::address(&site(), ipv4).expect("a /64");
    (address(PEER), address(HOST))
}

/// An outer packet from the peer, whose inner packet has `length` bytes.
pub fn from_peer(length: usize) -> PacketMut<'static> {
    let (source, destination) = site_addresses();
    let mut packet = packet(&inner(length, source, destination));
    tunnel(&mut packet, PEER, HOST);
    packet
}

/// An outer packet from the router, whose inner packet is from a host
/// elsewhere and has `length` bytes.
pub fn from_router(length: usize) -> PacketMut<'static> {
    let (_, host) = site_addresses();
    let mut packet = packet(&inner(length, elsewhere(), host));
    tunnel(&mut packet, ROUTER, HOST);
    packet
}

/// A host outside of the site.
fn elsewhere() -> Ipv6Addr {
    "2001:db8:ffff::1".parse().expect("an address")
}

/// An IPv6 packet to the peer.
pub fn to_peer(length: usize) -> PacketMut<'static> {
    let (peer, host) = site_addresses();
    packet(&inner(length, host, peer))
}

/// An outer packet out of the configured tunnel, bound for the native link.
pub fn from_remote(length: usize) -> PacketMut<'static> {
    let (_, host) = site_addresses();
    let mut packet = packet(&inner(length, elsewhere(), host));
    tunnel(&mut packet, REMOTE, HOST);
    packet
}

/// The same bytes, to be read only.
pub fn bytes(packet: PacketMut<'static>) -> &'static [u8] {
    packet.as_slice().to_vec().leak()
}

/// A template from our locator.
pub fn template() -> Template {
    Template::new(HOST, 0, Outer::DEFAULT_TTL, true)
}

/// An ISATAP, a 6to4, a Teredo and another address.
pub fn mixed() -> [Ipv6Addr; 4] {
    ["2001:db8::5efe:a00:1", "2002:c000:204::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "2001:db8::1"]
        .map(|text| text.parse().expect("an address"))
}

/// Addresses of an ISATAP host: link-local, ISATAP, 6to4, IPv4.
pub fn sources() -> [Source; 4] {
    ["fe80::5efe:10.0.0.2", "2001:db8:0:7:0:5efe:10.0.0.2", "2002:a00:2::1", "10.0.0.2"]
        .map(|text| Source::new(text.parse().expect("an address"), if text.contains(':') { 64 } else { 24 }))
}

/// Addresses of one name, the best one last.
pub fn destinations() -> [Destination; 4] {
    ["2002:c000:201::1", "203.0.113.1", "2001:db8:9::1", "2001:db8:0:7:0:5efe:10.0.0.9"].map(|text| {
        let to = Destination::new(text.parse().expect("an address"));
        let choice = Policy::RFC6724.choose_source(&to, sources());
        Destination { source: choice.map(|choice| choice.source), ..to }
    })
}

/// The link of a host, and a configured link.
pub fn isatap_link() -> &'static isatap_core::isatap::IsatapLink<Standard> {
    let host: &'static IsatapHost<Standard> = host();
    let link = host.interface(LinkId(0)).expect("the only one").link();
    admitted(link, from_peer(64));
    admitted(link, from_router(64));
    link
}

/// The configured link between [`HOST`] and [`REMOTE`].
pub fn configured_link() -> &'static configured::ConfiguredLink<Standard> {
    let interface = configured::ConfiguredInterface::<Standard>::new(configured::Config::new(HOST, REMOTE));
    let interface: &'static _ = Box::leak(Box::new(interface));
    admitted(interface.link(), from_remote(64));
    interface.link()
}

/// A refusal is measured nowhere: it costs something else.
fn admitted(link: &impl Link, packet: PacketMut<'static>) {
    let flow = Flow::parse(packet.as_slice()).expect("a good packet");
    link.admit(&flow).expect("a packet that the link takes");
}

/// Bytes without meaning.
pub fn noise(length: usize) -> &'static [u8] {
    (0..length).map(|index| index.wrapping_mul(167).to_le_bytes()[0]).collect::<Vec<u8>>().leak()
}
