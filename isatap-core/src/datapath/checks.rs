//! What must hold of a packet that a link let in, or that is to enter a
//! tunnel, whatever the mechanism.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Datapath, IngressFilter, Offered, Port};
use crate::capacity::{Capacity, Parts};
use crate::drop_reason::DropReason;
use crate::engine::{Admits, Admitted};
use crate::interface::Interface;
use crate::isatap::addr::embedded_ipv4;
use crate::link::Link;
use crate::nd::message::is_neighbor_discovery;
use crate::packet::LinkId;
use crate::prefix::{Ipv6Prefix, is_ambiguous};
use crate::proto41::Flow;
use crate::wire::field::{bytes_at, ipv4_at, u32_at};
use crate::wire::{ipv6, protocol};

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Datapath<I, C, LINKS> {
    /// The checks on what a link has let in that need the other links.
    #[inline]
    pub(super) fn check_admitted(
        &self,
        id: LinkId,
        port: &Port<I>,
        from: Admitted,
        flow: &Flow,
    ) -> Result<Offered, DropReason> {
        let (source, destination, link) = (&flow.inner_source, &flow.inner_destination, port.interface.link());
        let (is_awaited, is_local) = (link.awaits(flow), self.is_local(id, destination));
        let offered = Offered { link: id, from, is_awaited, is_local };
        // S6R-50: a probe of ours that comes back is from us.
        if is_awaited && self.is_local(id, source) {
            return Ok(offered);
        }
        self.check_source(id, port.switches.ingress, source)?;
        // TUN-23: what ISATAP refused must not come in as "native, by some
        // relay".
        if LINKS > 1
            && matches!(from, Admitted::UnverifiedRelay | Admitted::Relay)
            && !Ipv6Prefix::LINK_LOCAL.contains(source)
            && self.others(id).any(|other| other.is_on_link(source))
        {
            return Err(DropReason::SourceOfOtherLink);
        }
        // SEC-3, TUN-20 [RFC 6324 §3.3]
        if C::PARTS.contains(Parts::LOOP_CHECKS)
            && port.switches.loop_checks
            && !is_local
            && self.embeds_own_ipv4(destination)
            && !link.is_on_link(destination)
            && !self.is_on_native_link(destination)
        {
            return Err(DropReason::LoopDestination);
        }
        Ok(offered)
    }

    /// Whether a packet that a link has let in ends here: it is to one of this
    /// node's addresses, or to a group, whose scope is the link.
    ///
    /// # Errors
    /// `RTE-7`: it is for others, and the link does not forward. The IPv6
    /// stack above must not see it either: Linux forwards between all devices
    /// or none, so strangers would reach by us what is behind us.
    #[inline]
    pub(super) fn ends_here(&self, offered: &Offered, destination: &Ipv6Addr) -> Result<bool, DropReason> {
        if offered.is_local || destination.is_multicast() {
            return Ok(true);
        }
        let Some(port) = self.port(offered.link) else { return Err(DropReason::ForwardingOff) };
        // A point-to-point link has two ends: what is link-local and not the other's is ours,
        // whoever has put it there.
        let is_for_us =
            || Ipv6Prefix::LINK_LOCAL.contains(destination) && port.interface.link().traits().point_to_point;
        if port.switches.forwarding || is_for_us() { Ok(false) } else { Err(DropReason::ForwardingOff) }
    }

    /// Whether `source` may come in from this side.
    #[inline]
    fn check_source(&self, id: LinkId, filter: IngressFilter, source: &Ipv6Addr) -> Result<(), DropReason> {
        // SEC-10: nobody else speaks as us.
        if self.is_local(id, source) {
            return Err(DropReason::OwnSource);
        }
        if filter == IngressFilter::Off || Ipv6Prefix::LINK_LOCAL.contains(source) {
            return Ok(());
        }
        // TUN-17 [RFC 4213 §3.6]
        if LINKS > 1 && self.natives().any(|(other, link)| other != id && link.is_on_link(source)) {
            return Err(DropReason::IngressFilter);
        }
        if filter == IngressFilter::Strict && self.link_toward(source) != Some(id) {
            return Err(DropReason::IngressFilter);
        }
        Ok(())
    }

    /// Whether `source` may come in from a native link. Only the strict filter
    /// applies there: a LAN's own prefixes are this link's, and what comes
    /// from further inside is not known without routes.
    pub(crate) fn check_native_source(
        &self,
        id: LinkId,
        filter: IngressFilter,
        source: &Ipv6Addr,
    ) -> Result<(), DropReason> {
        // S6R-35: customers believe what a border relay sends them.
        if filter != IngressFilter::Off && self.others(id).any(|other| other.claims_source(source)) {
            return Err(DropReason::SixRdSourceFromOutside);
        }
        if filter == IngressFilter::Strict { self.check_source(id, filter, source) } else { Ok(()) }
    }

    /// Whether `address` is a neighbour on a native link: a LAN of the 6to4
    /// site that our own IPv4 address makes, which no tunnel is needed for, so
    /// that there is no loop. A route by a native router does not do: what is
    /// behind it may be the other half of the loop.
    pub(super) fn is_on_native_link(&self, address: &Ipv6Addr) -> bool {
        self.natives().any(|(_, link)| link.is_on_link(address))
    }

    fn others(&self, id: LinkId) -> impl Iterator<Item = &I::Link> {
        self.numbered().filter(move |(other, _)| *other != id.index()).map(|(_, link)| link)
    }

    /// Whether `address` has one of this node's IPv4 addresses in it: as a
    /// 6to4 prefix, an ISATAP identifier, a Teredo client or an
    /// IPv4-compatible address.
    ///
    /// `SEC-3`: private IPv4 addresses are not unique, so in an ISATAP
    /// identifier they say something only behind a prefix that is known to be of
    /// a tunnel of the same site. The prefixes of the other forms are the same
    /// everywhere, and their mechanisms have no private addresses outside of
    /// such a site (`S64-1`): there, ours are ours.
    #[inline]
    pub(super) fn embeds_own_ipv4(&self, address: &Ipv6Addr) -> bool {
        let counts = |ipv4: Ipv4Addr| !is_ambiguous(ipv4) || self.is_known_prefix(address);
        embedded_ipv4(address).is_some_and(|ipv4| counts(ipv4) && self.owns_ipv4(ipv4))
            || other_forms(address).is_some_and(|ipv4| self.owns_ipv4(ipv4))
            || (self.has_own_prefix && self.is_in_own_prefix(address))
    }

    /// Whether a link knows one of its own IPv4 addresses in it. The walks are out of line: most
    /// addresses need none, and no registers saved for one.
    #[inline(never)]
    fn is_in_own_prefix(&self, address: &Ipv6Addr) -> bool {
        self.numbered().any(|(_, link)| link.embeds_own(address))
    }

    #[inline(never)]
    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.numbered().any(|(_, link)| link.owns_ipv4(address))
    }

    fn is_known_prefix(&self, address: &Ipv6Addr) -> bool {
        self.known_prefixes.iter().any(|prefix| prefix.contains(address))
    }

    /// Whether the control machine of `link` waits for a packet that it has let
    /// in.
    #[inline]
    pub(super) fn awaits(&self, link: LinkId, flow: &Flow) -> bool {
        self.link(link).is_some_and(|link| link.awaits(flow))
    }

    /// Whether it waits for some ICMPv6 message with these addresses.
    pub(crate) fn awaits_icmpv6(&self, admits: &Admits) -> bool {
        let flow = Flow {
            outer_source: admits.outer_source,
            outer_destination: admits.outer_destination,
            inner_source: admits.source,
            inner_destination: admits.destination,
            tos: 0,
            outer_ttl: 0,
            traffic_class: 0,
            next_header: protocol::ICMPV6,
            hop_limit: 0,
            header_len: 0,
            inner_len: 0,
            total_length: 0,
        };
        self.awaits(admits.link, &flow)
    }

    /// Whether the node itself, not a stack above it, must see this packet to
    /// one of its addresses. `NDP-65`, `NDP-69`
    #[inline]
    pub(super) fn is_for_node(&self, link: LinkId, packet: &[u8]) -> bool {
        let is_asked = |header: ipv6::Header<'_>| self.is_local(link, &header.destination());
        self.answers_echo()
            && ipv6::Header::parse(packet).is_ok_and(is_asked)
            && ipv6::upper_layer(packet).is_ok_and(|upper| upper.protocol == protocol::ICMPV6)
    }
}

/// Whether a packet that was let in is Neighbor Discovery, found behind
/// extension headers too.
#[inline]
pub(super) fn is_neighbor_discovery_packet(flow: &Flow, packet: &[u8]) -> bool {
    if flow.next_header == protocol::ICMPV6 {
        return packet.get(40).is_some_and(|&message_type| is_neighbor_discovery(message_type));
    }
    is_extension_header(flow.next_header)
        && ipv6::upper_layer(packet).is_ok_and(|upper| {
            upper.protocol == protocol::ICMPV6
                // A later fragment begins with any bytes.
                && upper.fragment_offset == 0
                && packet.get(upper.offset).is_some_and(|&message_type| is_neighbor_discovery(message_type))
        })
}

/// `SEC-12`, `SEC-13`: what hides behind the inner header.
#[inline(always)]
pub(super) fn check_inner(flow: &Flow, packet: &[u8]) -> Result<(), DropReason> {
    match flow.next_header {
        protocol::TCP | protocol::UDP | protocol::ICMPV6 | protocol::NO_NEXT_HEADER => Ok(()),
        _ => check_hidden(flow, packet),
    }
}

#[inline(never)]
fn check_hidden(flow: &Flow, packet: &[u8]) -> Result<(), DropReason> {
    if is_extension_header(flow.next_header) {
        ipv6::upper_layer(flow.inner(packet))?;
    }
    if matches!(flow.next_header, protocol::IPV6 | protocol::IPV4) || is_extension_header(flow.next_header) {
        ipv6::nesting(flow.inner(packet))?;
    }
    Ok(())
}

fn is_extension_header(next_header: u8) -> bool {
    !matches!(next_header, protocol::TCP | protocol::UDP | protocol::ICMPV6 | protocol::NO_NEXT_HEADER)
        && ipv6::is_extension_header(next_header)
}

/// The IPv4 address that 6to4, Teredo or automatic tunnelling would send a
/// packet to this destination to.
fn other_forms(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    let octets = &address.octets();
    match u32_at::<0, 16>(octets) {
        first if first >> 16 == 0x2002 => Some(ipv4_at::<2, 16>(octets)),
        0x2001_0000 => Some(Ipv4Addr::from_bits(!u32_at::<12, 16>(octets))),
        0 if bytes_at::<4, 8, 16>(octets) == [0; 8] => Some(ipv4_at::<12, 16>(octets)),
        _ => None,
    }
}
