//! Our host with the Linux kernel as its ISATAP router (in a guest) and radvd.

use std::time::Duration;

use crate::common::peers::{self, Advertisement, PREFIX, isatap_address, link_local};
use crate::common::{Daemon, Guest, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, status, wait_until};

/// Lifetimes in these tests are seconds, and so is the least time between two rounds of solicitation.
const IMPATIENT: &str = "--min-router-solicit-interval 3";

/// The kernel as router at 10.0.0.1, and a namespace at 10.0.0.2 for our host.
fn site(lab: &Lab, advertisement: &Advertisement) -> (Guest, Namespace) {
    let intranet = lab.wire();
    (router(lab, &intranet, "router", "10.0.0.1", advertisement), host(lab, &intranet))
}

fn router(lab: &Lab, intranet: &Wire<'_>, name: &str, address: &str, advertisement: &Advertisement) -> Guest {
    let router = lab.guest(name, &[intranet]);
    peers::ipv4(&router, &format!("{address}/24"));
    peers::kernel_router(&router, address, advertisement);
    router
}

fn host(lab: &Lab, intranet: &Wire<'_>) -> Namespace {
    let host = lab.namespace("host");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    host
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn everything_that_a_router_advertises_is_used() {
    let lab = Lab::new();
    let advertisement =
        Advertisement { mtu: Some(1400), routes: &["fd9c:30c:2da4:1000::/64"], ..Advertisement::default() };
    let (router, host) = site(&lab, &advertisement);
    let daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");

    let address = isatap_address(PREFIX, "10.0.0.2");
    peers::wait_for_address(&host, "isatap0", link_local("10.0.0.2"));
    peers::wait_for_address(&host, "isatap0", address);
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
    peers::wait_for_route(&host, "fd9c:30c:2da4:1000::/64 via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
    wait_until("the advertised MTU", PATIENCE, || host.ok("ip link show dev isatap0").contains("mtu 1400"));

    let router_address = isatap_address(PREFIX, "10.0.0.1");
    peers::ping(&host, "fe80::5efe:a00:1%isatap0");
    peers::ping_sizes(&host, &router_address.to_string(), 1400);
    peers::ping_sizes(&router, &address.to_string(), 1400);
    peers::http(&host, &router, router_address);
    peers::http(&router, &host, address);
    let rates = peers::iperf3(&host, &router, router_address);
    assert!(rates.iter().all(|&rate| rate > 1e7), "{rates:?}");

    assert!(status(&host, &format!(".dev == \"isatap0\" and (.addresses | tostring | contains(\"{address}\"))")));
    assert!(status(&host, ".prl | tostring | contains(\"10.0.0.1\")"));
    // On a busy machine what it asks for may come too late for it, once.
    wait_until("a doctor with nothing to say", PATIENCE, || isatap(&host, "doctor").success());

    assert!(daemon.terminate(PATIENCE).success());
    assert!(!host.succeeds("ip link show dev isatap0"), "the device outlived its daemon");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_35_an_address_with_a_short_lifetime_is_renewed() {
    let lab = Lab::new();
    let short = Advertisement { router_lifetime: 12, valid: 12, preferred: 12, ..Advertisement::default() };
    let (_router, host) = site(&lab, &short);
    let _daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 --router 10.0.0.1 {IMPATIENT}"));
    let router_address = isatap_address(PREFIX, "10.0.0.1").to_string();
    peers::ping(&host, &router_address);

    // Longer than two lifetimes; not once may address or route be away.
    for second in 0..26 {
        let addresses = host.ok("ip -6 address show dev isatap0 scope global -deprecated");
        assert!(addresses.contains("2001:db8:0:7:0:5efe:a00:2"), "gone after {second} s");
        assert!(host.ok("ip -6 route show").contains("default via fe80::5efe:a00:1"), "no route after {second} s");
        std::thread::sleep(Duration::from_secs(1));
    }
    peers::ping(&host, &router_address);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_router_that_goes_is_forgotten_and_found_again() {
    let lab = Lab::new();
    let short = Advertisement { router_lifetime: 8, valid: 8, preferred: 8, ..Advertisement::default() };
    let (router, host) = site(&lab, &short);
    let _daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 --router 10.0.0.1 {IMPATIENT}"));
    let default = "default via fe80::5efe:a00:1 dev isatap0";
    peers::wait_for_route(&host, default, true, PATIENCE);

    // Killed, so that it cannot say goodbye.
    router.signal("radvd", "KILL");
    peers::wait_for_route(&host, default, false, Duration::from_secs(30));
    wait_until("the address to go", PATIENCE, || {
        !host.ok("ip -6 address show dev isatap0").contains("2001:db8:0:7:0:5efe:a00:2")
    });

    // The solicitations have become rarer meanwhile (4 s, 8 s).
    peers::advertise(&router, &short);
    peers::wait_for_route(&host, default, true, Duration::from_secs(90));
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
}

/// radvd says what it has to say only when it is asked, and nobody tells the host that it would
/// say something else now.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_34_a_way_on_is_asked_for_and_asked_for_at_once_on_demand() {
    let lab = Lab::new();
    let none = Advertisement { router_lifetime: 0, ..Advertisement::default() };
    let (router, host) = site(&lab, &none);
    let mut daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    peers::wait_for_address(&host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    let default = "default via fe80::5efe:a00:1 dev isatap0";
    peers::wait_for_route(&host, default, false, PATIENCE);
    assert!(status(&host, ".prl[0] | .alive and .next_solicitation < 20"));
    let advertise = |advertisement: &Advertisement| peers::advertise_otherwise(&router, advertisement);
    // 4, 8, 16 s after one another.
    advertise(&Advertisement::default());
    peers::wait_for_route(&host, default, true, PATIENCE);
    // Content, it would ask in minutes.
    assert!(status(&host, ".prl[0].next_solicitation > 60"));
    advertise(&none);
    daemon.signal("HUP");
    daemon.wait_for_line("isatap0 asks now: 10.0.0.1", PATIENCE);
    peers::wait_for_route(&host, default, false, PATIENCE);
    advertise(&Advertisement::default());
    let asked = isatap(&host, "solicit isatap0");
    assert_eq!((asked.status, asked.text.as_str()), (0, "isatap0 asks 10.0.0.1\n"));
    peers::wait_for_route(&host, default, true, Duration::from_secs(10));
}

/// What `ip tunnel prl prl-nodefault` is to the kernel.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_45_a_router_that_is_never_default_gives_prefixes_and_routes_alone() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let other = Advertisement {
        prefix: "2001:db8:0:9::",
        routes: &["2001:db8:e::/48"],
        mtu: Some(1400),
        ..Advertisement::default()
    };
    let _first = router(&lab, &intranet, "first", "10.0.0.1", &Advertisement::default());
    let _second = router(&lab, &intranet, "second", "10.0.0.4", &other);
    let host = host(&lab, &intranet);
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1 --router-nodefault 10.0.0.4");
    peers::wait_for_address(&host, "isatap0", isatap_address("2001:db8:0:9::", "10.0.0.2"));
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);
    peers::wait_for_route(&host, "2001:db8:e::/48 via fe80::5efe:a00:4 dev isatap0", true, PATIENCE);
    let (routes, link) = (host.ok("ip -6 route show default"), host.ok("ip link show dev isatap0"));
    assert!(!routes.contains("fe80::5efe:a00:4") && link.contains("mtu 1480"), "{routes}{link}");
    peers::ping(&host, &isatap_address("2001:db8:0:9::", "10.0.0.4").to_string());
    let told = r#"[.prl[] | {address, default, alive}] == [{"address":"10.0.0.1","default":true,"alive":true},
        {"address":"10.0.0.4","default":false,"alive":true}]"#;
    assert!(status(&host, told), "{}", isatap(&host, "status -j").text);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_22_isa_23_the_router_list_follows_the_name() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let _old = router(&lab, &intranet, "old", "10.0.0.1", &Advertisement::default());
    let other = Advertisement { prefix: "2001:db8:0:9::", ..Advertisement::default() };
    let _new = router(&lab, &intranet, "new", "10.0.0.4", &other);
    let host = host(&lab, &intranet);
    let dns = lab.namespace("dns");
    intranet.join(&dns, "eth0", "10.0.0.53/24");

    let names = dns.file("names", "10.0.0.1 isatap.example.test\n");
    dns.start(
        "dnsmasq",
        &format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
             --addn-hosts={names} --local=/example.test/ --local-ttl=3 --log-queries --log-facility=-"
        ),
    );
    host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch example.test\n");
    host.etc("hosts", "127.0.0.1 localhost\n");
    let _daemon = Daemon::isatap(&host, &format!("host --local 10.0.0.2 {IMPATIENT}"));
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev isatap0", true, PATIENCE);

    dns.file("names", "10.0.0.4 isatap.example.test\n");
    dns.signal("dnsmasq", "HUP");
    peers::wait_for_route(&host, "default via fe80::5efe:a00:4 dev isatap0", true, PATIENCE);
    peers::wait_for_route(&host, "default via fe80::5efe:a00:1 dev isatap0", false, PATIENCE);
    peers::wait_for_address(&host, "isatap0", isatap_address("2001:db8:0:9::", "10.0.0.2"));
    peers::ping(&host, &isatap_address("2001:db8:0:9::", "10.0.0.4").to_string());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_11_isa_14_a_new_ipv4_address_brings_new_ipv6_addresses() {
    let lab = Lab::new();
    let (router, host) = site(&lab, &Advertisement::default());
    // Neither --local nor --via: the address is the one that leads to the router.
    let _daemon = Daemon::isatap(&host, &format!("host --router 10.0.0.1 {IMPATIENT}"));
    let [before, after] = ["10.0.0.2", "10.0.0.3"].map(|address| isatap_address(PREFIX, address));
    peers::wait_for_address(&host, "isatap0", before);

    host.ok("ip address add 10.0.0.3/24 dev eth0 && ip address delete 10.0.0.2/24 dev eth0");
    // The kernel takes the whole subnet away with its first address.
    host.ok("ip address replace 10.0.0.3/24 dev eth0");
    peers::wait_for_address(&host, "isatap0", after);
    peers::wait_for_address(&host, "isatap0", link_local("10.0.0.3"));
    wait_until("the old addresses to go", PATIENCE, || !host.ok("ip -6 address show dev isatap0").contains("a00:2/"));
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    peers::ping(&router, &after.to_string());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_42_a_forged_inner_source_is_dropped_and_counted() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let _router = router(&lab, &intranet, "router", "10.0.0.1", &Advertisement::default());
    let host = host(&lab, &intranet);
    let forger = lab.guest("forger", &[&intranet]);
    peers::ipv4(&forger, "10.0.0.9/24");
    let _daemon = Daemon::isatap(&host, "host --local 10.0.0.2 --router 10.0.0.1");
    let address = isatap_address(PREFIX, "10.0.0.2");
    peers::wait_for_address(&host, "isatap0", address);

    // What is true is taken first: otherwise a packet that never came would pass for one that was dropped.
    peers::point_to_point(&forger, "10.0.0.9", "10.0.0.2", isatap_address(PREFIX, "10.0.0.9"));
    peers::ping(&forger, &address.to_string());
    assert!(status(&host, ".counters[\"isatap-source-mismatch\"] // 0 | . == 0"));

    let forged = isatap_address(PREFIX, "10.0.0.99");
    forger.ok(&format!("ip address add {forged}/64 dev p2p"));
    let output = forger.run(&format!("ping -6 -n -c 3 -i 0.2 -W 1 -I {forged} {address}"));
    assert!(!output.success(), "{output:?}");
    assert!(status(&host, ".counters[\"isatap-source-mismatch\"] >= 3"), "{}", isatap(&host, "status -j").text);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_start_after_a_kill_is_like_the_first() {
    let lab = Lab::new();
    let (_router, host) = site(&lab, &Advertisement::default());
    let command = "host --local 10.0.0.2 --router 10.0.0.1";
    let address = isatap_address(PREFIX, "10.0.0.2");
    for _ in 0..2 {
        let daemon = Daemon::isatap(&host, command);
        peers::wait_for_address(&host, "isatap0", address);
        daemon.kill();
        wait_until("the device to go with its process", PATIENCE, || !host.succeeds("ip link show dev isatap0"));
    }
    let daemon = Daemon::isatap(&host, command);
    peers::wait_for_address(&host, "isatap0", address);
    peers::ping(&host, &isatap_address(PREFIX, "10.0.0.1").to_string());
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_device_without_a_locator_is_told_of() {
    let lab = Lab::new();
    let host = lab.namespace("host");
    let refused = isatap(&host, "host --via lo --router 10.0.0.1");
    assert_eq!(refused.status, 1, "{refused:?}");
    assert!(refused.text.contains("it is the loopback device"), "{refused:?}");
    // One that may still get its address is waited for, and that is said.
    host.ok("ip link add eth9 type bridge && ip link set eth9 up");
    let waiting = Daemon::start(&host, "waiting", isatap_binary(), &["host", "--via", "eth9", "--router", "10.0.0.1"]);
    wait_until("what the host waits for", PATIENCE, || waiting.output().contains("waits for an IPv4 address on eth9"));
    host.ok("ip address add 10.0.0.2/24 dev eth9");
    peers::wait_for_address(&host, "isatap0", link_local("10.0.0.2"));
    // An address of the site on loopback is as good as any.
    host.ok("ip address add 10.9.9.9/32 dev lo");
    let _loopback = Daemon::isatap(&host, "host --via lo --router 10.0.0.1 --dev isatap1");
    peers::wait_for_address(&host, "isatap1", link_local("10.9.9.9"));
}
