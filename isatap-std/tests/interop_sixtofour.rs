//! 6to4 of ours with the Linux kernel as 6to4 router and as relay (in guests).
#![cfg(target_os = "linux")]

mod common;

use std::net::Ipv6Addr;

use common::{Daemon, Guest, Lab, Node, PATIENCE, Wire, peers, status};

/// The kernel's 6to4 device at 198.51.100.2: 2002:c633:6402::/48.
fn kernel(lab: &Lab, wire: &Wire<'_>) -> Guest {
    let kernel = lab.guest("kernel", &[wire]);
    peers::ipv4(&kernel, "198.51.100.2/24");
    kernel.ok("ip tunnel add sixtofour mode sit local 198.51.100.2 ttl 64 && ip link set sixtofour up && \
         ip address add 2002:c633:6402::1/16 dev sixtofour && sysctl -qw net.ipv6.conf.all.forwarding=1");
    kernel
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_10_s64_33_a_host_router_reaches_a_kernel_site_and_the_internet_by_a_kernel_relay() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = kernel(&lab, &wire);
    // What is native behind the relay.
    kernel.ok("ip -6 address add 2001:db8:99::1/128 dev lo");
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "198.51.100.1/24");
    let daemon = Daemon::isatap(&ours, "6to4 --local 198.51.100.1 --relay 198.51.100.2 --probe-relay --accept-bogons");
    let own: Ipv6Addr = "2002:c633:6401::c633:6401".parse().unwrap();
    peers::wait_for_address(&ours, "tun6to4", own);
    peers::ping_sizes(&ours, "2002:c633:6402::1", 1280);
    peers::ping_sizes(&kernel, &own.to_string(), 1280);
    peers::http(&ours, &kernel, "2002:c633:6402::1".parse().unwrap());
    peers::http(&kernel, &ours, own);
    peers::ping(&ours, "2001:db8:99::1");
    assert!(status(&ours, ".delegated == \"2002:c633:6401::/48\" and .remote == \"198.51.100.2\""));
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!ours.succeeds("ip link show dev tun6to4"), "the device outlived its daemon");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_22_our_relay_carries_a_kernel_site_to_a_native_host() {
    let lab = Lab::new();
    let (wire, native) = (lab.wire(), lab.wire());
    let kernel = kernel(&lab, &wire);
    kernel.ok("ip -6 route add 2000::/3 via ::198.51.100.1 dev sixtofour");
    let relay = lab.namespace("relay");
    wire.join(&relay, "eth0", "198.51.100.1/24");
    native.join(&relay, "eth1", "2001:db8:99::254/64");
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let host = lab.namespace("host");
    native.join(&host, "eth0", "2001:db8:99::1/64");
    host.ok("ip -6 route add default via 2001:db8:99::254");
    let _daemon = Daemon::isatap(&relay, "6to4 --role relay --local 198.51.100.1 --accept-bogons");
    peers::ping_sizes(&kernel, "2001:db8:99::1", 1280);
    peers::ping_sizes(&host, "2002:c633:6402::1", 1280);
    peers::http(&kernel, &host, "2001:db8:99::1".parse().unwrap());
    peers::http(&host, &kernel, "2002:c633:6402::1".parse().unwrap());
}
