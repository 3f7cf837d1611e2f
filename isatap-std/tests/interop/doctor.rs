//! `isatap doctor` before links that do not work: it has to name the step and the cause, and
//! what it prescribes has to help when it is carried out.

use std::time::Duration;

use crate::common::peers::{self, PREFIX};
use crate::common::{Daemon, Lab, Namespace, Node, Output, Wire, isatap, isatap_binary, status, wait_for, wait_until};
use serde_json::Value;

const HOST: &str = "host --local 10.0.0.2 --router 10.0.0.1";
const ROUTER: &str = "router --local 10.0.0.1 --prefix 2001:db8:0:7::/64 --default always";
/// Longer than the retries of solicitations (4 s) and of names (10 s).
const CURE: Duration = Duration::from_secs(25);

struct Site<'l> {
    intranet: Wire<'l>,
    router: Namespace,
    host: Namespace,
}

impl<'l> Site<'l> {
    /// A router at 10.0.0.1 and a host at 10.0.0.2; no daemon runs.
    fn new(lab: &'l Lab) -> Self {
        let intranet = lab.wire();
        let (router, host) = (lab.namespace("router"), lab.namespace("host"));
        intranet.join(&router, "eth0", "10.0.0.1/24");
        intranet.join(&host, "eth0", "10.0.0.2/24");
        router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
        host.etc("hosts", "127.0.0.1 localhost\n");
        Site { intranet, router, host }
    }

    /// A server of names at 10.0.0.53, which does not run yet.
    fn dns(&self, lab: &Lab) -> Namespace {
        let dns = lab.namespace("dns");
        self.intranet.join(&dns, "eth0", "10.0.0.53/24");
        dns
    }
}

/// Starts the server of names; `names` are lines of a hosts file.
fn serve(dns: &Namespace, names: &str) {
    let names = dns.file("names", names);
    dns.start(
        "dnsmasq",
        &format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
             --addn-hosts={names} --local=/example.test/ --local-ttl=2"
        ),
    );
    wait_until("a name server", CURE, || dns.succeeds("ss -lun | grep -q :53"));
}

/// What the doctor says: one object a step.
#[track_caller]
fn findings(host: &Namespace) -> (Output, Vec<Value>) {
    let output = isatap(host, "doctor -j");
    assert!(matches!(output.status, 0 | 3), "{output:#?}");
    // What stands on stderr is for people.
    let lines = output.text.lines().filter(|line| !line.starts_with("isatap: "));
    let findings: Vec<Value> = lines.map(|line| serde_json::from_str(line).expect(line)).collect();
    assert_eq!(output.status == 3, findings.iter().any(|finding| finding["ok"] == false), "{output:#?}");
    (output, findings)
}

/// Waits until the doctor finds that this step fails for this cause; the fix.
#[track_caller]
fn fix_of(host: &Namespace, step: &str, cause: &str) -> String {
    let mut last = String::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for(&format!("the doctor to find {step}: {cause}"), CURE, || {
            let (output, findings) = findings(host);
            last = output.text;
            let failed = findings.into_iter().find(|finding| finding["ok"] == false)?;
            let fits = failed["step"] == step && failed["cause"].as_str()?.contains(cause);
            fits.then(|| failed["fix"].as_str().unwrap().to_owned())
        })
    }));
    found.unwrap_or_else(|_| panic!("{step}, {cause}: the doctor says\n{last}"))
}

/// Waits until the doctor has nothing to say against a link; what it sees.
#[track_caller]
fn content(host: &Namespace) -> Vec<Value> {
    let mut last = String::new();
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        wait_for("a content doctor", CURE, || {
            let (output, findings) = findings(host);
            last = output.text;
            (output.status == 0).then_some(findings)
        })
    }));
    found.unwrap_or_else(|_| panic!("the doctor is not content:\n{last}"))
}

/// The command behind "restart it: isatap ", without what [`Daemon::isatap`] adds.
fn restarted(fix: &str) -> String {
    let command = fix.split("restart it: isatap ").nth(1).unwrap_or_else(|| panic!("{fix}"));
    let command = command.split([';', ',']).next().unwrap();
    command.split(' ').filter(|word| *word != "--verbose").collect::<Vec<_>>().join(" ")
}

/// Sends an unsolicited Router Advertisement twice a second: outer source and destination,
/// prefix, flags of the Prefix Information option.
const ADVERTISER: &str = r#"
import socket, struct, sys, time
source, destination, prefix, flags = sys.argv[1:]
v6 = lambda text: socket.inet_pton(socket.AF_INET6, text)
local = lambda v4: v6("fe80::5efe:0:0")[:12] + socket.inet_aton(v4)
option = struct.pack("!BBBBIII", 3, 4, 64, int(flags, 16), 3600, 1800, 0) + v6(prefix)
body = struct.pack("!BBHBBHII", 134, 0, 0, 64, 0, 1800, 0, 0) + option
pseudo = local(source) + local(destination) + struct.pack("!II", len(body), 58)
total = sum(struct.unpack("!%dH" % ((len(pseudo) + len(body)) // 2), pseudo + body))
while total >> 16: total = (total & 0xffff) + (total >> 16)
body = body[:2] + struct.pack("!H", ~total & 0xffff) + body[4:]
packet = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + local(source) + local(destination) + body
out = socket.socket(socket.AF_INET, socket.SOCK_RAW, 41)
out.bind((source, 0))
while True:
    out.sendto(packet, (destination, 0))
    time.sleep(0.5)
"#;

fn advertise(node: &Namespace, source: &str, prefix: &str, flags: &str) {
    let script = node.file("advertiser.py", ADVERTISER);
    node.start("advertiser", &format!("python3 {script} {source} 10.0.0.2 {prefix} {flags}"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_link_that_works_satisfies_the_doctor_and_one_without_daemon_does_not() {
    let lab = Lab::new();
    let Site { router, host, .. } = &Site::new(&lab);
    let fix = fix_of(host, "daemon", "no daemon runs isatap0");
    assert!(fix.starts_with("isatap host --dev isatap0"), "{fix}");

    let _router = Daemon::isatap(router, ROUTER);
    let _host = Daemon::isatap(host, HOST);
    let seen = content(host);
    let steps: Vec<&str> = seen.iter().map(|finding| finding["step"].as_str().unwrap()).collect();
    assert_eq!(steps, ["name", "prl", "rs-sent", "ra-seen", "address", "route", "mtu", "peer"]);
    assert!(seen.iter().all(|finding| finding["dev"] == "isatap0" && finding["seen"].is_string()));
    assert!(seen[6]["seen"].as_str().unwrap().contains("answered by 10.0.0.1"), "{seen:#?}");
    let text = isatap(host, "doctor isatap0");
    assert!(text.success() && text.text.starts_with("isatap0: isatap-host\n  ok   name"), "{}", text.text);
    assert_eq!(content(router).len(), 4);

    // A daemon that keeps its socket elsewhere is found by its device.
    let elsewhere = format!("ISATAP_RUNTIME_DIR=/nonexistent {} doctor -j", env!("CARGO_BIN_EXE_isatap"));
    let output = host.run(&elsewhere);
    assert_eq!(output.status, 3, "{output:#?}");
    assert!(output.text.contains(r#""step":"daemon""#) && output.text.contains("kill "), "{output:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn no_name_server() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\noptions timeout:1 attempts:1\n");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, "host --local 10.0.0.2");
    let fix = fix_of(&site.host, "name", "isatap cannot be looked up: no name server");
    assert!(fix.contains("/etc/resolv.conf: nameserver V4"), "{fix}");
    serve(&dns, "10.0.0.1 isatap.example.test\n");
    let seen = content(&site.host);
    assert!(seen[0]["warning"].as_str().unwrap().contains("whoever answers for isatap in example.test"), "{seen:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_name_that_does_not_exist() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    serve(&dns, "10.0.0.1 other.example.test\n");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\n");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, "host --local 10.0.0.2 --router isatap.example.test.");
    let fix = fix_of(&site.host, "name", "10.0.0.53 know no IPv4 address for isatap.example.test");
    assert!(fix.contains("to /etc/hosts"), "{fix}");
    site.host.etc("hosts", "10.0.0.1 isatap.example.test\n");
    assert!(content(&site.host)[0]["seen"].as_str().unwrap().contains("hosts file"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_bare_name_without_a_search_domain() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    serve(&dns, "10.0.0.1 isatap.example.test\n");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\n");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, "host --local 10.0.0.2");
    let fix = fix_of(&site.host, "name", "no search domain");
    assert!(fix.contains("search DOMAIN"), "{fix}");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\n");
    let seen = content(&site.host);
    assert!(seen[0]["warning"].as_str().unwrap().contains("own that name"), "{seen:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_name_with_a_wrong_address() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    serve(&dns, "10.0.0.77 isatap.example.test\n");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\n");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, "host --local 10.0.0.2 --router isatap.example.test.");
    let fix = fix_of(&site.host, "ra-seen", "the address comes from dns isatap.example.test");
    assert!(fix.contains("correct"), "{fix}");
    dns.file("names", "10.0.0.1 isatap.example.test\n");
    dns.signal("dnsmasq", "HUP");
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_name_with_an_address_that_no_router_has() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    serve(&dns, "10.0.0.2 isatap.example.test\n");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\n");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, "host --local 10.0.0.2 --router isatap.example.test.");
    let fix = fix_of(&site.host, "prl", "no address that a router can have");
    assert!(fix.contains("correct the A record of isatap.example.test"), "{fix}");
    dns.file("names", "10.0.0.1 isatap.example.test\n");
    dns.signal("dnsmasq", "HUP");
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn an_address_where_no_router_runs() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.host, "ra-seen", "10.0.0.1 takes no protocol 41");
    assert!(fix.contains("isatap router --local 10.0.0.1 --prefix P/64"), "{fix}");
    let _router = Daemon::isatap(&site.router, ROUTER);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_43_an_advertisement_from_a_stranger() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let stranger = lab.namespace("stranger");
    site.intranet.join(&stranger, "eth0", "10.0.0.9/24");
    stranger.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let _router = Daemon::isatap(&stranger, "router --local 10.0.0.9 --prefix 2001:db8:0:9::/64");
    advertise(&stranger, "10.0.0.9", "2001:db8:0:9::", "c0");
    let host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.host, "ra-seen", "10.0.0.1 is silent, and 10.0.0.9 advertises");
    assert!(host.terminate(CURE).success());
    let _host = Daemon::isatap(&site.host, &restarted(&fix));
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_83_a_prefix_that_is_not_on_link() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
    advertise(&site.router, "10.0.0.1", "2001:db8:0:9::", "40");
    peers::wait_for_address(&site.host, "isatap0", peers::isatap_address("2001:db8:0:9::", "10.0.0.2"));
    let fix = fix_of(&site.host, "route", "2001:db8:0:9::/64 without the L flag");
    assert!(fix.contains("set the L flag of 2001:db8:0:9::/64 on 10.0.0.1"), "{fix}");
    site.router.stop("advertiser");
    advertise(&site.router, "10.0.0.1", "2001:db8:0:9::", "c0");
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_black_hole_for_large_packets() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let router = Daemon::isatap(&site.router, ROUTER);
    let host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
    // Outer packets of more than 1363 bytes vanish, and nobody says so.
    site.router
        .ok("nft add table inet way && nft add chain inet way in '{ type filter hook prerouting priority -400; }' && \
                    nft add rule inet way in ip protocol 41 meta length gt 1363 drop");
    let fix = fix_of(&site.host, "mtu", "black hole on the way to 10.0.0.1: packets of 1343 bytes are answered");
    assert!(fix.contains("advertise an MTU of 1343 on 10.0.0.1 (isatap router: --mtu 1343;"), "{fix}");
    assert!(router.terminate(CURE).success() && host.terminate(CURE).success());
    let _router = Daemon::isatap(&site.router, &format!("{ROUTER} --mtu 1343"));
    let _host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn protocol_41_dropped_on_the_way() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    site.router.ok(
        "nft add table inet filter && nft add chain inet filter input '{ type filter hook input priority 0; }' && \
                    nft add rule inet filter input ip protocol 41 drop",
    );
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.host, "ra-seen", "drops protocol 41");
    site.router.ok(fix.split(": ").nth(1).unwrap());
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn protocol_41_forbidden_by_a_firewall_of_the_host() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    site.host.ok("nft add table inet own && nft add chain inet own out '{ type filter hook output priority 0; }' && \
                  nft add rule inet own out ip protocol 41 drop");
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.host, "rs-sent", "EPERM");
    assert_eq!(fix, "nft insert rule inet own out ip protocol 41 accept");
    site.host.ok(&fix);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_second_daemon_for_the_same_address() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
    // For the same device it is refused, and told by whom.
    let same = isatap(&site.host, HOST);
    assert!(!same.success() && same.text.contains("process"), "{same:#?}");
    // One that does not see the locks of the first, as in a container with a /run of its own.
    let elsewhere = site.host.directory().join("elsewhere");
    let second = format!("{} {HOST} --dev isatap1", env!("CARGO_BIN_EXE_isatap"));
    site.host.start("second", &format!("env ISATAP_RUNTIME_DIR={} {second}", elsewhere.display()));
    let first = || {
        let output = isatap(&site.host, "doctor -j isatap0");
        let lines = output.text.lines().filter(|line| !line.starts_with("isatap: "));
        let mut failed = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        failed.find(|finding| finding["ok"] == false)
    };
    let failed = wait_for("the doctor to see the second daemon", CURE, first);
    assert_eq!(failed["step"], "address", "{failed}");
    let cause = failed["cause"].as_str().unwrap();
    assert!(cause.contains("isatap1 has the address fe80::5efe:10.0.0.2 of isatap0 too"), "{cause}");
    let fix = failed["fix"].as_str().unwrap();
    assert!(fix.starts_with("kill "), "{fix}");
    site.host.ok(fix);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_another_hand_has_done_to_the_device() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
    let address = peers::isatap_address(PREFIX, "10.0.0.2");
    for (injury, step, cause) in [
        ("ip link set isatap0 down", "address", "switched isatap0 off"),
        ("ip link set isatap0 mtu 1500", "mtu", "has MTU 1500"),
        ("sysctl -qw net.ipv6.conf.isatap0.disable_ipv6=1", "address", "IPv6 is switched off"),
    ] {
        site.host.ok(injury);
        let fix = fix_of(&site.host, step, cause);
        site.host.ok(&fix);
        content(&site.host);
    }
    // The daemon mends these itself, within a second: the doctor need not be called.
    site.host.ok(&format!("ip address delete {address}/64 dev isatap0"));
    peers::wait_for_address(&site.host, "isatap0", address);
    site.host.ok("ip -6 route delete default dev isatap0");
    peers::wait_for_route(&site.host, "default via fe80::5efe:a00:1 dev isatap0", true, CURE);
}

/// What stops protocol 41 on its way into a machine.
const DROP: &str = "nft add table inet own && nft add chain inet own in '{ type filter hook input priority 0; }' && \
                    nft add rule inet own in ip protocol 41 drop";

/// What the doctor says now, in one run.
#[track_caller]
fn now(host: &Namespace, step: &str, cause: &str) -> String {
    let (output, findings) = findings(host);
    let failed = findings.into_iter().find(|finding| finding["ok"] == false).unwrap_or_else(|| panic!("{output:#?}"));
    assert!(failed["step"] == step && failed["cause"].as_str().unwrap().contains(cause), "{failed:#}");
    failed["fix"].as_str().unwrap().to_owned()
}

/// The state of a moment ago is no evidence: neither lifetimes nor reachability that was confirmed.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn protocol_41_dropped_a_moment_ago() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    content(&site.host);
    assert!(status(&site.host, ".prl[0] | .alive and .heard < 10"));
    site.router.ok(DROP);
    let fix = now(&site.host, "ra-seen", "nothing of protocol 41 comes back, not even an error");
    let text = isatap(&site.host, "status").text;
    assert!(text.contains("router 10.0.0.1 (static) alive, last heard "), "{text}");
    site.router.ok(&fix.split(": ").nth(1).unwrap().replace("inet filter input", "inet own in"));
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn protocol_41_dropped_by_the_hosts_own_firewall() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    site.host.ok(DROP);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.host, "ra-seen", "what 10.0.0.1 answers comes in at eth0, and this machine's own firewall");
    assert_eq!(fix, "nft insert rule inet own in ip protocol 41 accept");
    site.host.ok(&fix);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn protocol_41_dropped_by_the_routers_own_firewall() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    site.router.ok(DROP);
    let _router = Daemon::isatap(&site.router, ROUTER);
    let _host = Daemon::isatap(&site.host, HOST);
    // Its host asks while the doctor looks, sooner or later.
    let fix = wait_for("the router's doctor to see its host", CURE, || {
        let _ = isatap(&site.host, "solicit isatap0");
        let (_, findings) = findings(&site.router);
        let failed = findings.into_iter().find(|finding| finding["ok"] == false)?;
        assert!(failed["cause"].as_str()?.contains("packets of 10.0.0.2 come in at eth0"), "{failed}");
        failed["fix"].as_str().map(str::to_owned)
    });
    assert_eq!(fix, "nft insert rule inet own in ip protocol 41 accept");
    site.router.ok(&fix);
    content(&site.host);
    let seen = content(&site.router);
    assert!(seen.last().unwrap()["seen"].as_str().unwrap().contains("a host was answered"), "{seen:#?}");
}

/// TUN-44, TUN-62: packets that go are no evidence that somebody takes them.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_tunnel_without_another_end() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _near = Daemon::isatap(&site.host, "tunnel --local 10.0.0.2 --remote 10.0.0.1 --address 2001:db8:0:9::2/64");
    site.host.run("ping -6 -n -c 3 -W 1 -i 0.2 2001:db8:0:9::1");
    let fix = now(&site.host, "peer", "10.0.0.1 has no tunnel to 10.0.0.2: 10.0.0.1 says protocol unreachable");
    let command = fix.split("isatap ").nth(1).unwrap();
    let _far = Daemon::isatap(&site.router, command);
    let seen = content(&site.host);
    assert_eq!(seen.last().unwrap()["seen"], "10.0.0.1 answers through the tunnel", "{seen:#?}");
    // On the way, and here.
    site.router.ok(DROP);
    // What the other kernel says by itself when a link is new comes in meanwhile.
    fix_of(&site.host, "peer", "10.0.0.1 answers an IPv4 ping, and nothing of protocol 41 comes back");
    site.router.ok("nft delete table inet own");
    site.host.ok(DROP);
    let fix =
        fix_of(&site.host, "peer", "what 10.0.0.1 answers comes in at eth0, and this machine's own firewall drops it");
    site.host.ok(&fix);
    content(&site.host);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_50_a_border_relay_that_is_none() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let domain = "6rd --prefix 2001:db8::/32 --v4-mask-len 8";
    let _edge = Daemon::isatap(&site.host, &format!("{domain} --local 10.0.0.2 --br 10.0.0.1"));
    now(&site.host, "peer", "10.0.0.1 is no relay: 10.0.0.1 says protocol unreachable");
    let _relay = Daemon::isatap(&site.router, &format!("{domain} --local 10.0.0.1 --role br"));
    let seen = content(&site.host);
    assert_eq!(seen.last().unwrap()["seen"], "10.0.0.1 answers through the tunnel", "{seen:#?}");
    let seen = content(&site.router);
    assert!(seen.last().unwrap()["unknown"] == true, "it asks no customers: {seen:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_1_6to4_on_a_private_address() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let mut daemon = Daemon::start(&site.host, "6to4", isatap_binary(), &["6to4", "--relay", "192.88.99.1"]);
    daemon.wait_for_line("6to4 needs a public IPv4 address, and this machine has only 10.0.0.2", CURE);
    let fix = fix_of(&site.host, "address", "6to4 needs a public IPv4 address, and this machine has only 10.0.0.2");
    assert!(daemon.terminate(CURE).success());
    // The fix works: an address. Of the relay it says nothing.
    let _daemon = Daemon::isatap(&site.host, &restarted(&fix));
    let fix = fix_of(&site.host, "peer", "no answer of any kind from 192.88.99.1");
    assert!(fix.contains("ping 192.88.99.1"), "{fix}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_35_a_6to4_relay_that_is_none() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let _site = Daemon::isatap(&site.host, "6to4 --local 10.0.0.2 --relay 10.0.0.1 --accept-bogons");
    now(&site.host, "peer", "10.0.0.1 is no relay: 10.0.0.1 says protocol unreachable");
    let _relay = Daemon::isatap(&site.router, "6to4 --role relay --local 10.0.0.1 --accept-bogons");
    let seen = content(&site.host);
    assert_eq!(seen.last().unwrap()["seen"], "10.0.0.1 answers through the tunnel", "{seen:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_2_a_router_whose_members_leave_a_host_out() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let router = Daemon::isatap(&site.router, &format!("{ROUTER} --member 10.0.1.0/24"));
    let _host = Daemon::isatap(&site.host, HOST);
    let fix = fix_of(&site.router, "peer", "packets of 10.0.0.2 were dropped");
    assert!(fix.contains("--member 10.0.0.0/24"), "{fix}");
    assert!(router.terminate(CURE).success());
    let _router = Daemon::isatap(&site.router, &restarted(&fix));
    content(&site.host);
    content(&site.router);
}

/// NAM-9: said once, to whoever has started it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nam_9_a_host_says_at_start_that_its_name_does_not_exist() {
    let lab = Lab::new();
    let site = Site::new(&lab);
    let dns = site.dns(&lab);
    serve(&dns, "10.0.0.1 other.example.test\n");
    site.host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\n");
    let mut host = Daemon::start(&site.host, "host", isatap_binary(), &["host", "--local", "10.0.0.2"]);
    let line = host.wait_for_line("no router yet: isatap: ", CURE);
    assert!(line.ends_with("it is looked up again; see isatap doctor"), "{line}");
    // Once, though it is looked up again.
    fix_of(&site.host, "name", "10.0.0.53 know no IPv4 address for isatap in the search domains example.test");
    assert_eq!(host.output().matches("no router yet").count(), 1);
}
