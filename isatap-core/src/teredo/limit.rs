//! How much one source may make a server or a client send. `TER-66`, I11

use core::net::Ipv6Addr;

use super::peer::hash;
use crate::time::Instant;

/// Token buckets, shared by the sources whose keyed hash is the same: a
/// bounded table that nobody can fill, at the price that two sources may
/// share a bucket by chance.
#[derive(Clone)]
pub(super) struct Limits<const BUCKETS: usize> {
    key: [u64; 2],
    buckets: [Bucket; BUCKETS],
    per_second: u16,
    burst: u16,
}

/// A token bucket: what is used of the burst, and until when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bucket {
    filled: Instant,
    used: u16,
}

impl Bucket {
    pub(super) const FULL: Bucket = Bucket { filled: Instant::ZERO, used: 0 };

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, now: Instant, per_second: u16, burst: u16) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_micros();
        let earned = elapsed.saturating_mul(u128::from(per_second)).checked_div(1_000_000).unwrap_or(0);
        if earned > 0 {
            self.used = self.used.saturating_sub(u16::try_from(earned).unwrap_or(u16::MAX));
            // What was not yet a whole token is given up: the rate is a limit.
            self.filled = now;
        }
        let granted = self.used < burst;
        if granted {
            self.used = self.used.saturating_add(1);
        }
        granted
    }
}

impl<const BUCKETS: usize> Limits<BUCKETS> {
    pub(super) const fn new(per_second: u16, burst: u16) -> Self {
        Limits { key: [0; 2], buckets: [Bucket::FULL; BUCKETS], per_second, burst }
    }

    pub(super) fn rekey(&mut self, key: [u64; 2]) {
        self.key = key;
    }

    /// Takes a token of `source`, if there is one.
    pub(super) fn take(&mut self, now: Instant, source: &Ipv6Addr) -> bool {
        let place = hash(self.key, source);
        let place = usize::try_from(place & 0xffff_ffff).unwrap_or(0).checked_rem(BUCKETS).unwrap_or(0);
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets.get_mut(place).is_some_and(|bucket| bucket.take(now, per_second, burst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ter_66_i11_one_source_does_not_use_up_what_others_may() {
        let mut limits: Limits<64> = Limits::new(2, 10);
        limits.rekey([1, 2]);
        let source = |n: u16| Ipv6Addr::new(0x2001, 0xdb8, n, 0, 0, 0, 0, 1);
        let flood = &source(1);
        assert_eq!((0..1000).filter(|_| limits.take(Instant::ZERO, flood)).count(), 10);
        let served = (2..102).filter(|n| limits.take(Instant::ZERO, &source(*n))).count();
        assert!(served >= 90, "{served}");
        assert_eq!((0..1000).filter(|_| limits.take(Instant::from_secs(1), flood)).count(), 2);
    }
}
