//! Our router with the Linux kernel as its ISATAP hosts (in guests), and a native IPv6 host behind it.

use crate::common::peers::{self, PREFIX, isatap_address, link_local};
use crate::common::{Daemon, Guest, Lab, Namespace, Node, PATIENCE, Wire, status};

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
    peers::ping_sizes(&one, NATIVE_HOST, 1280);
    peers::ping_sizes(&native, &of_one.to_string(), 1280);
    peers::http(&one, &native, NATIVE_HOST.parse().unwrap());
    peers::http(&native, &two, of_two);
    let rates = peers::iperf3(&one, &native, NATIVE_HOST.parse().unwrap(), 2);
    assert!(rates.iter().all(|&rate| rate > 1e7), "{rates:?}");

    // Answers are unicast, from the address that was asked, after at most half a second.
    let packets = capture.so_far();
    let advertisements = packets.fields("icmpv6.type == 134", &["ip.src", "ipv6.src", "ipv6.hlim", "ipv6.dst"]);
    assert!(!advertisements.is_empty());
    for advertisement in advertisements {
        assert_eq!(advertisement[..3], ["10.0.0.1", "fe80::5efe:a00:1", "255"]);
        assert!(advertisement[3].starts_with("fe80::5efe:a00:"), "{advertisement:?}");
    }
    packets.assert_clean();

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
