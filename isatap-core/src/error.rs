//! The three ways in which a call can fail that are not a refused packet.
//!
//! A packet that is well formed but refused is a
//! [`DropReason`](crate::drop_reason::DropReason), not an error.

use core::fmt;

/// Bytes that are not what they should be: which layer, what is wrong, where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct ParseError {
    /// The layer whose rules the bytes break.
    pub layer: Layer,
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where: bytes from the start of what was given to the parser.
    pub offset: usize,
}

impl ParseError {
    /// An error of `layer` at byte `offset`.
    #[must_use]
    pub const fn new(layer: Layer, kind: ParseErrorKind, offset: usize) -> Self {
        ParseError { layer, kind, offset }
    }

    /// The same error as seen by who holds `by` more bytes in front.
    #[must_use]
    pub const fn shifted(self, by: usize) -> Self {
        ParseError { offset: self.offset.saturating_add(by), ..self }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at byte {}: {}", self.layer.as_str(), self.offset, self.kind.as_str())
    }
}

impl core::error::Error for ParseError {}

/// A protocol layer, for [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layer {
    /// The IPv4 header.
    Ipv4,
    /// The IPv6 header or one of its extension headers.
    Ipv6,
    /// An IPv6 extension header.
    Ipv6Extension,
    /// The UDP header.
    Udp,
    /// The TCP header.
    Tcp,
    /// An ICMPv4 message.
    Icmpv4,
    /// An ICMPv6 message.
    Icmpv6,
    /// A Neighbor Discovery message.
    NeighborDiscovery,
    /// A Neighbor Discovery option.
    NeighborDiscoveryOption,
    /// A Teredo UDP payload.
    Teredo,
    /// A DHCPv4 option.
    Dhcpv4,
    /// Text.
    Text,
}

impl Layer {
    /// The layer's name, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Layer::Ipv4 => "IPv4 header",
            Layer::Ipv6 => "IPv6 header",
            Layer::Ipv6Extension => "IPv6 extension header",
            Layer::Udp => "UDP header",
            Layer::Tcp => "TCP header",
            Layer::Icmpv4 => "ICMPv4 message",
            Layer::Icmpv6 => "ICMPv6 message",
            Layer::NeighborDiscovery => "Neighbor Discovery message",
            Layer::NeighborDiscoveryOption => "Neighbor Discovery option",
            Layer::Teredo => "Teredo payload",
            Layer::Dhcpv4 => "DHCPv4 option",
            Layer::Text => "text",
        }
    }
}

/// What is wrong with some bytes, for [`ParseError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ParseErrorKind {
    /// The bytes end before the fixed part or a stated length does.
    Truncated,
    /// The version nibble is another.
    Version,
    /// A length field is impossible.
    Length,
    /// The checksum does not hold.
    Checksum,
    /// The message is of another type than asked for.
    Type,
    /// The code field must be zero.
    Code,
    /// A field has a value that it must not have.
    Value,
}

impl ParseErrorKind {
    /// What is wrong, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ParseErrorKind::Truncated => "the bytes end too early",
            ParseErrorKind::Version => "wrong version",
            ParseErrorKind::Length => "impossible length",
            ParseErrorKind::Checksum => "wrong checksum",
            ParseErrorKind::Type => "another message type",
            ParseErrorKind::Code => "code is not zero",
            ParseErrorKind::Value => "value not allowed",
        }
    }
}

/// The caller's buffer is too short; nothing was lost, call again with more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct EmitError {
    /// Bytes that are needed.
    pub needed: usize,
    /// Bytes that there were.
    pub available: usize,
}

impl EmitError {
    /// A buffer of `available` bytes where `needed` are needed.
    #[must_use]
    pub const fn new(needed: usize, available: usize) -> Self {
        EmitError { needed, available }
    }
}

impl fmt::Display for EmitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "buffer of {} bytes, {} needed", self.available, self.needed)
    }
}

impl core::error::Error for EmitError {}

/// A table of fixed capacity has no free row.
///
/// Its capacity is chosen by the [`Capacity`](crate::capacity::Capacity) of
/// the machine that holds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TableFull {
    /// Which table.
    pub table: Table,
}

impl TableFull {
    /// `table` is full.
    #[must_use]
    pub const fn new(table: Table) -> Self {
        TableFull { table }
    }
}

impl fmt::Display for TableFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the table of {} is full", self.table.as_str())
    }
}

impl core::error::Error for TableFull {}

/// The tables that can be full, for [`TableFull`] and its event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Table {
    /// IPv4 addresses that a link owns.
    Locators,
    /// The potential router list.
    PotentialRouters,
    /// Prefixes learned or published.
    Prefixes,
    /// Routes.
    Routes,
    /// Neighbours under unreachability detection.
    Neighbors,
    /// Path MTU estimates.
    PathMtus,
    /// Hosts that wait for a Router Advertisement.
    Solicitations,
    /// DNS servers learned.
    DnsServers,
    /// DNS search domains learned.
    SearchDomains,
    /// IPv4 prefixes of the site's members (SEC-2).
    Members,
    /// Other tunnel routers (SEC-4).
    KnownRouters,
    /// Known IPv6 prefixes of tunnels (SEC-3).
    KnownPrefixes,
    /// Addresses of an interface.
    Addresses,
    /// Links of a node.
    Links,
    /// Teredo peers.
    Peers,
    /// Rows of a policy for address selection.
    Policy,
}

impl Table {
    /// What the table holds, for people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Table::Locators => "locators",
            Table::PotentialRouters => "potential routers",
            Table::Prefixes => "prefixes",
            Table::Routes => "routes",
            Table::Neighbors => "neighbours",
            Table::PathMtus => "path MTUs",
            Table::Solicitations => "soliciting hosts",
            Table::DnsServers => "DNS servers",
            Table::SearchDomains => "DNS search domains",
            Table::Members => "site members",
            Table::KnownRouters => "known routers",
            Table::KnownPrefixes => "known prefixes",
            Table::Addresses => "addresses",
            Table::Links => "links",
            Table::Peers => "Teredo peers",
            Table::Policy => "selection policies",
        }
    }
}
