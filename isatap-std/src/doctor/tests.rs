use super::*;
use crate::service::evidence::{Icmpv4Heard, NameFailure, NameFailureKind, Names, NeighborHealth, RefusedFrom, Taken};
use crate::service::status::{LanStatus, Packets, Status};
use serde_json::json;

const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PACKETS: Packets = Packets { entered: 4, tunnelled: 2, delivered: 1, consumed: 1, held: 0, dropped: 0 };

/// A host at 10.0.0.2 that works, as its daemon and the kernel tell it.
pub(super) fn healthy() -> Facts {
    let status: Status = serde_json::from_value(json!({
        "dev": "isatap0", "role": "isatap-host", "up": true, "locators": ["10.0.0.2"],
        "addresses": [
            {"address": "fe80::5efe:a00:2", "prefix_length": 64, "preferred": null, "valid": null},
            {"address": "2001:db8:0:7:0:5efe:a00:2", "prefix_length": 64, "preferred": 1800, "valid": 3600},
        ],
        "routers": [{"address": "10.0.0.1", "link_local": "fe80::5efe:a00:1", "reachability": "stale"}],
        "prl": [{"address": "10.0.0.1", "source": "static", "alive": true, "heard": 1, "attempts": 0, "next_solicitation": 900}],
        "prl_error": null, "mtu": 1400, "underlay_mtu": 1500,
        "routes": [
            {"prefix": "2001:db8:0:7::/64", "via": null, "origin": "on-link", "preference": "medium", "lifetime": 3600},
            {"prefix": "::/0", "via": "fe80::5efe:a00:1", "origin": "advertised", "preference": "medium", "lifetime": 1800},
        ],
        "dns": {"servers": [], "search": [], "applied": false}, "forwarding": false, "advertises": null,
        "counters": {}, "packets": {"entered": 4, "tunnelled": 2, "delivered": 1, "consumed": 1, "dropped": 0}, "io": {},
    }))
    .unwrap();
    let routes =
        vec![("2001:db8:0:7::/64".to_owned(), None), ("::/0".to_owned(), Some("fe80::5efe:a00:1".parse().unwrap()))];
    let addresses = status.addresses.iter().map(|address| address.address).collect();
    Facts {
        evidence: Evidence {
            status,
            pid: 77,
            wanted_locators: vec![Ipv4Addr::new(10, 0, 0, 2)],
            taken: Vec::new(),
            advertised_mtu: None,
            names: None,
            refused: Vec::new(),
            icmpv4: Vec::new(),
            neighbors: vec![NeighborHealth { address: ROUTER, reachability: "stale".to_owned() }],
        },
        command: Some("isatap host --local 10.0.0.2 --router 10.0.0.1".to_owned()),
        unsent: Unsent::default(),
        elapsed: 2,
        answered: vec![ROUTER],
        before: PACKETS,
        arrived: Some(Vec::new()),
        kernel: Kernel { device: Some(Device { is_up: true, mtu: 1400, addresses, routes }), ..Kernel::default() },
        probes: vec![Probe { router: ROUTER, ipv4: None, tunnel: Some(true), longest: Some(Longest::Full) }],
        teredo: None,
    }
}

/// The same host whose router has never answered, nor anything else.
fn silent() -> Facts {
    let mut facts = healthy();
    facts.answered.clear();
    let status = &mut facts.evidence.status;
    (status.prl[0].alive, status.prl[0].heard, status.prl[0].attempts) = (false, None, 3);
    status.addresses.truncate(1);
    status.routers.clear();
    status.routes.clear();
    facts.probes = vec![Probe { router: ROUTER, ipv4: Some(false), tunnel: Some(false), longest: None }];
    facts
}

/// The same host that knows its router by the name `isatap`, which fails.
fn nameless(kind: NameFailureKind) -> Facts {
    let mut facts = silent();
    facts.evidence.status.prl.clear();
    facts.evidence.names = Some(Names {
        names: vec!["isatap".to_owned()],
        bare: true,
        automatic: true,
        dns: true,
        search: vec!["example.test".to_owned()],
        nameservers: vec!["10.0.0.53".to_owned()],
        failure: Some(NameFailure { kind, text: "FAILURE".to_owned(), hint: None }),
        ..Names::default()
    });
    facts
}

pub(super) fn router() -> Facts {
    let mut facts = healthy();
    let status = &mut facts.evidence.status;
    status.role = "isatap-router".to_owned();
    status.forwarding = true;
    status.routes.retain(|route| route.via.is_none());
    status.answered = Some(700);
    facts.probes.clear();
    facts
}

/// A configured tunnel to 10.0.0.1 whose other end answers.
fn tunnel() -> Facts {
    let mut facts = router();
    let status = &mut facts.evidence.status;
    (status.role, status.remote, status.answered) = ("configured".to_owned(), Some(ROUTER), None);
    facts.command = Some("isatap tunnel --local 10.0.0.2 --remote 10.0.0.1".to_owned());
    facts.probes = vec![Probe { router: ROUTER, ipv4: None, tunnel: Some(true), longest: None }];
    facts
}

/// The same beside two others from its IPv4 address, one of the same daemon: they have its
/// link-local address too.
fn broker() -> Facts {
    let mut facts = tunnel();
    facts.evidence.status.addresses[0].address = "fe80::a00:2".parse().unwrap();
    let address = facts.evidence.status.addresses[0].address;
    facts.kernel.device.as_mut().unwrap().addresses.push(address);
    for (device, pid) in [("cust2", facts.evidence.pid), ("cust3", 4711)] {
        let holder = Some((pid, "isatap".to_owned()));
        facts.kernel.rivals.push(Rival { device: device.to_owned(), address, holder });
    }
    facts
}

/// The same, and nothing comes back.
fn silent_tunnel(ipv4: bool) -> Facts {
    let mut facts = tunnel();
    facts.probes = vec![Probe { router: ROUTER, ipv4: Some(ipv4), tunnel: Some(false), longest: None }];
    facts
}

fn arrived() -> Option<Vec<Arrived>> {
    Some(vec![Arrived { from: ROUTER, device: "eth0".to_owned(), count: 3 }])
}

/// A 6to4 router with a LAN that is served.
fn lan_router() -> Facts {
    let mut facts = router();
    let status = &mut facts.evidence.status;
    (status.role, status.advertises) = ("6to4-router".to_owned(), None);
    (status.remote, status.answered) = (Some(ROUTER), None);
    facts.probes = vec![Probe { router: ROUTER, ipv4: None, tunnel: Some(true), longest: None }];
    let status = &mut facts.evidence.status;
    status.lans = serde_json::from_value(json!([{
        "dev": "eth1", "subnet": "5", "link_local": "fe80::1", "forwarding": true, "default_router": true,
        "prefixes": [
            {"prefix": "2002:836b:1:5::/64", "deprecated": true, "until": 7000},
            {"prefix": "2002:9d3c:1:5::/64", "deprecated": false, "until": null},
        ],
        "problem": null, "fix": null,
    }]))
    .unwrap();
    facts
}

fn taken() -> Taken {
    Taken { cause: "process 78 does that already".to_owned(), fix: "stop it (kill 78)".to_owned() }
}

fn refused(reason: &str, from: [u8; 4]) -> RefusedFrom {
    RefusedFrom { reason: reason.to_owned(), from: from.into(), inner_source: None, count: 3, age: 2 }
}

fn icmpv4(from: [u8; 4], code: u8) -> Icmpv4Heard {
    Icmpv4Heard { from: from.into(), about: ROUTER, kind: 3, code, count: 2, age: 1 }
}

#[test]
fn sec_1_a_router_that_leaves_a_loop_open_is_told_how_to_close_it() {
    let mut facts = router();
    facts.command = Some("isatap router --local 10.0.0.2 --check-neighbors off --prefix 2001:db8:0:7::/64".to_owned());
    facts.evidence.status.check_neighbors = Some("off".to_owned());
    let last = diagnose(&facts).pop().unwrap();
    assert!(!last.ok && last.step == Step::Peer, "{last:?}");
    assert!(last.cause.unwrap().contains("routing loop on private IPv4 (10.0.0.2)"));
    let fix = "restart it: isatap router --local 10.0.0.2 --prefix 2001:db8:0:7::/64 --check-neighbors where-blind";
    assert_eq!(last.fix.unwrap(), fix);
    // On public addresses the others' checks see it.
    facts.evidence.status.locators = vec![Ipv4Addr::new(131, 107, 0, 1)];
    assert!(diagnose(&facts).iter().all(|finding| finding.ok));
    for check in ["where-blind", "on"] {
        let mut facts = router();
        facts.evidence.status.check_neighbors = Some(check.to_owned());
        assert!(diagnose(&facts).iter().all(|finding| finding.ok && finding.warning.is_none()), "{check}");
        facts.evidence.status.trusted_routers = vec![ROUTER];
        let last = diagnose(&facts).pop().unwrap();
        assert!(last.ok && last.warning.unwrap().contains("10.0.0.1 is trusted on private IPv4"));
    }
}

#[test]
fn a_healthy_link_passes_every_step() {
    for (facts, steps) in [
        (healthy(), Step::OF_HOST),
        (router(), Step::OF_ROUTER),
        (tunnel(), Step::OF_ROUTER),
        (broker(), Step::OF_ROUTER),
        (lan_router(), Step::OF_LAN_ROUTER),
    ] {
        let findings = diagnose(&facts);
        assert_eq!(findings.iter().map(|finding| finding.step).collect::<Vec<_>>(), steps);
        assert!(findings.iter().all(|finding| finding.ok && finding.cause.is_none() && finding.fix.is_none()));
        assert!(findings.iter().all(|finding| finding.seen.is_some() && finding.warning.is_none()), "{findings:#?}");
        assert!(findings.iter().all(|finding| !finding.unknown), "{findings:#?}");
    }
}

/// One line each: what is wrong, the step that has to fail, and what cause and fix must say.
#[test]
fn each_failure_is_named_by_its_step_its_cause_and_its_fix() {
    type Break = fn(&mut Facts);
    let mut bare = nameless(NameFailureKind::NoSuchName);
    bare.evidence.names.as_mut().unwrap().search.clear();
    let mut pending = nameless(NameFailureKind::NoSuchName);
    let names = pending.evidence.names.as_mut().unwrap();
    (names.failure, names.pending) = (None, true);
    let mut wrong_name = silent();
    wrong_name.evidence.status.prl[0].source = "dns isatap.example.test.".to_owned();
    let by_name = [
        ("no such name", nameless(NameFailureKind::NoSuchName), Step::Name, "know no IPv4 address", "/etc/hosts"),
        ("no search domain", bare, Step::Name, "no search domain", "search DOMAIN"),
        ("no answer yet", pending, Step::Name, "10.0.0.53 have not answered yet", "wait"),
        ("no server", nameless(NameFailureKind::NoServer), Step::Name, "FAILURE (10.0.0.53)", "nameserver V4"),
        ("bad server", nameless(NameFailureKind::BadServer), Step::Name, "FAILURE (10.0.0.53)", "another"),
        ("contested", nameless(NameFailureKind::Conflict), Step::Name, "FAILURE", "leave out refuse-conflicts"),
        ("no file", nameless(NameFailureKind::Local), Step::Name, "FAILURE", "readable"),
        ("unusable", nameless(NameFailureKind::NoUsableAddress), Step::Prl, "no address that a router", "A record"),
        ("wrong address", wrong_name, Step::RaSeen, "comes from dns isatap.example.test.", "correct the name"),
    ];
    let of_host: [(Break, Step, &str, &str); 36] = [
        (|f| f.evidence.status.prl.clear(), Step::Prl, "is empty", "isatap host --local 10.0.0.2 --router V4"),
        (
            |f| f.evidence.status.locators.clear(),
            Step::RsSent,
            "no longer has the IPv4 address 10.0.0.2",
            "ip address add 10.0.0.2",
        ),
        (
            |f| {
                f.evidence.status.locators.clear();
                f.evidence.wanted_locators.clear();
            },
            Step::RsSent,
            "leads to 10.0.0.1",
            "ip route get 10.0.0.1",
        ),
        (
            |f| {
                f.evidence.status.locators.clear();
                f.evidence.taken.push(taken());
            },
            Step::RsSent,
            "process 78",
            "kill 78",
        ),
        (|f| f.unsent.not_permitted = 1, Step::RsSent, "EPERM", "iptables -I OUTPUT -p 41 -j ACCEPT"),
        (
            |f| {
                f.unsent.not_permitted = 1;
                f.kernel.output_chains = vec!["inet a b".to_owned(), "ip c d".to_owned()];
            },
            Step::RsSent,
            "firewall of this machine",
            "nft insert rule inet a b ip protocol 41 accept && nft insert rule ip c d ip protocol 41 accept",
        ),
        (
            |f| {
                *f = silent();
                f.unsent.unreachable = 1;
            },
            Step::RsSent,
            "no IPv4 route",
            "ip route get",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.status.prl[0].attempts = 0;
                f.evidence.status.prl[0].next_solicitation = Some(7);
                f.evidence.status.prl[0].heard = None;
                f.answered.clear();
            },
            Step::RsSent,
            "due in 7 s",
            "wait 8 s",
        ),
        (|f| *f = silent(), Step::RaSeen, "no answer of any kind from 10.0.0.1", "ping 10.0.0.1"),
        (
            |f| {
                *f = silent();
                f.evidence.refused.push(refused("ra-not-from-router", [10, 0, 0, 9]));
            },
            Step::RaSeen,
            "10.0.0.9 advertises (3 refused) without being a potential router",
            "restart it: isatap host --local 10.0.0.2 --router 10.0.0.9",
        ),
        (
            |f| {
                *f = silent();
                let inner_source = Some("fe80::a00:1".parse().unwrap());
                f.evidence.refused.push(RefusedFrom { inner_source, ..refused("ra-not-from-router", [10, 0, 0, 1]) });
            },
            Step::RaSeen,
            "10.0.0.1 is the end of a configured tunnel and no ISATAP router: it sends from fe80::a00:1",
            "tunnel mode ipv6ip isatap",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.refused.push(refused("nd-hop-limit", [10, 0, 0, 1]));
            },
            Step::RaSeen,
            "no sound advertisement: nd-hop-limit",
            "--pcap",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.icmpv4.push(icmpv4([10, 0, 0, 1], 2));
            },
            Step::RaSeen,
            "protocol unreachable",
            "isatap router --local 10.0.0.1",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.icmpv4.push(icmpv4([10, 0, 3, 254], 13));
            },
            Step::RaSeen,
            "10.0.3.254 filters protocol 41",
            "on 10.0.3.254",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.icmpv4.push(icmpv4([10, 0, 0, 2], 1));
            },
            Step::RaSeen,
            "unreachable",
            "switch the router on",
        ),
        (
            |f| {
                *f = silent();
                f.probes[0].ipv4 = Some(true);
            },
            Step::RaSeen,
            "drops protocol 41",
            "nft insert rule",
        ),
        (
            |f| {
                *f = silent();
                f.probes[0].tunnel = Some(true);
            },
            Step::RaSeen,
            "answers pings through the tunnel and no solicitation",
            "isatap router --local 10.0.0.1",
        ),
        (|f| f.kernel.device = None, Step::Address, "no device isatap0", "restart"),
        (
            |f| f.kernel.ipv6_disabled = true,
            Step::Address,
            "disable_ipv6",
            "sysctl -w net.ipv6.conf.isatap0.disable_ipv6=0",
        ),
        (
            |f| f.kernel.device.as_mut().unwrap().is_up = false,
            Step::Address,
            "switched isatap0 off",
            "ip link set isatap0 up",
        ),
        (
            |f| f.kernel.device.as_mut().unwrap().addresses.truncate(1),
            Step::Address,
            "removed 2001:db8:0:7:0:5efe:10.0.0.2 from",
            "ip link set isatap0 down && ip link set isatap0 up",
        ),
        (
            |f| {
                let address = f.evidence.status.addresses[0].address;
                let holder = Some((4711, "isatap".to_owned()));
                f.kernel.rivals.push(Rival { device: "isatap1".to_owned(), address, holder });
            },
            Step::Address,
            "isatap1 has the address fe80::5efe:10.0.0.2 of isatap0 too: process 4711",
            "kill 4711",
        ),
        (
            |f| {
                let address = f.evidence.status.addresses[0].address;
                f.kernel.rivals.push(Rival { device: "is0".to_owned(), address, holder: None });
            },
            Step::Address,
            "two tunnels",
            "ip link set is0 down",
        ),
        (|f| f.evidence.status.addresses.truncate(1), Step::Address, "10.0.0.1 advertises no prefix", "A flag"),
        (
            |f| f.kernel.device.as_mut().unwrap().routes.truncate(1),
            Step::Route,
            "removed route ::/0 via fe80::5efe:a00:1",
            "ip link set",
        ),
        (
            |f| {
                f.evidence.status.routes.remove(0);
            },
            Step::Route,
            "2001:db8:0:7::/64 without the L flag",
            "on 10.0.0.1",
        ),
        (|f| f.evidence.status.routes.truncate(1), Step::Route, "neither a default route", "forwarding=1"),
        (
            |f| f.kernel.device.as_mut().unwrap().mtu = 1500,
            Step::Mtu,
            "has MTU 1500 where the daemon wants 1400",
            "ip link set isatap0 mtu 1400",
        ),
        (
            |f| f.probes[0].longest = Some(Longest::Bytes(1333)),
            Step::Mtu,
            "a black hole on the way to 10.0.0.1: packets of 1333 bytes",
            "restart it: isatap host --local 10.0.0.2 --router 10.0.0.1 --mtu 1333",
        ),
        // As the file wants it: a number without quotes.
        (
            |f| {
                f.probes[0].longest = Some(Longest::Bytes(1333));
                f.command = Some("isatap run /etc/isatap.toml".to_owned());
            },
            Step::Mtu,
            "black hole",
            "write mtu = 1333 into /etc/isatap.toml, and: kill -HUP",
        ),
        (
            |f| {
                f.probes[0].longest = Some(Longest::Bytes(1333));
                f.evidence.advertised_mtu = Some(1400);
            },
            Step::Mtu,
            "black hole",
            "advertise an MTU of 1333 on 10.0.0.1",
        ),
        (|f| f.probes[0].longest = Some(Longest::BelowMinimum), Step::Mtu, "1280 bytes are not", "ICMPv4"),
        // What was heard before the examination is no evidence, whatever the lifetimes say.
        (
            |f| {
                f.probes[0] = Probe { router: ROUTER, ipv4: Some(true), tunnel: Some(false), longest: None };
                f.evidence.status.prl[0].heard = Some(5);
                f.answered.clear();
                f.evidence.status.prl[0].attempts = 1;
                f.evidence.status.routers[0].reachability = Some("reachable".to_owned());
            },
            Step::RaSeen,
            "10.0.0.1 answers an IPv4 ping, and nothing of protocol 41 comes back",
            "nft insert rule",
        ),
        (
            |f| {
                *f = silent();
                f.evidence.status.prl[0].heard = Some(300);
            },
            Step::RaSeen,
            "no answer of any kind from 10.0.0.1 (heard 300 s ago, and not now)",
            "ping 10.0.0.1",
        ),
        (
            |f| {
                *f = silent();
                f.arrived = arrived();
            },
            Step::RaSeen,
            "what 10.0.0.1 answers comes in at eth0, and this machine's own firewall drops it",
            "iptables -I INPUT -p 41 -j ACCEPT",
        ),
        (
            |f| {
                *f = silent();
                f.arrived = arrived();
                f.kernel.input_chains = vec!["inet a in".to_owned(), "ip c pre".to_owned()];
            },
            Step::RaSeen,
            "own firewall",
            "nft insert rule inet a in ip protocol 41 accept && nft insert rule ip c pre ip protocol 41 accept",
        ),
    ];
    let of_router: [(Break, Step, &str, &str); 16] = [
        (
            |f| f.evidence.status.locators.clear(),
            Step::Address,
            "no longer has the IPv4 address 10.0.0.2",
            "ip address add",
        ),
        (
            |f| f.evidence.status.forwarding = false,
            Step::Route,
            "does not forward IPv6",
            "sysctl -w net.ipv6.conf.all.forwarding=1",
        ),
        (|f| f.kernel.device.as_mut().unwrap().mtu = 1280, Step::Mtu, "has MTU 1280", "ip link set isatap0 mtu 1400"),
        (|f| f.unsent.not_permitted = 2, Step::Peer, "EPERM", "iptables"),
        (
            |f| f.evidence.refused.push(refused("not-a-member", [10, 0, 9, 5])),
            Step::Peer,
            "3 packets of 10.0.9.5 were dropped, the last 2 s ago: it is in none of the site's prefixes (--member;",
            "if 10.0.9.5 belongs to the site, restart it: isatap host --local 10.0.0.2 --router 10.0.0.1 --member 10.0.9.0/24",
        ),
        (|f| f.arrived = arrived(), Step::Peer, "packets of 10.0.0.1 come in at eth0", "iptables -I INPUT"),
        (
            |f| {
                f.evidence.status.locators.clear();
                f.evidence.wanted_locators.clear();
            },
            Step::Address,
            "lacks an IPv4 address to send from",
            "ip address add V4/LEN",
        ),
        (
            |f| {
                // 6to4 has an IPv4 address that is of no use to it.
                f.evidence.status.role = "6to4-router".to_owned();
                f.evidence.status.addresses.clear();
                f.evidence.taken.push(taken());
            },
            Step::Address,
            "process 78",
            "kill 78",
        ),
        (
            |f| {
                f.evidence.status.role = "6to4-host-router".to_owned();
                f.evidence.status.addresses.clear();
                f.evidence.wanted_locators.clear();
                f.command = Some("isatap 6to4".to_owned());
            },
            Step::Address,
            "6to4 needs a public IPv4 address, and this machine has only 10.0.0.2",
            "restart it: isatap 6to4 --accept-bogons",
        ),
        (
            |f| {
                *f = silent_tunnel(true);
                f.evidence.icmpv4.push(icmpv4([10, 0, 0, 1], 2));
            },
            Step::Peer,
            "10.0.0.1 has no tunnel to 10.0.0.2: 10.0.0.1 says protocol unreachable",
            "isatap tunnel --local 10.0.0.1 --remote 10.0.0.2",
        ),
        (
            |f| {
                *f = silent_tunnel(true);
                f.evidence.icmpv4.push(icmpv4([10, 0, 0, 1], 3));
            },
            Step::Peer,
            "says port unreachable",
            "isatap tunnel --local 10.0.0.1 --remote 10.0.0.2",
        ),
        (
            |f| {
                *f = silent_tunnel(true);
                f.evidence.icmpv4.push(icmpv4([10, 0, 3, 254], 13));
            },
            Step::Peer,
            "10.0.3.254 filters protocol 41 to 10.0.0.1",
            "on 10.0.3.254",
        ),
        (
            |f| {
                *f = silent_tunnel(true);
                f.arrived = arrived();
            },
            Step::Peer,
            "what 10.0.0.1 answers comes in at eth0, and this machine's own firewall drops it",
            "iptables -I INPUT",
        ),
        (
            |f| *f = silent_tunnel(true),
            Step::Peer,
            "answers an IPv4 ping, and nothing of protocol 41",
            "--remote 10.0.0.2",
        ),
        (|f| *f = silent_tunnel(false), Step::Peer, "no answer of any kind from 10.0.0.1", "ping 10.0.0.1"),
        (
            |f| {
                *f = silent_tunnel(false);
                f.evidence.status.role = "6rd-ce".to_owned();
                f.evidence.status.relay_answers = Some(false);
                f.evidence.icmpv4.push(icmpv4([10, 0, 0, 1], 2));
            },
            Step::Peer,
            "10.0.0.1 is no relay: 10.0.0.1 says protocol unreachable",
            "let a relay run on 10.0.0.1, or name another",
        ),
    ];
    let broken = |mut facts: Facts, change: Break| {
        change(&mut facts);
        facts
    };
    let named = by_name.into_iter().map(|(_, facts, step, cause, fix)| (facts, step, cause, fix));
    let host = of_host.into_iter().map(|(change, step, cause, fix)| (broken(healthy(), change), step, cause, fix));
    let router = of_router.into_iter().map(|(change, step, cause, fix)| (broken(router(), change), step, cause, fix));
    for (facts, step, cause, fix) in named.chain(host).chain(router) {
        let findings = diagnose(&facts);
        let (last, before) = findings.split_last().unwrap();
        assert!(before.iter().all(|finding| finding.ok), "{cause}: {findings:#?}");
        assert!(!last.ok && last.step == step, "{cause}: {last:#?}");
        assert!(last.cause.as_ref().unwrap().contains(cause), "{cause}: {last:#?}");
        assert!(last.fix.as_ref().unwrap().contains(fix), "{fix}: {last:#?}");
        assert!(!format!("{last:?}").contains('\n'), "one line each: {last:#?}");
    }
}

#[test]
fn isa_24_a_lookup_that_fails_is_a_warning_while_a_router_is_known() {
    let mut facts = healthy();
    facts.evidence.names = nameless(NameFailureKind::NoServer).evidence.names;
    let findings = diagnose(&facts);
    assert!(findings.iter().all(|finding| finding.ok));
    assert!(findings[0].warning.as_ref().unwrap().contains("FAILURE"), "{findings:#?}");
}

#[test]
fn the_bare_name_is_warned_of_where_it_works() {
    let mut facts = healthy();
    let names = nameless(NameFailureKind::NoServer).evidence.names.unwrap();
    let sources = vec!["dns isatap.example.test.".to_owned()];
    facts.evidence.names = Some(Names { failure: None, sources, ..names });
    let findings = diagnose(&facts);
    assert!(findings.iter().all(|finding| finding.ok));
    assert!(findings[0].warning.as_ref().unwrap().contains("whoever answers for isatap in example.test"));
}

#[test]
fn a_router_that_answers_no_ping_is_a_peer_when_it_answers_solicitations() {
    let mut facts = healthy();
    facts.probes[0] = Probe { router: ROUTER, ipv4: Some(false), tunnel: Some(false), longest: None };
    let findings = diagnose(&facts);
    assert!(findings.iter().all(|finding| finding.ok), "{findings:#?}");
    let mtu = findings.iter().find(|finding| finding.step == Step::Mtu).unwrap();
    assert!(mtu.unknown && mtu.seen.as_ref().unwrap().contains("not tried"), "{mtu:?}");
    assert_eq!(findings.last().unwrap().warning.as_deref(), Some("10.0.0.1 answers no ping"));
}

/// Ages are whole seconds; what was heard a moment before does not count.
#[test]
fn what_was_heard_before_is_not_heard_again() {
    for (before, after, elapsed, again) in [
        (None, Some(0), 0, true),
        (None, None, 5, false),
        (Some(300), Some(0), 0, true),
        // Nothing new: the age has grown by what has passed, or by a second more.
        (Some(300), Some(302), 2, false),
        (Some(300), Some(303), 2, false),
        (Some(0), Some(2), 2, false),
        (Some(0), Some(1), 4, true),
    ] {
        assert_eq!(is_heard_again(before, after, elapsed), again, "{before:?} {after:?} {elapsed}");
    }
}

/// What nothing fresh speaks for is not ok, and what cannot be known is said to be unknown.
#[test]
fn counters_of_the_past_are_no_evidence() {
    let peer = |facts: &Facts| diagnose(facts).pop().unwrap();
    // Packets that came in meanwhile show one way of two.
    let mut facts = silent_tunnel(true);
    facts.evidence.status.packets.delivered += 2;
    let finding = peer(&facts);
    assert!(finding.ok && finding.unknown && finding.seen.unwrap().starts_with("2 packets came in"));
    // An old complaint of ICMPv4 is not.
    let mut facts = silent_tunnel(true);
    facts.evidence.icmpv4.push(Icmpv4Heard { age: 3, ..icmpv4([10, 0, 0, 1], 2) });
    assert!(peer(&facts).cause.unwrap().contains("answers an IPv4 ping"));
    // Nobody to ask, or nobody who may.
    let mut unknown = vec![lan_router(), router(), tunnel(), router(), lan_router()];
    unknown[0].evidence.status.remote = None;
    unknown[1].evidence.status.answered = None;
    unknown[2].probes[0].tunnel = None;
    unknown[3].evidence.status.role = "6rd-br".to_owned();
    unknown[4].evidence.status.resting = true;
    for facts in unknown {
        let finding = peer(&facts);
        assert!(finding.step == Step::Peer && finding.ok && finding.unknown, "{finding:?}");
    }
    // Where the daemon hears what comes in, no firewall is in between.
    let mut facts = silent_tunnel(true);
    facts.arrived = arrived();
    facts.evidence.refused.push(refused("configured-source-mismatch", [10, 0, 0, 1]));
    assert!(!peer(&facts).cause.unwrap().contains("firewall"));
}

#[test]
fn old_complaints_say_nothing_of_the_present() {
    let mut facts = silent();
    facts.evidence.icmpv4.push(Icmpv4Heard { age: 3600, ..icmpv4([10, 0, 0, 1], 2) });
    facts.evidence.refused.push(RefusedFrom { age: 7200, ..refused("ra-not-from-router", [10, 0, 0, 9]) });
    assert!(diagnose(&facts).last().unwrap().cause.as_ref().unwrap().contains("no answer of any kind"));
}

#[test]
fn without_a_daemon_the_holder_of_the_device_is_named() {
    let empty = RuntimeDir::at("/nonexistent");
    let nobody = Finding::no_daemon("isatap0", &empty, None);
    assert!(!nobody.ok && nobody.cause.unwrap().contains("no daemon runs isatap0"));
    assert!(nobody.fix.unwrap().starts_with("isatap host --dev isatap0"));
    let held = Finding::no_daemon("isatap0", &empty, Some(&(12, "isatap".to_owned())));
    assert_eq!((held.cause.unwrap().contains("process 12"), held.fix.as_deref()), (true, Some("kill 12")));
}

#[test]
fn json_has_the_documented_keys() {
    let bad = serde_json::to_string(&Finding::bad(Step::RaSeen, "c", "f")).unwrap();
    assert_eq!(bad, r#"{"step":"ra-seen","ok":false,"cause":"c","fix":"f"}"#);
    let good = serde_json::to_string(&Finding::good(Step::RsSent, "s")).unwrap();
    assert_eq!(good, r#"{"step":"rs-sent","ok":true,"seen":"s"}"#);
    for step in Step::OF_HOST.iter().chain(Step::OF_ROUTER).chain(&[Step::Daemon]) {
        assert_eq!(serde_json::to_value(step).unwrap(), step.as_str());
    }
}

/// S64-37, NDP-67: what keeps the hosts of a LAN from a prefix and a way on.
#[test]
fn a_lan_whose_hosts_get_nothing_is_named_with_what_mends_it() {
    type Break = fn(&mut LanStatus);
    let cases: [(Break, &str, &str); 4] = [
        (
            |lan| (lan.problem, lan.fix) = (Some("eth1 is switched off".into()), Some("ip link set eth1 up".into())),
            "the hosts of eth1 get no prefix: eth1 is switched off",
            "ip link set eth1 up",
        ),
        (
            |lan| lan.problem = Some("eth1 has no link-local address yet".into()),
            "no link-local address yet",
            "wait a moment",
        ),
        (
            |lan| lan.forwarding = false,
            "hosts on eth1 are not told of a default router",
            "net.ipv6.conf.eth1.forwarding=1",
        ),
        (|lan| lan.prefixes.truncate(1), "no prefix for the hosts of eth1", "isatap status isatap0"),
    ];
    for (change, cause, fix) in cases {
        let mut facts = lan_router();
        change(&mut facts.evidence.status.lans[0]);
        let last = diagnose(&facts).pop().unwrap();
        assert_eq!((last.step, last.ok), (Step::Lan, false), "{last:?}");
        assert!(last.cause.as_ref().unwrap().contains(cause) && last.fix.as_ref().unwrap().contains(fix), "{last:?}");
    }
    // A site without a relay works, for other sites.
    let mut facts = lan_router();
    facts.evidence.status.lans[0].default_router = false;
    let findings = diagnose(&facts);
    let lan = findings.iter().find(|finding| finding.step == Step::Lan).unwrap();
    assert!(lan.ok && lan.warning.as_ref().unwrap().contains("--relay"), "{lan:?}");
}

#[test]
fn a_tunnel_without_a_way_out_or_for_this_machine_alone_is_told() {
    let route_of = |facts: &Facts| {
        let finding = diagnose(facts).into_iter().find(|finding| finding.step == Step::Route).unwrap();
        assert!(finding.ok);
        (finding.seen.unwrap(), finding.warning)
    };
    let mut facts = tunnel();
    facts.evidence.status.forwarding = true;
    assert!(matches!(route_of(&facts), (seen, None) if !seen.contains("this machine alone")));
    facts.kernel.without_default_route = true;
    facts.evidence.status.forwarding = false;
    let (seen, warning) = route_of(&facts);
    assert!(seen.ends_with("; for this machine alone, since the kernel does not forward IPv6"), "{seen}");
    assert!(warning.unwrap().ends_with("ip -6 route add default dev isatap0 metric 2049"));
    // With link-local addresses alone it leads nowhere else.
    facts.evidence.status.addresses.retain(|own| own.address.is_unicast_link_local());
    assert_eq!(route_of(&facts).1, None);
}

#[test]
fn who_may_answer_for_the_name_follows_from_the_steps_taken() {
    let mut facts = healthy();
    let names = nameless(NameFailureKind::NoSuchName).evidence.names.unwrap();
    let names = Names { failure: None, dns: false, sources: vec!["llmnr isatap".to_owned()], ..names };
    facts.evidence.names = Some(names);
    let warned = |facts: &Facts| diagnose(facts)[0].warning.clone().unwrap();
    let say = |step: &str, refused: serde_json::Value| {
        let step = json!({"step": step, "name": "isatap", "addresses": ["10.0.0.1"], "failure": null});
        serde_json::from_value(json!({"steps": [step], "refused": refused})).unwrap()
    };
    facts.evidence.status.names = say("llmnr", json!({"tentative": 3}));
    let warning = warned(&facts);
    assert!(warning.contains("answers for isatap by llmnr is believed"), "{warning}");
    assert!(!warning.contains("other answers"), "{warning}");
    facts.evidence.status.names = say("dns", json!({"tentative": 3, "wrong-name": 1}));
    let warning = warned(&facts);
    assert!(warning.contains("answers for isatap in example.test is believed"), "{warning}");
    assert!(warning.contains("which were refused: wrong-name 1;"), "{warning}");
}

#[test]
fn whose_answer_to_a_contested_name_is_believed_follows_from_what_was_used() {
    let mut facts = healthy();
    let names = nameless(NameFailureKind::NoSuchName).evidence.names.unwrap();
    facts.evidence.names = Some(Names { failure: None, sources: vec!["lmhosts file".to_owned()], ..names });
    for (failure, believed) in [(None, "the first is believed"), (Some("contested"), "none of them is believed")] {
        let conflict = json!([{"by": "10.0.0.1", "addresses": ["10.0.0.1"]}]);
        let step =
            json!({"step": "llmnr", "name": "isatap", "addresses": [], "failure": failure, "conflict": conflict});
        facts.evidence.status.names = serde_json::from_value(json!({"steps": [step], "refused": {}})).unwrap();
        let warning = diagnose(&facts)[0].warning.clone().unwrap();
        assert!(warning.contains(believed), "{warning}");
    }
}

#[test]
fn an_edge_without_a_lease_waits_for_one() {
    let mut facts = tunnel();
    let status = &mut facts.evidence.status;
    (status.role, status.remote) = ("6rd-ce".to_owned(), None);
    status.addresses.clear();
    status.waiting = Some("a 6rd domain (DHCPv4 option 212) in /run/lease".to_owned());
    let finding = &diagnose(&facts)[0];
    assert!(!finding.ok && finding.step == Step::Address, "{finding:?}");
    assert!(finding.cause.as_ref().unwrap().contains("waits for a 6rd domain (DHCPv4 option 212) in /run/lease"));
    assert!(finding.fix.as_ref().unwrap().contains("option 212"));
}
