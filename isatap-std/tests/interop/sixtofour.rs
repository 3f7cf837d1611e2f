//! 6to4 of ours with the Linux kernel as 6to4 router and as relay (in guests).

use std::net::Ipv6Addr;

use crate::common::{Daemon, Guest, Lab, Node, PATIENCE, Wire, isatap, peers, status, wait_until};

const OUR_SITE: &str = "2002:c000:201";

/// The kernel's 6to4 device at 198.51.100.2: 2002:c633:6402::/48.
fn kernel(lab: &Lab, wire: &Wire<'_>) -> Guest {
    let kernel = lab.guest("kernel", &[wire]);
    peers::ipv4(&kernel, "198.51.100.2/24");
    kernel.ok("ip tunnel add sixtofour mode sit local 198.51.100.2 ttl 64 && ip link set sixtofour up && \
         ip address add 2002:c633:6402::1/16 dev sixtofour && sysctl -qw net.ipv6.conf.all.forwarding=1");
    kernel
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_10_s64_33_a_host_router_reaches_a_kernel_site_and_the_internet_by_a_kernel_relay() {
    let lab = Lab::new();
    let wire = lab.wire();
    let capture = wire.capture("ip proto 41");
    let kernel = kernel(&lab, &wire);
    // What is native behind the relay.
    kernel.ok("ip -6 address add 2001:db8:99::1/128 dev lo");
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", "198.51.100.1/24");
    let dns = lab.namespace("dns");
    wire.join(&dns, "eth0", "198.51.100.53/24");
    let names = dns.file("names", "198.51.100.2 relay.example.test\n");
    dns.start(
        "dnsmasq",
        &format!(
            "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
             --addn-hosts={names} --local=/example.test/ --log-facility=-"
        ),
    );
    wait_until("the name server", PATIENCE, || dns.succeeds("ss -lun | grep -q :53"));
    ours.etc("resolv.conf", "nameserver 198.51.100.53\nsearch example.test\n");
    ours.etc("hosts", "127.0.0.1 localhost\n");
    let daemon = Daemon::isatap(&ours, "6to4 --local 198.51.100.1 --relay relay --probe-relay --accept-bogons");
    let own: Ipv6Addr = "2002:c633:6401::c633:6401".parse().unwrap();
    peers::wait_for_address(&ours, "tun6to4", own);
    peers::ping_sizes(&ours, "2002:c633:6402::1", 1480);
    peers::ping_sizes(&kernel, &own.to_string(), 1480);
    peers::http(&ours, &kernel, "2002:c633:6402::1".parse().unwrap());
    peers::http(&kernel, &ours, own);
    peers::ping(&ours, "2001:db8:99::1");
    assert!(status(&ours, ".delegated == \"2002:c633:6401::/48\" and .remote == \"198.51.100.2\""));
    assert!(daemon.terminate(PATIENCE).success());
    assert!(!ours.succeeds("ip link show dev tun6to4"), "the device outlived its daemon");
    capture.so_far().assert_clean();
}

/// Its LAN is subnet 1; between it and the kernel lies an IPv4 path that carries less than
/// both think.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_21_s64_37_the_router_of_a_site_joins_its_lan_to_a_kernel_site_and_the_internet() {
    let lab = Lab::new();
    let (near, far, lan) = (lab.wire(), lab.wire(), lab.wire());
    let capture = near.capture("ip proto 41");
    let kernel = kernel(&lab, &far);
    kernel.ok("ip route add default via 198.51.100.254 && ip -6 address add 2001:db8:99::1/128 dev lo");
    let [path, router, host] = ["path", "router", "host"].map(|name| lab.namespace(name));
    near.join(&path, "eth0", "192.0.2.254/24");
    far.join(&path, "eth1", "198.51.100.254/24");
    path.ok("sysctl -qw net.ipv4.ip_forward=1");
    near.join(&router, "eth0", "192.0.2.1/24");
    lan.join(&router, "eth1", &format!("{OUR_SITE}:1::1/64"));
    router.ok("ip route add default via 192.0.2.254 && sysctl -qw net.ipv6.conf.all.forwarding=1");
    lan.join(&host, "eth0", &format!("{OUR_SITE}:1::2/64"));
    host.ok(&format!("ip -6 route add default via {OUR_SITE}:1::1"));
    let of_host: Ipv6Addr = format!("{OUR_SITE}:1::2").parse().unwrap();
    let of_kernel = "2002:c633:6402::1";

    let daemon = Daemon::isatap(&router, "6to4 --role router --local 192.0.2.1 --relay 198.51.100.2 --accept-bogons");
    peers::ping_sizes(&host, of_kernel, 1480);
    peers::ping_sizes(&kernel, &of_host.to_string(), 1480);
    peers::ping(&host, "2001:db8:99::1");
    peers::http(&kernel, &host, of_host);
    peers::http(&host, &kernel, of_kernel.parse().unwrap());
    assert!(status(&router, &format!(".role == \"6to4-router\" and .delegated == \"{OUR_SITE}::/48\"")));
    // RTE-10: what no LAN has does not bounce, whatever the kernel's own routes say.
    for from in [&host as &dyn Node, &kernel] {
        let output = from.run(&format!("ping -6 -n -c 2 -W 2 {OUR_SITE}:2::1"));
        assert!(!output.success() && output.text.contains("From 2002:c000:201:"), "{output:#?}");
    }

    peers::narrow(&path, ["192.0.2.0/24 dev eth0", "198.51.100.0/24 dev eth1"], 1400);
    peers::wait_for_path_mtu(&host, of_kernel, 1380);
    peers::wait_for_path_mtu(&kernel, &of_host.to_string(), 1380);
    peers::download(&host, &kernel, of_kernel.parse().unwrap(), 1 << 20);
    peers::download(&kernel, &host, of_host, 1 << 20);
    let packets = capture.so_far();
    for sender in ["192.0.2.1", "198.51.100.2"] {
        assert!(packets.count(&format!("ip.src == {sender} && ip.len == 1400 && tcp")) > 0, "{sender}");
    }
    packets.assert_clean();
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_22_our_relay_carries_a_kernel_site_to_a_native_host() {
    let lab = Lab::new();
    let (wire, native) = (lab.wire(), lab.wire());
    let capture = wire.capture("ip proto 41");
    let kernel = kernel(&lab, &wire);
    kernel.ok("ip -6 route add 2000::/3 via ::198.51.100.1 dev sixtofour");
    let relay = lab.namespace("relay");
    wire.join(&relay, "eth0", "198.51.100.1/24");
    native.join(&relay, "eth1", "2001:db8:99::254/64");
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let host = lab.namespace("host");
    native.join(&host, "eth0", "2001:db8:99::1/64");
    host.ok("ip -6 route add default via 2001:db8:99::254");
    let _daemon = Daemon::isatap(&relay, "6to4 --role relay --local 198.51.100.1 --accept-bogons");
    peers::ping_sizes(&kernel, "2001:db8:99::1", 1480);
    peers::ping_sizes(&host, "2002:c633:6402::1", 1480);
    peers::http(&kernel, &host, "2001:db8:99::1".parse().unwrap());
    peers::http(&host, &kernel, "2002:c633:6402::1".parse().unwrap());
    capture.so_far().assert_clean();
}

/// The kernel's way to the native Internet is the anycast address, which the relay has beside its own.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_31_an_anycast_relay_with_an_address_of_its_own_serves_both() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = kernel(&lab, &wire);
    kernel.ok("ip route add 192.88.99.1 via 198.51.100.1 && ip -6 route add default via ::192.88.99.1 dev sixtofour");
    let relay = lab.namespace("relay");
    wire.join(&relay, "eth0", "198.51.100.1/24");
    relay.ok("sysctl -qw net.ipv6.conf.all.forwarding=1 && ip -6 address add 2001:db8:99::1/128 dev lo");
    let options = "6to4 --role relay --local 198.51.100.1 --anycast --accept-bogons";
    // Without the address it would serve nobody there.
    let refused = isatap(&relay, options);
    assert_eq!(refused.status, 1, "{}", refused.text);
    assert!(refused.text.contains("add it first: ip address add 192.88.99.1/32 dev lo"), "{}", refused.text);
    relay.ok("ip address add 192.88.99.1/32 dev lo");
    let daemon = Daemon::isatap(&relay, options);
    assert!(status(&relay, ".locators == [\"198.51.100.1\", \"192.88.99.1\"]"));
    peers::ping(&kernel, "2001:db8:99::1");
    peers::http(&kernel, &relay, "2001:db8:99::1".parse().unwrap());
    kernel.ok("ip -6 route replace default via ::198.51.100.1 dev sixtofour");
    peers::ping(&kernel, "2001:db8:99::1");
    assert!(daemon.terminate(PATIENCE).success());
}
