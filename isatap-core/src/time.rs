//! Time as the caller counts it.
//!
//! The core never reads a clock. Every call that may depend on time takes an
//! [`Instant`]: microseconds since an epoch that the caller chooses once
//! (start of the program, boot of the board) and keeps for the life of a
//! machine. All arithmetic saturates: a deadline too far away to be written
//! down is [`Expiry::NEVER`], and an instant before the epoch is the epoch.

use core::fmt;
use core::time::Duration;

/// A point in time: microseconds since an epoch of the caller's choice.
///
/// The epoch has no meaning to the core; 2^64 µs are 584,942 years.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The epoch itself.
    pub const ZERO: Instant = Instant(0);

    /// An instant `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Instant(micros)
    }

    /// An instant `millis` milliseconds after the epoch (saturating).
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Instant(millis.saturating_mul(1_000))
    }

    /// An instant `secs` seconds after the epoch (saturating).
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Instant(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn micros(self) -> u64 {
        self.0
    }

    /// This instant moved into the future; stops at the end of time.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Self {
        Instant(self.0.saturating_add(micros(by)))
    }

    /// How long after `earlier` this instant is; zero when it is not.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Display for Instant {
    /// Seconds with six decimals: `1.500000s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fraction = self.0.checked_rem(1_000_000).unwrap_or(0);
        let seconds = self.0.checked_div(1_000_000).unwrap_or(0);
        write!(f, "{seconds}.{fraction:06}s")
    }
}

/// When something ends: an [`Instant`], or never. One word in memory.
///
/// It is over when `now >= expiry`, the one boundary used everywhere.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Expiry(u64);

impl Expiry {
    /// Does not end.
    pub const NEVER: Expiry = Expiry(u64::MAX);

    /// Ends at `instant`.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Expiry(instant.0)
    }

    /// Ends `lifetime` after `now`.
    #[must_use]
    pub fn after(now: Instant, lifetime: Lifetime) -> Self {
        match lifetime.duration() {
            Some(duration) => Expiry(now.saturating_add(duration).0),
            None => Expiry::NEVER,
        }
    }

    /// The instant, or `None` when it never ends.
    #[must_use]
    pub const fn instant(self) -> Option<Instant> {
        match self.0 {
            u64::MAX => None,
            micros => Some(Instant(micros)),
        }
    }

    /// Whether it is over: `now >= self`.
    #[must_use]
    pub const fn is_due(self, now: Instant) -> bool {
        self.0 != u64::MAX && now.0 >= self.0
    }

    /// What is left of it, in whole seconds rounded down, as ND writes it.
    #[must_use]
    pub fn remaining(self, now: Instant) -> Lifetime {
        match self.instant() {
            None => Lifetime::INFINITE,
            Some(end) => Lifetime::from_duration(end.saturating_duration_since(now)),
        }
    }
}

impl fmt::Debug for Expiry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instant() {
            Some(instant) => write!(f, "Expiry({instant})"),
            None => f.write_str("Expiry(never)"),
        }
    }
}

/// A lifetime as Neighbor Discovery carries it: 32 bits of seconds, of which
/// all ones mean infinity. [RFC 4861 §4.6.2]
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(u32);

impl Lifetime {
    /// Already over; in an advertisement it withdraws what it stands beside.
    pub const ZERO: Lifetime = Lifetime(0);
    /// Does not end.
    pub const INFINITE: Lifetime = Lifetime(u32::MAX);

    /// The value of the field on the wire.
    #[must_use]
    pub const fn from_secs(secs: u32) -> Self {
        Lifetime(secs)
    }

    /// The longest lifetime that does not exceed `duration`; a finite
    /// duration never becomes infinity.
    #[must_use]
    pub fn from_duration(duration: Duration) -> Self {
        let longest = u32::MAX.saturating_sub(1);
        Lifetime(u32::try_from(duration.as_secs()).map_or(longest, |secs| secs.min(longest)))
    }

    /// The field on the wire, in seconds; 0xffffffff is infinity.
    #[must_use]
    pub const fn secs(self) -> u32 {
        self.0
    }

    /// The duration, or `None` when infinite.
    #[must_use]
    pub fn duration(self) -> Option<Duration> {
        match self.0 {
            u32::MAX => None,
            secs => Some(Duration::from_secs(u64::from(secs))),
        }
    }

    /// Whether the lifetime is zero.
    #[must_use]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Whether the lifetime does not end.
    #[must_use]
    pub const fn is_infinite(self) -> bool {
        self.0 == u32::MAX
    }
}

impl fmt::Debug for Lifetime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Lifetime {
    /// `1800s`, or `infinite`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_infinite() { f.write_str("infinite") } else { write!(f, "{}s", self.0) }
    }
}

/// `Duration` arithmetic in whole microseconds, saturating.
///
/// `Duration`'s own is built on `Duration::new`, which can panic as far as a
/// linker knows.
pub(crate) mod duration {
    use core::time::Duration;

    use crate::time::micros;

    /// `one` and `other` together.
    pub(crate) fn sum(one: Duration, other: Duration) -> Duration {
        Duration::from_micros(micros(one).saturating_add(micros(other)))
    }

    /// What is left of `one` without `other`; never below zero.
    pub(crate) fn difference(one: Duration, other: Duration) -> Duration {
        Duration::from_micros(micros(one).saturating_sub(micros(other)))
    }

    /// `one`, `times` times.
    pub(crate) fn product(one: Duration, times: u32) -> Duration {
        Duration::from_micros(micros(one).saturating_mul(u64::from(times)))
    }

    /// A part of `one`, rounded down; zero when `by` is zero.
    pub(crate) fn quotient(one: Duration, by: u32) -> Duration {
        Duration::from_micros(micros(one).checked_div(u64::from(by)).unwrap_or(0))
    }
}

/// Whole microseconds of a duration, saturating.
#[inline]
pub(crate) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boundaries_saturate_and_infinity_stays_apart() {
        let late = Instant::from_micros(u64::MAX);
        assert_eq!(late.saturating_add(Duration::MAX), late);
        assert_eq!(Instant::ZERO.saturating_duration_since(late), Duration::ZERO);
        assert!(!Expiry::NEVER.is_due(late));
        assert!(Expiry::at(Instant::ZERO).is_due(Instant::ZERO));
        assert_eq!(Lifetime::from_duration(Duration::MAX).secs(), u32::MAX - 1);
        assert_eq!(Expiry::after(Instant::ZERO, Lifetime::INFINITE), Expiry::NEVER);
        assert_eq!(
            Expiry::after(Instant::from_secs(5), Lifetime::from_secs(7)).instant(),
            Some(Instant::from_secs(12))
        );
        assert_eq!(Expiry::at(Instant::from_millis(7_900)).remaining(Instant::from_secs(1)), Lifetime::from_secs(6));
    }
    #[test]
    fn durations_saturate_in_microseconds() {
        let seven = Duration::from_secs(7);
        let longest = Duration::from_micros(u64::MAX);
        assert_eq!(duration::sum(seven, Duration::from_millis(1)), Duration::from_millis(7_001));
        assert_eq!(duration::sum(Duration::MAX, Duration::MAX), longest);
        assert_eq!(duration::difference(seven, Duration::from_secs(8)), Duration::ZERO);
        assert_eq!(duration::difference(seven, Duration::from_millis(1)), Duration::from_millis(6_999));
        assert_eq!(duration::product(seven, 3), Duration::from_secs(21));
        assert_eq!(duration::product(Duration::MAX, 2), longest);
        assert_eq!(duration::quotient(seven, 2), Duration::from_millis(3_500));
        assert_eq!(duration::quotient(seven, 0), Duration::ZERO);
    }
}
