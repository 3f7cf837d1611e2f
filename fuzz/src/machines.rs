//! Lists of operations on machines, by the promises of their contract.
//!
//! After each operation: output drains in bounded time, no packet leaves for
//! an address that cannot be a unicast one or is our own (I3), what came in is
//! what was delivered, sent, taken or dropped (I14), and no deadline survives
//! being served (I7).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::capacity::{Capacity, Small};
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::Tally;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::interface::Interface;
use isatap_core::isatap::{Answer, HostConfig, PublishedPrefix, ResolveFailure, RouterConfig, RouterInterface};
use isatap_core::link::{InterfaceAddress, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Instant;

use crate::input::{Input, fix_icmpv6, fix_ipv4};

const IPV4: [Ipv4Addr; 6] = [
    Ipv4Addr::new(10, 0, 0, 1),
    Ipv4Addr::new(10, 0, 0, 2),
    Ipv4Addr::new(10, 0, 0, 3),
    Ipv4Addr::new(192, 0, 2, 9),
    Ipv4Addr::new(127, 0, 0, 1),
    Ipv4Addr::new(224, 0, 0, 1),
];

fn ipv6(input: &mut Input<'_>) -> Ipv6Addr {
    let prefix = match input.byte() % 6 {
        0 | 1 => 0xfe80_u128 << 112,
        2 => 0x2001_0db8_0000_0007_u128 << 64,
        3 => 0x2002_c000_0209_u128 << 80,
        4 => return input.among(&[Ipv6Addr::UNSPECIFIED, Ipv6Addr::LOCALHOST]),
        _ => return Ipv6Addr::from_bits(0xff02_u128 << 112 | u128::from(input.byte() % 4)),
    };
    let ipv4 = input.among(&IPV4).to_bits();
    let identifier = input.among(&[0x5efe_u64, 0x0200_5efe, 0]);
    (prefix | u128::from(identifier << 32) | u128::from(ipv4)).into()
}

/// An IPv6 packet: ICMPv6 with a right checksum, or anything.
fn inner(input: &mut Input<'_>) -> Vec<u8> {
    let (source, destination) = (ipv6(input), ipv6(input));
    let (protocol, hop_limit) = (input.among(&[58, 58, 58, 17, 0, 41, 43, 44]), input.among(&[255, 255, 64, 1]));
    let payload = input.byte();
    let payload = input.bytes(usize::from(payload)).to_vec();
    let mut packet = vec![0x60, 0, 0, 0, 0, u8::try_from(payload.len()).unwrap(), protocol, hop_limit];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(payload);
    if protocol == 58 && input.byte() & 7 != 0 {
        fix_icmpv6(&mut packet);
    }
    packet
}

/// An outer packet around it.
fn outer(input: &mut Input<'_>) -> Vec<u8> {
    let (source, destination) = (input.among(&IPV4), input.among(&IPV4));
    let inner = inner(input);
    let total = u16::try_from(inner.len() + 20).unwrap().to_be_bytes();
    let mut packet = vec![0x45, input.byte() & 3, total[0], total[1], 0, 0, 0, 0, 64, 41, 0, 0];
    packet.extend(source.octets());
    packet.extend(destination.octets());
    packet.extend(inner);
    fix_ipv4(&mut packet);
    packet
}

fn in_a_buffer(bytes: &[u8], buffer: &mut Vec<u8>) -> std::ops::Range<usize> {
    buffer.clear();
    buffer.resize(HEADROOM, 0xa5);
    buffer.extend_from_slice(bytes);
    HEADROOM..buffer.len()
}

/// I3, as far as every mechanism goes; and what `outer` says is in the bytes.
fn check_sent(outer: &Outer, bytes: &[u8]) {
    for address in [outer.source, outer.destination] {
        let first = address.octets()[0];
        assert!(first != 0 && first != 127 && first < 224, "{outer:?}");
    }
    assert_ne!(outer.source, outer.destination);
    assert_eq!(bytes[12..16], outer.source.octets());
    assert_eq!(bytes[16..20], outer.destination.octets());
    assert_eq!(bytes.len(), usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
}

fn check_verdict(verdict: &Verdict, bytes: &[u8]) {
    match verdict {
        Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
            check_sent(outer, bytes);
        }
        Verdict::Punt { .. } => panic!("only functions of &self punt"),
        _ => {}
    }
}

fn drain(machine: &mut impl Machine) {
    let mut buffer = [0; HEADROOM + 1500];
    for polls in 0.. {
        assert!(polls < 1000, "packets that never end");
        let mut packet = PacketMut::empty(&mut buffer);
        let Some(sent) = machine.poll_transmit(&mut packet).unwrap() else { break };
        if let Some(outer) = sent.outer {
            check_sent(&outer, packet.as_slice());
        }
    }
    for polls in 0.. {
        assert!(polls < 1000, "events that never end");
        if machine.poll_event().is_none() {
            break;
        }
    }
}

fn tick(machine: &mut impl Machine, now: Instant, random: u8) {
    machine.handle_timeout(now, &mut |out: &mut [u8]| out.fill(random));
    drain(machine);
    // I7
    assert!(machine.poll_timeout().is_none_or(|next| next > now), "a deadline survived {now}");
}

/// The latest time told, and whether the next packet comes with an earlier one.
struct Clock {
    latest: Instant,
    behind: bool,
}

/// One operation that every machine knows.
fn common<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &mut Node<I, C, LINKS>,
    operation: u8,
    clock: &mut Clock,
    input: &mut Input<'_>,
) {
    let Clock { latest, behind } = clock;
    let mut buffer = Vec::new();
    let told = if std::mem::take(behind) { Instant::from_micros(latest.micros() / 2) } else { *latest };
    match operation % 8 {
        0 => {
            let jump = input.among(&[0_u64, 1, 1_000, 500_000, 4_000_000, 60_000_000, 7_200_000_000, 1 << 60]);
            *latest = latest.saturating_add(Duration::from_micros(jump));
        }
        // A clock that goes back is told to the next packet.
        1 => *behind = true,
        2 => *latest = node.poll_timeout().unwrap_or(*latest).max(*latest),
        3 | 4 => {
            let range = in_a_buffer(&outer(input), &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = node.decapsulate(told, &mut packet);
            check_verdict(&verdict, packet.as_slice());
        }
        5 => {
            let range = in_a_buffer(&outer(input), &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = node.forward(told, &mut packet);
            check_verdict(&verdict, packet.as_slice());
        }
        6 => {
            let range = in_a_buffer(&inner(input), &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            packet.set_link(input.among(&[None, Some(LinkId(0)), Some(LinkId(3))]));
            let verdict = node.encapsulate(told, &mut packet);
            check_verdict(&verdict, packet.as_slice());
        }
        _ => {
            let mut message = vec![input.among(&[3, 3, 11, 12, 0]), input.among(&[4, 1, 0]), 0, 0, 0, 0];
            message.extend(input.u16().to_be_bytes());
            message.extend(outer(input));
            let checksum = !crate::input::sum(&[&message]);
            message[2..4].copy_from_slice(&checksum.to_be_bytes());
            let range = in_a_buffer(&message, &mut buffer);
            let mut packet = PacketMut::new(&mut buffer, range).unwrap();
            let verdict = node.handle_icmpv4(told, &mut packet);
            check_verdict(&verdict, packet.as_slice());
        }
    }
    tick(node, *latest, input.byte());
    balance(node);
}

/// I14: in = delivered + sent + taken + dropped.
fn balance<I: Interface<C>, C: Capacity, const LINKS: usize>(node: &Node<I, C, LINKS>) {
    let counters = node.counters();
    let out =
        [counters.tunnelled, counters.delivered, counters.native, counters.consumed, counters.held].map(Tally::get);
    assert_eq!(counters.entered.get(), out.iter().sum::<u64>() + counters.total_dropped());
}

/// An ISATAP host.
pub fn host_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut host: Box<IsatapHost<Small>> = Box::new(IsatapHost::host(HostConfig::DEFAULT));
    let mut clock = Clock { latest: Instant::from_secs(1), behind: false };
    let now = clock.latest;
    let _ = host.set_locators(now, &[IPV4[1].into()]);
    let _ = host.routers_resolved(now, Ok(Answer { addresses: &[IPV4[0]], ttl: None }));
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let now = clock.latest;
        match input.byte() {
            operation @ 0..=199 => common(&mut host, operation, &mut clock, &mut input),
            200..=209 => {
                let locators = [input.among(&IPV4).into(), input.among(&IPV4).into(), input.among(&IPV4).into()];
                let _ = host.set_locators(now, &locators[..usize::from(input.byte() % 4)]);
            }
            210..=219 => {
                let addresses = [input.among(&IPV4), input.among(&IPV4), input.ipv4()];
                let ttl =
                    input.among(&[None, Some(Duration::ZERO), Some(Duration::from_secs(60)), Some(Duration::MAX)]);
                let answer = Answer { addresses: &addresses[..usize::from(input.byte() % 4)], ttl };
                let _ = host.routers_resolved(now, Ok(answer));
            }
            220..=229 => {
                let failure = input.among(&[ResolveFailure::Unavailable, ResolveFailure::NoSuchName]);
                let _ = host.routers_resolved(now, Err(failure));
            }
            230..=239 => {
                let _ = host.add_router(now, input.among(&IPV4));
            }
            _ => {
                let address = input.among(&IPV4);
                host.with_interface(now, LinkId(0), |host, cx| host.remove_router(cx, address));
            }
        }
        tick(&mut *host, clock.latest, 0x5a);
    }
}

/// An ISATAP router.
pub fn router_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut node: Box<Node<RouterInterface<Small>, Small, 1>> = Box::new(Node::new(NodeConfig::DEFAULT));
    let link = node.add(RouterInterface::new(RouterConfig::DEFAULT), Switches::FORWARDING).unwrap();
    let mut clock = Clock { latest: Instant::from_secs(1), behind: false };
    let now = clock.latest;
    node.with_interface(now, link, |router, cx| router.set_locators(cx, &[IPV4[1].into()]));
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let now = clock.latest;
        let prefix = |input: &mut Input<'_>| {
            let length = input.among(&[64, 64, 64, 48, 0, 128]);
            Ipv6Prefix::new(ipv6(input), length).unwrap()
        };
        match input.byte() {
            operation @ 0..=199 => common(&mut node, operation, &mut clock, &mut input),
            200..=219 => {
                let prefix = PublishedPrefix::new(prefix(&mut input));
                node.with_interface(now, link, |router, cx| router.publish(cx, prefix).is_ok());
            }
            220..=239 => {
                let prefix = prefix(&mut input);
                node.with_interface(now, link, |router, cx| router.withdraw(cx, &prefix));
            }
            _ => {
                let locators = [input.among(&IPV4).into(), input.among(&IPV4).into()];
                let used = usize::from(input.byte() % 3);
                node.with_interface(now, link, |router, cx| router.set_locators(cx, &locators[..used]).is_ok());
            }
        }
        tick(&mut *node, clock.latest, 0x5a);
    }
}

/// A node with a native link, a configured tunnel and an ISATAP router, and
/// routes that change.
pub fn node_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut node: Box<AnyNode<Small, 4>> = Box::new(AnyNode::new(NodeConfig::DEFAULT));
    let mut clock = Clock { latest: Instant::from_secs(1), behind: false };
    let now = clock.latest;
    let mut native = NativeLink::new(1500);
    let own = InterfaceAddress { address: "2001:db8:0:8::1".parse().unwrap(), prefix_length: 64 };
    native.add_address(own).unwrap();
    let tunnel = configured::Interface::new(configured::Config::new(IPV4[1], IPV4[3]));
    let router = RouterInterface::new(RouterConfig::DEFAULT);
    node.add(AnyInterface::Native(native), Switches::FORWARDING).unwrap();
    node.add(AnyInterface::Configured(tunnel), Switches::FORWARDING).unwrap();
    let isatap = node.add(AnyInterface::IsatapRouter(router), Switches::FORWARDING).unwrap();
    node.with_interface(now, isatap, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        let site = PublishedPrefix::new("2001:db8:0:7::/64".parse().unwrap());
        router.set_locators(cx, &[IPV4[1].into()]).and(router.publish(cx, site))
    });
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        let now = clock.latest;
        match input.byte() {
            operation @ 0..=219 => common(&mut node, operation, &mut clock, &mut input),
            220..=239 => {
                let length = input.among(&[0, 32, 48, 64, 128]);
                let prefix = Ipv6Prefix::new(ipv6(&mut input), length).unwrap();
                let link = LinkId(input.byte() % 4);
                let route = Route::via(prefix, link, ipv6(&mut input), Origin::Manual);
                if input.byte() & 1 == 0 {
                    let _ = node.insert_route(route);
                } else {
                    node.remove_route(&route.key());
                }
            }
            _ => {
                let mut buffer = Vec::new();
                let range = in_a_buffer(&inner(&mut input), &mut buffer);
                let mut packet = PacketMut::new(&mut buffer, range).unwrap();
                let verdict = node.forward_native(now, LinkId(0), &mut packet);
                check_verdict(&verdict, packet.as_slice());
            }
        }
        tick(&mut *node, clock.latest, 0x5a);
        balance(&node);
    }
}
