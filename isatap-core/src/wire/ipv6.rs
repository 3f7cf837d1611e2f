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
        if header.payload.len() < usize::from(header.payload_length()) {
            return Err(error(ParseErrorKind::Truncated, packet.len()));
        }
        Ok(header)
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

    /// The header of a packet with nothing behind its payload.
    #[inline(always)]
    pub(crate) fn of_whole(packet: &'a [u8]) -> Option<Self> {
        let (fixed, payload) = packet.split_first_chunk::<HEADER_LEN>()?;
        let header = Header { fixed, payload };
        let is_whole = payload.len() == usize::from(header.payload_length());
        (is_whole && u8_at::<0, HEADER_LEN>(fixed) & 0xf0 == 0x60).then_some(header)
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

    /// The [`protocol`] of what follows the header.
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

    /// [`upper_layer`] of the packet that the header was found in.
    ///
    /// # Errors
    /// As [`upper_layer`], but for what parsing the header has found.
    #[inline]
    pub(crate) fn upper_layer(&self) -> Result<UpperLayer, DropReason> {
        walk(self, Some(DEFAULT_ROUTING_TYPES))
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
    /// The [`protocol`] of what follows the header.
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
    /// The [`protocol`] of the upper layer.
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

impl UpperLayer {
    /// Its bytes, in the payload of the header that the walk began at.
    #[inline]
    pub(crate) fn of<'a>(&self, header: &Header<'a>) -> Option<&'a [u8]> {
        header.payload.get(self.offset.checked_sub(HEADER_LEN)?..)
    }
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
fn upper_layer_with(packet: &[u8], routing_types: &[u8]) -> Result<UpperLayer, DropReason> {
    let header = Header::parse(packet).map_err(|error| match error.kind {
        ParseErrorKind::Version => DropReason::InnerVersion,
        _ if packet.len() < HEADER_LEN => DropReason::TooShort,
        _ => DropReason::Truncated,
    })?;
    walk(&header, Some(routing_types))
}

/// The walk itself, over as much payload as there is. Without `routing_types`
/// every routing header is passed: quoted packets are not judged.
#[inline]
pub(crate) fn walk(header: &Header<'_>, routing_types: Option<&[u8]>) -> Result<UpperLayer, DropReason> {
    let at = UpperLayer {
        protocol: header.next_header(),
        offset: HEADER_LEN,
        fragment: false,
        fragment_offset: 0,
        more_fragments: false,
        routing_type: None,
        extension_headers: 0,
    };
    // Most packets have none to walk over.
    if is_extension_header(at.protocol) { walk_on(at, header, routing_types) } else { Ok(at) }
}

/// Over the first extension header and those behind.
fn walk_on(mut at: UpperLayer, header: &Header<'_>, routing_types: Option<&[u8]>) -> Result<UpperLayer, DropReason> {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    const MINIMAL: &str = "60 00 00 00 00 00 3b 40 20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 01
        20 01 0d b8 00 00 00 00 00 00 00 00 00 00 00 02";

    /// A packet whose payload begins with a header of this protocol.
    fn packet(next_header: u8, payload: &[u8]) -> Vec<u8> {
        let mut packet = hex(MINIMAL);
        packet[4..6].copy_from_slice(&u16::try_from(payload.len()).unwrap().to_be_bytes());
        packet[6] = next_header;
        packet.extend_from_slice(payload);
        packet
    }

    proptest! {
        #[test]
        fn parsing_undoes_emitting(
            (traffic_class, flow_label, payload_len, next_header) in any::<(u8, u32, u16, u8)>(),
            (hop_limit, source, destination, ecn) in any::<(u8, u128, u128, u8)>(),
        ) {
            let fields = Fields {
                traffic_class, flow_label: flow_label & 0xfffff, payload_len, next_header, hop_limit,
                source: source.into(), destination: destination.into(),
            };
            let mut bytes = fields.to_bytes();
            prop_assert_eq!(Header::parse_quoted(&bytes).unwrap().fields(), fields);
            set_ecn(&mut bytes, ecn);
            set_hop_limit(&mut bytes, !hop_limit);
            let changed = Fields {
                traffic_class: (traffic_class & 0xfc) | (ecn & 3), hop_limit: !hop_limit, ..fields
            };
            prop_assert_eq!(Header::parse_quoted(&bytes).unwrap().fields(), changed);
        }

        #[test]
        fn any_chain_of_headers_ends(payload in prop::collection::vec(0_u8..64, 0..300), next_header in 0_u8..64) {
            let packet = packet(next_header, &payload);
            if let Ok(upper) = upper_layer(&packet) {
                prop_assert!(upper.offset <= packet.len());
                prop_assert!(usize::from(upper.extension_headers) <= MAX_EXTENSION_HEADERS);
            }
            prop_assert!(nesting(&packet).unwrap_or(0) <= MAX_NESTING);
        }
    }

    #[test]
    fn the_minimal_packet_cut_at_every_length() {
        let whole = packet(59, &[1, 2, 3]);
        for len in 0..43 {
            assert_eq!(Header::parse(&whole[..len]).unwrap_err().kind, ParseErrorKind::Truncated);
            let reason = if len < 40 { DropReason::TooShort } else { DropReason::Truncated };
            assert_eq!(upper_layer(&whole[..len]), Err(reason));
        }
        let header = Header::parse(&whole).unwrap();
        assert_eq!((header.packet_len(), header.payload()), (43, &[1, 2, 3][..]));
        assert_eq!(header.fields().to_bytes(), whole[..40]);
        assert!(!header.is_jumbogram());
        assert!(Header::parse(&packet(0, &[])).unwrap().is_jumbogram());
        // What follows the packet does not count.
        assert_eq!(Header::parse(&[&whole[..], &[9]].concat()).unwrap().payload(), [1, 2, 3]);
    }

    #[test]
    fn tun_12_no_next_header_is_legal() {
        let upper = upper_layer(&packet(59, &[])).unwrap();
        assert_eq!((upper.protocol, upper.offset), (59, 40));
    }

    #[test]
    fn headers_are_passed_by_their_own_length() {
        let payload = hex(
            "2b 00 00 00 00 00 00 00", // hop-by-hop, then routing
        )
        .into_iter()
        .chain(hex("3c 00 fe 00 00 00 00 00")) // routing, no segments left
        .chain(hex("33 01 00 00 00 00 00 00 00 00 00 00 00 00 00 00")) // destination options of 16
        .chain(hex("2c 04 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00")) // AH of 24
        .chain(hex("3a 00 00 01 00 00 00 07")) // first fragment
        .chain(hex("80 00 00 00"))
        .collect::<Vec<_>>();
        let whole = packet(0, &payload);
        assert_eq!(
            upper_layer(&whole),
            Ok(UpperLayer {
                protocol: 58,
                offset: 104,
                fragment: true,
                fragment_offset: 0,
                more_fragments: true,
                routing_type: Some(0xfe),
                extension_headers: 5,
            })
        );
        // Cut inside the chain; the length field follows the cut.
        for len in 0..64 {
            assert_eq!(upper_layer(&packet(0, &payload[..len])), Err(DropReason::Truncated), "{len}");
        }
    }

    #[test]
    fn a_later_fragment_has_no_upper_layer_header() {
        // Its data looks like a hop-by-hop header that must not be read.
        let upper = upper_layer(&packet(44, &hex("00 00 00 08 00 00 00 07 ff"))).unwrap();
        assert_eq!((upper.protocol, upper.offset, upper.fragment_offset), (0, 48, 1));
        assert!(upper.fragment && !upper.more_fragments);
    }

    #[test]
    fn sec_12_routing_headers_that_ask_for_forwarding() {
        for (kind, left, expected) in [
            (0, 1, Err(DropReason::RoutingHeader)),
            (0, 0, Ok(Some(0))),
            (2, 1, Ok(Some(2))),
            (3, 1, Err(DropReason::RoutingHeader)),
            (4, 2, Err(DropReason::RoutingHeader)),
            (253, 255, Err(DropReason::RoutingHeader)),
            (253, 0, Ok(Some(253))),
        ] {
            let packet = packet(43, &[59, 0, kind, left, 0, 0, 0, 0]);
            assert_eq!(upper_layer(&packet).map(|upper| upper.routing_type), expected, "{kind} {left}");
            assert!(upper_layer_with(&packet, &[kind]).is_ok());
        }
        // The second one counts too.
        let packet = packet(43, &[43, 0, 2, 1, 0, 0, 0, 0, 59, 0, 0, 1, 0, 0, 0, 0]);
        assert_eq!(upper_layer(&packet), Err(DropReason::RoutingHeader));
    }

    #[test]
    fn sec_12_at_most_eight_extension_headers() {
        for count in 0..20 {
            let mut payload = vec![];
            for left in (0..count).rev() {
                payload.extend_from_slice(&[if left == 0 { 59 } else { 60 }, 0, 0, 0, 0, 0, 0, 0]);
            }
            let result = upper_layer(&packet(if count == 0 { 59 } else { 60 }, &payload));
            if count <= 8 {
                assert_eq!(result.map(|upper| upper.offset), Ok(40 + 8 * count));
            } else {
                assert_eq!(result, Err(DropReason::ExtensionHeaders));
            }
        }
    }

    #[test]
    fn sec_13_tunnels_in_tunnels() {
        let mut inside = packet(59, &[]);
        for tunnels in 0..=64 {
            let expected = if tunnels <= 4 { Ok(tunnels) } else { Err(DropReason::Nesting) };
            assert_eq!(nesting(&inside), expected, "{tunnels}");
            inside = packet(protocol::IPV6, &inside);
        }
    }

    #[test]
    fn sec_13_ipv4_headers_in_between_count() {
        let mut inside = packet(59, &[]);
        for pairs in 0_u8..=5 {
            let expected = if pairs <= 2 { Ok(2 * pairs) } else { Err(DropReason::Nesting) };
            assert_eq!(nesting(&inside), expected, "{pairs}");
            let fields = ipv4::Fields {
                tos: 0,
                payload_len: u16::try_from(inside.len()).unwrap(),
                identification: 0,
                dont_fragment: false,
                more_fragments: false,
                fragment_offset: 0,
                ttl: 64,
                protocol: protocol::IPV6,
                source: [10, 0, 0, 1].into(),
                destination: [10, 0, 0, 2].into(),
            };
            inside = packet(protocol::IPV4, &[&fields.to_bytes()[..], &inside].concat());
        }
    }

    #[test]
    fn sec_13_behind_extension_headers_and_malformed() {
        let inner = packet(59, &[]);
        let hidden = packet(60, &[&hex("29 00 00 00 00 00 00 00")[..], &inner].concat());
        assert_eq!(nesting(&hidden), Ok(1));
        assert_eq!(nesting(&packet(protocol::IPV6, &[])), Ok(1));
        assert_eq!(nesting(&packet(protocol::IPV6, &[0x45, 0])), Ok(1));
        assert_eq!(nesting(&[]), Ok(0));
    }
}
