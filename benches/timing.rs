//! Wall time of the operations in `lib.rs`, the peers beside us in one run:
//! on a shared machine only ratios within a run mean anything.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use isatap_benches::inputs::{self, HOST, PEER};
use isatap_benches::links::{self, Ends};
use isatap_benches::{ours, peers, teredo};
use isatap_core::engine::Verdict;
use isatap_core::isatap::addr;
use isatap_core::link::{Admitted, Link};
use isatap_core::packet::PacketMut;

fn decapsulation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("decapsulation");
    for length in [64, 1280] {
        let outer = inputs::bytes(inputs::from_peer(length));
        let link = inputs::isatap_link();
        assert!(ours::parse_and_admit(outer, link).is_some());
        group.bench_function(format!("isatap-core, ISATAP/{length}"), |bencher| {
            bencher.iter(|| ours::parse_and_admit(black_box(outer), black_box(link)));
        });
        group.bench_function(format!("etherparse, no source check/{length}"), |bencher| {
            bencher.iter(|| peers::by_etherparse::parse(black_box(outer)));
        });
        group.bench_function(format!("smoltcp, no source check/{length}"), |bencher| {
            bencher.iter(|| peers::by_smoltcp::parse(black_box(outer)));
        });
        let outer = inputs::bytes(inputs::from_remote(length));
        let link = inputs::configured_link();
        assert!(ours::parse_and_admit(outer, link).is_some());
        group.bench_function(format!("isatap-core, configured/{length}"), |bencher| {
            bencher.iter(|| ours::parse_and_admit(black_box(outer), black_box(link)));
        });
    }
    group.finish();
}

fn encapsulation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("encapsulation");
    let template = inputs::template();
    let mut packet = inputs::to_peer(1280);
    let len = packet.as_slice().len();
    group.bench_function("isatap-core, template", |bencher| {
        bencher.iter(|| {
            let done = ours::encapsulate(black_box(&template), &mut packet, black_box(PEER));
            packet.pull_front(20);
            done
        });
    });
    assert_eq!(packet.as_slice().len(), len);
    let mut front = [0; 20];
    group.bench_function("etherparse", |bencher| {
        bencher.iter(|| {
            peers::by_etherparse::encapsulate(black_box(&mut front), black_box(1280), black_box(HOST), black_box(PEER))
        });
    });
    group.bench_function("smoltcp", |bencher| {
        bencher.iter(|| {
            peers::by_smoltcp::encapsulate(black_box(&mut front), black_box(1280), black_box(HOST), black_box(PEER))
        });
    });
    group.finish();
}

/// Each kind of link, both ways.
fn links(criterion: &mut Criterion) {
    one_link(criterion, "ISATAP", &links::isatap(), ours::receive);
    one_link(criterion, "configured", &links::configured(), ours::receive);
    one_link(criterion, "6to4", &links::sixtofour(), ours::receive);
    one_link(criterion, "6rd", &links::sixrd(), ours::receive);
    one_link(criterion, "IPv4-compatible", &links::compatible(), ours::receive_compatible);
}

fn one_link<L: Link>(
    criterion: &mut Criterion,
    name: &str,
    ends: &Ends<L>,
    receive: fn(&L, &mut PacketMut<'_>) -> Option<Admitted>,
) {
    let mut group = criterion.benchmark_group(format!("link, {name}"));
    let mut outbound = ends.outbound(1280);
    let len = outbound.len();
    group.bench_function("resolve, encapsulate", |bencher| {
        bencher.iter(|| {
            let done = ours::send(black_box(ends.link), &mut outbound, black_box(&ends.own.0), black_box(&ends.peer.0));
            assert!(done);
            outbound.pull_front(20);
        });
    });
    assert_eq!(outbound.len(), len);
    let mut inbound = ends.inbound(1280);
    let outer = inbound.as_slice().to_vec();
    group.bench_function("parse, admit, decapsulate", |bencher| {
        bencher.iter(|| {
            let from = receive(black_box(ends.link), &mut inbound);
            assert!(from.is_some());
            // Twenty bytes put back.
            *inbound.push_front::<20>().expect("headroom") = *outer.first_chunk().expect("a header");
        });
    });
    assert_eq!(inbound.as_slice(), outer);
    group.finish();
}

fn neighbor_discovery(criterion: &mut Criterion) {
    let packet = inputs::advertisement_packet();
    let read = Some((1800, 1280, 64));
    assert_eq!(ours::router_advertisement(packet), read);
    assert_eq!(peers::by_etherparse::router_advertisement(packet), read);
    assert_eq!(peers::by_smoltcp::router_advertisement(packet), read);
    let mut group = criterion.benchmark_group("advertisement, 3 options");
    group.bench_function("isatap-core", |bencher| {
        bencher.iter(|| ours::router_advertisement(black_box(packet)));
    });
    group.bench_function("etherparse", |bencher| {
        bencher.iter(|| peers::by_etherparse::router_advertisement(black_box(packet)));
    });
    group.bench_function("smoltcp", |bencher| {
        bencher.iter(|| peers::by_smoltcp::router_advertisement(black_box(packet)));
    });
    group.finish();

    let (source, destination) = (addr::link_local(HOST), addr::link_local(inputs::ROUTER));
    let mut packet = inputs::packet(&[0; 256]);
    let (mut one, mut other) = ([0; 48], [0; 48]);
    ours::router_solicitation(&mut packet, &source, &destination);
    peers::by_etherparse::router_solicitation(&mut one, &source, &destination);
    peers::by_smoltcp::router_solicitation(&mut other, &source, &destination);
    assert_eq!(packet.as_slice(), one);
    assert_eq!(packet.as_slice(), other);
    let mut group = criterion.benchmark_group("solicitation");
    group.bench_function("isatap-core", |bencher| {
        bencher.iter(|| ours::router_solicitation(&mut packet, black_box(&source), black_box(&destination)));
    });
    group.bench_function("etherparse", |bencher| {
        bencher.iter(|| {
            peers::by_etherparse::router_solicitation(black_box(&mut one), black_box(&source), black_box(&destination))
        });
    });
    group.bench_function("smoltcp", |bencher| {
        bencher.iter(|| {
            peers::by_smoltcp::router_solicitation(black_box(&mut one), black_box(&source), black_box(&destination))
        });
    });
    group.finish();
}

fn teredo_packets(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("Teredo");
    for length in [64, 1280] {
        let (view, payload) = teredo::view(length);
        assert!(teredo::parse(payload).is_some());
        group.bench_function(format!("datagram parse/{length}"), |bencher| {
            bencher.iter(|| teredo::parse(black_box(payload)));
        });
        group.bench_function(format!("parse and every check/{length}"), |bencher| {
            bencher.iter(|| teredo::parse_and_admit(black_box(&view), teredo::from_peer_path(), black_box(payload)));
        });
        let (client, mut packet) = teredo::to_send(length);
        group.bench_function(format!("encapsulate to a known peer/{length}"), |bencher| {
            bencher.iter(|| teredo::encapsulate(client, black_box(&mut packet)));
        });
        let (outer, mut packet) = teredo::to_push(length);
        group.bench_function(format!("IPv4 and UDP headers in front/{length}"), |bencher| {
            bencher.iter(|| {
                let done = ours::push(black_box(&outer), black_box(&mut packet));
                packet.pull_front(28);
                done
            });
        });
    }
    let server = teredo::server();
    group.bench_function("server, RS to RA", |bencher| {
        bencher.iter_batched_ref(
            teredo::solicitation,
            |payload| teredo::answer(server, &teredo::TO_SERVER, black_box(payload)),
            criterion::BatchSize::SmallInput,
        );
    });
    group.finish();

    // All peers in turn: each lookup misses the caches as it would on a relay.
    let mut group = criterion.benchmark_group("Teredo peers");
    for count in [100_u32, 10_000, 1_000_000] {
        let table = teredo::peers(count, count);
        let mut number = 0;
        group.bench_function(format!("lookup/{count}"), |bencher| {
            bencher.iter(|| {
                number = (number + 7919) % count;
                table.find(black_box(&teredo::peer(number).1)).is_some()
            });
        });
    }
    group.finish();
}

/// What `instructions` counts of nodes is the good case.
fn verdicts(_: &mut Criterion) {
    let (client, mut payload) = teredo::received(64);
    let received = teredo::receive(client, &teredo::behind(7), &mut payload);
    assert!(matches!(received, Verdict::Deliver { .. }), "{received:?}");
    let (client, mut packet) = teredo::to_send(64);
    let sent = teredo::encapsulate(client, &mut packet);
    assert!(matches!(sent, Verdict::Tunnel { .. }), "{sent:?}");
    let (view, payload) = teredo::view(64);
    let admitted = teredo::parse_and_admit(&view, teredo::from_peer_path(), payload);
    assert_eq!(admitted, Ok(isatap_core::teredo::ingress::ClientCase::Trusted));
    let answered = teredo::answer(teredo::server(), &teredo::TO_SERVER, &mut teredo::solicitation());
    assert!(matches!(answered, Verdict::Answer { .. }), "{answered:?}");
    let (peers, address) = teredo::leaked_peers(1_000_000);
    assert!(peers.find(&address).is_some());
    let sent = ours::node_encapsulate(inputs::host(), &mut inputs::to_peer(64));
    assert!(matches!(sent, Verdict::Tunnel { .. }), "{sent:?}");
    let (outer, mut packet) = inputs::opened(inputs::from_peer(64));
    let received = ours::node_decapsulate(inputs::host(), &outer, &mut packet);
    assert!(matches!(received, Verdict::Deliver { .. }), "{received:?}");
    let received = ours::node_decapsulate_ipv4(inputs::host(), &mut inputs::from_peer(64));
    assert!(matches!(received, Verdict::Deliver { .. }), "{received:?}");
    assert!(ours::node_encapsulate_ipv4(inputs::host(), &mut inputs::to_peer(64)));
    assert!(ours::push(&teredo::to_push(64).0, &mut teredo::to_push(64).1));
    let (outer, mut packet) = inputs::opened(inputs::from_remote(64));
    let forwarded = inputs::forwarder().forward(inputs::NOW, &outer, &mut packet);
    assert!(matches!(forwarded, Verdict::Native { .. }), "{forwarded:?}");
}

fn classification(criterion: &mut Criterion) {
    let addresses = inputs::mixed();
    criterion.bench_function("sort 4 addresses", |bencher| bencher.iter(|| ours::classify(black_box(&addresses))));
}

fn checksums(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("checksum");
    for length in [20, 1280] {
        let bytes = inputs::noise(length);
        let sum = ours::internet_checksum(bytes);
        assert_eq!(peers::by_etherparse::internet_checksum(bytes), sum);
        assert_eq!(peers::by_smoltcp::internet_checksum(bytes), sum);
        group.bench_function(format!("isatap-core/{length}"), |bencher| {
            bencher.iter(|| ours::internet_checksum(black_box(bytes)));
        });
        group.bench_function(format!("etherparse/{length}"), |bencher| {
            bencher.iter(|| peers::by_etherparse::internet_checksum(black_box(bytes)));
        });
        group.bench_function(format!("smoltcp/{length}"), |bencher| {
            bencher.iter(|| peers::by_smoltcp::internet_checksum(black_box(bytes)));
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    verdicts,
    decapsulation,
    encapsulation,
    links,
    neighbor_discovery,
    classification,
    checksums,
    teredo_packets
);
criterion_main!(benches);
