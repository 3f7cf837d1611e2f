//! The tool `isatap check` as a user, and a test of another project, runs it.
#![cfg(feature = "cli")]

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
    let path = std::env::temp_dir().join(format!(
        "isatap-check-cli-{}-{:?}.pcap",
        std::process::id(),
        std::thread::current().id()
    ));
    assert!(isatap(&["lab", "--pcap", path.to_str().unwrap()]).status.success());
    path
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
