//! What becomes of one packet: the datapath's decision, carried out.

use core::net::Ipv6Addr;

use super::Node;
use crate::capacity::Capacity;
use crate::datapath::{Origin, Plan, Refusal, decrement_hop_limit, execute, must_be_verified};
use crate::drop_reason::{DropReason, Tally};
use crate::engine::{Ticket, Verdict, Via};
use crate::interface::{Context, Interface, NeighborCheck, Received, neighbor_discovery, receive};
use crate::link::{Admitted, Link, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::icmp::TunnelError;
use crate::proto41::{self, Flow};
use crate::time::Instant;
use crate::wire::icmpv6::Unreachable;
use crate::wire::{icmpv6, ipv4, ipv6, protocol};

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Node<I, C, LINKS> {
    /// An IPv4 packet from the network, on a node that forwards by itself:
    /// what is not for this node is sent on in the same buffer.
    pub fn forward(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        self.receive(now, packet, true)
    }

    /// An IPv6 packet that arrived on the native link `link`, on a node that
    /// forwards by itself.
    pub fn forward_native(&mut self, now: Instant, link: LinkId, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.enter(now);
        let Ok(header) = ipv6::Header::parse(packet.as_slice()) else { return self.drop(DropReason::NotIpv6) };
        let (source, destination) = (header.source(), header.destination());
        let Some(port) = self.datapath.port(link) else { return self.drop(DropReason::NotAddressed) };
        let filter = port.switches.ingress;
        // NDP-42: a router on the link is asked by Neighbor Discovery alone.
        let control = neighbor_discovery(packet.as_slice()).is_some();
        let ask = |node: &mut Self| {
            node.with_interface(now, link, |interface, cx| {
                interface.control_mut().receive_native(cx, packet.as_slice())
            })
        };
        match control.then(|| ask(self)).flatten() {
            Some(Received::Consumed) => {
                self.counters.consumed = self.counters.consumed.plus(1);
                return Verdict::Consumed { link };
            }
            Some(Received::Drop(reason)) => return self.drop(reason),
            _ => {}
        }
        // TUN-17: the knob toward an edge network.
        if let Err(reason) = self.datapath.check_native_source(link, filter, &source) {
            return self.drop(reason);
        }
        if self.datapath.is_local(link, &destination) {
            return self.deliver(now, link, Admitted::Remote, packet);
        }
        self.send_on(now, Origin::Forwarded { link, outer_source: None }, packet)
    }

    pub(super) fn receive(&mut self, now: Instant, packet: &mut PacketMut<'_>, forwards: bool) -> Verdict {
        let now = self.enter(now);
        let (link, from, flow) = match self.datapath.admit(packet.as_slice()) {
            Ok(admission) => admission,
            // SEC-11, TUN-13: in silence.
            Err(reason) => return self.drop(reason),
        };
        let origin = Origin::Forwarded { link, outer_source: Some(flow.outer_source) };
        if self.datapath.is_control(link, &flow, packet.as_slice()) {
            if let Err(reason) = proto41::decapsulate(packet, &flow) {
                return self.drop(reason);
            }
            if let Some(verdict) = self.control(now, link, from, &flow, packet) {
                return verdict;
            }
            return match self.datapath.ends_here(link, &flow.inner_destination) {
                Ok(ends_here) if ends_here || !forwards => self.deliver(now, link, from, packet),
                Ok(_) => self.send_on(now, origin, packet),
                Err(reason) => self.drop(reason),
            };
        }
        // RTE-7: where nothing is forwarded, nobody need be asked.
        let ends_here = match self.datapath.ends_here(link, &flow.inner_destination) {
            Ok(ends_here) => ends_here,
            Err(reason) => return self.drop(reason),
        };
        // SEC-1 [RFC 6324 §3.1.1]: the reverse check.
        if must_be_verified(from, ends_here) {
            match self.check_neighbor(now, link, &flow.inner_source, true) {
                NeighborCheck::Pass => {}
                NeighborCheck::Wait(ticket) => return self.hold(ticket),
                NeighborCheck::Refused => return self.drop(DropReason::NeighborUnverified),
                NeighborCheck::TableFull => return self.drop(DropReason::TableFull),
            }
        }
        if ends_here || !forwards {
            // TUN-19 [RFC 6040 §4.2]. TUN-53: nothing is logged here, so
            // nothing needs a limit; drops are counted.
            return match proto41::decapsulate(packet, &flow) {
                Ok(_) => self.deliver(now, link, from, packet),
                Err(reason) => self.drop(reason),
            };
        }
        match self.datapath.plan_onward(link, &flow, packet) {
            Ok(plan) => self.carry_out(now, &plan, origin, Some(&flow), packet),
            Err(refusal) => self.refuse(now, &refusal, origin, Some(&flow), packet),
        }
    }

    /// Neighbor Discovery: to the interface that it came by, and to no other
    /// (`TUN-22`). `None`: it is not interested.
    fn control(
        &mut self,
        now: Instant,
        link: LinkId,
        from: Admitted,
        flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Option<Verdict> {
        match self.with_interface(now, link, |interface, cx| receive(interface, cx, from, flow, packet))? {
            Received::NotControl => None,
            Received::Consumed => {
                self.counters.consumed = self.counters.consumed.plus(1);
                Some(Verdict::Consumed { link })
            }
            Received::Drop(reason) => Some(self.drop(reason)),
            Received::Answer => {
                // ISA-53: back to where it came from, from where it was sent to.
                let (source, destination) = (flow.outer_destination, flow.outer_source);
                let wrap =
                    |interface: &mut I, cx: &mut Context<'_, C>| cx.wrap(interface.link(), source, destination, packet);
                let sent = self.with_interface(now, link, wrap)?;
                Some(match sent {
                    Ok(outer) => {
                        self.counters.consumed = self.counters.consumed.plus(1);
                        Verdict::Answer { via: Via::Tunnel { link, outer }, reason: None }
                    }
                    Err(reason) => self.drop(reason),
                })
            }
        }
    }

    /// Gives a packet to this host's IPv6, or plays its part.
    fn deliver(&mut self, now: Instant, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict {
        let header = ipv6::Header::parse(packet.as_slice());
        let is_asked = |header: ipv6::Header<'_>| self.datapath.is_local(link, &header.destination());
        if self.datapath.answers_echo && header.is_ok_and(is_asked) {
            if icmpv6::echo_reply_in_place(packet).is_ok() {
                self.counters.consumed = self.counters.consumed.plus(1);
                packet.set_link(Some(link));
                return match self.answer_via(now, link, packet) {
                    Some(via) => Verdict::Answer { via, reason: None },
                    None => Verdict::Consumed { link },
                };
            }
            if is_unknown_informational(packet.as_slice()) {
                return self.drop(DropReason::IcmpUnknown);
            }
        }
        self.counters.delivered = self.counters.delivered.plus(1);
        Verdict::Deliver { link, from }
    }

    /// Sends a packet from the inside, or from another link, where it
    /// belongs.
    pub(super) fn send_on(&mut self, now: Instant, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        match self.datapath.plan(packet, origin) {
            Ok(plan) => self.carry_out(now, &plan, origin, None, packet),
            Err(refusal) => self.refuse(now, &refusal, origin, None, packet),
        }
    }

    /// Does what was planned for a packet, which is still in its outer header
    /// where that is `flow`.
    fn carry_out(
        &mut self,
        now: Instant,
        plan: &Plan,
        origin: Origin,
        flow: Option<&Flow>,
        packet: &mut PacketMut<'_>,
    ) -> Verdict {
        // SEC-1 [RFC 6324 §3.1.1]
        match self.check_neighbor(now, plan.link, &plan.next_hop, true) {
            NeighborCheck::Pass => {}
            NeighborCheck::Wait(ticket) => return self.hold(ticket),
            NeighborCheck::TableFull => return self.drop(DropReason::TableFull),
            NeighborCheck::Refused => {
                let code = Unreachable::Address;
                let refusal = Refusal::unreachable(DropReason::NeighborUnverified, code, Some(plan.link));
                return self.refuse(now, &refusal, origin, flow, packet);
            }
        }
        let room = packet.headroom().saturating_add(flow.map_or(0, |flow| flow.header_len.into()));
        let identification = match self.prepare(now, plan, room) {
            Ok(identification) => identification,
            Err(reason) => return self.drop(reason),
        };
        if let Some(flow) = flow
            && let Err(reason) = proto41::decapsulate(packet, flow)
        {
            return self.drop(reason);
        }
        if let Origin::Forwarded { .. } = origin {
            decrement_hop_limit(packet);
        }
        match execute(plan, packet, identification) {
            Ok(verdict) => {
                let counter = match verdict {
                    Verdict::Native { .. } => &mut self.counters.native,
                    _ => &mut self.counters.tunnelled,
                };
                *counter = counter.plus(1);
                verdict
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn check_neighbor(&mut self, now: Instant, link: LinkId, neighbor: &Ipv6Addr, may_wait: bool) -> NeighborCheck {
        let Some(port) = self.datapath.port_mut(link) else { return NeighborCheck::Pass };
        port.interface.control_mut().check_neighbor(now, link, neighbor, may_wait)
    }

    fn hold(&mut self, ticket: Ticket) -> Verdict {
        self.counters.held = self.counters.held.plus(1);
        Verdict::Hold { ticket }
    }

    /// What must be there before a packet is changed: room in front of it,
    /// and an Identification, which it gives. Notes what sending changes.
    fn prepare(&mut self, now: Instant, plan: &Plan, room: usize) -> Result<u16, DropReason> {
        let mut identification = 0;
        if let Resolution::To { source, destination } = plan.resolution {
            if room < ipv4::HEADER_LEN {
                return Err(DropReason::NoHeadroom);
            }
            if !plan.dont_fragment {
                identification = self.identifications.next(now, source, destination);
            }
            if let Some(port) = self.datapath.port_mut(plan.link) {
                port.interface.control_mut().note_sent(now, destination);
            }
        }
        if let Some((link, next_hop)) = plan.avoided
            && let Some(port) = self.datapath.port_mut(link)
        {
            port.interface.control_mut().note_avoided(now, &next_hop);
        }
        Ok(identification)
    }

    /// Drops a packet, and tells its sender where that is due.
    fn refuse(
        &mut self,
        now: Instant,
        refusal: &Refusal,
        origin: Origin,
        flow: Option<&Flow>,
        packet: &mut PacketMut<'_>,
    ) -> Verdict {
        self.counters.count(refusal.reason);
        let drop = Verdict::Drop(refusal.reason);
        let (Some(kind), Some(link)) = (refusal.answer, refusal.link) else { return drop };
        // An answer is written over the inner packet.
        if let Some(flow) = flow
            && proto41::decapsulate(packet, flow).is_err()
        {
            return drop;
        }
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
        if !self.budgets.take_error(now) || icmpv6::error_in_place(packet, source, kind).is_err() {
            return drop;
        }
        let reason = Some(refusal.reason);
        match origin {
            Origin::Local => Verdict::Answer { via: Via::Host { link }, reason },
            Origin::Forwarded { link, .. } => match self.answer_via(now, link, packet) {
                Some(via) => Verdict::Answer { via, reason },
                None => drop,
            },
        }
    }

    /// Finds the way of an answer that this node has just written, to a
    /// packet that came in by `link`.
    fn answer_via(&mut self, now: Instant, link: LinkId, packet: &mut PacketMut<'_>) -> Option<Via> {
        let destination = ipv6::Header::parse(packet.as_slice()).ok()?.destination();
        // A link-local sender is on the link that it spoke from.
        packet.set_link(destination.is_unicast_link_local().then_some(link));
        let plan = self.datapath.plan(packet, Origin::Local).ok()?;
        // SEC-1: no answer waits for a neighbour.
        if self.check_neighbor(now, plan.link, &plan.next_hop, false) != NeighborCheck::Pass {
            return None;
        }
        let identification = self.prepare(now, &plan, packet.headroom()).ok()?;
        match execute(&plan, packet, identification).ok()? {
            Verdict::Tunnel { link, outer } => Some(Via::Tunnel { link, outer }),
            Verdict::Native { link, next_hop } => Some(Via::Native { link, next_hop }),
            _ => None,
        }
    }

    /// The link that an ICMPv4 error concerns; every one that believes it has
    /// acted upon it.
    ///
    /// `TUN-35`, `TUN-45`: it must be about something that the link can have
    /// sent. Several links may share the IPv4 address, and the path to the
    /// destination is the same for all of them. Who is to be told is the one
    /// whose own address the quoted packet was from, else the first.
    fn believe(&mut self, now: Instant, error: &TunnelError, sender: Option<&Ipv6Addr>) -> Option<LinkId> {
        let (mut first, mut own) = (None, None);
        for place in 0..LINKS {
            let Some(id) = self.datapath.in_order(place) else { break };
            let Some(port) = self.datapath.port_mut(id) else { break };
            let link = port.interface.link_mut();
            if !link.owns_ipv4(error.source) || link.path_error(now, error).is_err() {
                continue;
            }
            first = first.or(Some(id));
            if sender.is_some_and(|sender| link.is_local(sender)) {
                own = own.or(Some(id));
            }
            if error.too_big().is_none() {
                port.interface.control_mut().doubt(now, error.destination);
            }
            self.changed();
        }
        own.or(first)
    }

    /// An ICMPv4 error about a packet of one of the links. `TUN-42`
    pub(super) fn path_error(&mut self, now: Instant, message: &mut PacketMut<'_>) -> Verdict {
        let now = self.enter(now);
        let error = match TunnelError::parse(message.as_slice()) {
            Ok(error) => error,
            Err(reason) => return self.drop(reason),
        };
        let quoted = error.inner(message.as_slice()).and_then(|inner| ipv6::Header::parse_quoted(inner).ok());
        let sender = quoted.map(|header| header.source());
        let link = self.believe(now, &error, sender.as_ref());
        let Some(link) = link else { return self.drop(DropReason::IcmpV4Ignored) };
        self.counters.consumed = self.counters.consumed.plus(1);
        let consumed = Verdict::Consumed { link };
        let Some(sender) = sender else { return consumed };
        let local = self.datapath.is_local(link, &sender);
        let Some(path) = self.datapath.link(link) else { return consumed };
        let path_mtu = path.underlay().path_mtu(error.destination);
        let Some(source) = path.source_for(&sender) else { return consumed };
        // TUN-42 [RFC 4213 §3.4]. NDP-61: of a budget of its own, so that who
        // forges ICMPv4 errors takes no answer from a packet of ours.
        if !self.budgets.take_relayed(now) || error.answer(message, source, path_mtu).is_err() {
            return consumed;
        }
        if local {
            return Verdict::Answer { via: Via::Host { link }, reason: None };
        }
        match self.answer_via(now, link, message) {
            Some(via) => Verdict::Answer { via, reason: None },
            None => consumed,
        }
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
