//! Locked files, and who has locked them.

use super::{RuntimeDir, namespace, new_owner};
use crate::error::Error;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// A locked file. Drop removes it.
#[derive(Debug)]
pub(crate) struct Lock {
    path: PathBuf,
    file: Flock<File>,
}

impl Drop for Lock {
    fn drop(&mut self) {
        // While it is locked: who waits for it sees that it has gone.
        if is_named(&self.file, &self.path) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Whether the file has this name, and no other file has it by now.
fn is_named(file: &File, path: &Path) -> bool {
    let identity = |metadata: fs::Metadata| (metadata.dev(), metadata.ino());
    let named = fs::symlink_metadata(path).map(identity).ok();
    named.is_some() && named == file.metadata().map(identity).ok()
}

impl RuntimeDir {
    /// Locks a file and writes into it whose it is.
    pub(super) fn lock(&self, name: &str, device: &str) -> Result<Result<Lock, Holder>, Error> {
        self.make()?;
        let path = self.path.join(name);
        let refused = |error: io::Error| {
            let foreign = error.kind() == ErrorKind::PermissionDenied && path.exists();
            let error = Error::refused("open", path.display(), error);
            match foreign {
                true => error.with_advice(
                    "it belongs to a daemon of another user: daemons of one network namespace are of one user, or root's",
                ),
                false => error,
            }
        };
        let mut file = loop {
            let file = open_lock(&path).map_err(refused)?;
            let file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(file) => file,
                Err((file, Errno::EWOULDBLOCK)) => return Ok(Err(Holder::of(file))),
                Err((_, errno)) => return Err(Error::refused("lock", path.display(), errno.into())),
            };
            // A daemon that ends removes the file: what is locked then has no name any more, and
            // the next one locks another.
            if is_named(&file, &path) {
                break file;
            }
        };
        // Somebody else may have made it, to be written to by others.
        file.set_permissions(Permissions::from_mode(0o600)).map_err(refused)?;
        if let Some((uid, gid)) = new_owner() {
            std::os::unix::fs::fchown(&*file, Some(uid), Some(gid)).map_err(refused)?;
        }
        // Only for the reader of the errors above: failing to write it is no harm.
        let _ = file.set_len(0);
        let netns = namespace().map_or("-".to_owned(), |netns| netns.to_string());
        let _ = writeln!(file, "{} {netns} {device}", std::process::id());
        Ok(Ok(Lock { path, file }))
    }
}

/// Opens a file that is there, or makes it; through no link, whose target would be emptied.
fn open_lock(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
    loop {
        // Not `create` alone: in a sticky folder the kernel refuses that for another's file.
        match options.open(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            other => return other,
        }
        match options.clone().create_new(true).open(path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            other => return other,
        }
    }
}

/// What to do where a folder is not of this namespace alone.
pub(super) const ELSEWHERE: &str = "give each namespace an ISATAP_RUNTIME_DIR of its own";

/// Who holds a lock.
pub(super) enum Holder {
    /// A process of this network namespace, for a device.
    Process { pid: u32, device: String },
    /// A process of another one.
    Elsewhere,
    /// Nobody can say.
    Unknown,
}

impl Holder {
    /// What the file says of itself. A number in a file is no reason to end a process: it is
    /// believed only when the kernel says that this process holds the lock.
    pub(super) fn of(mut lock: File) -> Self {
        let mut text = String::new();
        let _ = (&mut lock).take(64).read_to_string(&mut text);
        let mut words = text.split_ascii_whitespace();
        let pid = words.next().and_then(|word| word.parse::<u32>().ok());
        let netns = words.next().and_then(|word| word.parse().ok());
        let device = words.next().unwrap_or_default().to_owned();
        let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
        let inode = lock.metadata().map(|metadata| metadata.ino()).ok();
        let holds =
            |pid: u32| locks.lines().filter_map(flock_of).any(|held| Some(held) == inode.map(|inode| (pid, inode)));
        match pid.filter(|pid| holds(*pid)) {
            Some(_) if netns.is_some_and(|netns| Some(netns) != namespace()) => Holder::Elsewhere,
            Some(pid) => Holder::Process { pid, device },
            None => Holder::Unknown,
        }
    }
}

/// Process and inode of a line of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF`.
pub(super) fn flock_of(line: &str) -> Option<(u32, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    (fields.next()? == "FLOCK").then_some(())?;
    let pid = fields.nth(2)?.parse().ok()?;
    Some((pid, fields.next()?.rsplit(':').next()?.parse().ok()?))
}
