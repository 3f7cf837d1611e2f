//! Teredo: clients, servers and peers, made outside of what is measured, and
//! the operations on them.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use isatap_core::capacity::Row;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Machine, Verdict};
use isatap_core::link::Locator;
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::teredo::addr::{Address, CLIENT_LINK_LOCAL, Flags, SERVER_PORT};
use isatap_core::teredo::authentication::Open;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::ingress::{self, ClientCase, ClientView, Path, Reach};
use isatap_core::teredo::packet::{ALL_ROUTERS, Authentication, Bubble, Datagram, KnownTrailers};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::relay::{Relay, RelayConfig};
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::wire::field::Writer;

use crate::inputs::{Arrived, NOW, inner, packet};

/// The server's primary address.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);
/// The client behind its NAT, and where that shows it.
pub const LOCAL: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, 2), 40_000);
/// See [`LOCAL`].
pub const MAPPED: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 4096);

/// The relay, its port, and a native host behind it.
pub const RELAY: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 50);
/// See [`RELAY`].
pub const RELAY_PORT: u16 = 3545;
/// See [`RELAY`].
pub const NATIVE: Ipv6Addr = Ipv6Addr::new(0x2600, 0, 0, 0, 0, 0, 0, 1);
/// A peer of which nobody has heard.
const STRANGER: u32 = 1000;

/// A relay with its tables inside.
pub type AnyRelay = Relay<[Peer; 256]>;

/// Peers in memory of their own.
pub type Peers = PeerTable<Box<[Peer]>>;
/// A client with that many.
pub type AnyClient = Client<Box<[Peer]>, Open, 16>;

/// Where the peer of this number is, and its address.
pub fn peer(number: u32) -> (SocketAddrV4, Ipv6Addr) {
    let at = SocketAddrV4::new(Ipv4Addr::from_bits(0x0900_0000 | number), 8192);
    (at, Address { server: SERVER, flags: Flags::empty(), port: at.port(), client: *at.ip() }.to_ipv6())
}

/// A table for twice that many peers, `filled` of them in it and trusted.
pub fn peers(count: u32, filled: u32) -> Peers {
    let slots = vec![<Peer as Row>::EMPTY; count as usize * 2];
    let mut table = PeerTable::with_storage(slots.into_boxed_slice());
    table.rekey([0x0123_4567_89ab_cdef, 0x1122_3344_5566_7788]);
    for number in 0..filled {
        let (at, address) = peer(number);
        if let Ok(peer) = table.find_or_insert(NOW, &address) {
            peer.trust(NOW, at, true);
        }
    }
    table
}

/// The same, for ever. No more than 10,000 are filled in, since valgrind takes
/// minutes for a million; what a lookup costs is the place of its peer among
/// the 16 that are looked at.
pub fn leaked_peers(count: u32) -> (&'static Peers, Ipv6Addr) {
    let filled = count.min(10_000);
    (Box::leak(Box::new(peers(count, filled))), peer(filled / 2).1)
}

/// A server that has drawn its secret.
pub fn server() -> &'static mut Server {
    let server = Box::leak(Box::new(Server::new(ServerConfig::new(SERVER), LinkId(0))));
    server.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
    // Its advertisement is made for the first that asks.
    let first = answer(server, &peer_to_server(0), &mut solicitation());
    assert!(matches!(first, Verdict::Answer { .. }), "{first:?}");
    server
}

/// A Router Solicitation of the client, with a nonce, in a buffer that has
/// room for the answer.
pub fn solicitation() -> PacketMut<'static> {
    let mut header = [0; 13];
    let mut writer = Writer::new(&mut header);
    Authentication { client_id: &[], value: &[], nonce: *b"isatap 1", confirmation: 0 }.emit(&mut writer);
    let bare = isatap_core::nd::message::router_solicitation_packet(&CLIENT_LINK_LOCAL, &ALL_ROUTERS);
    let mut payload = packet(&[&header[..], &bare, &[0; 128]].concat());
    payload.truncate(header.len() + bare.len());
    payload
}

/// What the client's packets come behind, as its server sees them.
pub const TO_SERVER: Outer = Outer::udp(MAPPED, SocketAddrV4::new(SERVER, SERVER_PORT));

/// The same of a peer's.
pub fn peer_to_server(number: u32) -> Outer {
    Outer::udp(peer(number).0, SocketAddrV4::new(SERVER, SERVER_PORT))
}

/// What a packet of the peer of this number comes behind.
pub fn behind(number: u32) -> Outer {
    Outer::udp(peer(number).0, LOCAL)
}

/// The flow from the peer that all packets come from.
pub fn from_peer_path() -> Path {
    Path { from: peer(7).0, to: LOCAL }
}

/// A client that has qualified with the server above, and knows 100 peers.
pub fn client() -> &'static mut AnyClient {
    let table = PeerTable::with_storage(vec![<Peer as Row>::EMPTY; 200].into_boxed_slice());
    let config = ClientConfig::new(SERVER, LOCAL.port());
    let client: &mut AnyClient = Box::leak(Box::new(Client::with_parts(config, LinkId(0), Open, table)));
    let mut entropy = |out: &mut [u8]| out.fill(0x5a);
    client.set_locator(NOW, Some(Locator { address: *LOCAL.ip(), subnet_length: 24 }));
    let mut buffer = vec![0; 2048];
    for _ in 0..3 {
        client.handle_timeout(NOW, &mut entropy);
        let mut asked = PacketMut::empty(&mut buffer);
        while let Some(sent) = client.poll_transmit(&mut asked).expect("room") {
            let to = Path::of(&sent.outer.expect("Teredo is tunnelled")).expect("UDP").to;
            let mut payload = packet(&[asked.as_slice(), &[0; 128]].concat());
            payload.truncate(asked.len());
            let answered = server().decapsulate(NOW, &Outer::udp(MAPPED, to), &mut payload);
            assert!(matches!(answered, Verdict::Answer { .. }), "{answered:?}");
            client.decapsulate(NOW, &Outer::udp(to, LOCAL), &mut payload);
        }
        while client.poll_event().is_some() {}
    }
    assert!(client.address().is_some(), "{:?}", client.status());
    for number in 0..100 {
        let mut first = from_peer(number, 64, client);
        client.decapsulate(NOW, &behind(number), &mut first);
    }
    client
}

/// A payload of `length` bytes from a peer to the client.
pub fn from_peer(number: u32, length: usize, client: &AnyClient) -> PacketMut<'static> {
    packet(&inner(length, peer(number).1, client.address().expect("qualified")))
}

/// A client and a payload for it from a peer that it knows.
pub fn received(length: usize) -> (&'static mut AnyClient, PacketMut<'static>) {
    let client = client();
    let payload = from_peer(7, length, client);
    (client, payload)
}

/// A client and a packet of its host to a peer that it knows.
pub fn to_send(length: usize) -> (&'static mut AnyClient, PacketMut<'static>) {
    let client = client();
    let bytes = inner(length, client.address().expect("qualified"), peer(7).1);
    (client, packet(&bytes))
}

/// A client and a payload for it from a peer that it has not heard of.
pub fn received_first(length: usize) -> (&'static mut AnyClient, PacketMut<'static>) {
    let client = client();
    let payload = from_peer(STRANGER, length, client);
    (client, payload)
}

/// A client and a packet of its host to a peer that it has not heard of.
pub fn to_send_first(length: usize) -> (&'static mut AnyClient, PacketMut<'static>) {
    let client = client();
    let bytes = inner(length, client.address().expect("qualified"), peer(STRANGER).1);
    (client, packet(&bytes))
}

/// A relay with 256 places, and that it knows the peers of the client.
pub fn relay() -> &'static mut AnyRelay {
    let relay: &mut AnyRelay = Box::leak(Box::new(Relay::new(RelayConfig::new(RELAY.into(), RELAY_PORT), LinkId(0))));
    relay.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
    for number in 0..8 {
        let mut first = packet(&inner(64, NATIVE, peer(number).1));
        relay.encapsulate(NOW, &mut first);
    }
    for number in 0..8 {
        let mut answer = packet(&inner(64, peer(number).1, NATIVE));
        relay.decapsulate(NOW, &to_relay(number), &mut answer);
    }
    while relay.poll_event().is_some() {}
    for number in 0..8 {
        let mut again = packet(&inner(64, peer(number).1, NATIVE));
        assert!(matches!(relay.decapsulate(NOW, &to_relay(number), &mut again), Verdict::Deliver { .. }));
    }
    relay
}

/// What a packet of the peer of this number comes to the relay behind.
pub fn to_relay(number: u32) -> Outer {
    Outer::udp(peer(number).0, SocketAddrV4::new(RELAY, RELAY_PORT))
}

/// A relay and a packet from a peer to the native host.
pub fn relayed_in(length: usize) -> (&'static mut AnyRelay, PacketMut<'static>) {
    (relay(), packet(&inner(length, peer(7).1, NATIVE)))
}

/// A relay and a packet from the native host to a peer.
pub fn relayed_out(length: usize) -> (&'static mut AnyRelay, PacketMut<'static>) {
    (relay(), packet(&inner(length, NATIVE, peer(7).1)))
}

/// A server and a bubble that one of its clients sends another.
pub fn carried() -> (&'static mut Server, PacketMut<'static>) {
    let mut bytes = [0; 40];
    Bubble::new(peer(7).1, peer(8).1).emit(&mut Writer::new(&mut bytes));
    (server(), packet(&bytes))
}

/// What goes in front of a packet to the peer, and the packet.
pub fn to_push(length: usize) -> Arrived {
    let (client, mut packet) = to_send(length);
    match client.encapsulate(NOW, &mut packet) {
        Verdict::Tunnel { outer, .. } => (outer, packet),
        other => panic!("{other:?}"),
    }
}

/// A client's view of the peer, and a payload from it.
pub fn view(length: usize) -> (ClientView<'static>, &'static [u8]) {
    let (client, payload) = received(length);
    let client: &'static AnyClient = client;
    let locators: &'static [Locator; 1] = Box::leak(Box::new([Locator { address: *LOCAL.ip(), subnet_length: 24 }]));
    let view = ClientView {
        servers: client.config().qualify.servers(),
        address: client.address(),
        peer: client.peers().find(&peer(7).1),
        secret_source: None,
        testing: false,
        local: None,
        discovery: false,
        reach: Reach { own: locators, accept_bogons: false },
    };
    (view, payload.as_slice().to_vec().leak())
}

/// The structure of a datagram: headers, packet and trailers told apart.
#[inline(always)]
pub fn parse(payload: &[u8]) -> Option<Datagram<'_>> {
    Datagram::parse(payload).ok()
}

/// Every check on a datagram: its structure, its inner header and source, and
/// who may send it (RFC 4380 §5.2.3).
#[inline(always)]
pub fn parse_and_admit(view: &ClientView<'_>, path: Path, payload: &[u8]) -> Result<ClientCase, DropReason> {
    if let Some(header) = ingress::data(payload)
        && ingress::is_trusted(view, path, &header)
    {
        return Ok(ClientCase::Trusted);
    }
    let (datagram, header) = ingress::parse(payload)?;
    let trailers: KnownTrailers<'_> = datagram.trailers().collect_known()?;
    ingress::client(view, path, &datagram, &header, &trailers)
}

/// A packet of the host.
#[inline(always)]
pub fn encapsulate(client: &mut AnyClient, packet: &mut PacketMut<'_>) -> Verdict {
    client.encapsulate(NOW, packet)
}

/// A datagram for the client.
#[inline(always)]
pub fn receive(client: &mut AnyClient, outer: &Outer, payload: &mut PacketMut<'_>) -> Verdict {
    client.decapsulate(NOW, outer, payload)
}

/// A datagram for the server.
#[inline(always)]
pub fn answer(server: &mut Server, outer: &Outer, payload: &mut PacketMut<'_>) -> Verdict {
    server.decapsulate(NOW, outer, payload)
}

/// A packet of a native host to a client.
#[inline(always)]
pub fn relay_out(relay: &mut AnyRelay, packet: &mut PacketMut<'_>) -> Verdict {
    relay.encapsulate(NOW, packet)
}

/// A datagram for the relay.
#[inline(always)]
pub fn relay_in(relay: &mut AnyRelay, outer: &Outer, payload: &mut PacketMut<'_>) -> Verdict {
    relay.decapsulate(NOW, outer, payload)
}
