//! Whether the sockets take packets from every device that a link is bound to.

use crate::error::Error;
use isatap_core::time::Instant;
use std::time::Duration;

/// Before the second try, and at most: as links wait that cannot begin. Each wait is twice as long as the
/// one before.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LAST_WAIT: Duration = Duration::from_secs(600);

/// What the last try came to, and when the next one is.
#[derive(Debug, Default)]
pub(super) struct Listening {
    /// When, and the wait before it.
    retry: Option<(Instant, Duration)>,
    news: Option<Result<(), Error>>,
}

impl Listening {
    /// There was a try.
    pub(super) fn follow(&mut self, now: Instant, outcome: Result<(), Error>) {
        let wait = self.retry.map(|(_, wait)| wait);
        self.retry = outcome.is_err().then(|| {
            let wait = wait.map_or(FIRST_WAIT, |wait| wait.saturating_mul(2).min(LAST_WAIT));
            (now.saturating_add(wait), wait)
        });
        if outcome.is_err() == wait.is_some() {
            return;
        }
        // Of a failure that nobody has heard of, nobody hears that it is over.
        self.news = if outcome.is_ok() && self.news.is_some() { None } else { Some(outcome) };
    }

    /// When to try again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.retry.map(|(due, _)| due)
    }

    /// That it fails now, or does no longer.
    pub(super) fn take_news(&mut self) -> Option<Result<(), Error>> {
        self.news.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_ever_later_and_told_once() {
        let failure = || Err(Error::refused("take packets from", "eth1", std::io::Error::from_raw_os_error(24)));
        let mut listening = Listening::default();
        listening.follow(Instant::from_secs(5), Ok(()));
        assert!(listening.due().is_none() && listening.take_news().is_none());
        let mut waits = Vec::new();
        let mut now = Instant::from_secs(5);
        for round in 0..12 {
            listening.follow(now, failure());
            let due = listening.due().unwrap();
            waits.push(due.saturating_duration_since(now).as_secs());
            assert_eq!(listening.take_news().is_some(), round == 0);
            now = due;
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 600, 600]);
        listening.follow(now, Ok(()));
        assert!(listening.due().is_none());
        assert!(matches!(listening.take_news(), Some(Ok(()))));
        listening.follow(now, failure());
        listening.follow(now, Ok(()));
        assert!(listening.take_news().is_none());
    }
}
