//! What IP carries: UDP, TCP, ICMP, and the packet that an ICMP error quotes.

use core::net::{IpAddr, Ipv6Addr};

use super::{Carrier, Layers, Next, TCP_LEN};
use crate::error::{self, ParseErrorKind};
use crate::pretty::layer::{Content, Icmp, Layer, Tcp, Udp};
use crate::pretty::warning::{Warning, Warnings};
use crate::pretty::{check, neighbor};
use crate::wire::checksum::{self, Sum};
use crate::wire::field::{bytes_at, u8_at, u16_at, u32_at};
use crate::wire::protocol;

impl<'a> Layers<'a> {
    pub(super) fn udp(&mut self) -> Layer<'a> {
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

    pub(super) fn tcp(&mut self) -> Layer<'a> {
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

    pub(super) fn icmpv4(&mut self) -> Layer<'a> {
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

    pub(super) fn icmpv6(&mut self) -> Layer<'a> {
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
}
