//! `[[node]]`: a node with any mix of tunnels and native links.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::configured;
use isatap_core::isatap::{CheckNeighbors, RouterConfig};
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::{self, Domain};
use isatap_core::sixtofour;

use super::super::gateway::{GATEWAY_LINKS, GatewayOptions, GatewayRoute, Port, Tunnel, TunnelOptions};
use super::file::{AddressWithPrefix, Text};
use super::tunnels::GatewayTable;

/// `[[node]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NodeTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    /// Whether it looks for routing loops.
    #[serde(default = "yes")]
    loop_checks: bool,
    #[serde(default)]
    tunnel: Vec<TunnelTable>,
    #[serde(default)]
    lan: Vec<LanTable>,
    #[serde(default)]
    route: Vec<RouteTable>,
}

/// `[[node.tunnel]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct TunnelTable {
    kind: Kind,
    /// Those of the node's IPv4 addresses that are this tunnel's; all where not said.
    ipv4: Option<Vec<Ipv4Addr>>,
    #[serde(default)]
    metric: u32,
    /// isatap-router.
    #[serde(default)]
    prefixes: Vec<Text<Ipv6Prefix>>,
    #[serde(default)]
    members: Vec<Text<Ipv4Prefix>>,
    #[serde(default)]
    check_neighbors: Neighbors,
    #[serde(default = "yes")]
    default_route: bool,
    /// 6to4-router.
    relay: Option<Ipv4Addr>,
    /// 6to4-relay: whether private IPv4 addresses count as global.
    #[serde(default)]
    accept_bogons: bool,
    /// 6rd-relay and 6rd-edge.
    domain: Option<DomainTable>,
    #[serde(default)]
    border_relays: Vec<Ipv4Addr>,
    /// configured.
    local: Option<Ipv4Addr>,
    remote: Option<Ipv4Addr>,
    #[serde(default)]
    addresses: Vec<Text<AddressWithPrefix>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Kind {
    IsatapRouter,
    #[serde(rename = "6to4-router")]
    SixToFourRouter,
    #[serde(rename = "6to4-relay")]
    SixToFourRelay,
    #[serde(rename = "6rd-edge")]
    SixRdEdge,
    #[serde(rename = "6rd-relay")]
    SixRdRelay,
    Configured,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Neighbors {
    Off,
    #[default]
    WhereBlind,
    On,
}

/// A 6rd domain: its IPv6 prefix, and the IPv4 block of its customers.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct DomainTable {
    prefix: Text<Ipv6Prefix>,
    block: Text<Ipv4Prefix>,
}

/// `[[node.lan]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct LanTable {
    name: String,
    address: Text<AddressWithPrefix>,
}

/// `[[node.route]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RouteTable {
    prefix: Text<Ipv6Prefix>,
    /// A LAN, the kind of a tunnel, or `nothing`.
    by: String,
    via: Option<Ipv6Addr>,
    #[serde(default)]
    metric: u32,
    #[serde(default)]
    publish: bool,
}

fn yes() -> bool {
    true
}

impl Kind {
    /// As it is written.
    const fn as_str(self) -> &'static str {
        match self {
            Kind::IsatapRouter => "isatap-router",
            Kind::SixToFourRouter => "6to4-router",
            Kind::SixToFourRelay => "6to4-relay",
            Kind::SixRdEdge => "6rd-edge",
            Kind::SixRdRelay => "6rd-relay",
            Kind::Configured => "configured",
        }
    }
}

impl TunnelTable {
    fn read(&self) -> Result<TunnelOptions, String> {
        let missing = |what: &str| format!("a tunnel of kind {} needs {what}: add it", self.kind.as_str());
        let domain = || {
            let table = self.domain.as_ref().ok_or_else(|| missing("domain"))?;
            Domain::new(table.prefix.0, table.block.0).map_err(|error| format!("there is no such 6rd domain: {error}"))
        };
        let tunnel = match self.kind {
            Kind::IsatapRouter => {
                if let Some(prefix) = self.prefixes.iter().find(|prefix| prefix.0.length() != 64) {
                    return Err(format!("{} is not an ISATAP prefix: write a /64", prefix.0));
                }
                let mut config = RouterConfig::DEFAULT;
                config.advertise_default_route = self.default_route;
                config.check_neighbors = match self.check_neighbors {
                    Neighbors::Off => CheckNeighbors::Off,
                    Neighbors::WhereBlind => CheckNeighbors::WhereBlind,
                    Neighbors::On => CheckNeighbors::On,
                };
                Tunnel::IsatapRouter {
                    config,
                    prefixes: self.prefixes.iter().map(|prefix| prefix.0).collect(),
                    members: self.members.iter().map(|prefix| prefix.0).collect(),
                }
            }
            Kind::SixToFourRouter => {
                let mut config = sixtofour::RouterConfig::DEFAULT;
                config.relay = self.relay.map_or(sixtofour::Relay::None, sixtofour::Relay::Address);
                Tunnel::SixToFourRouter(config)
            }
            Kind::SixToFourRelay => {
                let mut config = sixtofour::RelayConfig::DEFAULT;
                config.accept_bogons = self.accept_bogons;
                Tunnel::SixToFourRelay(config)
            }
            Kind::SixRdEdge => {
                let domain = domain()?;
                Tunnel::SixRdEdge {
                    config: sixrd::EdgeConfig::DEFAULT,
                    prefix: domain.prefix(),
                    ipv4_mask_len: domain.ipv4_mask_len(),
                    relays: self.border_relays.clone(),
                }
            }
            Kind::SixRdRelay => Tunnel::SixRdRelay(sixrd::RelayConfig::new(domain()?)),
            Kind::Configured => {
                let local = self.local.ok_or_else(|| missing("local"))?;
                let remote = self.remote.ok_or_else(|| missing("remote"))?;
                let addresses = self.addresses.iter().map(|address| address.0).collect();
                let mut config = configured::Config::new(local, remote);
                // The journey is to show what a scenario is about.
                config.probe_remote = false;
                Tunnel::Configured { config, addresses }
            }
        };
        Ok(TunnelOptions { tunnel, ipv4: self.ipv4.clone(), metric: self.metric })
    }
}

impl NodeTable {
    /// # Errors
    /// What does not fit together, for a person.
    pub(super) fn read(&self) -> Result<GatewayTable<'_>, String> {
        let name = &self.name;
        if self.tunnel.len() + self.lan.len() > GATEWAY_LINKS {
            return Err(format!("{name} has more than {GATEWAY_LINKS} tunnels and LANs: make two nodes of it"));
        }
        let tunnels = self.tunnel.iter().map(TunnelTable::read).collect::<Result<Vec<_>, _>>()?;
        let routes = self.route.iter().map(|route| self.route(route)).collect::<Result<Vec<_>, _>>()?;
        let lans = self.lan.iter().map(|lan| lan.address.0).collect();
        let kinds: Vec<&str> = self.tunnel.iter().map(|tunnel| tunnel.kind.as_str()).collect();
        Ok(GatewayTable {
            name,
            ipv4: &self.ipv4,
            lans: self.lan.iter().map(|lan| lan.name.as_str()).collect(),
            role: if kinds.is_empty() { "IPv6 router".into() } else { kinds.join(" and ") },
            options: GatewayOptions { tunnels, lans, routes, loop_checks: self.loop_checks },
        })
    }

    fn route(&self, route: &RouteTable) -> Result<GatewayRoute, String> {
        let of_tunnel = || self.tunnel.iter().position(|tunnel| tunnel.kind.as_str() == route.by).map(Port::Tunnel);
        let of_lan = self.lan.iter().position(|lan| lan.name == route.by).map(Port::Lan);
        let port = match route.by.as_str() {
            "nothing" => Port::Null,
            by => of_lan.or_else(of_tunnel).ok_or_else(|| {
                format!("{} has no LAN and no tunnel {by:?}: name one of its own, or \"nothing\"", self.name)
            })?,
        };
        let (prefix, next_hop) = (route.prefix.0, route.via);
        Ok(GatewayRoute { prefix, port, next_hop, metric: route.metric, publish: route.publish })
    }
}
