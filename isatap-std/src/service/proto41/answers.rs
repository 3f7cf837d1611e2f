//! Whether the other end of a tunnel answers when it is asked.

use isatap_core::drop_reason::Counters;
use isatap_core::nd::neighbor::Reachability;
use isatap_core::time::{Duration, Instant};

/// So long an end that was asked may take to answer, however bad the path is.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often its silence is told.
const TOLD_EACH: Duration = Duration::from_secs(60);

/// What came from the other end, and whether it was asked since.
#[derive(Debug, Default)]
pub(super) struct Answers {
    came: u64,
    heard: Option<Instant>,
    state: Option<Reachability>,
    /// When unreachability detection asked first of all times since something came. That a packet
    /// has no answer is no sign of death by itself: it may want none, as multicast does.
    asked: Option<Instant>,
    /// When its silence was told last.
    told: Option<Instant>,
}

impl Answers {
    /// After each round of the loop.
    pub(super) fn follow(&mut self, now: Instant, counters: &Counters<u64>, state: Option<Reachability>) {
        let before = std::mem::replace(&mut self.state, state);
        // What the node takes for itself are answers of unreachability detection.
        let came = counters.delivered.saturating_add(counters.consumed);
        if came != self.came {
            (self.came, self.heard, self.asked) = (came, Some(now), None);
        } else if is_asking(state) && !is_asking(before) {
            self.asked.get_or_insert(now);
        }
    }

    /// Seconds since something came; `None`: nothing has.
    pub(super) fn heard(&self, now: Instant) -> Option<u64> {
        self.heard.map(|heard| now.saturating_duration_since(heard).as_secs())
    }

    /// Seconds since it was asked, and has neither answered nor sent anything else.
    pub(super) fn silent(&self, now: Instant) -> Option<u64> {
        let silent = now.saturating_duration_since(self.asked?);
        (silent >= PATIENCE).then_some(silent.as_secs())
    }

    /// That it is silent, at most once a minute; that it is so no more, once.
    pub(super) fn take_news(&mut self, now: Instant) -> Option<bool> {
        let is_silent = self.silent(now).is_some();
        match self.told {
            None if !is_silent => None,
            Some(told) if is_silent && now.saturating_duration_since(told) < TOLD_EACH => None,
            _ => {
                self.told = is_silent.then_some(now);
                Some(is_silent)
            }
        }
    }
}

fn is_asking(state: Option<Reachability>) -> bool {
    matches!(state, Some(Reachability::Probe | Reachability::Failed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Reachability::{Delay, Probe, Reachable, Stale};

    /// Seconds, packets sent, packets that came, what unreachability detection says; then how long
    /// ago the other end was heard, and for how long it is silent.
    type Round = (u64, u64, u64, Option<Reachability>, Option<u64>, Option<u64>);

    fn follow(rounds: &[Round]) {
        let mut answers = Answers::default();
        for (at, sent, came, state, heard, silent) in rounds {
            let (mut counters, now) = (Counters::<u64>::ZERO, Instant::from_secs(*at));
            (counters.tunnelled, counters.delivered) = (*sent, *came);
            answers.follow(now, &counters, *state);
            assert_eq!((answers.heard(now), answers.silent(now)), (*heard, *silent), "at {at} s");
        }
    }

    #[test]
    fn who_was_asked_and_does_not_answer_is_silent() {
        follow(&[
            (1, 0, 0, None, None, None),
            (10, 1, 1, Some(Reachable), Some(0), None),
            (500, 2, 1, Some(Delay), Some(490), None),
            (505, 3, 1, Some(Probe), Some(495), None),
            (506, 4, 1, Some(Probe), Some(496), None),
            // What is known of a neighbour that failed is forgotten, and it is asked again.
            (510, 5, 1, None, Some(500), Some(5)),
            (511, 6, 1, Some(Delay), Some(501), Some(6)),
            (516, 7, 1, Some(Probe), Some(506), Some(11)),
            (520, 7, 2, Some(Reachable), Some(0), None),
            (600, 7, 2, Some(Stale), Some(80), None),
        ]);
    }

    /// One packet that wants no answer, such as multicast DNS, in the half minute after the last
    /// answer; then the tunnel is idle.
    #[test]
    fn a_packet_without_an_answer_is_no_silence_where_nobody_asked() {
        follow(&[
            (10, 1, 1, Some(Reachable), Some(0), None),
            (20, 2, 1, Some(Reachable), Some(10), None),
            (40, 2, 1, Some(Stale), Some(30), None),
            (600, 2, 1, Some(Stale), Some(590), None),
        ]);
    }

    /// `--no-neighbor-probes`
    #[test]
    fn without_probes_nobody_is_silent() {
        follow(&[(10, 1, 0, None, None, None), (20, 2, 1, None, Some(0), None), (900, 99, 1, None, Some(880), None)]);
    }

    /// One that answers no probes and sends other things is alive.
    #[test]
    fn what_comes_while_it_is_asked_is_an_answer() {
        follow(&[
            (10, 1, 0, Some(Probe), None, None),
            (12, 1, 1, Some(Probe), Some(0), None),
            (13, 1, 1, Some(Probe), Some(1), None),
            (60, 1, 1, None, Some(48), None),
        ]);
    }

    #[test]
    fn silence_is_told_once_a_minute_and_its_end_once() {
        let mut answers = Answers::default();
        let mut told = Vec::new();
        for at in 0..200 {
            let (mut counters, now) = (Counters::<u64>::ZERO, Instant::from_secs(at));
            counters.delivered = u64::from(at >= 150);
            answers.follow(now, &counters, (10..150).contains(&at).then_some(Probe));
            told.extend(answers.take_news(now).map(|is_silent| (at, is_silent)));
        }
        assert_eq!(told, [(15, true), (75, true), (135, true), (150, false)]);
    }
}
