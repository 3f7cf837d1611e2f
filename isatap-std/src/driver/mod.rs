//! The one run loop: packets and time between a machine of the core, one set of
//! protocol-41 sockets and any number of TUN devices.
//!
//! ```text
//! TUN ──read──▶ encapsulate ──▶ cut into segments ──sendmmsg──▶ socket
//! TUN ◀─write── join segments ◀── decapsulate ◀──recvmmsg── socket
//!                        ICMPv4 errors ──▶ handle_icmpv4
//! ```
//!
//! [`Driver`] is generic over the core's [`Machine`]. It moves packets and keeps the
//! deadline; what a role adds (events, names, netlink, a control socket) is its owner's:
//! the owner [watches](Driver::watch) its own descriptors and gets back from
//! [`turn`](Driver::turn) which of them are ready. [`run`](crate::run) is such an
//! owner.
//!
//! - The kernel forwards; the machine only encapsulates and decapsulates.
//! - A super-packet is decided about once and cut afterwards.
//! - Nothing that a single packet meets ends the loop: what the kernel refuses is counted
//!   in [`IoCounters`], what the machine refuses in its own counters. Only a device that
//!   somebody deleted is an error.
//! - Each turn handles a bounded batch of every source, so that none starves the others.

pub mod attachment;
pub mod heard;
mod inbound;
mod io;
mod lan;
mod outbound;
mod parking;
mod poller;
mod tap;

pub use io::{Device, OuterSocket};
pub use poller::Token;

use crate::clock::Clock;
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::offload::{BUFFER_LEN, Coalescer, VirtioHeader};
use crate::proto41_socket::{Datagram, Proto41Socket, ReceiveBatch};
use crate::tun::Tun;
use heard::Heard;
use isatap_core::engine::{Event, Machine, Parked, Parking, Verdict, Via};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::time::Instant;
use lan::LanPort;
use outbound::Outgoing;
use parking::Way;
use poller::{Poller, Source};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::Ipv6Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
pub(crate) use tap::Tap;

/// Moves packets and time between a machine, its sockets and its devices.
#[derive(Debug)]
pub struct Driver<M, S = Proto41Socket, D = Tun> {
    // A node is as large as its tables: more than a stack should carry about.
    machine: Box<M>,
    socket: S,
    ports: Vec<Port<D>>,
    lans: Vec<LanPort>,
    clock: Clock,
    entropy: OsEntropy,
    poller: Poller,
    counters: IoCounters,
    heard: Heard,
    tap: Option<Tap>,
    capture_error: Option<Error>,
    received: ReceiveBatch,
    outgoing: Vec<Outgoing>,
    slab: Vec<u8>,
    scratch: Vec<u8>,
    parked: Parking<Vec<Parked<Way>>, Vec<u8>, Way>,
    unreachable_from: Option<Ipv6Addr>,
    /// What the owner is yet to be told, taken early: see [`turn`](Driver::turn).
    events: VecDeque<Event>,
}

/// A link of the machine's and the device that stands for it.
#[derive(Debug)]
struct Port<D> {
    link: LinkId,
    device: D,
    coalescer: Coalescer,
}

/// What became of packets outside the machine. What the sockets refused to send is
/// [`Proto41Socket::counters`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct IoCounters {
    /// Packets that a device would not take: it is down, or the kernel is short of memory.
    pub device_write_failed: u64,
    /// Packets of a device's that could not be read, or asked for an offload that was
    /// never offered.
    pub device_read_failed: u64,
    /// Receive calls that failed.
    pub receive_failed: u64,
    /// Packets that the sockets did not take, whatever the reason.
    pub send_failed: u64,
    /// Verdicts and transmissions for links that have no device here.
    pub no_device: u64,
    /// Packets that should have waited for a peer or neighbour to answer, for which there was
    /// no room, or which waited for one that did not.
    pub not_kept: u64,
    /// Packets that are missing in the capture: its reader or disk is too slow, or nobody reads.
    pub not_recorded: u64,
}

/// Memory of packets from devices that are under way at once. Beyond the second limit a
/// batch of super-packets would only leave the caches.
const OUTBOUND_PACKETS: usize = 32;
const OUTBOUND_BYTES: usize = 256 << 10;
/// Packets that wait for peers or neighbours to answer: a busy relay's too.
pub(crate) const PARKED_PACKETS: usize = 256;
/// ICMPv4 errors handled in a row.
const ICMPV4_BATCH: usize = 16;

impl<M: Machine, S: OuterSocket, D: Device> Driver<M, S, D> {
    /// Starts a clock, and a loop without devices.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or a system without randomness.
    pub fn new(machine: Box<M>, socket: S) -> Result<Self, Error> {
        let poller = Poller::open()?;
        poller.watch(socket.packets_fd(), Source::Packets)?;
        if let Some(fd) = socket.icmpv4_fd() {
            poller.watch(fd, Source::Icmpv4)?;
        }
        Ok(Self {
            machine,
            socket,
            ports: Vec::new(),
            lans: Vec::new(),
            clock: Clock::start(),
            entropy: OsEntropy::open()?,
            poller,
            counters: IoCounters::default(),
            heard: Heard::default(),
            tap: None,
            capture_error: None,
            received: ReceiveBatch::new(64),
            outgoing: Vec::with_capacity(OUTBOUND_PACKETS),
            slab: vec![0; OUTBOUND_PACKETS * BUFFER_LEN],
            scratch: vec![0; BUFFER_LEN],
            // Pages that nobody waits in are never touched.
            parked: Parking::new(vec![Parked::EMPTY; PARKED_PACKETS], vec![0; PARKED_PACKETS * BUFFER_LEN]),
            unreachable_from: None,
            events: VecDeque::new(),
        })
    }

    /// Makes `device` the one of `link`.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn attach(&mut self, link: LinkId, device: D) -> Result<(), Error> {
        self.poller.watch(device.as_fd(), Source::Device(self.ports.len()))?;
        self.ports.push(Port { link, device, coalescer: Coalescer::new() });
        Ok(())
    }

    /// Watches a descriptor of the owner's for being readable.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn watch(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Error> {
        self.poller.watch(fd, Source::Owner(token))
    }

    /// The same, told once for all that waits: who cannot take it now is not kept busy, and
    /// tries again of his own accord.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn watch_edge(&self, fd: BorrowedFd<'_>, token: Token) -> Result<(), Error> {
        self.poller.watch_edge(fd, Source::Owner(token))
    }

    /// No longer watches a descriptor. Closing it does that as well, unless it was cloned.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) {
        self.poller.unwatch(fd);
    }

    /// Records outer packets from now on: link type 101, raw IP. What is sent is recorded
    /// as handed to the kernel, with Identification 0; what is received as it came. `path` is a
    /// regular file, made or emptied, or a FIFO, whose reader may come and go. A reader or disk
    /// that is too slow costs packets of the capture ([`IoCounters::not_recorded`]) and nothing
    /// else.
    ///
    /// # Errors
    ///
    /// The file cannot be written, is of another kind, or is another user's; links are not
    /// followed.
    pub fn record(&mut self, path: &std::path::Path) -> Result<(), Error> {
        self.tap = Some(Tap::create(path)?);
        Ok(())
    }

    /// Ends recording here, to [go on](Self::go_on_recording) elsewhere.
    pub(crate) fn take_recording(&mut self) -> Option<Tap> {
        self.tap.take()
    }

    /// Records into a file that is open already.
    pub(crate) fn go_on_recording(&mut self, tap: Tap) {
        self.tap = Some(tap);
    }

    /// Why [recording](Self::record) has ended by itself, once: a full disk, say. Or that
    /// packets are missing.
    pub fn take_capture_error(&mut self) -> Option<Error> {
        self.capture_error.take()
    }

    /// The time that the machine lives in.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The machine.
    pub fn machine(&self) -> &M {
        &self.machine
    }

    /// The next thing that the owner should know or do. Packets that waited for what has
    /// happened are on their way then.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front().or_else(|| self.next_event())
    }

    fn next_event(&mut self) -> Option<Event> {
        loop {
            let event = self.machine.poll_event()?;
            match event.wait_end() {
                Some((ticket, end)) => {
                    let link = match event {
                        Event::Released { link, .. } | Event::Abandoned { link, .. } => link,
                        _ => LinkId::NULL,
                    };
                    self.end_wait(link, ticket, end);
                }
                None => return Some(event),
            }
        }
    }

    /// The machine, to be told something; the next [`turn`](Self::turn) sends what it then
    /// wants to send.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The sockets.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// The sockets, to open and close some.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// From which address the senders of packets that waited in vain are told so; `None`:
    /// they are not.
    pub fn answer_from(&mut self, address: Option<Ipv6Addr>) {
        self.unreachable_from = address;
    }

    /// What became of packets outside the machine.
    pub fn counters(&self) -> IoCounters {
        self.counters
    }

    /// What was refused lately and from whom, and what ICMPv4 said.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// Waits until something is to be done, at most `timeout`, and does it: a batch of
    /// packets from each side, and what is due. Gives the owner's tokens that are ready.
    ///
    /// `due` is a deadline of the owner's own. Afterwards the owner calls
    /// [`poll_event`](Self::poll_event) until there is none.
    ///
    /// # Errors
    ///
    /// A device is gone: somebody deleted it.
    pub fn turn(&mut self, timeout: Option<Duration>, due: Option<Instant>) -> Result<Vec<Token>, Error> {
        self.transmit();
        let deadline = earlier(self.machine.poll_timeout(), due);
        self.poller.arm(&self.clock, deadline)?;
        let wait = deadline.map(|deadline| self.clock.until(deadline));
        // The timer wakes the poller; here only whether it is too late to wait at all.
        let timeout = if wait == Some(Duration::ZERO) { Some(Duration::ZERO) } else { timeout };
        let mut tokens = Vec::new();
        for source in self.poller.wait(timeout)? {
            match source {
                Source::Device(number) => self.outbound(number)?,
                Source::Packets => self.inbound(),
                Source::Icmpv4 => self.icmpv4_errors(),
                Source::Timer => {}
                Source::Owner(token) => tokens.push(token),
            }
        }
        let now = self.clock.now();
        if self.machine.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now, &mut self.entropy);
        }
        // What leaves by a new port waits for the owner to open it: the next turn sends it.
        let opens = self.socket.has_ports() && self.take_events();
        if !opens {
            self.transmit();
        }
        if let Some(tap) = &mut self.tap {
            match tap.flush() {
                Ok(None) => {}
                Ok(Some(loss)) => self.capture_error = Some(loss),
                Err(error) => {
                    self.capture_error = Some(error);
                    self.tap = None;
                }
            }
            self.counters.not_recorded += self.tap.as_mut().map_or(0, Tap::take_lost);
        }
        // For who waits on our descriptor instead of calling us.
        self.poller.arm(&self.clock, earlier(self.machine.poll_timeout(), due))?;
        Ok(tokens)
    }

    /// Sends what the machine wants to send after the owner's work, and sees to it that the
    /// descriptor is readable when the next thing is due: the machine's, or `due`. For who
    /// waits on the descriptor; [`turn`](Self::turn) begins with the same.
    ///
    /// # Errors
    ///
    /// The kernel does not set the timer, which is not expected.
    pub fn rearm(&mut self, due: Option<Instant>) -> Result<(), Error> {
        self.transmit();
        self.poller.arm(&self.clock, earlier(self.machine.poll_timeout(), due))
    }

    /// Takes what the owner is to be told; whether a port is to be opened.
    fn take_events(&mut self) -> bool {
        while let Some(event) = self.next_event() {
            self.events.push_back(event);
        }
        self.events.iter().any(|event| matches!(event, Event::OpenPort { .. }))
    }

    /// Sends what the machine wants to send of its own accord.
    fn transmit(&mut self) {
        loop {
            let mut packet = PacketMut::empty(&mut self.scratch);
            // The buffer holds the longest packet there is: it is never too short.
            let Ok(Some(transmit)) = self.machine.poll_transmit(&mut packet) else { return };
            let Some(outer) = transmit.outer else {
                let Some(lan) = self.lans.iter_mut().find(|lan| lan.is_of(transmit.link)) else {
                    self.counters.no_device += 1;
                    continue;
                };
                // It is said again: advertisements come three in a row.
                self.counters.send_failed += u64::from(!lan.send(packet.as_slice()));
                continue;
            };
            let datagram = Datagram::new(&outer, outer.payload(packet.as_slice()));
            send_one(&self.socket, &mut self.tap, &mut self.counters, &datagram);
        }
    }

    fn icmpv4_errors(&mut self) {
        for _ in 0..ICMPV4_BATCH {
            let error = match self.socket.receive_icmpv4(&mut self.scratch) {
                Ok(Some(error)) => error,
                Ok(None) => return,
                Err(_) => {
                    self.counters.receive_failed += 1;
                    return;
                }
            };
            let now = self.clock.now();
            self.heard.report(now, error.source, self.scratch.get(error.range.clone()).unwrap_or_default());
            self.icmpv4_message(error.range);
        }
    }

    /// Hands the ICMPv4 message in the scratch buffer to the machine.
    fn icmpv4_message(&mut self, range: std::ops::Range<usize>) {
        let now = self.clock.now();
        let Ok(mut message) = PacketMut::new(&mut self.scratch, range) else { return };
        let verdict = self.machine.handle_icmpv4(now, &mut message);
        let mut outlet = Outlet {
            socket: &self.socket,
            ports: &self.ports,
            tap: &mut self.tap,
            counters: &mut self.counters,
            // What is for a native link is the kernel's to forward.
            fallback: self.ports.first().map(|port| port.link),
        };
        outlet.carry_out(&verdict, &message);
    }
}

impl<M, S, D> AsFd for Driver<M, S, D> {
    /// Readable when [`turn`](Driver::turn) has something to do; for loops of others.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.poller.as_fd()
    }
}

/// Where single packets go: answers, and what is not worth a batch.
struct Outlet<'d, S, D> {
    socket: &'d S,
    ports: &'d [Port<D>],
    tap: &'d mut Option<Tap>,
    counters: &'d mut IoCounters,
    /// The link whose device takes what is for a link without one.
    fallback: Option<LinkId>,
}

impl<S: OuterSocket, D: Device> Outlet<'_, S, D> {
    /// Sends or delivers what a verdict says that the buffer holds. Drops are counted by
    /// the machine.
    fn carry_out(&mut self, verdict: &Verdict, packet: &PacketMut<'_>) {
        match verdict {
            Verdict::Tunnel { outer, .. } | Verdict::Answer { via: Via::Tunnel { outer, .. }, .. } => {
                let datagram = Datagram::new(outer, outer.payload(packet.as_slice()));
                send_one(self.socket, self.tap, self.counters, &datagram);
            }
            Verdict::Deliver { link, .. }
            | Verdict::Native { link, .. }
            | Verdict::Answer { via: Via::Host { link } | Via::Native { link, .. }, .. } => {
                self.deliver(*link, packet.as_slice());
            }
            _ => {}
        }
    }

    fn deliver(&mut self, link: LinkId, packet: &[u8]) {
        let device = |link| self.ports.iter().find(|port| Some(port.link) == link).map(|port| &port.device);
        match device(Some(link)).or_else(|| device(self.fallback)) {
            Some(device) if device.write(packet, &VirtioHeader::default()).is_err() => {
                self.counters.device_write_failed += 1;
            }
            Some(_) => {}
            None => self.counters.no_device += 1,
        }
    }
}

fn send_one<S: OuterSocket>(socket: &S, tap: &mut Option<Tap>, counters: &mut IoCounters, datagram: &Datagram<'_>) {
    if let Some(tap) = tap {
        tap.sent(datagram);
    }
    socket.send(std::slice::from_ref(datagram), &mut |_, _| counters.send_failed += 1);
}

fn earlier(a: Option<Instant>, b: Option<Instant>) -> Option<Instant> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The kernel says so of a device that was deleted; everything else passes.
fn is_deleted(error: &std::io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBADFD | libc::ENODEV)) || error.kind() == ErrorKind::NotFound
}

fn deleted(device: &str) -> Error {
    Error::refused("read packets from", device, std::io::Error::from_raw_os_error(libc::ENODEV))
        .with_advice("another hand deleted the device: start again")
}

const _: () = assert!(BUFFER_LEN > HEADROOM + 65_535);

#[cfg(test)]
mod tests;
