//! The Linux kernel as ISATAP router and as ISATAP host: that the peers of the other
//! interop tests, and the harness itself, work without a line of ours in between.

use crate::common::peers::{self, Advertisement, isatap_address, link_local};
use crate::common::{Lab, Node, PATIENCE};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn two_kernels_talk_isatap_and_drop_a_forged_source() {
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

    let seen = peers::solicit(&host, link_local("10.0.0.1"));
    assert!(seen.contains("2001:db8:0:7::/64") && seen.contains("1400"), "{seen}");
    let address = isatap_address(peers::PREFIX, "10.0.0.2");
    peers::wait_for_address(&host, peers::DEVICE, address);
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev is0", true, PATIENCE);
    peers::wait_for_route(&host, "fd9c:30c:2da4:1000::/64 via fe80::5efe:a00:1 dev is0", true, PATIENCE);

    let router_address = isatap_address(peers::PREFIX, "10.0.0.1");
    peers::ping_sizes(&host, &router_address.to_string(), 1400);
    peers::http(&host, &router, router_address);
    peers::http(&router, &host, address);

    // What a capture says of the exchange, by another decoder than ours.
    let solicitations = capture.so_far().fields("icmpv6.type == 133", &["ip.src", "ip.dst", "ipv6.src", "ipv6.hlim"]);
    assert_eq!(solicitations[0], ["10.0.0.2", "10.0.0.1", "fe80::5efe:a00:2", "255"]);
    let advertisements =
        capture.so_far().fields("icmpv6.type == 134", &["ip.src", "ip.dst", "ipv6.dst", "icmpv6.opt.prefix"]);
    assert_eq!(advertisements[0][..3], ["10.0.0.1", "10.0.0.2", "fe80::5efe:a00:2"]);
    assert!(advertisements[0][3].starts_with("2001:db8:0:7::"), "{advertisements:?}");

    let rates = peers::iperf3(&host, &router, router_address);
    assert!(rates.iter().all(|&rate| rate > 1e6), "{rates:?}");

    // A point-to-point tunnel brings to an ISATAP router what the kernel's own ISATAP device cannot send: it answers all
    // routers, and drops a forged source.
    host.ok(&format!("ip tunnel del {}", peers::DEVICE));
    peers::point_to_point(&host, "10.0.0.2", "10.0.0.1", link_local("10.0.0.2"));
    let seen = peers::solicit_by(&host, "p2p", "ff02::2");
    assert!(seen.contains("2001:db8:0:7::/64"), "{seen}");
    let forged = isatap_address(peers::PREFIX, "10.0.0.99");
    host.ok(&format!("ip address add {forged}/64 dev p2p"));
    let dropped = || router.ok("cat /sys/class/net/is0/statistics/rx_errors").trim().parse::<u32>().unwrap();
    let before = dropped();
    host.run(&format!("ping -6 -n -c 2 -i 0.2 -W 1 -I {forged} {router_address}"));
    assert_eq!(dropped(), before + 2);
}
