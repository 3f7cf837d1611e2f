//! A Teredo server of the core.

use std::net::Ipv6Addr;

use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::Machine as _;
use isatap_core::packet::LinkId;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::time::Instant;

use super::super::isatap::check;
use super::super::node::{LabNode, Outbox};
use super::super::rng::Rng;
use super::station::Station;
use super::{INTERNET_LINK, TEREDO_LINK};

/// A server of the core, with a native link for what it forwards.
pub struct TeredoServer {
    port: Station<Server>,
}

impl TeredoServer {
    /// A server; the world gives it both addresses.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        TeredoServer { port: Station::new(Server::new(config, TEREDO_LINK), SERVER_PORT, Some(INTERNET_LINK)) }
    }

    /// The same where a router leads on from the native segment.
    #[must_use]
    pub fn gateway(mut self, gateway: Option<Ipv6Addr>) -> Self {
        self.port.gateway = gateway;
        self
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<u64> {
        self.port.machine.counters()
    }
}

impl LabNode for TeredoServer {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::ForwardingOff, packet);
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NoRoute, packet);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        None
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        Vec::new()
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}
