#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::packet::HEADROOM;
use crate::teredo::carried::told::{self, Told};
use crate::teredo::ingress::is_global_unicast;
use crate::teredo::packet::Datagram;
use crate::time::Duration;
use crate::wire::field::Writer;
use crate::wire::ipv6;
use crate::wire::{hex, protocol};
use core::net::Ipv4Addr;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::format;
use std::string::String;
use std::vec;
use std::vec::Vec;

const LINK: LinkId = LinkId(2);
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
const PORT: u16 = 3545;

fn endpoint(text: &str) -> SocketAddrV4 {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn native() -> Ipv6Addr {
    v6("2001:db8::1")
}

fn client_at(at: SocketAddrV4) -> Ipv6Addr {
    let server = Ipv4Addr::new(198, 51, 100, 1);
    Address { server, flags: Flags::empty(), port: at.port(), client: *at.ip() }.to_ipv6()
}

fn client(n: u32) -> (SocketAddrV4, Ipv6Addr) {
    let at = SocketAddrV4::new(Ipv4Addr::from_bits(0x0900_0000 | n), 4096);
    (at, client_at(at))
}

fn config() -> RelayConfig {
    RelayConfig::new(RELAY.into(), PORT)
}

type TestRelay = Relay<[Peer; 64], [Wait; 8]>;

struct Bench<P: Storage<Peer> = [Peer; 64], Q: Storage<Wait> = [Wait; 8]> {
    relay: Relay<P, Q>,
    now: Instant,
    sent: Vec<(SocketAddrV4, Vec<u8>)>,
    /// When each was sent.
    times: Vec<Instant>,
    events: Vec<Event>,
    /// Decisions that others may carry out.
    told: Vec<Told>,
}

impl Bench {
    fn new(config: RelayConfig) -> Self {
        let relay: TestRelay = Relay::new(config, LINK);
        Bench::of(relay)
    }
}

impl<P: Storage<Peer>, Q: Storage<Wait>> Bench<P, Q> {
    fn of(relay: Relay<P, Q>) -> Self {
        let mut bench =
            Bench { relay, now: Instant::from_secs(1), sent: vec![], times: vec![], events: vec![], told: vec![] };
        bench.settle();
        bench
    }

    fn settle(&mut self) {
        loop {
            self.drain();
            match self.relay.poll_timeout() {
                Some(due) if due <= self.now => {
                    let mut draws = 0_u8;
                    let mut entropy = |out: &mut [u8]| {
                        for byte in out {
                            draws = draws.wrapping_mul(29).wrapping_add(113);
                            *byte = draws;
                        }
                    };
                    self.relay.handle_timeout(self.now, &mut entropy);
                }
                _ => break,
            }
            self.drain();
            assert!(self.relay.poll_timeout().is_none_or(|next| next > self.now));
        }
    }

    fn drain(&mut self) {
        let mut buffer = [0; 500];
        let mut packet = PacketMut::empty(&mut buffer);
        while let Some(transmit) = self.relay.poll_transmit(&mut packet).unwrap() {
            let outer = transmit.outer.unwrap();
            let ports = outer.ports.unwrap();
            assert_eq!((outer.source, ports.0), (RELAY, PORT));
            assert!(is_global_unicast(outer.destination));
            let to = SocketAddrV4::new(outer.destination, ports.1);
            self.times.push(self.now);
            // Its header has room, and comes off as it was.
            outer.push(&mut packet).unwrap();
            assert_eq!(Outer::pull(&mut packet), Ok(outer));
            self.sent.push((to, packet.as_slice().to_vec()));
        }
        while let Some(event) = self.relay.poll_event() {
            self.events.push(event);
        }
    }

    fn take(&mut self) -> Vec<(SocketAddrV4, Vec<u8>)> {
        core::mem::take(&mut self.sent)
    }

    fn events(&mut self) -> Vec<Event> {
        core::mem::take(&mut self.events)
    }

    fn wait(&mut self, duration: Duration) {
        let until = self.now.saturating_add(duration);
        while let Some(due) = self.relay.poll_timeout().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            self.settle();
        }
        self.now = until;
        self.settle();
    }

    fn send(&mut self, source: Ipv6Addr, destination: Ipv6Addr) -> Verdict {
        self.send_packet(&data(source, destination))
    }

    fn send_packet(&mut self, bytes: &[u8]) -> Verdict {
        let mut buffer = vec![0; 2000];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(bytes).unwrap();
        let verdict = self.relay.encapsulate(self.now, &mut packet);
        told::hear(&mut self.told, &mut self.relay);
        self.settle();
        verdict
    }

    fn receive(&mut self, from: SocketAddrV4, payload: &[u8]) -> (Verdict, Vec<u8>) {
        let end = hand_in(&mut self.relay, self.now, from, payload);
        told::hear(&mut self.told, &mut self.relay);
        self.settle();
        end
    }
}

impl Bench {
    /// With a trailer behind it that says nothing, no packet is clearly in order:
    /// the long way ends as the short one did, whatever came before.
    fn receive_both_ways(&mut self, from: SocketAddrV4, payload: &[u8]) -> (Verdict, Vec<u8>) {
        let (now, mut twin) = (self.now, self.relay.clone());
        let mut short = self.relay.clone();
        let end = hand_in(&mut short, now, from, payload);
        if Datagram::parse(payload).is_ok_and(|datagram| datagram.trailer_bytes().is_empty()) {
            let (verdict, bytes) = hand_in(&mut twin, now, from, &[payload, &[0x80, 0]].concat());
            assert_eq!(verdict, end.0);
            assert!(bytes == end.1 || !matches!(verdict, Verdict::Deliver { .. }));
            assert_eq!(state(&mut twin), state(&mut short));
        }
        self.receive(from, payload)
    }
}

fn hand_in(relay: &mut impl Machine, now: Instant, from: SocketAddrV4, payload: &[u8]) -> (Verdict, Vec<u8>) {
    let mut buffer = vec![0; HEADROOM + payload.len()];
    buffer[HEADROOM..].copy_from_slice(payload);
    let len = buffer.len();
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..len).unwrap();
    let outer = Outer::udp(from, SocketAddrV4::new(RELAY, PORT));
    let verdict = relay.decapsulate(now, &outer, &mut packet);
    (verdict, packet.as_slice().to_vec())
}

/// All that a packet may change.
fn state(relay: &mut TestRelay) -> (Vec<Peer>, String) {
    let told: Vec<_> = core::iter::from_fn(|| relay.poll_event()).collect();
    (relay.peers.iter().copied().collect(), format!("{:?} {:?} {told:?}", relay.counters, relay.poll_timeout()))
}

fn bubble(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    let mut out = vec![0; 40];
    Bubble::new(source, destination).emit(&mut Writer::new(&mut out));
    out
}

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

fn addresses(payload: &[u8]) -> (Ipv6Addr, Ipv6Addr) {
    let datagram = Datagram::parse(payload).unwrap();
    let header = ipv6::Header::parse(datagram.ipv6()).unwrap();
    assert!(is_bubble(&header) && datagram.origin().is_none() && datagram.trailer_bytes().is_empty());
    (header.source(), header.destination())
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

fn tunnelled(verdict: Verdict) -> SocketAddrV4 {
    match verdict {
        Verdict::Tunnel { outer, .. } => SocketAddrV4::new(outer.destination, outer.ports.unwrap().1),
        other => panic!("{other:?}"),
    }
}

#[test]
fn ter_90_ter_91_ter_95_a_bubble_by_the_clients_server_and_its_answer() {
    let mut bench = Bench::new(config());
    let (at, client) = client(1);
    let held = ticket(bench.send(native(), client));
    let sent = bench.take();
    assert_eq!((sent.len(), sent[0].0), (1, endpoint("198.51.100.1:3544")));
    let (source, destination) = addresses(&sent[0].1);
    assert!(source.is_unicast_link_local() && destination == client);
    // The answer comes to that source. Before it, four packets wait.
    for _ in 0..3 {
        assert_eq!(ticket(bench.send(native(), client)), held);
    }
    assert_eq!(reason(bench.send(native(), client)), DropReason::TableFull);
    assert_eq!(bench.receive(at, &bubble(client, source)).0, Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert!(bench.relay.peers().find(&client).unwrap().is_verified());
    assert_eq!(tunnelled(bench.send(native(), client)), at);
    // The other way, trailers cut off.
    let (verdict, packet) = bench.receive(at, &[data(client, native()), hex("010412345678")].concat());
    assert_eq!(verdict, Verdict::Deliver { link: LINK, from: Admitted::Remote });
    assert_eq!(packet, data(client, native()));
    // Any packet is an answer.
    let (at, client) = self::client(2);
    let held = ticket(bench.send(native(), client));
    bench.receive(at, &data(client, native()));
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert!(!bench.relay.peers().find(&client).unwrap().is_verified());
}

/// TER-102: he is believed wherever he repeats the secret.
#[test]
fn a_client_that_moves_all_the_time_voids_nothing_about_others() {
    let mut bench = Bench::new(config());
    let [(at, address), (_, other)] = [client(1), client(2)];
    let secrets = [address, other].map(|client| {
        bench.send(native(), client);
        addresses(&bench.take()[0].1).0
    });
    bench.receive(at, &bubble(address, secrets[0]));
    for _ in 0..2 {
        bench.told.clear();
        bench.receive(at, &data(address, native()));
        bench.send(native(), address);
    }
    let before = (bench.told.len(), bench.relay.generation());
    for port in 1000..1100 {
        bench.receive(SocketAddrV4::new(*at.ip(), port), &bubble(other, secrets[1]));
    }
    assert_eq!((bench.told.len(), bench.relay.generation(), before.0), (2, before.1, 2));
    // Who moves himself, does.
    bench.receive(endpoint("8.8.8.8:53"), &bubble(address, secrets[0]));
    assert_eq!((bench.told.len(), bench.relay.generation()), (0, before.1));
}

#[test]
fn data_of_clients_that_are_known_may_be_carried_elsewhere() {
    let mut bench = Bench::new(config());
    let (at, address) = client(1);
    bench.send(native(), address);
    let secret = addresses(&bench.take()[0].1).0;
    bench.receive(at, &bubble(address, secret));
    for _ in 0..3 {
        bench.told.clear();
        bench.send(native(), address);
        bench.receive(at, &data(address, native()));
    }
    let [Told::Sends(_, sends), Told::Admits(_, admits)] = bench.told[..] else { panic!("{:?}", bench.told) };
    assert_eq!((sends.ports, admits.ports), (Some((PORT, at.port())), Some((at.port(), PORT))));
    assert_eq!((sends.outer_source, sends.outer_destination, sends.source), (RELAY, *at.ip(), native()));
    assert_eq!((admits.outer_source, admits.outer_destination, admits.source), (*at.ip(), RELAY, address));
    for told in &bench.told {
        assert!(told.is_current(&bench.relay, bench.now));
        told.hold(bench.now, &mut bench.relay.clone());
    }
    // Silent for 30 seconds; then it is asked for.
    bench.wait(Duration::from_secs(30));
    assert!(!bench.told[0].is_current(&bench.relay, bench.now));
    bench.send(native(), address);
    assert!(bench.told.is_empty(), "{:?}", bench.told);
}

#[test]
fn ter_90_behind_a_nat_a_direct_bubble_goes_too() {
    let mut config = config();
    config.behind_nat = true;
    let mut bench = Bench::new(config);
    let (at, client) = client(1);
    bench.send(native(), client);
    let sent = bench.take();
    assert_eq!(sent.iter().map(|sent| sent.0).collect::<Vec<_>>(), [endpoint("198.51.100.1:3544"), at]);
    assert_eq!(sent[0].1, sent[1].1);
}

#[test]
fn ter_90_ter_107_four_bubbles_then_silence_for_three_hundred_seconds() {
    let mut bench = Bench::new(config());
    let (_, client) = client(1);
    let held = ticket(bench.send(native(), client));
    let mut times = vec![];
    for _ in 0..6 {
        times.extend(bench.take().iter().map(|_| bench.now));
        bench.wait(Duration::from_secs(2));
    }
    let gaps: Vec<_> = times.windows(2).map(|two| two[1].saturating_duration_since(two[0]).as_secs()).collect();
    assert_eq!(gaps, [2, 2, 2]);
    let no_answer = DropReason::TeredoNoAnswer;
    assert_eq!(bench.events(), [Event::Abandoned { link: LINK, ticket: held, reason: no_answer }]);
    assert_eq!(reason(bench.send(native(), client)), no_answer);
    bench.wait(Duration::from_secs(280));
    assert_eq!(reason(bench.send(native(), client)), no_answer);
    assert!(bench.take().is_empty());
    bench.wait(Duration::from_secs(30));
    ticket(bench.send(native(), client));
    assert_eq!(bench.take().len(), 1);
}

#[test]
fn ter_91_the_source_first_and_only_then_the_destination() {
    let mut bench = Bench::new(config());
    let (at, client) = client(1);
    let stranger = DropReason::TeredoNotServed;
    assert_eq!(reason(bench.receive(at, &data(client, native())).0), stranger);
    bench.send(native(), client);
    let elsewhere = endpoint("9.0.0.1:4097");
    assert_eq!(reason(bench.receive(elsewhere, &data(client, native())).0), DropReason::TeredoMapping);
    assert_eq!(reason(bench.receive(at, &data(native(), native())).0), DropReason::TeredoMapping);
    assert!(!bench.relay.peers().find(&client).unwrap().is_trusted());
    for refused in ["fe80::1", "ff02::1", "fd00::1", "::1", "2001:0:c633:6401:0:dfff:34ff:8ef5"] {
        assert_eq!(reason(bench.receive(at, &data(client, v6(refused))).0), DropReason::TeredoNotServed, "{refused}");
    }
    // From an address that its source embeds, and nobody may have.
    let inside = endpoint("10.0.0.1:4096");
    let packet = data(client_at(inside), native());
    assert_eq!(reason(bench.receive(inside, &packet).0), DropReason::TeredoEmbedded);
}

#[test]
fn ter_102_a_symmetric_client_is_known_by_the_secret() {
    let (at, client) = client(1);
    let elsewhere = endpoint("9.0.0.1:60000");
    let mut bench = Bench::new(config());
    let held = ticket(bench.send(native(), client));
    let (secret, _) = addresses(&bench.take()[0].1);
    let guess = v6("fe80::1234:5678:9abc:def0");
    assert_eq!(reason(bench.receive(elsewhere, &bubble(client, guess)).0), DropReason::TeredoMapping);
    // The secret of one client is not another's.
    let (_, other) = self::client(2);
    bench.send(native(), other);
    assert_eq!(reason(bench.receive(elsewhere, &bubble(other, secret)).0), DropReason::TeredoMapping);
    assert_eq!(bench.receive(elsewhere, &bubble(client, secret)).0, Verdict::Consumed { link: LINK });
    assert_eq!(bench.events(), [Event::Released { link: LINK, ticket: held }]);
    assert_eq!(tunnelled(bench.send(native(), client)), elsewhere);
    let (verdict, _) = bench.receive(elsewhere, &data(client, native()));
    assert_eq!(verdict, Verdict::Deliver { link: LINK, from: Admitted::Remote });
    // The letter of the RFC, by a knob.
    let mut strict = config();
    strict.accept_symmetric = false;
    let mut bench = Bench::new(strict);
    bench.send(native(), client);
    let (secret, _) = addresses(&bench.take()[0].1);
    assert_eq!(reason(bench.receive(elsewhere, &bubble(client, secret)).0), DropReason::TeredoMapping);
    assert_eq!(bench.receive(at, &bubble(client, secret)).0, Verdict::Consumed { link: LINK });
}

#[test]
fn ter_94_ter_92_a_host_specific_relay_serves_its_own_addresses() {
    let own = native();
    let other = v6("2001:db8::2");
    let config = RelayConfig::host_specific(RELAY.into(), PORT, &[own]);
    let mut bench = Bench::new(config);
    let (at, client) = client(1);
    assert_eq!(reason(bench.send(other, client)), DropReason::TeredoNotServed);
    ticket(bench.send(own, client));
    bench.receive(at, &bubble(client, own));
    assert_eq!(reason(bench.receive(at, &data(client, other)).0), DropReason::TeredoNotServed);
    let delivered = Verdict::Deliver { link: LINK, from: Admitted::Remote };
    assert_eq!(bench.receive(at, &data(client, own)).0, delivered);
}

#[test]
fn ter_40_ter_90_what_is_not_sent_to() {
    let mut bench = Bench::new(config());
    for refused in ["10.0.0.1:5000", "192.88.99.1:5000", "127.0.0.1:5000", "255.255.255.255:5000", "198.51.100.50:5000"]
    {
        let to = client_at(endpoint(refused));
        assert_eq!(reason(bench.send(native(), to)), DropReason::TeredoEmbedded, "{refused}");
    }
    let private_server = Address {
        server: Ipv4Addr::new(10, 0, 0, 1),
        flags: Flags::empty(),
        port: 4096,
        client: Ipv4Addr::new(9, 0, 0, 1),
    };
    assert_eq!(reason(bench.send(native(), private_server.to_ipv6())), DropReason::TeredoEmbedded);
    assert_eq!(reason(bench.send(native(), v6("2001:db8::2"))), DropReason::NoRoute);
    // Nobody's source but who is served: Teredo to Teredo needs no relay.
    assert_eq!(reason(bench.send(client(2).1, client(1).1)), DropReason::TeredoNotServed);
    assert_eq!(reason(bench.send(v6("fe80::1"), client(1).1)), DropReason::TeredoNotServed);
    // TER-7: nor is the old prefix a native host's, or a client's.
    assert_eq!(reason(bench.send(v6("3ffe:831f::1"), client(1).1)), DropReason::TeredoNotServed);
    assert_eq!(reason(bench.send(native(), v6("3ffe:831f:c633:6401:0:efff:3fff:fdfe"))), DropReason::NoRoute);
    let mut routed = data(native(), client(1).1);
    routed[5] = 24;
    routed[6] = protocol::ROUTING;
    routed.truncate(40);
    routed.extend(hex("3a 02 00 01 00000000 20010db8000000000000000000000002"));
    assert_eq!(reason(bench.send_packet(&routed)), DropReason::RoutingHeader);
    assert!(bench.take().is_empty());
}

/// Neither as a client's mapping, nor as its server, nor where a symmetric client is heard. The
/// server may be at this very address: one machine is both (TER-93).
#[test]
fn tun_4_ter_40_a_relay_sends_to_no_broadcast_address() {
    let mut config = config();
    config.locator.subnet_length = 24;
    let mut bench = Bench::new(config);
    let broadcast = Ipv4Addr::new(198, 51, 100, 255);
    let (at, client) = client(1);
    let of_server = |server| Address { server, ..Address::from_ipv6(&client).unwrap() }.to_ipv6();
    for refused in [client_at(SocketAddrV4::new(broadcast, 5000)), of_server(broadcast)] {
        assert_eq!(reason(bench.send(native(), refused)), DropReason::TeredoEmbedded, "{refused}");
    }
    assert!(bench.take().is_empty());
    ticket(bench.send(native(), of_server(RELAY)));
    assert_eq!(bench.take()[0].0, SocketAddrV4::new(RELAY, SERVER_PORT));
    ticket(bench.send(native(), client));
    let (secret, _) = addresses(&bench.take()[0].1);
    for refused in [broadcast, RELAY] {
        let from = SocketAddrV4::new(refused, 60000);
        assert_eq!(reason(bench.receive(from, &bubble(client, secret)).0), DropReason::TeredoMapping, "{refused}");
        let embedded = bench.receive(from, &bubble(client_at(from), secret)).0;
        assert_eq!(reason(embedded), DropReason::TeredoEmbedded, "{refused}");
    }
    assert_eq!(bench.receive(at, &bubble(client, secret)).0, Verdict::Consumed { link: LINK });
}

#[test]
fn a_packet_that_waits_is_counted_as_held() {
    let mut bench = Bench::new(config());
    assert!(matches!(bench.send(native(), client(1).1), Verdict::Hold { .. }));
    assert_eq!((bench.relay.counters().held, bench.relay.counters().consumed), (1, 0));
}

#[test]
fn a_packet_that_is_too_big_is_answered() {
    let mut config = config();
    config.address = Some(v6("2001:db8::ffff"));
    let mut bench = Bench::new(config);
    let mut long = data(native(), client(1).1);
    long.resize(1281, 0);
    long[4..6].copy_from_slice(&1241_u16.to_be_bytes());
    let verdict = bench.send_packet(&long);
    let reason_ = Some(DropReason::PacketTooBig);
    assert_eq!(verdict, Verdict::Answer { via: Via::Host { link: LINK }, reason: reason_ });
    assert_eq!((bench.relay.counters().get(DropReason::PacketTooBig), bench.relay.counters().consumed), (1, 0));
    let mut bench = Bench::new(self::config());
    assert_eq!(reason(bench.send_packet(&long)), DropReason::PacketTooBig);
}

#[test]
fn ter_3_case_2_is_for_those_who_trust_the_cone_bit() {
    let cone = v6("2001:0:c633:6401:8000:efff:f6ff:fffe");
    let mut config = config();
    config.trust_cone = true;
    assert_eq!(tunnelled(Bench::new(config).send(native(), cone)), endpoint("9.0.0.1:4096"));
    ticket(Bench::new(self::config()).send(native(), cone));
}

#[test]
fn ter_107_one_site_does_not_use_up_what_others_may() {
    let relay = Relay::with_tables(
        config(),
        LINK,
        PeerTable::with_storage(vec![Peer::EMPTY; 4096].into_boxed_slice()),
        vec![Wait::EMPTY; 2048].into_boxed_slice(),
    );
    let mut bench = Bench::of(relay);
    let mut started = 0;
    for n in 0..1000_u32 {
        // Whatever the host part is.
        let source = Ipv6Addr::from_bits(native().to_bits() + u128::from(n));
        started += u32::from(matches!(bench.send(source, client(n).1), Verdict::Hold { .. }));
    }
    assert!(started <= 100, "{started}");
    let others = (0..100_u128)
        .filter(|n| {
            let source = Ipv6Addr::from_bits(v6("2001:db8:1::1").to_bits() + (n << 64));
            let to = client(5000 + u32::try_from(*n).unwrap()).1;
            matches!(bench.send(source, to), Verdict::Hold { .. })
        })
        .count();
    assert!(others >= 90, "{others}");
}

/// Peers that only a forger knows, beside real ones.
fn flood(capacity: usize, forged: u32) {
    let relay = Relay::with_tables(
        config(),
        LINK,
        PeerTable::with_storage(vec![Peer::EMPTY; capacity].into_boxed_slice()),
        vec![Wait::EMPTY; 128].into_boxed_slice(),
    );
    let mut bench = Bench::of(relay);
    let mut real = vec![];
    for n in 0..100 {
        let (at, address) = client(n);
        bench.wait(Duration::from_millis(50));
        ticket(bench.send(native(), address));
        let (secret, _) = addresses(&bench.take()[0].1);
        bench.receive(at, &bubble(address, secret));
        real.push((at, address));
    }
    let mut buffer = vec![0; 200];
    for n in 0..forged {
        let (at, address) = client(0x0010_0000 + n);
        // The forger has a host inside write to him, so that he is known.
        bench.now = bench.now.saturating_add(Duration::from_micros(60));
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(&data(native(), address)).unwrap();
        bench.relay.encapsulate(bench.now, &mut packet);
        packet.copy_from(&data(address, native())).unwrap();
        let outer = Outer::udp(at, SocketAddrV4::new(RELAY, PORT));
        bench.relay.decapsulate(bench.now, &outer, &mut packet);
        if n % 1000 == 0 {
            bench.settle();
            // The real ones go on speaking.
            for (at, address) in &real {
                assert_eq!(tunnelled(bench.send(native(), *address)), *at);
                bench.receive(*at, &data(*address, native()));
            }
            bench.take();
            bench.events();
        }
    }
    bench.settle();
    for (at, address) in &real {
        assert_eq!(tunnelled(bench.send(native(), *address)), *at);
    }
}

#[test]
fn ten_thousand_forged_clients_leave_the_real_ones() {
    flood(512, 10_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "a million clients: seconds in a release build")]
fn a_million_forged_clients_leave_the_real_ones() {
    flood(4096, 1_000_000);
}

#[derive(Clone, Debug)]
enum Op {
    Send(u8),
    Bubble(u8),
    Secret(u8),
    Data(u8),
    Forged(u8),
    Wait(u16),
    Raw(Vec<u8>),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => (0_u8..30).prop_map(Op::Send),
        3 => (0_u8..30).prop_map(Op::Bubble),
        3 => (0_u8..30).prop_map(Op::Secret),
        3 => (0_u8..30).prop_map(Op::Data),
        3 => (0_u8..30).prop_map(Op::Forged),
        4 => (0_u16..20_000).prop_map(Op::Wait),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Op::Raw),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Any calls in any order: each ticket ends once, bubbles keep their
    /// limits, nobody is trusted elsewhere without the secret.
    #[test]
    fn any_calls_keep_the_contract(ops in prop::collection::vec(any_op(), 0..150)) {
        let mut bench = Bench::new(config());
        let mut secrets: BTreeMap<Ipv6Addr, Ipv6Addr> = BTreeMap::new();
        let mut bubbles: BTreeMap<Ipv6Addr, Vec<Instant>> = BTreeMap::new();
        let mut heard: BTreeMap<Ipv6Addr, Instant> = BTreeMap::new();
        let mut waiting = vec![];
        for op in ops {
            let verdict = match op {
                Op::Send(n) => Some(bench.send(native(), client(n.into()).1)),
                Op::Bubble(n) => {
                    let (at, address) = client(n.into());
                    heard.insert(address, bench.now);
                    Some(bench.receive_both_ways(at, &bubble(address, native())).0)
                }
                Op::Secret(n) => {
                    let (_, address) = client(n.into());
                    heard.insert(address, bench.now);
                    let to = secrets.get(&address).copied().unwrap_or(v6("fe80::1"));
                    Some(bench.receive_both_ways(endpoint("8.8.8.8:53"), &bubble(address, to)).0)
                }
                Op::Data(n) => {
                    let (at, address) = client(n.into());
                    heard.insert(address, bench.now);
                    Some(bench.receive_both_ways(at, &data(address, native())).0)
                }
                Op::Forged(n) => {
                    let (_, address) = client(n.into());
                    Some(bench.receive_both_ways(endpoint("7.7.7.7:7"), &bubble(address, v6("fe80::7"))).0)
                }
                Op::Wait(millis) => {
                    bench.wait(Duration::from_millis(millis.into()));
                    None
                }
                Op::Raw(bytes) => Some(bench.receive_both_ways(endpoint("7.7.7.7:7"), &bytes).0),
            };
            if let Some(Verdict::Hold { ticket }) = verdict && !waiting.contains(&ticket) {
                waiting.push(ticket);
            }
            for event in bench.events() {
                match event {
                    Event::Released { ticket, .. } | Event::Abandoned { ticket, .. } => {
                        let at = waiting.iter().position(|waits| *waits == ticket);
                        prop_assert!(at.is_some(), "{ticket:?} did not wait");
                        waiting.remove(at.unwrap());
                    }
                    other => prop_assert!(false, "{:?}", other),
                }
            }
            for ((_, payload), at) in bench.take().into_iter().zip(core::mem::take(&mut bench.times)) {
                let (source, to) = addresses(&payload);
                prop_assert_eq!(*secrets.entry(to).or_insert(source), source);
                bubbles.entry(to).or_default().push(at);
            }
            for n in 0..30 {
                let (at, address) = client(n);
                if let Some(peer) = bench.relay.peers().find(&address).filter(|peer| peer.is_trusted()) {
                    prop_assert!(peer.mapping() == at || peer.mapping() == endpoint("8.8.8.8:53"));
                    prop_assert!(peer.mapping() == at || secrets.contains_key(&address));
                }
            }
            told::forget(&mut bench.told, &mut bench.relay);
            for told in bench.told.iter().filter(|told| told.is_current(&bench.relay, bench.now)) {
                told.hold(bench.now, &mut bench.relay.clone());
            }
            bench.told.retain(|told| told.is_current(&bench.relay, bench.now));
            let counters = bench.relay.counters();
            let out = counters.tunnelled + counters.delivered + counters.consumed + counters.held + counters.total_dropped();
            prop_assert_eq!(out, counters.entered);
        }
        bench.wait(Duration::from_secs(10));
        let ended = bench.events().len();
        prop_assert_eq!(ended, waiting.len());
        for (to, times) in bubbles.iter().filter(|(to, _)| !heard.contains_key(*to)) {
            for five in times.windows(5) {
                prop_assert!(five[4].saturating_duration_since(five[0]) >= Duration::from_secs(300), "{}", to);
            }
            for two in times.windows(2) {
                prop_assert!(two[1].saturating_duration_since(two[0]) >= Duration::from_secs(2), "{}", to);
            }
        }
    }
}
