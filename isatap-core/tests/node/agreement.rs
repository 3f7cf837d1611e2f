//! The `&self` functions and the node that owns the data decide alike.

use std::num::NonZeroU16;

use isatap_core::engine::{Machine, Verdict};
use isatap_core::node::NodeConfig;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use proptest::prelude::*;

use crate::support::traffic;
use crate::support::*;

/// Two answers to the same packet. What the datapath leaves to the owner must
/// be untouched, and must be something that needs an owner.
fn agree(packet: &[u8], plain: &Outcome, owner: &Outcome) -> Result<(), TestCaseError> {
    if let Verdict::Punt { .. } = plain.0 {
        prop_assert_eq!(&plain.1, packet, "punted bytes are untouched");
        // Neighbor Discovery, which its link's machine may pass on; an echo
        // for a node that answers itself; what is answered or at its limit.
        let inner = if packet[0] >> 4 == 4 { &packet[20..] } else { packet };
        let is_neighbor_discovery = inner[6] == 58 && (133..=137).contains(&inner[40]);
        let needs_owner = is_neighbor_discovery || !matches!(owner.0, Verdict::Tunnel { .. } | Verdict::Native { .. });
        prop_assert!(needs_owner, "{:?}", owner.0);
        return Ok(());
    }
    prop_assert_eq!(plain.0, owner.0);
    if !matches!(plain.0, Verdict::Drop(_)) {
        prop_assert_eq!(&plain.1, &owner.1);
    }
    Ok(())
}

fn measured(bytes: &[u8], segment: u16, call: impl FnOnce(&mut PacketMut<'_>) -> Verdict) -> Outcome {
    with(bytes, |packet| {
        packet.set_segment_size(NonZeroU16::new(segment));
        call(packet)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn outer_packets_meet_the_same_end_in_a_snapshot(
        outer in traffic::outer_packet(), answer_echo: bool, strict: bool,
        segment in prop_oneof![9 => Just(0_u16), 1 => 1_u16..1400],
    ) {
        let mut config = NodeConfig::DEFAULT;
        config.answer_echo = answer_echo;
        let mut border = border_of(config, SITE4);
        if strict {
            border.node.switches_mut(border.tunnel).unwrap().ingress = isatap_core::datapath::IngressFilter::Strict;
        }
        let snapshot = border.node.datapath().clone();
        let owner = measured(&outer, segment, |packet| border.node.clone().decapsulate(NOW, packet));
        agree(&outer, &measured(&outer, segment, |packet| snapshot.decapsulate(packet)), &owner)?;
        agree(&outer, &measured(&outer, segment, |packet| border.node.datapath().decapsulate(packet)), &owner)?;
        let owner = measured(&outer, segment, |packet| border.node.forward(NOW, packet));
        agree(&outer, &measured(&outer, segment, |packet| snapshot.forward(packet, 0)), &owner)?;
        balanced(&border.node);
    }

    #[test]
    fn inner_packets_meet_the_same_end_in_a_snapshot(
        inner in traffic::inner(), link in prop::option::of(0_u8..4),
        segment in prop_oneof![9 => Just(0_u16), 1 => 1_u16..1400],
    ) {
        let mut border = border();
        let snapshot = border.node.datapath().clone();
        let bytes = inner.bytes();
        let bound = |packet: &mut PacketMut<'_>| packet.set_link(link.map(LinkId));
        let plain = measured(&bytes, segment, |packet| { bound(packet); snapshot.encapsulate(packet, 0) });
        let owner = measured(&bytes, segment, |packet| { bound(packet); border.node.encapsulate(NOW, packet) });
        agree(&bytes, &plain, &owner)?;
        balanced(&border.node);
    }

    #[test]
    fn batches_equal_singles(
        outers in prop::collection::vec(traffic::outer_packet(), 0..5),
        inners in prop::collection::vec(traffic::inner(), 0..5),
        first: u16,
    ) {
        let snapshot = border().node.datapath().clone();
        let mut buffers: Vec<Vec<u8>> = outers.iter().map(|outer| [&[0; HEADROOM][..], outer].concat()).collect();
        let mut packets: Vec<_> = buffers.iter_mut().map(|buffer| {
            let range = HEADROOM..buffer.len();
            PacketMut::new(buffer, range).unwrap()
        }).collect();
        // One verdict less than packets: the last one is left alone.
        let mut verdicts = vec![Verdict::Consumed { link: LinkId(77) }; outers.len().saturating_sub(1)];
        snapshot.decapsulate_batch(&mut packets, &mut verdicts);
        for ((outer, packet), verdict) in outers.iter().zip(&packets).zip(&verdicts) {
            prop_assert_eq!(&(*verdict, packet.as_slice().to_vec()), &with(outer, |packet| snapshot.decapsulate(packet)));
        }
        if let (Some(last), Some(packet)) = (outers.last(), packets.last()) {
            prop_assert_eq!(last.as_slice(), packet.as_slice());
        }

        let mut buffers: Vec<Vec<u8>> = inners.iter().map(|inner| [&[0; HEADROOM][..], &inner.bytes()].concat()).collect();
        let mut packets: Vec<_> = buffers.iter_mut().map(|buffer| {
            let range = HEADROOM..buffer.len();
            PacketMut::new(buffer, range).unwrap()
        }).collect();
        let mut verdicts = vec![Verdict::Consumed { link: LinkId(77) }; inners.len()];
        let mut identification = first;
        snapshot.encapsulate_batch(&mut packets, &mut verdicts, &mut identification);
        let mut expected = first;
        for ((inner, packet), verdict) in inners.iter().zip(&packets).zip(&verdicts) {
            let single = with(&inner.bytes(), |packet| snapshot.encapsulate(packet, expected));
            prop_assert_eq!(&(*verdict, packet.as_slice().to_vec()), &single);
            if matches!(single.0, Verdict::Tunnel { outer, .. } if !outer.dont_fragment) {
                expected = expected.wrapping_add(1);
            }
        }
        prop_assert_eq!(identification, expected);
    }
}

#[test]
fn the_generation_changes_with_whatever_a_snapshot_shows() {
    let mut border = border();
    let mut last = border.node.generation();
    let mut changed = |node: &Any| {
        let now = node.generation();
        let result = now != last;
        last = now;
        result
    };
    assert!(!changed(&border.node));
    route(&mut border.node, "2001:db8:e::/48", border.tunnel, "2001:db8:0:9::2");
    assert!(changed(&border.node));
    border.node.switches_mut(border.lan).unwrap().forwarding = false;
    assert!(changed(&border.node));
    border.node.add_known_prefix("2001:db8::/32".parse().unwrap()).unwrap();
    assert!(changed(&border.node));
    border.node.with_interface(NOW, border.isatap, |_, _| ());
    assert!(changed(&border.node));
    // Packets alone change nothing that a snapshot shows.
    send(&mut border.node, &Inner::of("2001:db8:0:9::1", "2001:db8:f::1"));
    receive(&mut border.node, &Inner::of("2001:db8:f::1", "2001:db8:0:9::1").from(FAR4, NEAR4));
    assert!(!changed(&border.node));
}

#[test]
fn what_threads_counted_and_sent_is_merged() {
    let mut border = border();
    let mut counted = isatap_core::drop_reason::Counters::<u64>::ZERO;
    (counted.entered, counted.tunnelled) = (3, 2);
    counted.count(isatap_core::drop_reason::DropReason::HopLimit);
    border.node.merge_counters(&counted);
    balanced(&border.node);
    border.node.note_sent(NOW, border.tunnel, v4(FAR4));
    let Some(isatap_core::node::AnyInterface::Configured(tunnel)) = border.node.interface(border.tunnel) else {
        unreachable!()
    };
    assert_eq!(tunnel.remote_reachability(), Some(isatap_core::nd::neighbor::Reachability::Delay));
}
