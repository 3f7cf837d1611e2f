//! 6rd as a node does it: vectors, the checks in both directions, roles.

use isatap_core::time::Duration;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::*;
use isatap_core::capacity::{Small, Standard};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Change, Delegation, Event, Machine, Verdict};
use isatap_core::interface::Context;
use isatap_core::interface::Interface as _;
use isatap_core::link::{Denied, InterfaceAddress, LinkKind, Locator, NativeLink, Resolution};
use isatap_core::node::{AnyInterface, AnyNode, Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::Flow;
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::route::{Origin, Route};
use isatap_core::sixrd::{
    ConfigureError, Domain, DomainError, EdgeConfig, EdgeInterface, RelayConfig, RelayInterface, SixRdOption,
};
use isatap_core::time::{Expiry, Instant};
use proptest::prelude::*;

const SIXRD: LinkId = LinkId(0);
const LAN: LinkId = LinkId(1);
const NOW: Instant = Instant::from_secs(1000);

/// The domain of RFC 5969 §7.1.1.
fn domain() -> Domain {
    Domain::new("2001:db8::/32".parse().unwrap(), "10.0.0.0/8".parse().unwrap()).unwrap()
}

fn edge_config() -> EdgeConfig {
    let mut config = EdgeConfig::DEFAULT;
    config.policy.mtu = MtuMode::Static(1280);
    config
}

fn unconfigured_edge(config: EdgeConfig) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    assert_eq!(node.add(AnyInterface::SixRdEdge(EdgeInterface::new(config)), Switches::FORWARDING), Ok(SIXRD));
    node
}

/// A customer edge of the RFC's domain at `ipv4`, with a LAN in subnet 1.
fn edge_with(config: EdgeConfig, ipv4: &str) -> Any {
    let mut node = unconfigured_edge(config);
    let lan_prefix = domain().delegated(v4(ipv4)).address().to_bits() | 1 << 64;
    let address = InterfaceAddress { address: Ipv6Addr::from_bits(lan_prefix | 0xff), prefix_length: 64 };
    let mut lan = NativeLink::new(1500);
    lan.add_address(address).unwrap();
    assert_eq!(node.add(AnyInterface::Native(lan), Switches::FORWARDING), Ok(LAN));
    node.insert_route(Route::on_link(address.prefix().unwrap(), LAN, Origin::Manual)).unwrap();
    tell(&mut node, NOW, |edge, cx| {
        edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4("10.0.0.1")].into_iter()).unwrap();
        edge.set_locators(cx, &locators(&[ipv4]), Expiry::NEVER).unwrap();
    });
    node
}

fn edge(ipv4: &str) -> Any {
    edge_with(edge_config(), ipv4)
}

fn tell<R>(
    node: &mut Any,
    now: Instant,
    tell: impl FnOnce(&mut EdgeInterface<Standard>, &mut Context<'_, Standard>) -> R,
) -> R {
    let told = node.with_interface(now, SIXRD, |interface, cx| match interface {
        AnyInterface::SixRdEdge(edge) => tell(edge, cx),
        _ => unreachable!(),
    });
    told.unwrap()
}

fn relay_config() -> RelayConfig {
    let mut config = RelayConfig::new(domain());
    config.policy.mtu = MtuMode::Static(1280);
    config
}

/// A border relay whose native side leads everywhere.
fn relay(config: RelayConfig, ipv4: &str) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    node.add(AnyInterface::SixRdRelay(RelayInterface::new(config)), Switches::FORWARDING).unwrap();
    node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).unwrap();
    node.insert_route(Route::via("::/0".parse().unwrap(), LAN, v6("fe80::99"), Origin::Manual)).unwrap();
    node.with_interface(NOW, SIXRD, |interface, cx| match interface {
        AnyInterface::SixRdRelay(relay) => relay.set_locators(cx, &locators(&[ipv4])).unwrap(),
        _ => unreachable!(),
    });
    node
}

#[test]
fn s6r_22_s6r_23_customer_edge_of_the_vectors() {
    let own = "2001:db8:6464:100::1";
    let mismatch = Err(DropReason::SixRdSourceMismatch);
    for (source, outer_source, destination, expected, strict) in [
        ("2001:db8:6464:200::1", "10.100.100.2", own, Ok(Admitted::Host), None),
        ("2001:db8:6464:200::1", "10.100.100.3", own, mismatch, None),
        ("3fff::1", "10.0.0.1", own, Ok(Admitted::Relay), None),
        ("3fff::1", "10.100.100.2", own, mismatch, None),
        ("2001:db8:6464:200::1", "10.0.0.1", own, Ok(Admitted::Router), Some(Err(DropReason::SiblingByRelay))),
        (own, "10.0.0.1", own, Ok(Admitted::Router), None),
        (own, "10.100.100.9", own, mismatch, None),
        ("3fff::1", "10.0.0.1", "2001:db8:6464:200::1", Err(DropReason::OutsideDelegation), None),
        // The relay itself.
        ("2001:db8:0:100::1", "10.0.0.1", own, Ok(Admitted::Router), None),
        (own, "10.100.100.1", own, Err(DropReason::OuterSourceRefused), None),
    ] {
        let flow = flow(source, outer_source, destination, "10.100.100.1");
        let mut config = edge_config();
        for is_strict in [false, true] {
            config.strict_siblings = is_strict;
            let expected = strict.filter(|_| is_strict).unwrap_or(expected);
            let node = edge_with(config, "10.100.100.1");
            let answer = link(&node, SIXRD).admit(&flow);
            assert_eq!(answer, expected.map_err(Denied::Refused), "{source} by {outer_source}, strict {is_strict}");
        }
    }
    let elsewhere = flow("3fff::1", "10.0.0.1", own, "10.100.100.2");
    assert_eq!(link(&edge("10.100.100.1"), SIXRD).admit(&elsewhere), Err(Denied::NotAddressed));
}

#[test]
fn s6r_24_the_packet_of_the_vectors_goes_out_byte_for_byte() {
    let mut node = edge("10.100.100.1");
    let wire = bytes(
        "4528003c000000004029020c0a6464010a000001 6280000000003b40 20010db8646401000000000000000001
        20010db8ffff00000000000000000001",
    );
    // The destination is that of a customer edge which there is not: sent to
    // the relay by a manual route, as the vector has it.
    let by_relay = Route::via("2001:db8:ffff::/48".parse().unwrap(), SIXRD, v6("2001:db8:0:100::"), Origin::Manual);
    node.insert_route(by_relay).unwrap();
    let (verdict, packet) = send(&mut node, NOW, &wire[20..]);
    assert!(matches!(verdict, Verdict::Tunnel { link: SIXRD, .. }), "{verdict:?}");
    assert_eq!(packet, wire);
    // ECN bits too.
    let mut marked = wire[20..].to_vec();
    marked[0..2].copy_from_slice(&[0x6b, 0x90]);
    assert_eq!(send(&mut node, NOW, &marked).1[1], 0xb9);
}

#[test]
fn s6r_20_s6r_21_routes_and_next_hops_of_a_customer_edge() {
    let mut node = edge("10.100.100.1");
    let mut routes: Vec<String> =
        node.routes().filter(|route| route.origin == Origin::Automatic).map(ToString::to_string).collect();
    routes.sort();
    assert_eq!(
        routes,
        [
            "2001:db8:6464:100::/56 null metric 0 automatic",
            "2001:db8::/32 on-link link 0 metric 0 automatic",
            "::/0 on-link link 0 metric 0 automatic",
        ]
    );
    let own = v6("2001:db8:6464:100::1");
    for (destination, outer) in [
        ("2001:db8:6464:200::1", "10.100.100.2"),
        ("2001:db8:6464:2ff:1:2:3:4", "10.100.100.2"),
        ("3fff::1", "10.0.0.1"),
        // Any address in the prefix of a relay inside the block is the relay's.
        ("2001:db8:0:1ab::7", "10.0.0.1"),
    ] {
        let sent = send(&mut node, NOW, &inner(own, v6(destination), 64));
        assert_eq!(tunnelled(&sent), Some((v4("10.100.100.1"), v4(outer))), "{destination}");
    }
    // S6R-30's like: what no LAN has of our own.
    let nowhere = send(&mut node, NOW, &inner(own, v6("2001:db8:6464:1aa::1"), 64));
    assert_eq!(dropped(&nowhere), Some(DropReason::NullRoute));
    // TUN-2: nobody would believe this source.
    let foreign = send(&mut node, NOW, &inner(v6("3fff::7"), v6("3fff::1"), 64));
    assert_eq!(dropped(&foreign), Some(DropReason::SourceUnusable));
    let to_self = link(&node, SIXRD).resolve(&own, &v6("2001:db8:6464:100::2"));
    assert_eq!(to_self, Err(DropReason::DestinationRefused));
    assert_eq!(link(&node, SIXRD).kind(), LinkKind::SixRd);
    // A domain without common bits: every IPv4 address, so multicast too.
    tell(&mut node, NOW, |edge, cx| {
        edge.configure(cx, "2001:db8::/32".parse().unwrap(), 0, [v4("10.0.0.1")].into_iter()).unwrap();
    });
    for refused in ["2001:db8:e000:1::1", "2001:db8:ffff:ffff::1", "2001:db8::1", "2001:db8:7f00:1::1"] {
        let out = link(&node, SIXRD).resolve(&own, &v6(refused));
        assert_eq!(out, Err(DropReason::DestinationRefused), "{refused}");
    }
}

#[test]
fn s6r_31_s6r_34_s6r_35_a_border_relay_between_customers_and_the_native_internet() {
    let mut relay = relay(relay_config(), "10.0.0.1");
    let mut one = edge("10.100.100.1");
    let (host, native) = (v6("2001:db8:6464:101::5"), v6("3fff::1"));
    let up = arrive_natively(&mut one, NOW, LAN, &inner(host, native, 64));
    assert_eq!(tunnelled(&up), Some((v4("10.100.100.1"), v4("10.0.0.1"))));
    let onward = arrive(&mut relay, NOW, &up.1);
    assert_eq!(onward.0, Verdict::Native { link: LAN, next_hop: v6("fe80::99") });
    let down = arrive_natively(&mut relay, NOW, LAN, &inner(native, host, 64));
    assert_eq!(tunnelled(&down), Some((v4("10.0.0.1"), v4("10.100.100.1"))));
    assert_eq!(arrive(&mut one, NOW, &down.1).0, Verdict::Native { link: LAN, next_hop: host });
    // S6R-31: one customer cannot speak for another, nor for the Internet.
    for source in ["2001:db8:6464:200::1", "3fff::1"] {
        let spoofed = outer(v4("10.100.100.1"), v4("10.0.0.1"), &inner(v6(source), native, 64));
        assert_eq!(dropped(&arrive(&mut relay, NOW, &spoofed)), Some(DropReason::SixRdSourceMismatch));
    }
    // S6R-35: nor somebody outside for a customer.
    let spoofed = arrive_natively(&mut relay, NOW, LAN, &inner(v6("2001:db8:6464:200::1"), host, 64));
    assert_eq!(dropped(&spoofed), Some(DropReason::SixRdSourceFromOutside));
    // S6R-34: by a wrong route, nothing else gets into the tunnel.
    let wrong = Route::via("3fff:1::/32".parse().unwrap(), SIXRD, v6("2001:db8:6464:100::"), Origin::Manual);
    relay.insert_route(wrong).unwrap();
    let stray = arrive_natively(&mut relay, NOW, LAN, &inner(native, v6("3fff:1::1"), 64));
    assert_eq!(dropped(&stray), Some(DropReason::NextHopUnresolvable));
    for node in [&relay, &one] {
        assert_counted(node);
    }
}

#[test]
fn s6r_34_s6r_50_hairpin_between_customers_and_the_probe() {
    let mut relay = relay(relay_config(), "10.0.0.1");
    let mut one = edge("10.100.100.1");
    let mut two = edge("10.100.100.2");
    // A site that sends everything to the relay.
    let all = Route::via("2001:db8::/33".parse().unwrap(), SIXRD, v6("2001:db8:0:100::"), Origin::Manual);
    one.insert_route(all).unwrap();
    let (from, to) = (v6("2001:db8:6464:101::5"), v6("2001:db8:6464:201::6"));
    let up = arrive_natively(&mut one, NOW, LAN, &inner(from, to, 64));
    assert_eq!(tunnelled(&up), Some((v4("10.100.100.1"), v4("10.0.0.1"))));
    let hairpin = arrive(&mut relay, NOW, &up.1);
    assert_eq!(tunnelled(&hairpin), Some((v4("10.0.0.1"), v4("10.100.100.2"))));
    assert_eq!(hairpin.1[27], 62);
    assert_eq!(arrive(&mut two, NOW, &hairpin.1).0, Verdict::Native { link: LAN, next_hop: to });

    // S6R-50
    tell(&mut one, NOW, |edge, cx| edge.probe_relay(cx.now));
    one.handle_timeout(NOW, &mut zeros);
    let probe = transmit(&mut one).unwrap();
    let own = v6("2001:db8:6464:100::1");
    assert_eq!(probe[20..], inner(own, own, 64));
    let (verdict, back) = arrive(&mut relay, NOW, &probe);
    assert_eq!(tunnelled(&(verdict, back.clone())), Some((v4("10.0.0.1"), v4("10.100.100.1"))));
    assert_eq!(back[20..], inner(own, own, 63));
    // SEC-10: from another place, or unasked for, our own source is refused.
    let forged = outer(v4("10.100.100.2"), v4("10.100.100.1"), &inner(own, own, 63));
    assert_eq!(dropped(&arrive(&mut one, NOW, &forged)), Some(DropReason::SixRdSourceMismatch));
    assert_eq!(arrive(&mut one, NOW, &back).0, Verdict::Consumed { link: SIXRD });
    assert_eq!(dropped(&arrive(&mut one, NOW, &back)), Some(DropReason::OwnSource));
    let told = events(&mut one);
    assert!(told.contains(&Event::RelayProbed { link: SIXRD, address: v4("10.0.0.1"), reachable: true }), "{told:?}");
    assert_counted(&one);
}

#[test]
fn s6r_50_a_relay_that_sends_nothing_back_is_told_once() {
    let mut node = edge("10.100.100.1");
    tell(&mut node, NOW, |edge, cx| edge.probe_relay(cx.now));
    let mut now = NOW;
    let mut sent = 0;
    while let Some(next) = node.poll_timeout() {
        now = now.max(next);
        node.handle_timeout(now, &mut zeros);
        while transmit(&mut node).is_some() {
            sent += 1;
        }
        let told = events(&mut node);
        let ended = Event::RelayProbed { link: SIXRD, address: v4("10.0.0.1"), reachable: false };
        assert_eq!(told.contains(&ended), now == Instant::from_secs(1003), "{told:?}");
        assert!(node.poll_timeout().is_none_or(|next| next > now));
    }
    assert_eq!((sent, now), (3, Instant::from_secs(1003)));
}

/// Of no subnet of ours, though only one address is used: the next relay is, else none.
#[test]
fn tun_4_s6r_13_a_broadcast_address_is_no_border_relay() {
    let locator = |address, subnet_length| Locator { address: v4(address), subnet_length };
    let own = [locator("10.100.100.1", 24), locator("10.7.0.1", 26)];
    let good = "10.0.0.1";
    for (relays, used) in [
        (&["10.100.100.255", "10.7.0.63"][..], None),
        (&["10.100.100.255", good], Some(good)),
        (&["10.7.0.63", good], Some(good)),
        (&["10.7.0.1", good], Some(good)),
        (&["10.100.100.254"], Some("10.100.100.254")),
    ] {
        let mut node = edge("10.100.100.1");
        tell(&mut node, NOW, |edge, cx| {
            let relays = relays.iter().map(|relay| v4(relay));
            edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, relays).unwrap();
            edge.probe_relay(cx.now);
            edge.set_locators(cx, &own, Expiry::NEVER).unwrap();
            edge.probe_relay(cx.now);
        });
        let used = used.map(v4);
        assert_eq!(node.routes().any(|route| route.prefix.is_default()), used.is_some());
        events(&mut node);
        node.handle_timeout(NOW, &mut zeros);
        let probed = transmit(&mut node).map(|probe| Ipv4Addr::from_octets(probe[16..20].try_into().unwrap()));
        assert_eq!(probed, used, "probe, {relays:?}");
        let out = send(&mut node, NOW, &inner(v6("2001:db8:6464:100::1"), v6("3fff::1"), 64));
        assert_eq!(tunnelled(&out).map(|(_, to)| to), used, "data, {relays:?}");
        events(&mut node);
        assert_eq!(node.poll_timeout(), used.map(|_| NOW.saturating_add(Duration::from_secs(1))));
    }
    // Nor a customer.
    let mut relay = relay(relay_config(), good);
    node_relay_locators(&mut relay, &[locator(good, 8), locator("10.7.0.1", 26)]);
    for broadcast in ["10.7.0.63", "10.255.255.255"] {
        let customer = domain().delegated(v4(broadcast)).address();
        let out = arrive_natively(&mut relay, NOW, LAN, &inner(v6("3fff::1"), customer, 64));
        assert_eq!(dropped(&out), Some(DropReason::DestinationRefused), "{broadcast}");
    }
}

#[test]
fn s6r_8_s6r_9_a_new_ipv4_address_is_a_new_prefix_and_lives_as_long() {
    let mut node = edge("10.100.100.1");
    events(&mut node);
    let lease = Expiry::at(Instant::from_secs(4600));
    tell(&mut node, NOW, |edge, cx| edge.set_locators(cx, &locators(&["10.100.100.7"]), lease)).unwrap();
    let told = events(&mut node);
    let delegation = |change, prefix: &str, until| Event::Delegation {
        link: SIXRD,
        change,
        delegation: Delegation { prefix: prefix.parse().unwrap(), until },
    };
    assert!(told.contains(&delegation(Change::Removed, "2001:db8:6464:100::/56", Expiry::NEVER)), "{told:?}");
    assert!(told.contains(&delegation(Change::Added, "2001:db8:6464:700::/56", lease)));
    let addresses: Vec<_> = told
        .iter()
        .filter_map(|event| match event {
            Event::Address { change, address, .. } => Some((*change, address.address, address.valid_until)),
            _ => None,
        })
        .collect();
    let (before, after) = (v6("2001:db8:6464:100::1"), v6("2001:db8:6464:700::1"));
    // S6R-7: with each comes its anycast address, which nobody is to speak from.
    let (anycast_before, anycast_after) = (v6("2001:db8:6464:100::"), v6("2001:db8:6464:700::"));
    assert_eq!(
        addresses,
        [
            (Change::Removed, before, Expiry::NEVER),
            (Change::Removed, anycast_before, Expiry::NEVER),
            (Change::Added, after, lease),
            (Change::Added, anycast_after, lease)
        ]
    );
    let deprecated = |event: &Event| {
        matches!(event, Event::Address { address, .. }
            if address.address == anycast_after && address.preferred_until.is_due(Instant::ZERO))
    };
    assert_eq!(told.iter().filter(|event| deprecated(event)).count(), 1);
    let nulls: Vec<_> = node.routes().filter(|route| route.link == LinkId::NULL).map(|route| route.prefix).collect();
    assert_eq!(nulls, ["2001:db8:6464:700::/56".parse().unwrap()]);
    // A longer lease alone changes the lifetime.
    let longer = Expiry::at(Instant::from_secs(9000));
    tell(&mut node, NOW, |edge, cx| edge.set_locators(cx, &locators(&["10.100.100.7"]), longer)).unwrap();
    assert!(events(&mut node).contains(&delegation(Change::Changed, "2001:db8:6464:700::/56", longer)));
    // And without an IPv4 address nothing is left.
    tell(&mut node, NOW, |edge, cx| edge.set_locators(cx, &[], Expiry::NEVER)).unwrap();
    assert!(node.routes().all(|route| route.origin != Origin::Automatic));
    assert!(events(&mut node).contains(&delegation(Change::Removed, "2001:db8:6464:700::/56", longer)));
}

/// Tables of three rows, of which two wait for the end of their addresses to be told.
#[test]
fn s6r_7_s6r_9_a_new_ipv4_address_brings_both_addresses_where_the_old_ones_filled_the_table() {
    let mut node: Node<EdgeInterface<Small>, Small, 1> = Node::new(NodeConfig::DEFAULT);
    let link = node.add(EdgeInterface::new(edge_config()), Switches::FORWARDING).unwrap();
    let mut added = |ipv4: &str| {
        node.with_interface(NOW, link, |edge, cx| {
            edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4("10.0.0.1")].into_iter()).unwrap();
            // What has no room is told.
            let _ = edge.set_locators(cx, &locators(&[ipv4]), Expiry::NEVER);
        });
        let added = |event| match event {
            Event::Address { change: Change::Added, address, .. } => Some(address.address),
            _ => None,
        };
        events(&mut node).into_iter().filter_map(added).collect::<Vec<_>>()
    };
    assert_eq!(added("10.100.100.1"), [v6("2001:db8:6464:100::1"), v6("2001:db8:6464:100::")]);
    assert_eq!(added("10.100.100.7"), [v6("2001:db8:6464:700::1"), v6("2001:db8:6464:700::")]);
}

#[test]
fn s6r_11_s6r_12_s6r_14_dhcp_configures_unless_switched_off() {
    let wire = bytes("001820010db8000000000000000000000000 c0000201c0000202");
    let option = SixRdOption::parse(&wire).unwrap();
    let mut config = edge_config();
    config.enabled = false;
    let mut off = unconfigured_edge(config);
    tell(&mut off, NOW, |edge, cx| {
        edge.set_locators(cx, &locators(&["198.51.100.7"]), Expiry::NEVER).unwrap();
        edge.configure_by_dhcp(cx, &option).unwrap();
    });
    assert_eq!((off.routes().count(), link(&off, SIXRD).owns_ipv4(v4("198.51.100.7"))), (0, false));

    let mut on = unconfigured_edge(edge_config());
    tell(&mut on, NOW, |edge, cx| {
        edge.set_locators(cx, &locators(&["198.51.100.7"]), Expiry::NEVER).unwrap();
        edge.configure_by_dhcp(cx, &option).unwrap();
        assert_eq!(edge.link().delegated().unwrap().to_string(), "2001:dc6:3364:700::/56");
        // Both relays are believed, the first one is used.
        assert_eq!(edge.link().relays(), [v4("192.0.2.1"), v4("192.0.2.2")]);
    });
    for by in ["192.0.2.1", "192.0.2.2"] {
        let flow = flow("3fff::1", by, "2001:dc6:3364:700::1", "198.51.100.7");
        assert_eq!(link(&on, SIXRD).admit(&flow), Ok(Admitted::Relay));
    }
    // Switched off later, all of it goes.
    tell(&mut on, NOW, |edge, cx| edge.set_enabled(cx, false)).unwrap();
    assert_eq!(on.routes().count(), 0);
}

#[test]
fn s6r_5_values_that_make_no_domain_change_nothing() {
    let mut node = edge("10.100.100.1");
    let before: Vec<Route> = node.routes().copied().collect();
    let result = tell(&mut node, NOW, |edge, cx| {
        edge.configure(cx, "2001:db8::/48".parse().unwrap(), 8, [v4("10.0.0.1")].into_iter())
    });
    assert_eq!(result, Err(ConfigureError::Domain(DomainError::LongDelegation { delegated: 72 })));
    assert_eq!(node.routes().copied().collect::<Vec<_>>(), before);
}

#[test]
fn s6r_6_s6r_7_s6r_15_s6r_30_a_relay_outside_the_block_of_its_customers() {
    let mut relay = relay(relay_config(), "192.0.2.1");
    // Its delegated prefix has the low bits of 192.0.2.1.
    let routes: Vec<String> = relay
        .routes()
        .filter(|route| route.origin == Origin::Automatic && route.link == LinkId::NULL)
        .map(|route| route.prefix.to_string())
        .collect();
    assert_eq!(routes, ["2001:db8:2:100::/56"]);
    let customer = v6("2001:db8:6464:100::1");
    let up = |destination: &str| outer(v4("10.100.100.1"), v4("192.0.2.1"), &inner(customer, v6(destination), 64));
    for own in ["2001:db8:2:100::", "2001:db8:2:100::1"] {
        let verdict = arrive(&mut relay, NOW, &up(own)).0;
        assert!(matches!(verdict, Verdict::Deliver { .. }), "{own}: {verdict:?}");
    }
    assert_eq!(dropped(&arrive(&mut relay, NOW, &up("2001:db8:2:1ff::1"))), Some(DropReason::NullRoute));
    // A customer edge answers its own anycast address too. It knows the relay by the relay's
    // anycast address; whatever else has the relay's lower bits is a customer's.
    let mut edge = edge("10.100.100.1");
    tell(&mut edge, NOW, |edge, cx| {
        edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4("192.0.2.1")].into_iter()).unwrap();
    });
    for (destination, outer) in [
        ("2001:db8:2:100::", "192.0.2.1"),
        ("2001:db8:2:100::1", "10.0.2.1"),
        ("2001:db8:2:1ab::7", "10.0.2.1"),
        ("3fff::1", "192.0.2.1"),
    ] {
        let sent = send(&mut edge, NOW, &inner(customer, v6(destination), 64));
        assert_eq!(tunnelled(&sent), Some((v4("10.100.100.1"), v4(outer))), "{destination}");
    }
    let from_relay = outer(v4("192.0.2.1"), v4("10.100.100.1"), &inner(v6("2001:db8:2:100::1"), customer, 64));
    assert!(matches!(arrive(&mut edge, NOW, &from_relay).0, Verdict::Deliver { .. }));
    assert!(link(&edge, SIXRD).is_local(&v6("2001:db8:6464:100::")));
}

#[test]
fn s6r_15_s6r_20_a_relay_whose_lower_bits_are_our_own_is_the_way_out() {
    // With 32 common bits there are no others: all of the prefix is one customer's.
    for (mask, local, own) in [(8, "10.51.100.1", "2001:db8:3364:100::1"), (32, "10.51.100.1", "2001:db8::1")] {
        let mut edge = edge(local);
        tell(&mut edge, NOW, |edge, cx| {
            edge.configure(cx, "2001:db8::/32".parse().unwrap(), mask, [v4("198.51.100.1")].into_iter()).unwrap();
        });
        let default = edge.routes().find(|route| route.prefix.length() == 0).unwrap();
        // By a gateway that is its own address the kernel takes no route.
        assert_eq!(default.next_hop, None);
        let out = send(&mut edge, NOW, &inner(v6(own), v6("3fff::1"), 64));
        assert_eq!(tunnelled(&out), Some((v4(local), v4("198.51.100.1"))), "{mask}");
        let back = outer(v4("198.51.100.1"), v4(local), &inner(v6("3fff::1"), v6(own), 64));
        assert!(matches!(arrive(&mut edge, NOW, &back).0, Verdict::Deliver { .. }), "{mask}");
        let to_self = link(&edge, SIXRD).resolve(&v6(own), &v6(own));
        assert_eq!(to_self, Err(DropReason::DestinationRefused), "{mask}");
    }
}

#[test]
fn s6r_20_without_a_relay_nothing_leaves_the_domain() {
    let mut edge = edge("10.100.100.1");
    tell(&mut edge, NOW, |edge, cx| {
        edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [].into_iter()).unwrap();
    });
    assert!(edge.routes().all(|route| route.prefix.length() != 0));
    let out = link(&edge, SIXRD).resolve(&v6("2001:db8:6464:100::1"), &v6("3fff::1"));
    assert_eq!(out, Err(DropReason::NextHopUnresolvable));
}

#[test]
fn s6r_32_tun_37_an_anycast_relay_never_lets_its_packets_be_fragmented() {
    for anycast in [false, true] {
        let mut config = relay_config();
        config.anycast = anycast;
        let mut relay = relay(config, "10.0.0.1");
        let down = arrive_natively(&mut relay, NOW, LAN, &inner(v6("3fff::1"), v6("2001:db8:6464:100::1"), 64));
        assert_eq!(tunnelled(&down), Some((v4("10.0.0.1"), v4("10.100.100.1"))));
        assert_eq!(down.1[6] & 0x40 != 0, anycast);
        // What it says itself, to a customer that asks whether it is there.
        let (customer, own) = (v6("2001:db8:6464:100::1"), v6("2001:db8:0:100::1"));
        let question = outer(v4("10.100.100.1"), v4("10.0.0.1"), &neighbor_solicitation(customer, own));
        let (verdict, answer) = arrive(&mut relay, NOW, &question);
        assert!(matches!(verdict, Verdict::Answer { .. }), "{verdict:?}");
        assert_eq!((answer[6] & 0x40 != 0, answer[60]), (anycast, 136));
    }
}

/// ICMPv6 type 135 for `target`, to itself.
fn neighbor_solicitation(source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let mut packet = inner(source, target, 255);
    let message = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &target.octets()].concat();
    (packet[5], packet[6]) = (24, 58);
    let pseudo = [&source.octets()[..], &target.octets(), &[0, 0, 0, 24, 0, 0, 0, 58], &message].concat();
    let sum: u32 = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
    let folded = (sum & 0xffff) + (sum >> 16);
    packet.extend(message);
    packet[42..44].copy_from_slice(&(!(((folded & 0xffff) + (folded >> 16)) as u16)).to_be_bytes());
    packet
}

#[test]
fn s6r_20_what_no_lan_has_ends_here_whatever_device_the_kernel_gave_it_to() {
    let mut node = edge("10.100.100.1");
    let packet = inner(v6("2001:db8:6464:100::1"), v6("2001:db8:6464:1ee::9"), 64);
    for device in [None, Some(SIXRD)] {
        let (verdict, _) = with_packet(&packet, |packet| {
            packet.set_link(device);
            node.encapsulate(NOW, packet)
        });
        assert_eq!(dropped(&(verdict, vec![])), Some(DropReason::NullRoute), "{device:?}");
    }
}

#[test]
fn s6r_25_the_mtu_is_1280_by_default_and_the_path_is_followed() {
    let config = EdgeConfig::DEFAULT;
    assert_eq!(config.policy.ipv6_mtu(), 1280);
    let mut node = edge_with(config, "10.100.100.1");
    let mut packet = inner(v6("2001:db8:6464:100::1"), v6("3fff::1"), 64);
    packet.resize(1281, 0);
    packet[4..6].copy_from_slice(&1241_u16.to_be_bytes());
    let answer = send(&mut node, NOW, &packet);
    assert_eq!(dropped(&answer), Some(DropReason::PacketTooBig));
    assert_eq!(answer.1[40..48], [2, 0, answer.1[42], answer.1[43], 0, 0, 5, 0], "Packet Too Big, 1280");
}

/// Errors about the path may reach another relay.
#[test]
fn s6r_25_s6r_32_an_anycast_relay_sends_no_more_than_1280_bytes_unless_told_to() {
    for (anycast, configured, longest) in
        [(false, None, 1480), (true, None, 1280), (true, Some(1400), 1400), (false, Some(1400), 1400)]
    {
        let mut config = RelayConfig::new(domain());
        config.policy = config.policy.with_link_mtu(configured);
        config.anycast = anycast;
        let mut node = relay(config, "10.0.0.1");
        for (len, fits) in [(longest, true), (longest + 1, false)] {
            let mut packet = inner(v6("3fff::1"), v6("2001:db8:6464:100::1"), 64);
            packet.resize(len, 0);
            packet[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
            let answer = arrive_natively(&mut node, NOW, LAN, &packet);
            assert_eq!(tunnelled(&answer).is_some(), fits, "{anycast} {configured:?} {len}");
            assert!(!fits || answer.1[6] & 0x40 != 0, "DF");
        }
    }
}

#[test]
fn s6r_26_no_link_local_addresses_cross() {
    let mut node = edge("10.100.100.1");
    let own = "2001:db8:6464:100::1";
    for (source, destination, reason) in [
        ("fe80::1", own, DropReason::InnerSourceRefused),
        ("::", own, DropReason::InnerSourceUnspecified),
        ("3fff::1", "fe80::1", DropReason::InnerDestinationRefused),
        ("3fff::1", "ff02::1", DropReason::InnerDestinationRefused),
    ] {
        let flow = flow(source, "10.0.0.1", destination, "10.100.100.1");
        assert_eq!(link(&node, SIXRD).admit(&flow), Err(Denied::Refused(reason)));
    }
    let out = send(&mut node, NOW, &inner(v6("fe80::5"), v6("3fff::1"), 64));
    assert_eq!(dropped(&out), Some(DropReason::InnerSourceRefused));
    assert!(!link(&node, SIXRD).is_on_link(&v6("fe80::5")));
}

#[test]
fn s6r_33_other_tunnel_routers_are_no_customers() {
    let mut relay = relay(relay_config(), "10.0.0.1");
    node_relay(&mut relay, |relay| relay.set_known_routers(&[v4("10.100.100.9")]).unwrap());
    let from = flow("2001:db8:6464:900::1", "10.100.100.9", "3fff::1", "10.0.0.1");
    assert_eq!(link(&relay, SIXRD).admit(&from), Err(Denied::Refused(DropReason::KnownRouter)));
    let to = arrive_natively(&mut relay, NOW, LAN, &inner(v6("3fff::1"), v6("2001:db8:6464:900::1"), 64));
    assert_eq!(dropped(&to), Some(DropReason::KnownRouter));
    // The anycast 6to4 relays, where the whole IPv4 address is embedded.
    let mut config =
        RelayConfig::new(Domain::new("2001:db8::/32".parse().unwrap(), "0.0.0.0/0".parse().unwrap()).unwrap());
    config.policy.mtu = MtuMode::Static(1280);
    let whole = self::relay(config, "192.0.2.1");
    let anycast = link(&whole, SIXRD).resolve(&v6("3fff::1"), &v6("2001:db8:c058:6301::1"));
    assert_eq!(anycast, Err(DropReason::KnownRouter));
}

fn node_relay(node: &mut Any, tell: impl FnOnce(&mut RelayInterface<Standard>)) {
    node.with_interface(NOW, SIXRD, |interface, _| match interface {
        AnyInterface::SixRdRelay(relay) => tell(relay),
        _ => unreachable!(),
    });
}

fn node_relay_locators(node: &mut Any, locators: &[Locator]) {
    node.with_interface(NOW, SIXRD, |interface, cx| match interface {
        AnyInterface::SixRdRelay(relay) => relay.set_locators(cx, locators).unwrap(),
        _ => unreachable!(),
    });
}

/// RFC 5969 §9.2 once more, in numbers: the sender's low IPv4 bits behind the
/// prefix. `true`: the packet may enter.
fn rfc_5969(at_edge: bool, flow: &Flow, own: Ipv4Addr) -> bool {
    let prefix_value = |a: Ipv6Addr| a.to_bits() >> 96 == 0x2001_0db8;
    // Mask 8 and a /32: bits 32 to 55 are the 24 low bits.
    let embedded = |a: Ipv6Addr| (a.to_bits() >> 72 & 0xff_ffff) as u32 | 10 << 24;
    let from_customer = prefix_value(flow.inner_source) && embedded(flow.inner_source) == flow.outer_source.to_bits();
    if flow.outer_source == own {
        return false;
    }
    if !at_edge {
        return from_customer;
    }
    let to_us = prefix_value(flow.inner_destination) && embedded(flow.inner_destination) == own.to_bits();
    (from_customer || flow.outer_source == Ipv4Addr::new(10, 0, 0, 1)) && to_us
}

fn any_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => prop::sample::select(vec!["10.0.0.1", "10.100.100.1", "10.100.100.2", "10.100.101.1", "11.100.100.1"])
            .prop_map(v4),
        1 => any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn any_ipv6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        5 => (any_ipv4(), any::<u64>()).prop_map(|(ipv4, rest)| {
            let low = u128::from(ipv4.to_bits() & 0xff_ffff);
            Ipv6Addr::from_bits(0x2001_0db8 << 96 | low << 72 | u128::from(rest))
        }),
        2 => prop::sample::select(vec!["3fff::1", "2001:db9:6464:100::1", "2001:db8:ffff::1"]).prop_map(v6),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn s6r_22_s6r_23_s6r_31_the_checks_are_those_of_rfc_5969(
        src4 in any_ipv4(), src6 in any_ipv6(), dst6 in any_ipv6(), at_edge: bool
    ) {
        let (node, own) = if at_edge {
            (edge("10.100.100.1"), v4("10.100.100.1"))
        } else {
            (relay(relay_config(), "10.0.0.1"), v4("10.0.0.1"))
        };
        if let Ok(flow) = Flow::parse(&outer(src4, own, &inner(src6, dst6, 64))) {
            prop_assert_eq!(link(&node, SIXRD).admit(&flow).is_ok(), rfc_5969(at_edge, &flow, own), "{:?}", flow);
        }
        // What is sent is what a receiver of the same domain lets in.
        let link = link(&node, SIXRD);
        if let Ok(Resolution::To { source, destination }) =
            link.permit(&src6, &dst6, &dst6).and_then(|()| link.resolve(&src6, &dst6))
        {
            prop_assert_eq!(source, own);
            prop_assert!(destination != own && destination.octets()[0] == 10);
            let packet = outer(source, destination, &inner(src6, dst6, 64));
            if let (true, Ok(flow)) = (at_edge, Flow::parse(&packet)) {
                let is_relay = destination == v4("10.0.0.1");
                prop_assert!(rfc_5969(!is_relay, &flow, destination), "{:?}", flow);
            }
        }
    }
}
