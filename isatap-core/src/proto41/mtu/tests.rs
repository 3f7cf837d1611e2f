#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::capacity::N;
use crate::packet::PacketMut;
use crate::proto41::underlay::OuterPolicy;
use crate::wire::hex;
use core::num::NonZeroU16;
use proptest::prelude::*;
use std::vec;

const INTERFACE: u16 = 1500;

type Table4 = PathMtus<N<4>>;

fn destination(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(192, 0, 2, last)
}

fn claim(last: u8, quoted_total_length: u16, next_hop_mtu: u16) -> TooBig {
    TooBig { destination: destination(last), quoted_total_length, quoted_header_len: 20, next_hop_mtu }
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

#[test]
fn tun_32_the_table() {
    let mode = MtuMode::Dynamic { interface: 9000 };
    for (path, len, expected) in [
        (1279, 1280, MtuDecision::Send { dont_fragment: false }),
        (1280, 1280, MtuDecision::Send { dont_fragment: false }),
        (1280, 1281, MtuDecision::TooBig { mtu: 1280 }),
        (1299, 1280, MtuDecision::Send { dont_fragment: false }),
        (1300, 1280, MtuDecision::Send { dont_fragment: true }),
        (1300, 1281, MtuDecision::TooBig { mtu: 1280 }),
        (1500, 1480, MtuDecision::Send { dont_fragment: true }),
        (1500, 1481, MtuDecision::TooBig { mtu: 1480 }),
        (68, 1280, MtuDecision::Send { dont_fragment: false }),
        (0, 1281, MtuDecision::TooBig { mtu: 1280 }),
        // The path is not larger than the interface.
        (65535, 8980, MtuDecision::Send { dont_fragment: true }),
        (65535, 8981, MtuDecision::TooBig { mtu: 8980 }),
    ] {
        assert_eq!(decide(mode, path, len), expected, "{path} {len}");
    }
}

#[test]
fn tun_31_static_never_sets_dont_fragment() {
    for path in [0, 68, 1300, 1500, 65535] {
        assert_eq!(decide(MtuMode::Static(1480), path, 1480), MtuDecision::Send { dont_fragment: false });
        assert_eq!(decide(MtuMode::Static(1480), path, 1481), MtuDecision::TooBig { mtu: 1480 });
        assert_eq!(decide(MtuMode::default(), path, 1281), MtuDecision::TooBig { mtu: 1280 });
    }
    assert_eq!(MtuMode::default(), MtuMode::Static(1280));
}

proptest! {
    #[test]
    fn isa_15_tun_31_what_was_configured_counts_then_the_interface_then_1280(
        configured in prop::option::of(1280_u16..=65_515), interface: u16, advertised in prop::option::of(1280_u16..),
        finds_path: bool,
    ) {
        let policy = OuterPolicy { mtu: MtuMode::Dynamic { interface }, ..OuterPolicy::DEFAULT };
        // Who knows nothing of the interface stays with what everybody has.
        prop_assert_eq!(policy.ipv6_mtu(), 1280);
        let mut policy = policy.with_link_mtu(configured);
        if !finds_path {
            policy = policy.without_path_mtu();
        }
        let carried = if finds_path { interface.saturating_sub(20).max(1280) } else { 1280 };
        prop_assert_eq!(policy.ipv6_mtu(), configured.unwrap_or(carried));
        if let (Some(advertised), None) = (advertised, configured) {
            policy.link_mtu = advertised;
            prop_assert_eq!(policy.ipv6_mtu(), advertised.min(carried));
        }
        // What is told fits without a Packet Too Big, as long as nothing narrower is known.
        if configured.is_none() {
            let decision = decide(policy.mtu, interface, policy.ipv6_mtu().into());
            let fits = matches!(decision, MtuDecision::Send { .. });
            prop_assert!(fits, "{:?}", policy);
        }
    }

    #[test]
    fn tun_33_never_under_1280(mtu: u16, path: u16, dynamic: bool, len in 0_usize..70_000) {
        let mode = if dynamic { MtuMode::Dynamic { interface: mtu } } else { MtuMode::Static(mtu) };
        match decide(mode, path, len) {
            MtuDecision::TooBig { mtu } => prop_assert!(mtu >= 1280 && usize::from(mtu) < len),
            MtuDecision::Send { dont_fragment } => {
                // DF only where the path is known to take it.
                prop_assert!(!dont_fragment || dynamic && len + 20 <= usize::from(path.min(mtu)));
            }
        }
        prop_assert!(mode.interface_mtu() >= 1280);
    }
}

#[test]
fn tun_34_old_routers() {
    for (estimate, quoted, expected) in [
        (4352, 1500, 1492),
        (1500, 1400, 1006),
        (1500, 1500, 1006),
        (1006, 1500, 1006),
        (68, 68, 68),
        (65535, 65535, 32000),
    ] {
        let mut table = Table4::EMPTY;
        table.too_big(at(0), &claim(1, 1, estimate), u16::MAX);
        table.too_big(at(0), &claim(1, quoted, 0), u16::MAX);
        assert_eq!(table.get(destination(1)).unwrap_or(u16::MAX), expected, "{estimate} {quoted}");
    }
}

#[test]
fn tun_34_the_correction_counts_the_quoted_header() {
    // 1500 with a header of 60 bytes: 1440 are left.
    let claim = TooBig { quoted_header_len: 60, ..claim(1, 1550, 0) };
    let mut table = Table4::EMPTY;
    assert_eq!(table.too_big(at(0), &claim, 1500), Some(1006));
    // 1550 - 20 = 1530 would have given 1492.
    let mut table = Table4::EMPTY;
    assert_eq!(table.too_big(at(0), &TooBig { quoted_header_len: 20, ..claim }, 1500), Some(1492));
}

#[test]
fn tun_34_every_plateau_in_turn() {
    let mut table = Table4::EMPTY;
    let mut length = 65535;
    for plateau in PLATEAUS.into_iter().skip(1) {
        assert_eq!(table.too_big(at(0), &claim(1, length - 1, 0), 65535), Some(plateau));
        length = plateau;
    }
    assert_eq!(table.too_big(at(0), &claim(1, 67, 0), 65535), None);
    assert_eq!(table.get(destination(1)), Some(68));
}

#[test]
fn tun_34_never_under_68() {
    let mut table = Table4::EMPTY;
    assert_eq!(table.too_big(at(0), &claim(1, 1500, 1), INTERFACE), Some(68));
    assert_eq!(table.too_big(at(0), &claim(1, 0, 0), INTERFACE), None);
    assert_eq!(table.get(destination(1)), Some(68));
}

#[test]
fn tun_35_an_error_never_raises() {
    let mut table = Table4::EMPTY;
    assert_eq!(table.too_big(at(0), &claim(1, 1500, 1501), INTERFACE), None);
    assert_eq!(table.too_big(at(0), &claim(1, 1500, 1500), INTERFACE), None);
    assert_eq!(table.get(destination(1)), None);
    assert_eq!(table.too_big(at(0), &claim(1, 1500, 1400), INTERFACE), Some(1400));
    assert_eq!(table.too_big(at(1), &claim(1, 1500, 1401), INTERFACE), None);
    assert_eq!(table.get(destination(1)), Some(1400));
    // A claim that is ignored does not postpone the next try either.
    assert_eq!(table.next_deadline(), Expiry::at(at(600)));
    // One that says the same again does.
    assert_eq!(table.too_big(at(2), &claim(1, 1500, 1400), INTERFACE), None);
    assert_eq!(table.next_deadline(), Expiry::at(at(602)));
}

#[test]
fn tun_34_raised_after_ten_minutes_and_again_after_two() {
    let mut table = Table4::EMPTY;
    assert_eq!(table.next_deadline(), Expiry::NEVER);
    table.too_big(at(100), &claim(1, 1500, 576), INTERFACE);
    assert_eq!(table.next_deadline(), Expiry::at(at(700)));
    assert_eq!(table.handle_timeout(at(699)), 0);
    assert_eq!(table.handle_timeout(at(700)), 1);
    assert_eq!(table.get(destination(1)), Some(1006));
    assert_eq!(table.next_deadline(), Expiry::at(at(820)));
    // Too far: back to ten minutes.
    table.too_big(at(701), &claim(1, 1006, 900), INTERFACE);
    assert_eq!(table.next_deadline(), Expiry::at(at(1301)));
    assert_eq!(table.handle_timeout(at(1301)), 1);
    assert_eq!(table.get(destination(1)), Some(1006));
    assert_eq!(table.handle_timeout(at(1421)), 1);
    assert_eq!(table.get(destination(1)), Some(1492));
    // The interface's MTU needs no row.
    assert_eq!(table.handle_timeout(at(1541)), 1);
    assert_eq!(table.get(destination(1)), None);
    assert_eq!(table.next_deadline(), Expiry::NEVER);
}

#[test]
fn a_full_table_forgets_the_oldest_change() {
    let mut table = Table4::EMPTY;
    for last in 1..=4 {
        table.too_big(at(u64::from(last)), &claim(last, 1500, 1400), INTERFACE);
    }
    table.too_big(at(5), &claim(1, 1500, 1300), INTERFACE);
    table.too_big(at(6), &claim(9, 1500, 1200), INTERFACE);
    assert_eq!(table.get(destination(2)), None);
    for (last, mtu) in [(1, 1300), (3, 1400), (4, 1400), (9, 1200)] {
        assert_eq!(table.get(destination(last)), Some(mtu));
    }
    let mut none = PathMtus::<N<0>>::EMPTY;
    assert_eq!(none.too_big(at(0), &claim(1, 1500, 1400), INTERFACE), None, "off");
    assert_eq!(none.get(destination(1)), None);
}

proptest! {
    #[test]
    fn no_deadline_survives_being_handled(
        steps in prop::collection::vec((0_u8..6, any::<u16>(), prop_oneof![Just(0_u16), any::<u16>()], 0_u64..700), 0..60),
    ) {
        let mut table = Table4::EMPTY;
        let mut now = 0;
        for (last, quoted, next_hop, wait) in steps {
            let before = table.get(destination(last)).unwrap_or(INTERFACE);
            table.too_big(at(now), &claim(last, quoted, next_hop), INTERFACE);
            let after = table.get(destination(last)).unwrap_or(INTERFACE);
            prop_assert!((68..=before).contains(&after));
            now += wait;
            table.handle_timeout(at(now));
            prop_assert!(table.next_deadline() > Expiry::at(at(now)));
            prop_assert!(table.rows.iter().all(|row| (68..INTERFACE).contains(&row.mtu)));
        }
    }
}

/// An IPv6 packet of `len` bytes with this upper layer, standing for several.
fn length_of(next_header: u8, payload: &[u8], len: usize, segment: Option<u16>) -> usize {
    let mut bytes = hex("60 00 00 00 00 00 3b 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02");
    bytes[6] = next_header;
    bytes.extend_from_slice(payload);
    bytes.resize(len, 0);
    bytes[4..6].copy_from_slice(&((len - 40) as u16).to_be_bytes());
    let mut packet = PacketMut::new(&mut bytes, 0..len).unwrap();
    packet.set_segment_size(segment.and_then(NonZeroU16::new));
    length_on_the_wire(packet.as_slice(), packet.segment_size())
}

#[test]
fn tun_32_a_joined_packet_counts_by_its_segments() {
    let mut tcp = vec![0; 20];
    tcp[12] = 0x80;
    assert_eq!(length_of(6, &tcp, 60_000, None), 60_000);
    assert_eq!(length_of(6, &tcp, 60_000, Some(1400)), 40 + 32 + 1400);
    assert_eq!(length_of(17, &[0; 8], 60_000, Some(1232)), 40 + 8 + 1232);
    // Behind destination options.
    let mut behind = vec![6, 0, 0, 0, 0, 0, 0, 0];
    behind.extend_from_slice(&tcp);
    assert_eq!(length_of(60, &behind, 60_000, Some(1400)), 40 + 8 + 32 + 1400);
    // Never more than there is; whole where no header is found.
    assert_eq!(length_of(17, &[0; 8], 100, Some(1232)), 100);
    assert_eq!(length_of(58, &[0; 8], 60_000, Some(1232)), 60_000);
    assert_eq!(length_of(6, &[], 45, Some(1)), 45);
}
