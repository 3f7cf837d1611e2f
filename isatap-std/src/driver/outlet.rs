//! Where packets leave a driver: its sockets and its devices, what is recorded on the way, and
//! where they are counted.

use super::tap::Tap;
use super::{Carriage, Device, IoCounters, OuterSocket, Reserved};
use crate::offload::{Coalescer, VirtioHeader};
use crate::proto41_socket::{Bound, OuterPacket};
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use std::net::Ipv4Addr;

/// The sockets and devices.
#[derive(Debug)]
pub(super) struct Outlet<S, D> {
    pub(super) socket: S,
    pub(super) ports: Vec<LinkDevice<D>>,
    pub(super) reserved: Vec<Reserved>,
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
    pub(super) carried: Carriage,
    pub(super) bound: Bound,
    /// Its device had one packet when it was read last.
    pub(super) one_by_one: bool,
    /// Outer packets come to these.
    pub(super) addresses: Vec<Ipv4Addr>,
}

impl<S, D> Outlet<S, D> {
    /// Sockets, and no devices.
    pub(super) fn new(socket: S) -> Self {
        let (ports, reserved, counters) = (Vec::new(), Vec::new(), IoCounters::default());
        Self { socket, ports, reserved, tap: None, counters, unclaimed: Counters::ZERO }
    }

    /// Whether a link may take a packet that came by the device of this interface index.
    fn hears(&self, port: &LinkDevice<D>, interface: u32, outer: &Outer) -> bool {
        port.bound.interface == interface
            || port.bound.interface == 0
                && !self.reserved.iter().any(|reserved| self.is_kept(reserved, interface, outer))
    }

    /// Whether it is for a link that is bound to the device and cannot take it yet, or no longer.
    fn is_kept(&self, reserved: &Reserved, interface: u32, outer: &Outer) -> bool {
        let is_there = |port: &LinkDevice<D>| Some(port.link) == reserved.link && port.bound.interface == interface;
        reserved.is_for(interface, outer) && !self.ports.iter().any(is_there)
    }

    /// The link that a packet from the network is for that came by the device of this interface index.
    pub(super) fn addressee<M: Machine>(
        &self,
        machine: &M,
        interface: u32,
        outer: &Outer,
        packet: &[u8],
    ) -> Option<LinkId> {
        match &self.ports[..] {
            [only] => self.hears(only, interface, outer).then_some(only.link),
            ports => {
                let hears = |link| ports.iter().any(|port| port.link == link && self.hears(port, interface, outer));
                machine.addressee(outer, packet, &hears)
            }
        }
    }

    /// The only link that may admit it, because some links do not listen to this device. [`LinkId::NULL`]: no link takes
    /// it. `None`: all links may be asked.
    pub(super) fn only<M: Machine>(&self, machine: &M, interface: u32, outer: &Outer, packet: &[u8]) -> Option<LinkId> {
        let all_hear = self.ports.iter().all(|port| self.hears(port, interface, outer));
        (!all_hear).then(|| self.addressee(machine, interface, outer, packet).unwrap_or(LinkId::NULL))
    }

    /// Whether no device is any link's alone.
    pub(super) fn takes_all(&self) -> bool {
        self.reserved.is_empty() && self.ports.iter().all(|port| port.bound.interface == 0)
    }

    /// How packets of `link` leave and come.
    pub(super) fn bound_of(&self, link: LinkId) -> Bound {
        self.ports.iter().find(|port| port.link == link).map(|port| port.bound).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::configured::{Config, ConfiguredInterface};
    use isatap_core::datapath::Switches;
    use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const REMOTE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    /// A tunnel to [`REMOTE`] for each, bound to these devices; 0: to none.
    fn site(interfaces: &[u32]) -> (AnyNode, Outlet<(), ()>) {
        let (mut machine, mut out) = (AnyNode::new(NodeConfig::DEFAULT), Outlet::new(()));
        for interface in interfaces {
            let tunnel = ConfiguredInterface::new(Config::new(OWN, REMOTE));
            let link = machine.add(AnyInterface::Configured(tunnel), Switches::DEFAULT).unwrap();
            let bound = Bound { mark: 0, interface: *interface };
            out.ports.push(LinkDevice {
                link,
                device: (),
                coalescer: Coalescer::new(),
                counters: Counters::ZERO,
                carried: Carriage::default(),
                bound,
                one_by_one: true,
                addresses: Vec::new(),
            });
        }
        (machine, out)
    }

    fn packet() -> Vec<u8> {
        let mut packet = vec![0x60, 0, 0, 0, 0, 0, 59, 64];
        packet.extend([0x20; 32]);
        packet
    }

    #[test]
    fn links_of_the_same_ends_are_told_apart_by_the_device() {
        let of = |(machine, out): &(AnyNode, Outlet<(), ()>), interface: u32, from: Ipv4Addr| {
            let (outer, packet) = (Outer::new(from, OWN), packet());
            let only = out.only(machine, interface, &outer, &packet);
            (only.map(|link| link.0), out.addressee(machine, interface, &outer, &packet).map(|link| link.0))
        };
        let nobody = (Some(LinkId::NULL.0), None);
        let two = site(&[7, 9]);
        assert_eq!([7, 9].map(|by| of(&two, by, REMOTE)), [(Some(0), Some(0)), (Some(1), Some(1))]);
        // What waited in a socket when a link was bound anew, and what is from another end.
        assert_eq!([of(&two, 0, REMOTE), of(&two, 8, REMOTE), of(&two, 7, OWN)], [nobody; 3]);
        // Bound to none it has what the other does not have.
        let open = site(&[7, 0]);
        assert_eq!([7, 0].map(|by| of(&open, by, REMOTE)), [(None, Some(0)), (Some(1), Some(1))]);
        // All may be asked.
        assert_eq!(of(&site(&[0, 0]), 0, REMOTE), (None, Some(0)));
        assert_eq!(of(&site(&[7, 7]), 7, REMOTE), (None, Some(0)));
        // One alone has what is for nobody too, if it may.
        assert_eq!([7, 8].map(|by| of(&site(&[7]), by, OWN)), [(None, Some(0)), nobody]);
        // What is for a link that is not there, or not bound yet, is for no other.
        for (link, is_kept) in [(None, true), (Some(LinkId(1)), true), (Some(LinkId(0)), false)] {
            let mut both = site(&[7, 0]);
            both.1.reserved = vec![Reserved { link, interface: 7, locals: vec![OWN], remote: Some(REMOTE) }];
            assert_eq!(of(&both, 7, REMOTE), if is_kept { (Some(0), Some(0)) } else { (None, Some(0)) });
            both.1.ports.remove(0);
            let alone = |by, from| of(&both, by, from).0;
            assert_eq!([alone(7, REMOTE), alone(0, REMOTE), alone(7, OWN)], [nobody.0, None, None]);
        }
    }
}
