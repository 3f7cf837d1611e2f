//! A machine with UDP ports, and the packets that wait in it.

use std::net::Ipv6Addr;

use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Event, Machine, Ticket, Transmit, Verdict, Via};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::time::Instant;

use super::super::ip::{Ipv4, Ipv6};
use super::super::isatap::describe;
use super::super::node::Outbox;
use super::super::rng::Rng;
use super::TEREDO_LINK;

/// Room for the longest packet that a machine writes of its own accord.
const OWN_PACKET: usize = 1280 + 28;

/// Packets that wait for a ticket. A caller of the core keeps them.
#[derive(Debug, Default)]
struct Held {
    packets: Vec<(Ticket, bool, Vec<u8>)>,
}

impl Held {
    fn take(&mut self, ticket: Ticket) -> Vec<(bool, Vec<u8>)> {
        let (taken, rest) = self.packets.drain(..).partition(|(of, _, _)| *of == ticket);
        self.packets = rest;
        taken.into_iter().map(|(_, inbound, packet)| (inbound, packet)).collect()
    }
}

/// What a client, a server and a relay have in common.
pub(super) struct Station<M> {
    pub(super) machine: M,
    held: Held,
    /// UDP ports that are open.
    ports: Vec<u16>,
    /// Where native packets go; `None`: to the programs of this node.
    native: Option<LinkId>,
    /// The next router there; `None`: all destinations are neighbours.
    pub(super) gateway: Option<Ipv6Addr>,
}

impl<M: Machine> Station<M> {
    pub(super) fn new(machine: M, port: u16, native: Option<LinkId>) -> Self {
        Station { machine, held: Held::default(), ports: vec![port], native, gateway: None }
    }

    pub(super) fn receive(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        let port = Ipv4::parse(bytes).and_then(|packet| packet.payload.get(2..4).map(<[u8]>::to_vec));
        let open = port.is_some_and(|port| self.ports.iter().any(|open| open.to_be_bytes() == port[..]));
        if !open {
            return out.dropped(DropReason::NotAddressed, bytes);
        }
        let mut buffer = vec![0; HEADROOM + bytes.len() + OWN_PACKET];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let Ok(mut packet) = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()) else { return };
        let verdict = self.machine.decapsulate_ipv4(now, &mut packet);
        self.act(verdict, true, bytes, packet.as_slice(), out);
        self.drain(now, out);
    }

    pub(super) fn send(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        self.encapsulate(now, bytes, out);
        self.drain(now, out);
    }

    fn encapsulate(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        let mut buffer = vec![0; HEADROOM + bytes.len() + OWN_PACKET];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let Ok(mut packet) = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()) else { return };
        let verdict = self.machine.encapsulate(now, &mut packet);
        self.act(verdict, false, bytes, packet.as_slice(), out);
    }

    fn act(&mut self, verdict: Verdict, inbound: bool, original: &[u8], now: &[u8], out: &mut Outbox) {
        match verdict {
            Verdict::Drop(reason) => out.dropped(reason, original),
            Verdict::Hold { ticket } => self.held.packets.push((ticket, inbound, now.to_vec())),
            Verdict::Consumed { .. } if inbound => out.decapsulated(original, Some("taken by the node itself")),
            Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
                out.tunnel(&outer, now);
            }
            Verdict::Deliver { .. } => {
                out.decapsulated(original, None);
                self.deliver(now, out);
            }
            Verdict::Answer { via: Via::Host { .. }, .. } => self.deliver(now, out),
            _ => {}
        }
    }

    fn deliver(&self, packet: &[u8], out: &mut Outbox) {
        let destination = Ipv6::parse(packet).map(|header| header.destination);
        match (self.native, destination) {
            (Some(link), Some(destination)) => {
                out.native(link, self.gateway.unwrap_or(destination), &forwarded(packet))
            }
            _ => out.deliver(TEREDO_LINK, packet),
        }
    }

    pub(super) fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.machine.handle_timeout(now, entropy);
        self.drain(now, out);
    }

    pub(super) fn drain(&mut self, now: Instant, out: &mut Outbox) {
        let mut buffer = [0; HEADROOM + OWN_PACKET];
        let mut packet = PacketMut::empty(&mut buffer);
        loop {
            while let Ok(Some(Transmit { outer: Some(outer), .. })) = self.machine.poll_transmit(&mut packet) {
                out.tunnel(&outer, packet.as_slice());
            }
            let Some(event) = self.machine.poll_event() else { break };
            match event {
                Event::Released { ticket, .. } => {
                    for (inbound, packet) in self.held.take(ticket) {
                        if inbound { self.deliver(&packet, out) } else { self.encapsulate(now, &packet, out) }
                    }
                }
                Event::Abandoned { ticket, reason, .. } => {
                    for (_, packet) in self.held.take(ticket) {
                        out.dropped(reason, &packet);
                    }
                }
                Event::OpenPort { port, .. } => self.ports.push(port),
                Event::ClosePort { port, .. } => self.ports.retain(|open| *open != port),
                event => out.event(|| describe(&event)),
            }
        }
    }
}

/// A router's part: one hop less.
pub(super) fn forwarded(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if let Some(hop_limit) = packet.get_mut(7) {
        *hop_limit = hop_limit.saturating_sub(1);
    }
    packet
}
