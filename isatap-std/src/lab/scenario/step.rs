//! `[[step]]`: what happens, and what should come of it.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::file::{CloudTable, NameTable};
use super::value::{Pair, Reason, Span};

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
            [Deed::Ipv4(deed)] => names.push(&deed.node),
            [Deed::Unplug(name) | Deed::Plug(name) | Deed::Suspend(name) | Deed::Resume(name)] => names.push(name),
            [Deed::Cloud(_) | Deed::Name(_)] | [] => {}
        }
        let Some(known) = known else { return wrong };
        let use_instead =
            if known.is_empty() { "add it".to_owned() } else { format!("use one of {}", known.join(", ")) };
        let unknown = names.iter().filter(|name| !known.contains(name));
        wrong.extend(unknown.map(|name| format!("no node is called {name:?}: {use_instead}")));
        wrong
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
    pub(super) outer: Vec<Pair>,
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

/// Which node should drop a packet, and for which of the core's reasons.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DropTable {
    pub(super) node: String,
    pub(super) reason: Reason,
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
