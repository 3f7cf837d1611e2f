//! Whether the machine has slept: the clock of the programs stands still meanwhile, and that of the links does not. What a
//! row was good for before is over.

use nix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// Less is no sleep: the two clocks are read one after the other.
const LEAST: Duration = Duration::from_millis(100);

/// How long it has slept since it was started, as far as is known.
#[derive(Debug)]
pub(super) struct Suspend {
    slept: Duration,
}

impl Suspend {
    pub(super) fn new() -> Self {
        Self { slept: slept() }
    }

    /// Whether it has slept since this was asked last.
    pub(super) fn was(&mut self) -> bool {
        self.follow(slept())
    }

    fn follow(&mut self, slept: Duration) -> bool {
        let is_more = slept > self.slept.saturating_add(LEAST);
        if is_more {
            self.slept = slept;
        }
        is_more
    }
}

fn slept() -> Duration {
    let clock = |id| clock_gettime(id).map_or(Duration::ZERO, Duration::from);
    // What passes in between makes it less, not more.
    let all = clock(ClockId::CLOCK_BOOTTIME);
    all.saturating_sub(clock(ClockId::CLOCK_MONOTONIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_night_is_told_once_and_a_moment_not_at_all() {
        let mut suspend = Suspend { slept: Duration::from_secs(7) };
        let mut follow = |millis| suspend.follow(Duration::from_millis(millis));
        assert_eq!([7_000, 7_050, 6_990].map(&mut follow), [false; 3]);
        assert_eq!([9_000, 9_000, 9_001].map(&mut follow), [true, false, false]);
        assert!(!Suspend::new().was());
    }
}
