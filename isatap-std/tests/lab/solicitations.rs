//! Honest hosts beside a flood of forged Router Solicitations.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use crate::site::{self, ROUTER4, global, secs};
use isatap_core::isatap::addr;
use isatap_core::time::Instant;
use isatap_std::lab::pcap::{self, Pcap, SharedBuffer};
use isatap_std::lab::{World, ip};

const HOSTS: u32 = 60;

struct Outcome {
    /// Of the honest hosts, those that have an address 4 s after they asked, in percent.
    answered: u32,
    /// Advertisements to one forged source at most.
    most_to_one: usize,
    /// Neighbor Solicitations to one forged source at most: SEC-1's.
    most_questions: usize,
    /// Bytes sent by the router for each byte of forged solicitations.
    amplification: f64,
}

/// Hosts start, all at once, in the midst of a flood; `source` forges number n.
fn under_flood(rate: u32, source: impl Fn(u32) -> Ipv4Addr) -> Outcome {
    let mut world = World::for_test("solicitations", u64::from(rate));
    world.keep_journey(false);
    let buffer = SharedBuffer::default();
    world.capture(Pcap::new(Box::new(buffer.clone())).unwrap());
    let router = world.add("router", site::gateway(site::router(), site::on_lan()));
    world.set_ipv4(router, &[ROUTER4]);
    world.run_for(secs(1));
    let mut forged = 0_u32;
    let mut flood_until = |world: &mut World, end: Instant, done: &dyn Fn(&World) -> bool| {
        while world.now() < end && !(forged.is_multiple_of(512) && done(world)) {
            let from = source(forged);
            let own = addr::link_local(from);
            let inner = ip::icmpv6_packet(own, addr::link_local(ROUTER4), 255, 133, &[0; 4]);
            world.hand_ipv4(router, &ip::protocol41_packet(from, ROUTER4, &inner));
            world.run_for(Duration::from_secs(1) / rate);
            forged += 1;
        }
    };
    let end = world.now().saturating_add(Duration::from_millis(200));
    flood_until(&mut world, end, &|_| false);
    let hosts: Vec<_> = (1..=HOSTS)
        .map(|number| {
            let host = site::host(&site::by("10.0.0.1"));
            let address = Ipv4Addr::from_bits(0x0a02_0000 + number);
            let id = world.add(&format!("host {number}"), host);
            world.set_ipv4(id, &[address]);
            (id, global(address))
        })
        .collect();
    let served = |world: &World| hosts.iter().filter(|(id, address)| world.ipv6(*id).contains(address)).count();
    // The first question waits up to a second [RFC 4861 §6.3.7], and is repeated after 4 s.
    let end = world.now().saturating_add(secs(1 + 4));
    flood_until(&mut world, end, &|world| served(world) == hosts.len());
    let answered = 100 * u32::try_from(served(&world)).unwrap() / HOSTS;
    world.finish_capture().unwrap();
    let mut to = BTreeMap::<(u8, Ipv4Addr), usize>::new();
    let mut bytes = 0;
    for (_, packet) in pcap::read(&buffer.bytes()).unwrap() {
        let address = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&packet[at..at + 4]).unwrap());
        if address(12) == ROUTER4 && !(0x0a02_0000..=0x0a02_ffff).contains(&address(16).to_bits()) {
            *to.entry((packet[60], address(16))).or_default() += 1;
            bytes += packet.len();
        }
    }
    let amplification = bytes as f64 / (f64::from(forged) * 68.0);
    assert!(to.keys().all(|(kind, _)| [134, 135].contains(kind)), "advertisements and questions");
    let most = |kind: u8| to.iter().filter(|((of, _), _)| *of == kind).map(|(_, count)| *count).max().unwrap_or(0);
    let outcome = Outcome { answered, most_to_one: most(134), most_questions: most(135), amplification };
    println!(
        "{rate} forged/s: {} % answered, {} and {} to one at most, {:.2} bytes for one",
        outcome.answered, outcome.most_to_one, outcome.most_questions, outcome.amplification
    );
    outcome
}

/// Each from another source. Before, 1,000 answers a second and 128 waiting hosts were all.
#[test]
fn isa_57_honest_hosts_are_answered_beside_floods_of_forged_solicitations() {
    for rate in [600, 5_000, 30_000] {
        let outcome = under_flood(rate, |number| {
            Ipv4Addr::from_bits(0x0b00_0000 + number.wrapping_mul(2_654_435_761) % 0x00ff_ffff)
        });
        assert!(outcome.answered >= 95, "{rate}/s: {} %", outcome.answered);
        assert!(outcome.most_to_one <= 2 && outcome.amplification < 2.5, "{rate}/s");
        assert!(outcome.most_questions <= 3, "{rate}/s: MAX_UNICAST_SOLICIT");
    }
}

/// All from one victim: it gets one answer a second, and honest hosts theirs.
#[test]
fn isa_57_one_victim_of_forged_solicitations_gets_an_answer_a_second() {
    let outcome = under_flood(20_000, |_| Ipv4Addr::new(11, 0, 0, 1));
    assert!(outcome.answered >= 95 && outcome.most_to_one + outcome.most_questions <= 6, "{}", outcome.most_to_one);
    assert!(outcome.amplification < 0.01);
}
