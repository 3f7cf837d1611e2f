//! A Teredo Internet: NATs of nftables with clients behind them, servers, relays, in
//! namespaces with addresses that look public.
//!
//! ```text
//!   client a ── NAT a ─┐                     ┌─ server 198.51.100.1, .2 ─┐
//!   192.168.1.2        ├── IPv4 "Internet" ──┤                           ├── native 2001:db8:1::/64
//!   client b ── NAT b ─┘                     └─ relay 198.51.100.9 ──────┘
//!   192.168.2.2
//! ```

use std::net::Ipv6Addr;
use std::time::Duration;

use super::{Capture, Daemon, Lab, Namespace, Node, PATIENCE, Wire, peers, wait_for, wait_until};

pub const SERVER: &str = "198.51.100.1";
pub const RELAY: &str = "198.51.100.9";
/// The host behind the relay.
pub const NATIVE: &str = "2001:db8:1::7";
/// Every client's service port.
pub const PORT: u16 = 40_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nat {
    /// Whoever knows the mapping can send to it.
    Cone,
    /// One mapping for all; only who was sent to can answer: what masquerading does.
    PortRestricted,
    /// One mapping for all; whoever's address was sent to can answer, from any port.
    AddressRestricted,
    /// Another mapping for each destination, at random ports.
    Symmetric,
}

/// All its networks are on one wire.
pub struct Internet<'l> {
    lab: &'l Lab,
    pub wire: Wire<'l>,
}

impl<'l> Internet<'l> {
    pub fn new(lab: &'l Lab) -> Self {
        Self { lab, wire: lab.wire() }
    }

    /// Gives a machine these addresses on `eth0`.
    pub fn join(&self, namespace: &Namespace, addresses: &[&str]) {
        for (number, address) in addresses.iter().enumerate() {
            match number {
                0 => self.wire.join(namespace, "eth0", &format!("{address}/24")),
                _ => {
                    namespace.ok(&format!("ip address add {address}/24 dev eth0"));
                }
            }
        }
        for network in ["198.51.100.0/24", "203.0.113.0/24"] {
            namespace.ok(&format!("ip route replace {network} dev eth0"));
        }
    }

    /// A machine at 203.0.113.`number`, behind no NAT.
    pub fn host(&self, name: &str, number: u8) -> Namespace {
        let host = self.lab.namespace(name);
        self.join(&host, &[&format!("203.0.113.{number}")]);
        host
    }

    /// A NAT at 203.0.113.`number` with 192.168.`number`.0/24 behind it, where the client is 2.
    pub fn home(&self, number: u8, kind: Nat) -> Home<'l> {
        let nat = self.host(&format!("nat-{number}"), number);
        let client = self.lab.namespace(&format!("client-{number}"));
        let inside = self.lab.wire();
        inside.join(&nat, "eth1", &format!("192.168.{number}.1/24"));
        inside.join(&client, "eth0", &format!("192.168.{number}.2/24"));
        client.ok(&format!("ip route add default via 192.168.{number}.1"));
        // What was spoken to is kept for each port of the client's, as RFC 4787 has it: masquerading
        // keeps ports. Unsolicited packets must end at once: a reject, or an entry of connection tracking for
        // them, would change what the NAT does to the next packet of the client's.
        let masquerade = if kind == Nat::Symmetric { "masquerade random,fully-random" } else { "masquerade" };
        let dnat = match kind {
            Nat::Cone => format!("iifname eth0 udp dport 1024-65535 dnat to 192.168.{number}.2"),
            Nat::AddressRestricted => {
                format!("iifname eth0 ip saddr . udp dport @spoken dnat to 192.168.{number}.2")
            }
            _ => String::new(),
        };
        let rules = nat.file(
            "nat.nft",
            &format!(
                "table ip nat {{
                    set spoken {{ type ipv4_addr . inet_service; flags dynamic; timeout 60s; }}
                    chain seen {{ type filter hook postrouting priority 50; oifname eth0 meta l4proto udp add @spoken {{ ip daddr . udp sport }}
                    }}
                    chain in {{ type nat hook prerouting priority -100; {dnat}
                    }}
                    chain out {{ type nat hook postrouting priority 100; oifname eth0 {masquerade}
                    }}
                }}
                table ip filter {{
                    chain input {{ type filter hook input priority 0; iifname eth0 meta l4proto udp drop
                    }}
                }}\n"
            ),
        );
        nat.ok(&format!("sysctl -qw net.ipv4.ip_forward=1 && nft -f {rules}"));
        Home { inside, nat, client }
    }

    /// A client's place behind such a NAT or none, and the NAT's.
    pub fn behind(&self, number: u8, nat: Option<Nat>) -> (Namespace, Option<Namespace>) {
        let Some(kind) = nat else { return (self.host(&format!("client-{number}"), number), None) };
        let home = self.home(number, kind);
        (home.client, Some(home.nat))
    }

    /// The server's place; nothing serves there.
    pub fn server(&self) -> Namespace {
        let server = self.lab.namespace("server");
        self.join(&server, &[SERVER, "198.51.100.2"]);
        server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
        server
    }

    pub fn miredo_server(&self) -> Namespace {
        let server = self.server();
        start_miredo_server(&server);
        server
    }

    pub fn our_server(&self) -> (Namespace, Daemon) {
        let server = self.server();
        let daemon = start_our_server(&server);
        (server, daemon)
    }

    /// The relay's place, and the native host behind it; nothing relays there.
    pub fn relay(&self, server: &Namespace) -> (Namespace, Namespace) {
        let (relay, native) = (self.lab.namespace("relay"), self.lab.namespace("native"));
        self.join(&relay, &[RELAY]);
        let site = self.lab.wire();
        for (namespace, address) in [(&relay, "2001:db8:1::9"), (&native, NATIVE), (server, "2001:db8:1::1")] {
            site.join(namespace, "eth6", &format!("{address}/64"));
        }
        relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
        native.ok("ip -6 route add 2001::/32 via 2001:db8:1::9");
        (relay, native)
    }

    /// Our server, and our relay with these options.
    pub fn our_relay(&self, options: &str) -> Relayed {
        let (server, server_daemon) = self.our_server();
        let (relay, native) = self.relay(&server);
        let daemon = start_our_relay(&relay, options);
        Relayed { daemon, _server_daemon: server_daemon, relay, native, server }
    }
}

/// See [`Internet::our_relay`]. In the order in which they end; who takes it apart ends the server.
pub struct Relayed {
    pub daemon: Daemon,
    _server_daemon: Daemon,
    pub relay: Namespace,
    pub native: Namespace,
    pub server: Namespace,
}

/// A NAT with a client's network behind it, and the client's namespace.
pub struct Home<'l> {
    pub inside: Wire<'l>,
    pub nat: Namespace,
    pub client: Namespace,
}

pub fn start_miredo_server(server: &Namespace) {
    let configuration = server.file("miredo-server.conf", &format!("ServerBindAddress {SERVER}\n"));
    let pid = server.directory().join("miredo-server.pid");
    server.start("miredo-server", &format!("miredo-server -f -c {configuration} -u nobody -p {}", pid.display()));
    wait_until("miredo-server", PATIENCE, || server.succeeds("ss -uln | grep -q 198.51.100.2:3544"));
}

/// Miredo as a client, or as a relay; its device is `teredo` like ours.
pub fn miredo(namespace: &Namespace, configuration: &str) {
    let text = format!("InterfaceName teredo\nBindPort {PORT}\n{configuration}\n");
    let configuration = namespace.file("miredo.conf", &text);
    let pid = namespace.directory().join("miredo.pid");
    namespace.start("miredo", &format!("miredo -f -c {configuration} -u nobody -p {}", pid.display()));
}

pub fn miredo_client(namespace: &Namespace) -> Ipv6Addr {
    miredo(namespace, &format!("ServerAddress {SERVER}"));
    teredo_address(namespace)
}

pub fn our_client(namespace: &Namespace, options: &str) -> (Daemon, Ipv6Addr) {
    let daemon = start(namespace, "client", &format!("--server {SERVER} --bind :{PORT} {options}"));
    (daemon, teredo_address(namespace))
}

pub fn start_our_server(server: &Namespace) -> Daemon {
    start(server, "server", &format!("--primary {SERVER}"))
}

pub fn start_our_relay(relay: &Namespace, options: &str) -> Daemon {
    start(relay, "relay", &format!("--local {RELAY} --bind :41000 {options}"))
}

/// `isatap teredo ROLE …`, until it is up.
pub fn start(namespace: &Namespace, role: &str, options: &str) -> Daemon {
    Daemon::isatap(namespace, format!("teredo {role} {options}").trim_end())
}

/// The Teredo address of a client, ours or miredo's, once it has one.
pub fn teredo_address(namespace: &Namespace) -> Ipv6Addr {
    wait_for(&format!("a Teredo address of {}", namespace.name()), PATIENCE, || {
        let shown = namespace.ok("ip -6 -o address show | grep -o '2001:0:[0-9a-f:]*' || true");
        shown.lines().next().and_then(|address| address.parse().ok())
    })
}

/// A page of 300 kB.
#[track_caller]
pub fn download(client: &Namespace, server: &Namespace, address: Ipv6Addr) {
    peers::download(client, server, address, 300_000);
}

/// What ours have sent is Teredo to tshark, and nothing of it malformed.
#[track_caller]
pub fn decodes(capture: &Capture, least: usize) {
    wait_until("Teredo packets", PATIENCE, || capture.so_far().count_teredo(PORT) >= least);
    capture.so_far().assert_clean_teredo(PORT);
}
