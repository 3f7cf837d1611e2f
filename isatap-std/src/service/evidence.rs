//! What a running link tells `isatap doctor` beside its [`Status`]: how names went, who was
//! refused and why, what ICMPv4 said, what neighbours and paths are thought to be.
//!
//! Facts only; [`doctor`](crate::doctor) judges them.

use super::status::Status;
use crate::driver::heard::{Heard, Icmpv4Report, Refused};
use crate::resolve::{Answer, Entry, Failure, Name, ResolvConf, Settings, Step};
use crate::text_file;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use serde::{Deserialize, Serialize};
use std::net::{Ipv4Addr, Ipv6Addr};

/// What one device's daemon knows that bears on why it does not work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Evidence {
    /// What `isatap status -j` says.
    pub status: Status,
    /// The process.
    pub pid: u32,
    /// The IPv4 addresses that it was told to send from; empty: those of a device, or what
    /// leads to the router.
    pub wanted_locators: Vec<Ipv4Addr>,
    /// Why it does not use addresses that it would use: another daemon has them.
    #[serde(default)]
    pub taken: Vec<Taken>,
    /// The MTU that a router advertises, in bytes; it holds where none is configured.
    pub advertised_mtu: Option<u16>,
    /// How names went; `None`: there is no name to look up.
    pub names: Option<Names>,
    /// Packets that were refused lately.
    pub refused: Vec<RefusedFrom>,
    /// ICMPv4 errors about what was sent.
    pub icmpv4: Vec<Icmpv4Heard>,
    /// Neighbours that unreachability detection follows.
    pub neighbors: Vec<NeighborHealth>,
}

/// An IPv4 address that another daemon has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Taken {
    /// Which, and who has it.
    pub cause: String,
    /// What to do about it.
    pub fix: String,
}

/// How the names of the potential routers went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Names {
    /// The names as given; just `isatap` when none was.
    pub names: Vec<String>,
    /// Whether one of them is a single label, to which search domains are added.
    pub bare: bool,
    /// Nobody gave a name: `isatap` is the protocol's own.
    pub automatic: bool,
    /// The search domains at this moment.
    pub search: Vec<String>,
    /// The name servers at this moment.
    pub nameservers: Vec<String>,
    /// Whether the DNS is among the steps.
    #[serde(default = "yes")]
    pub dns: bool,
    /// Whether an answer is awaited.
    pub pending: bool,
    /// Where the addresses came from, when the last answer brought some.
    pub sources: Vec<String>,
    /// Why the last answer brought none.
    pub failure: Option<NameFailure>,
    /// Names of several that brought nothing, and why.
    pub unresolved: Vec<(String, String)>,
    /// Addresses that no router can have, and why.
    pub refused: Vec<(Ipv4Addr, String)>,
}

/// Why names brought no router.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NameFailure {
    /// Which of the kinds below.
    pub kind: NameFailureKind,
    /// In words.
    pub text: String,
    /// What to look at, where that is known.
    pub hint: Option<String>,
}

/// The kinds of [`Failure`] that call for different remedies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum NameFailureKind {
    /// A server said that there is no such name or no IPv4 address for it.
    NoSuchName,
    /// There are addresses, and no router can have them.
    NoUsableAddress,
    /// No server can be reached, or none answers.
    NoServer,
    /// A server answers with an error or with nonsense.
    BadServer,
    /// Machines of one link contradict each other, and the link takes no such answer.
    Conflict,
    /// This machine: a file, a thread.
    Local,
}

/// Packets of one sender that were refused for one reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RefusedFrom {
    /// The name of the drop reason.
    pub reason: String,
    /// The outer source.
    pub from: Ipv4Addr,
    /// The inner source.
    pub inner_source: Option<Ipv6Addr>,
    /// How many.
    pub count: u64,
    /// Seconds since the last one.
    pub age: u64,
}

/// ICMPv4 errors of one sender about one destination.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Icmpv4Heard {
    /// Who says so.
    pub from: Ipv4Addr,
    /// Where the packet was to go.
    pub about: Ipv4Addr,
    /// Type of the message.
    pub kind: u8,
    /// Its code.
    pub code: u8,
    /// How many.
    pub count: u64,
    /// Seconds since the last one.
    pub age: u64,
}

/// A neighbour as unreachability detection sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NeighborHealth {
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// `reachable`, `stale`, `delay`, `probe` or `failed`.
    pub reachability: String,
}

impl Evidence {
    /// What a driver alone knows of the link `id`.
    pub(super) fn of_driver(status: Status, id: LinkId, now: Instant, heard: &Heard) -> Self {
        // What was for none of several links may well be this one's, told something wrong.
        let refused = heard.refused().iter().filter(|row| row.link.is_none_or(|link| link == id));
        Evidence {
            refused: refused.map(|row| RefusedFrom::of(now, row)).collect(),
            icmpv4: heard.reports().iter().map(|row| Icmpv4Heard::of(now, row)).collect(),
            ..Self::of_status(status)
        }
    }

    /// Of a link that has no device, and so has heard nothing.
    pub(super) fn of_status(status: Status) -> Self {
        Evidence {
            status,
            pid: std::process::id(),
            wanted_locators: Vec::new(),
            taken: Vec::new(),
            advertised_mtu: None,
            names: None,
            refused: Vec::new(),
            icmpv4: Vec::new(),
            neighbors: Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

impl Names {
    pub(super) fn of(settings: &Settings, pending: bool, answer: Option<&Result<Answer, Failure>>) -> Self {
        // Read again as each lookup does: a file that is absent means the same there.
        let text = text_file::read_lossy(&settings.resolver_file).unwrap_or_default();
        let conf = ResolvConf::parse(&text);
        let search = settings.search.as_ref().unwrap_or(&conf.search);
        let servers = settings.nameservers.as_ref().unwrap_or(&conf.nameservers);
        let listed = settings.routers.iter().filter_map(|entry| match entry {
            Entry::Name(name) => Some(name),
            Entry::Address(_) => None,
        });
        let listed: Vec<&Name> = listed.collect();
        let mut names = Names {
            names: listed.iter().map(ToString::to_string).collect(),
            bare: listed.is_empty() || listed.iter().any(|name| name.dots() == 0 && !name.is_absolute()),
            automatic: listed.is_empty(),
            search: search.iter().map(|name| name.as_str().to_owned()).collect(),
            dns: settings.steps.contains(&Step::Dns),
            nameservers: servers.iter().map(|server| server.ip().to_string()).collect(),
            ..Names::default()
        };
        if names.automatic {
            names.names.push("isatap".to_owned());
        }
        names.pending = pending;
        match answer {
            Some(Ok(answer)) => {
                names.sources = answer.sources.iter().map(ToString::to_string).collect();
                let failed = answer.unresolved.iter();
                names.unresolved = failed.map(|(name, failure)| (name.to_string(), failure.to_string())).collect();
                names.refused = answer.refused.iter().map(|(address, why)| (*address, why.to_string())).collect();
            }
            Some(Err(failure)) => names.failure = Some((*failure).into()),
            None => {}
        }
        names
    }
}

impl From<Failure> for NameFailure {
    fn from(failure: Failure) -> Self {
        let kind = match failure {
            Failure::NoSuchName => NameFailureKind::NoSuchName,
            Failure::NoUsableAddress => NameFailureKind::NoUsableAddress,
            Failure::Unreachable | Failure::Timeout => NameFailureKind::NoServer,
            Failure::BadAnswer | Failure::ServerFailure => NameFailureKind::BadServer,
            Failure::Conflict => NameFailureKind::Conflict,
            Failure::File(..) | Failure::NotUtf8(..) | Failure::Stopped => NameFailureKind::Local,
        };
        NameFailure { kind, text: failure.to_string(), hint: failure.hint().map(str::to_owned) }
    }
}

impl RefusedFrom {
    fn of(now: Instant, row: &Refused) -> Self {
        RefusedFrom {
            reason: row.reason.as_str().to_owned(),
            from: row.outer_source,
            inner_source: row.inner_source,
            count: row.count,
            age: now.saturating_duration_since(row.last).as_secs(),
        }
    }
}

impl Icmpv4Heard {
    fn of(now: Instant, row: &Icmpv4Report) -> Self {
        Icmpv4Heard {
            from: row.from,
            about: row.about,
            kind: row.kind,
            code: row.code,
            count: row.count,
            age: now.saturating_duration_since(row.last).as_secs(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lookups pass over such a byte, and so does what is told of them.
    #[test]
    fn a_comment_in_latin_1_hides_no_search_domain() {
        let file = std::env::temp_dir().join(format!("isatap-evidence-{}", std::process::id()));
        std::fs::write(&file, b"# B\xfcro\nnameserver 10.0.0.53\nsearch example.com\n").unwrap();
        let mut settings = Settings::default();
        settings.resolver_file.clone_from(&file);
        let names = Names::of(&settings, false, None);
        std::fs::remove_file(&file).unwrap();
        assert_eq!(names.search, ["example.com"]);
    }
}
