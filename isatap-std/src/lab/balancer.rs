//! A load balancer for IPv4: the one address that clients of several servers know.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;

use super::ip::Ipv4;
use super::node::{LabNode, Outbox};
use super::rng::Rng;

/// Gives each client to a server, in turn, and stands between the two: a server sees the
/// balancer's address alone, as a client does.
///
/// A server has one client here, so that its packets need no ports to find their way back.
#[derive(Clone, Debug)]
pub struct Balancer {
    own: Option<Ipv4Addr>,
    servers: Vec<Ipv4Addr>,
    /// Which client has the server at the same place.
    clients: Vec<Ipv4Addr>,
}

impl Balancer {
    /// A balancer before these servers; the world gives it its address.
    #[must_use]
    pub fn new(servers: &[Ipv4Addr]) -> Self {
        Balancer { own: None, servers: servers.to_vec(), clients: Vec::new() }
    }

    /// Where a packet from `source` goes on to.
    fn other_end(&mut self, source: Ipv4Addr) -> Option<Ipv4Addr> {
        if let Some(at) = self.servers.iter().position(|server| *server == source) {
            return self.clients.get(at).copied();
        }
        let known = self.clients.iter().position(|client| *client == source);
        let at = known.unwrap_or(self.clients.len());
        let server = self.servers.get(at).copied()?;
        if known.is_none() {
            self.clients.push(source);
        }
        Some(server)
    }
}

impl LabNode for Balancer {
    fn receive_ipv4(&mut self, _now: Instant, packet: &[u8], out: &mut Outbox) {
        let (Some(own), Some(mut header)) = (self.own, Ipv4::parse(packet)) else {
            return out.dropped(DropReason::NotAddressed, packet);
        };
        // More clients than servers: the next is turned away.
        let Some(to) = self.other_end(header.source) else { return out.dropped(DropReason::NotAddressed, packet) };
        (header.source, header.destination, header.ttl) = (own, to, header.ttl.saturating_sub(1));
        out.translated(&header.emit());
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NoRoute, packet);
    }

    fn timeout(&mut self, _now: Instant, _entropy: &mut Rng, _out: &mut Outbox) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn set_ipv4(&mut self, _now: Instant, addresses: &[Ipv4Addr], _out: &mut Outbox) {
        self.own = addresses.first().copied();
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        None
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        Vec::new()
    }
}
