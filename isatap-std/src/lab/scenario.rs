//! Scenarios: a world, what happens in it, and what should come of it, as a
//! TOML file.
//!
//! [`EXAMPLE`] is one to begin with, and [`reference()`] lists every table and key.
//!
//! Steps happen in the order of the file, each not before its `at`.
//!
//! The links of a node are the structs of [`spec`](crate::spec), with the keys, defaults and checks
//! that they have on a machine. What only a machine can do is refused with the reason: `pcap`,
//! `secret-file`, `via`, `port-mapping`, the `lan` of 6to4 and 6rd, names of relays and of Teredo
//! servers. So are rules of the port proxy to a name or in a zone. Teredo servers and relays have a node of their own. A node with an ISATAP host or a Teredo
//! client beside other links or LANs is a host, which forwards for nobody.

mod direct_access;
mod file;
mod node;
mod run;
mod select;
mod step;
mod table;
mod tcp;
mod value;

use std::net::Ipv4Addr;

use isatap_core::time::Instant;
use toml::Spanned;

pub use self::run::Run;
pub use self::table::reference;
pub use super::journey::NARRATOR;

use self::file::File;
use self::node::{Node, NodeTable};
use self::step::no_node;
use self::tcp::ServerTable;
use super::balancer::Balancer;
use super::names::{DnsAnswer, Names};
use super::nat::Nat;
use super::native::{NATIVE_LINK, NativeHost};
use super::world::World;
use crate::error::{Error, Problem};
use crate::mistakes;

/// The scenarios that come with this crate.
const BUILTIN: [(&str, &str); 14] = [
    ("6rd", include_str!("scenario/6rd.toml")),
    ("6to4", include_str!("scenario/6to4.toml")),
    ("compatible", include_str!("scenario/compatible.toml")),
    ("direct-access", include_str!("scenario/direct-access.toml")),
    ("intranet", include_str!("scenario/intranet.toml")),
    ("loops", include_str!("scenario/loops.toml")),
    ("loss", include_str!("scenario/loss.toml")),
    ("names", include_str!("scenario/names.toml")),
    ("portproxy", include_str!("scenario/portproxy.toml")),
    ("renumber", include_str!("scenario/renumber.toml")),
    ("router-death", include_str!("scenario/router-death.toml")),
    ("selection", include_str!("scenario/selection.toml")),
    ("teredo", include_str!("scenario/teredo.toml")),
    ("tunnel", include_str!("scenario/tunnel.toml")),
];

/// A scenario to begin with: its text says what it does.
pub const EXAMPLE: &str = include_str!("scenario/example.toml");

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
        let line = |name: &str, role: &str, about: String| format!("{name:<8} {role:<14} {about}");
        let nodes = self.nodes().into_iter().map(|node| node.cast());
        let nats = self.file.nat.iter().map(|nat| {
            let nat = nat.get_ref();
            line(&nat.name, "NAT", format!("{}, {}", nat.ipv4, nat.kind.0.as_str()))
        });
        let balancers = self.file.balancer.iter().map(|balancer| {
            let balancer = balancer.get_ref();
            let servers: Vec<String> = balancer.servers.iter().map(ToString::to_string).collect();
            line(&balancer.name, "balancer", format!("{}, before {}", balancer.ipv4, servers.join(" and ")))
        });
        let natives = self.file.native.iter().map(|native| {
            let native = native.get_ref();
            line(&native.name, "IPv6 host", format!("{} on the LAN {}", native.address.0.0.address, native.lan))
        });
        nodes.chain(nats).chain(balancers).chain(natives).collect()
    }

    /// Who takes part, in the order of the file: the name, and the first IPv4 address.
    #[must_use]
    pub fn columns(&self) -> Vec<(String, String)> {
        let of_nodes = self.file.node.iter().map(|node| {
            let (at, table) = (node.span().start, node.get_ref());
            let ipv4 = table.read(at).ok().and_then(|node| node.ipv4().first().map(ToString::to_string));
            (at, (table.name.clone(), ipv4.unwrap_or_default()))
        });
        let of_nats = self.file.nat.iter().map(|nat| (nat.span().start, &nat.get_ref().name, nat.get_ref().ipv4));
        let of_balancers =
            self.file.balancer.iter().map(|one| (one.span().start, &one.get_ref().name, one.get_ref().ipv4));
        let of_others = of_nats.chain(of_balancers).map(|(at, name, ipv4)| (at, (name.clone(), ipv4.to_string())));
        let of_natives = self.file.native.iter();
        let of_natives = of_natives.map(|native| (native.span().start, (native.get_ref().name.clone(), String::new())));
        let mut all: Vec<(usize, (String, String))> = of_nodes.chain(of_others).chain(of_natives).collect();
        all.sort();
        all.into_iter().map(|(_, column)| column).collect()
    }

    /// Its nodes, ISATAP hosts first.
    fn nodes(&self) -> Vec<Node<'_>> {
        let nodes = self.file.node.iter().filter_map(|node| node.get_ref().read(node.span().start).ok());
        let (hosts, others): (Vec<_>, Vec<_>) = nodes.partition(Node::is_host);
        hosts.into_iter().chain(others).collect()
    }

    /// Makes the world of the scenario.
    ///
    /// # Errors
    /// A node's tables have no room for what the scenario gives it.
    pub fn start(&self, seed: u64) -> Result<Run, Problem> {
        let too_much = |error: Error| Problem::of_table(&self.name, "", 0, error.to_string());
        let mut world = World::new(seed);
        world.cloud.conditions = self.file.cloud.over(world.cloud.conditions);
        for name in &self.file.name {
            set_name(&mut world.names, name);
        }
        let simple = |world: &mut World, id, ipv4: Ipv4Addr| world.set_ipv4(id, &[ipv4]);
        for nat in self.file.nat.iter().map(|nat| nat.get_ref()) {
            let mut node = Nat::new(nat.kind.0, nat.ipv4);
            node.first_port = nat.port;
            let id = world.add(&nat.name, node);
            simple(&mut world, id, nat.ipv4);
        }
        let (hosts, others): (Vec<_>, Vec<_>) = self.nodes().into_iter().partition(Node::is_host);
        let mut starts = Vec::new();
        for node in others {
            let id = node.add(&mut world).map_err(too_much)?;
            match node.start() {
                Some(start) => starts.push((Instant::ZERO.saturating_add(start.0), id, node.ipv4().to_vec())),
                None => world.set_ipv4(id, node.ipv4()),
            }
        }
        for balancer in self.file.balancer.iter().map(|balancer| balancer.get_ref()) {
            let id = world.add(&balancer.name, Balancer::new(&balancer.servers));
            simple(&mut world, id, balancer.ipv4);
        }
        for native in self.file.native.iter().map(|native| native.get_ref()) {
            let address = native.address.0.0;
            let Some(prefix) = address.prefix() else { continue };
            let host = NativeHost::new(address.address, prefix, native.gateway);
            let host = native.routes.iter().fold(host, |host, route| host.route(route.prefix.0, route.via));
            let id = world.add(&native.name, host);
            let lan = world.segment(&native.lan);
            world.join(id, NATIVE_LINK, lan);
        }
        for host in hosts {
            let id = host.add(&mut world).map_err(too_much)?;
            let start = host.start().unwrap_or_default();
            starts.push((Instant::ZERO.saturating_add(start.0), id, host.ipv4().to_vec()));
        }
        if self.file.step.iter().any(|step| step.get_ref().tcp.is_some()) {
            self.start_programs(&mut world);
        }
        starts.sort();
        let steps = self.file.step.iter().map(|step| step.get_ref().clone()).collect();
        let end = Instant::ZERO.saturating_add(self.file.duration.unwrap_or_default().0);
        Ok(Run::new(&self.name, world, starts.into(), steps, end))
    }

    /// Nodes speak TCP, and so they answer where no program listens.
    fn start_programs(&self, world: &mut World) {
        for node in self.nodes() {
            if let Some(id) = world.find(node.name()) {
                world.port_proxy(id, &node.rules());
            }
        }
        for server in self.file.server.iter().map(|server| server.get_ref()) {
            if let Some(id) = world.find(&server.node) {
                world.serve(id, server.port, server.answer);
            }
        }
    }
}

/// What is wrong with a table that can be read, and where.
struct Wrong {
    /// Where the table begins.
    table: usize,
    /// Its key, and the value there; empty: the table as a whole.
    key: &'static str,
    value: String,
    text: String,
}

impl Wrong {
    fn of_table(table: usize, text: String) -> Self {
        Self::of_key(table, "", "", text)
    }

    fn of_key(table: usize, key: &'static str, value: &str, text: String) -> Self {
        Wrong { table, key, value: value.to_owned(), text }
    }

    fn problem(self, file: &str, text: &str) -> Problem {
        if self.key.is_empty() && self.value.is_empty() {
            return Problem::of_table(file, text, self.table, self.text);
        }
        mistakes::refused(file, text, self.table, self.key, &self.value, self.text)
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
        problems.extend(wrong.map(|(_, wrong)| wrong.problem(name, text)));
    }
    problems.sort_by_key(|problem| (problem.line, problem.column));
    read.file.filter(|_| problems.is_empty()).ok_or(problems)
}

fn set_name(names: &mut Names, table: &file::NameTable) {
    let answer = if table.addresses.is_empty() {
        DnsAnswer::NotFound
    } else {
        DnsAnswer::Addresses { addresses: table.addresses.clone(), ttl: table.ttl.0 }
    };
    names.set(&table.name, answer);
}

/// What TOML alone cannot judge: that names are used once and known, and that
/// things fit together. All mistakes, each with where the outermost table begins. `is_whole`: no
/// node is lost by a mistake in its table, and those who name it are right.
fn check(file: &File, is_whole: bool) -> Vec<(usize, Wrong)> {
    let mut wrong: Vec<(usize, Wrong)> = Vec::new();
    let of_table = |at: usize, text: String| (at, Wrong::of_table(at, text));
    if file.description.is_empty() {
        wrong.push(of_table(0, "missing field `description`: write in one line what it shows".to_owned()));
    }
    let nats: Vec<&str> = file.nat.iter().map(|nat| nat.get_ref().name.as_str()).collect();
    let nodes = file.node.iter().map(|node| (node.span().start, node.get_ref().name.as_str()));
    let nodes = nodes.chain(file.native.iter().map(|native| (native.span().start, native.get_ref().name.as_str())));
    let nodes = nodes.chain(file.nat.iter().map(|nat| (nat.span().start, nat.get_ref().name.as_str())));
    let nodes = nodes.chain(file.balancer.iter().map(|one| (one.span().start, one.get_ref().name.as_str())));
    let mut known: Vec<&str> = Vec::new();
    for (at, name) in nodes {
        if name.is_empty() || name == NARRATOR || name == "cloud" || known.contains(&name) {
            wrong.push(of_table(at, format!("the node name {name:?} is taken: give each node its own")));
        }
        known.push(name);
    }
    for node in &file.node {
        let (at, node) = (node.span().start, node.get_ref());
        wrong.extend(node.read(at).err().into_iter().flatten().map(|wrong| (at, wrong)));
        if let Some(nat) = node.nat.as_deref().filter(|nat| is_whole && !nats.contains(nat)) {
            let text = format!("no NAT is called {nat:?}: add a [[nat]] of that name");
            wrong.push((at, Wrong::of_key(at, "nat", nat, text)));
        }
    }
    for balancer in file.balancer.iter().filter(|balancer| balancer.get_ref().servers.is_empty()) {
        let text = format!("the balancer {} has no servers: name some", balancer.get_ref().name);
        wrong.push(of_table(balancer.span().start, text));
    }
    let unknown = |server: &&Spanned<ServerTable>| is_whole && !known.contains(&server.get_ref().node.as_str());
    for server in file.server.iter().filter(unknown) {
        let (at, name) = (server.span().start, &server.get_ref().node);
        wrong.push((at, Wrong::of_key(at, "node", name, no_node(name, &known))));
    }
    for step in &file.step {
        let of_step = step.get_ref().check(is_whole.then_some(&known));
        wrong.extend(of_step.into_iter().map(|text| of_table(step.span().start, text)));
        if let Some(deed) = &step.get_ref().lan {
            let of_node = file.node.iter().map(|node| node.get_ref()).filter(|node| node.name == deed.node);
            let of_native = file.native.iter().map(|native| native.get_ref()).filter(|one| one.name == deed.node);
            let mut lans = of_node.flat_map(NodeTable::lans).chain(of_native.map(|native| native.lan.as_str()));
            if is_whole && known.contains(&deed.node.as_str()) && !lans.any(|lan| lan == deed.name) {
                let text = format!("{} has no LAN {:?}: name one of its own", deed.node, deed.name);
                wrong.push(of_table(step.span().start, text));
            }
        }
        let asked = step.get_ref().qualified.as_ref().map(|deed| deed.node.as_str());
        let is_client = |node: &NodeTable| Some(node.name.as_str()) == asked && node.is_teredo_client();
        if let Some(asked) = asked.filter(|asked| is_whole && known.contains(asked))
            && !file.node.iter().any(|node| is_client(node.get_ref()))
        {
            let text = format!("{asked} is no Teredo client: name one in qualified");
            wrong.push(of_table(step.span().start, text));
        }
    }
    wrong
}

#[cfg(test)]
mod tests;
