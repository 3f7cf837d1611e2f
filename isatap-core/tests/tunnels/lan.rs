//! LANs behind tunnels: what their hosts are told, and when.

use isatap_core::time::Duration;

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Event, Machine, Verdict};
use isatap_core::lan;
use isatap_core::nd::{Message, NdOption, Preference};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::route::{Origin, Route};
use isatap_core::sixrd;
use isatap_core::sixtofour::{Relay, RouterConfig, RouterInterface};
use isatap_core::time::{Expiry, Instant};

const TUNNEL: LinkId = LinkId(0);
const LAN: LinkId = LinkId(1);
const NOW: Instant = Instant::from_secs(1000);

fn node_of(tunnel: AnyInterface<Standard>) -> Any {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    assert_eq!(node.add(tunnel, Switches::FORWARDING), Ok(TUNNEL));
    let mut interface = lan::LanInterface::new(lan::Config::new(v6("fe80::ff"), 5)).unwrap();
    interface.start(NOW);
    assert_eq!(node.add(AnyInterface::Lan(interface), Switches::FORWARDING), Ok(LAN));
    node
}

fn sixtofour(relay: Relay) -> Any {
    let mut config = RouterConfig::DEFAULT;
    config.relay = relay;
    node_of(AnyInterface::SixToFourRouter(RouterInterface::new(config)))
}

fn set_locators(node: &mut Any, now: Instant, addresses: &[&str], until: Expiry) {
    node.with_interface(now, TUNNEL, |interface, cx| match interface {
        AnyInterface::SixToFourRouter(router) => router.set_locators(cx, &locators(addresses), until).unwrap(),
        AnyInterface::SixRdEdge(edge) => edge.set_locators(cx, &locators(addresses), until).unwrap(),
        _ => unreachable!(),
    });
    // What a driver does with these events.
    for event in events(node) {
        if let Event::Delegation { link, change, delegation } = event {
            node.delegate(now, link, change, delegation).unwrap();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Ra {
    lifetime: u64,
    preference: Preference,
    /// Prefix, valid and preferred lifetimes in seconds.
    prefixes: Vec<(String, u32, u32)>,
    routes: Vec<(String, u32)>,
}

/// The next advertisement; it must be a multicast one of the LAN's router.
fn advertisement(node: &mut Any, now: Instant) -> Option<Ra> {
    node.handle_timeout(now, &mut zeros);
    let mut buffer = [0; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    let transmit = node.poll_transmit(&mut packet).unwrap()?;
    assert_eq!((transmit.link, transmit.outer), (LAN, None));
    let bytes = packet.as_slice();
    assert_eq!(
        (bytes[7], &bytes[8..24], &bytes[24..40]),
        (255, &v6("fe80::ff").octets()[..], &v6("ff02::1").octets()[..])
    );
    let Ok(Message::RouterAdvertisement(ra)) = Message::parse(&bytes[40..]) else { panic!("{bytes:x?}") };
    let mut read = Ra {
        lifetime: ra.router_lifetime().secs().into(),
        preference: ra.preference(),
        prefixes: Vec::new(),
        routes: Vec::new(),
    };
    for option in ra.options().flatten() {
        match option {
            NdOption::PrefixInformation(pio) => {
                let row = (pio.prefix.to_string(), pio.valid_lifetime.secs(), pio.preferred_lifetime.secs());
                read.prefixes.push(row);
            }
            NdOption::RouteInformation(rio) => read.routes.push((rio.prefix.to_string(), rio.lifetime.secs())),
            _ => {}
        }
    }
    Some(read)
}

#[test]
fn s64_2_s64_34_s64_37_rte_13_hosts_learn_the_subnet_of_their_interface() {
    let mut node = sixtofour(Relay::Address(v4("194.207.1.5")));
    set_locators(&mut node, NOW, &["157.60.0.1"], Expiry::NEVER);
    let ra = advertisement(&mut node, NOW).unwrap();
    let site = ("2002:9d3c:1:5::/64".to_owned(), 2_592_000, 604_800);
    assert_eq!(ra, Ra { lifetime: 1800, preference: Preference::Low, prefixes: vec![site], routes: vec![] });
    // The router has an address there, and hosts are on-link.
    assert!(node.datapath().is_local(LAN, &v6("2002:9d3c:1:5::ff")));
    let (verdict, _) = arrive(
        &mut node,
        NOW,
        &outer(v4("131.107.0.1"), v4("157.60.0.1"), &inner(v6("2002:836b:1::1"), v6("2002:9d3c:1:5::7"), 64)),
    );
    assert_eq!(verdict, Verdict::Native { link: LAN, next_hop: v6("2002:9d3c:1:5::7") });
    // No relay: a router for nothing. S64-34
    let mut alone = sixtofour(Relay::None);
    set_locators(&mut alone, NOW, &["157.60.0.1"], Expiry::NEVER);
    assert_eq!(advertisement(&mut alone, NOW).unwrap().lifetime, 0);
    // Forwarding off. NDP-67
    node.switches_mut(LAN).unwrap().forwarding = false;
    assert_eq!(advertisement(&mut node, NOW.saturating_add(Duration::from_secs(16))).unwrap().lifetime, 0);
}

#[test]
fn s64_38_s6r_9_an_old_prefix_is_deprecated_for_two_hours_at_most() {
    let mut node = sixtofour(Relay::Address(v4("194.207.1.5")));
    set_locators(&mut node, NOW, &["157.60.0.1"], Expiry::NEVER);
    advertisement(&mut node, NOW).unwrap();
    let later = Instant::from_secs(1100);
    let lease = Expiry::at(Instant::from_secs(1100 + 86_400));
    set_locators(&mut node, later, &["131.107.0.1"], lease);
    let ra = advertisement(&mut node, later).unwrap();
    let old = ("2002:9d3c:1:5::/64".to_owned(), 7200, 0);
    // S64-34: no longer than the lease.
    let new = ("2002:836b:1:5::/64".to_owned(), 86_400, 86_400);
    assert_eq!(ra.prefixes, [old, new]);
    assert!(!node.datapath().is_local(LAN, &v6("2002:9d3c:1:5::ff")), "the router's address goes at once");
    assert!(node.datapath().is_local(LAN, &v6("2002:836b:1:5::ff")));
    // After two hours it is not spoken of any more; after the lease nothing.
    let mut last = None;
    let mut now = later;
    while let Some(next) = node.poll_timeout().filter(|next| *next <= Instant::from_secs(1100 + 90_000)) {
        now = now.max(next);
        if let Some(ra) = advertisement(&mut node, now) {
            let gone = now >= Instant::from_secs(1100 + 7200);
            assert_eq!(ra.prefixes.iter().any(|(prefix, ..)| prefix == "2002:9d3c:1:5::/64"), !gone, "{now} {ra:?}");
            last = Some(ra);
        }
        events(&mut node);
        assert!(node.poll_timeout().is_none_or(|next| next > now));
    }
    assert_eq!(last.unwrap().prefixes, []);
}

#[test]
fn s6r_8_a_customer_edges_lans_live_as_long_as_the_lease() {
    let mut node = node_of(AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(sixrd::EdgeConfig::DEFAULT)));
    node.with_interface(NOW, TUNNEL, |interface, cx| match interface {
        AnyInterface::SixRdEdge(edge) => {
            edge.configure(cx, "2001:db8::/32".parse().unwrap(), 8, [v4("10.0.0.1")].into_iter()).unwrap();
        }
        _ => unreachable!(),
    });
    set_locators(&mut node, NOW, &["10.100.100.1"], Expiry::at(Instant::from_secs(4600)));
    let ra = advertisement(&mut node, NOW).unwrap();
    assert_eq!((ra.lifetime, ra.prefixes), (1800, vec![("2001:db8:6464:105::/64".to_owned(), 3600, 3600)]));
}

#[test]
fn ndp_40_ndp_42_a_solicitation_is_taken_and_a_leaving_router_says_so() {
    let mut node = sixtofour(Relay::Address(v4("194.207.1.5")));
    set_locators(&mut node, NOW, &["157.60.0.1"], Expiry::NEVER);
    let published =
        Route { publish: true, ..Route::on_link("2001:db8:5::/48".parse().unwrap(), TUNNEL, Origin::Manual) };
    node.insert_route(published).unwrap();
    advertisement(&mut node, NOW).unwrap();
    let mut solicitation = inner(v6("fe80::7"), v6("ff02::2"), 255);
    let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0];
    isatap_core::wire::icmpv6::fill_checksum(&mut message, &v6("fe80::7"), &v6("ff02::2"));
    solicitation[4..7].copy_from_slice(&[0, 8, 58]);
    solicitation.extend(message);
    let asked = Instant::from_secs(1005);
    assert_eq!(arrive_natively(&mut node, asked, LAN, &solicitation).0, Verdict::Consumed { link: LAN });
    assert_eq!(advertisement(&mut node, asked).unwrap().routes, [("2001:db8:5::/48".to_owned(), 1800)]);
    let mut forged = solicitation.clone();
    forged[7] = 64;
    assert_eq!(dropped(&arrive_natively(&mut node, asked, LAN, &forged)), Some(DropReason::NdHopLimit));

    node.with_interface(asked, LAN, |interface, cx| match interface {
        AnyInterface::Lan(lan) => lan.stop(cx.now),
        _ => unreachable!(),
    });
    let mut finals = 0;
    let mut now = asked;
    while let Some(next) = node.poll_timeout() {
        now = now.max(next);
        if let Some(ra) = advertisement(&mut node, now) {
            assert_eq!((ra.lifetime, ra.routes), (0, vec![("2001:db8:5::/48".to_owned(), 0)]));
            finals += 1;
        }
        events(&mut node);
    }
    assert_eq!((finals, now), (3, Instant::from_secs(1014)));
    assert_eq!(dropped(&arrive_natively(&mut node, now, LAN, &solicitation)), Some(DropReason::NotARouter));
    assert_counted(&node);
}

#[test]
fn s64_44_of_6to4_nothing_longer_than_2002_16_is_published() {
    let mut node = sixtofour(Relay::Address(v4("194.207.1.5")));
    set_locators(&mut node, NOW, &["157.60.0.1"], Expiry::NEVER);
    for prefix in ["2002::/16", "2002:9d3c:1::/48", "2002:8000::/17", "2001:db8::/32"] {
        let route = Route { publish: true, ..Route::on_link(prefix.parse().unwrap(), TUNNEL, Origin::Manual) };
        node.insert_route(route).unwrap();
    }
    let mut routes: Vec<String> = advertisement(&mut node, NOW).unwrap().routes.into_iter().map(|row| row.0).collect();
    routes.sort();
    assert_eq!(routes, ["2001:db8::/32", "2002::/16"]);
}
