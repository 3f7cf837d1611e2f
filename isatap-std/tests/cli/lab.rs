//! The tool `isatap lab` as a user runs it.

use std::process::Command;

#[test]
fn every_listed_scenario_meets_its_expectations() {
    let tool = env!("CARGO_BIN_EXE_isatap");
    let list = Command::new(tool).args(["lab", "--list"]).output().unwrap();
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    let names: Vec<_> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in ["6rd", "6to4", "direct-access", "intranet", "loops", "teredo"] {
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
