//! The kernel's tables as `isatap_std::netlink` sees and changes them.

use crate::netns::{Netns, wait_for};
use isatap_std::netlink::{Event, ForeignRoute, InterfaceAddress, Monitor, Netlink, Preference, Route, sysctl};
use isatap_std::tun::Tun;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

const LINK_LOCAL: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5efe, 0x0a00, 0x0002);
const ROUTER: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0x5efe, 0x0a00, 0x0001);

fn up(netlink: &Netlink) -> (Tun, u32) {
    let tun = Tun::create("isatap0").unwrap();
    let index = tun.index().unwrap();
    sysctl::prepare_tunnel("isatap0").unwrap();
    netlink.forbid_kernel_addresses(index).unwrap();
    netlink.set_mtu(index, 1280).unwrap();
    netlink.set_up(index, true).unwrap();
    (tun, index)
}

fn forever(address: Ipv6Addr) -> InterfaceAddress {
    InterfaceAddress { address, prefix_len: 64, preferred: None, valid: None }
}

fn route(destination: &str, prefix_len: u8) -> Route {
    Route {
        destination: destination.parse().unwrap(),
        prefix_len,
        next_hop: Some(ROUTER),
        metric: 0,
        preference: Preference::Medium,
        lifetime: None,
    }
}

/// All events so far.
fn drain(monitor: &mut Monitor) -> Vec<Event> {
    std::iter::from_fn(|| monitor.next_event().unwrap()).collect()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_device_has_our_addresses_and_none_of_the_kernels() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let netlink = Netlink::open().unwrap();
        let (_tun, index) = up(&netlink);
        netlink.replace_address(index, &forever(LINK_LOCAL)).unwrap();
        // Time for a kernel that would add its own, and for DAD that must not run.
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(netlink.addresses(index).unwrap(), [forever(LINK_LOCAL)]);
        let shown = n.ip("-6 address show dev isatap0");
        assert!(shown.contains("nodad noprefixroute") && !shown.contains("tentative"), "{shown}");
        assert!(shown.contains("mtu 1280"), "{shown}");
        assert_eq!(n.ip("-6 route show dev isatap0"), "", "a prefix route came");

        let short = InterfaceAddress {
            preferred: Some(Duration::from_secs(100)),
            valid: Some(Duration::from_secs(1000)),
            ..forever("2001:db8::5efe:a00:2".parse().unwrap())
        };
        netlink.replace_address(index, &short).unwrap();
        let longer =
            InterfaceAddress { preferred: Some(Duration::ZERO), valid: Some(Duration::from_secs(5000)), ..short };
        netlink.replace_address(index, &longer).unwrap();
        let shown = n.ip("-6 address show dev isatap0 scope global");
        assert!(shown.contains("deprecated") && shown.contains("valid_lft 5000sec"), "{shown}");
        netlink.remove_address(index, short.address, 64).unwrap();
        netlink.remove_address(index, short.address, 64).expect("a second removal is no error");
        assert_eq!(netlink.addresses(index).unwrap(), [forever(LINK_LOCAL)]);
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_kernel_would_add_a_link_local_address_if_we_let_it() {
    // The test above is worth something only if this is so.
    let netns = Netns::new();
    netns.run(|| {
        let netlink = Netlink::open().unwrap();
        let tun = Tun::create("isatap0").unwrap();
        let index = tun.index().unwrap();
        netlink.set_up(index, true).unwrap();
        wait_for("link-local address of the kernel", || {
            let addresses = netlink.addresses(index).unwrap();
            addresses.first().filter(|a| a.address.segments()[0] == 0xfe80).copied()
        });
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn routes_are_ours_to_the_kernel_and_only_ours_are_removed() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let netlink = Netlink::open().unwrap();
        let (_tun, index) = up(&netlink);
        netlink.replace_address(index, &forever(LINK_LOCAL)).unwrap();
        let default = Route {
            preference: Preference::High,
            metric: 500,
            lifetime: Some(Duration::from_secs(1800)),
            ..route("::", 0)
        };
        netlink.add_route(index, &default).unwrap();
        netlink.add_route(index, &default).expect("adding again is no error");
        let shown = n.ip("-6 route show default");
        for part in ["via fe80::5efe:a00:1", "proto 86", "metric 500", "pref high", "expires 1"] {
            assert!(shown.contains(part), "{part} is missing: {shown}");
        }
        let own = netlink.own_routes(index).unwrap();
        assert_eq!(own.len(), 1);
        assert_eq!(Route { lifetime: default.lifetime, ..own[0] }, default);
        let left = own[0].lifetime.unwrap().as_secs();
        assert!((1700..=1800).contains(&left), "{left} s left");

        // The same prefix and metric by another program.
        let other = route("2001:db8:1::", 48);
        n.ip("-6 route add 2001:db8:1::/48 via fe80::5efe:a00:1 dev isatap0");
        netlink.remove_route(index, &other).unwrap();
        assert_eq!(
            netlink.foreign_routes(index).unwrap(),
            [ForeignRoute { route: Route { metric: 1024, ..other }, protocol: 3 }]
        );
        netlink.remove_route(index, &default).unwrap();
        netlink.remove_route(index, &default).unwrap();
        assert!(netlink.own_routes(index).unwrap().is_empty());

        // A next hop that is our own address is told in words.
        let own_address = Route { next_hop: Some(LINK_LOCAL), ..other };
        let error = netlink.add_route(index, &own_address).unwrap_err();
        assert!(error.to_string().contains("link-local address"), "{error}");
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn other_hands_routes_are_reported_and_ours_are_not() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let netlink = Netlink::open().unwrap();
        let (_tun, index) = up(&netlink);
        netlink.replace_address(index, &forever(LINK_LOCAL)).unwrap();
        n.ip("link add other type veth peer name rehto");
        n.ip("link set other up");
        let mut monitor = Monitor::open(index).unwrap();
        netlink.add_route(index, &route("2001:db8:9::", 48)).unwrap();
        n.ip("-6 route add 2001:db8:1::/48 via fe80::5efe:a00:1 dev isatap0 metric 7");
        n.ip("-6 route add 2001:db8:2::/48 dev other metric 7");
        n.ip("-6 route del 2001:db8:1::/48 dev isatap0");
        netlink.remove_route(index, &route("2001:db8:9::", 48)).unwrap();
        let expected = ForeignRoute { route: Route { metric: 7, ..route("2001:db8:1::", 48) }, protocol: 3 };
        let routes: Vec<Event> = drain(&mut monitor)
            .into_iter()
            .filter(|event| matches!(event, Event::RouteAdded(_) | Event::RouteRemoved(_)))
            .collect();
        assert_eq!(routes, [Event::RouteAdded(expected), Event::RouteRemoved(expected)]);

        // Several next hops under one prefix: each is a route.
        n.ip("-6 route add 2001:db8:3::/48 nexthop via fe80::5efe:a00:1 dev isatap0 \
             nexthop via fe80::5efe:a00:3 dev isatap0");
        let hops: Vec<Ipv6Addr> = drain(&mut monitor)
            .into_iter()
            .filter_map(|event| match event {
                Event::RouteAdded(route) => route.route.next_hop,
                _ => None,
            })
            .collect();
        assert!(hops.contains(&ROUTER) && hops.contains(&"fe80::5efe:a00:3".parse().unwrap()), "{hops:?}");
        assert_eq!(netlink.foreign_routes(index).unwrap().len(), 2);
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn ipv4_addresses_and_links_that_change_are_reported() {
    let netns = Netns::new();
    let n = &netns;
    n.run(|| {
        let netlink = Netlink::open().unwrap();
        let (tun, index) = up(&netlink);
        let mut monitor = Monitor::open(index).unwrap();
        n.ip("link add under type veth peer name redun");
        n.ip("address add 10.0.0.2/24 dev under");
        n.ip("link set under up");
        n.ip("link set redun up");
        n.ip("link set isatap0 mtu 1400");
        n.ip("link set isatap0 down");
        n.ip("address del 10.0.0.2/24 dev under");
        let under = netlink.link("under").unwrap();
        assert!(under.is_up && under.mtu == 1500);
        drop(tun);
        let mut events = Vec::new();
        wait_for("removal of the device", || {
            events.extend(drain(&mut monitor));
            events.contains(&Event::LinkRemoved { index }).then_some(())
        });
        let local = Ipv4Addr::new(10, 0, 0, 2);
        for (what, seen) in [
            (
                "address added",
                events.iter().any(|e| {
                    matches!(e, Event::Ipv4AddressAdded(a)
                        if a.address == local && a.interface == under.index && a.prefix_len == 24)
                }),
            ),
            ("address removed", events.iter().any(|e| matches!(e, Event::Ipv4AddressRemoved(a) if a.address == local))),
            (
                "MTU of the TUN device",
                events.iter().any(|e| matches!(e, Event::LinkChanged(l) if l.index == index && l.mtu == 1400)),
            ),
            (
                "TUN device down",
                events.iter().any(|e| matches!(e, Event::LinkChanged(l) if l.index == index && !l.is_up)),
            ),
            (
                "underlay running",
                events.iter().any(|e| matches!(e, Event::LinkChanged(l) if l.name == "under" && l.is_running)),
            ),
        ] {
            assert!(seen, "no event: {what} in {events:#?}");
        }
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn lost_changes_are_one_resync() {
    let netns = Netns::new();
    netns.run(|| {
        let netlink = Netlink::open().unwrap();
        let (_tun, index) = up(&netlink);
        let mut monitor = Monitor::open(index).unwrap();
        // More changes than the socket holds, unread; each at least 100 bytes.
        for n in 0..20_000_u16 {
            let address = Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 0);
            let route = Route { next_hop: None, ..route(&address.to_string(), 64) };
            netlink.add_route(index, &route).unwrap();
        }
        let events = drain(&mut monitor);
        let resyncs = events.iter().filter(|e| **e == Event::Resync).count();
        assert_eq!(resyncs, 1);
        assert_eq!(netlink.own_routes(index).unwrap().len(), 20_000);
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_ipv4_path_names_source_device_and_mtu() {
    let (here, there) = (Netns::new(), Netns::new());
    here.connect("under", "10.0.0.2/24", &there, "peer", "10.0.0.1/24");
    here.ip("address add 10.0.0.3/24 dev under");
    here.ip("link set under mtu 1400");
    here.ip("route add 192.0.2.0/24 via 10.0.0.1 src 10.0.0.3");
    here.ip("route add 198.51.100.0/24 via 10.0.0.1 mtu 1300");
    here.run(|| {
        let netlink = Netlink::open().unwrap();
        let under = netlink.link("under").unwrap().index;
        for (destination, source, mtu) in
            [("10.0.0.1", "10.0.0.2", 1400), ("192.0.2.9", "10.0.0.3", 1400), ("198.51.100.9", "10.0.0.2", 1300)]
        {
            let path = netlink.ipv4_path(destination.parse().unwrap()).unwrap();
            assert_eq!(path.source, source.parse::<Ipv4Addr>().unwrap());
            assert_eq!((path.interface, path.mtu), (under, mtu));
        }
        let error = netlink.ipv4_path(Ipv4Addr::new(203, 0, 113, 1)).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ENETUNREACH));
        let addresses = netlink.ipv4_addresses().unwrap();
        let on_under: Vec<_> =
            addresses.iter().filter(|a| a.interface == under).map(|a| a.address.octets()[3]).collect();
        assert_eq!(on_under, [2, 3]);
    });
}

/// The experiment of [`sysctl::forwards`]: a router between two hosts, and what its kernel does
/// with a packet that comes in by `in0` and goes out by `out0`, and with the answer to it.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_kernel_forwards_as_we_say_it_does() {
    let [sender, router, receiver] = [Netns::new(), Netns::new(), Netns::new()];
    router.connect("in0", "10.0.0.1/24", &sender, "eth0", "10.0.0.2/24");
    router.connect("out0", "10.0.1.1/24", &receiver, "eth0", "10.0.1.2/24");
    for (netns, device, address) in [
        (&router, "in0", "2001:db8:1::1"),
        (&sender, "eth0", "2001:db8:1::2"),
        (&router, "out0", "2001:db8:2::1"),
        (&receiver, "eth0", "2001:db8:2::2"),
    ] {
        netns.ip(&format!("address add {address}/64 dev {device} nodad"));
    }
    sender.ip("-6 route add default via 2001:db8:1::1");
    receiver.ip("-6 route add default via 2001:db8:2::1");
    // The counter tells the way there alone, the ping the way back too.
    let received = || {
        let counters = receiver.command("cat /proc/net/snmp6");
        let line = counters.lines().find(|line| line.starts_with("Icmp6InEchos")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap()
    };
    let ping = ["-6", "-c1", "-W1", "2001:db8:2::2"];
    let is_forwarded = || {
        let before = received();
        let ping = sender.run(|| std::process::Command::new("ping").args(ping).output().unwrap());
        [received() > before, ping.status.success()]
    };
    router.sysctl("net.ipv6.conf.all.forwarding", "1");
    wait_for("a way through", || (is_forwarded() == [true; 2]).then_some(()));
    let has_force = router.run(|| sysctl::ipv6("in0", "force_forwarding").is_ok());
    for [all, incoming, outgoing, forced, forced_back] in [
        [1, 1, 1, 0, 0],
        [1, 0, 1, 0, 0],
        [1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0],
        [0, 1, 1, 0, 0],
        [0, 0, 0, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 0, 1],
        [0, 0, 1, 1, 1],
        [0, 1, 0, 1, 1],
    ] {
        if forced + forced_back > 0 && !has_force {
            continue;
        }
        // The first sets the others.
        router.sysctl("net.ipv6.conf.all.forwarding", &all.to_string());
        router.sysctl("net.ipv6.conf.in0.forwarding", &incoming.to_string());
        router.sysctl("net.ipv6.conf.out0.forwarding", &outgoing.to_string());
        if has_force {
            router.sysctl("net.ipv6.conf.in0.force_forwarding", &forced.to_string());
            router.sysctl("net.ipv6.conf.out0.force_forwarding", &forced_back.to_string());
        }
        let [forwards, both_ways, is_router] =
            router.run(|| [sysctl::forwards("in0"), sysctl::forwards_both_ways("in0"), sysctl::is_router("in0")]);
        let switches = [all, incoming, outgoing, forced, forced_back];
        assert_eq!(is_forwarded(), [forwards, both_ways], "{switches:?}");
        assert_eq!(forwards, all == 1 || forced == 1, "{switches:?}");
        assert_eq!(both_ways, all == 1 || forced + forced_back == 2, "{switches:?}");
        assert_eq!(is_router, both_ways && incoming == 1, "{switches:?}");
    }
}
