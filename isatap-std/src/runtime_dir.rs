//! Where a running daemon can be found, and how a second one is kept out.
//!
//! For a device DEV there are two files under [`RuntimeDir::path`]: `DEV.lock`,
//! locked while a daemon lives (the kernel frees the lock however the daemon
//! ends, SIGKILL too), and `DEV.sock`, the socket that `isatap status` asks. Both
//! are gone at its end. Who gets the lock knows that a socket lying there is stale,
//! and removes it. The
//! TUN device of a killed daemon needs no cleaning: it is not persistent, so it
//! went with the process, and its addresses and routes with it.
//!
//! Device names belong to a network namespace and `/run` usually does not, so
//! daemons in another namespace than process 1's use a folder of their own.

use crate::error::Error;
use crate::tun::check_name;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder with the lock and the socket of each device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
}

impl RuntimeDir {
    /// `/run/isatap`, or `/run/isatap/netns-INODE` when this process lives in
    /// another network namespace than process 1. The environment variable
    /// `ISATAP_RUNTIME_DIR` overrides both.
    pub fn new() -> Self {
        if let Some(path) = std::env::var_os("ISATAP_RUNTIME_DIR").filter(|path| !path.is_empty()) {
            return Self::at(path);
        }
        let base = PathBuf::from("/run/isatap");
        let inode = |path: &str| fs::metadata(path).map(|metadata| metadata.ino());
        // `thread-self`: a thread may have entered a namespace on its own. Who may
        // not look at process 1 is in a container or not root: the plain folder.
        match (inode("/proc/1/ns/net"), inode("/proc/thread-self/ns/net")) {
            (Ok(first), Ok(own)) if first != own => Self::at(base.join(format!("netns-{own}"))),
            _ => Self::at(base),
        }
    }

    /// A folder of the caller's choice.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the daemon of `device` listens.
    pub fn socket(&self, device: &str) -> PathBuf {
        self.path.join(format!("{device}.sock"))
    }

    /// The devices whose daemons have a socket here, sorted; a stale socket of a
    /// killed daemon counts until somebody claims the device.
    pub fn devices(&self) -> Vec<String> {
        let mut devices: Vec<String> = fs::read_dir(&self.path)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| {
                let name = entry.file_name().into_string().ok()?;
                name.strip_suffix(".sock").map(str::to_owned)
            })
            .collect();
        devices.sort();
        devices
    }

    /// Makes this process the daemon of `device` and removes a stale socket. The
    /// folder is made when it is missing.
    ///
    /// # Errors
    ///
    /// Another process holds the device (the error names it), or the folder
    /// cannot be made or written; a usage error for what is no device's name, which
    /// could lead out of the folder. A link in place of the lock file is not followed.
    pub fn claim(&self, device: &str) -> Result<Claim, Error> {
        check_name(device)?;
        self.make()?;
        let path = self.path.join(format!("{device}.lock"));
        let refused = |error| Error::refused("open", path.display(), error);
        let mut lock = loop {
            let file = open_lock(&path).map_err(refused)?;
            let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, errno)| {
                let error = Error::refused("lock", path.display(), errno.into());
                if errno == Errno::EWOULDBLOCK { error.with_advice(held_by(file, device)) } else { error }
            })?;
            // A daemon that ends removes the file: what is locked then has no name any more, and
            // the next one locks another.
            if is_named(&lock, &path) {
                break lock;
            }
        };
        // Somebody else may have made it, to be written to by others.
        lock.set_permissions(Permissions::from_mode(0o600)).map_err(refused)?;
        let owner = new_owner();
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&*lock, Some(uid), Some(gid)).map_err(refused)?;
        }
        // Only for the reader of the error above: failing to write it is no harm.
        let _ = lock.set_len(0);
        let _ = writeln!(lock, "{}", std::process::id());
        let claim = Claim { socket: self.socket(device), path, lock };
        claim.remove_socket()?;
        Ok(claim)
    }

    /// Makes the folder when it is missing, and looks whether others could put files into it.
    pub(crate) fn make(&self) -> Result<(), Error> {
        let refused = |error| {
            Error::refused("make the folder", self.path.display(), error)
                .with_advice("run as root, or set ISATAP_RUNTIME_DIR to a folder of your own")
        };
        fs::DirBuilder::new().recursive(true).mode(0o755).create(&self.path).map_err(refused)?;
        let folder = File::open(&self.path).map_err(refused)?;
        let metadata = folder.metadata().map_err(refused)?;
        let owner = new_owner();
        let uid = Uid::effective().as_raw();
        let is_ours = [Some(0), Some(uid), owner.map(|(uid, _)| uid)].contains(&Some(metadata.uid()));
        if !is_ours || metadata.mode() & 0o002 != 0 {
            let why = if is_ours { "everybody may write to it" } else { "it belongs to another user" };
            return Err(Error::usage("use the folder", self.path.display(), why)
                .with_advice("set ISATAP_RUNTIME_DIR to a folder that only you can write to"));
        }
        // Whom the daemon becomes makes and removes files here, but not those of others (sticky).
        if let Some((_, gid)) = owner.filter(|(uid, _)| *uid != metadata.uid()) {
            std::os::unix::fs::fchown(&folder, None, Some(gid)).map_err(refused)?;
            folder.set_permissions(Permissions::from_mode(0o1775)).map_err(refused)?;
        }
        Ok(())
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

/// Whose the files are to be, where that is not who makes them.
pub(crate) fn new_owner() -> Option<(u32, u32)> {
    #[cfg(feature = "privileges")]
    if let Some((uid, gid)) = crate::privileges::owner().filter(|(uid, _)| *uid != Uid::effective()) {
        return Some((uid.as_raw(), gid.as_raw()));
    }
    None
}

impl Default for RuntimeDir {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to be the daemon of one device, until drop. Drop removes the socket and the lock.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    path: PathBuf,
    lock: Flock<File>,
}

impl Claim {
    /// Where this daemon is to listen; nothing is there yet.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    fn remove_socket(&self) -> Result<(), Error> {
        match fs::remove_file(&self.socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(Error::refused("remove the stale socket", self.socket.display(), error))
            }
            _ => Ok(()),
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let _ = self.remove_socket();
        // While it is locked: who waits for it sees that it has gone.
        if is_named(&self.lock, &self.path) {
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

/// A number in a file is no reason to end a process: it is told only when the kernel says that
/// this process holds the lock.
fn held_by(mut lock: File, device: &str) -> String {
    let mut text = String::new();
    let _ = (&mut lock).take(32).read_to_string(&mut text);
    let told: Option<u32> = text.trim().parse().ok();
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    let inode = lock.metadata().map(|metadata| metadata.ino()).ok();
    match told
        .filter(|pid| locks.lines().filter_map(flock_of).any(|held| Some(held) == inode.map(|inode| (*pid, inode))))
    {
        Some(pid) => format!("process {pid} already runs {device}: stop it (kill {pid}) or choose another --dev"),
        None => format!("another process already runs {device}: stop it or choose another --dev"),
    }
}

/// Process and inode of a line of `/proc/locks`:
/// `1: FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF`.
fn flock_of(line: &str) -> Option<(u32, u64)> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    (fields.next()? == "FLOCK").then_some(())?;
    let pid = fields.nth(2)?.parse().ok()?;
    Some((pid, fields.next()?.rsplit(':').next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixListener, UnixStream};

    struct Scratch(RuntimeDir);

    impl Scratch {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("isatap-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&path);
            Self(RuntimeDir::at(path.join("run")))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(self.0.path().parent().unwrap());
        }
    }

    #[test]
    fn a_second_daemon_is_refused_and_told_who_is_first() {
        let scratch = Scratch::new("second");
        let claim = scratch.0.claim("isatap0").unwrap();
        let error = scratch.0.claim("isatap0").unwrap_err().to_string();
        assert!(error.contains(&format!("process {} already runs", std::process::id())), "{error}");
        scratch.0.claim("isatap1").expect("another device is no conflict");
        drop(claim);
        let claim = scratch.0.claim("isatap0").expect("free again after drop");
        let mode = |name| fs::metadata(scratch.0.path().join(name)).unwrap().mode() & 0o7777;
        assert_eq!(mode("isatap0.lock"), 0o600);
        drop(claim);
        assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0, "the lock stays behind");
    }

    /// The file says process 1: whoever follows that advice ends the machine.
    #[test]
    fn a_number_in_the_file_that_does_not_hold_the_lock_is_not_told() {
        let scratch = Scratch::new("liar");
        let _claim = scratch.0.claim("isatap0").unwrap();
        fs::write(scratch.0.path().join("isatap0.lock"), "1\n").unwrap();
        let error = scratch.0.claim("isatap0").unwrap_err().to_string();
        assert!(error.contains("another process already runs isatap0") && !error.contains("kill"), "{error}");
    }

    #[test]
    fn a_lock_that_was_removed_meanwhile_is_not_enough() {
        let scratch = Scratch::new("removed");
        let (first, second) = (scratch.0.claim("isatap0").unwrap(), scratch.0.path().join("isatap0.lock"));
        fs::remove_file(&second).unwrap();
        let claims: Vec<_> = (0..2).map(|_| scratch.0.claim("isatap0")).collect();
        assert!(claims[0].is_ok() && claims[1].is_err());
        drop(first);
        assert!(second.exists(), "the lock of another daemon is gone");
    }

    #[test]
    fn a_folder_that_everybody_may_write_to_is_refused() {
        let scratch = Scratch::new("open");
        fs::create_dir_all(scratch.0.path()).unwrap();
        fs::set_permissions(scratch.0.path(), Permissions::from_mode(0o1777)).unwrap();
        let error = scratch.0.claim("isatap0").unwrap_err().to_string();
        assert!(error.contains("everybody may write to it; set ISATAP_RUNTIME_DIR"), "{error}");
        assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0);
    }

    #[test]
    fn lines_of_the_kernel_tell_process_and_inode() {
        assert_eq!(flock_of("3: FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), Some((4711, 2345)));
        assert_eq!(flock_of("3: POSIX  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), None);
        assert_eq!(flock_of("3: -> FLOCK  ADVISORY  WRITE 4711 00:1a:2345 0 EOF"), None);
    }

    #[test]
    fn a_claim_touches_nothing_outside_of_its_folder() {
        let scratch = Scratch::new("outside");
        fs::create_dir_all(scratch.0.path()).unwrap();
        let victim = scratch.0.path().parent().unwrap().join("victim");
        fs::write(&victim, "precious").unwrap();
        std::os::unix::fs::symlink(&victim, scratch.0.path().join("isatap0.lock")).unwrap();
        scratch.0.claim("isatap0").unwrap_err();
        assert_eq!(fs::read_to_string(&victim).unwrap(), "precious");
        let error = scratch.0.claim("../isatap1").unwrap_err();
        assert_eq!(error.class(), crate::error::Class::Usage);
        assert!(!scratch.0.path().parent().unwrap().join("isatap1.lock").exists());
    }

    #[test]
    fn a_stale_socket_is_removed_and_a_live_one_is_not() {
        let scratch = Scratch::new("stale");
        fs::create_dir_all(scratch.0.path()).unwrap();
        // What SIGKILL leaves: a bound socket that nobody listens on.
        drop(UnixListener::bind(scratch.0.socket("isatap0")).unwrap());
        assert_eq!(scratch.0.devices(), ["isatap0"]);
        let claim = scratch.0.claim("isatap0").unwrap();
        assert!(scratch.0.devices().is_empty());
        let _listener = UnixListener::bind(claim.socket()).unwrap();
        scratch.0.claim("isatap0").unwrap_err();
        UnixStream::connect(scratch.0.socket("isatap0")).expect("the refusal broke the first");
        drop(claim);
        assert!(scratch.0.devices().is_empty());
    }
}
