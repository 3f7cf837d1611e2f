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
use core::net::Ipv6Addr;

use bitflags::bitflags;

use crate::error::{Layer, ParseError, ParseErrorKind};
use crate::prefix::Ipv6Prefix;
use crate::route::Preference;
use crate::time::Lifetime;
use crate::wire::field::{Writer, ipv6_at, u8_at, u32_at};

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
    offset: usize,
}

impl<'a> Options<'a> {
    /// The options in `bytes`, which lie `offset` bytes into a message (for
    /// errors).
    #[must_use]
    pub const fn new(bytes: &'a [u8], offset: usize) -> Self {
        Options { rest: bytes, offset }
    }

    /// The bytes not yet walked.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.rest
    }

    /// The next option, not looked into.
    fn next_raw(&mut self) -> Option<Result<RawOption<'a>, ParseError>> {
        if self.rest.is_empty() {
            return None;
        }
        let error = |kind| ParseError::new(Layer::NeighborDiscoveryOption, kind, self.offset);
        // NDP-5, NDP-15 [RFC 4861 §4.6, 6.1]: what bounds an option is its length byte, nothing else.
        let cut = match *self.rest {
            [_, 0, ..] => Err(error(ParseErrorKind::Length)),
            [_, units, ..] => {
                let len = usize::from(units).saturating_mul(8);
                self.rest.split_at_checked(len).ok_or(error(ParseErrorKind::Truncated))
            }
            _ => Err(error(ParseErrorKind::Truncated)),
        };
        match cut {
            Ok((bytes, rest)) => {
                self.rest = rest;
                self.offset = self.offset.saturating_add(bytes.len());
                Some(Ok(RawOption { bytes }))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }

    /// Walks all options without looking into them.
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

/// A link-layer address, with the padding behind it. [RFC 4861 §4.6.1]
///
/// Tunnels neither send nor read it. `TUN-63 [RFC 4213 §3.8]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLayerAddress<'a> {
    /// The bytes behind type and length: 6, 14, 22, …
    pub address: &'a [u8],
}

impl LinkLayerAddress<'_> {
    fn emit(&self, option_type: u8, writer: &mut Writer<'_>) {
        let address = self.address.get(..2038).unwrap_or(self.address);
        writer.u8(option_type);
        let padding = writer_length(writer, address.len().saturating_add(2));
        writer.bytes(address);
        writer.zeros(padding);
    }
}

bitflags! {
    /// The flags of a prefix information option; unknown bits are kept.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    pub struct PrefixFlags: u8 {
        /// L: addresses of the prefix are on-link.
        const ON_LINK = 0x80;
        /// A: hosts may make themselves an address of it.
        const AUTONOMOUS = 0x40;
        /// R: the prefix field is the router's whole address. [RFC 6275 §7.2]
        const ROUTER_ADDRESS = 0x20;
        const _ = !0;
    }
}

/// Prefix information. [RFC 4861 §4.6.2]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrefixInformation {
    /// The prefix.
    pub prefix: Ipv6Prefix,
    /// What it may be used for.
    pub flags: PrefixFlags,
    /// How long it is on-link and addresses of it are valid.
    pub valid_lifetime: Lifetime,
    /// How long addresses of it are preferred.
    pub preferred_lifetime: Lifetime,
}

impl PrefixInformation {
    /// NDP-10, NDP-15 [RFC 4861 §4.6.2]: exactly 4 units long, at most 128
    /// bits; what lies behind the bits means nothing.
    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; 32] = whole(bytes)?;
        Some(PrefixInformation {
            prefix: Ipv6Prefix::new(ipv6_at::<16, 32>(bytes), u8_at::<2, 32>(bytes))?,
            flags: PrefixFlags::from_bits_retain(u8_at::<3, 32>(bytes)),
            valid_lifetime: Lifetime::from_secs(u32_at::<4, 32>(bytes)),
            preferred_lifetime: Lifetime::from_secs(u32_at::<8, 32>(bytes)),
        })
    }

    /// Writes the option, 32 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        writer.bytes(&[option_type::PREFIX_INFORMATION, 4, self.prefix.length(), self.flags.bits()]);
        writer.u32(self.valid_lifetime.secs());
        writer.u32(self.preferred_lifetime.secs());
        writer.zeros(4);
        writer.ipv6(&self.prefix.address());
    }
}

/// The packet that a Redirect answers, as much as there was room for.
/// [RFC 4861 §4.6.3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectedHeader<'a> {
    /// The packet from its IPv6 header on, possibly cut and padded.
    pub packet: &'a [u8],
}

impl RedirectedHeader<'_> {
    /// Writes the option, as many bytes as the packet has (at most 2032) and
    /// 8 to 15 more. The caller cuts the packet so that the message keeps to
    /// 1280 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        let packet = self.packet.get(..2032).unwrap_or(self.packet);
        writer.u8(option_type::REDIRECTED_HEADER);
        let padding = writer_length(writer, packet.len().saturating_add(8));
        writer.zeros(6);
        writer.bytes(packet);
        writer.zeros(padding);
    }
}

/// The MTU of the link in bytes, whatever was sent: who uses it checks it
/// against 1280 and the link (NDP-14). [RFC 4861 §4.6.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu(pub u32);

impl Mtu {
    fn read(bytes: &[u8]) -> Option<Self> {
        whole::<8>(bytes).map(|bytes| Mtu(u32_at::<4, 8>(bytes)))
    }

    /// Writes the option, 8 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        writer.bytes(&[option_type::MTU, 1, 0, 0]);
        writer.u32(self.0);
    }
}

/// A route through the router that advertises it. [RFC 4191 §2.3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteInformation {
    /// Where the route leads.
    pub prefix: Ipv6Prefix,
    /// How it compares to routes to the same prefix through other routers.
    pub preference: Preference,
    /// How long it holds; zero withdraws it.
    pub lifetime: Lifetime,
}

impl RouteInformation {
    fn read(bytes: &[u8]) -> Option<Self> {
        let fixed: &[u8; 8] = bytes.first_chunk()?;
        let (length, prefix_length) = (bytes.len(), u8_at::<2, 8>(fixed));
        // NDP-11, NDP-15 [RFC 4191 §2.3]: the prefix length says how long the
        // option must be, and the option's length how many bytes are read.
        let shortest = match prefix_length {
            0 => 8_usize,
            1..=64 => 16,
            65..=128 => 24,
            _ => return None,
        };
        if length < shortest || length > 24 {
            return None;
        }
        let mut octets = [0; 16];
        let (_, prefix) = bytes.split_first_chunk::<8>()?;
        // Not `copy_from_slice`: see Writer::bytes.
        octets.get_mut(..prefix.len())?.iter_mut().zip(prefix).for_each(|(to, from)| *to = *from);
        Some(RouteInformation {
            prefix: Ipv6Prefix::new(Ipv6Addr::from(octets), prefix_length)?,
            preference: Preference::from_flags(u8_at::<3, 8>(fixed))?,
            lifetime: Lifetime::from_secs(u32_at::<4, 8>(fixed)),
        })
    }

    /// Writes the option: 8, 16 or 24 bytes, as few as the prefix allows.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        let units = match self.prefix.length() {
            0 => 1,
            1..=64 => 2,
            _ => 3,
        };
        writer.bytes(&[option_type::ROUTE_INFORMATION, units, self.prefix.length(), self.preference.to_flags()]);
        writer.u32(self.lifetime.secs());
        let [high @ .., _, _, _, _, _, _, _, _] = self.prefix.address().octets();
        match units {
            1 => {}
            2 => writer.bytes(&high),
            _ => writer.ipv6(&self.prefix.address()),
        }
    }
}

/// DNS servers. [RFC 8106 §5.1]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecursiveDnsServers<'a> {
    lifetime: Lifetime,
    addresses: &'a [u8],
}

impl<'a> RecursiveDnsServers<'a> {
    /// NDP-13 [RFC 8106 §5.3.1]: an odd length of at least 3 units, and
    /// unicast addresses only.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, addresses) = bytes.split_first_chunk::<8>()?;
        let servers = RecursiveDnsServers { lifetime: Lifetime::from_secs(u32_at::<4, 8>(fixed)), addresses };
        let whole = addresses.chunks_exact(16).remainder().is_empty();
        let unicast =
            |address: Ipv6Addr| !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
        (whole && !addresses.is_empty() && servers.addresses().all(unicast)).then_some(servers)
    }

    /// How long they may be used; zero: no longer.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// Their addresses, in the sender's order. A link-local one belongs to
    /// the link that the option came from.
    pub fn addresses(&self) -> impl Iterator<Item = Ipv6Addr> + 'a {
        self.addresses.chunks_exact(16).filter_map(|octets| whole::<16>(octets).map(ipv6_at::<0, 16>))
    }

    /// Writes the option as it was read.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        Self::emit_fixed(self.lifetime, self.addresses.len(), writer);
        writer.bytes(self.addresses);
    }

    /// Writes an option of these servers, 8 bytes and 16 for each: nothing
    /// when there is none, the first 127 when there are more.
    pub fn emit_list(lifetime: Lifetime, addresses: &[Ipv6Addr], writer: &mut Writer<'_>) {
        let addresses = addresses.get(..127).unwrap_or(addresses);
        if addresses.is_empty() {
            return;
        }
        Self::emit_fixed(lifetime, addresses.len().saturating_mul(16), writer);
        for address in addresses {
            writer.ipv6(address);
        }
    }

    fn emit_fixed(lifetime: Lifetime, len: usize, writer: &mut Writer<'_>) {
        writer.u8(option_type::RECURSIVE_DNS_SERVERS);
        writer_length(writer, len.saturating_add(8));
        writer.zeros(2);
        writer.u32(lifetime.secs());
    }
}

impl fmt::Debug for RecursiveDnsServers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RecursiveDnsServers({}", self.lifetime)?;
        for address in self.addresses() {
            write!(f, ", {address}")?;
        }
        f.write_str(")")
    }
}

/// DNS search domains. [RFC 8106 §5.2]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DnsSearchList<'a> {
    lifetime: Lifetime,
    names: &'a [u8],
}

impl<'a> DnsSearchList<'a> {
    /// NDP-13 [RFC 8106 §5.2, 5.3.1]: at least 2 units; labels up to 63
    /// bytes, names up to 255, no compression, zeros behind the last name.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let (fixed, names) = bytes.split_first_chunk::<8>()?;
        let mut walk = DomainNames { rest: names };
        let mut count = 0_usize;
        while walk.next().is_some() {
            count = count.saturating_add(1);
        }
        let padded = walk.rest.iter().all(|&byte| byte == 0);
        (count > 0 && padded).then_some(DnsSearchList { lifetime: Lifetime::from_secs(u32_at::<4, 8>(fixed)), names })
    }

    /// How long they may be used; zero: no longer.
    #[must_use]
    pub const fn lifetime(&self) -> Lifetime {
        self.lifetime
    }

    /// The domains, in the sender's order.
    #[must_use]
    pub const fn names(&self) -> DomainNames<'a> {
        DomainNames { rest: self.names }
    }

    /// Writes the option as it was read.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        Self::emit_fixed(self.lifetime, self.names.len(), writer);
        writer.bytes(self.names);
    }

    /// Writes an option of these names; nothing when there is none. Names
    /// that would make the option longer than 2040 bytes are left out.
    pub fn emit_list<'n>(
        lifetime: Lifetime,
        names: impl Iterator<Item = DomainName<'n>> + Clone,
        writer: &mut Writer<'_>,
    ) {
        let mut len = 0_usize;
        let fitting = names.take_while(move |name| {
            len = len.saturating_add(name.as_slice().len());
            len <= 2032
        });
        let len = fitting.clone().fold(0_usize, |sum, name| sum.saturating_add(name.as_slice().len()));
        if len == 0 {
            return;
        }
        let padding = Self::emit_fixed(lifetime, len, writer);
        for name in fitting {
            writer.bytes(name.as_slice());
        }
        writer.zeros(padding);
    }

    fn emit_fixed(lifetime: Lifetime, len: usize, writer: &mut Writer<'_>) -> usize {
        writer.u8(option_type::DNS_SEARCH_LIST);
        let padding = writer_length(writer, len.saturating_add(8));
        writer.zeros(2);
        writer.u32(lifetime.secs());
        padding
    }
}

impl fmt::Debug for DnsSearchList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DnsSearchList({}", self.lifetime)?;
        for name in self.names() {
            write!(f, ", {name}")?;
        }
        f.write_str(")")
    }
}

/// The names of a search list; ends at the padding or at what is no name.
#[derive(Clone, Debug)]
pub struct DomainNames<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for DomainNames<'a> {
    type Item = DomainName<'a>;

    fn next(&mut self) -> Option<DomainName<'a>> {
        let (name, rest) = DomainName::split(self.rest)?;
        self.rest = rest;
        Some(name)
    }
}

impl core::iter::FusedIterator for DomainNames<'_> {}

/// A domain name in wire form: labels with their lengths, and a zero byte.
/// [RFC 1035 §3.1]
///
/// At most 255 bytes. Labels may hold any byte; [`is_hostname`] says whether
/// a file or a shell can be trusted with the name.
///
/// [`is_hostname`]: DomainName::is_hostname
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct DomainName<'a> {
    wire: &'a [u8],
}

impl<'a> DomainName<'a> {
    /// The name that `wire` is, without anything behind it; the root alone
    /// is none.
    #[must_use]
    pub fn from_wire(wire: &'a [u8]) -> Option<Self> {
        Self::split(wire).filter(|(_, rest)| rest.is_empty()).map(|(name, _)| name)
    }

    /// The name in front of `bytes`, and the rest.
    fn split(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        let mut at = 0_usize;
        // A label takes two bytes or more: 127 of them fill a name.
        for _ in 0..128 {
            match *bytes.get(at)? {
                0 => break,
                len @ 1..=63 => at = at.saturating_add(usize::from(len)).saturating_add(1),
                _ => return None,
            }
        }
        let end = at.saturating_add(1);
        let (wire, rest) = bytes.split_at_checked(end)?;
        (at > 0 && end <= 255 && wire.last() == Some(&0)).then_some((DomainName { wire }, rest))
    }

    /// The name in wire form, 3 to 255 bytes.
    #[must_use]
    pub const fn as_slice(&self) -> &'a [u8] {
        self.wire
    }

    /// Its labels, the root left out.
    pub fn labels(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.wire;
        core::iter::from_fn(move || {
            let (len, behind) = rest.split_first()?;
            let (label, behind) = behind.split_at_checked(usize::from(*len))?;
            rest = behind;
            (!label.is_empty()).then_some(label)
        })
    }

    /// Whether all labels are letters, digits, hyphens and underscores, with
    /// no hyphen in front: nothing that a resolver's file or a script could
    /// take for anything but a name.
    #[must_use]
    pub fn is_hostname(&self) -> bool {
        let plain = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-' || *byte == b'_';
        self.labels().all(|label| label.iter().all(plain) && label.first() != Some(&b'-'))
    }

    /// Whether both are the same name; case does not count.
    #[must_use]
    pub fn is_same(&self, other: &DomainName<'_>) -> bool {
        self.wire.eq_ignore_ascii_case(other.wire)
    }
}

impl fmt::Display for DomainName<'_> {
    /// `example.com`; bytes that are no plain text as `\ddd`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, label) in self.labels().enumerate() {
            if index > 0 {
                f.write_str(".")?;
            }
            for &byte in label {
                if byte.is_ascii_graphic() && byte != b'.' && byte != b'\\' {
                    write!(f, "{}", char::from(byte))?;
                } else {
                    write!(f, "\\{byte:03}")?;
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for DomainName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The bytes as an array, if they are just as many.
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
#[path = "option/tests.rs"]
mod tests;
