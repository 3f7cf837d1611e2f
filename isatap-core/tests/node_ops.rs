//! Nodes of mixed links under any order of calls: what must hold after each.
//!
//! `I3` no packet leaves for a place that is none; `I4` nothing enters that a
//! rule written here, not there, refuses; `I7` deadlines move; `I12` no error
//! about an error; `I14` whatever entered has one end.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    unreachable_pub
)]

mod support;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::datapath::{IngressFilter, Switches};
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::isatap::{Answer, PublishedPrefix, ResolveFailure};
use isatap_core::link::Locator;
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer as OuterFields;
use isatap_core::route::{Origin, Route};
use isatap_core::time::Instant;
use proptest::prelude::*;
use support::*;

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
}

const LOCATORS: [&[&str]; 6] =
    [&[], &[SITE4], &[SITE4, "10.0.0.9"], &["131.107.0.1"], &["127.0.0.1", "224.0.0.1", "10.0.0.2"], &[NEAR4]];
const PREFIXES: [&str; 3] = [ISATAP_PREFIX, "2001:db8:bad::/64", "2001:db8:0:77::/64"];
const ROUTES: [&str; 5] = ["::/0", "2001:db8:f::/48", "2001:db8:aa::/48", "2002::/16", "2001:db8:0:8::2/128"];
const ANSWERS: [&[&str]; 5] =
    [&[], &[SITE4], &["10.0.0.4", "10.0.0.3"], &["127.0.0.1", "224.0.0.1", "0.0.0.0"], &[FAR4, SITE4]];

fn op() -> impl Strategy<Value = Op> {
    let link = 0_u8..5;
    let inner = support::traffic::inner;
    let outer = support::traffic::outer_packet;
    let next_hop = prop::option::of(prop::sample::select(support::traffic::addresses()));
    prop_oneof![
        2 => (0_u8..4).prop_map(Op::AddLink),
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
    ]
}

/// What the test itself knows of a link.
#[derive(Clone, Debug)]
enum Known {
    Tunnel,
    Lan,
    Isatap { locators: Vec<Ipv4Addr>, routers: Vec<Ipv4Addr> },
}

struct Trial {
    node: Any,
    known: Vec<Known>,
    now: Instant,
    latest: Instant,
    last_sent: Option<Vec<u8>>,
}

/// 0/8, 127/8, 224/4 and 240/4, by the first byte.
fn can_be_a_host(address: Ipv4Addr) -> bool {
    let first = address.octets()[0];
    first != 0 && first != 127 && first < 224
}

fn source_of(packet: &[u8]) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[8..24]);
    octets.into()
}

impl Trial {
    /// `I3`.
    fn check_outer(&mut self, link: LinkId, outer: &OuterFields, packet: &[u8]) {
        let sent = seen(packet);
        assert_eq!((sent.source, sent.destination), (outer.source, outer.destination));
        assert!(can_be_a_host(sent.destination) && sent.destination != Ipv4Addr::BROADCAST, "{sent:?}");
        match &self.known[link.index()] {
            Known::Tunnel => assert_eq!((sent.source, sent.destination), (v4(NEAR4), v4(FAR4))),
            Known::Isatap { locators, .. } => {
                assert!(locators.contains(&sent.source), "{:?} has {locators:?}", sent.source);
                assert!(!locators.contains(&sent.destination), "to itself: {sent:?}");
                for locator in locators {
                    let [a, b, c, _] = locator.octets();
                    assert_ne!(sent.destination, Ipv4Addr::new(a, b, c, 255), "directed broadcast");
                }
            }
            Known::Lan => panic!("a LAN needs no outer header"),
        }
        assert!(!sent.dont_fragment || packet.len() <= 1500);
        self.last_sent = Some(packet.to_vec());
    }

    /// `I4`: some link lets this packet in, by rules that are not the code's.
    fn may_enter(&self, outer: &[u8]) -> bool {
        let address = |at: usize| Ipv4Addr::new(outer[at], outer[at + 1], outer[at + 2], outer[at + 3]);
        let (from, to) = (address(12), address(16));
        let inner = &outer[20..];
        let source = source_of(inner);
        let octets = source.octets();
        let is_isatap = octets[9..12] == [0, 0x5e, 0xfe] && octets[8] & 0xfd == 0;
        let embeds = is_isatap && octets[12..] == from.octets();
        let is_sane = !source.is_multicast()
            && source != Ipv6Addr::LOCALHOST
            && (octets[..12] != [0; 12] || source.is_unspecified())
            && octets[..12] != [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
        let on_some_prefix = octets[..8] == [0xfe, 0x80, 0, 0, 0, 0, 0, 0]
            || PREFIXES.iter().any(|prefix| prefix.parse::<Ipv6Prefix>().unwrap().contains(&source));
        is_sane
            && can_be_a_host(from)
            && self.known.iter().any(|known| match known {
                Known::Tunnel => (from, to) == (v4(FAR4), v4(NEAR4)),
                Known::Lan => false,
                Known::Isatap { locators, routers } => {
                    locators.contains(&to)
                        && !source.is_unspecified()
                        && (routers.contains(&from) || (embeds && on_some_prefix))
                }
            })
    }

    /// What must hold of a verdict; `outer`: the packet as it came.
    fn check(&mut self, verdict: Verdict, outer: Option<&[u8]>, packet: &[u8]) {
        if let (Some(outer), Verdict::Deliver { .. } | Verdict::Tunnel { .. } | Verdict::Native { .. }) =
            (outer, verdict)
        {
            assert!(self.may_enter(outer), "{verdict:?} of {outer:02x?} with {:?}", self.known);
        }
        match verdict {
            Verdict::Tunnel { link, outer } => self.check_outer(link, &outer, packet),
            Verdict::Native { link, .. } => assert!(matches!(self.known[link.index()], Known::Lan)),
            Verdict::Answer { via, .. } => {
                if outer.is_some_and(|outer| !self.may_enter(outer)) {
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

    fn drain(&mut self) {
        for n in 0.. {
            let mut buffer = [0; HEADROOM + 1500];
            let mut packet = PacketMut::empty(&mut buffer);
            let Some(transmit) = self.node.poll_transmit(&mut packet).unwrap() else { break };
            let bytes = packet.as_slice().to_vec();
            if let Some(outer) = transmit.outer {
                self.check_outer(transmit.link, &outer, &bytes);
            }
            assert!(n < 1000, "packets without end");
        }
        for n in 0.. {
            if self.node.poll_event().is_none() {
                break;
            }
            assert!(n < 1000, "events without end");
        }
    }

    fn timeout(&mut self) {
        self.node.handle_timeout(self.now, &mut |out: &mut [u8]| out.fill(0x5a));
        self.drain();
        if let Some(deadline) = self.node.poll_timeout() {
            assert!(deadline > self.latest, "I7: a deadline at {deadline} survived {}", self.latest);
        }
    }

    fn add_link(&mut self, kind: u8) {
        if self.known.len() == 4 {
            return;
        }
        let switches = Switches::FORWARDING;
        let isatap = |is_router| Known::Isatap {
            locators: vec![v4(if is_router { SITE4 } else { "10.0.0.9" })],
            routers: if is_router { Vec::new() } else { vec![v4(SITE4)] },
        };
        let node = &mut self.node;
        let known = match kind {
            0 => {
                add_tunnel(node, NEAR4, FAR4, "2001:db8:0:9::1", switches);
                Known::Tunnel
            }
            1 => {
                add_lan(node, "2001:db8:0:8::1", switches);
                Known::Lan
            }
            2 => {
                add_router(node, SITE4, ISATAP_PREFIX, switches);
                isatap(true)
            }
            _ => {
                add_host(node, "10.0.0.9", SITE4, switches);
                isatap(false)
            }
        };
        self.known.push(known);
    }

    fn set_locators(&mut self, link: u8, set: usize) {
        let now = self.now;
        // All share one subnet length, so that broadcast addresses are known.
        let wanted: Vec<Locator> =
            LOCATORS[set].iter().map(|text| Locator { address: v4(text), subnet_length: 24 }).collect();
        self.node.with_interface(now, LinkId(link), |interface, cx| match interface {
            AnyInterface::IsatapHost(host) => drop(host.set_locators(cx, &wanted)),
            AnyInterface::IsatapRouter(router) => drop(router.set_locators(cx, &wanted)),
            _ => {}
        });
        if let Some(Known::Isatap { locators, .. }) = self.known.get_mut(usize::from(link)) {
            *locators =
                wanted.iter().map(|locator| locator.address).filter(|address| can_be_a_host(*address)).collect();
        }
    }

    fn resolved(&mut self, link: u8, answer: usize) {
        let addresses: Vec<Ipv4Addr> =
            ANSWERS.get(answer).map(|texts| texts.iter().map(|text| v4(text)).collect()).unwrap_or_default();
        let result = match ANSWERS.get(answer) {
            Some(_) => Ok(Answer { addresses: &addresses, ttl: Some(Duration::from_secs(60)) }),
            None if answer == ANSWERS.len() => Err(ResolveFailure::NoSuchName),
            None => Err(ResolveFailure::Unavailable),
        };
        let is_host = self.node.with_interface(self.now, LinkId(link), |interface, cx| {
            let AnyInterface::IsatapHost(host) = interface else { return false };
            let _ = host.routers_resolved(cx, result);
            true
        });
        if is_host == Some(true)
            && let Some(Known::Isatap { routers, .. }) = self.known.get_mut(usize::from(link))
        {
            // More than is listed may be allowed here, never less.
            routers.extend(addresses);
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
                let (verdict, packet) = with(outer, |packet| self.node.decapsulate(now, packet));
                self.check(verdict, Some(outer), &packet);
            }
            Op::Forward(outer) => {
                let (verdict, packet) = with(outer, |packet| self.node.forward(now, packet));
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
                self.drain();
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
        }
    }
}

/// `I12`: of an ICMPv6 error, what it is about.
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

fn run(answer_echo: bool, ops: &[Op]) {
    let mut config = NodeConfig::DEFAULT;
    config.answer_echo = answer_echo;
    let mut trial = Trial { node: Any::new(config), known: Vec::new(), now: NOW, latest: NOW, last_sent: None };
    for op in ops {
        let tells_the_time = match op {
            Op::Clock(_) | Op::AddLink(_) | Op::Route { .. } | Op::Switch { .. } | Op::Reseed(_) => false,
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
    }
    trial.latest = trial.latest.max(trial.now);
    trial.timeout();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn whatever_is_called_in_whatever_order(
        answer_echo: bool,
        links in prop::collection::vec(0_u8..4, 0..4),
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
        links in prop::collection::vec(0_u8..4, 0..4),
        ops in prop::collection::vec(op(), 1..200),
    ) {
        let ops: Vec<Op> = links.into_iter().map(Op::AddLink).chain(ops).collect();
        run(answer_echo, &ops);
    }
}
