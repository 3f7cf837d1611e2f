//! Where the tool writes: the answer to standard output, anything else to standard error. No other
//! file opens them, and none prints by a macro that panics where a stream takes nothing.
//!
//! | the stream is | standard output | standard error |
//! | --- | --- | --- |
//! | a pipe that nobody reads any more | the command ends with status 0 | as if it were written |
//! | on a full disk, or fails otherwise | the command ends with status 2 | as if it were written |
//!
//! A daemon goes on whatever becomes of them.
#![allow(clippy::disallowed_methods, reason = "of the two streams, for everybody")]

use std::fmt::Display;
use std::io::{self, IsTerminal, StdoutLock, Write};

/// For the answer. What fails is a [`Failure::Output`](crate::exit::Failure::Output).
pub(crate) fn answer() -> StdoutLock<'static> {
    io::stdout().lock()
}

/// Whether an answer is coloured: only on a terminal, and never JSON.
pub(crate) fn colour(json: bool) -> bool {
    !json && io::stdout().is_terminal()
}

/// Says something on standard error: one line, one write.
pub(crate) fn say(what: impl Display) {
    // There is nobody to tell that it could not be said.
    let _ = io::stderr().write_all(format!("isatap: {what}\n").as_bytes());
}

/// Warns on standard error.
#[cfg(target_os = "linux")]
pub(crate) fn warn(what: impl Display) {
    say(format_args!("warning: {what}"));
}
