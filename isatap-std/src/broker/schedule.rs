//! When a broker is called.

use super::answer::Outcome;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

/// What a schedule is told.
#[derive(Clone, Copy, Debug)]
pub(super) enum Order {
    /// The tunnel has this address; `None`: none.
    Follow(Option<Ipv4Addr>),
    /// A person wants a call.
    Ask,
    /// Whether the other end of the tunnel is silent: it may send to another address.
    Silent(bool),
}

/// After a change: others mostly follow.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two calls, whatever happens.
const GAP: Duration = Duration::from_secs(10);
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(1800);
/// After an answer that says so: dyndns2 has half an hour.
const BUSY: Duration = Duration::from_secs(1800);
/// After an answer that will mostly be the same for this address; doubled each time.
const UNLIKELY: Duration = Duration::from_secs(1800);
const LAST_UNLIKELY: Duration = Duration::from_secs(24 * 3600);
/// While the other end is silent; doubled after each call for that.
const SILENCE: Duration = Duration::from_secs(300);
const DOUBLED_AT_MOST: u32 = 6;

/// What a broker's answers forbid, whatever the tunnel's address is by now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Restraint {
    /// When the last call ended.
    called: Option<Instant>,
    /// No call before, unless a person asks.
    not_before: Option<Instant>,
    /// No call at all, unless a person asks.
    is_refused: bool,
    /// After the next failure.
    wait: Duration,
    unlikely: Duration,
}

impl Default for Restraint {
    fn default() -> Self {
        Self { called: None, not_before: None, is_refused: false, wait: FIRST_RETRY, unlikely: UNLIKELY }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    wanted: Option<Ipv4Addr>,
    /// What the broker has; `None`: that is not known.
    known: Option<Ipv4Addr>,
    /// With what it was called last, and when that is to be repeated.
    tried: Option<(Ipv4Addr, Instant)>,
    due: Option<Instant>,
    /// Whether it is only since the other end is silent.
    is_for_silence: bool,
    /// Calls for that since the other end answered.
    silent_calls: u32,
    /// Whether the last call failed, perhaps on the way to the broker.
    has_failed: bool,
    restraint: Restraint,
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
                self.call_for_change(now);
            }
            Order::Ask => {
                self.restraint.is_refused = false;
                self.call(self.wanted.map(|_| self.after_gap(now, GAP)));
            }
            Order::Silent(true) if self.due.is_none() && self.known.is_some() && self.known == self.wanted => {
                let wait = SILENCE.saturating_mul(1 << self.silent_calls.min(DOUBLED_AT_MOST));
                self.call(Some(self.after_gap(now, wait)));
                self.is_for_silence = true;
            }
            Order::Silent(true) => {}
            Order::Silent(false) => {
                self.silent_calls = 0;
                if self.is_for_silence {
                    self.call(None);
                }
            }
        }
    }

    /// Where the broker is not known to have the address.
    fn call_for_change(&mut self, now: Instant) {
        let new = self.wanted.filter(|address| Some(*address) != self.known && !self.restraint.is_refused);
        let repeat = self.tried.filter(|(tried, _)| Some(*tried) == new).map(|(_, repeat)| repeat);
        let earliest = repeat.max(self.restraint.not_before);
        self.call(new.map(|_| earliest.map_or(now + SETTLE, |earliest| earliest.max(now + SETTLE))));
    }

    fn call(&mut self, due: Option<Instant>) {
        (self.due, self.is_for_silence) = (due, false);
    }

    /// Not sooner than `gap` after the last call.
    fn after_gap(&self, at: Instant, gap: Duration) -> Instant {
        self.restraint.called.map_or(at, |called| at.max(called + gap))
    }

    /// Calls go another way from now on: what failed on the way may not fail any more. What the broker said stands.
    pub(super) fn go_another_way(&mut self) {
        if std::mem::take(&mut self.has_failed) {
            self.tried = None;
            self.restraint.wait = FIRST_RETRY;
            self.restraint.not_before = self.restraint.called.map(|called| called + GAP);
        }
    }

    /// The broker wants no call any more.
    pub(super) fn is_refused(&self) -> bool {
        self.restraint.is_refused
    }

    /// The call with this address has ended. The tunnel may have another one meanwhile.
    pub(super) fn called(&mut self, now: Instant, address: Ipv4Addr, outcome: &Outcome) {
        self.silent_calls = self.silent_calls.saturating_add(self.is_for_silence.into());
        self.call(None);
        (self.known, self.tried) = (None, None);
        let restraint = &mut self.restraint;
        restraint.called = Some(now);
        let (mut earliest, mut repeat) = (now + GAP, None);
        match outcome {
            Outcome::Done(_) => {
                self.known = Some(address);
                *restraint = Restraint { called: Some(now), ..Restraint::default() };
            }
            Outcome::Failed(_) => {
                earliest = now + restraint.wait;
                repeat = Some(earliest);
                restraint.wait = (restraint.wait * 2).min(LAST_RETRY);
            }
            Outcome::Busy(_) => {
                earliest = now + BUSY;
                repeat = Some(earliest);
            }
            // Another address may do better, as soon as it could after a failure.
            Outcome::Unlikely(_) => {
                earliest = now + restraint.wait;
                restraint.wait = (restraint.wait * 2).min(LAST_RETRY);
                repeat = Some(now + restraint.unlikely);
                restraint.unlikely = (restraint.unlikely * 2).min(LAST_UNLIKELY);
            }
            Outcome::Refused(_) => restraint.is_refused = true,
        }
        restraint.not_before = Some(earliest);
        self.has_failed = matches!(outcome, Outcome::Failed(_));
        self.tried = repeat.map(|repeat| (address, repeat));
        if self.wanted == Some(address) {
            self.due = repeat;
        } else {
            self.call_for_change(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::told::Failure;

    const A: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const B: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn why() -> Failure {
        Failure::new("", "")
    }

    fn done() -> Outcome {
        Outcome::Done(String::new())
    }

    /// A schedule, and its time in seconds since the first call, which went well, with A.
    fn begun() -> (Schedule, Instant, impl Fn(&Schedule) -> Option<u64>) {
        let (mut schedule, start) = (Schedule::default(), Instant::now());
        schedule.order(start, Order::Follow(None));
        assert_eq!(schedule.due(), None);
        schedule.order(start, Order::Follow(Some(A)));
        assert_eq!(schedule.due(), Some(start + SETTLE));
        schedule.called(start, A, &done());
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
            schedule.called(at(100), B, &Outcome::Failed(why()));
            waits.push(due(&schedule).unwrap() - 100);
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 1280, 1800, 1800]);
        schedule.called(at(100), B, &Outcome::Busy(why()));
        assert_eq!(due(&schedule), Some(1900));
        schedule.called(at(200), B, &Outcome::Refused(why()));
        schedule.order(at(300), Order::Follow(Some(A)));
        schedule.order(at(300), Order::Silent(true));
        assert_eq!((due(&schedule), schedule.restraint.is_refused), (None, true), "another address cures no password");
        schedule.order(at(400), Order::Ask);
        assert_eq!((due(&schedule), schedule.restraint.is_refused), (Some(400), false));
        schedule.called(at(400), A, &done());
        assert_eq!(due(&schedule), None);
    }

    #[test]
    fn an_address_that_comes_and_goes_hurries_nothing() {
        for outcome in [Outcome::Busy(why()), Outcome::Failed(why()), Outcome::Unlikely(why())] {
            let (mut schedule, start, _) = begun();
            let (mut now, mut calls) = (start, 0);
            for flap in 0..3600 {
                now = start + Duration::from_secs(flap);
                if schedule.due().is_some_and(|due| due <= now) {
                    schedule.called(now, schedule.address().unwrap(), &outcome);
                    calls += 1;
                }
                let address = [Some(B), None, Some(A), None][usize::try_from(flap % 4).unwrap()];
                schedule.order(now, Order::Follow(address));
                // Not known to be the broker's any more.
                schedule.order(now, Order::Silent(flap % 8 == 0));
            }
            let most = if matches!(outcome, Outcome::Busy(_)) { 2 } else { 10 };
            assert!((1..=most).contains(&calls), "{calls} after {outcome:?}");
            schedule.order(now, Order::Follow(Some(B)));
            schedule.order(now, Order::Ask);
            assert!(schedule.due().unwrap() <= now + GAP, "a person may ask");
        }
    }

    #[test]
    fn what_will_mostly_be_the_same_is_asked_rarely_and_for_another_address() {
        let (mut schedule, start, due) = begun();
        let at = |seconds| start + Duration::from_secs(seconds);
        schedule.order(at(100), Order::Follow(Some(B)));
        let mut waits = Vec::new();
        for _ in 0..8 {
            schedule.called(at(100), B, &Outcome::Unlikely(why()));
            waits.push(due(&schedule).unwrap() - 100);
        }
        assert_eq!(waits, [1800, 3600, 7200, 14400, 28800, 57600, 86400, 86400]);
        let (mut schedule, ..) = begun();
        schedule.order(at(100), Order::Follow(Some(B)));
        schedule.called(at(100), B, &Outcome::Unlikely(why()));
        schedule.order(at(101), Order::Follow(None));
        schedule.order(at(102), Order::Follow(Some(B)));
        assert_eq!(due(&schedule), Some(1900), "the same one");
        schedule.order(at(103), Order::Follow(Some(A)));
        assert_eq!(due(&schedule), Some(110));
    }

    #[test]
    fn an_address_that_changes_during_a_call_is_called_for_after_it() {
        for (outcome, after) in [(done(), 110), (Outcome::Failed(why()), 110), (Outcome::Busy(why()), 1900)] {
            let (mut schedule, start, due) = begun();
            let at = |seconds| start + Duration::from_secs(seconds);
            schedule.order(at(50), Order::Follow(Some(B)));
            schedule.order(at(90), Order::Follow(Some(A)));
            schedule.order(at(90), Order::Follow(None));
            schedule.order(at(95), Order::Follow(Some(Ipv4Addr::LOCALHOST)));
            schedule.called(at(100), B, &outcome);
            assert_eq!((schedule.address(), due(&schedule)), (Some(Ipv4Addr::LOCALHOST), Some(after)), "{outcome:?}");
        }
        let (mut schedule, start, due) = begun();
        schedule.order(start, Order::Follow(Some(B)));
        schedule.called(start + GAP, B, &Outcome::Refused(why()));
        schedule.order(start + 2 * GAP, Order::Follow(Some(A)));
        assert_eq!(due(&schedule), None);
        // It was cut before it told anything: nothing has changed at the broker.
        let (mut schedule, start, due) = begun();
        schedule.order(start + GAP, Order::Follow(Some(B)));
        schedule.order(start + 2 * GAP, Order::Follow(Some(A)));
        assert_eq!(due(&schedule), None);
        schedule.order(start + 3 * GAP, Order::Follow(Some(B)));
        assert_eq!(schedule.due(), Some(start + 3 * GAP + SETTLE));
    }

    #[test]
    fn another_way_cures_what_failed_and_no_refusal() {
        for (outcome, expected) in [
            (Outcome::Failed(why()), Some(220)),
            (Outcome::Unlikely(why()), Some(2010)),
            (Outcome::Busy(why()), Some(2010)),
            (Outcome::Refused(why()), None),
        ] {
            let (mut schedule, start, due) = begun();
            let at = |seconds| start + Duration::from_secs(seconds);
            schedule.order(at(100), Order::Follow(Some(B)));
            for _ in 0..8 {
                schedule.called(at(100), B, &Outcome::Failed(why()));
            }
            schedule.called(at(210), B, &outcome);
            schedule.order(at(211), Order::Follow(None));
            schedule.go_another_way();
            schedule.order(at(211), Order::Follow(Some(B)));
            assert_eq!(due(&schedule), expected, "{outcome:?}");
        }
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
            schedule.called(now, A, &done());
        }
        assert_eq!(waits, [300, 600, 1200, 2400, 4800, 9600, 19200, 19200, 19200]);
        schedule.order(now, Order::Silent(true));
        assert!(due(&schedule).is_some());
        schedule.order(now, Order::Silent(false));
        assert_eq!(due(&schedule), None, "it answers again");
        schedule.order(now, Order::Silent(true));
        assert_eq!(schedule.due(), Some(now + SILENCE));
        schedule.order(now, Order::Ask);
        schedule.order(now, Order::Silent(false));
        assert!(due(&schedule).is_some(), "that was for another reason");
    }
}
