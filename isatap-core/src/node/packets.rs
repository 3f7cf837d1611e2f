//! What becomes of one packet: the datapath's decision, carried out.

use core::net::Ipv6Addr;

use super::Node;
use crate::capacity::{Capacity, Parts};
use crate::datapath::{
    Avoided, Datapath, Decision, Entrance, Fit, InnerHeader, Kept, Memory, NOWHERE, Origin, Owner, Question, Refusal,
    Remember, Unverified, Way,
};
use crate::drop_reason::{DropReason, Tally};
use crate::engine::{Verdict, Via};
use crate::interface::{Context, Interface, NeighborCheck, Received, neighbor_discovery, receive};
use crate::link::{Admitted, Link, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::icmp::{TunnelError, TunnelErrorKind};
use crate::proto41::{Flow, Outer};
use crate::time::{Expiry, Instant};
use crate::wire::{icmpv6, ipv6, protocol};

impl<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember> Node<I, C, LINKS, D> {
    /// [`decapsulate`](crate::engine::Machine::decapsulate) on a node that
    /// forwards by itself: what is not for this node is sent on in the same
    /// buffer.
    pub fn forward(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        self.enter(now);
        self.receive(true, outer, packet)
    }

    /// An IPv6 packet that arrived on the native link `link`, on a node that
    /// forwards by itself.
    pub fn forward_native(&mut self, now: Instant, link: LinkId, packet: &mut PacketMut<'_>) -> Verdict {
        self.enter(now);
        let Ok(header) = ipv6::Header::parse(packet.as_slice()) else { return self.drop(DropReason::NotIpv6) };
        let (source, destination) = (header.source(), header.destination());
        let Some(port) = self.datapath.port(link) else { return self.drop(DropReason::NotAddressed) };
        let filter = port.switches.ingress;
        // NDP-42: a router on the link is asked by Neighbor Discovery alone.
        if neighbor_discovery(packet.as_slice()).is_some() {
            self.told = false;
            let ask = |interface: &mut I, cx: &mut Context<'_, C>| {
                interface.control_mut().receive_native(cx, packet.as_slice())
            };
            match self.lend(link, ask) {
                Some(Received::Consumed) => return self.consumed(Verdict::Consumed { link }),
                Some(Received::Drop(reason)) => return self.drop(reason),
                _ => {}
            }
        }
        let entrance = Entrance::Native(link);
        let place = self.recall(entrance, packet);
        let kept = self.kept(entrance, place, packet);
        if place.is_err() {
            // TUN-17: the knob toward an edge network.
            if let Err(reason) = self.datapath.check_native_source(link, filter, &source) {
                return self.drop(reason);
            }
            if self.datapath.is_local(link, &destination) {
                return self.deliver(link, Admitted::Remote, packet);
            }
        }
        let Some(header) = InnerHeader::of::<C>(packet) else { return self.drop(DropReason::NotIpv6) };
        let origin = Origin::Forwarded { link, outer_source: None };
        self.send(&kept, (None, Expiry::NEVER), origin, &header, packet)
    }

    fn consumed(&mut self, verdict: Verdict) -> Verdict {
        self.counters.consumed = self.counters.consumed.plus(1);
        verdict
    }

    /// Does with a packet to an address of this node what a stack above it would.
    /// `None`: nothing.
    #[inline(never)]
    fn answer_for_stack(&mut self, link: LinkId, packet: &mut PacketMut<'_>) -> Option<Verdict> {
        let destination = ipv6::Header::parse(packet.as_slice()).ok()?.destination();
        if !self.datapath.is_local(link, &destination) {
            return None;
        }
        if icmpv6::echo_reply_in_place(packet).is_ok() {
            packet.set_link(Some(link));
            let answer = self.answer_via(link, packet).map(|via| Verdict::Answer { via, reason: None });
            return Some(self.consumed(answer.unwrap_or(Verdict::Consumed { link })));
        }
        is_unknown_informational(packet.as_slice()).then(|| self.drop(DropReason::IcmpUnknown))
    }

    /// Whether a packet to or from a neighbour may pass, and until when that is
    /// known.
    fn ask_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr, may_wait: bool) -> (NeighborCheck, Expiry) {
        let Some(port) = self.datapath.lent_port(link) else { return (NeighborCheck::Pass, Expiry::NEVER) };
        let control = port.interface.control_mut();
        let answer = control.check_neighbor(self.now, link, neighbor, may_wait);
        // Who reads only believes it again.
        let is_other = answer == NeighborCheck::Renewed;
        self.generation = self.generation.wrapping_add(is_other.into());
        (answer, if D::IS_ON { control.passes_until(neighbor) } else { Expiry::NEVER })
    }

    /// Finds the way of an answer that this node has just written, to a
    /// packet that came in by `link`.
    fn answer_via(&mut self, link: LinkId, packet: &mut PacketMut<'_>) -> Option<Via> {
        let destination = ipv6::Header::parse(packet.as_slice()).ok()?.destination();
        // A link-local sender is on the link that it spoke from.
        packet.set_link(destination.is_unicast_link_local().then_some(link));
        let (origin, header) = (Origin::Local, InnerHeader::of::<C>(packet)?);
        let (way, avoided) = self.datapath.way(origin, packet.link(), &header.source, &header.destination).ok()?;
        let fit = way.fit(origin, &header).ok()?;
        // SEC-1: no answer waits for a neighbour.
        if !self.ask_neighbor(way.link, &way.next_hop, false).0.passes() {
            return None;
        }
        match self.carry_out(&way, &fit, avoided, origin, packet) {
            Verdict::Tunnel { link, outer } => Some(Via::Tunnel { link, outer }),
            Verdict::Native { link, next_hop } => Some(Via::Native { link, next_hop }),
            _ => None,
        }
    }

    /// The link that an ICMPv4 error concerns; every one that believes it has
    /// acted upon it. `sender`: the one that sent what it quotes, if known.
    ///
    /// `TUN-35`, `TUN-45`: it must be about something that the link can have
    /// sent. Several links may share the IPv4 address, and the path to the
    /// destination is the same for all of them that leave by one
    /// [way](crate::proto41::underlay::Underlay::way). Where links of several
    /// ways can have sent it, it is said of the way of the likeliest; and of the
    /// ways of all that are as likely, since a path that nobody knows to be
    /// narrow loses packets. How many hops it was given is the business of one:
    /// see [`likelihood`](Self::likelihood).
    fn believe(
        &mut self,
        sender: Option<LinkId>,
        error: &TunnelError,
        quoted: Option<&ipv6::Header<'_>>,
    ) -> Option<LinkId> {
        let way = sender.and_then(|sender| self.datapath.link(sender)).map(|link| link.underlay().way());
        let believing: [Option<(u8, u64)>; LINKS] = core::array::from_fn(|place| {
            let id = self.datapath.in_order(place)?;
            let link = self.datapath.link(id).filter(|link| link.believes(error))?;
            let likelihood = match sender {
                Some(sender) => u8::from(sender == id),
                None => quoted.map_or(0, |header| self.likelihood(id, error, header)),
            };
            Some((likelihood, link.underlay().way())).filter(|(_, own)| way.is_none_or(|way| way == *own))
        });
        let (best, _) = believing.iter().flatten().max()?;
        let mut found: Option<(u8, LinkId)> = None;
        let is_unreachable = matches!(error.kind, TunnelErrorKind::Unreachable { .. });
        for (place, believes) in believing.iter().enumerate() {
            let Some((likelihood, way)) = *believes else { continue };
            if !believing.contains(&Some((*best, way))) {
                continue;
            }
            let Some(id) = self.datapath.in_order(place) else { break };
            let Some(port) = self.datapath.lent_port(id) else { break };
            // Who claims no less than is known changes nothing.
            let was_changed = port.interface.take_change();
            let result = port.interface.link_mut().underlay_mut().path_error(self.now, error);
            port.interface.take_change();
            let is_changed = was_changed || (result.is_ok() && error.too_big().is_some());
            if is_changed {
                self.decisions.make_void();
                self.generation = self.generation.wrapping_add(1);
                self.datapath.note_links();
            }
            if result.is_err() {
                continue;
            }
            if found.is_none_or(|(best, _)| best < likelihood) {
                found = Some((likelihood, id));
            }
            if is_unreachable && let Some(port) = self.datapath.lent_port(id) {
                port.interface.control_mut().doubt(self.now, error.destination);
            }
            self.told = false;
        }
        let (_, id) = found?;
        let port = self.datapath.lent_port(id)?;
        let ttl = port.interface.link().underlay().policy.ttl;
        if error.kind == TunnelErrorKind::TtlExceeded && !error.is_hop_limit(ttl) {
            port.interface.control_mut().doubt(self.now, error.destination);
        }
        Some(id)
    }

    /// How likely `link` is the one that sent a quoted packet: 4 if it would
    /// send it between these two IPv4 addresses, and of several that would, 2
    /// if the packet has its address, and 1 if the routes lead to it.
    fn likelihood(&self, link: LinkId, error: &TunnelError, quoted: &ipv6::Header<'_>) -> u8 {
        let (source, destination) = (quoted.source(), quoted.destination());
        let outer = Resolution::To { source: error.source, destination: error.destination };
        let sends = self.datapath.resolve_on(link, &source, &destination) == Some(outer);
        let is_local = self.datapath.link(link).is_some_and(|link| link.is_local(&source));
        let is_best = self.datapath.link_toward(&destination) == Some(link);
        u8::from(sends) << 2 | u8::from(is_local) << 1 | u8::from(is_best)
    }

    /// An ICMPv4 error about a packet of one of the links. `TUN-42`
    pub(super) fn path_error(&mut self, message: &mut PacketMut<'_>) -> Verdict {
        let error = match TunnelError::parse(message.as_slice()) {
            Ok(error) => error,
            Err(reason) => return self.drop(reason),
        };
        let quoted = error.inner(message.as_slice()).and_then(|inner| ipv6::Header::parse_quoted(inner).ok());
        let sender = quoted.map(|header| header.source());
        let link = self.believe(message.link(), &error, quoted.as_ref());
        let Some(link) = link else { return self.drop(DropReason::IcmpV4Ignored) };
        let consumed = self.consumed(Verdict::Consumed { link });
        let Some(sender) = sender.filter(|_| C::PARTS.contains(Parts::ERRORS)) else { return consumed };
        let local = self.datapath.is_local(link, &sender);
        let Some(path) = self.datapath.link(link) else { return consumed };
        let path_mtu = path.underlay().path_mtu(error.destination);
        let ttl = path.underlay().policy.ttl;
        let Some(source) = path.source_for(&sender) else { return consumed };
        // TUN-42 [RFC 4213 §3.4]. NDP-61: of a budget of its own, so that who
        // forges ICMPv4 errors takes no answer from a packet of ours.
        if !self.relayed_errors.take(self.now, self.error_rate) || error.answer(message, source, path_mtu, ttl).is_err()
        {
            return consumed;
        }
        if local {
            return Verdict::Answer { via: Via::Host { link }, reason: None };
        }
        match self.answer_via(link, message) {
            Some(via) => Verdict::Answer { via, reason: None },
            None => consumed,
        }
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember> Owner<I, C, LINKS> for Node<I, C, LINKS, D> {
    #[inline]
    fn datapath(&self) -> &Datapath<I, C, LINKS> {
        &self.datapath
    }

    /// Neighbor Discovery: to the interface that it came by, and to no other
    /// (`TUN-22`).
    fn control(&mut self, link: LinkId, from: Admitted, flow: &Flow, packet: &mut PacketMut<'_>) -> Option<Verdict> {
        self.told = false;
        let received = self.lend(link, |interface, cx| receive(interface, cx, from, flow, packet));
        match received? {
            Received::NotControl => None,
            Received::Consumed => Some(self.consumed(Verdict::Consumed { link })),
            Received::Drop(reason) => Some(self.drop(reason)),
            Received::Answer => {
                // ISA-53: back to where it came from, from where it was sent to.
                let (source, destination) = (flow.outer_destination, flow.outer_source);
                let packet = packet.as_slice();
                let wrap = |interface: &mut I, cx: &mut Context<'_, C>| {
                    cx.outer(interface.link(), source, destination, packet)
                };
                Some(match self.lend(link, wrap)? {
                    Ok(outer) => self.consumed(Verdict::Answer { via: Via::Tunnel { link, outer }, reason: None }),
                    Err(reason) => self.drop(reason),
                })
            }
        }
    }

    fn check_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr) -> Result<Expiry, Unverified> {
        let (answer, until) = self.ask_neighbor(link, neighbor, true);
        let stop = match answer {
            NeighborCheck::Pass | NeighborCheck::Renewed => return Ok(until),
            NeighborCheck::Refused => return Err(Unverified::Refused),
            NeighborCheck::TableFull => self.drop(DropReason::TableFull),
            NeighborCheck::Wait(ticket) => {
                self.counters.held = self.counters.held.plus(1);
                Verdict::Hold { ticket }
            }
        };
        Err(Unverified::Stop(stop))
    }

    #[inline(always)]
    fn deliver(&mut self, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict {
        if self.datapath.answers_echo()
            && let Some(verdict) = self.answer_for_stack(link, packet)
        {
            return verdict;
        }
        self.counters.delivered = self.counters.delivered.plus(1);
        Verdict::Deliver { link, from }
    }

    #[inline(always)]
    fn prepare(&mut self, way: &Way, fit: &Fit, avoided: Option<Avoided>) -> u16 {
        let mut identification = 0;
        if let Resolution::To { source, destination } = way.resolution {
            if !fit.dont_fragment {
                identification = self.identifications.next(self.now, source, destination);
            }
            if let Some(port) = self.datapath.lent_port(way.link) {
                port.interface.control_mut().note_sent(self.now, destination);
            }
        }
        if let Some((link, next_hop)) = avoided
            && let Some(port) = self.datapath.lent_port(link)
        {
            port.interface.control_mut().note_avoided(self.now, &next_hop);
        }
        identification
    }

    #[inline]
    fn sent(&mut self, verdict: Verdict) -> Verdict {
        let counter = match verdict {
            Verdict::Native { .. } => &mut self.counters.native,
            _ => &mut self.counters.tunnelled,
        };
        *counter = counter.plus(1);
        verdict
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.count(reason);
        Verdict::Drop(reason)
    }

    fn refuse(&mut self, refusal: &Refusal, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        self.counters.count(refusal.reason);
        let drop = Verdict::Drop(refusal.reason);
        if !C::PARTS.contains(Parts::ERRORS) {
            return drop;
        }
        let (Some(kind), Some(link)) = (refusal.answer, refusal.link) else { return drop };
        let Ok(header) = ipv6::Header::parse(packet.as_slice()) else { return drop };
        // NDP-64: from an address of ours on the side that the packet came
        // from, which the peer's source check lets in.
        let side = match origin {
            Origin::Local => link,
            Origin::Forwarded { link, .. } => link,
        };
        let Some(source) = self.datapath.link(side).and_then(|link| link.source_for(&header.source())) else {
            return drop;
        };
        // NDP-61 [RFC 4443 §2.4 (f)]
        if !self.own_errors.take(self.now, self.error_rate) || icmpv6::error_in_place(packet, source, kind).is_err() {
            return drop;
        }
        let reason = Some(refusal.reason);
        match origin {
            Origin::Local => Verdict::Answer { via: Via::Host { link }, reason },
            Origin::Forwarded { link, .. } => match self.answer_via(link, packet) {
                Some(via) => Verdict::Answer { via, reason },
                None => drop,
            },
        }
    }

    #[inline]
    fn generation(&self) -> u32 {
        self.decisions.generation().wrapping_add(self.datapath.routes.generation())
    }

    #[inline(always)]
    fn recall(&mut self, entrance: Entrance<'_>, packet: &PacketMut<'_>) -> Result<usize, usize> {
        let generation = Owner::generation(self);
        match Question::of(entrance, packet) {
            Some(question) if D::IS_ON => self.decisions.recall(&question, generation, self.now),
            _ => Err(NOWHERE),
        }
    }

    #[inline]
    fn decisions(&self) -> &impl Memory {
        &self.decisions
    }

    #[inline(always)]
    fn kept(&self, entrance: Entrance<'_>, place: Result<usize, usize>, packet: &PacketMut<'_>) -> Kept {
        match Question::of(entrance, packet) {
            Some(question) if D::IS_ON => Kept { key: question.key(), place, generation: Owner::generation(self) },
            _ => Kept::NOWHERE,
        }
    }

    fn remember(&mut self, kept: &Kept, until: Expiry) -> Option<&mut Decision> {
        self.decisions.remember(kept, until, self.now)
    }
}

/// `NDP-69 [RFC 4443 §2.4 (b)]`
fn is_unknown_informational(packet: &[u8]) -> bool {
    ipv6::upper_layer(packet).is_ok_and(|upper| {
        let message_type = packet.get(upper.offset).copied().unwrap_or(0);
        upper.protocol == protocol::ICMPV6
            && upper.fragment_offset == 0
            && message_type >= 128
            && !(128..=137).contains(&message_type)
    })
}
