//! Time as the caller counts it: [`Instant`], [`Duration`], [`Expiry`] and the
//! [`Lifetime`] of messages.
//!
//! The core never reads a clock. Every call that may depend on time takes an
//! [`Instant`]: microseconds since an epoch that the caller chooses once
//! (start of the program, boot of the board) and keeps for the life of a
//! machine. All arithmetic saturates: a deadline too far away to be written
//! down is [`Expiry::NEVER`], and an instant before the epoch is the epoch.

use core::fmt;
use core::ops::{Add, Sub};

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
    #[inline]
    pub fn saturating_add(self, by: impl Into<Duration>) -> Self {
        Instant(self.0.saturating_add(by.into().0))
    }

    /// How long after `earlier` this instant is; zero when it is not.
    #[must_use]
    #[inline]
    pub const fn saturating_duration_since(self, earlier: Instant) -> Duration {
        Duration(self.0.saturating_sub(earlier.0))
    }
}

impl<D: Into<Duration>> Add<D> for Instant {
    type Output = Instant;

    /// As [`saturating_add`](Instant::saturating_add).
    #[inline]
    fn add(self, by: D) -> Instant {
        self.saturating_add(by)
    }
}

impl Sub for Instant {
    type Output = Duration;

    /// As [`saturating_duration_since`](Instant::saturating_duration_since).
    #[inline]
    fn sub(self, earlier: Instant) -> Duration {
        self.saturating_duration_since(earlier)
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

/// A span of time: whole microseconds in 64 bits, as small chips count them.
///
/// It converts from and into [`core::time::Duration`]; what is longer than
/// 584,942 years, or shorter than a microsecond, is cut. All arithmetic
/// saturates.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Duration(u64);

impl Duration {
    /// Nothing.
    pub const ZERO: Duration = Duration(0);
    /// The longest.
    pub const MAX: Duration = Duration(u64::MAX);

    /// `micros` microseconds.
    #[must_use]
    #[inline]
    pub const fn from_micros(micros: u64) -> Self {
        Duration(micros)
    }

    /// `millis` milliseconds (saturating).
    #[must_use]
    #[inline]
    pub const fn from_millis(millis: u64) -> Self {
        Duration(millis.saturating_mul(1_000))
    }

    /// `secs` seconds (saturating).
    #[must_use]
    #[inline]
    pub const fn from_secs(secs: u64) -> Self {
        Duration(secs.saturating_mul(1_000_000))
    }

    /// Microseconds.
    #[must_use]
    #[inline]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds, rounded down.
    #[must_use]
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> u64 {
        self.0 / 1_000_000
    }

    /// Whether it is nothing.
    #[must_use]
    #[inline]
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// This and `other` together.
    #[must_use]
    pub const fn saturating_add(self, other: Duration) -> Self {
        Duration(self.0.saturating_add(other.0))
    }

    /// What is left of this without `other`; never below zero.
    #[must_use]
    pub const fn saturating_sub(self, other: Duration) -> Self {
        Duration(self.0.saturating_sub(other.0))
    }

    /// This, `times` times.
    #[must_use]
    #[expect(clippy::as_conversions, reason = "u64::from is no constant function")]
    pub const fn saturating_mul(self, times: u32) -> Self {
        Duration(self.0.saturating_mul(times as u64))
    }

    /// A tenth of this, rounded down. Small chips divide no 64 bits, so by the
    /// upper half of a product: 8/10 of 2^64.
    pub(crate) fn tenth(self) -> Self {
        let (_, high) = self.0.carrying_mul(0xcccc_cccc_cccc_cccd, 0);
        Duration(high >> 3)
    }

    /// Half of this, rounded down.
    pub(crate) const fn half(self) -> Self {
        Duration(self.0 >> 1)
    }
}

impl Add for Duration {
    type Output = Duration;

    /// As [`saturating_add`](Duration::saturating_add).
    fn add(self, other: Duration) -> Duration {
        self.saturating_add(other)
    }
}

impl From<core::time::Duration> for Duration {
    #[inline]
    fn from(duration: core::time::Duration) -> Self {
        // Not of `as_micros`, whose 128 bits small chips pay for.
        Duration::from_secs(duration.as_secs()).saturating_add(Duration(duration.subsec_micros().into()))
    }
}

impl From<Duration> for core::time::Duration {
    fn from(duration: Duration) -> Self {
        core::time::Duration::from_micros(duration.0)
    }
}

impl fmt::Debug for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        core::time::Duration::from(*self).fmt(f)
    }
}

/// When something ends: an [`Instant`], or never. One word in memory, which is
/// zero for never, so that what is not in use is zeros.
///
/// It is over when `now >= expiry`, the one boundary used everywhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Expiry(u64);

impl Ord for Expiry {
    #[inline]
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        // The later the less is left to the end of time.
        other.0.cmp(&self.0)
    }
}

impl PartialOrd for Expiry {
    #[inline]
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Expiry {
    /// Does not end.
    pub const NEVER: Expiry = Expiry(0);

    /// Ends at `instant`.
    #[must_use]
    pub const fn at(instant: Instant) -> Self {
        Expiry(!instant.0)
    }

    /// Ends `lifetime` after `now`.
    #[must_use]
    pub fn after(now: Instant, lifetime: Lifetime) -> Self {
        match lifetime.duration() {
            Some(duration) => Expiry::at(now.saturating_add(duration)),
            None => Expiry::NEVER,
        }
    }

    /// The instant, or `None` when it never ends.
    #[must_use]
    pub const fn instant(self) -> Option<Instant> {
        match self.0 {
            0 => None,
            left => Some(Instant(!left)),
        }
    }

    /// Whether it is over: `now >= self`.
    #[must_use]
    pub const fn is_due(self, now: Instant) -> bool {
        self.0 != 0 && now.0 >= !self.0
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
    pub fn from_duration(duration: impl Into<Duration>) -> Self {
        let longest = u32::MAX.saturating_sub(1);
        Lifetime(u32::try_from(duration.into().as_secs()).map_or(longest, |secs| secs.min(longest)))
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
    fn durations_saturate_and_convert() {
        let secs = Duration::from_secs;
        for micros in [0, 9, 10, 19, 1 << 40, u64::MAX - 5, u64::MAX] {
            assert_eq!((Duration(micros).tenth().0, Duration(micros).half().0), (micros / 10, micros / 2));
        }
        let (seven, core_max) = (Duration::from_secs(7), core::time::Duration::MAX);
        assert_eq!(seven.saturating_add(Duration::from_millis(1)), Duration::from_millis(7_001));
        assert_eq!(Duration::MAX.saturating_add(seven), Duration::MAX);
        assert_eq!(seven.saturating_sub(Duration::from_secs(8)), Duration::ZERO);
        assert_eq!(
            (seven.saturating_mul(3), seven.half(), seven.tenth()),
            (secs(21), Duration::from_millis(3_500), Duration::from_millis(700))
        );
        assert_eq!(Duration::MAX.saturating_mul(2), Duration::MAX);
        assert_eq!((Duration::from_secs(u64::MAX), Duration::from_millis(u64::MAX)), (Duration::MAX, Duration::MAX));
        assert_eq!((seven.as_secs(), seven.as_millis(), seven.as_micros()), (7, 7_000, 7_000_000));
        assert_eq!(Duration::from(core::time::Duration::from_nanos(1_999)), Duration::from_micros(1));
        assert_eq!(Duration::from(core_max), Duration::MAX);
        assert_eq!(core::time::Duration::from(Duration::from_millis(1_500)), core::time::Duration::new(1, 500_000_000));
        assert_eq!(std::format!("{:?}", Duration::from_millis(1_500)), "1.5s");
        let start = Instant::from_secs(1);
        assert_eq!(start + seven, start + core::time::Duration::from_secs(7));
        assert_eq!((start + seven) - start, seven);
        assert_eq!(start - (start + seven), Duration::ZERO);
    }
}
