//! Where the tool writes: the answer to standard output, anything else to standard error. No other
//! file opens them, and none prints by a macro that panics where a stream takes nothing.
//!
//! | the stream is | standard output | standard error |
//! | --- | --- | --- |
//! | a pipe that nobody reads any more | as if it were written, unless there is no end to it: see [`Unread`] | as if it were written |
//! | on a full disk, or fails otherwise | the command ends with status 2 | as if it were written |
//!
//! A daemon goes on whatever becomes of them.
#![allow(clippy::disallowed_methods, reason = "of the two streams, for everybody")]

use clap::ColorChoice;
use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, StdoutLock, Write};

/// For the answer. What fails is a [`Failure::Output`](crate::exit::Failure::Output).
pub(crate) fn answer() -> Answer {
    answer_until(Unread::GoOn)
}

/// For an answer that may have no end.
pub(crate) fn answer_until(unread: Unread) -> Answer {
    Answer { out: io::stdout().lock(), unread }
}

/// What a command does once nobody reads its answer any more.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Unread {
    /// It goes on, as its exit status is an answer too: `isatap check FILE | head`.
    GoOn,
    /// It ends with status 0: `isatap monitor | head`.
    End,
    /// It ends with status 2: its status would be an answer, and its input may have no end.
    Fail,
}

/// Standard output.
pub(crate) struct Answer {
    out: StdoutLock<'static>,
    unread: Unread,
}

impl Answer {
    /// What a write comes to, where one that nobody reads comes to `unread`.
    fn outcome<T>(&self, result: io::Result<T>, unread: T) -> io::Result<T> {
        match (result, self.unread) {
            (Err(error), Unread::GoOn) if error.kind() == ErrorKind::BrokenPipe => Ok(unread),
            (Err(error), Unread::Fail) if error.kind() == ErrorKind::BrokenPipe => {
                Err(io::Error::other("nobody reads it any more"))
            }
            (result, _) => result,
        }
    }
}

impl Write for Answer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let result = self.out.write(bytes);
        self.outcome(result, bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let result = self.out.flush();
        self.outcome(result, ())
    }
}

/// What `--color` can be.
pub(crate) const COLOURS: [&str; 3] = ["auto", "always", "never"];

/// Whether an answer is coloured: where `--color` and the terminal say so, and never JSON.
pub(crate) fn colour(json: bool) -> bool {
    let is_wanted = || std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    match (json, choice()) {
        (true, _) | (_, ColorChoice::Never) => false,
        (_, ColorChoice::Always) => true,
        _ => io::stdout().is_terminal() && is_wanted(),
    }
}

/// The same for `--help` and for what clap says: as it is asked for, wherever it stands.
pub(crate) fn choice() -> ColorChoice {
    let arguments = std::env::args_os().filter_map(|argument| argument.into_string().ok());
    let arguments: Vec<String> = arguments.take_while(|argument| argument != "--").collect();
    let after = |pair: &[String]| (pair.first()? == "--color").then(|| pair.get(1).cloned()).flatten();
    let joined = arguments.iter().filter_map(|argument| argument.strip_prefix("--color=").map(str::to_owned));
    match arguments.windows(2).filter_map(after).chain(joined).last().as_deref() {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
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
