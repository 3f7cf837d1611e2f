//! `examples/direct-access.toml` as it is: an ISATAP router, a 6to4 relay and native IPv6 in
//! one process, with a kernel at the other end of each link.

use std::net::Ipv6Addr;

use crate::common::{Daemon, Lab, Node, PATIENCE, isatap, isatap_binary, peers, status};

const FILE: &str = include_str!("../../../examples/direct-access.toml");

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn rte_6_s64_22_one_file_serves_a_kernel_isatap_host_a_kernel_6to4_site_and_a_native_host() {
    let lab = Lab::new();
    let (intranet, internet, native) = (lab.wire(), lab.wire(), lab.wire());
    let host = lab.guest("host", &[&intranet]);
    peers::ipv4(&host, "10.0.0.2/24");
    let site = lab.guest("site", &[&internet]);
    peers::ipv4(&site, "198.51.100.2/24");
    site.ok("ip tunnel add sixtofour mode sit local 198.51.100.2 ttl 64 && ip link set sixtofour up && \
         ip address add 2002:c633:6402::1/16 dev sixtofour && ip -6 route add 2000::/3 via ::198.51.100.1 dev sixtofour");
    let behind = lab.namespace("behind");
    native.join(&behind, "eth0", "2001:db8:99::1/64");
    behind.ok("ip -6 route add default via 2001:db8:99::254");

    let server = lab.namespace("server");
    intranet.join(&server, "eth0", "10.0.0.1/24");
    internet.join(&server, "eth1", "198.51.100.1/24");
    native.join(&server, "eth2", "2001:db8:99::254/64");
    server.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 route add default via 2001:db8:99::1");
    let packets = [intranet.capture("ip proto 41"), internet.capture("ip proto 41")];
    let file = server.file("direct-access.toml", FILE);
    let mut daemon = Daemon::start(&server, "run", isatap_binary(), &["run", &file, "--verbose"]);
    daemon.wait_for_line("isatap0 up: fe80::5efe:10.0.0.1", PATIENCE);
    daemon.wait_for_line("tun6to4 up: 2002:c633:6401::1", PATIENCE);

    // The kernel's ISATAP host learns prefix and default route from our advertisement.
    peers::kernel_host(&host, "10.0.0.2", "10.0.0.1");
    let told = peers::solicit(&host, peers::link_local("10.0.0.1"));
    assert!(told.contains("2001:db8:0:7::/64"), "{told}");
    let of_host = peers::isatap_address(peers::PREFIX, "10.0.0.2");
    peers::wait_for_address(&host, peers::DEVICE, of_host);
    let [of_site, of_native]: [Ipv6Addr; 2] =
        ["2002:c633:6402::1", "2001:db8:99::1"].map(|address| address.parse().unwrap());

    // Each with each: by one tunnel, by the other, and from the one into the other.
    let nodes: [(&dyn Node, Ipv6Addr); 3] = [(&host, of_host), (&site, of_site), (&behind, of_native)];
    for (from, _) in nodes {
        for (_, address) in nodes.iter().filter(|(to, _)| to.name() != from.name()) {
            peers::ping(from, &address.to_string());
        }
    }
    peers::ping_sizes(&behind, &of_host.to_string(), 1480);
    peers::ping_sizes(&behind, &of_site.to_string(), 1480);
    peers::http(&host, &behind, of_native);
    peers::http(&site, &behind, of_native);
    peers::http(&host, &site, of_site);

    // A site that lies gets nowhere, and the server says whom it refused.
    site.ok("ip address add 2002:c633:6409::1/16 dev sixtofour");
    let lie = site.run(&format!("ping -6 -n -c 2 -i 0.2 -W 1 -I 2002:c633:6409::1 {of_native}"));
    assert!(!lie.success(), "{lie:?}");
    assert!(status(&server, "select(.dev == \"tun6to4\") | .counters[\"6to4-source-mismatch\"] >= 1"));
    let doctor = isatap(&server, "doctor");
    assert!(doctor.success(), "{doctor:?}");

    for capture in &packets {
        let packets = capture.so_far();
        assert!(packets.count("ipv6.nxt == 6") > 0, "TCP crossed the tunnel");
        packets.assert_clean();
    }
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!server.succeeds("ip link show dev isatap0") && !server.succeeds("ip link show dev tun6to4"));
}
