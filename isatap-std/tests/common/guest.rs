//! User-mode Linux guests: a kernel with `sit`, as a process.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{Lab, Node, Output, PATIENCE, Wire, wait_for};

/// See [`Lab::guest`]. Its processes are killed when it is dropped.
pub struct Guest {
    name: String,
    shared: PathBuf,
    kernel: Child,
    requests: Cell<usize>,
}

impl Guest {
    pub(super) fn boot(lab: &Lab, name: &str, wires: &[&Wire<'_>]) -> Self {
        let shared = lab.directory.join(name);
        fs::create_dir(&shared).unwrap();
        let console = File::create(shared.join("console")).unwrap();
        let init = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/guest-init.sh");

        let mut command = lab.switch.command("linux.uml");
        command
            .args(["mem=160M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"])
            .args(["con=null", "con0=null,fd:1", "ssl=null"])
            .arg(format!("init={init}"))
            .arg(format!("ISATAP_SHARE={}", shared.display()))
            .arg(format!("ISATAP_NAME={name}"))
            .arg(format!("uml_dir={}", shared.display()))
            .arg(format!("umid={name}"))
            .args(wires.iter().enumerate().map(|(index, wire)| format!("eth{index}=tuntap,{}", wire.tap())))
            .stdout(console.try_clone().unwrap())
            .stderr(console)
            .process_group(0);
        let kernel = command.spawn().unwrap();
        let mut guest = Self { name: name.to_owned(), shared, kernel, requests: Cell::new(0) };
        let started = Instant::now();
        while !guest.shared.join("booted").exists() {
            let ended = guest.kernel.try_wait().unwrap();
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "guest {name} did not boot: {ended:?}\n{}",
                fs::read_to_string(guest.shared.join("console")).unwrap_or_default()
            );
            thread::sleep(Duration::from_millis(20));
        }
        guest
    }
}

impl Node for Guest {
    fn name(&self) -> &str {
        &self.name
    }

    fn directory(&self) -> PathBuf {
        PathBuf::from("/run/share")
    }

    fn shared(&self) -> &Path {
        &self.shared
    }

    fn run_for(&self, limit: Duration, command: &str) -> Output {
        let number = self.requests.get() + 1;
        self.requests.set(number);
        let path = |kind: &str| self.shared.join(format!("{kind}.{number}"));
        // Renamed into place: the guest must not read half of it.
        fs::write(path("draft"), format!("{}\n{command}\n", limit.as_secs_f32())).unwrap();
        fs::rename(path("draft"), path("request")).unwrap();
        let status = wait_for(&format!("{}: {command}", self.name), limit + PATIENCE, || {
            fs::read_to_string(path("status")).ok()?.strip_suffix('\n').map(str::to_owned)
        });
        Output {
            command: command.to_owned(),
            status: status.parse().unwrap(),
            text: String::from_utf8_lossy(&fs::read(path("output")).unwrap()).into_owned(),
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // The kernel traces its processes, which are threads of the host's in the same group.
        let group = format!("-{}", self.kernel.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).stderr(Stdio::null()).status();
        let _ = self.kernel.wait();
    }
}
