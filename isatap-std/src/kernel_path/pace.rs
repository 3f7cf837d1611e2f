//! How often it is looked what has changed: at once, and four times a second however much changes.

use isatap_core::time::Instant;
use std::time::Duration;

/// Between two looks.
pub(super) const APART: Duration = Duration::from_millis(250);
/// Until the kernel is asked again what it has not answered.
const AGAIN: Duration = Duration::from_secs(1);

/// When to look at what is told to change. The last change of many is looked at as well.
#[derive(Debug, Default)]
pub(super) struct Pace {
    is_due: bool,
    at: Instant,
}

impl Pace {
    /// Something has changed.
    pub(super) fn hear(&mut self) {
        self.is_due = true;
    }

    /// What was looked for was not found out.
    pub(super) fn retry(&mut self, now: Instant) {
        *self = Self { is_due: true, at: now.saturating_add(AGAIN) };
    }

    /// When to look; `None`: nothing has changed since that was done.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_due.then_some(self.at)
    }

    /// Whether to look now: then it counts as done.
    #[must_use]
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let begins = self.deadline().is_some_and(|due| due <= now);
        if begins {
            *self = Self { is_due: false, at: now.saturating_add(APART) };
        }
        begins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_changes_is_looked_at_four_times_a_second_and_at_its_end() {
        let start = Instant::from_secs(100);
        let at = |millis| start.saturating_add(Duration::from_millis(millis));
        let mut pace = Pace::default();
        assert!(pace.deadline().is_none() && !pace.begin(start));
        // At once, and then a change each millisecond of a second.
        let mut looks = Vec::new();
        for millis in 0..1000 {
            pace.hear();
            looks.extend(pace.begin(at(millis)).then_some(millis));
        }
        assert_eq!(looks, [0, 250, 500, 750]);
        assert_eq!(pace.deadline(), Some(at(1000)));
        assert!(pace.begin(at(1000)) && pace.deadline().is_none());
        // One that comes later is looked at when it comes.
        pace.hear();
        assert!(pace.begin(at(5000)));
    }

    #[test]
    fn what_is_not_answered_is_asked_for_once_a_second_until_it_is() {
        let start = Instant::from_secs(100);
        let at = |millis| start.saturating_add(Duration::from_millis(millis));
        let mut pace = Pace::default();
        pace.hear();
        let mut looks = Vec::new();
        for millis in (0..5000).step_by(10) {
            // News do not hurry it.
            pace.hear();
            if pace.begin(at(millis)) {
                looks.push(millis);
                pace.retry(at(millis));
            }
        }
        assert_eq!(looks, [0, 1000, 2000, 3000, 4000]);
        assert_eq!(pace.deadline(), Some(at(5000)));
        assert!(pace.begin(at(5000)) && pace.deadline().is_none());
    }
}
