//! The resolver's thread: requests in, answers out, one at a time.

use std::io;
use std::net::Ipv4Addr;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;
#[cfg(unix)]
use std::{
    io::Read,
    os::fd::{AsFd, BorrowedFd},
    os::unix::net::UnixStream,
};

use super::{AddressLookup, Answer, Discards, Failure, Lookup, Settings, StubClient, Trial};
#[cfg(unix)]
use crate::waker::Waker;

type Outcome = Result<Answer, Failure>;

/// An outcome, and how it came about.
struct Report {
    outcome: Outcome,
    trials: Vec<Trial>,
    discards: Discards,
}

/// Resolves on a thread of its own, so that a run loop never waits for a server.
///
/// ```no_run
/// use isatap_std::resolve::{Resolver, Settings};
///
/// let mut resolver = Resolver::new(Settings::default())?;
/// resolver.request(&["192.0.2.7".parse().unwrap()]);
/// // Poll the resolver's file descriptor beside the sockets; when it is readable:
/// match resolver.try_recv() {
///     Some(Ok(answer)) => println!("{:?} for {:?}", answer.addresses, answer.ttl),
///     Some(Err(failure)) => println!("{failure}"),
///     None => {}
/// }
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// On Unix it is [`AsFd`]: readable while an answer waits. Dropping it does not wait;
/// a question under way ends by itself, unheard.
#[derive(Debug)]
pub struct Resolver {
    requests: Sender<Vec<Ipv4Addr>>,
    reports: Receiver<Report>,
    pending: bool,
    trials: Vec<Trial>,
    discards: Discards,
    #[cfg(unix)]
    wake: UnixStream,
    /// Kept open here too: the end of a stream would be readable for ever.
    #[cfg(unix)]
    waker: Waker,
}

impl Resolver {
    /// Starts the thread, with [`StubClient`].
    ///
    /// # Errors
    ///
    /// The thread or its wake-up socket cannot be made.
    pub fn new(settings: Settings) -> io::Result<Self> {
        Resolver::with_client(settings, StubClient::new())
    }

    /// Starts the thread, with a client of the caller's.
    ///
    /// # Errors
    ///
    /// The thread or its wake-up socket cannot be made.
    pub fn with_client(settings: Settings, client: impl AddressLookup + 'static) -> io::Result<Self> {
        let (requests, wanted) = mpsc::channel::<Vec<Ipv4Addr>>();
        let (answered, reports) = mpsc::channel();
        #[cfg(unix)]
        let (waker, wake) = Waker::pair()?;
        #[cfg(unix)]
        let guard = waker.clone();
        let mut lookup = Lookup::with_client(settings, client);
        crate::thread::spawn("isatap-resolve", move || {
            // Declared first, so dropped last: a panic wakes the loop as well, and
            // by then the channel tells it.
            #[cfg(unix)]
            let waker = guard;
            let answered = answered;
            while let Ok(locators) = wanted.recv() {
                let outcome = lookup.resolve(&locators);
                let (trials, discards) = (lookup.trials().to_vec(), lookup.discards().clone());
                if answered.send(Report { outcome, trials, discards }).is_err() {
                    break;
                }
                #[cfg(unix)]
                waker.wake();
            }
        })?;
        Ok(Resolver {
            requests,
            reports,
            pending: false,
            trials: Vec::new(),
            discards: Discards::default(),
            #[cfg(unix)]
            wake,
            #[cfg(unix)]
            waker,
        })
    }

    /// Asks for the whole list. `locators`: this host's own IPv4 addresses, which are not
    /// accepted as routers (ISA-25) unless [`Settings::own_addresses`] says so.
    ///
    /// `false`, and nothing is asked, while an answer is outstanding.
    pub fn request(&mut self, locators: &[Ipv4Addr]) -> bool {
        if self.pending {
            return false;
        }
        self.pending = true;
        if self.requests.send(locators.to_vec()).is_err() {
            // The thread is gone: that is the outcome, and nobody else would tell.
            #[cfg(unix)]
            self.waker.wake();
        }
        true
    }

    /// Whether an answer is outstanding.
    #[must_use]
    pub fn is_pending(&self) -> bool {
        self.pending
    }

    /// The answer to the last request, once; `None` if there is none yet. Does not block.
    pub fn try_recv(&mut self) -> Option<Outcome> {
        // Before the look into the channel: an octet that comes afterwards wakes the
        // loop once too often, an answer is never missed.
        self.drain();
        match self.reports.try_recv() {
            Ok(report) => Some(self.take(report)),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => self.stopped(),
        }
    }

    /// The same, waiting up to `timeout`.
    pub fn recv_timeout(&mut self, timeout: Duration) -> Option<Outcome> {
        if !self.pending {
            return None;
        }
        self.drain();
        match self.reports.recv_timeout(timeout) {
            Ok(report) => Some(self.take(report)),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => self.stopped(),
        }
    }

    /// What each step said on the way to the answer that was received last.
    #[must_use]
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// How many answers of neighbours and WINS servers were not used up to then, and why.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    fn take(&mut self, report: Report) -> Outcome {
        self.pending = false;
        (self.trials, self.discards) = (report.trials, report.discards);
        report.outcome
    }

    fn stopped(&mut self) -> Option<Outcome> {
        std::mem::take(&mut self.pending).then_some(Err(Failure::Stopped))
    }

    fn drain(&mut self) {
        #[cfg(unix)]
        while matches!((&self.wake).read(&mut [0; 16]), Ok(1..)) {}
    }
}

#[cfg(unix)]
impl AsFd for Resolver {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}
