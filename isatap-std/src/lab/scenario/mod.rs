//! Scenarios: a world, what happens in it, and what should come of it, as a
//! TOML file.
//!
//! ```toml
//! description = "A host finds its router"
//!
//! [cloud]                       # all optional: latency, jitter, loss, duplication, reordering (percent), mtu, …
//! latency = "5ms"
//! loss = 10
//!
//! [[name]]
//! name = "isatap.example.com"
//! addresses = ["10.0.0.1"]
//!
//! [[router]]
//! name = "router"
//! ipv4 = ["10.0.0.1"]
//! prefixes = ["2001:db8:0:7::/64"]
//! lan = "lan"
//! lan-address = "2001:db8:0:8::1/64"
//!
//! [[host]]
//! name = "A"
//! ipv4 = ["192.168.47.99"]
//! router-name = "isatap.example.com"    # or routers = ["10.0.0.1"]
//!
//! [[native]]
//! name = "C"
//! lan = "lan"
//! address = "2001:db8:0:8::c/64"
//! gateway = "2001:db8:0:8::1"
//!
//! [[6to4]]                      # a router; without a LAN a host/router
//! name = "G"
//! ipv4 = ["157.60.0.1"]
//! relay = "194.207.1.5"         # or role = "relay", with a gateway
//! lan = "site"
//! lan-address = "2002:9d3c:1:1::ff/64"
//!
//! [[6rd]]                       # a customer edge; without border-relays a border relay
//! name = "edge"
//! ipv4 = ["10.100.100.1"]
//! prefix = "2001:db8::/32"
//! block = "10.0.0.0/8"
//! border-relays = ["10.0.0.1"]
//!
//! [[step]]
//! at = "10s"
//! title = "From A to C and back"
//! ping = { from = "A", to = "C", count = 10, at-least = 7 }   # expect = "reply", "silence", "too-big", …
//!
//! [[step]]                      # a liar's packet, and where it should end; a ping may say drop too
//! spoof = { outer-source = "9.9.9.9", outer-destination = "157.60.0.1", source = "2002:808:808::1", destination = "2002:9d3c:1:1::1", drop = { node = "G", reason = "6to4-source-mismatch" } }
//!
//! [[step]]                      # also: address, unplug, plug, suspend, resume, ipv4, cloud, name
//! unplug = "router"
//! ```
//!
//! Steps happen in the order of the file, each not before its `at`.

mod file;
mod tunnels;

use std::collections::VecDeque;
use std::fmt;
use std::net::Ipv6Addr;
use std::time::Duration;

use isatap_core::time::Instant;

use self::file::{Deed, DropTable, Expect, File, PingDeed, SpoofDeed, StepTable};
use self::tunnels::GatewayTable;
use super::gateway::{Gateway, SITE_LINK};
use super::ip;
use super::isatap::{IsatapHost, IsatapRouter, LAN_LINK};
use super::journey::{Action, Hop};
use super::names::{Answer, Names};
use super::native::{NATIVE_LINK, NativeHost};
use super::ping::{Ping, PingId, PingOutcome};
use super::world::{NodeId, World};

/// The journey's name for who tells the scenario: titles, and whether what
/// was expected came (`met: …`, `not met: …`).
pub const NARRATOR: &str = "scenario";

/// The scenarios that come with this crate.
const BUILTIN: [(&str, &str); 6] = [
    ("6rd", include_str!("6rd.toml")),
    ("6to4", include_str!("6to4.toml")),
    ("intranet", include_str!("intranet.toml")),
    ("loss", include_str!("loss.toml")),
    ("renumber", include_str!("renumber.toml")),
    ("router-death", include_str!("router-death.toml")),
];

/// The names of the scenarios that come with this crate.
pub fn names() -> impl Iterator<Item = &'static str> {
    BUILTIN.iter().map(|(name, _)| *name)
}

/// A scenario, read and found to make sense.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Its name, or that of its file.
    pub name: String,
    /// One line on what it shows.
    pub description: String,
    /// Its own seed.
    pub seed: u64,
    file: File,
}

/// A mistake in a scenario's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScenarioError {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.text)
    }
}

impl std::error::Error for ScenarioError {}

impl Scenario {
    /// A scenario that comes with this crate.
    #[must_use]
    pub fn builtin(name: &str) -> Option<Self> {
        let (_, text) = BUILTIN.iter().find(|(known, _)| *known == name)?;
        Scenario::parse(name, text).ok()
    }

    /// Reads a scenario; `name` is that of the file, for errors.
    ///
    /// # Errors
    /// It is no TOML, has keys that no scenario has, or names nodes that it
    /// does not have.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let at = |offset: usize, what: String| ScenarioError {
            file: name.into(),
            line: 1 + text.bytes().take(offset).filter(|byte| *byte == b'\n').count(),
            text: what,
        };
        let file: File = toml::from_str(text).map_err(|error| {
            let offset = error.span().map_or(0, |span| span.start);
            at(offset, error.message().replace('\n', ", "))
        })?;
        check(&file).map_err(|(offset, what)| at(offset, what))?;
        Ok(Scenario { name: name.into(), description: file.description.clone(), seed: file.seed.unwrap_or(1), file })
    }

    /// Who takes part, a line each.
    #[must_use]
    pub fn cast(&self) -> Vec<String> {
        let list = |items: &[std::net::Ipv4Addr]| -> String {
            items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
        };
        let hosts = self.file.host.iter().map(|host| {
            let host = host.get_ref();
            let routers = match &host.router_name {
                Some(name) => format!(", routers by the name {name}"),
                None if host.routers.is_empty() => String::new(),
                None => format!(", routers {}", list(&host.routers)),
            };
            format!("{:<8} ISATAP host    {}{routers}", host.name, list(&host.ipv4))
        });
        let routers = self.file.router.iter().map(|router| {
            let router = router.get_ref();
            let prefixes: Vec<String> = router.prefixes.iter().map(|prefix| prefix.0.to_string()).collect();
            let lan = router.lan_address.map(|lan| format!(", {} on the LAN", lan.0.address)).unwrap_or_default();
            format!("{:<8} ISATAP router  {}, prefix {}{lan}", router.name, list(&router.ipv4), prefixes.join(", "))
        });
        let natives = self.file.native.iter().map(|native| {
            let native = native.get_ref();
            format!("{:<8} IPv6 host      {} on the LAN", native.name, native.address.0.address)
        });
        let gateways = self.file.gateways().filter_map(|(_, read)| read.ok()).map(|table| {
            let lan = table.options.lan.map(|lan| format!(", {} on the LAN", lan.address)).unwrap_or_default();
            format!("{:<8} {:<14} {}{lan}", table.name, table.role, list(table.ipv4))
        });
        hosts.chain(routers).chain(gateways).chain(natives).collect()
    }

    fn too_much(&self, full: &impl fmt::Display) -> ScenarioError {
        let text = format!("{full}: the scenario asks for more than a node holds");
        ScenarioError { file: self.name.clone(), line: 1, text }
    }

    /// Makes the world of the scenario.
    ///
    /// # Errors
    /// A node's tables have no room for what the scenario gives it.
    pub fn start(&self, seed: u64) -> Result<Run, ScenarioError> {
        let mut world = World::new(seed);
        world.cloud.conditions = self.file.cloud.over(world.cloud.conditions);
        for name in &self.file.name {
            set_name(&mut world.names, name);
        }
        let mut starts = Vec::new();
        for router in &self.file.router {
            let router = router.get_ref();
            let node: IsatapRouter = IsatapRouter::new(&router.options()).map_err(|full| self.too_much(&full))?;
            let id = world.add(&router.name, node);
            if let Some(lan) = &router.lan {
                let lan = world.find_lan(lan).unwrap_or_else(|| world.add_lan(lan));
                world.join(id, LAN_LINK, lan);
            }
            world.set_ipv4(id, &router.ipv4);
        }
        for table in self.file.gateways().filter_map(|(_, read)| read.ok()) {
            let node: Gateway = Gateway::new(&table.options).map_err(|error| self.too_much(&error))?;
            let id = world.add(table.name, node);
            if let Some(lan) = table.lan {
                let lan = world.find_lan(lan).unwrap_or_else(|| world.add_lan(lan));
                world.join(id, SITE_LINK, lan);
            }
            world.set_ipv4(id, table.ipv4);
        }
        for native in &self.file.native {
            let native = native.get_ref();
            let address = native.address.0;
            let Some(prefix) = address.prefix() else { continue };
            let id = world.add(&native.name, NativeHost::new(address.address, prefix, native.gateway));
            let lan = world.find_lan(&native.lan).unwrap_or_else(|| world.add_lan(&native.lan));
            world.join(id, NATIVE_LINK, lan);
        }
        for host in &self.file.host {
            let host = host.get_ref();
            let mut node: IsatapHost = IsatapHost::new(Default::default(), host.router_name.as_deref());
            for router in &host.routers {
                node.list_router(Instant::ZERO, *router).map_err(|full| self.too_much(&full))?;
            }
            let id = world.add(&host.name, node);
            starts.push((Instant::ZERO.saturating_add(host.start.0), id, host.ipv4.clone()));
        }
        starts.sort();
        let steps = self.file.step.iter().map(|step| step.get_ref().clone()).collect();
        let end = Instant::ZERO.saturating_add(self.file.duration.unwrap_or_default().0);
        Ok(Run { name: self.name.clone(), world, starts: starts.into(), steps, end, expectations: 0, failures: 0 })
    }
}

/// A scenario on its way.
#[derive(Debug)]
pub struct Run {
    name: String,
    world: World,
    starts: VecDeque<(Instant, NodeId, Vec<std::net::Ipv4Addr>)>,
    steps: VecDeque<StepTable>,
    end: Instant,
    expectations: u32,
    failures: u32,
}

impl Run {
    /// The scenario's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// The world, to record it or to take its journey. Expected drops are
    /// looked for in the journey: leave it on.
    pub fn world_mut(&mut self) -> &mut World {
        &mut self.world
    }

    /// Expectations judged so far.
    #[must_use]
    pub fn expectations(&self) -> u32 {
        self.expectations
    }

    /// Those that were not met.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }

    /// Does the next step, or what is left of the time after the last; tells
    /// whether there was something to do.
    pub fn advance(&mut self) -> bool {
        let Some(step) = self.steps.pop_front() else {
            let more = self.world.now() < self.end;
            self.run_until(self.end);
            return more;
        };
        // What starts at this very time belongs under the title.
        let at = Instant::ZERO.saturating_add(step.at.0).max(self.world.now());
        self.start_hosts(|start| start < at);
        self.world.run_until(at);
        if let Some(title) = &step.title {
            self.world.note(NARRATOR, title.as_str());
        }
        self.run_until(at);
        for deed in step.deeds() {
            self.perform(deed);
        }
        true
    }

    /// Runs the whole scenario; tells how many expectations were not met.
    pub fn finish(&mut self) -> u32 {
        while self.advance() {}
        self.failures
    }

    fn run_until(&mut self, end: Instant) {
        self.start_hosts(|start| start <= end);
        self.world.run_until(end);
    }

    /// Gives hosts their addresses whose time comes.
    fn start_hosts(&mut self, comes: impl Fn(Instant) -> bool) {
        while self.starts.front().is_some_and(|(start, _, _)| comes(*start)) {
            let Some((start, id, addresses)) = self.starts.pop_front() else { return };
            self.world.run_until(start);
            let text: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            let node = self.world.name(id).to_string();
            self.world.note(&node, format!("has the IPv4 address {}", text.join(", ")));
            self.world.set_ipv4(id, &addresses);
        }
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_until(self.world.now().saturating_add(duration));
    }

    fn perform(&mut self, deed: Deed) {
        let world = &mut self.world;
        match deed {
            Deed::Ping(ping) => self.ping(&ping),
            Deed::Spoof(spoof) => self.spoof(&spoof),
            Deed::Address(deed) => {
                let Some(id) = world.find(&deed.node) else { return };
                let has = world.ipv6(id).contains(&deed.address);
                let verb = if deed.expect { "has" } else { "has not" };
                let address = isatap_core::isatap::addr::Dotted(deed.address);
                self.judge(has == deed.expect, format!("{} {verb} the address {address}", deed.node));
            }
            Deed::Unplug(name) => self.with_node(&name, |world, id| world.set_plugged(id, false)),
            Deed::Plug(name) => self.with_node(&name, |world, id| world.set_plugged(id, true)),
            Deed::Suspend(name) => self.with_node(&name, |world, id| world.set_suspended(id, true)),
            Deed::Resume(name) => self.with_node(&name, |world, id| world.set_suspended(id, false)),
            Deed::Ipv4(deed) => {
                let Some(id) = world.find(&deed.node) else { return };
                let text: Vec<String> = deed.addresses.iter().map(ToString::to_string).collect();
                world.note(&deed.node, format!("its IPv4 address is now {}", text.join(", ")));
                world.set_ipv4(id, &deed.addresses);
            }
            Deed::Cloud(table) => world.cloud.conditions = table.over(world.cloud.conditions),
            Deed::Name(table) => set_name(&mut world.names, &table),
        }
    }

    /// Does something to a node. That there is one was checked when the file
    /// was read.
    fn with_node(&mut self, name: &str, act: impl FnOnce(&mut World, NodeId)) {
        if let Some(id) = self.world.find(name) {
            act(&mut self.world, id);
        }
    }

    /// Sends what somebody made up, and gives it time to arrive.
    fn spoof(&mut self, deed: &SpoofDeed) {
        let seen = self.world.journey().len();
        let inner = ip::echo_request(deed.source, deed.destination, 64, 0, 0, 56);
        self.world.inject_ipv4(&ip::protocol41_packet(deed.outer_source, deed.outer_destination, &inner));
        self.run_for(Duration::from_secs(1));
        self.judge_drop(&deed.drop, seen);
    }

    /// Whether the journey since `seen` has the drop that was expected.
    fn judge_drop(&mut self, expected: &DropTable, seen: usize) {
        let reason = expected.reason.0.as_str();
        let is_it = |hop: &Hop| {
            hop.action == Action::Drop && hop.node == expected.node && hop.reason.as_deref() == Some(reason)
        };
        let met = self.world.journey().iter().skip(seen).any(is_it);
        let verb = if met { "drops" } else { "does not drop" };
        self.judge(met, format!("{} {verb} it: {reason}", expected.node));
    }

    fn ping(&mut self, deed: &PingDeed) {
        let Some(from) = self.world.find(&deed.from) else { return };
        let seen = self.world.journey().len();
        let count = deed.count.unwrap_or(1);
        let mut pings: Vec<PingId> = Vec::new();
        for n in 0..count {
            if n > 0 {
                self.run_for(deed.every.0);
            }
            let Some(to) = self.destination(&deed.to, deed.link_local) else { continue };
            let mut ping = Ping::to(to);
            if let Some(size) = deed.size {
                ping = ping.size(size);
            }
            pings.push(self.world.ping_with(from, ping));
        }
        let patience = self.world.now().saturating_add(deed.within.0);
        let waits = |world: &World| pings.iter().any(|ping| world.outcome(*ping) == PingOutcome::Waiting);
        while waits(&self.world) && self.world.next().is_some_and(|next| next <= patience) {
            let next = self.world.next().unwrap_or(patience);
            self.run_until(next);
        }
        let outcomes: Vec<PingOutcome> = pings.iter().map(|ping| self.world.outcome(*ping)).collect();
        let wanted = outcomes.iter().filter(|outcome| deed.expect.is(outcome)).count();
        let least = usize::try_from(deed.at_least.unwrap_or(count)).unwrap_or(usize::MAX);
        let found = match (outcomes.as_slice(), count) {
            ([], _) => format!("{} has no such address", deed.to),
            ([one], 1) => describe(one),
            (all, _) => format!("{} of {} got {}", wanted, all.len(), deed.expect.describe()),
        };
        if deed.expect != Expect::Anything {
            let enough = wanted >= least;
            self.judge(enough, format!("{} to {}: {found}", deed.from, deed.to));
        }
        if let Some(drop) = &deed.drop {
            self.judge_drop(drop, seen);
        }
    }

    /// The address that a ping to `to` goes to now.
    fn destination(&self, to: &str, link_local: bool) -> Option<Ipv6Addr> {
        if let Ok(address) = to.parse() {
            return Some(address);
        }
        let addresses = self.world.ipv6(self.world.find(to)?);
        addresses.into_iter().find(|address| address.is_unicast_link_local() == link_local)
    }

    fn judge(&mut self, met: bool, what: String) {
        self.expectations += 1;
        self.failures += u32::from(!met);
        self.world.note(NARRATOR, format!("{}: {what}", if met { "met" } else { "not met" }));
    }
}

impl Expect {
    fn is(self, outcome: &PingOutcome) -> bool {
        match self {
            Expect::Reply => outcome.is_reply(),
            Expect::Silence => *outcome == PingOutcome::Waiting,
            Expect::TooBig => matches!(outcome, PingOutcome::Error { kind: 2, .. }),
            Expect::Unreachable => matches!(outcome, PingOutcome::Error { kind: 1, .. }),
            Expect::Anything => true,
        }
    }

    fn describe(self) -> &'static str {
        match self {
            Expect::Reply => "a reply",
            Expect::Silence => "no answer",
            Expect::TooBig => "packet too big",
            Expect::Unreachable => "unreachable",
            Expect::Anything => "anything",
        }
    }
}

fn describe(outcome: &PingOutcome) -> String {
    match outcome {
        PingOutcome::Waiting => "no answer".into(),
        PingOutcome::NoSource => "no address to send from".into(),
        PingOutcome::Reply { after, .. } => {
            format!("a reply after {}.{:03} ms", after.as_micros() / 1000, after.as_micros() % 1000)
        }
        PingOutcome::Error { kind: 1, code, .. } => format!("unreachable, code {code}"),
        PingOutcome::Error { kind: 2, value, .. } => format!("packet too big, MTU {value}"),
        PingOutcome::Error { kind, code, .. } => format!("ICMPv6 error {kind}.{code}"),
    }
}

fn set_name(names: &mut Names, table: &file::NameTable) {
    let answer = if table.addresses.is_empty() {
        Answer::NotFound
    } else {
        Answer::Addresses { addresses: table.addresses.clone(), ttl: table.ttl.0 }
    };
    names.set(&table.name, answer);
}

impl File {
    /// The nodes with 6to4 or 6rd: where the text of each begins, and what it
    /// comes to.
    fn gateways(&self) -> impl Iterator<Item = (usize, Result<GatewayTable<'_>, String>)> {
        let sixtofour = self.sixtofour.iter().map(|table| (table.span().start, table.get_ref().read()));
        sixtofour.chain(self.sixrd.iter().map(|table| (table.span().start, table.get_ref().read())))
    }
}

/// What TOML alone cannot judge: that names are used once and known, and that
/// things fit together. Errors are an offset and a text.
fn check(file: &File) -> Result<(), (usize, String)> {
    let mut known: Vec<&str> = Vec::new();
    let nodes = file.host.iter().map(|host| (host.span().start, host.get_ref().name.as_str()));
    let nodes = nodes.chain(file.router.iter().map(|router| (router.span().start, router.get_ref().name.as_str())));
    let nodes = nodes.chain(file.native.iter().map(|native| (native.span().start, native.get_ref().name.as_str())));
    let nodes = nodes.chain(file.sixtofour.iter().map(|node| (node.span().start, node.get_ref().name.as_str())));
    let nodes = nodes.chain(file.sixrd.iter().map(|node| (node.span().start, node.get_ref().name.as_str())));
    for (at, name) in nodes {
        if name.is_empty() || name == NARRATOR || name == "cloud" || known.contains(&name) {
            return Err((at, format!("the node name {name:?} is taken: give each node its own")));
        }
        known.push(name);
    }
    for router in &file.router {
        let (at, router) = (router.span().start, router.get_ref());
        if router.lan.is_some() != router.lan_address.is_some() {
            return Err((at, format!("the router {} has half a LAN: write both lan and lan-address", router.name)));
        }
        if let Some(prefix) = router.prefixes.iter().find(|prefix| prefix.0.length() != 64) {
            return Err((at, format!("{} is no ISATAP prefix: write a /64", prefix.0)));
        }
    }
    for (at, read) in file.gateways() {
        read.map_err(|text| (at, text))?;
    }
    for step in &file.step {
        let (at, step) = (step.span().start, step.get_ref());
        let node = |name: &str| {
            if known.contains(&name) {
                return Ok(());
            }
            Err((at, format!("no node is called {name:?}: use one of {}", known.join(", "))))
        };
        let deeds = step.deeds();
        match deeds.as_slice() {
            [] if step.title.is_none() => {
                return Err((at, "a step without a title and a deed: write one of them".into()));
            }
            [_, _, ..] => return Err((at, "a step that does two things: write a step for each".into())),
            [Deed::Ping(ping)] => {
                node(&ping.from)?;
                if ping.to.parse::<Ipv6Addr>().is_err() {
                    node(&ping.to)?;
                }
                if let Some(drop) = &ping.drop {
                    node(&drop.node)?;
                }
                if ping.size.is_some_and(|size| !(48..=65_535).contains(&size)) {
                    return Err((at, "a ping has 48 to 65535 bytes: change size".into()));
                }
                if ping.at_least.is_some_and(|least| least > ping.count.unwrap_or(1)) {
                    return Err((at, "at-least is more than count: lower it".into()));
                }
            }
            [Deed::Spoof(spoof)] => node(&spoof.drop.node)?,
            [Deed::Address(deed)] => node(&deed.node)?,
            [Deed::Ipv4(deed)] => node(&deed.node)?,
            [Deed::Unplug(name) | Deed::Plug(name) | Deed::Suspend(name) | Deed::Resume(name)] => node(name)?,
            [Deed::Cloud(_) | Deed::Name(_)] | [] => {}
        }
    }
    Ok(())
}
