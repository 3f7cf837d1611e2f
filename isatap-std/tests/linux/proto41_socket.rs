//! The protocol-41 sockets against the kernel, on veth pairs.

use crate::netns::{Netns, wait_for};
use isatap_core::proto41::Outer;
use isatap_std::error::Error;
use isatap_std::offload::BUFFER_LEN;
use isatap_std::proto41_socket::{OuterPacket, Proto41Socket, ReceiveBatch, SendFailure};
use std::io::Read;
use std::net::Ipv4Addr;
use std::time::Duration;

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const B: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);

fn open() -> Proto41Socket {
    Proto41Socket::open().unwrap()
}

fn datagram(payload: &[u8]) -> OuterPacket<'_> {
    OuterPacket { payload, ..OuterPacket::new(Outer::new(A, B), &[]) }
}

/// An IPv6 packet of that length without a next header; bytes all different.
fn ipv6(length: usize) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend(((length - 40) as u16).to_be_bytes());
    packet.extend([59, 64]);
    packet.extend(1..=32);
    packet.extend((0..length - 40).map(|n| (n % 251) as u8));
    packet
}

/// Waits for packets and gives them, with what their headers said.
fn receive(socket: &Proto41Socket) -> Vec<(Outer, Vec<u8>)> {
    let mut batch = ReceiveBatch::new(16);
    wait_for("packet", || {
        let count = socket.receive(&mut batch).unwrap();
        assert_eq!(batch.len(), count);
        (count > 0).then_some(())
    });
    let packets = batch.arrivals().enumerate();
    packets.map(|(number, of)| (of.outer, batch.packet(number, of.range.clone()).to_vec())).collect()
}

fn send_one(socket: &Proto41Socket, datagram: OuterPacket<'_>) -> Result<(), SendFailure> {
    let mut result = Ok(());
    socket.send(&[datagram], |_, failure| result = Err(failure));
    result
}

/// Raw packets that pass the devices of a namespace, in and out.
struct Tap(socket2::Socket);

impl Tap {
    fn on(netns: &Netns) -> Self {
        const ALL: u16 = 3;
        netns.run(|| {
            let socket =
                socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, Some(i32::from(ALL.to_be()).into()))
                    .unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
            Self(socket)
        })
    }

    /// IPv4 packets without the link header until nothing came for 0.3 s.
    fn ipv4_packets(&self) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        let mut buffer = [0; 70_000];
        while let Ok(length) = (&self.0).read(&mut buffer) {
            if buffer[12..14] == [8, 0] {
                packets.push(buffer[14..length].to_vec());
            }
        }
        packets
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_31_without_df_the_kernel_fragments_and_df_stays_clear() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    a.ip("link set va mtu 1300");
    let (sender, receiver) = (a.run(open), b.run(open));
    let wire = Tap::on(&b);
    let inner = ipv6(1400);
    let outer = Outer { tos: 0xb9, ttl: 17, ..Outer::new(A, B) };
    let sent = OuterPacket { payload: &inner[40..], ..OuterPacket::new(outer, &inner[..40]) };
    send_one(&sender, sent).unwrap();
    let packets = receive(&receiver);
    assert_eq!(packets.len(), 1);
    // Reassembled by the kernel.
    let (said, packet) = &packets[0];
    assert_eq!(*said, Outer { identification: said.identification, ..outer });
    assert_eq!(*packet, inner);
    let fragments: Vec<_> = wire.ipv4_packets().into_iter().filter(|packet| packet[9] == 41).collect();
    assert_eq!(fragments.len(), 2);
    for fragment in &fragments {
        assert!(fragment.len() <= 1300);
        assert_eq!(fragment[6] & 0x40, 0, "DF is set");
        assert_eq!((fragment[1], fragment[8]), (0xb9, 17), "TOS and TTL");
        assert_eq!(fragment[12..20], [10, 0, 0, 1, 10, 0, 0, 2]);
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn with_df_what_the_device_cannot_take_is_too_big_and_the_rest_goes_on() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    a.ip("link set va mtu 1300");
    let (sender, receiver) = (a.run(open), b.run(open));
    let wire = Tap::on(&b);
    let (large, small) = (ipv6(1281), ipv6(1280));
    let df = |payload| OuterPacket { outer: Outer { dont_fragment: true, ..Outer::new(A, B) }, ..datagram(payload) };
    let mut failures = Vec::new();
    let sent = sender.send(&[df(&small), df(&large), df(&small)], |index, failure| {
        failures.push((index, failure));
    });
    assert_eq!(sent, 2);
    assert_eq!(failures, [(1, SendFailure::TooBig)]);
    let counters = sender.counters();
    assert_eq!((counters.sent, counters.too_big), (2, 1));
    let mut received = Vec::new();
    while received.len() < 2 {
        received.extend(receive(&receiver));
    }
    assert!(received.iter().all(|(outer, packet)| outer.dont_fragment && *packet == small));
    assert!(wire.ipv4_packets().iter().all(|p| p[6] & 0x40 != 0));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn an_error_about_a_packet_with_df_comes_whole() {
    let (a, router, b) = (Netns::new(), Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &router, "ra", "10.0.0.254/24");
    router.connect("rb", "10.0.1.254/24", &b, "vb", "10.0.1.2/24");
    a.ip("route add default via 10.0.0.254");
    b.ip("route add default via 10.0.1.254");
    router.ip("link set rb mtu 1300");
    router.sysctl("net.ipv4.ip_forward", "1");
    let sender = a.run(open);
    // Another process's sockets: they must not be disturbed by our errors.
    let bystander = a.run(open);
    // Another program's: by such a socket the kernel believes what the error says, and by ours it does not.
    let believer = || socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::RAW, Some(41.into()));
    let _believer = a.run(|| believer().unwrap());
    let inner = ipv6(1400);
    let outer = Outer { dont_fragment: true, tos: 0x28, ..Outer::new(A, Ipv4Addr::new(10, 0, 1, 2)) };
    let sent = OuterPacket::new(outer, &inner);
    send_one(&sender, sent).unwrap();
    let mut buffer = vec![0; BUFFER_LEN];
    let message = wait_for("ICMPv4 error", || {
        let error = sender.receive_icmpv4(&mut buffer).unwrap()?;
        assert_eq!(error.source, Ipv4Addr::new(10, 0, 0, 254));
        assert_eq!(error.destination, A);
        Some(buffer[error.range].to_vec())
    });
    assert_eq!(message[..2], [3, 4], "fragmentation needed");
    assert_eq!(message[6..8], 1300_u16.to_be_bytes());
    let quote = &message[8..];
    assert_eq!((quote[0], quote[1], quote[9]), (0x45, 0x28, 41));
    assert_eq!(quote[2..4], 1420_u16.to_be_bytes());
    assert_ne!(quote[6] & 0x40, 0, "the quote shows DF");
    assert_eq!(quote[12..20], [10, 0, 0, 1, 10, 0, 1, 2]);
    assert!(quote.len() >= 20 + 48);
    assert_eq!(quote[20..], inner[..quote.len() - 20]);
    assert!(bystander.receive_icmpv4(&mut buffer).unwrap().is_some());

    // The kernel's own estimate of the path is 1300 now; neither it nor the error
    // stops a packet: the core decides.
    assert!(a.ip("route get 10.0.1.2").contains("mtu 1300"));
    send_one(&sender, sent).expect("the kernel's path MTU must not decide");
    let near = OuterPacket::new(Outer { destination: Ipv4Addr::new(10, 0, 0, 254), ..outer }, &inner);
    send_one(&sender, near).expect("an error about one peer must not hit another");
    let may_fragment = OuterPacket::new(Outer { dont_fragment: false, ..outer }, &inner);
    let wire = Tap::on(&a);
    send_one(&sender, may_fragment).unwrap();
    let packets = wire.ipv4_packets();
    let lengths: Vec<_> = packets.iter().filter(|p| p[9] == 41).map(Vec::len).collect();
    assert_eq!(lengths, [1420], "cut to the MTU of the device only");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn tun_2_the_source_is_what_the_packet_says() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    a.ip("address add 10.0.0.77/24 dev va");
    let (sender, receiver) = (a.run(open), b.run(open));
    let inner = ipv6(60);
    for source in [Ipv4Addr::new(10, 0, 0, 77), A] {
        for dont_fragment in [false, true] {
            let outer = Outer { dont_fragment, ..Outer::new(source, B) };
            send_one(&sender, OuterPacket::new(outer, &inner)).unwrap();
            assert_eq!(receive(&receiver)[0].0.source, source);
        }
    }
    let foreign = OuterPacket::new(Outer::new(Ipv4Addr::new(10, 0, 0, 99), B), &inner);
    assert_eq!(
        send_one(&sender, foreign),
        Err(SendFailure::Unreachable),
        "no packet leaves with a source that is not ours"
    );
    let multicast = OuterPacket::new(Outer::new(Ipv4Addr::new(224, 0, 0, 9), B), &inner);
    let dead = OuterPacket::new(Outer { ttl: 0, ..Outer::new(A, B) }, &inner);
    for bad in [multicast, dead] {
        assert_eq!(send_one(&sender, bad), Err(SendFailure::Invalid));
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn refusals_are_counted_by_kind_and_none_is_fatal() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    a.command("nft add table ip t");
    a.command("nft add chain ip t o { type filter hook output priority 0 ; }");
    a.command("nft add rule ip t o ip daddr 10.0.0.3 drop");
    let sender = a.run(open);
    let inner = ipv6(100);
    let to = |last: [u8; 4]| OuterPacket::new(Outer::new(A, last.into()), &inner);
    let largest = vec![0; 65_536];
    let batch = [
        to([10, 0, 0, 3]),
        to([203, 0, 113, 1]),
        OuterPacket { payload: &largest, ..datagram(&[]) },
        to([10, 0, 0, 2]),
    ];
    let mut failures = Vec::new();
    let sent = sender.send(&batch, |index, failure| failures.push((index, failure)));
    assert_eq!(failures, [(0, SendFailure::NotPermitted), (1, SendFailure::Unreachable), (2, SendFailure::TooBig),]);
    assert_eq!(sent, 1);
    let counters = sender.counters();
    assert_eq!((counters.not_permitted, counters.unreachable, counters.too_big), (1, 1, 1));
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn an_open_socket_silences_protocol_unreachable() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    // Or the rate limits of ICMP, one a peer and one for all, hide what this test is about.
    b.sysctl("net.ipv4.icmp_ratemask", "0");
    let sender = a.run(open);
    let inner = ipv6(200);
    let mut buffer = vec![0; BUFFER_LEN];
    let mut answers = |wanted: usize| {
        let mut seen = 0;
        let begin = std::time::Instant::now();
        while seen < wanted || begin.elapsed() < Duration::from_millis(300) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{seen} of {wanted}");
            if let Some(error) = sender.receive_icmpv4(&mut buffer).unwrap() {
                assert_eq!((error.source, &buffer[error.range][..2]), (B, &[3, 2][..]));
                seen += 1;
            }
        }
        seen
    };
    for _ in 0..5 {
        send_one(&sender, datagram(&inner)).unwrap();
    }
    assert_eq!(answers(5), 5, "the kernel answers while nobody listens");

    let receiver = b.run(open);
    for _ in 0..5 {
        send_one(&sender, datagram(&inner)).unwrap();
    }
    assert_eq!(answers(0), 0, "an open socket must silence it");
    let mut got = 0;
    while got < 5 {
        got += receive(&receiver).len();
    }
    assert_eq!(got, 5);

    drop(receiver);
    // Not at once: a child that another test has forked holds the socket until it executes.
    wait_for("answer after the socket is closed", || {
        send_one(&sender, datagram(&inner)).unwrap();
        (answers(0) > 0).then_some(())
    });
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn batches_arrive_in_order_and_each_process_gets_them_all() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    let sender = a.run(open);
    let receivers = [b.run(open), b.run(open)];
    let inner: Vec<Vec<u8>> = (41..241).map(ipv6).collect();
    // Until the neighbor is resolved the kernel keeps packets back, and of 200 not all.
    send_one(&sender, datagram(&inner[0])).unwrap();
    receivers.iter().for_each(|receiver| assert_eq!(receive(receiver).len(), 1));
    let batch: Vec<_> = inner.iter().map(|packet| datagram(packet)).collect();
    assert_eq!(sender.send(&batch, |i, f| panic!("packet {i}: {f}")), 200);
    for receiver in &receivers {
        let mut received = Vec::new();
        while received.len() < 200 {
            received.extend(receive(receiver));
        }
        let contents: Vec<_> = received.into_iter().map(|(_, packet)| packet).collect();
        assert_eq!(contents, inner);
        assert_eq!(receiver.receive(&mut ReceiveBatch::new(1)).unwrap(), 0);
    }
}

/// Which is a copy for each packet of this host that its filter drops.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn the_kernel_has_no_packets_for_the_socket_that_only_sends() {
    let netns = Netns::new();
    let _socket = netns.run(open);
    let sockets = netns.run(|| std::fs::read_to_string("/proc/thread-self/net/raw").unwrap());
    // Protocol 41: one takes what comes to any address, the other what comes to the group 224.0.0.0.
    let mut bound: Vec<&str> =
        sockets.lines().filter_map(|line| line.split_whitespace().nth(1)?.strip_suffix(":0029")).collect();
    bound.sort_unstable();
    let group = u32::from_ne_bytes([224, 0, 0, 0]);
    let mut expected = [format!("{group:08X}"), format!("{:08X}", 0)];
    expected.sort_unstable();
    assert_eq!(bound, expected);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_the_kernel_drops_is_known() {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    let sender = a.run(open);
    let receiver = b.run(open);
    let inner = ipv6(1000);
    // Until the neighbor is resolved the kernel keeps packets back, and of 200 not all.
    send_one(&sender, datagram(&inner)).unwrap();
    assert_eq!(receive(&receiver).len(), 1);
    let batch = vec![datagram(&inner); 200];
    // Nobody reads before the buffer is full: a reader could keep up.
    let mut sent = 0;
    wait_for("first drop", || {
        sent += sender.send(&batch, |i, f| panic!("packet {i}: {f}"));
        (receiver.receive_drops().unwrap() > 0).then_some(())
    });
    let mut received = 0;
    let mut buffers = ReceiveBatch::new(64);
    wait_for("account of all packets", || {
        received += receiver.receive(&mut buffers).unwrap();
        (received + receiver.receive_drops().unwrap() as usize == sent).then_some(())
    });
}

/// Two namespaces with two wires between them, and the index of the second one's device at the wire of `A`.
fn by_two_devices() -> (Netns, Netns, u32) {
    let (a, b) = (Netns::new(), Netns::new());
    a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
    a.connect("wa", "10.0.1.1/24", &b, "wb", "10.0.1.2/24");
    let device = b.run(|| nix::net::if_::if_nametoindex("vb").unwrap());
    (a, b, device)
}

/// What crosses the other wire.
fn by_the_other(inner: &[u8]) -> OuterPacket<'_> {
    OuterPacket::new(Outer::new(Ipv4Addr::new(10, 0, 1, 1), Ipv4Addr::new(10, 0, 1, 2)), inner)
}

/// The socket of a device and the one of all others: each packet comes by one of them. What is lost is counted on
/// when the socket that lost it is closed.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_comes_by_a_device_comes_once_and_its_losses_stay_counted() {
    let (a, b, device) = by_two_devices();
    let (sender, mut receiver) = (a.run(open), b.run(open));
    let listen =
        |receiver: &mut Proto41Socket, interfaces: &[u32]| b.run(|| receiver.listen(interfaces, |_| Ok(())).unwrap());
    let inner = ipv6(1000);
    let other = by_the_other(&inner);
    let mut batch = ReceiveBatch::new(16);
    for (interfaces, expected) in [
        (&[0][..], &[(A, 0), (other.outer.source, 0)][..]),
        (&[0, device], &[(A, device), (other.outer.source, 0)]),
        (&[device], &[(A, device)]),
    ] {
        listen(&mut receiver, interfaces);
        let mut arrived = Vec::new();
        // The one for all others comes last, so that what comes twice is there by then.
        for datagram in [datagram(&inner), other] {
            send_one(&sender, datagram).unwrap();
            let source = datagram.outer.source;
            let is_heard = expected.iter().any(|(heard, _)| *heard == source);
            wait_for("packet", || {
                receiver.receive(&mut batch).unwrap();
                arrived.extend(batch.arrivals().map(|arrival| (arrival.outer.source, arrival.interface)));
                (!is_heard || arrived.iter().any(|(heard, _)| *heard == source)).then_some(())
            });
        }
        std::thread::sleep(Duration::from_millis(100));
        receiver.receive(&mut batch).unwrap();
        arrived.extend(batch.arrivals().map(|arrival| (arrival.outer.source, arrival.interface)));
        assert_eq!(arrived, expected, "{interfaces:?}");
    }
    // What filters leave out is no loss.
    assert_eq!(receiver.receive_drops().unwrap(), 0);
    let full = vec![datagram(&inner); 200];
    let flood = |receiver: &Proto41Socket, before: u64| {
        wait_for("a loss", || {
            sender.send(&full, |_, failure| assert_eq!(failure, SendFailure::Congested));
            (receiver.receive_drops().unwrap() > before).then_some(())
        });
    };
    flood(&receiver, 0);
    // More than was asked for meanwhile.
    sender.send(&full, |_, failure| assert_eq!(failure, SendFailure::Congested));
    let lost = receiver.receive_drops().unwrap();
    for interfaces in [&[0][..], &[0, device], &[0]] {
        listen(&mut receiver, interfaces);
        assert_eq!(receiver.receive_drops().unwrap(), lost, "{interfaces:?}");
    }
    flood(&receiver, lost);
}

/// What a device's socket is to have comes by no other: where that socket cannot be had, and what had come before it
/// was asked for and does not say by which device.
#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn what_comes_by_a_device_is_not_taken_for_the_rest() {
    let (a, b, device) = by_two_devices();
    let (sender, mut receiver) = (a.run(open), b.run(open));
    let inner = ipv6(1000);
    let other = by_the_other(&inner);
    // By the device first, so that its packet is there when that of another is.
    let send = || [datagram(&inner), other].into_iter().for_each(|sent| send_one(&sender, sent).unwrap());
    let sources = |receiver: &Proto41Socket| {
        let mut batch = ReceiveBatch::new(16);
        std::thread::sleep(Duration::from_millis(200));
        receiver.receive(&mut batch).unwrap();
        batch.arrivals().map(|arrival| (arrival.outer.source, arrival.interface)).collect::<Vec<_>>()
    };
    send();
    assert_eq!(sources(&receiver), [(A, 0), (other.outer.source, 0)]);
    send();
    std::thread::sleep(Duration::from_millis(200));
    let full = || Err(Error::refused("watch", "a socket", std::io::Error::from_raw_os_error(libc::EMFILE)));
    b.run(|| receiver.listen(&[0, device], |_| full()).unwrap_err());
    assert_eq!(sources(&receiver), [], "it waited");
    send();
    assert_eq!(sources(&receiver), [(other.outer.source, 0)]);
    b.run(|| receiver.listen(&[0, device], |_| Ok(())).unwrap());
    send();
    assert_eq!(sources(&receiver), [(A, device), (other.outer.source, 0)]);
}
