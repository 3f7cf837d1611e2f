//! Which neighbours are there: nothing is sent to, or forwarded for, one
//! that has not answered.
//!
//! `SEC-1 [RFC 6324 §3.1.1]`. Of the two halves of a routing loop, each looks
//! like a neighbour that does not exist. So a router may ask before it
//! believes:
//!
//! ```text
//! unknown ──packet──▶ asked, up to 3 times, 1 s apart ──answer──▶ verified ──10 min unused──▶ unknown
//!            (Hold)              │                                   │ ▲
//!                                └─silence─▶ refused for 3 s         └─┴─ asked anew when used after 30 s
//! ```
//!
//! # Limits
//!
//! An answer proves that somebody got the question, or guessed that it was
//! asked: whoever can send with a forged IPv4 source inside the site can
//! answer for a neighbour that is not there [RFC 6324 §3.1.1].
//!
//! Half of the rows are for neighbours that were not verified yet, so packets
//! to made-up addresses never push out a verified neighbour (`R14`); they do
//! keep new ones waiting while they last.

use core::net::Ipv6Addr;
use core::time::Duration;

use crate::capacity::{Array, Row, Storage};
use crate::drop_reason::DropReason;
use crate::engine::{Event, Ticket};
use crate::packet::LinkId;
use crate::time::{Expiry, Instant};

/// MAX_UNICAST_SOLICIT. [RFC 4861 §10]
const TRIES: u8 = 3;
/// RetransTimer.
const INTERVAL: Duration = Duration::from_secs(1);
/// REACHABLE_TIME: how long an answer is good without another one.
const REACHABLE: Duration = Duration::from_secs(30);
/// How long a neighbour is remembered that is not used.
const UNUSED: Duration = Duration::from_secs(600);
/// How long one that did not answer is not asked again. The sender of what
/// was held is told within this time.
const REFUSED: Duration = Duration::from_secs(3);

/// What a link's neighbour check says to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NeighborCheck {
    /// Nothing is checked, or the neighbour is there.
    Pass,
    /// It was asked. The packet waits.
    Wait(Ticket),
    /// It did not answer.
    Refused,
    /// There is no row to remember a question in.
    TableFull,
}

/// One neighbour.
#[derive(Clone, Copy, Debug)]
pub struct CheckedNeighbor {
    address: Ipv6Addr,
    state: State,
    /// Counts the questions that packets waited for.
    generation: u16,
    /// How such a question ended, until that is told.
    untold: Option<Outcome>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Unused,
    /// Packets wait for the answer.
    Asking(Question),
    /// `renewing`: asked anew; nobody waits.
    Verified {
        answered: Instant,
        used: Instant,
        renewing: Option<Question>,
    },
    Refused {
        until: Instant,
    },
}

/// Solicitations sent, and when the next one, or the end, is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Question {
    sent: u8,
    next: Instant,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Answered,
    Silent,
}

impl Row for CheckedNeighbor {
    const EMPTY: Self =
        CheckedNeighbor { address: Ipv6Addr::UNSPECIFIED, state: State::Unused, generation: 0, untold: None };
}

impl CheckedNeighbor {
    fn question(&self) -> Option<&Question> {
        match &self.state {
            State::Asking(question) | State::Verified { renewing: Some(question), .. } => Some(question),
            _ => None,
        }
    }

    fn question_mut(&mut self) -> Option<&mut Question> {
        match &mut self.state {
            State::Asking(question) | State::Verified { renewing: Some(question), .. } => Some(question),
            _ => None,
        }
    }

    fn is_of(&self, address: &Ipv6Addr) -> bool {
        self.state != State::Unused && self.address == *address
    }

    /// Whether another neighbour may have this row: nobody waits to be told.
    fn is_free(&self) -> bool {
        matches!(self.state, State::Unused | State::Refused { .. }) && self.untold.is_none()
    }

    fn deadline(&self) -> Expiry {
        match self.state {
            State::Unused => Expiry::NEVER,
            State::Asking(question) => Expiry::at(question.next),
            State::Verified { used, renewing, .. } => {
                let question = renewing.map_or(Expiry::NEVER, |question| Expiry::at(question.next));
                question.min(Expiry::at(used.saturating_add(UNUSED)))
            }
            State::Refused { until } => Expiry::at(until),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        let is_over = |question: &Question| question.sent >= TRIES && question.next <= now;
        match self.state {
            State::Asking(question) if is_over(&question) => {
                self.state = State::Refused { until: now.saturating_add(REFUSED) };
                self.untold = Some(Outcome::Silent);
            }
            State::Verified { used, renewing, .. } => {
                let gone = renewing.is_some_and(|question| is_over(&question));
                if gone || used.saturating_add(UNUSED) <= now {
                    self.state = State::Unused;
                }
            }
            State::Refused { until } if until <= now => self.state = State::Unused,
            _ => {}
        }
    }
}

/// The neighbours of one link.
#[derive(Clone, Debug)]
pub(crate) struct NeighborChecks<S> {
    rows: S,
}

impl<S: Array<CheckedNeighbor>> NeighborChecks<S> {
    /// Nobody is known.
    pub(crate) const EMPTY: Self = NeighborChecks { rows: S::EMPTY };
}

impl<S: Storage<CheckedNeighbor>> NeighborChecks<S> {
    /// Whether `address` has answered.
    pub(crate) fn is_verified(&self, address: &Ipv6Addr) -> bool {
        let verified = |row: &CheckedNeighbor| matches!(row.state, State::Verified { .. }) && row.address == *address;
        self.rows.as_ref().iter().any(verified)
    }

    /// Whether a packet to or from `address` may pass; asks where that is not
    /// known.
    pub(crate) fn check(&mut self, now: Instant, link: LinkId, address: &Ipv6Addr) -> NeighborCheck {
        if let Some((slot, row)) = numbered(self.rows.as_mut()).find(|(_, row)| row.is_of(address)) {
            return match row.state {
                State::Verified { answered, renewing, .. } => {
                    let stale = answered.saturating_add(REACHABLE) <= now;
                    let renewing = renewing.or(stale.then_some(Question { sent: 0, next: now }));
                    row.state = State::Verified { answered, used: now, renewing };
                    NeighborCheck::Pass
                }
                State::Asking(_) => NeighborCheck::Wait(ticket(link, slot, row.generation)),
                State::Refused { .. } | State::Unused => NeighborCheck::Refused,
            };
        }
        // Verified rows may fill the whole table, questions half of it.
        let rows = self.rows.as_ref();
        let asking = rows.iter().filter(|row| matches!(row.state, State::Asking(_))).count();
        if asking >= rows.len().div_ceil(2) {
            return NeighborCheck::TableFull;
        }
        // One that is not in use, else the one refused first.
        let free = numbered(self.rows.as_mut()).filter(|(_, row)| row.is_free());
        let Some((slot, row)) = free.min_by_key(|(_, row)| match row.state {
            State::Refused { until } => until,
            _ => Instant::ZERO,
        }) else {
            return NeighborCheck::TableFull;
        };
        row.address = *address;
        row.state = State::Asking(Question { sent: 0, next: now });
        row.generation = row.generation.wrapping_add(1);
        NeighborCheck::Wait(ticket(link, slot, row.generation))
    }

    /// A solicited advertisement came from `address`; whether it was asked
    /// for.
    pub(crate) fn answered(&mut self, now: Instant, address: &Ipv6Addr) -> bool {
        let asked =
            |row: &&mut CheckedNeighbor| row.is_of(address) && row.question().is_some_and(|question| question.sent > 0);
        let Some(row) = self.rows.as_mut().iter_mut().find(asked) else { return false };
        let used = match row.state {
            State::Verified { used, .. } => used,
            _ => {
                row.untold = Some(Outcome::Answered);
                now
            }
        };
        row.state = State::Verified { answered: now, used, renewing: None };
        true
    }

    /// Forgets the neighbours that `keep` says no to; who waits is told.
    pub(crate) fn retain(&mut self, now: Instant, keep: impl Fn(&Ipv6Addr) -> bool) {
        for row in self.rows.as_mut().iter_mut().filter(|row| !keep(&row.address)) {
            match row.state {
                State::Asking(_) => {
                    row.state = State::Refused { until: now.saturating_add(REFUSED) };
                    row.untold = Some(Outcome::Silent);
                }
                State::Verified { .. } => row.state = State::Unused,
                State::Refused { .. } | State::Unused => {}
            }
        }
    }

    /// Gives up those that did not answer, forgets those not used.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.rows.as_mut().iter_mut().for_each(|row| row.handle_timeout(now));
    }

    /// The next neighbour to solicit.
    pub(crate) fn due(&self, now: Instant) -> Option<Ipv6Addr> {
        let is_due = |question: &Question| question.sent < TRIES && question.next <= now;
        self.rows.as_ref().iter().find(|row| row.question().is_some_and(is_due)).map(|row| row.address)
    }

    /// It was solicited, or could not be.
    pub(crate) fn sent(&mut self, now: Instant, address: &Ipv6Addr) {
        let row = self.rows.as_mut().iter_mut().find(|row| row.is_of(address));
        if let Some(question) = row.and_then(CheckedNeighbor::question_mut) {
            question.sent = question.sent.saturating_add(1);
            question.next = now.saturating_add(INTERVAL);
        }
    }

    /// What became of held packets, one ticket after the other.
    pub(crate) fn poll_event(&mut self, link: LinkId) -> Option<Event> {
        numbered(self.rows.as_mut()).find_map(|(slot, row)| {
            let ticket = ticket(link, slot, row.generation);
            Some(match row.untold.take()? {
                Outcome::Answered => Event::Released { link, ticket },
                Outcome::Silent => Event::Abandoned { link, ticket, reason: DropReason::NeighborUnverified },
            })
        })
    }

    /// Whether [`poll_event`](Self::poll_event) has something.
    pub(crate) fn has_event(&self) -> bool {
        self.rows.as_ref().iter().any(|row| row.untold.is_some())
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Expiry {
        self.rows.as_ref().iter().map(CheckedNeighbor::deadline).min().unwrap_or(Expiry::NEVER)
    }
}

/// The rows that tickets can name, with their numbers.
fn numbered(rows: &mut [CheckedNeighbor]) -> impl Iterator<Item = (u8, &mut CheckedNeighbor)> {
    (0..=u8::MAX).zip(rows)
}

/// `SEC-1`: tickets of several links of a node differ.
fn ticket(link: LinkId, slot: u8, generation: u16) -> Ticket {
    Ticket { slot: u16::from_be_bytes([link.0, slot]), generation }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::panic)]
    use super::*;

    const LINK: LinkId = LinkId(2);
    type Checks = NeighborChecks<[CheckedNeighbor; 4]>;

    fn host(number: u16) -> Ipv6Addr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0x5efe, 0x0a00, number)
    }

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn wait(checks: &mut Checks, now: Instant, address: Ipv6Addr) -> Ticket {
        match checks.check(now, LINK, &address) {
            NeighborCheck::Wait(ticket) => ticket,
            other => panic!("{address}: {other:?}"),
        }
    }

    fn verify(checks: &mut Checks, now: Instant, address: Ipv6Addr) {
        let ticket = wait(checks, now, address);
        assert_eq!(checks.due(now), Some(address));
        checks.sent(now, &address);
        assert!(checks.answered(now, &address));
        assert_eq!(checks.poll_event(LINK), Some(Event::Released { link: LINK, ticket }));
        assert_eq!(checks.check(now, LINK, &address), NeighborCheck::Pass);
    }

    #[test]
    fn sec_1_silence_after_three_solicitations_ends_the_wait() {
        let mut checks = Checks::EMPTY;
        let ticket = wait(&mut checks, at(0), host(1));
        assert!(!checks.answered(at(0), &host(1)), "nothing was asked yet");
        for second in 0..3 {
            checks.handle_timeout(at(second));
            assert_eq!(checks.due(at(second)), Some(host(1)));
            checks.sent(at(second), &host(1));
            assert_eq!((checks.due(at(second)), checks.deadline()), (None, Expiry::at(at(second + 1))));
            assert_eq!(wait(&mut checks, at(second), host(1)), ticket, "all wait for the same");
        }
        checks.handle_timeout(at(3));
        let reason = DropReason::NeighborUnverified;
        assert_eq!(checks.poll_event(LINK), Some(Event::Abandoned { link: LINK, ticket, reason }));
        assert_eq!(checks.poll_event(LINK), None);
        assert_eq!(checks.check(at(3), LINK, &host(1)), NeighborCheck::Refused);
        assert!(!checks.answered(at(3), &host(1)), "too late");
        checks.handle_timeout(at(6));
        let again = wait(&mut checks, at(6), host(1));
        assert_ne!(again, ticket, "another wait");
    }

    #[test]
    fn sec_1_a_neighbour_in_use_is_asked_anew_and_lost_when_it_is_silent() {
        let mut checks = Checks::EMPTY;
        verify(&mut checks, at(0), host(1));
        assert_eq!((checks.check(at(29), LINK, &host(1)), checks.due(at(29))), (NeighborCheck::Pass, None));
        assert_eq!((checks.check(at(30), LINK, &host(1)), checks.due(at(30))), (NeighborCheck::Pass, Some(host(1))));
        checks.sent(at(30), &host(1));
        assert!(checks.answered(at(30), &host(1)));
        assert!(!checks.has_event(), "nobody waited");
        assert_eq!(checks.check(at(60), LINK, &host(1)), NeighborCheck::Pass);
        for second in 60..63 {
            assert_eq!(checks.due(at(second)), Some(host(1)));
            checks.sent(at(second), &host(1));
        }
        assert_eq!(checks.check(at(62), LINK, &host(1)), NeighborCheck::Pass);
        checks.handle_timeout(at(63));
        assert!(!checks.is_verified(&host(1)) && !checks.has_event());
    }

    #[test]
    fn sec_1_a_neighbour_not_used_is_forgotten() {
        let mut checks = Checks::EMPTY;
        verify(&mut checks, at(5), host(1));
        assert_eq!(checks.deadline(), Expiry::at(at(605)));
        checks.handle_timeout(at(604));
        assert!(checks.is_verified(&host(1)));
        checks.handle_timeout(at(605));
        assert!(!checks.is_verified(&host(1)) && checks.deadline() == Expiry::NEVER);
    }

    #[test]
    fn sec_1_made_up_neighbours_fill_half_of_the_rows_and_push_out_nobody() {
        let mut checks = Checks::EMPTY;
        verify(&mut checks, at(0), host(1));
        verify(&mut checks, at(0), host(2));
        for number in 100..200 {
            let full = checks.check(at(0), LINK, &host(number)) == NeighborCheck::TableFull;
            assert_eq!(full, number >= 102, "{number}");
        }
        assert!(checks.is_verified(&host(1)) && checks.is_verified(&host(2)));
        for second in 0..4 {
            checks.handle_timeout(at(second));
            while let Some(address) = checks.due(at(second)) {
                checks.sent(at(second), &address);
            }
        }
        // Nobody takes a row whose end was not told.
        assert_eq!(checks.check(at(3), LINK, &host(3)), NeighborCheck::TableFull);
        assert_eq!(core::iter::from_fn(|| checks.poll_event(LINK)).count(), 2);
        verify(&mut checks, at(3), host(3));
        verify(&mut checks, at(3), host(4));
        assert_eq!(checks.check(at(3), LINK, &host(5)), NeighborCheck::TableFull, "all rows are verified");
    }

    #[test]
    fn sec_1_tickets_of_two_links_differ() {
        let (mut one, mut other) = (Checks::EMPTY, Checks::EMPTY);
        assert_ne!(one.check(at(0), LinkId(0), &host(1)), other.check(at(0), LinkId(1), &host(1)));
    }

    #[test]
    fn sec_1_who_waits_for_a_neighbour_that_is_no_longer_one_is_told() {
        let mut checks = Checks::EMPTY;
        verify(&mut checks, at(0), host(1));
        let ticket = wait(&mut checks, at(0), host(2));
        checks.retain(at(0), |address| *address == host(3));
        assert!(!checks.is_verified(&host(1)));
        let reason = DropReason::NeighborUnverified;
        assert_eq!(checks.poll_event(LINK), Some(Event::Abandoned { link: LINK, ticket, reason }));
    }
}
