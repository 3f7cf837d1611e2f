//! The MTU of tunnels: that of the IPv4 interface by which they leave, whatever happens to it.

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::tunnel::{BETWEEN, OURS, THEIRS, ends};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, status, wait_until};

/// Waits until the daemon and the kernel agree that a device has this MTU.
#[track_caller]
fn wait_for_mtu(node: &Namespace, device: &str, mtu: u32) {
    wait_until(&format!("MTU {mtu} of {device} on {}", node.name()), PATIENCE, || {
        status(node, &format!(".mtu == {mtu}"))
            && node.succeeds(&format!("ip link show dev {device} | grep -q ' mtu {mtu} '"))
    });
}

fn set_mtu(node: &Namespace, device: &str, mtu: u32) {
    node.ok(&format!("ip link set dev {device} mtu {mtu}"));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_15_isa_55_ndp_14_a_router_follows_its_interface_and_its_hosts_the_router() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [router, host, own] = ["router", "host", "own"].map(|name| lab.namespace(name));
    for (node, address) in [(&router, "10.0.0.1/24"), (&host, "10.0.0.2/24"), (&own, "10.0.0.3/24")] {
        wire.join(node, "eth0", address);
    }
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let _router = Daemon::isatap(&router, &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always"));
    let _host = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    let _own = Daemon::isatap(&own, "host --local 10.0.0.3 --router 10.0.0.1 --mtu 1444");
    for (node, address) in [(&host, "10.0.0.2"), (&own, "10.0.0.3")] {
        peers::wait_for_address(node, "isatap0", isatap_address(PREFIX, address));
    }
    for (interface, mtu) in [(1500, 1480), (1400, 1380), (1200, 1280), (1500, 1480)] {
        set_mtu(&router, "eth0", interface);
        wait_for_mtu(&router, "isatap0", mtu);
        wait_for_mtu(&host, "isatap0", mtu);
        wait_for_mtu(&own, "isatap0", 1444);
        assert!(status(&router, &format!(".underlay_mtu == {interface}")), "{}", isatap(&router, "status -j").text);
        peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    }
    // NDP-14: less than what is advertised, where the host's own interface carries less.
    set_mtu(&host, "eth0", 1420);
    wait_for_mtu(&host, "isatap0", 1400);
    wait_for_mtu(&router, "isatap0", 1480);
    set_mtu(&host, "eth0", 1500);
    wait_for_mtu(&host, "isatap0", 1480);
    peers::ping_sizes(&host, &isatap_address(PREFIX, "10.0.0.1").to_string(), 1480);
    peers::ping_sizes(&router, &isatap_address(PREFIX, "10.0.0.2").to_string(), 1480);
}

/// The address of a tunnel can be on any device: packets leave where the IPv4 route leads. It is looked up when a
/// device changes.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_30_tun_32_a_tunnel_has_the_mtu_of_the_way_to_its_other_end() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let ours = lab.namespace("ours");
    for (wire, (device, address)) in wires.iter().zip([("eth0", "10.0.1.1/24"), ("eth1", "10.0.2.1/24")]) {
        wire.join(&ours, device, address);
    }
    ours.ok("ip address add 192.0.2.1/32 dev lo && ip route add 198.51.100.2 via 10.0.1.2");
    let _daemon = Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64"));
    wait_for_mtu(&ours, "tun6in4", 1480);
    ours.ok("ip route replace 198.51.100.2 via 10.0.2.2");
    set_mtu(&ours, "eth1", 1400);
    wait_for_mtu(&ours, "tun6in4", 1380);
    set_mtu(&ours, "eth1", 1300);
    wait_for_mtu(&ours, "tun6in4", 1280);
    ours.ok("ip route replace 198.51.100.2 via 10.0.1.2");
    set_mtu(&ours, "eth1", 1290);
    wait_for_mtu(&ours, "tun6in4", 1480);
    // Nobody knows the way: any device may be it, but not the one of 65,536 bytes.
    ours.ok("ip route del 198.51.100.2");
    set_mtu(&ours, "eth1", 1300);
    wait_for_mtu(&ours, "tun6in4", 1280);
}

/// The kernel at the other end sends what is as long; so does a stream, before and after the change.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_32_a_tunnel_to_the_kernel_goes_on_while_the_interface_changes() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let capture = wires[0].capture("ip proto 41");
    let (ours, router, kernel) = ends(&lab, &wires, "ttl 64");
    let _daemon = Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64"));
    wait_for_mtu(&ours, "tun6in4", 1480);
    assert!(kernel.ok("ip link show dev p2p").contains("mtu 1480"), "the kernel's is another by default");
    for interface in [1500, 1400, 1350, 1500] {
        set_mtu(&ours, "eth0", interface);
        set_mtu(&router, "eth0", interface);
        wait_for_mtu(&ours, "tun6in4", interface - 20);
        peers::ping_sizes(&ours, THEIRS, 1480);
        peers::download(&ours, &kernel, THEIRS.parse().unwrap(), 1 << 20);
        peers::download(&kernel, &ours, OURS.parse().unwrap(), 1 << 20);
        wait_until(&format!("packets of {interface} bytes"), PATIENCE, || {
            let packets = capture.so_far();
            packets.count(&format!("ip.src == 192.0.2.1 && ip.len == {interface} && ip.flags.df == 1")) > 0
        });
    }
    capture.so_far().assert_clean();
}

/// What `mtu` is for: the path carries less, and its routers say nothing.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_black_hole_is_no_matter_for_who_has_an_mtu_of_1280() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let (ours, router, kernel) = ends(&lab, &wires, "ttl 64");
    peers::narrow(&router, ["192.0.2.0/24 dev eth0", "198.51.100.0/24 dev eth1"], 1400);
    router.ok("nft add table inet way && nft add chain inet way out '{ type filter hook output priority 0; }' && \
               nft add rule inet way out icmp type destination-unreachable drop");
    let long = format!("ping -6 -n -c 2 -i 0.2 -W 1 -M do -s 1432 {THEIRS}");
    let daemon = Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64"));
    peers::ping(&ours, THEIRS);
    assert!(!ours.succeeds(&long), "the path carries 1500 bytes");
    assert!(daemon.terminate(PATIENCE).success());
    let _daemon = Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64 --mtu 1280"));
    kernel.ok("ip link set p2p mtu 1280");
    peers::ping_sizes(&ours, THEIRS, 1280);
    peers::ping_sizes(&kernel, OURS, 1280);
    peers::download(&ours, &kernel, THEIRS.parse().unwrap(), 1 << 20);
    peers::download(&kernel, &ours, OURS.parse().unwrap(), 1 << 20);
}

/// Whatever addresses the loopback device has: nothing leaves by it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_30_the_mtu_is_never_that_of_the_loopback_device() {
    let lab = Lab::new();
    let wire = lab.wire();
    let router = lab.namespace("router");
    wire.join(&router, "eth0", "10.0.0.1/24");
    router.ok("ip address del 127.0.0.1/8 dev lo && ip address add 10.99.0.1/32 dev lo");
    let _router = Daemon::isatap(&router, &format!("router --local 10.99.0.1 --prefix {PREFIX}/64"));
    wait_for_mtu(&router, "isatap0", 1480);
}
