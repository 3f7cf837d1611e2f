//! Prefixes and routes. [RFC 4861 §4.6.2, RFC 4191 §2.3]

use core::net::Ipv6Addr;

use bitflags::bitflags;

use super::{option_type, whole};
use crate::prefix::Ipv6Prefix;
use crate::route::Preference;
use crate::time::Lifetime;
use crate::wire::field::{Writer, ipv6_at, u8_at, u32_at};

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
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
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
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
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
