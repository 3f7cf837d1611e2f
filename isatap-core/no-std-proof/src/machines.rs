//! Links, interfaces, the datapath and nodes of every role.

use core::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::{Capacity, FullTable as _, Minimal, MinimalRouter, Small, Standard};
use isatap_core::configured;
use isatap_core::datapath::{Datapath, Decision, Decisions, Remember, Switches};
use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::{Event, Machine, Parked, Parking, Ticket, Transmit};
use isatap_core::interface::{Context, Interface};
use isatap_core::isatap::{
    HostConfig, HostInterface, PublishedPrefix, ResolveFailure, Resolved, RouterConfig, RouterInterface,
};
use isatap_core::link::{InterfaceAddress, Link, Locator, NativeLink, OuterPolicy, TtlMode};
use isatap_core::nd::learned::SearchDomain;
use isatap_core::nd::option::DomainName;
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost, Node, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::underlay::Underlay;
use isatap_core::route::{Origin, Route};

use crate::packets::outer;
use crate::{Unknown, any, keep};

/// The larger tables: loops that a table of two rows would have unrolled stay.
type Any = AnyNode<Standard, 4>;

fn entropy(out: &mut [u8]) {
    out.fill(any(0));
}

/// A node of any content, links and tables included.
fn node() -> Any {
    any(AnyNode::new(any(NodeConfig::DEFAULT)))
}

/// A host of any content.
fn host() -> IsatapHost<Small> {
    any(IsatapHost::host(any(HostConfig::DEFAULT)))
}

/// The same of every capacity: what one leaves out stands in another way.
fn host_of<C: Capacity>() -> IsatapHost<C> {
    any(IsatapHost::host(any(HostConfig::DEFAULT)))
}

fn router() -> Node<RouterInterface<Small>, Small, 1> {
    any(Node::new(any(NodeConfig::DEFAULT)))
}

fn route(u: &Unknown) -> Route {
    any(Route::via(u.prefix(), u.link(), u.ipv6(), any(Origin::Manual)))
}

/// IPv4 addresses of a node, of any number.
pub fn locators() -> &'static [Locator] {
    any(&[])
}

/// All that [`Machine`] promises, and the header in front of what it sends.
pub fn drive(machine: &mut impl Machine, u: &mut Unknown) {
    let now = u.now();
    keep(machine.encapsulate(now, &mut u.packet()));
    let now = u.now();
    keep(machine.decapsulate(now, &outer(u), &mut u.packet()));
    let now = u.now();
    keep(machine.decapsulate_ipv4(now, &mut u.packet()));
    let now = u.now();
    keep(machine.handle_icmpv4(now, &mut u.packet()));
    machine.handle_timeout(u.now(), &mut entropy);
    keep(machine.poll_transmit(&mut u.packet()));
    keep(outer(u).push(&mut u.packet()));
    keep(machine.poll_event());
    keep(machine.poll_timeout());
}

/// What a node does that forwards.
pub fn forward<I: Interface<C>, C: Capacity, const LINKS: usize, D: Remember>(
    node: &mut Node<I, C, LINKS, D>,
    u: &mut Unknown,
) {
    let (now, link) = (u.now(), u.link());
    keep(node.forward(now, &outer(u), &mut u.packet()));
    keep(node.forward_native(now, link, &mut u.packet()));
}

/// What is told to a host.
fn host_inputs(host: &mut IsatapHost<Small>, u: &Unknown) {
    keep(host.set_locators(u.now(), locators()));
    keep(host.add_router(u.now(), u.ipv4()));
    keep(host.routers_resolved(u.now(), any(Ok(Resolved { addresses: any(&[]), ttl: any(None) }))));
    keep(host.routers_resolved(u.now(), any(Err(ResolveFailure::Unavailable))));
    keep(host.addresses().count());
    keep(host.with_interface(u.now(), u.link(), |host, cx| {
        host.remove_router(cx, any(Ipv4Addr::LOCALHOST));
        host.set_default_router(cx, any(Ipv4Addr::LOCALHOST), any(true));
        host.solicit_routers(cx);
        keep(host.add_on_link_prefix(cx, any(Ipv6Prefix::LINK_LOCAL)));
        keep(host.addresses().count());
        host.dns_servers()
            .for_each(|row| keep((row.item(), row.until(), row.sources().bits(), row.sources().contains(u.value()))));
        host.search_domains().for_each(|row| keep((row.item().as_slice(), row.item().name())));
        keep(host.unusable_options());
        keep((host.parameters().mtu(), host.neighbors().iter().count()));
    }));
}

/// What is told to a router.
fn router_inputs(router: &mut RouterInterface<Small>, cx: &mut Context<'_, Small>) {
    let prefix = any(Ipv6Prefix::DEFAULT);
    keep(router.set_locators(cx, locators()));
    keep(router.publish(cx, any(PublishedPrefix::new(prefix))));
    router.withdraw(cx, &any(prefix));
    router.advertise_again(cx.now);
    router.stop(cx.now);
    keep(router.has_stopped());
    keep(router.last_answered());
    keep(router.is_default_router(cx.id, cx.routes, cx.forwarding));
    keep(router.advertised_routes(cx.id, cx.routes, cx.forwarding).count());
    keep((router.add_dns_server(any(Ipv6Addr::LOCALHOST)), router.add_trusted_router(any(Ipv4Addr::LOCALHOST))));
    keep(router.set_known_routers(any(&[Ipv4Addr::LOCALHOST][..])));
}

fn ask(link: &(impl Link + ?Sized), u: &Unknown) {
    if let Ok(flow) = isatap_core::proto41::Flow::parse(u.input()) {
        keep(link.admit(&flow));
    }
    keep((
        link.kind(),
        link.traits(),
        link.resolve(&u.ipv6(), &u.ipv6()),
        link.is_on_link(&u.ipv6()),
        link.is_local(&u.ipv6()),
    ));
    keep((link.owns_ipv4(u.ipv4()), link.source_for(&u.ipv6())));
    let underlay = link.underlay();
    keep((underlay.policy, underlay.locators(), underlay.path_mtu(u.ipv4())));
    keep((underlay.owns(u.ipv4()), underlay.excludes(u.ipv4()), underlay.may_send_to(u.ipv4()), underlay.way()));
}

crate::roots! {
    whole_nodes => |u| {
        let mut node = node();
        keep((node.refused(u.now(), any(DropReason::NotAddressed)), node.addressee(&outer(u), u.input(), &|link| link == any(LinkId(0)))));
        drive(&mut node, u);
    };
    hosts => |u| drive(&mut host(), u);
    minimal_hosts => |u| drive(&mut host_of::<Minimal>(), u);
    routers => |u| drive(&mut router(), u);
    minimal_routers => |u| {
        let mut node = any(AnyNode::<MinimalRouter, 2>::new(any(NodeConfig::DEFAULT)));
        let mut lan = NativeLink::new(u.value());
        lan.set_gateway(any(Some(u.ipv6())));
        keep(node.add(any(AnyInterface::Native(lan)), any(Switches::FORWARDING)));
        drive(&mut node, u);
        forward(&mut node, u);
    };
    node_settings => |u| {
        let mut node = node();
        let interface = any(AnyInterface::Native(NativeLink::new(u.value())));
        keep(node.add(interface, any(Switches::FORWARDING)));
        keep(node.switches_mut(u.link()).map(|switches| switches.metric));
        keep((node.insert_route(route(u)), node.remove_route(&route(u).key()), node.routes().count()));
        keep(node.refusals().iter().count());
        keep((node.add_known_prefix(u.prefix()), node.set_metric(u.link(), u.value())));
        keep(node.remove(u.link()));
        node.set_order(&[u.link()]);
        node.set_full_table(any(()));
        keep(node.datapath().full_table().longest(any(Some(u.link())), &u.ipv6()));
        node.merge_counters(any(&Counters::<u32>::ZERO));
        node.note_sent(u.now(), u.link(), u.ipv4());
        node.reseed(any([0; 2]));
        keep(node.repeated_identifications());
        keep((node.interface(u.link()).map(|interface| interface.link().kind()), node.counters().total_dropped(), node.generation()));
        node.datapath().routes().len()
    };
    node_forwarding => |u| forward(&mut node(), u);
    remembering => |u| {
        let rows: &mut [Decision] = any(&mut []);
        let decisions = any(Decisions::with_storage(rows));
        let mut node: AnyNode<Standard, 4, _> = any(AnyNode::with_decisions(any(NodeConfig::DEFAULT), decisions));
        drive(&mut node, u);
        forward(&mut node, u);
        let decisions = node.decisions();
        keep((decisions.hits(), decisions.misses(), decisions.capacity()));
        let decisions = any(Decisions::<[Decision; 3]>::new());
        drive(&mut any(IsatapHost::<Small, _>::remembering_host(any(HostConfig::DEFAULT), decisions)), u);
    };
    snapshots => |u| {
        let snapshot = any(node().datapath().clone());
        let identification = u.value();
        let mut counters = any(Counters::<u32>::ZERO);
        counters.count_verdict(&snapshot.encapsulate(&mut u.packet(), identification));
        keep(counters);
        keep(snapshot.decapsulate(&outer(u), &mut u.packet()));
        keep(snapshot.forward(&outer(u), &mut u.packet(), identification));
    };
    datapaths => |u| {
        let mut datapath = any(Datapath::<AnyInterface<Small>, Small, 4>::new());
        keep(datapath.add(any(AnyInterface::Native(NativeLink::new(u.value()))), any(Switches::DEFAULT)));
        keep((datapath.add_known_prefix(u.prefix()), datapath.set_metric(u.link(), u.value())));
        keep(datapath.addressee(&outer(u), u.input(), &|link| link == any(LinkId(0))));
        keep(datapath.port(u.link()).map(|port| port.switches.forwarding));
        keep(datapath.port_mut(u.link()).map(|port| port.switches.forwarding));
        keep((datapath.by_precedence().count(), datapath.routes().len(), datapath.is_local(u.link(), &u.ipv6())));
        if let Ok((link, from, flow)) = datapath.admit(&outer(u), u.input()) {
            keep((link, from, datapath.trials(&flow).filter(|(_, _, trial)| trial.is_ok()).count()));
        }
    };
    parking => |u| {
        let mut parking = any(Parking::new([Parked::EMPTY; 4], [0_u8; 256]));
        let ticket = Ticket { slot: u.value(), generation: u.value() };
        let way: u8 = u.value();
        keep(parking.park(ticket, way, &u.packet()));
        keep(parking.take(ticket, &mut u.packet()));
        keep((parking.discard_if(|ticket| ticket.is_of(u.link())), parking.discard(ticket), parking.len(), parking.is_empty(), any(None::<Event>).map(|event| event.wait_end())));
        isatap_core::prefix::is_ambiguous(u.ipv4())
    };
    isatap_links => |u| {
        let mut host = any(HostInterface::<Standard>::new(any(HostConfig::DEFAULT)));
        ask(any(host.link()), u);
        let link = any(host.link_mut());
        keep(link.add_member(u.ipv4_prefix()));
        link.underlay_mut().policy.ttl = any(TtlMode::CopyHopLimit);
        link.underlay_mut().set_way(any(1));
        link.underlay_mut().set_interface_mtu(u.value());
        keep((link.locators().len(), link.potential_routers().lists(u.ipv4()), link.known_routers().count()));
        keep(link.locators().iter().any(|own| own.is_broadcast(u.ipv4())));
        for router in link.potential_routers().iter() {
            keep((router.address(), router.origin(), router.is_alive(u.now()), router.may_be_default(), router.attempts(), router.next_solicitation()));
        }
        any(Underlay::<Small>::new(OuterPolicy::DEFAULT)).locators().len()
    };
    configured_links => |u| {
        let interface = any(configured::ConfiguredInterface::<Standard>::new(any(configured::Config::new(u.ipv4(), u.ipv4()))));
        let link = any(interface.link());
        ask(link, u);
        keep((link.local(), link.remote(), link.addresses().count(), configured::link_local(u.ipv4())));
        interface.remote_reachability()
    };
    any_links => |u| {
        let mut interface = any(AnyInterface::<Small>::Native(NativeLink::new(u.value())));
        interface.link_mut().underlay_mut().policy.ttl = any(TtlMode::CopyHopLimit);
        ask(any(interface.link()), u);
        Transmit::tunnel(u.link(), outer(u))
    };
    told_hosts => |u| host_inputs(&mut host(), u);
    told_routers => |u| {
        let mut interface = any(RouterInterface::<Small>::new(any(RouterConfig::DEFAULT)));
        interface.config_mut().router_lifetime = u.value();
        keep(interface.config().router_lifetime);
        keep((interface.published().len(), interface.addresses().count(), interface.link().locators().len()));
        if let Some(domain) = DomainName::from_wire(u.input()).and_then(|name| SearchDomain::new(&name)) {
            keep(interface.add_search_domain(domain));
        }
        let mut node = router();
        keep(node.add(interface, any(Switches::FORWARDING)));
        node.with_interface(u.now(), u.link(), |router, cx| router_inputs(router, cx))
    };
    configured_inputs => |u| {
        let mut node: Node<configured::ConfiguredInterface<Small>, Small, 1> = any(Node::new(any(NodeConfig::DEFAULT)));
        let address = any(InterfaceAddress { address: u.ipv6(), prefix_length: u.value() });
        keep(node.with_interface(u.now(), u.link(), |tunnel, cx| tunnel.add_address(cx, address)));
        keep(node.with_interface(u.now(), u.link(), |tunnel, cx| {
            keep(tunnel.set_locators(cx, locators()));
            keep(tunnel.set_remote(cx, any(Some(u.ipv4()))));
            keep(tunnel.set_default_route(cx, u.value()));
            keep(tunnel.set_routed_prefix(cx, any(Some(u.prefix()))));
            tunnel.delegation()
        }));
        drive(&mut node, u);
    };
}
