//! What changes under the kernel's path while flows are in it: routes, rules, queues, devices.

use std::time::Duration;

use super::{EGRESS, INGRESS, LEFT, RIGHT, carried, carries, flow, pair, programs};
use crate::common::peers;
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Stopwatch, Wire, isatap_binary, status, wait_until};

/// How soon a change is heeded that is heard of.
const SOON: Duration = Duration::from_secs(3);

/// Packets from the tunnel's device that the daemon itself has sent.
fn by_the_daemon(namespace: &Namespace) -> u64 {
    let told = format!("{} status -j | jq '.packets.tunnelled - .kernel_path.sent'", isatap_binary());
    namespace.ok(&told).trim().parse().unwrap()
}

/// Waits until the kernel carries packets of a flow that goes on, in both directions.
pub(super) fn goes_on(namespace: &Namespace) {
    let before = carried(namespace);
    wait_until("packets that the kernel carries", PATIENCE, || {
        carried(namespace).iter().zip(before).all(|(now, before)| *now > before + 5)
    });
}

#[track_caller]
fn says_why(namespace: &Namespace, text: &str) {
    let filter = format!(".kernel_path | (.on | not) and (.why | contains(\"{text}\"))");
    wait_until("why the kernel carries nothing", SOON, || status(namespace, &filter));
}

/// Two machines on two wires: the right one is 198.51.100.2 by both.
fn on_two_wires<'l>(lab: &'l Lab) -> ([Wire<'l>; 2], [Namespace; 2]) {
    let wires = [lab.wire(), lab.wire()];
    let [left, right] = ["left", "right"].map(|name| lab.namespace(name));
    for (namespace, last) in [(&left, 1), (&right, 2)] {
        wires[0].join(namespace, "eth0", &format!("192.0.2.{last}/24"));
        wires[1].join(namespace, "eth1", &format!("203.0.113.{last}/24"));
        namespace.ok(
            "sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0 net.ipv4.conf.eth1.rp_filter=0",
        );
    }
    right.ok("ip address add 198.51.100.2/32 dev lo");
    (wires, [left, right])
}

fn tunnel(namespace: &Namespace, ends: &str) -> Daemon {
    Daemon::isatap(namespace, &format!("tunnel {ends} --mtu 1480 --kernel-path require"))
}

/// Of a tunnel that follows no routes itself.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn another_route_or_nexthop_by_another_device_is_heeded_at_once() {
    let lab = Lab::new();
    let ([one, other], [left, right]) = on_two_wires(&lab);
    // A nexthop that is replaced is no news of the routes by it.
    left.ok("sysctl -qw net.ipv4.nexthop_compat_mode=0 && ip nexthop add id 7 via 192.0.2.2 dev eth0");
    left.ok("ip route add 198.51.100.2 nhid 7 src 192.0.2.1");
    let _daemons = [
        tunnel(&left, &format!("--local {LEFT} --remote 198.51.100.2 --address {OURS}/64")),
        tunnel(&right, &format!("--local 198.51.100.2 --remote {LEFT} --address {THEIRS}/64")),
    ];
    peers::ping(&left, THEIRS);
    left.start("flow", &format!("ping -6 -n -q -i 0.01 {THEIRS}"));
    carries(&left, 50);
    for (wire, change) in [
        (other, "ip nexthop replace id 7 via 203.0.113.2 dev eth1"),
        (one, "ip route replace 198.51.100.2 via 192.0.2.2 src 192.0.2.1"),
    ] {
        let capture = wire.capture(&format!("ip proto 41 and src {LEFT}"));
        left.ok(change);
        std::thread::sleep(Duration::from_secs(1));
        let sent = capture.so_far().count("ip");
        assert!(sent > 20, "{sent} packets by the other device in a second: {change}");
        let before = carried(&left)[0];
        wait_until("packets that the kernel sends", PATIENCE, || carried(&left)[0] > before + 20);
    }
    left.stop("flow");
}

/// Whose answers would go another way: a link that is bound to its device takes them.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_source_check_that_is_switched_on_is_heeded_at_once() {
    let lab = Lab::new();
    let (_wires, [left, right]) = on_two_wires(&lab);
    left.ok("ip route add 198.51.100.2 via 192.0.2.2 dev eth0 metric 1");
    left.ok("ip route add 198.51.100.2 via 203.0.113.2 dev eth1 metric 10");
    let _daemons = [
        tunnel(&left, &format!("--local 203.0.113.1 --remote 198.51.100.2 --address {OURS}/64 --bind-device eth1")),
        tunnel(&right, &format!("--local 198.51.100.2 --remote 203.0.113.1 --address {THEIRS}/64")),
    ];
    peers::ping(&left, THEIRS);
    left.start("flow", &format!("ping -6 -n -q -i 0.01 {THEIRS}"));
    carries(&left, 50);
    left.ok("sysctl -qw net.ipv4.conf.eth1.rp_filter=1");
    let reaches = || left.succeeds(&format!("ping -6 -n -c 2 -i 0.2 -W 1 {THEIRS}"));
    wait_until("the end of the flow", SOON, || !reaches());
    left.ok("sysctl -qw net.ipv4.conf.eth1.rp_filter=0");
    wait_until("the flow to go on", PATIENCE, reaches);
    left.stop("flow");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn devices_addresses_and_routes_of_others_leave_the_flows_where_they_are() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = flow(&lab, &wire, "require");
    let before = [by_the_daemon(&left), carried(&left)[0]];
    // As containers come and go, and a routing daemon changes its mind.
    for n in 0..30 {
        left.ok(&format!(
            "ip link add c{n} type veth peer name d{n} && ip address add 10.{n}.0.1/24 dev c{n} && ip link set c{n} up && \
             ip route add 172.16.{n}.0/24 via 192.0.2.9 && ip route del 172.16.{n}.0/24 && ip link del c{n}"
        ));
    }
    wait_until("packets that the kernel carries", PATIENCE, || carried(&left)[0] > before[1] + 200);
    let of_the_daemon = by_the_daemon(&left) - before[0];
    left.stop("flow");
    assert!(of_the_daemon < 20, "{of_the_daemon} packets went by the daemon in 30 changes");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_rule_that_names_the_protocol_leaves_packets_to_the_daemon() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = flow(&lab, &wire, "require");
    // Another table, of which only packets of the protocol know.
    left.ok("ip route add 192.0.2.0/24 dev eth0 table 100 && ip rule add ipproto ipv6 lookup 100 pref 10");
    says_why(&left, "ip rule");
    left.ok("ip route replace blackhole 192.0.2.0/24 table 100");
    wait_until("the rule to be heeded", SOON, || !left.succeeds(&format!("ping -6 -n -c 2 -i 0.2 -W 1 {THEIRS}")));
    left.ok("ip rule del pref 10");
    goes_on(&left);
    // One that is not about these packets.
    left.ok("ip rule add from 203.0.113.7 ipproto ipv6 lookup 100 pref 10");
    goes_on(&left);
    assert!(status(&left, ".kernel_path.on"));
    left.stop("flow");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn queues_and_filters_that_packets_would_go_past_leave_them_to_the_daemon() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = flow(&lab, &wire, "require");
    for (add, del, why, way) in [
        (
            "tc qdisc add dev tun6in4 root tbf rate 10mbit burst 20k limit 100k",
            "tc qdisc del dev tun6in4 root",
            "has a queue",
            0,
        ),
        (
            "tc qdisc add dev eth0 clsact && tc filter add dev eth0 ingress protocol ip u32 match ip protocol 41 0xff flowid 1:1",
            "tc qdisc del dev eth0 clsact",
            "underneath has filters",
            1,
        ),
        (
            "tc qdisc add dev tun6in4 clsact && tc filter add dev tun6in4 egress protocol ipv6 u32 match u32 0 0 flowid 1:1",
            "tc qdisc del dev tun6in4 clsact",
            "device has filters",
            0,
        ),
    ] {
        left.ok(add);
        says_why(&left, why);
        // What was told before it was heeded.
        wait_until("no packets that the kernel carries", PATIENCE, || {
            let before = carried(&left);
            std::thread::sleep(Duration::from_millis(1500));
            carried(&left)[way] == before[way]
        });
        left.ok(del);
        goes_on(&left);
    }
    // No obstacle: what the kernel has by itself, and clsact without filters.
    left.ok("tc qdisc add dev eth0 clsact && tc qdisc add dev tun6in4 clsact");
    goes_on(&left);
    assert!(status(&left, ".kernel_path.on"));
    left.stop("flow");
}

/// Rows that a change removes are counted up to then.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_the_kernel_carried_until_a_queue_came_is_counted() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = pair(&lab, &wire, "--kernel-path require");
    peers::ping(&left, THEIRS);
    left.ok(&format!("ping -6 -n -q -c 100 -i 0.01 {THEIRS}"));
    carries(&left, 50);
    let counted = || {
        ["tunnelled", "delivered"].map(|key| -> u64 {
            left.ok(&format!("{} status -j | jq '.packets.{key}'", isatap_binary())).trim().parse().unwrap()
        })
    };
    // All is told that went by the rows.
    std::thread::sleep(Duration::from_millis(1500));
    let before = counted();
    left.start("flow", &format!("ping -6 -n -q -c 600 -i 0.005 {THEIRS}"));
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(900));
        left.ok("tc qdisc add dev tun6in4 root tbf rate 10mbit burst 20k limit 100k");
        says_why(&left, "has a queue");
        left.ok("tc qdisc del dev tun6in4 root");
    }
    // The flow ends, and its last rows are read.
    std::thread::sleep(Duration::from_secs(4));
    // What goes by between the reading of a row and its end is not, nor what a queue has when it goes.
    let more: Vec<u64> = counted().iter().zip(before).map(|(now, before)| now - before).collect();
    assert!(more.iter().all(|more| (585..620).contains(more)), "600 packets each way are counted as {more:?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_that_goes_loses_its_program_and_one_made_anew_gets_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], _daemons) = pair(&lab, &wire, "--kernel-path require");
    peers::ping(&left, THEIRS);
    right.start("flow", &format!("ping -6 -n -q -i 0.01 {OURS}"));
    carries(&left, 50);
    // Another name for the same device.
    left.ok("ip link set eth0 down && ip link set eth0 name lan0 && ip link set lan0 up");
    goes_on(&left);
    assert_eq!(programs(&left, INGRESS), 1);

    // Into another namespace, with its program: there it is taken from it. It comes back under the same number.
    let away = lab.namespace("away");
    let number = left.ok("cat /sys/class/net/lan0/ifindex").trim().to_owned();
    left.ok(&format!("ip link set lan0 netns {}", away.full_name()));
    wait_until("the program to go", SOON, || programs(&away, INGRESS) == 0);
    assert_eq!(programs(&left, INGRESS), 0);
    away.ok(&format!("ip link set lan0 netns {}", left.full_name()));
    left.ok(&format!("ip address add {LEFT}/24 dev lan0 && ip link set lan0 up"));
    assert_eq!(left.ok("cat /sys/class/net/lan0/ifindex").trim(), number);
    goes_on(&left);
    assert_eq!(programs(&left, INGRESS), 1);

    // The tunnel's device.
    right.stop("flow");
    assert_eq!(programs(&right, EGRESS), 1);
    right.ok(&format!("ip link set tun6in4 netns {}", away.full_name()));
    wait_until("the program to go", SOON, || programs(&away, EGRESS) == 0);
}

/// The kernel asks no egress chain about a packet that a program has redirected.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_chain_at_a_devices_egress_is_not_gone_past() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = flow(&lab, &wire, "auto");
    left.ok("nft 'add table netdev t; add chain netdev t out { type filter hook egress device eth0 priority 0; }; \
             add rule netdev t out ip protocol 41 drop'");
    says_why(&left, "nftables has rules");
    assert!(!left.succeeds(&format!("ping -6 -n -c 3 -i 0.2 -W 1 {THEIRS}")));
    left.ok("nft delete table netdev t");
    goes_on(&left);
}

/// What a program redirects to a neighbour is not put in what the route says.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_route_that_encapsulates_leaves_packets_to_the_daemon() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], _daemons) = flow(&lab, &wire, "auto");
    left.ok(&format!("ip route add {RIGHT}/32 encap seg6 mode encap segs fc00::1 dev eth0"));
    wait_until("the rows to go", SOON, || status(&left, ".kernel_path.rows == 0"));
    let naked = wire.capture("ip proto 41");
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(naked.so_far().count(&format!("ip.dst == {RIGHT}")), 0, "packets that are in no other");
    left.ok(&format!("ip route del {RIGHT}/32"));
    goes_on(&left);
}

/// As when it has no memory for an answer; here, the daemon has no descriptor to ask by.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_the_kernel_does_not_answer_is_asked_again() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], [of_left, _of_right]) = flow(&lab, &wire, "require");
    let process = of_left.id();
    for change in [
        "tc qdisc add dev tun6in4 root tbf rate 10mbit burst 20k limit 100k && tc qdisc del dev tun6in4 root",
        "ip rule add from 203.0.113.7 pref 10 && ip rule del pref 10",
    ] {
        let most = left.ok(&format!("prlimit -p {process} --nofile --raw --noheadings -o SOFT"));
        left.ok(&format!("prlimit -p {process} --nofile=3: && {change}"));
        // Until the last news of it are looked at.
        std::thread::sleep(Duration::from_millis(700));
        left.ok(&format!("prlimit -p {process} --nofile={}:", most.trim()));
        goes_on(&left);
    }
    left.stop("flow");
}

/// Nanoseconds that a process has run.
fn work(namespace: &Namespace, process: u32) -> u64 {
    namespace.ok(&format!("awk '{{n += $1}} END {{print n}}' /proc/{process}/task/*/schedstat")).trim().parse().unwrap()
}

/// Rules of a firewall with many chains, and queues of other devices.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_flood_of_changes_costs_the_daemon_little_and_its_last_one_is_heeded() {
    const CHANGES: u64 = 400;
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, _right], [of_left, _of_right]) = flow(&lab, &wire, "auto");
    let chains: String = (0..2000).map(|n| format!("chain c{n} {{ }}\n")).collect();
    let file = left.file("chains", &format!("table ip6 many {{ {chains} }}"));
    left.ok(&format!(
        "nft -f {file} && for n in $(seq 0 29); do ip link add c$n type veth peer name d$n && \
         tc qdisc add dev c$n clsact || exit; done"
    ));
    let idle = {
        let before = work(&left, of_left.id());
        std::thread::sleep(Duration::from_secs(1));
        work(&left, of_left.id()) - before
    };
    let mut costs = Vec::new();
    for (kind, change, last, undo) in [
        (
            "nftables",
            "nft add rule ip6 many c0 counter",
            "nft 'add table ip filter; add chain ip filter input { type filter hook input priority 0; }'",
            "nft delete table ip filter",
        ),
        (
            "tc",
            "tc qdisc replace dev c0 root pfifo limit $n",
            "tc qdisc add dev tun6in4 root tbf rate 10mbit burst 20k limit 100k",
            "tc qdisc del dev tun6in4 root",
        ),
    ] {
        let (before, begin) = (work(&left, of_left.id()), Stopwatch::start());
        left.ok(&format!("for n in $(seq {CHANGES}); do {change} || exit; done; {last}"));
        let (took, cost) = (begin.elapsed(), work(&left, of_left.id()) - before);
        // Of others the kernel carries packets on, until the last change is heeded.
        says_why(&left, if kind == "tc" { "has a queue" } else { "nftables has rules" });
        let cost = cost.saturating_sub(idle * took.as_millis() as u64 / 1000);
        println!("{CHANGES} changes of {kind} in {took:?} cost {} us", cost / 1000);
        left.ok(undo);
        goes_on(&left);
        costs.push((kind, cost / CHANGES / 1000));
    }
    left.stop("flow");
    // Either wakes it up, which is most of it now. To look at all chains each time made it 5.6 times as much.
    let [(_, of_nftables), (_, of_tc)] = costs[..] else { unreachable!() };
    assert!(of_nftables < 3 * of_tc, "microseconds each of {CHANGES} changes: {costs:?}");
}
