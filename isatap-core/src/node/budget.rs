//! Token buckets, for answers that anybody can ask for.

use crate::time::Instant;

/// Two buckets that are filled at one rate: who empties one leaves the other.
/// `NDP-61`
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    rate: Rate,
    errors: u16,
    /// For what only passes on an ICMPv4 error.
    relayed: u16,
    errors_filled: Instant,
    relayed_filled: Instant,
}

impl Budgets {
    pub(super) const fn new(per_second: u16, burst: u16) -> Self {
        let (rate, never) = (Rate { per_second, burst }, Instant::ZERO);
        Budgets { rate, errors: burst, relayed: burst, errors_filled: never, relayed_filled: never }
    }

    /// Takes a token for an error of the node's own, if there is one.
    pub(super) fn take_error(&mut self, now: Instant) -> bool {
        self.rate.take(now, &mut self.errors, &mut self.errors_filled)
    }

    /// Takes a token for an error that is passed on, if there is one.
    pub(super) fn take_relayed(&mut self, now: Instant) -> bool {
        self.rate.take(now, &mut self.relayed, &mut self.relayed_filled)
    }
}

#[derive(Clone, Copy, Debug)]
struct Rate {
    per_second: u16,
    burst: u16,
}

impl Rate {
    /// Takes one of the tokens that were last filled up at `filled`.
    fn take(self, now: Instant, tokens: &mut u16, filled: &mut Instant) -> bool {
        let elapsed = now.saturating_duration_since(*filled);
        let rate = u128::from(self.per_second);
        let earned = elapsed.as_micros().saturating_mul(rate).checked_div(1_000_000).unwrap_or(0);
        if earned > 0 {
            let earned = u16::try_from(earned).unwrap_or(u16::MAX);
            *tokens = tokens.saturating_add(earned).min(self.burst);
            // What was not yet a whole token is given up: the rate is a limit.
            *filled = now;
        }
        match tokens.checked_sub(1) {
            Some(left) => {
                *tokens = left;
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
        let mut budget = Budgets::new(10, 10);
        let count = |budget: &mut Budgets, now| (0..1000).filter(|_| budget.take_error(now)).count();
        assert_eq!(count(&mut budget, Instant::ZERO), 10);
        assert_eq!(count(&mut budget, Instant::from_millis(99)), 0);
        assert_eq!(count(&mut budget, Instant::from_millis(100)), 1);
        assert_eq!(count(&mut budget, Instant::from_millis(600)), 5);
        assert_eq!(count(&mut budget, Instant::from_secs(3600)), 10);
        let relayed = (0..1000).filter(|_| budget.take_relayed(Instant::from_secs(3600))).count();
        assert_eq!(relayed, 10, "of a bucket of its own");
    }
}
