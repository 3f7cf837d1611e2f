//! The tables of protocol 41, and the file that holds all.

use super::{Link, teredo};
use crate::check::AddressWithLength;
use crate::driver::attachment::DEFAULT_METRIC;
use crate::isatap::{DEFAULT_DEVICE, HostOptions, LinkOptions, LocatorSource, RouterOptions};
use crate::lan::LanOptions;
use crate::mistakes::{Hints, shown};
use crate::resolve::{Entry, Name, NameError};
use crate::sixrd::{self, SixRdOptions};
use crate::sixtofour::{self, SixToFourOptions};
use crate::tunnel::{self, TunnelOptions};
use isatap_core::isatap::{CheckNeighbors, HostConfig, LinkLocal, PublishedPrefix, RouterConfig, SolicitDestination};
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected, Visitor};
use std::fmt;
use std::marker::PhantomData;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    pub(super) user: Option<String>,
    #[serde(default)]
    isatap_host: Vec<Spanned<HostTable>>,
    #[serde(default)]
    isatap_router: Vec<Spanned<RouterTable>>,
    #[serde(default)]
    tunnel: Vec<Spanned<TunnelTable>>,
    #[serde(default, rename = "6rd")]
    sixrd: Vec<Spanned<SixRdTable>>,
    #[serde(default, rename = "6to4")]
    sixtofour: Vec<Spanned<SixToFourTable>>,
    #[serde(default)]
    teredo_client: Vec<Spanned<teredo::ClientTable>>,
    #[serde(default)]
    teredo_server: Vec<Spanned<teredo::ServerTable>>,
    #[serde(default)]
    teredo_relay: Vec<Spanned<teredo::RelayTable>>,
    #[serde(default)]
    pub(super) native: Vec<Spanned<NativeTable>>,
}

impl Hints for File {
    const ALIASES: &'static [(&'static str, &'static str)] = &[
        ("sit", "tunnel"),
        ("6in4", "tunnel"),
        ("configured", "tunnel"),
        ("ipip6", "tunnel"),
        ("device", "dev"),
        ("interface", "dev"),
        ("name", "dev"),
        ("bind", "port"),
        ("true", "on"),
        ("yes", "on"),
        ("false", "off"),
        ("no", "off"),
        ("border-relay", "br"),
        ("relay", "br"),
        ("customer-edge", "ce"),
        ("customer", "ce"),
    ];
    const EXAMPLES: &'static [(&'static str, &'static str, &'static str)] = &[
        ("isatap-router", "local", "[\"10.0.0.1\"]"),
        ("isatap-router", "prefix", "[\"2001:db8:0:7::/64\"]"),
        ("", "prefix", "\"2001:db8::/32\""),
        ("", "local", "\"10.0.0.2\""),
        ("", "remote", "\"198.51.100.1\""),
        ("", "server", "\"teredo.example.net\""),
        ("", "primary", "\"198.51.100.1\""),
        ("", "dev", "\"eth1\""),
    ];
}

impl File {
    pub(super) fn teredo(&mut self) -> teredo::Tables {
        teredo::Tables {
            clients: std::mem::take(&mut self.teredo_client),
            servers: std::mem::take(&mut self.teredo_server),
            relays: std::mem::take(&mut self.teredo_relay),
        }
    }

    /// Where each link's table begins, and the link.
    pub(super) fn links(&mut self) -> Vec<(usize, Result<Link, String>)> {
        fn each<T>(
            tables: &mut Vec<Spanned<T>>,
            link: impl Fn(T) -> Result<Link, String>,
        ) -> impl Iterator<Item = (usize, Result<Link, String>)> {
            tables.drain(..).map(move |table| (table.span().start, link(table.into_inner())))
        }
        each(&mut self.isatap_host, |table| table.options().map(Link::IsatapHost))
            .chain(each(&mut self.isatap_router, |table| Ok(Link::IsatapRouter(table.options()))))
            .chain(each(&mut self.tunnel, |table| Ok(Link::Tunnel(table.options()))))
            .chain(each(&mut self.sixrd, |table| Ok(Link::SixRd(table.options()))))
            .chain(each(&mut self.sixtofour, |table| Ok(Link::SixToFour(table.options()))))
            .collect()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NativeTable {
    pub(super) dev: String,
    #[serde(default)]
    pub(super) forwarding: bool,
}

/// The table of a link: its own keys, and those of every link.
macro_rules! table {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        struct $name {
            dev: Option<String>,
            mtu: Option<u16>,
            ttl: Option<u8>,
            path_mtu_discovery: Option<bool>,
            #[serde(default)]
            member: Vec<Parsed<Ipv4Prefix>>,
            metric: Option<u32>,
            pcap: Option<PathBuf>,
            $($(#[$attribute])* $field: $type,)*
        }

        impl $name {
            fn link(&mut self, default_device: &str) -> LinkOptions {
                let default = LinkOptions::default();
                LinkOptions {
                    device: self.dev.take().unwrap_or_else(|| default_device.to_owned()),
                    mtu: self.mtu,
                    ttl: self.ttl.unwrap_or(default.ttl),
                    path_mtu_discovery: self.path_mtu_discovery.unwrap_or(true),
                    members: values(std::mem::take(&mut self.member)),
                    metric: self.metric.unwrap_or(DEFAULT_METRIC),
                    pcap: self.pcap.take(),
                    ..default
                }
            }
        }
    };
}

table!(HostTable {
    #[serde(default)]
    local: Vec<Ipv4Addr>,
    via: Option<String>,
    #[serde(default)]
    router: Vec<Parsed<Entry>>,
    min_router_solicit_interval: Option<u64>,
    prl_refresh_interval: Option<u64>,
    neighbor_probes: Option<bool>,
    #[serde(default)]
    solicit_all_routers: bool,
    #[serde(default)]
    link_local_with_router: bool,
});

impl HostTable {
    fn options(mut self) -> Result<HostOptions, String> {
        let link = self.link(DEFAULT_DEVICE);
        let locators = match (self.local.is_empty(), self.via) {
            (true, None) => LocatorSource::TowardRouter,
            (true, Some(device)) => LocatorSource::Device(device),
            (false, None) => LocatorSource::Fixed(self.local),
            (false, Some(_)) => return Err("local and via exclude each other: keep one".to_owned()),
        };
        let mut config = HostConfig::DEFAULT;
        if let Some(seconds) = self.min_router_solicit_interval {
            config.solicitation.min_round_interval = Duration::from_secs(seconds);
        }
        if let Some(seconds) = self.prl_refresh_interval {
            config.refresh_interval = Duration::from_secs(seconds);
        }
        config.probe_neighbors = self.neighbor_probes.unwrap_or(config.probe_neighbors);
        if self.solicit_all_routers {
            config.solicit = SolicitDestination::AllRouters;
        }
        if self.link_local_with_router {
            config.link_local = LinkLocal::WhenRouterKnown;
        }
        Ok(HostOptions { link, locators, routers: values(self.router), config })
    }
}

table!(RouterTable {
    local: Vec<Ipv4Addr>,
    prefix: Vec<Parsed<Ipv6Prefix>>,
    #[serde(default)]
    advertise_route: Vec<Parsed<Ipv6Prefix>>,
    default_route: Option<bool>,
    router_lifetime: Option<u16>,
    valid_lifetime: Option<u32>,
    preferred_lifetime: Option<u32>,
    preference: Option<RouterPreference>,
    #[serde(default)]
    dns: Vec<Ipv6Addr>,
    #[serde(default)]
    search: Vec<Parsed<Domain>>,
    #[serde(default)]
    known_router: Vec<Ipv4Addr>,
    #[serde(default)]
    trust_router: Vec<Ipv4Addr>,
    check_neighbors: Option<Neighbors>,
});

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Neighbors {
    Off,
    WhereBlind,
    On,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum RouterPreference {
    Low,
    Medium,
    High,
}

impl RouterTable {
    fn options(mut self) -> RouterOptions {
        let link = self.link(DEFAULT_DEVICE);
        let prefix = |prefix| {
            let default = PublishedPrefix::new(prefix);
            PublishedPrefix {
                valid_lifetime: self.valid_lifetime.map_or(default.valid_lifetime, Lifetime::from_secs),
                preferred_lifetime: self.preferred_lifetime.map_or(default.preferred_lifetime, Lifetime::from_secs),
                ..default
            }
        };
        let prefixes = values(self.prefix).into_iter().map(prefix).collect();
        let mut config = RouterConfig::DEFAULT;
        config.advertise_default_route = self.default_route.unwrap_or(config.advertise_default_route);
        config.router_lifetime = self.router_lifetime.unwrap_or(config.router_lifetime);
        config.preference = match self.preference {
            Some(RouterPreference::Low) => Preference::Low,
            Some(RouterPreference::High) => Preference::High,
            Some(RouterPreference::Medium) | None => Preference::Medium,
        };
        config.check_neighbors = match self.check_neighbors {
            Some(Neighbors::On) => CheckNeighbors::On,
            Some(Neighbors::Off) => CheckNeighbors::Off,
            Some(Neighbors::WhereBlind) | None => CheckNeighbors::WhereBlind,
        };
        RouterOptions {
            link,
            local: self.local,
            prefixes,
            routes: values(self.advertise_route),
            dns_servers: self.dns,
            search_domains: values(self.search).into_iter().map(|domain| domain.0).collect(),
            known_routers: self.known_router,
            trusted_routers: self.trust_router,
            config,
        }
    }
}

/// A search domain, as it is written.
struct Domain(String);

impl FromStr for Domain {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        text.parse::<Name>().map(|_| Self(text.to_owned()))
    }
}

table!(TunnelTable {
    local: Ipv4Addr,
    remote: Ipv4Addr,
    #[serde(default)]
    address: Vec<Parsed<AddressWithLength>>,
    neighbor_probes: Option<bool>,
});

impl TunnelTable {
    fn options(mut self) -> TunnelOptions {
        let mut options = TunnelOptions::new(self.local, self.remote);
        options.link = self.link(tunnel::DEFAULT_DEVICE);
        options.addresses = values(self.address).into_iter().map(|address| address.0).collect();
        options.probe_remote = self.neighbor_probes.unwrap_or(options.probe_remote);
        options
    }
}

table!(SixRdTable {
    role: Option<SixRdRole>,
    prefix: Parsed<Ipv6Prefix>,
    #[serde(default)]
    v4_mask_len: u8,
    local: Ipv4Addr,
    #[serde(default)]
    br: Vec<Ipv4Addr>,
    customer: Option<Ipv4Addr>,
    #[serde(default)]
    known_router: Vec<Ipv4Addr>,
    #[serde(default)]
    anycast: bool,
    #[serde(default)]
    strict_siblings: bool,
    #[serde(default)]
    lan: Vec<Parsed<LanOptions>>,
});

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SixRdRole {
    Ce,
    Br,
}

impl SixRdTable {
    fn options(mut self) -> SixRdOptions {
        let role = match self.role {
            Some(SixRdRole::Br) => sixrd::Role::BorderRelay,
            Some(SixRdRole::Ce) | None => sixrd::Role::CustomerEdge,
        };
        let mut options = SixRdOptions::new(role, self.prefix.0, self.v4_mask_len, self.local);
        options.link = self.link(sixrd::DEFAULT_DEVICE);
        options.relays = self.br;
        options.customer = self.customer;
        options.known_routers = self.known_router;
        options.anycast = self.anycast;
        options.strict_siblings = self.strict_siblings;
        options.lans = values(self.lan);
        options
    }
}

table!(SixToFourTable {
    role: Option<SixToFourRole>,
    #[serde(default)]
    local: Vec<Ipv4Addr>,
    relay: Option<Parsed<Entry>>,
    #[serde(default)]
    probe_relay: bool,
    #[serde(default)]
    beside_native: bool,
    #[serde(default)]
    accept_relay: Vec<Ipv4Addr>,
    #[serde(default)]
    client: Vec<Parsed<Ipv4Prefix>>,
    #[serde(default)]
    anycast: bool,
    #[serde(default)]
    lan: Vec<Parsed<LanOptions>>,
    #[serde(default)]
    accept_bogons: bool,
});

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum SixToFourRole {
    HostRouter,
    Router,
    Relay,
}

impl SixToFourTable {
    fn options(mut self) -> SixToFourOptions {
        let mut options = SixToFourOptions::new(match self.role {
            Some(SixToFourRole::HostRouter) | None => sixtofour::Role::HostRouter,
            Some(SixToFourRole::Router) => sixtofour::Role::Router,
            Some(SixToFourRole::Relay) => sixtofour::Role::Relay,
        });
        options.link = self.link(sixtofour::DEFAULT_DEVICE);
        options.local = self.local;
        options.relay = self.relay.map(|relay| relay.0);
        options.probe_relay = self.probe_relay;
        options.beside_native |= self.beside_native;
        options.accepted_relays = self.accept_relay;
        options.clients = values(self.client);
        options.anycast = self.anycast;
        options.lans = values(self.lan);
        options.accept_bogons = self.accept_bogons;
        options
    }
}

/// A value that is written as text.
#[derive(Clone, Debug)]
pub(super) struct Parsed<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Parsed by a visitor, since its mistakes have a place: that of one element in a list.
        deserializer.deserialize_str(Text(PhantomData))
    }
}

struct Text<T>(PhantomData<T>);

impl<T: FromStr<Err: fmt::Display>> Text<T> {
    /// What is no text: not what it would be in quotes, or a text without them.
    fn without_quotes<E: de::Error>(&self, text: &str, found: Unexpected<'_>) -> E {
        match text.parse::<T>() {
            Ok(_) => E::invalid_type(found, self),
            Err(error) => E::custom(format_args!("{text}: {error}")),
        }
    }
}

impl<T: FromStr<Err: fmt::Display>> Visitor<'_> for Text<T> {
    type Value = Parsed<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Parsed<T>, E> {
        text.parse().map(Parsed).map_err(|error: T::Err| {
            let error = error.to_string();
            if error.starts_with("cannot ") {
                E::custom(error)
            } else {
                E::custom(format_args!("{}: {error}", shown(text)))
            }
        })
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Parsed<T>, E> {
        Err(self.without_quotes(&value.to_string(), Unexpected::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Parsed<T>, E> {
        Err(self.without_quotes(&value.to_string(), Unexpected::Signed(value)))
    }
}

pub(super) fn values<T>(parsed: Vec<Parsed<T>>) -> Vec<T> {
    parsed.into_iter().map(|value| value.0).collect()
}
