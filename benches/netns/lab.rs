//! Two namespaces and the wire between them, gone with the value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::{PATIENCE, Result};

/// All namespaces and folders carry this, then the process id of the bench.
const PREFIX: &str = "isatap-bench-";

/// The IPv4 address of each end: they look public, as 6to4 and Teredo demand.
pub const A: &str = "131.107.0.1";
/// See [`A`].
pub const B: &str = "131.107.0.2";

/// Two machines with one wire between them, on which packets of 1,500 bytes cross one by one:
/// nothing passes it that a real wire would not carry.
pub struct Pair {
    /// Who sends.
    pub a: Namespace,
    /// Who is sent to.
    pub b: Namespace,
}

impl Pair {
    /// Makes both, with their IPv4 addresses.
    pub fn new() -> Result<Pair> {
        let (a, b) = (Namespace::new("a")?, Namespace::new("b")?);
        run("ip", &["-n", &a.name, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", &b.name])?;
        for (namespace, address) in [(&a, A), (&b, B)] {
            // "cut": what crosses was segmented before; what arrives may be joined, as by a card.
            namespace.run("ethtool -K veth0 tso off gso off gro on")?;
            namespace.run("ip link set veth0 up")?;
            namespace.run(&format!("ip address add {address}/24 dev veth0"))?;
        }
        Ok(Pair { a, b })
    }
}

/// A network namespace; what runs in it ends with it.
pub struct Namespace {
    name: String,
    directory: PathBuf,
}

impl Namespace {
    fn new(end: &str) -> Result<Namespace> {
        let name = format!("{PREFIX}{}-{end}", std::process::id());
        let namespace = Namespace { directory: Path::new("/tmp").join(&name), name };
        fs::create_dir_all(&namespace.directory)?;
        run("ip", &["netns", "add", &namespace.name])?;
        namespace.run("ip link set lo up")?;
        // Nobody else is there to have the same address.
        namespace.run("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0")?;
        namespace.run("sysctl -qw net.ipv6.conf.all.forwarding=1")?;
        Ok(namespace)
    }

    /// A program with its arguments, to be run inside.
    pub fn command(&self, program: impl AsRef<Path>, arguments: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref()).args(arguments.split_whitespace());
        command.env("ISATAP_RUNTIME_DIR", self.directory.join("run"));
        command.env("ISATAP_STATE_DIR", self.directory.join("state"));
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command line and waits; what it printed.
    pub fn run(&self, line: &str) -> Result<String> {
        let (program, arguments) = line.split_once(' ').unwrap_or((line, ""));
        output(self.command(program, arguments), line)
    }

    /// Starts what runs until it is dropped.
    pub fn start(&self, program: impl AsRef<Path>, arguments: &str) -> Result<Running> {
        let line = format!("{} {arguments}", program.as_ref().display());
        let log = self.directory.join(format!("{}.log", fs::read_dir(&self.directory)?.count()));
        let mut command = self.command(program, arguments);
        command.stdout(File::create(&log)?).stderr(File::options().append(true).open(&log)?);
        let child = command.spawn().map_err(|error| format!("{line}: {error}"))?;
        Ok(Running { line, child, log })
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// A process inside a namespace; killed when dropped.
pub struct Running {
    line: String,
    child: Child,
    log: PathBuf,
}

impl Running {
    /// Waits until `is_ready` says so; fails when the process ends first.
    pub fn wait_until(&mut self, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let limit = Instant::now() + PATIENCE;
        while !is_ready() {
            let ended = self.child.try_wait()?;
            if ended.is_some() || Instant::now() > limit {
                return Err(format!("{} is not ready ({ended:?}):\n{}", self.line, self.output()).into());
            }
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Waits until a daemon of ours says that it is up.
    pub fn wait_up(&mut self) -> Result<()> {
        let log = self.log.clone();
        self.wait_until(|| fs::read_to_string(&log).is_ok_and(|text| text.contains(" up: ")))
    }

    /// Waits for its end; what it printed.
    pub fn finish(mut self) -> Result<String> {
        let status = self.child.wait()?;
        let text = self.output();
        if status.success() { Ok(text) } else { Err(format!("{}: {status}\n{text}", self.line).into()) }
    }

    /// What it has printed so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What a measurement needs of the machine.
pub fn check() -> Result<()> {
    let is_root = fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
    if !is_root {
        return Err("making network namespaces needs root".into());
    }
    for (program, package) in [
        ("ip", "iproute2"),
        ("ethtool", "ethtool"),
        ("iperf3", "iperf3"),
        ("ping", "iputils-ping"),
        ("sysctl", "procps"),
    ] {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        if !std::env::split_paths(&paths).any(|path| path.join(program).exists()) {
            return Err(format!("{program} is missing: apt-get install {package}").into());
        }
    }
    Ok(())
}

/// Whether the kernel makes vxlan devices.
pub fn has_vxlan() -> bool {
    let name = format!("vx{}", std::process::id());
    let made = run("ip", &["link", "add", &name, "type", "vxlan", "id", "1", "dstport", "4789"]);
    made.is_ok_and(|_| run("ip", &["link", "del", &name]).is_ok())
}

/// What benches that were killed have left.
pub fn remove_leftovers() {
    let names = |directory: &str| {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
        names.filter(|name| {
            let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
            pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists())
        })
    };
    names("/run/netns").chain(names("/tmp")).for_each(|name| remove(&name));
}

/// Ends what runs in a namespace of ours, and removes it with its folder.
fn remove(name: &str) {
    let pids = run("ip", &["netns", "pids", name]).unwrap_or_default();
    for pid in pids.split_whitespace() {
        let _ = run("kill", &["-KILL", pid]);
    }
    let _ = run("ip", &["netns", "delete", name]);
    let _ = fs::remove_dir_all(Path::new("/tmp").join(name));
}

fn run(program: &str, arguments: &[&str]) -> Result<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    output(command, &format!("{program} {}", arguments.join(" ")))
}

fn output(mut command: Command, line: &str) -> Result<String> {
    let output = command.output().map_err(|error| format!("{line}: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() {
        return Ok(text);
    }
    Err(format!("{line}: {}\n{text}{}", output.status, String::from_utf8_lossy(&output.stderr)).into())
}
