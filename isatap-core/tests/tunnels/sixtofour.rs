//! 6to4 as a node does it: vectors, the checks in both directions, roles.

use isatap_core::time::Duration;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Change, Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::link::{Denied, InterfaceAddress, LinkKind, Locator, NativeLink, Resolution};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::Flow;
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::route::{Origin, Route};
use isatap_core::sixtofour::{Relay, RelayConfig, RelayInterface, RouterConfig, RouterInterface, addr, ingress};
use isatap_core::time::{Expiry, Instant};
use proptest::prelude::*;

const SIXTOFOUR: LinkId = LinkId(0);
const LAN: LinkId = LinkId(1);
const NOW: Instant = Instant::from_secs(1000);

/// Vectors were made with DF clear, of documentation addresses.
fn router_config(relay: Relay) -> RouterConfig {
    let mut config = RouterConfig::DEFAULT;
    config.accept_bogons = true;
    config.policy.mtu = MtuMode::Static(1280);
    config.relay = relay;
    config
}

/// The same where only global IPv4 addresses count, as outside of labs.
fn strict_config(relay: Relay) -> RouterConfig {
    let mut config = router_config(relay);
    config.accept_bogons = false;
    config
}

/// The router of the white paper's walks: site 157.60.0.1, a LAN.
fn router(config: RouterConfig, addresses: &[&str]) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    // Nothing is due but what the interface wants.
    node.reseed([0; 2]);
    let interface = AnyInterface::SixToFourRouter(RouterInterface::new(config));
    assert_eq!(node.add(interface, Switches::FORWARDING), Ok(SIXTOFOUR));
    let mut lan = NativeLink::new(1500);
    lan.add_address(InterfaceAddress { address: v6("fe80::1"), prefix_length: 64 }).unwrap();
    let site = addr::subnet(v4(addresses[0]), 1);
    let on_lan = site.with_identifier([0, 0, 0, 0, 0, 0, 0, 0xff]).unwrap();
    lan.add_address(InterfaceAddress { address: on_lan, prefix_length: 64 }).unwrap();
    assert_eq!(node.add(AnyInterface::Native(lan), Switches::FORWARDING), Ok(LAN));
    node.insert_route(Route::on_link(site, LAN, Origin::Manual)).unwrap();
    set_locators(&mut node, NOW, addresses);
    node
}

fn set_locators(node: &mut Any, now: Instant, addresses: &[&str]) {
    tell(node, now, |router, cx| router.set_locators(cx, &locators(addresses), Expiry::NEVER)).unwrap();
}

fn tell<R>(
    node: &mut Any,
    now: Instant,
    tell: impl FnOnce(&mut RouterInterface<Standard>, &mut isatap_core::interface::Context<'_, Standard>) -> R,
) -> R {
    let told = node.with_interface(now, SIXTOFOUR, |interface, cx| match interface {
        AnyInterface::SixToFourRouter(router) => tell(router, cx),
        _ => unreachable!(),
    });
    told.unwrap()
}

/// A relay with a native side that leads to everywhere.
fn relay(config: RelayConfig, addresses: &[&str]) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    let id = node.add(AnyInterface::SixToFourRelay(RelayInterface::new(config)), Switches::FORWARDING).unwrap();
    node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).unwrap();
    node.insert_route(Route::via("::/0".parse().unwrap(), LAN, v6("fe80::99"), Origin::Manual)).unwrap();
    node.with_interface(NOW, id, |interface, cx| match interface {
        AnyInterface::SixToFourRelay(relay) => relay.set_locators(cx, &locators(addresses)).unwrap(),
        _ => unreachable!(),
    });
    node
}

fn relay_config() -> RelayConfig {
    let mut config = RelayConfig::DEFAULT;
    config.accept_bogons = true;
    config.policy.mtu = MtuMode::Static(1280);
    config
}

const ECHO: &str = "4500004c000000004029 8e53 c0000201 c6336401 6000000000103a40 2002c000020100000000000000000001
    2002c633640100000000000000000001 8000b3c0123400013674 6f3474657374";

#[test]
fn s64_10_s64_11_s64_12_the_echo_of_the_vectors_goes_out_byte_for_byte() {
    let mut node = router(router_config(Relay::None), &["192.0.2.1"]);
    let wire = bytes(ECHO);
    let (verdict, packet) = send(&mut node, NOW, &wire[20..]);
    assert!(matches!(verdict, Verdict::Tunnel { link: SIXTOFOUR, .. }), "{verdict:?}");
    assert_eq!(packet, wire);
}

#[test]
fn s64_20_the_echo_of_the_vectors_comes_in() {
    let mut node = router(router_config(Relay::None), &["198.51.100.1"]);
    let wire = bytes(ECHO);
    // To the LAN of the site there is no 2002:c633:6401::1: subnet 0 is none.
    assert_eq!(dropped(&arrive(&mut node, NOW, &wire)), Some(DropReason::NullRoute));
    // With a kernel above the node, what was let in is delivered.
    let (verdict, packet) = with_packet(&wire, |packet| node.decapsulate_ipv4(NOW, packet));
    assert_eq!(verdict, Verdict::Deliver { link: SIXTOFOUR, from: Admitted::Host });
    assert_eq!(packet, wire[20..]);
    assert_counted(&node);
}

#[test]
fn s64_14_s64_20_s64_24_s64_25_decapsulation_of_the_vectors() {
    let node = router(router_config(Relay::None), &["198.51.100.1"]);
    let here = "2002:c633:6401::1";
    for (source, outer_source, destination, expected) in [
        ("2002:c000:201::1", "192.0.2.1", here, Ok(Admitted::Host)),
        ("2002:c000:201::1", "192.0.2.9", here, Err(DropReason::SixToFourSourceMismatch)),
        ("2001:db8::1", "192.88.99.1", here, Ok(Admitted::UnverifiedRelay)),
        ("2001:db8::1", "192.0.2.1", "2001:db8::2", Err(DropReason::NativeToNative)),
        ("fe80::1", "192.0.2.1", here, Err(DropReason::SixToFourInnerRefused)),
        ("2002:c633:6401::1", "198.51.100.1", here, Err(DropReason::OuterSourceRefused)),
        // The anycast relay answers a probe of its own address.
        ("2002:c058:6301::", "192.88.99.1", here, Ok(Admitted::Host)),
        ("2002:c000:201::1", "192.0.2.1", "2002:c000:209::1", Err(DropReason::SixToFourDestinationMismatch)),
        ("2002:c000:201::1", "192.0.2.1", "2001:db8::2", Err(DropReason::OutsideSite)),
        ("fec0::1", "192.0.2.1", here, Err(DropReason::SixToFourInnerRefused)),
        ("2001:db8::1", "192.0.2.1", "2002:7f00:1::1", Err(DropReason::SixToFourEmbeddedRefused)),
    ] {
        let answer = link(&node, SIXTOFOUR).admit(&flow(source, outer_source, destination, "198.51.100.1"));
        assert_eq!(answer, expected.map_err(Denied::Refused), "{source} by {outer_source} to {destination}");
    }
    // Private ones, unless a lab lives in them.
    let (own, private) = ("131.107.0.1", "2002:a00:1::1");
    for (config, outer_source, expected) in [
        (strict_config(Relay::None), "10.0.0.1", Err(DropReason::SixToFourOuterRefused)),
        (strict_config(Relay::None), "131.107.0.9", Err(DropReason::SixToFourEmbeddedRefused)),
        (router_config(Relay::None), "10.0.0.1", Ok(Admitted::Host)),
        (router_config(Relay::None), "131.107.0.9", Err(DropReason::SixToFourSourceMismatch)),
    ] {
        let node = router(config, &[own]);
        let answer = link(&node, SIXTOFOUR).admit(&flow(private, outer_source, "2002:836b:1::1", own));
        assert_eq!(answer, expected.map_err(Denied::Refused), "{outer_source} {}", config.accept_bogons);
    }
    let elsewhere = flow("2002:c000:201::1", "192.0.2.1", here, "198.51.100.2");
    assert_eq!(link(&node, SIXTOFOUR).admit(&elsewhere), Err(Denied::NotAddressed));
}

#[test]
fn s64_20_directed_broadcasts_of_our_subnets_are_refused() {
    let mut node = router(router_config(Relay::None), &["198.51.100.1"]);
    let own = Locator { address: v4("198.51.100.1"), subnet_length: 24 };
    tell(&mut node, NOW, |router, cx| router.set_locators(cx, &[own], Expiry::NEVER)).unwrap();
    let here = "2002:c633:6401::1";
    for (flow, reason) in [
        (flow("2001:db8::1", "198.51.100.255", here, "198.51.100.1"), DropReason::OuterSourceRefused),
        (flow("2002:c633:64ff::1", "192.0.2.1", here, "198.51.100.1"), DropReason::SixToFourEmbeddedRefused),
    ] {
        assert_eq!(link(&node, SIXTOFOUR).admit(&flow), Err(Denied::Refused(reason)));
    }
    let out = link(&node, SIXTOFOUR).resolve(&v6(here), &v6("2002:c633:64ff::1"));
    assert_eq!(out, Err(DropReason::DestinationRefused));
}

/// RFC 3964 §5.1 and §5.2 once more, in the words of the RFC and with the
/// standard library's classes. `true`: the packet passes.
fn rfc_3964(
    outbound: bool,
    accept_bogons: bool,
    src4: Ipv4Addr,
    dst4: Ipv4Addr,
    src6: Ipv6Addr,
    dst6: Ipv6Addr,
) -> bool {
    let sane4 = |a: Ipv4Addr| {
        let first = a.octets()[0];
        !(a.is_loopback() || a.is_link_local() || a.is_multicast() || first == 0 || first >= 240)
            && (accept_bogons || !is_bogon(a))
    };
    let sane6 = |a: Ipv6Addr| {
        let first = a.segments()[0];
        !(first == 0 || a.is_multicast() || a.is_unicast_link_local() || first & 0xffc0 == 0xfec0)
    };
    let v4_of = |a: Ipv6Addr| {
        let [first, b, c, ..] = a.segments();
        (first == 0x2002).then(|| Ipv4Addr::from(u32::from(b) << 16 | u32::from(c)))
    };
    let embedded = [v4_of(src6), v4_of(dst6)];
    if !(sane6(src6) && sane6(dst6) && embedded.iter().flatten().all(|v4| sane4(*v4))) {
        return false;
    }
    let outer_is_sane = sane4(src4) && sane4(dst4);
    if !(outbound || outer_is_sane) {
        return false;
    }
    match (outbound, embedded) {
        (_, [None, None]) => false,
        (true, [Some(source), _]) => source == src4,
        (true, [None, Some(_)]) => true,
        (false, [source, destination]) => destination.is_none_or(|v4| v4 == dst4) && source.is_none_or(|v4| v4 == src4),
    }
}

/// IPv4 addresses that meet often, near the edges of what is refused.
fn any_ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "192.0.2.1", "198.51.100.1", "10.0.0.1", "9.255.255.255", "11.0.0.0", "127.0.0.1", "172.15.255.255",
            "172.16.0.1", "172.32.0.0", "192.168.1.1", "169.254.1.1", "224.0.0.1", "240.0.0.1", "0.0.0.1", "1.0.0.0",
            "192.88.99.1", "223.255.255.255", "131.107.0.1",
        ]).prop_map(v4),
        1 => any::<u32>().prop_map(Ipv4Addr::from),
    ]
}

fn any_ipv6() -> impl Strategy<Value = Ipv6Addr> {
    prop_oneof![
        4 => (any_ipv4(), any::<u64>()).prop_map(|(ipv4, rest)| {
            Ipv6Addr::from_bits(0x2002 << 112 | u128::from(ipv4.to_bits()) << 80 | u128::from(rest))
        }),
        2 => prop::sample::select(vec![
            "2001:db8::1", "::1", "::192.0.2.1", "::ffff:192.0.2.1", "fe80::1", "fec0::1", "ff02::1", "2003::1", "fdff::1",
            "0:1::1",
        ]).prop_map(v6),
        1 => any::<u128>().prop_map(Ipv6Addr::from_bits),
    ]
}

/// Private, shared, for documentation or for benchmarks, or in 192.0.0/24.
fn is_bogon(ipv4: Ipv4Addr) -> bool {
    let [a, b, c, _] = ipv4.octets();
    ipv4.is_private()
        || ipv4.is_documentation()
        || (a == 100 && b & 0xc0 == 64)
        || (a, b, c) == (192, 0, 0)
        || (a == 198 && b & 0xfe == 18)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn s64_11_s64_20_the_checks_are_those_of_rfc_3964(
        src4 in any_ipv4(), dst4 in any_ipv4(), src6 in any_ipv6(), dst6 in any_ipv6(), bogons: bool
    ) {
        // What comes in, rule by rule.
        if let Ok(flow) = Flow::parse(&outer(src4, dst4, &inner(src6, dst6, 64))) {
            let passes = ingress::outer(&flow, bogons).is_ok()
                && [src6, dst6].iter().all(|a| ingress::inner(a).is_ok() && ingress::embedded(a, bogons).is_ok())
                && ingress::source(&flow).is_ok()
                && ingress::destination(&flow).is_ok()
                && ingress::one_is_sixtofour(&src6, &dst6).is_ok();
            prop_assert_eq!(passes, rfc_3964(false, bogons, src4, dst4, src6, dst6));
        }
        // What a router at src4 sends on-link.
        let mut config = router_config(Relay::None);
        config.accept_bogons = bogons;
        let node = router(config, &["131.107.0.1"]);
        let own = v4("131.107.0.1");
        let link = link(&node, SIXTOFOUR);
        let out = link.permit(&src6, &dst6, &dst6).and_then(|()| link.resolve(&src6, &dst6));
        if let Ok(Resolution::To { source, destination }) = out {
            prop_assert!(rfc_3964(true, bogons, source, destination, src6, dst6));
            prop_assert_eq!((source, Some(destination)), (own, addr::embedded_ipv4(&dst6)));
            prop_assert!(destination != own);
        } else if rfc_3964(true, bogons, own, dst4, src6, dst6) {
            // The next hop is no 6to4 address, or we are.
            prop_assert!(addr::embedded_ipv4(&dst6).is_none_or(|v4| v4 == own));
        }
    }

    #[test]
    fn s64_1_s64_36_no_site_of_an_address_that_is_not_global(ipv4 in any_ipv4(), accept_bogons: bool) {
        let mut config = RouterConfig::DEFAULT;
        config.accept_bogons = accept_bogons;
        let mut node = router(config, &["131.107.0.1"]);
        let text = ipv4.to_string();
        set_locators(&mut node, NOW, &[&text]);
        let used = node.interface(SIXTOFOUR).unwrap().link().owns_ipv4(ipv4);
        let [a, b, c, _] = ipv4.octets();
        let refused = ipv4.is_loopback() || ipv4.is_link_local() || a == 0 || a >= 224
            || (a, b, c) == (192, 88, 99) && ipv4.octets()[3] == 1;
        prop_assert_eq!(used, !refused && (accept_bogons || !is_bogon(ipv4)));
        let routes = node.routes().filter(|route| route.origin == Origin::Automatic).count();
        prop_assert_eq!(routes, if used { 2 } else { 0 });
    }
}

#[test]
fn s64_13_s64_44_s64_45_the_route_is_as_long_as_it_may_be_and_not_published() {
    let node = router(router_config(Relay::Address(v4("194.207.1.5"))), &["157.60.0.1"]);
    let automatic: Vec<Route> = node.routes().filter(|route| route.origin == Origin::Automatic).copied().collect();
    assert!(automatic.iter().all(|route| !route.publish));
    assert!(automatic.iter().any(|route| route.prefix == addr::PREFIX && route.next_hop.is_none()));
    // Toward another site there is no relay, not even by a wrong route.
    let mut node = node;
    let wrong = Route::via("2002:c000::/24".parse().unwrap(), SIXTOFOUR, v6("2002:c2cf:105::1"), Origin::Manual);
    node.insert_route(wrong).unwrap();
    let by_relay = send(&mut node, NOW, &inner(v6("2002:9d3c:1::9d3c:1"), v6("2002:c000:201::1"), 64));
    assert_eq!(dropped(&by_relay), Some(DropReason::SixToFourByRelay));

    let relay_routes = |publish| {
        let mut config = relay_config();
        config.publish = publish;
        let node = relay(config, &["194.207.1.5"]);
        node.routes().filter(|route| route.publish).map(|route| route.prefix).collect::<Vec<_>>()
    };
    assert_eq!(relay_routes(false), []);
    assert_eq!(relay_routes(true), [addr::PREFIX]);
}

#[test]
fn s64_21_s64_23_packet_walks_4_and_5() {
    // 4: 2002:9d3c:1:1::1 on the LAN, to the host/router 131.107.0.1.
    let mut site = router(router_config(Relay::Address(v4("194.207.1.5"))), &["157.60.0.1"]);
    let host = v6("2002:9d3c:1:1::1");
    let to_site = arrive_natively(&mut site, NOW, LAN, &inner(host, v6("2002:836b:1::836b:1"), 64));
    assert_eq!(tunnelled(&to_site), Some((v4("157.60.0.1"), v4("131.107.0.1"))));
    assert_eq!(to_site.1[27], 63, "one hop");

    let mut host_router = router(router_config(Relay::None), &["131.107.0.1"]);
    host_router.switches_mut(SIXTOFOUR).unwrap().forwarding = false;
    let arrived = arrive(&mut host_router, NOW, &to_site.1);
    assert_eq!(arrived.0, Verdict::Deliver { link: SIXTOFOUR, from: Admitted::Host });
    // S64-23: what is not for the host/router itself goes nowhere.
    let beyond = outer(v4("157.60.0.1"), v4("131.107.0.1"), &inner(host, v6("2002:836b:1:1::9"), 64));
    assert_eq!(dropped(&arrive(&mut host_router, NOW, &beyond)), Some(DropReason::ForwardingOff));

    // The answer to the LAN.
    let back = send(&mut host_router, NOW, &inner(v6("2002:836b:1::836b:1"), host, 64));
    assert_eq!(tunnelled(&back), Some((v4("131.107.0.1"), v4("157.60.0.1"))));
    let home = arrive(&mut site, NOW, &back.1);
    assert_eq!(home.0, Verdict::Native { link: LAN, next_hop: host });

    // 5: to a native host by the relay, outer destination the next hop's.
    let native = v6("2001:db8::99");
    let to_relay = arrive_natively(&mut site, NOW, LAN, &inner(host, native, 64));
    assert_eq!(tunnelled(&to_relay), Some((v4("157.60.0.1"), v4("194.207.1.5"))));
    let mut relay = relay(relay_config(), &["194.207.1.5"]);
    let onward = arrive(&mut relay, NOW, &to_relay.1);
    assert_eq!(onward.0, Verdict::Native { link: LAN, next_hop: v6("fe80::99") });
    assert_eq!(onward.1[7], 62);
    // And back.
    let answer = arrive_natively(&mut relay, NOW, LAN, &inner(native, host, 64));
    assert_eq!(tunnelled(&answer), Some((v4("194.207.1.5"), v4("157.60.0.1"))));
    assert_eq!(arrive(&mut site, NOW, &answer.1).0, Verdict::Native { link: LAN, next_hop: host });
    for node in [&site, &relay, &host_router] {
        assert_counted(node);
    }
}

#[test]
fn s64_22_s64_46_a_relay_carries_nothing_between_sites_and_for_its_clients_only() {
    let mut node = relay(relay_config(), &["194.207.1.5"]);
    let from = v4("192.0.2.1");
    let packet =
        |destination: &str| outer(from, v4("194.207.1.5"), &inner(v6("2002:c000:201::1"), v6(destination), 64));
    // Another site cannot be reached by the relay: the outer destination is
    // not that site's, and the relay's own /48 has nobody else.
    let other_site = arrive(&mut node, NOW, &packet("2002:836b:1::1"));
    assert_eq!(dropped(&other_site), Some(DropReason::SixToFourDestinationMismatch));
    let own_site = arrive(&mut node, NOW, &packet("2002:c2cf:105:7::1"));
    assert_eq!(dropped(&own_site), Some(DropReason::SixToFourToSixToFour));
    // The relay itself answers.
    let itself = arrive(&mut node, NOW, &packet("2002:c2cf:105::1"));
    assert!(matches!(itself.0, Verdict::Deliver { .. }), "{itself:?}");
    // From the native side only 2002::/16 enters, and no 6to4 source.
    let spoofed = arrive_natively(&mut node, NOW, LAN, &inner(v6("2002:836b:1::1"), v6("2002:c000:201::1"), 64));
    assert_eq!(dropped(&spoofed), Some(DropReason::SourceUnusable));
    let back = Route::via("2001:db8:5::/48".parse().unwrap(), SIXTOFOUR, v6("2002:c000:201::1"), Origin::Manual);
    node.insert_route(back).unwrap();
    let native = arrive_natively(&mut node, NOW, LAN, &inner(v6("2001:db8::9"), v6("2001:db8:5::1"), 64));
    assert_eq!(dropped(&native), Some(DropReason::NativeToNative));
    // Nor with a source of the relay's own site, which would pass for 6to4.
    let own = arrive_natively(&mut node, NOW, LAN, &inner(v6("2002:c2cf:105:7::1"), v6("2001:db8:5::1"), 64));
    assert_eq!(dropped(&own), Some(DropReason::NativeToNative));
    // S64-46
    node.with_interface(NOW, SIXTOFOUR, |interface, _| match interface {
        AnyInterface::SixToFourRelay(relay) => relay.add_client("192.0.2.0/24".parse().unwrap()).unwrap(),
        _ => unreachable!(),
    });
    assert!(matches!(arrive(&mut node, NOW, &packet("2001:db8::9")).0, Verdict::Native { .. }));
    let stranger = outer(v4("131.107.0.1"), v4("194.207.1.5"), &inner(v6("2002:836b:1::1"), v6("2001:db8::9"), 64));
    assert_eq!(dropped(&arrive(&mut node, NOW, &stranger)), Some(DropReason::NotAClient));
    let to_stranger = arrive_natively(&mut node, NOW, LAN, &inner(v6("2001:db8::9"), v6("2002:836b:1::1"), 64));
    assert_eq!(dropped(&to_stranger), Some(DropReason::NotAClient));
    assert_counted(&node);
}

#[test]
fn s64_24_native_sources_from_named_relays_only() {
    let mut node = router(router_config(Relay::None), &["198.51.100.1"]);
    let by = |outer: &str| flow("2001:db8::1", outer, "2002:c633:6401::1", "198.51.100.1");
    assert_eq!(link(&node, SIXTOFOUR).admit(&by("192.0.2.7")), Ok(Admitted::UnverifiedRelay));
    tell(&mut node, NOW, |router, _| router.accept_relay(v4("192.0.2.1"))).unwrap();
    let refused = Err(Denied::Refused(DropReason::NotARelay));
    assert_eq!(link(&node, SIXTOFOUR).admit(&by("192.0.2.7")), refused);
    for accepted in ["192.0.2.1", "192.88.99.1"] {
        assert_eq!(link(&node, SIXTOFOUR).admit(&by(accepted)), Ok(Admitted::UnverifiedRelay));
    }
}

#[test]
fn s64_30_s64_31_6to4_and_anycast_only_when_asked_for() {
    // A node that forwards has no 6to4 by that.
    let mut node: Any = AnyNode::new(NodeConfig::DEFAULT);
    node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).unwrap();
    assert_eq!(dropped(&arrive(&mut node, NOW, &bytes(ECHO))), Some(DropReason::NotAddressed));
    assert_eq!(node.routes().count(), 0);
    // Defaults name no relay, and 192.88.99.1 is nobody's own.
    assert_eq!(RouterConfig::DEFAULT.relay, Relay::None);
    let by_default = RelayConfig::default();
    assert_eq!((by_default.anycast, by_default.publish), (false, false));
    let plain = relay(relay_config(), &["192.88.99.1", "194.207.1.5"]);
    assert!(!link(&plain, SIXTOFOUR).owns_ipv4(addr::ANYCAST_RELAY));
    let mut config = relay_config();
    config.anycast = true;
    let mut anycast = relay(config, &["194.207.1.5", "192.88.99.1"]);
    assert!(link(&anycast, SIXTOFOUR).owns_ipv4(addr::ANYCAST_RELAY));
    // S64-34: answers come from where they were sent to.
    let answer = arrive_natively(&mut anycast, NOW, LAN, &inner(v6("2001:db8::9"), v6("2002:9d3c:1:1::1"), 64));
    assert_eq!(tunnelled(&answer), Some((addr::ANYCAST_RELAY, v4("157.60.0.1"))));
    let site = router(router_config(Relay::Anycast), &["157.60.0.1"]);
    assert!(site.routes().any(|route| route.next_hop == Some(v6("2002:c058:6301::"))));
}

/// An error about the path may reach another relay that has the address.
#[test]
fn tun_37_an_anycast_relay_lets_its_packets_be_fragmented() {
    for anycast in [false, true] {
        let mut config = relay_config();
        (config.anycast, config.policy.mtu) = (anycast, MtuMode::Dynamic { interface: 1500 });
        config.policy = config.policy.with_link_mtu(None);
        let mut relay = relay(config, &["194.207.1.5", "192.88.99.1"]);
        let mut packet = inner(v6("2001:db8::9"), v6("2002:9d3c:1:1::1"), 64);
        let down = arrive_natively(&mut relay, NOW, LAN, &packet);
        assert_eq!(down.1[6] & 0x40 == 0, anycast);
        // TUN-31: nothing else is known then.
        packet.resize(1281, 0);
        packet[4..6].copy_from_slice(&1241_u16.to_be_bytes());
        let down = arrive_natively(&mut relay, NOW, LAN, &packet);
        assert_eq!(dropped(&down), anycast.then_some(DropReason::PacketTooBig));
    }
}

#[test]
fn s64_34_s64_35_a_relay_answers_echo_at_its_own_and_the_anycast_address() {
    let mut config = relay_config();
    config.anycast = true;
    let mut node = AnyNode::<Standard, 4>::new({
        let mut config = NodeConfig::DEFAULT;
        config.answer_echo = true;
        config
    });
    let id = node.add(AnyInterface::SixToFourRelay(RelayInterface::new(config)), Switches::FORWARDING).unwrap();
    node.with_interface(NOW, id, |interface, cx| match interface {
        AnyInterface::SixToFourRelay(relay) => {
            relay.set_locators(cx, &locators(&["194.207.1.5", "192.88.99.1"])).unwrap();
        }
        _ => unreachable!(),
    });
    for relay_address in ["194.207.1.5", "192.88.99.1"] {
        let mut config = router_config(Relay::Address(v4(relay_address)));
        config.probe_relay = true;
        let mut site = router(config, &["157.60.0.1"]);
        site.handle_timeout(NOW, &mut zeros);
        let probe = transmit(&mut site).unwrap();
        assert_eq!(probe[27], 1, "hop limit 1");
        let (verdict, answer) = arrive(&mut node, NOW, &probe);
        assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }), "{verdict:?}");
        assert_eq!(answer[12..16], v4(relay_address).octets(), "from where it was asked");
        let (verdict, _) = arrive(&mut site, NOW, &answer);
        assert_eq!(verdict, Verdict::Consumed { link: SIXTOFOUR });
        let probed = Event::RelayProbed { link: SIXTOFOUR, address: v4(relay_address), reachable: true };
        assert!(events(&mut site).contains(&probed));
        assert!(site.routes().any(|route| route.prefix.is_default()));
    }
}

#[test]
fn s64_35_a_hop_limit_error_is_an_answer_and_silence_ends_the_default_route() {
    let mut config = router_config(Relay::Address(v4("194.207.1.5")));
    config.probe_relay = true;
    let mut site = router(config, &["157.60.0.1"]);
    let default = |site: &Any| site.routes().any(|route| route.prefix.is_default());
    let mut now = NOW;
    for _ in 0..3 {
        site.handle_timeout(now, &mut zeros);
        let probe = transmit(&mut site).unwrap();
        assert_eq!((probe[12..16].to_vec(), probe[16..20].to_vec()), (vec![157, 60, 0, 1], vec![194, 207, 1, 5]));
        assert!(default(&site) && transmit(&mut site).is_none());
        events(&mut site);
        now = site.poll_timeout().unwrap();
    }
    assert_eq!(now, Instant::from_secs(1003));
    site.handle_timeout(now, &mut zeros);
    assert!(!default(&site));
    assert!(site.routes().any(|route| route.prefix == addr::PREFIX), "the other sites stay");
    let told = events(&mut site);
    assert!(told.contains(&Event::RelayProbed { link: SIXTOFOUR, address: v4("194.207.1.5"), reachable: false }));
    assert_eq!(site.poll_timeout(), Some(Instant::from_secs(1013)), "it may come back");

    // Time exceeded, from a router on the relay, about our probe.
    let mut site = router(config, &["157.60.0.1"]);
    site.handle_timeout(NOW, &mut zeros);
    let probe = transmit(&mut site).unwrap();
    let (source, destination) = (v6("2002:c2cf:105::1"), v6("2002:9d3c:1::9d3c:1"));
    let mut message = vec![3, 0, 0, 0, 0, 0, 0, 0];
    message.extend(&probe[20..]);
    isatap_core::wire::icmpv6::fill_checksum(&mut message, &source, &destination);
    let mut error = inner(source, destination, 64);
    error[4..6].copy_from_slice(&u16::try_from(message.len()).unwrap().to_be_bytes());
    error[6] = 58;
    error.extend(&message);
    // Anybody else's error is not an answer.
    let other = arrive(&mut site, NOW, &outer(v4("131.107.0.1"), v4("157.60.0.1"), &error));
    assert_eq!(dropped(&other), Some(DropReason::SixToFourSourceMismatch));
    let relayed = arrive(&mut site, NOW, &outer(v4("194.207.1.5"), v4("157.60.0.1"), &error));
    assert_eq!(relayed.0, Verdict::Consumed { link: SIXTOFOUR });
    assert!(events(&mut site).iter().any(|event| matches!(event, Event::RelayProbed { reachable: true, .. })));
}

/// A relay that was down when the site came up, and one that goes: neither is for ever.
#[test]
fn s64_35_a_relay_is_relied_on_while_it_answers_and_no_longer() {
    let mut config = router_config(Relay::Address(v4("194.207.1.5")));
    config.probe_relay = true;
    let mut site = router(config, &["157.60.0.1"]);
    let default = |site: &Any| site.routes().any(|route| route.prefix.is_default());
    let relayed = |probe: &[u8]| {
        let mut reply = probe[20..].to_vec();
        let (source, destination) = (v6("2002:c2cf:105::1"), v6("2002:9d3c:1::9d3c:1"));
        reply[8..24].copy_from_slice(&source.octets());
        reply[24..40].copy_from_slice(&destination.octets());
        (reply[7], reply[40]) = (64, 129);
        isatap_core::wire::icmpv6::fill_checksum(&mut reply[40..], &source, &destination);
        outer(v4("194.207.1.5"), v4("157.60.0.1"), &reply)
    };
    // When probes were sent while nobody answers, and how that is told.
    let mut now = NOW;
    let silence = |site: &mut Any, now: &mut Instant, until: u64| {
        let (mut sent, mut told) = (Vec::new(), Vec::new());
        while let Some(next) = site.poll_timeout().filter(|next| *next <= Instant::from_secs(until)) {
            *now = (*now).max(next);
            site.handle_timeout(*now, &mut zeros);
            while transmit(site).is_some() {
                sent.push(now.micros() / 1_000_000);
            }
            told.extend(events(site).into_iter().filter(|event| matches!(event, Event::RelayProbed { .. })));
        }
        (sent, told)
    };
    site.handle_timeout(now, &mut zeros);
    let (sent, told) = silence(&mut site, &mut now, 1100);
    // 10 s, 20 s, 40 s after each end.
    assert_eq!(sent, [1000, 1001, 1002, 1013, 1014, 1015, 1036, 1037, 1038, 1079, 1080, 1081]);
    assert!(!default(&site));
    assert!(matches!(told[..], [Event::RelayProbed { reachable: false, .. }]), "told once: {told:?}");
    // The longest pause is five minutes.
    let (sent, _) = silence(&mut site, &mut now, 5000);
    assert!(sent.windows(2).all(|pair| pair[1] - pair[0] <= 301) && sent.last().unwrap() > &4600, "{sent:?}");
    // It comes back.
    now = site.poll_timeout().unwrap();
    site.handle_timeout(now, &mut zeros);
    let probe = transmit(&mut site).unwrap();
    assert!(!default(&site), "what is known holds until there is an answer");
    assert_eq!(arrive(&mut site, now, &relayed(&probe)).0, Verdict::Consumed { link: SIXTOFOUR });
    assert!(default(&site));
    assert!(events(&mut site).iter().any(|event| matches!(event, Event::RelayProbed { reachable: true, .. })));
    // And goes: noticed when it is asked again, and relied on until then.
    let asked = site.poll_timeout().unwrap();
    assert_eq!(asked, now.saturating_add(Duration::from_secs(300)));
    now = asked;
    site.handle_timeout(now, &mut zeros);
    assert!(transmit(&mut site).is_some() && default(&site));
    silence(&mut site, &mut now, asked.micros() / 1_000_000 + 4);
    assert!(!default(&site));
    // An administrator who knows better does not wait.
    let probed = site.with_interface(now, SIXTOFOUR, |interface, cx| match interface {
        AnyInterface::SixToFourRouter(router) => router.probe_relay(cx.now),
        _ => None,
    });
    assert_eq!(probed, Some(Some(v4("194.207.1.5"))));
    site.handle_timeout(now, &mut zeros);
    let probe = transmit(&mut site).unwrap();
    arrive(&mut site, now, &relayed(&probe));
    assert!(default(&site));
}

#[test]
fn s64_33_s64_38_s64_47_rte_13_a_site_comes_and_goes_with_its_address_and_native_prefixes() {
    let mut node = router(strict_config(Relay::Name), &["157.60.0.1", "10.0.0.1"]);
    let delegation = |change, prefix: &str, until| {
        let delegation = isatap_core::engine::Delegation { prefix: prefix.parse().unwrap(), until };
        Event::Delegation { link: SIXTOFOUR, change, delegation }
    };
    let told = events(&mut node);
    assert!(told.contains(&Event::ResolveRelay { link: SIXTOFOUR }));
    assert!(told.contains(&delegation(Change::Added, "2002:9d3c:1::/48", Expiry::NEVER)));
    let addresses = |told: &[Event]| {
        let of = |event: &Event| match event {
            Event::Address { change, address, .. } => Some((*change, address.address)),
            _ => None,
        };
        told.iter().filter_map(of).collect::<Vec<_>>()
    };
    assert_eq!(addresses(&told), [(Change::Added, v6("2002:9d3c:1::9d3c:1"))]);

    // S64-38: another address.
    let lease = Expiry::at(Instant::from_secs(5000));
    tell(&mut node, NOW, |router, cx| router.set_locators(cx, &locators(&["131.107.0.1"]), lease)).unwrap();
    let told = events(&mut node);
    assert_eq!(
        addresses(&told),
        [(Change::Removed, v6("2002:9d3c:1::9d3c:1")), (Change::Added, v6("2002:836b:1::836b:1"))]
    );
    assert!(told.contains(&delegation(Change::Removed, "2002:9d3c:1::/48", Expiry::NEVER)));
    assert!(told.contains(&delegation(Change::Added, "2002:836b:1::/48", lease)));
    let null: Vec<_> = node.routes().filter(|route| route.link == LinkId::NULL).map(|route| route.prefix).collect();
    assert_eq!(null, ["2002:836b:1::/48".parse().unwrap()]);

    // S64-33: native IPv6 is there, so 6to4 rests.
    tell(&mut node, NOW, |router, cx| router.set_native(cx, true)).unwrap();
    assert!(node.routes().all(|route| route.origin != Origin::Automatic));
    assert!(!link(&node, SIXTOFOUR).owns_ipv4(v4("131.107.0.1")));
    assert!(addresses(&events(&mut node)).iter().all(|(change, _)| *change == Change::Removed));
    tell(&mut node, NOW, |router, cx| router.set_native(cx, false)).unwrap();
    assert!(link(&node, SIXTOFOUR).is_local(&v6("2002:836b:1::836b:1")));
}

#[test]
fn s64_33_rte_11_a_relay_by_name_makes_the_default_route_and_is_asked_for_again() {
    let mut node = router(strict_config(Relay::Name), &["157.60.0.1"]);
    let asked = |node: &mut Any| events(node).contains(&Event::ResolveRelay { link: SIXTOFOUR });
    assert!(asked(&mut node));
    let default = |node: &Any| node.routes().find(|route| route.prefix.is_default()).and_then(|route| route.next_hop);
    assert_eq!(default(&node), None);
    let native = send(&mut node, NOW, &inner(v6("2002:9d3c:1::9d3c:1"), v6("2001:db8::1"), 64));
    assert_eq!(dropped(&native), Some(DropReason::NoRoute));
    // Failed: again after a minute.
    tell(&mut node, NOW, |router, cx| router.relay_resolved(cx, &[], None)).unwrap();
    events(&mut node);
    assert_eq!(node.poll_timeout(), Some(Instant::from_secs(1060)));
    let now = Instant::from_secs(1060);
    node.handle_timeout(now, &mut zeros);
    assert!(asked(&mut node));
    // Private and own addresses are no relays.
    let found = [v4("10.0.0.1"), v4("157.60.0.1"), v4("194.207.1.5")];
    let ttl = Some(Duration::from_secs(300));
    tell(&mut node, now, |router, cx| router.relay_resolved(cx, &found, ttl)).unwrap();
    assert_eq!(default(&node), Some(v6("2002:c2cf:105::1")));
    events(&mut node);
    assert_eq!(node.poll_timeout(), Some(Instant::from_secs(1360)));
    // A later failure keeps it.
    node.handle_timeout(Instant::from_secs(1360), &mut zeros);
    assert!(asked(&mut node));
    tell(&mut node, Instant::from_secs(1360), |router, cx| router.relay_resolved(cx, &[], None)).unwrap();
    assert_eq!(default(&node), Some(v6("2002:c2cf:105::1")));
}

/// Nothing is sent to one, so none is a default router, nor probed: of no subnet of ours.
#[test]
fn tun_4_s64_20_a_broadcast_address_is_no_relay() {
    let locator = |address, subnet_length| Locator { address: v4(address), subnet_length };
    let own = [locator("198.51.100.1", 24), locator("203.0.113.1", 26)];
    let subnets = |node: &mut Any| {
        tell(node, NOW, |router, cx| router.set_locators(cx, &own, Expiry::NEVER)).unwrap();
    };
    let default = |node: &Any| node.routes().find(|route| route.prefix.is_default()).and_then(|route| route.next_hop);
    let data = inner(v6("2002:c633:6401::c633:6401"), v6("2001:db8::1"), 64);
    for (relay, is_host) in [("198.51.100.255", false), ("203.0.113.63", false), ("198.51.100.254", true)] {
        let mut config = router_config(Relay::Address(v4(relay)));
        config.probe_relay = true;
        // The length of the subnet is told after the address, while the relay is being probed.
        let mut node = router(config, &["198.51.100.1"]);
        subnets(&mut node);
        assert_eq!(default(&node), is_host.then(|| addr::relay(v4(relay))));
        assert_eq!(tell(&mut node, NOW, |router, cx| router.probe_relay(cx.now)), is_host.then(|| v4(relay)));
        node.handle_timeout(NOW, &mut zeros);
        assert_eq!(transmit(&mut node).is_some(), is_host, "probe of {relay}");
        let sent = send(&mut node, NOW, &data);
        assert_eq!(tunnelled(&sent).map(|(_, to)| to), is_host.then(|| v4(relay)));
        let told = events(&mut node);
        assert!(!told.iter().any(|event| matches!(event, Event::RelayProbed { .. })));
        let next_try = is_host.then(|| NOW.saturating_add(Duration::from_secs(1)));
        assert_eq!(node.poll_timeout(), next_try);
    }
    let mut node = router(router_config(Relay::Name), &["198.51.100.1"]);
    subnets(&mut node);
    events(&mut node);
    let found = [v4("198.51.100.255"), v4("203.0.113.63"), v4("198.51.100.9")];
    tell(&mut node, NOW, |router, cx| router.relay_resolved(cx, &found, None)).unwrap();
    assert_eq!(default(&node), Some(v6("2002:c633:6409::1")));
    // Nor where the name is answered while 6to4 rests.
    let mut node = router(router_config(Relay::Name), &["198.51.100.1"]);
    subnets(&mut node);
    tell(&mut node, NOW, |router, cx| router.set_native(cx, true)).unwrap();
    tell(&mut node, NOW, |router, cx| router.relay_resolved(cx, &found, None)).unwrap();
    tell(&mut node, NOW, |router, cx| router.set_native(cx, false)).unwrap();
    assert_eq!(default(&node), Some(v6("2002:c633:6409::1")));

    // The name was answered before the subnet was known: it is asked for again, once.
    let mut node = router(router_config(Relay::Name), &["198.51.100.1"]);
    let asked = |node: &mut Any| events(node).contains(&Event::ResolveRelay { link: SIXTOFOUR });
    assert!(asked(&mut node));
    tell(&mut node, NOW, |router, cx| router.relay_resolved(cx, &found, None)).unwrap();
    assert_eq!(default(&node), Some(v6("2002:c633:64ff::1")));
    subnets(&mut node);
    assert!(default(&node).is_none() && asked(&mut node) && !asked(&mut node));
    tell(&mut node, NOW, |router, cx| router.relay_resolved(cx, &found[..2], None)).unwrap();
    assert!(default(&node).is_none() && !asked(&mut node));
    assert_eq!(node.poll_timeout(), Some(NOW.saturating_add(Duration::from_secs(60))));
}

#[test]
fn rte_10_what_no_lan_has_does_not_bounce_to_the_relay() {
    let mut node = router(router_config(Relay::Address(v4("194.207.1.5"))), &["157.60.0.1"]);
    let by_relay = outer(v4("194.207.1.5"), v4("157.60.0.1"), &inner(v6("2001:db8::9"), v6("2002:9d3c:1:7::1"), 64));
    assert_eq!(dropped(&arrive(&mut node, NOW, &by_relay)), Some(DropReason::NullRoute));
    let from_lan = arrive_natively(&mut node, NOW, LAN, &inner(v6("2002:9d3c:1:1::1"), v6("2002:9d3c:1:7::1"), 64));
    assert_eq!(dropped(&from_lan), Some(DropReason::NullRoute));
    assert!(matches!(from_lan.0, Verdict::Answer { .. }), "the LAN is told");
}

#[test]
fn s64_4_no_multicast_and_no_link_local_addresses_in_the_tunnel() {
    let mut node = router(router_config(Relay::None), &["157.60.0.1"]);
    let own = v6("2002:9d3c:1::9d3c:1");
    assert_eq!(dropped(&send(&mut node, NOW, &inner(own, v6("ff02::1"), 64))), Some(DropReason::Multicast));
    let to_link_local = send(&mut node, NOW, &inner(own, v6("fe80::836b:1"), 64));
    assert_eq!(dropped(&to_link_local), Some(DropReason::SixToFourInnerRefused));
    assert!(!link(&node, SIXTOFOUR).is_on_link(&v6("fe80::836b:1")));
    // NUD as RFC 4213 §3.8 has it is answered.
    let target = own;
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(target.octets());
    let asker = v6("2002:836b:1::836b:1");
    isatap_core::wire::icmpv6::fill_checksum(&mut message, &asker, &own);
    let mut solicitation = inner(asker, own, 255);
    solicitation[4..7].copy_from_slice(&[0, 24, 58]);
    solicitation.extend(&message);
    let (verdict, answer) = arrive(&mut node, NOW, &outer(v4("131.107.0.1"), v4("157.60.0.1"), &solicitation));
    assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }), "{verdict:?}");
    assert_eq!((answer[16..20].to_vec(), answer[60]), (v4("131.107.0.1").octets().to_vec(), 136));
}

#[test]
fn s64_1_s64_12_several_public_addresses_each_with_its_own_site() {
    let node = router(strict_config(Relay::None), &["131.107.0.1", "131.107.0.2", "192.168.0.1"]);
    let link = link(&node, SIXTOFOUR);
    assert_eq!(link.kind(), LinkKind::SixToFour);
    for own in ["131.107.0.1", "131.107.0.2"] {
        assert!(link.is_local(&addr::host_router(v4(own))));
        let out = link.resolve(&addr::host_router(v4(own)), &v6("2002:9d3c:1::1"));
        assert_eq!(out, Ok(Resolution::To { source: v4(own), destination: v4("157.60.0.1") }));
    }
    assert!(!link.owns_ipv4(v4("192.168.0.1")));
    // From one of ours to the other it never leaves.
    let to_self = link.resolve(&addr::host_router(v4("131.107.0.1")), &addr::host_router(v4("131.107.0.2")));
    assert_eq!(to_self, Err(DropReason::DestinationRefused));
}
