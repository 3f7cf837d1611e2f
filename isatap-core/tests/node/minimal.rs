//! What is left of a node whose capacity leaves parts out: the same decisions
//! as of one that has everything, but for what the parts do.

use isatap_core::capacity::{Capacity, Minimal, MinimalRouter, N, Parts, Standard};
use isatap_core::configured::{self, ConfiguredInterface};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Change, Event, Machine, Verdict, Via};
use isatap_core::isatap::{
    HostConfig, HostInterface, OfferDefault, PublishedPrefix, RouterConfig, RouterInterface, addr,
};
use isatap_core::link::{InterfaceAddress, Locator, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::sixrd::{EdgeConfig, EdgeInterface};
use isatap_core::sixtofour;
use isatap_core::time::{Duration, Expiry, Instant};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::support::{Inner, v4, v6};

const LINK: LinkId = LinkId(0);
const START: Instant = Instant::from_secs(1000);
const OWN: &str = "10.0.0.2";
const ROUTER: &str = "10.0.0.1";
const SECOND: &str = "10.0.0.9";

/// [`Standard`] without shortcuts: the decisions have to be the same, all of them.
#[derive(Clone, Copy, Debug)]
enum TheLongWay {}

impl Capacity for TheLongWay {
    type Locators = N<8>;
    type PotentialRouters = N<16>;
    type Prefixes = N<16>;
    type Routes = N<64>;
    type Neighbors = N<32>;
    type CheckedNeighbors = N<128>;
    type PathMtus = N<32>;
    type Solicitations = N<128>;
    type Answered = N<512>;
    type DnsServers = N<8>;
    type SearchDomains = N<4>;
    type Members = N<16>;
    type KnownRouters = N<16>;
    type Addresses = N<16>;
    type Identifications = N<64>;
    type Refusals = N<8>;
    type Tally = u64;
    type FullTable = ();
    const PARTS: Parts = Parts::all().difference(Parts::SHORTCUTS);
}

/// The roles with one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Host,
    Tunnel,
    SixRd,
    SixToFour,
}

const ROLES: [Role; 4] = [Role::Host, Role::Tunnel, Role::SixRd, Role::SixToFour];

fn node<C: Capacity>(role: Role) -> AnyNode<C, 1> {
    let own = [Locator { address: v4(OWN), subnet_length: 24 }];
    let mut config = NodeConfig::DEFAULT;
    config.identification_seed = Some([0; 2]);
    let mut node: AnyNode<C, 1> = Node::new(config);
    let add = |node: &mut AnyNode<C, 1>, interface| node.add(interface, Switches::DEFAULT).unwrap();
    match role {
        Role::Host => {
            // Who probes nobody asks nobody again because he was silent.
            let mut config = HostConfig::DEFAULT;
            config.probe_neighbors = false;
            add(&mut node, AnyInterface::IsatapHost(HostInterface::new(config)));
        }
        Role::Tunnel => {
            let mut config = configured::Config::new(v4(OWN), v4(ROUTER));
            config.probe_remote = false;
            add(&mut node, AnyInterface::Configured(ConfiguredInterface::new(config)));
        }
        Role::SixRd => {
            add(&mut node, AnyInterface::SixRdEdge(EdgeInterface::new(EdgeConfig::DEFAULT)));
        }
        Role::SixToFour => {
            // The addresses here are private ones.
            let mut config = sixtofour::RouterConfig::DEFAULT;
            (config.accept_bogons, config.relay) = (true, sixtofour::Relay::Address(v4(ROUTER)));
            add(&mut node, AnyInterface::SixToFourRouter(sixtofour::RouterInterface::new(config)));
        }
    }
    node.with_interface(START, LINK, |interface, cx| match interface {
        AnyInterface::IsatapHost(host) => {
            host.set_locators(cx, &own).unwrap();
            host.add_router(cx, v4(ROUTER)).unwrap();
        }
        AnyInterface::Configured(tunnel) => {
            tunnel.set_locators(cx, &own).unwrap();
            tunnel.set_default_route(cx, true).unwrap();
            tunnel.set_routed_prefix(cx, Some("2001:db8:77::/48".parse().unwrap())).unwrap();
            let address = InterfaceAddress { address: v6("2001:db8:5::2"), prefix_length: 64 };
            tunnel.add_address(cx, address).unwrap();
        }
        AnyInterface::SixRdEdge(edge) => {
            edge.set_locators(cx, &own, Expiry::NEVER).unwrap();
            edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4("10.0.0.1")].into_iter()).unwrap();
        }
        AnyInterface::SixToFourRouter(router) => router.set_locators(cx, &own, Expiry::NEVER).unwrap(),
        _ => {}
    });
    node
}

/// A node, and what it has told.
struct Told<C: Capacity> {
    node: AnyNode<C, 1>,
    addresses: BTreeSet<(Ipv6Addr, Option<Instant>)>,
    mtu: u16,
    delegated: usize,
}

impl<C: Capacity> Told<C> {
    fn new(role: Role) -> Self {
        Told { node: node(role), addresses: BTreeSet::new(), mtu: 0, delegated: 0 }
    }

    /// Time and output. How many solicitations of routers were sent.
    fn turn(&mut self, now: Instant) -> usize {
        let mut solicited = 0;
        self.node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0x40));
        for _ in 0..100 {
            let mut buffer = [0; 1600];
            let mut packet = PacketMut::empty(&mut buffer);
            if self.node.poll_transmit(&mut packet).unwrap().is_some() {
                solicited += usize::from(packet.as_slice().get(40) == Some(&133));
                continue;
            }
            match self.node.poll_event() {
                Some(Event::Address { change, address, .. }) => {
                    self.addresses.retain(|(told, _)| *told != address.address);
                    if change != Change::Removed {
                        self.addresses.insert((address.address, address.valid_until.instant()));
                    }
                }
                Some(Event::Mtu { mtu, .. }) => self.mtu = mtu,
                Some(Event::Delegation { .. }) => self.delegated += 1,
                Some(_) => {}
                None => return solicited,
            }
        }
        panic!("output for ever");
    }

    fn send(&mut self, now: Instant, packet: &[u8]) -> (Verdict, Vec<u8>) {
        let mut buffer = [vec![0; HEADROOM], packet.to_vec()].concat();
        let range = HEADROOM..buffer.len();
        let mut handed = PacketMut::new(&mut buffer, range).unwrap();
        (self.node.encapsulate(now, &mut handed), handed.as_slice().to_vec())
    }

    fn receive(&mut self, now: Instant, outer: &Outer, packet: &[u8]) -> (Verdict, Vec<u8>) {
        let mut buffer = [vec![0; HEADROOM], packet.to_vec()].concat();
        let range = HEADROOM..buffer.len();
        let mut handed = PacketMut::new(&mut buffer, range).unwrap();
        (self.node.decapsulate(now, outer, &mut handed), handed.as_slice().to_vec())
    }
}

const IPV4: [&str; 8] = [OWN, ROUTER, SECOND, "10.0.0.7", "10.0.0.255", "203.0.113.5", "127.0.0.1", "224.0.0.1"];

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![4 => 0..4_usize, 1 => 0..8_usize].prop_map(|at| v4(IPV4[at]))
}

fn ipv6() -> impl Strategy<Value = Ipv6Addr> {
    let isatap = |prefix: &'static str| {
        (ipv4(), any::<bool>()).prop_map(move |(ipv4, global)| {
            let own = if global { addr::link_local(ipv4) } else { addr::other_link_local(ipv4) };
            let prefix = v6(prefix).to_bits();
            Ipv6Addr::from_bits(prefix | (own.to_bits() & u128::from(u64::MAX)))
        })
    };
    prop_oneof![
        4 => isatap("2001:db8:0:7::"),
        2 => isatap("fe80::"),
        1 => isatap("2001:db8:0:8::"),
        1 => ipv4().prop_map(|ipv4| Ipv6Addr::from_bits(0x2001_0db8_u128 << 96 | (u128::from(ipv4.to_bits()) & 0xff_ffff) << 72 | 1)),
        1 => ipv4().prop_map(|ipv4| Ipv6Addr::from_bits(0x2002_u128 << 112 | u128::from(ipv4.to_bits()) << 80 | 1)),
        1 => ipv4().prop_map(configured::link_local),
        3 => prop::sample::select(vec![
            "2001:db8:5::2", "2001:db8:5::3", "2001:db8:77:1::1", "2001:db8:9::9", "2001:db8::", "::", "::1",
            "ff02::1", "ff02::2", "ff05::2", "::10.0.0.1", "::ffff:10.0.0.1", "2001:db8:0:200::1", "2620:1::1",
        ]).prop_map(v6),
    ]
}

#[derive(Clone, Debug)]
enum Op {
    Send(Ipv6Addr, Ipv6Addr, u8, usize),
    Receive(Ipv4Addr, Ipv4Addr, Ipv6Addr, Ipv6Addr, u8, u8),
    /// Router lifetime; valid lifetime and flags of the prefix; MTU.
    Advertise(u16, u32, u8, u32),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    let next = || prop::sample::select(vec![6_u8, 17, 58, 59, 41, 43, 4]);
    prop_oneof![
        6 => (ipv6(), ipv6(), next(), prop::sample::select(vec![48_usize, 100, 1280, 1281, 1480]))
            .prop_map(|(source, destination, next, len)| Op::Send(source, destination, next, len)),
        6 => (ipv4(), ipv4(), ipv6(), ipv6(), next(), any::<u8>())
            .prop_map(|(from, to, source, destination, next, tos)| Op::Receive(from, to, source, destination, next, tos)),
        2 => (
            prop::sample::select(vec![0_u16, 10, 1800]),
            prop::sample::select(vec![0_u32, 20, 7300, u32::MAX]),
            prop::sample::select(vec![0_u8, 0x40, 0x80, 0xc0]),
            prop::sample::select(vec![1280_u32, 1400, 100]),
        ).prop_map(|(lifetime, valid, flags, mtu)| Op::Advertise(lifetime, valid, flags, mtu)),
        2 => prop::sample::select(vec![0_u64, 1, 5, 12, 100, 4000]).prop_map(Op::Pass),
    ]
}

fn advertisement(lifetime: u16, valid: u32, flags: u8, mtu: u32) -> Vec<u8> {
    let mut rest = vec![64, 0];
    rest.extend(lifetime.to_be_bytes());
    rest.extend([0; 8]);
    rest.extend([3, 4, 64, flags]);
    rest.extend([valid.to_be_bytes(), valid.to_be_bytes(), [0; 4]].concat());
    rest.extend(v6("2001:db8:0:7::").octets());
    rest.extend([5, 1, 0, 0]);
    rest.extend(mtu.to_be_bytes());
    let (from, to) = (addr::link_local(v4(ROUTER)), addr::link_local(v4(OWN)));
    let packet = Inner::icmp(from, to, 134, 0, &rest).hops(255);
    packet.bytes()
}

/// A verdict without what the parts of [`Minimal`] do: answers to who sent what
/// cannot be sent on, checks against loops that a node of one link cannot close.
fn stripped(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Answer { reason: Some(reason), .. } => Verdict::Drop(reason),
        // TUN-31: nobody who remembers no path forbids to fragment.
        Verdict::Tunnel { link, outer } => {
            Verdict::Tunnel { link, outer: Outer { dont_fragment: false, identification: 0, ..outer } }
        }
        other => other,
    }
}

fn is_of_loop_checks(verdict: &Verdict) -> bool {
    matches!(verdict, Verdict::Drop(DropReason::LoopSource | DropReason::LoopDestination))
}

/// Runs both. Where the first one's loop checks refuse a packet, the second one,
/// which has none, may send it, but not hand it to the stack.
fn same<A: Capacity, B: Capacity>(role: Role, ops: &[Op]) {
    let (mut one, mut other) = (Told::<A>::new(role), Told::<B>::new(role));
    let has_all = B::PARTS.contains(Parts::ERRORS);
    let mut now = START;
    for op in ops {
        let (seen, got) = match op {
            Op::Send(source, destination, next, len) => {
                let mut packet = Inner::new(*source, *destination).len(*len).bytes();
                packet[6] = *next;
                (one.send(now, &packet), other.send(now, &packet))
            }
            Op::Receive(from, to, source, destination, next, tos) => {
                let mut packet = Inner::new(*source, *destination).len(60).bytes();
                packet[6] = *next;
                let outer = Outer { tos: *tos, ..Outer::new(*from, *to) };
                (one.receive(now, &outer, &packet), other.receive(now, &outer, &packet))
            }
            Op::Advertise(lifetime, valid, flags, mtu) => {
                let packet = advertisement(*lifetime, *valid, *flags, *mtu);
                let outer = Outer::new(v4(ROUTER), v4(OWN));
                (one.receive(now, &outer, &packet), other.receive(now, &outer, &packet))
            }
            Op::Pass(seconds) => {
                now = now + Duration::from_secs(*seconds);
                continue;
            }
        };
        if has_all {
            assert_eq!(seen, got, "{role:?} {op:?}");
        } else if is_of_loop_checks(&seen.0) {
            assert!(matches!(got.0, Verdict::Drop(_) | Verdict::Tunnel { .. }), "{role:?} {op:?}: {got:?}");
        } else {
            assert_eq!(stripped(seen.0), stripped(got.0), "{role:?} {op:?}");
            let forbids = matches!(got.0, Verdict::Tunnel { outer, .. } if outer.dont_fragment);
            assert!(!forbids, "{role:?} {op:?}");
        }
        let solicited = (one.turn(now), other.turn(now));
        assert_eq!(solicited.0, solicited.1, "{role:?} {op:?}");
        assert_eq!((&one.addresses, one.mtu, one.delegated), (&other.addresses, other.mtu, other.delegated), "{op:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever comes, with the smallest capacity as with all parts and tables.
    #[test]
    fn minimal_decides_as_standard_does(
        role in prop::sample::select(ROLES.to_vec()),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        same::<Standard, Minimal>(role, &ops);
    }

    #[test]
    fn the_long_way_leads_to_the_same(
        role in prop::sample::select(ROLES.to_vec()),
        ops in prop::collection::vec(op(), 1..80),
    ) {
        same::<Standard, TheLongWay>(role, &ops);
    }
}

/// `RTE-3` without a table: the first router of the list that is a default
/// router, as long as it is.
#[test]
fn ndp_36_without_a_route_table_the_first_default_router_has_the_packet() {
    let mut host = Told::<Minimal>::new(Role::Host);
    host.node.with_interface(START, LINK, |interface, cx| {
        let AnyInterface::IsatapHost(host) = interface else { panic!() };
        host.add_router(cx, v4(SECOND)).unwrap();
    });
    host.turn(START);
    let from = addr::address(&"2001:db8:0:7::/64".parse().unwrap(), v4(OWN)).unwrap();
    let packet = Inner::new(from, v6("2620:1::1")).bytes();
    let by = |host: &mut Told<Minimal>, now| match host.send(now, &packet).0 {
        Verdict::Tunnel { outer, .. } => Ok(outer.destination),
        Verdict::Drop(reason) => Err(reason),
        other => panic!("{other:?}"),
    };
    assert_eq!(by(&mut host, START), Err(DropReason::NoRoute));
    let told = |host: &mut Told<Minimal>, now, router: &str, lifetime| {
        let mut packet = advertisement(lifetime, u32::MAX, 0xc0, 1280);
        let from = addr::link_local(v4(router));
        packet[8..24].copy_from_slice(&from.octets());
        let body = packet[40..].to_vec();
        let packet = Inner::icmp(from, addr::link_local(v4(OWN)), 134, 0, &body[4..]).hops(255).bytes();
        let (verdict, _) = host.receive(now, &Outer::new(v4(router), v4(OWN)), &packet);
        assert!(matches!(verdict, Verdict::Consumed { .. }), "{verdict:?}");
        host.turn(now);
    };
    told(&mut host, START, SECOND, 1800);
    assert_eq!(by(&mut host, START), Ok(v4(SECOND)));
    // In the order of the list.
    told(&mut host, START, ROUTER, 60);
    assert_eq!(by(&mut host, START), Ok(v4(ROUTER)));
    let later = START + Duration::from_secs(60);
    host.turn(later);
    assert_eq!(by(&mut host, later), Ok(v4(SECOND)), "a lifetime ends");
    told(&mut host, later, SECOND, 0);
    assert_eq!(by(&mut host, later), Err(DropReason::NoRoute), "zero withdraws");
    // On-link is not by a router.
    let near = Inner::new(from, addr::address(&"2001:db8:0:7::/64".parse().unwrap(), v4("10.0.0.7")).unwrap()).bytes();
    assert!(matches!(host.send(later, &near).0, Verdict::Tunnel { outer, .. } if outer.destination == v4("10.0.0.7")));
}

#[test]
fn rte_10_a_minimal_router_forwards_answers_and_closes_no_loop() {
    let mut router: AnyNode<MinimalRouter, 2> = Node::new(NodeConfig::DEFAULT);
    let mut config = RouterConfig::DEFAULT;
    config.default_route = OfferDefault::Always;
    let isatap = AnyInterface::IsatapRouter(RouterInterface::new(config));
    let isatap = router.add(isatap, Switches::FORWARDING).unwrap();
    let mut lan = NativeLink::new(1500);
    lan.add_address(InterfaceAddress { address: v6("2001:db8:0:8::1"), prefix_length: 64 }).unwrap();
    lan.set_gateway(Some(v6("fe80::99")));
    let lan = router.add(AnyInterface::Native(lan), Switches::FORWARDING).unwrap();
    router.with_interface(START, isatap, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { panic!() };
        router.set_locators(cx, &[Locator { address: v4(ROUTER), subnet_length: 24 }]).unwrap();
        router.publish(cx, PublishedPrefix::new("2001:db8:0:7::/64".parse().unwrap())).unwrap();
    });
    let prefix = "2001:db8:0:7::/64".parse().unwrap();
    let host = |ipv4: &str| addr::address(&prefix, v4(ipv4)).unwrap();
    let outer = Outer::new(v4(OWN), v4(ROUTER));
    let mut hand = |native: bool, packet: &[u8]| {
        let mut buffer = [vec![0; HEADROOM], packet.to_vec()].concat();
        let range = HEADROOM..buffer.len();
        let mut handed = PacketMut::new(&mut buffer, range).unwrap();
        let verdict = match native {
            true => router.forward_native(START, lan, &mut handed),
            false => router.forward(START, &outer, &mut handed),
        };
        (verdict, handed.as_slice().to_vec())
    };
    // Out by the gateway, to a neighbour on the LAN, and back.
    let out = hand(false, &Inner::new(host(OWN), v6("2620:1::1")).bytes());
    assert_eq!((out.0, out.1[7]), (Verdict::Native { link: lan, next_hop: v6("fe80::99") }, 63));
    let near = hand(false, &Inner::new(host(OWN), v6("2001:db8:0:8::7")).bytes()).0;
    assert_eq!(near, Verdict::Native { link: lan, next_hop: v6("2001:db8:0:8::7") });
    let back = hand(true, &Inner::new(v6("2620:1::1"), host(OWN)).bytes()).0;
    assert!(matches!(back, Verdict::Tunnel { link, outer } if link == isatap && outer.destination == v4(OWN)));
    // TUN-42: the sender of what is too long is told.
    let (long, error) = hand(true, &Inner::new(v6("2620:1::1"), host(OWN)).len(1400).bytes());
    let via = Via::Native { link: lan, next_hop: v6("fe80::99") };
    assert_eq!(long, Verdict::Answer { via, reason: Some(DropReason::PacketTooBig) });
    assert_eq!((error[40], &error[44..48]), (2, &1280_u32.to_be_bytes()[..]));
    // SEC-3 [RFC 6324 §3.3]: our own address as 6to4 would have it.
    let looped = Inner::new(host(OWN), v6("2002:a00:1::1")).bytes();
    assert_eq!(hand(false, &looped).0, Verdict::Drop(DropReason::LoopDestination));
    // ISA-52: who asks is told the prefix, and that this is its default router.
    let ask = Inner::icmp(addr::link_local(v4(OWN)), addr::link_local(v4(ROUTER)), 133, 0, &[0; 4]).hops(255).bytes();
    let mut buffer = [vec![0; HEADROOM], ask].concat();
    let range = HEADROOM..buffer.len();
    let mut handed = PacketMut::new(&mut buffer, range).unwrap();
    assert_eq!(router.decapsulate(START, &outer, &mut handed), Verdict::Consumed { link: isatap });
    let mut now = START;
    let told = loop {
        router.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0));
        let mut buffer = [0; 1600];
        let mut packet = PacketMut::empty(&mut buffer);
        if let Some(transmit) = router.poll_transmit(&mut packet).unwrap() {
            break (transmit.outer.unwrap().destination, packet.as_slice().to_vec());
        }
        while router.poll_event().is_some() {}
        now = router.poll_timeout().unwrap();
        assert!(now < START + Duration::from_secs(2));
    };
    assert_eq!((told.0, told.1[40], &told.1[46..48]), (v4(OWN), 134, &1800_u16.to_be_bytes()[..]));
}

/// With a LAN beside the tunnel: what is near is not sent to the tunnel's other
/// end, and what nobody has of a prefix for LANs does not bounce.
#[test]
fn s6r_20_a_lan_beside_a_tunnel_without_a_route_table() {
    for role in [Role::Tunnel, Role::SixRd] {
        let mut node: AnyNode<MinimalRouter, 2> = Node::new(NodeConfig::DEFAULT);
        let own = [Locator { address: v4(OWN), subnet_length: 24 }];
        // Delegated to 10.0.0.2 by 2001:db8::/32 and 8 common bits; routed by the tunnel.
        let prefix = if role == Role::SixRd { "2001:db8:0:200" } else { "2001:db8:77:1" };
        let interface = match role {
            Role::SixRd => AnyInterface::SixRdEdge(EdgeInterface::new(EdgeConfig::DEFAULT)),
            _ => AnyInterface::Configured(ConfiguredInterface::new(configured::Config::new(v4(OWN), v4(ROUTER)))),
        };
        let tunnel = node.add(interface, Switches::FORWARDING).unwrap();
        let mut lan = NativeLink::new(1500);
        let address = InterfaceAddress { address: v6(&format!("{prefix}::1")), prefix_length: 64 };
        lan.add_address(address).unwrap();
        let lan = node.add(AnyInterface::Native(lan), Switches::FORWARDING).unwrap();
        node.with_interface(START, tunnel, |interface, cx| match interface {
            AnyInterface::SixRdEdge(edge) => {
                edge.set_locators(cx, &own, Expiry::NEVER).unwrap();
                edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4(ROUTER)].into_iter()).unwrap();
            }
            AnyInterface::Configured(tunnel) => {
                tunnel.set_locators(cx, &own).unwrap();
                tunnel.set_default_route(cx, true).unwrap();
                tunnel.set_routed_prefix(cx, Some("2001:db8:77::/48".parse().unwrap())).unwrap();
            }
            _ => {}
        });
        let from = v6(&format!("{prefix}::7"));
        let mut goes = |destination: &str| {
            let packet = Inner::new(from, v6(destination)).bytes();
            let mut buffer = [vec![0; HEADROOM], packet].concat();
            let range = HEADROOM..buffer.len();
            node.forward_native(START, lan, &mut PacketMut::new(&mut buffer, range).unwrap())
        };
        let near = format!("{prefix}::8");
        assert_eq!(goes(&near), Verdict::Native { link: lan, next_hop: v6(&near) }, "{role:?}");
        assert!(matches!(goes("2620:1::1"), Verdict::Tunnel { link, .. } if link == tunnel), "{role:?}");
        let nobodys = if role == Role::SixRd { "2001:db8:0:201::1" } else { "2001:db8:77:2::1" };
        let refused = matches!(goes(nobodys), Verdict::Answer { reason: Some(DropReason::NullRoute), .. });
        assert!(refused, "{role:?}: {:?}", goes(nobodys));
    }
}

/// `TUN-31 [RFC 4213 §3.2.1]`: who has no room for path MTUs lets routers
/// fragment. A path of 576 bytes would else swallow packets for ever.
#[test]
fn tun_31_without_path_mtus_routers_may_fragment() {
    let packet = Inner::new(v6("2001:db8:5::2"), v6("2620:1::1")).len(1280).bytes();
    let mut tunnel = Told::<Minimal>::new(Role::Tunnel);
    tunnel.node.reseed([0x1234, 0]);
    let identifications = [(); 3].map(|()| match tunnel.send(START, &packet).0 {
        Verdict::Tunnel { outer, .. } if !outer.dont_fragment => outer.identification,
        other => panic!("{other:?}"),
    });
    assert_eq!(identifications, [0x1234, 0x1235, 0x1236], "TUN-7: one counter for all");
    // An ICMPv4 error about it changes nothing, and nothing is told of repeats.
    let quote = super::support::Outer::new(v4(OWN), v4(ROUTER)).around(&packet);
    let mut message = super::support::icmpv4(3, 4, [0, 0, 2, 64], &quote);
    let range = 0..message.len();
    let verdict = tunnel.node.handle_icmpv4(START, &mut PacketMut::new(&mut message, range).unwrap());
    assert_eq!(verdict, Verdict::Drop(DropReason::IcmpV4Ignored));
    tunnel.send(START, &packet);
    tunnel.node.handle_timeout(START, &mut |out: &mut [u8]| out.fill(1));
    let told: Vec<Event> = std::iter::from_fn(|| tunnel.node.poll_event()).collect();
    assert!(!told.contains(&Event::IdentificationsRepeated), "{told:?}");
}

/// [`Minimal`] with unreachability detection.
#[derive(Clone, Copy, Debug)]
enum Detecting {}

impl Capacity for Detecting {
    type Locators = N<1>;
    type PotentialRouters = N<2>;
    type Prefixes = N<2>;
    type Routes = N<0>;
    type Neighbors = N<4>;
    type CheckedNeighbors = N<0>;
    type PathMtus = N<0>;
    type Solicitations = N<0>;
    type Answered = N<0>;
    type DnsServers = N<0>;
    type SearchDomains = N<0>;
    type Members = N<0>;
    type KnownRouters = N<0>;
    type Addresses = N<3>;
    type Identifications = N<0>;
    type Refusals = N<0>;
    type Tally = u16;
    type FullTable = ();
    const PARTS: Parts = Parts::empty();
}

/// `NDP-37 [RFC 4861 §6.3.6]`: a router that does not answer comes after others,
/// and is used where there is no other.
#[test]
fn ndp_37_without_a_route_table_a_silent_router_comes_last() {
    let mut node: AnyNode<Detecting, 1> = Node::new(NodeConfig::DEFAULT);
    node.add(AnyInterface::IsatapHost(HostInterface::new(HostConfig::DEFAULT)), Switches::DEFAULT).unwrap();
    node.with_interface(START, LINK, |interface, cx| {
        let AnyInterface::IsatapHost(host) = interface else { panic!() };
        host.set_locators(cx, &[v4(OWN).into()]).unwrap();
        host.add_router(cx, v4(ROUTER)).unwrap();
        host.add_router(cx, v4(SECOND)).unwrap();
    });
    let mut host = Told { node, addresses: BTreeSet::new(), mtu: 0, delegated: 0 };
    host.turn(START);
    let from = addr::address(&"2001:db8:0:7::/64".parse().unwrap(), v4(OWN)).unwrap();
    let packet = Inner::new(from, v6("2620:1::1")).bytes();
    let advertise = |host: &mut Told<Detecting>, now, router: &str| {
        let body = advertisement(1800, u32::MAX, 0xc0, 1280)[44..].to_vec();
        let (source, us) = (addr::link_local(v4(router)), addr::link_local(v4(OWN)));
        let packet = Inner::icmp(source, us, 134, 0, &body).hops(255).bytes();
        assert!(matches!(host.receive(now, &Outer::new(v4(router), v4(OWN)), &packet).0, Verdict::Consumed { .. }));
    };
    let answer = |host: &mut Told<Detecting>, now, router: &str| {
        let (source, us) = (addr::link_local(v4(router)), addr::link_local(v4(OWN)));
        // Router and Solicited.
        let body = [&[0xc0, 0, 0, 0][..], &source.octets()].concat();
        let packet = Inner::icmp(source, us, 136, 0, &body).hops(255).bytes();
        host.receive(now, &Outer::new(v4(router), v4(OWN)), &packet).0
    };
    advertise(&mut host, START, ROUTER);
    // The router that is listed first never answers, the other one does.
    let by = |host: &mut Told<Detecting>, second: u64, answers: bool| {
        let now = START + Duration::from_secs(second);
        host.turn(now);
        if answers {
            answer(host, now, SECOND);
        }
        match host.send(now, &packet).0 {
            Verdict::Tunnel { outer, .. } => outer.destination,
            other => panic!("{second}: {other:?}"),
        }
    };
    for second in 0..30 {
        assert_eq!(by(&mut host, second, false), v4(ROUTER), "{second}: no other");
    }
    advertise(&mut host, START + Duration::from_secs(30), SECOND);
    for second in 30..60 {
        assert_eq!(by(&mut host, second, true), v4(SECOND), "{second}");
    }
    advertise(&mut host, START + Duration::from_secs(60), ROUTER);
    assert_eq!(by(&mut host, 60, true), v4(ROUTER), "it speaks again");
}

/// `SEC-1`: the first host that solicits is asked once, and its answer counts.
#[test]
fn sec_1_the_first_question_is_not_asked_in_vain() {
    let us = "131.107.71.209";
    let mut node: AnyNode<Standard, 1> = Node::new(NodeConfig::DEFAULT);
    let router = AnyInterface::IsatapRouter(RouterInterface::new(RouterConfig::DEFAULT));
    node.add(router, Switches::FORWARDING).unwrap();
    node.with_interface(START, LINK, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { panic!() };
        router.set_locators(cx, &[v4(us).into()]).unwrap();
        router.publish(cx, PublishedPrefix::new("2001:db8:0:7::/64".parse().unwrap())).unwrap();
    });
    let mut router = Told { node, addresses: BTreeSet::new(), mtu: 0, delegated: 0 };
    router.turn(START);
    let (host, own) = (addr::link_local(v4(OWN)), addr::link_local(v4(us)));
    let outer = Outer::new(v4(OWN), v4(us));
    let ask = Inner::icmp(host, own, 133, 0, &[0; 4]).hops(255).bytes();
    assert!(matches!(router.receive(START, &outer, &ask).0, Verdict::Consumed { .. }));
    let mut now = START;
    while now < START + Duration::from_secs(1) {
        router.turn(now);
        let next = router.node.poll_timeout().unwrap();
        assert!(next > now, "still due");
        now = next;
    }
    // It was asked behind the advertisement.
    let address = addr::address(&"2001:db8:0:7::/64".parse().unwrap(), v4(OWN)).unwrap();
    let body = [&[0x40, 0, 0, 0][..], &address.octets()].concat();
    let answer = Inner::icmp(address, own, 136, 0, &body).hops(255).bytes();
    assert_eq!(router.receive(now, &outer, &answer).0, Verdict::Consumed { link: LINK });
}
