//! The mechanisms that make site prefixes, 6to4 and 6rd, and the LANs that use them.

use core::net::Ipv4Addr;

use isatap_core::capacity::Standard;
use isatap_core::engine::{Change, Delegation};
use isatap_core::interface::Interface as _;
use isatap_core::lan;
use isatap_core::nd::advertise::{Intervals, Schedule};
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::proto41::Flow;
use isatap_core::sixrd::{self, Domain, SixRdOption};
use isatap_core::sixtofour;

use crate::machines::{drive, forward, locators};
use crate::{Unknown, any, keep};

fn flow(u: &Unknown) -> Option<Flow> {
    any(Flow::parse(u.input()).ok())
}

fn ipv4s() -> &'static [Ipv4Addr] {
    any(&[])
}

fn delegation(u: &Unknown) -> Delegation {
    any(Delegation { prefix: u.prefix(), until: u.expiry() })
}

fn entropy(out: &mut [u8]) {
    out.fill(any(0));
}

fn domain(u: &Unknown) -> Option<Domain> {
    any(Domain::new(u.prefix(), u.ipv4_prefix()).ok())
}

fn node() -> AnyNode<Standard, 4> {
    any(AnyNode::new(any(NodeConfig::DEFAULT)))
}

crate::roots! {
    sixtofour_rules => |u| {
        use sixtofour::ingress;
        let flow = flow(u)?;
        keep((ingress::is_usable(u.ipv4(), u.value()), ingress::locator(u.ipv4(), u.value())));
        keep((ingress::outer(&flow, u.value()), ingress::inner(&u.ipv6()), ingress::embedded(&u.ipv6(), u.value())));
        keep((ingress::source(&flow), ingress::destination(&flow), ingress::one_is_sixtofour(&u.ipv6(), &u.ipv6())));
        keep((ingress::in_site(&flow), ingress::leaves_sixtofour(&flow, u.value()), ingress::enters_sixtofour(&u.ipv6()), ingress::relay(u.ipv4(), ipv4s())));
        Some((ingress::client(u.ipv4(), any(&[])), ingress::direct(&u.ipv6(), &u.ipv6())))
    };
    sixrd_rules => |u| {
        use sixrd::ingress;
        let (domain, flow) = (domain(u)?, flow(u)?);
        keep((ingress::source(&domain, &flow), ingress::source_at_edge(&domain, &flow, ipv4s())));
        keep((ingress::no_sibling(&domain, &flow, &u.prefix()), ingress::destination(&flow, &u.prefix())));
        Some((ingress::scope(&u.ipv6(), &u.ipv6()), ingress::customer(u.ipv4(), ipv4s())))
    };
    dhcp => |u| {
        let input = u.input();
        keep(sixrd::dhcp::gather(input, u.bytes()));
        keep(sixrd::dhcp::emit(u.value(), &u.prefix(), ipv4s(), u.bytes()));
        let option = any(SixRdOption::parse(input).ok())?;
        Some((option.prefix(), option.ipv4_mask_len(), option.relays().count()))
    };
    sixtofour_routers => |u| {
        let mut node = node();
        keep(node.with_interface(u.now(), u.link(), |interface, cx| {
            let AnyInterface::SixToFourRouter(router) = interface else { return };
            keep(router.set_locators(cx, locators(), any(isatap_core::time::Expiry::NEVER)));
            keep((router.set_native(cx, any(true)), router.accept_relay(any(Ipv4Addr::LOCALHOST))));
            keep(router.relay_resolved(cx, ipv4s(), any(None)));
            keep((router.relay(), router.known_relay(), router.is_resting(), router.has_native(), router.delegation(), router.addresses().count(), router.link().locators().len()));
        }));
        drive(&mut node, u);
        forward(&mut node, u);
    };
    sixtofour_relays => |u| {
        let prefix = u.ipv4_prefix();
        keep(node().with_interface(u.now(), u.link(), |interface, cx| {
            let AnyInterface::SixToFourRelay(relay) = interface else { return };
            keep((relay.set_locators(cx, locators()), relay.add_client(prefix), relay.addresses().count()));
        }));
    };
    sixrd_edges => |u| {
        let (prefix, now, input, until) = (u.prefix(), u.now(), u.input(), u.expiry());
        keep(node().with_interface(now, u.link(), |interface, cx| {
            let AnyInterface::SixRdEdge(edge) = interface else { return };
            keep(edge.configure(cx, prefix, any(0), ipv4s().iter().copied()));
            if let Ok(option) = SixRdOption::parse(input) {
                keep(edge.configure_by_dhcp(cx, &option));
            }
            keep((edge.set_enabled(cx, any(true)), edge.set_locators(cx, locators(), until)));
            edge.probe_relay(any(now));
            keep((edge.is_relay_reachable(), edge.delegation(), edge.addresses().count()));
            let link = edge.link();
            keep((link.domain(), link.locator(), link.delegated(), link.address(), link.anycast(), link.relays().len(), link.relay()));
        }));
    };
    sixrd_relays => |u| {
        keep(node().with_interface(u.now(), u.link(), |interface, cx| {
            let AnyInterface::SixRdRelay(relay) = interface else { return };
            keep((relay.set_locators(cx, locators()), relay.set_known_routers(ipv4s()), relay.addresses().count()));
        }));
    };
    lans => |u| {
        let mut node = node();
        let (now, prefix, tunnel, given) = (u.now(), u.prefix(), u.link(), delegation(u));
        keep(lan::LanInterface::<Standard>::new(any(lan::Config::new(u.ipv6(), u.value()))).is_ok());
        keep(node.with_interface(now, u.link(), |interface, cx| {
            let AnyInterface::Lan(lan) = interface else { return };
            lan.start(now);
            lan.stop(now);
            keep((lan.publish(cx, prefix), lan.delegate(cx, tunnel, any(Some(given)))));
            keep((lan.link().addresses().len(), lan.published().len()));
        }));
        node.delegate(now, tunnel, any(Change::Removed), given)
    };
    advertising => |u| {
        let mut schedule = any(Schedule::SILENT);
        let now = u.now();
        schedule.start(now);
        schedule.solicited(any(now));
        schedule.stop(any(now));
        schedule.handle_timeout(&mut entropy);
        schedule.sent(now, any(&Intervals { min: u.duration(), max: u.duration() }));
        (schedule.is_due(now), schedule.is_advertising(), schedule.is_final(), schedule.deadline())
    };
}
