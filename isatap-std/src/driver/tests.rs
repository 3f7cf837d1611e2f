use super::*;
use crate::offload::{Joined, PartialChecksum, SegmentKind, Segmentation, VirtioHeader, oracle};
use crate::proto41_socket::{Bound, Icmpv4Error, SendCounters, SendFailure};
use crate::tun::Received;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Entropy, Event, Ticket, Transmit};
use isatap_core::error::EmitError;
use isatap_core::proto41::{self, Flow, Outer};
use nix::errno::Errno;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::{self, Write};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;

const LINK: LinkId = LinkId(0);
const OUTER: Outer =
    Outer { dont_fragment: true, ..Outer::new(Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1)) };

/// A tunnel without rules, which says hello once a second.
#[derive(Default)]
struct Tunnel {
    hello: bool,
    next: Option<Instant>,
    errors: Vec<Vec<u8>>,
    hold: bool,
    event: Option<Event>,
}

const TICKET: Ticket = Ticket { slot: 3, generation: 7 };

impl Machine for Tunnel {
    fn encapsulate(&mut self, _: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        assert_eq!(packet.link(), Some(LINK));
        if self.hold {
            return Verdict::Hold { ticket: TICKET };
        }
        Verdict::Tunnel { link: LINK, outer: OUTER }
    }

    fn decapsulate(&mut self, _: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        if self.hold {
            return Verdict::Hold { ticket: TICKET };
        }
        let flow = match Flow::of(outer, packet.as_slice()) {
            Ok(flow) => flow,
            Err(reason) => return Verdict::Drop(reason),
        };
        proto41::decapsulate(packet, &flow).unwrap();
        Verdict::Deliver { link: LINK, from: Admitted::Remote }
    }

    fn refused(&mut self, _: Instant, reason: DropReason) -> Verdict {
        Verdict::Drop(reason)
    }

    fn handle_icmpv4(&mut self, _: Instant, message: &mut PacketMut<'_>) -> Verdict {
        self.errors.push(message.as_slice().to_vec());
        Verdict::Consumed { link: LINK }
    }

    fn handle_timeout(&mut self, now: Instant, _: &mut dyn Entropy) {
        self.hello = true;
        self.next = Some(now.saturating_add(Duration::from_secs(1)));
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        out.clear();
        if !std::mem::take(&mut self.hello) {
            return Ok(None);
        }
        out.copy_from(&oracle::udp_packet(b"hello"))?;
        Ok(Some(Transmit::tunnel(LINK, OUTER)))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.event.take()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }
}

/// Sockets and a device in memory, of which the n-th call fails.
struct Wire {
    calls: Cell<usize>,
    fail_at: usize,
    errno: Errno,
    incoming: RefCell<VecDeque<Vec<u8>>>,
    from_kernel: RefCell<VecDeque<(Vec<u8>, VirtioHeader)>>,
    sent: RefCell<Vec<Vec<u8>>>,
    to_kernel: RefCell<Vec<(Vec<u8>, VirtioHeader)>>,
    /// How many packets were sent when the device was found empty, each time.
    sent_before_empty: RefCell<Vec<usize>>,
    /// How often sockets cannot be opened for devices, and those that were asked for since.
    deaf: Cell<usize>,
    heard_from: RefCell<Vec<u32>>,
    // Always readable.
    ready: UnixStream,
    _other: UnixStream,
    silent: UnixStream,
}

impl Wire {
    fn new(fail_at: usize, errno: Errno) -> Rc<Self> {
        let (ready, mut other) = UnixStream::pair().unwrap();
        other.write_all(b"x").unwrap();
        let silent = other.try_clone().unwrap();
        Rc::new(Self {
            calls: Cell::new(0),
            fail_at,
            errno,
            incoming: RefCell::default(),
            from_kernel: RefCell::default(),
            sent: RefCell::default(),
            to_kernel: RefCell::default(),
            sent_before_empty: RefCell::default(),
            deaf: Cell::default(),
            heard_from: RefCell::default(),
            ready,
            _other: other,
            silent,
        })
    }

    fn attempt(&self) -> Result<(), Errno> {
        self.calls.set(self.calls.get() + 1);
        if self.calls.get() == self.fail_at { Err(self.errno) } else { Ok(()) }
    }

    fn driver(self: &Rc<Self>) -> Driver<Tunnel, Socket, Tun0> {
        let poller = Poller::open().unwrap();
        let mut driver = Driver::new(Box::default(), Socket(self.clone()), poller.watcher(0)).unwrap();
        driver.attach(LINK, Tun0(self.clone())).unwrap();
        driver
    }
}

struct Socket(Rc<Wire>);

impl OuterSocket for Socket {
    fn send(&self, datagrams: &[OuterPacket<'_>], failed: &mut dyn FnMut(usize, SendFailure)) -> usize {
        for (place, datagram) in datagrams.iter().enumerate() {
            match self.0.attempt() {
                Ok(()) => self.0.sent.borrow_mut().push([datagram.headers, datagram.payload].concat()),
                Err(errno) => failed(place, errno.into()),
            }
        }
        0
    }

    fn receive(&self, batch: &mut ReceiveBatch) -> io::Result<usize> {
        batch.restart();
        self.0.attempt()?;
        while let Some(packet) = self.0.incoming.borrow_mut().pop_front() {
            batch.receive_packet(&packet);
        }
        Ok(batch.len())
    }

    fn receive_icmpv4(&self, _: &mut [u8]) -> io::Result<Option<Icmpv4Error>> {
        Ok(None)
    }

    fn device_mtu(&self, _: Ipv4Addr, _: Bound) -> Option<u16> {
        Some(1300)
    }

    fn listen(&mut self, interfaces: &[u32], _: &Watcher) -> Result<(), Error> {
        if let Some(left) = self.0.deaf.get().checked_sub(1) {
            self.0.deaf.set(left);
            return Err(Error::refused("take packets from", "a device", Errno::EMFILE.into()));
        }
        *self.0.heard_from.borrow_mut() = interfaces.to_vec();
        Ok(())
    }

    fn watch(&mut self, watcher: &Watcher) -> Result<(), Error> {
        watcher.watch(self.0.ready.as_fd(), Source::Packets)?;
        watcher.watch(self.0.silent.as_fd(), Source::Icmpv4)
    }

    fn counters(&self) -> SendCounters {
        SendCounters::default()
    }
}

/// A device in memory; a descriptor may stand in one epoll instance once, so it is a clone's.
struct Tun0(Rc<Wire>);

impl AsFd for Tun0 {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0._other.as_fd()
    }
}

impl Device for Tun0 {
    fn name(&self) -> &str {
        "test0"
    }

    fn read(&self, buffer: &mut [u8]) -> io::Result<Option<Received>> {
        self.0.attempt()?;
        let Some((packet, header)) = self.0.from_kernel.borrow_mut().pop_front() else {
            self.0.sent_before_empty.borrow_mut().push(self.0.sent.borrow().len());
            return Ok(None);
        };
        let range = HEADROOM..HEADROOM + packet.len();
        buffer[range.clone()].copy_from_slice(&packet);
        Ok(Some(Received { range, header }))
    }

    fn write(&self, packet: &[u8], header: &VirtioHeader) -> io::Result<()> {
        self.0.attempt()?;
        self.0.to_kernel.borrow_mut().push((packet.to_vec(), *header));
        Ok(())
    }

    fn write_joined<'p>(&self, joined: &Joined<'_>, packet: &dyn Fn(usize) -> &'p [u8]) -> io::Result<()> {
        self.0.attempt()?;
        let mut bytes = joined.headers.to_vec();
        for part in joined.parts {
            bytes.extend(&packet(part.packet)[part.range.clone()]);
        }
        self.0.to_kernel.borrow_mut().push((bytes, joined.header));
        Ok(())
    }
}

/// The packet as it would come in from the network.
fn outer(inner: &[u8]) -> Vec<u8> {
    let mut buffer = vec![0; HEADROOM + inner.len()];
    let mut packet = PacketMut::empty(&mut buffer);
    packet.copy_from(inner).unwrap();
    OUTER.push(&mut packet).unwrap();
    packet.as_slice().to_vec()
}

/// Turns until neither side has anything left.
fn exhaust(driver: &mut Driver<Tunnel, Socket, Tun0>, wire: &Wire) {
    for _ in 0..20 {
        // Both ends of the pair hold a byte, so both descriptors are readable all the time.
        driver.outbound(LINK).unwrap();
        driver.inbound();
        driver.transmit();
        if wire.incoming.borrow().is_empty() && wire.from_kernel.borrow().is_empty() {
            return;
        }
    }
    panic!("packets are left behind");
}

#[test]
fn whatever_call_fails_at_most_its_packet_is_lost_and_it_is_counted() {
    let errors =
        [Errno::EAGAIN, Errno::ENOBUFS, Errno::EMSGSIZE, Errno::EPERM, Errno::ENETUNREACH, Errno::EIO, Errno::EINVAL];
    for errno in errors {
        let mut fail_at = 1;
        loop {
            let wire = Wire::new(fail_at, errno);
            let mut driver = wire.driver();
            driver.machine_mut().hello = true;
            for round in 0..3_u8 {
                for number in 0..4 {
                    let inner = oracle::udp_packet(&[round, number]);
                    wire.from_kernel.borrow_mut().push_back((inner.clone(), VirtioHeader::default()));
                    wire.incoming.borrow_mut().push_back(outer(&inner));
                }
                exhaust(&mut driver, &wire);
            }
            let arrived = wire.sent.borrow().len() + wire.to_kernel.borrow().len();
            let counters = driver.counters();
            let failures = counters.device_write_failed + counters.send_failed;
            let others = counters.device_read_failed + counters.receive_failed;
            assert_eq!(arrived + failures as usize, 3 * 8 + 1, "{errno}, call {fail_at}: {counters:?}");
            if wire.calls.get() < fail_at {
                assert_eq!(failures + others, 0);
                break;
            }
            assert_eq!(failures + others, 1, "{errno}, call {fail_at}: {counters:?}");
            fail_at += 1;
        }
        assert!(fail_at > 30, "{errno}: too few calls to mean anything");
    }
}

#[test]
fn a_packet_that_comes_alone_is_sent_before_the_next_is_looked_for() {
    let wire = Wire::new(0, Errno::UnknownErrno);
    let mut driver = wire.driver();
    let mut batch = |count: usize| {
        let packet = (oracle::udp_packet(b"x"), VirtioHeader::default());
        wire.from_kernel.borrow_mut().extend(vec![packet; count]);
        driver.outbound(LINK).unwrap();
        wire.sent_before_empty.take()
    };
    assert_eq!([1, 1, 0].map(&mut batch), [vec![1], vec![2], vec![2]]);
    // The first of a burst too; the others, and later bursts, are sent together.
    assert_eq!([3, 3, 1, 1].map(&mut batch), [vec![3], vec![5], vec![8], vec![10]]);
    assert_eq!(wire.sent.borrow().len(), 10);
}

#[test]
fn a_device_that_is_gone_ends_the_loop_with_a_reason() {
    let wire = Wire::new(1, Errno::EBADFD);
    let error = wire.driver().outbound(LINK).unwrap_err().to_string();
    assert!(error.starts_with("cannot read packets from test0: "), "{error}");
    assert!(
        error.ends_with("another program deleted it: the link stands still until the device is made again"),
        "{error}"
    );
}

/// IPv6, and TCP with a timestamp.
const HEADERS: usize = 72;

fn tcp_super_packet(payload: usize, size: u16) -> (Vec<u8>, VirtioHeader) {
    let payload: Vec<u8> = (0..payload).map(|n| (n % 251) as u8).collect();
    let mut packet = oracle::tcp_packet(1, 0x10, &payload);
    oracle::make_partial(&mut packet);
    let header = VirtioHeader {
        checksum: Some(PartialChecksum { start: 40, offset: 16 }),
        segmentation: Some(Segmentation {
            kind: SegmentKind::Tcp,
            size: NonZeroU16::new(size).unwrap(),
            header_len: 72,
            ecn: false,
        }),
    };
    (packet, header)
}

#[test]
fn a_super_packet_is_cut_and_sent_in_order_and_comes_back_as_one() {
    let wire = Wire::new(0, Errno::UnknownErrno);
    let mut driver = wire.driver();
    let (packet, header) = tcp_super_packet(60_000, 400);
    wire.from_kernel.borrow_mut().push_back((packet.clone(), header));
    exhaust(&mut driver, &wire);
    // More segments than one call takes.
    assert_eq!(wire.sent.borrow().len(), 150);
    let payload: Vec<u8> = wire.sent.borrow().iter().flat_map(|sent| sent[HEADERS..].to_vec()).collect();
    assert_eq!(payload, packet[HEADERS..]);

    // Two batches of what was sent become two writes, and the same bytes again.
    for batch in wire.sent.borrow().chunks(64).take(2) {
        wire.incoming.borrow_mut().extend(batch.iter().map(|inner| outer(inner)));
        driver.inbound();
    }
    let written = wire.to_kernel.borrow();
    assert_eq!(written.len(), 2);
    let again: Vec<u8> = written.iter().flat_map(|(packet, _)| packet[HEADERS..].to_vec()).collect();
    assert_eq!(again, packet[HEADERS..HEADERS + 128 * 400]);
    assert!(written.iter().all(|(_, header)| header.segment_size() == NonZeroU16::new(400)));
}

/// `SEC-1`, `TER-41`: what waits goes on as it came, a super-packet too.
#[test]
fn sec_1_packets_that_wait_go_on_when_their_ticket_is_released() {
    let wire = Wire::new(usize::MAX, Errno::EIO);
    let mut driver = wire.driver();
    let (packet, header) = tcp_super_packet(5000, 1000);
    let inner = oracle::udp_packet(b"from the network");
    driver.machine_mut().hold = true;
    wire.from_kernel.borrow_mut().push_back((packet, header));
    wire.incoming.borrow_mut().push_back(outer(&inner));
    exhaust(&mut driver, &wire);
    assert!(wire.sent.borrow().is_empty() && wire.to_kernel.borrow().is_empty());
    driver.machine_mut().hold = false;
    driver.machine_mut().event = Some(Event::Released { link: LINK, ticket: TICKET });
    assert_eq!(driver.poll_event(), None);
    assert_eq!(wire.sent.borrow().len(), 5, "cut into its segments");
    assert!(matches!(wire.to_kernel.borrow().as_slice(), [(bytes, _)] if *bytes == inner));
    assert_eq!(driver.counters().not_kept, 0);
    // What was in vain is dropped and counted, and nobody takes more than there is room for.
    driver.machine_mut().hold = true;
    for _ in 0..5 {
        wire.incoming.borrow_mut().push_back(outer(&inner));
    }
    exhaust(&mut driver, &wire);
    let reason = DropReason::TeredoNoAnswer;
    driver.machine_mut().event = Some(Event::Abandoned { link: LINK, ticket: TICKET, reason });
    assert_eq!(driver.poll_event(), None);
    assert_eq!(driver.counters().not_kept, 5, "two for the newer ones, three in vain");
    assert_eq!((wire.sent.borrow().len(), wire.to_kernel.borrow().len()), (5, 1));
}

#[test]
fn tun_32_a_packet_too_big_for_the_device_underneath_is_told_to_the_machine_once() {
    // The first read, then the first of the segments.
    let wire = Wire::new(3, Errno::EMSGSIZE);
    let mut driver = wire.driver();
    wire.from_kernel.borrow_mut().push_back(tcp_super_packet(6_000, 1400));
    exhaust(&mut driver, &wire);
    let errors = &driver.machine().errors;
    assert_eq!(errors.len(), 1);
    assert_eq!(errors[0][..2], [3, 4]);
    assert_eq!(errors[0][6..8], 1300_u16.to_be_bytes());
    // The quote says how long the packet was, and carries its inner header.
    assert_eq!(errors[0][10..12], 1492_u16.to_be_bytes());
    assert_eq!(errors[0][28] >> 4, 6);
    assert_eq!(driver.counters().send_failed, 1);
}

#[test]
fn a_turn_wakes_at_the_deadline_and_its_descriptor_does_so_for_others() {
    let wire = Wire::new(0, Errno::UnknownErrno);
    let mut poller = Poller::open().unwrap();
    let watcher = poller.watcher(0);
    let mut driver = Driver::<Tunnel, _, Tun0>::new(Box::default(), Socket(wire.clone()), watcher.clone()).unwrap();
    watcher.unwatch(wire.ready.as_fd());
    watcher.unwatch(wire.silent.as_fd());
    let due = driver.now().saturating_add(Duration::from_millis(50));
    driver.machine_mut().next = Some(due);
    assert!(driver.turn(&mut poller, Some(Duration::ZERO)).unwrap().is_empty());
    assert!(wire.sent.borrow().is_empty());
    let ready = |poller: &Poller, wait: u16| {
        let mut fds = [nix::poll::PollFd::new(poller.as_fd(), nix::poll::PollFlags::POLLIN)];
        nix::poll::poll(&mut fds, wait).unwrap() == 1
    };
    assert!(!ready(&poller, 0));
    assert!(ready(&poller, 5000), "the deadline does not show");
    assert!(driver.now() >= due);
    driver.turn(&mut poller, None).unwrap();
    driver.transmit();
    assert_eq!(wire.sent.borrow().len(), 1);
}

#[test]
fn an_owner_learns_which_of_its_descriptors_are_ready_and_whose_they_are() {
    let wire = Wire::new(0, Errno::UnknownErrno);
    let mut poller = Poller::open().unwrap();
    let watcher = poller.watcher(9);
    let driver = &mut Driver::<Tunnel, _, Tun0>::new(Box::default(), Socket(wire.clone()), watcher.clone()).unwrap();
    watcher.unwatch(wire.ready.as_fd());
    let (mine, mut theirs) = UnixStream::pair().unwrap();
    watcher.watch(mine.as_fd(), Source::Owner(Token(77))).unwrap();
    assert!(driver.turn(&mut poller, Some(Duration::ZERO)).unwrap().is_empty());
    theirs.write_all(b"x").unwrap();
    assert_eq!(poller.wait(None, None).unwrap(), [(9, Source::Owner(Token(77)))]);
    assert_eq!(driver.turn(&mut poller, None).unwrap(), [Token(77)]);
    watcher.unwatch(mine.as_fd());
    assert!(driver.turn(&mut poller, Some(Duration::ZERO)).unwrap().is_empty());
    for source in [Source::Packets, Source::Icmpv4, Source::Device(LinkId(255)), Source::Owner(Token(u32::MAX))] {
        assert_eq!(Source::of(source.number(SIGNALS)), Some((SIGNALS, source)));
    }
}

/// The largest number of a driver: the next one's is the timer.
const SIGNALS: u16 = u16::MAX - 1;

#[test]
fn a_device_that_nothing_could_be_taken_from_is_tried_again_although_it_does_not_change() {
    let wire = Wire::new(0, Errno::EIO);
    let mut driver = wire.driver();
    driver.reserve(Vec::new(), false);
    assert!(wire.heard_from.borrow().is_empty());
    let bound = Bound { mark: 0, interface: 7 };
    wire.deaf.set(1);
    let before = driver.now();
    driver.bind(LINK, bound);
    assert!(matches!(driver.take_listening(), Some(Err(_))));
    driver.bind(LINK, bound);
    let due = driver.deadline().unwrap();
    assert!(due > before && wire.heard_from.borrow().is_empty());
    while driver.now() < due {
        std::thread::sleep(Duration::from_millis(20));
    }
    driver.advance();
    assert_eq!(*wire.heard_from.borrow(), [7]);
    assert!(matches!(driver.take_listening(), Some(Ok(()))) && driver.deadline().is_none());
}

/// What comes by a device goes on to be heard while its link is remade, and is no other's meanwhile.
#[test]
fn links_that_come_and_go_change_nothing_of_what_is_heard_until_that_is_said() {
    let wire = Wire::new(0, Errno::EIO);
    let mut driver = wire.driver();
    let reserved = |link| vec![Reserved { link, interface: 7, locals: Vec::new(), remote: None }];
    driver.reserve(reserved(Some(LINK)), false);
    driver.bind(LINK, Bound { mark: 0, interface: 7 });
    let heard = wire.heard_from.take();
    assert_eq!(heard, [7, 7]);
    driver.detach(LINK);
    assert!(wire.heard_from.borrow().is_empty(), "nothing is opened or closed");
    driver.reserve(reserved(None), true);
    assert_eq!(wire.heard_from.take(), [7, 0]);
    driver.reserve(Vec::new(), true);
    assert_eq!(wire.heard_from.take(), [0]);
}
