//! The world itself, with nodes so simple that whatever goes wrong is the
//! world's: faults, paths, clocks, contract checks, determinism.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use isatap_std::lab::pcap::{self, Pcap, SharedBuffer};
use isatap_std::lab::{
    Action, CLOUD_ADDRESS, Chance, Conditions, DnsAnswer, Filter, LabNode, Outbox, Ping, PingOutcome, Rng, World, ip,
};

/// Sends every IPv6 packet to a fixed IPv4 peer, and delivers whatever comes.
/// With a tick it also sends a packet of its own now and then.
#[derive(Default)]
struct Tunnel {
    own: Option<Ipv4Addr>,
    peer: Option<Ipv4Addr>,
    dont_fragment: bool,
    tick: Option<Duration>,
    deadline: Option<Instant>,
    received: Vec<(Instant, Vec<u8>)>,
    icmp: Vec<Vec<u8>>,
    ticks: Vec<Instant>,
    answers: Vec<DnsAnswer>,
    stuck: bool,
    broken: bool,
}

impl Tunnel {
    fn to(peer: Ipv4Addr) -> Self {
        Tunnel { peer: Some(peer), ..Tunnel::default() }
    }

    fn ticking(peer: Ipv4Addr, tick: Duration) -> Self {
        Tunnel { tick: Some(tick), deadline: Some(Instant::ZERO), ..Tunnel::to(peer) }
    }

    fn address(ipv4: Ipv4Addr) -> Ipv6Addr {
        isatap_core::isatap::addr::link_local(ipv4)
    }

    fn send(&self, packet: &[u8], out: &mut Outbox) {
        let (Some(own), Some(peer)) = (self.own, self.peer) else { return };
        let bytes = ip::protocol41_packet(own, peer, packet);
        let header = ip::Ipv4::parse(&bytes).unwrap();
        out.ipv4(&ip::Ipv4 { dont_fragment: self.dont_fragment, identification: 7, ..header }.emit());
    }
}

impl LabNode for Tunnel {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        let header = ip::Ipv4::parse(packet).unwrap();
        if header.protocol == ip::PROTOCOL_ICMP {
            self.icmp.push(header.payload.to_vec());
            return;
        }
        self.received.push((now, packet.to_vec()));
        out.decapsulated(packet, None);
        out.deliver(LinkId(0), header.payload);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, _packet: &[u8], _out: &mut Outbox) {}

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.send(packet, out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        if self.stuck || self.deadline.is_none_or(|deadline| now < deadline) {
            return;
        }
        self.ticks.push(now);
        self.deadline = self.tick.map(|tick| now.saturating_add(tick));
        if let Some(own) = self.own {
            let id = entropy.next_u64().to_be_bytes();
            let id = u16::from_be_bytes([id[0], id[1]]);
            self.send(&ip::echo_request(Tunnel::address(own), "fe80::1".parse().unwrap(), 64, id, 1, 60), out);
        }
        out.resolve(LinkId(0), "isatap.example.com");
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.deadline
    }

    fn set_ipv4(&mut self, _now: Instant, addresses: &[Ipv4Addr], _out: &mut Outbox) {
        self.own = addresses.first().copied();
    }

    fn resolved(&mut self, _now: Instant, _link: LinkId, answer: &DnsAnswer, _out: &mut Outbox) {
        self.answers.push(answer.clone());
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.own.map(Tunnel::address)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.own.map(Tunnel::address).into_iter().collect()
    }

    fn check(&self) -> Result<(), String> {
        if self.broken { Err("one packet is missing".into()) } else { Ok(()) }
    }
}

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

/// Two ends of a tunnel.
fn pair(name: &str, seed: u64) -> (World, isatap_std::lab::NodeId, isatap_std::lab::NodeId) {
    let mut world = World::for_test(name, seed);
    let a = world.add("A", Tunnel::to(B));
    let b = world.add("B", Tunnel::to(A));
    world.set_ipv4(a, &[A]);
    world.set_ipv4(b, &[B]);
    (world, a, b)
}

#[test]
fn a_ping_goes_there_and_back_with_both_headers_in_the_journey() {
    let (mut world, a, _) = pair("ping", 1);
    let ping = world.ping(a, Tunnel::address(B));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.outcome(ping), PingOutcome::Reply { after: Duration::from_millis(10), hop_limit: 64 });
    let journey: Vec<_> = world.journey().iter().map(|hop| (hop.node.as_str(), hop.action, hop.seconds())).collect();
    assert_eq!(
        journey,
        [
            ("A", Action::Encapsulate, "0.000s".to_string()),
            ("B", Action::Decapsulate, "0.005s".into()),
            ("B", Action::Deliver, "0.005s".into()),
            ("B", Action::Encapsulate, "0.005s".into()),
            ("A", Action::Decapsulate, "0.010s".into()),
            ("A", Action::Deliver, "0.010s".into()),
        ]
    );
    assert_eq!((&world.journey()[0].to, &world.journey()[3].to), (&vec!["B".to_owned()], &vec!["A".to_owned()]));
    let hop = &world.journey()[1];
    assert_eq!(hop.outer.unwrap().ttl, 63);
    assert_eq!(hop.inner.as_ref().unwrap().packet, "ICMPv6 echo request, id 1, seq 1");
    assert_eq!((world.delivered(), world.dropped()), (2, 0));
    let text = world.journey()[0].to_string();
    assert!(text.contains("\n                    IPv4  10.0.0.1 -> 10.0.0.2   ttl 64\n"), "{text}");
    assert!(text.contains("IPv6  fe80::5efe:10.0.0.1 -> fe80::5efe:10.0.0.2   hop limit 64"), "{text}");
}

/// What happens follows from the seed.
#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let run = |seed: u64, third: bool| {
        let (mut world, a, _) = pair("seeds", seed);
        world.cloud.conditions = Conditions {
            loss: Chance::percent(20),
            duplication: Chance::percent(10),
            reordering: Chance::percent(10),
            jitter: Duration::from_millis(3),
            ..Conditions::GOOD
        };
        let buffer = SharedBuffer::default();
        world.capture(Pcap::new(Box::new(buffer.clone())).unwrap());
        let c = world.add("ticker", Tunnel::ticking(B, Duration::from_secs(3)));
        world.set_ipv4(c, &[Ipv4Addr::new(10, 0, 0, 3)]);
        if third {
            let d = world.add("another", Tunnel::ticking(Ipv4Addr::new(10, 9, 9, 9), Duration::from_secs(1)));
            world.set_ipv4(d, &[Ipv4Addr::new(10, 0, 0, 4)]);
        }
        let pings: Vec<_> = (0..100)
            .map(|_| {
                world.run_for(Duration::from_millis(700));
                world.ping(a, Tunnel::address(B))
            })
            .collect();
        world.run_for(Duration::from_secs(5));
        let outcomes: Vec<_> = pings.iter().map(|ping| world.outcome(*ping)).collect();
        world.finish_capture().unwrap();
        (buffer.bytes(), outcomes)
    };
    let first = run(1, false);
    assert_eq!(first, run(1, false));
    let other = run(2, false);
    assert_ne!(first.0, other.0);
    assert_ne!(first.1, other.1);
    // A node more changes nothing for the others.
    assert_eq!(first.1, run(1, true).1);
    let replies = first.1.iter().filter(|outcome| outcome.is_reply()).count();
    assert!((40..90).contains(&replies), "{replies} of 100, about 64 are expected");
}

#[test]
fn loss_duplication_and_reordering_happen_as_often_as_asked() {
    let count = |conditions: Conditions| {
        let (mut world, a, b) = pair("faults", 9);
        world.keep_journey(false);
        world.set_answers_echo(b, false);
        world.cloud.conditions = conditions;
        for n in 0..2000_u16 {
            world.send_ipv6(a, None, &ip::echo_request(Tunnel::address(A), Tunnel::address(B), 64, 5, n, 48));
            world.run_for(Duration::from_millis(4));
        }
        world.run_for(Duration::from_secs(1));
        let received = &world.node::<Tunnel>(b).unwrap().received;
        let order: Vec<u16> = received.iter().map(|(_, packet)| u16::from_be_bytes([packet[66], packet[67]])).collect();
        let late = order.windows(2).filter(|pair| pair[1] < pair[0]).count();
        (order.len(), late, world.dropped())
    };
    let good = Conditions::GOOD;
    assert_eq!(count(good), (2000, 0, 0));
    let (received, late, dropped) = count(Conditions { loss: Chance::percent(30), ..good });
    assert!((1300..1500).contains(&received) && late == 0, "{received}");
    assert_eq!(dropped, 2000 - u64::try_from(received).unwrap());
    let (received, _, _) = count(Conditions { duplication: Chance::percent(10), ..good });
    assert!((2140..2260).contains(&received), "{received}");
    let (received, late, _) = count(Conditions { reordering: Chance::percent(10), ..good });
    assert!(received == 2000 && (130..260).contains(&late), "{late}");
    let (received, late, _) = count(Conditions { jitter: Duration::from_millis(12), ..good });
    assert!(received == 2000 && late > 200, "{late}");
    assert_eq!(count(Conditions { loss: Chance::percent(100), ..good }), (0, 0, 2000));
}

#[test]
fn a_small_path_cuts_packets_or_says_so() {
    let (mut world, a, b) = pair("mtu", 1);
    world.cloud.set_path(a, b, Conditions { mtu: 600, ..Conditions::GOOD });
    let ping = world.ping_with(a, Ping::to(Tunnel::address(B)).size(1280));
    world.run_for(Duration::from_secs(1));
    assert!(world.outcome(ping).is_reply(), "parts are put together");
    assert_eq!(world.node::<Tunnel>(b).unwrap().received[0].1.len(), 1300);

    world.with_node(a, |node: &mut Tunnel, _, _| node.dont_fragment = true);
    world.ping_with(a, Ping::to(Tunnel::address(B)).size(1280));
    world.run_for(Duration::from_secs(1));
    let errors = &world.node::<Tunnel>(a).unwrap().icmp;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0][..2], [3, 4]);
    assert_eq!(errors[0][6..8], 600_u16.to_be_bytes());
    let quoted = &errors[0][8..];
    assert_eq!(quoted[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
    let sent_by_cloud = world.journey().iter().any(|hop| {
        hop.node == "cloud" && hop.reason.as_deref() == Some("fragmentation-needed") && hop.action == Action::Drop
    });
    assert!(sent_by_cloud);
    assert_ne!(CLOUD_ADDRESS, A);

    world.cloud.set_path(a, b, Conditions { mtu: 600, black_hole: true, ..Conditions::GOOD });
    world.ping_with(a, Ping::to(Tunnel::address(B)).size(1280));
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.node::<Tunnel>(a).unwrap().icmp.len(), 1, "a black hole is silent");

    // A lost part loses the packet.
    world.with_node(a, |node: &mut Tunnel, _, _| node.dont_fragment = false);
    world.cloud.set_path(a, b, Conditions { mtu: 100, loss: Chance::percent(20), ..Conditions::GOOD });
    let before = world.node::<Tunnel>(b).unwrap().received.len();
    for _ in 0..20 {
        world.ping_with(a, Ping::to(Tunnel::address(B)).size(1280));
        world.run_for(Duration::from_secs(40));
    }
    let after = world.node::<Tunnel>(b).unwrap().received.len();
    assert!(after - before <= 6, "17 parts survive 20 % of loss once in 40 times, not {}", after - before);
}

#[test]
fn filters_drop_what_they_name_and_nothing_else() {
    let (mut world, a, b) = pair("filters", 1);
    let replies = |world: &mut World, from, to, size| {
        let ping = world.ping_with(from, Ping::to(Tunnel::address(to)).size(size));
        world.run_for(Duration::from_secs(1));
        world.outcome(ping).is_reply()
    };
    world.cloud.add_filter(Filter { longer_than: Some(500), ..Filter::default() });
    assert!(replies(&mut world, a, B, 480));
    assert!(!replies(&mut world, a, B, 481));
    world.cloud.clear_filters();
    world.cloud.add_filter(Filter { from: Some(b), protocol: Some(41), ..Filter::default() });
    assert!(!replies(&mut world, a, B, 56));
    assert_eq!(world.node::<Tunnel>(b).unwrap().received.len(), 2, "the way there is open");
    world.cloud.clear_filters();
    world.cloud.add_filter(Filter { to: Some(a), protocol: Some(17), ..Filter::default() });
    assert!(replies(&mut world, a, B, 56));
}

#[test]
fn addresses_move_and_cables_are_pulled() {
    let (mut world, a, b) = pair("move", 1);
    let ping = world.ping(a, Tunnel::address(B));
    world.set_ipv4(b, &[Ipv4Addr::new(10, 0, 0, 99)]);
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.outcome(ping), PingOutcome::Waiting, "the address left while the packet was on its way");
    assert_eq!(world.journey().last().unwrap().reason.as_deref(), Some("no-such-address"));
    world.set_ipv4(b, &[B]);
    for unplug in [a, b] {
        world.set_plugged(unplug, false);
        let ping = world.ping(a, Tunnel::address(B));
        world.run_for(Duration::from_secs(1));
        assert_eq!(world.outcome(ping), PingOutcome::Waiting);
        world.set_plugged(unplug, true);
    }
    let ping = world.ping(a, Tunnel::address(B));
    world.run_for(Duration::from_secs(1));
    assert!(world.outcome(ping).is_reply());
    world.replace(b, Tunnel::to(A));
    assert!(world.node::<Tunnel>(b).unwrap().received.is_empty(), "a rebooted node has forgotten all");
    let ping = world.ping(a, Tunnel::address(B));
    world.run_for(Duration::from_secs(1));
    assert!(world.outcome(ping).is_reply());
}

#[test]
fn a_node_lives_by_its_own_clock() {
    let mut world = World::for_test("clock", 1);
    let minute = Duration::from_secs(60);
    let node = world.add("A", Tunnel::ticking(B, minute));
    let ten_years = Instant::from_secs(10 * 365 * 86_400);
    world.set_clock(node, ten_years);
    world.run_for(Duration::from_secs(150));
    let ticks = |world: &World| world.node::<Tunnel>(node).unwrap().ticks.clone();
    let at = |secs: u64| ten_years.saturating_add(Duration::from_secs(secs));
    assert_eq!(ticks(&world), [at(0), at(60), at(120)]);
    // An hour back: the deadline is an hour further away.
    world.set_clock(node, Instant::from_secs(10 * 365 * 86_400 + 150 - 3600));
    world.run_for(Duration::from_secs(3600));
    assert_eq!(ticks(&world).len(), 3);
    world.run_for(Duration::from_secs(60));
    assert_eq!(ticks(&world)[3..], [at(180)]);
    // Ten years on: due at once, and only once.
    let before = world.now();
    world.set_clock(node, at(315_360_000));
    world.step();
    assert_eq!((world.now(), ticks(&world).len()), (before, 5));
    // Suspended for an hour, it ticks once when it comes back.
    world.set_suspended(node, true);
    world.run_for(Duration::from_secs(3600));
    assert_eq!(ticks(&world).len(), 5);
    world.set_suspended(node, false);
    world.run_for(Duration::from_secs(1));
    assert_eq!(ticks(&world).len(), 6);
}

#[test]
fn names_are_answered_late_or_not_at_all() {
    let mut world = World::for_test("names", 1);
    let node = world.add("A", Tunnel::ticking(B, Duration::from_secs(100)));
    let ttl = Duration::from_secs(30);
    world.run_for(Duration::from_secs(50));
    world.names.set_addresses("ISATAP.example.com", &[A], ttl);
    world.run_for(Duration::from_millis(50_010));
    assert_eq!(world.node::<Tunnel>(node).unwrap().answers.len(), 1, "an answer takes 20 ms");
    world.run_for(Duration::from_secs(50));
    world.names.set("isatap.example.com", DnsAnswer::ServerFailure);
    world.run_for(Duration::from_secs(100));
    world.names.set("isatap.example.com", DnsAnswer::NoReply);
    world.run_for(Duration::from_secs(52));
    assert_eq!(
        world.node::<Tunnel>(node).unwrap().answers,
        [DnsAnswer::NotFound, DnsAnswer::Addresses { addresses: vec![A], ttl }, DnsAnswer::ServerFailure]
    );
    world.run_for(Duration::from_secs(10));
    assert_eq!(world.node::<Tunnel>(node).unwrap().answers[3..], [DnsAnswer::NoReply]);
}

#[test]
#[should_panic(expected = "survived being due")]
fn a_deadline_that_survives_being_due_stops_the_world() {
    let mut world = World::for_test("survivor", 1);
    world.add("A", Tunnel { stuck: true, ..Tunnel::ticking(B, Duration::from_secs(1)) });
    world.run_for(Duration::from_secs(1));
}

#[test]
#[should_panic(expected = "seed 1, 0.000000s, A: one packet is missing")]
fn a_node_whose_check_fails_stops_the_world() {
    let mut world = World::for_test("broken", 1);
    let a = world.add("A", Tunnel { broken: true, ..Tunnel::to(B) });
    world.set_ipv4(a, &[A]);
}

#[test]
fn a_capture_shows_packets_as_they_enter_the_cloud() {
    let (mut world, a, _) = pair("capture", 1);
    let buffer = SharedBuffer::default();
    world.capture(Pcap::new(Box::new(buffer.clone())).unwrap());
    world.run_for(Duration::from_micros(1_234_567));
    world.ping(a, Tunnel::address(B));
    world.run_for(Duration::from_secs(1));
    world.inject_ipv4(&ip::protocol41_packet(A, Ipv4Addr::new(192, 0, 2, 1), &[]));
    world.finish_capture().unwrap();
    let packets = pcap::read(&buffer.bytes()).unwrap();
    let times: Vec<u64> = packets.iter().map(|(time, _)| time.micros()).collect();
    assert_eq!(times, [1_234_567, 1_239_567, 2_234_567]);
    assert_eq!(packets[0].1[8], 64, "no router has touched it yet");
}
