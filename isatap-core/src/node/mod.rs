//! The owner of links, routes and control machines.
//!
//! A [`Node`] is what every role is: an ISATAP host is one with one
//! interface, a router one with two that forward. It applies what the
//! [`Datapath`] decides: counts, draws IPv4 Identifications, writes ICMPv6
//! errors within a budget, and hands Neighbor Discovery to the interface that
//! it came by.

mod any;
mod budget;

use core::net::Ipv4Addr;

use crate::capacity::{Capacity, Standard};
use crate::datapath::{Datapath, Origin, Plan, Port, Refusal, Switches, decrement_hop_limit, execute, is_control};
use crate::drop_reason::{Counters, DropReason, Tally};
use crate::engine::{Entropy, Event, Machine, Transmit, Verdict, Via};
use crate::error::{EmitError, TableFull};
use crate::interface::{Context, Ids, Interface, Received};
use crate::isatap::{self, Answer, HostConfig, HostInterface, ResolveFailure};
use crate::link::{Admitted, LinkKind, Locator, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::icmp::TunnelError;
use crate::proto41::identification::Identifications;
use crate::proto41::{self, Flow};
use crate::route::{Route, RouteKey};
use crate::time::Instant;
use crate::wire::{icmpv6, ipv6, protocol};

pub use any::AnyInterface;
use budget::Budget;

/// A node of any mix of links.
pub type AnyNode<C = Standard, const LINKS: usize = 4> = Node<AnyInterface<C>, C, LINKS>;

/// An ISATAP host: a node with this one interface.
pub type IsatapHost<C = Standard> = Node<isatap::HostInterface<C>, C, 1>;

/// How a node behaves, whatever its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Whether the node itself answers echo requests to its addresses and
    /// discards unknown ICMPv6, because no kernel or stack sits above it.
    /// `NDP-65`, `NDP-69`
    pub answer_echo: bool,
    /// ICMPv6 errors a second. `NDP-61`
    pub errors_per_second: u16,
    /// ICMPv6 errors at once.
    pub error_burst: u16,
    /// The secret that makes IPv4 Identifications hard to guess; zero: they
    /// count from zero, for tests.
    pub identification_seed: [u64; 2],
}

impl NodeConfig {
    /// Echo requests are delivered; 10 errors a second, 10 at once.
    pub const DEFAULT: NodeConfig =
        NodeConfig { answer_echo: false, errors_per_second: 10, error_burst: 10, identification_seed: [0; 2] };
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig::DEFAULT
    }
}

/// Links, routes, control machines and what packets change.
#[derive(Clone)]
pub struct Node<I, C: Capacity = Standard, const LINKS: usize = 4> {
    datapath: Datapath<I, C, LINKS>,
    identifications: Ids<C>,
    counters: Counters<C::Tally>,
    budget: Budget,
    now: Instant,
    generation: u32,
    answer_echo: bool,
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Node<I, C, LINKS> {
    /// A node without links.
    #[must_use]
    pub const fn new(config: NodeConfig) -> Self {
        Self::with_datapath(config, Datapath::new())
    }

    const fn with_datapath(config: NodeConfig, datapath: Datapath<I, C, LINKS>) -> Self {
        Node {
            datapath,
            identifications: Identifications::new(config.identification_seed),
            counters: Counters::ZERO,
            budget: Budget::new(config.errors_per_second, config.error_burst),
            now: Instant::ZERO,
            generation: 0,
            answer_echo: config.answer_echo,
        }
    }

    /// Adds an interface.
    ///
    /// # Errors
    /// There are `LINKS` of them already.
    pub fn add(&mut self, interface: I, switches: Switches) -> Result<LinkId, TableFull> {
        self.changed();
        self.datapath.add(interface, switches)
    }

    /// An interface, to be asked.
    #[must_use]
    pub fn interface(&self, id: LinkId) -> Option<&I> {
        self.datapath.port(id).map(|port| &port.link)
    }

    /// An interface, to be told something: `tell` gets it with what it
    /// borrows of the node. `None` when there is no such interface.
    pub fn with_interface<R>(
        &mut self,
        now: Instant,
        id: LinkId,
        tell: impl FnOnce(&mut I, &mut Context<'_, C>) -> R,
    ) -> Option<R> {
        let now = self.clamp(now);
        self.changed();
        let (port, routes) = self.datapath.split(id)?;
        let forwarding = port.switches.forwarding;
        let mut cx = Context { now, id, routes, identifications: &mut self.identifications, forwarding };
        Some(tell(&mut port.link, &mut cx))
    }

    /// The switches of an interface, to be changed.
    pub fn switches_mut(&mut self, id: LinkId) -> Option<&mut Switches> {
        self.changed();
        self.datapath.port_mut(id).map(|port| &mut port.switches)
    }

    /// Links and routes.
    #[must_use]
    pub fn datapath(&self) -> &Datapath<I, C, LINKS> {
        &self.datapath
    }

    /// The routes in use.
    pub fn routes(&self) -> impl Iterator<Item = &Route> {
        self.datapath.routes.iter()
    }

    /// Adds a route, or replaces the one of the same key.
    ///
    /// # Errors
    /// The route table is full.
    pub fn insert_route(&mut self, route: Route) -> Result<(), TableFull> {
        self.changed();
        self.datapath.routes.insert(route).map(|_| ())
    }

    /// Removes a route.
    pub fn remove_route(&mut self, key: &RouteKey) -> Option<Route> {
        self.changed();
        self.datapath.routes.remove(key)
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<C::Tally> {
        &self.counters
    }

    /// Adds what threads counted that work on a [`snapshot`](Self::snapshot).
    pub fn merge_counters<T: Tally>(&mut self, counted: &Counters<T>) {
        self.counters.merge(counted);
    }

    /// Notes that threads have sent packets to a neighbour. `NDP-50`
    pub fn note_sent(&mut self, now: Instant, link: LinkId, destination: Ipv4Addr) {
        let now = self.clamp(now);
        if let Some(port) = self.datapath.port_mut(link) {
            port.link.note_sent(now, destination);
        }
    }

    /// A number that changes when a new [`snapshot`](Self::snapshot) may
    /// differ from the last one.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.wrapping_add(self.datapath.routes.generation())
    }

    /// Links and routes as they are now, for threads.
    #[must_use]
    pub fn snapshot(&self) -> Datapath<I::Snapshot, C, LINKS> {
        self.datapath.map(Interface::snapshot)
    }

    /// Gives the IPv4 Identifications another secret. Values given before
    /// may come again at once.
    pub fn reseed(&mut self, seed: [u64; 2]) {
        self.identifications.reseed(seed);
    }

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
        let destination = header.destination();
        if self.datapath.is_local(link, &destination) {
            return self.deliver(now, link, Admitted::Remote, packet);
        }
        self.send_on(now, Origin::Forwarded { link, outer_source: None }, packet)
    }

    fn receive(&mut self, now: Instant, packet: &mut PacketMut<'_>, forwards: bool) -> Verdict {
        let now = self.enter(now);
        let (link, from, flow) = match self.datapath.admit(packet.as_slice()) {
            Ok(admission) => admission,
            Err(reason) => return self.drop(reason),
        };
        let control = is_control(&flow, packet.as_slice());
        // TUN-53: combinations that no tunnel entry makes are not logged here.
        if let Err(reason) = proto41::decapsulate(packet, &flow) {
            return self.drop(reason);
        }
        if control && let Some(verdict) = self.control(now, link, from, &flow, packet) {
            return verdict;
        }
        // Groups have the scope of the link here: none is forwarded.
        let destination = &flow.inner_destination;
        if !forwards || destination.is_multicast() || self.datapath.is_local(link, destination) {
            return self.deliver(now, link, from, packet);
        }
        self.send_on(now, Origin::Forwarded { link, outer_source: Some(flow.outer_source) }, packet)
    }

    /// Neighbor Discovery: to the interface. `None`: it is not interested.
    fn control(
        &mut self,
        now: Instant,
        link: LinkId,
        from: Admitted,
        flow: &Flow,
        packet: &mut PacketMut<'_>,
    ) -> Option<Verdict> {
        match self.with_interface(now, link, |interface, cx| interface.receive(cx, from, flow, packet))? {
            Received::NotControl => None,
            Received::Consumed => {
                self.counters.consumed = self.counters.consumed.plus(1);
                Some(Verdict::Consumed { link })
            }
            Received::Drop(reason) => Some(self.drop(reason)),
            Received::Answer => {
                // ISA-53: back to where it came from, from where it was sent to.
                let (source, destination) = (flow.outer_destination, flow.outer_source);
                let sent = self.with_interface(now, link, |interface, cx| {
                    let path_mtu = interface.path_mtu(destination);
                    let policy = *interface.policy();
                    cx.wrap(&policy, path_mtu, source, destination, packet)
                })?;
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
        if self.answer_echo {
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
    fn send_on(&mut self, now: Instant, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        let plan = match self.datapath.plan(packet, origin) {
            Ok(plan) => plan,
            Err(refusal) => return self.refuse(now, &refusal, origin, packet),
        };
        if let Origin::Forwarded { .. } = origin {
            decrement_hop_limit(packet);
        }
        match self.carry_out(now, &plan, packet) {
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

    /// Does what was planned, and notes what that changes.
    fn carry_out(&mut self, now: Instant, plan: &Plan, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        let mut identification = 0;
        if let Resolution::To { source, destination } = plan.resolution {
            if !plan.dont_fragment {
                identification = self.identifications.next(now, source, destination)?;
            }
            if let Some(port) = self.datapath.port_mut(plan.link) {
                port.link.note_sent(now, destination);
            }
        }
        if let Some((link, next_hop)) = plan.avoided
            && let Some(port) = self.datapath.port_mut(link)
        {
            port.link.note_avoided(now, &next_hop);
        }
        execute(plan, packet, identification)
    }

    /// Drops a packet, and tells its sender where that is due.
    fn refuse(&mut self, now: Instant, refusal: &Refusal, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        self.counters.count(refusal.reason);
        let drop = Verdict::Drop(refusal.reason);
        let (Some(kind), Some(link)) = (refusal.answer, refusal.link) else { return drop };
        let Ok(header) = ipv6::Header::parse(packet.as_slice()) else { return drop };
        // NDP-64: from an address of ours on the side that the packet came
        // from, which the peer's source check lets in.
        let side = match origin {
            Origin::Local => link,
            Origin::Forwarded { link, .. } => link,
        };
        let Some(source) = self.datapath.port(side).and_then(|port| port.link.source_for(&header.source())) else {
            return drop;
        };
        // NDP-61 [RFC 4443 §2.4 (f)]
        if !self.budget.take(now) || icmpv6::error_in_place(packet, source, kind).is_err() {
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
        match self.carry_out(now, &plan, packet).ok()? {
            Verdict::Tunnel { link, outer } => Some(Via::Tunnel { link, outer }),
            Verdict::Native { link, next_hop } => Some(Via::Native { link, next_hop }),
            _ => None,
        }
    }

    /// Clamps the time and counts a packet.
    fn enter(&mut self, now: Instant) -> Instant {
        self.counters.entered = self.counters.entered.plus(1);
        self.clamp(now)
    }

    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn changed(&mut self) {
        self.generation = self.generation.wrapping_add(1);
    }

    fn drop(&mut self, reason: DropReason) -> Verdict {
        self.counters.count(reason);
        Verdict::Drop(reason)
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Machine for Node<I, C, LINKS> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.enter(now);
        self.send_on(now, Origin::Local, packet)
    }

    fn decapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        self.receive(now, packet, false)
    }

    fn handle_icmpv4(&mut self, now: Instant, message: &mut PacketMut<'_>) -> Verdict {
        let now = self.enter(now);
        let error = match TunnelError::parse(message.as_slice()) {
            Ok(error) => error,
            Err(reason) => return self.drop(reason),
        };
        // TUN-35, TUN-45: about something that one of our links can have sent.
        let link = self.datapath.by_precedence().find_map(|(id, port)| {
            (port.link.kind() != LinkKind::Native && port.link.owns_ipv4(error.source)).then_some(id)
        });
        let Some(link) = link else { return self.drop(DropReason::IcmpV4Ignored) };
        let taken = self.with_interface(now, link, |interface, _| interface.path_error(now, &error));
        if let Some(Err(reason)) = taken {
            return self.drop(reason);
        }
        self.counters.consumed = self.counters.consumed.plus(1);
        let consumed = Verdict::Consumed { link };
        let quoted = error.inner(message.as_slice()).and_then(|inner| ipv6::Header::parse_quoted(inner).ok());
        let Some(sender) = quoted.map(|header| header.source()) else { return consumed };
        let Some(port) = self.datapath.port(link) else { return consumed };
        let path_mtu = port.link.path_mtu(error.destination);
        let Some(source) = port.link.source_for(&sender) else { return consumed };
        let local = self.datapath.is_local(link, &sender);
        // TUN-42 [RFC 4213 §3.4]
        if !self.budget.take(now) || error.answer(message, source, path_mtu).is_err() {
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

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let now = self.clamp(now);
        self.datapath.routes.expire(now);
        for id in link_ids::<LINKS>() {
            self.with_interface(now, id, |interface, cx| interface.handle_timeout(cx, entropy));
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        out.clear();
        for id in link_ids::<LINKS>() {
            // A packet that could not be sent is followed by the next one.
            while self.interface(id).is_some_and(|interface| interface.has_packet(self.now)) {
                let sent = self.with_interface(self.now, id, |interface, cx| interface.poll_transmit(cx, out));
                if let Some(transmit) = sent.transpose()?.flatten() {
                    return Ok(Some(transmit));
                }
            }
        }
        out.clear();
        Ok(None)
    }

    fn poll_event(&mut self) -> Option<Event> {
        for id in link_ids::<LINKS>() {
            let event = self.with_interface(self.now, id, |interface, cx| interface.poll_event(cx));
            if let Some(event) = event.flatten() {
                return Some(event);
            }
        }
        self.datapath.routes.poll_change().map(|(change, route)| Event::Route { change, route })
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let mut next = self.datapath.routes.deadline();
        let mut waiting = self.datapath.routes.has_changes();
        for (_, port) in self.datapath.by_precedence() {
            next = next.min(port.link.deadline());
            waiting |= port.link.has_packet(self.now) || port.link.has_event();
        }
        if waiting { Some(self.now) } else { next.instant() }
    }
}

/// The one interface of a host.
const ONLY: LinkId = LinkId(0);

impl<C: Capacity> Node<HostInterface<C>, C, 1> {
    /// An ISATAP host without locators: [`set_locators`](Self::set_locators)
    /// brings it up. May be a constant.
    #[must_use]
    pub const fn host(config: HostConfig) -> Self {
        let port = Port { link: HostInterface::new(config), switches: Switches::DEFAULT };
        Self::with_datapath(NodeConfig::DEFAULT, Datapath::of([Some(port)]))
    }

    /// See [`HostInterface::set_locators`].
    ///
    /// # Errors
    /// More locators than the table holds.
    pub fn set_locators(&mut self, now: Instant, locators: &[Locator]) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.set_locators(cx, locators)).unwrap_or(Ok(()))
    }

    /// See [`HostInterface::add_router`].
    ///
    /// # Errors
    /// The router list is full.
    pub fn add_router(&mut self, now: Instant, address: Ipv4Addr) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.add_router(cx, address)).unwrap_or(Ok(()))
    }

    /// See [`HostInterface::routers_resolved`].
    ///
    /// # Errors
    /// More addresses than the router list holds.
    pub fn routers_resolved(
        &mut self,
        now: Instant,
        answer: Result<Answer<'_>, ResolveFailure>,
    ) -> Result<(), TableFull> {
        self.with_interface(now, ONLY, |host, cx| host.routers_resolved(cx, answer)).unwrap_or(Ok(()))
    }

    /// This host's addresses.
    pub fn addresses(&self) -> impl Iterator<Item = crate::engine::LearnedAddress> + '_ {
        self.interface(ONLY).into_iter().flat_map(HostInterface::addresses)
    }
}

/// The numbers of all links that there can be.
fn link_ids<const LINKS: usize>() -> impl Iterator<Item = LinkId> {
    (0..=u8::MAX).take(LINKS).map(LinkId)
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
