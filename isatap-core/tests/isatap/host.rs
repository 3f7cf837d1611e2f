//! The ISATAP host, driven through bytes: what it sends, and what it makes of
//! what it hears.

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, HostInterface, LinkLocal};
use isatap_core::link::{Link as _, Locator, OuterPolicy, TtlMode};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::route::{Origin, Preference};
use isatap_core::time::Expiry;

const LINK: LinkId = LinkId(0);
const CONSUMED: Verdict = Verdict::Consumed { link: LINK };
const SLAAC: u8 = ON_LINK | AUTONOMOUS;

/// The host of the vectors: 10.0.0.2, router 10.0.0.1, 2001:db8:0:7::/64.
fn settled() -> Host {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.pass(secs(2));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    host.take();
    host
}

/// Any packet that is no Neighbor Discovery.
fn data(source: &str, destination: &str) -> Vec<u8> {
    ipv6(v6(source), v6(destination), 59, 64, &[])
}

#[test]
fn isa_1_isa_2_isa_12_each_locator_has_a_link_local_address_with_its_u_bit() {
    let host = host(by_address(), &["10.40.1.29", "131.107.4.92", "100.64.1.1"], Dice::Middle);
    let addresses: Vec<_> = host.addresses.keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["fe80::5efe:a28:11d", "fe80::5efe:6440:101", "fe80::200:5efe:836b:45c"]);
}

#[test]
fn isa_12_each_autonomous_prefix_gives_one_address_a_locator() {
    let mut host = host(by_address(), &["10.0.0.2", "131.107.4.92"], Dice::Middle);
    host.router("10.0.0.1");
    let prefixes = [pio("2001:db8:0:7::/64", SLAAC, 86400, 14400), pio("2001:db8:0:8::/64", AUTONOMOUS, 86400, 14400)];
    host.hear("10.0.0.1", "10.0.0.2", 1800, &prefixes);
    for address in ["2001:db8:0:7:0:5efe:a00:2", "2001:db8:0:7:200:5efe:836b:45c", "2001:db8:0:8:0:5efe:a00:2"] {
        assert!(host.has_address(address), "{address}");
    }
    assert_eq!(host.addresses.len(), 6);
    // ISA-11: with the locator go its addresses, and nobody else's.
    host.locators(&["131.107.4.92"]);
    assert_eq!(host.addresses.len(), 3);
    assert!(!host.has_address("2001:db8:0:7:0:5efe:a00:2"));
    assert_eq!(
        host.send(v6("2001:db8:0:7:0:5efe:a00:2"), v6("2001:db8:9::1")),
        Err(Verdict::Drop(DropReason::SourceUnusable))
    );
    assert_eq!(
        host.send(v6("2001:db8:0:8:0:5efe:a00:2"), v6("2001:db8:9::1")),
        Err(Verdict::Drop(DropReason::SourceUnusable))
    );
    host.locators(&["131.107.4.92", "10.0.0.3"]);
    assert!(host.has_address("2001:db8:0:8:0:5efe:a00:3"));
}

#[test]
fn isa_12_nam_6a_link_local_addresses_only_while_a_router_is_known() {
    let mut config = HostConfig::DEFAULT;
    config.link_local = LinkLocal::WhenRouterKnown;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    assert!(host.addresses.is_empty());
    host.resolved(&["10.0.0.1"], None);
    assert!(host.has_address("fe80::5efe:a00:2"));
    // The name is gone: the addresses as well.
    host.pass(secs(3600));
    host.machine.routers_resolved(host.now, Err(isatap_core::isatap::ResolveFailure::NoSuchName)).unwrap();
    host.drain();
    assert!(host.addresses.is_empty());
}

#[test]
fn isa_6_ndp_54_isa_31_isa_70_no_duplicate_address_detection_and_no_multicast() {
    let mut host = settled();
    host.locators(&["10.0.0.2", "131.107.4.92"]);
    for _ in 0..100 {
        host.pass(secs(900));
        host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    }
    let sent = host.take();
    assert!(sent.iter().any(|sent| sent.kind() == RS) && sent.iter().any(|sent| sent.kind() == NS));
    for sent in sent {
        assert_eq!(sent.hop_limit, 255);
        // ISA-31: the link-local address of the locator in the outer header.
        let [.., a, b, c, d] = sent.source.octets();
        assert!([a, b, c, d] == sent.outer.0.octets() && sent.source.segments()[0] == 0xfe80, "{sent:?}");
        // ISA-6, NDP-54: no NS for an own address, and none to a group.
        assert!(!sent.destination.is_multicast() || (sent.kind() == RS && sent.destination == ALL_ROUTERS));
        assert_eq!(sent.icmpv6.len(), if sent.kind() == RS { 8 } else { 24 }, "no link-layer address");
    }
    assert_eq!(host.send(local("10.0.0.2"), v6("ff02::fb")), Err(Verdict::Drop(DropReason::Multicast)));
    assert_eq!(host.send(v6("::"), v6("ff02::2")), Err(Verdict::Drop(DropReason::Multicast)));
}

#[test]
fn isa_13_the_outer_source_is_the_locator_in_the_inner_source() {
    let mut host = host(by_address(), &["10.0.0.2", "192.168.5.5"], Dice::Middle);
    host.router("10.0.0.1");
    let prefixes = [pio("2001:db8:0:7::/64", SLAAC, 86400, 14400), pio("2001:db8:0:8::/64", AUTONOMOUS, 86400, 14400)];
    host.hear("10.0.0.1", "10.0.0.2", 1800, &prefixes);
    // Whatever the destination is near to, with and without an on-link route.
    for prefix in ["2001:db8:0:7::", "2001:db8:0:8::", "fe80::"] {
        for locator in ["10.0.0.2", "192.168.5.5"] {
            let destination = if prefix == "fe80::" { local("10.0.0.1") } else { v6("2001:db8:1::1") };
            let sent = host.send(isatap(prefix, false, locator), destination);
            assert_eq!(sent, Ok((v4(locator), v4("10.0.0.1"))), "{prefix} {locator}");
        }
    }
    // A source of no ISATAP address: the first locator.
    assert_eq!(host.send(v6("2001:db8:77::1"), v6("2001:db8:1::1")).unwrap().0, v4("10.0.0.2"));
}

#[test]
fn isa_15_tun_36_ndp_14_the_mtu_is_1280_until_a_router_says_what_fits() {
    let mtus = |host: &Host| -> Vec<u16> {
        host.events.iter().filter_map(|(_, e)| if let Event::Mtu { mtu, .. } = e { Some(*mtu) } else { None }).collect()
    };
    let mut host = settled();
    assert_eq!(mtus(&host), [1280]);
    for (said, expected) in [(1279, 1280), (1481, 1280), (65536 + 1400, 1280), (1400, 1400), (1280, 1280)] {
        host.hear("10.0.0.1", "10.0.0.2", 1800, &[mtu(said)]);
        assert_eq!(mtus(&host).last(), Some(&expected), "{said}");
    }
    // Twice the same is told once.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[mtu(1280)]);
    assert_eq!(mtus(&host), [1280, 1400, 1280]);
}

/// What a host with this MTU in its configuration tells of its MTU, first and
/// when its interface carries less and a router says something.
fn mtus_told(configured: Option<u16>) -> Vec<u16> {
    let mut config = by_address();
    config.policy = config.policy.with_link_mtu(configured);
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    let interface_mtu = |host: &mut Host, mtu| {
        host.machine.with_interface(host.now, LINK, |host, _| host.link_mut().underlay_mut().set_interface_mtu(mtu));
        host.drain();
    };
    interface_mtu(&mut host, 1420);
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[mtu(1401)]);
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[mtu(1390)]);
    interface_mtu(&mut host, 1300);
    interface_mtu(&mut host, 9000);
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[mtu(8000)]);
    host.events.iter().filter_map(|(_, e)| if let Event::Mtu { mtu, .. } = e { Some(*mtu) } else { None }).collect()
}

#[test]
fn isa_15_tun_36_the_mtu_follows_the_interface_until_a_router_says_what_fits() {
    assert_eq!(mtus_told(None), [1480, 1400, 1390, 1280, 1390, 8000]);
}

#[test]
fn isa_15_a_configured_mtu_is_changed_neither_by_the_interface_nor_by_a_router() {
    for configured in [1280, 1400, 1480] {
        assert_eq!(mtus_told(Some(configured)), [configured]);
    }
}

#[test]
fn isa_40_isa_41_isa_42_isa_43_the_receive_table_of_the_vectors() {
    let accept = Verdict::Deliver { link: LINK, from: Admitted::Host };
    let router = Verdict::Deliver { link: LINK, from: Admitted::Router };
    let spoof = Verdict::Drop(DropReason::IsatapSourceMismatch);
    let table = [
        ("2001:db8:0:7:0:5efe:a00:3", "10.0.0.3", accept),
        ("2001:db8:0:7:0:5efe:a00:3", "10.0.0.4", spoof),
        ("2001:db8:9:9:0:5efe:a00:3", "10.0.0.3", spoof),
        ("2001:db8:1::1", "10.0.0.1", router),
        ("2001:db8:1::1", "10.0.0.9", spoof),
        ("fe80::200:5efe:a00:3", "10.0.0.3", accept),
        // The g bit, and an identifier that only looks like one.
        ("fe80::100:5efe:a00:3", "10.0.0.3", spoof),
        ("fe80::5eff:a00:3", "10.0.0.3", spoof),
        ("fe80::10.0.0.3", "10.0.0.3", spoof),
    ];
    for (source, outer_source, expected) in table {
        let packet = outer(outer_source, "10.0.0.2", &data(source, "2001:db8:0:7:0:5efe:a00:2"));
        assert_eq!(settled().receive(&packet), expected, "{source} from {outer_source}");
    }
    // ISA-40: to an address that is no locator.
    let packet = outer("10.0.0.3", "10.0.0.8", &data("fe80::5efe:a00:3", "fe80::5efe:a00:2"));
    assert_eq!(settled().receive(&packet), Verdict::Drop(DropReason::NotAddressed));
    // ISA-41, TUN-16: sources that no mechanism lets in.
    for source in ["ff02::1", "::1", "::192.0.2.1", "::ffff:192.0.2.1", "::"] {
        let packet = outer("10.0.0.1", "10.0.0.2", &data(source, "2001:db8:0:7:0:5efe:a00:2"));
        assert!(matches!(settled().receive(&packet), Verdict::Drop(_)), "{source}");
    }
    let advertisements = [
        (local("10.0.0.3"), "10.0.0.3", Verdict::Drop(DropReason::RaNotFromRouter)),
        (local("10.0.0.1"), "10.0.0.1", CONSUMED),
        (universal("10.0.0.1"), "10.0.0.1", CONSUMED),
        (local("10.0.0.1"), "10.0.0.9", spoof),
        (v6("fe80::1"), "10.0.0.1", Verdict::Drop(DropReason::RaNotFromRouter)),
        // Link-local in name only, and a global source.
        (v6("2001:db8:0:7:0:5efe:a00:1"), "10.0.0.1", Verdict::Drop(DropReason::NdAddresses)),
    ];
    for (source, outer_source, expected) in advertisements {
        let packet = outer(outer_source, "10.0.0.2", &nd(source, local("10.0.0.2"), ra(1800, &[])));
        assert_eq!(settled().receive(&packet), expected, "RA of {source} from {outer_source}");
    }
}

#[test]
fn isa_26_an_advertisement_may_come_from_either_u_form() {
    let mut host = host(by_address(), &["100.64.1.2"], Dice::Middle);
    host.router("100.64.1.1");
    host.pass(secs(1));
    // A peer whose list of unique addresses has 100.64/10.
    let inner = nd(universal("100.64.1.1"), local("100.64.1.2"), ra(1800, &[]));
    assert_eq!(host.receive(&outer("100.64.1.1", "100.64.1.2", &inner)), CONSUMED);
    assert_eq!(host.next_hops("::/0"), [Some(universal("100.64.1.1"))]);
    host.take();
    // The next round starts with the form that answered; so do probes.
    host.pass(secs(1500));
    let sent = host.take();
    let of = |kind| sent.iter().find(|sent| sent.kind() == kind).map(|sent| sent.destination);
    assert_eq!(of(RS), Some(universal("100.64.1.1")));
    assert_eq!(of(NS), Some(universal("100.64.1.1")));
}

#[test]
fn isa_44_ndp_30_an_advertisement_to_this_host_or_to_all_nodes() {
    for (destination, expected) in [
        (local("10.0.0.2"), CONSUMED),
        (ALL_NODES, CONSUMED),
        (ALL_ROUTERS, Verdict::Drop(DropReason::InnerDestinationRefused)),
    ] {
        let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
        host.router("10.0.0.1");
        let options = [
            pio("2001:db8:0:7::/64", SLAAC, 86400, 14400),
            rio("2001:db8:1::/48", 0x08, 1800),
            rdnss(1800, &["2001:db8::53"]),
        ];
        let inner = nd(local("10.0.0.1"), destination, ra(1800, &options));
        assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &inner)), expected, "{destination}");
        let heard = expected == CONSUMED;
        assert_eq!(host.has_address("2001:db8:0:7:0:5efe:a00:2"), heard);
        assert_eq!(host.next_hops("2001:db8:0:7::/64").len(), usize::from(heard));
        assert_eq!(host.next_hops("2001:db8:1::/48").len(), usize::from(heard));
        let interface = host.machine.interface(LINK).unwrap();
        assert_eq!(interface.dns_servers().count(), usize::from(heard));
    }
}

#[test]
fn isa_45_a_default_router_that_may_be_one_no_longer_is_none_at_once() {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    let has_default = |host: &Host| host.machine.routes().any(|route| route.prefix.is_default());
    assert!(has_default(&host));
    host.machine.with_interface(host.now, LINK, |h, cx| h.set_default_router(cx, v4("10.0.0.1"), false)).unwrap();
    assert!(!has_default(&host));
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2"), "what else it said stays");
}

#[test]
fn isa_45_an_entry_that_may_not_be_a_default_router() {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    let allow = |host: &mut Host, allowed| {
        host.machine.with_interface(host.now, LINK, |h, cx| h.set_default_router(cx, v4("10.0.0.1"), allowed)).unwrap();
    };
    allow(&mut host, false);
    let options = [
        pio("2001:db8:0:7::/64", SLAAC, 86400, 14400),
        rio("2001:db8:1::/48", 0x08, 1800),
        rio("::/0", 0x08, 1800),
        mtu(1400),
    ];
    host.hear("10.0.0.1", "10.0.0.2", 1800, &options);
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2"));
    assert_eq!(host.next_hops("2001:db8:1::/48"), [Some(local("10.0.0.1"))]);
    assert_eq!(host.next_hops("::/0"), []);
    assert!(!host.events.iter().any(|(_, event)| matches!(event, Event::Mtu { mtu: 1400, .. })));
    // Nor does it redirect.
    let message = nd(local("10.0.0.1"), local("10.0.0.2"), redirect(local("10.0.0.3"), v6("2001:db8:1::9")));
    let refused = Verdict::Drop(DropReason::RedirectRefused);
    assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &message)), refused);
    allow(&mut host, true);
    host.hear("10.0.0.1", "10.0.0.2", 1800, &options);
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.1"))]);
    assert!(host.events.iter().any(|(_, event)| matches!(event, Event::Mtu { mtu: 1400, .. })));
    assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &message)), CONSUMED);
}

#[test]
fn isa_46_a_redirect_of_the_first_hop_to_a_neighbour() {
    let destination = v6("2001:db8:1::9");
    let refused = Verdict::Drop(DropReason::RedirectRefused);
    let from_router = |target, destination| nd(local("10.0.0.1"), local("10.0.0.2"), redirect(target, destination));
    let table = [
        (from_router(local("10.0.0.3"), destination), "10.0.0.1", CONSUMED),
        // Not the first hop: a host, another router, a form it did not use.
        (nd(local("10.0.0.9"), local("10.0.0.2"), redirect(local("10.0.0.3"), destination)), "10.0.0.9", refused),
        (nd(local("10.0.0.5"), local("10.0.0.2"), redirect(local("10.0.0.3"), destination)), "10.0.0.5", refused),
        // A target that ISATAP cannot reach.
        (from_router(v6("fe80::3"), destination), "10.0.0.1", refused),
        // To a neighbour there is no first hop but itself.
        (from_router(local("10.0.0.3"), v6("2001:db8:0:7:0:5efe:a00:9")), "10.0.0.1", refused),
        // NDP-24: the target is no router's address and not the destination.
        (from_router(v6("2001:db8:0:7::3"), destination), "10.0.0.1", Verdict::Drop(DropReason::NdAddresses)),
        (from_router(local("10.0.0.3"), v6("ff0e::1")), "10.0.0.1", Verdict::Drop(DropReason::NdAddresses)),
        (
            icmpv6(local("10.0.0.1"), local("10.0.0.2"), 254, redirect(local("10.0.0.3"), destination)),
            "10.0.0.1",
            Verdict::Drop(DropReason::NdHopLimit),
        ),
    ];
    for (number, (message, from, expected)) in table.into_iter().enumerate() {
        let mut host = settled();
        host.router("10.0.0.5");
        assert_eq!(host.receive(&outer(from, "10.0.0.2", &message)), expected, "row {number}");
        let to = if expected == CONSUMED { "10.0.0.3" } else { "10.0.0.1" };
        let source = v6("2001:db8:0:7:0:5efe:a00:2");
        assert_eq!(host.send(source, destination), Ok((v4("10.0.0.2"), v4(to))), "row {number}");
        // Everything else still goes to the router, and so does this in time.
        assert_eq!(host.send(source, v6("2001:db8:1::a")), Ok((v4("10.0.0.2"), v4("10.0.0.1"))));
        host.until(host.now.saturating_add(secs(700)));
        assert_eq!(host.send(source, destination), Ok((v4("10.0.0.2"), v4("10.0.0.1"))));
    }
}

#[test]
fn isa_46_a_neighbour_that_does_not_answer_ends_its_redirect() {
    let destination = v6("2001:db8:1:0:0:5efe:a00:3");
    let source = v6("2001:db8:0:7:0:5efe:a00:2");
    for target in [destination, local("10.0.0.3")] {
        let mut host = settled();
        let message = nd(local("10.0.0.1"), local("10.0.0.2"), redirect(target, destination));
        let verdict = host.receive(&outer("10.0.0.1", "10.0.0.2", &message));
        if target == destination {
            // ISA-46: an off-link target is not reachable by its identifier.
            assert_eq!(verdict, Verdict::Drop(DropReason::RedirectRefused));
            continue;
        }
        assert_eq!(verdict, CONSUMED);
        assert_eq!(host.send(source, destination), Ok((v4("10.0.0.2"), v4("10.0.0.3"))));
        // NDP-50: 5 s of delay, three probes; then the first hop is asked again.
        host.pass(secs(10));
        assert_eq!(host.send(source, destination), Ok((v4("10.0.0.2"), v4("10.0.0.1"))));
    }
}

#[test]
fn isa_47_ndp_32_lifetime_zero_takes_the_default_route_and_nothing_else() {
    let mut host = settled();
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[rio("2001:db8:1::/48", 0, 1800)]);
    host.hear("10.0.0.1", "10.0.0.2", 0, &[]);
    assert_eq!(host.next_hops("::/0"), []);
    assert_eq!(host.next_hops("2001:db8:1::/48"), [Some(local("10.0.0.1"))]);
    assert_eq!(host.next_hops("2001:db8:0:7::/64"), [None]);
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2"));
    // NDP-36: an RIO of ::/0 overrides the header, either way.
    host.hear("10.0.0.1", "10.0.0.2", 0, &[rio("::/0", 0x18, 300)]);
    let default = host.routes.iter().find(|route| route.prefix == prefix("::/0")).unwrap();
    assert_eq!((default.preference, default.expires), (Preference::Low, Expiry::after(host.now, lifetime(300))));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[rio("::/0", 0, 0)]);
    assert_eq!(host.next_hops("::/0"), []);
}

#[test]
fn isa_48_the_router_is_confirmed_once_and_probed_when_used() {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.pass(secs(1));
    host.take();
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    let probes = |host: &mut Host| host.take().iter().filter(|sent| sent.kind() == NS).count();
    let answer = |host: &mut Host| {
        let inner = nd(local("10.0.0.1"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
        assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &inner)), CONSUMED);
    };
    assert_eq!(probes(&mut host), 1);
    answer(&mut host);
    host.pass(secs(20));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    assert_eq!(probes(&mut host), 0, "an advertisement alone is no reason to ask again");
    // A packet to a neighbour of old: 5 s of grace, then a probe a second.
    host.pass(secs(60));
    host.send(v6("2001:db8:0:7:0:5efe:a00:2"), v6("2001:db8:1::1")).unwrap();
    host.pass(secs(4));
    assert_eq!(probes(&mut host), 0);
    host.pass(secs(1));
    assert_eq!(probes(&mut host), 1);
    answer(&mut host);
    host.pass(secs(10));
    assert_eq!(probes(&mut host), 0);
    // And it answers probes itself, from the address that was asked.
    let question = nd(local("10.0.0.1"), local("10.0.0.2"), ns(local("10.0.0.2")));
    let verdict = host.receive(&outer("10.0.0.1", "10.0.0.2", &question));
    assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }));
    let [answer] = &host.take()[..] else { panic!("one answer") };
    assert_eq!((answer.kind(), answer.source, answer.icmpv6[4]), (NA, local("10.0.0.2"), 0x40), "a host: R = 0");
}

#[test]
fn isa_48_ndp_37_a_router_that_does_not_answer_is_avoided_and_asked() {
    let mut host = settled();
    host.router("10.0.0.5");
    host.hear("10.0.0.5", "10.0.0.2", 1800, &[]);
    host.receive(&outer(
        "10.0.0.5",
        "10.0.0.2",
        &nd(local("10.0.0.5"), local("10.0.0.2"), na(0xc0, local("10.0.0.5"))),
    ));
    let source = v6("2001:db8:0:7:0:5efe:a00:2");
    assert_eq!(host.send(source, v6("2001:db8:1::1")).unwrap().1, v4("10.0.0.1"), "the first one learned");
    // 10.0.0.1 never answers its probes.
    host.pass(secs(130));
    assert_eq!(host.send(source, v6("2001:db8:1::1")).unwrap().1, v4("10.0.0.5"));
    assert!(host.solicitations().iter().any(|(_, to, _)| *to == v4("10.0.0.1")), "asked, not forgotten");
    // It speaks again.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    assert_eq!(host.send(source, v6("2001:db8:1::1")).unwrap().1, v4("10.0.0.1"));
}

#[test]
fn isa_49_ndp_25_hosts_discard_solicitations() {
    let mut host = settled();
    let inner = nd(local("10.0.0.3"), local("10.0.0.2"), rs());
    assert_eq!(host.receive(&outer("10.0.0.3", "10.0.0.2", &inner)), Verdict::Drop(DropReason::NotARouter));
    host.pass(secs(5));
    assert!(host.take().iter().all(|sent| sent.kind() != RA));
}

#[test]
fn ndp_53_a_router_that_says_it_is_none_is_no_default_router() {
    let mut host = settled();
    let inner = nd(local("10.0.0.1"), local("10.0.0.2"), na(0x40, local("10.0.0.1")));
    assert_eq!(host.receive(&outer("10.0.0.1", "10.0.0.2", &inner)), CONSUMED);
    assert_eq!(host.next_hops("::/0"), []);
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2"));
    // Nobody answers for another, and nobody unknown is believed.
    let inner = nd(local("10.0.0.3"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
    let unknown = Verdict::Drop(DropReason::NdUnknownTarget);
    assert_eq!(host.receive(&outer("10.0.0.3", "10.0.0.2", &inner)), unknown);
    let inner = nd(local("10.0.0.3"), local("10.0.0.2"), na(0xc0, local("10.0.0.3")));
    assert_eq!(host.receive(&outer("10.0.0.3", "10.0.0.2", &inner)), unknown);
}

#[test]
fn ndp_51_a_probe_goes_to_its_target_without_a_link_layer_address() {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.pass(secs(1));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[]);
    let sent = host.take();
    let probe = sent.iter().find(|sent| sent.kind() == NS).unwrap();
    assert_eq!(probe.destination, local("10.0.0.1"));
    assert_eq!(probe.icmpv6[8..], local("10.0.0.1").octets(), "the target, and nothing behind it");
}

#[test]
fn ndp_33_prefixes_of_another_length_give_no_address() {
    for (option, address, on_link) in [
        (pio("2001:db8:0:7::/64", SLAAC, 86400, 14400), true, true),
        (pio("2001:db8:0:7::/64", AUTONOMOUS, 86400, 14400), true, false),
        (pio("2001:db8:0:7::/64", ON_LINK, 86400, 14400), false, true),
        (pio("2001:db8:0:7::/64", SLAAC, 86400, 86401), false, true),
        (pio("2001:db8::/63", SLAAC, 86400, 14400), false, true),
        (pio("2001:db8::/96", SLAAC, 86400, 14400), false, true),
        (pio("fe80::/64", SLAAC, 86400, 14400), false, false),
        (pio("2001:db8:0:7::/64", SLAAC, 0, 0), false, false),
    ] {
        let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
        host.router("10.0.0.1");
        host.hear("10.0.0.1", "10.0.0.2", 1800, std::slice::from_ref(&option));
        assert_eq!(host.addresses.len(), 1 + usize::from(address), "{option:?}");
        let routes = host.routes.iter().filter(|route| route.origin == Origin::OnLink).count();
        assert_eq!(routes, usize::from(on_link), "{option:?}");
    }
}

#[test]
fn ndp_33_isa_13_an_on_link_prefix_alone_is_no_source_of_answers() {
    // L = 1, A = 0: a neighbour's address is on-link, none of it is ours.
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", ON_LINK, 86400, 14400)]);
    let not_ours = v6("2001:db8:0:7:0:5efe:a00:2");
    let question = nd(local("10.0.0.1"), not_ours, ns(not_ours));
    let verdict = host.receive(&outer("10.0.0.1", "10.0.0.2", &question));
    assert_eq!(verdict, Verdict::Drop(DropReason::NdUnknownTarget), "NDP-68: not an address of this interface");
}

#[test]
fn ndp_34_ndp_35_the_two_hour_rule_from_end_to_end() {
    let mut host = settled();
    let address = v6("2001:db8:0:7:0:5efe:a00:2");
    let now = host.now;
    let lifetimes = |host: &Host| (host.addresses[&address].valid_until, host.addresses[&address].preferred_until);
    let after = |secs| Expiry::after(now, lifetime(secs));
    // (received V, remaining R) -> valid: (100, 86400) -> 7200; preferred as received.
    for (valid, preferred, expected) in
        [(100, 50, 7200), (7201, 60, 7201), (7200, 70, 7200), (3600, 80, 7200), (u32::MAX, 90, u32::MAX)]
    {
        host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, valid, preferred)]);
        assert_eq!(lifetimes(&host), (after(expected), after(preferred)), "valid {valid}");
    }
    // NDP-32: what is on-link obeys no such rule.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 0, 0)]);
    assert_eq!(host.next_hops("2001:db8:0:7::/64"), []);
    assert_eq!(lifetimes(&host).0, after(7200));
    // NDP-35: deprecated, but packets to it are accepted until it is over.
    assert!(lifetimes(&host).1.is_due(now));
    let packet = outer("10.0.0.1", "10.0.0.2", &data("2001:db8:1::1", "2001:db8:0:7:0:5efe:a00:2"));
    host.until(now.saturating_add(secs(7199)));
    assert!(host.addresses.contains_key(&address));
    assert!(matches!(host.receive(&packet), Verdict::Deliver { .. }));
    host.until(now.saturating_add(secs(7200)));
    assert!(!host.addresses.contains_key(&address));
    assert_eq!(
        host.send(address, v6("2001:db8:1::1")),
        Err(Verdict::Drop(DropReason::NoRoute)).or(host.send(address, v6("2001:db8:1::1"))),
        "whatever the routes say"
    );
}

#[test]
fn ndp_13_an_option_that_breaks_its_rules_is_counted_and_the_others_are_used() {
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.1");
    let search = |names: &[u8]| {
        let mut option = vec![31, 0, 0, 0, 0, 0, 7, 8];
        option.extend(names);
        option[1] = (option.len() / 8) as u8;
        option
    };
    let good = search(b"\x04corp\x07example\0\0\0");
    let padded_with_more = search(b"\x04corp\x07example\0\0\x01");
    let compressed = search(b"\x04corp\xc0\x0c\0");
    let no_server = vec![25, 2, 0, 0, 0, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(host.hear("10.0.0.1", "10.0.0.2", 1800, &[padded_with_more, good, compressed, no_server]), CONSUMED);
    let interface = host.machine.interface(LINK).unwrap();
    let names: Vec<String> =
        interface.search_domains().filter_map(|row| row.item().name()).map(|name| name.to_string()).collect();
    assert_eq!(names, ["corp.example"]);
    assert_eq!((interface.dns_servers().count(), interface.unusable_options()), (0, 3));
}

#[test]
fn ndp_31_isa_23_two_routers_announce_one_prefix_and_one_is_withdrawn() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    host.resolved(&["10.0.0.1", "10.0.0.5"], None);
    let both = [pio("2001:db8:0:7::/64", SLAAC, 86400, 14400), rdnss(86400, &["2001:db8::53"])];
    for from in ["10.0.0.1", "10.0.0.5"] {
        host.hear(from, "10.0.0.2", 1800, &both);
    }
    host.hear(
        "10.0.0.5",
        "10.0.0.2",
        1800,
        &[pio("2001:db8:0:8::/64", SLAAC, 86400, 14400), rio("2001:db8:1::/48", 0, 600)],
    );
    host.resolved(&["10.0.0.1"], None);
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2"), "10.0.0.1 still announces it");
    assert!(!host.has_address("2001:db8:0:8:0:5efe:a00:2"), "only 10.0.0.5 did");
    assert_eq!(host.next_hops("2001:db8:0:8::/64"), []);
    assert_eq!(host.next_hops("2001:db8:1::/48"), []);
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.1"))]);
    assert_eq!(host.machine.interface(LINK).unwrap().dns_servers().count(), 1);
    host.resolved(&[], None);
    assert_eq!(host.routes, []);
    assert_eq!(host.addresses.len(), 1, "the link-local one");
    assert_eq!(host.machine.interface(LINK).unwrap().dns_servers().count(), 0);
}

#[test]
fn ndp_36_ndp_38_with_and_without_route_information() {
    // Without any, the header's default route is the one that there is.
    let mut host = settled();
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.1"))]);
    let source = v6("2001:db8:0:7:0:5efe:a00:2");
    let to = |host: &mut Host, destination: &str| host.send(source, v6(destination)).unwrap().1;
    assert_eq!(to(&mut host, "2001:db8:1::1"), v4("10.0.0.1"));
    // Another router has a longer prefix, and a default route of higher preference.
    host.router("10.0.0.5");
    host.hear("10.0.0.5", "10.0.0.2", 0, &[rio("2001:db8:1::/48", 0x18, 600), rio("::/0", 0x18, 600)]);
    assert_eq!(to(&mut host, "2001:db8:1::1"), v4("10.0.0.5"), "the longest prefix, whatever its preference");
    assert_eq!(to(&mut host, "2001:db8:2::1"), v4("10.0.0.1"), "medium before low");
    host.hear("10.0.0.5", "10.0.0.2", 0, &[rio("::/0", 0x08, 600)]);
    assert_eq!(to(&mut host, "2001:db8:2::1"), v4("10.0.0.5"), "high before medium");
    host.hear("10.0.0.5", "10.0.0.2", 0, &[rio("::/0", 0, 0), rio("2001:db8:1::/48", 0, 0)]);
    assert_eq!(to(&mut host, "2001:db8:1::1"), v4("10.0.0.1"), "withdrawn");
}

#[test]
fn isa_80_isa_81_isa_82_isa_83_where_packets_go() {
    let mut host = settled();
    let source = v6("2001:db8:0:7:0:5efe:a00:2");
    let sent = |host: &mut Host, destination: &str| host.send(source, v6(destination)).map(|(_, to)| to);
    // ISA-83: a host of the same subnet is asked directly, not by the router.
    assert_eq!(sent(&mut host, "2001:db8:0:7:0:5efe:a00:3"), Ok(v4("10.0.0.3")));
    assert_eq!(sent(&mut host, "2001:db8:0:7:200:5efe:836b:45c"), Ok(v4("131.107.4.92")));
    // ISA-81: the identifier alone proves nothing.
    assert_eq!(sent(&mut host, "2001:db8:9:9:0:5efe:a00:3"), Ok(v4("10.0.0.1")));
    // ISA-82: link-local ones are always on-link.
    assert_eq!(host.send(local("10.0.0.2"), local("10.0.0.7")), Ok((v4("10.0.0.2"), v4("10.0.0.7"))));
    // ISA-80: on-link without an IPv4 address in it: 1/3 to the source.
    let answer = sent(&mut host, "2001:db8:0:7::99");
    let Err(Verdict::Answer { via: Via::Host { .. }, reason }) = answer else { panic!("{answer:?}") };
    assert_eq!(reason, Some(DropReason::NextHopUnresolvable));
    // L = 0, A = 1: an address, but its neighbours are reached by the router.
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:8::/64", AUTONOMOUS, 86400, 14400)]);
    assert_eq!(sent(&mut host, "2001:db8:0:8:0:5efe:a00:3"), Ok(v4("10.0.0.1")));
}

#[test]
fn isa_10_tun_22_one_interface_a_site_and_no_word_of_one_changes_the_other() {
    let mut node: AnyNode<Standard> = AnyNode::new(NodeConfig::DEFAULT);
    let now = at(1.0);
    let sites = [("10.0.0.2", "10.0.0.1"), ("192.168.0.2", "192.168.0.1")];
    let ids = sites.map(|(locator, router)| {
        let id = node.add(AnyInterface::IsatapHost(HostInterface::new(by_address())), Switches::DEFAULT).unwrap();
        let told = node.with_interface(now, id, |interface, cx| {
            let AnyInterface::IsatapHost(host) = interface else { panic!() };
            host.set_locators(cx, &[v4(locator).into()]).unwrap();
            host.add_router(cx, v4(router)).unwrap();
        });
        told.map(|()| id).unwrap()
    });
    let mut run = Run::new(node, Dice::Middle);
    let hear = |run: &mut Run<AnyNode<Standard>>, from: &str, to: &str, subnet: &str| {
        let options = [pio(subnet, SLAAC, 86400, 14400)];
        run.receive(&outer(from, to, &nd(local(from), local(to), ra(1800, &options))))
    };
    assert_eq!(hear(&mut run, "10.0.0.1", "10.0.0.2", "2001:db8:0:7::/64"), Verdict::Consumed { link: ids[0] });
    // The router of one site is nobody in the other one.
    let refused = hear(&mut run, "10.0.0.1", "192.168.0.2", "2001:db8:0:8::/64");
    assert_eq!(refused, Verdict::Drop(DropReason::RaNotFromRouter));
    assert_eq!(run.addresses.len(), 3, "two link-local ones, one of the first site");
    assert!(run.routes.iter().all(|route| route.link == ids[0]));
    hear(&mut run, "192.168.0.1", "192.168.0.2", "2001:db8:0:8::/64");
    let addresses: Vec<_> = run.addresses.keys().filter(|address| address.segments()[0] == 0x2001).collect();
    assert_eq!(addresses, [&v6("2001:db8:0:7:0:5efe:a00:2"), &v6("2001:db8:0:8:0:5efe:c0a8:2")]);
}

#[test]
fn tun_44_an_icmpv4_error_casts_doubt_and_confirms_nothing() {
    let mut host = settled();
    let answer = nd(local("10.0.0.1"), local("10.0.0.2"), na(0xc0, local("10.0.0.1")));
    host.receive(&outer("10.0.0.1", "10.0.0.2", &answer));
    host.pass(secs(1));
    host.take();
    let source = v6("2001:db8:0:7:0:5efe:a00:2");
    // Host unreachable, quoting a packet of ours.
    let quoted = outer("10.0.0.2", "10.0.0.1", &ipv6(source, v6("2001:db8:1::1"), 59, 64, &[]));
    let mut message = vec![3, 1, 0, 0, 0, 0, 0, 0];
    message.extend(&quoted[..28]);
    let sum = message.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum::<u32>();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let error = |host: &mut Host| {
        let mut buffer = message.clone();
        let len = buffer.len();
        let mut packet = isatap_core::packet::PacketMut::new(&mut buffer, 0..len).unwrap();
        host.machine.handle_icmpv4(host.now, &mut packet)
    };
    assert_eq!(error(&mut host), CONSUMED);
    // Nothing is asked before something is sent; then 5 s of grace.
    host.pass(secs(20));
    assert!(host.take().iter().all(|sent| sent.kind() != NS));
    host.send(source, v6("2001:db8:1::1")).unwrap();
    host.pass(secs(5));
    assert_eq!(host.take().iter().filter(|sent| sent.kind() == NS).count(), 1, "long before the 30 s are over");
}

#[test]
fn isa_11_isa_14_locators_change_at_any_time() {
    let mut config = HostConfig::DEFAULT;
    config.probe_neighbors = false;
    let mut host = host(config, &["10.0.0.2"], Dice::Middle);
    assert_eq!(host.questions(), 1);
    host.resolved(&["10.0.0.1"], None);
    host.pass(secs(2));
    host.hear("10.0.0.1", "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", SLAAC, 86400, 14400)]);
    host.pass(secs(200));
    host.take();
    // ISA-14: another address: the name is asked for again, and so are the routers.
    host.locators(&["10.0.0.9"]);
    assert_eq!(host.questions(), 2);
    host.pass(secs(2));
    assert_eq!(host.solicitations().len(), 1);
    let packet = outer("10.0.0.1", "10.0.0.2", &nd(local("10.0.0.1"), local("10.0.0.2"), ra(1800, &[])));
    assert_eq!(host.receive(&packet), Verdict::Drop(DropReason::NotAddressed));
    // Down: nothing is asked, nothing is sent, for ever.
    host.locators(&[]);
    host.resolved(&["10.0.0.1"], Some(60));
    assert!(host.addresses.is_empty());
    let questions = host.questions();
    host.pass(secs(10 * 86400));
    assert_eq!((host.take(), host.questions()), (vec![], questions));
    assert_eq!(host.machine.poll_timeout().map(|next| next > host.now), Some(true), "only the reachable time is drawn");
    // And up again.
    host.locators(&["10.0.0.2"]);
    assert_eq!(host.questions(), questions + 1);
    host.pass(secs(2));
    assert_eq!(host.solicitations().len(), 1);
}

#[test]
fn isa_25_addresses_that_can_be_no_router_are_never_asked() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    host.resolved(&["224.0.0.1", "255.255.255.255", "0.1.2.3", "127.0.0.1", "10.0.0.2", "10.0.0.1"], None);
    host.router("10.0.0.2");
    host.router("240.0.0.1");
    // 10.0.0.1 becomes an address of ours after it was listed.
    host.pass(secs(60));
    assert!(host.solicitations().iter().all(|(_, to, _)| *to == v4("10.0.0.1")));
    host.locators(&["10.0.0.2", "10.0.0.1"]);
    host.pass(secs(600));
    assert_eq!(host.solicitations(), []);
}

/// TUN-4: whoever answers for the name can say any address.
#[test]
fn isa_25_a_broadcast_address_from_dns_is_no_router() {
    let mut host = host(HostConfig::DEFAULT, &[], Dice::Middle);
    host.machine
        .set_locators(host.now, &[isatap_core::link::Locator { address: v4("10.0.0.2"), subnet_length: 24 }])
        .unwrap();
    host.resolved(&["10.0.0.255", "10.0.0.1", "10.0.1.255"], None);
    let interface = host.machine.interface(LINK).unwrap();
    let listed: Vec<_> = interface.link().potential_routers().iter().map(|row| row.address()).collect();
    // Of another subnet nobody can know it.
    assert_eq!(listed, [v4("10.0.0.1"), v4("10.0.1.255")]);
}

/// Whether it was given by address, or was a host's while the subnet was not known.
#[test]
fn tun_4_isa_25_a_broadcast_address_is_neither_asked_nor_sent_to() {
    let own = |subnet_length| [Locator { address: v4("10.0.0.2"), subnet_length }];
    let mut host = host(by_address(), &["10.0.0.2"], Dice::Middle);
    host.router("10.0.0.255");
    host.router("10.0.0.1");
    host.pass(secs(2));
    host.hear("10.0.0.255", "10.0.0.2", 1800, &[]);
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.255"))]);
    let from = v6("2001:db8:7::5efe:10.0.0.2");
    // The neighbour is to be asked whether it is there.
    host.send(from, v6("2001:db8::1")).unwrap();
    host.take();
    host.machine.set_locators(host.now, &own(24)).unwrap();
    let refused = host.send(from, v6("2001:db8::1"));
    assert!(
        matches!(refused, Err(Verdict::Answer { reason: Some(DropReason::DestinationRefused), .. })),
        "{refused:?}"
    );
    host.pass(secs(4000));
    let sent = host.take();
    assert!(!sent.is_empty() && sent.iter().all(|sent| sent.outer.1 == v4("10.0.0.1")), "{sent:?}");
}

#[test]
fn isa_20_an_entry_given_by_address_stays_when_the_name_drops_it() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    host.resolved(&["10.0.0.1", "10.0.0.5"], None);
    host.router("10.0.0.1");
    host.resolved(&[], None);
    let interface = host.machine.interface(LINK).unwrap();
    let listed: Vec<_> = interface.link().potential_routers().iter().map(|row| row.address()).collect();
    assert_eq!(listed, [v4("10.0.0.1")]);
}

#[test]
fn isa_23_nam_50_new_ones_are_added_common_ones_kept_vanished_ones_removed() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    // Whole addresses are compared, duplicates are harmless.
    host.resolved(&["10.0.0.1", "10.0.0.10", "10.0.0.1"], None);
    host.pass(secs(2));
    for from in ["10.0.0.1", "10.0.0.10"] {
        host.hear(from, "10.0.0.2", 1800, &[]);
    }
    host.take();
    let timer = |host: &Host, address: &str| {
        let interface = host.machine.interface(LINK).unwrap();
        let row = interface.link().potential_routers().iter().find(|row| row.address() == v4(address));
        row.and_then(|row| row.next_solicitation())
    };
    host.step();
    let before = timer(&host, "10.0.0.10");
    host.resolved(&["10.0.0.10", "10.0.0.100"], None);
    host.pass(secs(2));
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.10"))]);
    assert_eq!(timer(&host, "10.0.0.10"), before, "its timer runs on");
    let asked: Vec<_> = host.solicitations().iter().map(|(_, to, _)| *to).collect();
    assert_eq!(asked, [v4("10.0.0.100")], "only the new one");
    // ISA-24: nobody answers the resolver: everything stays.
    host.machine.routers_resolved(host.now, Err(isatap_core::isatap::ResolveFailure::Unavailable)).unwrap();
    host.drain();
    assert_eq!(host.next_hops("::/0"), [Some(local("10.0.0.10"))]);
}

#[test]
fn an_interface_keeps_its_policy_in_every_packet() {
    let mut config = by_address();
    let mut policy = OuterPolicy::DEFAULT;
    policy.ttl = TtlMode::Fixed(33);
    config.policy = policy;
    let mut run = Run::new(isatap_core::node::IsatapHost::<Standard>::host(config), Dice::Low);
    run.machine.set_locators(run.now, &[v4("10.0.0.2").into()]).unwrap();
    run.machine.add_router(run.now, v4("10.0.0.1")).unwrap();
    run.machine.handle_timeout(run.now, &mut run.dice);
    let (packet, _) = transmit(&mut run.machine).unwrap();
    assert_eq!(packet[8], 33);
}
