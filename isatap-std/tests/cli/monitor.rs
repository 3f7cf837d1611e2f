//! `isatap monitor`, with a test in place of each daemon.

use std::io::{BufRead, BufReader, Lines, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::Value;

/// A folder that is not there yet.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("isatap-monitor-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        Self(folder)
    }

    fn listen(&self, device: &str) -> UnixListener {
        self.listen_at(&format!("{device}.sock"))
    }

    fn listen_at(&self, name: &str) -> UnixListener {
        let path = self.0.join("run").join(name);
        let _ = std::fs::remove_file(&path);
        UnixListener::bind(path).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Monitor {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Monitor {
    fn start(scratch: &Scratch, arguments: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_isatap"))
            .args([&["monitor", "-j"], arguments].concat())
            .env("ISATAP_RUNTIME_DIR", scratch.0.join("run"))
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    /// Exit status, and what stands on standard error.
    fn end(mut self, signal: &str) -> (Option<i32>, String) {
        Command::new("kill").args([&format!("-{signal}"), &self.child.id().to_string()]).status().unwrap();
        assert!(self.lines.next().is_none());
        let output = self.child.wait_with_output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

/// A client asks, and is told this.
fn accept(listener: &UnixListener, line: &str) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    let mut asked = String::new();
    BufReader::new(&stream).read_line(&mut asked).unwrap();
    assert_eq!(asked, "{\"ask\":\"monitor\"}\n");
    writeln!(stream, "{line}").unwrap();
    stream
}

#[test]
fn daemons_that_come_go_and_are_killed_are_followed() {
    let scratch = Scratch::new("follow");
    let mut monitor = Monitor::start(&scratch, &[]);
    let mut waiting = String::new();
    let mut stderr = BufReader::new(monitor.child.stderr.take().unwrap());
    stderr.read_line(&mut waiting).unwrap();
    assert!(waiting.starts_with("isatap: no daemon runs here yet, by "), "{waiting}");
    std::fs::create_dir_all(scratch.0.join("run")).unwrap();
    let first = scratch.listen("isatap0");
    let mut stream = accept(&first, r#"{"time":"1.0","dev":"isatap0","event":"status"}"#);
    assert_eq!(monitor.next()["event"], "status");
    let second = scratch.listen("tun6to4");
    let _second = accept(&second, r#"{"time":"2.0","dev":"tun6to4","event":"status"}"#);
    assert_eq!(monitor.next()["dev"], "tun6to4");
    // In two parts; and what it does not know is passed on.
    stream.write_all(b"{\"time\":\"3.0\",\"dev\":\"isatap0\",").unwrap();
    stream.write_all(b"\"event\":\"of-a-later-version\"}\n{\"dev\":\"isatap0\",\"event\":\"ended\"}\n").unwrap();
    assert_eq!(monitor.next()["event"], "of-a-later-version");
    assert_eq!(monitor.next()["event"], "ended");
    drop((stream, first));
    // It is there again, and is killed.
    let first = scratch.listen("isatap0");
    let stream = accept(&first, r#"{"time":"4.0","dev":"isatap0","event":"status"}"#);
    assert_eq!(monitor.next()["time"], "4.0");
    drop((stream, first));
    let ended = monitor.next();
    assert_eq!((&ended["dev"], &ended["event"]), (&"isatap0".into(), &"ended".into()));
    assert!(ended["time"].is_string());
    assert_eq!(monitor.end("INT").0, Some(0));
    assert_eq!(stderr.lines().count(), 0, "it warned");
}

/// A process with two links and a rule tells each of its three listeners what is about the whole of it.
#[test]
fn what_is_about_a_process_is_told_once() {
    let scratch = Scratch::new("process");
    std::fs::create_dir_all(scratch.0.join("run")).unwrap();
    let listeners = [scratch.listen("t0"), scratch.listen("t1"), scratch.listen_at("1.portproxy")];
    let mut monitor = Monitor::start(&scratch, &[]);
    let mut streams = Vec::new();
    for (listener, first) in listeners.iter().zip([
        r#"{"time":"1.0","process":77,"dev":"t0","event":"status"}"#,
        r#"{"time":"1.0","process":77,"dev":"t1","event":"status"}"#,
        r#"{"time":"1.0","process":77,"event":"rules","rules":[]}"#,
    ]) {
        streams.push(accept(listener, first));
        assert_eq!(monitor.next(), serde_json::from_str::<Value>(first).unwrap());
    }
    for (number, text) in [(1, "one"), (2, "two")] {
        for stream in &mut streams {
            let about = format!(r#""process":77,"scope":"process","number":{number}"#);
            writeln!(stream, r#"{{"time":"2.0",{about},"event":"info","text":"{text}"}}"#).unwrap();
        }
        assert_eq!(monitor.next()["text"], text);
    }
    // It is killed.
    drop(streams.pop());
    let ended = monitor.next();
    assert_eq!((&ended["process"], &ended["event"], ended.get("dev")), (&77.into(), &"ended".into(), None));
    assert_eq!(monitor.end("INT").0, Some(0));
}

#[test]
fn one_device_is_watched_and_a_refusal_is_told() {
    let scratch = Scratch::new("one");
    std::fs::create_dir_all(scratch.0.join("run")).unwrap();
    let (first, second) = (scratch.listen("isatap0"), scratch.listen("tun6to4"));
    first.set_nonblocking(true).unwrap();
    let monitor = Monitor::start(&scratch, &["tun6to4"]);
    drop(accept(&second, r#"{"error":"not understood: unknown variant `monitor`"}"#));
    let stderr = "isatap: warning: cannot watch the daemon of tun6to4: not understood: unknown variant `monitor`";
    // It tries again whenever something happens there, and not before.
    second.set_nonblocking(true).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    assert!(first.accept().is_err(), "the other device is watched too");
    assert!(second.accept().is_err(), "it asks again and again");
    let (status, text) = monitor.end("TERM");
    assert_eq!(status, Some(0));
    assert!(text.contains(stderr), "{text}");
    let output = Command::new(env!("CARGO_BIN_EXE_isatap")).args(["monitor", "../x"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}
