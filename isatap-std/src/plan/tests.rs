//! The lines of administrators' guides, argument by argument; and what holds for every plan.

use std::process::Command;

use proptest::prelude::*;

use super::recipe::{ManageOut, NativeManageOut};
use super::*;
use crate::spec::{
    Compatible, IsatapHost, IsatapRouter, SixRd, SixRdRole, SixToFour, SixToFourRole, TeredoClient, TeredoRelay,
    TeredoServer, Tunnel,
};

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn commands(steps: &[Step]) -> Vec<&str> {
    steps.iter().filter_map(|step| step.command.as_deref()).flat_map(str::lines).collect()
}

/// The arguments of a line of a guide: `int` is short for `interface`, `enable` for `enabled`;
/// `interface ipv6 isatap` is how it was called before Windows Vista; an address behind an interface is
/// its next hop; the first word's case says nothing.
fn arguments(line: &str) -> Vec<String> {
    let line = line.replace(" int ", " interface ").replace("ipv6 isatap", "isatap");
    let mut words: Vec<String> = line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect();
    words[0] = words[0].to_lowercase();
    for word in &mut words {
        if word.ends_with("=enable") {
            word.push('d');
        }
    }
    if words.get(4).is_some_and(|word| word == "route")
        && let Some(next_hop) = words.get_mut(7).filter(|word| word.contains(':') && !word.contains('='))
    {
        *next_hop = format!("nexthop={next_hop}");
    }
    words
}

#[track_caller]
fn are(commands: &[&str], lines: &[&str]) {
    let sorted = |lines: &[&str]| {
        let mut all: Vec<Vec<String>> = lines.iter().map(|line| arguments(line)).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(commands), sorted(lines));
}

/// Microsoft's white paper: "Using the netsh interface isatap set router Command".
#[test]
fn isa_20_a_windows_host_is_told_its_router_as_the_white_paper_does() {
    let router: LinkSpec =
        IsatapRouter::new(vec![v4("192.168.39.1")], vec!["2001:db8:0:7::/64".parse().unwrap()]).into();
    let mut given = Given::default();
    let netsh = of_link(&router, Platform::Windows, &given);
    are(&commands(&netsh), &["netsh interface isatap set router 192.168.39.1"]);
    // An administrator's guide to DirectAccess.
    given.router_name = Some("da-isatap.domain.local".parse().unwrap());
    let named = of_link(&router, Platform::Windows, &given);
    are(&commands(&named), &["netsh interface ipv6 isatap set router da-isatap.domain.local"]);
    let cmdlets = of_link(&router, Platform::PowerShell, &given);
    are(&commands(&cmdlets), &["Set-NetISATAPconfiguration -Router 'da-isatap.domain.local'"]);
    are(&[cmdlets[0].undo.as_deref().unwrap()], &["Set-NetISATAPconfiguration -Router ''"]);
    // NAM-9: a name that the DNS of Windows refuses.
    given.router_name = Some("isatap.domain.local".parse().unwrap());
    let blocked = of_link(&router, Platform::Windows, &given);
    assert!(blocked[1].note.as_ref().unwrap().contains("global query block list"));
}

#[test]
fn rte_7_a_windows_router_is_switched_as_the_guide_does() {
    let mut host = IsatapHost::new();
    host.router = vec!["10.0.0.1".parse().unwrap()];
    let given = Given {
        router_name: Some("da-isatap.domain.local".parse().unwrap()),
        prefix: vec!["fd9c:30c:2da4:1::/64".parse().unwrap()],
        isatap_interface: Some("6".to_owned()),
        lan_interface: Some("10".to_owned()),
        ..Given::default()
    };
    let steps = of_link(&host.clone().into(), Platform::Windows, &given);
    are(
        &commands(&steps),
        &[
            "netsh interface ipv6 isatap set router da-isatap.domain.local",
            "netsh interface ipv6 set interface 6 forwarding=enable",
            "netsh interface ipv6 set interface 6 advertise=enable",
            "netsh interface ipv6 add route fd9c:30c:2da4:1::/64 6 publish=yes",
            "netsh interface ipv6 set interface 10 forwarding=enabled",
            "netsh interface ipv6 set interface 6 advertisedefaultroute=enabled",
        ],
    );
    assert!(steps.iter().all(|step| step.undo.is_some() && !step.is_open()));
    let steps = of_link(&host.into(), Platform::PowerShell, &given);
    assert!(
        commands(&steps)
            .contains(&"New-NetRoute -DestinationPrefix fd9c:30c:2da4:1::/64 -InterfaceIndex 6 -Publish Yes")
    );
}

/// TUN-60: both ends of a tunnel have the same TTL and TOS, each platform in its own words; of 6rd the class goes
/// along unless it is said otherwise (S6R-24).
#[test]
fn the_other_end_has_the_ttl_and_the_tos_of_this_one() {
    let mut tunnel = Tunnel::new("192.0.2.9".parse().unwrap());
    tunnel.local = Some(v4("192.0.2.1"));
    let given = Given { local: Some(v4("131.107.0.77")), ..Given::default() };
    let text = |link: &LinkSpec, platform| {
        of_link(link, platform, &given)
            .iter()
            .filter_map(|step| step.command.as_ref())
            .map(|command| format!("{command}\n"))
            .collect::<String>()
    };
    for (ttl, tos, words) in [
        ("64", None, ["remote 192.0.2.1 ttl 64\n", "TTL=64\nRemote", ".ttl=64\n", "--remote 192.0.2.1 --dev=tun6in4"]),
        ("255", Some("0x00"), ["remote 192.0.2.1 ttl 255\n", "TTL=255\nRemote", ".ttl=255\n", "--ttl 255 --tos 0x00"]),
        (
            "inherit",
            Some("inherit"),
            [
                "ttl inherit tos inherit\n",
                "ExecStart=ip tunnel change tun6in4 tos inherit\n",
                ".ttl=0\nuci set network.tun6in4.tos=inherit",
                "--ttl inherit --tos inherit",
            ],
        ),
        (
            "64",
            Some("ef"),
            ["ttl 64 tos 0xb8\n", "ExecStart=ip tunnel change tun6in4 tos 0xb8\n", ".tos=0xb8", "--tos 0xb8"],
        ),
    ] {
        (tunnel.ttl, tunnel.tos) = (ttl.parse().unwrap(), tos.map(|tos| tos.parse().unwrap()));
        let platforms = [Platform::Iproute2, Platform::Networkd, Platform::OpenWrt, Platform::Isatap];
        for (platform, words) in platforms.into_iter().zip(words) {
            let text = text(&tunnel.clone().into(), platform);
            assert!(text.contains(words), "{platform} {ttl} {tos:?}: {words:?} in {text}");
        }
    }
    let sixrd = SixRd {
        prefix: "2001:db8::/32".parse().ok(),
        local: Some(v4("10.0.0.1")),
        role: SixRdRole::BorderRelay,
        ..SixRd::new()
    };
    let sixtofour = SixToFour { role: SixToFourRole::Relay, local: vec![v4("131.107.0.1")], ..SixToFour::new() };
    // Each with no TOS of its own, and with 0.
    let links = |tos: Option<&str>, ttl: &str| -> [LinkSpec; 2] {
        let (tos, ttl) = (tos.map(|tos| tos.parse().unwrap()), ttl.parse().unwrap());
        [SixRd { tos, ttl, ..sixrd.clone() }.into(), SixToFour { tos, ttl, ..sixtofour.clone() }.into()]
    };
    for (platform, inherited, [ttl_64, ttl_0]) in [
        (Platform::Iproute2, "tos inherit", [" ttl 64", " ttl inherit"]),
        (Platform::Networkd, "tos inherit", ["TTL=64\n", "TTL=0\n"]),
        (Platform::OpenWrt, ".tos=inherit", [".ttl=64\n", ".ttl=0\n"]),
        (Platform::Isatap, "--tos inherit", ["", "--ttl inherit"]),
    ] {
        for (tos, ttl) in [(None, "64"), (Some("0"), "64"), (Some("inherit"), "inherit")] {
            for (link, is_6rd) in links(tos, ttl).into_iter().zip([true, false]) {
                let text = text(&link, platform);
                let is_inherited = tos.map_or(is_6rd && platform != Platform::Isatap, |tos| tos == "inherit");
                assert_eq!(text.contains(inherited), is_inherited, "{platform} {tos:?}: {text}");
                assert!(text.contains(if ttl == "64" { ttl_64 } else { ttl_0 }), "{platform} {ttl}: {text}");
            }
        }
    }
}

fn manage_out() -> ManageOut {
    ManageOut {
        organisation: "fd9c:30c:2da4::/48".parse().unwrap(),
        router: v4("172.16.10.31"),
        router_address: "fd9c:30c:2da4:111::31/64".parse().unwrap(),
        router_dev: "eth1".to_owned(),
        server: vec!["fd9c:30c:2da4:111::25".parse().unwrap(), "fd9c:30c:2da4:111::26".parse().unwrap()],
        server_interface: Some("12".to_owned()),
        name: "da-isatap.domain.local".parse().unwrap(),
        client: Some("client1.domain.local".parse().unwrap()),
        port: 3389,
        file: "/etc/isatap/isatap.toml".to_owned(),
    }
}

#[test]
fn s64_42_the_guide_for_manage_out_has_the_lines_of_administrators() {
    let steps = manage_out().steps(Platform::Windows).unwrap();
    let on = |machine: &str| -> Vec<Step> { steps.iter().filter(|step| step.on == machine).cloned().collect() };
    let route = "netsh interface ipv6 add route fd9c:30c:2da4:1::/64 12 nexthop=fd9c:30c:2da4:111::31 metric=200";
    are(&commands(&on("server 2")), &[route]);
    assert_eq!(arguments(commands(&on("server 1"))[0]), arguments(route));
    are(&commands(&on("management host"))[..1], &["netsh interface ipv6 isatap set router da-isatap.domain.local"]);
    // The router of the guide is Windows, ours is Linux: the same destinations by the same next hops.
    let router = on("router");
    let text = commands(&router).join("\n");
    for (prefix, server) in [("1000", "25"), ("1001", "26")] {
        let route = format!("ip -6 route add fd9c:30c:2da4:{prefix}::/64 via fd9c:30c:2da4:111::{server} dev eth1");
        assert!(text.contains(&route), "{text}");
    }
    assert!(text.contains("advertise-route = [\"fd9c:30c:2da4:1000::/64\", \"fd9c:30c:2da4:1001::/64\"]"), "{text}");
    assert!(text.contains("prefix = \"fd9c:30c:2da4:1::/64\""), "{text}");
    // What the router may have had before, the undo leaves.
    assert!(!script::undo(&router).contains("fd9c:30c:2da4:111::31"), "{router:#?}");
    // It ends with the checks, and ICMP proves nothing.
    let last = steps.last().unwrap();
    assert!(last.step.starts_with("Check: ") && last.command.as_ref().unwrap().contains("Test-NetConnection"));
    assert!(steps.iter().all(|step| !step.is_open()));
}

#[test]
fn nam_9_a_router_called_isatap_is_taken_off_the_block_list() {
    let mut guide = manage_out();
    guide.name = "isatap.domain.local".parse().unwrap();
    let steps = guide.steps(Platform::PowerShell).unwrap();
    assert!(commands(&steps).contains(&"Set-DnsServerGlobalQueryBlockList -List wpad"));
    let other = manage_out().steps(Platform::PowerShell).unwrap();
    assert!(!commands(&other).iter().any(|command| command.contains("BlockList")));
}

#[test]
fn what_makes_no_set_up_is_refused() {
    let refused = |change: fn(&mut ManageOut), platform: Platform| {
        let mut guide = manage_out();
        change(&mut guide);
        guide.steps(platform).unwrap_err().to_string()
    };
    let third = |guide: &mut ManageOut| guide.server.push("fd9c:30c:2da4:111::27".parse().unwrap());
    assert!(refused(third, Platform::Windows).contains("write fd9c:30c:2da4:111::27=PREFIX/64"));
    let short = |guide: &mut ManageOut| guide.organisation = "fd9c:30c:2da4:1::/64".parse().unwrap();
    assert!(refused(short, Platform::Windows).contains("it is no /48"));
    assert!(refused(|_| {}, Platform::Cisco).contains("give --for windows, powershell or isatap"));
}

/// The guide to manage-out by native IPv6.
#[test]
fn s64_41_native_hosts_have_two_routes_as_the_guide_does() {
    let guide = NativeManageOut {
        server: v4("131.107.0.2"),
        interface: "Intranet".to_owned(),
        address: Some("2002:836b:2:3333::2/64".parse().unwrap()),
        gateway: None,
        client: None,
        port: 3389,
    };
    let steps = guide.steps(Platform::Windows).unwrap();
    are(
        &commands(&steps)[1..],
        &[
            "netsh int ipv6 add route 2002:836b:2:1000::/64 Intranet 2002:836b:2:3333::1",
            "netsh int ipv6 add route 2001:0:836b:2::/64 Intranet 2002:836b:2:3333::1",
        ],
    );
    let outside = NativeManageOut { address: Some("2001:db8::2/64".parse().unwrap()), ..guide };
    assert!(outside.steps(Platform::Windows).unwrap_err().to_string().contains("not in the server's prefix"));
}

/// KAME's guide, whose addresses are lost: here with some.
#[test]
fn isa_54_kames_host_and_router_are_told_as_its_guide_does() {
    let router: LinkSpec = IsatapRouter::new(vec![v4("10.0.0.1")], vec!["2001:db8:0:7::/64".parse().unwrap()]).into();
    let given = Given { local: Some(v4("203.0.113.9")), ..Given::default() };
    let host = of_link(&router, Platform::Kame, &given);
    // u = 0 whatever the address.
    let link_local = "ifconfig ist0 inet6 fe80::5efe:203.0.113.9 prefixlen 64";
    are(&commands(&host), &[link_local, "ifconfig ist0 isataprtr 10.0.0.1", "rtsold ist0"]);
    assert_eq!(host[1].undo.as_deref(), Some("ifconfig ist0 deleteisataprtr 10.0.0.1"));
    let mut ours = IsatapHost::new();
    ours.router = vec!["10.0.0.1".parse().unwrap()];
    let given = Given { prefix: vec!["3ffe:ffff:ffff:ffff::/64".parse().unwrap()], ..Given::default() };
    let router = of_link(&ours.into(), Platform::Kame, &given);
    are(
        &commands(&router),
        &[
            "ifconfig ist0 inet6 fe80::5efe:10.0.0.1 prefixlen 64",
            "ifconfig ist0 inet6 3ffe:ffff:ffff:ffff::5efe:10.0.0.1 prefixlen 64 alias",
            "sysctl net.inet6.ip6.forwarding=1",
            "rtadvd ist0",
        ],
    );
}

/// As Cisco's and OpenWrt's documentation writes them.
#[test]
fn tunnels_of_cisco_and_openwrt_have_the_ends_the_other_way_round() {
    let mut tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(v4("192.0.2.9").into()) };
    tunnel.address = vec!["2001:db8:77::1/64".parse().unwrap()];
    let mut given = Given { address: vec!["2001:db8:77::2/64".parse().unwrap()], ..Given::default() };
    let cisco = of_link(&tunnel.clone().into(), Platform::Cisco, &given);
    let lines = [
        "interface Tunnel0",
        "no ip address",
        "ipv6 enable",
        "ipv6 address 2001:db8:77::2/64",
        "tunnel source 192.0.2.9",
        "tunnel destination 192.0.2.1",
        "tunnel mode ipv6ip",
        "exit",
    ];
    assert_eq!(commands(&cisco), lines);
    let openwrt = of_link(&tunnel.into(), Platform::OpenWrt, &given);
    for line in [
        "uci set network.tun6in4.proto=6in4",
        "uci set network.tun6in4.ipaddr=192.0.2.9",
        "uci set network.tun6in4.peeraddr=192.0.2.1",
        "uci add_list network.tun6in4.ip6addr=2001:db8:77::2/64",
    ] {
        assert!(commands(&openwrt).contains(&line), "{openwrt:#?}");
    }
    // S6R-10
    let relay = SixRd {
        role: SixRdRole::BorderRelay,
        v4_mask_len: 8,
        local: Some(v4("10.3.3.2")),
        prefix: "2001:db8::/32".parse().ok(),
        ..SixRd::new()
    };
    given.local = Some(v4("10.1.1.2"));
    let edge = of_link(&relay.clone().into(), Platform::Cisco, &given);
    for line in [
        "tunnel source 10.1.1.2",
        "tunnel mode ipv6ip 6rd",
        "tunnel 6rd ipv4 prefix-len 8",
        "tunnel 6rd prefix 2001:db8::/32",
        "tunnel 6rd br 10.3.3.2",
    ] {
        assert!(commands(&edge).contains(&line), "{edge:#?}");
    }
    let by_ip = of_link(&relay.into(), Platform::Iproute2, &given);
    let option = "08:20:20:01:0d:b8:00:00:00:00:00:00:00:00:00:00:00:00:0a:03:03:02";
    assert!(by_ip[1].note.as_ref().unwrap().contains(option), "{by_ip:#?}");
}

#[test]
fn what_follows_a_device_is_not_known_to_the_other_end() {
    let mut tunnel = Tunnel::new(v4("192.0.2.9").into());
    tunnel.via = Some("ppp0".to_owned());
    let steps = of_link(&tunnel.into(), Platform::Iproute2, &Given::default());
    assert!(steps.len() == 1 && steps[0].is_open() && commands(&steps).is_empty(), "{steps:#?}");
}

/// One of each kind; of kinds with roles one of each role.
fn every_link(dev: &str) -> Vec<LinkSpec> {
    let mut host = IsatapHost::new();
    host.router = vec!["10.0.0.1".parse().unwrap()];
    let mut tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(v4("192.0.2.9").into()) };
    tunnel.address = vec!["2001:db8:77::1/64".parse().unwrap()];
    let edge = SixRd {
        br: vec![v4("10.0.0.1")],
        v4_mask_len: 8,
        local: Some(v4("10.1.1.1")),
        prefix: "2001:db8::/32".parse().ok(),
        ..SixRd::new()
    };
    let relay = SixRd { role: SixRdRole::BorderRelay, br: Vec::new(), ..edge.clone() };
    let sixtofour = |role| SixToFour { role, local: vec![v4("131.107.0.1")], ..SixToFour::new() };
    let with_relay = SixToFour { relay: Some("131.107.0.9".parse().unwrap()), ..sixtofour(SixToFourRole::Router) };
    let mut links: Vec<LinkSpec> = vec![
        host.into(),
        IsatapRouter::new(vec![v4("10.0.0.1")], vec!["2001:db8:0:7::/64".parse().unwrap()]).into(),
        tunnel.into(),
        edge.into(),
        relay.into(),
        sixtofour(SixToFourRole::Relay).into(),
        sixtofour(SixToFourRole::HostRouter).into(),
        with_relay.into(),
        TeredoClient::new("131.107.0.2".parse().unwrap()).into(),
        TeredoServer::new(v4("131.107.0.2")).into(),
        TeredoRelay::new(v4("131.107.0.3")).into(),
        Compatible::new(vec![v4("131.107.0.1")]).into(),
    ];
    for link in &mut links {
        match link {
            LinkSpec::IsatapHost(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::IsatapRouter(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::Tunnel(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::SixRd(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::SixToFour(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::TeredoClient(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::TeredoServer(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::TeredoRelay(spec) => dev.clone_into(&mut spec.dev),
            LinkSpec::Compatible(spec) => dev.clone_into(&mut spec.dev),
        }
    }
    links
}

/// All that can be told beside a file.
fn everything() -> Given {
    Given {
        local: Some(v4("131.107.0.77")),
        address: vec!["2001:db8:77::2/64".parse().unwrap()],
        prefix: vec!["2001:db8:0:7::/64".parse().unwrap()],
        isatap_interface: Some("6".to_owned()),
        lan_interface: Some("Ethernet 2".to_owned()),
        router_name: None,
    }
}

#[test]
fn each_end_is_planned_or_it_is_said_why_not() {
    for platform in Platform::ALL {
        for link in every_link("dev0") {
            for (given, is_known) in [(Given::default(), false), (everything(), true)] {
                let steps = of_link(&link, platform, &given);
                assert!(!steps.is_empty(), "{platform} {link:?}");
                for step in steps {
                    let note = step.note.clone().unwrap_or_default();
                    let is_missing = note.starts_with("not known: ") && note.contains("give --");
                    let is_impossible = note.starts_with("cannot: ");
                    assert_eq!(step.is_open(), is_missing || is_impossible, "{step:?}");
                    assert!(step.command.is_some() || !note.is_empty(), "{step:?}");
                    assert!(step.command.is_some() || step.undo.is_none(), "{step:?}");
                    assert!(!(is_known && is_missing), "{step:?}");
                    assert!(!(platform == Platform::Isatap && is_impossible), "{step:?}");
                }
            }
        }
    }
}

/// Otherwise the undo of one takes away another's device.
#[test]
fn the_plan_of_one_link_is_its_part_of_the_whole() {
    let tunnel = |dev: &str, remote: &str| {
        let mut tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(remote.parse().unwrap()) };
        dev.clone_into(&mut tunnel.dev);
        tunnel.address = vec!["2001:db8:77::/127".parse().unwrap()];
        LinkSpec::from(tunnel)
    };
    // OpenWrt has no place for the last name, and calls it by its number.
    let names = ["t0", "t1", "tunnel-of-two"];
    let links = [tunnel("t0", "192.0.2.9"), tunnel("t1", "192.0.2.10"), tunnel("tunnel-of-two", "192.0.2.11")];
    for platform in Platform::ALL {
        let whole = of_links(&links, platform, &Given::default());
        for name in names {
            let part: Vec<Step> = whole.iter().filter(|step| step.link.as_deref() == Some(name)).cloned().collect();
            assert!(!part.is_empty());
            assert_eq!(of_device(name, &links, platform, &Given::default()), part, "{platform}");
        }
    }
    let undo = |platform| script::undo(&of_device("t1", &links, platform, &Given::default()));
    assert!(undo(Platform::Cisco).contains("no interface Tunnel1\n"));
    assert!(undo(Platform::Kame).contains("ifconfig gif1 destroy\n"));
}

/// The kernel gives a sit device without a remote end this address when it comes up.
#[test]
fn a_compatible_address_may_be_there_already() {
    let link = Compatible::new(vec![v4("131.107.0.1")]).into();
    let steps = of_link(&link, Platform::Iproute2, &everything());
    assert!(commands(&steps).contains(&"ip -6 address replace ::836b:4d/96 dev tuncompat"), "{steps:#?}");
}

/// Two kernel tunnels cannot have the same ends; those with a remote one can.
#[test]
fn linux_is_not_asked_for_two_tunnels_of_the_same_ends() {
    for platform in [Platform::Iproute2, Platform::Networkd] {
        let steps = of_links(&every_link("dev0")[1..], platform, &everything());
        let made = |step: &&Step| {
            step.command.as_ref().is_some_and(|command| command.contains("remote") || command.contains("Remote"))
        };
        assert_eq!(steps.iter().filter(made).count(), 1);
        let refused =
            steps.iter().filter(|step| step.note.as_ref().is_some_and(|note| note.contains("one tunnel for a pair")));
        assert!(refused.count() >= 5, "{steps:#?}");
    }
    // Here a device tells two of the same ends apart: of their other ends each is another machine's.
    let bound = |dev: &str, by: &str| -> LinkSpec {
        let tunnel = Tunnel { local: Some(v4("192.0.2.1")), ..Tunnel::new(v4("192.0.2.2").into()) };
        Tunnel { dev: dev.into(), bind_device: Some(by.into()), ..tunnel }.into()
    };
    let both = of_links(&[bound("a", "eth0"), bound("b", "eth1")], Platform::Iproute2, &everything());
    let told = both.iter().filter_map(|step| step.note.as_ref()).find(|note| note.contains("one tunnel for a pair"));
    assert!(told.unwrap().ends_with("these are a's; plan each with --link for the machine behind eth1"), "{told:?}");
    let alike = of_links(&every_link("dev0"), Platform::Kame, &everything());
    assert!(!alike.iter().any(|step| step.note.as_ref().is_some_and(|note| note.contains("one tunnel"))));
}

#[test]
fn text_is_a_script_and_the_undo_goes_backwards() {
    let steps = of_links(&every_link("dev0"), Platform::Iproute2, &everything());
    let text = script::text(&steps);
    let checked = Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
    let undo = script::undo(&steps);
    let last = undo.lines().rfind(|line| !line.starts_with('#')).unwrap();
    assert_eq!(last, "ip tunnel del dev0");
    assert_eq!(undo.lines().find(|line| !line.starts_with('#')), Some("ip tunnel del dev0"));
    let windows = script::text(&of_links(&every_link("a&b|c"), Platform::Windows, &everything()));
    assert!(!windows.lines().any(|line| line.starts_with("rem") && line.contains(['&', '|', '>', '%'])), "{windows}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// A shell that runs a plan runs its programs with whole words, whatever the device is called.
    #[test]
    fn no_device_name_gets_out_of_its_word(name in "[-;&|<>(){}\\[\\]$`\\\\\"'*?~#!^=a-c]{1,14};") {
        prop_assert!(crate::device::check_device(&name).is_ok());
        for platform in [Platform::Iproute2, Platform::OpenWrt, Platform::Kame, Platform::Isatap] {
            let links = every_link(&name);
            let steps: Vec<Step> = links.iter().flat_map(|link| of_link(link, platform, &everything())).collect();
            let lines: Vec<&str> = steps.iter().flat_map(|step| [&step.command, &step.undo])
                .flatten().flat_map(|text| text.lines()).filter(|line| !line.starts_with(['/', 'k'])).collect();
            let mocks: String = ["ip", "sysctl", "radvd", "uci", "opkg", "ifconfig", "route", "rtsold", "rtadvd", "isatap"]
                .map(|program| format!("{program}() {{ for word; do printf '%s\\n' \"$word\"; done; echo .; }}\n")).concat();
            let script = format!("{mocks}{}\n", lines.join("\n"));
            let output = Command::new("/bin/sh").args(["-c", &script]).env("PATH", "").output().unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            prop_assert!(output.status.success() && output.stderr.is_empty(), "{script}\n{:?}", output.stderr);
            prop_assert_eq!(text.lines().filter(|line| *line == ".").count(), lines.len());
            let is_plain = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:=%-".contains(&byte));
            for word in text.lines() {
                prop_assert!(is_plain(&word.replace(&name, "")), "{word} of {name}");
            }
        }
        // Files have no place for such names.
        for step in every_link(&name).iter().flat_map(|link| of_link(link, Platform::Networkd, &everything())) {
            prop_assert!(!step.command.unwrap_or_default().contains(&name));
        }
    }
}
