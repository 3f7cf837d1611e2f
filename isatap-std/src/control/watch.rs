//! The client's side of `{"ask":"monitor"}`: all daemons of a network namespace, those that start
//! later too.

use super::Request;
use super::monitors::{PROCESS, line};
use crate::device::check_device;
use crate::error::Error;
use crate::runtime_dir::RuntimeDir;
use crate::signal::Signals;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// Hears what daemons tell.
#[derive(Debug)]
pub struct Watch {
    runtime: RuntimeDir,
    only: Option<String>,
    epoll: Epoll,
    inotify: Inotify,
    /// The folder of the sockets or, until it is there, one above it.
    watched: Option<(PathBuf, WatchDescriptor)>,
    daemons: Vec<Daemon>,
    /// Sockets that did not answer, and how often.
    waiting: Vec<(Place, u8)>,
    /// Whose daemons do not want to be watched, until their sockets are others.
    refused: Vec<Place>,
    /// The number of the last event that each process told of itself: one with several devices tells each
    /// once for every device.
    of_processes: BTreeMap<u32, u64>,
    next: u64,
}

/// Where a daemon is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    socket: PathBuf,
    /// `None`: about its rules of the port proxy.
    device: Option<String>,
}

/// What [`Watch::next`] hears.
#[derive(Debug)]
#[non_exhaustive]
pub enum Heard {
    /// An event, as `isatap monitor -j` prints it: an object on one line.
    Event(String),
    /// A daemon that cannot be watched.
    Problem(Error),
}

#[derive(Debug)]
struct Daemon {
    place: Place,
    /// As it says itself.
    process: u32,
    number: u64,
    stream: UnixStream,
    line: Vec<u8>,
    /// It has told something, and not its end.
    is_heard: bool,
    is_refused: bool,
}

const INOTIFY: u64 = 0;
const SIGNALS: u64 = 1;
const FIRST_DAEMON: u64 = 2;

/// A socket that is there answers in a moment, or is that of a daemon that was killed.
const TRIES: u8 = 50;
const WAIT_MILLIS: u8 = 100;

/// The longest line is that of the beginning.
const LONGEST_LINE: usize = 16 << 20;

impl Watch {
    /// Watches the daemon of one device, or all.
    ///
    /// # Errors
    ///
    /// A usage error for what is no device's name; out of descriptors.
    pub fn open(runtime: &RuntimeDir, device: Option<&str>) -> Result<Self, Error> {
        device.map(check_device).transpose()?;
        let refused = |errno: Errno| Error::refused("watch", runtime.path().display(), errno.into());
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(refused)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK).map_err(refused)?;
        epoll.add(&inotify, EpollEvent::new(EpollFlags::EPOLLIN, INOTIFY)).map_err(refused)?;
        let only = device.map(str::to_owned);
        let runtime = RuntimeDir::at(std::path::absolute(runtime.path()).unwrap_or_else(|_| runtime.path().to_owned()));
        let (watched, daemons, waiting, refused) = (None, Vec::new(), Vec::new(), Vec::new());
        let (of_processes, next) = (BTreeMap::new(), FIRST_DAEMON);
        let mut watch = Self { runtime, only, epoll, inotify, watched, daemons, waiting, refused, of_processes, next };
        watch.watch_folder()?;
        watch.look(&mut Vec::new())?;
        Ok(watch)
    }

    /// Whether no daemon is there to be heard; one that starts will be.
    pub fn is_idle(&self) -> bool {
        self.daemons.is_empty() && self.waiting.is_empty()
    }

    /// Waits for what daemons tell next; `None`: a signal asked to end.
    ///
    /// # Errors
    ///
    /// The kernel does not wait or watch, which is not expected.
    pub fn next(&mut self, signals: &mut Signals) -> Result<Option<Vec<Heard>>, Error> {
        let refused = |errno: Errno| Error::refused("wait for", "events", errno.into());
        // It stays while this value does: descriptors that are closed are not waited for.
        match self.epoll.add(signals.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, SIGNALS)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(refused(errno)),
        }
        let mut heard = Vec::new();
        while heard.is_empty() {
            let timeout = if self.waiting.is_empty() { EpollTimeout::NONE } else { EpollTimeout::from(WAIT_MILLIS) };
            let mut events = [EpollEvent::empty(); 32];
            let count = match self.epoll.wait(&mut events, timeout) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(errno) => return Err(refused(errno)),
            };
            let mut is_news = count == 0;
            for number in events.iter().take(count).map(EpollEvent::data) {
                match number {
                    SIGNALS if signals.take().is_some() => return Ok(None),
                    SIGNALS => {}
                    INOTIFY => {
                        self.folder_changed()?;
                        is_news = true;
                    }
                    number => is_news |= self.read(number, &mut heard),
                }
            }
            if is_news {
                self.look(&mut heard)?;
            }
        }
        Ok(Some(heard))
    }

    /// Connects to the daemons that are new.
    fn look(&mut self, heard: &mut Vec<Heard>) -> Result<(), Error> {
        let places = self.places();
        self.waiting.retain(|(place, _)| places.contains(place));
        for place in places {
            if self.daemons.iter().any(|daemon| daemon.place == place) || self.refused.contains(&place) {
                continue;
            }
            let tries = self.waiting.iter().find(|(waiting, _)| *waiting == place).map_or(0, |(_, tries)| *tries);
            self.waiting.retain(|(waiting, _)| *waiting != place);
            let Err(error) = self.connect(&place) else { continue };
            if tries < TRIES {
                self.waiting.push((place, tries + 1));
            } else if error.kind() != ErrorKind::ConnectionRefused {
                heard.push(Heard::Problem(Error::refused("watch", &place, error)));
                self.refused.push(place);
            }
        }
        Ok(())
    }

    /// Where there may be somebody to be heard.
    fn places(&self) -> Vec<Place> {
        let devices = self
            .runtime
            .devices()
            .into_iter()
            .map(|device| Place { socket: self.runtime.socket(&device), device: Some(device) });
        let rules = self.runtime.port_proxies().into_iter().map(|socket| Place { socket, device: None });
        let is_wanted = |place: &Place| self.only.is_none() || place.device == self.only;
        devices.chain(rules).filter(is_wanted).collect()
    }

    fn connect(&mut self, place: &Place) -> io::Result<()> {
        let mut stream = UnixStream::connect(&place.socket)?;
        let mut line = serde_json::to_vec(&Request::Monitor)?;
        line.push(b'\n');
        stream.write_all(&line)?;
        stream.set_nonblocking(true)?;
        let number = self.next;
        self.next += 1;
        self.epoll.add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, number))?;
        self.daemons.push(Daemon {
            place: place.clone(),
            process: 0,
            number,
            stream,
            line: Vec::new(),
            is_heard: false,
            is_refused: false,
        });
        Ok(())
    }

    /// What a daemon tells; `true`: it has hung up.
    fn read(&mut self, number: u64, heard: &mut Vec<Heard>) -> bool {
        let Some(at) = self.daemons.iter().position(|daemon| daemon.number == number) else { return false };
        let Some(daemon) = self.daemons.get_mut(at) else { return false };
        if daemon.read(&mut self.of_processes, heard) {
            return false;
        }
        let daemon = self.daemons.remove(at);
        if self.daemons.iter().all(|other| other.process != daemon.process) {
            // Its number may be another process's later.
            self.of_processes.remove(&daemon.process);
        }
        if daemon.is_refused {
            self.refused.push(daemon.place);
        } else if daemon.is_heard {
            // It was killed.
            let event = serde_json::json!({ "event": "ended" });
            let ended = line(daemon.process, daemon.place.device.as_deref(), &event);
            heard.push(Heard::Event(ended.trim_end().to_owned()));
        }
        true
    }

    /// Takes what inotify tells.
    fn folder_changed(&mut self) -> Result<(), Error> {
        while let Ok(events) = self.inotify.read_events() {
            for event in events {
                let of_folder = self.watched.as_ref().is_some_and(|(_, watched)| *watched == event.wd);
                if of_folder && event.mask.contains(AddWatchFlags::IN_IGNORED) {
                    self.watched = None;
                }
                self.refused.retain(|place| place.socket.file_name() != event.name.as_deref());
            }
        }
        self.watch_folder()
    }

    /// Watches the folder of the sockets, or the nearest above it that is there.
    fn watch_folder(&mut self) -> Result<(), Error> {
        // What is made between a look and its watch is seen by the next look.
        loop {
            let folder = self.runtime.path().ancestors().find(|folder| folder.is_dir()).unwrap_or(Path::new("/"));
            if self.watched.as_ref().is_some_and(|(watched, _)| watched == folder) {
                return Ok(());
            }
            let flags = AddWatchFlags::IN_CREATE
                | AddWatchFlags::IN_MOVED_TO
                | AddWatchFlags::IN_ATTRIB
                | AddWatchFlags::IN_ONLYDIR;
            match self.inotify.add_watch(folder, flags) {
                Ok(watch) => {
                    let before = self.watched.replace((folder.to_owned(), watch));
                    if let Some((_, before)) = before.filter(|(_, before)| *before != watch) {
                        let _ = self.inotify.rm_watch(before);
                    }
                }
                Err(Errno::ENOENT | Errno::ENOTDIR) => {}
                Err(errno) => return Err(Error::refused("watch the folder", folder.display(), errno.into())),
            }
        }
    }
}

impl Daemon {
    /// `false`: it has hung up.
    fn read(&mut self, of_processes: &mut BTreeMap<u32, u64>, heard: &mut Vec<Heard>) -> bool {
        let mut bytes = [0; 16 << 10];
        loop {
            let count = match self.stream.read(&mut bytes) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            self.line.extend_from_slice(bytes.get(..count).unwrap_or_default());
            while let Some(end) = self.line.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.line.drain(..=end).collect();
                heard.extend(self.understand(&line, of_processes));
            }
            if self.line.len() > LONGEST_LINE {
                return false;
            }
        }
    }

    /// What a line says; `None`: it was heard already.
    fn understand(&mut self, line: &[u8], of_processes: &mut BTreeMap<u32, u64>) -> Option<Heard> {
        let refused = |why: String| {
            let error = Error::refused("watch", &self.place, io::Error::other(why));
            Some(Heard::Problem(error))
        };
        let told: Value = match serde_json::from_slice(line) {
            Ok(told) => told,
            Err(error) => return refused(error.to_string()),
        };
        if let Some(why) = told.get("error").and_then(Value::as_str) {
            let heard = refused(why.to_owned());
            self.is_refused = true;
            return heard;
        }
        self.is_heard = told.get("event").and_then(Value::as_str) != Some("ended");
        let process = told.get("process").and_then(Value::as_u64);
        self.process = process.and_then(|process| u32::try_from(process).ok()).unwrap_or_default();
        let line = String::from_utf8(line.trim_ascii_end().to_vec()).ok()?;
        let is_of_process = told.get("scope").and_then(Value::as_str) == Some(PROCESS);
        if let Some(number) = told.get("number").and_then(Value::as_u64).filter(|_| is_of_process) {
            let last = of_processes.entry(self.process).or_default();
            if number <= *last {
                return None;
            }
            *last = number;
        }
        Some(Heard::Event(line))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.device {
            Some(device) => write!(f, "the daemon of {device}"),
            None => write!(f, "the port proxy at {}", self.socket.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::monitors::Monitors;
    use super::*;
    use serde_json::json;

    /// It reads the one connection whole before the other, as after a pause.
    #[test]
    fn what_a_process_tells_is_heard_once_however_much_it_is() {
        let mut monitors = Monitors::default();
        let mut daemons = ["t0", "t1"].map(|device| {
            let (ours, stream) = UnixStream::pair().unwrap();
            ours.set_nonblocking(true).unwrap();
            stream.set_nonblocking(true).unwrap();
            monitors.subscribe(Some(device), ours, &json!({ "event": "status" }));
            let place = Place { socket: PathBuf::new(), device: Some(device.to_owned()) };
            let (line, is_heard, is_refused) = (Vec::new(), false, false);
            Daemon { place, process: 0, number: 0, stream, line, is_heard, is_refused }
        });
        for count in 0..100 {
            monitors.tell(None, &json!({ "event": "warning", "text": count.to_string() }));
        }
        let (mut of_processes, mut heard) = (BTreeMap::new(), Vec::new());
        assert!(daemons.iter_mut().all(|daemon| daemon.read(&mut of_processes, &mut heard)));
        monitors.end(Some("t0"));
        monitors.tell(None, &json!({ "event": "warning", "text": "100" }));
        assert!(!daemons[0].read(&mut of_processes, &mut heard));
        assert!(daemons[1].read(&mut of_processes, &mut heard));
        let events = heard.iter().map(|heard| match heard {
            Heard::Event(line) => serde_json::from_str::<Value>(line).unwrap(),
            Heard::Problem(error) => panic!("{error}"),
        });
        let warnings: Vec<_> = events.filter_map(|told| told["text"].as_str()?.parse::<usize>().ok()).collect();
        assert_eq!(warnings, (0..=100).collect::<Vec<_>>());
    }
}
