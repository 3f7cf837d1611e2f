//! Teredo on this machine's kernel with miredo, Debian's Teredo, and through NATs of
//! nftables, all in namespaces with addresses that look public.
//!
//! ```text
//!   client a ── NAT a ─┐                     ┌─ server 198.51.100.1, .2 ─┐
//!   192.168.1.2        ├── IPv4 "Internet" ──┤                           ├── native 2001:db8:1::/64
//!   client b ── NAT b ─┘                     └─ relay 198.51.100.9 ──────┘
//!   192.168.2.2
//! ```
#![cfg(target_os = "linux")]

mod common;

use common::{
    Capture, Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, peers, status, wait_for, wait_until,
};
use std::net::Ipv6Addr;
use std::time::Duration;

const SERVER: &str = "198.51.100.1";
const RELAY: &str = "198.51.100.9";
/// Every client's service port, so that a cone NAT can be told of it.
const PORT: u16 = 40_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nat {
    /// Whoever knows the mapping can send to it.
    Cone,
    /// One mapping for all; only who was sent to can answer: what masquerading does.
    PortRestricted,
    /// Another mapping for each destination, at random ports.
    Symmetric,
}

/// Joins the Internet, of which all networks are on one wire.
fn join_internet(internet: &Wire<'_>, namespace: &Namespace, addresses: &[&str]) {
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
struct Home {
    _nat: Namespace,
    client: Namespace,
}

fn home<'l>(lab: &'l Lab, internet: &Wire<'l>, name: &str, number: u8, kind: Nat) -> Home {
    let nat = lab.namespace(&format!("nat-{name}"));
    let client = lab.namespace(&format!("client-{name}"));
    join_internet(internet, &nat, &[&format!("203.0.113.{number}")]);
    let inside = lab.wire();
    inside.join(&nat, "eth1", &format!("192.168.{number}.1/24"));
    inside.join(&client, "eth0", &format!("192.168.{number}.2/24"));
    client.ok(&format!("ip route add default via 192.168.{number}.1"));
    // Unsolicited packets must end at once: a reject, or an entry of connection tracking for
    // them, would change what the NAT does to the next packet of the client's.
    let masquerade = if kind == Nat::Symmetric { "masquerade random,fully-random" } else { "masquerade" };
    let dnat = match kind {
        Nat::Cone => format!("iifname eth0 udp dport {PORT} dnat to 192.168.{number}.2:{PORT}"),
        _ => String::new(),
    };
    let rules = nat.file(
        "nat.nft",
        &format!(
            "table ip nat {{
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
    Home { _nat: nat, client }
}

fn server_namespace(lab: &Lab, internet: &Wire<'_>) -> Namespace {
    let server = lab.namespace("server");
    join_internet(internet, &server, &[SERVER, "198.51.100.2"]);
    server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    server
}

fn miredo_server(server: &Namespace) {
    let configuration = server.file("miredo-server.conf", &format!("ServerBindAddress {SERVER}\n"));
    let pid = server.directory().join("miredo-server.pid");
    server.start("miredo-server", &format!("miredo-server -f -c {configuration} -u nobody -p {}", pid.display()));
    wait_until("miredo-server", PATIENCE, || server.succeeds("ss -uln | grep -q 198.51.100.2:3544"));
}

/// Miredo as a client, or as a relay; its device is `teredo` like ours.
fn miredo(namespace: &Namespace, configuration: &str) {
    let text = format!("InterfaceName teredo\nBindPort {PORT}\n{configuration}\n");
    let configuration = namespace.file("miredo.conf", &text);
    let pid = namespace.directory().join("miredo.pid");
    namespace.start("miredo", &format!("miredo -f -c {configuration} -u nobody -p {}", pid.display()));
}

fn miredo_client(namespace: &Namespace) -> Ipv6Addr {
    miredo(namespace, &format!("ServerAddress {SERVER}"));
    teredo_address(namespace)
}

fn our_client(namespace: &Namespace) -> (Daemon, Ipv6Addr) {
    let daemon = start(namespace, "client", &format!("--server {SERVER} --bind :{PORT}"));
    (daemon, teredo_address(namespace))
}

fn our_server(server: &Namespace) -> Daemon {
    start(server, "server", &format!("--primary {SERVER}"))
}

/// `isatap teredo ROLE …`, until it is up.
fn start(namespace: &Namespace, role: &str, options: &str) -> Daemon {
    let arguments = format!("teredo {role} {options} --verbose");
    let arguments: Vec<_> = arguments.split(' ').collect();
    let mut daemon = Daemon::start(namespace, role, isatap_binary(), &arguments);
    daemon.wait_for_line("teredo up: ", PATIENCE);
    daemon
}

/// The Teredo address of a client, ours or miredo's, once it has one.
fn teredo_address(namespace: &Namespace) -> Ipv6Addr {
    wait_for(&format!("a Teredo address of {}", namespace.name()), PATIENCE, || {
        let shown = namespace.ok("ip -6 -o address show | grep -o '2001:0:[0-9a-f:]*' || true");
        shown.lines().next().and_then(|address| address.parse().ok())
    })
}

/// A page of 300 kB.
fn download(client: &Namespace, server: &Namespace, address: Ipv6Addr) {
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
fn decodes(capture: &Capture, least: usize) {
    wait_until("Teredo packets", PATIENCE, || capture.so_far().count_teredo(PORT, "teredo") >= least);
    let wrong = "_ws.malformed || _ws.expert.severity == error || ip.checksum.status == bad";
    assert_eq!(capture.so_far().count_teredo(PORT, wrong), 0);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_takes_a_miredo_client_s_place() {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let (a, b) =
        (home(&lab, &internet, "a", 1, Nat::PortRestricted), home(&lab, &internet, "b", 2, Nat::PortRestricted));
    let capture = internet.capture("udp");
    miredo_server(&server);
    let (client, ours) = our_client(&a.client);
    // TER-1, TER-2: server, flags with 12 random bits at most, mapping.
    let [prefix, zero, high, low, flags, port, ..] = ours.segments();
    assert_eq!([prefix, zero, high, low], [0x2001, 0, 0xc633, 0x6401]);
    assert_eq!(flags & !0x3cff, 0);
    assert_eq!(port, !PORT);
    assert_eq!(ours.octets()[12..], [!203, !0, !113, !1]);
    assert!(status(
        &a.client,
        r#".role == "teredo-client" and .teredo.state == "qualified" and .teredo.nat == "restricted" and .teredo.mapped == "203.0.113.1:40000" and .mtu == 1280"#
    ));
    let routes = a.client.ok("ip -6 route show dev teredo");
    assert!(routes.lines().any(|line| line.starts_with("2001::/32 ")), "{routes}");
    assert!(routes.lines().any(|line| line.starts_with("default ") && line.contains("metric 4294967294")), "{routes}");

    let theirs = miredo_client(&b.client);
    // The first packet is held until the peer has answered: it is not lost.
    assert!(a.client.succeeds(&format!("ping -6 -n -c 1 -W 4 {theirs}")), "{}", client.output());
    assert!(status(&a.client, r#".teredo.peers | any(.trusted and .mapped == "203.0.113.2:40000")"#));
    peers::ping(&b.client, &ours.to_string());
    peers::ping_sizes(&a.client, &theirs.to_string(), 1280);
    download(&a.client, &b.client, theirs);
    download(&b.client, &a.client, ours);
    decodes(&capture, 300);

    // Nobody answers: the sender is told, and nothing is left behind in the end.
    let silent = "2001:0:c633:6401:0:63bf:34ff:8e9b";
    let told = a.client.run(&format!("ping -6 -n -c 1 -W 15 {silent}"));
    assert!(told.text.contains("Address unreachable"), "{told:?}");
    assert!(client.terminate(PATIENCE).success());
    assert!(!a.client.succeeds("ip link show teredo"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_qualifies_anew_after_its_server_was_gone_and_follows_its_ipv4_address() {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let a = home(&lab, &internet, "a", 1, Nat::PortRestricted);
    miredo_server(&server);
    a.client.etc("hosts", &format!("{SERVER} teredo.example.net\n"));
    let options = format!("--server teredo.example.net --bind :{PORT} --refresh-interval 2");
    let mut client = start(&a.client, "client", &options);
    let before = teredo_address(&a.client);

    server.stop("miredo-server");
    // Three solicitations without answer, then a new qualification, which fails.
    client.wait_for_line("server-silent", Duration::from_secs(60));
    assert!(status(
        &a.client,
        r#".teredo.state == "offline" and .teredo.reason == "server-silent" and .addresses == []"#
    ));
    assert!(!a.client.ok("ip -6 route show dev teredo").contains("default"));
    miredo_server(&server);
    // It asks again after a pause of minutes; a change of the IPv4 address is asked about at
    // once.
    a.client.ok("ip address del 192.168.1.2/24 dev eth0 && ip address add 192.168.1.3/24 dev eth0");
    a.client.ok("ip route replace default via 192.168.1.1");
    let after = teredo_address(&a.client);
    assert_eq!(before.segments()[..4], after.segments()[..4]);
    assert!(status(&a.client, r#".locators == ["192.168.1.3"] and .teredo.state == "qualified""#));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_server_serves_miredo_clients_and_ours() {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let (a, b, c) = (
        home(&lab, &internet, "a", 1, Nat::PortRestricted),
        home(&lab, &internet, "b", 2, Nat::PortRestricted),
        home(&lab, &internet, "c", 3, Nat::Symmetric),
    );
    let capture = internet.capture("udp");
    let server_daemon = our_server(&server);
    let (of_a, of_b) = (miredo_client(&a.client), miredo_client(&b.client));
    peers::ping(&a.client, &of_b.to_string());
    peers::ping(&b.client, &of_a.to_string());
    download(&a.client, &b.client, of_b);
    let (_ours, of_c) = our_client(&c.client);
    assert!(status(&c.client, r#".teredo.nat == "symmetric""#));
    assert_eq!(of_c.segments()[..4], of_a.segments()[..4]);
    decodes(&capture, 100);
    assert!(status(&server, r#".role == "teredo-server" and .packets.tunnelled > 0"#));

    let seen = isatap(&c.client, &format!("teredo qualify --json {SERVER} 198.51.100.77"));
    // A server that does not answer is a problem.
    assert_eq!(seen.status, 3, "{seen:?}");
    let two = a.client.file("qualify.json", &seen.text);
    a.client.ok(&format!(
        "jq -se 'length == 2 and .[0].qualified and .[0].nat == \"symmetric\" and .[0].round_trip_us < 1000000 \
         and (.[1].qualified | not) and .[1].reason == \"server-silent\" and .[1].stage == \"asking-server\"' {two}"
    ));
    assert!(server_daemon.terminate(PATIENCE).success());
}

/// The relay's place, and the native host behind it.
fn relayed(lab: &Lab, internet: &Wire<'_>, server: &Namespace) -> (Namespace, Namespace) {
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

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_relay_connects_native_hosts_with_miredo_clients_and_ours() {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let (relay, native) = relayed(&lab, &internet, &server);
    let (a, b) =
        (home(&lab, &internet, "a", 1, Nat::PortRestricted), home(&lab, &internet, "b", 2, Nat::PortRestricted));
    let capture = internet.capture("udp");
    miredo_server(&server);
    let relay_daemon = start(&relay, "relay", &format!("--local {RELAY} --bind :41000"));
    let host: Ipv6Addr = "2001:db8:1::7".parse().unwrap();
    let theirs = miredo_client(&a.client);
    let (_ours, ours) = our_client(&b.client);
    for (client, address) in [(&a.client, theirs), (&b.client, ours)] {
        // miredo's client has its default route by itself.
        client.ok("ip -6 route show default dev teredo | grep -q . || ip -6 route add default dev teredo");
        peers::ping(&native, &address.to_string());
        peers::ping(client, &host.to_string());
        peers::ping_sizes(client, &host.to_string(), 1280);
        download(client, &native, host);
        download(&native, client, address);
    }
    decodes(&capture, 300);
    assert!(status(&relay, r#".role == "teredo-relay" and (.teredo.peers | length) == 2"#));
    assert!(relay_daemon.terminate(PATIENCE).success());
    assert!(!relay.succeeds("ip -6 route show | grep -q '^2001::/32'"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_reaches_a_native_host_by_miredo_s_relay_and_our_server() {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let (relay, native) = relayed(&lab, &internet, &server);
    let a = home(&lab, &internet, "a", 1, Nat::PortRestricted);
    let _server = our_server(&server);
    miredo(&relay, &format!("RelayType relay\nBindAddress {RELAY}"));
    peers::wait_for_route(&relay, "2001::/32 ", true, PATIENCE);
    let (_client, ours) = our_client(&a.client);
    peers::ping(&a.client, "2001:db8:1::7");
    peers::ping(&native, &ours.to_string());
    download(&a.client, &native, "2001:db8:1::7".parse().unwrap());
    download(&native, &a.client, ours);
}

/// TER-105, as far as nftables can play the NAT: both our clients, our server.
fn pair(of_a: Nat, of_b: Nat) {
    let lab = Lab::new();
    let internet = lab.wire();
    let server = server_namespace(&lab, &internet);
    let (a, b) = (home(&lab, &internet, "a", 1, of_a), home(&lab, &internet, "b", 2, of_b));
    let _server = our_server(&server);
    let ((_a, _), (_b, address)) = (our_client(&a.client), our_client(&b.client));
    peers::ping(&a.client, &address.to_string());
    download(&a.client, &b.client, address);
}

macro_rules! pairs {
    ($($name:ident: $a:ident $b:ident,)*) => {$(
        #[test]
        #[ignore = "needs root: run by .ci/run interop"]
        fn $name() {
            pair(Nat::$a, Nat::$b);
        }
    )*};
}

pairs! {
    ter_105_cone_reaches_port_restricted: Cone PortRestricted,
    ter_105_port_restricted_reaches_cone: PortRestricted Cone,
    ter_105_port_restricted_reaches_port_restricted: PortRestricted PortRestricted,
    ter_105_symmetric_reaches_cone: Symmetric Cone,
    ter_105_cone_reaches_symmetric: Cone Symmetric,
}
