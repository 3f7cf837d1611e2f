//! The receive tables of the vectors, on a node that knows what they assume.

use super::*;

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

fn host() -> Checker {
    Checker::new(&[LinkOptions::Isatap(IsatapOptions {
        locals: vec![v4("10.0.0.2")],
        routers: vec![v4("10.0.0.1")],
        prefixes: vec!["2001:db8:0:7::/64".parse().unwrap()],
        ..IsatapOptions::default()
    })])
    .unwrap()
}

const RA: [u8; 16] = [134, 0, 0, 0, 64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0];

/// V-ISA, "Receive checks".
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
    let isatap = IsatapOptions { locals: vec![v4("10.0.0.2")], routers: vec![v4("10.0.0.1")], ..Default::default() };
    let tunnel = |remote| LinkOptions::Configured { local: v4("10.0.0.2"), remote: v4(remote), addresses: vec![] };
    let checker = Checker::new(&[LinkOptions::Isatap(isatap), tunnel("10.9.9.9")]).unwrap();

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
    assert_eq!(judged.inner, Some((v6("2001:db8::1"), v6("2001:db8::2"))));

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
    assert_eq!(judged.inner, Some((v6("2001:db8::1"), v6("2001:db8::2"))), "shown all the same");
}

#[test]
fn a_node_that_cannot_be_is_refused_with_the_cause() {
    let unusable = IsatapOptions { locals: vec![v4("127.0.0.1")], ..IsatapOptions::default() };
    let error = Checker::new(&[LinkOptions::Isatap(unusable)]).err().unwrap().to_string();
    assert!(error.contains("127.0.0.1"), "{error}");
    let tunnel = LinkOptions::Configured { local: v4("10.0.0.2"), remote: v4("10.0.0.3"), addresses: vec![] };
    let error = Checker::new(&vec![tunnel; MAX_LINKS + 1]).err().unwrap().to_string();
    assert!(error.contains("links"), "{error}");
}

#[test]
fn an_address_without_its_length_is_asked_for_it() {
    let error = "2001:470:1f0a::2".parse::<AddressWithLength>().unwrap_err();
    assert!(error.contains("write 2001:470:1f0a::2/64, or 2001:470:1f0a::2/128"), "{error}");
    let given: AddressWithLength = "2001:470:1f0a::2/64".parse().unwrap();
    assert_eq!((given.0.address, given.0.prefix_length), (v6("2001:470:1f0a::2"), 64));
}
