//! ICMPv4 errors about packets that a tunnel sent, and what the sender of
//! the inner packet is told. [RFC 4213 §3.4]

use core::net::{Ipv4Addr, Ipv6Addr};

use super::OVERHEAD;
use super::mtu::TooBig;
use crate::drop_reason::DropReason;
use crate::packet::PacketMut;
use crate::wire::icmpv4::Message;
use crate::wire::icmpv6::{self, ErrorKind, Refusal, Unreachable};
use crate::wire::{ipv4, ipv6, protocol};

/// An ICMPv4 error whose quote is of a protocol-41 packet.
///
/// `TUN-45`: nothing in it is trusted; it finds the tunnel, lowers an
/// estimate within bounds, and is quoted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TunnelError {
    /// The source of the quoted outer packet: ours, if we sent it.
    pub source: Ipv4Addr,
    /// The destination of the quoted outer packet.
    pub destination: Ipv4Addr,
    /// What the error says.
    pub kind: TunnelErrorKind,
    /// The total length of the quoted outer packet, in bytes.
    pub quoted_total_length: u16,
    /// The header length of the quoted outer packet, in bytes.
    pub quoted_header_len: u8,
    /// Where in the message the inner packet starts, and how much of it is
    /// there: at least its header. `None`: less than that.
    inner: Option<(u16, u16)>,
}

/// What an ICMPv4 error says about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TunnelErrorKind {
    /// `TUN-41`: larger than some link's MTU.
    TooBig {
        /// That MTU in bytes; zero from old routers.
        next_hop_mtu: u16,
    },
    /// `TUN-42`: the other end cannot be reached: log, tell the sender.
    Unreachable {
        /// The ICMPv4 code.
        code: u8,
    },
    /// `TUN-42`: the TTL was used up: as unreachable.
    TtlExceeded,
    /// `TUN-43`: nothing follows from it.
    Ignored,
}

impl TunnelError {
    /// Reads an ICMPv4 message, without the IPv4 header that carried it.
    ///
    /// # Errors
    /// [`DropReason::IcmpV4Ignored`]: malformed, a wrong checksum, no error,
    /// or about a packet that no protocol-41 tunnel can have sent.
    pub fn parse(message: &[u8]) -> Result<Self, DropReason> {
        let message = Message::parse(message).map_err(|_| DropReason::IcmpV4Ignored)?;
        let quote = message.quote();
        let kind = match (message.message_type(), message.code()) {
            (Message::DESTINATION_UNREACHABLE, Message::FRAGMENTATION_NEEDED) => {
                TunnelErrorKind::TooBig { next_hop_mtu: message.next_hop_mtu() }
            }
            // TUN-43 [RFC 4213 §3.4]
            (Message::DESTINATION_UNREACHABLE, Message::SOURCE_ROUTE_FAILED) => TunnelErrorKind::Ignored,
            (Message::DESTINATION_UNREACHABLE, code @ 0..=13) => TunnelErrorKind::Unreachable { code },
            (Message::TIME_EXCEEDED, 0) => TunnelErrorKind::TtlExceeded,
            (Message::DESTINATION_UNREACHABLE | Message::TIME_EXCEEDED, _)
            | (Message::SOURCE_QUENCH | Message::PARAMETER_PROBLEM, _) => TunnelErrorKind::Ignored,
            _ => return Err(DropReason::IcmpV4Ignored),
        };
        TunnelError::from_quote(kind, quote, QUOTE_AT)
    }

    /// The same from a quoted outer packet, for callers whose kernel takes
    /// ICMPv4 messages apart. `at`: where [`TunnelError::inner`] will find
    /// the quote in the bytes that it is given.
    ///
    /// # Errors
    /// As [`TunnelError::parse`].
    pub fn from_quote(kind: TunnelErrorKind, quote: &[u8], at: u16) -> Result<Self, DropReason> {
        let outer = ipv4::Header::parse_quoted(quote).map_err(|_| DropReason::IcmpV4Ignored)?;
        // TUN-40 [RFC 792]: at least 8 bytes behind the header.
        if outer.protocol() != protocol::IPV6 || outer.payload().len() < LEAST_QUOTE {
            return Err(DropReason::IcmpV4Ignored);
        }
        let header_len = u8::try_from(outer.header_len()).unwrap_or(u8::MAX);
        let is_first = outer.fragment_offset() == 0;
        if is_first && outer.payload().first().is_none_or(|first| first >> 4 != 6) {
            return Err(DropReason::IcmpV4Ignored);
        }
        // No length field is believed beyond what is there.
        let there = outer.payload().len().min(usize::from(outer.total_length().saturating_sub(u16::from(header_len))));
        let len = u16::try_from(there).unwrap_or(u16::MAX);
        let inner = (is_first && there >= ipv6::HEADER_LEN).then(|| (at.saturating_add(u16::from(header_len)), len));
        Ok(TunnelError {
            source: outer.source(),
            destination: outer.destination(),
            kind,
            quoted_total_length: outer.total_length(),
            quoted_header_len: header_len,
            inner,
        })
    }

    /// The beginning of the inner packet, if at least its header is quoted.
    /// `message` must be what the error was parsed from.
    #[must_use]
    pub fn inner<'m>(&self, message: &'m [u8]) -> Option<&'m [u8]> {
        let (start, len) = self.inner?;
        message.get(usize::from(start)..)?.get(..usize::from(len))
    }

    /// The claim for [`PathMtus::too_big`](super::mtu::PathMtus::too_big), if
    /// this is one.
    #[must_use]
    pub fn too_big(&self) -> Option<TooBig> {
        match self.kind {
            TunnelErrorKind::TooBig { next_hop_mtu } => Some(TooBig {
                destination: self.destination,
                quoted_total_length: self.quoted_total_length,
                quoted_header_len: self.quoted_header_len,
                next_hop_mtu,
            }),
            _ => None,
        }
    }

    /// Turns the message itself, which this error was parsed from, into the
    /// ICMPv6 error for the sender of the inner packet: Packet Too Big with
    /// what `path_mtu` leaves, or address unreachable. Rate limits are the
    /// caller's.
    ///
    /// # Errors
    /// Too little is quoted ([`Refusal::NotIpv6`]), nothing follows from the
    /// error ([`Refusal::NothingFollows`]), the rules of ICMPv6 forbid it, or
    /// there is less than 12 bytes of headroom.
    pub fn answer(&self, message: &mut PacketMut<'_>, source: Ipv6Addr, path_mtu: u16) -> Result<(), Refusal> {
        let kind = match self.kind {
            TunnelErrorKind::TooBig { .. } => {
                ErrorKind::PacketTooBig { mtu: u32::from(path_mtu.saturating_sub(OVERHEAD)) }
            }
            TunnelErrorKind::Unreachable { .. } | TunnelErrorKind::TtlExceeded => {
                ErrorKind::Unreachable(Unreachable::Address)
            }
            TunnelErrorKind::Ignored => return Err(Refusal::NothingFollows),
        };
        let (start, len) = self.inner.ok_or(Refusal::NotIpv6)?;
        message.pull_front(start.into());
        message.truncate(len.into());
        icmpv6::error_in_place(message, source, kind)
    }
}

/// Where an ICMPv4 error quotes.
const QUOTE_AT: u16 = 8;

/// Bytes behind the quoted header that every error has.
const LEAST_QUOTE: usize = 8;
