//! Waiting for many descriptors and for a deadline, behind one descriptor.

use crate::clock::Clock;
use crate::error::Error;
use isatap_core::time::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// A number of the owner's choice for one of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    Device(usize),
    Packets,
    Icmpv4,
    Timer,
    Owner(Token),
}

/// An epoll instance with a timer in it, so that its own descriptor is readable when the
/// deadline has come. The timer goes on while the machine sleeps, like [`Clock`].
#[derive(Debug)]
pub(super) struct Poller {
    epoll: Epoll,
    timer: TimerFd,
    armed: Option<Instant>,
}

impl Poller {
    pub(super) fn open() -> Result<Self, Error> {
        let refused = |errno: Errno| Error::refused("open", "an epoll instance and a timer", errno.into());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(refused)?;
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
            .map_err(refused)?;
        let poller = Self { epoll, timer, armed: None };
        poller.watch(poller.timer.as_fd(), Source::Timer)?;
        Ok(poller)
    }

    pub(super) fn watch(&self, fd: BorrowedFd<'_>, source: Source) -> Result<(), Error> {
        self.add(fd, EpollFlags::EPOLLIN, source)
    }

    /// Tells of what is new and not again of what is left.
    pub(super) fn watch_edge(&self, fd: BorrowedFd<'_>, source: Source) -> Result<(), Error> {
        self.add(fd, EpollFlags::EPOLLIN | EpollFlags::EPOLLET, source)
    }

    fn add(&self, fd: BorrowedFd<'_>, flags: EpollFlags, source: Source) -> Result<(), Error> {
        self.epoll
            .add(fd, EpollEvent::new(flags, source.number()))
            .map_err(|errno| Error::refused("wait for", "a descriptor", errno.into()))
    }

    pub(super) fn unwatch(&self, fd: BorrowedFd<'_>) {
        // Not there: nothing to do.
        let _ = self.epoll.delete(fd);
    }

    /// Sees to it that the descriptor is readable from `deadline` on.
    pub(super) fn arm(&mut self, clock: &Clock, deadline: Option<Instant>) -> Result<(), Error> {
        if self.armed == deadline {
            return Ok(());
        }
        let set = match deadline {
            None => self.timer.unset(),
            // Zero would switch the timer off.
            Some(deadline) => {
                let left = clock.until(deadline).max(Duration::from_nanos(1));
                self.timer.set(Expiration::OneShot(TimeSpec::from(left)), TimerSetTimeFlags::empty())
            }
        };
        set.map_err(|errno| Error::refused("set", "a timer", errno.into()))?;
        self.armed = deadline;
        Ok(())
    }

    /// What is ready, after at most `timeout`; nothing when a signal came first.
    pub(super) fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<Source>, Error> {
        let timeout = match timeout {
            None => EpollTimeout::NONE,
            Some(timeout) => {
                // Rounded up: a wait of less than a millisecond must not become a busy loop.
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
            }
        };
        let mut events = [EpollEvent::empty(); 16];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Error::refused("wait for", "packets", errno.into())),
        };
        let ready: Vec<_> = events.iter().take(count).filter_map(|event| Source::of(event.data())).collect();
        if ready.contains(&Source::Timer) {
            // Reading makes it unreadable; it did its work by waking us.
            let _ = self.timer.wait();
            self.armed = None;
        }
        Ok(ready)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Source {
    fn number(self) -> u64 {
        match self {
            Source::Packets => 0,
            Source::Icmpv4 => 1,
            Source::Timer => 2,
            Source::Device(number) => (1 << 32) | u64::try_from(number).unwrap_or(u64::from(u32::MAX)),
            Source::Owner(Token(number)) => (2 << 32) | u64::from(number),
        }
    }

    fn of(number: u64) -> Option<Self> {
        let low = u32::try_from(number & 0xffff_ffff).unwrap_or_default();
        match (number >> 32, low) {
            (0, 0) => Some(Source::Packets),
            (0, 1) => Some(Source::Icmpv4),
            (0, 2) => Some(Source::Timer),
            (1, low) => usize::try_from(low).ok().map(Source::Device),
            (2, low) => Some(Source::Owner(Token(low))),
            _ => None,
        }
    }
}
