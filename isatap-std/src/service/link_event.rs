//! What happens to a link: `isatap monitor` tells it, and hooks run for some of it.

use super::dotted;
use super::status::{Address, RouteStatus};
use isatap_core::engine::{Delegation, LearnedAddress};
use isatap_core::route::{Change, Route};
use isatap_core::time::Instant;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

/// Something that happened to one link.
///
/// With the feature `control` it serialises to the JSON of `isatap monitor -j`, without `time` and
/// `dev`. Its keys are stable; new ones may come, and new events.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "control", serde(tag = "event", rename_all = "kebab-case"))]
#[non_exhaustive]
pub enum LinkEvent {
    /// The link begins.
    Started {
        /// Its role, as in [`Status::role`](super::status::Status::role).
        role: String,
    },
    /// The device carries its first address and can be used.
    Up {
        /// That address.
        address: Ipv6Addr,
        /// The MTU in bytes.
        mtu: u16,
    },
    /// The link cannot send any more, for lack of an IPv4 address; `Up` comes when it can.
    Down,
    /// The device gets an address.
    AddressAdded(Address),
    /// The lifetimes of an address are others.
    AddressChanged(Address),
    /// The device loses an address.
    AddressRemoved(Address),
    /// The device gets a route.
    RouteAdded(RouteStatus),
    /// A route has another preference or lifetime.
    RouteChanged(RouteStatus),
    /// The device loses a route.
    RouteRemoved(RouteStatus),
    /// The node has a prefix for its LANs.
    PrefixAdded {
        /// The prefix.
        prefix: String,
    },
    /// The lifetime of that prefix is another.
    PrefixChanged {
        /// The prefix.
        prefix: String,
    },
    /// The prefix for LANs is gone.
    PrefixRemoved {
        /// The prefix.
        prefix: String,
    },
    /// A potential router has answered for the first time.
    RouterFound {
        /// Its IPv4 address.
        router: Ipv4Addr,
    },
    /// What a router said has expired.
    RouterLost {
        /// Its IPv4 address.
        router: Ipv4Addr,
    },
    /// A relay of 6rd or 6to4 has answered a probe.
    RelayFound {
        /// Its IPv4 address.
        relay: Ipv4Addr,
    },
    /// A relay of 6rd or 6to4 has not answered.
    RelayLost {
        /// Its IPv4 address.
        relay: Ipv4Addr,
    },
    /// Names led to other potential routers than before.
    PrlChanged {
        /// Their IPv4 addresses.
        routers: Vec<Ipv4Addr>,
        /// What named them: `hosts file`, `dns NAME` and so on.
        sources: Vec<String>,
    },
    /// The link sends from other IPv4 addresses than before.
    LocatorsChanged {
        /// These.
        locators: Vec<Ipv4Addr>,
    },
    /// The IPv6 MTU is another.
    MtuChanged {
        /// In bytes.
        mtu: u16,
    },
    /// Routers advertise another DNS configuration.
    DnsChanged,
    /// A Teredo client has another state.
    State {
        /// As in [`Teredo::state`](super::status::Teredo::state).
        state: String,
        /// Why a client is off-line.
        reason: Option<String>,
        /// The server's primary address, once it is known.
        server: Option<Ipv4Addr>,
        /// How the NAT shows the client's port.
        mapped: Option<SocketAddrV4>,
    },
    /// The configuration was read again, and the link goes on as it was.
    Reloaded,
    /// Something went as it should.
    Info {
        /// For people.
        text: String,
    },
    /// Something does not work and may work later.
    Warning {
        /// For people.
        text: String,
    },
    /// What a warning was about works now.
    Mended {
        /// For people.
        text: String,
    },
    /// The link ends, and its device goes with its addresses and routes.
    Ended,
}

impl LinkEvent {
    /// Whether somebody should know who is not told of everything.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::RelayLost { .. } | Self::Warning { .. })
    }

    pub(super) fn of_address(now: Instant, change: Change, address: &LearnedAddress) -> Self {
        let address = Address::of(now, address);
        match change {
            Change::Added => Self::AddressAdded(address),
            Change::Changed => Self::AddressChanged(address),
            Change::Removed => Self::AddressRemoved(address),
        }
    }

    pub(super) fn of_route(now: Instant, change: Change, route: &Route) -> Self {
        let route = RouteStatus::of(now, route);
        match change {
            Change::Added => Self::RouteAdded(route),
            Change::Changed => Self::RouteChanged(route),
            Change::Removed => Self::RouteRemoved(route),
        }
    }

    pub(super) fn of_delegation(change: Change, delegation: &Delegation) -> Self {
        let prefix = delegation.prefix.to_string();
        match change {
            Change::Added => Self::PrefixAdded { prefix },
            Change::Changed => Self::PrefixChanged { prefix },
            Change::Removed => Self::PrefixRemoved { prefix },
        }
    }
}

impl fmt::Display for LinkEvent {
    /// `address fe80::5efe:10.0.0.2/64 added`, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |f: &mut fmt::Formatter<'_>, address: &Address, change| {
            write!(f, "address {}/{} {change}", dotted(&address.address), address.prefix_length)
        };
        let route = |f: &mut fmt::Formatter<'_>, route: &RouteStatus, change| {
            let via = route.via.map(|via| format!(" via {}", dotted(&via))).unwrap_or_default();
            write!(f, "route {}{via} {} {change}", route.prefix, route.origin)
        };
        match self {
            Self::Started { role } => write!(f, "started: {role}"),
            Self::Up { address, mtu } => write!(f, "up: {} mtu {mtu}", dotted(address)),
            Self::Down => f.write_str("down"),
            Self::AddressAdded(added) => address(f, added, Change::Added),
            Self::AddressChanged(changed) => address(f, changed, Change::Changed),
            Self::AddressRemoved(removed) => address(f, removed, Change::Removed),
            Self::RouteAdded(added) => route(f, added, Change::Added),
            Self::RouteChanged(changed) => route(f, changed, Change::Changed),
            Self::RouteRemoved(removed) => route(f, removed, Change::Removed),
            Self::PrefixAdded { prefix } => write!(f, "prefix {prefix} for LANs added"),
            Self::PrefixChanged { prefix } => write!(f, "prefix {prefix} for LANs changed"),
            Self::PrefixRemoved { prefix } => write!(f, "prefix {prefix} for LANs removed"),
            Self::RouterFound { router } => write!(f, "router {router} answers"),
            Self::RouterLost { router } => write!(f, "router {router} is gone"),
            Self::RelayFound { relay } => write!(f, "relay {relay} answers"),
            Self::RelayLost { relay } => write!(f, "relay {relay} does not answer"),
            Self::PrlChanged { routers, sources } => {
                write!(f, "potential routers {} by {}", list(routers), sources.join(", "))
            }
            Self::LocatorsChanged { locators } if locators.is_empty() => f.write_str("no IPv4 address to send from"),
            Self::LocatorsChanged { locators } => write!(f, "sends from {}", list(locators)),
            Self::MtuChanged { mtu } => write!(f, "mtu {mtu}"),
            Self::DnsChanged => f.write_str("DNS configuration learned; it is shown by status and not applied"),
            Self::State { state, reason, .. } => {
                let reason = reason.as_ref().map(|reason| format!(" ({reason})")).unwrap_or_default();
                write!(f, "teredo {state}{reason}")
            }
            Self::Reloaded => f.write_str("goes on with the new configuration"),
            Self::Info { text } | Self::Mended { text } => f.write_str(text),
            Self::Warning { text } => write!(f, "warning: {text}"),
            Self::Ended => f.write_str("ended"),
        }
    }
}

fn list(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().map(Ipv4Addr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(all(test, feature = "control"))]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    type Keys = BTreeSet<String>;

    fn in_backticks(text: &str) -> Vec<String> {
        text.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    /// `docs/json.md`, apart from what is no event of a link.
    fn documented() -> BTreeMap<String, Keys> {
        let page = include_str!("../../docs/json.md");
        let section = page.split("\n### ").find(|section| section.starts_with("isatap monitor -j\n")).unwrap();
        let table = section.split_once("| event |").unwrap().1;
        let mut all = BTreeMap::new();
        for row in table.lines().filter(|line| line.starts_with("| `")) {
            let columns: Vec<&str> = row.split(" | ").collect();
            for event in in_backticks(columns[0]) {
                all.insert(event, in_backticks(columns[1]).into_iter().collect());
            }
        }
        all.remove("status").unwrap();
        all.remove("rules").unwrap();
        all.remove("lost").unwrap();
        all
    }

    fn each() -> Vec<LinkEvent> {
        let (router, text) = (Ipv4Addr::new(10, 0, 0, 1), || "text".to_owned());
        let address =
            || Address { address: Ipv6Addr::LOCALHOST, prefix_length: 64, preferred: Some(1800), valid: None };
        let route = || RouteStatus {
            prefix: "::/0".to_owned(),
            via: None,
            origin: "advertised".to_owned(),
            preference: "medium".to_owned(),
            lifetime: None,
        };
        let prefix = || "2002:a00:1::/48".to_owned();
        vec![
            LinkEvent::Started { role: "isatap-host".to_owned() },
            LinkEvent::Up { address: Ipv6Addr::LOCALHOST, mtu: 1280 },
            LinkEvent::Down,
            LinkEvent::AddressAdded(address()),
            LinkEvent::AddressChanged(address()),
            LinkEvent::AddressRemoved(address()),
            LinkEvent::RouteAdded(route()),
            LinkEvent::RouteChanged(route()),
            LinkEvent::RouteRemoved(route()),
            LinkEvent::PrefixAdded { prefix: prefix() },
            LinkEvent::PrefixChanged { prefix: prefix() },
            LinkEvent::PrefixRemoved { prefix: prefix() },
            LinkEvent::RouterFound { router },
            LinkEvent::RouterLost { router },
            LinkEvent::RelayFound { relay: router },
            LinkEvent::RelayLost { relay: router },
            LinkEvent::PrlChanged { routers: vec![router], sources: vec![text()] },
            LinkEvent::LocatorsChanged { locators: vec![router] },
            LinkEvent::MtuChanged { mtu: 1480 },
            LinkEvent::DnsChanged,
            LinkEvent::State { state: text(), reason: None, server: Some(router), mapped: None },
            LinkEvent::Reloaded,
            LinkEvent::Info { text: text() },
            LinkEvent::Warning { text: text() },
            LinkEvent::Mended { text: text() },
            LinkEvent::Ended,
        ]
    }

    #[test]
    fn each_event_is_documented_with_its_keys_and_no_other() {
        let mut printed = BTreeMap::new();
        for event in each() {
            let json = serde_json::to_value(&event).unwrap();
            let mut keys: Keys = json.as_object().unwrap().keys().cloned().collect();
            assert!(keys.remove("event"));
            printed.insert(json["event"].as_str().unwrap().to_owned(), keys);
            // `isatap monitor` reads what the daemon wrote.
            assert_eq!(serde_json::from_value::<LinkEvent>(json).unwrap(), event);
        }
        assert_eq!(printed, documented());
    }
}
