//! One TOML file for a whole node.
//!
//! ```toml
//! [[isatap-router]]
//! dev = "isatap0"
//! local = ["10.0.0.1"]
//! prefix = ["2001:db8:0:7::/64"]
//! advertise-route = ["2001:db8:0:8::/64"]
//!
//! [[isatap-host]]
//! dev = "isatap1"
//! router = ["192.0.2.1", "isatap.example."]
//!
//! [[tunnel]]
//! local = "192.0.2.1"
//! remote = "198.51.100.1"
//! address = ["2001:db8:77::1/64"]
//!
//! [[6rd]]
//! role = "ce"
//! prefix = "2001:db8::/32"
//! v4-mask-len = 8
//! local = "10.100.100.1"
//! br = ["10.0.0.1"]
//! lan = ["eth2", "eth3:a0"]
//!
//! [[6to4]]
//! role = "relay"
//! local = ["131.107.0.1"]
//!
//! [[native]]
//! dev = "eth1"
//! forwarding = true
//!
//! [[teredo-client]]
//! server = "teredo.example.net"
//! ```
//!
//! Keys are the options of the commands `isatap host`, `router`, `tunnel`, `6rd`, `6to4` and
//! `teredo client`, `server` and `relay`; what may be repeated there is a list here. Times are whole seconds. An unknown key is a mistake, and
//! every mistake is told with its line.

mod teredo;

pub use teredo::{Bind, TeredoLink};

use crate::check::{self, AddressWithLength};
use crate::driver::attachment::DEFAULT_METRIC;
use crate::isatap::{DEFAULT_DEVICE, HostOptions, LinkOptions, LocatorSource, RouterOptions};
use crate::lan::LanOptions;
use crate::node::MOST_LINKS;
use crate::resolve::Entry;
use crate::sixrd::{self, SixRdOptions};
use crate::sixtofour::{self, SixToFourOptions};
use crate::tunnel::{self, TunnelOptions};
use isatap_core::isatap::{CheckNeighbors, HostConfig, LinkLocal, PublishedPrefix, RouterConfig, SolicitDestination};
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use serde::Deserialize;
use serde::de::{self, Deserializer};
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

/// What a file describes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// Its tunnels, those of a kind in the order of the file.
    pub links: Vec<Link>,
    /// Its Teredo clients, servers and relays.
    pub teredo: Vec<TeredoLink>,
    /// What it says of native links.
    pub natives: Vec<Native>,
}

/// One protocol-41 tunnel of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Link {
    /// `[[isatap-host]]`
    IsatapHost(HostOptions),
    /// `[[isatap-router]]`
    IsatapRouter(RouterOptions),
    /// `[[tunnel]]`
    Tunnel(TunnelOptions),
    /// `[[6rd]]`
    SixRd(SixRdOptions),
    /// `[[6to4]]`
    SixToFour(SixToFourOptions),
}

/// `[[native]]`: a device that carries IPv6 itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Native {
    /// The device.
    pub device: String,
    /// Whether the kernel is to forward between it and others.
    pub forwarding: bool,
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

impl std::error::Error for Problem {}

impl Link {
    /// What it has in common with links of other kinds.
    #[must_use]
    pub fn common(&self) -> &LinkOptions {
        match self {
            Link::IsatapHost(host) => &host.link,
            Link::IsatapRouter(router) => &router.link,
            Link::Tunnel(tunnel) => &tunnel.link,
            Link::SixRd(sixrd) => &sixrd.link,
            Link::SixToFour(sixtofour) => &sixtofour.link,
        }
    }

    /// The same, to be changed.
    pub fn common_mut(&mut self) -> &mut LinkOptions {
        match self {
            Link::IsatapHost(host) => &mut host.link,
            Link::IsatapRouter(router) => &mut router.link,
            Link::Tunnel(tunnel) => &mut tunnel.link,
            Link::SixRd(sixrd) => &mut sixrd.link,
            Link::SixToFour(sixtofour) => &mut sixtofour.link,
        }
    }

    /// The device to make.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.common().device
    }

    /// The LANs that get a prefix of it.
    #[must_use]
    pub fn lans(&self) -> &[LanOptions] {
        match self {
            Link::SixRd(sixrd) => &sixrd.lans,
            Link::SixToFour(sixtofour) => &sixtofour.lans,
            _ => &[],
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Link::IsatapHost(_) => "ISATAP host",
            Link::IsatapRouter(_) => "ISATAP router",
            Link::Tunnel(_) => "configured tunnel",
            Link::SixRd(SixRdOptions { role: sixrd::Role::CustomerEdge, .. }) => "6rd customer edge",
            Link::SixRd(_) => "6rd border relay",
            Link::SixToFour(SixToFourOptions { role: sixtofour::Role::HostRouter, .. }) => "6to4 host/router",
            Link::SixToFour(SixToFourOptions { role: sixtofour::Role::Router, .. }) => "6to4 router",
            Link::SixToFour(_) => "6to4 relay",
        }
    }

    fn check(&self) -> Result<(), crate::Error> {
        match self {
            Link::IsatapHost(host) => host.check(),
            Link::IsatapRouter(router) => router.check(),
            Link::Tunnel(tunnel) => tunnel.check(),
            Link::SixRd(sixrd) => sixrd.check(),
            Link::SixToFour(sixtofour) => sixtofour.check(),
        }
    }
}

/// What `isatap check` is to know of a link. Names are not resolved.
impl TryFrom<&Link> for check::LinkOptions {
    type Error = crate::Error;

    fn try_from(link: &Link) -> Result<Self, crate::Error> {
        let needs_local = || {
            let error = crate::Error::usage("check", link.device(), "its IPv4 addresses are known only while it runs");
            error.with_advice("write local into the file")
        };
        Ok(match link {
            Link::IsatapHost(host) => {
                let LocatorSource::Fixed(locals) = &host.locators else { return Err(needs_local()) };
                let address = |router: &Entry| match router {
                    Entry::Address(address) => Some(*address),
                    Entry::Name(_) => None,
                };
                check::LinkOptions::Isatap(check::IsatapOptions {
                    locals: locals.clone(),
                    routers: host.routers.iter().filter_map(address).collect(),
                    members: host.link.members.clone(),
                    ..check::IsatapOptions::default()
                })
            }
            Link::IsatapRouter(router) => check::LinkOptions::Isatap(check::IsatapOptions {
                router: true,
                locals: router.local.clone(),
                routers: router.known_routers.clone(),
                prefixes: router.prefixes.iter().map(|published| published.prefix).collect(),
                members: router.link.members.clone(),
            }),
            Link::Tunnel(tunnel) => check::LinkOptions::Configured {
                local: tunnel.local,
                remote: tunnel.remote,
                addresses: tunnel.addresses.clone(),
            },
            Link::SixRd(sixrd) => check::LinkOptions::SixRd(check::SixRdOptions {
                border_relay: sixrd.role == sixrd::Role::BorderRelay,
                local: sixrd.local,
                prefix: sixrd.prefix,
                ipv4_mask_len: sixrd.ipv4_mask_len,
                relays: if sixrd.relays.is_empty() { &sixrd.known_routers } else { &sixrd.relays }.clone(),
            }),
            Link::SixToFour(sixtofour) if sixtofour.local.is_empty() => return Err(needs_local()),
            Link::SixToFour(sixtofour) => check::LinkOptions::SixToFour(check::SixToFourOptions {
                relay: sixtofour.role == sixtofour::Role::Relay,
                locals: sixtofour.local.clone(),
                accept_bogons: sixtofour.accept_bogons,
            }),
        })
    }
}

impl Config {
    /// Reads the text of a file; `file` is its name, for errors.
    ///
    /// Whether this machine has the addresses and devices that it names is not asked.
    ///
    /// # Errors
    ///
    /// All mistakes that can be told at once, by line; of a file that cannot be read as
    /// TOML, or has a value of a wrong kind, the first.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let at = |offset: usize, what: String| Problem {
            file: file.to_owned(),
            line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
            text: what,
        };
        let mut tables: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![at(offset, error.message().replace('\n', ", "))]
        })?;
        let mut problems = Vec::new();
        let mut links: Vec<Link> = Vec::new();
        for (begin, link) in tables.links() {
            let link = match link {
                Ok(link) => link,
                Err(what) => {
                    problems.push(at(begin, what));
                    continue;
                }
            };
            if let Err(error) = link.check() {
                problems.push(at(begin, error.to_string()));
            }
            if links.iter().any(|other| other.device() == link.device()) {
                let text = format!("a second link has the device {}: give each its own dev", link.device());
                problems.push(at(begin, text));
            }
            // One file records what all links send.
            let recorded = links.iter().find_map(|other| other.common().pcap.as_ref());
            if let (Some(first), Some(second)) = (recorded, &link.common().pcap)
                && first != second
            {
                problems
                    .push(at(begin, format!("packets are recorded into {} already: give pcap once", first.display())));
            }
            links.push(link);
            problems.extend(conflicts(&links).map(|text| at(begin, text)));
        }
        let mut teredo: Vec<TeredoLink> = Vec::new();
        for (begin, link) in tables.teredo().links() {
            let link = match link {
                Ok(link) => link,
                Err(what) => {
                    problems.push(at(begin, what));
                    continue;
                }
            };
            if let Err(error) = link.options.check() {
                problems.push(at(begin, error.to_string()));
            }
            let common = link.options.link();
            let others = || teredo.iter().map(|other| other.options.link());
            let same_device = |device: &str| device == common.device;
            if links.iter().any(|other| same_device(other.device())) || others().any(|other| same_device(&other.device))
            {
                let text = format!("a second link has the device {}: give each its own dev", common.device);
                problems.push(at(begin, text));
            }
            // Each has sockets of its own, and a file of its own.
            let recorded = links.iter().map(|other| &other.common().pcap).chain(others().map(|other| &other.pcap));
            if let Some(path) = recorded.flatten().find(|path| common.pcap.as_ref() == Some(*path)) {
                let text = format!("packets are recorded into {} already: give Teredo its own file", path.display());
                problems.push(at(begin, text));
            }
            teredo.push(link);
        }
        if links.is_empty() && teredo.is_empty() && problems.is_empty() {
            problems.push(at(
                0,
                "nothing to run: add [[isatap-host]] or [[isatap-router]], [[tunnel]], [[6rd]], [[6to4]], \
                 [[teredo-client]], [[teredo-server]] or [[teredo-relay]]"
                    .to_owned(),
            ));
        }
        let natives = tables.native.into_iter().map(|table| Native { device: table.dev, forwarding: table.forwarding });
        let config = Config { links, teredo, natives: natives.collect() };
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// What is wrong with the last of these links beside the others: a process has room for so
/// many, and a LAN has one subnet and is no tunnel.
fn conflicts(links: &[Link]) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let Some((last, before)) = links.split_last() else { return found.into_iter() };
    let mut lans: Vec<&LanOptions> = Vec::new();
    for lan in before.iter().flat_map(Link::lans) {
        if lans.iter().all(|known| known.device != lan.device) {
            lans.push(lan);
        }
    }
    let count = |links: usize, lans: usize| links + lans;
    let was_full = count(before.len(), lans.len()) > MOST_LINKS;
    for lan in last.lans() {
        // That a device is named twice by one link is that link's mistake, told already.
        let elsewhere = before.iter().flat_map(Link::lans).find(|known| known.device == lan.device);
        match elsewhere {
            Some(known) if known.subnet != lan.subnet => {
                found.push(format!("the LAN {lan} is {known} at another link: write the same at both"));
            }
            Some(_) => {}
            None => lans.push(lan),
        }
    }
    let made = |lan: &&&LanOptions| links.iter().any(|link| link.device() == lan.device);
    if let Some(lan) = lans.iter().find(made) {
        found.push(format!("{} is made by this file and no LAN: name a device with hosts", lan.device));
    }
    if !was_full && count(links.len(), lans.len()) > MOST_LINKS {
        found.push(format!("one process has at most {MOST_LINKS} links and LANs: put this one into another file"));
    }
    found.into_iter()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
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
    native: Vec<NativeTable>,
}

impl File {
    fn teredo(&mut self) -> teredo::Tables {
        teredo::Tables {
            clients: std::mem::take(&mut self.teredo_client),
            servers: std::mem::take(&mut self.teredo_server),
            relays: std::mem::take(&mut self.teredo_relay),
        }
    }

    /// Where each link's table begins, and the link.
    fn links(&mut self) -> Vec<(usize, Result<Link, String>)> {
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
struct NativeTable {
    dev: String,
    #[serde(default)]
    forwarding: bool,
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
    search: Vec<String>,
    #[serde(default)]
    known_router: Vec<Ipv4Addr>,
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
            Some(Neighbors::WhereBlind) => CheckNeighbors::WhereBlind,
            Some(Neighbors::Off) | None => CheckNeighbors::Off,
        };
        RouterOptions {
            link,
            local: self.local,
            prefixes,
            routes: values(self.advertise_route),
            dns_servers: self.dns,
            search_domains: self.search,
            known_routers: self.known_router,
            config,
        }
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
struct Parsed<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Parsed).map_err(|error| de::Error::custom(format_args!("{text}: {error}")))
    }
}

fn values<T>(parsed: Vec<Parsed<T>>) -> Vec<T> {
    parsed.into_iter().map(|value| value.0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(text: &str) -> Vec<String> {
        Config::parse("node.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_process_holds_so_many_links_and_says_at_which_line_there_are_too_many() {
        let tunnels = |count: usize| -> String {
            let tunnel =
                |at| format!("[[tunnel]]\ndev = \"t{at}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.{at}\"\n");
            (10..10 + count).map(tunnel).collect()
        };
        assert_eq!(Config::parse("node.toml", &tunnels(15)).unwrap().links.len(), MOST_LINKS);
        let problems = problems(&tunnels(17));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("node.toml:61: one process has at most 15 links"), "{problems:?}");
    }

    #[test]
    fn a_file_describes_what_the_commands_do() {
        let config = Config::parse(
            "node.toml",
            r#"
            [[isatap-router]]
            local = ["10.0.0.1"]
            prefix = ["2001:db8:0:7::/64"]
            advertise-route = ["2001:db8:0:8::/64"]
            default-route = false
            valid-lifetime = 7200
            preferred-lifetime = 3600
            preference = "high"
            search = ["corp.example"]
            member = ["10.0.0.0/8"]

            [[isatap-host]]
            dev = "isatap1"
            via = "eth0"
            router = ["192.0.2.1", "isatap.example."]
            mtu = 1400
            min-router-solicit-interval = 3

            [[native]]
            dev = "eth1"
            forwarding = true
            "#,
        )
        .unwrap();
        let [Link::IsatapHost(host), Link::IsatapRouter(router)] = config.links.as_slice() else {
            panic!("{config:?}");
        };
        assert_eq!((host.link.device.as_str(), router.link.device.as_str()), ("isatap1", "isatap0"));
        assert_eq!(host.locators, LocatorSource::Device("eth0".into()));
        assert_eq!(host.routers.len(), 2);
        assert_eq!(host.config.solicitation.min_round_interval, Duration::from_secs(3));
        assert_eq!(host.link.mtu, Some(1400));
        assert_eq!(router.prefixes[0].valid_lifetime, Lifetime::from_secs(7200));
        assert!(!router.config.advertise_default_route);
        assert_eq!(router.config.preference, Preference::High);
        assert_eq!(router.link.members, ["10.0.0.0/8".parse().unwrap()]);
        assert_eq!(config.natives, [Native { device: "eth1".into(), forwarding: true }]);
    }

    #[test]
    fn every_mistake_has_its_line_and_what_to_do() {
        let text = "[[isatap-host]]\nlocal = [\"10.0.0.2\"]\nvia = \"eth0\"\n\n\
                    [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/48\"]\n\n\
                    [[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8::/64\"]\n";
        let found = problems(text);
        assert_eq!(found.len(), 3, "{found:#?}");
        assert_eq!(found[0], "node.toml:1: local and via exclude each other: keep one");
        assert!(found[1].starts_with("node.toml:5: cannot advertise the prefix 2001:db8::/48: "), "{found:#?}");
        assert!(found[2].starts_with("node.toml:9: a second link has the device isatap0"), "{found:#?}");
    }

    #[test]
    fn values_and_keys_that_cannot_be_are_told_where_they_stand() {
        for (text, expected) in [
            ("[[isatap-host]]\nrouter = [\"10.0.0.256\"]\n", "node.toml:2: 10.0.0.256: expected an IPv4 address"),
            ("[[isatap-host]]\nmtu = -1\n", "node.toml:2: "),
            ("[[isatap-host]]\nmtu = 1000\n", "node.toml:1: cannot set the MTU 1000: a tunnel carries 1280"),
            ("[[isatap-host]]\n\nruoter = []\n", "node.toml:3: unknown field `ruoter`, expected one of"),
            ("[[isatap-router]]\nlocal = []\n", "node.toml:1: missing field `prefix`"),
            (
                "\n[[isatap-router]]\nlocal = []\nprefix = []\n",
                "node.toml:2: cannot start an ISATAP router: it needs an",
            ),
            ("[[isatap-host]]\nlocal = [\"10.0.0.2\"\n", "node.toml:"),
            ("[[native]]\ndev = \"eth1\"\n", "node.toml:1: nothing to run: add [[isatap-host]] or [[isatap-router]]"),
            ("", "node.toml:1: nothing to run"),
        ] {
            let found = problems(text);
            assert!(found[0].starts_with(expected), "{text:?}: {found:?}");
            assert!(!found[0].contains('\n'));
        }
    }
}
