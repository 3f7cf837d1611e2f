#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::packet::HEADROOM;
use crate::wire::hex;
use proptest::prelude::*;
use std::vec;
use std::vec::Vec;

/// The minimal 6in4 packet.
const MINIMAL: &str = "45 00 00 3c 00 00 00 00 40 29 8e 63 c0 00 02 01 c6 33 64 01
    60 00 00 00 00 00 3b 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
    20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02";

const OUTER: Outer = Outer {
    source: Ipv4Addr::new(192, 0, 2, 1),
    destination: Ipv4Addr::new(198, 51, 100, 1),
    ports: None,
    tos: 0,
    ttl: 64,
    dont_fragment: false,
    identification: 0,
};

fn buffer(packet: &[u8]) -> Vec<u8> {
    [&[0xee; HEADROOM], packet].concat()
}

fn whole(buffer: &mut [u8]) -> PacketMut<'_> {
    let end = buffer.len();
    PacketMut::new(buffer, HEADROOM..end).unwrap()
}

fn encapsulated(inner: &[u8], outer: &Outer) -> Vec<u8> {
    let mut buffer = buffer(inner);
    let mut packet = whole(&mut buffer);
    encapsulate(&mut packet, outer).unwrap();
    packet.as_slice().to_vec()
}

#[test]
fn tun_1_minimal_packet() {
    let expected = hex(MINIMAL);
    let bytes = encapsulated(&expected[20..], &OUTER);
    assert_eq!(bytes, expected);
    assert_eq!(OUTER.payload(&bytes), &expected[20..]);
}

#[test]
fn tun_50_traffic_class_copied_and_dont_fragment() {
    let mut inner = hex(MINIMAL)[20..].to_vec();
    (inner[0], inner[1]) = (0x6b, 0x90);
    let bytes = encapsulated(&inner, &Outer { tos: 0xb9, dont_fragment: true, ..OUTER });
    assert_eq!(bytes[..20], hex("45 b9 00 3c 00 00 40 00 40 29 4d aa c0 00 02 01 c6 33 64 01"));
}

#[test]
fn tun_1_total_length_at_the_limits() {
    for len in [0, 40, 1480, 65515] {
        let bytes = encapsulated(&vec![0; len], &OUTER);
        assert_eq!(bytes[2..4], (len as u16 + 20).to_be_bytes());
    }
    let mut buffer = buffer(&[0; 65516]);
    let mut packet = whole(&mut buffer);
    assert_eq!(encapsulate(&mut packet, &OUTER), Err(EmitError::new(65536, 65535)));
    let udp = Outer { ports: Some((1, 2)), ..OUTER };
    packet.truncate(65508);
    assert_eq!(encapsulate(&mut packet, &udp), Err(EmitError::new(65536, 65535)));
    packet.truncate(65507);
    assert_eq!(encapsulate(&mut packet, &udp), Ok(()));
}

#[test]
fn without_headroom_nothing_changes() {
    let mut bytes = [0x60; 59];
    let mut packet = PacketMut::new(&mut bytes, 19..59).unwrap();
    assert_eq!(encapsulate(&mut packet, &OUTER), Err(EmitError::new(20, 19)));
    assert_eq!(encapsulate(&mut packet, &Outer { ports: Some((1, 2)), ..OUTER }), Err(EmitError::new(28, 19)));
    assert_eq!((packet.range(), packet.as_slice()), (19..59, &[0x60; 40][..]));
}

#[test]
fn over_udp_both_headers_are_right() {
    let inner = &hex(MINIMAL)[20..];
    let outer = Outer { ports: Some((3544, 40000)), ..OUTER };
    let bytes = encapsulated(inner, &outer);
    let header = ipv4::Header::parse(&bytes).unwrap();
    assert!(header.is_checksum_valid());
    assert_eq!((header.protocol(), header.total_length()), (17, 68));
    let datagram = udp::Header::parse(header.payload()).unwrap();
    assert!(datagram.checksum() != 0 && datagram.is_valid_ipv4(OUTER.source, OUTER.destination));
    assert_eq!((datagram.source(), datagram.destination(), datagram.payload()), (3544, 40000, inner));
    assert_eq!(outer.payload(&bytes), inner);
}

#[test]
fn tun_12_decapsulation_cuts_header_and_padding() {
    let mut bytes = hex(MINIMAL);
    bytes.extend_from_slice(&[0; 6]);
    bytes[3] = 66;
    bytes[11] = 0x5d;
    let flow = Flow::parse(&bytes).unwrap();
    let mut buffer = buffer(&bytes);
    let mut packet = whole(&mut buffer);
    let exit = decapsulate(&mut packet, &flow).unwrap();
    assert_eq!(exit, ecn::Exit { ecn: Ecn::NotEct, log: false });
    assert_eq!(packet.as_slice(), &hex(MINIMAL)[20..]);
}

#[test]
fn tun_52_the_inner_field_is_written_when_it_changes() {
    for inner_class in [0, 1, 2, 3, 0xb9, 0xba, 0xfc, 0xff_u8] {
        for tos in 0..=255_u8 {
            let mut inner = hex(MINIMAL)[20..].to_vec();
            // A flow label with all bits set must not change.
            inner[..4].copy_from_slice(&(0x600f_ffff | u32::from(inner_class) << 20).to_be_bytes());
            let bytes = encapsulated(&inner, &Outer { tos, ..OUTER });
            let flow = Flow::parse(&bytes).unwrap();
            let mut buffer = buffer(&bytes);
            let mut packet = whole(&mut buffer);
            match (decapsulate(&mut packet, &flow), ecn::exit(Ecn::of(inner_class), Ecn::of(tos))) {
                (Ok(exit), Ok(expected)) => {
                    assert_eq!(exit, expected);
                    let class = inner_class & 0xfc | expected.ecn.bits();
                    inner[..4].copy_from_slice(&(0x600f_ffff | u32::from(class) << 20).to_be_bytes());
                    assert_eq!(packet.as_slice(), inner);
                }
                (Err(DropReason::EcnNotCapable), Err(DropReason::EcnNotCapable)) => {
                    assert_eq!(packet.as_slice(), bytes, "a drop leaves the bytes as they were");
                }
                (result, expected) => panic!("{result:?} instead of {expected:?}"),
            }
        }
    }
}

#[test]
fn the_flow_of_another_packet_does_not_fit() {
    let flow = Flow::parse(&hex(MINIMAL)).unwrap();
    let mut buffer = buffer(&hex(MINIMAL)[..59]);
    let mut packet = whole(&mut buffer);
    assert_eq!(decapsulate(&mut packet, &flow), Err(DropReason::Truncated));
    assert_eq!(packet.len(), 59);
}

proptest! {
    #[test]
    fn tun_6_what_goes_in_comes_out(
        (source, destination, tos, ttl, dont_fragment, identification) in any::<(u32, u32, u8, u8, bool, u16)>(),
        payload in prop::collection::vec(any::<u8>(), 0..100), class in 1_u8..=255,
    ) {
        let outer = Outer {
            source: Ipv4Addr::from(source & 0x1fff_ffff | 0x8000_0000),
            destination: Ipv4Addr::from(destination & 0x1fff_ffff | 0x8000_0000),
            ports: None,
            tos: tos & 0xfc,
            ttl,
            dont_fragment,
            identification,
        };
        let fields = ipv6::Fields {
            traffic_class: class,
            flow_label: 0x12345,
            payload_len: payload.len() as u16,
            next_header: 17,
            hop_limit: 7,
            source: "2001:db8::1".parse().unwrap(),
            destination: "2001:db8::2".parse().unwrap(),
        };
        let inner = [&fields.to_bytes()[..], &payload].concat();
        let bytes = encapsulated(&inner, &outer);
        let header = ipv4::Header::parse(&bytes).unwrap();
        prop_assert!(header.is_checksum_valid());
        let fields = header.fields();
        prop_assert_eq!((fields.tos, fields.ttl, fields.identification), (outer.tos, ttl, identification));
        prop_assert_eq!((fields.dont_fragment, header.is_fragment(), fields.protocol), (dont_fragment, false, 41));
        prop_assert_eq!((fields.source, fields.destination), (outer.source, outer.destination));
        prop_assert_eq!(&fields.to_bytes()[..], &bytes[..20]);
        let flow = Flow::parse(&bytes).unwrap();
        prop_assert_eq!(usize::from(flow.total_length), inner.len() + 20);
        let mut buffer = buffer(&bytes);
        let mut packet = whole(&mut buffer);
        decapsulate(&mut packet, &flow).unwrap();
        prop_assert_eq!(packet.as_slice(), inner.as_slice());
    }
}
