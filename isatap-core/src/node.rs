//! The owner of links, routes and control machines.
//!
//! A [`Node`] is what every role is: an ISATAP host is one with one
//! interface, a router one with two that forward. It applies what the
//! [`Datapath`] decides: counts, draws IPv4 Identifications, writes ICMPv6
//! errors within a budget, and hands Neighbor Discovery to the interface that
//! it came by.

mod any;
mod host;
mod packets;

use core::net::Ipv4Addr;

use crate::capacity::{Capacity, Small, Standard};
use crate::datapath::{Datapath, NoDecisions, Owner, Port, Remember, Switches};
use crate::drop_reason::{Counters, DropReason, Tally};
use crate::engine::limit::{Rate, TokenBucket};
use crate::engine::{Admits, Carried, Change, Entropy, Event, Machine, Sends, Transmit, Verdict, draw_key};
use crate::error::{EmitError, TableFull};
use crate::interface::{Context, Ids, Interface, RefusalsOf, insert_route};
use crate::isatap;
use crate::link::Link;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::Outer;
use crate::proto41::identification::Identifications;
use crate::route::{Route, RouteKey};
use crate::time::{Expiry, Instant};

pub use any::AnyInterface;

/// A node of any mix of links.
pub type AnyNode<C = Standard, const LINKS: usize = 4, D = NoDecisions> = Node<AnyInterface<C>, C, LINKS, D>;

/// An ISATAP host: a node with this one interface.
pub type IsatapHost<C = Standard, D = NoDecisions> = Node<isatap::HostInterface<C>, C, 1, D>;

/// For firmware: a whole host, with its tables and counters.
const _: () = assert!(size_of::<IsatapHost<Small>>() <= 2048);

/// How a node behaves, whatever its links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Whether the node itself answers echo requests to its addresses and
    /// discards unknown ICMPv6, because no kernel or stack sits above it.
    /// `NDP-65`, `NDP-69`
    pub answer_echo: bool,
    /// ICMPv6 errors a second; as many again that pass on ICMPv4 errors.
    /// `NDP-61`
    pub errors_per_second: u16,
    /// ICMPv6 errors at once; no more than come together in 71 minutes, and
    /// none at all where none are allowed a second.
    pub error_burst: u16,
    /// The secret that makes IPv4 Identifications hard to guess; `None`: of
    /// the first entropy. Zeros: they count from zero, for tests. `SEC-14`
    pub identification_seed: Option<[u64; 2]>,
}

impl NodeConfig {
    /// Echo requests are delivered; 10 errors a second, 10 at once.
    pub const DEFAULT: NodeConfig =
        NodeConfig { answer_echo: false, errors_per_second: 10, error_burst: 10, identification_seed: None };
}

impl Default for NodeConfig {
    fn default() -> Self {
        NodeConfig::DEFAULT
    }
}

/// Links, routes, control machines and what packets change. `D`: where it
/// remembers decisions, [`Decisions`](crate::datapath::Decisions) or nowhere.
#[derive(Clone)]
pub struct Node<I, C: Capacity = Standard, const LINKS: usize = 4, D = NoDecisions> {
    datapath: Datapath<I, C, LINKS>,
    identifications: Ids<C>,
    refusals: RefusalsOf<C>,
    counters: Counters<C::Tally>,
    /// `NDP-61`: who empties one bucket leaves the other, for what only passes on an ICMPv4 error.
    error_rate: Rate,
    own_errors: TokenBucket,
    relayed_errors: TokenBucket,
    now: Instant,
    generation: u32,
    decisions: D,
    /// Whether the seed of the Identifications is still to be drawn.
    needs_seed: bool,
    /// Whether every event was taken since anything changed.
    told: bool,
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Node<I, C, LINKS> {
    /// A node without links, which remembers no decisions.
    #[must_use]
    pub const fn new(config: NodeConfig) -> Self {
        Self::with_decisions(config, NoDecisions)
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize, D> Node<I, C, LINKS, D> {
    /// A node without links that remembers decisions in this table. Nothing
    /// is remembered before the first [`handle_timeout`](Machine::handle_timeout),
    /// which draws the secret of the table.
    #[must_use]
    pub const fn with_decisions(config: NodeConfig, decisions: D) -> Self {
        Self::with_datapath(config, Datapath::new(), decisions)
    }

    const fn with_datapath(config: NodeConfig, mut datapath: Datapath<I, C, LINKS>, decisions: D) -> Self {
        datapath.set_answers_echo(config.answer_echo);
        let seed = match config.identification_seed {
            Some(seed) => seed,
            None => [0; 2],
        };
        Node {
            datapath,
            identifications: Identifications::new(seed),
            refusals: RefusalsOf::<C>::EMPTY,
            counters: Counters::ZERO,
            error_rate: Rate::new(config.errors_per_second, config.error_burst),
            own_errors: TokenBucket::FULL,
            relayed_errors: TokenBucket::FULL,
            now: Instant::ZERO,
            generation: 0,
            decisions,
            needs_seed: config.identification_seed.is_none(),
            told: false,
        }
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember> Node<I, C, LINKS, D> {
    /// Adds an interface.
    ///
    /// # Errors
    /// There are `LINKS` of them already.
    pub fn add(&mut self, interface: I, switches: Switches) -> Result<LinkId, TableFull> {
        self.changed();
        self.datapath.add(interface, switches)
    }

    /// Removes an interface and its routes, which
    /// [`poll_event`](Machine::poll_event) then tells removed; its number is
    /// free afterwards. `RTE-8`
    ///
    /// The interface tells nothing more, so the caller takes its addresses off
    /// the device, drops what waits for its tickets
    /// ([`Parking::discard_if`](crate::engine::Parking::discard_if),
    /// [`Ticket::is_of`](crate::engine::Ticket::is_of)), and takes its prefix
    /// from the LANs: `delegate` with `Removed`, before or after.
    pub fn remove(&mut self, id: LinkId) -> Option<I> {
        self.changed();
        self.refusals.forget(id);
        self.lend(id, |interface, cx| interface.control_mut().leave(cx));
        self.datapath.remove(id)
    }

    /// See [`Datapath::set_order`].
    pub fn set_order(&mut self, wanted: &[LinkId]) {
        self.changed();
        self.datapath.set_order(wanted);
    }

    /// An interface, to be asked.
    #[must_use]
    pub fn interface(&self, id: LinkId) -> Option<&I> {
        self.datapath.port(id).map(|port| &port.interface)
    }

    /// An interface, to be told something: `tell` gets it with what it
    /// borrows of the node. `None` when there is no such interface.
    pub fn with_interface<R>(
        &mut self,
        now: Instant,
        id: LinkId,
        tell: impl FnOnce(&mut I, &mut Context<'_, C>) -> R,
    ) -> Option<R> {
        self.clamp(now);
        // Another interface may stand there afterwards.
        self.changed();
        let told = self.lend(id, tell);
        self.datapath.note_links();
        told
    }

    /// Lends an interface what it borrows, and notes what it changed.
    fn lend<R>(&mut self, id: LinkId, tell: impl FnOnce(&mut I, &mut Context<'_, C>) -> R) -> Option<R> {
        let (interface, mut cx) = self.borrowed(id)?;
        let told = tell(interface, &mut cx);
        self.note_lent(id);
        Some(told)
    }

    /// Out of line, as what follows: it is done in many places, and for no
    /// packet of a known flow.
    #[inline(never)]
    fn borrowed(&mut self, id: LinkId) -> Option<(&mut I, Context<'_, C>)> {
        let (port, routes) = self.datapath.split(id)?;
        let cx = Context {
            now: self.now,
            id,
            routes,
            identifications: &mut self.identifications,
            refusals: &mut self.refusals,
            forwarding: port.switches.forwarding,
        };
        Some((&mut port.interface, cx))
    }

    #[inline(never)]
    fn note_lent(&mut self, id: LinkId) {
        let Some(port) = self.datapath.lent_port(id) else { return };
        let is_changed = port.interface.take_change();
        let is_other = port.interface.control_mut().take_verified() || is_changed;
        if is_changed {
            self.decisions.make_void();
            self.datapath.note_links();
        }
        self.generation = self.generation.wrapping_add(is_other.into());
    }

    /// The switches of an interface, to be changed.
    pub fn switches_mut(&mut self, id: LinkId) -> Option<&mut Switches> {
        self.changed();
        self.datapath.lent_port(id).map(|port| &mut port.switches)
    }

    /// Gives an interface another metric: its routes are sorted anew. `RTE-1`
    ///
    /// # Errors
    /// There is no such interface, or its metric cannot be kept.
    pub fn set_metric(&mut self, id: LinkId, metric: u32) -> Result<(), TableFull> {
        self.changed();
        self.datapath.set_metric(id, metric)
    }

    /// Links and routes. A clone of it does for threads what it does for the
    /// node, as long as the [`generation`](Self::generation) is the same.
    #[must_use]
    pub fn datapath(&self) -> &Datapath<I, C, LINKS> {
        &self.datapath
    }

    /// See [`Datapath::add_known_prefix`].
    ///
    /// # Errors
    /// The table is full.
    pub fn add_known_prefix(&mut self, prefix: Ipv6Prefix) -> Result<(), TableFull> {
        self.changed();
        self.datapath.add_known_prefix(prefix)
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
        insert_route::<C>(&mut self.datapath.routes, &mut self.refusals, route)
    }

    /// What was advertised or configured and found no room, by who asked.
    #[must_use]
    pub fn refusals(&self) -> &RefusalsOf<C> {
        &self.refusals
    }

    /// Removes a route.
    pub fn remove_route(&mut self, key: &RouteKey) -> Option<Route> {
        self.changed();
        self.datapath.routes.remove(key)
    }

    /// Puts another full table behind the routes, or, with the same one, says
    /// that its routes are others.
    pub fn set_full_table(&mut self, table: C::FullTable) {
        self.changed();
        self.datapath.full_table = table;
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<C::Tally> {
        &self.counters
    }

    /// Adds what threads counted that work on a clone of the datapath.
    pub fn merge_counters<T: Tally>(&mut self, counted: &Counters<T>) {
        self.counters.merge(counted);
    }

    /// Notes that threads have sent packets to a neighbour. `NDP-50`
    pub fn note_sent(&mut self, now: Instant, link: LinkId, destination: Ipv4Addr) {
        let now = self.clamp(now);
        if let Some(port) = self.datapath.lent_port(link) {
            port.interface.control_mut().note_sent(now, destination);
        }
    }

    /// A number that changes when a clone of the datapath may differ from the
    /// last one. What changes no table leaves it, such as a Neighbor
    /// Solicitation that is answered: no stranger makes decisions void.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.generation.wrapping_add(self.datapath.routes.generation())
    }

    /// Where decisions are remembered.
    #[must_use]
    pub const fn decisions(&self) -> &D {
        &self.decisions
    }

    /// Gives the IPv4 Identifications another secret. Values given before
    /// may come again at once.
    pub fn reseed(&mut self, seed: [u64; 2]) {
        self.identifications.reseed(seed);
        self.needs_seed = false;
    }

    /// How many packets that may be fragmented had an Identification that may
    /// have come too soon. `TUN-7`
    #[must_use]
    pub const fn repeated_identifications(&self) -> u32 {
        self.identifications.repeated()
    }

    /// Clamps the time and counts a packet.
    fn enter(&mut self, now: Instant) {
        self.counters.entered = self.counters.entered.plus(1);
        self.clamp(now);
    }

    fn clamp(&mut self, now: Instant) -> Instant {
        self.now = self.now.max(now);
        self.now
    }

    fn changed(&mut self) {
        self.decisions.make_void();
        self.generation = self.generation.wrapping_add(1);
        self.told = false;
    }

    fn next_event(&mut self) -> Option<Event> {
        if self.identifications.has_news() {
            self.identifications.set_told();
            return Some(Event::IdentificationsRepeated);
        }
        if self.told {
            return None;
        }
        for id in link_ids::<LINKS>() {
            let event = self.lend(id, |interface, cx| interface.control_mut().poll_event(cx));
            if let Some(event) = event.flatten() {
                return Some(event);
            }
        }
        self.datapath.routes.poll_change().map(|(change, route)| Event::Route { change, route })
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember> Machine for Node<I, C, LINKS, D> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        self.enter(now);
        self.send_out(packet)
    }

    fn decapsulate(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        self.enter(now);
        self.receive(false, outer, packet)
    }

    fn refused(&mut self, now: Instant, reason: DropReason) -> Verdict {
        self.enter(now);
        self.drop(reason)
    }

    fn addressee(&self, outer: &Outer, packet: &[u8], among: &dyn Fn(LinkId) -> bool) -> Option<LinkId> {
        self.datapath.addressee(outer, packet, among)
    }

    fn generation(&self) -> u32 {
        Owner::generation(self)
    }

    fn last_sends(&self) -> Option<Sends> {
        self.decisions.last()?.sends()
    }

    fn last_admits(&self) -> Option<Admits> {
        let admits = self.decisions.last()?.admits()?;
        let awaited = self.datapath.answers_echo() || self.datapath.awaits_icmpv6(&admits);
        Some(Admits { awaited, ..admits })
    }

    fn carried(&mut self, now: Instant, carried: &Carried) -> Option<Expiry> {
        let now = self.clamp(now);
        let mut counted = Counters::<u64>::ZERO;
        counted.entered = carried.packets;
        match carried.destination {
            Some(destination) => {
                counted.tunnelled = carried.packets;
                self.note_sent(now, carried.link, destination);
            }
            None => counted.delivered = carried.packets,
        }
        self.merge_counters(&counted);
        let port = self.datapath.lent_port(carried.link)?;
        port.interface.control_mut().prolong(now, &carried.peer, carried.destination)
    }

    fn handle_icmpv4(&mut self, now: Instant, message: &mut PacketMut<'_>) -> Verdict {
        self.enter(now);
        self.path_error(message)
    }

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let now = self.clamp(now);
        if self.needs_seed {
            self.reseed(draw_key(entropy));
        }
        self.decisions.draw(entropy);
        self.told = false;
        self.datapath.routes.expire(now);
        for id in link_ids::<LINKS>() {
            self.lend(id, |interface, cx| {
                if interface.link().underlay().deadline().is_due(now) {
                    interface.link_mut().underlay_mut().handle_timeout(now);
                }
                interface.control_mut().handle_timeout(cx, entropy);
            });
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        out.clear();
        for id in link_ids::<LINKS>() {
            let sent = self.lend(id, |interface, cx| interface.control_mut().poll_transmit(cx, out));
            if let Some(transmit) = sent.transpose()?.flatten() {
                return Ok(Some(transmit));
            }
        }
        out.clear();
        Ok(None)
    }

    fn poll_event(&mut self) -> Option<Event> {
        let event = self.next_event();
        self.told = event.is_none();
        if let Some(Event::Address { change: Change::Removed, .. } | Event::Route { change: Change::Removed, .. }) =
            event
        {
            for id in link_ids::<LINKS>() {
                self.lend(id, |interface, cx| interface.control_mut().retry(cx));
            }
        }
        event
    }

    fn poll_timeout(&self) -> Option<Instant> {
        // Who forgets to take what waits wakes at once.
        if !self.told || self.needs_seed || self.identifications.has_news() {
            return Some(self.now);
        }
        let of_port =
            |port: &Port<I>| port.interface.control().deadline().min(port.interface.link().underlay().deadline());
        let links = self.datapath.by_precedence().map(|(_, port)| of_port(port));
        let next = links.min().unwrap_or(Expiry::NEVER).min(self.datapath.routes.deadline());
        next.instant().map(|next| next.max(self.now))
    }
}

/// The numbers of all links that there can be.
fn link_ids<const LINKS: usize>() -> impl Iterator<Item = LinkId> {
    (0..=u8::MAX).take(LINKS).map(LinkId)
}
