#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::packet::HEADROOM;
use crate::wire::{hex, ipv4};
use core::net::Ipv4Addr;
use proptest::prelude::*;
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
    outer.push(&mut packet).unwrap();
    packet.as_slice().to_vec()
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

/// What is punted or held is decapsulated again, behind the same header.
#[test]
fn tun_52_decapsulated_twice_is_the_same_as_once() {
    for inner_class in 0..=255_u8 {
        for tos in 0..=255_u8 {
            let mut inner = hex(MINIMAL)[20..].to_vec();
            inner[..4].copy_from_slice(&(0x600f_ffff | u32::from(inner_class) << 20).to_be_bytes());
            // What a socket gives: no outer header, and padding.
            let outer = Outer { tos, ..OUTER };
            let mut buffer = buffer(&[&inner[..], &[9; 6]].concat());
            let mut packet = whole(&mut buffer);
            let flow = Flow::of(&outer, packet.as_slice()).unwrap();
            let once = decapsulate(&mut packet, &flow);
            let bytes = packet.as_slice().to_vec();
            assert_eq!(once.map(|exit| exit.ecn), ecn::exit(Ecn::of(inner_class), Ecn::of(tos)).map(|exit| exit.ecn));

            let again = Flow::of(&outer, packet.as_slice()).unwrap();
            let twice = decapsulate(&mut packet, &again);
            assert_eq!(twice.map(|exit| exit.ecn), once.map(|exit| exit.ecn), "{inner_class} {tos}");
            assert_eq!(packet.as_slice(), bytes, "{inner_class} {tos}");
            // By the flow of the first time, too.
            assert_eq!(decapsulate(&mut packet, &flow), once);
            assert_eq!(packet.as_slice(), bytes, "{inner_class} {tos}");
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
