//! Links of every kind, made from what [`rules`](super::rules) knows of
//! them.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::capacity::Capacity;
use isatap_core::compatible;
use isatap_core::configured;
use isatap_core::datapath::{Remember, Switches};
use isatap_core::engine::Admitted;
use isatap_core::error::TableFull;
use isatap_core::interface::Context;
use isatap_core::isatap::{CheckNeighbors, HostConfig, HostInterface, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::lan;
use isatap_core::link::{InterfaceAddress, Locator, NativeLink, OuterPolicy};
use isatap_core::node::{AnyInterface, AnyNode};
use isatap_core::packet::LinkId;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::{self, ConfigureError};
use isatap_core::sixtofour;
use isatap_core::time::{Expiry, Instant};

use super::rules::{Domain, Net6, Own4, Rules, Speaker};

pub fn locator((address, subnet_length): Own4) -> Locator {
    Locator { address: Ipv4Addr::from_bits(address), subnet_length }
}

pub fn net6((address, length): Net6) -> Ipv6Prefix {
    Ipv6Prefix::new(Ipv6Addr::from_bits(address), length).unwrap()
}

pub fn net4((address, length): Own4) -> Ipv4Prefix {
    Ipv4Prefix::new(Ipv4Addr::from_bits(address), length).unwrap()
}

pub fn domain(domain: &Domain) -> sixrd::Domain {
    sixrd::Domain::new(net6(domain.prefix), net4(domain.common)).unwrap()
}

pub fn speaker(from: Admitted) -> Speaker {
    match from {
        Admitted::Remote => Speaker::Remote,
        Admitted::Host => Speaker::Host,
        Admitted::Router => Speaker::Router,
        Admitted::UnverifiedRelay | Admitted::Relay => Speaker::Anybody,
        _ => panic!("{from:?} is new here"),
    }
}

/// An interface that has not been told its addresses.
fn interface<C: Capacity>(rules: &Rules) -> AnyInterface<C> {
    match rules {
        Rules::Native { addresses } => {
            let mut native = NativeLink::new(1500);
            for (address, prefix_length) in addresses {
                let address = Ipv6Addr::from_bits(*address);
                native.add_address(InterfaceAddress { address, prefix_length: *prefix_length }).unwrap();
            }
            AnyInterface::Native(native)
        }
        Rules::Lan { link_local, subnet, .. } => {
            let mut config = lan::Config::new(Ipv6Addr::from_bits(*link_local), *subnet);
            config.advertise = true;
            AnyInterface::Lan(lan::LanInterface::new(config).unwrap())
        }
        Rules::Configured { near, far, .. } => {
            let config = configured::Config::new(Ipv4Addr::from_bits(*near), Ipv4Addr::from_bits(*far));
            AnyInterface::Configured(configured::ConfiguredInterface::new(config))
        }
        Rules::Isatap { router: true, .. } => {
            // The oracle judges one packet, and has nobody to ask.
            let mut config = RouterConfig::DEFAULT;
            config.check_neighbors = CheckNeighbors::Off;
            AnyInterface::IsatapRouter(RouterInterface::new(config))
        }
        Rules::Isatap { .. } => {
            let mut config = HostConfig::DEFAULT;
            config.resolve = false;
            AnyInterface::IsatapHost(HostInterface::new(config))
        }
        Rules::SixToFourSite { strangers, .. } => {
            let mut config = sixtofour::RouterConfig::DEFAULT;
            config.accept_bogons = *strangers;
            AnyInterface::SixToFourRouter(sixtofour::RouterInterface::new(config))
        }
        Rules::SixToFourRelay { strangers, anycast, .. } => {
            let mut config = sixtofour::RelayConfig::DEFAULT;
            config.accept_bogons = *strangers;
            config.anycast = *anycast;
            AnyInterface::SixToFourRelay(sixtofour::RelayInterface::new(config))
        }
        Rules::SixRdEdge { strict, .. } => {
            let mut config = sixrd::EdgeConfig::DEFAULT;
            config.strict_siblings = *strict;
            AnyInterface::SixRdEdge(sixrd::EdgeInterface::new(config))
        }
        Rules::SixRdRelay { domain: its, .. } => {
            AnyInterface::SixRdRelay(sixrd::RelayInterface::new(sixrd::RelayConfig::new(domain(its))))
        }
        Rules::Compatible { .. } => {
            AnyInterface::Compatible(compatible::CompatibleInterface::new(OuterPolicy::DEFAULT))
        }
    }
}

/// Tells an interface everything else, the lists first: what they leave out
/// for want of room may not be let in either.
fn tell<C: Capacity>(interface: &mut AnyInterface<C>, cx: &mut Context<'_, C>, rules: &Rules) -> Result<(), TableFull> {
    let locators: Vec<Locator> = rules.own().into_iter().map(locator).collect();
    let addresses = |bits: &[u32]| bits.iter().copied().map(Ipv4Addr::from_bits).collect::<Vec<_>>();
    match (interface, rules) {
        (AnyInterface::Native(_), Rules::Native { .. }) => Ok(()),
        (AnyInterface::Lan(lan), Rules::Lan { prefixes, .. }) => {
            lan.start(cx.now);
            prefixes.iter().try_for_each(|prefix| lan.publish(cx, net6(*prefix)))
        }
        (AnyInterface::Configured(tunnel), Rules::Configured { addresses, .. }) => {
            addresses.iter().try_for_each(|(address, prefix_length)| {
                let address = Ipv6Addr::from_bits(*address);
                tunnel.add_address(cx, InterfaceAddress { address, prefix_length: *prefix_length })
            })
        }
        (AnyInterface::IsatapRouter(router), Rules::Isatap { routers, prefixes, .. }) => {
            addresses(routers).into_iter().try_for_each(|known| router.add_trusted_router(known))?;
            router.set_locators(cx, &locators)?;
            prefixes.iter().try_for_each(|prefix| router.publish(cx, PublishedPrefix::new(net6(*prefix))))
        }
        (AnyInterface::IsatapHost(host), Rules::Isatap { routers, prefixes, .. }) => {
            assert!(prefixes.is_empty(), "a host learns its prefixes");
            addresses(routers).into_iter().try_for_each(|router| host.add_router(cx, router))?;
            host.set_locators(cx, &locators)
        }
        (AnyInterface::SixToFourRouter(router), Rules::SixToFourSite { relays, .. }) => {
            addresses(relays).into_iter().try_for_each(|relay| router.accept_relay(relay))?;
            router.set_locators(cx, &locators, Expiry::NEVER)
        }
        (AnyInterface::SixToFourRelay(relay), Rules::SixToFourRelay { clients, .. }) => {
            clients.iter().try_for_each(|client| relay.add_client(net4(*client)))?;
            relay.set_locators(cx, &locators)
        }
        (AnyInterface::SixRdEdge(edge), Rules::SixRdEdge { domain, relays, .. }) => {
            let configured = edge.configure(cx, net6(domain.prefix), domain.common.1, addresses(relays).into_iter());
            match configured {
                Err(ConfigureError::TableFull(full)) => return Err(full),
                other => other.unwrap(),
            }
            edge.set_locators(cx, &locators, Expiry::NEVER)
        }
        (AnyInterface::SixRdRelay(relay), Rules::SixRdRelay { routers, .. }) => {
            relay.set_known_routers(&addresses(routers))?;
            relay.set_locators(cx, &locators)
        }
        (AnyInterface::Compatible(tunnel), Rules::Compatible { .. }) => tunnel.set_locators(cx, &locators),
        _ => panic!("another link than {rules:?}"),
    }
}

/// Adds such a link to a node.
///
/// # Errors
/// A table is full; the link is there, and lets in no more than `rules` says.
pub fn add<C: Capacity, const LINKS: usize, D: Remember>(
    node: &mut AnyNode<C, LINKS, D>,
    now: Instant,
    rules: &Rules,
    switches: Switches,
) -> (LinkId, Result<(), TableFull>) {
    let id = node.add(interface(rules), switches).unwrap();
    (id, node.with_interface(now, id, |interface, cx| tell(interface, cx, rules)).unwrap())
}

/// Gives a link other IPv4 addresses, of which `rules` has the ones that it
/// may take.
///
/// # Errors
/// A table is full; as many as fit are used.
pub fn relocate<C: Capacity, const LINKS: usize, D: Remember>(
    node: &mut AnyNode<C, LINKS, D>,
    now: Instant,
    id: LinkId,
    told: &[Own4],
) -> Result<(), TableFull> {
    let locators: Vec<Locator> = told.iter().copied().map(locator).collect();
    let told = node.with_interface(now, id, |interface, cx| match interface {
        AnyInterface::IsatapRouter(router) => router.set_locators(cx, &locators),
        AnyInterface::IsatapHost(host) => host.set_locators(cx, &locators),
        AnyInterface::SixToFourRouter(router) => router.set_locators(cx, &locators, Expiry::NEVER),
        AnyInterface::SixToFourRelay(relay) => relay.set_locators(cx, &locators),
        AnyInterface::SixRdEdge(edge) => edge.set_locators(cx, &locators, Expiry::NEVER),
        AnyInterface::SixRdRelay(relay) => relay.set_locators(cx, &locators),
        AnyInterface::Compatible(tunnel) => tunnel.set_locators(cx, &locators),
        _ => Ok(()),
    });
    told.unwrap_or(Ok(()))
}
