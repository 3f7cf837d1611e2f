//! The contract that every machine keeps.
//!
//! | class | calls | rule |
//! |---|---|---|
//! | packets | [`encapsulate`](Machine::encapsulate), [`decapsulate`](Machine::decapsulate), [`handle_icmpv4`](Machine::handle_icmpv4) | the verdict says what the caller's buffer now holds and where it goes |
//! | time | [`handle_timeout`](Machine::handle_timeout) | the only call that takes entropy |
//! | output | [`poll_transmit`](Machine::poll_transmit), [`poll_event`](Machine::poll_event) | drain both after every other call |
//! | sleep | [`poll_timeout`](Machine::poll_timeout) | then wait for it or for a packet |
//!
//! - An outer header is an [`Outer`] beside the bytes, never a part of them: a socket's kernel writes it. Who has whole IPv4
//!   packets calls [`decapsulate_ipv4`](Machine::decapsulate_ipv4) for what comes in, and [`Outer::push`] for what goes out.
//! - Time is an argument; a `now` that goes backwards counts as the latest one seen.
//! - A deadline is due when `now >= deadline`. After `handle_timeout(t)` and a full drain the next deadline is later than `t`.
//! - Output is level-triggered: rows remember what they want and what they told, and a poll writes the difference into the
//!   caller's buffer. No queue can overflow; an add followed by a remove is silence; a buffer too short is an [`EmitError`] and
//!   loses nothing. After a call that may have brought output, and until both polls have said that there is none,
//!   `poll_timeout` answers the last `now`, so a forgetful caller wakes at once.
//! - Inputs of one role (locators changed, names resolved) are methods of that role, each with `now`.

pub(crate) mod limit;
mod parking;
mod shortcut;

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::drop_reason::{Counters, DropReason, Tally};
use crate::error::{EmitError, Table};
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::Outer;
pub use crate::route::Change;
use crate::route::Route;
use crate::time::{Duration, Expiry, Instant};

pub use parking::{Parked, Parking, WaitEnd};
pub use shortcut::{Admits, Carried, Sends};

/// A sans-IO machine: bytes, time and entropy in; verdicts, bytes and events
/// out.
pub trait Machine {
    /// An IPv6 packet from this host (or from the kernel that forwards): it
    /// goes into a tunnel, or stays for a native link, or is dropped. The
    /// caller leaves [`HEADROOM`](crate::packet::HEADROOM).
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict;

    /// What the network brought behind the header `outer`, padding included:
    /// its inner packet is delivered, taken by a control machine, or dropped.
    /// If it is [bound](PacketMut::link) to a link, no other is asked. The caller
    /// leaves [`HEADROOM`](crate::packet::HEADROOM) for an answer.
    fn decapsulate(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict;

    /// The same of an IPv4 packet, header included, for who has no socket
    /// that takes the header off. What [`Outer::pull`] refuses is counted, and
    /// left as it is.
    ///
    /// For who needs the header no more: it is off what is left of the packet,
    /// whatever the verdict. Who keeps packets that wait ([`Verdict::Hold`]),
    /// or logs who sent what is dropped, calls [`Outer::pull`], `refused` and
    /// `decapsulate` instead.
    fn decapsulate_ipv4(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        match Outer::pull(packet) {
            Ok(outer) => self.decapsulate(now, &outer, packet),
            Err(reason) => self.refused(now, reason),
        }
    }

    /// A packet from the network that was refused before it came here: it is
    /// counted.
    fn refused(&mut self, now: Instant, reason: DropReason) -> Verdict;

    /// The link that a packet from the network is for, however it ends, of
    /// those for which `_among` is true; `None`: none of them. A machine of
    /// one link is not asked.
    fn addressee(&self, _outer: &Outer, _packet: &[u8], _among: &dyn Fn(LinkId) -> bool) -> Option<LinkId> {
        None
    }

    /// An ICMPv4 message (without its IPv4 header) about something that this
    /// node sent: by the link that it is [bound](PacketMut::link) to, if the
    /// caller knows. It may become, in place, the ICMPv6 error for the inner
    /// source, for which the quote must hold the inner header. `TUN-40`
    fn handle_icmpv4(&mut self, now: Instant, message: &mut PacketMut<'_>) -> Verdict;

    /// A number that changes when decisions that were told may hold no more, but for what
    /// [`poll_void`](Self::poll_void) says.
    fn generation(&self) -> u32 {
        0
    }

    /// An inner address: decisions that were told about packets to it and from it hold no more. To be asked after each
    /// call, before what that told is remembered, until there is none.
    fn poll_void(&mut self) -> Option<Ipv6Addr> {
        None
    }

    /// The decision about the packet that was [encapsulated](Self::encapsulate) last, if it is remembered and needs
    /// no more than addresses.
    fn last_sends(&self) -> Option<Sends> {
        None
    }

    /// The same of the one that was [delivered](Verdict::Deliver) last.
    fn last_admits(&self) -> Option<Admits> {
        None
    }

    /// Counts what was carried by such decisions, and notes that its neighbour is used. `NDP-50`
    ///
    /// Until when such decisions hold by now; `None`: as was told.
    fn carried(&mut self, _now: Instant, _carried: &Carried) -> Option<Expiry> {
        None
    }

    /// Does what is due. May be called at any time.
    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy);

    /// Writes the next packet to send into `out`, which is emptied first.
    ///
    /// # Errors
    /// `out` is too short; the packet stays wanted.
    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError>;

    /// The next thing the caller should know or do.
    fn poll_event(&mut self) -> Option<Event>;

    /// When to call [`handle_timeout`](Machine::handle_timeout) next.
    fn poll_timeout(&self) -> Option<Instant>;
}

/// What became of a packet. Borrows nothing: the packet is free again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The buffer holds what goes out behind an outer header.
    Tunnel {
        /// The link it goes out of.
        link: LinkId,
        /// The header: for a socket to say, or to be [put in
        /// front](Outer::push).
        outer: Outer,
    },
    /// The buffer holds an IPv6 packet for this host, or for the kernel that
    /// forwards.
    Deliver {
        /// The link it came in by.
        link: LinkId,
        /// Who sent it.
        from: Admitted,
    },
    /// The buffer holds an IPv6 packet for a native link. Resolving the next
    /// hop there is the caller's.
    Native {
        /// The link it goes out of.
        link: LinkId,
        /// The neighbour.
        next_hop: Ipv6Addr,
    },
    /// A control machine took it; the buffer is free.
    Consumed {
        /// The link whose machine it was.
        link: LinkId,
    },
    /// The control machine must see this packet: it is handed in again to the
    /// owner, as it is now. Only `&self` functions answer so.
    Punt {
        /// The link whose machine it is.
        link: LinkId,
    },
    /// The buffer holds an answer to the packet that was in it: an ICMPv6
    /// error, a Neighbor Advertisement, an echo reply.
    Answer {
        /// Where the answer goes.
        via: Via,
        /// Why the packet was dropped, if it was.
        reason: Option<DropReason>,
    },
    /// The packet must wait for a peer to answer. The caller keeps the bytes
    /// that the buffer now holds, in a [`Parking`] for instance, and of a
    /// packet from the network the [`Outer`] that it came behind; or drops
    /// them. The machine has none of them. See [`Event::Released`].
    Hold {
        /// For whom it waits; the same for all packets that wait for the
        /// same.
        ticket: Ticket,
    },
    /// Dropped; who wants to log can parse the bytes again: they are those
    /// handed in behind the outer header, cut to the length that their IPv6
    /// header says, perhaps with the congestion mark of the outer one. In place of a packet whose
    /// sender could not be told the buffer may hold the ICMPv6 error that found
    /// no way.
    Drop(DropReason),
}

impl Verdict {
    /// The link that it names.
    #[must_use]
    pub const fn link(&self) -> Option<LinkId> {
        match *self {
            Verdict::Tunnel { link, .. }
            | Verdict::Deliver { link, .. }
            | Verdict::Native { link, .. }
            | Verdict::Consumed { link }
            | Verdict::Punt { link }
            | Verdict::Answer {
                via: Via::Host { link } | Via::Tunnel { link, .. } | Via::Native { link, .. }, ..
            } => Some(link),
            Verdict::Hold { .. } | Verdict::Drop(_) => None,
        }
    }
}

impl<T: Tally> Counters<T> {
    /// Counts a packet that entered and ended so, for who has several machines
    /// or links to count for.
    pub fn count_verdict(&mut self, verdict: &Verdict) {
        self.entered = self.entered.plus(1);
        let end = match verdict {
            Verdict::Drop(reason) | Verdict::Answer { reason: Some(reason), .. } => return self.count(*reason),
            Verdict::Tunnel { .. } => &mut self.tunnelled,
            Verdict::Deliver { .. } => &mut self.delivered,
            Verdict::Native { .. } => &mut self.native,
            Verdict::Hold { .. } => &mut self.held,
            Verdict::Consumed { .. } | Verdict::Answer { reason: None, .. } => &mut self.consumed,
            // Its end is another's.
            Verdict::Punt { .. } => return,
        };
        *end = end.plus(1);
    }

    /// The same of what a machine found, as its verdict.
    pub(crate) fn settle(&mut self, result: Result<Verdict, DropReason>) -> Verdict {
        let verdict = result.unwrap_or_else(Verdict::Drop);
        self.count_verdict(&verdict);
        verdict
    }
}

/// Who sent a packet that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Admitted {
    /// A host of the site, whose inner source embeds its outer source.
    Host,
    /// A potential router; only from here does a Router Advertisement count.
    Router,
    /// The other end of a configured tunnel.
    Remote,
    /// A relay that was configured, with a source from beyond; it has to vouch for it.
    Relay,
    /// Somebody who may be a relay; nothing vouches for the inner source.
    UnverifiedRelay,
}

impl Admitted {
    /// Who spoke, as `check` prints it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Admitted::Host => "host",
            Admitted::Router | Admitted::Relay => "router",
            Admitted::Remote => "remote",
            Admitted::UnverifiedRelay => "unverified-relay",
        }
    }
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Via {
    /// To this host's own IPv6, which sent the packet over `link`.
    Host {
        /// The link that the packet would have used.
        link: LinkId,
    },
    /// Into a tunnel.
    Tunnel {
        /// The link it goes out of.
        link: LinkId,
        /// The outer header that goes in front.
        outer: Outer,
    },
    /// Out of a native link.
    Native {
        /// The link it goes out of.
        link: LinkId,
        /// The neighbour.
        next_hop: Ipv6Addr,
    },
}

/// A packet that a machine sends of its own accord.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Transmit {
    /// The link it goes out of.
    pub link: LinkId,
    /// The outer header that goes in front; `None`: an IPv6 packet for a
    /// native link.
    pub outer: Option<Outer>,
}

impl Transmit {
    /// One that goes into a tunnel.
    #[must_use]
    pub const fn tunnel(link: LinkId, outer: Outer) -> Self {
        Transmit { link, outer: Some(outer) }
    }
}

/// What the caller should know or do. All are differences: what was added
/// will be told removed, and nothing is told twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Resolve the names of potential routers, then call `routers_resolved`.
    ResolveRouters {
        /// The link whose router list it is.
        link: LinkId,
    },
    /// Resolve the name of the 6to4 relay, then call `relay_resolved`.
    ResolveRelay {
        /// The link whose relay it is.
        link: LinkId,
    },
    /// A prefix for this node's LANs: give a part of it to each (see
    /// `delegate` of the node), or take it back.
    Delegation {
        /// The tunnel that it belongs to.
        link: LinkId,
        /// What happened.
        change: Change,
        /// The prefix.
        delegation: Delegation,
    },
    /// A relay was asked whether packets by it come back. `S6R-50`
    RelayProbed {
        /// The link.
        link: LinkId,
        /// The relay.
        address: Ipv4Addr,
        /// Whether it answered one of the probes.
        reachable: bool,
    },
    /// An address of this host: give it to the interface, or take it back.
    Address {
        /// The interface.
        link: LinkId,
        /// What happened.
        change: Change,
        /// The address.
        address: LearnedAddress,
    },
    /// A route that this host learned.
    Route {
        /// What happened.
        change: Change,
        /// The route; names its link.
        route: Route,
    },
    /// The link's IPv6 MTU.
    Mtu {
        /// The link.
        link: LinkId,
        /// Bytes.
        mtu: u16,
    },
    /// The DNS servers learned have changed: see the interface's `dns_servers`.
    DnsServers {
        /// The interface.
        link: LinkId,
    },
    /// The search domains learned have changed: see `search_domains`.
    SearchDomains {
        /// The interface.
        link: LinkId,
    },
    /// A potential router has answered for the first time, or is gone.
    Router {
        /// The link.
        link: LinkId,
        /// What happened.
        change: Change,
        /// The router's IPv4 address.
        address: Ipv4Addr,
    },
    /// A lifetime is shorter than the interval at which this router may be
    /// asked again: its routes will lapse in between. `ISA-35`
    LifetimeTooShort {
        /// The link.
        link: LinkId,
        /// The router's IPv4 address.
        address: Ipv4Addr,
    },
    /// What was held for this ticket may go: it is handed in again to the call
    /// that held it, behind the same [`Outer`] if it came in one. What a Teredo client
    /// held that came from the network is an IPv6 packet, and is delivered.
    Released {
        /// The link whose machine gave the ticket.
        link: LinkId,
        /// The ticket.
        ticket: Ticket,
    },
    /// What was held for this ticket is to be dropped. Handed in again within
    /// 3 s, what waited for a neighbour (`SEC-1`) is dropped by the machine,
    /// which tells its sender: see [`wait_end`](Event::wait_end).
    Abandoned {
        /// The link whose machine gave the ticket.
        link: LinkId,
        /// The ticket.
        ticket: Ticket,
        /// Why.
        reason: DropReason,
    },
    /// Listen on this UDP port too, and hand in what arrives there.
    OpenPort {
        /// The link whose machine wants it.
        link: LinkId,
        /// The port, of this host's own address.
        port: u16,
    },
    /// Listen on this UDP port no longer.
    ClosePort {
        /// The link whose machine wanted it.
        link: LinkId,
        /// The port.
        port: u16,
    },
    /// A table had no room; something that was advertised or configured is
    /// not used. Told once until room was found.
    TableFull {
        /// The link whose table it is.
        link: LinkId,
        /// Which table.
        table: Table,
    },
    /// More packets that may be fragmented went to one destination within two
    /// minutes than there are IPv4 Identifications. Told once. `TUN-7`
    IdentificationsRepeated,
}

/// A prefix that a node has by its IPv4 address, for its LANs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delegation {
    /// The prefix: 6to4's /48, 6rd's delegated prefix.
    pub prefix: Ipv6Prefix,
    /// Until when the IPv4 address is known to be this node's.
    /// `S6R-8 [RFC 5969 §4]`
    pub until: Expiry,
}

/// Names a place where packets wait, and which wait it is: a ticket of an
/// earlier one is told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket {
    /// The place.
    pub slot: u32,
    /// Counts the waits at this place, and wraps.
    pub generation: u16,
}

impl Ticket {
    /// One of a link of a node: the upper half of the place is the link.
    pub(crate) const fn of(link: LinkId, row: u16, generation: u16) -> Self {
        let [high, low] = row.to_be_bytes();
        Ticket { slot: u32::from_be_bytes([0, link.0, high, low]), generation }
    }

    /// Whether the link `link` of a node gave it. Of Teredo's tickets this says
    /// nothing.
    #[must_use]
    pub const fn is_of(self, link: LinkId) -> bool {
        let [high, number, ..] = self.slot.to_be_bytes();
        high == 0 && number == link.0
    }
}

/// An address made of a prefix that a router advertises and a locator, or a
/// link-local one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LearnedAddress {
    /// The address.
    pub address: Ipv6Addr,
    /// Length of its prefix in bits.
    pub prefix_length: u8,
    /// Until when it is preferred; deprecated afterwards. `NDP-35`
    pub preferred_until: Expiry,
    /// Until when it is valid at all.
    pub valid_until: Expiry,
}

impl LearnedAddress {
    /// One that does not end.
    pub(crate) const fn lasting(address: Ipv6Addr, prefix_length: u8) -> Self {
        LearnedAddress { address, prefix_length, preferred_until: Expiry::NEVER, valid_until: Expiry::NEVER }
    }
}

/// Cryptographic randomness, given by the caller where it is drawn.
pub trait Entropy {
    /// Fills `out` with random bytes.
    fn fill(&mut self, out: &mut [u8]);
}

impl<F: FnMut(&mut [u8])> Entropy for F {
    fn fill(&mut self, out: &mut [u8]) {
        self(out);
    }
}

/// Draws the secret key of a table.
pub(crate) fn draw_key(entropy: &mut dyn Entropy) -> [u64; 2] {
    let mut key = [0; 16];
    entropy.fill(&mut key);
    let [a, b, c, d, e, f, g, h, tail @ ..] = key;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes(tail)]
}

/// A duration drawn uniformly from `low` (included) to `high` (excluded), in
/// whole microseconds; `low` when the span is empty.
///
/// Draws 32 bits: a span longer than 71 minutes has steps of more than 1 µs.
pub fn uniform(entropy: &mut dyn Entropy, low: Duration, high: Duration) -> Duration {
    let mut drawn = [0; 4];
    entropy.fill(&mut drawn);
    let drawn = u64::from(u32::from_be_bytes(drawn));
    let span = high.saturating_sub(low).as_micros();
    // span * drawn / 2^32 in two halves, neither of which can overflow.
    let upper = (span >> 32).saturating_mul(drawn);
    let lower = (span & 0xffff_ffff).saturating_mul(drawn) >> 32;
    low.saturating_add(Duration::from_micros(upper.saturating_add(lower)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn uniform_stays_inside_its_span(low in 0_u64..1 << 60, span in 1_u64..1 << 60, bits: u32) {
            let mut entropy = |out: &mut [u8]| out.copy_from_slice(&bits.to_be_bytes());
            let (low, high) = (Duration::from_micros(low), Duration::from_micros(low + span));
            let drawn = uniform(&mut entropy, low, high);
            prop_assert!(low <= drawn && drawn < high);
            let exact = u128::from(low.as_micros()) + ((u128::from(span) * u128::from(bits)) >> 32);
            prop_assert_eq!(u128::from(drawn.as_micros()), exact);
        }
    }

    #[test]
    fn every_verdict_but_punt_is_one_end_of_a_packet_that_entered() {
        let link = LinkId(0);
        let verdicts = [
            Verdict::Deliver { link, from: Admitted::Host },
            Verdict::Native { link, next_hop: core::net::Ipv6Addr::LOCALHOST },
            Verdict::Consumed { link },
            Verdict::Answer { via: Via::Host { link }, reason: None },
            Verdict::Answer { via: Via::Host { link }, reason: Some(DropReason::NoRoute) },
            Verdict::Hold { ticket: Ticket { slot: 0, generation: 0 } },
            Verdict::Drop(DropReason::NotIpv6),
        ];
        let mut counters = Counters::<u32>::ZERO;
        verdicts.iter().for_each(|verdict| counters.count_verdict(verdict));
        assert_eq!((counters.entered, counters.delivered, counters.native), (7, 1, 1));
        assert_eq!((counters.consumed, counters.held, counters.total_dropped()), (2, 1, 2));
        assert_eq!((counters.get(DropReason::NoRoute), counters.get(DropReason::NotIpv6)), (1, 1));
        assert_eq!(verdicts.iter().filter(|verdict| verdict.link() == Some(link)).count(), 5);
    }

    #[test]
    fn an_empty_span_gives_its_low_end() {
        let mut entropy = |out: &mut [u8]| out.fill(0xff);
        assert_eq!(uniform(&mut entropy, Duration::from_secs(3), Duration::from_secs(3)), Duration::from_secs(3));
        assert_eq!(uniform(&mut entropy, Duration::from_secs(3), Duration::ZERO), Duration::from_secs(3));
    }
}
