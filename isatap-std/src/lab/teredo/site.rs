//! A Teredo site to measure connections in.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::Duration;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::client::ClientConfig;
use isatap_core::teredo::relay::RelayConfig;
use isatap_core::teredo::server::ServerConfig;

use super::super::journey::{Action, Hop};
use super::super::nat::{Nat, NatKind};
use super::super::native::{NATIVE_LINK, NativeHost};
use super::super::ping::PingOutcome;
use super::super::world::{NodeId, World};
use super::{INTERNET_LINK, TeredoClient, TeredoRelay, TeredoServer};

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
