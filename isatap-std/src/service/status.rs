//! What running links say of themselves.
//!
//! With the feature `cli` the types here serialise to the JSON of `isatap status -j`. Its
//! keys are stable; new ones may come.

use crate::driver::IoCounters;
use crate::driver::attachment::Attachment;
use crate::proto41_socket::SendCounters;
use crate::resolve::{Holding, ResponderReport, Trial};
use isatap_core::drop_reason::Counters;
use isatap_core::engine::LearnedAddress;
use isatap_core::error::Table;
use isatap_core::interface::Refusal;
use isatap_core::isatap::addr;
use isatap_core::route::Route;
use isatap_core::teredo::peer::Peer;
use isatap_core::time::{Expiry, Instant};
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddrV4};

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
    /// Routes through the device: ours, and those of other programs.
    pub routes: Vec<RouteStatus>,
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
    /// Names in the DNS that have the addresses of all links of the process.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Vec::is_empty"))]
    pub dns_updates: Vec<DnsUpdateStatus>,
    /// What only Teredo has.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub teredo: Option<Teredo>,
}

/// A name that updates of the DNS give this node's addresses.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct DnsUpdateStatus {
    /// The name.
    pub name: String,
    /// The server that was asked last; absent: none yet.
    pub server: Option<String>,
    /// Its AAAA records by us.
    pub addresses: Vec<Ipv6Addr>,
    /// Seconds since the server agreed; absent: it has not.
    pub updated: Option<u64>,
    /// Why the last update failed; absent: it did not.
    pub failure: Option<String>,
}

/// What a Teredo client, server or relay knows beside.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Teredo {
    /// A client's stage: `offline`, `asking-cone`, `asking-server`, `asking-secondary`,
    /// `qualified` or `resting`; of the others `running`.
    pub state: String,
    /// Why a client is off-line.
    pub reason: Option<String>,
    /// The server's primary address, once it is known.
    pub server: Option<Ipv4Addr>,
    /// The UDP port of this machine.
    pub port: u16,
    /// How the NAT shows a client's port.
    pub mapped: Option<SocketAddrV4>,
    /// The server's other address.
    #[cfg_attr(feature = "control", serde(default))]
    pub secondary: Option<Ipv4Addr>,
    /// A client's NAT: `none`, `cone`, `restricted`, `port-restricted`, `symmetric` or `unknown`; until it is known whom
    /// it lets in `restricted`.
    pub nat: Option<String>,
    /// Seconds since a client's server was heard.
    pub server_heard: Option<u64>,
    /// Seconds until a client that is off-line asks its server again.
    #[cfg_attr(feature = "control", serde(default))]
    pub asked_again: Option<u64>,
    /// Whose secret a client qualifies with.
    #[cfg_attr(feature = "control", serde(default))]
    pub client_id: Option<String>,
    /// How the NAT was asked to open a client's port; absent: it was not, or has not answered.
    #[cfg_attr(feature = "control", serde(default))]
    pub port_mapping: Option<PortMappingStatus>,
    /// Peers; a relay's clients.
    pub peers: Vec<TeredoPeer>,
}

impl Teredo {
    /// Of a server or relay, of which there is little to say.
    pub(crate) fn running() -> Self {
        Teredo {
            state: "running".to_owned(),
            reason: None,
            server: None,
            port: 0,
            mapped: None,
            secondary: None,
            nat: None,
            server_heard: None,
            asked_again: None,
            client_id: None,
            port_mapping: None,
            peers: Vec::new(),
        }
    }
}

/// How the NAT was asked to open a port.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PortMappingStatus {
    /// How the world sees the port.
    pub external: Option<SocketAddrV4>,
    /// `PCP`, `NAT-PMP` or `UPnP`.
    pub by: Option<String>,
    /// Why there is none.
    pub failure: Option<String>,
}

/// A peer of a Teredo client or relay.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TeredoPeer {
    /// Its IPv6 address.
    pub address: Ipv6Addr,
    /// Where it is sent to.
    pub mapped: SocketAddrV4,
    /// Whether that was proven.
    pub trusted: bool,
    /// Whether it was heard in the last 30 seconds.
    pub reachable: bool,
}

impl TeredoPeer {
    /// The first thousand.
    pub(crate) fn list<'p>(now: Instant, peers: impl Iterator<Item = &'p Peer>) -> Vec<Self> {
        let of = |peer: &Peer| Self {
            address: peer.address(),
            mapped: peer.mapping(),
            trusted: peer.is_trusted(),
            reachable: peer.is_reachable(now),
        };
        peers.take(1000).map(of).collect()
    }
}

impl Status {
    /// What a device alone says.
    pub(super) fn of_attachment(now: Instant, attachment: &Attachment, role: &str) -> Self {
        Self {
            up: attachment.is_up(),
            addresses: attachment.addresses().iter().map(|address| Address::of(now, address)).collect(),
            mtu: attachment.mtu(),
            routes: attachment.routes().iter().map(|route| RouteStatus::of(now, route)).collect(),
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
            routes: Vec::new(),
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
            dns_updates: Vec::new(),
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

/// How names were looked up.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NamesStatus {
    /// What each step said last, in the order in which they were taken; the one that knew an address
    /// ends them.
    pub steps: Vec<NameStep>,
    /// Answers of neighbours and WINS servers that were not used since the start, by reason: `off-link`,
    /// `wrong-id` and others; only reasons that occurred.
    pub refused: BTreeMap<String, u64>,
}

/// Whether a router answers to the name `isatap`.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ResponderStatus {
    /// Each link and service.
    pub links: Vec<HeldName>,
    /// Each WINS server.
    pub wins: Vec<HeldName>,
    /// Questions that were answered.
    pub answered: u64,
    /// Messages that were not, by reason; only reasons that occurred.
    pub refused: BTreeMap<String, u64>,
}

/// Whether the name is the router's in one place.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct HeldName {
    /// The interface, or the server.
    pub at: String,
    /// `llmnr`, `netbios` or `wins`.
    pub by: String,
    /// `checking`, `held`, `lost` (another machine has it), `silent` (the server does not answer) or `failing`
    /// (the server answers with an error, or the kernel refuses to listen or to send).
    pub state: String,
    /// Who has it instead.
    pub holder: Option<Ipv4Addr>,
}

impl ResponderStatus {
    pub(super) fn of(report: &ResponderReport) -> Self {
        let held = |at: String, by: &str, holding: Holding| HeldName {
            at,
            by: by.to_owned(),
            state: holding.as_str().to_owned(),
            holder: if let Holding::Lost(holder) = holding { Some(holder) } else { None },
        };
        let links = report.links.iter();
        let wins = report.wins.iter();
        Self {
            links: links.map(|link| held(link.interface.clone(), link.service.as_str(), link.holding)).collect(),
            wins: wins.map(|(server, holding)| held(server.to_string(), "wins", *holding)).collect(),
            answered: report.answered,
            refused: report.discards.iter().map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        }
    }
}

/// What one step said of one name.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct NameStep {
    /// `host-name`, `hosts`, `dns`, `llmnr`, `netbios-cache`, `wins`, `broadcast` or `lmhosts`.
    pub step: String,
    /// The name that was asked for.
    pub name: String,
    /// What it brought, addresses included that no router can have.
    pub addresses: Vec<Ipv4Addr>,
    /// Why it brought none.
    pub failure: Option<String>,
}

impl NameStep {
    pub(super) fn of(trial: &Trial) -> Self {
        Self {
            step: trial.step.as_str().to_owned(),
            name: trial.name.clone(),
            addresses: trial.said.clone().unwrap_or_default(),
            failure: trial.said.as_ref().err().map(ToString::to_string),
        }
    }
}

#[cfg(feature = "control")]
fn yes() -> bool {
    true
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
pub(super) fn io_counters(io: &IoCounters, sent: &SendCounters, drops: Option<u32>) -> BTreeMap<String, u64> {
    let all = [
        ("device-read-failed", io.device_read_failed),
        ("device-write-failed", io.device_write_failed),
        ("receive-failed", io.receive_failed),
        ("receive-buffer-full", drops.map(u64::from).unwrap_or_default()),
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
