//! What a Teredo UDP payload looks like. [RFC 4380 §5.1.1, RFC 6081 §4]
//!
//! `[authentication] [origin indication] IPv6 packet [trailers]`, in this
//! order and no other. [`Datagram::parse`] takes it apart without copying:
//! the IPv6 packet is a sub-range of the payload, and the headers in front
//! are pushed into headroom when one is made.
//!
//! Nothing here is trusted: an origin indication and a trailer say what their
//! sender says. Who may say it is the business of [`ingress`](super::ingress).

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::ops::Range;

use crate::drop_reason::DropReason;
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

/// A UDP payload, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Datagram<'a> {
    payload: &'a [u8],
    authentication: Option<Authentication<'a>>,
    origin: Option<SocketAddrV4>,
    inner: InnerRange,
}

/// Where the IPv6 packet lies; at most 65,535 + 40 bytes behind at most 531.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct InnerRange {
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
        // TER-10 [RFC 4380 §5.1.1]: told apart by the first byte, and what
        // stands in front stands in this order.
        let mut start = 0;
        let mut rest = payload;
        let mut authentication = None;
        if let [0, 1, ..] = rest {
            let (header, len) = Authentication::parse(rest)?;
            authentication = Some(header);
            start = len;
            rest = payload.get(start..).unwrap_or(&[]);
        }
        let mut origin = None;
        if let [0, 0, ..] = rest {
            let fixed = rest.first_chunk().ok_or(error(ParseErrorKind::Truncated, payload.len()))?;
            origin = Some(origin_from(fixed));
            start = start.saturating_add(ORIGIN_LEN);
            rest = payload.get(start..).unwrap_or(&[]);
        }
        if let [0, ..] = rest {
            return Err(error(ParseErrorKind::Type, start));
        }
        // TER-13 [RFC 4380 §5.2.3, RFC 6081 §4]: not longer than what carried
        // it; more is accepted, whatever it is.
        let header = ipv6::Header::parse(rest).map_err(|error| error.shifted(start))?;
        let inner = InnerRange { start, end: start.saturating_add(header.packet_len()) };
        Ok(Datagram { payload, authentication, origin, inner })
    }

    /// The authentication header, if there is one.
    #[must_use]
    pub fn authentication(&self) -> Option<Authentication<'a>> {
        self.authentication
    }

    /// The origin indication: from where the sender has the packet.
    #[must_use]
    pub fn origin(&self) -> Option<SocketAddrV4> {
        self.origin
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
        self.inner.start..self.inner.end
    }

    /// The bytes behind the IPv6 packet.
    #[inline]
    #[must_use]
    pub fn trailer_bytes(&self) -> &'a [u8] {
        self.payload.get(self.inner.end..).unwrap_or(&[])
    }

    /// The trailers, one after the other.
    #[must_use]
    pub fn trailers(&self) -> Trailers<'a> {
        Trailers { rest: self.trailer_bytes() }
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
        writer.bytes(&[0, 1, id.1, value.1]);
        writer.bytes(id.0);
        writer.bytes(value.0);
        writer.bytes(&self.nonce);
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

#[inline]
fn origin_from(fixed: &[u8; ORIGIN_LEN]) -> SocketAddrV4 {
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

/// Trailer types. [RFC 6081 §4, §9]
pub mod trailer_type {
    /// A nonce.
    pub const NONCE: u8 = 0x01;
    /// The number of the random port in RFC 6081 §9, which §4.5 contradicts.
    pub const RANDOM_PORT_IANA: u8 = 0x02;
    /// Further addresses of the sender.
    pub const ALTERNATE_ADDRESS: u8 = 0x03;
    /// A Neighbor Discovery option: asks for, or is, a sign of life.
    pub const NEIGHBOR_DISCOVERY_OPTION: u8 = 0x04;
    /// The random port of a peer behind a symmetric NAT.
    pub const RANDOM_PORT: u8 = 0x05;
}

/// One trailer. [RFC 6081 §4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trailer<'a> {
    /// Four bytes that the answer repeats.
    Nonce([u8; 4]),
    /// Where else the sender may be reached.
    AlternateAddress(AlternateAddresses<'a>),
    /// Asks for a sign of life, or is one.
    NeighborDiscovery(SignOfLife),
    /// The port from which, and at which, the sender also speaks to this
    /// peer.
    RandomPort(u16),
    /// A trailer of unknown type or unusual length, to be skipped.
    Skipped {
        /// Its type.
        trailer_type: u8,
        /// Its value.
        value: &'a [u8],
    },
    /// A trailer of unknown type that asks to drop the packet.
    Discard {
        /// Its type: 0x40 to 0x7f.
        trailer_type: u8,
    },
}

/// What a Neighbor Discovery trailer says. [RFC 6081 §4.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignOfLife {
    /// Are you there?
    Solicitation,
    /// I am.
    Advertisement,
}

impl Trailer<'_> {
    /// Writes the trailer. A value is cut to 255 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        match *self {
            Trailer::Nonce(nonce) => {
                writer.bytes(&[trailer_type::NONCE, 4]);
                writer.bytes(&nonce);
            }
            Trailer::AlternateAddress(alternates) => {
                let value = at_most_255(alternates.value);
                writer.bytes(&[trailer_type::ALTERNATE_ADDRESS, value.1]);
                writer.bytes(value.0);
            }
            Trailer::NeighborDiscovery(kind) => {
                let kind = match kind {
                    SignOfLife::Solicitation => 0,
                    SignOfLife::Advertisement => 1,
                };
                writer.bytes(&[trailer_type::NEIGHBOR_DISCOVERY_OPTION, 4, kind, 0, 0, 0]);
            }
            // TER-20: RFC 6081 §4.5 (a MUST) over its own §9.
            Trailer::RandomPort(port) => {
                writer.bytes(&[trailer_type::RANDOM_PORT, 2]);
                writer.u16(port);
            }
            Trailer::Skipped { trailer_type, value } => {
                let value = at_most_255(value);
                writer.bytes(&[trailer_type, value.1]);
                writer.bytes(value.0);
            }
            Trailer::Discard { trailer_type } => writer.bytes(&[trailer_type, 0]),
        }
    }
}

/// Writes an alternate-address trailer: at most two addresses.
///
/// RFC 6081 §4.3 wants no more than 14 bytes of value; four can be read.
pub fn emit_alternates(writer: &mut Writer<'_>, addresses: &[SocketAddrV4]) {
    let addresses = addresses.get(..2).unwrap_or(addresses);
    let len: u8 = match addresses {
        [] => return,
        [_] => 8,
        _ => 14,
    };
    writer.bytes(&[trailer_type::ALTERNATE_ADDRESS, len, 0, 0]);
    for address in addresses {
        writer.ipv4(*address.ip());
        writer.u16(address.port());
    }
}

/// The trailers behind an IPv6 packet: a fused iterator.
///
/// `[RFC 6081 §4.1, §5.1.2]`: in order; what is malformed ends the walk, and
/// what was read before it counts.
#[derive(Clone, Debug)]
pub struct Trailers<'a> {
    rest: &'a [u8],
}

impl<'a> Trailers<'a> {
    /// The trailers in `bytes`.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Trailers { rest: bytes }
    }

    /// Reads them all; of several of one kind the first counts.
    ///
    /// # Errors
    /// A trailer asks to drop the packet: [`DropReason::TeredoTrailer`].
    pub fn collect_known(self) -> Result<KnownTrailers<'a>, DropReason> {
        let mut known = KnownTrailers::default();
        for trailer in self {
            match trailer {
                Trailer::Nonce(nonce) => known.nonce = known.nonce.or(Some(nonce)),
                Trailer::AlternateAddress(addresses) => known.alternates = known.alternates.or(Some(addresses)),
                Trailer::NeighborDiscovery(kind) => known.sign_of_life = known.sign_of_life.or(Some(kind)),
                Trailer::RandomPort(port) => known.random_port = known.random_port.or(Some(port)),
                Trailer::Skipped { .. } => {}
                Trailer::Discard { .. } => return Err(DropReason::TeredoTrailer),
            }
        }
        Ok(known)
    }
}

impl<'a> Iterator for Trailers<'a> {
    type Item = Trailer<'a>;

    fn next(&mut self) -> Option<Trailer<'a>> {
        let cut = self.rest.split_first_chunk::<2>().and_then(|([kind, len], rest)| {
            let (value, rest) = rest.split_at_checked(usize::from(*len))?;
            Some((*kind, value, rest))
        });
        let Some((trailer_type, value, rest)) = cut else {
            self.rest = &[];
            return None;
        };
        self.rest = rest;
        Some(read_trailer(trailer_type, value))
    }
}

impl core::iter::FusedIterator for Trailers<'_> {}

fn read_trailer(trailer_type: u8, value: &[u8]) -> Trailer<'_> {
    let skipped = Trailer::Skipped { trailer_type, value };
    match (trailer_type, value) {
        (trailer_type::NONCE, [a, b, c, d]) => Trailer::Nonce([*a, *b, *c, *d]),
        (trailer_type::ALTERNATE_ADDRESS, value) => Trailer::AlternateAddress(AlternateAddresses { value }),
        (trailer_type::NEIGHBOR_DISCOVERY_OPTION, [0, _, _, _]) => Trailer::NeighborDiscovery(SignOfLife::Solicitation),
        (trailer_type::NEIGHBOR_DISCOVERY_OPTION, [1, _, _, _]) => {
            Trailer::NeighborDiscovery(SignOfLife::Advertisement)
        }
        // TER-20: RFC 6081 says 5 in one place and 2 in another.
        (trailer_type::RANDOM_PORT | trailer_type::RANDOM_PORT_IANA, [a, b]) => {
            Trailer::RandomPort(u16::from_be_bytes([*a, *b]))
        }
        // [RFC 6081 §4.1]: the upper two bits of an unknown type are 01.
        (0x40..=0x7f, _) => Trailer::Discard { trailer_type },
        _ => skipped,
    }
}

/// The trailers that mean something here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownTrailers<'a> {
    /// The nonce; zero bytes are no nonce to who never sends them.
    pub nonce: Option<[u8; 4]>,
    /// The alternate addresses, not looked into.
    pub alternates: Option<AlternateAddresses<'a>>,
    /// A question for a sign of life, or the sign.
    pub sign_of_life: Option<SignOfLife>,
    /// The sender's random port.
    pub random_port: Option<u16>,
}

/// The value of an alternate-address trailer. [RFC 6081 §4.3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlternateAddresses<'a> {
    value: &'a [u8],
}

impl<'a> AlternateAddresses<'a> {
    /// The most addresses that one trailer may have: the limit of what one
    /// bubble makes its receiver send.
    pub const MAX: usize = 4;

    /// The addresses, one to four.
    ///
    /// `TER-21 [RFC 6081 §5.6.4.2, §7]`
    ///
    /// # Errors
    /// [`DropReason::TeredoAlternates`]: the length is none of 8, 14, 20 and
    /// 26, a port is zero, or an address is not unicast. The bubble is dropped.
    pub fn addresses(&self) -> Result<impl Iterator<Item = SocketAddrV4> + 'a, DropReason> {
        let refused = DropReason::TeredoAlternates;
        let (_reserved, entries) = self.value.split_first_chunk::<2>().ok_or(refused)?;
        let (entries, rest) = entries.as_chunks::<6>();
        let usable = |entry: &[u8; 6]| {
            let address = ipv4_at::<0, 6>(entry);
            u16_at::<4, 6>(entry) != 0 && !crate::prefix::is_never_unicast(address)
        };
        if !rest.is_empty() || entries.is_empty() || entries.len() > Self::MAX || !entries.iter().all(usable) {
            return Err(refused);
        }
        Ok(entries.iter().map(|entry| SocketAddrV4::new(ipv4_at::<0, 6>(entry), u16_at::<4, 6>(entry))))
    }
}

const fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Teredo, kind, offset)
}

#[cfg(test)]
mod tests;
