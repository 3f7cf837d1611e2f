//! The text of a scenario, but its nodes and steps.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::Ipv6Prefix;
use toml::Spanned;

use super::super::cloud::Conditions;
use super::super::nat::NatKind;
use super::direct_access::DirectAccessTable;
use super::node::NodeTable;
use super::step::StepTable;
use super::table::table;
use super::tcp::ServerTable;
use super::value::{Percent, Span, Text};
use crate::mistakes::Hints;
use crate::spec::file::{ALIASES, EXAMPLES};
use crate::spec::{AddressWithLength, RANGES};

table! {
    /// A whole file.
    pub(super) File ["In front of all tables"] {
        /// One line on what the scenario shows. Needed.
        // Were it missed by the reader, nothing else would be found.
        #[serde(default)]
        "description" ["\"TEXT\""] pub(super) description: String,
        /// What chance follows from: the same seed gives the same packets.
        #[serde(default)]
        "seed" ["N; default 1"] pub(super) seed: Option<u64>,
        /// How long the scenario goes on at least, from its start.
        #[serde(default)]
        "duration" ["\"SPAN\"; default until the last step"] pub(super) duration: Option<Span>,
        /// The IPv4 network.
        #[serde(default)]
        "cloud" ["[cloud]"] pub(super) cloud: CloudTable,
        /// Names.
        #[serde(default)]
        "name" ["[[name]]"] pub(super) name: Vec<NameTable>,
        /// Nodes with tunnels.
        #[serde(default)]
        "node" ["[[node]]"] pub(super) node: Vec<Spanned<NodeTable>>,
        /// Hosts without.
        #[serde(default)]
        "native" ["[[native]]"] pub(super) native: Vec<Spanned<NativeTable>>,
        /// NATs.
        #[serde(default)]
        "nat" ["[[nat]]"] pub(super) nat: Vec<Spanned<NatTable>>,
        /// Load balancers.
        #[serde(default)]
        "balancer" ["[[balancer]]"] pub(super) balancer: Vec<Spanned<BalancerTable>>,
        /// TCP servers.
        #[serde(default)]
        "server" ["[[server]]"] pub(super) server: Vec<Spanned<ServerTable>>,
        /// Derived prefixes. It has done its part before this is read.
        #[serde(default)]
        "direct-access" ["[direct-access]"] _direct_access: Option<DirectAccessTable>,
        /// What happens.
        #[serde(default)]
        "step" ["[[step]]"] pub(super) step: Vec<Spanned<StepTable>>,
    }
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

table! {
    /// The IPv4 network between all nodes. The same keys as a step change it from then on.
    #[derive(Default)]
    pub(super) CloudTable ["[cloud]"] {
        /// How long a packet takes at least.
        "latency" ["\"SPAN\"; default \"5ms\""] latency: Option<Span>,
        /// How much longer it may take. Packets may overtake others.
        "jitter" ["\"SPAN\"; default \"0s\""] jitter: Option<Span>,
        /// How many packets in a hundred get lost.
        "loss" ["PERCENT; default 0"] loss: Option<Percent>,
        /// How many arrive twice.
        "duplication" ["PERCENT; default 0"] duplication: Option<Percent>,
        /// How many arrive late, so that others overtake them.
        "reordering" ["PERCENT; default 0"] reordering: Option<Percent>,
        /// The longest packet that fits, in bytes. A longer one is fragmented, or refused with an ICMPv4
        /// message where it has DF set.
        "mtu" ["N; default 1500"] mtu: Option<usize>,
        /// Whether longer packets with DF set vanish without that message.
        "black-hole" ["true or false; default false"] black_hole: Option<bool>,
        /// Routers on the way: each takes one from the TTL.
        "hops" ["N; default 1"] hops: Option<u8>,
    }
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

table! {
    /// A name in the DNS. The same keys as a step change it.
    pub(super) NameTable ["[[name]]"] {
        /// The name.
        "name" ["\"NAME\"; needed"] pub(super) name: String,
        /// Its A records; without one there is no such name.
        #[serde(default)]
        "addresses" ["[\"V4\", …]"] pub(super) addresses: Vec<Ipv4Addr>,
        /// How long the answer is good for.
        #[serde(default = "Span::hour")]
        "ttl" ["\"SPAN\"; default \"1h\""] pub(super) ttl: Span,
    }
}

table! {
    /// An IPv6 host without a tunnel.
    pub(super) NativeTable ["[[native]]"] {
        /// Its name.
        "name" ["\"NAME\"; needed"] pub(super) name: String,
        /// The segment that it stands on.
        "lan" ["\"LAN\"; needed"] pub(super) lan: String,
        /// Its address there.
        "address" ["\"P/LEN\"; needed"] pub(super) address: Text<AddressWithLength>,
        /// Its default router.
        #[serde(default)]
        "gateway" ["\"V6\""] pub(super) gateway: Option<Ipv6Addr>,
        /// Routers for some destinations alone.
        #[serde(default)]
        "routes" ["[{ … }, …]"] pub(super) routes: Vec<NativeRoute>,
    }
}

table! {
    /// A static route of an IPv6 host.
    pub(super) NativeRoute ["routes = [{ … }] of [[native]]"] {
        /// The destinations.
        "prefix" ["\"P/LEN\"; needed"] pub(super) prefix: Text<Ipv6Prefix>,
        /// The router.
        "via" ["\"V6\"; needed"] pub(super) via: Ipv6Addr,
    }
}

table! {
    /// A NAT, for nodes that name it. It carries UDP alone.
    pub(super) NatTable ["[[nat]]"] {
        /// Its name.
        "name" ["\"NAME\"; needed"] pub(super) name: String,
        /// How it maps and filters: cone, address-restricted, port-restricted, port-preserving,
        /// sequential, port-symmetric or address-symmetric.
        "kind" ["\"KIND\"; needed"] pub(super) kind: Text<NatKind>,
        /// Its address outside.
        "ipv4" ["\"V4\"; needed"] pub(super) ipv4: Ipv4Addr,
        /// The first UDP port that it gives; drawn as its kind does if it is left out.
        #[serde(default)]
        "port" ["N"] pub(super) port: Option<u16>,
    }
}

table! {
    /// A balancer that gives each client a server of its own.
    pub(super) BalancerTable ["[[balancer]]"] {
        /// Its name.
        "name" ["\"NAME\"; needed"] pub(super) name: String,
        /// Its address.
        "ipv4" ["\"V4\"; needed"] pub(super) ipv4: Ipv4Addr,
        /// The servers behind it.
        "servers" ["[\"V4\", …]; needed"] pub(super) servers: Vec<Ipv4Addr>,
    }
}
