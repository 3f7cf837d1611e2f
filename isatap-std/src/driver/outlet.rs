//! Where packets leave a driver: its sockets and its devices, what is recorded on the way, and
//! where they are counted.

use super::tap::Tap;
use super::{Device, IoCounters, OuterSocket};
use crate::offload::{Coalescer, VirtioHeader};
use crate::proto41_socket::{Bound, OuterPacket};
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;

/// The sockets and devices.
#[derive(Debug)]
pub(super) struct Outlet<S, D> {
    pub(super) socket: S,
    pub(super) ports: Vec<LinkDevice<D>>,
    pub(super) tap: Option<Tap>,
    pub(super) counters: IoCounters,
    /// Of packets that are no port's.
    pub(super) unclaimed: Counters<u64>,
}

/// A link of the machine's and the device that stands for it.
#[derive(Debug)]
pub(super) struct LinkDevice<D> {
    pub(super) link: LinkId,
    pub(super) device: D,
    pub(super) coalescer: Coalescer,
    pub(super) counters: Counters<u64>,
    pub(super) bound: Bound,
}

impl<S, D> Outlet<S, D> {
    /// Sockets, and no devices.
    pub(super) fn new(socket: S) -> Self {
        Self { socket, ports: Vec::new(), tap: None, counters: IoCounters::default(), unclaimed: Counters::ZERO }
    }

    /// The link that a packet from the network is for.
    pub(super) fn addressee<M: Machine>(&self, machine: &M, outer: &Outer, packet: &[u8]) -> Option<LinkId> {
        match &self.ports[..] {
            [only] => Some(only.link),
            _ => machine.addressee(outer, packet),
        }
    }

    /// How packets of `link` leave and come.
    pub(super) fn bound_of(&self, link: LinkId) -> Bound {
        self.ports.iter().find(|port| port.link == link).map(|port| port.bound).unwrap_or_default()
    }

    /// Whether a packet came by a device that its link takes packets from. Sockets of one device and of
    /// all have a copy each of what came by that device: one of them counts.
    pub(super) fn came_by<M: Machine>(&self, interface: u32, machine: &M, outer: &Outer, packet: &[u8]) -> bool {
        if self.ports.iter().all(|port| port.bound.interface == interface) {
            return true;
        }
        match self.addressee(machine, outer, packet) {
            Some(link) => self.bound_of(link).interface == interface,
            // Nobody's is counted once, too.
            None => interface == 0 || self.ports.iter().all(|port| port.bound.interface != 0),
        }
    }

    /// Where packets of `link` are counted.
    pub(super) fn claimed(&mut self, link: Option<LinkId>) -> &mut Counters<u64> {
        let port = match &mut self.ports[..] {
            [only] => Some(only),
            ports => ports.iter_mut().find(|port| Some(port.link) == link),
        };
        port.map_or(&mut self.unclaimed, |port| &mut port.counters)
    }
}

impl<S: OuterSocket, D: Device> Outlet<S, D> {
    /// Sends or delivers what a verdict says that the buffer holds; by the device of `fallback`
    /// what is for a link without one. Drops are counted by the machine.
    pub(super) fn carry_out(&mut self, verdict: &Verdict, packet: &PacketMut<'_>, fallback: Option<LinkId>) {
        match verdict {
            Verdict::Tunnel { link, outer } | Verdict::Answer { via: Via::Tunnel { link, outer }, .. } => {
                self.send(&OuterPacket::new(*outer, packet.as_slice()).bound(self.bound_of(*link)));
            }
            Verdict::Deliver { link, .. }
            | Verdict::Native { link, .. }
            | Verdict::Answer { via: Via::Host { link } | Via::Native { link, .. }, .. } => {
                self.deliver(*link, packet.as_slice(), fallback);
            }
            _ => {}
        }
    }

    /// Gives a packet to the kernel by the device of `link`, else by that of `fallback`.
    pub(super) fn deliver(&mut self, link: LinkId, packet: &[u8], fallback: Option<LinkId>) {
        let device = |link| self.ports.iter().find(|port| Some(port.link) == link).map(|port| &port.device);
        match device(Some(link)).or_else(|| device(fallback)) {
            Some(device) if device.write(packet, &VirtioHeader::default()).is_err() => {
                self.counters.device_write_failed += 1;
            }
            Some(_) => {}
            None => self.counters.no_device += 1,
        }
    }

    /// Sends a packet that is not worth a batch.
    pub(super) fn send(&mut self, datagram: &OuterPacket<'_>) {
        if let Some(tap) = &mut self.tap {
            tap.sent(datagram);
        }
        let failed = &mut self.counters.send_failed;
        self.socket.send(std::slice::from_ref(datagram), &mut |_, _| *failed += 1);
    }
}
