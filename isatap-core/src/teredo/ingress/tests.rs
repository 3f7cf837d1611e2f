use super::*;
use crate::prefix::Ipv4Prefix;
use crate::wire::protocol;
use proptest::prelude::*;
use std::vec::Vec;

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn ter_40_addresses_that_are_sent_to() {
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.1.1",
        "192.88.99.1",
        "192.88.99.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
    ] {
        assert!(!is_global_unicast(ipv4(refused)), "{refused}");
    }
    // TER-103: miredo refuses 192.88.98/24 by mistake.
    for sent_to in [
        "192.0.2.1",
        "192.88.98.1",
        "192.88.100.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "1.0.0.1",
        "223.255.255.255",
    ] {
        assert!(is_global_unicast(ipv4(sent_to)), "{sent_to}");
    }
    let own = [Locator { address: ipv4("192.0.2.9"), subnet_length: 24 }];
    let to = |text: &str| Reach { own: &own, accept_bogons: false }.may_send_to(text.parse().unwrap());
    assert!(to("192.0.2.1:1"));
    assert!(!to("192.0.2.9:1") && !to("192.0.2.255:1") && !to("192.0.2.1:0") && !to("10.0.0.1:1"));
}

/// By octets, over every IPv4 address that differs in what counts.
#[test]
fn ter_40_agrees_with_a_list_of_prefixes() {
    let list: Vec<Ipv4Prefix> = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.64.0.0/10",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    // No prefix is longer than 24: the last octet never counts.
    for upper in 0..1_u32 << 24 {
        let address = Ipv4Addr::from_bits(upper << 8 | 77);
        assert_eq!(is_global_unicast(address), !list.iter().any(|prefix| prefix.contains(address)), "{address}");
    }
}

/// A lab may live in private addresses, and in no more than those.
#[test]
fn ter_40_bogons_are_private_and_shared_addresses_and_nothing_else() {
    let bogons: Vec<Ipv4Prefix> = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    for upper in 0..1_u32 << 24 {
        let address = Ipv4Addr::from_bits(upper << 8 | 77);
        let expected = is_global_unicast(address) || bogons.iter().any(|prefix| prefix.contains(address));
        assert_eq!(is_usable(address, true), expected, "{address}");
        assert_eq!(is_usable(address, false), is_global_unicast(address), "{address}");
    }
    let own = [Locator { address: ipv4("10.0.0.9"), subnet_length: 24 }];
    let to = |text: &str| Reach { own: &own, accept_bogons: true }.may_send_to(text.parse().unwrap());
    assert!(to("10.0.0.1:1") && !to("10.0.0.9:1") && !to("10.0.0.255:1") && !to("10.0.0.1:0") && !to("127.0.0.1:1"));
}

#[test]
fn ter_84_alternates_may_be_private() {
    let own = [Locator { address: ipv4("192.168.1.2"), subnet_length: 24 }];
    let reach = Reach { own: &own, accept_bogons: false };
    let to = |text: &str| reach.may_send_to_alternate(text.parse().unwrap());
    assert!(to("192.168.1.3:1") && to("10.0.0.1:1"));
    for refused in ["192.168.1.2:1", "192.168.1.255:1", "127.0.0.1:1", "224.0.0.253:3544", "0.0.0.0:1", "192.168.1.3:0"]
    {
        assert!(!to(refused), "{refused}");
    }
}

#[test]
fn a_path_is_that_of_a_datagram() {
    let path = Path { from: "192.168.1.10:51234".parse().unwrap(), to: "198.51.100.1:3544".parse().unwrap() };
    assert_eq!(Path::of(&Outer::udp(path.from, path.to)), Ok(path));
    // Protocol 41 has no ports.
    let outer = Outer::new(*path.from.ip(), *path.to.ip());
    assert_eq!(Path::of(&outer), Err(DropReason::TeredoMalformed));
}

#[test]
fn native_is_what_is_global_and_not_teredo() {
    let native = |text: &str| is_native_global(&text.parse().unwrap());
    assert!(native("2001:db8::1") && native("2002:c000:201::1") && native("2001:1::1") && native("3fff::1"));
    for other in ["2001:0:c633:6401::1", "fe80::1", "fd00::1", "ff02::1", "::1", "::", "64:ff9b::1", "fec0::1"] {
        assert!(!native(other), "{other}");
    }
}

/// A packet of any next header, nearly always whole.
fn any_packet(addresses: [Ipv6Addr; 3]) -> impl Strategy<Value = Vec<u8>> {
    let next_header = prop_oneof![
        3 => Just(protocol::UDP),
        1 => Just(protocol::TCP),
        3 => Just(protocol::ICMPV6),
        1 => prop_oneof![Just(protocol::NO_NEXT_HEADER), Just(protocol::ROUTING), Just(protocol::FRAGMENT), any::<u8>()],
    ];
    let kind = prop_oneof![Just(1_u8), Just(129), Just(133), Just(134), Just(136), any::<u8>()];
    let address = move || (0..addresses.len(), any::<u128>(), 0_u8..16);
    // Seldom another address, or one that differs in a bit.
    let address = move || {
        address().prop_map(move |(place, other, odds)| match odds {
            0 => Ipv6Addr::from_bits(other),
            1 => Ipv6Addr::from_bits(addresses[place].to_bits() ^ 1 << (other & 127)),
            _ => addresses[place],
        })
    };
    let packet = (next_header, address(), address(), kind, 0_usize..12, 0_usize..24, any::<[u8; 3]>());
    packet.prop_map(|(next_header, source, destination, kind, len, odds, other)| {
        let fields = ipv6::Fields {
            traffic_class: other[0],
            flow_label: other[1].into(),
            payload_len: len.try_into().unwrap(),
            next_header,
            hop_limit: other[2],
            source,
            destination,
        };
        let mut packet = fields.to_bytes().to_vec();
        packet.extend(core::iter::once(kind).chain([0; 11]).take(len));
        match odds {
            0 => packet.extend([0x80, 0]),
            1 => packet.truncate(packet.len().saturating_sub(1)),
            2 => packet[0] ^= 0x20,
            3 => packet[usize::from(other[0]) % 40] ^= other[1],
            _ => {}
        }
        packet
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2048, ..ProptestConfig::default() })]

    /// TER-43: what is clearly in order may be carried, and nothing is carried that
    /// the rules one by one refuse.
    #[test]
    fn outgoing_packets_are_judged_as_by_the_rules_one_by_one(
        packet in any_packet(["2001:0:c633:6401:0:dfff:3fff:fdf5", "2001:db8::1", "fe80::1"].map(|text| text.parse().unwrap())),
    ) {
        let one_by_one = match ipv6::Header::parse(&packet) {
            Ok(header) if header.packet_len() == packet.len() => ipv6::upper_layer(&packet).map(|_| ()),
            _ => Err(DropReason::NotIpv6),
        };
        let (mut buffer, len) = (packet.clone(), packet.len());
        let judged = outgoing(&PacketMut::new(&mut buffer, 0..len).unwrap());
        prop_assert_eq!(judged.as_ref().map(|_| ()), one_by_one.as_ref().map(|_| ()));
        if let Ok(Outgoing { source, destination, fits, .. }) = judged {
            let header = ipv6::Header::parse(&packet).unwrap();
            prop_assert_eq!((source, destination, fits), (header.source(), header.destination(), true));
        }
    }

    /// TER-60, NDP-20: what is a solicitation at a glance is one by the rules, and ends as by them.
    #[test]
    fn solicitations_are_judged_as_by_the_rules_one_by_one(
        (kind, code, len) in (prop_oneof![4 => Just(133_u8), 1 => any::<u8>()], 0_u8..8, prop_oneof![6 => Just(8_usize), 1 => 0_usize..20]),
        (hop_limit, source, destination) in (prop_oneof![4 => Just(255_u8), 1 => any::<u8>()], 0_usize..8, 0_usize..8),
        (right, bit, next_header) in (0_u8..6, 0_usize..384, prop_oneof![6 => Just(protocol::ICMPV6), 1 => any::<u8>()]),
        from in 0_usize..6,
    ) {
        let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
        let source = v6(["fe80::1", "::", "2001:db8::1", "febf::8000:0:0:1"][source.saturating_sub(4)]);
        let destination = v6(["ff02::2", "ff02::1", "fe80::2", "ff02::2"][destination.saturating_sub(4)]);
        let mut message = [0; 20];
        (message[0], message[1]) = (kind, code.saturating_sub(6));
        crate::wire::icmpv6::fill_checksum(&mut message[..len], &source, &destination);
        let fields = ipv6::Fields {
            traffic_class: 0, flow_label: 0, payload_len: len.try_into().unwrap(), next_header, hop_limit, source, destination,
        };
        let mut packet = [&fields.to_bytes()[..], &message[..len]].concat();
        if right == 0 && bit / 8 < packet.len() {
            packet[bit / 8] ^= 1 << (bit % 8);
        }
        let Ok(header) = ipv6::Header::parse(&packet) else { return Ok(()) };
        let from = endpoint(["203.0.113.9:9", "203.0.113.9:0", "10.0.0.1:9", "198.51.100.1:3544", "8.8.8.8:3544", "198.51.100.255:1"][from]);
        let own = [Locator { address: ipv4("198.51.100.1"), subnet_length: 24 }];
        let view = ServerView {
            addresses: [ipv4("198.51.100.1"), ipv4("198.51.100.2")],
            known_servers: &[ipv4("8.8.8.8")],
            accept_symmetric_bubbles: false,
            reach: Reach { own: &own, accept_bogons: false },
            accept_obsolete_prefix: false,
        };
        let valid = || {
            let received = crate::interface::neighbor_discovery(&packet).ok_or(DropReason::NdMalformed)?;
            crate::nd::validate::router_solicitation(&received).map(|_| ())
        };
        let short = is_solicitation(&header);
        if short {
            prop_assert_eq!(valid(), Ok(()));
            prop_assert_eq!(view.solicitation(from, &header.source()), server(&view, from, &header));
        } else if len == 8 && matches!(server(&view, from, &header), Ok(ServerCase::Solicitation { .. })) {
            // Nearly all are found at a glance.
            prop_assert!(valid().is_err());
        }
    }

    /// TER-39: at a glance nothing is trusted that the rules in their order refuse, or
    /// take for something else.
    #[test]
    fn data_of_a_trusted_peer_is_case_1(
        payload in any_packet(["2001:0:c633:6401:0:dfff:3fff:fdf5", "2001:0:c633:6401:0:efff:3fff:fdfe", "fe80::1"]
            .map(|text| text.parse().unwrap())),
        (known, trusted, at) in (0_u8..8, 0_u8..4, 0_usize..12),
        (local, group, qualified) in (0_u8..8, 0_u8..16, 0_u8..16),
        testing: bool,
    ) {
        let now = crate::time::Instant::from_secs(9);
        let source: Ipv6Addr = "2001:0:c633:6401:0:dfff:3fff:fdf5".parse().unwrap();
        let places = ["192.0.2.10:8192", "198.51.100.1:3544", "203.0.113.1:3544", "10.0.0.1:9", "192.168.1.255:9", "224.0.0.1:9"];
        let from = places[at.saturating_sub(6)].parse().unwrap();
        let mut peers: crate::teredo::peer::PeerTable = Default::default();
        let peer = peers.find_or_insert(now, &source).unwrap();
        if trusted > 0 {
            peer.trust(now, if trusted > 1 { from } else { endpoint("192.0.2.11:8192") }, false);
        }
        let own = [Locator { address: ipv4("192.168.1.2"), subnet_length: 24 }];
        let view = ClientView {
            servers: [ipv4("198.51.100.1"), ipv4("198.51.100.2")],
            address: (qualified > 0).then(|| "2001:0:c633:6401:0:efff:3fff:fdfe".parse().unwrap()),
            peer: (known > 0).then(|| peers.find(&source)).flatten(),
            secret_source: (local == 1).then(|| "fe80::1".parse().unwrap()),
            testing,
            local: (local == 2).then_some(from),
            discovery: local > 3,
            reach: Reach { own: &own, accept_bogons: false },
        };
        let to = SocketAddrV4::new(if group == 0 { DISCOVERY_GROUP } else { own[0].address }, 40_000);
        let path = Path { from, to };
        let short = data(&payload).is_some_and(|header| is_trusted(&view, path, &header));
        let long = parse(&payload).and_then(|(datagram, header)| {
            let trailers = datagram.trailers().collect_known()?;
            client(&view, path, &datagram, &header, &trailers)
        });
        prop_assert!(!short || long == Ok(ClientCase::Trusted), "{long:?}");
        // The other way round for what most packets are.
        let is_exact = Datagram::parse(&payload).is_ok_and(|datagram| datagram.trailer_bytes().is_empty());
        let is_udp = is_exact && payload[6] == protocol::UDP && payload[8] >> 5 == 1;
        let is_servers = from.port() == SERVER_PORT;
        prop_assert!(short || long != Ok(ClientCase::Trusted) || !is_udp || is_servers, "not at a glance");
    }
}

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}
