//! Which files a daemon may open: Landlock.

use super::{folders, nearest};
use landlock::{
    ABI, Access, AccessFs, BitFlags, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr,
};
use std::io;
use std::path::{Path, PathBuf};

/// What resolvers of systems write `/etc/resolv.conf` into; the link may come later.
const RESOLVERS: [&str; 3] = ["/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"];
const NAMES: [&str; 2] = ["/etc/resolv.conf", "/etc/hosts"];

/// The files of a thread: what it resolves names with, and what it remembers in folders of its own.
pub(super) fn of_threads(names: &[PathBuf], made: &[&Path]) -> io::Result<RulesetCreated> {
    let mut files = Files::none()?;
    for folder in system_names() {
        files.allow(&folder, reading())?;
    }
    files.allow_reading(names)?;
    files.allow(Path::new("/proc/sys/kernel/hostname"), AccessFs::ReadFile.into())?;
    for folder in made {
        files.allow(folder, making())?;
    }
    Ok(files.0)
}

/// The files of the main thread.
pub(super) fn of_daemon(
    read: &[PathBuf],
    folders: &[PathBuf],
    write: &[PathBuf],
    made: &[&Path],
) -> io::Result<RulesetCreated> {
    let mut files = Files(of_threads(&[], made)?);
    files.allow_reading(read)?;
    folders.iter().try_for_each(|folder| files.allow(folder, reading()))?;
    for file in write {
        files.allow(file, AccessFs::WriteFile | AccessFs::Truncate)?;
    }
    // Whose the tunnel ends are that this daemon comes to later.
    files.allow(Path::new("/proc/locks"), AccessFs::ReadFile.into())?;
    // Whether there is a firewall that the kernel's path would go past.
    files.allow(Path::new("/proc/self/net"), AccessFs::ReadFile.into())?;
    files.allow(Path::new("/proc/sys/net"), reading() | AccessFs::WriteFile | AccessFs::Truncate)?;
    files.allow(Path::new("/dev/net/tun"), AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::IoctlDev)?;
    Ok(files.0)
}

fn system_names() -> impl Iterator<Item = PathBuf> {
    NAMES.iter().flat_map(|file| folders(Path::new(file))).chain(RESOLVERS.iter().map(PathBuf::from))
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

fn making() -> BitFlags<AccessFs> {
    reading() | AccessFs::WriteFile | AccessFs::Truncate | AccessFs::MakeReg | AccessFs::MakeSock | AccessFs::RemoveFile
}

struct Files(RulesetCreated);

impl Files {
    /// As much as the kernel knows how to forbid, up to Linux 6.10. TCP is not: names are
    /// asked for by TCP too, at servers and ports that come later.
    fn none() -> io::Result<Self> {
        let ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5)).map_err(io::Error::other)?;
        ruleset.create().map(Self).map_err(io::Error::other)
    }

    /// Files that may come later, with their folders.
    fn allow_reading(&mut self, files: &[PathBuf]) -> io::Result<()> {
        let mut folders = files.iter().flat_map(|file| folders(file)).filter_map(|folder| nearest(&folder));
        folders.try_for_each(|there| self.allow(&there, reading()))
    }

    /// What is not there needs no permission.
    fn allow(&mut self, path: &Path, access: BitFlags<AccessFs>) -> io::Result<()> {
        let Ok(place) = PathFd::new(path) else { return Ok(()) };
        (&mut self.0).add_rule(PathBeneath::new(place, access)).map(drop).map_err(io::Error::other)
    }
}
