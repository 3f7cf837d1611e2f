//! Teredo is the last resort: our client beside IPv6 of other kinds that comes and goes, with
//! miredo's server.

use std::time::Duration;

use crate::common::teredo::{Internet, Nat, PORT, SERVER};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Stopwatch, isatap, isatap_binary, status, wait_until};

/// How long the client may take to see what the kernel tells at once.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Does something, and waits until the client has an address and a route, or neither; how long that took.
#[track_caller]
fn until(client: &Namespace, command: &str, works: bool) -> Duration {
    let stopwatch = Stopwatch::start();
    client.ok(command);
    let shown = "ip -6 -o address show dev teredo scope global; ip -6 route show dev teredo | grep default";
    wait_until(&format!("after {command}, {works}"), PATIENCE, || {
        let text = client.run(shown).text;
        [text.contains("2001:0:c633:6401:"), text.contains("default")] == [works; 2]
    });
    let took = stopwatch.elapsed();
    println!("{took:?} after {command}");
    took
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_31_sel_14_rte_14_a_client_rests_beside_other_ipv6_and_returns_within_2_s() {
    let lab = Lab::new();
    let (internet, native) = (Internet::new(&lab), lab.wire());
    let _server = internet.miredo_server();
    let a = internet.home(1, Nat::PortRestricted);
    let client = &a.client;
    native.join(client, "eth6", "2001:db8:5::2/64");
    client.ok("ip -6 route add default via 2001:db8:5::1");
    let capture = a.inside.capture("udp port 3544");
    // It would refresh the NAT's mapping each 2 s.
    let text = format!("[[teredo-client]]\nserver = \"{SERVER}\"\nbind = \":{PORT}\"\nrefresh-interval = 2\n");
    let file = client.file("node.toml", &text);
    let mut daemon = Daemon::start(client, "run", isatap_binary(), &["run", &file, "--verbose"]);
    daemon.wait_for_line("teredo rests: this machine has IPv6 by eth6", PATIENCE);
    // Who watches hears the status' word.
    daemon.wait_for_line("teredo: teredo resting", PATIENCE);
    assert!(status(client, r#".resting and .yields_to == "eth6" and .teredo.state == "resting" and .addresses == []"#));
    let doctor = isatap(client, "doctor -j");
    assert!(doctor.success() && doctor.text.contains("Teredo rests: this machine has IPv6 by eth6"), "{doctor:#?}");
    let asked = isatap(client, "solicit");
    assert!(!asked.success() && asked.text.contains("it rests beside other IPv6"), "{asked:#?}");
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(capture.so_far().count("udp"), 0, "a client that rests sends nothing");

    let (gone, there) = ("ip -6 route del default", "ip -6 route add default via 2001:db8:5::1");
    for (command, works) in [
        (gone, true),
        (there, false),
        // Without an address a default route leads nowhere.
        ("ip -6 address del 2001:db8:5::2/64 dev eth6", true),
        ("ip -6 address add 2001:db8:5::2/64 dev eth6 && ip -6 route replace default via 2001:db8:5::1", false),
        // So does one to a device that is off.
        ("ip link set eth6 down", true),
    ] {
        assert!(until(client, command, works) <= AT_ONCE, "{command}");
    }
    daemon.wait_for_line("teredo works again: this machine has no IPv6 by eth6 any more", PATIENCE);
    // Who watches hears of the way to all other clients, as it comes and goes.
    for change in ["added", "removed"] {
        daemon.wait_for_line(&format!("teredo: route 2001::/32 automatic {change}"), PATIENCE);
    }

    // A tunnel of another process. The mapping of the NAT is not kept alive meanwhile.
    let tunnel = "tunnel --local 192.168.1.2 --remote 192.168.1.1 --address 2001:db8:77::2/64";
    let tunnel = Daemon::isatap(client, tunnel);
    assert!(until(client, "ip -6 route add default dev tun6in4 metric 2049", false) <= AT_ONCE);
    let sent = capture.so_far().count("udp");
    std::thread::sleep(Duration::from_secs(4));
    assert_eq!(capture.so_far().count("udp"), sent);
    assert!(tunnel.terminate(PATIENCE).success());
    assert!(until(client, "true", true) <= AT_ONCE);
    assert!(status(client, r#"(.resting | not) and .teredo.state == "qualified""#));
    assert!(daemon.terminate(PATIENCE).success());
}

/// The other mechanisms lead to the Internet as native IPv6 does.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_31_sel_14_a_client_rests_beside_isatap_and_6to4() {
    let lab = Lab::new();
    let (internet, site) = (Internet::new(&lab), lab.wire());
    let _server = internet.miredo_server();
    let a = internet.home(1, Nat::PortRestricted);
    let router = lab.namespace("router");
    for (node, number) in [(&a.client, 2), (&router, 1)] {
        site.join(node, "eth6", &format!("131.107.0.{number}/24"));
    }
    router.ok("sysctl -q -w net.ipv6.conf.all.forwarding=1");
    let _router = Daemon::isatap(&router, "router --local 131.107.0.1 --prefix 2001:db8:7::/64 --default always");
    let _client = Daemon::isatap(&a.client, &format!("teredo client --server {SERVER} --bind :{PORT}"));
    until(&a.client, "true", true);
    for (other, device) in [
        ("host --local 131.107.0.2 --router 131.107.0.1", "isatap0"),
        ("6to4 --local 131.107.0.2 --relay 131.107.0.1", "tun6to4"),
    ] {
        let other = Daemon::isatap(&a.client, other);
        until(&a.client, "true", false);
        wait_until(&format!("it rests beside {device}"), PATIENCE, || {
            let rests = format!(r#"select(.dev == "teredo") | .resting and .yields_to == "{device}""#);
            // One line of each daemon.
            status(&a.client, &format!("[inputs, .] | any({rests})"))
        });
        assert!(other.terminate(PATIENCE).success());
        assert!(until(&a.client, "true", true) <= AT_ONCE, "{device}");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ter_31_with_beside_native_a_client_works_beside_native_ipv6() {
    let lab = Lab::new();
    let (internet, native) = (Internet::new(&lab), lab.wire());
    let _server = internet.miredo_server();
    let a = internet.home(1, Nat::PortRestricted);
    native.join(&a.client, "eth6", "2001:db8:5::2/64");
    a.client.ok("ip -6 route add default via 2001:db8:5::1");
    let options = format!("teredo client --server {SERVER} --beside-native");
    let _daemon = Daemon::isatap(&a.client, &options);
    // Teredo's default route yields to every other.
    assert!(a.client.ok("ip -6 route get 2001:db8:99::1").contains("dev eth6"));
}
