//! Threads of this library: each has no more rights than it needs.

use std::io;
use std::thread::{Builder, JoinHandle};

/// Starts a thread. In a process that is to give up its privileges, the thread has given up
/// all of its own when this returns.
pub(crate) fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    let builder = Builder::new().name(name.to_owned());
    #[cfg(all(target_os = "linux", feature = "privileges"))]
    if crate::privileges::are_planned() {
        let (told, confined) = std::sync::mpsc::sync_channel(1);
        let thread = builder.spawn(move || {
            let result = crate::privileges::confine_thread();
            let is_confined = result.is_ok();
            if told.send(result).is_ok() && is_confined {
                work();
            }
        })?;
        // The main thread must not go on before: its filter of system calls would forbid this.
        let ended = |_| io::Error::other("the thread has ended");
        return confined.recv().map_err(ended)?.map(|()| thread);
    }
    builder.spawn(work)
}

/// Whether this process may not open what it did not begin with.
#[cfg(feature = "privileges")]
pub(crate) fn has_given_up() -> bool {
    crate::privileges::are_given_up()
}

/// See above.
#[cfg(not(feature = "privileges"))]
pub(crate) fn has_given_up() -> bool {
    false
}
