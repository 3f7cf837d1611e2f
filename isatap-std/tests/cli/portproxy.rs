//! The port proxy on the loopback device, which needs no privilege; and what a file says of it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use serde_json::Value;
use socket2::{Domain, Socket, Type};

/// A running rule with a folder of its own; ended when dropped.
struct Rule {
    child: Child,
    out: BufReader<ChildStdout>,
    folder: PathBuf,
    port: u16,
}

impl Rule {
    fn new(name: &str, target: u16, more: &[&str]) -> Self {
        Self::at(name, "127.0.0.1", target, more)
    }

    fn at(name: &str, address: &str, target: u16, more: &[&str]) -> Self {
        let folder = std::env::temp_dir().join(format!("isatap-portproxy-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        // The port was free a moment ago, and somebody else may have it since.
        let started = (0..10).find_map(|_| Self::start(&folder, address, target, more));
        started.expect("a port that nobody takes")
    }

    /// `None`: the port was taken.
    fn start(folder: &Path, address: &str, target: u16, more: &[&str]) -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
        command.args([
            "portproxy",
            "--listen",
            &format!("{address}:{port}"),
            "--connect",
            &format!("127.0.0.1:{target}"),
        ]);
        command.args(more).env("ISATAP_RUNTIME_DIR", folder).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let mut rule = Self { child, out, folder: folder.to_owned(), port };
        let line = rule.line();
        if line.is_empty() {
            return None;
        }
        let from = if address.contains('[') { "v6" } else { "v4" };
        assert_eq!(line, format!("{address}:{port} up: {from}tov4 to 127.0.0.1:{target}\n"));
        Some(rule)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        line
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn show(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
        let output = command.args(arguments).env("ISATAP_RUNTIME_DIR", &self.folder).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// What it says of itself, once it says this.
    fn status(&self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        for _ in 0..400 {
            let rule: Value = serde_json::from_str(&self.show(&["portproxy", "show", "-j"])).unwrap();
            if is_wanted(&rule) {
                return rule;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("{}", self.show(&["portproxy", "show"]));
    }
}

impl Drop for Rule {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

#[test]
fn ppx_4_ppx_7_bytes_and_ends_go_both_ways_and_are_counted_as_documented() {
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut rule = Rule::new("counts", target.local_addr().unwrap().port(), &[]);
    let mut client = rule.connect();
    client.write_all(b"question").unwrap();
    client.shutdown(std::net::Shutdown::Write).unwrap();
    let (mut server, _) = target.accept().unwrap();
    let mut text = String::new();
    server.read_to_string(&mut text).unwrap();
    assert_eq!(text, "question");
    server.write_all(&[b'a'; 1_000_000]).unwrap();
    drop(server);
    let mut answer = Vec::new();
    client.read_to_end(&mut answer).unwrap();
    assert!(answer == [b'a'; 1_000_000]);
    let status = rule.status(|rule| rule["connections"] == 0);
    let counts = ["total", "bytes_to_target", "bytes_to_client"].map(|key| status[key].as_u64().unwrap());
    assert_eq!(counts, [1, 8, 1_000_000]);
    let page = include_str!("../../docs/json.md");
    let section = page.split("\n### ").find(|section| section.starts_with("isatap portproxy show -j\n")).unwrap();
    let rows = section.lines().filter(|line| !line.contains("| Optional. "));
    let rows = rows.filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let documented: BTreeSet<&str> = rows.filter(|key| !key.contains('.')).collect();
    assert_eq!(status.as_object().unwrap().keys().map(String::as_str).collect::<BTreeSet<_>>(), documented);
    // Every reason that can be is documented.
    let reasons = include_str!("../../src/portproxy/counters.rs").split("fn as_str").nth(1).unwrap();
    let reasons: Vec<&str> = reasons.split("}\n    }").next().unwrap().split('"').skip(1).step_by(2).collect();
    assert!(
        reasons.len() == 10 && reasons.iter().all(|reason| section.contains(&format!("`{reason}`"))),
        "{reasons:?}"
    );
    let text = rule.show(&["status"]);
    assert_eq!(text, rule.show(&["portproxy", "show"]));
    assert_eq!(rule.show(&["portproxy", "show", "v6tov4"]), "");
    assert!(Command::new("kill").arg(rule.child.id().to_string()).status().unwrap().success());
    assert!(rule.child.wait().unwrap().success());
    assert_eq!(rule.line(), "");
}

/// Its address may come with a tunnel, and nobody connects until then.
#[test]
fn ppx_5_a_rule_says_what_it_waits_for() {
    let here = Rule::new("here", 1, &[]);
    assert_eq!(here.status(|_| true).get("waiting"), None);
    for (name, address) in [("late4", "192.0.2.33"), ("late6", "[2001:db8:1::33]")] {
        let late = Rule::at(name, address, 1, &[]);
        assert_eq!(late.status(|_| true)["waiting"], format!("the address {address}"));
        let told = format!("    waits for the address {address}, which this machine lacks; see: ip address\n");
        assert!(late.show(&["portproxy", "show"]).contains(&told) && late.show(&["status"]).contains(&told));
    }
}

/// It has no link, and is watched by its process.
#[test]
fn a_process_with_rules_alone_is_monitored() {
    let mut rule = Rule::new("monitored", 1, &[]);
    let mut monitor = Command::new(env!("CARGO_BIN_EXE_isatap"));
    monitor.args(["monitor", "-j"]).env("ISATAP_RUNTIME_DIR", &rule.folder).stdout(Stdio::piped());
    let mut monitor = monitor.spawn().unwrap();
    let mut lines = BufReader::new(monitor.stdout.take().unwrap()).lines();
    let mut next = || serde_json::from_str::<Value>(&lines.next().unwrap().unwrap()).unwrap();
    let first = next();
    assert_eq!((&first["event"], &first["process"]), (&"rules".into(), &rule.child.id().into()));
    assert_eq!(first["rules"][0]["listen"], format!("127.0.0.1:{}", rule.port));
    assert!(Command::new("kill").arg(rule.child.id().to_string()).status().unwrap().success());
    let last = next();
    assert_eq!((&last["event"], last.get("dev")), (&"ended".into(), None));
    assert!(rule.child.wait().unwrap().success());
    monitor.kill().unwrap();
    monitor.wait().unwrap();
}

/// Nobody has port 1. One that was free a moment ago may be open still in a child that another test
/// begins just now.
#[test]
fn ppx_6_a_target_that_refuses_resets_the_client() {
    let rule = Rule::new("refused", 1, &[]);
    // It may be reset before we look at it.
    let client = TcpStream::connect(("127.0.0.1", rule.port));
    let end = client.and_then(|mut client| client.read(&mut [0; 1])).map_err(|error| error.kind());
    assert_eq!(end, Err(ErrorKind::ConnectionReset));
    rule.status(|rule| rule["connections"] == 0 && rule["refused"]["target-refused"] == 1);
    assert!(rule.show(&["status"]).contains("    refused: target-refused 1\n"));
}

/// The server has ended long before the client has read all. What the proxy has written waits in the
/// kernel, and goes on while the client reads.
/// Such as SSH and SMTP: what it says may be there together with the connection itself, of which the
/// kernel tells once.
#[test]
fn ppx_7_a_target_that_speaks_first_is_heard() {
    const ROUNDS: usize = 500;
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rule = Rule::new("first", target.local_addr().unwrap().port(), &[]);
    let server = std::thread::spawn(move || {
        for number in 0..ROUNDS {
            let (mut stream, _) = target.accept().unwrap();
            stream.write_all(b"220 ready").unwrap();
            // Every second one says no more, and every other one goes on.
            if number % 2 == 1 {
                let _ = stream.read(&mut [0]);
            }
        }
    });
    for number in 0..ROUNDS {
        let mut client = rule.connect();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut greeting = [0; 9];
        client.read_exact(&mut greeting).unwrap_or_else(|error| panic!("round {number}: {error}"));
        assert_eq!(&greeting, b"220 ready");
        if number % 2 == 0 {
            assert_eq!(client.read(&mut greeting).unwrap(), 0, "round {number}");
        }
    }
    server.join().unwrap();
}

#[test]
fn ppx_7_a_slow_download_is_not_idle() {
    const SIZE: usize = 3_000_000;
    let target = TcpListener::bind("127.0.0.1:0").unwrap();
    let rule = Rule::new("slow", target.local_addr().unwrap().port(), &["--idle-timeout", "1"]);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_recv_buffer_size(1 << 16).unwrap();
    let place: SocketAddr = ([127, 0, 0, 1], rule.port).into();
    socket.connect(&place.into()).unwrap();
    let mut client = TcpStream::from(socket);
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut server, _) = target.accept().unwrap();
    let sender = std::thread::spawn(move || {
        server.write_all(&[b'a'; SIZE]).unwrap();
        server.shutdown(std::net::Shutdown::Write).unwrap();
        server
    });
    let mut read = 0;
    let mut piece = [0; 1 << 15];
    while let count @ 1.. = client.read(&mut piece).unwrap() {
        read += count;
        std::thread::sleep(Duration::from_millis(40));
    }
    assert_eq!(read, SIZE);
    // Now it is.
    let mut server = sender.join().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(server.read(&mut piece).map_err(|error| error.kind()), Err(ErrorKind::ConnectionReset));
    rule.status(|rule| rule["idle"] == 1 && rule["bytes_to_client"] == SIZE);
}

#[test]
fn ppx_12_a_port_that_is_taken_is_told_with_who_can_say_by_whom() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = taken.local_addr().unwrap().to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
    command.args(["portproxy", "--listen", &place, "--connect", "127.0.0.1:1"]);
    let folder = std::env::temp_dir().join(format!("isatap-portproxy-taken-{}", std::process::id()));
    let output = command.env("ISATAP_RUNTIME_DIR", &folder).output().unwrap();
    let _ = std::fs::remove_dir_all(folder);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains(&format!("cannot listen at {place}: ")) && error.contains("ss -ltnp"), "{error}");
}

#[test]
fn without_a_rule_show_says_so() {
    let folder = std::env::temp_dir().join(format!("isatap-portproxy-none-{}", std::process::id()));
    let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
    let output = command.args(["portproxy", "show"]).env("ISATAP_RUNTIME_DIR", &folder).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        (output.status.code(), error.contains("no rule of the port proxy runs here")),
        (Some(2), true),
        "{error}"
    );
}
