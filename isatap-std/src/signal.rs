//! SIGINT, SIGTERM and SIGHUP as a descriptor to poll.
//!
//! The handlers write a byte into a pipe and nothing else, so a run loop sees a
//! signal where it sees everything else, and no code runs at an odd moment. The
//! signal mask stays as it is, so child processes inherit nothing (a `signalfd`
//! would need the signals blocked in every thread).

use crate::error::Error;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::{pipe, unregister};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// What a signal asks of a daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// SIGINT or SIGTERM: clean up and end.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals, caught from construction until drop.
#[derive(Debug)]
pub struct Signals {
    stop: UnixStream,
    reload: UnixStream,
    // Readable whenever one of the two is: one descriptor for the run loop.
    wake: UnixStream,
    // For `put_back`.
    stop_writer: UnixStream,
    reload_writer: UnixStream,
    wake_writer: UnixStream,
    registrations: Vec<signal_hook::SigId>,
}

impl Signals {
    /// Catches the three signals from now on.
    ///
    /// # Errors
    ///
    /// Out of descriptors.
    pub fn catch() -> Result<Self, Error> {
        let refused = |error| Error::refused("catch", "the signals SIGINT, SIGTERM and SIGHUP", error);
        let (stop, stop_writer) = pair().map_err(refused)?;
        let (reload, reload_writer) = pair().map_err(refused)?;
        let (wake, wake_writer) = pair().map_err(refused)?;
        let registrations = Vec::new();
        let mut signals = Self { stop, reload, wake, stop_writer, reload_writer, wake_writer, registrations };
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            let writer = if signal == SIGHUP { &signals.reload_writer } else { &signals.stop_writer };
            for end in [writer, &signals.wake_writer] {
                let end = end.try_clone().map_err(refused)?;
                // On failure the drop of `signals` takes back what is registered.
                signals.registrations.push(pipe::register(signal, end).map_err(refused)?);
            }
        }
        Ok(signals)
    }

    /// What was asked since the last call; [`Request::Stop`] comes first. Call it
    /// until it gives `None` when the descriptor is readable.
    pub fn take(&mut self) -> Option<Request> {
        // The bell first: a signal that comes after it rings again.
        drain(&mut self.wake);
        if drain(&mut self.stop) {
            return Some(Request::Stop);
        }
        drain(&mut self.reload).then_some(Request::Reload)
    }

    /// As if the signal came now: for who took a request that is for another to honour.
    pub(crate) fn put_back(&mut self, request: Request) {
        let writer = match request {
            Request::Stop => &mut self.stop_writer,
            Request::Reload => &mut self.reload_writer,
        };
        // Full is as good as written: it is asked for already.
        let _ = writer.write(&[0]);
        let _ = self.wake_writer.write(&[0]);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for registration in self.registrations.drain(..) {
            unregister(registration);
        }
    }
}

fn pair() -> std::io::Result<(UnixStream, UnixStream)> {
    let (reader, writer) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    writer.set_nonblocking(true)?;
    Ok((reader, writer))
}

fn drain(reader: &mut UnixStream) -> bool {
    let mut seen = false;
    let mut bytes = [0; 64];
    loop {
        match reader.read(&mut bytes) {
            Ok(0) => return seen,
            Ok(_) => seen = true,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return seen,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use signal_hook::low_level::raise;

    // One test: signals belong to the whole process.
    #[test]
    fn signals_become_requests_and_repeats_collapse() {
        let mut signals = Signals::catch().unwrap();
        assert_eq!(signals.take(), None);
        for signal in [SIGHUP, SIGHUP, SIGTERM, SIGINT] {
            raise(signal).unwrap();
        }
        let mut fds = [nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 1000_u16).unwrap(), 1);
        assert_eq!(signals.take(), Some(Request::Stop));
        assert_eq!(signals.take(), Some(Request::Reload));
        assert_eq!(signals.take(), None);
        let mut fds = [nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN)];
        assert_eq!(nix::poll::poll(&mut fds, 0_u16).unwrap(), 0);
        for request in [Request::Reload, Request::Stop] {
            signals.put_back(request);
            let mut fds = [nix::poll::PollFd::new(signals.as_fd(), nix::poll::PollFlags::POLLIN)];
            assert_eq!(nix::poll::poll(&mut fds, 0_u16).unwrap(), 1);
            assert_eq!(signals.take(), Some(request));
            assert_eq!(signals.take(), None);
        }
    }
}
