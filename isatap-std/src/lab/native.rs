//! A plain IPv6 host on a native segment, with no tunnel in it.

use std::net::Ipv6Addr;

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::time::Instant;

use super::ip::Ipv6;
use super::node::{LabNode, Outbox};
use super::rng::Rng;

/// The link by which a [`NativeHost`] is joined to its segment.
pub const NATIVE_LINK: LinkId = LinkId(0);

/// An IPv6 host of one address, one on-link prefix, and routers by default or
/// for some prefixes: the far end of the white paper's figures, written without
/// the core.
#[derive(Clone, Debug)]
pub struct NativeHost {
    address: Ipv6Addr,
    on_link: Ipv6Prefix,
    gateway: Option<Ipv6Addr>,
    routes: Vec<(Ipv6Prefix, Ipv6Addr)>,
}

impl NativeHost {
    /// A host of this address, whose neighbours are those in `on_link`.
    #[must_use]
    pub fn new(address: Ipv6Addr, on_link: Ipv6Prefix, gateway: Option<Ipv6Addr>) -> Self {
        NativeHost { address, on_link, gateway, routes: Vec::new() }
    }

    /// The same with a router for the destinations in `prefix`.
    #[must_use]
    pub fn route(mut self, prefix: Ipv6Prefix, router: Ipv6Addr) -> Self {
        self.routes.push((prefix, router));
        self
    }
}

impl LabNode for NativeHost {
    fn receive_ipv4(&mut self, _now: Instant, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn receive_ipv6(&mut self, _now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        match Ipv6::parse(packet) {
            None => out.dropped(DropReason::NotIpv6, packet),
            Some(header) if header.destination == self.address => out.deliver(link, packet),
            Some(_) => out.dropped(DropReason::ForwardingOff, packet),
        }
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        let Some(header) = Ipv6::parse(packet) else { return out.dropped(DropReason::NotIpv6, packet) };
        if header.destination == self.address {
            return out.deliver(NATIVE_LINK, packet);
        }
        let near = self.on_link.contains(&header.destination) || header.destination.is_unicast_link_local();
        let by = self.routes.iter().filter(|(prefix, _)| prefix.contains(&header.destination));
        let by = by.max_by_key(|(prefix, _)| prefix.length()).map(|(_, router)| *router);
        match (near, by.or(self.gateway)) {
            (true, _) => out.native(NATIVE_LINK, header.destination, packet),
            (false, Some(gateway)) => out.native(NATIVE_LINK, gateway, packet),
            (false, None) => out.dropped(DropReason::NoRoute, packet),
        }
    }

    fn timeout(&mut self, _now: Instant, _entropy: &mut Rng, _out: &mut Outbox) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        Some(self.address)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        vec![self.address]
    }
}
