//! Nodes made of the core: an ISATAP host and an ISATAP router.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::capacity::{Capacity, Standard};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::{Counters, Tally};
use isatap_core::engine::{Entropy, Event, Machine, Ticket, Verdict, Via, WaitEnd};
use isatap_core::error::TableFull;
use isatap_core::interface::Interface;
use isatap_core::isatap::addr::Dotted;
use isatap_core::isatap::{self, HostConfig, PublishedPrefix, ResolveFailure, RouterConfig, RouterInterface};
use isatap_core::link::{InterfaceAddress, Link, Locator, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost as Host, Node};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::time::{Instant, Lifetime};

use super::forwarder::Forwarder;
use super::ip;
use super::names::Answer;
use super::node::{LabNode, Outbox};
use super::rng::Rng;

/// The ISATAP link of [`IsatapHost`] and [`IsatapRouter`].
pub const ISATAP_LINK: LinkId = LinkId(0);
/// The native link of an [`IsatapRouter`].
pub const LAN_LINK: LinkId = LinkId(1);

/// Room for the longest packet that a machine writes of its own accord.
const OWN_PACKET: usize = 1280 + 20;

impl Entropy for Rng {
    fn fill(&mut self, out: &mut [u8]) {
        Rng::fill(self, out);
    }
}

/// An ISATAP host of the core.
pub struct IsatapHost<C: Capacity = Standard> {
    node: Host<C>,
    router_name: Option<String>,
}

impl<C: Capacity> IsatapHost<C> {
    /// A host without IPv4 addresses, which resolves `router_name` for its
    /// potential routers, if given.
    #[must_use]
    pub fn new(config: HostConfig, router_name: Option<&str>) -> Self {
        let mut config = config;
        config.resolve &= router_name.is_some();
        IsatapHost { node: Host::host(config), router_name: router_name.map(Into::into) }
    }

    /// Lists a potential router by address, before or after the host started.
    ///
    /// # Errors
    /// The router list is full.
    pub fn list_router(&mut self, now: Instant, address: Ipv4Addr) -> Result<(), TableFull> {
        self.node.add_router(now, address)
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
        drain(&mut self.node, out, self.router_name.as_deref());
    }
}

impl<C: Capacity> LabNode for IsatapHost<C> {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        receive_ipv4(&mut self.node, now, packet, out, Node::decapsulate);
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
        let locators: Vec<Locator> = addresses.iter().copied().map(Locator::from).collect();
        if let Err(full) = self.node.set_locators(now, &locators) {
            out.event(|| full.to_string());
        }
        self.drain(out);
    }

    fn resolved(&mut self, now: Instant, _link: LinkId, answer: &Answer, out: &mut Outbox) {
        let answer = match answer {
            Answer::Addresses { addresses, ttl } => Ok(isatap::Answer { addresses, ttl: Some(*ttl) }),
            Answer::NotFound => Err(ResolveFailure::NoSuchName),
            Answer::ServerFailure | Answer::NoReply => Err(ResolveFailure::Unavailable),
        };
        if let Err(full) = self.node.routers_resolved(now, answer) {
            out.event(|| full.to_string());
        }
        self.drain(out);
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.node.interface(ISATAP_LINK)?.link().source_for(destination)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.node.addresses().map(|row| row.address).collect()
    }

    fn check(&self) -> Result<(), String> {
        check(self.node.counters())
    }
}

/// What makes one [`IsatapRouter`] different from another.
#[derive(Clone, Debug, Default)]
pub struct RouterOptions {
    /// What it advertises beside prefixes and routes.
    pub config: RouterConfig,
    /// The prefixes that it advertises.
    pub prefixes: Vec<PublishedPrefix>,
    /// More specific routes that it advertises, by way of the native link.
    pub routes: Vec<(Ipv6Prefix, Preference)>,
    /// Its address on the native link, if it has one.
    pub lan: Option<InterfaceAddress>,
    /// The next router on the native link.
    pub gateway: Option<Ipv6Addr>,
}

impl RouterOptions {
    /// A router that advertises these prefixes, with the lifetimes of RFC
    /// 4861.
    #[must_use]
    pub fn advertising(prefixes: &[Ipv6Prefix]) -> Self {
        RouterOptions { prefixes: prefixes.iter().copied().map(PublishedPrefix::new).collect(), ..Self::default() }
    }

    /// The same with other lifetimes of all prefixes.
    #[must_use]
    pub fn lifetimes(mut self, valid: Duration, preferred: Duration) -> Self {
        for prefix in &mut self.prefixes {
            prefix.valid_lifetime = Lifetime::from_duration(valid);
            prefix.preferred_lifetime = Lifetime::from_duration(preferred);
        }
        self
    }

    /// The same with a native link.
    #[must_use]
    pub fn lan(mut self, address: Ipv6Addr, prefix_length: u8) -> Self {
        self.lan = Some(InterfaceAddress { address, prefix_length });
        self
    }
}

/// An ISATAP router of the core, which forwards by itself between the ISATAP
/// link and a native one.
pub struct IsatapRouter<C: Capacity = Standard> {
    forwarder: Forwarder<C, 2>,
}

impl<C: Capacity> IsatapRouter<C> {
    /// A router without IPv4 addresses.
    ///
    /// # Errors
    /// A table of the node is too small for the options.
    pub fn new(options: &RouterOptions) -> Result<Self, TableFull> {
        let now = Instant::ZERO;
        let mut router = IsatapRouter { forwarder: Forwarder::new() };
        let isatap = AnyInterface::IsatapRouter(RouterInterface::new(options.config));
        router.machine_mut().add(isatap, Switches::FORWARDING)?;
        for prefix in &options.prefixes {
            router.publish(now, *prefix)?;
        }
        let Some(lan) = options.lan else { return Ok(router) };
        let mut native = NativeLink::new(1500);
        native.add_address(lan)?;
        router.machine_mut().add(AnyInterface::Native(native), Switches::FORWARDING)?;
        if let Some(prefix) = lan.prefix() {
            router.machine_mut().insert_route(Route::on_link(prefix, LAN_LINK, Origin::Manual))?;
        }
        if let Some(gateway) = options.gateway {
            router.machine_mut().insert_route(Route::via(Ipv6Prefix::DEFAULT, LAN_LINK, gateway, Origin::Manual))?;
        }
        for (prefix, preference) in &options.routes {
            let route = match options.gateway {
                Some(gateway) => Route::via(*prefix, LAN_LINK, gateway, Origin::Manual),
                None => Route::on_link(*prefix, LAN_LINK, Origin::Manual),
            };
            router.machine_mut().insert_route(Route { preference: *preference, publish: true, ..route })?;
        }
        Ok(router)
    }

    /// Advertises a prefix from now on.
    ///
    /// # Errors
    /// The table of prefixes is full.
    pub fn publish(&mut self, now: Instant, prefix: PublishedPrefix) -> Result<(), TableFull> {
        let told = self.machine_mut().with_interface(now, ISATAP_LINK, |interface, cx| match interface {
            AnyInterface::IsatapRouter(router) => router.publish(cx, prefix),
            _ => Ok(()),
        });
        told.unwrap_or(Ok(()))
    }

    /// No longer advertises a prefix.
    pub fn withdraw(&mut self, now: Instant, prefix: &Ipv6Prefix) {
        self.machine_mut().with_interface(now, ISATAP_LINK, |interface, cx| {
            if let AnyInterface::IsatapRouter(router) = interface {
                router.withdraw(cx, prefix);
            }
        });
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &AnyNode<C, 2> {
        &self.forwarder.node
    }

    /// The machine, to be told something by
    /// [`World::with_node`](super::World::with_node).
    pub fn machine_mut(&mut self) -> &mut AnyNode<C, 2> {
        &mut self.forwarder.node
    }
}

impl<C: Capacity> LabNode for IsatapRouter<C> {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.forwarder.receive_ipv4(now, packet, out);
    }

    fn receive_ipv6(&mut self, now: Instant, link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.forwarder.receive_ipv6(now, link, packet, out);
    }

    fn send_ipv6(&mut self, now: Instant, link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.forwarder.send_ipv6(now, link, packet, out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.forwarder.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.machine().poll_timeout()
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        self.forwarder.settle(now, out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let locators: Vec<Locator> = addresses.iter().copied().map(Locator::from).collect();
        let told = self.machine_mut().with_interface(now, ISATAP_LINK, |interface, cx| match interface {
            AnyInterface::IsatapRouter(router) => router.set_locators(cx, &locators),
            _ => Ok(()),
        });
        if let Some(Err(full)) = told {
            out.event(|| full.to_string());
        }
        self.forwarder.settle(now, out);
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.forwarder.source_for(destination)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.forwarder.addresses()
    }

    fn check(&self) -> Result<(), String> {
        self.forwarder.check()
    }
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
    receive: impl FnOnce(&mut Node<I, C, LINKS>, Instant, &mut PacketMut<'_>) -> Verdict,
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
        let verdict = receive(node, now, packet);
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
        Verdict::Tunnel { .. } | Verdict::Answer { via: Via::Tunnel { .. }, .. } => out.ipv4(now),
        Verdict::Native { link, next_hop } | Verdict::Answer { via: Via::Native { link, next_hop }, .. } => {
            out.native(link, next_hop, now);
        }
        Verdict::Deliver { link, .. } | Verdict::Answer { via: Via::Host { link }, .. } => out.deliver(link, now),
        _ => {}
    }
}

/// Empties a machine: what it sends and what it tells. Gives the tickets that
/// packets need no longer wait for.
pub(super) fn drain<M: Machine>(
    machine: &mut M,
    out: &mut Outbox,
    router_name: Option<&str>,
) -> Vec<(Ticket, WaitEnd)> {
    let mut buffer = [0; HEADROOM + OWN_PACKET];
    let mut packet = PacketMut::empty(&mut buffer);
    while let Ok(Some(transmit)) = machine.poll_transmit(&mut packet) {
        match transmit.outer {
            Some(_) => out.ipv4(packet.as_slice()),
            None => out.event(|| "a control packet on a native link is left out".into()),
        }
    }
    let mut ended = Vec::new();
    while let Some(event) = machine.poll_event() {
        ended.extend(event.wait_end());
        if let (Event::ResolveRouters { link }, Some(name)) = (event, router_name) {
            out.resolve(link, name);
            continue;
        }
        out.event(|| describe(&event));
    }
    ended
}

pub(super) fn describe(event: &Event) -> String {
    match event {
        Event::ResolveRouters { .. } => "wants its routers' names resolved, and has none".into(),
        Event::Address { change, address, .. } => {
            format!("address {}/{} {change}", Dotted(address.address), address.prefix_length)
        }
        Event::Route { change, route } => match route.next_hop {
            Some(next_hop) => format!("route {} by {} {change}", route.prefix, Dotted(next_hop)),
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
