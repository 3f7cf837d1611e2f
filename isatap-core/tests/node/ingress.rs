//! Who may send into a node, and which link takes what.

use isatap_core::datapath::{IngressFilter, Switches};
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Event, Machine, Verdict};
use isatap_core::interface::Interface as _;
use isatap_core::link::{Denied, LinkKind};
use isatap_core::node::NodeConfig;
use isatap_core::packet::LinkId;
use isatap_core::proto41::Flow;

use crate::support::*;

const DROP: fn(DropReason) -> Verdict = Verdict::Drop;

#[test]
fn tun_13_a_configured_tunnel_hears_only_its_remote_and_says_nothing_to_others() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let tunnel = add_tunnel(&mut node, NEAR4, FAR4, "2001:db8:0:9::1", Switches::DEFAULT);
    let to_us = Inner::echo("2001:db8:5::1", "2001:db8:0:9::1");
    let (verdict, inner) = receive(&mut node, &to_us.from(FAR4, NEAR4));
    assert_eq!(verdict, Verdict::Deliver { link: tunnel, from: Admitted::Remote });
    assert_eq!(inner, to_us.bytes());
    // Also where the packet is for the node itself; and nothing is sent.
    for (source, destination) in [("198.51.100.2", NEAR4), (FAR4, "192.0.2.2"), (NEAR4, FAR4)] {
        let outer = to_us.from(source, destination);
        assert_eq!(receive(&mut node, &outer), (DROP(DropReason::NotAddressed), to_us.bytes()));
    }
    assert!(transmits(&mut node).is_empty());
    balanced(&node);
}

#[test]
fn tun_22_neighbor_discovery_of_one_tunnel_changes_nothing_of_another() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let isatap = add_host(&mut node, "10.0.0.2", SITE4, Switches::DEFAULT);
    let tunnel = add_tunnel(&mut node, NEAR4, FAR4, "2001:db8:0:9::1", Switches::DEFAULT);
    while node.poll_event().is_some() {}
    let router = isatap6("fe80::", SITE4);
    // A Router Advertisement as the ISATAP router would send it, with a
    // prefix; then an unsolicited "I am a router".
    let rest = [&[64, 0, 7, 8][..], &[0; 8], &hex("030440c000015180000038400000000020010db8000000070000000000000000")]
        .concat();
    let own = isatap6("fe80::", "10.0.0.2");
    let advertisement = Inner::icmp(router, own, 134, 0, &rest).hops(255);
    let neighbor = [&[0xa0, 0, 0, 0][..], &router.octets()].concat();
    let neighbor = Inner::icmp(router, own, 136, 0, &neighbor).hops(255);
    let before: Vec<_> = node.routes().copied().collect();
    for message in [&advertisement, &neighbor] {
        receive(&mut node, &message.from(FAR4, NEAR4));
        assert_eq!(node.poll_event(), None);
        assert_eq!(node.routes().copied().collect::<Vec<_>>(), before);
    }
    // The same from the ISATAP router is taken.
    let (verdict, _) = receive(&mut node, &advertisement.from(SITE4, "10.0.0.2"));
    assert_eq!(verdict, Verdict::Consumed { link: isatap });
    let events: Vec<_> = std::iter::from_fn(|| node.poll_event()).collect();
    assert!(events.iter().any(|event| matches!(event, Event::Route { .. })), "{events:?}");
    assert!(events.iter().all(|event| !matches!(event, Event::Address { link, .. } if *link == tunnel)));
}

#[test]
fn tun_23_configured_tunnels_come_first_and_a_refusal_is_not_the_end() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    // One IPv4 address for both, ISATAP added first.
    let isatap = add_router(&mut node, SITE4, ISATAP_PREFIX, Switches::FORWARDING);
    let tunnel = add_tunnel(&mut node, SITE4, "10.0.0.9", "2001:db8:0:9::1", Switches::FORWARDING);
    let from = |source: &str, outer: &str| Inner::new(v6(source), site6(SITE4)).from(outer, SITE4);
    let via = |node: &mut Any, packet: &[u8]| receive(node, packet).0;
    let remote = Verdict::Deliver { link: tunnel, from: Admitted::Remote };
    let host = Verdict::Deliver { link: isatap, from: Admitted::Host };
    // What both would take is the tunnel's.
    assert_eq!(via(&mut node, &from("2001:db8:0:7:0:5efe:10.0.0.9", "10.0.0.9")), remote);
    assert_eq!(via(&mut node, &from("2001:db8:1::1", "10.0.0.9")), remote);
    // Others' is ISATAP's, or nobody's.
    assert_eq!(via(&mut node, &from("2001:db8:0:7:0:5efe:10.0.0.3", "10.0.0.3")), host);
    assert_eq!(via(&mut node, &from("2001:db8:1::1", "10.0.0.3")), DROP(DropReason::IsatapSourceMismatch));
    // The tunnel refuses a loopback destination; ISATAP is asked all the same,
    // and the first reason is told.
    let looping = Inner::of("2001:db8:0:7:0:5efe:10.0.0.9", "::1").from("10.0.0.9", SITE4);
    let flow = Flow::parse(&looping).unwrap();
    let refused = Err(Denied::Refused(DropReason::InnerDestinationRefused));
    let trials: Vec<_> = node.datapath().trials(&flow).collect();
    assert_eq!(trials, [(tunnel, LinkKind::Configured, refused), (isatap, LinkKind::Isatap, refused)]);
    // Refused by the tunnel for its destination, which a host's link takes.
    let all_routers = Inner::of("2001:db8:0:7:0:5efe:10.0.0.9", "::").from("10.0.0.9", SITE4);
    assert_eq!(via(&mut node, &all_routers), DROP(DropReason::InnerDestinationRefused));
    balanced(&node);
}

#[test]
fn tun_16_unspecified_sources_only_through_a_configured_tunnel() {
    let mut border = border();
    let (verdict, _) = receive(&mut border.node, &Inner::of("::", "2001:db8:0:9::1").from(FAR4, NEAR4));
    assert_eq!(verdict, Verdict::Deliver { link: border.tunnel, from: Admitted::Remote });
    let (verdict, _) = receive(&mut border.node, &Inner::new(v6("::"), site6(SITE4)).from("10.0.0.3", SITE4));
    assert_eq!(verdict, DROP(DropReason::InnerSourceUnspecified));
    // Nor are they forwarded.
    let (verdict, _) = forward(&mut border.node, &Inner::of("::", "2001:db8::1").from(FAR4, NEAR4));
    assert_eq!(verdict, DROP(DropReason::SourceUnusable));
}

#[test]
fn sec_10_nobody_else_speaks_as_this_node_or_as_its_lan() {
    let mut border = border();
    let tunnel = border.tunnel;
    let to = "2001:db8:aa::1";
    for (source, reason) in [
        ("2001:db8:0:8::1", DropReason::OwnSource),
        ("2001:db8:0:9::1", DropReason::OwnSource),
        // The subnet-router anycast address of the site is the router's too.
        ("2001:db8:0:7::", DropReason::OwnSource),
        ("2001:db8:0:8::77", DropReason::IngressFilter),
    ] {
        let (verdict, _) = forward(&mut border.node, &Inner::of(source, to).from(FAR4, NEAR4));
        assert_eq!(verdict, DROP(reason), "{source}");
    }
    // Without filter the LAN's addresses come in, the node's own never.
    border.node.switches_mut(tunnel).unwrap().ingress = IngressFilter::Off;
    let (verdict, _) = forward(&mut border.node, &Inner::of("2001:db8:0:8::77", to).from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Native { .. }), "{verdict:?}");
    let (verdict, _) = forward(&mut border.node, &Inner::of("2001:db8:0:8::1", to).from(FAR4, NEAR4));
    assert_eq!(verdict, DROP(DropReason::OwnSource));
    // As a link-local address only on its own link.
    let (verdict, _) = receive(&mut border.node, &Inner::of("fe80::192.0.2.1", "fe80::192.0.2.1").from(FAR4, NEAR4));
    assert_eq!(verdict, DROP(DropReason::OwnSource));
    let (verdict, _) =
        receive(&mut border.node, &Inner::of("fe80::5efe:10.0.0.1", "2001:db8:0:9::1").from(FAR4, NEAR4));
    assert_eq!(verdict, Verdict::Deliver { link: tunnel, from: Admitted::Remote });
    let own = Inner::new(site6(SITE4), site6(SITE4)).from(SITE4, SITE4);
    assert_eq!(receive(&mut border.node, &own).0, DROP(DropReason::OuterSourceRefused));
    balanced(&border.node);
}

#[test]
fn tun_17_one_knob_a_side_lets_in_only_what_a_route_leads_back_to() {
    let mut border = border();
    let (tunnel, lan) = (border.tunnel, border.lan);
    let to_lan = "2001:db8:0:8::2";
    let from = |source: &str| Inner::of(source, to_lan).from(FAR4, NEAR4);
    let is_forwarded = |verdict: Verdict| matches!(verdict, Verdict::Native { .. });
    assert!(is_forwarded(forward(&mut border.node, &from("2001:db8:bad::1")).0), "off by default");
    border.node.switches_mut(tunnel).unwrap().ingress = IngressFilter::Strict;
    let filtered = DROP(DropReason::IngressFilter);
    assert_eq!(forward(&mut border.node, &from("2001:db8:bad::1")).0, filtered, "its route is by the LAN");
    assert!(is_forwarded(forward(&mut border.node, &from("2001:db8:f::1")).0), "the peer's prefix");
    assert!(is_forwarded(forward(&mut border.node, &from("2001:db8:0:9::2")).0), "the tunnel's own");
    assert_eq!(forward(&mut border.node, &from("2001:db8:0:7::99")).0, filtered, "the site's");
    // The same knob toward the LAN.
    let out = |source: &str| Inner::of(source, "2001:db8:f::1");
    let is_tunnelled = |verdict: Verdict| matches!(verdict, Verdict::Tunnel { .. });
    assert!(is_tunnelled(forward_native(&mut border.node, lan, &out("2001:db8:f:1::1")).0));
    border.node.switches_mut(lan).unwrap().ingress = IngressFilter::Strict;
    assert_eq!(forward_native(&mut border.node, lan, &out("2001:db8:f:1::1")).0, filtered, "the peer's prefix");
    assert_eq!(forward_native(&mut border.node, lan, &out("2001:db8:0:8::1")).0, DROP(DropReason::OwnSource));
    assert!(is_tunnelled(forward_native(&mut border.node, lan, &out("2001:db8:0:8::2")).0));
    assert!(is_tunnelled(forward_native(&mut border.node, lan, &out("2001:db8:bad::1")).0), "by the default route");
    balanced(&border.node);
}

#[test]
fn sec_2_only_listed_members_are_heard_and_spoken_to() {
    let mut border = border();
    let heard = |node: &mut Any, host: &str| receive(node, &Inner::new(site6(host), site6(SITE4)).from(host, SITE4)).0;
    let spoken_to = |node: &mut Any, host: &str| send(node, &Inner::new(v6("2001:db8:0:8::1"), site6(host))).0;
    for host in ["10.0.0.3", "172.16.0.3", "131.107.0.3"] {
        assert!(matches!(heard(&mut border.node, host), Verdict::Deliver { .. }), "no list: everybody");
        assert!(matches!(spoken_to(&mut border.node, host), Verdict::Tunnel { .. }));
    }
    with_router(&mut border, |router| {
        router.link_mut().add_member("10.0.0.0/8".parse().unwrap()).unwrap();
        router.link_mut().add_member("172.16.0.0/16".parse().unwrap()).unwrap();
    });
    for host in ["10.0.0.3", "172.16.255.3"] {
        assert!(matches!(heard(&mut border.node, host), Verdict::Deliver { .. }), "{host}");
        assert!(matches!(spoken_to(&mut border.node, host), Verdict::Tunnel { .. }), "{host}");
    }
    for host in ["172.17.0.3", "131.107.0.3", "11.0.0.1"] {
        assert_eq!(heard(&mut border.node, host), DROP(DropReason::NotAMember), "{host}");
        assert_eq!(spoken_to(&mut border.node, host), DROP(DropReason::NotAMember), "{host}");
    }
    balanced(&border.node);
}

#[test]
fn sec_4_other_listed_routers_are_no_hosts_in_either_direction() {
    let mut border = border();
    let other = "10.0.0.254";
    with_router(&mut border, |router| router.add_trusted_router(v4(other)).unwrap());
    let heard = Inner::new(site6(other), site6(SITE4)).from(other, SITE4);
    let spoken = Inner::new(v6("2001:db8:0:8::1"), site6(other));
    // To be trusted is another matter.
    let believed = Verdict::Deliver { link: border.isatap, from: Admitted::Router };
    assert_eq!(receive(&mut border.node, &heard).0, believed);
    assert!(matches!(send(&mut border.node, &spoken).0, Verdict::Tunnel { .. }));
    with_router(&mut border, |router| router.set_known_routers(&[v4("10.0.0.253"), v4(other)]).unwrap());
    assert_eq!(receive(&mut border.node, &heard).0, DROP(DropReason::KnownRouter));
    assert_eq!(send(&mut border.node, &spoken).0, DROP(DropReason::KnownRouter));
    let host = Inner::new(site6("10.0.0.3"), site6(SITE4)).from("10.0.0.3", SITE4);
    assert_eq!(receive(&mut border.node, &host).0, Verdict::Deliver { link: border.isatap, from: Admitted::Host });
    // Neither its solicitations nor its answers count.
    let solicitation = Inner::icmp(isatap6("fe80::", other), v6("ff02::2"), 133, 0, &[0; 4]).hops(255);
    assert_eq!(receive(&mut border.node, &solicitation.from(other, SITE4)).0, DROP(DropReason::KnownRouter));
    // The list is replaced, and has an end.
    with_router(&mut border, |router| router.set_known_routers(&[]).unwrap());
    assert_eq!(receive(&mut border.node, &heard).0, believed);
    let many: Vec<_> = (0..17).map(|last| std::net::Ipv4Addr::new(10, 0, 1, last)).collect();
    with_router(&mut border, |router| assert!(router.set_known_routers(&many).is_err()));
}

fn with_router(
    border: &mut Border,
    tell: impl FnOnce(&mut isatap_core::isatap::RouterInterface<isatap_core::capacity::Standard>),
) {
    border.node.with_interface(NOW, border.isatap, |interface, _| {
        let isatap_core::node::AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        tell(router);
    });
}

#[test]
fn sec_11_no_error_is_sent_about_a_failed_source_check() {
    let mut border = border();
    let spoofed = [
        Inner::new(site6("10.0.0.3"), site6("10.0.0.5")).from("10.0.0.4", SITE4),
        Inner::of("2001:db8:9:9::1", "2001:db8::1").from("10.0.0.3", SITE4),
        Inner::of("2001:db8:0:8::77", "2001:db8::1").from(FAR4, NEAR4),
        Inner::of("2001:db8:0:8::1", "2001:db8::1").from(FAR4, NEAR4),
        Inner::of("2001:db8:f::1", "2001:db8::1").from("198.51.100.3", NEAR4),
        Inner::of("::ffff:192.0.2.7", "2001:db8::1").from(FAR4, NEAR4),
        Inner::of("2001:db8:f::1", "2002:c000:201::1").from(FAR4, NEAR4),
        // Nothing would be more tempting to answer: the hop limit is over.
        Inner::new(site6("10.0.0.3"), v6("2001:db8::1")).hops(1).from("10.0.0.4", SITE4),
    ];
    for outer in spoofed {
        for call in [Any::decapsulate_ipv4, forward_ipv4] {
            let (verdict, bytes) = with(&outer, |packet| call(&mut border.node, NOW, packet));
            assert!(matches!(verdict, Verdict::Drop(_)), "{verdict:?}");
            assert_eq!(bytes, outer[20..], "who logs can parse it again");
            assert!(transmits(&mut border.node).is_empty());
        }
    }
    balanced(&border.node);
}

#[test]
fn sec_12_routing_headers_that_ask_for_more_are_not_let_in() {
    let mut border = border();
    let routing = |kind: u8, segments_left: u8| {
        let header = [&[0, 2, kind, segments_left, 0, 0, 0, 0][..], &v6("2001:db8::66").octets()].concat();
        Inner::of("2001:db8:f::1", "2001:db8::1").behind(43, &header).from(FAR4, NEAR4)
    };
    let refused = DROP(DropReason::RoutingHeader);
    for kind in [0, 1, 3, 5, 253] {
        assert_eq!(forward(&mut border.node, &routing(kind, 1)).0, refused, "type {kind}");
        assert!(matches!(forward(&mut border.node, &routing(kind, 0)).0, Verdict::Native { .. }), "all visited");
    }
    // Behind other headers too, and for the node itself.
    let header = [&[0, 2, 0, 1, 0, 0, 0, 0][..], &[0; 16]].concat();
    let hidden = Inner::of("2001:db8:f::1", "2001:db8:0:9::1").behind(43, &header).behind(60, &[0; 8]);
    assert_eq!(receive(&mut border.node, &hidden.from(FAR4, NEAR4)).0, refused);
}

#[test]
fn sec_13_tunnels_in_tunnels_up_to_four() {
    let mut border = border();
    let plain = Inner::of("2001:db8:f::1", "2001:db8::1");
    let mut six_in_six = plain.clone();
    // An IPv4 header and an IPv6 header more each time.
    let mut mixed = plain.clone();
    for depth in 0..=8 {
        for (packet, tunnels) in [(&six_in_six, depth), (&mixed, 2 * depth)] {
            let (verdict, _) = forward(&mut border.node, &packet.from(FAR4, NEAR4));
            match tunnels {
                0..=4 => assert!(matches!(verdict, Verdict::Native { .. }), "{tunnels}: {verdict:?}"),
                _ => assert_eq!(verdict, DROP(DropReason::Nesting), "{tunnels}"),
            }
        }
        six_in_six = Inner { next_header: 41, payload: six_in_six.bytes(), ..plain.clone() };
        mixed = Inner { next_header: 4, payload: mixed.from("192.0.2.77", "198.51.100.77"), ..plain.clone() };
    }
}

#[test]
fn tun_19_congestion_marks_come_out_of_the_tunnel_or_the_packet_does_not() {
    let mut border = border();
    // The table of RFC 6040, once more and by hand: inner, outer, what comes out.
    let cells = [
        (0, 0, Some(0)),
        (0, 2, Some(0)),
        (0, 1, Some(0)),
        (0, 3, None),
        (2, 0, Some(2)),
        (2, 2, Some(2)),
        (2, 1, Some(1)),
        (2, 3, Some(3)),
        (1, 0, Some(1)),
        (1, 2, Some(1)),
        (1, 1, Some(1)),
        (1, 3, Some(3)),
        (3, 0, Some(3)),
        (3, 2, Some(3)),
        (3, 1, Some(3)),
        (3, 3, Some(3)),
    ];
    for (inner, outer, expected) in cells {
        let packet = Inner::of("2001:db8:f::1", "2001:db8:0:9::1").class(0xb8 | inner);
        let bytes = Outer::new(v4(FAR4), v4(NEAR4)).tos(0x28 | outer).around(&packet.bytes());
        let (verdict, after) = receive(&mut border.node, &bytes);
        match expected {
            Some(ecn) => assert_eq!(after, packet.clone().class(0xb8 | ecn).bytes(), "{inner} in {outer}"),
            None => assert_eq!((verdict, after), (DROP(DropReason::EcnNotCapable), packet.bytes())),
        }
    }
    balanced(&border.node);
}

/// `TUN-53`: the core does not log, so a flood of odd marks costs nothing; a
/// drop is counted under a reason of its own.
#[test]
fn tun_53_odd_marks_are_counted_not_told() {
    let mut border = border();
    for _ in 0..1000 {
        let packet = Inner::of("2001:db8:f::1", "2001:db8:0:9::1").bytes();
        receive(&mut border.node, &Outer::new(v4(FAR4), v4(NEAR4)).tos(3).around(&packet));
    }
    assert_eq!(border.node.counters().get(DropReason::EcnNotCapable), 1000);
    assert!(transmits(&mut border.node).is_empty());
    while let Some(event) = border.node.poll_event() {
        assert!(!format!("{event:?}").contains("Ecn"));
    }
}

/// A site's router does not deliver to the site what came for a link that it
/// does not have: `LinkId`s of packets are the node's own affair.
#[test]
fn packets_of_unknown_links_go_nowhere() {
    let mut border = border();
    let inner = Inner::of("2001:db8:0:8::2", "2001:db8::1");
    assert_eq!(forward_native(&mut border.node, LinkId(9), &inner).0, DROP(DropReason::NotAddressed));
    assert_eq!(send_on(&mut border.node, LinkId(9), &Inner::of("fe80::1", "fe80::2")).0, DROP(DropReason::NoRoute));
    balanced(&border.node);
}
