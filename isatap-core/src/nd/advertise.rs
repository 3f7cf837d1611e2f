//! When a router advertises itself on a link with multicast. [RFC 4861
//! §6.2.4 to §6.2.6]
//!
//! ```text
//! Silent ──start──▶ Advertising: 3 at most 16 s apart, then min … max
//!    ▲                  │  solicited: within 0.5 s, 3 s after the last one
//!    └── 3 final ones ◀─┴─ stop
//! ```
//!
//! What is advertised is the caller's. Links without multicast answer each
//! host alone and have no use for this.

use crate::engine::{Entropy, uniform};
use crate::time::{Duration, Expiry, Instant};

/// Between two unsolicited advertisements. `NDP-42 [RFC 4861 §6.2.1]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Intervals {
    /// MinRtrAdvInterval.
    pub min: Duration,
    /// MaxRtrAdvInterval.
    pub max: Duration,
}

impl Intervals {
    /// 200 to 600 seconds.
    pub const DEFAULT: Intervals = Intervals { min: Duration::from_secs(200), max: Duration::from_secs(600) };
}

impl Default for Intervals {
    fn default() -> Self {
        Intervals::DEFAULT
    }
}

/// [RFC 4861 §10]
const MAX_INITIAL_RTR_ADVERT_INTERVAL: Duration = Duration::from_secs(16);
const MAX_INITIAL_RTR_ADVERTISEMENTS: u8 = 3;
const MAX_FINAL_RTR_ADVERTISEMENTS: u8 = 3;
const MIN_DELAY_BETWEEN_RAS: Duration = Duration::from_secs(3);
const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);

/// The schedule of one interface.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    state: State,
    /// When the last advertisement was sent.
    last: Option<Instant>,
    /// The chance that the next interval is made of, drawn ahead: an
    /// advertisement is sent where there is no entropy.
    chance: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Silent,
    /// `initial`: how many more are sent in quick succession.
    Advertising {
        initial: u8,
        next: Next,
    },
    /// `left`: how many more say that there is no router here.
    Ceasing {
        left: u8,
        next: Instant,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    At(Instant),
    /// Asked for then; the delay is to be drawn.
    Solicited {
        asked: Instant,
        otherwise: Instant,
    },
}

impl Schedule {
    /// Nothing is advertised.
    pub const SILENT: Schedule = Schedule { state: State::Silent, last: None, chance: [0; 4] };

    /// Advertises from now on; also after a change that hosts should know of
    /// soon. [RFC 4861 §6.2.4]
    pub fn start(&mut self, now: Instant) {
        let next = Next::At(self.earliest(now));
        self.state = State::Advertising { initial: MAX_INITIAL_RTR_ADVERTISEMENTS, next };
    }

    /// Advertises no more, and says so. `NDP-42 [RFC 4861 §6.2.5]`
    pub fn stop(&mut self, now: Instant) {
        if let State::Advertising { .. } = self.state {
            self.state = match self.last {
                Some(_) => State::Ceasing { left: MAX_FINAL_RTR_ADVERTISEMENTS, next: self.earliest(now) },
                None => State::Silent,
            };
        }
    }

    /// A host asks. `NDP-40 [RFC 4861 §6.2.6]`: several are answered by one
    /// advertisement, delayed from the first of them.
    pub fn solicited(&mut self, now: Instant) {
        if let State::Advertising { next, .. } = &mut self.state {
            let otherwise = match *next {
                Next::Solicited { .. } => return,
                Next::At(otherwise) => otherwise,
            };
            *next = Next::Solicited { asked: now, otherwise };
        }
    }

    /// Draws what is to be drawn.
    pub fn handle_timeout(&mut self, entropy: &mut dyn Entropy) {
        let last = self.last;
        let State::Advertising { next, .. } = &mut self.state else { return };
        entropy.fill(&mut self.chance);
        if let Next::Solicited { asked, otherwise } = *next {
            let delay = uniform(entropy, Duration::ZERO, MAX_RA_DELAY_TIME);
            let earliest = last.map_or(asked, |last| asked.max(last.saturating_add(MIN_DELAY_BETWEEN_RAS)));
            *next = Next::At(earliest.saturating_add(delay).min(otherwise));
        }
    }

    /// Whether an advertisement is to be sent.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Silent => false,
            State::Advertising { next, .. } => matches!(next, Next::At(at) if at <= now),
            State::Ceasing { next, .. } => next <= now,
        }
    }

    /// Whether advertisements are sent that say that a router is here.
    #[must_use]
    pub fn is_advertising(&self) -> bool {
        matches!(self.state, State::Advertising { .. })
    }

    /// Whether the next advertisement says that there is no router here.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.state, State::Ceasing { .. })
    }

    /// The advertisement was sent.
    pub fn sent(&mut self, now: Instant, intervals: &Intervals) {
        self.last = Some(now);
        let chance = self.chance;
        let mut drawn_ahead = |out: &mut [u8]| out.iter_mut().zip(chance).for_each(|(into, byte)| *into = byte);
        let drawn = uniform(&mut drawn_ahead, intervals.min, intervals.max);
        self.state = match self.state {
            State::Silent => State::Silent,
            State::Advertising { initial, .. } => {
                let initial = initial.saturating_sub(1);
                let interval = if initial > 0 { drawn.min(MAX_INITIAL_RTR_ADVERT_INTERVAL) } else { drawn };
                State::Advertising { initial, next: Next::At(now.saturating_add(interval)) }
            }
            State::Ceasing { left, .. } if left > 1 => {
                State::Ceasing { left: left.saturating_sub(1), next: now.saturating_add(MIN_DELAY_BETWEEN_RAS) }
            }
            State::Ceasing { .. } => State::Silent,
        };
    }

    /// When there is something to do.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        match self.state {
            State::Silent => Expiry::NEVER,
            State::Advertising { next: Next::At(at), .. } | State::Ceasing { next: at, .. } => Expiry::at(at),
            State::Advertising { next: Next::Solicited { asked, .. }, .. } => Expiry::at(asked),
        }
    }

    /// `NDP-42`: multicast advertisements are 3 seconds apart at least.
    fn earliest(&self, now: Instant) -> Instant {
        self.last.map_or(now, |last| now.max(last.saturating_add(MIN_DELAY_BETWEEN_RAS)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Lets the time go by until `end`; when advertisements were sent, and
    /// whether they were final.
    fn run(schedule: &mut Schedule, from: Instant, end: Instant, entropy: &mut dyn Entropy) -> Vec<(Instant, bool)> {
        let mut sent = Vec::new();
        let mut now = from;
        loop {
            schedule.handle_timeout(entropy);
            if schedule.is_due(now) {
                sent.push((now, schedule.is_final()));
                schedule.sent(now, &Intervals::DEFAULT);
                assert!(!schedule.is_due(now));
            }
            match schedule.deadline().instant() {
                Some(next) if next <= end => now = now.max(next),
                _ => return sent,
            }
        }
    }

    fn secs(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    proptest! {
        #[test]
        fn ndp_42_three_quick_ones_then_random_intervals_then_three_final_ones(seed: u64) {
            let mut state = seed;
            let mut entropy = |out: &mut [u8]| for byte in out {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                *byte = state.to_be_bytes()[0];
            };
            let mut schedule = Schedule::SILENT;
            schedule.start(secs(10));
            let sent = run(&mut schedule, secs(10), secs(10_000), &mut entropy);
            let gaps: Vec<u64> =
                sent.windows(2).map(|pair| pair[1].0.saturating_duration_since(pair[0].0).as_secs()).collect();
            prop_assert_eq!(sent[0], (secs(10), false));
            prop_assert!(gaps[..2].iter().all(|gap| *gap <= 16), "{:?}", gaps);
            prop_assert!(gaps[2..].iter().all(|gap| (200..600).contains(gap)), "{:?}", gaps);
            prop_assert!(gaps.len() >= 16);
            schedule.stop(secs(10_000));
            let last = run(&mut schedule, secs(10_000), secs(20_000), &mut entropy);
            prop_assert_eq!(last.len(), 3);
            prop_assert!(last.iter().all(|(_, is_final)| *is_final));
            prop_assert!(last.windows(2).all(|pair| pair[1].0 == pair[0].0.saturating_add(MIN_DELAY_BETWEEN_RAS)));
            prop_assert_eq!(schedule.deadline(), Expiry::NEVER);
        }

        #[test]
        fn ndp_40_ndp_42_a_solicitation_is_answered_within_half_a_second_but_3_s_after_the_last(
            bits: u32, wait in 0_u64..190
        ) {
            let mut entropy = |out: &mut [u8]| out.copy_from_slice(&bits.to_be_bytes());
            let mut schedule = Schedule::SILENT;
            schedule.start(secs(10));
            let before = run(&mut schedule, secs(10), secs(100), &mut entropy);
            let last = before.last().unwrap().0;
            let asked = last.saturating_add(Duration::from_secs(wait));
            schedule.solicited(asked);
            schedule.solicited(asked.saturating_add(Duration::from_millis(100)));
            let earliest = asked.max(last.saturating_add(MIN_DELAY_BETWEEN_RAS));
            let latest = earliest.saturating_add(MAX_RA_DELAY_TIME);
            let answer = run(&mut schedule, asked, latest, &mut entropy);
            prop_assert_eq!(answer.len(), 1);
            prop_assert!(earliest <= answer[0].0 && answer[0].0 <= latest);
        }
    }

    #[test]
    fn ndp_42_who_never_advertised_has_nothing_to_take_back() {
        let mut schedule = Schedule::SILENT;
        schedule.solicited(secs(1));
        schedule.start(secs(1));
        schedule.stop(secs(1));
        assert_eq!((schedule.deadline(), schedule.is_due(secs(9))), (Expiry::NEVER, false));
    }
}
