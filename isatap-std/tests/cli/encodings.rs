//! Files that an editor saved in another encoding than UTF-8.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the tool says of a file with these bytes, `FILE` in its arguments and its answer; no more than a line.
fn told(bytes: &[u8], arguments: &[&str]) -> (Option<i32>, String) {
    static FILES: AtomicUsize = AtomicUsize::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let file = std::env::temp_dir().join(format!("isatap-encodings-{}-{number}.toml", std::process::id()));
    fs::write(&file, bytes).unwrap();
    let name = file.display().to_string();
    let arguments = arguments.iter().map(|word| if *word == "FILE" { name.as_str() } else { word });
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(arguments).output().unwrap();
    fs::remove_file(&file).unwrap();
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), text.replace(&name, "FILE"))
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

const CONFIG: &str = "[[tunnel]]\nlocal = \"192.0.2.1\"\nremote = \"198.51.100.2\"\n";

#[test]
fn every_file_that_is_not_utf8_is_named_with_the_encoding_the_line_and_what_to_do() {
    let scenario = include_str!("../../src/lab/scenario/example.toml");
    let gai_conf = "precedence ::1/128 50\n";
    for (arguments, text, status, before) in [
        (&["config", "check", "FILE"][..], CONFIG, 3, ""),
        (&["run", "FILE"], CONFIG, 1, "isatap: "),
        (&["plan", "FILE"], CONFIG, 1, "isatap: "),
        (&["check", "--config", "FILE", "x.pcap"], CONFIG, 1, "isatap: "),
        (&["lab", "FILE"], scenario, 1, "isatap: "),
        (&["policy", "show", "--file-only", "--gai-conf", "FILE"], gai_conf, 1, "isatap: cannot read "),
        (&["select", "-s", "::1", "--policy", "FILE", "::1"], gai_conf, 1, "isatap: reading "),
    ] {
        for (bytes, what) in [
            (utf16(&format!("\u{feff}{text}")), "1: the file is UTF-16: save it as UTF-8"),
            (
                [b"\n# B\xfcro\n", text.as_bytes()].concat(),
                "2: the byte 0xfc is ü in Latin-1, and not UTF-8: save the ",
            ),
        ] {
            let (code, said) = told(&bytes, arguments);
            let place = if before.ends_with("reading ") { "FILE: line " } else { "FILE:" };
            let expected = format!("{before}{place}{what}");
            assert!(code == Some(status) && said.starts_with(&expected), "{arguments:?}: {code:?} {said}");
            assert_eq!(said.lines().count(), 1, "{said}");
        }
    }
    let (status, line) = told(&utf16(CONFIG), &["config", "check", "-j", "FILE"]);
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(
        (status, &line["line"], &line["text"]),
        (Some(3), &1.into(), &"the file is UTF-16: save it as UTF-8".into())
    );
}

/// Editors on Windows put a mark in front of UTF-8 as well, which is no part of the first line.
#[test]
fn a_byte_order_mark_of_utf8_is_passed_over() {
    let marked = |text: &str| format!("\u{feff}{text}").into_bytes();
    let (status, said) = told(&marked(CONFIG), &["config", "check", "--elsewhere", "FILE"]);
    assert_eq!(status, Some(0), "{said}");
    let (_, said) = told(&marked("usr = \"nobody\"\n"), &["config", "check", "--elsewhere", "FILE"]);
    assert!(said.starts_with("FILE:1:1: "), "{said}");
    let arguments = ["select", "-s", "2001:db8::1", "-s", "10.0.0.1", "--policy", "FILE", "2001:db8::2", "10.0.0.2"];
    let (status, said) = told(&marked("precedence ::ffff:0:0/96 100\n"), &arguments);
    assert!(status == Some(0) && said.starts_with("1. 10.0.0.2"), "{said}");
}

#[test]
fn targets_on_standard_input_in_utf16_are_named_as_such() {
    let explained = |bytes: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_isatap"));
        child.args(["explain", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = child.spawn().unwrap();
        child.stdin.take().unwrap().write_all(bytes).unwrap();
        let output = child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
    };
    let (status, said) = explained(&utf16("\u{feff}2001:db8::1\n"));
    let told = "isatap: reading targets from standard input: the file is UTF-16: save it as UTF-8\n";
    assert_eq!((status, said.as_str()), (Some(1), told));
    let (status, said) = explained("\u{feff}2001:db8::1\n".as_bytes());
    assert!(status == Some(0) && said.starts_with("2001:db8::1\n"), "{said}");
}
