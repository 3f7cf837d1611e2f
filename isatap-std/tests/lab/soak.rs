//! A site of many hosts over days, with loss and all faults; what must
//! hold is checked by the world after each step.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::site::{self, DAY, HOUR, NAME, c6, secs, v6};
use isatap_core::isatap::addr;
use isatap_std::lab::pcap::{Pcap, SharedBuffer};
use isatap_std::lab::{Chance, Conditions, Gateway, LAN_LINK, NATIVE_LINK, NativeHost, NodeId, World};

const ROUTERS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2)];

struct Soak {
    world: World,
    routers: Vec<NodeId>,
    hosts: Vec<NodeId>,
    c: NodeId,
    pings: u64,
    replies: u64,
}

fn host4(n: usize) -> Ipv4Addr {
    let n = u8::try_from(n).unwrap();
    if n % 3 == 0 { Ipv4Addr::new(131, 107, 1, n + 1) } else { Ipv4Addr::new(192, 168, n, 1) }
}

fn router(n: usize) -> Gateway {
    let prefix = format!("2001:db8:0:{}::/64", 70 + n).parse().unwrap();
    let router = site::with_lifetimes(site::router_of(ROUTERS[n], prefix), DAY, HOUR * 6);
    site::gateway(router, v6(&format!("2001:db8:0:8::{}", n + 1)))
}

impl Soak {
    fn new(seed: u64, hosts: usize) -> Self {
        let mut world = World::for_test("soak", seed);
        world.keep_journey(false);
        world.cloud.conditions = Conditions {
            loss: Chance::percent(10),
            duplication: Chance::percent(2),
            reordering: Chance::percent(5),
            jitter: Duration::from_millis(30),
            ..Conditions::GOOD
        };
        world.names.set_addresses(NAME, &ROUTERS, HOUR);
        let lan = world.add_lan("lan");
        let routers = (0..2)
            .map(|n| {
                let id = world.add(&format!("router {n}"), router(n));
                world.join(id, LAN_LINK, lan);
                world.set_ipv4(id, &[ROUTERS[n]]);
                id
            })
            .collect();
        let native = NativeHost::new(c6(), "2001:db8:0:8::/64".parse().unwrap(), Some(v6("2001:db8:0:8::1")));
        let c = world.add("C", native);
        world.join(c, NATIVE_LINK, lan);
        let hosts = (0..hosts)
            .map(|n| {
                let id = world.add(&format!("host {n}"), site::host(&site::by_name()));
                world.set_ipv4(id, &[host4(n)]);
                id
            })
            .collect();
        Soak { world, routers, hosts, c, pings: 0, replies: 0 }
    }

    /// One of all the faults, and its end an hour later.
    fn fault(&mut self) {
        let victim = self.pick();
        let kind = self.world.rng().below(8);
        let router = self.routers[usize::try_from(self.world.rng().below(2)).unwrap()];
        let own = self.world.ipv4(victim).to_vec();
        match kind {
            0 => self.world.set_plugged(router, false),
            1 => self.world.set_suspended(victim, true),
            2 => self.world.set_ipv4(victim, &[]),
            3 => self.world.set_ipv4(victim, &[Ipv4Addr::new(172, 16, 3, 3)]),
            4 => self.world.set_clock(victim, self.world.clock(victim).saturating_add(HOUR)),
            5 => self.world.names.set(NAME, isatap_std::lab::DnsAnswer::ServerFailure),
            6 => self.world.names.set_addresses(
                NAME,
                &[Ipv4Addr::LOCALHOST, own.first().copied().unwrap_or(ROUTERS[0])],
                secs(60),
            ),
            _ => {
                let n = usize::from(router == self.routers[1]);
                self.world.replace(router, self::router(n));
            }
        }
        self.some_pings(20);
        self.world.run_for(HOUR);
        self.world.set_plugged(router, true);
        self.world.set_suspended(victim, false);
        self.world.set_ipv4(victim, &own);
        self.world.names.set_addresses(NAME, &ROUTERS, HOUR);
        self.world.run_for(HOUR);
    }

    fn pick(&mut self) -> NodeId {
        let n = self.world.rng().below(self.hosts.len() as u64);
        self.hosts[usize::try_from(n).unwrap()]
    }

    fn some_pings(&mut self, count: usize) {
        let mut sent = Vec::new();
        for _ in 0..count {
            let (from, other) = (self.pick(), self.pick());
            let to: Ipv6Addr = match self.world.rng().below(3) {
                0 => c6(),
                1 => self.world.ipv4(other).first().map_or(c6(), |own| addr::link_local(*own)),
                _ => self.world.ipv6(other).into_iter().find(|own| !own.is_unicast_link_local()).unwrap_or(c6()),
            };
            sent.push(self.world.ping(from, to));
            self.world.run_for(Duration::from_millis(100));
        }
        sent.push(self.world.ping(self.c, v6("2001:db8:0:8::1")));
        self.world.run_for(secs(3));
        self.pings += sent.len() as u64;
        self.replies += sent.iter().filter(|ping| self.world.outcome(**ping).is_reply()).count() as u64;
    }

    /// All is well: at the end each host has what both routers advertise.
    fn run(mut self, duration: Duration) -> (u64, u64, u64) {
        let end = self.world.now().saturating_add(duration);
        while self.world.now() < end {
            self.fault();
        }
        self.world.cloud.conditions = Conditions::GOOD;
        self.world.run_for(DAY);
        for (n, id) in self.hosts.iter().enumerate() {
            let own = self.world.ipv6(*id);
            for router in 0..2 {
                let prefix = format!("2001:db8:0:{}::/64", 70 + router).parse().unwrap();
                let wanted = addr::address(&prefix, host4(n)).unwrap();
                assert!(own.contains(&wanted), "seed {}: host {n} has {own:?}", self.world.seed());
            }
            assert!(own.len() <= 3, "nothing is left over: {own:?}");
        }
        // With 10 % loss, and one of few nodes gone half of the time.
        assert!(self.replies * 3 > self.pings, "{} of {}", self.replies, self.pings);
        self.world.finish_capture().unwrap();
        (self.world.delivered(), self.world.dropped(), self.replies)
    }
}

#[test]
fn a_week_of_faults() {
    Soak::new(1, 12).run(DAY * 7);
}

/// The same seed gives the same bytes, faults and all.
#[test]
fn the_same_seed_gives_the_same_week() {
    let run = |seed| {
        let mut soak = Soak::new(seed, 4);
        let buffer = SharedBuffer::default();
        soak.world.capture(Pcap::new(Box::new(buffer.clone())).unwrap());
        let counts = soak.run(DAY);
        (buffer.bytes(), counts)
    };
    let first = run(3);
    assert!(first.0.len() > 100_000, "{}", first.0.len());
    assert!(first == run(3));
    assert!(first.0 != run(4).0);
}

#[test]
#[ignore = "minutes: .ci/run release"]
fn thirty_days_of_faults_for_fifty_hosts() {
    for seed in 0..5 {
        Soak::new(seed, 50).run(DAY * 30);
    }
}
