//! One carried connection: the client's, the one to the target, and what goes between them.

use super::Rule;
use super::activity::Activity;
use super::admission::Seat;
use super::attempts::Attempts;
use super::flow::{Flow, Progress, Side};
use super::header::header;
use super::system::System;
use isatap_core::time::Instant;
use std::io;
use std::sync::Arc;
use std::time::Duration;

#[derive(Debug)]
pub(super) struct Connection<S: System> {
    /// As it was when the connection was accepted.
    pub(super) rule: Arc<Rule>,
    pub(super) seat: Seat,
    pub(super) client: Side<S::Stream>,
    pub(super) stage: Stage<S>,
    /// When it is looked at although nothing has happened.
    pub(super) due: Option<Instant>,
    pub(super) activity: Activity,
    /// It has had its turn and waits for another.
    pub(super) is_queued: bool,
}

#[derive(Debug)]
pub(super) enum Stage<S: System> {
    /// The target's name is looked up until then.
    Resolving { until: Instant },
    /// `PPX-6`: nothing is read from the client yet.
    Connecting { server: S::Stream, left: Attempts },
    /// To the target, and from it.
    Open { server: Side<S::Stream>, up: Flow<S::Piece>, down: Flow<S::Piece> },
    /// In the hands of who changes it.
    Changing,
}

/// What became of a turn.
#[derive(Debug)]
pub(super) enum Outcome {
    GoesOn(Progress),
    /// Both directions are over.
    Over,
}

impl<S: System> Connection<S> {
    /// `PPX-8`: what the target reads first, which may be who the client is.
    ///
    /// # Errors
    ///
    /// The client is gone.
    pub(super) fn preface(&self, system: &S) -> io::Result<Vec<u8>> {
        let Some(version) = self.rule.spec.proxy_protocol else { return Ok(Vec::new()) };
        let (client, listener) = system.ends(&self.client.stream)?;
        Ok(header(version, client, listener))
    }

    /// The target has accepted.
    pub(super) fn open(&mut self, server: S::Stream, preface: Vec<u8>, now: Instant) {
        let (up, down) = (Flow::preceded_by(preface), Flow::preceded_by(Vec::new()));
        self.stage = Stage::Open { server: Side::new(server), up, down };
        self.activity = Activity::new(now);
    }

    /// Carries both ways.
    ///
    /// # Errors
    ///
    /// One side was reset, or is gone.
    pub(super) fn carry(&mut self, system: &mut S, buffer: &mut [u8], now: Instant) -> io::Result<Outcome> {
        let Stage::Open { server, up, down } = &mut self.stage else { return Ok(Outcome::GoesOn(Progress::Waits)) };
        let upward = up.carry(system, &mut self.client, server, down.is_over, buffer);
        let downward = match &upward {
            Ok(_) => down.carry(system, server, &mut self.client, up.is_over, buffer),
            Err(_) => Ok(Progress::Waits),
        };
        let (to_target, to_client) = (up.take_carried(), down.take_carried());
        self.rule.counters.carried(to_target, to_client);
        if up.take_moved() | down.take_moved() {
            self.activity = Activity::new(now);
        }
        let (upward, downward) = (upward?, downward?);
        if up.is_over && down.is_over {
            return Ok(Outcome::Over);
        }
        let has_more = [upward, downward].contains(&Progress::HasMore);
        Ok(Outcome::GoesOn(if has_more { Progress::HasMore } else { Progress::Waits }))
    }

    /// How long it may be idle.
    pub(super) fn idle_limit(&self) -> Option<Duration> {
        self.rule.spec.idle_timeout.map(|seconds| Duration::from_secs(seconds.into()))
    }

    /// Whether it has been idle for so long.
    pub(super) fn is_idle(&mut self, system: &S, limit: Duration, now: Instant) -> bool {
        let Stage::Open { server, .. } = &self.stage else { return false };
        let (client, server) = (&self.client.stream, &server.stream);
        self.activity.is_idle(limit, now, || system.queued(client) + system.queued(server))
    }
}
