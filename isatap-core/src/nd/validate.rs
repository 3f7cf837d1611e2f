//! Which received messages count. [RFC 4861 §6.1, 7.1, 8.1; RFC 6980 §5]
//!
//! One pure function a message. What fails is dropped without an answer;
//! the [`DropReason`] is for the counter. Whether the sender may be a router
//! (ISA-43), whether it is the first hop (ISA-46), whether this node is a
//! router at all (NDP-25) and whether the target is its own (NDP-68) are the
//! caller's to ask.

use core::net::Ipv6Addr;

use super::message::{
    self, Message, NeighborAdvertisement, NeighborFlags, NeighborSolicitation, Redirect, RouterAdvertisement,
    RouterSolicitation,
};
use super::option::option_type;
use crate::drop_reason::DropReason;
use crate::error::ParseError;
use crate::prefix::Ipv6Prefix;
use crate::wire::icmpv6::Message as Icmpv6;

/// An ICMPv6 message and what its IPv6 header said.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The IPv6 source.
    pub source: Ipv6Addr,
    /// The IPv6 destination.
    pub destination: Ipv6Addr,
    /// The hop limit as received.
    pub hop_limit: u8,
    /// Whether the packet had a fragment header, even one of a whole packet.
    pub fragmented: bool,
    /// From the ICMPv6 type byte to the end of the payload.
    pub icmpv6: &'a [u8],
}

/// A valid message, whichever of the five it is.
///
/// # Errors
/// The first rule that it breaks.
pub fn message<'a>(received: &Received<'a>) -> Result<Message<'a>, DropReason> {
    match received.icmpv6.first().copied() {
        Some(Icmpv6::ROUTER_SOLICITATION) => router_solicitation(received).map(Message::RouterSolicitation),
        Some(Icmpv6::ROUTER_ADVERTISEMENT) => router_advertisement(received).map(Message::RouterAdvertisement),
        Some(Icmpv6::NEIGHBOR_SOLICITATION) => neighbor_solicitation(received).map(Message::NeighborSolicitation),
        Some(Icmpv6::NEIGHBOR_ADVERTISEMENT) => neighbor_advertisement(received).map(Message::NeighborAdvertisement),
        Some(Icmpv6::REDIRECT) => redirect(received).map(Message::Redirect),
        _ => Err(DropReason::NdMalformed),
    }
}

/// A Router Solicitation that a router may answer.
///
/// `NDP-20 [RFC 4861 §6.1.1]`
///
/// # Errors
/// The first rule that it breaks.
pub fn router_solicitation<'a>(received: &Received<'a>) -> Result<RouterSolicitation<'a>, DropReason> {
    let solicitation = common(received, RouterSolicitation::parse)?;
    if received.source.is_unspecified() && solicitation.options().has(option_type::SOURCE_LINK_LAYER_ADDRESS) {
        return Err(DropReason::NdAddresses);
    }
    Ok(solicitation)
}

/// A Router Advertisement that a host may learn from, if it trusts its
/// sender.
///
/// `NDP-21 [RFC 4861 §6.1.2]`
///
/// # Errors
/// The first rule that it breaks.
#[inline]
pub fn router_advertisement<'a>(received: &Received<'a>) -> Result<RouterAdvertisement<'a>, DropReason> {
    let advertisement = common(received, RouterAdvertisement::parse)?;
    if !is_link_local(&received.source) {
        return Err(DropReason::NdAddresses);
    }
    Ok(advertisement)
}

/// A Neighbor Solicitation to be answered, if its target is an address of
/// this interface.
///
/// `NDP-22 [RFC 4861 §7.1.1]`
///
/// # Errors
/// The first rule that it breaks.
pub fn neighbor_solicitation<'a>(received: &Received<'a>) -> Result<NeighborSolicitation<'a>, DropReason> {
    let solicitation = common(received, NeighborSolicitation::parse)?;
    let unspecified_is_wrong = received.source.is_unspecified()
        && (!is_solicited_node_multicast(&received.destination)
            || solicitation.options().has(option_type::SOURCE_LINK_LAYER_ADDRESS));
    if solicitation.target().is_multicast() || unspecified_is_wrong {
        return Err(DropReason::NdAddresses);
    }
    Ok(solicitation)
}

/// A Neighbor Advertisement that may confirm a neighbour.
///
/// `NDP-23 [RFC 4861 §7.1.2]`
///
/// # Errors
/// The first rule that it breaks.
pub fn neighbor_advertisement<'a>(received: &Received<'a>) -> Result<NeighborAdvertisement<'a>, DropReason> {
    let advertisement = common(received, NeighborAdvertisement::parse)?;
    let solicited = advertisement.flags().contains(NeighborFlags::SOLICITED);
    if advertisement.target().is_multicast() || (received.destination.is_multicast() && solicited) {
        return Err(DropReason::NdAddresses);
    }
    Ok(advertisement)
}

/// A Redirect that a host may follow, if its sender is the present first hop
/// to [`Redirect::destination`] (ISA-46).
///
/// `NDP-24 [RFC 4861 §8.1]`
///
/// # Errors
/// The first rule that it breaks.
pub fn redirect<'a>(received: &Received<'a>) -> Result<Redirect<'a>, DropReason> {
    let redirect = common(received, Redirect::parse)?;
    let target_is_possible = is_link_local(&redirect.target()) || redirect.target() == redirect.destination();
    if !is_link_local(&received.source) || redirect.destination().is_multicast() || !target_is_possible {
        return Err(DropReason::NdAddresses);
    }
    Ok(redirect)
}

/// What all five have in common, the cheapest first.
#[inline]
fn common<'a, T>(
    received: &Received<'a>,
    parse: impl FnOnce(&'a [u8]) -> Result<T, ParseError>,
) -> Result<T, DropReason> {
    // NDP-2 [RFC 4861 §6.1, 7.1, 8.1]: no router has forwarded it.
    if received.hop_limit != message::HOP_LIMIT {
        return Err(DropReason::NdHopLimit);
    }
    // NDP-3 [RFC 6980 §5]
    if received.fragmented {
        return Err(DropReason::NdFragment);
    }
    // NDP-1 [RFC 4443 §2.3]
    if !message::verify(&received.source, &received.destination, received.icmpv6) {
        return Err(DropReason::NdChecksum);
    }
    parse(received.icmpv6).map_err(|_| DropReason::NdMalformed)
}

/// fe80::/10, of which implementations use fe80::/64. [RFC 4291 §2.5.6]
fn is_link_local(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

/// ff02::1:ff00:0/104. [RFC 4291 §2.7.1]
fn is_solicited_node_multicast(address: &Ipv6Addr) -> bool {
    const SOLICITED_NODE: Option<Ipv6Prefix> = Ipv6Prefix::new(Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00, 0), 104);
    SOLICITED_NODE.is_some_and(|prefix| prefix.contains(address))
}

#[cfg(test)]
mod tests;
