//! When to send Router Solicitations. [RFC 4861 §6.3.7, RFC 7559 §2, RFC 5214 §8.3]
//!
//! ```text
//!            start             a delay is drawn          it is over
//!   Idle ------------> Starting ------------> Delaying ------------> Soliciting --+
//!    ^                     |                                         ^  |    ^    | repeat:
//!    |                     +-----------------------------------------+  |    +----+ 4, 8, 16 … s
//!    |                               no delay wanted                    |
//!    +------------------------------------------------------------------+--> Exhausted
//!                               answered                      (backoff off: after 3)
//! ```
//!
//! One [`Solicitation`] a router: an answer from one does not end the asking
//! of another (ISA-33). It is a small row; the [`Config`] is shared and
//! passed in.

use crate::engine::{Entropy, uniform};
use crate::time::{Duration, Expiry, Instant};

/// The longest delay before the first solicitation of a round.
/// [RFC 4861 §10]
pub const MAX_RTR_SOLICITATION_DELAY: Duration = Duration::from_secs(1);
/// Time between two solicitations without backoff, and the first interval
/// with it. [RFC 4861 §10, RFC 7559 §2]
pub const RTR_SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);
/// Solicitations of a round without backoff. [RFC 4861 §10]
pub const MAX_RTR_SOLICITATIONS: u16 = 3;
/// The longest interval with backoff. [RFC 7559 §2]
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);
/// The least time between the starts of two rounds, a conservative default.
/// [RFC 5214 §8.3.4]
pub const MIN_ROUTER_SOLICIT_INTERVAL: Duration = Duration::from_secs(120);

/// How solicitations are paced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The first interval between solicitations (4 s; less than 1 s counts
    /// as 1 s).
    pub initial_interval: Duration,
    /// The longest interval (3600 s; less than the first counts as that). What
    /// doubles stays below 19 hours.
    pub max_interval: Duration,
    /// Whether intervals double and the asking goes on until there is an
    /// answer, as RFC 7559 wants it; otherwise at most three solicitations.
    pub backoff: bool,
    /// The least time between the starts of two rounds (120 s);
    /// `Duration::MAX`: one round only.
    pub min_round_interval: Duration,
}

impl Config {
    /// The values of the RFCs.
    pub const DEFAULT: Config = Config {
        initial_interval: RTR_SOLICITATION_INTERVAL,
        max_interval: MAX_INTERVAL,
        // ISA-34 [RFC 7559 §2]: the switch is on by default.
        backoff: true,
        min_round_interval: MIN_ROUTER_SOLICIT_INTERVAL,
    };
}

impl Default for Config {
    fn default() -> Self {
        Config::DEFAULT
    }
}

/// The asking of one router.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    state: State,
    /// The earliest start of another round.
    not_before: Instant,
}

/// What a [`Solicitation`] is doing, for people and for who picks the next
/// destination form (ISA-27).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Phase {
    /// Nothing: never asked for, or answered.
    Idle,
    /// A round was asked for and its delay is yet to be drawn, or it waits
    /// because the last round is too recent.
    Starting,
    /// The random delay before the first solicitation runs.
    Delaying,
    /// At least one solicitation of this round was sent.
    Soliciting,
    /// Three solicitations brought nothing and there is no backoff.
    Exhausted,
}

// Idle is zero: see `time::Expiry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum State {
    Idle,
    Starting { at: Instant, with_delay: bool },
    Delaying { until: Instant },
    Backoff { sent: u16, interval: Ticks, until: Instant },
    Exhausted,
}

/// The last interval in 32 bits, in steps of 8 µs: what the next one is drawn
/// from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ticks(u32);

impl Ticks {
    const ZERO: Ticks = Ticks(0);

    fn of(interval: Duration) -> Self {
        Ticks(u32::try_from(interval.as_micros() >> 3).unwrap_or(u32::MAX))
    }

    fn duration(self) -> Duration {
        Duration::from_micros(u64::from(self.0) << 3)
    }
}

impl Solicitation {
    /// Asks nobody.
    pub const IDLE: Solicitation = Solicitation { state: State::Idle, not_before: Instant::ZERO };

    /// Asks for a round of solicitations: the link came up, the router is
    /// new, a locator is, or the time to ask again has come (ISA-32).
    ///
    /// `with_delay`: the first solicitation waits for a random part of a
    /// second, as it should unless a timer of this router's own starts the
    /// round (ISA-33). The draw needs entropy, so that even without delay
    /// nothing is sent before [`handle_timeout`](Self::handle_timeout).
    ///
    /// `ISA-37 [RFC 5214 §8.3.4]`: rounds start no closer to each other than
    /// the configured interval, whatever the events; until then the running
    /// round goes on, or the new one waits.
    pub fn start(&mut self, now: Instant, with_delay: bool, config: &Config) {
        let at = now.max(self.not_before);
        let ends = at == Instant::from_micros(u64::MAX);
        self.state = match self.state {
            _ if ends && config.min_round_interval == Duration::MAX => self.state,
            State::Idle | State::Exhausted => State::Starting { at, with_delay },
            State::Backoff { .. } if at <= now => State::Starting { at, with_delay },
            running @ (State::Starting { .. } | State::Delaying { .. } | State::Backoff { .. }) => running,
        };
    }

    /// Asks at once, by a round of its own: somebody who waits for the answer
    /// wants it. `heard`: when the last answer came, if ever.
    ///
    /// `ISA-37` bounds what happens by itself, and this does not. Two
    /// solicitations are 4 s apart all the same. [RFC 4861 §6.3.7]
    pub(crate) fn start_now(&mut self, now: Instant, heard: Expiry) {
        let soon = now.saturating_add(RTR_SOLICITATION_INTERVAL);
        let at = match self.state {
            State::Starting { at, .. } if at <= soon => at,
            State::Delaying { until } => until,
            State::Backoff { interval, until, .. } => {
                // What is left of the interval without what is over 4 s.
                let left = until.saturating_duration_since(now);
                let over = interval.duration().saturating_sub(RTR_SOLICITATION_INTERVAL);
                now.saturating_add(left.saturating_sub(over))
            }
            _ => heard.instant().map_or(now, |heard| now.max(heard.saturating_add(RTR_SOLICITATION_INTERVAL))),
        };
        self.state = State::Starting { at, with_delay: false };
    }

    /// Brings the next repetition of a running round forward to `now`:
    /// something that the router gave ends before it.
    pub(crate) fn hurry(&mut self, now: Instant) {
        if let State::Backoff { until, .. } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// Lets time pass up to `now`. `true`: one solicitation is to be sent,
    /// and its repetition is already scheduled.
    pub fn handle_timeout(&mut self, now: Instant, config: &Config, entropy: &mut dyn Entropy) -> bool {
        match self.state {
            State::Starting { at, with_delay: true } if at <= now => {
                let until = now.saturating_add(uniform(entropy, Duration::ZERO, MAX_RTR_SOLICITATION_DELAY));
                self.state = State::Delaying { until };
                // A delay of nothing is over at once.
                until <= now && self.send_first(now, config, entropy)
            }
            State::Starting { at, with_delay: false } if at <= now => self.send_first(now, config, entropy),
            State::Delaying { until } if until <= now => self.send_first(now, config, entropy),
            State::Backoff { sent, until, .. } if until <= now && !config.backoff && sent >= MAX_RTR_SOLICITATIONS => {
                self.state = State::Exhausted;
                false
            }
            State::Backoff { sent, interval, until } if until <= now => {
                let sent = sent.saturating_add(1);
                self.state = config.next(sent, interval, now, entropy);
                true
            }
            _ => false,
        }
    }

    /// The router answered, or is no longer to be asked.
    ///
    /// `ISA-33 [RFC 4861 §6.3.7]`: the first valid advertisement ends the
    /// round.
    pub fn answered(&mut self) {
        self.state = State::Idle;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        match self.state {
            State::Starting { at, .. } => Expiry::at(at),
            State::Delaying { until } | State::Backoff { until, .. } => Expiry::at(until),
            State::Idle | State::Exhausted => Expiry::NEVER,
        }
    }

    /// Solicitations sent in this round; 0 when there is none.
    #[must_use]
    pub fn attempts(&self) -> u16 {
        match self.state {
            State::Backoff { sent, .. } => sent,
            State::Exhausted => MAX_RTR_SOLICITATIONS,
            State::Idle | State::Starting { .. } | State::Delaying { .. } => 0,
        }
    }

    /// What it is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Starting { .. } => Phase::Starting,
            State::Delaying { .. } => Phase::Delaying,
            State::Backoff { .. } => Phase::Soliciting,
            State::Exhausted => Phase::Exhausted,
        }
    }

    fn send_first(&mut self, now: Instant, config: &Config, entropy: &mut dyn Entropy) -> bool {
        self.not_before = now.saturating_add(config.min_round_interval);
        self.state = config.next(1, Ticks::ZERO, now, entropy);
        true
    }
}

impl Config {
    /// The state after solicitation number `sent`, the last interval having
    /// been `last`.
    fn next(&self, sent: u16, last: Ticks, now: Instant, entropy: &mut dyn Entropy) -> State {
        let first = self.initial_interval.max(Duration::from_secs(1));
        let longest = self.max_interval.max(first);
        let interval = if self.backoff {
            // ISA-34 [RFC 7559 §2; RFC 8415 §15]: RT = IRT + RAND*IRT, then
            // RT = 2*RTprev + RAND*RTprev, then MRT + RAND*MRT.
            let last = last.duration();
            let (base, spread) = if sent <= 1 { (first, first) } else { (last.saturating_mul(2), last) };
            let interval = around(base, spread, entropy);
            if interval > longest { around(longest, longest, entropy) } else { interval }
        } else if sent < MAX_RTR_SOLICITATIONS {
            first
        } else {
            // How long the last one's answer may take. [RFC 4861 §6.3.7]
            MAX_RTR_SOLICITATION_DELAY
        };
        State::Backoff { sent, interval: Ticks::of(interval), until: now.saturating_add(interval) }
    }
}

/// `base` and up to a tenth of `spread` more or less.
fn around(base: Duration, spread: Duration, entropy: &mut dyn Entropy) -> Duration {
    let tenth = spread.tenth();
    uniform(entropy, base.saturating_sub(tenth), base.saturating_add(tenth))
}

#[cfg(test)]
mod tests;
