//! Finds peers, and forgets the one that counts least.

use core::fmt;
use core::net::{Ipv6Addr, SocketAddrV4};

use super::{PROBES, Peer, Standing, State};
use crate::capacity::{Array, Row, Storage};
use crate::error::{Table, TableFull};
use crate::proto41::identification::PlaceKey;
pub(in crate::teredo) use crate::proto41::identification::hash_address as hash;
use crate::time::Instant;
use crate::wire::field::word_at;

/// The peers, in memory of the caller's choice.
///
/// An array makes a table that may be a constant; a boxed slice makes one of
/// a million peers, which never passes over the stack.
#[derive(Clone)]
pub struct PeerTable<S = [Peer; 64]> {
    key: [u64; 2],
    places: PlaceKey,
    /// Counts what voids all decisions that were told.
    changes: u32,
    /// Peers about which none holds any more: they moved, were forgotten or are in question. A call makes it one, and
    /// another that it forgets.
    void: heapless::Vec<Ipv6Addr, 4>,
    slots: S,
}

impl<S: Array<Peer>> PeerTable<S> {
    /// No peers. Places can be guessed until [`rekey`](Self::rekey) was called.
    #[must_use]
    pub const fn new() -> Self {
        PeerTable { key: [0; 2], places: PlaceKey::PUBLIC, changes: 0, void: heapless::Vec::new(), slots: S::EMPTY }
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
        let void = heapless::Vec::new();
        PeerTable { key: [0; 2], places: PlaceKey::PUBLIC, changes: 0, void, slots: storage }
    }

    /// Hides the places behind a random key. Forgets all peers.
    pub fn rekey(&mut self, key: [u64; 2]) {
        self.key = key;
        self.places = PlaceKey::derive(key);
        self.clear();
    }

    /// Forgets all peers.
    pub fn clear(&mut self) {
        self.slots.as_mut().fill(Peer::EMPTY);
        self.note_change();
    }

    /// Believes nobody any more. Who was sent bubbles in vain stays known, and
    /// is the first to make room.
    pub(in crate::teredo) fn distrust_all(&mut self) {
        for peer in self.slots.as_mut().iter_mut().filter(|peer| peer.state.contains(State::USED)) {
            peer.forget();
        }
        self.note_change();
    }

    /// A number that changes when decisions about settled peers may hold no more, but for
    /// [`next_void`](Self::next_void).
    pub(in crate::teredo) fn changes(&self) -> u32 {
        self.changes
    }

    /// Of one about which they do not.
    #[inline]
    pub(in crate::teredo) fn next_void(&mut self) -> Option<Ipv6Addr> {
        self.void.pop()
    }

    fn note_change(&mut self) {
        self.void.clear();
        self.changes = self.changes.wrapping_add(1);
    }

    fn note_void(&mut self, address: Ipv6Addr) {
        // Nobody asks: whoever comes later finds another number.
        if !self.void.contains(&address) && self.void.push(address).is_err() {
            self.note_change();
        }
    }

    /// Notes if a peer that was settled there is so no more.
    pub(in crate::teredo) fn note_change_of(&mut self, address: &Ipv6Addr, before: Option<(SocketAddrV4, bool)>) {
        if before.is_some() && self.find(address).and_then(Peer::settled_at) != before {
            self.note_void(*address);
        }
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
        self.at(self.place(address)?)
    }

    /// The peer of this address, to be changed.
    #[inline]
    pub fn find_mut(&mut self, address: &Ipv6Addr) -> Option<&mut Peer> {
        self.at_mut(self.place(address)?)
    }

    /// The peer of this address, which is made if need be: somebody outside
    /// is the cause.
    ///
    /// # Errors
    /// Every place that it could take is a verified peer's, or of one that own
    /// traffic uses; see the module's rule. Nothing changed.
    pub fn find_or_insert(&mut self, now: Instant, address: &Ipv6Addr) -> Result<&mut Peer, TableFull> {
        self.at_or_insert(self.place(address), now, address)
    }

    /// The same, and this node's own traffic is the cause.
    ///
    /// # Errors
    /// Every place that it could take is a verified peer's, or of one that is
    /// being asked. Nothing changed.
    pub fn find_or_insert_asked(&mut self, now: Instant, address: &Ipv6Addr) -> Result<&mut Peer, TableFull> {
        self.at_or_insert_asked(self.place(address), now, address)
    }

    /// [`find_or_insert`](Self::find_or_insert) for who knows the [`place`](Self::place), or that there is none.
    pub(in crate::teredo) fn at_or_insert(
        &mut self,
        place: Option<usize>,
        now: Instant,
        address: &Ipv6Addr,
    ) -> Result<&mut Peer, TableFull> {
        let place = self.place_or_replace(place, now, address, Standing::Asked)?;
        self.at_mut(place).ok_or(TableFull::new(Table::Peers))
    }

    /// The same of [`find_or_insert_asked`](Self::find_or_insert_asked).
    pub(in crate::teredo) fn at_or_insert_asked(
        &mut self,
        place: Option<usize>,
        now: Instant,
        address: &Ipv6Addr,
    ) -> Result<&mut Peer, TableFull> {
        let place = self.place_or_insert_asked(place, now, address)?;
        self.at_mut(place).ok_or(TableFull::new(Table::Peers))
    }

    /// Where that peer is then.
    pub(in crate::teredo) fn place_or_insert_asked(
        &mut self,
        place: Option<usize>,
        now: Instant,
        address: &Ipv6Addr,
    ) -> Result<usize, TableFull> {
        self.place_or_replace(place, now, address, Standing::Verified)
    }

    /// `spared`: who counts as much or more keeps its place.
    fn place_or_replace(
        &mut self,
        place: Option<usize>,
        now: Instant,
        address: &Ipv6Addr,
        spared: Standing,
    ) -> Result<usize, TableFull> {
        if let Some(place) = place {
            return Ok(place);
        }
        let place = self.victim(now, address, spared).ok_or(TableFull::new(Table::Peers))?;
        if let Some(slot) = self.at_mut(place) {
            let before = core::mem::replace(slot, Peer::new(*address));
            if before.is_settled() {
                self.note_void(before.address);
            }
        }
        Ok(place)
    }

    /// Forgets one peer.
    pub fn remove(&mut self, address: &Ipv6Addr) {
        if let Some(peer) = self.find_mut(address) {
            *peer = Peer::EMPTY;
        }
        self.note_void(*address);
    }

    /// Another one for each number but zero, which is that of the places.
    pub(in crate::teredo) fn secret_source(&self, address: &Ipv6Addr, number: u32) -> Ipv6Addr {
        let [high, low] = self.key;
        secret_source([high, low ^ u64::from(number)], address)
    }

    /// The peer in a place that [`place`](Self::place) gave.
    pub(in crate::teredo) fn at_mut(&mut self, place: usize) -> Option<&mut Peer> {
        self.slots.as_mut().get_mut(place)
    }

    /// The same for reading.
    pub(in crate::teredo) fn at(&self, place: usize) -> Option<&Peer> {
        self.slots.as_ref().get(place)
    }

    /// Where the peer of this address is, until one is made or removed.
    #[inline]
    pub(in crate::teredo) fn place(&self, address: &Ipv6Addr) -> Option<usize> {
        let tail = tail(address);
        // What differs in most is asked first.
        let is_it = |peer: &Peer| {
            self::tail(&peer.address) == tail && peer.address == *address && peer.state.contains(State::USED)
        };
        let slots = self.slots.as_ref();
        let start = self.start(address);
        // Nearly always it is in the first place, or else they lie in a row.
        if slots.get(start).is_some_and(is_it) {
            return Some(start);
        }
        if let Some(run) = slots.get(start..).and_then(|rest| rest.first_chunk::<PROBES>()) {
            return run.iter().position(is_it).map(|at| start.wrapping_add(at));
        }
        self.places(start).find(|place| slots.get(*place).is_some_and(is_it))
    }

    /// The place that a new peer may have: free, or of who counts least.
    fn victim(&self, now: Instant, address: &Ipv6Addr, spared: Standing) -> Option<usize> {
        let slots = self.slots.as_ref();
        let places = self.places(self.start(address));
        let is_free = |place: &usize| slots.get(*place).is_some_and(|peer| !peer.state.contains(State::USED));
        if let Some(free) = places.clone().find(is_free) {
            return Some(free);
        }
        let rank = |place: &usize| slots.get(*place).map(|peer| (peer.standing(now), peer.last_use()));
        let (place, (standing, _)) =
            places.filter_map(|place| Some((place, rank(&place)?))).min_by_key(|(_, rank)| *rank)?;
        // Who is verified stays, whatever the newcomer is.
        (standing < spared).then_some(place)
    }

    /// The first place of an address.
    #[inline]
    pub(super) fn start(&self, address: &Ipv6Addr) -> usize {
        self.places.place(address, self.slots.as_ref().len())
    }

    /// The places from there on: [`PROBES`] in a row, or all there are.
    #[inline]
    fn places(&self, start: usize) -> impl Iterator<Item = usize> + Clone + use<S> {
        let len = self.slots.as_ref().len();
        (0..PROBES.min(len)).map(move |step| {
            let place = start.wrapping_add(step);
            if place < len { place } else { place.wrapping_sub(len) }
        })
    }
}

/// The lower half of an address as the machine loads it.
#[inline]
fn tail(address: &Ipv6Addr) -> u64 {
    word_at::<8, 16>(&address.octets())
}

impl<S: Storage<Peer>> fmt::Debug for PeerTable<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PeerTable({} of {})", self.iter().count(), self.capacity())
    }
}

/// A link-local source for a bubble that only who gets the bubble knows. `TER-102`
pub(in crate::teredo) fn secret_source(key: [u64; 2], peer: &Ipv6Addr) -> Ipv6Addr {
    let [a, b, c, d, e, f, g, h] = hash(key, peer).to_be_bytes();
    Ipv6Addr::from_octets([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a, b, c, d, e, f, g, h])
}
