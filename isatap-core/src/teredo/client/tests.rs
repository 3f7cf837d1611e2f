#![allow(clippy::arithmetic_side_effects)]
use super::machine::{default_route, learned};
use super::*;
use crate::engine::{Admitted, Carried, Change, Entropy, Event, Machine, Verdict};
use crate::packet::{HEADROOM, PacketMut};
use crate::proto41::Outer;
use crate::teredo::addr::{Address, CLIENT_LINK_LOCAL, Flags, SERVER_PORT};
use crate::teredo::carried::told::{self, Told};
use crate::teredo::ingress;
use crate::teredo::ingress::Path;
use crate::teredo::packet::{
    Bubble, DISCOVERY_GROUP, Datagram, KnownTrailers, SignOfLife, Trailer, emit_alternates, is_bubble, push_origin,
};
use crate::teredo::qualify::OfflineReason;
use crate::teredo::qualify::Stage;
use crate::teredo::server::{Server, ServerConfig};
use crate::wire::field::Writer;
use crate::wire::ipv6;
use crate::wire::{hex, icmpv6, protocol};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

mod attack;
mod flood;
mod operations;

const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
const SECOND: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
const LINK: LinkId = LinkId(5);
const PORT: u16 = 40_000;
const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn server_at(address: Ipv4Addr) -> SocketAddrV4 {
    SocketAddrV4::new(address, SERVER_PORT)
}

/// Where the NAT shows the client under test, to everybody.
fn mapped() -> SocketAddrV4 {
    endpoint("192.0.2.1:4096")
}

/// A peer of another server, behind another NAT.
fn peer_b() -> (SocketAddrV4, Ipv6Addr) {
    (endpoint("203.0.113.10:8192"), v6("2001:0:cb00:7178:0:dfff:34ff:8ef5"))
}

const SERVER_B: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 120);

fn native() -> Ipv6Addr {
    v6("2001:db8::1")
}

/// Numbers that do not come again, in place of randomness.
#[derive(Clone, Default)]
struct Draws(u64);

impl Entropy for Draws {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            *byte = self.0.to_be_bytes()[0];
        }
    }
}

/// A packet on the wire: UDP ends and payload.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sent {
    port: u16,
    to: SocketAddrV4,
    payload: Vec<u8>,
    ttl: u8,
    when: Instant,
}

impl Sent {
    fn datagram(&self) -> Datagram<'_> {
        Datagram::parse(&self.payload).unwrap()
    }

    fn header(&self) -> (Ipv6Addr, Ipv6Addr, bool) {
        let header = ipv6::Header::parse(self.datagram().ipv6()).unwrap();
        (header.source(), header.destination(), is_bubble(&header))
    }

    /// Whether it is the echo request of a connectivity test.
    fn is_test(&self) -> bool {
        self.payload.get(6) == Some(&protocol::ICMPV6) && self.payload.get(40) == Some(&128)
    }

    fn trailers(&self) -> KnownTrailers<'_> {
        self.datagram().trailers().collect_known().unwrap()
    }
}

type TestClient = Client<[Peer; 64], Open, 16>;

/// The verdict, and the packet to be delivered or held.
fn hand_in(client: &mut TestClient, now: Instant, path: Path, payload: &[u8]) -> (Verdict, Option<Vec<u8>>) {
    let mut buffer = vec![0; HEADROOM + payload.len()];
    buffer[HEADROOM..].copy_from_slice(payload);
    let len = buffer.len();
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..len).unwrap();
    let verdict = client.decapsulate(now, &Outer::udp(path.from, path.to), &mut packet);
    let is_kept = matches!(verdict, Verdict::Deliver { .. } | Verdict::Hold { .. });
    let bytes = is_kept.then(|| packet.as_slice().to_vec());
    if let Some(bytes) = &bytes {
        assert_eq!(bytes.len(), ipv6::Header::parse(bytes).unwrap().packet_len());
    }
    (verdict, bytes)
}

/// All that a packet may change.
fn state(client: &TestClient) -> (Vec<Peer>, String) {
    let Client { qualification, determination, sessions, answers, local, tests, bubbles, counters, .. } = client;
    let own = (client.status(), client.address(), client.poll_timeout(), client.has_packet());
    let tables = (qualification, determination, sessions, answers, local, tests, bubbles, counters);
    (client.peers.iter().copied().collect(), format!("{own:?} {tables:?}"))
}

/// A client with a clock, what it sent and what it told.
#[derive(Clone)]
struct Bench {
    client: TestClient,
    now: Instant,
    draws: Draws,
    sent: Vec<Sent>,
    events: Vec<Event>,
    /// Decisions that others may carry out.
    told: Vec<Told>,
    /// Whether the server answers while time passes.
    online: bool,
}

impl Bench {
    fn new(config: ClientConfig) -> Self {
        Bench {
            client: Client::new(config, LINK),
            now: Instant::from_secs(1),
            draws: Draws::default(),
            sent: vec![],
            events: vec![],
            told: vec![],
            online: false,
        }
    }

    /// Behind a NAT that shows every destination the same mapping.
    fn qualified() -> Self {
        Bench::qualified_with(ClientConfig::new(SERVER, PORT), |_| mapped())
    }

    /// `nat`: what each server sees.
    fn qualified_with(config: ClientConfig, nat: impl Fn(Ipv4Addr) -> SocketAddrV4) -> Self {
        let mut bench = Bench::new(config);
        bench.client.set_locator(bench.now, Some(Locator { address: LOCAL, subnet_length: 24 }));
        bench.settle();
        for _ in 0..2 {
            let asked = bench.take();
            bench.solicited(&asked, &nat);
        }
        assert!(bench.client.address().is_some(), "{:?}", bench.client.status());
        bench.sent.clear();
        bench.events.clear();
        bench.online = true;
        bench
    }

    /// Passes solicitations to a server; hands in what it answers.
    fn solicited(&mut self, asked: &[Sent], nat: impl Fn(Ipv4Addr) -> SocketAddrV4) {
        for sent in asked {
            let answer = advertisement(&sent.payload, nat(*sent.to.ip()), *sent.to.ip());
            let verdict = self.receive_at(sent.port, sent.to, &answer);
            assert_eq!(verdict, Verdict::Consumed { link: LINK });
        }
    }

    /// Does what is due, as a caller would, and sees that no deadline survives it.
    fn settle(&mut self) {
        loop {
            self.drain();
            match self.client.poll_timeout() {
                Some(due) if due <= self.now => self.client.handle_timeout(self.now, &mut self.draws),
                _ => break,
            }
            self.drain();
            let next = self.client.poll_timeout();
            assert!(next.is_none_or(|next| next > self.now), "still due after a drain");
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 1500];
        let mut packet = PacketMut::empty(&mut buffer);
        while let Some(transmit) = self.client.poll_transmit(&mut packet).unwrap() {
            let outer = transmit.outer.unwrap();
            let (port, to_port) = outer.ports.unwrap();
            let to = SocketAddrV4::new(outer.destination, to_port);
            assert_eq!(outer.source, LOCAL);
            let never = crate::prefix::is_never_unicast(*to.ip()) && *to.ip() != DISCOVERY_GROUP;
            assert!(!never && to_port != 0 && *to.ip() != LOCAL, "{to}");
            let payload = on_the_wire(&outer, &mut packet);
            self.sent.push(Sent { port, to, payload, ttl: outer.ttl, when: self.now });
        }
        while let Some(event) = self.client.poll_event() {
            self.events.push(event);
        }
    }

    fn wait(&mut self, duration: Duration) {
        let until = self.now.saturating_add(duration);
        while let Some(due) = self.client.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.settle();
            if let Some(mapping) = self.client.status().mapping.filter(|_| self.online) {
                let is_maintenance = |sent: &Sent| sent.port == PORT && sent.payload.len() == 61;
                let (asked, others): (Vec<_>, _) = self.sent.drain(..).partition(is_maintenance);
                self.sent = others;
                self.solicited(&asked, |_| mapping);
            }
        }
        self.now = until;
        self.settle();
    }

    fn take(&mut self) -> Vec<Sent> {
        self.settle();
        core::mem::take(&mut self.sent)
    }

    fn events(&mut self) -> Vec<Event> {
        self.settle();
        core::mem::take(&mut self.events)
    }

    fn receive_at(&mut self, port: u16, from: SocketAddrV4, payload: &[u8]) -> Verdict {
        self.receive_raw(Path { from, to: SocketAddrV4::new(LOCAL, port) }, payload)
    }

    fn receive(&mut self, from: SocketAddrV4, payload: &[u8]) -> Verdict {
        self.receive_at(PORT, from, payload)
    }

    fn receive_raw(&mut self, path: Path, payload: &[u8]) -> Verdict {
        let verdict = self.receive_in_a_row(path, payload);
        self.settle();
        verdict
    }

    /// As of a batch: nothing is done between one packet and the next.
    ///
    /// With a trailer behind it that says nothing, no packet is clearly in order:
    /// the long way ends as the short one did, whatever came before.
    fn receive_in_a_row(&mut self, path: Path, payload: &[u8]) -> Verdict {
        let mut twin = self.client.clone();
        let end = hand_in(&mut self.client, self.now, path, payload);
        told::hear(&mut self.told, &mut self.client);
        if Datagram::parse(payload).is_ok_and(|datagram| datagram.trailer_bytes().is_empty()) {
            assert_eq!(hand_in(&mut twin, self.now, path, &[payload, &[0x80, 0]].concat()), end);
            assert_eq!(state(&twin), state(&self.client));
        }
        end.0
    }

    /// A data packet from the host.
    fn send(&mut self, destination: Ipv6Addr) -> Verdict {
        let address = self.client.address().unwrap_or(v6("2001:0:1::1"));
        self.send_packet(&data(address, destination))
    }

    fn send_packet(&mut self, bytes: &[u8]) -> Verdict {
        let mut buffer = vec![0; 2000];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(bytes).unwrap();
        let verdict = self.client.encapsulate(self.now, &mut packet);
        told::hear(&mut self.told, &mut self.client);
        self.settle();
        verdict
    }

    fn address(&self) -> Ipv6Addr {
        self.client.address().unwrap()
    }

    fn peer(&self, address: &Ipv6Addr) -> Option<&Peer> {
        self.client.peers().find(address)
    }
}

fn ticket(verdict: Verdict) -> crate::engine::Ticket {
    match verdict {
        Verdict::Hold { ticket } => ticket,
        other => panic!("{other:?}"),
    }
}

fn reason(verdict: Verdict) -> DropReason {
    match verdict {
        Verdict::Drop(reason) => reason,
        other => panic!("{other:?}"),
    }
}

fn tunnelled(verdict: Verdict) -> (u16, SocketAddrV4) {
    match verdict {
        Verdict::Tunnel { outer, .. } => {
            let ports = outer.ports.unwrap();
            (ports.0, SocketAddrV4::new(outer.destination, ports.1))
        }
        other => panic!("{other:?}"),
    }
}

/// What a real server answers to a solicitation that comes from `seen`.
fn advertisement(solicitation: &[u8], seen: SocketAddrV4, asked: Ipv4Addr) -> Vec<u8> {
    let mut server = Server::new(ServerConfig::new(SERVER), LINK);
    let mut buffer = [0; 500];
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(solicitation).unwrap();
    match server.decapsulate(Instant::ZERO, &Outer::udp(seen, server_at(asked)), &mut packet) {
        Verdict::Answer { via: crate::engine::Via::Tunnel { outer, .. }, .. } => {
            assert_eq!(outer.source, asked);
            on_the_wire(&outer, &mut packet)
        }
        other => panic!("{other:?}"),
    }
}

/// What arrives of a packet: its header has room, and comes off as it was.
fn on_the_wire(outer: &Outer, packet: &mut PacketMut<'_>) -> Vec<u8> {
    outer.push(packet).unwrap();
    assert_eq!(Outer::pull(packet), Ok(*outer));
    packet.as_slice().to_vec()
}

fn written(emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut out = [0; 300];
    let mut writer = Writer::new(&mut out);
    emit(&mut writer);
    let len = writer.finish().unwrap();
    out[..len].to_vec()
}

fn bubble(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    written(|writer| Bubble::new(source, destination).emit(writer))
}

fn with_nonce(mut bubble: Vec<u8>, nonce: [u8; 4]) -> Vec<u8> {
    bubble.extend(written(|writer| Trailer::Nonce(nonce).emit(writer)));
    bubble
}

fn with_origin(payload: &[u8], origin: SocketAddrV4) -> Vec<u8> {
    let mut buffer = vec![0; 600];
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(payload).unwrap();
    push_origin(&mut packet, origin).unwrap();
    packet.as_slice().to_vec()
}

/// A UDP packet of 12 bytes.
fn data(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let header = ipv6::Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: 12,
        next_header: protocol::UDP,
        hop_limit: 64,
        source,
        destination,
    };
    [&header.to_bytes()[..], &[7; 12]].concat()
}

fn echo_reply(request: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; 300];
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(request).unwrap();
    icmpv6::echo_reply_in_place(&mut packet).unwrap();
    packet.as_slice().to_vec()
}

/// The client and its peer B trust each other.
fn connected() -> Bench {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    assert_eq!(bench.receive(at, &bubble(b, bench.address())), Verdict::Consumed { link: LINK });
    assert!(bench.peer(&b).unwrap().is_trusted_at(at));
    bench.sent.clear();
    bench
}

/// Whether a data packet of peer B goes the short way.
fn is_short(bench: &Bench) -> bool {
    let ((at, b), to) = (peer_b(), SocketAddrV4::new(LOCAL, PORT));
    bench.client.clone().receive_data(bench.now, Path { from: at, to }, &data(b, bench.address())).is_some()
}

#[test]
fn data_goes_the_short_way_while_nothing_is_under_way() {
    let mut bench = connected();
    let (at, b) = peer_b();
    assert!(is_short(&bench));
    // A question of the peer's own, and the answer to it.
    bench.receive(server_at(SERVER), &with_origin(&with_nonce(bubble(b, bench.address()), [7; 4]), at));
    assert!(!is_short(&bench));
    bench.receive(at, &data(b, bench.address()));
    assert!(is_short(&bench));
    // Silent for so long that it is asked first: what it says then releases what waits.
    bench.wait(Duration::from_secs(40));
    let ticket = ticket(bench.send(b));
    assert!(!is_short(&bench));
    bench.events();
    bench.receive(at, &data(b, bench.address()));
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket }]);
    assert!(is_short(&bench));
    // Nothing is known of it, and its packet comes from where its address says: case 3.
    let mut bench = Bench::qualified();
    assert!(is_short(&bench));
    // Once it is asked for, its first packet releases what waits.
    bench.send(b);
    assert!(!is_short(&bench));
}

/// The decisions that were told, and hold: to peer B, and from it.
fn holding(bench: &Bench) -> (usize, usize) {
    let current = bench.told.iter().filter(|told| told.is_current(&bench.client, bench.now));
    let (sends, admits): (Vec<&Told>, Vec<&Told>) = current.partition(|told| matches!(told, Told::Sends(..)));
    (sends.len(), admits.len())
}

#[test]
fn data_of_peers_that_know_each_other_may_be_carried_elsewhere() {
    let mut bench = connected();
    let ((at, b), own) = (peer_b(), bench.address());
    // The second packet each way tells.
    bench.receive(at, &data(b, own));
    bench.send(b);
    bench.told.clear();
    bench.receive(at, &data(b, own));
    bench.send(b);
    assert_eq!(holding(&bench), (1, 1));
    let [Told::Admits(_, admits), Told::Sends(_, sends)] = bench.told[..] else { panic!("{:?}", bench.told) };
    assert_eq!((sends.source, sends.destination, admits.source, admits.destination), (own, b, b, own));
    assert_eq!((sends.outer_source, sends.outer_destination), (LOCAL, *at.ip()));
    assert_eq!((admits.outer_source, admits.outer_destination), (*at.ip(), LOCAL));
    assert_eq!((sends.ports, admits.ports), (Some((PORT, at.port())), Some((at.port(), PORT))));
    // [RFC 4380 §5.2.4]: 30 seconds after it was heard.
    assert_eq!(sends.until, Expiry::at(bench.now.saturating_add(Duration::from_secs(30))));
    // TCP is the machine's.
    let tcp = |mut packet: Vec<u8>| {
        packet[6] = protocol::TCP;
        packet
    };
    bench.told.clear();
    bench.receive(at, &tcp(data(b, own)));
    bench.send_packet(&tcp(data(own, b)));
    assert!(bench.told.is_empty(), "{:?}", bench.told);
}

#[test]
fn what_was_carried_elsewhere_keeps_a_peer_reachable() {
    let mut bench = connected();
    let ((_, b), before) = (peer_b(), *bench.client.counters());
    bench.wait(Duration::from_secs(25));
    let since = bench.now;
    let part = |destination, packets| Carried { link: LINK, device: LINK, destination, peer: b, since, packets };
    assert_eq!(bench.client.carried(bench.now, &part(None, 10)), None, "let in as long as nothing changes");
    // [RFC 4380 §5.2.4]: what goes there ends 30 seconds after it was heard.
    let until = Expiry::at(since.saturating_add(Duration::from_secs(30)));
    assert_eq!(bench.client.carried(bench.now, &part(Some(LOCAL), 3)), Some(until));
    bench.now = bench.now.saturating_add(Duration::from_secs(20));
    assert!(matches!(bench.send(b), Verdict::Tunnel { .. }));
    let counters = bench.client.counters();
    let of = |count: fn(&Counters<u64>) -> u64| count(counters) - count(&before);
    assert_eq!((of(|c| c.delivered), of(|c| c.tunnelled), of(|c| c.entered)), (10, 4, 14));
    // Who is nobody's peer is not made one.
    bench.client.carried(bench.now, &Carried { peer: native(), ..part(None, 1) });
    assert!(bench.peer(&native()).is_none());
}

/// The process stood still meanwhile, or the machine slept.
#[test]
fn what_was_carried_elsewhere_at_an_unknown_time_makes_nobody_reachable() {
    let mut bench = connected();
    let ((at, b), own) = (peer_b(), bench.address());
    bench.receive(at, &data(b, own));
    let since = bench.now;
    bench.wait(Duration::from_secs(41));
    let part = Carried { link: LINK, device: LINK, destination: None, peer: b, since, packets: 9 };
    bench.client.carried(bench.now, &part);
    assert!(!bench.peer(&b).unwrap().is_reachable(bench.now));
    // What was heard later stays so.
    bench.receive(at, &data(b, own));
    bench.client.carried(bench.now, &part);
    assert!(bench.peer(&b).unwrap().is_reachable(bench.now));
}

#[test]
fn what_was_told_of_a_peer_holds_no_more_once_it_is_in_question_or_elsewhere() {
    let told = || {
        let mut bench = connected();
        let ((at, b), own) = (peer_b(), bench.address());
        for _ in 0..2 {
            bench.receive(at, &data(b, own));
            bench.send(b);
        }
        assert_ne!(holding(&bench), (0, 0));
        bench
    };
    let ((at, b), elsewhere) = (peer_b(), endpoint("203.0.113.10:9999"));
    // What others send changes nothing.
    let mut bench = told();
    let own = bench.address();
    bench.receive(elsewhere, &data(b, own));
    bench.receive(endpoint("192.0.2.66:666"), &data(native(), own));
    assert_ne!(holding(&bench), (0, 0));
    // Its NAT has given it another mapping: it repeats the nonce of our bubble.
    bench.wait(Duration::from_secs(31));
    bench.send(b);
    let nonce = bench.take().iter().rev().find_map(|sent| sent.trailers().nonce);
    assert_eq!(holding(&bench), (0, 0));
    if let Some(nonce) = nonce {
        bench.receive(elsewhere, &with_nonce(bubble(b, own), nonce));
        assert!(bench.peer(&b).unwrap().is_trusted_at(elsewhere));
    }
    // It asks for us: something is under way.
    let mut bench = told();
    bench.receive(server_at(SERVER), &with_origin(&with_nonce(bubble(b, bench.address()), [7; 4]), at));
    assert_eq!(holding(&bench), (0, 0));
    // The own address is another one, or there is none.
    let mut bench = told();
    bench.client.set_locator(bench.now, None);
    assert_eq!(holding(&bench), (0, 0));
    let mut bench = told();
    bench.client.restart(bench.now);
    assert_eq!(holding(&bench), (0, 0));
}

#[test]
fn ter_2_ter_36_rte_14_a_client_qualifies_tells_its_address_and_moves() {
    let mut bench = Bench::new(ClientConfig::new(SERVER, PORT));
    assert_eq!(reason(bench.send(native())), DropReason::TeredoUnqualified);
    bench.client.set_locator(bench.now, Some(Locator { address: LOCAL, subnet_length: 24 }));
    let asked = bench.take();
    assert_eq!(asked.len(), 1);
    assert_eq!((asked[0].to, asked[0].port, asked[0].payload.len()), (server_at(SERVER), PORT, 61));
    assert_eq!(asked[0].header().0, CLIENT_LINK_LOCAL);
    bench.solicited(&asked, |_| mapped());
    let asked = bench.take();
    assert_eq!(asked[0].to, server_at(SECOND));
    bench.solicited(&asked, |_| mapped());
    let first = bench.address();
    let parts = Address::from_ipv6(&first).unwrap();
    assert_eq!((parts.server, parts.client, parts.port), (SERVER, *mapped().ip(), mapped().port()));
    assert!(!parts.flags.has_reserved() && !parts.flags.contains(Flags::CONE) && parts.flags.random() != 0);
    let events = bench.events();
    assert_eq!(events[0], Event::Address { link: LINK, change: Change::Added, address: learned(first) });
    assert_eq!(events[1], Event::Route { change: Change::Added, route: default_route(LINK) });
    assert_eq!(bench.client.status().nat, NatKind::Restricted);

    // Another mapping at maintenance: another address, with other bits.
    let asked = refreshed(&mut bench);
    assert_eq!(asked.len(), 1);
    bench.solicited(&asked, |_| endpoint("192.0.2.1:5000"));
    let second = bench.address();
    assert_ne!(Address::from_ipv6(&second).unwrap().flags, parts.flags);
    let events = bench.events();
    assert_eq!(events[0], Event::Route { change: Change::Removed, route: default_route(LINK) });
    assert_eq!(events[1], Event::Address { link: LINK, change: Change::Removed, address: learned(first) });
    assert_eq!(events[2], Event::Address { link: LINK, change: Change::Added, address: learned(second) });
    assert_eq!(events.len(), 4);
    // The same mapping keeps the bits.
    let asked = refreshed(&mut bench);
    assert_eq!(asked.len(), 1);
    bench.solicited(&asked, |_| endpoint("192.0.2.1:5000"));
    assert_eq!(bench.address(), second);
}

/// RTE-14, of a caller that takes no event between the advertisement and the timer.
#[test]
fn rte_14_the_default_route_goes_before_an_address_that_is_replaced() {
    let mut bench = Bench { online: false, ..Bench::qualified() };
    let first = bench.address();
    for sent in refreshed(&mut bench) {
        let answer = advertisement(&sent.payload, endpoint("192.0.2.1:5000"), *sent.to.ip());
        let path = Path { from: sent.to, to: SocketAddrV4::new(LOCAL, PORT) };
        assert_eq!(bench.receive_in_a_row(path, &answer), Verdict::Consumed { link: LINK });
    }
    bench.client.handle_timeout(bench.now, &mut bench.draws);
    let own = learned(bench.address());
    let route = |change| Event::Route { change, route: default_route(LINK) };
    let address = |change, address| Event::Address { link: LINK, change, address };
    let expected = [
        route(Change::Removed),
        address(Change::Removed, learned(first)),
        address(Change::Added, own),
        route(Change::Added),
    ];
    assert_eq!(bench.events(), expected);
}

#[test]
fn a_packet_that_waits_is_counted_as_held() {
    let mut bench = Bench::qualified();
    let counts = |bench: &Bench| (bench.client.counters().held, bench.client.counters().consumed);
    let (held, consumed) = counts(&bench);
    ticket(bench.send(native()));
    assert_eq!(counts(&bench), (held + 1, consumed), "from the host");
    let from_relay = data(v6("2001:db8::2"), bench.address());
    ticket(bench.receive(endpoint("198.51.100.7:3545"), &from_relay));
    assert_eq!(counts(&bench), (held + 2, consumed), "from the network");
}

/// The first that is sent of a client that has nothing to do but to be remembered.
fn refreshed(bench: &mut Bench) -> Vec<Sent> {
    let waited = (1..).find(|_| {
        bench.wait(Duration::from_secs(1));
        !bench.sent.is_empty()
    });
    // Uniform in 75 to 100 % of 30 s.
    assert!(waited.is_some_and(|seconds| (22..=31).contains(&seconds)), "{waited:?}");
    bench.take()
}

#[test]
fn ter_37_a_client_asks_its_server_when_told_to_and_keeps_its_address() {
    let mut bench = Bench::qualified();
    let address = bench.address();
    bench.client.ask_server(bench.now);
    assert!(bench.take().is_empty(), "it has just answered");
    bench.wait(Duration::from_secs(4));
    bench.client.ask_server(bench.now);
    let asked = bench.take();
    assert_eq!(asked.iter().map(|sent| sent.to).collect::<Vec<_>>(), [server_at(SERVER)]);
    bench.solicited(&asked, |_| mapped());
    assert_eq!(bench.address(), address);
}

#[test]
fn an_ipv4_change_abandons_what_is_held_and_begins_anew() {
    let mut bench = Bench::qualified();
    let held = ticket(bench.send(peer_b().1));
    bench.take();
    bench.client.set_locator(bench.now, None);
    let events = bench.events();
    let reason = DropReason::NoLocator;
    assert!(events.contains(&Event::Abandoned { link: LINK, ticket: held, reason }), "{events:?}");
    assert!(bench.take().is_empty());
    assert_eq!(bench.client.poll_timeout(), None);
    assert_eq!(bench.client.status().stage, Stage::Offline(OfflineReason::NotStarted));
    let mut other = bench.clone();
    other.client.set_locator(other.now, Some(Locator { address: LOCAL, subnet_length: 24 }));
    assert_eq!(other.take().len(), 1);
}

#[test]
fn another_server_is_asked_anew_and_the_same_one_is_not() {
    let mut bench = Bench::qualified();
    let held = ticket(bench.send(peer_b().1));
    bench.take();
    bench.client.set_servers(bench.now, SERVER, Some(SECOND));
    assert!(bench.client.address().is_some() && bench.take().is_empty());

    let other = Ipv4Addr::new(198, 51, 100, 77);
    bench.client.set_servers(bench.now, other, None);
    bench.settle();
    let reason = DropReason::TeredoUnqualified;
    let events = bench.events();
    assert!(events.contains(&Event::Abandoned { link: LINK, ticket: held, reason }), "{events:?}");
    assert_eq!(bench.client.address(), None);
    let asked: Vec<_> = bench.take().iter().map(|sent| sent.to).collect();
    assert_eq!(asked, [server_at(other)]);
    // Without an IPv4 address nobody is asked.
    let mut idle = Bench::new(ClientConfig::new(SERVER, PORT));
    idle.client.set_servers(idle.now, other, None);
    assert!(idle.take().is_empty());
}

#[test]
fn case_5_bubbles_go_direct_and_by_the_peers_server_and_the_queue_is_released() {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    let held = ticket(bench.send(b));
    let sent = bench.take();
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!((sent[0].to, sent[0].header()), (at, (bench.address(), b, true)));
    assert_eq!((sent[1].to, sent[1].header()), (server_at(SERVER_B), (bench.address(), b, true)));
    // TER-70: a nonce in the indirect one only; TER-83: with the local address.
    assert_eq!(sent[0].trailers().nonce, None);
    assert!(sent[1].trailers().nonce.is_some_and(|nonce| nonce != [0; 4]));
    let alternates: Vec<_> = sent[1].trailers().alternates.unwrap().addresses().unwrap().collect();
    assert_eq!(alternates, [SocketAddrV4::new(LOCAL, PORT)]);
    // TER-42: four wait, the fifth does not.
    for _ in 0..3 {
        assert_eq!(ticket(bench.send(b)), held);
    }
    assert_eq!(reason(bench.send(b)), DropReason::TableFull);
    assert!(bench.take().is_empty());

    assert_eq!(bench.receive(at, &bubble(b, bench.address())), Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert_eq!(tunnelled(bench.send(b)), (PORT, at));
    // Data from there is delivered.
    let delivered = Verdict::Deliver { link: LINK, from: Admitted::Remote };
    assert_eq!(bench.receive(at, &data(b, bench.address())), delivered);
}

#[test]
fn ter_44_ter_45_ter_70_four_bubbles_two_seconds_apart_then_the_packet_is_given_up() {
    let mut bench = Bench::qualified();
    let (_, b) = peer_b();
    let held = ticket(bench.send(b));
    let mut times = vec![];
    let mut nonces = vec![];
    for _ in 0..4 {
        let sent = bench.take();
        assert_eq!(sent.len(), 2);
        nonces.push(sent[1].trailers().nonce.unwrap());
        times.push(bench.now);
        bench.wait(Duration::from_secs(2));
    }
    assert!(nonces.windows(2).all(|two| two[0] != two[1]), "a retransmission has a new nonce");
    let reason_ = DropReason::TeredoNoAnswer;
    assert_eq!(bench.events(), [Event::Abandoned { link: LINK, ticket: held, reason: reason_ }]);
    assert!(bench.take().is_empty());
    // Not a fifth within 300 s.
    assert_eq!(reason(bench.send(b)), reason_);
    bench.wait(Duration::from_secs(10));
    assert_eq!(reason(bench.send(b)), reason_);
}

/// A new mapping, another address or another server is none of the silent peer's doing.
#[test]
fn ter_45_a_new_qualification_does_not_forget_who_was_silent() {
    let anew: [fn(&mut Bench); 3] = [
        |bench| bench.client.restart(bench.now),
        |bench| bench.client.set_servers(bench.now, SECOND, Some(SERVER)),
        |bench| bench.client.set_locator(bench.now, Some(Locator { address: LOCAL, subnet_length: 25 })),
    ];
    for anew in anew {
        let mut bench = Bench::qualified();
        bench.online = true;
        let (_, b) = peer_b();
        let begin = bench.now;
        bench.send(b);
        bench.wait(Duration::from_secs(8));
        assert_eq!(bench.take().iter().filter(|sent| sent.to == server_at(SERVER_B)).count(), 4);
        anew(&mut bench);
        for _ in 0..2 {
            bench.settle();
            let asked = bench.take();
            bench.solicited(&asked, |_| mapped());
        }
        assert_eq!(bench.client.status().stage, Stage::Qualified);
        bench.events();
        assert_eq!(reason(bench.send(b)), DropReason::TeredoNoAnswer);
        // The last was sent after 6 s.
        bench.now = begin.saturating_add(Duration::from_secs(305));
        assert_eq!(reason(bench.send(b)), DropReason::TeredoNoAnswer);
        bench.now = begin.saturating_add(Duration::from_secs(307));
        ticket(bench.send(b));
        assert!(bench.take().iter().any(|sent| sent.to == server_at(SERVER_B)));
        // What was believed before is not.
        let (mut bench, (at, b)) = (connected(), peer_b());
        anew(&mut bench);
        assert!(!bench.peer(&b).unwrap().is_trusted_at(at));
    }
}

#[test]
fn ter_42_ter_97_case_2_a_native_host_is_tested_through_the_server() {
    let mut bench = Bench::qualified();
    let relay = endpoint("198.51.100.50:3545");
    let held = ticket(bench.send(native()));
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].to), (1, server_at(SERVER)));
    let test = sent[0].datagram().ipv6().to_vec();
    assert_eq!(test.len(), 56, "TER-64");
    // Another's reply, another nonce, an unreachable: nothing.
    let mut forged = echo_reply(&test);
    forged[50] ^= 1;
    icmpv6::fill_checksum(&mut forged[40..], &native(), &bench.address());
    let verdict = bench.receive(endpoint("192.0.2.66:666"), &forged);
    assert!(matches!(verdict, Verdict::Hold { .. }), "a packet of an untested source: {verdict:?}");
    assert!(!bench.peer(&native()).unwrap().is_trusted());

    let reply = echo_reply(&test);
    assert_eq!(bench.receive(relay, &reply), Verdict::Consumed { link: LINK });
    let events = bench.events();
    assert!(events.contains(&Event::Released { link: LINK, ticket: held }), "{events:?}");
    assert!(bench.peer(&native()).unwrap().is_verified());
    assert_eq!(tunnelled(bench.send(native())), (PORT, relay));
    // TER-97: after 30 s of silence the relay may be another one.
    bench.wait(Duration::from_secs(60));
    bench.take();
    let held = ticket(bench.send(native()));
    let other = endpoint("198.51.100.51:3545");
    let sent = bench.take();
    let test = sent.iter().find(|sent| sent.is_test()).unwrap().payload.clone();
    assert_eq!(bench.receive(other, &echo_reply(&test)), Verdict::Consumed { link: LINK });
    assert!(bench.events().contains(&Event::Released { link: LINK, ticket: held }));
    assert_eq!(tunnelled(bench.send(native())), (PORT, other));
}

#[test]
fn an_unreachable_ends_no_test_and_a_reply_without_the_nonce_proves_nothing() {
    let mut bench = Bench::qualified();
    bench.send(native());
    let test = bench.take()[0].payload.clone();
    let mut buffer = vec![0; 600];
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(&test).unwrap();
    let kind = icmpv6::ErrorKind::Unreachable(icmpv6::Unreachable::Address);
    icmpv6::error_in_place(&mut packet, native(), kind).unwrap();
    let error = packet.as_slice().to_vec();
    bench.receive(endpoint("192.0.2.66:666"), &error);
    let replayed = echo_reply(&test);
    bench.wait(Duration::from_secs(2));
    let again = bench.take()[0].payload.clone();
    assert_ne!(again, test, "each attempt has its own nonce");
    bench.receive(endpoint("192.0.2.66:666"), &replayed);
    assert!(!bench.peer(&native()).unwrap().is_trusted());
    assert_eq!(bench.receive(endpoint("198.51.100.50:3545"), &echo_reply(&again)), Verdict::Consumed { link: LINK });
    assert!(bench.peer(&native()).unwrap().is_trusted());
}

#[test]
fn case_6_an_unknown_native_source_is_held_tested_and_delivered() {
    let mut bench = Bench::qualified();
    let relay = endpoint("198.51.100.50:3545");
    let packet = data(native(), bench.address());
    let held = ticket(bench.receive(relay, &packet));
    assert_eq!(ticket(bench.receive(relay, &packet)), held);
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].to), (1, server_at(SERVER)));
    bench.receive(relay, &echo_reply(&sent[0].payload));
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    let delivered = Verdict::Deliver { link: LINK, from: Admitted::Remote };
    assert_eq!(bench.receive(relay, &packet), delivered);
    // A test without an answer: what is held is dropped.
    let silent = v6("2001:db8::2");
    let held = ticket(bench.receive(relay, &data(silent, bench.address())));
    bench.wait(Duration::from_secs(8));
    let reason = DropReason::TeredoNoAnswer;
    assert_eq!(bench.events(), [Event::Abandoned { link: LINK, ticket: held, reason }]);
}

#[test]
fn ter_41_tests_that_others_cause_are_few() {
    let mut bench = Bench::qualified();
    let mut tests = 0;
    for n in 0..1000_u32 {
        let source = Ipv6Addr::from_bits(native().to_bits() + u128::from(n) + 10);
        bench.receive(endpoint("192.0.2.66:666"), &data(source, bench.address()));
        tests += bench.take().len();
    }
    assert!(tests <= 8, "{tests}");
    // Own traffic finds its way beside them.
    assert!(matches!(bench.send(peer_b().1), Verdict::Hold { .. }));
    // Nobody causes a test of an address that is not global.
    for source in ["fd00::1", "fe80::1", "64:ff9b::a00:1", "3ffe:831f::1"] {
        let mut bench = Bench::qualified();
        let verdict = bench.receive(endpoint("192.0.2.66:666"), &data(v6(source), bench.address()));
        if source.starts_with("3ffe") {
            continue; // An address of 2000::/3 like any other.
        }
        assert_eq!(reason(verdict), DropReason::InnerSourceRefused, "{source}");
        assert!(bench.take().is_empty());
    }
}

#[test]
fn a_forged_packet_does_not_stop_a_native_peer_that_is_being_heard() {
    let mut bench = Bench::qualified();
    let relay = endpoint("198.51.100.50:3545");
    bench.send(native());
    let test = bench.take()[0].payload.clone();
    bench.receive(relay, &echo_reply(&test));
    bench.receive(endpoint("192.0.2.66:666"), &data(native(), bench.address()));
    assert_eq!(tunnelled(bench.send(native())), (PORT, relay));
}

#[test]
fn ter_14_ter_39_section_4_5_refuses_in_its_order() {
    let bench = Bench::qualified();
    let (at, b) = peer_b();
    let own = bench.address();
    let refused = |from: SocketAddrV4, payload: &[u8]| reason(bench.clone().receive(from, payload));
    let elsewhere = endpoint("203.0.113.10:8193");
    assert_eq!(refused(at, &data(b, v6("2001:db8::9"))), DropReason::TeredoDestination);
    assert_eq!(refused(at, &data(b, v6("fe80::1"))), DropReason::TeredoDestination);
    assert_eq!(refused(at, &data(own, own)), DropReason::OwnSource);
    assert_eq!(refused(elsewhere, &data(b, own)), DropReason::TeredoMapping);
    assert_eq!(refused(elsewhere, &bubble(b, own)), DropReason::TeredoMapping);
    assert_eq!(refused(at, &data(v6("ff02::1"), own)), DropReason::InnerSourceRefused);
    assert_eq!(refused(at, &data(v6("::1"), own)), DropReason::InnerSourceRefused);
    // By prefix, whatever the machine's byte order.
    assert_eq!(refused(at, &data(v6("fe80::1"), own)), DropReason::InnerSourceRefused);
    assert_eq!(refused(at, &bubble(v6("fe80::1"), own)), DropReason::InnerSourceRefused);
    // TER-7: the old prefix is no native one, so nobody there is tested.
    assert_eq!(refused(at, &data(v6("3ffe:831f:cb00:7178:0:dfff:34ff:8ef5"), own)), DropReason::InnerSourceRefused);
    assert_eq!(refused(at, &[0x45; 60]), DropReason::InnerVersion);
    assert_eq!(refused(at, &[bubble(b, own), hex("4000")].concat()), DropReason::TeredoTrailer);
    // From an address that the packet's source embeds, and nobody may have.
    let private = endpoint("10.0.0.1:5000");
    let inside = Address { server: SERVER_B, flags: Flags::empty(), port: 5000, client: *private.ip() }.to_ipv6();
    assert_eq!(refused(private, &data(inside, own)), DropReason::TeredoEmbedded);
    // Nothing of it made a peer.
    let mut bench = bench;
    bench.receive(elsewhere, &data(b, own));
    assert!(bench.peer(&b).is_none());
}

#[test]
fn ter_43_routing_headers_pass_in_no_direction() {
    let mut bench = connected();
    let (at, b) = peer_b();
    let routed = |source, destination| {
        let mut packet = bubble(source, destination);
        packet[5] = 24;
        packet[6] = protocol::ROUTING;
        packet.extend(hex("3a 02 00 01 00000000 20010db8000000000000000000000002"));
        packet
    };
    let own = bench.address();
    assert_eq!(reason(bench.receive(at, &routed(b, own))), DropReason::RoutingHeader);
    assert_eq!(reason(bench.send_packet(&routed(own, b))), DropReason::RoutingHeader);
}

#[test]
fn ter_40_ter_4_ter_7_where_nothing_is_sent() {
    let mut bench = Bench::qualified();
    let to = |server: &str, at: &str| {
        let at = endpoint(at);
        let server = server.parse().unwrap();
        Address { server, flags: Flags::empty(), port: at.port(), client: *at.ip() }.to_ipv6()
    };
    for refused in [
        to("203.0.113.120", "10.0.0.1:5000"),
        to("203.0.113.120", "192.88.99.1:5000"),
        to("203.0.113.120", "127.0.0.1:5000"),
        to("203.0.113.120", "224.0.0.1:5000"),
        to("203.0.113.120", "255.255.255.255:5000"),
        to("203.0.113.120", "203.0.113.10:0"),
        to("10.0.0.1", "203.0.113.10:5000"),
        to("127.0.0.1", "203.0.113.10:5000"),
    ] {
        assert_eq!(reason(bench.send(refused)), DropReason::TeredoEmbedded, "{refused}");
    }
    assert_eq!(reason(bench.send(v6("3ffe:831f::1"))), DropReason::NextHopUnresolvable);
    assert_eq!(reason(bench.send(v6("fe80::1"))), DropReason::NextHopUnresolvable);
    assert_eq!(reason(bench.send(v6("ff02::1"))), DropReason::Multicast);
    assert_eq!(reason(bench.send(bench.address())), DropReason::DestinationRefused);
    assert_eq!(reason(bench.send_packet(&data(v6("2001:db8::7"), native()))), DropReason::SourceUnusable);
    assert!(bench.take().is_empty());
}

/// Neither to its own server nor to a peer's, nor to where a bubble asks for an answer.
#[test]
fn tun_4_ter_40_a_client_sends_to_no_broadcast_address() {
    let locator = Some(Locator { address: Ipv4Addr::new(203, 0, 113, 5), subnet_length: 24 });
    let broadcast = Ipv4Addr::new(203, 0, 113, 255);
    let silent = |server| {
        let mut client: TestClient = Client::new(ClientConfig::new(server, PORT), LINK);
        let (mut now, mut draws) = (Instant::from_secs(1), Draws::default());
        client.set_locator(now, locator);
        let (mut buffer, mut sent) = ([0; 200], 0);
        while now < Instant::from_secs(60) {
            client.handle_timeout(now, &mut draws);
            while client.poll_transmit(&mut PacketMut::empty(&mut buffer)).unwrap().is_some() {
                sent += 1;
            }
            while client.poll_event().is_some() {}
            let next = client.poll_timeout().unwrap();
            assert!(next > now, "I7");
            now = next;
        }
        assert!(matches!(client.status().stage, Stage::Offline(OfflineReason::ServerSilent)) || sent > 0);
        sent == 0
    };
    assert!(silent(broadcast) && !silent(SERVER));

    let mut bench = Bench::qualified();
    bench.client.locator = locator;
    let client = endpoint("192.0.2.77:5000");
    let peer = Address { server: broadcast, flags: Flags::empty(), port: client.port(), client: *client.ip() };
    assert_eq!(reason(bench.send(peer.to_ipv6())), DropReason::TeredoEmbedded);
    let indirect = with_origin(&bubble(peer.to_ipv6(), bench.address()), client);
    assert_eq!(reason(bench.receive(server_at(SERVER), &indirect)), DropReason::TeredoEmbedded);
    assert!(bench.take().is_empty());
}

#[test]
fn ter_96_the_indirect_bubble_of_a_relay_is_answered_to_its_origin() {
    let mut bench = Bench::qualified();
    let relay = endpoint("198.51.100.50:3545");
    let hashed = v6("fe80::6417:cee2:b183:2e3d");
    let mut indirect = bubble(hashed, bench.address());
    indirect[7] = 0;
    let indirect = with_origin(&indirect, relay);
    assert_eq!(bench.receive(server_at(SERVER), &indirect), Verdict::Consumed { link: LINK });
    let sent = bench.take();
    assert_eq!(sent.len(), 1);
    assert_eq!((sent[0].to, sent[0].port), (relay, PORT));
    assert_eq!(sent[0].payload, bubble(bench.address(), hashed));
    // From the secondary address as well; not from anybody else.
    assert_eq!(bench.receive(server_at(SECOND), &indirect), Verdict::Consumed { link: LINK });
    assert_eq!(bench.take().len(), 1);
    assert_eq!(reason(bench.receive(relay, &indirect)), DropReason::InnerSourceRefused);
    assert!(bench.take().is_empty());
    // TER-40 holds for an origin too.
    let inside = with_origin(&bubble(hashed, bench.address()), endpoint("10.0.0.1:3545"));
    assert_eq!(reason(bench.receive(server_at(SERVER), &inside)), DropReason::TeredoEmbedded);
    // A native source is answered and tested.
    let native_bubble = with_origin(&bubble(native(), bench.address()), relay);
    bench.receive(server_at(SERVER), &native_bubble);
    let sent = bench.take();
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().any(|sent| sent.payload == bubble(bench.address(), native()) && sent.to == relay));
    assert!(sent.iter().any(|sent| sent.is_test() && sent.to == server_at(SERVER)));
    // A data packet with an origin never makes its source trusted.
    let with_data = with_origin(&data(peer_b().1, bench.address()), peer_b().0);
    assert_eq!(reason(bench.receive(server_at(SERVER), &with_data)), DropReason::TeredoMapping);
}

#[test]
fn ter_96_ter_98_ter_70_ter_46_the_indirect_bubble_of_a_client_is_answered_with_its_nonce() {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    let nonce = [0x12, 0x34, 0x56, 0x78];
    let indirect = with_origin(&with_nonce(bubble(b, bench.address()), nonce), at);
    assert_eq!(bench.receive(server_at(SERVER), &indirect), Verdict::Consumed { link: LINK });
    let sent = bench.take();
    // TER-46: and an indirect one of its own, to an untrusted peer.
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!((sent[0].to, sent[0].trailers().nonce), (at, Some(nonce)));
    assert_eq!(sent[1].to, server_at(SERVER_B));
    assert!(!bench.peer(&b).unwrap().is_trusted(), "TER-39: an indirect bubble proves nothing");
    // At once again, but not an indirect one within 2 s, and not a fifth.
    for expected in [1, 1, 1, 0, 0] {
        bench.receive(server_at(SERVER), &indirect);
        assert_eq!(bench.take().len(), expected);
    }
    // Without a nonce the next one carries none. Some servers omit the origin.
    let mut bench = Bench::qualified();
    bench.receive(server_at(SERVER), &indirect);
    bench.take();
    bench.receive(server_at(SERVER), &bubble(b, bench.address()));
    let sent = bench.take();
    assert_eq!((sent[0].to, sent[0].trailers().nonce), (at, None));
    // The letter of the RFC, by a knob.
    let strict = ClientConfig { strict_bubble_timer: true, ..ClientConfig::new(SERVER, PORT) };
    let mut bench = Bench::qualified_with(strict, |_| mapped());
    bench.receive(server_at(SERVER), &indirect);
    assert_eq!(bench.take().len(), 2);
    bench.receive(server_at(SERVER), &indirect);
    assert!(bench.take().is_empty());
}

#[test]
fn ter_71_ter_74_a_direct_bubble_from_elsewhere_needs_the_nonce() {
    let mut bench = Bench::qualified();
    let (_, b) = peer_b();
    let elsewhere = endpoint("203.0.113.10:60000");
    let held = ticket(bench.send(b));
    let nonce = bench.take()[1].trailers().nonce.unwrap();
    for wrong in [None, Some([0; 4]), Some([nonce[0] ^ 1, nonce[1], nonce[2], nonce[3]])] {
        let forged = wrong.map_or(bubble(b, bench.address()), |wrong| with_nonce(bubble(b, bench.address()), wrong));
        assert_eq!(reason(bench.receive(elsewhere, &forged)), DropReason::TeredoMapping);
    }
    let answer = with_nonce(bubble(b, bench.address()), nonce);
    assert_eq!(bench.receive(elsewhere, &answer), Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    let peer = bench.peer(&b).unwrap();
    assert!(peer.is_verified() && peer.is_symmetric() && peer.is_trusted_at(elsewhere));
    assert_eq!(tunnelled(bench.send(b)), (PORT, elsewhere));
    // Trusted there, it needs no nonce any more.
    assert_eq!(bench.receive(elsewhere, &bubble(b, bench.address())), Verdict::Consumed { link: LINK });
    // Data with a nonce behind it is no bubble.
    let mut bench = Bench::qualified();
    bench.send(b);
    let nonce = bench.take()[1].trailers().nonce.unwrap();
    let tail = with_nonce(data(b, bench.address()), nonce);
    assert_eq!(reason(bench.receive(elsewhere, &tail)), DropReason::TeredoMapping);
}

/// miredo behind a symmetric NAT, as seen on the wire: it answers the bubble that
/// came by its server from another port than its address says, and repeats no nonce.
#[test]
fn ter_102_ter_71_a_peer_without_nonces_proves_where_it_is_by_a_secret_source() {
    let mut bench = Bench::qualified();
    let (_, b) = peer_b();
    let elsewhere = endpoint("203.0.113.10:60000");
    let own = bench.address();
    let held = ticket(bench.send(b));
    assert_eq!(bench.take().len(), 2);
    // It is not believed for that, but asked from an address that it alone gets to know.
    assert_eq!(reason(bench.receive(elsewhere, &bubble(b, own))), DropReason::TeredoMapping);
    let asked = bench.take();
    assert_eq!(asked.len(), 1, "{asked:?}");
    let (secret, to, is_bubble) = asked[0].header();
    assert_eq!((asked[0].port, asked[0].to, to, is_bubble), (PORT, server_at(SERVER_B), b, true));
    // miredo's check of a length without trailers is met as well.
    assert!(secret.is_unicast_link_local() && asked[0].payload.len() == 40, "{asked:?}");
    // Once for each attempt, whoever goes on.
    for _ in 0..3 {
        assert_eq!(reason(bench.receive(elsewhere, &bubble(b, own))), DropReason::TeredoMapping);
    }
    assert!(bench.take().is_empty());
    bench.wait(Duration::from_secs(2));
    assert_eq!(bench.take().len(), 2);
    assert_eq!(reason(bench.receive(elsewhere, &bubble(b, own))), DropReason::TeredoMapping);
    let again = bench.take()[0].header().0;
    assert_ne!(again, secret, "each attempt has another");

    let other = v6("2001:0:cb00:7178:0:dfff:34ff:8ef4");
    let guess = Ipv6Addr::from_bits(again.to_bits() ^ 1);
    let refused = DropReason::TeredoDestination;
    for (from, wrong) in [
        (elsewhere, bubble(b, guess)),
        (elsewhere, bubble(b, secret)),
        // Another peer knows nothing of it; data is no bubble; the server relays.
        (elsewhere, bubble(other, again)),
        (elsewhere, data(b, again)),
        (server_at(SERVER), with_origin(&bubble(b, again), elsewhere)),
        // To there nothing would be sent.
        (endpoint("127.0.0.1:7"), bubble(b, again)),
        (endpoint("255.255.255.255:7"), bubble(b, again)),
    ] {
        assert_eq!(reason(bench.receive(from, &wrong)), refused, "{from} {wrong:02x?}");
    }
    assert!(bench.events().is_empty());

    assert_eq!(bench.receive(elsewhere, &bubble(b, again)), Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    let peer = bench.peer(&b).unwrap();
    assert!(peer.is_verified() && peer.is_symmetric() && peer.is_trusted_at(elsewhere));
    // A bubble from where our address says, so that it believes us, and the data.
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].to, sent[0].header()), (1, elsewhere, (own, b, true)));
    assert_eq!(tunnelled(bench.send(b)), (PORT, elsewhere));
    let delivered = Verdict::Deliver { link: LINK, from: Admitted::Remote };
    assert_eq!(bench.receive(elsewhere, &data(b, own)), delivered);
}

/// Who is not asked for gets no such bubble, nor does a client behind a symmetric NAT,
/// which could not hear the answer, send one: `TER-99`.
#[test]
fn ter_102_ter_99_a_secret_source_is_used_only_where_it_can_help() {
    let (_, b) = peer_b();
    let elsewhere = endpoint("203.0.113.10:60000");
    let mut idle = Bench::qualified();
    assert_eq!(reason(idle.receive(elsewhere, &bubble(b, idle.address()))), DropReason::TeredoMapping);
    // No nonce, no secret: not even the one that the key alone would give.
    assert_eq!(reason(idle.receive(elsewhere, &bubble(b, v6("fe80::1")))), DropReason::TeredoDestination);
    assert!(idle.take().is_empty());
    let mut symmetric = port_preserving();
    symmetric.send(b);
    symmetric.take();
    assert_eq!(reason(symmetric.receive(elsewhere, &bubble(b, symmetric.address()))), DropReason::TeredoMapping);
    assert!(symmetric.take().is_empty());
}

#[test]
fn ter_84_ter_21_alternate_addresses_get_a_bubble_each() {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    let alternates = |list: &[SocketAddrV4]| {
        let mut bubble = with_nonce(bubble(b, bench.address()), [1, 2, 3, 4]);
        bubble.extend(written(|writer| emit_alternates(writer, list)));
        with_origin(&bubble, at)
    };
    let near = endpoint("192.168.1.3:50000");
    let good = alternates(&[near, SocketAddrV4::new(LOCAL, 1)]);
    let malformed = alternates(&[endpoint("224.0.0.1:50000")]);
    bench.receive(server_at(SERVER), &good);
    let sent = bench.take();
    let to: Vec<_> = sent.iter().map(|sent| sent.to).collect();
    assert_eq!(to, [at, near, server_at(SERVER_B)], "not to our own address");
    assert!(sent[..2].iter().all(|sent| sent.trailers().nonce == Some([1, 2, 3, 4])));
    assert_eq!(reason(bench.receive(server_at(SERVER), &malformed)), DropReason::TeredoAlternates);
    // Hairpinning: the answer from there counts by its nonce.
    let nonce = sent[2].trailers().nonce.unwrap();
    bench.receive(near, &with_nonce(bubble(b, bench.address()), nonce));
    assert!(bench.peer(&b).unwrap().is_trusted_at(near));
    // It may not have heard us yet.
    assert_eq!(bench.take().iter().map(|sent| sent.to).collect::<Vec<_>>(), [near]);
    // To a trusted peer one, where it is.
    bench.receive(server_at(SERVER), &good);
    let to: Vec<_> = bench.take().iter().map(|sent| sent.to).collect();
    assert_eq!(to, [near]);
}

#[test]
fn ter_83_ter_72_ter_73_what_upnp_has_got_is_an_alternate_unless_it_is_the_mapping() {
    let mut bench = Bench::qualified();
    let upnp = endpoint("10.9.9.9:40000");
    bench.client.port_mapped(Some(upnp));
    bench.send(peer_b().1);
    let sent = bench.take();
    let alternates: Vec<_> = sent[1].trailers().alternates.unwrap().addresses().unwrap().collect();
    assert_eq!(alternates, [SocketAddrV4::new(LOCAL, PORT), upnp]);
    // A single NAT: what it says is what the server says.
    let mut bench = Bench::new(ClientConfig::new(SERVER, PORT));
    bench.client.set_locator(bench.now, Some(Locator { address: LOCAL, subnet_length: 24 }));
    bench.client.port_mapped(Some(mapped()));
    for _ in 0..2 {
        let asked = bench.take();
        bench.solicited(&asked, |_| mapped());
    }
    assert_eq!(bench.client.opened, Opened::Mapping);
    // The router may answer when the server has done so already.
    let mut bench = Bench::qualified();
    bench.client.port_mapped(Some(mapped()));
    assert_eq!(bench.client.opened, Opened::Mapping);
}

/// Both sides have opened ports in symmetric NATs: what others see of a packet
/// leads nowhere, the port in the address does. [RFC 6081 §5.3.4]
#[test]
fn ter_74_between_opened_ports_packets_go_where_the_address_says() {
    let nat = |server| if server == SERVER { mapped() } else { endpoint("192.0.2.1:7777") };
    for opened in [None, Some(mapped()), Some(endpoint("10.9.9.9:40000"))] {
        let mut config = ClientConfig::new(SERVER, PORT);
        config.sequential_ports = false;
        let mut bench = Bench::qualified_with(config, nat);
        bench.client.port_mapped(opened);
        let (at, b) = peer_b();
        let own = bench.address();
        let seen = SocketAddrV4::new(*at.ip(), 9999);
        bench.send(b);
        let asked = bench.take();
        let nonce = asked.iter().find(|sent| sent.to == server_at(SERVER_B)).unwrap().trailers().nonce.unwrap();
        bench.receive(server_at(SERVER), &with_origin(&with_nonce(bubble(b, own), [7; 4]), at));
        bench.receive(seen, &with_nonce(bubble(b, own), nonce));
        assert!(bench.peer(&b).unwrap().is_trusted_at(seen));
        // With another mapping than the server sees there is another NAT yet.
        let expected = if opened == Some(mapped()) { at } else { seen };
        assert_eq!(tunnelled(bench.send(b)).1, expected, "{opened:?}");
    }
}

#[test]
fn ter_85_a_silent_peer_is_asked_before_its_server_is() {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    let indirect = with_origin(&with_nonce(bubble(b, bench.address()), [9; 4]), at);
    bench.receive(server_at(SERVER), &indirect);
    bench.receive(at, &bubble(b, bench.address()));
    bench.wait(Duration::from_secs(40));
    bench.take();
    let held = ticket(bench.send(b));
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].to), (1, at));
    assert_eq!(sent[0].trailers().sign_of_life, Some(SignOfLife::Solicitation));
    let advertisement = [bubble(b, bench.address()), hex("04 04 01000000")].concat();
    bench.receive(at, &advertisement);
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert!(bench.take().is_empty(), "no answer to an advertisement");
    assert_eq!(tunnelled(bench.send(b)), (PORT, at));

    // Three questions, then a new connection.
    bench.wait(Duration::from_secs(40));
    bench.take();
    ticket(bench.send(b));
    for _ in 0..3 {
        let sent = bench.take();
        assert_eq!((sent.len(), sent[0].trailers().sign_of_life), (1, Some(SignOfLife::Solicitation)));
        bench.wait(Duration::from_secs(2));
    }
    assert!(bench.take().iter().any(|sent| sent.to == server_at(SERVER_B)));

    // A solicitation MUST be answered.
    let mut bench = connected();
    bench.receive(at, &[bubble(b, bench.address()), hex("04 04 00000000")].concat());
    let sent = bench.take();
    assert_eq!((sent[0].to, sent[0].trailers().sign_of_life), (at, Some(SignOfLife::Advertisement)));
}

#[test]
fn a_peer_that_is_trusted_and_silent_gets_bubbles_again() {
    let mut bench = connected();
    let (at, b) = peer_b();
    bench.wait(Duration::from_secs(31));
    bench.take();
    let held = ticket(bench.send(b));
    assert_eq!(bench.take().len(), 2);
    bench.receive(at, &data(b, bench.address()));
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
}

/// Behind a symmetric NAT that keeps port numbers: both servers see the
/// address, the first one the local port.
fn port_preserving() -> Bench {
    let nat = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { PORT } else { 1025 });
    Bench::qualified_with(ClientConfig::new(SERVER, PORT), nat)
}

#[test]
fn ter_75_ter_76_ter_79_a_port_of_its_own_for_a_peer() {
    let mut bench = port_preserving();
    let (at, b) = peer_b();
    let status = bench.client.status();
    assert_eq!((status.nat, status.port_preserving), (NatKind::Symmetric, true));
    let held = ticket(bench.send(b));
    let sent = bench.take();
    let events = bench.events();
    let [Event::OpenPort { port: random, .. }] = events[..] else { panic!("{events:?}") };
    assert!(random != PORT);
    let indirect = sent.iter().find(|sent| sent.to == server_at(SERVER_B)).unwrap();
    assert_eq!((indirect.port, indirect.trailers().random_port), (PORT, Some(random)));
    let nonce = indirect.trailers().nonce.unwrap();
    let direct: Vec<_> = sent.iter().filter(|sent| sent.to == at).map(|sent| sent.port).collect();
    assert_eq!(direct, [PORT]);
    // Heard on the random port. The peer sees us elsewhere than our address
    // says, and knows us by its own nonce only: data waits for that.
    let mut silent = bench.clone();
    bench.receive_at(random, at, &with_nonce(bubble(b, bench.address()), nonce));
    assert_eq!(bench.events(), []);
    let answer = with_origin(&with_nonce(bubble(b, bench.address()), [6; 4]), at);
    bench.receive(server_at(SERVER), &answer);
    let sent = bench.take();
    assert_eq!((sent[0].port, sent[0].to, sent[0].trailers().nonce), (random, at, Some([6; 4])));
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    // A peer without RFC 6081 has none to tell: not for long.
    silent.receive_at(random, at, &bubble(b, silent.address()));
    silent.wait(CONFIRM);
    assert_eq!(silent.events(), [Event::Released { link: LINK, ticket: held }]);
    // Data goes from where it was heard.
    assert_eq!(tunnelled(bench.send(b)), (random, at));
    // TER-75: kept alive while no data goes, 20 times.
    bench.wait(Duration::from_secs(29));
    bench.take();
    let refreshes = |bench: &mut Bench| {
        let sent = bench.take();
        sent.iter().filter(|sent| sent.port == random && sent.to == at).count()
    };
    bench.wait(Duration::from_secs(31));
    assert_eq!(refreshes(&mut bench), 2, "after 30 s and after 60 s");
    bench.wait(Duration::from_secs(3600));
    assert!((15..=20).contains(&refreshes(&mut bench)));
    assert!(bench.events().contains(&Event::ClosePort { link: LINK, port: random }));
}

#[test]
fn ter_79_heard_on_the_primary_port_the_other_one_is_closed() {
    let mut bench = port_preserving();
    let (at, b) = peer_b();
    bench.send(b);
    bench.take();
    let [Event::OpenPort { port: random, .. }] = bench.events()[..] else { panic!() };
    bench.receive_at(random, at, &bubble(b, bench.address()));
    assert_eq!(tunnelled(bench.send(b)), (random, at));
    bench.receive(at, &bubble(b, bench.address()));
    assert!(bench.events().contains(&Event::ClosePort { link: LINK, port: random }));
    assert_eq!(tunnelled(bench.send(b)), (PORT, at));
    // A packet at a port that is nobody's.
    assert_eq!(reason(bench.receive_at(random, at, &data(b, bench.address()))), DropReason::TeredoMapping);
}

#[test]
fn ter_77_ter_78_ter_100_the_peers_random_port_gets_a_bubble() {
    let (at, b) = peer_b();
    let indirect = |own: Ipv6Addr, port: u16| {
        let mut bubble = with_nonce(bubble(b, own), [5; 4]);
        bubble.extend(written(|writer| Trailer::RandomPort(port).emit(writer)));
        with_origin(&bubble, at)
    };
    let random = |port| SocketAddrV4::new(*at.ip(), port);
    // Not symmetric: from the primary port, without a trailer of its own.
    let mut bench = Bench::qualified();
    let own = bench.address();
    bench.receive(server_at(SERVER), &indirect(own, 50_000));
    let sent = bench.take();
    let to_random = sent.iter().find(|sent| sent.to == random(50_000)).unwrap();
    assert_eq!((to_random.port, to_random.trailers().random_port), (PORT, None));
    assert_eq!(to_random.trailers().nonce, Some([5; 4]));
    assert!(sent.iter().any(|sent| sent.to == at));
    // Symmetric: from a port of its own, which the trailer names.
    let mut bench = port_preserving();
    let own = bench.address();
    bench.receive(server_at(SERVER), &indirect(own, 50_000));
    let sent = bench.take();
    let opened = bench.events();
    let [Event::OpenPort { port: own_random, .. }] = opened[..] else { panic!("{opened:?}") };
    let to_random = sent.iter().find(|sent| sent.to == random(50_000)).unwrap();
    assert_eq!((to_random.port, to_random.trailers().random_port), (own_random, Some(own_random)));
    // Another one is stored only after 30 s of silence.
    bench.receive(server_at(SERVER), &indirect(own, 50_001));
    assert!(bench.take().iter().all(|sent| sent.to != random(50_001)));
    bench.wait(Duration::from_secs(320));
    bench.take();
    bench.receive(server_at(SERVER), &indirect(own, 50_001));
    assert!(bench.take().iter().any(|sent| sent.to == random(50_001)));
}

#[test]
fn ter_80_ter_81_ter_101_a_sequential_nat_is_asked_for_its_next_port() {
    let nat = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { 1100 } else { 1101 });
    let mut bench = Bench::qualified_with(ClientConfig::new(SERVER, PORT), nat);
    let (at, b) = peer_b();
    let address = bench.address();
    bench.send(b);
    let sent = bench.take();
    let [Event::OpenPort { port: random, .. }] = bench.events()[..] else { panic!() };
    let to: Vec<_> = sent.iter().filter(|sent| sent.port == random).map(|sent| sent.to).collect();
    assert_eq!(to, [server_at(SERVER), at, server_at(SECOND)], "in this order");
    assert!(sent.iter().all(|sent| sent.to != server_at(SERVER_B)), "no indirect bubble yet");
    // 1200, then the peer, then 1202: the peer sees 1201.
    let seen = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { 1200 } else { 1202 });
    let probes: Vec<_> = sent.into_iter().filter(|sent| sent.port == random && sent.to != at).collect();
    bench.solicited(&probes, seen);
    let sent = bench.take();
    let indirect = sent.iter().find(|sent| sent.to == server_at(SERVER_B)).unwrap();
    assert_eq!(indirect.trailers().random_port, Some(1201));
    // TER-101: the client's own mapping is what it was.
    assert_eq!((bench.address(), bench.client.status().mapping), (address, Some(nat(SERVER))));
    // The peer's bubble arrives at the port that listens.
    bench.receive_at(random, at, &bubble(b, bench.address()));
    assert_eq!(tunnelled(bench.send(b)), (random, at));
}

#[test]
fn ter_82_an_echo_test_without_answer_is_repeated_once() {
    let nat = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { 1100 } else { 1101 });
    let mut bench = Bench::qualified_with(ClientConfig::new(SERVER, PORT), nat);
    let (at, b) = peer_b();
    bench.send(b);
    let probes = |sent: &[Sent]| sent.iter().filter(|sent| sent.port != PORT).count();
    assert_eq!(probes(&bench.take()), 3);
    bench.wait(Duration::from_secs(1));
    let sent = bench.take();
    assert_eq!(probes(&sent), 3);
    bench.wait(Duration::from_secs(2));
    let sent = bench.take();
    assert!(sent.iter().any(|sent| sent.to == server_at(SERVER_B)), "the bubble goes anyway");
    // Heard on the primary port: all of it ends.
    bench.receive(at, &bubble(b, bench.address()));
    bench.take();
    assert!(bench.events().iter().any(|event| matches!(event, Event::ClosePort { .. })));
    assert_eq!(tunnelled(bench.send(b)), (PORT, at));
}

/// What an outsider's bubbles began, and what failed of it, is not the host's own connection.
#[test]
fn ter_80_a_port_that_failed_for_an_outsider_leaves_the_hosts_own_port_test() {
    let nat = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { 1100 } else { 1101 });
    let mut bench = Bench::qualified_with(ClientConfig::new(SERVER, PORT), nat);
    let (at, b) = peer_b();
    let probes = |bench: &mut Bench| bench.take().iter().filter(|sent| sent.port != PORT && sent.to == at).count();
    bench.receive(server_at(SERVER), &with_origin(&with_nonce(bubble(b, bench.address()), [5; 4]), at));
    bench.wait(PRIMARY_FIRST + Duration::from_secs(2));
    assert_eq!(probes(&mut bench), 2);
    let opened = bench.events();
    let [Event::OpenPort { port, .. }] = opened[..] else { panic!("{opened:?}") };
    bench.client.port_failed(bench.now, port);
    bench.wait(Duration::from_secs(5));
    assert_eq!(probes(&mut bench), 0);
    bench.send(b);
    assert_eq!(probes(&mut bench), 1);
}

/// A client behind a NAT that counts, and the ports that it has open.
struct Strange {
    bench: Bench,
    open: Vec<u16>,
}

impl Strange {
    fn new() -> Self {
        let nat = |server| SocketAddrV4::new(*mapped().ip(), if server == SERVER { 1100 } else { 1101 });
        Strange { bench: Bench::qualified_with(ClientConfig::new(SERVER, PORT), nat), open: vec![] }
    }

    /// A bubble of the stranger with this number comes by its server.
    fn bubble(&mut self, n: u8) {
        let at = SocketAddrV4::new(Ipv4Addr::new(203, 0, 113, 100 + n), 5000);
        let stranger = Address { server: SERVER_B, flags: Flags::empty(), port: 5000, client: *at.ip() }.to_ipv6();
        let bubble = with_nonce(bubble(stranger, self.bench.address()), [n; 4]);
        self.bench.receive(server_at(SERVER), &with_origin(&bubble, at));
    }

    fn wait(&mut self, secs: u64) {
        self.bench.wait(Duration::from_secs(secs));
        for event in self.bench.events() {
            match event {
                Event::OpenPort { port, .. } => self.open.push(port),
                Event::ClosePort { port, .. } => self.open.retain(|one| *one != port),
                _ => {}
            }
        }
    }
}

/// Ports that strangers have a client open are closed when nobody is heard on them, and leave
/// half of the rows to the host.
#[test]
fn strangers_bubbles_take_neither_all_rows_nor_ports_for_ever() {
    let mut strange = Strange::new();
    for n in 0..64 {
        strange.bubble(n);
        strange.wait(1);
        assert!(!strange.open.is_empty() && strange.open.len() <= 8, "{:?} after {n}", strange.open);
    }
    // The host's own packet finds a row, whatever strangers do.
    assert!(matches!(strange.bench.send(peer_b().1), Verdict::Hold { .. }));
    strange.wait(45);
    assert_eq!(strange.open, []);
}

/// A row that went idle keeps its address, and is no stranger's for that.
#[test]
fn strangers_who_come_again_find_no_more_rows_than_new_ones() {
    let mut strange = Strange::new();
    for all in [0..8, 8..16] {
        all.for_each(|n| strange.bubble(n));
        strange.wait(1);
        assert_eq!(strange.open.len(), 8);
        strange.wait(13);
        assert_eq!(strange.open, []);
    }
    (0..16).for_each(|n| strange.bubble(n));
    strange.wait(1);
    assert_eq!(strange.open.len(), 8);
    assert!(matches!(strange.bench.send(peer_b().1), Verdict::Hold { .. }));
}

#[test]
fn ter_50_ter_51_ter_52_local_discovery_is_off_and_finds_neighbours_when_on() {
    let near = endpoint("192.168.1.3:50000");
    // Another port of the same NAT.
    let b = Address { server: SERVER, flags: Flags::empty(), port: 4097, client: *mapped().ip() }.to_ipv6();
    let group = |from| Path { from, to: SocketAddrV4::new(DISCOVERY_GROUP, SERVER_PORT) };
    let hello = written(|writer| Bubble::discovery(b).emit(writer));
    let mut off = Bench::qualified();
    assert_eq!(reason(off.receive_raw(group(near), &hello)), DropReason::TeredoDiscovery);
    off.wait(Duration::from_secs(400));
    assert!(off.take().iter().all(|sent| *sent.to.ip() != DISCOVERY_GROUP));

    let config = ClientConfig { local_discovery: true, ..ClientConfig::new(SERVER, PORT) };
    let mut bench = Bench::qualified_with(config, |_| mapped());
    let refused = |from: SocketAddrV4, payload: &[u8]| {
        let mut bench = bench.clone();
        let verdict = bench.receive_raw(group(from), payload);
        assert!(bench.take().is_empty());
        reason(verdict)
    };
    assert_eq!(refused(endpoint("192.168.2.3:50000"), &hello), DropReason::TeredoDiscovery);
    let foreign = written(|writer| Bubble::discovery(native()).emit(writer));
    assert_eq!(refused(near, &foreign), DropReason::TeredoDiscovery);
    let elsewhere = written(|writer| Bubble::discovery(peer_b().1).emit(writer));
    assert_eq!(refused(near, &elsewhere), DropReason::TeredoDiscovery);
    assert_eq!(refused(near, &data(b, bench.address())), DropReason::TeredoDiscovery);
    // Unicast: not a discovery bubble.
    assert_eq!(reason(bench.clone().receive(near, &hello)), DropReason::TeredoDestination);

    assert_eq!(bench.receive_raw(group(near), &hello), Verdict::Consumed { link: LINK });
    assert!(!bench.peer(&b).unwrap().is_trusted());
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].to, sent[0].payload.clone()), (1, near, bubble(bench.address(), b)));
    // Case 3, then case 5 of reception.
    bench.wait(Duration::from_secs(3));
    bench.take();
    let held = ticket(bench.send(b));
    let sent = bench.take();
    assert_eq!(sent.iter().map(|sent| sent.to).collect::<Vec<_>>(), [near, SocketAddrV4::new(DISCOVERY_GROUP, 3544)]);
    assert_eq!(sent[1].ttl, 1);
    assert_eq!(bench.receive(near, &bubble(b, bench.address())), Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert_eq!(tunnelled(bench.send(b)), (PORT, near));
}

#[test]
fn local_discovery_speaks_every_two_hundred_to_three_hundred_seconds() {
    let config = ClientConfig { local_discovery: true, ..ClientConfig::new(SERVER, PORT) };
    let mut bench = Bench::qualified_with(config, |_| mapped());
    let mut times = vec![];
    for _ in 0..4000 {
        bench.wait(Duration::from_secs(1));
        for sent in bench.take() {
            if *sent.to.ip() == DISCOVERY_GROUP {
                assert_eq!((sent.ttl, sent.to.port(), sent.port), (1, SERVER_PORT, PORT));
                assert_eq!(sent.payload, written(|writer| Bubble::discovery(bench.address()).emit(writer)));
                times.push(bench.now);
            }
        }
    }
    assert!(times.len() > 10);
    for two in times.windows(2) {
        let gap = two[1].saturating_duration_since(two[0]).as_secs();
        assert!((200..=301).contains(&gap), "{gap}");
    }
}

#[test]
fn ter_3_case_4_is_for_those_who_trust_the_cone_bit() {
    let cone = v6("2001:0:cb00:7178:8000:dfff:34ff:8ef5");
    let (at, _) = peer_b();
    let mut bench = Bench::qualified();
    ticket(bench.send(cone));
    let config = ClientConfig { trust_cone: true, ..ClientConfig::new(SERVER, PORT) };
    let mut bench = Bench::qualified_with(config, |_| mapped());
    assert_eq!(tunnelled(bench.send(cone)), (PORT, at));
}

#[test]
fn ter_96_a_server_that_is_a_relay_delivers_without_an_origin() {
    let mut bench = Bench::qualified();
    bench.send(native());
    let test = bench.take()[0].payload.clone();
    assert_eq!(bench.receive(server_at(SERVER), &echo_reply(&test)), Verdict::Consumed { link: LINK });
    let delivered = Verdict::Deliver { link: LINK, from: Admitted::Remote };
    assert_eq!(bench.receive(server_at(SERVER), &data(native(), bench.address())), delivered);
}

#[test]
fn a_forged_advertisement_changes_nothing() {
    let mut bench = Bench::qualified();
    bench.online = false;
    let before = bench.address();
    bench.wait(Duration::from_secs(30));
    let asked = bench.take();
    let mut solicitation = asked[0].payload.clone();
    solicitation[5] ^= 1;
    let forged = advertisement(&solicitation, endpoint("192.0.2.66:666"), SERVER);
    assert_eq!(reason(bench.receive(server_at(SERVER), &forged)), DropReason::TeredoNonce);
    let real = advertisement(&asked[0].payload, endpoint("192.0.2.66:666"), SERVER);
    assert_eq!(reason(bench.receive(endpoint("192.0.2.66:3544"), &real)), DropReason::TeredoAdvertisement);
    assert_eq!(reason(bench.receive_at(50_000, server_at(SERVER), &real)), DropReason::TeredoNonce);
    assert_eq!(bench.address(), before);
}

#[test]
fn the_tickets_of_one_wait_are_not_those_of_the_next() {
    let mut bench = Bench::qualified();
    let (at, b) = peer_b();
    let first = ticket(bench.send(b));
    bench.receive(at, &bubble(b, bench.address()));
    bench.events();
    // The row goes to fifteen others and comes back.
    for n in 0..40_u16 {
        let other = Address { server: SERVER_B, flags: Flags::empty(), port: 9000 + n, client: *at.ip() };
        bench.send(other.to_ipv6());
        bench.wait(Duration::from_secs(9));
    }
    bench.wait(Duration::from_secs(31));
    bench.take();
    bench.events();
    assert_ne!(ticket(bench.send(b)), first);
}

#[test]
fn a_short_buffer_loses_nothing() {
    let mut bench = Bench::qualified();
    bench.client.encapsulate(bench.now, &mut {
        let bytes = data(bench.client.address().unwrap(), peer_b().1);
        let leaked = vec![0; 300].leak();
        let mut packet = PacketMut::empty(leaked);
        packet.copy_from(&bytes).unwrap();
        packet
    });
    bench.client.handle_timeout(bench.now, &mut bench.draws);
    let mut short = [0; HEADROOM + 39];
    let mut packet = PacketMut::empty(&mut short);
    assert!(bench.client.poll_transmit(&mut packet).is_err());
    assert!(bench.client.poll_transmit(&mut packet).is_err());
    assert_eq!(bench.take().len(), 2);
}

/// What is believed at an address is answered there, so nobody is at one
/// that cannot be another node's, even if he knows the nonce.
#[test]
fn nobody_is_believed_at_an_address_that_is_no_other_nodes() {
    let mut bench = Bench::qualified();
    let (_, b) = peer_b();
    let own = bench.address();
    bench.send(b);
    let asked = bench.take();
    let indirect = asked.iter().find(|sent| sent.to == server_at(SERVER_B)).unwrap();
    let bubble = with_nonce(bubble(b, own), indirect.trailers().nonce.unwrap());
    for impossible in ["192.168.1.2:9", "127.0.0.1:9", "0.0.0.0:9", "224.0.0.1:9", "203.0.113.11:0"] {
        assert_eq!(reason(bench.receive(endpoint(impossible), &bubble)), DropReason::OuterSourceRefused);
    }
    assert!(!bench.peer(&b).unwrap().is_trusted());
    assert_eq!(bench.receive(endpoint("192.168.1.3:9"), &bubble), Verdict::Consumed { link: LINK });
    assert!(bench.peer(&b).unwrap().is_trusted());
}

/// What the second port sends, and hears; the server carries its bubble.
fn determining() -> (Bench, u16) {
    let mut config = ClientConfig::new(SERVER, PORT);
    config.interval_determination = true;
    let mut bench = Bench::qualified_with(config, |_| mapped());
    // Its first question was thrown away above; here comes the second.
    bench.wait(Duration::from_secs(4));
    let port = bench.client.determination.port();
    assert!(port != 0 && port != PORT);
    (bench, port)
}

/// [RFC 4380 §5.2.7]: left alone for a minute, then a bubble by the server.
#[test]
fn a_second_port_finds_out_how_long_the_nat_keeps_a_mapping() {
    let (mut bench, port) = determining();
    let second = endpoint("192.0.2.1:7000");
    let mut bubbles = vec![];
    // The NAT forgets after 80 s: 60 s hold, 90 s do not, 75 s do.
    for (candidate, holds) in [(60, true), (90, false), (75, true)] {
        let asked = bench.take().into_iter().find(|sent| sent.port == port).unwrap();
        assert_eq!((asked.to, asked.payload.len()), (server_at(SERVER), 61));
        bench.receive_at(port, server_at(SERVER), &advertisement(&asked.payload, second, SERVER));
        let is_bubble = |sent: &Sent| sent.to == server_at(SERVER) && sent.payload.len() == 46;
        bench.wait(Duration::from_secs(candidate - 1));
        assert!(!bench.sent.iter().any(is_bubble), "{candidate}");
        bench.wait(Duration::from_secs(1));
        let bubble = bench.sent.iter().find(|sent| is_bubble(sent)).cloned().unwrap();
        let (source, destination, _) = bubble.header();
        assert_eq!((bubble.port, source), (PORT, bench.address()));
        let to = Address::from_ipv6(&destination).unwrap();
        assert_eq!((to.server, ingress::embedded_mapping(&to)), (SERVER, second));
        bench.sent.clear();
        if holds {
            let arrived = with_origin(&bubble.payload, mapped());
            assert_eq!(bench.receive_at(port, server_at(SERVER), &arrived), Verdict::Consumed { link: LINK });
        } else {
            bench.wait(Duration::from_secs(8));
            assert_eq!(bench.sent.iter().filter(|sent| is_bubble(sent)).count(), 3, "three repeats");
        }
        bubbles.push(bubble);
    }
    // 75 of 90 s: near enough. Nothing more, and the port is closed.
    assert_eq!(bench.client.status().refresh_interval, Duration::from_secs(75));
    assert_eq!(bench.client.determination.port(), 0);
    let closed = |event: &Event| matches!(event, Event::ClosePort { port: closed, .. } if *closed == port);
    assert!(bench.events().iter().any(closed));
    // TER-36: within that interval from now on.
    let heard = bench.client.status().server_heard;
    bench.online = false;
    bench.wait(Duration::from_secs(100));
    let silent = bench.now.saturating_duration_since(heard);
    assert!(bench.sent.iter().any(|sent| sent.payload.len() == 61), "{silent:?}");
}

/// Whoever forges what the second port waits for makes the interval no longer.
#[test]
fn the_second_port_believes_its_own_nonces_only_and_does_nothing_else() {
    let (mut bench, port) = determining();
    let own = bench.address();
    let asked = bench.take().into_iter().find(|sent| sent.port == port).unwrap();
    let second = endpoint("192.0.2.1:7000");
    let mut forged = advertisement(&asked.payload, endpoint("192.0.2.66:666"), SERVER);
    forged[4] ^= 1;
    assert_eq!(reason(bench.receive_at(port, server_at(SERVER), &forged)), DropReason::TeredoNonce);
    let answer = advertisement(&asked.payload, second, SERVER);
    assert_eq!(reason(bench.receive_at(port, endpoint("192.0.2.66:3544"), &answer)), DropReason::TeredoDestination);
    bench.receive_at(port, server_at(SERVER), &answer);
    bench.wait(Duration::from_secs(60));
    let bubble = bench.take().into_iter().find(|sent| sent.payload.len() == 46).unwrap();
    let mut forged = bubble.payload.clone();
    *forged.last_mut().unwrap() ^= 1;
    assert_eq!(reason(bench.receive_at(port, server_at(SERVER), &forged)), DropReason::TeredoNonce);
    // MUST NOT be used otherwise.
    let (at, b) = peer_b();
    assert_eq!(reason(bench.receive_at(port, at, &data(b, own))), DropReason::TeredoDestination);
    assert_eq!(
        reason(bench.receive_at(port, server_at(SERVER), &with_origin(&data(b, own), at))),
        DropReason::TeredoNonce
    );
    assert_eq!(bench.client.status().refresh_interval, crate::teredo::qualify::REFRESH_INTERVAL);
    assert!(bench.peer(&b).is_none());
    // The real one, once.
    assert_eq!(bench.receive_at(port, server_at(SERVER), &bubble.payload), Verdict::Consumed { link: LINK });
    assert_eq!(bench.client.status().refresh_interval, Duration::from_secs(60));
    assert!(matches!(bench.receive_at(port, server_at(SERVER), &bubble.payload), Verdict::Drop(_)));
}

#[test]
fn a_second_port_that_cannot_be_opened_leaves_the_interval_as_it_is() {
    let (mut bench, port) = determining();
    bench.client.port_failed(bench.now, port);
    assert!(!bench.events().iter().any(|event| matches!(event, Event::ClosePort { .. })));
    bench.take();
    bench.wait(Duration::from_secs(300));
    assert!(bench.sent.iter().all(|sent| sent.port == PORT));
    assert_eq!(bench.client.status().refresh_interval, crate::teredo::qualify::REFRESH_INTERVAL);
}
