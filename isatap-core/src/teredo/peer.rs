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
//! 3. who is verified: it repeated a secret that was sent to it, or is being
//!    asked for one on behalf of this node's own traffic. **No packet from
//!    outside evicts it**; the newcomer is refused instead.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use core::time::Duration;

use crate::capacity::{Array, Row, Storage};
use crate::error::{Table, TableFull};
use crate::prefix::halves;
use crate::time::Instant;

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
struct Stamp(u64);

impl Stamp {
    const NEVER: Stamp = Stamp(0);

    fn at(now: Instant) -> Self {
        Stamp(now.micros().saturating_add(1))
    }

    /// Whether it happened less than `span` ago.
    #[inline]
    fn is_within(self, now: Instant, span: Duration) -> bool {
        let then = Instant::from_micros(self.0.saturating_sub(1));
        self != Stamp::NEVER && now.saturating_duration_since(then) < span
    }
}

/// One peer: 48 bytes.
#[derive(Clone, Copy)]
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
        /// This node's own traffic asks for it.
        const ASKED = 8;
        /// It was heard from elsewhere than its address says. `TER-74`
        const SYMMETRIC = 16;
        /// Heard on the primary port. `TER-79`
        const DIRECT_PRIMARY = 32;
        /// Heard on its own random port. `TER-79`
        const DIRECT_RANDOM = 64;
    }
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
        self.state.remove(State::ASKED);
        self.note_received(now);
    }

    /// Believes it no more.
    pub fn distrust(&mut self) {
        self.state.remove(State::TRUSTED | State::VERIFIED | State::DIRECT_PRIMARY | State::DIRECT_RANDOM);
    }

    /// A packet came straight from it.
    #[inline]
    pub fn note_received(&mut self, now: Instant) {
        self.received = Stamp::at(now);
        // TER-45: a direct answer ends the count of bubbles.
        self.bubbles = 0;
    }

    /// A packet went to it.
    #[inline]
    pub fn note_sent(&mut self, now: Instant) {
        self.sent = Stamp::at(now);
    }

    /// This node's own traffic waits for it.
    pub fn ask(&mut self) {
        self.state.insert(State::ASKED);
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

    /// On which ports it was heard: the primary one, its own random one.
    /// `TER-79`
    #[must_use]
    pub fn direct(&self) -> (bool, bool) {
        (self.state.contains(State::DIRECT_PRIMARY), self.state.contains(State::DIRECT_RANDOM))
    }

    /// See [`direct`](Self::direct).
    pub fn set_direct(&mut self, primary: bool, random: bool) {
        self.state.set(State::DIRECT_PRIMARY, primary);
        self.state.set(State::DIRECT_RANDOM, random);
    }

    /// How much it counts: who has least is evicted.
    fn standing(&self, now: Instant) -> Standing {
        let kept = self.received.is_within(now, KEEP) || self.sent.is_within(now, KEEP);
        if !self.state.contains(State::USED) {
            Standing::Free
        } else if (self.is_verified() && kept)
            || (self.state.contains(State::ASKED) && self.sent.is_within(now, ASKING))
        {
            Standing::Verified
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
    Verified,
}

impl fmt::Debug for Peer {
    /// Without the secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Peer({} at {}, {:?})", self.address, self.mapping(), self.state)
    }
}

/// The peers, in memory of the caller's choice.
///
/// An array makes a table that may be a constant; a boxed slice makes one of
/// a million peers, which never passes over the stack.
#[derive(Clone)]
pub struct PeerTable<S = [Peer; 64]> {
    key: [u64; 2],
    slots: S,
}

impl<S: Array<Peer>> PeerTable<S> {
    /// No peers. Places can be guessed until [`rekey`](Self::rekey) was called.
    #[must_use]
    pub const fn new() -> Self {
        PeerTable { key: [0; 2], slots: S::EMPTY }
    }
}

impl<S: Array<Peer>> Default for PeerTable<S> {
    fn default() -> Self {
        Self::new()
    }
}

impl<S: Storage<Peer>> PeerTable<S> {
    /// No peers, in memory of the caller's, which is overwritten.
    pub fn with_storage(mut storage: S) -> Self {
        storage.as_mut().fill(Peer::EMPTY);
        PeerTable { key: [0; 2], slots: storage }
    }

    /// Hides the places behind a random key. Forgets all peers.
    pub fn rekey(&mut self, key: [u64; 2]) {
        self.key = key;
        self.clear();
    }

    /// Forgets all peers.
    pub fn clear(&mut self) {
        self.slots.as_mut().fill(Peer::EMPTY);
    }

    /// Peers that fit in.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.slots.as_ref().len()
    }

    /// The peers, for a status report: walks the whole table.
    pub fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.slots.as_ref().iter().filter(|peer| peer.state.contains(State::USED))
    }

    /// The peer of this address.
    #[inline]
    #[must_use]
    pub fn find(&self, address: &Ipv6Addr) -> Option<&Peer> {
        let place = self.place(address)?;
        self.slots.as_ref().get(place)
    }

    /// The peer of this address, to be changed.
    #[inline]
    pub fn find_mut(&mut self, address: &Ipv6Addr) -> Option<&mut Peer> {
        let place = self.place(address)?;
        self.slots.as_mut().get_mut(place)
    }

    /// The peer of this address, which is made if need be.
    ///
    /// # Errors
    /// Every place that it could take is a verified peer's; see the module's
    /// rule. Nothing changed.
    pub fn find_or_insert(&mut self, now: Instant, address: &Ipv6Addr) -> Result<&mut Peer, TableFull> {
        let place = match self.place(address) {
            Some(place) => place,
            None => {
                let place = self.victim(now, address).ok_or(TableFull::new(Table::Peers))?;
                if let Some(slot) = self.slots.as_mut().get_mut(place) {
                    *slot = Peer::new(*address);
                }
                place
            }
        };
        self.slots.as_mut().get_mut(place).ok_or(TableFull::new(Table::Peers))
    }

    /// Forgets one peer.
    pub fn remove(&mut self, address: &Ipv6Addr) {
        if let Some(peer) = self.find_mut(address) {
            *peer = Peer::EMPTY;
        }
    }

    fn place(&self, address: &Ipv6Addr) -> Option<usize> {
        let slots = self.slots.as_ref();
        self.places(address).find(|place| {
            slots.get(*place).is_some_and(|peer| peer.address == *address && peer.state.contains(State::USED))
        })
    }

    /// The place that a new peer may have: free, or of who counts least.
    fn victim(&self, now: Instant, address: &Ipv6Addr) -> Option<usize> {
        let slots = self.slots.as_ref();
        let rank = |place: &usize| slots.get(*place).map(|peer| (peer.standing(now), peer.last_use()));
        let place = self.places(address).min_by_key(rank)?;
        // I10: whatever the newcomer is.
        (rank(&place)?.0 < Standing::Verified).then_some(place)
    }

    /// The places of an address: [`PROBES`] in a row, or all there are.
    #[inline]
    fn places(&self, address: &Ipv6Addr) -> impl Iterator<Item = usize> + use<S> {
        let len = self.slots.as_ref().len();
        let hash = hash(self.key, address) >> 32;
        // The upper half of a product instead of a remainder: no division.
        let start = usize::try_from((hash.wrapping_mul(u64::try_from(len).unwrap_or(0))) >> 32).unwrap_or(0);
        (0..PROBES.min(len)).map(move |step| {
            let place = start.wrapping_add(step);
            if place < len { place } else { place.wrapping_sub(len) }
        })
    }
}

impl<S: Storage<Peer>> fmt::Debug for PeerTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerTable({} of {})", self.iter().count(), self.capacity())
    }
}

/// SipHash-1-3 of an address: enough to hide places in a table.
/// [Aumasson and Bernstein, 2012]
#[inline]
pub(super) fn hash(key: [u64; 2], address: &Ipv6Addr) -> u64 {
    let (high, low) = halves(address);
    let [k0, k1] = key;
    let mut v = [
        k0 ^ 0x736f_6d65_7073_6575,
        k1 ^ 0x646f_7261_6e64_6f6d,
        k0 ^ 0x6c79_6765_6e65_7261,
        k1 ^ 0x7465_6462_7974_6573,
    ];
    // The last word holds the length in its upper byte, and no bytes.
    for word in [high, low, 16 << 56] {
        let [v0, v1, v2, v3] = v;
        let [v0, v1, v2, v3] = round([v0, v1, v2, v3 ^ word]);
        v = [v0 ^ word, v1, v2, v3];
    }
    let [v0, v1, v2, v3] = v;
    let [v0, v1, v2, v3] = round(round(round([v0, v1, v2 ^ 0xff, v3])));
    v0 ^ v1 ^ v2 ^ v3
}

#[inline]
const fn round(v: [u64; 4]) -> [u64; 4] {
    let [mut v0, mut v1, mut v2, mut v3] = v;
    v0 = v0.wrapping_add(v1);
    v1 = v1.rotate_left(13) ^ v0;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v3);
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.wrapping_add(v3);
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.wrapping_add(v1);
    v1 = v1.rotate_left(17) ^ v2;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}

#[cfg(test)]
mod tests;
