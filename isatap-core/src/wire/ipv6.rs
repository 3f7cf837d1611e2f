//! The IPv6 header and the walk over its extension headers.
//! [RFC 8200 §3, §4]

use core::net::Ipv6Addr;

use super::field::{Writer, ipv6_at, u8_at, u16_at, u32_at};
use super::{ipv4, protocol};
use crate::drop_reason::DropReason;
use crate::error::{Layer, ParseError, ParseErrorKind};

/// Bytes of the header.
pub const HEADER_LEN: usize = 40;

/// The least MTU of a link that carries IPv6. [RFC 8200 §5]
pub const MINIMUM_MTU: u16 = 1280;

/// Extension headers that are looked at in one packet.
pub const MAX_EXTENSION_HEADERS: usize = 8;

/// Tunnels inside a packet that are accepted. [RFC 2473 §6.7]
pub const MAX_NESTING: u8 = 4;

/// Routing types that may ask for forwarding by default: that of Mobile
/// IPv6, whose only further hop is the receiver itself. [RFC 6275 §6.4]
pub const DEFAULT_ROUTING_TYPES: &[u8] = &[2];

/// An IPv6 header over the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at the start of `packet`. Bytes behind the payload length
    /// are ignored.
    ///
    /// # Errors
    /// Too few bytes for the header or the payload length; another version.
    #[inline]
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::parse_quoted(packet)?;
        let payload = header
            .payload
            .get(..usize::from(header.payload_length()))
            .ok_or(error(ParseErrorKind::Truncated, packet.len()))?;
        Ok(Header { payload, ..header })
    }

    /// The header of a packet of which only the beginning is there, as an
    /// ICMP error quotes it: the payload is what is there, not more than the
    /// payload length says.
    ///
    /// # Errors
    /// Too few bytes for the header; another version.
    #[inline]
    pub fn parse_quoted(packet: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, rest) =
            packet.split_first_chunk::<HEADER_LEN>().ok_or(error(ParseErrorKind::Truncated, packet.len()))?;
        if u8_at::<0, HEADER_LEN>(fixed) >> 4 != 6 {
            return Err(error(ParseErrorKind::Version, 0));
        }
        let len = usize::from(u16_at::<4, HEADER_LEN>(fixed));
        Ok(Header { fixed, payload: rest.get(..len).unwrap_or(rest) })
    }

    /// DSCP (upper 6 bits) and ECN (lower 2).
    #[inline]
    #[must_use]
    pub fn traffic_class(&self) -> u8 {
        traffic_class(self.fixed)
    }

    /// The flow label, 20 bits.
    #[must_use]
    pub fn flow_label(&self) -> u32 {
        u32_at::<0, HEADER_LEN>(self.fixed) & FLOW_LABEL_MASK
    }

    /// Bytes behind the header, extension headers included.
    #[inline]
    #[must_use]
    pub fn payload_length(&self) -> u16 {
        u16_at::<4, HEADER_LEN>(self.fixed)
    }

    /// Bytes of header and payload as the header states them.
    #[inline]
    #[must_use]
    pub fn packet_len(&self) -> usize {
        usize::from(self.payload_length()).saturating_add(HEADER_LEN)
    }

    /// The [`protocol`](super::protocol) of what follows the header.
    #[inline]
    #[must_use]
    pub fn next_header(&self) -> u8 {
        u8_at::<6, HEADER_LEN>(self.fixed)
    }

    /// Hops left.
    #[inline]
    #[must_use]
    pub fn hop_limit(&self) -> u8 {
        u8_at::<7, HEADER_LEN>(self.fixed)
    }

    /// The source address.
    #[inline]
    #[must_use]
    pub fn source(&self) -> Ipv6Addr {
        ipv6_at::<8, HEADER_LEN>(self.fixed)
    }

    /// The destination address.
    #[inline]
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        ipv6_at::<24, HEADER_LEN>(self.fixed)
    }

    /// What follows the header.
    #[inline]
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the packet announces a payload beyond 65535 bytes: length 0
    /// with hop-by-hop options. [RFC 2675 §2]
    #[inline]
    #[must_use]
    pub fn is_jumbogram(&self) -> bool {
        self.payload_length() == 0 && self.next_header() == protocol::HOP_BY_HOP
    }

    /// The fields to be sent again.
    #[must_use]
    pub fn fields(&self) -> Fields {
        Fields {
            traffic_class: self.traffic_class(),
            flow_label: self.flow_label(),
            payload_len: self.payload_length(),
            next_header: self.next_header(),
            hop_limit: self.hop_limit(),
            source: self.source(),
            destination: self.destination(),
        }
    }
}

/// The fields of an IPv6 header, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields {
    /// DSCP (upper 6 bits) and ECN (lower 2).
    pub traffic_class: u8,
    /// The flow label, at most 20 bits.
    pub flow_label: u32,
    /// Bytes behind the header.
    pub payload_len: u16,
    /// The [`protocol`](super::protocol) of what follows the header.
    pub next_header: u8,
    /// Hops left.
    pub hop_limit: u8,
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
}

impl Fields {
    /// The header on the wire. A flow label beyond 20 bits loses the upper
    /// ones.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let first = 0x6000_0000 | u32::from(self.traffic_class) << 20 | (self.flow_label & FLOW_LABEL_MASK);
        let [a, b, c, d] = first.to_be_bytes();
        let [e, f] = self.payload_len.to_be_bytes();
        let mut bytes = [0; HEADER_LEN];
        let mut writer = Writer::new(&mut bytes);
        writer.bytes(&[a, b, c, d, e, f, self.next_header, self.hop_limit]);
        writer.ipv6(&self.source);
        writer.ipv6(&self.destination);
        bytes
    }
}

/// DSCP and ECN of a header.
#[inline]
#[must_use]
pub fn traffic_class(header: &[u8; HEADER_LEN]) -> u8 {
    let [class, _] = (u16_at::<0, HEADER_LEN>(header) << 4).to_be_bytes();
    class
}

/// Writes the two ECN bits of a header.
#[inline]
pub fn set_ecn(header: &mut [u8; HEADER_LEN], ecn: u8) {
    let [_, second, ..] = header;
    *second = (*second & 0xcf) | ((ecn & 3) << 4);
}

/// Writes the hop limit of a header.
#[inline]
pub fn set_hop_limit(header: &mut [u8; HEADER_LEN], hop_limit: u8) {
    let [_, _, _, _, _, _, _, place, ..] = header;
    *place = hop_limit;
}

/// What an IPv6 packet carries behind its extension headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpperLayer {
    /// The [`protocol`](super::protocol) of the upper layer.
    pub protocol: u8,
    /// Where it starts, in bytes from the start of the packet. In a fragment
    /// other than the first its data, not its header, is there.
    pub offset: usize,
    /// Whether a fragment header was passed, even one of a whole packet.
    pub fragment: bool,
    /// Where the data belongs in the packet, in units of 8 bytes; 0 in the
    /// first fragment and where there is none.
    pub fragment_offset: u16,
    /// Whether fragments follow.
    pub more_fragments: bool,
    /// The type of the first routing header, if there is one.
    pub routing_type: Option<u8>,
    /// Extension headers passed.
    pub extension_headers: u8,
}

/// Walks over the extension headers of a whole IPv6 packet.
///
/// # Errors
/// [`DropReason::TooShort`] and [`DropReason::InnerVersion`] when there is no
/// IPv6 header; [`DropReason::Truncated`] when payload or an extension header
/// is not all there; [`DropReason::ExtensionHeaders`] beyond
/// [`MAX_EXTENSION_HEADERS`]; [`DropReason::RoutingHeader`] when one asks for
/// forwarding and its type is not in [`DEFAULT_ROUTING_TYPES`].
pub fn upper_layer(packet: &[u8]) -> Result<UpperLayer, DropReason> {
    upper_layer_with(packet, DEFAULT_ROUTING_TYPES)
}

/// [`upper_layer`] with other routing types that may ask for forwarding.
///
/// # Errors
/// As [`upper_layer`].
pub fn upper_layer_with(packet: &[u8], routing_types: &[u8]) -> Result<UpperLayer, DropReason> {
    let header = Header::parse(packet).map_err(|error| match error.kind {
        ParseErrorKind::Version => DropReason::InnerVersion,
        _ if packet.len() < HEADER_LEN => DropReason::TooShort,
        _ => DropReason::Truncated,
    })?;
    walk(&header, Some(routing_types))
}

/// The walk itself, over as much payload as there is. Without `routing_types`
/// every routing header is passed: quoted packets are not judged.
pub(crate) fn walk(header: &Header<'_>, routing_types: Option<&[u8]>) -> Result<UpperLayer, DropReason> {
    let mut at = UpperLayer {
        protocol: header.next_header(),
        offset: HEADER_LEN,
        fragment: false,
        fragment_offset: 0,
        more_fragments: false,
        routing_type: None,
        extension_headers: 0,
    };
    let mut rest = header.payload;
    for _ in 0..=MAX_EXTENSION_HEADERS {
        if !is_extension_header(at.protocol) || at.fragment_offset != 0 {
            return Ok(at);
        }
        let fixed = rest.first_chunk::<8>().ok_or(DropReason::Truncated)?;
        let [next_header, len, routing_type, segments_left, ..] = *fixed;
        let len = match at.protocol {
            protocol::FRAGMENT => 8,
            // [RFC 4302 §2.2]: in units of 4 bytes, the first two not counted.
            protocol::AUTHENTICATION => usize::from(len).saturating_add(2).saturating_mul(4),
            // In units of 8 bytes, the first not counted.
            _ => usize::from(len).saturating_add(1).saturating_mul(8),
        };
        match at.protocol {
            protocol::FRAGMENT => {
                let field = u16_at::<2, 8>(fixed);
                at.fragment = true;
                at.fragment_offset = field >> 3;
                at.more_fragments = field & 1 != 0;
            }
            protocol::ROUTING => {
                // SEC-12 [RFC 5095 §3, RFC 6169 §2.3.3]: who sent this through
                // the tunnel may not use us as a relay to where the tunnel's
                // own checks no longer reach.
                if segments_left != 0 && routing_types.is_some_and(|types| !types.contains(&routing_type)) {
                    return Err(DropReason::RoutingHeader);
                }
                at.routing_type = at.routing_type.or(Some(routing_type));
            }
            _ => {}
        }
        rest = rest.get(len..).ok_or(DropReason::Truncated)?;
        at.protocol = next_header;
        at.offset = at.offset.saturating_add(len);
        at.extension_headers = at.extension_headers.saturating_add(1);
    }
    Err(DropReason::ExtensionHeaders)
}

/// How many tunnels are inside an IPv6 packet: headers of IPv6 or IPv4 one
/// behind the other, without UDP. What is malformed further in ends the
/// count: it is the business of who receives it.
///
/// # Errors
/// `SEC-13`: [`DropReason::Nesting`] when there are more than
/// [`MAX_NESTING`].
pub fn nesting(packet: &[u8]) -> Result<u8, DropReason> {
    let mut inside = packet;
    for tunnels in 0..=MAX_NESTING {
        let next = match inside.first().map(|first| first >> 4) {
            Some(4) => ipv4::Header::parse_quoted(inside)
                .ok()
                .filter(|header| header.fragment_offset() == 0)
                .map(|header| (header.protocol(), header.payload())),
            Some(6) => Header::parse_quoted(inside).ok().and_then(|header| {
                let upper = walk(&header, None).ok().filter(|upper| upper.fragment_offset == 0)?;
                Some((upper.protocol, inside.get(upper.offset..)?))
            }),
            _ => None,
        };
        match next {
            Some((protocol::IPV4 | protocol::IPV6, payload)) => inside = payload,
            _ => return Ok(tunnels),
        }
    }
    Err(DropReason::Nesting)
}

/// Whether a next-header value is that of an extension header that can be
/// passed. ESP cannot: what follows is encrypted.
pub(crate) fn is_extension_header(next_header: u8) -> bool {
    matches!(
        next_header,
        protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION_OPTIONS
            | protocol::MOBILITY
            | protocol::HOST_IDENTITY
            | protocol::SHIM6
    )
}

const FLOW_LABEL_MASK: u32 = 0x000f_ffff;

fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Ipv6, kind, offset)
}
