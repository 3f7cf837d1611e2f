//! The thread that has all connections: one epoll, which tells each change once.

use super::Rule;
use super::counters::Refusal;
use super::flow::Ready;
use super::kernel::Kernel;
use super::proxy::Proxy;
use super::slots::Id;
use crate::clock::Clock;
use crate::error::Error;
use crate::service::{Notice, Observer};
use crate::waker::Waker;
use isatap_core::time::Instant;
use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::collections::HashMap;
use std::io::{self, ErrorKind, Read as _};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::Duration;

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

// Numbers in the epoll: beside these, of connections.
const BELL: u64 = u64::MAX;
const LISTENER: u64 = 1 << 63;

pub(super) struct Worker {
    system: Kernel,
    proxy: Proxy<Kernel>,
    clock: Clock,
    bell: UnixStream,
    commands: Receiver<Command>,
    rules: HashMap<u32, (Arc<Rule>, Arc<TcpListener>)>,
    paused: Option<Instant>,
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
            system: Kernel::new(epoll, waker, observer),
            proxy: Proxy::new(),
            clock: Clock::start(),
            bell,
            commands,
            rules: HashMap::new(),
            paused: None,
        })
    }

    /// Goes on until it is told to stop, or whoever tells is gone.
    pub(super) fn run(mut self) {
        let mut events = [EpollEvent::empty(); 256];
        loop {
            let count = match self.system.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                // Nothing can be waited for; who watches us sees that we end.
                Err(_) => break,
            };
            let now = self.clock.now();
            let mut is_rung = false;
            for event in events.get(..count).unwrap_or_default() {
                match event.data() {
                    BELL => is_rung = true,
                    data if data & LISTENER != 0 => self.accept((data & u64::from(u32::MAX)) as u32, now),
                    data => {
                        let (id, is_server) = Id::of(data);
                        self.proxy.event(&mut self.system, id, is_server, ready(event.events()), now);
                    }
                }
            }
            // Last: what a command closes may have had an event.
            if is_rung && !self.obey(now) {
                break;
            }
            if self.paused.take_if(|until| *until <= now).is_some() {
                let ids: Vec<u32> = self.rules.keys().copied().collect();
                ids.into_iter().for_each(|id| self.watch_listener(id));
            }
            self.proxy.handle_timeout(&mut self.system, now);
        }
        self.proxy.stop(&mut self.system);
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(first) = self.proxy.poll_timeout().into_iter().chain(self.paused).min() else {
            return EpollTimeout::NONE;
        };
        // Rounded up: a wait of less than a millisecond must not become a busy loop.
        let left = self.clock.until(first).as_nanos().div_ceil(1_000_000);
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
                        let _ = self.system.epoll.delete(&*old);
                    }
                    self.system.count_descriptors();
                    if self.paused.is_none() {
                        self.watch_listener(id);
                    }
                }
                Command::Remove(id) => {
                    if let Some((_, listener)) = self.rules.remove(&id) {
                        // While all are paused it is not there.
                        let _ = self.system.epoll.delete(&*listener);
                    }
                }
                Command::Stop => return false,
            }
        }
        for (waiting, addresses) in self.system.names.take(now) {
            for id in waiting {
                self.proxy.resolved(&mut self.system, id, &addresses, now);
            }
        }
        true
    }

    fn watch_listener(&mut self, id: u32) {
        let Some((rule, listener)) = self.rules.get(&id) else { return };
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER | u64::from(id));
        if let Err(errno) = self.system.epoll.add(&**listener, event) {
            let error = Error::refused("wait for connections at", &rule.spec.listen, errno.into());
            self.system.observer.notice(None, &Notice::Warning(error.to_string()));
        }
    }

    fn accept(&mut self, id: u32, now: Instant) {
        let Some((rule, listener)) = self.rules.get(&id).cloned() else { return };
        for _ in 0..BATCH {
            match listener.accept() {
                Ok((stream, client)) => self.proxy.begin(&mut self.system, &rule, stream, client, now),
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
        self.system.warn(&format!("cannot accept a connection at {}: {error}", rule.spec.listen), now);
        if self.paused.is_none() {
            for (_, listener) in self.rules.values() {
                let _ = self.system.epoll.delete(&**listener);
            }
        }
        self.paused = Some(now.saturating_add(PAUSE));
    }
}

/// What the epoll says of a connection.
fn ready(flags: EpollFlags) -> Ready {
    let is_error = flags.contains(EpollFlags::EPOLLERR);
    let is_hangup = flags.intersects(EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR);
    let ends = is_hangup || flags.contains(EpollFlags::EPOLLRDHUP);
    Ready {
        readable: ends || flags.contains(EpollFlags::EPOLLIN),
        writable: is_hangup || flags.contains(EpollFlags::EPOLLOUT),
        ends,
        is_error,
    }
}
