//! A flood of forged packets beside real peers.

use super::*;
use std::boxed::Box;

type Table = Client<Box<[Peer]>, Open, 64>;

/// A real peer: half of them know RFC 6081, the others have no nonce to repeat.
fn real(n: u32) -> (SocketAddrV4, Ipv6Addr, bool) {
    let at = SocketAddrV4::new(Ipv4Addr::from_bits(0x0900_0000 | n), 4096);
    let address = Address { server: SERVER_B, flags: Flags::empty(), port: 4096, client: *at.ip() };
    (at, address.to_ipv6(), n.is_multiple_of(2))
}

struct World {
    client: Box<Table>,
    now: Instant,
    draws: Draws,
    sent: Vec<Sent>,
}

impl World {
    fn new() -> Self {
        let peers = PeerTable::with_storage(vec![<Peer as crate::capacity::Row>::EMPTY; 1024].into());
        let client = Box::new(Client::with_parts(ClientConfig::new(SERVER, PORT), LINK, Open, peers));
        let mut world = World { client, now: Instant::from_secs(1), draws: Draws::default(), sent: vec![] };
        world.client.set_locator(world.now, Some(Locator { address: LOCAL, subnet_length: 24 }));
        for _ in 0..2 {
            world.settle();
            for asked in core::mem::take(&mut world.sent) {
                let answer = advertisement(&asked.payload, mapped(), *asked.to.ip());
                world.receive(asked.to, &answer);
            }
        }
        world.settle();
        assert!(world.client.address().is_some());
        world
    }

    fn settle(&mut self) {
        while self.client.poll_timeout().is_some_and(|due| due <= self.now) {
            self.client.handle_timeout(self.now, &mut self.draws);
            let mut buffer = [0; 1500];
            let mut packet = PacketMut::empty(&mut buffer);
            while let Some(transmit) = self.client.poll_transmit(&mut packet).unwrap() {
                let outer = transmit.outer.unwrap();
                let (port, to) = outer.ports.unwrap();
                let payload = on_the_wire(&outer, &mut packet);
                self.sent.push(Sent {
                    port,
                    to: SocketAddrV4::new(outer.destination, to),
                    payload,
                    ttl: outer.ttl,
                    when: self.now,
                });
            }
            while self.client.poll_event().is_some() {}
        }
    }

    fn receive(&mut self, from: SocketAddrV4, payload: &[u8]) -> Verdict {
        let mut buffer = [0; 512];
        let end = HEADROOM + payload.len();
        buffer[HEADROOM..end].copy_from_slice(payload);
        let mut packet = PacketMut::new(&mut buffer, HEADROOM..end).unwrap();
        self.client.decapsulate(self.now, &Outer::udp(from, SocketAddrV4::new(LOCAL, PORT)), &mut packet)
    }

    fn send(&mut self, to: Ipv6Addr) -> Verdict {
        let mut buffer = [0; 512];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(&data(self.client.address().unwrap(), to)).unwrap();
        self.client.encapsulate(self.now, &mut packet)
    }

    /// The local host speaks to a peer, which answers as it can.
    fn meet(&mut self, n: u32) {
        let (at, address, modern) = real(n);
        let own = self.client.address().unwrap();
        assert!(matches!(self.send(address), Verdict::Hold { .. }), "{n}");
        self.settle();
        let asked = self.sent.drain(..).find(|sent| sent.to == server_at(SERVER_B)).expect("a bubble by its server");
        let answer = match asked.trailers().nonce.filter(|_| modern) {
            Some(nonce) => with_nonce(bubble(address, own), nonce),
            None => bubble(address, own),
        };
        assert_eq!(self.receive(at, &answer), Verdict::Consumed { link: LINK });
        self.settle();
        assert_eq!(tunnelled(self.send(address)).1, at, "{n}");
    }

    fn speak(&mut self, n: u32) {
        let (at, address, modern) = real(n);
        let own = self.client.address().unwrap();
        assert_eq!(tunnelled(self.send(address)).1, at, "peer {n}, with a nonce: {modern}");
        assert!(matches!(self.receive(at, &data(address, own)), Verdict::Deliver { .. }));
    }
}

fn flood(forged: u32, meet_every: u32) {
    let mut world = World::new();
    let own = world.client.address().unwrap();
    (0..100).for_each(|n| world.meet(n));
    let mut newcomers = 100;
    for n in 0..forged {
        // A million in a minute.
        world.now = world.now.saturating_add(Duration::from_micros(60));
        let at = SocketAddrV4::new(Ipv4Addr::from_bits(0x0b00_0000 | n), 1024);
        let source = Address { server: SERVER_B, flags: Flags::empty(), port: 1024, client: *at.ip() }.to_ipv6();
        match n % 8 {
            // With the IPv4 source that its address embeds: believed, and no more.
            0..=4 => drop(world.receive(at, &data(source, own))),
            5 => drop(world.receive(at, &bubble(source, own))),
            // As a real peer, from elsewhere; by the server.
            6 => drop(world.receive(at, &data(real(n % 100).1, own))),
            _ => drop(world.receive(server_at(SERVER), &with_origin(&with_nonce(bubble(source, own), [9; 4]), at))),
        }
        if n % 64 == 0 {
            world.settle();
            world.sent.clear();
        }
        if n % (forged / 10) == 0 {
            (0..100).for_each(|n| world.speak(n));
        }
        // In the middle of it the host meets somebody new.
        if n % meet_every == meet_every - 1 {
            world.settle();
            world.sent.clear();
            world.meet(newcomers);
            newcomers += 1;
        }
    }
    (0..100).for_each(|n| world.speak(n));
    assert!(newcomers > 105);
    assert_eq!(world.client.peers().capacity(), 1024);
    assert!(world.client.peers().iter().count() <= 1024);
    let counters = world.client.counters();
    let out = counters.tunnelled + counters.delivered + counters.consumed + counters.held + counters.total_dropped();
    assert_eq!(out, counters.entered, "each packet has one end");
}

#[test]
fn ten_thousand_forged_packets_leave_a_hundred_peers_and_new_ones_come() {
    flood(10_000, 1000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "a million packets: .ci/run exhaustive")]
fn a_million_forged_packets_leave_a_hundred_peers_and_new_ones_come() {
    flood(1_000_000, 10_000);
}
