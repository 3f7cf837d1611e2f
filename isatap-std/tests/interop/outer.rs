//! What outer packets say and how they leave, with the Linux kernel's `sit` at the other end: TTL,
//! TOS and congestion marks in both directions.

use crate::common::tunnel::{OURS, THEIRS, ends};
use crate::common::{Capture, Daemon, Lab, Namespace, Node, PATIENCE, peers, status, wait_for, wait_until};

/// A file for `isatap run` with our end, of which `more` is said.
fn tunnel(ours: &Namespace, more: &str) -> String {
    ours.file(
        "tunnel.toml",
        &format!("[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"198.51.100.2\"\naddress = \"{OURS}/64\"\n{more}"),
    )
}

/// Pings until an answer comes that was sent with this traffic class.
#[track_caller]
fn ping_with(from: &dyn Node, to: &str, class: &str) {
    wait_until(&format!("an answer to {} with {class}", from.name()), PATIENCE, || {
        from.succeeds(&format!("ping -6 -n -c 1 -W 1 -Q {class} {to}"))
    });
}

/// The fields of the packets that pass the filter, each different one once, as soon as there are some.
#[track_caller]
fn seen(capture: &Capture, filter: &str, fields: &[&str]) -> Vec<Vec<String>> {
    wait_for(filter, PATIENCE, || {
        let mut rows = capture.so_far().fields(filter, fields);
        rows.sort();
        rows.dedup();
        (!rows.is_empty()).then_some(rows)
    })
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_42_tun_60_an_inherited_ttl_makes_hops_of_the_ipv4_routers() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let capture = wires[0].capture("ip proto 41");
    let (ours, _router, kernel) = ends(&lab, &wires, "ttl inherit");
    let daemon = Daemon::isatap(&ours, &format!("run {}", tunnel(&ours, "ttl = \"inherit\"\n")));
    assert!(status(&ours, ".outer.ttl == \"inherit\" and .outer.tos == \"0x00\""));
    peers::ping(&ours, THEIRS);
    peers::ping(&kernel, OURS);
    // The IPv4 router is the first hop and the kernel the second.
    wait_until("the first hop", PATIENCE, || {
        let output = ours.run(&format!("ping -6 -n -c 1 -W 1 -t 1 {THEIRS}"));
        assert!(!output.success() && !output.text.contains("nreachable"), "{output:#?}");
        output.text.contains("Time exceeded: Hop limit")
    });
    wait_until("the second hop", PATIENCE, || ours.succeeds(&format!("ping -6 -n -c 1 -W 1 -t 2 {THEIRS}")));
    wait_until("the second hop", PATIENCE, || kernel.succeeds(&format!("ping -6 -n -c 1 -W 1 -t 2 {OURS}")));
    // Ours as it leaves, the kernel's behind the router.
    let requests = |from: &str| format!("ip.src == {from} and icmpv6.type == 128");
    let fields = ["ip.ttl", "ipv6.hlim"];
    assert_eq!(seen(&capture, &requests("192.0.2.1"), &fields), [["1", "1"], ["2", "2"], ["64", "64"]]);
    assert_eq!(seen(&capture, &requests("198.51.100.2"), &fields), [["1", "2"], ["63", "64"]]);
    // What we say ourselves: nobody takes a probe of less than 255.
    assert_eq!(seen(&capture, "ip.src == 192.0.2.1 and icmpv6.type == 135", &fields), [["255", "255"]]);
    wait_until("the kernel's answer to a probe", PATIENCE, || {
        ours.run(&format!("ping -6 -n -c 1 -W 1 {THEIRS}"));
        status(&ours, ".reachability == \"reachable\"")
    });
    capture.so_far().assert_clean();
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_50_tun_51_tun_52_class_and_congestion_marks_cross_both_ways() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let capture = wires[0].capture("ip proto 41");
    let (ours, router, kernel) = ends(&lab, &wires, "ttl 64 tos inherit");
    let mut daemon = Daemon::isatap(&ours, &format!("run {}", tunnel(&ours, "tos = \"inherit\"\necn = \"normal\"\n")));
    assert!(status(&ours, ".outer.tos == \"inherit\" and .outer.ecn == \"normal\""));
    let requests =
        |from: &str, class: &str| format!("ip.src == {from} and icmpv6.type == 128 and ipv6.tclass == {class}");
    // ef with ECT(0), both ways.
    ping_with(&ours, THEIRS, "0xba");
    ping_with(&kernel, OURS, "0xba");
    assert_eq!(seen(&capture, &requests("192.0.2.1", "0xba"), &["ip.dsfield"]), [["0xba"]]);
    assert_eq!(seen(&capture, &requests("198.51.100.2", "0xba"), &["ip.dsfield"]), [["0xba"]]);

    // Congestion on the way: whoever understands marks is told, at our exit and at the kernel's, which
    // answers with the class that it sees. Who does not understand loses the packet.
    router.ok("nft 'add table ip jam; add chain ip jam out { type filter hook forward priority 0; }; \
               add rule ip jam out ip protocol 41 ip ecn set ce'");
    let inside = ours.capture("tun6in4", "icmp6");
    ping_with(&kernel, OURS, "0xba");
    let at_exit = seen(&inside, "icmpv6.type == 128 and ipv6.src == 2001:db8:77::2", &["ipv6.tclass"]);
    assert_eq!(at_exit, [["0x000000bb"]]);
    ping_with(&ours, THEIRS, "0xba");
    assert_eq!(seen(&inside, "icmpv6.type == 129 and ipv6.src == 2001:db8:77::2", &["ipv6.tclass"]), [["0x000000bb"]]);
    assert!(!kernel.succeeds(&format!("ping -6 -n -c 2 -i 0.2 -W 1 -Q 0xb8 {OURS}")));
    wait_until("the count", PATIENCE, || status(&ours, ".counters[\"ecn-not-capable\"] >= 2"));
    router.ok("nft delete table ip jam");

    // A fixed class and marks of their own; what we say ourselves has the class too.
    let mut earlier = "0x00";
    for (more, outer, own) in
        [("tos = \"af41\"\necn = \"normal\"\n", "0x8a", "0x88"), ("tos = 0x88\n", "0x88", "0x88"), ("", "0x00", "0x00")]
    {
        let before = capture.so_far().count("ip");
        tunnel(&ours, more);
        daemon.signal("HUP");
        wait_until(&format!("the reload to {more:?}"), PATIENCE, || status(&ours, &format!(".outer.tos == \"{own}\"")));
        wait_until("its device", PATIENCE, || status(&ours, ".up and .addresses != []"));
        ping_with(&ours, THEIRS, "0xba");
        let ours_now = format!("frame.number > {before} and {}", requests("192.0.2.1", "0xba"));
        assert_eq!(seen(&capture, &ours_now, &["ip.dsfield"]), [[outer]], "{more:?}");
        // Seconds after a packet, so where it changes; one of before the reload may come first.
        let probes = format!("frame.number > {before} and ip.src == 192.0.2.1 and icmpv6.type == 135");
        wait_until(&format!("a probe with {more:?}"), PATIENCE, || {
            let mut classes = capture.so_far().fields(&probes, &["ip.dsfield"]).concat();
            classes.dedup();
            let last = classes.pop();
            assert!(classes.is_empty() || classes == [earlier], "{classes:?} {last:?}");
            earlier == own || last.is_some_and(|last| last == own)
        });
        earlier = own;
    }
    daemon.wait_for_line("read again: changed tun6in4", PATIENCE);
    capture.so_far().assert_clean();
    assert!(daemon.terminate(PATIENCE).success());
}
