//! `[[step]]`: what happens, and what should come of it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::teredo::qualify::NatKind;

use super::file::{CloudTable, NameTable};
use super::select::SelectDeed;
use super::table::table;
use super::tcp::TcpDeed;
use super::value::{Mapped, Pair, Reason, Sent, Span};

table! {
    /// What happens next: a title, one thing to do or to expect, or both.
    pub(super) StepTable ["[[step]]"] {
        /// When, at the earliest, from the start of the scenario; else at once after the step before.
        #[serde(default)]
        "at" ["\"SPAN\""] pub(super) at: Span,
        /// What the reader is to see.
        #[serde(default)]
        "title" ["\"TEXT\""] pub(super) title: Option<String>,
        /// The figure of a textbook that the title is about: 15, 15 and 16, Table 1.
        #[serde(default)]
        "figure" ["\"NUMBER\""] pub(super) figure: Option<String>,
        /// Send echo requests, and expect something to come back.
        "ping" ["{ … }"] ping: Option<PingDeed>,
        /// Send a packet of a liar, and expect something to become of it.
        "spoof" ["{ … }"] spoof: Option<SpoofDeed>,
        /// Expect a node to have an address, or not.
        "address" ["{ … }"] address: Option<AddressDeed>,
        /// Expect a node to have sent some packets since the last title.
        "sent" ["{ … }"] sent: Option<SentDeed>,
        /// Expect a Teredo client to know its NAT.
        "qualified" ["{ … }"] pub(super) qualified: Option<QualifiedDeed>,
        /// Show in which order a node tries addresses, and expect one.
        "select" ["{ … }"] select: Option<SelectDeed>,
        /// Connect by TCP, and expect something to become of it.
        "tcp" ["{ … }"] pub(super) tcp: Option<TcpDeed>,
        /// End the connections that the clients on a node keep.
        "hang-up" ["\"NODE\""] hang_up: Option<String>,
        /// Pull a node's cables: no packet comes or goes, and select finds no address and no route.
        "unplug" ["\"NODE\""] unplug: Option<String>,
        /// Put them back.
        "plug" ["\"NODE\""] plug: Option<String>,
        /// Pull a node's cable to one LAN, or put it back.
        "lan" ["{ … }"] pub(super) lan: Option<LanDeed>,
        /// Suspend a node.
        "suspend" ["\"NODE\""] suspend: Option<String>,
        /// Resume it.
        "resume" ["\"NODE\""] resume: Option<String>,
        /// Give a node other IPv4 addresses.
        "ipv4" ["{ … }"] ipv4: Option<Ipv4Deed>,
        /// Change the network: the keys of [cloud].
        "cloud" ["{ … }"] cloud: Option<CloudTable>,
        /// Change a name: the keys of [[name]].
        "name" ["{ … }"] name: Option<NameTable>,
    }
}

impl StepTable {
    /// What the step does, at most one thing if it is written well.
    pub(super) fn deeds(&self) -> Vec<Deed> {
        let own = |name: &Option<String>| name.clone();
        let deeds = [
            self.ping.clone().map(Deed::Ping),
            self.spoof.clone().map(Deed::Spoof),
            self.address.clone().map(Deed::Address),
            self.sent.clone().map(Deed::Sent),
            self.qualified.clone().map(Deed::Qualified),
            self.select.clone().map(Deed::Select),
            self.tcp.clone().map(Deed::Tcp),
            own(&self.hang_up).map(Deed::HangUp),
            own(&self.unplug).map(Deed::Unplug),
            own(&self.plug).map(Deed::Plug),
            self.lan.clone().map(Deed::Lan),
            own(&self.suspend).map(Deed::Suspend),
            own(&self.resume).map(Deed::Resume),
            self.ipv4.clone().map(Deed::Ipv4),
            self.cloud.clone().map(Deed::Cloud),
            self.name.clone().map(Deed::Name),
        ];
        deeds.into_iter().flatten().collect()
    }

    /// What is wrong with a step. `known`: the names of all nodes, if none is lost.
    pub(super) fn check(&self, known: Option<&Vec<&str>>) -> Vec<String> {
        let mut wrong = Vec::new();
        let mut names: Vec<&str> = Vec::new();
        let deeds = self.deeds();
        match deeds.as_slice() {
            [] if self.title.is_none() => wrong.push("a step without a title and a deed: write one of them".into()),
            [_, _, ..] => wrong.push("a step that does two things: write a step for each".into()),
            [Deed::Ping(ping)] => {
                names.push(&ping.from);
                names.extend(Some(ping.to.as_str()).filter(|to| to.parse::<Ipv6Addr>().is_err()));
                names.extend(ping.drop.as_ref().map(|drop| drop.node.as_str()));
                if ping.size.is_some_and(|size| !(48..=65_535).contains(&size)) {
                    wrong.push("a ping has 48 to 65535 bytes: change size".into());
                }
                if ping.at_least.is_some_and(|least| least > ping.count.unwrap_or(1)) {
                    wrong.push("at-least is more than count: lower it".into());
                }
            }
            [Deed::Spoof(spoof)] => {
                names.extend(spoof.drop.as_ref().map(|drop| drop.node.as_str()));
                if spoof.drop.is_none() && spoof.rounds.is_none() && spoof.packets.is_none() {
                    wrong.push("a spoof that expects nothing: add drop, rounds or packets".into());
                }
            }
            [Deed::Address(deed)] => names.push(&deed.node),
            [Deed::Sent(deed)] => names.push(&deed.by),
            [Deed::Qualified(deed)] => names.push(&deed.node),
            [Deed::Select(deed)] => {
                names.push(&deed.node);
                names.extend(deed.names());
            }
            [Deed::Tcp(deed)] => names.extend(deed.names()),
            [Deed::Lan(deed)] => names.push(&deed.node),
            [Deed::Ipv4(deed)] => names.push(&deed.node),
            [Deed::Unplug(name) | Deed::Plug(name) | Deed::Suspend(name) | Deed::Resume(name) | Deed::HangUp(name)] => {
                names.push(name)
            }
            [Deed::Cloud(_) | Deed::Name(_)] | [] => {}
        }
        if self.figure.is_some() && self.title.is_none() {
            wrong.push("a figure without a title: add title".into());
        }
        let Some(known) = known else { return wrong };
        wrong.extend(names.iter().filter(|name| !known.contains(name)).map(|name| no_node(name, known)));
        wrong
    }
}

/// What to write instead of a name that is no node's.
pub(super) fn no_node(name: &str, known: &[&str]) -> String {
    let instead = if known.is_empty() { "add it".to_owned() } else { format!("use one of {}", known.join(", ")) };
    format!("no node is called {name:?}: {instead}")
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
    /// What a node should have sent since the last title.
    Sent(SentDeed),
    /// What a Teredo client should have found out.
    Qualified(QualifiedDeed),
    /// In which order a node should try addresses.
    Select(SelectDeed),
    /// A TCP connection, and what should become of it.
    Tcp(TcpDeed),
    /// Ends the connections that are kept.
    HangUp(String),
    /// Pulls a node's cables.
    Unplug(String),
    /// Puts them back.
    Plug(String),
    /// Pulls one of them, or puts it back.
    Lan(LanDeed),
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

table! {
    /// Echo requests.
    pub(super) PingDeed ["ping = { … } of [[step]]"] {
        /// Who sends them.
        "from" ["\"NODE\"; needed"] pub(super) from: String,
        /// To whom: a node, or an address.
        "to" ["\"NODE\" or \"V6\"; needed"] pub(super) to: String,
        /// Whether to use link-local addresses.
        #[serde(default)]
        "link-local" ["true or false; default false"] pub(super) link_local: bool,
        /// Bytes of each packet, with the IPv6 header.
        #[serde(default)]
        "size" ["N; default 56"] pub(super) size: Option<usize>,
        /// How many.
        #[serde(default)]
        "count" ["N; default 1"] pub(super) count: Option<u32>,
        /// How long after each other.
        #[serde(default = "Span::second")]
        "every" ["\"SPAN\"; default \"1s\""] pub(super) every: Span,
        /// How long to wait for the last reply.
        #[serde(default = "Span::two_seconds")]
        "within" ["\"SPAN\"; default \"2s\""] pub(super) within: Span,
        /// What should come back.
        #[serde(default)]
        "expect" ["\"reply\" or \"silence\" or \"too-big\" or \"unreachable\" or \"anything\"; default \"reply\""]
        pub(super) expect: Expect,
        /// How many of them are enough.
        #[serde(default)]
        "at-least" ["N; default all"] pub(super) at_least: Option<u32>,
        /// Where a packet should end, and why.
        #[serde(default)]
        "drop" ["{ … }"] pub(super) drop: Option<DropTable>,
        /// The outer headers of requests and replies at each hop, in order: "V4 -> V4", with UDP ports
        /// "V4:PORT -> V4:PORT".
        #[serde(default)]
        "outer" ["[\"V4 -> V4\", …]"] pub(super) outer: Vec<Pair>,
    }
}

table! {
    /// A protocol-41 packet that somebody in the cloud makes up: an echo request whose headers say what
    /// its sender likes. At least one of drop, rounds and packets is needed.
    pub(super) SpoofDeed ["spoof = { … } of [[step]]"] {
        /// The outer source.
        "outer-source" ["\"V4\"; needed"] pub(super) outer_source: Ipv4Addr,
        /// The outer destination.
        "outer-destination" ["\"V4\"; needed"] pub(super) outer_destination: Ipv4Addr,
        /// The inner source.
        "source" ["\"V6\"; needed"] pub(super) source: Ipv6Addr,
        /// The inner destination.
        "destination" ["\"V6\"; needed"] pub(super) destination: Ipv6Addr,
        /// The inner hop limit.
        #[serde(default = "hop_limit")]
        "hop-limit" ["N; default 64"] pub(super) hop_limit: u8,
        /// How long to watch what becomes of it.
        #[serde(default = "Span::second")]
        "within" ["\"SPAN\"; default \"1s\""] pub(super) within: Span,
        /// Where it should end, and why.
        #[serde(default)]
        "drop" ["{ … }"] pub(super) drop: Option<DropTable>,
        /// How often the node sends it on that does so most often.
        #[serde(default)]
        "rounds" ["{ … }"] pub(super) rounds: Option<Range>,
        /// How many tunnel packets come of it.
        #[serde(default)]
        "packets" ["{ … }"] pub(super) packets: Option<Range>,
    }
}

table! {
    /// How many of something there should be.
    #[derive(Copy)]
    pub(super) Range ["rounds = { … } and packets = { … } of spoof"] {
        /// The fewest.
        #[serde(default)]
        "at-least" ["N; default 0"] at_least: u32,
        /// The most.
        "at-most" ["N"] at_most: Option<u32>,
    }
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

table! {
    /// Which node should drop a packet, and why: isatap check --reasons lists the reasons.
    pub(super) DropTable ["drop = { … } of ping and spoof"] {
        /// The node.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The reason.
        "reason" ["\"REASON\"; needed"] pub(super) reason: Reason,
    }
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

table! {
    /// An address that a node should have, or not. Of a Teredo address the random flags are not
    /// compared.
    pub(super) AddressDeed ["address = { … } of [[step]]"] {
        /// The node.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The address.
        "address" ["\"V6\"; needed"] pub(super) address: Ipv6Addr,
        /// Whether it should have it.
        #[serde(default = "yes")]
        "expect" ["true or false; default true"] pub(super) expect: bool,
    }
}

table! {
    /// All that a node should have sent into the cloud since the last title, in order.
    pub(super) SentDeed ["sent = { … } of [[step]]"] {
        /// The node.
        "by" ["\"NODE\"; needed"] pub(super) by: String,
        /// What each packet is, as isatap explain -j calls its innermost layer or bubble, and its outer
        /// header: "router-solicitation V4:PORT -> V4:PORT".
        "packets" ["[\"KIND V4 -> V4\", …]; needed"] pub(super) packets: Vec<Sent>,
    }
}

table! {
    /// What a Teredo client should have found out when it qualified.
    pub(super) QualifiedDeed ["qualified = { … } of [[step]]"] {
        /// The client.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The kind of its NAT.
        "nat" ["\"cone\" or \"restricted\" or \"symmetric\"; needed"] pub(super) nat: FoundNat,
        /// The address and port that the NAT shows.
        "mapped" ["\"V4:PORT\"; needed"] pub(super) mapped: Mapped,
    }
}

/// A kind of NAT that a Teredo client can find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum FoundNat {
    Cone,
    Restricted,
    Symmetric,
}

impl FoundNat {
    pub(super) fn is(self, found: NatKind) -> bool {
        match self {
            FoundNat::Cone => found == NatKind::Cone,
            FoundNat::Restricted => found == NatKind::Restricted,
            FoundNat::Symmetric => found == NatKind::Symmetric,
        }
    }
}

table! {
    /// A node's cable to one LAN. A host with several links notices, and uses the others.
    pub(super) LanDeed ["lan = { … } of [[step]]"] {
        /// The node.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The LAN.
        "name" ["\"LAN\"; needed"] pub(super) name: String,
        /// Whether it is plugged in from now on.
        "plugged" ["true or false; needed"] pub(super) plugged: bool,
    }
}

table! {
    /// Other IPv4 addresses for a node.
    pub(super) Ipv4Deed ["ipv4 = { … } of [[step]]"] {
        /// The node.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// All that it has from now on.
        "addresses" ["[\"V4\", …]; needed"] pub(super) addresses: Vec<Ipv4Addr>,
    }
}

fn hop_limit() -> u8 {
    64
}

fn yes() -> bool {
    true
}
