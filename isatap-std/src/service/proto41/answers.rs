//! Whether the other end of a tunnel answers what is sent to it.

use isatap_core::drop_reason::Counters;
use isatap_core::nd::neighbor::Reachability;
use isatap_core::time::Instant;
use std::time::Duration;

/// So long an end that was asked may take to answer, however bad the path is.
const PATIENCE: Duration = Duration::from_secs(5);
/// So long nothing may come back where nobody asks: one direction alone is no sign of death.
const LONG: Duration = Duration::from_secs(60);

/// What went to the other end, and what came from it.
#[derive(Debug, Default)]
pub(super) struct Answers {
    sent: u64,
    came: u64,
    heard: Option<Instant>,
    /// The first packet since, that was not answered.
    unanswered: Option<Instant>,
    /// Unreachability detection has asked since.
    is_asked: bool,
}

impl Answers {
    /// After each round of the loop.
    pub(super) fn follow(&mut self, now: Instant, counters: &Counters<u64>, state: Option<Reachability>) {
        // What the node takes for itself are answers of unreachability detection.
        let came = counters.delivered.saturating_add(counters.consumed);
        if came != self.came {
            (self.came, self.heard, self.unanswered, self.is_asked) = (came, Some(now), None, false);
        } else if counters.tunnelled != self.sent {
            self.unanswered.get_or_insert(now);
        }
        self.sent = counters.tunnelled;
        self.is_asked |= matches!(state, Some(Reachability::Probe | Reachability::Failed));
    }

    /// Seconds since something came; `None`: nothing has.
    pub(super) fn heard(&self, now: Instant) -> Option<u64> {
        self.heard.map(|heard| now.saturating_duration_since(heard).as_secs())
    }

    /// Seconds without an answer, where that means something.
    pub(super) fn silent(&self, now: Instant) -> Option<u64> {
        let silent = now.saturating_duration_since(self.unanswered?);
        let patience = if self.is_asked { PATIENCE } else { LONG };
        (silent >= patience).then_some(silent.as_secs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_answer_is_silent_and_who_is_not_asked_may_be() {
        let mut counters = Counters::<u64>::ZERO;
        let mut answers = Answers::default();
        let seconds = Instant::from_secs;
        let mut follow = |at: u64, sent: u64, came: u64, state: Option<Reachability>| {
            (counters.tunnelled, counters.delivered) = (sent, came);
            answers.follow(seconds(at), &counters, state);
            (answers.heard(seconds(at)), answers.silent(seconds(at)))
        };
        assert_eq!(follow(1, 0, 0, None), (None, None));
        assert_eq!(follow(10, 1, 1, Some(Reachability::Reachable)), (Some(0), None));
        // Nothing is sent: nothing can be answered.
        assert_eq!(follow(500, 1, 1, Some(Reachability::Stale)), (Some(490), None));
        // One direction alone, and nobody asks.
        assert_eq!(follow(501, 2, 1, Some(Reachability::Delay)), (Some(491), None));
        assert_eq!(follow(506, 3, 1, Some(Reachability::Probe)), (Some(496), Some(5)));
        // What is known of a neighbour that failed is forgotten.
        assert_eq!(follow(520, 4, 1, None), (Some(510), Some(19)));
        assert_eq!(follow(521, 4, 2, Some(Reachability::Reachable)), (Some(0), None));
        assert_eq!(follow(522, 5, 2, None), (Some(1), None));
        assert_eq!(follow(581, 6, 2, None), (Some(60), None));
        assert_eq!(follow(582, 7, 2, None), (Some(61), Some(60)));
    }
}
