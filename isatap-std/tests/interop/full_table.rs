//! A router with as many routes on its device as the Internet has.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::common::{Capture, Daemon, Lab, Namespace, Node, PATIENCE, status, wait_until};

const ROUTES: u32 = 200_000;
/// A table is listed, sorted and put in place within this, while a debug build and others keep the machine busy.
const LISTED: Duration = Duration::from_secs(60);

/// The prefix of a number: /48s, every fifth a /40.
fn prefix(number: u32) -> String {
    let (high, low) = (0x2400 + (number >> 16), number & 0xffff);
    if number.is_multiple_of(5) {
        format!("{high:x}:{low:x}::/40")
    } else {
        format!("{high:x}:{low:x}:{:x}::/48", number % 7)
    }
}

fn next_hop(number: u32) -> &'static str {
    if number.is_multiple_of(2) { "10.0.0.2" } else { "10.0.0.3" }
}

/// A packet to an address in the prefix leaves for this IPv4 address.
#[track_caller]
fn goes_to(ours: &Namespace, capture: &Capture, number: u32, expected: &str) {
    let (high, low) = (0x2400 + (number >> 16), number & 0xffff);
    let to = format!("{high:x}:{low:x}:{:x}::{:x}", if number.is_multiple_of(5) { 0 } else { number % 7 }, low | 1);
    wait_until(&format!("a packet to {to} by {expected}"), LISTED, || {
        ours.succeeds(&format!("ping -q -c 1 -W 1 {to} >/dev/null; true"));
        let sent = capture.so_far().fields(&format!("ipv6.dst == {to}"), &["ip.dst"]);
        sent.last().is_some_and(|last| last.first().is_some_and(|ip| ip == expected))
    });
}

fn resident(daemon: &Daemon) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.id())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_router_follows_200_000_routes_of_other_programs() {
    let lab = Lab::new();
    let wire = lab.wire();
    let far = lab.namespace("far");
    wire.join(&far, "eth0", "10.0.0.2/24");
    far.ok("ip address add 10.0.0.3/24 dev eth0");
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "10.0.0.1/24");
    let daemon =
        Daemon::isatap(&ours, "router --local 10.0.0.1 --prefix 2001:db8:7::/64 --check-neighbors off --full-table");
    let device = "isatap0";
    assert!(status(&ours, ".full_table.routes == 0"));
    let before = resident(&daemon);

    let mut batch = String::new();
    for number in 0..ROUTES {
        writeln!(batch, "route add {} via fe80::5efe:{} dev {device}", prefix(number), next_hop(number)).unwrap();
    }
    let file = ours.file("routes", &batch);
    let began = Instant::now();
    ours.ok(&format!("ip -6 -batch {file}"));
    let installed = began.elapsed();
    wait_until("all routes", LISTED, || status(&ours, &format!(".full_table.routes == {ROUTES}")));
    let known = began.elapsed();
    assert!(status(&ours, &format!(".full_table.bytes < {}", 20 * ROUTES)));
    println!(
        "{ROUTES} routes: the kernel had them after {installed:?}, the daemon {:?} later; {} KiB more in memory",
        known - installed,
        resident(&daemon).saturating_sub(before)
    );

    let capture = ours.capture("eth0", "ip proto 41");
    for number in [0, 1, 2, 77_777, 123_456, ROUTES - 1] {
        goes_to(&ours, &capture, number, next_hop(number));
    }
    // One that changes, and one that goes: what lies around it leads on.
    ours.ok(&format!("ip -6 route replace {} via fe80::5efe:10.0.0.3 dev {device}", prefix(123_456)));
    goes_to(&ours, &capture, 123_456, "10.0.0.3");
    ours.ok(&format!("ip -6 route add 2400::/16 via fe80::5efe:10.0.0.3 dev {device}"));
    ours.ok(&format!("ip -6 route delete {}", prefix(2)));
    goes_to(&ours, &capture, 2, "10.0.0.3");
    assert!(status(&ours, &format!(".full_table.routes == {ROUTES}")));
    assert!(daemon.terminate(PATIENCE).success());
}
