//! Hosts and a router joined by nothing but byte arrays, against the packets
//! that were made by another program.

use isatap_core::time::Duration;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Small;
use isatap_core::datapath::Switches;
use isatap_core::engine::{Change, Event, Machine, Verdict, Via};
use isatap_core::isatap::{HostConfig, PublishedPrefix, Resolved, RouterConfig, RouterInterface};
use isatap_core::link::OuterPolicy;
use isatap_core::node::{IsatapHost, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::time::{Instant, Lifetime};
use isatap_core::wire::ipv4;

/// Vectors were made with DF clear and identification zero.
fn policy() -> OuterPolicy {
    let mut policy = OuterPolicy::DEFAULT;
    policy.mtu = MtuMode::Static(1280);
    policy
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// No jitter, no delay.
fn zeros(out: &mut [u8]) {
    out.fill(0);
}

fn transmit(machine: &mut impl Machine) -> Option<Vec<u8>> {
    let mut buffer = [0; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    let transmit = machine.poll_transmit(&mut packet).unwrap()?;
    transmit.outer.unwrap().push(&mut packet).unwrap();
    Some(packet.as_slice().to_vec())
}

fn events(machine: &mut impl Machine) -> Vec<Event> {
    std::iter::from_fn(|| machine.poll_event()).collect()
}

fn receive(machine: &mut impl Machine, now: Instant, outer: &[u8]) -> (Verdict, Vec<u8>) {
    let mut buffer = vec![0; HEADROOM + outer.len()];
    buffer[HEADROOM..].copy_from_slice(outer);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + outer.len()).unwrap();
    let verdict = machine.decapsulate_ipv4(now, &mut packet);
    if let Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } = verdict {
        outer.push(&mut packet).unwrap();
    }
    (verdict, packet.as_slice().to_vec())
}

const RS: &str = "45000044000000004029668f0a0000020a000001 6000000000083afffe8000000000000000005efe0a000002
    fe8000000000000000005efe0a000001 8500abbb00000000";
const RA: &str = "45000084000000004029664f0a0000010a000002 6000000000483afffe8000000000000000005efe0a000001
    fe8000000000000000005efe0a000002 8600e15f400007080000000000000000 0501000000000500
    030440c000015180000038400000000020010db8000000070000000000000000 180230080000070820010db800010000";

fn host() -> IsatapHost<Small> {
    let mut config = HostConfig::DEFAULT;
    config.policy = policy();
    IsatapHost::host(config)
}

fn router() -> Node<RouterInterface<Small>, Small, 1> {
    let mut config = RouterConfig::DEFAULT;
    config.policy = policy();
    let mut router = Node::new(NodeConfig::DEFAULT);
    let id = router.add(RouterInterface::new(config), Switches::FORWARDING).unwrap();
    router
        .with_interface(Instant::ZERO, id, |router, cx| {
            router.set_locators(cx, &[v4("10.0.0.1").into()])?;
            router.publish(
                cx,
                PublishedPrefix {
                    prefix: "2001:db8:0:7::/64".parse().unwrap(),
                    valid_lifetime: Lifetime::from_secs(86400),
                    preferred_lifetime: Lifetime::from_secs(14400),
                },
            )
        })
        .unwrap()
        .unwrap();
    let published = Route {
        publish: true,
        preference: Preference::High,
        ..Route::via("2001:db8:1::/48".parse().unwrap(), LinkId(7), v6("fe80::9"), Origin::Manual)
    };
    router.insert_route(published).unwrap();
    router
}

#[test]
fn isa_30_isa_31_isa_52_isa_55_solicitation_and_advertisement_are_the_vectors() {
    let now = Instant::from_secs(1);
    let mut host = host();
    host.set_locators(now, &[v4("10.0.0.2").into()]).unwrap();
    assert!(matches!(events(&mut host)[0], Event::ResolveRouters { .. }));
    host.routers_resolved(now, Ok(Resolved { addresses: &[v4("10.0.0.1")], ttl: None })).unwrap();
    host.handle_timeout(now, &mut zeros);
    let solicitation = transmit(&mut host).unwrap();
    assert_eq!(solicitation, bytes(RS));
    assert_eq!(transmit(&mut host), None);

    let mut router = router();
    assert_eq!(receive(&mut router, now, &solicitation).0, Verdict::Consumed { link: LinkId(0) });
    router.handle_timeout(now, &mut zeros);
    let advertisement = transmit(&mut router).unwrap();
    assert_eq!(advertisement, bytes(RA));

    assert_eq!(receive(&mut host, now, &advertisement).0, Verdict::Consumed { link: LinkId(0) });
    let told = events(&mut host);
    let address = |text: &str| {
        told.iter().any(|event| {
            matches!(event, Event::Address { change: Change::Added, address, .. } if address.address == v6(text))
        })
    };
    assert!(address("2001:db8:0:7:0:5efe:a00:2"), "{told:?}");
    let route = |prefix: &str, next_hop: Option<&str>| {
        told.iter().any(|event| {
            matches!(event, Event::Route { change: Change::Added, route }
                if route.prefix == prefix.parse().unwrap() && route.next_hop == next_hop.map(v6))
        })
    };
    assert!(route("::/0", Some("fe80::5efe:a00:1")), "{told:?}");
    assert!(route("2001:db8:1::/48", Some("fe80::5efe:a00:1")));
    assert!(route("2001:db8:0:7::/64", None));
    // ISA-35: 80 % of 1800 s, less 10 % of jitter with this entropy.
    assert_eq!(host.poll_timeout().unwrap().saturating_duration_since(now), Duration::ZERO);
    host.handle_timeout(now, &mut zeros);
    events(&mut host);
}

#[test]
fn isa_48_a_neighbor_solicitation_is_answered_from_the_address_asked() {
    let now = Instant::from_secs(1);
    let mut router = router();
    let mut host = host();
    host.set_locators(now, &[v4("10.0.0.2").into()]).unwrap();
    host.add_router(now, v4("10.0.0.1")).unwrap();
    // The probe of the vectors, in its IPv6 and IPv4 headers.
    let mut probe = vec![0; 1500];
    let mut packet = PacketMut::empty(&mut probe);
    let body = bytes("8700422b00000000fe8000000000000000005efe0a000001");
    let mut inner = bytes("6000000000183afffe8000000000000000005efe0a000002fe8000000000000000005efe0a000001");
    inner.extend_from_slice(&body);
    packet.copy_from(&inner).unwrap();
    packet.set_link(Some(LinkId(0)));
    let Verdict::Tunnel { outer, .. } = host.encapsulate(now, &mut packet) else { panic!() };
    outer.push(&mut packet).unwrap();
    let (verdict, answer) = receive(&mut router, now, packet.as_slice());
    assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }), "{verdict:?}");
    assert_eq!(answer[60..], bytes("8800812ac0000000fe8000000000000000005efe0a000001"));
    assert_eq!(answer[28..44], v6("fe80::5efe:a00:1").octets());
}

/// Found with `ping -s 4000` against the kernel: the payload of its third fragment
/// began with 136.
#[test]
fn ndp_3_a_later_fragment_that_looks_like_neighbor_discovery_is_delivered() {
    let now = Instant::from_secs(1);
    for message_type in 133..=137 {
        let mut host = host();
        host.set_locators(now, &[v4("10.0.0.2").into()]).unwrap();
        host.add_router(now, v4("10.0.0.1")).unwrap();
        let mut inner = bytes("6000000000102c40");
        inner.extend(v6("fe80::5efe:a00:1").octets());
        inner.extend(v6("fe80::5efe:a00:2").octets());
        // The rest of an ICMPv6 message, from its byte 2704 on.
        inner.extend(bytes("3a000a90 00000001"));
        inner.extend([message_type, 0, 0, 0, 0, 0, 0, 0]);
        let header = ipv4::Fields {
            tos: 0,
            payload_len: u16::try_from(inner.len()).unwrap(),
            identification: 0,
            dont_fragment: true,
            more_fragments: false,
            fragment_offset: 0,
            ttl: 64,
            protocol: 41,
            source: v4("10.0.0.1"),
            destination: v4("10.0.0.2"),
        };
        let outer = [&header.to_bytes()[..], &inner].concat();
        let (verdict, delivered) = receive(&mut host, now, &outer);
        assert!(matches!(verdict, Verdict::Deliver { .. }), "{message_type}: {verdict:?}");
        assert_eq!(delivered, inner);
    }
}

// Found by the fuzz target `host_operations`.
#[test]
fn isa_25_no_solicitation_to_what_cannot_be_a_router() {
    let now = Instant::from_secs(1);
    let mut host: IsatapHost<Small> = IsatapHost::host(HostConfig::DEFAULT);
    host.set_locators(now, &[v4("10.0.0.2").into()]).unwrap();
    host.add_router(now, v4("127.0.0.1")).unwrap();
    host.handle_timeout(now, &mut zeros);
    assert_eq!(transmit(&mut host), None);
    // The router's address becomes our own: nothing is asked of ourselves.
    host.add_router(now, v4("10.0.0.1")).unwrap();
    host.set_locators(now, &[v4("10.0.0.1").into()]).unwrap();
    host.handle_timeout(now, &mut zeros);
    assert_eq!(transmit(&mut host), None);
}

/// Tables of three rows, of which two wait for the end of their addresses to be told.
#[test]
fn isa_54_a_new_locator_has_all_its_addresses_where_the_old_one_filled_the_table() {
    let mut router = router();
    events(&mut router);
    let told = router.with_interface(Instant::ZERO, LinkId(0), |router, cx| {
        router.set_locators(cx, &[v4("10.0.0.9").into()]).unwrap();
    });
    assert_eq!(told, Some(()));
    let told: Vec<_> = events(&mut router)
        .into_iter()
        .filter_map(|event| match event {
            Event::Address { change: Change::Added, address, .. } => Some(address.address),
            _ => None,
        })
        .collect();
    assert_eq!(told, [v6("fe80::5efe:a00:9"), v6("2001:db8:0:7:0:5efe:a00:9")]);
}
