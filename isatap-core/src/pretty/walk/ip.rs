//! IPv4 and IPv6 headers, and IPv6 extension headers.

use core::net::IpAddr;

use super::{Carrier, Layers, Next, TCP_LEN};
use crate::drop_reason::DropReason;
use crate::error::{self, ParseErrorKind};
use crate::pretty::check;
use crate::pretty::layer::{Content, Extension, Fragment, Layer, jumbo_payload};
use crate::pretty::warning::{Warning, Warnings};
use crate::proto41::check_options;
use crate::proto41::ecn::{self, Ecn};
use crate::wire::field::{u16_at, u32_at};
use crate::wire::{ipv4, ipv6, protocol};

impl<'a> Layers<'a> {
    pub(super) fn ipv4(&mut self) -> Layer<'a> {
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

    pub(super) fn ipv6(&mut self) -> Layer<'a> {
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

    pub(super) fn extension(&mut self, number: u8) -> Layer<'a> {
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
}
