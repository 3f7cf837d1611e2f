//! Our router answers to the name `isatap`: asked by systemd-resolved, by Samba's tools and by our own
//! host, registered with nmbd as WINS server, and contested by both.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::common::names::{
    Forger, LLMNR, LLMNR_GROUP, NETBIOS, netbios_answer, nmbd, nmblookup, resolvectl, resolved,
};
use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, status, wait_until};

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn machine(lab: &Lab, wire: &Wire<'_>, name: &str, last: u8) -> Namespace {
    let machine = lab.namespace(name);
    wire.join(&machine, "eth0", &format!("10.0.0.{last}/24"));
    machine.etc("resolv.conf", "# no DNS\n");
    machine
}

fn router(node: &Namespace, options: &str) -> Daemon {
    node.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    Daemon::isatap(node, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 {options}"))
}

/// What the router says of its name where `by` is spoken.
fn wait_for_state(router: &Namespace, by: &str, state: &str) {
    let filter = format!(".responder | .links + .wins | map(select(.by == \"{by}\")) | map(.state) == [\"{state}\"]");
    wait_until(&format!("{by} to be {state}: {}", isatap(router, "status").text), PATIENCE, || status(router, &filter));
}

/// An LLMNR query for isatap, with flags and a type.
fn query(flags: u16, kind: u16) -> Vec<u8> {
    let mut query = vec![0x12, 0x34];
    query.extend(flags.to_be_bytes());
    query.extend(*b"\0\x01\0\0\0\0\0\0\x06isatap\0");
    query.extend(kind.to_be_bytes());
    query.extend([0, 1]);
    query
}

/// The answer to a query that a machine sends, within half a second.
fn asked(node: &Namespace, own: Ipv4Addr, to: Ipv4Addr, query: &[u8]) -> Option<Vec<u8>> {
    node.inside(|| {
        let socket = UdpSocket::bind((own, 0)).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        socket.send_to(query, (to, LLMNR)).unwrap();
        let mut buffer = [0; 512];
        let (length, from) = socket.recv_from(&mut buffer).ok()?;
        assert_eq!(from, SocketAddrV4::new(ROUTER, LLMNR).into());
        Some(buffer[..length].to_vec())
    })
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_nam_20_systemd_resolved_and_our_host_find_the_router_by_llmnr() {
    let lab = Lab::new();
    let wire = lab.wire();
    let machines = [("router", 1), ("client", 3), ("host", 2)].map(|(name, last)| machine(&lab, &wire, name, last));
    let [router_node, client, host] = &machines;
    let capture = wire.capture("port 5355");
    let daemon = router(router_node, "--answer-by llmnr");
    // Until it knows that nobody else has the name, its answers are tentative.
    let own = Ipv4Addr::new(10, 0, 0, 3);
    let first = asked(client, own, LLMNR_GROUP, &query(0, 1)).expect("a tentative answer");
    assert_eq!((first[2] & 0x81, first[3] & 0x0f), (0x81, 0), "{first:02x?}");
    wait_for_state(router_node, "llmnr", "held");
    let checks = capture.so_far().fields("ip.src == 10.0.0.1 && dns.flags.response == 0", &["ip.ttl", "dns.qry.type"]);
    assert_eq!(checks, [["255", "255"], ["255", "255"], ["255", "255"]]);

    // Flags, and addresses: in an A query and in ANY, none for AAAA.
    for (kind, count) in [(1, 1), (255, 1), (28, 0)] {
        let answer = asked(client, own, LLMNR_GROUP, &query(0, kind)).expect("an answer");
        assert_eq!(answer[..8], [0x12, 0x34, 0x80, 0, 0, 1, 0, count], "type {kind}");
        assert_eq!(answer.ends_with(&ROUTER.octets()), count == 1);
    }
    // What must be discarded: unicast, C, an answer, another opcode.
    assert_eq!(asked(client, own, ROUTER, &query(0, 1)), None);
    for flags in [0x8000, 0x1000] {
        assert_eq!(asked(client, own, LLMNR_GROUP, &query(flags, 1)), None, "{flags:x}");
    }
    // Whoever is not on the link.
    let stranger = lab.namespace("stranger");
    wire.join(&stranger, "eth0", "192.0.2.66/24");
    router_node.ok("ip route add 192.0.2.0/24 dev eth0");
    stranger.ok("ip route add 10.0.0.0/24 dev eth0");
    assert_eq!(asked(&stranger, Ipv4Addr::new(192, 0, 2, 66), LLMNR_GROUP, &query(0, 1)), None);
    let refused = ".responder.refused | .\"off-link\" == 1 and .\"wrong-destination\" == 1 and .malformed == 2";
    assert!(status(router_node, refused), "{}", isatap(router_node, "status -j").text);

    // By TCP the same.
    let by_tcp = client.inside(|| {
        let mut stream = TcpStream::connect((ROUTER, LLMNR)).unwrap();
        let query = query(0, 1);
        stream.write_all(&[&[0, u8::try_from(query.len()).unwrap()][..], &query].concat()).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        answer
    });
    assert!(by_tcp.len() > 2 && by_tcp.ends_with(&ROUTER.octets()), "{by_tcp:02x?}");
    // Nobody else is kept waiting by one that says nothing.
    let _silent = client.inside(|| TcpStream::connect((ROUTER, LLMNR)).unwrap());
    assert!(asked(client, own, LLMNR_GROUP, &query(0, 1)).is_some());

    // Real resolvers.
    resolved(client, "client");
    wait_until("resolvectl to find isatap", PATIENCE, || {
        let found = resolvectl(client, "query -4 isatap");
        found.success() && found.text.contains("10.0.0.1") && found.text.contains("LLMNR/IPv4")
    });
    let host_daemon = Daemon::isatap(host, "host --resolve-by llmnr");
    peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    peers::ping(host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    let packets = capture.so_far();
    for answer in packets.fields("ip.src == 10.0.0.1 && dns.flags.response == 1 && udp", &["ip.ttl", "udp.srcport"]) {
        assert_eq!(answer, ["255", "5355"]);
    }
    // A connection that is over is the kernel's, and has its TTL.
    let by_tcp = packets.fields("ip.src == 10.0.0.1 && tcp && (tcp.flags.syn == 1 || tcp.len > 0)", &["ip.ttl"]);
    assert!(!by_tcp.is_empty() && by_tcp.iter().all(|ttl| ttl[0] == "1"), "{by_tcp:?}");
    assert!(host_daemon.terminate(PATIENCE).success());
    assert!(daemon.terminate(Duration::from_secs(2)).success());
    assert_eq!(asked(client, own, LLMNR_GROUP, &query(0, 1)), None);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_name_that_another_machine_has_is_left_to_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let router_node = machine(&lab, &wire, "router", 1);
    let other = machine(&lab, &wire, "other", 9);
    resolved(&other, "isatap");
    nmbd(&other, "ISATAP", "");
    wait_until("nmbd to have the name", PATIENCE, || nmblookup(&router_node, "ISATAP") == [Ipv4Addr::new(10, 0, 0, 9)]);
    // resolved checks its name too, and knows in some seconds that it is its own.
    let asker = Ipv4Addr::new(10, 0, 0, 1);
    wait_until("resolved to have the name", PATIENCE, || {
        router_node.inside(|| {
            let socket = UdpSocket::bind((asker, 0)).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
            socket.send_to(&query(0, 1), (LLMNR_GROUP, LLMNR)).unwrap();
            let mut buffer = [0; 512];
            socket.recv_from(&mut buffer).is_ok() && buffer[2] & 1 == 0
        })
    });
    let mut daemon = router(&router_node, "--answer-by llmnr,netbios");
    wait_for_state(&router_node, "llmnr", "lost");
    wait_for_state(&router_node, "netbios", "lost");
    assert!(status(&router_node, ".responder.links | map(.holder) == [\"10.0.0.9\", \"10.0.0.9\"]"));
    daemon.wait_for_line("10.0.0.9 has the name isatap on eth0", PATIENCE);
    assert!(isatap(&router_node, "status").text.contains("name isatap at eth0 by llmnr: lost to 10.0.0.9"));
    let doctor = isatap(&router_node, "doctor isatap0");
    let told = "FAIL responder 10.0.0.9 answers to the name isatap at eth0 by llmnr, so this router does not\n";
    assert!(doctor.status == 3 && doctor.text.contains(told), "{doctor:?}");
    // Who asks hears of the other only.
    let client = machine(&lab, &wire, "client", 3);
    assert_eq!(nmblookup(&client, "ISATAP"), [Ipv4Addr::new(10, 0, 0, 9)]);
    resolved(&client, "client");
    wait_until("resolvectl to find the other", PATIENCE, || {
        let found = resolvectl(&client, "query -4 isatap");
        found.text.contains("10.0.0.9") && !found.text.contains("10.0.0.1")
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_nam_31_nam_62_samba_finds_the_router_by_broadcast_and_at_its_wins_server() {
    let lab = Lab::new();
    let wire = lab.wire();
    let machines = [("router", 1), ("client", 3), ("server", 53), ("rival", 9)]
        .map(|(name, last)| machine(&lab, &wire, name, last));
    let [router_node, client, server, rival] = &machines;
    nmbd(server, "SERVER", "wins support = yes\nmin wins ttl = 12\nmax wins ttl = 12");
    let capture = wire.capture("udp port 137");
    // A port below 1024 that is bound before the daemon becomes somebody else.
    let daemon = router(router_node, "--answer-by netbios --wins 10.0.0.53 --user nobody");
    wait_for_state(router_node, "netbios", "held");
    wait_for_state(router_node, "wins", "held");
    assert_eq!(nmblookup(client, "ISATAP"), [ROUTER]);
    let at_server = || nmblookup(client, "--unicast=10.0.0.53 --recursion ISATAP");
    wait_until("the WINS server to know the router", PATIENCE, || at_server() == [ROUTER]);

    // Registered for 12 s, and refreshed in time: NAME REFRESH is opcode 8.
    let refreshed = || capture.so_far().count("ip.src == 10.0.0.1 && ip.dst == 10.0.0.53 && nbns.flags.opcode == 8");
    wait_until("two refreshes", PATIENCE, || refreshed() >= 2);
    assert_eq!(at_server(), [ROUTER]);

    // nmbd of the same name is refused.
    nmbd(rival, "ISATAP", "");
    let objected = "ip.src == 10.0.0.1 && ip.dst == 10.0.0.9 && nbns.flags.opcode == 5 && nbns.flags.rcode == 6";
    wait_until("an objection", PATIENCE, || capture.so_far().count(objected) > 0);
    wait_until("nmbd to give in", PATIENCE, || rival.log("nmbd").contains("Failed to register my name ISATAP<00>"));
    assert_eq!(nmblookup(client, "ISATAP"), [ROUTER]);
    rival.stop("nmbd");

    // Our own host, by both.
    let host = machine(&lab, &wire, "host", 2);
    for (options, source) in [
        ("--resolve-by broadcast", "netbios broadcast on eth0"),
        ("--resolve-by wins --wins 10.0.0.53", "wins 10.0.0.53"),
    ] {
        let daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 {options}"));
        peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
        assert!(status(&host, &format!(".prl[0].source == \"{source}\"")), "{}", isatap(&host, "status").text);
        assert!(daemon.terminate(PATIENCE).success());
    }

    // The end gives the name back, within a second.
    assert!(daemon.terminate(Duration::from_secs(1)).success());
    assert!(nmblookup(client, "ISATAP").is_empty());
    assert!(at_server().is_empty());
    let released = "ip.src == 10.0.0.1 && nbns.flags.opcode == 6 && nbns.flags.response == 0";
    let released = capture.so_far().fields(released, &["ip.dst", "nbns.flags"]);
    assert_eq!(released, [["10.0.0.255", "0x3010"], ["10.0.0.53", "0x3000"]]);
    capture.so_far().assert_clean();
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_port_that_is_taken_is_said_with_the_program_that_may_have_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = machine(&lab, &wire, "router", 1);
    nmbd(&node, "OTHER", "");
    let started = isatap(&node, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --answer-by netbios"));
    assert_eq!(started.status, 2, "{started:#?}");
    assert!(started.text.contains("UDP port 137") && started.text.contains("nmbd"), "{started:#?}");
    assert!(!node.succeeds("ip link show dev isatap0"));
}

/// Queries from addresses that nobody has: the answers to them lie in the kernel until ARP gives up.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_flood_of_queries_from_nobody_does_not_hold_up_the_end() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [router_node, client] = [("router", 1), ("client", 3)].map(|(name, last)| machine(&lab, &wire, name, last));
    let daemon = router(&router_node, "--answer-by llmnr");
    wait_for_state(&router_node, "llmnr", "held");
    // The client sends from them, and answers no ARP for them.
    client.ok("sysctl -qw net.ipv4.conf.all.arp_ignore=8");
    let nobody: Vec<Ipv4Addr> = (100..104).map(|last| Ipv4Addr::new(10, 0, 0, last)).collect();
    nobody.iter().for_each(|address| drop(client.ok(&format!("ip address add {address}/24 dev eth0"))));
    let is_full = || {
        let memory = router_node.ok("ss -Huanm 'sport = :5355'");
        let number = |key: &str| -> Option<u32> {
            let at = memory.split_once(key)?.1;
            at.split(|digit: char| !digit.is_ascii_digit()).next()?.parse().ok()
        };
        number(",t").unwrap() >= number(",tb").unwrap()
    };
    wait_until("a full buffer", PATIENCE, || {
        client.inside(|| {
            let query = query(0, 1);
            for address in &nobody {
                let socket = UdpSocket::bind((*address, 0)).unwrap();
                for _ in 0..50 {
                    socket.send_to(&query, (LLMNR_GROUP, LLMNR)).unwrap();
                }
            }
        });
        is_full()
    });
    assert!(daemon.terminate(Duration::from_secs(1)).success());
}

/// The kernel counts the groups of a socket: one that was left makes room, and no room is said.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_link_that_cannot_be_listened_to_is_said_and_left_links_do_not_count() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let node = machine(&lab, &wires[0], "router", 1);
    wires[1].join(&node, "eth1", "10.1.0.1/24");
    node.ok("sysctl -qw net.ipv4.igmp_max_memberships=1");
    let mut daemon = router(&node, "--answer-by llmnr");
    wait_for_state(&node, "llmnr", "held");
    // The address moves, and the one group with it.
    node.ok("ip address del 10.0.0.1/24 dev eth0 && ip address add 10.0.0.1/24 dev eth1");
    daemon.wait_for_line("answers to the name isatap on eth1 by llmnr", PATIENCE);
    node.ok("sysctl -qw net.ipv4.igmp_max_memberships=0");
    node.ok("ip address del 10.0.0.1/24 dev eth1 && ip address add 10.0.0.1/24 dev eth0");
    daemon.wait_for_line("raise net.ipv4.igmp_max_memberships", PATIENCE);
    wait_for_state(&node, "llmnr", "failing");
    node.ok("sysctl -qw net.ipv4.igmp_max_memberships=20 && ip address add 10.2.0.1/24 dev eth0");
    wait_for_state(&node, "llmnr", "held");
}

/// A firewall of this machine's own: nobody could object to the name, so it is not taken.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_name_that_cannot_be_asked_for_is_not_taken() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = machine(&lab, &wire, "router", 1);
    node.ok("nft 'add table ip f; add chain ip f out { type filter hook output priority 0; }; \
         add rule ip f out udp dport { 137, 5355 } drop'");
    let mut daemon = router(&node, "--answer-by llmnr,netbios");
    for by in ["llmnr", "netbios"] {
        wait_for_state(&node, by, "failing");
    }
    assert!(!daemon.output().contains("answers to the name isatap"), "{}", daemon.output());
    node.ok("nft delete table ip f");
    for by in ["llmnr", "netbios"] {
        wait_for_state(&node, by, "held");
    }
    daemon.wait_for_line("answers to the name isatap on eth0 by llmnr", PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_reload_refuses_a_port_that_it_cannot_have_and_the_router_goes_on() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = machine(&lab, &wire, "router", 1);
    node.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let file = |answer_by: &str| {
        let router = format!("[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"{PREFIX}/64\"]\n");
        node.file("router.toml", &format!("{router}answer-by = [{answer_by}]\n"))
    };
    let mut daemon = Daemon::isatap(&node, &format!("run {}", file("")));
    daemon.wait_for_line("isatap0 up: ", PATIENCE);
    let index = || node.ok("cat /sys/class/net/isatap0/ifindex");
    let before = index();
    // It has given up CAP_NET_BIND_SERVICE, since it had no such port.
    file("\"netbios\"");
    daemon.signal("HUP");
    daemon.wait_for_line("its start gives up: start the daemon again", PATIENCE);
    daemon.wait_for_line("the new file is not used", PATIENCE);
    // Another program answers by LLMNR.
    let other = node.inside(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, LLMNR)).unwrap());
    file("\"llmnr\"");
    daemon.signal("HUP");
    daemon.wait_for_line("LLMNR=no", PATIENCE);
    wait_until("a second refusal", PATIENCE, || daemon.output().matches("the new file is not used").count() == 2);
    assert_eq!(index(), before);
    assert!(!daemon.output().contains("was made again"), "{}", daemon.output());
    drop(other);
    // A child that another test starts right now has the socket until it becomes its program.
    wait_until("a free port", PATIENCE, || !node.succeeds("ss -Huan 'sport = :5355' | grep -q ."));
    daemon.signal("HUP");
    daemon.wait_for_line("answers to the name isatap on eth0 by llmnr", PATIENCE);
    // What the router itself has is free for what it becomes.
    file("\"llmnr\"]\npreference = \"high\"\nsearch = [");
    daemon.signal("HUP");
    daemon.wait_for_line("changed isatap0", PATIENCE);
    wait_for_state(&node, "llmnr", "held");
}

/// A WINS server that does not confirm the last words keeps their speaker waiting for two tenths of a second. Packets, and
/// the changed router, do not wait for it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_25_a_reload_does_not_wait_for_the_last_words_of_a_responder() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = Arc::new(machine(&lab, &wire, "router", 1));
    let server = machine(&lab, &wire, "server", 53);
    node.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let index = |node: &Namespace| node.inside(|| nix::net::if_::if_nametoindex("isatap0").ok());
    // The device that is there when the last words are said again, a tenth of a second after the first time.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (saw, looked_at, mut released) = (seen.clone(), node.clone(), 0);
    let _server = Forger::udp(&server, [10, 0, 0, 53].into(), NETBIOS, move |message| {
        // What everybody is told is told once, and not answered.
        if message[3] & 0x10 != 0 {
            return Vec::new();
        }
        // NAME RELEASE is opcode 6.
        if message[2] & 0x78 != 0x30 {
            return vec![(netbios_answer(message, 0xad80, 3600, &[(0x6000, ROUTER.octets())]), true)];
        }
        released += 1;
        if released % 2 == 0 {
            saw.lock().unwrap().push(index(&looked_at));
        }
        Vec::new()
    });
    let file = |preference: &str| {
        let router = format!("[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"{PREFIX}/64\"]\n");
        let names = "answer-by = [\"llmnr\", \"netbios\"]\nwins = [\"10.0.0.53\"]\n";
        node.file("router.toml", &format!("{router}{names}preference = \"{preference}\"\n"))
    };
    let mut daemon = Daemon::isatap(&node, &format!("run {}", file("low")));
    let mut is_overtaken = false;
    // A busy machine may take a tenth of a second for a device, but not each time.
    for (number, preference) in ["high", "low", "high", "low", "high"].into_iter().enumerate() {
        for by in ["llmnr", "netbios", "wins"] {
            wait_for_state(&node, by, "held");
        }
        let before = index(&node);
        file(preference);
        daemon.signal("HUP");
        wait_until("the last words", PATIENCE, || seen.lock().unwrap().len() > number);
        let during = seen.lock().unwrap()[number];
        is_overtaken |= during.is_some() && during != before;
        wait_until("the change", PATIENCE, || daemon.output().matches("changed isatap0").count() > number);
    }
    assert!(is_overtaken, "{:?}", seen.lock().unwrap());
    // The ports go from one to the next, and the last one gives the names back as well.
    wait_for_state(&node, "wins", "held");
    assert!(daemon.is_running() && !daemon.output().contains("cannot answer"), "{}", daemon.output());
    assert!(daemon.terminate(Duration::from_secs(2)).success());
    wait_until("the last words", PATIENCE, || seen.lock().unwrap().len() == 6);
}
