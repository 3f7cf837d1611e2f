//! How far an address reaches.

use core::fmt;
use core::net::Ipv6Addr;

use crate::prefix::halves;

/// How far an address reaches: the larger, the farther. The numbers are those
/// of multicast addresses. [RFC 4291 §2.7]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Scope(pub u8);

impl Scope {
    /// One link; loopback too.
    pub const LINK_LOCAL: Scope = Scope(2);
    /// One site: `fec0::/10`, deprecated, and groups.
    pub const SITE_LOCAL: Scope = Scope(5);
    /// Everything.
    pub const GLOBAL: Scope = Scope(14);

    /// The scope of an address, IPv4 ones as `::ffff:0:0/96`. `SEL-2 [RFC 6724 §3]`
    ///
    /// Unique local, 6to4 and Teredo addresses are global. An interface
    /// identifier says nothing, not even ISATAP's.
    pub(super) const fn of(address: &Ipv6Addr, private_is_site_local: bool) -> Self {
        let (high, low) = halves(address);
        match high >> 54 {
            // fe80::/10, fec0::/10
            0x3fa => return Scope::LINK_LOCAL,
            0x3fb => return Scope::SITE_LOCAL,
            _ => {}
        }
        if high >> 56 == 0xff {
            let [_, flags_and_scope, ..] = address.octets();
            return Scope(flags_and_scope & 0xf);
        }
        if high != 0 {
            return Scope::GLOBAL;
        }
        let [.., a, b, _, _] = address.octets();
        match low >> 32 {
            // ::1
            0 if low == 1 => Scope::LINK_LOCAL,
            0xffff if a == 127 || (a == 169 && b == 254) => Scope::LINK_LOCAL,
            0xffff if private_is_site_local => {
                if a == 10 || (a == 172 && b >> 4 == 1) || (a == 192 && b == 168) {
                    Scope::SITE_LOCAL
                } else {
                    Scope::GLOBAL
                }
            }
            _ => Scope::GLOBAL,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Scope::LINK_LOCAL => f.write_str("link-local"),
            Scope::SITE_LOCAL => f.write_str("site-local"),
            Scope::GLOBAL => f.write_str("global"),
            Scope(number) => write!(f, "scope {number}"),
        }
    }
}
