//! Commands of the administrator's that run beside the links, by a process of their own.

use super::Notice;
use super::status::HooksStatus;
use std::os::fd::BorrowedFd;

/// The way to the process that runs hooks, for [`Run::hooks`](crate::run::Run::hooks). What it runs for, the observer
/// of [`Run::open_with`](crate::run::Run::open_with) tells it.
pub trait Hooks: Send + Sync {
    /// Readable when the process tells something, and from its end on.
    fn news(&self) -> BorrowedFd<'_>;

    /// Takes what there is to read, without waiting. What the administrator should hear of it.
    fn take_news(&self) -> Option<Notice>;

    /// How it goes.
    fn status(&self) -> HooksStatus;
}
