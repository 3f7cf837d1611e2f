//! One pair of programs for all links of a process, of those too that a reload brings when privileges are given up.

use super::{EGRESS, INGRESS, programs};
use crate::common::teredo::{Internet, PORT, SERVER, teredo_address};
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, isatap, isatap_binary, wait_until};
use crate::teredo_kernel::carries_by;

/// How many rows there is room for in each table of a process.
pub(crate) fn tables(namespace: &Namespace, daemon: &Daemon) -> Vec<u32> {
    let told = namespace.ok(&format!(
        "cat $(grep -l '^map_type:[[:space:]]*9$' /proc/{}/fdinfo/*) | sed -n 's/^max_entries:[[:space:]]*//p'",
        daemon.id()
    ));
    told.lines().map(|line| line.parse().unwrap()).collect()
}

/// How many rows are in them.
fn rows_there(namespace: &Namespace, daemon: &Daemon) -> usize {
    let script = namespace.file("rows.py", ROWS);
    namespace.ok(&format!("python3 {script} {}", daemon.id())).trim().parse().unwrap()
}

/// BPF_MAP_GET_FD_BY_ID and BPF_MAP_GET_NEXT_KEY, of each LRU table that a process has.
const ROWS: &str = r#"
import ctypes, glob, platform, re, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]

def bpf(command, what):
    attr = ctypes.create_string_buffer(what + bytes(64), len(what) + 64)
    return libc.syscall(number, command, attr, len(attr))

count = 0
for path in glob.glob(f"/proc/{sys.argv[1]}/fdinfo/*"):
    told = dict(re.findall(r"^(\w+):\s*(\d+)$", open(path).read(), re.M))
    if told.get("map_type") != "9":
        continue
    fd = bpf(14, struct.pack("=I", int(told["map_id"])))
    if fd < 0:
        sys.exit(f"no table: error {ctypes.get_errno()}")
    keys = [ctypes.create_string_buffer(int(told["key_size"])) for _ in range(2)]
    last = 0
    while bpf(4, struct.pack("=IIQQ", fd, 0, last, ctypes.addressof(keys[1]))) == 0:
        count += 1
        keys.reverse()
        last = ctypes.addressof(keys[0])
print(count)
"#;

/// How many rows the links say that they have; those of protocol 41 say it together.
fn rows_told(namespace: &Namespace, devices: &[&str]) -> usize {
    let of = |device: &&str| -> usize {
        let told = namespace.ok(&format!("{} status {device} -j | jq .kernel_path.rows", isatap_binary()));
        told.trim().parse().unwrap()
    };
    devices.iter().map(of).sum()
}

fn teredo(device: &str, port: u16) -> String {
    format!("[[teredo-client]]\nserver = \"{SERVER}\"\nbind = \":{port}\"\ndev = \"{device}\"\nbeside-native = true\n")
}

fn tunnel(local: &str, remote: &str, address: &str) -> String {
    format!("[[tunnel]]\nlocal = \"{local}\"\nremote = \"{remote}\"\naddress = \"{address}/64\"\nmtu = 1480\n")
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn links_that_come_and_go_by_reloads_share_the_programs_of_the_others() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let [a, b] = [internet.host("a", 1), internet.host("b", 2)];
    let file = b.file("b.toml", &(tunnel("203.0.113.2", "203.0.113.1", THEIRS) + &teredo("ter0", PORT)));
    let _of_b = Daemon::isatap(&b, &format!("run {file} --kernel-path require"));
    let of_b = teredo_address(&b).to_string();

    let front = "user = \"nobody\"\nkernel-path = \"require\"\n";
    let one = front.to_owned() + &tunnel("203.0.113.1", "203.0.113.2", OURS) + &teredo("ter0", PORT);
    let three = one.clone() + &teredo("ter1", PORT + 2) + &teredo("ter2", PORT + 4);
    let file = a.file("a.toml", &one);
    let mut daemon = Daemon::isatap(&a, &format!("run {file}"));
    daemon.wait_for_line("ter0 up: ", PATIENCE);
    let here = |underneath: u32, tunnels: u32| {
        wait_until(&format!("programs at {underneath} and {tunnels} devices"), PATIENCE, || {
            [programs(&a, INGRESS), programs(&a, EGRESS)] == [underneath, tunnels]
        });
    };
    let carried = |device: &str, to: &str| {
        wait_until(&format!("an answer by {device}"), PATIENCE, || {
            a.succeeds(&format!("ping -6 -n -q -c 1 -W 1 -I {device} {to}"))
        });
        carries_by(&a, device, to);
    };
    let both = || {
        carried("tun6in4", THEIRS);
        carried("ter0", &of_b);
    };
    both();
    here(1, 2);

    let read = |file: &str| {
        a.file("a.toml", file);
        daemon.signal("HUP");
    };
    let begins = |device: &str| {
        wait_until(&format!("an address of {device}"), PATIENCE, || {
            a.succeeds(&format!("ip -6 -o address show dev {device} | grep -q 2001:0:"))
        });
        carried(device, &of_b);
    };
    read(&three);
    ["ter1", "ter2"].into_iter().for_each(begins);
    both();
    here(1, 4);
    assert_eq!(tables(&a, &daemon), [16_384; 2], "one pair of tables");
    assert!(!isatap(&a, "status").text.contains("kernel path: off"));
    let devices = ["tun6in4", "ter0", "ter1", "ter2"];
    wait_until("what is told", PATIENCE, || rows_there(&a, &daemon) == rows_told(&a, &devices));
    // Nothing of a link is left, and the others' stays.
    read(&one);
    here(1, 2);
    wait_until("the rows to go", PATIENCE, || rows_there(&a, &daemon) == rows_told(&a, &devices[..2]));
    both();
    // Its part serves the next one.
    read(&three);
    begins("ter1");
    // All that speak protocol 41 have one.
    read(&(front.to_owned() + &teredo("ter0", PORT)));
    here(1, 1);
    wait_until("the rows to go", PATIENCE, || rows_there(&a, &daemon) == rows_told(&a, &["ter0"]));
    carried("ter0", &of_b);
    assert_eq!(daemon.output().matches("warning: ").count(), 0, "{}", daemon.output());
    assert!(daemon.terminate(PATIENCE).success());
}

/// The kernel, which has no memory here, takes no program: of one that speaks protocol 41 as the others, and of one alone.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_link_that_a_reload_adds_and_the_kernel_refuses_says_so() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let a = internet.host("a", 1);
    let first = tunnel("203.0.113.1", "203.0.113.2", OURS);
    let other = tunnel("203.0.113.1", "203.0.113.3", "2001:db8:99::1") + "dev = \"t1\"\n";
    for (mode, refused) in [("require", true), ("auto", false)] {
        let file = a.file("a.toml", &first);
        let mut daemon = Daemon::isatap(&a, &format!("run {file} --kernel-path {mode} --keep-privileges"));
        let inject = format!("-f -e trace=bpf -e inject=bpf:error=ENOMEM -p {}", daemon.id());
        let mut strace = Daemon::start(&a, "strace", "strace", &inject.split(' ').collect::<Vec<_>>());
        strace.wait_for_line("attached", PATIENCE);
        for (device, table) in [("t1", other.clone()), ("ter0", teredo("ter0", PORT))] {
            a.file("a.toml", &(first.clone() + &table));
            daemon.signal("HUP");
            let line = daemon.wait_for_line(&format!("cannot put a program behind {device}: "), PATIENCE);
            assert!(line.contains("warning: ") && line.contains("Cannot allocate memory"), "{line}");
            let why = format!("{} status {device} -j | jq -r .kernel_path.why", isatap_binary());
            if refused {
                wait_until("the old file to hold", PATIENCE, || {
                    daemon.output().matches("the new file is not used").count() == if device == "t1" { 1 } else { 2 }
                });
                assert!(!a.succeeds(&format!("ip link show dev {device}")));
            } else {
                wait_until("why", PATIENCE, || a.run(&why).text.contains("program"));
            }
            assert!(!isatap(&a, "status tun6in4").text.contains("kernel path: off"));
        }
        drop(strace);
        assert!(daemon.terminate(PATIENCE).success());
    }
}
