//! Several mechanisms on one node: what one refuses does not enter by
//! another, and each packet is its own mechanism's.

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::compatible;
use isatap_core::configured;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Event, Machine as _, Verdict};
use isatap_core::interface::Context;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::{Denied, InterfaceAddress, LinkKind, NativeLink, OuterPolicy, Resolution};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::Outer;
use isatap_core::route::{Change, Origin, Route, RouteKey};
use isatap_core::sixrd::{self, Domain};
use isatap_core::sixtofour;
use isatap_core::time::{Expiry, Instant};
use proptest::prelude::*;

const NOW: Instant = Instant::from_secs(1000);
/// The IPv4 address that all tunnels of the node share.
const OWN: &str = "131.107.0.2";

/// A way to make a link of a kind on a node at [`OWN`].
type Make = fn(&mut Any) -> LinkId;

fn add(
    node: &mut Any,
    interface: AnyInterface<Standard>,
    set: impl FnOnce(&mut AnyInterface<Standard>, &mut Context<'_, Standard>),
) -> LinkId {
    let id = node.add(interface, Switches::FORWARDING).unwrap();
    node.with_interface(NOW, id, set).unwrap();
    id
}

fn isatap(node: &mut Any) -> LinkId {
    add(node, AnyInterface::IsatapRouter(RouterInterface::new(RouterConfig::DEFAULT)), |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &locators(&[OWN])).unwrap();
        router.publish(cx, PublishedPrefix::new("2001:db8:0:7::/64".parse().unwrap())).unwrap();
    })
}

fn sixrd_relay(node: &mut Any) -> LinkId {
    let domain = Domain::new("3fff::/24".parse().unwrap(), "0.0.0.0/0".parse().unwrap()).unwrap();
    let interface = sixrd::RelayInterface::new(sixrd::RelayConfig::new(domain));
    add(node, AnyInterface::SixRdRelay(interface), |interface, cx| {
        let AnyInterface::SixRdRelay(relay) = interface else { unreachable!() };
        relay.set_locators(cx, &locators(&[OWN])).unwrap();
    })
}

fn sixtofour_relay(node: &mut Any) -> LinkId {
    let interface = sixtofour::RelayInterface::new(sixtofour::RelayConfig::DEFAULT);
    add(node, AnyInterface::SixToFourRelay(interface), |interface, cx| {
        let AnyInterface::SixToFourRelay(relay) = interface else { unreachable!() };
        relay.set_locators(cx, &locators(&[OWN])).unwrap();
    })
}

fn compatible(node: &mut Any) -> LinkId {
    add(node, AnyInterface::Compatible(compatible::CompatibleInterface::new(OuterPolicy::DEFAULT)), |interface, cx| {
        let AnyInterface::Compatible(interface) = interface else { unreachable!() };
        interface.set_locators(cx, &locators(&[OWN])).unwrap();
    })
}

fn configured(node: &mut Any) -> LinkId {
    let config = configured::Config::new(v4(OWN), v4("131.107.9.9"));
    add(node, AnyInterface::Configured(configured::ConfiguredInterface::new(config)), |interface, cx| {
        let AnyInterface::Configured(tunnel) = interface else { unreachable!() };
        let address = InterfaceAddress { address: v6("2001:db8:9::1"), prefix_length: 64 };
        tunnel.add_address(cx, address).unwrap();
    })
}

const KINDS: [(LinkKind, Make); 5] = [
    (LinkKind::Configured, configured),
    (LinkKind::Isatap, isatap),
    (LinkKind::SixRd, sixrd_relay),
    (LinkKind::SixToFour, sixtofour_relay),
    (LinkKind::Compatible, compatible),
];

fn node_of(kinds: &[Make]) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    for make in kinds {
        make(&mut node);
    }
    let mut lan = NativeLink::new(1500);
    lan.add_address(InterfaceAddress { address: v6("2001:db8:5::1"), prefix_length: 64 }).unwrap();
    let lan = node.add(AnyInterface::Native(lan), Switches::FORWARDING).unwrap();
    node.insert_route(Route::via("::/0".parse().unwrap(), lan, v6("fe80::99"), Origin::Manual)).unwrap();
    node
}

#[test]
fn rte_8_a_link_that_is_removed_takes_its_routes_along_and_leaves_its_place() {
    let entered = |node: &mut Any, kind: LinkKind| {
        let (_, source, outer_source, _) = SOURCES.into_iter().find(|(of, ..)| *of == kind).unwrap();
        // Compatible addresses are not forwarded.
        let to = if kind == LinkKind::Compatible { "::131.107.0.2" } else { "2001:db8:5::9" };
        let packet = outer(v4(outer_source), v4(OWN), &inner(v6(source), v6(to), 64));
        let by = Outer::new(v4(outer_source), v4(OWN));
        node.datapath()
            .admit(&by, &packet[20..])
            .is_ok_and(|(id, ..)| node.interface(id).unwrap().link().kind() == kind)
    };
    let edge: Make = |node| {
        add(node, AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(sixrd::EdgeConfig::DEFAULT)), |interface, cx| {
            let AnyInterface::SixRdEdge(edge) = interface else { unreachable!() };
            edge.configure(cx, "3fff::/24".parse().unwrap(), 0, std::iter::empty()).unwrap();
            edge.set_locators(cx, &locators(&[OWN]), Expiry::NEVER).unwrap();
        })
    };
    let router: Make = |node| {
        let interface = sixtofour::RouterInterface::new(sixtofour::RouterConfig::DEFAULT);
        add(node, AnyInterface::SixToFourRouter(interface), |interface, cx| {
            let AnyInterface::SixToFourRouter(router) = interface else { unreachable!() };
            router.set_locators(cx, &locators(&[OWN]), Expiry::NEVER).unwrap();
        })
    };
    // What a site does not use goes nowhere, by a route of no link.
    for make in KINDS.iter().map(|(_, make)| *make).chain([edge, router]) {
        let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
        let id = make(&mut node);
        let added: Vec<RouteKey> = node.routes().map(Route::key).collect();
        events(&mut node);
        node.remove(id);
        assert_eq!(node.routes().count(), 0, "{added:?}");
        let removed = events(&mut node).iter().filter(|event| matches!(event, Event::Route { .. })).count();
        assert_eq!(removed, added.len(), "{added:?}");
    }
    let mut told_routes = 0;
    for (gone, make_gone) in KINDS {
        for (other, make_other) in KINDS.into_iter().filter(|(other, _)| *other != gone) {
            let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
            let removed = make_gone(&mut node);
            make_other(&mut node);
            let mut lan = NativeLink::new(1500);
            lan.add_address(InterfaceAddress { address: v6("2001:db8:5::1"), prefix_length: 64 }).unwrap();
            let lan = node.add(AnyInterface::Native(lan), Switches::FORWARDING).unwrap();
            node.insert_route(Route::via("::/0".parse().unwrap(), lan, v6("fe80::99"), Origin::Manual)).unwrap();
            let route = Route::on_link("2001:db8:77::/48".parse().unwrap(), removed, Origin::Manual);
            node.insert_route(route).unwrap();
            assert!(entered(&mut node, gone) && entered(&mut node, other), "{gone:?} and {other:?}");
            let learned = |event: &Event| match event {
                Event::Route { change: Change::Added, route } if route.link == removed => Some(route.key()),
                _ => None,
            };
            let learned: Vec<RouteKey> = events(&mut node).iter().filter_map(learned).collect();

            assert_eq!(node.remove(removed).unwrap().link().kind(), gone);
            assert!(node.remove(removed).is_none() && node.interface(removed).is_none());
            assert!(!entered(&mut node, gone), "{gone:?} beside {other:?}");
            assert!(entered(&mut node, other), "{other:?} without {gone:?}");
            assert!(node.routes().all(|route| route.link != removed));
            if !learned.is_empty() {
                let early = node.clone().add(AnyInterface::Native(NativeLink::new(1500)), Switches::DEFAULT);
                assert_ne!(early, Ok(removed), "its routes are still to be told removed");
            }
            let told = events(&mut node);
            let is_told = |key: &RouteKey| {
                told.iter().any(
                    |event| matches!(event, Event::Route { change: Change::Removed, route } if route.key() == *key),
                )
            };
            assert!(learned.iter().all(is_told), "{learned:?}: {told:?}");
            told_routes += learned.len();
            assert_eq!(node.datapath().by_precedence().count(), 2);

            assert_eq!(make_gone(&mut node), removed, "its place is free");
            assert!(entered(&mut node, gone) && entered(&mut node, other), "{gone:?} again, beside {other:?}");
            let order: Vec<LinkKind> =
                node.datapath().by_precedence().map(|(_, port)| port.interface.link().kind()).collect();
            assert!(order.is_sorted(), "{order:?}");
        }
    }
    assert!(told_routes > 3, "{told_routes}");
}

/// A source that belongs to each kind, the outer source that may bring it,
/// and one that may not.
const SOURCES: [(LinkKind, &str, &str, &str); 5] = [
    (LinkKind::Configured, "2001:db8:9::2", "131.107.9.9", "131.107.9.8"),
    (LinkKind::Isatap, "2001:db8:0:7:200:5efe:836b:7", "131.107.0.7", "131.107.0.8"),
    (LinkKind::SixRd, "3fff:83:6b00:700::1", "131.107.0.7", "131.107.0.8"),
    (LinkKind::SixToFour, "2002:836b:7::1", "131.107.0.7", "131.107.0.8"),
    (LinkKind::Compatible, "::131.107.0.7", "131.107.0.7", "131.107.0.8"),
];

#[test]
fn tun_23_the_order_is_configured_isatap_6rd_6to4_in_whatever_order_they_came() {
    for reversed in [false, true] {
        let mut makes: Vec<Make> = KINDS[..4].iter().map(|(_, make)| *make).collect();
        if reversed {
            makes.reverse();
        }
        let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
        for make in makes {
            make(&mut node);
        }
        let order: Vec<LinkKind> =
            node.datapath().by_precedence().map(|(_, port)| port.interface.link().kind()).collect();
        let expected = [LinkKind::Configured, LinkKind::Isatap, LinkKind::SixRd, LinkKind::SixToFour];
        assert_eq!(order, expected);
    }
}

#[test]
fn tun_23_links_of_one_kind_are_offered_packets_in_the_order_that_is_set() {
    let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
    let [sixtofour, first, second] = [sixtofour_relay(&mut node), isatap(&mut node), isatap(&mut node)];
    let order = |node: &Any| node.datapath().by_precedence().map(|(id, _)| id).collect::<Vec<_>>();
    assert_eq!(order(&node), [first, second, sixtofour]);
    node.set_order(&[sixtofour, second, first]);
    assert_eq!(order(&node), [second, first, sixtofour], "a kind keeps its place");
    node.set_order(&[first]);
    assert_eq!(order(&node), [first, second, sixtofour]);
    node.remove(first);
    events(&mut node);
    assert_eq!(isatap(&mut node), first);
    assert_eq!(order(&node), [second, first, sixtofour], "whoever comes again is the last");
    node.set_order(&[first, second]);
    assert_eq!(order(&node), [first, second, sixtofour]);
}

/// Whoever counts for each link is told whose a packet is that was refused.
#[test]
fn a_packet_that_is_refused_has_an_addressee() {
    let node = node_of(&[configured, isatap, sixtofour_relay]);
    let of = |node: &Any, by: &str, source: &str, to: &str| {
        let packet = outer(v4(by), v4(to), &inner(v6(source), v6("2001:db8:5::9"), 64));
        let id = node.datapath().addressee(&Outer::new(v4(by), v4(to)), &packet[20..], &|_| true)?;
        Some(node.interface(id).unwrap().link().kind())
    };
    let kind_of = |by: &str, source: &str, to: &str| of(&node, by, source, to);
    for (kind, source, right, _) in SOURCES
        .into_iter()
        .filter(|(kind, ..)| [LinkKind::Configured, LinkKind::Isatap, LinkKind::SixToFour].contains(kind))
    {
        assert_eq!(kind_of(right, source, OWN), Some(kind));
    }
    // `TUN-72`: whoever hears one device alone asks whose a packet is before it is let in.
    let beside = node_of(&[isatap, compatible]);
    assert_eq!(of(&beside, "131.107.0.7", "::131.107.0.7", OWN), Some(LinkKind::Compatible));
    // An ISATAP address by another IPv4 address: the link that it is of says why not.
    assert_eq!(kind_of("131.107.0.8", "2001:db8:0:7:200:5efe:836b:7", OWN), Some(LinkKind::Isatap));
    assert_eq!(kind_of("131.107.0.7", "2002:836b:7::1", "131.107.0.3"), None);
    // Malformed: it is of the only link with that IPv4 address.
    let mut alone: Any = AnyNode::new(NodeConfig::DEFAULT);
    let id = isatap(&mut alone);
    let by = Outer::new(v4("131.107.0.7"), v4(OWN));
    let mut malformed = inner(v6("2002:836b:7::1"), v6("2001:db8:5::9"), 64);
    malformed[0] = 0x40;
    for packet in [&malformed[..], &[0x60; 7], &[]] {
        let [alone, among] = [&alone, &node].map(|node| node.datapath().addressee(&by, packet, &|_| true));
        assert_eq!((alone, among), (Some(id), None), "{packet:?}");
    }
    // As it is over UDP, which is of none of these links.
    let over_udp = Outer { ports: Some((3544, 3544)), ..by };
    assert_eq!(alone.datapath().addressee(&over_udp, &malformed, &|_| true), Some(id));
}

/// Links of the same ends, which the caller tells apart by the device that a packet came by: it asks whose a packet
/// is among those of the device, and binds it to that link.
#[test]
fn tun_23_a_packet_that_is_bound_to_a_link_is_offered_to_no_other() {
    let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
    let makes: [Make; 4] = [configured, configured, isatap, compatible];
    let [first, second, isatap, compatible] = makes.map(|make| make(&mut node));
    let mut enter = |only: Option<LinkId>, (_, source, by, _): (LinkKind, &str, &str, &str), to: &str| {
        let bytes = inner(v6(source), v6(to), 64);
        let by = Outer::new(v4(by), v4(OWN));
        let addressee = node.addressee(&by, &bytes, &|id| only.is_none_or(|only| only == id));
        let verdict = with_packet(&bytes, |packet| {
            packet.set_link(only);
            node.decapsulate(NOW, &by, packet)
        });
        (verdict.0, addressee)
    };
    let [tunnelled, of_site] = [SOURCES[0], SOURCES[1]];
    assert_eq!((tunnelled.0, of_site.0), (LinkKind::Configured, LinkKind::Isatap));
    for (only, by) in [(None, first), (Some(first), first), (Some(second), second)] {
        let (verdict, addressee) = enter(only, tunnelled, "2001:db8:9::1");
        assert_eq!(verdict, Verdict::Deliver { link: by, from: Admitted::Remote });
        assert_eq!(addressee, Some(by));
    }
    // By another link at this address it does not enter, and has the reason of that one; by none there is none.
    let not_addressed = (Verdict::Drop(DropReason::NotAddressed), None);
    let refused = (Verdict::Drop(DropReason::IsatapSourceMismatch), Some(isatap));
    assert_eq!(enter(Some(isatap), tunnelled, "2001:db8:9::1"), refused);
    let mismatch = (Verdict::Drop(DropReason::CompatibleMismatch), Some(compatible));
    assert_eq!(enter(Some(compatible), tunnelled, "2001:db8:9::1"), mismatch);
    assert_eq!(enter(Some(LinkId::NULL), tunnelled, "2001:db8:9::1"), not_addressed);
    let (verdict, addressee) = enter(Some(isatap), of_site, "2001:db8:0:7:200:5efe:836b:2");
    assert_eq!((verdict.link(), addressee), (Some(isatap), Some(isatap)));
    // The reason is that of the link that is asked.
    let (kind, source, by, _) = of_site;
    let forged = (kind, source, "131.107.0.8", by);
    for only in [None, Some(isatap)] {
        assert_eq!(enter(only, forged, "2001:db8:0:7:200:5efe:836b:2"), refused);
    }
    assert_eq!(enter(Some(first), forged, "2001:db8:0:7:200:5efe:836b:2"), not_addressed);
    // TUN-72
    let ipv4_compatible = (LinkKind::Compatible, "::131.107.0.7", "131.107.0.7", "");
    assert_eq!(enter(Some(compatible), ipv4_compatible, "::131.107.0.2").1, Some(compatible));
    let elsewhere = enter(Some(isatap), ipv4_compatible, "::131.107.0.2");
    assert_eq!(elsewhere, (Verdict::Drop(DropReason::InnerSourceRefused), None));
}

#[test]
fn tun_23_all_pairs_what_one_link_refuses_does_not_enter_by_another() {
    // Destinations of each kind, all of this node, and one on its LAN.
    let destinations = [
        "2001:db8:0:7:200:5efe:836b:2",
        "3fff:83:6b00:200::1",
        "2002:836b:2::1",
        "::131.107.0.2",
        "2001:db8:9::1",
        "2001:db8:5::9",
    ];
    let mut accepted = 0;
    for (first, make_first) in KINDS {
        for (second, make_second) in KINDS {
            if first == second {
                continue;
            }
            let mut node = node_of(&[make_first, make_second]);
            for (kind, source, right, wrong) in SOURCES {
                if kind != first && kind != second {
                    continue;
                }
                for destination in destinations {
                    let packet = |by: &str| outer(v4(by), v4(OWN), &inner(v6(source), v6(destination), 64));
                    let (verdict, _) = arrive(&mut node, NOW, &packet(wrong));
                    let is_out = matches!(verdict, Verdict::Drop(_));
                    assert!(is_out, "{first:?} and {second:?}: {source} by {wrong} to {destination}: {verdict:?}");
                    let (verdict, _) = arrive(&mut node, NOW, &packet(right));
                    accepted += u32::from(matches!(verdict, Verdict::Deliver { .. } | Verdict::Native { .. }));
                }
            }
            assert_counted(&node);
        }
    }
    // The control: right outer sources do get in.
    assert!(accepted > 40, "{accepted}");
}

#[test]
fn tun_23_an_unverified_relay_does_not_speak_for_another_link() {
    let mut node = node_of(&[isatap, sixtofour_relay]);
    let to = "2002:836b:2::1";
    for (source, reason) in [
        ("2001:db8:0:7:200:5efe:836b:7", DropReason::SourceOfOtherLink),
        ("2001:db8:0:7::1", DropReason::SourceOfOtherLink),
        ("2001:db8:5::7", DropReason::IngressFilter),
    ] {
        let packet = outer(v4("131.107.0.8"), v4(OWN), &inner(v6(source), v6(to), 64));
        let refused = dropped(&arrive(&mut node, NOW, &packet));
        // ISATAP was asked first, and the native link may say so first too.
        assert!(refused == Some(reason) || refused == Some(DropReason::SourceOfOtherLink), "{source}: {refused:?}");
    }
    let stranger = outer(v4("131.107.0.8"), v4(OWN), &inner(v6("2a00::1"), v6(to), 64));
    assert_eq!(
        arrive(&mut node, NOW, &stranger).0,
        Verdict::Deliver { link: LinkId(1), from: Admitted::UnverifiedRelay }
    );
}

#[test]
fn s6r_34_nothing_goes_from_one_automatic_tunnel_into_a_6rd_domain() {
    let mut node = node_of(&[sixtofour_relay, sixrd_relay]);
    let customer = v6("3fff:83:6b00:700::1");
    let from_sixtofour = outer(v4("131.107.0.8"), v4(OWN), &inner(v6("2002:836b:8::1"), customer, 64));
    assert_eq!(dropped(&arrive(&mut node, NOW, &from_sixtofour)), Some(DropReason::TunnelToTunnel));
    // The other way too only natively: a relay serves native sources.
    let to_sixtofour = outer(v4("131.107.0.7"), v4(OWN), &inner(customer, v6("2002:836b:8::1"), 64));
    let (verdict, _) = arrive(&mut node, NOW, &to_sixtofour);
    assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
}

#[test]
fn tun_70_tun_71_tun_72_compatible_addresses_where_they_are_wanted_and_no_further() {
    let packet = outer(v4("131.107.0.7"), v4(OWN), &inner(v6("::131.107.0.7"), v6("::131.107.0.2"), 64));
    // Off by default: no node has the link unless it is given one.
    let mut without = node_of(&[isatap, sixtofour_relay, sixrd_relay]);
    assert_eq!(dropped(&arrive(&mut without, NOW, &packet)), Some(DropReason::InnerSourceRefused));

    let mut node = node_of(&[isatap, compatible]);
    let id = LinkId(1);
    assert_eq!(arrive(&mut node, NOW, &packet).0, Verdict::Deliver { link: id, from: Admitted::Host });
    let back = send(&mut node, NOW, &inner(v6("::131.107.0.2"), v6("::131.107.0.7"), 64));
    assert_eq!(tunnelled(&back), Some((v4(OWN), v4("131.107.0.7"))));
    // Not forwarded, not for others, not by others.
    for (source, destination) in
        [("::131.107.0.7", "2001:db8:5::9"), ("::131.107.0.8", "::131.107.0.2"), ("::131.107.0.7", "::131.107.0.9")]
    {
        let packet = outer(v4("131.107.0.7"), v4(OWN), &inner(v6(source), v6(destination), 64));
        assert_eq!(dropped(&arrive(&mut node, NOW, &packet)), Some(DropReason::CompatibleMismatch));
    }
    for refused in ["255.255.255.255", "224.0.0.1", "0.0.0.2", "127.0.0.1", OWN] {
        let out = link(&node, id).resolve(&v6("::131.107.0.2"), &compatible::address(v4(refused)));
        assert_eq!(out, Err(DropReason::DestinationRefused), "{refused}");
    }
    // `::` and `::1` only look like such addresses.
    for none in ["::", "::1"] {
        assert_eq!(compatible::embedded_ipv4(&v6(none)), None);
        assert!(!link(&node, id).is_on_link(&v6(none)));
        let packet = outer(v4("131.107.0.7"), v4(OWN), &inner(v6(none), v6("::131.107.0.2"), 64));
        assert!(matches!(arrive(&mut node, NOW, &packet).0, Verdict::Drop(_)));
    }
    assert_counted(&node);
}

#[test]
fn sec_3_a_lan_of_our_own_6to4_site_is_no_loop() {
    // A DirectAccess server: its ISATAP hosts speak with 2002:V4:3333::/64.
    let mut node = node_of(&[isatap]);
    let mut lan = NativeLink::new(1500);
    lan.add_address(InterfaceAddress { address: v6("2002:836b:2:3333::1"), prefix_length: 64 }).unwrap();
    let lan = node.add(AnyInterface::Native(lan), Switches::FORWARDING).unwrap();
    let prefix = sixtofour::addr::directaccess_prefixes(v4(OWN)).organisation;
    node.insert_route(Route::on_link(prefix, lan, Origin::Manual)).unwrap();
    let (host, server) = (v6("2001:db8:0:7:200:5efe:836b:7"), v6("2002:836b:2:3333::9"));
    let up = arrive(&mut node, NOW, &outer(v4("131.107.0.7"), v4(OWN), &inner(host, server, 64)));
    assert_eq!(up.0, Verdict::Native { link: lan, next_hop: server });
    let down = arrive_natively(&mut node, NOW, lan, &inner(server, host, 64));
    assert_eq!(tunnelled(&down), Some((v4(OWN), v4("131.107.0.7"))));
    // Any other address of the site is what RFC 6324 warns of.
    let loops = v6("2002:836b:2:7::9");
    let up = arrive(&mut node, NOW, &outer(v4("131.107.0.7"), v4(OWN), &inner(host, loops, 64)));
    assert_eq!(dropped(&up), Some(DropReason::LoopDestination));
    let down = arrive_natively(&mut node, NOW, lan, &inner(loops, host, 64));
    assert_eq!(dropped(&down), Some(DropReason::LoopSource));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Of any mix, what goes into a tunnel has unicast outer
    /// addresses of which the first is ours; what comes out of one was let in
    /// by a link that is there.
    #[test]
    fn sec_5_tun_4_any_mix_of_links_keeps_its_promises(
        which in prop::sample::subsequence(KINDS.map(|(_, make)| make).to_vec(), 1..=3),
        packets in prop::collection::vec((0_usize..5, any::<u32>(), 0_usize..6, any::<bool>(), any::<u8>()), 1..20)
    ) {
        let mut node = node_of(&which);
        for (source, ipv4, destination, native, hop_limit) in packets {
            let ipv4 = if ipv4 % 3 == 0 { v4("131.107.0.7") } else { std::net::Ipv4Addr::from(ipv4) };
            let of = |at: usize, ipv4: std::net::Ipv4Addr| {
                let bits = u128::from(ipv4.to_bits());
                std::net::Ipv6Addr::from_bits(match at {
                    0 => 0x2001_0db8_0009 << 80 | bits,
                    1 => 0x2001_0db8_0000_0007_0200_5efe << 32 | bits,
                    2 => 0x3f_ff00 << 104 | bits << 72 | 1,
                    3 => 0x2002 << 112 | bits << 80 | 1,
                    4 => bits,
                    _ => 0x2a00 << 112 | bits,
                })
            };
            let packet = inner(of(source, ipv4), of(destination, v4("131.107.0.9")), hop_limit);
            let lan = LinkId(u8::try_from(which.len()).unwrap());
            let result = if native {
                arrive_natively(&mut node, NOW, lan, &packet)
            } else {
                arrive(&mut node, NOW, &outer(ipv4, v4(OWN), &packet))
            };
            if let Some((from, to)) = tunnelled(&result) {
                prop_assert_eq!(from, v4(OWN));
                let first = to.octets()[0];
                prop_assert!(first != 0 && first != 127 && first < 224 && to != v4(OWN), "{}", to);
                // SEC-5: a hop is counted.
                prop_assert_eq!(result.1[27], hop_limit - 1);
            }
            assert_counted(&node);
        }
    }
}

#[test]
fn tun_23_a_packet_for_none_of_the_links_is_refused_as_such() {
    let node = node_of(&[isatap, sixrd_relay]);
    let elsewhere = flow("2002:836b:7::1", "131.107.0.7", "2002:836b:3::1", "131.107.0.3");
    for id in [LinkId(0), LinkId(1)] {
        assert_eq!(link(&node, id).admit(&elsewhere), Err(Denied::NotAddressed));
    }
    let out = link(&node, LinkId(1)).resolve(&v6("2a00::1"), &v6("2002:836b:3::1"));
    assert_eq!(out, Err::<Resolution, _>(DropReason::NextHopUnresolvable));
}
