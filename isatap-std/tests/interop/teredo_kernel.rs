//! Teredo in the kernel's path: data of peers that know each other, without TCP.

use std::net::Ipv6Addr;
use std::time::Duration;

use crate::common::teredo::{Internet, NATIVE, Nat, PORT, decodes, download, miredo_client, our_client};
use crate::common::{Lab, Namespace, Node, PATIENCE, isatap_binary, peers, status, wait_until};
use crate::kernel_path::parts::tables;

const REQUIRED: &str = "--kernel-path require";

/// A number of what the daemon says of itself.
fn told(namespace: &Namespace, filter: &str) -> u64 {
    namespace.ok(&format!("{} status -j | jq '{filter}'", isatap_binary())).trim().parse().unwrap()
}

/// The kernel carries most packets of a flow, in both directions.
#[track_caller]
fn carries(namespace: &Namespace, to: &str) {
    carries_by(namespace, "teredo", to);
}

/// The same of a flow by this device.
#[track_caller]
pub(crate) fn carries_by(namespace: &Namespace, device: &str, to: &str) {
    let carried = || {
        let told =
            namespace.ok(&format!("{} status {device} -j | jq '.kernel_path | .sent, .received'", isatap_binary()));
        let mut numbers = told.split_whitespace().map(|number| number.parse::<u64>().unwrap());
        [numbers.next().unwrap(), numbers.next().unwrap()]
    };
    let before = carried();
    namespace.ok(&format!("ping -6 -n -q -c 300 -i 0.005 -I {device} {to}"));
    wait_until(&format!("packets that the kernel carries by {device}"), PATIENCE, || {
        carried().iter().zip(before).all(|(now, before)| *now >= before + 200)
    });
}

/// Every size arrives as it was; the other end is miredo's.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn our_client_and_miredo_s_carry_a_flow_of_which_the_kernel_has_most() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let _server = internet.miredo_server();
    let [a, b] = [1, 2].map(|number| internet.home(number, Nat::PortRestricted));
    let capture = internet.wire.capture("udp");
    let (daemon, ours) = our_client(&a.client, REQUIRED);
    let theirs = miredo_client(&b.client);
    peers::ping(&a.client, &theirs.to_string());
    carries(&a.client, &theirs.to_string());
    // This process has one client, and will have no other link.
    assert_eq!(tables(&a.client, &daemon), [2_048; 2]);
    let before = [told(&a.client, ".packets.tunnelled"), told(&a.client, ".packets.delivered")];
    for _ in 0..3 {
        peers::ping_sizes(&a.client, &theirs.to_string(), 1280);
        peers::ping_sizes(&b.client, &ours.to_string(), 1280);
    }
    download(&a.client, &b.client, theirs);
    download(&b.client, &a.client, ours);
    // What the kernel carried is in the counters of the link.
    wait_until("counters of the link", PATIENCE, || {
        let now = [told(&a.client, ".packets.tunnelled"), told(&a.client, ".packets.delivered")];
        now[0] > before[0] + 50 && now[1] > before[1] + 50
    });
    // Who is heard by the kernel alone stays reachable.
    assert!(status(&a.client, ".teredo.peers | any(.trusted and .reachable)"));
    decodes(&capture, 300);
    assert!(daemon.terminate(PATIENCE).success());
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn relay_and_client_of_ours_carry_a_flow_of_a_native_host_in_the_kernel() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let relayed = internet.our_relay(REQUIRED);
    let a = internet.home(1, Nat::PortRestricted);
    let (_client, ours) = our_client(&a.client, REQUIRED);
    peers::ping(&a.client, NATIVE);
    carries(&a.client, NATIVE);
    assert!(told(&relayed.relay, ".kernel_path.sent") > 100 && told(&relayed.relay, ".kernel_path.received") > 100);
    peers::ping_sizes(&a.client, NATIVE, 1280);
    peers::ping_sizes(&relayed.native, &ours.to_string(), 1280);
    // Datagrams of a program, of all lengths, in both directions: the checksum of each is looked at.
    let echo = relayed.native.file("echo.sh", "exec socat -b 65536 UDP6-LISTEN:7,fork PIPE\n");
    relayed.native.start("echo", &format!("sh {echo}"));
    wait_until("an echo server", PATIENCE, || relayed.native.succeeds("ss -uln | grep -q ':7 '"));
    let script = a.client.file("datagrams.py", DATAGRAMS);
    let output = a.client.run_for(Duration::from_secs(60), &format!("python3 {script} {NATIVE}"));
    assert_eq!(output.status, 0, "{output:#?}");
    relayed.native.stop("echo");
    download(&a.client, &relayed.native, NATIVE.parse().unwrap());
}

const DATAGRAMS: &str = r#"
import os, socket, sys
s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
s.connect((sys.argv[1], 7))
s.settimeout(2)
lost = 0
for n in range(0, 1232, 3):
    sent = os.urandom(n + 1)[:1232]
    s.send(sent)
    try:
        assert s.recv(65536) == sent, n
    except TimeoutError:
        lost += 1
sys.exit(lost > 4)
"#;

/// Nobody comes in by another's row: what is admitted in the kernel is what the daemon admits.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn who_forges_a_port_or_an_address_does_not_come_in_by_a_row() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let (_server, _daemon) = internet.our_server();
    let [a, b, forger] = [("a", 1), ("b", 2), ("forger", 66)].map(|(name, number)| internet.host(name, number));
    let ((_a, of_a), (b_daemon, of_b)) = (our_client(&a, REQUIRED), our_client(&b, REQUIRED));
    peers::ping(&a, &of_b.to_string());
    carries(&a, &of_b.to_string());
    let script = forger.file("forge.py", FORGE);
    let came = || -> u64 {
        let told = a.ok("grep -w Icmp6InEchos /proc/net/snmp6");
        told.split_whitespace().last().unwrap().parse().unwrap()
    };
    let forge = |source: &str, inner: Ipv6Addr, destination: Ipv6Addr, sum: &str| {
        let before = came();
        forger.ok(&format!("python3 {script} {source} 203.0.113.1 {PORT} {inner} {destination} {sum}"));
        std::thread::sleep(Duration::from_millis(300));
        came() - before
    };
    let right = format!("203.0.113.2 {PORT}");
    // Who writes all that is right is who he says he is, to whomever: 20 requests, with a checksum and without.
    let carried = told(&a, ".kernel_path.received");
    assert_eq!(forge(&right, of_b, of_a, "good"), 20);
    assert_eq!(forge(&right, of_b, of_a, "none"), 20);
    wait_until("them to be the kernel's", PATIENCE, || told(&a, ".kernel_path.received") >= carried + 30);
    let stranger: Ipv6Addr = NATIVE.parse().unwrap();
    let mut other = of_a.octets();
    other[15] ^= 1;
    for (source, inner, destination, sum) in [
        (format!("203.0.113.2 {}", PORT + 1), of_b, of_a, "good"),
        (format!("203.0.113.66 {PORT}"), of_b, of_a, "good"),
        (right.clone(), stranger, of_a, "good"),
        (right.clone(), of_b, other.into(), "good"),
        (right.clone(), of_b, of_a, "bad"),
    ] {
        assert_eq!(forge(&source, inner, destination, sum), 0, "{source} {inner} {destination} {sum}");
    }
    // Nobody is there any more: nothing stands for longer than a row is good.
    assert!(b_daemon.terminate(PATIENCE).success());
    wait_until("the rows to go", Duration::from_secs(20), || status(&a, ".kernel_path.rows == 0"));
}

const FORGE: &str = r#"
import os, socket, struct, sys
source, port, destination, to, inner_source, inner_destination, kind = sys.argv[1:8]

def checksum(data):
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

v4, v6 = socket.inet_aton, (lambda text: socket.inet_pton(socket.AF_INET6, text))
sender = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
for n in range(20):
    message = bytes([128, 0, 0, 0]) + os.urandom(4 + n)
    pseudo = v6(inner_source) + v6(inner_destination) + struct.pack("!II", len(message), 58)
    message = message[:2] + struct.pack("!H", checksum(pseudo + message)) + message[4:]
    inner = struct.pack("!IHBB", 6 << 28, len(message), 58, 64) + v6(inner_source) + v6(inner_destination) + message
    udp = struct.pack("!HHHH", int(port), int(to), 8 + len(inner), 0)
    sum_ = checksum(v4(source) + v4(destination) + struct.pack("!HH", 17, 8 + len(inner)) + udp + inner) or 0xffff
    sum_ = {"good": sum_, "none": 0, "bad": sum_ ^ 0x0100}[kind]
    udp = udp[:6] + struct.pack("!H", sum_)
    header = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(inner), 0, 0, 64, 17, 0) + v4(source) + v4(destination)
    sender.sendto(header + udp + inner, (destination, 0))
"#;

/// What lies behind a UDP packet in its IPv6 packet [RFC 9868] is in no checksum of that.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_packet_with_a_surplus_area_has_the_checksum_of_all_its_bytes() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let relayed = internet.our_relay(REQUIRED);
    let a = internet.home(1, Nat::PortRestricted);
    // Its socket looks at each checksum.
    let (_client, ours) = our_client(&a.client, "--kernel-path off");
    peers::ping(&a.client, NATIVE);
    let script = relayed.native.file("surplus.py", SURPLUS);
    let came = || -> u64 {
        let told = a.client.ok("grep -w Udp6NoPorts /proc/net/snmp6");
        told.split_whitespace().last().unwrap().parse().unwrap()
    };
    for surplus in [0, 8, 1] {
        let (before, carried) = (came(), told(&relayed.relay, ".kernel_path.sent"));
        relayed.native.ok(&format!("python3 {script} {NATIVE} {ours} {surplus}"));
        wait_until(&format!("UDP packets with {surplus} bytes behind them"), PATIENCE, || came() >= before + 195);
        if surplus == 0 {
            wait_until("them to be the kernel's", PATIENCE, || {
                told(&relayed.relay, ".kernel_path.sent") > carried + 100
            });
        }
    }
}

const SURPLUS: &str = r#"
import socket, struct, sys, time
source, destination, surplus = sys.argv[1], sys.argv[2], int(sys.argv[3])
v6 = lambda text: socket.inet_pton(socket.AF_INET6, text)

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

sender = socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_RAW)
for n in range(200):
    udp = struct.pack("!HHHHI", 5555, 7777, 12, 0, n)
    sum_ = checksum(v6(source) + v6(destination) + struct.pack("!II", 12, 17) + udp) or 0xffff
    udp = udp[:6] + struct.pack("!H", sum_) + udp[8:] + bytes(range(1, 9))[:surplus]
    header = struct.pack("!IHBB", 6 << 28, len(udp), 17, 64) + v6(source) + v6(destination)
    sender.sendto(header + udp, (destination, 0))
    time.sleep(0.005)
"#;

/// Who makes a relay believe him elsewhere again and again, or asks a client for a bubble each time, costs rows of his own.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_peer_that_is_in_question_all_the_time_costs_others_no_rows() {
    let lab = Lab::new();
    let internet = Internet::new(&lab);
    let relayed = internet.our_relay(REQUIRED);
    let (a, hostile) = (internet.host("a", 1), internet.host("hostile", 66));
    let (_client, of_a) = our_client(&a, REQUIRED);
    peers::ping(&a, NATIVE);
    carries(&a, NATIVE);
    let script = hostile.file("hostile.py", HOSTILE);
    for (who, command) in [(&relayed.relay, "moves".to_owned()), (&a, format!("asks {of_a}"))] {
        hostile.start("hostile", &format!("python3 -u {script} {command}"));
        let log = hostile.directory().join("hostile.log");
        wait_until("him to begin", PATIENCE, || {
            // The relay asks him where he is.
            let _ = relayed.native.run("ping -6 -n -q -c 1 -W 0.2 2001:0:c633:6401:1016:63bf:34ff:8ebd");
            hostile.succeeds(&format!("grep -q begins {}", log.display()))
        });
        let before = told(who, ".kernel_path.sent + .kernel_path.received");
        a.ok(&format!("ping -6 -n -q -c 400 -i 0.005 {NATIVE}"));
        hostile.stop("hostile");
        wait_until(&format!("rows that stay, of {}", who.name()), Duration::from_secs(3), || {
            told(who, ".kernel_path.sent + .kernel_path.received") >= before + 700
        });
    }
}

const HOSTILE: &str = r#"
import socket, struct, sys, time
v4, v6 = socket.inet_aton, (lambda text: socket.inet_pton(socket.AF_INET6, text))
me = ("203.0.113.66", 40000)
inverted = lambda data: bytes(byte ^ 0xff for byte in data)
own = v6("2001:0:c633:6401::")[:8] + b"\x10\x16" + inverted(struct.pack("!H", me[1])) + inverted(v4(me[0]))
bubble = lambda to: struct.pack("!IHBB", 6 << 28, 0, 59, 255) + own + to
sockets = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2)]
for number, each in enumerate(sockets):
    each.bind((me[0], me[1] + number))

def checksum(data):
    total = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff

if sys.argv[1] == "moves":
    # The relay believes who repeats the address that its bubble came from, wherever he is.
    while True:
        came = sockets[0].recv(2000)
        came = came[8:] if came[:2] == b"\0\0" else came
        if came[0] >> 4 == 6 and came[6] == 59:
            break
    packets = [(each, bubble(came[8:24]), ("198.51.100.9", 41000)) for each in sockets]
else:
    # A bubble by the server, and data from where its address says: each voids what the other began.
    client = v6(sys.argv[2])
    udp = struct.pack("!HHHH", 5, 9, 12, 0) + b"abcd"
    sum_ = checksum(own + client + struct.pack("!II", 12, 17) + udp)
    udp = udp[:6] + struct.pack("!H", sum_) + udp[8:]
    data = struct.pack("!IHBB", 6 << 28, 12, 17, 64) + own + client + udp
    packets = [(sockets[0], bubble(client), ("198.51.100.1", 3544)), (sockets[0], data, ("203.0.113.1", 40000))]
print("begins")
while True:
    for sender, packet, to in packets:
        sender.sendto(packet, to)
        time.sleep(0.005)
"#;
