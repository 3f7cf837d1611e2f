//! Which neighbours are there: nothing is sent to, or forwarded for, one
//! that has not answered.
//!
//! `SEC-1 [RFC 6324 §3.1.1]`. Of the two halves of a routing loop, each looks
//! like a neighbour that does not exist. So a router may ask before it
//! believes:
//!
//! ```text
//! unknown ──packet──▶ asked, up to 3 times, 1 s apart ──answer──▶ verified ──10 min unused──▶ unknown
//!         ──RA sent─▶            │                                   │ ▲
//!                                └─silence─▶ refused for 3 s         └─┴─ asked anew when used after 30 s
//! ```
//!
//! Who only reads, without a clock, believes an answer until a timer ends
//! these 30 s, and while the neighbour is asked anew. It leaves the packet
//! that would have the neighbour asked to the owner.
//!
//! A host that has just been sent an advertisement is asked behind it, so that
//! the first packet of a host that solicits finds it verified.
//!
//! # Room
//!
//! The rows are a hash table: an address may be in one of two windows of eight
//! places, which a secret key hides, so that nobody can make up addresses that
//! all want the same places. Who is new takes, of those places:
//!
//! 1. one that nobody uses, in the emptier window;
//! 2. that of the neighbour that was refused first;
//! 3. that of the oldest question.
//!
//! A verified neighbour never gives way. A flood of made-up addresses
//! therefore shortens the time that a question has for its answer, to the
//! number of rows divided by the rate, and costs nobody else anything. What
//! waited for a question that gave way waits on, with what waits for the
//! neighbour that took the place, and is handed in again with it.
//!
//! Questions are in lists, so that no turn of a loop walks the table.
//!
//! # Limits
//!
//! An answer proves that somebody got the question, or guessed that it was
//! asked: whoever can send with a forged IPv4 source inside the site can
//! answer for a neighbour that is not there [RFC 6324 §3.1.1].

use core::net::Ipv6Addr;

use crate::capacity::{Array, Row, Storage};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, Ticket, draw_key};
use crate::packet::LinkId;
use crate::proto41::identification::hash_address;
use crate::time::{Duration, Expiry, Instant};

/// MAX_UNICAST_SOLICIT. [RFC 4861 §10]
const TRIES: u8 = 3;
/// RetransTimer.
const INTERVAL: Duration = Duration::from_secs(1);
/// REACHABLE_TIME: how long an answer is good without another one.
const REACHABLE: Duration = Duration::from_secs(30);
/// How long before that it is asked anew whose packets pass unseen: they are heard of once a second.
const AHEAD: Duration = Duration::from_secs(3);
/// How long a neighbour is remembered that is not used; one that is used
/// answers every 30 s.
const UNUSED: Duration = Duration::from_secs(600);
/// How long one that did not answer is not asked again. The sender of what
/// was held is told within this time.
const REFUSED: Duration = Duration::from_secs(3);
/// Places of one window.
const WINDOW: usize = 8;

/// What a link's neighbour check says to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborCheck {
    /// Nothing is checked, or the neighbour is there.
    Pass,
    /// The same, and it is asked anew: who reads only believes it again.
    Renewed,
    /// It was asked. The packet waits.
    Wait(Ticket),
    /// It did not answer.
    Refused,
    /// There is no row to remember a question in.
    TableFull,
}

impl NeighborCheck {
    pub(crate) const fn passes(self) -> bool {
        matches!(self, NeighborCheck::Pass | NeighborCheck::Renewed)
    }
}

/// One neighbour.
#[derive(Clone, Copy, Debug)]
pub struct CheckedNeighbor {
    address: Ipv6Addr,
    /// When it was asked first, answered last, or was given up.
    since: Instant,
    /// When the next solicitation, or the end of the question, is due.
    next: Instant,
    /// Counts the ends of questions that were told.
    generation: u16,
    /// Its neighbours in the list that it is in.
    before: u16,
    behind: u16,
    list: List,
    state: State,
    /// Solicitations sent for the question at hand.
    sent: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unused,
    /// Packets may wait for the answer.
    Asking,
    /// In a list of questions: asked anew; nobody waits.
    Verified,
    Refused,
}

/// The lists that a row may be in: at most one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum List {
    None,
    /// To be solicited.
    Due,
    /// Solicited; the one whose time is over first stands first.
    Asked,
    /// How the question ended is to be told.
    Ended,
    /// Answered within the last [`REACHABLE`]; the oldest answer stands first.
    Fresh,
}

/// No row.
const NONE: u16 = u16::MAX;

impl Row for CheckedNeighbor {
    const EMPTY: Self = CheckedNeighbor {
        address: Ipv6Addr::UNSPECIFIED,
        since: Instant::ZERO,
        next: Instant::ZERO,
        generation: 0,
        before: NONE,
        behind: NONE,
        list: List::None,
        state: State::Unused,
        sent: 0,
    };
}

/// How much a row counts: who counts least gives way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Standing {
    Free,
    Refused,
    Asking,
    /// It keeps its place.
    Firm,
}

impl CheckedNeighbor {
    /// The state now: rows that nobody asks for are left as they are when
    /// their time is over.
    fn state(&self, now: Instant) -> State {
        let keep = match self.state {
            State::Verified => UNUSED,
            State::Refused => REFUSED,
            other => return other,
        };
        // Who waited is told first. A question that is not sent makes an answer no better.
        if self.list != List::Ended && self.since.saturating_add(keep) <= now { State::Unused } else { self.state }
    }

    /// Until when its answer is believed by who reads only: a whole second, so
    /// that many neighbours make one timer.
    fn fresh_until(&self) -> Instant {
        let second = 1_000_000;
        let end = self.since.saturating_add(REACHABLE).micros();
        Instant::from_micros(end.div_ceil(second).saturating_mul(second))
    }

    /// Whether its last answer is good no longer without another one.
    fn is_old(&self, now: Instant) -> bool {
        self.since.saturating_add(REACHABLE) <= now
    }

    fn standing(&self, now: Instant) -> Standing {
        match self.state(now) {
            _ if self.list == List::Ended => Standing::Firm,
            State::Unused => Standing::Free,
            State::Refused => Standing::Refused,
            State::Asking => Standing::Asking,
            State::Verified => Standing::Firm,
        }
    }
}

/// The neighbours of one link.
#[derive(Clone, Debug)]
pub(crate) struct NeighborChecks<S> {
    key: Key,
    /// The first and the last row of each list.
    ends: [(u16, u16); 4],
    /// Whether who reads only may believe otherwise than before.
    is_changed: bool,
    rows: S,
}

/// What hides the places.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Key {
    /// It was not drawn yet. `wanted`: there are rows.
    Undrawn {
        wanted: bool,
    },
    Drawn([u64; 2]),
}

impl core::fmt::Debug for Key {
    /// Without the key.
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(if matches!(self, Key::Drawn(_)) { "Drawn" } else { "Undrawn" })
    }
}

impl<S: Array<CheckedNeighbor>> NeighborChecks<S> {
    /// Nobody is known.
    pub(crate) const EMPTY: Self = NeighborChecks {
        key: Key::Undrawn { wanted: false },
        ends: [(NONE, NONE); 4],
        is_changed: false,
        rows: S::EMPTY,
    };
}

impl<S: Storage<CheckedNeighbor>> NeighborChecks<S> {
    /// Whether `address` has answered, and need not be asked anew if it is used.
    pub(crate) fn is_verified(&self, address: &Ipv6Addr) -> bool {
        let is_current = |row: &CheckedNeighbor| row.state == State::Verified && row.list != List::None;
        self.find(address).and_then(|row| self.get(row)).is_some_and(is_current)
    }

    /// Until when a packet to or from `address` passes without that it is asked
    /// anew.
    pub(crate) fn passes_until(&self, address: &Ipv6Addr) -> Expiry {
        let row = self.find(address).and_then(|at| self.get(at)).filter(|row| row.state == State::Verified);
        Expiry::at(row.map_or(Instant::ZERO, |row| row.since.saturating_add(REACHABLE)))
    }

    /// The same, of packets that pass without being seen here: they must not stop for the time that an answer takes, so it
    /// is asked [ahead](AHEAD). `None`: it is not known.
    pub(crate) fn prolong(&mut self, now: Instant, address: &Ipv6Addr) -> Option<Expiry> {
        let at = self.find(address)?;
        let row = self.get(at).filter(|row| row.state(now) == State::Verified)?;
        // An answer that is no longer fresh is for the next packet that is seen to renew: who reads only is told then.
        if row.list == List::Fresh {
            self.renew(now.saturating_add(AHEAD), at);
        }
        Some(self.passes_until(address))
    }

    /// Whether [`is_verified`](Self::is_verified) may answer otherwise than
    /// when this was asked last.
    pub(crate) fn take_change(&mut self) -> bool {
        core::mem::take(&mut self.is_changed)
    }

    /// Whether a packet to `address` may pass that waits for no answer.
    pub(crate) fn check_known(&mut self, now: Instant, address: &Ipv6Addr) -> NeighborCheck {
        match self.find(address) {
            Some(at) if self.get(at).is_some_and(|row| row.state(now) == State::Verified) => {
                if self.renew(now, at) {
                    NeighborCheck::Renewed
                } else {
                    NeighborCheck::Pass
                }
            }
            _ => NeighborCheck::Refused,
        }
    }

    /// Whether a packet to or from `address` may pass; asks where that is not
    /// known.
    pub(crate) fn check(&mut self, now: Instant, link: LinkId, address: &Ipv6Addr) -> NeighborCheck {
        let Some(at) = self.look_up(now, address) else { return NeighborCheck::TableFull };
        let Some(row) = self.get(at) else { return NeighborCheck::TableFull };
        match row.state(now) {
            State::Verified => {
                if self.renew(now, at) {
                    NeighborCheck::Renewed
                } else {
                    NeighborCheck::Pass
                }
            }
            State::Asking => NeighborCheck::Wait(Ticket::of(link, at, row.generation)),
            State::Refused => NeighborCheck::Refused,
            State::Unused => {
                let ticket = Ticket::of(link, at, row.generation);
                self.ask(now, at, address);
                NeighborCheck::Wait(ticket)
            }
        }
    }

    /// A packet of `address` is to be expected: asks now where that is not
    /// known to be good for a while.
    pub(crate) fn expect(&mut self, now: Instant, address: &Ipv6Addr) {
        let Some(at) = self.look_up(now, address) else { return };
        match self.get(at).map(|row| row.state(now)) {
            Some(State::Verified) => {
                self.renew(now, at);
            }
            Some(State::Unused) => self.ask(now, at, address),
            _ => {}
        }
    }

    /// A solicited advertisement came from `address`; whether it was asked
    /// for.
    pub(crate) fn answered(&mut self, now: Instant, address: &Ipv6Addr) -> bool {
        let Some(at) = self.find(address) else { return false };
        let Some(row) = self.get(at) else { return false };
        let was_asked = matches!(row.list, List::Due | List::Asked) && row.sent > 0;
        if !was_asked {
            return false;
        }
        let waited = row.state == State::Asking;
        self.put(at, if waited { List::Ended } else { List::Fresh });
        self.is_changed |= waited;
        self.set(at, |row| (row.state, row.since) = (State::Verified, now));
        true
    }

    /// Forgets the neighbours that `keep` says no to; who waits is told.
    pub(crate) fn retain(&mut self, now: Instant, keep: impl Fn(&Ipv6Addr) -> bool) {
        for at in 0..self.len() {
            match self.get(at).filter(|row| !keep(&row.address)).map(|row| row.state) {
                Some(State::Asking) => self.give_up(now, at),
                Some(State::Verified) => self.forget(at),
                _ => {}
            }
        }
    }

    /// Gives up those that did not answer, ends what is no longer fresh, and draws the key where `asks`
    /// says that there will be questions. Whether all were forgotten for that.
    pub(crate) fn handle_timeout(&mut self, now: Instant, asks: bool, entropy: &mut dyn Entropy) -> bool {
        let draws = matches!(self.key, Key::Undrawn { wanted } if wanted || asks);
        if draws {
            self.draw_key(now, entropy);
        }
        while let Some(at) = self.first(List::Asked)
            && let Some(row) = self.get(at)
            && row.next <= now
        {
            match row.state {
                _ if row.sent < TRIES => self.put(at, List::Due),
                State::Asking => self.give_up(now, at),
                _ => self.forget(at),
            }
        }
        while let Some(at) = self.first(List::Fresh)
            && self.get(at).is_some_and(|row| row.fresh_until() <= now)
        {
            self.put(at, List::None);
        }
        draws
    }

    /// Places change with the key: who was asked before is asked again.
    fn draw_key(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.retain(now, |_| false);
        for at in 0..self.len() {
            self.set(at, |row| row.address = Ipv6Addr::UNSPECIFIED);
        }
        self.key = Key::Drawn(draw_key(entropy));
    }

    /// The next neighbour to solicit.
    pub(crate) fn due(&self) -> Option<Ipv6Addr> {
        self.first(List::Due).and_then(|at| self.get(at)).map(|row| row.address)
    }

    /// It was solicited, or could not be.
    pub(crate) fn sent(&mut self, now: Instant) {
        let Some(at) = self.first(List::Due) else { return };
        self.put(at, List::Asked);
        self.set(at, |row| (row.sent, row.next) = (row.sent.saturating_add(1), now.saturating_add(INTERVAL)));
    }

    /// What became of held packets, one ticket after the other.
    pub(crate) fn poll_event(&mut self, now: Instant, link: LinkId) -> Option<Event> {
        let at = self.first(List::Ended)?;
        let row = *self.get(at)?;
        let is_fresh = row.state == State::Verified && !row.is_old(now);
        self.put(at, if is_fresh { List::Fresh } else { List::None });
        self.set(at, |row| row.generation = row.generation.wrapping_add(1));
        let ticket = Ticket::of(link, at, row.generation);
        Some(match row.state {
            State::Verified => Event::Released { link, ticket },
            _ => Event::Abandoned { link, ticket, reason: DropReason::NeighborUnverified },
        })
    }

    /// When there is something to do, or to send.
    pub(crate) fn deadline(&self) -> Expiry {
        if self.key == (Key::Undrawn { wanted: true }) || self.due().is_some() {
            return Expiry::at(Instant::ZERO);
        }
        let first = |list| self.first(list).and_then(|at| self.get(at));
        let silent = first(List::Asked).map_or(Expiry::NEVER, |row| Expiry::at(row.next));
        silent.min(first(List::Fresh).map_or(Expiry::NEVER, |row| Expiry::at(row.fresh_until())))
    }

    /// Begins a question.
    fn ask(&mut self, now: Instant, at: u16, address: &Ipv6Addr) {
        if let Key::Undrawn { wanted } = &mut self.key {
            *wanted = true;
        }
        self.put(at, List::Due);
        self.set(at, |row| {
            (row.address, row.state) = (*address, State::Asking);
            (row.since, row.next, row.sent) = (now, now, 0);
        });
    }

    /// Asks a verified neighbour anew where its answer is old. Whether who reads
    /// only, and did not believe it any more, does again.
    fn renew(&mut self, now: Instant, at: u16) -> bool {
        let Some(row) = self.get(at) else { return false };
        let before = row.list;
        if !matches!(before, List::None | List::Fresh) || !row.is_old(now) {
            return false;
        }
        self.put(at, List::Due);
        self.set(at, |row| row.sent = 0);
        before == List::None
    }

    /// It did not answer.
    fn give_up(&mut self, now: Instant, at: u16) {
        self.put(at, List::Ended);
        self.set(at, |row| (row.state, row.since) = (State::Refused, now));
    }

    fn forget(&mut self, at: u16) {
        // Who waits for a row that has answered is told all the same.
        if self.get(at).is_some_and(|row| row.list != List::Ended) {
            self.put(at, List::None);
        }
        self.is_changed = true;
        self.set(at, |row| row.state = if row.list == List::Ended { State::Refused } else { State::Unused });
    }

    fn find(&self, address: &Ipv6Addr) -> Option<u16> {
        let is_of = |at: &u16| self.get(*at).is_some_and(|row| row.state != State::Unused && row.address == *address);
        self.windows(address, self.len()).into_iter().flatten().find(is_of)
    }

    /// The row of `address`, or the one that it may have.
    fn look_up(&mut self, now: Instant, address: &Ipv6Addr) -> Option<u16> {
        if let Some(at) = self.find(address) {
            return Some(at);
        }
        // Memory may be taken now.
        let len = u16::try_from(self.rows.as_mut().len()).unwrap_or(NONE);
        let weakest = self.windows(address, len).map(|window| {
            let firm = |at: u16| self.get(at).is_some_and(|row| row.standing(now) == Standing::Firm);
            let taken = window.clone().filter(|at| firm(*at)).count();
            let rank = |at: u16| {
                let row = self.get(at)?;
                match row.standing(now) {
                    Standing::Free => Some((Standing::Free, taken, Instant::ZERO, at)),
                    standing => Some((standing, 0, row.since, at)),
                }
            };
            window.filter_map(rank).min()
        });
        let (standing, _, _, at) = weakest.into_iter().flatten().min()?;
        if standing == Standing::Firm {
            return None;
        }
        self.put(at, List::None);
        self.set(at, |row| row.state = State::Unused);
        Some(at)
    }

    /// The places that an address may have, of `len`.
    fn windows(&self, address: &Ipv6Addr, len: u16) -> [impl Iterator<Item = u16> + Clone + use<S>; 2] {
        let key = if let Key::Drawn(key) = self.key { key } else { [0; 2] };
        let hash = hash_address(key, address);
        let size = u16::try_from(WINDOW).unwrap_or(NONE).min(len);
        [hash >> 32, hash & 0xffff_ffff].map(|hash| {
            // The upper half of a product instead of a remainder: no division.
            let start = u16::try_from(hash.wrapping_mul(u64::from(len)) >> 32).unwrap_or(0);
            (0..size).map(move |step| {
                let to_end = len.wrapping_sub(start);
                if step < to_end { start.wrapping_add(step) } else { step.wrapping_sub(to_end) }
            })
        })
    }

    fn len(&self) -> u16 {
        u16::try_from(self.rows.as_ref().len()).unwrap_or(NONE)
    }

    fn get(&self, at: u16) -> Option<&CheckedNeighbor> {
        self.rows.as_ref().get(usize::from(at))
    }

    fn set(&mut self, at: u16, change: impl FnOnce(&mut CheckedNeighbor)) {
        if let Some(row) = self.rows.as_mut().get_mut(usize::from(at)) {
            change(row);
        }
    }

    fn first(&self, list: List) -> Option<u16> {
        let (first, _) = *self.ends.get(list.place()?)?;
        (first != NONE).then_some(first)
    }

    /// Moves a row to the end of a list.
    fn put(&mut self, at: u16, list: List) {
        let Some(row) = self.get(at).copied() else { return };
        self.is_changed |= row.state == State::Verified && (row.list == List::None) != (list == List::None);
        if let Some((first, last)) = row.list.place().and_then(|place| self.ends.get_mut(place)) {
            if row.before == NONE {
                *first = row.behind;
            }
            if row.behind == NONE {
                *last = row.before;
            }
            self.set(row.before, |before| before.behind = row.behind);
            self.set(row.behind, |behind| behind.before = row.before);
        }
        let mut end = NONE;
        if let Some((first, last)) = list.place().and_then(|place| self.ends.get_mut(place)) {
            end = *last;
            *last = at;
            if end == NONE {
                *first = at;
            }
            self.set(end, |end| end.behind = at);
        }
        self.set(at, |row| (row.list, row.before, row.behind) = (list, end, NONE));
    }
}

impl List {
    fn place(self) -> Option<usize> {
        match self {
            List::None => None,
            List::Due => Some(0),
            List::Asked => Some(1),
            List::Ended => Some(2),
            List::Fresh => Some(3),
        }
    }
}

#[cfg(test)]
mod tests;
