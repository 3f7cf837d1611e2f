//! When a broker is called.

use super::Order;
use super::answer::Outcome;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// After a change: others mostly follow.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two calls, whatever happens.
const GAP: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(1800);
/// After an answer that says so: dyndns2 has half an hour.
const BUSY: Duration = Duration::from_secs(1800);
/// While the other end is silent; doubled each time that this changed nothing.
const SILENCE: Duration = Duration::from_secs(300);
const DOUBLED_AT_MOST: u32 = 6;

/// See the module.
#[derive(Debug)]
pub(super) struct Schedule {
    wanted: Option<Ipv4Addr>,
    /// What the broker has; `None`: that is not known.
    known: Option<Ipv4Addr>,
    called: Option<Instant>,
    due: Option<Instant>,
    /// Whether it is only since the other end is silent.
    is_for_silence: bool,
    wait: Duration,
    is_refused: bool,
    /// Calls in a row after which the broker said that it knew.
    unchanged: u32,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            wanted: None,
            known: None,
            called: None,
            due: None,
            is_for_silence: false,
            wait: FIRST_RETRY,
            is_refused: false,
            unchanged: 0,
        }
    }
}

impl Schedule {
    /// When to call with [`address`](Self::address).
    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn address(&self) -> Option<Ipv4Addr> {
        self.wanted
    }

    pub(super) fn order(&mut self, now: Instant, order: Order) {
        match order {
            Order::Follow(address) if address == self.wanted => {}
            Order::Follow(address) => {
                self.wanted = address;
                self.unchanged = 0;
                let is_new = address.is_some() && address != self.known && !self.is_refused;
                self.wait = FIRST_RETRY;
                self.call(is_new.then(|| self.not_before(now + SETTLE, GAP)));
            }
            Order::Ask => {
                self.is_refused = false;
                self.call(self.wanted.map(|_| self.not_before(now, GAP)));
            }
            Order::Silent(true) if self.due.is_none() && self.known.is_some() && self.known == self.wanted => {
                let wait = SILENCE.saturating_mul(1 << self.unchanged.min(DOUBLED_AT_MOST));
                self.call(Some(self.not_before(now, wait)));
                self.is_for_silence = true;
            }
            Order::Silent(false) if self.is_for_silence => self.call(None),
            Order::Silent(_) => {}
        }
    }

    fn call(&mut self, due: Option<Instant>) {
        (self.due, self.is_for_silence) = (due, false);
    }

    /// Not sooner than `gap` after the last call.
    fn not_before(&self, at: Instant, gap: Duration) -> Instant {
        self.called.map_or(at, |called| at.max(called + gap))
    }

    /// The call with this address has ended.
    pub(super) fn called(&mut self, now: Instant, address: Ipv4Addr, outcome: &Outcome) {
        self.called = Some(now);
        self.call(None);
        self.known = None;
        match outcome {
            Outcome::Done { unchanged, .. } => {
                self.known = Some(address);
                self.wait = FIRST_RETRY;
                self.unchanged = if *unchanged { self.unchanged.saturating_add(1) } else { 0 };
            }
            Outcome::Failed(_) => {
                self.due = Some(now + self.wait);
                self.wait = (self.wait * 2).min(LAST_RETRY);
            }
            Outcome::Busy(_) => self.due = Some(now + BUSY),
            Outcome::Refused(_) => self.is_refused = true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn done(unchanged: bool) -> Outcome {
        Outcome::Done { answer: String::new(), unchanged }
    }

    /// A schedule, and its time in seconds since the first call, which went well, with A.
    fn begun() -> (Schedule, Instant, impl Fn(&Schedule) -> Option<u64>) {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.order(start, Order::Follow(None));
        assert_eq!(schedule.due(), None);
        schedule.order(start, Order::Follow(Some(A)));
        assert_eq!(schedule.due(), Some(start + SETTLE));
        schedule.called(start, A, &done(false));
        (schedule, start, move |schedule: &Schedule| Some(schedule.due()?.duration_since(start).as_secs()))
    }

    #[test]
    fn a_change_is_called_for_soon_and_never_twice_within_ten_seconds() {
        let (mut schedule, start, due) = begun();
        let at = |seconds| start + Duration::from_secs(seconds);
        schedule.order(at(1), Order::Follow(Some(A)));
        assert_eq!(due(&schedule), None);
        schedule.order(at(2), Order::Follow(Some(B)));
        assert_eq!(due(&schedule), Some(10));
        schedule.order(at(3), Order::Follow(Some(A)));
        assert_eq!(due(&schedule), None, "the broker has that one");
        schedule.order(at(60), Order::Follow(Some(B)));
        assert_eq!(due(&schedule), Some(60));
        schedule.order(at(60), Order::Follow(None));
        assert_eq!(due(&schedule), None, "there is nothing to call from");
        schedule.order(at(61), Order::Ask);
        assert_eq!(due(&schedule), None);
        schedule.order(at(62), Order::Follow(Some(A)));
        schedule.order(at(62), Order::Ask);
        assert_eq!(due(&schedule), Some(62));
    }

    #[test]
    fn a_failure_is_tried_again_ever_later_and_a_refusal_is_not() {
        let (mut schedule, start, due) = begun();
        let at = |seconds| start + Duration::from_secs(seconds);
        schedule.order(at(100), Order::Follow(Some(B)));
        let mut waits = Vec::new();
        for _ in 0..10 {
            schedule.called(at(100), B, &Outcome::Failed(String::new()));
            waits.push(due(&schedule).unwrap() - 100);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        schedule.called(at(100), B, &Outcome::Busy(String::new()));
        assert_eq!(due(&schedule), Some(1900));
        schedule.called(at(200), B, &Outcome::Refused(String::new()));
        schedule.order(at(300), Order::Follow(Some(A)));
        schedule.order(at(300), Order::Silent(true));
        assert_eq!((due(&schedule), schedule.is_refused), (None, true), "another address cures no password");
        schedule.order(at(400), Order::Ask);
        assert_eq!((due(&schedule), schedule.is_refused), (Some(400), false));
        schedule.called(at(400), A, &done(false));
        assert_eq!(due(&schedule), None);
    }

    #[test]
    fn a_silent_end_is_called_for_ever_more_rarely_while_that_changes_nothing() {
        let (mut schedule, start, due) = begun();
        let (mut now, mut waits) = (start, Vec::new());
        for _ in 0..9 {
            schedule.order(now, Order::Silent(true));
            let at = schedule.due().unwrap();
            schedule.order(now, Order::Silent(true));
            assert_eq!(schedule.due(), Some(at));
            waits.push((at - now).as_secs());
            now = at;
            schedule.called(now, A, &done(true));
        }
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 9600, 19200, 19200, 19200]);
        schedule.called(now, A, &done(false));
        schedule.order(now, Order::Silent(true));
        assert_eq!(schedule.due(), Some(now + SILENCE));
        assert!(due(&schedule).is_some());
        schedule.order(now, Order::Silent(false));
        assert_eq!(due(&schedule), None, "it answers again");
        schedule.order(now, Order::Ask);
        schedule.order(now, Order::Silent(false));
        assert!(due(&schedule).is_some(), "that was for another reason");
    }
}
