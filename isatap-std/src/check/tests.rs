//! The receive tables of the vectors, on a node that knows what they assume.

use super::*;
use crate::spec::{AddressWithLength, IsatapHost, IsatapRouter, TeredoClient, Tunnel};
use isatap_core::wire::checksum;

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// An outer packet, written by hand: next header 59, or an ICMPv6 message.
fn packet(outer: (&str, &str), inner: (&str, &str), icmpv6: Option<&[u8]>) -> Vec<u8> {
    let (source, destination) = (v6(inner.0).octets(), v6(inner.1).octets());
    let mut body = icmpv6.unwrap_or(&[]).to_vec();
    if !body.is_empty() {
        let mut sum: u32 = [&source[..], &destination, &[0, 0, 0, body.len() as u8, 0, 0, 0, 58], &body]
            .concat()
            .chunks(2)
            .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
            .sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        body[2..4].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    }
    let mut packet = vec![0x45, 0, 0, 60 + body.len() as u8, 0, 0, 0, 0, 64, 41, 0, 0];
    packet.extend(v4(outer.0).octets());
    packet.extend(v4(outer.1).octets());
    let mut sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
    let next_header = if icmpv6.is_some() { 58 } else { 59 };
    packet.extend([0x60, 0, 0, 0, 0, body.len() as u8, next_header, 255]);
    packet.extend(source);
    packet.extend(destination);
    packet.extend(body);
    packet
}

fn inner(judged: &Judgement) -> (Option<Ipv6Addr>, Option<Ipv6Addr>) {
    (judged.inner_source, judged.inner_destination)
}

fn isatap_host(local: &str) -> IsatapHost {
    IsatapHost { local: vec![v4(local)], router: vec!["10.0.0.1".parse().unwrap()], ..IsatapHost::new() }
}

fn host() -> Checker {
    let mut subject = Subject::from(LinkSpec::from(isatap_host("10.0.0.2")));
    subject.prefixes = vec!["2001:db8:0:7::/64".parse().unwrap()];
    Checker::new(&[subject]).unwrap()
}

fn tunnel(remote: &str) -> Subject {
    LinkSpec::from(Tunnel { local: Some(v4("10.0.0.2")), ..Tunnel::new(v4(remote).into()) }).into()
}

/// A client in a lab, whose NAT shows it at 192.0.2.1:4000.
fn client() -> Checker {
    let client = TeredoClient { accept_bogons: true, ..TeredoClient::new("198.51.100.1".parse().unwrap()) };
    let mut subject = Subject::from(LinkSpec::from(client));
    subject.mapped = Some("192.0.2.1:4000".parse().unwrap());
    Checker::new(&[subject]).unwrap()
}

const RA: [u8; 16] = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];

#[test]
fn isa_42_isa_43_the_receive_table_of_the_vectors() {
    let checker = host();
    let own = "2001:db8:0:7:0:5efe:a00:2";
    let (mismatch, not_a_router) = (Some(DropReason::IsatapSourceMismatch), Some(DropReason::RaNotFromRouter));
    for (inner, outer, ra, reason) in [
        ("2001:db8:0:7:0:5efe:a00:3", "10.0.0.3", false, None),
        ("2001:db8:0:7:0:5efe:a00:3", "10.0.0.4", false, mismatch),
        ("2001:db8:9:9:0:5efe:a00:3", "10.0.0.3", false, mismatch),
        ("2001:db8:1::1", "10.0.0.1", false, None),
        ("2001:db8:1::1", "10.0.0.9", false, mismatch),
        ("fe80::200:5efe:a00:3", "10.0.0.3", false, None),
        ("fe80::5efe:a00:3", "10.0.0.3", true, not_a_router),
        ("fe80::5efe:a00:1", "10.0.0.1", true, None),
        ("fe80::200:5efe:a00:1", "10.0.0.1", true, None),
        ("fe80::5efe:a00:1", "10.0.0.9", true, mismatch),
        ("fe80::1", "10.0.0.1", true, not_a_router),
    ] {
        let destination = if ra { "fe80::5efe:a00:2" } else { own };
        let packet = packet((outer, "10.0.0.2"), (inner, destination), ra.then_some(&RA));
        assert_eq!(checker.judge(&packet).reason, reason, "{inner} from {outer}, RA: {ra}");
    }
}

#[test]
fn one_packet_changes_nothing_for_the_next() {
    let checker = host();
    // An advertisement that would make another prefix on-link.
    let mut ra = RA.to_vec();
    ra.extend([3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0]);
    ra.extend(v6("2001:db8:9:9::").octets());
    let ra = packet(("10.0.0.1", "10.0.0.2"), ("fe80::5efe:a00:1", "fe80::5efe:a00:2"), Some(&ra));
    let other = packet(("10.0.0.3", "10.0.0.2"), ("2001:db8:9:9:0:5efe:a00:3", "2001:db8:0:7:0:5efe:a00:2"), None);
    let before = checker.judge(&other);
    assert!(checker.judge(&ra).is_accepted());
    assert_eq!(checker.judge(&other), before);
    assert!(!before.is_accepted());
}

#[test]
fn tun_23_every_link_that_was_asked_is_shown() {
    let isatap = LinkSpec::from(isatap_host("10.0.0.2"));
    let checker = Checker::new(&[isatap.into(), tunnel("10.9.9.9")]).unwrap();

    let judged = checker.judge(&packet(("10.0.0.5", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), None));
    assert_eq!(
        judged.trials,
        [
            (Mechanism::Link(LinkKind::Configured), Trial::NotAddressed),
            (Mechanism::Link(LinkKind::Isatap), Trial::Refused(DropReason::IsatapSourceMismatch))
        ]
    );
    assert_eq!((judged.admitted, judged.reason), (None, Some(DropReason::IsatapSourceMismatch)));
    assert_eq!(judged.outer, Some((v4("10.0.0.5"), v4("10.0.0.2"))));
    assert_eq!(inner(&judged), (Some(v6("2001:db8::1")), Some(v6("2001:db8::2"))));

    let judged = checker.judge(&packet(("10.9.9.9", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), None));
    assert_eq!(judged.trials, [(Mechanism::Link(LinkKind::Configured), Trial::Admitted(Admitted::Remote))]);
    assert!(judged.is_accepted());
}

#[test]
fn whatever_is_no_packet_gets_a_reason_too() {
    let checker = host();
    for bytes in [&[][..], &[0x45], &[0x60; 80], &[0; 2000]] {
        let judged = checker.judge(bytes);
        assert!(judged.reason.is_some() && judged.trials.is_empty(), "{bytes:?}");
    }
    let mut fragment = packet(("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), None);
    fragment[6] = 0x20;
    fragment[10] ^= 0x20;
    let judged = checker.judge(&fragment);
    assert_eq!(judged.reason, Some(DropReason::OuterFragment));
    assert_eq!(inner(&judged), (Some(v6("2001:db8::1")), Some(v6("2001:db8::2"))), "shown all the same");
}

#[test]
fn a_node_that_cannot_be_is_refused_with_the_cause() {
    let unusable = LinkSpec::from(isatap_host("127.0.0.1"));
    let error = Checker::new(&[unusable.into()]).err().unwrap().to_string();
    assert!(error.contains("127.0.0.1"), "{error}");
    let error = Checker::new(&vec![tunnel("10.0.0.3"); MAX_LINKS + 1]).err().unwrap().to_string();
    assert!(error.contains("links"), "{error}");
}

#[test]
fn an_address_without_its_length_is_asked_for_it() {
    let error = "2001:470:1f0a::2".parse::<AddressWithLength>().unwrap_err();
    assert!(error.to_string().contains("write 2001:470:1f0a::2/64, or 2001:470:1f0a::2/128"), "{error}");
    let given: AddressWithLength = "2001:470:1f0a::2/64".parse().unwrap();
    assert_eq!((given.0.address, given.0.prefix_length), (v6("2001:470:1f0a::2"), 64));
}

/// The node of the cases of the field.
fn router() -> Checker {
    let router = IsatapRouter::new(vec![v4("10.0.0.1")], vec!["2001:db8:0:7::/64".parse().unwrap()]);
    Checker::new(&[LinkSpec::from(router).into()]).unwrap()
}

/// The judgement of a packet as a capture shows it.
fn captured(checker: &Checker, packet: &[u8]) -> Judgement {
    checker.judge_captured(packet, packet.len())
}

#[test]
fn what_the_node_sends_is_neither_let_in_nor_dropped() {
    let checker = host();
    let addresses = ("2001:db8:0:7:0:5efe:a00:2", "2001:db8:0:7:0:5efe:a00:3");
    let judged = captured(&checker, &packet(("10.0.0.2", "10.0.0.3"), addresses, None));
    assert_eq!((judged.decision, judged.reason, judged.trials.len()), (Decision::Sent, None, 0));
    assert_eq!(judged.outer, Some((v4("10.0.0.2"), v4("10.0.0.3"))));
    assert_eq!(inner(&judged), (Some(v6(addresses.0)), Some(v6(addresses.1))));
    assert_eq!(checker.judge(&packet(("10.0.0.2", "10.0.0.3"), addresses, None)).decision, Decision::Drop, "coming in");
    // Whatever it is, a fragment or another protocol.
    let mut other = packet(("10.0.0.2", "10.0.0.3"), addresses, None);
    (other[9], other[6]) = (6, 0x20);
    assert_eq!(captured(&checker, &other).decision, Decision::Sent);
    // What comes back to its sender, or is forged, is judged.
    let own = packet(("10.0.0.2", "10.0.0.2"), addresses, None);
    assert_eq!(captured(&checker, &own).decision, Decision::Drop);
    // A Teredo client's address may be its NAT's: the port tells it from others.
    let checker = client();
    let datagram = |port: u16| {
        let mut packet = packet(("192.0.2.1", "198.51.100.1"), addresses, None);
        packet[9] = 17;
        packet[20..28].copy_from_slice(&[port.to_be_bytes(), [13, 216], [0, 40], [0, 0]].concat());
        packet
    };
    assert_eq!(captured(&checker, &datagram(4000)).decision, Decision::Sent);
    let elsewhere = captured(&checker, &datagram(4001));
    assert_eq!((elsewhere.reason, elsewhere.is_elsewhere), (Some(DropReason::NotAddressed), true));
}

#[test]
fn native_ipv6_is_not_malformed() {
    let judged = host().judge(&[&[0x60, 0, 0, 0, 0, 0, 59, 64][..], &[0x20; 32]].concat());
    assert_eq!((judged.decision, judged.reason), (Decision::Drop, Some(DropReason::NotProtocol41)));
}

/// TUN-10: as with protocol 41, a fragment is dropped before any link is asked. The first one
/// says whose it is by its port; the others of the same address may be any program's.
#[test]
fn a_fragment_of_udp_is_the_clients_where_its_port_says_so() {
    let checker = client();
    let fragment = |port: u16, to: &str, field: u16| {
        let mut packet = packet(("198.51.100.1", to), ("2001:db8::1", "2001:db8::2"), None);
        packet[9] = 17;
        packet[20..28].copy_from_slice(&[[13, 216], port.to_be_bytes(), [0, 40], [0, 0]].concat());
        packet[6..8].copy_from_slice(&field.to_be_bytes());
        packet[10..12].fill(0);
        let sum = checksum::checksum(&packet[..20]);
        packet[10..12].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    let (first, later) = (0x2000, 0x0001);
    for (packet, reason, is_elsewhere) in [
        (fragment(4000, "192.0.2.1", first), DropReason::OuterFragment, false),
        (fragment(4001, "192.0.2.1", first), DropReason::NotAddressed, true),
        (fragment(4000, "192.0.2.1", later), DropReason::OuterFragment, true),
        (fragment(4000, "192.0.2.2", later), DropReason::NotAddressed, true),
    ] {
        // What decides stands in front of what a capture may lack.
        for known in [packet.len(), 30, 24] {
            let judged = checker.judge_captured(&packet[..known], packet.len());
            assert_eq!((judged.reason, judged.is_elsewhere), (Some(reason), is_elsewhere), "{known} of {packet:x?}");
            let trials: &[_] = match reason {
                DropReason::NotAddressed => &[(Mechanism::Teredo, Trial::NotAddressed)],
                _ => &[],
            };
            assert_eq!(judged.trials, trials);
        }
    }
    let of_client = fragment(4000, "192.0.2.1", first);
    assert_eq!(checker.judge_captured(&of_client[..20], of_client.len()).decision, Decision::Cut, "to which port?");
    let of_tunnel = host().judge(&{
        let mut fragment = packet(("10.0.0.1", "10.0.0.2"), ("2001:db8::1", "2001:db8::2"), None);
        fragment[6] = 0x20;
        fragment[10] ^= 0x20;
        fragment
    });
    let same = checker.judge(&of_client);
    assert_eq!((of_tunnel.reason, of_tunnel.trials, of_tunnel.is_elsewhere), (same.reason, same.trials, false));
}

/// Good and bad packets, with options of Neighbor Discovery and extension headers.
fn packets() -> Vec<(&'static str, Vec<u8>)> {
    let own = "2001:db8:0:7:0:5efe:a00:2";
    let (to_host, from_router) = ("fe80::5efe:a00:2", "fe80::5efe:a00:1");
    let ra = |options: &[u8]| [&RA[..], options].concat();
    let prefix =
        [&[3, 4, 64, 0xc0, 0, 1, 0x51, 0x80, 0, 0, 0x38, 0x40, 0, 0, 0, 0][..], &v6("2001:db8:9:9::").octets()];
    let options = [prefix.concat(), vec![5, 1, 0, 0, 0, 0, 5, 0]].concat();
    let solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0][..], &v6(to_host).octets()].concat();
    let redirect = [&[137, 0, 0, 0, 0, 0, 0, 0][..], &v6("fe80::5efe:a00:9").octets(), &v6("2001:db8::9").octets()];
    let mut with_headers = packet(("10.0.0.3", "10.0.0.2"), ("2001:db8:0:7:0:5efe:a00:3", own), Some(&[128; 40]));
    (with_headers[26], with_headers[60], with_headers[61]) = (0, 60, 0);
    (with_headers[68], with_headers[69]) = (58, 1);
    vec![
        (
            "echo",
            packet(("10.0.0.3", "10.0.0.2"), ("2001:db8:0:7:0:5efe:a00:3", own), Some(&[128, 0, 0, 0, 0, 1, 0, 1])),
        ),
        ("from a router", packet(("10.0.0.1", "10.0.0.2"), ("2001:db8:1::1", own), None)),
        ("headers", with_headers),
        ("RA", packet(("10.0.0.1", "10.0.0.2"), (from_router, to_host), Some(&ra(&options)))),
        ("RA to all nodes", packet(("10.0.0.1", "10.0.0.2"), (from_router, "ff02::1"), Some(&ra(&options)))),
        ("NS", packet(("10.0.0.1", "10.0.0.2"), (from_router, to_host), Some(&solicitation))),
        ("Redirect", packet(("10.0.0.1", "10.0.0.2"), (from_router, to_host), Some(&redirect.concat()))),
        ("forged source", packet(("10.0.0.4", "10.0.0.2"), ("2001:db8:0:7:0:5efe:a00:3", own), None)),
        ("RA of no router", packet(("10.0.0.3", "10.0.0.2"), ("fe80::5efe:a00:3", to_host), Some(&ra(&options)))),
        (
            "RA, option of length 0",
            packet(("10.0.0.1", "10.0.0.2"), (from_router, to_host), Some(&ra(&[5, 0, 0, 0, 0, 0, 0, 0]))),
        ),
        ("to another", packet(("10.0.0.3", "10.0.0.4"), ("2001:db8:0:7:0:5efe:a00:3", own), None)),
        ("loopback inside", packet(("10.0.0.3", "10.0.0.2"), ("::1", own), None)),
    ]
}

#[test]
fn a_packet_that_is_cut_is_judged_by_what_is_there() {
    let checker = host();
    for (name, packet) in packets() {
        let whole = checker.judge(&packet);
        let mut decided = None;
        for known in 0..packet.len() {
            let judged = checker.judge_captured(&packet[..known], packet.len());
            assert_eq!(judged.notes, [Note::Cut], "{name}, {known} bytes");
            // A refusal is owed to what is there, and stays when more is.
            match judged.decision {
                Decision::Drop => assert_eq!(judged.reason, whole.reason, "{name}, {known} bytes"),
                Decision::Accept => assert!(known >= 44, "{name}, {known} bytes: nobody knows the source"),
                _ => assert!(known < 44, "{name}, {known} bytes"),
            }
            if judged.decision == Decision::Drop {
                decided = decided.or(Some(known));
            } else {
                assert_eq!(decided, None, "{name}, {known} bytes");
            }
            assert_eq!(judged.inner_source.is_some(), known >= 44, "{name}, {known} bytes");
            assert_eq!(judged.inner_destination.is_some(), known >= 60, "{name}, {known} bytes");
        }
        assert_eq!(whole.notes, []);
        // As soon as the field is there that is at fault.
        let expected = match name {
            "to another" => Some(20),
            "forged source" | "loopback inside" => Some(44),
            "RA of no router" | "Redirect" => Some(61),
            "RA, option of length 0" => Some(78),
            _ => None,
        };
        assert_eq!(decided, expected, "{name}");
        assert_eq!(whole.is_accepted(), expected.is_none(), "{name}");
    }
}

#[test]
fn the_cases_of_the_field_are_judged_right() {
    let checker = router();
    let packet = |file: &[u8], header: usize| file[24 + 16 + header..].to_vec();
    let snap = packet(include_bytes!("../../tests/cases/snap68.pcap"), 14);
    let judged = checker.judge_captured(&snap, 80);
    assert_eq!((judged.decision, &judged.notes[..]), (Decision::Accept, &[Note::Cut][..]));
    assert_eq!(inner(&judged), (Some(v6("fe80::5efe:10.0.0.2")), None));
    let unset = packet(include_bytes!("../../tests/cases/cs0.pcap"), 0);
    let judged = captured(&checker, &unset);
    assert_eq!((judged.decision, &judged.notes[..]), (Decision::Accept, &[Note::ChecksumUnset][..]));
    assert_eq!(checker.judge(&unset).reason, Some(DropReason::OuterChecksum), "received like this it is wrong");
    // The rest of it is judged: a checksum that is wrong, and a source that is.
    let mut wrong = unset.clone();
    wrong[11] = 1;
    assert_eq!(captured(&checker, &wrong).reason, Some(DropReason::OuterChecksum));
    let mut forged = unset;
    forged[15] = 9;
    assert_eq!(captured(&checker, &forged).reason, Some(DropReason::IsatapSourceMismatch));
    let segments = packet(include_bytes!("../../tests/cases/tso0.pcap"), 0);
    let judged = captured(&checker, &segments);
    assert_eq!((judged.decision, &judged.notes[..]), (Decision::Accept, &[Note::LengthUnset][..]));
    // More than any length field can say.
    let mut big = segments.clone();
    big.resize(200_000, 0x78);
    assert_eq!(captured(&checker, &big).decision, Decision::Accept);
    let judged = checker.judge_captured(&segments[..100], 200_000);
    assert_eq!((judged.decision, &judged.notes[..]), (Decision::Accept, &[Note::LengthUnset, Note::Cut][..]));
}

#[test]
fn a_router_that_is_a_configured_tunnel_is_told_from_a_forger() {
    let refused = host().judge(&packet(("10.0.0.9", "10.0.0.2"), ("fe80::a00:9", "fe80::5efe:a00:2"), None));
    assert_eq!((refused.decision, refused.notes.as_slice()), (Decision::Drop, &[Note::ConfiguredEnd][..]));
    let forged = host().judge(&packet(("10.0.0.9", "10.0.0.2"), ("fe80::a00:8", "fe80::5efe:a00:2"), None));
    assert_eq!((forged.decision, forged.notes.as_slice()), (Decision::Drop, &[][..]));
}
