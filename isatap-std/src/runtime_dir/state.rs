//! What a daemon leaves for the one after it, a restart of the machine between them included.
//!
//! Folders of runtime files are emptied then: what a DNS server or a NAT was asked to keep is still there.

use super::{RuntimeDir, author, is_of_daemons, make_folder, namespace, new_owner};
use crate::error::Error;
use std::fs::{self, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const BASE: &str = "/var/lib/isatap";

/// See [`RuntimeDir::new`]. A namespace has its own by its name, since its inode is another after a restart; without
/// a name it has none, which is an empty path.
pub(super) fn folder(is_initial: bool) -> PathBuf {
    let given = |name| std::env::var_os(name).filter(|path| !path.is_empty());
    // Of several that systemd made the first is the service's own.
    let by_systemd = given("STATE_DIRECTORY").and_then(|all| std::env::split_paths(&all).next());
    if let Some(path) = given("ISATAP_STATE_DIR").map(PathBuf::from).or(by_systemd) {
        return path;
    }
    by_namespace(is_initial, namespace(), fs::metadata("/proc/1/ns/net").ok().map(|metadata| metadata.ino()))
}

/// `first`: the namespace of process 1, which is a container's own there.
fn by_namespace(is_initial: bool, own: Option<u64>, first: Option<u64>) -> PathBuf {
    let base = PathBuf::from(BASE);
    match own.filter(|_| !is_initial && own != first) {
        None => base,
        Some(own) => name_of(own).map_or(PathBuf::new(), |name| base.join(format!("netns-{name}"))),
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
    /// DNS, which port a NAT opens. Empty where there is none: see [`new`](Self::new).
    pub fn state(&self) -> &Path {
        &self.state
    }

    /// Makes it when it is missing.
    ///
    /// # Errors
    ///
    /// It cannot be made, or others may write to it; this network namespace has no name that lasts.
    pub(crate) fn make_state(&self) -> Result<(), Error> {
        if self.state.as_os_str().is_empty() {
            let why = "this network namespace has no name that the next daemon could find it by";
            return Err(Error::usage("remember anything in", BASE, why)
                .with_advice("set ISATAP_STATE_DIR to a folder of its own, or write StateDirectory= into its unit"));
        }
        let advice =
            "run as root, write StateDirectory=isatap into the unit, or set ISATAP_STATE_DIR to a folder of your own";
        let owner = new_owner();
        make_folder(&self.state, advice, "ISATAP_STATE_DIR", owner)?;
        if let Some((uid, gid)) = owner {
            hand_over(&self.state, uid, gid);
        }
        Ok(())
    }
}

/// Gives this user what a daemon of root has left, which it could neither read nor replace (sticky).
fn hand_over(folder: &Path, uid: u32, gid: u32) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten().filter(|entry| is_of_daemons(&entry.path())) {
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK);
        let Ok(file) = options.open(entry.path()) else { continue };
        // Not what another user has put there: it would be believed then.
        if file.metadata().is_ok_and(|about| believe(&about, &[0]).is_ok()) {
            // What stays as it is tells so when it is read.
            let _ = std::os::unix::fs::fchown(&file, Some(uid), Some(gid));
        }
    }
}

/// The folder is open to a group, whose members can put a file there under any name: what such a file says would
/// be deleted from the DNS.
pub(super) fn believe(about: &Metadata, users: &[u32]) -> io::Result<()> {
    let why = match author(about, users) {
        _ if !about.is_file() => "it is no regular file",
        Err((why, _)) => why,
        Ok(()) if about.nlink() != 1 => "it has a second name",
        Ok(()) => return Ok(()),
    };
    Err(io::Error::new(io::ErrorKind::InvalidData, format!("{why}: remove it")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_namespace_without_a_lasting_name_has_no_folder_of_its_inode() {
        assert_eq!(by_namespace(true, Some(5), None), Path::new(BASE));
        // A container, whose process 1 is its own.
        assert_eq!(by_namespace(false, Some(5), Some(5)), Path::new(BASE));
        let nameless = RuntimeDir::at("/nonexistent").with_state(by_namespace(false, Some(5), Some(6)));
        assert_eq!(nameless.state(), Path::new(""));
        let error = nameless.make_state().unwrap_err().to_string();
        assert!(error.contains("no name that the next daemon") && error.contains("set ISATAP_STATE_DIR"), "{error}");
    }

    #[test]
    fn what_root_has_left_is_handed_over_and_nothing_else() {
        if !nix::unistd::Uid::effective().is_root() {
            return;
        }
        let folder = std::env::temp_dir().join(format!("isatap-state-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = |name: &str, uid| {
            let path = folder.join(name);
            fs::write(&path, "2001:db8::1\n").unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            std::os::unix::fs::chown(&path, Some(uid), None).unwrap();
            path
        };
        let left =
            [file("host.example.net.dns", 0), file("teredo.port-mapping", 0), file("host.example.net.dns.new", 0)];
        let foreign = [file("other.example.net.dns", 4711), file("notes", 0)];
        std::os::unix::fs::symlink(&foreign[1], folder.join("link.dns")).unwrap();
        hand_over(&folder, 65_534, 65_534);
        let owner = |path: &PathBuf| fs::metadata(path).unwrap().uid();
        assert_eq!(left.each_ref().map(owner), [65_534; 3]);
        assert_eq!(foreign.each_ref().map(owner), [4711, 0]);
        fs::remove_dir_all(folder).unwrap();
    }
}
