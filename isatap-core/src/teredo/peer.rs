//! The peers of a client or a relay: who they are, where they were heard,
//! and whether to believe it.
//!
//! A [`PeerTable`] finds a peer by its whole IPv6 address (`TER-6`) in at
//! most [`PROBES`] steps, whatever was put into it: the place is a keyed hash,
//! so who does not know the key cannot aim at one. There is no list to walk
//! and no timer a peer; what is too old is seen when it is looked at.
//!
//! # Who is forgotten
//! A new peer needs a free place among the [`PROBES`] that its hash names, or
//! takes the place of the peer there that counts least, and of several the
//! one not heard or spoken to for longest (`TER-30 [RFC 4380 §5.2]`):
//!
//! 1. who is not trusted, or was silent for [`KEEP`],
//! 2. who is trusted since its mapping matched: no more than a packet with a
//!    forged IPv4 source can have,
//! 3. the same, but this node's own traffic had asked for it, and both have
//!    spoken within [`VALIDITY`]: a peer without RFC 6081, which has no secret
//!    to repeat. **No packet from outside evicts it**; own traffic to somebody
//!    else may, and takes the one that is in use least
//!    ([`find_or_insert_asked`](PeerTable::find_or_insert_asked)),
//! 4. who is verified: it repeated a secret that was sent to it, or is being
//!    asked for one on behalf of this node's own traffic. **Nothing evicts
//!    it**; the newcomer is refused instead. Who is being asked is kept until a
//!    relay gives up, and for 15 s after the last question by a client, which
//!    may ask for others after 8 s: at most about three times as many are kept
//!    as it asks for at a time.

mod table;

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

pub use self::table::PeerTable;
pub(super) use self::table::{hash, secret_source};
use crate::capacity::Row;
use crate::time::{Duration, Expiry, Instant};

/// Places that are looked at for one address: the bound of every call.
pub const PROBES: usize = 16;

/// A trusted peer counts as reachable for this long after it was heard.
/// [RFC 4380 §5.2.4]
pub const VALIDITY: Duration = Duration::from_secs(30);

/// The least time between two bubbles to one peer. [RFC 4380 §5.2.6]
pub const BUBBLE_INTERVAL: Duration = Duration::from_secs(2);

/// Bubbles that a silent peer gets within [`BUBBLE_WINDOW`].
/// [RFC 4380 §5.2.6]
pub const BUBBLE_LIMIT: u8 = 4;

/// See [`BUBBLE_LIMIT`].
pub const BUBBLE_WINDOW: Duration = Duration::from_secs(300);

/// A verified peer that neither spoke nor was spoken to for this long is
/// verified no more.
pub const KEEP: Duration = Duration::from_secs(600);

/// How long a peer that this node's own traffic asks for is kept unanswered:
/// all repeats of [RFC 4380 §5.2.4], and some time.
const ASKING: Duration = Duration::from_secs(15);

/// When something happened last; may be never.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Stamp(u64);

impl Stamp {
    const NEVER: Stamp = Stamp(0);

    fn at(now: Instant) -> Self {
        Stamp(now.micros().saturating_add(1))
    }

    /// Whether it happened less than `span` ago.
    #[inline]
    fn is_within(self, now: Instant, span: Duration) -> bool {
        // In microseconds: a Duration is made by a division.
        let since = now.micros().saturating_sub(self.0.saturating_sub(1));
        self != Stamp::NEVER && since < span.as_micros()
    }

    /// Whether what happened `before` counted until then.
    pub(super) fn is_soon_after(self, before: Stamp) -> bool {
        before != Stamp::NEVER && self.0.saturating_sub(before.0) < VALIDITY.as_micros()
    }
}

/// One peer: 48 bytes.
#[derive(Clone, Copy)]
#[cfg_attr(test, derive(PartialEq))]
pub struct Peer {
    address: Ipv6Addr,
    nonce: [u8; 8],
    received: Stamp,
    sent: Stamp,
    mapped: Ipv4Addr,
    port: u16,
    state: State,
    bubbles: u8,
}

const _: () = assert!(size_of::<Peer>() <= 48);

bitflags::bitflags! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    struct State: u8 {
        /// The slot is in use.
        const USED = 1;
        /// Packets from the mapping are believed.
        const TRUSTED = 2;
        /// It repeated a secret.
        const VERIFIED = 4;
        /// This node's own traffic asks for it, or has.
        const ASKED = 8;
        /// It was heard from elsewhere than its address says. `TER-74`
        const SYMMETRIC = 16;
        /// See [`HeardOn`].
        const ON_PRIMARY = 32;
        const ON_RANDOM = 64;
        /// See [`Peer::is_settled`].
        const SETTLED = 128;
    }
}

/// On which port of this node a peer that is trusted was heard. `TER-79`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeardOn {
    Primary,
    /// The random port that is there for this peer alone.
    Random,
}

impl Row for Peer {
    const EMPTY: Self = Peer {
        address: Ipv6Addr::UNSPECIFIED,
        nonce: [0; 8],
        received: Stamp::NEVER,
        sent: Stamp::NEVER,
        mapped: Ipv4Addr::UNSPECIFIED,
        port: 0,
        state: State::empty(),
        bubbles: 0,
    };
}

impl Peer {
    fn new(address: Ipv6Addr) -> Self {
        // TER-44 [RFC 4380 §5.2.6]: as if last heard and spoken to long ago.
        Peer { address, state: State::USED, ..Peer::EMPTY }
    }

    /// Its IPv6 address.
    #[must_use]
    pub fn address(&self) -> Ipv6Addr {
        self.address
    }

    /// Where its packets come from, and go to.
    #[inline]
    #[must_use]
    pub fn mapping(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.mapped, self.port)
    }

    /// Whether packets from [`mapping`](Self::mapping) are believed.
    #[inline]
    #[must_use]
    pub fn is_trusted(&self) -> bool {
        self.state.contains(State::TRUSTED)
    }

    /// Whether it repeated a secret since it became trusted.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        self.state.contains(State::TRUSTED | State::VERIFIED)
    }

    /// Trusted, and heard less than [`VALIDITY`] ago: packets may be sent.
    #[inline]
    #[must_use]
    pub fn is_reachable(&self, now: Instant) -> bool {
        self.is_trusted() && self.received.is_within(now, VALIDITY)
    }

    #[inline]
    pub(super) fn received(&self) -> Stamp {
        self.received
    }

    #[inline]
    pub(super) fn sent(&self) -> Stamp {
        self.sent
    }

    /// Until when it is that, if nothing is heard.
    pub(super) fn reachable_until(&self) -> Expiry {
        let heard = Instant::from_micros(self.received.0.saturating_sub(1));
        Expiry::at(heard.saturating_add(VALIDITY))
    }

    /// Where a packet of a peer has to come from that changes nothing but when it was heard, and whether such go
    /// there; `None`: nobody's.
    pub(super) fn settled_at(&self) -> Option<(SocketAddrV4, bool)> {
        self.is_settled().then_some((self.mapping(), self.is_sent_to_mapping()))
    }

    /// Trusted at exactly this address and port. [RFC 4380 §5.2.3 case 1]
    #[inline]
    #[must_use]
    pub fn is_trusted_at(&self, from: SocketAddrV4) -> bool {
        self.is_trusted() && self.mapping() == from
    }

    /// Whether it was heard less than `span` ago.
    #[must_use]
    pub fn was_heard_within(&self, now: Instant, span: Duration) -> bool {
        self.received.is_within(now, span)
    }

    /// Whether it was spoken to less than `span` ago.
    #[must_use]
    pub fn was_sent_within(&self, now: Instant, span: Duration) -> bool {
        self.sent.is_within(now, span)
    }

    /// Believes it at `mapping` from now on; `verified`: it repeated a secret.
    pub fn trust(&mut self, now: Instant, mapping: SocketAddrV4, verified: bool) {
        if self.mapping() != mapping {
            self.state.remove(State::VERIFIED);
        }
        self.mapped = *mapping.ip();
        self.port = mapping.port();
        self.state.insert(State::TRUSTED);
        self.state.set(State::VERIFIED, verified || self.state.contains(State::VERIFIED));
        self.state.remove(State::SETTLED);
        self.note_received(now);
    }

    /// Believes it no more.
    pub fn distrust(&mut self) {
        self.state.remove(State::TRUSTED | State::VERIFIED | State::ON_PRIMARY | State::ON_RANDOM | State::SETTLED);
    }

    /// Whether a data packet from where it is trusted changes nothing but when
    /// it was heard: nothing is under way with it.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.state.contains(State::SETTLED)
    }

    /// See [`is_settled`](Self::is_settled). Whoever begins something with the
    /// peer says that it is not; so does whatever moves it.
    pub(super) fn set_settled(&mut self, is_settled: bool) {
        self.state.set(State::SETTLED, is_settled);
    }

    /// Nothing of what was learned holds any more, but what was sent and what
    /// answered: `TER-45` counts bubbles to an address, whatever the own one is.
    fn forget(&mut self) {
        self.distrust();
        self.state.remove(State::ASKED | State::SYMMETRIC);
        self.nonce = [0; 8];
        self.mapped = Ipv4Addr::UNSPECIFIED;
        self.port = 0;
    }

    /// A packet came straight from it.
    #[inline]
    pub fn note_received(&mut self, now: Instant) {
        self.received = self.received.max(Stamp::at(now));
        // TER-45: a direct answer ends the count of bubbles.
        self.bubbles = 0;
    }

    /// A packet went to it.
    #[inline]
    pub fn note_sent(&mut self, now: Instant) {
        self.sent = self.sent.max(Stamp::at(now));
    }

    /// This node's own traffic waits for it.
    pub fn ask(&mut self) {
        self.state.insert(State::ASKED);
    }

    /// Nobody waits for it any more, since it did not answer: it is the first
    /// to make room.
    pub(super) fn give_up(&mut self) {
        self.state.remove(State::ASKED);
    }

    /// `TER-45 [RFC 4380 §5.2.6]`: not within 2 s of the last packet to it,
    /// and not a fifth time in 300 s without an answer.
    #[must_use]
    pub fn may_get_bubble(&self, now: Instant) -> bool {
        !self.sent.is_within(now, BUBBLE_INTERVAL) && self.may_get_answer(now)
    }

    /// `TER-98`: an answer to an indirect bubble waits for nothing, but the
    /// count holds.
    #[must_use]
    pub fn may_get_answer(&self, now: Instant) -> bool {
        self.bubbles < BUBBLE_LIMIT || !self.sent.is_within(now, BUBBLE_WINDOW)
    }

    /// Whether a test of the NAT's next port may go with the bubble that was noted last. Each
    /// has a bubble to the peer, and for a bubble there are at most two tests: with two bubbles
    /// of [`BUBBLE_LIMIT`], `TER-45` holds for the port of the tests too, whatever becomes of it.
    pub(super) fn may_get_port_test(&self) -> bool {
        self.bubbles <= BUBBLE_LIMIT / 2
    }

    /// A bubble (or a direct and an indirect one) goes to it.
    pub fn note_bubble(&mut self, now: Instant) {
        if !self.sent.is_within(now, BUBBLE_WINDOW) {
            self.bubbles = 0;
        }
        self.bubbles = self.bubbles.saturating_add(1);
        self.note_sent(now);
    }

    /// The secret of a running connectivity test. [RFC 4380 §5.2.9]
    #[must_use]
    pub fn test_nonce(&self) -> [u8; 8] {
        self.nonce
    }

    /// `TER-97 [RFC 4380 §5.2.9]`: the test makes the peer provisional.
    pub fn begin_test(&mut self, nonce: [u8; 8]) {
        self.distrust();
        self.nonce = nonce;
    }

    /// The secret of a test of a peer that stays trusted where it is.
    pub fn set_test_nonce(&mut self, nonce: [u8; 8]) {
        self.nonce = nonce;
    }

    /// The nonce of the last indirect bubble sent to it; zero: none.
    /// `TER-70`
    #[must_use]
    pub fn nonce_sent(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.nonce;
        [a, b, c, d]
    }

    /// See [`nonce_sent`](Self::nonce_sent).
    pub fn set_nonce_sent(&mut self, nonce: [u8; 4]) {
        let [_, _, _, _, tail @ ..] = self.nonce;
        let [a, b, c, d] = nonce;
        let [e, f, g, h] = tail;
        self.nonce = [a, b, c, d, e, f, g, h];
    }

    /// The nonce of the last indirect bubble that came from it; zero: none.
    /// `TER-70`
    #[must_use]
    pub fn nonce_received(&self) -> [u8; 4] {
        let [_, _, _, _, tail @ ..] = self.nonce;
        tail
    }

    /// See [`nonce_received`](Self::nonce_received).
    pub fn set_nonce_received(&mut self, nonce: [u8; 4]) {
        let [a, b, c, d, ..] = self.nonce;
        let [e, f, g, h] = nonce;
        self.nonce = [a, b, c, d, e, f, g, h];
    }

    /// Heard from elsewhere than its address says. `TER-74`
    #[must_use]
    pub fn is_symmetric(&self) -> bool {
        self.state.contains(State::SYMMETRIC)
    }

    /// See [`is_symmetric`](Self::is_symmetric).
    pub fn set_symmetric(&mut self) {
        self.state.insert(State::SYMMETRIC);
    }

    /// See [`HeardOn`]; `None`: by a connectivity test alone.
    pub(super) fn heard_on(&self) -> Option<HeardOn> {
        match self.state {
            state if state.contains(State::ON_PRIMARY) => Some(HeardOn::Primary),
            state if state.contains(State::ON_RANDOM) => Some(HeardOn::Random),
            _ => None,
        }
    }

    /// See [`HeardOn`].
    pub(super) fn set_heard_on(&mut self, port: HeardOn) {
        self.state.set(State::ON_PRIMARY, port == HeardOn::Primary);
        self.state.set(State::ON_RANDOM, port == HeardOn::Random);
    }

    /// Whether its packets go to [`mapping`](Self::mapping) from the primary port, however
    /// the NATs on the way are.
    #[inline]
    pub(super) fn is_sent_to_mapping(&self) -> bool {
        !self.state.intersects(State::SYMMETRIC | State::ON_RANDOM)
    }

    /// How much it counts: who has least is evicted.
    fn standing(&self, now: Instant) -> Standing {
        let kept = self.received.is_within(now, KEEP) || self.sent.is_within(now, KEEP);
        let asked = self.state.contains(State::ASKED);
        let being_asked = asked && !self.is_trusted() && self.sent.is_within(now, ASKING);
        let in_use = self.received.is_within(now, VALIDITY) && self.sent.is_within(now, VALIDITY);
        if !self.state.contains(State::USED) {
            Standing::Free
        } else if (self.is_verified() && kept) || being_asked {
            Standing::Verified
        } else if asked && self.is_trusted() && in_use {
            Standing::Asked
        } else if self.is_trusted() && kept {
            Standing::Trusted
        } else {
            Standing::Unknown
        }
    }

    fn last_use(&self) -> Stamp {
        self.received.max(self.sent)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Free,
    Unknown,
    Trusted,
    Asked,
    Verified,
}

impl fmt::Debug for Peer {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} at {}, {:?})", self.address, self.mapping(), self.state)
    }
}

#[cfg(test)]
mod tests;
