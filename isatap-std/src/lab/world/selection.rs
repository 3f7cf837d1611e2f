//! Which addresses a program on a node would use. [RFC 6724]

use std::net::IpAddr;

use isatap_core::select::{Destination, Policy, Source};

use super::super::node::{Path, interface};
use super::{NodeId, World};
use crate::selection::{Candidate, LOOPBACK, Placed, is_local, loopback_source, order};

impl World {
    /// In which order a program on `from` tries destinations now, and from which of the node's
    /// addresses, IPv4 ones too; sends nothing. A link whose cable is pulled has neither addresses nor
    /// routes, as on a machine that takes a device down without a carrier.
    #[must_use]
    pub fn select(&self, from: NodeId, to: &[IpAddr], policy: &Policy<'_>) -> Vec<Placed> {
        let slot = &self.nodes[from.0];
        let mut sources = slot.node.sources(self.local(slot).max(slot.latest));
        // Of the cloud, which is no link of the node.
        sources.extend(slot.addresses.iter().map(|own| Source::new((*own).into(), 24)));
        sources.retain(|source| self.is_up(from, source.interface));
        let candidate = |address: &IpAddr| {
            let mut to = Destination::new(*address);
            let mut device = None;
            let local = is_local(&to, &sources);
            match address {
                _ if local => device = Some(LOOPBACK.to_owned()),
                IpAddr::V4(_) => to.unreachable = !sources.iter().any(|source| source.address.is_ipv4()),
                IpAddr::V6(address) => {
                    match slot.node.path(address).filter(|path| self.is_up(from, path.interface())) {
                        Some(path) => {
                            (to.interface, to.encapsulated) = (path.interface(), path.encapsulated);
                            device = self.device(from, path);
                        }
                        None => to.unreachable = true,
                    }
                }
            }
            let choice = policy.choose_source(&to, sources.iter().copied().chain(loopback_source(&to, &sources)));
            to.source = choice.map(|choice| choice.source);
            Candidate { to, choice, name: None, device, local }
        };
        order(policy, to.iter().map(candidate).collect())
    }

    /// Whether the cable of a node's link is plugged in; `number` is that of address selection, and 0 the cloud's.
    fn is_up(&self, node: NodeId, number: u32) -> bool {
        let slot = &self.nodes[node.0];
        slot.plugged && slot.ports.iter().all(|port| port.plugged || interface(port.link) != number)
    }

    /// What the first link of a path is called.
    fn device(&self, from: NodeId, path: Path) -> Option<String> {
        let of_lan = |link| {
            let port = self.nodes[from.0].ports.iter().find(|port| port.link == link)?;
            Some(self.lans[port.lan.0].name.clone())
        };
        path.device.or_else(|| of_lan(path.link))
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::gateway::{Gateway, GatewayOptions};
    use super::*;
    use isatap_core::packet::LinkId;
    use isatap_core::select::Policy;

    /// A router notices nothing itself: it goes on sending into the LAN.
    #[test]
    fn a_cable_that_is_pulled_takes_its_addresses_and_routes_and_no_others() {
        let mut world = World::new(1);
        let lans = ["one", "two"].map(|name| world.add_lan(name));
        let mut options = GatewayOptions {
            tunnels: Vec::new(),
            lans: Vec::new(),
            routes: Vec::new(),
            loop_checks: true,
            forwards: true,
        };
        options = options.lan("2001:db8:1::1".parse().unwrap(), 64).lan("2001:db8:2::1".parse().unwrap(), 64);
        let node: Gateway = Gateway::new(&options).unwrap();
        let router = world.add("router", node);
        for (link, lan) in (0..).map(LinkId).zip(lans) {
            world.join(router, link, lan);
        }
        let to = ["2001:db8:1::9", "2001:db8:2::9", "2001:db8:2::1"].map(|text| text.parse().unwrap());
        let told = |world: &World| -> Vec<String> {
            world.select(router, &to, &Policy::RFC6724).iter().map(ToString::to_string).collect()
        };
        let before = told(&world);
        assert!(before[0].starts_with("1. 2001:db8:1::9 by one\n   from 2001:db8:1::1,"), "{before:#?}");
        assert!(before.iter().all(|one| !one.contains("no route")), "{before:#?}");
        world.set_lan_plugged(router, lans[1], false);
        let pulled = told(&world);
        assert!(
            pulled[0].starts_with("1. 2001:db8:1::9 by one\n   from 2001:db8:1::1: there is no other candidate"),
            "{pulled:#?}"
        );
        assert!(pulled[1..].iter().all(|one| one.contains(": there is no route\n")), "{pulled:#?}");
        world.set_lan_plugged(router, lans[1], true);
        assert_eq!(told(&world), before);
    }
}
