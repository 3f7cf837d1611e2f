//! Address selection: which source address for a destination, and which of
//! several destinations first. [RFC 6724]
//!
//! A [`Policy`] answers both questions over plain data. It decides rule by
//! rule, and each answer names the rule that decided. Addresses of both
//! families are compared by one table: an IPv4 address counts as
//! `::ffff:192.0.2.1`. Nothing here sends or asks anybody; how a destination
//! is reached, the caller says in a [`Destination`].
//!
//! ```
//! use core::net::IpAddr;
//! use isatap_core::select::{Destination, Policy, Source};
//!
//! # fn main() -> Result<(), core::net::AddrParseError> {
//! // A host with a 6to4 address and IPv4 behind a NAT.
//! let sources = [Source::new("2002:c633:6401::2".parse()?, 64), Source::new("10.1.2.3".parse()?, 24)];
//! let mut sorted = ["2001:db8:1::1", "203.0.113.1"].map(|text| Destination::new(text.parse().unwrap()));
//! for destination in &mut sorted {
//!     destination.source = Policy::RFC6724.choose_source(destination, sources).map(|choice| choice.source);
//! }
//! Policy::RFC6724.sort(&mut sorted);
//! assert_eq!(sorted[0].address, "203.0.113.1".parse::<IpAddr>()?);
//! let (_, rule) = Policy::RFC6724.compare(&sorted[0], &sorted[1]);
//! assert_eq!(rule.number(), "5"); // the labels of 6to4 and of native addresses differ
//! # Ok(())
//! # }
//! ```
//!
//! # What follows for tunnels
//!
//! From the table of RFC 6724, which a host with a 6to4 address has to use (`S64-32`):
//!
//! - IPv4, even behind a NAT, comes before 6to4 and Teredo; 6to4 before Teredo,
//!   the last resort; ISATAP before IPv4 (`SEL-11`, `SEL-14`). RFC 3484's table
//!   put IPv4 last.
//! - ISATAP, 6rd and configured tunnels have no prefix of their own, so they rank
//!   like native IPv6, but for rule 7: [`Destination::encapsulated`] (`SEL-10`, `S6R-27`).
//! - Where both ends have 6to4 and only one has native IPv6, both use 6to4;
//!   where both have both, native (`SEL-15`).
//! - A link-local source is returned for a global destination when there is no
//!   other; rule 2 then puts that destination last, and a tunnel refuses to
//!   send there (`SEL-13`).
//!
//! # What it leaves to others
//!
//! Races between connections (RFC 8305) and policies by name are the
//! application's and the resolver's (`SEL-17`). Whether a destination is
//! reachable is the caller's to know.

mod destination;
mod scope;
mod source;
mod table;

pub use destination::{Destination, DestinationRule};
pub use scope::Scope;
pub use source::{Choice, NotACandidate, Source, SourceRule};
pub use table::{PolicyRow, PolicyTable, RFC3484, RFC6724};

use core::net::{IpAddr, Ipv6Addr};

use crate::prefix::halves;

/// What decides beside the addresses: a table, and what an RFC or a user chose.
#[derive(Clone, Copy, Debug)]
pub struct Policy<'a> {
    /// Precedence and label by prefix; the order of the rows does not matter.
    pub rows: &'a [PolicyRow],
    /// Private IPv4 addresses are site-local, as RFC 3484 §3.2 had it, not global.
    pub private_is_site_local: bool,
    /// Temporary source addresses come before public ones (RFC 6724) or after
    /// them (RFC 3484).
    pub prefers_temporary: bool,
}

impl Policy<'static> {
    /// The default policy of RFC 6724 §2.1.
    pub const RFC6724: Policy<'static> = Policy::new(&RFC6724);
    /// The default policy of RFC 3484 §2.1, which old Windows has.
    pub const RFC3484: Policy<'static> =
        Policy { rows: &RFC3484, private_is_site_local: true, prefers_temporary: false };
}

impl<'a> Policy<'a> {
    /// The scopes and choices of RFC 6724 with other rows.
    #[must_use]
    pub const fn new(rows: &'a [PolicyRow]) -> Self {
        Policy { rows, private_is_site_local: false, prefers_temporary: true }
    }

    /// The row that decides about an address: the one of the longest prefix
    /// that it lies in. `SEL-1 [RFC 6724 §2.1]`
    ///
    /// Without any, it is `::/0` with precedence 40 and label 1, as glibc has it.
    #[must_use]
    pub fn row_of(&self, address: IpAddr) -> PolicyRow {
        table::find(self.rows, &mapped(address))
    }

    /// The scope of an address. `SEL-2 [RFC 6724 §3]`
    #[must_use]
    pub fn scope_of(&self, address: IpAddr) -> Scope {
        Scope::of(&mapped(address), self.private_is_site_local)
    }
}

/// The address of one interface with which to answer `destination`: the default
/// policy without what the interface decides. `NDP-64 [RFC 6724 §5]`
pub(crate) fn source_among(sources: impl Iterator<Item = Source>, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
    let choice = Policy::RFC6724.choose_source(&Destination::new(IpAddr::V6(*destination)), sources)?;
    Some(mapped(choice.source.address))
}

/// An address of either family as an IPv6 address.
const fn mapped(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
}

/// Whether an address stands for an IPv4 address.
const fn is_mapped(address: &Ipv6Addr) -> bool {
    let (high, low) = halves(address);
    high == 0 && low >> 32 == 0xffff
}

/// How many leading bits of a source and a destination are the same, at most
/// as many as the source's prefix has. `SEL-3 [RFC 6724 §2.2]`
fn common_prefix_length(source: &Source, destination: &Ipv6Addr) -> u8 {
    let (own_high, own_low) = halves(&mapped(source.address));
    let (high, low) = halves(destination);
    let same = if own_high == high {
        (own_low ^ low).leading_zeros().saturating_add(64)
    } else {
        (own_high ^ high).leading_zeros()
    };
    let before = if source.address.is_ipv4() { 96 } else { 0 };
    u8::try_from(same).unwrap_or(u8::MAX).min(source.prefix_length.saturating_add(before))
}

#[cfg(test)]
mod tests;
