#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::packet::PacketMut;
use crate::wire::hex;
use proptest::prelude::*;
use std::vec::Vec;

mod apart;

/// The minimal 6in4 packet.
const MINIMAL: &str = "45 00 00 3c 00 00 00 00 40 29 8e 63 c0 00 02 01 c6 33 64 01
    60 00 00 00 00 00 3b 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
    20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02";

/// A Router Solicitation between public addresses, without its ICMPv6
/// part.
const SOLICITATION: &str = "45 00 00 44 00 00 00 00 40 29 27 8e 83 6b 04 5c 83 6b 47 d1";

/// Writes the outer checksum, as 16-bit words.
fn fix(packet: &mut [u8]) {
    let len = usize::from(packet[0] & 15) * 4;
    packet[10..12].fill(0);
    let mut sum: u32 = packet[..len].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
}

/// The minimal packet with `payload`, and with `change` made before the outer
/// checksum.
fn packet(payload: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut packet = hex(MINIMAL);
    packet.extend_from_slice(payload);
    packet[2..4].copy_from_slice(&(60 + payload.len() as u16).to_be_bytes());
    packet[24..26].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    change(&mut packet);
    fix(&mut packet);
    packet
}

/// What is found of a packet once its outer header is off.
fn pulled(bytes: &[u8], judge: impl FnOnce(&Outer, &[u8]) -> Result<Flow, DropReason>) -> Result<Flow, DropReason> {
    let mut buffer = bytes.to_vec();
    let mut packet = PacketMut::new(&mut buffer, 0..bytes.len()).unwrap();
    let outer = Outer::pull(&mut packet)?;
    judge(&outer, packet.as_slice())
}

/// What a packet that is changed at `at` is refused for: with the empty
/// payload of the vector, and with one that takes the fast way.
fn refused(at: usize, bytes: &[u8]) -> DropReason {
    let change = |packet: &mut Vec<u8>| packet[at..at + bytes.len()].copy_from_slice(bytes);
    let slow = Flow::parse(&packet(&[], change)).unwrap_err();
    let fast = Flow::parse(&packet(&[0; 8], change)).unwrap_err();
    assert_eq!(slow, fast);
    slow
}

#[test]
fn tun_11_minimal_packet() {
    let bytes = hex(MINIMAL);
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!(
        flow,
        Flow {
            outer_source: "192.0.2.1".parse().unwrap(),
            outer_destination: "198.51.100.1".parse().unwrap(),
            inner_source: "2001:db8::1".parse().unwrap(),
            inner_destination: "2001:db8::2".parse().unwrap(),
            tos: 0,
            outer_ttl: 64,
            traffic_class: 0,
            next_header: 59,
            hop_limit: 64,
            header_len: 20,
            inner_len: 40,
            total_length: 60,
        }
    );
    assert_eq!(flow.inner(&bytes), &bytes[20..]);
    assert_eq!(flow.padding(), 0);
}

#[test]
fn tun_50_traffic_class_and_dont_fragment() {
    let mut bytes = hex("45 b9 00 3c 00 00 40 00 40 29 4d aa c0 00 02 01 c6 33 64 01 6b 90 00 00");
    bytes.extend_from_slice(&hex(MINIMAL)[24..]);
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!((flow.tos, flow.traffic_class), (0xb9, 0xb9));
}

#[test]
fn tun_11_cut_at_every_length() {
    for whole in [hex(MINIMAL), packet(&[7; 9], |_| {})] {
        for len in 0..whole.len() {
            assert_eq!(Flow::parse(&whole[..len]), Err(DropReason::OuterMalformed), "{len}");
        }
        assert!(Flow::parse(&whole).is_ok());
    }
}

#[test]
fn tun_11_total_length_at_every_value() {
    for total in 0..=100_u16 {
        let bytes = packet(&[7; 9], |packet| packet[2..4].copy_from_slice(&total.to_be_bytes()));
        let expected = match total {
            0..20 => Err(DropReason::OuterMalformed),
            20..60 => Err(DropReason::TooShort),
            60..69 => Err(DropReason::Truncated),
            69 => Ok(49),
            _ => Err(DropReason::OuterMalformed),
        };
        assert_eq!(Flow::parse(&bytes).map(|flow| flow.inner_len), expected, "{total}");
    }
}

#[test]
fn tun_12_padding_is_not_part_of_the_inner_packet() {
    let bytes = packet(&[0; 6], |packet| packet[25] = 0);
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!((flow.inner_len, flow.padding(), flow.inner(&bytes)), (40, 6, &bytes[20..60]));
    let bytes = packet(&[1, 2, 3, 4, 5, 6], |packet| packet[25] = 2);
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!((flow.inner_len, flow.padding(), flow.inner(&bytes)), (42, 4, &bytes[20..62]));
}

#[test]
fn tun_12_inner_packet_longer_than_the_outer_one() {
    let bytes = packet(&[0; 6], |packet| packet[25] = 7);
    assert_eq!(Flow::parse(&bytes), Err(DropReason::Truncated));
    let bytes = packet(&[0; 6], |packet| packet[24..26].fill(0xff));
    assert_eq!(Flow::parse(&bytes), Err(DropReason::Truncated));
}

#[test]
fn tun_12_jumbogram() {
    let jumbogram = packet(&[0; 8], |packet| (packet[25], packet[26]) = (0, 0));
    assert_eq!(Flow::parse(&jumbogram), Err(DropReason::Jumbogram));
    // Hop-by-hop options of a packet that is none.
    assert!(Flow::parse(&packet(&[0; 8], |packet| packet[26] = 0)).is_ok());
}

#[test]
fn bytes_behind_the_total_length_are_ignored() {
    let mut bytes = packet(&[1; 8], |_| {});
    let flow = Flow::parse(&bytes).unwrap();
    bytes.extend_from_slice(&[9; 100]);
    assert_eq!(Flow::parse(&bytes), Ok(flow));
    assert_eq!(flow.padding(), 0);
}

#[test]
fn tun_10_fragments() {
    for field in [0x2000_u16, 0x0001, 0x1fff, 0x3fff, 0x2001, 0x6000] {
        assert_eq!(refused(6, &field.to_be_bytes()), DropReason::OuterFragment, "{field:x}");
    }
    for field in [0x4000_u16, 0x8000, 0xc000] {
        let bytes = packet(&[], |packet| packet[6..8].copy_from_slice(&field.to_be_bytes()));
        assert!(Flow::parse(&bytes).is_ok(), "{field:x}");
    }
    // A last fragment is too short for an IPv6 header, and still a fragment.
    let mut last = hex(MINIMAL)[..28].to_vec();
    (last[3], last[7]) = (28, 1);
    fix(&mut last);
    assert_eq!(Flow::parse(&last), Err(DropReason::OuterFragment));
}

#[test]
fn tun_11_options_are_skipped() {
    for words in 6..=15_u8 {
        let mut bytes = hex(MINIMAL);
        bytes.splice(20..20, std::vec![1; usize::from(words - 5) * 4]);
        bytes[0] = 0x40 | words;
        let total = bytes.len() as u16;
        bytes[2..4].copy_from_slice(&total.to_be_bytes());
        assert_eq!(Flow::parse(&bytes), Err(DropReason::OuterChecksum), "options are summed too");
        fix(&mut bytes);
        let flow = Flow::parse(&bytes).unwrap();
        assert_eq!(usize::from(flow.header_len), usize::from(words) * 4);
        assert_eq!(flow.inner(&bytes), &hex(MINIMAL)[20..]);
        for len in 0..bytes.len() {
            assert_eq!(Flow::parse(&bytes[..len]), Err(DropReason::OuterMalformed));
        }
        bytes[3] -= 1;
        fix(&mut bytes);
        assert_eq!(Flow::parse(&bytes), Err(DropReason::TooShort));
    }
    for words in 0..5 {
        let bytes = packet(&[], |packet| packet[0] = 0x45);
        let mut bytes = bytes;
        bytes[0] = 0x40 | words;
        assert_eq!(Flow::parse(&bytes), Err(DropReason::OuterMalformed));
    }
}

/// The minimal packet with these options.
fn with_options(options: &[u8]) -> Vec<u8> {
    let mut bytes = hex(MINIMAL);
    bytes.splice(20..20, options.iter().copied());
    bytes[0] += options.len() as u8 / 4;
    bytes[3] += options.len() as u8;
    fix(&mut bytes);
    bytes
}

#[test]
fn tun_11_sec_12_options_are_judged() {
    let judge = |options: &[u8]| Flow::parse(&with_options(options)).map(|flow| flow.header_len);
    assert_eq!(judge(&[7, 7, 4, 0, 0, 0, 0, 0]), Ok(28), "Record Route");
    assert_eq!(judge(&[131, 7, 4, 10, 0, 0, 2, 0]), Err(DropReason::OuterSourceRoute));
    assert_eq!(judge(&[137, 7, 8, 10, 0, 0, 2, 0]), Err(DropReason::OuterSourceRoute), "done");
    assert_eq!(judge(&[222, 9, 0, 0, 0, 0, 0, 0]), Err(DropReason::OuterOptions), "past the end");
    assert_eq!(judge(&[7, 7, 3, 0, 0, 0, 0, 0]), Err(DropReason::OuterOptions), "bad pointer");
    let mut compatible = with_options(&[131, 7, 4, 10, 0, 0, 2, 0]);
    compatible[36..48].fill(0);
    assert_eq!(Flow::parse(&compatible), Err(DropReason::OuterSourceRoute));
    assert_eq!(pulled(&compatible, Flow::of_compatible), Err(DropReason::OuterSourceRoute));
    // Who is meant is known before: other protocols are none of ours.
    let mut tcp = with_options(&[131, 7, 4, 10, 0, 0, 2, 0]);
    tcp[9] = 6;
    fix(&mut tcp);
    assert_eq!(Flow::parse(&tcp), Err(DropReason::NotProtocol41));
}

#[test]
fn tun_11_checksum() {
    let whole = packet(&[7; 8], |_| {});
    for bit in 0..160 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Flow::parse(&bytes).is_err(), "bit {bit}");
    }
    let mut bytes = whole;
    bytes[15] ^= 1;
    assert_eq!(Flow::parse(&bytes), Err(DropReason::OuterChecksum));
}

#[test]
fn tun_5_protocol_and_versions() {
    for protocol in (0..=255).filter(|protocol| *protocol != 41) {
        assert_eq!(refused(9, &[protocol]), DropReason::NotProtocol41);
    }
    for version in (0..16).filter(|version| *version != 6) {
        assert_eq!(refused(20, &[version << 4]), DropReason::InnerVersion);
    }
    for version in (0..16).filter(|version| *version != 4) {
        let mut bytes = hex(MINIMAL);
        bytes[0] = version << 4 | 5;
        fix(&mut bytes);
        assert_eq!(Flow::parse(&bytes), Err(DropReason::OuterMalformed));
    }
}

#[test]
fn tun_14_tun_15_outer_addresses_that_are_never_unicast() {
    for first in 0..=255_u8 {
        let never = matches!(first, 0 | 127 | 224..=255);
        for (at, reason) in [(12, DropReason::OuterSourceRefused), (16, DropReason::OuterDestinationRefused)] {
            for payload in [&[][..], &[0; 8]] {
                let bytes = packet(payload, |packet| packet[at] = first);
                assert_eq!(Flow::parse(&bytes).err(), never.then_some(reason), "{first}");
            }
        }
    }
}

#[test]
fn tun_16_inner_sources() {
    let judged = |text: &str| {
        let source = text.parse::<Ipv6Addr>().unwrap();
        let [slow, fast] = [&[][..], &[0; 8]]
            .map(|payload| Flow::parse(&packet(payload, |packet| packet[28..44].copy_from_slice(&source.octets()))));
        assert_eq!(slow.err(), fast.err());
        fast.map(|flow| flow.inner_source == source)
    };
    for refused in ["ff02::1", "ffff::1", "::1", "::192.0.2.1", "::ffff:192.0.2.1"] {
        assert_eq!(judged(refused), Err(DropReason::InnerSourceRefused), "{refused}");
    }
    for kept in ["::", "2001:db8::1", "fe80::1", "fec0::1", "::1:0:0:0:1", "::ffff:0:192.0.2.1"] {
        assert_eq!(judged(kept), Ok(true), "{kept}");
    }
}

/// `TUN-72`: the sources that only the links of RFC 2893 take, and none beside them in 0::/64.
#[test]
fn tun_72_a_flow_knows_which_rules_let_its_source_in() {
    let outer = Outer::new([192, 0, 2, 1].into(), [192, 0, 2, 2].into());
    for (source, any, compatible) in [
        ("::", true, false),
        ("::1", false, false),
        ("::2", false, true),
        ("::192.0.2.1", false, true),
        ("::255.255.255.255", false, true),
        ("::1:0:0", true, false),
        ("::fffe:192.0.2.1", true, false),
        ("::ffff:192.0.2.1", false, false),
        ("::ffff:0:192.0.2.1", true, false),
        ("0:0:0:1::1", true, false),
        ("2001:db8::1", true, false),
    ] {
        let source: Ipv6Addr = source.parse().unwrap();
        let inner = packet(&[0; 8], |packet| packet[28..44].copy_from_slice(&source.octets()))[20..].to_vec();
        let judged = Flow::of(&outer, &inner);
        assert_eq!(judged.map(|flow| flow.is_compatible()).ok(), any.then_some(false), "{source}");
        let refused = Flow::of_refused(&outer, &inner);
        if !any {
            assert_eq!(refused, Flow::of_compatible(&outer, &inner), "{source}");
            assert_eq!(refused.is_ok_and(|flow| flow.is_compatible()), compatible, "{source}");
        }
    }
}

#[test]
fn the_order_of_the_checks_is_the_documented_one() {
    // Everything wrong at once, repaired from the front.
    let mut bytes = packet(&[0; 8], |packet| {
        packet[0] = 0x44;
        packet[2..4].copy_from_slice(&100_u16.to_be_bytes());
        packet[6] = 0x20;
        packet[9] = 17;
        packet[12] = 127;
        packet[16] = 224;
        packet[20] = 0x40;
        packet[24] = 0xff;
        packet[28] = 0xff;
    });
    let mut next = |expected: DropReason, repair: &dyn Fn(&mut [u8])| {
        assert_eq!(Flow::parse(&bytes), Err(expected));
        repair(&mut bytes);
        fix(&mut bytes);
    };
    next(DropReason::OuterMalformed, &|bytes| bytes[0] = 0x45);
    next(DropReason::OuterMalformed, &|bytes| bytes[2..4].copy_from_slice(&59_u16.to_be_bytes()));
    next(DropReason::NotProtocol41, &|bytes| bytes[9] = 41);
    next(DropReason::OuterFragment, &|bytes| bytes[6] = 0);
    next(DropReason::TooShort, &|bytes| bytes[3] = 68);
    next(DropReason::OuterSourceRefused, &|bytes| bytes[12] = 10);
    next(DropReason::OuterDestinationRefused, &|bytes| bytes[16] = 10);
    next(DropReason::InnerVersion, &|bytes| bytes[20] = 0x60);
    next(DropReason::Truncated, &|bytes| bytes[24] = 0);
    next(DropReason::InnerSourceRefused, &|bytes| bytes[28] = 0x20);
    assert!(Flow::parse(&bytes).is_ok());
}

#[test]
fn a_public_solicitation() {
    let mut bytes = hex(SOLICITATION);
    bytes.extend_from_slice(&hex("60 00 00 00 00 08 3a ff"));
    bytes.extend_from_slice(&"fe80::200:5efe:836b:45c".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(&"fe80::200:5efe:836b:47d1".parse::<Ipv6Addr>().unwrap().octets());
    bytes.extend_from_slice(&hex("85 00 68 ba 00 00 00 00"));
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!((flow.inner_len, flow.hop_limit, flow.next_header), (48, 255, 58));
}

#[test]
fn the_longest_packet() {
    let bytes = packet(&std::vec![0; 65475], |_| {});
    let flow = Flow::parse(&bytes).unwrap();
    assert_eq!((flow.inner_len, flow.total_length, flow.padding()), (65515, 65535, 0));
    assert_eq!(flow.inner(&bytes).len(), 65515);
}

#[test]
fn from_headers_refuses_a_header_length_that_is_not_its_own() {
    let bytes = packet(&[0; 8], |_| {});
    let (ipv4, ipv6) = (bytes[..20].try_into().unwrap(), bytes[20..60].try_into().unwrap());
    assert_eq!(Flow::from_headers(&ipv4, &ipv6, 20, 68), Flow::parse(&bytes));
    assert_eq!(Flow::from_headers(&ipv4, &ipv6, 24, 68), Err(DropReason::OuterMalformed));
    assert_eq!(Flow::from_headers(&ipv4, &ipv6, 0, 68), Err(DropReason::OuterMalformed));
    assert_eq!(Flow::from_headers(&ipv4, &ipv6, 20, 67), Err(DropReason::OuterMalformed));
}

/// A packet that is nearly right: a few bytes changed, mostly with a right
/// checksum, cut or extended.
fn nearly_right() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(0_u8), Just(0xff), Just(0x7f), Just(0x60), Just(0xe0), any::<u8>()];
    let changes = prop::collection::vec((0_usize..68, byte), 0..4);
    (changes, 0_usize..40, any::<bool>(), 56_usize..80, prop::bool::weighted(0.9)).prop_map(
        |(changes, payload, empty, len, right)| {
            let mut bytes = packet(&std::vec![0; if empty { 0 } else { payload }], |_| {});
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if right && bytes[0] & 15 == 5 {
                fix(&mut bytes);
            }
            if len % 3 == 0 {
                bytes.resize(len, 0);
            }
            bytes
        },
    )
}

/// The answer of the checks one by one.
fn judged(bytes: &[u8]) -> Result<Flow, DropReason> {
    judge(bytes).map(|(ipv4, ipv6, header_len)| flow(ipv4, ipv6, header_len))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn both_ways_agree(bytes in nearly_right()) {
        let flow = Flow::parse(&bytes);
        prop_assert_eq!(flow, judged(&bytes));
        if bytes.len() >= 60 && bytes[0] == 0x45 {
            let (ipv4, ipv6) = (bytes[..20].try_into().unwrap(), bytes[20..60].try_into().unwrap());
            prop_assert_eq!(Flow::from_headers(&ipv4, &ipv6, 20, bytes.len()), flow);
        }
        if let Ok(flow) = flow {
            prop_assert_eq!(flow.inner(&bytes).len(), usize::from(flow.inner_len));
            prop_assert!(usize::from(flow.total_length) <= bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_judged_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..120), version: bool) {
        let mut bytes = bytes;
        if version && !bytes.is_empty() {
            bytes[0] = 0x40 | bytes[0] & 15;
        }
        prop_assert_eq!(Flow::parse(&bytes), judged(&bytes));
    }
}
