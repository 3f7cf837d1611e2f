//! A full table behind the routes: the longer match of both.

use std::net::Ipv6Addr;
use std::rc::Rc;

use isatap_core::capacity::{Capacity, FullTable, Longest, Standard};
use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::datapath::{IngressFilter, Switches};
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Machine, Verdict};
use isatap_core::isatap::{CheckNeighbors, RouterConfig, RouterInterface};
use isatap_core::link::{InterfaceAddress, Locator, NativeLink};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::route::{Fib, FibRoute, Node, Origin, Route, Sorted};

use crate::support::*;

/// As [`Standard`], with a full table.
#[derive(Clone, Copy, Debug)]
enum Router {}

impl Capacity for Router {
    type Locators = <Standard as Capacity>::Locators;
    type PotentialRouters = <Standard as Capacity>::PotentialRouters;
    type Prefixes = <Standard as Capacity>::Prefixes;
    type Routes = <Standard as Capacity>::Routes;
    type Neighbors = <Standard as Capacity>::Neighbors;
    type CheckedNeighbors = <Standard as Capacity>::CheckedNeighbors;
    type PathMtus = <Standard as Capacity>::PathMtus;
    type Solicitations = <Standard as Capacity>::Solicitations;
    type Answered = <Standard as Capacity>::Answered;
    type DnsServers = <Standard as Capacity>::DnsServers;
    type SearchDomains = <Standard as Capacity>::SearchDomains;
    type Members = <Standard as Capacity>::Members;
    type KnownRouters = <Standard as Capacity>::KnownRouters;
    type Addresses = <Standard as Capacity>::Addresses;
    type Identifications = <Standard as Capacity>::Identifications;
    type Refusals = <Standard as Capacity>::Refusals;
    type Tally = u64;
    type FullTable = Full;
}

type Table = (Fib<Box<[Node]>>, Vec<Longest>);

/// A full table with the ways that its values name.
#[derive(Clone)]
struct Full(Option<Rc<Table>>);

impl FullTable for Full {
    const EMPTY: Self = Full(None);

    fn longest(&self, link: Option<LinkId>, destination: &Ipv6Addr) -> Option<Longest> {
        let (fib, ways) = &**self.0.as_ref()?;
        let way = ways[usize::from(fib.lookup(destination)?)];
        link.is_none_or(|link| link == way.link).then_some(way)
    }
}

/// Prefixes with their links and next hops.
fn full(routes: &[(&str, LinkId, &str)]) -> Full {
    let mut rows = Vec::new();
    let mut ways = Vec::new();
    for (value, (prefix, link, next_hop)) in (0..).zip(routes) {
        let route = FibRoute { prefix: prefix.parse().unwrap(), value };
        ways.push(Longest { length: route.prefix.length(), link: *link, next_hop: Some(v6(next_hop)) });
        rows.push(route);
    }
    let sorted = Sorted::sort(&mut rows);
    let nodes = vec![Fib::EMPTY_NODE; sorted.nodes()].into_boxed_slice();
    Full(Some(Rc::new((sorted.build(nodes).unwrap(), ways))))
}

struct Site {
    node: AnyNode<Router>,
    isatap: LinkId,
    lan: LinkId,
    tunnel: LinkId,
}

fn site() -> Site {
    let mut node = AnyNode::<Router>::new(NodeConfig::DEFAULT);
    let mut config = RouterConfig::DEFAULT;
    config.check_neighbors = CheckNeighbors::Off;
    let switches = Switches::FORWARDING;
    let isatap = node.add(AnyInterface::IsatapRouter(RouterInterface::new(config)), switches).unwrap();
    node.with_interface(NOW, isatap, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &[Locator { address: v4(SITE4), subnet_length: 24 }]).unwrap();
    });
    let mut link = NativeLink::new(1500);
    link.add_address(InterfaceAddress { address: v6("2001:db8:0:8::1"), prefix_length: 64 }).unwrap();
    let lan = node.add(AnyInterface::Native(link), switches).unwrap();
    let mut strict = switches;
    strict.ingress = IngressFilter::Strict;
    let config = Config::new(v4(NEAR4), v4(FAR4));
    let tunnel = node.add(AnyInterface::Configured(ConfiguredInterface::new(config)), strict).unwrap();
    node.insert_route(Route::via(prefix("::/0"), lan, v6("2001:db8:0:8::fe"), Origin::Manual)).unwrap();
    node.insert_route(Route::via(prefix("2001:db8:a::/48"), isatap, neighbor("10.0.0.2"), Origin::Manual)).unwrap();
    Site { node, isatap, lan, tunnel }
}

fn prefix(text: &str) -> isatap_core::prefix::Ipv6Prefix {
    text.parse().unwrap()
}

fn neighbor(ipv4: &str) -> Ipv6Addr {
    isatap6("fe80::", ipv4)
}

impl Site {
    /// Who gets a packet of this host: the IPv4 destination, or the next hop on the LAN.
    fn next_hop(&mut self, link: Option<LinkId>, destination: &str) -> String {
        let inner = Inner::new(v6("2001:db8:0:8::5"), v6(destination));
        let (verdict, bytes) = with(&inner.bytes(), |packet| {
            packet.set_link(link);
            self.node.encapsulate(NOW, packet)
        });
        match verdict {
            Verdict::Tunnel { .. } => seen(&bytes).destination.to_string(),
            Verdict::Native { next_hop, .. } => next_hop.to_string(),
            other => format!("{other:?}"),
        }
    }
}

#[test]
fn rte_1_the_longer_match_of_routes_and_full_table_wins() {
    let mut site = site();
    let (isatap, lan) = (site.isatap, site.lan);
    assert_eq!(site.next_hop(None, "2001:db8:a:1::1"), "10.0.0.2");
    let before = site.node.generation();
    site.node.set_full_table(full(&[
        ("2001:db8:a::/48", isatap, "fe80::5efe:10.0.0.3"),
        ("2001:db8:a:1::/64", isatap, "fe80::5efe:10.0.0.4"),
        ("2001:db8::/32", lan, "2001:db8:0:8::ff"),
        ("2001:db8:a:1::5/128", lan, "2001:db8:0:8::fd"),
        ("::/0", isatap, "fe80::5efe:10.0.0.5"),
    ]));
    assert_ne!(site.node.generation(), before, "what was remembered of routes is void");
    for (destination, next_hop) in [
        ("2001:db8:a:1::1", "10.0.0.4"),
        ("2001:db8:a:1::5", "2001:db8:0:8::fd"),
        // Equally long: the route table's.
        ("2001:db8:a:2::1", "10.0.0.2"),
        ("2001:db8:b::1", "2001:db8:0:8::ff"),
        ("2600::1", "2001:db8:0:8::fe"),
    ] {
        assert_eq!(site.next_hop(None, destination), next_hop, "{destination}");
    }
    // Of the device of one link: only ways by that.
    assert_eq!(site.next_hop(Some(isatap), "2600::1"), "10.0.0.5");
    assert_eq!(site.next_hop(Some(isatap), "2001:db8:a:2::1"), "10.0.0.2");
    site.node.set_full_table(Full::EMPTY);
    assert_eq!(site.next_hop(None, "2001:db8:a:1::1"), "10.0.0.2");
}

#[test]
fn tun_17_a_strict_filter_asks_the_full_table_too() {
    let mut site = site();
    let inner = Inner::new(v6("2001:db8:c::1"), v6("2001:db8:0:8::5"));
    let outer = Outer::new(v4(FAR4), v4(NEAR4)).around(&inner.bytes());
    let arrives = |site: &mut Site| {
        with(&outer, |packet| pulled(packet, |outer, packet| site.node.forward(NOW, outer, packet))).0
    };
    assert_eq!(arrives(&mut site), Verdict::Drop(DropReason::IngressFilter));
    let tunnel = site.tunnel;
    site.node.set_full_table(full(&[("2001:db8:c::/48", tunnel, "fe80::1")]));
    assert!(matches!(arrives(&mut site), Verdict::Native { .. }));
}
