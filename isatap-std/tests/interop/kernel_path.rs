//! The kernel's path: the kernel encapsulates and decapsulates what the daemon has decided about.
//!
//! What a daemon with it lets in and sends is what one without it does, byte by byte; and it is gone
//! as soon as it may not be any more.

mod changes;
mod inside;
mod order;
pub(crate) mod parts;
mod places;
mod same;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::common::peers::{self, PREFIX};
use crate::common::tunnel::{BETWEEN, OURS, THEIRS, ends};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, Wire, isatap, isatap_binary, status, wait_until};
use isatap_core::isatap::addr;

/// It has to be had, and rules of the firewall do not keep packets from it.
const REQUIRED: &str = "--kernel-path require";

const LEFT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const RIGHT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Two machines on a wire.
fn places(lab: &Lab, wire: &Wire<'_>) -> [Namespace; 2] {
    [("left", LEFT), ("right", RIGHT)].map(|(name, own)| {
        let namespace = lab.namespace(name);
        wire.join_with_offloads(&namespace, "eth0", &format!("{own}/24"));
        namespace
    })
}

/// A tunnel of ours between them.
fn tunnel([left, right]: &[&Namespace; 2], options: &str) -> [Daemon; 2] {
    [(left, LEFT, RIGHT, OURS), (right, RIGHT, LEFT, THEIRS)].map(|(namespace, own, other, address)| {
        let tunnel = format!("tunnel --local {own} --remote {other} --address {address}/64 --mtu 1480");
        Daemon::isatap(namespace, &format!("{tunnel} {options}"))
    })
}

/// Both.
fn pair(lab: &Lab, wire: &Wire<'_>, options: &str) -> ([Namespace; 2], [Daemon; 2]) {
    let namespaces = places(lab, wire);
    let daemons = tunnel(&namespaces.each_ref(), options);
    (namespaces, daemons)
}

/// Such machines, where the left one asks the right one for echoes a hundred times a second, which the kernel carries.
fn flow(lab: &Lab, wire: &Wire<'_>, mode: &str) -> ([Namespace; 2], [Daemon; 2]) {
    let (namespaces, daemons) = pair(lab, wire, &format!("--kernel-path {mode}"));
    let [left, _] = &namespaces;
    peers::ping(left, THEIRS);
    left.start("flow", &format!("ping -6 -n -q -i 0.01 {THEIRS}"));
    carries(left, 50);
    (namespaces, daemons)
}

/// Packets that the kernel has carried of the first link: sent and received.
fn carried(namespace: &Namespace) -> [u64; 2] {
    let told = isatap(namespace, "status -j").text;
    let path = namespace.file("status.json", &told);
    let numbers = namespace.ok(&format!("jq '.kernel_path | .sent, .received' {path}"));
    let mut numbers = numbers.split_whitespace().map(|number| number.parse().unwrap());
    [numbers.next().unwrap(), numbers.next().unwrap()]
}

#[track_caller]
fn carries(namespace: &Namespace, least: u64) {
    wait_until("packets that the kernel carries", PATIENCE, || {
        carried(namespace).iter().all(|packets| *packets >= least)
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn both_ends_carry_a_flow_in_the_kernel_and_count_all_of_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], daemons) = pair(&lab, &wire, "--kernel-path require");
    peers::ping(&left, THEIRS);
    left.ok(&format!("ping -6 -n -q -c 200 -i 0.005 {THEIRS}"));
    peers::download(&left, &right, THEIRS.parse().unwrap(), 20_000_000);
    carries(&left, 190);
    carries(&right, 190);
    // Nothing is lost between the two ways, and nothing counted twice: what left one end came in at the other, but
    // for what the kernel cuts and joins on the way. So of pings alone:
    let count = |namespace: &Namespace, key: &str| -> u64 {
        namespace.ok(&format!("{} status -j | jq '.packets.{key}'", isatap_binary())).trim().parse().unwrap()
    };
    let before = [count(&left, "tunnelled"), count(&right, "delivered")];
    left.ok(&format!("ping -6 -n -q -c 300 -i 0.005 {THEIRS}"));
    wait_until("300 packets more at each end", PATIENCE, || {
        let now = [count(&left, "tunnelled"), count(&right, "delivered")];
        now[0] - before[0] >= 300 && now[1] - before[1] >= 300
    });
    let now = [count(&left, "tunnelled"), count(&right, "delivered")];
    assert!(now[0] - before[0] < 310 && now[1] - before[1] < 310, "{before:?} {now:?}");
    // NDP-50: what the kernel carries is use, too, and the other end is asked whether it is there.
    assert!(status(&left, ".reachability != null"));
    for daemon in daemons {
        assert!(daemon.terminate(PATIENCE).success());
    }
}

/// The kernel's own `sit` is the other end.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_path_that_becomes_narrow_is_found_in_the_kernels_path_too() {
    let lab = Lab::new();
    let wires = [lab.wire(), lab.wire()];
    let capture = wires[0].capture("ip proto 41");
    let (ours, router, kernel) = ends(&lab, &wires, "ttl 64");
    let _daemon =
        Daemon::isatap(&ours, &format!("tunnel {BETWEEN} --address {OURS}/64 --mtu 1480 --kernel-path require"));
    let [our_address, their_address]: [Ipv6Addr; 2] = [OURS, THEIRS].map(|text| text.parse().unwrap());
    // By the daemon, then by the kernel.
    for _ in 0..2 {
        peers::ping_sizes(&ours, THEIRS, 1480);
        peers::ping_sizes(&kernel, OURS, 1480);
    }
    peers::http(&ours, &kernel, their_address);
    peers::http(&kernel, &ours, our_address);
    carries(&ours, 10);
    // TUN-42: the router refuses what it cannot carry, also of what no daemon has seen.
    peers::narrow(&router, ["192.0.2.0/24 dev eth0", "198.51.100.0/24 dev eth1"], 1400);
    peers::wait_for_path_mtu(&ours, THEIRS, 1380);
    peers::wait_for_path_mtu(&kernel, OURS, 1380);
    peers::ping_sizes(&ours, THEIRS, 1480);
    let rates = peers::iperf3(&ours, &kernel, their_address);
    assert!(rates.iter().all(|&rate| rate > 1e6), "{rates:?}");
    let before = carried(&ours);
    ours.ok(&format!("ping -6 -n -q -c 20 -i 0.05 {THEIRS}"));
    wait_until("packets of the narrow path", PATIENCE, || carried(&ours)[0] > before[0] + 10);
    capture.so_far().assert_clean();
}

/// ISATAP host and router, whose neighbours are asked whether they are there (SEC-1); 6to4; 6rd.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn every_mechanism_of_protocol_41_is_carried() {
    let lab = Lab::new();
    let wire = lab.wire();
    let [a, b] = [("a", "131.107.0.1/24"), ("b", "131.107.0.2/24")].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join_with_offloads(&namespace, "eth0", address);
        namespace.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
        namespace
    });
    let [ours, theirs] = ["131.107.0.1", "131.107.0.2"];
    let site = [
        (
            format!("router --local {ours} --prefix {PREFIX}/64 --default always --check-neighbors on"),
            format!("host --local {theirs} --router {ours}"),
            format!("{}", addr::address(&format!("{PREFIX}/64").parse().unwrap(), ours.parse().unwrap()).unwrap()),
        ),
        (format!("6to4 --local {ours}"), format!("6to4 --local {theirs}"), "2002:836b:1::836b:1".to_owned()),
        (
            format!("6rd --role br --prefix 2001:db8::/32 --v4-mask-len 0 --local {ours} --customer {theirs}"),
            format!("6rd --role ce --prefix 2001:db8::/32 --v4-mask-len 0 --local {theirs} --br {ours}"),
            "2001:db8:836b:1::".to_owned(),
        ),
        (format!("compatible --local {ours}"), format!("compatible --local {theirs}"), "::131.107.0.1".to_owned()),
    ];
    for (one, other, target) in site {
        let daemons = [
            Daemon::isatap(&a, &format!("{one} --kernel-path require")),
            Daemon::isatap(&b, &format!("{other} --kernel-path require")),
        ];
        peers::ping(&b, &target);
        b.ok(&format!("ping -6 -n -q -c 100 -i 0.01 {target}"));
        carries(&b, 80);
        carries(&a, 80);
        for daemon in daemons {
            assert!(daemon.terminate(PATIENCE).success());
        }
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn nothing_forwards_after_the_daemon_is_killed() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], [of_left, _of_right]) = pair(&lab, &wire, "--kernel-path require");
    peers::ping(&left, THEIRS);
    right.start("flow", &format!("ping -6 -n -q -i 0.01 {OURS}"));
    carries(&left, 100);
    assert_eq!(programs(&left, INGRESS), 1);
    of_left.kill();
    let capture = wire.capture(&format!("ip proto 41 and src {LEFT}"));
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(capture.so_far().count("ip"), 0);
    // The link of the program ends with the process.
    assert_eq!(programs(&left, INGRESS), 0);
    right.stop("flow");
}

/// `BPF_TCX_INGRESS`, `BPF_TCX_EGRESS`
pub(crate) const INGRESS: u32 = 46;
pub(crate) const EGRESS: u32 = 47;

/// How many programs run at devices of a namespace. Debian's bpftool does not know of tcx yet.
pub(crate) fn programs(namespace: &Namespace, at: u32) -> u32 {
    let script = namespace.file("programs.py", PROGRAMS);
    namespace.ok(&format!("python3 {script} {at}")).trim().parse().unwrap()
}

/// BPF_PROG_QUERY of each device: `struct bpf_attr` with interface index, kind, two flags, place and room for numbers.
const PROGRAMS: &str = r#"
import ctypes, platform, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number = {"x86_64": 321, "aarch64": 280}[platform.machine()]
count = 0
for index, name in socket.if_nameindex():
    room = (ctypes.c_uint * 16)()
    what = struct.pack("=IIIIQII", index, int(sys.argv[1]), 0, 0, ctypes.addressof(room), 16, 0)
    attr = ctypes.create_string_buffer(what + bytes(48), len(what) + 48)
    if libc.syscall(number, 16, attr, len(attr)) != 0:
        sys.exit(f"{name}: error {ctypes.get_errno()}")
    count += struct.unpack_from("=I", attr, 24)[0]
print(count)
"#;

/// A router between two tunnels of its own: what comes out of one in the kernel goes into the other.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_router_between_two_tunnels_loses_nothing() {
    let lab = Lab::new();
    let (left_wire, right_wire) = (lab.wire(), lab.wire());
    let [left, router, right] = ["left", "router", "right"].map(|name| lab.namespace(name));
    left_wire.join_with_offloads(&left, "eth0", "192.0.2.1/24");
    left_wire.join_with_offloads(&router, "eth0", "192.0.2.2/24");
    right_wire.join_with_offloads(&router, "eth1", "198.51.100.1/24");
    right_wire.join_with_offloads(&right, "eth0", "198.51.100.2/24");
    router.ok("sysctl -qw net.ipv6.conf.all.forwarding=1");
    let table = |dev: &str, local: &str, remote: &str, address: &str| {
        format!(
            "[[tunnel]]\ndev = \"{dev}\"\nlocal = \"{local}\"\nremote = \"{remote}\"\naddress = \"{address}\"\nmtu = 1480\n"
        )
    };
    let both = [
        table("t0", "192.0.2.2", "192.0.2.1", "2001:db8:1::2/64"),
        table("t1", "198.51.100.1", "198.51.100.2", "2001:db8:2::1/64"),
    ];
    let file = router.file("router.toml", &both.concat());
    let _daemons = [
        Daemon::isatap(&router, &format!("run {file} --kernel-path require")),
        Daemon::isatap(
            &left,
            "tunnel --local 192.0.2.1 --remote 192.0.2.2 --address 2001:db8:1::1/64 --mtu 1480 --kernel-path require",
        ),
        Daemon::isatap(
            &right,
            "tunnel --local 198.51.100.2 --remote 198.51.100.1 --address 2001:db8:2::2/64 --mtu 1480 --kernel-path require",
        ),
    ];
    left.ok("ip -6 route add 2001:db8:2::/64 dev tun6in4");
    right.ok("ip -6 route add 2001:db8:1::/64 dev tun6in4");
    peers::ping(&left, "2001:db8:2::2");
    left.ok("ping -6 -n -q -c 200 -i 0.01 -W 2 2001:db8:2::2 | grep -q ' 0% packet loss'");
    let rates = peers::iperf3(&left, &right, "2001:db8:2::2".parse().unwrap());
    assert!(rates.iter().all(|&rate| rate > 3e7), "{rates:?}");
    carries(&left, 100);
}

/// What IPv4 says of a flow that is in the kernel is heeded soon, and what IPsec says at once.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_flow_ends_with_what_allowed_it() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ([left, right], [_of_left, of_right]) = pair(&lab, &wire, "--kernel-path require");
    peers::ping(&left, THEIRS);
    left.start("flow", &format!("ping -6 -n -i 0.05 {THEIRS}"));
    carries(&right, 20);
    let reaches = || left.succeeds(&format!("ping -6 -n -c 2 -i 0.2 -W 1 {THEIRS}"));

    // A rule of the firewall: 10 seconds at most, though it was to be passed by, and the flow goes on.
    right.ok("nft 'add table ip filter; add chain ip filter input { type filter hook input priority 0; }; \
              add rule ip filter input ip protocol 41 drop'");
    wait_until("the firewall to be heeded", Duration::from_secs(15), || !reaches());
    right.ok("nft delete table ip filter");
    wait_until("the flow to go on", PATIENCE, reaches);

    // A policy of IPsec: nothing goes past it.
    wait_until("rows", PATIENCE, || status(&right, ".kernel_path.rows > 0"));
    right.ok("ip xfrm policy add dir out src 203.0.113.1 dst 203.0.113.2 tmpl proto esp mode transport");
    wait_until("the rows to go", PATIENCE, || status(&right, ".kernel_path.rows == 0"));
    let before = carried(&right);
    assert!(reaches());
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(carried(&right), before);
    right.ok("ip xfrm policy flush");
    wait_until("rows again", PATIENCE, || reaches() && status(&right, ".kernel_path.rows > 0"));

    // The address that it is received by.
    right.ok(&format!("ip address del {RIGHT}/24 dev eth0"));
    wait_until("the end of the flow", PATIENCE, || !reaches());
    assert!(of_right.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn all_packets_of_a_link_that_is_recorded_are_seen() {
    let lab = Lab::new();
    let wire = lab.wire();
    let record = lab.namespace("folder").directory().join("all.pcap");
    let ([left, _right], [of_left, _of_right]) =
        pair(&lab, &wire, &format!("--kernel-path require --pcap {}", record.display()));
    peers::ping(&left, THEIRS);
    left.ok(&format!("ping -6 -n -q -c 100 -i 0.01 {THEIRS}"));
    assert!(status(&left, ".kernel_path | .on and .sent == 0 and .received == 0"));
    assert!(of_left.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn without_the_capability_the_daemon_carries_all_and_says_why() {
    let lab = Lab::new();
    let wire = lab.wire();
    let ours = lab.namespace("ours");
    wire.join(&ours, "eth0", &format!("{LEFT}/24"));
    let tunnel = format!("tunnel --local {LEFT} --remote {RIGHT} --address {OURS}/64");
    let without = format!("setpriv --bounding-set=-bpf,-sys_admin {} {tunnel}", isatap_binary());
    let refused = ours.run(&format!("{without} --kernel-path require"));
    assert!(!refused.success() && refused.text.contains("CAP_BPF"), "{refused:#?}");
    assert!(!refused.text.contains("tun6in4 up"), "{refused:#?}");
    ours.start("daemon", &format!("{without} --kernel-path auto"));
    wait_until("the daemon", PATIENCE, || status(&ours, ".up"));
    assert!(status(&ours, ".kernel_path | (.on | not) and (.why | contains(\"CAP_BPF\"))"));
    let told = isatap(&ours, "status").text;
    assert!(told.contains("kernel path: off: cannot load"), "{told}");
    ours.stop("daemon");
    // Who does not want it is told nothing.
    ours.start("daemon", &format!("{} {tunnel} --kernel-path off", isatap_binary()));
    wait_until("the daemon", PATIENCE, || status(&ours, ".up and .kernel_path == null"));
}
