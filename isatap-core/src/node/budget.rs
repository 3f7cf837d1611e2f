//! A token bucket, for answers that anybody can ask for.

use crate::time::Instant;

/// Tokens and when they were last filled up. `NDP-61`
#[derive(Clone, Copy, Debug)]
pub(super) struct Budget {
    filled: Instant,
    tokens: u16,
    per_second: u16,
    burst: u16,
}

impl Budget {
    pub(super) const fn new(per_second: u16, burst: u16) -> Self {
        Budget { filled: Instant::ZERO, tokens: burst, per_second, burst }
    }

    /// Takes one token, if there is one.
    pub(super) fn take(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled);
        let rate = u128::from(self.per_second);
        let earned = elapsed.as_micros().saturating_mul(rate).checked_div(1_000_000).unwrap_or(0);
        if earned > 0 {
            let earned = u16::try_from(earned).unwrap_or(u16::MAX);
            self.tokens = self.tokens.saturating_add(earned).min(self.burst);
            // What was not yet a whole token is given up: the rate is a limit.
            self.filled = now;
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ndp_61_ten_at_once_then_ten_a_second() {
        let mut budget = Budget::new(10, 10);
        let count = |budget: &mut Budget, now| (0..1000).filter(|_| budget.take(now)).count();
        assert_eq!(count(&mut budget, Instant::ZERO), 10);
        assert_eq!(count(&mut budget, Instant::from_millis(99)), 0);
        assert_eq!(count(&mut budget, Instant::from_millis(100)), 1);
        assert_eq!(count(&mut budget, Instant::from_millis(600)), 5);
        assert_eq!(count(&mut budget, Instant::from_secs(3600)), 10);
    }
}
