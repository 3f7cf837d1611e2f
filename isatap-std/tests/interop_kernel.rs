//! The Linux kernel as ISATAP router and as ISATAP host: that the peers of the other
//! interop tests, and the harness itself, work without a line of ours in between.
#![cfg(target_os = "linux")]

mod common;

use common::peers::{self, Advertisement};
use common::{Lab, Node, PATIENCE, wait_until};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn two_kernels_talk_isatap() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let capture = intranet.capture("ip proto 41");
    let router = lab.guest("router", &[&intranet]);
    let host = lab.guest("host", &[&intranet]);
    peers::ipv4(&router, "10.0.0.1/24");
    peers::ipv4(&host, "10.0.0.2/24");
    let advertisement =
        Advertisement { mtu: Some(1400), routes: &["fd9c:30c:2da4:1000::/64"], ..Advertisement::default() };
    peers::kernel_router(&router, "10.0.0.1", &advertisement);
    peers::kernel_host(&host, "10.0.0.2", "10.0.0.1");

    let seen = peers::solicit(&host, peers::link_local("10.0.0.1"));
    assert!(seen.contains("2001:db8:0:7::/64") && seen.contains("1400"), "{seen}");

    let address = peers::isatap_address(peers::PREFIX, "10.0.0.2");
    wait_until("the address", PATIENCE, || {
        host.succeeds(&format!("ip -6 address show dev is0 | grep -q '{address}/64 scope global dynamic'"))
    });
    let routes = host.ok("ip -6 route show dev is0");
    assert!(routes.contains("default via fe80::5efe:a00:1"), "{routes}");
    assert!(routes.contains("fd9c:30c:2da4:1000::/64 via fe80::5efe:a00:1"), "{routes}");

    let router_address = peers::isatap_address(peers::PREFIX, "10.0.0.1");
    peers::ping(&host, &router_address.to_string());
    peers::ping_sizes(&host, &router_address.to_string(), 1400);
    peers::http(&host, &router, router_address);
    peers::http(&router, &host, address);
    let rates = peers::iperf3(&host, &router, router_address, 1);
    assert!(rates.iter().all(|&rate| rate > 1e6), "{rates:?}");

    // What a capture says of the exchange, by another decoder than ours.
    let solicitations = capture.so_far().fields("icmpv6.type == 133", &["ip.src", "ip.dst", "ipv6.src", "ipv6.hlim"]);
    assert_eq!(solicitations[0], ["10.0.0.2", "10.0.0.1", "fe80::5efe:a00:2", "255"]);
    let advertisements =
        capture.so_far().fields("icmpv6.type == 134", &["ip.src", "ip.dst", "ipv6.dst", "icmpv6.opt.prefix"]);
    assert_eq!(advertisements[0][..3], ["10.0.0.1", "10.0.0.2", "fe80::5efe:a00:2"]);
    assert!(advertisements[0][3].starts_with("2001:db8:0:7::"), "{advertisements:?}");
}
