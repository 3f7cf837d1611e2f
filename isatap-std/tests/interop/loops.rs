//! Routing loops (RFC 6324) on private IPv4 between daemons of ours that know nothing of each
//! other, counted on the wire; and honest hosts while forged packets arrive.

use crate::common::peers::{self, isatap_address};
use crate::common::{Capture, Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, status, wait_until};

/// Sends packets with forged addresses by raw IPv4: `forge.py COUNT RATE OUTER-SOURCE SOURCE
/// DESTINATION`, all to 10.0.0.1, hop limit 255, nothing behind the header. With `any` for the
/// outer source each is from another host of 10.16/12, whose ISATAP address is the source.
const FORGE: &str = r#"
import socket, struct, sys, time
count, rate = int(sys.argv[1]), int(sys.argv[2])
outer, source, destination = sys.argv[3:6]
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
prefix = socket.inet_pton(socket.AF_INET6, source)
destination = socket.inet_pton(socket.AF_INET6, destination)
begin = time.monotonic()
for number in range(count):
    ahead = begin + number / rate - time.monotonic()
    if ahead > 0:
        time.sleep(ahead)
    else:
        # On a busy machine it sends less, and not in bursts what nobody has room for.
        begin -= min(0, ahead + 0.01)
    if outer == 'any':
        host = struct.pack('>I', 0x0a100000 | number)
        inner = prefix[:8] + bytes.fromhex('00005efe') + host
    else:
        host, inner = socket.inet_aton(outer), prefix
    ipv6 = struct.pack('>IHBB', 6 << 28, 0, 59, 255) + inner + destination
    ipv4 = struct.pack('>BBHHHBBH', 0x45, 0, 60, 0, 0, 64, 41, 0) + host + socket.inet_aton('10.0.0.1')
    raw.sendto(ipv4 + ipv6, ('10.0.0.1', 0))
"#;

const PREFIX: &str = "2001:db8:1:7::";
/// What forged packets have behind the inner header, and nothing else: none.
const FORGED: &str = "ipv6.nxt == 59";

/// Two routers on one private IPv4 network and on one native link, and who forges.
struct Site<'l> {
    intranet: Wire<'l>,
    capture: Capture,
    router: Namespace,
    other: Namespace,
    attacker: Namespace,
}

impl<'l> Site<'l> {
    fn new(lab: &'l Lab) -> Self {
        let (intranet, native) = (lab.wire(), lab.wire());
        let capture = intranet.capture("ip proto 41");
        let [router, other, attacker] = ["router", "other", "attacker"].map(|name| lab.namespace(name));
        for (node, number) in [(&router, 1), (&other, 3)] {
            intranet.join(node, "eth0", &format!("10.0.0.{number}/24"));
            native.join(node, "eth1", &format!("2001:db8:0:8::{number}/64"));
            node.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv4.conf.all.rp_filter=0 && \
                     ip route add default via 10.0.0.66");
        }
        // It stands for the rest of the network too, which takes what is sent there.
        intranet.join(&attacker, "eth0", "10.0.0.66/24");
        attacker.file("forge.py", FORGE);
        for prefix in ["2001:db8:2::/48", "3fff::/32", "2002::/16"] {
            router.ok(&format!("ip -6 route add {prefix} via 2001:db8:0:8::3"));
        }
        other.ok("ip -6 route add 2001:db8:1::/48 via 2001:db8:0:8::1");
        Site { intranet, capture, router, other, attacker }
    }

    /// Our router and its neighbour, with these options.
    fn daemons(&self, options: &str, other: &str) -> [Daemon; 2] {
        let router =
            format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always --member 10.0.0.0/8{options}");
        [Daemon::isatap(&self.router, &router), Daemon::isatap(&self.other, other)]
    }

    fn forged(&self) -> usize {
        self.capture.so_far().count(FORGED)
    }

    fn forge(&self, arguments: &str) {
        let script = self.attacker.directory().join("forge.py");
        self.attacker.ok(&format!("python3 {} {arguments}", script.display()));
    }

    /// Twenty packets as if the neighbour were a host of ours; the tunnel packets that were
    /// before.
    fn attack(&self, destination: &str) -> usize {
        let before = self.forged();
        self.forge(&format!("20 1000 10.0.0.3 {} {destination}", isatap_address(PREFIX, "10.0.0.3")));
        before
    }
}

/// Another ISATAP router in the very prefix that both list, a 6rd border relay and a 6to4
/// relay: what an attacker puts into the destination, and the command.
const OTHERS: [(&str, &str); 3] = [
    ("2001:db8:2:7:0:5efe:a00:1", "router --local 10.0.0.3 --prefix 2001:db8:2:7::/64 --member 10.0.0.0/8"),
    ("3fff:0:0:100::1", "6rd --role br --prefix 3fff::/32 --v4-mask-len 8 --local 10.0.0.3"),
    ("2002:a00:1::1", "6to4 --role relay --local 10.0.0.3 --accept-bogons"),
];

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_1_sec_3_no_packet_goes_round_between_our_daemons_on_private_ipv4() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    for (destination, other) in OTHERS {
        let _daemons = site.daemons("", other);
        let before = site.attack(destination);
        let refused = r#".counters | (."neighbor-unverified" // 0) + (."loop-destination" // 0) >= 4"#;
        wait_until("20 packets", PATIENCE, || site.forged() - before >= 20);
        wait_until("all to be refused", PATIENCE, || status(&site.router, refused));
        assert_eq!(site.forged() - before, 20, "{other}: what came in, and nothing else");
    }
    // Every question was for the one neighbour that was forged.
    let asked = site.capture.so_far().fields("icmpv6.type == 135", &["icmpv6.nd.ns.target_address"]);
    assert!(!asked.is_empty() && asked.len() <= 12, "{asked:?}");
    let neighbor = isatap_address(PREFIX, "10.0.0.3").to_string();
    assert!(asked.iter().all(|target| target[0] == neighbor), "{asked:?}");
}

/// The control: the loops are there to be ended, and the tool says that they are open.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn without_the_neighbour_check_twenty_packets_become_thousands() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let off = " --check-neighbors off";
    for (destination, other) in &OTHERS[..2] {
        let other_off = if other.starts_with("router") { off } else { "" };
        let [router, _other] = site.daemons(off, &format!("{other}{other_off}"));
        assert!(router.output().contains("warning: isatap0: the neighbour check is off"), "{}", router.output());
        let before = site.attack(destination);
        wait_until("loops", PATIENCE, || site.forged() - before > 2000);
        let found = isatap(&site.router, "doctor isatap0");
        assert!(found.status == 3 && found.text.contains("--check-neighbors where-blind"), "{found:#?}");
    }
}

/// `SEC-4`: what the router knows to be a router is no host, asked or not.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_4_from_and_to_a_known_router_nothing_goes_as_if_it_were_a_host() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let (destination, other) = OTHERS[0];
    let options = " --check-neighbors off --known-router 10.0.0.3";
    let _daemons = site.daemons(options, &format!("{other} --check-neighbors off"));
    let before = site.attack(destination);
    wait_until("20 to be refused", PATIENCE, || status(&site.router, r#".counters."known-router" == 20"#));
    assert_eq!(site.forged() - before, 20);
    // The other way: from the native side to the other router's address in our prefix.
    let neighbor = isatap_address(PREFIX, "10.0.0.3");
    site.other.run(&format!("ping -c 1 -W 1 {neighbor}"));
    wait_until("one more to be refused", PATIENCE, || status(&site.router, r#".counters."known-router" > 20"#));
    assert_eq!(site.capture.so_far().count(&format!("ipv6.dst == {neighbor}")), 0);
    assert!(status(&site.router, r#".known_routers == ["10.0.0.3"] and .trusted_routers == []"#));
}

/// Each host is new, and has to be asked while questions to thousands are open.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_1_new_hosts_are_served_while_forged_packets_arrive() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let intranet_hosts =
        ["10.0.0.7", "10.0.0.8"].map(|address| (lab.namespace(&format!("host{}", &address[7..])), address));
    for (host, address) in &intranet_hosts {
        site.intranet.join(host, "eth0", &format!("{address}/24"));
    }
    let _daemons = site.daemons("", OTHERS[0].1);
    let script = site.attacker.directory().join("forge.py");
    for ((host, address), rate) in intranet_hosts.iter().zip([100, 1000]) {
        let count = rate * 600;
        site.attacker
            .start("flood", &format!("python3 {} {count} {rate} any {PREFIX} 2001:db8:2:7::9", script.display()));
        // Two seconds of it: the table of neighbours is full of questions.
        let many = format!(".packets.entered > {}", 2 * rate);
        wait_until("questions", PATIENCE, || status(&site.router, &many));
        let _host = Daemon::isatap(host, &format!("host --local {address} --router 10.0.0.1"));
        peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, address));
        peers::wait_for_route(host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
        peers::ping(host, "2001:db8:0:8::3");
        site.attacker.stop("flood");
    }
}
