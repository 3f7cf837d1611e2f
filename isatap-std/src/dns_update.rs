//! AAAA records of this node in the DNS, changed as its addresses change (RFC 2136), by updates
//! that a TSIG key signs (RFC 8945).
//!
//! Each name has a thread of its own, so that no loop waits for a server. It sends by TCP, half a
//! second after the last change, again after 5 seconds and at most 10 minutes where that failed,
//! and each hour where it did not, should somebody have changed the zone.
//!
//! Only records that this node made are replaced: an update takes for granted that the name has
//! exactly those. An update may be applied although its answer is lost. So its addresses are
//! remembered in the state folder before it is sent: they are this node's until an answer says what
//! became of them, for the daemon after one that was killed, or after a restart of the machine, too. That one
//! removes them, with or without new ones. At the end the records are removed.
//!
//! # Security limits
//!
//! Without a key the server has to trust this node's IPv4 address. Whoever reads the key file can
//! do what the server lets the key do: let it be this one name (`update-policy { grant KEY name
//! HOST. AAAA; };`). The name of the server, where one is given or the SOA record's is taken, is
//! looked up in the DNS, which proves nothing; but an update says nothing that is secret, and an
//! answer counts only with the key's signature.

mod connection;
mod key_file;
mod memory;
mod message;
#[cfg(test)]
mod tests;

use self::connection::Connections;
use self::memory::Memory;
use self::message::{Change, Verdict};
use crate::error::Error;
use crate::resolve::{AddressLookup as _, Name, ResolvConf, StubClient, WireName, first_answer, random_id, wire_name};
use crate::spec::{DnsServer, DnsUpdate};
use crate::text_file;
use crate::told::{Failure, Told};
use domain::base::iana::{Rcode, Rtype};
use domain::tsig::{Key, ValidationError};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// After a change: others mostly follow.
const SETTLE: Duration = Duration::from_millis(500);
const FIRST_RETRY: Duration = Duration::from_secs(5);
const LAST_RETRY: Duration = Duration::from_secs(600);
const REFRESH: Duration = Duration::from_secs(3600);
/// For links to get an address, before records go that an earlier daemon has left.
const LEFT: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 30 });
/// For one attempt, with all its questions.
const PATIENCE: Duration = Duration::from_secs(15);
/// For the last one of all names together, which a daemon's end waits for.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// What is known of a name.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) server: Option<SocketAddr>,
    pub(crate) addresses: Vec<Ipv6Addr>,
    pub(crate) updated: Option<Instant>,
    pub(crate) failure: Option<Failure>,
    /// Why the next daemon would not know the records.
    pub(crate) forgotten: Option<String>,
}

/// Keeps the records of one name. Its drop removes them, which takes 4 seconds at most from [`close`](Self::close) on.
#[derive(Debug)]
pub(crate) struct Updater {
    name: String,
    addresses: BTreeMap<String, BTreeSet<Ipv6Addr>>,
    /// `None`: no more is to come.
    wanted: Option<Sender<Vec<Ipv6Addr>>>,
    connections: Connections,
    /// When it was closed.
    closed: Option<Instant>,
    /// Dropped by the thread at its end.
    end: Receiver<()>,
    state: Arc<Mutex<State>>,
}

impl Updater {
    /// Reads the key and starts the thread.
    ///
    /// # Errors
    ///
    /// A usage error for a key file that cannot be used, or a name that cannot be.
    pub(crate) fn start(
        spec: &DnsUpdate,
        memory: Option<Result<&Path, String>>,
        tell: impl Fn(Told) + Send + 'static,
    ) -> Result<Self, Error> {
        let (key, name) = read(spec, None)?;
        let state = Arc::new(Mutex::new(State::default()));
        let (wanted, changes) = channel();
        let (alive, end) = channel::<()>();
        let connections = Connections::default();
        let memory = Memory::open(memory, name.as_str());
        let mut worker = Worker {
            zone: wire_name(&spec.zone),
            wire: wire_name(&name),
            name: name.as_str().to_owned(),
            spec: spec.clone(),
            key,
            published: memory.all().to_vec(),
            memory,
            wanted: Vec::new(),
            connections: connections.clone(),
            state: state.clone(),
            tell: Box::new(tell),
        };
        crate::thread::spawn("isatap-update", move || {
            worker.work(&changes);
            drop(alive);
        })
        .map_err(|error| Error::refused("start", "the thread of DNS updates", error))?;
        Ok(Self {
            name: name.as_str().to_owned(),
            addresses: BTreeMap::new(),
            wanted: Some(wanted),
            connections,
            closed: None,
            end,
            state,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn state(&self) -> State {
        lock(&self.state).clone()
    }

    /// A link has an address, or has it no more.
    pub(crate) fn follow(&mut self, device: &str, address: Ipv6Addr, is_there: bool) {
        if address.is_unicast_link_local() {
            return;
        }
        let own = self.addresses.entry(device.to_owned()).or_default();
        let is_changed = if is_there { own.insert(address) } else { own.remove(&address) };
        if is_changed {
            self.send();
        }
    }

    /// A link has ended.
    pub(crate) fn end(&mut self, device: &str) {
        if self.addresses.remove(device).is_some_and(|addresses| !addresses.is_empty()) {
            self.send();
        }
    }

    fn send(&self) {
        let all: BTreeSet<Ipv6Addr> = self.addresses.values().flatten().copied().collect();
        if let Some(wanted) = &self.wanted {
            // Its thread ends with this value alone.
            let _ = wanted.send(all.into_iter().collect());
        }
    }

    /// Begins to remove the records and does not wait for that, as drop does. What is being asked is cut.
    pub(crate) fn close(&mut self) {
        if self.closed.is_some() {
            // What is under way now removes them.
            return;
        }
        self.closed = Some(Instant::now());
        self.connections.cut();
        self.wanted = None;
    }
}

impl Drop for Updater {
    fn drop(&mut self) {
        self.close();
        let waited = self.closed.map_or(Duration::ZERO, |at| at.elapsed());
        let _ = self.end.recv_timeout((LAST_PATIENCE + Duration::from_secs(1)).saturating_sub(waited));
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The key, and the whole name.
fn read(spec: &DnsUpdate, owner: Option<u32>) -> Result<(Option<Key>, Name), Error> {
    let key = spec.key_file.as_deref().map(|path| key_file::load(path, owner)).transpose()?;
    Ok((key, full_name(spec)?))
}

/// Whether this machine can do this: its key file, which may be of the user `owner` too, and the name.
///
/// # Errors
///
/// A usage error for either that cannot be used.
#[cfg(feature = "file")]
pub(crate) fn check(spec: &DnsUpdate, owner: Option<u32>) -> Result<(), Error> {
    read(spec, owner).map(drop)
}

/// Within the zone, unless it ends in a dot.
fn full_name(spec: &DnsUpdate) -> Result<Name, Error> {
    let refused = |why: String| Error::usage("update the name in", spec.zone.as_str(), why);
    let name = match &spec.name {
        Some(name) => name.clone(),
        None => {
            let own = fs::read_to_string("/proc/sys/kernel/hostname")
                .map_err(|error| Error::refused("read", "/proc/sys/kernel/hostname", error))?;
            // The first label: what is behind it is the machine's own idea of its domain.
            let first = own.trim().split('.').next().unwrap_or_default();
            first.parse().map_err(|error| {
                refused(format!("this machine is called {first}: {error}")).with_advice("give a name")
            })?
        }
    };
    if !name.is_absolute() {
        let full = name.with_suffix(&spec.zone);
        return full.ok_or_else(|| refused(format!("{name} is too long in front of it")));
    }
    let within = format!(".{}", spec.zone.as_str());
    if name.as_str() == spec.zone.as_str() || name.as_str().ends_with(&within) {
        Ok(name)
    } else {
        Err(refused(format!("{name} is not within it")).with_advice("leave out the dot at its end"))
    }
}

struct Worker {
    spec: DnsUpdate,
    zone: WireName,
    wire: WireName,
    name: String,
    key: Option<Key>,
    /// What the name may have by us.
    memory: Memory,
    /// What the name has, as far as we know.
    published: Vec<Ipv6Addr>,
    wanted: Vec<Ipv6Addr>,
    connections: Connections,
    state: Arc<Mutex<State>>,
    tell: Box<dyn Fn(Told) + Send>,
}

impl Worker {
    fn work(&mut self, changes: &Receiver<Vec<Ipv6Addr>>) {
        self.tell_forgotten();
        let mut due = Instant::now() + if self.memory.all().is_empty() { REFRESH } else { LEFT };
        let mut wait = FIRST_RETRY;
        loop {
            match changes.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(wanted) => {
                    self.wanted = wanted;
                    (due, wait) = (Instant::now() + SETTLE, FIRST_RETRY);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let is_done = self.attempt(Instant::now() + PATIENCE);
                    due = Instant::now() + if is_done { REFRESH } else { wait };
                    wait = if is_done { FIRST_RETRY } else { (wait * 2).min(LAST_RETRY) };
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        self.wanted.clear();
        let ended = self.connections.mend().unwrap_or_else(Instant::now);
        self.attempt(ended + LAST_PATIENCE);
    }

    /// Tries, and tells how that went where it is news.
    fn attempt(&mut self, until: Instant) -> bool {
        let before = self.published.clone();
        let outcome = self.update(until);
        if self.connections.is_cut() && outcome.is_err() {
            // The last one comes, and says how that went.
            return false;
        }
        let known = lock(&self.state).failure.clone();
        let list = |addresses: &[Ipv6Addr]| addresses.iter().map(|address| format!(" {address}")).collect::<String>();
        let told = match (&outcome, &known) {
            (Ok(None), _) => None,
            (Ok(Some(_)), None) if before == self.published => None,
            (Ok(Some(server)), known) => {
                let has = if self.published.is_empty() { " no".to_owned() } else { list(&self.published) };
                let text = format!("DNS: {} has{has} AAAA by {server}", self.name);
                Some(if known.is_some() { Told::Mended(text) } else { Told::Done(text) })
            }
            (Err(why), Some(known)) if why == known => None,
            (Err(why), _) => Some(Told::Failed(format!("no DNS update of {}: {why}; it is tried again", self.name))),
        };
        let mut state = lock(&self.state);
        state.addresses = self.published.clone();
        match &outcome {
            Ok(server) => {
                state.failure = None;
                if server.is_some() {
                    (state.server, state.updated) = (*server, Some(Instant::now()));
                }
            }
            Err(why) => state.failure = Some(why.clone()),
        }
        drop(state);
        told.into_iter().for_each(|told| (self.tell)(told));
        self.tell_forgotten();
        outcome.is_ok()
    }

    /// Tells what the next daemon would not know, where that is news.
    fn tell_forgotten(&mut self) {
        let now = self.memory.failure().cloned();
        let before = std::mem::replace(&mut lock(&self.state).forgotten, now.clone());
        let told = match (now, before) {
            (now, before) if now == before => return,
            (Some(why), _) => {
                Told::Failed(format!("DNS: {why}: {} keeps its records, should this daemon be killed", self.name))
            }
            (None, _) => Told::Mended(format!("DNS: the records of {} are remembered again", self.name)),
        };
        (self.tell)(told);
    }

    /// Makes the records what they should be; the server that did it, if there was anything to do.
    fn update(&mut self, until: Instant) -> Result<Option<SocketAddr>, Failure> {
        if self.published.is_empty() && self.wanted.is_empty() && self.memory.all().is_empty() {
            return Ok(None);
        }
        let server = self.find_server(until)?;
        // Once more for records that are others than was thought.
        for _ in 0..3 {
            if self.send(server, until)? {
                return Ok(Some(server));
            }
            let there = self.look(server, until)?;
            let is_ours = there.iter().all(|there| self.memory.all().contains(there) || self.wanted.contains(there));
            if !is_ours && !self.spec.replace {
                let foreign: Vec<String> = there.iter().map(ToString::to_string).collect();
                let cause = format!("it has AAAA records that this daemon did not make ({})", foreign.join(", "));
                return Err(Failure::new(cause, "remove them, choose another name, or say replace"));
            }
            self.published = there;
        }
        Err(Failure::new("somebody else changes it all the time", "give it to one of both"))
    }

    /// `false`: the name has other records than it should have before.
    fn send(&mut self, server: SocketAddr, until: Instant) -> Result<bool, Failure> {
        let (expected, wanted) = (self.published.as_slice(), self.wanted.as_slice());
        let change = Change { zone: &self.zone, name: &self.wire, expected, wanted, ttl: self.spec.ttl };
        let before = self.memory.all().to_vec();
        let memory = &mut self.memory;
        let exchange = |id| -> io::Result<Verdict> {
            let (message, transaction) = message::update(id, &change, self.key.as_ref())?;
            // The server may do it although its answer never comes.
            let remember = || memory.set(&before, wanted);
            let answer = self.connections.ask(server, message.as_stream_slice(), until, remember)?;
            message::verdict(answer, id, transaction.as_ref())
        };
        match random_id().and_then(exchange).map_err(|error| unheard(server, &error))? {
            Verdict::Said(Rcode::NOERROR) => {
                self.memory.set(&[], &self.wanted);
                self.published = self.wanted.clone();
                Ok(true)
            }
            // A server that hands updates on says so too where only the answer was lost.
            Verdict::Said(rcode @ Rcode::SERVFAIL) => Err(self.refusal(server, rcode)),
            Verdict::Said(rcode) => {
                // It has done nothing.
                self.memory.set(&[], &before);
                match rcode {
                    Rcode::YXRRSET | Rcode::NXRRSET => Ok(false),
                    _ => Err(self.refusal(server, rcode)),
                }
            }
            Verdict::Signature(rcode, error) => Err(self.mistrust(server, rcode, error)),
        }
    }

    fn refusal(&self, server: SocketAddr, rcode: Rcode) -> Failure {
        let (zone, name) = (self.spec.zone.as_str(), &self.name);
        match rcode {
            Rcode::REFUSED => {
                let who = self
                    .key
                    .as_ref()
                    .map_or("this machine's address".to_owned(), |key| format!("the key {}", key.name()));
                let fix = format!("allow {who} to change {name} (in BIND update-policy or allow-update)");
                Failure::new(format!("{server} refuses it"), fix)
            }
            Rcode::NOTAUTH => {
                Failure::new(format!("{server} is not the server of the zone {zone}"), "name its primary server")
            }
            Rcode::NOTZONE => {
                Failure::new(format!("{server} does not find {name} in the zone {zone}"), "name the zone that it is in")
            }
            Rcode::NOTIMP | Rcode::FORMERR => {
                let cause = format!("{server} does not know updates ({rcode})");
                Failure::new(cause, "name a server that does, as BIND, Knot or NSD's primary")
            }
            Rcode::SERVFAIL => {
                Failure::new(format!("{server} failed"), "see its log; may it write the file of the zone?")
            }
            other => Failure::new(format!("{server} answers {other}"), "see its log"),
        }
    }

    /// What is wrong with a signature, ours or the server's.
    fn mistrust(&self, server: SocketAddr, rcode: Rcode, error: ValidationError) -> Failure {
        let key = self.key.as_ref().map(|key| key.name().to_string()).unwrap_or_default();
        let (cause, fix) = match error {
            ValidationError::ServerBadKey => (
                format!("{server} does not know the key {key}, or knows it with another algorithm (BADKEY)"),
                "give both the same file of tsig-keygen",
            ),
            ValidationError::ServerBadSig => (
                format!("{server} has another secret for the key {key} (BADSIG)"),
                "give both the same file of tsig-keygen",
            ),
            ValidationError::ServerBadTime { client, server: theirs } => (
                format!("the clock of {server} says {theirs} and ours {client}, in seconds since 1970 (BADTIME)"),
                "set the clock",
            ),
            ValidationError::ServerUnsigned if rcode != Rcode::NOERROR => return self.refusal(server, rcode),
            other => (
                format!("the answer of {server} does not count, since its signature is wrong ({other})"),
                "see whether another machine answers in its place",
            ),
        };
        Failure::new(cause, fix)
    }

    /// The addresses that the name has.
    fn look(&self, server: SocketAddr, until: Instant) -> Result<Vec<Ipv6Addr>, Failure> {
        let exchange = |id| -> io::Result<Vec<Ipv6Addr>> {
            let message = message::query(id, &self.wire, Rtype::AAAA, false)?;
            message::addresses(self.connections.ask(server, message.as_stream_slice(), until, || ())?, id, &self.wire)
        };
        let mut there = random_id().and_then(exchange).map_err(|error| unheard(server, &error))?;
        there.sort_unstable();
        Ok(there)
    }

    fn find_server(&self, until: Instant) -> Result<SocketAddr, Failure> {
        let resolvers = || {
            let text = text_file::read_lossy(Path::new("/etc/resolv.conf"));
            text.map(|text| ResolvConf::parse(&text)).map_err(|error| {
                Failure::new(format!("reading /etc/resolv.conf: {error}"), "name the server by its address")
            })
        };
        let (name, port) = match &self.spec.server {
            Some(DnsServer::Address(server)) => return Ok(*server),
            Some(DnsServer::Name(name, port)) => (name.clone(), *port),
            None => {
                let zone = self.spec.zone.as_str();
                let ask = |server, until| {
                    let exchange = |id| {
                        let message = message::query(id, &self.zone, Rtype::SOA, true)?;
                        message::primary(
                            self.connections.ask(server, message.as_stream_slice(), until, || ())?,
                            id,
                            &self.zone,
                        )
                    };
                    random_id().and_then(exchange).map_err(|error| match error.kind() {
                        io::ErrorKind::Other => crate::resolve::Failure::NoSuchName,
                        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => crate::resolve::Failure::Timeout,
                        _ => crate::resolve::Failure::Unreachable,
                    })
                };
                let primary = first_answer(&resolvers()?, until, ask).map_err(|failure| {
                    Failure::new(format!("the primary server of {zone} is not known: {failure}"), "name it")
                })?;
                let name = format!("{}.", primary.to_string().trim_end_matches('.'));
                let server = name.parse().map_err(|error| {
                    Failure::new(format!("the primary server {name} of {zone}: {error}"), "name another")
                });
                (server?, 53)
            }
        };
        let found = StubClient::new().addresses(&name, &resolvers()?, until);
        let unknown =
            |why: String| Failure::new(format!("no IPv4 address of the server {name}: {why}"), "name another");
        let found = found.map_err(|failure| unknown(failure.to_string()))?;
        let first = found.addresses.first().ok_or_else(|| unknown("it has none".to_owned()))?;
        Ok(SocketAddr::new(IpAddr::V4(*first), port))
    }
}

fn unheard(server: SocketAddr, error: &io::Error) -> Failure {
    let port = server.port();
    match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::new(
            format!("{server} does not answer by TCP"),
            format!("let TCP to its port {port} through on the way, or name another server"),
        ),
        io::ErrorKind::UnexpectedEof => Failure::new(format!("{server} hung up"), "see its log"),
        _ => Failure::new(format!("asking {server}: {error}"), format!("see whether it listens at TCP port {port}")),
    }
}
