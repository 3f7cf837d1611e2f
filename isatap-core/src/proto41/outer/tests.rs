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

/// A Router Solicitation over UDP, with its authentication header.
const DATAGRAM: &str = "4500005900000000 40118ead c0a8010a c6336401 c8220dd8 0045d9c0
    00 01 00 00 01 23 45 67 89 ab cd ef 00 60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff
    ff ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02 85 00 7d 37 00 00 00 00";

const OUTER: Outer = Outer {
    source: Ipv4Addr::new(192, 0, 2, 1),
    destination: Ipv4Addr::new(198, 51, 100, 1),
    ports: None,
    tos: 0,
    ttl: 64,
    dont_fragment: false,
    identification: 0,
};

/// What `call` makes of a packet, and what it leaves in the buffer.
fn with<T>(bytes: &[u8], call: impl FnOnce(&mut PacketMut<'_>) -> T) -> (T, Vec<u8>) {
    let mut buffer = [&[0xee; HEADROOM], bytes].concat();
    let end = buffer.len();
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..end).unwrap();
    let answer = call(&mut packet);
    (answer, packet.as_slice().to_vec())
}

fn pushed(inner: &[u8], outer: &Outer) -> Vec<u8> {
    let (result, bytes) = with(inner, |packet| outer.push(packet));
    result.unwrap();
    bytes
}

fn pull(bytes: &[u8]) -> (Result<Outer, DropReason>, Vec<u8>) {
    with(bytes, Outer::pull)
}

/// What a packet is refused for; its bytes stay.
fn refused(bytes: &[u8]) -> DropReason {
    let (outer, left) = pull(bytes);
    assert_eq!(left, bytes);
    outer.unwrap_err()
}

/// The sum of 16-bit words, complemented.
fn checksum(parts: &[&[u8]]) -> u16 {
    let mut sum = 0_u32;
    for (at, byte) in parts.concat().into_iter().enumerate() {
        sum += u32::from(byte) << (8 * (1 - at % 2));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// Writes the checksum of an IPv4 header.
fn fix(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let sum = checksum(&[&packet[..len]]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// A packet with these options in its header.
fn with_options(packet: &[u8], options: &[u8]) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    bytes.splice(20..20, options.iter().copied());
    bytes[0] += options.len() as u8 / 4;
    bytes[3] += options.len() as u8;
    fix(&mut bytes);
    bytes
}

/// The headers field by field, as RFC 791 and RFC 768 draw them.
fn drawn(outer: &Outer, payload: &[u8]) -> Vec<u8> {
    let addresses = [outer.source.octets(), outer.destination.octets()].concat();
    let mut udp = vec![];
    if let Some((from, to)) = outer.ports {
        let length = (payload.len() as u16 + 8).to_be_bytes();
        udp = [&from.to_be_bytes()[..], &to.to_be_bytes(), &length].concat();
        let sum = checksum(&[&addresses, &[0, 17], &length, &udp, payload]);
        udp.extend(if sum == 0 { [0xff; 2] } else { sum.to_be_bytes() });
    }
    let total = (20 + udp.len() + payload.len()) as u16;
    let mut bytes = vec![0x45, outer.tos];
    bytes.extend(total.to_be_bytes());
    bytes.extend(outer.identification.to_be_bytes());
    bytes.extend([if outer.dont_fragment { 0x40 } else { 0 }, 0]);
    bytes.extend([outer.ttl, if outer.ports.is_some() { 17 } else { 41 }, 0, 0]);
    bytes.extend(addresses);
    fix(&mut bytes);
    [&bytes[..], &udp, payload].concat()
}

#[test]
fn a_header_is_one_of_no_service_that_may_be_fragmented() {
    assert_eq!(Outer::new(OUTER.source, OUTER.destination), OUTER);
    let udp = Outer::udp("192.0.2.1:3544".parse().unwrap(), "198.51.100.1:40000".parse().unwrap());
    assert_eq!(udp, Outer { ports: Some((3544, 40000)), ..OUTER });
    assert_eq!((OUTER.header_len(), udp.header_len()), (20, 28));
}

#[test]
fn tun_1_minimal_packet() {
    let expected = hex(MINIMAL);
    assert_eq!(pushed(&expected[20..], &OUTER), expected);
    assert_eq!(pull(&expected), (Ok(OUTER), expected[20..].to_vec()));
}

#[test]
fn tun_50_traffic_class_copied_and_dont_fragment() {
    let mut inner = hex(MINIMAL)[20..].to_vec();
    (inner[0], inner[1]) = (0x6b, 0x90);
    let outer = Outer { tos: 0xb9, dont_fragment: true, ..OUTER };
    let bytes = pushed(&inner, &outer);
    assert_eq!(bytes[..20], hex("45 b9 00 3c 00 00 40 00 40 29 4d aa c0 00 02 01 c6 33 64 01"));
    assert_eq!(pull(&bytes), (Ok(outer), inner));
}

#[test]
fn tun_1_total_length_at_the_limits() {
    for len in [0, 40, 1480, 65515] {
        let bytes = pushed(&vec![0; len], &OUTER);
        assert_eq!(bytes[2..4], (len as u16 + 20).to_be_bytes());
    }
    let push = |len: usize, outer: &Outer| with(&vec![0; len], |packet| outer.push(packet));
    let unchanged = |len: usize| (Err(EmitError::new(65536, 65535)), vec![0; len]);
    assert_eq!(push(65516, &OUTER), unchanged(65516));
    let udp = Outer { ports: Some((1, 2)), ..OUTER };
    assert_eq!(push(65508, &udp), unchanged(65508));
    let (result, bytes) = push(65507, &udp);
    assert_eq!((result, bytes.len(), &bytes[2..4]), (Ok(()), 65535, &[0xff; 2][..]));
}

#[test]
fn without_headroom_nothing_changes() {
    let mut bytes = [0x60; 59];
    let mut packet = PacketMut::new(&mut bytes, 19..59).unwrap();
    let udp = Outer { ports: Some((1, 2)), ..OUTER };
    assert_eq!(OUTER.push(&mut packet), Err(EmitError::new(20, 19)));
    assert_eq!(udp.push(&mut packet), Err(EmitError::new(28, 19)));
    assert_eq!((packet.range(), packet.as_slice()), (19..59, &[0x60; 40][..]));
}

#[test]
fn over_udp_both_headers_are_right() {
    let inner = &hex(MINIMAL)[20..];
    let outer = Outer { ports: Some((3544, 40000)), ..OUTER };
    let bytes = pushed(inner, &outer);
    let header = ipv4::Header::parse(&bytes).unwrap();
    assert!(header.is_checksum_valid());
    assert_eq!((header.protocol(), header.total_length()), (17, 68));
    let datagram = udp::Header::parse(header.payload()).unwrap();
    assert!(datagram.checksum() != 0 && datagram.is_valid_ipv4(OUTER.source, OUTER.destination));
    assert_eq!((datagram.source(), datagram.destination(), datagram.payload()), (3544, 40000, inner));
}

#[test]
fn ter_16_udp_is_taken_off_when_its_checksum_holds_or_is_absent() {
    let datagram = hex(DATAGRAM);
    let outer = Outer::udp("192.168.1.10:51234".parse().unwrap(), "198.51.100.1:3544".parse().unwrap());
    let taken = (Ok(outer), datagram[28..].to_vec());
    assert_eq!((pull(&datagram), taken.1.len()), (taken.clone(), 61));
    let mut none = datagram.clone();
    (none[26], none[27]) = (0, 0);
    assert_eq!(pull(&none), taken);
    let mut wrong = datagram.clone();
    wrong[27] ^= 1;
    assert_eq!(refused(&wrong), DropReason::TeredoMalformed);
    // The length of UDP is that of the datagram.
    for length in (0..=255).filter(|length| *length != none[25]) {
        let mut other = none.clone();
        other[25] = length;
        assert_eq!(refused(&other), DropReason::TeredoMalformed, "{length}");
    }
    let mut header = datagram.clone();
    header[8] = 1;
    assert_eq!(refused(&header), DropReason::OuterChecksum);
    for len in 0..datagram.len() {
        assert_eq!(refused(&datagram[..len]), DropReason::OuterMalformed, "{len}");
    }
    // Whole, but too short for UDP's header.
    for len in 20..28 {
        let mut short = datagram[..len].to_vec();
        short[3] = len as u8;
        fix(&mut short);
        assert_eq!(refused(&short), DropReason::TeredoMalformed, "{len}");
    }
}

/// The header's options are judged the same, whatever it carries.
#[test]
fn tun_11_sec_12_options_are_taken_off_or_refused() {
    for packet in [hex(MINIMAL), hex(DATAGRAM)] {
        let (outer, inner) = pull(&packet);
        let with = |options: [u8; 8]| with_options(&packet, &options);
        assert_eq!(pull(&with([7, 7, 4, 0, 0, 0, 0, 0])), (outer, inner));
        assert_eq!(refused(&with([131, 7, 8, 0, 0, 0, 0, 0])), DropReason::OuterSourceRoute);
        assert_eq!(refused(&with([7, 9, 4, 0, 0, 0, 0, 0])), DropReason::OuterOptions);
        let mut options = with([1; 8]);
        options[20] = 0;
        assert_eq!(refused(&options), DropReason::OuterChecksum, "options are summed too");
    }
}

#[test]
fn tun_10_fragments_are_refused() {
    for packet in [hex(MINIMAL), hex(DATAGRAM)] {
        for field in [0x2000_u16, 0x0001, 0x1fff, 0x3fff, 0x2001, 0x6000] {
            let mut bytes = packet.clone();
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
            fix(&mut bytes);
            assert_eq!(refused(&bytes), DropReason::OuterFragment, "{field:x}");
        }
        for (field, dont_fragment) in [(0x4000_u16, true), (0x8000, false), (0xc000, true)] {
            let mut bytes = packet.clone();
            bytes[6..8].copy_from_slice(&field.to_be_bytes());
            fix(&mut bytes);
            let outer = pull(&bytes).0.unwrap();
            assert_eq!(outer.dont_fragment, dont_fragment, "{field:x}");
        }
    }
}

#[test]
fn tun_5_other_protocols_are_refused() {
    for protocol in (0..=255).filter(|protocol| ![17, 41].contains(protocol)) {
        let mut bytes = hex(MINIMAL);
        bytes[9] = protocol;
        fix(&mut bytes);
        assert_eq!(refused(&bytes), DropReason::NotProtocol41, "{protocol}");
    }
    for version in (0..16).filter(|version| *version != 4) {
        let mut bytes = hex(MINIMAL);
        bytes[0] = version << 4 | 5;
        fix(&mut bytes);
        assert_eq!(refused(&bytes), DropReason::OuterMalformed, "{version}");
    }
}

#[test]
fn tun_12_what_lies_behind_the_total_length_is_cut() {
    for packet in [hex(MINIMAL), hex(DATAGRAM), with_options(&hex(MINIMAL), &[1; 40])] {
        let taken = pull(&packet);
        assert!(taken.0.is_ok());
        for padding in [1, 6, 100] {
            assert_eq!(pull(&[&packet[..], &vec![9; padding]].concat()), taken, "{padding}");
        }
    }
}

#[test]
fn the_order_of_the_checks_is_the_documented_one() {
    // Everything wrong at once, repaired from the front.
    let mut bytes = with_options(&hex(DATAGRAM), &[131, 7, 8, 0, 0, 0, 0, 0]);
    bytes[0] = 0x37;
    bytes[2..4].copy_from_slice(&200_u16.to_be_bytes());
    bytes[6] = 0x20;
    bytes[9] = 6;
    bytes[35] ^= 1;
    assert_eq!(refused(&bytes), DropReason::OuterMalformed, "version");
    bytes[0] = 0x47;
    assert_eq!(refused(&bytes), DropReason::OuterChecksum);
    let mut next = |expected: DropReason, repair: &dyn Fn(&mut [u8])| {
        fix(&mut bytes);
        assert_eq!(refused(&bytes), expected);
        repair(&mut bytes);
    };
    next(DropReason::OuterMalformed, &|bytes| bytes[3] = 27);
    next(DropReason::OuterMalformed, &|bytes| bytes[3] = 97);
    next(DropReason::NotProtocol41, &|bytes| bytes[9] = 17);
    next(DropReason::OuterFragment, &|bytes| bytes[6] = 0);
    next(DropReason::OuterSourceRoute, &|bytes| bytes[20..28].fill(1));
    next(DropReason::TeredoMalformed, &|bytes| bytes[35] ^= 1);
    fix(&mut bytes);
    assert_eq!(pull(&bytes).1, hex(DATAGRAM)[28..]);
}

fn any_outer() -> impl Strategy<Value = Outer> {
    any::<(u32, u32, Option<(u16, u16)>, u8, u8, bool, u16)>().prop_map(
        |(source, destination, ports, tos, ttl, dont_fragment, identification)| Outer {
            source: source.into(),
            destination: destination.into(),
            ports,
            tos,
            ttl,
            dont_fragment,
            identification,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_was_pushed_is_pulled(
        outer in any_outer(), payload in prop::collection::vec(any::<u8>(), 0..200),
        padding in prop::collection::vec(any::<u8>(), 0..50),
    ) {
        let bytes = pushed(&payload, &outer);
        prop_assert_eq!(&bytes, &drawn(&outer, &payload));
        prop_assert_eq!(bytes.len(), payload.len() + outer.header_len());
        prop_assert_eq!(pull(&[bytes, padding].concat()), (Ok(outer), payload));
    }

    /// A checksum that is zero when computed is sent as all ones.
    #[test]
    fn ter_16_no_checksum_is_sent_as_none(outer in any_outer(), ports: (u16, u16), payload: [u8; 6]) {
        let outer = Outer { ports: Some(ports), ..outer };
        let mut payload = [&payload[..], &[0; 2]].concat();
        let sum = pushed(&payload, &outer)[26..28].to_vec();
        // What is missing to the sum of all ones.
        payload[6..].copy_from_slice(&sum);
        let bytes = pushed(&payload, &outer);
        prop_assert_eq!(&bytes[26..28], &[0xff; 2]);
        prop_assert_eq!(pull(&bytes), (Ok(outer), payload));
    }

    #[test]
    fn any_bytes_are_pulled_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..120), version: bool) {
        let mut bytes = bytes;
        if version && bytes.len() >= 60 {
            bytes[0] = 0x40 | bytes[0] & 15;
            fix(&mut bytes);
        }
        let (outer, left) = pull(&bytes);
        match outer {
            Ok(outer) => prop_assert!(left.len() + outer.header_len() <= bytes.len()),
            Err(_) => prop_assert_eq!(left, bytes),
        }
    }
}
