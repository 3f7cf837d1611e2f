//! A node of a scenario takes every key that the table of a daemon has, or says why it does not.

use clap::{Args, Command};

use super::super::Scenario;
use crate::config::Config;
use crate::spec;

/// A key and its value, perhaps with others on the lines below.
type Tried = (&'static str, &'static str);

/// Each key that the table of a daemon can have: its table, keys that must be there, and each other
/// key with what it needs beside it.
const KEYS: [(&str, &str, &[Tried]); 9] = [
    (
        "isatap-host",
        "",
        &[
            ("local", "[\"131.107.0.9\"]"),
            ("via", "\"eth0\""),
            ("router", "[\"131.107.0.1\", \"isatap.example\", \"other.example\"]"),
            ("router-nodefault", "[\"131.107.0.4\"]"),
            ("member", "[\"131.107.0.0/16\"]"),
            ("min-router-solicit-interval", "30"),
            ("prl-refresh-interval", "60"),
            ("solicit-all-routers", "true"),
            ("neighbor-probes", "false"),
            ("link-local-with-router", "true"),
            ("legacy-name", "true"),
            ("resolve-by", "[\"llmnr\"]"),
            ("wins", "\"131.107.0.53\"\nresolve-by = \"wins\""),
            ("lmhosts", "\"/etc/lmhosts\"\nresolve-by = \"lmhosts\""),
            ("refuse-conflicts", "true\nresolve-by = \"llmnr\""),
            ("devolution", "true"),
        ],
    ),
    (
        "isatap-router",
        "local = \"131.107.0.9\"\nprefix = \"2001:db8:0:7::/64\"\n",
        &[
            ("advertise-route", "[\"2001:db8:0:8::/64\", \"::/0\"]"),
            ("default", "\"always\""),
            ("default-route", "false"),
            ("managed", "true"),
            ("other-config", "true"),
            ("router-lifetime", "300"),
            ("valid-lifetime", "604800"),
            ("preferred-lifetime", "300"),
            ("preference", "\"high\""),
            ("dns", "[\"2001:db8::53\"]"),
            ("search", "[\"corp.example\"]"),
            ("member", "[\"131.107.0.0/16\"]"),
            ("known-router", "[\"131.107.0.2\"]"),
            ("trust-router", "[\"131.107.0.3\"]"),
            ("check-neighbors", "\"on\""),
            ("answer-by", "[\"llmnr\"]"),
            ("wins", "\"131.107.0.53\"\nanswer-by = \"netbios\""),
        ],
    ),
    (
        "tunnel",
        "local = \"131.107.0.9\"\nremote = \"131.107.0.1\"\n",
        &[
            ("via", "\"eth0\""),
            ("remote", "\"broker.example\""),
            ("address", "[\"2001:db8:77::2/64\"]"),
            ("default-route", "true"),
            ("routed-prefix", "\"2001:db8:9::/48\""),
            ("lan", "[\"eth1:1\"]\nrouted-prefix = \"2001:db8:9::/48\""),
            ("update-url", "\"https://broker.example/?hostname=1\""),
            ("update-login", "\"/etc/login\""),
            ("update-ca", "\"/etc/ca.pem\""),
            ("neighbor-probes", "false"),
        ],
    ),
    ("compatible", "local = \"131.107.0.9\"\n", &[("local", "[\"131.107.0.9\", \"131.107.0.10\"]")]),
    (
        "6rd",
        "local = \"131.107.0.9\"\nprefix = \"2001:db8::/32\"\n",
        &[
            ("via", "\"eth0\""),
            ("dhcp-lease", "\"/run/lease\""),
            ("v4-mask-len", "8"),
            ("br", "[\"131.107.0.1\"]"),
            ("role", "\"br\""),
            ("customer", "\"10.0.0.1\"\nrole = \"br\""),
            ("known-router", "[\"131.107.0.2\"]\nrole = \"br\""),
            ("anycast", "true\nrole = \"br\""),
            ("strict-siblings", "true"),
            ("lan", "[\"eth1:1\"]"),
        ],
    ),
    (
        "6to4",
        "",
        &[
            ("role", "\"router\""),
            ("local", "\"131.107.0.9\""),
            ("relay", "\"131.107.0.1\""),
            ("relay", "\"relay.example\""),
            ("probe-relay", "true\nrelay = \"131.107.0.1\""),
            ("beside-native", "true"),
            ("accept-relay", "[\"131.107.0.1\"]"),
            ("client", "[\"131.107.0.0/16\"]\nrole = \"relay\""),
            ("anycast", "true\nrole = \"relay\""),
            ("lan", "[\"eth1:a0\"]\nrole = \"router\""),
            ("resolve-by", "[\"llmnr\"]"),
            ("wins", "\"131.107.0.53\"\nresolve-by = \"wins\""),
            ("lmhosts", "\"/etc/lmhosts\"\nresolve-by = \"lmhosts\""),
            ("refuse-conflicts", "true\nresolve-by = \"llmnr\""),
            ("devolution", "true"),
            ("accept-bogons", "true"),
        ],
    ),
    (
        "teredo-client",
        "server = \"131.107.0.1\"\n",
        &[
            ("secondary", "\"131.107.0.2\""),
            ("bind", "\"131.107.0.9:4000\""),
            ("refresh-interval", "20"),
            ("determine-interval", "true"),
            ("retry-interval", "20"),
            ("secret-file", "\"/etc/secret\""),
            ("port-mapping", "\"auto\""),
            ("symmetric-nat", "false"),
            ("cone-phase", "true"),
            ("local-discovery", "true"),
            ("beside-native", "true"),
            ("accept-bogons", "true"),
        ],
    ),
    (
        "teredo-server",
        "primary = \"131.107.0.9\"\n",
        &[
            ("secondary", "\"131.107.0.11\""),
            ("known-server", "[\"131.107.0.1\"]"),
            ("accept-symmetric-bubbles", "true"),
            ("accept-obsolete-prefix", "true"),
            ("secret-file", "\"/etc/secret\""),
            ("accept-bogons", "true"),
        ],
    ),
    (
        "teredo-relay",
        "local = \"131.107.0.9\"\n",
        &[("bind", "\":4000\""), ("serve", "[\"2001:db8:1::/48\"]"), ("behind-nat", "true"), ("accept-bogons", "true")],
    ),
];

/// Those of every link, and of every one of protocol 41.
const OF_ALL: [Tried; 2] = [("dev", "\"x0\""), ("pcap", "\"x.pcap\"")];
const OF_PROTO41: [Tried; 10] = [
    ("mtu", "1400"),
    ("ttl", "9"),
    ("ttl", "\"inherit\""),
    ("tos", "\"inherit\""),
    ("ecn", "\"normal\""),
    ("mark", "16"),
    ("bind-device", "\"eth0\""),
    ("path-mtu-discovery", "false"),
    ("metric", "7"),
    ("full-table", "true"),
];

/// What the lab has not, with the value by which it is told.
const UNPLAYED: [(&str, &str, &str); 30] = [
    ("", "pcap", "x.pcap: one file has the packets of a whole scenario; leave it out; isatap lab --pcap FILE"),
    ("", "secret-file", "/etc/secret: a scenario reads no other file; leave it out"),
    ("", "via", "eth0: the lab's nodes have no IPv4 devices; leave it out"),
    ("", "bind-device", "eth0: the lab's nodes have no IPv4 devices; leave it out"),
    ("", "full-table", "true: no program puts routes on the devices of the lab's nodes; leave it out"),
    ("", "mark", "16: the lab's nodes have no policy routing; leave it out"),
    ("tunnel", "remote", "broker.example: only ISATAP hosts of the lab ask for names; write the IPv4 address"),
    ("tunnel", "update-url", "https://broker.example/?hostname=1: the lab has no TCP; leave it out"),
    ("tunnel", "update-login", "/etc/login: a scenario reads no other file; leave it out"),
    ("tunnel", "update-ca", "/etc/ca.pem: a scenario reads no other file; leave it out"),
    ("tunnel", "lan", "eth1:1: the lab's LANs have no Router Advertisements; leave it out"),
    ("6rd", "dhcp-lease", "/run/lease: a scenario reads no other file; leave it out"),
    ("6rd", "lan", "eth1:1: the lab's LANs have no Router Advertisements; leave it out"),
    ("6to4", "lan", "eth1:a0: the lab's LANs have no Router Advertisements; leave it out"),
    ("6to4", "relay", "relay.example: only ISATAP hosts of the lab ask for names; write the IPv4 address"),
    ("isatap-host", "resolve-by", "llmnr: the lab's names have one source, the scenario; leave it out"),
    ("isatap-host", "wins", "131.107.0.53: the lab's names have one source, the scenario; leave it out"),
    ("isatap-host", "lmhosts", "/etc/lmhosts: the lab's names have one source, the scenario; leave it out"),
    ("isatap-host", "refuse-conflicts", "true: the lab's names have one source, the scenario; leave it out"),
    ("isatap-host", "devolution", "true: the lab's names have one source, the scenario; leave it out"),
    ("6to4", "resolve-by", "llmnr: the lab's names have one source, the scenario; leave it out"),
    ("6to4", "wins", "131.107.0.53: the lab's names have one source, the scenario; leave it out"),
    ("6to4", "lmhosts", "/etc/lmhosts: the lab's names have one source, the scenario; leave it out"),
    ("6to4", "refuse-conflicts", "true: the lab's names have one source, the scenario; leave it out"),
    ("6to4", "devolution", "true: the lab's names have one source, the scenario; leave it out"),
    ("isatap-router", "answer-by", "llmnr: the lab's names have one source, the scenario; leave it out"),
    ("isatap-router", "wins", "131.107.0.53: the lab's names have one source, the scenario; leave it out"),
    ("isatap-host", "legacy-name", "true: the lab knows the name isatap only; leave it out"),
    ("teredo-client", "port-mapping", "auto: the lab's NATs map no port on request; leave it out"),
    ("teredo-client", "server", "teredo.example: only ISATAP hosts of the lab ask for names; write the IPv4 address"),
];

/// The keys of a table, which are flags too.
fn keys<S: Args>() -> Vec<String> {
    let command = S::augment_args(Command::new("table"));
    let flags = command.get_arguments().filter_map(|argument| argument.get_long());
    flags.map(|flag| flag.strip_prefix("no-").unwrap_or(flag).to_owned()).collect()
}

#[test]
fn a_nodes_port_proxy_takes_every_key_of_a_daemons() {
    let tried: [Tried; 9] = [
        ("listen", "\"10.0.0.1:80\""),
        ("connect", "\"10.0.0.2:80\""),
        ("direction", "\"v4tov4\""),
        ("protocol", "\"tcp\""),
        ("max-connections", "5"),
        ("max-per-source", "2"),
        ("connect-timeout", "5"),
        ("idle-timeout", "60"),
        ("proxy-protocol", "\"v2\""),
    ];
    for key in keys::<spec::PortProxy>() {
        assert!(tried.iter().any(|(tried, _)| *tried == key), "[[portproxy]] has the key {key}: try it here");
    }
    let table: String = tried.iter().map(|(key, value)| format!("{key} = {value}\n")).collect();
    let daemon = Config::parse("", &format!("[[portproxy]]\n{table}"));
    assert!(daemon.is_ok(), "{daemon:?}");
    let node = "description = \"x\"\n[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\n[[node.portproxy]]\n";
    let scenario = Scenario::parse("", &format!("{node}{table}"));
    assert!(scenario.is_ok(), "{scenario:?}");
}

#[test]
fn a_node_takes_every_key_of_a_daemons_table_or_is_told_why_not() {
    let known = [
        keys::<spec::IsatapHost>(),
        keys::<spec::IsatapRouter>(),
        keys::<spec::Tunnel>(),
        keys::<spec::Compatible>(),
        keys::<spec::SixRd>(),
        keys::<spec::SixToFour>(),
        keys::<spec::TeredoClient>(),
        keys::<spec::TeredoServer>(),
        keys::<spec::TeredoRelay>(),
    ];
    let mut refused = 0;
    for ((table, needed, tried), known) in KEYS.into_iter().zip(known) {
        let is_teredo = table.starts_with("teredo");
        let of_proto41: &[Tried] = if is_teredo { &[] } else { &OF_PROTO41 };
        let server = [("server", "\"teredo.example\"")];
        let server: &[Tried] = if table == "teredo-client" { &server } else { &[] };
        let tried: Vec<_> = [tried, &OF_ALL, of_proto41, server].concat();
        for key in known {
            let is_there = tried.iter().any(|(tried, _)| *tried == key) || needed.contains(&format!("{key} = "));
            assert!(is_there, "[[{table}]] has the key {key}: try it here");
        }
        for (key, value) in tried {
            // Of two keys that say the same thing in different ways there is one.
            let instead = [("via", "local"), ("dhcp-lease", "prefix")];
            let is_instead = |line: &str| {
                line.starts_with(key) || instead.iter().any(|(new, old)| *new == key && line.starts_with(old))
            };
            let url = "update-url = \"https://broker.example/\"\n";
            let needed =
                &if matches!(key, "update-login" | "update-ca") { format!("{needed}{url}") } else { needed.to_owned() };
            let needed: String =
                needed.lines().filter(|line| !is_instead(line)).flat_map(|line| [line, "\n"]).collect();
            let keys = format!("{needed}{key} = {value}\n");
            let daemon = Config::parse("", &format!("[[{table}]]\n{keys}"));
            assert!(daemon.is_ok(), "{table} {keys}: {daemon:?}");
            let ipv4: Vec<String> =
                ["131.107.0.9", "131.107.0.10", "131.107.0.11", "192.88.99.1"].map(|own| format!("{own:?}")).into();
            let lan = match table {
                "isatap-host" | "teredo-client" => "",
                "teredo-server" => "[[node.lan]]\nname = \"l\"\n",
                "isatap-router" => {
                    "[[node.lan]]\nname = \"l\"\naddress = \"2001:db8:0:8::1/64\"\n[[node.route]]\nprefix = \"::/0\"\nby = \"l\"\n"
                }
                _ => "[[node.lan]]\nname = \"l\"\naddress = \"2001:db8:0:8::1/64\"\n",
            };
            let head = format!("description = \"x\"\n[[node]]\nname = \"n\"\nipv4 = [{}]\n", ipv4.join(", "));
            let text = format!("{head}[[node.{table}]]\n{keys}{lan}");
            let unplayed = UNPLAYED.iter().find(|(of, unplayed, written)| {
                let written = written.split_once(": ").map_or("", |(written, _)| written);
                (of.is_empty() || *of == table)
                    && *unplayed == key
                    && (value.lines().next() == Some(written) || value.contains(&format!("{written}\"")))
            });
            match (Scenario::parse("", &text), unplayed) {
                (Ok(scenario), None) => {
                    let mut run = scenario.start(1).unwrap();
                    run.world_mut().run_for(std::time::Duration::from_secs(5));
                    assert_eq!(run.finish(), 0, "{text}");
                }
                (Err(found), Some((_, _, why))) => {
                    let found: Vec<String> = found.iter().map(|problem| problem.to_string()[1..].to_owned()).collect();
                    let (line, column) =
                        (6 + needed.lines().count(), key.len() + 4 + usize::from(value.starts_with('[')));
                    let expected = format!("{line}:{column}: cannot play {key} = {why}");
                    assert!(found.len() == 1 && found[0].starts_with(&expected), "{text}{found:#?}\n{expected}");
                    refused += 1;
                }
                (read, expected) => panic!("{text}{read:#?}\n{expected:?}"),
            }
        }
    }
    // Those of several tables: pcap, secret-file, via, and the three of each tunnel.
    assert_eq!(refused, UNPLAYED.len() - 6 + KEYS.len() + 2 + 3 + 3 * 6, "each reason is tried");
}
