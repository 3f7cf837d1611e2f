//! What becomes of connections: who is let in, where they lead, when they end.
//!
//! It decides, and its [`System`] does: the kernel of this machine, or a node of the lab. Nothing here
//! reads a clock or waits, and the bytes of a connection are moved by its flows alone.
//!
//! Time is the core's [`Instant`], which who calls can make: the lab's clock jumps, and
//! [`std::time::Instant`] comes from nothing but the clock of the machine.

use super::activity::Activity;
use super::admission::Admission;
use super::attempts::Attempts;
use super::connection::{Connection, Outcome, Stage};
use super::counters::{Cut, Refusal};
use super::flow::{BUFFER, Progress, Ready, Side};
use super::slots::{Id, Slots};
use super::system::{Opened, System};
use super::{End, Rule};
use crate::spec::{Direction, TargetHost};
use isatap_core::time::Instant;
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// All connections of all rules.
#[derive(Debug)]
pub(crate) struct Proxy<S: System> {
    slots: Slots<Connection<S>>,
    admission: Admission,
    due: BTreeSet<(Instant, Id)>,
    /// Connections that have had a turn and want another.
    more: Vec<Id>,
    /// What all flows read into.
    buffer: Box<[u8]>,
}

impl<S: System> Proxy<S> {
    pub(crate) fn new() -> Self {
        Self {
            slots: Slots::new(),
            admission: Admission::default(),
            due: BTreeSet::new(),
            more: Vec::new(),
            buffer: vec![0; BUFFER].into_boxed_slice(),
        }
    }

    /// A client was accepted.
    pub(crate) fn begin(
        &mut self,
        system: &mut S,
        rule: &Arc<Rule>,
        stream: S::Stream,
        client: SocketAddr,
        now: Instant,
    ) {
        let seat = match self.admission.admit(rule, client, || system.has_room(rule, &stream, now)) {
            Ok(seat) => seat,
            Err(refusal) => {
                rule.counters.refused(refusal);
                system.ended(rule, &stream, End::Refused(refusal));
                return system.reset(stream);
            }
        };
        let until = now.saturating_add(Duration::from_secs(rule.spec.connect_timeout.into()));
        let id = self.slots.insert(Connection {
            rule: rule.clone(),
            seat,
            client: Side::new(stream),
            stage: Stage::Resolving { until },
            due: None,
            activity: Activity::new(now),
            is_queued: false,
        });
        let watched = self.slots.get(id).map(|connection| system.watch(id, &connection.client.stream));
        if let Some(Err(refusal)) = watched {
            return self.end(system, id, End::Refused(refusal));
        }
        match rule.target() {
            Some((TargetHost::Address(address), port)) => match system.place(address, port) {
                Ok(place) => {
                    self.try_next(system, id, Attempts::new([place].into_iter(), until), Refusal::Other, now);
                }
                Err(refusal) => self.end(system, id, End::Refused(refusal)),
            },
            Some((TargetHost::Name(name), _)) => {
                let Some(Direction { to, .. }) = rule.spec.direction else { return };
                match system.addresses(name, to, id, now) {
                    Some(addresses) => self.resolved(system, id, &addresses, now),
                    None => self.look_again(id, Some(until)),
                }
            }
            None => self.end(system, id, End::Refused(Refusal::Other)),
        }
    }

    /// The target's name has these addresses.
    pub(crate) fn resolved(&mut self, system: &mut S, id: Id, addresses: &[IpAddr], now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        let Stage::Resolving { until } = connection.stage else { return };
        let Some((_, port)) = connection.rule.target() else { return };
        let places = addresses.iter().map(|address| SocketAddr::new(*address, port));
        self.try_next(system, id, Attempts::new(places, until), Refusal::Name, now);
    }

    /// `PPX-6`: connects to the next of these addresses, or the one behind if that fails at once.
    /// `last`: why the one before failed.
    fn try_next(&mut self, system: &mut S, id: Id, mut left: Attempts, mut last: Refusal, now: Instant) {
        while let Some((address, due)) = left.next(now) {
            let Some(connection) = self.slots.get(id) else { return };
            match system.connect(&connection.rule, id, address, now) {
                Ok(Opened { stream, own }) => {
                    self.admission.leads_to(&mut connection.seat, own);
                    connection.stage = Stage::Connecting { server: stream, left };
                    return self.look_again(id, Some(due));
                }
                Err(refusal) => last = refusal,
            }
        }
        self.end(system, id, End::Refused(last));
    }

    /// Something has happened to the stream of a client, or to the one to its target.
    pub(crate) fn event(&mut self, system: &mut S, id: Id, is_server: bool, ready: Ready, now: Instant) {
        // It may be gone since, for what happened to its other stream.
        let Some(connection) = self.slots.get(id) else { return };
        let side = match (&mut connection.stage, is_server) {
            (Stage::Open { server, .. }, true) => server,
            (Stage::Connecting { .. }, true) => {
                if ready.writable && self.connected(system, id, now) {
                    // The system tells once: a target that speaks first may have spoken by now.
                    self.event(system, id, is_server, ready, now);
                }
                return;
            }
            (Stage::Resolving { .. } | Stage::Changing, true) => return,
            (_, false) => &mut connection.client,
        };
        side.tell(ready);
        match connection.stage {
            // In its turn it sees what has changed.
            Stage::Open { .. } if connection.is_queued && !ready.is_error => {}
            Stage::Open { .. } => {
                self.carry(system, id, now);
                // What was sent before is through, as far as the other side took it.
                if ready.is_error {
                    self.end(system, id, End::Cut(Cut::Reset));
                }
            }
            _ if ready.is_error => self.end(system, id, End::Refused(Refusal::Client)),
            _ => {}
        }
    }

    /// Something has come of connecting; whether the connection is open.
    fn connected(&mut self, system: &mut S, id: Id, now: Instant) -> bool {
        let Some(connection) = self.slots.get(id) else { return false };
        match std::mem::replace(&mut connection.stage, Stage::Changing) {
            Stage::Connecting { server, left } => match system.connected(&server) {
                Ok(()) => {
                    let Ok(preface) = connection.preface(system) else {
                        system.reset(server);
                        self.end(system, id, End::Refused(Refusal::Client));
                        return false;
                    };
                    connection.open(server, preface, now);
                    let due = connection.idle_limit().map(|limit| connection.activity.due(limit));
                    self.look_again(id, due);
                    true
                }
                Err(refusal) => {
                    system.reset(server);
                    self.try_next(system, id, left, refusal, now);
                    false
                }
            },
            other => {
                connection.stage = other;
                false
            }
        }
    }

    fn carry(&mut self, system: &mut S, id: Id, now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        connection.is_queued = false;
        match connection.carry(system, &mut self.buffer, now) {
            Ok(Outcome::GoesOn(Progress::Waits)) => {}
            Ok(Outcome::GoesOn(Progress::HasMore)) => {
                connection.is_queued = true;
                self.more.push(id);
            }
            Ok(Outcome::Over) => self.end(system, id, End::Over),
            Err(_) => self.end(system, id, End::Cut(Cut::Reset)),
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        if !self.more.is_empty() {
            return Some(Instant::ZERO);
        }
        self.due.first().map(|(due, _)| *due)
    }

    /// Gives those who want it another turn, and ends what has waited too long.
    pub(crate) fn handle_timeout(&mut self, system: &mut S, now: Instant) {
        for id in std::mem::take(&mut self.more) {
            self.carry(system, id, now);
        }
        while let Some((_, id)) = self.due.first().copied().filter(|(due, _)| *due <= now) {
            self.due.pop_first();
            self.expire(system, id, now);
        }
    }

    fn expire(&mut self, system: &mut S, id: Id, now: Instant) {
        let Some(connection) = self.slots.get(id) else { return };
        connection.due = None;
        if let Some(limit) = connection.idle_limit().filter(|_| matches!(connection.stage, Stage::Open { .. })) {
            if connection.is_idle(system, limit, now) {
                return self.end(system, id, End::Cut(Cut::Idle));
            }
            let due = connection.activity.due(limit);
            return self.look_again(id, Some(due));
        }
        match std::mem::replace(&mut connection.stage, Stage::Changing) {
            Stage::Connecting { server, left } => {
                system.reset(server);
                self.try_next(system, id, left, Refusal::Timeout, now);
            }
            Stage::Resolving { .. } => self.end(system, id, End::Refused(Refusal::Name)),
            // Open, and may be idle for ever.
            other => connection.stage = other,
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

    /// Resets everything.
    pub(crate) fn stop(&mut self, system: &mut S) {
        for id in self.slots.ids() {
            self.end(system, id, End::Cut(Cut::Stopped));
        }
    }

    fn end(&mut self, system: &mut S, id: Id, end: End) {
        let Some(Connection { rule, seat, client, stage, due, .. }) = self.slots.remove(id) else { return };
        if let Some(due) = due {
            self.due.remove(&(due, id));
        }
        self.admission.release(&rule, seat);
        match end {
            End::Over => {}
            End::Cut(cut) => rule.counters.cut(cut),
            End::Refused(refusal) => rule.counters.refused(refusal),
        }
        system.ended(&rule, &client.stream, end);
        let server = match stage {
            Stage::Resolving { .. } | Stage::Changing => None,
            Stage::Connecting { server, .. } => Some(server),
            Stage::Open { server, .. } => Some(server.stream),
        };
        for stream in [Some(client.stream), server].into_iter().flatten() {
            match end {
                // Both ends were passed on, or are by closing.
                End::Over => system.close(stream),
                // PPX-7: neither side takes what it has for all there is.
                End::Cut(_) | End::Refused(_) => system.reset(stream),
            }
        }
    }
}
