//! From one layer to the next.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layer::{
    Content, Cut, Data, Extension, Fragment, Icmp, Layer, Malformed, Origin, Tcp, Trailer, Udp, jumbo_payload,
};
use super::warning::{Warning, Warnings};
use super::{check, neighbor};
use crate::drop_reason::DropReason;
use crate::error::{self, ParseError, ParseErrorKind};
use crate::proto41::check_options;
use crate::proto41::ecn::{self, Ecn};
use crate::teredo::addr::SERVER_PORT;
use crate::teredo::packet;
use crate::wire::checksum::{self, Sum};
use crate::wire::field::{bytes_at, u8_at, u16_at, u32_at};
use crate::wire::{ipv4, ipv6, protocol};

/// The layers of a packet, outer to inner: an iterator of at most
/// [`Layers::MAX`].
///
/// Takes any bytes. What an ICMP error quotes is part of the walk; so are the
/// trailers of a Teredo packet, behind everything that the packet holds.
#[derive(Clone, Debug)]
pub struct Layers<'a> {
    rest: &'a [u8],
    offset: usize,
    next: Next,
    left: u8,
    around: Around,
    /// Trailers of the Teredo packet that is being walked over.
    trailers: Option<(&'a [u8], usize)>,
}

/// What `rest` starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Ip,
    Ipv4,
    Ipv6,
    /// A payload of this protocol number.
    Payload(u8),
    /// Teredo: authentication, origin or IPv6.
    Teredo {
        authentication: bool,
        origin: bool,
    },
    Trailer,
    Data(Option<u8>),
    End,
}

/// What the layers around the next one said.
#[derive(Clone, Copy, Debug)]
struct Around {
    /// Source and destination of the innermost header.
    addresses: (IpAddr, IpAddr),
    /// What carries the next IPv6 packet.
    carrier: Carrier,
    hop_limit: u8,
    is_fragment: bool,
    /// Not all bytes of the packet are here: a quote, a fragment, a capture
    /// that cut it. Lengths and checksums are not judged then.
    is_partial: bool,
    /// The outer length is zero, and so may the inner one be: hardware fills both in.
    is_offloaded: bool,
    is_quoted: bool,
    /// The payload is longer than the header's 16 bits can say.
    is_jumbo: bool,
    extension_headers: u8,
    depth: u8,
    tunnels: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Carrier {
    None,
    Protocol41 { source: Ipv4Addr, destination: Ipv4Addr, tos: u8 },
    Teredo { source: Option<Ipv4Addr>, port: u16, has_origin: bool },
}

impl<'a> Layers<'a> {
    /// The most layers that are listed; a packet of more ends with
    /// [`Warning::Nesting`].
    pub const MAX: u8 = 40;

    /// The layers of an IPv4 or IPv6 packet.
    #[must_use]
    pub const fn new(packet: &'a [u8]) -> Self {
        Layers {
            rest: packet,
            offset: 0,
            next: Next::Ip,
            left: Layers::MAX,
            around: Around {
                addresses: (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
                carrier: Carrier::None,
                hop_limit: 0,
                is_fragment: false,
                is_partial: false,
                is_offloaded: false,
                is_quoted: false,
                is_jumbo: false,
                extension_headers: 0,
                depth: 0,
                tunnels: 0,
            },
            trailers: None,
        }
    }

    /// The layers of a packet of which a capture kept only the beginning.
    #[must_use]
    pub const fn of_beginning(packet: &'a [u8]) -> Self {
        let mut layers = Layers::new(packet);
        layers.around.is_partial = true;
        layers
    }

    fn layer(&self, content: Content<'a>, warnings: Warnings) -> Layer<'a> {
        Layer { content, offset: self.offset, is_quoted: self.around.is_quoted, depth: self.around.depth, warnings }
    }

    /// Moves over `len` bytes, to what follows them.
    fn advance(&mut self, len: usize, next: Next) {
        self.rest = self.rest.get(len..).unwrap_or(&[]);
        self.offset = self.offset.saturating_add(len);
        self.next = next;
    }

    /// Everything that is left, and the end.
    fn rest_as(&mut self, content: Content<'a>, warnings: Warnings) -> Layer<'a> {
        let layer = self.layer(content, warnings);
        self.advance(self.rest.len(), Next::End);
        layer
    }

    fn malformed(&mut self, layer: error::Layer, kind: ParseErrorKind, at: usize, warnings: Warnings) -> Layer<'a> {
        let error = ParseError::new(layer, kind, at);
        self.rest_as(Content::Malformed(Malformed { error, bytes: self.rest }), warnings)
    }

    /// A layer that ends too early: cut where the packet is, else malformed.
    fn ends_early(&mut self, layer: error::Layer, warnings: Warnings) -> Layer<'a> {
        if self.around.is_partial {
            return self.cut(layer.as_str());
        }
        self.malformed(layer, ParseErrorKind::Truncated, self.rest.len(), warnings)
    }

    /// The beginning of what follows; the rest was not captured or quoted.
    fn cut(&mut self, layer: &'static str) -> Layer<'a> {
        self.rest_as(Content::Cut(Cut { layer, bytes: self.rest }), Warnings::NONE)
    }

    fn ipv4(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let header = match ipv4::Header::parse_quoted(self.rest) {
            Ok(header) => header,
            Err(error) if self.around.is_partial && error.kind == ParseErrorKind::Truncated => {
                return self.cut(error.layer.as_str());
            }
            Err(error) => {
                warnings.add_if(!self.around.is_partial, Warning::Ipv4Length);
                return self.malformed(error.layer, error.kind, error.offset, warnings);
            }
        };
        let total = usize::from(header.total_length());
        // 0: a packet that the sender's hardware was to cut.
        let stated = if total == 0 { self.rest.len() } else { total };
        if !self.around.is_partial {
            warnings.add_if(stated > self.rest.len() || stated < header.header_len(), Warning::Ipv4Length);
            warnings.add_if(total == 0, Warning::Ipv4LengthUnset);
            // With the length the hardware completes the checksum.
            if total != 0 && !header.is_checksum_valid() {
                let is_unset = header.checksum() == 0;
                warnings.add(if is_unset { Warning::Ipv4ChecksumUnset } else { Warning::Ipv4Checksum });
            }
            match check_options(header.options()) {
                Ok(()) => {}
                Err(DropReason::OuterSourceRoute) => warnings.add(Warning::Ipv4SourceRoute),
                Err(_) => warnings.add(Warning::Ipv4Options),
            }
        }
        let is_cut = stated > self.rest.len();
        let is_tunnel = header.protocol() == protocol::IPV6;
        warnings.add_if(header.is_fragment() && is_tunnel, Warning::OuterFragment);
        let layer = self.layer(Content::Ipv4(header), warnings);
        self.rest = self.rest.get(..stated.max(header.header_len())).unwrap_or(self.rest);
        self.around.addresses = (IpAddr::V4(header.source()), IpAddr::V4(header.destination()));
        self.around.is_fragment = header.is_fragment();
        self.around.is_jumbo = false;
        self.around.is_partial |= is_cut || header.more_fragments();
        self.around.is_offloaded = total == 0;
        self.around.hop_limit = header.ttl();
        self.around.carrier =
            Carrier::Protocol41 { source: header.source(), destination: header.destination(), tos: header.tos() };
        let next = if header.fragment_offset() == 0 {
            Next::Payload(header.protocol())
        } else {
            Next::Data(Some(header.protocol()))
        };
        self.advance(header.header_len(), next);
        layer
    }

    fn ipv6(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let carrier = core::mem::replace(&mut self.around.carrier, Carrier::None);
        let is_tunnelled = carrier != Carrier::None;
        let header = match ipv6::Header::parse_quoted(self.rest) {
            Ok(header) => header,
            Err(error) if self.around.is_partial && error.kind == ParseErrorKind::Truncated => {
                return self.cut(error.layer.as_str());
            }
            Err(error) => {
                let is_version = error.kind == ParseErrorKind::Version;
                warnings.add_if(is_tunnelled && is_version, Warning::InnerVersion);
                warnings.add_if(is_tunnelled && !is_version && !self.around.is_partial, Warning::InnerTruncated);
                return self.malformed(error.layer, error.kind, error.offset, warnings);
            }
        };
        let packet_len = self.ipv6_len(&header);
        let is_too_long = packet_len > self.rest.len();
        if !self.around.is_partial && is_too_long {
            warnings.add(if is_tunnelled { Warning::InnerTruncated } else { Warning::Ipv6Length });
        }
        warnings.add_if(header.is_jumbogram() && is_tunnelled, Warning::Jumbogram);
        let (inside, behind) = self.rest.split_at_checked(packet_len).unwrap_or((self.rest, &[]));
        match carrier {
            Carrier::None => {}
            Carrier::Protocol41 { source, destination, tos } => {
                // TUN-12: padding.
                warnings.add_if(!behind.is_empty(), Warning::Padding);
                if !self.around.is_quoted {
                    check::protocol41(&header, source, destination, &mut warnings);
                    let (inner, outer) = (Ecn::of(header.traffic_class()), Ecn::of(tos));
                    warnings.add_if(ecn::exit(inner, outer).is_err(), Warning::Ecn);
                }
            }
            Carrier::Teredo { source, port, has_origin } => {
                if !behind.is_empty() {
                    let offset = self.offset.saturating_add(inside.len());
                    self.trailers = Some((behind, offset));
                }
                if !self.around.is_quoted {
                    check::teredo(&header, source.map(|source| (source, port)), has_origin, &mut warnings);
                }
            }
        }
        let layer = self.layer(Content::Ipv6(header), warnings);
        self.rest = inside;
        self.around.is_jumbo = packet_len != header.packet_len();
        self.around.addresses = (IpAddr::V6(header.source()), IpAddr::V6(header.destination()));
        self.around.is_fragment = false;
        self.around.is_partial |= is_too_long;
        self.around.hop_limit = header.hop_limit();
        self.around.extension_headers = 0;
        self.advance(ipv6::HEADER_LEN, Next::Payload(header.next_header()));
        layer
    }

    /// How long an IPv6 packet is. A length of zero has another place to say it:
    /// the jumbo payload option [RFC 2675 §3], or, of TCP segments that the kernel
    /// joined (BIG TCP), nothing but the bytes that are there.
    fn ipv6_len(&self, header: &ipv6::Header<'_>) -> usize {
        let behind = self.rest.get(ipv6::HEADER_LEN..).unwrap_or(&[]);
        match (header.payload_length(), header.next_header()) {
            (0, protocol::HOP_BY_HOP) => {
                let len = behind.get(1).map_or(0, |units| usize::from(*units).saturating_add(1).saturating_mul(8));
                let jumbo = behind.get(..len).or(Some(behind)).and_then(jumbo_payload);
                jumbo
                    .and_then(|len| usize::try_from(len).ok())
                    .map_or(self.rest.len(), |len| len.saturating_add(ipv6::HEADER_LEN))
            }
            (0, protocol::TCP) if behind.len() >= TCP_LEN => self.rest.len(),
            (0, next) if self.around.is_offloaded && next != protocol::NO_NEXT_HEADER => self.rest.len(),
            _ => header.packet_len(),
        }
    }

    /// A payload of `number`, or nothing when there is none.
    fn payload(&mut self, number: u8) -> Option<Layer<'a>> {
        let is_in_ipv6 = self.around.addresses.0.is_ipv6();
        match number {
            _ if is_in_ipv6 && is_extension_header(number) => Some(self.extension(number)),
            protocol::NO_NEXT_HEADER if is_in_ipv6 => {
                self.next = if self.rest.is_empty() { Next::End } else { Next::Data(Some(number)) };
                None
            }
            _ if is_tunnel(number) => {
                self.around.depth = self.around.depth.saturating_add(1);
                self.around.tunnels = self.around.tunnels.saturating_add(1);
                if is_in_ipv6 || number == protocol::IPV4 {
                    self.around.carrier = Carrier::None;
                }
                self.next = if number == protocol::IPV6 { Next::Ipv6 } else { Next::Ipv4 };
                None
            }
            protocol::UDP => Some(self.udp()),
            protocol::TCP => Some(self.tcp()),
            protocol::ICMPV4 if !is_in_ipv6 => Some(self.icmpv4()),
            protocol::ICMPV6 if is_in_ipv6 => Some(self.icmpv6()),
            _ => {
                self.next = Next::Data(Some(number));
                None
            }
        }
    }

    fn extension(&mut self, number: u8) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let Some(fixed) = self.rest.first_chunk::<8>() else {
            return self.ends_early(error::Layer::Ipv6Extension, warnings);
        };
        let [next_header, len, routing_type, segments_left, ..] = *fixed;
        self.around.extension_headers = self.around.extension_headers.saturating_add(1);
        warnings.add_if(
            usize::from(self.around.extension_headers) > ipv6::MAX_EXTENSION_HEADERS,
            Warning::ExtensionHeaders,
        );
        if number == protocol::FRAGMENT {
            let field = u16_at::<2, 8>(fixed);
            let fragment = Fragment {
                next_header,
                offset: field & 0xfff8,
                more: field & 1 != 0,
                identification: u32_at::<4, 8>(fixed),
            };
            let layer = self.layer(Content::Fragment(fragment), warnings);
            self.around.is_fragment = true;
            self.around.is_partial |= fragment.more || fragment.offset != 0;
            let next = if fragment.offset == 0 { Next::Payload(next_header) } else { Next::Data(Some(next_header)) };
            self.advance(8, next);
            return layer;
        }
        let len = match number {
            protocol::AUTHENTICATION => usize::from(len).saturating_add(2).saturating_mul(4),
            _ => usize::from(len).saturating_add(1).saturating_mul(8),
        };
        let Some(bytes) = self.rest.get(..len) else {
            return self.ends_early(error::Layer::Ipv6Extension, warnings);
        };
        // SEC-12 [RFC 5095 §3, RFC 6169 §2.3.3]
        let asks = number == protocol::ROUTING && segments_left != 0;
        warnings.add_if(asks && !ipv6::DEFAULT_ROUTING_TYPES.contains(&routing_type), Warning::RoutingHeader);
        let layer = self.layer(Content::Extension(Extension { protocol: number, next_header, bytes }), warnings);
        self.advance(len, Next::Payload(next_header));
        layer
    }

    fn udp(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let Some(fixed) = self.rest.first_chunk::<8>() else {
            warnings.add_if(!self.around.is_partial, Warning::UdpLength);
            return self.ends_early(error::Layer::Udp, warnings);
        };
        let udp = Udp {
            source: u16_at::<0, 8>(fixed),
            destination: u16_at::<2, 8>(fixed),
            length: u16_at::<4, 8>(fixed),
            checksum: u16_at::<6, 8>(fixed),
        };
        // Of a jumbogram the packet says the length. [RFC 2675 §4]
        let is_open = udp.length == 0 && self.around.is_jumbo;
        let length = if is_open { self.rest.len() } else { usize::from(udp.length) };
        let datagram = self.rest.get(..length.max(8)).unwrap_or(self.rest);
        if !self.around.is_partial {
            let is_wrong = length < 8 || length > self.rest.len();
            warnings.add_if(is_wrong, Warning::UdpLength);
            let is_unset = udp.checksum == 0 && self.around.addresses.0.is_ipv4();
            let is_valid = is_unset || udp.checksum != 0 && self.is_sum_valid(protocol::UDP, datagram);
            warnings.add_if(!is_wrong && !is_valid, Warning::UdpChecksum);
        }
        let layer = self.layer(Content::Udp(udp), warnings);
        self.rest = datagram;
        self.advance(8, Next::Data(None));
        if check::is_teredo(&udp, self.rest, self.around.is_partial) {
            self.around.depth = self.around.depth.saturating_add(1);
            self.around.tunnels = self.around.tunnels.saturating_add(1);
            let source = match self.around.addresses.0 {
                IpAddr::V4(source) => Some(source),
                IpAddr::V6(_) => None,
            };
            self.around.carrier = Carrier::Teredo { source, port: udp.source, has_origin: false };
            self.next = Next::Teredo { authentication: true, origin: true };
        }
        layer
    }

    fn tcp(&mut self) -> Layer<'a> {
        let Some(fixed) = self.rest.first_chunk::<TCP_LEN>() else {
            return self.ends_early(error::Layer::Tcp, Warnings::NONE);
        };
        let header_len = usize::from(u8_at::<12, TCP_LEN>(fixed) >> 4).saturating_mul(4);
        let layer = self.layer(
            Content::Tcp(Tcp {
                source: u16_at::<0, TCP_LEN>(fixed),
                destination: u16_at::<2, TCP_LEN>(fixed),
                sequence: u32_at::<4, TCP_LEN>(fixed),
                acknowledgment: u32_at::<8, TCP_LEN>(fixed),
                flags: u8_at::<13, TCP_LEN>(fixed),
                window: u16_at::<14, TCP_LEN>(fixed),
            }),
            Warnings::NONE,
        );
        self.advance(header_len.clamp(20, 60), Next::Data(None));
        layer
    }

    fn icmp(&mut self, fixed: &[u8; 8]) -> Icmp<'a> {
        Icmp {
            message_type: u8_at::<0, 8>(fixed),
            code: u8_at::<1, 8>(fixed),
            header_data: bytes_at::<4, 4, 8>(fixed),
            body: self.rest.get(8..).unwrap_or(&[]),
        }
    }

    fn icmpv4(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let Some(fixed) = self.rest.first_chunk::<8>() else {
            return self.ends_early(error::Layer::Icmpv4, warnings);
        };
        let message = self.icmp(fixed);
        let is_valid = Sum::ZERO.bytes(self.rest).is_valid();
        warnings.add_if(!self.around.is_partial && !is_valid, Warning::Icmpv4Checksum);
        let layer = self.layer(Content::Icmpv4(message), warnings);
        self.advance(8, Next::Data(None));
        if matches!(message.message_type, 3 | 4 | 5 | 11 | 12) {
            // [RFC 4884 §4.1, §5.1]: how long the quote is, before extensions.
            let words = match (message.message_type, message.header_data) {
                (3 | 11 | 12, [_, words, ..]) => usize::from(words),
                _ => 0,
            };
            self.quote(Next::Ipv4, words.saturating_mul(4));
        }
        layer
    }

    fn icmpv6(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        let is_whole = !self.around.is_partial;
        let is_valid = !is_whole || self.is_sum_valid(protocol::ICMPV6, self.rest);
        if let Some(&message_type) = self.rest.first()
            && crate::nd::message::is_neighbor_discovery(message_type)
        {
            warnings.add_if(!is_valid, Warning::Icmpv6Checksum);
            // NDP-2, NDP-3 [RFC 4861 §6.1, RFC 6980 §5]
            warnings.add_if(self.around.hop_limit != 255 && !self.around.is_quoted, Warning::NdHopLimit);
            warnings.add_if(self.around.is_fragment, Warning::NdFragment);
            return match neighbor::read(self.rest) {
                Ok(mut message) => {
                    message.is_cut = self.around.is_partial;
                    if !self.around.is_partial {
                        neighbor::check(&message, self.rest, &self.ipv6_addresses(), &mut warnings);
                        let is_tunnelled = self.around.tunnels > 0;
                        warnings.add_if(is_tunnelled && neighbor::has_link_layer(&message), Warning::LinkLayerOption);
                    }
                    self.rest_as(Content::NeighborDiscovery(message), warnings)
                }
                Err(error) if error.kind == ParseErrorKind::Truncated => self.ends_early(error.layer, warnings),
                Err(error) => self.malformed(error.layer, error.kind, error.offset, warnings),
            };
        }
        let Some(fixed) = self.rest.first_chunk::<8>() else {
            return self.ends_early(error::Layer::Icmpv6, warnings);
        };
        warnings.add_if(!is_valid, Warning::Icmpv6Checksum);
        let message = self.icmp(fixed);
        let layer = self.layer(Content::Icmpv6(message), warnings);
        match message.message_type {
            message_type @ 1..=4 => {
                let words = match (message_type, message.header_data) {
                    (1 | 3, [words, ..]) => usize::from(words),
                    _ => 0,
                };
                self.advance(8, Next::Data(None));
                self.quote(Next::Ipv6, words.saturating_mul(8));
            }
            128 | 129 => self.advance(8, Next::Data(None)),
            _ => self.advance(self.rest.len(), Next::End),
        }
        layer
    }

    /// The packet that an error is about; `len` bytes of it if that is not
    /// zero.
    fn quote(&mut self, next: Next, len: usize) {
        if self.rest.is_empty() {
            return;
        }
        if len > 0 {
            self.rest = self.rest.get(..len).unwrap_or(self.rest);
        }
        self.around.is_quoted = true;
        self.around.is_partial = true;
        self.around.carrier = Carrier::None;
        self.around.depth = self.around.depth.saturating_add(1);
        self.trailers = None;
        self.next = next;
    }

    /// One step in front of or at the IPv6 packet in a Teredo datagram.
    fn teredo(&mut self, authentication: bool, origin: bool) -> Option<Layer<'a>> {
        let mut warnings = Warnings::NONE;
        match self.rest {
            [0, 1, ..] if authentication => {
                let (header, len) = match packet::Authentication::parse(self.rest) {
                    Ok(parsed) => parsed,
                    Err(_) if self.around.is_partial => return Some(self.cut(error::Layer::Teredo.as_str())),
                    Err(error) => {
                        warnings.add(Warning::TeredoMalformed);
                        return Some(self.malformed(error.layer, error.kind, error.offset, warnings));
                    }
                };
                warnings.add_if(header.confirmation != 0, Warning::TeredoConfirmation);
                let layer = self.layer(Content::TeredoAuthentication(header), warnings);
                self.advance(len, Next::Teredo { authentication: false, origin });
                Some(layer)
            }
            [0, 0, ..] if origin && self.rest.len() >= packet::ORIGIN_LEN => {
                let origin = self.rest.first_chunk().map(packet::origin_from)?;
                let origin = Origin { port: origin.port(), address: *origin.ip() };
                let layer = self.layer(Content::TeredoOrigin(origin), warnings);
                if let Carrier::Teredo { has_origin, .. } = &mut self.around.carrier {
                    *has_origin = true;
                }
                self.advance(packet::ORIGIN_LEN, Next::Teredo { authentication: false, origin: false });
                Some(layer)
            }
            [first, ..] if first >> 4 == 6 => {
                self.next = Next::Ipv6;
                None
            }
            _ if self.around.is_partial && self.rest.len() < packet::ORIGIN_LEN => {
                Some(self.cut(error::Layer::Teredo.as_str()))
            }
            // TER-10 [RFC 4380 §5.1.1]
            _ => {
                warnings.add(Warning::TeredoMalformed);
                Some(self.malformed(error::Layer::Teredo, ParseErrorKind::Type, 0, warnings))
            }
        }
    }

    fn trailer(&mut self) -> Option<Layer<'a>> {
        let mut warnings = Warnings::NONE;
        if self.rest.len() < 2 {
            // One stray byte: the walk ends.
            self.next = if self.rest.is_empty() { Next::End } else { Next::Data(None) };
            return None;
        }
        let Some((trailer_type, value, _)) = packet::cut_trailer(self.rest) else {
            if self.around.is_partial {
                return Some(self.cut("Teredo trailer"));
            }
            warnings.add(Warning::TrailerMalformed);
            return Some(self.rest_as(Content::Data(Data { protocol: None, bytes: self.rest }), warnings));
        };
        let trailer = Trailer { trailer_type, value };
        check::trailer(&trailer, &mut warnings);
        let layer = self.layer(Content::TeredoTrailer(trailer), warnings);
        self.advance(value.len().saturating_add(2), Next::Trailer);
        Some(layer)
    }

    fn ipv6_addresses(&self) -> (Ipv6Addr, Ipv6Addr) {
        match self.around.addresses {
            (IpAddr::V6(source), IpAddr::V6(destination)) => (source, destination),
            _ => (Ipv6Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Whether the checksum in `bytes` holds, with the pseudo-header of the
    /// innermost IP header.
    fn is_sum_valid(&self, number: u8, bytes: &[u8]) -> bool {
        let pseudo = match self.around.addresses {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
                checksum::pseudo_header_ipv4(source, destination, number, length)
            }
            (IpAddr::V6(source), IpAddr::V6(destination)) => {
                let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
                checksum::pseudo_header_ipv6(&source, &destination, number, length)
            }
            _ => return true,
        };
        pseudo.bytes(bytes).is_valid()
    }

    /// Ends a walk that is longer than anything sensible.
    fn too_deep(&mut self) -> Layer<'a> {
        let mut warnings = Warnings::NONE;
        warnings.add(Warning::Nesting);
        self.trailers = None;
        self.rest_as(Content::Data(Data { protocol: None, bytes: self.rest }), warnings)
    }
}

impl<'a> Iterator for Layers<'a> {
    type Item = Layer<'a>;

    fn next(&mut self) -> Option<Layer<'a>> {
        // Steps that give no layer move on to one that does or to the end.
        loop {
            let found = match self.next {
                Next::End => {
                    let (trailers, offset) = self.trailers.take()?;
                    (self.rest, self.offset, self.next) = (trailers, offset, Next::Trailer);
                    continue;
                }
                Next::Trailer if self.rest.is_empty() => None,
                Next::Data(_) if self.rest.is_empty() => {
                    self.next = Next::End;
                    None
                }
                _ if self.left <= 1 => Some(self.too_deep()),
                Next::Ip => Some(match self.rest.first().map(|first| first >> 4) {
                    Some(4) => self.ipv4(),
                    Some(6) => self.ipv6(),
                    Some(_) => self.malformed(error::Layer::Ipv4, ParseErrorKind::Version, 0, Warnings::NONE),
                    None => self.malformed(error::Layer::Ipv4, ParseErrorKind::Truncated, 0, Warnings::NONE),
                }),
                Next::Ipv4 => Some(self.ipv4()),
                Next::Ipv6 => Some(self.ipv6()),
                // What has a header of its own is malformed without one.
                Next::Payload(number) if self.rest.is_empty() && !has_header(number) => {
                    self.next = Next::End;
                    None
                }
                Next::Payload(number) => self.payload(number),
                Next::Teredo { authentication, origin } => self.teredo(authentication, origin),
                Next::Trailer => self.trailer(),
                Next::Data(protocol) => {
                    Some(self.rest_as(Content::Data(Data { protocol, bytes: self.rest }), Warnings::NONE))
                }
            };
            if self.next == Next::Trailer && self.rest.is_empty() {
                self.next = Next::End;
            }
            if let Some(mut layer) = found {
                self.left = self.left.saturating_sub(1);
                // SEC-13 [RFC 2473 §6.7]
                let is_ip = matches!(layer.content, Content::Ipv4(_) | Content::Ipv6(_));
                let limit = ipv6::MAX_NESTING;
                layer.warnings.add_if(is_ip && !layer.is_quoted && self.around.tunnels > limit, Warning::Nesting);
                return Some(layer);
            }
        }
    }
}

impl core::iter::FusedIterator for Layers<'_> {}

/// Bytes of a TCP header without options.
const TCP_LEN: usize = 20;

const fn is_tunnel(number: u8) -> bool {
    matches!(number, protocol::IPV6 | protocol::IPV4)
}

const fn has_header(number: u8) -> bool {
    matches!(number, protocol::UDP | protocol::TCP | protocol::ICMPV4 | protocol::ICMPV6)
        || is_tunnel(number)
        || is_extension_header(number)
}

const fn is_extension_header(number: u8) -> bool {
    matches!(
        number,
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

/// Whether a datagram is from or to a Teredo server.
pub(super) const fn is_server_port(udp: &Udp) -> bool {
    udp.source == SERVER_PORT || udp.destination == SERVER_PORT
}
