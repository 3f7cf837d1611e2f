//! What one link refuses does not enter by another: every pair of kinds in
//! one node, over one IPv4 address.

use isatap_core::capacity::Standard;
use isatap_core::compatible;
use isatap_core::datapath::{Datapath, IngressFilter, Switches};
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::Admitted;
use isatap_core::interface::Context;
use isatap_core::interface::Interface as _;
use isatap_core::link::{Denied, OuterPolicy};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::Outer;
use isatap_core::sixrd::{self, Domain};
use isatap_core::sixtofour;

use crate::support::traffic;
use crate::support::*;

/// The IPv4 address of all links; a public one, as 6to4 wants.
const OWN: &str = "131.107.0.3";
/// In the site that it makes.
const SIXTOFOUR: &str = "2002:836b:3::9";
/// In the prefix that it has in the 6rd domain.
const SIXRD: &str = "2001:db8:6000:300::9";

type Interface = AnyInterface<Standard>;

/// One of each kind of link, all with the IPv4 address [`OWN`]. A new kind
/// is a new line.
fn kinds() -> Vec<(&'static str, Interface)> {
    let domain = Domain::new("2001:db8:6000::/40".parse().unwrap(), "131.107.0.0/16".parse().unwrap()).unwrap();
    vec![
        ("configured", real(|node| add_tunnel(node, OWN, "10.0.0.3", "2001:db8:0:9::1", Switches::DEFAULT))),
        ("isatap-router", real(|node| add_router(node, OWN, ISATAP_PREFIX, Switches::DEFAULT))),
        ("isatap-router-2", real(|node| add_router(node, OWN, "2001:db8:bad::/64", Switches::DEFAULT))),
        ("isatap-host", real(|node| add_host(node, OWN, "10.0.0.4", Switches::DEFAULT))),
        ("lan", real(|node| add_lan(node, "2001:db8:0:8::1", Switches::DEFAULT))),
        // To its own site a 6to4 router takes whatever some relay brings.
        ("6to4-router", {
            let mut config = sixtofour::RouterConfig::DEFAULT;
            config.accept_bogons = true;
            let interface = sixtofour::RouterInterface::new(config);
            told(AnyInterface::SixToFourRouter(interface), |interface, cx| {
                let AnyInterface::SixToFourRouter(router) = interface else { unreachable!() };
                router.set_locators(cx, &locators(&[OWN]), isatap_core::time::Expiry::NEVER).unwrap();
            })
        }),
        ("6to4-relay", {
            let mut config = sixtofour::RelayConfig::DEFAULT;
            config.accept_bogons = true;
            let interface = sixtofour::RelayInterface::new(config);
            told(AnyInterface::SixToFourRelay(interface), |interface, cx| {
                let AnyInterface::SixToFourRelay(relay) = interface else { unreachable!() };
                relay.set_locators(cx, &locators(&[OWN])).unwrap();
            })
        }),
        ("6rd-relay", {
            let interface = sixrd::RelayInterface::new(sixrd::RelayConfig::new(domain));
            told(AnyInterface::SixRdRelay(interface), |interface, cx| {
                let AnyInterface::SixRdRelay(relay) = interface else { unreachable!() };
                relay.set_locators(cx, &locators(&[OWN])).unwrap();
            })
        }),
        ("compatible", {
            told(
                AnyInterface::Compatible(compatible::CompatibleInterface::new(OuterPolicy::DEFAULT)),
                |interface, cx| {
                    let AnyInterface::Compatible(interface) = interface else { unreachable!() };
                    interface.set_locators(cx, &locators(&[OWN])).unwrap();
                },
            )
        }),
    ]
}

/// A link as a real node holds it.
fn real(add: impl Fn(&mut Any) -> LinkId) -> Interface {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let id = add(&mut node);
    node.interface(id).unwrap().clone()
}

fn told(interface: Interface, tell: impl FnOnce(&mut Interface, &mut Context<'_, Standard>)) -> Interface {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let id = node.add(interface, Switches::DEFAULT).unwrap();
    node.with_interface(NOW, id, tell).unwrap();
    node.interface(id).unwrap().clone()
}

fn datapath(links: &[&Interface], ingress: IngressFilter) -> Datapath<Interface, Standard, 2> {
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
                        for destination in
                            ["2001:db8:aa::1", "2001:db8:0:7:0:5efe:10.0.0.3", SIXTOFOUR, SIXRD, "ff02::2", "fe80::1"]
                        {
                            let inner = Inner::new(inner_source, v6(destination));
                            let (outer, packet) = (Outer::new(outer_source, v4(OWN)), inner.bytes());
                            let Ok((link, from, flow)) = pair.admit(&outer, &packet) else {
                                refused += 1;
                                let singles = alone.each_ref().map(|one| one.admit(&outer, &packet));
                                let unverified = [Admitted::UnverifiedRelay, Admitted::Relay];
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
                            assert_eq!(takes.admit(&outer, &packet).map(|(_, from, _)| from), Ok(from), "{context}");
                            // … and what the other has an opinion on, by one
                            // that can vouch for the source.
                            let other = [b, a][link.index()];
                            let is_others =
                                other.link().is_on_link(&inner_source) && !inner_source.is_unicast_link_local();
                            let other_refused = matches!(other.link().admit(&flow), Err(Denied::Refused(_)));
                            if is_others && matches!(from, Admitted::UnverifiedRelay | Admitted::Relay) {
                                panic!("{context}, refused by the other: {other_refused}");
                            }
                            // SEC-10: never as one of our own.
                            assert!(
                                !a.link().is_local(&inner_source) || inner_source.is_unicast_link_local(),
                                "{context}"
                            );
                            assert!(
                                !b.link().is_local(&inner_source) || inner_source.is_unicast_link_local(),
                                "{context}"
                            );
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
    let (outer, spoofed) =
        (Outer::new(v4("203.0.113.9"), v4(OWN)), Inner::new(site6("10.0.0.3"), v6(SIXTOFOUR)).bytes());
    let relay = datapath(&[link("6to4-router")], IngressFilter::Site);
    assert!(relay.admit(&outer, &spoofed).is_ok(), "alone, nobody minds");
    for order in [["6to4-router", "isatap-router"], ["isatap-router", "6to4-router"]] {
        let both = datapath(&order.map(link), IngressFilter::Site);
        assert_eq!(both.admit(&outer, &spoofed).unwrap_err(), DropReason::SourceOfOtherLink);
    }
}
