//! Mistakes in scenarios: each told once, where it stands, and nothing that only follows from another.

#[cfg(all(feature = "args", feature = "update-url", any(feature = "pcp", feature = "upnp")))]
mod keys;

use super::*;

fn told(text: &str) -> Vec<String> {
    let problems = Scenario::parse("", text).map_or_else(|problems| problems, |_| Vec::new());
    problems.iter().map(|problem| problem.to_string()[1..].to_owned()).collect()
}

/// Text behind a description and how each line of the answer begins.
const MISTAKES: &[(&str, &[&str])] = &[
    // A lost node is no mistake of those who name it.
    (
        "[[noed]]\nname = \"A\"\nipv4 = [\"10.0.0.1\"]\n[[step]]\nunplug = \"A\"\n[[step]]\nplug = \"A\"\n",
        &["2: no table is named noed: write [[node]]"],
    ),
    ("[[node]]\nname = \"A\"\n[[node.isatap-host]]\n", &["2: A has no IPv4 address: add ipv4"]),
    ("[[node]]\nipv4 = []\n[[step]]\nunplug = \"A\"\n", &["2: missing field `name`"]),
    ("[[node]]\nname = A\nipv4 = [\"10.0.0.1\"]\n[[step]]\nunplug = \"A\"\n", &["3:8: A has no quotes: write \"A\""]),
    (
        "[[natt]]\nname = \"N\"\nipv4 = \"192.0.2.1\"\nkind = \"cone\"\n[[node]]\nname = \"T\"\nipv4 = [\"10.0.0.2\"]\nnat = \"N\"\n[[node.teredo-client]]\nserver = \"131.107.0.9\"\n",
        &["2: no table is named natt: write [[nat]]"],
    ),
    // Tables in tables.
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.lan]]\nnme = \"dmz\"\naddress = \"2001:db8::1/64\"\n[[node.route]]\nprefix = \"::/0\"\nby = \"dmz\"\n",
        &["6:1: [[node.lan]] has no key nme: write name"],
    ),
    (
        "[[node]]\nname = \"a\"\nipv4 = []\n[[node]]\nnmae = \"b\"\nipv4 = [\"10.0.0.1\"]\n[[node.tunnel]]\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.2\"\nkind = \"gre\"\n[[native]]\nname = \"c\"\nlan = \"l\"\n",
        &[
            "6:1: [[node]] has no key nmae: write name",
            "11:1: [[node.tunnel]] has no key kind: write [[node.isatap-router]], [[node.6rd]] or [[node.6to4]]",
            "12: missing field `address`: for example, write address = \"2001:db8:0:8::c/64\"",
        ],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.lan]]\nname = \"l\"\n[[node.route]]\nby = \"l\"\n",
        &["7: missing field `prefix`"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[node.lan]\nname = \"l\"\n",
        &["5: there can be several of them: write [[node.lan]]"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.tunel]]\nlocal = \"10.0.0.1\"\n",
        &["5: no table is named node.tunel: write [[node.tunnel]]"],
    ),
    (
        "[[node]]\nname = \"A\"\nipv4 = []\n[[step]]\nping = { fro = \"A\", to = \"A\" , count = \"x\" }\n",
        &["6:10: ping has no key fro: write from", "6:40: count is a number "],
    ),
    (
        "[[node]]\nname = \"A\"\nipv4 = []\n[[step]]\nping = { to = \"A\" }\n[[step]]\nunplug = \"B\"\n",
        &["6: missing field `from` of ping", "7: no node is called \"B\": use one of A"],
    ),
    (
        "[[native]]\nname = \"c\"\nlan = \"l\"\naddress = \"2001:db8::1/64\"\nroutes = [{ prefix = \"::/0\", via = \"10.0.0.1\" }, { prefix = \"::/0\" }]\n",
        &["6: missing field `via` of routes", "6:36: 10.0.0.1: this is an IPv4 address"],
    ),
    (
        "[[node]]\nname = \"r\"\n[[node.isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = [\"2001:db8::/64\", \"2001:db8::1/64\", \"x\"]\n",
        &["6:28: 2001:db8::1/64: has bits behind its length: write 2001:db8::/64", "6:46: x: an IPv6 prefix was "],
    ),
    // Tables that there is one of.
    ("cloud = \"5ms\"\n", &["2:9: cloud is a table: write [cloud], and its keys in the lines below"]),
    ("[cloud]\nloss = 1\n[cloud]\nloss = 2\n", &["4:2: cloud is in line 2 already: write it once"]),
    ("[[cloud]]\nloss = 1\n", &["2: there is one of it: write [cloud]"]),
    ("[clowd]\nloss = 1\n", &["2: no table is named clowd: write [cloud]"]),
    ("[cloud]\nlatncy = \"5ms\"\n", &["3:1: [cloud] has no key latncy: write latency"]),
    // Of the two keys one is a link's.
    (
        "[cloud]\nmtu = -1\n[[node]]\nname = \"n\"\nipv4 = []\n[[node.6to4]]\nmtu = 70000\n",
        &[
            "3:7: mtu is a number of 0 or more, and -1 is not",
            "8:7: mtu is a number of 1280 to 65515, and 70000 is not",
        ],
    ),
    // What links are checked for on a machine, and together on one.
    (
        "[[node]]\nname = \"r\"\n[[node.isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8::/48\"\n[[node.tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.1\"\nmtu = 1000\n",
        &[
            "6:10: cannot advertise the prefix 2001:db8::/48: ISATAP addresses are made of prefixes of 64 bits",
            "9:10: cannot send to 192.0.2.1: it is no other host's address",
            "10:7: cannot set the MTU 1000: a tunnel carries 1280",
        ],
    ),
    (
        "[[node]]\nname = \"n\"\n[[node.tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\n[[node.tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.3\"\n",
        &["7: a second link has the device tun6in4: give each its own dev"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\n[[node.isatap-host]]\nlocal = [\"10.0.0.1\", \"10.0.0.2\"]\n[[node.route]]\nprefix = \"::/0\"\nby = \"eth0\"\n",
        &[
            "2: the ISATAP host n is alone on its host",
            "6:22: n has a tunnel at 10.0.0.2, which is not in its ipv4: add it there",
            "9:6: n has no LAN and no tunnel \"eth0\": name one of its own, or \"nothing\"",
        ],
    ),
    (
        "[[node]]\nname = \"n\"\n[[node.isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8::/64\"\nadvertise-route = [\"2001:db8:1::/48\"]\n[[node.lan]]\nname = \"l\"\n",
        &[
            "7:20: n advertises 2001:db8:1::/48 and has no route for it: add a [[node.route]]",
            "8: missing field `address`",
        ],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\nnat = \"m\"\n[[node.isatap-host]]\n[[node.6to4]]\n",
        &[
            "2: the 6to4 host/router of n would rest beside other IPv6, which the lab does not play: write beside-native",
            "5:7: no NAT is called \"m\": add a [[nat]] of that name",
        ],
    ),
    // Rules of a port proxy are checked as on a machine, and TCP has names, ports and reasons.
    (
        "[[node]]\nname = \"p\"\nipv4 = [\"10.0.0.1\"]\n[[node.portproxy]]\nlistenport = 80\n[[server]]\nnode = \"p\"\nanswer = \"echo\"\n[[step]]\ntcp = { from = \"p\", to = \"10.0.0.1\", refusal = { node = \"p\", reason = \"busy\" } }\n",
        &[
            "6:1: [[node.portproxy]] has no key listenport: write listen",
            "7: missing field `port`",
            "9:10: answer is one of same, reset, and \"echo\" is not",
            "11:26: 10.0.0.1: not an address with a port: write 10.0.0.1:80 or [2001:db8::1]:80",
            "11:71: busy: a port proxy has no such reason: write one of too-many, too-many-of-source, ",
        ],
    ),
    (
        "[[node]]\nname = \"p\"\nipv4 = [\"10.0.0.1\"]\n[[node.portproxy]]\nlisten = \"10.0.0.1:80\"\nconnect = \"www.example.net\"\ndirection = \"v4tov6\"\n[[node.portproxy]]\nlisten = \"[fe80::1%eth0]:80\"\nconnect = \"[fe80::2%eth0]:80\"\n[[node.portproxy]]\nlisten = \"10.0.0.1:80\"\nconnect = \"10.0.0.1:80\"\n[[server]]\nnode = \"q\"\nport = 80\n[[step]]\ntcp = { from = \"p\", to = \"10.0.0.1:80\", served = { by = \"r\" } }\n[[step]]\nhang-up = \"t\"\n",
        &[
            "7:11: cannot play connect = www.example.net: the lab's names are those of routers; write the target's address",
            "10:10: cannot play listen = [fe80::1%eth0]:80: the lab's nodes have no devices; write an address without a zone",
            "11:11: cannot play connect = [fe80::2%eth0]:80: the lab's nodes have no devices; write an address without a zone",
            "13:10: a second rule listens at 10.0.0.1:80: keep one, or choose another port or address",
            "14:11: cannot connect to 10.0.0.1:80: the rule listens there itself; choose another port, or listen at another address",
            "16:8: no node is called \"q\": use one of p",
            "18: no node is called \"r\": use one of p",
            "20: no node is called \"t\": use one of p",
        ],
    ),
    // What a host with several links has none of.
    (
        "[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\n[[node.isatap-host]]\nlocal = \"10.0.0.1\"\n[[node.tunnel]]\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.2\"\n[[node.route]]\nprefix = \"::/0\"\nby = \"isatap0\"\n",
        &["2: the ISATAP host of n has its own routes: leave the [[node.route]] out"],
    ),
    (
        "[[node]]\nname = \"n\"\nhost = true\n[[node.isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8::/64\"\n",
        &["2: n is a host, and the ISATAP router forwards: make two nodes of it"],
    ),
    (
        "[[node]]\nname = \"n\"\nipv4 = []\n[[node.lan]]\nname = \"l\"\naddress = \"2001:db8::1/64\"\ndeprecated = true\n",
        &["8:14: n has no other address to prefer: leave deprecated out"],
    ),
    (
        "[[node]]\nname = \"s\"\n[[node.teredo-server]]\nprimary = \"131.107.0.2\"\n[[node.lan]]\nname = \"l\"\naddress = \"2001:db8::1/64\"\n",
        &["8:11: a Teredo server of the lab only sends to the LAN l: leave address out"],
    ),
    (
        "[[node]]\nname = \"s\"\n[[node.teredo-relay]]\nlocal = \"131.107.0.2\"\n",
        &["2: a Teredo relay of the lab has one LAN"],
    ),
    // What was written otherwise once.
    (
        "[[host]]\nname = \"A\"\nipv4 = []\n",
        &["2: no table is named host: write [[node]] with name and ipv4, and below it [[node.isatap-host]]"],
    ),
    (
        "[[6rd]]\nname = \"A\"\nblock = \"10.0.0.0/8\"\n",
        &["2: no table is named 6rd: write [[node]] with name, and below it [[node.6rd]], where block is v4-mask-len"],
    ),
    (
        "[[node]]\nname = \"n\"\n[[node.route]]\nprefix = \"::/0\"\nby = \"nothing\"\npublish = true\n",
        &["7:1: [[node.route]] has no key publish: write the prefix into advertise-route of [[node.isatap-router]]"],
    ),
    // Types that only scenarios have.
    ("[cloud]\nloss = true\n", &["3:8: loss is a number, and true is not"]),
    ("[cloud]\nloss = \"10\"\n", &["3:8: loss is a number: write loss = 10"]),
    ("[[step]]\nping = 5\n", &["3:8: ping is a table: write ping = { KEY = VALUE }"]),
    // Nothing of the vocabulary of configuration files.
    (
        "[[node]]\nname = \"T\"\n[[node.teredo-client]]\n",
        &["4: missing field `server`: for example, write server = \"198.51.100.1\""],
    ),
    ("[[ipip6]]\nname = \"x\"\n", &["2: no table is named ipip6: the tables are [cloud], [[name]], "]),
    ("[[node]]\nname = \"A\"\nipv4 = []\nuser = \"x\"\n", &["5:1: [[node]] has no key user: it can have "]),
    (
        "[[node]]\nname = \"A\"\nipv4 = []\nseed = 7\n",
        &["5:1: [[node]] has no key seed: write it in front of all tables"],
    ),
];

#[test]
fn each_mistake_is_told_once_at_its_place() {
    for (text, expected) in MISTAKES {
        let found = told(&format!("description = \"x\"\n{text}"));
        let all_begin = found.iter().zip(*expected).all(|(found, expected)| found.starts_with(expected));
        assert!(all_begin && found.len() == expected.len(), "{text}{found:#?}\nexpected {expected:#?}");
    }
}

/// The description has nothing in front of it and no table around it.
#[test]
fn a_missing_or_wrong_description_hides_nothing() {
    let step = "[[step]]\nat = \"1s\"\n";
    for (text, expected) in [
        (
            "description = 5\n",
            &["1:15: description is text: write description = \"5\"", "2: a step without a title and a deed"][..],
        ),
        (
            "descripton = \"x\"\n",
            &["1:1: descripton is not a key in front of the tables: write description", "2: a step without "],
        ),
        ("seed = 1\n", &["1: missing field `description`", "2: a step without a title and a deed"]),
        ("\n", &["1: missing field `description`", "2: a step without a title and a deed"]),
    ] {
        let found = told(&format!("{text}{step}"));
        let all_begin = found.iter().zip(expected).all(|(found, expected)| found.starts_with(expected));
        assert!(all_begin && found.len() == expected.len(), "{text}{found:#?}\nexpected {expected:#?}");
    }
}

/// Words of `[direct-access]` are known beside any mistake, also one in that table.
#[test]
fn s64_40_no_word_is_a_mistake_beside_another() {
    const TEXT: &str = include_str!("direct-access.toml");
    const TABLE: &str = "ipv4 = \"131.107.0.2\"\norganisation = \"fd9c:30c:2da4::/48\"\n";
    let line = |text: &str, of: &str| 1 + text[..text.find(of).unwrap()].matches('\n').count();
    for (from, to, expected) in [
        ("kind = \"port-restricted\"", "kind = port-restricted", ":8: port-restricted has no quotes"),
        (
            "primary = \"131.107.0.2\"",
            "primray = \"131.107.0.2\"",
            ":1: [[node.teredo-server]] has no key primray: write primary",
        ),
        ("ipv4 = \"131.107.0.2\"", "ipv4 = 131.107.0.2", ":8: 131.107.0.2 has no quotes"),
        ("ipv4 = \"131.107.0.2\"", "ipv5 = \"131.107.0.2\"", ":1: [direct-access] has no key ipv5: write ipv4"),
        ("2da4::/48", "2da4::/56", ":16: fd9c:30c:2da4::/56 is not an organisation prefix: write a /48"),
        ("[direct-access]", "[direct-acces]", ": no table is named direct-acces: write [direct-access]"),
    ] {
        let text = TEXT.replacen(from, to, 1);
        let expected = format!("{}{expected}", line(&text, to));
        let found = told(&text);
        assert!(found.len() == 1 && found[0].starts_with(&expected), "{to}: {found:#?}\nexpected {expected}");
    }
    // What nothing follows from is a mistake where it is used.
    let found = told(&TEXT.replacen(TABLE, "ipv4 = \"131.107.0.2\"\n", 1));
    assert!(found.len() > 5 && found.iter().all(|told| told.contains('{')), "{found:#?}");
    // The column would be that of the derived prefix.
    let found = told(&TEXT.replacen("{ip-https}::1/64", "{ip-https}::1/640", 1));
    let line = line(TEXT, "address = [\"{ip-https}::1/64");
    assert!(
        found.len() == 1
            && found[0].starts_with(&format!("{line}: 2002:836b:2:1000::1/640: a prefix length is 0 to 128")),
        "{found:#?}"
    );
}

/// Whatever the reader of scenarios takes is in the reference, and nothing else: a wrong key is
/// told all others.
#[test]
fn the_reference_has_every_key_of_every_table() {
    let reference = reference();
    let node = "[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\n";
    let mut sections = 0;
    for (title, before, is_inline) in [
        ("[cloud]", "[cloud]\n", false),
        ("[[name]]", "[[name]]\n", false),
        ("[[node]]", "[[node]]\n", false),
        ("[[node.lan]]", &format!("{node}[[node.lan]]\n"), false),
        ("[[node.route]]", &format!("{node}[[node.route]]\n"), false),
        ("[[native]]", "[[native]]\n", false),
        ("routes = [{ … }] of [[native]]", "[[native]]\nroutes = ", true),
        ("[[nat]]", "[[nat]]\n", false),
        ("[[balancer]]", "[[balancer]]\n", false),
        ("[[server]]", "[[server]]\n", false),
        ("[direct-access]", "[direct-access]\n", false),
        ("[[step]]", "[[step]]\n", false),
        ("ping = { … } of [[step]]", "[[step]]\nping = ", true),
        ("spoof = { … } of [[step]]", "[[step]]\nspoof = ", true),
        ("drop = { … } of ping and spoof", "[[step]]\nping.drop = ", true),
        ("rounds = { … } and packets = { … } of spoof", "[[step]]\nspoof.rounds = ", true),
        ("address = { … } of [[step]]", "[[step]]\naddress = ", true),
        ("sent = { … } of [[step]]", "[[step]]\nsent = ", true),
        ("qualified = { … } of [[step]]", "[[step]]\nqualified = ", true),
        ("select = { … } of [[step]]", "[[step]]\nselect = ", true),
        ("order = [{ … }] of select", "[[step]]\nselect.order = ", true),
        ("tcp = { … } of [[step]]", "[[step]]\ntcp = ", true),
        ("served = { … } of tcp", "[[step]]\ntcp.served = ", true),
        ("refusal = { … } of tcp", "[[step]]\ntcp.refusal = ", true),
        ("lan = { … } of [[step]]", "[[step]]\nlan = ", true),
        ("ipv4 = { … } of [[step]]", "[[step]]\nipv4 = ", true),
    ] {
        sections += 1;
        let wrong = "no-such-key-of-all = 1";
        let wrong = match title {
            _ if title.starts_with("routes") || title.starts_with("order") => format!("[{{ {wrong} }}]"),
            _ if is_inline => format!("{{ {wrong} }}"),
            _ => wrong.to_owned(),
        };
        let lines = told(&format!("description = \"x\"\n{before}{wrong}\n"));
        let can_have = lines.iter().find_map(|line| line.split_once("it can have "));
        let (_, known) = can_have.unwrap_or_else(|| panic!("{title}: {lines:#?}"));
        let begin = reference.find(&format!("\n{title}\n")).unwrap_or_else(|| panic!("{title}"));
        let section = &reference[begin + title.len() + 2..];
        let end = section.match_indices("\n\n").find(|(at, _)| !section[at + 2..].starts_with(' ')).map(|(at, _)| at);
        let section = &section[..end.unwrap_or(section.len())];
        let documented: Vec<&str> = section
            .lines()
            .filter_map(|line| line.strip_prefix("  ")?.split_once(" = ").map(|(key, _)| key))
            .filter(|key| !key.contains(' '))
            .collect();
        // Links and LANs are tables of their own.
        let of_tables = |key: &&str| title != "[[node]]" || documented.contains(key);
        let known: Vec<&str> = known.split(", ").filter(of_tables).collect();
        assert_eq!(documented, known, "{title}");
    }
    // And what stands in front of all of them.
    assert_eq!(reference.split("\n\n").filter(|part| !part.starts_with(' ')).count(), sections + 2, "{reference}");
    for key in ["description", "seed", "duration"] {
        assert!(reference.contains(&format!("\n  {key} = ")), "{key}");
    }
}

/// Whatever chance gives, the walk of each figure is the same.
#[test]
fn teredo_and_tunnels_meet_their_expectations_with_every_seed() {
    for name in ["teredo", "tunnel", "names"] {
        let scenario = Scenario::builtin(name).unwrap();
        for seed in 1..=12 {
            let mut run = scenario.start(seed).unwrap();
            assert_eq!(
                run.finish(),
                0,
                "{name}, seed {seed}: {:#?}",
                run.world()
                    .journey()
                    .iter()
                    .filter(|hop| hop.node == NARRATOR)
                    .map(|hop| hop.reason.clone())
                    .collect::<Vec<_>>()
            );
        }
    }
}
