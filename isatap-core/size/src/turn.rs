//! What every loop does between two sleeps.

use isatap_core::capacity::Capacity;
use isatap_core::datapath::Remember;
use isatap_core::engine::{Event, Machine, Transmit, Verdict, Via};
use isatap_core::interface::Interface;
use isatap_core::node::Node;
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::time::Instant;

use crate::board;

/// Does what is due, sends what the machine wants sent, and hands on its events.
pub fn serve<M: Machine>(
    machine: &mut M,
    packet: &mut PacketMut<'_>,
    mut on_event: impl FnMut(&mut M, Instant, &Event),
) {
    let now = board::now();
    if machine.poll_timeout().is_some_and(|due| due <= now) {
        machine.handle_timeout(now, &mut board::entropy);
    }
    while let Ok(Some(transmit)) = machine.poll_transmit(packet) {
        match transmit {
            Transmit { outer: Some(outer), .. } => board::send(&outer, packet),
            _ => board::deliver(packet.as_slice()),
        }
    }
    while let Some(event) = machine.poll_event() {
        on_event(machine, now, &event);
        board::apply(&event);
    }
}

/// A packet from the network for this host, and one of this host's.
pub fn host(machine: &mut impl Machine, packet: &mut PacketMut<'_>) {
    let now = board::now();
    packet.clear();
    if board::receive(packet) {
        let verdict = machine.decapsulate_ipv4(now, packet);
        act(&verdict, packet);
    }
    packet.clear();
    if board::receive(packet) {
        let verdict = machine.encapsulate(now, packet);
        act(&verdict, packet);
    }
}

/// The same of a node that forwards between its tunnel and the LAN `lan`.
pub fn router<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember>(
    node: &mut Node<I, C, LINKS, D>,
    lan: LinkId,
    packet: &mut PacketMut<'_>,
) {
    let now = board::now();
    packet.clear();
    if board::receive(packet) {
        let verdict = match Outer::pull(packet) {
            Ok(outer) => node.forward(now, &outer, packet),
            Err(reason) => node.refused(now, reason),
        };
        act(&verdict, packet);
    }
    packet.clear();
    if board::receive(packet) {
        let verdict = node.forward_native(now, lan, packet);
        act(&verdict, packet);
    }
}

/// Sends a packet where the verdict says. What would wait is dropped.
pub fn act(verdict: &Verdict, packet: &mut PacketMut<'_>) {
    match verdict {
        Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
            board::send(outer, packet);
        }
        Verdict::Native { next_hop, .. } | Verdict::Answer { via: Via::Native { next_hop, .. }, .. } => {
            board::send_native(next_hop, packet.as_slice());
        }
        Verdict::Deliver { .. } | Verdict::Answer { via: Via::Host { .. }, .. } => board::deliver(packet.as_slice()),
        _ => {} // taken by the machine, or dropped and counted
    }
}
