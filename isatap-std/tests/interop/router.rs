//! Our router with the Linux kernel as its ISATAP hosts (in guests), and a native IPv6 host behind it.

use std::time::Duration;

use crate::common::peers::{self, PREFIX, isatap_address, link_local};
use crate::common::{Daemon, Guest, Lab, Namespace, Node, PATIENCE, Stopwatch, Wire, status};

const NATIVE: &str = "2001:db8:0:8::/64";
const NATIVE_HOST: &str = "2001:db8:0:8::2";

/// Our router at 10.0.0.1, its other card on the native link with the host 2001:db8:0:8::2.
fn our_router(lab: &Lab, intranet: &Wire<'_>, options: &str) -> (Namespace, Namespace, Daemon) {
    let native = lab.wire();
    let router = lab.namespace("router");
    intranet.join(&router, "eth0", "10.0.0.1/24");
    native.join(&router, "eth1", "2001:db8:0:8::1/64");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let neighbor = lab.namespace("native");
    native.join(&neighbor, "eth0", &format!("{NATIVE_HOST}/64"));
    neighbor.ok("ip -6 route add default via 2001:db8:0:8::1");
    // Where the router itself leads to.
    router.ok(&format!("ip -6 route add default via {NATIVE_HOST}"));
    let daemon = Daemon::isatap(
        &router,
        &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --advertise-route {NATIVE}{options}"),
    );
    (router, neighbor, daemon)
}

fn kernel_host(lab: &Lab, intranet: &Wire<'_>, name: &str, address: &str) -> Guest {
    let host = lab.guest(name, &[intranet]);
    peers::ipv4(&host, &format!("{address}/24"));
    peers::kernel_host(&host, address, "10.0.0.1");
    host
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn two_kernel_hosts_use_our_router() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let capture = intranet.capture("ip proto 41");
    let (router, native, daemon) = our_router(&lab, &intranet, "");
    let one = kernel_host(&lab, &intranet, "one", "10.0.0.2");
    let two = kernel_host(&lab, &intranet, "two", "10.0.0.3");

    for (host, address) in [(&one, "10.0.0.2"), (&two, "10.0.0.3")] {
        let seen = peers::solicit(host, link_local("10.0.0.1"));
        assert!(seen.contains("2001:db8:0:7::/64") && seen.contains(NATIVE), "{seen}");
        // The kernel itself has taken the advertisement: it came from an address of its router list.
        peers::wait_for_address(host, peers::DEVICE, isatap_address(PREFIX, address));
        peers::wait_for_route(host, "default via fe80::5efe:a00:1 dev is0", true, PATIENCE);
        peers::wait_for_route(host, &format!("{NATIVE} via fe80::5efe:a00:1 dev is0"), true, PATIENCE);
    }

    let [of_router, of_one, of_two] =
        ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|address| isatap_address(PREFIX, address));
    peers::ping(&one, &of_router.to_string());
    peers::ping(&one, &of_two.to_string());
    peers::ping_sizes(&one, NATIVE_HOST, 1480);
    peers::ping_sizes(&native, &of_one.to_string(), 1480);
    peers::http(&one, &native, NATIVE_HOST.parse().unwrap());
    peers::http(&native, &two, of_two);
    // Answers are unicast, from the address that was asked, after at most half a second.
    let advertisements =
        capture.so_far().fields("icmpv6.type == 134", &["ip.src", "ipv6.src", "ipv6.hlim", "ipv6.dst"]);
    assert!(!advertisements.is_empty());
    for advertisement in advertisements {
        assert_eq!(advertisement[..3], ["10.0.0.1", "fe80::5efe:a00:1", "255"]);
        assert!(advertisement[3].starts_with("fe80::5efe:a00:"), "{advertisement:?}");
    }
    let rates = peers::iperf3(&one, &native, NATIVE_HOST.parse().unwrap());
    // Of packets that are lost or cut in the wrong place a stream has a thousandth of what it has on a busy machine.
    assert!(rates.iter().all(|&rate| rate > 1e6), "{rates:?}");
    capture.so_far().assert_clean();

    assert!(status(&router, ".dev == \"isatap0\""));
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!router.succeeds("ip link show dev isatap0"), "the device outlived its daemon");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_51_isa_52_a_solicitation_to_all_routers_is_answered() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _native, _daemon) = our_router(&lab, &intranet, "");
    let host = lab.guest("host", &[&intranet]);
    peers::ipv4(&host, "10.0.0.2/24");
    peers::point_to_point(&host, "10.0.0.2", "10.0.0.1", link_local("10.0.0.2"));
    let seen = peers::solicit_by(&host, "p2p", "ff02::2");
    assert!(seen.contains("2001:db8:0:7::/64") && seen.contains("fe80::5efe:a00:1"), "{seen}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_router_without_default_advertises_its_prefixes_alone() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _native, _daemon) = our_router(&lab, &intranet, " --no-default");
    let host = kernel_host(&lab, &intranet, "host", "10.0.0.2");
    peers::solicit(&host, link_local("10.0.0.1"));
    peers::wait_for_address(&host, peers::DEVICE, isatap_address(PREFIX, "10.0.0.2"));
    peers::wait_for_route(&host, &format!("{NATIVE} via fe80::5efe:a00:1 dev is0"), true, PATIENCE);
    peers::wait_for_route(&host, "default", false, PATIENCE);
    peers::ping(&host, NATIVE_HOST);
}

const DEFAULT: &str = "default via fe80::5efe:a00:1 dev is0";
/// How long a host may not know what has changed at its router.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Does something at the router, and waits until the kernel's host has a route, or not. A route that is no longer advertised has 2 s
/// left, and the guest is asked by commands.
#[track_caller]
fn until(router: &Namespace, host: &Guest, command: &str, route: &str, present: bool) {
    let began = Stopwatch::start();
    router.ok(command);
    peers::wait_for_route(host, route, present, PATIENCE);
    let took = began.elapsed();
    println!("{took:?} after {command}");
    assert!(took <= AT_ONCE, "{took:?} after {command}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ndp_42_a_kernel_host_loses_its_routes_when_our_router_ends() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let capture = intranet.capture("ip proto 41");
    let (router, _native, daemon) = our_router(&lab, &intranet, "");
    let host = kernel_host(&lab, &intranet, "host", "10.0.0.2");
    let (address, native) = (isatap_address(PREFIX, "10.0.0.2"), format!("{NATIVE} via fe80::5efe:a00:1 dev is0"));
    let is_served = || {
        peers::solicit(&host, link_local("10.0.0.1"));
        peers::wait_for_address(&host, peers::DEVICE, address);
        peers::wait_for_route(&host, DEFAULT, true, PATIENCE);
        peers::wait_for_route(&host, &native, true, PATIENCE);
    };
    is_served();
    let began = Stopwatch::start();
    assert!(daemon.terminate(PATIENCE).success());
    let ended = began.elapsed();
    for route in [DEFAULT, native.as_str()] {
        peers::wait_for_route(&host, route, false, AT_ONCE);
    }
    println!("ended after {ended:?}, told after {:?}", began.elapsed());
    assert!(began.elapsed() <= AT_ONCE);
    // Its address stays: RFC 4861 takes back the router alone.
    peers::wait_for_address(&host, peers::DEVICE, address);
    let last = capture.so_far().fields("icmpv6.type == 134", &["ipv6.dst", "icmpv6.nd.ra.router_lifetime"]);
    assert_eq!(last.last().unwrap()[..], ["fe80::5efe:a00:2", "0"]);

    // By a reload: not when the router says something else, but when it goes.
    let text = |mtu: u16| {
        format!(
            "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"{PREFIX}/64\"\nadvertise-route = \"{NATIVE}\"\nmtu = {mtu}\n"
        )
    };
    let other = "[[tunnel]]\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.9\"\n";
    let file = router.file("node.toml", &text(1280));
    let mut daemon = Daemon::isatap(&router, &format!("run {file}"));
    is_served();
    router.file("node.toml", &text(1400));
    daemon.signal("HUP");
    daemon.wait_for_line("changed isatap0", PATIENCE);
    std::thread::sleep(Duration::from_millis(500));
    assert!(host.ok("ip -6 route show").contains(DEFAULT));
    // The new one is to know whom it serves.
    is_served();
    router.file("node.toml", other);
    let reload = format!("kill -HUP {}", daemon.id());
    until(&router, &host, &reload, DEFAULT, false);
    daemon.wait_for_line("ended isatap0", PATIENCE);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_6_rte_7_a_kernel_hosts_routes_follow_those_of_our_router() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let options = " --advertise-route 2001:db8:a::/48 --advertise-route 2001:db8:b::/48,always";
    let (router, _native, mut daemon) = our_router(&lab, &intranet, options);
    let host = kernel_host(&lab, &intranet, "host", "10.0.0.2");
    let seen = peers::solicit(&host, link_local("10.0.0.1"));
    assert!(seen.contains("2001:db8:b::/48") && !seen.contains("2001:db8:a::/48"), "{seen}");
    peers::wait_for_route(&host, DEFAULT, true, PATIENCE);
    let route = "2001:db8:a::/48 via fe80::5efe:a00:1 dev is0";
    let by = format!("via {NATIVE_HOST}");
    for _ in 0..2 {
        until(&router, &host, "ip -6 route del default", DEFAULT, false);
        daemon.wait_for_line("isatap0 offers no default route while this machine has none", PATIENCE);
        assert!(status(&router, ".advertises.default_route | not"));
        until(&router, &host, &format!("ip -6 route add default {by}"), DEFAULT, true);
        until(&router, &host, &format!("ip -6 route add 2001:db8:a::/48 {by}"), route, true);
        // A route to a part of it is another route, and one by the link itself leads nowhere.
        until(
            &router,
            &host,
            &format!("ip -6 route add 2001:db8:a::/64 {by} && ip -6 route del 2001:db8:a::/48"),
            route,
            false,
        );
        router.ok("ip -6 route add 2001:db8:a::/48 dev isatap0 && ip -6 route del 2001:db8:a::/64");
        std::thread::sleep(Duration::from_millis(700));
        assert!(!host.ok("ip -6 route show").contains(route));
        router.ok("ip -6 route del 2001:db8:a::/48");
    }
    // The device by which it leads on.
    until(&router, &host, "ip link set eth1 down", DEFAULT, false);
    peers::wait_for_route(&host, &format!("{NATIVE} "), false, AT_ONCE);
    peers::wait_for_route(&host, "2001:db8:b::/48 via fe80::5efe:a00:1 dev is0", true, AT_ONCE);
    daemon.wait_for_line("isatap0 offers a default route: this machine has one now", PATIENCE);
}

/// A lifetime of the full half an hour must not follow a default route that is gone.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_6_a_kernel_host_hears_at_once_that_an_advertised_default_route_is_gone() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let options = " --advertise-route ::/0 --default never";
    let (router, _native, _daemon) = our_router(&lab, &intranet, options);
    let host = kernel_host(&lab, &intranet, "host", "10.0.0.2");
    peers::solicit(&host, link_local("10.0.0.1"));
    peers::wait_for_route(&host, DEFAULT, true, PATIENCE);
    until(&router, &host, "ip -6 route del default", DEFAULT, false);
    assert!(status(&router, ".advertises.default_route | not"));
    until(&router, &host, &format!("ip -6 route add default via {NATIVE_HOST}"), DEFAULT, true);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_55_rdisc6_sees_flags_and_the_lifetimes_of_each_prefix() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let options = " --prefix 2001:db8:0:9::/64,valid=7200,preferred=3600 --managed --other-config --default never";
    let (_router, _native, _daemon) = our_router(&lab, &intranet, options);
    let host = kernel_host(&lab, &intranet, "host", "10.0.0.2");
    let seen = peers::solicit(&host, link_local("10.0.0.1"));
    let value = |name: &str| {
        let lines = seen.lines().filter(|line| line.trim_start().starts_with(name));
        let values = lines.filter_map(|line| line.split(':').nth(1)?.split_whitespace().next().map(str::to_owned));
        values.collect::<Vec<_>>()
    };
    assert_eq!([value("Stateful address conf."), value("Stateful other conf.")], [["Yes"], ["Yes"]], "{seen}");
    assert_eq!(value("Router lifetime"), ["0"], "{seen}");
    assert_eq!(value("Valid time"), ["2592000", "7200"], "{seen}");
    assert_eq!(value("Pref. time"), ["604800", "3600"], "{seen}");
    // The kernel's host has them so.
    let address = isatap_address("2001:db8:0:9::", "10.0.0.2");
    peers::wait_for_address(&host, peers::DEVICE, address);
    let shown = host.ok(&format!("ip -6 address show dev is0 to {address}/128"));
    let left: u32 = shown.split("valid_lft ").nth(1).unwrap().split("sec").next().unwrap().parse().unwrap();
    assert!((7000..=7200).contains(&left), "{shown}");
}
