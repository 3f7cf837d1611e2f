//! Nodes that remember decisions, and packets of flows that they know or do
//! not know.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Standard;
use isatap_core::datapath::{Decision, Decisions};
use isatap_core::engine::{Machine, Verdict};
use isatap_core::isatap::{HostConfig, addr};
use isatap_core::node::{AnyNode, IsatapHost};

use crate::inputs::{self, Arrived, HOST, NOW, REMOTE};

/// A third host of the site.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 4);

/// A table of some flows.
pub type Table = Decisions<[Decision; 64]>;
/// A host with one.
pub type Host = IsatapHost<Standard, Table>;
/// A router with one.
pub type Router = AnyNode<Standard, 4, Table>;

/// A host that has learned the site's prefix from its router.
pub fn host() -> &'static mut Host {
    inputs::taught(Box::leak(Box::new(Host::remembering_host(HostConfig::DEFAULT, Table::new()))))
}

/// The router of [`inputs::forwarder`].
pub fn forwarder() -> &'static mut Router {
    inputs::between(Box::leak(Box::new(Router::with_decisions(Default::default(), Table::new()))))
}

/// A host that has sent a packet to the peer.
pub fn sender() -> &'static mut Host {
    let host = host();
    assert!(matches!(host.encapsulate(NOW, &mut inputs::to_peer(64)), Verdict::Tunnel { .. }));
    host
}

/// A host that has sent a packet to the peer, and then one to another.
pub fn sender_of_two() -> &'static mut Host {
    let host = sender();
    let (_, own) = inputs::site_addresses();
    let other = addr::address(&inputs::site(), OTHER).expect("a /64");
    let mut packet = inputs::packet(&inputs::inner(64, own, other));
    assert!(matches!(host.encapsulate(NOW, &mut packet), Verdict::Tunnel { .. }));
    host
}

/// A host that has had a packet from the peer.
pub fn receiver() -> &'static mut Host {
    let host = host();
    let (outer, mut packet) = inputs::opened(inputs::from_peer(64));
    assert!(matches!(host.decapsulate(NOW, &outer, &mut packet), Verdict::Deliver { .. }));
    host
}

/// A router that has forwarded a packet of the flow.
pub fn relay() -> &'static mut Router {
    let router = forwarder();
    let (outer, mut packet) = inputs::opened(inputs::from_remote(64));
    assert!(matches!(router.forward(NOW, &outer, &mut packet), Verdict::Native { .. }));
    router
}

/// Packets of a flood.
pub const FLOOD: usize = 1024;

/// A router whose table is full, and packets of as many flows that it does not know.
pub fn flooded() -> (&'static mut Router, Vec<Arrived>) {
    let router = forwarder();
    for mut arrived in flood(1) {
        router.forward(NOW, &arrived.0, &mut arrived.1);
    }
    (router, flood(2))
}

fn flood(number: u16) -> Vec<Arrived> {
    let (_, host) = inputs::site_addresses();
    let source = |flow: usize| {
        let flow = u16::try_from(flow).expect("few");
        Ipv6Addr::new(0x2001, 0xdb8, 0xffff, number, 0, 0, 0, flow)
    };
    (0..FLOOD)
        .map(|flow| {
            let mut packet = inputs::packet(&inputs::inner(64, source(flow), host));
            inputs::tunnel(&mut packet, REMOTE, HOST);
            inputs::opened(packet)
        })
        .collect()
}

/// Forwards them all.
#[inline(always)]
pub fn forward_all(router: &mut Router, arrived: &mut [Arrived]) {
    for (outer, packet) in arrived {
        router.forward(NOW, outer, packet);
    }
}
