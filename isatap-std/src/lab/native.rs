//! A plain IPv6 host on a native segment, with no tunnel in it.

use std::net::Ipv6Addr;

use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::{Destination, Policy, Source};
use isatap_core::time::Instant;

use super::ip::Ipv6;
use super::node::{LabNode, NATIVE_METRIC, Outbox, Path, interface};
use super::rng::Rng;

/// The link by which a [`NativeHost`] is joined to its segment.
pub const NATIVE_LINK: LinkId = LinkId(0);

/// An IPv6 host of one link, whose addresses give its on-link prefixes, and routers by default or
/// for some prefixes: the far end of the white paper's figures, written without
/// the core, but for the choice of one of several addresses.
#[derive(Clone, Debug)]
pub struct NativeHost {
    addresses: Vec<Own>,
    routes: Vec<Way>,
    is_up: bool,
}

/// An address of a [`NativeHost`].
#[derive(Clone, Copy, Debug)]
struct Own {
    address: Ipv6Addr,
    on_link: Ipv6Prefix,
    deprecated: bool,
}

/// A route of a [`NativeHost`].
#[derive(Clone, Copy, Debug)]
struct Way {
    prefix: Ipv6Prefix,
    /// `None`: the destinations are neighbours.
    router: Option<Ipv6Addr>,
    /// What is added to the metric of native routes.
    metric: u32,
}

impl NativeHost {
    /// A host of this address, whose neighbours are those in `on_link`.
    #[must_use]
    pub fn new(address: Ipv6Addr, on_link: Ipv6Prefix, gateway: Option<Ipv6Addr>) -> Self {
        let gateway = gateway.map(|router| Way { prefix: Ipv6Prefix::DEFAULT, router: Some(router), metric: 0 });
        let host = NativeHost { routes: gateway.into_iter().collect(), ..NativeHost::unnumbered() };
        host.address(address, on_link, false)
    }

    /// A host without addresses and routes.
    pub(super) fn unnumbered() -> Self {
        NativeHost { addresses: Vec::new(), routes: Vec::new(), is_up: true }
    }

    /// The same with one more address. One that is deprecated is used only where no other will do.
    #[must_use]
    pub fn address(mut self, address: Ipv6Addr, on_link: Ipv6Prefix, deprecated: bool) -> Self {
        self.addresses.push(Own { address, on_link, deprecated });
        self.routes.push(Way { prefix: on_link, router: None, metric: 0 });
        self
    }

    /// The same with a router for the destinations in `prefix`.
    #[must_use]
    pub fn route(self, prefix: Ipv6Prefix, router: Ipv6Addr) -> Self {
        self.way(prefix, Some(router), 0)
    }

    pub(super) fn way(mut self, prefix: Ipv6Prefix, router: Option<Ipv6Addr>, metric: u32) -> Self {
        self.routes.push(Way { prefix, router, metric });
        self
    }

    /// The best route to a destination.
    fn lookup(&self, destination: &Ipv6Addr) -> Option<&Way> {
        // Of equals the first.
        let is_for = |way: &&Way| way.prefix.contains(destination) && !destination.is_unicast_link_local();
        let found = self.routes.iter().filter(|way| self.is_up && is_for(way));
        found.min_by_key(|way| (u8::MAX - way.prefix.length(), way.metric))
    }
}

impl LabNode for NativeHost {
    fn receive_ipv4(&mut self, _now: Instant, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn receive_ipv6(&mut self, _now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        match Ipv6::parse(packet) {
            None => out.dropped(DropReason::NotIpv6, packet),
            Some(header) if self.owns_ipv6(&header.destination) => out.deliver(link, packet),
            Some(_) => out.dropped(DropReason::ForwardingOff, packet),
        }
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        let Some(header) = Ipv6::parse(packet) else { return out.dropped(DropReason::NotIpv6, packet) };
        if self.owns_ipv6(&header.destination) {
            return out.deliver(NATIVE_LINK, packet);
        }
        match self.lookup(&header.destination) {
            _ if header.destination.is_unicast_link_local() => out.native(NATIVE_LINK, header.destination, packet),
            Some(way) => out.native(NATIVE_LINK, way.router.unwrap_or(header.destination), packet),
            None => out.dropped(DropReason::NoRoute, packet),
        }
    }

    fn timeout(&mut self, _now: Instant, _entropy: &mut Rng, _out: &mut Outbox) {}

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn set_link(&mut self, _now: Instant, _link: LinkId, is_up: bool, _out: &mut Outbox) {
        self.is_up = is_up;
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        let to = Destination::new((*destination).into());
        let choice = Policy::RFC6724.choose_source(&to, self.sources(Instant::ZERO))?;
        self.addresses.get(choice.index).map(|own| own.address)
    }

    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        let way = self.lookup(destination)?;
        let metric = NATIVE_METRIC.saturating_add(way.metric);
        Some(Path { prefix_length: way.prefix.length(), metric, ..Path::native(NATIVE_LINK) })
    }

    fn sources(&self, _now: Instant) -> Vec<Source> {
        let source = |own: &Own| Source {
            interface: interface(NATIVE_LINK),
            deprecated: own.deprecated,
            ..Source::new(own.address.into(), own.on_link.length())
        };
        self.addresses.iter().filter(|_| self.is_up).map(source).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.addresses.iter().filter(|_| self.is_up).map(|own| own.address).collect()
    }
}
