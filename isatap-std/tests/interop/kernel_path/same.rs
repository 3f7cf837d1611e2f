//! What goes out and comes in is the same with the kernel's path and without, byte by byte.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::time::Duration;

use super::{LEFT, RIGHT, carried};
use crate::common::generator::{self, Addresses, Numbers};
use crate::common::tunnel::{OURS, THEIRS};
use crate::common::{Daemon, Lab, Namespace, Node, PATIENCE, wait_until};
use isatap_std::lab::pcap;

/// The flow label of the first packet: what kernels send of their own accord has none, or a random one.
const FIRST_LABEL: u32 = 0x1_0000;
const PACKETS: u32 = 6_000;

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_comes_in_is_the_same_with_the_kernels_path_and_without() {
    let addresses = Addresses {
        own: RIGHT,
        outer_sources: vec![LEFT, LEFT, LEFT, Ipv4Addr::new(192, 0, 2, 9)],
        inner_sources: |numbers, _| numbers.pick(&[OURS, OURS, "fe80::c000:201", "2001:db8:1::1"]).parse().unwrap(),
        inner_destinations: [THEIRS, THEIRS, "fe80::c000:202"].map(|text| text.parse().unwrap()).to_vec(),
    };
    let mut numbers = Numbers(41);
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|n| generator::packet(&mut numbers, &addresses, FIRST_LABEL + n))
        .map(with_transport)
        .collect();
    let [with, without] = ["require", "off"].map(|mode| let_in(&packets, mode));
    // A comparison in which everything comes in, or nothing, compares nothing.
    assert!(with.len() > 500 && with.len() < packets.len() / 2, "{}", with.len());
    let lost: Vec<_> = without.keys().filter(|label| !with.contains_key(*label)).collect();
    let more: Vec<_> = with.keys().filter(|label| !without.contains_key(*label)).collect();
    assert!(lost.is_empty() && more.is_empty(), "lost {lost:?}, let in alone {more:?}");
    assert_eq!(with, without);
}

/// What most packets carry: the generator's have no next header, which the programs leave to the daemon.
fn with_transport(mut packet: Vec<u8>) -> Vec<u8> {
    let header = usize::from(packet.first().copied().unwrap_or_default() & 15) * 4;
    if let Some(next) = packet.get_mut(header + 6).filter(|next| **next == 59) {
        *next = 17;
    }
    packet
}

/// The inner packets that come out of a tunnel's device, by their flow labels.
fn let_in(packets: &[Vec<u8>], mode: &str) -> BTreeMap<u32, Vec<u8>> {
    let lab = Lab::new();
    let wire = lab.wire();
    let [sender, ours] = [("sender", LEFT), ("ours", RIGHT)].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", &format!("{address}/24"));
        namespace
    });
    ours.ok("sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0");
    let _daemon = Daemon::isatap(
        &ours,
        &format!(
            "tunnel --local {RIGHT} --remote {LEFT} --address {THEIRS}/64 --no-neighbor-probes --kernel-path {mode}"
        ),
    );
    let file = ours.shared().join("let-in.pcap");
    ours.start(
        "let-in",
        &format!("tcpdump -i tun6in4 -Q in --immediate-mode -U -B 65536 -s 66000 -Z root -w {}", file.display()),
    );
    wait_until("tcpdump", PATIENCE, || ours.log("let-in").contains("listening on"));
    // Once for the decisions, and once more.
    for _ in 0..2 {
        send_frames(&sender, &ours, packets);
    }
    wait_for_the_last(&file);
    if mode == "require" {
        wait_until("packets that the kernel lets in", PATIENCE, || carried(&ours)[1] > 300);
    }
    let captured = pcap::read(&std::fs::read(&file).unwrap()).expect("a capture of link type raw IP");
    let ours = |packet: Vec<u8>| Some((generator::label(&packet)?.checked_sub(FIRST_LABEL)?, packet));
    captured.into_iter().filter_map(|(_, packet)| ours(packet.to_vec())).filter(|(n, _)| *n < PACKETS).collect()
}

/// Until nothing more comes for half a second.
#[track_caller]
fn wait_for_the_last(capture: &Path) {
    let size = || std::fs::metadata(capture).map_or(0, |file| file.len());
    let mut before = 0;
    wait_until("the last packet", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        std::mem::replace(&mut before, size()) == size()
    });
}

/// Sends packets as Ethernet frames to the card of `to`.
fn send_frames(from: &Namespace, to: &Namespace, packets: &[Vec<u8>]) {
    let address = to.ok("cat /sys/class/net/eth0/address").trim().replace(':', "");
    let open = format!(
        "socket.socket(socket.AF_PACKET, socket.SOCK_RAW)\nfront = bytes.fromhex(\"{address}02000000004d0800\")\n\
         way.bind((\"eth0\", 0))"
    );
    // Ethernet has a shortest frame.
    play(from, packets, &open, "way.send(front + packet.ljust(46, bytes(1)))");
}

/// Sends packets, some 4,000 a second: `way` is opened so, and sends each `packet` so.
#[track_caller]
fn play(from: &Namespace, packets: &[Vec<u8>], open: &str, send: &str) {
    let bytes: Vec<u8> =
        packets.iter().flat_map(|packet| [&(packet.len() as u16).to_be_bytes()[..], packet].concat()).collect();
    std::fs::write(from.shared().join("packets"), bytes).unwrap();
    let script = format!(
        r#"
import socket, struct, time
way = {open}
packets = open("{}/packets", "rb").read()
at = sent = 0
while at < len(packets):
    length, = struct.unpack_from("!H", packets, at)
    packet = packets[at + 2:at + 2 + length]
    at += 2 + length
    {send}
    sent += 1
    if sent % 8 == 0:
        time.sleep(0.002)
"#,
        from.directory().display()
    );
    let script = from.file("play.py", &script);
    let output = from.run_for(Duration::from_secs(60), &format!("python3 {script}"));
    assert!(output.success(), "{output:#?}");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_goes_out_is_the_same_with_the_kernels_path_and_without() {
    let mut numbers = Numbers(6);
    let packets: Vec<Vec<u8>> = (0..2_000).map(|n| outgoing(&mut numbers, FIRST_LABEL + n)).collect();
    for options in ["", "--ttl inherit --tos inherit --ecn normal", "--tos 0xb8 --ttl 7"] {
        let [with, without] = ["require", "off"].map(|mode| sent(&packets, mode, options));
        assert!(with.len() > 1_000 && with.len() < packets.len(), "{}", with.len());
        assert_eq!(with.keys().collect::<Vec<_>>(), without.keys().collect::<Vec<_>>(), "{options}");
        for (label, packet) in &with {
            assert_eq!(packet, &without[label], "{options}: {label}");
        }
    }
}

/// An IPv6 packet as programs send them: any class, hop limit and next header; some too long.
fn outgoing(numbers: &mut Numbers, label: u32) -> Vec<u8> {
    let length = numbers.pick(&[0, 1, 8, 100, 1_000, 1_239, 1_240, 1_241, 1_439, 1_440, 1_441]) as usize;
    let class = u32::from(numbers.next() as u8);
    let mut packet = (6 << 28 | class << 20 | label).to_be_bytes().to_vec();
    packet.extend((length as u16).to_be_bytes());
    packet.extend([numbers.pick(&[6, 17, 17, 59, 58, 0, 44]), numbers.pick(&[0, 1, 2, 64, 255])]);
    let source = numbers.pick(&[OURS, OURS, OURS, "fe80::c000:201"]);
    packet.extend(source.parse::<Ipv6Addr>().unwrap().octets());
    packet.extend(numbers.pick(&[THEIRS, THEIRS, "fe80::c000:202"]).parse::<Ipv6Addr>().unwrap().octets());
    packet.resize(40 + length, label as u8);
    packet
}

/// The outer packets that leave, by the flow labels of the inner ones.
fn sent(packets: &[Vec<u8>], mode: &str, options: &str) -> BTreeMap<u32, Vec<u8>> {
    let lab = Lab::new();
    let wire = lab.wire();
    let [ours, other] = [("ours", LEFT), ("other", RIGHT)].map(|(name, address)| {
        let namespace = lab.namespace(name);
        wire.join(&namespace, "eth0", &format!("{address}/24"));
        namespace
    });
    let tunnel = format!("tunnel --local {LEFT} --remote {RIGHT} --address {OURS}/64 --mtu 1480 --no-neighbor-probes");
    let _daemon = Daemon::isatap(&ours, format!("{tunnel} --kernel-path {mode} {options}").trim_end());
    // The neighbour's link-layer address is found before, as packets wait for it: three at most.
    ours.ok(&format!("ping -n -c 1 -W 5 {RIGHT}"));
    let file = other.shared().join("sent.pcap");
    other.start(
        "sent",
        &format!(
            "tcpdump -i eth0 -Q in -y EN10MB --immediate-mode -U -B 65536 -s 66000 -Z root -w {} ip proto 41",
            file.display()
        ),
    );
    wait_until("tcpdump", PATIENCE, || other.log("sent").contains("listening on"));
    // Once for the decisions, and once more. What is longer than the device carries is refused here.
    for _ in 0..2 {
        let open = "socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, 0x86dd)\nimport contextlib";
        let send = "with contextlib.suppress(OSError): way.sendto(packet, (\"tun6in4\", 0x86dd))";
        play(&ours, packets, open, send);
    }
    wait_for_the_last(&file);
    if mode == "require" {
        wait_until("packets that the kernel sends", PATIENCE, || carried(&ours)[0] > 1_000);
    }
    other.stop("sent");
    let all = other.ok(&format!("python3 {} {}", other.file("frames.py", FRAMES), file.display()));
    let bytes = |line: &str| -> Vec<u8> {
        (0..line.len() / 2).map(|at| u8::from_str_radix(&line[at * 2..at * 2 + 2], 16).unwrap()).collect()
    };
    let labelled = |packet: Vec<u8>| Some((generator::label(packet.get(20..)?)?.checked_sub(FIRST_LABEL)?, packet));
    all.lines().map(bytes).filter_map(labelled).filter(|(n, _)| (*n as usize) < packets.len()).collect()
}

/// The packets of a capture of Ethernet frames, one a line.
const FRAMES: &str = r#"
import struct, sys
data = open(sys.argv[1], "rb").read()
at = 24
while at + 16 <= len(data):
    length, = struct.unpack_from("<I", data, at + 8)
    frame = data[at + 16:at + 16 + length]
    total, = struct.unpack_from("!H", frame, 16)
    print(frame[14:14 + total].hex())
    at += 16 + length
"#;
