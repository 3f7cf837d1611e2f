//! Floods on a Teredo server and a relay, and what others notice of them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::qualify::Stage;
use isatap_std::lab::{INTERNET_LINK, NATIVE_LINK, NativeHost, NodeId, TeredoClient, TeredoRelay, TeredoServer, World};
use isatap_std::spec;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
const STEP: Duration = Duration::from_millis(10);

/// Numbers without order (a linear congruence, by its upper half).
struct Mixed(u64);

impl Mixed {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 32) as u32
    }

    /// Somewhere in 20.0.0.0 to 83.255.255.255, which all can be hosts.
    fn ipv4(&mut self) -> Ipv4Addr {
        Ipv4Addr::from_bits((20 << 24) + (self.next() & 0x3fff_ffff))
    }
}

fn world(name: &str) -> (World, NodeId) {
    let mut world = World::for_test(name, 7);
    world.keep_journey(false);
    let internet = world.add_lan("internet");
    let server = world.add("server", TeredoServer::new(spec::TeredoServer::new(SERVER).config()));
    world.set_ipv4(server, &[SERVER, Ipv4Addr::new(198, 51, 100, 2)]);
    world.join(server, INTERNET_LINK, internet);
    (world, server)
}

/// A client without a NAT, which starts at once.
fn client(world: &mut World, number: u8) -> NodeId {
    let config = spec::TeredoClient::new(SERVER.to_string().parse().unwrap()).config(40_000);
    let id = world.add(&format!("client-{number}"), TeredoClient::new(config));
    world.set_ipv4(id, &[Ipv4Addr::new(203, 0, 113, number)]);
    id
}

/// A Router Solicitation of a client, from anywhere.
fn solicitation(from: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20 + 8 + 48, 0, 0, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(SERVER.octets());
    let sum: u32 = packet.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
    let sum = !(((sum & 0xffff) + (sum >> 16)) as u16 + u16::from((sum & 0xffff) + (sum >> 16) > 0xffff));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend([&port.to_be_bytes()[..], &3544_u16.to_be_bytes(), &56_u16.to_be_bytes(), &[0, 0]].concat());
    packet.extend([0x60, 0, 0, 0, 0, 8, 58, 255]);
    packet.extend([0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    packet.extend([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0x85, 0, 0x7d, 0x37, 0, 0, 0, 0]);
    packet
}

/// `TER-66`: 30,000 solicitations a second, each from another address. 95 of 100 clients
/// that come meanwhile are answered within the 4 s after which they would ask again; each asks
/// twice to qualify.
#[test]
fn ter_66_clients_qualify_beside_a_flood_from_everywhere() {
    let (mut world, server) = world("teredo-server-flood");
    let mut forged = Mixed(1);
    let mut clients = Vec::new();
    let begin = world.now();
    for step in 1_u32..=300 {
        for _ in 0..300 {
            let packet = solicitation(forged.ipv4(), (forged.next() >> 16) as u16 | 1);
            world.hand_ipv4(server, &packet);
        }
        // Half a second of the flood alone, and one in which 100 come.
        if (50..150).contains(&step) {
            clients.push((client(&mut world, u8::try_from(step).unwrap()), world.now()));
        }
        world.run_until(begin.saturating_add(STEP * step));
    }
    let answered = |world: &World, id: NodeId| world.node::<TeredoClient>(id).unwrap().machine().status().stage;
    let qualified = clients.iter().filter(|(id, _)| answered(&world, *id) == Stage::Qualified).count();
    println!("{qualified} of {} clients qualified at the first attempt beside 30,000 forged a second", clients.len());
    assert!(clients.iter().all(|(_, since)| world.now() < *since + Duration::from_secs(4)));
    assert!(qualified >= 95, "{qualified}");
}

/// `TER-66`: who is named as the source of a flood gets little of it.
#[test]
fn ter_66_a_forged_source_is_sent_eight_advertisements_a_second() {
    let (mut world, server) = world("teredo-server-victim");
    let victim = client(&mut world, 1);
    world.run_for(Duration::from_secs(20));
    let before = world.node::<TeredoServer>(server).unwrap().counters().consumed;
    for millisecond in 0..5000_u16 {
        world.hand_ipv4(server, &solicitation(Ipv4Addr::new(203, 0, 113, 1), 1024 + millisecond));
        world.run_for(Duration::from_millis(1));
    }
    let sent = world.node::<TeredoServer>(server).unwrap().counters().consumed - before;
    assert!(sent <= 12 + 5 * 8 + 1, "{sent}");
    assert!(world.node::<TeredoClient>(victim).is_some());
}

/// `TER-107`: a /64 whose packets to clients that nobody has come 50 times a second, all of
/// one server. Another /64 speaks to real clients of the same server as if nothing were.
#[test]
fn ter_107_a_relay_serves_others_beside_a_64_that_asks_for_nobody() {
    let mut slowest = [Duration::ZERO; 2];
    for flooded in [false, true] {
        let (mut world, _) = world("teredo-relay-flood");
        let internet = world.find_lan("internet").unwrap();
        let router: Ipv6Addr = "2001:db8:0:8::1".parse().unwrap();
        let relay = world.add("relay", TeredoRelay::new(spec::TeredoRelay::new(RELAY).config(32, 3545), router));
        world.set_ipv4(relay, &[RELAY]);
        world.join(relay, INTERNET_LINK, internet);
        let mut host = |name: &str, address: &str| {
            let address: Ipv6Addr = address.parse().unwrap();
            let id = world.add(name, NativeHost::new(address, Ipv6Prefix::subnet_of(&address), Some(router)));
            world.join(id, NATIVE_LINK, internet);
            id
        };
        let (honest, hog) = (host("host", "2001:db8:0:8::80"), host("hog", "2001:db8:0:66::80"));
        let clients: Vec<_> = (1..=40).map(|number| client(&mut world, number)).collect();
        world.run_for(Duration::from_secs(15));
        let mut nobody = Mixed(2);
        let mut pings = Vec::new();
        for step in 0_u32..3000 {
            if flooded && step % 2 == 0 {
                let [server, client] = [SERVER.to_bits(), !nobody.ipv4().to_bits()].map(u128::from);
                let nobody = Ipv6Addr::from_bits(0x2001_0000 << 96 | server << 64 | 0x1234 << 32 | client);
                world.ping(hog, nobody);
            }
            // After 10 s, when the flood has what it can get: four new clients a second.
            if step >= 1000 && step % 25 == 0 && pings.len() < clients.len() {
                let to = world.ipv6(clients[pings.len()])[0];
                pings.push(world.ping(honest, to));
            }
            world.run_for(STEP);
        }
        let took = |world: &World, ping| match world.outcome(ping) {
            isatap_std::lab::PingOutcome::Reply { after, .. } => Some(after),
            _ => None,
        };
        let reached: Vec<_> = pings.iter().filter_map(|ping| took(&world, *ping)).collect();
        let longest = reached.iter().max().copied().unwrap_or(Duration::MAX);
        println!("flooded {flooded}: {} of {} new clients reached, {longest:?} at most", reached.len(), pings.len());
        assert_eq!((pings.len(), reached.len()), (40, 40), "flooded: {flooded}");
        slowest[usize::from(flooded)] = longest;
    }
    assert_eq!(slowest[0], slowest[1]);
}
