//! What becomes of the tool where a stream that it writes to is closed or its disk is full.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A stream that takes nothing: a full disk.
fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

/// A stream that takes nothing: a pipe that nobody reads any more.
fn closed() -> Stdio {
    std::io::pipe().unwrap().1.into()
}

/// A file that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("isatap-output-{}-{count}-{name}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// With its words split at spaces; where no daemon can be found.
fn run(arguments: &str, stdout: Stdio, stderr: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_isatap"))
        .args(arguments.split_whitespace())
        .env("ISATAP_RUNTIME_DIR", "/nonexistent")
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .output()
        .unwrap()
}

/// None of those that would run a link starts: nobody has the name.
#[test]
fn what_standard_error_does_not_take_changes_neither_the_answer_nor_the_status() {
    const NOBODY: &str = "--user isatap-nobody-at-all";
    let empty = Scratch::new(
        "empty.pcap",
        &fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/cs0.pcap")).unwrap()[..24],
    );
    let mistakes = Scratch::new("mistakes.toml", b"[[isatap-host]]\nrooter = \"10.0.0.1\"\nmtu = 12\n");
    for (arguments, status) in [
        // Not understood.
        ("", 1),
        ("frobnicate", 1),
        ("explain", 1),
        // Not done.
        ("check", 1),
        ("config check /nonexistent", 1),
        ("explain x y", 1),
        ("explain x 10.0.0.1 y ::1", 1),
        ("lab nowhere", 1),
        ("run /nonexistent", 1),
        (&format!("run {}", mistakes.path()), 1),
        ("solicit isatap0", 2),
        ("status isatap0", 2),
        // Warned of, or remarked.
        (&format!("explain {}", empty.path()), 0),
        ("status", 2),
        (&format!("host {NOBODY}"), 1),
        (&format!("6rd --prefix 2001:db8::/32 --local 10.0.0.1 --lan eth0 {NOBODY}"), 1),
        (&format!("6to4 --role relay --local 192.0.2.1 {NOBODY}"), 1),
        (&format!("6to4 --role router --local 192.0.2.1 --lan eth0 {NOBODY}"), 1),
    ] {
        let heard = run(arguments, Stdio::piped(), Stdio::piped());
        assert_eq!(heard.status.code(), Some(status), "{arguments}: {heard:?}");
        assert!(!heard.stderr.is_empty(), "{arguments}: {heard:?}");
        for stderr in [full(), closed()] {
            let unheard = run(arguments, Stdio::piped(), stderr);
            assert_eq!(unheard.status, heard.status, "{arguments}");
            assert_eq!(unheard.stdout, heard.stdout, "{arguments}");
        }
    }
}

/// Each has an answer.
fn each_answer(mut each: impl FnMut(&str)) {
    let links = Scratch::new("links.toml", b"[[isatap-host]]\nrouter = [\"10.0.0.1\"]\n");
    let mistakes = Scratch::new("mistakes.toml", b"[[isatap-host]]\nrooter = \"10.0.0.1\"\n");
    let capture = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/cs0.pcap");
    for arguments in [
        "--help",
        "--version",
        "help lab",
        "teredo client --help",
        "explain ::1",
        "explain -j ::1",
        "explain --permits public 8.8.8.8",
        "explain --permits public 127.0.0.1",
        "explain --permits public 8.8.8.8 127.0.0.1 8.8.4.4",
        "explain -j --permits public 127.0.0.1 8.8.8.8",
        "explain -j --permits public 8.8.8.8 example.com",
        "explain --permits public --help",
        &format!("plan {} --for iproute2", links.path()),
        &format!("plan -j {} --for iproute2", links.path()),
        "plan --list",
        "config reference",
        "explain ::1 x ::2",
        &format!("explain {capture}"),
        "check --reasons",
        "check -j --reasons",
        &format!("check --link isatap --local 10.0.0.2 --router 10.0.0.1 {capture}"),
        &format!("check -j --link isatap --local 10.0.0.2 --router 10.0.0.1 {capture}"),
        &format!("config check {}", links.path()),
        &format!("config check {}", mistakes.path()),
        &format!("config check -j {}", mistakes.path()),
        "doctor isatap-none",
        "doctor -j isatap-none",
        "lab",
        "lab -j",
        "lab --list",
        "lab teredo",
        "lab -j teredo",
    ] {
        each(arguments);
    }
}

#[test]
fn an_answer_on_a_full_disk_is_an_error_with_status_2() {
    each_answer(|arguments| {
        let output = run(arguments, full(), Stdio::piped());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        let told = "isatap: cannot write the answer to standard output: No space left on device (os error 28)\n";
        assert_eq!(error, told, "{arguments}");
        assert_eq!(run(arguments, full(), full()).status.code(), Some(2), "{arguments}");
    });
}

/// So a script that looks at the status may look at a part of the text: `isatap check FILE | grep -q`.
#[test]
fn an_answer_that_nobody_reads_any_more_ends_quietly_with_its_status() {
    let mut seen = [0; 4];
    each_answer(|arguments| {
        let read = run(arguments, Stdio::piped(), Stdio::piped()).status.code().unwrap();
        seen[usize::try_from(read).unwrap()] += 1;
        let output = run(arguments, closed(), Stdio::piped());
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(read), "{arguments}: {error}");
        assert_eq!(error.is_empty(), read != 1, "{arguments}: {error}");
        assert_eq!(run(arguments, closed(), closed()).status.code(), Some(read), "{arguments}");
    });
    assert!(seen[0] > 0 && seen[1] > 0 && seen[3] > 5, "{seen:?}");
}

/// Nor does one of no end go on for nobody, or end as if all of it had been judged.
#[test]
fn a_stream_of_verdicts_that_nobody_reads_any_more_ends_with_status_2() {
    let capture = fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cases/cs0.pcap")).unwrap();
    let (header, packet) = capture.split_at(24);
    for (arguments, begin, again) in [
        ("explain --permits public -", &b""[..], &b"8.8.8.8\n"[..]),
        ("explain --permits public 8.8.8.8 -", b"", b"127.0.0.1\n"),
        ("check --link isatap --local 10.0.0.2 --router 10.0.0.1 -", header, packet),
    ] {
        let (input, mut feed) = std::io::pipe().unwrap();
        feed.write_all(begin).unwrap();
        let feeder = std::thread::spawn({
            let again = again.to_vec();
            move || while feed.write_all(&again).is_ok() {}
        });
        let output = Command::new(env!("CARGO_BIN_EXE_isatap"))
            .args(arguments.split_whitespace())
            .stdin(input)
            .stdout(closed())
            .output()
            .unwrap();
        feeder.join().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments}: {error}");
        assert_eq!(error, "isatap: cannot write the answer to standard output: nobody reads it any more\n");
    }
}
