//! A node made of the core: an ISATAP host.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::capacity::{Capacity, Standard};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::{Counters, Tally};
use isatap_core::engine::{Entropy, Event, LearnedAddress, Machine, Ticket, Verdict, Via, WaitEnd};
use isatap_core::error::TableFull;
use isatap_core::interface::Interface;
use isatap_core::isatap::{self, ResolveFailure};
use isatap_core::link::{Link, Locator};
use isatap_core::node::{AnyInterface, IsatapHost as Host, Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::select::Source;
use isatap_core::time::Instant;

use super::journey::shown;
use super::names::DnsAnswer;
use super::node::{LabNode, Outbox, Path, interface};
use super::rng::Rng;
use super::{ip, unplayed};
use crate::error::Error;
use crate::spec;

/// The ISATAP link of an [`IsatapHost`].
pub const ISATAP_LINK: LinkId = LinkId(0);

/// What a host asks for that is given no router.
const WELL_KNOWN_NAME: &str = "isatap";

/// Room for the longest packet that a machine writes of its own accord.
const OWN_PACKET: usize = 1280 + 20;

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) {
        Rng::fill(self, out);
    }
}

/// An ISATAP host of the core.
///
/// It asks the world's DNS for the names of its routers, which has no search domains. It has those
/// of the node's IPv4 addresses that its description names; all, if it names none.
pub struct IsatapHost<C: Capacity = Standard> {
    node: Host<C>,
    local: Vec<Ipv4Addr>,
    names: Vec<String>,
    /// What came of names so far, until all are answered.
    answers: Vec<DnsAnswer>,
}

impl<C: Capacity> IsatapHost<C> {
    /// A host without IPv4 addresses.
    ///
    /// # Errors
    /// The host can be on no machine, has something that no node of the lab has, or more than `C`
    /// has room for.
    pub fn new(host: &spec::IsatapHost) -> Result<Self, Error> {
        let link = spec::LinkSpec::from(host.clone());
        unplayed::check(&link)?;
        Self::of(host, &link)
    }

    /// Of what was found well: apart, since both take much of a small stack.
    fn of(host: &spec::IsatapHost, link: &spec::LinkSpec) -> Result<Self, Error> {
        let full = |full: TableFull| Error::usage("make", "an ISATAP host of the lab", full.to_string());
        let mut node = Host::new(NodeConfig::DEFAULT);
        if let AnyInterface::IsatapHost(interface) = link.interface()? {
            let mut switches = Switches::DEFAULT;
            switches.metric = host.metric;
            node.add(interface, switches).map_err(full)?;
        }
        for router in host.addresses() {
            node.add_router(Instant::ZERO, router).map_err(full)?;
            let allowed = host.may_be_default(router);
            node.with_interface(Instant::ZERO, LinkId(0), |host, cx| host.set_default_router(cx, router, allowed));
        }
        let names = if host.router.is_empty() {
            vec![WELL_KNOWN_NAME.to_owned()]
        } else {
            host.names().map(ToString::to_string).collect()
        };
        Ok(IsatapHost { node, local: host.local.clone(), names, answers: Vec::new() })
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Host<C> {
        &self.node
    }

    /// The machine, to be told something by
    /// [`World::with_node`](super::World::with_node).
    pub fn machine_mut(&mut self) -> &mut Host<C> {
        &mut self.node
    }

    fn drain(&mut self, out: &mut Outbox) {
        drain(&mut self.node, out, self.names.iter().map(String::as_str));
    }
}

impl<C: Capacity> LabNode for IsatapHost<C> {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        receive_ipv4(&mut self.node, now, packet, out);
        self.drain(out);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(isatap_core::drop_reason::DropReason::NotAddressed, packet);
    }

    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        send_ipv6(&mut self.node, now, link, packet, out);
        self.drain(out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.node.handle_timeout(now, entropy);
        self.drain(out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.node.poll_timeout()
    }

    fn drain(&mut self, _now: Instant, out: &mut Outbox) {
        IsatapHost::drain(self, out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let locators = locators(addresses, &self.local);
        if let Err(full) = self.node.set_locators(now, &locators) {
            out.event(|| full.to_string());
        }
        self.drain(out);
    }

    fn resolved(&mut self, now: Instant, _link: LinkId, answer: &DnsAnswer, out: &mut Outbox) {
        self.answers.push(answer.clone());
        if self.answers.len() < self.names.len() {
            return;
        }
        let answers = std::mem::take(&mut self.answers);
        let (addresses, ttl) = merged(&answers);
        let unanswered = answers.iter().any(|answer| matches!(answer, DnsAnswer::ServerFailure | DnsAnswer::NoReply));
        let answer = match ttl {
            Some(_) => Ok(isatap::Resolved { addresses: &addresses, ttl: ttl.map(Into::into) }),
            None if unanswered => Err(ResolveFailure::Unavailable),
            None => Err(ResolveFailure::NoSuchName),
        };
        if let Err(full) = self.node.routers_resolved(now, answer) {
            out.event(|| full.to_string());
        }
        self.drain(out);
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.node.interface(ISATAP_LINK)?.link().source_for(destination)
    }

    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        path(&self.node, destination)
    }

    fn sources(&self, now: Instant) -> Vec<Source> {
        self.node.addresses().map(|row| source(now, ISATAP_LINK, &row)).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.node.addresses().map(|row| row.address).collect()
    }

    fn check(&self) -> Result<(), String> {
        check(self.node.counters())
    }
}

/// Length of the prefix of link-local addresses in bits.
const LINK_LOCAL_LEN: u8 = 64;

/// By which link a machine sends to a destination.
pub(super) fn path<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &Node<I, C, LINKS>,
    destination: &Ipv6Addr,
) -> Option<Path> {
    let datapath = node.datapath();
    let (link, prefix_length, metric) = if destination.is_unicast_link_local() {
        // No route says in which zone it is: its neighbours know it.
        let is_near =
            |link: &LinkId| datapath.port(*link).is_some_and(|port| port.interface.link().is_on_link(destination));
        let mut links = (0..LINKS).filter_map(|link| u8::try_from(link).ok().map(LinkId));
        (links.find(is_near)?, LINK_LOCAL_LEN, 0)
    } else {
        let route = datapath.routes().lookup(destination)?;
        (route.link, route.prefix.length(), route.metric)
    };
    // A null route has none.
    let port = datapath.port(link)?;
    let metric = port.switches.metric.saturating_add(metric);
    Some(Path { link, device: None, encapsulated: !port.interface.link().traits().native, prefix_length, metric })
}

/// An address of a link, as a source of packets.
pub(super) fn source(now: Instant, link: LinkId, row: &LearnedAddress) -> Source {
    let deprecated = row.preferred_until.is_due(now);
    Source { interface: interface(link), deprecated, ..Source::new(row.address.into(), row.prefix_length) }
}

/// The addresses of several names, and for how long all of them are good; `None`: no name has any.
fn merged(answers: &[DnsAnswer]) -> (Vec<Ipv4Addr>, Option<Duration>) {
    let (mut all, mut shortest) = (Vec::new(), None);
    for answer in answers {
        if let DnsAnswer::Addresses { addresses, ttl } = answer {
            all.extend(addresses);
            shortest = Some(shortest.map_or(*ttl, |shortest: Duration| shortest.min(*ttl)));
        }
    }
    (all, shortest)
}

/// Those of a node's IPv4 addresses that a link may have: it names them, or none and has all.
pub(super) fn locators(addresses: &[Ipv4Addr], only: &[Ipv4Addr]) -> Vec<Locator> {
    let may_have = |address: &&Ipv4Addr| only.is_empty() || only.contains(address);
    addresses.iter().filter(may_have).copied().map(Locator::from).collect()
}

/// How a packet came into a node.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Came {
    FromPrograms,
    ByTunnel,
    Native,
    AsError,
}

/// Copies `bytes` behind a machine's headroom.
pub(super) fn with_packet<R>(bytes: &[u8], work: impl FnOnce(&mut PacketMut<'_>) -> R) -> Option<R> {
    // Behind it, room for an answer that is longer than its cause.
    let mut buffer = vec![0; HEADROOM + bytes.len() + OWN_PACKET];
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()).ok()?;
    packet.as_mut_slice().copy_from_slice(bytes);
    Some(work(&mut packet))
}

pub(super) fn receive_ipv4<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &mut Node<I, C, LINKS>,
    now: Instant,
    bytes: &[u8],
    out: &mut Outbox,
) {
    let icmp = ip::Ipv4::parse(bytes).filter(|header| header.protocol == ip::PROTOCOL_ICMP);
    if let Some(header) = icmp {
        with_packet(header.payload, |packet| {
            let verdict = node.handle_icmpv4(now, packet);
            act(verdict, Came::AsError, bytes, packet, out);
        });
        return;
    }
    with_packet(bytes, |packet| {
        let verdict = node.decapsulate_ipv4(now, packet);
        act(verdict, Came::ByTunnel, bytes, packet, out);
    });
}

/// The link of which a packet's destination is an own address.
pub(super) fn own_link<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &Node<I, C, LINKS>,
    bytes: &[u8],
) -> Option<LinkId> {
    let destination = ip::Ipv6::parse(bytes).map(|header| header.destination)?;
    (0..LINKS)
        .filter_map(|id| u8::try_from(id).ok().map(LinkId))
        .find(|id| node.interface(*id).is_some_and(|interface| interface.link().is_local(&destination)))
}

pub(super) fn send_ipv6<I: Interface<C>, C: Capacity, const LINKS: usize>(
    node: &mut Node<I, C, LINKS>,
    now: Instant,
    link: Option<LinkId>,
    bytes: &[u8],
    out: &mut Outbox,
) {
    if let Some(own) = own_link(node, bytes) {
        // To oneself no interface is needed, as on any host.
        return out.deliver(own, bytes);
    }
    with_packet(bytes, |packet| {
        packet.set_link(link);
        let verdict = node.encapsulate(now, packet);
        act(verdict, Came::FromPrograms, bytes, packet, out);
    });
}

/// Carries out what a machine decided about the packet `original`, which may
/// be something else by now.
pub(super) fn act(verdict: Verdict, came: Came, original: &[u8], packet: &PacketMut<'_>, out: &mut Outbox) {
    let by_tunnel = came == Came::ByTunnel;
    let now = packet.as_slice();
    match verdict {
        Verdict::Drop(reason) => out.dropped(reason, original),
        Verdict::Answer { reason: Some(reason), .. } => out.dropped(reason, original),
        Verdict::Consumed { .. } if by_tunnel => out.decapsulated(original, Some("taken by the node itself")),
        _ if by_tunnel => out.decapsulated(original, None),
        _ if came == Came::AsError => out.event(|| "takes note of an ICMPv4 error".into()),
        _ => {}
    }
    match verdict {
        Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
            out.tunnel(&outer, now);
        }
        Verdict::Native { link, next_hop } | Verdict::Answer { via: Via::Native { link, next_hop }, .. } => {
            out.native(link, next_hop, now);
        }
        Verdict::Deliver { link, .. } | Verdict::Answer { via: Via::Host { link }, .. } => out.deliver(link, now),
        _ => {}
    }
}

/// Empties a machine: what it sends and what it tells. Gives the tickets that
/// packets need no longer wait for.
pub(super) fn drain<'n, M: Machine>(
    machine: &mut M,
    out: &mut Outbox,
    names: impl IntoIterator<Item = &'n str> + Clone,
) -> Vec<(Ticket, WaitEnd)> {
    let mut buffer = [0; HEADROOM + OWN_PACKET];
    let mut packet = PacketMut::empty(&mut buffer);
    while let Ok(Some(transmit)) = machine.poll_transmit(&mut packet) {
        match transmit.outer {
            Some(outer) => out.tunnel(&outer, packet.as_slice()),
            None => out.event(|| "a control packet on a native link is left out".into()),
        }
    }
    let mut ended = Vec::new();
    while let Some(event) = machine.poll_event() {
        ended.extend(event.wait_end());
        let mut names = names.clone().into_iter().peekable();
        match event {
            Event::ResolveRouters { link } if names.peek().is_some() => names.for_each(|name| out.resolve(link, name)),
            event => out.event(|| describe(&event)),
        }
    }
    ended
}

pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::ResolveRouters { .. } => "wants its routers' names resolved, and has none".into(),
        Event::Address { change, address, .. } => {
            format!("address {}/{} {change}", shown(address.address), address.prefix_length)
        }
        Event::Route { change, route } => match route.next_hop {
            Some(next_hop) => format!("route {} by {} {change}", route.prefix, shown(next_hop)),
            None => format!("route {} on-link {change}", route.prefix),
        },
        Event::Delegation { change, delegation, .. } => format!("prefix {} for LANs {change}", delegation.prefix),
        Event::Mtu { mtu, .. } => format!("MTU {mtu}"),
        Event::DnsServers { .. } => "DNS servers changed".into(),
        Event::SearchDomains { .. } => "search domains changed".into(),
        Event::Router { change, address, .. } => format!("router {address} {change}"),
        Event::LifetimeTooShort { address, .. } => {
            format!("lifetimes of router {address} are shorter than it may be asked")
        }
        Event::Released { .. } => "an answer has come: what waited goes on".into(),
        Event::Abandoned { reason, .. } => format!("what waited waits no longer: {reason}"),
        Event::TableFull { table, .. } => TableFull::new(*table).to_string(),
        other => format!("{other:?}"),
    }
}

/// Whatever came in has come to one end.
pub(super) fn check<T: Tally>(counters: &Counters<T>) -> Result<(), String> {
    let ends = [counters.tunnelled, counters.delivered, counters.native, counters.consumed, counters.held]
        .map(Tally::get)
        .iter()
        .sum::<u64>()
        + counters.total_dropped();
    if counters.entered.get() == ends {
        Ok(())
    } else {
        Err(format!("{:?} packets came in and {ends} came to an end: {counters:?}", counters.entered))
    }
}
