//! A lease file, and what it said last.

use super::{Lease, is_whole};
use crate::file_watch::{Change, FileWatch};
use crate::thread::has_given_up;
use crate::{small_file, text_file};
use isatap_core::time::Instant;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, SystemTime};

/// A file that a DHCP client writes, and what it said last; readable when it is to be
/// [read](Self::take_news) again.
#[derive(Debug)]
pub(crate) struct LeaseFile {
    watch: FileWatch,
    device: Option<String>,
    told: Option<Result<Lease, String>>,
    /// When the lease ends, however the machine's clock is set meanwhile.
    ends: Option<Instant>,
}

impl LeaseFile {
    /// # Errors
    ///
    /// Out of descriptors.
    pub(crate) fn open(path: &Path, device: Option<&str>) -> io::Result<Self> {
        let device = device.map(str::to_owned);
        Ok(Self { watch: FileWatch::open(path)?, device, told: None, ends: None })
    }

    /// Whether nothing tells of changes, so that it is to be looked at from time to time.
    pub(crate) fn is_unwatched(&self) -> bool {
        self.watch.is_unwatched()
    }

    pub(crate) fn path(&self) -> &Path {
        self.watch.path()
    }

    /// What the file said last.
    pub(crate) fn lease(&self) -> Option<&Lease> {
        self.told.as_ref()?.as_ref().ok()
    }

    /// When that ends; `None`: the file does not say.
    pub(crate) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// What the file says, if that is something else than before; an error is what is wrong with it.
    pub(crate) fn take_news(&mut self, now: Instant) -> Option<Result<Lease, String>> {
        let change = self.watch.take_change();
        if change == Change::None && self.told.is_some() {
            return None;
        }
        let (lease, left) = self.read(change == Change::Whole || self.told.is_none())?;
        if self.told.as_ref() == Some(&lease) {
            return None;
        }
        self.told = Some(lease.clone());
        self.ends = left.map(|left| now.saturating_add(left));
        Some(lease)
    }

    /// The lease, and how long it lasts; `None`: it is not all there yet.
    fn read(&self, is_closed: bool) -> Option<(Result<Lease, String>, Option<Duration>)> {
        let (text, written) = match small_file::read(self.path()) {
            Ok((bytes, about)) => match text_file::decode_lossy(&bytes) {
                Ok(text) => (text, about.modified()),
                Err(wrong) => return Some((Err(wrong.to_string()), None)),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Some((Ok(Lease::default()), None)),
            // A permission that was kept is of a folder, not of one that takes its place.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && has_given_up() => {
                return Some((Err(format!("{error}; start isatap again, should its folder be a new one")), None));
            }
            Err(error) => return Some((Err(error.to_string()), None)),
        };
        if !is_closed && !is_whole(&text) {
            return None;
        }
        let now = SystemTime::now();
        let written = written.unwrap_or(now);
        let lease = Lease::read(&text, written, self.device.as_deref());
        let left = lease.as_ref().ok().and_then(|lease| lease.left(written, now));
        Some((lease, left))
    }
}

impl AsFd for LeaseFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::io::Write as _;
    use std::path::PathBuf;
    use std::time::Instant as Time;

    const NOW: Instant = Instant::from_secs(5);

    /// A folder of one test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("isatap-lease-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    /// What the file says now, which is news.
    fn news(file: &mut LeaseFile) -> Option<String> {
        let lease = file.take_news(NOW).expect("news").unwrap();
        lease.option().map(|option| option.prefix().to_string())
    }

    #[test]
    fn a_file_that_comes_changes_and_goes_is_news_each_time() {
        let folder = folder("replaced");
        let path = folder.join("lease");
        let mut file = LeaseFile::open(&path, None).unwrap();
        assert!(file.is_unwatched());
        assert_eq!(file.take_news(NOW), Some(Ok(Lease::default())));
        fs::create_dir(&folder).unwrap();
        assert_eq!(file.take_news(NOW), None);
        assert!(!file.is_unwatched());
        fs::write(folder.join("other"), "x").unwrap();
        assert_eq!(file.take_news(NOW), None);
        for (number, prefix) in ["2001:db8::", "2001:db9::"].into_iter().enumerate() {
            // As careful programs do it, and as careless ones.
            let to = if number == 0 { folder.join("new") } else { path.clone() };
            fs::write(&to, format!("ip6rd='8 32 {prefix} 10.0.0.1'\n")).unwrap();
            fs::rename(&to, &path).unwrap();
            let news = file.take_news(NOW).unwrap().unwrap();
            assert_eq!(news.option().unwrap().prefix().address().to_string(), prefix);
        }
        fs::write(&path, "ip6rd=nonsense\n").unwrap();
        assert!(file.take_news(NOW).unwrap().is_err());
        fs::remove_file(&path).unwrap();
        assert_eq!(file.take_news(NOW), Some(Ok(Lease::default())));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn s6r_14_a_file_that_dhclient_keeps_open_is_followed() {
        let folder = folder("open");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("lease");
        let lease = |prefix: &str| {
            format!("lease {{\n  interface \"eth0\";\n  option option-6rd 8 32 {prefix} 10.0.0.1;\n}}\n")
        };
        let mut file = LeaseFile::open(&path, Some("eth0")).unwrap();
        assert_eq!(news(&mut file), None);
        let mut written = fs::File::create(&path).unwrap();
        assert_eq!(file.take_news(NOW), None, "nothing is written yet");
        written.write_all(lease("2001:db8::").as_bytes()).unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db8::/32"));
        let (head, rest) = (lease("2001:db9::"), lease("2001:db9::").split_off(40));
        written.write_all(&head.as_bytes()[..40]).unwrap();
        assert_eq!(file.take_news(NOW), None, "cut short");
        written.write_all(rest.as_bytes()).unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db9::/32"));
        // It writes all it knows anew from time to time.
        written.set_len(0).unwrap();
        assert_eq!(file.take_news(NOW), None, "emptied");
        drop(written);
        assert_eq!(news(&mut file), None, "and left so");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_link_is_followed_to_where_it_leads() {
        let folder = folder("link");
        fs::create_dir_all(folder.join("a")).unwrap();
        let path = folder.join("a/lease");
        let mut file = LeaseFile::open(&path, None).unwrap();
        assert_eq!(news(&mut file), None);
        std::os::unix::fs::symlink("../b/current", &path).unwrap();
        assert_eq!(file.take_news(NOW), None);
        assert!(file.is_unwatched(), "of its target's folder");
        fs::create_dir_all(folder.join("b")).unwrap();
        assert_eq!(file.take_news(NOW), None);
        assert!(!file.is_unwatched());
        fs::write(folder.join("b/current"), "ip6rd='8 32 2001:db8:: 10.0.0.1'\n").unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db8::/32"));
        fs::write(folder.join("other"), "ip6rd='8 32 2001:db9:: 10.0.0.1'\n").unwrap();
        std::os::unix::fs::symlink("../other", folder.join("a/new")).unwrap();
        fs::rename(folder.join("a/new"), &path).unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db9::/32"));
        fs::write(folder.join("other"), "ip6rd='8 32 2001:dba:: 10.0.0.1'\n").unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:dba::/32"));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_lease_ends_when_it_did_however_the_clock_is_set() {
        let folder = folder("clock");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("lease");
        let text = "ip6rd='8 32 2001:db8:: 10.0.0.1'\nlease=86400\n";
        fs::write(&path, text).unwrap();
        let early = SystemTime::UNIX_EPOCH + Duration::from_secs(20);
        fs::File::options().write(true).open(&path).unwrap().set_modified(early).unwrap();
        let mut file = LeaseFile::open(&path, None).unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db8::/32"));
        assert_eq!(file.ends(), Some(Instant::from_secs(86_405)));
        // The same lease again is no other one.
        fs::File::options().write(true).open(&path).unwrap().set_modified(early).unwrap();
        assert_eq!(file.take_news(Instant::from_secs(900)), None);
        assert_eq!(file.ends(), Some(Instant::from_secs(86_405)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_no_file_of_text_holds_nobody_and_one_odd_byte_spoils_nothing() {
        let folder = folder("odd");
        fs::create_dir(&folder).unwrap();
        let path = folder.join("lease");
        nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let began = Time::now();
        let mut file = LeaseFile::open(&path, None).unwrap();
        let why = file.take_news(NOW).unwrap().unwrap_err();
        assert!(why.contains("no regular file") && began.elapsed() < Duration::from_secs(1), "{why}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, b"hostname='caf\xe9'\nip6rd='8 32 2001:db8:: 10.0.0.1'\n").unwrap();
        assert_eq!(news(&mut file).as_deref(), Some("2001:db8::/32"));
        fs::File::options().write(true).open(&path).unwrap().set_len(2 << 20).unwrap();
        let why = file.take_news(NOW).unwrap().unwrap_err();
        assert!(why.contains("longer than 1 MiB"), "{why}");
        fs::remove_dir_all(&folder).unwrap();
    }
}
