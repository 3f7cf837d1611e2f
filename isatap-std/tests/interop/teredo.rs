//! Teredo on this machine's kernel with miredo, Debian's Teredo, and through NATs of
//! nftables: see [`crate::common::teredo`].

use crate::common::teredo::{
    Internet, NATIVE, Nat, PORT, RELAY, SERVER, decodes, download, miredo, miredo_client, our_client, start,
    start_miredo_server, start_our_relay, teredo_address,
};
use crate::common::{Lab, Node, PATIENCE, isatap, peers, status, wait_until};
use std::net::Ipv6Addr;
use std::time::Duration;

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_takes_a_miredo_client_s_place() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let _server = internet.miredo_server();
    let [a, b] = [1, 2].map(|number| internet.home(number, Nat::PortRestricted));
    let capture = internet.wire.capture("udp");
    let (client, ours) = our_client(&a.client, "");
    // TER-1, TER-2: server, flags with 12 random bits at most, mapping.
    let [prefix, zero, high, low, flags, port, ..] = ours.segments();
    assert_eq!([prefix, zero, high, low], [0x2001, 0, 0xc633, 0x6401]);
    assert_eq!(flags & !0x3cff, 0);
    assert_eq!(port, !PORT);
    assert_eq!(ours.octets()[12..], [!203, !0, !113, !1]);
    assert!(status(
        &a.client,
        r#".role == "teredo-client" and .teredo.state == "qualified" and (.teredo.nat | IN("restricted", "port-restricted")) and .teredo.mapped == "203.0.113.1:40000" and .mtu == 1280"#
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
    let internet = Internet::new(&lab);
    let server = internet.miredo_server();
    let a = internet.home(1, Nat::PortRestricted);
    a.client.etc("hosts", &format!("{SERVER} teredo.example.net\n"));
    let options = format!("--server teredo.example.net --bind :{PORT} --refresh-interval 2 --retry-interval 4");
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
    // A server that is back is found by itself: the address is the same, but for 12 bits.
    start_miredo_server(&server);
    let again = teredo_address(&a.client);
    assert_eq!(
        (before.segments()[..4].to_vec(), before.octets()[10..].to_vec()),
        (again.segments()[..4].to_vec(), again.octets()[10..].to_vec())
    );
    // A change of the IPv4 address is asked about at once.
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
    let internet = Internet::new(&lab);
    let (server, server_daemon) = internet.our_server();
    let [a, b, c] = [(1, Nat::PortRestricted), (2, Nat::PortRestricted), (3, Nat::Symmetric)]
        .map(|(number, kind)| internet.home(number, kind));
    let capture = internet.wire.capture("udp");
    let (of_a, of_b) = (miredo_client(&a.client), miredo_client(&b.client));
    peers::ping(&a.client, &of_b.to_string());
    peers::ping(&b.client, &of_a.to_string());
    download(&a.client, &b.client, of_b);
    let (_ours, of_c) = our_client(&c.client, "");
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

/// TER-66: a thousand forged solicitations a second, each from another address. As many as a
/// daemon without optimisation reads on a busy machine; the lab has thirty thousand.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_66_our_server_answers_clients_beside_a_flood_from_everywhere() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (server, _daemon) = internet.our_server();
    // Where the answers to the forged ones end.
    let sink = lab.wire();
    sink.join(&server, "sink", "192.0.2.1/24");
    server.ok("ip neighbor add 192.0.2.2 lladdr 02:00:00:00:00:02 dev sink && ip route add default via 192.0.2.2");
    let clients = internet.host("clients", 1);
    clients.ok("for last in {2..8}; do ip address add 203.0.113.$last/24 dev eth0; done");
    let script = clients.file("flood.py", FLOOD);
    let output = clients.run_for(PATIENCE * 2, &format!("python3 {script} {SERVER}"));
    assert!(output.success(), "{output:#?}");
    let answered: usize = output.text.trim().parse().unwrap();
    assert!(answered >= 76, "{answered} of 80 are answered within 4 s");
}

/// Two seconds of the flood alone, then 80 clients within four seconds of it. Prints how many
/// were answered in time.
const FLOOD: &str = r#"
import os, random, select, socket, struct, sys, time
server = sys.argv[1]
solicitation = bytes.fromhex("6000000000083aff" "fe800000000000000000ffffffffffff"
    "ff020000000000000000000000000002" "85007d3700000000")
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
def forge():
    source = struct.pack("!I", (20 << 24) + random.getrandbits(30))
    head = struct.pack("!BBHHHBBH", 0x45, 0, 76, 0, 0, 64, 17, 0) + source + socket.inet_aton(server)
    raw.sendto(head + struct.pack("!HHHH", random.randint(1024, 65535), 3544, 56, 0) + solicitation, (server, 0))
waiting, forged, asked, answered, begin = {}, 0, 0, 0, time.monotonic()
while True:
    now = time.monotonic() - begin
    if now > 10.5:
        break
    while now < 6.5 and forged < now * 1000:
        forge()
        forged += 1
    while asked < 80 and now >= 2 + asked * 0.05:
        client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        client.bind(("203.0.113.%d" % (1 + asked % 8), 0))
        nonce = os.urandom(8)
        client.sendto(b"\0\1\0\0" + nonce + b"\0" + solicitation, (server, 3544))
        waiting[client] = (now, nonce)
        asked += 1
    if asked == 80 and not waiting:
        break
    for client in select.select(list(waiting), [], [], 0.002)[0]:
        since, nonce = waiting.pop(client)
        answered += client.recv(2000)[4:12] == nonce and time.monotonic() - begin - since < 4
print(answered)
"#;

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_relay_connects_native_hosts_with_miredo_clients_and_ours() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let server = internet.miredo_server();
    let (relay, native) = internet.relay(&server);
    let [a, b] = [1, 2].map(|number| internet.home(number, Nat::PortRestricted));
    let capture = internet.wire.capture("udp");
    let relay_daemon = start_our_relay(&relay, "");
    let host: Ipv6Addr = NATIVE.parse().unwrap();
    let theirs = miredo_client(&a.client);
    let (_ours, ours) = our_client(&b.client, "");
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
    // The device's own switch is not what the kernel heeds: it forwards, and is said to.
    relay.ok("sysctl -qw net.ipv6.conf.teredo.forwarding=0");
    for (client, address) in [(&a.client, theirs), (&b.client, ours)] {
        peers::ping(&native, &address.to_string());
        peers::ping(client, &host.to_string());
    }
    assert!(status(&relay, ".forwarding"));
    // A relay needs both ways. `force_forwarding`: Linux 6.17.
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=0");
    if relay.succeeds("sysctl -qw net.ipv6.conf.teredo.force_forwarding=1") {
        assert!(status(&relay, ".forwarding == false"));
        relay.ok("sysctl -qw net.ipv6.conf.eth6.force_forwarding=1");
        peers::ping(&native, &ours.to_string());
        assert!(status(&relay, ".forwarding"));
    }
    assert!(relay_daemon.terminate(PATIENCE).success());
    assert!(!relay.succeeds("ip -6 route show | grep -q '^2001::/32'"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_reaches_a_native_host_by_miredo_s_relay_and_our_server() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (server, _daemon) = internet.our_server();
    let (relay, native) = internet.relay(&server);
    let a = internet.home(1, Nat::PortRestricted);
    miredo(&relay, &format!("RelayType relay\nBindAddress {RELAY}"));
    peers::wait_for_route(&relay, "2001::/32 ", true, PATIENCE);
    let (_client, ours) = our_client(&a.client, "");
    peers::ping(&a.client, NATIVE);
    peers::ping(&native, &ours.to_string());
    download(&a.client, &native, NATIVE.parse().unwrap());
    download(&native, &a.client, ours);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_and_miredo_s_server_and_relay_reach_a_native_host() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let server = internet.miredo_server();
    let (relay, native) = internet.relay(&server);
    let a = internet.home(1, Nat::PortRestricted);
    miredo(&relay, &format!("RelayType relay\nBindAddress {RELAY}"));
    peers::wait_for_route(&relay, "2001::/32 ", true, PATIENCE);
    let (_client, ours) = our_client(&a.client, "");
    // Each may begin.
    peers::ping(&native, &ours.to_string());
    peers::ping(&a.client, NATIVE);
    download(&a.client, &native, NATIVE.parse().unwrap());
}

/// TER-36: the NAT forgets and gives another port, and the client follows it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_36_our_client_notices_that_its_nat_has_forgotten_it() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let _server = internet.miredo_server();
    let [a, b] = [1, 2].map(|number| internet.home(number, Nat::PortRestricted));
    // Entries that live for a second: forgotten before the client speaks again.
    let forgetful = "net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1";
    let shown_at = |port: u16| {
        let rules = format!(
            "flush chain ip nat out
             add rule ip nat out oifname eth0 udp sport {PORT} snat to 203.0.113.1:{port}
             add rule ip nat out oifname eth0 masquerade\n"
        );
        a.nat.ok(&format!("nft -f {}", a.nat.file("shown.nft", &rules)));
    };
    a.nat.ok(&format!("sysctl -qw {forgetful}"));
    shown_at(50_000);
    let (_client, before) = our_client(&a.client, "--refresh-interval 3");
    assert!(status(&a.client, r#".teredo.mapped == "203.0.113.1:50000""#));
    let (_other, of_b) = our_client(&b.client, "");
    peers::ping(&a.client, &of_b.to_string());
    shown_at(50_001);
    wait_until("the new mapping", PATIENCE, || status(&a.client, r#".teredo.mapped == "203.0.113.1:50001""#));
    wait_until("the new address", PATIENCE, || teredo_address(&a.client) != before);
    let after = teredo_address(&a.client);
    assert_eq!(after.segments()[5], !50_001);
    assert!(!a.client.ok("ip -6 address show dev teredo").contains(&before.to_string()));
    peers::ping(&b.client, &after.to_string());
    peers::ping(&a.client, &of_b.to_string());
}

/// RFC 6081 §5.6: behind one NAT they meet by their local addresses.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_83_two_of_our_clients_behind_one_nat_find_each_other() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let a = internet.home(1, Nat::PortRestricted);
    let neighbor = lab.namespace("neighbor");
    a.inside.join(&neighbor, "eth0", "192.168.1.3/24");
    neighbor.ok("ip route add default via 192.168.1.1");
    let (_client, _) = our_client(&a.client, "");
    // Another port: RFC 4380 §5.2 wants that of several clients behind one NAT.
    let _neighbor = start(&neighbor, "client", &format!("--server {SERVER} --bind :40001"));
    let address = teredo_address(&neighbor);
    peers::ping(&a.client, &address.to_string());
    assert!(status(&a.client, r#".teredo.peers | any(.trusted and .mapped == "192.168.1.3:40001")"#));
}

/// TER-105, as far as nftables can play the NAT: both our clients, our server.
fn pair(of_a: Nat, of_b: Nat) {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let (a, b) = (internet.home(1, of_a), internet.home(2, of_b));
    let ((_a, _), (_b, address)) = (our_client(&a.client, ""), our_client(&b.client, ""));
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
    ter_105_cone_reaches_cone: Cone Cone,
    ter_105_address_restricted_reaches_symmetric: AddressRestricted Symmetric,
    ter_105_symmetric_reaches_address_restricted: Symmetric AddressRestricted,
    ter_105_port_restricted_reaches_address_restricted: PortRestricted AddressRestricted,
}
