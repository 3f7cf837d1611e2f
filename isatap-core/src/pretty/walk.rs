//! From one layer to the next.

mod ip;
mod teredo;
mod upper;

use core::net::{IpAddr, Ipv4Addr};

use super::layer::{Content, Cut, Data, Layer, Malformed, Udp};
use super::warning::{Warning, Warnings};
use crate::error::{self, ParseError, ParseErrorKind};
use crate::teredo::addr::SERVER_PORT;
use crate::wire::{ipv6, protocol};

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
