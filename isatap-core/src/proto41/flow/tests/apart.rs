//! Header and packet judged apart, as sockets give them, are judged as in one
//! piece.
use super::*;

/// What is to be found of a packet once its outer header is off: what
/// [`Flow::parse`] finds, but for the lengths, and datagrams of UDP, which are
/// somebody else's.
fn expected(bytes: &[u8]) -> Result<Flow, DropReason> {
    match Flow::parse(bytes) {
        Ok(flow) => {
            let total_length = flow.total_length - u16::from(flow.header_len);
            Ok(Flow { header_len: 0, total_length, ..flow })
        }
        Err(DropReason::NotProtocol41) if bytes[9] == 17 => {
            let mut as_protocol_41 = bytes.to_vec();
            as_protocol_41[9] = 41;
            fix(&mut as_protocol_41);
            match Flow::parse(&as_protocol_41) {
                Err(reason @ (DropReason::OuterFragment | DropReason::OuterOptions | DropReason::OuterSourceRoute)) => {
                    Err(reason)
                }
                _ if is_datagram(bytes) => Err(DropReason::NotProtocol41),
                _ => Err(DropReason::TeredoMalformed),
            }
        }
        Err(reason) => Err(reason),
    }
}

/// Whether a whole IPv4 packet has a UDP datagram in it that fills it and has
/// no wrong checksum. [RFC 768]
fn is_datagram(bytes: &[u8]) -> bool {
    let word = |at: usize| u16::from_be_bytes([bytes[at], bytes[at + 1]]);
    let (start, end) = (usize::from(bytes[0] & 15) * 4, usize::from(word(2)));
    if end - start < 8 || usize::from(word(start + 4)) != end - start {
        return false;
    }
    let summed = [&bytes[12..20], &[0, 17], &bytes[start + 4..start + 6], &bytes[start..end], &[0]].concat();
    let sum = summed.chunks_exact(2).fold(0_u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    word(start + 6) == 0 || (sum != 0 && sum % 0xffff == 0)
}

/// Both ways must say the same.
fn agree(bytes: &[u8]) -> Result<Flow, DropReason> {
    let found = pulled(bytes, Flow::of);
    assert_eq!(found, expected(bytes), "{bytes:02x?}");
    if let Ok(flow) = found {
        let whole = Flow::parse(bytes).unwrap();
        let start = usize::from(whole.header_len);
        assert_eq!(flow.inner(&bytes[start..]), whole.inner(bytes));
        assert_eq!(flow.padding(), whole.padding());
    }
    found
}

fn outer() -> Outer {
    Outer::new(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(198, 51, 100, 1))
}

/// An inner packet of so many bytes, whose header says a payload of so many.
fn inner(len: usize, payload_len: u16) -> Vec<u8> {
    let mut inner = hex(MINIMAL)[20..].to_vec();
    inner[4..6].copy_from_slice(&payload_len.to_be_bytes());
    inner.resize(len, 0);
    inner
}

#[test]
fn the_reasons_are_those_of_the_whole_packet() {
    assert!(agree(&hex(MINIMAL)).is_ok());
    for len in 0..60 {
        assert_eq!(agree(&hex(MINIMAL)[..len]), Err(DropReason::OuterMalformed), "{len}");
    }
    for total in 0..=100_u16 {
        let _ = agree(&packet(&[7; 9], |packet| packet[2..4].copy_from_slice(&total.to_be_bytes())));
    }
    // Wrong in two ways: the checksum comes first.
    let mut both = packet(&[7; 9], |packet| packet[3] = 200);
    both[11] ^= 1;
    assert_eq!(agree(&both), Err(DropReason::OuterChecksum));
    for (at, byte, reason) in [
        (9, 6, DropReason::NotProtocol41),
        (9, 17, DropReason::TeredoMalformed),
        (12, 127, DropReason::OuterSourceRefused),
        (16, 224, DropReason::OuterDestinationRefused),
        (20, 0x40, DropReason::InnerVersion),
        (24, 1, DropReason::Truncated),
        (28, 0xff, DropReason::InnerSourceRefused),
    ] {
        assert_eq!(agree(&packet(&[0; 8], |packet| packet[at] = byte)), Err(reason), "{at}");
    }
    let jumbogram = packet(&[0; 8], |packet| (packet[25], packet[26]) = (0, 0));
    assert_eq!(agree(&jumbogram), Err(DropReason::Jumbogram));
}

#[test]
fn tun_5_a_packet_over_udp_is_not_one_of_protocol_41() {
    let inner = &hex(MINIMAL)[20..];
    let over_udp = Outer { ports: Some((3544, 40000)), ..outer() };
    assert_eq!(Flow::of(&over_udp, inner), Err(DropReason::NotProtocol41));
    assert_eq!(Flow::of_compatible(&over_udp, inner), Err(DropReason::NotProtocol41));
    let mut buffer = [&[0; 28], inner].concat();
    let mut packet = PacketMut::new(&mut buffer, 28..68).unwrap();
    over_udp.push(&mut packet).unwrap();
    assert_eq!(agree(packet.as_slice()), Err(DropReason::NotProtocol41));
}

#[test]
fn tun_11_less_than_a_header_is_too_short() {
    for len in 0..40 {
        assert_eq!(Flow::of(&outer(), &hex(MINIMAL)[20..][..len]), Err(DropReason::TooShort), "{len}");
    }
}

/// No IPv4 packet can have carried more than 65,515 bytes, whatever a buffer
/// holds: a length beyond that does not wrap.
#[test]
fn tun_12_longer_than_ipv4_carries() {
    for len in [65_515, 65_516, 65_535, 65_536, 65_575, 65_576, 100_000, 131_072 + 40] {
        let judged = |payload_len: u16| Flow::of(&outer(), &inner(len, payload_len));
        let flow = judged(65_475).unwrap();
        assert_eq!((flow.inner_len, flow.total_length, flow.padding()), (65_515, 65_515, 0), "{len}");
        let flow = judged(8).unwrap();
        assert_eq!((flow.inner_len, flow.total_length, flow.padding()), (48, 65_515, 65_467), "{len}");
        for beyond in [65_476, 65_494, 65_495, 65_496, 65_497, 65_515, 65_516, 65_534, 65_535] {
            assert_eq!(judged(beyond), Err(DropReason::Truncated), "{beyond} in {len}");
        }
    }
    // And where fewer are there than is said.
    for beyond in [1, 65_475, 65_476, 65_495, 65_496, 65_535] {
        assert_eq!(Flow::of(&outer(), &inner(40, beyond)), Err(DropReason::Truncated), "{beyond}");
    }
}

#[test]
fn tun_72_compatible_sources_are_let_in_where_wanted_and_nothing_else_is() {
    let from = |source: &str| {
        let mut inner = inner(48, 8);
        inner[8..24].copy_from_slice(&source.parse::<Ipv6Addr>().unwrap().octets());
        (Flow::of(&outer(), &inner), Flow::of_compatible(&outer(), &inner))
    };
    let refused = Err(DropReason::InnerSourceRefused);
    for compatible in ["::192.0.2.1", "::0.0.0.2", "::127.0.0.1"] {
        let (plain, wanted) = from(compatible);
        assert_eq!(plain, refused, "{compatible}");
        let flow = wanted.unwrap();
        assert_eq!(flow.inner_source, compatible.parse::<Ipv6Addr>().unwrap());
        assert_eq!((flow.header_len, flow.inner_len, flow.total_length), (0, 48, 48));
    }
    for other in ["::1", "ff02::1", "::ffff:192.0.2.1"] {
        assert_eq!(from(other), (refused, refused), "{other}");
    }
    for usual in ["2001:db8::1", "fe80::1", "::"] {
        let (plain, wanted) = from(usual);
        assert!(plain.is_ok() && plain == wanted, "{usual}");
    }
}

/// A packet of the wire: with options, padding inside and behind its total
/// length, perhaps a fragment or a datagram, a few bytes changed, mostly with a
/// right checksum, and perhaps cut.
fn of_the_wire() -> impl Strategy<Value = Vec<u8>> {
    let options = prop_oneof![
        4 => Just(std::vec![]),
        2 => (1..=10_usize).prop_map(|words| std::vec![1; words * 4]),
        1 => Just(std::vec![7, 7, 4, 0, 0, 0, 0, 0]),
        1 => Just(std::vec![131, 7, 4, 10, 0, 0, 2, 0]),
        1 => Just(std::vec![222, 9, 0, 0, 0, 0, 0, 0]),
    ];
    let is_datagram = prop::bool::weighted(0.2);
    let fragment = prop_oneof![6 => Just(0_u16), 1 => Just(0x4000), 1 => Just(0x2000), 1 => any::<u16>()];
    let byte = prop_oneof![Just(0_u8), Just(0xff), Just(0x7f), Just(0x60), Just(17), Just(41), any::<u8>()];
    let changes = prop_oneof![2 => Just(std::vec![]), 3 => prop::collection::vec((0_usize..120, byte), 1..4)];
    let right = prop::bool::weighted(0.9);
    let cut = prop::option::weighted(0.2, 0_usize..140);
    (options, is_datagram, fragment, 0_usize..40, 0_usize..20, 0_usize..20, changes, right, cut).prop_map(
        |(options, is_datagram, fragment, payload, padding, behind, changes, right, cut)| {
            let mut inner = inner(40 + payload, payload as u16);
            inner.extend(std::vec![9; padding]);
            let outer = Outer { ports: is_datagram.then_some((3544, 40000)), ..outer() };
            let mut buffer = [&[0; 28], &inner[..]].concat();
            let end = buffer.len();
            let mut packet = PacketMut::new(&mut buffer, 28..end).unwrap();
            outer.push(&mut packet).unwrap();
            let mut bytes = packet.as_slice().to_vec();
            bytes[0] += options.len() as u8 / 4;
            bytes[3] += options.len() as u8;
            bytes.splice(20..20, options);
            bytes[6..8].copy_from_slice(&fragment.to_be_bytes());
            bytes.extend(std::vec![0xaa; behind]);
            for (at, byte) in changes {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            if right && bytes[0] & 15 >= 5 && usize::from(bytes[0] & 15) * 4 <= bytes.len() {
                fix(&mut bytes);
            }
            bytes.truncate(cut.unwrap_or(bytes.len()));
            bytes
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn apart_as_in_one_piece(bytes in of_the_wire()) {
        let _ = agree(&bytes);
    }

    #[test]
    fn nearly_right_packets_apart_as_in_one_piece(bytes in nearly_right()) {
        let _ = agree(&bytes);
    }

    #[test]
    fn tun_72_plainly_compatible_packets_are_those_that_the_checks_let_in(
        bytes in prop_oneof![of_the_wire(), nearly_right()],
        upper in prop_oneof![6 => Just(0_u128), 1 => (0_u32..96).prop_map(|bit| 1 << (127 - bit))],
        lower in prop_oneof![4 => any::<u32>(), 1 => 0_u32..3],
    ) {
        let mut bytes = bytes;
        if let Some(source) = bytes.get_mut(28..44) {
            source.copy_from_slice(&(upper | u128::from(lower)).to_be_bytes());
        }
        let judged = |outer: &Outer, inner: &[u8]| {
            judge_compatible(outer, inner).map(|ipv6| Flow::made(outer, ipv6, carried(inner)))
        };
        prop_assert_eq!(pulled(&bytes, Flow::of_compatible), pulled(&bytes, judged));
    }

    #[test]
    fn any_bytes_apart_as_in_one_piece(bytes in prop::collection::vec(any::<u8>(), 0..120), version: bool) {
        let mut bytes = bytes;
        if version && bytes.len() >= 60 {
            bytes[0] = 0x45 + bytes[0] % 11;
            fix(&mut bytes);
        }
        let _ = agree(&bytes);
    }
}
