//! `isatap run`: several links in one process, and what it tells systemd.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, peers, status, wait_until};

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
    let told_line = || loop {
        let mut bytes = [0; 256];
        let length = socket.recv(&mut bytes).unwrap();
        let line = String::from_utf8_lossy(&bytes[..length]).into_owned();
        // What is said of the state comes between.
        if !line.starts_with("STATUS=") {
            return line;
        }
    };
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
    daemon.wait_for_line("direct-access.toml:2:1: unknown field `lokal`", PATIENCE);
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
