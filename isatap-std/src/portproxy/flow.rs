//! One direction of a connection: bytes, and the end of them. `PPX-3`, `PPX-7`

use nix::errno::Errno;
use nix::fcntl::{OFlag, SpliceFFlags, splice};
use nix::unistd::pipe2;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd as _, OwnedFd, RawFd};

/// What is read at once, and waits at most where it was not spliced.
const BUFFER: usize = 64 * 1024;
/// What is spliced at once; a pipe takes less.
const PIECE: usize = 1 << 20;
/// Less in one splice is no bulk.
const BULK: usize = 16 * 1024;
/// Reads of one direction before others have their turn.
const TURNS: u32 = 16;
/// Empty pipes that are kept.
const SPARE_PIPES: usize = 32;

/// A socket and what is known of it. The kernel tells each change once.
#[derive(Debug)]
pub(super) struct Side {
    pub(super) stream: TcpStream,
    /// There may be something to read.
    pub(super) readable: bool,
    /// It may take something.
    pub(super) writable: bool,
    /// The peer sends no more, so that a read that is short does not mean there is nothing.
    pub(super) ends: bool,
}

impl Side {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream, readable: false, writable: true, ends: false }
    }

    /// Bytes that the kernel has taken for the peer and the peer has not acknowledged. Of a socket
    /// that cannot tell, none.
    pub(super) fn queued(&self) -> u64 {
        let mut queued = 0;
        // SAFETY: the ioctl writes one int behind the pointer, which outlives the call.
        let outcome = unsafe { ioctl::queued(self.stream.as_raw_fd(), &raw mut queued) };
        outcome.ok().and_then(|_| u64::try_from(queued).ok()).unwrap_or_default()
    }
}

#[allow(missing_docs, reason = "nix's macros make public functions in a private module")]
mod ioctl {
    // SIOCOUTQ by its other name.
    nix::ioctl_read_bad!(queued, libc::TIOCOUTQ, libc::c_int);
}

/// What all directions of all connections share.
#[derive(Debug)]
pub(super) struct Stock {
    buffer: Box<[u8]>,
    pipes: Vec<Pipe>,
    /// The kernel splices these sockets.
    splices: bool,
    /// Descriptors from this number on are for the rest of the process.
    pub(super) most: RawFd,
}

/// Its reading end, and its writing end.
#[derive(Debug)]
struct Pipe(OwnedFd, OwnedFd);

impl Stock {
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into_boxed_slice(), pipes: Vec::new(), splices: true, most: RawFd::MAX }
    }

    fn take(&mut self) -> Option<Pipe> {
        let made = || pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK).ok().map(|(reader, writer)| Pipe(reader, writer));
        self.pipes.pop().or_else(|| made().filter(|pipe| pipe.1.as_raw_fd() < self.most))
    }

    /// An empty one.
    fn give_back(&mut self, pipe: Pipe) {
        if self.pipes.len() < SPARE_PIPES {
            self.pipes.push(pipe);
        }
    }
}

/// What was read and the other side has not taken.
#[derive(Debug, Default)]
enum Held {
    #[default]
    Nothing,
    /// From this byte on.
    Bytes(Box<[u8]>, usize),
    /// So many bytes.
    Piped(Pipe, usize),
}

/// One direction.
#[derive(Debug, Default)]
pub(super) struct Flow {
    held: Held,
    /// The source has sent its end.
    ended: bool,
    /// The end was passed on; nothing comes any more.
    pub(super) is_over: bool,
    /// The last read filled the buffer.
    is_bulk: bool,
    /// Bytes read since they were taken.
    carried: u64,
    /// Something was read or written since that was asked.
    has_moved: bool,
}

/// Why a flow stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// For want of bytes, or of room for them: the kernel tells when there is more; or it is over.
    Waits,
    /// It has had its turn.
    HasMore,
}

impl Flow {
    /// Bytes to send in front of what the source sends.
    pub(super) fn preceded_by(bytes: Vec<u8>) -> Self {
        Self { held: Held::Bytes(bytes.into_boxed_slice(), 0), ..Self::default() }
    }

    /// Bytes of the source since the last call.
    pub(super) fn take_carried(&mut self) -> u64 {
        std::mem::take(&mut self.carried)
    }

    /// Whether something went in or out since the last call.
    pub(super) fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.has_moved)
    }

    /// Carries what there is, as far as it goes. `is_last`: the other direction is over, and the
    /// owner closes both sides when this one is.
    ///
    /// # Errors
    ///
    /// One of the two sides was reset or is gone.
    pub(super) fn carry(
        &mut self,
        from: &mut Side,
        to: &mut Side,
        is_last: bool,
        stock: &mut Stock,
    ) -> io::Result<Progress> {
        if self.is_over {
            return Ok(Progress::Waits);
        }
        for _ in 0..TURNS {
            if !self.flush(to, stock)? {
                return Ok(Progress::Waits);
            }
            if self.ended {
                if !is_last {
                    to.stream.shutdown(Shutdown::Write)?;
                }
                self.is_over = true;
                return Ok(Progress::Waits);
            }
            if !from.readable || !to.writable {
                return Ok(Progress::Waits);
            }
            if !(self.is_bulk && stock.splices && self.splice(from, stock)?) {
                self.copy(from, to, stock)?;
            }
        }
        Ok(Progress::HasMore)
    }

    /// Reads once and writes that. What is not taken is kept.
    fn copy(&mut self, from: &mut Side, to: &mut Side, stock: &mut Stock) -> io::Result<()> {
        let count = match from.stream.read(&mut stock.buffer) {
            Ok(0) => {
                self.ended = true;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) => return would_block(error, &mut from.readable),
        };
        (self.carried, self.has_moved) = (self.carried + count as u64, true);
        self.is_bulk = count == stock.buffer.len();
        // A short read has taken all; what comes later is told.
        from.readable = self.is_bulk || from.ends;
        let read = stock.buffer.get(..count).unwrap_or_default();
        let written = match to.stream.write(read) {
            Ok(written) => written,
            Err(error) => would_block(error, &mut to.writable).map(|()| 0)?,
        };
        if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
            self.held = Held::Bytes(rest.into(), 0);
        }
        Ok(())
    }

    /// Moves a piece into a pipe. `false`: this does not work here.
    fn splice(&mut self, from: &mut Side, stock: &mut Stock) -> io::Result<bool> {
        let Some(pipe) = stock.take() else {
            self.is_bulk = false;
            return Ok(false);
        };
        let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
        match splice(&from.stream, None, &pipe.1, None, PIECE, flags) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                (self.carried, self.has_moved) = (self.carried + count as u64, true);
                self.is_bulk = count >= BULK;
                self.held = Held::Piped(pipe, count);
                return Ok(true);
            }
            // Since the pipe is empty, it is the socket that has nothing.
            Err(Errno::EAGAIN) => from.readable = false,
            Err(Errno::EINTR) => {}
            Err(Errno::EINVAL | Errno::EPERM | Errno::ENOSYS) => {
                stock.splices = false;
                return Ok(false);
            }
            Err(errno) => return Err(errno.into()),
        }
        stock.give_back(pipe);
        Ok(true)
    }

    /// Writes what is held. `false`: the other side takes no more now.
    fn flush(&mut self, to: &mut Side, stock: &mut Stock) -> io::Result<bool> {
        while !matches!(self.held, Held::Nothing) {
            if !to.writable {
                return Ok(false);
            }
            let taken = match &mut self.held {
                Held::Nothing => 0,
                Held::Bytes(bytes, from) => {
                    let rest = bytes.get(*from..).unwrap_or_default();
                    match to.stream.write(rest) {
                        Ok(count) => {
                            *from += count;
                            if count == rest.len() {
                                self.held = Held::Nothing;
                            }
                            count
                        }
                        Err(error) => would_block(error, &mut to.writable).map(|()| 0)?,
                    }
                }
                Held::Piped(pipe, left) => {
                    let flags = SpliceFFlags::SPLICE_F_NONBLOCK | SpliceFFlags::SPLICE_F_MOVE;
                    match splice(&pipe.0, None, &to.stream, None, *left, flags) {
                        Ok(count) if count < *left => {
                            *left -= count;
                            count
                        }
                        Ok(count) => {
                            if let Held::Piped(pipe, _) = std::mem::take(&mut self.held) {
                                stock.give_back(pipe);
                            }
                            count
                        }
                        Err(errno) => would_block(errno.into(), &mut to.writable).map(|()| 0)?,
                    }
                }
            };
            self.has_moved |= taken > 0;
        }
        Ok(true)
    }
}

/// Notes that there is nothing to read, or no room to write.
fn would_block(error: io::Error, is_ready: &mut bool) -> io::Result<()> {
    match error.kind() {
        ErrorKind::WouldBlock => *is_ready = false,
        ErrorKind::Interrupted => {}
        _ => return Err(error),
    }
    Ok(())
}
