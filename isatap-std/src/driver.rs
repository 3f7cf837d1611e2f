//! Packets and time between a machine of the core, its sockets and any number of TUN devices.
//!
//! ```text
//! TUN ──read──▶ encapsulate ──▶ cut into segments ──sendmmsg──▶ socket
//! TUN ◀─write── join segments ◀── decapsulate ◀──recvmmsg── socket
//!                        ICMPv4 errors ──▶ handle_icmpv4
//! ```
//!
//! [`Driver`] is generic over the core's [`Machine`]. It moves packets and says when something
//! is due; the loop is its owner's, who may have several: their descriptors and his own wait at
//! one [`Poller`]. A round of the loop:
//!
//! 1. [`Poller::wait`], until the earliest [`Driver::deadline`] at most;
//! 2. [`Driver::ready`] for what is ready there, or what the owner does for a [`Token`] of his;
//! 3. [`Driver::advance`] for what is due;
//! 4. [`Driver::poll_event`], and what the owner does about it, until there is none;
//! 5. [`Driver::transmit`], now that the ports are open that an event asked for.
//!
//! [`service`](crate::service) is such an owner.
//!
//! - The kernel forwards; the machine only encapsulates and decapsulates.
//! - A super-packet is decided about once and cut afterwards.
//! - Nothing that a single packet meets ends the loop: what the kernel refuses is counted
//!   in [`IoCounters`], what the machine refuses in its own counters. Only a device that
//!   somebody deleted is an error.
//! - Each round handles a bounded batch of every source, so that none starves the others.

pub mod attachment;
mod full_table;
pub mod heard;
mod inbound;
mod io;
mod lan;
mod listening;
mod outbound;
mod outlet;
mod parking;
mod poller;
mod reserved;
mod shortcut;
mod tap;

pub use full_table::FollowedTable;
pub use io::{Device, OuterSocket};
pub use poller::{Poller, Source, Token, Watcher};
pub use reserved::Reserved;
pub use shortcut::{Carriage, Shortcut};
pub(crate) use tap::check as check_recording;

use crate::clock::Clock;
use crate::entropy::OsEntropy;
use crate::error::Error;
use crate::offload::{BUFFER_LEN, Coalescer};
use crate::proto41_socket::{Bound, OuterPacket, Proto41Socket, ReceiveBatch};
use crate::tun::Tun;
use heard::Heard;
use inbound::Delivered;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Event, Machine, Parked, Parking, Verdict};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::time::Instant;
use lan::LanPort;
use listening::Listening;
use outbound::{Headers, Outgoing};
use outlet::{LinkDevice, Outlet};
use parking::Way;
use shortcut::Shorter;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tap::Tap;

/// Moves packets and time between a machine, its sockets and its devices.
#[derive(Debug)]
pub struct Driver<M, S = Proto41Socket, D = Tun> {
    // A node is as large as its tables: more than a stack should carry about.
    machine: Box<M>,
    out: Outlet<S, D>,
    lans: Vec<LanPort>,
    clock: Clock,
    entropy: OsEntropy,
    watcher: Watcher,
    heard: Heard,
    shorter: Shorter,
    capture_error: Option<Error>,
    listening: Listening,
    takes_rest: bool,
    received: ReceiveBatch,
    delivered: Vec<Delivered>,
    outgoing: Vec<Outgoing>,
    headers: Headers,
    slab: Vec<u8>,
    scratch: Vec<u8>,
    parked: Parking<Vec<Parked<Way>>, Vec<u8>, Way>,
    unreachable_from: Option<Ipv6Addr>,
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
    /// A driver without devices, whose descriptors wait where `watcher` says.
    ///
    /// # Errors
    ///
    /// Out of descriptors, or a system without randomness.
    pub fn new(machine: Box<M>, mut socket: S, watcher: Watcher) -> Result<Self, Error> {
        socket.watch(&watcher)?;
        Ok(Self {
            machine,
            out: Outlet::new(socket),
            lans: Vec::new(),
            clock: watcher.clock(),
            entropy: OsEntropy::open()?,
            watcher,
            heard: Heard::default(),
            shorter: Shorter::default(),
            capture_error: None,
            listening: Listening::default(),
            takes_rest: true,
            received: ReceiveBatch::new(64),
            delivered: Vec::new(),
            outgoing: Vec::with_capacity(OUTBOUND_PACKETS),
            headers: outbound::headers(),
            slab: vec![0; OUTBOUND_PACKETS * BUFFER_LEN],
            scratch: vec![0; BUFFER_LEN],
            // Pages that nobody waits in are never touched.
            parked: Parking::new(vec![Parked::EMPTY; PARKED_PACKETS], vec![0; PARKED_PACKETS * BUFFER_LEN]),
            unreachable_from: None,
        })
    }

    /// Makes `device` the one of `link`.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn attach(&mut self, link: LinkId, device: D) -> Result<(), Error> {
        self.watcher.watch(device.as_fd(), Source::Device(link))?;
        self.shorter.follow_device(self.clock.now(), link, Some(device.name()));
        self.out.ports.push(LinkDevice {
            link,
            device,
            coalescer: Coalescer::new(),
            counters: Counters::ZERO,
            carried: Carriage::default(),
            bound: Bound::default(),
            one_by_one: true,
            addresses: Vec::new(),
        });
        Ok(())
    }

    /// How outer packets of `link` leave and come from now on. Where the sockets cannot take those of a
    /// device, it is tried [again](Self::advance): see [`take_listening`](Self::take_listening).
    pub fn bind(&mut self, link: LinkId, bound: Bound) {
        if let Some(port) = self.out.ports.iter_mut().find(|port| port.link == link && port.bound != bound) {
            port.bound = bound;
            self.shorter.begin_anew();
            self.listen();
        }
    }

    /// Has these packets kept for links that are bound to devices, from now on. `takes_rest`: some link is bound to none.
    /// It is said of all links that there are to be, so that what is for one of them is no other's while it is remade:
    /// until then nothing is let in by another device because a link ends or begins.
    pub fn reserve(&mut self, reserved: Vec<Reserved>, takes_rest: bool) {
        if (&self.out.reserved, self.takes_rest) != (&reserved, takes_rest) {
            (self.out.reserved, self.takes_rest) = (reserved, takes_rest);
            self.shorter.begin_anew();
            self.listen();
        }
    }

    /// Why nothing comes by a device that a link is [bound](Self::bind) to, once: out of descriptors, or it
    /// is gone; `Ok`: what comes by all of them is taken again.
    pub fn take_listening(&mut self) -> Option<Result<(), Error>> {
        self.listening.take_news()
    }

    fn listen(&mut self) {
        let reserved = self.out.reserved.iter().map(|reserved| reserved.interface);
        let bound = self.out.ports.iter().map(|port| port.bound.interface).filter(|interface| *interface != 0);
        let interfaces: Vec<u32> = bound.chain(reserved).chain(self.takes_rest.then_some(0)).collect();
        let outcome = self.out.socket.listen(&interfaces, &self.watcher);
        self.listening.follow(self.clock.now(), outcome);
    }

    /// Closes the device of `link`, which the machine has no more: nobody tells of what waits for
    /// its neighbours. What is [reserved](Self::reserve) stays so.
    pub fn detach(&mut self, link: LinkId) {
        self.count_carried();
        self.out.ports.retain(|port| port.link != link);
        self.shorter.follow_device(self.clock.now(), link, None);
        self.shorter.begin_anew();
        self.heard.forget(link);
        let lost = self.parked.discard_if(|ticket| ticket.is_of(link));
        self.out.counters.not_kept += u64::try_from(lost).unwrap_or_default();
    }

    /// Where descriptors of the owner's are watched beside its own.
    pub fn watcher(&self) -> &Watcher {
        &self.watcher
    }

    /// Records outer packets from now on: link type 101, raw IP. Their headers are written anew
    /// from what the kernel was told, or told: without options, and with the Identification where
    /// it said one. `path` is a
    /// regular file, made or emptied, or a FIFO, whose reader may come and go. A reader or disk
    /// that is too slow costs packets of the capture ([`IoCounters::not_recorded`]) and nothing
    /// else.
    ///
    /// # Errors
    ///
    /// The file cannot be written, is of another kind, or is another user's; links are not
    /// followed.
    pub fn record(&mut self, path: &Path) -> Result<(), Error> {
        self.out.tap = Some(Tap::create(path, false)?);
        Ok(())
    }

    /// The same, after what is there already, if the file is one of those that were `recorded`
    /// before. Puts it among them.
    ///
    /// # Errors
    ///
    /// As [`record`](Self::record).
    pub(crate) fn record_on(&mut self, path: &Path, recorded: &mut Vec<PathBuf>) -> Result<(), Error> {
        let goes_on = recorded.iter().any(|known| known == path);
        self.out.tap = Some(Tap::create(path, goes_on)?);
        if !goes_on {
            recorded.push(path.to_owned());
        }
        Ok(())
    }

    /// The file that packets are recorded into.
    pub fn recording(&self) -> Option<&Path> {
        self.out.tap.as_ref().map(Tap::path)
    }

    /// Records no longer.
    pub fn stop_recording(&mut self) {
        self.out.tap = None;
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

    /// The machine, to be told something; [`transmit`](Self::transmit) sends what it then wants
    /// to send.
    pub fn machine_mut(&mut self) -> &mut M {
        &mut self.machine
    }

    /// The sockets.
    pub fn socket(&self) -> &S {
        &self.out.socket
    }

    /// The sockets, to open and close some.
    pub fn socket_mut(&mut self) -> &mut S {
        &mut self.out.socket
    }

    /// From which address the senders of packets that waited in vain are told so; `None`:
    /// they are not.
    pub fn answer_from(&mut self, address: Option<Ipv6Addr>) {
        self.unreachable_from = address;
    }

    /// What became of packets outside the machine.
    pub fn counters(&self) -> IoCounters {
        self.out.counters
    }

    /// What became of the packets of one link: those from its device, and those from the sockets
    /// that were for it; of a link that is alone, all. A super-packet counts once.
    pub fn counters_of(&self, link: LinkId) -> Option<&Counters<u64>> {
        self.out.ports.iter().find(|port| port.link == link).map(|port| &port.counters)
    }

    /// What became of packets from the network that were for none of several links.
    pub fn unclaimed(&self) -> &Counters<u64> {
        &self.out.unclaimed
    }

    /// What was refused lately and from whom, and what ICMPv4 said.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// When [`advance`](Self::advance) has something to do; at once while the machine has
    /// something to send or to tell.
    pub fn deadline(&self) -> Option<Instant> {
        let others = [self.listening.due(), self.shorter.deadline()];
        self.machine.poll_timeout().into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Handles a batch of what is ready. Gives back what is the owner's.
    ///
    /// # Errors
    ///
    /// A device is gone: somebody deleted it.
    pub fn ready(&mut self, source: Source) -> Result<Option<Token>, Error> {
        match source {
            Source::Device(link) => self.outbound(link)?,
            Source::Packets => self.inbound(),
            Source::Icmpv4 => self.icmpv4_errors(),
            Source::Shortcut => self.shorter.hear(self.clock.now()),
            Source::Owner(token) => return Ok(Some(token)),
        }
        self.follow();
        Ok(None)
    }

    /// Does what is due, and writes what was recorded.
    pub fn advance(&mut self) {
        let now = self.clock.now();
        if self.machine.poll_timeout().is_some_and(|deadline| deadline <= now) {
            self.machine.handle_timeout(now, &mut self.entropy);
        }
        if self.listening.due().is_some_and(|due| due <= now) {
            self.listen();
        }
        self.count_when_due(now);
        if let Some(tap) = &mut self.out.tap {
            match tap.flush() {
                Ok(None) => {}
                Ok(Some(loss)) => self.capture_error = Some(loss),
                Err(error) => {
                    self.capture_error = Some(error);
                    self.out.tap = None;
                }
            }
            self.out.counters.not_recorded += self.out.tap.as_mut().map_or(0, Tap::take_lost);
        }
    }

    /// Sends what the machine wants to send of its own accord.
    pub fn transmit(&mut self) {
        self.follow();
        loop {
            let mut packet = PacketMut::empty(&mut self.scratch);
            // The buffer holds the longest packet there is: it is never too short.
            let Ok(Some(transmit)) = self.machine.poll_transmit(&mut packet) else { return };
            let Some(outer) = transmit.outer else {
                let Some(lan) = self.lans.iter_mut().find(|lan| lan.is_of(transmit.link)) else {
                    self.out.counters.no_device += 1;
                    continue;
                };
                // It is said again: advertisements come three in a row.
                self.out.counters.send_failed += u64::from(!lan.send(packet.as_slice()));
                continue;
            };
            let bound = self.out.bound_of(transmit.link);
            self.out.send(&OuterPacket::new(outer, packet.as_slice()).bound(bound));
        }
    }

    /// A round of the loop of a driver that is alone at `poller`, without what its owner does:
    /// sends, waits at most `timeout`, does what is ready and due. Gives the owner's tokens that
    /// are ready.
    ///
    /// # Errors
    ///
    /// As [`ready`](Self::ready).
    pub fn turn(&mut self, poller: &mut Poller, timeout: Option<Duration>) -> Result<Vec<Token>, Error> {
        self.transmit();
        let mut tokens = Vec::new();
        for (_, source) in poller.wait(timeout, self.deadline())? {
            tokens.extend(self.ready(source)?);
        }
        self.advance();
        Ok(tokens)
    }

    fn icmpv4_errors(&mut self) {
        for _ in 0..ICMPV4_BATCH {
            let error = match self.out.socket.receive_icmpv4(&mut self.scratch) {
                Ok(Some(error)) => error,
                Ok(None) => return,
                Err(_) => {
                    self.out.counters.receive_failed += 1;
                    return;
                }
            };
            let now = self.clock.now();
            self.heard.report(now, error.source, self.scratch.get(error.range.clone()).unwrap_or_default());
            self.icmpv4_message(error.range, None);
        }
    }

    /// Hands the ICMPv4 message in the scratch buffer to the machine; `sender`: the link whose packet it quotes,
    /// where that is known.
    fn icmpv4_message(&mut self, range: std::ops::Range<usize>, sender: Option<LinkId>) {
        let now = self.clock.now();
        let Ok(mut message) = PacketMut::new(&mut self.scratch, range) else { return };
        message.set_link(sender);
        let verdict = self.machine.handle_icmpv4(now, &mut message);
        if let Verdict::Drop(reason) = verdict {
            self.out.claimed(None).count(reason);
        }
        // What is for a native link is the kernel's to forward.
        let fallback = self.out.ports.first().map(|port| port.link);
        self.out.carry_out(&verdict, &message, fallback);
    }
}

/// The kernel says so of a device that was deleted; everything else passes.
pub(crate) fn is_deleted(os_error: Option<i32>) -> bool {
    matches!(os_error, Some(libc::EBADFD | libc::ENODEV | libc::ENOENT))
}

fn deleted(device: &str) -> Error {
    Error::refused("read packets from", device, std::io::Error::from_raw_os_error(libc::ENODEV))
        .with_advice("another program deleted it: the link stands still until the device is made again")
}

const _: () = assert!(BUFFER_LEN > HEADROOM + 65_535);

#[cfg(test)]
mod tests;
