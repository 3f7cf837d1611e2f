//! Nodes made of the core: routers, relays and customer edges of any mix of tunnels.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::{Capacity, Standard};
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine;
use isatap_core::error::TableFull;
use isatap_core::link::{InterfaceAddress, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::select::Source;
use isatap_core::time::{Expiry, Instant};

use crate::error::Error;
use crate::spec::{LinkSpec, set_locators};

use super::forwarder::Forwarder;
use super::isatap::locators;
use super::node::{LabNode, Outbox, Path};
use super::rng::Rng;
use super::unplayed;

/// The native link of a [`Gateway`] that has one tunnel.
pub const LAN_LINK: LinkId = LinkId(1);

/// Tunnels and native links of a [`Gateway`] together.
pub const GATEWAY_LINKS: usize = 6;

/// Where a route of a [`Gateway`] leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GatewayPort {
    /// By one of its tunnels, counted from 0.
    Tunnel(usize),
    /// By one of its native links, counted from 0.
    Lan(usize),
    /// Nowhere.
    Null,
}

/// A route of a [`Gateway`], beside those that its mechanisms make.
#[derive(Clone, Copy, Debug)]
pub struct GatewayRoute {
    /// The destinations.
    pub prefix: Ipv6Prefix,
    /// By which link.
    pub port: GatewayPort,
    /// By which neighbour there; `None`: they are neighbours themselves.
    pub next_hop: Option<Ipv6Addr>,
    /// Lower is better.
    pub metric: u32,
    /// What advertisements say of it, if its prefix is one that an ISATAP router of the gateway
    /// advertises.
    pub preference: Preference,
}

impl GatewayRoute {
    /// The way to `prefix`, of medium preference and metric 0.
    #[must_use]
    pub const fn new(prefix: Ipv6Prefix, port: GatewayPort, next_hop: Option<Ipv6Addr>) -> Self {
        GatewayRoute { prefix, port, next_hop, metric: 0, preference: Preference::Medium }
    }
}

/// What makes one [`Gateway`] different from another.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Its tunnels, of protocol 41 and no ISATAP hosts. One that names IPv4 addresses is given those
    /// of them that the node has.
    pub tunnels: Vec<LinkSpec>,
    /// Its address on each of its native links.
    pub lans: Vec<InterfaceAddress>,
    /// Its routes.
    pub routes: Vec<GatewayRoute>,
    /// Whether it looks for routing loops. `SEC-3`
    pub loop_checks: bool,
    /// Whether it forwards packets that are not its own; a host does not.
    pub forwards: bool,
}

impl GatewayOptions {
    /// A tunnel and nothing else.
    #[must_use]
    pub fn new(link: impl Into<LinkSpec>) -> Self {
        GatewayOptions {
            tunnels: vec![link.into()],
            lans: Vec::new(),
            routes: Vec::new(),
            loop_checks: true,
            forwards: true,
        }
    }

    /// The same with one more native link.
    #[must_use]
    pub fn lan(mut self, address: Ipv6Addr, prefix_length: u8) -> Self {
        self.lans.push(InterfaceAddress { address, prefix_length });
        self
    }

    /// The link of the machine that stands for a port; [`GatewayPort::Null`] has none.
    #[must_use]
    pub fn link(&self, port: GatewayPort) -> Option<LinkId> {
        let at = match port {
            GatewayPort::Tunnel(at) => at,
            GatewayPort::Lan(at) => self.tunnels.len() + at,
            GatewayPort::Null => return None,
        };
        u8::try_from(at).ok().map(LinkId)
    }
}

/// A node of the core with any mix of tunnels, which forwards by itself between them and
/// native links.
pub struct Gateway<C: Capacity = Standard> {
    forwarder: Forwarder<C, GATEWAY_LINKS>,
    /// Of each tunnel, which IPv4 addresses may be its; none: all.
    ipv4: Vec<Vec<Ipv4Addr>>,
}

impl<C: Capacity> Gateway<C> {
    /// A gateway without IPv4 addresses.
    ///
    /// # Errors
    /// A table of the node is too small for the options, or a tunnel can be on no machine or has
    /// something that no node of the lab has.
    pub fn new(options: &GatewayOptions) -> Result<Self, Error> {
        for tunnel in &options.tunnels {
            unplayed::check(tunnel)?;
            if matches!(tunnel, LinkSpec::IsatapHost(_)) {
                let error = Error::usage("make a gateway of", tunnel.device(), "an ISATAP host forwards for nobody");
                return Err(error.with_advice("give it a node of its own"));
            }
        }
        Self::of(options)
    }

    /// Of what was found well: apart, since both take much of a small stack.
    fn of(options: &GatewayOptions) -> Result<Self, Error> {
        let full = |full: TableFull| Error::usage("make", "a node of the lab", full.to_string());
        let mut forwarder: Forwarder<C, GATEWAY_LINKS> = Forwarder::new();
        let node = &mut forwarder.node;
        let mut switches = if options.forwards { Switches::FORWARDING } else { Switches::DEFAULT };
        switches.loop_checks = options.loop_checks;
        for tunnel in &options.tunnels {
            let mut own = switches;
            own.metric = tunnel.metric();
            let id = node.add(tunnel.interface()?, own).map_err(full)?;
            let told = node.with_interface(Instant::ZERO, id, |interface, cx| tunnel.tell(interface, cx));
            told.unwrap_or(Ok(()))?;
        }
        let is_published = |prefix: &Ipv6Prefix| {
            options.tunnels.iter().flat_map(LinkSpec::published_routes).any(|own| own.prefix == *prefix)
        };
        for lan in &options.lans {
            let mut native = NativeLink::new(1500);
            native.add_address(*lan).map_err(full)?;
            let id = node.add(AnyInterface::Native(native), switches).map_err(full)?;
            if let Some(prefix) = lan.prefix() {
                let route = Route::on_link(prefix, id, Origin::Manual);
                node.insert_route(Route { publish: is_published(&prefix), ..route }).map_err(full)?;
            }
        }
        for route in &options.routes {
            let base = match options.link(route.port) {
                Some(link) => Route::on_link(route.prefix, link, Origin::Manual),
                None => Route::null(route.prefix, Origin::Manual),
            };
            let &GatewayRoute { prefix, next_hop, metric, preference, .. } = route;
            let publish = is_published(&prefix);
            node.insert_route(Route { next_hop, metric, preference, publish, ..base }).map_err(full)?;
        }
        Ok(Gateway { forwarder, ipv4: options.tunnels.iter().map(LinkSpec::locals).collect() })
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &AnyNode<C, GATEWAY_LINKS> {
        &self.forwarder.node
    }

    /// The machine, to be told something by
    /// [`World::with_node`](super::World::with_node).
    pub fn machine_mut(&mut self) -> &mut AnyNode<C, GATEWAY_LINKS> {
        &mut self.forwarder.node
    }
}

impl<C: Capacity> LabNode for Gateway<C> {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.forwarder.receive_ipv4(now, packet, out);
    }

    fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.forwarder.receive_ipv6(now, link, packet, out);
    }

    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.forwarder.send_ipv6(now, link, packet, out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.forwarder.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.forwarder.node.poll_timeout()
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        self.forwarder.settle(now, out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        for (id, only) in (0..).map(LinkId).zip(&self.ipv4) {
            let locators = locators(addresses, only);
            let told = self
                .forwarder
                .node
                .with_interface(now, id, |interface, cx| set_locators(interface, cx, &locators, Expiry::NEVER));
            if let Some(Err(full)) = told {
                out.event(|| TableFull::to_string(&full));
            }
        }
        self.forwarder.settle(now, out);
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.forwarder.source_for(destination)
    }

    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        self.forwarder.path(destination)
    }

    fn sources(&self, now: Instant) -> Vec<Source> {
        self.forwarder.sources(now)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.forwarder.addresses()
    }

    fn check(&self) -> Result<(), String> {
        self.forwarder.check()
    }
}
