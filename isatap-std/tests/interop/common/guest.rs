//! Guests: kernels with `sit`, each as a process.

use std::cell::Cell;
use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use super::{Lab, Node, Output, PATIENCE, PREFIX, Stopwatch, Wire, wait_for};

/// See [`Lab::guest`]. Its processes are killed when it is dropped.
pub struct Guest {
    name: String,
    shared: PathBuf,
    kernel: Child,
    requests: Cell<usize>,
}

/// Which kernel a guest runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kernel {
    /// Debian's user-mode Linux: there in two seconds, knows no 6rd.
    UserMode,
    /// Debian's own, emulated by qemu: there in ten seconds.
    Stock,
}

/// Where the stock kernel is unpacked, for all runs of the tests.
const STOCK_KERNEL: &str = "/var/tmp/isatap-stock-kernel";

impl Guest {
    pub(super) fn boot(lab: &Lab, name: &str, wires: &[&Wire<'_>], kernel: Kernel) -> Self {
        let shared = lab.directory.join(name);
        fs::create_dir(&shared).unwrap();
        let mut command = match kernel {
            Kernel::UserMode => user_mode(lab, name, wires, &shared),
            Kernel::Stock => stock(lab, name, wires, &shared),
        };
        // Emulated, a kernel may hang while it looks for its timers: another one is started then.
        let attempts = if kernel == Kernel::Stock { 3 } else { 1 };
        let mut consoles = String::new();
        for _ in 0..attempts {
            let console = File::create(shared.join("console")).unwrap();
            command.stdout(console.try_clone().unwrap()).stderr(console).process_group(0);
            let kernel = command.spawn().unwrap();
            let mut guest = Self { name: name.to_owned(), shared: shared.clone(), kernel, requests: Cell::new(0) };
            let stopwatch = Stopwatch::start();
            let ended = loop {
                if shared.join("booted").exists() {
                    return guest;
                }
                let ended = guest.kernel.try_wait().unwrap();
                if ended.is_some() || stopwatch.elapsed() > PATIENCE * 3 {
                    break ended;
                }
                thread::sleep(Duration::from_millis(20));
            };
            drop(guest);
            consoles += &format!("{ended:?}\n{}\n", fs::read_to_string(shared.join("console")).unwrap_or_default());
        }
        panic!("guest {name} did not boot: {consoles}");
    }
}

const INIT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/guest-init.sh");

fn user_mode(lab: &Lab, name: &str, wires: &[&Wire<'_>], shared: &Path) -> Command {
    let mut command = lab.switch.command("linux.uml");
    command
        .env("LD_PRELOAD", whole_register_sets())
        .args(["mem=160M", "root=/dev/root", "rootfstype=hostfs", "rootflags=/", "ro", "quiet", "panic=-1"])
        .args(["con=null", "con0=null,fd:1", "ssl=null"])
        .arg(format!("init={INIT}"))
        .arg(format!("ISATAP_SHARE={}", shared.display()))
        .arg(format!("ISATAP_NAME={name}"))
        .arg(format!("uml_dir={}", shared.display()))
        .arg(format!("umid={name}"))
        .args(wires.iter().enumerate().map(|(index, wire)| format!("eth{index}=tuntap,{}", wire.tap())));
    command
}

/// What user-mode Linux needs on processors with AMX: see the file. Whoever links Rust has `cc`.
fn whole_register_sets() -> &'static Path {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| {
        let folder = PathBuf::from(format!("/tmp/{PREFIX}{}-library", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (source, library) =
            (concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/uml-xstate.c"), folder.join("xstate.so"));
        let output =
            Command::new("cc").args(["-shared", "-fPIC", "-O2", "-o"]).arg(&library).arg(source).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        library
    })
}

fn stock(lab: &Lab, name: &str, wires: &[&Wire<'_>], shared: &Path) -> Command {
    let unpack = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/stock-kernel");
    let output = Command::new(unpack).arg(STOCK_KERNEL).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut command = lab.switch.command("qemu-system-x86_64");
    // TCG: KVM inside these machines hangs.
    command
        .args(["-accel", "tcg", "-cpu", "qemu64", "-m", "256M", "-smp", "1", "-nodefaults", "-no-user-config"])
        .args(["-display", "none", "-no-reboot", "-serial", "stdio"])
        .args(["-kernel", &format!("{STOCK_KERNEL}/kernel"), "-initrd", &format!("{STOCK_KERNEL}/initrd")])
        .arg("-append")
        .arg(format!(
            "console=ttyS0 quiet net.ifnames=0 mitigations=off no_timer_check panic=-1 ISATAP_INIT={INIT} ISATAP_SHARE=9p \
             ISATAP_MODULES={STOCK_KERNEL}/lib/modules ISATAP_NAME={name}"
        ))
        .args(["-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"])
        .arg("-virtfs")
        .arg(format!("local,path={},mount_tag=share,security_model=none", shared.display()));
    for (index, wire) in wires.iter().enumerate() {
        // As on a real wire: checksums are written, packets cut, before they cross.
        let off = "csum=off,guest_csum=off,gso=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off,\
                   host_tso4=off,host_tso6=off,host_ecn=off,host_ufo=off,mrg_rxbuf=off,romfile=";
        let tap = wire.tap();
        let mac = tap.bytes().fold(0_u32, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        let [a, b, c, d] = (mac ^ std::process::id() << 12).to_be_bytes();
        command.args(["-netdev", &format!("tap,id=net{index},ifname={tap},script=no,downscript=no")]).args([
            "-device",
            &format!("virtio-net-pci,netdev=net{index},{off},mac=52:54:{a:02x}:{b:02x}:{c:02x}:{d:02x}"),
        ]);
    }
    command
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
