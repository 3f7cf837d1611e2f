//! What running links say of themselves.
//!
//! With the feature `cli` the types here serialise to the JSON of `isatap status -j`. Its
//! keys are stable; new ones may come.

mod dns_updates;
mod hooks;
mod kernel_path;
mod names;
mod outer;
mod teredo;
mod update;

pub use dns_updates::DnsUpdateStatus;
pub use hooks::HooksStatus;
pub use kernel_path::KernelPathStatus;
pub use names::{HeldName, NameClaim, NameStep, NamesStatus, ResponderStatus};
pub use outer::OuterStatus;
pub use teredo::{PortMappingStatus, Teredo, TeredoPeer};
pub use update::UpdateStatus;

use crate::driver::IoCounters;
use crate::driver::attachment::Attachment;
use crate::proto41_socket::SendCounters;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::LearnedAddress;
use isatap_core::error::Table;
use isatap_core::interface::Refusal;
use isatap_core::isatap::addr;
use isatap_core::route::Route;
use isatap_core::time::{Expiry, Instant};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One link.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Status {
    /// The device.
    pub dev: String,
    /// `isatap-host`, `isatap-router`, `configured`, `6rd-ce`, `6rd-br`, `6to4-host-router`,
    /// `6to4-router`, `6to4-relay`, `compatible`, `teredo-client`, `teredo-server` or `teredo-relay`.
    pub role: String,
    /// Whether the device is switched on.
    pub up: bool,
    /// The IPv4 addresses that it sends from.
    pub locators: Vec<Ipv4Addr>,
    /// What it waits for before it can send, for people: an IPv4 address or a device that this machine
    /// lacks, or another try to make its own device. Absent: nothing.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub waiting: Option<String>,
    /// Its IPv6 addresses.
    pub addresses: Vec<Address>,
    /// The routers that are alive.
    pub routers: Vec<Router>,
    /// The potential router list.
    pub prl: Vec<PotentialRouterStatus>,
    /// Why the names brought no router, when that was the last answer.
    pub prl_error: Option<String>,
    /// How the names of routers, or of a relay, were looked up last; absent: there is none.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub names: Option<NamesStatus>,
    /// Whether an ISATAP router answers to its name; absent: it is not to.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub responder: Option<ResponderStatus>,
    /// The IPv6 MTU in bytes.
    pub mtu: u16,
    /// The IPv4 MTU underneath in bytes.
    pub underlay_mtu: Option<u16>,
    /// What outer packets say, and how they leave; absent: Teredo's say nothing of their own.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub outer: Option<OuterStatus>,
    /// Whether the kernel carries packets of known flows; absent: it is not to.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub kernel_path: Option<KernelPathStatus>,
    /// Routes through the device: ours, and those of other programs.
    pub routes: Vec<RouteStatus>,
    /// The full table that other programs have put on the device; absent: the link takes none.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub full_table: Option<FullTableStatus>,
    /// DNS configuration learned. It is not applied to the system.
    pub dns: Dns,
    /// What routers advertised and tables had no room for, the most first.
    #[cfg_attr(feature = "control", serde(default))]
    pub refused: Vec<Refused>,
    /// Options of advertisements that broke their own rules, such as a search list with bad
    /// padding. The rest of those advertisements is used.
    #[cfg_attr(feature = "control", serde(default))]
    pub unusable_options: u16,
    /// Whether packets are forwarded between this device and others; a router's concern.
    pub forwarding: bool,
    /// What an ISATAP router advertises.
    pub advertises: Option<Advertised>,
    /// Seconds since an ISATAP router answered a host.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub answered: Option<u64>,
    /// Whether 6to4 rests, since this machine has native IPv6, or a Teredo client, since this machine
    /// has other IPv6.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "std::ops::Not::not"))]
    pub resting: bool,
    /// The device by which this machine has that IPv6.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub yields_to: Option<String>,
    /// Whether the relay of 6rd answered when it was asked last; absent: not asked, or not known yet.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub relay_answers: Option<bool>,
    /// Whether an ISATAP router asks its hosts whether they are there: `off`, `where-blind` or
    /// `on`.
    #[cfg_attr(feature = "control", serde(default))]
    pub check_neighbors: Option<String>,
    /// Other tunnel routers, which an ISATAP router takes for no hosts.
    #[cfg_attr(feature = "control", serde(default))]
    pub known_routers: Vec<Ipv4Addr>,
    /// Other routers of its link, which an ISATAP router trusts.
    #[cfg_attr(feature = "control", serde(default))]
    pub trusted_routers: Vec<Ipv4Addr>,
    /// A configured tunnel's other end; the relay in use of 6to4 or 6rd.
    pub remote: Option<Ipv4Addr>,
    /// What unreachability detection knows of a configured tunnel's other end; absent:
    /// nothing was sent to it lately.
    pub reachability: Option<String>,
    /// Seconds since a packet came from a configured tunnel's other end.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub heard: Option<u64>,
    /// Seconds since unreachability detection asked a configured tunnel's other end, and nothing came
    /// from there; absent: something came since, it was not asked, which happens only when packets
    /// are sent and never without neighbor probes, or it has a few seconds left to answer.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub silent: Option<u64>,
    /// The prefix that is this node's by its IPv4 address, for LANs: of 6to4 or 6rd.
    pub delegated: Option<String>,
    /// The LANs that get a /64 of it.
    #[cfg_attr(feature = "control", serde(default))]
    pub lans: Vec<LanStatus>,
    /// Dropped packets of this link by reason; only reasons that occurred.
    pub counters: BTreeMap<String, u64>,
    /// Packets of this link by their good end.
    pub packets: Packets,
    /// Dropped packets by reason that were for none of several links of the process that speak
    /// protocol 41. Of a link that is alone they are among its counters.
    #[cfg_attr(feature = "control", serde(default))]
    pub unclaimed: BTreeMap<String, u64>,
    /// What the system did not take; of all links of the process that speak protocol 41 together.
    pub io: BTreeMap<String, u64>,
    /// What was remembered of decisions about packets; of all links of the process that speak
    /// protocol 41 together. Absent: nothing is remembered.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub decisions: Option<DecisionsStatus>,
    /// Names in the DNS that have the addresses of all links of the process.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub dns_updates: Vec<DnsUpdateStatus>,
    /// How hooks run, for all links of the process; absent: there are none.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub hooks: Option<HooksStatus>,
    /// What a tunnel broker said of a configured tunnel's address.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub update: Option<UpdateStatus>,
    /// What only Teredo has.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub teredo: Option<Teredo>,
}

impl Status {
    /// What a device alone says.
    pub(super) fn of_attachment(now: Instant, attachment: &Attachment, role: &str) -> Self {
        Self {
            up: attachment.is_up(),
            addresses: attachment.addresses().iter().map(|address| Address::of(now, address)).collect(),
            mtu: attachment.mtu(),
            routes: attachment.routes().iter().map(|route| RouteStatus::of(now, route)).collect(),
            full_table: attachment.full_table().map(|followed| {
                let (routes, bytes) = followed.table().size();
                FullTableStatus { routes, bytes }
            }),
            ..Self::without_device(attachment.name(), role)
        }
    }

    /// Of a link whose device is not there.
    pub(super) fn without_device(device: &str, role: &str) -> Self {
        Self {
            dev: device.to_owned(),
            role: role.to_owned(),
            up: false,
            locators: Vec::new(),
            waiting: None,
            addresses: Vec::new(),
            routers: Vec::new(),
            prl: Vec::new(),
            prl_error: None,
            names: None,
            responder: None,
            mtu: 0,
            underlay_mtu: None,
            outer: None,
            kernel_path: None,
            routes: Vec::new(),
            full_table: None,
            dns: Dns::default(),
            refused: Vec::new(),
            unusable_options: 0,
            forwarding: false,
            advertises: None,
            answered: None,
            resting: false,
            yields_to: None,
            relay_answers: None,
            check_neighbors: None,
            known_routers: Vec::new(),
            trusted_routers: Vec::new(),
            remote: None,
            reachability: None,
            heard: None,
            silent: None,
            delegated: None,
            lans: Vec::new(),
            counters: BTreeMap::new(),
            packets: Packets::default(),
            unclaimed: BTreeMap::new(),
            io: BTreeMap::new(),
            decisions: None,
            dns_updates: Vec::new(),
            hooks: None,
            update: None,
            teredo: None,
        }
    }

    /// What became of the link's packets, and of those that were for none.
    pub(super) fn count(&mut self, counters: &Counters<u64>, unclaimed: &Counters<u64>) {
        let by_name = |counted: &Counters<u64>| {
            counted.dropped().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect()
        };
        self.counters = by_name(counters);
        self.unclaimed = by_name(unclaimed);
        self.packets = Packets::of(counters);
    }
}

/// How many packets went by a decision that was remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DecisionsStatus {
    /// Packets of flows that were known.
    pub hits: u64,
    /// Packets for which links and routes were asked.
    pub misses: u64,
    /// Flows that there is room for.
    pub flows: usize,
}

/// An IPv6 address of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Address {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of its prefix in bits.
    pub prefix_length: u8,
    /// Seconds until it is deprecated; absent: never.
    pub preferred: Option<u64>,
    /// Seconds until it is gone; absent: never.
    pub valid: Option<u64>,
}

/// A router that has answered.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Router {
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Its link-local address.
    pub link_local: Ipv6Addr,
    /// What unreachability detection knows of it; absent: nothing was sent to it lately.
    pub reachability: Option<String>,
}

/// An entry of the potential router list.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PotentialRouterStatus {
    /// Its IPv4 address.
    pub address: Ipv4Addr,
    /// Where the entry came from: `static`, `local host name`, `hosts file`, `dns NAME`, `llmnr NAME from
    /// V4 on DEV`, `netbios cache`, `wins V4`, `netbios broadcast on DEV`, `lmhosts file` or `earlier
    /// answer for NAME`.
    pub source: String,
    /// Whether it may be a default router.
    #[cfg_attr(feature = "control", serde(default = "yes"))]
    pub default: bool,
    /// Whether it has answered, and what it said has not all expired: see `heard` for how
    /// long ago that was.
    pub alive: bool,
    /// Seconds since its last advertisement.
    #[cfg_attr(feature = "control", serde(default))]
    pub heard: Option<u64>,
    /// Solicitations sent in this round; zero when none is under way.
    pub attempts: u16,
    /// Seconds until it is asked next, if that is known yet.
    pub next_solicitation: Option<u64>,
}

#[cfg(feature = "control")]
fn yes() -> bool {
    true
}

/// A full table of routes: see [`SharedTable`](crate::fib::SharedTable).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct FullTableStatus {
    /// How many prefixes it has.
    pub routes: usize,
    /// The memory that it takes.
    pub bytes: usize,
}

/// A route through a device.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RouteStatus {
    /// The destinations.
    pub prefix: String,
    /// The next hop; absent: on-link.
    pub via: Option<Ipv6Addr>,
    /// Who made it: `manual`, `mirrored` (another program), `on-link`, `advertised`, `redirected` or
    /// `automatic`.
    pub origin: String,
    /// `low`, `medium` or `high`.
    pub preference: String,
    /// Seconds until it is gone; absent: never.
    pub lifetime: Option<u64>,
}

/// DNS configuration that routers advertise.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Dns {
    /// Servers.
    pub servers: Vec<Ipv6Addr>,
    /// Search domains.
    pub search: Vec<String>,
    /// Whether the system uses them: never yet.
    pub applied: bool,
}

/// What a table had no room for.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Refused {
    /// The router that advertised it; absent: this machine's own configuration, or a name.
    pub router: Option<IpAddr>,
    /// What it was: `prefixes`, `routes`, `DNS servers`, `DNS search domains` or
    /// `potential routers`.
    pub kind: String,
    /// What was refused last; absent: a name.
    pub last: Option<String>,
    /// How often.
    pub count: u32,
}

/// What a router says in its advertisements.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Advertised {
    /// Prefixes that hosts make addresses of.
    pub prefixes: Vec<String>,
    /// More specific routes.
    pub routes: Vec<String>,
    /// Whether it offers itself as a default router.
    pub default_route: bool,
}

/// A LAN behind a tunnel.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LanStatus {
    /// Its device.
    pub dev: String,
    /// The number of its /64, in hexadecimal; absent: that of the interface, which is not there.
    pub subnet: Option<String>,
    /// From which address the router speaks; absent: it does not, see `problem`.
    pub link_local: Option<Ipv6Addr>,
    /// Whether the kernel forwards between this device and others.
    pub forwarding: bool,
    /// Whether hosts hear of a default router here.
    pub default_router: bool,
    /// What hosts make addresses of, or did: of all tunnels that this LAN has prefixes of.
    pub prefixes: Vec<LanPrefix>,
    /// Why hosts are not served, or get no prefix.
    pub problem: Option<String>,
    /// The fix; absent: wait.
    pub fix: Option<String>,
}

/// A prefix that is advertised on a LAN.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LanPrefix {
    /// The prefix.
    pub prefix: String,
    /// Whether it was taken back: hosts hear that it is not to be used any more.
    pub deprecated: bool,
    /// Seconds until it is no longer spoken of; absent: never.
    pub until: Option<u64>,
}

/// Packets by their good end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Packets {
    /// Handed in, from either side.
    pub entered: u64,
    /// Left encapsulated; a super-packet counts once.
    pub tunnelled: u64,
    /// Handed to the kernel; a joined packet counts once.
    pub delivered: u64,
    /// Taken by the node itself.
    pub consumed: u64,
    /// Asked to wait for a peer or a neighbour. Most are handed in again, and enter again.
    #[cfg_attr(feature = "control", serde(default))]
    pub held: u64,
    /// Dropped, for all reasons.
    pub dropped: u64,
}

/// What input and output have counted, by name; `drops`: for want of room in the socket.
pub(super) fn io_counters(io: &IoCounters, sent: &SendCounters, drops: Option<u64>) -> BTreeMap<String, u64> {
    let all = [
        ("device-read-failed", io.device_read_failed),
        ("device-write-failed", io.device_write_failed),
        ("receive-failed", io.receive_failed),
        ("receive-buffer-full", drops.unwrap_or_default()),
        ("send-too-big", sent.too_big),
        ("send-congested", sent.congested),
        ("send-not-permitted", sent.not_permitted),
        ("send-unreachable", sent.unreachable),
        ("send-invalid", sent.invalid),
        ("send-other", sent.other),
        ("no-device", io.no_device),
        ("not-kept", io.not_kept),
        ("not-recorded", io.not_recorded),
    ];
    all.into_iter().filter(|(_, count)| *count > 0).map(|(name, count)| (name.to_owned(), count)).collect()
}

/// The most first.
pub(super) fn refused<'r>(refusals: impl Iterator<Item = &'r Refusal>) -> Vec<Refused> {
    let mut all: Vec<Refused> = refusals.map(Refused::of).collect();
    all.sort_by(|a, b| b.count.cmp(&a.count).then_with(|| a.kind.cmp(&b.kind)));
    all
}

impl Refused {
    fn of(refusal: &Refusal) -> Self {
        let named = |address: Ipv6Addr| addr::embedded_ipv4(&address).map_or(IpAddr::V6(address), IpAddr::V4);
        let last = refusal.last.map(|prefix| match (prefix.length(), named(prefix.address())) {
            // A router, or a server, is an address.
            (128, IpAddr::V4(router)) if refusal.table == Table::PotentialRouters => router.to_string(),
            (128, _) => prefix.address().to_string(),
            _ => prefix.to_string(),
        });
        Self { router: refusal.router.map(named), kind: refusal.table.as_str().to_owned(), last, count: refusal.count }
    }
}

impl fmt::Display for Refused {
    /// `45 prefixes of router 10.0.0.9 (last 2001:db8:0:4b::/64)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.count, self.kind)?;
        if let Some(router) = self.router {
            write!(f, " of router {router}")?;
        }
        match &self.last {
            Some(last) => write!(f, " (last {last})"),
            None => Ok(()),
        }
    }
}

impl Address {
    pub(super) fn of(now: Instant, address: &LearnedAddress) -> Self {
        Self {
            address: address.address,
            prefix_length: address.prefix_length,
            preferred: seconds(now, address.preferred_until),
            valid: seconds(now, address.valid_until),
        }
    }
}

impl RouteStatus {
    pub(super) fn of(now: Instant, route: &Route) -> Self {
        Self {
            prefix: route.prefix.to_string(),
            via: route.next_hop,
            origin: route.origin.as_str().to_owned(),
            preference: route.preference.as_str().to_owned(),
            lifetime: seconds(now, route.expires),
        }
    }
}

impl Packets {
    fn of(counters: &Counters<u64>) -> Self {
        Self {
            entered: counters.entered,
            tunnelled: counters.tunnelled,
            delivered: counters.delivered,
            consumed: counters.consumed,
            held: counters.held,
            dropped: counters.total_dropped(),
        }
    }
}

/// Whole seconds left; `None`: for ever.
pub(super) fn seconds(now: Instant, until: Expiry) -> Option<u64> {
    until.instant().map(|instant| instant.saturating_duration_since(now).as_secs())
}

#[cfg(all(test, feature = "control"))]
mod tests;
