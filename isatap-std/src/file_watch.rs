//! A file that somebody else writes, watched: it may come later, be replaced, be written in place, be a link, or be
//! mounted from elsewhere. Not seen is that another is mounted over it later, and that a folder on the way is a link
//! which leads elsewhere: who must not miss these looks from time to time.

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, InotifyEvent};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Readable when something may have happened to the file.
#[derive(Debug)]
pub(crate) struct FileWatch {
    path: PathBuf,
    inotify: Inotify,
    /// Whether its folder is there and watched, and that of whatever it links to.
    is_watched: bool,
}

/// How much of a changed file is there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// Nothing has happened.
    None,
    /// Somebody is writing.
    Torn,
    Whole,
}

/// How often a folder is looked for that is not there yet.
pub(crate) const FOLDER_WAIT: Duration = Duration::from_secs(5);

/// As many links in a row as anybody makes.
const MOST_LINKS: usize = 8;

/// What comes while somebody writes: the file may not be all there.
const WRITING: AddWatchFlags = AddWatchFlags::IN_MODIFY.union(AddWatchFlags::IN_CREATE);

impl FileWatch {
    /// # Errors
    ///
    /// Out of descriptors.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let mut file = Self { path: std::path::absolute(path)?, inotify, is_watched: false };
        file.watch();
        Ok(file)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nothing tells of changes, so that it is to be looked at from time to time.
    pub(crate) fn is_unwatched(&self) -> bool {
        !self.is_watched
    }

    /// The file and, where that is a link, what it leads to.
    fn places(&self) -> Vec<PathBuf> {
        let target = |link: &PathBuf| Some(link.parent()?.join(fs::read_link(link).ok()?));
        std::iter::successors(Some(self.path.clone()), target).take(MOST_LINKS).collect()
    }

    /// The folders, since the file may be replaced, and may not be there yet. The files too: what is written to one that
    /// is mounted here from elsewhere, as those of containers are, is told of its own folder, wherever that is. Some,
    /// such as dhclient, keep their file open, and write to it.
    fn watch(&mut self) {
        let changes = WRITING
            | AddWatchFlags::IN_CLOSE_WRITE
            | AddWatchFlags::IN_MOVED_TO
            | AddWatchFlags::IN_MOVED_FROM
            | AddWatchFlags::IN_DELETE
            | AddWatchFlags::IN_DELETE_SELF
            | AddWatchFlags::IN_MOVE_SELF;
        // What is watched already stays so.
        let watch = |place: &Path| self.inotify.add_watch(place, changes).is_ok();
        let mut is_watched = true;
        for file in self.places() {
            is_watched &= watch(file.parent().unwrap_or(Path::new("/")));
            // It may not be there yet.
            watch(&file);
        }
        self.is_watched = is_watched;
    }

    /// What has happened since the last call.
    pub(crate) fn take_change(&mut self) -> Change {
        let places = self.places();
        let names: Vec<&OsStr> = places.iter().filter_map(|place| place.file_name()).collect();
        // Who makes a link makes it as a whole.
        let is_link = |mask: AddWatchFlags| mask.contains(AddWatchFlags::IN_CREATE) && places.len() > 1;
        let of = |event: &InotifyEvent| match event.name.as_deref() {
            Some(name) if !names.contains(&name) => Change::None,
            _ if WRITING.contains(event.mask) && !is_link(event.mask) => Change::Torn,
            _ => Change::Whole,
        };
        let more = |one, other| match (one, other) {
            (Change::Whole, _) | (_, Change::Whole) => Change::Whole,
            (Change::Torn, _) | (_, Change::Torn) => Change::Torn,
            _ => Change::None,
        };
        let mut change = if self.is_watched { Change::None } else { Change::Whole };
        loop {
            match self.inotify.read_events() {
                Ok(events) => change = events.iter().map(of).fold(change, more),
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        if change != Change::None {
            self.watch();
        }
        change
    }
}

impl AsFd for FileWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
