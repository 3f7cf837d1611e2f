//! The tool `isatap check` as a user, and a test of another project, runs it.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

fn isatap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

/// What the lab's intranet sends: solicitations, advertisements, echo, in 26 packets.
fn capture() -> PathBuf {
    capture_of("intranet")
}

/// What a scenario of the lab's sends.
fn capture_of(scenario: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!(
        "isatap-check-cli-{scenario}-{}-{:?}.pcap",
        std::process::id(),
        std::thread::current().id()
    ));
    assert!(isatap(&["lab", scenario, "--pcap", path.to_str().unwrap()]).status.success());
    path
}

/// What a node makes of the packets of a scenario that are sent to `destination`: link, from
/// and reason of each.
fn judged(scenario: &str, destination: &str, links: &str) -> Vec<(String, String, String)> {
    let path = capture_of(scenario);
    let arguments: Vec<&str> =
        ["check", "-j", "--pcap", path.to_str().unwrap()].into_iter().chain(links.split(' ')).collect();
    let output = isatap(&arguments);
    assert_eq!(output.status.code(), Some(3), "{links}: {}", String::from_utf8_lossy(&output.stderr));
    std::fs::remove_file(path).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let to_us = |packet: &Value| packet["outer_dst"] == destination;
    let all = lines(&output);
    assert!(all.iter().filter(|packet| !to_us(packet)).all(|packet| packet["verdict"] == "drop"), "{links}");
    all.iter()
        .filter(|packet| to_us(packet))
        .map(|row| (text(&row["link"]), text(&row["from"]), text(&row["reason"])))
        .collect()
}

/// Whether the rows hold each of these at least once.
#[track_caller]
fn assert_has(rows: &[(String, String, String)], expected: &[(&str, &str, &str)]) {
    for (link, from, reason) in expected {
        let row = ((*link).to_owned(), (*from).to_owned(), (*reason).to_owned());
        assert!(rows.contains(&row), "{row:?} is not among {rows:?}");
    }
}

#[test]
fn s64_20_s64_21_a_6to4_router_and_a_relay_judge_what_the_lab_sends_them() {
    let rows = judged("6to4", "157.60.0.1", "--link 6to4 --local 157.60.0.1");
    assert_has(
        &rows,
        &[
            ("6to4", "host", "-"),
            ("6to4", "unverified-relay", "-"),
            ("-", "-", "6to4-outer-refused"),
            ("-", "-", "6to4-source-mismatch"),
            ("-", "-", "6to4-embedded-refused"),
            ("-", "-", "outside-site"),
        ],
    );
    let rows = judged("6to4", "194.207.1.5", "--link 6to4 --role relay --local 194.207.1.5");
    assert_has(&rows, &[("6to4", "host", "-"), ("-", "-", "native-to-native")]);
}

#[test]
fn s6r_22_s6r_31_a_6rd_edge_and_a_relay_judge_what_the_lab_sends_them() {
    let domain = "--prefix 2001:db8::/32 --v4-mask-len 8";
    let rows = judged("6rd", "10.100.100.1", &format!("--link 6rd --local 10.100.100.1 {domain} --br 10.0.0.1"));
    assert_has(&rows, &[("6rd", "host", "-"), ("-", "-", "6rd-source-mismatch"), ("-", "-", "outside-delegation")]);
    assert!(rows.iter().any(|(link, from, _)| link == "6rd" && from != "host"), "from the border relay: {rows:?}");
    let rows = judged("6rd", "10.0.0.1", &format!("--link 6rd --role br --local 10.0.0.1 {domain}"));
    assert_has(&rows, &[("6rd", "host", "-"), ("-", "-", "6rd-source-mismatch")]);
}

#[test]
fn ter_38_ter_39_a_teredo_client_judges_what_comes_to_its_port() {
    // How the NAT of the first client shows it, by the scenario's seed.
    let rows = judged("teredo", "192.0.2.1", "--link teredo --local 192.0.2.1:64112 --server 198.51.100.1");
    assert_has(&rows, &[("teredo", "router", "-"), ("teredo", "host", "-"), ("-", "-", "teredo-mapping")]);
    // At another port nothing is its own.
    let rows = judged("teredo", "192.0.2.1", "--link teredo --local 192.0.2.1:64113 --server 198.51.100.1");
    assert!(!rows.is_empty() && rows.iter().all(|(_, _, reason)| reason == "not-addressed"), "{rows:?}");
}

#[test]
fn links_of_several_kinds_are_one_node() {
    let isatap_link = "--link isatap --role router --local 172.16.10.25 --prefix fd9c:30c:2da4:1::/64";
    let tunnel = "--link configured --local 131.107.9.1 --remote 131.107.9.9 --address fd9c:30c:2da4:1000::1/64";
    let client = "--link teredo --local 157.60.1.20:1 --server 131.107.0.2";
    let rows = judged("direct-access", "131.107.9.1", &format!("{isatap_link} {tunnel} {client}"));
    assert_has(&rows, &[("configured", "remote", "-")]);
    // 6to4 and 6rd have each their own IPv4 address here, and each tries what comes to it.
    let both = "--link 6to4 --local 131.107.1.3 --role relay --link 6rd --role br --local 131.107.1.4 --prefix 3fff::/32 --v4-mask-len 16";
    let rows = judged("loops", "131.107.1.4", both);
    assert_has(&rows, &[("6rd", "host", "loop-destination")]);
}

#[test]
fn a_configuration_file_is_a_node_as_well() {
    let path = capture();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/direct-access.toml");
    let output = isatap(&["check", "-j", file, "--pcap", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    // Its ISATAP router is 10.0.0.1, as that of the scenario.
    let to_router: Vec<Value> = lines(&output).into_iter().filter(|packet| packet["outer_dst"] == "10.0.0.1").collect();
    assert!(
        to_router.iter().any(|packet| packet["verdict"] == "accept" && packet["link"] == "isatap"),
        "{to_router:?}"
    );
    // Of the file's mistakes the last is the error; addresses that only a machine knows are one.
    let bad = std::env::temp_dir().join(format!("isatap-check-cli-{}.toml", std::process::id()));
    for (text, expected) in [
        ("[[6to4]]\nrole = \"router\"\n", "write local into the file"),
        ("[[teredo-client]]\nserver = \"192.0.2.1\"\n", "use --link teredo"),
    ] {
        std::fs::write(&bad, text).unwrap();
        let output = isatap(&["check", bad.to_str().unwrap(), "--pcap", path.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1));
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(error.contains(expected), "{error}");
    }
    std::fs::remove_file(bad).unwrap();
    std::fs::remove_file(path).unwrap();
}

#[test]
fn every_packet_is_answered_in_order_with_stable_keys() {
    let path = capture();
    let file = path.to_str().unwrap();
    let host = ["check", "-j", "--link", "isatap", "--local", "192.168.47.99", "--router", "10.0.0.1"];
    let output = isatap(&[&host[..], &["--prefix", "2001:db8:0:7::/64", "--pcap", file]].concat());
    assert_eq!(output.status.code(), Some(3), "packets to others are dropped");
    let packets = lines(&output);
    assert!(packets.len() > 20);
    for (at, packet) in packets.iter().enumerate() {
        assert_eq!(packet["n"], at + 1);
        let keys: Vec<_> = packet.as_object().unwrap().keys().map(String::as_str).collect();
        for key in ["verdict", "link", "from", "reason", "requirement", "trials", "outer_src", "inner_dst"] {
            assert!(keys.contains(&key), "{packet}");
        }
        let ours = packet["outer_dst"] == "192.168.47.99";
        assert_eq!(packet["verdict"], if ours { "accept" } else { "drop" }, "{packet}");
        if ours {
            assert_eq!(packet["link"], "isatap");
            assert_eq!(packet["from"], if packet["outer_src"] == "10.0.0.1" { "router" } else { "host" }, "{packet}");
            assert!(packet["reason"].is_null());
        } else {
            assert_eq!((&packet["reason"], &packet["requirement"]), (&"not-addressed".into(), &"ISA-40".into()));
        }
    }
    // Without the prefix on-link the other host's packets are not believed.
    let output = isatap(&[&host[..], &["--pcap", file]].concat());
    let refused = lines(&output);
    assert!(
        refused.iter().any(|packet| packet["reason"] == "isatap-source-mismatch" && packet["requirement"] == "ISA-42")
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn several_links_are_tried_in_the_order_of_their_precedence() {
    let path = capture();
    let isatap_link = ["--link", "isatap", "--local", "192.168.47.99", "--router", "10.0.0.1"];
    let tunnel = ["--link", "configured", "--local", "192.168.47.99", "--remote", "131.107.71.209"];
    let output = isatap(&[&["check", "-j"][..], &isatap_link, &tunnel, &["--pcap", path.to_str().unwrap()]].concat());
    let from_b: Vec<_> = lines(&output)
        .into_iter()
        .filter(|packet| packet["outer_src"] == "131.107.71.209" && packet["outer_dst"] == "192.168.47.99")
        .collect();
    assert!(!from_b.is_empty());
    for packet in from_b {
        assert_eq!((&packet["link"], &packet["from"]), (&"configured".into(), &"remote".into()), "TUN-23");
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn mistakes_are_told_in_one_line_and_end_with_1() {
    for (arguments, expected) in [
        (vec!["--pcap", "x"], "--link"),
        (vec!["--link", "isatap", "--pcap", "x"], "--local"),
        (vec!["--link", "isatap", "--local", "10.0.0", "--pcap", "x"], "--local 10.0.0"),
        (vec!["--link", "isatap", "--local", "10.0.0.2", "--remote", "10.0.0.3", "--pcap", "x"], "--remote"),
        (vec!["--link", "gre", "--pcap", "x"], "gre"),
        (vec!["--link", "6to4", "--pcap", "x"], "--local"),
        (vec!["--link", "6to4", "--local", "10.0.0.2", "--pcap", "x"], "public IPv4"),
        (vec!["--link", "6to4", "--local", "131.107.0.1", "--role", "ce", "--pcap", "x"], "expected router or relay"),
        (vec!["--link", "6rd", "--local", "10.0.0.2", "--pcap", "x"], "--prefix"),
        (vec!["--link", "6rd", "--local", "10.0.0.2", "--prefix", "2001:db8::/48", "--pcap", "x"], "6rd domain"),
        (vec!["--link", "configured", "--local", "10.0.0.2", "--pcap", "x"], "--remote"),
        (vec!["--link", "teredo", "--local", "192.0.2.1", "--server", "192.0.2.9", "--pcap", "x"], "V4:PORT"),
        (vec!["--link", "teredo", "--local", "192.0.2.1:4000", "--pcap", "x"], "--server"),
        (vec!["--link", "teredo", "--local", "10.0.0.2:4000", "--server", "10.0.0.9", "--pcap", "x"], "global IPv4"),
        (vec!["--link", "isatap", "--local", "10.0.0.2", "--pcap", "/nonexistent"], "/nonexistent"),
    ] {
        let output = isatap(&[&["check"][..], &arguments].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.starts_with("isatap: ") && error.contains(expected), "{arguments:?}: {error}");
        assert_eq!(error.trim_end().lines().count(), 1, "{error}");
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn every_reason_is_listed_with_its_requirement() {
    let output = isatap(&["check", "--reasons", "-j"]);
    assert!(output.status.success());
    let reasons = lines(&output);
    assert!(reasons.len() > 40);
    assert!(reasons.iter().any(|line| line["reason"] == "isatap-source-mismatch" && line["requirement"] == "ISA-42"));
    assert!(reasons.iter().all(|line| line["text"].as_str().unwrap().ends_with('.')));
}
