//! The TUN device against the kernel.

use crate::netns::{Netns, wait_for};
use isatap_std::error::Class;
use isatap_std::netlink::{InterfaceAddress, Netlink, Preference, Route};
use isatap_std::tun::Tun;
use std::io::{BufRead, BufReader};
use std::net::Ipv6Addr;
use std::process::{Command, Stdio};
use std::time::Duration;

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_that_exists_is_never_taken_over() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let tun = Tun::create("isatap0").unwrap();
        let error = Tun::create("isatap0").unwrap_err();
        assert_eq!(error.class(), Class::Refused);
        let own = format!("process {} (", std::process::id());
        assert!(error.to_string().contains(&own), "{error}");
        drop(tun);
        // Gone with its owner: nothing persistent is left by a kill. (A child that
        // another test has just forked may hold a copy until it runs its program.)
        wait_for("end of the device", || Tun::create("isatap0").ok());

        n.ip("tuntap add dev stale mode tun");
        let error = Tun::create("stale").unwrap_err().to_string();
        assert!(error.contains("ip link delete stale"), "{error}");
        n.ip("link add wired type veth peer name deriw");
        let error = Tun::create("wired").unwrap_err().to_string();
        assert!(error.contains("another kind"), "{error}");
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_persistent_device_can_be_adopted() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let error = Tun::adopt("isatap9").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        n.ip("tuntap add dev isatap9 mode tun");
        let tun = Tun::adopt("isatap9").unwrap();
        assert!(tun.index().unwrap() > 1);
        let error = Tun::adopt("isatap9").unwrap_err().to_string();
        assert!(error.contains("holds it"), "{error}");
        drop(tun);
        n.ip("link show isatap9");
    });
}

/// Not a test: the process that the next one kills.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn victim() {
    if std::env::var_os("ISATAP_TEST_VICTIM").is_none() {
        return;
    }
    let tun = Tun::create("isatap0").unwrap();
    let netlink = Netlink::open().unwrap();
    let index = tun.index().unwrap();
    netlink.set_up(index, true).unwrap();
    let address =
        InterfaceAddress { address: "2001:db8::1".parse().unwrap(), prefix_len: 64, preferred: None, valid: None };
    netlink.replace_address(index, &address).unwrap();
    let route = Route {
        destination: Ipv6Addr::UNSPECIFIED,
        prefix_len: 0,
        next_hop: Some("fe80::1".parse().unwrap()),
        metric: 0,
        preference: Preference::Medium,
        lifetime: None,
    };
    netlink.add_route(index, &route).unwrap();
    println!("\nup");
    std::thread::sleep(Duration::from_secs(60));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_killed_process_leaves_nothing_behind() {
    let netns = Netns::new();
    let n = &netns;
    let start = || {
        let mut victim = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "tun::victim", "--nocapture"])
            .env("ISATAP_TEST_VICTIM", "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
        assert!(lines.map_while(Result::ok).any(|line| line == "up"), "the victim did not come up");
        victim
    };
    // Others of the same name in other namespaces are not to be blamed: one before, one after.
    let elsewhere = Netns::new();
    let mut neighbors = vec![elsewhere.run(start)];
    n.run(|| {
        let mut victim = start();
        let other = Netns::new();
        neighbors.push(other.run(start));
        assert!(n.ip("-6 route show default").contains("isatap0"));
        let error = Tun::create("isatap0").unwrap_err().to_string();
        assert!(error.contains(&format!("process {} (", victim.id())), "{error}");
        victim.kill().unwrap();
        victim.wait().unwrap();
        for neighbor in &mut neighbors {
            neighbor.kill().unwrap();
            neighbor.wait().unwrap();
        }
        wait_for("end of the device", || n.ip("link show").lines().all(|line| !line.contains("isatap0")).then_some(()));
        assert_eq!(n.ip("-6 route show default"), "");
        assert!(!n.ip("-6 address show").contains("2001:db8::1"));
        Tun::create("isatap0").unwrap();
    });
}
