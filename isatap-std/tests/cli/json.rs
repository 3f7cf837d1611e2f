//! `docs/json.md` lists the keys of every `-j`: each that is printed is there, and each that is there
//! is printed. (Those of `status` are compared where its types are: `node/status/tests.rs`.)

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use isatap_std::doctor::{Finding, Step};
use serde_json::Value;

const PAGE: &str = include_str!("../../docs/json.md");
const CASES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases");

type Keys = BTreeSet<String>;

/// A section of the page.
fn section(title: &str) -> &'static str {
    let mut sections = PAGE.split("\n### ");
    sections.find(|section| section.starts_with(&format!("{title}\n"))).unwrap_or_else(|| panic!("no {title}"))
}

/// Its table's first column.
fn documented(title: &str) -> Keys {
    let rows = section(title).lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split('`').next().unwrap().to_owned()).collect()
}

/// The keys of an object, as the page writes them.
fn keys(value: &Value, before: &str, into: &mut Keys) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let key = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
                keys(value, &key, into);
                into.insert(key);
            }
        }
        Value::Array(list) => list.iter().for_each(|value| keys(value, &format!("{before}[]"), into)),
        _ => {}
    }
}

/// What the tool prints, whatever its exit status.
fn lines(arguments: &[&str]) -> Vec<Value> {
    let none = std::env::temp_dir().join("isatap-no-such-folder");
    let command = Command::new(env!("CARGO_BIN_EXE_isatap"))
        .args(arguments)
        .env("ISATAP_RUNTIME_DIR", none)
        .current_dir(CASES)
        .output();
    let output = command.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(!text.is_empty(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn printed(objects: &[Value]) -> Keys {
    let mut all = Keys::new();
    objects.iter().for_each(|object| keys(object, "", &mut all));
    all
}

/// A file of its own for a test.
struct Temporary(PathBuf);

impl Temporary {
    fn new(name: &str, text: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("isatap-json-{}-{number}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// The packets of two scenarios and of all captures, explained.
fn packets() -> Vec<Value> {
    let mut all = Vec::new();
    for scenario in ["direct-access", "teredo", "loops"] {
        let capture = Temporary::new(scenario, "");
        let arguments = ["lab", scenario, "-j", "--pcap", capture.path()];
        // These clients have all extensions on.
        let nats: &[&str] =
            if scenario == "teredo" { &["--nat-a", "port-restricted", "--nat-b", "port-restricted"] } else { &[] };
        lines(&[&arguments[..], nats].concat());
        all.extend(lines(&["explain", "-j", capture.path()]));
    }
    for case in std::fs::read_dir(CASES).unwrap() {
        all.extend(lines(&["explain", "-j", case.unwrap().path().to_str().unwrap()]));
    }
    all
}

/// A hop without what is in its layers.
fn without_layers(mut hop: Value) -> Value {
    for layers in ["teredo", "tcp"] {
        if let Some(layers) = hop.get_mut(layers) {
            *layers = Value::Null;
        }
    }
    hop
}

#[test]
fn each_key_of_an_answer_is_documented_and_no_other() {
    let (mistaken, warned) = (
        Temporary::new("mistaken.toml", "[[tunnel]]\nlocal = \"10.0.0.300\"\nremote = \"10.0.0.1\"\n"),
        Temporary::new(
            "warned.toml",
            "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\ncheck-neighbors = \"off\"\n",
        ),
    );
    let check = ["check", "-j", "--link", "isatap", "--local", "192.0.2.2", "--router", "192.0.2.1"];
    let check = |capture| lines(&[&check[..], &[capture]].concat());
    let addresses = [
        "explain",
        "-j",
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "fe80::5efe:a00:1",
        "2002::/16",
        "[2002:836b:1::1]:443",
        "0x7f000001",
    ];
    let planned =
        Temporary::new("planned.toml", "[[isatap-router]]\nlocal = \"10.0.0.1\"\nprefix = \"2001:db8:0:7::/64\"\n");
    let mut findings = lines(&["doctor", "-j", "no-such-dev"]);
    for finding in [
        Finding::unknown(Step::Peer, "no answer"),
        Finding::bad(Step::Peer, "cause", "fix"),
        Finding::good(Step::Peer, "seen").warn(Some("warning".to_owned())),
    ] {
        findings.push(serde_json::to_value(finding).unwrap());
    }
    for (title, objects) in [
        ("isatap doctor -j", findings),
        ("isatap teredo qualify -j", lines(&["teredo", "qualify", "-j", "127.0.0.1"])),
        (
            "isatap config check -j",
            [mistaken, warned].iter().flat_map(|file| lines(&["config", "check", "-j", file.path()])).collect(),
        ),
        ("isatap check -j", [check("tso0.pcap"), check("eth.pcap.gz")].concat()),
        ("isatap check --reasons -j", lines(&["check", "--reasons", "-j"])),
        (
            "isatap explain -j ADDRESS",
            [lines(&addresses), lines(&["explain", "-j", "--permits", "public", "::ffff:10.0.0.1"])].concat(),
        ),
        ("isatap explain --direct-access SERVER -j", lines(&["explain", "-j", "--direct-access", "131.107.0.2"])),
        ("isatap plan -j", lines(&["plan", "-j", planned.path(), "--for", "windows"])),
        ("isatap plan --list -j", lines(&["plan", "--list", "-j"])),
        // Layers of Teredo, and TCP, have their own section.
        (
            "isatap lab -j",
            ["teredo", "portproxy"]
                .map(|name| lines(&["lab", name, "-j"]))
                .concat()
                .into_iter()
                .map(without_layers)
                .collect(),
        ),
        ("isatap lab teredo --matrix -j", lines(&["lab", "teredo", "--matrix", "-j"])),
        ("isatap lab --list -j", lines(&["lab", "--list", "-j"])),
        ("isatap select -j", lines(&["select", "-j", "--source", "2001:db8::1", "2001:db8::2", "10.0.0.1"])),
        ("isatap policy show -j", lines(&["policy", "show", "-j", "--gai-conf", "/dev/null"])),
    ] {
        assert_eq!(printed(&objects), documented(title), "{title}");
    }
    let solicit = Command::new(env!("CARGO_BIN_EXE_isatap")).args(["solicit", "--help"]).output().unwrap();
    let promised = documented("isatap solicit -j").iter().all(|key| {
        let help = String::from_utf8_lossy(&solicit.stdout);
        help.contains(&format!("\"{key}\""))
    });
    assert!(promised, "{solicit:?}");
}

#[test]
fn each_key_of_a_packet_is_documented() {
    let layer = |key: &str| key.starts_with("layers[].") && !documented("isatap explain -j PACKET").contains(key);
    let found: Keys = printed(&packets()).into_iter().filter(|key| !layer(key)).collect();
    let mut known = documented("isatap explain -j PACKET");
    // No capture of ours has a frame without an IP packet.
    known.remove("not_ip");
    assert_eq!(found, known);
}

/// The kinds of a row, and what stands behind them.
fn kinds(table: &str) -> Vec<(Keys, Keys)> {
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Keys>();
    let rows = table.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let mut cells = row.split('|').skip(1);
        (quoted(cells.next().unwrap()), quoted(cells.next().unwrap()))
    })
    .collect()
}

#[test]
fn each_key_of_a_layer_is_documented_with_its_kind() {
    let (layers, options) = section("Layers of isatap explain -j").split_once("\nEach of `options`").unwrap();
    let (layers, options) = (kinds(layers), kinds(options));
    let all = |rows: &[(Keys, Keys)], kind: &str| -> Keys {
        rows.iter().filter(|row| row.0.contains(kind)).flat_map(|row| row.1.clone()).collect()
    };
    for layer in packets().iter().flat_map(|packet| packet["layers"].as_array().unwrap()) {
        let kind = layer["kind"].as_str().unwrap();
        let mut known = all(&layers, kind);
        assert!(!known.is_empty(), "{kind}: {layer}");
        known.extend(["kind", "offset", "quoted"].map(str::to_owned));
        if kind == "cut" {
            known.extend(all(&layers, "ipv6"));
        }
        let found: Keys = layer.as_object().unwrap().keys().cloned().collect();
        assert!(found.is_subset(&known), "{kind}: {layer}");
        for option in layer["options"].as_array().into_iter().flatten() {
            let mut known = all(&options, option["kind"].as_str().unwrap());
            known.insert("kind".to_owned());
            let found: Keys = option.as_object().unwrap().keys().cloned().collect();
            assert!(found.is_subset(&known), "{option}");
        }
    }
    // Kinds that no capture of ours has: what the source writes is documented, and no more.
    let source = include_str!("../../src/explain/packet.rs");
    let written: Keys =
        source.split("serialize_entry(\"").skip(1).map(|text| text.split('"').next().unwrap().to_owned()).collect();
    let mut known: Keys = [layers, options].concat().into_iter().flat_map(|row| row.1).collect();
    let packet = documented("isatap explain -j PACKET");
    known.extend(
        packet.iter().filter(|key| !key.starts_with("frame.")).map(|key| key.rsplit('.').next().unwrap().to_owned()),
    );
    // The row of `cut` names another kind.
    known.remove("ipv6");
    assert_eq!(written, known);
}

#[test]
fn a_line_that_is_no_target_is_answered_as_documented() {
    let command = format!("echo nonsense | '{}' explain -j -", env!("CARGO_BIN_EXE_isatap"));
    let output = Command::new("sh").args(["-c", &command]).output().unwrap();
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let answers = [vec![answer], lines(&["explain", "-j", "--permits", "public", "nonsense"])].concat();
    assert_eq!(printed(&answers), documented("isatap explain -j - (a line that is no target)"));
}
