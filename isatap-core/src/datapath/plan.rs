//! Where a packet goes that is to be sent: route, link, outer addresses, and
//! with its length and hop limit, how.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{Datapath, Port};
use crate::capacity::{Capacity, Count as _, FullTable as _, Longest, Parts};
use crate::drop_reason::DropReason;
use crate::interface::Interface;
use crate::link::{Link, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::prefix::{Ipv6Prefix, is_plainly_global};
use crate::proto41::mtu;
use crate::proto41::underlay::Stamp;
use crate::proto41::{Flow, ecn};
use crate::route::Route;
use crate::wire::icmpv6::{ErrorKind, Unreachable};
use crate::wire::ipv6;

/// Where packets between two addresses go, read from links and routes alone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) link: LinkId,
    pub(crate) next_hop: Ipv6Addr,
    pub(crate) resolution: Resolution,
    /// The most bytes that may go.
    pub(super) limit: u16,
    pub(super) dont_fragment: bool,
    pub(super) stamp: Stamp,
}

/// A link and the next hop on it of a better route, which was not used because
/// it is unreachable. `NDP-37`
pub(crate) type Avoided = (LinkId, Ipv6Addr);

/// The fields of the outer header that depend on more of a packet than its
/// addresses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fit {
    pub(crate) dont_fragment: bool,
    pub(crate) tos: u8,
    pub(crate) ttl: u8,
}

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
    /// Decides where packets from `source` to `destination` go. `zone`: the
    /// link that they are bound to.
    #[inline]
    pub(crate) fn way(
        &self,
        origin: Origin,
        zone: Option<LinkId>,
        source: &Ipv6Addr,
        destination: &Ipv6Addr,
    ) -> Result<(Way, Option<Avoided>), Refusal> {
        // Most packets are between addresses that any link carries.
        let is_plain = is_plainly_global(source) && is_plainly_global(destination);
        if !is_plain {
            self.check_scope(origin, zone, source, destination)?;
        }
        if let Origin::Forwarded { link, .. } = origin
            && !self.forwards(link)
        {
            return Err(Refusal::silent(DropReason::ForwardingOff));
        }
        let mut longest = None;
        let (id, next_hop, avoided) = self.next_hop(zone, destination, origin, &mut longest)?;
        // SEL-13 [RFC 4291 §2.5.6]: no router forwards a packet with a
        // link-local source.
        if !is_plain && source.is_unicast_link_local() && next_hop != destination {
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
        if C::PARTS.contains(Parts::LOOP_CHECKS)
            && switches.loop_checks
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
        let permitted = link.permit(source, destination, next_hop);
        let resolution = permitted.and_then(|()| link.resolve(source, next_hop)).map_err(|reason| match reason {
            // ISA-80, TUN-4
            DropReason::NextHopUnresolvable | DropReason::DestinationRefused => {
                Refusal::unreachable(reason, Unreachable::Address, Some(id))
            }
            _ => Refusal::silent(reason),
        })?;
        let underlay = link.underlay();
        let policy = &underlay.policy;
        // The link's own MTU may be below what the path would carry.
        let (mut limit, mut dont_fragment, mut stamp) = (policy.link_mtu, false, Stamp::NONE);
        if let Resolution::To { destination, .. } = resolution {
            // SEC-5; what a customer sends to itself by its border relay
            // comes back (S6R-50).
            if let Origin::Forwarded { outer_source: Some(came_from), link: from } = origin
                && came_from == destination
                && !(from == id && traits.hairpins)
            {
                return Err(Refusal::silent(DropReason::BackToSender));
            }
            let (by_path, never) = mtu::limit(underlay.mtu_mode(), underlay.path_mtu(destination));
            limit = limit.min(by_path);
            // S6R-32
            dont_fragment = never || traits.never_fragments;
            stamp = policy.stamp();
        }
        let avoided = avoided.and_then(|route| route.next_hop.map(|next_hop| (route.link, next_hop)));
        Ok((Way { link: id, next_hop: *next_hop, resolution, limit, dont_fragment, stamp }, avoided))
    }

    /// The link that the routes lead to a destination by.
    pub(crate) fn link_toward(&self, destination: &Ipv6Addr) -> Option<LinkId> {
        let route = self.routes.lookup(destination);
        let longer = self.longer(None, destination, route);
        longer.map(|longer| longer.link).or_else(|| route.map(|route| route.link))
    }

    /// What the full table knows better than `route`.
    #[inline]
    fn longer(&self, link: Option<LinkId>, destination: &Ipv6Addr, route: Option<&Route>) -> Option<Longest> {
        let longest = self.full_table.longest(link, destination)?;
        route.is_none_or(|route| route.prefix.length() < longest.length).then_some(longest)
    }

    /// Between which IPv4 addresses a packet with these inner ones leaves by `link`.
    pub(crate) fn resolve_on(&self, link: LinkId, source: &Ipv6Addr, destination: &Ipv6Addr) -> Option<Resolution> {
        let mut longest = None;
        let (id, next_hop, _) = self.next_hop(Some(link), destination, Origin::Local, &mut longest).ok()?;
        self.link(id)?.resolve(source, next_hop).ok()
    }

    /// What stops a packet before any route is looked up, where one of its addresses is not
    /// [plainly global](is_plainly_global).
    #[inline(never)]
    fn check_scope(
        &self,
        origin: Origin,
        zone: Option<LinkId>,
        source: &Ipv6Addr,
        destination: &Ipv6Addr,
    ) -> Result<(), Refusal> {
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
        let Origin::Forwarded { link: from, .. } = origin else { return Ok(()) };
        // Where nothing is forwarded, that is the reason.
        if !self.forwards(from) {
            return Ok(());
        }
        let link_local = |address: &Ipv6Addr| address.is_unicast_link_local();
        if link_local(destination) || destination.is_loopback() || destination.is_unspecified() {
            return Err(Refusal::silent(DropReason::Scope));
        }
        if link_local(source) {
            // [RFC 4291 §2.5.6; RFC 4443 §3.1 code 2]
            return Err(Refusal::unreachable(DropReason::Scope, Unreachable::BeyondScope, Some(from)));
        }
        Ok(())
    }

    fn forwards(&self, link: LinkId) -> bool {
        self.port(link).is_some_and(|port| port.switches.forwarding)
    }

    /// The link and the neighbour that a destination is reached by, and the better
    /// route that is avoided. `longest`: room for what the full table knows.
    fn next_hop<'a>(
        &'a self,
        zone: Option<LinkId>,
        destination: &'a Ipv6Addr,
        origin: Origin,
        longest: &'a mut Option<Longest>,
    ) -> Result<(LinkId, &'a Ipv6Addr, Option<&'a Route>), Refusal> {
        // ISA-82, RTE-16: a link-local destination is a neighbour on its zone.
        if Ipv6Prefix::LINK_LOCAL.contains(destination) || destination.is_multicast() {
            let mut tunnels = self.links().filter(|(_, link)| !link.traits().native);
            let only = tunnels.next().filter(|_| tunnels.next().is_none()).map(|(id, _)| id);
            let link = zone.or(only).ok_or(Refusal::silent(DropReason::Scope))?;
            return Ok((link, destination, None));
        }
        let unreachable = |reason, code| {
            let from = match origin {
                Origin::Local => zone.or_else(|| self.in_order(0)),
                Origin::Forwarded { link, .. } => Some(link),
            };
            Refusal::unreachable(reason, code, from)
        };
        if C::Routes::ROWS == 0 {
            let (link, next_hop) = self.next_hop_of_link(zone, destination).map_err(|reason| match reason {
                DropReason::NullRoute => unreachable(reason, Unreachable::RejectRoute),
                _ => unreachable(reason, Unreachable::NoRoute),
            })?;
            let found = longest.insert(Longest { length: 0, link, next_hop: Some(next_hop) });
            return Ok((link, found.next_hop.as_ref().unwrap_or(destination), None));
        }
        // RTE-5; not to whom a tunnel brought it, unless it forwards.
        let found = self.routes.lookup_on(zone, destination);
        *longest = self.longer(zone, destination, found.map(|found| found.route));
        if let Some(longer) = longest {
            return Ok((longer.link, longer.next_hop.as_ref().unwrap_or(destination), None));
        }
        let found = found.ok_or_else(|| unreachable(DropReason::NoRoute, Unreachable::NoRoute))?;
        if found.route.link == LinkId::NULL {
            // S6R-20, RTE-10: ours, and nobody has it.
            return Err(unreachable(DropReason::NullRoute, Unreachable::RejectRoute));
        }
        // RTE-2 [RFC 4861 §5.2]: on-link means the destination itself.
        Ok((found.route.link, found.route.next_hop.as_ref().unwrap_or(destination), found.avoided))
    }

    /// The same on a node without a route table: the first link on which the
    /// destination is a neighbour has the packet, else the first that knows a way.
    fn next_hop_of_link(&self, zone: Option<LinkId>, destination: &Ipv6Addr) -> Result<(LinkId, Ipv6Addr), DropReason> {
        let links = || self.links().filter(|(id, _)| zone.is_none_or(|zone| zone == *id));
        let ask = |(id, link): (LinkId, &I::Link)| link.next_hop(destination).map(|next_hop| (id, next_hop));
        // An only link says both at once.
        if LINKS > 1 {
            let near = links().filter(|(_, link)| link.is_on_link(destination));
            if let Some(found) = near.map(ask).find_map(Result::ok) {
                return Ok(found);
            }
        }
        // What is ours, and no neighbour's, goes nowhere.
        let knows = |answer: &Result<_, DropReason>| *answer != Err(DropReason::NoRoute);
        links().map(ask).find(knows).unwrap_or(Err(DropReason::NoRoute))
    }
}

/// What counts of an inner header, and the length that does for the MTU.
#[derive(Clone, Copy)]
pub(crate) struct InnerHeader {
    pub(crate) source: Ipv6Addr,
    pub(crate) destination: Ipv6Addr,
    pub(super) traffic_class: u8,
    pub(super) hop_limit: u8,
    pub(super) len: usize,
}

impl InnerHeader {
    /// That of a whole IPv6 packet, which is cut to the length that it says.
    pub(crate) fn of<C: Capacity>(packet: &mut PacketMut<'_>) -> Option<InnerHeader> {
        Self::read::<C>(packet)
    }

    /// The same, for who counts instructions rather than bytes of code.
    #[inline(always)]
    pub(super) fn read<C: Capacity>(packet: &mut PacketMut<'_>) -> Option<InnerHeader> {
        let header = ipv6::Header::parse(packet.as_slice()).ok()?;
        let (traffic_class, hop_limit, len) = (header.traffic_class(), header.hop_limit(), header.packet_len());
        let (source, destination) = (header.source(), header.destination());
        packet.truncate(len);
        let len = length_on_the_wire::<C>(packet, len);
        Some(InnerHeader { source, destination, traffic_class, hop_limit, len })
    }

    /// That of a packet that was decapsulated.
    #[inline]
    pub(super) fn behind<C: Capacity>(flow: &Flow, exit: ecn::Exit, packet: &PacketMut<'_>) -> InnerHeader {
        InnerHeader {
            source: flow.inner_source,
            destination: flow.inner_destination,
            traffic_class: flow.traffic_class & 0xfc | exit.ecn.bits(),
            hop_limit: flow.hop_limit,
            len: length_on_the_wire::<C>(packet, packet.len()),
        }
    }
}

/// The length of the longest packet that this one of `len` bytes stands for.
#[inline(always)]
fn length_on_the_wire<C: Capacity>(packet: &PacketMut<'_>, len: usize) -> usize {
    match packet.segment_size() {
        Some(size) if C::PARTS.contains(Parts::OFFLOAD) => mtu::length_of_a_segment(packet.as_slice(), size),
        _ => len,
    }
}

impl Way {
    /// Whether a packet may go there, and how its outer header is made.
    #[inline]
    pub(crate) fn fit(&self, origin: Origin, header: &InnerHeader) -> Result<Fit, Refusal> {
        let mut hop_limit = header.hop_limit;
        if let Origin::Forwarded { link, .. } = origin {
            // NDP-63, TUN-21 [RFC 4443 §3.3]
            if hop_limit <= 1 {
                let answer = Some(ErrorKind::HopLimitExceeded);
                return Err(Refusal { reason: DropReason::HopLimit, answer, link: Some(link) });
            }
            // TUN-6: one hop less, where it was not counted yet.
            hop_limit = hop_limit.saturating_sub(1);
        }
        if header.len > usize::from(self.limit) {
            let answer = Some(ErrorKind::PacketTooBig { mtu: u32::from(self.limit) });
            return Err(Refusal { reason: DropReason::PacketTooBig, answer, link: Some(self.link) });
        }
        let (tos, ttl) = self.stamp.of(header.traffic_class, hop_limit);
        Ok(Fit { dont_fragment: self.dont_fragment, tos, ttl })
    }
}
