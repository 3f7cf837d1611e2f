//! An ISATAP host and an ISATAP router, joined by nothing but a byte array and
//! the outer header beside it.
//!
//! ```text
//! cargo run -p isatap-examples --example byte_arrays
//! ```
//!
//! No socket, no thread, no clock: the program plays the IPv4 network, and
//! time is a number that it counts up. What it prints is what happens on a
//! wire: a solicitation, an advertisement, an address, a packet to another
//! host of the prefix, a packet that the router forwards.
#![allow(clippy::print_stdout, reason = "an example shows what happens")]

use std::error::Error;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::capacity::Small;
use isatap_core::datapath::Switches;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::isatap::{HostConfig, PublishedPrefix, Resolved, RouterConfig, RouterInterface};
use isatap_core::link::NativeLink;
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost, NodeConfig};
use isatap_core::packet::PacketMut;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Instant;

const HOST: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn main() -> Result<(), Box<dyn Error>> {
    // Tests and examples may be predictable; a program takes
    // `isatap_std::entropy::OsEntropy`.
    let mut entropy = |out: &mut [u8]| out.fill(0x5a);
    let mut now = Instant::from_secs(1);

    let mut host: IsatapHost<Small> = IsatapHost::host(HostConfig::DEFAULT);
    host.set_locators(now, &[HOST.into()])?;
    // In a program: the answer to `Event::ResolveRouters`.
    host.routers_resolved(now, Ok(Resolved { addresses: &[ROUTER], ttl: None }))?;
    let mut router = router(now)?;

    // Neighbor Discovery: each machine says when it wants to be called.
    for _ in 0..8 {
        host.handle_timeout(now, &mut entropy);
        router.handle_timeout(now, &mut entropy);
        carry(now, "host -> router", &mut host, &mut router)?;
        carry(now, "router -> host", &mut router, &mut host)?;
        while let Some(event) = host.poll_event() {
            println!("{now}  host: {event:?}");
        }
        // A machine whose events wait asks to be called at once.
        while let Some(event) = router.poll_event() {
            println!("{now}  router: {event:?}");
        }
        let Some(next) = [host.poll_timeout(), router.poll_timeout()].into_iter().flatten().min() else { break };
        if next > now + Duration::from_secs(2) {
            break;
        }
        now = now.max(next);
    }

    // To a host of the same prefix: directly, by the IPv4 address inside.
    let own: Ipv6Addr = "2001:db8:0:7:0:5efe:10.0.0.2".parse()?;
    let mut buffer = [0; 256];
    let neighbor = ipv6_packet(own, "2001:db8:0:7:0:5efe:10.0.0.3".parse()?);
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(&neighbor)?;
    match host.encapsulate(now, &mut packet) {
        Verdict::Tunnel { outer, .. } => println!("{now}  to a neighbour: {} -> {}", outer.source, outer.destination),
        other => return Err(format!("to a neighbour: {other:?}").into()),
    }

    // To the rest of the world: by the router, in one buffer. On a network
    // `outer` is the IPv4 header that carries it there.
    packet.clear();
    packet.copy_from(&ipv6_packet(own, "2001:db8:1::1".parse()?))?;
    let outer = match host.encapsulate(now, &mut packet) {
        Verdict::Tunnel { outer, .. } => outer,
        other => return Err(format!("to the world: {other:?}").into()),
    };
    println!("{now}  to the world:   {} -> {}", outer.source, outer.destination);
    match router.forward(now, &outer, &mut packet) {
        Verdict::Native { next_hop, .. } => println!("{now}  the router forwards it to {next_hop}"),
        other => return Err(format!("the router: {other:?}").into()),
    }
    Ok(())
}

/// A router with one ISATAP and one native interface.
fn router(now: Instant) -> Result<AnyNode<Small, 2>, Box<dyn Error>> {
    let mut router = AnyNode::new(NodeConfig::DEFAULT);
    let isatap = AnyInterface::IsatapRouter(RouterInterface::new(RouterConfig::DEFAULT));
    let isatap = router.add(isatap, Switches::FORWARDING)?;
    let prefix = PublishedPrefix::new("2001:db8:0:7::/64".parse()?);
    router
        .with_interface(now, isatap, |interface, cx| match interface {
            AnyInterface::IsatapRouter(router) => {
                router.set_locators(cx, &[ROUTER.into()])?;
                router.publish(cx, prefix)
            }
            _ => Ok(()),
        })
        .transpose()?;
    let lan = router.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING)?;
    router.insert_route(Route::via("::/0".parse()?, lan, "fe80::1".parse()?, Origin::Manual))?;
    Ok(router)
}

/// Carries what `from` wants to send now to `to`, and the answers back.
fn carry(now: Instant, way: &str, from: &mut impl Machine, to: &mut impl Machine) -> Result<(), Box<dyn Error>> {
    let mut buffer = [0; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    while let Some(sent) = from.poll_transmit(&mut packet)? {
        println!("{now}  {way}  {} bytes", packet.len());
        let outer = sent.outer.ok_or("not for the tunnel")?;
        // A Neighbor Solicitation is answered at once, in its own buffer.
        if let Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = to.decapsulate(now, &outer, &mut packet) {
            println!("{now}  its answer      {} bytes", packet.len());
            from.decapsulate(now, &outer, &mut packet);
        }
    }
    Ok(())
}

/// An IPv6 header without payload: next header 59, hop limit 64.
fn ipv6_packet(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet
}
