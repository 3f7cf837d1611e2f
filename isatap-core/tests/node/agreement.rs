//! The `&self` functions and the node that owns the data decide alike.

use std::net::Ipv6Addr;
use std::num::NonZeroU16;

use isatap_core::capacity::Standard;
use isatap_core::datapath::{Datapath, Switches};
use isatap_core::engine::{Entropy, Machine, Verdict};
use isatap_core::interface::{Context, Control, Interface};
use isatap_core::link::{InterfaceAddress, NativeLink};
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use proptest::prelude::*;

use crate::support::traffic;
use crate::support::*;

/// Two answers to the same packet, of which `inner` is the IPv6 part. What the
/// datapath leaves to the owner must be something that needs an owner.
fn agree(inner: &[u8], plain: &Outcome, owner: &Outcome) -> Result<(), TestCaseError> {
    if let Verdict::Punt { .. } = plain.0 {
        // Neighbor Discovery, which its link's machine may pass on; an echo
        // for a node that answers itself; what is answered or at its limit.
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

/// What the datapath makes of an outer packet, and what its owner makes of the
/// same. What is punted is left as it came, but for its padding and the
/// congestion mark of the outer header (`TUN-52`); handed in again behind the
/// same header, it meets the end of the packet that came.
fn agree_on_outer(
    outer: &[u8],
    segment: u16,
    plain: impl FnOnce(&Outer, &mut PacketMut<'_>) -> Verdict,
    node: &mut Any,
    owner: impl Fn(&mut Any, &Outer, &mut PacketMut<'_>) -> Verdict,
) -> Result<(), TestCaseError> {
    let (mut header, mut behind) = (None, Vec::new());
    with(outer, |packet| {
        header = Outer::pull(packet).ok();
        behind = packet.as_slice().to_vec();
        Verdict::Consumed { link: LinkId(77) }
    });
    // Which header cannot be taken off is a test of its own.
    let Some(header) = header else { return Ok(()) };
    let plain = measured(&behind, segment, |packet| plain(&header, packet));
    let before = node.clone();
    let owned = measured(&behind, segment, |packet| owner(node, &header, packet));
    agree(&behind, &plain, &owned)?;
    if let Verdict::Punt { .. } = plain.0 {
        let mut left = behind[..plain.1.len()].to_vec();
        prop_assert_eq!(left.len(), 40 + usize::from(u16::from_be_bytes([left[4], left[5]])));
        left[1] = left[1] & 0xcf | plain.1[1] & 0x30;
        prop_assert_eq!(&plain.1, &left);
        let again = measured(&plain.1, segment, |packet| owner(&mut before.clone(), &header, packet));
        prop_assert_eq!(again, owned);
    }
    Ok(())
}

fn measured(bytes: &[u8], segment: u16, call: impl FnOnce(&mut PacketMut<'_>) -> Verdict) -> Outcome {
    with(bytes, |packet| {
        packet.set_segment_size(NonZeroU16::new(segment));
        call(packet)
    })
}

/// Who changes a link of a copy tells nobody.
#[test]
fn a_datapath_knows_the_addresses_that_its_link_is_given() {
    let mut datapath: Datapath<NativeLink<Standard>, Standard, 1> = Datapath::new();
    let link = datapath.add(NativeLink::new(1500), Switches::DEFAULT).unwrap();
    let address = v6("2001:db8:0:8::1");
    assert!(!datapath.is_local(link, &address));
    let native = &mut datapath.port_mut(link).unwrap().interface;
    native.add_address(InterfaceAddress { address, prefix_length: 64 }).unwrap();
    assert!(datapath.is_local(link, &address));
}

/// A native link that is given an address by its own machine.
struct Late(NativeLink<Standard>);

const LATE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 8, 0, 0, 0, 1);

impl Control<Standard> for Late {
    fn handle_timeout(&mut self, _: &mut Context<'_, Standard>, _: &mut dyn Entropy) {
        self.0.add_address(InterfaceAddress { address: LATE, prefix_length: 64 }).unwrap();
    }
}

impl Interface<Standard> for Late {
    type Link = NativeLink<Standard>;

    fn link(&self) -> &Self::Link {
        &self.0
    }

    fn link_mut(&mut self) -> &mut Self::Link {
        &mut self.0
    }

    fn control(&self) -> &dyn Control<Standard> {
        self
    }

    fn control_mut(&mut self) -> &mut dyn Control<Standard> {
        self
    }
}

#[test]
fn a_node_knows_the_addresses_that_a_machine_gives_its_link() {
    let mut node: Node<Late, Standard, 1> = Node::new(NodeConfig::DEFAULT);
    let link = node.add(Late(NativeLink::new(1500)), Switches::DEFAULT).unwrap();
    assert!(!node.datapath().is_local(link, &LATE));
    node.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
    assert!(node.datapath().is_local(link, &LATE));
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
        let copy = || border.node.clone();
        let decapsulate = |node: &mut Any, outer: &Outer, packet: &mut PacketMut<'_>| node.decapsulate(NOW, outer, packet);
        agree_on_outer(&outer, segment, |outer, packet| snapshot.decapsulate(outer, packet), &mut copy(), decapsulate)?;
        let own = border.node.datapath();
        agree_on_outer(&outer, segment, |outer, packet| own.decapsulate(outer, packet), &mut copy(), decapsulate)?;
        let forward = |node: &mut Any, outer: &Outer, packet: &mut PacketMut<'_>| node.forward(NOW, outer, packet);
        agree_on_outer(&outer, segment, |outer, packet| snapshot.forward(outer, packet, 0), &mut border.node, forward)?;
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
        if let Verdict::Punt { .. } = plain.0 {
            prop_assert_eq!(&plain.1, &bytes, "left as it came");
        }
        balanced(&border.node);
    }

    /// `TUN-7`: who sends what may be fragmented gives it its identification.
    #[test]
    fn tun_7_the_identification_given_is_that_of_what_may_be_fragmented(inner in traffic::inner(), given: u16) {
        let snapshot = border().node.datapath().clone();
        let (verdict, bytes) = with(&inner.bytes(), |packet| snapshot.encapsulate(packet, given));
        if let Verdict::Tunnel { outer, .. } = verdict {
            prop_assert_eq!(outer.identification, if outer.dont_fragment { 0 } else { given });
            prop_assert_eq!(seen(&bytes).id, outer.identification);
        }
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
