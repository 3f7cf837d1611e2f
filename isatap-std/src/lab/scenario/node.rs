//! `[[node]]`: a node with any mix of tunnels and native links.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::Ipv6Prefix;

use super::super::gateway::{GATEWAY_LINKS, GatewayOptions, GatewayRoute, Port};
use super::file::{AddressWithPrefix, Text};
use super::tunnels::GatewayTable;
use crate::resolve::Entry;
use crate::spec::{IsatapRouter, Link, SixRd, SixToFour, Tunnel, conflicts};

/// `[[node]]`. Its tunnels have the keys of `isatap run`'s tables.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NodeTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    /// Whether it looks for routing loops.
    #[serde(default = "yes")]
    loop_checks: bool,
    #[serde(default)]
    isatap_router: Vec<IsatapRouter>,
    #[serde(default)]
    tunnel: Vec<Tunnel>,
    #[serde(default, rename = "6rd")]
    sixrd: Vec<SixRd>,
    #[serde(default, rename = "6to4")]
    sixtofour: Vec<SixToFour>,
    #[serde(default)]
    lan: Vec<LanTable>,
    #[serde(default)]
    route: Vec<RouteTable>,
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
    /// A LAN, the device of a tunnel, or `nothing`.
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

/// A key that a daemon heeds and a node of the lab does not.
fn unused(link: &Link) -> Option<&'static str> {
    match link {
        link if link.pcap().is_some() => Some("pcap"),
        link if !link.lans().is_empty() => Some("lan"),
        Link::IsatapRouter(router) if !router.advertise_route.is_empty() => Some("advertise-route"),
        Link::SixToFour(SixToFour { relay: Some(Entry::Name(_)), .. }) => Some("the name of a relay"),
        _ => None,
    }
}

impl NodeTable {
    /// # Errors
    /// What does not fit together, for a person.
    pub(super) fn read(&self) -> Result<GatewayTable<'_>, String> {
        let name = &self.name;
        let tunnels: Vec<Link> = self.tunnels().collect();
        if tunnels.len() + self.lan.len() > GATEWAY_LINKS {
            return Err(format!("{name} has more than {GATEWAY_LINKS} tunnels and LANs: make two nodes of it"));
        }
        tunnels.iter().try_for_each(Link::check_first).map_err(|error| format!("{name}: {error}"))?;
        if let Some(key) = tunnels.iter().find_map(unused) {
            return Err(format!("{name} has a tunnel with {key}, which a scenario does not use: leave it out"));
        }
        if let Some(conflict) = conflicts(&tunnels, &[]).first() {
            return Err(format!("{name}: {}", conflict.text));
        }
        if let Some(local) = tunnels.iter().flat_map(Link::locals).find(|local| !self.ipv4.contains(local)) {
            return Err(format!("{name} has a tunnel at {local}, which is not in its ipv4: add it there"));
        }
        let routes = self.route.iter().map(|route| self.route(route, &tunnels)).collect::<Result<Vec<_>, _>>()?;
        let lans = self.lan.iter().map(|lan| lan.address.0).collect();
        let kinds: Vec<&str> = tunnels.iter().map(Link::kind).collect();
        Ok(GatewayTable {
            name,
            ipv4: &self.ipv4,
            lans: self.lan.iter().map(|lan| lan.name.as_str()).collect(),
            role: if kinds.is_empty() { "IPv6 router".into() } else { kinds.join(" and ") },
            options: GatewayOptions { tunnels, lans, routes, loop_checks: self.loop_checks },
        })
    }

    fn tunnels(&self) -> impl Iterator<Item = Link> {
        let isatap = self.isatap_router.iter().cloned().map(Link::from);
        let of_tunnel = |tunnel: &Tunnel| {
            let mut tunnel = tunnel.clone();
            // The journey is to show what a scenario is about.
            tunnel.neighbor_probes = false;
            Link::from(tunnel)
        };
        let tunnels = isatap.chain(self.tunnel.iter().map(of_tunnel));
        let tunnels = tunnels.chain(self.sixrd.iter().cloned().map(Link::from));
        tunnels.chain(self.sixtofour.iter().cloned().map(Link::from))
    }

    fn route(&self, route: &RouteTable, tunnels: &[Link]) -> Result<GatewayRoute, String> {
        let of_tunnel = || tunnels.iter().position(|tunnel| tunnel.device() == route.by).map(Port::Tunnel);
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
