//! `isatap run`: several links in one process, and what it tells systemd.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::common::peers::{Advertisement, PREFIX, isatap_address};
use crate::common::{
    Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, peers, status, told_line, wait_until,
};

const FILE: &str = include_str!("../../../examples/direct-access.toml");

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn one_file_makes_an_isatap_router_a_6to4_relay_and_native_ipv6_of_one_process() {
    let lab = Lab::new();
    let (intranet, internet, native) = (lab.wire(), lab.wire(), lab.wire());
    let server = lab.namespace("server");
    intranet.join(&server, "eth0", "10.0.0.1/24");
    internet.join(&server, "eth1", "198.51.100.1/24");
    native.join(&server, "eth2", "2001:db8:99::254/64");
    // What the router offers to its hosts as a way on.
    server.ok("ip -6 route add default via 2001:db8:99::1");
    server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let site = lab.namespace("site");
    internet.join(&site, "eth0", "198.51.100.2/24");
    let host = lab.namespace("host");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    let behind = lab.namespace("behind");
    native.join(&behind, "eth0", "2001:db8:99::1/64");
    behind.ok("ip -6 route add default via 2001:db8:99::254");

    let file = server.file("direct-access.toml", FILE);
    let told = server.shared().join("notify");
    let socket = UnixDatagram::bind(&told).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let told_line = || told_line(&socket);
    let tool = env!("CARGO_BIN_EXE_isatap");
    let notify = format!("NOTIFY_SOCKET={}", told.display());
    let mut daemon = Daemon::start(&server, "run", "env", &[&notify, tool, "run", &file, "--verbose"]);
    assert_eq!(told_line(), "READY=1");
    daemon.wait_for_line("isatap0 up: fe80::5efe:10.0.0.1", PATIENCE);
    daemon.wait_for_line("tun6to4 up: 2002:c633:6401::1", PATIENCE);

    let _site = Daemon::isatap(&site, "6to4 --local 198.51.100.2 --relay 198.51.100.1 --accept-bogons");
    let _host = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    peers::ping(&host, "2001:db8:99::1");
    peers::ping(&site, "2001:db8:99::1");
    // From the one tunnel into the other.
    peers::ping(&host, "2002:c633:6402::c633:6402");
    assert!(status(&server, "select(.dev == \"tun6to4\") | .role == \"6to4-relay\""));
    assert!(isatap(&server, "status isatap0").text.contains("isatap-router"));

    // A mistake changes nothing; the same again neither; something else is made anew.
    server.file("direct-access.toml", "[[6to4]]\nlokal = 1\n");
    daemon.signal("HUP");
    assert!(told_line().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told_line(), "READY=1");
    daemon.wait_for_line("direct-access.toml:2:1: [[6to4]] has no key lokal: write local", PATIENCE);
    peers::ping(&host, "2001:db8:99::1");
    server.file("direct-access.toml", &FILE.replace("role = \"relay\"", "role = \"relay\"\ndev = \"other\""));
    daemon.signal("HUP");
    daemon.wait_for_line("other up: 2002:c633:6401::1", PATIENCE);
    wait_until("the old device to go", PATIENCE, || !server.succeeds("ip link show dev tun6to4"));
    peers::ping(&site, "2001:db8:99::1");

    assert!(daemon.terminate(PATIENCE).success());
    assert!(!server.succeeds("ip link show dev isatap0") && !server.succeeds("ip link show dev other"));
}

/// As many tunnels as a process holds, between two of them: none is in another's way.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn fifteen_tunnels_of_one_process_carry_packets() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (near, far) = (lab.namespace("near"), lab.namespace("far"));
    wire.join(&near, "eth0", "192.0.2.1/24");
    wire.join(&far, "eth0", "192.0.2.2/24");
    let file = |is_near: bool| -> String {
        (101..116)
            .map(|last| {
                let (local, remote) = if is_near { (1, last) } else { (last, 1) };
                format!("[[tunnel]]\ndev = \"t{last}\"\nlocal = \"192.0.2.{local}\"\nremote = \"192.0.2.{remote}\"\n")
            })
            .collect()
    };
    for last in 101..116 {
        far.ok(&format!("ip address add 192.0.2.{last}/24 dev eth0"));
    }
    let run = |node: &Namespace, is_near| {
        let file = node.file("tunnels.toml", &file(is_near));
        let mut daemon = Daemon::isatap(node, &format!("run {file}"));
        daemon.wait_for_line("t115 up: ", PATIENCE);
        daemon
    };
    let daemons = [run(&near, true), run(&far, false)];
    let capture = wire.capture("ip proto 41");
    for last in [101_u8, 108, 115] {
        peers::ping(&near, &format!("fe80::c000:2{last:02x}%t{last}"));
    }
    capture.so_far().assert_clean();
    assert!(status(&near, "select(.dev == \"t115\") | .remote == \"192.0.2.115\""));
    for daemon in daemons {
        assert!(daemon.terminate(PATIENCE).success());
    }
}

/// Ten advertisements a second of a router without a default route: five of 60 routes each, and
/// one of 35 prefixes, 20 servers and 10 names, in turn.
const FLOOD: &str = r#"
import socket, struct, time
v6 = lambda text: socket.inet_pton(socket.AF_INET6, text)
source, destination = v6("fe80::5efe:10.0.0.9"), v6("fe80::5efe:10.0.0.2")
def packet(options):
    body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 0, 0, 0) + b"".join(options)
    pseudo = source + destination + struct.pack("!II", len(body), 58)
    total = sum(struct.unpack("!%dH" % ((len(pseudo) + len(body)) // 2), pseudo + body))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    body = body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:]
    return struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + source + destination + body
routes = lambda at: [struct.pack("!BBBBI", 24, 2, 48, 8, 1800) + v6("2001:db8:%x::" % (0x100 + 60 * at + n))[:8]
                     for n in range(60)]
prefixes = [struct.pack("!BBBBIII", 3, 4, 64, 0xc0, 3600, 1800, 0) + v6("2001:db8:1:%x::" % n) for n in range(35)]
servers = [struct.pack("!BBHI", 25, 3, 0, 1800) + v6("2001:db8:1::%x" % (n + 1)) for n in range(20)]
names = [struct.pack("!BBHI", 31, 2, 0, 1800) + b"\x03d%02d\0\0\0\0" % n for n in range(10)]
packets = [packet(routes(at)) for at in range(5)] + [packet(prefixes + servers + names)]
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, 41)
out.bind(("10.0.0.9", 0))
while True:
    for each in packets:
        out.sendto(each, ("10.0.0.2", 0))
        time.sleep(0.1)
"#;

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_listed_router_that_floods_takes_no_table_of_the_process() {
    let lab = Lab::new();
    let (intranet, other) = (lab.wire(), lab.wire());
    let honest = lab.guest("honest", &[&intranet]);
    peers::ipv4(&honest, "10.0.0.1/24");
    let (host, liar, far) = (lab.namespace("host"), lab.namespace("liar"), lab.namespace("far"));
    intranet.join(&host, "eth0", "10.0.0.2/24");
    intranet.join(&liar, "eth0", "10.0.0.9/24");
    other.join(&host, "eth1", "10.1.0.2/24");
    other.join(&far, "eth0", "10.1.0.1/24");
    far.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 route add unreachable 2001:db8:f::/48");

    let file = host.file(
        "two.toml",
        "[[isatap-host]]\ndev = \"isatap0\"\nlocal = [\"10.0.0.2\"]\nrouter = [\"10.0.0.9\", \"10.0.0.1\"]\n\
         [[isatap-host]]\ndev = \"isatap1\"\nlocal = [\"10.1.0.2\"]\nrouter = [\"10.1.0.1\"]\n",
    );
    let script = liar.file("flood.py", FLOOD);
    liar.start("flood", &format!("python3 {script}"));
    let mut daemon = Daemon::isatap(&host, &format!("run {file}"));
    // Every table is as full as it gets before an honest router speaks.
    let refused =
        |kind: &str| format!(".refused | any(.router == \"10.0.0.9\" and .kind == \"{kind}\" and .count > 1)");
    let says = |device: &str, filter: &str| {
        host.succeeds(&format!("{} status -j {device} | jq -es 'length == 1 and (.[0] | {filter})'", isatap_binary()))
    };
    for kind in ["routes", "prefixes", "DNS servers", "DNS search domains"] {
        wait_until(kind, PATIENCE, || says("isatap0", &refused(kind)));
    }
    daemon.wait_for_line(" routes of router 10.0.0.9 (last 2001:db8:", PATIENCE);

    let advertisement =
        Advertisement { routes: &["2001:db8:e::/48"], rdnss: Some("2001:db8:0:7::53"), ..Advertisement::default() };
    peers::kernel_router(&honest, "10.0.0.1", &advertisement);
    let _far = Daemon::isatap(
        &far,
        "router --local 10.1.0.1 --prefix 2001:db8:0:9::/64 --advertise-route 2001:db8:f::/48,always --default always",
    );
    for (device, router, prefix, route) in [
        ("isatap0", "fe80::5efe:a00:1", "2001:db8:0:7::/64", "2001:db8:e::/48"),
        ("isatap1", "fe80::5efe:a01:1", "2001:db8:0:9::/64", "2001:db8:f::/48"),
    ] {
        let patience = Duration::from_secs(40);
        // Of one metric, the kernel shows both as one route of two next hops.
        wait_until(&format!("a default route by {device}"), patience, || {
            host.ok("ip -6 route show default").contains(&format!("via {router} dev {device}"))
        });
        peers::wait_for_route(&host, &format!("{prefix} dev {device}"), true, PATIENCE);
        peers::wait_for_route(&host, &format!("{route} via {router} dev {device}"), true, PATIENCE);
    }
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    peers::ping(&host, "2001:db8:0:9:0:5efe:10.1.0.1");
    wait_until("the honest DNS server", PATIENCE, || says("isatap0", ".dns.servers | any(. == \"2001:db8:0:7::53\")"));
    assert!(says("isatap1", ".refused == []"));
    assert!(says("isatap0", ".refused | all(.router == \"10.0.0.9\")"));
    let text = isatap(&host, "status isatap0").text;
    assert!(text.contains("no room for ") && text.contains(" prefixes of router 10.0.0.9 (last 2001:db8:1:"), "{text}");
    assert!(daemon.terminate(PATIENCE).success());
}

/// A file that changes: what is said as before goes on, with its device, its counters and what
/// other programs put on it, also when the new file cannot be carried out.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reload_ends_and_begins_only_the_links_that_changed() {
    let lab = Lab::new();
    let wire = lab.wire();
    let far = lab.guest("far", &[&wire]);
    peers::ipv4(&far, "192.0.2.2/24");
    far.ok("ip tunnel add sit1 mode sit local 192.0.2.2 remote 192.0.2.1 ttl 64 && ip link set sit1 up && \
         ip -6 address add 2001:db8:1::2/64 dev sit1 nodad && ip -6 address add 2001:db8:77::2/128 dev lo");
    let (near, host) = (lab.namespace("near"), lab.namespace("host"));
    wire.join(&near, "eth0", "192.0.2.1/24");
    near.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip address add 192.0.2.9/24 dev eth0");
    wire.join(&host, "eth0", "192.0.2.3/24");

    let stays =
        "[[tunnel]]\ndev = \"stays\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = \"2001:db8:1::1/64\"\n";
    let changes =
        |remote: &str| format!("[[tunnel]]\ndev = \"changes\"\nlocal = \"192.0.2.1\"\nremote = \"{remote}\"\n");
    let router = |prefix: &str| {
        format!(
            "[[isatap-router]]\ndev = \"router\"\nlocal = [\"192.0.2.1\"]\nprefix = [\"2001:db8:0:7::/64\"]\n\
             advertise-route = [\"{prefix},always\"]\n"
        )
    };
    let relay = |dev: &str| format!("[[teredo-relay]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\n");
    let file = near.file("links.toml", &[stays, &changes("192.0.2.4"), &router("2001:db8:a::/48")].concat());
    let mut daemon = Daemon::isatap(&near, &format!("run {file} --keep-privileges"));
    daemon.wait_for_line("router up: ", PATIENCE);
    let _host = Daemon::isatap(&host, "host --local 192.0.2.3 --router 192.0.2.1");
    peers::wait_for_route(&host, "2001:db8:a::/48 ", true, PATIENCE);
    near.ok("ip -6 route add 2001:db8:77::/48 dev stays && ip -6 route add 2001:db8:78::/48 dev router");
    let reaches = || {
        peers::ping(&near, "2001:db8:1::2");
        peers::ping(&near, "2001:db8:77::2");
    };
    reaches();
    let says = |dev: &str, filter: &str| {
        near.succeeds(&format!("{} status -j {dev} | jq -es 'length == 1 and (.[0] | {filter})'", isatap_binary()))
    };
    let index = |dev: &str| near.ok(&format!("cat /sys/class/net/{dev}/ifindex"));
    let sent = || {
        let text = near.ok(&format!("{} status -j stays | jq .packets.tunnelled", isatap_binary()));
        text.trim().parse::<u64>().unwrap()
    };
    // Each link counts its own packets; what is for none of them is said beside.
    far.ok("ip tunnel add sit2 mode sit local 192.0.2.2 remote 192.0.2.9 ttl 64 && ip link set sit2 up");
    far.run("ping -6 -n -c 3 -i 0.2 -W 1 fe80::1%sit2");
    assert!(says("stays", ".unclaimed.\"not-addressed\" >= 3 and .counters.\"not-addressed\" == null"));
    assert!(says("stays", ".packets.delivered >= 2 and .packets.tunnelled >= 2"));
    assert!(says("changes", ".packets.delivered == 0"));
    let (of_tunnel, of_router, before) = (index("stays"), index("router"), sent());
    let is_undisturbed = || {
        assert_eq!((index("stays"), index("router")), (of_tunnel.clone(), of_router.clone()));
        near.ok("ip -6 route show 2001:db8:78::/48 dev router | grep .");
        reaches();
        assert!(sent() > before);
    };
    let mut reload = |text: &str, line: &str| {
        near.file("links.toml", text);
        daemon.signal("HUP");
        if !line.is_empty() {
            daemon.wait_for_line(line, PATIENCE);
        }
    };
    // One becomes another, and a Teredo relay comes.
    let old = index("changes");
    let text = [stays, &changes("192.0.2.5"), &router("2001:db8:a::/48"), &relay("teredo0")].concat();
    reload(&text, "teredo0 up: ");
    wait_until("another device", PATIENCE, || index("changes") != old);
    assert!(says("changes", ".remote == \"192.0.2.5\""));
    is_undisturbed();
    // What cannot be: the name is another device's. All is as before.
    near.ok("ip link add taken type veth peer name other");
    let (of_changes, of_teredo) = (index("changes"), index("teredo0"));
    reload(&[text.as_str(), &changes("192.0.2.6").replace("changes", "taken")].concat(), "the new file is not used");
    is_undisturbed();
    assert_eq!((index("changes"), index("teredo0")), (of_changes.clone(), of_teredo.clone()));
    // Nor is a link ended for one that cannot be: at an address that is not here, by a name that
    // is another device's.
    for refused in [("local = \"192.0.2.1\"", "local = \"192.0.2.77\""), ("dev = \"changes\"", "dev = \"taken\"")] {
        reload(
            &text.replace(&changes("192.0.2.5"), &changes("192.0.2.5").replace(refused.0, refused.1)),
            "the new file is not used",
        );
        assert_eq!((index("changes"), index("teredo0")), (of_changes.clone(), of_teredo.clone()));
    }
    is_undisturbed();
    // Nor by one that records where nothing can be written.
    let unwritable = format!("{}pcap = \"/nowhere/outer.pcap\"\n", changes("192.0.2.5"));
    reload(&text.replace(&changes("192.0.2.5"), &unwritable), "cannot record packets into /nowhere/outer.pcap");
    assert_eq!((index("changes"), index("teredo0")), (of_changes, of_teredo));
    is_undisturbed();
    // What shows only when it is tried, as a port that another process has: the old one is made
    // again, which is said.
    let _other = Daemon::isatap(&near, "teredo relay --dev other0 --local 192.0.2.1 --bind :4000 --accept-bogons");
    let taken = relay("teredo3") + "bind = \":4000\"\n";
    let refused = text.replace(&changes("192.0.2.5"), &changes("192.0.2.6")) + &taken;
    reload(&refused, "changes was made again: ");
    assert!(says("changes", ".remote == \"192.0.2.5\""));
    is_undisturbed();
    // Packets are recorded as long as a link is there that says so. (A file that the daemon did not
    // know at its start takes privileges.)
    let capture = near.directory().join("outer.pcap").display().to_string();
    let recorded = format!("{}pcap = \"{capture}\"\n", changes("192.0.2.4").replace("changes", "recorded"));
    reload(&[text.as_str(), &recorded].concat(), "recorded up: ");
    is_undisturbed();
    reload(&text, "");
    wait_until("the recorded link to go", PATIENCE, || !near.succeeds("ip link show dev recorded"));
    let size = || near.ok(&format!("stat -c %s {capture}")).trim().parse::<u64>().unwrap();
    let at_its_end = size();
    assert!(at_its_end > 24, "what the others sent is in it");
    is_undisturbed();
    assert_eq!(size(), at_its_end);
    // One goes, another takes its number, the Teredo relay gets another name.
    let text = [stays, &router("2001:db8:a::/48"), &changes("192.0.2.7").replace("changes", "new"), &relay("teredo1")];
    reload(&text.concat(), "teredo1 up: ");
    wait_until("the old devices to go", PATIENCE, || {
        !near.succeeds("ip link show dev changes") && !near.succeeds("ip link show dev teredo0")
    });
    assert!(says("new", ".remote == \"192.0.2.7\""));
    is_undisturbed();
    peers::ping(&host, "2001:db8:0:7:0:5efe:192.0.2.1");
    // Another route of the router: who asks it hears that one alone.
    reload(&[stays, &router("2001:db8:b::/48")].concat(), "router up: ");
    assert!(isatap(&host, "solicit isatap0").success());
    peers::wait_for_route(&host, "2001:db8:b::/48 ", true, PATIENCE);
    // For two seconds the old one is taken back.
    wait_until("one route", PATIENCE, || says("router", ".advertises.routes == [\"2001:db8:b::/48\"]"));
    assert_eq!(index("stays"), of_tunnel);
    reaches();
    // Of protocol 41 nothing is left, and all comes back.
    reload(&relay("teredo2"), "teredo2 up: ");
    wait_until("the tunnel to go", PATIENCE, || !near.succeeds("ip link show dev stays"));
    reload(stays, "stays up: ");
    peers::ping(&near, "2001:db8:1::2");
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!near.succeeds("ip link show dev stays") && !near.succeeds("ip link show dev teredo2"));
}

/// Of the file as it is at the start, and of one that is read again.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_this_machine_refuses_is_told_with_its_place_in_the_file() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "198.51.100.1/24");
    wire.join(&node, "taken", "10.9.9.9/24");
    let _relay = Daemon::isatap(&node, "teredo relay --dev relay --local 198.51.100.1 --bind :4000 --accept-bogons");
    const TUNNEL: &str = "[[tunnel]]\ndev = \"t0\"\nlocal = \"198.51.100.1\"\nremote = \"198.51.100.2\"\n";
    let with = |old: &str, new: &str| TUNNEL.replace(old, new);
    for (text, place, told) in [
        (with("t0", "taken"), "2:7", "create the TUN device taken"),
        (with("t0", "relay"), "1", "lock "),
        (
            "[[isatap-host]]\nrouter = \"198.51.100.2\"\nvia = \"lo\"\n".to_owned(),
            "3:7",
            "send from the addresses of lo",
        ),
        (format!("{TUNNEL}\n[[native]]\ndev = \"eth8\"\n"), "7:7", "find the device eth8"),
        (
            format!(
                "{TUNNEL}\n[[teredo-client]]\nserver = \"198.51.100.9\"\naccept-bogons = true\nsecret-file = \"/none\"\n"
            ),
            "9:15",
            "read the secrets in /none",
        ),
        (
            format!("{TUNNEL}\n[[teredo-relay]]\nlocal = \"198.51.100.1\"\nbind = \":4000\"\naccept-bogons = true\n"),
            "",
            "198.51.100.1:4000: Address already in use",
        ),
        (format!("user = \"isatap-nobody\"\n{TUNNEL}"), "1:8", "become the user isatap-nobody"),
    ] {
        let file = node.file("node.toml", &text);
        let output = isatap(&node, &format!("run {file}"));
        // Who has a port may be asked for before it is wanted, and the place is another then.
        let expected =
            if place.is_empty() { told.to_owned() } else { format!("isatap: {file}:{place}: cannot {told}") };
        assert!(!output.success() && output.text.contains(&format!("isatap: {file}:")));
        assert!(output.text.contains(&expected), "{expected}: {output:#?}");
    }
    let file = node.file("node.toml", TUNNEL);
    let mut daemon = Daemon::isatap(&node, &format!("run {file}"));
    daemon.wait_for_line("t0 up: ", PATIENCE);
    node.file("node.toml", &with("t0", "taken"));
    daemon.signal("HUP");
    daemon.wait_for_line(&format!("isatap: warning: {file}:2:7: cannot create the TUN device taken"), PATIENCE);
    daemon.wait_for_line("the new file is not used", PATIENCE);
    daemon.wait_for_line("t0 up: ", PATIENCE);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn an_address_that_loopback_has_too_is_that_of_the_other_device() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    node.ok("ip link set lo up && ip address add 198.51.100.1/32 dev lo");
    wire.join(&node, "eth0", "198.51.100.1/24");
    let _tunnel = Daemon::isatap(&node, "tunnel --dev t0 --local 198.51.100.1 --remote 198.51.100.2");
    assert!(status(&node, "select(.dev == \"t0\") | .underlay_mtu == 1500"));
    // The directed broadcast address of eth0's subnet is nobody's: what is for it is refused.
    let _broadcast = Daemon::isatap(&node, "tunnel --dev t1 --local 198.51.100.1 --remote 198.51.100.255");
    node.run("ping -6 -c 1 -W 1 fe80::c633:64ff%t1");
    assert!(status(&node, "select(.dev == \"t1\") | .counters[\"destination-refused\"] > 0"));
    let _all = Daemon::isatap(&node, "6to4 --dev t2 --accept-bogons");
    assert!(status(&node, "select(.dev == \"t2\") | .underlay_mtu == 1500 and .locators == [\"198.51.100.1\"]"));
    // That of another subnet is known to the kernel alone, and no firewall is to blame.
    wire.join(&node, "eth1", "203.0.113.1/24");
    let _other = Daemon::isatap(&node, "tunnel --dev t3 --local 198.51.100.1 --remote 203.0.113.255");
    node.run("ping -6 -c 1 -W 1 fe80::cb00:71ff%t3");
    assert!(status(
        &node,
        "select(.dev == \"t3\") | .io[\"send-unreachable\"] > 0 and .io[\"send-not-permitted\"] == null"
    ));
}
