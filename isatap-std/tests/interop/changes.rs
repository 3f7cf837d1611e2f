//! What changes under a running `isatap run`: its file, its devices, the far end.

use std::time::Duration;

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap_binary, peers, wait_until};

/// A tunnel from 192.0.2.1.
fn tunnel(dev: &str, remote: &str, more: &str) -> String {
    format!("[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"{remote}\"\n{more}\n")
}

fn index(node: &Namespace, dev: &str) -> String {
    node.ok(&format!("cat /sys/class/net/{dev}/ifindex"))
}

/// Whether a filter of jq's holds for what the daemon of this device says.
pub(crate) fn says(node: &Namespace, dev: &str, filter: &str) -> bool {
    // Where there is no answer, jq would be content.
    node.succeeds(&format!("{} status -j {dev} | jq -es 'length == 1 and (.[0] | {filter})'", isatap_binary()))
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reload_says_what_it_did_and_a_written_default_is_no_change() {
    let lab = Lab::new();
    let wire = lab.wire();
    let near = lab.namespace("near");
    wire.join(&near, "eth0", "192.0.2.1/24");
    let relay = |more: &str| format!("[[teredo-relay]]\nlocal = \"192.0.2.1\"\naccept-bogons = true\n{more}");
    let text = [tunnel("t0", "192.0.2.2", ""), tunnel("t1", "192.0.2.3", ""), relay("")].concat();
    let file = near.file("links.toml", &text);
    let mut daemon = Daemon::isatap(&near, &format!("run {file}"));
    daemon.wait_for_line("teredo up: ", PATIENCE);
    let before = ["t0", "t1", "teredo"].map(|dev| index(&near, dev));
    let text = [
        tunnel("t0", "192.0.2.2", "ttl = 64\npath-mtu-discovery = true\naddress = []"),
        tunnel("t1", "192.0.2.3", ""),
        relay("port = 0\n"),
    ];
    near.file("links.toml", &text.concat());
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t0, t1, teredo", PATIENCE);
    assert_eq!(["t0", "t1", "teredo"].map(|dev| index(&near, dev)), before);

    let text = [tunnel("t0", "192.0.2.2", ""), tunnel("t1", "192.0.2.4", ""), tunnel("t2", "192.0.2.5", "")];
    near.file("links.toml", &text.concat());
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept t0; changed t1; began t2; ended teredo", PATIENCE);
    assert_eq!(index(&near, "t0"), before[0]);
    assert!(daemon.terminate(PATIENCE).success());
}

/// Of several links only the one suffers whose device another program deletes; it is made again.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_deleted_device_is_made_again_and_the_other_links_go_on() {
    let lab = Lab::new();
    let wire = lab.wire();
    let far = lab.guest("far", &[&wire]);
    peers::ipv4(&far, "192.0.2.2/24");
    peers::point_to_point(&far, "192.0.2.2", "192.0.2.1", "2001:db8:1::2".parse().unwrap());
    let near = lab.namespace("near");
    wire.join(&near, "eth0", "192.0.2.1/24");
    let relay = "[[teredo-relay]]\ndev = \"relay\"\nlocal = \"192.0.2.1\"\naccept-bogons = true\n";
    let text = [
        tunnel("goes", "192.0.2.2", "address = \"2001:db8:1::1/64\""),
        tunnel("stays", "192.0.2.3", ""),
        relay.to_owned(),
    ];
    let file = near.file("links.toml", &text.concat());
    let mut daemon = Daemon::isatap(&near, &format!("run {file}"));
    daemon.wait_for_line("relay up: ", PATIENCE);
    peers::ping(&near, "2001:db8:1::2");
    near.run("ping -6 -n -c 1 -W 1 fe80::1%stays");
    assert!(says(&near, "stays", ".packets.entered > 0"));
    let made_again = |daemon: &Daemon, dev: &str| {
        daemon.output().matches(&format!("another program deleted the device {dev}: it is made again")).count()
    };
    for (dev, others) in [("goes", ["stays", "relay"]), ("relay", ["goes", "stays"])] {
        let before = others.map(|dev| index(&near, dev));
        // The second time at once: not more often than once a second.
        for times in 1..=2 {
            let old = index(&near, dev);
            near.ok(&format!("ip link delete {dev}"));
            wait_until("the device to come again", PATIENCE, || {
                near.succeeds(&format!("test $(cat /sys/class/net/{dev}/ifindex) != {}", old.trim()))
            });
            wait_until("a line about it", PATIENCE, || made_again(&daemon, dev) == times);
        }
        assert_eq!(others.map(|dev| index(&near, dev)), before);
        assert!(says(&near, dev, ".up") && says(&near, "stays", ".packets.entered > 0"));
    }
    peers::ping(&near, "2001:db8:1::2");
    // While the name is another's there is nothing to make; it is tried again. The first time the
    // device is made again at once, and the second time a moment is left to take its name.
    let old = index(&near, "stays");
    near.ok("ip link delete stays");
    wait_until("the device to come again", PATIENCE, || {
        near.succeeds(&format!("test $(cat /sys/class/net/stays/ifindex) != {}", old.trim()))
    });
    near.ok("ip link delete stays && ip link add stays type veth peer name other");
    daemon.wait_for_line("cannot make stays again: ", PATIENCE);
    peers::ping(&near, "2001:db8:1::2");
    // It is not kept, and a file that cannot be carried out does not end the waiting: neither one
    // that is refused at once, nor one that fails when the others have ended.
    daemon.signal("HUP");
    daemon.wait_for_line("read again: kept goes, relay; waiting for stays", PATIENCE);
    let _other = Daemon::isatap(&near, "teredo relay --dev other0 --local 192.0.2.1 --bind :4000 --accept-bogons");
    let taken = relay.replace("\"relay\"", "\"taken\"") + "bind = \":4000\"\n";
    for (more, why) in [(tunnel("stays", "192.0.2.4", ""), "create the TUN device stays"), (taken, "[[teredo-relay]]")]
    {
        let refused = daemon.output().matches("the new file is not used").count();
        near.file("links.toml", &[&text[0], &text[2], &more].map(String::as_str).concat());
        daemon.signal("HUP");
        wait_until(why, PATIENCE, || daemon.output().matches("the new file is not used").count() > refused);
    }
    peers::ping(&near, "2001:db8:1::2");
    near.ok("ip link delete stays");
    wait_until("the device to come again", Duration::from_secs(30), || says(&near, "stays", ".up"));
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!near.succeeds("ip link show dev goes") && !near.succeeds("ip link show dev stays"));
}

/// What was recorded stays when the only device is made again, and a file that cannot take packets
/// ends nothing.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_recording_outlives_its_device_and_a_refused_one_ends_nothing() {
    let lab = Lab::new();
    let wire = lab.wire();
    let near = lab.namespace("near");
    wire.join(&near, "eth0", "192.0.2.1/24");
    let capture = near.shared().join("outer.pcap");
    let text = |path: &std::path::Path| tunnel("t0", "192.0.2.2", &format!("pcap = \"{}\"", path.display()));
    let file = near.file("links.toml", &text(&capture));
    let mut daemon = Daemon::isatap(&near, &format!("run {file}"));
    daemon.wait_for_line("t0 up: ", PATIENCE);
    let packets = || near.ok(&format!("tcpdump -n -r {} 2>/dev/null | grep -c echo || true", capture.display()));
    let packets = || packets().trim().parse::<u32>().unwrap();
    let ping = || near.run("ping -6 -n -c 1 -W 1 fe80::1%t0");
    ping();
    wait_until("a packet in the file", PATIENCE, || packets() == 1);

    let before = index(&near, "t0");
    let place = |name: &str| near.shared().join(name);
    std::os::unix::fs::symlink(&capture, place("link")).unwrap();
    near.ok(&format!("mkfifo {}", place("fifo").display()));
    for (path, why) in [
        (place("link"), "it is a symbolic link; name the file that it leads to"),
        (near.directory(), "it is a folder; name a file in it"),
        (place("fifo"), "restart it, as by systemctl restart isatap"),
    ] {
        near.file("links.toml", &text(&path));
        daemon.signal("HUP");
        daemon.wait_for_line(why, PATIENCE);
        assert_eq!(index(&near, "t0"), before);
    }
    near.file("links.toml", &text(&capture));

    // The first time the device is made again at once.
    near.ok("ip link delete t0");
    wait_until("the device to come again", PATIENCE, || {
        near.succeeds(&format!("test $(cat /sys/class/net/t0/ifindex) != {}", before.trim()))
    });
    near.ok("ip link delete t0 && ip link add t0 type veth peer name other");
    daemon.wait_for_line("cannot make t0 again: ", PATIENCE);
    daemon.signal("HUP");
    daemon.wait_for_line("read again: waiting for t0", PATIENCE);
    near.ok("ip link delete t0");
    wait_until("the device to come again", Duration::from_secs(30), || says(&near, "t0", ".up"));
    assert_eq!(packets(), 1);
    ping();
    wait_until("both packets in the file", PATIENCE, || packets() == 2);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_status_says_that_the_far_end_of_a_tunnel_is_dead() {
    let lab = Lab::new();
    let wire = lab.wire();
    let (near, far) = (lab.namespace("near"), lab.namespace("far"));
    wire.join(&near, "eth0", "192.0.2.1/24");
    wire.join(&far, "eth0", "192.0.2.2/24");
    let _near = Daemon::isatap(&near, "tunnel --dev t0 --local 192.0.2.1 --remote 192.0.2.2");
    let far_end = Daemon::isatap(&far, "tunnel --dev t0 --local 192.0.2.2 --remote 192.0.2.1");
    peers::ping(&near, "fe80::c000:202%t0");
    assert!(says(&near, "t0", ".silent == null and .heard < 10"));
    far_end.kill();
    near.start("ping", "ping -6 -n -i 0.3 fe80::c000:202%t0");
    wait_until("the far end to be called silent", Duration::from_secs(60), || says(&near, "t0", ".silent >= 5"));
    let text = crate::common::isatap(&near, "status t0").text;
    assert!(text.contains("no answer for "), "{text}");
    let _far_end = Daemon::isatap(&far, "tunnel --dev t0 --local 192.0.2.2 --remote 192.0.2.1");
    wait_until("the far end to answer", PATIENCE, || says(&near, "t0", ".silent == null"));
}
