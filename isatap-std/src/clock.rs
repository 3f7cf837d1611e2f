//! Time for the machines of the core, counted from when the clock was made.
//!
//! On Linux the clock goes on while the machine sleeps (`CLOCK_BOOTTIME`): an
//! address whose lifetime ran out during suspend is gone on resume. Elsewhere
//! [`std::time::Instant`] is used, and whether sleep counts is up to the system.
//! It never goes backwards and does not follow changes of the wall clock.

use isatap_core::time::Instant;
use std::time::Duration;

/// A monotonic clock with its own zero.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: source::Point,
}

impl Clock {
    /// A clock that reads 0 now.
    pub fn start() -> Self {
        Self { origin: source::now() }
    }

    /// The time now, for the core.
    pub fn now(&self) -> Instant {
        Instant::from_micros(u64::try_from(self.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// Time since [`Clock::start`].
    pub fn elapsed(&self) -> Duration {
        source::since(self.origin)
    }

    /// How long to sleep until `deadline`; zero when that is past.
    pub fn until(&self, deadline: Instant) -> Duration {
        deadline.saturating_duration_since(self.now()).into()
    }
}

#[cfg(target_os = "linux")]
mod source {
    use nix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    pub(super) type Point = Duration;

    pub(super) fn now() -> Point {
        // Cannot fail: the clock exists since Linux 2.6.39 and the kernel writes
        // to our own stack. A failure would read as "no time has passed".
        clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
    }

    pub(super) fn since(origin: Point) -> Duration {
        now().saturating_sub(origin)
    }
}

#[cfg(not(target_os = "linux"))]
mod source {
    use std::time::{Duration, Instant};

    pub(super) type Point = Instant;

    pub(super) fn now() -> Point {
        Instant::now()
    }

    pub(super) fn since(origin: Point) -> Duration {
        origin.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advances_with_real_time_and_never_backwards() {
        let clock = Clock::start();
        let begin = clock.now();
        std::thread::sleep(Duration::from_millis(20));
        let slept = Duration::from(clock.now().saturating_duration_since(begin));
        assert!(slept >= Duration::from_millis(20) && slept < Duration::from_secs(10), "{slept:?}");
        assert!((0..1000).map(|_| clock.now()).is_sorted());
    }

    #[test]
    fn until_a_past_deadline_is_no_sleep() {
        let clock = Clock::start();
        std::thread::sleep(Duration::from_millis(1));
        assert_eq!(clock.until(Instant::ZERO), Duration::ZERO);
        let left = clock.until(Instant::from_secs(1000));
        assert!(left > Duration::from_secs(900) && left < Duration::from_secs(1000));
    }
}
