//! LANs behind a 6to4 router and a 6rd customer edge of ours: the kernel's hosts configure
//! themselves from our advertisements, and reach what is behind the kernel's 6to4 router.

use std::net::Ipv6Addr;

use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, peers, status, wait_for, wait_until};

/// The global addresses of a host's eth0 in a /64, as `ip` lists them: with `deprecated` or
/// without.
pub(crate) fn autoconfigured(host: &Namespace, prefix: &str, is_deprecated: bool) -> Option<Ipv6Addr> {
    let only = if is_deprecated { "deprecated" } else { "-deprecated" };
    let text = host.ok(&format!("ip -6 -o address show dev eth0 scope global dynamic -tentative {only}"));
    let words = text.split_whitespace().filter_map(|word| word.strip_suffix("/64")?.parse::<Ipv6Addr>().ok());
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    words.into_iter().find(|address| address.segments()[..4] == prefix.segments()[..4])
}

#[track_caller]
pub(crate) fn wait_for_address_in(host: &Namespace, prefix: &str) -> Ipv6Addr {
    wait_for(&format!("an address in {prefix}"), PATIENCE, || autoconfigured(host, prefix, false))
}

/// Ours, with eth1 on a LAN, and a host there, which has no IPv6 yet.
pub(crate) fn site<'l>(lab: &'l Lab, outer: &Wire<'l>, address: &str, lan: &Wire<'l>) -> (Namespace, Namespace) {
    let ours = lab.namespace("ours");
    outer.join(&ours, "eth0", address);
    lan.join(&ours, "eth1", "169.254.5.1/24");
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let host = lab.namespace("host");
    lan.join(&host, "eth0", "169.254.5.2/24");
    (ours, host)
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_37_s64_38_ndp_42_hosts_of_a_6to4_site_configure_themselves_and_are_renumbered() {
    let lab = Lab::new();
    let (internet, lan, far_lan) = (lab.wire(), lab.wire(), lab.wire());
    // The kernel's site, 2002:c633:6402::/48, with a host of its own; it is our relay too.
    let kernel = lab.guest("kernel", &[&internet, &far_lan]);
    peers::ipv4(&kernel, "198.51.100.2/24");
    kernel.ok("ip tunnel add sixtofour mode sit local 198.51.100.2 ttl 64 && ip link set sixtofour up && \
         ip address add 2002:c633:6402::1/16 dev sixtofour && sysctl -qw net.ipv6.conf.all.forwarding=1 && \
         ip link set eth1 up && ip address add 2002:c633:6402:1::1/64 dev eth1 nodad && \
         ip -6 address add 2001:db8:99::1/128 dev lo");
    let far = lab.namespace("far");
    far_lan.join(&far, "eth0", "2002:c633:6402:1::2/64");
    far.ok("ip -6 route add default via 2002:c633:6402:1::1");
    let far_address: Ipv6Addr = "2002:c633:6402:1::2".parse().unwrap();

    let (ours, host) = site(&lab, &internet, "198.51.100.1/24", &lan);
    let frames = lan.capture("icmp6");
    // Without --local: all public IPv4 addresses, which 169.254.5.1 is not,
    // not even in a lab.
    let daemon = Daemon::isatap(&ours, "6to4 --role router --relay 198.51.100.2 --lan eth1:5 --accept-bogons");
    let first = wait_for_address_in(&host, "2002:c633:6401:5::");
    let told = peers::solicit_router(&host, "eth0");
    assert!(told.contains("2002:c633:6401:5::/64") && told.contains("1800 "), "{told}");
    assert!(told.contains("Router preference         :          low"), "{told}");
    peers::ping_sizes(&host, "2002:c633:6402::1", 1480);
    peers::ping_sizes(&host, &far_address.to_string(), 1480);
    peers::ping(&far, &first.to_string());
    peers::http(&host, &far, far_address);
    peers::ping(&host, "2001:db8:99::1");
    assert!(status(
        &ours,
        ".lans[0] | .dev == \"eth1\" and .subnet == \"5\" and .default_router and .problem == null and \
         .prefixes[0].prefix == \"2002:c633:6401:5::/64\""
    ));
    let doctor = isatap(&ours, "doctor");
    assert!(doctor.success() && doctor.text.contains("eth1 has 2002:c633:6401:5::/64"), "{doctor:?}");
    // Another hand takes the router's address away.
    ours.ok("ip -6 address flush dev eth1 scope global");
    wait_until("the router's address to be back", PATIENCE, || {
        ours.succeeds("ip -6 address show dev eth1 | grep -q ' 2002:c633:6401:5:'")
    });

    // S64-38: another IPv4 address.
    ours.ok("ip address del 198.51.100.1/24 dev eth0 && ip address add 198.51.100.7/24 dev eth0");
    let second = wait_for_address_in(&host, "2002:c633:6407:5::");
    wait_until("the first address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2002:c633:6401:5::", true) == Some(first)
    });
    peers::ping(&host, &far_address.to_string());
    peers::http(&far, &host, second);
    assert!(!ours.succeeds("ip -6 address show dev eth1 | grep -q ' 2002:c633:6401:'"));

    // The end.
    assert!(daemon.terminate(PATIENCE).success());
    wait_until("the last words", PATIENCE, || {
        autoconfigured(&host, "2002:c633:6407:5::", true) == Some(second)
            && !host.succeeds("ip -6 route show default | grep -q default")
    });
    let left = ours.ok("ip -6 address show dev eth1 scope global; ip -6 route show proto 86");
    assert_eq!(left.trim(), "", "the LAN's device keeps something");

    let packets = frames.so_far();
    let ours_alone = "icmpv6.type == 134";
    assert!(packets.count(ours_alone) >= 3);
    assert_eq!(packets.count(&format!("{ours_alone} and not (ipv6.hlim == 255 and ipv6.dst == ff02::1)")), 0);
    assert_eq!(packets.count(&format!("{ours_alone} and not ipv6.src == fe80::/10")), 0);
    assert_eq!(
        packets.count("icmpv6.checksum.status == \"Bad\" or _ws.malformed or _ws.expert.severity >= 6291456"),
        0
    );
    let last = packets.fields(
        ours_alone,
        &["icmpv6.nd.ra.router_lifetime", "icmpv6.opt.prefix.preferred_lifetime", "icmpv6.opt.prefix.valid_lifetime"],
    );
    let [router, preferred, valid] = last.last().unwrap().as_slice() else { panic!("{last:?}") };
    assert_eq!(router, "0");
    assert!(preferred.split(',').all(|seconds| seconds == "0"), "{last:?}");
    assert!(valid.split(',').all(|seconds| seconds.parse::<u32>().is_ok_and(|seconds| seconds <= 7200)), "{last:?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_8_s6r_20_a_customer_edge_serves_its_lan_no_longer_than_its_lease_and_cleans_up_after_a_killed_one() {
    let lab = Lab::new();
    let (provider, lan) = (lab.wire(), lab.wire());
    let (ours, host) = site(&lab, &provider, "10.100.100.1/8", &lan);
    ours.ok("ip address change 10.100.100.1/8 dev eth0 valid_lft 900 preferred_lft 900");
    let start = |subnet: &str| {
        let text =
            format!("6rd --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.100.100.1 --br 10.0.0.1 --lan eth1{subnet}");
        Daemon::isatap(&ours, &text)
    };
    let daemon = start(":a0");
    let first = wait_for_address_in(&host, "2001:db8:6464:1a0::");
    let lifetimes = host.ok("ip -6 -o address show dev eth0 scope global dynamic");
    let valid: u32 = lifetimes.split("valid_lft ").nth(1).unwrap().split("sec").next().unwrap().parse().unwrap();
    assert!(valid <= 900, "{lifetimes}");
    peers::ping(&ours, &first.to_string());
    // A second daemon is kept off the LAN.
    let second = isatap(&ours, "6rd --dev other --prefix 2001:db8::/32 --local 10.100.100.1 --lan eth1");
    assert!(!second.success() && second.text.contains("eth1.lock"), "{second:?}");

    daemon.kill();
    assert!(ours.succeeds("ip -6 address show dev eth1 | grep -q ' 2001:db8:6464:1a0:'"), "the control");
    // The administrator's, beside what was left there.
    ours.ok("ip -6 address add 2001:db8:6464:1a0::77/64 dev eth1 noprefixroute nodad");
    // The number of the interface, which in a namespace is small.
    let index = ours.ok("cat /sys/class/net/eth1/ifindex");
    let daemon = start("");
    wait_for_address_in(&host, &format!("2001:db8:6464:1{:02x}::", index.trim().parse::<u8>().unwrap()));
    let kept = ours.ok("ip -6 address show dev eth1 | grep ' 2001:db8:6464:1a0:'");
    assert!(kept.lines().count() == 1 && kept.contains(" 2001:db8:6464:1a0::77/64 "), "{kept}");
    assert!(!ours.succeeds("ip -6 route show dev eth1 | grep -q '^2001:db8:6464:1a0:'"));

    // Without forwarding this is no default router, and the doctor says so.
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=0");
    peers::wait_for_route(&host, "default via", false, PATIENCE);
    let doctor = isatap(&ours, "doctor");
    assert!(!doctor.success() && doctor.text.contains("hosts on eth1 are not told of a default router"), "{doctor:?}");
    // Both directions are needed. `force_forwarding`: Linux 6.17.
    if ours.succeeds("sysctl -qw net.ipv6.conf.eth1.force_forwarding=1 net.ipv6.conf.eth1.forwarding=1") {
        let force = |device, value| ours.ok(&format!("sysctl -qw net.ipv6.conf.{device}.force_forwarding={value}"));
        ours.ok("sysctl -qw net.ipv6.conf.tun6rd.forwarding=1");
        for alone in ["eth1", "tun6rd"] {
            for device in ["eth1", "tun6rd"] {
                force(device, 1);
            }
            peers::wait_for_route(&host, "default via", true, PATIENCE);
            assert!(status(&ours, ".forwarding and .lans[0].forwarding"));
            force(if alone == "eth1" { "tun6rd" } else { "eth1" }, 0);
            peers::wait_for_route(&host, "default via", false, PATIENCE);
            assert!(status(&ours, ".forwarding == false and .lans[0].forwarding == false"));
        }
    }
    ours.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    peers::wait_for_route(&host, "default via", true, PATIENCE);
    // The device goes down and comes up again.
    ours.ok("ip link set eth1 down");
    wait_until("the LAN not to be served", PATIENCE, || {
        status(&ours, ".lans[0] | .link_local == null and (.problem | contains(\"switched off\"))")
    });
    ours.ok("ip link set eth1 up");
    wait_until("the LAN to be served again", PATIENCE, || status(&ours, ".lans[0].prefixes | length == 1"));
    wait_until("the router's address to be there again", PATIENCE, || {
        ours.succeeds("ip -6 address show dev eth1 | grep -q ' 2001:db8:6464:1'")
    });
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_tunnel_device_that_is_deleted_takes_no_default_router_from_the_lan() {
    let lab = Lab::new();
    let (provider, lan) = (lab.wire(), lab.wire());
    let (ours, host) = site(&lab, &provider, "10.100.100.1/8", &lan);
    let daemon = Daemon::isatap(
        &ours,
        "6rd --dev t0 --prefix 2001:db8::/32 --v4-mask-len 8 --local 10.100.100.1 --br 10.0.0.1 --lan eth1:a0",
    );
    peers::wait_for_route(&host, "default via", true, PATIENCE);
    let index = ours.ok("cat /sys/class/net/t0/ifindex");
    ours.ok("ip link delete t0");
    wait_until("the device to come again", PATIENCE, || {
        ours.succeeds(&format!("test $(cat /sys/class/net/t0/ifindex) != {}", index.trim()))
    });
    wait_until("the LAN to be served", PATIENCE, || status(&ours, ".lans[0].default_router"));
    let output = daemon.output();
    assert!(!output.contains("does not forward"), "{output}");
    assert!(daemon.terminate(PATIENCE).success());
}

/// One of the two tunnels of a LAN changes: the prefix of the other one stays as it is.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reload_takes_from_a_lan_the_prefix_of_the_tunnel_that_changed_and_no_other() {
    let lab = Lab::new();
    let (provider, lan) = (lab.wire(), lab.wire());
    let (ours, host) = site(&lab, &provider, "198.51.100.1/24", &lan);
    let sixtofour = "[[6to4]]\nrole = \"router\"\nlocal = [\"198.51.100.1\"]\nrelay = \"198.51.100.2\"\nlan = [\"eth1:5\"]\naccept-bogons = true\n";
    let sixrd = |prefix: &str| {
        format!(
            "[[6rd]]\nlocal = \"198.51.100.1\"\nprefix = \"{prefix}\"\nv4-mask-len = 8\nbr = \"198.51.100.3\"\nlan = [\"eth1:5\"]\n"
        )
    };
    let file = ours.file("two.toml", &[sixtofour, &sixrd("2001:db8::/32")].concat());
    let daemon = Daemon::isatap(&ours, &format!("run {file}"));
    let kept = wait_for_address_in(&host, "2002:c633:6401:5::");
    let first = wait_for_address_in(&host, "2001:db8:3364:105::");
    let frames = lan.capture("icmp6");

    ours.file("two.toml", &[sixtofour, &sixrd("2001:db9::/32")].concat());
    daemon.signal("HUP");
    wait_for_address_in(&host, "2001:db9:3364:105::");
    wait_until("the first address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2001:db8:3364:105::", true) == Some(first)
    });
    assert_eq!(autoconfigured(&host, "2002:c633:6401:5::", false), Some(kept));
    peers::ping(&ours, &kept.to_string());
    // The end of one is not the end of the router.
    assert_eq!(frames.so_far().count("icmpv6.type == 134 and icmpv6.nd.ra.router_lifetime == 0"), 0);
    ours.file("two.toml", &sixrd("2001:db9::/32"));
    daemon.signal("HUP");
    wait_until("the other address to be deprecated", PATIENCE, || {
        autoconfigured(&host, "2002:c633:6401:5::", true) == Some(kept)
    });
    assert!(daemon.terminate(PATIENCE).success());
}
