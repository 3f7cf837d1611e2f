//! Why a link does not work, and what to do about it: the judgement of `isatap doctor`.
//!
//! [`diagnose`] is a pure function from [`Facts`] to [`Finding`]s. The facts are what the
//! daemon tells ([`Evidence`]), what the kernel has, and what came of a few packets that were
//! sent to find out. It walks the [`Step`]s in the order in which an ISATAP link comes to
//! life, each of which needs those before it, and stops at the first that fails. What the process
//! does beside its links is judged in any case, and so is what a tunnel broker says.
//!
//! A step is `ok` when something that happened during the examination shows it. Where nothing
//! could, the finding is [`unknown`](Finding::unknown), and says why.
//!
//! # What it cannot do
//!
//! It sees one machine. Of a router that says nothing it cannot know whether a filter on the
//! way or the router itself is silent; it says which is likelier, and what to look at.

mod beside;
mod broker;
mod host;
mod router;
mod shared;
mod teredo;

use crate::runtime_dir::RuntimeDir;
use crate::service::evidence::Evidence;
use crate::service::status::{Packets, Status};
use serde::Serialize;
use std::net::{Ipv4Addr, Ipv6Addr};

/// What there is to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// What the daemon tells, after the probes.
    pub evidence: Evidence,
    /// How the daemon was started, as `isatap host …`; `None`: that could not be found out.
    pub command: Option<String>,
    /// Packets that the kernel did not take from the daemon during the examination.
    pub unsent: Unsent,
    /// How long the examination took, in seconds: what is older tells nothing of the present.
    pub elapsed: u64,
    /// Routers that have advertised during the examination, and a Teredo server that was heard.
    pub answered: Vec<Ipv4Addr>,
    /// Packets of the node before the examination.
    pub before: Packets,
    /// Packets of protocol 41 that reached a device of this machine during the examination,
    /// in front of its firewall, without those of peers that another link heard; `None`: nobody could look.
    pub arrived: Option<Vec<Arrived>>,
    /// What the kernel has.
    pub kernel: Kernel,
    /// What potential routers answered.
    pub probes: Vec<Probe>,
    /// What a Teredo server answered; `None`: it was not asked.
    pub teredo: Option<TeredoProbe>,
}

/// What a Teredo server answered to a solicitation from another port than the daemon's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TeredoProbe {
    /// The server.
    pub server: Ipv4Addr,
    /// How that went.
    pub answer: TeredoAnswer,
    /// Whether it answered an IPv4 ping; `None`: not tried.
    pub ping: Option<bool>,
}

/// What came of a solicitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TeredoAnswer {
    /// An advertisement.
    Answered,
    /// ICMPv4 port unreachable: no Teredo server is there.
    Refused,
    /// No route, or ICMPv4 host or network unreachable.
    Unreachable,
    /// A firewall of this machine (`EPERM`).
    NotPermitted,
    /// Nothing.
    Silent,
}

/// Packets that could not be sent during the examination, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unsent {
    /// A firewall of this machine (`EPERM`).
    pub not_permitted: u64,
    /// No IPv4 route, or no such source address.
    pub unreachable: u64,
}

/// Packets of one sender that reached a device of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// The outer source.
    pub from: Ipv4Addr,
    /// The device.
    pub device: String,
    /// How many.
    pub count: u64,
}

/// What the kernel has of the device.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Kernel {
    /// `None`: there is no such device.
    pub device: Option<Device>,
    /// `net.ipv6.conf.DEV.disable_ipv6`.
    pub ipv6_disabled: bool,
    /// No device has an IPv6 default route.
    pub without_default_route: bool,
    /// Other devices that have one of the daemon's IPv6 addresses too.
    pub rivals: Vec<Rival>,
    /// nftables chains at the output hook: family, table and name, as nft takes them.
    pub output_chains: Vec<String>,
    /// The same at the hooks that packets pass on their way in.
    pub input_chains: Vec<String>,
}

/// A device as the kernel has it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Device {
    /// Whether it is switched on.
    pub is_up: bool,
    /// Its MTU in bytes.
    pub mtu: u32,
    /// Its IPv6 addresses.
    pub addresses: Vec<Ipv6Addr>,
    /// Routes through it: the prefix, and the next hop where there is one.
    pub routes: Vec<(String, Option<Ipv6Addr>)>,
}

/// Another device with an address of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rival {
    /// The device.
    pub device: String,
    /// The address.
    pub address: Ipv6Addr,
    /// Who holds it, when it is a TUN device: process id and name.
    pub holder: Option<(u32, String)>,
}

/// What one potential router, the far end of a tunnel or a relay answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Probe {
    /// The router.
    pub router: Ipv4Addr,
    /// Whether it answered an IPv4 ping; `None`: not tried.
    pub ipv4: Option<bool>,
    /// Whether it answered a small ping through the tunnel.
    pub tunnel: Option<bool>,
    /// The longest IPv6 packet that was answered, in bytes, when the longest possible was not.
    pub longest: Option<Longest>,
}

/// How long packets may be on the way to a router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Longest {
    /// As long as the MTU allows.
    Full,
    /// This many bytes; longer ones vanish.
    Bytes(u16),
    /// Not even 1280 bytes, which every IPv6 link has to carry.
    BelowMinimum,
}

/// What a link needs, each of them all before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Step {
    /// A daemon that runs the device.
    Daemon,
    /// Names of potential routers have addresses.
    Name,
    /// There are potential routers.
    Prl,
    /// They are solicited.
    RsSent,
    /// One of them has advertised.
    RaSeen,
    /// There is a UDP socket with an IPv4 address of this machine's: Teredo.
    Socket,
    /// The server has answered: Teredo.
    Answered,
    /// The NAT is one that Teredo works behind.
    Nat,
    /// The device has IPv6 addresses.
    Address,
    /// The device has routes.
    Route,
    /// The LANs behind it have a prefix, and a router that leads on.
    Lan,
    /// Packets as long as the MTU arrive.
    Mtu,
    /// The other end answers.
    Peer,
    /// A tunnel broker has this end's address.
    Broker,
    /// Nobody but this router answers to the name isatap on its links.
    Responder,
    /// A name in the DNS has the addresses of all links of the process.
    DnsUpdate,
    /// Commands of the administrator's run, beside all links of the process.
    Hooks,
}

impl Step {
    /// The steps of a host, in order.
    pub const OF_HOST: &'static [Step] =
        &[Step::Name, Step::Prl, Step::RsSent, Step::RaSeen, Step::Address, Step::Route, Step::Mtu, Step::Peer];

    /// The steps of a router, and of any link that solicits nobody, in order.
    pub const OF_ROUTER: &'static [Step] = &[Step::Address, Step::Route, Step::Mtu, Step::Peer];

    /// The same where there are LANs behind it.
    pub const OF_LAN_ROUTER: &'static [Step] = &[Step::Address, Step::Route, Step::Lan, Step::Mtu, Step::Peer];

    /// The steps of a Teredo client, in order.
    pub const OF_TEREDO_CLIENT: &'static [Step] = &[
        Step::Name,
        Step::Socket,
        Step::RsSent,
        Step::Answered,
        Step::Nat,
        Step::Address,
        Step::Route,
        Step::Mtu,
        Step::Peer,
    ];

    /// The steps of a Teredo server, in order: it has no address of its own.
    pub const OF_TEREDO_SERVER: &'static [Step] = &[Step::Socket, Step::Route, Step::Mtu, Step::Peer];

    /// The steps of a Teredo relay, in order.
    pub const OF_TEREDO_RELAY: &'static [Step] = &[Step::Socket, Step::Address, Step::Route, Step::Mtu, Step::Peer];

    /// Those of a device that says this of itself, in order.
    #[must_use]
    pub fn of(status: &Status) -> &'static [Step] {
        match status.role.as_str() {
            "isatap-host" => Step::OF_HOST,
            "teredo-client" => Step::OF_TEREDO_CLIENT,
            "teredo-server" => Step::OF_TEREDO_SERVER,
            "teredo-relay" => Step::OF_TEREDO_RELAY,
            _ if status.lans.is_empty() => Step::OF_ROUTER,
            _ => Step::OF_LAN_ROUTER,
        }
    }

    /// The name in kebab-case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Step::Daemon => "daemon",
            Step::Name => "name",
            Step::Prl => "prl",
            Step::RsSent => "rs-sent",
            Step::RaSeen => "ra-seen",
            Step::Socket => "socket",
            Step::Answered => "answered",
            Step::Nat => "nat",
            Step::Address => "address",
            Step::Route => "route",
            Step::Lan => "lan",
            Step::Mtu => "mtu",
            Step::Peer => "peer",
            Step::Broker => "broker",
            Step::Responder => "responder",
            Step::DnsUpdate => "dns-update",
            Step::Hooks => "hooks",
        }
    }
}

/// What was found about one step. The keys of its JSON are stable.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Finding {
    /// The step.
    pub step: Step,
    /// Whether it is as it should be.
    pub ok: bool,
    /// Whether nothing is known: nothing speaks against it, and nothing fresh for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unknown: bool,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The fix: a command where there is one, else a sentence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// What there is, when it is as it should be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
    /// What may become a problem.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

impl Finding {
    /// A step that is as it should be.
    pub fn good(step: Step, seen: impl Into<String>) -> Self {
        Finding { step, ok: true, unknown: false, cause: None, fix: None, seen: Some(seen.into()), warning: None }
    }

    /// A step of which nothing is known: why.
    pub fn unknown(step: Step, why: impl Into<String>) -> Self {
        Finding { unknown: true, ..Self::good(step, why) }
    }

    /// A step that is not.
    pub fn bad(step: Step, cause: impl Into<String>, fix: impl Into<String>) -> Self {
        let (cause, fix) = (Some(cause.into()), Some(fix.into()));
        Finding { step, ok: false, unknown: false, cause, fix, seen: None, warning: None }
    }

    /// With something that may become a problem.
    #[must_use]
    pub fn warn(self, warning: Option<String>) -> Self {
        Finding { warning, ..self }
    }

    /// Nothing answers for the device. `holder`: the process that has it nevertheless.
    pub fn no_daemon(device: &str, runtime: &RuntimeDir, holder: Option<&(u32, String)>) -> Self {
        let socket = runtime.socket(device);
        let socket = socket.display();
        match holder {
            Some((pid, name)) => Self::bad(
                Step::Daemon,
                format!("{device} belongs to process {pid} ({name}), which does not answer at {socket}"),
                format!("kill {pid}"),
            ),
            None => Self::bad(
                Step::Daemon,
                format!("no daemon runs {device}: nobody answers at {socket}"),
                runtime.instead_of(device).unwrap_or_else(|| match device.starts_with(crate::spec::TEREDO_DEVICE) {
                    true => format!("isatap teredo client --dev {device} --server HOST; see isatap teredo --help"),
                    false => {
                        format!("isatap host --dev {device} --router V4|NAME, or isatap router; see isatap host --help")
                    }
                }),
            ),
        }
    }
}

/// Whether something was heard again between two looks, of which each tells the age in whole
/// seconds: `before`, and `elapsed` whole seconds later, or more, `after`.
#[must_use]
pub fn is_heard_again(before: Option<u64>, after: Option<u64>, elapsed: u64) -> bool {
    after.is_some_and(|after| before.is_none_or(|before| after < before.saturating_add(elapsed)))
}

/// Judges a link: a finding for each step up to the first that fails, and for what is beside it.
#[must_use]
pub fn diagnose(facts: &Facts) -> Vec<Finding> {
    let mut findings = walk(facts);
    findings.extend(broker::judge(facts));
    findings.extend(beside::judge(facts));
    findings
}

fn walk(facts: &Facts) -> Vec<Finding> {
    let role = facts.evidence.status.role.as_str();
    let judge = match role {
        "isatap-host" => host::judge,
        _ if facts.evidence.status.resting => resting,
        "teredo-client" | "teredo-server" | "teredo-relay" => teredo::judge,
        _ => router::judge,
    };
    if let (None, Some(what)) = (&facts.kernel.device, &facts.evidence.status.waiting) {
        return vec![without_device(role, what)];
    }
    let mut findings = Vec::new();
    for step in Step::of(&facts.evidence.status) {
        let finding = judge(facts, *step);
        let ok = finding.ok;
        findings.push(finding);
        if !ok {
            break;
        }
    }
    findings
}

/// 6to4 beside native IPv6, or Teredo beside any other. `S64-33`, `TER-31`
fn resting(facts: &Facts, step: Step) -> Finding {
    let status = &facts.evidence.status;
    let who = if status.teredo.is_some() {
        "Teredo rests: this machine has IPv6"
    } else {
        "6to4 rests: this machine has native IPv6"
    };
    let device = status.yields_to.as_ref().map(|device| format!(" by {device}")).unwrap_or_default();
    Finding::unknown(step, format!("{who}{device} (--beside-native has it work all the same)"))
}

/// A link that waits before it has a device: what for.
fn without_device(role: &str, what: &str) -> Finding {
    let is_address = what.starts_with(|first: char| first.is_ascii_digit());
    let fix = match is_address {
        true => format!("ip address add {what}/LEN dev DEV"),
        false => "remove what is in the way; the daemon tries again by itself, and at once on SIGHUP".to_owned(),
    };
    let step = if role.starts_with("teredo") { Step::Socket } else { Step::Address };
    Finding::bad(step, format!("there is no device yet: the link waits for {what}"), fix)
}

#[cfg(test)]
mod tests;
