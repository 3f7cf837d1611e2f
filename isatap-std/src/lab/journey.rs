//! What happened to each packet at each node.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::isatap::addr::Dotted;
use isatap_core::time::Instant;

use super::ip::{self, Ipv4, Ipv6};

/// One thing that happened at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// When, by the world's clock.
    pub time: Instant,
    /// The node's name; `cloud` for what the IPv4 network itself does.
    pub node: String,
    /// What it did.
    pub action: Action,
    /// Why, or what; always there for [`Action::Drop`] and
    /// [`Action::Event`]. Reasons of the core are its kebab-case names.
    pub reason: Option<String>,
    /// The outer header, where there is one.
    pub outer: Option<OuterHeader>,
    /// The inner header, where there is one.
    pub inner: Option<InnerHeader>,
}

/// What a node did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sent it into the cloud inside an IPv4 packet.
    Encapsulate,
    /// Took it out of an IPv4 packet.
    Decapsulate,
    /// Sent it out of a native link as it is.
    Forward,
    /// Gave it to the programs on the node.
    Deliver,
    /// Dropped it.
    Drop,
    /// No packet: an address, a route, a name, a change of the scenario.
    Event,
}

impl Action {
    /// The action in lower case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Encapsulate => "encapsulate",
            Action::Decapsulate => "decapsulate",
            Action::Forward => "forward",
            Action::Deliver => "deliver",
            Action::Drop => "drop",
            Action::Event => "event",
        }
    }
}

/// What the journey keeps of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live, in routers.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// The identification.
    pub identification: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Length of the packet in bytes, header included.
    pub length: usize,
}

/// What the journey keeps of an IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerHeader {
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// Routers that it may still pass.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What the payload is.
    pub next_header: u8,
    /// Length of the packet in bytes, header included.
    pub length: usize,
    /// What it is, in a few words: `RS`, `echo request 1.2`.
    pub packet: String,
}

impl Hop {
    /// Something happened that is no packet.
    pub(super) fn event(time: Instant, node: &str, text: String) -> Self {
        Hop { time, node: node.into(), action: Action::Event, reason: Some(text), outer: None, inner: None }
    }

    /// Something happened to `packet`, IPv4 or IPv6.
    pub(super) fn packet(time: Instant, node: &str, action: Action, reason: Option<String>, packet: &[u8]) -> Self {
        let outer = Ipv4::parse(packet);
        // A part of a packet has no inner header of its own, or only half.
        let inner = match &outer {
            Some(outer) if outer.protocol == ip::PROTOCOL_IPV6 && !outer.is_fragment() => Ipv6::parse(outer.payload),
            Some(_) => None,
            None => Ipv6::parse(packet),
        };
        Hop {
            time,
            node: node.into(),
            action,
            reason,
            outer: outer.as_ref().map(OuterHeader::of),
            inner: inner.as_ref().map(InnerHeader::of),
        }
    }

    /// The time as `1.500s`.
    #[must_use]
    pub fn seconds(&self) -> String {
        seconds(self.time)
    }
}

/// `instant` in seconds with three decimals: `1.500s`.
#[must_use]
pub fn seconds(instant: Instant) -> String {
    format!("{}.{:03}s", instant.micros() / 1_000_000, instant.micros() / 1_000 % 1_000)
}

impl OuterHeader {
    fn of(packet: &Ipv4<'_>) -> Self {
        OuterHeader {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ttl: packet.ttl,
            tos: packet.tos,
            identification: packet.identification,
            dont_fragment: packet.dont_fragment,
            length: packet.len(),
        }
    }
}

impl InnerHeader {
    fn of(packet: &Ipv6<'_>) -> Self {
        InnerHeader {
            source: packet.source,
            destination: packet.destination,
            hop_limit: packet.hop_limit,
            traffic_class: packet.traffic_class,
            next_header: packet.next_header,
            length: 40 + packet.payload.len(),
            packet: ip::describe(packet),
        }
    }
}

impl fmt::Display for OuterHeader {
    /// `192.168.47.99 -> 10.0.0.1`, then what is not as usual.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}   ttl {}", self.source, self.destination, self.ttl)?;
        if self.tos != 0 {
            write!(f, ", tos {:#04x}", self.tos)?;
        }
        if self.dont_fragment {
            f.write_str(", DF")?;
        }
        match self.protocol {
            ip::PROTOCOL_IPV6 => {}
            ip::PROTOCOL_ICMP => f.write_str(", ICMP")?,
            other => write!(f, ", protocol {other}")?,
        }
        Ok(())
    }
}

impl fmt::Display for InnerHeader {
    /// `fe80::5efe:10.0.0.2 -> fe80::5efe:10.0.0.1`, ISATAP addresses dotted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}   hop limit {}", Dotted(self.source), Dotted(self.destination), self.hop_limit)
    }
}

impl fmt::Display for Hop {
    /// One line for what happened and one for each header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = self.inner.as_ref().map_or("", |inner| inner.packet.as_str());
        write!(f, "{:>9}  {:<8} {:<11}  {what}", self.seconds(), self.node, self.action.as_str())?;
        match (&self.reason, what.is_empty()) {
            (Some(reason), true) => write!(f, "{reason}")?,
            (Some(reason), false) => write!(f, "  ({reason})")?,
            (None, _) => {}
        }
        if let Some(outer) = &self.outer {
            write!(f, "\n{:>20}IPv4  {outer}", "")?;
        }
        if let Some(inner) = &self.inner {
            write!(f, "\n{:>20}IPv6  {inner}", "")?;
        }
        Ok(())
    }
}
