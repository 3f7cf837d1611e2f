//! The thread that has all connections: one epoll, which tells each change once.

use super::connection::{Connection, Outcome, Source, Stage, connect, reset};
use super::counters::{Cut, Refusal};
use super::flow::{Progress, Side, Stock};
use super::names::{Known, Names};
use super::{Rule, socket_address};
use crate::error::Error;
use crate::service::{Notice, Observer};
use crate::spec::{Direction, TargetHost};
use crate::waker::Waker;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};
use slots::{Id, Slots};
use std::collections::{BTreeSet, HashMap};
use std::io::{self, ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd as _, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

mod slots;

/// What the worker is told.
pub(super) enum Command {
    /// A new rule and its listener, or another rule or listener for the one that has its number.
    Listen(Arc<Rule>, Arc<TcpListener>),
    /// Accept no more by the rule of this number. `PPX-13`: what runs goes on.
    Remove(u32),
    /// Reset everything, and end.
    Stop,
}

/// Connections accepted before others have their turn.
const BATCH: u32 = 64;
/// So long nothing is accepted when the system has no room for more. `PPX-12`
const PAUSE: Duration = Duration::from_millis(100);
/// Between two warnings of that.
const QUIET: Duration = Duration::from_secs(60);
/// Rules of one process may lead to each other so often. `PPX-12`
const MOST_ROUNDS: u8 = 8;

// Numbers in the epoll: beside these, of connections.
const BELL: u64 = u64::MAX;
const LISTENER: u64 = 1 << 63;

pub(super) struct Worker {
    epoll: Epoll,
    bell: UnixStream,
    commands: Receiver<Command>,
    observer: Observer,
    rules: HashMap<u32, (Arc<Rule>, Arc<TcpListener>)>,
    slots: Slots,
    /// Of each rule's limit for one source.
    sources: HashMap<(u32, Source), u32>,
    due: BTreeSet<(Instant, Id)>,
    /// Connections that have had a turn and want another.
    more: Vec<Id>,
    names: Names<Id>,
    stock: Stock,
    /// Our ends of connections to targets on this machine, and how many rounds those have had.
    own: HashMap<SocketAddr, u8>,
    paused: Option<Instant>,
    quiet_until: Option<Instant>,
}

/// How a connection ends.
#[derive(Clone, Copy)]
enum End {
    Over,
    Cut(Cut),
    Refused(Refusal),
}

impl Worker {
    /// `bell` is readable when there is a command; `waker` rings it.
    pub(super) fn new(
        bell: UnixStream,
        waker: Waker,
        commands: Receiver<Command>,
        observer: Observer,
    ) -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Self {
            epoll,
            bell,
            commands,
            observer,
            rules: HashMap::new(),
            slots: Slots::default(),
            sources: HashMap::new(),
            due: BTreeSet::new(),
            more: Vec::new(),
            names: Names::new(waker),
            stock: Stock::new(),
            own: HashMap::new(),
            paused: None,
            quiet_until: None,
        })
    }

    /// Goes on until it is told to stop, or whoever tells is gone.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                // Nothing can be waited for; who watches us sees that we end.
                Err(_) => break,
            };
            let now = Instant::now();
            let mut is_rung = false;
            for event in events.get(..count).unwrap_or_default() {
                match event.data() {
                    BELL => is_rung = true,
                    data if data & LISTENER != 0 => self.accept((data & u64::from(u32::MAX)) as u32, now),
                    data => self.event(data, event.events(), now),
                }
            }
            // Last: what a command closes may have had an event.
            if is_rung && !self.obey(now) {
                break;
            }
            for id in std::mem::take(&mut self.more) {
                self.carry(id, now);
            }
            self.expire(now);
        }
        for id in self.slots.ids() {
            self.end(id, End::Cut(Cut::Stopped));
        }
    }

    fn timeout(&self) -> EpollTimeout {
        if !self.more.is_empty() {
            return EpollTimeout::ZERO;
        }
        let first = self.due.first().map(|(due, _)| *due).into_iter().chain(self.paused).min();
        let Some(first) = first else { return EpollTimeout::NONE };
        // Rounded up: a wait of less than a millisecond must not become a busy loop.
        let left = first.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
        EpollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX))
    }

    /// `false`: it is to end.
    fn obey(&mut self, now: Instant) -> bool {
        let mut bytes = [0; 64];
        while let Ok(count) = self.bell.read(&mut bytes) {
            if count == 0 {
                return false;
            }
        }
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Listen(rule, listener) => {
                    let id = rule.id;
                    if let Some((known, same)) = self.rules.get_mut(&id)
                        && Arc::ptr_eq(same, &listener)
                    {
                        *known = rule;
                        continue;
                    }
                    if let Some((_, old)) = self.rules.insert(id, (rule, listener)) {
                        // While all are paused it is not there.
                        let _ = self.epoll.delete(&*old);
                    }
                    self.stock.most = most_descriptors();
                    if self.paused.is_none() {
                        self.watch_listener(id);
                    }
                }
                Command::Remove(id) => {
                    if let Some((_, listener)) = self.rules.remove(&id) {
                        // While all are paused it is not there.
                        let _ = self.epoll.delete(&*listener);
                    }
                }
                Command::Stop => return false,
            }
        }
        for (waiting, addresses) in self.names.take(now) {
            for id in waiting {
                self.resolved(id, &addresses, now);
            }
        }
        true
    }

    fn watch_listener(&mut self, id: u32) {
        let Some((rule, listener)) = self.rules.get(&id) else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER | u64::from(id));
        if let Err(errno) = self.epoll.add(&**listener, event) {
            let error = Error::refused("wait for connections at", &rule.spec.listen, errno.into());
            self.observer.notice(None, &Notice::Warning(error.to_string()));
        }
    }

    fn accept(&mut self, id: u32, now: Instant) {
        let Some((rule, listener)) = self.rules.get(&id).cloned() else { return };
        for _ in 0..BATCH {
            match listener.accept() {
                Ok((stream, client)) => self.begin(&rule, stream, client, now),
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock => return,
                    ErrorKind::Interrupted | ErrorKind::ConnectionAborted => {}
                    _ => return self.no_room(&rule, &error, now),
                },
            }
        }
    }

    /// `PPX-12`: no descriptor or memory for a client. It waits, and so do those behind it.
    fn no_room(&mut self, rule: &Rule, error: &io::Error, now: Instant) {
        rule.counters.refused(Refusal::NoRoom);
        self.warn(format!("cannot accept a connection at {}: {error}", rule.spec.listen), now);
        if self.paused.is_none() {
            for (_, listener) in self.rules.values() {
                let _ = self.epoll.delete(&**listener);
            }
        }
        self.paused = Some(now + PAUSE);
    }

    fn warn_of_descriptors(&mut self, rule: &Rule, now: Instant) {
        self.warn(format!("no descriptor is left for connections at {}: they are reset", rule.spec.listen), now);
    }

    /// Once a minute at most.
    fn warn(&mut self, what: String, now: Instant) {
        if self.quiet_until.is_none_or(|until| until <= now) {
            self.quiet_until = Some(now + QUIET);
            let advice = "raise the limit on open files (ulimit -n, LimitNOFILE=), or lower max-connections";
            self.observer.notice(None, &Notice::Warning(format!("{what}; {advice}")));
        }
    }

    /// A client is there.
    fn begin(&mut self, rule: &Arc<Rule>, stream: TcpStream, client: SocketAddr, now: Instant) {
        let source = Source::of(client.ip());
        let of_source = self.sources.get(&(rule.id, source)).copied().unwrap_or_default();
        let rounds = self.own.get(&client).map_or(0, |rounds| rounds + 1);
        let refusal = if rule.counters.now() >= rule.spec.max_connections.into() {
            Some(Refusal::TooMany)
        } else if of_source >= rule.spec.max_per_source {
            Some(Refusal::TooManyOfSource)
        } else if rounds > MOST_ROUNDS {
            Some(Refusal::Loop)
        } else if stream.as_raw_fd() >= self.stock.most {
            self.warn_of_descriptors(rule, now);
            Some(Refusal::NoRoom)
        } else {
            None
        };
        if let Some(refusal) = refusal {
            rule.counters.refused(refusal);
            return reset(stream);
        }
        let until = now + Duration::from_secs(rule.spec.connect_timeout.into());
        let ready = stream.set_nonblocking(true);
        let id = self.slots.insert(Connection {
            rule: rule.clone(),
            source,
            client: Side::new(stream),
            stage: Stage::Resolving { until },
            rounds,
            own: None,
            due: None,
            active: now,
            queued: 0,
            is_queued: false,
        });
        rule.counters.began();
        *self.sources.entry((rule.id, source)).or_default() += 1;
        let watched = ready.and_then(|()| match self.slots.get(id) {
            Some(connection) => watch(&self.epoll, &connection.client.stream, id.client()),
            None => Ok(()),
        });
        if let Err(error) = watched {
            return self.end(id, End::Refused(Refusal::of(&error)));
        }
        match rule.target() {
            Some((TargetHost::Address(address), port)) => {
                match socket_address(address.address, address.zone.as_deref(), port) {
                    Ok(address) => self.try_next(id, vec![address], until, Refusal::Other, now),
                    Err(_) => self.end(id, End::Refused(Refusal::Unreachable)),
                }
            }
            Some((TargetHost::Name(name), _)) => {
                let Some(Direction { to, .. }) = rule.spec.direction else { return };
                match self.names.addresses(name, to, now, id) {
                    Known::Addresses(addresses) => self.resolved(id, &addresses, now),
                    Known::Later => self.look_again(id, Some(until)),
                }
            }
            None => self.end(id, End::Refused(Refusal::Other)),
        }
    }

    /// The target's name has these addresses.
    fn resolved(&mut self, id: Id, addresses: &[IpAddr], now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        let Stage::Resolving { until } = connection.stage else { return };
        let Some((_, port)) = connection.rule.target() else { return };
        let addresses = addresses.iter().rev().map(|address| SocketAddr::new(*address, port)).collect();
        self.try_next(id, addresses, until, Refusal::Name, now);
    }

    /// `PPX-6`: connects to the last of these addresses, or the next one if that fails at once; each
    /// has its share of the time. `last`: why the one before failed.
    fn try_next(&mut self, id: Id, mut left: Vec<SocketAddr>, until: Instant, mut last: Refusal, now: Instant) {
        while let Some(address) = left.pop() {
            let Some(connection) = self.slots.get(id) else { return };
            let most = self.stock.most;
            let attempt = connect(address).and_then(|(server, own)| match server.as_raw_fd() < most {
                true => watch(&self.epoll, &server, id.server()).map(|()| (server, own)),
                false => Err(Errno::EMFILE.into()),
            });
            let (server, own) = match attempt {
                Ok(attempt) => attempt,
                Err(error) => {
                    last = Refusal::of(&error);
                    if error.raw_os_error() == Some(libc::EMFILE) {
                        let rule = connection.rule.clone();
                        self.warn_of_descriptors(&rule, now);
                    }
                    continue;
                }
            };
            if let Some(old) = std::mem::replace(&mut connection.own, own) {
                self.own.remove(&old);
            }
            if let Some(own) = own {
                self.own.insert(own, connection.rounds);
            }
            let shares = u32::try_from(left.len()).unwrap_or(u32::MAX).saturating_add(1);
            let share = until.saturating_duration_since(now) / shares;
            connection.stage = Stage::Connecting { server, left, until };
            return self.look_again(id, Some(now + share));
        }
        self.end(id, End::Refused(last));
    }

    /// Something has happened to a socket of a connection.
    fn event(&mut self, data: u64, flags: EpollFlags, now: Instant) {
        let (id, is_server) = Id::of(data);
        // It may be gone since, for what happened to its other socket.
        let Some(connection) = self.slots.get(id) else { return };
        let is_error = flags.contains(EpollFlags::EPOLLERR);
        let is_hangup = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
        let side = match (&mut connection.stage, is_server) {
            (Stage::Open { server, .. }, true) => server,
            (Stage::Connecting { .. }, true) => {
                let has_come = is_hangup || flags.contains(EpollFlags::EPOLLOUT);
                if has_come && self.connected(id, now) {
                    // The kernel tells once: a target that speaks first may have spoken by now.
                    self.event(data, flags, now);
                }
                return;
            }
            (Stage::Resolving { .. }, true) => return,
            (_, false) => &mut connection.client,
        };
        let ends = is_hangup || flags.contains(EpollFlags::EPOLLRDHUP);
        side.readable |= ends || flags.contains(EpollFlags::EPOLLIN);
        side.writable |= is_hangup || flags.contains(EpollFlags::EPOLLOUT);
        side.ends |= ends;
        match connection.stage {
            // In its turn it sees what has changed.
            Stage::Open { .. } if connection.is_queued && !is_error => {}
            Stage::Open { .. } => {
                self.carry(id, now);
                // What was sent before is through, as far as the other side took it.
                if is_error {
                    self.end(id, End::Cut(Cut::Reset));
                }
            }
            _ if is_error => self.end(id, End::Refused(Refusal::Client)),
            _ => {}
        }
    }

    /// Something has come of connecting; whether the connection is open.
    fn connected(&mut self, id: Id, now: Instant) -> bool {
        let Some(connection) = self.slots.get(id) else { return false };
        let unknown = Instant::now();
        let stage = std::mem::replace(&mut connection.stage, Stage::Resolving { until: unknown });
        let Stage::Connecting { server, left, until } = stage else {
            connection.stage = stage;
            return false;
        };
        match server.take_error() {
            Ok(None) => {
                if let Err(error) = connection.open(server, now) {
                    self.end(id, End::Refused(Refusal::of(&error)));
                    return false;
                }
                let idle = connection.rule.spec.idle_timeout;
                self.look_again(id, idle.map(|idle| now + Duration::from_secs(idle.into())));
                true
            }
            Ok(Some(error)) | Err(error) => {
                self.try_next(id, left, until, Refusal::of(&error), now);
                false
            }
        }
    }

    fn carry(&mut self, id: Id, now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        connection.is_queued = false;
        match connection.carry(&mut self.stock, now) {
            Ok(Outcome::GoesOn(Progress::Waits)) => {}
            Ok(Outcome::GoesOn(Progress::HasMore)) => {
                connection.is_queued = true;
                self.more.push(id);
            }
            Ok(Outcome::Over) => self.end(id, End::Over),
            Err(_) => self.end(id, End::Cut(Cut::Reset)),
        }
    }

    /// Sets when a connection is looked at although nothing has happened.
    fn look_again(&mut self, id: Id, due: Option<Instant>) {
        let Some(connection) = self.slots.get(id) else { return };
        if let Some(old) = std::mem::replace(&mut connection.due, due) {
            self.due.remove(&(old, id));
        }
        if let Some(due) = due {
            self.due.insert((due, id));
        }
    }

    fn expire(&mut self, now: Instant) {
        if self.paused.take_if(|until| *until <= now).is_some() {
            let ids: Vec<u32> = self.rules.keys().copied().collect();
            ids.into_iter().for_each(|id| self.watch_listener(id));
        }
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            let Some(connection) = self.slots.get(id) else { continue };
            connection.due = None;
            match &mut connection.stage {
                Stage::Resolving { .. } => self.end(id, End::Refused(Refusal::Name)),
                Stage::Connecting { left, until, .. } => {
                    let (left, until) = (std::mem::take(left), *until);
                    // The attempt ends when its socket is closed.
                    connection.stage = Stage::Resolving { until };
                    self.try_next(id, left, until, Refusal::Timeout, now);
                }
                Stage::Open { .. } => {
                    let Some(idle) = connection.rule.spec.idle_timeout else { continue };
                    let idle = Duration::from_secs(idle.into());
                    if connection.is_idle(idle, now) {
                        self.end(id, End::Cut(Cut::Idle));
                    } else {
                        let due = connection.active + idle;
                        self.look_again(id, Some(due));
                    }
                }
            }
        }
    }

    fn end(&mut self, id: Id, end: End) {
        let Some(connection) = self.slots.remove(id) else { return };
        if let Some(due) = connection.due {
            self.due.remove(&(due, id));
        }
        if let Some(own) = connection.own {
            self.own.remove(&own);
        }
        let key = (connection.rule.id, connection.source);
        if let Some(count) = self.sources.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                self.sources.remove(&key);
            }
        }
        let counters = &connection.rule.counters;
        counters.ended();
        match end {
            // Both ends were passed on, or are by closing.
            End::Over => return,
            End::Cut(cut) => counters.cut(cut),
            End::Refused(refusal) => counters.refused(refusal),
        }
        connection.reset();
    }
}

/// The descriptors of connections: all that the process may have, but a quarter, or 64, for the rest
/// of it. Links, their names and who asks for the status go on.
fn most_descriptors() -> RawFd {
    let (limit, _) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((u64::MAX, u64::MAX));
    RawFd::try_from(limit - (limit / 4).min(64)).unwrap_or(RawFd::MAX)
}

fn watch(epoll: &Epoll, stream: &TcpStream, number: u64) -> io::Result<()> {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLOUT | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    Ok(epoll.add(stream, EpollEvent::new(flags, number))?)
}
