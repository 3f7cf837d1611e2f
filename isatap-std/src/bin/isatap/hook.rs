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
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use isatap_std::Error;
use isatap_std::service::{LinkEvent, Notice};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};
use nix::unistd::{Uid, User};
use serde::{Deserialize, Serialize};

use crate::output::warn;

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

/// Longer ones there are none: the tables of a link are bounded.
const LONGEST_MESSAGE: usize = 64 << 10;

/// The first argument of the helper, which is for nobody else.
const HELPER: &str = "hook-helper";

/// The way to the helper.
#[derive(Debug)]
pub(crate) struct Feed {
    to: File,
    lost: AtomicU64,
    /// Whether it was told that nobody reads any more.
    has_ended: AtomicBool,
    // It ends by itself, when the other end is closed and the last hook has run.
    _helper: Child,
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
        let mut helper = Command::new("/proc/self/exe")
            .arg(HELPER)
            .arg(serde_json::to_string(setup).unwrap_or_default())
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::piped())
            .spawn()
            .map_err(refused)?;
        // It says in one line whether it could begin.
        let mut told = String::new();
        if let Some(stdout) = helper.stdout.take() {
            BufReader::new(stdout).read_line(&mut told).map_err(refused)?;
        }
        match told.trim_end() {
            "" => Ok(Self {
                to: File::from(ours),
                lost: AtomicU64::new(0),
                has_ended: AtomicBool::new(false),
                _helper: helper,
            }),
            why => Err(refused(std::io::Error::other(why.to_owned()))),
        }
    }

    /// Tells the helper what hooks run for. It never waits: what does not fit is counted.
    pub(crate) fn tell(&self, notice: &Notice) {
        let (dev, event) = match notice {
            Notice::Link { device, event } if is_for_hooks(event) => (device.clone(), event.clone()),
            Notice::Up { device, address, mtu } => (device.clone(), LinkEvent::Up { address: *address, mtu: *mtu }),
            _ => return,
        };
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if !self.send(&Message::Event { dev, event, lost }) {
            self.lost.fetch_add(lost + 1, Ordering::Relaxed);
        }
    }

    /// The file has changed: `hook` may be another.
    pub(crate) fn reload(&self) -> bool {
        self.send(&Message::Reload)
    }

    fn send(&self, message: &Message) -> bool {
        let Ok(bytes) = serde_json::to_vec(message) else { return false };
        let Err(error) = (&self.to).write_all(&bytes) else { return true };
        // Full is no end: it works on what it has.
        if error.kind() != std::io::ErrorKind::WouldBlock && !self.has_ended.swap(true, Ordering::Relaxed) {
            warn(format_args!(
                "the process that runs hooks has ended ({error}): no hook runs any more; start isatap again"
            ));
        }
        false
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
    let owners = [Some(Uid::from_raw(0)), Some(Uid::effective()), user];
    match found.mode() {
        _ if !found.is_file() => usage("it is no file", "name a program or a script".to_owned()),
        mode if mode & 0o111 == 0 => usage("it is not executable", format!("chmod +x {shown}")),
        mode if mode & 0o022 != 0 => usage("others may write to it", format!("chmod go-w {shown}")),
        _ if !owners.contains(&Some(Uid::from_raw(found.uid()))) => {
            usage("it belongs to another user", format!("chown root {shown}"))
        }
        _ => Ok(()),
    }
}
