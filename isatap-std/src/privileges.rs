//! What a running daemon gives up: capabilities, its user, files and system calls that it does
//! not need.
//!
//! Nothing of this happens by itself: the tool `isatap` calls it, and so may other programs
//! whose process does nothing else.
//!
//! ```no_run
//! use isatap_std::privileges::Privileges;
//! use isatap_std::run::Run;
//! use isatap_std::spec::IsatapHost;
//!
//! let privileges = Privileges::new().user("isatap")?;
//! // Before any thread is started: threads of this library give up all they have at once.
//! privileges.announce();
//! let mut run = Run::open(&[IsatapHost::new().into()], |_| ())?;
//! for missing in privileges.give_up()? {
//!     eprintln!("{missing}");
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | what | afterwards |
//! | --- | --- |
//! | capabilities | `CAP_NET_ADMIN` (devices, addresses, routes, `/proc/sys/net`) and `CAP_NET_RAW` (raw sockets) in the main thread, none in others; the bounding set is empty (who starts without `CAP_SETPCAP`, as by systemd's `User=`, has the one that it was given) |
//! | user | the one that was asked for, without other groups |
//! | `no_new_privs` | set: no program that it could start has more |
//! | files (Landlock) | see [`Privileges::give_up`] |
//! | system calls (seccomp) | those of a list; no program, no process, no executable memory, no socket but IP, netlink and UNIX |
//!
//! **A forbidden system call fails with EPERM**, and the kernel logs it (audit, type 1326). It
//! does not kill the process: the list is of what this program and the C library below do on
//! the kernels and libraries of today, and a library that learns a new call must not end the
//! IPv6 of a whole site. Whoever has taken over the process gains nothing by the difference: the
//! call is not made either way. `clone3` fails with ENOSYS, so that the C library falls
//! back to `clone`, whose flags can be judged.
//!
//! Capabilities, users and Landlock belong to a thread, not to a process, and the kernel's own
//! means for all threads (Landlock's of Linux 7.0) are too new. So threads are started through
//! one function that takes everything from them, and seccomp, which can be set for all, comes
//! last.

mod files;
// Other C libraries have no modules.
#[cfg(all(target_env = "gnu", not(target_feature = "crt-static")))]
mod name_services;
#[cfg(not(all(target_env = "gnu", not(target_feature = "crt-static"))))]
mod name_services {
    pub(super) fn load() {}
}
// Those that seccompiler knows. Other architectures have other calls and other numbers.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod system_calls;
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod system_calls {
    #[expect(clippy::unnecessary_wraps, reason = "as where they are restricted")]
    pub(super) fn restrict() -> std::io::Result<Option<String>> {
        Ok(Some(format!("system calls are not restricted on {}", std::env::consts::ARCH)))
    }
}

use crate::error::Error;
use crate::runtime_dir::{self, RuntimeDir};
use capctl::{Cap, CapSet, CapState, bounding, prctl};
use landlock::RulesetCreated;
use nix::unistd::{Gid, Uid, User};
use std::ffi::{OsStr, OsString};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

/// What a process needs after its start; everything else it [gives up](Self::give_up).
#[derive(Clone, Debug)]
pub struct Privileges {
    user: Option<User>,
    capabilities: CapSet,
    read: Vec<PathBuf>,
    above: Vec<PathBuf>,
    names: Vec<PathBuf>,
    write: Vec<PathBuf>,
    runtime: Option<RuntimeDir>,
    remembers: bool,
    has_name_services: bool,
}

/// What threads are to give up; set once, before there are any.
#[derive(Debug)]
struct Plan {
    ids: Option<(Uid, Gid)>,
    files: io::Result<RulesetCreated>,
}

static PLAN: OnceLock<Plan> = OnceLock::new();
static GIVEN_UP: AtomicBool = AtomicBool::new(false);

impl Default for Privileges {
    fn default() -> Self {
        Self::new()
    }
}

impl Privileges {
    /// What the links of this library need, as the user that the process has.
    pub fn new() -> Self {
        let capabilities = [Cap::NET_ADMIN, Cap::NET_RAW].into_iter().collect();
        Self {
            user: None,
            capabilities,
            read: Vec::new(),
            above: Vec::new(),
            names: Vec::new(),
            write: Vec::new(),
            runtime: None,
            remembers: false,
            has_name_services: false,
        }
    }

    /// Becomes this user, with the user's own group and no other.
    ///
    /// # Errors
    ///
    /// There is no such user.
    pub fn user(mut self, name: &str) -> Result<Self, Error> {
        let found = User::from_name(name).map_err(|errno| Error::refused("look up the user", name, errno.into()))?;
        let unknown = || {
            Error::usage("become the user", name, "there is none of this name")
                .with_advice(format!("useradd --system {name}, or name another user"))
        };
        self.user = Some(found.ok_or_else(unknown)?);
        Ok(self)
    }

    /// Runs no link: keeps neither `CAP_NET_ADMIN` nor `CAP_NET_RAW`.
    #[must_use]
    pub fn without_links(mut self) -> Self {
        self.capabilities = CapSet::empty();
        self
    }

    /// Binds a UDP or TCP port below 1024, after the start as well: keeps `CAP_NET_BIND_SERVICE`.
    #[must_use]
    pub fn bind_low_ports(mut self) -> Self {
        self.capabilities.add(Cap::NET_BIND_SERVICE);
        self
    }

    /// Reads this file after the start, and the one that takes its place: so all of its folder
    /// stays readable, as far as the user may. Of a folder that is not there yet it is the nearest above that
    /// is, never `/`.
    #[must_use]
    pub fn read(mut self, file: impl Into<PathBuf>) -> Self {
        self.read.push(file.into());
        self
    }

    /// The same of a DHCP client's lease, whose folder its unit removes and makes again with each start of the client
    /// (`RuntimeDirectory=`): so the folder above stays readable too, unless that is `/`. A permission is of
    /// a folder, not of its name.
    #[must_use]
    pub fn read_lease(mut self, file: impl Into<PathBuf>) -> Self {
        let file = file.into();
        self.above.extend(folders(&file).iter().filter_map(|folder| above(folder)));
        self.read(file)
    }

    /// The same as [`read`](Self::read) of a file that names are looked up in, by threads too.
    #[must_use]
    pub fn read_names(mut self, file: impl Into<PathBuf>) -> Self {
        self.names.push(file.into());
        self
    }

    /// Looks up names as other programs of this machine do, as the port proxy does: by whatever
    /// nsswitch.conf(5) names. [`announce`](Self::announce) loads the C library's modules for that; those
    /// that the file names later are not used.
    #[must_use]
    pub fn system_names(mut self) -> Self {
        self.has_name_services = true;
        self
    }

    /// Opens this file for writing after the start; it has to be there when
    /// [`give_up`](Self::give_up) is called.
    #[must_use]
    pub fn write(mut self, file: impl Into<PathBuf>) -> Self {
        self.write.push(file.into());
        self
    }

    /// Makes and removes the files of devices in this folder.
    #[must_use]
    pub fn runtime(mut self, folder: &RuntimeDir) -> Self {
        self.runtime = Some(folder.clone());
        self
    }

    /// Remembers something for the daemon after this one, in the [state folder](RuntimeDir::state) of
    /// [`runtime`](Self::runtime), which is made when it is missing.
    #[must_use]
    pub fn remember(mut self) -> Self {
        self.remembers = true;
        self
    }

    /// Threads that this library starts from now on keep no right but to read the files that
    /// names are resolved with; what it makes in a [`RuntimeDir`] belongs to the user.
    ///
    /// Call it before anything is opened; a second call changes nothing.
    pub fn announce(&self) {
        let ids = self.user.as_ref().map(|user| (user.uid, user.gid));
        // A rule needs a folder; who makes devices tells what is wrong with it.
        let _ = self.runtime.as_ref().map(RuntimeDir::make);
        if let Some((uid, gid)) = ids {
            runtime_dir::belong_to(uid.as_raw(), gid.as_raw());
        }
        // After that: whose it is to be.
        let _ = self.runtime.as_ref().filter(|_| self.remembers).map(RuntimeDir::make_state);
        if self.has_name_services {
            name_services::load();
        }
        PLAN.get_or_init(|| Plan { ids, files: files::of_threads(&self.names, &self.folders()) });
    }

    /// Gives up everything else, for ever. What the kernel does not have is told: one line
    /// each, for people.
    ///
    /// Files that stay open to it: for reading `/etc`, what `/etc/resolv.conf` and `/etc/hosts`
    /// lead to, the folders of [`read`](Self::read), `/proc/locks`, `/proc/self/net` and `/proc/sys/kernel/hostname`; for
    /// writing too `/proc/sys/net`, `/dev/net/tun`, [`runtime`](Self::runtime) with its state folder and
    /// [`write`](Self::write). What its user may not do there it may not do either; but who
    /// stays root owns much of `/etc`.
    ///
    /// # Errors
    ///
    /// The process may not become the user, or the kernel refuses to take something. The
    /// process is to end then: it is somewhere between.
    pub fn give_up(self) -> Result<Vec<String>, Error> {
        let read = [self.read.as_slice(), &self.names].concat();
        let files = files::of_daemon(&read, &self.above, &self.write, &self.folders());
        let ids = self.user.as_ref().map(|user| (user.uid, user.gid));
        let name = self.user.as_ref().map_or("", |user| user.name.as_str());
        let refused = |error: io::Error| {
            let error = Error::refused("give up privileges", "", error);
            if name.is_empty() { error } else { error.with_advice(format!("start as root to become {name}")) }
        };
        let files = self.confine(ids, files).map_err(refused)?;
        let unseen = read.iter().filter(|file| folders(file).iter().any(|folder| nearest(folder).is_none()));
        let unseen = unseen.map(|file| {
            format!("{} cannot be read should its folder come later: make the folder, and start again", file.display())
        });
        let mut missing: Vec<String> = unseen.collect();
        missing.extend(files);
        missing.extend(system_calls::restrict().map_err(refused)?);
        GIVEN_UP.store(true, Ordering::Relaxed);
        Ok(missing)
    }

    /// Where it makes and removes files.
    fn folders(&self) -> Vec<&Path> {
        self.runtime.iter().flat_map(|runtime| [runtime.path(), runtime.state()]).collect()
    }

    /// All but seccomp, for this thread.
    fn confine(&self, ids: Option<(Uid, Gid)>, files: io::Result<RulesetCreated>) -> io::Result<Option<String>> {
        become_user(ids)?;
        let held = CapState::get_current().map_err(os_error)?.permitted;
        keep(held & self.capabilities)?;
        restrict_files(files)
    }
}

/// Whether this process has given up what it did not need then.
pub(crate) fn are_given_up() -> bool {
    GIVEN_UP.load(Ordering::Relaxed)
}

/// Whether threads are to have no rights.
pub(crate) fn are_planned() -> bool {
    PLAN.get().is_some()
}

/// Takes everything from a new thread, as far as [`Privileges::announce`] was called.
///
/// # Errors
///
/// The thread has more rights than it should have.
pub(crate) fn confine_thread() -> io::Result<()> {
    let Some(plan) = PLAN.get() else { return Ok(()) };
    if !GIVEN_UP.load(Ordering::Relaxed) {
        become_user(plan.ids)?;
        let files = plan.files.as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()));
        restrict_files(files.and_then(RulesetCreated::try_clone))?;
    }
    keep(CapSet::empty())
}

/// Changes the user and empties the bounding set; capabilities stay as they are permitted.
fn become_user(ids: Option<(Uid, Gid)>) -> io::Result<()> {
    let state = CapState::get_current().map_err(os_error)?;
    if state.effective.has(Cap::SETPCAP) {
        bounding::clear().map_err(os_error)?;
    }
    let is_already = |(uid, gid): &(Uid, Gid)| Uid::effective() == *uid && Gid::effective() == *gid;
    let Some((uid, gid)) = ids.filter(|ids| !is_already(ids)) else { return Ok(()) };
    // Of this thread alone, by bare system calls: the C library would change all threads, of
    // which some have no right to change any more, and abort.
    capctl::cap_set_ids(Some(uid.as_raw()), Some(gid.as_raw()), Some(&[])).map_err(os_error)
}

fn keep(capabilities: CapSet) -> io::Result<()> {
    let state = CapState { effective: capabilities, permitted: capabilities, inheritable: CapSet::empty() };
    // What is not inheritable is not ambient either.
    state.set_current().map_err(os_error)?;
    // Threads have the rest from the main thread, once it has it; they may not ask any more.
    if GIVEN_UP.load(Ordering::Relaxed) { Ok(()) } else { prctl::set_no_new_privs().map_err(os_error) }
}

/// What the kernel lacks, for people.
fn restrict_files(files: io::Result<RulesetCreated>) -> io::Result<Option<String>> {
    use landlock::RulesetStatus;
    let status = files?.restrict_self().map_err(io::Error::other)?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => None,
        RulesetStatus::NotEnforced => {
            Some("files are protected by the user and its groups alone: no Landlock here".to_owned())
        }
    })
}

fn os_error(error: capctl::Error) -> io::Error {
    io::Error::from_raw_os_error(error.code())
}

/// The folder of a file and, where the file is a link, those of what it leads to, there or not. They are real: links on
/// the way and every `..` are followed as the kernel follows them.
fn folders(file: &Path) -> Vec<PathBuf> {
    /// As many links as anybody makes; Linux gives up after 40.
    const MOST_LINKS: usize = 40;
    let there = std::path::absolute(file).unwrap_or_else(|_| file.to_owned());
    // What is left to walk, the next component last.
    let backwards = |path: &Path| -> Vec<OsString> { path.iter().rev().map(OsStr::to_owned).collect() };
    let (mut rest, mut at, mut all, mut links) = (backwards(&there), PathBuf::from("/"), Vec::new(), 0);
    while let Some(name) = rest.pop() {
        if name == ".." {
            at.pop();
            continue;
        }
        if rest.is_empty() && all.last() != Some(&at) {
            all.push(at.clone());
        }
        let next = at.join(&name);
        match next.read_link() {
            Ok(_) if links == MOST_LINKS => break,
            Ok(target) => {
                links += 1;
                rest.extend(backwards(&target));
            }
            // An absolute path begins with `/`, which begins anew.
            Err(_) => at = next,
        }
    }
    all
}

/// The folder, or the nearest above it that is there: it may come later. `None`: that is all of the system.
fn nearest(folder: &Path) -> Option<PathBuf> {
    let there = folder.ancestors().find(|folder| folder.is_dir())?;
    // By what it is, not by its name.
    let real = there.canonicalize().ok()?;
    // A file that is in / itself was put there.
    (folder == Path::new("/") || real.parent().is_some()).then_some(real)
}

/// The folder above, unless that is all of the system.
fn above(folder: &Path) -> Option<PathBuf> {
    nearest(folder.parent()?).filter(|above| above.parent().is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn an_unknown_user_is_a_usage_error_with_advice() {
        let error = Privileges::new().user("no-such-user-here").unwrap_err();
        assert_eq!(error.class(), Class::Usage);
        assert!(error.to_string().contains("useradd --system no-such-user-here"), "{error}");
    }

    #[test]
    fn a_link_leads_into_two_folders() {
        let folder = std::env::temp_dir().join(format!("isatap-privileges-{}", std::process::id()));
        std::fs::create_dir_all(folder.join("real")).unwrap();
        std::fs::write(folder.join("real/resolv.conf"), "").unwrap();
        let _ = std::os::unix::fs::symlink("real/resolv.conf", folder.join("resolv.conf"));
        let found = folders(&folder.join("resolv.conf"));
        assert_eq!(found, [folder.clone(), folder.join("real")]);
        // To what is not there yet.
        std::fs::remove_dir_all(folder.join("real")).unwrap();
        let found = folders(&folder.join("resolv.conf"));
        assert_eq!(found, [folder.clone(), folder.join("real")]);
        assert_eq!(nearest(&found[1]), Some(folder.clone()));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn never_is_the_whole_system_the_nearest_folder() {
        let some = |path: &str| Some(PathBuf::from(path));
        assert_eq!(nearest(Path::new("/etc")), some("/etc"));
        assert_eq!(nearest(Path::new("/etc/no-such-folder/here")), some("/etc"));
        assert_eq!(nearest(Path::new("/no-such-folder/here")), None);
        assert_eq!(nearest(Path::new("/etc/../no-such-folder")), None);
        assert_eq!(nearest(Path::new("/")), some("/"));
    }

    #[test]
    fn a_lease_keeps_the_folder_above_its_own() {
        let read = |file: &str| Privileges::new().read_lease(file).above;
        assert_eq!(read("/etc/no-such-client/lease"), [PathBuf::from("/etc")]);
        assert_eq!(read("/etc/lease"), [] as [PathBuf; 0]);
        assert_eq!(read("/lease"), [] as [PathBuf; 0]);
    }

    #[test]
    fn no_way_up_leads_to_the_whole_system() {
        let scratch = std::env::temp_dir().join(format!("isatap-privileges-up-{}", std::process::id()));
        let folder = scratch.canonicalize().unwrap_or_else(|_| {
            std::fs::create_dir_all(&scratch).unwrap();
            scratch.canonicalize().unwrap()
        });
        let up = |folder: &Path| "../".repeat(folder.components().count() - 1);
        let link = |name: &str, target: &str| {
            let link = folder.join(name);
            std::os::unix::fs::symlink(target, &link).unwrap();
            link
        };
        let granted = |file: &Path| folders(file).iter().filter_map(|folder| nearest(folder)).collect::<Vec<_>>();
        let shown = folder.display();
        let above = up(&folder);
        // Whole and with .., a link with .., and relative with ..
        assert_eq!(granted(Path::new(&format!("{shown}/{above}no-such-folder/lease"))), [] as [PathBuf; 0]);
        assert_eq!(granted(&link("lease", &format!("{above}no-such-folder/lease"))), [folder.as_path()]);
        let here = std::env::current_dir().unwrap().canonicalize().unwrap();
        assert_eq!(granted(Path::new(&format!("{}no-such-folder/lease", up(&here)))), [] as [PathBuf; 0]);
        // By a folder that is a link, which a name does not tell.
        let around = link("around", &format!("{above}etc"));
        assert_eq!(granted(&around.join("../no-such-folder/lease")), [] as [PathBuf; 0]);
        // To a folder that comes later.
        assert_eq!(folders(&link("later", "coming/soon").join("lease")), [folder.join("coming/soon")]);
        assert_eq!(granted(&folder.join("later/lease")), [folder.as_path()]);
        // It ends.
        assert_eq!(granted(&link("round", "round")), [folder.as_path()]);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
