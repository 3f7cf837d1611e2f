#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use proptest::prelude::*;
use std::format;
use std::string::{String, ToString};
use std::vec::Vec;

fn hex(text: &str) -> Vec<u8> {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    (0..digits.len() / 2).map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// A Router Solicitation and an advertisement with three options.
const SOLICITATION: &str = "45000044000000004029668f0a0000020a0000016000000000083afffe8000000000000000005efe0a000002\
                            fe8000000000000000005efe0a0000018500abbb00000000";
const ADVERTISEMENT: &str = "45000084000000004029664f0a0000010a0000026000000000483afffe8000000000000000005efe0a000001\
                             fe8000000000000000005efe0a0000028600e15f400007080000000000000000\
                             0501000000000500030440c000015180000038400000000020010db8000000070000000000000000\
                             180230080000070820010db800010000";
/// A solicitation with authentication, from a client to its server.
const TEREDO: &str = "450000590000000040118eadc0a8010ac6336401c8220dd80045d9c0000100000123456789abcdef00\
                      6000000000083aff fe80 0000 0000 0000 0000 ffff ffff ffff ff02 0000 0000 0000 0000 0000 0000 0002 85007d3700000000";
/// A Packet Too Big about an echo request.
const TOO_BIG: &str = "6000000000403a40fe8000000000000000005efe0a00000220010db80000000700005efe0a000002\
                       0200603d00000500\
                       6000000000103a4020010db80000000700005efe0a00000220010db8000100000000000000000001\
                       800029a2000100016162636465666768";

fn kinds(bytes: &[u8]) -> Vec<&'static str> {
    Layers::new(bytes).map(|layer| layer.content.kind()).collect()
}

/// The warnings of all layers, in order.
fn warnings(bytes: &[u8]) -> Vec<Warning> {
    Layers::new(bytes).flat_map(|layer| layer.warnings.iter().collect::<Vec<_>>()).collect()
}

/// A UDP datagram of Teredo around `payload`, between documentation addresses.
fn teredo(ports: (u16, u16), payload: &[u8]) -> Vec<u8> {
    use crate::wire::{ipv4, protocol, udp};
    let addresses = ("192.0.2.1".parse().unwrap(), "198.51.100.1".parse().unwrap());
    let udp = udp::Fields { source: ports.0, destination: ports.1 };
    let udp = udp.to_bytes_ipv4(addresses.0, addresses.1, payload).unwrap();
    let ip = ipv4::Fields {
        tos: 0,
        payload_len: (payload.len() + 8) as u16,
        identification: 0,
        dont_fragment: false,
        more_fragments: false,
        fragment_offset: 0,
        ttl: 64,
        protocol: protocol::UDP,
        source: addresses.0,
        destination: addresses.1,
    };
    [ip.to_bytes().as_slice(), &udp, payload].concat()
}

const BUBBLE: &str = "6000000000003bff20010000c63364010000efff3ffffdfe20010000c63364010000dfff34ff8ef5";

#[test]
fn an_advertisement_is_spelled_out() {
    assert_eq!(
        format!("{:#}", Packet(&hex(ADVERTISEMENT))),
        "IPv4 10.0.0.1 -> 10.0.0.2, protocol 41 (IPv6), TTL 64, 132 bytes\n  \
         IPv6 fe80::5efe:10.0.0.1 -> fe80::5efe:10.0.0.2, next header 58 (ICMPv6), hop limit 255, 72 bytes of payload\n  \
         Router Advertisement, lifetime 1800s, preference medium, hop limit 64\n    \
         option MTU 1280\n    \
         option prefix 2001:db8:0:7::/64, on-link, autonomous, valid 86400s, preferred 14400s\n    \
         option route 2001:db8:1::/48, preference high, lifetime 1800s"
    );
    assert_eq!(kinds(&hex(ADVERTISEMENT)), ["ipv4", "ipv6", "router-advertisement"]);
    assert_eq!(kinds(&hex(SOLICITATION)), ["ipv4", "ipv6", "router-solicitation"]);
    assert_eq!(
        Packet(&hex(SOLICITATION)).to_string(),
        "IPv4 10.0.0.2 -> 10.0.0.1, protocol 41 (IPv6), TTL 64, 68 bytes | IPv6 fe80::5efe:10.0.0.2 -> \
         fe80::5efe:10.0.0.1, next header 58 (ICMPv6), hop limit 255, 8 bytes of payload | Router Solicitation"
    );
}

#[test]
fn teredo_is_taken_apart() {
    assert_eq!(kinds(&hex(TEREDO)), ["ipv4", "udp", "teredo-authentication", "ipv6", "router-solicitation"]);
    assert_eq!(warnings(&hex(TEREDO)), []);
    let origin = [hex("0000feaefefdfcfb"), hex(BUBBLE), hex("010412345678")].concat();
    let packet = teredo((3544, 4096), &origin);
    assert_eq!(kinds(&packet), ["ipv4", "udp", "teredo-origin", "ipv6", "teredo-trailer"]);
    assert!(Packet(&packet).to_string().contains("Teredo origin 1.2.3.4:337"));
    assert!(Packet(&packet).to_string().ends_with("Teredo nonce trailer 12345678"));
    // Between clients, at ports that nobody knows.
    assert_eq!(kinds(&teredo((4096, 8192), &hex(BUBBLE))), ["ipv4", "udp", "ipv6"]);
    let auth = [hex("000100000123456789abcdef00"), origin].concat();
    let expected = ["ipv4", "udp", "teredo-authentication", "teredo-origin", "ipv6", "teredo-trailer"];
    assert_eq!(kinds(&teredo((4096, 8192), &auth)), expected);
    assert_eq!(kinds(&teredo((53, 53), b"no Teredo here")), ["ipv4", "udp", "data"]);
    // An authentication, and no packet behind it.
    for malformed in ["", "50", "0002", "00000102"] {
        let packet = teredo((4096, 3544), &hex(&format!("000100000123456789abcdef00{malformed}")));
        assert_eq!(kinds(&packet), ["ipv4", "udp", "teredo-authentication", "malformed"], "{malformed}");
        assert_eq!(warnings(&packet), [Warning::TeredoMalformed], "{malformed}");
    }
}

/// The server's port alone makes no Teredo: DNS may be there, whatever its identifier.
#[test]
fn dns_at_the_port_of_teredo_is_data() {
    let query = "01000001000000000000066973617461700765 78616d706c650000010001";
    let answer = "818000010001000000000669736174617007657861 6d706c650000010001c00c000100010000003c00040a000001";
    for identifier in ["0000", "0001", "0002", "6000", "6fff", "1234"] {
        for message in [query, answer] {
            let payload = hex(&format!("{identifier}{message}"));
            for ports in [(4096, 3544), (3544, 4096)] {
                let packet = teredo(ports, &payload);
                assert_eq!(kinds(&packet), ["ipv4", "udp", "data"], "{identifier}");
                assert_eq!(warnings(&packet), [], "{identifier}");
            }
        }
    }
    for other in ["0001", "00010005", "0002", "50", "00010000012345", "600000000000"] {
        assert_eq!(kinds(&teredo((4096, 3544), &hex(other))), ["ipv4", "udp", "data"], "{other}");
    }
    // A native packet to nobody's Teredo address is none either.
    let native = "6000000000003bff20010db800000000000000000000000120010db8000000000000000000000002";
    assert_eq!(kinds(&teredo((4096, 3544), &hex(native))), ["ipv4", "udp", "data"]);
    assert_eq!(kinds(&teredo((4096, 3544), &hex(BUBBLE))), ["ipv4", "udp", "ipv6"]);
}

/// Wherever a capture or a quote cuts a packet, what is left is "cut here", never malformed.
#[test]
fn what_is_cut_is_never_malformed() {
    let mut packets: Vec<Vec<u8>> =
        [SOLICITATION, ADVERTISEMENT, TEREDO, TOO_BIG].iter().map(|text| hex(text)).collect();
    packets.push(teredo((3544, 4096), &[hex("0000feaefefdfcfb"), hex(BUBBLE), hex("010412345678")].concat()));
    for next in [0, 6, 17, 43, 44, 51, 58, 60] {
        let mut with = hex("6000000000203b4020010db800000000000000000000000120010db8000000000000000000000002");
        with[6] = next;
        with.extend([59, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0, 0, 0].repeat(2));
        packets.push(with);
    }
    for packet in packets {
        let whole = kinds(&packet);
        for len in 1..packet.len() {
            let layers: Vec<_> = Layers::of_beginning(&packet[..len]).collect();
            let kinds: Vec<_> = layers.iter().map(|layer| layer.content.kind()).collect();
            let text: String = layers.iter().map(|layer| format!("{layer:#}")).collect();
            assert!(!text.contains("malformed"), "{len} bytes: {text}");
            let told = kinds.iter().position(|kind| *kind == "cut").unwrap_or(kinds.len());
            // A datagram whose Teredo cannot be seen any more is data.
            let is_same = kinds[..told].iter().zip(&whole).all(|(cut, whole)| cut == whole || *cut == "data");
            assert!(is_same && told + 1 >= kinds.len(), "{len} bytes: {kinds:?} of {whole:?}");
            // The same in an error's quote.
            if packet[0] == 0x45 && len >= 20 {
                let mut error = hex("4500000000000000400100000a0000010a0000020b00000000000000");
                error.extend(&packet[..len]);
                let length = (error.len() as u16).to_be_bytes();
                error[2..4].copy_from_slice(&length);
                let text = format!("{:#}", Packet(&error));
                assert!(!text.contains("malformed"), "{len} bytes: {text}");
            }
        }
    }
}

/// Of an IPv6 header that is cut, the fields that are there are told.
#[test]
fn a_header_that_is_cut_tells_the_fields_that_are_there() {
    let packet = hex("45000050000000004029000 00a0000020a000001 6ab00005 0014 3aff \
        fe800000000000000000 5efe0a000002 fe800000000000000000 5efe0a000001");
    let told = |len: usize| {
        let layer = Layers::of_beginning(&packet[..len]).last().unwrap();
        let Content::Cut(cut) = layer.content else { panic!("{len} bytes: {layer}") };
        (cut.ipv6(), layer.content.to_string())
    };
    // What Wireshark says of the same bytes.
    let (header, text) = told(54);
    let header = header.unwrap();
    assert_eq!((header.traffic_class, header.flow_label, header.payload_length), (0xab, 5, 20));
    assert_eq!((header.next_header, header.hop_limit, header.rest), (58, 255, &packet[44..54]));
    assert_eq!(header.source, Some("fe80::5efe:a00:2".parse().unwrap()));
    assert_eq!(
        text,
        "cut here, 34 bytes of the IPv6 header: fe80::5efe:10.0.0.2 -> fe800000000000000000…, next header 58 (ICMPv6), \
         hop limit 255, 20 bytes of payload, traffic class 0xab, flow label 0x00005"
    );
    assert!(told(44).1.contains("header: fe80::5efe:10.0.0.2 -> …, next header 58"), "{}", told(44).1);
    assert!(told(43).1.contains("header: source fe8000000000000000005efe0a0000…, next header 58"), "{}", told(43).1);
    assert_eq!(told(27), (None, "cut here, 7 bytes of the IPv6 header: 6ab0000500143a".into()));
    // Of another layer the same bytes are another thing.
    let udp = hex("4500005000000000401100000a0000020a000001 60000000000000");
    let layer = Layers::of_beginning(&udp).last().unwrap();
    assert!(matches!(layer.content, Content::Cut(cut) if cut.ipv6().is_none()), "{layer}");
}

/// BIG TCP with and without the jumbo payload option, and a jumbogram of UDP. [RFC 2675]
#[test]
fn jumbograms_and_big_tcp_are_read_to_their_end() {
    let addresses = "20010db800000000000000000000000120010db8000000000000000000000002";
    let tcp = "c0010050000000010000000250100100000000 00";
    let data = "00".repeat(70_000);
    let jumbo = |next: &str, header: &str, len: u32| {
        hex(&format!("60000000000000 40{addresses}{next}00c204{:08x}{header}{data}", len))
    };
    let kinds_of = |bytes: &[u8]| (kinds(bytes), warnings(bytes));
    let packet = jumbo("06", tcp, 70_028);
    assert_eq!(kinds_of(&packet), (Vec::from(["ipv6", "hop-by-hop", "tcp", "data"]), Vec::new()));
    assert!(Packet(&packet).to_string().contains("jumbo payload of 70028 bytes"));
    // Of UDP the length field is 0, and the checksum is not judged wrong for it.
    let udp = jumbo("11", "c001005000000001", 70_016);
    assert_eq!(kinds(&udp), ["ipv6", "hop-by-hop", "udp", "data"]);
    assert!(!warnings(&udp).contains(&Warning::UdpLength));
    // The kernel's, without the option.
    let big = hex(&format!("6000000000000640{addresses}{tcp}{data}"));
    assert_eq!(kinds_of(&big), (Vec::from(["ipv6", "tcp", "data"]), Vec::new()));
    // More than there is, or cut.
    let long = jumbo("06", tcp, 80_000);
    assert_eq!(warnings(&long), [Warning::Ipv6Length]);
    // In a tunnel it is told once, without a word of padding.
    let mut tunnelled = hex("4500000000004000402900000a0000020a000001");
    tunnelled.extend(hex(&format!("60000000000000 40{addresses}0600c20400011170{tcp}")));
    let length = (tunnelled.len() as u16).to_be_bytes();
    tunnelled[2..4].copy_from_slice(&length);
    let told = [Warning::Ipv4ChecksumUnset, Warning::InnerTruncated, Warning::Jumbogram];
    assert_eq!(warnings(&tunnelled), told);
}

#[test]
fn trailers_are_walked_as_the_vectors_say() {
    for (trailers, found, warned) in [
        ("010412345678", 1, None),
        ("03080000c0a801029c40", 1, None),
        ("030e0000c0a801029c400a0000050dd9", 1, None),
        ("040400000000", 1, None),
        ("0502c350", 1, None),
        ("0202c350", 1, None),
        ("4000", 1, Some(Warning::TrailerDiscard)),
        ("8000ff01aa010401020304", 3, None),
        ("01040102", 0, Some(Warning::TrailerMalformed)),
        ("00", 0, None),
        ("03080000c0a801020000", 1, Some(Warning::AlternateAddress)),
        ("03090000c0a801029c4000", 1, Some(Warning::AlternateAddress)),
        ("03080000e00000019c40", 1, Some(Warning::AlternateAddress)),
    ] {
        let packet = teredo((4096, 8192), &[hex(BUBBLE), hex(trailers)].concat());
        let count = kinds(&packet).iter().filter(|kind| **kind == "teredo-trailer").count();
        assert_eq!(count, found, "{trailers}");
        assert_eq!(warnings(&packet), Vec::from_iter(warned), "{trailers}");
    }
}

#[test]
fn an_error_shows_the_packet_that_it_is_about() {
    let layers: Vec<_> = Layers::new(&hex(TOO_BIG)).map(|layer| (layer.content.kind(), layer.is_quoted)).collect();
    let expected = [("ipv6", false), ("packet-too-big", false), ("ipv6", true), ("echo-request", true), ("data", true)];
    assert_eq!(layers, expected);
    assert_eq!(warnings(&hex(TOO_BIG)), []);
    // Fragmentation needed, about the first 28 bytes of a tunnel's packet.
    let quote = hex("03045ca7000005144500003c0000000040298e63c0000201c63364016000000000003b40");
    let mut error = hex("450000380000000040018e8fc6336401c0000201");
    error.extend(&quote);
    assert_eq!(kinds(&error), ["ipv4", "destination-unreachable", "ipv4", "cut"]);
    assert!(Packet(&error).to_string().ends_with(
        "| cut here, 8 bytes of the IPv6 header: no addresses, next header 59 (none), hop limit 64, 0 bytes of payload"
    ));
    assert!(Packet(&error).to_string().contains("fragmentation needed, next-hop MTU 1300, about"));
    assert_eq!(warnings(&error), []);
}

#[test]
fn a_header_that_is_due_and_not_there_is_malformed() {
    for next_header in [0, 6, 17, 43, 44, 51, 58, 60, 41, 4] {
        let mut bytes = hex("6000000000003b4020010db800000000000000000000000120010db8000000000000000000000002");
        bytes[6] = next_header;
        assert_eq!(kinds(&bytes), ["ipv6", "malformed"], "{next_header}");
    }
}

/// A change to a good packet, and what must be said of it.
#[track_caller]
fn after(packet: &str, change: impl Fn(&mut Vec<u8>), expected: &[Warning]) {
    let mut bytes = hex(packet);
    change(&mut bytes);
    let sum = |bytes: &[u8]| crate::wire::checksum::checksum(bytes).to_be_bytes();
    bytes[10..12].fill(0);
    let outer = sum(&bytes[..20]);
    bytes[10..12].copy_from_slice(&outer);
    // The ICMPv6 checksum, made right again.
    let (source, destination): ([u8; 16], [u8; 16]) =
        (bytes[28..44].try_into().unwrap(), bytes[44..60].try_into().unwrap());
    let end = 60 + usize::from(bytes[25]);
    if bytes[26] == 58 && end <= bytes.len() {
        crate::wire::icmpv6::fill_checksum(&mut bytes[60..end], &source.into(), &destination.into());
    }
    assert_eq!(warnings(&bytes), expected);
}

#[test]
fn isa_42_tun_5_tun_14_tun_15_tun_16_tunnels_are_judged() {
    after(SOLICITATION, |_| {}, &[]);
    after(SOLICITATION, |b| b[15] = 9, &[Warning::IsatapSource]);
    after(SOLICITATION, |b| b[12..16].fill(127), &[Warning::OuterSource]);
    after(SOLICITATION, |b| b[16] = 224, &[Warning::OuterDestination]);
    after(SOLICITATION, |b| b[28..44].fill(0xff), &[Warning::InnerSource]);
    after(SOLICITATION, |b| b[20] = 0x50, &[Warning::InnerVersion]);
    after(SOLICITATION, |b| b[1] = 3, &[Warning::Ecn]);
    after(SOLICITATION, |b| b[6] = 0x20, &[Warning::OuterFragment]);
}

#[test]
fn tun_11_tun_12_lengths_that_do_not_fit_are_said() {
    after(SOLICITATION, |b| b[25] = 9, &[Warning::InnerTruncated]);
    after(
        SOLICITATION,
        |b| {
            b.push(0);
            b[3] += 1
        },
        &[Warning::Padding],
    );
    // Ethernet's padding is not the tunnel's.
    after(SOLICITATION, |b| b.push(0), &[]);
    assert_eq!(warnings(&hex(SOLICITATION)[..60]), [Warning::Ipv4Length]);
    let mut bytes = hex(SOLICITATION);
    bytes[8] = 63;
    assert_eq!(warnings(&bytes), [Warning::Ipv4Checksum]);
}

#[test]
fn tun_11_what_a_network_card_fills_in_is_said() {
    let mut bytes = hex(SOLICITATION);
    bytes[10..12].fill(0);
    assert_eq!(warnings(&bytes), [Warning::Ipv4ChecksumUnset]);
    // The captured length counts, of the inner packet as well.
    bytes[2..4].fill(0);
    bytes[24..26].fill(0);
    assert_eq!(warnings(&bytes), [Warning::Ipv4LengthUnset]);
    let kinds: Vec<_> = Layers::new(&bytes).map(|layer| layer.content.kind()).collect();
    assert_eq!(kinds, ["ipv4", "ipv6", "router-solicitation"]);
}

#[test]
fn ndp_1_ndp_2_ndp_3_ndp_5_ndp_20_messages_are_judged() {
    after(SOLICITATION, |b| b[27] = 64, &[Warning::NdHopLimit]);
    after(SOLICITATION, |b| b[61] = 1, &[Warning::NdCode]);
    after(ADVERTISEMENT, |b| b[77] = 0, &[Warning::NdOption]);
    after(ADVERTISEMENT, |b| b[77] = 9, &[Warning::NdOption]);
    let mut bytes = hex(SOLICITATION);
    bytes[62] ^= 1;
    assert_eq!(warnings(&bytes), [Warning::Icmpv6Checksum]);
    // In a fragment header of a whole packet.
    let mut bytes = hex(SOLICITATION);
    bytes.splice(60..60, [58, 0, 0, 0, 0, 0, 0, 1]);
    (bytes[3], bytes[25], bytes[26]) = (76, 16, 44);
    assert!(warnings(&bytes).contains(&Warning::NdFragment));
    assert_eq!(kinds(&bytes), ["ipv4", "ipv6", "fragment", "router-solicitation"]);
}

#[test]
fn ndp_10_ndp_11_ndp_12_ndp_14_ndp_21_ndp_33_tun_63_advertisements_are_judged() {
    after(ADVERTISEMENT, |b| b[86] = 63, &[Warning::PrefixLength]);
    after(ADVERTISEMENT, |b| b[92] = 0xff, &[Warning::PrefixLifetimes]);
    after(ADVERTISEMENT, |b| b[100..102].copy_from_slice(&[0xfe, 0x80]), &[Warning::PrefixLinkLocal]);
    after(ADVERTISEMENT, |b| b[86] = 129, &[Warning::PrefixOption]);
    after(ADVERTISEMENT, |b| b[82..84].copy_from_slice(&[4, 255]), &[Warning::MtuOption]);
    after(ADVERTISEMENT, |b| b[119] = 0x10, &[Warning::RouteOption]);
    after(ADVERTISEMENT, |b| b[28] = 0x20, &[Warning::RaSource]);
    after(ADVERTISEMENT, |b| b[76] = 1, &[Warning::LinkLayerOption]);
    let twice = |b: &mut Vec<u8>| {
        b.extend_from_within(116..132);
        (b[3], b[25]) = (b[3] + 16, b[25] + 16);
    };
    after(ADVERTISEMENT, twice, &[Warning::RouteTwice]);
}

#[test]
fn sec_12_sec_13_routing_headers_and_nesting_are_said() {
    let mut bytes = hex(SOLICITATION);
    bytes.splice(60..60, [58, 0, 0, 1, 0, 0, 0, 0]);
    (bytes[3], bytes[25], bytes[26]) = (76, 16, 43);
    assert!(warnings(&bytes).contains(&Warning::RoutingHeader));
    let mut nested = hex("6000000000003b4020010db800000000000000000000000120010db8000000000000000000000002");
    for level in 1..=90_u16 {
        let mut outer = nested[..40].to_vec();
        outer[4..6].copy_from_slice(&(level * 40).to_be_bytes());
        outer[6] = 41;
        outer.extend(&nested);
        nested = outer;
        let said = warnings(&nested);
        assert_eq!(said.contains(&Warning::Nesting), level > 4, "{level}");
        assert!(kinds(&nested).len() <= usize::from(Layers::MAX));
    }
}

#[test]
fn s64_14_s64_20_6to4_is_judged() {
    let echo = "4500004c0000000040298e53c0000201c6336401600000000010 3a40 2002c000020100000000000000000001\
                2002c63364010000000000000000000180 00b3c0123400013674 6f3474657374";
    assert_eq!(kinds(&hex(echo)), ["ipv4", "ipv6", "echo-request", "data"]);
    after(echo, |_| {}, &[]);
    after(echo, |b| b[15] = 9, &[Warning::SixToFourSource]);
    after(echo, |b| b[19] = 9, &[Warning::SixToFourDestination]);
    after(
        echo,
        |b| {
            b[12] = 10;
            b[30] = 10
        },
        &[Warning::SixToFourPrivate],
    );
    after(echo, |b| b[28..32].copy_from_slice(&[0x20, 1, 0xd, 0xb8]), &[]);
}

#[test]
fn ter_1_ter_4_ter_7_teredo_addresses_are_judged() {
    let bubble = |source: &str, port: u16| {
        let mut bytes = hex(BUBBLE);
        bytes[8..24].copy_from_slice(&source.parse::<core::net::Ipv6Addr>().unwrap().octets());
        warnings(&teredo((port, 8192), &bytes))
    };
    assert_eq!(bubble("2001:0:c633:6401:0:efff:3fff:fdfe", 4096), []);
    assert_eq!(bubble("2001:0:c633:6401:0:efff:3fff:fdfe", 4097), [Warning::TeredoSource]);
    assert_eq!(bubble("2001:0:c633:6401:4000:efff:3fff:fdfe", 4096), [Warning::TeredoFlags]);
    assert_eq!(bubble("2001:0:c633:6401:0:ffff:3fff:fdfe", 3544), [Warning::TeredoPort]);
    assert_eq!(bubble("2001:0:c633:6401:0:efff:f5ff:fffe", 3544), [Warning::TeredoAddress]);
    assert_eq!(bubble("2001:0:c058:6301:0:efff:3fff:fdfe", 4096), [Warning::TeredoAddress]);
    assert_eq!(bubble("3ffe:831f:c633:6401:0:efff:3fff:fdfe", 4096), [Warning::TeredoObsolete]);
}

#[test]
fn every_warning_has_its_own_name_and_a_sentence() {
    for warning in Warning::ALL {
        let same = Warning::ALL.iter().filter(|other| other.as_str() == warning.as_str());
        assert_eq!(same.count(), 1, "{warning}");
        assert!(warning.describe().ends_with('.') && !warning.requirement().is_empty(), "{warning}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Good packets with a few bytes changed and cut anywhere: the walk ends,
    /// says where it is, and every text can be written.
    #[test]
    fn any_bytes_are_walked_over_in_bounded_steps(
        which in 0_usize..4, changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 0..6), cut: usize
    ) {
        let mut bytes = hex([SOLICITATION, ADVERTISEMENT, TEREDO, TOO_BIG][which]);
        for (at, value) in changes {
            let len = bytes.len();
            bytes[at % len] = value;
        }
        let len = bytes.len();
        bytes.truncate(len - if cut % 3 == 0 { cut % len } else { 0 });
        check_walk(&bytes);
    }

    #[test]
    fn noise_is_walked_over_in_bounded_steps(bytes: Vec<u8>, version in 0_usize..3) {
        let mut bytes = bytes;
        if let Some(first) = bytes.first_mut() {
            *first = [0x45, 0x60, *first][version];
        }
        check_walk(&bytes);
    }
}

fn check_walk(bytes: &[u8]) {
    for start in [Layers::new(bytes), Layers::of_beginning(bytes)] {
        let mut layers = start;
        let mut count = 0;
        for layer in layers.by_ref() {
            assert!(layer.offset <= bytes.len());
            assert!(format!("{layer}").len() < 4096 && format!("{layer:#}").len() < 65_536);
            count += 1;
        }
        assert!(count <= usize::from(Layers::MAX) && layers.next().is_none());
    }
    assert!(!Packet(bytes).to_string().contains('\n'));
    // No layer says both of two things that exclude each other.
    for layer in Layers::new(bytes) {
        for (one, other) in CONTRARY {
            assert!(!(layer.warnings.contains(one) && layer.warnings.contains(other)), "{layer:#}");
        }
    }
}

/// Accepted by some and by none; too short and too long; not there and wrong.
const CONTRARY: [(Warning, Warning); 9] = [
    (Warning::IsatapSource, Warning::OuterSource),
    (Warning::IsatapSource, Warning::OuterDestination),
    (Warning::IsatapSource, Warning::InnerSource),
    (Warning::IsatapSource, Warning::SixToFourSource),
    (Warning::IsatapSource, Warning::SixToFourDestination),
    (Warning::IsatapSource, Warning::SixToFourPrivate),
    (Warning::Padding, Warning::InnerTruncated),
    (Warning::InnerVersion, Warning::InnerTruncated),
    (Warning::UdpLength, Warning::UdpChecksum),
];
