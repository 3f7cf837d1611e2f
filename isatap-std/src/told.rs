//! What a thread has to tell of its work, for people.

/// One line.
#[cfg_attr(not(any(feature = "dns-update", feature = "update-url")), expect(dead_code, reason = "nobody tells"))]
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done(String),
    Failed(String),
    /// It was told that this failed.
    Mended(String),
}
