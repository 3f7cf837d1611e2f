//! What our daemons let in, asked by packets that a stranger made by hand.

use std::time::Duration;

use crate::common::forge::Forged;
use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, status, wait_until};

/// Live, the kernel judges the options and fills some in before our socket has the packet.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_11_sec_12_outer_options_are_skipped_and_source_routes_are_not() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [peer, ours] = [("peer", "10.0.0.1/24"), ("ours", "10.0.0.2/24")].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", address);
        namespace
    });
    let _daemon = Daemon::isatap(&ours, "tunnel --local 10.0.0.2 --remote 10.0.0.1 --address 2001:db8:77::2/64");
    let forged =
        |options| Forged { outer: ["10.0.0.1", "10.0.0.2"], options, inner: ["2001:db8:77::1", "2001:db8:77::2"] };
    assert!(forged(&[]).is_answered(&peer, PATIENCE), "without options");

    let timestamp = &[68, 12, 5, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let answered: [(&str, &[u8]); 6] = [
        ("Record Route", &[7, 7, 4, 0, 0, 0, 0, 0]),
        ("Record Route whose rest is less than an address", &[7, 9, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ("Record Route that is full", &[7, 7, 8, 10, 0, 0, 9, 0]),
        ("Timestamp", timestamp),
        ("Timestamp that has missed fourteen", &[68, 8, 9, 0xe0, 0, 0, 0, 0]),
        ("Router Alert", &[148, 4, 0, 0]),
    ];
    for (what, options) in answered {
        assert!(forged(options).is_answered(&peer, PATIENCE), "{what}");
    }

    // The kernel lets a source route in where somebody allows it; we do not.
    let routes: [&[u8]; 2] = [&[131, 7, 8, 10, 0, 0, 2, 0], &[137, 7, 8, 10, 0, 0, 2, 0]];
    ours.ok("sysctl -qw net.ipv4.conf.all.accept_source_route=1 net.ipv4.conf.eth0.accept_source_route=1");
    for (before, options) in routes.into_iter().enumerate() {
        wait_until("a source route to be counted", PATIENCE, || {
            assert!(!forged(options).is_answered(&peer, Duration::from_secs(1)));
            status(&ours, &format!(".counters[\"outer-source-route\"] > {before}"))
        });
    }
    assert!(!status(&ours, ".counters[\"outer-checksum\"] > 0"));
}

/// Machines on one wire; behind `ours` a LAN whose only host is the last one.
fn with_lan(lab: &Lab, wire: &Wire<'_>, ours: &str, stranger: &str, lan: [&str; 2]) -> [Namespace; 3] {
    let inside = lab.wire();
    let [ours, stranger] = [("ours", ours), ("stranger", stranger)].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", &format!("{address}/24"));
        namespace
    });
    inside.join(&ours, "eth1", &format!("{}/64", lan[0]));
    let behind = lab.namespace("behind");
    inside.join(&behind, "eth0", &format!("{}/64", lan[1]));
    behind.ok(&format!("ip -6 route add default via {}", lan[0]));
    ours.ok(FORWARD);
    [ours, stranger, behind]
}

const FORWARD: &str = "sysctl -qw net.ipv6.conf.all.forwarding=1";

/// Whoever can send protocol 41 to a host does not reach what is behind it, which is what
/// VU#199397 is about, nor does it shut the host itself off.
#[track_caller]
fn serves_itself_alone(ours: &Namespace, stranger: &Namespace, to: impl Fn(&str) -> bool, own: &str, behind: &str) {
    wait_until("an answer of the host itself", PATIENCE, || to(own));
    // Set before the start, and again after it, which reaches every device.
    for _ in 0..2 {
        assert!(!to(behind), "{} reaches {behind}", stranger.name());
        assert!(to(own), "{own} no longer answers");
        ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=0");
        ours.ok(FORWARD);
    }
    assert!(status(ours, ".counters[\"forwarding-off\"] > 1 and .forwarding == false"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_7_an_isatap_host_forwards_for_nobody_where_the_kernel_forwards() {
    let lab = Lab::new();
    let wire = lab.wire();
    let router = lab.namespace("router");
    wire.join(&router, "eth0", "10.0.0.1/24");
    let lan = ["2001:db8:8::1", "2001:db8:8::2"];
    let [ours, stranger, _behind] = with_lan(&lab, &wire, "10.0.0.2", "10.0.0.9", lan);
    let _router = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always"));
    let _host = Daemon::isatap(&ours, "host --local 10.0.0.2 --router 10.0.0.1");
    let address = isatap_address(PREFIX, "10.0.0.2");
    peers::wait_for_address(&ours, "isatap0", address);
    assert_eq!(ours.ok("cat /proc/sys/net/ipv6/conf/isatap0/forwarding").trim(), "0");

    let source = isatap_address(PREFIX, "10.0.0.9").to_string();
    let to = |destination: &str| {
        let forged = Forged { outer: ["10.0.0.9", "10.0.0.2"], options: &[], inner: [&source, destination] };
        forged.is_answered(&stranger, Duration::from_secs(1))
    };
    // Any address of the machine is meant by "itself": of another device, or put by hand on ours.
    ours.ok("ip address add 2001:db8:9::9/128 dev isatap0");
    wait_until("an address by hand", PATIENCE, || to("2001:db8:9::9"));
    assert!(to(lan[0]));
    serves_itself_alone(&ours, &stranger, to, &address.to_string(), lan[1]);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_7_a_6to4_host_forwards_for_nobody_and_a_6to4_router_for_its_site() {
    let lab = Lab::new();
    let wire = lab.wire();
    let lan = ["2002:836b:47d1:5::1", "2002:836b:47d1:5::2"];
    let [ours, stranger, _behind] = with_lan(&lab, &wire, "131.107.71.209", "131.107.71.9", lan);
    let to = |destination: &str| {
        let outer = ["131.107.71.9", "131.107.71.209"];
        let forged = Forged { outer, options: &[], inner: ["2002:836b:4709::1", destination] };
        forged.is_answered(&stranger, Duration::from_secs(1))
    };
    let host = Daemon::isatap(&ours, "6to4 --local 131.107.71.209");
    serves_itself_alone(&ours, &stranger, to, lan[0], lan[1]);
    assert!(host.terminate(PATIENCE).success());

    let _router = Daemon::isatap(&ours, "6to4 --role router --local 131.107.71.209");
    wait_until("the site behind a router", PATIENCE, || to(lan[1]));
}

/// The end of a configured tunnel is a router's where the kernel forwards. On Linux `all` says
/// so for every device; we heed what the tunnel's own switch says too.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_7_a_configured_tunnel_forwards_as_its_device_says() {
    let lab = Lab::new();
    let wire = lab.wire();
    let lan = ["2001:db8:8::1", "2001:db8:8::2"];
    let [ours, peer, _behind] = with_lan(&lab, &wire, "10.0.0.2", "10.0.0.1", lan);
    let to = |destination: &str| {
        let inner = ["2001:db8:77::1", destination];
        Forged { outer: ["10.0.0.1", "10.0.0.2"], options: &[], inner }.is_answered(&peer, Duration::from_secs(1))
    };
    let _tunnel = Daemon::isatap(&ours, "tunnel --local 10.0.0.2 --remote 10.0.0.1 --address 2001:db8:77::2/64");
    wait_until("the LAN behind", PATIENCE, || to(lan[1]));
    ours.ok("sysctl -qw net.ipv6.conf.tun6in4.forwarding=0");
    wait_until("the tunnel to stop forwarding", PATIENCE, || status(&ours, ".forwarding == false"));
    assert!(!to(lan[1]) && to(lan[0]));
}
