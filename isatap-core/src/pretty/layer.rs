//! The layers of a packet, as they were found.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::warning::Warnings;
use crate::error::{self, ParseError};
use crate::nd::message::{NeighborFlags, RouterFlags};
use crate::nd::option::Options;
use crate::route::Preference;
use crate::teredo::packet;
pub use crate::teredo::packet::Authentication;
use crate::time::Duration;
use crate::wire::field::{u8_at, u16_at, u32_at};
use crate::wire::{ipv4, ipv6, protocol};

/// One layer of a packet.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Layer<'a> {
    /// What it is.
    pub content: Content<'a>,
    /// Where it starts: bytes from the start of the packet.
    pub offset: usize,
    /// Whether it is part of a packet that an ICMP error quotes.
    pub is_quoted: bool,
    /// Tunnels and quotes around it.
    pub depth: u8,
    /// What is wrong with it.
    pub warnings: Warnings,
}

/// What a layer says.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Content<'a> {
    /// An IPv4 header.
    Ipv4(ipv4::Header<'a>),
    /// An IPv6 header.
    Ipv6(ipv6::Header<'a>),
    /// An IPv6 extension header other than a fragment header.
    Extension(Extension<'a>),
    /// An IPv6 fragment header.
    Fragment(Fragment),
    /// A UDP header.
    Udp(Udp),
    /// A TCP header.
    Tcp(Tcp),
    /// An ICMPv4 message.
    Icmpv4(Icmp<'a>),
    /// An ICMPv6 message that is none of Neighbor Discovery's.
    Icmpv6(Icmp<'a>),
    /// A Neighbor Discovery message.
    NeighborDiscovery(NeighborDiscovery<'a>),
    /// The authentication in front of a Teredo packet.
    TeredoAuthentication(Authentication<'a>),
    /// The origin indication in front of a Teredo packet.
    TeredoOrigin(Origin),
    /// A trailer behind a Teredo packet.
    TeredoTrailer(Trailer<'a>),
    /// Bytes that are not looked into.
    Data(Data<'a>),
    /// The beginning of a layer: the rest was not captured or quoted, or is in
    /// another fragment.
    Cut(Cut<'a>),
    /// Bytes that are not what they should be.
    Malformed(Malformed<'a>),
}

impl Content<'_> {
    /// The layer's name, for machines; stable.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Ipv4(_) => "ipv4",
            Content::Ipv6(_) => "ipv6",
            Content::Extension(extension) => extension.kind(),
            Content::Fragment(_) => "fragment",
            Content::Udp(_) => "udp",
            Content::Tcp(_) => "tcp",
            Content::Icmpv4(message) => match message.message_type {
                0 => "echo-reply",
                3 => "destination-unreachable",
                5 => "redirect",
                8 => "echo-request",
                11 => "time-exceeded",
                12 => "parameter-problem",
                _ => "icmpv4",
            },
            Content::Icmpv6(message) => match message.message_type {
                1 => "destination-unreachable",
                2 => "packet-too-big",
                3 => "time-exceeded",
                4 => "parameter-problem",
                128 => "echo-request",
                129 => "echo-reply",
                _ => "icmpv6",
            },
            Content::NeighborDiscovery(message) => message.body.kind(),
            Content::TeredoAuthentication(_) => "teredo-authentication",
            Content::TeredoOrigin(_) => "teredo-origin",
            Content::TeredoTrailer(_) => "teredo-trailer",
            Content::Data(_) => "data",
            Content::Cut(_) => "cut",
            Content::Malformed(_) => "malformed",
        }
    }
}

/// An IPv6 extension header. [RFC 8200 §4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Extension<'a> {
    /// Its own [`protocol`] number.
    pub protocol: u8,
    /// The number of what follows.
    pub next_header: u8,
    /// All its bytes, at least 8.
    pub bytes: &'a [u8],
}

impl Extension<'_> {
    /// The header's name in kebab-case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self.protocol {
            protocol::HOP_BY_HOP => "hop-by-hop",
            protocol::ROUTING => "routing",
            protocol::DESTINATION_OPTIONS => "destination-options",
            protocol::AUTHENTICATION => "authentication",
            protocol::MOBILITY => "mobility",
            protocol::HOST_IDENTITY => "host-identity",
            _ => "shim6",
        }
    }

    /// The length that a jumbo payload option states. [RFC 2675 §2]
    #[must_use]
    pub fn jumbo_payload(&self) -> Option<u32> {
        if self.protocol == protocol::HOP_BY_HOP { jumbo_payload(self.bytes) } else { None }
    }

    /// Type and segments left of a routing header.
    #[must_use]
    pub fn routing(&self) -> Option<(u8, u8)> {
        match self.bytes {
            [_, _, routing_type, segments_left, ..] if self.protocol == protocol::ROUTING => {
                Some((*routing_type, *segments_left))
            }
            _ => None,
        }
    }
}

/// An IPv6 fragment header. [RFC 8200 §4.5]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fragment {
    /// The number of what follows in the first fragment.
    pub next_header: u8,
    /// Where the data belongs, in bytes.
    pub offset: u16,
    /// Whether fragments follow.
    pub more: bool,
    /// What the fragments of one packet have in common.
    pub identification: u32,
}

/// A UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Udp {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
    /// Bytes of header and payload as stated.
    pub length: u16,
    /// The checksum field; 0: none.
    pub checksum: u16,
}

/// A TCP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tcp {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
    /// The sequence number.
    pub sequence: u32,
    /// The number of the next byte that is awaited.
    pub acknowledgment: u32,
    /// FIN 1, SYN 2, RST 4, PSH 8, ACK 16, URG 32, ECE 64, CWR 128.
    pub flags: u8,
    /// The window as sent, not scaled.
    pub window: u16,
}

/// The frame of an ICMP message of either version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Icmp<'a> {
    /// The type.
    pub message_type: u8,
    /// The code.
    pub code: u8,
    /// The four bytes behind the checksum.
    pub header_data: [u8; 4],
    /// What follows.
    pub body: &'a [u8],
}

impl Icmp<'_> {
    /// Identifier and sequence number of an echo.
    #[must_use]
    pub const fn echo(&self) -> (u16, u16) {
        let [a, b, c, d] = self.header_data;
        (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]))
    }

    /// The four bytes as a number: the MTU of a Packet Too Big, the pointer
    /// of a Parameter Problem.
    #[must_use]
    pub const fn word(&self) -> u32 {
        u32::from_be_bytes(self.header_data)
    }
}

/// A Neighbor Discovery message, even one that a node would discard.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct NeighborDiscovery<'a> {
    /// What it says in front of its options.
    pub body: NdBody,
    pub(super) options: &'a [u8],
    pub(super) options_offset: usize,
    pub(super) is_cut: bool,
}

impl<'a> NeighborDiscovery<'a> {
    /// Whether only the beginning of the message is here: an option without an
    /// end is cut then, and no mistake.
    #[must_use]
    pub const fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The options, up to the first that has no end.
    #[must_use]
    pub const fn options(&self) -> Options<'a> {
        Options::new(self.options, self.options_offset)
    }
}

/// The fixed part of a Neighbor Discovery message. [RFC 4861 §4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdBody {
    /// Type 133.
    RouterSolicitation,
    /// Type 134.
    RouterAdvertisement {
        /// What hosts should send with; 0: nothing said.
        cur_hop_limit: u8,
        /// The flags without the preference.
        flags: RouterFlags,
        /// The preference; the reserved value reads as medium.
        preference: Preference,
        /// How long the sender is a default router.
        router_lifetime: Duration,
        /// In ms; 0: nothing said.
        reachable_time: u32,
        /// In ms; 0: nothing said.
        retrans_timer: u32,
    },
    /// Type 135.
    NeighborSolicitation {
        /// Who is asked for.
        target: Ipv6Addr,
    },
    /// Type 136.
    NeighborAdvertisement {
        /// Router, solicited, override.
        flags: NeighborFlags,
        /// Who is there.
        target: Ipv6Addr,
    },
    /// Type 137.
    Redirect {
        /// The better first hop.
        target: Ipv6Addr,
        /// The destination that it is better for.
        destination: Ipv6Addr,
    },
}

impl NdBody {
    /// The message's name in kebab-case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            NdBody::RouterSolicitation => "router-solicitation",
            NdBody::RouterAdvertisement { .. } => "router-advertisement",
            NdBody::NeighborSolicitation { .. } => "neighbor-solicitation",
            NdBody::NeighborAdvertisement { .. } => "neighbor-advertisement",
            NdBody::Redirect { .. } => "redirect",
        }
    }
}

/// Where a Teredo server got a packet from. [RFC 4380 §5.1.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Origin {
    /// The UDP port, no longer inverted.
    pub port: u16,
    /// The IPv4 address, no longer inverted.
    pub address: Ipv4Addr,
}

/// A trailer behind a Teredo packet. [RFC 6081 §4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trailer<'a> {
    /// The type: 1 nonce, 3 alternate addresses, 4 neighbour discovery
    /// option, 5 (or 2) random port.
    pub trailer_type: u8,
    /// The value.
    pub value: &'a [u8],
}

impl<'a> Trailer<'a> {
    /// The trailer's name in kebab-case.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match (self.trailer_type, self.value.len()) {
            (1, 4) => "nonce",
            (3, _) => "alternate-address",
            (4, 4) => "neighbor-discovery-option",
            (5 | 2, 2) => "random-port",
            _ => "unknown",
        }
    }

    /// The addresses and ports of an alternate address trailer; of any other
    /// none.
    pub fn alternates(&self) -> impl Iterator<Item = (Ipv4Addr, u16)> + use<'a> {
        let entries = self.read_alternates().into_iter().flat_map(|list| list.entries());
        entries.map(|entry| (*entry.ip(), entry.port()))
    }

    pub(super) fn read_alternates(&self) -> Option<packet::AlternateAddresses<'a>> {
        match packet::Trailer::read(self.trailer_type, self.value) {
            packet::Trailer::AlternateAddress(list) => Some(list),
            _ => None,
        }
    }

    /// The port of a random port trailer.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match packet::Trailer::read(self.trailer_type, self.value) {
            packet::Trailer::RandomPort(port) => Some(port),
            _ => None,
        }
    }
}

/// Bytes that are not looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Data<'a> {
    /// Their [`protocol`] number, where a header states one.
    pub protocol: Option<u8>,
    /// The bytes, at least one.
    pub bytes: &'a [u8],
}

/// The beginning of a layer whose rest is not here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut<'a> {
    /// What it is the beginning of, for people: `IPv6 header`.
    pub layer: &'static str,
    /// The bytes.
    pub bytes: &'a [u8],
}

impl<'a> Cut<'a> {
    /// What an IPv6 header says in the bytes that are there; `None`: they are
    /// the beginning of something else, or end in front of the addresses.
    #[must_use]
    pub fn ipv6(&self) -> Option<Ipv6Beginning<'a>> {
        let (fixed, addresses) = self.bytes.split_first_chunk::<8>()?;
        let word = u32_at::<0, 8>(fixed);
        let is_ipv6 = self.layer == error::Layer::Ipv6.as_str() && word >> 28 == 6;
        let [traffic_class, ..] = (word << 4).to_be_bytes();
        let (source, rest) = match addresses.split_first_chunk::<16>() {
            Some((source, rest)) => (Some(Ipv6Addr::from(*source)), rest),
            None => (None, addresses),
        };
        is_ipv6.then_some(Ipv6Beginning {
            traffic_class,
            flow_label: word & 0x000f_ffff,
            payload_length: u16_at::<4, 8>(fixed),
            next_header: u8_at::<6, 8>(fixed),
            hop_limit: u8_at::<7, 8>(fixed),
            source,
            rest,
        })
    }
}

/// The beginning of an IPv6 header, whose addresses are not all there.
/// [RFC 8200 §3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ipv6Beginning<'a> {
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// The flow label.
    pub flow_label: u32,
    /// Bytes behind the whole header.
    pub payload_length: u16,
    /// The number of what follows.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// The source, if it is all there.
    pub source: Option<Ipv6Addr>,
    /// The beginning of the address that is cut.
    pub rest: &'a [u8],
}

/// Bytes that are not what they should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed<'a> {
    /// What they should be, and where they fail.
    pub error: ParseError,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The length in the jumbo payload option of a hop-by-hop header. [RFC 2675 §2]
pub(super) fn jumbo_payload(header: &[u8]) -> Option<u32> {
    let mut rest = header.get(2..)?;
    // An option takes a byte or more.
    for _ in 0..header.len() {
        rest = match rest {
            [0, behind @ ..] => behind,
            [0xc2, 4, a, b, c, d, ..] => return Some(u32::from_be_bytes([*a, *b, *c, *d])),
            [_, len, behind @ ..] => behind.get(usize::from(*len)..)?,
            _ => return None,
        };
    }
    None
}
