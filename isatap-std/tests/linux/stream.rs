//! TUN device, offload and sockets together: a bare tunnel between two namespaces
//! carries streams, whatever the kernel joins and leaves unfinished on the way.

use crate::netns::{Netns, wait_for};
use isatap_core::packet::HEADROOM;
use isatap_core::proto41::Outer;
use isatap_std::netlink::{InterfaceAddress, Netlink, sysctl};
use isatap_std::offload::{BUFFER_LEN, Coalescer, Segments, VirtioHeader, classify};
use isatap_std::proto41_socket::{OuterPacket, Proto41Socket, ReceiveBatch};
use isatap_std::tun::Tun;
use nix::poll::{PollFd, PollFlags, poll};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What an end of the tunnel saw.
#[derive(Default)]
struct Seen {
    super_packets: AtomicU64,
    udp_super_packets: AtomicU64,
    joined: AtomicU64,
    coalesced: AtomicU64,
    partial: AtomicU64,
    largest_received: AtomicU64,
    lost: AtomicU64,
}

/// One end of a configured tunnel, forwarding in a thread until it is dropped.
struct End {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    seen: Arc<Seen>,
}

#[derive(Clone, Copy)]
struct Setup {
    local: Ipv4Addr,
    remote: Ipv4Addr,
    address: Ipv6Addr,
    mtu: u32,
    dont_fragment: bool,
    receive: Receive,
}

#[derive(Clone, Copy)]
enum Receive {
    /// Join segments, and mark what the kernel left unfinished.
    Coalesce,
    /// Mark what the kernel left unfinished.
    Classify,
    /// Hand everything on as it is.
    Naive,
}

impl End {
    fn start(netns: &Netns, setup: Setup) -> Self {
        let (stop, seen) = (Arc::new(AtomicBool::new(false)), Arc::new(Seen::default()));
        let thread = netns.run(|| {
            let tun = Tun::create("tun0").unwrap();
            assert!(tun.has_udp_segmentation());
            let netlink = Netlink::open().unwrap();
            let index = tun.index().unwrap();
            sysctl::prepare_tunnel("tun0").unwrap();
            netlink.forbid_kernel_addresses(index).unwrap();
            netlink.set_mtu(index, setup.mtu).unwrap();
            netlink.limit_super_packets(index, 65_515).unwrap();
            netlink.set_up(index, true).unwrap();
            let address = InterfaceAddress { address: setup.address, prefix_len: 64, preferred: None, valid: None };
            netlink.replace_address(index, &address).unwrap();
            netns.ip("-6 route add 2001:db8::/64 dev tun0");
            let socket = Proto41Socket::open().unwrap();
            let (stop, seen) = (stop.clone(), seen.clone());
            std::thread::spawn(move || {
                let mut buffer = vec![0; BUFFER_LEN];
                let mut headers = vec![[0; Segments::MAX_HEADER_LEN]; 1100];
                let mut batch = ReceiveBatch::new(64);
                while !stop.load(Ordering::Relaxed) {
                    let mut fds = [tun.as_fd(), socket.packets_fd()].map(|fd| PollFd::new(fd, PollFlags::POLLIN));
                    poll(&mut fds, 50_u16).unwrap();
                    outbound(&tun, &socket, setup, &seen, &mut buffer, &mut headers);
                    inbound(&tun, &socket, setup, &seen, &mut batch);
                }
            })
        });
        Self { stop, thread: Some(thread), seen }
    }

    fn saw(&self, counter: impl Fn(&Seen) -> &AtomicU64) -> u64 {
        counter(&self.seen).load(Ordering::Relaxed)
    }
}

impl Drop for End {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().unwrap().join().unwrap();
    }
}

type Header = [u8; Segments::MAX_HEADER_LEN];

fn outbound(tun: &Tun, socket: &Proto41Socket, setup: Setup, seen: &Seen, buffer: &mut [u8], headers: &mut [Header]) {
    for _ in 0..32 {
        let Some(received) = tun.read(buffer).unwrap() else {
            return;
        };
        let packet = &buffer[received.range];
        assert!(packet.len() <= 65_515);
        if let Some(cut) = received.header.segmentation {
            seen.super_packets.fetch_add(1, Ordering::Relaxed);
            if cut.kind == isatap_std::offload::SegmentKind::Udp {
                seen.udp_super_packets.fetch_add(1, Ordering::Relaxed);
            }
        }
        let mut segments = Segments::new(packet, &received.header).unwrap();
        assert!(segments.longest() <= setup.mtu as usize);
        let outer = Outer { dont_fragment: setup.dont_fragment, ..Outer::new(setup.local, setup.remote) };
        let mut datagrams = Vec::with_capacity(segments.remaining());
        for header in headers.iter_mut() {
            let Some(segment) = segments.next_header(header) else {
                break;
            };
            let (headers, payload) = (&header[..segment.header_len], &packet[segment.payload]);
            datagrams.push(OuterPacket { payload, ..OuterPacket::new(outer, headers) });
        }
        socket.send(&datagrams, |_, _| {
            seen.lost.fetch_add(1, Ordering::Relaxed);
        });
    }
}

fn inbound(tun: &Tun, socket: &Proto41Socket, setup: Setup, seen: &Seen, batch: &mut ReceiveBatch) {
    socket.receive(batch).unwrap();
    let mut coalescer = Coalescer::new();
    let mut packets = Vec::new();
    for (number, arrival) in batch.arrivals().enumerate() {
        let packet = batch.packet(number, arrival.range.clone());
        assert_eq!(arrival.range.start, HEADROOM + 20);
        seen.largest_received.fetch_max(packet.len() as u64, Ordering::Relaxed);
        let header = classify(packet);
        if header.segmentation.is_some() {
            seen.joined.fetch_add(1, Ordering::Relaxed);
        } else if header.checksum.is_some() {
            seen.partial.fetch_add(1, Ordering::Relaxed);
        }
        match setup.receive {
            Receive::Coalesce => {
                coalescer.push(packets.len(), packet);
                packets.push(packet);
                continue;
            }
            Receive::Classify => tun.write(packet, &header),
            Receive::Naive => tun.write(packet, &VirtioHeader::default()),
        }
        .unwrap_or_else(|_| {
            seen.lost.fetch_add(1, Ordering::Relaxed);
        });
    }
    for joined in coalescer.joined() {
        let many = u64::from(joined.parts.len() > 1);
        seen.coalesced.fetch_add(many, Ordering::Relaxed);
        tun.write_joined(&joined, |index| packets[index]).unwrap();
    }
}

/// Two namespaces with a veth between them, and the ends of a tunnel over it.
struct World {
    a: Netns,
    b: Netns,
    ends: Option<[End; 2]>,
}

const A6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const B6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);

impl World {
    fn new(change: impl Fn(&mut Setup)) -> Self {
        let (a, b) = (Netns::new(), Netns::new());
        a.connect("va", "10.0.0.1/24", &b, "vb", "10.0.0.2/24");
        let mut setup = Setup {
            local: Ipv4Addr::new(10, 0, 0, 1),
            remote: Ipv4Addr::new(10, 0, 0, 2),
            address: A6,
            mtu: 1480,
            dont_fragment: true,
            receive: Receive::Classify,
        };
        change(&mut setup);
        let other = Setup { local: setup.remote, remote: setup.local, address: B6, ..setup };
        let ends = Some([End::start(&a, setup), End::start(&b, other)]);
        Self { a, b, ends }
    }

    /// Makes the veth join what it receives, as a network card does: receive offload
    /// on, and interrupts held back so that there is something to join.
    fn join_on_receive(&self) {
        for (netns, device) in [(&self.a, "va"), (&self.b, "vb")] {
            netns.command(&format!("ethtool -K {device} gro on tso off gso off"));
            netns.run(|| {
                let script = format!(
                    "mount -t sysfs sysfs /sys && cd /sys/class/net/{device} && \
                     echo 2 > napi_defer_hard_irqs && echo 200000 > gro_flush_timeout"
                );
                let status =
                    std::process::Command::new("unshare").args(["--mount", "sh", "-c", &script]).status().unwrap();
                assert!(status.success());
            });
        }
    }

    fn ends(&self) -> &[End; 2] {
        self.ends.as_ref().unwrap()
    }

    /// Sends so many bytes from a to b by TCP; gives how long it took, or `None` when
    /// they had not arrived after `limit`. What arrives is compared byte by byte.
    fn stream(&self, bytes: usize, limit: Duration) -> Option<Duration> {
        let listener = self.b.run(|| TcpListener::bind((B6, 0)).unwrap());
        let port = listener.local_addr().unwrap().port();
        let begin = Instant::now();
        let stream = self.a.run(|| TcpStream::connect((B6, port)).unwrap());
        let (mut receiver, _) = listener.accept().unwrap();
        let pattern: Vec<u8> = (0..1 << 20).map(|n: u32| (n.wrapping_mul(n) >> 7) as u8).collect();
        let sent = pattern.clone();
        let sender = std::thread::spawn(move || {
            let mut stream = stream;
            stream.set_write_timeout(Some(limit)).unwrap();
            let mut left = bytes;
            while left > 0 {
                let chunk = left.min(sent.len());
                if stream.write_all(&sent[..chunk]).is_err() {
                    return;
                }
                left -= chunk;
            }
        });
        receiver.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let mut buffer = vec![0; 1 << 17];
        let mut done = 0;
        while done < bytes && begin.elapsed() < limit {
            let Ok(length) = receiver.read(&mut buffer) else {
                continue;
            };
            let mut at = 0;
            while at < length {
                let from = (done + at) % pattern.len();
                let chunk = (length - at).min(pattern.len() - from);
                assert!(buffer[at..at + chunk] == pattern[from..from + chunk], "the stream changed on the way");
                at += chunk;
            }
            done += length;
        }
        let took = begin.elapsed();
        drop(receiver);
        sender.join().unwrap();
        (done == bytes).then_some(took)
    }
}

fn report(name: &str, bytes: usize, took: Duration) {
    let gigabits = bytes as f64 * 8.0 / took.as_secs_f64() / 1e9;
    eprintln!("{name}: {gigabits:.2} Gbit/s");
}

const BYTES: usize = 64 << 20;
const LIMIT: Duration = Duration::from_secs(20);

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_stream_crosses_in_super_packets() {
    let world = World::new(|_| ());
    let took = world.stream(BYTES, LIMIT).expect("the stream stalled");
    report("plain", BYTES, took);
    let [a, _] = world.ends();
    let packets = a.saw(|seen| &seen.super_packets);
    // Were each packet to come alone there would be none.
    assert!(packets > 0 && packets < (BYTES / 10_000) as u64, "{packets} super-packets");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_stream_crosses_a_network_card_that_joins() {
    let world = World::new(|_| ());
    world.join_on_receive();
    let took = world.stream(BYTES, LIMIT).expect("the stream stalled");
    report("joined", BYTES, took);
    let [_, b] = world.ends();
    let (joined, largest) = (b.saw(|s| &s.joined), b.saw(|s| &s.largest_received));
    eprintln!("{joined} joined packets, the largest of {largest} bytes");
    assert!(joined > 100 && largest > 1480, "nothing was joined");
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_stream_crosses_when_we_join() {
    let world = World::new(|setup| setup.receive = Receive::Coalesce);
    let took = world.stream(BYTES, LIMIT).expect("the stream stalled");
    report("coalesced", BYTES, took);
    let [_, b] = world.ends();
    assert!(b.saw(|seen| &seen.coalesced) > 100, "nothing was joined");
    // And on top of what the kernel joins.
    world.join_on_receive();
    let took = world.stream(BYTES, LIMIT).expect("the stream stalled");
    report("joined and coalesced", BYTES, took);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn joined_packets_without_their_header_stall_a_stream() {
    // What classify() is for: the same setting without it.
    let world = World::new(|setup| setup.receive = Receive::Naive);
    world.join_on_receive();
    let limit = Duration::from_secs(3);
    assert_eq!(world.stream(BYTES, limit), None);
    let [_, b] = world.ends();
    assert!(b.saw(|seen| &seen.joined) > 0);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn a_stream_crosses_in_fragments() {
    let world = World::new(|setup| {
        setup.dont_fragment = false;
        setup.mtu = 1480;
    });
    // An underlay too small for a full packet.
    world.a.ip("link set va mtu 1400");
    let took = world.stream(4 << 20, LIMIT).expect("the stream stalled");
    report("fragments", 4 << 20, took);
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn datagrams_of_every_size_arrive_whole() {
    let world = World::new(|_| ());
    let receiver = world.b.run(|| UdpSocket::bind((B6, 4000)).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
    let sender = world.a.run(|| UdpSocket::bind((A6, 4001)).unwrap());
    sender.connect((B6, 4000)).unwrap();
    let mut buffer = vec![0; 70_000];
    for size in [0, 1, 2, 7, 1000, 1231, 1232, 1432, 1433, 3000, 20_000, 65_000] {
        let datagram: Vec<u8> = (0..size).map(|n| (n % 253) as u8).collect();
        // A busy machine's kernel may lose one of 54 fragments; a size that never arrives
        // is a fault.
        let length = wait_for(&format!("a datagram of {size} bytes"), || {
            sender.send(&datagram).unwrap();
            // One that was sent again, because it was late, comes twice.
            loop {
                match receiver.recv(&mut buffer) {
                    Ok(length) if length != size => {}
                    answer => break answer.ok(),
                }
            }
        });
        assert!(buffer[..length] == datagram, "{size} bytes");
    }
}

#[test]
#[ignore = "needs root: run by .ci/run interop"]
fn udp_super_packets_become_datagrams() {
    let world = World::new(|_| ());
    let receiver = world.b.run(|| UdpSocket::bind((B6, 4000)).unwrap());
    receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let sender = world.a.run(|| UdpSocket::bind((A6, 4001)).unwrap());
    nix::sys::socket::setsockopt(&sender, nix::sys::socket::sockopt::UdpGsoSegment, &1000).unwrap();
    let datagrams: Vec<u8> = (0..9500).map(|n| (n / 1000) as u8).collect();
    wait_for("route", || sender.send_to(&datagrams, (B6, 4000)).ok());
    let mut buffer = [0; 2000];
    for number in 0..10_u8 {
        let length = receiver.recv(&mut buffer).expect("a datagram is lost");
        assert_eq!(length, if number == 9 { 500 } else { 1000 });
        assert!(buffer[..length].iter().all(|&byte| byte == number));
    }
    let [a, _] = world.ends();
    assert_eq!(a.saw(|seen| &seen.udp_super_packets), 1);
}
