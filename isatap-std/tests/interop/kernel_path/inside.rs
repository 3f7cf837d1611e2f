//! Tunnels through the tunnel: checksums of packets inside of others, and what the kernel joins and cuts of them.

use super::{carries, pair};
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Lab, Node, peers};

#[track_caller]
fn assert_no_damage(node: &dyn Node, of: &str) {
    let tcp = node.ok("awk '/^Tcp:/ {last = $NF} END {print last}' /proc/net/snmp");
    let udp = node.ok("awk '/^Udp6InCsumErrors/ {print $2}' /proc/net/snmp6");
    assert_eq!([tcp.trim(), udp.trim()], ["0", "0"], "{of}: damaged packets at {}", node.name());
}

/// TCP in VXLAN over the tunnel: checksums of packets inside of others.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_tunnel_over_the_tunnel_carries_tcp() {
    for mode in ["off", "require"] {
        let lab = Lab::new();
        let wire = lab.wire();
        let ([left, right], _daemons) = pair(&lab, &wire, &format!("--kernel-path {mode}"));
        peers::ping(&left, THEIRS);
        for (namespace, own, other, last) in [(&left, OURS, THEIRS, 1), (&right, THEIRS, OURS, 2)] {
            namespace.ok(&format!(
                "ip link add vxlan0 type vxlan id 7 local {own} remote {other} dstport 4789 && \
                 ip link set vxlan0 mtu 1400 up && ip address add fd09::{last}/64 dev vxlan0 nodad"
            ));
        }
        peers::ping(&left, "fd09::2");
        peers::download(&left, &right, "fd09::2".parse().unwrap(), 5_000_000);
        peers::download(&right, &left, "fd09::1".parse().unwrap(), 5_000_000);
        for namespace in [&left, &right] {
            assert_no_damage(namespace, mode);
        }
    }
}

/// Of hosts behind the two ends: what they send comes as from a wire, and the kernel joins what it can.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tunnels_of_hosts_behind_it_carry_tcp() {
    // Name, how it is made, and the address of its other end.
    let kinds = [
        ("geneve", "geneve id 7 remote OTHER", "fd09::2"),
        ("ip6gre", "ip6gre local OWN remote OTHER encaplimit none", "fd09::2"),
        ("ip6gretap", "ip6gretap local OWN remote OTHER encaplimit none", "fd09::2"),
        ("ip6ip6", "ip6tnl mode ip6ip6 local OWN remote OTHER encaplimit none", "fd09::2"),
        ("ipip6", "ip6tnl mode ipip6 local OWN remote OTHER encaplimit none", "::ffff:10.9.0.2"),
    ];
    for mode in ["off", "require"] {
        let lab = Lab::new();
        let [lan, wire, other_lan] = [lab.wire(), lab.wire(), lab.wire()];
        let ([left, right], _daemons) = pair(&lab, &wire, &format!("--kernel-path {mode}"));
        let ends = [("near", &left, &lan, 1, 2), ("far", &right, &other_lan, 2, 1)];
        let [near, far] = ends.map(|(name, router, lan, own, other)| {
            lan.join_with_offloads(router, "eth1", &format!("198.51.{own}.254/24"));
            router.ok(&format!(
                "sysctl -qw net.ipv6.conf.all.forwarding=1 && ip address add fd0{own}::254/64 dev eth1 nodad && \
                 ip -6 route add fd0{other}::/64 dev tun6in4"
            ));
            let host = lab.guest(name, &[lan]);
            host.ok(&format!(
                "modprobe -a -d /run/kernel geneve ip6_gre ip6_tunnel && ip link set eth0 up && \
                 ip address add fd0{own}::1/64 dev eth0 && ip -6 route add default via fd0{own}::254"
            ));
            host
        });
        peers::ping(&near, "fd02::1");
        for (kind, how, target) in kinds {
            for (host, own, other) in [(&near, 1, 2), (&far, 2, 1)] {
                let how = how.replace("OWN", &format!("fd0{own}::1")).replace("OTHER", &format!("fd0{other}::1"));
                host.ok(&format!(
                    "ip link add inside type {how} && ip link set inside mtu 1350 up && \
                     ip address add 10.9.0.{own}/24 dev inside && ip address add fd09::{own}/64 dev inside"
                ));
            }
            let [there, back] = [target.to_owned(), target.replace(":2", ":1").replace("0.2", "0.1")];
            println!("{kind}, {mode}");
            peers::download(&near, &far, there.parse().unwrap(), 400_000);
            peers::download(&far, &near, back.parse().unwrap(), 400_000);
            for host in [&near, &far] {
                assert_no_damage(host, kind);
                host.ok("ip link del inside");
            }
            if mode == "require" && kind == "geneve" {
                carries(&left, 200);
                carries(&right, 200);
            }
        }
        for namespace in [&left, &right] {
            assert_no_damage(namespace, mode);
        }
    }
}
