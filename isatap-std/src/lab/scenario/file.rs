//! The text of a scenario, but its nodes and steps.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::Ipv6Prefix;
use toml::Spanned;

use super::super::cloud::Conditions;
use super::super::nat::NatKind;
use super::direct_access::DirectAccessTable;
use super::node::NodeTable;
use super::step::StepTable;
use super::value::{Percent, Span, Text};
use crate::mistakes::Hints;
use crate::spec::file::{ALIASES, EXAMPLES};
use crate::spec::{AddressWithLength, RANGES};

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
    pub(super) node: Vec<Spanned<NodeTable>>,
    #[serde(default)]
    pub(super) native: Vec<Spanned<NativeTable>>,
    #[serde(default)]
    pub(super) nat: Vec<Spanned<NatTable>>,
    #[serde(default)]
    pub(super) balancer: Vec<Spanned<BalancerTable>>,
    /// It has done its part before this is read.
    #[serde(default, rename = "direct-access")]
    _direct_access: Option<DirectAccessTable>,
    #[serde(default)]
    pub(super) step: Vec<Spanned<StepTable>>,
}

impl Hints for File {
    const ALIASES: &'static [(&'static str, &'static str)] = ALIASES;
    const RANGES: &'static [(&'static str, u16, u16)] = &RANGES;
    const EXAMPLES: &'static [(&'static str, &'static str, &'static str)] = EXAMPLES;
    const GONE: &'static [(&'static str, &'static str, &'static str)] = &[
        (
            "",
            "host",
            "write [[node]] with name and ipv4, and below it [[node.isatap-host]], where routers and router-name are router",
        ),
        (
            "",
            "router",
            "write [[node]] with name, and below it [[node.isatap-router]] with local and prefix, and [[node.lan]]",
        ),
        ("", "isatap-host", "write [[node]] with name and ipv4, and below it [[node.isatap-host]]"),
        ("", "isatap-router", "write [[node]] with name, and below it [[node.isatap-router]]"),
        ("", "tunnel", "write [[node]] with name, and below it [[node.tunnel]]"),
        ("", "6to4", "write [[node]] with name and ipv4, and below it [[node.6to4]] with role, and [[node.lan]]"),
        (
            "",
            "6rd",
            "write [[node]] with name, and below it [[node.6rd]], where block is v4-mask-len, border-relays are br, and a \
             border relay has role = \"br\"; by-relay is a [[node.route]]",
        ),
        ("", "teredo-client", "write [[node]] with name, ipv4 and nat, and below it [[node.teredo-client]]"),
        (
            "",
            "teredo-server",
            "write [[node]] with name, and below it [[node.teredo-server]] with primary, and [[node.lan]]",
        ),
        (
            "",
            "teredo-relay",
            "write [[node]] with name, and below it [[node.teredo-relay]] with local, and [[node.lan]]",
        ),
        (
            "node.tunnel",
            "kind",
            "write [[node.isatap-router]], [[node.6rd]] or [[node.6to4]] with the keys of isatap run; [[node.tunnel]] is \
             a configured tunnel",
        ),
        ("node.route", "publish", "write the prefix into advertise-route of [[node.isatap-router]]"),
    ];
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

/// `[[native]]`: an IPv6 host without a tunnel.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NativeTable {
    pub(super) name: String,
    pub(super) lan: String,
    pub(super) address: Text<AddressWithLength>,
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

/// `[[nat]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct NatTable {
    pub(super) name: String,
    pub(super) kind: Text<NatKind>,
    /// How it looks from outside.
    pub(super) ipv4: Ipv4Addr,
}

/// `[[balancer]]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct BalancerTable {
    pub(super) name: String,
    pub(super) ipv4: Ipv4Addr,
    pub(super) servers: Vec<Ipv4Addr>,
}
