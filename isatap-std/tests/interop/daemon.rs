//! The command-line tool as a daemon: what it leaves behind, what it records, and what it does
//! where something is missing or full.

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap_binary, status, wait_until};

const HOST: &str = "host --local 10.0.0.2 --router 10.0.0.1";

/// Our router at 10.0.0.1, and a namespace at 10.0.0.2 for our host.
fn site(lab: &Lab, intranet: &Wire<'_>) -> (Namespace, Daemon, Namespace) {
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    intranet.join(&router, "eth0", "10.0.0.1/24");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let daemon = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always"));
    (router, daemon, host)
}

fn is_used(host: &Namespace) {
    peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    peers::ping(host, &isatap_address(PREFIX, "10.0.0.1").to_string());
}

fn delivered_so_far(host: &Namespace) -> u64 {
    host.ok(&format!("{} status -j | jq .packets.delivered", isatap_binary())).trim().parse().unwrap()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sigterm_leaves_no_device_address_route_rule_or_socket() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let state = || {
        // Silent: `ip` warns of namespaces that other tests remove meanwhile.
        host.ok(
            "exec 2>/dev/null; ip -o link; ip -o address; for family in -4 -6; do ip $family route show table all; \
                 ip $family rule; done; sysctl -a | grep -E '^net\\.ipv[46]\\.(conf\\.(all|default|eth0)|ip_)' \
                 | grep -v stable_secret",
        )
    };
    // What comes by itself has come: the kernel's own address of the network card.
    wait_until("eth0 to settle", PATIENCE, || host.ok("ip -6 route show table all dev eth0").contains("multicast"));
    let before = state();
    for signal in ["TERM", "INT"] {
        let daemon = Daemon::isatap(&host, HOST);
        is_used(&host);
        assert_ne!(state(), before, "there was nothing to clean up");
        assert!(host.ok("ls $ISATAP_RUNTIME_DIR").contains("isatap0.sock"));
        if signal == "INT" {
            daemon.signal(signal);
        }
        assert!(daemon.terminate(PATIENCE).success());
        assert_eq!(state(), before);
        assert_eq!(host.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_capture_has_both_directions_and_a_full_disk_ends_it_alone() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let file = host.directory().join("outer.pcap").display().to_string();
    let daemon = Daemon::isatap(&host, &format!("{HOST} --pcap {file}"));
    is_used(&host);
    assert!(daemon.terminate(PATIENCE).success());
    for direction in ["src 10.0.0.2 and dst 10.0.0.1", "src 10.0.0.1 and dst 10.0.0.2"] {
        let packets = host.ok(&format!("tcpdump -n -r {file} 'ip proto 41 and {direction}' 2>/dev/null"));
        assert!(packets.contains("echo re"), "{direction}: {packets}");
    }

    // A disk of one page, which nobody but the daemon and its children see.
    let disk = host.directory().join("disk");
    std::fs::create_dir(&disk).unwrap();
    let command = format!(
        "mount -t tmpfs -o size=4k tmpfs {0} && exec {1} {HOST} --verbose --pcap {0}/outer.pcap",
        disk.display(),
        isatap_binary()
    );
    let mut daemon = Daemon::start(&host, "full", "bash", &["-c", &command]);
    is_used(&host);
    for _ in 0..40 {
        peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
        if daemon.output().contains("warning: ") {
            break;
        }
    }
    daemon.wait_for_line("warning: cannot record more packets into", PATIENCE);
    is_used(&host);
    assert_eq!(daemon.output().matches("cannot record").count(), 1, "told once");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_full_disk_under_the_log_stops_no_link() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let command = format!("exec {} {HOST} --verbose >/dev/full 2>/dev/full", isatap_binary());
    let mut daemon = Daemon::start(&host, "host", "bash", &["-c", &command]);
    is_used(&host);
    assert!(daemon.is_running());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_11_a_host_that_starts_without_an_address_begins_when_there_is_one() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    for source in ["--via eth0", ""] {
        host.ok("ip address flush dev eth0");
        let command = format!("exec {} host {source} --router 10.0.0.1", isatap_binary());
        let mut daemon = Daemon::start(&host, "host", "bash", &["-c", &command]);
        wait_until("the device", PATIENCE, || host.succeeds("ip link show dev isatap0 up"));
        wait_until("a status", PATIENCE, || status(&host, ".locators == [] and .addresses == []"));
        assert!(daemon.is_running());
        host.ok("ip address add 10.0.0.2/24 dev eth0");
        is_used(&host);
        assert!(status(&host, ".locators == [\"10.0.0.2\"]"));
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn sec_10_nobody_speaks_from_an_address_of_this_machines_other_devices() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (router, _daemon, host) = site(&lab, &intranet);
    let _host_daemon = Daemon::isatap(&host, HOST);
    is_used(&host);
    // A router may deliver for anybody, so what it sends is the hardest to tell.
    let destination = isatap_address(PREFIX, "10.0.0.2");
    let say = |source: &str| {
        let script = router.file(
            "say.py",
            &format!(
                "import socket\n\
                 source, destination = (socket.inet_pton(socket.AF_INET6, a) for a in ('{source}', '{destination}'))\n\
                 packet = bytes([0x60, 0, 0, 0, 0, 0, 59, 64]) + source + destination\n\
                 socket.socket(socket.AF_INET, socket.SOCK_RAW, 41).sendto(packet, ('10.0.0.2', 0))\n"
            ),
        );
        router.ok(&format!("python3 {script}"));
    };
    let native = "2001:db8:77::1";
    host.ok("ip link add lan type veth peer name nal && ip link set lan up && ip link set nal up");
    let before = delivered_so_far(&host);
    say(native);
    wait_until("the packet, while it is nobody's address", PATIENCE, || delivered_so_far(&host) > before);
    assert!(status(&host, ".counters[\"own-source\"] // 0 | . == 0"));

    host.ok(&format!("ip address add {native}/64 dev lan nodad"));
    wait_until("a refusal", PATIENCE, || {
        say(native);
        status(&host, ".counters[\"own-source\"] // 0 | . >= 1")
    });
    // A neighbour of that LAN may come by the router all the same.
    let before = delivered_so_far(&host);
    say("2001:db8:77::2");
    wait_until("the neighbour's packet", PATIENCE, || delivered_so_far(&host) > before);
    assert!(status(&host, ".counters[\"own-source\"] >= 1"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_32_a_host_behind_our_router_is_told_what_the_tunnel_carries() {
    let lab = Lab::new();
    let (intranet, lan) = (lab.wire(), lab.wire());
    let (router, host, native) = (lab.namespace("router"), lab.namespace("host"), lab.namespace("native"));
    intranet.join(&router, "eth0", "10.0.0.1/24");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    lan.join(&router, "eth1", "192.168.1.1/24");
    lan.join(&native, "eth0", "192.168.1.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip link set eth0 mtu 1380 && \
               ip address add 2001:db8:0:8::1/64 dev eth1");
    native.ok("ip address add 2001:db8:0:8::2/64 dev eth0 && ip -6 route add default via 2001:db8:0:8::1");
    // The device says 1,400 bytes, and the IPv4 device underneath carries 1,360.
    let _router_daemon =
        Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --mtu 1400 --default always"));
    let _host_daemon = Daemon::isatap(&host, HOST);
    is_used(&host);
    let target = isatap_address(PREFIX, "10.0.0.2");
    peers::ping(&native, &target.to_string());
    let output = native.run(&format!("ping -6 -n -c 2 -W 1 -M do -s {} {target}", 1400 - 48));
    let router_address = isatap_address(PREFIX, "10.0.0.1");
    assert!(output.text.contains(&format!("From {router_address}")), "{output:#?}");
    assert!(output.text.contains("too big: mtu=1360"), "{output:#?}");
    assert!(native.ok(&format!("ip -6 route get {target}")).contains("mtu 1360"));
    let output = native.run(&format!("ping -6 -n -c 1 -W 2 -M do -s {} {target}", 1360 - 48));
    assert!(output.success(), "{output:#?}");
}
