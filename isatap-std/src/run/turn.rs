//! The loop: a turn of it, until a signal asks for something, and to the end.

use super::{HOOKS, Run, SIGNALS};
#[cfg(feature = "control")]
use crate::control::Monitors;
use crate::driver::{Poller, Source, Token};
use crate::error::Error;
use crate::service::{LAST_WORDS, LastWords};
use crate::signal::{Request, Signals};
use isatap_core::time::Instant;
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
        self.next = None;
        self.round(timeout)?;
        self.arm()
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
        self.next = None;
        let outcome = work(self, signals);
        watcher.unwatch(signals.as_fd());
        let outcome = outcome?;
        self.arm()?;
        Ok(outcome)
    }

    /// A round of the loop; whether a signal has come.
    fn round(&mut self, timeout: Option<Duration>) -> Result<bool, Error> {
        let mut has_signal = false;
        let (mut busy, mut moving) = (Numbers::new(), Numbers::new());
        // All are heard before one fails: some tell what is new once only.
        let mut outcome = Ok(());
        let mut next = self.next.take().unwrap_or_else(|| self.deadline());
        let mut only_packets = true;
        for (number, source) in self.poller.wait_for_some(timeout, next)? {
            has_signal |= number == SIGNALS;
            if number == HOOKS {
                self.hear_hooks();
            }
            let is_packets = matches!(source, Source::Packets | Source::Device(_));
            only_packets &= is_packets;
            if let Some(member) = self.member_mut(number) {
                outcome = outcome.and(member.ready(source));
                // There is room: no more is told at once.
                let _ = if is_packets { moving.push(number) } else { busy.push(number) };
            }
        }
        let now = self.poller.clock().now();
        let is_due = |due: Option<Instant>| due.is_some_and(|due| due <= now);
        let is_time = self.unattended.is_time(now);
        self.unattended.note(&moving);
        let unattended = if is_time { self.unattended.attend(now) } else { Vec::new() };
        let some_are_due = is_due(next);
        for (number, member) in self.members_mut() {
            // Packets change no deadline but those of who moves them.
            let of_packets = if moving.contains(&number) { member.packet_deadline() } else { None };
            let is_asked = busy.contains(&number) || unattended.contains(&number);
            if is_asked || is_due(of_packets) || some_are_due && is_due(member.deadline()) {
                only_packets = false;
                outcome = outcome.and(member.advance());
            }
            next = next.into_iter().chain(of_packets).min();
        }
        let next = next.into_iter().chain(self.unattended.deadline()).min();
        self.next = (only_packets && !some_are_due).then_some(next);
        outcome = outcome.and(self.remake(now));
        #[cfg(feature = "control")]
        self.catch_up(now);
        outcome.map(|()| has_signal)
    }

    /// Those who watch and are behind, at most once a second.
    #[cfg(feature = "control")]
    fn catch_up(&mut self, now: Instant) {
        if self.catch_up <= now && self.observer.monitors(|monitors| monitors.is_behind()) {
            self.observer.monitors(Monitors::catch_up);
            self.catch_up = now.saturating_add(Duration::from_secs(1));
        }
    }
}

/// Numbers of members that something is ready for.
type Numbers = heapless::Vec<u16, { Poller::MOST }>;

/// Members that have moved packets and have not been [advanced](crate::service::Member::advance) since.
///
/// What packets bring about is due at once: the machine says so. To look each time at all else that a member
/// looks after took longer than the packet; it is looked at after [`LONGEST`](Self::LONGEST).
#[derive(Debug, Default)]
pub(super) struct Unattended {
    members: Vec<u16>,
    attended: Instant,
}

impl Unattended {
    const LONGEST: Duration = Duration::from_millis(10);

    /// When they are to be looked after at the latest.
    pub(super) fn deadline(&self) -> Option<Instant> {
        (!self.members.is_empty()).then(|| self.attended.saturating_add(Self::LONGEST))
    }

    fn is_time(&self, now: Instant) -> bool {
        self.attended.saturating_add(Self::LONGEST) <= now
    }

    fn note(&mut self, moving: &[u16]) {
        for number in moving {
            if !self.members.contains(number) {
                self.members.push(*number);
            }
        }
    }

    /// They are looked after now.
    fn attend(&mut self, now: Instant) -> Vec<u16> {
        self.attended = now;
        std::mem::take(&mut self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_moves_packets_is_looked_after_at_once_and_then_every_ten_milliseconds() {
        let at = |millis: u64| Instant::from_micros(millis * 1000);
        let mut unattended = Unattended::default();
        assert_eq!(unattended.deadline(), None);
        unattended.note(&[3]);
        assert!(unattended.is_time(at(50)));
        assert_eq!(unattended.attend(at(50)), [3]);
        assert_eq!(unattended.deadline(), None);
        // Whoever moves some meanwhile, and nobody twice.
        [[3, 5], [5, 3]].iter().for_each(|moving| unattended.note(moving));
        assert!(!unattended.is_time(at(59)));
        // And without another packet.
        assert_eq!(unattended.deadline(), Some(at(60)));
        assert!(unattended.is_time(at(60)));
        assert_eq!(unattended.attend(at(60)), [3, 5]);
    }
}
