//! What the interop tests stand on: namespaces, wires, user-mode Linux guests,
//! captures. Linux and root only; see [`Lab`] for how it is cleaned up.
//!
//! The kernel of the machine that runs the tests need not have `sit`: the peers
//! that do run in guests (Debian package `user-mode-linux`), whose network cards
//! are taps on the same bridges as the namespaces of our own daemons.
// Each test program uses a part of it.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

mod capture;
mod daemon;
mod flood;
pub mod forge;
pub mod generator;
mod guest;
pub mod names;
pub mod peers;
pub mod teredo;
pub mod tunnel;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

pub use capture::{Capture, Packets};
pub use daemon::{Daemon, isatap, isatap_binary, status, told_line};
pub use flood::{Flood, destination, raw_socket};
pub use guest::Guest;

/// Everything that a run leaves on the machine carries this, then the process id
/// of the test program: namespaces, folders in /tmp and in /etc/netns.
const PREFIX: &str = "isatap-it-";

/// Where our daemons keep their sockets: in the folder of their namespace, not in /run.
const RUNTIME_DIR: &str = "ISATAP_RUNTIME_DIR";
/// And what outlives them: not in /var/lib.
const STATE_DIR: &str = "ISATAP_STATE_DIR";

/// How long something may take that takes a second on an idle machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What a command did.
#[derive(Debug)]
pub struct Output {
    pub command: String,
    /// Exit status; 124 when the time limit passed.
    pub status: i32,
    /// Standard output and standard error.
    pub text: String,
}

impl Output {
    pub fn success(&self) -> bool {
        self.status == 0
    }
}

/// A machine that runs shell commands: a namespace or a guest.
pub trait Node {
    fn name(&self) -> &str;

    /// A folder that commands can write to, as they see it.
    fn directory(&self) -> PathBuf;

    /// The same folder as the test sees it.
    fn shared(&self) -> &Path;

    /// Runs a shell command and waits for its end.
    fn run_for(&self, limit: Duration, command: &str) -> Output;

    /// Runs a command that ends by itself: one that is stopped for its time says nothing, not even that it was refused.
    #[track_caller]
    fn run(&self, command: &str) -> Output {
        let output = self.run_for(PATIENCE, command);
        assert_ne!(output.status, 124, "{}: {output:#?}", self.name());
        output
    }

    /// Runs a command that has to succeed; what it printed.
    #[track_caller]
    fn ok(&self, command: &str) -> String {
        let output = self.run(command);
        assert!(output.success(), "{}: {output:#?}", self.name());
        output.text
    }

    /// Whether a command succeeds within a few seconds.
    fn succeeds(&self, command: &str) -> bool {
        self.run_for(Duration::from_secs(5), command).success()
    }

    /// Starts a server that lives as long as the node; its log is `NAME.log` in the shared folder.
    fn start(&self, name: &str, command: &str) {
        let log = self.directory().join(format!("{name}.log"));
        self.ok(&format!("setsid {command} >{0} 2>&1 </dev/null & echo $! >{0}.pid", log.display()));
    }

    /// Ends what [`Node::start`] started. It has ended as well when it is a zombie: a first process like those of
    /// containers takes seconds to ask for it.
    fn stop(&self, name: &str) {
        let pid = self.directory().join(format!("{name}.log.pid"));
        self.ok(&format!(
            "read -r pid <{}; kill $pid; exec 2>/dev/null; \
             for i in {{1..100}}; do read -r stat </proc/$pid/stat && [[ ${{stat##*) }} != Z* ]] || exit 0; sleep 0.05; done; \
             kill -KILL $pid",
            pid.display()
        ));
    }

    /// Sends a signal (`HUP`) to what [`Node::start`] started.
    #[track_caller]
    fn signal(&self, name: &str, signal: &str) {
        let pid = self.directory().join(format!("{name}.log.pid"));
        self.ok(&format!("kill -{signal} $(cat {})", pid.display()));
    }

    /// What a started server has printed so far.
    fn log(&self, name: &str) -> String {
        fs::read_to_string(self.shared().join(format!("{name}.log"))).unwrap_or_default()
    }

    /// Writes a file for commands to read; its path as they see it.
    fn file(&self, name: &str, text: &str) -> String {
        fs::write(self.shared().join(name), text).unwrap();
        self.directory().join(name).display().to_string()
    }

    /// Writes a script that can be run. Not by this process: what another test starts meanwhile has our
    /// descriptors for a moment, and nobody can run what is open for writing.
    fn script(&self, name: &str, text: &str) -> String {
        self.program(name, &self.file(&format!("{name}.text"), text))
    }

    /// The same of a copy of a program.
    fn program(&self, name: &str, of: &str) -> String {
        let path = self.directory().join(name).display().to_string();
        self.ok(&format!("install -m 755 {of} {path}"));
        path
    }
}

/// One test's machines. Wires are bridges in one namespace of the lab's, where the
/// guests' processes run as well.
///
/// Dropping a namespace kills what runs in it, so nothing survives a test that
/// panics. A test program that was killed itself leaves its namespaces behind: the
/// next lab removes those whose process is gone.
pub struct Lab {
    /// Dropped last of all that a test declares, since a test declares its lab first.
    switch: Namespace,
    directory: PathBuf,
    id: String,
    wires: Cell<usize>,
}

impl Lab {
    pub fn new() -> Self {
        remove_leftovers();
        static LABS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);
        let number = LABS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = format!("{PREFIX}{}-{number}", std::process::id());
        let directory = Path::new("/tmp").join(&id);
        fs::create_dir(&directory).unwrap();
        let switch = Namespace::create(&id, &directory, "switch");
        // Bridges and taps carry frames and take no part.
        switch.ok("sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1");
        Self { switch, directory, id, wires: Cell::new(0) }
    }

    /// A network namespace: a machine with the kernel of the one that runs the test.
    pub fn namespace(&self, name: &str) -> Namespace {
        Namespace::create(&self.id, &self.directory, name)
    }

    /// An Ethernet segment.
    pub fn wire(&self) -> Wire<'_> {
        let number = self.wires.replace(self.wires.get() + 1);
        let bridge = format!("wire{number}");
        self.switch.ok(&format!(
            "ip link add {bridge} type bridge forward_delay 0 mcast_snooping 0 && ip link set {bridge} up"
        ));
        Wire { lab: self, bridge, ports: Cell::new(0) }
    }

    /// Boots a guest with a network card on each of the wires: eth0, eth1 and so on, without addresses.
    pub fn guest(&self, name: &str, wires: &[&Wire<'_>]) -> Guest {
        Guest::boot(self, name, wires, guest::Kernel::UserMode)
    }

    /// The same with Debian's own kernel under qemu: it has 6rd, and takes longer to boot.
    pub fn stock_guest(&self, name: &str, wires: &[&Wire<'_>]) -> Guest {
        Guest::boot(self, name, wires, guest::Kernel::Stock)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("logs and captures are kept in {} until the next run", self.directory.display());
        } else {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

/// See [`Lab::namespace`].
pub struct Namespace {
    name: String,
    full_name: String,
    directory: PathBuf,
}

impl Namespace {
    fn create(lab: &str, directory: &Path, name: &str) -> Self {
        let full_name = format!("{lab}-{name}");
        let directory = directory.join(name);
        fs::create_dir(&directory).unwrap();
        host(&format!("ip netns add {full_name} && ip -n {full_name} link set lo up"));
        let namespace = Self { name: name.to_owned(), full_name, directory };
        namespace.ok("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
        namespace
    }

    /// As `ip netns` calls it.
    pub fn full_name(&self) -> &str {
        &self.full_name
    }

    /// The command `program`, to be run in the namespace.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.full_name, program]).stdin(Stdio::null());
        command.env(RUNTIME_DIR, self.directory.join("run")).env(STATE_DIR, self.directory.join("state"));
        command
    }

    /// Runs `body` in a thread that is inside; its sockets stay inside.
    pub fn inside<T: Send>(&self, body: impl FnOnce() -> T + Send) -> T {
        let file = fs::File::open(Path::new("/run/netns").join(&self.full_name)).unwrap();
        thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                body()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// An address is tentative, and the source of nothing, until a worker of the kernel has come by: at
    /// once, even without detection of duplicates, but later than `ip address add` returns. Some stay so:
    /// those of a device without carrier.
    fn wait_for_new_addresses(&self) {
        let shown = "ip -6 -oneline address show up tentative | grep -q inet6";
        let wait = format!("for i in {{1..100}}; do {shown} || break; sleep 0.02; done");
        let _ = Command::new("ip").args(["netns", "exec", &self.full_name, "bash", "-c", &wait]).status();
    }

    /// The processes that run in it.
    pub fn pids(&self) -> Vec<u32> {
        let pids = host(&format!("ip netns pids {}", self.full_name));
        pids.lines().filter_map(|pid| pid.trim().parse().ok()).collect()
    }

    /// Records what the kernel hands on from a device, and to it: after it has joined
    /// packets, before it cuts them.
    pub fn capture(&self, device: &str, filter: &str) -> Capture {
        Capture::start(self, device, filter, self.directory.join(format!("{device}.pcap")))
    }

    /// A file that replaces `/etc/NAME` for commands of this namespace that start later.
    /// Written in place, so that those already running see a change.
    pub fn etc(&self, name: &str, text: &str) {
        let file = Path::new("/etc/netns").join(&self.full_name).join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }
}

impl Node for Namespace {
    fn name(&self) -> &str {
        &self.name
    }

    fn directory(&self) -> PathBuf {
        self.directory.clone()
    }

    fn shared(&self) -> &Path {
        &self.directory
    }

    fn run_for(&self, limit: Duration, command: &str) -> Output {
        let seconds = limit.as_secs_f32().to_string();
        let mut program = Command::new("timeout");
        program.env(RUNTIME_DIR, self.directory.join("run")).env(STATE_DIR, self.directory.join("state"));
        program.args(["-k", "2", &seconds, "ip", "netns", "exec", &self.full_name, "bash", "-c", command]);
        let output = run(program, command);
        if command.contains("address add") && command.contains("::") {
            self.wait_for_new_addresses();
        }
        output
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove_namespace(&self.full_name);
    }
}

/// See [`Lab::wire`].
pub struct Wire<'l> {
    lab: &'l Lab,
    bridge: String,
    ports: Cell<usize>,
}

impl Wire<'_> {
    /// A network card for a namespace, up and with an address (`10.0.0.1/24`). Checksums
    /// are written and packets are cut before they cross, as on a real wire.
    pub fn join(&self, namespace: &Namespace, device: &str, address: &str) {
        let port = self.connect(namespace, device, address);
        let off = "tx off rx off tso off gso off gro off";
        namespace.ok(&format!("ethtool -K {device} {off}"));
        self.lab.switch.ok(&format!("ethtool -K {port} {off}"));
    }

    /// The same, where the kernel joins what comes in, as behind a real network card: packets
    /// longer than any wire would carry are handed on.
    pub fn join_with_offloads(&self, namespace: &Namespace, device: &str, address: &str) {
        let port = self.connect(namespace, device, address);
        // A veth joins only what its other end cannot send in one piece, and only when it is
        // told to wait a little for more, as a card does that holds its interrupts back.
        self.lab.switch.ok(&format!("ethtool -K {port} tso off gso off"));
        namespace.ok(&format!(
            "ethtool -K {device} gro on && cd /sys/class/net/{device} && \
             echo 2 >napi_defer_hard_irqs && echo 200000 >gro_flush_timeout"
        ));
    }

    /// A veth from the namespace to the bridge; the name of the end at the bridge.
    fn connect(&self, namespace: &Namespace, device: &str, address: &str) -> String {
        let port = self.next_port();
        let (there, here) = (&namespace.full_name, &self.lab.switch.full_name);
        host(&format!(
            "ip -n {there} link add {device} type veth peer name {port} netns {here} && \
             ip -n {here} link set {port} master {} up && \
             ip -n {there} link set {device} up && ip -n {there} address add {address} dev {device}",
            self.bridge
        ));
        port
    }

    /// Records the frames that cross and match a filter of tcpdump's.
    pub fn capture(&self, filter: &str) -> Capture {
        let file = self.lab.directory.join(format!("{}-{}.pcap", self.bridge, self.next_port()));
        Capture::start(&self.lab.switch, &self.bridge, filter, file)
    }

    /// A tap for a guest.
    fn tap(&self) -> String {
        let port = self.next_port();
        self.lab
            .switch
            .ok(&format!("ip tuntap add dev {port} mode tap && ip link set {port} master {} up", self.bridge));
        port
    }

    fn next_port(&self) -> String {
        self.ports.set(self.ports.get() + 1);
        self.last_port()
    }

    fn last_port(&self) -> String {
        format!("{}p{}", self.bridge, self.ports.get())
    }
}

/// Time as limits mean it, which are those of an idle machine: while some process waits for a
/// processor, a second counts half. No more: what is told within 2 s must still differ from what is
/// looked for each 5 s, and an answer within 5 s from an advertisement each 16 s.
pub struct Stopwatch {
    started: Instant,
    stalled: Duration,
}

impl Stopwatch {
    pub fn start() -> Self {
        Self { started: Instant::now(), stalled: stalled() }
    }

    pub fn elapsed(&self) -> Duration {
        let elapsed = self.started.elapsed();
        elapsed - (stalled() - self.stalled).min(elapsed) / 2
    }
}

/// For how long some process has waited for a processor since the start of the machine; zero where the
/// kernel does not count it.
fn stalled() -> Duration {
    let text = fs::read_to_string("/proc/pressure/cpu").unwrap_or_default();
    let total = text.lines().next().and_then(|some| some.rsplit_once("total=")?.1.parse().ok());
    Duration::from_micros(total.unwrap_or_default())
}

/// Waits until a closure gives something; `limit` by a [`Stopwatch`]. What takes long is asked for less often: most
/// attempts are some processes, and other tests wait for the same processors.
#[track_caller]
pub fn wait_for<T>(what: &str, limit: Duration, mut attempt: impl FnMut() -> Option<T>) -> T {
    let stopwatch = Stopwatch::start();
    loop {
        if let Some(found) = attempt() {
            return found;
        }
        assert!(stopwatch.elapsed() < limit, "not within {limit:?}: {what}");
        thread::sleep((stopwatch.elapsed() / 10).clamp(Duration::from_millis(20), Duration::from_millis(100)));
    }
}

/// Waits until a condition holds.
#[track_caller]
pub fn wait_until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    wait_for(what, limit, || condition().then_some(()));
}

fn run(mut program: Command, command: &str) -> Output {
    let output = program.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command}: {error}"));
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Output { command: command.to_owned(), status: output.status.code().unwrap_or(128), text }
}

/// Runs a command on the machine itself; it has to succeed.
#[track_caller]
fn host(command: &str) -> String {
    let mut program = Command::new("bash");
    program.args(["-c", command]);
    let output = run(program, command);
    assert!(output.success(), "{output:#?} (interop tests need root)");
    output.text
}

fn remove_namespace(full_name: &str) {
    let _ = Command::new("bash")
        .args([
            "-c",
            "for i in 1 2 3; do pids=$(ip netns pids $0); [ -z \"$pids\" ] && break; kill -KILL $pids; sleep 0.05; done
             ip netns delete $0; rm -rf /etc/netns/$0",
            full_name,
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
}

/// What test programs that were killed have left.
fn remove_leftovers() {
    let names = |directory: &str| {
        fs::read_dir(directory)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|name| {
                let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
                pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
            })
            .collect::<Vec<_>>()
    };
    names("/run/netns").iter().for_each(|name| remove_namespace(name));
    for name in names("/tmp") {
        let _ = fs::remove_dir_all(Path::new("/tmp").join(name));
    }
}
