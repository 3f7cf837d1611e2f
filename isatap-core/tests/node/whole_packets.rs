//! Two doors into a machine: a header beside the bytes, as a socket gives it,
//! and a whole IPv4 packet, of which the machine takes the header off.

use isatap_core::datapath::Switches;
use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::node::NodeConfig;
use isatap_core::packet::{LinkId, PacketMut};
use isatap_core::proto41;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::relay::{Relay, RelayConfig};
use isatap_core::teredo::server::{Server, ServerConfig};
use std::net::{Ipv4Addr, SocketAddrV4};

use crate::support::*;

const LINK: LinkId = LinkId(0);
/// Where each machine is, and who speaks to it.
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 1);

trait Counted: Machine {
    fn counted(&self) -> Counters<u64>;
}

impl Counted for Any {
    fn counted(&self) -> Counters<u64> {
        *self.counters()
    }
}

impl Counted for Client {
    fn counted(&self) -> Counters<u64> {
        *self.counters()
    }
}

impl Counted for Relay {
    fn counted(&self) -> Counters<u64> {
        *self.counters()
    }
}

impl Counted for Server {
    fn counted(&self) -> Counters<u64> {
        *self.counters()
    }
}

fn node() -> Any {
    let mut node = Any::new(NodeConfig::DEFAULT);
    add_tunnel(&mut node, "192.0.2.1", "198.51.100.1", "2001:db8:0:9::1", Switches::DEFAULT);
    node
}

/// One of each, with its name.
fn machines() -> Vec<(&'static str, Box<dyn Counted>)> {
    vec![
        ("node", Box::new(node())),
        ("client", Box::new(Client::<[_; 64], _, 16>::new(ClientConfig::new(THERE, 3544), LINK))),
        ("relay", Box::new(Relay::<[_; 256], [_; 64]>::new(RelayConfig::new(HERE.into(), 3544), LINK))),
        ("server", Box::new(Server::new(ServerConfig::new(HERE), LINK))),
    ]
}

/// A datagram for each of the Teredo machines.
fn datagram(payload: &[u8]) -> Vec<u8> {
    let (from, to) = (SocketAddrV4::new(THERE, 3544), SocketAddrV4::new(HERE, 3544));
    let outer = proto41::Outer::udp(from, to);
    with(payload, |_| Verdict::Tunnel { link: LINK, outer }).1
}

fn tunnelled(payload: &[u8]) -> Vec<u8> {
    Outer::new(THERE, HERE).around(payload)
}

/// `bytes` after `change`, with a right header checksum.
fn changed(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    change(&mut bytes);
    let len = usize::from(bytes[0] & 15) * 4;
    bytes[10..12].fill(0);
    let sum = checksum(&[&bytes[..len]]);
    bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    bytes
}

/// [`with`] in a buffer that has room for an answer.
fn roomy(bytes: &[u8], call: impl FnOnce(&mut PacketMut<'_>) -> Verdict) -> Outcome {
    with(&[bytes, &[0; 200]].concat(), |packet| {
        packet.truncate(bytes.len());
        call(packet)
    })
}

/// Packets whose header cannot be taken off, and why.
fn refused() -> Vec<(DropReason, Vec<u8>)> {
    let inner = Inner::of("2001:db8:5::1", "2001:db8:0:9::1").bytes();
    let with_option = |bytes: &[u8], option: [u8; 8]| {
        changed(bytes, |bytes| {
            bytes.splice(20..20, option);
            bytes[0] += 2;
            bytes[3] += 8;
        })
    };
    let mut all = vec![(DropReason::OuterMalformed, vec![]), (DropReason::OuterMalformed, vec![0x45; 7])];
    for whole in [tunnelled(&inner), datagram(&inner)] {
        let mut wrong = whole.clone();
        wrong[11] ^= 1;
        all.extend([
            (DropReason::OuterMalformed, whole[..whole.len() - 1].to_vec()),
            (DropReason::OuterMalformed, changed(&whole, |bytes| bytes[0] = 0x65)),
            (DropReason::OuterMalformed, changed(&whole, |bytes| bytes[3] = 19)),
            (DropReason::OuterChecksum, wrong),
            (DropReason::NotProtocol41, changed(&whole, |bytes| bytes[9] = 6)),
            (DropReason::OuterFragment, changed(&whole, |bytes| bytes[6] = 0x20)),
            (DropReason::OuterFragment, changed(&whole, |bytes| bytes[7] = 1)),
            (DropReason::OuterOptions, with_option(&whole, [222, 9, 0, 0, 0, 0, 0, 0])),
            (DropReason::OuterSourceRoute, with_option(&whole, [131, 7, 8, 0, 0, 0, 0, 0])),
        ]);
    }
    let mut checksum = datagram(&inner);
    checksum[27] ^= 1;
    let longer = changed(&datagram(&inner), |bytes| {
        bytes.push(0);
        bytes[3] += 1;
    });
    all.extend([checksum, longer].map(|bytes| (DropReason::TeredoMalformed, bytes)));
    all
}

/// Hands a whole packet in; it must be dropped and counted once, for `reason`.
fn drops(name: &str, machine: &mut dyn Counted, packet: &[u8], reason: DropReason) -> Vec<u8> {
    let mut expected = machine.counted();
    expected.entered += 1;
    expected.count(reason);
    let (verdict, left) = with(packet, |packet| machine.decapsulate_ipv4(NOW, packet));
    assert_eq!(verdict, Verdict::Drop(reason), "{name}: {packet:02x?}");
    assert_eq!(machine.counted(), expected, "{name}: {packet:02x?}");
    left
}

#[test]
fn what_has_no_sound_header_is_counted_for_that_by_every_machine() {
    for (name, mut machine) in machines() {
        for (reason, packet) in refused() {
            assert_eq!(drops(name, &mut *machine, &packet, reason), packet, "{name}: as it came");
        }
        // What somebody else has refused.
        let mut expected = machine.counted();
        expected.entered += 1;
        expected.count(DropReason::OuterFragment);
        assert_eq!(machine.refused(NOW, DropReason::OuterFragment), Verdict::Drop(DropReason::OuterFragment));
        assert_eq!(machine.counted(), expected, "{name}");
        assert_eq!(machine.counted().total_dropped(), machine.counted().entered, "{name}");
    }
}

/// `TUN-5`, `TER-16`: each machine hears its own way of carrying IPv6.
#[test]
fn tun_5_a_packet_carried_the_other_way_is_none_of_the_machines() {
    let inner = Inner::of("2001:db8:5::1", "2001:db8:0:9::1").bytes();
    let ways = [
        (tunnelled(&inner), proto41::Outer::new(THERE, HERE)),
        (datagram(&inner), proto41::Outer::udp(SocketAddrV4::new(THERE, 3544), SocketAddrV4::new(HERE, 3544))),
    ];
    for (name, mut machine) in machines() {
        let (reason, (packet, outer)) = match name {
            "node" => (DropReason::NotProtocol41, &ways[1]),
            _ => (DropReason::TeredoMalformed, &ways[0]),
        };
        assert_eq!(drops(name, &mut *machine, packet, reason), inner, "{name}: the header is off");
        // By the other door it is the same.
        let by_socket = with(&inner, |packet| machine.decapsulate(NOW, outer, packet));
        assert_eq!(by_socket, (Verdict::Drop(reason), inner.clone()), "{name}");
        assert_eq!(machine.counted().get(reason), 2, "{name}");
        assert_eq!(machine.counted().entered, 2, "{name}");
    }
}

/// Whole or apart, padded or not, a packet meets the same end.
#[test]
fn both_doors_lead_to_the_same_place() {
    let from_client = "2001:0:c000:201:0:f227:39cc:9bfe";
    let bodies = [
        Inner::of("2001:db8:5::1", "2001:db8:0:9::1").bytes(),
        Inner::of("2001:db8:5::1", "2001:db8:77::1").hops(1).bytes(),
        Inner::of(from_client, "2001:db8:77::1").bytes(),
        Inner::icmp(v6("fe80::ffff:ffff:ffff"), v6("ff02::2"), 133, 0, &[0; 4]).hops(255).bytes(),
        vec![0x60; 12],
        vec![],
    ];
    let (mut ends, mut answers) = (Vec::new(), 0);
    for body in bodies {
        for (whole, outer) in [
            (tunnelled(&body), proto41::Outer::new(THERE, HERE)),
            (datagram(&body), proto41::Outer::udp(SocketAddrV4::new(THERE, 3544), SocketAddrV4::new(HERE, 3544))),
        ] {
            for ((name, mut one), (_, mut other)) in machines().into_iter().zip(machines()) {
                let apart = roomy(&body, |packet| one.decapsulate(NOW, &outer, packet));
                let padded = [&whole[..], &[9; 6]].concat();
                let in_one = roomy(&padded, |packet| other.decapsulate_ipv4(NOW, packet));
                assert_eq!(apart, in_one, "{name}");
                assert_eq!(one.counted(), other.counted(), "{name}");
                answers += u32::from(matches!(apart.0, Verdict::Answer { via: Via::Tunnel { .. }, .. }));
                ends.push(apart.0);
            }
        }
    }
    let count = |is: fn(&Verdict) -> bool| ends.iter().filter(|end| is(end)).count();
    let delivered = count(|end| matches!(end, Verdict::Deliver { .. }));
    let dropped = count(|end| matches!(end, Verdict::Drop(_)));
    assert!(delivered > 0 && dropped > 0 && answers > 0, "{ends:?}");
}

#[test]
fn what_was_refused_before_moves_the_clock() {
    for (name, mut machine) in machines() {
        let later = NOW.saturating_add(core::time::Duration::from_secs(5));
        assert_eq!(machine.refused(later, DropReason::OuterSourceRoute), Verdict::Drop(DropReason::OuterSourceRoute));
        assert_eq!(machine.counted().get(DropReason::OuterSourceRoute), 1, "{name}");
        // A secret is still to be drawn, which is due at once: at the latest time that was seen.
        assert_eq!(machine.poll_timeout(), Some(later), "{name}");
    }
}
