//! Every IPv4 address hidden in an IPv6 address, and which form hides it.
//!
//! # For people who write SSRF filters
//!
//! A server that fetches what its users name must not be talked into
//! fetching from its own network. Most filters look at the address and
//! refuse private ones. They forget that an IPv6 address can *be* an IPv4
//! address, for a router, a translator or the host's own tunnel interface on
//! the way:
//!
//! | text | what a node with that mechanism connects to | form |
//! |---|---|---|
//! | `::ffff:127.0.0.1` | 127.0.0.1, on every host: the kernel speaks IPv4 | IPv4-mapped, RFC 4291 §2.5.5.2 |
//! | `::10.0.0.1` | 10.0.0.1, by automatic tunnelling | IPv4-compatible, RFC 4291 §2.5.5.1 |
//! | `::ffff:0:10.0.0.1` | 10.0.0.1, by a stateless translator | IPv4-translated, RFC 2765 §2.1 |
//! | `64:ff9b::a00:1` | 10.0.0.1, by NAT64 | RFC 6052; `64:ff9b:1::/48` RFC 8215; and whatever prefix the network chose |
//! | `2002:7f00:1::` | 127.0.0.1, by a 6to4 router | RFC 3056 §2 |
//! | `2606:4700::5efe:a00:1` | 10.0.0.1, on a host with that prefix on its ISATAP link | RFC 5214 §6.1 |
//! | `2001:0:8e0:1:0:ffff:f5ff:fffe` | 10.0.0.1 by UDP, and the server 8.224.0.1 | Teredo, RFC 4380 §4 |
//! | `2001:db8:6464:100::1` | 10.100.100.1, in a 6rd domain of 2001:db8::/32 | RFC 5969 §4 |
//!
//! Ask [`permits`]: it asks your rule about the address itself **and** about
//! every IPv4 address in it, so that an address without one is not let in for
//! want of anything to refuse.
//!
//! ```
//! use core::net::IpAddr;
//! use isatap_core::embedded::{Known, permits};
//! use isatap_core::prefix::is_public;
//!
//! fn may_connect(ip: IpAddr) -> bool {
//!     permits(ip, &Known::NONE, is_public)
//! }
//! assert!(!may_connect("2002:7f00:1::".parse()?));                 // 6to4 of 127.0.0.1
//! assert!(!may_connect("2606:4700::5efe:a00:1".parse()?));         // 10.0.0.1 behind an ISATAP identifier
//! assert!(!may_connect("2001:0:8e0:1:0:ffff:f5ff:fffe".parse()?)); // a Teredo client that claims to be 10.0.0.1
//! assert!(!may_connect("::ffff:169.254.169.254".parse()?));        // a cloud's metadata service
//! assert!(may_connect("2606:4700:4700::1111".parse()?));
//! # Ok::<(), core::net::AddrParseError>(())
//! ```
//!
//! The classic mistakes, each of which was somebody's advisory:
//!
//! 1. **Checking the text.** `http://0x7f.1/`, `::ffff:7f00:1` and
//!    `0:0:0:0:0:ffff:127.0.0.1` are one host. Parse first, check the parsed
//!    address.
//! 2. **Checking the name, connecting by name.** The second look-up can give
//!    another answer (DNS rebinding). Resolve once, check every address,
//!    connect to an address that was checked.
//! 3. **Checking the first address.** The library under you tries them all.
//! 4. **Following redirects unchecked.** Each `Location` is a new target: a
//!    new name, a new resolution, a new check.
//! 5. **A resolver hook taken for the filter.** HTTP clients do not ask it
//!    about hosts that are numbers: `http://127.0.0.1`, `http://2130706433`,
//!    `http://0x7f.1` and `http://[::ffff:127.0.0.1]` go past it.
//! 6. **A proxy from the environment**, which connects in the filter's place.
//! 7. **A list of what is bad.** `is_loopback`, `is_private` and friends of
//!    most standard libraries know nothing of the forms above. Say what is
//!    good ([`is_public`](crate::prefix::is_public)) and ask it about
//!    everything.
//! 8. **An empty answer taken for yes.** `embedded_ipv4s(a).all(ok)` is true
//!    for `fe80::1` and for `fd00::1`: nothing is embedded. Hence [`permits`].
//! 9. **Forgetting your own network's prefixes.** `Known` takes the NAT64
//!    prefixes and 6rd domains that are in use where the filter runs; an
//!    address alone does not show them. (RFC 7050 tells a host its NAT64
//!    prefix.)
//! 10. **Believing that tunnels are gone.** A form is refused here whether or
//!     not this host has such an interface: the next router may.
//! 11. **Forgetting 0.0.0.0.** `0.0.0.0` and `::` reach the local host on
//!     Linux. Neither is public.
//! 12. **Filtering only connects.** A PAC file or a `Host` header sees names
//!     again. An egress firewall remains the second line.
//!
//! `examples/filters` has a client without them for the standard library,
//! ureq, hyper and reqwest, and tests that show each library's own mistake.
//!
//! What an address cannot show: names that resolve inwards by way of a public
//! address (a reverse proxy, NAT hairpins), and translators whose prefix
//! nobody told you about.
//!
//! `isatap-core/tests/vectors/embedded.json` has addresses and what is in
//! them for projects in other languages.

mod nat64;

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::prefix::{Ipv6Prefix, halves};
use crate::{isatap, sixrd, sixtofour, teredo};

pub use nat64::{LOCAL_USE, Nat64Prefix, WELL_KNOWN};

/// Whether `allow` says yes to `address` and to every IPv4 address in it.
///
/// An IPv4-mapped address is asked as the IPv4 address that it is, and not as
/// itself. `allow` is not asked further after its first no. The answer is no,
/// too, when there are more than [`EmbeddedIpv4s::MAX`] to ask about.
pub fn permits(address: IpAddr, known: &Known<'_>, mut allow: impl FnMut(IpAddr) -> bool) -> bool {
    let IpAddr::V6(ipv6) = address else { return allow(address) };
    let mut inside = embedded_ipv4s(ipv6, known);
    inside.is_complete()
        && (ipv6.to_ipv4_mapped().is_some() || allow(address))
        && inside.all(|embedded| allow(IpAddr::V4(embedded.address)))
}

/// Every IPv4 address in `address`, the one in the most significant bits
/// first.
///
/// What is found may be any IPv4 address, a private one, multicast or
/// 0.0.0.0: judging it is the caller's, by way of [`permits`] at best.
#[must_use]
pub fn embedded_ipv4s(address: Ipv6Addr, known: &Known<'_>) -> EmbeddedIpv4s {
    let mut found = EmbeddedIpv4s::NONE;
    let (high, low) = halves(&address);
    given(&mut found, &address, known);
    match high >> 48 {
        0 if high == 0 => ipv4_in_zeros(&mut found, low),
        0x64 => translated(&mut found, &address),
        0x2001 | 0x3ffe => teredo_address(&mut found, &address),
        0x2002 => {
            if let Some(ipv4) = sixtofour::addr::embedded_ipv4(&address) {
                found.push(Embedded::new(ipv4, Form::SixToFour));
            }
        }
        0xfe80 if high == Ipv6Prefix::LINK_LOCAL.high() => link_local(&mut found, &address),
        _ => {}
    }
    // ISA-3, ISA-4 [RFC 5214 §6.1]: either u bit, any unicast prefix.
    if high >> 56 != 0xff
        && let Some(ipv4) = isatap::addr::embedded_ipv4(&address)
    {
        found.push(Embedded::new(ipv4, Form::Isatap));
    }
    found
}

/// What is known of the network around, and no address shows by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Known<'a> {
    /// Prefixes of translators, beside the two of everybody.
    pub nat64: &'a [Nat64Prefix],
    /// 6rd domains. 6to4 is known to all and need not be among them.
    pub sixrd: &'a [sixrd::addr::Domain],
}

impl Known<'_> {
    /// Nothing but the standards.
    pub const NONE: Known<'static> = Known { nat64: &[], sixrd: &[] };
}

/// An IPv4 address in an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Embedded {
    /// The IPv4 address.
    pub address: Ipv4Addr,
    /// The UDP port that stands with it, of Teredo clients and in Teredo
    /// link-local addresses.
    pub port: Option<u16>,
    /// What hides it.
    pub form: Form,
    /// Whose it is.
    pub role: Role,
}

impl Embedded {
    const fn new(address: Ipv4Addr, form: Form) -> Self {
        Embedded { address, port: None, form, role: Role::Embedded }
    }
}

/// The ways to write an IPv4 address into an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Form {
    /// An ISATAP interface identifier. [RFC 5214 §6.1]
    Isatap,
    /// `2002::/16`. [RFC 3056 §2]
    SixToFour,
    /// A given 6rd domain. [RFC 5969 §4]
    SixRd,
    /// `2001:0::/32`, the older `3ffe:831f::/32`, or a Teredo identifier under
    /// `fe80::/64`. [RFC 4380 §4]
    Teredo,
    /// `::ffff:0:0/96`. [RFC 4291 §2.5.5.2]
    Mapped,
    /// `::/96` without `::` and `::1`. [RFC 4291 §2.5.5.1]
    Compatible,
    /// `::ffff:0:0:0/96`. [RFC 2765 §2.1]
    Translated,
    /// `64:ff9b::/96`, `64:ff9b:1::/48` or a given prefix. [RFC 6052, 8215]
    Nat64,
    /// The link-local address of a configured tunnel. [RFC 4213 §3.7]
    Configured,
}

impl Form {
    /// The form in kebab-case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Form::Isatap => "isatap",
            Form::SixToFour => "6to4",
            Form::SixRd => "6rd",
            Form::Teredo => "teredo",
            Form::Mapped => "ipv4-mapped",
            Form::Compatible => "ipv4-compatible",
            Form::Translated => "ipv4-translated",
            Form::Nat64 => "nat64",
            Form::Configured => "configured-link-local",
        }
    }

    /// The section that defines the form.
    #[must_use]
    pub const fn rfc(self) -> &'static str {
        match self {
            Form::Isatap => "RFC 5214 §6.1",
            Form::SixToFour => "RFC 3056 §2",
            Form::SixRd => "RFC 5969 §4",
            Form::Teredo => "RFC 4380 §4",
            Form::Mapped => "RFC 4291 §2.5.5.2",
            Form::Compatible => "RFC 4291 §2.5.5.1",
            Form::Translated => "RFC 2765 §2.1",
            Form::Nat64 => "RFC 6052 §2.2",
            Form::Configured => "RFC 4213 §3.7",
        }
    }
}

/// Whose an embedded IPv4 address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The node's, or of the router in front of it.
    Embedded,
    /// That of the Teredo server.
    Server,
    /// That which a NAT shows of the Teredo client.
    Client,
}

impl Role {
    /// The role, for machines; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Embedded => "embedded",
            Role::Server => "server",
            Role::Client => "client",
        }
    }
}

/// The IPv4 addresses in an address: an iterator.
#[derive(Clone, Debug)]
pub struct EmbeddedIpv4s {
    found: [Embedded; EmbeddedIpv4s::MAX],
    next: usize,
    len: usize,
    is_complete: bool,
}

impl EmbeddedIpv4s {
    /// The most that are listed. The standards alone make at most 4 of one
    /// address; each given prefix or domain can add one.
    pub const MAX: usize = 16;

    const NONE: Self = EmbeddedIpv4s {
        found: [Embedded::new(Ipv4Addr::UNSPECIFIED, Form::Compatible); EmbeddedIpv4s::MAX],
        next: 0,
        len: 0,
        is_complete: true,
    };

    /// Whether all are listed: false when given prefixes and domains made
    /// more than [`MAX`](Self::MAX).
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Those not yet taken.
    #[must_use]
    pub fn as_slice(&self) -> &[Embedded] {
        self.found.get(self.next..self.len).unwrap_or(&[])
    }

    fn push(&mut self, embedded: Embedded) {
        if self.as_slice().contains(&embedded) {
            return;
        }
        match self.found.get_mut(self.len) {
            Some(place) => {
                *place = embedded;
                self.len = self.len.saturating_add(1);
            }
            None => self.is_complete = false,
        }
    }
}

impl Iterator for EmbeddedIpv4s {
    type Item = Embedded;

    fn next(&mut self) -> Option<Embedded> {
        let embedded = *self.as_slice().first()?;
        self.next = self.next.saturating_add(1);
        Some(embedded)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.as_slice().len(), Some(self.as_slice().len()))
    }
}

impl ExactSizeIterator for EmbeddedIpv4s {}
impl core::iter::FusedIterator for EmbeddedIpv4s {}

/// The mechanism that forwards packets to an address, as far as the address
/// alone says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `2002::/16`, whatever the identifier.
    SixToFour,
    /// `2001:0::/32`, whatever the identifier.
    Teredo,
    /// An ISATAP identifier under any other unicast prefix.
    Isatap,
    /// None of these.
    Other,
}

/// Sorts an address by its form: two loads and three comparisons, for paths
/// that do this to every packet.
#[inline]
#[must_use]
pub const fn classify(address: &Ipv6Addr) -> Kind {
    let (high, low) = halves(address);
    if high >> 48 == 0x2002 {
        Kind::SixToFour
    } else if high >> 32 == 0x2001_0000 {
        Kind::Teredo
    } else if low >> 32 & 0xfdff_ffff == 0x5efe && high >> 56 != 0xff {
        Kind::Isatap
    } else {
        Kind::Other
    }
}

/// The forms that are known here only.
fn given(found: &mut EmbeddedIpv4s, address: &Ipv6Addr, known: &Known<'_>) {
    for domain in known.sixrd {
        // S6R-3 [RFC 5969 §4]
        if let Some(ipv4) = domain.embedded_ipv4(address) {
            found.push(Embedded::new(ipv4, Form::SixRd));
        }
    }
    for prefix in known.nat64 {
        // N64-1, N64-4 [RFC 6052 §2.2]
        if let Some(ipv4) = prefix.embedded_ipv4(address) {
            found.push(Embedded::new(ipv4, Form::Nat64));
        }
    }
}

/// The three forms behind 64 zero bits.
#[expect(clippy::as_conversions, reason = "the lower 32 bits are meant")]
fn ipv4_in_zeros(found: &mut EmbeddedIpv4s, low: u64) {
    let ipv4 = Ipv4Addr::from_bits(low as u32);
    match low >> 32 {
        0xffff => found.push(Embedded::new(ipv4, Form::Mapped)),
        0xffff_0000 => found.push(Embedded::new(ipv4, Form::Translated)),
        // TUN-70, TUN-72: `::` and `::1` are no IPv4 addresses.
        0 if low > 1 => found.push(Embedded::new(ipv4, Form::Compatible)),
        _ => {}
    }
}

/// The two prefixes that every translator may use.
fn translated(found: &mut EmbeddedIpv4s, address: &Ipv6Addr) {
    if let Some(ipv4) = WELL_KNOWN.embedded_ipv4(address) {
        found.push(Embedded::new(ipv4, Form::Nat64));
    }
    if !LOCAL_USE.contains(address) {
        return;
    }
    // [RFC 8215 §3] leaves the length to the network: each reading counts,
    // but for those that are 0/8, of which the suffix of a shorter and the
    // prefix of a longer reading is full.
    for length in [48, 56, 64] {
        if let Some(ipv4) = nat64::read(address, length).filter(is_not_this_network) {
            found.push(Embedded::new(ipv4, Form::Nat64));
        }
    }
    if let Some(ipv4) = nat64::read(address, 96).filter(|ipv4| is_not_this_network(ipv4) || found.len == 0) {
        found.push(Embedded::new(ipv4, Form::Nat64));
    }
}

/// Both addresses of a Teredo address, of either prefix.
fn teredo_address(found: &mut EmbeddedIpv4s, address: &Ipv6Addr) {
    // TER-4 [RFC 4380 §4]: whatever the flags are. TER-7: whatever the prefix.
    let read = teredo::addr::Address::from_ipv6(address).or(teredo::addr::Address::from_obsolete_ipv6(address));
    if let Some(read) = read {
        found.push(Embedded { role: Role::Server, ..Embedded::new(read.server, Form::Teredo) });
        let client = Embedded::new(read.client, Form::Teredo);
        found.push(Embedded { role: Role::Client, port: Some(read.port), ..client });
    }
}

/// The two forms under `fe80::/64`; the third is ISATAP.
#[expect(clippy::as_conversions, reason = "the lower 32 bits are meant")]
fn link_local(found: &mut EmbeddedIpv4s, address: &Ipv6Addr) {
    let (_, low) = halves(address);
    if low >> 32 == 0 {
        // TUN-61 [RFC 4213 §3.7]: but fe80::1 is what people write by hand.
        let ipv4 = Ipv4Addr::from_bits(low as u32);
        if is_not_this_network(&ipv4) {
            found.push(Embedded::new(ipv4, Form::Configured));
        }
    } else {
        teredo_identifier(found, address);
    }
}

/// A Teredo identifier where no prefix says that it is one.
///
/// `TER-5`: taken for one are those whose only flag is C, with an IPv4
/// address that can be one, and no trace of an EUI-64 (`ff:fe` in the
/// middle). The addresses from which clients solicit have none.
fn teredo_identifier(found: &mut EmbeddedIpv4s, address: &Ipv6Addr) {
    let (flags, port, ipv4) = teredo::addr::read_identifier(address);
    let (_, low) = halves(address);
    let first = ipv4.to_bits() >> 24;
    let is_plain = flags.bits() & !teredo::addr::Flags::CONE.bits() == 0;
    let is_by_hand = low >> 32 == 0;
    let is_eui64 = low >> 24 & 0xffff == 0xfffe;
    let is_xp_client = low & 0xffff_ffff_ffff == 0x5445_5245_444f;
    if is_plain && (1..240).contains(&first) && !is_by_hand && !is_eui64 && !is_xp_client {
        let is_server = port == teredo::addr::SERVER_PORT && flags.contains(teredo::addr::Flags::CONE);
        let role = if is_server { Role::Server } else { Role::Client };
        found.push(Embedded { role, port: Some(port), ..Embedded::new(ipv4, Form::Teredo) });
    }
}

/// Whether an address is outside of 0/8, which numbers small and written by
/// hand fall into.
fn is_not_this_network(ipv4: &Ipv4Addr) -> bool {
    ipv4.to_bits() >> 24 != 0
}

#[cfg(test)]
mod tests;
