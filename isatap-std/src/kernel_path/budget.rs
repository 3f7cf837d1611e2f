//! How many new flows a second may cost what a row costs.

use isatap_core::time::Instant;

/// New rows in a row, and in a second: each is a question to the kernel and two writings, some 10 microseconds.
const MOST: u64 = 512;
const A_SECOND: u64 = 2_000;

/// Tokens that come back with time.
#[derive(Debug, Default)]
pub(super) struct Budget {
    left: u64,
    at: Instant,
}

impl Budget {
    /// Whether there is one more.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let passed = now.saturating_duration_since(self.at).as_micros();
        let earned = passed.saturating_mul(A_SECOND) / 1_000_000;
        if earned > 0 {
            (self.left, self.at) = (self.left.saturating_add(earned).min(MOST), now);
        }
        let is_there = self.left > 0;
        self.left = self.left.saturating_sub(1);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_of_new_flows_costs_what_2000_do() {
        let mut budget = Budget::default();
        let start = Instant::from_secs(1000);
        // A million new flows in a second.
        let taken = (0..1_000_000).filter(|n| budget.take(start.saturating_add(Duration::from_micros(*n)))).count();
        assert!((2_400..=2_512).contains(&taken), "{taken}");
        // One in a millisecond has what it wants.
        let later = Instant::from_secs(2000);
        assert!((0..10_000).all(|n| budget.take(later.saturating_add(Duration::from_millis(n)))));
    }
}
