//! The options of Neighbor Discovery messages. [RFC 4861 §4.6, 4191 §2.3, 8106 §5]
//!
//! Two kinds of wrong: a list that cannot be walked (length 0, an option
//! that runs past the end) is a [`ParseError`] and condemns the message; an
//! option that breaks its own rules is [`NdOption::Unusable`] and is skipped
//! alone, like an unknown one.
//!
//! Options of fixed size are plain values, the same type read and written;
//! bits behind a prefix's length and reserved bytes are not kept. Options of
//! variable size borrow.

use core::fmt;

use crate::error::{Layer, ParseError, ParseErrorKind};
use crate::wire::field::Writer;

mod dns;
mod link;
mod prefix;

pub use dns::{DnsSearchList, DomainName, DomainNames, RecursiveDnsServers};
pub use link::{LinkLayerAddress, Mtu, RedirectedHeader};
pub use prefix::{PrefixFlags, PrefixInformation, RouteInformation};

/// Option types. [IANA, IPv6 Neighbor Discovery Option Formats]
pub mod option_type {
    /// Source link-layer address.
    pub const SOURCE_LINK_LAYER_ADDRESS: u8 = 1;
    /// Target link-layer address.
    pub const TARGET_LINK_LAYER_ADDRESS: u8 = 2;
    /// Prefix information.
    pub const PREFIX_INFORMATION: u8 = 3;
    /// Redirected header.
    pub const REDIRECTED_HEADER: u8 = 4;
    /// MTU.
    pub const MTU: u8 = 5;
    /// Route information.
    pub const ROUTE_INFORMATION: u8 = 24;
    /// Recursive DNS servers.
    pub const RECURSIVE_DNS_SERVERS: u8 = 25;
    /// DNS search list.
    pub const DNS_SEARCH_LIST: u8 = 31;
}

/// One option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NdOption<'a> {
    /// Type 1. On tunnels its content means nothing (TUN-63).
    SourceLinkLayerAddress(LinkLayerAddress<'a>),
    /// Type 2. On tunnels its content means nothing (TUN-63).
    TargetLinkLayerAddress(LinkLayerAddress<'a>),
    /// Type 3: a prefix that is on-link, or for autoconfiguration, or both.
    PrefixInformation(PrefixInformation),
    /// Type 4: the packet that a Redirect is about.
    RedirectedHeader(RedirectedHeader<'a>),
    /// Type 5: the MTU of the link, in bytes, as it was sent.
    Mtu(Mtu),
    /// Type 24: a route through the sender.
    RouteInformation(RouteInformation),
    /// Type 25: DNS servers.
    RecursiveDnsServers(RecursiveDnsServers<'a>),
    /// Type 31: DNS search domains.
    DnsSearchList(DnsSearchList<'a>),
    /// A type that this crate does not know: to be skipped. `NDP-4`
    Unknown(RawOption<'a>),
    /// A known type that breaks its own rules: to be skipped.
    Unusable(RawOption<'a>),
}

impl<'a> NdOption<'a> {
    /// Reads one option that was already cut to its length.
    #[inline(always)]
    fn read(raw: RawOption<'a>) -> Self {
        let read = match raw.option_type() {
            option_type::SOURCE_LINK_LAYER_ADDRESS => {
                Some(NdOption::SourceLinkLayerAddress(LinkLayerAddress { address: raw.body() }))
            }
            option_type::TARGET_LINK_LAYER_ADDRESS => {
                Some(NdOption::TargetLinkLayerAddress(LinkLayerAddress { address: raw.body() }))
            }
            option_type::PREFIX_INFORMATION => PrefixInformation::read(raw.bytes).map(NdOption::PrefixInformation),
            option_type::REDIRECTED_HEADER => {
                raw.bytes.get(8..).map(|packet| NdOption::RedirectedHeader(RedirectedHeader { packet }))
            }
            option_type::MTU => Mtu::read(raw.bytes).map(NdOption::Mtu),
            option_type::ROUTE_INFORMATION => RouteInformation::read(raw.bytes).map(NdOption::RouteInformation),
            option_type::RECURSIVE_DNS_SERVERS => {
                RecursiveDnsServers::read(raw.bytes).map(NdOption::RecursiveDnsServers)
            }
            option_type::DNS_SEARCH_LIST => DnsSearchList::read(raw.bytes).map(NdOption::DnsSearchList),
            _ => Some(NdOption::Unknown(raw)),
        };
        read.unwrap_or(NdOption::Unusable(raw))
    }

    /// Writes the option; an unknown or unusable one as it was.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        match self {
            NdOption::SourceLinkLayerAddress(option) => {
                option.emit(option_type::SOURCE_LINK_LAYER_ADDRESS, writer);
            }
            NdOption::TargetLinkLayerAddress(option) => {
                option.emit(option_type::TARGET_LINK_LAYER_ADDRESS, writer);
            }
            NdOption::PrefixInformation(option) => option.emit(writer),
            NdOption::RedirectedHeader(option) => option.emit(writer),
            NdOption::Mtu(option) => option.emit(writer),
            NdOption::RouteInformation(option) => option.emit(writer),
            NdOption::RecursiveDnsServers(option) => option.emit(writer),
            NdOption::DnsSearchList(option) => option.emit(writer),
            NdOption::Unknown(raw) | NdOption::Unusable(raw) => writer.bytes(raw.bytes),
        }
    }
}

/// The options of a message, one after the other: a fused iterator.
///
/// The first error ends it. Over the options of a
/// [`Message`](super::Message) there is none, since the message was refused.
#[derive(Clone, Debug)]
pub struct Options<'a> {
    rest: &'a [u8],
    /// Where they all end, in bytes into the message.
    end: usize,
}

impl<'a> Options<'a> {
    /// The options in `bytes`, which lie `offset` bytes into a message (for
    /// errors).
    #[inline]
    #[must_use]
    pub const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Options { rest: bytes, end: offset.saturating_add(bytes.len()) }
    }

    /// The bytes not yet walked.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.rest
    }

    /// The next option, not looked into.
    #[inline(always)]
    fn next_raw(&mut self) -> Option<Result<RawOption<'a>, ParseError>> {
        // NDP-5, NDP-15 [RFC 4861 §4.6, 6.1]: what bounds an option is its length byte, nothing else.
        let units = match *self.rest {
            [] => return None,
            [_, units, ..] => units,
            [_] => 0,
        };
        match self.rest.split_at_checked(usize::from(units).saturating_mul(8)) {
            Some((bytes, rest)) if units != 0 => {
                self.rest = rest;
                Some(Ok(RawOption { bytes }))
            }
            _ => Some(Err(self.fail())),
        }
    }

    /// Ends the walk: the next option is none.
    #[cold]
    fn fail(&mut self) -> ParseError {
        let kind = match *self.rest {
            [_, 0, ..] => ParseErrorKind::Length,
            _ => ParseErrorKind::Truncated,
        };
        let offset = self.end.saturating_sub(self.rest.len());
        self.rest = &[];
        ParseError::new(Layer::NeighborDiscoveryOption, kind, offset)
    }

    /// Walks all options without looking into them.
    #[inline]
    pub(crate) fn check(mut self) -> Result<(), ParseError> {
        while let Some(option) = self.next_raw() {
            option?;
        }
        Ok(())
    }

    /// Whether an option of this type is among those not yet walked.
    pub(crate) fn has(mut self, option_type: u8) -> bool {
        while let Some(Ok(option)) = self.next_raw() {
            if option.option_type() == option_type {
                return true;
            }
        }
        false
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<NdOption<'a>, ParseError>;

    // Always inlined, so that an option is looked at where it is read and not
    // handed over through memory: an enum of eight words.
    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        self.next_raw().map(|raw| raw.map(NdOption::read))
    }
}

impl core::iter::FusedIterator for Options<'_> {}

/// The bytes of one option, type and length included: at least 8, always a
/// multiple of 8.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RawOption<'a> {
    bytes: &'a [u8],
}

impl<'a> RawOption<'a> {
    /// The type.
    #[inline]
    #[must_use]
    pub fn option_type(&self) -> u8 {
        self.bytes.first().copied().unwrap_or(0)
    }

    /// All its bytes.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows type and length.
    #[inline]
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(2..).unwrap_or(&[])
    }
}

impl fmt::Debug for RawOption<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawOption(type {}, {} bytes)", self.option_type(), self.bytes.len())
    }
}

/// The bytes as an array, if they are just as many.
#[inline]
fn whole<const N: usize>(bytes: &[u8]) -> Option<&[u8; N]> {
    bytes.try_into().ok()
}

/// Writes the length byte of an option of `len` bytes, at most 2040, and
/// gives the zeros that must follow.
fn writer_length(writer: &mut Writer<'_>, len: usize) -> usize {
    let units = len.div_ceil(8);
    writer.u8(u8::try_from(units).unwrap_or(u8::MAX));
    units.saturating_mul(8).saturating_sub(len)
}

#[cfg(test)]
mod tests;
