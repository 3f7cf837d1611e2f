//! How much somebody may make a machine send, however many others there are.
//! `NDP-61`, `TER-66`, `TER-107`
//!
//! Of a token bucket only the time is kept at which it will be full again
//! ("generic cell rate algorithm", ITU-T I.371): as far ahead of now as tokens
//! are gone.

use core::net::Ipv6Addr;

use crate::proto41::identification::{PlaceKey, hash_address};
use crate::time::Instant;

/// What a token and all tokens of a bucket are worth, in the unit of its time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    token: u32,
    burst: u32,
}

impl Rate {
    /// So many tokens a second, and so many at once.
    pub(crate) const fn new(per_second: u16, burst: u16) -> Self {
        Rate::in_units(1_000_000, per_second, burst)
    }

    #[expect(clippy::as_conversions, reason = "u32::from is no constant function")]
    const fn in_units(second: u32, per_second: u16, burst: u16) -> Self {
        match second.checked_div(per_second as u32) {
            Some(token) => Rate { token, burst: token.saturating_mul(burst as u32) },
            // Never, not even at once.
            None => Rate { token: u32::MAX, burst: 0 },
        }
    }

    /// What is used with one token more, if there is one.
    fn spend(self, used: u32) -> Option<u32> {
        used.checked_add(self.token).filter(|used| *used <= self.burst)
    }
}

/// A token bucket: when it is full again, in microseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenBucket(Instant);

impl TokenBucket {
    pub(crate) const FULL: TokenBucket = TokenBucket(Instant::ZERO);

    /// Takes one token, if there is one.
    pub(crate) fn take(&mut self, now: Instant, rate: Rate) -> bool {
        let used = u32::try_from(self.0.micros().saturating_sub(now.micros())).unwrap_or(u32::MAX);
        let used = rate.spend(used);
        if let Some(used) = used {
            self.0 = Instant::from_micros(now.micros().saturating_add(used.into()));
        }
        used.is_some()
    }
}

/// The unit of time of [`Limits`]: 64 µs, so that 32 bits last for three days.
const TICK_BITS: u32 = 6;
const TICKS_PER_SECOND: u32 = 15_625;

/// Token buckets of four bytes, shared by the sources whose keyed hash is the
/// same.
///
/// A flood comes from as many forged sources as it likes, so nothing is kept
/// of a source but a share of a table that nobody can fill, at the price that
/// two sources may share a bucket by chance. What counts is then that the
/// whole table lets more through than a flood can bring: `BUCKETS` times the
/// rate of one.
///
/// Who may forge sources may forge that of whom they want to keep out; so the
/// places need no more than [`PlaceKey`] hides.
///
/// A time that is further ahead than all tokens are worth is one of the past,
/// since times wrap.
#[derive(Clone)]
pub(crate) struct Limits<const BUCKETS: usize> {
    places: PlaceKey,
    full_at: [u32; BUCKETS],
    rate: Rate,
}

impl<const BUCKETS: usize> Limits<BUCKETS> {
    /// Of each: so many a second, and so many at once.
    pub(crate) const fn new((per_second, burst): (u16, u16)) -> Self {
        let rate = Rate::in_units(TICKS_PER_SECOND, per_second, burst);
        Limits { places: PlaceKey::PUBLIC, full_at: [0; BUCKETS], rate }
    }

    pub(crate) fn rekey(&mut self, key: [u64; 2]) {
        self.places = PlaceKey::derive(key);
    }

    /// Takes a token of `source`, if there is one.
    pub(crate) fn take(&mut self, now: Instant, source: &Ipv6Addr) -> bool {
        let (now, rate) = (ticks(now), self.rate);
        let Some(full_at) = self.full_at.get_mut(self.places.place(source, BUCKETS)) else { return false };
        let used = full_at.wrapping_sub(now);
        let used = rate.spend(if used > rate.burst { 0 } else { used });
        if let Some(used) = used {
            *full_at = now.wrapping_add(used);
        }
        used.is_some()
    }
}

/// What many may make a relay send to one destination, in fair shares.
///
/// In each [`WINDOW`] a destination gets a fixed number of tokens. Whoever asks
/// for one gets it as long as he has had fewer than are left for everybody (a
/// "dynamic threshold", as switches have it for the memory of their ports:
/// Choudhury and Hahne, 1998). One that asks without end gets half of them and
/// leaves the other half; `n` of them leave the part `1/(n+1)`.
#[derive(Clone)]
pub(crate) struct Shares<const DESTINATIONS: usize, const PAIRS: usize> {
    keys: [[u64; 2]; 2],
    all: [Count; DESTINATIONS],
    own: [Count; PAIRS],
    tokens: u16,
}

/// How long tokens last, in µs.
const WINDOW: u64 = 2_500_000;

/// Tokens taken in a window; in any other one none. The number of the window
/// wraps after 45 hours: a count of then may be taken for one of now.
#[derive(Clone, Copy)]
struct Count {
    window: u16,
    taken: u16,
}

impl Count {
    const NONE: Count = Count { window: 0, taken: 0 };

    fn taken(self, window: u16) -> u16 {
        if self.window == window { self.taken } else { 0 }
    }

    fn take(&mut self, window: u16) {
        *self = Count { window, taken: self.taken(window).saturating_add(1) };
    }
}

impl<const DESTINATIONS: usize, const PAIRS: usize> Shares<DESTINATIONS, PAIRS> {
    /// So many tokens for each destination in each window.
    pub(crate) const fn new(tokens: u16) -> Self {
        Shares { keys: [[0; 2]; 2], all: [Count::NONE; DESTINATIONS], own: [Count::NONE; PAIRS], tokens }
    }

    pub(crate) fn rekey(&mut self, keys: [[u64; 2]; 2]) {
        self.keys = keys;
    }

    /// Whether a token of `destination` is left for `source`, a /64's upper half.
    pub(crate) fn has(&self, now: Instant, destination: u32, source: u64) -> bool {
        let (window, (all, own)) = (window(now), self.places(destination, source));
        let all = self.all.get(all).map_or(u16::MAX, |count| count.taken(window));
        let own = self.own.get(own).map_or(u16::MAX, |count| count.taken(window));
        own < self.tokens.saturating_sub(all)
    }

    /// Takes a token, if one is left.
    pub(crate) fn take(&mut self, now: Instant, destination: u32, source: u64) -> bool {
        let granted = self.has(now, destination, source);
        let (window, (all, own)) = (window(now), self.places(destination, source));
        if granted && let (Some(all), Some(own)) = (self.all.get_mut(all), self.own.get_mut(own)) {
            all.take(window);
            own.take(window);
        }
        granted
    }

    fn places(&self, destination: u32, source: u64) -> (usize, usize) {
        let [all, own] = self.keys;
        let destination = u128::from(destination);
        let pair = u128::from(source).wrapping_shl(64) | destination;
        (place::<DESTINATIONS>(all, destination), place::<PAIRS>(own, pair))
    }
}

fn window(now: Instant) -> u16 {
    let number = now.micros().checked_div(WINDOW).unwrap_or(0) & 0xffff;
    u16::try_from(number).unwrap_or(0)
}

fn place<const LEN: usize>(key: [u64; 2], of: u128) -> usize {
    let hash = hash_address(key, &Ipv6Addr::from_bits(of));
    usize::try_from(hash & 0xffff_ffff).unwrap_or(0).checked_rem(LEN).unwrap_or(0)
}

fn ticks(now: Instant) -> u32 {
    // The lower half: it wraps.
    let ticks = now.micros().wrapping_shr(TICK_BITS) & 0xffff_ffff;
    u32::try_from(ticks).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use crate::time::Duration;
    use proptest::prelude::*;

    #[test]
    fn ter_66_one_source_does_not_use_up_what_others_may() {
        let mut limits: Limits<64> = Limits::new((2, 10));
        limits.rekey([1, 2]);
        let source = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1);
        let flood = &source(1);
        assert_eq!((0..1000).filter(|_| limits.take(Instant::ZERO, flood)).count(), 10);
        let served = (2..102).filter(|n| limits.take(Instant::ZERO, &source(*n))).count();
        assert!(served >= 90, "{served}");
        assert_eq!((0..1000).filter(|_| limits.take(Instant::from_secs(1), flood)).count(), 2);
    }

    #[test]
    fn ndp_61_a_rate_of_zero_grants_nothing_and_a_slow_bucket_holds_71_minutes() {
        let granted = |per_second, burst| {
            let (mut bucket, rate) = (TokenBucket::FULL, Rate::new(per_second, burst));
            (0..70_000).filter(|_| bucket.take(Instant::from_secs(9), rate)).count()
        };
        assert_eq!((granted(0, 0), granted(0, 10), granted(0, u16::MAX)), (0, 0, 0));
        assert_eq!((granted(1, 10), granted(10, 10), granted(1, u16::MAX)), (10, 10, 4294));
        let mut limits: Limits<1> = Limits::new((0, 10));
        assert!(!limits.take(Instant::ZERO, &Ipv6Addr::LOCALHOST));
    }

    proptest! {
        /// Against a bucket in floating point: never more than a token off, at any time
        /// of the clock, wrap included.
        #[test]
        fn ter_66_a_bucket_of_four_bytes_is_a_bucket(
            start in any::<u32>(),
            pauses in prop::collection::vec(0_u32..400_000, 1..200),
            rate in 1_u16..200,
            burst in 1_u16..100,
        ) {
            let mut limits: Limits<1> = Limits::new((rate, burst));
            let mut now = Instant::from_micros(u64::from(start) << (TICK_BITS + 1));
            let (mut tokens, mut granted, mut expected) = (f64::from(burst), 0_i32, 0_i32);
            for pause in pauses {
                now = now.saturating_add(Duration::from_micros(pause.into()));
                tokens = (tokens + f64::from(pause) * f64::from(rate) / 1e6).min(f64::from(burst));
                if tokens >= 1.0 {
                    tokens -= 1.0;
                    expected += 1;
                }
                granted += i32::from(limits.take(now, &Ipv6Addr::UNSPECIFIED));
                // Ticks are rounded down: up to one in 78 at 200 a second.
                prop_assert!((granted - expected).abs() <= 1 + granted / 70, "{granted} of {expected}");
            }
        }
    }

    #[test]
    fn ndp_61_ten_at_once_then_ten_a_second() {
        let mut bucket = TokenBucket::FULL;
        let mut count = |now| (0..1000).filter(|_| bucket.take(now, Rate::new(10, 10))).count();
        assert_eq!(count(Instant::ZERO), 10);
        assert_eq!(count(Instant::from_millis(99)), 0);
        assert_eq!(count(Instant::from_millis(100)), 1);
        assert_eq!(count(Instant::from_millis(600)), 5);
        assert_eq!(count(Instant::from_secs(3600)), 10);
    }

    /// One that asks for all there is, and others that come later.
    #[test]
    fn ter_107_who_asks_without_end_leaves_half() {
        let mut shares: Shares<16, 256> = Shares::new(200);
        shares.rekey([[1, 2], [3, 4]]);
        let mut had = 0;
        // Four windows, in steps of 10 ms; six others ask five times a second each.
        for step in 0_u64..1000 {
            let now = Instant::from_micros(step * 10_000);
            had += (0..10).filter(|_| shares.take(now, 7, 0)).count();
            for other in (1..=6).filter(|_| step % 20 == 0) {
                assert!(shares.take(now, 7, other), "{other} at {now}");
            }
        }
        // A few less in a window in which others were first.
        assert!((385..=400).contains(&had), "{had}");
        // Another destination has tokens of its own, and two that ask without end leave a
        // third: 100 and 50 are had already.
        let now = Instant::from_secs(100);
        let had = [0, 1, 2].map(|source| (0..1000).filter(|_| shares.take(now, 8, source)).count());
        assert_eq!(had, [100, 50, 25]);
    }
}
