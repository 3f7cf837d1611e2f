//! What a Teredo UDP payload looks like. [RFC 4380 §5.1.1, RFC 6081 §4]
//!
//! `[authentication] [origin indication] IPv6 packet [trailers]`, in this
//! order and no other. [`Datagram::parse`] takes it apart without copying:
//! the IPv6 packet is a sub-range of the payload, and the headers in front
//! are pushed into headroom when one is made.
//!
//! Nothing here is trusted: an origin indication and a trailer say what their
//! sender says. Who may say it is the business of [`ingress`](super::ingress).

mod trailer;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::ops::Range;

pub(crate) use self::trailer::cut as cut_trailer;
pub use self::trailer::{
    AlternateAddresses, KnownTrailers, SignOfLife, Trailer, Trailers, emit_alternates, trailer_type,
};
use crate::error::{EmitError, Layer, ParseError, ParseErrorKind};
use crate::packet::PacketMut;
use crate::wire::field::{Writer, ipv4_at, u16_at};
use crate::wire::{ipv6, protocol};

/// The group of local discovery. [RFC 4380 §2.17]
pub const DISCOVERY_GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 253);

/// The MTU of every Teredo interface, in bytes. [RFC 4380 §5.1.2]
pub const MTU: u16 = ipv6::MINIMUM_MTU;

/// The all-routers group, to which solicitations go.
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// The all-nodes group, to which discovery bubbles go.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Bytes of an origin indication.
pub const ORIGIN_LEN: usize = 8;

/// Bytes of an authentication header without identifier and value.
pub const AUTHENTICATION_LEN: usize = 13;

/// A UDP payload, taken apart: where its pieces lie, at most 65,535 + 40 bytes
/// of packet behind at most 531 of headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    payload: &'a [u8],
    /// Bytes of authentication header.
    authentication: usize,
    /// Where the IPv6 packet starts: at once, or behind an origin indication.
    start: usize,
    end: usize,
}

impl<'a> Datagram<'a> {
    /// Takes a UDP payload apart.
    ///
    /// # Errors
    /// The payload has another structure, or what should be the IPv6 packet
    /// is none or is longer than what is there. Surplus bytes are trailers.
    #[inline]
    pub fn parse(payload: &'a [u8]) -> Result<Self, ParseError> {
        Datagram::parse_with_header(payload).map(|(datagram, _)| datagram)
    }

    /// The same with the header of the IPv6 packet.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    #[inline]
    pub(super) fn parse_with_header(payload: &'a [u8]) -> Result<(Self, ipv6::Header<'a>), ParseError> {
        // TER-10 [RFC 4380 §5.1.1]: told apart by the first byte, and what
        // stands in front stands in this order.
        let (authentication, start) = match payload {
            [0, ..] => Self::headers(payload)?,
            _ => (0, 0),
        };
        // TER-13 [RFC 4380 §5.2.3, RFC 6081 §4]: not longer than what carried
        // it; more is accepted, whatever it is.
        let rest = payload.get(start..).unwrap_or(&[]);
        let header = ipv6::Header::parse(rest).map_err(|error| error.shifted(start))?;
        let end = start.saturating_add(header.packet_len());
        Ok((Datagram { payload, authentication, start, end }, header))
    }

    /// How long the authentication header is, and all that stands in front.
    fn headers(payload: &[u8]) -> Result<(usize, usize), ParseError> {
        let mut start = 0;
        if let [0, 1, ..] = payload {
            (_, start) = Authentication::parse(payload)?;
        }
        let (authentication, mut rest) = (start, payload.get(start..).unwrap_or(&[]));
        if let [0, 0, ..] = rest {
            (_, rest) =
                rest.split_first_chunk::<ORIGIN_LEN>().ok_or(error(ParseErrorKind::Truncated, payload.len()))?;
            start = start.saturating_add(ORIGIN_LEN);
        }
        if let [0, ..] = rest {
            return Err(error(ParseErrorKind::Type, start));
        }
        Ok((authentication, start))
    }

    /// The authentication header, if there is one.
    #[must_use]
    pub fn authentication(&self) -> Option<Authentication<'a>> {
        if self.authentication == 0 {
            return None;
        }
        Authentication::parse(self.payload).ok().map(|(header, _)| header)
    }

    /// The origin indication: from where the sender has the packet.
    #[inline]
    #[must_use]
    pub fn origin(&self) -> Option<SocketAddrV4> {
        let before = self.payload.get(self.authentication..self.start)?;
        before.first_chunk().map(origin_from)
    }

    /// The IPv6 packet, exactly as long as its header says.
    #[inline]
    #[must_use]
    pub fn ipv6(&self) -> &'a [u8] {
        self.payload.get(self.inner_range()).unwrap_or(&[])
    }

    /// Where in the payload the IPv6 packet lies.
    #[inline]
    #[must_use]
    pub fn inner_range(&self) -> Range<usize> {
        self.start..self.end
    }

    /// The bytes behind the IPv6 packet.
    #[inline]
    #[must_use]
    pub fn trailer_bytes(&self) -> &'a [u8] {
        self.payload.get(self.end..).unwrap_or(&[])
    }

    /// The trailers, one after the other.
    #[must_use]
    pub fn trailers(&self) -> Trailers<'a> {
        Trailers::new(self.trailer_bytes())
    }
}

/// An authentication header. [RFC 4380 §5.1.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authentication<'a> {
    /// Whose secret it is; empty without secure qualification.
    pub client_id: &'a [u8],
    /// The message authentication code; empty without secure qualification.
    pub value: &'a [u8],
    /// Chosen by the client, repeated by the server.
    pub nonce: [u8; 8],
    /// 0: the key is valid; else the client needs another one.
    pub confirmation: u8,
}

impl<'a> Authentication<'a> {
    /// Reads the header at the start of `bytes`, and says how long it is.
    ///
    /// # Errors
    /// `bytes` end before it does, or begin with something else.
    pub fn parse(bytes: &'a [u8]) -> Result<(Self, usize), ParseError> {
        // TER-12 [RFC 4380 §5.1.1]
        let truncated = error(ParseErrorKind::Truncated, bytes.len());
        let (fixed, rest) = bytes.split_first_chunk::<4>().ok_or(truncated)?;
        let [0, 1, id_len, value_len] = *fixed else { return Err(error(ParseErrorKind::Type, 0)) };
        let (client_id, rest) = rest.split_at_checked(usize::from(id_len)).ok_or(truncated)?;
        let (value, rest) = rest.split_at_checked(usize::from(value_len)).ok_or(truncated)?;
        let tail: &[u8; 9] = rest.first_chunk().ok_or(truncated)?;
        let [nonce @ .., confirmation] = *tail;
        let header = Authentication { client_id, value, nonce, confirmation };
        Ok((header, header.encoded_len()))
    }

    /// Bytes of the header.
    #[must_use]
    pub fn encoded_len(&self) -> usize {
        AUTHENTICATION_LEN.saturating_add(self.client_id.len()).saturating_add(self.value.len())
    }

    /// Writes the header. Identifier and value are cut to 255 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        let id = at_most_255(self.client_id);
        let value = at_most_255(self.value);
        writer.array([0, 1, id.1, value.1]);
        writer.bytes(id.0);
        writer.bytes(value.0);
        writer.array(self.nonce);
        writer.u8(self.confirmation);
    }
}

fn at_most_255(bytes: &[u8]) -> (&[u8], u8) {
    match u8::try_from(bytes.len()) {
        Ok(len) => (bytes, len),
        Err(_) => (bytes.get(..255).unwrap_or(&[]), 255),
    }
}

/// An origin indication on the wire: port and address with every bit turned,
/// so that no NAT rewrites them. `TER-11 [RFC 4380 §5.1.1]`
#[inline]
#[must_use]
pub fn origin_bytes(origin: SocketAddrV4) -> [u8; ORIGIN_LEN] {
    let [a, b] = (!origin.port()).to_be_bytes();
    let [c, d, e, f] = (!origin.ip().to_bits()).to_be_bytes();
    [0, 0, a, b, c, d, e, f]
}

/// The origin that such an indication names.
#[inline]
pub(crate) fn origin_from(fixed: &[u8; ORIGIN_LEN]) -> SocketAddrV4 {
    let address = Ipv4Addr::from_bits(!ipv4_at::<4, ORIGIN_LEN>(fixed).to_bits());
    SocketAddrV4::new(address, !u16_at::<2, ORIGIN_LEN>(fixed))
}

/// Pushes an origin indication in front of an IPv6 packet.
///
/// # Errors
/// Less than 8 bytes of headroom; the packet is unchanged.
#[inline]
pub fn push_origin(packet: &mut PacketMut<'_>, origin: SocketAddrV4) -> Result<(), EmitError> {
    *packet.push_front::<ORIGIN_LEN>()? = origin_bytes(origin);
    Ok(())
}

/// Whether an IPv6 header is that of a bubble: nothing follows it.
///
/// `TER-15 [RFC 4380 §2.8]`: whatever its hop limit.
#[inline]
#[must_use]
pub fn is_bubble(header: &ipv6::Header<'_>) -> bool {
    header.next_header() == protocol::NO_NEXT_HEADER && header.payload_length() == 0
}

/// A bubble to be sent: an IPv6 header alone. [RFC 4380 §2.8]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bubble {
    /// The IPv6 source.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// 1 for local discovery, else [`BUBBLE_HOP_LIMIT`].
    pub hop_limit: u8,
}

/// The hop limit of bubbles that are not for local discovery.
pub const BUBBLE_HOP_LIMIT: u8 = 255;

impl Bubble {
    /// A bubble from one node to another.
    #[must_use]
    pub const fn new(source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        Bubble { source, destination, hop_limit: BUBBLE_HOP_LIMIT }
    }

    /// A bubble of local discovery. `TER-15`: its hop limit is 1.
    #[must_use]
    pub const fn discovery(source: Ipv6Addr) -> Self {
        Bubble { source, destination: ALL_NODES, hop_limit: 1 }
    }

    /// Writes the 40 bytes; trailers follow.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        let fields = ipv6::Fields {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 0,
            next_header: protocol::NO_NEXT_HEADER,
            hop_limit: self.hop_limit,
            source: self.source,
            destination: self.destination,
        };
        writer.bytes(&fields.to_bytes());
    }
}

const fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Teredo, kind, offset)
}

#[cfg(test)]
mod tests;
