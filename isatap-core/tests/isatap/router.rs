//! The advertising ISATAP router, driven through bytes: whom it answers, when,
//! with what.

use isatap_core::time::Duration;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{
    CheckNeighbors, HostInterface, OfferDefault, PublishedPrefix, RouterConfig, RouterInterface,
};
use isatap_core::link::{InterfaceAddress, Link as _, NativeLink};
use isatap_core::nd::learned::SearchDomain;
use isatap_core::nd::option::DomainName;
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::time::{Expiry, Instant};

const LINK: LinkId = LinkId(0);
const CONSUMED: Verdict = Verdict::Consumed { link: LINK };

/// The neighbour check is another test's matter.
fn config() -> RouterConfig {
    let mut config = RouterConfig::DEFAULT;
    config.check_neighbors = CheckNeighbors::Off;
    config
}

/// The router of the vectors.
fn standard(dice: Dice) -> Router {
    router(config(), &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, dice)
}

/// Hosts would send what this router would not.
#[test]
fn isa_15_isa_55_a_router_advertises_the_mtu_of_its_link() {
    for (configured, interface, advertised) in
        [(None, 1500, 1480), (None, 1420, 1400), (None, 576, 1280), (Some(1400), 1500, 1400), (Some(1280), 9000, 1280)]
    {
        let mut config = config();
        config.policy = config.policy.with_link_mtu(configured);
        let mut router = router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Middle);
        router.machine.with_interface(router.now, LINK, |router, _| {
            router.link_mut().underlay_mut().set_interface_mtu(interface);
        });
        assert_eq!(answer(&mut router).options()[0], mtu(advertised), "{configured:?} {interface}");
    }
}

/// A published route on another link.
fn published(text: &str, preference: Preference) -> Route {
    let via = Route::via(prefix(text), LinkId(7), v6("fe80::9"), Origin::Manual);
    Route { publish: true, preference, ..via }
}

/// The advertisements sent so far.
fn advertisements(router: &mut Router) -> Vec<Sent> {
    let sent = router.take();
    assert!(sent.iter().all(|sent| sent.kind() == RA));
    sent
}

/// Asks once, and gives the only answer.
fn answer(router: &mut Router) -> Sent {
    router.pass(secs(5));
    router.take();
    assert_eq!(router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS), CONSUMED);
    router.pass(secs(1));
    let sent = advertisements(router);
    assert_eq!(sent.len(), 1);
    sent[0].clone()
}

fn lifetime_of(sent: &Sent) -> u16 {
    u16::from_be_bytes([sent.icmpv6[6], sent.icmpv6[7]])
}

#[test]
fn isa_51_isa_52_which_solicitations_are_answered() {
    let (ours, other) = (local("10.0.0.1"), universal("10.0.0.1"));
    let host = local("10.0.0.2");
    let with_address = [rs(), vec![1, 1, 1, 2, 3, 4, 5, 6]].concat();
    let code = vec![RS, 1, 0, 0, 0, 0, 0, 0];
    let refused = |reason| Verdict::Drop(reason);
    let table = [
        (nd(host, ALL_ROUTERS, rs()), CONSUMED),
        (nd(host, ours, rs()), CONSUMED),
        (nd(host, other, rs()), CONSUMED),
        // Any ISATAP address that passes the source check.
        (nd(universal("10.0.0.2"), ours, rs()), CONSUMED),
        (nd(v6("2001:db8:0:7:0:5efe:a00:2"), ours, rs()), CONSUMED),
        // ISA-31: a link-layer address is tolerated.
        (nd(host, ours, with_address), CONSUMED),
        (nd(host, ALL_NODES, rs()), refused(DropReason::InnerDestinationRefused)),
        (nd(host, local("10.0.0.9"), rs()), refused(DropReason::NdAddresses)),
        (icmpv6(host, ours, 254, rs()), refused(DropReason::NdHopLimit)),
        (nd(host, ours, code), refused(DropReason::NdMalformed)),
        (nd(host, ours, rs()[..7].to_vec()), refused(DropReason::NdMalformed)),
        (nd(host, ours, [rs(), vec![1, 0, 0, 0, 0, 0, 0, 0]].concat()), refused(DropReason::NdMalformed)),
        (ipv6(host, ours, 58, 255, &rs()), refused(DropReason::NdChecksum)),
        (nd(Ipv6Addr::UNSPECIFIED, ALL_ROUTERS, rs()), refused(DropReason::InnerSourceUnspecified)),
        // ISA-50: (a) holds for the router as well.
        (nd(local("10.0.0.3"), ours, rs()), refused(DropReason::IsatapSourceMismatch)),
        (nd(v6("2001:db8:9:9:0:5efe:a00:2"), ours, rs()), refused(DropReason::IsatapSourceMismatch)),
        (nd(v6("fe80::2"), ours, rs()), refused(DropReason::IsatapSourceMismatch)),
    ];
    for (number, (packet, expected)) in table.into_iter().enumerate() {
        let mut router = standard(Dice::Middle);
        assert_eq!(router.receive(&outer("10.0.0.2", "10.0.0.1", &packet)), expected, "row {number}");
        router.pass(secs(10));
        let sent = advertisements(&mut router);
        assert_eq!(sent.len(), usize::from(expected == CONSUMED), "row {number}");
        for sent in sent {
            // ISA-52, NDP-41: to the node that asked, and to it alone.
            let asker: [u8; 16] = packet[8..24].try_into().unwrap();
            assert_eq!((sent.destination, sent.outer), (asker.into(), (v4("10.0.0.1"), v4("10.0.0.2"))));
            assert_eq!((sent.source, sent.hop_limit), (ours, 255));
        }
    }
}

#[test]
fn isa_50_isa_42_a_router_believes_hosts_by_their_address_only() {
    let table = [
        ("2001:db8:0:7:0:5efe:a00:2", "10.0.0.2", true),
        ("2001:db8:0:7:200:5efe:a00:2", "10.0.0.2", true),
        ("2001:db8:0:7:0:5efe:a00:2", "10.0.0.3", false),
        ("2001:db8:0:7::1", "10.0.0.2", false),
        ("2001:db8:1::1", "10.0.0.2", false),
        ("2001:db8:1::1", "10.0.0.99", true),
    ];
    for (source, outer_source, accepted) in table {
        let mut router = standard(Dice::Middle);
        router.machine.with_interface(router.now, LINK, |r, _| r.add_trusted_router(v4("10.0.0.99"))).unwrap().unwrap();
        let packet = ipv6(v6(source), v6("2001:db8:1::1"), 59, 64, &[]);
        let verdict = router.receive(&outer(outer_source, "10.0.0.1", &packet));
        let from = if outer_source == "10.0.0.99" { Admitted::Router } else { Admitted::Host };
        let expected = if accepted {
            Verdict::Deliver { link: LINK, from }
        } else {
            Verdict::Drop(DropReason::IsatapSourceMismatch)
        };
        assert_eq!(verdict, expected, "{source} from {outer_source}");
    }
}

#[test]
fn isa_53_isa_54_each_locator_answers_for_itself() {
    let locators = ["10.0.0.1", "131.107.71.209"];
    let mut router = router(config(), &locators, &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Middle);
    // ISA-54: one identifier a locator, in every prefix.
    let addresses: Vec<_> = router.addresses.keys().map(ToString::to_string).collect();
    let expected = [
        "2001:db8:0:7:0:5efe:a00:1",
        "2001:db8:0:7:200:5efe:836b:47d1",
        "fe80::5efe:a00:1",
        "fe80::200:5efe:836b:47d1",
    ];
    assert_eq!(addresses, expected);
    for to in locators {
        router.asked("10.0.0.2", to, ALL_ROUTERS);
    }
    router.pass(secs(1));
    let mut sent: Vec<_> = advertisements(&mut router).iter().map(|sent| (sent.outer.0, sent.source)).collect();
    sent.sort();
    let expected = [(v4("10.0.0.1"), local("10.0.0.1")), (v4("131.107.71.209"), universal("131.107.71.209"))];
    assert_eq!(sent, expected);
    // A locator that is gone answers nobody, not even those who asked it.
    router.pass(secs(5));
    router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
    let told = router.machine.with_interface(router.now, LINK, |r, cx| r.set_locators(cx, &[v4(locators[1]).into()]));
    told.unwrap().unwrap();
    router.pass(secs(10));
    assert_eq!(router.take(), []);
}

#[test]
fn ndp_40_the_delay_is_uniform_in_half_a_second_from_the_first_solicitation() {
    let delay = |dice| {
        let mut router = standard(dice);
        router.step();
        let start = router.now;
        router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
        router.step();
        // Asking again does not defer the answer, nor double it.
        router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
        router.pass(secs(1));
        assert_eq!(router.sent.len(), 1);
        router.sent[0].0.saturating_duration_since(start)
    };
    assert_eq!(delay(Dice::Low), Duration::ZERO);
    assert_eq!(delay(Dice::Middle), Duration::from_millis(250));
    let high = delay(Dice::High);
    assert!(high < Duration::from_millis(500) && high > Duration::from_micros(499_990));
    let delays = (1..=400_u64).map(|seed| delay(Dice::Seeded(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15))).as_micros());
    let mean = delays.sum::<u64>() / 400;
    assert!((225_000..275_000).contains(&mean), "{mean} us");
}

#[test]
fn isa_55_isa_59_ndp_41_what_is_advertised_follows_what_is_published() {
    let mut router = standard(Dice::Middle);
    let sent = answer(&mut router);
    // CurHopLimit 64, no flags, 1800 s, no times.
    assert_eq!(sent.icmpv6[4..16], [64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0]);
    let standard_options = vec![mtu(1280), pio("2001:db8:0:7::/64", 0xc0, 2_592_000, 604_800)];
    assert_eq!(sent.options(), standard_options);
    // The publish flag decides, route by route.
    let high = published("2001:db8:1::/48", Preference::High);
    let silent = Route { publish: false, ..published("2001:db8:2::/48", Preference::High) };
    for route in [high, silent] {
        router.machine.insert_route(route).unwrap();
    }
    let mut expected = standard_options.clone();
    let rio_high = [vec![24, 2, 48, 0x08, 0, 0, 0x07, 0x08], v6("2001:db8:1::").octets()[..8].to_vec()].concat();
    expected.push(rio_high);
    assert_eq!(answer(&mut router).options(), expected);
    // A route that ends is not promised for longer.
    router.machine.insert_route(Route { expires: Expiry::after(router.now, lifetime(300)), ..high }).unwrap();
    let options = answer(&mut router).options();
    let promised = u32::from_be_bytes(options[2][4..8].try_into().unwrap());
    assert!((290..300).contains(&promised), "{promised}");
    router.machine.remove_route(&high.key()).unwrap();
    assert_eq!(answer(&mut router).options(), standard_options);
    // DNS.
    let told = router.machine.with_interface(router.now, LINK, |router, _| {
        router.add_dns_server(v6("2001:db8::53")).unwrap();
        let name = DomainName::from_wire(b"\x07example\x03com\x00").unwrap();
        router.add_search_domain(SearchDomain::new(&name).unwrap()).unwrap();
    });
    told.unwrap();
    let mut expected = standard_options.clone();
    expected.push(rdnss(1800, &["2001:db8::53"]));
    expected.push([&[31, 3, 0, 0, 0, 0, 0x07, 0x08][..], b"\x07example\x03com\x00\0\0\0"].concat());
    assert_eq!(answer(&mut router).options(), expected);
    // A prefix that is taken back.
    router.machine.with_interface(router.now, LINK, |r, cx| r.withdraw(cx, &prefix("2001:db8:0:7::/64"))).unwrap();
    assert_eq!(answer(&mut router).options()[1..], expected[2..]);
    assert!(!router.has_address("2001:db8:0:7:0:5efe:a00:1"));
}

/// What the router says that it advertises: itself as a default router, and these routes.
fn said(router: &Router) -> (bool, Vec<Ipv6Prefix>) {
    let routes = router.machine.datapath().routes();
    let forwarding = router.machine.datapath().port(LINK).unwrap().switches.forwarding;
    let interface = router.machine.interface(LINK).unwrap();
    let advertised = interface.advertised_routes(LINK, routes, forwarding);
    (interface.is_default_router(LINK, routes, forwarding), advertised.map(|route| route.prefix).collect())
}

#[test]
fn isa_55_a_router_that_is_no_default_router_still_has_its_routes() {
    let mut config = config();
    config.default_route = OfferDefault::Never;
    config.preference = Preference::High;
    let mut router = router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Middle);
    router.machine.insert_route(published("2001:db8:1::/48", Preference::Low)).unwrap();
    let sent = answer(&mut router);
    assert_eq!(said(&router), (false, vec![prefix("2001:db8:1::/48")]));
    assert_eq!((lifetime_of(&sent), sent.icmpv6[5]), (0, 0), "RFC 4191 §2.2: no preference with lifetime 0");
    assert_eq!(sent.options()[2][..8], [24, 2, 48, 0x18, 0, 0, 0x07, 0x08]);
    // With a published ::/0 it is one, and says so in the header.
    router.machine.insert_route(published("::/0", Preference::Medium)).unwrap();
    let sent = answer(&mut router);
    assert_eq!((lifetime_of(&sent), sent.icmpv6[5]), (1800, 0x08));
    assert_eq!(sent.options().len(), 3);
    assert_eq!(said(&router), (true, vec![prefix("2001:db8:1::/48")]));
    // A lifetime of zero as a default router withdraws no other route.
    router.machine.with_interface(router.now, LINK, |router, _| router.config_mut().router_lifetime = 0).unwrap();
    let sent = answer(&mut router);
    assert_eq!((lifetime_of(&sent), &sent.options()[2][4..8]), (0, &[0, 0, 0x07, 0x08][..]));
    assert!(!said(&router).0);
    router.machine.switches_mut(LINK).unwrap().forwarding = false;
    assert_eq!(said(&router), (false, vec![]));
}

#[test]
fn isa_55_a_prefix_of_another_length_is_on_link_only() {
    let mut router = router(config(), &["10.0.0.1"], &["2001:db8::/56"], Switches::FORWARDING, Dice::Middle);
    assert_eq!(answer(&mut router).options()[1], pio("2001:db8::/56", 0x80, 2_592_000, 604_800));
    assert_eq!(router.addresses.len(), 1, "the link-local one");
}

#[test]
fn ndp_12_no_route_twice_and_at_most_seventeen() {
    let mut router = standard(Dice::Middle);
    for number in 0..25 {
        let route = published(&format!("2001:db8:{:x}::/48", 0x100 + number), Preference::Medium);
        for next_hop in ["fe80::9", "fe80::a"] {
            router.machine.insert_route(Route { next_hop: Some(v6(next_hop)), ..route }).unwrap();
        }
    }
    let sent = answer(&mut router);
    let mut routes: Vec<_> = sent.options().into_iter().filter(|option| option[0] == 24).collect();
    assert_eq!(routes.len(), 17);
    routes.sort();
    routes.dedup();
    assert_eq!(routes.len(), 17, "all different");
}

/// More than one advertisement can say.
fn talkative() -> Router {
    let prefixes: Vec<_> = (0..16).map(|n| format!("2001:db8:0:{n:x}::/64")).collect();
    let prefixes: Vec<_> = prefixes.iter().map(String::as_str).collect();
    let mut router = router(config(), &["10.0.0.1"], &prefixes, Switches::FORWARDING, Dice::Middle);
    for number in 0..17 {
        let route = published(&format!("2001:db8:{:x}::/48", 0x100 + number), Preference::Medium);
        router.machine.insert_route(route).unwrap();
    }
    let told = router.machine.with_interface(router.now, LINK, |router, _| {
        for number in 0..8 {
            router.add_dns_server(Ipv6Addr::from_bits(0x2001_0db8 << 96 | number)).unwrap();
        }
        for letter in *b"abcd" {
            let label = [&[63][..], &[letter; 63]].concat();
            let wire = [label.repeat(3), vec![0]].concat();
            router.add_search_domain(SearchDomain::new(&DomainName::from_wire(&wire).unwrap()).unwrap()).unwrap();
        }
    });
    told.unwrap();
    router
}

#[test]
fn isa_57_what_does_not_fit_into_1280_bytes_goes_into_another_advertisement() {
    let mut router = talkative();
    router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
    router.pass(secs(1));
    let sent = advertisements(&mut router);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|sent| sent.icmpv6.len() + 40 <= 1280));
    assert_eq!(sent[0].icmpv6[4..16], sent[1].icmpv6[4..16], "one fixed part");
    let all: Vec<_> = sent.iter().flat_map(Sent::options).collect();
    let count = |kind: u8| all.iter().filter(|option| option[0] == kind).count();
    assert_eq!((count(5), count(3), count(24), count(25), count(31)), (1, 16, 17, 8, 4));
    // A host that hears both has it all.
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    for sent in &sent {
        let inner = nd(
            sent.source,
            sent.destination,
            sent.icmpv6
                .clone()
                .into_iter()
                .enumerate()
                .map(|(at, byte)| if at == 2 || at == 3 { 0 } else { byte })
                .collect(),
        );
        assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &inner)), CONSUMED);
    }
    let interface = host.machine.interface(LINK).unwrap();
    assert_eq!((interface.dns_servers().count(), interface.search_domains().count()), (8, 4));
    assert_eq!(host.routes.len(), 16 + 17 + 1);
}

#[test]
fn isa_56_nothing_is_sent_to_who_did_not_ask() {
    let mut router = standard(Dice::Seeded(5));
    router.pass(secs(86400));
    let told = router.machine.with_interface(router.now, LINK, |router, cx| {
        router.config_mut().router_lifetime = 900;
        router.publish(cx, PublishedPrefix::new(prefix("2001:db8:0:8::/64")))
    });
    told.unwrap().unwrap();
    router.pass(secs(86400));
    router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
    router.pass(secs(86400));
    assert_eq!(router.take().len(), 1);
}

#[test]
fn isa_57_one_answer_a_second_to_one_host_and_so_many_to_all() {
    let mut router = standard(Dice::Low);
    let mut answers = 0;
    for _ in 0..100 {
        let verdict = router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS);
        assert!(verdict == CONSUMED || verdict == Verdict::Drop(DropReason::RateLimited));
        router.pass(Duration::from_millis(100));
        answers += advertisements(&mut router).len();
    }
    assert_eq!(answers, 10, "in ten seconds");

    let mut config = config();
    config.answers_per_second = 10;
    let mut router =
        crate::support::router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Low);
    router.step();
    let start = router.now;
    for host in 1..=100 {
        router.asked(&format!("10.0.1.{host}"), "10.0.0.1", ALL_ROUTERS);
    }
    router.pass(secs(20));
    let mut in_second = BTreeMap::<u64, u32>::new();
    for (at, _) in &router.sent {
        *in_second.entry(at.saturating_duration_since(start).as_secs()).or_default() += 1;
    }
    // All who found room are answered, ten a second.
    assert_eq!(in_second.into_iter().collect::<Vec<_>>(), (0..10).map(|second| (second, 10)).collect::<Vec<_>>());
    // Zero: nobody, and no busy wake-up.
    router.machine.with_interface(router.now, LINK, |router, _| router.config_mut().answers_per_second = 0).unwrap();
    router.take();
    router.asked("10.0.2.1", "10.0.0.1", ALL_ROUTERS);
    router.pass(secs(100));
    assert_eq!(router.take(), []);
}

#[test]
fn isa_58_solicitations_of_its_own_addresses_are_answered_as_a_router() {
    let mut router = standard(Dice::Middle);
    let global = v6("2001:db8:0:7:0:5efe:a00:1");
    for (target, answered) in [
        (local("10.0.0.1"), true),
        (universal("10.0.0.1"), true),
        (global, true),
        (local("10.0.0.9"), false),
        (v6("2001:db8:0:9:0:5efe:a00:1"), false),
    ] {
        let packet = nd(local("10.0.0.2"), target, ns(target));
        let verdict = router.receive(&outer("10.0.0.2", "10.0.0.1", &packet));
        assert_eq!(
            matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, .. }),
            answered,
            "{target} {verdict:?}"
        );
        let sent = router.take();
        assert_eq!(sent.len(), usize::from(answered));
        for sent in sent {
            assert_eq!((sent.kind(), sent.source, sent.destination), (NA, target, local("10.0.0.2")));
            assert_eq!(sent.icmpv6[4], 0xc0, "R and S");
            assert_eq!(sent.icmpv6[8..], target.octets());
        }
    }
}

#[test]
fn ndp_67_without_forwarding_it_is_no_default_router_and_says_so() {
    let mut router = standard(Dice::Middle);
    router.machine.insert_route(published("2001:db8:1::/48", Preference::High)).unwrap();
    router.machine.insert_route(published("::/0", Preference::High)).unwrap();
    assert_eq!((lifetime_of(&answer(&mut router)), answer(&mut router).options().len()), (1800, 3));
    router.machine.switches_mut(LINK).unwrap().forwarding = false;
    let sent = answer(&mut router);
    assert_eq!((lifetime_of(&sent), sent.options().len()), (0, 2), "the prefix stays, the routes go");
    let packet = nd(local("10.0.0.2"), local("10.0.0.1"), ns(local("10.0.0.1")));
    router.receive(&outer("10.0.0.2", "10.0.0.1", &packet));
    assert_eq!(router.take()[0].icmpv6[4], 0x40, "R = 0");
    // And with advertising off nobody is answered at all. RTE-7
    router.machine.with_interface(router.now, LINK, |router, _| router.config_mut().advertise = false).unwrap();
    router.pass(secs(5));
    assert_eq!(router.asked("10.0.0.2", "10.0.0.1", ALL_ROUTERS), Verdict::Drop(DropReason::NotARouter));
}

/// ISA-56, NDP-67: those that it has served hear of a change, each once and at its pace.
#[test]
fn isa_56_hosts_hear_when_forwarding_is_switched() {
    let mut router = standard(Dice::Seeded(5));
    let hosts: Vec<String> = (2..100).map(|last| format!("10.0.0.{last}")).collect();
    for host in &hosts {
        assert_eq!(router.asked(host, "10.0.0.1", ALL_ROUTERS), CONSUMED);
    }
    router.pass(secs(1));
    assert_eq!(router.take().len(), hosts.len());
    // One that has just been answered is not told twice within a second.
    router.asked("10.0.0.200", "10.0.0.1", ALL_ROUTERS);
    router.pass(Duration::from_millis(500));
    let answered = router.sent.last().unwrap().0;
    router.take();
    for forwarding in [false, true] {
        router.machine.switches_mut(LINK).unwrap().forwarding = forwarding;
        let switched = router.now;
        router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
        // The quiet one is told within 1.5 s, and has its second of quiet before the next switch.
        router.pass(secs(3));
        let told = std::mem::take(&mut router.sent);
        let mut to: Vec<_> = told.iter().map(|(_, sent)| sent.outer.1).collect();
        to.sort();
        to.dedup();
        assert_eq!((to.len(), told.len()), (hosts.len() + 1, hosts.len() + 1));
        for (at, sent) in told {
            assert_eq!(lifetime_of(&sent), if forwarding { 1800 } else { 0 });
            let late = at.saturating_duration_since(switched);
            let quiet = sent.outer.1 == v4("10.0.0.200") && !forwarding;
            let most = if quiet { Duration::from_millis(1500) } else { Duration::from_millis(500) };
            assert!(late <= most, "{late:?}");
            assert!(!quiet || at.saturating_duration_since(answered) >= secs(1));
        }
    }
    router.pass(secs(100));
    assert_eq!(router.take(), [], "once");
}

/// RFC 4861 §6.2.5, RFC 4191 §4: more hosts than solicit at a time, each of them once. The hash puts
/// few of them into one place.
#[test]
fn ndp_42_isa_56_the_hosts_hear_that_the_router_goes() {
    let mut router = standard(Dice::Seeded(5));
    router.machine.insert_route(published("2001:db8:1::/48", Preference::Medium)).unwrap();
    let ask = |router: &mut Router, third: u8, count: u8| {
        for last in 1..=count {
            router.asked(&format!("10.0.{third}.{last}"), "10.0.0.1", ALL_ROUTERS);
        }
        router.pass(secs(1));
        router.take().len()
    };
    // Their routes end before the router does.
    assert_eq!(ask(&mut router, 9, 50), 50);
    router.pass(secs(1801));
    assert_eq!([1, 2, 3].map(|third| ask(&mut router, third, 100)), [100; 3]);
    // One that writes its address with the other u bit.
    assert_eq!(router.receive(&outer("10.0.4.1", "10.0.0.1", &nd(universal("10.0.4.1"), ALL_ROUTERS, rs()))), CONSUMED);
    router.pass(secs(1));
    router.take();
    let stop = |router: &mut Router| {
        let now = router.now;
        router.machine.with_interface(now, LINK, |router, cx| router.stop(cx.now)).unwrap();
    };
    let has_stopped = |router: &Router| router.machine.interface(LINK).unwrap().has_stopped();
    assert!(!has_stopped(&router));
    stop(&mut router);
    router.pass(Duration::from_millis(1));
    assert!(has_stopped(&router));
    let told = advertisements(&mut router);
    let mut to: Vec<_> = told.iter().map(|sent| sent.destination).collect();
    to.sort();
    to.dedup();
    assert_eq!(to.len(), told.len(), "each once");
    assert!((230..=301).contains(&told.len()), "{}", told.len());
    assert!(to.contains(&universal("10.0.4.1")) && !to.contains(&local("10.0.4.1")));
    assert!(!to.iter().any(|host| local("10.0.9.0").octets()[..15] == host.octets()[..15]));
    for sent in &told {
        assert_eq!((sent.source, sent.outer.0, lifetime_of(sent)), (local("10.0.0.1"), v4("10.0.0.1"), 0));
        // The prefix stays: another router may have it. The route is this router's alone.
        assert_eq!(sent.options()[1][4..8], 2_592_000_u32.to_be_bytes());
        assert_eq!(sent.options()[2][..8], [24, 2, 48, 0, 0, 0, 0, 0]);
    }
    assert_eq!(router.asked("10.0.1.1", "10.0.0.1", ALL_ROUTERS), Verdict::Drop(DropReason::NotARouter));
    stop(&mut router);
    router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
    router.pass(secs(100));
    assert_eq!(router.take(), []);
}

/// Those whose rows others have taken hear of a change as well.
#[test]
fn isa_56_a_change_reaches_more_hosts_than_solicit_at_a_time() {
    let mut router = standard(Dice::Seeded(5));
    for third in 1..=3 {
        for last in 1..=100 {
            router.asked(&format!("10.0.{third}.{last}"), "10.0.0.1", ALL_ROUTERS);
        }
        router.pass(secs(1));
    }
    router.take();
    for _ in 0..2 {
        router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
        router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
        router.pass(secs(2));
        let told = router.take().len();
        assert!((230..=300).contains(&told), "{told}");
    }
}

/// Changes that come faster than rounds put none of them off.
#[test]
fn isa_56_many_changes_at_once_are_told_soon() {
    let mut router = standard(Dice::Seeded(5));
    for last in 1..=30 {
        router.asked(&format!("10.0.1.{last}"), "10.0.0.1", ALL_ROUTERS);
    }
    router.pass(secs(1));
    // Their rows go to others, so that only a round reaches them.
    for third in 2..=4 {
        for last in 1..=60 {
            router.asked(&format!("10.0.{third}.{last}"), "10.0.0.1", ALL_ROUTERS);
        }
        router.pass(secs(1));
    }
    let reached = |router: &mut Router, changes: u64| {
        router.pass(secs(3));
        router.take();
        for _ in 0..changes {
            router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
            router.pass(Duration::from_millis(1000 / changes));
        }
        let last = router.now;
        router.take();
        router.pass(secs(3));
        let late = router.sent.iter().filter(|(at, _)| at.saturating_duration_since(last) > secs(2)).count();
        assert_eq!(late, 0);
        let mut told: Vec<_> = router.take().iter().map(|sent| sent.outer.1).collect();
        told.sort();
        told.dedup();
        told
    };
    let many = reached(&mut router, 50);
    // More than the 64 at most that have rows: the others are told by the round alone.
    assert!((100..=210).contains(&many.len()), "{}", many.len());
}

/// A route that comes and goes faster than all can be told: the last hosts hear of it like the first.
#[test]
fn isa_56_of_what_flaps_every_host_that_is_remembered_hears() {
    let mut config = config();
    // A few more than those who asked last.
    config.answers_per_second = 150;
    let mut router = router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Seeded(5));
    for third in 1..=3 {
        for last in 1..=100 {
            router.asked(&format!("10.0.{third}.{last}"), "10.0.0.1", ALL_ROUTERS);
        }
        router.pass(secs(1));
    }
    router.take();
    let mut reached = |changes: u32, rest| {
        for _ in 0..changes {
            router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
            router.pass(secs(1));
        }
        router.pass(rest);
        let mut told: Vec<_> = router.take().iter().map(|sent| sent.outer.1).collect();
        told.sort();
        told.dedup();
        told
    };
    // One round that nothing disturbs reaches all that are remembered.
    let remembered = reached(1, secs(5));
    assert!((230..=300).contains(&remembered.len()), "{}", remembered.len());
    assert_eq!(reached(15, Duration::ZERO), remembered);
}

#[test]
fn rte_6_a_router_offers_the_default_route_that_it_has() {
    let mut config = config();
    config.default_route = OfferDefault::Auto;
    let mut router = router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Middle);
    let (is_offered, no_routes) = (|router: &Router| said(router).0, Vec::new());
    assert_eq!(said(&router), (false, no_routes));
    // One that drops packets leads nowhere, and one by this very link is no other router's.
    router.machine.insert_route(Route::null(Ipv6Prefix::DEFAULT, Origin::Manual)).unwrap();
    router.machine.insert_route(Route::via(Ipv6Prefix::DEFAULT, LINK, local("10.0.0.9"), Origin::Manual)).unwrap();
    assert!(!is_offered(&router));
    let default = Route { publish: false, ..published("::/0", Preference::Medium) };
    router.machine.insert_route(default).unwrap();
    assert!(is_offered(&router));
    assert_eq!(lifetime_of(&answer(&mut router)), 1800);
    router.machine.remove_route(&default.key());
    assert!(!is_offered(&router));
    assert_eq!(lifetime_of(&answer(&mut router)), 0);
}

/// ISA-57: the limit on answers holds for what nobody asked for too.
#[test]
fn isa_57_a_change_is_told_no_faster_than_answers_are_given() {
    let mut config = config();
    config.answers_per_second = 10;
    let mut router = router(config, &["10.0.0.1"], &["2001:db8:0:7::/64"], Switches::FORWARDING, Dice::Middle);
    for last in 2..62 {
        router.asked(&format!("10.0.0.{last}"), "10.0.0.1", ALL_ROUTERS);
    }
    router.pass(secs(10));
    assert_eq!(router.take().len(), 60);
    router.machine.with_interface(router.now, LINK, |router, cx| router.advertise_again(cx.now)).unwrap();
    router.pass(secs(10));
    let times: Vec<_> = router.sent.iter().map(|(at, _)| *at).collect();
    assert_eq!(times.len(), 60);
    assert!(times.windows(11).all(|window| window[10].saturating_duration_since(window[0]) >= secs(1)), "{times:?}");
}

#[test]
fn ndp_70_a_router_follows_no_redirect_and_no_advertisement() {
    let mut router = standard(Dice::Middle);
    router.machine.insert_route(published("2001:db8:1::/48", Preference::High)).unwrap();
    router.machine.with_interface(router.now, LINK, |r, _| r.add_trusted_router(v4("10.0.0.99"))).unwrap().unwrap();
    let routes = |router: &Router| router.machine.routes().copied().collect::<Vec<_>>();
    let before = routes(&router);
    let message = redirect(local("10.0.0.3"), v6("2001:db8:1::9"));
    let packet = nd(local("10.0.0.99"), local("10.0.0.1"), message);
    let refused = Verdict::Drop(DropReason::RedirectRefused);
    assert_eq!(router.receive(&outer("10.0.0.99", "10.0.0.1", &packet)), refused);
    let options = [pio("2001:db8:0:66::/64", 0xc0, 86400, 14400), rio("2001:db8:5::/48", 0, 1800)];
    let packet = nd(local("10.0.0.99"), local("10.0.0.1"), ra(1800, &options));
    assert_eq!(router.receive(&outer("10.0.0.99", "10.0.0.1", &packet)), CONSUMED);
    router.pass(secs(1));
    assert_eq!(routes(&router), before);
    assert_eq!((router.addresses.len(), router.take()), (2, vec![]));
}

#[test]
fn isa_59_a_host_of_this_router_asks_again_after_1440_seconds() {
    let mut router = standard(Dice::Middle);
    let sent = answer(&mut router);
    let mut config = by_address();
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.pass(secs(1));
    host.take();
    let heard = host.now;
    let mut message = sent.icmpv6.clone();
    message[2..4].fill(0);
    host.receive(&outer("10.0.0.1", "10.0.0.2", &nd(sent.source, sent.destination, message)));
    host.pass(secs(2000));
    assert_eq!(host.solicitations()[0].0, heard.saturating_add(secs(1440)));
}

/// A router between an ISATAP site and a LAN.
fn between(switches: [Switches; 2]) -> (AnyNode<Standard>, [LinkId; 2]) {
    let mut node = AnyNode::new(NodeConfig::DEFAULT);
    let site = node.add(AnyInterface::IsatapRouter(RouterInterface::new(config())), switches[0]).unwrap();
    let mut lan = NativeLink::new(1500);
    lan.add_address(InterfaceAddress { address: v6("2001:db8:1::1"), prefix_length: 64 }).unwrap();
    let lan = node.add(AnyInterface::Native(lan), switches[1]).unwrap();
    let told = node.with_interface(at(1.0), site, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { panic!() };
        router.set_locators(cx, &[v4("10.0.0.1").into()]).unwrap();
        router.publish(cx, PublishedPrefix::new(prefix("2001:db8:0:7::/64"))).unwrap();
    });
    told.unwrap();
    let route = Route { publish: true, ..Route::on_link(prefix("2001:db8:1::/64"), lan, Origin::Manual) };
    node.insert_route(route).unwrap();
    (node, [site, lan])
}

#[test]
fn isa_60_forwarding_and_advertising_have_switches_of_their_own() {
    let (on, off) = (Switches::FORWARDING, Switches::DEFAULT);
    for (site_switches, lan_switches) in [(on, on), (on, off), (off, on), (off, off)] {
        let (node, [site, lan]) = between([site_switches, lan_switches]);
        let mut run = Run::new(node, Dice::Low);
        let packet =
            outer("10.0.0.2", "10.0.0.1", &ipv6(v6("2001:db8:0:7:0:5efe:a00:2"), v6("2001:db8:1::2"), 59, 64, &[]));
        let mut buffer = vec![0; HEADROOM + packet.len()];
        buffer[HEADROOM..].copy_from_slice(&packet);
        let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + packet.len()).unwrap();
        let header = Outer::pull(&mut packet).unwrap();
        let verdict = run.machine.forward(run.now, &header, &mut packet);
        let expected = if site_switches.forwarding && lan_switches.forwarding {
            Verdict::Native { link: lan, next_hop: v6("2001:db8:1::2") }
        } else {
            Verdict::Drop(DropReason::ForwardingOff)
        };
        assert_eq!(verdict, expected);
        // Advertising goes on whatever is forwarded; what is offered does not.
        let asked = run.receive(&outer("10.0.0.2", "10.0.0.1", &nd(local("10.0.0.2"), ALL_ROUTERS, rs())));
        assert_eq!(asked, Verdict::Consumed { link: site });
        run.pass(secs(1));
        let sent = run.take();
        assert_eq!(lifetime_of(&sent[0]) > 0, site_switches.forwarding);
        let routes = sent[0].options().iter().filter(|option| option[0] == 24).count();
        assert_eq!(routes, usize::from(site_switches.forwarding));
    }
}

#[test]
fn isa_62_a_router_that_does_not_advertise_is_a_host_to_the_routers() {
    let mut node: AnyNode<Standard> = AnyNode::new(NodeConfig::DEFAULT);
    let host = AnyInterface::IsatapHost(HostInterface::new(by_address()));
    let id = node.add(host, Switches::FORWARDING).unwrap();
    let told = node.with_interface(at(1000.0), id, |interface, cx| {
        let AnyInterface::IsatapHost(host) = interface else { panic!() };
        host.set_locators(cx, &[v4("10.0.0.2").into()]).unwrap();
        host.add_router(cx, v4("10.0.0.1")).unwrap();
    });
    told.unwrap();
    let mut run = Run::new(node, Dice::Low);
    run.pass(secs(1));
    assert_eq!(run.take()[0].kind(), RS, "it solicits");
    let options = [pio("2001:db8:0:7::/64", 0xc0, 86400, 14400)];
    let packet = nd(local("10.0.0.1"), local("10.0.0.2"), ra(1800, &options));
    assert_eq!(run.receive(&outer("10.0.0.1", "10.0.0.2", &packet)), Verdict::Consumed { link: id });
    assert!(run.has_address("2001:db8:0:7:0:5efe:a00:2"));
    let packet = nd(local("10.0.0.3"), local("10.0.0.2"), rs());
    assert_eq!(run.receive(&outer("10.0.0.3", "10.0.0.2", &packet)), Verdict::Drop(DropReason::NotARouter));
    // But it says that it is a router to whoever asks for its address.
    run.take();
    let packet = nd(local("10.0.0.3"), local("10.0.0.2"), ns(local("10.0.0.2")));
    run.receive(&outer("10.0.0.3", "10.0.0.2", &packet));
    assert_eq!(run.take()[0].icmpv6[4], 0xc0);
}

/// Hosts that all start within a second, and ask as RFC 7559 has it.
#[test]
fn isa_57_ten_thousand_hosts_at_once_are_all_answered_within_the_limits() {
    const HOSTS: u32 = 10_000;
    let mut router = standard(Dice::Seeded(99));
    let limit = |router: &mut RouterInterface<Standard>| router.config_mut().answers_per_second = 1000;
    router.machine.with_interface(router.now, LINK, |router, _| limit(router)).unwrap();
    router.step();
    let start = router.now;
    let mut state = 42_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    // (when, host, attempt); a host that was answered asks no more.
    let mut asking: BinaryHeap<Reverse<(Instant, u32, u32)>> = (0..HOSTS)
        .map(|host| Reverse((start.saturating_add(Duration::from_micros(random(1_000_000))), host, 0)))
        .collect();
    let mut waiting = BTreeMap::<Ipv4Addr, Instant>::new();
    let mut answered = BTreeMap::<Ipv4Addr, Instant>::new();
    let mut in_second = BTreeMap::<u64, u32>::new();
    let (mut questions, mut refused) = (0_u32, 0_u32);
    while (answered.len() as u32) < HOSTS {
        let next_question = asking.peek().map(|Reverse((at, ..))| *at);
        let next_deadline = router.machine.poll_timeout().filter(|_| !waiting.is_empty());
        router.now = next_question.into_iter().chain(next_deadline).min().unwrap().max(router.now);
        router.step();
        for sent in advertisements(&mut router) {
            let host = sent.outer.1;
            let asked = waiting.remove(&host).expect("who did not ask gets nothing");
            assert!(router.now.saturating_duration_since(asked) <= Duration::from_millis(500) + secs(1));
            assert_eq!(answered.insert(host, router.now), None, "one answer each");
            *in_second.entry(router.now.saturating_duration_since(start).as_secs()).or_default() += 1;
        }
        while let Some(&Reverse((at, host, attempt))) = asking.peek().filter(|Reverse((at, ..))| *at <= router.now) {
            asking.pop();
            let address = Ipv4Addr::from_bits(0x0a01_0000 + host);
            if answered.contains_key(&address) {
                continue;
            }
            let text = address.to_string();
            questions += 1;
            match router.asked(&text, "10.0.0.1", ALL_ROUTERS) {
                CONSUMED => {
                    waiting.entry(address).or_insert(at);
                }
                Verdict::Drop(DropReason::TableFull) => refused += 1,
                other => panic!("{other:?}"),
            }
            // Never more wait than there are rows.
            assert!(waiting.len() <= 128);
            let interval = (4_000_000_u64 << attempt.min(20)).min(3_600_000_000);
            let jitter = random(interval / 5);
            let next = at.saturating_add(Duration::from_micros(interval - interval / 10 + jitter));
            asking.push(Reverse((next, host, attempt + 1)));
        }
    }
    assert!(in_second.values().all(|&count| count <= 1000), "{in_second:?}");
    assert!(refused > 0 && questions < HOSTS * 12, "{questions} questions, {refused} refused");
    let last = answered.values().max().unwrap().saturating_duration_since(start);
    assert!(last < secs(3600), "{last:?}");
    assert_eq!(router.machine.counters().get(DropReason::TableFull), u64::from(refused));
}

/// A daemon that had to wait for a processor reads afterwards what the socket has kept for it:
/// beside 30,000 forged solicitations a second that is no reason to turn anybody away.
#[test]
fn isa_57_what_waited_for_a_router_that_stood_still_is_answered() {
    const BATCH: u32 = 60;
    let mut router = standard(Dice::Low);
    router.step();
    let mut host = 0x0b00_0000;
    let mut batch = |router: &mut Router| {
        for _ in 0..BATCH {
            host += 1;
            let address = Ipv4Addr::from_bits(host).to_string();
            assert_eq!(router.asked(&address, "10.0.0.1", ALL_ROUTERS), CONSUMED, "{address}");
        }
        router.step();
        router.sent.clear();
    };
    let pause = Duration::from_micros(1_000_000 / u64::from(30_000 / BATCH));
    for _ in 0..750 {
        router.now = router.now.saturating_add(pause);
        batch(&mut router);
    }
    // A third of a second, and 10,000 packets: what a socket of 8 MiB has room for.
    router.now = router.now.saturating_add(pause.saturating_mul(167));
    for _ in 0..167 {
        batch(&mut router);
    }
    for _ in 0..750 {
        router.now = router.now.saturating_add(pause);
        batch(&mut router);
    }
}
