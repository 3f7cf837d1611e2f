//! Whether neighbours are still there: unreachability detection.
//! [RFC 4861 §7.3]
//!
//! ```text
//!                packet sent                5 s                3 × RetransTimer
//!   (none) ------------------+    +-> Delay -----> Probe ------------------------> gone, reported
//!                            v    |     |            |
//!   Reachable -----------> Stale -+     |            |
//!       ^    time or doubt   packet     |            |
//!       |                     sent      |            |
//!       +-------- confirmed ------------+------------+
//! ```
//!
//! There is no Incomplete: a tunnel's neighbour has its link-layer address
//! in its IPv6 address, so that an entry starts where RFC 4861 has it after
//! resolution. `NDP-50, ISA-5 [RFC 5214 §7.1]`
//!
//! Packets never wait for a neighbour here, so that there is no queue.

use core::fmt;

use crate::capacity::{Bounded, Count};
use crate::error::{Table, TableFull};
use crate::time::{Duration, Expiry, Instant};

/// Unicast solicitations before a neighbour is given up. [RFC 4861 §10]
const MAX_UNICAST_SOLICIT: u8 = 3;
/// Time that upper layers have to confirm a neighbour before it is probed.
/// [RFC 4861 §10]
const DELAY_FIRST_PROBE_TIME: Duration = Duration::from_secs(5);
/// REACHABLE_TIME, before randomisation. [RFC 4861 §10]
const REACHABLE_TIME: Duration = Duration::from_secs(30);
/// RETRANS_TIMER. [RFC 4861 §10]
const RETRANS_TIMER: Duration = Duration::from_secs(1);

/// The neighbours that are being watched, by a key that is the caller's: on
/// ISATAP the IPv4 address.
///
/// Bounded (NDP-55). When it is full, the neighbour that has been stale for
/// longest makes room, then the reachable one whose confirmation ends
/// first; one that is being probed, or whose failure was not yet reported,
/// never does.
#[derive(Clone)]
pub struct Neighbors<K: Copy, C: Count> {
    rows: C::Vec<Neighbor<K>>,
    reachable: Duration,
    retrans: Duration,
}

/// One neighbour: a row of [`Neighbors`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbor<K> {
    key: K,
    state: State,
    is_router: bool,
    /// No solicitation before this.
    next_probe: Instant,
}

/// What is known of a neighbour. [RFC 4861 §5.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reachability {
    /// Confirmed a short while ago.
    Reachable,
    /// Not known, and nobody asks as long as nothing is sent.
    Stale,
    /// Something was sent; upper layers have a moment to confirm.
    Delay,
    /// Being asked.
    Probe,
    /// Did not answer; not yet reported by [`Neighbors::next_failed`].
    Failed,
}

/// What a Neighbor Advertisement did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advertised {
    /// There is no such neighbour: the message is dropped.
    Unknown,
    /// It was taken in.
    Accepted {
        /// Whether the neighbour counted as a router before.
        was_router: bool,
        /// Whether it says that it is one. When not, it must leave the
        /// default routers. `NDP-53 [RFC 4861 §7.2.5]`
        is_router: bool,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Reachable { until: Expiry },
    Stale { since: Instant },
    Delay { until: Instant },
    Probe { sent: u8, next: Instant },
    Failed { since: Instant },
}

impl State {
    /// Something was sent.
    fn delay(now: Instant) -> State {
        State::Delay { until: now.saturating_add(DELAY_FIRST_PROBE_TIME) }
    }
}

impl<K: Copy> Neighbor<K> {
    /// Who it is.
    pub fn key(&self) -> K {
        self.key
    }

    /// What is known of it.
    #[must_use]
    pub fn reachability(&self) -> Reachability {
        match self.state {
            State::Reachable { .. } => Reachability::Reachable,
            State::Stale { .. } => Reachability::Stale,
            State::Delay { .. } => Reachability::Delay,
            State::Probe { .. } => Reachability::Probe,
            State::Failed { .. } => Reachability::Failed,
        }
    }

    /// Whether it said that it is a router.
    #[must_use]
    pub fn is_router(&self) -> bool {
        self.is_router
    }

    /// Solicitations sent without an answer.
    #[must_use]
    pub fn probes(&self) -> u8 {
        match self.state {
            State::Probe { sent, .. } => sent,
            State::Failed { .. } => MAX_UNICAST_SOLICIT,
            State::Reachable { .. } | State::Stale { .. } | State::Delay { .. } => 0,
        }
    }

    /// Who is evicted first has the least; `None`: not now.
    ///
    /// NDP-68 [RFC 4861 §7.2.2]: with the row would go the memory of when it
    /// was last solicited.
    fn eviction_rank(&self, now: Instant) -> Option<(bool, Expiry)> {
        match self.state {
            _ if self.next_probe > now => None,
            State::Stale { since } => Some((false, Expiry::at(since))),
            State::Reachable { until } => Some((true, until)),
            State::Delay { .. } | State::Probe { .. } | State::Failed { .. } => None,
        }
    }
}

impl<K: Copy + Eq, C: Count> Neighbors<K, C> {
    /// No neighbours, and the times of RFC 4861.
    pub const EMPTY: Self = Neighbors { rows: Bounded::EMPTY, reachable: REACHABLE_TIME, retrans: RETRANS_TIMER };

    /// Sets the (randomised) reachable time and the time between two
    /// solicitations; they hold from the next change of state on. Zero
    /// counts as 1 ms.
    pub fn set_times(&mut self, reachable_time: Duration, retrans_timer: Duration) {
        let least = Duration::from_millis(1);
        (self.reachable, self.retrans) = (reachable_time.max(least), retrans_timer.max(least));
    }

    /// A packet was sent to the neighbour.
    ///
    /// # Errors
    /// It is new and no row can be freed; it is not watched.
    #[inline]
    pub fn note_sent(&mut self, now: Instant, key: K) -> Result<(), TableFull> {
        // Most packets go to one that is watched, whose state they do not change.
        match self.rows.iter_mut().find(|row| row.key == key) {
            Some(row) => {
                if let State::Stale { .. } = row.state {
                    row.state = State::delay(now);
                }
                Ok(())
            }
            None if C::ROWS == 0 => Ok(()),
            None => self.add(now, key, State::delay(now)),
        }
    }

    /// Asks for a probe at once, without a packet sent: the check of a new
    /// router or of a new address (ISA-48), or of a better router that is
    /// being avoided (NDP-37; its rate is the caller's).
    ///
    /// # Errors
    /// It is new and no row can be freed.
    pub fn probe(&mut self, now: Instant, key: K) -> Result<(), TableFull> {
        if C::ROWS == 0 {
            return Ok(());
        }
        let row = self.find_or_add(now, key)?;
        if let State::Stale { .. } | State::Delay { .. } = row.state {
            row.state = State::Probe { sent: 0, next: now.max(row.next_probe) };
        }
        Ok(())
    }

    /// An upper layer made progress through the neighbour: it received what
    /// this node sent. Nothing happens when it is not watched.
    pub fn confirm(&mut self, now: Instant, key: K) {
        let until = Expiry::at(now.saturating_add(self.reachable));
        if let Some(row) = self.find_mut(key) {
            row.state = State::Reachable { until };
        }
    }

    /// A valid Neighbor Advertisement came from the neighbour, with these S
    /// and R flags.
    ///
    /// `NDP-53 [RFC 4861 §7.2.5]`: only a solicited one confirms; R is
    /// believed either way; no entry is made.
    pub fn advertised(&mut self, now: Instant, key: K, solicited: bool, is_router: bool) -> Advertised {
        let Some(row) = self.find_mut(key) else { return Advertised::Unknown };
        let was_router = core::mem::replace(&mut row.is_router, is_router);
        if solicited {
            self.confirm(now, key);
        }
        Advertised::Accepted { was_router, is_router }
    }

    /// A valid Router Advertisement came from the neighbour.
    ///
    /// `NDP-66 [RFC 4861 §6.3.4]`: an entry becomes a router's; none is made
    /// for it and none is confirmed by it.
    pub fn heard_router(&mut self, key: K) {
        self.set_router(key, true);
    }

    /// Something says that the path to the neighbour may have failed (an
    /// ICMPv4 error, TUN-44).
    ///
    /// `NDP-68 [RFC 4861 §7.3.3]`: such hints take a confirmation away, they
    /// never give one. The next packet starts the probing, so that whoever
    /// forges hints gains one solicitation for each packet sent at most.
    pub fn doubt(&mut self, now: Instant, key: K) {
        if let Some(row) = self.find_mut(key)
            && let State::Reachable { .. } = row.state
        {
            row.state = State::Stale { since: now };
        }
    }

    /// The neighbour is of no more interest (its router left the list, its
    /// locator is gone).
    pub fn forget(&mut self, key: K) {
        self.rows.keep(|row| row.key != key);
    }

    /// Nobody is of interest any more.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    /// Lets time pass up to `now`.
    pub fn handle_timeout(&mut self, now: Instant) {
        for row in self.rows.iter_mut() {
            row.state = match row.state {
                State::Reachable { until } if until.is_due(now) => State::Stale { since: now },
                State::Delay { until } if until <= now => State::Probe { sent: 0, next: now.max(row.next_probe) },
                State::Probe { sent, next } if next <= now && sent >= MAX_UNICAST_SOLICIT => {
                    State::Failed { since: now }
                }
                unchanged => unchanged,
            };
        }
    }

    /// The next neighbour that is to get a Neighbor Solicitation now; the
    /// same until [`probe_sent`](Self::probe_sent), so that a solicitation
    /// that could not be written is not lost.
    #[must_use]
    pub fn next_probe(&self, now: Instant) -> Option<K> {
        let wants = |row: &&Neighbor<K>| match row.state {
            State::Probe { sent, next } => sent < MAX_UNICAST_SOLICIT && next <= now,
            _ => false,
        };
        self.rows.iter().find(wants).map(|row| row.key)
    }

    /// The solicitation was sent.
    ///
    /// `NDP-68 [RFC 4861 §7.2.3]`: one for each RetransTimer, no more.
    pub fn probe_sent(&mut self, now: Instant, key: K) {
        let next = now.saturating_add(self.retrans);
        if let Some(row) = self.find_mut(key) {
            row.next_probe = next;
            if let State::Probe { sent, .. } = row.state {
                row.state = State::Probe { sent: sent.saturating_add(1), next };
            }
        }
    }

    /// The next neighbour that did not answer; it is forgotten with this.
    ///
    /// Next-hop determination is to be done again for what was sent to it,
    /// and a router is not to be preferred for a while. `NDP-50`
    pub fn next_failed(&mut self) -> Option<K> {
        let failed = |row: &Neighbor<K>| matches!(row.state, State::Failed { .. });
        let index = self.rows.iter().position(failed)?;
        self.rows.take(index).map(|row| row.key)
    }

    /// The earliest time at which something is to be done: by
    /// [`handle_timeout`](Self::handle_timeout), or, when it has passed, by
    /// [`next_probe`](Self::next_probe) and [`next_failed`](Self::next_failed).
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        let of_row = |row: &Neighbor<K>| match row.state {
            State::Reachable { until } => until,
            State::Stale { .. } => Expiry::NEVER,
            State::Delay { until: at } | State::Probe { next: at, .. } | State::Failed { since: at } => Expiry::at(at),
        };
        self.rows.iter().map(of_row).min().unwrap_or(Expiry::NEVER)
    }

    /// What is known of a neighbour; `None`: it is not watched.
    #[must_use]
    pub fn reachability(&self, key: K) -> Option<Reachability> {
        self.rows.iter().find(|row| row.key == key).map(Neighbor::reachability)
    }

    /// All of them, for people.
    pub fn iter(&self) -> impl Iterator<Item = &Neighbor<K>> {
        self.rows.iter()
    }

    fn set_router(&mut self, key: K, is_router: bool) {
        if let Some(row) = self.find_mut(key) {
            row.is_router = is_router;
        }
    }

    fn find_mut(&mut self, key: K) -> Option<&mut Neighbor<K>> {
        self.rows.iter_mut().find(|row| row.key == key)
    }

    fn find_or_add(&mut self, now: Instant, key: K) -> Result<&mut Neighbor<K>, TableFull> {
        match self.rows.iter().position(|row| row.key == key) {
            Some(index) => self.rows.get_mut(index).ok_or(TableFull::new(Table::Neighbors)),
            None => {
                self.add(now, key, State::Stale { since: now })?;
                self.rows.last_mut().ok_or(TableFull::new(Table::Neighbors))
            }
        }
    }

    /// Watches a new one.
    #[inline(never)]
    fn add(&mut self, now: Instant, key: K, state: State) -> Result<(), TableFull> {
        if self.rows.is_full() {
            let ranked = self.rows.iter().enumerate().filter_map(|(at, row)| Some((row.eviction_rank(now)?, at)));
            let (_, victim) = ranked.min().ok_or(TableFull::new(Table::Neighbors))?;
            self.rows.take(victim);
        }
        let row = Neighbor { key, state, is_router: false, next_probe: Instant::ZERO };
        self.rows.add(row, Table::Neighbors)
    }
}

impl<K: Copy + fmt::Debug, C: Count> fmt::Debug for Neighbors<K, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rows.fmt(f)
    }
}

#[cfg(test)]
mod tests;
