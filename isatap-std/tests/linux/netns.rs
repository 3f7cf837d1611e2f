//! Network namespaces for tests: without names, so nothing is left behind when a
//! test fails, and tests run beside each other.
#![allow(dead_code, reason = "each test binary uses a part")]

use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::{Duration, Instant};

/// A network namespace with loopback up; gone with the last reference to it.
pub(crate) struct Netns(File);

impl Netns {
    pub(crate) fn new() -> Self {
        let file = std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).expect("unshare: are we root?");
            File::open("/proc/thread-self/ns/net").unwrap()
        })
        .join()
        .unwrap();
        let netns = Self(file);
        netns.ip("link set lo up");
        netns
    }

    /// Runs `body` inside, in a thread of its own; its sockets stay inside.
    pub(crate) fn run<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.0, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            match thread.join() {
                Ok(value) => value,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// `ip ARGS`, which must succeed; gives its output.
    pub(crate) fn ip(&self, args: &str) -> String {
        self.command(&format!("ip {args}"))
    }

    /// A command of words, which must succeed; gives its output.
    pub(crate) fn command(&self, line: &str) -> String {
        self.run(|| {
            let mut words = line.split_whitespace();
            let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
            assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        })
    }

    pub(crate) fn sysctl(&self, name: &str, value: &str) {
        let path = format!("/proc/sys/{}", name.replace('.', "/"));
        self.run(|| std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}")));
    }

    /// A path that `ip link set DEV netns PATH` understands.
    pub(crate) fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// A veth pair: `here` in this namespace and `there` in `other`, both up, with
    /// IPv4 addresses `a` and `b` (address/length).
    pub(crate) fn connect(&self, here: &str, a: &str, other: &Netns, there: &str, b: &str) {
        self.ip(&format!("link add {here} type veth peer name {there}"));
        self.ip(&format!("link set {there} netns {}", other.path()));
        self.ip(&format!("address add {a} dev {here}"));
        other.ip(&format!("address add {b} dev {there}"));
        self.ip(&format!("link set {here} up"));
        other.ip(&format!("link set {there} up"));
    }
}

/// Tries until there is something, at most 5 seconds.
pub(crate) fn wait_for<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let begin = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "no {what} in 20 s");
        std::thread::sleep(Duration::from_millis(2));
    }
}
