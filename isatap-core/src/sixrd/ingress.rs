//! The checks of 6rd, one pure function a rule.
//!
//! A border relay lets a customer speak for its own delegated prefix only;
//! customer edges believe the border relays in everything else.
//! [RFC 5969 §9.2, §12]

use core::net::{Ipv4Addr, Ipv6Addr};

use super::addr::Domain;
use crate::drop_reason::DropReason;
use crate::link::Admitted;
use crate::prefix::special::{Kinds, has_ipv4};
use crate::prefix::{Ipv6Prefix, is_plainly_global};
use crate::proto41::Flow;

/// `S6R-22`, `S6R-31 [RFC 5969 §9.2]`: the inner source is the customer
/// edge's which sent the outer packet.
///
/// # Errors
/// [`DropReason::SixRdSourceMismatch`]
#[inline]
pub fn source(domain: &Domain, flow: &Flow) -> Result<Admitted, DropReason> {
    if domain.embedded_ipv4(&flow.inner_source) == Some(flow.outer_source) {
        Ok(Admitted::Host)
    } else {
        Err(DropReason::SixRdSourceMismatch)
    }
}

/// `S6R-22 [RFC 5969 §9.2]`: a customer edge lets in what a border relay
/// sends, whatever the inner source; else [`source`] decides. For native
/// sources nobody but the relay vouches, wherever they came to it from.
///
/// # Errors
/// [`DropReason::SixRdSourceMismatch`]
#[inline]
pub fn source_at_edge(domain: &Domain, flow: &Flow, relays: &[Ipv4Addr]) -> Result<Admitted, DropReason> {
    if !relays.contains(&flow.outer_source) {
        source(domain, flow)
    } else if domain.prefix().contains(&flow.inner_source) {
        // S6R-31, S6R-35: the relay has looked.
        Ok(Admitted::Router)
    } else {
        Ok(Admitted::Relay)
    }
}

/// `S6R-22`, the knob `strict_siblings`: from the border relay come its own
/// address and our own probe, and nothing else of the domain. Linux refuses
/// even those.
///
/// # Errors
/// [`DropReason::SiblingByRelay`]
#[inline]
pub fn no_sibling(domain: &Domain, flow: &Flow, own: &Ipv6Prefix) -> Result<(), DropReason> {
    let source = &flow.inner_source;
    let by_relay = domain.delegated(flow.outer_source).contains(source) || own.contains(source);
    if domain.prefix().contains(source) && !by_relay { Err(DropReason::SiblingByRelay) } else { Ok(()) }
}

/// `S6R-23 [RFC 5969 §9.2]`: a customer edge takes packets for its own
/// delegated prefix only.
///
/// # Errors
/// [`DropReason::OutsideDelegation`]
#[inline]
pub fn destination(flow: &Flow, own: &Ipv6Prefix) -> Result<(), DropReason> {
    if own.contains(&flow.inner_destination) { Ok(()) } else { Err(DropReason::OutsideDelegation) }
}

/// `S6R-26 [RFC 5969 §9]`: no link-local addresses in the tunnel; nor the
/// unspecified one, for which an automatic tunnel has no use (`TUN-16`).
///
/// # Errors
/// [`DropReason::InnerSourceRefused`], [`DropReason::InnerSourceUnspecified`],
/// [`DropReason::InnerDestinationRefused`]
#[inline]
pub fn scope(source: &Ipv6Addr, destination: &Ipv6Addr) -> Result<(), DropReason> {
    if is_plainly_global(source) && is_plainly_global(destination) {
        Ok(())
    } else if source.is_unspecified() {
        Err(DropReason::InnerSourceUnspecified)
    } else if source.is_unicast_link_local() || source.is_multicast() {
        Err(DropReason::InnerSourceRefused)
    } else if destination.is_unicast_link_local()
        || destination.is_multicast()
        || destination.is_loopback()
        || destination.is_unspecified()
    {
        Err(DropReason::InnerDestinationRefused)
    } else {
        Ok(())
    }
}

/// `S6R-33 [RFC 5969 §12]`, `SEC-4`: other tunnel routers are no customers,
/// as far as they are known; nor are the relays of 6to4, 192.88.99/24.
///
/// # Errors
/// [`DropReason::KnownRouter`]
#[inline]
pub fn customer(outer: Ipv4Addr, routers: &[Ipv4Addr]) -> Result<(), DropReason> {
    if is_sixtofour_relay(outer) || routers.contains(&outer) { Err(DropReason::KnownRouter) } else { Ok(()) }
}

/// Whether the address is one of 6to4 relays.
#[inline]
pub(super) const fn is_sixtofour_relay(outer: Ipv4Addr) -> bool {
    has_ipv4::<{ Kinds::RELAY.bits() }>(outer)
}
