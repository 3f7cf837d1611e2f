//! Tunnels through the tunnel: checksums of packets inside of others, and what the kernel joins and cuts of them.

use super::{carries, pair, places, tunnel};
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Lab, Node, PATIENCE, peers};

#[track_caller]
fn assert_no_damage(node: &dyn Node, of: &str) {
    let wrong = "awk '/^Tcp:/ {tcp = $NF} /^Udp6InCsumErrors/ {udp = $2} END {print tcp, udp}' /proc/net/snmp{,6}";
    assert_eq!(node.ok(wrong).trim(), "0 0", "{of}: damaged packets at {}", node.name());
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
    // Name, how it is made, and the address of its other end; N is its number. Outer addresses are its own, too.
    let kinds = [
        ("geneve", "geneve id 7 remote OTHER", "fd09:N::2"),
        ("ip6gre", "ip6gre local OWN remote OTHER encaplimit none", "fd09:N::2"),
        ("ip6gretap", "ip6gretap local OWN remote OTHER encaplimit none", "fd09:N::2"),
        ("ip6ip6", "ip6tnl mode ip6ip6 local OWN remote OTHER encaplimit none", "fd09:N::2"),
        ("ipip6", "ip6tnl mode ipip6 local OWN remote OTHER encaplimit none", "::ffff:10.9.N.2"),
    ];
    let lab = Lab::new();
    let [lan, wire, other_lan] = [lab.wire(), lab.wire(), lab.wire()];
    let [left, right] = places(&lab, &wire);
    let ends = [("near", &left, &lan, 1, 2), ("far", &right, &other_lan, 2, 1)];
    let [near, far] = ends.map(|(name, router, lan, own, other)| {
        lan.join_with_offloads(router, "eth1", &format!("198.51.{own}.254/24"));
        router.ok(&format!(
            "sysctl -qw net.ipv6.conf.all.forwarding=1 && ip address add fd0{own}::254/64 dev eth1 nodad"
        ));
        let host = lab.guest(name, &[lan]);
        let mut commands = "modprobe -a -d /run/kernel geneve ip6_gre ip6_tunnel && ip link set eth0 up".to_owned();
        for (number, (kind, how, _)) in kinds.iter().enumerate() {
            let address = |end: i32| format!("fd0{end}::{}", number + 1);
            // Who is told no address of its own, geneve, has the first one.
            let deprecated = if number > 0 { " preferred_lft 0" } else { "" };
            let how = how.replace("OWN", &address(own)).replace("OTHER", &address(other));
            commands += &format!(
                " && ip address add {}/64 dev eth0{deprecated} && ip link add {kind} type {how} && ip link set {kind} mtu 1350 up && \
                 ip address add 10.9.{number}.{own}/24 dev {kind} && ip address add fd09:{number}::{own}/64 dev {kind}",
                address(own)
            );
        }
        host.ok(&format!("{commands} && ip -6 route add default via fd0{own}::254"));
        host
    });
    for mode in ["off", "require"] {
        let daemons = tunnel(&[&left, &right], &format!("--kernel-path {mode}"));
        left.ok("ip -6 route add fd02::/64 dev tun6in4");
        right.ok("ip -6 route add fd01::/64 dev tun6in4");
        peers::ping(&near, "fd02::1");
        for (number, (kind, _, target)) in kinds.iter().enumerate() {
            let there = target.replace('N', &number.to_string());
            let back = format!("{}1", there.strip_suffix('2').unwrap());
            println!("{kind}, {mode}");
            peers::download(&near, &far, there.parse().unwrap(), 400_000);
            peers::download(&far, &near, back.parse().unwrap(), 400_000);
            if mode == "require" && *kind == "geneve" {
                carries(&left, 200);
                carries(&right, 200);
            }
        }
        for node in [&near as &dyn Node, &far, &left, &right] {
            assert_no_damage(node, mode);
        }
        for daemon in daemons {
            assert!(daemon.terminate(PATIENCE).success());
        }
    }
}
