//! The tool `isatap lab` as a user runs it.

use std::process::Command;

#[test]
fn every_listed_scenario_meets_its_expectations() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let list = Command::new(tool).args(["lab", "--list"]).output().unwrap();
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in
        ["6rd", "6to4", "direct-access", "intranet", "loops", "names", "portproxy", "selection", "teredo", "tunnel"]
    {
        assert!(names.contains(&name), "{name}: {list}");
    }
    for name in names {
        let run = Command::new(tool).args(["lab", "-j", name]).output().unwrap();
        assert!(run.status.success(), "{name}: {}", String::from_utf8_lossy(&run.stderr));
        let last: serde_json::Value =
            serde_json::from_str(String::from_utf8(run.stdout).unwrap().lines().last().unwrap()).unwrap();
        assert_eq!(last["scenario"], name);
        assert!(last["delivered"].as_u64().unwrap() > 0, "{name}: {last}");
    }
}

/// What a scenario says when it is written otherwise: the exit status and what it prints.
fn rewritten(name: &str, text: &str) -> (Option<i32>, String) {
    let file = std::env::temp_dir().join(format!("isatap-lab-cli-{}-{name}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_isatap")).arg("lab").arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    (run.status.code(), String::from_utf8_lossy(&run.stdout).into_owned() + &String::from_utf8_lossy(&run.stderr))
}

/// Each change makes a network in which something does not work, and the scenario says so.
#[test]
fn rte_1_rte_6_sec_2_expectations_fail_where_the_network_is_another() {
    const DIRECT_ACCESS: &str = include_str!("../../src/lab/scenario/direct-access.toml");
    const LOOPS: &str = include_str!("../../src/lab/scenario/loops.toml");
    const INTRANET: &str = include_str!("../../src/lab/scenario/intranet.toml");
    const TEREDO: &str = include_str!("../../src/lab/scenario/teredo.toml");
    const TUNNEL: &str = include_str!("../../src/lab/scenario/tunnel.toml");
    const NAMES: &str = include_str!("../../src/lab/scenario/names.toml");
    const PORTPROXY: &str = include_str!("../../src/lab/scenario/portproxy.toml");
    const SELECTION: &str = include_str!("../../src/lab/scenario/selection.toml");
    for (number, (text, from, to, complaint)) in [
        // RTE-1: the route has to beat the interface's own.
        (DIRECT_ACCESS, "metric = 200", "metric = 400", "NOT AS EXPECTED: helpdesk to one: no answer"),
        (DIRECT_ACCESS, "metric = 400", "metric = 200", "NOT AS EXPECTED: helpdesk to three: a reply"),
        // RTE-6: what is not published leaves nobody's router.
        (DIRECT_ACCESS, ", \"{ip-https-2}::/64\"", "", "NOT AS EXPECTED: helpdesk to two: "),
        // S64-40: other IPv4, other prefixes.
        (
            DIRECT_ACCESS,
            "ipv4 = \"131.107.0.2\"",
            "ipv4 = \"131.107.0.8\"",
            "server has not the address 2002:836b:2:3333::1",
        ),
        (DIRECT_ACCESS, "by = \"nothing\"", "by = \"dmz\"", "NOT AS EXPECTED: first does not drop it: null-route"),
        (
            LOOPS,
            "loop-checks = false",
            "loop-checks = true",
            "NOT AS EXPECTED: nobody sends it on; expected 20 at least",
        ),
        (LOOPS, "member = [\"10.3.0.0/16\"]", "", "NOT AS EXPECTED: member-1 does not drop it"),
        (
            LOOPS,
            "member = [\"10.0.0.0/8\"]\n[[node.lan]]",
            "member = [\"10.0.0.0/8\"]\ncheck-neighbors = \"off\"\n[[node.lan]]",
            "NOT AS EXPECTED: site sends it on",
        ),
        (LOOPS, "accept-bogons = true", "", "NOT AS EXPECTED: "),
        (
            INTRANET,
            "10.0.0.1 -> 131.107.71.209",
            "10.0.0.2 -> 131.107.71.209",
            "NOT AS EXPECTED: outer 10.0.0.1 -> 131.107.71.209",
        ),
        (TEREDO, "port = 4096", "port = 4097", "NOT AS EXPECTED: A has not the address 2001:0:ce49:7601:e866:efff:"),
        (
            TEREDO,
            "port = 8192",
            "port = 8193",
            "NOT AS EXPECTED: B found a restricted NAT, which shows it as 131.107.0.1:8193",
        ),
        (TEREDO, "kind = \"cone\"", "kind = \"port-restricted\"", "NOT AS EXPECTED: A has not qualified"),
        (
            TEREDO,
            "kind = \"address-restricted\"",
            "kind = \"cone\"",
            "NOT AS EXPECTED: nat-b does not drop it: not-addressed",
        ),
        (
            TEREDO,
            "cone-phase = true",
            "cone-phase = false",
            "NOT AS EXPECTED: nat-a sent router-solicitation 157.60.0.1:4096 -> ",
        ),
        (
            TEREDO,
            "-> 192.168.2.2:40000\", \"192.168.2.2:40000 ->",
            "-> 192.168.2.2:40000\", \"192.168.2.2:40001 ->",
            "NOT AS EXPECTED: outer 192.168.4.2:40000 -> 131.107.0.1:8192",
        ),
        (
            TEREDO,
            "packets = [\"bubble 206",
            "packets = [\"echo-request 206",
            "NOT AS EXPECTED: nat-b sent bubble 206.73.118.1:3544",
        ),
        // PPX-12: both limits, and PPX-6: how long a target may take.
        (
            PORTPROXY,
            "max-per-source = 1",
            "max-per-source = 2",
            "NOT AS EXPECTED: A to 10.0.0.1:2: 100 bytes came back",
        ),
        (
            PORTPROXY,
            "max-connections = 2",
            "max-connections = 3",
            "NOT AS EXPECTED: proxy does not refuse it: too-many",
        ),
        (
            PORTPROXY,
            "2001:db8:0:8::dead]:80\"",
            "2001:db8:0:8::dead]:80\"\nconnect-timeout = 30",
            "NOT AS EXPECTED: A to 10.0.0.1:20: open",
        ),
        // PPX-7: a reset is no end.
        (
            PORTPROXY,
            "then = \"reset\", expect = \"open\"",
            "expect = \"answer\"",
            "NOT AS EXPECTED: C served a connection from 2001:db8:0:8::1, to the end: 100 bytes",
        ),
        (PORTPROXY, "answer = \"reset\"", "", "NOT AS EXPECTED: A to 10.0.0.1:90: 100 bytes came back"),
        (
            PORTPROXY,
            "by = \"C\", from = \"2001:db8:0:8::1\"",
            "by = \"C\", from = \"2001:db8:0:8::2\"",
            "NOT AS EXPECTED: C served a connection from 2001:db8:0:8::1",
        ),
        // Without its only unique local address A has none of that label.
        (
            SELECTION,
            "address = \"fd00:1:1:1::a/64\"",
            "address = \"2001:db8:1:1::aa/64\"",
            "NOT AS EXPECTED: A tries 2001:db8:8::b",
        ),
        (SELECTION, "deprecated = true", "deprecated = false", "NOT AS EXPECTED: C tries 2001:db8:1:ffff::99 from "),
        // The route of the ISATAP router outlasts it.
        (SELECTION, "router-lifetime = 60", "router-lifetime = 600", "NOT AS EXPECTED: A tries 2001:db8:8::b from "),
        (SELECTION, "by = \"tun6to4\"", "by = \"home\"", "NOT AS EXPECTED: A tries 2001:db8:8::b from "),
        (TUNNEL, "mtu = 1280", "mtu = 1400", "NOT AS EXPECTED: host to 2001:db8:78::1: "),
        (TUNNEL, "mtu = 1400 }", "mtu = 1500 }", "NOT AS EXPECTED: A to B: "),
        (TUNNEL, "remote = \"157.60.0.1\"", "remote = \"157.60.0.2\"", "NOT AS EXPECTED: A to B: no answer"),
        (
            NAMES,
            "prl-refresh-interval = 300",
            "prl-refresh-interval = 3600",
            "NOT AS EXPECTED: A has not the address 2001:db8:0:9:",
        ),
        (
            NAMES,
            "\"10.66.66.66\"], ttl",
            "\"10.0.0.9\"], ttl",
            "NOT AS EXPECTED: A has not the address 2001:db8:bad:bad:",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(text.contains(from), "{from}");
        let (status, out) = rewritten(&number.to_string(), &text.replace(from, to));
        assert_eq!(status, Some(3), "{from} -> {to}: {out}");
        assert!(out.contains(complaint), "{from} -> {to}: {out}");
    }
}

#[test]
fn mistakes_in_a_scenario_are_told_by_line() {
    const NODE: &str = "description = \"x\"\n[[node]]\nname = \"n\"\nipv4 = [\"10.0.0.1\"]\n";
    for (number, (text, complaint)) in [
        ("[[node.route]]\nprefix = \"::/0\"\nby = \"eth0\"\n", ":7:6: n has no LAN and no tunnel \"eth0\""),
        ("[[node.tunnel]]\nlocal = \"10.0.0.1\"\n", ":5: missing field `remote`"),
        ("[[node.6rd]]\nlocal = \"10.0.0.1\"\nprefix = \"3fff::/32\"\nrole = \"pe\"\n", ":8:8: role is one of ce, br"),
        (
            "[[node.tunnel]]\nkind = \"gre\"\nlocal = \"10.0.0.1\"\nremote = \"10.0.0.2\"\n",
            ":6:1: [[node.tunnel]] has no key kind: write [[node.isatap-router]], ",
        ),
        (
            "[[node.tunnel]]\nlocal = \"10.0.0.9\"\nremote = \"10.0.0.2\"\n",
            ":6:9: n has a tunnel at 10.0.0.9, which is not in its ipv4",
        ),
        ("[[nat]]\nname = \"m\"\nipv4 = \"192.0.2.1\"\nkind = \"open\"\n", ":8:8: open: not a kind of NAT: write one of cone, "),
        (
            "[[node]]\nname = \"t\"\nipv4 = [\"192.0.2.1\"]\nnat = \"m\"\n[[node.teredo-client]]\nserver = \"131.107.0.2\"\n",
            ":8:7: no NAT is called \"m\"",
        ),
        ("[direct-access]\norganisation = \"fd00::/56\"\n", ":6:16: fd00::/56 is not an organisation prefix: write a /48"),
        (
            "[[step]]\nspoof = { outer-source = \"10.0.0.2\", outer-destination = \"10.0.0.1\", source = \"::1\", destination = \"::2\" }\n",
            ":5: a spoof that expects nothing",
        ),
        ("[[step]]\nping = { from = \"n\", to = \"n\", outer = [\"10.0.0.1\"] }\n", ":6:41: 10.0.0.1: not an outer header"),
        ("[[step]]\nfigure = \"25\"\nunplug = \"n\"\n", ":5: a figure without a title: add title"),
        ("[[step]]\nsent = { by = \"n\", packets = [\"10.0.0.1 -> 10.0.0.2\"] }\n", ":6:31: 10.0.0.1 -> 10.0.0.2: not a packet: write what it is"),
        ("[[step]]\nqualified = { node = \"n\", nat = \"cone\", mapped = \"10.0.0.1\" }\n", ":6:50: 10.0.0.1: not an IPv4 address with a port"),
        ("[[step]]\nqualified = { node = \"n\", nat = \"cone\", mapped = \"10.0.0.1:9\" }\n", ":5: n is no Teredo client"),
        ("[[step]]\nlan = { node = \"n\", name = \"l\", plugged = false }\n", ":5: n has no LAN \"l\": name one of its own"),
        (
            "[[step]]\nselect = { node = \"n\", to = [\"10.0.0.2\", \"m\"], order = [] }\n",
            ":5: no node is called \"m\": use one of n",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let (status, out) = rewritten(&format!("bad-{number}"), &format!("{NODE}{text}"));
        assert_eq!(status, Some(1), "{text}: {out}");
        assert!(out.contains(complaint), "{text}: {out}");
    }
}

#[test]
fn all_mistakes_in_a_scenario_are_told_at_once() {
    let nodes = "description = \"x\"\n[[node]]\nname = \"h\"\nipv4 = [\"10.0.0.2\"]\n[[node.isatap-host]]\n\
                 [[node]]\nname = \"r\"\n[[node.isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8::/48\"\n\
                 [[node.lan]]\nname = \"l\"\n";
    let steps = "[[step]]\nping = { from = \"r\", to = \"q\" }\n[[step]]\nunplug = \"p\"\n[[step]]\nat = \"5\"\n";
    let told_of = |name: &str, text: &str, expected: &[&str]| {
        let (status, out) = rewritten(name, text);
        let told: Vec<&str> = out.lines().filter_map(|line| line.split_once(".toml:")).map(|(_, told)| told).collect();
        assert_eq!((status, told.len()), (Some(1), expected.len()), "{out}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.starts_with(expected), "{out}");
        }
    };
    let of_nodes = [
        "10:10: cannot advertise the prefix 2001:db8::/48: ISATAP addresses are made of prefixes of 64 bits; write ",
        "11: missing field `address`: for example, write address = ",
        "13: no node is called \"q\": use one of ",
        "15: no node is called \"p\": use one of ",
        "18:6: 5: not a duration: write a number and ",
    ];
    told_of("bad-steps", &format!("{nodes}{steps}"), &of_nodes);
    // Which nodes there are is known once their tables are right.
    let wrong = "durration = \"1s\"\n[[node]]\nname = \"i\"\nipv4 = [\"10.0.0.3/8\"]\n[[node.isatap-host]]\n\
                 router = [\"10.0.0.1\", \"10.0.0\"]\n[[noed]]\nname = \"q\"\n";
    let of_all = [
        "2:1: durration is not a key in front of the tables: write duration",
        "5:9: 10.0.0.3/8: a prefix length is not allowed here: write 10.0.0.3",
        "7:23: 10.0.0: not an IPv4 address: write four numbers",
        "8: no table is named noed: write [[node]]",
        "18:10: cannot advertise the prefix 2001:db8::/48: ",
        "19: missing field `address`: for example, write address = ",
        "26:6: 5: not a duration: write a number and ",
    ];
    told_of("bad-all", &format!("{nodes}{steps}").replacen('\n', &format!("\n{wrong}"), 1), &of_all);
}

/// The issue's own words: two seeds with loss give different captures, and
/// both deliver.
#[test]
fn seeds_with_loss_give_different_captures_and_deliver() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let directory = std::env::temp_dir().join(format!("isatap-lab-cli-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let run = |seed: &str, file: &str| {
        let path = directory.join(file);
        let run =
            Command::new(tool).args(["lab", "loss", "--json", "--seed", seed, "--pcap"]).arg(&path).output().unwrap();
        assert!(run.status.success(), "seed {seed}: {}", String::from_utf8_lossy(&run.stderr));
        let out = String::from_utf8(run.stdout).unwrap();
        let last: serde_json::Value = serde_json::from_str(out.lines().last().unwrap()).unwrap();
        assert!(last["delivered"].as_u64().unwrap() > 0 && out.contains("loss"), "seed {seed}");
        (std::fs::read(&path).unwrap(), out)
    };
    let (first, again, second) = (run("1", "1.pcap"), run("1", "1-again.pcap"), run("2", "2.pcap"));
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(first == again, "the same seed gives the same bytes");
    assert!(first.0 != second.0, "another seed gives others");
    let packets = |capture: &[u8]| isatap_std::lab::pcap::read(capture).unwrap().len();
    assert!(packets(&first.0) > 10 && packets(&second.0) > 10);
}

#[test]
fn ter_105_the_matrix_of_nats_is_printed_one_line_a_pair() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let run = |arguments: &[&str]| {
        let run = Command::new(tool).args(["lab", "teredo"]).args(arguments).output().unwrap();
        (run.status.code(), String::from_utf8(run.stdout).unwrap())
    };
    let (status, out) = run(&["--matrix", "--json"]);
    assert_eq!((status, out.lines().count()), (Some(0), 49));
    let first: serde_json::Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
    assert_eq!((&first["nat_a"], &first["connects"]), (&"cone".into(), &true.into()));
    let (status, out) = run(&["--nat-a", "cone", "--nat-b", "sequential"]);
    assert_eq!(status, Some(0), "{out}");
    let (status, out) = run(&["--nat-a", "port-symmetric", "--nat-b", "port-symmetric"]);
    assert_eq!(status, Some(3), "{out}");
    let (status, _) = run(&["--nat-a", "open"]);
    assert_ne!(status, Some(0));
    let elsewhere = Command::new(tool).args(["lab", "intranet", "--matrix"]).output().unwrap();
    assert_eq!(elsewhere.status.code(), Some(1));
}

/// What the tool prints of a scenario.
fn played(arguments: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_isatap")).arg("lab").args(arguments).output().unwrap();
    assert!(run.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
    String::from_utf8(run.stdout).unwrap()
}

/// Ports, what Teredo puts around the inner packet, and that one, at each hop. The bytes of the
/// addresses are those of the white paper.
#[test]
fn a_hop_of_teredo_is_told_whole() {
    let text = played(&["teredo"]);
    for lines in [
        "  nat-a    translate    Router Solicitation\n                    IPv4  157.60.0.1:4096 -> 206.73.118.1:3544   ttl 62, UDP\n",
        "IPv4  206.73.118.2:3544 -> 157.60.0.1:4096   ttl 64, UDP\n",
        "                          Teredo authentication, nonce ",
        "                          Teredo origin 157.60.0.1:4096\n                    IPv6  fe80::8000:f227:31b6:89fe -> ",
        "                          prefix 2001:0:ce49:7601::/64, autonomous, ",
        "                          Teredo nonce trailer ",
        "  nat-b    drop         bubble  (not-addressed)\n                    IPv4  157.60.0.9:5000 -> 131.107.0.1:8192 ",
        "\nFigure 29: D to B",
    ] {
        assert!(text.contains(lines), "{lines}\n{text}");
    }
    let hops: Vec<serde_json::Value> =
        played(&["teredo", "-j"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let advertised = hops
        .iter()
        .find(|hop| hop["node"] == "server" && hop["inner"]["message"] == "router-advertisement")
        .unwrap_or_else(|| panic!("{hops:#?}"));
    assert_eq!(advertised["udp"], serde_json::json!({ "src_port": 3544, "dst_port": 4096 }));
    assert_eq!(advertised["to"], serde_json::json!(["nat-a"]));
    let kinds: Vec<&serde_json::Value> =
        advertised["teredo"].as_array().unwrap().iter().map(|layer| &layer["kind"]).collect();
    assert_eq!(kinds, ["teredo-authentication", "teredo-origin"]);
    assert_eq!(
        (&advertised["teredo"][1]["address"], &advertised["teredo"][1]["port"]),
        (&"157.60.0.1".into(), &4096.into())
    );
    let figures: Vec<&str> = hops.iter().filter_map(|hop| hop["figure"].as_str()).collect();
    assert_eq!(figures, ["25", "27", "27", "26", "28", "29"]);
    // TCP stands beside the IPv4 or IPv6 header that it follows.
    let hops = played(&["portproxy", "-j"]);
    let hops: Vec<serde_json::Value> = hops.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for action in ["send", "forward", "encapsulate"] {
        let is_syn = |hop: &&serde_json::Value| hop["action"] == action && hop["tcp"]["flags"] == 2;
        let hop = hops.iter().find(is_syn).unwrap_or_else(|| panic!("{action}"));
        assert_eq!((&hop["tcp"]["kind"], hop["inner"].is_null()), (&"tcp".into(), action == "send"), "{hop}");
    }
}

/// The packet that the white paper's figure shows first, and what becomes of it.
#[test]
fn figures_are_numbered_in_text_and_json() {
    for (scenario, figures) in [
        ("intranet", &["Table 1", "Figures 11 and 12", "Figure 12", "Figure 14", "Figures 15 and 16"][..]),
        ("6to4", &["Figure 19", "Figures 21 and 22", "Figures 23 and 24"]),
        ("tunnel", &["Figures 5 and 6", "Figure 7", "Figure 8"]),
        ("compatible", &["Figure 8"]),
        ("names", &["Figure 11"]),
    ] {
        let text = played(&[scenario]);
        let found: Vec<&str> = text
            .lines()
            .filter(|line| line.starts_with("Figure") || line.starts_with("Table"))
            .filter_map(|line| line.split(':').next())
            .collect();
        assert_eq!(found, figures, "{scenario}");
    }
}

/// Where IPv4 addresses are embedded they can be seen to be the outer ones.
#[test]
fn tun_70_compatible_addresses_are_shown_with_dots() {
    let text = played(&["compatible"]);
    assert!(text.contains("IPv4  157.60.91.123 -> 131.107.210.49"), "{text}");
    assert!(text.contains("IPv6  ::157.60.91.123 -> ::131.107.210.49"), "{text}");
    assert!(text.contains("route ::/96 on-link added"), "{text}");
}

/// The example plays, and the picture of README is what the tool draws of it.
#[test]
fn the_example_plays_and_is_the_picture_of_the_readme() {
    let directory = std::env::temp_dir().join(format!("isatap-lab-example-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (file, svg) = (directory.join("mine.toml"), directory.join("mine.svg"));
    std::fs::write(&file, played(&["--example"])).unwrap();
    let text = played(&[file.to_str().unwrap(), "--svg", svg.to_str().unwrap()]);
    let drawn = std::fs::read_to_string(&svg).unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    assert!(text.contains("All 4 expectations were met."), "{text}");
    let committed = include_str!("../../docs/lab.svg");
    assert!(drawn == committed, "isatap lab --example > mine.toml; isatap lab mine.toml --svg isatap-std/docs/lab.svg");
    assert!(include_str!("../../README.md").contains("](isatap-std/docs/lab.svg)"));
}

/// The text of each element of a drawing, where all elements are closed.
fn texts(svg: &str) -> Vec<String> {
    let mut open: Vec<&str> = Vec::new();
    for tag in svg.split('<').skip(1) {
        let tag = tag.split('>').next().unwrap();
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{svg}"),
            None if tag.ends_with('/') => {}
            None => open.push(tag.split(' ').next().unwrap()),
        }
    }
    assert!(open.is_empty(), "{open:?}");
    let texts = svg.split("<text ").skip(1).map(|text| text.split_once('>').unwrap().1);
    texts.map(|text| text.split('<').next().unwrap().to_owned()).collect()
}

#[test]
fn a_drawing_has_nodes_headers_drops_and_times() {
    let svg = std::env::temp_dir().join(format!("isatap-lab-{}.svg", std::process::id()));
    let draw = |arguments: &[&str]| {
        played(&[arguments, &["--svg", svg.to_str().unwrap()]].concat());
        let drawn = std::fs::read_to_string(&svg).unwrap();
        std::fs::remove_file(&svg).unwrap();
        drawn
    };
    let teredo = draw(&["teredo"]);
    let found = texts(&teredo);
    for text in [
        "isatap lab teredo",
        "Figure 29",
        "nat-b",
        "131.107.0.1",
        "45.000s",
        "router solicitation",
        "bubble",
        "IPv4 157.60.0.1:4096 → 206.73.118.1:3544",
        "origin 157.60.0.1:4096",
        "bubble: not-addressed",
        "✕ no-such-address",
        "delivered: echo reply",
        "✓ D to B: a reply after 65.000 ms",
    ] {
        assert!(found.iter().any(|found| found == text), "{text}: {found:#?}");
    }
    assert!(teredo.contains("@media(prefers-color-scheme:dark)"));
    // What decided about an address belongs to it: it stands further in, and has no dot of its own.
    let selection = draw(&["selection"]);
    let place = |text: &str| -> [usize; 2] {
        let (before, _) = selection.split_once(&format!(">{text}")).unwrap();
        let element = before.rsplit("<text ").next().unwrap();
        ["x", "y"]
            .map(|of| element.split(&format!(" {of}=\"")).nth(1).unwrap().split('"').next().unwrap().parse().unwrap())
    };
    let has_dot = |y: usize| selection.contains(&format!(" cy=\"{}\"", y - 4));
    let [[address, above], [why, below]] =
        ["1. 2001:db8:8::b by home", "from 2001:db8:1:1::a, by source rule 6"].map(place);
    assert_eq!((why, has_dot(above), has_dot(below)), (address + 3 * 7, true, false), "{selection}");
    assert_eq!(teredo, draw(&["teredo"]), "the same each time");
    // No scenario is wider than its nodes need, and every text stands inside.
    let width = |svg: &str| svg.split('"').nth(3).unwrap().parse::<usize>().unwrap();
    for (scenario, columns) in [("intranet", 6), ("teredo", 10), ("loss", 4)] {
        let svg = draw(&[scenario]);
        assert_eq!(width(&svg), 426 + 104 * columns, "{scenario}");
        texts(&svg);
    }
    // TCP by what it does at each arrow, in a tunnel and out of it.
    let portproxy = draw(&["portproxy"]);
    let found = texts(&portproxy);
    for text in [
        "IPv4 alone",
        "TCP SYN",
        "TCP SYN ACK",
        "TCP FIN ACK",
        "TCP RST ACK",
        "IPv4 192.168.47.99:40000 → 10.0.0.1:80",
        "IPv4 192.168.47.100 → 10.0.0.1",
        "10.0.0.1:2: resets 192.168.47.99: too-many-of-source",
        "✓ proxy refuses it: target-timeout",
    ] {
        assert!(found.iter().any(|found| found == text), "{text}: {found:#?}");
    }
    assert!(portproxy.contains("<line class=\"plain\"") && !teredo.contains("<line class=\"plain\""));
    let nats = draw(&["teredo", "--nat-a", "cone", "--nat-b", "cone"]);
    assert!(texts(&nats).iter().any(|text| text == "A client behind cone, the other behind cone"), "{nats}");
}

#[test]
fn titles_of_other_people_are_no_markup() {
    let directory = std::env::temp_dir().join(format!("isatap-lab-markup-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let (file, svg) = (directory.join("mine.toml"), directory.join("mine.svg"));
    std::fs::write(&file, "description = \"a & b\"\n[[step]]\ntitle = \"<script>x</script>\"\nfigure = \"1 < 2\"\n")
        .unwrap();
    played(&[file.to_str().unwrap(), "--svg", svg.to_str().unwrap()]);
    let drawn = std::fs::read_to_string(&svg).unwrap();
    let nowhere = Command::new(env!("CARGO_BIN_EXE_isatap"))
        .args(["lab", "compatible", "--svg"])
        .arg(directory.join("none").join("mine.svg"))
        .output()
        .unwrap();
    std::fs::remove_dir_all(&directory).unwrap();
    let found = texts(&drawn);
    assert!(found.contains(&"a &amp; b".to_owned()) && found.contains(&"&lt;script&gt;x&lt;/script&gt;".to_owned()));
    assert_eq!(nowhere.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&nowhere.stderr).contains("choose a file that can be written"), "{nowhere:?}");
}

/// Tunnels are known as such, and each place is told in the words of `isatap select`.
#[test]
fn sel_10_the_order_of_addresses_is_told_rule_by_rule() {
    let text = played(&["selection"]);
    for line in [
        "1. 2001:db8:8::b by home\n",
        "   from 2001:db8:1:1::a, by source rule 6: it has the label of the destination\n",
        "   before the next by rule 7: the next one is reached through a tunnel\n",
        "2. fe80::200:5efe:836b:101 by isatap0, a tunnel\n",
        "   before the next by rule 8: its scope is smaller\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
}
