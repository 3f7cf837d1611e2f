//! The checks of 6to4, in both directions: one pure function a rule.
//!
//! RFC 3964 names them; RFC 3056 §9 asks for the first. With them nobody can
//! speak as a 6to4 site but the site; packets with native sources stay
//! unverified (`S64-24`).

use core::net::{Ipv4Addr, Ipv6Addr};

use super::addr::{ANYCAST_RELAY, embedded_ipv4};
use crate::drop_reason::DropReason;
use crate::link::Admitted;
use crate::prefix::special::{Kinds, has_ipv4};
use crate::prefix::{Ipv4Prefix, halves};
use crate::proto41::Flow;

/// Whether an IPv4 address may stand in the outer header and in a `2002::/16`
/// address. Directed broadcast addresses of attached subnets may not either,
/// but only the link knows them. `S64-14 [RFC 3964 §5.3.1]`
///
/// `accept_bogons`, for labs: private addresses count as global, and so do
/// 100.64/10, 192.0.0/24, 198.18/15 and the documentation prefixes, which
/// RFC 3964 does not list although they are not global. Never loopback,
/// 169.254/16, multicast, 0/8 or 240/4.
/// 192.88.99.1 may stand anywhere: relays answer from it. [RFC 7526 §6]
#[inline]
#[must_use]
pub const fn is_usable(ipv4: Ipv4Addr, accept_bogons: bool) -> bool {
    if accept_bogons {
        !has_ipv4::<{ NO_HOST.bits() }>(ipv4)
    } else {
        !has_ipv4::<{ NO_HOST.union(Kinds::BOGON).bits() }>(ipv4)
    }
}

const NO_HOST: Kinds = Kinds::NEVER_UNICAST.union(Kinds::LINK_LOCAL);

/// Whether a node may take `ipv4` for its own site. `S64-1 [RFC 3056 §2;
/// RFC 6343 §4.1]`: a global unicast address. The anycast relay's address is
/// only an anycast relay's. `S64-36`: no look at the address tells a global
/// one from one behind a carrier's NAT; that is what the probe is for.
#[must_use]
pub const fn locator(ipv4: Ipv4Addr, accept_bogons: bool) -> bool {
    is_usable(ipv4, accept_bogons) && ipv4.to_bits() != ANYCAST_RELAY.to_bits()
}

/// `S64-20 [RFC 3964 §5.3.1]`: the outer addresses of a packet that came in.
///
/// # Errors
/// [`DropReason::SixToFourOuterRefused`]
#[inline]
pub fn outer(flow: &Flow, accept_bogons: bool) -> Result<(), DropReason> {
    if is_usable(flow.outer_source, accept_bogons) && is_usable(flow.outer_destination, accept_bogons) {
        Ok(())
    } else {
        Err(DropReason::SixToFourOuterRefused)
    }
}

/// `S64-11`, `S64-20 [RFC 3964 §5.3.2]`: an inner source or destination.
/// Refused are `::/16`, and with it `::`, `::1`, IPv4-compatible and
/// IPv4-mapped addresses, then `fe80::/10`, `fec0::/10` and `ff00::/8`.
/// `S64-4`: so there is no multicast, and no use for link-local addresses.
///
/// # Errors
/// [`DropReason::SixToFourInnerRefused`]
#[inline]
pub fn inner(address: &Ipv6Addr) -> Result<(), DropReason> {
    let (high, _) = halves(address);
    let first = high >> 48;
    if first == 0 || first >> 7 == 0x1fd || first >> 8 == 0xff {
        Err(DropReason::SixToFourInnerRefused)
    } else {
        Ok(())
    }
}

/// `S64-14 [RFC 3056 §9; RFC 3964 §5.3.2]`: the IPv4 address in a 6to4
/// address; any other address passes.
///
/// # Errors
/// [`DropReason::SixToFourEmbeddedRefused`]
#[inline]
pub fn embedded(address: &Ipv6Addr, accept_bogons: bool) -> Result<(), DropReason> {
    match embedded_ipv4(address) {
        Some(ipv4) if !is_usable(ipv4, accept_bogons) => Err(DropReason::SixToFourEmbeddedRefused),
        _ => Ok(()),
    }
}

/// `S64-20 [RFC 3964 §5.2]`: a 6to4 source is that of the node which sent the
/// outer packet, which FreeBSD does not compare. Whether a relay must have
/// sent it is the answer.
///
/// # Errors
/// [`DropReason::SixToFourSourceMismatch`]
#[inline]
pub fn source(flow: &Flow) -> Result<Admitted, DropReason> {
    match embedded_ipv4(&flow.inner_source) {
        Some(ipv4) if ipv4 == flow.outer_source => Ok(Admitted::Host),
        Some(_) => Err(DropReason::SixToFourSourceMismatch),
        // S64-24 [RFC 3964 §4.1.2]: any relay may have sent it.
        None => Ok(Admitted::UnverifiedRelay),
    }
}

/// `S64-20 [RFC 3964 §5.2]`: a 6to4 destination is that of the node which the
/// outer packet was sent to.
///
/// # Errors
/// [`DropReason::SixToFourDestinationMismatch`]
#[inline]
pub fn destination(flow: &Flow) -> Result<(), DropReason> {
    match embedded_ipv4(&flow.inner_destination) {
        Some(ipv4) if ipv4 != flow.outer_destination => Err(DropReason::SixToFourDestinationMismatch),
        _ => Ok(()),
    }
}

/// `S64-11`, `S64-20 [RFC 3964 §5.1, §5.2]`: one of the two is a 6to4
/// address.
///
/// # Errors
/// [`DropReason::NativeToNative`]
#[inline]
pub fn one_is_sixtofour(source: &Ipv6Addr, destination: &Ipv6Addr) -> Result<(), DropReason> {
    if embedded_ipv4(source).is_none() && embedded_ipv4(destination).is_none() {
        Err(DropReason::NativeToNative)
    } else {
        Ok(())
    }
}

/// `S64-21 [RFC 3964 §3.1]`: a router takes packets for its own site only.
/// That they did not come from another site by a relay follows from
/// [`source`].
///
/// # Errors
/// [`DropReason::OutsideSite`]
#[inline]
pub fn in_site(flow: &Flow) -> Result<(), DropReason> {
    // That the IPv4 address is ours was asked before.
    if embedded_ipv4(&flow.inner_destination) == Some(flow.outer_destination) {
        Ok(())
    } else {
        Err(DropReason::OutsideSite)
    }
}

/// `S64-22 [RFC 3964 §3.2]`: a relay carries nothing from one 6to4 site to
/// another. `local`: the destination is the relay itself.
///
/// # Errors
/// [`DropReason::SixToFourToSixToFour`]
#[inline]
pub fn leaves_sixtofour(flow: &Flow, local: bool) -> Result<(), DropReason> {
    if embedded_ipv4(&flow.inner_destination).is_some() && !local {
        Err(DropReason::SixToFourToSixToFour)
    } else {
        Ok(())
    }
}

/// `S64-22 [RFC 3964 §3.2]`: a relay sends into the tunnel only what is for a
/// 6to4 site; other relays are no way to native destinations.
///
/// # Errors
/// [`DropReason::NativeToNative`]
#[inline]
pub fn enters_sixtofour(destination: &Ipv6Addr) -> Result<(), DropReason> {
    if embedded_ipv4(destination).is_some() { Ok(()) } else { Err(DropReason::NativeToNative) }
}

/// `S64-24 [RFC 3964 §4.1.2]`: the relays that native packets are accepted
/// from, when they are listed; replies come from 192.88.99.1 too.
///
/// # Errors
/// [`DropReason::NotARelay`]
#[inline]
pub fn relay(outer_source: Ipv4Addr, relays: &[Ipv4Addr]) -> Result<(), DropReason> {
    if relays.is_empty() || outer_source == ANYCAST_RELAY || relays.contains(&outer_source) {
        Ok(())
    } else {
        Err(DropReason::NotARelay)
    }
}

/// `S64-46 [RFC 3056 §5.2.2.1]`: the 6to4 routers that a relay serves, when
/// they are listed.
///
/// # Errors
/// [`DropReason::NotAClient`]
#[inline]
pub fn client(router: Ipv4Addr, clients: &[Ipv4Prefix]) -> Result<(), DropReason> {
    if clients.is_empty() || clients.iter().any(|prefix| prefix.contains(router)) {
        Ok(())
    } else {
        Err(DropReason::NotAClient)
    }
}

/// `S64-13 [RFC 3964 §3.1]`: what is for another site goes to that site, not
/// to a relay.
///
/// # Errors
/// [`DropReason::SixToFourByRelay`]
#[inline]
pub fn direct(destination: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<(), DropReason> {
    match embedded_ipv4(destination) {
        Some(ipv4) if embedded_ipv4(next_hop) != Some(ipv4) => Err(DropReason::SixToFourByRelay),
        _ => Ok(()),
    }
}
