//! TCP in scenarios: servers, the rules of port proxies, and clients with what should become of them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use isatap_core::isatap::addr::Dotted;
use toml::Spanned;

use super::super::tcp::{Answer, ConnectionState, Served, ServedEnd, Then};
use super::super::unplayed;
use super::Wrong;
use super::run::{Run, milliseconds};
use super::table::table;
use super::value::{Span, Text};
use crate::portproxy::Refusal;
use crate::spec::{PortProxy, rule_conflicts};

table! {
    /// A TCP server. Where none listens, nodes of the scenario answer with a reset.
    pub(super) ServerTable ["[[server]]"] {
        /// The node that it runs on.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// The port, of all addresses of the node.
        "port" ["N; needed"] pub(super) port: u16,
        /// What it does: read to the client's end and send the same bytes back, or reset at the first
        /// bytes.
        #[serde(default)]
        "answer" ["\"same\" or \"reset\"; default \"same\""] pub(super) answer: Answer,
    }
}

table! {
    /// A TCP connection of a client.
    pub(super) TcpDeed ["tcp = { … } of [[step]]"] {
        /// Who connects.
        "from" ["\"NODE\"; needed"] pub(super) from: String,
        /// To where.
        "to" ["\"V4:PORT\" or \"[V6]:PORT\"; needed"] to: Text<Place>,
        /// How many bytes it sends.
        #[serde(default = "hundred")]
        "bytes" ["N; default 100"] bytes: usize,
        /// What it does then: send its end and read on, reset the connection, or keep it until hang-up.
        #[serde(default)]
        "then" ["\"end\" or \"reset\" or \"keep\"; default \"end\""] then: Then,
        /// How long to wait for what should become of it.
        #[serde(default = "Span::two_seconds")]
        "within" ["\"SPAN\"; default \"2s\""] within: Span,
        /// What that is: the same bytes back and the server's end, an open connection, a reset of one
        /// that was open, a refusal by whom it connects to, or nothing.
        #[serde(default)]
        "expect" ["\"answer\" or \"open\" or \"reset\" or \"refused\" or \"silence\"; default \"answer\""]
        expect: Expect,
        /// What a server should have seen of it.
        #[serde(default)]
        "served" ["{ … }"] pub(super) served: Option<ServedTable>,
        /// Which port proxy should have refused it, and why.
        #[serde(default)]
        "refusal" ["{ … }"] pub(super) refusal: Option<RefusalTable>,
    }
}

table! {
    /// What a server should have seen of one connection.
    pub(super) ServedTable ["served = { … } of tcp"] {
        /// The node that it runs on.
        "by" ["\"NODE\"; needed"] pub(super) by: String,
        /// Whom it took for the client.
        "from" ["\"V4\" or \"V6\""] from: Option<IpAddr>,
        /// How the connection ended.
        #[serde(default)]
        "end" ["\"end\" or \"reset\" or \"left\" (the server itself resets)"] end: Option<ServedEnd>,
    }
}

table! {
    /// A refusal of a port proxy.
    pub(super) RefusalTable ["refusal = { … } of tcp"] {
        /// The node of the port proxy.
        "node" ["\"NODE\"; needed"] pub(super) node: String,
        /// Why, as isatap portproxy show writes it.
        "reason" ["\"REASON\"; needed"] reason: Text<Reason>,
    }
}

/// An address with a port.
#[derive(Clone, Copy, Debug)]
struct Place(SocketAddr);

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Place).map_err(|_| "not an address with a port: write 10.0.0.1:80 or [2001:db8::1]:80")
    }
}

/// Why a port proxy refuses.
#[derive(Clone, Copy, Debug)]
struct Reason(Refusal);

impl FromStr for Reason {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Refusal::ALL.into_iter().find(|refusal| refusal.as_str() == text);
        found.map(Reason).ok_or_else(|| {
            let known: Vec<&str> = Refusal::ALL.into_iter().map(Refusal::as_str).collect();
            format!("a port proxy has no such reason: write one of {}", known.join(", "))
        })
    }
}

/// What should become of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Expect {
    /// The same bytes, and the server's end.
    #[default]
    Answer,
    /// It stays open.
    Open,
    /// It was open and is reset.
    Reset,
    /// It never was.
    Refused,
    /// Nobody answers.
    Silence,
}

impl Expect {
    fn is(self, state: ConnectionState) -> bool {
        match self {
            Expect::Answer => matches!(state, ConnectionState::Ended { same: Some(_), .. }),
            Expect::Open => matches!(state, ConnectionState::Open | ConnectionState::Left),
            Expect::Reset => matches!(state, ConnectionState::Reset { .. }),
            Expect::Refused => state == ConnectionState::Refused,
            Expect::Silence => state == ConnectionState::Connecting,
        }
    }
}

fn hundred() -> usize {
    100
}

impl TcpDeed {
    /// The nodes that it names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        let served = self.served.as_ref().map(|served| served.by.as_str());
        let refusal = self.refusal.as_ref().map(|refusal| refusal.node.as_str());
        std::iter::once(self.from.as_str()).chain(served).chain(refusal)
    }
}

/// What the rules of a node cannot be.
pub(super) fn wrong_rules(tables: &[Spanned<PortProxy>]) -> Vec<Wrong> {
    let begin = |at: usize| tables.get(at).map_or(0, |table| table.span().start);
    let rules: Vec<PortProxy> = tables.iter().map(|table| table.get_ref().clone()).collect();
    let alone = rules.iter().enumerate().flat_map(|(at, rule)| {
        let refusals = rule.check().into_iter().chain(unplayed::rule_refusals(rule));
        refusals
            .map(move |refusal| Wrong::of_key(begin(at), refusal.key, refusal.error.on(), refusal.error.to_string()))
    });
    let beside = rule_conflicts(&rules).into_iter();
    let beside = beside.map(|found| Wrong::of_key(begin(found.link), found.key, &found.value, found.text));
    alone.chain(beside).collect()
}

impl Run {
    /// A client connects, and what becomes of that is judged.
    pub(super) fn tcp(&mut self, deed: &TcpDeed) {
        let Some(from) = self.world().find(&deed.from) else { return };
        let served_before = deed.served.as_ref().map_or(0, |served| self.served(&served.by).len());
        let refused_before = deed.refusal.as_ref().map(|refusal| self.refused(refusal));
        let to = deed.to.0.0;
        let connection = self.world_mut().connect(from, to, deed.bytes, deed.then);
        let keeps = deed.then != Then::End;
        self.wait_while(deed.within.0, |world| {
            keeps || matches!(world.connection(connection), ConnectionState::Connecting | ConnectionState::Open)
        });
        let state = self.world().connection(connection);
        self.judge(deed.expect.is(state), format!("{} to {}: {}", deed.from, dotted(to), Told(state)));
        if let Some(expected) = &deed.served {
            let found = self.served(&expected.by).split_off(served_before);
            let met = matches!(found.as_slice(), [one] if expected.is_met_by(one));
            let list: Vec<String> = found.iter().map(|one| ToldServed(one).to_string()).collect();
            let list = if list.is_empty() { "nobody".to_owned() } else { list.join("; ") };
            self.judge(met, format!("{} served {list}", expected.by));
        }
        if let Some(expected) = &deed.refusal {
            let met = refused_before.is_some_and(|before| self.refused(expected) == before + 1);
            let verb = if met { "refuses" } else { "does not refuse" };
            self.judge(met, format!("{} {verb} it: {}", expected.node, expected.reason.0.0.as_str()));
        }
    }

    /// What the servers of a node have seen.
    fn served(&self, node: &str) -> Vec<Served> {
        self.world().find(node).map(|node| self.world().served(node)).unwrap_or_default()
    }

    /// How often the port proxy of a node has refused for this reason.
    fn refused(&self, refusal: &RefusalTable) -> u64 {
        let Some(node) = self.world().find(&refusal.node) else { return 0 };
        let reason = refusal.reason.0.0.as_str();
        self.world().rule_statuses(node).iter().filter_map(|rule| rule.refused.get(reason)).sum()
    }
}

impl ServedTable {
    fn is_met_by(&self, served: &Served) -> bool {
        self.from.is_none_or(|from| from == served.from.ip()) && self.end.is_none_or(|end| Some(end) == served.end)
    }
}

/// An address with a port, that of an ISATAP address dotted.
fn dotted(to: SocketAddr) -> String {
    match to {
        SocketAddr::V4(to) => to.to_string(),
        SocketAddr::V6(to) => format!("[{}]:{}", Dotted(*to.ip()), to.port()),
    }
}

/// A state in words.
struct Told(ConnectionState);

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ConnectionState::Connecting => f.write_str("no answer"),
            ConnectionState::Refused => f.write_str("refused"),
            ConnectionState::Open => f.write_str("open"),
            ConnectionState::Ended { after, same: Some(bytes) } => {
                write!(f, "{bytes} bytes came back and the end, after {}", milliseconds(after))
            }
            ConnectionState::Ended { after, same: None } => {
                write!(f, "the end came after {}, and not the bytes that were sent", milliseconds(after))
            }
            ConnectionState::Reset { after } => write!(f, "reset after {}", milliseconds(after)),
            ConnectionState::Left => f.write_str("open, until the client resets it"),
        }
    }
}

/// What a server saw, in words.
struct ToldServed<'a>(&'a Served);

impl fmt::Display for ToldServed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ToldServed(served) = self;
        let end = match served.end {
            None => "which is open",
            Some(ServedEnd::End) => "to the end",
            Some(ServedEnd::Reset) => "which was reset",
            Some(ServedEnd::Left) => "which it reset",
        };
        write!(f, "a connection from {}, {end}: {} bytes", served.from.ip(), served.bytes)
    }
}
