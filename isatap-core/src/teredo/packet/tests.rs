use super::*;
use crate::drop_reason::DropReason;
use crate::wire::hex;
use proptest::prelude::*;
use std::borrow::ToOwned;
use std::vec;
use std::vec::Vec;

const A: &str = "2001:0:c633:6401:0:efff:3fff:fdfe";
const B: &str = "2001:0:c633:6401:0:dfff:34ff:8ef5";
const BUBBLE_A_B: &str = "6000000000003bff 20010000c63364010000efff3ffffdfe 20010000c63364010000dfff34ff8ef5";
const RS: &str = "60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff ff
    ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02 85 00 7d 37 00 00 00 00";
const NONCE: [u8; 8] = [0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef];

fn written(emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = [0xaa; 700];
    let mut writer = Writer::new(&mut out);
    emit(&mut writer);
    let len = writer.finish().unwrap();
    out[..len].to_vec()
}

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn trailers(text: &str) -> Vec<Trailer<'static>> {
    Trailers::new(hex(text).leak()).collect()
}

#[test]
fn ter_10_ter_12_the_solicitation_of_the_vectors() {
    let payload = hex(&("00 01 00 00 01 23 45 67 89 ab cd ef 00".to_owned() + RS));
    assert_eq!(payload.len(), 61);
    let datagram = Datagram::parse(&payload).unwrap();
    let expected = Authentication { client_id: &[], value: &[], nonce: NONCE, confirmation: 0 };
    assert_eq!(datagram.authentication(), Some(expected));
    assert_eq!(datagram.origin(), None);
    assert_eq!(datagram.ipv6(), hex(RS));
    assert_eq!(datagram.inner_range(), 13..61);
    assert_eq!(datagram.trailer_bytes(), []);
    assert_eq!(written(|writer| expected.emit(writer)), payload[..13]);

    // With identifier and value, 86 bytes in all.
    let value = hex("fd33b4ee5d6a5d4588a2e76d70f14bf9fb4c8dad");
    let secure = Authentication { client_id: b"user1", value: &value, nonce: NONCE, confirmation: 0 };
    let payload = [written(|writer| secure.emit(writer)), hex(RS)].concat();
    assert_eq!(payload.len(), 86);
    assert_eq!(payload[..9], hex("00 01 05 14 7573657231"));
    assert_eq!(Datagram::parse(&payload).unwrap().authentication(), Some(secure));
}

#[test]
fn ter_11_origins_of_the_vectors() {
    for (address, port, bytes) in [("1.2.3.4", 337, "0000feaefefdfcfb"), ("157.60.0.1", 4096, "0000efff62c3fffe")] {
        let origin = SocketAddrV4::new(ipv4(address), port);
        assert_eq!(origin_bytes(origin).as_slice(), hex(bytes));
        let payload = hex(&(bytes.to_owned() + BUBBLE_A_B));
        assert_eq!(Datagram::parse(&payload).unwrap().origin(), Some(origin));
        let mut buffer = [0; 200];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(&hex(BUBBLE_A_B)).unwrap();
        push_origin(&mut packet, origin).unwrap();
        assert_eq!(packet.as_slice(), payload);
    }
}

#[test]
fn ter_10_both_headers_come_in_one_order_only_and_once() {
    let authentication = written(|writer| {
        Authentication { client_id: &[], value: &[], nonce: NONCE, confirmation: 0 }.emit(writer);
    });
    let origin = hex("0000feaefefdfcfb");
    let bubble = hex(BUBBLE_A_B);
    let order = |parts: &[&[u8]]| parts.concat();
    let both = order(&[&authentication, &origin, &bubble]);
    let datagram = Datagram::parse(&both).unwrap();
    assert!(datagram.authentication().is_some() && datagram.origin().is_some());
    assert_eq!(datagram.ipv6(), bubble);
    for wrong in [
        order(&[&origin, &authentication, &bubble]),
        order(&[&authentication, &authentication, &bubble]),
        order(&[&origin, &origin, &bubble]),
        order(&[&[0, 2], &bubble]),
    ] {
        let error = Datagram::parse(&wrong).unwrap_err();
        assert_eq!((error.layer, error.kind), (Layer::Teredo, ParseErrorKind::Type), "{error}");
    }
    for other in [0x10, 0x45, 0x70, 0xff] {
        let mut wrong = bubble.clone();
        wrong[0] = other;
        assert_eq!(Datagram::parse(&wrong).unwrap_err().kind, ParseErrorKind::Version);
    }
    for len in 0..both.len() {
        assert!(Datagram::parse(&both[..len]).is_err(), "{len} of {}", both.len());
    }
}

#[test]
fn ter_13_surplus_bytes_are_trailers_and_a_packet_that_is_cut_is_none() {
    let mut packet = hex(RS);
    packet.extend([1, 4, 9, 9, 9, 9]);
    let datagram = Datagram::parse(&packet).unwrap();
    assert_eq!(datagram.ipv6().len(), 48);
    assert_eq!(datagram.trailer_bytes(), [1, 4, 9, 9, 9, 9]);
    packet[5] = 15;
    assert_eq!(Datagram::parse(&packet).unwrap_err().kind, ParseErrorKind::Truncated);
}

#[test]
fn ter_15_bubbles_of_the_vectors() {
    let (a, b): (Ipv6Addr, Ipv6Addr) = (A.parse().unwrap(), B.parse().unwrap());
    assert_eq!(written(|writer| Bubble::new(a, b).emit(writer)), hex(BUBBLE_A_B));
    let discovery = hex("6000000000003b01 20010000c63364010000efff3ffffdfe ff020000000000000000000000000001");
    assert_eq!(written(|writer| Bubble::discovery(a).emit(writer)), discovery);
    let with_nonce = written(|writer| {
        Bubble::new(a, b).emit(writer);
        Trailer::Nonce([0x12, 0x34, 0x56, 0x78]).emit(writer);
    });
    assert_eq!(with_nonce, hex(&(BUBBLE_A_B.to_owned() + "010412345678")));

    // Whatever the hop limit: miredo sends 0, Windows 21.
    for hop_limit in [0, 1, 21, 255] {
        let mut bubble = hex(BUBBLE_A_B);
        bubble[7] = hop_limit;
        assert!(is_bubble(&ipv6::Header::parse(&bubble).unwrap()));
    }
    let mut not = hex(BUBBLE_A_B);
    not[6] = protocol::ICMPV6;
    assert!(!is_bubble(&ipv6::Header::parse(&not).unwrap()));
    assert!(!is_bubble(&ipv6::Header::parse(&hex(RS)).unwrap()));
}

#[test]
fn ter_20_both_numbers_of_the_random_port_are_read_and_five_is_sent() {
    assert_eq!(trailers("05 02 c350"), [Trailer::RandomPort(50000)]);
    assert_eq!(trailers("02 02 c350"), [Trailer::RandomPort(50000)]);
    assert_eq!(written(|writer| Trailer::RandomPort(50000).emit(writer)), hex("05 02 c350"));
    assert!(matches!(trailers("05 03 c35000")[..], [Trailer::Skipped { trailer_type: 5, .. }]));
}

#[test]
fn trailers_of_the_vectors() {
    assert_eq!(trailers("01 04 12345678"), [Trailer::Nonce([0x12, 0x34, 0x56, 0x78])]);
    assert_eq!(trailers("04 04 00000000"), [Trailer::NeighborDiscovery(SignOfLife::Solicitation)]);
    assert_eq!(trailers("04 04 01000000"), [Trailer::NeighborDiscovery(SignOfLife::Advertisement)]);
    assert!(matches!(trailers("04 04 02000000")[..], [Trailer::Skipped { .. }]));
    for text in ["01 04 12345678", "04 04 00000000", "04 04 01000000", "03 08 0000c0a801029c40", "09 03 010203"] {
        let bytes = hex(text);
        let read: Vec<_> = Trailers::new(&bytes).collect();
        assert_eq!(written(|writer| read.iter().for_each(|trailer| trailer.emit(writer))), bytes);
    }
}

#[test]
fn walks_of_the_vectors() {
    let collect = |text: &str| Trailers::new(hex(text).leak()).collect_known();
    assert_eq!(collect("40 00"), Err(DropReason::TeredoTrailer));
    assert_eq!(collect("7f 01 00"), Err(DropReason::TeredoTrailer));
    assert_eq!(collect("80 00 ff 01 aa 01 04 01020304").unwrap().nonce, Some([1, 2, 3, 4]));
    assert_eq!(collect("01 04 0102"), Ok(KnownTrailers::default()));
    assert_eq!(collect("01"), Ok(KnownTrailers::default()));
    // What stands behind something malformed is not reached.
    assert_eq!(collect("01 04 01020304 05 09 00 40 00").unwrap().nonce, Some([1, 2, 3, 4]));
    assert_eq!(collect("01 04 01020304 01 04 05060708").unwrap().nonce, Some([1, 2, 3, 4]));
}

#[test]
fn ter_21_alternate_addresses_are_one_to_four_and_unicast() {
    let read = |text: &str| {
        let [Trailer::AlternateAddress(alternates)] = trailers(text)[..] else { panic!("{text}") };
        alternates.addresses().map(Iterator::collect::<Vec<_>>)
    };
    let first = SocketAddrV4::new(ipv4("192.168.1.2"), 40000);
    let second = SocketAddrV4::new(ipv4("10.0.0.5"), 3545);
    assert_eq!(read("03 08 0000 c0a80102 9c40"), Ok(vec![first]));
    assert_eq!(read("03 0e 0000 c0a801029c40 0a0000050dd9"), Ok(vec![first, second]));
    assert_eq!(written(|writer| emit_alternates(writer, &[first])), hex("03 08 0000 c0a80102 9c40"));
    assert_eq!(
        written(|writer| emit_alternates(writer, &[first, second])),
        hex("03 0e 0000 c0a801029c40 0a0000050dd9")
    );
    assert_eq!(written(|writer| emit_alternates(writer, &[])), []);

    let four = "c0a801029c40".repeat(4);
    assert_eq!(read(&("03 1a 0000".to_owned() + &four)).unwrap().len(), 4);
    for refused in [
        "03 00",
        "03 02 0000",
        "03 07 0000 c0a80102 9c",
        "03 09 0000 c0a80102 9c40 00",
        "03 08 0000 c0a80102 0000",
        "03 08 0000 e0000001 9c40",
        "03 08 0000 7f000001 9c40",
        "03 08 0000 ffffffff 9c40",
        "03 0e 0000 c0a801029c40 000000000dd9",
    ] {
        assert_eq!(read(refused), Err(DropReason::TeredoAlternates), "{refused}");
    }
    let five = "c0a801029c40".repeat(5);
    assert_eq!(read(&("03 20 0000".to_owned() + &five)), Err(DropReason::TeredoAlternates));
}

/// Any trailer whose bytes are canonical.
fn any_trailer() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<[u8; 4]>().prop_map(|nonce| [&[1, 4], &nonce[..]].concat()),
        any::<bool>().prop_map(|advertisement| vec![4, 4, advertisement.into(), 0, 0, 0]),
        any::<u16>().prop_map(|port| [&[5, 2], &port.to_be_bytes()[..]].concat()),
        (0x80_u8.., prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(kind, value)| [
            &[kind, u8::try_from(value.len()).unwrap()],
            &value[..]
        ]
        .concat()),
    ]
}

proptest! {
    /// The oracle of the parser: any legal order comes apart into
    /// what it was put together from.
    #[test]
    fn parsing_undoes_emitting(
        authentication in prop::option::of((
            prop::collection::vec(any::<u8>(), 0..256), prop::collection::vec(any::<u8>(), 0..256),
            any::<[u8; 8]>(), any::<u8>(),
        )),
        origin in prop::option::of(any::<(u32, u16)>()),
        payload in prop::collection::vec(any::<u8>(), 0..60),
        trailing in prop::collection::vec(any_trailer(), 0..5),
        (source, destination) in any::<(u128, u128)>(),
    ) {
        let authentication = authentication.as_ref().map(|(id, value, nonce, confirmation)| Authentication {
            client_id: id, value, nonce: *nonce, confirmation: *confirmation,
        });
        let origin = origin.map(|(address, port)| SocketAddrV4::new(address.into(), port));
        let header = ipv6::Fields {
            traffic_class: 0, flow_label: 0, payload_len: u16::try_from(payload.len()).unwrap(), next_header: 59,
            hop_limit: 64, source: source.into(), destination: destination.into(),
        };
        let inner = [&header.to_bytes()[..], &payload].concat();
        let mut bytes = Vec::new();
        if let Some(authentication) = authentication {
            bytes.extend(written(|writer| authentication.emit(writer)));
        }
        if let Some(origin) = origin {
            bytes.extend(origin_bytes(origin));
        }
        bytes.extend(&inner);
        bytes.extend(trailing.concat());
        let datagram = Datagram::parse(&bytes).unwrap();
        prop_assert_eq!(datagram.authentication(), authentication);
        prop_assert_eq!(datagram.origin(), origin);
        prop_assert_eq!(datagram.ipv6(), inner.as_slice());
        prop_assert_eq!(&bytes[datagram.inner_range()], inner.as_slice());
        let again: Vec<u8> = datagram.trailers().flat_map(|trailer| written(|writer| trailer.emit(writer))).collect();
        prop_assert_eq!(again, trailing.concat());
    }

    #[test]
    fn any_bytes_are_parsed_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(datagram) = Datagram::parse(&bytes) {
            prop_assert!(datagram.inner_range().end <= bytes.len());
            prop_assert!(datagram.ipv6().len() >= 40);
            prop_assert!(datagram.trailers().count() <= bytes.len() / 2);
        }
        let _ = Trailers::new(&bytes).collect_known();
        for trailer in Trailers::new(&bytes) {
            if let Trailer::AlternateAddress(alternates) = trailer
                && let Ok(addresses) = alternates.addresses()
            {
                prop_assert!((1..=4).contains(&addresses.count()));
            }
        }
    }
}
