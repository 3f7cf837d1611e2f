//! What the kernel's `sit` lets in, and what we do: the same ten thousand packets
//! through both, one mode after another.
//!
//! We must never let in what the kernel drops, but where a requirement says so: those
//! packets are told by their addresses, and counted. Where we are stricter the requirement
//! of the reason says why, and the reason stands in the list of its mode: a new one
//! fails the test until somebody has written down that it is meant.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::common::generator::{self, Addresses, Numbers};
use crate::common::{Guest, Lab, Namespace, Node, PATIENCE, peers, wait_until};
use isatap_core::drop_reason::DropReason;
use isatap_std::check::{Checker, Judgement, Subject};
use isatap_std::lab::pcap;
use isatap_std::resolve::Entry;
use isatap_std::spec::{IsatapHost, LinkSpec, SixRd, SixRdRole, SixToFour, SixToFourRole, Tunnel};

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
    let host = |routers: &[Ipv4Addr]| {
        let mut host = IsatapHost::new();
        (host.local, host.router) = (vec![OWN], routers.iter().copied().map(Entry::Address).collect());
        let mut subject = Subject::from(LinkSpec::from(host));
        subject.prefixes = vec!["2001:db8:0:7::/64".parse().unwrap()];
        subject
    };
    compare(
        Kernel::UserMode,
        &format!(
            "ip tunnel add {0} mode isatap local {OWN} ttl 64 && ip tunnel prl dev {0} prl-default {ROUTER} && \
             ip link set {0} up && ip address add 2001:db8:0:7:0:5efe:a00:2/64 dev {0}",
            peers::DEVICE
        ),
        &addresses,
        &[Case {
            right: host(&[ROUTER]),
            wrong: host(&[ROUTER, STRANGER]),
            stricter: &[DropReason::InnerSourceUnspecified],
            excused: &[],
        }],
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
    let to = |remote| Subject::from(tunnel(OWN, remote));
    compare(
        Kernel::UserMode,
        &format!("ip tunnel add {0} mode sit local {OWN} remote {PEER} ttl 64 && ip link set {0} up", peers::DEVICE),
        &addresses,
        &[Case { right: to(PEER), wrong: to(STRANGER), stricter: &[], excused: &[] }],
    );
}

/// The kernel's device is the same for a site's router and for a relay.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_20_we_let_in_nothing_that_the_kernel_drops_as_6to4_router_or_relay() {
    const PEER: Ipv4Addr = Ipv4Addr::new(157, 60, 0, 1);
    const RELAY: Ipv4Addr = Ipv4Addr::new(194, 207, 1, 5);
    fn inner_source(numbers: &mut Numbers, outer: Ipv4Addr) -> Ipv6Addr {
        let embedded = if numbers.one_in(3) { numbers.pick(&[PUBLIC, PEER, RELAY, STRANGER, ROUTER]) } else { outer };
        match numbers.below(4) {
            0 => numbers.pick(&["2001:db8:1::1", "2600::1"]).parse().unwrap(),
            _ => site(embedded, numbers.pick(&[0, 1, 0xffff]), numbers.next()),
        }
    }
    let addresses = Addresses {
        own: PUBLIC,
        outer_sources: vec![PEER, PEER, PEER, RELAY, RELAY, STRANGER],
        inner_sources: inner_source,
        inner_destinations: vec![
            site(PUBLIC, 0, PUBLIC.to_bits().into()),
            site(PUBLIC, 0, PUBLIC.to_bits().into()),
            site(PUBLIC, 5, 0x99),
            site(PEER, 0, 1),
            "2001:db8:2::2".parse().unwrap(),
            "2600::2".parse().unwrap(),
        ],
    };
    let sixtofour = |role| {
        let mut sixtofour = SixToFour::new();
        (sixtofour.role, sixtofour.local) = (role, vec![PUBLIC]);
        Subject::from(LinkSpec::from(sixtofour))
    };
    let believes_a_stranger = Subject::from(tunnel(PUBLIC, PEER));
    // S64-14, S64-20, S64-21, S64-22: what RFC 3964 has its routers look at, and Linux does not.
    let of_both = [
        DropReason::SixToFourOuterRefused,
        DropReason::SixToFourInnerRefused,
        DropReason::SixToFourEmbeddedRefused,
        DropReason::NativeToNative,
    ];
    compare(
        Kernel::UserMode,
        &format!(
            "ip tunnel add {0} mode sit local {PUBLIC} ttl 64 && ip link set {0} up && \
             ip address add {1}/16 dev {0}",
            peers::DEVICE,
            site(PUBLIC, 0, PUBLIC.to_bits().into())
        ),
        &addresses,
        &[
            Case {
                right: sixtofour(SixToFourRole::Router),
                wrong: believes_a_stranger.clone(),
                stricter: &[&of_both[..], &[DropReason::OutsideSite]].concat(),
                excused: &[],
            },
            Case {
                right: sixtofour(SixToFourRole::Relay),
                wrong: believes_a_stranger,
                stricter: &[&of_both[..], &[DropReason::SixToFourToSixToFour]].concat(),
                excused: &[],
            },
        ],
    );
}

/// An address in a subnet of the 6to4 site of an IPv4 address.
fn tunnel(local: Ipv4Addr, remote: Ipv4Addr) -> LinkSpec {
    let mut tunnel = Tunnel::new(remote.into());
    tunnel.local = Some(local);
    tunnel.into()
}

fn site(ipv4: Ipv4Addr, subnet: u16, identifier: u64) -> Ipv6Addr {
    let high = 0x2002_u64 << 48 | u64::from(ipv4.to_bits()) << 16 | u64::from(subnet);
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(identifier))
}

/// The domain of RFC 5969 §7.1.1. The kernel's device is the same for a customer edge and
/// for a border relay, and knows no relay that it would believe.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_22_s6r_31_we_let_in_nothing_that_the_kernel_drops_as_6rd_edge_or_relay() {
    const OWN: Ipv4Addr = Ipv4Addr::new(10, 100, 100, 1);
    const SIBLING: Ipv4Addr = Ipv4Addr::new(10, 100, 7, 9);
    fn inner_source(numbers: &mut Numbers, outer: Ipv4Addr) -> Ipv6Addr {
        let embedded = if numbers.one_in(3) { numbers.pick(&[OWN, SIBLING, ROUTER, STRANGER, PEER]) } else { outer };
        match numbers.below(5) {
            0 => numbers.pick(&["2001:db9::1", "2600::1"]).parse().unwrap(),
            _ => customer(embedded, numbers.pick(&[0, 1, 0xff]), numbers.next()),
        }
    }
    let addresses = Addresses {
        own: OWN,
        outer_sources: vec![SIBLING, SIBLING, ROUTER, STRANGER],
        inner_sources: inner_source,
        inner_destinations: vec![
            customer(OWN, 0, 1),
            customer(OWN, 0, 1),
            customer(OWN, 7, 0x99),
            customer(SIBLING, 0, 1),
            "2600::2".parse().unwrap(),
        ],
    };
    let sixrd = |role, br| {
        let mut sixrd = SixRd::new();
        (sixrd.prefix, sixrd.local) = ("2001:db8::/32".parse().ok(), Some(OWN));
        (sixrd.v4_mask_len, sixrd.role, sixrd.br) = (8, role, br);
        Subject::from(LinkSpec::from(sixrd))
    };
    let believes = |relays| sixrd(SixRdRole::CustomerEdge, relays);
    compare(
        Kernel::Stock,
        &format!(
            "ip tunnel add {0} mode sit local {OWN} ttl 64 && \
             ip tunnel 6rd dev {0} 6rd-prefix 2001:db8::/32 6rd-relay_prefix 10.0.0.0/8 && ip link set {0} up && \
             ip address add {1}/32 dev {0}",
            peers::DEVICE,
            customer(OWN, 0, 1)
        ),
        &addresses,
        &[
            Case {
                right: believes(vec![ROUTER]),
                wrong: believes(vec![ROUTER, STRANGER]),
                stricter: &[
                    DropReason::SixRdSourceMismatch,
                    DropReason::OutsideDelegation,
                    DropReason::InnerSourceUnspecified,
                ],
                // The border relay has looked who speaks (S6R-31, S6R-35), and hands on what
                // customers send to each other by it.
                excused: &[("S6R-22", |judged| {
                    let by_relay = judged.outer.is_some_and(|(source, _)| source == ROUTER);
                    by_relay && judged.inner_source.is_some_and(|source| is_of_domain(&source))
                })],
            },
            Case {
                right: sixrd(SixRdRole::BorderRelay, vec![]),
                wrong: believes(vec![ROUTER, STRANGER]),
                // S6R-33: 192.88.99.1 is a relay of 6to4.
                stricter: &[
                    DropReason::SixRdSourceMismatch,
                    DropReason::InnerSourceUnspecified,
                    DropReason::KnownRouter,
                ],
                // The hairpin: Linux drops what is for another customer.
                excused: &[("S6R-34", |judged| {
                    judged.inner_destination.is_some_and(|destination| {
                        is_of_domain(&destination) && {
                            customer(OWN, 0, 0).segments()[..4] != destination.segments()[..4]
                        }
                    })
                })],
            },
        ],
    );
}

/// An address in a subnet of a customer of `2001:db8::/32` whose IPv4 address begins with 10.
fn customer(ipv4: Ipv4Addr, subnet: u8, identifier: u64) -> Ipv6Addr {
    let high = 0x2001_0db8_u64 << 32 | u64::from(ipv4.to_bits() & 0x00ff_ffff) << 8 | u64::from(subnet);
    Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(identifier))
}

fn is_of_domain(address: &Ipv6Addr) -> bool {
    address.segments()[..2] == [0x2001, 0xdb8]
}

/// A node of ours that is held against a kernel.
struct Case<'a> {
    right: Subject,
    /// One that lets in too much: the comparison has to find it out.
    wrong: Subject,
    /// Its own reasons to drop what the kernel lets in, besides [`STRICTER`].
    stricter: &'a [DropReason],
    /// What it lets in and the kernel does not, by the requirement that wants it so.
    excused: &'a [Excuse],
}

/// A requirement, and which packets it lets in.
type Excuse = (&'static str, fn(&Judgement) -> bool);

#[derive(Clone, Copy)]
enum Kernel {
    UserMode,
    Stock,
}

/// Sends the same packets to a kernel that `set_up` gave a tunnel and to a [`Checker`] for
/// each case.
#[track_caller]
fn compare(kernel: Kernel, set_up: &str, addresses: &Addresses, cases: &[Case<'_>]) {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = match kernel {
        Kernel::UserMode => lab.guest("kernel", &[&wire]),
        Kernel::Stock => lab.stock_guest("kernel", &[&wire]),
    };
    let sender = lab.namespace("sender");
    let own = addresses.own;
    let [a, b, c, _] = own.octets();
    let gateway = Ipv4Addr::new(a, b, c, 77);
    wire.join(&sender, "eth0", &format!("{gateway}/24"));
    peers::ipv4(&kernel, &format!("{own}/24"));
    // Sources from anywhere: the kernel drops what has no way back otherwise.
    kernel.ok(&format!(
        "ip route add default via {gateway} && \
         sysctl -qw net.ipv4.conf.all.rp_filter=0 net.ipv4.conf.eth0.rp_filter=0"
    ));
    kernel.ok(set_up);
    let device = peers::DEVICE;
    kernel.start(
        "let-in",
        &format!("tcpdump -i {device} -Q in --immediate-mode -U -B 8192 -s 96 -w {}/let-in.pcap", "/run/share"),
    );
    wait_until("tcpdump in the guest", PATIENCE, || kernel.log("let-in").contains("listening on"));

    let mut numbers = Numbers(41);
    let packets: Vec<Vec<u8>> =
        (0..PACKETS).map(|n| generator::packet(&mut numbers, addresses, FIRST_LABEL + n)).collect();
    let everything: Vec<u32> = (0..PACKETS).collect();
    send(&sender, &kernel, &packets, &everything);
    let mut by_kernel = let_in(&kernel);

    let judged: Vec<Judged<'_>> = cases.iter().map(|case| Judged::new(case, &packets)).collect();
    // A guest may lose a packet on its way: what only we let in gets two more chances.
    for _ in 0..2 {
        let missing: BTreeSet<u32> = judged.iter().flat_map(|judged| judged.only_we(&by_kernel)).collect();
        if !missing.is_empty() {
            send(&sender, &kernel, &packets, &Vec::from_iter(missing));
            by_kernel = let_in(&kernel);
        }
    }
    for judged in judged {
        judged.compare(&packets, &by_kernel);
    }
}

/// What one of our nodes makes of all packets.
struct Judged<'a> {
    case: &'a Case<'a>,
    judgements: Vec<Judgement>,
}

impl<'a> Judged<'a> {
    fn new(case: &'a Case<'a>, packets: &[Vec<u8>]) -> Self {
        let node = Checker::new(std::slice::from_ref(&case.right)).unwrap();
        Judged { case, judgements: packets.iter().map(|packet| node.judge(packet)).collect() }
    }

    fn excuse(&self, n: u32) -> Option<&'static str> {
        let judged = &self.judgements[n as usize];
        self.case.excused.iter().find(|(_, is_meant)| is_meant(judged)).map(|(id, _)| *id)
    }

    /// The packets that come in here alone, and nothing says why.
    fn only_we(&self, by_kernel: &BTreeSet<u32>) -> Vec<u32> {
        let ours = |n: &u32| self.judgements[*n as usize].is_accepted() && !by_kernel.contains(n);
        (0..PACKETS).filter(|n| ours(n) && self.excuse(*n).is_none()).collect()
    }

    #[track_caller]
    fn compare(&self, packets: &[Vec<u8>], by_kernel: &BTreeSet<u32>) {
        let only_we = self.only_we(by_kernel);
        assert!(
            only_we.is_empty(),
            "{} packets that the kernel drops come in here, the first: {:02x?}",
            only_we.len(),
            packets[only_we[0] as usize]
        );

        let accepted = |n: u32| self.judgements[n as usize].is_accepted();
        let mut stricter_than_kernel = BTreeMap::new();
        for &n in by_kernel {
            if let Some(reason) = self.judgements[n as usize].reason {
                *stricter_than_kernel.entry(reason).or_insert(0) += 1;
            }
        }
        let both = by_kernel.iter().filter(|n| accepted(**n)).count();
        // Options are judged alike, not only by those who are not stricter: both answers occur.
        for refused in [DropReason::OuterOptions, DropReason::OuterSourceRoute] {
            let count = self.judgements.iter().filter(|judged| judged.reason == Some(refused)).count();
            assert!(count > 100, "{count} packets are dropped for {}", refused.as_str());
        }
        let with_options = |n: &&u32| packets[**n as usize][0] > 0x45 && accepted(**n);
        let skipped = by_kernel.iter().filter(with_options).count();
        eprintln!("{skipped} packets with options let in by both");
        assert!(skipped > 50, "{skipped} packets with options are let in");
        let neither = (0..PACKETS).filter(|n| !accepted(*n) && !by_kernel.contains(n)).count();
        eprintln!("{PACKETS} packets: {both} let in by both, {neither} by neither; where we are stricter:");
        for (reason, count) in &stricter_than_kernel {
            eprintln!("  {count:5}  {}  {}", reason.requirement(), reason.as_str());
            assert!(
                STRICTER.contains(reason) || self.case.stricter.contains(reason),
                "{count} packets are dropped here alone for {}: is that meant? The first: {:02x?}",
                reason.as_str(),
                by_kernel
                    .iter()
                    .find(|&&n| self.judgements[n as usize].reason == Some(*reason))
                    .map(|&n| &packets[n as usize])
            );
        }
        for (id, _) in self.case.excused {
            let count =
                (0..PACKETS).filter(|n| accepted(*n) && !by_kernel.contains(n) && self.excuse(*n) == Some(*id)).count();
            eprintln!("  {count:5}  {id}  let in here alone");
            // An excuse that nothing needs hides something one day.
            assert!(count > 10, "{id} excuses {count} packets only");
        }
        // A comparison in which everything is dropped, or nothing, compares nothing.
        assert!(both > 500 && neither > 1_000, "{both} and {neither}");

        // The control: what lets in too much is found.
        let wrong = Checker::new(std::slice::from_ref(&self.case.wrong)).unwrap();
        let is_found = |n: &u32| {
            !by_kernel.contains(n) && self.excuse(*n).is_none() && wrong.judge(&packets[*n as usize]).is_accepted()
        };
        let found = (0..PACKETS).filter(is_found).count();
        assert!(found > 50, "a node that believes a stranger was told from the kernel by {found} packets only");
    }
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
    wait_until("the kernel to be done", PATIENCE, || {
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
