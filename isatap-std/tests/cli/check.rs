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
    std::fs::remove_file(path).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let to_us = |packet: &Value| packet["outer_dst"] == destination;
    let all = lines(&output);
    let is_ours = |packet: &Value| links.contains(packet["outer_src"].as_str().unwrap());
    for packet in all.iter().filter(|packet| !to_us(packet)) {
        let verdict = &packet["verdict"];
        assert!(verdict == "drop" || verdict == "sent" && is_ours(packet), "{links}: {packet}");
    }
    // Of a packet to others nobody is warned.
    let is_refused = |packet: &Value| packet["verdict"] == "drop" && packet["reason"] != "not-addressed";
    let status = if all.iter().any(|packet| to_us(packet) && is_refused(packet)) { 3 } else { 0 };
    assert_eq!(output.status.code(), Some(status), "{links}: {}", String::from_utf8_lossy(&output.stderr));
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
    // How the NAT of client B shows it.
    let rows = judged("teredo", "131.107.0.1", "--link teredo --local 131.107.0.1:8192 --server 206.73.118.1");
    assert_has(&rows, &[("teredo", "router", "-"), ("teredo", "host", "-"), ("-", "-", "teredo-mapping")]);
    // At another port nothing is its own.
    let rows = judged("teredo", "131.107.0.1", "--link teredo --local 131.107.0.1:8193 --server 206.73.118.1");
    assert!(!rows.is_empty() && rows.iter().all(|(_, _, reason)| reason == "not-addressed"), "{rows:?}");
}

#[test]
fn links_of_several_kinds_are_one_node() {
    let isatap_link = "--link isatap --role router --local 172.16.10.25 --prefix fd9c:30c:2da4:1::/64";
    let tunnel = "--link configured --local 131.107.9.1 --remote 131.107.9.9 --address fd9c:30c:2da4:1000::1/64";
    let client = "--link teredo --local 157.60.1.20:1 --server 131.107.0.2";
    let rows = judged("direct-access", "131.107.9.1", &format!("{isatap_link} {tunnel} {client}"));
    assert_has(&rows, &[("configured", "remote", "-")]);
    // The link has the name of its command and its table too.
    let by_its_command = format!("{isatap_link} {} {client}", tunnel.replace("--link configured", "--link tunnel"));
    assert_eq!(judged("direct-access", "131.107.9.1", &by_its_command), rows);
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
    assert_eq!(output.status.code(), Some(0), "packets to others are no fault");
    // Its ISATAP router is 10.0.0.1, as that of the scenario.
    let to_router: Vec<Value> = lines(&output).into_iter().filter(|packet| packet["outer_dst"] == "10.0.0.1").collect();
    assert!(
        to_router.iter().any(|packet| packet["verdict"] == "accept" && packet["link"] == "isatap"),
        "{to_router:?}"
    );
    // Of the file's mistakes the last is the error; addresses that only a machine knows are one.
    let bad = std::env::temp_dir().join(format!("isatap-check-cli-{}.toml", std::process::id()));
    for (text, expected) in [
        ("[[6to4]]\nrole = \"router\"\n", "name them: --local V4, or local in the file"),
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
    assert_eq!(output.status.code(), Some(0), "packets to others are no fault");
    let packets = lines(&output);
    assert!(packets.len() > 20);
    for (at, packet) in packets.iter().enumerate() {
        assert_eq!(packet["n"], at + 1);
        assert_keys(packet);
        let ours = packet["outer_dst"] == "192.168.47.99";
        let sent = packet["outer_src"] == "192.168.47.99";
        assert_eq!(
            packet["verdict"],
            ["drop", "accept", "sent"][usize::from(ours) + 2 * usize::from(sent)],
            "{packet}"
        );
        if sent {
            assert!(packet["link"].is_null() && packet["reason"].is_null() && packet["trials"] == Value::Array(vec![]));
        } else if ours {
            assert_eq!(packet["link"], "isatap");
            assert_eq!(packet["from"], if packet["outer_src"] == "10.0.0.1" { "router" } else { "host" }, "{packet}");
            assert!(packet["reason"].is_null());
        } else {
            assert_eq!((&packet["reason"], &packet["requirement"]), (&"not-addressed".into(), &"ISA-40".into()));
        }
    }
    // Without the prefix on-link the other host's packets are not believed.
    let output = isatap(&[&host[..], &["--pcap", file]].concat());
    assert_eq!(output.status.code(), Some(3));
    let refused = lines(&output);
    assert!(
        refused.iter().any(|packet| packet["reason"] == "isatap-source-mismatch" && packet["requirement"] == "ISA-42")
    );
    std::fs::remove_file(path).unwrap();
}

/// Whether an object has the keys that are promised, and no other.
#[track_caller]
fn assert_keys(packet: &Value) {
    const KEYS: [&str; 13] = [
        "captured",
        "from",
        "inner_dst",
        "inner_src",
        "length",
        "link",
        "n",
        "outer_dst",
        "outer_src",
        "reason",
        "requirement",
        "trials",
        "verdict",
    ];
    let mut keys: Vec<_> = packet.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    assert_eq!(keys, KEYS, "{packet}");
}

const ROUTER: [&str; 8] =
    ["--link", "isatap", "--role", "router", "--local", "10.0.0.1", "--prefix", "2001:db8:0:7::/64"];

/// A file of its own for a test.
fn temporary(name: &str, bytes: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("isatap-check-cli-{}-{name}", std::process::id()));
    std::fs::write(&path, bytes).unwrap();
    path
}

fn pcap(link_type: u32, packets: &[&[u8]]) -> Vec<u8> {
    let mut file = Vec::new();
    for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, link_type] {
        file.extend(word.to_le_bytes());
    }
    for packet in packets {
        let length = u32::try_from(packet.len()).unwrap();
        for word in [1_700_000_000, 0, length, length] {
            file.extend(word.to_le_bytes());
        }
        file.extend(*packet);
    }
    file
}

/// An echo from 10.0.0.2 to the router in an Ethernet frame, and its answer.
fn echo() -> [Vec<u8>; 2] {
    let request = include_bytes!("../cases/mpls.pcap")[24 + 16 + 14 + 4..].to_vec();
    let mut answer = request.clone();
    // Sums do not mind who stands first.
    for (first, second, length) in [(12, 16, 4), (28, 44, 16)] {
        answer[first..first + length].copy_from_slice(&request[second..second + length]);
        answer[second..second + length].copy_from_slice(&request[first..first + length]);
    }
    [request, answer].map(|packet| [&[0; 12][..], &[8, 0], &packet].concat())
}

#[test]
fn an_ordinary_capture_of_a_node_that_works_ends_with_0() {
    let [request, answer] = echo();
    let arp = [&[0xff; 12][..], &[8, 6], &[0; 28]].concat();
    let path = temporary("ordinary.pcap", &pcap(1, &[&request, &answer, &arp, &[0; 9]]));
    let file = path.to_str().unwrap();
    for arguments in [&[file][..], &["--pcap", file]] {
        let output = isatap(&[&["check", "-j"][..], &ROUTER, arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        let packets = lines(&output);
        packets.iter().for_each(assert_keys);
        let verdicts: Vec<_> = packets.iter().map(|packet| packet["verdict"].as_str().unwrap()).collect();
        assert_eq!(verdicts, ["accept", "sent", "not-ip", "not-ip"]);
        assert_eq!((&packets[0]["captured"], &packets[0]["length"]), (&94.into(), &94.into()));
        assert_eq!(
            (&packets[1]["outer_src"], &packets[1]["inner_dst"]),
            (&"10.0.0.1".into(), &"fe80::5efe:a00:2".into())
        );
        assert!(packets[2]["outer_src"].is_null() && packets[2]["reason"].is_null());
    }
    let text = isatap(&[&["check"][..], &ROUTER, &[file]].concat());
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(
        text.contains("1 let in, 0 dropped, 1 sent by the node, 2 not IP\n") && text.contains("not-ip  ARP\n"),
        "{text}"
    );
    std::fs::remove_file(path).unwrap();
}

#[test]
fn what_is_for_no_tunnel_of_the_node_is_counted_apart() {
    let [request, answer] = echo();
    let ipv4 = |protocol: u8, source: [u8; 4], destination: [u8; 4]| {
        let mut packet = request.clone();
        packet[14 + 9] = protocol;
        packet[14 + 10..14 + 12].fill(0);
        packet[14 + 12..14 + 16].copy_from_slice(&source);
        packet[14 + 16..14 + 20].copy_from_slice(&destination);
        let sum: u32 = packet[14..34].chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = !u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
        packet[14 + 10..14 + 12].copy_from_slice(&sum.to_be_bytes());
        packet
    };
    let (router, host, others) = ([10, 0, 0, 1], [10, 0, 0, 2], [10, 0, 0, 9]);
    let native = [&[0; 12][..], &[0x86, 0xdd], &request[34..]].concat();
    let tcp = ipv4(6, host, router);
    let mut fragment = ipv4(17, host, router);
    fragment[14 + 6] = 0x20;
    let ordinary = [request.clone(), answer, tcp, fragment, native, ipv4(41, host, others)];
    // The inner source is not the outer's.
    let forged = ipv4(41, others, router);
    let spare = [&ordinary[..], &[forged]].concat();
    for (packets, status, expected) in [
        (&ordinary[..], 0, "1 let in, 0 dropped, 4 not for its tunnels, 1 sent by the node\n"),
        (&spare[..], 3, "1 let in, 1 dropped, 4 not for its tunnels, 1 sent by the node\n"),
    ] {
        let packets: Vec<&[u8]> = packets.iter().map(Vec::as_slice).collect();
        let path = temporary(&format!("apart-{status}.pcap"), &pcap(1, &packets));
        let output = isatap(&[&["check"][..], &ROUTER, &[path.to_str().unwrap()]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(expected), "{text}");
        assert_eq!(output.status.code(), Some(status), "{text}");
        // Each is told all the same.
        assert_eq!(text.matches("  drop ").count(), 4 + usize::from(status == 3), "{text}");
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn the_links_are_options_or_a_file_wherever_it_stands() {
    let [request, answer] = echo();
    // Its ISATAP router is 10.0.0.1 as well.
    let config = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/direct-access.toml");
    let text = std::fs::read(config).unwrap();
    let other = temporary("no-extension", &text);
    let other = other.to_str().unwrap();
    let path = temporary("wherever.pcap", &pcap(1, &[&request, &answer]));
    let file = path.to_str().unwrap();
    for arguments in [
        ["--config", config, file].as_slice(),
        &[file, "--config", config],
        &[config, file],
        &[file, config],
        &[other, file],
        &[config, "--pcap", file],
        &["--config", config, "--pcap", file],
    ] {
        let output = isatap(&[&["check", "-j"][..], arguments].concat());
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(lines(&output)[0]["link"], "isatap", "{arguments:?}");
    }
    for (arguments, expected) in [
        (&[config][..], "check needs a capture"),
        (&[file], "--link"),
        (&["--config", config, "--pcap", file, file], "leave out"),
        (&[config, file, file], "CAPTURE"),
        (&["--config", config, "--link", "isatap", file], "--link"),
    ] {
        let output = isatap(&[&["check"][..], arguments].concat());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
    std::fs::remove_file(path).unwrap();
    std::fs::remove_file(other).unwrap();
}

#[test]
fn the_cases_of_the_field_are_let_in() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    for (name, captured, length, note) in [
        ("snap68.pcap", 68, 94, Some("cut")),
        ("ppp9.pcap", 84, 84, None),
        ("ppp9_pfc.pcap", 81, 81, None),
        ("mpls.pcap", 98, 98, None),
        ("cs0.pcap", 68, 68, Some("checksum-unset")),
        ("tso0.pcap", 3080, 3080, Some("length-unset")),
        ("eth.pcap.gz", 94, 94, None),
        ("pow2.pcapng", 94, 94, None),
        ("obsoletepb.pcapng", 94, 94, None),
    ] {
        let output = isatap(&[&["check", "-j"][..], &ROUTER, &[&format!("{folder}/{name}")]].concat());
        assert_eq!(output.status.code(), Some(0), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let packets = lines(&output);
        assert_eq!(packets.len(), 1, "{name}");
        assert_eq!((&packets[0]["verdict"], &packets[0]["link"]), (&"accept".into(), &"isatap".into()), "{name}");
        assert_eq!((&packets[0]["captured"], &packets[0]["length"]), (&captured.into(), &length.into()), "{name}");
        assert_eq!(packets[0]["notes"][0].as_str(), note, "{name}");
    }
}

#[test]
fn what_cannot_be_read_is_an_error_and_never_a_verdict() {
    let [request, _] = echo();
    let usb = temporary("usb.pcap", &pcap(220, &[&[0; 64], &[0; 64]]));
    let empty = temporary("empty.pcap", &[]);
    let headless = temporary("header.pcap", &pcap(1, &[]));
    let text = temporary("text.pcap", b"what tcpdump printed, not what it wrote");
    let whole = pcap(1, &[&request, &request]);
    let cut = temporary("cut.pcap", &whole[..whole.len() - 1]);
    let check = |file: &PathBuf| isatap(&[&["check", "-j"][..], &ROUTER, &[file.to_str().unwrap()]].concat());
    for (file, status, packets, expected) in [
        (&usb, 1, 0, "cannot read 2 packets of the capture"),
        (&usb, 1, 0, "the first is packet 1: link type 220 (USB_LINUX_MMAPPED) is not understood"),
        (&empty, 1, 0, "it is empty"),
        (&headless, 0, 0, "holds no packets"),
        (&text, 1, 0, "neither a pcap nor a pcapng file"),
        (&cut, 1, 2, "cut short in packet 2"),
        (&std::env::temp_dir(), 1, 0, "is a directory"),
    ] {
        let output = check(file);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), lines(&output).len()), (Some(status), packets), "{file:?}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{file:?}: {error}");
        // As `explain` sees it.
        let explained = isatap(&["explain", "-j", file.to_str().unwrap()]);
        let error = String::from_utf8_lossy(&explained.stderr).into_owned();
        assert_eq!((explained.status.code(), lines(&explained).len()), (Some(status), packets), "{file:?}: {error}");
        assert!(error.contains(expected), "{file:?}: {error}");
    }
    let last = lines(&check(&cut)).remove(1);
    assert_eq!((&last["verdict"], &last["captured"], &last["length"]), (&"accept".into(), &93.into(), &94.into()));
    for file in [usb, empty, headless, text, cut] {
        std::fs::remove_file(file).unwrap();
    }
}

#[test]
fn a_frame_cut_in_its_link_layer_is_no_verdict_either() {
    let mut file = pcap(1, &[&[0; 10]]);
    file[24 + 12..24 + 16].copy_from_slice(&94_u32.to_le_bytes());
    let path = temporary("short.pcap", &file);
    let output = isatap(&[&["check", "-j"][..], &ROUTER, &[path.to_str().unwrap()]].concat());
    std::fs::remove_file(path).unwrap();
    assert_eq!((output.status.code(), &lines(&output)[0]["verdict"]), (Some(0), &"cut".into()));
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
        (vec!["--link", "isatap", "--local", "10.0.0", "--pcap", "x"], "'10.0.0' for '--local <V4>'"),
        (vec!["--link", "isatap", "--local", "10.0.0.2", "--remote", "10.0.0.3", "--pcap", "x"], "--remote"),
        (vec!["--link", "gre", "--pcap", "x"], "gre"),
        (vec!["--link", "6to4", "--pcap", "x"], "--local"),
        (vec!["--link", "6to4", "--local", "10.0.0.2", "--pcap", "x"], "public IPv4"),
        (
            vec!["--link", "6to4", "--local", "131.107.0.1", "--role", "ce", "--pcap", "x"],
            "write host-router, router or relay",
        ),
        (vec!["--link", "6rd", "--local", "10.0.0.2", "--pcap", "x"], "no 6rd prefix is given; give prefix"),
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

/// An echo request in protocol 41.
fn tunnelled(outer: [&str; 2], inner: [&str; 2]) -> Vec<u8> {
    let outer = outer.map(|address| address.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let inner = inner.map(|address| address.parse::<std::net::Ipv6Addr>().unwrap().octets());
    let sum = |bytes: &[u8]| {
        let sum: u32 = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(pair[1])).sum();
        let sum = (sum & 0xffff) + (sum >> 16);
        (!u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap()).to_be_bytes()
    };
    let mut header = [&[0x45, 0, 0, 68, 0, 0, 0, 0, 64, 41, 0, 0][..], &outer[0], &outer[1]].concat();
    let of_header = sum(&header);
    header[10..12].copy_from_slice(&of_header);
    let mut echo = vec![128, 0, 0, 0, 0, 1, 0, 1];
    let of_echo = sum(&[&inner[0][..], &inner[1], &[0, 0, 0, 8, 0, 0, 0, 58], &echo].concat());
    echo[2..4].copy_from_slice(&of_echo);
    [&header[..], &[0x60, 0, 0, 0, 0, 8, 58, 64], &inner[0], &inner[1], &echo].concat()
}

/// Each rule of a file is the daemon's, as it makes its link: first a packet that the rule drops and
/// why, then one that it lets in.
#[test]
fn a_file_is_judged_by_all_that_it_says() {
    let of_9 = tunnelled(["131.107.0.9", "131.107.0.1"], ["2002:836b:9::1", "2600::1"]);
    let of_client = tunnelled(["157.60.0.9", "131.107.0.1"], ["2002:9d3c:9::1", "2600::1"]);
    let by_relay = |relay| tunnelled([relay, "131.107.0.1"], ["2600::1", "2002:836b:1::1"]);
    let anycast = tunnelled(["157.60.0.9", "192.88.99.1"], ["2002:9d3c:9::1", "2600::1"]);
    let elsewhere = tunnelled(["157.60.0.9", "192.88.99.2"], ["2002:9d3c:9::1", "2600::1"]);
    let sibling = |outer| tunnelled([outer, "10.100.100.1"], ["2001:db8:6464:200::1", "2001:db8:6464:100::1"]);
    let customer = tunnelled(["10.100.100.2", "192.0.2.1"], ["2001:db8:6464:200::1", "2600::1"]);
    let stranger = tunnelled(["11.100.100.2", "192.0.2.1"], ["2001:db8:6464:200::1", "2600::1"]);
    let relay = "[[6to4]]\nrole = \"relay\"\nlocal = \"131.107.0.1\"\n";
    let router = "[[6to4]]\nrole = \"router\"\nlocal = \"131.107.0.1\"\n";
    let edge = "[[6rd]]\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"10.100.100.1\"\nbr = \"10.0.0.1\"\n";
    let border = "[[6rd]]\nrole = \"br\"\nprefix = \"2001:db8::/32\"\nv4-mask-len = 8\nlocal = \"192.0.2.1\"\n";
    for (number, (table, rule, dropped, reason, accepted)) in [
        (relay, "client = \"157.60.0.0/16\"", &of_9, "not-a-client", &of_client),
        (router, "accept-relay = \"194.207.1.5\"", &by_relay("194.207.1.9"), "not-a-relay", &by_relay("194.207.1.5")),
        (relay, "anycast = true", &elsewhere, "not-addressed", &anycast),
        (edge, "strict-siblings = true", &sibling("10.0.0.1"), "6rd-sibling-by-relay", &sibling("10.100.100.2")),
        (border, "customer = \"10.0.0.1\"", &stranger, "6rd-source-mismatch", &customer),
    ]
    .into_iter()
    .enumerate()
    {
        let capture = temporary(&format!("rule-{number}.pcap"), &pcap(101, &[dropped, accepted]));
        let file = temporary(&format!("rule-{number}.toml"), format!("{table}{rule}\n").as_bytes());
        let without = temporary(&format!("rule-{number}-without.toml"), table.as_bytes());
        let verdicts = |file: &std::path::Path| {
            let output = isatap(&["check", "-j", file.to_str().unwrap(), "--pcap", capture.to_str().unwrap()]);
            lines(&output)
                .into_iter()
                .map(|packet| (packet["verdict"].clone(), packet["reason"].clone()))
                .collect::<Vec<_>>()
        };
        let judged = verdicts(&file);
        assert_eq!((&judged[0].0, &judged[1].0), (&"drop".into(), &"accept".into()), "{rule}: {judged:?}");
        assert!(judged[0].1 == reason, "{rule}: {judged:?}");
        assert_ne!(verdicts(&without), judged, "{rule} says nothing");
        for path in [capture, file, without] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
