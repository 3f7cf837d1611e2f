//! RFC 6324 by search: every site of up to four tunnel routers, every made-up pair
//! of addresses, entered everywhere and from everybody. The soak has every site
//! of six, ten thousand sites by chance, and one of fifty routers.
//!
//! The routers stand on one LAN with routes to each other's prefixes, and
//! everything else leaves by a gateway: without tunnels no packet goes round.
//!
//! A configured tunnel has its other end where it says. One that ends at a 6rd
//! border relay, which knows nothing of it, does make a loop: that relay must
//! be told of the router (`S6R-33`), and the last test shows both.

use isatap_core::datapath::Switches;
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{CheckNeighbors, RouterConfig};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::sixrd::{self, Domain};
use isatap_core::sixtofour;
use isatap_core::time::Duration;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::support::*;

const TUNNEL: LinkId = LinkId(0);
const LAN: LinkId = LinkId(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Isatap,
    SixToFour,
    SixRd,
    Configured,
}

/// What is to end loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Defence {
    /// Public IPv4 addresses and what is on unless switched off.
    Public,
    /// The same with the loop checks off.
    Nothing,
    /// Private IPv4 addresses and what is on unless switched off: `SEC-1`.
    Private,
    /// The same in one site: every router lists its prefix (`SEC-2`), which has
    /// every router in it.
    Site,
    /// Private, the neighbour check off.
    Unasked,
    /// One site, the neighbour check off.
    UnaskedSite,
    /// Private, the neighbour check off, and `SEC-2` with a prefix that has no
    /// router in it.
    Members,
}

impl Defence {
    fn is_public(self) -> bool {
        matches!(self, Defence::Public | Defence::Nothing)
    }

    fn is_site(self) -> bool {
        matches!(self, Defence::Site | Defence::UnaskedSite)
    }

    /// None of the loops that this defence is to end was found.
    fn assert_none(self, found: &Found, kinds: &[Kind]) {
        if !matches!(self, Defence::Nothing | Defence::Unasked | Defence::UnaskedSite) {
            assert_eq!(found.loops, 0, "{kinds:?} with {self:?}: {:?}", found.first);
        }
    }

    /// 6to4 with private IPv4 addresses is a lab's (`S64-1`).
    fn kinds(self) -> &'static [Kind] {
        &[Kind::Isatap, Kind::SixRd, Kind::Configured, Kind::SixToFour]
    }
}

/// What a search found.
#[derive(Debug, Default)]
struct Found {
    sites: u32,
    packets: u64,
    /// Packets that some router sent on twice.
    loops: u64,
    /// Packets that had a router ask for a neighbour.
    asked: u64,
    /// One of the loops.
    first: Option<String>,
}

impl Found {
    fn note(&mut self, round: bool, names: &[Ipv4Addr], from: Ipv6Addr, to: Ipv6Addr, outside: Option<Ipv4Addr>) {
        if round {
            self.loops += 1;
            self.first.get_or_insert_with(|| format!("{from} -> {to} by {outside:?} among {names:?}"));
        }
    }
}

struct Site {
    kinds: Vec<Kind>,
    names: Vec<Ipv4Addr>,
    /// Each router's address on the LAN.
    gateways: Vec<Ipv6Addr>,
    routers: Vec<Any>,
    now: Instant,
    asked: u64,
}

impl Site {
    /// `S6R-15`: the IPv4 block of each 6rd domain is its own, and the other
    /// routers' addresses lie in those blocks too.
    fn new(kinds: &[Kind], defence: Defence) -> Self {
        Site::with_stray(kinds, defence, None)
    }

    /// The same where configured tunnels without another end lead to the
    /// router `stray`, which has none.
    fn with_stray(kinds: &[Kind], defence: Defence, stray: Option<usize>) -> Self {
        let domains = kinds.iter().filter(|kind| **kind == Kind::SixRd).count();
        let mut domain = 0;
        let names: Vec<Ipv4Addr> = kinds
            .iter()
            .zip(1..)
            .map(|(kind, number)| {
                let (block, host) = match kind {
                    _ if defence.is_site() => (0, number),
                    Kind::SixRd => (domain, 1),
                    _ => (number % domains.max(1), 100 + number),
                };
                domain += usize::from(*kind == Kind::SixRd);
                let (first, block) = (if defence.is_public() { 131 } else { 10 }, u8::try_from(107 + block).unwrap());
                Ipv4Addr::new(first, block, 0, u8::try_from(host).unwrap())
            })
            .collect();
        let mut switches = Switches::FORWARDING;
        switches.loop_checks = defence != Defence::Nothing;
        let router = |at: usize| {
            let mut node = Any::new(NodeConfig::DEFAULT);
            let name = names[at].to_string();
            match kinds[at] {
                Kind::Isatap => {
                    let mut config = RouterConfig::DEFAULT;
                    if !matches!(defence, Defence::Private | Defence::Site | Defence::Public) {
                        config.check_neighbors = CheckNeighbors::Off;
                    }
                    add_router_of(&mut node, config, &name, &format!("{}/64", prefix(at)), switches);
                    let members = match defence {
                        Defence::Site | Defence::UnaskedSite => Some(names[at]),
                        Defence::Members => Some(Ipv4Addr::new(10, 200, 0, 0)),
                        _ => None,
                    };
                    node.with_interface(NOW, TUNNEL, |interface, _| {
                        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
                        let members = members.and_then(|inside| Ipv4Prefix::new(inside, 16));
                        members.into_iter().for_each(|members| router.link_mut().add_member(members).unwrap());
                    });
                }
                Kind::SixToFour => {
                    let mut config = sixtofour::RelayConfig::DEFAULT;
                    config.accept_bogons = !defence.is_public();
                    let relay = sixtofour::RelayInterface::new(config);
                    node.add(AnyInterface::SixToFourRelay(relay), switches).unwrap();
                    node.with_interface(NOW, TUNNEL, |interface, cx| {
                        let AnyInterface::SixToFourRelay(relay) = interface else { unreachable!() };
                        relay.set_locators(cx, &[names[at].into()]).unwrap();
                    });
                }
                Kind::SixRd => {
                    let block = Ipv4Prefix::new(names[at], 16).unwrap();
                    let domain = Domain::new(format!("{}/48", prefix(at)).parse().unwrap(), block).unwrap();
                    let relay = sixrd::RelayInterface::new(sixrd::RelayConfig::new(domain));
                    node.add(AnyInterface::SixRdRelay(relay), switches).unwrap();
                    node.with_interface(NOW, TUNNEL, |interface, cx| {
                        let AnyInterface::SixRdRelay(relay) = interface else { unreachable!() };
                        relay.set_locators(cx, &[names[at].into()]).unwrap();
                        // S6R-33: who gives two domains one block tells their relays.
                        let is_other = |other: &usize| *other != at && kinds[*other] == Kind::SixRd;
                        let others: Vec<_> = (0..kinds.len()).filter(is_other).map(|other| names[other]).collect();
                        relay.set_known_routers(if defence.is_site() { &others } else { &[] }).unwrap();
                    });
                }
                Kind::Configured => {
                    let far =
                        remote(at, kinds).or(stray).map_or("192.0.2.99".into(), |remote| names[remote].to_string());
                    // Both ends are on the one subnet of the tunnel.
                    let subnet = first_end(at, kinds);
                    add_tunnel(&mut node, &name, &far, &format!("{}{}", prefix(subnet), at + 1), switches);
                }
            }
            add_lan(&mut node, &format!("2001:db8:0:8::{}", at + 1), switches);
            let others = |(other, _): &(usize, &Kind)| *other != at && remote(at, kinds) != Some(*other);
            for (other, kind) in kinds.iter().enumerate().filter(others) {
                let gateway = format!("2001:db8:0:8::{}", other + 1);
                route(&mut node, &format!("{}/48", prefix(other)), LAN, &gateway);
                let is_first = kinds.iter().position(|other| *other == Kind::SixToFour) == Some(other);
                if *kind == Kind::SixToFour && kinds[at] != Kind::SixToFour && is_first {
                    route(&mut node, "2002::/16", LAN, &gateway);
                }
            }
            route(&mut node, "::/0", LAN, "2001:db8:0:8::fe");
            node
        };
        let routers = (0..kinds.len()).map(router).collect();
        let gateways = (1..=kinds.len()).map(|number| v6(&format!("2001:db8:0:8::{number}"))).collect();
        Site { kinds: kinds.to_vec(), names, gateways, routers, now: NOW, asked: 0 }
    }

    /// Addresses that the routers, or somebody who knows them, could have:
    /// every router's IPv4 address in every router's form, and some others.
    fn addresses(&self) -> Vec<Ipv6Addr> {
        let mut addresses = vec![v6("2001:db8::1"), v6("2001:db8:0:8::99")];
        let outsider = [Ipv4Addr::new(131, 107, 200, 9)];
        for name in self.names.iter().chain(&outsider) {
            for (at, kind) in self.kinds.iter().enumerate() {
                match kind {
                    Kind::Isatap => addresses.push(isatap6(&prefix(at), &name.to_string())),
                    Kind::SixRd => {
                        let block = Ipv4Prefix::new(self.names[at], 16).unwrap();
                        let domain = Domain::new(format!("{}/48", prefix(at)).parse().unwrap(), block).unwrap();
                        let site = domain.delegated(*name).address().to_bits();
                        addresses.push(Ipv6Addr::from_bits(site | 0x99));
                    }
                    Kind::Configured => addresses.push(v6(&format!("{}99", prefix(at)))),
                    Kind::SixToFour => {}
                }
            }
            let [a, b, c, d] = name.octets();
            addresses.push(v6(&format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1")));
            addresses.push(v6(&format!("2001:0:4136:e378:8000:63bf:{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d)));
        }
        addresses.sort();
        addresses.dedup();
        addresses
    }

    fn handle(&mut self, at: usize, bytes: &[u8]) -> Outcome {
        let (node, now) = (&mut self.routers[at], self.now);
        with(bytes, |packet| {
            if bytes[0] >> 4 == 4 { forward_ipv4(node, now, packet) } else { node.forward_native(now, LAN, packet) }
        })
    }

    fn router_at(&self, address: Ipv4Addr) -> Option<usize> {
        self.names.iter().position(|name| *name == address)
    }

    /// Plays the questions of router `at` until they are answered, or not.
    fn ask(&mut self, at: usize) {
        self.asked += 1;
        for _ in 0..4 {
            for question in transmits(&mut self.routers[at]) {
                let Some(other) = self.router_at(seen(&question).destination) else { continue };
                let (verdict, answer) = self.handle(other, &question);
                assert!(!matches!(verdict, Verdict::Tunnel { .. } | Verdict::Native { .. }), "a question goes on");
                if let Verdict::Answer { via: Via::Tunnel { .. }, .. } = verdict {
                    self.handle(at, &answer);
                }
            }
            let ended = |event| matches!(event, Event::Released { .. } | Event::Abandoned { .. });
            if std::iter::from_fn(|| self.routers[at].poll_event()).any(ended) {
                return;
            }
            self.now = self.now.saturating_add(Duration::from_secs(1));
            self.routers[at].handle_timeout(self.now, &mut |out: &mut [u8]| out.fill(0));
        }
        panic!("router {at} of {:?} never stopped waiting", self.kinds);
    }

    /// Follows one packet; whether some router sends it on twice.
    fn goes_round(&mut self, entry: usize, packet: &[u8]) -> bool {
        let (mut at, mut bytes) = (entry, packet.to_vec());
        let mut sent_on = vec![false; self.routers.len()];
        loop {
            let (mut verdict, mut after) = self.handle(at, &bytes);
            if let Verdict::Hold { .. } = verdict {
                self.ask(at);
                (verdict, after) = self.handle(at, &bytes);
                if let Verdict::Hold { .. } = verdict {
                    // It knows the source now, and asks for the destination.
                    self.ask(at);
                    (verdict, after) = self.handle(at, &bytes);
                }
            }
            // One packet in, at most one packet out. One that only comes back
            // to be refused has not gone round.
            let is_sent_on = matches!(verdict, Verdict::Tunnel { .. } | Verdict::Native { .. });
            if is_sent_on && std::mem::replace(&mut sent_on[at], true) {
                return true;
            }
            let next = match verdict {
                Verdict::Tunnel { outer, .. } => self.router_at(outer.destination),
                Verdict::Native { next_hop, .. } => self.gateways.iter().position(|gateway| *gateway == next_hop),
                Verdict::Hold { .. } => panic!("waits for ever"),
                _ => None,
            };
            let Some(next) = next else { return false };
            (at, bytes) = (next, after);
        }
    }

    fn search(&mut self, found: &mut Found) {
        let addresses = self.addresses();
        let mut from = self.names.clone();
        from.push(Ipv4Addr::new(131, 107, 200, 9));
        for source in &addresses {
            for destination in &addresses {
                let inner = Inner::new(*source, *destination).bytes();
                for entry in 0..self.routers.len() {
                    found.note(self.goes_round(entry, &inner), &self.names, *source, *destination, None);
                    for outside in &from {
                        let packet = Outer::new(*outside, self.names[entry]).around(&inner);
                        found.note(self.goes_round(entry, &packet), &self.names, *source, *destination, Some(*outside));
                    }
                    found.packets += 1 + u64::try_from(from.len()).unwrap();
                }
            }
        }
        self.ended(found);
    }

    /// The same with `count` packets drawn at random.
    fn search_by_chance(&mut self, found: &mut Found, random: &mut Random, count: u32) {
        let addresses = self.addresses();
        let mut from = self.names.clone();
        from.push(Ipv4Addr::new(131, 107, 200, 9));
        for _ in 0..count {
            let (source, destination) = (*random.among(&addresses), *random.among(&addresses));
            let entry = random.below(self.routers.len());
            let inner = Inner::new(source, destination).bytes();
            // One in eight comes natively.
            let outside = (random.below(8) != 0).then(|| *random.among(&from));
            let packet = outside.map_or(inner.clone(), |outside| Outer::new(outside, self.names[entry]).around(&inner));
            found.note(self.goes_round(entry, &packet), &self.names, source, destination, outside);
            found.packets += 1;
        }
        self.ended(found);
    }

    fn ended(&mut self, found: &mut Found) {
        self.routers.iter().for_each(balanced);
        found.sites += 1;
        found.asked += self.asked;
    }
}

/// Steele, Lea and Flood's generator: a fixed sequence a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ bits >> 31) % u64::try_from(limit).unwrap()).unwrap()
    }

    fn among<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }
}

/// The site prefix of the router at this place, a /48 ending in `::`.
fn prefix(at: usize) -> String {
    format!("2001:db8:{}00::", at + 1)
}

/// The other end of the configured tunnel of a router; every second one has
/// its tunnel to the one before. None: it is somewhere else.
fn remote(at: usize, kinds: &[Kind]) -> Option<usize> {
    let tunnels: Vec<usize> = (0..kinds.len()).filter(|at| kinds[*at] == Kind::Configured).collect();
    let place = tunnels.iter().position(|other| *other == at)?;
    tunnels.get(place ^ 1).copied()
}

/// The first of the two ends of a configured tunnel, or the one that there is.
fn first_end(at: usize, kinds: &[Kind]) -> usize {
    remote(at, kinds).map_or(at, |remote| remote.min(at))
}

/// Every mixture of `count` routers. They differ in nothing but their kind.
fn mixtures(kinds: &[Kind], count: usize) -> Vec<Vec<Kind>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        all = all
            .into_iter()
            .flat_map(|site: Vec<Kind>| kinds.iter().map(move |kind| [&site[..], &[*kind]].concat()))
            .collect();
    }
    all.retain(|site| site.is_sorted());
    all
}

fn search(defence: Defence, counts: std::ops::RangeInclusive<usize>) -> Found {
    let mut found = Found::default();
    for kinds in counts.flat_map(|count| mixtures(defence.kinds(), count)) {
        Site::new(&kinds, defence).search(&mut found);
        defence.assert_none(&found, &kinds);
    }
    println!("{defence:?}: {found:?}");
    found
}

#[test]
fn sec_3_sec_5_no_packet_goes_round_between_up_to_four_routers_with_public_addresses() {
    let found = search(Defence::Public, 1..=4);
    assert_eq!(found.loops, 0);
    assert!(found.sites == 4 + 10 + 20 + 35 && found.packets > 500_000, "{found:?}");
}

#[test]
fn sec_1_sec_2_no_packet_goes_round_between_up_to_four_routers_with_private_addresses() {
    let found = search(Defence::Private, 1..=4);
    assert_eq!(found.loops, 0);
    assert!(found.asked > 1000, "{found:?}");
}

/// Every router in the prefix that every router lists: `SEC-2` sees nothing.
#[test]
fn sec_1_no_packet_goes_round_between_up_to_four_routers_of_one_site() {
    let found = search(Defence::Site, 1..=4);
    assert_eq!(found.loops, 0);
    assert!(found.asked > 1000, "{found:?}");
    assert!(search(Defence::UnaskedSite, 1..=4).loops > 300, "the control");
}

/// `SEC-2` ends the loops of ISATAP routers alone, where it lists no router.
#[test]
fn sec_2_no_packet_goes_round_between_up_to_four_routers_that_are_no_members() {
    assert_eq!(search(Defence::Members, 1..=4).loops, 0);
}

/// The control: the search does find loops, and says how many.
#[test]
fn without_the_checks_packets_go_round() {
    for defence in [Defence::Nothing, Defence::Unasked] {
        assert!(search(defence, 1..=4).loops > 300, "{defence:?}");
    }
}

/// `SEC-3` cannot help: only the relay knows that the source is in its domain.
#[test]
fn s6r_33_a_configured_tunnel_to_an_unaware_border_relay_makes_loops_until_the_relay_is_told() {
    let kinds = [Kind::SixRd, Kind::Configured];
    for defence in [Defence::Public, Defence::Private] {
        let loops = |is_told: bool| {
            let mut site = Site::with_stray(&kinds, defence, Some(0));
            let end = site.names[1];
            site.routers[0].with_interface(NOW, TUNNEL, |interface, _| {
                let AnyInterface::SixRdRelay(relay) = interface else { unreachable!() };
                relay.set_known_routers(if is_told { std::slice::from_ref(&end) } else { &[] }).unwrap();
            });
            let mut found = Found::default();
            site.search(&mut found);
            found.loops
        };
        assert!(loops(false) > 0, "{defence:?}: the control finds none");
        assert_eq!(loops(true), 0, "{defence:?}");
    }
}

/// `sites` of `routers` each, of kinds drawn at random, and `packets` in each.
fn by_chance(defence: Defence, sites: u32, routers: std::ops::RangeInclusive<usize>, packets: u32) -> Found {
    let mut found = Found::default();
    let mut random = Random(6324);
    for _ in 0..sites {
        let count = routers.start() + random.below(routers.end() - routers.start() + 1);
        let kinds: Vec<Kind> = (0..count).map(|_| *random.among(defence.kinds())).collect();
        Site::new(&kinds, defence).search_by_chance(&mut found, &mut random, packets);
        defence.assert_none(&found, &kinds);
    }
    println!("{defence:?}, {sites} sites of {routers:?}: {found:?}");
    found
}

const DEFENCES: [Defence; 4] = [Defence::Public, Defence::Private, Defence::Site, Defence::Members];

#[test]
#[ignore = "minutes: .ci/run soak"]
fn sec_1_sec_2_sec_3_sec_5_no_packet_goes_round_between_five_or_six_routers() {
    for defence in DEFENCES {
        assert!(search(defence, 5..=6).packets > 1_000_000);
    }
}

#[test]
#[ignore = "minutes: .ci/run soak"]
fn sec_1_sec_2_sec_3_sec_5_no_packet_goes_round_in_ten_thousand_sites() {
    for defence in DEFENCES {
        assert_eq!(by_chance(defence, 10_000, 5..=8, 200).packets, 2_000_000);
    }
    // The control: with the checks off, some do.
    for defence in [Defence::Nothing, Defence::Unasked] {
        assert!(by_chance(defence, 10_000, 5..=8, 200).loops > 100, "{defence:?}");
    }
}

#[test]
#[ignore = "minutes: .ci/run soak"]
fn sec_1_sec_2_sec_3_sec_5_no_packet_goes_round_between_fifty_routers() {
    for defence in DEFENCES {
        assert_eq!(by_chance(defence, 1, 50..=50, 1_000_000).packets, 1_000_000);
    }
    for defence in [Defence::Nothing, Defence::Unasked] {
        assert!(by_chance(defence, 1, 50..=50, 100_000).loops > 0, "{defence:?}");
    }
}
