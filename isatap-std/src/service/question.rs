//! Names that a link needs IPv4 addresses of.

#[cfg(feature = "control")]
use super::evidence::Names;
use super::status::{NameStep, NamesStatus};
use crate::error::Error;
use crate::resolve::{Answer, Entry, Failure, Resolver, Settings, Trial};
use isatap_core::link::Locator;
use isatap_core::time::Instant;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// What names brought.
pub(super) type Outcome = Result<Answer, Failure>;

/// A resolver, and what it brought last.
#[derive(Debug)]
pub(super) struct Question {
    resolver: Resolver,
    settings: Settings,
    answer: Option<Outcome>,
    again_at: Option<Instant>,
    failures: u32,
    /// The conflicts of the last answer.
    conflicts: Vec<String>,
}

/// The first wait after names brought nothing; doubled each time, as the core does it.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(600);

impl Question {
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let resolver =
            Resolver::new(settings.clone()).map_err(|error| Error::refused("start", "the resolver's thread", error))?;
        Ok(Self { resolver, settings, answer: None, again_at: None, failures: 0, conflicts: Vec::new() })
    }

    /// Of the one that is given; `None`: by its address.
    ///
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn of(entry: &Entry) -> Result<Option<Self>, Error> {
        match entry {
            Entry::Address(_) => Ok(None),
            name @ Entry::Name(_) => {
                Self::new(Settings { routers: vec![name.clone()], ..Settings::default() }).map(Some)
            }
        }
    }

    /// Asks now. What is `own` cannot be the answer.
    pub(super) fn ask(&mut self, own: &[Locator]) {
        self.again_at = None;
        let own: Vec<Ipv4Addr> = own.iter().map(|locator| locator.address).collect();
        // An answer that is under way already serves as well.
        let _ = self.resolver.request(&own);
    }

    /// What was found out, once, and what was known before.
    pub(super) fn take(&mut self) -> Option<(Outcome, Option<Outcome>)> {
        let outcome = self.resolver.try_recv()?;
        if outcome.is_ok() {
            self.again_at = None;
            self.failures = 0;
        }
        let before = self.answer.replace(outcome.clone());
        Some((outcome, before))
    }

    /// `NAM-23`, `NAM-33`: who contradicts whom about the names, of what was [taken](Self::take) last; each
    /// once, until it is another.
    pub(super) fn take_conflicts(&mut self) -> Vec<String> {
        let one = |trial: &Trial| {
            let Trial { step, name, conflict, .. } = trial;
            let conflict = conflict.as_ref()?;
            let used = if self.settings.refuse_conflicts { "none" } else { "the first to answer" };
            let text = format!(
                "the name {name} is contested on {}, by {step}: {conflict}; {used} is used",
                conflict.interface
            );
            Some(text)
        };
        let conflicts: Vec<String> = self.resolver.trials().iter().filter_map(one).collect();
        let before = std::mem::replace(&mut self.conflicts, conflicts);
        self.conflicts.iter().filter(|conflict| !before.contains(conflict)).cloned().collect()
    }

    /// After a failure: sees to it that it is asked again, and gives the wait.
    pub(super) fn ask_later(&mut self, now: Instant) -> Duration {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
        self.failures += 1;
        self.again_at = Some(now.saturating_add(wait));
        wait
    }

    /// After an answer: sees to it that it is asked again after this time.
    pub(super) fn ask_in(&mut self, now: Instant, wait: Duration) {
        self.again_at = Some(now.saturating_add(wait));
    }

    /// When to [ask](Self::ask) again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.again_at
    }

    /// The wait is over.
    pub(super) fn end_wait(&mut self) {
        self.again_at = None;
    }

    pub(super) fn answer(&self) -> Option<&Outcome> {
        self.answer.as_ref()
    }

    /// The names that were given; none: the protocol's own.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.settings.routers.iter().map(ToString::to_string).collect();
        if names.is_empty() { "isatap".to_owned() } else { names.join(", ") }
    }

    /// What each step said last, and how many answers were refused.
    pub(super) fn status(&self) -> NamesStatus {
        let refused = self.resolver.discards().iter();
        NamesStatus {
            steps: self.resolver.trials().iter().map(NameStep::of).collect(),
            refused: refused.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        }
    }

    /// For the doctor.
    #[cfg(feature = "control")]
    pub(super) fn testimony(&self) -> Names {
        Names::of(&self.settings, self.resolver.is_pending(), self.answer.as_ref())
    }
}

impl AsFd for Question {
    /// Readable when [`take`](Self::take) has something.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.resolver.as_fd()
    }
}
