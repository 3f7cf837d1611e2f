//! Packets that wait until a peer or a neighbour has answered.

use super::outbound::Outgoing;
use super::{Device, Driver, OuterSocket};
use crate::offload::{BUFFER_LEN, VirtioHeader};
use isatap_core::engine::{Machine, Ticket, Verdict, WaitEnd};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::wire::icmpv6;

/// How a packet that waits came, and goes again.
#[derive(Clone, Copy, Debug)]
pub(super) enum Way {
    /// From the device of this link.
    Device { link: LinkId, header: VirtioHeader },
    /// From the sockets, behind this header, by the device of this interface index.
    Socket(Outer, u32),
}

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Hands in again what waited for a ticket of `link`'s, or drops it.
    pub(super) fn end_wait(&mut self, link: LinkId, ticket: Ticket, end: WaitEnd) {
        if let WaitEnd::Drop(_) = end {
            self.give_up(ticket);
            return;
        }
        let now = self.clock.now();
        loop {
            let Some(buffer) = self.slab.get_mut(..BUFFER_LEN) else { return };
            let mut packet = PacketMut::empty(buffer);
            let Some(way) = self.parked.take(ticket, &mut packet) else { return };
            // What a Teredo client held of the network's was let in then.
            if matches!(way, Way::Socket(Outer { ports: Some(_), .. }, _)) {
                self.out.deliver(link, packet.as_slice(), None);
                continue;
            }
            let (verdict, fallback, of_link) = match way {
                Way::Device { link, .. } => (self.machine.encapsulate(now, &mut packet), Some(link), Some(link)),
                Way::Socket(outer, interface) => {
                    let link = self.out.addressee(&*self.machine, interface, &outer, packet.as_slice());
                    (self.machine.decapsulate(now, &outer, &mut packet), None, link)
                }
            };
            self.out.claimed(of_link).count_verdict(&verdict);
            match (verdict, way) {
                // One wait may follow another.
                (Verdict::Hold { ticket }, way) => {
                    let lost = self.parked.park(ticket, way, &packet);
                    self.out.counters.not_kept += u64::try_from(lost).unwrap_or_default();
                }
                (Verdict::Tunnel { link, outer }, Way::Device { header, .. }) => {
                    let outgoing = Outgoing::new(0, &packet, header, (outer, link, self.out.bound_of(link)));
                    self.outgoing.clear();
                    self.outgoing.push(outgoing);
                    self.send_batch();
                }
                (verdict, _) => {
                    self.out.carry_out(&verdict, &packet, fallback);
                }
            }
        }
    }

    /// Drops what waited for a ticket. Who sent it from this side is told that nobody
    /// answers there, if there is an address to tell it from.
    fn give_up(&mut self, ticket: Ticket) {
        loop {
            let Some(buffer) = self.slab.get_mut(..BUFFER_LEN) else { return };
            let mut packet = PacketMut::empty(buffer);
            let Some(way) = self.parked.take(ticket, &mut packet) else { return };
            self.out.counters.not_kept += 1;
            let (Way::Device { link, .. }, Some(own)) = (way, self.unreachable_from) else { continue };
            let unreachable = icmpv6::ErrorKind::Unreachable(icmpv6::Unreachable::Address);
            // What must not be answered is dropped in silence.
            if icmpv6::error_in_place(&mut packet, own, unreachable).is_ok() {
                self.out.deliver(link, packet.as_slice(), None);
            }
        }
    }
}
