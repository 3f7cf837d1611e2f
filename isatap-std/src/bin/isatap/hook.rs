//! Hooks: a command of the administrator's runs when an address, a prefix or a router changes.
//!
//! ```text
//! daemon, with few privileges ── events, JSON ──▶ helper ── environment ──▶ the command, one at a time
//! ```
//!
//! The helper is this program again. It starts before the daemon gives anything up, since the daemon
//! may start no program later; it keeps the rights that the administrator gave, or has those of the
//! hook's own user. The daemon tells it events and nothing else: which command runs, the helper
//! has from the command line or reads from the file itself. So whoever takes over the daemon can
//! tell lies to the hook, in letters, digits and a few signs, and have no other command run.

mod helper;
mod queue;

pub(crate) use self::helper::main_of_helper;

use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use isatap_std::Error;
use isatap_std::runtime_dir::{author, trusted};
use isatap_std::service::status::HooksStatus;
use isatap_std::service::{Hooks, LinkEvent, Notice};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

/// What the administrator wants.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// The command.
    pub(crate) hook: String,
    /// Whom it runs as; `None`: as who started the daemon.
    pub(crate) user: Option<String>,
    /// The file that a reload reads `hook` from.
    pub(crate) file: Option<String>,
}

/// What the daemon tells the helper: one a message.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Message {
    Event { dev: String, event: LinkEvent, lost: u64 },
    Reload,
}

/// What the helper tells the daemon after each change: one a message.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Report {
    /// What it runs; a reload may take that away.
    command: Option<String>,
    runs: u64,
    failures: u64,
    last_failure: Option<String>,
    /// Of the events that it was told: those that nothing is to be done for any more.
    settled: u64,
    /// And of these: those that there was no room for.
    overflowed: u64,
}

/// Longer ones there are none: the tables of a link are bounded.
const LONGEST_MESSAGE: usize = 64 << 10;

/// The first argument of the helper, which is for nobody else.
const HELPER: &str = "hook-helper";

/// The way to the helper.
#[derive(Debug)]
pub(crate) struct Feed {
    helper: File,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// It ends by itself, when the other end of its socket is closed and the last hook has run.
    process: Child,
    /// How it ended.
    ended: Option<String>,
    report: Report,
    /// When the last failure was told.
    failed: Option<Instant>,
    /// Events that it was told.
    sent: u64,
    /// Those that it could not be told; and the ones that it does not know of yet.
    unsent: u64,
    untold: u64,
}

impl Feed {
    /// Starts the helper. Call it before any privilege is given up.
    pub(crate) fn start(setup: &Setup) -> Result<Self, Error> {
        let user = setup.user.as_deref().map(find_user).transpose()?;
        check(Path::new(&setup.hook), user.as_ref().map(|user| user.uid))?;
        let refused = |error| Error::refused("start the helper of", &setup.hook, error);
        let (ours, theirs) = socketpair(AddressFamily::Unix, SockType::SeqPacket, None, SockFlag::SOCK_CLOEXEC)
            .map_err(|errno| refused(errno.into()))?;
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map_err(|errno| refused(errno.into()))?;
        let mut process = Command::new("/proc/self/exe")
            .arg(HELPER)
            .arg(serde_json::to_string(setup).unwrap_or_default())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(refused)?;
        let begun = process.stdout.take().map_or(Ok(()), |stdout| begun(BufReader::new(stdout)));
        if let Err(error) = begun {
            // It ends, and nobody else asks how.
            let _ = process.wait();
            return Err(refused(error));
        }
        let report = Report { command: Some(setup.hook.clone()), ..Report::default() };
        let (ended, failed) = (None, None);
        let state = State { process, ended, report, failed, sent: 0, unsent: 0, untold: 0 };
        Ok(Self { helper: File::from(ours), state: Mutex::new(state) })
    }

    /// Tells the helper what hooks run for. It never waits: what does not fit is counted.
    pub(crate) fn tell(&self, notice: &Notice) {
        let (dev, event) = match notice {
            Notice::Link { device, event } if is_for_hooks(event) => (device.clone(), event.clone()),
            Notice::Up { device, address, mtu } => (device.clone(), LinkEvent::Up { address: *address, mtu: *mtu }),
            _ => return,
        };
        let mut state = self.lock();
        if self.send(&Message::Event { dev, event, lost: state.untold }) {
            (state.sent, state.untold) = (state.sent + 1, 0);
        } else {
            (state.unsent, state.untold) = (state.unsent + 1, state.untold + 1);
        }
    }

    /// The file has changed: `hook` may be another.
    pub(crate) fn reload(&self) -> bool {
        self.send(&Message::Reload)
    }

    fn send(&self, message: &Message) -> bool {
        let Ok(bytes) = serde_json::to_vec(message) else { return false };
        // Full is no end: it works on what it has. Its end is heard where its reports are.
        (&self.helper).write_all(&bytes).is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Events that no run will come of.
    fn lost(&self) -> u64 {
        let with_it = if self.ended.is_some() { self.waiting() } else { 0 };
        self.unsent + self.report.overflowed + with_it
    }

    fn waiting(&self) -> u64 {
        self.sent.saturating_sub(self.report.settled)
    }

    /// The helper has ended, or is about to.
    fn end(&mut self) -> Notice {
        let how = self.process.wait().map_or_else(|error| error.to_string(), |status| status.to_string());
        let lost = match self.waiting() {
            0 => String::new(),
            1 => " (1 event is lost)".to_owned(),
            lost => format!(" ({lost} events are lost)"),
        };
        let text =
            format!("the process that runs hooks has ended, {how}: no hook runs any more{lost}; start isatap again");
        self.ended = Some(how);
        Notice::Warning(text)
    }
}

impl Hooks for Feed {
    fn news(&self) -> BorrowedFd<'_> {
        self.helper.as_fd()
    }

    fn take_news(&self) -> Option<Notice> {
        let mut bytes = vec![0; LONGEST_MESSAGE];
        loop {
            // Nobody else reads, and no hook waits for this lock.
            let mut state = self.lock();
            match (&self.helper).read(&mut bytes) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(count @ 1..) => {
                    let told = bytes.get(..count).unwrap_or_default();
                    let Ok(report) = serde_json::from_slice::<Report>(told) else { continue };
                    if report.failures > state.report.failures {
                        state.failed = Some(Instant::now());
                    }
                    state.report = report;
                }
                // The end, or a reset, where it had not read all that it was told.
                _ => return state.ended.is_none().then(|| state.end()),
            }
        }
    }

    fn status(&self) -> HooksStatus {
        let state = self.lock();
        let mut status = HooksStatus::default();
        status.command.clone_from(&state.report.command);
        (status.alive, status.ended) = (state.ended.is_none(), state.ended.clone());
        (status.runs, status.failures) = (state.report.runs, state.report.failures);
        status.last_failure.clone_from(&state.report.last_failure);
        status.failed = state.failed.map(|at| at.elapsed().as_secs());
        status.waiting = if status.alive { state.waiting() } else { 0 };
        status.lost = state.lost();
        status
    }
}

/// What the helper says in one line: why it could not begin, or nothing. Who ends before says no line.
fn begun(mut told: impl BufRead) -> io::Result<()> {
    let mut line = String::new();
    match (told.read_line(&mut line)?, line.trim_end()) {
        (0, _) => Err(io::Error::other("the process that is to run it has ended")),
        (_, "") => Ok(()),
        (_, why) => Err(io::Error::other(why.to_owned())),
    }
}

/// Whether something has changed that a hook may act on. Lifetimes are prolonged all the time.
fn is_for_hooks(event: &LinkEvent) -> bool {
    !matches!(
        event,
        LinkEvent::AddressChanged(_)
            | LinkEvent::RouteChanged(_)
            | LinkEvent::PrefixChanged { .. }
            | LinkEvent::Reloaded
            | LinkEvent::Info { .. }
            | LinkEvent::Warning { .. }
            | LinkEvent::Mended { .. }
    )
}

pub(crate) fn find_user(name: &str) -> Result<User, Error> {
    let found = User::from_name(name).map_err(|errno| Error::refused("look up the user", name, errno.into()))?;
    found.ok_or_else(|| {
        Error::usage("run hooks as the user", name, "there is none of this name")
            .with_advice(format!("useradd --system {name}, or name another user"))
    })
}

/// Whether this command may be run: nobody but root, us and the hook's user can have written it.
pub(crate) fn check(hook: &Path, user: Option<Uid>) -> Result<(), Error> {
    let shown = hook.display();
    let usage = |why: &'static str, advice: String| Err(Error::usage("run the hook", &shown, why).with_advice(advice));
    if !hook.is_absolute() {
        return usage("it is no whole path", "begin it with /".to_owned());
    }
    let found = std::fs::metadata(hook).map_err(|error| {
        Error::usage("run the hook", &shown, error.to_string()).with_advice("name a program or a script that is there")
    })?;
    if !found.is_file() {
        return usage("it is no file", "name a program or a script".to_owned());
    }
    if found.mode() & 0o111 == 0 {
        return usage("it is not executable", format!("chmod +x {shown}"));
    }
    author(&found, &trusted(user.map(Uid::as_raw))).or_else(|(why, command)| usage(why, format!("{command} {shown}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_helper_that_says_no_line_has_not_begun() {
        begun(&b"\n"[..]).unwrap();
        for (told, why) in [("", "has ended"), ("there is none of this name\n", "there is none of this name")] {
            assert!(begun(told.as_bytes()).unwrap_err().to_string().contains(why));
        }
    }
}
