//! `[[6to4]]` and `[[6rd]]`: nodes with one such tunnel. [`node`](super::node) has those with several.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};

use super::super::gateway::{GatewayOptions, GatewayRoute, Port};
use super::file::{AddressWithPrefix, Text};
use crate::resolve::Entry;
use crate::spec::{SixRd, SixRdRole, SixToFour, SixToFourRole};

/// `[[6to4]]`: a router, a host/router where there is no LAN, or a relay.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SixToFourTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    #[serde(default = "router")]
    role: SixToFourRole,
    /// A router's relay: its way to the native Internet.
    #[serde(default)]
    relay: Option<Ipv4Addr>,
    #[serde(default)]
    lan: Option<String>,
    #[serde(default)]
    lan_address: Option<Text<AddressWithPrefix>>,
    /// The next router on the LAN.
    #[serde(default)]
    gateway: Option<Ipv6Addr>,
}

/// `[[6rd]]`: a customer edge or a border relay.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SixRdTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    /// The domain: its IPv6 prefix, and the IPv4 block of its customers.
    prefix: Text<Ipv6Prefix>,
    block: Text<Ipv4Prefix>,
    /// A customer edge's border relays; without any it is one itself.
    #[serde(default)]
    border_relays: Vec<Ipv4Addr>,
    /// What a customer edge sends by its border relay although the domain has
    /// it, so that the relay turns it back.
    #[serde(default)]
    by_relay: Vec<Text<Ipv6Prefix>>,
    #[serde(default)]
    lan: Option<String>,
    #[serde(default)]
    lan_address: Option<Text<AddressWithPrefix>>,
    #[serde(default)]
    gateway: Option<Ipv6Addr>,
}

/// What all kinds of table come to.
pub(super) struct GatewayTable<'a> {
    pub(super) name: &'a str,
    pub(super) ipv4: &'a [Ipv4Addr],
    /// The segments of its native links, in order.
    pub(super) lans: Vec<&'a str>,
    /// How the tool lists it.
    pub(super) role: String,
    pub(super) options: GatewayOptions,
}

impl SixToFourTable {
    /// # Errors
    /// What does not fit together, for a person.
    pub(super) fn read(&self) -> Result<GatewayTable<'_>, String> {
        let mut link = SixToFour::new();
        (link.role, link.relay) = (self.role, self.relay.map(Entry::Address));
        link.beside_native = self.role != SixToFourRole::Relay;
        let role = match self.role {
            SixToFourRole::Relay => "6to4 relay",
            _ if self.lan.is_some() => "6to4 router",
            _ => "6to4 host/router",
        };
        let mut options = GatewayOptions::new(link);
        options.lans.extend(whole_lan(&self.name, self.lan.as_ref(), self.lan_address)?);
        options.routes.extend(self.gateway.map(|gateway| GatewayRoute::default_by(0, gateway)));
        let lans = self.lan.as_deref().into_iter().collect();
        Ok(GatewayTable { name: &self.name, ipv4: &self.ipv4, lans, role: role.into(), options })
    }
}

impl SixRdTable {
    /// # Errors
    /// What does not fit together, for a person.
    pub(super) fn read(&self) -> Result<GatewayTable<'_>, String> {
        let mut link = domain(self.prefix.0, self.block.0, &self.ipv4);
        let domain = link.domain().map_err(|error| format!("{} is in no 6rd domain: {error}", self.name))?;
        let mut routes = Vec::new();
        let role = match self.border_relays.as_slice() {
            [] if !self.by_relay.is_empty() => {
                return Err(format!("{} sends by a border relay and has none: add border-relays", self.name));
            }
            [] => {
                link.role = SixRdRole::BorderRelay;
                "6rd border relay"
            }
            relays @ [first, ..] => {
                let (port, next_hop) = (Port::Tunnel(0), Some(domain.anycast(*first)));
                let by_relay = |prefix: &Text<Ipv6Prefix>| GatewayRoute {
                    prefix: prefix.0,
                    port,
                    next_hop,
                    metric: 0,
                    publish: false,
                };
                routes = self.by_relay.iter().map(by_relay).collect();
                link.br = relays.to_vec();
                "6rd edge"
            }
        };
        let mut options = GatewayOptions::new(link);
        options.lans.extend(whole_lan(&self.name, self.lan.as_ref(), self.lan_address)?);
        routes.extend(self.gateway.map(|gateway| GatewayRoute::default_by(0, gateway)));
        options.routes = routes;
        let lans = self.lan.as_deref().into_iter().collect();
        Ok(GatewayTable { name: &self.name, ipv4: &self.ipv4, lans, role: role.into(), options })
    }
}

/// An end of a 6rd domain, by the block of its customers, with the first of these addresses in it.
pub(super) fn domain(prefix: Ipv6Prefix, block: Ipv4Prefix, ipv4: &[Ipv4Addr]) -> SixRd {
    let first = ipv4.first().copied().unwrap_or(Ipv4Addr::UNSPECIFIED);
    let local = ipv4.iter().copied().find(|own| block.contains(*own)).unwrap_or(first);
    let mut link = SixRd::new(prefix, local);
    link.v4_mask_len = block.length();
    // S6R-15
    if !block.contains(local) {
        link.role = SixRdRole::BorderRelay;
        link.customer = Some(block.address());
    }
    link
}

fn router() -> SixToFourRole {
    SixToFourRole::Router
}

/// A LAN's name and the address on it belong together.
fn whole_lan(
    name: &str,
    lan: Option<&String>,
    address: Option<Text<AddressWithPrefix>>,
) -> Result<Option<AddressWithPrefix>, String> {
    if lan.is_some() != address.is_some() {
        return Err(format!("{name} has half a LAN: write both lan and lan-address"));
    }
    Ok(address.map(|address| address.0))
}
