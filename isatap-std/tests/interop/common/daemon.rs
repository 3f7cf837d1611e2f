//! Processes whose start, output and end a test watches: above all our own.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::sync::LazyLock;
use std::thread;
use std::time::Duration;

use super::{Namespace, Node, Output, PATIENCE, wait_for};

/// A process in a namespace; killed when dropped.
pub struct Daemon {
    what: String,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    pub fn start(namespace: &Namespace, name: &str, program: &str, arguments: &[&str]) -> Self {
        let log = namespace.shared().join(format!("{name}.log"));
        let output = File::create(&log).unwrap();
        let child = namespace
            .command(program)
            .args(arguments)
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn()
            .unwrap();
        Self { what: format!("{program} {}", arguments.join(" ")), child, log }
    }

    /// Our command-line tool, as this test run has built it: `isatap host …`, `isatap
    /// router …`. Waits until it says that its device is up.
    #[track_caller]
    pub fn isatap(namespace: &Namespace, arguments: &str) -> Self {
        let role = arguments.split(' ').next().unwrap();
        // What it says is printed only when the test fails.
        let kernel_path = kernel_path(role, arguments);
        let added = kernel_path.iter().flat_map(|mode| ["--kernel-path", mode]);
        let arguments: Vec<_> = arguments.split(' ').chain(["--verbose"]).chain(added).collect();
        let mut daemon = Self::start(namespace, role, isatap_binary(), &arguments);
        daemon.wait_for_line(" up: ", PATIENCE);
        daemon
    }

    /// What it has printed so far, on both streams.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for a line that contains `text`; fails at once when the process ends first.
    #[track_caller]
    pub fn wait_for_line(&mut self, text: &str, limit: Duration) -> String {
        let what = format!("'{text}' from {}", self.what);
        wait_for(&what, limit, || {
            let ended = self.child.try_wait().unwrap();
            let line = self.output().lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(line.is_some() || ended.is_none(), "{} ended: {ended:?}\n{}", self.what, self.output());
            line
        })
    }

    /// Asks it to end (SIGTERM) and waits.
    #[track_caller]
    pub fn terminate(mut self, limit: Duration) -> ExitStatus {
        self.signal("TERM");
        wait_for(&format!("end of {}", self.what), limit, || self.child.try_wait().unwrap())
    }

    /// Ends it without giving it a chance to clean up (SIGKILL).
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends a signal by its name: `HUP`, `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }

    /// The process: `ip netns exec` becomes the program.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("--- {}\n{}---", self.what, self.output());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a daemon carries packets that a test says nothing of: as `ISATAP_KERNEL_PATH` says, `off` or `auto`, so that
/// all tests can be run with the kernel's path and without. `None`: by its default.
fn kernel_path(role: &str, arguments: &str) -> Option<String> {
    let has_it = ["host", "router", "tunnel", "6to4", "6rd", "compatible", "teredo", "run"].contains(&role);
    let wanted = || std::env::var("ISATAP_KERNEL_PATH").ok();
    if has_it && !arguments.contains("--kernel-path") { wanted() } else { None }
}

/// Runs our command-line tool in a namespace and waits for it: `status`, `doctor`.
#[track_caller]
pub fn isatap(namespace: &Namespace, arguments: &str) -> Output {
    namespace.run(&format!("{} {arguments}", isatap_binary()))
}

/// Whether a filter of jq's holds for what our running daemon says of itself.
#[track_caller]
pub fn status(namespace: &Namespace, filter: &str) -> bool {
    // A daemon that does not answer prints nothing, and of nothing jq says that all is well.
    namespace.succeeds(&format!("told=$({} status -j) && printf '%s\\n' \"$told\" | jq -e '{filter}'", isatap_binary()))
}

/// What a daemon tells systemd by this socket next, but for its state, which comes between.
pub fn told_line(socket: &UnixDatagram) -> String {
    loop {
        let mut bytes = [0; 256];
        let line = match socket.recv(&mut bytes) {
            Ok(length) => String::from_utf8_lossy(&bytes[..length]).into_owned(),
            // A signal of another test's: with a time limit the kernel does not go on by itself.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => panic!("{error}"),
        };
        if !line.starts_with("STATUS=") {
            return line;
        }
    }
}

/// Our command-line tool: the one that `ISATAP_BINARY` names, or what this test run has built.
#[track_caller]
pub fn isatap_binary() -> &'static str {
    static NAMED: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("ISATAP_BINARY").ok());
    match NAMED.as_deref().or(option_env!("CARGO_BIN_EXE_isatap")) {
        Some(path) => path,
        None => panic!("the tool is built with `--features cli` only"),
    }
}
