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
//! [[native]]
//! dev = "eth1"
//! forwarding = true
//! ```
//!
//! Keys are the options of the commands `isatap host` and `isatap router`; what may be
//! repeated there is a list here. Times are whole seconds. An unknown key is a mistake, and
//! every mistake is told with its line.

use crate::driver::attachment::DEFAULT_METRIC;
use crate::isatap::{DEFAULT_DEVICE, HostOptions, LinkOptions, LocatorSource, RouterOptions};
use crate::resolve::Entry;
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
    /// What it says of native links.
    pub natives: Vec<Native>,
}

/// One tunnel of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Link {
    /// `[[isatap-host]]`
    IsatapHost(HostOptions),
    /// `[[isatap-router]]`
    IsatapRouter(RouterOptions),
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
    /// The device to make.
    #[must_use]
    pub fn device(&self) -> &str {
        match self {
            Link::IsatapHost(host) => &host.link.device,
            Link::IsatapRouter(router) => &router.link.device,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Link::IsatapHost(_) => "ISATAP host",
            Link::IsatapRouter(_) => "ISATAP router",
        }
    }

    fn check(&self) -> Result<(), crate::Error> {
        match self {
            Link::IsatapHost(host) => host.check(),
            Link::IsatapRouter(router) => router.check(),
        }
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
        let tables: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            vec![at(offset, error.message().replace('\n', ", "))]
        })?;
        let mut problems = Vec::new();
        let mut links: Vec<Link> = Vec::new();
        let hosts = tables.isatap_host.into_iter().map(|table| {
            let begin = table.span().start;
            (begin, table.into_inner().options().map(Link::IsatapHost))
        });
        let routers = tables.isatap_router.into_iter().map(|table| {
            let begin = table.span().start;
            (begin, Ok(Link::IsatapRouter(table.into_inner().options())))
        });
        for (begin, link) in hosts.chain(routers) {
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
            links.push(link);
        }
        if links.is_empty() && problems.is_empty() {
            problems.push(at(0, "nothing to run: add [[isatap-host]] or [[isatap-router]]".to_owned()));
        }
        let natives = tables.native.into_iter().map(|table| Native { device: table.dev, forwarding: table.forwarding });
        let config = Config { links, natives: natives.collect() };
        problems.sort_by_key(|problem| problem.line);
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    #[serde(default)]
    isatap_host: Vec<Spanned<HostTable>>,
    #[serde(default)]
    isatap_router: Vec<Spanned<RouterTable>>,
    #[serde(default)]
    native: Vec<NativeTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct NativeTable {
    dev: String,
    #[serde(default)]
    forwarding: bool,
}

/// The options of every link.
struct LinkTable {
    dev: Option<String>,
    mtu: Option<u16>,
    ttl: Option<u8>,
    path_mtu_discovery: Option<bool>,
    member: Vec<Parsed<Ipv4Prefix>>,
    metric: Option<u32>,
    pcap: Option<PathBuf>,
}

impl LinkTable {
    fn options(self) -> LinkOptions {
        let default = LinkOptions::default();
        LinkOptions {
            device: self.dev.unwrap_or_else(|| DEFAULT_DEVICE.to_owned()),
            mtu: self.mtu,
            ttl: self.ttl.unwrap_or(default.ttl),
            path_mtu_discovery: self.path_mtu_discovery.unwrap_or(true),
            members: values(self.member),
            metric: self.metric.unwrap_or(DEFAULT_METRIC),
            pcap: self.pcap,
            ..default
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct HostTable {
    dev: Option<String>,
    mtu: Option<u16>,
    ttl: Option<u8>,
    path_mtu_discovery: Option<bool>,
    #[serde(default)]
    member: Vec<Parsed<Ipv4Prefix>>,
    metric: Option<u32>,
    pcap: Option<PathBuf>,
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
}

impl HostTable {
    fn options(self) -> Result<HostOptions, String> {
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
        let link = LinkTable {
            dev: self.dev,
            mtu: self.mtu,
            ttl: self.ttl,
            path_mtu_discovery: self.path_mtu_discovery,
            member: self.member,
            metric: self.metric,
            pcap: self.pcap,
        };
        Ok(HostOptions { link: link.options(), locators, routers: values(self.router), config })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct RouterTable {
    dev: Option<String>,
    mtu: Option<u16>,
    ttl: Option<u8>,
    path_mtu_discovery: Option<bool>,
    #[serde(default)]
    member: Vec<Parsed<Ipv4Prefix>>,
    metric: Option<u32>,
    pcap: Option<PathBuf>,
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
}

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
    fn options(self) -> RouterOptions {
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
        let link = LinkTable {
            dev: self.dev,
            mtu: self.mtu,
            ttl: self.ttl,
            path_mtu_discovery: self.path_mtu_discovery,
            member: self.member,
            metric: self.metric,
            pcap: self.pcap,
        };
        RouterOptions {
            link: link.options(),
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
