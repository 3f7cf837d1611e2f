//! How outer packets leave and come: by a mark that policy routing knows, and by one device alone.

use crate::common::tunnel::{BETWEEN, OURS, THEIRS, kernel_end};
use crate::common::{
    Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, peers, status, wait_for, wait_until,
};

/// The routes lead to eth0, where nobody is; a table for marked packets leads to the kernel's end behind eth1,
/// which carries less than eth0 does.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn marked_packets_take_the_way_of_their_mark() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let elsewhere = wires[0].capture("ip proto 41");
    let ours = lab.namespace("ours");
    wires[0].join(&ours, "eth0", "192.0.2.1/24");
    wires[1].join(&ours, "eth1", "10.9.0.1/24");
    ours.ok("ip link set eth1 mtu 1400 && ip route add default via 192.0.2.254 && \
             ip neigh add 192.0.2.254 lladdr 02:00:00:00:00:fe dev eth0 && \
             ip rule add fwmark 0x10 table 100 && ip route add 198.51.100.2 via 10.9.0.2 dev eth1 table 100 && \
             nft 'add table ip marked; add chain ip marked out { type filter hook output priority 0; }; \
                  add rule ip marked out ip protocol 41 meta mark 0x10 counter accept; \
                  add rule ip marked out ip protocol 41 counter drop'");
    let kernel = lab.guest("kernel", &[&wires[1]]);
    peers::ipv4(&kernel, "10.9.0.2/24");
    kernel.ok("ip address add 198.51.100.2/32 dev lo && ip route add 192.0.2.1 via 10.9.0.1");
    kernel_end(&kernel, "ttl 64");
    kernel.ok("ip link set p2p mtu 1380");
    let counted = |at: usize| -> u64 {
        let text =
            ours.ok("nft -j list chain ip marked out | jq -c '[.nftables[].rule.expr[]?.counter.packets | numbers]'");
        let counters: Vec<u64> =
            text.trim().trim_matches(['[', ']']).split(',').map(|count| count.parse().unwrap()).collect();
        counters[at]
    };
    let tunnel = format!("tunnel {BETWEEN} --address {OURS}/64 --mtu 1480");
    let daemon = Daemon::isatap(&ours, &format!("{tunnel} --mark 0x10 --user nobody"));
    assert!(status(&ours, ".outer.mark == \"0x10\" and (.outer | has(\"bind_device\") | not)"));
    peers::ping(&ours, THEIRS);
    peers::ping(&kernel, OURS);
    // The device of the marked packets' way says how long they may be, and not that of the address.
    peers::wait_for_path_mtu(&ours, THEIRS, 1380);
    peers::ping_sizes(&ours, THEIRS, 1380);
    assert!(counted(0) > 2 && counted(1) == 0, "{} {}", counted(0), counted(1));
    let doctor = isatap(&ours, "doctor").text;
    assert!(doctor.contains("198.51.100.2 answers through the tunnel"), "{doctor}");
    assert!(daemon.terminate(PATIENCE).success());
    // The control.
    let before = counted(0);
    let _daemon = Daemon::isatap(&ours, &tunnel);
    wait_until("packets without a mark", PATIENCE, || {
        assert!(!ours.succeeds(&format!("ping -6 -n -c 1 -W 1 {THEIRS}")));
        counted(1) > 0
    });
    assert_eq!(counted(0), before);
    assert_eq!(elsewhere.so_far().count("ip.proto == 41"), 0);
}

/// Two machines have one IPv4 address, each behind a device of its own. The routes lead to the first; the
/// tunnel is bound to the second, the kernel's.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_tunnel_that_is_bound_to_a_device_knows_no_other() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let elsewhere = wires[0].capture("ip proto 41 and src 192.0.2.1 and dst 192.0.2.2");
    let (ours, wrong) = (lab.namespace("ours"), lab.namespace("wrong"));
    wires[0].join(&ours, "eth0", "192.0.2.1/24");
    wires[1].join(&ours, "eth1", "192.0.2.1/24");
    ours.ok("sysctl -qw net.ipv4.conf.all.arp_ignore=0");
    assert!(ours.ok("ip route get 192.0.2.2").contains("dev eth0"));
    wires[0].join(&wrong, "eth0", "192.0.2.2/24");
    wrong.ok("ip address add 192.0.2.3/24 dev eth0");
    let _wrong = Daemon::isatap(&wrong, &format!("tunnel --local 192.0.2.2 --remote 192.0.2.1 --address {THEIRS}/64"));
    let kernel = lab.guest("kernel", &[&wires[1]]);
    peers::ipv4(&kernel, "192.0.2.2/24");
    peers::point_to_point(&kernel, "192.0.2.2", "192.0.2.1", THEIRS.parse().unwrap());

    // The control: without it the first machine is the other end, and let in.
    let tunnel = format!("tunnel --local 192.0.2.1 --remote 192.0.2.2 --address {OURS}/64");
    let daemon = Daemon::isatap(&ours, &tunnel);
    peers::ping(&ours, THEIRS);
    peers::ping(&wrong, OURS);
    assert!(daemon.terminate(PATIENCE).success());

    let mut daemon = Daemon::isatap(&ours, &format!("{tunnel} --bind-device eth1 --user nobody"));
    let before = elsewhere.so_far().count("ip");
    assert!(status(&ours, ".outer.bind_device == \"eth1\" and .underlay_mtu == 1500"));
    peers::ping(&ours, THEIRS);
    peers::ping(&kernel, OURS);
    let entered = || ours.ok(&format!("{} status -j | jq .packets.entered", isatap_binary()));
    // The first machine's are not seen at all, as is seen once the kernel's end sends nothing of its own
    // meanwhile, such as probes; and nothing was sent there.
    wait_until("packets of the first machine that are not seen", PATIENCE, || {
        let counted = entered();
        assert!(!wrong.succeeds(&format!("ping -6 -n -c 3 -i 0.2 -W 1 {OURS}")));
        entered() == counted
    });
    assert_eq!(elsewhere.so_far().count("ip"), before);

    // It waits for the device, and knows it again by its name: without privileges too.
    ours.ok("ip link del eth1");
    daemon.wait_for_line("tun6in4 waits for the device eth1: nothing is sent", PATIENCE);
    wires[1].join(&ours, "eth1", "192.0.2.1/24");
    daemon.wait_for_line("tun6in4 sends from 192.0.2.1", PATIENCE);
    kernel.run("ip neigh flush dev eth0");
    peers::ping(&ours, THEIRS);
    peers::ping(&kernel, OURS);
    assert!(!wrong.succeeds(&format!("ping -6 -n -c 1 -W 1 {OURS}")));
    assert!(daemon.terminate(PATIENCE).success());
}

/// In one process, one tunnel that is bound and one that is not: each packet is one packet, of the link that it
/// is for.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn links_that_are_bound_and_links_that_are_not_share_a_process() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let ours = lab.namespace("ours");
    let far: Vec<_> = ["first", "second"].map(|name| lab.namespace(name)).into_iter().collect();
    let text = |dev: &str, remote: &str, prefix: &str, more: &str| {
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"{remote}\"\naddress = \"{prefix}1/64\"\n{more}"
        )
    };
    wires[0].join(&ours, "eth0", "192.0.2.1/24");
    wires[1].join(&ours, "eth1", "192.0.2.1/24");
    let mut daemons = Vec::new();
    for ((far, wire), (own, prefix)) in
        far.iter().zip(&wires).zip([("192.0.2.2", "2001:db8:1::"), ("192.0.2.3", "2001:db8:2::")])
    {
        wire.join(far, "eth0", &format!("{own}/24"));
        let command = format!("tunnel --local {own} --remote 192.0.2.1 --address {prefix}2/64 --no-neighbor-probes");
        daemons.push(Daemon::isatap(far, &command));
    }
    let quiet = "neighbor-probes = false\n";
    let bound = text("t1", "192.0.2.3", "2001:db8:2::", &format!("bind-device = \"eth1\"\n{quiet}"));
    let open = text("t0", "192.0.2.2", "2001:db8:1::", quiet);
    let file = ours.file("links.toml", &[open.clone(), bound].concat());
    let mut daemon = Daemon::isatap(&ours, &format!("run {file}"));
    daemon.wait_for_line("t1 up: ", PATIENCE);
    for (far, prefix) in far.iter().zip(["2001:db8:1::", "2001:db8:2::"]) {
        peers::ping(&ours, &format!("{prefix}2"));
        let output = far.run(&format!("ping -6 -n -c 5 -i 0.2 -W 2 {prefix}1"));
        assert!(output.success() && !output.text.contains("DUP"), "{output:#?}");
    }
    // A reload lets go of the device: now the routes lead to the wrong wire.
    ours.file("links.toml", &[open, text("t1", "192.0.2.3", "2001:db8:2::", quiet)].concat());
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t0; changed t1", PATIENCE);
    peers::ping(&ours, "2001:db8:1::2");
    assert!(!ours.succeeds("ping -6 -n -c 2 -i 0.2 -W 1 2001:db8:2::2"));
    assert!(daemon.terminate(PATIENCE).success());
}

/// The table of the tunnel `t1`, where our inner address is 2001:db8:1::1: its ends are those of all others.
fn between_the_same_ends(number: usize, more: &str) -> String {
    format!(
        "[[tunnel]]\ndev = \"t{number}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nmtu = 1480\n\
         address = \"2001:db8:{number}::1/64\"\nneighbor-probes = false\n{more}"
    )
}

/// Its other end, which is in a namespace of its own.
fn other_end(there: &Namespace, number: usize) -> Daemon {
    let address = format!("2001:db8:{number}::2/64");
    let ends = "--local 192.0.2.2 --remote 192.0.2.1 --mtu 1480 --no-neighbor-probes";
    Daemon::isatap(there, &format!("tunnel {ends} --address {address}"))
}

/// Each packet comes once, both ways.
#[track_caller]
fn is_a_tunnel(ours: &dyn Node, there: &Namespace, number: usize) {
    for (from, last) in [(ours, 2), (there as &dyn Node, 1)] {
        let to = format!("2001:db8:{number}::{last}");
        peers::ping(from, &to);
        let output = from.run(&format!("ping -6 -n -c 3 -i 0.1 -W 2 {to}"));
        assert!(output.success() && !output.text.contains("DUP"), "{output:#?}");
    }
}

/// Three machines have one IPv4 address, behind a device each; a tunnel to each of them has the same two ends. It begins
/// as one tunnel, without privileges, and gets the others by a reload: the first is bound to no device.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tunnels_of_the_same_ends_are_bound_to_devices_of_their_own() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire(), lab.wire()];
    let ours = lab.namespace("ours");
    ours.ok("nft 'add table ip marked; add chain ip marked out { type filter hook output priority 0; }; \
                  add rule ip marked out oifname eth1 ip protocol 41 meta mark != 0x10 drop'");
    let mut far = Vec::new();
    for (number, wire) in wires.iter().enumerate() {
        wire.join(&ours, &format!("eth{number}"), "192.0.2.1/24");
        let there = lab.namespace(&format!("far{number}"));
        // The way to the last one becomes narrow behind a router, which answers for it on the wire.
        if number == 2 {
            let behind = lab.wire();
            let router = lab.namespace("router");
            wire.join(&router, "eth0", "192.0.2.3/24");
            behind.join(&router, "eth1", "10.9.0.1/24");
            behind.join(&there, "eth0", "10.9.0.2/24");
            router
                .ok("sysctl -qw net.ipv4.ip_forward=1 net.ipv4.conf.eth0.proxy_arp=1 && ip link set eth1 mtu 1400 && \
                       ip route add 192.0.2.2 via 10.9.0.2");
            there.ok("ip link set eth0 mtu 1400 && ip address add 192.0.2.2/32 dev lo && ip route add 192.0.2.1 via 10.9.0.1");
            far.push((there, Some(router)));
        } else {
            wire.join(&there, "eth0", "192.0.2.2/24");
            far.push((there, None));
        }
    }
    let _daemons: Vec<_> = far.iter().enumerate().map(|(at, (there, _))| other_end(there, at)).collect();
    let user = "user = \"nobody\"\n".to_owned();
    let (open, twice) = (between_the_same_ends(0, ""), between_the_same_ends(1, ""));
    let file = ours.file("links.toml", &[user.clone(), open.clone()].concat());
    let mut daemon = Daemon::isatap(&ours, &format!("run {file}"));
    daemon.wait_for_line("t0 up: ", PATIENCE);
    peers::ping(&ours, "2001:db8::2");
    // Without devices of their own they are the same, and nothing ends for a file that says so.
    ours.file("links.toml", &[user.clone(), open.clone(), twice].concat());
    daemon.signal("HUP");
    let refused = daemon.wait_for_line("t0 goes from 192.0.2.1 to 192.0.2.2 already", PATIENCE);
    assert!(refused.contains("give each a bind-device of its own"), "{refused}");
    for device in ["lo", "t0"] {
        let bound = between_the_same_ends(1, &format!("bind-device = \"{device}\"\n"));
        ours.file("links.toml", &[user.clone(), open.clone(), bound].concat());
        daemon.signal("HUP");
        daemon.wait_for_line("name the VRF or the device that leads to the other end", PATIENCE);
    }
    assert!(status(&ours, "select(.dev == \"t0\") | .packets.delivered > 0"));
    let bound = [
        between_the_same_ends(1, "bind-device = \"eth1\"\nmark = \"0x10\"\n"),
        between_the_same_ends(2, "bind-device = \"eth2\"\n"),
    ];
    let file = [user.clone(), open.clone(), bound.concat()].concat();
    ours.file("links.toml", &file);
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t0; began t1, t2", PATIENCE);
    let all_answer = || far.iter().enumerate().for_each(|(at, (there, _))| is_a_tunnel(&ours, there, at));
    all_answer();
    // What comes by one device is not let in by the link of another.
    let delivered = |number: usize| {
        let filter = format!("select(.dev == \"t{number}\") | .packets.delivered");
        ours.ok(&format!("{} status -j | jq '{filter}'", isatap_binary())).trim().parse::<u64>().unwrap()
    };
    let before = [0, 1, 2].map(delivered);
    for (there, _) in &far[..2] {
        // As if it were behind the narrow way: the source is on-link there.
        there.ok("ip address add 2001:db8:2::99/128 dev tun6in4 && ip route add 2001:db8:2::/64 dev tun6in4");
        there.run("ping -6 -n -c 3 -i 0.2 -W 1 -I 2001:db8:2::99 2001:db8:2::1");
    }
    let after = [0, 1, 2].map(delivered);
    assert!(after[0] >= before[0] + 3 && after[1] >= before[1] + 3 && after[2] == before[2], "{before:?} {after:?}");
    // The narrow way is that of one of them.
    peers::wait_for_path_mtu(&ours, "2001:db8:2::2", 1380);
    for (number, mtu) in [(0, 1480), (1, 1480), (2, 1380)] {
        peers::ping_sizes(&ours, &format!("2001:db8:{number}::2"), mtu);
        let route = ours.ok(&format!("ip -6 route get 2001:db8:{number}::2"));
        assert_eq!(route.contains("mtu 1380"), number == 2, "{route}");
    }
    // The order of the file does not matter; nor that one is gone.
    ours.file("links.toml", &[user.clone(), bound.concat(), open].concat());
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t1, t2, t0", PATIENCE);
    all_answer();
    ours.file("links.toml", &[user, bound.concat()].concat());
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t1, t2; ended t0", PATIENCE);
    peers::ping(&ours, "2001:db8:1::2");
    peers::ping(&far[2].0, "2001:db8:2::1");
    assert!(!far[0].0.succeeds("ping -6 -n -c 2 -i 0.2 -W 1 2001:db8::1"));
    assert!(daemon.terminate(PATIENCE).success());
}

/// A reload that changes a bound tunnel, and a program that deletes its device, while packets for it come: none of
/// them is let in by the tunnel of the same ends that is bound to no device.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_is_for_a_bound_tunnel_is_no_others_while_it_is_remade() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let (ours, there) = (lab.namespace("ours"), lab.namespace("there"));
    wires[0].join(&ours, "eth0", "192.0.2.1/24");
    wires[1].join(&ours, "eth1", "192.0.2.1/24");
    wires[1].join(&there, "eth0", "192.0.2.2/24");
    let _other = other_end(&there, 1);
    let file = |mtu: u32| {
        let bound = between_the_same_ends(1, "bind-device = \"eth1\"\n").replace("1480", &mtu.to_string());
        ours.file("links.toml", &[between_the_same_ends(0, ""), bound].concat())
    };
    let mut daemon = Daemon::isatap(&ours, &format!("run {}", file(1480)));
    daemon.wait_for_line("t1 up: ", PATIENCE);
    peers::ping(&there, "2001:db8:1::1");
    let delivered = |number: usize| {
        let filter = format!("select(.dev == \"t{number}\") | .packets.delivered");
        let asked = format!("{} status -j | jq '{filter}'", isatap_binary());
        // A link that is being remade has nothing to say.
        wait_for("counters", PATIENCE, || ours.ok(&asked).trim().parse::<u64>().ok())
    };
    there.start("flood", "ping -6 -n -q -i 0.001 2001:db8:1::1");
    for mtu in [1400, 1410, 1420, 1430] {
        let before = delivered(1);
        wait_until("the flood", PATIENCE, || delivered(1) > before);
        file(mtu);
        daemon.signal("HUP");
        daemon.wait_for_line(&format!("t1 up: fe80::c000:201 mtu {mtu}"), PATIENCE);
    }
    // Once a second at most: it waits.
    ours.ok("ip link del t1");
    daemon.wait_for_line("t1: it is made again", PATIENCE);
    peers::ping(&ours, "2001:db8:1::2");
    assert_eq!(delivered(0), 0);
    assert!(daemon.terminate(PATIENCE).success());
}

/// Two VRFs with the same addresses, in a kernel that has VRFs: in each a tunnel, bound to the VRF or to a device in it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tunnels_of_the_same_ends_live_in_vrfs() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let ours = lab.stock_guest("ours", &[&wires[0], &wires[1]]);
    ours.ok("modprobe -a -d /run/kernel vrf tun && \
             for vrf in 0 1; do ip link add vrf$vrf type vrf table 10$vrf && ip link set vrf$vrf up && \
             ip link set eth$vrf master vrf$vrf up && ip address add 192.0.2.1/24 dev eth$vrf || exit; done");
    let far = ["far0", "far1"].map(|name| lab.namespace(name));
    far.iter().zip(&wires).for_each(|(there, wire)| wire.join(there, "eth0", "192.0.2.2/24"));
    let _daemons = [0, 1].map(|at| other_end(&far[at], at));
    let file = |devices: [&str; 2], more: &str| {
        let bound = |at: usize| between_the_same_ends(at, &format!("bind-device = \"{}\"\n", devices[at]));
        ours.file("links.toml", &[bound(0), bound(1), more.to_owned()].concat())
    };
    ours.start("isatap", &format!("{} run {}", isatap_binary(), file(["vrf0", "vrf1"], "")));
    // The last one is bound to none, and has nothing of what comes by the VRFs.
    let open = between_the_same_ends(2, "");
    for (devices, more, told) in [
        (["vrf0", "vrf1"], "", "t1 up: "),
        (["vrf0", "eth1"], "", "changed t1"),
        (["vrf0", "vrf1"], &open, "changed t1; began t2"),
    ] {
        file(devices, more);
        if told != "t1 up: " {
            ours.signal("isatap", "HUP");
        }
        wait_until(told, PATIENCE, || ours.log("isatap").contains(told));
        for (at, there) in far.iter().enumerate() {
            is_a_tunnel(&ours, there, at);
        }
    }
    // Who is in none of the VRFs reaches none.
    assert!(!ours.succeeds("ping -n -c 1 -W 1 192.0.2.2"));
}

/// A rule that comes late says that there is a way for marked packets, and the host goes it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_rule_for_marked_packets_is_followed() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "192.0.2.1/24");
    ours.ok("ip route add 198.51.100.2 via 192.0.2.2 dev eth0 table 100");
    // It is not up yet.
    let host = ["host", "--router", "198.51.100.2", "--mark", "0x10", "--verbose"];
    let mut daemon = Daemon::start(&ours, "host", isatap_binary(), &host);
    let see = "until then; see: ip -4 route get 198.51.100.2 mark 0x10";
    daemon.wait_for_line(
        &format!("isatap0 waits for an IPv4 route to 198.51.100.2: nothing is sent or answered {see}"),
        PATIENCE,
    );
    ours.ok("ip rule add fwmark 0x10 table 100");
    daemon.wait_for_line("isatap0 sends from 192.0.2.1", PATIENCE);
    ours.ok("ip rule del fwmark 0x10 table 100");
    wait_until("no way again", PATIENCE, || status(&ours, ".waiting == \"an IPv4 route to 198.51.100.2\""));
    assert!(daemon.terminate(PATIENCE).success());
}
