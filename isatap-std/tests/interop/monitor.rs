//! `isatap monitor` and what daemons tell it.

use std::fs;

use serde_json::Value;

use crate::common::peers::{self, Advertisement, PREFIX, isatap_address};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, wait_for, wait_until};

const OTHER_PREFIX: &str = "2001:db8:0:9::";

/// `isatap monitor -j`, whose lines are JSON.
struct Monitor(Daemon);

impl Monitor {
    fn start(namespace: &Namespace, arguments: &[&str]) -> Self {
        let command = format!("exec {} monitor -j {} 2>/dev/null", isatap_binary(), arguments.join(" "));
        Self(Daemon::start(namespace, &format!("monitor{}", arguments.concat()), "bash", &["-c", &command]))
    }

    fn events(&self) -> Vec<Value> {
        let output = self.0.output();
        let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
        whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The place of the first event from `from` on that is as wanted.
    #[track_caller]
    fn wait(&self, from: usize, what: &str, is_it: impl Fn(&Value) -> bool) -> usize {
        wait_for(what, PATIENCE, || self.events().iter().skip(from).position(&is_it).map(|at| from + at))
    }

    #[track_caller]
    fn wait_named(&self, from: usize, dev: &str, event: &str) -> usize {
        self.wait(from, &format!("{event} of {dev}"), |told| told["dev"] == dev && told["event"] == event)
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_a_kernel_router_changes_is_told_as_it_happens() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let host = lab.namespace("host");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    let router = lab.guest("router", &[&intranet]);
    peers::ipv4(&router, "10.0.0.1/24");
    // It is there before any daemon, and before the folder.
    let monitor = Monitor::start(&host, &[]);
    let daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1 --user nobody");
    let status = monitor.wait_named(0, "isatap0", "status");
    assert_eq!(monitor.events()[status]["status"]["role"], "isatap-host");
    peers::kernel_router(&router, "10.0.0.1", &Advertisement::default());
    wait_until("an answer", PATIENCE, || {
        isatap(&host, "solicit isatap0");
        monitor.events().iter().any(|told| told["event"] == "router-found")
    });
    let address = |prefix: &str| isatap_address(prefix, "10.0.0.2").to_string();
    let added = |prefix: &'static str| {
        move |told: &Value| {
            told["event"] == "address-added" && told["address"] == isatap_address(prefix, "10.0.0.2").to_string()
        }
    };
    let first = monitor.wait(status, "the address", added(PREFIX));
    monitor.wait(status, "the default route", |told| {
        told["event"] == "route-added" && told["prefix"] == "::/0" && told["via"] == "fe80::5efe:a00:1"
    });
    // The kernel agrees with the times, and with the address.
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    let event = monitor.events()[first].clone();
    assert!(event["valid"].as_u64().is_some_and(|valid| (3590..=3600).contains(&valid)), "{event}");
    let now: f64 = host.ok("date +%s.%N").trim().parse().unwrap();
    let at: f64 = event["time"].as_str().unwrap().parse().unwrap();
    assert!((0.0..60.0).contains(&(now - at)), "{event}");

    // Renumbered: the old prefix lapses, the new one comes.
    let (lapsing, new) = (Advertisement { valid: 0, preferred: 0, ..Advertisement::default() }, monitor.events().len());
    peers::advertise_otherwise(&router, &lapsing);
    isatap(&host, "solicit isatap0");
    peers::advertise_otherwise(&router, &Advertisement { prefix: OTHER_PREFIX, ..Advertisement::default() });
    wait_until("the new address", PATIENCE, || {
        isatap(&host, "solicit isatap0");
        monitor.events().iter().skip(new).any(added(OTHER_PREFIX))
    });

    // A second one is told how things are; its text is for people, and it sees the same end.
    let text = Daemon::start(&host, "text", isatap_binary(), &["monitor", "isatap0"]);
    let mut text = text;
    let line = text.wait_for_line(" isatap0: isatap-host up mtu ", PATIENCE);
    assert!(line.contains(&address(OTHER_PREFIX)), "{line}");

    // One that is stopped stops nobody.
    monitor.0.signal("STOP");
    let other = isatap_address(OTHER_PREFIX, "10.0.0.1").to_string();
    router.ok(&format!("ip address replace {other}/64 dev is0"));
    peers::ping(&host, &other);
    monitor.0.signal("CONT");

    let before = monitor.events().len();
    daemon.kill();
    monitor.wait_named(before, "isatap0", "ended");
    text.wait_for_line("isatap0: ended", PATIENCE);
    let daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    let again = monitor.wait_named(before + 1, "isatap0", "status");
    assert!(daemon.terminate(PATIENCE).success());
    monitor.wait_named(again, "isatap0", "ended");
    let ends = monitor.events().iter().filter(|told| told["event"] == "ended").count();
    assert_eq!(ends, 2, "each end is told once");
    text.signal("INT");
    assert!(text.terminate(PATIENCE).success());
    assert!(monitor.0.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn links_of_a_file_are_watched_through_reloads() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "192.0.2.1/24");
    let tunnel = |dev: &str, remote: u8, address: &str| {
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.{remote}\"\naddress = \"{address}\"\n"
        )
    };
    let file = node.file("node.toml", &(tunnel("t0", 2, "2001:db8:a::1/64") + &tunnel("t1", 3, "2001:db8:b::1/64")));
    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file, "--verbose"]);
    daemon.wait_for_line("t1 up", PATIENCE);
    let (all, one) = (Monitor::start(&node, &[]), Monitor::start(&node, &["t1"]));
    for dev in ["t0", "t1"] {
        all.wait_named(0, dev, "status");
    }
    one.wait_named(0, "t1", "status");
    fs::write(&file, tunnel("t0", 2, "2001:db8:a::1/64") + &tunnel("t2", 4, "2001:db8:c::1/64")).unwrap();
    daemon.signal("HUP");
    all.wait_named(0, "t1", "ended");
    all.wait_named(0, "t2", "status");
    all.wait_named(0, "t0", "reloaded");
    one.wait_named(0, "t1", "ended");
    // What another program does: the device is made again, and told by its own events.
    let before = all.events().len();
    node.ok("ip link delete t2");
    all.wait_named(before, "t2", "ended");
    let again = all.wait(before, "t2 again", |told| {
        told["dev"] == "t2" && (told["event"] == "up" || told["status"]["up"] == true)
    });
    // An address that is taken is put back, which is a warning about this device alone.
    node.ok("ip address delete 2001:db8:c::1/64 dev t2");
    all.wait(again, "the warning", |told| {
        told["dev"] == "t2" && told["event"] == "warning" && told["text"].as_str().unwrap().contains("they are back")
    });
    assert!(daemon.terminate(PATIENCE).success());
    for dev in ["t0", "t2"] {
        all.wait_named(again, dev, "ended");
    }
    assert!(one.events().iter().all(|told| told["dev"] == "t1"), "{:?}", one.events());
}
