//! What is clearly in order, at a glance.
//!
//! Most packets are data between peers that know each other. They are told by a
//! few words of their header; whatever is not among them is no worse for it,
//! but somebody must look: that both ways agree is a property test.

use core::net::Ipv6Addr;

use super::{ClientView, Path, Reach, embedded_mapping};
use crate::nd::message;
use crate::teredo::addr::{Address, SERVER_PORT};
use crate::teredo::packet::{ALL_ROUTERS, DISCOVERY_GROUP};
use crate::wire::icmpv6::Message as Icmpv6;
use crate::wire::{checksum, ipv6, protocol};

/// The header of a packet that carries TCP, UDP or ICMPv6 without Neighbor
/// Discovery, right behind its header and to the last byte, from a source in
/// 2000::/3. `None` says only that somebody must look.
#[inline(always)]
pub fn data(packet: &[u8]) -> Option<ipv6::Header<'_>> {
    let header = ipv6::Header::of_whole(packet)?;
    let is_data = match header.next_header() {
        protocol::TCP | protocol::UDP => true,
        protocol::ICMPV6 => header.payload().first().is_some_and(|kind| *kind < Icmpv6::ROUTER_SOLICITATION),
        _ => false,
    };
    // Of no source that is refused, and not link-local.
    let [first, ..] = header.source().octets();
    (is_data && first >> 5 == 1).then_some(header)
}

/// Case 1 of section 5.2.3 of RFC 4380: [`data`] from where its peer is trusted
/// and in which no server has a hand. `false` says only that [`client`](super::client) must
/// look.
#[inline(always)]
pub fn is_trusted(view: &ClientView<'_>, path: Path, header: &ipv6::Header<'_>) -> bool {
    let (source, destination) = (header.source(), header.destination());
    path.from.port() != SERVER_PORT
        && *path.to.ip() != DISCOVERY_GROUP
        && view.address == Some(destination)
        && source != destination
        && view.peer.is_some_and(|peer| peer.is_trusted_at(path.from))
        && view.reach.may_send_to_alternate(path.from)
}

/// Case 3 of the same for [`data`] of nobody who is a peer: from where its source says.
/// `false` says only that [`client`](super::client) must look.
#[inline]
pub(in crate::teredo) fn is_mapped(
    address: Option<Ipv6Addr>,
    reach: Reach<'_>,
    path: Path,
    header: &ipv6::Header<'_>,
) -> bool {
    let (source, destination) = (header.source(), header.destination());
    path.from.port() != SERVER_PORT
        && *path.to.ip() != DISCOVERY_GROUP
        && address == Some(destination)
        && source != destination
        && Address::from_ipv6(&source).is_some_and(|teredo| embedded_mapping(&teredo) == path.from)
        && reach.may_send_to(path.from)
}

/// Whether a packet is a Router Solicitation as clients send it: without options, to
/// all routers, from a link-local source. All that a server asks of one
/// (`TER-60`, `NDP-20`) holds then but what it asks of the UDP source. `false` says only
/// that somebody must look.
#[inline]
pub(in crate::teredo) fn is_solicitation(header: &ipv6::Header<'_>) -> bool {
    let [Icmpv6::ROUTER_SOLICITATION, 0, a, b, c, d, e, f] = *header.payload() else { return false };
    let u16 = u16::from_be_bytes;
    let (source, destination) = (header.source(), header.destination());
    header.next_header() == protocol::ICMPV6
        && header.hop_limit() == message::HOP_LIMIT
        && source.is_unicast_link_local()
        && destination == ALL_ROUTERS
        // Word by word: so few need no loop.
        && checksum::pseudo_header_ipv6(&source, &destination, protocol::ICMPV6, 8)
            .u16(u16([Icmpv6::ROUTER_SOLICITATION, 0]))
            .u16(u16([a, b]))
            .u16(u16([c, d]))
            .u16(u16([e, f]))
            .is_valid()
}
