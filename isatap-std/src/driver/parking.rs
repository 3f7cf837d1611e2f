//! Packets that wait until a peer or a neighbour has answered.

use super::outbound::Outgoing;
use super::{Device, Driver, OuterSocket, Outlet};
use crate::offload::{BUFFER_LEN, VirtioHeader};
use isatap_core::engine::{Machine, Ticket, Verdict, WaitEnd};
use isatap_core::packet::{LinkId, PacketMut};

/// How a packet that waits came, and goes again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// From the device of this link.
    Device { link: LinkId, header: VirtioHeader },
    /// From the sockets.
    Socket,
}

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Hands in again what waited for a ticket, or drops it.
    pub(super) fn end_wait(&mut self, ticket: Ticket, end: WaitEnd) {
        if let WaitEnd::Drop(_) = end {
            let lost = self.parked.discard(ticket);
            self.counters.not_kept += u64::try_from(lost).unwrap_or_default();
            return;
        }
        let now = self.clock.now();
        loop {
            let Some(buffer) = self.slab.get_mut(..BUFFER_LEN) else { return };
            let mut packet = PacketMut::empty(buffer);
            let Some(way) = self.parked.take(ticket, &mut packet) else { return };
            let (verdict, fallback) = match way {
                Way::Device { link, .. } => (self.machine.encapsulate(now, &mut packet), Some(link)),
                Way::Socket => (self.machine.decapsulate(now, &mut packet), None),
            };
            match (verdict, way) {
                // One wait may follow another.
                (Verdict::Hold { ticket }, way) => {
                    let lost = self.parked.park(ticket, way, &packet);
                    self.counters.not_kept += u64::try_from(lost).unwrap_or_default();
                }
                (Verdict::Tunnel { outer, .. }, Way::Device { header, .. }) => {
                    let outgoing = Outgoing::new(0, &packet, header, outer);
                    self.outgoing.clear();
                    self.outgoing.push(outgoing);
                    self.send_batch();
                }
                (verdict, _) => {
                    let mut outlet = Outlet {
                        socket: &self.socket,
                        ports: &self.ports,
                        tap: &mut self.tap,
                        counters: &mut self.counters,
                        fallback,
                    };
                    outlet.carry_out(&verdict, &packet);
                }
            }
        }
    }
}
