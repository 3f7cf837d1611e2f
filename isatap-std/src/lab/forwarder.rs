//! What forwards by itself: a machine with any links, and packets that wait in it.

use std::net::Ipv6Addr;

use isatap_core::capacity::{Capacity, Standard};
use isatap_core::engine::{LearnedAddress, Machine, Parked, Parking, Verdict, WaitEnd};
use isatap_core::interface::Interface as _;
use isatap_core::link::InterfaceAddress;
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::select::Source;
use isatap_core::time::{Expiry, Instant};

use super::ip;
use super::isatap::{Came, act, check, drain, own_link, path, receive_ipv4, source, with_packet};
use super::node::{Outbox, Path};
use super::rng::Rng;

/// A router's machine, driven as a driver would.
pub(super) struct Forwarder<C: Capacity = Standard, const LINKS: usize = 2> {
    pub(super) node: AnyNode<C, LINKS>,
    parked: Parking<Vec<Parked<Way>>, Vec<u8>, Way>,
}

/// Packets that may wait for neighbours, and how long they may be.
const PARKED: usize = 16;
const PARKED_LEN: usize = 1500;

/// How a packet reached a router.
#[derive(Clone, Copy, Debug)]
enum Way {
    Tunnel,
    Native(LinkId),
    Programs(Option<LinkId>),
}

impl<C: Capacity, const LINKS: usize> Forwarder<C, LINKS> {
    /// Without links.
    pub(super) fn new() -> Self {
        let parked = Parking::new(vec![Parked::EMPTY; PARKED], vec![0; PARKED * PARKED_LEN]);
        Forwarder { node: AnyNode::new(NodeConfig::DEFAULT), parked }
    }

    fn handle(&mut self, now: Instant, way: Way, bytes: &[u8], out: &mut Outbox) {
        let Self { node, parked } = self;
        let mut held = None;
        let verdict = |packet: &mut PacketMut<'_>| {
            let mut outer = None;
            let verdict = match way {
                Way::Tunnel => match Outer::pull(packet) {
                    Ok(header) => node.forward(now, outer.insert(header), packet),
                    Err(reason) => node.refused(now, reason),
                },
                Way::Native(link) => node.forward_native(now, link, packet),
                Way::Programs(link) => {
                    packet.set_link(link);
                    node.encapsulate(now, packet)
                }
            };
            let came = match way {
                Way::Tunnel => Came::ByTunnel,
                Way::Native(_) => Came::Native,
                Way::Programs(_) => Came::FromPrograms,
            };
            match verdict {
                Verdict::Hold { ticket } => {
                    // It comes again as it came.
                    let is_whole = outer.is_none_or(|outer| outer.push(packet).is_ok());
                    held = Some(is_whole && parked.park(ticket, way, packet) == 0);
                }
                other => act(other, came, bytes, packet, out),
            }
        };
        with_packet(bytes, verdict);
        match held {
            Some(true) => out.event(|| "a packet waits for its neighbour to answer".into()),
            Some(false) => out.event(|| "a packet that should wait for its neighbour is lost: no room".into()),
            None => {}
        }
    }

    /// Empties the machine; packets that need wait no longer go on.
    pub(super) fn settle(&mut self, now: Instant, out: &mut Outbox) {
        loop {
            let ended = drain(&mut self.node, out, None);
            if ended.is_empty() {
                return;
            }
            for (ticket, end) in ended {
                if let WaitEnd::Drop(reason) = end {
                    let lost = self.parked.discard(ticket);
                    out.event(|| format!("{lost} packets that waited are dropped: {reason}"));
                }
                let mut buffer = vec![0; HEADROOM + PARKED_LEN];
                let mut packet = PacketMut::empty(&mut buffer);
                while let Some(way) = self.parked.take(ticket, &mut packet) {
                    self.handle(now, way, packet.as_slice(), out);
                }
            }
        }
    }

    pub(super) fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        if ip::Ipv4::parse(packet).is_some_and(|header| header.protocol == ip::PROTOCOL_ICMP) {
            receive_ipv4(&mut self.node, now, packet, out);
        } else {
            self.handle(now, Way::Tunnel, packet, out);
        }
        self.settle(now, out);
    }

    pub(super) fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.handle(now, Way::Native(link), packet, out);
        self.settle(now, out);
    }

    pub(super) fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        match own_link(&self.node, packet) {
            // To oneself no interface is needed, as on any host.
            Some(own) => out.deliver(own, packet),
            None => self.handle(now, Way::Programs(link), packet, out),
        }
        self.settle(now, out);
    }

    pub(super) fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.node.handle_timeout(now, entropy);
        self.settle(now, out);
    }

    /// From the link that leads there; without a route from the first.
    pub(super) fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        let link = self.node.datapath().routes().lookup(destination).map_or(LinkId(0), |route| route.link);
        let from = |link| self.node.interface(link)?.link().source_for(destination);
        // A null route is no link's.
        from(link).or_else(|| self.links().find_map(from))
    }

    pub(super) fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        path(&self.node, destination)
    }

    pub(super) fn sources(&self, now: Instant) -> Vec<Source> {
        self.rows().map(|(link, row)| source(now, link, &row)).collect()
    }

    pub(super) fn addresses(&self) -> Vec<Ipv6Addr> {
        self.rows().map(|(_, row)| row.address).collect()
    }

    /// The addresses of all links.
    fn rows(&self) -> impl Iterator<Item = (LinkId, LearnedAddress)> {
        let given = |own: InterfaceAddress| LearnedAddress {
            address: own.address,
            prefix_length: own.prefix_length,
            preferred_until: Expiry::NEVER,
            valid_until: Expiry::NEVER,
        };
        let of_link = move |link| -> Vec<LearnedAddress> {
            match self.node.interface(link) {
                Some(AnyInterface::Configured(tunnel)) => tunnel.link().addresses().map(given).collect(),
                Some(AnyInterface::IsatapRouter(router)) => router.addresses().collect(),
                Some(AnyInterface::SixToFourRouter(router)) => router.addresses().collect(),
                Some(AnyInterface::SixToFourRelay(relay)) => relay.addresses().collect(),
                Some(AnyInterface::Compatible(compatible)) => compatible.addresses().collect(),
                Some(AnyInterface::SixRdEdge(edge)) => edge.addresses().collect(),
                Some(AnyInterface::SixRdRelay(relay)) => relay.addresses().collect(),
                Some(AnyInterface::Native(native)) => native.addresses().iter().copied().map(given).collect(),
                _ => Vec::new(),
            }
        };
        self.links().flat_map(move |link| of_link(link).into_iter().map(move |row| (link, row)))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        check(self.node.counters())
    }

    fn links(&self) -> impl Iterator<Item = LinkId> {
        (0..LINKS).filter_map(|link| u8::try_from(link).ok().map(LinkId))
    }
}
