//! Links and routes as plain data: what happens to a packet, asked with
//! `&self`.
//!
//! Out: IPv6 packet, route, [`Link::resolve`], loop checks, MTU, outer header.
//! In: [`Flow::of`], each link by precedence ([`Link::admit`]), loop and
//! spoofing checks, decapsulation in place.
//!
//! The functions decide or punt. What would need to change something (an
//! ICMPv6 error and its rate limit, Neighbor Discovery) is
//! [`Verdict::Punt`]: the packet is handed to the owner, a
//! [`Node`](crate::node::Node), which does it. So threads, firmware and kernels
//! share this code over copies of the data: a clone of the datapath of a node.

mod checks;
mod decision;
mod links;
mod pipeline;
mod plan;

use crate::capacity::{Bounded, Capacity, FullTable, Parts, Vec};
use crate::drop_reason::DropReason;
use crate::engine::{Admitted, Verdict};
use crate::error::{Table, TableFull};
use crate::interface::{Interface, Routes};
use crate::link::{Denied, Link, LinkKind};
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::{Flow, Marks, Outer};
use crate::route::RouteTable;

pub use decision::{Decision, Decisions, NoDecisions, Remember};
pub(crate) use decision::{Entrance, Memory, NOWHERE, Question};
use pipeline::Reader;
pub(crate) use pipeline::{Kept, Owner, Unverified};
pub(crate) use plan::{Avoided, Fit, InnerHeader, Origin, Refusal, Way};

/// Links and routes.
#[derive(Clone)]
pub struct Datapath<I, C: Capacity, const LINKS: usize> {
    ports: [Option<Port<I>>; LINKS],
    /// The links by precedence, then [nobody](LinkId::NULL). `TUN-23`
    order: [LinkId; LINKS],
    /// Ports up to the last one in use.
    reach: u8,
    /// The native links, then nobody.
    natives: [LinkId; LINKS],
    /// Whether any link has this [trait](crate::link::Traits).
    has_own_prefix: bool,
    /// Of those that are not link-local, an address whose last bytes are not marked is no link's own.
    own: Marks,
    pub(crate) routes: Routes<C>,
    /// Asked for a longer match than the routes have.
    pub(crate) full_table: C::FullTable,
    /// IPv6 prefixes of tunnels in this site. `SEC-3`
    known_prefixes: Vec<Ipv6Prefix, C::Members>,
    /// Whether the node answers echo requests itself. `NDP-65`
    answers_echo: bool,
}

/// Which link lets a packet in.
pub(crate) struct Offered {
    link: LinkId,
    from: Admitted,
    /// Whether its control machine waits for the packet.
    is_awaited: bool,
    /// Whether it is to an address of this node.
    is_local: bool,
}

/// An interface and its switches.
#[derive(Clone, Debug)]
pub struct Port<I> {
    /// The interface.
    pub interface: I,
    /// Its switches.
    pub switches: Switches,
}

/// The switches of one interface. `RTE-7`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Switches {
    /// Packets that arrive here may be forwarded, and forwarded packets may
    /// leave here. Off by default: what arrives and is for none of the node's
    /// addresses is dropped, so a [native link](crate::link::NativeLink) has
    /// to know those of the machine's other devices.
    pub forwarding: bool,
    /// Whose inner sources are let in from this side. `TUN-17`
    pub ingress: IngressFilter,
    /// The address checks against routing loops. `SEC-3`
    pub loop_checks: bool,
    /// The interface's metric, added to those of its routes. `RTE-1`
    ///
    /// Read when the interface is added; see [`Datapath::set_metric`] for
    /// later.
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

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Datapath<I, C, LINKS> {
    /// No links, no routes.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_ports([const { None }; LINKS], [LinkId::NULL; LINKS], 0)
    }

    /// One link, and no routes.
    #[must_use]
    pub(crate) const fn of(ports: [Option<Port<I>>; LINKS]) -> Self {
        let mut order = [LinkId::NULL; LINKS];
        if let Some(first) = order.first_mut() {
            *first = LinkId(0);
        }
        Self::with_ports(ports, order, 1)
    }

    const fn with_ports(ports: [Option<Port<I>>; LINKS], order: [LinkId; LINKS], reach: u8) -> Self {
        Datapath {
            ports,
            order,
            reach,
            natives: [LinkId::NULL; LINKS],
            has_own_prefix: false,
            own: Marks::ALL,
            routes: RouteTable::new(),
            full_table: C::FullTable::EMPTY,
            known_prefixes: Bounded::EMPTY,
            answers_echo: false,
        }
    }

    /// Sets whether the node answers echo requests itself.
    pub(crate) const fn set_answers_echo(&mut self, answers: bool) {
        self.answers_echo = answers;
    }

    #[inline]
    pub(crate) fn answers_echo(&self) -> bool {
        C::PARTS.contains(Parts::ECHO) && self.answers_echo
    }

    /// Adds the IPv6 prefix of a tunnel of this site, of this node or
    /// another: behind it, private IPv4 addresses count for the checks against
    /// routing loops too. `SEC-3 [RFC 6324 §3.3.1]`
    ///
    /// # Errors
    /// The table is full.
    pub fn add_known_prefix(&mut self, prefix: Ipv6Prefix) -> Result<(), TableFull> {
        self.known_prefixes.add(prefix, Table::KnownPrefixes)
    }

    /// The routes.
    #[must_use]
    pub fn routes(&self) -> &Routes<C> {
        &self.routes
    }

    /// What is asked for a longer match than the routes have.
    #[must_use]
    pub fn full_table(&self) -> &C::FullTable {
        &self.full_table
    }

    /// Each link's answer to a packet, in order: what `check` shows.
    pub fn trials<'a>(
        &'a self,
        flow: &'a Flow,
    ) -> impl Iterator<Item = (LinkId, LinkKind, Result<Admitted, Denied>)> + 'a {
        self.links().map(|(id, link)| (id, link.kind(), link.admit(flow)))
    }

    /// Finds the tunnel for a packet of this host, with `identification` if it
    /// may be fragmented.
    pub fn encapsulate(&self, packet: &mut PacketMut<'_>, identification: u16) -> Verdict {
        Reader { datapath: self, identification }.send_out(packet)
    }

    /// Judges and decapsulates in place what came behind `outer`.
    pub fn decapsulate(&self, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        Reader { datapath: self, identification: 0 }.receive(false, outer, packet)
    }

    /// Decapsulates a packet and sends it on, in one buffer: hop limit,
    /// routes, loop checks. What is for this node is delivered.
    pub fn forward(&self, outer: &Outer, packet: &mut PacketMut<'_>, identification: u16) -> Verdict {
        Reader { datapath: self, identification }.receive(true, outer, packet)
    }

    /// Which link lets in what came behind `outer`, and who speaks.
    ///
    /// # Errors
    /// The reason of the first link that it was for, or what broke a rule
    /// that is the same for all links.
    #[inline]
    pub fn admit(&self, outer: &Outer, packet: &[u8]) -> Result<(LinkId, Admitted, Flow), DropReason> {
        let flow = self.judge(outer, packet)?;
        let Offered { link, from, .. } = self.offer(None, &flow)?;
        checks::check_inner(&flow, packet)?;
        Ok((link, from, flow))
    }

    /// The checks that are the same for all links. An IPv4-compatible source is
    /// for those alone that want such. `TUN-72`
    #[inline]
    fn judge(&self, outer: &Outer, packet: &[u8]) -> Result<Flow, DropReason> {
        match Flow::of(outer, packet) {
            Err(DropReason::InnerSourceRefused) if C::PARTS.contains(Parts::COMPATIBLE) => {
                self.judge_refused(outer, packet)
            }
            judged => judged,
        }
    }

    #[cold]
    #[inline(never)]
    fn judge_refused(&self, outer: &Outer, packet: &[u8]) -> Result<Flow, DropReason> {
        // Which no link of most nodes wants.
        let is_wanted = self.numbered().any(|(_, link)| link.traits().compatible_sources);
        if is_wanted { Flow::of_refused(outer, packet) } else { Err(DropReason::InnerSourceRefused) }
    }

    /// Offers a packet to the links, or to the `only` one of them: by its
    /// addresses alone.
    #[inline]
    fn offer(&self, only: Option<LinkId>, flow: &Flow) -> Result<Offered, DropReason> {
        let mut refused = None;
        let is_compatible = flow.is_compatible();
        let is_asked = |id, port: &Port<I>| {
            only.is_none_or(|only| only == id) && (!is_compatible || port.interface.link().traits().compatible_sources)
        };
        for (id, port) in self.by_precedence().filter(|(id, port)| is_asked(*id, port)) {
            match port.interface.link().admit(flow) {
                Ok(from) => {
                    return self.check_admitted(id, port, from, flow);
                }
                Err(Denied::NotAddressed) => {}
                Err(Denied::Refused(reason)) => refused = refused.or(Some(reason)),
            }
        }
        let unwanted = if is_compatible { DropReason::InnerSourceRefused } else { DropReason::NotAddressed };
        Err(refused.unwrap_or(unwanted))
    }

    /// The link by which [`admit`](Self::admit) would let a packet in, or which
    /// would give the reason why not, if only the links for which `among` is
    /// true were asked. Of a packet that all of them would refuse alike, the
    /// only one at its IPv4 destination; `None`: it is for none of them.
    #[must_use]
    pub fn addressee(&self, outer: &Outer, packet: &[u8], among: &dyn Fn(LinkId) -> bool) -> Option<LinkId> {
        let links = || self.links().filter(|(id, _)| among(*id));
        let mut there = links().filter(|(_, link)| link.owns_ipv4(outer.destination)).map(|(id, _)| id);
        let (first, second) = (there.next()?, there.next());
        let Ok(flow) = self.judge(outer, packet) else { return second.is_none().then_some(first) };
        let is_compatible = flow.is_compatible();
        let wanted = || links().filter(move |(_, link)| !is_compatible || link.traits().compatible_sources);
        let lets_in = wanted().find(|(_, link)| link.admit(&flow).is_ok());
        let refuses = || wanted().find(|(_, link)| link.admit(&flow) != Err(Denied::NotAddressed));
        lets_in.or_else(refuses).map(|(id, _)| id)
    }
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Default for Datapath<I, C, LINKS> {
    fn default() -> Self {
        Datapath::new()
    }
}
