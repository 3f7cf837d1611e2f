//! Nodes of the core for Teredo: a client, a server, a relay.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::{Event, Machine, Ticket, Transmit, Verdict, Via};
use isatap_core::link::Locator;
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::Source;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::relay::{Relay, RelayConfig};
use isatap_core::teredo::server::{Server, ServerConfig};
use isatap_core::time::Instant;

use super::ip::{Ipv4, Ipv6};
use super::isatap::{check, describe};
use super::journey::{Action, Hop};
use super::nat::{Nat, NatKind};
use super::native::{NATIVE_LINK, NativeHost};
use super::node::{LabNode, Outbox, Path, interface};
use super::ping::PingOutcome;
use super::rng::Rng;
use super::world::{NodeId, World};

/// The Teredo link of the nodes here.
pub const TEREDO_LINK: LinkId = LinkId(0);
/// The native link of a [`TeredoServer`] and a [`TeredoRelay`].
pub const INTERNET_LINK: LinkId = LinkId(1);

/// Room for the longest packet that a machine writes of its own accord.
const OWN_PACKET: usize = 1280 + 28;

/// Two clients behind NATs, the server that both use, and a native host behind
/// a relay.
///
/// `a` is behind [`Nat`] `nat-a`, and `b` behind `nat-b` or the same one.
pub struct TeredoSite {
    /// The world.
    pub world: World,
    /// The first client.
    pub a: NodeId,
    /// The second one.
    pub b: NodeId,
    /// The native host.
    pub host: NodeId,
    /// The NAT of `a`.
    pub nat_a: NodeId,
    /// The server.
    pub server: NodeId,
}

/// How a [`TeredoSite`] is to be built.
#[derive(Clone, Copy, Debug)]
pub struct TeredoSetup {
    /// The NAT of the first client.
    pub nat_a: NatKind,
    /// The NAT of the second one; `None`: it is behind the first one's.
    pub nat_b: Option<NatKind>,
    /// Whether packets to a NAT's own address come back in.
    pub hairpin: bool,
    /// Whether each client has its service port opened by UPnP.
    pub upnp: [bool; 2],
    /// How long both NATs keep a mapping.
    pub timeout: Duration,
    /// Whether both clients find out how long that is.
    pub interval_determination: bool,
}

impl TeredoSetup {
    /// NATs of these kinds, without hairpinning and UPnP, that keep mappings
    /// for 60 s.
    #[must_use]
    pub const fn new(nat_a: NatKind, nat_b: Option<NatKind>) -> Self {
        TeredoSetup {
            nat_a,
            nat_b,
            hairpin: false,
            upnp: [false; 2],
            timeout: Duration::from_secs(60),
            interval_determination: false,
        }
    }
}

/// How a first packet and its answer got through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// How long it took; `None`: no answer came.
    pub after: Option<Duration>,
    /// IPv4 packets that the clients, servers, relays and hosts sent in that
    /// time.
    pub packets: usize,
}

impl TeredoSite {
    /// Builds the site in `world`, and lets both clients qualify.
    #[must_use]
    pub fn new(world: World, nat_a: NatKind, nat_b: Option<NatKind>, hairpin: bool) -> Self {
        TeredoSite::with_setup(world, TeredoSetup { hairpin, ..TeredoSetup::new(nat_a, nat_b) })
    }

    /// The same, in all detail.
    #[must_use]
    pub fn with_setup(mut world: World, setup: TeredoSetup) -> Self {
        let server_address = Ipv4Addr::new(198, 51, 100, 1);
        let relay_address = Ipv4Addr::new(198, 51, 100, 50);
        let router = Ipv6Addr::new(0x2001, 0xdb8, 0, 8, 0, 0, 0, 1);
        let native = Ipv6Addr::new(0x2001, 0xdb8, 0, 8, 0, 0, 0, 0x80);
        let internet = world.add_lan("internet");
        let server = world.add("server", TeredoServer::new(ServerConfig::new(server_address)));
        world.set_ipv4(server, &[server_address, Ipv4Addr::new(198, 51, 100, 2)]);
        world.join(server, INTERNET_LINK, internet);
        let relay = world.add("relay", TeredoRelay::new(RelayConfig::new(relay_address.into(), 3545), router));
        world.set_ipv4(relay, &[relay_address]);
        world.join(relay, INTERNET_LINK, internet);
        let host = world.add("host", NativeHost::new(native, Ipv6Prefix::subnet_of(&native), Some(router)));
        world.join(host, NATIVE_LINK, internet);

        let mut nat = |name: &str, kind, public: [u8; 4]| {
            let mut nat = Nat::new(kind, public.into());
            nat.hairpin = setup.hairpin;
            nat.timeout = setup.timeout;
            let id = world.add(name, nat);
            let first = Ipv4Addr::from(public);
            let further = if kind == NatKind::AddressSymmetric { 3 } else { 0 };
            let pool: Vec<Ipv4Addr> = (0..=further).map(|n| Ipv4Addr::from_bits(first.to_bits() + n)).collect();
            world.set_ipv4(id, &pool);
            id
        };
        let nat_a = nat("nat-a", setup.nat_a, [192, 0, 2, 1]);
        let nat_b = setup.nat_b.map_or(nat_a, |kind| nat("nat-b", kind, [203, 0, 113, 10]));
        let mut client = |name: &str, gateway, address: [u8; 4], port, upnp: bool| {
            let mut config = ClientConfig::new(server_address, port);
            config.interval_determination = setup.interval_determination;
            let id = world.add(name, TeredoClient::new(config));
            world.set_gateway(id, gateway);
            world.set_ipv4(id, &[address.into()]);
            // TER-72: the port of the same number, before the client qualifies.
            if upnp && let Some(public) = world.ipv4(gateway).first().copied() {
                let inside = SocketAddrV4::new(address.into(), port);
                world.with_node::<Nat, _>(gateway, |nat, _, _| nat.open(inside, port));
                let opened = Some(SocketAddrV4::new(public, port));
                world.with_node::<TeredoClient, _>(id, |client, _, _| client.machine_mut().port_mapped(opened));
            }
            id
        };
        let a = client("a", nat_a, [192, 168, 1, 2], 40_000, setup.upnp[0]);
        let b = client("b", nat_b, [192, 168, 2, 2], 50_000, setup.upnp[1]);
        world.run_for(Duration::from_secs(15));
        TeredoSite { world, a, b, host, nat_a, server }
    }

    /// The node's IPv6 address, if it has one.
    #[must_use]
    pub fn address(&self, id: NodeId) -> Option<Ipv6Addr> {
        self.world.ipv6(id).first().copied()
    }

    /// Sends one echo request and waits for the answer, for 20 s at most.
    pub fn connect(&mut self, from: NodeId, to: NodeId) -> Connection {
        let Some(destination) = self.address(to) else { return Connection { after: None, packets: 0 } };
        let before = self.world.journey().len();
        let ping = self.world.ping(from, destination);
        self.world.run_while_not(Duration::from_secs(20), |world| world.outcome(ping).is_reply());
        let after = match self.world.outcome(ping) {
            PingOutcome::Reply { after, .. } => Some(after),
            _ => None,
        };
        let hops = self.world.journey().iter().skip(before);
        let is_sent = |hop: &&Hop| hop.action == Action::Encapsulate;
        Connection { after, packets: hops.filter(is_sent).count() }
    }
}

/// Packets that wait for a ticket. A caller of the core keeps them.
#[derive(Debug, Default)]
struct Held {
    packets: Vec<(Ticket, bool, Vec<u8>)>,
}

impl Held {
    fn take(&mut self, ticket: Ticket) -> Vec<(bool, Vec<u8>)> {
        let (taken, rest) = self.packets.drain(..).partition(|(of, _, _)| *of == ticket);
        self.packets = rest;
        taken.into_iter().map(|(_, inbound, packet)| (inbound, packet)).collect()
    }
}

/// What the three have in common.
struct Station<M> {
    machine: M,
    held: Held,
    /// UDP ports that are open.
    ports: Vec<u16>,
    /// Where native packets go; `None`: to the programs of this node.
    native: Option<LinkId>,
    /// The next router there; `None`: all destinations are neighbours.
    gateway: Option<Ipv6Addr>,
}

impl<M: Machine> Station<M> {
    fn new(machine: M, port: u16, native: Option<LinkId>) -> Self {
        Station { machine, held: Held::default(), ports: vec![port], native, gateway: None }
    }

    fn receive(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        let port = Ipv4::parse(bytes).and_then(|packet| packet.payload.get(2..4).map(<[u8]>::to_vec));
        let open = port.is_some_and(|port| self.ports.iter().any(|open| open.to_be_bytes() == port[..]));
        if !open {
            return out.dropped(DropReason::NotAddressed, bytes);
        }
        let mut buffer = vec![0; HEADROOM + bytes.len() + OWN_PACKET];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let Ok(mut packet) = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()) else { return };
        let verdict = self.machine.decapsulate_ipv4(now, &mut packet);
        self.act(verdict, true, bytes, packet.as_slice(), out);
        self.drain(now, out);
    }

    fn send(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        self.encapsulate(now, bytes, out);
        self.drain(now, out);
    }

    fn encapsulate(&mut self, now: Instant, bytes: &[u8], out: &mut Outbox) {
        let mut buffer = vec![0; HEADROOM + bytes.len() + OWN_PACKET];
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        let Ok(mut packet) = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()) else { return };
        let verdict = self.machine.encapsulate(now, &mut packet);
        self.act(verdict, false, bytes, packet.as_slice(), out);
    }

    fn act(&mut self, verdict: Verdict, inbound: bool, original: &[u8], now: &[u8], out: &mut Outbox) {
        match verdict {
            Verdict::Drop(reason) => out.dropped(reason, original),
            Verdict::Hold { ticket } => self.held.packets.push((ticket, inbound, now.to_vec())),
            Verdict::Consumed { .. } if inbound => out.decapsulated(original, Some("taken by the node itself")),
            Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
                out.tunnel(&outer, now);
            }
            Verdict::Deliver { .. } => {
                out.decapsulated(original, None);
                self.deliver(now, out);
            }
            Verdict::Answer { via: Via::Host { .. }, .. } => self.deliver(now, out),
            _ => {}
        }
    }

    fn deliver(&self, packet: &[u8], out: &mut Outbox) {
        let destination = Ipv6::parse(packet).map(|header| header.destination);
        match (self.native, destination) {
            (Some(link), Some(destination)) => {
                out.native(link, self.gateway.unwrap_or(destination), &forwarded(packet))
            }
            _ => out.deliver(TEREDO_LINK, packet),
        }
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.machine.handle_timeout(now, entropy);
        self.drain(now, out);
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        let mut buffer = [0; HEADROOM + OWN_PACKET];
        let mut packet = PacketMut::empty(&mut buffer);
        loop {
            while let Ok(Some(Transmit { outer: Some(outer), .. })) = self.machine.poll_transmit(&mut packet) {
                out.tunnel(&outer, packet.as_slice());
            }
            let Some(event) = self.machine.poll_event() else { break };
            match event {
                Event::Released { ticket, .. } => {
                    for (inbound, packet) in self.held.take(ticket) {
                        if inbound { self.deliver(&packet, out) } else { self.encapsulate(now, &packet, out) }
                    }
                }
                Event::Abandoned { ticket, reason, .. } => {
                    for (_, packet) in self.held.take(ticket) {
                        out.dropped(reason, &packet);
                    }
                }
                Event::OpenPort { port, .. } => self.ports.push(port),
                Event::ClosePort { port, .. } => self.ports.retain(|open| *open != port),
                event => out.event(|| describe(&event)),
            }
        }
    }
}

/// A router's part: one hop less.
fn forwarded(packet: &[u8]) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if let Some(hop_limit) = packet.get_mut(7) {
        *hop_limit = hop_limit.saturating_sub(1);
    }
    packet
}

/// A client of the core, alone on its host.
pub struct TeredoClient {
    port: Station<Client>,
}

impl TeredoClient {
    /// A client that starts once it has an IPv4 address.
    #[must_use]
    pub fn new(config: ClientConfig) -> Self {
        TeredoClient { port: Station::new(Client::new(config, TEREDO_LINK), config.port, None) }
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Client {
        &self.port.machine
    }

    /// The machine, to be told something by
    /// [`World::with_node`](super::World::with_node).
    pub fn machine_mut(&mut self) -> &mut Client {
        &mut self.port.machine
    }
}

impl LabNode for TeredoClient {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NotAddressed, packet);
    }

    fn send_ipv6(&mut self, now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        let own = self.port.machine.address();
        match Ipv6::parse(packet) {
            Some(header) if Some(header.destination) == own => out.deliver(TEREDO_LINK, packet),
            _ => self.port.send(now, packet, out),
        }
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn drain(&mut self, now: Instant, out: &mut Outbox) {
        self.port.drain(now, out);
    }

    fn set_ipv4(&mut self, now: Instant, addresses: &[Ipv4Addr], out: &mut Outbox) {
        let locator = addresses.first().map(|address| Locator { address: *address, subnet_length: 24 });
        self.port.machine.set_locator(now, locator);
        self.port.drain(now, out);
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        self.port.machine.address()
    }

    /// The last resort: its default route is worse than all others.
    fn path(&self, destination: &Ipv6Addr) -> Option<Path> {
        self.port.machine.address().filter(|_| !destination.is_unicast_link_local())?;
        let prefix_length = if destination.segments().starts_with(&[0x2001, 0]) { 32 } else { 0 };
        Some(Path { link: TEREDO_LINK, device: None, encapsulated: true, prefix_length, metric: u32::MAX })
    }

    fn sources(&self, _now: Instant) -> Vec<Source> {
        let own = self.port.machine.address().into_iter();
        own.map(|own| Source { interface: interface(TEREDO_LINK), ..Source::new(own.into(), 32) }).collect()
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        self.port.machine.address().into_iter().collect()
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}

/// A server of the core, with a native link for what it forwards.
pub struct TeredoServer {
    port: Station<Server>,
}

impl TeredoServer {
    /// A server; the world gives it both addresses.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        let port = isatap_core::teredo::addr::SERVER_PORT;
        TeredoServer { port: Station::new(Server::new(config, TEREDO_LINK), port, Some(INTERNET_LINK)) }
    }

    /// The same where a router leads on from the native segment.
    #[must_use]
    pub fn gateway(mut self, gateway: Option<Ipv6Addr>) -> Self {
        self.port.gateway = gateway;
        self
    }

    /// What became of packets so far.
    #[must_use]
    pub fn counters(&self) -> &Counters<u64> {
        self.port.machine.counters()
    }
}

impl LabNode for TeredoServer {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, _now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::ForwardingOff, packet);
    }

    fn send_ipv6(&mut self, _now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        out.dropped(DropReason::NoRoute, packet);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        None
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        Vec::new()
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}

/// A relay of the core: the router of a native segment.
pub struct TeredoRelay {
    port: Station<Relay>,
    address: Ipv6Addr,
}

impl TeredoRelay {
    /// A relay whose address on the native segment is `address`.
    #[must_use]
    pub fn new(config: RelayConfig, address: Ipv6Addr) -> Self {
        TeredoRelay { port: Station::new(Relay::new(config, TEREDO_LINK), config.port, Some(INTERNET_LINK)), address }
    }

    /// The same where a router leads on from the native segment.
    #[must_use]
    pub fn gateway(mut self, gateway: Option<Ipv6Addr>) -> Self {
        self.port.gateway = gateway;
        self
    }

    /// The machine.
    #[must_use]
    pub fn machine(&self) -> &Relay {
        &self.port.machine
    }
}

impl LabNode for TeredoRelay {
    fn receive_ipv4(&mut self, now: Instant, packet: &[u8], out: &mut Outbox) {
        self.port.receive(now, packet, out);
    }

    fn receive_ipv6(&mut self, now: Instant, _link: LinkId, packet: &[u8], out: &mut Outbox) {
        self.port.send(now, &forwarded(packet), out);
    }

    fn send_ipv6(&mut self, now: Instant, _link: Option<LinkId>, packet: &[u8], out: &mut Outbox) {
        self.port.send(now, packet, out);
    }

    fn timeout(&mut self, now: Instant, entropy: &mut Rng, out: &mut Outbox) {
        self.port.timeout(now, entropy, out);
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.port.machine.poll_timeout()
    }

    fn source_for(&self, _destination: &Ipv6Addr) -> Option<Ipv6Addr> {
        Some(self.address)
    }

    fn addresses(&self) -> Vec<Ipv6Addr> {
        vec![self.address]
    }

    fn check(&self) -> Result<(), String> {
        check(self.port.machine.counters())
    }
}
