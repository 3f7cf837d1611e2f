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

use super::{Capture, Daemon, Lab, Namespace, Node, PATIENCE, Wire, wait_for, wait_until};

pub const SERVER: &str = "198.51.100.1";
pub const RELAY: &str = "198.51.100.9";
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

/// Joins the Internet, of which all networks are on one wire.
pub fn join_internet(internet: &Wire<'_>, namespace: &Namespace, addresses: &[&str]) {
    for (number, address) in addresses.iter().enumerate() {
        match number {
            0 => internet.join(namespace, "eth0", &format!("{address}/24")),
            _ => {
                namespace.ok(&format!("ip address add {address}/24 dev eth0"));
            }
        }
    }
    for network in ["198.51.100.0/24", "203.0.113.0/24"] {
        namespace.ok(&format!("ip route replace {network} dev eth0"));
    }
}

/// A NAT with a client's network behind it, and the client's namespace.
pub struct Home<'l> {
    pub inside: Wire<'l>,
    pub nat: Namespace,
    pub client: Namespace,
}

pub fn home<'l>(lab: &'l Lab, internet: &Wire<'l>, name: &str, number: u8, kind: Nat) -> Home<'l> {
    let nat = lab.namespace(&format!("nat-{name}"));
    let client = lab.namespace(&format!("client-{name}"));
    join_internet(internet, &nat, &[&format!("203.0.113.{number}")]);
    let inside = lab.wire();
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

pub fn server_namespace(lab: &Lab, internet: &Wire<'_>) -> Namespace {
    let server = lab.namespace("server");
    join_internet(internet, &server, &[SERVER, "198.51.100.2"]);
    server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    server
}

pub fn miredo_server(server: &Namespace) {
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

pub fn our_client(namespace: &Namespace) -> (Daemon, Ipv6Addr) {
    let daemon = start(namespace, "client", &format!("--server {SERVER} --bind :{PORT}"));
    (daemon, teredo_address(namespace))
}

pub fn our_server(server: &Namespace) -> Daemon {
    start(server, "server", &format!("--primary {SERVER}"))
}

/// `isatap teredo ROLE …`, until it is up.
pub fn start(namespace: &Namespace, role: &str, options: &str) -> Daemon {
    Daemon::isatap(namespace, &format!("teredo {role} {options}"))
}

/// The Teredo address of a client, ours or miredo's, once it has one.
pub fn teredo_address(namespace: &Namespace) -> Ipv6Addr {
    wait_for(&format!("a Teredo address of {}", namespace.name()), PATIENCE, || {
        let shown = namespace.ok("ip -6 -o address show | grep -o '2001:0:[0-9a-f:]*' || true");
        shown.lines().next().and_then(|address| address.parse().ok())
    })
}

/// A page of 300 kB.
pub fn download(client: &Namespace, server: &Namespace, address: Ipv6Addr) {
    const LENGTH: usize = 300_000;
    let page =
        server.file("page", &format!("HTTP/1.0 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n{}", "x".repeat(LENGTH)));
    let answer = server.file("answer", &format!("read -r line; cat {page}\n"));
    server.start("http", &format!("socat TCP6-LISTEN:80,fork,reuseaddr EXEC:\"sh {answer}\""));
    wait_until("an HTTP server", PATIENCE, || server.succeeds("ss -ltn | grep -q :80"));
    let command = format!("curl -sS --retry 2 --retry-all-errors -m 20 http://[{address}]/ | wc -c");
    let length = client.run_for(Duration::from_secs(70), &command).text;
    server.stop("http");
    assert_eq!(length.trim().parse(), Ok(LENGTH), "{} from {}", client.name(), server.name());
}

/// What ours have sent is Teredo to tshark, and nothing of it malformed.
#[track_caller]
pub fn decodes(capture: &Capture, least: usize) {
    wait_until("Teredo packets", PATIENCE, || capture.so_far().count_teredo(PORT) >= least);
    capture.so_far().assert_clean_teredo(PORT);
}

/// The relay's place, and the native host behind it.
pub fn relayed(lab: &Lab, internet: &Wire<'_>, server: &Namespace) -> (Namespace, Namespace) {
    let (relay, native) = (lab.namespace("relay"), lab.namespace("native"));
    join_internet(internet, &relay, &[RELAY]);
    let site = lab.wire();
    for (namespace, address) in [(&relay, "9"), (&native, "7")] {
        site.join(namespace, "eth6", &format!("2001:db8:1::{address}/64"));
    }
    site.join(server, "eth6", "2001:db8:1::1/64");
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    native.ok("ip -6 route add 2001::/32 via 2001:db8:1::9");
    (relay, native)
}
