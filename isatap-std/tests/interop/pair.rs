//! Our host with our router, in two namespaces of the machine's own kernel.

use std::time::Duration;

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, status, wait_until};

fn pair(router: &Namespace, host: &Namespace) -> (Daemon, Daemon) {
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let router_daemon =
        Daemon::isatap(router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always"));
    let host_daemon = Daemon::isatap(host, "host --local 10.0.0.2 --router 10.0.0.1");
    peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    peers::wait_for_route(host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
    (router_daemon, host_daemon)
}

fn namespaces(lab: &Lab, join: impl Fn(&Namespace, &str)) -> (Namespace, Namespace) {
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    join(&router, "10.0.0.1/24");
    join(&host, "10.0.0.2/24");
    (router, host)
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_host_uses_our_router() {
    let lab = Lab::new();
    let intranet: Wire<'_> = lab.wire();
    let (router, host) = namespaces(&lab, |namespace, address| intranet.join(namespace, "eth0", address));
    let _daemons = pair(&router, &host);
    let [of_router, of_host] = ["10.0.0.1", "10.0.0.2"].map(|address| isatap_address(PREFIX, address));
    peers::ping(&host, "fe80::5efe:a00:1%isatap0");
    peers::ping_sizes(&host, &of_router.to_string(), 1480);
    peers::ping_sizes(&router, &of_host.to_string(), 1480);
    peers::http(&host, &router, of_router);
    peers::http(&router, &host, of_host);
}

/// NDP-67, ISA-34 [RFC 7559 §2.1]: the router is up, the host is, and forwarding comes last.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_hosts_route_follows_the_routers_forwarding_within_seconds() {
    const SECONDS: Duration = Duration::from_secs(5);
    let lab = Lab::new();
    let intranet = lab.wire();
    let (router, host) = namespaces(&lab, |namespace, address| intranet.join(namespace, "eth0", address));
    let options = format!("--prefix {PREFIX}/64 --advertise-route 2001:db8:f::/48,always --default always");
    let _router = Daemon::isatap(&router, &format!("router --local 10.0.0.1 {options}"));
    let _host = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    assert!(!host.ok("ip -6 route show").contains("default"));
    assert!(status(&host, ".prl[0] | .alive and .heard < 60 and .next_solicitation < 20"));
    let default = "default via fe80::5efe:a00:1 dev isatap0";
    // Nobody asks while the host is content, nor for two minutes after its first question: from the
    // second switch on it is the router that tells.
    for on in [true, false, true, false, true] {
        router.ok(&format!("sysctl -qw net.ipv6.conf.all.forwarding={}", u8::from(on)));
        peers::wait_for_route(&host, default, on, SECONDS);
        let told =
            format!(".forwarding == {on} and (.advertises | .default_route == {on} and (.routes != []) == {on})");
        assert!(status(&router, &told), "{}", isatap(&router, "status -j").text);
    }
    // The switch of the device alone counts as well.
    for on in [false, true] {
        router.ok(&format!("sysctl -qw net.ipv6.conf.isatap0.forwarding={}", u8::from(on)));
        peers::wait_for_route(&host, default, on, SECONDS);
    }
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    assert!(status(&host, ".prl[0].next_solicitation <= 3600"));
}

/// With offloads on, the kernel joins the segments of a TCP stream before a raw socket sees
/// them: packets that are longer than any MTU come in, and have to be let through whole.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tcp_runs_at_full_speed_where_the_kernel_joins_packets() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (router, host) = namespaces(&lab, |namespace, address| {
        intranet.join_with_offloads(namespace, "eth0", address);
    });
    let joined = [&router, &host].map(|namespace| namespace.capture("eth0", "ip proto 41 and greater 3000"));
    let _daemons = pair(&router, &host);
    let of_router = isatap_address(PREFIX, "10.0.0.1");
    peers::ping(&host, &of_router.to_string());

    let rates = peers::iperf3(&host, &router, of_router);
    // Both daemons, both ends of the stream and both kernels share the machine. A stream
    // whose joined packets are not understood has a thousandth of it, or stalls.
    let least = if cfg!(debug_assertions) { 3e7 } else { 3e8 };
    assert!(rates.iter().all(|&rate| rate > least), "{rates:?}");
    // What the test is about has happened, in both directions.
    for capture in &joined {
        wait_until("joined packets", PATIENCE, || capture.so_far().count("ip.len > 3000") > 10);
    }
}

/// TUN-7, TUN-31: without path MTU discovery every packet may be fragmented, and within seconds
/// there are more of them than Identifications.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_7_a_host_of_static_mtu_outlives_its_identifications() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (router, host) = namespaces(&lab, |namespace, address| intranet.join(namespace, "eth0", address));
    let _router = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always"));
    let mut daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1 --no-path-mtu-discovery");
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    let of_router = isatap_address(PREFIX, "10.0.0.1").to_string();
    peers::ping(&host, &of_router);
    let capture = intranet.capture("ip proto 41 and src 10.0.0.2 and ip[26] == 58");

    let script = host.file("flood.py", FLOOD);
    host.start("flood", &format!("python3 {script} isatap0 {of_router}"));
    // Three times as many as there are Identifications, whose lifetime is 120 s.
    wait_until("200,000 packets", 4 * PATIENCE, || {
        peers::ping(&host, &of_router);
        status(&host, ".packets.tunnelled > 200000 and .io[\"identifications-repeated\"] > 100000")
    });
    peers::ping(&host, &of_router);
    host.stop("flood");

    let warning = "than there are Identifications";
    daemon.wait_for_line(warning, PATIENCE);
    assert_eq!(daemon.output().matches(warning).count(), 1);
    let packets = capture.so_far();
    assert_eq!(packets.count("ip.flags.df == 1"), 0);
    assert!(packets.count("icmpv6.type == 128") > 1);
}

/// Sends until it is killed, and never more than the queue of the device holds, however seldom the daemon
/// has its turn: `flood.py DEVICE ADDRESS`.
const FLOOD: &str = r#"
import socket, sys, time
flood = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
counters = [open(f"/sys/class/net/{sys.argv[1]}/statistics/tx_{of}") for of in ("packets", "dropped")]
def left():
    for counter in counters:
        counter.seek(0)
    return sum(int(counter.read()) for counter in counters)
sent, before = 0, left()
while True:
    if sent > left() - before + 100:
        time.sleep(0.0005)
        continue
    for _ in range(100):
        flood.sendto(b"", (sys.argv[2], 9))
    sent += 100
"#;
