//! A Teredo client of the core.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::drop_reason::DropReason;
use isatap_core::engine::Machine as _;
use isatap_core::link::Locator;
use isatap_core::packet::LinkId;
use isatap_core::select::Source;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::time::Instant;

use super::super::ip::Ipv6;
use super::super::isatap::check;
use super::super::node::{LabNode, Outbox, Path, interface};
use super::super::rng::Rng;
use super::TEREDO_LINK;
use super::station::Station;

/// A client of the core, alone on its host.
pub struct TeredoClient {
    port: Station<Client>,
}

impl TeredoClient {
    /// A client that starts once it has an IPv4 address.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        TeredoClient { port: Station::new(Client::new(config, TEREDO_LINK), config.port, None) }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Client {
        &self.port.machine
    }

    /// The machine, to be told something by
    /// [`World::with_node`](crate::lab::World::with_node).
    pub fn machine_mut(&mut self) -> &mut Client {
        &mut self.port.machine
    }
}

impl LabNode for TeredoClient {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn send_ipv6(&mut self, now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        let own = self.port.machine.address();
        match Ipv6::parse(packet) {
            Some(header) if Some(header.destination) == own => out.deliver(TEREDO_LINK, packet),
            _ => self.port.send(now, packet, out),
        }
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        self.port.drain(now, out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let locator = addresses.first().map(|address| Locator { address: *address, subnet_length: 24 });
        self.port.machine.set_locator(now, locator);
        self.port.drain(now, out);
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.port.machine.address()
    }

    /// The last resort: its default route is worse than all others.
    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        self.port.machine.address().filter(|_| !destination.is_unicast_link_local())?;
        let prefix_length = if destination.segments().starts_with(&[0x2001, 0]) { 32 } else { 0 };
        Some(Path { link: TEREDO_LINK, device: None, encapsulated: true, prefix_length, metric: u32::MAX })
    }

    fn sources(&self, _now: Instant) -> Vec<Source> {
        let own = self.port.machine.address().into_iter();
        own.map(|own| Source { interface: interface(TEREDO_LINK), ..Source::new(own.into(), 32) }).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.port.machine.address().into_iter().collect()
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}
