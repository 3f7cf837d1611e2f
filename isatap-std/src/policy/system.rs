//! Both tables of this machine, changed as one.

use super::{GaiConf, LINUX_LABELS};
use crate::error::Error;
use crate::netlink::Netlink;
use crate::text_file::{self, Unreadable};
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::PolicyRow;
use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Where glibc has its table.
pub const GAI_CONF: &str = "/etc/gai.conf";

/// The labels of the kernel and the file of the C library.
///
/// A change is made of the kernel first, which may refuse, and then of the file, whole or not at
/// all; when that fails, the kernel gets back what it had.
#[derive(Debug)]
pub struct System {
    netlink: Option<Netlink>,
    path: Option<PathBuf>,
    labels: Vec<(Ipv6Prefix, u32)>,
    file: GaiConf,
}

impl System {
    /// Reads the labels of the kernel, unless it is left alone, and the file, unless there is none
    /// to be changed.
    ///
    /// # Errors
    ///
    /// The file is there and cannot be read, or no netlink socket can be opened.
    pub fn read(kernel: bool, path: Option<&Path>) -> Result<Self, Error> {
        let netlink = kernel.then(Netlink::open).transpose()?;
        let labels = netlink.as_ref().map(Netlink::labels).transpose()?.unwrap_or_default();
        let file = match path.map(|path| (path, text_file::read(path))) {
            Some((_, Ok(text))) => GaiConf::new(&text),
            None => GaiConf::default(),
            Some((_, Err(Unreadable::Io(error)))) if error.kind() == io::ErrorKind::NotFound => GaiConf::default(),
            Some((path, Err(error))) => return Err(error.error("read", path)),
        };
        Ok(Self { netlink, path: path.map(Path::to_owned), labels, file })
    }

    /// The labels of the kernel.
    #[must_use]
    pub fn labels(&self) -> &[(Ipv6Prefix, u32)] {
        &self.labels
    }

    /// What is in the file.
    #[must_use]
    pub fn file(&self) -> &GaiConf {
        &self.file
    }

    /// The policy of the kernel: its labels, each with the precedence 0, which it does not know.
    #[must_use]
    pub fn kernel_rows(&self) -> Vec<PolicyRow> {
        self.labels.iter().map(|(prefix, label)| PolicyRow::new(*prefix, 0, *label)).collect()
    }

    /// Whether one of the tables that are changed has a row of this prefix.
    #[must_use]
    pub fn has(&self, prefix: &Ipv6Prefix) -> bool {
        self.labels.iter().any(|(of, _)| of == prefix)
            || (self.path.is_some() && self.file.rows().iter().any(|row| row.prefix == *prefix))
    }

    /// Adds a row to both, or gives the one of the same prefix other values.
    ///
    /// # Errors
    ///
    /// The kernel's refusal, or that of the file system; nothing changed.
    pub fn set(&mut self, row: &PolicyRow) -> Result<(), Error> {
        let mut file = self.file.clone();
        file.set(row);
        let mut labels = self.labels.clone();
        labels.retain(|(prefix, _)| *prefix != row.prefix);
        labels.push((row.prefix, row.label));
        self.change(labels, file)
    }

    /// Removes the row of a prefix from both.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn remove(&mut self, prefix: &Ipv6Prefix) -> Result<(), Error> {
        let mut file = self.file.clone();
        file.remove(prefix);
        let mut labels = self.labels.clone();
        labels.retain(|(of, _)| of != prefix);
        self.change(labels, file)
    }

    /// Puts these rows in the place of all in both.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn replace(&mut self, rows: &[PolicyRow]) -> Result<(), Error> {
        let mut file = self.file.clone();
        file.replace(rows);
        self.change(rows.iter().map(|row| (row.prefix, row.label)).collect(), file)
    }

    /// What Linux and glibc have where nobody has changed anything.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn restore(&mut self) -> Result<(), Error> {
        let mut file = self.file.clone();
        file.clear();
        let labels = LINUX_LABELS.iter().filter_map(|(prefix, label)| Some((prefix.parse().ok()?, *label)));
        self.change(labels.collect(), file)
    }

    /// Gives the kernel the labels of the file: it forgets its own when the machine starts.
    ///
    /// # Errors
    ///
    /// The kernel's refusal; nothing changed.
    pub fn apply(&mut self) -> Result<(), Error> {
        let labels = self.file.rows().iter().map(|row| (row.prefix, row.label)).collect();
        self.change(labels, self.file.clone())
    }

    fn change(&mut self, labels: Vec<(Ipv6Prefix, u32)>, file: GaiConf) -> Result<(), Error> {
        let old = self.labels.clone();
        if let Some(netlink) = &self.netlink {
            let wanted: Vec<_> = labels.into_iter().filter(|(prefix, _)| is_of_kernel(prefix)).collect();
            self.labels = move_labels(netlink, &old, &wanted)?;
        }
        if let Some(path) = &self.path
            && file != self.file
            && let Err(error) = write(path, &file.text())
        {
            if let Some(netlink) = &self.netlink {
                self.labels = move_labels(netlink, &self.labels, &old)?;
            }
            return Err(error);
        }
        self.file = file;
        Ok(())
    }
}

/// The kernel has no labels for parts of the IPv4 addresses, whose sources it chooses by the route.
fn is_of_kernel(prefix: &Ipv6Prefix) -> bool {
    prefix.length() <= 96 || prefix.address().to_ipv4_mapped().is_none()
}

/// Makes the kernel's labels those that are wanted; what it refuses leaves them as they were.
fn move_labels(
    netlink: &Netlink,
    from: &[(Ipv6Prefix, u32)],
    to: &[(Ipv6Prefix, u32)],
) -> Result<Vec<(Ipv6Prefix, u32)>, Error> {
    let step = |from: &[(Ipv6Prefix, u32)], to: &[(Ipv6Prefix, u32)]| -> Result<(), Error> {
        for (prefix, label) in to.iter().filter(|row| !from.contains(row)) {
            netlink.set_label(*prefix, *label)?;
        }
        let gone = from.iter().filter(|(prefix, _)| to.iter().all(|(kept, _)| kept != prefix));
        gone.map(|(prefix, _)| *prefix).try_for_each(|prefix| netlink.remove_label(prefix))
    };
    step(from, to).inspect_err(|_| {
        // The error that is told is the first one.
        if let Ok(reached) = netlink.labels() {
            let _ = step(&reached, from);
        }
    })?;
    Ok(to.to_vec())
}

/// Replaces a file as a whole. What is mounted over it, as in a container, cannot be replaced, and
/// is written in place.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let refused = |error| Error::refused("write", path.display(), error);
    // Where a link leads, so that the link stays.
    let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mode = fs::metadata(path).map_or(0o644, |found| found.permissions().mode());
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".isatap-{}", std::process::id()));
    let beside = path.with_file_name(name);
    let write = |open: &mut fs::OpenOptions, path: &Path| -> io::Result<()> {
        let mut file = open.write(true).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    let replaced = write(fs::OpenOptions::new().create_new(true).mode(mode), &beside)
        .and_then(|()| fs::set_permissions(&beside, fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&beside, path));
    match replaced {
        Ok(()) => Ok(()),
        Err(error) => {
            let _ = fs::remove_file(&beside);
            if error.raw_os_error() == Some(libc::EBUSY) {
                return write(fs::OpenOptions::new().truncate(true), path).map_err(refused);
            }
            Err(refused(error))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::select::RFC6724;

    #[test]
    fn a_file_is_replaced_whole_and_links_and_modes_stay() {
        let folder = std::env::temp_dir().join(format!("isatap-policy-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (path, link) = (folder.join("gai.conf"), folder.join("link"));
        let mut system = System::read(false, Some(&path)).unwrap();
        system.replace(&RFC6724).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut system = System::read(false, Some(&link)).unwrap();
        let prefix = "::ffff:0:0/96".parse().unwrap();
        system.set(&PolicyRow::new(prefix, 100, 4)).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let read = System::read(false, Some(&path)).unwrap();
        assert_eq!(read.file(), system.file());
        assert!(read.has(&prefix) && read.file().rows().contains(&PolicyRow::new(prefix, 100, 4)));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 2, "something is left behind");
        let nowhere = folder.join("none/gai.conf");
        let error = System::read(false, Some(&nowhere)).unwrap().restore();
        assert!(error.is_ok(), "an empty file that does not change is not written");
        let error = System::read(false, Some(&nowhere)).unwrap().replace(&RFC6724).unwrap_err().to_string();
        assert!(error.starts_with("cannot write ") && error.contains("none/gai.conf"), "{error}");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn the_kernel_has_no_labels_for_parts_of_ipv4() {
        for (text, expected) in
            [("::ffff:0:0/96", true), ("::ffff:10.0.0.0/104", false), ("2001:db8::1/128", true), ("::1/128", true)]
        {
            assert_eq!(is_of_kernel(&text.parse().unwrap()), expected, "{text}");
        }
    }
}
