//! What a running daemon may still do, looked at from the outside: what the kernel says of its
//! threads, and what becomes of system calls that it is made to do.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::UnixDatagram;
use std::thread;
use std::time::Duration;

use crate::common::peers::{self, PREFIX, isatap_address};
use crate::common::{
    Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, status, told_line, wait_for, wait_until,
};

const HOST: &str = "host --local 10.0.0.2 --router 10.0.0.1";
/// Debian's nobody and nogroup.
const NOBODY: u32 = 65_534;

/// Our router at 10.0.0.1, and a namespace at 10.0.0.2.
fn site(lab: &Lab, intranet: &Wire<'_>) -> (Namespace, Daemon, Namespace) {
    let (router, host) = (lab.namespace("router"), lab.namespace("host"));
    intranet.join(&router, "eth0", "10.0.0.1/24");
    intranet.join(&host, "eth0", "10.0.0.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let daemon = Daemon::isatap(
        &router,
        &format!("router --local 10.0.0.1 --prefix {PREFIX}/64 --default always --user nobody"),
    );
    (router, daemon, host)
}

fn is_used(host: &Namespace) {
    peers::wait_for_address(host, "isatap0", isatap_address(PREFIX, "10.0.0.2"));
    peers::ping(host, &isatap_address(PREFIX, "10.0.0.1").to_string());
}

/// A field of each thread, as `/proc` has it.
fn of_threads(pid: u32, field: &str) -> Vec<String> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let text = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("status")).ok();
    let line =
        |text: String| text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':').map(str::to_owned));
    threads
        .filter_map(text)
        .filter_map(line)
        .map(|value| value.split_whitespace().collect::<Vec<_>>().join(" "))
        .collect()
}

/// CAP_NET_ADMIN (12) and CAP_NET_RAW (13), in the main thread alone; nothing more can come.
#[track_caller]
fn has_given_up(pid: u32, uid: u32) {
    let is_over = || of_threads(pid, "Seccomp").iter().all(|mode| mode == "2");
    wait_until("the daemon to give up its privileges", PATIENCE, is_over);
    let none = "0000000000000000";
    for (field, main, others) in [
        ("CapEff", "0000000000003000", none),
        ("CapPrm", "0000000000003000", none),
        ("CapInh", none, none),
        ("CapBnd", none, none),
        ("CapAmb", none, none),
        ("NoNewPrivs", "1", "1"),
        ("Uid", &format!("{uid} {uid} {uid} {uid}"), &format!("{uid} {uid} {uid} {uid}")),
    ] {
        let values = of_threads(pid, field);
        assert_eq!(values[0], main, "{field}");
        assert!(values[1..].iter().all(|value| value == others), "{field}: {values:?}");
    }
    if uid != 0 {
        assert_eq!(of_threads(pid, "Groups").concat(), "");
        assert!(of_threads(pid, "Gid").iter().all(|value| *value == format!("{uid} {uid} {uid} {uid}")));
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn every_role_keeps_two_capabilities_and_leaves_nothing_behind() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "10.0.0.2/24");
    wire.join(&node, "eth1", "10.1.0.2/24");
    node.ok("ip address add 10.0.0.3/24 dev eth0 && sysctl -qw net.ipv6.conf.all.forwarding=1");
    let file = node.file("node.toml", "user = \"nobody\"\n[[tunnel]]\nlocal = \"10.0.0.2\"\nremote = \"10.0.0.9\"\n");
    for (device, role) in [
        ("isatap0", "host --local 10.0.0.2 --router 10.0.0.1 --user nobody"),
        // With a thread that asks for names, and one that writes a capture.
        ("isatap0", "host --local 10.0.0.2 --router isatap.invalid --user nobody --pcap FILE"),
        ("isatap0", "router --local 10.0.0.2 --prefix 2001:db8:0:7::/64 --user nobody"),
        ("tun6in4", "tunnel --local 10.0.0.2 --remote 10.0.0.9 --user nobody"),
        ("tun6to4", "6to4 --role router --local 10.0.0.2 --relay 10.0.0.9 --accept-bogons --lan eth1:1 --user nobody"),
        ("tun6rd", "6rd --prefix 2001:db8::/32 --local 10.0.0.2 --br 10.0.0.1 --lan eth1:1 --user nobody"),
        ("teredo", "teredo client --server teredo.invalid --accept-bogons --beside-native --user nobody"),
        ("teredo", "teredo server --primary 10.0.0.2 --secondary 10.0.0.3 --accept-bogons --user nobody"),
        ("teredo", "teredo relay --local 10.0.0.2 --accept-bogons --user nobody"),
        ("tun6in4", "run FILE"),
        ("tun6in4", "tunnel --local 10.0.0.2 --remote 10.0.0.9"),
    ] {
        let uid = if role.contains("nobody") || role.starts_with("run") { NOBODY } else { 0 };
        let pcap = node.directory().join("outer.pcap").display().to_string();
        let role = role.replace("run FILE", &format!("run {file}")).replace("FILE", &pcap);
        let mut daemon = Daemon::start(&node, "role", isatap_binary(), &role.split(' ').collect::<Vec<_>>());
        let asks = || isatap(&node, &format!("status {device}")).success();
        wait_until(&format!("a status of {role}"), PATIENCE, || {
            assert!(daemon.is_running(), "{role}: {}", daemon.output());
            asks()
        });
        has_given_up(daemon.id(), uid);
        assert!(asks(), "{role}");
        // Of a link as above it says the same.
        if role.contains("--user nobody") {
            assert!(!isatap(&node, &format!("doctor {device}")).text.contains("ermission"), "{role}");
        }
        assert_eq!(daemon.output().matches("Operation not permitted").count(), 0, "{}", daemon.output());
        assert_eq!(daemon.output().matches("Permission denied").count(), 0, "{}", daemon.output());
        assert!(daemon.terminate(PATIENCE).success(), "{role}");
        assert!(!node.succeeds(&format!("ip link show dev {device}")), "{role}");
        assert_eq!(node.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "", "{role}");
        assert!(!node.ok("ip -6 address show dev eth1").contains("2002:"), "{role}");
    }
    let mode = fs::metadata(node.shared().join("outer.pcap")).unwrap();
    assert_eq!((mode.mode() & 0o777, mode.uid()), (0o600, NOBODY));
}

/// As code that has taken over the process would: the kernel is asked for things by the process
/// itself, at the place where it waits for packets.
#[cfg(target_arch = "x86_64")]
mod taken_over {
    use nix::sys::ptrace;
    use nix::sys::wait::waitpid;
    use nix::unistd::Pid;
    use std::os::raw::c_long;

    pub(super) struct Puppet {
        pid: Pid,
        registers: nix::libc::user_regs_struct,
    }

    impl Puppet {
        pub(super) fn new(pid: u32) -> Self {
            let pid = Pid::from_raw(pid as i32);
            for _ in 0..100 {
                ptrace::attach(pid).unwrap();
                waitpid(pid, None).unwrap();
                let mut registers = ptrace::getregs(pid).unwrap();
                registers.rip -= 2;
                let instruction = ptrace::read(pid, registers.rip as *mut _).unwrap();
                if instruction & 0xffff == 0x050f && waits(registers.orig_rax) {
                    return Self { pid, registers };
                }
                // It was on its way between two waits, or in a call that nothing interrupts: what
                // `drop` tells would be an error to it.
                ptrace::detach(pid, None).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
            panic!("the process never waits for packets");
        }

        /// The result, or minus the error's number.
        pub(super) fn call(&self, number: c_long, arguments: [u64; 6]) -> i64 {
            let mut registers = self.registers;
            (registers.rax, registers.orig_rax) = (number as u64, u64::MAX);
            [registers.rdi, registers.rsi, registers.rdx, registers.r10, registers.r8, registers.r9] = arguments;
            ptrace::setregs(self.pid, registers).unwrap();
            ptrace::step(self.pid, None).unwrap();
            waitpid(self.pid, None).unwrap();
            ptrace::getregs(self.pid).unwrap().rax.cast_signed()
        }

        /// Where a text now stands in its memory.
        pub(super) fn text(&self, text: &str) -> u64 {
            let place = (self.registers.rsp - 4096) & !7;
            let bytes: Vec<u8> = text.bytes().chain([0; 8]).collect();
            for (at, word) in (place..).step_by(8).zip(bytes.chunks_exact(8)) {
                let word = c_long::from_ne_bytes(word.try_into().unwrap());
                ptrace::write(self.pid, at as *mut _, word).unwrap();
            }
            place
        }

        pub(super) fn open(&self, path: &str, flags: i32) -> i64 {
            let path = self.text(path);
            self.call(nix::libc::SYS_openat, [nix::libc::AT_FDCWD as u64, path, flags as u64, 0o600, 0, 0])
        }
    }

    fn waits(call: u64) -> bool {
        [nix::libc::SYS_epoll_wait, nix::libc::SYS_epoll_pwait].contains(&call.cast_signed())
    }

    impl Drop for Puppet {
        /// Its wait was interrupted, for all that it knows.
        fn drop(&mut self) {
            let mut registers = self.registers;
            registers.rip += 2;
            (registers.rax, registers.orig_rax) = ((-nix::libc::EINTR) as u64, u64::MAX);
            ptrace::setregs(self.pid, registers).unwrap();
            ptrace::detach(self.pid, None).unwrap();
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_daemon_that_was_taken_over_gets_neither_files_nor_programs() {
    use nix::libc;
    use taken_over::Puppet;
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let public = host.file("public", "everybody may read this\n");
    let new = host.directory().join("new").display().to_string();
    let refused = |error: i32| -i64::from(error);
    for user in [" --keep-privileges", "", " --user nobody"] {
        let daemon = Daemon::isatap(&host, &format!("{HOST}{user}"));
        let keeps = user.contains("keep");
        if !keeps {
            has_given_up(daemon.id(), if user.is_empty() { 0 } else { NOBODY });
        }
        {
            let puppet = Puppet::new(daemon.id());
            // What it needs it has: names, switches of the kernel, devices, raw sockets.
            for (path, flags) in [
                ("/etc/hosts", libc::O_RDONLY),
                ("/proc/sys/net/ipv6/conf/isatap0/accept_ra", libc::O_WRONLY),
                ("/dev/net/tun", libc::O_RDWR),
            ] {
                assert!(puppet.open(path, flags) >= 0, "{user}: {path}");
            }
            let socket =
                |family: i32, kind: i32| puppet.call(libc::SYS_socket, [family as u64, kind as u64, 0, 0, 0, 0]);
            assert!(puppet.call(libc::SYS_socket, [2, libc::SOCK_RAW as u64, 41, 0, 0, 0]) >= 0, "{user}");
            // Everything else it has only when it was told to keep it: the test sees the difference.
            let judge = |what: &str, result: i64, error: i32| {
                if keeps {
                    assert!(result >= 0, "{what}: {result}");
                } else {
                    assert_eq!(result, refused(error), "{user}: {what}");
                }
            };
            judge("read a file", puppet.open(&public, libc::O_RDONLY), libc::EACCES);
            judge("make a file", puppet.open(&new, libc::O_WRONLY | libc::O_CREAT), libc::EACCES);
            judge("write a name", puppet.open("/etc/hosts", libc::O_WRONLY), libc::EACCES);
            judge("a socket for frames", socket(libc::AF_PACKET, libc::SOCK_RAW), libc::EPERM);
            judge("prctl", puppet.call(libc::SYS_prctl, [libc::PR_GET_DUMPABLE as u64, 0, 0, 0, 0, 0]), libc::EPERM);
            let anonymous = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS) as u64;
            let code = (libc::PROT_EXEC | libc::PROT_READ) as u64;
            judge("code", puppet.call(libc::SYS_mmap, [0, 4096, code, anonymous, u64::MAX, 0]), libc::EPERM);
            if !keeps {
                let program = puppet.text("/bin/true");
                for (what, call, arguments) in [
                    ("execve", libc::SYS_execve, [program, 0, 0, 0, 0, 0]),
                    ("fork", libc::SYS_fork, [0; 6]),
                    ("fork by clone", libc::SYS_clone, [libc::SIGCHLD as u64, 0, 0, 0, 0, 0]),
                    ("setuid", libc::SYS_setuid, [0; 6]),
                    ("ptrace", libc::SYS_ptrace, [0; 6]),
                    ("kill", libc::SYS_kill, [1, 0, 0, 0, 0, 0]),
                    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0]),
                    ("mount", libc::SYS_mount, [0; 6]),
                    ("bpf", libc::SYS_bpf, [0; 6]),
                    ("io_uring", libc::SYS_io_uring_setup, [1, 0, 0, 0, 0, 0]),
                    ("a filter", libc::SYS_seccomp, [1, 0, 0, 0, 0, 0]),
                ] {
                    assert_eq!(puppet.call(call, arguments), refused(libc::EPERM), "{user}: {what}");
                }
                assert_eq!(puppet.call(libc::SYS_clone3, [0; 6]), refused(libc::ENOSYS), "{user}");
            }
            if user.contains("nobody") {
                assert_eq!(puppet.open("/etc/shadow", libc::O_RDONLY), refused(libc::EACCES));
            }
        }
        // It has not noticed, and goes on.
        is_used(&host);
        assert!(daemon.terminate(PATIENCE).success());
        let _ = fs::remove_file(&new);
    }
}

/// A kernel without Landlock and seccomp, as a filter of system calls pretends.
#[cfg(target_arch = "x86_64")]
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_a_kernel_lacks_is_told_once_and_the_rest_is_given_up() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let script = host.file(
        "old.py",
        "import ctypes, os, struct, sys\n\
         libc = ctypes.CDLL(None)\n\
         one = lambda code, k, yes=0, no=0: struct.pack('HBBI', code, yes, no, k)\n\
         calls = [317, 444, 445, 446]\n\
         code = one(0x20, 0)\n\
         for n, call in enumerate(calls): code += one(0x15, call, len(calls) - n)\n\
         code += one(0x06, 0x7fff0000) + one(0x06, 0x50000 | int(sys.argv[1]))\n\
         program = ctypes.create_string_buffer(code)\n\
         class Program(ctypes.Structure): _fields_ = [('n', ctypes.c_ushort), ('p', ctypes.c_void_p)]\n\
         assert libc.prctl(22, 2, ctypes.byref(Program(len(code) // 8, ctypes.addressof(program))), 0, 0) == 0\n\
         os.execv(sys.argv[2], sys.argv[2:])\n",
    );
    // ENOSYS of an old kernel, EPERM of a container's filter.
    for errno in ["38", "1"] {
        let command = format!("{script} {errno} {} {HOST} --user nobody", isatap_binary());
        let arguments: Vec<_> = command.split(' ').collect();
        let mut daemon = Daemon::start(&host, "old", "python3", &arguments);
        daemon.wait_for_line("warning: system calls are not restricted", PATIENCE);
        is_used(&host);
        let output = daemon.output();
        assert_eq!(output.matches("warning: ").count(), 2, "{output}");
        assert!(output.contains("warning: files are protected by the user and its groups alone"), "{output}");
        assert_eq!(of_threads(daemon.id(), "CapEff")[0], "0000000000003000");
        assert!(of_threads(daemon.id(), "Uid")[0].starts_with("65534 65534"));
        assert!(daemon.terminate(PATIENCE).success());
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn reload_names_and_devices_change_without_privileges() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let dns = lab.namespace("dns");
    intranet.join(&dns, "eth0", "10.0.0.53/24");
    dns.start(
        "dnsmasq",
        "dnsmasq --keep-in-foreground --conf-file=/dev/null --user=root --pid-file= --no-resolv --no-hosts \
         --address=/right.test/10.0.0.1 --local=/wrong.test/ --local-ttl=1 --log-queries --log-facility=-",
    );
    host.etc("hosts", "127.0.0.1 localhost\n");
    host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch wrong.test\n");
    let pcap = host.directory().join("outer.pcap").display().to_string();
    let isatap_host = format!("[[isatap-host]]\nlocal = [\"10.0.0.2\"]\nprl-refresh-interval = 2\npcap = \"{pcap}\"\n");
    let folder = host.shared().join("config");
    fs::create_dir(&folder).unwrap();
    let write = |more: &str| {
        // As editors do: another file of the same name.
        fs::write(folder.join("new"), format!("user = \"nobody\"\n{isatap_host}{more}")).unwrap();
        fs::rename(folder.join("new"), folder.join("node.toml")).unwrap();
    };
    write("");
    let told = host.shared().join("notify");
    let socket = UnixDatagram::bind(&told).unwrap();
    fs::set_permissions(&told, fs::Permissions::from_mode(0o777)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let told_line = || told_line(&socket);
    let notify = format!("NOTIFY_SOCKET={}", told.display());
    let file = folder.join("node.toml").display().to_string();
    let mut daemon = Daemon::start(&host, "run", "env", &[&notify, isatap_binary(), "run", &file, "--verbose"]);
    assert_eq!(told_line(), "READY=1");
    has_given_up(daemon.id(), NOBODY);

    // Another resolver, as a DHCP client writes it.
    host.etc("resolv.conf", "nameserver 10.0.0.53\nsearch right.test\n");
    is_used(&host);

    // A link more: its device, its switches in /proc/sys, its lock and socket.
    let before = fs::metadata(&pcap).unwrap().len();
    write(
        "[[tunnel]]\nlocal = \"10.0.0.2\"\nremote = \"10.0.0.9\"\n[[teredo-relay]]\nlocal = \"10.0.0.2\"\naccept-bogons = true\n",
    );
    daemon.signal("HUP");
    assert!(told_line().starts_with("RELOADING=1\nMONOTONIC_USEC="));
    assert_eq!(told_line(), "READY=1");
    is_used(&host);
    for device in ["isatap0", "tun6in4", "teredo"] {
        wait_until(device, PATIENCE, || isatap(&host, &format!("status {device}")).success());
    }
    assert_eq!(host.ok("cat /proc/sys/net/ipv6/conf/tun6in4/accept_ra").trim(), "0");
    assert!(of_threads(daemon.id(), "Seccomp").iter().all(|mode| mode == "2"));
    let others = of_threads(daemon.id(), "CapEff");
    assert!(others[1..].iter().all(|value| value == "0000000000000000"), "{others:?}");
    wait_until("more of the same capture", PATIENCE, || fs::metadata(&pcap).unwrap().len() > before);
    assert!(host.ok(&format!("tcpdump -n -r {pcap} 2>/dev/null | wc -l")).trim() != "0");

    // A capture that the daemon did not know at its start: nothing ends, and it says what to do.
    let new = host.directory().join("new.pcap").display().to_string();
    write(&format!("[[teredo-relay]]\nlocal = \"10.0.0.2\"\naccept-bogons = true\npcap = \"{new}\"\n"));
    daemon.signal("HUP");
    daemon.wait_for_line("given up the right to open files that it did not begin with; restart it", PATIENCE);
    while told_line() != "READY=1" {}
    assert!(host.succeeds("ip link show dev tun6in4"));

    // A link less.
    write("");
    daemon.signal("HUP");
    wait_until("the device to go", PATIENCE, || !host.succeeds("ip link show dev tun6in4"));
    is_used(&host);

    // Another program deletes the device: it is made again without the privileges.
    while told_line() != "READY=1" {}
    host.ok("ip link delete isatap0");
    daemon.wait_for_line("another program deleted the device isatap0: it is made again", PATIENCE);
    is_used(&host);
    assert!(daemon.is_running());
    daemon.signal("TERM");
    wait_until("the end of the daemon", PATIENCE, || !daemon.is_running());
    assert_eq!(host.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
    assert!(!daemon.output().contains("ermission denied") && !daemon.output().contains("not permitted"));
    let daemon = Daemon::isatap(&host, &format!("run {file}"));
    is_used(&host);
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(host.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
}

/// `User=` and `AmbientCapabilities=` of the unit: no root, no CAP_SETPCAP.
/// "Run as root" is no help to who has done so.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reload_that_is_the_first_to_remember_anything_says_to_start_again() {
    let lab = Lab::new();
    let wire = lab.wire();
    let node = lab.namespace("node");
    wire.join(&node, "eth0", "10.0.0.2/24");
    let tunnel = "user = \"nobody\"\n[[tunnel]]\nlocal = \"10.0.0.2\"\nremote = \"10.0.0.9\"\n";
    let file = node.file("node.toml", tunnel);
    let mut daemon = Daemon::start(&node, "run", isatap_binary(), &["run", &file]);
    wait_until("a status", PATIENCE, || isatap(&node, "status tun6in4").success());
    has_given_up(daemon.id(), NOBODY);
    let teredo = "[[teredo-client]]\nserver = \"10.0.0.1\"\nport-mapping = \"upnp\"\naccept-bogons = true\n";
    fs::write(&file, format!("{tunnel}{teredo}")).unwrap();
    daemon.signal("HUP");
    let line = daemon.wait_for_line("warning: cannot make the folder ", PATIENCE);
    assert!(line.contains("; start isatap again: it has given up the right to"), "{line}");
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn it_starts_as_systemd_starts_it() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let file = host.file("node.toml", "[[isatap-host]]\nlocal = [\"10.0.0.2\"]\nrouter = [\"10.0.0.1\"]\n");
    host.ok("mkdir $ISATAP_RUNTIME_DIR && chown nobody $ISATAP_RUNTIME_DIR");
    let capabilities = "+net_admin,+net_raw";
    let command = format!(
        "--reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set -all,{capabilities} \
         --inh-caps -all,{capabilities} --ambient-caps -all,{capabilities} {} run {file}",
        isatap_binary()
    );
    let daemon = Daemon::start(&host, "run", "setpriv", &command.split_whitespace().collect::<Vec<_>>());
    is_used(&host);
    wait_until("seccomp", PATIENCE, || of_threads(daemon.id(), "Seccomp").iter().all(|mode| mode == "2"));
    assert_eq!(of_threads(daemon.id(), "CapEff")[0], "0000000000003000");
    assert_eq!(of_threads(daemon.id(), "CapAmb")[0], "0000000000000000");
    assert!(!daemon.output().contains("warning"), "{}", daemon.output());
    assert!(daemon.terminate(PATIENCE).success());
    assert_eq!(host.ok("ls -A $ISATAP_RUNTIME_DIR").trim(), "");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_unit_file_is_one_for_the_systemd_of_debian_12() {
    let lab = Lab::new();
    let node = lab.namespace("node");
    let unit = include_str!("../../packaging/isatap.service");
    let unit = unit.replace("ExecStart=isatap", &format!("ExecStart={}", isatap_binary()));
    let file = node.file("isatap.service", &unit);
    let verified = node.run(&format!("systemd-analyze verify --man=no {file}"));
    assert!(verified.success() && verified.text.is_empty(), "{verified:#?}");
    // What it must be able to call, by the groups of this systemd; execve is always in them.
    for call in ["seccomp", "landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"] {
        assert!(unit.lines().any(|line| line.starts_with("SystemCallFilter=") && line.contains(call)), "{call}");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_reader_of_a_capture_that_stops_or_never_comes_stops_nothing_else() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let target = isatap_address(PREFIX, "10.0.0.1");
    let fifo = host.directory().join("fifo").display().to_string();
    host.ok(&format!("mkfifo {fifo}"));

    // Nobody reads; then somebody does, and gets a whole capture.
    let daemon = Daemon::isatap(&host, &format!("{HOST} --pcap {fifo} --user nobody"));
    is_used(&host);
    assert!(daemon.output().contains("warning: cannot record all packets into"), "{}", daemon.output());
    assert!(status(&host, ".io[\"not-recorded\"] > 0"));
    let reader = Daemon::start(&host, "reader", "tcpdump", &["-U", "-n", "-r", &fifo]);
    wait_until("packets in the capture", PATIENCE, || {
        peers::ping(&host, &target.to_string());
        reader.output().contains("echo reply")
    });

    // It stops: a pipe holds 64 KiB, and the daemon some MiB.
    reader.signal("STOP");
    let before = host.ok(&format!("{} status -j | jq '.io[\"not-recorded\"]'", isatap_binary()));
    let before: u64 = before.trim().parse().unwrap();
    // Some 3,300 of these fill it, each as soon as the one before is answered: were they sent by the
    // clock, a busy machine would lose some.
    let flood = format!("ping -6 -n -q -A -c 500 -s 1200 {target}");
    wait_until("packets that are lost to the capture", PATIENCE * 4, || {
        let output = host.run_for(PATIENCE, &flood);
        assert!(output.success() && output.text.contains(" 0% packet loss"), "{output:#?}");
        status(&host, &format!(".io[\"not-recorded\"] > {before}"))
    });
    peers::ping(&host, &target.to_string());
    assert_eq!(daemon.output().matches("warning: ").count(), 1, "told once: {}", daemon.output());
    assert!(daemon.terminate(Duration::from_secs(10)).success());
    assert!(!host.succeeds("ip link show dev isatap0"));
    reader.signal("CONT");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_capture_goes_into_files_of_ones_own_only() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let victim = host.file("victim", "precious\n");
    let place = |name: &str| host.shared().join(name);
    symlink(&victim, place("link")).unwrap();
    fs::hard_link(&victim, place("second")).unwrap();
    fs::write(place("theirs"), "theirs\n").unwrap();
    host.ok(&format!("chown nobody {}", place("theirs").display()));
    host.ok(&format!("mkfifo {0} && chown nobody {0}", place("their-fifo").display()));
    for (path, why) in [
        (place("link"), "it is a symbolic link; name the file that it leads to"),
        (place("second"), "the file has a second name; remove it"),
        (place("theirs"), "it belongs to the user 65534, who could read or change it; remove it"),
        (place("their-fifo"), "it belongs to the user 65534"),
        (host.directory(), "it is a folder; name a file in it"),
        ("/dev/null".into(), "it is neither a regular file nor a FIFO; name one of these"),
        (place("none/such"), "No such file or directory (os error 2); choose a file"),
    ] {
        let output = isatap(&host, &format!("{HOST} --pcap {}", path.display()));
        assert!(!output.success() && output.text.contains(why), "{output:#?}");
    }
    assert_eq!(fs::read_to_string(&victim).unwrap(), "precious\n");
    assert_eq!(fs::read_to_string(place("theirs")).unwrap(), "theirs\n");
    let new = place("new.pcap");
    let daemon = Daemon::isatap(&host, &format!("{HOST} --pcap {}", new.display()));
    is_used(&host);
    assert_eq!(fs::metadata(&new).unwrap().mode() & 0o777, 0o600);
    assert!(daemon.terminate(PATIENCE).success());
    assert!(host.ok(&format!("tcpdump -n -r {} 2>/dev/null", new.display())).contains("echo reply"));

    // Where nobody but that user makes files it is no trap.
    let folder = place("of-nobody").display().to_string();
    host.ok(&format!("mkdir {folder} && mkfifo {folder}/fifo && chown -R nobody {folder}"));
    let daemon = Daemon::isatap(&host, &format!("{HOST} --pcap {folder}/fifo"));
    assert!(daemon.terminate(PATIENCE).success());
}

/// In the kernel's ticks of 10 ms.
fn processor_time(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn without_descriptors_it_goes_on_and_is_not_busy() {
    let lab = Lab::new();
    let intranet = lab.wire();
    let (_router, _daemon, host) = site(&lab, &intranet);
    let open = |daemon: &Daemon| fs::read_dir(format!("/proc/{}/fd", daemon.id())).unwrap().count();
    let usual = {
        let daemon = Daemon::isatap(&host, &format!("{HOST} --user nobody"));
        has_given_up(daemon.id(), NOBODY);
        open(&daemon)
    };
    let limited = format!("ulimit -n {} && exec {} {HOST} --user nobody", usual + 3, isatap_binary());
    let daemon = Daemon::start(&host, "host", "bash", &["-c", &limited]);
    is_used(&host);
    has_given_up(daemon.id(), NOBODY);
    // They ask nothing.
    let script = host.file(
        "silent.py",
        "import os, socket, time\n\
         path = os.environ['ISATAP_RUNTIME_DIR'] + '/isatap0.sock'\n\
         silent = [socket.socket(socket.AF_UNIX) for _ in range(10)]\n\
         [client.connect(path) for client in silent]\n\
         print('connected', flush=True)\n\
         time.sleep(600)\n",
    );
    let mut silent = Daemon::start(&host, "silent", "python3", &[&script]);
    silent.wait_for_line("connected", PATIENCE);
    wait_until("a warning", PATIENCE, || {
        daemon.output().contains("warning: cannot accept who asks for the status: Too many")
    });
    let before = processor_time(daemon.id());
    thread::sleep(Duration::from_secs(1));
    let used = processor_time(daemon.id()) - before;
    assert!(used < 30, "busy for {used}0 ms of a second");
    is_used(&host);
    // Each of them is hung up on after a while, and then others are heard.
    wait_for("a status", PATIENCE, || status(&host, ".io[\"accept-failed\"] >= 1").then_some(()));
    assert_eq!(daemon.output().matches("warning: ").count(), 1, "told once: {}", daemon.output());
    drop(silent);
    wait_until("all of them to go", PATIENCE, || open(&daemon) <= usual);
    assert!(daemon.terminate(PATIENCE).success());
}
