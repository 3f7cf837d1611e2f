//! The intranet of the white paper's figure 12 and what tests ask of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::isatap::{OfferDefault, addr};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::time::Instant;
use isatap_std::lab::{Gateway, GatewayOptions, IsatapHost, LAN_LINK, NATIVE_LINK, NativeHost, NodeId, PingId, World};
use isatap_std::spec;

pub const A4: Ipv4Addr = Ipv4Addr::new(192, 168, 47, 99);
pub const B4: Ipv4Addr = Ipv4Addr::new(131, 107, 71, 209);
pub const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
pub const NAME: &str = "isatap.example.com";
pub const HOUR: Duration = Duration::from_secs(3600);
pub const DAY: Duration = Duration::from_secs(86_400);

pub fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

pub fn c6() -> Ipv6Addr {
    v6("2001:db8:0:8::c")
}

/// The address that a host of this IPv4 address has in the site's prefix.
pub fn global(ipv4: Ipv4Addr) -> Ipv6Addr {
    addr::address(&"2001:db8:0:7::/64".parse().unwrap(), ipv4).unwrap()
}

pub fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

pub struct Site {
    pub world: World,
    pub router: NodeId,
    pub a: NodeId,
    pub b: NodeId,
    pub c: NodeId,
}

/// The router, as a daemon would be told of it.
pub fn router() -> spec::IsatapRouter {
    router_of(ROUTER4, "2001:db8:0:7::/64".parse().unwrap())
}

/// The router of a prefix: its world ends at the LAN.
pub fn router_of(local: Ipv4Addr, prefix: Ipv6Prefix) -> spec::IsatapRouter {
    let mut router = spec::IsatapRouter::new(vec![local], vec![prefix.into()]);
    router.default = OfferDefault::Always;
    router
}

/// A node that is this router, with an address on a LAN.
pub fn gateway(router: spec::IsatapRouter, lan: Ipv6Addr) -> Gateway {
    Gateway::new(&GatewayOptions::new(router).lan(lan, 64)).unwrap()
}

/// The router's own.
pub fn on_lan() -> Ipv6Addr {
    v6("2001:db8:0:8::1")
}

/// A host that asks for its routers by name.
pub fn by_name() -> spec::IsatapHost {
    by(NAME)
}

/// A host of this router, by address or name.
pub fn by(router: &str) -> spec::IsatapHost {
    let mut host = spec::IsatapHost::new();
    host.router.push(router.parse().unwrap());
    host
}

pub fn host(host: &spec::IsatapHost) -> IsatapHost {
    IsatapHost::new(host).unwrap()
}

/// Lifetimes of addresses: valid, preferred.
pub fn with_lifetimes(mut router: spec::IsatapRouter, valid: Duration, preferred: Duration) -> spec::IsatapRouter {
    let secs = |time: Duration| u32::try_from(time.as_secs()).unwrap();
    (router.valid_lifetime, router.preferred_lifetime) = (secs(valid), secs(preferred));
    router
}

/// A and B, which resolve a name for their router, and C beyond it.
pub fn site(test: &str, seed: u64) -> Site {
    site_with(test, seed, router(), &by_name())
}

pub fn site_with(test: &str, seed: u64, router: spec::IsatapRouter, of_hosts: &spec::IsatapHost) -> Site {
    let mut world = World::for_test(test, seed);
    world.names.set_addresses(NAME, &[ROUTER4], HOUR);
    let lan = world.add_lan("lan");
    let router = world.add("router", gateway(router, on_lan()));
    world.join(router, LAN_LINK, lan);
    world.set_ipv4(router, &[ROUTER4]);
    let native = NativeHost::new(c6(), "2001:db8:0:8::/64".parse().unwrap(), Some(v6("2001:db8:0:8::1")));
    let c = world.add("C", native);
    world.join(c, NATIVE_LINK, lan);
    let a = world.add("A", host(of_hosts));
    let b = world.add("B", host(of_hosts));
    world.set_ipv4(a, &[A4]);
    world.set_ipv4(b, &[B4]);
    Site { world, router, a, b, c }
}

impl Site {
    pub fn has(&self, node: NodeId, address: Ipv6Addr) -> bool {
        self.world.ipv6(node).contains(&address)
    }

    /// Whether a ping is answered within two seconds.
    pub fn reaches(&mut self, from: NodeId, to: Ipv6Addr) -> bool {
        let ping = self.world.ping(from, to);
        self.answered(ping)
    }

    pub fn answered(&mut self, ping: PingId) -> bool {
        self.world.run_while_not(secs(2), |world| world.outcome(ping).is_reply())
    }

    /// Replies to `count` pings, one a second.
    pub fn replies(&mut self, from: NodeId, to: Ipv6Addr, count: usize) -> usize {
        let pings: Vec<PingId> = (0..count)
            .map(|_| {
                let ping = self.world.ping(from, to);
                self.world.run_for(secs(1));
                ping
            })
            .collect();
        self.world.run_for(secs(2));
        pings.iter().filter(|ping| self.world.outcome(**ping).is_reply()).count()
    }

    /// Goes on until both hosts have their global addresses; tells whether
    /// they got them.
    pub fn settle(&mut self, longest: Duration) -> bool {
        let (a, b) = (self.a, self.b);
        self.world
            .run_while_not(longest, |world| world.ipv6(a).contains(&global(A4)) && world.ipv6(b).contains(&global(B4)))
    }

    /// Router Solicitations that `node` has sent, since the journey was taken
    /// last.
    pub fn solicitations(&self, node: &str) -> Vec<Instant> {
        let sent = self.world.journey().iter().filter(|hop| {
            hop.node == node
                && hop.action == isatap_std::lab::Action::Encapsulate
                && hop.inner.as_ref().is_some_and(|inner| inner.message == "router-solicitation")
        });
        sent.map(|hop| hop.time).collect()
    }
}
