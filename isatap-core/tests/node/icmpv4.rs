//! ICMPv4 errors about tunnelled packets, from the wire to the sender.

use isatap_core::time::Duration;

use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::link::TtlMode;
use isatap_core::nd::neighbor::Reachability;
use isatap_core::node::{AnyInterface, NodeConfig};

use crate::support::*;

fn report(node: &mut Any, message: &[u8]) -> Outcome {
    with(message, |packet| node.handle_icmpv4(NOW, packet))
}

/// What the peer's packet becomes on its way into the site, and an error about
/// it: (the packet as its sender made it, the outer packet that we sent).
fn forwarded(border: &mut Border) -> (Inner, Vec<u8>) {
    let inner = Inner::new(v6("2001:db8:f::1"), site6("10.0.0.3"));
    let (verdict, outer) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Tunnel { .. }));
    (inner.hops(63), outer)
}

#[test]
fn tun_42_unreachable_hosts_are_told_to_the_inner_source() {
    let mut border = border();
    let ignored = Verdict::Drop(DropReason::IcmpV4Ignored);
    for kind in 0..=18_u8 {
        for code in 0..=15_u8 {
            // One error a tenth of a second is within the budget.
            let mut border = crate::support::border();
            let (inner, outer) = forwarded(&mut border);
            let (verdict, bytes) = report(&mut border.node, &icmpv4(kind, code, [0; 4], &outer));
            let is_told = matches!((kind, code), (3, 0..=3 | 6..=13) | (11, 0));
            if is_told {
                let Verdict::Answer { via: Via::Tunnel { link, .. }, reason: None } = verdict else {
                    panic!("{kind} {code}: {verdict:?}");
                };
                assert_eq!(link, border.tunnel);
                let sent = seen(&bytes);
                assert_eq!(sent.destination, v4(FAR4));
                // From an address of the link that had the trouble.
                assert_eq!(sent.inner, error(site6(SITE4), &inner.bytes(), 1, 3, 0));
            } else if (kind, code) != (3, 4) {
                // TUN-43 and no error at all.
                assert_eq!(verdict, ignored, "{kind} {code}");
            }
            balanced(&border.node);
        }
    }
    // What this host itself sent goes to its own IPv6.
    let inner = Inner::new(site6(SITE4), site6("10.0.0.3"));
    let (_, outer) = send(&mut border.node, &inner);
    let (verdict, bytes) = report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer));
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: border.isatap }, reason: None });
    assert_eq!(bytes, error(site6(SITE4), &inner.bytes(), 1, 3, 0));
}

/// Where the outer TTL is the inner hop limit, a router of the IPv4 network is a hop of the path: its
/// error is that of IPv6.
#[test]
fn tun_42_a_copied_hop_limit_that_ends_on_the_way_is_told_as_such() {
    for (ttl, kind, code) in [(TtlMode::CopyHopLimit, 3, 0), (TtlMode::Fixed(1), 1, 3)] {
        let mut border = border();
        border.node.with_interface(NOW, border.tunnel, |interface, _| {
            interface.link_mut().underlay_mut().policy.ttl = ttl;
        });
        let inner = Inner::of("2001:db8:0:9::1", "2001:db8:f::1").hops(1);
        let (verdict, outer) = send(&mut border.node, &inner);
        assert!(matches!(verdict, Verdict::Tunnel { .. }));
        assert_eq!(outer[8], 1);
        let (verdict, bytes) = report(&mut border.node, &icmpv4(11, 0, [0; 4], &outer));
        assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: border.tunnel }, reason: None });
        assert_eq!(bytes, error(v6("2001:db8:0:9::1"), &inner.bytes(), kind, code, 0));
        balanced(&border.node);
    }
}

/// Two routers at one IPv4 address: the sender is told by the one that forwarded its packet, whichever the
/// node asks first, and whether the sender is this node or another.
#[test]
fn tun_42_a_hop_limit_is_judged_by_the_link_that_sent_the_packet() {
    let modes = [TtlMode::Fixed(64), TtlMode::CopyHopLimit];
    for ttls in [modes, [modes[1], modes[0]]] {
        let mut border = border();
        let second = add_router(&mut border.node, SITE4, "2001:db8:0:a::/64", Switches::FORWARDING);
        let links = [(border.isatap, site6("10.0.0.3")), (second, isatap6("2001:db8:0:a::", "10.0.0.3"))];
        for ((link, _), ttl) in links.iter().zip(ttls) {
            border.node.with_interface(NOW, *link, |interface, _| {
                interface.link_mut().underlay_mut().policy.ttl = ttl;
            });
        }
        for ((link, destination), ttl) in links.into_iter().zip(ttls) {
            let kind_and_code = if ttl == TtlMode::CopyHopLimit { [3, 0] } else { [1, 3] };
            let inner = Inner::new(v6("2001:db8:f::1"), destination);
            let (_, outer) = forward(&mut border.node, &inner.from(FAR4, NEAR4));
            let (verdict, bytes) = report(&mut border.node, &icmpv4(11, 0, [0; 4], &outer));
            assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, .. }), "{verdict:?}");
            assert_eq!(seen(&bytes).inner[40..42], kind_and_code, "{ttls:?} {link:?}");
            // Of its own, by that link and from an address of it.
            let own = isatap6(if link == second { "2001:db8:0:a::" } else { "2001:db8:0:7::" }, SITE4);
            let (_, outer) = send_on(&mut border.node, link, &Inner::new(own, destination));
            let (verdict, bytes) = report(&mut border.node, &icmpv4(11, 0, [0; 4], &outer));
            assert_eq!(verdict, Verdict::Answer { via: Via::Host { link }, reason: None });
            assert_eq!(bytes[40..42], kind_and_code, "{ttls:?} {link:?}");
        }
        balanced(&border.node);
    }
}

#[test]
fn tun_40_without_the_inner_header_nobody_can_be_told() {
    let mut border = border();
    let (_, outer) = forwarded(&mut border);
    for quoted in [28, 40, 59] {
        let (verdict, _) = report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer[..quoted]));
        assert_eq!(verdict, Verdict::Consumed { link: border.isatap }, "{quoted}");
    }
    let (verdict, _) = report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer[..27]));
    assert_eq!(verdict, Verdict::Drop(DropReason::IcmpV4Ignored));
    let (verdict, bytes) = report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer[..60]));
    // A quote of a header alone says UDP, and none is there: no answer can be
    // known to be about an error, so it is given.
    assert!(matches!(verdict, Verdict::Answer { .. }), "{verdict:?}");
    assert_eq!(seen(&bytes).inner.len(), 40 + 8 + 40);
    balanced(&border.node);
}

#[test]
fn tun_41_too_big_lowers_the_path_and_the_next_packet_is_told() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let mut config = isatap_core::configured::Config::new(v4(NEAR4), v4(FAR4));
    config.policy.link_mtu = 1480;
    let interface = AnyInterface::Configured(isatap_core::configured::ConfiguredInterface::new(config));
    let id = node.add(interface, Switches::DEFAULT).unwrap();
    let (own, far) = (v6("fe80::192.0.2.1"), v6("fe80::198.51.100.1"));
    let inner = Inner::new(own, far).len(1480);
    let (verdict, outer) = send_on(&mut node, id, &inner);
    assert!(matches!(verdict, Verdict::Tunnel { .. }));
    // A router quotes 68 bytes of it.
    let (verdict, bytes) = report(&mut node, &icmpv4(3, 4, [0, 0, 0x05, 0x78], &outer[..68]));
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: id }, reason: None });
    assert_eq!(bytes, error(own, &inner.bytes()[..48], 2, 0, 1380));
    let (verdict, bytes) = send_on(&mut node, id, &inner);
    assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::PacketTooBig), .. }));
    assert_eq!(bytes, error(own, &inner.bytes(), 2, 0, 1380));
    assert!(matches!(send_on(&mut node, id, &Inner::new(own, far).len(1380)).0, Verdict::Tunnel { .. }));
    // TUN-34: ten minutes later a larger packet is tried.
    node.handle_timeout(NOW.saturating_add(Duration::from_secs(601)), &mut |out: &mut [u8]| out.fill(0));
    let later = NOW.saturating_add(Duration::from_secs(602));
    let larger = Inner::new(own, far).len(1460).bytes();
    let (verdict, _) = with(&larger, |packet| {
        packet.set_link(Some(id));
        node.encapsulate(later, packet)
    });
    assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
    balanced(&node);
}

#[test]
fn tun_35_tun_45_errors_about_what_we_did_not_send_change_nothing() {
    let mut border = border();
    let (_, outer) = forwarded(&mut border);
    let ignored = Verdict::Drop(DropReason::IcmpV4Ignored);
    let mut foreign = outer.clone();
    foreign[12..16].copy_from_slice(&[192, 0, 2, 77]);
    assert_eq!(report(&mut border.node, &icmpv4(3, 1, [0; 4], &foreign)).0, ignored);
    // Of the tunnel's local address, but not to its remote.
    let inner = Inner::of("2001:db8:0:9::1", "2001:db8:f::1").from(NEAR4, "198.51.100.9");
    assert_eq!(report(&mut border.node, &icmpv4(3, 4, [0, 0, 2, 0x40], &inner)).0, ignored);
    // UDP, a later fragment, a broken checksum.
    let mut udp = outer.clone();
    udp[9] = 17;
    assert_eq!(report(&mut border.node, &icmpv4(3, 1, [0; 4], &udp)).0, ignored);
    let mut message = icmpv4(3, 1, [0; 4], &outer);
    message[2] ^= 1;
    assert_eq!(report(&mut border.node, &message).0, ignored);
    // TUN-33: a claim of 300 bytes does not stop 1,280-byte packets.
    let (verdict, _) = report(&mut border.node, &icmpv4(3, 4, [0, 0, 1, 0x2c], &outer));
    assert!(matches!(verdict, Verdict::Answer { .. } | Verdict::Consumed { .. }));
    let full = Inner::new(site6(SITE4), site6("10.0.0.3")).len(1280);
    let (verdict, bytes) = send(&mut border.node, &full);
    assert!(matches!(verdict, Verdict::Tunnel { .. }));
    assert!(!seen(&bytes).dont_fragment);
    balanced(&border.node);
}

/// Two links of one IPv4 address: the error finds the one that can have sent.
#[test]
fn tun_45_links_that_share_an_address_are_told_apart_by_the_destination() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    add_tunnel(&mut node, SITE4, "10.0.0.9", "2001:db8:0:9::1", Switches::FORWARDING);
    let isatap = add_router(&mut node, SITE4, ISATAP_PREFIX, Switches::FORWARDING);
    let inner = Inner::new(site6(SITE4), site6("10.0.0.3"));
    let (_, outer) = send(&mut node, &inner);
    let (verdict, bytes) = report(&mut node, &icmpv4(3, 1, [0; 4], &outer));
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: isatap }, reason: None });
    assert_eq!(bytes, error(site6(SITE4), &inner.bytes(), 1, 3, 0));
}

/// The path to an IPv4 address is the same for every link that sends from one address.
#[test]
fn tun_41_tun_45_all_links_of_one_address_learn_the_path_and_the_sender_is_told_by_its_own() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    // 6to4 has no use for private addresses.
    let (own, remote) = ("131.107.0.2", "131.107.0.7");
    let isatap = add_router(&mut node, own, ISATAP_PREFIX, Switches::FORWARDING);
    let relay = isatap_core::sixtofour::RelayInterface::new(isatap_core::sixtofour::RelayConfig::DEFAULT);
    let relay = node.add(AnyInterface::SixToFourRelay(relay), Switches::FORWARDING).unwrap();
    node.with_interface(NOW, relay, |interface, cx| {
        let AnyInterface::SixToFourRelay(relay) = interface else { unreachable!() };
        relay.set_locators(cx, &locators(&[own])).unwrap();
    });
    let inner = Inner::new(site6(own), site6(remote));
    let (_, outer) = send(&mut node, &inner);
    let (verdict, _) = report(&mut node, &icmpv4(3, 4, [0, 0, 0x05, 0x46], &outer));
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: isatap }, reason: None });
    for link in [isatap, relay] {
        assert_eq!(node.interface(link).unwrap().link().underlay().path_mtu(v4(remote)), 0x0546, "{link:?}");
    }
    balanced(&node);
}

/// Two tunnels of the same ends that leave by devices of their own, where paths are not the same: an error is about
/// the path of the one that sent the packet. That is told by the caller, or by what is quoted.
#[test]
fn tun_41_tun_45_links_of_two_ways_do_not_share_what_is_known_of_paths() {
    let quoted = |source: &str| Inner::of(source, "2001:db8:f::1").from(NEAR4, FAR4);
    for (sender, source, learns) in [
        (None, "2001:db8:0:9::1", 0),
        (None, "2001:db8:0:a::1", 1),
        (Some(0), "2001:db8::7", 0),
        (Some(1), "2001:db8::7", 1),
    ] {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let links = ["2001:db8:0:9::1", "2001:db8:0:a::1", "2001:db8:0:b::1"]
            .map(|address| add_tunnel(&mut node, NEAR4, FAR4, address, Switches::FORWARDING));
        // The last one shares the way of the second.
        for (link, way) in links.iter().zip([1, 2, 2]) {
            node.with_interface(NOW, *link, |interface, _| interface.link_mut().underlay_mut().set_way(way));
        }
        let (verdict, _) = with(&icmpv4(3, 4, [0, 0, 0x05, 0x46], &quoted(source)), |packet| {
            packet.set_link(sender.map(|sender: usize| links[sender]));
            node.handle_icmpv4(NOW, packet)
        });
        assert!(matches!(verdict, Verdict::Answer { .. } | Verdict::Consumed { .. }), "{verdict:?}");
        let mtus = links.map(|link| node.interface(link).unwrap().link().underlay().path_mtu(v4(FAR4)));
        let expected = if learns == 0 { [0x0546, 1500, 1500] } else { [1500, 0x0546, 0x0546] };
        assert_eq!(mtus, expected, "{sender:?} {source}");
        // By another way the path is another, and nothing is known of it.
        for (way, forgets) in [(if learns == 0 { 1 } else { 2 }, false), (3, true)] {
            let link = links[learns];
            node.with_interface(NOW, link, |interface, _| interface.link_mut().underlay_mut().set_way(way));
            let mtu = node.interface(link).unwrap().link().underlay().path_mtu(v4(FAR4));
            assert_eq!(mtu == 1500, forgets, "{way}");
        }
        balanced(&node);
    }
}

/// Links of one address and several ways: a link that cannot have sent the packet, or does not heed the error, has no
/// say in whose path it is about. What is quoted may be too short to name the sender.
#[test]
fn tun_35_tun_45_an_error_with_a_short_quote_reaches_the_way_of_who_can_have_sent_it() {
    let fixed = isatap_core::proto41::mtu::MtuMode::Static(1280);
    // The remotes of two tunnels; whether the first has a static MTU; which of them learn the path to the second.
    for (remotes, is_static, learns) in [
        (["198.51.100.9", FAR4], false, [false, true]),
        // Either may have sent it.
        ([FAR4, FAR4], false, [true, true]),
        ([FAR4, FAR4], true, [false, true]),
    ] {
        for quoted_bytes in [28, 60, 1400] {
            let mut node = Any::new(NodeConfig::DEFAULT);
            let addresses = ["2001:db8:0:9::1", "2001:db8:0:a::1"];
            let links: [_; 2] = std::array::from_fn(|at| {
                add_tunnel(&mut node, NEAR4, remotes[at], addresses[at], Switches::FORWARDING)
            });
            for (link, way) in links.iter().zip([1, 2]) {
                node.with_interface(NOW, *link, |interface, _| {
                    let underlay = interface.link_mut().underlay_mut();
                    underlay.set_way(way);
                    if is_static && way == 1 {
                        underlay.policy.mtu = fixed;
                    }
                });
            }
            // Forwarded, and no route says by which of them.
            let outer = Inner::of("2001:db8:e::1", "2001:db8:f::1").len(1380).from(NEAR4, FAR4);
            for (kind, code, rest) in [(3, 4, [0, 0, 0x05, 0x46]), (3, 1, [0; 4])] {
                let message = icmpv4(kind, code, rest, &outer[..quoted_bytes]);
                let (verdict, _) = report(&mut node, &message);
                assert!(
                    matches!(verdict, Verdict::Consumed { .. } | Verdict::Answer { .. }),
                    "{verdict:?} {remotes:?}"
                );
            }
            let learned = links.map(|link| {
                let underlay = node.interface(link).unwrap().link().underlay();
                underlay.path_mtu(v4(FAR4)) == 0x0546
            });
            assert_eq!(learned, learns, "{remotes:?} {is_static} {quoted_bytes}");
            balanced(&node);
        }
    }
}

#[test]
fn ndp_60_ndp_61_tun_42_no_error_is_made_of_an_error_and_forged_ones_starve_no_other() {
    let mut border = border();
    let error_packet = Inner::icmp(v6("2001:db8:f::1"), site6("10.0.0.3"), 1, 0, &[0; 48]);
    let (_, outer) = forward(&mut border.node, &error_packet.from(FAR4, NEAR4));
    let (verdict, _) = report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer));
    assert_eq!(verdict, Verdict::Consumed { link: border.isatap });
    let (_, outer) = forwarded(&mut border);
    let answers = (0..100)
        .filter(|_| matches!(report(&mut border.node, &icmpv4(3, 1, [0; 4], &outer)).0, Verdict::Answer { .. }))
        .count();
    assert!((9..=10).contains(&answers), "{answers}");
    // What this node itself cannot send is answered all the same.
    let large = Inner::new(site6(SITE4), site6("10.0.0.3")).len(1500);
    let (verdict, _) = send(&mut border.node, &large);
    assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::PacketTooBig), .. }), "{verdict:?}");
    balanced(&border.node);
}

#[test]
fn tun_44_an_unreachable_router_is_doubted() {
    let (fixed, copied) = (TtlMode::Fixed(64), TtlMode::CopyHopLimit);
    // The end of a hop limit says nothing of who is behind it.
    for (kind, code, ttl, is_doubted) in
        [(3, 1, fixed, true), (11, 0, fixed, true), (3, 1, copied, true), (11, 0, copied, false)]
    {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let host = add_host(&mut node, "10.0.0.2", SITE4, Switches::DEFAULT);
        node.with_interface(NOW, host, |interface, _| interface.link_mut().underlay_mut().policy.ttl = ttl);
        let (own, router) = (isatap6("fe80::", "10.0.0.2"), isatap6("fe80::", SITE4));
        let inner = Inner::new(own, router);
        let state = |node: &Any| {
            let Some(AnyInterface::IsatapHost(host)) = node.interface(host) else { unreachable!() };
            host.neighbors().reachability(v4(SITE4))
        };
        let (_, outer) = send_on(&mut node, host, &inner);
        // A solicited advertisement: reachable.
        let target = [&[0xe0, 0, 0, 0][..], &router.octets()].concat();
        let confirmed = Inner::icmp(router, own, 136, 0, &target).hops(255);
        receive(&mut node, &confirmed.from(SITE4, "10.0.0.2"));
        assert_eq!(state(&node), Some(Reachability::Reachable));
        report(&mut node, &icmpv4(kind, code, [0; 4], &outer));
        assert_eq!(state(&node) != Some(Reachability::Reachable), is_doubted, "{kind} {code} {ttl:?}");
        // And only doubted, never confirmed, nor taken for dead.
        assert!(state(&node).is_some());
    }
}

/// That of a link beside it, from the same IPv4 address and to the same.
#[test]
fn tun_44_another_links_hop_limit_casts_no_doubt() {
    for (kind, code, is_doubted) in [(11, 0, false), (3, 1, true)] {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let host = add_host(&mut node, "10.0.0.2", SITE4, Switches::DEFAULT);
        let (own, router) = (isatap6("fe80::", "10.0.0.2"), isatap6("fe80::", SITE4));
        send_on(&mut node, host, &Inner::new(own, router));
        let target = [&[0xe0, 0, 0, 0][..], &router.octets()].concat();
        let confirmed = Inner::icmp(router, own, 136, 0, &target).hops(255);
        receive(&mut node, &confirmed.from(SITE4, "10.0.0.2"));
        let state = |node: &Any| {
            let Some(AnyInterface::IsatapHost(host)) = node.interface(host) else { unreachable!() };
            host.neighbors().reachability(v4(SITE4))
        };
        assert_eq!(state(&node), Some(Reachability::Reachable));
        // Which takes all that comes from there.
        let tunnel = add_tunnel(&mut node, "10.0.0.2", SITE4, "2001:db8:0:9::1", Switches::DEFAULT);
        node.with_interface(NOW, tunnel, |interface, _| {
            interface.link_mut().underlay_mut().policy.ttl = TtlMode::CopyHopLimit;
        });
        let (_, outer) = send_on(&mut node, tunnel, &Inner::of("2001:db8:0:9::1", "2001:db8:0:9::2"));
        report(&mut node, &icmpv4(kind, code, [0; 4], &outer));
        assert_eq!(state(&node) != Some(Reachability::Reachable), is_doubted, "{kind} {code}");
    }
}
