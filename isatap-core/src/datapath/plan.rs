//! Where a packet goes that is to be sent: route, link, outer addresses, MTU.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Datapath, Port};
use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::interface::Interface;
use crate::link::{Link, OuterPolicy, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::mtu::{self, MtuDecision};
use crate::wire::icmpv6::{ErrorKind, Unreachable};
use crate::wire::ipv6;

/// What is to be done with a packet from the inside.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) link: LinkId,
    pub(crate) next_hop: Ipv6Addr,
    pub(crate) resolution: Resolution,
    pub(crate) dont_fragment: bool,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
    /// A better route whose next hop is unreachable. `NDP-37`
    pub(crate) avoided: Option<Avoided>,
}

/// A link and the next hop on it that was not used.
type Avoided = (LinkId, Ipv6Addr);

/// Why a packet is not sent on, and what its sender should be told.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    pub(crate) reason: DropReason,
    pub(crate) answer: Option<ErrorKind>,
    /// The link that it concerns.
    pub(crate) link: Option<LinkId>,
}

impl Refusal {
    pub(crate) const fn silent(reason: DropReason) -> Self {
        Refusal { reason, answer: None, link: None }
    }

    pub(crate) const fn unreachable(reason: DropReason, code: Unreachable, link: Option<LinkId>) -> Self {
        Refusal { reason, answer: Some(ErrorKind::Unreachable(code)), link }
    }
}

/// Where a packet to be sent comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// This host, or the kernel that forwards.
    Local,
    /// Another node: it came in by this link, in a tunnel from this source.
    Forwarded { link: LinkId, outer_source: Option<Ipv4Addr> },
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Datapath<I, C, LINKS> {
    /// Decides where a packet goes. It is cut to the length that its header
    /// says, and nothing else of it changes: it can be held, or handed to the
    /// owner, as it came.
    pub(crate) fn plan(&self, origin: Origin, packet: &mut PacketMut<'_>) -> Result<Plan, Refusal> {
        let (header, len) = whole_packet(packet).ok_or(Refusal::silent(DropReason::NotIpv6))?;
        let (source, destination) = (&header.source, &header.destination);
        // Only what this host sends is bound to a link; what is forwarded
        // goes where the routes say.
        let zone = packet.link().filter(|_| matches!(origin, Origin::Local));
        // ISA-70 [RFC 5214 §6.3]: what a kernel says to groups ends here.
        // A configured tunnel is a point-to-point link and carries them.
        let is_point_to_point =
            || zone.and_then(|zone| self.link(zone)).is_some_and(|link| link.traits().point_to_point);
        if destination.is_multicast() && !is_point_to_point() {
            return Err(Refusal::silent(DropReason::Multicast));
        }
        if source.is_multicast() || (source.is_unspecified() && !is_point_to_point()) || source.is_loopback() {
            return Err(Refusal::silent(DropReason::SourceUnusable));
        }
        if let Origin::Forwarded { link, .. } = origin {
            self.check_forwarding(link, &header)?;
        }
        let (id, next_hop, avoided) = self.next_hop(zone, destination, origin)?;
        // SEL-13 [RFC 4291 §2.5.6]: no router forwards a packet with a
        // link-local source.
        if source.is_unicast_link_local() && next_hop != *destination {
            return Err(Refusal::unreachable(DropReason::Scope, Unreachable::BeyondScope, Some(id)));
        }
        let Port { interface, switches } = self.port(id).ok_or(Refusal::silent(DropReason::NoRoute))?;
        let link = interface.link();
        let traits = link.traits();
        if let Origin::Forwarded { link: from, .. } = origin {
            // RTE-7: on both sides.
            if !switches.forwarding {
                return Err(Refusal::silent(DropReason::ForwardingOff));
            }
            // S6R-34: into a 6rd domain from native links, from the domain
            // itself, and by tunnels of which both ends are known.
            if traits.refuses_automatic && from != id && self.link(from).is_some_and(|from| from.traits().automatic) {
                return Err(Refusal::silent(DropReason::TunnelToTunnel));
            }
            // TUN-64 [RFC 4443 §3.1]
            if from == id && traits.point_to_point {
                return Err(Refusal::unreachable(DropReason::PointToPointBounce, Unreachable::Address, Some(id)));
            }
        }
        // SEC-3 [RFC 6324 §3.3]: into a tunnel no off-link source that another
        // tunnel would map to ourselves.
        if switches.loop_checks
            && !traits.native
            && !link.is_on_link(source)
            && self.embeds_own_ipv4(source)
            && !self.is_local(id, source)
            && !self.is_on_native_link(source)
        {
            return Err(Refusal::silent(DropReason::LoopSource));
        }
        // RTE-3, RTE-4: the link's mechanism makes the next hop an IPv4
        // address, and knows which of ours goes with the inner source.
        let permitted = link.permit(source, destination, &next_hop);
        let resolution = permitted.and_then(|()| link.resolve(source, &next_hop)).map_err(|reason| match reason {
            // ISA-80, TUN-4
            DropReason::NextHopUnresolvable | DropReason::DestinationRefused => {
                Refusal::unreachable(reason, Unreachable::Address, Some(id))
            }
            _ => Refusal::silent(reason),
        })?;
        let underlay = link.underlay();
        let mut path_mtu = None;
        if let Resolution::To { destination, .. } = resolution {
            // SEC-5; what a customer sends to itself by its border relay
            // comes back (S6R-50).
            if let Origin::Forwarded { outer_source: Some(came_from), link: from } = origin
                && came_from == destination
                && !(from == id && traits.hairpins)
            {
                return Err(Refusal::silent(DropReason::BackToSender));
            }
            path_mtu = Some(underlay.path_mtu(destination));
        }
        let policy = &underlay.policy;
        let fits = fits(policy, path_mtu, len);
        let dont_fragment = fits.map_err(|mtu| Refusal {
            reason: DropReason::PacketTooBig,
            answer: Some(ErrorKind::PacketTooBig { mtu: u32::from(mtu) }),
            link: Some(id),
        })?;
        // S6R-32
        let dont_fragment = dont_fragment || traits.never_fragments;
        // TUN-6: one hop less, where it was not counted yet.
        let hop = u8::from(matches!(origin, Origin::Forwarded { .. }));
        let (tos, ttl) = policy.tos_and_ttl(header.traffic_class, header.hop_limit.saturating_sub(hop));
        Ok(Plan { link: id, next_hop, resolution, dont_fragment, tos, ttl, avoided })
    }

    /// Between which IPv4 addresses a packet with these inner ones leaves by `link`.
    pub(crate) fn resolve_on(&self, link: LinkId, source: &Ipv6Addr, destination: &Ipv6Addr) -> Option<Resolution> {
        let (id, next_hop, _) = self.next_hop(Some(link), destination, Origin::Local).ok()?;
        self.link(id)?.resolve(source, &next_hop).ok()
    }

    /// What stops a packet of somebody else's before any route is looked up.
    fn check_forwarding(&self, from: LinkId, header: &InnerHeader) -> Result<(), Refusal> {
        if !self.port(from).is_some_and(|port| port.switches.forwarding) {
            return Err(Refusal::silent(DropReason::ForwardingOff));
        }
        let link_local = |address: &Ipv6Addr| address.is_unicast_link_local();
        if link_local(&header.destination) || header.destination.is_loopback() || header.destination.is_unspecified() {
            return Err(Refusal::silent(DropReason::Scope));
        }
        if link_local(&header.source) {
            // [RFC 4291 §2.5.6; RFC 4443 §3.1 code 2]
            return Err(Refusal::unreachable(DropReason::Scope, Unreachable::BeyondScope, Some(from)));
        }
        // NDP-63, TUN-21 [RFC 4443 §3.3]
        if header.hop_limit <= 1 {
            return Err(Refusal {
                reason: DropReason::HopLimit,
                answer: Some(ErrorKind::HopLimitExceeded),
                link: Some(from),
            });
        }
        Ok(())
    }

    /// The link and the neighbour that a destination is reached by.
    fn next_hop(
        &self,
        zone: Option<LinkId>,
        destination: &Ipv6Addr,
        origin: Origin,
    ) -> Result<(LinkId, Ipv6Addr, Option<Avoided>), Refusal> {
        // ISA-82, RTE-16: a link-local destination is a neighbour on its zone.
        if Ipv6Prefix::LINK_LOCAL.contains(destination) || destination.is_multicast() {
            let mut tunnels = self.links().filter(|(_, link)| !link.traits().native);
            let only = tunnels.next().filter(|_| tunnels.next().is_none()).map(|(id, _)| id);
            let link = zone.or(only).ok_or(Refusal::silent(DropReason::Scope))?;
            return Ok((link, *destination, None));
        }
        let unreachable = |reason, code| {
            let from = match origin {
                Origin::Local => zone.or_else(|| self.in_order(0)),
                Origin::Forwarded { link, .. } => Some(link),
            };
            Refusal::unreachable(reason, code, from)
        };
        // RTE-5; not to whom a tunnel brought it, unless it forwards.
        let found = self.routes.lookup_on(zone, destination);
        let found = found.ok_or_else(|| unreachable(DropReason::NoRoute, Unreachable::NoRoute))?;
        if found.route.link == LinkId::NULL {
            // S6R-20, RTE-10: ours, and nobody has it.
            return Err(unreachable(DropReason::NullRoute, Unreachable::RejectRoute));
        }
        let avoided = found.avoided.and_then(|route| route.next_hop.map(|next_hop| (route.link, next_hop)));
        Ok((found.route.link, found.route.next_hop_for(destination), avoided))
    }
}

/// Whether `len` bytes may go by a link, and with which "do not fragment";
/// else the MTU to report. `path_mtu`: none on a native link.
fn fits(policy: &OuterPolicy, path_mtu: Option<u16>, len: usize) -> Result<bool, u16> {
    let by_path = path_mtu.map(|path_mtu| mtu::decide(policy.mtu, path_mtu, len));
    let by_path = by_path.unwrap_or(MtuDecision::Send { dont_fragment: false });
    // The link's own MTU may be below what the path would carry.
    let is_too_long = len > usize::from(policy.link_mtu);
    match by_path {
        MtuDecision::TooBig { mtu } if is_too_long => Err(mtu.min(policy.link_mtu)),
        MtuDecision::TooBig { mtu } => Err(mtu),
        MtuDecision::Send { .. } if is_too_long => Err(policy.link_mtu),
        MtuDecision::Send { dont_fragment } => Ok(dont_fragment),
    }
}

/// The fields of an inner header that decisions are made of.
struct InnerHeader {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    traffic_class: u8,
    hop_limit: u8,
}

/// The header of a whole IPv6 packet, which is cut to the length that it
/// says, and the length that counts for the MTU.
fn whole_packet(packet: &mut PacketMut<'_>) -> Option<(InnerHeader, usize)> {
    let header = ipv6::Header::parse(packet.as_slice()).ok()?;
    let len = header.packet_len();
    let fields = InnerHeader {
        source: header.source(),
        destination: header.destination(),
        traffic_class: header.traffic_class(),
        hop_limit: header.hop_limit(),
    };
    packet.truncate(len);
    Some((fields, mtu::length_on_the_wire(packet.as_slice(), packet.segment_size())))
}
