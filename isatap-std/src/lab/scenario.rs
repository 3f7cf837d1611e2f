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
//! [[node]]                      # any mix of tunnels and LANs
//! name = "server"
//! ipv4 = ["172.16.10.25", "131.107.9.1"]
//! [[node.isatap-router]]        # or 6to4, 6rd, tunnel: the tables of `isatap run`
//! local = "172.16.10.25"
//! prefix = "fd9c:30c:2da4:1::/64"
//! metric = 300
//! [[node.lan]]
//! name = "dmz"
//! address = "fd9c:30c:2da4:111::25/64"
//! [[node.route]]
//! prefix = "fd9c:30c:2da4:1::/64"
//! by = "dmz"                    # or the device of a tunnel, or "nothing"
//! via = "fd9c:30c:2da4:111::31"
//! metric = 200
//!
//! [[teredo-client]]             # also: teredo-server, teredo-relay, balancer
//! name = "T"
//! ipv4 = "192.168.1.2"
//! server = "131.107.0.2"
//! nat = "home"                  # [[nat]] with name, ipv4 and kind
//!
//! [direct-access]               # then {intranet}::1/64 and so on stand for what is derived
//! ipv4 = "131.107.0.2"
//!
//! [[step]]
//! at = "10s"
//! title = "From A to C and back"
//! ping = { from = "A", to = "C", count = 10, at-least = 7 }   # expect = "reply", "silence", "too-big", …
//!
//! [[step]]                      # and each outer header that it and its answer should get
//! ping = { from = "A", to = "C", outer = ["192.168.47.99 -> 10.0.0.1", "10.0.0.1 -> 192.168.47.99"] }
//!
//! [[step]]                      # a liar's packet, and where it should end; a ping may say drop too.
//!                               # rounds = { at-most = 1 }: how often one node may send it on
//! spoof = { outer-source = "9.9.9.9", outer-destination = "157.60.0.1", source = "2002:808:808::1", destination = "2002:9d3c:1:1::1", drop = { node = "G", reason = "6to4-source-mismatch" } }
//!
//! [[step]]                      # also: address, unplug, plug, suspend, resume, ipv4, cloud, name
//! unplug = "router"
//! ```
//!
//! Steps happen in the order of the file, each not before its `at`.

mod direct_access;
mod file;
mod node;
mod run;
mod teredo;
mod tunnels;

use std::fmt;
use std::net::Ipv6Addr;

use isatap_core::time::Instant;

pub use self::run::Run;

use self::file::{Deed, File, StepTable};
use self::teredo::Extra;
use self::tunnels::GatewayTable;
use super::gateway::{Gateway, Port};
use super::isatap::{IsatapHost, IsatapRouter, LAN_LINK};
use super::names::{Answer, Names};
use super::native::{NATIVE_LINK, NativeHost};
use super::world::World;
use crate::error::Problem;
use crate::mistakes;

/// The journey's name for who tells the scenario: titles, and whether what
/// was expected came (`met: …`, `not met: …`).
pub const NARRATOR: &str = "scenario";

/// The scenarios that come with this crate.
const BUILTIN: [(&str, &str); 8] = [
    ("6rd", include_str!("scenario/6rd.toml")),
    ("6to4", include_str!("scenario/6to4.toml")),
    ("direct-access", include_str!("scenario/direct-access.toml")),
    ("intranet", include_str!("scenario/intranet.toml")),
    ("loops", include_str!("scenario/loops.toml")),
    ("loss", include_str!("scenario/loss.toml")),
    ("renumber", include_str!("scenario/renumber.toml")),
    ("router-death", include_str!("scenario/router-death.toml")),
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
    /// All mistakes, by their lines: it is not TOML, has keys that no scenario has, or names
    /// nodes that it does not have.
    pub fn parse(name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let expanded = direct_access::expand(text, true);
        let mut file = read(name, &expanded);
        if file.is_ok() {
            // What an example stands for has to follow from something, but in a comment.
            file = read(name, &direct_access::expand(text, false));
        }
        let file = file.map_err(|mut problems| {
            for problem in &mut problems {
                let line = |text: &str| text.lines().nth(problem.line - 1).map(str::to_owned);
                // The column is not that of the line as it is written.
                problem.column = problem.column.filter(|_| line(text) == line(&expanded));
            }
            problems
        })?;
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
            let of = |(lan, name): (&isatap_core::link::InterfaceAddress, &&str)| {
                format!(", {} on the LAN {name}", lan.address)
            };
            let lans: String = table.options.lans.iter().zip(&table.lans).map(of).collect();
            format!("{:<8} {:<14} {}{lans}", table.name, table.role, list(table.ipv4))
        });
        let extras = self.file.extras().map(|(_, extra)| extra.cast());
        hosts.chain(routers).chain(gateways).chain(extras).chain(natives).collect()
    }

    fn too_much(&self, full: &impl fmt::Display) -> Problem {
        let text = format!("{full}: the scenario asks for more than a node holds");
        Problem::of_table(&self.name, "", 0, text)
    }

    /// Makes the world of the scenario.
    ///
    /// # Errors
    /// A node's tables have no room for what the scenario gives it.
    pub fn start(&self, seed: u64) -> Result<Run, Problem> {
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
                let lan = world.segment(lan);
                world.join(id, LAN_LINK, lan);
            }
            world.set_ipv4(id, &router.ipv4);
        }
        for table in self.file.gateways().filter_map(|(_, read)| read.ok()) {
            let node: Gateway = Gateway::new(&table.options).map_err(|error| self.too_much(&error))?;
            let id = world.add(table.name, node);
            for (at, lan) in table.lans.iter().enumerate() {
                let lan = world.segment(lan);
                if let Some(link) = table.options.link(Port::Lan(at)) {
                    world.join(id, link, lan);
                }
            }
            world.set_ipv4(id, table.ipv4);
        }
        for (_, extra) in self.file.extras() {
            extra.add(&mut world);
        }
        for native in &self.file.native {
            let native = native.get_ref();
            let address = native.address.0;
            let Some(prefix) = address.prefix() else { continue };
            let host = NativeHost::new(address.address, prefix, native.gateway);
            let host = native.routes.iter().fold(host, |host, route| host.route(route.prefix.0, route.via));
            let id = world.add(&native.name, host);
            let lan = world.segment(&native.lan);
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
        Ok(Run::new(&self.name, world, starts.into(), steps, end))
    }
}

/// The tables of a text.
///
/// # Errors
/// All mistakes.
fn read(name: &str, text: &str) -> Result<File, Vec<Problem>> {
    let read = mistakes::read::<File>(text);
    let mut problems = read.problems(name, text);
    if let Some(file) = &read.file {
        // These have no nodes, nor has what stands in front of the first table.
        let no_nodes = ["[[step", "[[name", "[cloud", "[direct-access"];
        let is_without = |begin: &usize| {
            let text = text.get(*begin..).unwrap_or("");
            no_nodes.iter().any(|table| text.starts_with(table)) || !text.starts_with('[')
        };
        let wrong = check(file, read.damaged.iter().all(is_without)).into_iter();
        let wrong = wrong.filter(|(table, _)| !read.damaged.contains(table));
        problems.extend(wrong.map(|(table, what)| Problem::of_table(name, text, table, what)));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    read.file.filter(|_| problems.is_empty()).ok_or(problems)
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
    /// The nodes with tunnels that are no ISATAP host and no `[[router]]`: where the text of each begins, and what it
    /// comes to.
    fn gateways(&self) -> impl Iterator<Item = (usize, Result<GatewayTable<'_>, String>)> {
        let sixtofour = self.sixtofour.iter().map(|table| (table.span().start, table.get_ref().read()));
        let sixrd = self.sixrd.iter().map(|table| (table.span().start, table.get_ref().read()));
        let nodes = self.node.iter().map(|table| (table.span().start, table.get_ref().read()));
        sixtofour.chain(sixrd).chain(nodes)
    }

    /// NATs, balancers and what Teredo has: where the text of each begins, and it. NATs come
    /// before those behind them.
    fn extras(&self) -> impl Iterator<Item = (usize, Extra<'_>)> {
        let nats = self.nat.iter().map(|table| (table.span().start, Extra::Nat(table.get_ref())));
        let balancers = self.balancer.iter().map(|table| (table.span().start, Extra::Balancer(table.get_ref())));
        let servers = self.teredo_server.iter().map(|table| (table.span().start, Extra::Server(table.get_ref())));
        let relays = self.teredo_relay.iter().map(|table| (table.span().start, Extra::Relay(table.get_ref())));
        let clients = self.teredo_client.iter().map(|table| (table.span().start, Extra::Client(table.get_ref())));
        nats.chain(balancers).chain(servers).chain(relays).chain(clients)
    }
}

/// What TOML alone cannot judge: that names are used once and known, and that
/// things fit together. All mistakes, each an offset and a text. `is_whole`: no
/// node is lost by a mistake in its table, and those who name it are right.
fn check(file: &File, is_whole: bool) -> Vec<(usize, String)> {
    let mut wrong: Vec<(usize, String)> = Vec::new();
    if file.description.is_empty() {
        wrong.push((0, "missing field `description`: write in one line what it shows".to_owned()));
    }
    let mut known: Vec<&str> = Vec::new();
    let nodes = file.host.iter().map(|host| (host.span().start, host.get_ref().name.as_str()));
    let nodes = nodes.chain(file.router.iter().map(|router| (router.span().start, router.get_ref().name.as_str())));
    let nodes = nodes.chain(file.native.iter().map(|native| (native.span().start, native.get_ref().name.as_str())));
    let nodes = nodes.chain(file.sixtofour.iter().map(|node| (node.span().start, node.get_ref().name.as_str())));
    let nodes = nodes.chain(file.sixrd.iter().map(|node| (node.span().start, node.get_ref().name.as_str())));
    let nodes = nodes.chain(file.node.iter().map(|node| (node.span().start, node.get_ref().name.as_str())));
    let extras: Vec<(usize, Extra<'_>)> = file.extras().collect();
    let nodes = nodes.chain(extras.iter().map(|(at, extra)| (*at, extra.name())));
    for (at, name) in nodes {
        if name.is_empty() || name == NARRATOR || name == "cloud" || known.contains(&name) {
            wrong.push((at, format!("the node name {name:?} is taken: give each node its own")));
        }
        known.push(name);
    }
    for router in &file.router {
        let (at, router) = (router.span().start, router.get_ref());
        if router.lan.is_some() != router.lan_address.is_some() {
            wrong.push((at, format!("the router {} has half a LAN: write both lan and lan-address", router.name)));
        }
        let other = router.prefixes.iter().filter(|prefix| prefix.0.length() != 64);
        wrong.extend(other.map(|prefix| (at, format!("{} is not an ISATAP prefix: write a /64", prefix.0))));
    }
    wrong.extend(file.gateways().filter_map(|(at, read)| Some((at, read.err()?))));
    let nats: Vec<&str> =
        extras.iter().filter(|(_, extra)| matches!(extra, Extra::Nat(_))).map(|(_, extra)| extra.name()).collect();
    let is_nat = |name: &str| !is_whole || nats.contains(&name);
    wrong.extend(extras.iter().filter_map(|(at, extra)| Some((*at, extra.check(is_nat).err()?))));
    for step in &file.step {
        let of_step = check_step(step.get_ref(), is_whole.then_some(&known));
        wrong.extend(of_step.into_iter().map(|text| (step.span().start, text)));
    }
    wrong
}

/// What is wrong with a step. `known`: the names of all nodes, if none is lost.
fn check_step(step: &StepTable, known: Option<&Vec<&str>>) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut names: Vec<&str> = Vec::new();
    let deeds = step.deeds();
    match deeds.as_slice() {
        [] if step.title.is_none() => wrong.push("a step without a title and a deed: write one of them".into()),
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
    let use_instead = if known.is_empty() { "add it".to_owned() } else { format!("use one of {}", known.join(", ")) };
    let unknown = names.iter().filter(|name| !known.contains(name));
    wrong.extend(unknown.map(|name| format!("no node is called {name:?}: {use_instead}")));
    wrong
}

#[cfg(test)]
mod tests;
