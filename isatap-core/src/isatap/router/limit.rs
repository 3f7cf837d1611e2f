//! How many advertisements are sent in any one second.

use crate::time::{Duration, Expiry, Instant};

/// What was sent in the last second, in groups that begin a [`SPAN`] or more
/// after one another. A group counts until a second after its last: no second,
/// wherever it begins, sees more than is allowed. `ISA-57`
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// The newest first. In a second and a span before it no more than these
    /// begin.
    groups: [Group; 5],
}

#[derive(Clone, Copy)]
struct Group {
    first: Instant,
    /// After `first`, in microseconds.
    last: u32,
    count: u16,
}

impl Group {
    const EMPTY: Self = Group { first: Instant::ZERO, last: 0, count: 0 };

    fn last(&self) -> Instant {
        self.first.saturating_add(Duration::from_micros(self.last.into()))
    }
}

const SECOND: Duration = Duration::from_secs(1);

const SPAN: Duration = Duration::from_millis(250);

impl Limit {
    /// Nothing sent.
    pub(super) const EMPTY: Self = Limit { groups: [Group::EMPTY; 5] };

    /// So much is sent now.
    pub(super) fn note(&mut self, now: Instant, count: u16) {
        let [newest, second, third, fourth, _] = self.groups;
        let after = now.saturating_duration_since(newest.first);
        let group = match u32::try_from(after.as_micros()) {
            Ok(last) if after < SPAN => Group { last, count: newest.count.saturating_add(count), ..newest },
            _ => {
                self.groups = [newest, newest, second, third, fourth];
                Group { first: now, last: 0, count }
            }
        };
        let [newest, ..] = &mut self.groups;
        *newest = group;
    }

    /// When something was sent last.
    pub(super) fn last(&self) -> Option<Instant> {
        let [newest, ..] = &self.groups;
        (newest.count > 0).then(|| newest.last())
    }

    /// From when on more may be sent, where `most` is allowed in a second.
    pub(super) fn next(&self, most: u16) -> Expiry {
        if most == 0 {
            return Expiry::NEVER;
        }
        let mut sum = 0_u16;
        for group in &self.groups {
            sum = sum.saturating_add(group.count);
            if sum >= most {
                return Expiry::at(group.last().saturating_add(SECOND));
            }
        }
        Expiry::at(Instant::ZERO)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]
    use super::*;
    use std::vec::Vec;

    fn at(millis: u64) -> Instant {
        Instant::from_secs(1000).saturating_add(Duration::from_millis(millis))
    }

    /// When each of `count` that never wait is sent, from the times at which they may ask.
    fn sent(most: u16, asked: impl Iterator<Item = u64>) -> Vec<u64> {
        let mut limit = Limit::EMPTY;
        let mut now = 0;
        let mut sent = Vec::new();
        for ask in asked {
            now = ask.max(now);
            while !limit.next(most).is_due(at(now)) {
                now += 1;
            }
            limit.note(at(now), 1);
            sent.push(now);
        }
        sent
    }

    #[test]
    fn isa_57_no_second_sees_more_than_the_limit_wherever_it_begins() {
        for step in [1, 3, 7, 49, 90, 124, 125, 249, 250, 251, 400] {
            for most in [1_u16, 2, 10, 100] {
                let sent = sent(most, (0..400).map(|number| number * step));
                let strict =
                    sent.windows(usize::from(most) + 1).all(|window| window[usize::from(most)] - window[0] >= 1000);
                assert!(strict, "{most} of one each {step} ms: {sent:?}");
                // And not much less: a group waits for its last.
                let least = 400 * step.max(1250_u64.div_ceil(most.into()));
                assert!(*sent.last().unwrap() <= least, "{most} of one each {step} ms: {:?}", sent.last());
            }
        }
    }

    #[test]
    fn isa_57_a_burst_may_be_repeated_after_a_second() {
        let sent = sent(10, core::iter::repeat_n(0, 40));
        assert!(sent.chunks(10).zip(0..).all(|(burst, second)| burst == [1000 * second; 10]), "{sent:?}");
        assert_eq!((Limit::EMPTY.next(0), Limit::EMPTY.last()), (Expiry::NEVER, None));
        let mut limit = Limit::EMPTY;
        for millis in [0, 200, 260] {
            limit.note(at(millis), 1);
            assert_eq!(limit.last(), Some(at(millis)));
        }
    }
}
