//! Tunnels of ours with the Linux kernel's at their other end (in a guest): configured ones, with an IPv4
//! path between them that carries less than the devices do, and the automatic one of `::/96`.

use std::net::Ipv6Addr;

use crate::common::tunnel::{BETWEEN, OURS, THEIRS, ends};
use crate::common::{Daemon, Lab, Node, PATIENCE, peers, status, wait_until};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_61_tun_62_a_tunnel_to_the_kernel_carries_everything_and_finds_the_path_mtu() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let capture = wires[0].capture("ip proto 41");
    let (ours, router, kernel) = ends(&lab, &wires, "ttl 64");
    let daemon = Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64"));
    let [our_address, their_address]: [Ipv6Addr; 2] = [OURS, THEIRS].map(|text| text.parse().unwrap());

    // Link-local addresses are made as the kernel makes them; multicast crosses.
    peers::ping(&ours, "fe80::c633:6402%tun6in4");
    peers::ping(&kernel, "fe80::c000:201%p2p");
    peers::ping_sizes(&ours, THEIRS, 1480);
    peers::ping_sizes(&kernel, OURS, 1480);
    peers::http(&ours, &kernel, their_address);
    peers::http(&kernel, &ours, our_address);
    wait_until("the kernel's answer to a probe", PATIENCE, || {
        ours.run(&format!("ping -6 -n -c 1 -W 1 {THEIRS}"));
        status(&ours, ".remote == \"198.51.100.2\" and .reachability == \"reachable\"")
    });

    // TUN-42: less than both ends think, and the router says so to whoever sends.
    peers::narrow(&router, ["192.0.2.0/24 dev eth0", "198.51.100.0/24 dev eth1"], 1400);
    peers::wait_for_path_mtu(&ours, THEIRS, 1380);
    peers::wait_for_path_mtu(&kernel, OURS, 1380);
    peers::ping_sizes(&ours, THEIRS, 1480);
    peers::ping_sizes(&kernel, OURS, 1480);
    let rates = peers::iperf3(&ours, &kernel, their_address);
    assert!(rates.iter().all(|&rate| rate > 1e6), "{rates:?}");

    let packets = capture.so_far();
    assert!(packets.count("ip.src == 192.0.2.1 and ip.flags.df == 1") > 0);
    packets.assert_clean();

    assert!(daemon.terminate(PATIENCE).success());
    assert!(!ours.succeeds("ip link show dev tun6in4"), "the device outlived its daemon");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_13_packets_of_another_end_are_not_let_in() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    let stranger = lab.guest("stranger", &[&wire]);
    peers::ipv4(&stranger, "192.0.2.9/24");
    peers::point_to_point(&stranger, "192.0.2.9", "192.0.2.1", THEIRS.parse().unwrap());
    let _daemon = Daemon::isatap(&ours, &format!("tunnel --local 192.0.2.1 --remote 192.0.2.2 --address {OURS}/64"));
    let output = stranger.run(&format!("ping -6 -n -c 3 -i 0.2 -W 1 {OURS}"));
    assert!(!output.success(), "{output:?}");
    assert!(status(&ours, ".counters[\"not-addressed\"] >= 3"));
    // The control: the same packets by an end that is believed.
    stranger.ok("ip address add 192.0.2.2/24 dev eth0 && ip tunnel change p2p local 192.0.2.2 remote 192.0.2.1");
    peers::ping(&stranger, OURS);
}

/// The kernel's `sit0` is the peer: it tunnels to IPv4-compatible addresses by itself.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_70_tun_71_compatible_addresses_reach_the_kernels_sit0_and_nobody_behind_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let capture = wire.capture("ip proto 41");
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let kernel = lab.guest("kernel", &[&wire]);
    peers::ipv4(&kernel, "192.0.2.2/24");
    // Bringing the device up gives it ::192.0.2.2/96 and the route; asked for, in case it does not.
    kernel.ok("modprobe sit 2>/dev/null; ip link set sit0 up && ip -6 address replace ::192.0.2.2/96 dev sit0");
    let daemon = Daemon::isatap(&ours, "compatible --local 192.0.2.1");
    peers::ping(&ours, "::192.0.2.2");
    peers::ping(&kernel, "::192.0.2.1");
    peers::http(&ours, &kernel, "::192.0.2.2".parse().unwrap());
    peers::http(&kernel, &ours, "::192.0.2.1".parse().unwrap());
    assert!(status(&ours, ".role == \"compatible\" and any(.addresses[]; .address == \"::c000:201\")"));

    // TUN-71: nothing behind us is reached, though this namespace forwards.
    ours.ok("ip -6 address add 2001:db8:5::1/128 dev lo");
    kernel.ok("ip -6 route add 2001:db8:5::1/128 via ::192.0.2.1 dev sit0");
    let output = kernel.run("ping -6 -n -c 3 -i 0.2 -W 1 2001:db8:5::1");
    assert!(!output.success(), "{output:?}");
    assert!(status(&ours, ".counters[\"compatible-mismatch\"] >= 3"));
    let packets = capture.so_far();
    assert!(packets.count("ip.src == 192.0.2.2 and ipv6.dst == 2001:db8:5::1") >= 3);
    packets.assert_clean();

    assert!(daemon.terminate(PATIENCE).success());
    assert!(!ours.succeeds("ip link show dev tuncompat"), "the device outlived its daemon");
}
