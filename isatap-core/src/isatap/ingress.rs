//! The source checks of ISATAP: one pure function a rule.
//!
//! The checks of RFC 5214 alone stop spoofing inside the site; they do not
//! stop routing loops between sites, for which see `SEC-2` and `SEC-3`
//! [RFC 6324].

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::drop_reason::DropReason;
use crate::isatap::addr::embedded_ipv4;
use crate::link::Admitted;
use crate::prefix::{Ipv4Prefix, Ipv6Prefix, halves};

/// `ff02::1`
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// `ff02::2`
pub const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);

/// `ISA-42 [RFC 5214 §7.3]`: at least one of two must hold. Either the inner
/// source is an ISATAP *address* — the identifier, on a prefix that is on-link
/// here — whose IPv4 address is the outer source; or the outer source is in
/// the potential router list, which lets a router deliver for anybody.
///
/// # Errors
/// [`DropReason::IsatapSourceMismatch`]
#[inline]
pub fn source(
    inner_source: &Ipv6Addr,
    outer_source: Ipv4Addr,
    on_link: bool,
    potential_router: bool,
) -> Result<Admitted, DropReason> {
    if potential_router {
        Ok(Admitted::Router)
    } else if on_link && embedded_ipv4(inner_source) == Some(outer_source) {
        Ok(Admitted::Host)
    } else {
        Err(DropReason::IsatapSourceMismatch)
    }
}

/// `TUN-16`: no duplicate address detection over a link without multicast, so
/// the unspecified source has no use here.
///
/// # Errors
/// [`DropReason::InnerSourceUnspecified`]
#[inline]
pub fn source_is_specified(inner_source: &Ipv6Addr) -> Result<(), DropReason> {
    if inner_source.is_unspecified() { Err(DropReason::InnerSourceUnspecified) } else { Ok(()) }
}

/// `ISA-70 [RFC 5214 §6.3]`: multicast is not supported. Solicitations to
/// all-routers reach a router, advertisements to all-nodes a host. The
/// loopback and the unspecified address are never a destination.
///
/// # Errors
/// [`DropReason::InnerDestinationRefused`]
#[inline]
pub fn destination(inner_destination: &Ipv6Addr, router: bool) -> Result<(), DropReason> {
    let (high, low) = halves(inner_destination);
    let refused = if high >> 56 == 0xff {
        *inner_destination != if router { ALL_ROUTERS } else { ALL_NODES }
    } else {
        // `::` and `::1`
        high == 0 && low <= 1
    };
    if refused { Err(DropReason::InnerDestinationRefused) } else { Ok(()) }
}

/// Whether a destination is clearly one that [`destination`] lets pass, on a
/// host and on a router; `false` says only that it must be asked.
#[inline(always)]
pub(crate) fn is_plainly_unicast(inner_destination: &Ipv6Addr) -> bool {
    let [first, ..] = inner_destination.octets();
    // Neither ff00::/8 nor 0::/8, in one comparison.
    first.wrapping_add(1) > 1
}

/// `SEC-2 [RFC 6324 §3.2.5]`: the site's IPv4 prefixes, when they are listed,
/// are the only ones that hosts speak from and are spoken to at.
///
/// # Errors
/// [`DropReason::NotAMember`]
#[inline]
pub fn member(address: Ipv4Addr, members: &[Ipv4Prefix]) -> Result<(), DropReason> {
    if members.is_empty() || members.iter().any(|prefix| prefix.contains(address)) {
        Ok(())
    } else {
        Err(DropReason::NotAMember)
    }
}

/// `ISA-43 [RFC 5214 §8.3.3]`: an advertisement counts when its source is a
/// link-local ISATAP address that embeds a potential router's IPv4 address,
/// of either u bit. Ours to add: that router is the outer source too.
///
/// # Errors
/// [`DropReason::RaNotFromRouter`]
pub fn advertisement(source: &Ipv6Addr, outer_source: Ipv4Addr, from: Admitted) -> Result<(), DropReason> {
    let link_local = Ipv6Prefix::LINK_LOCAL.contains(source);
    if from == Admitted::Router && link_local && embedded_ipv4(source) == Some(outer_source) {
        Ok(())
    } else {
        Err(DropReason::RaNotFromRouter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of the three conditions fails once.
    #[test]
    fn isa_43_an_advertisement_is_a_potential_routers_own() {
        let outer = Ipv4Addr::new(10, 0, 0, 1);
        let refused = Err(DropReason::RaNotFromRouter);
        for (source, from, expected) in [
            ("fe80::5efe:10.0.0.1", Admitted::Router, Ok(())),
            ("fe80::200:5efe:10.0.0.1", Admitted::Router, Ok(())),
            ("fe80::5efe:10.0.0.1", Admitted::Host, refused),
            ("fe80::5efe:10.0.0.9", Admitted::Router, refused),
            ("fe80::1", Admitted::Router, refused),
            ("2001:db8::5efe:10.0.0.1", Admitted::Router, refused),
            ("2001:db8::5efe:10.0.0.9", Admitted::Router, refused),
            ("2001:db8::5efe:10.0.0.1", Admitted::Host, refused),
            ("fe80::1", Admitted::Host, refused),
        ] {
            assert_eq!(advertisement(&source.parse().unwrap(), outer, from), expected, "{source} {from:?}");
        }
    }
}
