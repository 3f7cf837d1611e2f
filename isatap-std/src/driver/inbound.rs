//! From the sockets to the devices.

use super::parking::Way;
use super::{Device, Driver, OuterSocket};
use crate::proto41_socket::Arrival;
use isatap_core::engine::{Machine, Verdict};
use isatap_core::packet::{LinkId, PacketMut};
use std::ops::Range;

/// What one packet of a batch became that goes to a device.
#[derive(Clone, Debug)]
pub(super) struct Delivered {
    number: usize,
    inner: Range<usize>,
    link: LinkId,
}

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Takes a batch of packets from the sockets through the machine to the devices.
    pub(super) fn inbound(&mut self) {
        if self.out.socket.receive(&mut self.received).is_err() {
            self.out.counters.receive_failed += 1;
            return;
        }
        let now = self.clock.now();
        self.delivered.clear();
        for number in 0..self.received.len() {
            let Some((buffer, Arrival { outer, range, interface, refused })) = self.received.packet_mut(number) else {
                break;
            };
            let packet = buffer.get(range.clone()).unwrap_or_default();
            let only = self.out.only(&*self.machine, *interface, outer, packet);
            if let Some(tap) = &mut self.out.tap {
                tap.record(outer, &[packet]);
            }
            let Ok(mut packet) = PacketMut::new(buffer, range.clone()) else { continue };
            packet.set_link(only);
            let verdict = match *refused {
                Some(reason) => self.machine.refused(now, reason),
                None => self.machine.decapsulate(now, outer, &mut packet),
            };
            self.shorter.heed(&mut *self.machine, &mut self.outgoing);
            match verdict {
                Verdict::Drop(_) => {}
                Verdict::Deliver { link, .. } => {
                    // By which device it came is not known of a socket that takes what comes by all others.
                    if *interface != 0 || self.out.takes_all() {
                        self.shorter.delivered(now, *interface, &*self.machine);
                    }
                    self.delivered.push(Delivered { number, inner: packet.range(), link });
                }
                Verdict::Hold { ticket } => {
                    let lost = self.parked.park(ticket, Way::Socket(*outer, *interface), &packet);
                    self.out.counters.not_kept += u64::try_from(lost).unwrap_or_default();
                }
                verdict => {
                    self.out.carry_out(&verdict, &packet, None);
                }
            }
            let packet = buffer.get(range.clone()).unwrap_or_default();
            let link = verdict.link().or_else(|| self.out.addressee(&*self.machine, *interface, outer, packet));
            if let Verdict::Drop(reason) = verdict {
                self.heard.refuse(now, link, reason, outer.source, packet);
            }
            self.out.claimed(link).count_verdict(&verdict);
        }
        let (delivered, received) = (&self.delivered, &self.received);
        let bytes = |packet: &Delivered| received.packet(packet.number, packet.inner.clone());
        for port in &mut self.out.ports {
            for (place, packet) in delivered.iter().enumerate().filter(|(_, packet)| packet.link == port.link) {
                port.coalescer.push(place, bytes(packet));
            }
            for joined in port.coalescer.joined() {
                let at = |place: usize| delivered.get(place).map(bytes).unwrap_or_default();
                if port.device.write_joined(&joined, &at).is_err() {
                    self.out.counters.device_write_failed += 1;
                }
            }
            port.coalescer.clear();
        }
        let known = |link| self.out.ports.iter().any(|port| port.link == link);
        let lost = delivered.iter().filter(|packet| !known(packet.link)).count();
        self.out.counters.no_device += u64::try_from(lost).unwrap_or_default();
    }
}
