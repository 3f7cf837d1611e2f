//! Nodes made of the core: routers, relays and customer edges of 6to4 and 6rd.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::{Capacity, Standard};
use isatap_core::datapath::Switches;
use isatap_core::engine::Machine;
use isatap_core::error::TableFull;
use isatap_core::link::{InterfaceAddress, Link, Locator, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route};
use isatap_core::sixrd::{self, ConfigureError};
use isatap_core::sixtofour;
use isatap_core::time::{Expiry, Instant};

use super::isatap::{self, Came};
use super::node::{LabNode, Outbox};
use super::rng::Rng;

/// The tunnel of a [`Gateway`].
pub const TUNNEL_LINK: LinkId = LinkId(0);
/// The native link of a [`Gateway`].
pub const SITE_LINK: LinkId = LinkId(1);

/// Which tunnel a [`Gateway`] has, and which end of it.
#[derive(Clone, Debug)]
pub enum Tunnel {
    /// A 6to4 router, or a host/router where there is no native link.
    SixToFourRouter(sixtofour::RouterConfig),
    /// A 6to4 relay.
    SixToFourRelay(sixtofour::RelayConfig),
    /// A 6rd customer edge.
    SixRdEdge {
        /// How it works.
        config: sixrd::EdgeConfig,
        /// The 6rd prefix.
        prefix: Ipv6Prefix,
        /// How many bits all IPv4 addresses of the domain share.
        ipv4_mask_len: u8,
        /// The border relays, the one to use first.
        relays: Vec<Ipv4Addr>,
    },
    /// A 6rd border relay.
    SixRdRelay(sixrd::RelayConfig),
}

/// What makes one [`Gateway`] different from another.
#[derive(Clone, Debug)]
pub struct GatewayOptions {
    /// Its tunnel.
    pub tunnel: Tunnel,
    /// Its address on the native link, if it has one.
    pub lan: Option<InterfaceAddress>,
    /// The next router on the native link.
    pub gateway: Option<Ipv6Addr>,
    /// Routes by way of the tunnel beside those that the mechanism makes: a
    /// prefix and the next hop.
    pub routes: Vec<(Ipv6Prefix, Ipv6Addr)>,
}

impl GatewayOptions {
    /// A tunnel and nothing else.
    #[must_use]
    pub const fn new(tunnel: Tunnel) -> Self {
        GatewayOptions { tunnel, lan: None, gateway: None, routes: Vec::new() }
    }

    /// The same with a native link.
    #[must_use]
    pub const fn lan(mut self, address: Ipv6Addr, prefix_length: u8) -> Self {
        self.lan = Some(InterfaceAddress { address, prefix_length });
        self
    }
}

/// A node of the core with one 6to4 or 6rd tunnel, which forwards by itself
/// between it and a native link.
pub struct Gateway<C: Capacity = Standard> {
    node: AnyNode<C, 2>,
}

impl<C: Capacity> Gateway<C> {
    /// A gateway without IPv4 addresses.
    ///
    /// # Errors
    /// A table of the node is too small for the options, or the values of a
    /// 6rd customer edge make no domain.
    pub fn new(options: &GatewayOptions) -> Result<Self, ConfigureError> {
        let mut node = AnyNode::new(NodeConfig::DEFAULT);
        let interface = match &options.tunnel {
            Tunnel::SixToFourRouter(config) => AnyInterface::SixToFourRouter(sixtofour::RouterInterface::new(*config)),
            Tunnel::SixToFourRelay(config) => AnyInterface::SixToFourRelay(sixtofour::RelayInterface::new(*config)),
            Tunnel::SixRdEdge { config, .. } => AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(*config)),
            Tunnel::SixRdRelay(config) => AnyInterface::SixRdRelay(sixrd::RelayInterface::new(*config)),
        };
        let tunnel = node.add(interface, Switches::FORWARDING)?;
        if let Tunnel::SixRdEdge { prefix, ipv4_mask_len, relays, .. } = &options.tunnel {
            let configured = node.with_interface(Instant::ZERO, tunnel, |interface, cx| match interface {
                AnyInterface::SixRdEdge(edge) => edge.configure(cx, *prefix, *ipv4_mask_len, relays.iter().copied()),
                _ => Ok(()),
            });
            configured.unwrap_or(Ok(()))?;
        }
        if let Some(lan) = options.lan {
            let mut native = NativeLink::new(1500);
            native.add_address(lan)?;
            node.add(AnyInterface::Native(native), Switches::FORWARDING)?;
            if let Some(prefix) = lan.prefix() {
                node.insert_route(Route::on_link(prefix, SITE_LINK, Origin::Manual))?;
            }
            if let Some(gateway) = options.gateway {
                node.insert_route(Route::via(Ipv6Prefix::DEFAULT, SITE_LINK, gateway, Origin::Manual))?;
            }
        }
        for (prefix, next_hop) in &options.routes {
            node.insert_route(Route::via(*prefix, tunnel, *next_hop, Origin::Manual))?;
        }
        Ok(Gateway { node })
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &AnyNode<C, 2> {
        &self.node
    }

    /// The machine, to be told something by
    /// [`World::with_node`](super::World::with_node).
    pub fn machine_mut(&mut self) -> &mut AnyNode<C, 2> {
        &mut self.node
    }

    fn settle(&mut self, out: &mut Outbox) {
        isatap::drain(&mut self.node, out, None);
    }
}

impl<C: Capacity> LabNode for Gateway<C> {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        isatap::receive_ipv4(&mut self.node, now, packet, out, Node::forward);
        self.settle(out);
    }

    fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        isatap::with_packet(packet, |buffer| {
            let verdict = self.node.forward_native(now, link, buffer);
            isatap::act(verdict, Came::Native, packet, buffer, out);
        });
        self.settle(out);
    }

    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        isatap::send_ipv6(&mut self.node, now, link, packet, out);
        self.settle(out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.node.handle_timeout(now, entropy);
        self.settle(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout()
    }

    fn drain(&mut self, _now: Instant, out: &mut Outbox) {
        self.settle(out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let locators: Vec<Locator> = addresses.iter().copied().map(Locator::from).collect();
        let told = self.node.with_interface(now, TUNNEL_LINK, |interface, cx| match interface {
            AnyInterface::SixToFourRouter(router) => router.set_locators(cx, &locators, Expiry::NEVER),
            AnyInterface::SixToFourRelay(relay) => relay.set_locators(cx, &locators),
            AnyInterface::SixRdEdge(edge) => edge.set_locators(cx, &locators, Expiry::NEVER),
            AnyInterface::SixRdRelay(relay) => relay.set_locators(cx, &locators),
            _ => Ok(()),
        });
        if let Some(Err(full)) = told {
            out.event(|| TableFull::to_string(&full));
        }
        self.settle(out);
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        let link = self.node.datapath().routes().lookup(destination).map_or(TUNNEL_LINK, |route| route.link);
        self.node.interface(link)?.source_for(destination)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        [TUNNEL_LINK, SITE_LINK]
            .into_iter()
            .filter_map(|link| self.node.interface(link))
            .flat_map(|interface| match interface {
                AnyInterface::SixToFourRouter(router) => router.addresses().map(|row| row.address).collect(),
                AnyInterface::SixToFourRelay(relay) => relay.addresses().map(|row| row.address).collect(),
                AnyInterface::SixRdEdge(edge) => edge.addresses().map(|row| row.address).collect(),
                AnyInterface::SixRdRelay(relay) => relay.addresses().map(|row| row.address).collect(),
                AnyInterface::Native(native) => native.addresses().iter().map(|own| own.address).collect(),
                _ => Vec::new(),
            })
            .collect()
    }

    fn check(&self) -> Result<(), String> {
        isatap::check(self.node.counters())
    }
}
