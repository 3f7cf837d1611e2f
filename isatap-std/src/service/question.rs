//! Names that a link needs IPv4 addresses of.

use super::contested::Contested;
#[cfg(feature = "control")]
use super::evidence::Names;
use super::status::{NameStep, NamesStatus};
use crate::error::Error;
use crate::file_watch::{Change, FOLDER_WAIT, FileWatch};
use crate::resolve::{Answer, Entry, Failure, Resolver, Settings, Step, Trial};
use crate::small_file;
use isatap_core::link::Locator;
use isatap_core::time::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What names brought.
pub(super) type Outcome = Result<Answer, Failure>;

/// A resolver, and what it brought last.
#[derive(Debug)]
pub(super) struct Question {
    resolver: Resolver,
    /// `None`: nothing of it depends on the configuration of the system's resolver.
    configuration: Option<Configuration>,
    /// Of the resolver's thread and the configuration's file.
    epoll: Epoll,
    settings: Settings,
    answer: Option<Outcome>,
    again_at: Option<Instant>,
    failures: u32,
    /// The configuration is another since it was asked.
    is_stale: bool,
    contested: Contested,
}

/// The first wait after names brought nothing; doubled each time, as the core does it.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(600);
/// How often a configuration is read though it is watched: the watch does not see all ([`FileWatch`]).
const LOOK: Duration = Duration::from_secs(60);
/// A configuration is written in steps: the servers, the search domains, the link to it.
const SETTLE: Duration = Duration::from_secs(1);

/// The configuration of the system's resolver, and what it said last.
#[derive(Debug)]
struct Configuration {
    path: PathBuf,
    /// `None`: nobody can watch it, so it is looked at from time to time.
    watch: Option<FileWatch>,
    text: Option<Vec<u8>>,
    look_at: Option<Instant>,
}

impl Configuration {
    fn open(path: &Path) -> Self {
        let watch = FileWatch::open(path).ok();
        let text = Self::read(path);
        Self { path: path.to_owned(), watch, text, look_at: Some(Instant::ZERO) }
    }

    /// One that cannot be read says nothing.
    fn read(path: &Path) -> Option<Vec<u8>> {
        small_file::read(path).ok().map(|(text, _)| text)
    }

    /// Something may have happened: it is looked at once that has settled.
    fn note(&mut self, now: Instant) {
        let change = self.watch.as_mut().map_or(Change::None, FileWatch::take_change);
        if change != Change::None {
            let settled = now.saturating_add(SETTLE);
            self.look_at = Some(self.look_at.map_or(settled, |at| at.min(settled)));
        }
    }

    /// Whether it says something else than before.
    fn has_changed(&mut self, now: Instant) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        if let Some(watch) = &mut self.watch {
            // It is watched where it leads to now.
            watch.take_change();
        }
        let is_unwatched = self.watch.as_ref().is_none_or(FileWatch::is_unwatched);
        self.look_at = Some(now.saturating_add(if is_unwatched { FOLDER_WAIT } else { LOOK }));
        let text = Self::read(&self.path);
        let before = std::mem::replace(&mut self.text, text);
        self.text != before
    }
}

impl Question {
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn new(settings: Settings) -> Result<Self, Error> {
        let resolver =
            Resolver::new(settings.clone()).map_err(|error| Error::refused("start", "the resolver's thread", error))?;
        let configuration = settings.steps.contains(&Step::Dns).then(|| Configuration::open(&settings.resolver_file));
        let watch = configuration.as_ref().and_then(|configuration| configuration.watch.as_ref());
        let begin = || {
            let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
            for fd in [Some(resolver.as_fd()), watch.map(AsFd::as_fd)].into_iter().flatten() {
                epoll.add(fd, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
            }
            Ok(epoll)
        };
        let epoll =
            begin().map_err(|errno: Errno| Error::refused("wait for", "the resolver's thread", errno.into()))?;
        Ok(Self {
            resolver,
            configuration,
            epoll,
            settings,
            answer: None,
            again_at: None,
            failures: 0,
            is_stale: false,
            contested: Contested::default(),
        })
    }

    /// Of the one that is given; `None`: by its address.
    ///
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn of(entry: &Entry) -> Result<Option<Self>, Error> {
        match entry {
            Entry::Address(_) => Ok(None),
            name @ Entry::Name(_) => {
                Self::new(Settings { routers: vec![name.clone()], ..Settings::default() }).map(Some)
            }
        }
    }

    /// Asks now. What is `own` cannot be the answer.
    pub(super) fn ask(&mut self, own: &[Locator]) {
        self.again_at = None;
        let own: Vec<Ipv4Addr> = own.iter().map(|locator| locator.address).collect();
        // An answer that is under way already serves as well.
        let _ = self.resolver.request(&own);
    }

    /// What was found out, once, and what was known before.
    pub(super) fn take(&mut self, now: Instant) -> Option<(Outcome, Option<Outcome>)> {
        if let Some(configuration) = &mut self.configuration {
            configuration.note(now);
        }
        let outcome = self.resolver.try_recv()?;
        if outcome.is_ok() {
            self.again_at = None;
            self.failures = 0;
        }
        let before = self.answer.replace(outcome.clone());
        Some((outcome, before))
    }

    /// `NAM-23`, `NAM-33`: who contradicts whom about the names, of what was [taken](Self::take) last, as far as it is
    /// news.
    pub(super) fn take_conflicts(&mut self, now: Instant) -> Vec<String> {
        let used = if self.settings.refuse_conflicts { "none" } else { "the first to answer" };
        let one = |trial: &Trial| {
            let Trial { step, name, conflict, .. } = trial;
            let conflict = conflict.as_ref()?;
            let text = format!(
                "the name {name} is contested on {}, by {step}: {conflict}; {used} is used",
                conflict.interface
            );
            Some(text)
        };
        self.contested.news(self.resolver.trials(), now).into_iter().filter_map(one).collect()
    }

    /// After a failure: sees to it that it is asked again, and gives the wait.
    pub(super) fn ask_later(&mut self, now: Instant) -> Duration {
        let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
        self.failures += 1;
        self.again_at = Some(now.saturating_add(wait));
        wait
    }

    /// After an answer: sees to it that it is asked again after this time.
    pub(super) fn ask_in(&mut self, now: Instant, wait: Duration) {
        self.again_at = Some(now.saturating_add(wait));
    }

    /// When to see whether to ask: [`is_reconfigured`](Self::is_reconfigured), [`ends_wait`](Self::ends_wait).
    pub(super) fn deadline(&self) -> Option<Instant> {
        let look_at = self.configuration.as_ref().and_then(|configuration| configuration.look_at);
        let stale = (self.is_stale && !self.resolver.is_pending()).then_some(Instant::ZERO);
        self.again_at.into_iter().chain(look_at).chain(stale).min()
    }

    /// `NAM-6`: whether the configuration of the system's resolver is another, which has settled. All that was found
    /// out is of the old one, so it is to be [asked](Self::ask) now.
    pub(super) fn is_reconfigured(&mut self, now: Instant) -> bool {
        self.is_stale |= self.configuration.as_mut().is_some_and(|configuration| configuration.has_changed(now));
        // Two questions at a time are one; what is under way may be of the old one.
        if self.resolver.is_pending() || !std::mem::take(&mut self.is_stale) {
            return false;
        }
        self.failures = 0;
        true
    }

    /// Whether it waits until it asks again.
    pub(super) fn waits(&self) -> bool {
        self.again_at.is_some()
    }

    /// Whether that is over now.
    pub(super) fn ends_wait(&mut self, now: Instant) -> bool {
        self.again_at.take_if(|at| *at <= now).is_some()
    }

    pub(super) fn answer(&self) -> Option<&Outcome> {
        self.answer.as_ref()
    }

    /// The names that were given; none: the protocol's own.
    pub(super) fn names(&self) -> String {
        let names: Vec<String> = self.settings.routers.iter().map(ToString::to_string).collect();
        if names.is_empty() { "isatap".to_owned() } else { names.join(", ") }
    }

    /// What each step said last, and how many answers were refused.
    pub(super) fn status(&self) -> NamesStatus {
        let refused = self.resolver.discards().iter();
        NamesStatus {
            steps: self.resolver.trials().iter().map(NameStep::of).collect(),
            refused: refused.map(|(reason, count)| (reason.as_str().to_owned(), count)).collect(),
        }
    }

    /// For the doctor.
    #[cfg(feature = "control")]
    pub(super) fn testimony(&self) -> Names {
        Names::of(&self.settings, self.resolver.is_pending(), self.answer.as_ref())
    }
}

impl AsFd for Question {
    /// Readable when [`take`](Self::take) is to be called.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::UdpSocket;

    const fn at(millis: u64) -> Instant {
        Instant::from_millis(10_000 + millis)
    }

    /// A folder of one test.
    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("isatap-question-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir(&folder).unwrap();
        folder
    }

    #[test]
    fn nam_6_changes_of_one_second_are_one_and_the_same_text_is_none() {
        let folder = folder("settle");
        let path = folder.join("resolv.conf");
        fs::write(&path, "nameserver 10.0.0.53\n").unwrap();
        let mut configuration = Configuration::open(&path);
        assert!(!configuration.has_changed(at(0)));
        assert_eq!(configuration.look_at, Some(at(60_000)), "the file is watched");
        fs::write(&path, "nameserver 10.0.0.54\n").unwrap();
        configuration.note(at(0));
        fs::write(&path, "nameserver 10.0.0.54\nsearch example.test\n").unwrap();
        configuration.note(at(900));
        assert!(!configuration.has_changed(at(999)));
        assert!(configuration.has_changed(at(1000)));
        assert!(!configuration.has_changed(at(3000)));
        // A program that writes what is there already.
        fs::write(folder.join("new"), "nameserver 10.0.0.54\nsearch example.test\n").unwrap();
        fs::rename(folder.join("new"), &path).unwrap();
        configuration.note(at(4000));
        assert_eq!(configuration.look_at, Some(at(5000)));
        assert!(!configuration.has_changed(at(5000)));
        // Where nothing can tell, it is looked at every five seconds.
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(folder.join("later/resolv.conf"), &path).unwrap();
        configuration.note(at(6000));
        assert!(configuration.has_changed(at(7000)));
        assert_eq!(configuration.look_at, Some(at(12_000)));
        fs::create_dir(folder.join("later")).unwrap();
        fs::write(folder.join("later/resolv.conf"), "").unwrap();
        assert!(configuration.has_changed(at(12_000)));
        assert_eq!(configuration.look_at, Some(at(72_000)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nam_6_a_change_that_no_watch_sees_is_found_within_a_minute() {
        let folder = folder("swapped");
        let link = |to: &str, name: &str| std::os::unix::fs::symlink(to, folder.join(name)).unwrap();
        for version in ["v1", "v2"] {
            fs::create_dir(folder.join(version)).unwrap();
            fs::write(folder.join(version).join("resolv.conf"), version).unwrap();
        }
        link("v1", "now");
        link("now/resolv.conf", "resolv.conf");
        let mut configuration = Configuration::open(&folder.join("resolv.conf"));
        assert!(!configuration.has_changed(at(0)));
        // The link of a folder on the way is another.
        link("v2", "new");
        fs::rename(folder.join("new"), folder.join("now")).unwrap();
        configuration.note(at(1000));
        assert!(!configuration.has_changed(at(59_999)));
        assert!(configuration.has_changed(at(60_000)));
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn nam_6_what_was_asked_by_the_old_configuration_is_asked_again_once_it_is_answered() {
        let folder = folder("stale");
        let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let settings = Settings {
            routers: vec!["router.example.test".parse().unwrap()],
            steps: vec![Step::Dns],
            nameservers: Some(vec![server.local_addr().unwrap()]),
            resolver_file: folder.join("resolv.conf"),
            ..Settings::default()
        };
        let mut question = Question::new(settings).unwrap();
        assert!(!question.is_reconfigured(at(0)));
        question.ask(&[]);
        let mut message = [0; 512];
        let (length, asker) = server.recv_from(&mut message).unwrap();
        fs::write(folder.join("resolv.conf"), "search example.test\n").unwrap();
        assert!(question.take(at(0)).is_none());
        assert_eq!(question.deadline(), Some(at(1000)));
        assert!(!question.is_reconfigured(at(1000)), "the answer is under way");
        assert_eq!(question.deadline(), Some(at(61_000)));
        // No such name.
        (message[2], message[3]) = (message[2] | 0x80, 3);
        server.send_to(&message[..length], asker).unwrap();
        let began = std::time::Instant::now();
        while question.take(at(2000)).is_none() {
            assert!(began.elapsed() < Duration::from_secs(10), "no answer");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(question.deadline(), Some(Instant::ZERO));
        assert!(question.is_reconfigured(at(2000)));
        assert!(!question.is_reconfigured(at(2000)) && question.deadline() == Some(at(61_000)));
        fs::remove_dir_all(&folder).unwrap();
    }
}
