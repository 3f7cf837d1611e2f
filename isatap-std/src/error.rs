//! One error type for everything that asks the operating system.
//!
//! An error is one line for the person who has to act on it: what was tried, on
//! what, what went wrong, and what to do. The command-line tool prints it as it
//! is and ends with the status of [`Error::class`].

use std::borrow::Cow;
use std::fmt;
use std::io;

/// What was tried, on what, what went wrong, and what to do about it.
///
/// ```
/// use isatap_std::error::{Class, Error};
///
/// let cause = std::io::Error::from_raw_os_error(1);
/// let error = Error::refused("create the TUN device", "isatap0", cause);
/// assert_eq!(error.class(), Class::Refused);
/// assert!(error.to_string().starts_with("cannot create the TUN device isatap0: "));
/// ```
#[derive(Debug)]
pub struct Error {
    class: Class,
    doing: Cow<'static, str>,
    on: String,
    cause: Cause,
    advice: Cow<'static, str>,
    // Boxed, since each result has room for an error.
    device: Option<Box<str>>,
}

/// Who is at fault: decides the exit status of the command-line tool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The request itself makes no sense here: a name too long, an unknown
    /// device. Exit status 1.
    Usage,
    /// The request was fine and the kernel refused it. Exit status 2.
    Refused,
}

impl Class {
    /// The exit status of a program that ends with an error of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage => 1,
            Self::Refused => 2,
        }
    }
}

impl Error {
    /// The kernel refused: `doing` is a verb phrase ("set the MTU of"), `on` the
    /// device, address or path. Advice for the usual causes is filled in.
    pub fn refused(doing: impl Into<Cow<'static, str>>, on: impl fmt::Display, cause: io::Error) -> Self {
        let advice = usual_advice(&cause);
        Self {
            class: Class::Refused,
            doing: doing.into(),
            on: on.to_string(),
            cause: Cause::Io(cause),
            advice: Cow::Borrowed(advice),
            device: None,
        }
    }

    /// The request cannot be served as it was given; `why` says what is wrong
    /// with it.
    pub fn usage(
        doing: impl Into<Cow<'static, str>>,
        on: impl fmt::Display,
        why: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            class: Class::Usage,
            doing: doing.into(),
            on: on.to_string(),
            cause: Cause::Reason(why.into()),
            advice: Cow::Borrowed(""),
            device: None,
        }
    }

    /// The same error with other advice: an imperative sentence without a full
    /// stop.
    #[must_use]
    pub fn with_advice(mut self, advice: impl Into<Cow<'static, str>>) -> Self {
        self.advice = advice.into();
        self
    }

    /// The same error, of the link or native device of this name.
    pub(crate) fn of_device(self, device: &str) -> Self {
        Self { device: Some(device.into()), ..self }
    }

    /// The link or native device that could not be started; `None`: it is not about one.
    pub fn device(&self) -> Option<&str> {
        self.device.as_deref()
    }

    /// Who is at fault.
    pub fn class(&self) -> Class {
        self.class
    }

    /// What to do about it; empty when nothing general can be said.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// The same line without the advice.
    #[cfg(feature = "control")]
    pub(crate) fn cause(&self) -> String {
        let line = self.to_string();
        let end = line.len() - self.advice.len();
        line.get(..end).map_or("", |line| line.trim_end_matches("; ")).to_owned()
    }

    /// The device, address or path that it is about.
    #[cfg(feature = "file")]
    pub(crate) fn on(&self) -> &str {
        &self.on
    }

    /// What the kernel answered; `None` for a usage error.
    pub fn io_error(&self) -> Option<&io::Error> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Reason(_) => None,
        }
    }

    /// The error number of the kernel's answer, when there was one.
    pub fn raw_os_error(&self) -> Option<i32> {
        self.io_error().and_then(io::Error::raw_os_error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot {}", self.doing)?;
        if !self.on.is_empty() {
            write!(f, " {}", self.on)?;
        }
        match &self.cause {
            Cause::Io(error) => write!(f, ": {error}")?,
            Cause::Reason(reason) => write!(f, ": {reason}")?,
        }
        if !self.advice.is_empty() {
            write!(f, "; {}", self.advice)?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.cause {
            Cause::Io(error) => Some(error),
            Cause::Reason(_) => None,
        }
    }
}

/// A mistake in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters; nothing where the whole table is meant.
    pub column: Option<usize>,
    /// What is wrong and what to write instead.
    pub text: String,
}

#[cfg(feature = "file")]
impl Problem {
    /// In the table that begins at `offset` of `content`, as a whole.
    pub(crate) fn of_table(file: &str, content: &str, offset: usize, text: String) -> Self {
        let line = 1 + content.bytes().take(offset).filter(|byte| *byte == b'\n').count();
        Self { file: file.to_owned(), line, column: None, text }
    }

    /// At `offset` of `content`.
    pub(crate) fn at(file: &str, content: &str, offset: usize, text: String) -> Self {
        let line = content.get(..offset).unwrap_or(content).rsplit('\n').next().unwrap_or("");
        Self { column: Some(1 + line.chars().count()), ..Self::of_table(file, content, offset, text) }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)?;
        if let Some(column) = self.column {
            write!(f, ":{column}")?;
        }
        write!(f, ": {}", self.text)
    }
}

impl std::error::Error for Problem {}

#[derive(Debug)]
enum Cause {
    Io(io::Error),
    Reason(Cow<'static, str>),
}

/// Advice for who may not bind a port; it goes on with what to do.
pub(crate) const LOW_PORTS: &str = "ports below 1024 need CAP_NET_BIND_SERVICE, which a daemon that has no such port at \
                                    its start gives up";

fn usual_advice(cause: &io::Error) -> &'static str {
    match cause.kind() {
        io::ErrorKind::PermissionDenied => "run as root, or give the program CAP_NET_ADMIN and CAP_NET_RAW",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_line_that_says_what_to_do() {
        let denied = io::Error::from(io::ErrorKind::PermissionDenied);
        let error = Error::refused("open", "/dev/net/tun", denied);
        let line = error.to_string();
        assert!(line.starts_with("cannot open /dev/net/tun: permission denied"));
        assert!(line.ends_with("CAP_NET_ADMIN and CAP_NET_RAW"), "must end in the advice: {line}");
        assert!(!line.contains('\n'));
        assert_eq!(error.class().exit_code(), 2);
    }

    #[test]
    fn usage_has_no_kernel_answer() {
        let error = Error::usage("name a device", "a/b", "a slash is not allowed").with_advice("choose another name");
        assert_eq!(error.to_string(), "cannot name a device a/b: a slash is not allowed; choose another name");
        assert_eq!(error.class().exit_code(), 1);
        assert!(error.io_error().is_none() && error.raw_os_error().is_none());
    }
}
