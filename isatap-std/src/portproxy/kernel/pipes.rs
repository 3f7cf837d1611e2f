//! Bulk from socket to socket without reading it: splice(2), by way of a pipe.

use super::super::system::Taken;
use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use std::io;
use std::net::TcpStream;
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

/// What is spliced at once; a pipe takes less.
const PIECE: usize = 1 << 20;
/// Empty pipes that are kept.
const SPARE_PIPES: usize = 32;

/// Its reading end, and its writing end.
#[derive(Debug)]
pub(in super::super) struct Pipe(OwnedFd, OwnedFd);

/// The pipes of all connections.
#[derive(Debug)]
pub(super) struct Pipes {
    /// Empty ones.
    spare: Vec<Pipe>,
    /// The kernel splices these sockets.
    splices: bool,
}

fn flags() -> SpliceFFlags {
    SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE
}

impl Pipes {
    pub(super) fn new() -> Self {
        Self { spare: Vec::new(), splices: true }
    }

    /// Moves what there is into a pipe, whose descriptors are below `most`.
    pub(super) fn take(&mut self, from: &TcpStream, most: RawFd) -> io::Result<Taken<Pipe>> {
        if !self.splices {
            return Ok(Taken::Never);
        }
        let made = || pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok().map(|(reader, writer)| Pipe(reader, writer));
        let pipe = self.spare.pop().or_else(|| made().filter(|pipe| pipe.1.as_raw_fd() < most));
        let Some(pipe) = pipe else { return Ok(Taken::Never) };
        let taken = match splice(from, None, &pipe.1, None, PIECE, flags()) {
            Ok(0) => Ok(Taken::End),
            Ok(count) => return Ok(Taken::Piece(pipe, count)),
            Err(Errno::EINVAL | Errno::EPERM | Errno::ENOSYS) => {
                self.splices = false;
                Ok(Taken::Never)
            }
            // Since the pipe is empty, it is the socket that has nothing.
            Err(errno) => Err(errno.into()),
        };
        self.recycle(pipe);
        taken
    }

    /// Moves what is `left` in a pipe to a socket.
    pub(super) fn give(pipe: &Pipe, left: usize, to: &TcpStream) -> io::Result<usize> {
        Ok(splice(&pipe.0, None, to, None, left, flags())?)
    }

    /// One that is empty.
    pub(super) fn recycle(&mut self, pipe: Pipe) {
        if self.spare.len() < SPARE_PIPES {
            self.spare.push(pipe);
        }
    }
}
