//! Packets that would go round.

use std::collections::HashSet;

use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::Verdict;
use isatap_core::interface::Interface as _;
use isatap_core::link::NativeLink;
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::sixrd::{self, Domain};

use crate::support::*;

const PUBLIC4: &str = "131.107.71.209";

/// Every way in which an address can hide this IPv4 address, behind a prefix
/// that is nobody's here.
fn forms(ipv4: &str) -> Vec<std::net::Ipv6Addr> {
    let [a, b, c, d] = v4(ipv4).octets();
    let sixtofour = format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1");
    let teredo = format!("2001:0:4136:e378:8000:63bf:{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d);
    vec![
        isatap6("2001:db8:bad::", ipv4),
        v6(&format!("2001:db8:bad::200:5efe:{ipv4}")),
        v6(&sixtofour),
        v6(&teredo),
        v6(&format!("::{ipv4}")),
    ]
}

#[test]
fn tun_20_sec_3_a_destination_that_another_tunnel_would_send_to_us_is_not_let_in() {
    let mut border = border_of(NodeConfig::DEFAULT, PUBLIC4);
    let looping = Verdict::Drop(DropReason::LoopDestination);
    for own in [PUBLIC4, NEAR4] {
        for destination in forms(own) {
            let inner = Inner::new(v6("2001:db8:f::1"), destination);
            assert_eq!(forward(&mut border.node, &inner.from(FAR4, NEAR4)).0, looping, "{destination}");
            assert_eq!(receive(&mut border.node, &inner.from(FAR4, NEAR4)).0, looping, "also for a kernel to forward");
            let inner = Inner::new(site6("131.107.0.3"), destination);
            assert_eq!(forward(&mut border.node, &inner.from("131.107.0.3", PUBLIC4)).0, looping, "{destination}");
        }
    }
    // On-link it is one of ours or a neighbour: no loop.
    let own = Inner::new(v6("2001:db8:f::1"), site6(PUBLIC4));
    assert!(matches!(receive(&mut border.node, &own.from(FAR4, NEAR4)).0, Verdict::Drop(_) | Verdict::Deliver { .. }));
    for destination in forms("131.107.71.210") {
        let inner = Inner::new(v6("2001:db8:f::1"), destination);
        let (verdict, _) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
        assert!(matches!(verdict, Verdict::Native { .. }), "{destination}: somebody else's: {verdict:?}");
    }
    // The knob.
    border.node.switches_mut(border.tunnel).unwrap().loop_checks = false;
    let inner = Inner::new(v6("2001:db8:f::1"), forms(PUBLIC4)[0]);
    assert!(matches!(forward(&mut border.node, &inner.from(FAR4, NEAR4)).0, Verdict::Native { .. }));
    balanced(&border.node);
}

/// Only links that have such a prefix are asked, and another interface may stand
/// where one stood.
#[test]
fn sec_3_our_prefix_in_a_6rd_domain_counts_as_long_as_its_link_is_there() {
    let mut border = border_of(NodeConfig::DEFAULT, PUBLIC4);
    let link = border.node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).unwrap();
    // 131.107.71.209 without its first 16 bits, behind the domain's 40.
    let inner = Inner::new(v6("2001:db8:f::1"), v6("2001:db8:6047:d100::77"));
    let is_loop = |border: &mut Border| {
        forward(&mut border.node, &inner.from(FAR4, NEAR4)).0 == Verdict::Drop(DropReason::LoopDestination)
    };
    assert!(!is_loop(&mut border));
    border.node.with_interface(NOW, link, |interface, cx| {
        let domain = Domain::new("2001:db8:6000::/40".parse().unwrap(), "131.107.0.0/16".parse().unwrap()).unwrap();
        let mut relay = sixrd::RelayInterface::new(sixrd::RelayConfig::new(domain));
        relay.set_locators(cx, &locators(&[PUBLIC4])).unwrap();
        *interface = AnyInterface::SixRdRelay(relay);
    });
    assert!(is_loop(&mut border));
    border.node.remove(link);
    assert!(!is_loop(&mut border));
}

#[test]
fn sec_3_a_source_that_another_tunnel_would_map_to_us_does_not_enter_a_tunnel() {
    let mut border = border_of(NodeConfig::DEFAULT, PUBLIC4);
    let looping = Verdict::Drop(DropReason::LoopSource);
    for own in [PUBLIC4, NEAR4] {
        for source in forms(own) {
            for destination in [site6("131.107.0.3"), v6("2001:db8:f::1")] {
                let inner = Inner::new(source, destination);
                assert_eq!(forward_native(&mut border.node, border.lan, &inner).0, looping, "{source}");
                assert_eq!(send(&mut border.node, &inner).0, looping, "{source}");
            }
            // Out of a native link it may go.
            let inner = Inner::new(source, v6("2001:db8::1"));
            assert!(matches!(send(&mut border.node, &inner).0, Verdict::Native { .. }), "{source}");
        }
    }
    for source in forms("131.107.71.210") {
        let inner = Inner::new(source, v6("2001:db8:f::1"));
        assert!(matches!(send(&mut border.node, &inner).0, Verdict::Tunnel { .. }), "{source}");
    }
    let own = Inner::new(site6(PUBLIC4), v6("2001:db8:f::1"));
    assert!(matches!(send(&mut border.node, &own).0, Verdict::Tunnel { .. }), "our own address is no loop");
    balanced(&border.node);
}

/// The other forms have the same prefix everywhere, and no private addresses
/// but those of a lab: what embeds ours means us.
#[test]
fn sec_3_private_addresses_count_where_only_one_network_can_have_them() {
    let private = "10.0.0.1";
    let mut border = border_of(NodeConfig::DEFAULT, private);
    for form in &forms(private)[2..] {
        let coming = Inner::new(v6("2001:db8:f::1"), *form).from(FAR4, NEAR4);
        assert_eq!(forward(&mut border.node, &coming).0, Verdict::Drop(DropReason::LoopDestination), "{form}");
        let going = Inner::new(*form, v6("2001:db8:f::1"));
        assert_eq!(send(&mut border.node, &going).0, Verdict::Drop(DropReason::LoopSource), "{form}");
    }
    for form in &forms("10.0.0.2")[2..] {
        let coming = Inner::new(v6("2001:db8:f::1"), *form).from(FAR4, NEAR4);
        assert!(matches!(forward(&mut border.node, &coming).0, Verdict::Native { .. }), "{form}: somebody else's");
    }
}

#[test]
fn sec_3_private_addresses_count_only_behind_a_known_prefix() {
    for private in ["10.0.0.1", "172.16.9.1", "192.168.1.1", "100.64.0.1", "169.254.7.1"] {
        let mut border = border_of(NodeConfig::DEFAULT, private);
        let coming = Inner::new(v6("2001:db8:f::1"), isatap6("2001:db8:bad::", private)).from(FAR4, NEAR4);
        let going = Inner::new(isatap6("2001:db8:bad::", private), v6("2001:db8:f::1"));
        assert!(matches!(forward(&mut border.node, &coming).0, Verdict::Native { .. }), "{private} may be anybody's");
        assert!(matches!(send(&mut border.node, &going).0, Verdict::Tunnel { .. }), "{private} may be anybody's");
        border.node.add_known_prefix("2001:db8:bad::/48".parse().unwrap()).unwrap();
        assert_eq!(forward(&mut border.node, &coming).0, Verdict::Drop(DropReason::LoopDestination), "{private}");
        assert_eq!(send(&mut border.node, &going).0, Verdict::Drop(DropReason::LoopSource), "{private}");
        let other = Inner::new(isatap6("2001:db8:0bad::", "10.0.0.99"), v6("2001:db8:f::1"));
        assert!(matches!(send(&mut border.node, &other).0, Verdict::Tunnel { .. }));
    }
}

#[test]
fn sec_5_never_back_to_the_outer_source_and_each_hop_counts() {
    let mut border = border();
    // A host asks the router to carry a packet to an address of its own.
    let host = "10.0.0.3";
    let back = Inner::new(site6(host), v6("2001:db8:0:7:200:5efe:10.0.0.3")).from(host, SITE4);
    assert_eq!(forward(&mut border.node, &back).0, Verdict::Drop(DropReason::BackToSender));
    // To another host, by the same link: one hop.
    let across = Inner::new(site6(host), site6("10.0.0.4"));
    let (verdict, bytes) = forward(&mut border.node, &across.from(host, SITE4));
    assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == border.isatap));
    let sent = seen(&bytes);
    assert_eq!((sent.source, sent.destination), (v4(SITE4), v4("10.0.0.4")));
    assert_eq!(sent.inner, across.clone().hops(63).bytes());
    // Tunnel to tunnel: one hop, until there is none.
    for hop_limit in [2, 1, 0] {
        let packet = Inner::new(site6(host), v6("2001:db8:f::1")).hops(hop_limit);
        let (verdict, bytes) = forward(&mut border.node, &packet.from(host, SITE4));
        if hop_limit == 2 {
            assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == border.tunnel));
            assert_eq!(seen(&bytes).inner, packet.hops(1).bytes());
        } else {
            assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::HopLimit), .. }), "{verdict:?}");
        }
    }
    balanced(&border.node);
}

/// Three ISATAP routers on one LAN, each with routes to the others' prefixes;
/// everything else leaves by a gateway. Without tunnels no packet can go
/// round.
struct Triangle {
    names: [&'static str; 3],
    routers: Vec<Any>,
    stopped: HashSet<DropReason>,
}

const PREFIXES: [&str; 3] = ["2001:db8:1:7::", "2001:db8:2:7::", "2001:db8:3:7::"];

impl Triangle {
    fn new(names: [&'static str; 3], loop_checks: bool) -> Self {
        let mut switches = Switches::FORWARDING;
        switches.loop_checks = loop_checks;
        let router = |at: usize| {
            let mut node = Any::new(NodeConfig::DEFAULT);
            add_router(&mut node, names[at], &format!("{}/64", PREFIXES[at]), switches);
            let lan = add_lan(&mut node, &format!("2001:db8:0:8::{}", at + 1), switches);
            for (other, prefix) in PREFIXES.iter().enumerate().filter(|(other, _)| *other != at) {
                route(&mut node, &format!("{prefix}/64"), lan, &format!("2001:db8:0:8::{}", other + 1));
            }
            route(&mut node, "::/0", lan, "2001:db8:0:8::fe");
            node
        };
        Triangle { names, routers: (0..3).map(router).collect(), stopped: HashSet::new() }
    }

    /// How often some router sends a packet on, at most, that is entered
    /// natively or out of the tunnel from `outside`.
    fn rounds(&mut self, inner: &Inner, entry: usize, outside: Option<&str>) -> u32 {
        let (mut at, mut bytes) = (entry, inner.bytes());
        let mut is_outer = false;
        if let Some(outside) = outside {
            bytes = Outer::new(v4(outside), v4(self.names[at])).around(&bytes);
            is_outer = true;
        }
        let mut forwarded = [0; 3];
        loop {
            let (verdict, after) = if is_outer {
                forward(&mut self.routers[at], &bytes)
            } else {
                with(&bytes, |packet| self.routers[at].forward_native(NOW, LinkId(1), packet))
            };
            bytes = after;
            let is_forwarded = matches!(verdict, Verdict::Tunnel { .. } | Verdict::Native { .. });
            forwarded[at] += u32::from(is_forwarded);
            let next = match verdict {
                Verdict::Tunnel { outer, .. } => {
                    is_outer = true;
                    self.names.iter().position(|name| v4(name) == outer.destination)
                }
                Verdict::Native { next_hop, .. } => {
                    is_outer = false;
                    (0..3).find(|other| v6(&format!("2001:db8:0:8::{}", other + 1)) == next_hop)
                }
                Verdict::Drop(reason) => {
                    self.stopped.insert(reason);
                    None
                }
                _ => None,
            };
            match next {
                Some(next) => at = next,
                None => return forwarded.into_iter().max().unwrap(),
            }
        }
    }

    /// The worst of all packets whose addresses can be made up of what the
    /// routers have, entered everywhere, from everybody.
    fn worst(&mut self) -> u32 {
        let mut addresses = vec![v6("2001:db8::1"), v6("2001:db8:0:8::99")];
        let outsiders = [self.names[0], self.names[1], self.names[2], "131.107.9.9"];
        for name in outsiders {
            addresses.extend(PREFIXES.iter().map(|prefix| isatap6(prefix, name)));
            addresses.extend(forms(name));
        }
        let mut worst = 0;
        for source in &addresses {
            for destination in &addresses {
                let inner = Inner::new(*source, *destination);
                for entry in 0..3 {
                    worst = worst.max(self.rounds(&inner, entry, None));
                    for outside in outsiders {
                        worst = worst.max(self.rounds(&inner, entry, Some(outside)));
                    }
                }
            }
        }
        self.routers.iter().for_each(balanced);
        worst
    }
}

const PUBLIC: [&str; 3] = ["131.107.1.1", "131.107.2.2", "157.60.3.3"];
const PRIVATE: [&str; 3] = ["10.1.0.1", "10.2.0.1", "10.3.0.1"];

/// RFC 6324's attacks.
#[test]
fn sec_3_sec_5_no_router_sends_a_packet_on_twice() {
    let mut triangle = Triangle::new(PUBLIC, true);
    assert_eq!(triangle.worst(), 1);
    for reason in [DropReason::LoopSource, DropReason::LoopDestination, DropReason::IsatapSourceMismatch] {
        assert!(triangle.stopped.contains(&reason), "{:?}", triangle.stopped);
    }
}

/// The search does find loops where there are some.
#[test]
fn without_loop_checks_packets_go_round_until_the_hop_limit_ends_them() {
    assert!(Triangle::new(PUBLIC, false).worst() >= 20);
    assert!(Triangle::new(PRIVATE, true).worst() >= 20, "SEC-3 is blind to private addresses");
}

#[test]
fn sec_2_member_lists_end_the_loops_of_private_addresses() {
    let mut triangle = Triangle::new(PRIVATE, true);
    for (router, name) in triangle.routers.iter_mut().zip(PRIVATE) {
        let site = Ipv4Prefix::new(v4(name), 16).unwrap();
        router.with_interface(NOW, LinkId(0), |interface, _| {
            let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
            router.link_mut().add_member(site).unwrap();
        });
    }
    assert_eq!(triangle.worst(), 1);
    assert!(triangle.stopped.contains(&DropReason::NotAMember));
}

#[test]
fn sec_3_known_prefixes_end_the_loops_of_private_addresses() {
    let mut triangle = Triangle::new(PRIVATE, true);
    for router in &mut triangle.routers {
        for prefix in PREFIXES {
            router.add_known_prefix(format!("{prefix}/64").parse().unwrap()).unwrap();
        }
    }
    assert_eq!(triangle.worst(), 1);
}

/// `SEC-4`: each router knows the others.
#[test]
fn sec_4_complete_router_lists_end_the_loops_of_private_addresses() {
    let mut triangle = Triangle::new(PRIVATE, true);
    for (at, router) in triangle.routers.iter_mut().enumerate() {
        router.with_interface(NOW, LinkId(0), |interface, _| {
            let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
            let others: Vec<_> = PRIVATE.iter().filter(|other| **other != PRIVATE[at]).map(|other| v4(other)).collect();
            router.set_known_routers(&others).unwrap();
        });
    }
    assert_eq!(triangle.worst(), 1);
    assert!(triangle.stopped.contains(&DropReason::KnownRouter));
}
