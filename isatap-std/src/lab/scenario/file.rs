//! The text of a scenario: TOML, with every mistake told by its line.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::drop_reason::DropReason;
use isatap_core::link::InterfaceAddress;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use serde::de::{self, Deserialize, Deserializer};
use toml::Spanned;

use super::super::cloud::{Chance, Conditions};
use super::super::isatap::RouterOptions;
use super::direct_access::DirectAccessTable;
use super::node::NodeTable;
use super::teredo::{BalancerTable, ClientTable, NatTable, RelayTable, ServerTable};
use super::tunnels::{SixRdTable, SixToFourTable};
use crate::mistakes::Hints;
use crate::spec::AddressWithLength;

/// A whole file.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    /// There has to be one. Were it missed here, nothing else would be found.
    #[serde(default)]
    pub(super) description: String,
    #[serde(default)]
    pub(super) seed: Option<u64>,
    /// How long it goes on at least, from its start.
    #[serde(default)]
    pub(super) duration: Option<Span>,
    #[serde(default)]
    pub(super) cloud: CloudTable,
    #[serde(default)]
    pub(super) name: Vec<NameTable>,
    #[serde(default)]
    pub(super) host: Vec<Spanned<HostTable>>,
    #[serde(default)]
    pub(super) router: Vec<Spanned<RouterTable>>,
    #[serde(default)]
    pub(super) native: Vec<Spanned<NativeTable>>,
    #[serde(default, rename = "6to4")]
    pub(super) sixtofour: Vec<Spanned<SixToFourTable>>,
    #[serde(default, rename = "6rd")]
    pub(super) sixrd: Vec<Spanned<SixRdTable>>,
    #[serde(default)]
    pub(super) node: Vec<Spanned<NodeTable>>,
    #[serde(default)]
    pub(super) nat: Vec<Spanned<NatTable>>,
    #[serde(default)]
    pub(super) balancer: Vec<Spanned<BalancerTable>>,
    #[serde(default)]
    pub(super) teredo_client: Vec<Spanned<ClientTable>>,
    #[serde(default)]
    pub(super) teredo_server: Vec<Spanned<ServerTable>>,
    #[serde(default)]
    pub(super) teredo_relay: Vec<Spanned<RelayTable>>,
    /// It has done its part before this is read.
    #[serde(default, rename = "direct-access")]
    _direct_access: Option<DirectAccessTable>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<StepTable>>,
}

impl Hints for File {
    const GONE: &'static [(&'static str, &'static str, &'static str)] = &[(
        "node.tunnel",
        "kind",
        "write [[node.isatap-router]], [[node.6rd]] or [[node.6to4]] with the keys of isatap run; [[node.tunnel]] is a \
         configured tunnel",
    )];
}

/// `[cloud]`, and a step's `cloud`.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct CloudTable {
    latency: Option<Span>,
    jitter: Option<Span>,
    loss: Option<Percent>,
    duplication: Option<Percent>,
    reordering: Option<Percent>,
    mtu: Option<usize>,
    black_hole: Option<bool>,
    hops: Option<u8>,
}

impl CloudTable {
    /// `before`, with what this table says.
    pub(super) fn over(&self, before: Conditions) -> Conditions {
        Conditions {
            latency: self.latency.map_or(before.latency, |span| span.0),
            jitter: self.jitter.map_or(before.jitter, |span| span.0),
            loss: self.loss.map_or(before.loss, |percent| percent.0),
            duplication: self.duplication.map_or(before.duplication, |percent| percent.0),
            reordering: self.reordering.map_or(before.reordering, |percent| percent.0),
            mtu: self.mtu.unwrap_or(before.mtu).max(68),
            black_hole: self.black_hole.unwrap_or(before.black_hole),
            hops: self.hops.unwrap_or(before.hops),
        }
    }
}

/// `[[name]]`, and a step's `name`.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NameTable {
    pub(super) name: String,
    /// No address: no such name.
    #[serde(default)]
    pub(super) addresses: Vec<Ipv4Addr>,
    #[serde(default = "Span::hour")]
    pub(super) ttl: Span,
}

/// `[[host]]`: an ISATAP host.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct HostTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    /// Potential routers by address.
    #[serde(default)]
    pub(super) routers: Vec<Ipv4Addr>,
    /// The name of the potential routers.
    #[serde(default)]
    pub(super) router_name: Option<String>,
    /// When it gets its IPv4 addresses.
    #[serde(default)]
    pub(super) start: Span,
}

/// `[[router]]`: an ISATAP router, perhaps with a native link.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct RouterTable {
    pub(super) name: String,
    pub(super) ipv4: Vec<Ipv4Addr>,
    pub(super) prefixes: Vec<Text<Ipv6Prefix>>,
    /// More specific routes that it advertises.
    #[serde(default)]
    pub(super) routes: Vec<Text<Ipv6Prefix>>,
    /// As a default router, and of its routes.
    #[serde(default)]
    pub(super) preference: Preference,
    #[serde(default)]
    pub(super) router_lifetime: Option<Span>,
    #[serde(default)]
    pub(super) valid: Option<Span>,
    #[serde(default)]
    pub(super) preferred: Option<Span>,
    #[serde(default)]
    pub(super) mtu: Option<u16>,
    #[serde(default)]
    pub(super) lan: Option<String>,
    #[serde(default)]
    pub(super) lan_address: Option<Text<AddressWithPrefix>>,
    /// The next router on the LAN.
    #[serde(default)]
    pub(super) gateway: Option<Ipv6Addr>,
}

impl RouterTable {
    pub(super) fn options(&self) -> RouterOptions {
        let mut options = RouterOptions::advertising(&self.prefixes.iter().map(|prefix| prefix.0).collect::<Vec<_>>());
        for prefix in &mut options.prefixes {
            if let Some(valid) = self.valid {
                prefix.valid_lifetime = Lifetime::from_duration(valid.0);
            }
            if let Some(preferred) = self.preferred {
                prefix.preferred_lifetime = Lifetime::from_duration(preferred.0);
            }
        }
        if let Some(lifetime) = self.router_lifetime {
            options.config.router_lifetime = u16::try_from(lifetime.0.as_secs()).unwrap_or(u16::MAX);
        }
        options.config.mtu = self.mtu.or(options.config.mtu);
        options.config.preference = self.preference;
        options.routes = self.routes.iter().map(|prefix| (prefix.0, self.preference)).collect();
        options.lan = self.lan_address.map(|address| address.0);
        options.gateway = self.gateway;
        options
    }
}

/// `[[native]]`: an IPv6 host without a tunnel.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NativeTable {
    pub(super) name: String,
    pub(super) lan: String,
    pub(super) address: Text<AddressWithPrefix>,
    #[serde(default)]
    pub(super) gateway: Option<Ipv6Addr>,
    /// Routers for some destinations alone.
    #[serde(default)]
    pub(super) routes: Vec<NativeRoute>,
}

/// A static route of a host.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NativeRoute {
    pub(super) prefix: Text<Ipv6Prefix>,
    pub(super) via: Ipv6Addr,
}

/// `[[step]]`: a title, a deed, or both.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct StepTable {
    /// When, at the earliest; at once after the step before where not said.
    #[serde(default)]
    pub(super) at: Span,
    #[serde(default)]
    pub(super) title: Option<String>,
    ping: Option<PingDeed>,
    spoof: Option<SpoofDeed>,
    address: Option<AddressDeed>,
    unplug: Option<String>,
    plug: Option<String>,
    suspend: Option<String>,
    resume: Option<String>,
    ipv4: Option<Ipv4Deed>,
    cloud: Option<CloudTable>,
    name: Option<NameTable>,
}

impl StepTable {
    /// What the step does, at most one thing if it is written well.
    pub(super) fn deeds(&self) -> Vec<Deed> {
        let own = |name: &Option<String>| name.clone();
        let deeds = [
            self.ping.clone().map(Deed::Ping),
            self.spoof.clone().map(Deed::Spoof),
            self.address.clone().map(Deed::Address),
            own(&self.unplug).map(Deed::Unplug),
            own(&self.plug).map(Deed::Plug),
            own(&self.suspend).map(Deed::Suspend),
            own(&self.resume).map(Deed::Resume),
            self.ipv4.clone().map(Deed::Ipv4),
            self.cloud.clone().map(Deed::Cloud),
            self.name.clone().map(Deed::Name),
        ];
        deeds.into_iter().flatten().collect()
    }
}

/// What a step does.
#[derive(Clone, Debug)]
pub(super) enum Deed {
    /// Echo requests and what should come back.
    Ping(PingDeed),
    /// A packet of a liar, and where it should end.
    Spoof(SpoofDeed),
    /// An address that a node should have, or not.
    Address(AddressDeed),
    /// Pulls a node's cables.
    Unplug(String),
    /// Puts them back.
    Plug(String),
    /// Suspends a node.
    Suspend(String),
    /// Resumes it.
    Resume(String),
    /// Gives a node other IPv4 addresses.
    Ipv4(Ipv4Deed),
    /// Changes the cloud.
    Cloud(CloudTable),
    /// Changes a name.
    Name(NameTable),
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct PingDeed {
    pub(super) from: String,
    /// A node's name, or an address.
    pub(super) to: String,
    /// To and from the link-local addresses.
    #[serde(default)]
    pub(super) link_local: bool,
    #[serde(default)]
    pub(super) size: Option<usize>,
    #[serde(default)]
    pub(super) count: Option<u32>,
    #[serde(default = "Span::second")]
    pub(super) every: Span,
    /// How long to wait for the last reply.
    #[serde(default = "Span::two_seconds")]
    pub(super) within: Span,
    #[serde(default)]
    pub(super) expect: Expect,
    /// Replies that are enough, of `count`.
    #[serde(default)]
    pub(super) at_least: Option<u32>,
    /// Where it should end, and why.
    #[serde(default)]
    pub(super) drop: Option<DropTable>,
    /// The outer headers of requests and replies, in order.
    #[serde(default)]
    pub(super) outer: Vec<Text<Pair>>,
}

/// A protocol-41 packet that somebody in the cloud makes up: an echo request
/// whose headers say what its sender likes.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct SpoofDeed {
    pub(super) outer_source: Ipv4Addr,
    pub(super) outer_destination: Ipv4Addr,
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    #[serde(default = "hop_limit")]
    pub(super) hop_limit: u8,
    /// How long to watch what becomes of it.
    #[serde(default = "Span::second")]
    pub(super) within: Span,
    #[serde(default)]
    pub(super) drop: Option<DropTable>,
    /// How often the node sends it on that does so most often.
    #[serde(default)]
    pub(super) rounds: Option<Range>,
    /// How many tunnel packets come of it.
    #[serde(default)]
    pub(super) packets: Option<Range>,
}

/// How many of something there should be.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Range {
    #[serde(default)]
    at_least: u32,
    at_most: Option<u32>,
}

impl Range {
    pub(super) fn holds(self, count: u32) -> bool {
        count >= self.at_least && self.at_most.is_none_or(|most| count <= most)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.at_least, self.at_most) {
            (0, Some(most)) => write!(f, "{most} at most"),
            (least, Some(most)) => write!(f, "{least} to {most}"),
            (least, None) => write!(f, "{least} at least"),
        }
    }
}

/// The source and the destination of an outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair(pub(super) Ipv4Addr, pub(super) Ipv4Addr);

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.0, self.1)
    }
}

impl<'de> Deserialize<'de> for Text<Pair> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| {
            let pair = text.split_once(" -> ").and_then(|(from, to)| Some(Pair(from.parse().ok()?, to.parse().ok()?)));
            pair.map(Text)
                .ok_or_else(|| format!("{text:?} is not an outer header: write one as in \"192.0.2.1 -> 192.0.2.2\""))
        })
    }
}

/// Which node should drop a packet, and for which of the core's reasons.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DropTable {
    pub(super) node: String,
    pub(super) reason: Text<DropReason>,
}

/// What should come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Expect {
    /// A reply.
    #[default]
    Reply,
    /// Nothing.
    Silence,
    /// ICMPv6 "packet too big".
    TooBig,
    /// ICMPv6 "unreachable".
    Unreachable,
    /// Anything: it is only shown.
    Anything,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct AddressDeed {
    pub(super) node: String,
    pub(super) address: Ipv6Addr,
    #[serde(default = "yes")]
    pub(super) expect: bool,
}

#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct Ipv4Deed {
    pub(super) node: String,
    pub(super) addresses: Vec<Ipv4Addr>,
}

fn hop_limit() -> u8 {
    64
}

fn yes() -> bool {
    true
}

/// A duration: `1500us`, `5ms`, `2s`, `30m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    fn hour() -> Self {
        Span(Duration::from_secs(3600))
    }

    fn second() -> Self {
        Span(Duration::from_secs(1))
    }

    fn two_seconds() -> Self {
        Span(Duration::from_secs(2))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let micros = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000_u64,
            _ => return None,
        };
        Some(Span(Duration::from_micros(number.checked_mul(micros)?)))
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| {
            Span::parse(text).ok_or_else(|| {
                format!("{text:?} is not a duration: write a number and us, ms, s, m, h or d, as in \"30s\"")
            })
        })
    }
}

/// A share in percent: `10` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Percent(Chance);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(de::Error::custom(format!("{percent} is not a share in percent: write 0 to 100")));
        }
        // In range, so the conversion neither cuts nor wraps.
        Ok(Percent(Chance::per_million((percent * 10_000.0).round() as u32)))
    }
}

/// A value written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

/// What `parse` makes of a text. Read by a visitor, since only its mistakes have the place of one
/// element in a list.
pub(super) fn read_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<T, D::Error> {
    struct OfText<P>(P);

    impl<T, P: Fn(&str) -> Result<T, String>> de::Visitor<'_> for OfText<P> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            (self.0)(text).map_err(E::custom)
        }
    }

    deserializer.deserialize_str(OfText(parse))
}

impl<'de> Deserialize<'de> for Text<Ipv6Prefix> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| text.parse().map(Text).map_err(|error| format!("{text}: {error}")))
    }
}

impl<'de> Deserialize<'de> for Text<Ipv4Prefix> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| text.parse().map(Text).map_err(|error| format!("{text}: {error}")))
    }
}

impl<'de> Deserialize<'de> for Text<DropReason> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| {
            let known = DropReason::ALL.iter().find(|reason| reason.as_str() == text);
            known
                .copied()
                .map(Text)
                .ok_or_else(|| format!("{text:?} is not a reason for a drop: write one as in \"no-route\""))
        })
    }
}

/// An address and the length of its prefix.
pub(super) type AddressWithPrefix = InterfaceAddress;

impl<'de> Deserialize<'de> for Text<AddressWithPrefix> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        read_text(deserializer, |text| match text.parse::<AddressWithLength>() {
            Ok(AddressWithLength(address)) => Ok(Text(address)),
            Err(error) => Err(format!("{text}: {error}")),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(Span::parse("30s"), Some(Span(Duration::from_secs(30))));
        assert_eq!(Span::parse("2d"), Some(Span(Duration::from_secs(172_800))));
        assert_eq!(Span::parse("1500us"), Some(Span(Duration::from_micros(1500))));
        for bad in ["", "30", "s", "3 s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(Span::parse(bad), None, "{bad:?}");
        }
    }
}
