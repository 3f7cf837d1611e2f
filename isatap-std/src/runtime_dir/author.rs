//! Who may have written a file that is believed: hooks, secrets, certificates, what a daemon has left.

use super::new_owner;
use nix::unistd::Uid;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

/// The users whose files are believed: root, that of this process, the one that it becomes, and another.
#[must_use]
pub fn trusted(other: Option<u32>) -> Vec<u32> {
    let becomes = new_owner().map(|(uid, _)| uid);
    [0, Uid::effective().as_raw()].into_iter().chain(becomes).chain(other).collect()
}

/// Whether nobody but these users can have written a file.
///
/// # Errors
///
/// Why others can, and the command that changes that, without the file.
pub fn author(about: &Metadata, users: &[u32]) -> Result<(), (&'static str, &'static str)> {
    match about.mode() {
        mode if mode & 0o022 != 0 => Err(("others may write to it", "chmod go-w")),
        _ if !users.contains(&about.uid()) => Err(("it belongs to another user", "chown root")),
        _ => Ok(()),
    }
}
