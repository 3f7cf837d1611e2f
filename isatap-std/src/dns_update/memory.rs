//! The addresses that may be in the DNS by this node, in a file for the daemon after this one.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::net::Ipv6Addr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Every address that this node may have put at the name and not seen go.
#[derive(Debug, Default)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    all: BTreeSet<Ipv6Addr>,
}

impl Memory {
    /// What the daemon before this one has left.
    pub(super) fn open(folder: Option<&Path>, name: &str) -> Self {
        let file = folder.map(|folder| folder.join(format!("{}.dns", name.replace('/', "_"))));
        let read = |file| {
            let mut text = String::new();
            open(file, OpenOptions::new().read(true))?.read_to_string(&mut text).map(|_| text)
        };
        let text = file.as_ref().and_then(|file| read(file).ok()).unwrap_or_default();
        Self { all: text.lines().filter_map(|line| line.parse().ok()).collect(), file }
    }

    pub(super) fn all(&self) -> &BTreeSet<Ipv6Addr> {
        &self.all
    }

    /// Has these alone from now on, on disk too. Not being able to write costs something only where
    /// this process is killed.
    pub(super) fn set(&mut self, all: BTreeSet<Ipv6Addr>) {
        if self.all == all {
            return;
        }
        self.all = all;
        let Some(file) = &self.file else { return };
        let text: String = self.all.iter().map(|address| format!("{address}\n")).collect();
        let write =
            || open(file, OpenOptions::new().write(true).create(true).truncate(true))?.write_all(text.as_bytes());
        let _ = if text.is_empty() { fs::remove_file(file) } else { write() };
    }
}

/// Through no link, and without waiting: daemons of other users may make files in that folder.
fn open(file: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(file)
}
