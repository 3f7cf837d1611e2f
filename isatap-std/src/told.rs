//! What a thread has to tell of its work, for people.

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Done(String),
    Failed(String),
    /// It was told that this failed.
    Mended(String),
}
