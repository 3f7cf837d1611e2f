//! What one link refuses does not enter by another: every pair of kinds in
//! one node, over one IPv4 address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::rc::Rc;

use isatap_core::capacity::Standard;
use isatap_core::datapath::{Datapath, IngressFilter, Switches};
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::Admitted;
use isatap_core::link::{Denied, Link, LinkKind, OuterPolicy, Resolution};
use isatap_core::node::NodeConfig;
use isatap_core::proto41::Flow;

use crate::support::traffic;
use crate::support::*;

/// One of each kind of link, all with the IPv4 address [`SITE4`]. A new kind
/// is a new line.
fn kinds() -> Vec<(&'static str, Shared)> {
    vec![
        ("configured", real(|node| add_tunnel(node, SITE4, "10.0.0.3", "2001:db8:0:9::1", Switches::DEFAULT))),
        ("isatap-router", real(|node| add_router(node, SITE4, ISATAP_PREFIX, Switches::DEFAULT))),
        ("isatap-router-2", real(|node| add_router(node, SITE4, "2001:db8:bad::/64", Switches::DEFAULT))),
        ("isatap-host", real(|node| add_host(node, SITE4, "10.0.0.4", Switches::DEFAULT))),
        ("lan", real(|node| add_lan(node, "2001:db8:0:8::1", Switches::DEFAULT))),
        ("relay", Shared(Rc::new(AnyRelay))),
    ]
}

/// A link that one real node holds.
fn real(add: impl Fn(&mut Any) -> isatap_core::packet::LinkId) -> Shared {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let id = add(&mut node);
    Shared(Rc::new(node.interface(id).unwrap().clone()))
}

/// The hole that 6to4 is by nature: native sources may come from whatever
/// relay. Nothing vouches for them.
struct AnyRelay;

impl Link for AnyRelay {
    fn kind(&self) -> LinkKind {
        LinkKind::Isatap
    }

    fn resolve(&self, _: &Ipv6Addr, _: &Ipv6Addr) -> Result<Resolution, DropReason> {
        Err(DropReason::NextHopUnresolvable)
    }

    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        if flow.outer_destination == v4(SITE4) { Ok(Admitted::UnverifiedRelay) } else { Err(Denied::NotAddressed) }
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        address.segments()[0] == 0x2002 || address.is_unicast_link_local()
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        *address == v6("2002:a00:1::1")
    }

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        address == v4(SITE4)
    }

    fn source_for(&self, _: &Ipv6Addr) -> Option<Ipv6Addr> {
        Some(v6("2002:a00:1::1"))
    }

    fn policy(&self) -> &OuterPolicy {
        const { &OuterPolicy::DEFAULT }
    }

    fn path_mtu(&self, _: Ipv4Addr) -> u16 {
        1500
    }
}

#[derive(Clone)]
struct Shared(Rc<dyn Link>);

impl Link for Shared {
    fn kind(&self) -> LinkKind {
        self.0.kind()
    }

    fn resolve(&self, inner_source: &Ipv6Addr, next_hop: &Ipv6Addr) -> Result<Resolution, DropReason> {
        self.0.resolve(inner_source, next_hop)
    }

    fn admit(&self, flow: &Flow) -> Result<Admitted, Denied> {
        self.0.admit(flow)
    }

    fn is_on_link(&self, address: &Ipv6Addr) -> bool {
        self.0.is_on_link(address)
    }

    fn is_local(&self, address: &Ipv6Addr) -> bool {
        self.0.is_local(address)
    }

    fn owns_ipv4(&self, address: Ipv4Addr) -> bool {
        self.0.owns_ipv4(address)
    }

    fn source_for(&self, destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.0.source_for(destination)
    }

    fn policy(&self) -> &OuterPolicy {
        self.0.policy()
    }

    fn path_mtu(&self, destination: Ipv4Addr) -> u16 {
        self.0.path_mtu(destination)
    }
}

fn datapath(links: &[&Shared], ingress: IngressFilter) -> Datapath<Shared, Standard, 2> {
    let mut datapath = Datapath::new();
    for link in links {
        let mut switches = Switches::FORWARDING;
        switches.ingress = ingress;
        datapath.add((*link).clone(), switches).unwrap();
    }
    datapath
}

#[test]
fn tun_23_what_one_link_refuses_does_not_enter_by_another() {
    let kinds = kinds();
    let (mut entered, mut refused, mut of_other_link) = (0, 0, 0);
    for (first, a) in &kinds {
        for (second, b) in &kinds {
            if first == second {
                continue;
            }
            for ingress in [IngressFilter::Off, IngressFilter::Site] {
                let pair = datapath(&[a, b], ingress);
                let alone = [datapath(&[a], ingress), datapath(&[b], ingress)];
                for inner_source in traffic::addresses() {
                    for outer_source in traffic::ipv4_addresses() {
                        for destination in ["2001:db8:aa::1", "2001:db8:0:7:0:5efe:10.0.0.3", "ff02::2", "fe80::1"] {
                            let inner = Inner::new(inner_source, v6(destination));
                            let outer = Outer::new(outer_source, v4(SITE4)).around(&inner.bytes());
                            let Ok((link, from, flow)) = pair.admit(&outer) else {
                                refused += 1;
                                let singles = alone.each_ref().map(|one| one.admit(&outer));
                                let unverified = [Admitted::UnverifiedRelay];
                                if singles
                                    .iter()
                                    .any(|one| matches!(one, Ok((_, from, _)) if unverified.contains(from)))
                                {
                                    of_other_link += 1;
                                }
                                continue;
                            };
                            entered += 1;
                            let context = format!("{first}+{second}: {inner_source} in {outer_source}: {from:?}");
                            // It enters by a link that would take it alone …
                            let takes = &alone[link.index()];
                            assert_eq!(takes.admit(&outer).map(|(_, from, _)| from), Ok(from), "{context}");
                            // … and what the other has an opinion on, by one
                            // that can vouch for the source.
                            let other = [b, a][link.index()];
                            let is_others = other.is_on_link(&inner_source) && !inner_source.is_unicast_link_local();
                            let other_refused = matches!(other.admit(&flow), Err(Denied::Refused(_)));
                            if is_others && from == Admitted::UnverifiedRelay {
                                panic!("{context}, refused by the other: {other_refused}");
                            }
                            // SEC-10: never as one of our own.
                            assert!(!a.is_local(&inner_source) || inner_source.is_unicast_link_local(), "{context}");
                            assert!(!b.is_local(&inner_source) || inner_source.is_unicast_link_local(), "{context}");
                        }
                    }
                }
            }
        }
    }
    assert!(entered > 1000 && refused > 1000 && of_other_link > 100, "{entered} {refused} {of_other_link}");
}

#[test]
fn tun_23_an_unverified_source_of_another_link_is_dropped_for_that() {
    let kinds = kinds();
    let link = |name: &str| &kinds.iter().find(|(kind, _)| *kind == name).unwrap().1;
    let spoofed =
        Outer::new(v4("203.0.113.9"), v4(SITE4)).around(&Inner::new(site6("10.0.0.3"), v6("2001:db8:aa::1")).bytes());
    let relay = datapath(&[link("relay")], IngressFilter::Site);
    assert!(relay.admit(&spoofed).is_ok(), "alone, nobody minds");
    for order in [["relay", "isatap-router"], ["isatap-router", "relay"]] {
        let both = datapath(&order.map(link), IngressFilter::Site);
        assert_eq!(both.admit(&spoofed).unwrap_err(), DropReason::SourceOfOtherLink);
    }
    // Link-local addresses are everybody's.
    let link_local = Outer::new(v4("203.0.113.9"), v4(SITE4)).around(&Inner::of("fe80::77", "2001:db8:aa::1").bytes());
    assert!(datapath(&[link("relay"), link("isatap-router")], IngressFilter::Site).admit(&link_local).is_ok());
}
