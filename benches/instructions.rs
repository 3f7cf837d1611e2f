//! Instruction counts of the operations in `lib.rs`.
//!
//! What the functions return is dropped outside of the measured part. Cases
//! named `bytes_N` run on packets of that length: `.ci/instructions.py` wants
//! the same count for each, since nothing here may touch a payload.
// The macros of gungraun write public items without documentation.
#![allow(missing_docs)]

use std::hint::black_box;
use std::net::Ipv6Addr;

use gungraun::{library_benchmark, library_benchmark_group, main};
use isatap_benches::inputs::{self, Arrived, HOST, PEER};
use isatap_benches::links::{self, Ends};
use isatap_benches::routes::{self, Random};
use isatap_benches::{decisions, internet, learned, ours, peers, teredo};
use isatap_core::capacity::Standard;
use isatap_core::embedded::Kind;
use isatap_core::engine::Verdict;
use isatap_core::isatap::addr;
use isatap_core::link::Admitted;
use isatap_core::node::{AnyNode, IsatapHost};
use isatap_core::packet::PacketMut;
use isatap_core::proto41::Template;
use isatap_core::select::{Choice, Destination, Source};
use isatap_core::teredo::ingress::{ClientCase, ClientView};
use isatap_core::teredo::server::Server;
use isatap_core::{compatible, configured, isatap, sixrd, sixtofour};
use isatap_std::fib::BoxedFib;

type Packet = PacketMut<'static>;
type Host = &'static mut IsatapHost<Standard>;
type Remembering = &'static mut decisions::Host;
type Read = Option<(u32, u32, u8)>;

// What calling and returning cost: in every count below.
#[library_benchmark]
#[bench::call(inputs::noise(64))]
fn empty(bytes: &'static [u8]) -> &'static [u8] {
    black_box(bytes)
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(inputs::from_peer(64)), inputs::isatap_link())]
#[bench::bytes_1280(inputs::bytes(inputs::from_peer(1280)), inputs::isatap_link())]
fn decap_isatap(outer: &'static [u8], link: &'static isatap::IsatapLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit(black_box(outer), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(inputs::from_router(64)), inputs::isatap_link())]
#[bench::bytes_1280(inputs::bytes(inputs::from_router(1280)), inputs::isatap_link())]
fn decap_isatap_router(outer: &'static [u8], link: &'static isatap::IsatapLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit(black_box(outer), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(inputs::from_remote(64)), inputs::configured_link())]
#[bench::bytes_1280(inputs::bytes(inputs::from_remote(1280)), inputs::configured_link())]
fn decap_configured(outer: &'static [u8], link: &'static configured::ConfiguredLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit(black_box(outer), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(links::sixtofour().inbound(64)), links::sixtofour().link)]
#[bench::bytes_1280(inputs::bytes(links::sixtofour().inbound(1280)), links::sixtofour().link)]
fn decap_sixtofour(outer: &'static [u8], link: &'static sixtofour::SixToFourLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit(black_box(outer), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(links::sixrd().inbound(64)), links::sixrd().link)]
#[bench::bytes_1280(inputs::bytes(links::sixrd().inbound(1280)), links::sixrd().link)]
fn decap_sixrd(outer: &'static [u8], link: &'static sixrd::SixRdLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit(black_box(outer), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::opened(links::compatible().inbound(64)), links::compatible().link)]
#[bench::bytes_1280(inputs::opened(links::compatible().inbound(1280)), links::compatible().link)]
fn decap_compatible(arrived: Arrived, link: &'static compatible::CompatibleLink<Standard>) -> Option<Admitted> {
    ours::parse_and_admit_compatible(black_box(&arrived.0), black_box(arrived.1.as_slice()), black_box(link))
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(inputs::from_peer(64)))]
#[bench::bytes_1280(inputs::bytes(inputs::from_peer(1280)))]
fn decap_etherparse(outer: &'static [u8]) -> bool {
    black_box(peers::by_etherparse::parse(black_box(outer))).is_some()
}

#[library_benchmark]
#[bench::bytes_64(inputs::bytes(inputs::from_peer(64)))]
#[bench::bytes_1280(inputs::bytes(inputs::from_peer(1280)))]
fn decap_smoltcp(outer: &'static [u8]) -> bool {
    black_box(peers::by_smoltcp::parse(black_box(outer))).is_some()
}

#[library_benchmark]
#[bench::bytes_64(inputs::template(), inputs::to_peer(64))]
#[bench::bytes_1280(inputs::template(), inputs::to_peer(1280))]
fn encap_template(template: Template, mut packet: Packet) -> bool {
    ours::encapsulate(black_box(&template), black_box(&mut packet), black_box(PEER))
}

fn front() -> &'static mut [u8; 20] {
    Box::leak(Box::new([0; 20]))
}

#[library_benchmark]
#[bench::any(front())]
fn encap_etherparse(front: &'static mut [u8; 20]) -> bool {
    peers::by_etherparse::encapsulate(black_box(front), black_box(64), black_box(HOST), black_box(PEER))
}

#[library_benchmark]
#[bench::any(front())]
fn encap_smoltcp(front: &'static mut [u8; 20]) -> bool {
    peers::by_smoltcp::encapsulate(black_box(front), black_box(64), black_box(HOST), black_box(PEER))
}

#[library_benchmark]
#[bench::three_options(inputs::advertisement_packet())]
fn advertisement(packet: &'static [u8]) -> Read {
    ours::router_advertisement(black_box(packet))
}

#[library_benchmark]
#[bench::three_options(inputs::advertisement_packet())]
fn advertisement_etherparse(packet: &'static [u8]) -> Read {
    peers::by_etherparse::router_advertisement(black_box(packet))
}

#[library_benchmark]
#[bench::three_options(inputs::advertisement_packet())]
fn advertisement_smoltcp(packet: &'static [u8]) -> Read {
    peers::by_smoltcp::router_advertisement(black_box(packet))
}

fn ends() -> (Ipv6Addr, Ipv6Addr) {
    (addr::link_local(HOST), addr::link_local(inputs::ROUTER))
}

#[library_benchmark]
#[bench::new(inputs::packet(&[0; 256]), ends())]
fn solicitation(mut packet: Packet, ends: (Ipv6Addr, Ipv6Addr)) -> bool {
    let (source, destination) = black_box(&ends);
    ours::router_solicitation(black_box(&mut packet), source, destination)
}

fn space() -> &'static mut [u8; 48] {
    Box::leak(Box::new([0; 48]))
}

#[library_benchmark]
#[bench::new(space(), ends())]
fn solicitation_etherparse(out: &'static mut [u8; 48], ends: (Ipv6Addr, Ipv6Addr)) -> bool {
    let (source, destination) = black_box(&ends);
    peers::by_etherparse::router_solicitation(black_box(out), source, destination)
}

#[library_benchmark]
#[bench::new(space(), ends())]
fn solicitation_smoltcp(out: &'static mut [u8; 48], ends: (Ipv6Addr, Ipv6Addr)) -> bool {
    let (source, destination) = black_box(&ends);
    peers::by_smoltcp::router_solicitation(black_box(out), source, destination)
}

// An ISATAP host's four addresses, and a native destination.
#[library_benchmark]
#[bench::four(inputs::destinations()[2], inputs::sources())]
fn choose_source(to: Destination, sources: [Source; 4]) -> Option<Choice> {
    ours::choose_source(black_box(&to), black_box(&sources))
}

#[library_benchmark]
#[bench::four(inputs::destinations())]
fn sort_destinations(mut destinations: [Destination; 4]) -> [Destination; 4] {
    ours::sort_destinations(black_box(&mut destinations));
    destinations
}

// Four addresses at once: .ci/instructions.py divides.
#[library_benchmark]
#[bench::mixed(inputs::mixed())]
fn classify(addresses: [Ipv6Addr; 4]) -> [Kind; 4] {
    ours::classify(black_box(&addresses))
}

#[library_benchmark]
#[bench::length_20(inputs::noise(20))]
#[bench::length_1280(inputs::noise(1280))]
fn checksum(bytes: &'static [u8]) -> u16 {
    ours::internet_checksum(black_box(bytes))
}

#[library_benchmark]
#[bench::length_20(inputs::noise(20))]
#[bench::length_1280(inputs::noise(1280))]
fn checksum_etherparse(bytes: &'static [u8]) -> u16 {
    peers::by_etherparse::internet_checksum(black_box(bytes))
}

#[library_benchmark]
#[bench::length_20(inputs::noise(20))]
#[bench::length_1280(inputs::noise(1280))]
fn checksum_smoltcp(bytes: &'static [u8]) -> u16 {
    peers::by_smoltcp::internet_checksum(black_box(bytes))
}

#[library_benchmark]
#[bench::bytes_64(inputs::host(), inputs::to_peer(64))]
#[bench::bytes_1280(inputs::host(), inputs::to_peer(1280))]
fn node_encapsulate(host: Host, mut packet: Packet) -> Verdict {
    ours::node_encapsulate(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(inputs::host(), inputs::to_peer(64))]
#[bench::bytes_1280(inputs::host(), inputs::to_peer(1280))]
fn node_encapsulate_ipv4(host: Host, mut packet: Packet) -> bool {
    ours::node_encapsulate_ipv4(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(inputs::host(), inputs::opened(inputs::from_peer(64)))]
#[bench::bytes_1280(inputs::host(), inputs::opened(inputs::from_peer(1280)))]
fn node_decapsulate(host: Host, mut arrived: Arrived) -> Verdict {
    ours::node_decapsulate(black_box(host), black_box(&arrived.0), black_box(&mut arrived.1))
}

#[library_benchmark]
#[bench::bytes_64(inputs::host(), inputs::from_peer(64))]
#[bench::bytes_1280(inputs::host(), inputs::from_peer(1280))]
fn node_decapsulate_ipv4(host: Host, mut packet: Packet) -> Verdict {
    ours::node_decapsulate_ipv4(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(inputs::forwarder(), inputs::opened(inputs::from_remote(64)))]
#[bench::bytes_1280(inputs::forwarder(), inputs::opened(inputs::from_remote(1280)))]
fn node_forward(node: &'static mut AnyNode<Standard, 4>, mut arrived: Arrived) -> Verdict {
    black_box(node).forward(inputs::NOW, black_box(&arrived.0), black_box(&mut arrived.1))
}

#[library_benchmark]
#[bench::bytes_64(decisions::sender(), inputs::to_peer(64))]
#[bench::bytes_1280(decisions::sender(), inputs::to_peer(1280))]
fn known_encapsulate(host: Remembering, mut packet: Packet) -> Verdict {
    ours::node_encapsulate(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(decisions::sender_of_two(), inputs::to_peer(64))]
#[bench::bytes_1280(decisions::sender_of_two(), inputs::to_peer(1280))]
fn known_encapsulate_other(host: Remembering, mut packet: Packet) -> Verdict {
    ours::node_encapsulate(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(decisions::host(), inputs::to_peer(64))]
#[bench::bytes_1280(decisions::host(), inputs::to_peer(1280))]
fn new_encapsulate(host: Remembering, mut packet: Packet) -> Verdict {
    ours::node_encapsulate(black_box(host), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(decisions::receiver(), inputs::opened(inputs::from_peer(64)))]
#[bench::bytes_1280(decisions::receiver(), inputs::opened(inputs::from_peer(1280)))]
fn known_decapsulate(host: Remembering, mut arrived: Arrived) -> Verdict {
    ours::node_decapsulate(black_box(host), black_box(&arrived.0), black_box(&mut arrived.1))
}

#[library_benchmark]
#[bench::bytes_64(decisions::host(), inputs::opened(inputs::from_peer(64)))]
#[bench::bytes_1280(decisions::host(), inputs::opened(inputs::from_peer(1280)))]
fn new_decapsulate(host: Remembering, mut arrived: Arrived) -> Verdict {
    ours::node_decapsulate(black_box(host), black_box(&arrived.0), black_box(&mut arrived.1))
}

#[library_benchmark]
#[bench::bytes_64(decisions::relay(), inputs::opened(inputs::from_remote(64)))]
#[bench::bytes_1280(decisions::relay(), inputs::opened(inputs::from_remote(1280)))]
fn known_forward(node: &'static mut decisions::Router, mut arrived: Arrived) -> Verdict {
    black_box(node).forward(inputs::NOW, black_box(&arrived.0), black_box(&mut arrived.1))
}

#[library_benchmark]
#[bench::bytes_64(decisions::forwarder(), inputs::opened(inputs::from_remote(64)))]
#[bench::bytes_1280(decisions::forwarder(), inputs::opened(inputs::from_remote(1280)))]
fn new_forward(node: &'static mut decisions::Router, mut arrived: Arrived) -> Verdict {
    black_box(node).forward(inputs::NOW, black_box(&arrived.0), black_box(&mut arrived.1))
}

type Flood = (&'static mut decisions::Router, Vec<Arrived>);

// 1,024 packets at once: .ci/instructions.py divides.
#[library_benchmark]
#[bench::new_flows(decisions::flooded())]
fn flood(mut input: Flood) -> Flood {
    decisions::forward_all(black_box(input.0), black_box(&mut input.1));
    input
}

#[library_benchmark]
#[bench::bytes_64(links::isatap(), links::isatap().outbound(64))]
#[bench::bytes_1280(links::isatap(), links::isatap().outbound(1280))]
fn send_isatap(ends: Ends<isatap::IsatapLink<Standard>>, mut packet: Packet) -> bool {
    ours::send(black_box(ends.link), black_box(&mut packet), black_box(&ends.own.0), black_box(&ends.peer.0))
}

#[library_benchmark]
#[bench::bytes_64(links::isatap(), links::isatap().inbound(64))]
#[bench::bytes_1280(links::isatap(), links::isatap().inbound(1280))]
fn receive_isatap(ends: Ends<isatap::IsatapLink<Standard>>, mut packet: Packet) -> Option<Admitted> {
    ours::receive(black_box(ends.link), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(links::configured(), links::configured().outbound(64))]
#[bench::bytes_1280(links::configured(), links::configured().outbound(1280))]
fn send_configured(ends: Ends<configured::ConfiguredLink<Standard>>, mut packet: Packet) -> bool {
    ours::send(black_box(ends.link), black_box(&mut packet), black_box(&ends.own.0), black_box(&ends.peer.0))
}

#[library_benchmark]
#[bench::bytes_64(links::configured(), links::configured().inbound(64))]
#[bench::bytes_1280(links::configured(), links::configured().inbound(1280))]
fn receive_configured(ends: Ends<configured::ConfiguredLink<Standard>>, mut packet: Packet) -> Option<Admitted> {
    ours::receive(black_box(ends.link), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(links::sixtofour(), links::sixtofour().outbound(64))]
#[bench::bytes_1280(links::sixtofour(), links::sixtofour().outbound(1280))]
fn send_sixtofour(ends: Ends<sixtofour::SixToFourLink<Standard>>, mut packet: Packet) -> bool {
    ours::send(black_box(ends.link), black_box(&mut packet), black_box(&ends.own.0), black_box(&ends.peer.0))
}

#[library_benchmark]
#[bench::bytes_64(links::sixtofour(), links::sixtofour().inbound(64))]
#[bench::bytes_1280(links::sixtofour(), links::sixtofour().inbound(1280))]
fn receive_sixtofour(ends: Ends<sixtofour::SixToFourLink<Standard>>, mut packet: Packet) -> Option<Admitted> {
    ours::receive(black_box(ends.link), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(links::sixrd(), links::sixrd().outbound(64))]
#[bench::bytes_1280(links::sixrd(), links::sixrd().outbound(1280))]
fn send_sixrd(ends: Ends<sixrd::SixRdLink<Standard>>, mut packet: Packet) -> bool {
    ours::send(black_box(ends.link), black_box(&mut packet), black_box(&ends.own.0), black_box(&ends.peer.0))
}

#[library_benchmark]
#[bench::bytes_64(links::sixrd(), links::sixrd().inbound(64))]
#[bench::bytes_1280(links::sixrd(), links::sixrd().inbound(1280))]
fn receive_sixrd(ends: Ends<sixrd::SixRdLink<Standard>>, mut packet: Packet) -> Option<Admitted> {
    ours::receive(black_box(ends.link), black_box(&mut packet))
}

#[library_benchmark]
#[bench::bytes_64(links::compatible(), links::compatible().outbound(64))]
#[bench::bytes_1280(links::compatible(), links::compatible().outbound(1280))]
fn send_compatible(ends: Ends<compatible::CompatibleLink<Standard>>, mut packet: Packet) -> bool {
    ours::send(black_box(ends.link), black_box(&mut packet), black_box(&ends.own.0), black_box(&ends.peer.0))
}

#[library_benchmark]
#[bench::bytes_64(links::compatible(), links::compatible().inbound(64))]
#[bench::bytes_1280(links::compatible(), links::compatible().inbound(1280))]
fn receive_compatible(ends: Ends<compatible::CompatibleLink<Standard>>, mut packet: Packet) -> Option<Admitted> {
    ours::receive_compatible(black_box(ends.link), black_box(&mut packet))
}

/// Looked up at once: .ci/instructions.py divides.
const LOOKUPS: usize = 64;

fn table<const ROUTES: usize>() -> &'static Random<ROUTES> {
    Box::leak(Box::new(routes::random(LOOKUPS)))
}

#[library_benchmark]
#[bench::random(table())]
fn lookup_1(random: &'static Random<1>) -> u32 {
    ours::lookups(black_box(&random.table), &random.destinations)
}

#[library_benchmark]
#[bench::random(table())]
fn lookup_8(random: &'static Random<8>) -> u32 {
    ours::lookups(black_box(&random.table), &random.destinations)
}

#[library_benchmark]
#[bench::random(table())]
fn lookup_64(random: &'static Random<64>) -> u32 {
    ours::lookups(black_box(&random.table), &random.destinations)
}

#[library_benchmark]
#[bench::random(table())]
fn lookup_512(random: &'static Random<512>) -> u32 {
    ours::lookups(black_box(&random.table), &random.destinations)
}

type Full = (BoxedFib, Vec<Ipv6Addr>);

/// A full table as the Internet's, and destinations in it.
fn full(count: usize) -> &'static Full {
    let mut routes = internet::routes(count);
    let destinations = internet::destinations(&routes, LOOKUPS);
    Box::leak(Box::new((isatap_std::fib::build(&mut routes).expect("not too many"), destinations)))
}

#[library_benchmark]
#[bench::routes_8(full(8))]
#[bench::routes_512(full(512))]
#[bench::routes_200000(full(200_000))]
fn fib(full: &'static Full) -> u32 {
    ours::full_lookups(black_box(&full.0), &full.1)
}

#[library_benchmark]
#[bench::routes_8(full(8))]
#[bench::routes_200000(full(200_000))]
fn fib_batch(full: &'static Full) -> [Option<u16>; LOOKUPS] {
    let mut values = [None; LOOKUPS];
    full.0.lookup_batch(black_box(&full.1), &mut values);
    values
}

#[library_benchmark]
#[bench::bytes_64(teredo::view(64).1)]
#[bench::bytes_1280(teredo::view(1280).1)]
fn teredo_datagram(payload: &'static [u8]) -> bool {
    black_box(teredo::parse(black_box(payload))).is_some()
}

#[library_benchmark]
#[bench::bytes_64(teredo::view(64))]
#[bench::bytes_1280(teredo::view(1280))]
fn teredo_admit(input: (ClientView<'static>, &'static [u8])) -> Option<ClientCase> {
    teredo::parse_and_admit(black_box(&input.0), black_box(teredo::from_peer_path()), black_box(input.1)).ok()
}

type Learning = (Host, Arrived);

// OPTIONS routes at once: .ci/instructions.py divides.
#[library_benchmark]
#[bench::changing(learned::changing())]
#[bench::refused(learned::refused())]
fn learn(mut input: Learning) -> Verdict {
    learned::receive(black_box(input.0), black_box(&mut input.1))
}

type TeredoPacket = (&'static mut teredo::AnyClient, Packet);

#[library_benchmark]
#[bench::bytes_64(teredo::received(64))]
#[bench::bytes_1280(teredo::received(1280))]
fn teredo_receive(mut input: TeredoPacket) -> Verdict {
    teredo::receive(black_box(input.0), &black_box(teredo::behind(7)), black_box(&mut input.1))
}

#[library_benchmark]
#[bench::bytes_64(teredo::to_send(64))]
#[bench::bytes_1280(teredo::to_send(1280))]
fn teredo_encapsulate(mut input: TeredoPacket) -> Verdict {
    teredo::encapsulate(black_box(input.0), black_box(&mut input.1))
}

#[library_benchmark]
#[bench::bytes_64(teredo::received_first(64))]
#[bench::bytes_1280(teredo::received_first(1280))]
fn teredo_receive_first(mut input: TeredoPacket) -> Verdict {
    teredo::receive(black_box(input.0), &black_box(teredo::behind(1000)), black_box(&mut input.1))
}

#[library_benchmark]
#[bench::bytes_64(teredo::to_send_first(64))]
#[bench::bytes_1280(teredo::to_send_first(1280))]
fn teredo_encapsulate_first(mut input: TeredoPacket) -> Verdict {
    teredo::encapsulate(black_box(input.0), black_box(&mut input.1))
}

type RelayedPacket = (&'static mut teredo::AnyRelay, Packet);

#[library_benchmark]
#[bench::bytes_64(teredo::relayed_in(64))]
#[bench::bytes_1280(teredo::relayed_in(1280))]
fn teredo_relay_in(mut input: RelayedPacket) -> Verdict {
    teredo::relay_in(black_box(input.0), &black_box(teredo::to_relay(7)), black_box(&mut input.1))
}

#[library_benchmark]
#[bench::bytes_64(teredo::relayed_out(64))]
#[bench::bytes_1280(teredo::relayed_out(1280))]
fn teredo_relay_out(mut input: RelayedPacket) -> Verdict {
    teredo::relay_out(black_box(input.0), black_box(&mut input.1))
}

// The UDP checksum goes over the packet, so the length counts here.
#[library_benchmark]
#[bench::length_64(teredo::to_push(64))]
#[bench::length_1280(teredo::to_push(1280))]
fn push_udp(mut input: Arrived) -> bool {
    ours::push(black_box(&input.0), black_box(&mut input.1))
}

#[library_benchmark]
#[bench::peers_100(teredo::leaked_peers(100))]
#[bench::peers_10000(teredo::leaked_peers(10_000))]
#[bench::peers_1000000(teredo::leaked_peers(1_000_000))]
fn teredo_lookup(input: (&'static teredo::Peers, Ipv6Addr)) -> bool {
    black_box(black_box(input.0).find(black_box(&input.1))).is_some()
}

#[library_benchmark]
#[bench::one(teredo::server(), teredo::solicitation())]
fn teredo_server(server: &'static mut Server, mut payload: Packet) -> Verdict {
    teredo::answer(black_box(server), &black_box(teredo::TO_SERVER), black_box(&mut payload))
}

#[library_benchmark]
#[bench::bubble(teredo::carried())]
fn teredo_server_carry(mut input: (&'static mut Server, Packet)) -> Verdict {
    teredo::answer(black_box(input.0), &black_box(teredo::peer_to_server(7)), black_box(&mut input.1))
}

library_benchmark_group!(
    name = operations,
    benchmarks = [
        empty,
        decap_isatap,
        decap_isatap_router,
        decap_configured,
        decap_sixtofour,
        decap_sixrd,
        decap_compatible,
        decap_etherparse,
        decap_smoltcp,
        encap_template,
        encap_etherparse,
        encap_smoltcp,
        advertisement,
        advertisement_etherparse,
        advertisement_smoltcp,
        solicitation,
        solicitation_etherparse,
        solicitation_smoltcp,
        classify,
        choose_source,
        sort_destinations,
        checksum,
        checksum_etherparse,
        checksum_smoltcp,
        node_encapsulate,
        node_encapsulate_ipv4,
        node_decapsulate,
        node_decapsulate_ipv4,
        node_forward,
        known_encapsulate,
        known_encapsulate_other,
        new_encapsulate,
        known_decapsulate,
        new_decapsulate,
        known_forward,
        new_forward,
        flood,
        send_isatap,
        receive_isatap,
        send_configured,
        receive_configured,
        send_sixtofour,
        receive_sixtofour,
        send_sixrd,
        receive_sixrd,
        send_compatible,
        receive_compatible,
        lookup_1,
        lookup_8,
        lookup_64,
        lookup_512,
        fib,
        fib_batch,
        learn,
        teredo_datagram,
        teredo_admit,
        teredo_receive,
        teredo_encapsulate,
        teredo_receive_first,
        teredo_encapsulate_first,
        teredo_relay_in,
        teredo_relay_out,
        push_udp,
        teredo_lookup,
        teredo_server,
        teredo_server_carry,
    ]
);
main!(library_benchmark_groups = operations);
