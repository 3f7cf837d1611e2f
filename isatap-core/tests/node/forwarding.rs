//! Routes, next hops and the switches of interfaces.

use isatap_core::time::Duration;

use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Verdict, Via};
use isatap_core::link::TtlMode;
use isatap_core::nd::neighbor::Reachability;
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::PacketMut;
use isatap_core::route::{Origin, Route};

use crate::support::*;

#[test]
fn tun_3_rte_2_the_outer_destination_is_the_next_hops() {
    let mut border = border();
    let isatap = border.isatap;
    route(&mut border.node, "2001:db8:d::/48", isatap, "fe80::5efe:10.0.0.77");
    let from = v6("2001:db8:0:8::1");
    // On-link: the destination itself; by a route: its next hop, although
    // these destinations look like ISATAP, 6to4 and IPv4-compatible addresses.
    for (destination, outer) in [
        ("2001:db8:0:7:0:5efe:10.0.0.5", "10.0.0.5"),
        ("2001:db8:0:7:200:5efe:131.107.0.5", "131.107.0.5"),
        ("2001:db8:d::5efe:10.0.0.6", "10.0.0.77"),
        ("2001:db8:d:2002:c000:204::1", "10.0.0.77"),
    ] {
        let inner = Inner::new(from, v6(destination));
        let (verdict, bytes) = send(&mut border.node, &inner);
        assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == isatap), "{destination}: {verdict:?}");
        let sent = seen(&bytes);
        assert_eq!((sent.source, sent.destination), (v4(SITE4), v4(outer)));
        assert_eq!(sent.inner, inner.bytes(), "TUN-6");
    }
}

#[test]
fn rte_3_each_kind_of_link_makes_its_own_of_a_next_hop() {
    let mut border = border();
    let (isatap, lan, tunnel) = (border.isatap, border.lan, border.tunnel);
    let from = v6("2001:db8:0:8::1");
    let next_hop = v6("fe80::1234");
    for link in [isatap, lan, tunnel] {
        route(&mut border.node, "2001:db8:d::/48", link, "fe80::1234");
        let inner = Inner::new(from, v6("2001:db8:d::1"));
        let (verdict, bytes) = send(&mut border.node, &inner);
        if link == lan {
            assert_eq!((verdict, bytes), (Verdict::Native { link, next_hop }, inner.bytes()));
        } else if link == tunnel {
            assert!(matches!(verdict, Verdict::Tunnel { .. }));
            assert_eq!(seen(&bytes).destination, v4(FAR4), "TUN-60: the remote, whatever the next hop says");
        } else {
            // ISA-80: no IPv4 address in it: unreachable, code 3.
            let reason = Some(DropReason::NextHopUnresolvable);
            assert_eq!(verdict, Verdict::Answer { via: Via::Host { link }, reason });
            let source = site6(SITE4);
            assert_eq!(bytes, error(source, &inner.bytes(), 1, 3, 0));
        }
        let key = Route::via("2001:db8:d::/48".parse().unwrap(), link, next_hop, Origin::Manual).key();
        assert!(border.node.remove_route(&key).is_some());
    }
}

#[test]
fn rte_1_the_interfaces_metric_counts_and_can_be_changed() {
    let mut border = border();
    route(&mut border.node, "2001:db8:d::/48", border.lan, "2001:db8:0:8::fe");
    route(&mut border.node, "2001:db8:d::/48", border.tunnel, "2001:db8:0:9::2");
    let inner = Inner::of("2001:db8:0:8::1", "2001:db8:d::1");
    let by_lan = |node: &mut Any| matches!(send(node, &inner).0, Verdict::Native { .. });
    assert!(by_lan(&mut border.node), "the first of equals");
    let before = border.node.generation();
    border.node.set_metric(border.lan, 10).unwrap();
    assert_ne!(border.node.generation(), before);
    assert!(!by_lan(&mut border.node));
    border.node.set_metric(border.tunnel, 11).unwrap();
    assert!(by_lan(&mut border.node));
    assert!(border.node.set_metric(isatap_core::packet::LinkId(3), 1).is_err(), "no such link");
}

#[test]
fn rte_4_the_outer_source_is_the_one_in_the_inner_source() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let isatap = add_router(&mut node, SITE4, ISATAP_PREFIX, Switches::FORWARDING);
    node.with_interface(NOW, isatap, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &locators(&["10.0.0.1", "10.9.0.1", "172.16.0.1"])).unwrap();
    });
    for own in ["10.0.0.1", "10.9.0.1", "172.16.0.1"] {
        for to in ["10.9.0.7", "172.16.0.7", "8.8.8.8"] {
            let (_, bytes) = send(&mut node, &Inner::new(site6(own), site6(to)));
            let sent = seen(&bytes);
            assert_eq!((sent.source, sent.destination), (v4(own), v4(to)));
        }
    }
}

#[test]
fn tun_4_where_no_packet_may_go() {
    let from = v6("2001:db8:0:8::1");
    let refused = [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "127.255.255.254",
        "224.0.0.1",
        "239.1.2.3",
        "240.0.0.1",
        "255.255.255.255",
        // The directed broadcast address of the locator's /24, and our own.
        "10.0.0.255",
        SITE4,
    ];
    for destination in refused {
        // Afresh each time: errors are limited.
        let mut border = crate::support::border();
        let reason = Some(DropReason::DestinationRefused);
        let inner = Inner::new(from, site6(destination));
        if destination != SITE4 {
            let (verdict, bytes) = send(&mut border.node, &inner);
            assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: border.isatap }, reason }, "{destination}");
            assert_eq!(bytes, error(site6(SITE4), &inner.bytes(), 1, 3, 0));
        }
        let inner = Inner::new(v6("2001:db8:f::1"), site6(destination));
        let (verdict, bytes) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
        if destination == SITE4 {
            assert!(matches!(verdict, Verdict::Deliver { .. }), "our own address: {verdict:?}");
        } else {
            assert!(matches!(verdict, Verdict::Answer { reason: told, .. } if told == reason), "{verdict:?}");
            assert_eq!(seen(&bytes).inner, error(v6("2001:db8:0:9::1"), &inner.bytes(), 1, 3, 0));
        }
    }
    for (local, remote) in [(NEAR4, "127.0.0.1"), (NEAR4, "224.0.0.5"), (NEAR4, NEAR4), (NEAR4, "0.0.0.0")] {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let tunnel = add_tunnel(&mut node, local, remote, "2001:db8:0:9::1", Switches::DEFAULT);
        let (verdict, _) = send_on(&mut node, tunnel, &Inner::of("2001:db8:0:9::1", "2001:db8:0:9::2"));
        assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::DestinationRefused), .. }), "{remote}");
    }
}

#[test]
fn tun_6_tun_21_only_who_forwards_changes_the_header_and_only_the_hop_limit() {
    let mut border = border();
    let inner = Inner::of("2001:db8:f::1", "2001:db8:0:8::2").class(0xfd).hops(200);
    let (verdict, bytes) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Native { .. }));
    assert_eq!(bytes, inner.clone().hops(199).bytes());
    // Not when it ends here, nor where a kernel forwards.
    let ours = Inner::of("2001:db8:f::1", "2001:db8:0:8::1").hops(1);
    for call in [forward_ipv4, Any::decapsulate_ipv4] {
        let (verdict, bytes) = with(&ours.from(FAR4, NEAR4), |packet| call(&mut border.node, NOW, packet));
        assert_eq!(verdict, Verdict::Deliver { link: border.tunnel, from: Admitted::Remote });
        assert_eq!(bytes, ours.bytes());
    }
    assert_eq!(receive(&mut border.node, &inner.from(FAR4, NEAR4)).1, inner.bytes());
    // Not by the sender.
    let sent = Inner::of("2001:db8:0:9::1", "2001:db8:f::1").class(0x07).hops(1);
    assert_eq!(seen(&send(&mut border.node, &sent).1).inner, sent.bytes());
    balanced(&border.node);
}

#[test]
fn rte_7_forwarding_is_asked_on_both_sides() {
    for (from_on, to_on) in [(true, true), (true, false), (false, true), (false, false)] {
        let mut border = border();
        border.node.switches_mut(border.tunnel).unwrap().forwarding = from_on;
        border.node.switches_mut(border.lan).unwrap().forwarding = to_on;
        let inner = Inner::of("2001:db8:f::1", "2001:db8:0:8::2");
        let (verdict, _) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
        match from_on && to_on {
            true => assert!(matches!(verdict, Verdict::Native { .. }), "{verdict:?}"),
            false => assert_eq!(verdict, Verdict::Drop(DropReason::ForwardingOff)),
        }
        // What is for the node comes in all the same.
        let own = Inner::of("2001:db8:f::1", "2001:db8:0:8::1").from(FAR4, NEAR4);
        assert!(matches!(forward(&mut border.node, &own).0, Verdict::Deliver { .. }));
        balanced(&border.node);
    }
}

/// The kernel above may forward between all devices, as Linux does: what a link that does not
/// forward has let in is not handed to it. [VU#199397]
#[test]
fn rte_7_what_is_for_others_does_not_go_up_by_a_link_that_does_not_forward() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let site = add_host(&mut node, "10.0.0.3", "10.0.0.1", Switches::DEFAULT);
    let tunnel = add_tunnel(&mut node, NEAR4, FAR4, "2001:db8:77::2", Switches::DEFAULT);
    add_lan(&mut node, "2001:db8:0:8::1", Switches::DEFAULT);
    let links = [(site, "fe80::5efe:10.0.0.9", "10.0.0.9", "10.0.0.3"), (tunnel, "2001:db8:f::1", FAR4, NEAR4)];
    for (link, source, from, to) in links {
        let mut to = |destination: &str, forwarding: bool| {
            node.switches_mut(link).unwrap().forwarding = forwarding;
            let packet = Inner::of(source, destination).from(from, to);
            let of_thread = node.datapath().clone();
            let of_threads = with(&packet, |packet| pulled(packet, |outer, rest| of_thread.decapsulate(outer, rest))).0;
            let (verdict, _) = receive(&mut node, &packet);
            assert_eq!(of_threads, verdict, "a thread says the same");
            match verdict {
                Verdict::Deliver { .. } => None,
                Verdict::Drop(reason) => Some(reason),
                other => panic!("{other:?}"),
            }
        };
        for stranger in ["2001:db8:0:8::2", "2001:db8:a::1", "fd00::1"] {
            assert_eq!(to(stranger, false), Some(DropReason::ForwardingOff), "{stranger}");
            assert_eq!(to(stranger, true), None, "{stranger}, for a kernel that forwards");
        }
        // Addresses of any of its links are the node's.
        for own in ["2001:db8:0:8::1", "2001:db8:77::2"] {
            assert_eq!(to(own, false), None, "{own}");
        }
    }
    node.switches_mut(tunnel).unwrap().forwarding = false;
    // Groups end at the link, and a link-local address behind a point-to-point link is ours.
    for own in ["ff02::1", "ff0e::1", "fe80::2"] {
        let packet = Inner::of("2001:db8:f::1", own).from(FAR4, NEAR4);
        assert!(matches!(receive(&mut node, &packet).0, Verdict::Deliver { .. }), "{own}");
    }
    balanced(&node);
}

#[test]
fn rte_5_no_route_is_answered_with_code_0() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let tunnel = add_tunnel(&mut node, NEAR4, FAR4, "2001:db8:0:9::1", Switches::FORWARDING);
    let lost = Inner::of("2001:db8:0:9::1", "2001:db8:aa::1");
    let (verdict, bytes) = send_on(&mut node, tunnel, &lost);
    let reason = Some(DropReason::NoRoute);
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: tunnel }, reason });
    assert_eq!(bytes, error(v6("2001:db8:0:9::1"), &lost.bytes(), 1, 0, 0));
    let lost = Inner::of("2001:db8:0:9::2", "2001:db8:aa::1");
    let (verdict, bytes) = forward(&mut node, &lost.from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: Some(DropReason::NoRoute) }));
    let sent = seen(&bytes);
    assert_eq!((sent.source, sent.destination), (v4(NEAR4), v4(FAR4)));
    assert_eq!(sent.inner, error(v6("2001:db8:0:9::1"), &lost.bytes(), 1, 0, 0));
    balanced(&node);
}

/// RFC 4291 §2.5.6: a router would not lead it on, and nobody beyond could answer. A neighbour can.
#[test]
fn sel_13_a_link_local_source_does_not_leave_its_link() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let host = add_host(&mut node, "10.0.0.2", SITE4, Switches::DEFAULT);
    let router: std::net::Ipv6Addr = "fe80::5efe:10.0.0.1".parse().unwrap();
    route(&mut node, "::/0", host, "fe80::5efe:10.0.0.1");
    let own = "fe80::5efe:10.0.0.2";
    let lost = Inner::of(own, "2001:db8:99::1");
    let (verdict, bytes) = send_on(&mut node, host, &lost);
    let reason = Some(DropReason::Scope);
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: host }, reason });
    assert_eq!(bytes, error(v6(own), &lost.bytes(), 1, 2, 0));
    let (verdict, _) = send_on(&mut node, host, &Inner::new(v6(own), router));
    assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
    let mut node = Any::new(NodeConfig::DEFAULT);
    let isatap = add_router(&mut node, SITE4, ISATAP_PREFIX, Switches::FORWARDING);
    let (verdict, _) = send_on(&mut node, isatap, &Inner::new(router, site6("10.0.0.7")));
    assert!(matches!(verdict, Verdict::Tunnel { .. }), "a global neighbour on the link: {verdict:?}");
    balanced(&node);
}

#[test]
fn tun_64_what_came_from_a_point_to_point_tunnel_does_not_go_back_into_it() {
    let mut border = border();
    for destination in ["2001:db8:0:9::77", "2001:db8:f:1::1"] {
        let inner = Inner::of("2001:db8:f::1", destination);
        let (verdict, bytes) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
        let Verdict::Answer { via: Via::Tunnel { link, .. }, reason } = verdict else { panic!("{verdict:?}") };
        assert_eq!((link, reason), (border.tunnel, Some(DropReason::PointToPointBounce)));
        assert_eq!(seen(&bytes).inner, error(v6("2001:db8:0:9::1"), &inner.bytes(), 1, 3, 0));
    }
    balanced(&border.node);
}

#[test]
fn tun_60_all_parameters_of_a_tunnel_are_given() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let mut config = isatap_core::configured::Config::new(v4(NEAR4), v4(FAR4));
    config.policy.ttl = TtlMode::Fixed(17);
    config.policy.tos = isatap_core::proto41::ecn::TosMode::Fixed(0x0a);
    config.policy.mtu = isatap_core::proto41::mtu::MtuMode::Static(1280);
    let tunnel = AnyInterface::Configured(isatap_core::configured::ConfiguredInterface::new(config));
    let id = node.add(tunnel, Switches::DEFAULT).unwrap();
    // No IPv6 address says anything about the outer addresses.
    for destination in ["fe80::5efe:10.0.0.9", "fe80::192.0.2.99", "fe80::1"] {
        let (_, bytes) = send_on(&mut node, id, &Inner::of("fe80::192.0.2.1", destination).class(0xff));
        let sent = seen_with_ttl(&bytes);
        assert_eq!((sent.source, sent.destination), (v4(NEAR4), v4(FAR4)));
        assert_eq!((sent.tos, sent.ttl, sent.dont_fragment), (0x28, 17, false));
    }
}

#[test]
fn tun_62_a_tunnel_answers_probes_and_probes_its_remote() {
    let mut border = border();
    let (near, far) = (v6("fe80::192.0.2.1"), v6("fe80::198.51.100.1"));
    let target = [&[0; 4][..], &near.octets()].concat();
    let probe = Inner::icmp(far, near, 135, 0, &target).hops(255);
    let (verdict, bytes) = receive(&mut border.node, &probe.from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }), "{verdict:?}");
    let answer = Inner::icmp(near, far, 136, 0, &[&[0xc0, 0, 0, 0][..], &near.octets()].concat()).hops(255);
    assert_eq!(seen(&bytes).inner, answer.bytes(), "router, solicited, no link-layer address");
    // Traffic makes us probe: after 5 s of DELAY, one a second, three times.
    let reachability = |node: &Any| {
        let Some(AnyInterface::Configured(tunnel)) = node.interface(border.tunnel) else { unreachable!() };
        tunnel.remote_reachability()
    };
    send(&mut border.node, &Inner::of("2001:db8:0:9::1", "2001:db8:f::1"));
    assert_eq!(reachability(&border.node), Some(Reachability::Delay));
    let mut probes = Vec::new();
    for second in 1..=20 {
        let now = NOW.saturating_add(Duration::from_secs(second));
        border.node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0));
        probes.extend(transmits(&mut border.node).into_iter().map(|packet| (second, packet)));
    }
    let solicitations: Vec<_> = probes.iter().filter(|(_, packet)| packet[60] == 135).collect();
    assert_eq!(solicitations.iter().map(|(second, _)| *second).collect::<Vec<_>>(), [5, 6, 7]);
    let sent = seen(&solicitations[0].1);
    assert_eq!((sent.source, sent.destination), (v4(NEAR4), v4(FAR4)));
    let target = [&[0; 4][..], &sent.inner[24..40]].concat();
    assert_eq!(sent.inner, Inner::icmp(near, to6(&sent.inner), 135, 0, &target).hops(255).bytes());
}

fn to6(packet: &[u8]) -> std::net::Ipv6Addr {
    let mut octets = [0; 16];
    octets.copy_from_slice(&packet[24..40]);
    octets.into()
}

#[test]
fn groups_and_link_locals_stay_on_their_link() {
    let mut border = border();
    let host = "10.0.0.3";
    for (source, destination, expected) in [
        ("fe80::5efe:10.0.0.3", "2001:db8::1", None),
        ("2001:db8:0:7:0:5efe:10.0.0.3", "fe80::5efe:10.0.0.4", Some(DropReason::Scope)),
        ("2001:db8:0:7:0:5efe:10.0.0.3", "fe80::1", Some(DropReason::Scope)),
        ("2001:db8:0:7:0:5efe:10.0.0.3", "ff05::2", Some(DropReason::InnerDestinationRefused)),
    ] {
        let inner = Inner::of(source, destination);
        let (verdict, bytes) = forward(&mut border.node, &inner.from(host, SITE4));
        match expected {
            Some(reason) => assert_eq!(verdict, Verdict::Drop(reason), "{source} > {destination}"),
            None => {
                // Beyond scope: type 1 code 2, to the link-local sender.
                let reason = Some(DropReason::Scope);
                assert!(matches!(verdict, Verdict::Answer { reason: told, .. } if told == reason), "{verdict:?}");
                let own = isatap6("fe80::", SITE4);
                assert_eq!(seen(&bytes).inner, error(own, &inner.bytes(), 1, 2, 0));
            }
        }
    }
    // What a LAN says to a group is not carried anywhere.
    let group = Inner::of("2001:db8:0:8::2", "ff0e::1");
    let (verdict, _) = forward_native(&mut border.node, border.lan, &group);
    assert_eq!(verdict, Verdict::Drop(DropReason::Multicast));
    // A group reached over a point-to-point tunnel ends here.
    let group = Inner::of("2001:db8:f::1", "ff0e::1");
    let (verdict, _) = forward(&mut border.node, &group.from(FAR4, NEAR4));
    assert_eq!(verdict, Verdict::Deliver { link: border.tunnel, from: Admitted::Remote });
    balanced(&border.node);
}

/// The device that a packet was read from binds what this host sends, not
/// what it forwards.
#[test]
fn forwarded_packets_go_where_the_routes_say() {
    let mut border = border();
    let inner = Inner::of("2001:db8:0:8::2", "2001:db8:f::1");
    let tunnel = border.tunnel;
    let call = |packet: &mut PacketMut<'_>| {
        packet.set_link(Some(border.lan));
        border.node.forward_native(NOW, border.lan, packet)
    };
    let (verdict, bytes) = with(&inner.bytes(), call);
    assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == tunnel), "{verdict:?}");
    assert_eq!(seen(&bytes).inner, inner.hops(63).bytes());
}

/// `NDP-67`: a node that does not forward is no router in its answers.
#[test]
fn ndp_67_answers_do_not_claim_a_router_while_forwarding_is_off() {
    for forwarding in [true, false] {
        let mut border = border();
        border.node.switches_mut(border.tunnel).unwrap().forwarding = forwarding;
        let (near, far) = (v6("fe80::192.0.2.1"), v6("fe80::198.51.100.1"));
        let probe = Inner::icmp(far, near, 135, 0, &[&[0; 4][..], &near.octets()].concat()).hops(255);
        let (_, bytes) = receive(&mut border.node, &probe.from(FAR4, NEAR4));
        let flags = seen(&bytes).inner[44];
        assert_eq!(flags, if forwarding { 0xc0 } else { 0x40 });
    }
}
