//! What a thread has to tell of its work, for people.

use std::fmt;

/// One line.
#[cfg_attr(not(any(feature = "dns-update", feature = "update-url")), expect(dead_code, reason = "nobody tells"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done(String),
    Failed(String),
    /// It was told that this failed.
    Mended(String),
}

/// Why something failed, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) cause: String,
    pub(crate) fix: String,
}

impl Failure {
    #[cfg_attr(not(any(feature = "dns-update", feature = "update-url")), expect(dead_code, reason = "nobody tells"))]
    pub(crate) fn new(cause: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { cause: cause.into(), fix: fix.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.cause, self.fix)
    }
}
