//! Nodes of mixed links under any order of calls: what must hold after each.
//!
//! No packet leaves for a place that is none; nothing enters that the
//! rules of no link let in, as [`crate::oracle`] reads them; deadlines move; no error is
//! about an error; whatever entered has one end.

use isatap_core::time::Duration;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::oracle::input::Input;
use crate::oracle::rules::{Rules, cut4, may_enter};
use crate::oracle::{links, packets};
use crate::support::*;
use isatap_core::datapath::{IngressFilter, Switches};
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{PublishedPrefix, ResolveFailure, Resolved};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer as OuterFields;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Instant;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    AddLink(u8),
    Send {
        inner: Inner,
        link: Option<u8>,
    },
    Receive(Vec<u8>),
    Forward(Vec<u8>),
    ForwardNative {
        inner: Inner,
        link: u8,
    },
    Icmpv4 {
        kind: u8,
        code: u8,
        mtu: u16,
        quote: Vec<u8>,
        keep: usize,
    },
    /// About the last packet that left.
    Icmpv4AboutOurs {
        kind: u8,
        code: u8,
        mtu: u16,
    },
    Timeout,
    /// Milliseconds on; negative: the clock goes back.
    Clock(i64),
    ToDeadline,
    Locators {
        link: u8,
        set: usize,
    },
    Publish {
        link: u8,
        prefix: usize,
    },
    Withdraw {
        link: u8,
        prefix: usize,
    },
    Resolved {
        link: u8,
        answer: usize,
    },
    Switch {
        link: u8,
        forwarding: bool,
        ingress: u8,
        loop_checks: bool,
    },
    Route {
        add: bool,
        prefix: usize,
        link: u8,
        next_hop: Option<Ipv6Addr>,
    },
    Reseed(u64),
    /// What only one kind of interface is told.
    Control {
        link: u8,
        what: u8,
    },
}

const LOCATORS: [&[&str]; 8] = [
    &[],
    &[SITE4],
    &[SITE4, "10.0.0.9"],
    &["131.107.0.1"],
    &["131.107.0.2"],
    &["10.0.0.2", "131.107.0.2"],
    &["127.0.0.1", "224.0.0.1", "10.0.0.2"],
    &[NEAR4],
];
const PREFIXES: [&str; 3] = [ISATAP_PREFIX, "2001:db8:bad::/64", "2001:db8:0:77::/64"];
const ROUTES: [&str; 5] = ["::/0", "2001:db8:f::/48", "2001:db8:aa::/48", "2002::/16", "2001:db8:0:8::2/128"];
const ANSWERS: [&[&str]; 5] =
    [&[], &[SITE4], &["10.0.0.4", "10.0.0.3"], &["127.0.0.1", "224.0.0.1", "0.0.0.0"], &[FAR4, SITE4]];

fn op() -> impl Strategy<Value = Op> {
    let link = 0_u8..5;
    let inner = crate::support::traffic::inner;
    // Of the site, or of all mechanisms.
    let outer = || {
        let bytes = prop::collection::vec(any::<u8>(), 0..200);
        let any_form = bytes.prop_map(|bytes| packets::outer(&mut Input::new(&bytes), &packets::WORLD));
        prop_oneof![crate::support::traffic::outer_packet(), any_form]
    };
    let next_hop = prop::option::of(prop::sample::select(crate::support::traffic::addresses()));
    prop_oneof![
        2 => (0..KINDS).prop_map(Op::AddLink),
        4 => (inner(), prop::option::of(link.clone())).prop_map(|(inner, link)| Op::Send { inner, link }),
        4 => outer().prop_map(Op::Receive),
        4 => outer().prop_map(Op::Forward),
        3 => (inner(), link.clone()).prop_map(|(inner, link)| Op::ForwardNative { inner, link }),
        1 => (prop::sample::select(vec![3_u8, 4, 5, 11, 12]), 0_u8..16, any::<u16>(), outer(), 0_usize..120)
            .prop_map(|(kind, code, mtu, quote, keep)| Op::Icmpv4 { kind, code, mtu, quote, keep }),
        1 => (prop::sample::select(vec![3_u8, 11]), 0_u8..6, prop_oneof![0_u16..100, 1200_u16..1500])
            .prop_map(|(kind, code, mtu)| Op::Icmpv4AboutOurs { kind, code, mtu }),
        3 => Just(Op::Timeout),
        2 => prop_oneof![0_i64..5000, -10_000_i64..0, Just(3_600_000), Just(-3_600_000), Just(315_360_000_000)].prop_map(Op::Clock),
        3 => Just(Op::ToDeadline),
        2 => (link.clone(), 0..LOCATORS.len()).prop_map(|(link, set)| Op::Locators { link, set }),
        1 => (link.clone(), 0..PREFIXES.len()).prop_map(|(link, prefix)| Op::Publish { link, prefix }),
        1 => (link.clone(), 0..PREFIXES.len()).prop_map(|(link, prefix)| Op::Withdraw { link, prefix }),
        1 => (link.clone(), 0..=ANSWERS.len() + 1).prop_map(|(link, answer)| Op::Resolved { link, answer }),
        1 => (link.clone(), any::<bool>(), 0_u8..3, any::<bool>())
            .prop_map(|(link, forwarding, ingress, loop_checks)| Op::Switch { link, forwarding, ingress, loop_checks }),
        1 => (any::<bool>(), 0..ROUTES.len(), link, next_hop)
            .prop_map(|(add, prefix, link, next_hop)| Op::Route { add, prefix, link, next_hop }),
        1 => any::<u64>().prop_map(Op::Reseed),
        2 => (0_u8..5, 0_u8..8).prop_map(|(link, what)| Op::Control { link, what }),
    ]
}

/// How many kinds of link there are.
const KINDS: u8 = 10;

/// A link of each kind, as it is added.
fn rules(kind: u8) -> Rules {
    let bits = |text: &str| v6(text).to_bits();
    let site = |text: &str| (v4(text).to_bits(), 24);
    let isatap = (bits("2001:db8:0:7::"), 64);
    let (own, relays) = (vec![packets::PUBLIC], vec![v4("131.107.9.1").to_bits()]);
    let domain = packets::WORLD.domain;
    match kind {
        0 => {
            let addresses = vec![(bits("2001:db8:0:9::1"), 64)];
            Rules::Configured { near: v4(NEAR4).to_bits(), far: v4(FAR4).to_bits(), addresses }
        }
        1 => Rules::Native { addresses: vec![(bits("2001:db8:0:8::1"), 64)] },
        2 => Rules::Isatap { own: vec![site(SITE4)], routers: Vec::new(), prefixes: vec![isatap], router: true },
        3 => {
            let routers = vec![v4(SITE4).to_bits()];
            Rules::Isatap { own: vec![site("10.0.0.9")], routers, prefixes: Vec::new(), router: false }
        }
        4 => Rules::SixToFourSite { own, relays, strangers: false },
        5 => Rules::SixToFourRelay { own, clients: Vec::new(), strangers: true, anycast: false },
        6 => Rules::SixRdEdge { own: packets::PUBLIC, domain, relays, strict: false },
        7 => Rules::SixRdRelay { own: packets::PUBLIC, domain, routers: Vec::new() },
        8 => Rules::Compatible { own },
        _ => Rules::Lan { link_local: bits("fe80::200:ff:fe00:1"), subnet: 5, prefixes: Vec::new() },
    }
}

struct Trial {
    node: Any,
    /// What the test itself knows of each link: what it lets in at most.
    known: Vec<Rules>,
    now: Instant,
    latest: Instant,
    last_sent: Option<Vec<u8>>,
}

/// 0/8, 127/8, 224/4 and 240/4, by the first byte.
fn can_be_a_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

/// The first address of a prefix.
fn cut(address: Ipv6Addr, length: u8) -> Ipv6Addr {
    Ipv6Prefix::new(address, length).unwrap().address()
}

fn source_of(packet: &[u8]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[8..24]);
    octets.into()
}

impl Trial {
    /// It leaves from an address of ours for one that can be another node's.
    fn check_outer(&mut self, link: LinkId, outer: &OuterFields, packet: &[u8]) {
        let sent = seen(packet);
        assert_eq!((sent.source, sent.destination), (outer.source, outer.destination));
        assert!(can_be_a_host(sent.destination) && sent.destination != Ipv4Addr::BROADCAST, "{sent:?}");
        let (known, from, to) = (&self.known[link.index()], sent.source.to_bits(), sent.destination.to_bits());
        assert!(known.may_send(from, to), "{sent:?} by {known:?}");
        assert!(!sent.dont_fragment || packet.len() <= 1500);
        self.last_sent = Some(packet.to_vec());
    }

    /// What must hold of a verdict; `outer`: the packet as it came.
    fn check(&mut self, verdict: Verdict, outer: Option<&[u8]>, packet: &[u8]) {
        if let (Some(outer), Verdict::Deliver { .. } | Verdict::Tunnel { .. } | Verdict::Native { .. }) =
            (outer, verdict)
        {
            assert!(may_enter(&self.known, outer), "{verdict:?} of {outer:02x?} with {:?}", self.known);
        }
        match verdict {
            Verdict::Tunnel { link, outer } => self.check_outer(link, &outer, packet),
            Verdict::Native { link, .. } => assert!(self.known[link.index()].is_native()),
            Verdict::Answer { via, .. } => {
                if outer.is_some_and(|outer| !may_enter(&self.known, outer)) {
                    panic!("SEC-11: an answer to a packet that may not enter");
                }
                match via {
                    Via::Tunnel { link, outer } => {
                        self.check_outer(link, &outer, packet);
                        check_answer(&packet[20..]);
                    }
                    _ => check_answer(packet),
                }
            }
            Verdict::Punt { .. } => panic!("the owner has nobody to punt to"),
            _ => {}
        }
    }

    /// Takes what is to be sent and told; whether a LAN was delegated a prefix, or lost one.
    fn drain(&mut self) -> bool {
        let mut delegated = false;
        for n in 0.. {
            let mut buffer = [0; HEADROOM + 1500];
            let mut packet = PacketMut::empty(&mut buffer);
            let Some(transmit) = self.node.poll_transmit(&mut packet).unwrap() else { break };
            if let Some(outer) = transmit.outer {
                outer.push(&mut packet).unwrap();
                self.check_outer(transmit.link, &outer, packet.as_slice());
            }
            assert!(n < 1000, "packets without end");
        }
        for n in 0.. {
            let Some(event) = self.node.poll_event() else { break };
            // As a program does it.
            if let Event::Delegation { link, change, delegation } = event {
                delegated = true;
                let _ = self.node.delegate(self.now, link, change, delegation);
            }
            assert!(n < 1000, "events without end");
        }
        delegated
    }

    fn timeout(&mut self) {
        let poll = |this: &mut Self| {
            this.node.handle_timeout(this.now, &mut |out: &mut [u8]| out.fill(0x5a));
            this.wakes_for_output();
            this.drain()
        };
        // What a LAN is delegated while it is drained may be advertised at once.
        if poll(self) {
            poll(self);
        }
        if let Some(deadline) = self.node.poll_timeout() {
            assert!(deadline > self.latest, "a deadline at {deadline} survived {}", self.latest);
        }
    }

    /// Who forgets to take what waits wakes at once.
    fn wakes_for_output(&self) {
        let mut node = self.node.clone();
        let wakes = |node: &Any| node.poll_timeout().is_some_and(|deadline| deadline <= self.latest);
        let woke = wakes(&node);
        let left: Vec<_> = std::iter::from_fn(|| node.poll_event()).collect();
        assert!(left.is_empty() || woke, "{left:?} at {}, {:?}", self.latest, self.node.poll_timeout());
        let woke = wakes(&node);
        let mut buffer = [0; HEADROOM + 1500];
        assert!(node.poll_transmit(&mut PacketMut::empty(&mut buffer)).unwrap().is_none() || woke);
    }

    /// Whose an address is, the datapath says in one look, and each link for itself.
    fn knows_its_own(&self) {
        let datapath = self.node.datapath();
        let links = || datapath.by_precedence().map(|(id, port)| (id, port.interface.link()));
        let toward = [v6("2001:db8:ffff::1"), v6("fe80::1"), v6("2002:c000:201::1"), v6("2001:db8:0:7::5efe:10.0.0.4")];
        let own = links().flat_map(|(_, link)| toward.iter().filter_map(|to| link.source_for(to)).collect::<Vec<_>>());
        let of_prefixes = |own: Ipv6Addr| [own, cut(own, 64), cut(own, 48), cut(own, 40)];
        for address in own.flat_map(of_prefixes).chain(crate::support::traffic::addresses()) {
            let is_on_every_link = !Ipv6Prefix::LINK_LOCAL.contains(&address);
            for (on, _) in links() {
                let is_own = links().any(|(id, link)| (is_on_every_link || id == on) && link.is_local(&address));
                assert_eq!(datapath.is_local(on, &address), is_own, "{address} on {on:?}");
            }
        }
    }

    fn add_link(&mut self, kind: u8) {
        if self.known.len() == 4 {
            return;
        }
        let mut known = rules(kind);
        let (link, added) = links::add(&mut self.node, NOW, &known, Switches::FORWARDING);
        added.unwrap();
        match &mut known {
            Rules::Native { .. } => route_on_link(&mut self.node, LAN_PREFIX, link),
            // Whatever is published, or advertised to it.
            Rules::Isatap { prefixes, .. } => prefixes.extend(PREFIXES.map(|prefix| {
                let prefix: Ipv6Prefix = prefix.parse().unwrap();
                (prefix.address().to_bits(), prefix.length())
            })),
            _ => {}
        }
        self.known.push(known);
        // Some kinds were told the time, with their addresses.
        self.node.with_interface(self.now, link, |_, _| ());
    }

    fn set_locators(&mut self, link: u8, set: usize) {
        // All share one subnet length, so that broadcast addresses are known.
        let told: Vec<(u32, u8)> = LOCATORS[set].iter().map(|text| (v4(text).to_bits(), 24)).collect();
        links::relocate(&mut self.node, self.now, LinkId(link), &told).unwrap();
        if let Some(known) = self.known.get_mut(usize::from(link)) {
            known.relocate(&told);
        }
    }

    /// What only one kind of interface is told.
    fn control(&mut self, link: u8, what: u8) {
        let domain = packets::WORLD.domain;
        let relay = v4("131.107.9.1");
        let mut moved = None;
        self.node.with_interface(self.now, LinkId(link), |interface, cx| match interface {
            AnyInterface::SixToFourRouter(router) => {
                let addresses = [v4("127.0.0.1"), relay];
                match what {
                    0 | 1 => router.set_native(cx, what == 1).unwrap(),
                    2 => router.relay_resolved(cx, &[], None).unwrap(),
                    _ => router.relay_resolved(cx, &addresses, Some(Duration::from_secs(u64::from(what)))).unwrap(),
                }
            }
            AnyInterface::SixRdEdge(edge) => match what {
                0 | 1 => edge.set_enabled(cx, what == 1).unwrap(),
                2 | 3 => edge.probe_relay(cx.now),
                _ => {
                    let mask = 8 + what;
                    let answer = edge.configure(cx, links::net6(domain.prefix), mask, [relay].into_iter());
                    // 40 bits of prefix leave room for 24 of an IPv4 address.
                    answer.unwrap();
                    moved = Some(mask);
                }
            },
            AnyInterface::Lan(lan) => match what {
                0 => lan.start(cx.now),
                1 => lan.stop(cx.now),
                _ => lan.publish(cx, PREFIXES[usize::from(what) % PREFIXES.len()].parse().unwrap()).unwrap(),
            },
            _ => {}
        });
        if let (Some(mask), Some(Rules::SixRdEdge { own, domain, .. })) = (moved, self.known.get_mut(usize::from(link)))
        {
            domain.common = (cut4(own.0, mask), mask);
        }
    }

    fn resolved(&mut self, link: u8, answer: usize) {
        let addresses: Vec<Ipv4Addr> =
            ANSWERS.get(answer).map(|texts| texts.iter().map(|text| v4(text)).collect()).unwrap_or_default();
        let result = match ANSWERS.get(answer) {
            Some(_) => Ok(Resolved { addresses: &addresses, ttl: Some(Duration::from_secs(60)) }),
            None if answer == ANSWERS.len() => Err(ResolveFailure::NoSuchName),
            None => Err(ResolveFailure::Unavailable),
        };
        let is_host = self.node.with_interface(self.now, LinkId(link), |interface, cx| {
            let AnyInterface::IsatapHost(host) = interface else { return false };
            let _ = host.routers_resolved(cx, result);
            true
        });
        if is_host == Some(true)
            && let Some(Rules::Isatap { routers, .. }) = self.known.get_mut(usize::from(link))
        {
            // More than is listed may be allowed here, never less.
            routers.extend(addresses.iter().map(|address| address.to_bits()));
        }
    }

    fn apply(&mut self, op: &Op) {
        let now = self.now;
        match op {
            Op::AddLink(kind) => self.add_link(*kind),
            Op::Send { inner, link } => {
                let (verdict, packet) = with(&inner.bytes(), |packet| {
                    packet.set_link(link.map(LinkId));
                    self.node.encapsulate(now, packet)
                });
                self.check(verdict, None, &packet);
            }
            Op::Receive(outer) => {
                let (verdict, packet) = with(outer, |packet| self.node.decapsulate_ipv4(now, packet));
                self.check(verdict, Some(outer), &packet);
            }
            Op::Forward(outer) => {
                let (verdict, packet) = with(outer, |packet| forward_ipv4(&mut self.node, now, packet));
                self.check(verdict, Some(outer), &packet);
            }
            Op::ForwardNative { inner, link } => {
                let (verdict, packet) =
                    with(&inner.bytes(), |packet| self.node.forward_native(now, LinkId(*link), packet));
                self.check(verdict, None, &packet);
            }
            Op::Icmpv4 { kind, code, mtu, quote, keep } => {
                let [a, b] = mtu.to_be_bytes();
                let message = icmpv4(*kind, *code, [0, 0, a, b], &quote[..quote.len().min(*keep)]);
                let (verdict, packet) = with(&message, |packet| self.node.handle_icmpv4(now, packet));
                self.check(verdict, None, &packet);
            }
            Op::Icmpv4AboutOurs { kind, code, mtu } => {
                let Some(quote) = self.last_sent.clone() else { return };
                let [a, b] = mtu.to_be_bytes();
                let message = icmpv4(*kind, *code, [0, 0, a, b], &quote);
                let (verdict, packet) = with(&message, |packet| self.node.handle_icmpv4(now, packet));
                self.check(verdict, None, &packet);
            }
            Op::Timeout => self.timeout(),
            Op::Clock(millis) => {
                let millis_now = i64::try_from(now.micros() / 1000).unwrap();
                self.now = Instant::from_millis(u64::try_from(millis_now.saturating_add(*millis)).unwrap_or(0));
            }
            Op::ToDeadline => {
                let _ = self.drain();
                if let Some(deadline) = self.node.poll_timeout() {
                    self.now = self.now.max(deadline);
                    self.latest = self.latest.max(self.now);
                    self.timeout();
                }
            }
            Op::Locators { link, set } => self.set_locators(*link, *set),
            Op::Publish { link, prefix } | Op::Withdraw { link, prefix } => {
                let prefix = PREFIXES[*prefix].parse().unwrap();
                self.node.with_interface(now, LinkId(*link), |interface, cx| {
                    let AnyInterface::IsatapRouter(router) = interface else { return };
                    if matches!(op, Op::Publish { .. }) {
                        let _ = router.publish(cx, PublishedPrefix::new(prefix));
                    } else {
                        router.withdraw(cx, &prefix);
                    }
                });
            }
            Op::Resolved { link, answer } => self.resolved(*link, *answer),
            Op::Switch { link, forwarding, ingress, loop_checks } => {
                if let Some(switches) = self.node.switches_mut(LinkId(*link)) {
                    switches.forwarding = *forwarding;
                    switches.loop_checks = *loop_checks;
                    switches.ingress =
                        [IngressFilter::Off, IngressFilter::Site, IngressFilter::Strict][usize::from(*ingress)];
                }
            }
            Op::Route { add, prefix, link, next_hop } => {
                let prefix = ROUTES[*prefix].parse().unwrap();
                let route = match next_hop {
                    Some(next_hop) => Route::via(prefix, LinkId(*link), *next_hop, Origin::Manual),
                    None => Route::on_link(prefix, LinkId(*link), Origin::Manual),
                };
                if *add {
                    let _ = self.node.insert_route(route);
                } else {
                    self.node.remove_route(&route.key());
                }
            }
            Op::Reseed(seed) => self.node.reseed([*seed, 1]),
            Op::Control { link, what } => self.control(*link, *what),
        }
    }
}

/// Of an ICMPv6 error, what it is about.
fn check_answer(packet: &[u8]) {
    assert_eq!(packet[6], 58, "answers are ICMPv6");
    assert!(packet.len() <= 1280);
    let sum = checksum(&[
        &packet[8..40],
        &u32::try_from(packet.len() - 40).unwrap().to_be_bytes(),
        &[0, 0, 0, 58],
        &packet[40..],
    ]);
    assert_eq!(sum, 0, "ICMPv6 checksum");
    let kind = packet[40];
    if kind >= 128 {
        assert!(kind == 129 || kind == 136, "{kind}");
        return;
    }
    let culprit = &packet[48..];
    let source = source_of(culprit);
    assert!(!source.is_unspecified() && !source.is_multicast(), "{source}");
    assert!(culprit[24] != 0xff || kind == 2, "about a group");
    // A culprit without extension headers shows its type.
    if culprit[6] == 58 {
        assert!(culprit[40] >= 128 && culprit[40] != 137, "an error about an error");
    }
    // It goes to who sent the culprit.
    assert_eq!(packet[24..40], culprit[8..24]);
    if kind == 2 {
        assert!(u32::from_be_bytes([packet[44], packet[45], packet[46], packet[47]]) >= 1280);
    }
}

fn route_on_link(node: &mut Any, prefix: &str, link: LinkId) {
    node.insert_route(Route::on_link(prefix.parse().unwrap(), link, Origin::Manual)).unwrap();
}

fn run(answer_echo: bool, ops: &[Op]) {
    let mut config = NodeConfig::DEFAULT;
    config.answer_echo = answer_echo;
    let mut trial = Trial { node: Any::new(config), known: Vec::new(), now: NOW, latest: NOW, last_sent: None };
    for op in ops {
        let tells_the_time = match op {
            Op::Clock(_) | Op::Route { .. } | Op::Switch { .. } | Op::Reseed(_) => false,
            // Tells it itself, if there is a deadline.
            Op::ToDeadline => false,
            Op::Icmpv4AboutOurs { .. } => trial.last_sent.is_some(),
            _ => true,
        };
        if tells_the_time {
            trial.latest = trial.latest.max(trial.now);
        }
        trial.apply(op);
        balanced(&trial.node);
        trial.wakes_for_output();
        trial.knows_its_own();
    }
    trial.latest = trial.latest.max(trial.now);
    trial.timeout();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_called_in_whatever_order(
        answer_echo: bool,
        links in prop::collection::vec(0..KINDS, 0..4),
        ops in prop::collection::vec(op(), 1..60),
    ) {
        let ops: Vec<Op> = links.into_iter().map(Op::AddLink).chain(ops).collect();
        run(answer_echo, &ops);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// The same for longer, before a release.
    #[test]
    #[ignore = "minutes: .ci/run release"]
    fn whatever_is_called_in_whatever_order_for_longer(
        answer_echo: bool,
        links in prop::collection::vec(0..KINDS, 0..4),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let ops: Vec<Op> = links.into_iter().map(Op::AddLink).chain(ops).collect();
        run(answer_echo, &ops);
    }
}
