//! Where a running daemon can be found, and how a second one is kept out.
//!
//! These files are under [`RuntimeDir::path`]:
//!
//! | file | what it is |
//! | --- | --- |
//! | `DEV.lock` | locked while a daemon runs the device DEV |
//! | `DEV.sock` | the socket that `isatap status` asks |
//! | `N.portproxy`, `N.portproxy.lock` | the same of the Nth process with rules of the port proxy |
//! | `isatap-10.0.0.2.ends` | locked while a daemon has these tunnel ends: each raw socket gets every packet, so a second daemon would deliver it again |
//!
//! The kernel frees a lock however the daemon ends, SIGKILL too. The files are gone at its end. Who gets the lock of a device knows that a socket lying there is stale, and removes it.
//! The TUN device of a killed daemon needs no cleaning: it is not persistent, so it
//! went with the process, and its addresses and routes with it.
//!
//! Devices and IPv4 addresses belong to a network namespace and `/run` usually does not, so each
//! namespace but the initial one has a folder of its own, named after the namespace's inode.
//! Daemons that share a network namespace and not `/run`, as two containers can, do not see each
//! other's locks.
//!
//! What the next daemon is to know, even after a restart of the machine, is under [`RuntimeDir::state`]:
//! `NAME.dns`, the addresses that NAME may have in the DNS, and `DEV.port-mapping`, the port that a NAT opens.

mod author;
mod ends;
#[cfg(any(feature = "dns-update", feature = "upnp"))]
mod kept;
mod lock;
mod state;

pub use self::author::{author, trusted};
pub(crate) use self::ends::Ends;
#[cfg(any(feature = "dns-update", feature = "upnp"))]
pub(crate) use self::kept::{keep, kept};
pub(crate) use self::lock::Lock;
use self::lock::{ELSEWHERE, Holder};

use crate::device::check_device;
use crate::error::Error;
use nix::errno::Errno;
use nix::unistd::Uid;
use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The folder with the lock and the socket of each device, and the one of what outlives them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeDir {
    path: PathBuf,
    state: PathBuf,
}

impl RuntimeDir {
    /// `/run/isatap` in the initial network namespace, `/run/isatap/netns-INODE` in another one,
    /// with the inode of `/proc/self/ns/net`. Every user comes to the same name. The environment
    /// variable `ISATAP_RUNTIME_DIR` overrides both; each namespace needs another one then.
    ///
    /// What outlives it is in `/var/lib/isatap`, of another network namespace in `/var/lib/isatap/netns-NAME`, with
    /// the name that `ip netns` knows it by. A container whose process 1 is in its namespace has `/var/lib/isatap`; a
    /// namespace with neither has none. `ISATAP_STATE_DIR` overrides all, and so does systemd's `STATE_DIRECTORY`.
    pub fn new() -> Self {
        // Not by the namespace of process 1: only root may look at that, and a container has a
        // process 1 of its own. This switch is for all namespaces, so the kernel (from 4.17 on)
        // shows it in the initial one alone.
        let is_initial = Path::new("/proc/sys/net/core/fb_tunnels_only_for_init_net").exists();
        let base = PathBuf::from("/run/isatap");
        let given = std::env::var_os("ISATAP_RUNTIME_DIR").filter(|path| !path.is_empty()).map(PathBuf::from);
        let path = given.unwrap_or_else(|| match namespace() {
            Some(own) if !is_initial => base.join(format!("netns-{own}")),
            _ => base,
        });
        Self { path, state: state::folder(is_initial) }
    }

    /// A folder of the caller's choice, for what outlives it too: see [`with_state`](Self::with_state).
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        Self { state: path.clone(), path }
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the folders beside this one that daemons of other network namespaces have left, where
    /// nothing is in them and the namespace is gone. A daemon cannot remove its own: it has given up
    /// the right to.
    pub(crate) fn remove_left_folders(&self) {
        let is_of_namespace = |path: &Path| number_of(path).is_some();
        let base = if is_of_namespace(&self.path) { self.path.parent() } else { Some(self.path.as_path()) };
        let Some(base) = base else { return };
        let all = fs::read_dir(base).into_iter().flatten().flatten().map(|entry| entry.path());
        let left: Vec<PathBuf> = all.filter(|path| *path != self.path && is_of_namespace(path)).collect();
        if left.is_empty() {
            return;
        }
        let alive = namespaces();
        for folder in left {
            // A daemon that begins in this moment has made its folder and locked nothing yet.
            let is_old = fs::metadata(&folder)
                .and_then(|metadata| metadata.modified())
                .is_ok_and(|at| at.elapsed().is_ok_and(|age| age >= LEFT));
            if is_old && number_of(&folder).is_some_and(|number| !alive.contains(&number)) {
                // Of one that is not empty the kernel refuses it.
                let _ = fs::remove_dir(&folder);
            }
        }
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

    /// What to write where no daemon has `device`; nothing where none has any.
    #[cfg(feature = "control")]
    pub(crate) fn instead_of(&self, device: &str) -> Option<String> {
        let mut others = self.devices();
        others.retain(|other| other != device && is_listened_at(&self.socket(other)));
        let near = crate::advice::nearest(device, others.iter().map(String::as_str));
        let near = near.map(|near| format!("write {near}; ")).unwrap_or_default();
        (!others.is_empty()).then(|| format!("{near}there are: {}", others.join(", ")))
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
        check_device(device)?;
        let name = format!("{device}.lock");
        let lock = self.lock(&name, device)?.map_err(|holder| {
            let error = Error::refused("lock", self.path.join(name).display(), Errno::EWOULDBLOCK.into());
            error.with_advice(match holder {
                Holder::Process { pid, .. } => {
                    format!("process {pid} already runs {device}: stop it (kill {pid}) or choose another --dev")
                }
                Holder::Elsewhere => {
                    format!("a process of another network namespace already runs {device} in this folder: {ELSEWHERE}")
                }
                Holder::Unknown => format!("another process already runs {device}: stop it or choose another --dev"),
            })
        })?;
        let claim = Claim { socket: self.socket(device), _lock: lock };
        claim.remove_socket()?;
        Ok(claim)
    }

    /// Where the processes answer that have rules of the port proxy, sorted; a stale socket of a
    /// killed one counts until another process comes.
    pub fn port_proxies(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut sockets: Vec<PathBuf> =
            entries.filter(|path| path.extension().is_some_and(|end| end == "portproxy")).collect();
        sockets.sort();
        sockets
    }

    /// Makes this process one that answers for rules of the port proxy: the first number that no
    /// other has. A rule has no device, and what it listens at is the kernel's to keep apart.
    ///
    /// # Errors
    ///
    /// The folder cannot be made or written.
    #[cfg(feature = "control")]
    pub(crate) fn claim_port_proxies(&self) -> Result<Claim, Error> {
        let mut number = 1_u32;
        loop {
            if let Ok(lock) = self.lock(&format!("{number}.portproxy.lock"), "portproxy")? {
                let claim = Claim { socket: self.path.join(format!("{number}.portproxy")), _lock: lock };
                claim.remove_socket()?;
                return Ok(claim);
            }
            number += 1;
        }
    }

    /// Makes the folder when it is missing, and looks whether others could put files into it.
    pub(crate) fn make(&self) -> Result<(), Error> {
        let advice = "run as root, or set ISATAP_RUNTIME_DIR to a folder of your own";
        make_folder(&self.path, advice, "ISATAP_RUNTIME_DIR", new_owner())
    }
}

/// Makes a folder that only this daemon and others like it write to; `variable` names another. `owner`: whom the
/// daemon becomes. One that was there keeps its mode, unless it is as a daemon of root has made it.
fn make_folder(path: &Path, advice: &'static str, variable: &str, owner: Option<(u32, u32)>) -> Result<(), Error> {
    let refused = |error| Error::refused("make the folder", path.display(), error).with_advice(advice);
    let make = |path: &Path, recursive| fs::DirBuilder::new().recursive(recursive).mode(0o755).create(path);
    path.parent().map_or(Ok(()), |above| make(above, true)).map_err(refused)?;
    let is_new = match make(path, false) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => false,
        made => made.map(|()| true).map_err(refused)?,
    };
    let folder = File::open(path).map_err(refused)?;
    let about = folder.metadata().map_err(refused)?;
    let uid = Uid::effective().as_raw();
    let is_ours = [Some(0), Some(uid), owner.map(|(uid, _)| uid)].contains(&Some(about.uid()));
    let mode = about.mode() & 0o7777;
    let why = match mode {
        _ if !is_ours => "it belongs to another user",
        mode if mode & 0o002 != 0 => "everybody may write to it",
        // Nor remove what is another's, with the sticky bit.
        mode if mode & 0o1020 == 0o020 => "its group may write to it",
        _ => "",
    };
    let usage =
        |why: &'static str, advice: String| Error::usage("use the folder", path.display(), why).with_advice(advice);
    if !why.is_empty() {
        return Err(usage(why, format!("set {variable} to a folder that only you can write to")));
    }
    // Whom the daemon becomes makes and removes files here, but not those of others (sticky).
    let Some((_, gid)) = owner.filter(|(uid, _)| *uid != about.uid()) else { return Ok(()) };
    if about.gid() == gid && mode & 0o1070 == 0o1070 {
        return Ok(());
    }
    let is_as_made = [0o755, 0o1775].contains(&mode) && has_only_files_of_daemons(path);
    if !is_new && !is_as_made {
        let advice = format!("set {variable} to one that is not there yet, or chown it to that user");
        return Err(usage("it was there before, and whom the daemon becomes may not write to it", advice));
    }
    std::os::unix::fs::fchown(&folder, None, Some(gid)).map_err(refused)?;
    folder.set_permissions(Permissions::from_mode(0o1775)).map_err(refused)
}

/// Whether nobody but daemons of this program uses the folder.
fn has_only_files_of_daemons(folder: &Path) -> bool {
    let is_default = |name: &OsStr| name == "isatap" || name.as_bytes().starts_with(b"netns-");
    folder.file_name().is_some_and(is_default)
        || fs::read_dir(folder).is_ok_and(|entries| entries.flatten().all(|entry| is_of_daemons(&entry.path())))
}

/// Whether it is called as what daemons make in their folders.
fn is_of_daemons(file: &Path) -> bool {
    const ENDS: [&str; 6] = ["lock", "sock", "ends", "portproxy", "dns", "port-mapping"];
    let whole = if file.extension() == Some(OsStr::new("new")) { file.with_extension("") } else { file.to_owned() };
    whole.extension().is_some_and(|end| ENDS.iter().any(|known| end == *known)) || number_of(file).is_some()
}

/// Whether a process listens there: a killed one leaves its socket. Who may not ask does not know.
#[cfg(feature = "control")]
fn is_listened_at(socket: &Path) -> bool {
    let connected = std::os::unix::net::UnixStream::connect(socket);
    !connected.is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

/// The user and group that this process is to become.
static OWNER: OnceLock<(u32, u32)> = OnceLock::new();

/// Says once whose the files are to be from now on.
#[cfg(feature = "privileges")]
pub(crate) fn belong_to(uid: u32, gid: u32) {
    OWNER.get_or_init(|| (uid, gid));
}

/// Whose the files are to be, where that is not who makes them.
pub(crate) fn new_owner() -> Option<(u32, u32)> {
    OWNER.get().copied().filter(|(uid, _)| *uid != Uid::effective().as_raw())
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
    // Dropped after the socket is removed.
    _lock: Lock,
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

/// The inode of this thread's network namespace.
fn namespace() -> Option<u64> {
    // Not `self`: a thread may have entered a namespace on its own.
    fs::metadata("/proc/thread-self/ns/net").map(|metadata| metadata.ino()).ok()
}

/// So long nothing has happened in a folder that is left.
const LEFT: Duration = Duration::from_secs(60);

/// The namespace of a folder `netns-INODE`.
fn number_of(folder: &Path) -> Option<u64> {
    folder.file_name()?.to_str()?.strip_prefix("netns-")?.parse().ok()
}

/// The inodes of the network namespaces that have a process or a name here.
fn namespaces() -> Vec<u64> {
    let files = |folder: &str| fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_processes = files("/proc").map(|process| process.join("ns/net"));
    let named = ["/run/netns", "/run/docker/netns"].into_iter().flat_map(files);
    of_processes.chain(named).filter_map(|path| fs::metadata(path).ok()).map(|metadata| metadata.ino()).collect()
}

#[cfg(test)]
mod tests;
