//! What is under way with one peer.

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::PORT_TRIAL;
use crate::drop_reason::DropReason;
use crate::engine::Ticket;
use crate::teredo::packet::AlternateAddresses;
use crate::time::{Expiry, Instant};

/// Packets that wait for one peer, in each direction. `TER-42`
pub(super) const HELD: u8 = 4;

/// What a client does to reach a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// Nothing; the row may only be kept for its ports.
    Idle,
    /// The peer is asked until it answers, or too often in vain.
    Ask(Ask),
    /// The peer is trusted, and may not know yet where we are: its nonce is
    /// awaited, until then.
    Confirm(Instant),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) how: How,
    pub(super) attempts: u8,
    /// When the next attempt is due.
    pub(super) next: Instant,
    /// Whether this attempt may still ask from a secret address. `TER-102`
    pub(super) may_ask_secretly: bool,
}

impl Ask {
    pub(super) const fn new(how: How, attempts: u8, next: Instant) -> Self {
        Ask { how, attempts, next, may_ask_secretly: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// Bubbles, direct and indirect. [RFC 4380 §5.2.4 case 5]
    Bubbles,
    /// The connectivity test. [RFC 4380 §5.2.9]
    Test,
    /// Bubbles on the local network. [RFC 4380 §5.2.4 case 3]
    Local,
    /// Asks a trusted peer that was silent whether it is still there.
    /// [RFC 6081 §5.7]
    Solicit,
}

bitflags::bitflags! {
    /// What waits to be written by `poll_transmit`.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Due: u16 {
        /// Entropy first: a nonce, a port.
        const DRAW = 1;
        const INDIRECT = 2;
        /// The echo request of the connectivity test.
        const ECHO = 4;
        /// A direct bubble that asks for a sign of life.
        const SOLICIT = 8;
        /// A direct bubble that is one.
        const ADVERTISE = 16;
        /// A bubble to where local discovery heard the peer, and to the group.
        const LOCAL = 32;
        const LOCAL_GROUP = 64;
        /// The three of an echo test, in this order. [RFC 6081 §5.5.4.1]
        const PROBE_LOWER = 128;
        const PROBE_PEER = 256;
        const PROBE_UPPER = 512;
        const PROBES = 128 | 256 | 512;
        /// A bubble by the peer's server from a secret address. `TER-102`
        const SECRET = 1024;
    }
}

bitflags::bitflags! {
    /// Where direct bubbles go.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub(super) struct Targets: u8 {
        /// The mapping in the peer's address.
        const EMBEDDED = 1;
        /// The peer's random port. `TER-77`, `TER-100`
        const RANDOM = 2;
        /// Where the peer is trusted.
        const MAPPING = 4;
        const ALTERNATE_0 = 8;
        const ALTERNATE_1 = 16;
        const ALTERNATE_2 = 32;
        const ALTERNATE_3 = 64;
        /// The embedded mapping, from the random port of one's own.
        const FROM_RANDOM = 128;
    }
}

const ALTERNATES: [Targets; AlternateAddresses::MAX] =
    [Targets::ALTERNATE_0, Targets::ALTERNATE_1, Targets::ALTERNATE_2, Targets::ALTERNATE_3];

/// The packets that wait in one direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    Empty,
    Holding(u8),
    /// Yet to be told: they are released, or abandoned for this reason.
    Ended(Result<(), DropReason>),
}

impl Queue {
    fn finish(&mut self, end: Result<(), DropReason>) {
        if let Queue::Holding(_) = self {
            *self = Queue::Ended(end);
        }
    }
}

/// A port of this client's that only one peer is to send to. `TER-76`
#[derive(Clone, Copy, Debug)]
pub(super) struct OwnPort {
    pub(super) number: u16,
    pub(super) guess: Guess,
    /// Echo tests so far.
    pub(super) tests: u8,
    /// When it is refreshed or closed. `TER-75`
    pub(super) refresh_at: Instant,
    pub(super) refreshes: u8,
}

/// What the NAT will make of the port. `TER-81`
#[derive(Clone, Copy, Debug)]
pub(super) enum Guess {
    None,
    Asked(EchoTest),
    Found(u16),
}

/// The echo test of RFC 6081 §5.5.
#[derive(Clone, Copy, Debug)]
pub(super) struct EchoTest {
    pub(super) nonces: [[u8; 8]; 2],
    /// What the servers saw: the lower and the upper port.
    pub(super) seen: [Option<u16>; 2],
    pub(super) until: Instant,
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// The peer; `::`: the row is free.
    pub(super) address: Ipv6Addr,
    generation: u16,
    pub(super) work: Work,
    /// The host itself has a packet for the peer, or had one.
    pub(super) is_own: bool,
    /// Packets from the inside.
    pub(super) outbound: Queue,
    /// Packets from the network.
    pub(super) inbound: Queue,
    pub(super) due: Due,
    pub(super) targets: Targets,
    alternates: [SocketAddrV4; AlternateAddresses::MAX],
    /// Where the peer also listens. `TER-78`
    pub(super) peer_port: u16,
    /// Where this client also listens for the peer.
    pub(super) port: Option<OwnPort>,
    /// Which port the caller was told to open.
    pub(super) told_port: u16,
    /// When the ports of one's own come into play, if the primary one alone
    /// did not help.
    pub(super) later: Expiry,
    used: Instant,
}

impl Session {
    pub(super) const FREE: Session = Session {
        address: Ipv6Addr::UNSPECIFIED,
        generation: 0,
        work: Work::Idle,
        is_own: false,
        outbound: Queue::Empty,
        inbound: Queue::Empty,
        due: Due::empty(),
        targets: Targets::empty(),
        alternates: [SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0); AlternateAddresses::MAX],
        peer_port: 0,
        port: None,
        told_port: 0,
        later: Expiry::NEVER,
        used: Instant::ZERO,
    };

    pub(super) fn is_free(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Takes the row for a peer; tickets of before are stale.
    pub(super) fn claim(&mut self, now: Instant, address: Ipv6Addr) {
        let (generation, told_port) = (self.generation.wrapping_add(1), self.told_port);
        *self = Session { address, generation, told_port, used: now, ..Session::FREE };
    }

    /// The ticket of the packets that wait in one direction.
    pub(super) fn ticket(&self, row: usize, inbound: bool) -> Ticket {
        let slot = row.saturating_mul(2).saturating_add(usize::from(inbound));
        Ticket { slot: u32::try_from(slot).unwrap_or(u32::MAX), generation: self.generation }
    }

    /// The queue of a ticket, told by its slot.
    pub(super) fn queue_mut(&mut self, slot: u32) -> &mut Queue {
        if slot & 1 == 1 { &mut self.inbound } else { &mut self.outbound }
    }

    /// One more packet waits, if there is room for it.
    pub(super) fn hold(&mut self, now: Instant, row: usize, inbound: bool) -> Option<Ticket> {
        self.used = now;
        let ticket = self.ticket(row, inbound);
        let queue = if inbound { &mut self.inbound } else { &mut self.outbound };
        let held = match *queue {
            Queue::Empty => 0,
            Queue::Holding(held) if held < HELD => held,
            // Until the end of the last wait is told, nothing new waits here.
            Queue::Holding(_) | Queue::Ended(_) => return None,
        };
        *queue = Queue::Holding(held.saturating_add(1));
        Some(ticket)
    }

    /// The end of all that is under way. The ports stay.
    pub(super) fn finish(&mut self, end: Result<(), DropReason>) {
        self.work = Work::Idle;
        self.later = Expiry::NEVER;
        self.outbound.finish(end);
        self.inbound.finish(end);
    }

    /// The peer is reachable: what waits may go, and nobody is asked.
    pub(super) fn reached(&mut self) {
        self.finish(Ok(()));
        self.due = self.due.intersection(Due::ADVERTISE);
        if let Some(OwnPort { guess: guess @ Guess::Asked(_), .. }) = &mut self.port {
            *guess = Guess::None;
        }
    }

    /// Listens on a port of its own. It is closed if nobody is heard there in time.
    pub(super) fn open_port(&mut self, now: Instant, number: u16) {
        let refresh_at = now.saturating_add(PORT_TRIAL);
        self.port = Some(OwnPort { number, guess: Guess::None, tests: 0, refresh_at, refreshes: 0 });
    }

    /// Stops listening on the random port. `TER-79`, `TER-82`
    pub(super) fn close_port(&mut self) {
        self.port = None;
        self.due.remove(Due::PROBES);
    }

    /// The random port; 0: none.
    pub(super) fn own_port(&self) -> u16 {
        self.port.map_or(0, |port| port.number)
    }

    /// `TER-84 [RFC 6081 §5.6.4.2]`: remembered, and bubbled.
    pub(super) fn set_alternates(&mut self, addresses: impl Iterator<Item = SocketAddrV4>) -> Targets {
        let mut targets = Targets::empty();
        for ((place, target), address) in self.alternates.iter_mut().zip(ALTERNATES).zip(addresses) {
            *place = address;
            targets.insert(target);
        }
        targets
    }

    /// The alternate address that a target stands for.
    pub(super) fn alternate(&self, target: Targets) -> Option<SocketAddrV4> {
        let place = ALTERNATES.iter().position(|alternate| *alternate == target)?;
        self.alternates.get(place).copied()
    }

    /// Whether nothing is lost when the row goes to somebody else.
    pub(super) fn is_idle(&self) -> bool {
        self.work == Work::Idle
            && self.due.is_empty()
            && self.targets.is_empty()
            && self.outbound == Queue::Empty
            && self.inbound == Queue::Empty
            && self.later == Expiry::NEVER
            && self.port.is_none()
            && self.told_port == 0
    }

    /// Whether it would stay as it is when the peer is heard on the primary port.
    pub(super) fn is_settled(&self) -> bool {
        let waits = |queue: &Queue| matches!(queue, Queue::Holding(_));
        self.work == Work::Idle
            && !waits(&self.outbound)
            && !waits(&self.inbound)
            && self.due.difference(Due::ADVERTISE).is_empty()
            && self.later == Expiry::NEVER
            && self.port.is_none()
    }

    /// Whether it is in use, or the host's own: a row that went idle keeps its
    /// address, and is for an outsider as good as a free one.
    pub(super) fn is_taken(&self) -> bool {
        self.is_own || !self.is_idle()
    }

    /// Whether an outsider's packet began what is under way, or had a port opened.
    pub(super) fn is_outsiders(&self) -> bool {
        !self.is_idle() && !self.is_own
    }

    pub(super) fn last_use(&self) -> Instant {
        self.used
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Expiry {
        let work = match self.work {
            Work::Idle => Expiry::NEVER,
            Work::Ask(Ask { next: at, .. }) | Work::Confirm(at) => Expiry::at(at),
        };
        let port = match self.port {
            Some(OwnPort { guess: Guess::Asked(test), refresh_at, .. }) => Expiry::at(test.until.min(refresh_at)),
            Some(OwnPort { refresh_at, .. }) => Expiry::at(refresh_at),
            None => Expiry::NEVER,
        };
        work.min(port).min(self.later)
    }
}
