//! Whether a connection is idle.

use isatap_core::time::Instant;
use std::time::Duration;

/// What is known of it.
#[derive(Debug)]
pub(super) struct Activity {
    /// When something was carried last, or an end was seen to take what waits for it.
    last: Instant,
    /// What waited in the system for both ends when that was asked last; 0: not since something was
    /// carried.
    queued: u64,
}

impl Activity {
    pub(super) fn new(now: Instant) -> Self {
        Self { last: now, queued: 0 }
    }

    /// When it is to be judged next.
    pub(super) fn due(&self, limit: Duration) -> Instant {
        self.last.saturating_add(limit)
    }

    /// Whether nothing has moved for this time. The last megabytes of a download may be in the system
    /// long after they were written, and a reset would throw them away: while they become fewer the
    /// connection is not idle. How many there were is known from the second look on, so one whose end
    /// takes nothing is idle after two of these times.
    pub(super) fn is_idle(&mut self, limit: Duration, now: Instant, queued: impl FnOnce() -> u64) -> bool {
        if now < self.due(limit) {
            return false;
        }
        let queued = queued();
        if std::mem::replace(&mut self.queued, queued) == queued {
            return true;
        }
        self.last = now;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_idle_once_nothing_has_moved_and_what_waits_becomes_no_less() {
        let (limit, at) = (Duration::from_secs(10), Instant::from_secs);
        let mut activity = Activity::new(at(5));
        assert!(!activity.is_idle(limit, Instant::from_millis(14_999), || 0));
        assert!(activity.is_idle(limit, at(15), || 0));
        // 900 bytes wait, then 400: the peer reads on. When it stops, that is seen a limit later.
        let mut activity = Activity::new(at(5));
        for (now, queued, is_idle) in [(15, 900, false), (25, 400, false), (34, 400, false), (35, 400, true)] {
            assert_eq!(activity.is_idle(limit, at(now), || queued), is_idle, "at {now} s");
        }
    }
}
