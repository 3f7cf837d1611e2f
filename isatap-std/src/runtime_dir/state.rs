//! What a daemon leaves for the one after it, a restart of the machine between them included.
//!
//! Folders of runtime files are emptied then: what a DNS server or a NAT was asked to keep is still there.

use super::{RuntimeDir, make_folder, namespace};
use crate::error::Error;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// See [`RuntimeDir::new`]. A namespace has its own by its name, since its inode is another after a restart.
pub(super) fn folder(is_initial: bool) -> PathBuf {
    let given = |name| std::env::var_os(name).filter(|path| !path.is_empty());
    // Of several that systemd made the first is the service's own.
    let by_systemd = given("STATE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next());
    if let Some(path) = given("ISATAP_STATE_DIR").map(PathBuf::from).or(by_systemd) {
        return path;
    }
    let base = PathBuf::from("/var/lib/isatap");
    match namespace().filter(|_| !is_initial) {
        None => base,
        Some(own) => base.join(name_of(own).map_or(format!("netns-{own}"), |name| format!("netns-{name}"))),
    }
}

/// The name that `ip netns` knows a namespace by.
fn name_of(namespace: u64) -> Option<String> {
    let named = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let own = named.filter(|entry| fs::metadata(entry.path()).is_ok_and(|metadata| metadata.ino() == namespace));
    own.filter_map(|entry| entry.file_name().into_string().ok()).min()
}

impl RuntimeDir {
    /// With this folder for what the next daemon is to know.
    #[must_use]
    pub fn with_state(self, path: impl Into<PathBuf>) -> Self {
        Self { state: path.into(), ..self }
    }

    /// The folder of what the next daemon is to know, also after a restart of the machine: which records are in the
    /// DNS, which port a NAT opens.
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Makes it when it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, or others may write to it.
    pub(crate) fn make_state(&self) -> Result<(), Error> {
        let advice =
            "run as root, write StateDirectory=isatap into the unit, or set ISATAP_STATE_DIR to a folder of your own";
        make_folder(&self.state, advice, "ISATAP_STATE_DIR")
    }
}
