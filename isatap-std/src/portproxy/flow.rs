//! One direction of a connection: bytes, and the end of them. `PPX-3`, `PPX-7`

use super::system::{System, Taken};
use std::io::{self, ErrorKind};

/// What is read at once, and waits at most where it was not taken as a piece.
pub(super) const BUFFER: usize = 64 * 1024;
/// Less in one piece is no bulk.
const BULK: usize = 16 * 1024;
/// Reads of one direction before others have their turn.
const TURNS: u32 = 16;

/// A stream and what is known of it. The system tells each change once.
#[derive(Debug)]
pub(super) struct Side<T> {
    pub(super) stream: T,
    /// There may be something to read.
    readable: bool,
    /// It may take something.
    writable: bool,
    /// The peer sends no more, so that a read that is short does not mean there is nothing.
    ends: bool,
}

/// What has happened to a stream.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Ready {
    /// There may be something to read: bytes, the end, or a reset.
    pub(crate) readable: bool,
    /// There may be room for bytes, or it has become known what came of connecting.
    pub(crate) writable: bool,
    /// The peer sends no more.
    pub(crate) ends: bool,
    /// It was reset.
    pub(crate) is_error: bool,
}

impl<T> Side<T> {
    pub(super) fn new(stream: T) -> Self {
        Self { stream, readable: false, writable: true, ends: false }
    }

    pub(super) fn tell(&mut self, ready: Ready) {
        self.readable |= ready.readable;
        self.writable |= ready.writable;
        self.ends |= ready.ends;
    }
}

/// What was read and the other side has not taken.
#[derive(Debug, Default)]
enum Held<P> {
    #[default]
    Nothing,
    /// From this byte on.
    Bytes(Box<[u8]>, usize),
    /// So many bytes.
    Piece(P, usize),
}

/// One direction.
#[derive(Debug)]
pub(super) struct Flow<P> {
    held: Held<P>,
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
    /// For want of bytes, or of room for them: the system tells when there is more; or it is over.
    Waits,
    /// It has had its turn.
    HasMore,
}

impl<P> Flow<P> {
    /// Bytes to send in front of what the source sends.
    pub(super) fn preceded_by(bytes: Vec<u8>) -> Self {
        let held = if bytes.is_empty() { Held::Nothing } else { Held::Bytes(bytes.into_boxed_slice(), 0) };
        Self { held, ended: false, is_over: false, is_bulk: false, carried: 0, has_moved: false }
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
    /// owner closes both sides when this one is. `buffer`: [`BUFFER`] bytes that all flows share.
    ///
    /// # Errors
    ///
    /// One of the two sides was reset or is gone.
    pub(super) fn carry<S: System<Piece = P>>(
        &mut self,
        system: &mut S,
        from: &mut Side<S::Stream>,
        to: &mut Side<S::Stream>,
        is_last: bool,
        buffer: &mut [u8],
    ) -> io::Result<Progress> {
        if self.is_over {
            return Ok(Progress::Waits);
        }
        for _ in 0..TURNS {
            if !self.flush(system, to)? {
                return Ok(Progress::Waits);
            }
            if self.ended {
                if !is_last {
                    system.shutdown(&to.stream)?;
                }
                self.is_over = true;
                return Ok(Progress::Waits);
            }
            if !from.readable || !to.writable {
                return Ok(Progress::Waits);
            }
            if !(self.is_bulk && self.take(system, from)?) {
                self.copy(system, from, to, buffer)?;
            }
        }
        Ok(Progress::HasMore)
    }

    /// Reads once and writes that. What is not taken is kept.
    fn copy<S: System<Piece = P>>(
        &mut self,
        system: &mut S,
        from: &mut Side<S::Stream>,
        to: &mut Side<S::Stream>,
        buffer: &mut [u8],
    ) -> io::Result<()> {
        let count = match system.read(&from.stream, buffer) {
            Ok(0) => {
                self.ended = true;
                return Ok(());
            }
            Ok(count) => count,
            Err(error) => return would_block(error, &mut from.readable),
        };
        (self.carried, self.has_moved) = (self.carried + count as u64, true);
        self.is_bulk = count == buffer.len();
        // A short read has taken all; what comes later is told.
        from.readable = self.is_bulk || from.ends;
        let read = buffer.get(..count).unwrap_or_default();
        let written = match system.write(&to.stream, read) {
            Ok(written) => written,
            Err(error) => would_block(error, &mut to.writable).map(|()| 0)?,
        };
        if let Some(rest) = read.get(written..).filter(|rest| !rest.is_empty()) {
            self.held = Held::Bytes(rest.into(), 0);
        }
        Ok(())
    }

    /// Takes a piece. `false`: this does not work here.
    fn take<S: System<Piece = P>>(&mut self, system: &mut S, from: &mut Side<S::Stream>) -> io::Result<bool> {
        match system.take(&from.stream) {
            Ok(Taken::Piece(piece, count)) => {
                (self.carried, self.has_moved) = (self.carried + count as u64, true);
                self.is_bulk = count >= BULK;
                self.held = Held::Piece(piece, count);
            }
            Ok(Taken::End) => self.ended = true,
            Ok(Taken::Never) => return Ok(false),
            Err(error) => would_block(error, &mut from.readable)?,
        }
        Ok(true)
    }

    /// Writes what is held. `false`: the other side takes no more now.
    fn flush<S: System<Piece = P>>(&mut self, system: &mut S, to: &mut Side<S::Stream>) -> io::Result<bool> {
        while !matches!(self.held, Held::Nothing) {
            if !to.writable {
                return Ok(false);
            }
            let given = match &mut self.held {
                Held::Nothing => Ok(0),
                Held::Bytes(bytes, from) => system.write(&to.stream, bytes.get(*from..).unwrap_or_default()),
                Held::Piece(piece, left) => system.give(piece, *left, &to.stream),
            };
            match given {
                Ok(count) => {
                    self.has_moved |= count > 0;
                    self.advance(system, count);
                }
                Err(error) => would_block(error, &mut to.writable)?,
            }
        }
        Ok(true)
    }

    /// So many bytes of what is held were taken.
    fn advance<S: System<Piece = P>>(&mut self, system: &mut S, count: usize) {
        let is_all = match &mut self.held {
            Held::Nothing => return,
            Held::Bytes(bytes, from) => {
                *from += count;
                *from >= bytes.len()
            }
            Held::Piece(_, left) => {
                *left -= count.min(*left);
                *left == 0
            }
        };
        if is_all && let Held::Piece(piece, _) = std::mem::take(&mut self.held) {
            system.recycle(piece);
        }
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
