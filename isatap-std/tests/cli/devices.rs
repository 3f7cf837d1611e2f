//! What `status`, `solicit` and `doctor` say of devices, with a test in place of each daemon.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::Command;

/// The folder of daemons that give the same answer to everything.
struct Daemons(PathBuf);

impl Daemons {
    fn new(name: &str, daemons: &[(&'static str, &'static str)]) -> Self {
        let folder = std::env::temp_dir().join(format!("isatap-devices-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        for &(device, answer) in daemons {
            let listener = UnixListener::bind(folder.join(format!("{device}.sock"))).unwrap();
            // It ends with the test's process.
            std::thread::spawn(move || {
                for mut stream in listener.incoming().flatten() {
                    let _ = BufReader::new(&stream).read_line(&mut String::new());
                    let _ = writeln!(stream, "{answer}");
                }
            });
        }
        Self(folder)
    }

    /// The exit status, and what stands on both outputs.
    fn ask(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_isatap"));
        let output = command.args(arguments).env("ISATAP_RUNTIME_DIR", &self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        (output.status.code(), text)
    }
}

impl Drop for Daemons {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const ASKED: &str = r#"{"asked":["10.0.0.1"]}"#;
const NOBODY: &str = r#"{"error":"it asks nobody"}"#;

#[test]
fn a_mistyped_device_is_told_with_those_that_there_are() {
    let daemons = Daemons::new("mistyped", &[("isatap0", ASKED), ("tun6to4", NOBODY)]);
    let told = "isatap: cannot ask isatp0: no daemon has this device; write isatap0; there are: isatap0, tun6to4\n";
    for command in ["status", "solicit"] {
        assert_eq!(daemons.ask(&[command, "isatp0"]), (Some(2), told.to_owned()));
    }
    let (status, text) = daemons.ask(&["doctor", "isatp0"]);
    assert_eq!(status, Some(3));
    assert!(text.contains("fix:     write isatap0; there are: isatap0, tun6to4\n"), "{text}");
}

#[test]
fn without_a_device_all_are_asked_that_ask_somebody() {
    let daemons = Daemons::new("all", &[("isatap0", ASKED), ("isatap1", ASKED), ("tun6to4", NOBODY)]);
    let all = "isatap0 asks 10.0.0.1\nisatap1 asks 10.0.0.1\n";
    assert_eq!(daemons.ask(&["solicit"]), (Some(0), all.to_owned()));
    let refused = "isatap: cannot ask the daemon of tun6to4: it asks nobody\n";
    assert_eq!(daemons.ask(&["solicit", "tun6to4"]), (Some(2), refused.to_owned()));
    let daemons = Daemons::new("one", &[("tun6to4", NOBODY)]);
    assert_eq!(daemons.ask(&["solicit"]), (Some(2), refused.to_owned()));
    let daemons = Daemons::new("none", &[]);
    let (status, text) = daemons.ask(&["solicit"]);
    assert!(status == Some(2) && text.starts_with("isatap: no daemon runs here: "), "{text}");
}
