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

mod state;

pub(crate) use self::state::{keep, kept};

use crate::device::check_device;
use crate::error::Error;
use isatap_core::prefix::Ipv6Prefix;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use nix::unistd::Uid;
use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

/// The ends of a tunnel, by which its packets are told from those of others on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    Isatap {
        local: Ipv4Addr,
    },
    Configured {
        local: Ipv4Addr,
        remote: Ipv4Addr,
    },
    Compatible {
        local: Ipv4Addr,
    },
    /// Several domains can share an address: their inner addresses differ.
    SixRd {
        local: Ipv4Addr,
        prefix: Ipv6Prefix,
        ipv4_mask_len: u8,
    },
    SixToFour {
        local: Ipv4Addr,
    },
}

impl Ends {
    fn file_name(&self) -> String {
        let name = match self {
            Ends::Isatap { local } => format!("isatap-{local}.ends"),
            Ends::Configured { local, remote } => format!("tunnel-{local}-{remote}.ends"),
            Ends::Compatible { local } => format!("compatible-{local}.ends"),
            Ends::SixRd { local, prefix, ipv4_mask_len } => format!("6rd-{local}-{prefix}-{ipv4_mask_len}.ends"),
            Ends::SixToFour { local } => format!("6to4-{local}.ends"),
        };
        name.replace('/', "_")
    }

    /// What another link would have.
    fn other(&self) -> &'static str {
        match self {
            Ends::Configured { .. } => "another --local or --remote",
            _ => "another --local",
        }
    }
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ends::Isatap { local } => write!(f, "ISATAP at {local}"),
            Ends::Configured { local, remote } => write!(f, "the tunnel from {local} to {remote}"),
            Ends::Compatible { local } => write!(f, "the tunnel to IPv4-compatible addresses at {local}"),
            Ends::SixRd { local, prefix, .. } => write!(f, "6rd of {prefix} at {local}"),
            Ends::SixToFour { local } => write!(f, "6to4 at {local}"),
        }
    }
}

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
    /// the name that `ip netns` knows it by, or its inode. `ISATAP_STATE_DIR` overrides both, and so does systemd's
    /// `STATE_DIRECTORY`.
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

    /// Takes tunnel ends for `device`, until drop: no other daemon has them meanwhile.
    ///
    /// # Errors
    ///
    /// Another daemon has them (the error names it, of kind [`ErrorKind::AddrInUse`]), or as [`claim`](Self::claim).
    pub(crate) fn claim_ends(&self, ends: &Ends, device: &str) -> Result<Lock, Error> {
        self.lock(&ends.file_name(), device)?.map_err(|holder| {
            let other = ends.other();
            let (kind, cause, advice) = match holder {
                Holder::Process { pid, device } => (
                    ErrorKind::AddrInUse,
                    format!(
                        "process {pid} does that already, with the device {device}; each packet would arrive twice"
                    ),
                    format!("stop it (kill {pid}) or choose {other}"),
                ),
                // It gets other packets.
                Holder::Elsewhere => (
                    ErrorKind::WouldBlock,
                    "a process of another network namespace has the lock".to_owned(),
                    ELSEWHERE.to_owned(),
                ),
                Holder::Unknown => (
                    ErrorKind::AddrInUse,
                    "another process does that already; each packet would arrive twice".to_owned(),
                    format!("stop it or choose {other}"),
                ),
            };
            Error::refused("run", ends, io::Error::new(kind, cause)).with_advice(advice)
        })
    }

    /// Locks a file and writes into it whose it is.
    fn lock(&self, name: &str, device: &str) -> Result<Result<Lock, Holder>, Error> {
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

    /// Makes the folder when it is missing, and looks whether others could put files into it.
    pub(crate) fn make(&self) -> Result<(), Error> {
        let advice = "run as root, or set ISATAP_RUNTIME_DIR to a folder of your own";
        make_folder(&self.path, advice, "ISATAP_RUNTIME_DIR")
    }
}

/// Makes a folder that only this daemon and others like it write to; `variable` names another.
fn make_folder(path: &Path, advice: &'static str, variable: &str) -> Result<(), Error> {
    let refused = |error| Error::refused("make the folder", path.display(), error).with_advice(advice);
    fs::DirBuilder::new().recursive(true).mode(0o755).create(path).map_err(refused)?;
    let folder = File::open(path).map_err(refused)?;
    let metadata = folder.metadata().map_err(refused)?;
    let owner = new_owner();
    let uid = Uid::effective().as_raw();
    let is_ours = [Some(0), Some(uid), owner.map(|(uid, _)| uid)].contains(&Some(metadata.uid()));
    if !is_ours || metadata.mode() & 0o002 != 0 {
        let why = if is_ours { "everybody may write to it" } else { "it belongs to another user" };
        return Err(Error::usage("use the folder", path.display(), why)
            .with_advice(format!("set {variable} to a folder that only you can write to")));
    }
    // Whom the daemon becomes makes and removes files here, but not those of others (sticky).
    if let Some((_, gid)) = owner.filter(|(uid, _)| *uid != metadata.uid()) {
        std::os::unix::fs::fchown(&folder, None, Some(gid)).map_err(refused)?;
        folder.set_permissions(Permissions::from_mode(0o1775)).map_err(refused)?;
    }
    Ok(())
}

/// Whether a process listens there: a killed one leaves its socket. Who may not ask does not know.
#[cfg(feature = "control")]
fn is_listened_at(socket: &Path) -> bool {
    let connected = std::os::unix::net::UnixStream::connect(socket);
    !connected.is_err_and(|error| matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
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

/// What to do where a folder is not of this namespace alone.
const ELSEWHERE: &str = "give each namespace an ISATAP_RUNTIME_DIR of its own";

/// Who holds a lock.
enum Holder {
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
    fn of(mut lock: File) -> Self {
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

    #[test]
    fn tunnel_ends_are_had_once_and_each_mechanism_has_its_own() {
        let scratch = Scratch::new("ends");
        let [local, remote, other] = [2, 8, 9].map(|last| Ipv4Addr::new(10, 0, 0, last));
        let [prefix, other_prefix] = ["2001:db8::/32", "2001:db8::/40"].map(|text| text.parse().unwrap());
        let all = [
            Ends::Isatap { local },
            Ends::Isatap { local: other },
            Ends::Configured { local, remote },
            Ends::Configured { local, remote: other },
            Ends::SixRd { local, prefix, ipv4_mask_len: 8 },
            Ends::SixRd { local, prefix, ipv4_mask_len: 0 },
            Ends::SixRd { local, prefix: other_prefix, ipv4_mask_len: 8 },
            Ends::SixToFour { local },
        ];
        let locks: Vec<Lock> = all.iter().map(|ends| scratch.0.claim_ends(ends, "isatap0").unwrap()).collect();
        let claim = scratch.0.claim("isatap0").expect("the name of the device is locked by itself");
        assert!(scratch.0.devices().is_empty());
        let own = format!("process {} does that already, with the device isatap0", std::process::id());
        for ends in &all {
            let error = scratch.0.claim_ends(ends, "isatap1").unwrap_err().to_string();
            let begin = format!("cannot run {ends}: {own}; each packet would arrive twice; stop it (kill ");
            assert!(error.starts_with(&begin) && error.contains(") or choose another --local"), "{error}");
        }
        drop((locks, claim));
        assert_eq!(fs::read_dir(scratch.0.path()).unwrap().count(), 0, "a lock stays behind");
        all.iter().for_each(|ends| drop(scratch.0.claim_ends(ends, "isatap1").unwrap()));
    }

    #[test]
    fn a_process_of_another_namespace_is_not_to_be_ended() {
        let scratch = Scratch::new("elsewhere");
        let ends = Ends::SixToFour { local: Ipv4Addr::new(192, 0, 2, 1) };
        let _kept = (scratch.0.claim("isatap0").unwrap(), scratch.0.claim_ends(&ends, "isatap0").unwrap());
        for file in ["isatap0.lock", "6to4-192.0.2.1.ends"] {
            fs::write(scratch.0.path().join(file), format!("{} 1 isatap0\n", std::process::id())).unwrap();
        }
        for error in [scratch.0.claim("isatap0").unwrap_err(), scratch.0.claim_ends(&ends, "isatap1").unwrap_err()] {
            let error = error.to_string();
            assert!(error.contains("of another network namespace") && !error.contains("kill"), "{error}");
        }
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
    fn empty_folders_of_namespaces_that_are_gone_are_removed() {
        let scratch = Scratch::new("left");
        let base = scratch.0.path().to_owned();
        let alive = format!("netns-{}", namespace().unwrap());
        let old = std::time::SystemTime::now() - 2 * LEFT;
        for (name, is_full) in [("netns-1", false), ("netns-2", true), (&alive, false), ("netns-x", false)] {
            fs::create_dir_all(base.join(name)).unwrap();
            if is_full {
                fs::write(base.join(name).join("isatap0.lock"), "").unwrap();
            }
            File::open(base.join(name)).unwrap().set_modified(old).unwrap();
        }
        fs::create_dir_all(base.join("netns-3")).unwrap();
        let names = || {
            let mut names: Vec<String> =
                fs::read_dir(&base).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let mut expected = vec!["netns-2".to_owned(), "netns-3".to_owned(), alive, "netns-x".to_owned()];
        expected.sort();
        scratch.0.remove_left_folders();
        assert_eq!(names(), expected);
        // A daemon of another namespace sees the same.
        File::open(base.join("netns-3")).unwrap().set_modified(old).unwrap();
        RuntimeDir::at(base.join("netns-4")).remove_left_folders();
        expected.retain(|name| name != "netns-3");
        assert_eq!(names(), expected);
    }

    #[test]
    fn a_stale_socket_is_removed_and_a_live_one_is_not() {
        let scratch = Scratch::new("stale");
        fs::create_dir_all(scratch.0.path()).unwrap();
        // What SIGKILL leaves: a bound socket that nobody listens on.
        drop(UnixListener::bind(scratch.0.socket("isatap0")).unwrap());
        assert_eq!(scratch.0.devices(), ["isatap0"]);
        #[cfg(feature = "control")]
        assert_eq!(scratch.0.instead_of("tun6in4"), None, "a killed daemon is no other one");
        let claim = scratch.0.claim("isatap0").unwrap();
        assert!(scratch.0.devices().is_empty());
        let _listener = UnixListener::bind(claim.socket()).unwrap();
        scratch.0.claim("isatap0").unwrap_err();
        UnixStream::connect(scratch.0.socket("isatap0")).expect("the refusal broke the first");
        drop(claim);
        assert!(scratch.0.devices().is_empty());
    }
}
