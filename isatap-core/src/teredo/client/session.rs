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
    /// Bubbles, direct and indirect. [RFC 4380 §5.2.4 case 5]
    Bubbles,
    /// The connectivity test. [RFC 4380 §5.2.9]
    Test,
    /// Bubbles on the local network. [RFC 4380 §5.2.4 case 3]
    Local,
    /// The peer is trusted, and may not know yet where we are: its nonce is
    /// awaited, or a moment.
    Confirm,
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

/// How a wait ended, until it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Released,
    Abandoned(DropReason),
}

/// The packets that wait in one direction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    pub(super) held: u8,
    pub(super) end: Option<End>,
}

impl Queue {
    const EMPTY: Queue = Queue { held: 0, end: None };

    fn finish(&mut self, end: End) {
        if self.held > 0 {
            self.held = 0;
            self.end = Some(end);
        }
    }
}

/// The echo test of RFC 6081 §5.5.
#[derive(Clone, Copy, Debug)]
pub(super) struct EchoTest {
    pub(super) nonces: [[u8; 8]; 2],
    /// What the servers saw: the lower and the upper port.
    pub(super) ports: [u16; 2],
    pub(super) count: u8,
    pub(super) until: Expiry,
}

impl EchoTest {
    pub(super) const NONE: EchoTest = EchoTest { nonces: [[0; 8]; 2], ports: [0; 2], count: 0, until: Expiry::NEVER };
}

/// A row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    /// The peer; `::`: the row is free.
    pub(super) address: Ipv6Addr,
    generation: u16,
    pub(super) work: Work,
    pub(super) deadline: Expiry,
    pub(super) attempts: u8,
    /// The attempt that the last bubble from a secret address belongs to.
    pub(super) secret_attempt: u8,
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
    /// Where this client also listens for the peer. `TER-76`
    pub(super) own_port: u16,
    /// Which port the caller was told to open.
    pub(super) told_port: u16,
    /// What the NAT will make of `own_port`. `TER-81`
    pub(super) predicted: u16,
    pub(super) echo: EchoTest,
    /// When the ports of one's own come into play, if the primary one alone
    /// did not help.
    pub(super) later: Expiry,
    /// `TER-75`
    pub(super) refresh_at: Expiry,
    pub(super) refreshes: u8,
    used: Instant,
}

impl Session {
    pub(super) const FREE: Session = Session {
        address: Ipv6Addr::UNSPECIFIED,
        generation: 0,
        work: Work::Idle,
        deadline: Expiry::NEVER,
        attempts: 0,
        secret_attempt: 0,
        is_own: false,
        outbound: Queue::EMPTY,
        inbound: Queue::EMPTY,
        due: Due::empty(),
        targets: Targets::empty(),
        alternates: [SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0); AlternateAddresses::MAX],
        peer_port: 0,
        own_port: 0,
        told_port: 0,
        predicted: 0,
        echo: EchoTest::NONE,
        later: Expiry::NEVER,
        refresh_at: Expiry::NEVER,
        refreshes: 0,
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
        // Until the end of the last wait is told, nothing new waits here.
        if queue.held >= HELD || queue.end.is_some() {
            return None;
        }
        queue.held = queue.held.saturating_add(1);
        Some(ticket)
    }

    /// The end of all that is under way. The ports stay.
    pub(super) fn finish(&mut self, end: End) {
        self.work = Work::Idle;
        self.deadline = Expiry::NEVER;
        self.later = Expiry::NEVER;
        self.attempts = 0;
        self.secret_attempt = 0;
        self.outbound.finish(end);
        self.inbound.finish(end);
    }

    /// Begins something that takes until `deadline`.
    pub(super) fn begin(&mut self, work: Work, due: Due, deadline: Expiry) {
        self.work = work;
        self.attempts = 1;
        self.due.insert(due);
        self.deadline = deadline;
    }

    /// Stops listening on the random port. `TER-79`, `TER-82`
    pub(super) fn close_port(&mut self) {
        self.own_port = 0;
        self.predicted = 0;
        self.echo = EchoTest::NONE;
        self.refresh_at = Expiry::NEVER;
        self.refreshes = 0;
        self.due.remove(Due::PROBE_LOWER | Due::PROBE_PEER | Due::PROBE_UPPER);
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
            && self.outbound.end.is_none()
            && self.inbound.end.is_none()
            && self.later == Expiry::NEVER
            && self.own_port == 0
            && self.told_port == 0
    }

    /// Whether an outsider's packet began what is under way, or had a port opened.
    pub(super) fn is_outsiders(&self) -> bool {
        !self.is_idle() && !self.is_own
    }

    /// Listens on a port of its own. It is closed if nobody is heard there in time.
    pub(super) fn open_port(&mut self, now: Instant, port: u16) {
        self.own_port = port;
        self.refresh_at = Expiry::at(now.saturating_add(PORT_TRIAL));
    }

    pub(super) fn last_use(&self) -> Instant {
        self.used
    }

    /// The earliest deadline.
    pub(super) fn next(&self) -> Expiry {
        self.deadline.min(self.later).min(self.echo.until).min(self.refresh_at)
    }
}
