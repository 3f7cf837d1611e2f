//! Programs are where packets of a link may come by, and nowhere else.

use super::changes::goes_on;
use super::{INGRESS, LEFT, RIGHT, flow, programs};
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Daemon, Lab, Node, PATIENCE, peers, status, wait_until};

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_program_follows_the_address_of_its_link() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], _daemons) = flow(&lab, &wire, "require");
    wire.join_with_offloads(&left, "eth1", "203.0.113.1/24");
    assert_eq!(programs(&left, INGRESS), 1);
    left.ok(&format!("ip address del {LEFT}/24 dev eth0 && ip address add {LEFT}/24 dev eth1"));
    // The other end sends to the first device's link-layer address until it asks again.
    left.ok("ip link set eth0 down");
    right.ok("ip neighbour flush dev eth0");
    goes_on(&left);
    wait_until("the program to leave the first device", PATIENCE, || programs(&left, INGRESS) == 1);
    left.ok("ip link set eth0 up");
    goes_on(&left);
    assert_eq!(programs(&left, INGRESS), 1);
    left.stop("flow");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_program_goes_with_the_last_link_of_its_device() {
    let lab = Lab::new();
    let (one, other) = (lab.wire(), lab.wire());
    let [ours, peer] = ["ours", "peer"].map(|name| lab.namespace(name));
    for (namespace, last) in [(&ours, 1), (&peer, 2)] {
        one.join(namespace, "eth0", &format!("192.0.2.{last}/24"));
        other.join(namespace, "eth1", &format!("203.0.113.{last}/24"));
    }
    let table = |dev: &str, local: &str, remote: &str, address: &str| {
        format!("[[tunnel]]\ndev = \"{dev}\"\nlocal = \"{local}\"\nremote = \"{remote}\"\naddress = \"{address}/64\"\n")
    };
    let first = table("t0", &LEFT.to_string(), &RIGHT.to_string(), OURS);
    let second = table("t1", "203.0.113.1", "203.0.113.2", "2001:db8:78::1");
    let file = ours.file("links.toml", &[first.clone(), second].concat());
    let daemon = Daemon::isatap(&ours, &format!("run {file} --kernel-path require"));
    let ends = [
        table("t0", &RIGHT.to_string(), &LEFT.to_string(), THEIRS),
        table("t1", "203.0.113.2", "203.0.113.1", "2001:db8:78::2"),
    ];
    let file = peer.file("peer.toml", &ends.concat());
    let _peer = Daemon::isatap(&peer, &format!("run {file} --kernel-path require"));
    peers::ping(&ours, THEIRS);
    peers::ping(&ours, "2001:db8:78::2");
    // What the kernel carries up to its end keeps no program there.
    ours.start("flow", "ping -6 -n -q -i 0.01 2001:db8:78::2");
    wait_until("rows of the second link", PATIENCE, || status(&ours, "[., inputs] | any(.kernel_path.received > 0)"));
    assert_eq!(programs(&ours, INGRESS), 2);
    ours.file("links.toml", &first);
    daemon.signal("HUP");
    wait_until("the program to go", PATIENCE, || programs(&ours, INGRESS) == 1);
    peers::ping(&ours, THEIRS);
    assert_eq!(programs(&ours, INGRESS), 1);
    ours.stop("flow");
}
