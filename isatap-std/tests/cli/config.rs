//! The tool `isatap config check` as a user runs it.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What it says of a file with this text: the exit status, and the lines. This machine is not that of
/// the files.
fn check(text: &str, options: &[&str]) -> (Option<i32>, Vec<String>) {
    check_here(text, &[&["--elsewhere"], options].concat())
}

/// All that it says.
fn check_here(text: &str, options: &[&str]) -> (Option<i32>, Vec<String>) {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("isatap-config-cli-{}-{number}.toml", std::process::id()));
    std::fs::write(&file, text).unwrap();
    let output =
        Command::new(env!("CARGO_BIN_EXE_isatap")).args(["config", "check"]).args(options).arg(&file).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let name = file.to_str().unwrap();
    let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
    (output.status.code(), text.lines().map(|line| line.replace(name, "node.toml")).collect())
}

#[test]
fn the_files_of_the_readme_have_no_mistake() {
    let readme = include_str!("../../README.md");
    let files: Vec<&str> = readme.split("```toml\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    assert_eq!(files.len(), 2);
    for file in files {
        let (status, lines) = check(file, &[]);
        assert_eq!(status, Some(0), "{file}\n{lines:#?}");
    }
}

/// One mistake each: the table, which begins in line 1, and how the only line of the answer begins.
#[test]
fn a_mistake_in_a_table_is_told_with_its_line_and_what_to_do() {
    for (text, expected) in [
        // 6to4
        (
            "[[6to4]]\nlocal = [\"10.0.0.1\"]\n",
            "node.toml:2:10: cannot make a 6to4 site of 10.0.0.1: it is no public IPv4 address; use ISATAP",
        ),
        (
            "[[6to4]]\nrole = \"realy\"\n",
            "node.toml:2:8: role is one of host-router, router, relay, and \"realy\" is not: write role = \"relay\"",
        ),
        (
            "[[6to4]]\nrole = \"relay\"\nrelay = \"131.107.0.9\"\n",
            "node.toml:3:9: cannot start a 6to4 relay: a relay needs none",
        ),
        (
            "[[6to4]]\nclient = [\"131.107.0.0/16\"]\n",
            "node.toml:2:10: cannot start a 6to4 host/router: only a relay has clients; give it the role relay",
        ),
        ("[[6to4]]\n\nclient = [\"131.107.0.0/33\"]\n", "node.toml:3:11: 131.107.0.0/33: "),
        (
            "[[6to4]]\nrelay = \"192.168.0.1\"\n",
            "node.toml:2:9: cannot use the relay 192.168.0.1: it is no public IPv4 address",
        ),
        // LANs
        (
            "[[6to4]]\nlan = [\"eth1\"]\n",
            "node.toml:2:7: cannot start a 6to4 host/router: only a router has LANs; give it the role router",
        ),
        (
            "[[6to4]]\nrole = \"router\"\nlan = [\"eth1:0\"]\n",
            "node.toml:3:8: cannot give a prefix to the LAN eth1:0: \"0\" is no subnet; write 1 to ffff, as in eth1:a0",
        ),
        (
            "[[6to4]]\nrole = \"router\"\nlan = [\"a b\"]\n",
            "node.toml:3:8: cannot name a device \"a b\": a device name has no space and none of / : %",
        ),
        (
            "[[6to4]]\nrole = \"router\"\nlan = [\"eth1\", \"eth1:2\"]\n",
            "node.toml:3:16: cannot give a prefix to the LAN eth1:2: the device is named twice",
        ),
        (
            "[[6to4]]\nrole = \"router\"\nlan = [\"eth1:7\", \"eth2:7\"]\n",
            "node.toml:3:18: cannot give a prefix to the LAN eth2:7: eth1 has this subnet already; give each LAN its own",
        ),
        (
            "[[6to4]]\nrole = \"router\"\nlan = [\"tun6to4\"]\n",
            "node.toml:3:8: tun6to4 is made by this file and no LAN: name a device with hosts",
        ),
        // 6rd
        (
            "[[6rd]]\nlocal = \"10.0.0.2\"\n",
            "node.toml:1: cannot start a 6rd customer edge: no 6rd prefix is given; give prefix, or dhcp-lease: ",
        ),
        (
            "[[6rd]]\nlocal = \"10.0.0.2\"\ndhcp-lease = \"/run/lease\"\nbr = [\"10.0.0.1\"]\n",
            "node.toml:4:6: cannot start a 6rd customer edge: dhcp-lease brings br; leave br out, or dhcp-lease",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\n",
            "node.toml:1: cannot start a 6rd customer edge: it has no IPv4 address to send from; give local, or via: ",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/48\"\nlocal = \"10.0.0.2\"\n",
            "node.toml:1: cannot make a 6rd domain of 2001:db8::/48 with 0 common IPv4 bits: ",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 33\nlocal = \"10.0.0.2\"\n",
            "node.toml:1: cannot make a 6rd domain of 2001:db8::/32 with 33 common IPv4 bits: ",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nbr = [\"10.0.0.2\"]\n",
            "node.toml:4:7: cannot use the border relay 10.0.0.2: it is no other host's address",
        ),
        (
            "[[6rd]]\nrole = \"br\"\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nlan = [\"eth1\"]\n",
            "node.toml:5:7: cannot start a border relay: only a customer edge has LANs",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.0.0.2\"\nlan = [\"eth1:100\"]\n",
            "node.toml:5:8: cannot give a prefix to the LAN eth1:100: subnet 100 has no place in a /56: the last is ff",
        ),
        (
            "[[6rd]]\nprefix = \"2001:db8::/32\"\nlocal = \"10.0.0.2\"\nlan = [\"eth1\", \"eth2\"]\n",
            "node.toml:4:16: cannot give a prefix to the LAN eth2: a delegated /64 is one LAN's whole; name one LAN",
        ),
        // Configured tunnels
        ("[[tunnel]]\nlocal = \"192.0.2.1\"\n", "node.toml:1: missing field `remote`"),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.1\"\n",
            "node.toml:3:10: cannot send to 192.0.2.1: it is no other host's address; give the IPv4 address of the other end",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = \"2001:db8:7::/64\"\n",
            "node.toml:4:11: cannot use the address 2001:db8:7::: it is the prefix, without this node's own part; write \
             2001:db8:7::1/64, for example",
        ),
        (
            "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:5::/56\"\n",
            "node.toml:3:10: cannot advertise the prefix 2001:db8:5::/56: ISATAP addresses are made of prefixes of 64 bits; write \
             one of 64 bits, such as 2001:db8:5::/64",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = [\"2001:db8::1/129\"]\n",
            "node.toml:4:12: 2001:db8::1/129: a prefix length is 0 to 128: write 2001:db8::1/64, for example",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nrole = \"ce\"\n",
            "node.toml:4:1: [[tunnel]] has no key role, which [[6rd]] and [[6to4]] have: it can have",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nttl = 0\n",
            "node.toml:4:7: cannot set the time to live 0: nothing would leave this machine; write 1 to 255, or inherit",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nbind-device = \"tun6in4\"\n",
            "node.toml:4:15: cannot bind to the device tun6in4: it is the tunnel's own; name the VRF or the device that leads",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\nttl = 300\n",
            "node.toml:4:7: 300: write a whole number from 1 to 255, or inherit",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\ntos = 185\n",
            "node.toml:4:7: 185: the two lowest bits are those of ECN, which has a key of its own: write 0xb8",
        ),
    ] {
        let (status, lines) = check(text, &[]);
        assert_eq!((status, lines.len()), (Some(3), 1), "{text}{lines:#?}");
        assert!(lines[0].starts_with(expected), "{text}{lines:#?}");
        // The same for machines.
        let (status, json) = check(text, &["-j"]);
        let value: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert_eq!(status, Some(3));
        let column = value.get("column").map_or_else(String::new, |column| format!(":{column}"));
        let told = format!("node.toml:{}{column}: {}", value["line"], value["text"].as_str().unwrap());
        assert_eq!(told, lines[0]);
    }
}

/// A kind of mistake each, with line, column and what to write instead.
#[test]
fn a_mistaken_key_or_value_is_told_with_what_to_write() {
    for (text, expected) in [
        // Tables.
        ("[isatap-host]\n", "node.toml:1: there can be several of them: write [[isatap-host]]"),
        ("[[isatap-hots]]\n", "node.toml:1: no table is named isatap-hots: write [[isatap-host]]"),
        (
            "[[isatap_router]]\nlocal = [\"10.0.0.1\"]\n",
            "node.toml:1: no table is named isatap_router: write [[isatap-router]]",
        ),
        // Keys.
        ("[[isatap-host]]\n  ruoter = []\n", "node.toml:2:3: [[isatap-host]] has no key ruoter: write router"),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1\"\n",
            "node.toml:1: missing field `remote`: for example, write remote = \"198.51.100.1\"",
        ),
        // Lists and single values.
        (
            "[[isatap-host]]\nlocal = { address = \"10.0.0.2\" }\n",
            "node.toml:2:9: local is a list, not a table: write local = ",
        ),
        (
            "[[tunnel]]\nlocal = [\"192.0.2.1\"]\nremote = \"192.0.2.2\"\n",
            "node.toml:2:9: local is one value, not a list: write local = \"192.0.2.1\"",
        ),
        // Numbers, text, yes and no.
        ("[[isatap-host]]\nmtu = \"1400\"\n", "node.toml:2:7: mtu is a number: write mtu = 1400"),
        ("[[isatap-host]]\nmtu = -1\n", "node.toml:2:7: mtu is a number of 1280 to 65515, and -1 is not"),
        ("[[isatap-host]]\ndev = 5\n", "node.toml:2:7: dev is text: write dev = \"5\""),
        (
            "[[isatap-host]]\nneighbor-probes = \"no\"\n",
            "node.toml:2:19: neighbor-probes is true or false: write neighbor-probes = false",
        ),
        (
            "[[6to4]]\nrole = \"realy\"\n",
            "node.toml:2:8: role is one of host-router, router, relay, and \"realy\" is not: write role = \"relay\"",
        ),
        // Addresses and prefixes.
        (
            "[[isatap-host]]\nlocal = [\"10.0.0.2\", \"10.0.0.256\"]\n",
            "node.toml:2:22: 10.0.0.256: not an IPv4 address: write four numbers from 0 to 255",
        ),
        (
            "[[isatap-host]]\nlocal = [\"10.0.0.2/8\"]\n",
            "node.toml:2:10: 10.0.0.2/8: a prefix length is not allowed here: write 10.0.0.2",
        ),
        (
            "[[tunnel]]\nlocal = \"192.0.2.1:53\"\nremote = \"192.0.2.2\"\n",
            "node.toml:2:9: 192.0.2.1:53: a port is not allowed here: write 192.0.2.1",
        ),
        (
            "[[tunnel]]\nlocal = \"2001:db8::1\"\nremote = \"192.0.2.2\"\n",
            "node.toml:2:9: 2001:db8::1: this is an IPv6 address: write the machine's IPv4 address",
        ),
        (
            "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::1/64\"]\n",
            "node.toml:3:11: 2001:db8:0:7::1/64: has bits behind its length: write 2001:db8:0:7::/64",
        ),
        (
            "[[isatap-router]]\nlocal = [\"10.0.0.1\"]\nprefix = [\"2001:db8:0:7::\"]\n",
            "node.toml:3:11: 2001:db8:0:7::: the length is missing: for example, write 2001:db8:0:7::/64",
        ),
        (
            "[[isatap-host]]\nmember = [\"10.0.0.0/33\"]\n",
            "node.toml:2:11: 10.0.0.0/33: the length behind the slash is 0 to 32",
        ),
        (
            "[[isatap-host]]\nmember = [\"fd00::/8\"]\n",
            "node.toml:2:11: fd00::/8: an IPv4 prefix was expected: write one as 10.0.0.0/24",
        ),
    ] {
        let (status, lines) = check(text, &[]);
        assert_eq!((status, lines.len()), (Some(3), 1), "{text}{lines:#?}");
        assert!(lines[0].starts_with(expected), "{text}{lines:#?}");
        let (_, json) = check(text, &["-j"]);
        let value: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        let column = value.get("column").map_or_else(String::new, |column| format!(":{column}"));
        assert_eq!(format!("node.toml:{}{column}: {}", value["line"], value["text"].as_str().unwrap()), lines[0]);
    }
    for (text, meant) in [
        ("[[isatap-host]]\nruoter = []\n", ": write router"),
        ("[[isatap-host]]\nneighbour-probes = true\n", ": write neighbor-probes"),
        ("[[isatap-host]]\nsolicit_all_routers = true\n", ": write solicit-all-routers"),
        ("[[6to4]]\nrole = \"realy\"\n", ": write role = \"relay\""),
    ] {
        assert!(check(text, &[]).1[0].ends_with(meant), "{text}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let text = "[[isatap-router]]\nlocal = 5\nprefix = [\"2001:db8:0:7::1/64\"]\nmtu = \"big\"\nruoter = 1\n\n\
                [[isatap-hots]]\nlocal = 1\n\n[[tunnel]]\nlocal = \"192.0.2.1\"\nttl = 300\n\n\
                [[6to4]]\nlocal = [\"10.0.0.1\"]\n\n[teredo-client]\nserver = 5\n";
    let (status, lines) = check(text, &[]);
    assert_eq!(status, Some(3));
    let places: Vec<String> =
        lines.iter().map(|line| line.trim_start_matches("node.toml:").split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(places, ["2:9", "3:11", "4:7", "5:1", "7", "10", "12:7", "15:10", "17"], "{lines:#?}");
    // Of a text that is not TOML all that is wrong with that.
    let (_, lines) = check("[[tunnel]]\nlocal = \nremote = \"192.0.2.2\nmtu = = 5\n", &[]);
    assert!(lines.len() >= 2 && lines[0].starts_with("node.toml:2:"), "{lines:#?}");
}

/// What is no mistake and leaves a routing loop open; how the second line of the answer begins.
#[test]
fn sec_1_what_leaves_a_loop_open_is_warned_of() {
    let router = |local: &str, more: &str| {
        format!("[[isatap-router]]\nlocal = [\"{local}\"]\nprefix = [\"2001:db8:0:7::/64\"]\n{more}")
    };
    let off = "check-neighbors = \"off\"\n";
    let open =
        "node.toml: warning: isatap0: the neighbour check is off, and nothing else sees a routing loop on private";
    let trusts = "node.toml: warning: isatap0: 10.0.0.2 is trusted on private IPv4: ";
    for (text, expected) in [
        (router("10.0.0.1", off), Some(open)),
        (router("10.0.0.1", &format!("{off}member = [\"10.0.0.0/8\"]\n")), Some(open)),
        // Whoever is no member cannot be half of a loop; without members anybody may be a host.
        (router("131.107.0.1", off), Some(open)),
        (router("131.107.0.1", &format!("{off}member = [\"131.107.0.0/16\"]\n")), None),
        (router("10.0.0.1", ""), None),
        (router("10.0.0.1", "known-router = [\"10.0.0.2\"]\n"), None),
        (router("10.0.0.1", "trust-router = [\"10.0.0.2\"]\n"), Some(trusts)),
        (router("131.107.0.1", "trust-router = [\"131.107.0.2\"]\n"), None),
    ] {
        let (status, lines) = check(&text, &[]);
        assert_eq!((status, lines.len()), (Some(0), 1 + usize::from(expected.is_some())), "{text}{lines:#?}");
        assert!(expected.is_none_or(|expected| lines[1].starts_with(expected)), "{text}{lines:#?}");
        let (status, json) = check(&text, &["-j"]);
        assert_eq!((status, json.len()), (Some(0), lines.len() - 1), "{text}{json:#?}");
        for line in json {
            let value: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(value["dev"], "isatap0");
            assert!(lines[1].ends_with(value["warning"].as_str().unwrap()));
        }
    }
    let (status, lines) =
        check(&router("10.0.0.1", "known-router = [\"10.0.0.2\"]\ntrust-router = [\"10.0.0.2\"]\n"), &[]);
    assert_eq!(status, Some(3));
    assert!(
        lines[0].starts_with("node.toml:5:17: cannot trust the router 10.0.0.2: it is a known router too"),
        "{lines:#?}"
    );
}

/// What `isatap run` would refuse or break, and what two tables cannot be together; how the only
/// line of the answer begins.
#[test]
fn what_cannot_run_is_told_by_the_check() {
    const ROUTER: &str = "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\n";
    const TUNNEL: &str = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\n";
    let host = |keys: &str| format!("[[isatap-host]]\nrouter = \"10.0.0.9\"\n{keys}");
    for (text, expected) in [
        // Names of devices.
        (host("dev = \"is/0\"\n"), "3:7: cannot name a device \"is/0\": a device name has no space"),
        (host("dev = \"\"\n"), "3:7: cannot name a device \"\": a device name has 1 to 15 bytes"),
        (host("dev = \"sixteen-bytes-xx\"\n"), "3:7: cannot name a device \"sixteen-bytes-xx\": "),
        (format!("{ROUTER}[[native]]\ndev = \"a b\"\n"), "5:7: cannot name a device \"a b\": "),
        // The same packets for two links.
        (
            format!("{ROUTER}{}", host("dev = \"b\"\nlocal = \"10.0.0.1\"\n")),
            "7:9: isatap0 is an ISATAP router at 10.0.0.1, and packets reach one of them",
        ),
        (format!("{ROUTER}{ROUTER}dev = \"b\"\n"), "5:9: isatap0 is an ISATAP router at 10.0.0.1, and solicitations"),
        (format!("{TUNNEL}{TUNNEL}dev = \"b\"\n"), "6:10: tun6in4 goes from 192.0.2.1 to 192.0.2.2 already"),
        ("[[6to4]]\n[[6to4]]\ndev = \"b\"\nlocal = \"131.107.0.1\"\n".into(), "2: tun6to4 speaks 6to4 already"),
        (
            "[[teredo-relay]]\nlocal = \"198.51.100.1\"\nbind = \":4000\"\naccept-bogons = true\n\
             [[teredo-client]]\nserver = \"131.107.0.1\"\nbind = \":4000\"\ndev = \"b\"\n"
                .into(),
            "7:8: teredo has the UDP port 0.0.0.0:4000 already",
        ),
        // Devices that are not what they are said to be.
        (
            format!("{TUNNEL}[[native]]\ndev = \"tun6in4\"\n"),
            "5:7: tun6in4 is the configured tunnel of this file: name a device that carries IPv6 itself",
        ),
        (
            format!("{TUNNEL}[[isatap-host]]\nrouter = \"10.0.0.9\"\nvia = \"tun6in4\"\n"),
            "6:7: tun6in4 is made by this file: name the device that has the IPv4 address",
        ),
        // Nobody is his own router.
        (host("local = \"10.0.0.9\"\n"), "2:10: cannot use the router 10.0.0.9: it is this host's own address"),
        (
            format!("{ROUTER}[[isatap-host]]\ndev = \"b\"\nlocal = \"10.0.0.2\"\nrouter = \"10.0.0.1\"\n"),
            "7:10: 10.0.0.1 is an address of this machine's by this file: name another machine's",
        ),
    ] {
        let (status, lines) = check(&text, &[]);
        assert_eq!((status, lines.len()), (Some(3), 1), "{text}{lines:#?}");
        assert!(lines[0].starts_with(&format!("node.toml:{expected}")), "{text}{lines:#?}");
    }
    // More than a daemon's tables hold, told where the first stands that has no room.
    let dns: Vec<String> = (1..=9).map(|n| format!("\"2001:db8::{n}\"")).collect();
    let (status, lines) = check(&format!("{ROUTER}dns = [{}]\n", dns.join(", ")), &[]);
    assert_eq!((status, lines.len()), (Some(3), 1), "{lines:#?}");
    assert!(lines[0].starts_with("node.toml:4:128: cannot use the DNS server 2001:db8::9: the table of"), "{lines:#?}");
    // A key with two names.
    let relay = "[[teredo-relay]]\nlocal = \"198.51.100.1\"\naccept-bogons = true\n";
    let (_, lines) = check(&format!("{relay}bind = \":4000\"\nport = 5000\n"), &[]);
    assert!(lines[0].contains("bind is written under two names: keep one"), "{lines:#?}");
    let (_, lines) = check(&format!("{relay}port = 3544\n"), &[]);
    assert!(lines[0].starts_with("node.toml:4:8: cannot relay from 198.51.100.1:3544"), "{lines:#?}");
    // Every mistake of a table, not its first alone.
    let (_, lines) = check(&host("mtu = 1000\nttl = 0\ndev = \"a/b\"\nlocal = \"127.0.0.1\"\n"), &[]);
    let places: Vec<&str> = lines.iter().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["node.toml:3:7", "node.toml:4:7", "node.toml:5:7", "node.toml:6:9"], "{lines:#?}");
}

#[test]
fn a_single_value_is_a_list_of_one() {
    let (status, lines) = check(
        "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\ndns = \"2001:db8::53\"\nsearch = \"corp.example\"\n",
        &[],
    );
    assert_eq!(status, Some(0), "{lines:#?}");
}

#[test]
fn several_mistakes_are_told_in_the_order_of_their_lines() {
    let (status, lines) = check(
        "[[6to4]]\nrole = \"router\"\nlan = [\"eth1:1\"]\n[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.0.0.2\"\n\
         lan = [\"eth1:2\"]\n[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"127.0.0.1\"\n",
        &[],
    );
    assert_eq!(status, Some(3));
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines.iter().any(|line| line.contains("the LAN eth1:") && line.contains("write the same at both")),
        "{lines:#?}"
    );
    let numbers: Vec<u32> = lines.iter().map(|line| line.split(':').nth(1).unwrap().parse().unwrap()).collect();
    assert!(numbers.is_sorted(), "{lines:#?}");
}

#[test]
fn more_links_and_lans_than_a_process_holds_are_told_once() {
    let lan = |from: usize, to: usize| (from..=to).map(|n| format!("\"eth{n}:{n:x}\"")).collect::<Vec<_>>().join(", ");
    let all = format!("[[6to4]]\nrole = \"router\"\nlan = [{}]\n", lan(1, 14));
    assert_eq!(check(&all, &[]).0, Some(0));
    let more = format!(
        "[[6to4]]\nrole = \"router\"\nlan = [{}]\n[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\n",
        lan(1, 15)
    );
    let (status, lines) = check(&more, &[]);
    assert_eq!((status, lines.len()), (Some(3), 1), "{lines:#?}");
    assert!(lines[0].contains("one process has at most 15 links and LANs"), "{lines:#?}");
}

#[test]
fn a_good_file_is_told_with_its_links_and_lans() {
    let (status, lines) = check(
        "[[6to4]]\nrole = \"router\"\nlan = [\"eth1:5\", \"eth2\"]\n[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.0.0.2\"\n",
        &[],
    );
    assert_eq!(status, Some(0), "{lines:#?}");
    assert!(lines[0].contains("tun6to4 (6to4 router for the LANs eth1:5 and eth2)"), "{lines:#?}");
    assert!(lines[0].contains("tun6rd (6rd customer edge)"), "{lines:#?}");
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/direct-access.toml");
    let output =
        Command::new(env!("CARGO_BIN_EXE_isatap")).args(["config", "check", "--elsewhere", example]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_example_of_a_file_is_without_mistake() {
    for kind in [
        "isatap-host",
        "isatap-router",
        "tunnel",
        "compatible",
        "6rd",
        "6to4",
        "teredo-client",
        "teredo-server",
        "teredo-relay",
        "portproxy",
    ] {
        let (status, lines) = check(&printed(&["config", "example", kind]), &[]);
        assert!(status == Some(0) && lines.len() == 1, "{kind}: {lines:#?}");
    }
}

/// Whatever the reader of files takes is in the reference: a wrong key is told all others.
#[test]
fn the_reference_has_every_key_of_every_table() {
    let reference = printed(&["config", "reference"]);
    for table in [
        "isatap-host",
        "isatap-router",
        "tunnel",
        "compatible",
        "6rd",
        "6to4",
        "teredo-client",
        "teredo-server",
        "teredo-relay",
        "native",
        "portproxy",
    ] {
        let begin = reference.find(&format!("[[{table}]]\n")).unwrap();
        let text = reference[begin + 2..].split("\n[[").next().unwrap();
        let (_, lines) = check(&format!("[[{table}]]\nno-such-key-of-all = 1\n"), &[]);
        let told =
            lines.iter().find_map(|line| line.split_once("it can have ")).unwrap_or_else(|| panic!("{lines:#?}"));
        for key in told.1.split(", ") {
            assert!(text.contains(&format!("\n  {key} = ")), "{table} {key}: {text}");
        }
    }
    for line in [
        "  ttl = N or \"inherit\"; default 64",
        "  path-mtu-discovery = true or false; default true",
        "  local = [\"V4\", …]; needed",
        "  role = \"host-router\" or \"router\" or \"relay\"; default \"host-router\"",
        "  remote = \"V4|NAME\"; needed",
    ] {
        assert!(reference.contains(&format!("\n{line}\n")), "{line}: {reference}");
    }
}

/// It is no mistake: the status is that of a file without any.
#[test]
fn tunnels_that_overlap_are_warned_of() {
    let tunnel = |dev: &str, remote: &str| {
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"192.0.2.1\"\nremote = \"{remote}\"\naddress = \"2001:db8::1/64\"\n"
        )
    };
    let file = tunnel("a", "192.0.2.2") + &tunnel("b", "192.0.2.3");
    let overlap = "2001:db8::/64 overlaps 2001:db8::/64 of a, so packets to one of the two can leave by the other; give \
                   each its own prefix";
    let (status, lines) = check(&file, &[]);
    assert_eq!((status, &lines[1..]), (Some(0), &[format!("node.toml: warning: b: {overlap}")][..]));
    let (status, json) = check(&file, &["-j"]);
    let lines: Vec<serde_json::Value> = json.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(status, Some(0));
    assert_eq!(lines, [serde_json::json!({"file": "node.toml", "dev": "b", "warning": overlap})]);
}

/// What a file names on this machine, for as long as a test takes.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new(name: &str, mode: u32, text: &str) -> Self {
        use std::os::unix::fs::PermissionsExt;
        let path = std::env::temp_dir().join(format!("isatap-config-{name}-{}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Each with the place, and by both in the same words: nobody starts a service with a file that was
/// found good, and finds it refused.
#[test]
fn what_run_refuses_here_is_an_error_of_check() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let open = Scratch::new("open", 0o644, "key \"k\" { algorithm hmac-sha256; secret \"c2VjcmV0\"; };\n");
    let open = open.0.display();
    let tunnel = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"192.0.2.2\"\naddress = \"2001:db8::1/64\"\n";
    let rule = |listen: &str| format!("[[portproxy]]\nlisten = \"{listen}\"\nconnect = \"[2001:db8::1]:80\"\n");
    let cases = [
        (
            format!("user = \"isatap-nobody\"\n{tunnel}"),
            "1:8: cannot become the user isatap-nobody: there is none".into(),
        ),
        (
            format!("hook = \"hook\"\n{tunnel}"),
            "1:8: cannot run the hook hook: it is no whole path; begin it with /".to_owned(),
        ),
        (format!("hook = \"/no/hook\"\n{tunnel}"), "1:8: cannot run the hook /no/hook: No such file".into()),
        (
            format!("hook = \"/etc/passwd\"\n{tunnel}"),
            "1:8: cannot run the hook /etc/passwd: it is not executable; chmod +x /etc/passwd".into(),
        ),
        (
            format!("hook = \"/bin/sh\"\nhook-user = \"isatap-nobody\"\n{tunnel}"),
            "2:13: cannot run hooks as the user isatap-nobody: there is none of this name; useradd --system \
             isatap-nobody, or name another user"
                .into(),
        ),
        (
            tunnel.replace("[[tunnel]]\n", "[[tunnel]]\ndev = \"lo\"\n"),
            "2:7: cannot create the TUN device lo: ".to_owned(),
        ),
        (format!("{tunnel}pcap = \"/no/folder/outer.pcap\"\n"), "5:8: cannot record packets into /no/fo".into()),
        (
            "[[6to4]]\nrole = \"relay\"\nanycast = true\n".into(),
            "3:11: cannot send from 192.88.99.1: this machine".into(),
        ),
        (
            "[[isatap-host]]\nvia = \"lo\"\nrouter = \"10.0.0.1\"\n".into(),
            "2:7: cannot send from the addresses of lo: it is the loopback device".into(),
        ),
        (format!("{tunnel}[[native]]\ndev = \"no-such-lan\"\n"), "6:7: cannot find the device no-such-lan: ".into()),
        (
            "[[teredo-client]]\nserver = \"192.0.2.1\"\nsecret-file = \"/no/secret\"\n".into(),
            "3:15: cannot read the secrets in /no/secret: No such file".into(),
        ),
        (
            format!("[[teredo-client]]\nserver = \"192.0.2.1\"\nsecret-file = \"{open}\"\n"),
            format!("3:15: cannot use the secrets in {open}: everybody may read the file; chmod 640 {open}"),
        ),
        (
            format!("[[teredo-client]]\nserver = \"192.0.2.1\"\nbind = \"{}\"\n", datagrams.local_addr().unwrap()),
            "3:8: cannot ".into(),
        ),
        (
            rule(&format!("127.0.0.1:{port}")),
            format!("2:10: cannot listen at 127.0.0.1:{port}: Address already in use"),
        ),
        (rule("[fe80::1%no-such-dev]:80"), "2:10: cannot listen at [fe80::1%no-such-dev]:80: No such device".into()),
        (
            format!("{tunnel}[[dns-update]]\nzone = \"example.net.\"\nkey-file = \"{open}\"\n"),
            format!("7:12: cannot use the key in {open}: everybody may read the file; chmod 640 {open}"),
        ),
    ];
    for (text, refused) in cases {
        let (status, lines) = check_here(&text, &[]);
        let begin = format!("node.toml:{refused}");
        assert!(status == Some(3) && lines[0].starts_with(&begin), "{text}: {refused}: {lines:#?}");
        let (status, json) = check_here(&text, &["-j"]);
        let error: serde_json::Value = serde_json::from_str(&json[0]).unwrap();
        assert!(status == Some(3) && error["text"].is_string() && error["line"].is_u64(), "{json:?}");
        assert_eq!(check(&text, &[]).0, Some(0), "{text}: it may be another machine's");
        let file = Scratch::new("refused.toml", 0o644, &text);
        let folder = std::env::temp_dir().join(format!("isatap-config-run-{}", std::process::id()));
        let mut run = Command::new(env!("CARGO_BIN_EXE_isatap"));
        let output = run.arg("run").arg(&file.0).env("ISATAP_RUNTIME_DIR", folder).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap().replace(file.0.to_str().unwrap(), "node.toml");
        assert!(matches!(output.status.code(), Some(1 | 2)), "{told}");
        assert!(told.lines().any(|line| line.ends_with(&lines[0])), "{told} instead of {}", lines[0]);
    }
}

/// Both would listen at TCP port 5355.
#[test]
fn a_rule_at_the_port_of_a_router_that_answers_is_refused() {
    let text = "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\nanswer-by = [\"llmnr\"]\n\
                [[portproxy]]\nlisten = \"0.0.0.0:5355\"\nconnect = \"[2001:db8::1]:80\"\n";
    let (status, lines) = check(text, &[]);
    let told = "node.toml:6:10: isatap0 answers by llmnr at TCP port 5355: choose another port";
    assert!(status == Some(3) && lines[0].starts_with(told), "{lines:#?}");
    assert_eq!(check(&text.replace("5355", "137"), &[]).0, Some(0));
}

/// The daemon that has read the file has the port, for the same link under another name.
#[test]
fn a_port_of_a_running_daemon_is_warned_of() {
    use std::io::{BufRead, BufReader, Write};
    let folder = std::env::temp_dir().join(format!("isatap-config-ours-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let text = format!("[[teredo-client]]\nserver = \"192.0.2.1\"\nbind = \"{}\"\n", held.local_addr().unwrap());
    let file = Scratch::new("ours.toml", 0o644, &(text + "dev = \"renamed\"\n"));
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
        command.args(["config", "check"]).arg(&file.0).env("ISATAP_RUNTIME_DIR", &folder);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap())
    };
    let (status, told) = check();
    assert!(status == Some(3) && told.contains("listen at UDP"), "{told}");
    let listener = std::os::unix::net::UnixListener::bind(folder.join("before.sock")).unwrap();
    let port = held.local_addr().unwrap().port();
    let daemon = std::thread::spawn(move || {
        let mut stream = listener.accept().unwrap().0;
        BufReader::new(stream.try_clone().unwrap()).read_line(&mut String::new()).unwrap();
        stream.write_all(format!("{{\"teredo\":{{\"port\":{port}}}}}\n").as_bytes()).unwrap();
    });
    let (status, told) = check();
    assert!(status == Some(0) && told.contains("warning: ") && told.contains("a running isatap has it"), "{told}");
    daemon.join().unwrap();
    std::fs::remove_dir_all(folder).unwrap();
}

/// `PPX-12`: by an address of this machine, which another may not have.
#[test]
fn ppx_12_a_rule_that_leads_to_itself_here_is_warned_of() {
    let rule = "[[portproxy]]\nlisten = \"*:8181\"\nconnect = \"127.0.0.1:8181\"\ndirection = \"v4tov4\"\n";
    assert!(check(rule, &[]).1[0].contains("the rule listens there itself"));
    // The loopback device has all of 127/8; this one is the machine's by the same token as others.
    let Some(own) = own_address() else { return };
    let rule = rule.replace("127.0.0.1", &own);
    let (status, lines) = check_here(&rule, &[]);
    let told = "node.toml:3:11: warning: the rule itself listens at 0.0.0.0:8181, and ";
    assert!(status == Some(0) && lines[1].starts_with(told), "{lines:#?}");
    let (status, lines) = check(&rule, &[]);
    assert!(status == Some(0) && lines.len() == 1, "{lines:#?}");
}

/// An IPv4 address of this machine beside the loopback device's.
fn own_address() -> Option<String> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.connect("192.0.2.1:9").ok()?;
    let own = socket.local_addr().unwrap().ip();
    (!own.is_loopback()).then(|| own.to_string())
}

/// What a link waits for is a warning, with its place.
#[test]
fn what_this_machine_lacks_is_warned_of() {
    let text = "[[tunnel]]\nlocal = \"198.18.7.7\"\nremote = \"198.18.7.8\"\n\
                [[isatap-host]]\nvia = \"no-such-dev\"\nrouter = \"r\"\nresolve-by = [\"lmhosts\"]\nlmhosts = \"/no/lmhosts\"\n\
                [[6rd]]\ndhcp-lease = \"/no/lease\"\nlocal = \"198.18.7.9\"\n\
                [[portproxy]]\nlisten = \"198.18.7.10:8181\"\nconnect = \"[2001:db8::1]:80\"\n";
    let (status, lines) = check_here(text, &[]);
    assert_eq!(status, Some(0), "{lines:#?}");
    let expected = [
        "2:9: warning: this machine has no address 198.18.7.7 now: the link would wait for it here; see",
        "5:7: warning: this machine has no device no-such-dev now: ",
        "8:11: warning: this machine has no file /no/lmhosts now: its names would not be found here",
        "10:14: warning: this machine has no file /no/lease now: the link would wait for it here",
        "11:9: warning: this machine has no address 198.18.7.9 now",
        "13:10: warning: this machine lacks the address 198.18.7.10 now: the rule would wait for it here",
    ];
    for (line, begin) in lines[1..].iter().zip(expected) {
        assert!(line.starts_with(&format!("node.toml:{begin}")), "{begin}: {lines:#?}");
    }
    assert_eq!(lines.len(), 1 + expected.len(), "{lines:#?}");
    let (status, lines) = check_here(text, &["-j"]);
    let warning: serde_json::Value = serde_json::from_str(&lines[0]).unwrap();
    assert_eq!((status, &warning["line"], &warning["column"]), (Some(0), &2.into(), &9.into()));
    assert!(warning["warning"].as_str().unwrap().starts_with("this machine has no address 198.18.7.7 now"));
}
