//! The JSON of `isatap status -j`, as `docs/json.md` lists it.

use super::*;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::SocketAddrV4;

/// All that a device can say at once.
fn full() -> Status {
    let (v4, v6): (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(10, 0, 0, 1), Ipv6Addr::LOCALHOST);
    let (text, mapped) = (|| Some("text".to_owned()), SocketAddrV4::new(v4, 3544));
    Status {
        dev: "isatap0".to_owned(),
        role: "isatap-host".to_owned(),
        up: true,
        locators: vec![v4],
        waiting: text(),
        addresses: vec![Address { address: v6, prefix_length: 64, preferred: Some(1), valid: Some(2) }],
        routers: vec![Router { address: v4, link_local: v6, reachability: text() }],
        prl: vec![PotentialRouterStatus {
            address: v4,
            source: "static".to_owned(),
            default: true,
            alive: true,
            heard: Some(6),
            attempts: 1,
            next_solicitation: Some(9),
        }],
        prl_error: text(),
        names: Some(NamesStatus {
            steps: vec![NameStep {
                step: "dns".to_owned(),
                name: "isatap.example.com".to_owned(),
                addresses: vec![v4],
                failure: text(),
                conflict: vec![NameClaim { by: v4, addresses: vec![v4] }],
            }],
            refused: BTreeMap::from([("REASON".to_owned(), 1)]),
        }),
        responder: Some(ResponderStatus {
            links: vec![HeldName {
                at: "eth0".to_owned(),
                by: "llmnr".to_owned(),
                state: "lost".to_owned(),
                holder: Some(v4),
            }],
            wins: vec![HeldName {
                at: v4.to_string(),
                by: "wins".to_owned(),
                state: "held".to_owned(),
                holder: Some(v4),
            }],
            answered: 1,
            refused: BTreeMap::from([("REASON".to_owned(), 1)]),
            stopped: true,
        }),
        mtu: 1280,
        underlay_mtu: Some(1500),
        kernel_path: Some(KernelPathStatus { on: false, why: text(), rows: 1, sent: 2, received: 3 }),
        outer: Some(OuterStatus {
            ttl: "inherit".to_owned(),
            tos: "0xb8".to_owned(),
            ecn: "normal".to_owned(),
            mark: text(),
            bind_device: text(),
        }),
        full_table: Some(FullTableStatus { routes: 1, bytes: 64 }),
        routes: vec![RouteStatus {
            prefix: "::/0".to_owned(),
            via: Some(v6),
            origin: "advertised".to_owned(),
            preference: "medium".to_owned(),
            lifetime: Some(1800),
        }],
        dns: Dns { servers: vec![v6], search: vec!["example.com".to_owned()], applied: false },
        refused: vec![Refused { router: Some(v4.into()), kind: "routes".to_owned(), last: text(), count: 1 }],
        unusable_options: 1,
        forwarding: true,
        advertises: Some(Advertised { prefixes: Vec::new(), routes: Vec::new(), default_route: true }),
        answered: Some(1),
        resting: true,
        yields_to: text(),
        relay_answers: Some(true),
        check_neighbors: text(),
        known_routers: vec![v4],
        trusted_routers: vec![v4],
        remote: Some(v4),
        reachability: text(),
        heard: Some(1),
        silent: Some(1),
        delegated: text(),
        lans: vec![LanStatus {
            dev: "eth1".to_owned(),
            subnet: text(),
            link_local: Some(v6),
            forwarding: true,
            default_router: true,
            prefixes: vec![LanPrefix { prefix: "2002::/64".to_owned(), deprecated: false, until: Some(1) }],
            problem: text(),
            fix: text(),
        }],
        counters: BTreeMap::from([("REASON".to_owned(), 1)]),
        unclaimed: BTreeMap::from([("REASON".to_owned(), 1)]),
        packets: Packets { entered: 1, tunnelled: 1, delivered: 1, consumed: 1, held: 1, dropped: 1 },
        io: BTreeMap::from([("NAME".to_owned(), 1)]),
        decisions: Some(DecisionsStatus { hits: 1, misses: 1, flows: 1 }),
        dns_updates: vec![DnsUpdateStatus {
            name: "host.example.com".to_owned(),
            server: text(),
            addresses: vec![v6],
            updated: Some(1),
            failure: text(),
            fix: text(),
            forgotten: text(),
        }],
        hooks: Some(HooksStatus {
            command: text(),
            alive: false,
            ended: text(),
            runs: 7,
            failures: 2,
            last_failure: text(),
            failed: Some(1),
            waiting: 0,
            lost: 3,
        }),
        update: Some(UpdateStatus {
            host: "broker.example".to_owned(),
            address: Some(v4),
            answer: text(),
            answered: Some(1),
            failure: text(),
            fix: text(),
            again: Some(1),
        }),
        teredo: Some(Teredo {
            state: "qualified".to_owned(),
            reason: text(),
            server: Some(v4),
            port: 3544,
            mapped: Some(mapped),
            secondary: Some(v4),
            nat: text(),
            server_heard: Some(1),
            asked_again: Some(1),
            client_id: text(),
            port_mapping: Some(PortMappingStatus { external: Some(mapped), by: text(), failure: text() }),
            peers: vec![TeredoPeer { address: v6, mapped, trusted: true, reachable: true }],
        }),
    }
}

fn keys(value: &Value, before: &str, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
                keys(value, &key, into);
                into.insert(key);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{before}[]"), into)),
        _ => {}
    }
}

#[test]
fn each_key_of_status_is_documented_and_no_other() {
    let page = include_str!("../../../docs/json.md");
    let section = page.split("\n### ").find(|section| section.starts_with("isatap status -j\n")).unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    let documented: BTreeSet<String> = rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    let json = serde_json::to_value(full()).unwrap();
    let mut printed = BTreeSet::new();
    keys(&json, "", &mut printed);
    assert_eq!(printed, documented);
    // `isatap status` reads what the daemon wrote.
    assert_eq!(serde_json::from_value::<Status>(json).unwrap(), full());
}

/// "Optional" on the page is what is left out, and nothing else is.
#[test]
fn only_optional_keys_are_left_out() {
    let mut status = full();
    (status.heard, status.silent, status.names, status.waiting) = (None, None, None, None);
    (status.answered, status.resting, status.yields_to) = (None, false, None);
    (status.relay_answers, status.teredo, status.responder) = (None, None, None);
    (status.remote, status.check_neighbors, status.lans) = (None, None, Vec::new());
    (status.dns_updates, status.hooks) = (Vec::new(), None);
    (status.outer, status.decisions, status.full_table) = (None, None, None);
    (status.update, status.kernel_path) = (None, None);
    let json = serde_json::to_value(status).unwrap();
    let page = include_str!("../../../docs/json.md");
    let section = page.split("\n### ").find(|section| section.starts_with("isatap status -j\n")).unwrap();
    for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
        let (key, meaning) = row.split_once("` | ").unwrap();
        if !key.contains(['.', '[']) {
            assert_eq!(json.get(key).is_none(), meaning.starts_with("Optional"), "{key}");
        }
    }
}
