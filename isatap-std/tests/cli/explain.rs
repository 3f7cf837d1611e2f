//! The tool `isatap explain` as a user runs it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

const VECTORS: &str = include_str!("embedded.json");

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = spawn(arguments);
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // A tool that does not read its input closes it.
    let _ = writer.join().unwrap();
    output
}

fn spawn(arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_isatap"))
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn objects(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn thousands_of_addresses_are_answered_rightly_and_in_order() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors: Vec<&Value> =
        file["vectors"].as_array().unwrap().iter().filter(|vector| vector.get("known").is_none()).collect();
    let asked: Vec<&Value> = vectors.iter().cycle().take(20_000).copied().collect();
    let input: String = asked.iter().map(|vector| format!("{}\n", vector["address"].as_str().unwrap())).collect();
    let output = explain(&["-j", "-"], &input);
    assert!(output.status.success());
    let answers = objects(&output);
    assert_eq!(answers.len(), asked.len());
    for (answer, vector) in answers.iter().zip(&asked) {
        let (said, address) = (answer["address"].as_str().unwrap(), vector["address"].as_str().unwrap());
        let parse = |text: &str| text.parse::<std::net::Ipv6Addr>().unwrap();
        assert_eq!(parse(said), parse(address));
        let embedded: Vec<Value> = answer["ipv4"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| {
                let mut entry = serde_json::json!({"ipv4": one["address"], "form": one["form"], "role": one["role"]});
                if let Some(port) = one.get("port") {
                    entry["port"] = port.clone();
                }
                entry
            })
            .collect();
        assert_eq!(Value::from(embedded), vector["embedded"], "{address}");
    }
}

/// What a filter for public addresses is to say of each is in the vectors.
#[test]
fn a_filter_is_answered_for_every_vector() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    let asked: Vec<&Value> = vectors.iter().filter(|vector| vector.get("known").is_none()).collect();
    let input: String = asked.iter().map(|vector| format!("{}\n", vector["address"].as_str().unwrap())).collect();
    let output = explain(&["-j", "--permits", "public", "-"], &input);
    assert_eq!(output.status.code(), Some(3));
    let answers = objects(&output);
    assert_eq!(answers.len(), asked.len());
    for (answer, vector) in answers.iter().zip(&asked) {
        assert_eq!(answer["permitted"], vector["public"], "{vector}");
        assert_eq!(answer.get("refused").is_none(), vector["public"] == true, "{answer}");
    }
}

#[test]
fn a_filter_tells_by_its_exit_status() {
    let status = |arguments: &[&str], input: &str| {
        let output = explain(&[&["-j", "--permits"], arguments].concat(), input);
        let permitted: Vec<_> = objects(&output).iter().map(|answer| answer["permitted"].as_bool()).collect();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(error.is_empty(), output.status.code() != Some(1), "{error}");
        (output.status.code().unwrap(), permitted)
    };
    const YES: Option<bool> = Some(true);
    const NO: Option<bool> = Some(false);
    assert_eq!(status(&["public", "8.8.8.8", "[2606:4700::1]:443"], ""), (0, vec![YES, YES]));
    assert_eq!(status(&["public", "8.8.8.8", "2002:7f00:1::"], ""), (3, vec![YES, NO]));
    assert_eq!(status(&["public,10.1.0.0/16", "10.1.0.1", "10.2.0.1"], ""), (3, vec![YES, NO]));
    assert_eq!(status(&["public", "--refuses", "8.8.8.0/24", "8.8.8.8", "8.8.9.8"], ""), (3, vec![NO, YES]));
    assert_eq!(status(&["public", "--nat64", "2600:1::/96", "2600:1::a00:1"], ""), (3, vec![NO]));
    // Nothing that is no address gets by, whatever explain makes of it otherwise; each line has its answer.
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/mpls.pcap");
    for no_address in
        ["example.com", "8.8.8.0/24", "0x0000: 4500 0014", file, "", "0x450000140000000040010000080808080808"]
    {
        assert_eq!(status(&["public", no_address], ""), (1, vec![NO]), "{no_address}");
        let input = format!("8.8.8.8\n{no_address}\n8.8.4.4\n");
        assert_eq!(status(&["public", "-"], &input), (1, vec![YES, NO, YES]), "{no_address}");
    }
    assert_eq!(status(&["public", "-"], "\u{feff}8.8.8.8\r\n"), (0, vec![YES]));
    // A name without addresses.
    assert_eq!(status(&["public", "-"], ""), (1, vec![]));
    for wrong in
        [&["internet", "8.8.8.8"][..], &["", "8.8.8.8"], &["public"], &["public", "--direct-access", "8.8.8.8"]]
    {
        assert_eq!(status(wrong, ""), (1, vec![]), "{wrong:?}");
    }
    // A user's text that is an option to us, even without `--` in front of it.
    for hostile in [&["--help"][..], &["-h"], &["8.8.8.8", "--help"], &["--permits=0.0.0.0/0", "127.0.0.1"], &["-V"]] {
        let output = explain(&[&["--permits", "public"], hostile].concat(), "");
        assert_eq!(output.status.code(), Some(1), "{hostile:?}");
        let joined = explain(&[&["--permits=public"], hostile].concat(), "");
        assert_eq!(joined.status.code(), Some(1), "{hostile:?}");
        assert_eq!(status(&["public", "--", hostile[0]], "").0, i32::from(hostile[0] != "8.8.8.8"), "{hostile:?}");
    }
    assert_eq!(explain(&["--help", "--", "--permits"], "").status.code(), Some(0));
    let text = String::from_utf8(explain(&["--permits", "public", "::ffff:10.0.0.1", "8.8.8.8"], "").stdout).unwrap();
    assert!(text.contains("\n  permits no, 10.0.0.1 (ipv4-mapped): Private"), "{text}");
    assert!(text.contains("8.8.8.8\n  permits yes\n"), "{text}");
}

/// A program that keeps the tool running waits for each answer.
#[test]
fn a_filter_answers_each_line_at_once() {
    let mut child = spawn(&["-j", "--permits", "public", "-"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    for (address, permitted) in [("8.8.8.8", true), ("example.com", false), ("64:ff9b::7f00:1", false)] {
        writeln!(stdin, "{address}").unwrap();
        let answer: Value = serde_json::from_str(&answers.next().unwrap().unwrap()).unwrap();
        assert_eq!(answer["permitted"], permitted, "{answer}");
    }
    drop(stdin);
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn a_line_that_is_no_target_keeps_its_place_and_fails_the_run() {
    let output = explain(&["-j", "-"], "::1\n\nnonsense\n10.0.0.0/8\n");
    assert_eq!(output.status.code(), Some(1));
    let answers = objects(&output);
    assert_eq!(answers.len(), 3, "an empty line asks nothing");
    assert_eq!(answers[1]["target"], "nonsense");
    assert!(answers[1]["error"].as_str().unwrap().contains("give an address, a prefix"));
    assert_eq!(answers[2]["prefix"], "10.0.0.0/8");
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(error.lines().count(), 1, "{error}");
}

/// Dumps as people paste them are their packet, headings and all; other lines keep their place.
#[test]
fn pasted_dumps_are_one_packet_each() {
    const SEEDS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/corpus/pasted_text/");
    let dump = |name: &str| std::fs::read_to_string(format!("{SEEDS}{name}")).unwrap();
    let layers = |output: &Output| objects(output).iter().map(|answer| answer["layers"].clone()).collect::<Vec<_>>();
    let packet = "0x4500005000010000402966820a0000020a00000160000000001\
                  43a40fe8000000000000000005efe0a000002fe8000000000000000005efe0a000001800040630001000168656c6c6f20697361746170";
    let expected = layers(&explain(&["-j", packet], ""));
    assert_eq!(expected[0][2]["kind"], "echo-request");
    for name in ["tcpdump-x", "xxd", "tshark-x", "od-words", "array", "python"] {
        assert_eq!(layers(&explain(&["-j", "-"], &dump(name))), expected, "{name}");
        // As an argument, of several lines.
        assert_eq!(layers(&explain(&["-j", &dump(name)], "")), expected, "{name}");
    }
    let output = explain(&["-j", "-"], &format!("::1\n{}http://0x7f.1:8080/\n0010 4500 0050\n", dump("tcpdump-x")));
    let answers = objects(&output);
    assert_eq!((answers.len(), output.status.code()), (4, Some(1)));
    assert_eq!(answers[1]["layers"], expected[0]);
    assert_eq!((&answers[2]["address"], &answers[2]["port"]), (&"127.0.0.1".into(), &8080.into()));
    assert_eq!(answers[2]["asked"], "http://0x7f.1:8080/");
    assert_eq!(answers[3]["target"], "0010 4500 0050");
}

/// A server alone, or in front of targets that its translator is known for.
#[test]
fn n64_4_the_prefixes_of_a_direct_access_server_are_answered_and_known() {
    let alone = explain(&["--direct-access", "131.107.0.2"], "");
    let text = String::from_utf8(alone.stdout).unwrap();
    for prefix in ["2002:836b:2:3333::/64", "2002:836b:2:1000::/64", "2001:0:836b:2::/64"] {
        assert!(text.contains(prefix), "{text}");
    }
    let output = explain(&["-j", "--direct-access", "fd9c:30c:2da4::/48", "fd9c:30c:2da4:7777::a00:5"], "");
    let [server, address] = <[Value; 2]>::try_from(objects(&output)).unwrap();
    assert_eq!(server["prefixes"][4]["prefix"], "fd9c:30c:2da4:7777::/96");
    assert_eq!((&address["kind"], &address["ipv4"][0]["address"]), (&"nat64".into(), &"10.0.0.5".into()));
    let output = explain(&["-j", "2001:db8:0:7::/64"], "");
    assert_eq!(objects(&output)[0]["reverse"][0], "7.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa");
}

#[test]
fn errors_say_what_was_expected() {
    for (arguments, expected) in [
        (&["/no/such/file.pcap"][..], "a pcap or pcapng file"),
        (&["0x123456789"], "an even number of hexadecimal digits"),
        (&["::/129"], "a prefix length of 0 to 128"),
        (&["0x0010:  4500 0050"], "paste it from its first line"),
        (&["0000 4500 0050 0001"], "write 0000: for an offset"),
        (&["http://isatap.example/"], "give one of its addresses"),
        (&["--6rd", "2001:db8::/32,33", "::1"], "0 to 32"),
        (&["--nat64", "2001:db8::/33", "::1"], "32, 40, 48, 56, 64 or 96 bits"),
        (&["--direct-access", "10.0.0.1"], "give that, such as fd9c:30c:2da4::/48"),
        (&[env!("CARGO_BIN_EXE_isatap")], "neither a pcap nor a pcapng file"),
        (&[], "TARGET"),
    ] {
        let output = explain(arguments, "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {error}");
        assert!(error.contains(expected) && error.lines().count() == 1, "{arguments:?}: {error}");
    }
}

#[test]
fn who_has_seen_enough_ends_it_quietly() {
    let mut child = spawn(&["-"]);
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || {
        let line = "2002:836b:1::1\n".repeat(1000);
        while stdin.write_all(line.as_bytes()).is_ok() {}
    });
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert_eq!(first, "2002:836b:1::1\n");
    drop(lines);
    writer.join().unwrap();
    let mut error = String::new();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!((child.wait().unwrap().code(), error.as_str()), (Some(0), ""));
}

#[test]
fn a_capture_of_the_lab_is_explained_packet_by_packet() {
    let file = std::env::temp_dir().join(format!("isatap-explain-{}.pcap", std::process::id()));
    let path = file.to_str().unwrap();
    let lab = Command::new(env!("CARGO_BIN_EXE_isatap")).args(["lab", "--pcap", path]).output().unwrap();
    assert!(lab.status.success());
    let output = explain(&["-j", path], "");
    std::fs::remove_file(&file).unwrap();
    assert!(output.status.success());
    let answers = objects(&output);
    assert!(answers.len() > 5);
    for (number, answer) in (1_u64..).zip(&answers) {
        assert_eq!(answer["n"], number);
        assert_eq!(answer["layers"][0]["kind"], "ipv4", "{answer}");
        assert_eq!(answer["layers"][1]["kind"], "ipv6", "{answer}");
        assert!(answer["time"].as_str().unwrap().contains('.'));
    }
    let advertised = answers.iter().any(|answer| answer["layers"][2]["kind"] == "router-advertisement");
    assert!(advertised, "the lab's router advertises");
}

#[test]
fn a_capture_from_standard_input_is_one_as_a_file_is() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    for name in ["mpls.pcap", "eth.pcap.gz", "pow2.pcapng"] {
        let file = format!("{folder}/{name}");
        let from_file = explain(&["-j", &file], "");
        let mut child = Command::new(env!("CARGO_BIN_EXE_isatap"));
        child.args(["explain", "-j", "-"]).stdin(std::fs::File::open(&file).unwrap());
        let from_input = child.output().unwrap();
        assert!(from_file.status.success() && from_input.status.success());
        assert_eq!(objects(&from_input), objects(&from_file), "{name}");
        assert_eq!(objects(&from_file).len(), 1, "{name}");
    }
}

#[test]
fn what_a_capture_says_around_a_packet_is_shown() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");
    let one = |name: &str| {
        let file = format!("{folder}/{name}");
        let text = explain(&[&file], "");
        (objects(&explain(&["-j", &file], "")).remove(0), String::from_utf8(text.stdout).unwrap())
    };
    let (object, text) = one("mpls.pcap");
    assert_eq!(object["frame"]["tags"][0]["kind"], "mpls");
    assert_eq!((&object["frame"]["tags"][0]["id"], &object["time"]), (&100.into(), &"1700000000.123456".into()));
    assert!(text.contains("\n  MPLS label 100, TTL 64\n  IPv4 10.0.0.2"), "{text}");
    let (object, text) = one("snap68.pcap");
    assert_eq!((&object["frame"]["captured"], &object["frame"]["length"]), (&68.into(), &94.into()));
    assert!(text.starts_with("packet 1 at 1700000000.123456, captured 68 of 94 bytes\n"), "{text}");
    assert_eq!(object["layers"][0]["dst"], "10.0.0.1");
    let inner = &object["layers"][1];
    assert_eq!(
        (&inner["kind"], &inner["src"], &inner["hop_limit"]),
        (&"cut".into(), &"fe80::5efe:a00:2".into(), &64.into())
    );
    assert!(inner.get("dst").is_none() && !text.contains("malformed"), "{text}");
    for (name, warning) in [("cs0.pcap", "ipv4-checksum-unset"), ("tso0.pcap", "ipv4-length-unset")] {
        let (object, _) = one(name);
        let warnings = object["warnings"].as_array().unwrap();
        assert_eq!(warnings.len(), 1, "{object}");
        assert_eq!(warnings[0]["name"], warning);
    }
}

#[test]
fn a_file_that_is_not_there_is_told() {
    for name in ["missing.pcap", "./no/such/file", "hello"] {
        let output = explain(&[name], "");
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        let told = format!("isatap: \"{name}\" is no address or packet, and there is no such file: give an address,");
        assert!(error.starts_with(&told), "{error}");
    }
}
