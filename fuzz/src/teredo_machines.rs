//! Lists of operations on a Teredo client, a server and a relay.
//!
//! Beside the promises of every machine, each is held to what
//! makes it safe. A client and a relay believe a peer at an address only after
//! something came from there that only the peer can have sent; a
//! client's own mapping changes only by an answer to its own question; a
//! server makes at most one packet of one, and never for itself.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::{Change, Event, Machine, Ticket, Verdict, Via};
use isatap_core::link::Locator;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::ingress::Path;
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::relay::{Relay, RelayConfig, Wait};
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::time::Instant;

use crate::doors::{on_the_wire, with_packet};
use crate::input::{Input, sum};
use crate::teredo::{
    ENDS, LOCAL, MAPPED, SERVERS, address, embedded, inner, ipv6, is_global, is_native, payload, trailer,
};

const LINK: LinkId = LinkId(3);
const GROUP: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 253);
const RELAY: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(198, 51, 100, 50), 3545);

/// A packet that a machine sent: UDP ends and payload.
#[derive(Clone, Debug)]
struct Sent {
    port: u16,
    to: SocketAddrV4,
    payload: Vec<u8>,
}

/// UDP ends and payload of what a machine gave, which are what is then on the
/// wire.
fn opened(outer: &Outer, payload: &[u8]) -> Sent {
    let bytes = on_the_wire(outer, payload);
    let (source, destination) = outer.ports.expect("Teredo is UDP");
    assert_eq!(bytes[12..16], outer.source.octets());
    assert_eq!(bytes[16..20], outer.destination.octets());
    assert_eq!(bytes[20..22], source.to_be_bytes());
    assert_eq!(bytes[22..24], destination.to_be_bytes());
    assert_eq!(bytes.len(), usize::from(u16::from_be_bytes([bytes[2], bytes[3]])));
    assert_eq!(bytes.len(), 20 + usize::from(u16::from_be_bytes([bytes[24], bytes[25]])));
    assert_eq!(sum(&[&bytes[12..20], &[0, 17], &bytes[24..26], &bytes[20..]]), 0xffff);
    Sent { port: source, to: SocketAddrV4::new(outer.destination, destination), payload: bytes[28..].to_vec() }
}

/// The IPv6 packet of a payload that a machine wrote: source, destination, bytes.
fn inside(payload: &[u8]) -> (u128, u128, &[u8]) {
    let packet = &payload[position(payload).expect("an IPv6 packet")..];
    let (source, destination) = ends(packet);
    (source, destination, packet)
}

/// Source and destination of an IPv6 packet.
fn ends(packet: &[u8]) -> (u128, u128) {
    let number = |from: usize| u128::from_be_bytes(packet[from..from + 16].try_into().unwrap());
    (number(8), number(24))
}

/// The clock of a list of operations; and noise in place of randomness.
struct Bench {
    now: Instant,
    random: u8,
    waiting: Vec<Ticket>,
    sent: Vec<Sent>,
    /// Datagrams handed in.
    arrived: u32,
}

impl Bench {
    fn new() -> Self {
        Bench { now: Instant::from_secs(1), random: 0x35, waiting: Vec::new(), sent: Vec::new(), arrived: 0 }
    }

    fn wait(&mut self, machine: &impl Machine, input: &mut Input<'_>) {
        let jump = input.among(&[0_u64, 1, 500_000, 2_000_000, 4_000_000, 31_000_000, 301_000_000, 1 << 60]);
        // Not to the end of time, at which nothing is due any more.
        let later =
            self.now.saturating_add(Duration::from_micros(jump)).min(Instant::from_micros(1 << 62)).max(self.now);
        self.now = if jump == 1 { machine.poll_timeout().unwrap_or(self.now).max(self.now) } else { later };
    }

    /// Hands in a datagram, by the two doors in turns, and now and then, in
    /// vain, as if it was of protocol 41.
    fn arrive(&mut self, machine: &mut impl Machine, path: Path, payload: &[u8]) -> (Verdict, Vec<u8>) {
        self.arrived += 1;
        let outer = Outer::udp(path.from, path.to);
        if self.arrived.is_multiple_of(8) {
            let other = Outer { ports: None, ..outer };
            let refused = with_packet(payload, |packet| machine.decapsulate(self.now, &other, packet));
            assert_eq!(refused, (Verdict::Drop(DropReason::TeredoMalformed), payload.to_vec()));
        }
        if self.arrived.is_multiple_of(2) {
            let whole = on_the_wire(&outer, payload);
            return with_packet(&whole, |packet| machine.decapsulate_ipv4(self.now, packet));
        }
        with_packet(payload, |packet| machine.decapsulate(self.now, &outer, packet))
    }

    /// What came of handing in a packet.
    fn verdict(&mut self, verdict: &Verdict, bytes: &[u8]) {
        match verdict {
            Verdict::Hold { ticket } if !self.waiting.contains(ticket) => self.waiting.push(*ticket),
            Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
                let sent = opened(outer, bytes);
                self.sent.push(sent);
            }
            Verdict::Punt { .. } => panic!("only functions of &self punt"),
            _ => {}
        }
    }

    /// Does what is due, and gives the events.
    fn tick(&mut self, machine: &mut impl Machine) -> Vec<Event> {
        let mut events = Vec::new();
        let mut buffer = [0; HEADROOM + 1500];
        // Before time passes what waits already, as a caller would.
        for round in 0..2 {
            if round == 1 {
                let random = &mut self.random;
                machine.handle_timeout(self.now, &mut |out: &mut [u8]| {
                    for byte in out {
                        *random = random.wrapping_mul(77).wrapping_add(91);
                        *byte = *random;
                    }
                });
            }
            for polls in 0.. {
                assert!(polls < 1000, "packets that never end");
                let mut packet = PacketMut::empty(&mut buffer);
                let Some(transmit) = machine.poll_transmit(&mut packet).unwrap() else { break };
                let outer = transmit.outer.expect("Teredo speaks by UDP only");
                self.sent.push(opened(&outer, packet.as_slice()));
            }
            for polls in 0.. {
                assert!(polls < 1000, "events that never end");
                let Some(event) = machine.poll_event() else { break };
                if let Event::Released { ticket, .. } | Event::Abandoned { ticket, .. } = event {
                    let at = self.waiting.iter().position(|waiting| *waiting == ticket).expect("ends what waits");
                    self.waiting.remove(at);
                }
                events.push(event);
            }
        }
        assert!(machine.poll_timeout().is_none_or(|next| next > self.now), "a deadline survived {}", self.now);
        events
    }
}

/// Whatever entered has one end.
fn balance(counters: &Counters<u64>) {
    let out = counters.tunnelled + counters.delivered + counters.native + counters.consumed + counters.held;
    assert_eq!(counters.entered, out + counters.total_dropped());
}

fn bubble(source: Ipv6Addr, destination: Ipv6Addr) -> Vec<u8> {
    [&[0x60, 0, 0, 0, 0, 0, 59, 255], &source.octets()[..], &destination.octets()].concat()
}

fn origin(of: SocketAddrV4) -> Vec<u8> {
    [&[0, 0][..], &(!of.port()).to_be_bytes(), &(!of.ip().to_bits()).to_be_bytes()].concat()
}

/// The answer to a solicitation, by the bytes that a server was seen to send.
fn advertisement(solicitation: &[u8], mapping: SocketAddrV4, prefix: u32) -> Vec<u8> {
    let (source, ..) = inside(solicitation);
    let mut packet = vec![0x60, 0, 0, 0, 0, 56, 58, 255];
    packet.extend((0xfe80_u128 << 112 | 0x8000_f227_39cc_9bfe).to_be_bytes());
    packet.extend(source.to_be_bytes());
    packet.extend([134, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7, 0xd0]);
    packet.extend([3, 4, 64, 0x40, 255, 255, 255, 255, 255, 255, 255, 255, 0, 0, 0, 0]);
    packet.extend(prefix.to_be_bytes());
    packet.extend(SERVERS[0].octets());
    packet.extend([0; 8]);
    packet.extend([5, 1, 0, 0, 0, 0, 5, 0]);
    crate::input::fix_icmpv6(&mut packet);
    [&solicitation[..13], &origin(mapping), &packet].concat()
}

/// The answer to an echo request.
fn echo_reply(request: &[u8]) -> Vec<u8> {
    let mut reply = request.to_vec();
    reply.copy_within(8..24, 24);
    reply[8..24].copy_from_slice(&request[24..40]);
    reply[40] = 129;
    crate::input::fix_icmpv6(&mut reply);
    reply
}

type FuzzClient = Client<[Peer; 24], isatap_core::teredo::authentication::Open, 8>;

/// What an observer who sees everything knows of a client.
#[derive(Default)]
struct Witness {
    open: Vec<u16>,
    address: Option<Ipv6Addr>,
    /// Nonces of solicitations, of bubbles by the peer's server, of tests.
    asked: BTreeSet<[u8; 8]>,
    nonces: BTreeSet<(u128, [u8; 4])>,
    tests: BTreeSet<(u128, Vec<u8>)>,
    /// Sources that only the peer of a bubble gets to know.
    secrets: BTreeSet<(u128, u128)>,
    /// Where each peer has shown that it is.
    proven: BTreeSet<(u128, SocketAddrV4)>,
    mappings: BTreeSet<SocketAddrV4>,
}

impl Witness {
    /// A packet that the client is about to get.
    fn arrives(&mut self, path: Path, payload: &[u8]) {
        let Some(at) = position(payload) else { return };
        let (packet, (source, destination)) = (&payload[at..], ends(&payload[at..]));
        if packet[6] == 59 && self.secrets.contains(&(source, destination)) {
            self.proven.insert((source, path.from));
        }
        if embedded(source).is_some_and(|(_, mapping)| mapping == path.from) {
            self.proven.insert((source, path.from));
        }
        let length = 40 + usize::from(packet[4]) * 256 + usize::from(packet[5]);
        if packet[6] == 59 && length == 40 && packet.len() >= 46 && packet[40..42] == [1, 4] {
            let nonce = packet[42..46].try_into().unwrap();
            if self.nonces.contains(&(source, nonce)) {
                self.proven.insert((source, path.from));
            }
        }
        if packet[6] == 58 && length > 48 && packet.get(40) == Some(&129) {
            let data = packet.get(48..length).unwrap_or(&[]).to_vec();
            if self.tests.contains(&(source, data)) {
                self.proven.insert((source, path.from));
            }
        }
        let answers = payload.starts_with(&[0, 1, 0, 0]) && at == 21 && packet[6] == 58 && packet.get(40) == Some(&134);
        if answers && self.asked.contains(&payload[4..12]) && path.from.port() == 3544 {
            let port = !u16::from_be_bytes([payload[15], payload[16]]);
            let number = !u32::from_be_bytes(payload[17..21].try_into().unwrap());
            self.mappings.insert(SocketAddrV4::new(number.into(), port));
        }
    }

    /// What the client has told.
    fn told(&mut self, events: &[Event], client: &FuzzClient) {
        for event in events {
            match *event {
                Event::OpenPort { port, .. } => {
                    assert!(port != 0 && port != LOCAL.port() && !self.open.contains(&port), "opens {port}");
                    self.open.push(port);
                }
                Event::ClosePort { port, .. } => {
                    let at = self.open.iter().position(|open| *open == port).expect("closes what is open");
                    self.open.remove(at);
                }
                Event::Address { change: Change::Added, address, .. } => {
                    assert_eq!(self.address.replace(address.address), None);
                }
                Event::Address { address, .. } => assert_eq!(self.address.take(), Some(address.address)),
                _ => {}
            }
        }
        assert_eq!(self.address, client.address());
    }

    /// What the client has sent.
    fn saw(&mut self, sent: &[Sent], locator: Option<Locator>) {
        for sent in sent {
            let locator = locator.expect("nothing is sent without an IPv4 address");
            // The group of local discovery, or an address that can be somebody's.
            let first = sent.to.ip().octets()[0];
            let unicast = first != 0 && first != 127 && first < 224;
            assert!(sent.to.port() != 0 && (unicast || *sent.to.ip() == GROUP), "{sent:?}");
            assert_ne!(*sent.to.ip(), locator.address);
            let (source, destination, packet) = inside(&sent.payload);
            if packet[6] == 59 && packet.len() == 40 && source >> 112 == 0xfe80 && sent.to.port() == 3544 {
                self.secrets.insert((destination, source));
            }
            if packet[6] == 59 && packet.len() >= 46 && packet[40..42] == [1, 4] && sent.to.port() == 3544 {
                self.nonces.insert((destination, packet[42..46].try_into().unwrap()));
            }
            // A peer may be at port 3544 too, and the host's packets to it are of any length.
            if packet[6] == 58
                && packet.get(40) == Some(&128)
                && sent.to.port() == 3544
                && let Some(data) = packet.get(48..)
            {
                self.tests.insert((destination, data.to_vec()));
            }
            if sent.payload.starts_with(&[0, 1]) {
                self.asked.insert(sent.payload[4..12].try_into().unwrap());
            }
        }
    }

    fn agrees(&self, client: &FuzzClient) {
        for peer in client.peers().iter().filter(|peer| peer.is_trusted()) {
            let known = (peer.address().to_bits(), peer.mapping());
            assert!(self.proven.contains(&known), "{peer:?} was never heard there");
        }
        if let Some(mapping) = client.status().mapping {
            assert!(self.mappings.contains(&mapping), "nobody who was asked said {mapping}");
        }
    }
}

/// Where the IPv6 packet of a payload begins, if there is a whole header.
fn position(payload: &[u8]) -> Option<usize> {
    let mut at = 0;
    if payload.starts_with(&[0, 1]) {
        at = 13 + usize::from(*payload.get(2)?) + usize::from(*payload.get(3)?);
    }
    if payload.get(at..)?.starts_with(&[0, 0]) {
        at += 8;
    }
    (payload.get(at..)?.len() >= 40).then_some(at)
}

/// Peers of the lists: at a server of their own, at ours, native hosts.
fn peer(input: &mut Input<'_>) -> Ipv6Addr {
    match input.byte() % 4 {
        0 => address(Ipv4Addr::new(203, 0, 113, 120), 0, input.among(&ENDS)),
        1 => address(SERVERS[0], 0, input.among(&ENDS)),
        2 => Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(input.byte() % 3)),
        _ => ipv6(input),
    }
}

/// A client.
pub fn teredo_client_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let knobs = input.byte();
    let mut config = ClientConfig::new(SERVERS[0], LOCAL.port());
    config.trust_cone = knobs & 1 != 0;
    config.local_discovery = knobs & 2 != 0;
    config.strict_bubble_timer = knobs & 4 != 0;
    config.qualify.cone_phase = knobs & 8 != 0;
    config.qualify.symmetric_nat = knobs & 16 == 0;
    let symmetric = knobs >> 5;
    let seen = |server: Ipv4Addr, port: u16| {
        let second = u16::from(server == SERVERS[1]);
        match symmetric {
            0..=3 => MAPPED,
            4 | 5 => SocketAddrV4::new(*MAPPED.ip(), port + second * 7),
            _ => SocketAddrV4::new(*MAPPED.ip(), 5000 + port % 3 + second),
        }
    };
    let mut client: Box<FuzzClient> = Box::new(Client::new(config, LINK));
    let mut bench = Bench::new();
    let mut witness = Witness::default();
    let mut locator = Some(Locator { address: *LOCAL.ip(), subnet_length: 24 });
    client.set_locator(bench.now, locator);
    let mut inbox: Vec<Sent> = Vec::new();
    for operation in 0..80 {
        if input.is_empty() {
            break;
        }
        let before = bench.now;
        let own = client.address().unwrap_or(Ipv6Addr::from_bits(0x2001 << 112 | 1));
        // The first four answer, so that most lists begin with a qualified client.
        let kind = if operation < 4 && knobs & 0x80 == 0 { 255 } else { input.byte() };
        let hand = |client: &mut FuzzClient, bench: &mut Bench, witness: &mut Witness, path: Path, payload: &[u8]| {
            witness.arrives(path, payload);
            let (verdict, left) = bench.arrive(client, path, payload);
            if let Verdict::Deliver { .. } = verdict {
                // For this host, from who may speak; nothing link-local.
                let (source, destination) = ends(&left);
                assert_eq!(destination, own.to_bits());
                let shown = witness.proven.contains(&(source, path.from)) || client.config().local_discovery;
                assert!(shown && source >> 118 != 0x3fa && source >> 120 != 0xff, "{source:x} from {path:?}");
            }
            bench.verdict(&verdict, &left);
        };
        let port = match client_port(&witness, &mut input, kind) {
            Some(port) => port,
            None => LOCAL.port(),
        };
        let to = SocketAddrV4::new(*LOCAL.ip(), port);
        match kind {
            0..=39 => bench.wait(&*client, &mut input),
            40..=89 => {
                let destination = peer(&mut input);
                let packet = inner(&mut input, own, destination);
                let (verdict, left) = with_packet(&packet, |packet| client.encapsulate(bench.now, packet));
                bench.verdict(&verdict, &left);
            }
            90..=109 => {
                let path = Path { from: input.among(&ENDS), to: input.among(&[to, SocketAddrV4::new(GROUP, 3544)]) };
                let payload = payload(&mut input);
                hand(&mut client, &mut bench, &mut witness, path, &payload);
            }
            // Straight from a peer, or from who says that he is one.
            110..=149 => {
                let source = peer(&mut input);
                let honest = embedded(source.to_bits()).map(|(_, mapping)| mapping).filter(|_| input.byte() & 3 != 0);
                let from = honest.unwrap_or_else(|| input.among(&ENDS));
                let mut secrets = witness.secrets.iter().filter(|(peer, _)| *peer == source.to_bits());
                let mut packet = match (input.byte() % 4, secrets.next_back()) {
                    (0, _) => inner(&mut input, source, own),
                    (1, Some((_, secret))) => bubble(source, Ipv6Addr::from_bits(*secret)),
                    _ => bubble(source, own),
                };
                let known = inbox.iter().rev().find(|sent| inside(&sent.payload).1 == source.to_bits());
                match known.map(|sent| inside(&sent.payload).2).and_then(|packet| packet.get(40..46)) {
                    Some(nonce) if input.byte() & 1 == 0 && packet.len() == 40 => packet.extend(nonce),
                    _ if packet.len() == 40 && input.byte() & 1 == 0 => packet.extend(trailer(&mut input)),
                    _ => {}
                }
                hand(&mut client, &mut bench, &mut witness, Path { from, to }, &packet);
            }
            // By the server.
            150..=179 => {
                let source = peer(&mut input);
                let mut packet = origin(input.among(&ENDS));
                packet.extend(bubble(source, own));
                for _ in 0..input.byte() % 3 {
                    packet.extend(trailer(&mut input));
                }
                let from = SocketAddrV4::new(input.among(&SERVERS), 3544);
                hand(&mut client, &mut bench, &mut witness, Path { from, to }, &packet);
            }
            180..=199 => {
                let tests: Vec<_> = inbox.iter().filter(|sent| sent.payload.get(40) == Some(&128)).cloned().collect();
                if let Some(test) = tests.get(usize::from(input.byte()) % tests.len().max(1)) {
                    let path = Path { from: input.among(&ENDS), to };
                    let reply = echo_reply(&test.payload);
                    hand(&mut client, &mut bench, &mut witness, path, &reply);
                }
            }
            200..=209 => {
                let bits = input.byte();
                let subnet_length = 20 + bits % 13;
                locator = (bits & 0x60 != 0).then_some(Locator { address: *LOCAL.ip(), subnet_length });
                client.set_locator(bench.now, locator);
            }
            210..=212 => client.restart(bench.now),
            213..=214 => client.ask_server(bench.now),
            215..=219 => client.set_servers(bench.now, input.among(&SERVERS), input.among(&[None, Some(SERVERS[1])])),
            220..=224 => client.port_mapped(input.among(&[None, Some(ENDS[6]), Some(MAPPED)])),
            225..=229 => {
                if let Some(port) = witness.open.first().copied() {
                    witness.open.remove(0);
                    client.port_failed(bench.now, port);
                }
            }
            // The server's answer, to the last question or an earlier one.
            _ => {
                let back = if kind == 255 { 0 } else { usize::from(input.byte() % 4) };
                let asked = inbox.iter().rev().filter(|sent| sent.payload.starts_with(&[0, 1])).nth(back).cloned();
                if let Some(asked) = asked {
                    let forged = kind != 255 && input.byte().is_multiple_of(4);
                    let mapping = if forged { input.among(&ENDS) } else { seen(*asked.to.ip(), asked.port) };
                    let prefix = if kind.is_multiple_of(16) { 0x3ffe_831f } else { 0x2001_0000 };
                    let mut answer = advertisement(&asked.payload, mapping, prefix);
                    if forged {
                        // By somebody who does not know the nonce.
                        answer[4..12].copy_from_slice(&[input.byte(); 8]);
                    }
                    let from = if kind & 8 == 0 { SocketAddrV4::new(input.among(&SERVERS), 3544) } else { asked.to };
                    let to = SocketAddrV4::new(*LOCAL.ip(), asked.port);
                    hand(&mut client, &mut bench, &mut witness, Path { from, to }, &answer);
                }
            }
        }
        let events = bench.tick(&mut *client);
        witness.saw(&bench.sent, locator.or(Some(Locator { address: *LOCAL.ip(), subnet_length: 24 })));
        witness.told(&events, &client);
        witness.agrees(&client);
        balance(client.counters());
        // TER-84: of one packet in one instant come a bubble for each of four
        // alternates, a few of its own, and what had waited.
        assert!(bench.now != before || bench.sent.len() <= 8 * 12, "{} packets", bench.sent.len());
        inbox.append(&mut bench.sent);
        let surplus = inbox.len().saturating_sub(64);
        inbox.drain(..surplus);
    }
    // Nothing waits for ever.
    for _ in 0..40 {
        bench.now = bench.now.saturating_add(Duration::from_secs(2));
        let events = bench.tick(&mut *client);
        witness.told(&events, &client);
    }
    assert_eq!(bench.waiting, [], "held for ever");
}

/// A port of its own, for some operations.
fn client_port(witness: &Witness, input: &mut Input<'_>, kind: u8) -> Option<u16> {
    let wants = (90..200).contains(&kind) && input.byte() & 3 == 0;
    witness.open.first().copied().filter(|_| wants)
}

/// A server.
pub fn teredo_server_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut config = ServerConfig::new(SERVERS[0]);
    let lax = input.byte() & 1 != 0;
    config.accept_symmetric_bubbles = lax;
    let other = Ipv4Addr::new(203, 0, 113, 120);
    config.known_servers[0] = other;
    let mut server = Box::new(Server::new(config, LINK));
    let mut bench = Bench::new();
    bench.tick(&mut *server);
    for _ in 0..64 {
        if input.is_empty() {
            break;
        }
        if input.byte().is_multiple_of(4) {
            bench.wait(&*server, &mut input);
        }
        let from = input.among(&ENDS);
        let to = SocketAddrV4::new(input.among(&SERVERS), input.among(&[3544, 3544, 3544, 3545]));
        let payload = match input.byte() % 4 {
            0 => payload(&mut input),
            1 => {
                let destination = ipv6(&mut input);
                inner(&mut input, address(SERVERS[0], 0, from), destination)
            }
            2 => bubble(ipv6(&mut input), ipv6(&mut input)),
            _ => solicitation(&mut input),
        };
        let path = Path { from, to };
        let (verdict, left) = bench.arrive(&mut *server, path, &payload);
        check_server(&verdict, path, &payload, &left, other);
        assert!(bench.tick(&mut *server).is_empty() && bench.sent.is_empty(), "a server speaks when spoken to");
        balance(server.counters());
    }
}

/// RFC 4380 §5.3.1: what comes out is what went in, with another front.
fn check_server(verdict: &Verdict, path: Path, payload: &[u8], left: &[u8], other: Ipv4Addr) {
    let outer = match verdict {
        Verdict::Drop(_) => return,
        Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => Some(outer),
        Verdict::Deliver { .. } => None,
        other => panic!("{other:?}"),
    };
    // Nothing at all from or for a server, nor from who cannot be answered.
    let ours = [SERVERS[0], SERVERS[1], other];
    let is_server = |end: SocketAddrV4| end.port() == 3544 && ours.contains(end.ip());
    assert!(is_global(*path.from.ip()) && path.from.port() != 0 && !is_server(path.from), "{path:?}");
    assert_eq!(path.to.port(), 3544);
    let at = position(payload).expect("an IPv6 packet");
    let length = 40 + usize::from(payload[at + 4]) * 256 + usize::from(payload[at + 5]);
    let (source, destination) = ends(&payload[at..]);
    let (packet, trailers) = payload[at..].split_at(length);
    let is_bubble = packet[6] == 59 && length == 40;
    // What it carries comes from where it says, or goes to a client of its own.
    let from_client = embedded(source).is_some_and(|(_, mapping)| mapping.ip() == path.from.ip());
    let same = |carried: &[u8]| {
        let hops = if is_bubble { packet[7] } else { packet[7] - 1 };
        assert_eq!(carried[7], hops);
        assert_eq!(carried[..7], packet[..7]);
        assert_eq!(carried[8..], packet[8..]);
    };
    let Some(outer) = outer else {
        assert!(from_client && is_native(destination));
        return same(left);
    };
    let sent = opened(outer, left);
    assert!(is_global(*sent.to.ip()) && sent.to.port() != 0 && !is_server(sent.to), "to a server: {sent:?}");
    assert!(sent.port == 3544 && SERVERS.contains(&outer.source));
    if matches!(verdict, Verdict::Answer { .. }) {
        assert_eq!(sent.to, path.from);
        // TER-66: no amplifier.
        assert!(sent.payload.len() <= 2 * payload.len() + 64, "{} for {}", sent.payload.len(), payload.len());
        return;
    }
    let (client, mapping) = embedded(destination).expect("a client");
    assert_eq!(sent.to, mapping);
    assert!(from_client || client == SERVERS[0]);
    let carried = if client == SERVERS[0] {
        let (front, carried) = sent.payload.split_at(8);
        assert_eq!(front, origin(path.from));
        carried
    } else {
        &sent.payload[..]
    };
    same(&carried[..length]);
    assert_eq!(&carried[length..], trailers);
}

/// A Router Solicitation of some client.
fn solicitation(input: &mut Input<'_>) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0, 0, 8, 58, 255];
    packet.extend(
        (0xfe80_u128 << 112 | u128::from(input.among(&[0xffff_ffff_ffff_u64, 0x8000_ffff_ffff_ffff]))).to_be_bytes(),
    );
    packet.extend((0xff02_u128 << 112 | 2).to_be_bytes());
    packet.extend([133, 0, 0, 0, 0, 0, 0, 0]);
    crate::input::fix_icmpv6(&mut packet);
    match input.byte() % 3 {
        0 => packet,
        1 => [&[0, 1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0][..], &packet].concat(),
        _ => [&[0, 1, 4, 2, 9, 9, 9, 9, 8, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0][..], &packet].concat(),
    }
}

/// A relay, of the whole Internet or of one host.
pub fn teredo_relay_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let knobs = input.byte();
    let host = Ipv6Addr::from_bits(0x2001_0db8 << 96 | 1);
    let locator = Locator { address: *RELAY.ip(), subnet_length: 24 };
    let mut config = match knobs & 1 {
        0 => RelayConfig::new(locator, RELAY.port()),
        _ => RelayConfig::host_specific(locator, RELAY.port(), &[host]),
    };
    config.behind_nat = knobs & 2 != 0;
    config.accept_symmetric = knobs & 4 == 0;
    config.address = (knobs & 8 != 0).then_some(host);
    config.trust_cone = knobs & 16 != 0;
    let (trust_cone, host_only) = (config.trust_cone, knobs & 1 != 0);
    let mut relay: Box<Relay<[Peer; 24], [Wait; 8]>> =
        Box::new(Relay::with_tables(config, LINK, PeerTable::new(), std::array::from_fn(|_| wait())));
    let mut bench = Bench::new();
    bench.tick(&mut *relay);
    let mut proven: BTreeSet<(u128, SocketAddrV4)> = BTreeSet::new();
    // What its bubbles came from: a secret of each peer's.
    let mut secrets: BTreeSet<(u128, u128)> = BTreeSet::new();
    let mut bubbles = 0;
    let mut wanted = 0;
    for _ in 0..80 {
        if input.is_empty() {
            break;
        }
        match input.byte() {
            0..=49 => bench.wait(&*relay, &mut input),
            50..=129 => {
                let source = Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(input.byte() % 3));
                let destination = peer(&mut input);
                let packet = inner(&mut input, source, destination);
                let (verdict, left) = with_packet(&packet, |packet| relay.encapsulate(bench.now, packet));
                wanted += usize::from(matches!(verdict, Verdict::Hold { .. }));
                if let Verdict::Tunnel { outer, .. } = &verdict {
                    // To a peer that was heard, where it was heard.
                    let sent = opened(outer, &left);
                    let blind = trust_cone && destination.segments()[4] & 0x8000 != 0;
                    assert!(blind || proven.contains(&(destination.to_bits(), sent.to)), "{sent:?}");
                    assert_eq!(sent.payload, packet);
                }
                let answers = matches!(verdict, Verdict::Tunnel { .. });
                bench.verdict(&verdict, &left);
                if answers {
                    bench.sent.clear();
                }
            }
            kind => {
                let source = peer(&mut input);
                let honest = embedded(source.to_bits()).map(|(_, mapping)| mapping).filter(|_| kind & 3 != 0);
                let from = honest.unwrap_or_else(|| input.among(&ENDS));
                let known = secrets.iter().find(|(peer, _)| *peer == source.to_bits()).map(|(_, secret)| *secret);
                let destination = match (known, input.byte() & 1) {
                    (Some(secret), 0) => Ipv6Addr::from_bits(secret),
                    _ => ipv6(&mut input),
                };
                let payload = match kind % 5 {
                    0 => payload(&mut input),
                    1 | 2 => bubble(source, destination),
                    _ => inner(&mut input, source, destination),
                };
                if let Some(at) = position(&payload) {
                    let (source, destination) = ends(&payload[at..]);
                    let secret = secrets.contains(&(source, destination));
                    if secret || embedded(source).is_some_and(|(_, mapping)| mapping == from) {
                        proven.insert((source, from));
                    }
                }
                let path = Path { from, to: RELAY };
                let (verdict, left) = bench.arrive(&mut *relay, path, &payload);
                if let Verdict::Deliver { .. } = verdict {
                    let (source, destination) = ends(&left);
                    assert!(embedded(source).is_some() && proven.contains(&(source, from)));
                    assert!(is_native(destination) && (!host_only || destination == host.to_bits()));
                }
                bench.verdict(&verdict, &left);
            }
        }
        bench.tick(&mut *relay);
        for sent in bench.sent.drain(..) {
            bubbles += 1;
            let (source, destination, packet) = inside(&sent.payload);
            assert!(packet.len() == 40 && packet[6] == 59 && source >> 118 == 0x3fa);
            let (server, mapping) = embedded(destination).expect("a client");
            assert!(sent.to == SocketAddrV4::new(server, 3544) || (sent.to == mapping && knobs & 2 != 0));
            assert!(
                is_global(*sent.to.ip()) && sent.to.port() != 0 && *sent.to.ip() != *RELAY.ip(),
                "to nobody: {sent:?}"
            );
            secrets.insert((destination, source));
        }
        for peer in relay.peers().iter().filter(|peer| peer.is_trusted()) {
            let known = (peer.address().to_bits(), peer.mapping());
            let blind = trust_cone && peer.address().segments()[4] & 0x8000 != 0;
            assert!(blind || proven.contains(&known), "{peer:?} was never heard there");
        }
        balance(relay.counters());
        // TER-90: four, or eight behind a NAT, for whom a native host wants.
        assert!(bubbles <= wanted * 8, "{bubbles} bubbles for {wanted} packets");
    }
    for _ in 0..8 {
        bench.now = bench.now.saturating_add(Duration::from_secs(2));
        bench.tick(&mut *relay);
    }
    assert_eq!(bench.waiting, [], "held for ever");
}

fn wait() -> Wait {
    use isatap_core::capacity::Row;
    Wait::EMPTY
}
