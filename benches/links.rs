//! A link of each kind, with the packets that it carries both ways.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Standard;
use isatap_core::compatible;
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::interface::{Context, Interface as _};
use isatap_core::isatap;
use isatap_core::link::{Link, Locator, OuterPolicy};
use isatap_core::node::{AnyInterface, AnyNode};
use isatap_core::packet::PacketMut;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixrd;
use isatap_core::sixtofour;
use isatap_core::time::Expiry;

use crate::inputs::{self, HOST, NOW, PEER, REMOTE};

/// This node where IPv4 addresses have to be public ones.
const PUBLIC: Ipv4Addr = Ipv4Addr::new(131, 107, 0, 2);
/// Its neighbour there.
const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(131, 107, 0, 7);

/// A link and its two ends, ours and a neighbour's.
pub struct Ends<L: 'static> {
    /// The link.
    pub link: &'static L,
    /// Our inner and outer address.
    pub own: (Ipv6Addr, Ipv4Addr),
    /// The neighbour's; the inner one is the next hop too.
    pub peer: (Ipv6Addr, Ipv4Addr),
}

impl<L: Link> Ends<L> {
    /// An IPv6 packet of `length` bytes to the neighbour.
    pub fn outbound(&self, length: usize) -> PacketMut<'static> {
        inputs::packet(&inputs::inner(length, self.own.0, self.peer.0))
    }

    /// An outer packet from the neighbour around one of `length` bytes.
    pub fn inbound(&self, length: usize) -> PacketMut<'static> {
        let mut packet = inputs::packet(&inputs::inner(length, self.peer.0, self.own.0));
        inputs::tunnel(&mut packet, self.peer.1, self.own.1);
        packet
    }
}

/// The ISATAP link of a host that knows its router and prefix.
pub fn isatap() -> Ends<isatap::IsatapLink<Standard>> {
    let (peer, own) = inputs::site_addresses();
    Ends { link: inputs::isatap_link(), own: (own, HOST), peer: (peer, PEER) }
}

/// A configured tunnel.
pub fn configured() -> Ends<configured::ConfiguredLink<Standard>> {
    let inner = |last: u16| Ipv6Addr::new(0x2001, 0xdb8, 0, 9, 0, 0, 0, last);
    Ends { link: inputs::configured_link(), own: (inner(1), HOST), peer: (inner(2), REMOTE) }
}

/// The link of a 6to4 router.
pub fn sixtofour() -> Ends<sixtofour::SixToFourLink<Standard>> {
    let router = AnyInterface::SixToFourRouter(sixtofour::RouterInterface::new(sixtofour::RouterConfig::DEFAULT));
    let interface = interface(router, |interface, cx, locator| {
        let AnyInterface::SixToFourRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &[locator], Expiry::NEVER).expect("room");
    });
    let AnyInterface::SixToFourRouter(router) = interface else { unreachable!() };
    let address = sixtofour::addr::host_router;
    Ends { link: router.link(), own: (address(PUBLIC), PUBLIC), peer: (address(NEIGHBOUR), NEIGHBOUR) }
}

/// The link of a 6rd customer edge, to another one.
pub fn sixrd() -> Ends<sixrd::SixRdLink<Standard>> {
    let prefix: Ipv6Prefix = "2001:db8:6000::/40".parse().expect("a prefix");
    let edge = AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(sixrd::EdgeConfig::DEFAULT));
    let interface = interface(edge, |interface, cx, locator| {
        let AnyInterface::SixRdEdge(edge) = interface else { unreachable!() };
        let relay = Ipv4Addr::new(131, 107, 9, 1);
        edge.configure(cx, prefix, 16, [relay].into_iter()).expect("a domain");
        edge.set_locators(cx, &[locator], Expiry::NEVER).expect("room");
    });
    let AnyInterface::SixRdEdge(edge) = interface else { unreachable!() };
    let domain = edge.link().domain().expect("it has a place there");
    let address = |ipv4| Ipv6Addr::from_bits(domain.delegated(ipv4).address().to_bits() | 1);
    Ends { link: edge.link(), own: (address(PUBLIC), PUBLIC), peer: (address(NEIGHBOUR), NEIGHBOUR) }
}

/// An interface to IPv4-compatible addresses.
pub fn compatible() -> Ends<compatible::CompatibleLink<Standard>> {
    let tunnel = AnyInterface::Compatible(compatible::CompatibleInterface::new(OuterPolicy::DEFAULT));
    let interface = interface(tunnel, |interface, cx, locator| {
        let AnyInterface::Compatible(tunnel) = interface else { unreachable!() };
        tunnel.set_locators(cx, &[locator]).expect("room");
    });
    let AnyInterface::Compatible(tunnel) = interface else { unreachable!() };
    let address = compatible::address;
    Ends { link: tunnel.link(), own: (address(PUBLIC), PUBLIC), peer: (address(NEIGHBOUR), NEIGHBOUR) }
}

/// An interface that was told of [`PUBLIC`], for ever.
fn interface(
    interface: AnyInterface<Standard>,
    tell: impl FnOnce(&mut AnyInterface<Standard>, &mut Context<'_, Standard>, Locator),
) -> &'static AnyInterface<Standard> {
    let node = Box::leak(Box::new(AnyNode::<Standard, 1>::new(Default::default())));
    let id = node.add(interface, Switches::DEFAULT).expect("room");
    let locator = Locator { address: PUBLIC, subnet_length: 24 };
    node.with_interface(NOW, id, |interface, cx| tell(interface, cx, locator)).expect("the only one");
    node.interface(id).expect("the only one")
}
