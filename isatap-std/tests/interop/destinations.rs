//! The IPv4 destination that we and the kernel's `sit` choose for the same IPv6
//! destinations: one UDP packet to each, by both, and what is then on the wire.
//!
//! Where both send, they send to the same address. We must never send where the kernel
//! refuses; where we alone refuse, the IPv4 address is one that a requirement names. The
//! kernel refuses little: it keeps the route of the packet before, and asks that one
//! whether it leads to a single host.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::common::generator::{Numbers, OUTER_CLASSES};
use crate::common::{Capture, Daemon, Guest, Lab, Namespace, Node, PATIENCE, Wire, peers, wait_until};

/// Both senders and the gateway, to which everything goes that is not of their subnet.
struct Senders<'l> {
    wire: &'l Wire<'l>,
    kernel: Guest,
    ours: Namespace,
    _gateway: Namespace,
    addresses: [Ipv4Addr; 2],
}

impl<'l> Senders<'l> {
    /// `subnet`: its first three bytes; the kernel is .1 of it, we are .3.
    fn new(lab: &'l Lab, wire: &'l Wire<'l>, kernel: Guest, subnet: [u8; 3]) -> Self {
        let [a, b, c] = subnet;
        let address = |last| Ipv4Addr::new(a, b, c, last);
        let (of_kernel, of_ours, of_gateway) = (address(1), address(3), address(77));
        let gateway = lab.namespace("gateway");
        wire.join(&gateway, "eth0", &format!("{of_gateway}/24"));
        gateway.ok("sysctl -qw net.ipv4.ip_forward=0");
        peers::ipv4(&kernel, &format!("{of_kernel}/24"));
        let ours = lab.namespace("ours");
        wire.join(&ours, "eth0", &format!("{of_ours}/24"));
        for node in [&kernel as &dyn Node, &ours] {
            node.ok(&format!("ip route add default via {of_gateway}"));
        }
        // Each destination is a neighbour on the tunnel.
        kernel.ok("sysctl -qw net.ipv6.neigh.default.gc_thresh3=100000 net.ipv6.neigh.default.gc_thresh2=100000");
        Self { wire, kernel, ours, _gateway: gateway, addresses: [of_kernel, of_ours] }
    }

    /// Whether it is sent to directly, by ARP, which nobody answers here.
    fn is_neighbour(&self, ipv4: Ipv4Addr) -> bool {
        ipv4.octets()[..3] == self.addresses[0].octets()[..3]
    }

    /// Where the kernel and we send the packets to each destination.
    fn choices(&self, destinations: &[Ipv6Addr], refused: impl Fn(Ipv4Addr) -> bool) -> Vec<[Option<Ipv4Addr>; 2]> {
        let capture = self.wire.capture("ip proto 41");
        let mut missing = destinations.to_vec();
        let mut seen = [BTreeMap::new(), BTreeMap::new()];
        // Queues are short, and a guest may lose a packet: what one of both seems to refuse,
        // and is not known to, gets more chances.
        for _ in 0..3 {
            for (sender, seen) in [&self.kernel as &dyn Node, &self.ours].into_iter().zip(&seen) {
                send(sender, missing.iter().filter(|destination| !seen.contains_key(*destination)));
            }
            seen = self.on_the_wire(&capture);
            missing.retain(|destination| match (seen[0].get(destination), seen[1].get(destination)) {
                (Some(_), Some(_)) | (None, None) => false,
                (Some(kernel), None) => !refused(*kernel),
                (None, Some(_)) => true,
            });
            if missing.is_empty() {
                break;
            }
        }
        capture.so_far().assert_clean();
        destinations.iter().map(|to| [0, 1].map(|sender: usize| seen[sender].get(to).copied())).collect()
    }

    /// The outer destination by the inner one, of what each has sent.
    fn on_the_wire(&self, capture: &Capture) -> [BTreeMap<Ipv6Addr, Ipv4Addr>; 2] {
        let (mut packets, mut before) = (Vec::new(), 0);
        wait_until("all packets to be on the wire", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(300));
            packets = capture.so_far().fields("ipv6 && udp.dstport == 9", &["ip.src", "ip.dst", "ipv6.dst"]);
            std::mem::replace(&mut before, packets.len()) == packets.len()
        });
        self.addresses.map(|sender| {
            let of_sender = packets.iter().filter(|fields| fields[0] == sender.to_string());
            of_sender.map(|fields| (fields[2].parse().unwrap(), fields[1].parse().unwrap())).collect()
        })
    }

    /// Compares the choices; `refused` says of an IPv4 address whether a requirement has us
    /// refuse it. Gives how many destinations both send to, and how many the kernel alone.
    #[track_caller]
    fn compare(&self, destinations: &[Ipv6Addr], refused: fn(Ipv4Addr) -> bool) -> [usize; 2] {
        let [a, b, c, _] = self.addresses[0].octets();
        // TUN-4
        let refused = |ipv4: Ipv4Addr| refused(ipv4) || ipv4 == Ipv4Addr::new(a, b, c, 255);
        let choices = self.choices(destinations, refused);
        let (mut both, mut neither, mut alone) = (0, 0, 0);
        for (destination, choice) in destinations.iter().zip(&choices) {
            match *choice {
                [Some(kernel), Some(ours)] => {
                    assert_eq!(ours, kernel, "{destination}");
                    assert!(!refused(kernel), "{destination}: {kernel} is to be refused");
                    both += 1;
                }
                [None, None] => neither += 1,
                [Some(kernel), None] => {
                    assert!(refused(kernel), "{destination}: the kernel sends to {kernel}, we do not");
                    alone += 1;
                }
                [None, Some(ours)] => panic!("{destination}: we send to {ours}, the kernel does not"),
            }
        }
        eprintln!(
            "{} destinations: {both} sent to by both, {neither} by neither, {alone} by the kernel alone",
            destinations.len()
        );
        // The control: answers that are the same for everything would agree as well.
        let distinct: std::collections::BTreeSet<_> = choices.iter().filter_map(|choice| choice[1]).collect();
        assert!(distinct.len() > 1_000, "{} addresses", distinct.len());
        [both, alone]
    }
}

/// A UDP packet to each destination, some thousands a second.
fn send<'a>(sender: &dyn Node, destinations: impl Iterator<Item = &'a Ipv6Addr>) {
    let list: String = destinations.map(|destination| format!("{destination}\n")).collect();
    let list = sender.file("destinations", &list);
    let script = sender.file(
        "send.py",
        &format!(
            r#"
import socket, time
udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for number, destination in enumerate(open("{list}").read().split()):
    try:
        udp.sendto(b"x", (destination, 9))
    except OSError:
        pass
    if number % 8 == 0:
        time.sleep(0.002)
"#
        ),
    );
    let output = sender.run_for(Duration::from_secs(60), &format!("python3 {script}"));
    assert!(output.success(), "{output:#?}");
}

/// An address with an IPv4 address behind the first `at` bits, and anything behind that.
fn with_ipv4(prefix: &str, at: u32, ipv4: u32, length: u32, rest: u128) -> Ipv6Addr {
    let prefix: Ipv6Addr = prefix.parse().unwrap();
    let embedded = u128::from(ipv4) << (128 - at - length);
    Ipv6Addr::from_bits(prefix.to_bits() | embedded | rest & (u128::MAX >> (at + length)))
}

fn native(numbers: &mut Numbers) -> Ipv6Addr {
    let high = 0x2600 << 48 | u128::from(numbers.next() >> 16);
    Ipv6Addr::from_bits(high << 64 | u128::from(numbers.next()))
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s64_10_s64_14_for_6to4_sites_and_natives_we_choose_the_kernels_ipv4_destination_or_refuse() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.guest("kernel", &[&wire]);
    let senders = Senders::new(&lab, &wire, kernel, [131, 107, 71]);
    senders.kernel.ok("ip tunnel add sixtofour mode sit local 131.107.71.1 ttl 64 && ip link set sixtofour up && \
         ip address add 2002:836b:4701::1/16 dev sixtofour && \
         ip -6 route add default via ::194.207.1.5 dev sixtofour");
    let _daemon = Daemon::isatap(&senders.ours, "6to4 --local 131.107.71.3 --relay 194.207.1.5");

    let mut numbers = Numbers(3056);
    let site = |ipv4: Ipv4Addr, rest: u128| with_ipv4("2002::", 16, ipv4.to_bits(), 32, rest);
    let mut destinations: Vec<Ipv6Addr> = (0..2_500)
        .map(|_| Ipv4Addr::from_bits(numbers.next() as u32))
        .filter(|ipv4| !senders.is_neighbour(*ipv4))
        .map(|ipv4| site(ipv4, u128::from(ipv4.to_bits()) << 32 | 0x99))
        .collect();
    destinations.extend((0..500).map(|_| native(&mut numbers)));
    // Both ends' own, their subnet's broadcast address, and every class.
    let own = ["131.107.71.1", "131.107.71.3", "131.107.71.255"].map(|text| text.parse().unwrap());
    destinations.extend(OUTER_CLASSES.iter().chain(&own[2..]).map(|ipv4| site(*ipv4, 1)));
    let [both, alone] = senders.compare(&destinations, |ipv4| {
        let [a, b, c, _] = ipv4.octets();
        // S64-14 [RFC 3964 §5.3.1], and what is not global by RFC 6890.
        ipv4.is_private()
            || ipv4.is_link_local()
            || ipv4.is_documentation()
            || a == 0
            || a == 127
            || a >= 224
            || (a == 100 && b & 0xc0 == 64)
            || (a, b, c) == (192, 0, 0)
            || (a == 198 && b & 0xfe == 18)
    });
    assert!(both > 2_000 && alone > 100, "{both} {alone}");
    // What no LAN of our site has stays here; the kernel sends even that.
    let capture = wire.capture("ip proto 41");
    let unassigned = site(own[1], 0x77 << 64);
    send(&senders.ours, [unassigned, native(&mut numbers)].iter());
    wait_until("the other packet", PATIENCE, || capture.so_far().count("udp.dstport == 9") == 1);
    assert_eq!(capture.so_far().count(&format!("ipv6.dst == {unassigned}")), 0);
}

/// The domain of RFC 5969 §7.1.1, one whose bits cross bytes and words, and one with the
/// whole IPv4 address.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn s6r_3_s6r_21_for_6rd_customers_and_natives_we_choose_the_kernels_ipv4_destination_or_refuse() {
    let lab = Lab::new();
    let wire = lab.wire();
    let kernel = lab.stock_guest("kernel", &[&wire]);
    let senders = Senders::new(&lab, &wire, kernel, [10, 100, 100]);
    let mut numbers = Numbers(5969);
    for (prefix, length, common, mask) in [
        ("2001:db8::", 32, Ipv4Addr::new(10, 0, 0, 0), 8),
        ("2001:db8:ace0::", 43, Ipv4Addr::new(10, 96, 0, 0), 11),
        ("2001:db9::", 32, Ipv4Addr::UNSPECIFIED, 0),
    ] {
        let own_bits = u32::MAX >> mask;
        let customer =
            |ipv4: Ipv4Addr, rest: u128| with_ipv4(prefix, length, ipv4.to_bits() & own_bits, 32 - mask, rest);
        senders.kernel.ok(&format!(
            "ip tunnel add rd mode sit local 10.100.100.1 ttl 64 && \
             ip tunnel 6rd dev rd 6rd-prefix {prefix}/{length} 6rd-relay_prefix {common}/{mask} && ip link set rd up && \
             ip address add {}/{length} dev rd && ip -6 route add default via ::10.100.0.1 dev rd",
            customer(Ipv4Addr::new(10, 100, 100, 1), 1)
        ));
        let daemon = Daemon::isatap(
            &senders.ours,
            &format!("6rd --prefix {prefix}/{length} --v4-mask-len {mask} --local 10.100.100.3 --br 10.100.0.1"),
        );
        let mut destinations: Vec<Ipv6Addr> = (0..1_400)
            .map(|_| Ipv4Addr::from_bits(numbers.next() as u32 & own_bits | common.to_bits()))
            .filter(|ipv4| !senders.is_neighbour(*ipv4))
            .map(|ipv4| customer(ipv4, u128::from(ipv4.to_bits()) << 24 | 0x99))
            .collect();
        destinations.extend((0..350).map(|_| native(&mut numbers)));
        // The relay's own 6rd address, and our subnet's broadcast address.
        destinations.extend([[10, 100, 0, 1], [10, 100, 100, 255]].map(|ipv4| customer(Ipv4Addr::from(ipv4), 1)));
        // TUN-4
        let [both, alone] = senders.compare(&destinations, |ipv4| matches!(ipv4.octets()[0], 0 | 127 | 224..));
        assert!(both > 1_260 && alone > if mask == 0 { 100 } else { 0 }, "{both} {alone}");
        assert!(daemon.terminate(PATIENCE).success());
        senders.kernel.ok("ip tunnel del rd");
    }
}
