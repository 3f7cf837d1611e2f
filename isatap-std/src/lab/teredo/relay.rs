//! A Teredo relay of the core.

use std::net::Ipv6Addr;

use isatap_core::engine::Machine as _;
use isatap_core::packet::LinkId;
use isatap_core::teredo::relay::{Relay, RelayConfig};
use isatap_core::time::Instant;

use super::super::isatap::check;
use super::super::node::{LabNode, Outbox};
use super::super::rng::Rng;
use super::station::{Station, forwarded};
use super::{INTERNET_LINK, TEREDO_LINK};

/// A relay of the core: the router of a native segment.
pub struct TeredoRelay {
    port: Station<Relay>,
    address: Ipv6Addr,
}

impl TeredoRelay {
    /// A relay whose address on the native segment is `address`.
    #[must_use]
    pub fn new(config: RelayConfig, address: Ipv6Addr) -> Self {
        TeredoRelay { port: Station::new(Relay::new(config, TEREDO_LINK), config.port, Some(INTERNET_LINK)), address }
    }

    /// The same where a router leads on from the native segment.
    #[must_use]
    pub fn gateway(mut self, gateway: Option<Ipv6Addr>) -> Self {
        self.port.gateway = gateway;
        self
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Relay {
        &self.port.machine
    }
}

impl LabNode for TeredoRelay {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.port.send(now, &forwarded(packet), out);
    }

    fn send_ipv6(&mut self, now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.port.send(now, packet, out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        Some(self.address)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        vec![self.address]
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}
