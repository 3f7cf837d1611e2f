//! A bell between threads: a stream that is readable once it was rung.

use std::io::{self, Write as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

/// Rings the bell, also when it is dropped: that a thread has ended, even by a panic, wakes who
/// listens. Who listens keeps one, since the end of a stream is readable for ever.
#[derive(Clone, Debug)]
pub(crate) struct Waker(Arc<UnixStream>);

impl Waker {
    /// And the stream that it makes readable, which does not block.
    pub(crate) fn pair() -> io::Result<(Self, UnixStream)> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        theirs.set_nonblocking(true)?;
        Ok((Self(Arc::new(ours)), theirs))
    }

    pub(crate) fn wake(&self) {
        // A full socket is readable already; at worst nobody listens any more.
        let _ = (&*self.0).write(&[0]);
    }
}

impl Drop for Waker {
    fn drop(&mut self) {
        self.wake();
    }
}

impl AsFd for Waker {
    /// Readable when the other end is gone.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
