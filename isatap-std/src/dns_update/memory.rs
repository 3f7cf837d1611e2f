//! The addresses that may be in the DNS by this node, in a file for the daemon after this one.

use crate::runtime_dir::{keep, kept};
use std::io;
use std::net::Ipv6Addr;
use std::path::{Path, PathBuf};

/// So many that an update was sent with and that nobody saw go. The oldest are forgotten then.
const MOST: usize = 256;

/// Every address that this node may have put at the name and not seen go, the oldest first.
#[derive(Debug, Default)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    all: Vec<Ipv6Addr>,
    /// Why the file does not say so.
    failure: Option<String>,
}

impl Memory {
    /// What the daemon before this one has left. `None`: nothing is to be remembered; an error: why there is no folder.
    pub(super) fn open(folder: Option<Result<&Path, String>>, name: &str) -> Self {
        let (folder, failure) = match folder {
            Some(Err(why)) => (None, Some(why)),
            Some(Ok(folder)) => (Some(folder), None),
            None => (None, None),
        };
        let file = folder.map(|folder| folder.join(file_name(name)));
        let mut memory = Self { file, failure, ..Self::default() };
        match memory.file.as_deref().map_or(Ok(String::new()), kept) {
            Ok(text) => memory.all = text.lines().filter_map(|line| line.parse().ok()).collect(),
            Err(error) => memory.fail(&error),
        }
        memory
    }

    pub(super) fn all(&self) -> &[Ipv6Addr] {
        &self.all
    }

    /// Why the next daemon would not know them.
    pub(super) fn failure(&self) -> Option<&String> {
        self.failure.as_ref()
    }

    /// Has `sure` from now on, and of those `before` as many as there is room for; on disk too. Not being able
    /// to write costs something only where this process is killed.
    pub(super) fn set(&mut self, before: &[Ipv6Addr], sure: &[Ipv6Addr]) {
        let mut all: Vec<Ipv6Addr> = before.iter().filter(|address| !sure.contains(address)).copied().collect();
        all.drain(..all.len().saturating_sub(MOST.saturating_sub(sure.len())));
        all.extend(sure);
        if self.all == all && self.failure.is_none() {
            return;
        }
        self.all = all;
        let Some(file) = &self.file else { return };
        let text: String = self.all.iter().map(|address| format!("{address}\n")).collect();
        match keep(file, &text) {
            Ok(()) => self.failure = None,
            Err(error) => self.fail(&error),
        }
    }

    fn fail(&mut self, error: &io::Error) {
        let file = self.file.as_deref().unwrap_or(Path::new(""));
        self.failure = Some(format!("cannot keep {}: {error}", file.display()));
    }
}

fn file_name(name: &str) -> String {
    format!("{}.dns", name.replace('/', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(number: usize) -> Ipv6Addr {
        Ipv6Addr::from(0x2001_0db8_u128 << 96 | number as u128)
    }

    #[test]
    fn the_oldest_of_too_many_are_forgotten_and_never_one_that_is_sent() {
        let mut memory = Memory::default();
        for number in 0..1000 {
            let before = memory.all().to_vec();
            memory.set(&before, &[address(number)]);
        }
        assert_eq!(memory.all(), (1000 - MOST..1000).map(address).collect::<Vec<_>>());
        let sure: Vec<_> = (2000..2000 + 2 * MOST).map(address).collect();
        let before = memory.all().to_vec();
        memory.set(&before, &sure);
        assert_eq!(memory.all(), sure);
    }

    #[test]
    fn what_cannot_be_kept_is_told_until_it_can() {
        let folder = std::env::temp_dir().join(format!("isatap-dns-kept-{}", std::process::id()));
        let mut memory = Memory::open(Some(Ok(&folder)), "host.example.com");
        assert_eq!(memory.failure(), None, "there is nothing to know");
        memory.set(&[], &[address(1)]);
        let why = memory.failure().unwrap();
        assert!(
            why.starts_with(&format!("cannot keep {}/host.example.com.dns: No such file", folder.display())),
            "{why}"
        );
        std::fs::create_dir(&folder).unwrap();
        memory.set(&[], &[address(1)]);
        assert_eq!(memory.failure(), None);
        assert_eq!(Memory::open(Some(Ok(&folder)), "host.example.com").all(), [address(1)]);
        // Another user's file in a folder of both.
        let link = folder.join("other.example.com.dns");
        std::os::unix::fs::symlink(folder.join("host.example.com.dns"), &link).unwrap();
        let memory = Memory::open(Some(Ok(&folder)), "other.example.com");
        assert!(memory.all().is_empty() && memory.failure().is_some());
        std::fs::remove_dir_all(folder).unwrap();
    }
}
