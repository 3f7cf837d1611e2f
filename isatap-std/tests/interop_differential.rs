//! What the kernel's `sit` lets in, and what we do: the same ten thousand packets
//! through both, one mode after another.
//!
//! We must never let in what the kernel drops. Where we are stricter the requirement
//! of the reason says why, and the reason stands in the list of its mode: a new one
//! fails the test until somebody has written down that it is meant.
#![cfg(target_os = "linux")]

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use common::generator::{self, Addresses, Numbers};
use common::{Guest, Lab, Namespace, Node, peers, wait_until};
use isatap_core::drop_reason::DropReason;
use isatap_std::check::{Checker, IsatapOptions, LinkOptions};
use isatap_std::lab::pcap;

const PACKETS: u32 = 10_000;

/// The flow label of the first packet: what a kernel sends of its own accord has none, or a random one.
const FIRST_LABEL: u32 = 0x1_0000;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 3);
const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(131, 107, 71, 209);

/// Reasons for which we drop before a mechanism is asked and the kernel's tunnel does not: its
/// own IPv6 drops most of these later.
const STRICTER: [DropReason; 11] = [
    DropReason::InnerVersion,
    DropReason::Truncated,
    DropReason::Jumbogram,
    DropReason::InnerSourceRefused,
    DropReason::InnerDestinationRefused,
    DropReason::ExtensionHeaders,
    DropReason::RoutingHeader,
    DropReason::Nesting,
    DropReason::OwnSource,
    DropReason::LoopDestination,
    DropReason::OuterSourceRefused,
];

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn isa_42_we_let_in_nothing_that_the_kernel_drops_as_isatap_host() {
    fn inner_source(numbers: &mut Numbers, outer: Ipv4Addr) -> Ipv6Addr {
        let prefix = numbers.pick(&["2001:db8:0:7::", "2001:db8:0:7::", "fe80::", "2001:db8:9:9::", "2600::"]);
        let identifier =
            numbers.pick(&[0x5efe_u64, 0x5efe, 0x0200_5efe, 0x0100_5efe, 0x0300_5efe, 0x0001_5efe, 0x5eff]);
        let embedded = if numbers.one_in(3) { numbers.pick(&[OWN, ROUTER, PEER, STRANGER, PUBLIC]) } else { outer };
        let prefix: Ipv6Addr = prefix.parse().unwrap();
        Ipv6Addr::from_bits(prefix.to_bits() | u128::from(identifier) << 32 | u128::from(embedded.to_bits()))
    }
    let addresses = Addresses {
        own: OWN,
        outer_sources: vec![ROUTER, PEER, STRANGER, PUBLIC],
        inner_sources: inner_source,
        inner_destinations: ["2001:db8:0:7:0:5efe:a00:2", "fe80::5efe:a00:2", "fe80::200:5efe:a00:2", "2001:db8:1::2"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
    };
    let options = IsatapOptions {
        locals: vec![OWN],
        routers: vec![ROUTER],
        prefixes: vec!["2001:db8:0:7::/64".parse().unwrap()],
        ..IsatapOptions::default()
    };
    let mut too_trusting = options.clone();
    too_trusting.routers.push(STRANGER);
    compare(
        &format!(
            "ip tunnel add {0} mode isatap local {OWN} ttl 64 && ip tunnel prl dev {0} prl-default {ROUTER} && \
             ip link set {0} up && ip address add 2001:db8:0:7:0:5efe:a00:2/64 dev {0}",
            peers::DEVICE
        ),
        &addresses,
        &LinkOptions::Isatap(options),
        &LinkOptions::Isatap(too_trusting),
        &[DropReason::InnerSourceUnspecified],
    );
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_13_we_let_in_nothing_that_the_kernel_drops_from_a_configured_tunnel() {
    let addresses = Addresses {
        own: OWN,
        outer_sources: vec![PEER, PEER, PEER, STRANGER, ROUTER],
        inner_sources: |numbers, _| numbers.pick(&["2001:db8:1::1", "2002:a00:2::1", "fe80::a00:3"]).parse().unwrap(),
        inner_destinations: ["2001:db8:2::2", "fe80::a00:2", "2001:db8:0:7:0:5efe:a00:2"]
            .map(|text| text.parse().unwrap())
            .to_vec(),
    };
    let tunnel = |remote| LinkOptions::Configured { local: OWN, remote, addresses: vec![] };
    compare(
        &format!("ip tunnel add {0} mode sit local {OWN} remote {PEER} ttl 64 && ip link set {0} up", peers::DEVICE),
        &addresses,
        &tunnel(PEER),
        &tunnel(STRANGER),
        &[],
    );
}

/// Sends the same packets to a kernel that `set_up` gave a tunnel and to a [`Checker`].
///
/// `wrong` is a node that lets in too much: the comparison has to find it out.
#[track_caller]
fn compare(set_up: &str, addresses: &Addresses, right: &LinkOptions, wrong: &LinkOptions, stricter: &[DropReason]) {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.guest("kernel", &[&wire]);
    let sender = lab.namespace("sender");
    wire.join(&sender, "eth0", "10.0.0.77/24");
    peers::ipv4(&kernel, &format!("{OWN}/24"));
    // Sources from anywhere: the kernel drops what has no way back otherwise.
    kernel.ok(
        "ip route add default via 10.0.0.77 && sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0",
    );
    kernel.ok(set_up);
    let device = peers::DEVICE;
    kernel.start(
        "let-in",
        &format!("tcpdump -i {device} -Q in --immediate-mode -U -B 8192 -s 96 -w {}/let-in.pcap", "/run/share"),
    );
    wait_until("tcpdump in the guest", common::PATIENCE, || kernel.log("let-in").contains("listening on"));

    let mut numbers = Numbers(41);
    let packets: Vec<Vec<u8>> =
        (0..PACKETS).map(|n| generator::packet(&mut numbers, addresses, FIRST_LABEL + n)).collect();
    let everything: Vec<u32> = (0..PACKETS).collect();
    send(&sender, &kernel, &packets, &everything);
    let mut by_kernel = let_in(&kernel);

    let ours = Checker::new(std::slice::from_ref(right)).unwrap();
    let judged: Vec<_> = packets.iter().map(|packet| ours.judge(packet).reason).collect();
    // A guest may lose a packet on its way: what only we let in gets two more chances.
    for _ in 0..2 {
        let missing: Vec<u32> =
            everything.iter().copied().filter(|&n| judged[n as usize].is_none() && !by_kernel.contains(&n)).collect();
        if !missing.is_empty() {
            send(&sender, &kernel, &packets, &missing);
            by_kernel = let_in(&kernel);
        }
    }

    let only_we: Vec<u32> =
        everything.iter().copied().filter(|&n| judged[n as usize].is_none() && !by_kernel.contains(&n)).collect();
    assert!(
        only_we.is_empty(),
        "{} packets that the kernel drops come in here, the first: {:02x?}",
        only_we.len(),
        packets[only_we[0] as usize]
    );

    let mut stricter_than_kernel = BTreeMap::new();
    for &n in &by_kernel {
        if let Some(reason) = judged[n as usize] {
            *stricter_than_kernel.entry(reason).or_insert(0) += 1;
        }
    }
    let both = judged.iter().filter(|reason| reason.is_none()).count();
    let neither = (0..PACKETS).filter(|&n| judged[n as usize].is_some() && !by_kernel.contains(&n)).count();
    eprintln!("{PACKETS} packets: {both} let in by both, {neither} by neither; where we are stricter:");
    for (reason, count) in &stricter_than_kernel {
        eprintln!("  {count:5}  {}  {}", reason.requirement(), reason.as_str());
        assert!(
            STRICTER.contains(reason) || stricter.contains(reason),
            "{count} packets are dropped here alone for {}: is that meant? The first: {:02x?}",
            reason.as_str(),
            by_kernel.iter().find(|&&n| judged[n as usize] == Some(*reason)).map(|&n| &packets[n as usize])
        );
    }
    // A comparison in which everything is dropped, or nothing, compares nothing.
    assert!(both > 1_000 && neither > 1_000, "{both} and {neither}");

    // The control: what lets in too much is found.
    let wrong = Checker::new(std::slice::from_ref(wrong)).unwrap();
    let found =
        (0..PACKETS).filter(|n| !by_kernel.contains(n) && wrong.judge(&packets[*n as usize]).is_accepted()).count();
    assert!(found > 50, "a node that believes a stranger was told from the kernel by {found} packets only");
}

/// Sends packets as Ethernet frames to the guest's card, at most some 4,000 a second.
fn send(sender: &Namespace, kernel: &Guest, packets: &[Vec<u8>], which: &[u32]) {
    let address: Vec<u8> = kernel
        .ok("cat /sys/class/net/eth0/address")
        .trim()
        .split(':')
        .map(|byte| u8::from_str_radix(byte, 16).unwrap())
        .collect();
    let mut file = Vec::new();
    for &n in which {
        let packet = &packets[n as usize];
        let mut frame = [&address[..], &[2, 0, 0, 0, 0, 77, 8, 0], packet].concat();
        // Ethernet has a shortest frame.
        frame.resize(frame.len().max(60), 0);
        file.extend((frame.len() as u16).to_be_bytes());
        file.extend(frame);
    }
    std::fs::write(sender.shared().join("frames"), file).unwrap();
    let script = format!(
        r#"
import socket, struct, time
card = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
card.bind(("eth0", 0))
frames = open("{}/frames", "rb").read()
at = sent = 0
while at < len(frames):
    length, = struct.unpack_from("!H", frames, at)
    card.send(frames[at + 2:at + 2 + length])
    at += 2 + length
    sent += 1
    if sent % 8 == 0:
        time.sleep(0.002)
"#,
        sender.directory().display()
    );
    let script = sender.file("send.py", &script);
    let output = sender.run_for(Duration::from_secs(60), &format!("python3 {script}"));
    assert!(output.success(), "{output:#?}");
}

/// The packets that the kernel's tunnel device has let in so far.
fn let_in(kernel: &Guest) -> BTreeSet<u32> {
    let path = kernel.shared().join("let-in.pcap");
    let mut before = 0;
    // Until nothing more comes for half a second.
    wait_until("the kernel to be done", common::PATIENCE, || {
        std::thread::sleep(Duration::from_millis(500));
        let now = std::fs::metadata(&path).map_or(0, |file| file.len());
        std::mem::replace(&mut before, now) == now
    });
    let packets = pcap::read(&std::fs::read(&path).unwrap()).expect("a capture of link type raw IP");
    packets
        .iter()
        .filter_map(|(_, packet)| generator::label(packet)?.checked_sub(FIRST_LABEL))
        .filter(|&n| n < PACKETS)
        .collect()
}
