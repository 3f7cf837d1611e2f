//! DNS servers and search domains. [RFC 8106 §5]

use core::fmt;
use core::net::Ipv6Addr;

use super::{option_type, whole, writer_length};
use crate::time::Lifetime;
use crate::wire::field::{Writer, ipv6_at, u32_at};

/// DNS servers. [RFC 8106 §5.1]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RecursiveDnsServers<'a> {
    lifetime: Lifetime,
    addresses: &'a [u8],
}

impl<'a> RecursiveDnsServers<'a> {
    /// NDP-13 [RFC 8106 §5.3.1]: an odd length of at least 3 units, and
    /// unicast addresses only.
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
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
    pub(super) fn read(bytes: &'a [u8]) -> Option<Self> {
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
