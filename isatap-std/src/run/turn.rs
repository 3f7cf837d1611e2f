//! The loop: a turn of it, until a signal asks for something, and to the end.

use super::{HOOKS, Run, SIGNALS};
#[cfg(feature = "control")]
use crate::control::Monitors;
use crate::driver::{Source, Token};
use crate::error::Error;
use crate::service::{LAST_WORDS, LastWords};
use crate::signal::{Request, Signals};
use std::os::fd::AsFd as _;
use std::time::Duration;

impl Run {
    /// Tells the hosts of LANs that their prefixes and their router go, which takes 4 seconds
    /// at most, and those of ISATAP routers that there is no default router any more, which takes a
    /// moment; a second signal ends it. Without either it does nothing. What a signal asked for is
    /// still to be taken afterwards.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn finish(&mut self, signals: &mut Signals) -> Result<(), Error> {
        let last_words = self.proto41.as_mut().map(|proto41| proto41.take_leave_of_all()).unwrap_or_default();
        self.wait_for(&last_words, signals)
    }

    /// Goes on until hosts have been told. What was asked for meanwhile is put back, for the caller
    /// to take: this may be the end before a new beginning.
    pub(super) fn wait_for(&mut self, last_words: &LastWords, signals: &mut Signals) -> Result<(), Error> {
        let has_spoken = |run: &Self| run.proto41.as_ref().is_none_or(|proto41| proto41.has_spoken(last_words));
        if has_spoken(self) {
            return Ok(());
        }
        let end = self.poller.clock().now().saturating_add(LAST_WORDS);
        let mut asked = Vec::new();
        let outcome = self.beside(signals, |run, signals| {
            while !has_spoken(run) && !asked.contains(&Request::Stop) {
                let left = run.poller.clock().until(end);
                if left.is_zero() {
                    break;
                }
                if run.round(Some(left))? {
                    asked.extend(signals.take());
                }
            }
            Ok(())
        });
        asked.into_iter().for_each(|request| signals.put_back(request));
        outcome
    }

    /// Waits at most `timeout` for something to do, and does it: a batch of packets, what is due,
    /// what the system has changed. `Some(Duration::ZERO)` does not wait.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, which is not expected. What single packets meet is counted instead.
    pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
        self.round(timeout).map(drop)
    }

    /// Turns until a signal asks to stop; SIGHUP asks routers, relays and servers. Hosts of LANs
    /// are told of the end, as by [`finish`](Self::finish).
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn run_until(&mut self, signals: &mut Signals) -> Result<(), Error> {
        while self.run_until_asked(signals)? != Request::Stop {
            self.solicit();
        }
        self.finish(signals)
    }

    /// Turns until a signal asks for something.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn run_until_asked(&mut self, signals: &mut Signals) -> Result<Request, Error> {
        self.beside(signals, |run, signals| {
            loop {
                if run.round(None)?
                    && let Some(request) = signals.take()
                {
                    return Ok(request);
                }
            }
        })
    }

    /// Watches signals meanwhile.
    fn beside<T>(
        &mut self,
        signals: &mut Signals,
        work: impl FnOnce(&mut Self, &mut Signals) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let watcher = self.poller.watcher(SIGNALS);
        watcher.watch(signals.as_fd(), Source::Owner(Token(0)))?;
        let outcome = work(self, signals);
        watcher.unwatch(signals.as_fd());
        outcome
    }

    /// A round of the loop; whether a signal has come.
    fn round(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let mut has_signal = false;
        let mut busy = Vec::new();
        // All are heard before one fails: some tell what is new once only.
        let mut outcome = Ok(());
        for (number, source) in self.poller.wait(timeout, self.deadline())? {
            has_signal |= number == SIGNALS;
            if number == HOOKS {
                self.hear_hooks();
            }
            if let Some(member) = self.member_mut(number) {
                outcome = outcome.and(member.ready(source));
                busy.push(number);
            }
        }
        let now = self.poller.clock().now();
        for (number, member) in self.members_mut() {
            if busy.contains(&number) || member.deadline().is_some_and(|due| due <= now) {
                outcome = outcome.and(member.advance());
            }
        }
        outcome = outcome.and(self.remake());
        #[cfg(feature = "control")]
        self.catch_up();
        outcome.and(self.arm()).map(|()| has_signal)
    }

    /// Those who watch and are behind, at most once a second.
    #[cfg(feature = "control")]
    fn catch_up(&mut self) {
        let now = self.poller.clock().now();
        if self.catch_up <= now && self.observer.monitors(|monitors| monitors.is_behind()) {
            self.observer.monitors(Monitors::catch_up);
            self.catch_up = now.saturating_add(Duration::from_secs(1));
        }
    }
}
