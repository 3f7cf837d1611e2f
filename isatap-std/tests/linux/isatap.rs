//! An ISATAP host and router of the library in namespaces, and what other programs do to their
//! devices.

use crate::netns::{Netns, wait_for};
use isatap_core::isatap::OfferDefault;
use isatap_std::Error;
use isatap_std::run::Run;
use isatap_std::runtime_dir::RuntimeDir;
use isatap_std::service::status::Status;
use isatap_std::spec::{IsatapHost, IsatapRouter, LinkSpec};
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const HOST4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const GLOBAL: &str = "2001:db8:0:7:0:5efe:a00:2";

/// A host or router that turns in a thread of its own until it is dropped.
struct Turning {
    stop: Arc<AtomicBool>,
    status: Arc<Mutex<Option<Status>>>,
    thread: Option<JoinHandle<Result<(), isatap_std::Error>>>,
}

macro_rules! turning {
    ($netns:expr, $open:expr) => {{
        let (stop, status) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(None)));
        let thread = $netns.run(|| {
            let mut link = $open.unwrap();
            let (stop, status) = (stop.clone(), status.clone());
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    link.turn(Some(Duration::from_millis(20)))?;
                    *status.lock().unwrap() = link.statuses().next();
                }
                Ok(())
            })
        });
        Turning { stop, status, thread: Some(thread) }
    }};
}

impl Turning {
    fn status(&self) -> Option<Status> {
        self.status.lock().unwrap().clone()
    }
}

impl Drop for Turning {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn host(local: Ipv4Addr) -> IsatapHost {
    let mut host = IsatapHost::new();
    (host.local, host.router) = (vec![local], vec!["10.0.0.1".parse().unwrap()]);
    host
}

fn open(link: impl Into<LinkSpec>) -> Result<Run, Error> {
    Run::open(&[link.into()], |_| ())
}

/// A site of one router and one host, which has its global address.
fn site() -> (Netns, Netns, Turning, Turning) {
    let (router_ns, host_ns) = (Netns::new(), Netns::new());
    router_ns.connect("va", "10.0.0.1/24", &host_ns, "vb", "10.0.0.2/24");
    router_ns.sysctl("net.ipv6.conf.all.forwarding", "1");
    let mut router = IsatapRouter::new(vec![ROUTER4], vec!["2001:db8:0:7::/64".parse().unwrap()]);
    router.default = OfferDefault::Always;
    let router = turning!(router_ns, open(router));
    let host = turning!(host_ns, open(host(HOST4)));
    wait_for("global address and default route", || is_configured(&host_ns).then_some(()));
    (router_ns, host_ns, router, host)
}

fn is_configured(netns: &Netns) -> bool {
    let addresses = netns.ip("-6 address show dev isatap0");
    let routes = netns.ip("-6 route show dev isatap0");
    addresses.contains(GLOBAL)
        && addresses.contains("fe80::5efe:a00:2")
        && routes.contains("default via fe80::5efe:a00:1")
        && routes.contains("2001:db8:0:7::/64")
        && routes.contains("fe80::/64")
}

fn pings(netns: &Netns) {
    wait_for("answer to a ping", || {
        let ping =
            || std::process::Command::new("ping").args(["-6", "-c1", "-W1", "2001:db8:0:7:0:5efe:a00:1"]).output();
        netns.run(|| ping().unwrap().status.success()).then_some(())
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_that_was_down_gets_everything_back() {
    let (_router_ns, host_ns, _router, _host) = site();
    pings(&host_ns);
    host_ns.ip("link set isatap0 down");
    assert!(!is_configured(&host_ns), "the kernel was to take them away");
    host_ns.ip("link set isatap0 up");
    wait_for("everything again", || is_configured(&host_ns).then_some(()));
    pings(&host_ns);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_that_is_deleted_is_made_again() {
    let (_router_ns, host_ns, _router, _host) = site();
    pings(&host_ns);
    host_ns.ip("link delete isatap0");
    let is_there = || host_ns.ip("-o link").contains(" isatap0:");
    wait_for("the device", || is_there().then_some(()));
    wait_for("everything again", || is_configured(&host_ns).then_some(()));
    pings(&host_ns);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn routes_of_other_hands_are_used_and_forgotten() {
    let (_router_ns, host_ns, _router, host) = site();
    let mirrored = || {
        let status = host.status()?;
        Some(
            status
                .routes
                .iter()
                .filter(|route| route.origin == "mirrored")
                .map(|r| r.prefix.clone())
                .collect::<Vec<_>>(),
        )
    };
    host_ns.ip("-6 route add 2001:db8:99::/48 via fe80::5efe:a00:9 dev isatap0");
    wait_for("the route", || mirrored().filter(|found| found == &["2001:db8:99::/48"]));
    host_ns.ip("-6 route delete 2001:db8:99::/48 via fe80::5efe:a00:9 dev isatap0");
    wait_for("its end", || mirrored().filter(Vec::is_empty));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_11_a_host_whose_only_address_goes_sends_nothing_until_it_is_back() {
    let (_router_ns, host_ns, _router, host) = site();
    host_ns.ip("address delete 10.0.0.2/24 dev vb");
    wait_for("no address", || host.status().filter(|status| status.locators.is_empty() && status.addresses.is_empty()));
    assert!(!host_ns.ip("-6 address show dev isatap0").contains("inet6"));
    host_ns.ip("address add 10.0.0.2/24 dev vb");
    wait_for("everything again", || is_configured(&host_ns).then_some(()));
    pings(&host_ns);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ndp_67_a_router_whose_kernel_does_not_forward_is_no_default_router() {
    let (router_ns, host_ns, router, _host) = site();
    assert!(router.status().unwrap().forwarding);
    router_ns.sysctl("net.ipv6.conf.all.forwarding", "0");
    let seen = std::time::Instant::now();
    while router.status().unwrap().forwarding {
        assert!(seen.elapsed() < Duration::from_secs(15), "the switch is not noticed");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(!router.status().unwrap().advertises.unwrap().default_route);
    // Who asks now learns the prefix alone.
    let other = Netns::new();
    router_ns.connect("vc", "10.0.1.1/24", &other, "vd", "10.0.1.2/24");
    other.ip("route add 10.0.0.0/24 via 10.0.1.1");
    router_ns.sysctl("net.ipv4.ip_forward", "1");
    let _second = turning!(other, open(host(Ipv4Addr::new(10, 0, 1, 2))));
    wait_for("the prefix", || {
        other.ip("-6 address show dev isatap0").contains("2001:db8:0:7:0:5efe:a00:102").then_some(())
    });
    assert!(!other.ip("-6 route show").contains("default"));
    // Whom it has served hears of it too, and keeps its addresses.
    wait_for("the end of the default route", || {
        (!host_ns.ip("-6 route show dev isatap0").contains("default")).then_some(())
    });
    assert!(host_ns.ip("-6 address show dev isatap0").contains(GLOBAL));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_second_daemon_is_refused_and_the_first_goes_on() {
    let (_router_ns, host_ns, _router, _host) = site();
    let again = |runtime: Option<&RuntimeDir>| {
        let link = LinkSpec::from(host(HOST4));
        host_ns.run(|| Run::open_with(&[link], &[], runtime, |_| ()).map(drop).unwrap_err().to_string())
    };
    let error = again(None);
    let own = format!("process {} (", std::process::id());
    assert!(error.contains("create the TUN device isatap0") && error.contains(&own), "{error}");

    // With a folder, its lock says so before anything is made.
    let folder = std::env::temp_dir().join(format!("isatap-second-{}", std::process::id()));
    let runtime = RuntimeDir::at(&folder);
    let claim = runtime.claim("isatap0").unwrap();
    let error = again(Some(&runtime));
    assert!(error.contains("already runs isatap0"), "{error}");
    drop(claim);
    std::fs::remove_dir_all(folder).unwrap();
    pings(&host_ns);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn options_that_make_no_sense_here_are_usage_errors() {
    let netns = Netns::new();
    let usage = |error: isatap_std::Error| {
        assert_eq!(error.class(), isatap_std::error::Class::Usage, "{error}");
        error.to_string()
    };
    netns.run(|| {
        let mut by_device = IsatapHost::new();
        by_device.via = Some("lo".into());
        let error = usage(open(by_device).unwrap_err());
        assert!(error.starts_with("cannot send from the addresses of lo: it is the loopback device"), "{error}");
        let mut of_loopback = IsatapHost::new();
        of_loopback.router = vec!["127.0.0.1".parse().unwrap()];
        usage(open(of_loopback).unwrap_err());
        usage(open(IsatapRouter::new(vec![ROUTER4], Vec::new())).unwrap_err());
        let mut router = IsatapRouter::new(vec![ROUTER4], vec!["2001:db8:0:7::/64".parse().unwrap()]);
        router.mtu = Some(1000);
        usage(open(router).unwrap_err());
    });
    assert!(!netns.ip("link").contains("isatap0"), "something was made all the same");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_another_hand_takes_from_the_device_is_put_back() {
    let (_router_ns, host_ns, _router, _host) = site();
    for theft in [
        &format!("-6 address delete {GLOBAL}/64 dev isatap0"),
        "-6 route delete default dev isatap0",
        "-6 route flush dev isatap0",
        "-6 address flush dev isatap0",
    ] {
        host_ns.ip(theft);
        wait_for("what was taken", || is_configured(&host_ns).then_some(()));
        pings(&host_ns);
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ndp_67_a_router_whose_device_gets_another_name_stays_a_default_router() {
    let (router_ns, _host_ns, router, _host) = site();
    router_ns.ip("link set isatap0 down");
    router_ns.ip("link set isatap0 name tunnel9");
    router_ns.ip("link set tunnel9 up");
    wait_for("the new name", || router.status().filter(|status| status.dev == "tunnel9" && status.up));
    // Longer than from one look at the switches of the kernel to the next.
    std::thread::sleep(Duration::from_millis(5_500));
    assert!(router.status().unwrap().forwarding);
}
