//! Links and routes as plain data: what happens to a packet, asked with
//! `&self`.
//!
//! Out: IPv6 packet, route, [`Link::resolve`], loop checks, MTU, outer header
//! into the headroom. In: [`Flow::parse`], each link by precedence
//! ([`Link::admit`]), loop and spoofing checks, decapsulation in place.
//!
//! The functions decide or punt. What would need to change something (an
//! ICMPv6 error and its rate limit, Neighbor Discovery) is
//! [`Verdict::Punt`]: the bytes are untouched, and the owner, a
//! [`Node`](crate::node::Node), does it. So threads, firmware and kernels
//! share this code over copies of the data.

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::engine::Verdict;
use crate::error::{Table, TableFull};
use crate::interface::Routes;
use crate::isatap::addr::embedded_ipv4;
use crate::link::{Admitted, Denied, Link, LinkKind, Resolution};
use crate::nd::message::is_neighbor_discovery;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::{Ipv6Prefix, halves, is_private};
use crate::proto41::ecn::outer_tos;
use crate::proto41::mtu::{self, MtuDecision};
use crate::proto41::{self, Flow, Outer};
use crate::route::RouteTable;
use crate::wire::icmpv6::{ErrorKind, Unreachable};
use crate::wire::{ipv6, protocol};

/// Links and routes.
#[derive(Clone)]
pub struct Datapath<L, C: Capacity, const LINKS: usize> {
    ports: [Option<Port<L>>; LINKS],
    /// The numbers of the ports in use, by precedence. `TUN-23`
    order: [u8; LINKS],
    used: usize,
    pub(crate) routes: Routes<C>,
}

/// A link and the switches of its interface.
#[derive(Clone, Debug)]
pub struct Port<L> {
    /// The link.
    pub link: L,
    /// Its switches.
    pub switches: Switches,
}

/// The switches of one interface. `RTE-7`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switches {
    /// Packets that arrive here may be forwarded, and forwarded packets may
    /// leave here. Off by default.
    pub forwarding: bool,
    /// Whose inner sources are let in from this side. `TUN-17`
    pub ingress: IngressFilter,
    /// The address checks against routing loops. `SEC-3`
    pub loop_checks: bool,
    /// The interface's metric, added to those of its routes. `RTE-1`
    pub metric: u32,
}

impl Switches {
    /// Forwarding off, all checks on, metric 0.
    pub const DEFAULT: Switches =
        Switches { forwarding: false, ingress: IngressFilter::Site, loop_checks: true, metric: 0 };

    /// The same with forwarding on: a router's interface.
    pub const FORWARDING: Switches = Switches { forwarding: true, ..Switches::DEFAULT };
}

impl Default for Switches {
    fn default() -> Self {
        Switches::DEFAULT
    }
}

/// The ingress filter of one side. `TUN-17 [RFC 4213 §3.6]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IngressFilter {
    /// None.
    Off,
    /// Sources that are on-link on one of this node's native links do not
    /// come in from here: toward the Internet. `SEC-10`
    Site,
    /// As well, only sources that a route leads back to by this link: toward
    /// an edge network (strict reverse-path check).
    Strict,
}

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
    const fn silent(reason: DropReason) -> Self {
        Refusal { reason, answer: None, link: None }
    }

    const fn unreachable(reason: DropReason, code: Unreachable, link: Option<LinkId>) -> Self {
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

impl<L: Link, C: Capacity, const LINKS: usize> Datapath<L, C, LINKS> {
    /// No links, no routes.
    #[must_use]
    pub const fn new() -> Self {
        Datapath { ports: [const { None }; LINKS], order: [0; LINKS], used: 0, routes: RouteTable::new() }
    }

    /// One link, and no routes.
    #[must_use]
    pub(crate) const fn of(ports: [Option<Port<L>>; LINKS]) -> Self {
        Datapath { ports, order: [0; LINKS], used: 1, routes: RouteTable::new() }
    }

    /// Adds a link behind those of the same kind or one that takes
    /// precedence. `TUN-23`
    ///
    /// # Errors
    /// There are `LINKS` links already, or the interface's metric cannot be
    /// kept.
    pub fn add(&mut self, link: L, switches: Switches) -> Result<LinkId, TableFull> {
        let full = TableFull::new(Table::Links);
        let number = u8::try_from(self.used).map_err(|_| full)?;
        let kind = link.kind();
        let place = self.by_precedence().take_while(|(_, port)| port.link.kind() <= kind).count();
        self.routes.set_interface_metric(LinkId(number), switches.metric)?;
        let slot = self.ports.get_mut(self.used).ok_or(full)?;
        *slot = Some(Port { link, switches });
        self.used = self.used.saturating_add(1);
        let used = self.used;
        if let Some(tail) = self.order.get_mut(..used).and_then(|order| order.get_mut(place..)) {
            tail.rotate_right(1);
            if let Some(first) = tail.first_mut() {
                *first = number;
            }
        }
        Ok(LinkId(number))
    }

    /// The link of this number, with its switches.
    #[inline]
    #[must_use]
    pub fn port(&self, id: LinkId) -> Option<&Port<L>> {
        self.ports.get(id.index())?.as_ref()
    }

    /// The same, to be changed.
    pub fn port_mut(&mut self, id: LinkId) -> Option<&mut Port<L>> {
        self.ports.get_mut(id.index())?.as_mut()
    }

    /// One link and the routes, to be changed together.
    pub(crate) fn split(&mut self, id: LinkId) -> Option<(&mut Port<L>, &mut Routes<C>)> {
        Some((self.ports.get_mut(id.index())?.as_mut()?, &mut self.routes))
    }

    /// The links in the order in which packets are offered to them.
    #[inline]
    pub fn by_precedence(&self) -> impl Iterator<Item = (LinkId, &Port<L>)> {
        let order = self.order.get(..self.used).unwrap_or(&[]);
        order.iter().filter_map(|&number| self.port(LinkId(number)).map(|port| (LinkId(number), port)))
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &Routes<C> {
        &self.routes
    }

    /// A copy of the data with each link mapped: what threads work on.
    pub(crate) fn map<M>(&self, mut map: impl FnMut(&L) -> M) -> Datapath<M, C, LINKS> {
        let mut ports = [const { None }; LINKS];
        for (into, from) in ports.iter_mut().zip(self.ports.iter()) {
            *into = from.as_ref().map(|port| Port { link: map(&port.link), switches: port.switches });
        }
        Datapath { ports, order: self.order, used: self.used, routes: self.routes.clone() }
    }

    /// Each link's answer to a packet, in order: what `check` shows.
    pub fn trials<'a>(
        &'a self,
        flow: &'a Flow,
    ) -> impl Iterator<Item = (LinkId, LinkKind, Result<Admitted, Denied>)> + 'a {
        self.by_precedence().map(|(id, port)| (id, port.link.kind(), port.link.admit(flow)))
    }

    /// Encapsulates a packet of this host in place, with `identification` if
    /// it may be fragmented.
    pub fn encapsulate(&self, packet: &mut PacketMut<'_>, identification: u16) -> Verdict {
        match self.plan(packet, Origin::Local) {
            Ok(plan) => execute(&plan, packet, identification).unwrap_or_else(Verdict::Drop),
            Err(refusal) => punt_or_drop(&refusal),
        }
    }

    /// Judges and decapsulates an outer packet in place.
    pub fn decapsulate(&self, packet: &mut PacketMut<'_>) -> Verdict {
        let (link, from, flow) = match self.admit(packet.as_slice()) {
            Ok(admission) => admission,
            Err(reason) => return Verdict::Drop(reason),
        };
        if is_control(&flow, packet.as_slice()) {
            return Verdict::Punt { link };
        }
        match proto41::decapsulate(packet, &flow) {
            Ok(_) => Verdict::Deliver { link, from },
            Err(reason) => Verdict::Drop(reason),
        }
    }

    /// Decapsulates an outer packet and sends it on, in one buffer: hop
    /// limit, routes, loop checks. What is for this node is delivered.
    pub fn forward(&self, packet: &mut PacketMut<'_>, identification: u16) -> Verdict {
        let (link, from, flow) = match self.admit(packet.as_slice()) {
            Ok(admission) => admission,
            Err(reason) => return Verdict::Drop(reason),
        };
        if is_control(&flow, packet.as_slice()) {
            return Verdict::Punt { link };
        }
        if self.is_local(link, &flow.inner_destination) {
            return match proto41::decapsulate(packet, &flow) {
                Ok(_) => Verdict::Deliver { link, from },
                Err(reason) => Verdict::Drop(reason),
            };
        }
        // Where an answer is due the owner does it all again, from the outer
        // packet; so the decision comes before anything is changed.
        let origin = Origin::Forwarded { link, outer_source: Some(flow.outer_source) };
        match self.plan_header(&flow_header(&flow), usize::from(flow.inner_len), origin) {
            Ok(plan) => {
                if let Err(reason) = proto41::decapsulate(packet, &flow) {
                    return Verdict::Drop(reason);
                }
                decrement_hop_limit(packet);
                execute(&plan, packet, identification).unwrap_or_else(Verdict::Drop)
            }
            Err(refusal) => punt_or_drop(&refusal),
        }
    }

    /// [`encapsulate`](Self::encapsulate) for as many packets as there are
    /// verdicts; identifications count up from `identification`.
    pub fn encapsulate_batch(&self, packets: &mut [PacketMut<'_>], verdicts: &mut [Verdict], identification: &mut u16) {
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            *verdict = self.encapsulate(packet, *identification);
            if matches!(verdict, Verdict::Tunnel { outer, .. } if !outer.dont_fragment) {
                *identification = identification.wrapping_add(1);
            }
        }
    }

    /// [`decapsulate`](Self::decapsulate) for as many packets as there are
    /// verdicts.
    pub fn decapsulate_batch(&self, packets: &mut [PacketMut<'_>], verdicts: &mut [Verdict]) {
        for (packet, verdict) in packets.iter_mut().zip(verdicts) {
            *verdict = self.decapsulate(packet);
        }
    }

    /// Which link lets an outer packet in, and who speaks.
    ///
    /// # Errors
    /// The reason of the first link that it was for, or what broke a rule
    /// that is the same for all links.
    #[inline]
    pub fn admit(&self, outer: &[u8]) -> Result<(LinkId, Admitted, Flow), DropReason> {
        let flow = Flow::parse(outer)?;
        let mut refused = DropReason::NotAddressed;
        for (id, port) in self.by_precedence() {
            match port.link.admit(&flow) {
                Ok(from) => {
                    self.check_admitted(id, port, from, &flow)?;
                    check_inner(&flow, outer)?;
                    return Ok((id, from, flow));
                }
                Err(Denied::NotAddressed) => {}
                Err(Denied::Refused(reason)) if refused == DropReason::NotAddressed => refused = reason,
                Err(Denied::Refused(_)) => {}
            }
        }
        Err(refused)
    }

    /// The checks on what a link has let in that need the other links.
    #[inline]
    fn check_admitted(&self, id: LinkId, port: &Port<L>, from: Admitted, flow: &Flow) -> Result<(), DropReason> {
        let source = &flow.inner_source;
        // SEC-10: nobody else speaks as us.
        if self.is_local(id, source) {
            return Err(DropReason::OwnSource);
        }
        if !Ipv6Prefix::LINK_LOCAL.contains(source) {
            // TUN-23: what ISATAP refused must not come in as "native, by
            // some relay".
            if from == Admitted::UnverifiedRelay && self.others(id).any(|(_, other)| other.link.is_on_link(source)) {
                return Err(DropReason::SourceOfOtherLink);
            }
            // TUN-17 [RFC 4213 §3.6]
            let filter = port.switches.ingress;
            let native = |other: &Port<L>| other.link.kind() == LinkKind::Native && other.link.is_on_link(source);
            if filter != IngressFilter::Off && self.others(id).any(|(_, other)| native(other)) {
                return Err(DropReason::IngressFilter);
            }
            if filter == IngressFilter::Strict && self.routes.lookup(source).is_none_or(|route| route.link != id) {
                return Err(DropReason::IngressFilter);
            }
        }
        // SEC-3 [RFC 6324 §3.3]
        let destination = &flow.inner_destination;
        if port.switches.loop_checks
            && !port.link.is_on_link(destination)
            && self.embeds_own_ipv4(destination)
            && !self.is_local(id, destination)
        {
            return Err(DropReason::LoopDestination);
        }
        Ok(())
    }

    fn others(&self, id: LinkId) -> impl Iterator<Item = (LinkId, &Port<L>)> {
        self.by_precedence().filter(move |(other, _)| *other != id)
    }

    /// Whether `address` is this node's: link-local ones only on their link.
    #[inline]
    #[must_use]
    pub fn is_local(&self, on: LinkId, address: &Ipv6Addr) -> bool {
        if Ipv6Prefix::LINK_LOCAL.contains(address) {
            return self.port(on).is_some_and(|port| port.link.is_local(address));
        }
        self.by_precedence().any(|(_, port)| port.link.is_local(address))
    }

    /// Whether `address` has one of this node's IPv4 addresses in it: as a
    /// 6to4 prefix, an ISATAP identifier or a Teredo client.
    ///
    /// `SEC-3`: private IPv4 addresses are not unique, so they say nothing.
    fn embeds_own_ipv4(&self, address: &Ipv6Addr) -> bool {
        let own =
            |ipv4: Ipv4Addr| !is_ambiguous(ipv4) && self.by_precedence().any(|(_, port)| port.link.owns_ipv4(ipv4));
        embedded_ipv4(address).is_some_and(own) || other_forms(address).is_some_and(own)
    }

    /// Decides where a packet from the inside goes.
    pub(crate) fn plan(&self, packet: &mut PacketMut<'_>, origin: Origin) -> Result<Plan, Refusal> {
        let (header, len) = whole_packet(packet).ok_or(Refusal::silent(DropReason::NotIpv6))?;
        // A packet bound to a link (read from its device) stays on it.
        self.plan_on(packet.link(), &header, len, origin)
    }

    fn plan_header(&self, header: &InnerHeader, len: usize, origin: Origin) -> Result<Plan, Refusal> {
        self.plan_on(None, header, len, origin)
    }

    fn plan_on(&self, zone: Option<LinkId>, header: &InnerHeader, len: usize, origin: Origin) -> Result<Plan, Refusal> {
        let (source, destination) = (&header.source, &header.destination);
        // ISA-70 [RFC 5214 §6.3]: what a kernel says to groups ends here.
        // A configured tunnel is a point-to-point link and carries them.
        let point_to_point = zone
            .and_then(|zone| self.port(zone))
            .is_some_and(|port| port.link.kind() == LinkKind::Configured && matches!(origin, Origin::Local));
        if destination.is_multicast() && !point_to_point {
            return Err(Refusal::silent(DropReason::Multicast));
        }
        if source.is_multicast() || (source.is_unspecified() && !point_to_point) || source.is_loopback() {
            return Err(Refusal::silent(DropReason::SourceUnusable));
        }
        if let Origin::Forwarded { link, .. } = origin {
            self.check_forwarding(link, header)?;
        }
        let (link, next_hop, avoided) = self.next_hop(zone, destination, origin)?;
        let port = self.port(link).ok_or(Refusal::silent(DropReason::NoRoute))?;
        if let Origin::Forwarded { link: from, .. } = origin {
            // RTE-7: on both sides.
            if !port.switches.forwarding {
                return Err(Refusal::silent(DropReason::ForwardingOff));
            }
            // TUN-64 [RFC 4443 §3.1]
            if from == link && port.link.kind() == LinkKind::Configured {
                return Err(Refusal::unreachable(DropReason::PointToPointBounce, Unreachable::Address, Some(link)));
            }
        }
        // SEC-3 [RFC 6324 §3.3]: into a tunnel no off-link source that another
        // tunnel would map to ourselves.
        if port.switches.loop_checks
            && port.link.kind() != LinkKind::Native
            && !port.link.is_on_link(source)
            && self.embeds_own_ipv4(source)
            && !self.is_local(link, source)
        {
            return Err(Refusal::silent(DropReason::LoopSource));
        }
        let resolution = port.link.resolve(source, &next_hop).map_err(|reason| match reason {
            // ISA-80, RTE-3, TUN-4
            DropReason::NextHopUnresolvable | DropReason::DestinationRefused => {
                Refusal::unreachable(reason, Unreachable::Address, Some(link))
            }
            _ => Refusal::silent(reason),
        })?;
        let policy = port.link.policy();
        let mut dont_fragment = false;
        let mut limit = MtuDecision::Send { dont_fragment };
        if let Resolution::To { destination, .. } = resolution {
            // SEC-5
            if let Origin::Forwarded { outer_source: Some(came_from), .. } = origin
                && came_from == destination
            {
                return Err(Refusal::silent(DropReason::BackToSender));
            }
            limit = mtu::decide(policy.mtu, port.link.path_mtu(destination), len);
        }
        if len > usize::from(policy.link_mtu) {
            // The link's own MTU may be below what the path would carry.
            let most = match limit {
                MtuDecision::TooBig { mtu } => mtu.min(policy.link_mtu),
                MtuDecision::Send { .. } => policy.link_mtu,
            };
            limit = MtuDecision::TooBig { mtu: most };
        }
        match limit {
            MtuDecision::Send { dont_fragment: set } => dont_fragment |= set,
            MtuDecision::TooBig { mtu } => {
                let answer = Some(ErrorKind::PacketTooBig { mtu: u32::from(mtu) });
                return Err(Refusal { reason: DropReason::PacketTooBig, answer, link: Some(link) });
            }
        }
        let tos = outer_tos(policy.tos, policy.ecn, header.traffic_class);
        Ok(Plan { link, next_hop, resolution, dont_fragment, tos, ttl: policy.ttl, avoided })
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
        // ISA-82: a link-local destination is a neighbour on its zone.
        if Ipv6Prefix::LINK_LOCAL.contains(destination) || destination.is_multicast() {
            let mut tunnels = self.by_precedence().filter(|(_, port)| port.link.kind() != LinkKind::Native);
            let only = tunnels.next().filter(|_| tunnels.next().is_none()).map(|(id, _)| id);
            let link = zone.or(only).ok_or(Refusal::silent(DropReason::Scope))?;
            return Ok((link, *destination, None));
        }
        let found = self.routes.lookup_on(zone, destination).ok_or_else(|| {
            // RTE-5; not to whom a tunnel brought it, unless it forwards.
            let from = match origin {
                Origin::Local => zone.or_else(|| self.by_precedence().next().map(|(id, _)| id)),
                Origin::Forwarded { link, .. } => Some(link),
            };
            Refusal::unreachable(DropReason::NoRoute, Unreachable::NoRoute, from)
        })?;
        let avoided = found.avoided.and_then(|route| route.next_hop.map(|next_hop| (route.link, next_hop)));
        Ok((found.route.link, found.route.next_hop_for(destination), avoided))
    }
}

impl<L: Link, C: Capacity, const LINKS: usize> Default for Datapath<L, C, LINKS> {
    fn default() -> Self {
        Datapath::new()
    }
}

/// Does what was planned: the outer header in front, or nothing on a native
/// link.
pub(crate) fn execute(plan: &Plan, packet: &mut PacketMut<'_>, identification: u16) -> Result<Verdict, DropReason> {
    match plan.resolution {
        Resolution::Native => Ok(Verdict::Native { link: plan.link, next_hop: plan.next_hop }),
        Resolution::To { source, destination } => {
            let outer = Outer {
                source,
                destination,
                ports: None,
                tos: plan.tos,
                ttl: plan.ttl,
                dont_fragment: plan.dont_fragment,
                identification: if plan.dont_fragment { 0 } else { identification },
            };
            proto41::encapsulate(packet, &outer).map_err(|_| DropReason::NoHeadroom)?;
            Ok(Verdict::Tunnel { link: plan.link, outer })
        }
    }
}

/// `TUN-21`: only who forwards counts a hop; the caller knows that there is
/// one left.
pub(crate) fn decrement_hop_limit(packet: &mut PacketMut<'_>) {
    if let Some(hop_limit) = packet.as_mut_slice().get_mut(7) {
        *hop_limit = hop_limit.saturating_sub(1);
    }
}

/// Whether a packet that was let in is Neighbor Discovery, found behind
/// extension headers too.
#[inline]
pub(crate) fn is_control(flow: &Flow, outer: &[u8]) -> bool {
    let inner = flow.inner(outer);
    if flow.next_header == protocol::ICMPV6 {
        return inner.get(40).is_some_and(|&message_type| is_neighbor_discovery(message_type));
    }
    is_extension_header(flow.next_header)
        && ipv6::upper_layer(inner).is_ok_and(|upper| {
            upper.protocol == protocol::ICMPV6
                && inner.get(upper.offset).is_some_and(|&message_type| is_neighbor_discovery(message_type))
        })
}

/// `SEC-12`, `SEC-13`: what hides behind the inner header.
#[inline]
fn check_inner(flow: &Flow, outer: &[u8]) -> Result<(), DropReason> {
    if is_extension_header(flow.next_header) {
        ipv6::upper_layer(flow.inner(outer))?;
    }
    if matches!(flow.next_header, protocol::IPV6 | protocol::IPV4) || is_extension_header(flow.next_header) {
        ipv6::nesting(flow.inner(outer))?;
    }
    Ok(())
}

fn is_extension_header(next_header: u8) -> bool {
    !matches!(next_header, protocol::TCP | protocol::UDP | protocol::ICMPV6 | protocol::NO_NEXT_HEADER)
        && ipv6::is_extension_header(next_header)
}

/// IPv4 addresses that are used by many: private [RFC 1918], shared
/// [RFC 6598], link-local [RFC 3927].
fn is_ambiguous(ipv4: Ipv4Addr) -> bool {
    let bits = ipv4.to_bits();
    is_private(ipv4) || bits >> 22 == 0x6440_0000 >> 22 || bits >> 16 == 0xa9fe
}

/// The IPv4 address that 6to4 or Teredo would send a packet to this
/// destination to.
fn other_forms(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, low) = halves(address);
    let lower_half = |bits: u64| u32::try_from(bits & 0xffff_ffff).ok().map(Ipv4Addr::from_bits);
    if high >> 48 == 0x2002 {
        lower_half(high >> 16)
    } else if high >> 32 == 0x2001_0000 {
        lower_half(!low)
    } else {
        None
    }
}

fn punt_or_drop(refusal: &Refusal) -> Verdict {
    match (refusal.answer, refusal.link) {
        (Some(_), Some(link)) => Verdict::Punt { link },
        _ => Verdict::Drop(refusal.reason),
    }
}

/// The fields of an inner header that decisions are made of.
pub(crate) struct InnerHeader {
    source: Ipv6Addr,
    destination: Ipv6Addr,
    traffic_class: u8,
    hop_limit: u8,
}

fn flow_header(flow: &Flow) -> InnerHeader {
    InnerHeader {
        source: flow.inner_source,
        destination: flow.inner_destination,
        traffic_class: flow.traffic_class,
        hop_limit: flow.hop_limit,
    }
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
    Some((fields, mtu::length_on_the_wire(packet)))
}
