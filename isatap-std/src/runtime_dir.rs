//! Where a running daemon can be found, and how a second one is kept out.
//!
//! For a device DEV there are two files under [`RuntimeDir::path`]: `DEV.lock`,
//! locked while a daemon lives (the kernel frees the lock however the daemon
//! ends, SIGKILL too), and `DEV.sock`, the socket that `isatap status` asks. Who
//! gets the lock knows that a socket lying there is stale, and removes it. The
//! TUN device of a killed daemon needs no cleaning: it is not persistent, so it
//! went with the process, and its addresses and routes with it.
//!
//! Device names belong to a network namespace and `/run` usually does not, so
//! daemons in another namespace than process 1's use a folder of their own.

use crate::error::Error;
use crate::tun::check_name;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
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
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(0o755).create(&self.path).map_err(|error| {
            Error::refused("make the folder", self.path.display(), error)
                .with_advice("run as root, or set ISATAP_RUNTIME_DIR to a folder of your own")
        })?;
        let path = self.path.join(format!("{device}.lock"));
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o644)
            // Somebody else's folder may hold a link, whose target would be emptied.
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|error| Error::refused("open", path.display(), error))?;
        let mut lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(file, errno)| {
            let error = Error::refused("lock", path.display(), errno.into());
            if errno == Errno::EWOULDBLOCK { error.with_advice(held_by(file, device)) } else { error }
        })?;
        // Only for the reader of the error above: failing to write it is no harm.
        let _ = lock.set_len(0);
        let _ = writeln!(lock, "{}", std::process::id());
        let claim = Claim { socket: self.socket(device), _lock: lock };
        claim.remove_socket()?;
        Ok(claim)
    }
}

impl Default for RuntimeDir {
    fn default() -> Self {
        Self::new()
    }
}

/// The right to be the daemon of one device, until drop. Drop removes the socket.
#[derive(Debug)]
pub struct Claim {
    socket: PathBuf,
    // The lock file itself stays: removing it would let two daemons lock two
    // different files of the same name.
    _lock: Flock<File>,
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
    }
}

fn held_by(mut lock: File, device: &str) -> String {
    let mut text = String::new();
    let _ = lock.read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid} already runs {device}: stop it (kill {pid}) or choose another --dev"),
        Err(_) => {
            format!("another process already runs {device}: stop it or choose another --dev")
        }
    }
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
        scratch.0.claim("isatap0").expect("free again after drop");
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
