//! `[[teredo-client]]`, `[[teredo-server]]`, `[[teredo-relay]]`, `[[nat]]` and
//! `[[balancer]]`.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::teredo::client::ClientConfig;
use isatap_core::teredo::relay::RelayConfig;
use isatap_core::teredo::server::ServerConfig;
use serde::de::{Deserialize, Deserializer};

use super::super::balancer::Balancer;
use super::super::nat::{Nat, NatKind};
use super::super::teredo::{INTERNET_LINK, TeredoClient, TeredoRelay, TeredoServer};
use super::super::world::World;
use super::file::{Text, read_text};

/// What is between or beside the others.
#[derive(Clone, Debug)]
pub(super) enum Extra<'f> {
    Nat(&'f NatTable),
    Balancer(&'f BalancerTable),
    Client(&'f ClientTable),
    Server(&'f ServerTable),
    Relay(&'f RelayTable),
}

/// `[[nat]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NatTable {
    name: String,
    kind: Text<NatKind>,
    /// How it looks from outside.
    ipv4: Ipv4Addr,
}

/// `[[balancer]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BalancerTable {
    name: String,
    ipv4: Ipv4Addr,
    servers: Vec<Ipv4Addr>,
}

/// `[[teredo-client]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ClientTable {
    name: String,
    ipv4: Ipv4Addr,
    server: Ipv4Addr,
    /// The NAT that it is behind.
    #[serde(default)]
    nat: Option<String>,
}

/// `[[teredo-server]]`: its two addresses follow each other.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct ServerTable {
    name: String,
    ipv4: Ipv4Addr,
    lan: String,
    /// The next router on the LAN.
    #[serde(default)]
    gateway: Option<Ipv6Addr>,
}

/// `[[teredo-relay]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RelayTable {
    name: String,
    ipv4: Ipv4Addr,
    lan: String,
    address: Ipv6Addr,
    #[serde(default)]
    gateway: Option<Ipv6Addr>,
}

/// Ports of clients and relays: any would do.
const CLIENT_PORT: u16 = 40_000;
const RELAY_PORT: u16 = 3545;

impl Extra<'_> {
    pub(super) fn name(&self) -> &str {
        match self {
            Extra::Nat(table) => &table.name,
            Extra::Balancer(table) => &table.name,
            Extra::Client(table) => &table.name,
            Extra::Server(table) => &table.name,
            Extra::Relay(table) => &table.name,
        }
    }

    /// How the tool lists it.
    pub(super) fn cast(&self) -> String {
        let (role, about) = match self {
            Extra::Nat(table) => ("NAT", format!("{}, {}", table.ipv4, table.kind.0.as_str())),
            Extra::Balancer(table) => {
                let servers: Vec<String> = table.servers.iter().map(ToString::to_string).collect();
                ("balancer", format!("{}, before {}", table.ipv4, servers.join(" and ")))
            }
            Extra::Client(table) => {
                let nat = table.nat.as_ref().map(|nat| format!(" behind {nat}")).unwrap_or_default();
                ("Teredo client", format!("{}{nat}, server {}", table.ipv4, table.server))
            }
            Extra::Server(table) => ("Teredo server", format!("{} and the next", table.ipv4)),
            Extra::Relay(table) => ("Teredo relay", format!("{}, {} on the LAN", table.ipv4, table.address)),
        };
        format!("{:<8} {role:<14} {about}", self.name())
    }

    /// # Errors
    /// What does not fit together, for a person.
    pub(super) fn check(&self, is_nat: impl Fn(&str) -> bool) -> Result<(), String> {
        match self {
            Extra::Client(table) => match &table.nat {
                Some(nat) if !is_nat(nat) => Err(format!("no NAT is called {nat:?}: add a [[nat]] of that name")),
                _ => Ok(()),
            },
            Extra::Balancer(table) if table.servers.is_empty() => {
                Err(format!("the balancer {} has no servers: name some", table.name))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn add(&self, world: &mut World) {
        match self {
            Extra::Nat(table) => {
                let id = world.add(&table.name, Nat::new(table.kind.0, table.ipv4));
                world.set_ipv4(id, &[table.ipv4]);
            }
            Extra::Balancer(table) => {
                let id = world.add(&table.name, Balancer::new(&table.servers));
                world.set_ipv4(id, &[table.ipv4]);
            }
            Extra::Client(table) => {
                let id = world.add(&table.name, TeredoClient::new(ClientConfig::new(table.server, CLIENT_PORT)));
                if let Some(nat) = table.nat.as_ref().and_then(|nat| world.find(nat)) {
                    world.set_gateway(id, nat);
                }
                world.set_ipv4(id, &[table.ipv4]);
            }
            Extra::Server(table) => {
                let config = ServerConfig::new(table.ipv4);
                let id = world.add(&table.name, TeredoServer::new(config).gateway(table.gateway));
                world.set_ipv4(id, &[config.primary, config.secondary]);
                let lan = world.segment(&table.lan);
                world.join(id, INTERNET_LINK, lan);
            }
            Extra::Relay(table) => {
                let config = RelayConfig::new(table.ipv4.into(), RELAY_PORT);
                let id = world.add(&table.name, TeredoRelay::new(config, table.address).gateway(table.gateway));
                world.set_ipv4(id, &[table.ipv4]);
                let lan = world.segment(&table.lan);
                world.join(id, INTERNET_LINK, lan);
            }
        }
    }
}

impl<'de> Deserialize<'de> for Text<NatKind> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| {
            NatKind::from_name(text).map(Text).ok_or_else(|| {
                let known = NatKind::ALL.map(NatKind::as_str).join(", ");
                format!("{text:?} is not a kind of NAT: write one of {known}")
            })
        })
    }
}
