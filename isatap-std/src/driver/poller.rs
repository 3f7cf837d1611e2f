//! Waiting for the descriptors of several drivers and for a deadline, behind one descriptor.

use crate::clock::Clock;
use crate::error::Error;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

/// A number of the owner's choice for one of its descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token(pub u32);

/// What is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The sockets have packets.
    Packets,
    /// The sockets have ICMPv4 errors.
    Icmpv4,
    /// The device of this link has packets.
    Device(LinkId),
    /// What a [shorter way](super::Shortcut) hears of has changed.
    Shortcut,
    /// A descriptor of the owner's.
    Owner(Token),
}

/// An epoll instance with a timer in it, so that its own descriptor is readable when the
/// deadline has come. The timer goes on while the machine sleeps, like [`Clock`].
#[derive(Debug)]
pub struct Poller {
    epoll: Arc<Epoll>,
    timer: TimerFd,
    armed: Option<Instant>,
    clock: Clock,
}

/// Where a driver, its sockets and its owner say what they wait for.
#[derive(Clone, Debug)]
pub struct Watcher {
    epoll: Arc<Epoll>,
    clock: Clock,
    number: u16,
}

/// Of the timer; drivers have smaller numbers.
const TIMER: u64 = u64::MAX;

impl Poller {
    /// What [`wait`](Self::wait) tells at once, at most.
    pub(crate) const MOST: usize = 32;

    /// Starts a clock.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn open() -> Result<Self, Error> {
        let refused = |errno: Errno| Error::refused("open", "an epoll instance and a timer", errno.into());
        let epoll = Arc::new(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(refused)?);
        let timer = TimerFd::new(ClockId::CLOCK_BOOTTIME, TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK)
            .map_err(refused)?;
        add(&epoll, timer.as_fd(), EpollFlags::EPOLLIN, TIMER)?;
        Ok(Self { epoll, timer, armed: None, clock: Clock::start() })
    }

    /// The clock of all that wait here.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// For the driver of this number, by which [`wait`](Self::wait) names it.
    pub fn watcher(&self, number: u16) -> Watcher {
        Watcher { epoll: self.epoll.clone(), clock: self.clock, number }
    }

    /// Sees to it that the descriptor is readable from `deadline` on.
    ///
    /// # Errors
    ///
    /// The kernel does not set the timer, which is not expected.
    pub fn arm(&mut self, deadline: Option<Instant>) -> Result<(), Error> {
        if self.armed == deadline {
            return Ok(());
        }
        let set = match deadline {
            None => self.timer.unset(),
            // Zero would switch the timer off.
            Some(deadline) => {
                let left = self.clock.until(deadline).max(Duration::from_nanos(1));
                self.timer.set(Expiration::OneShot(TimeSpec::from(left)), TimerSetTimeFlags::empty())
            }
        };
        set.map_err(|errno| Error::refused("set", "a timer", errno.into()))?;
        self.armed = deadline;
        Ok(())
    }

    /// What is ready, and at which drivers: after `timeout` or at `deadline`, whichever comes
    /// first; nothing when a signal came before.
    ///
    /// # Errors
    ///
    /// The kernel does not wait, which is not expected.
    pub fn wait(&mut self, timeout: Option<Duration>, deadline: Option<Instant>) -> Result<Vec<(u16, Source)>, Error> {
        self.wait_for_some(timeout, deadline).map(|sources| sources.iter().copied().collect())
    }

    /// The same, without memory of its own.
    pub(crate) fn wait_for_some(
        &mut self,
        timeout: Option<Duration>,
        deadline: Option<Instant>,
    ) -> Result<heapless::Vec<(u16, Source), { Self::MOST }>, Error> {
        // What the timer is set to it tells of itself, and what is due already needs none.
        let is_due = self.armed != deadline && deadline.is_some_and(|deadline| self.clock.until(deadline).is_zero());
        if !is_due {
            self.arm(deadline)?;
        }
        let timeout = match timeout {
            _ if is_due => EpollTimeout::ZERO,
            None => EpollTimeout::NONE,
            Some(timeout) => {
                // Rounded up: a wait of less than a millisecond must not become a busy loop.
                let millis = timeout.as_nanos().div_ceil(1_000_000);
                EpollTimeout::from(u16::try_from(millis).unwrap_or(u16::MAX))
            }
        };
        let mut events = [EpollEvent::empty(); Self::MOST];
        let count = match self.epoll.wait(&mut events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(errno) => return Err(Error::refused("wait for", "packets", errno.into())),
        };
        let ready = events.get(..count).unwrap_or_default();
        if ready.iter().any(|event| event.data() == TIMER) {
            // Reading makes it unreadable; it did its work by waking us.
            let _ = self.timer.wait();
            self.armed = None;
        }
        let mut sources = heapless::Vec::new();
        for source in ready.iter().filter_map(|event| Source::of(event.data())) {
            // Several sockets of a driver are one source.
            if !sources.contains(&source) {
                // There is room: as much as for what the kernel tells.
                let _ = sources.push(source);
            }
        }
        Ok(sources)
    }
}

impl AsFd for Poller {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

impl Watcher {
    /// Tells of a descriptor as long as it is readable.
    ///
    /// # Errors
    ///
    /// Out of memory for descriptors.
    pub fn watch(&self, fd: BorrowedFd<'_>, source: Source) -> Result<(), Error> {
        add(&self.epoll, fd, EpollFlags::EPOLLIN, source.number(self.number))
    }

    /// Tells of what is new and not again of what is left.
    ///
    /// # Errors
    ///
    /// As [`watch`](Self::watch).
    pub fn watch_edge(&self, fd: BorrowedFd<'_>, source: Source) -> Result<(), Error> {
        add(&self.epoll, fd, EpollFlags::EPOLLIN | EpollFlags::EPOLLET, source.number(self.number))
    }

    /// Closing a descriptor does that as well, unless it was cloned.
    pub fn unwatch(&self, fd: BorrowedFd<'_>) {
        // Not there: nothing to do.
        let _ = self.epoll.delete(fd);
    }

    /// The clock of all that wait here.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

fn add(epoll: &Epoll, fd: BorrowedFd<'_>, flags: EpollFlags, number: u64) -> Result<(), Error> {
    epoll
        .add(fd, EpollEvent::new(flags, number))
        .map_err(|errno| Error::refused("wait for", "a descriptor", errno.into()))
}

impl Source {
    /// The driver, the kind and the number of the descriptor, in this order.
    pub(super) fn number(self, driver: u16) -> u64 {
        let (kind, low) = match self {
            Source::Packets => (0, 0),
            Source::Icmpv4 => (1, 0),
            Source::Device(LinkId(link)) => (2, u32::from(link)),
            Source::Owner(Token(number)) => (3, number),
            Source::Shortcut => (4, 0),
        };
        u64::from(driver) << 48 | kind << 32 | u64::from(low)
    }

    pub(super) fn of(number: u64) -> Option<(u16, Self)> {
        let [driver @ .., kind_high, kind, a, b, c, d] = number.to_be_bytes();
        let low = u32::from_be_bytes([a, b, c, d]);
        let source = match (kind_high, kind) {
            (0, 0) => Source::Packets,
            (0, 1) => Source::Icmpv4,
            (0, 2) => Source::Device(LinkId(d)),
            (0, 3) => Source::Owner(Token(low)),
            (0, 4) => Source::Shortcut,
            _ => return None,
        };
        Some((u16::from_be_bytes(driver), source))
    }
}
