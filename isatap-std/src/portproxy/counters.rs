//! What rules count, written by the worker and read by who asks.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Why a connection was refused: its client got a reset, and nothing was carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The rule's limit for all.
    TooMany,
    /// The rule's limit for one source.
    TooManyOfSource,
    /// The target's name was not resolved.
    Name,
    /// The target refused.
    Target,
    /// The target, or the way to it, is not there.
    Unreachable,
    /// The target did not answer in time.
    Timeout,
    /// The connection came from this process, too many times round.
    Loop,
    /// No descriptors or memory for it.
    NoRoom,
    /// The client went before the target was there.
    Client,
    /// Something else that the kernel said.
    Other,
}

impl Refusal {
    pub(crate) const ALL: [Self; 10] = [
        Self::TooMany,
        Self::TooManyOfSource,
        Self::Name,
        Self::Target,
        Self::Unreachable,
        Self::Timeout,
        Self::Loop,
        Self::NoRoom,
        Self::Client,
        Self::Other,
    ];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too-many",
            Self::TooManyOfSource => "too-many-of-source",
            Self::Name => "name-not-resolved",
            Self::Target => "target-refused",
            Self::Unreachable => "target-unreachable",
            Self::Timeout => "target-timeout",
            Self::Loop => "loop",
            Self::NoRoom => "no-room",
            Self::Client => "client-gone",
            Self::Other => "other",
        }
    }
}

/// How a connection ended that was carried and did not end by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// One side was reset, or is gone.
    Reset,
    /// Nothing was sent for too long.
    Idle,
    /// The process ends.
    Stopped,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Both directions have ended.
    Over,
    /// It was carried.
    Cut(Cut),
    /// It was not.
    Refused(Refusal),
}

/// Of one rule. Who has its connections alone writes.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    now: AtomicU64,
    total: AtomicU64,
    to_target: AtomicU64,
    to_client: AtomicU64,
    reset: AtomicU64,
    idle: AtomicU64,
    refused: [AtomicU64; Refusal::ALL.len()],
}

impl Counters {
    pub(super) fn now(&self) -> u64 {
        self.now.load(Relaxed)
    }

    pub(super) fn began(&self) {
        self.now.fetch_add(1, Relaxed);
        self.total.fetch_add(1, Relaxed);
    }

    pub(super) fn ended(&self) {
        self.now.fetch_sub(1, Relaxed);
    }

    pub(super) fn carried(&self, to_target: u64, to_client: u64) {
        if to_target > 0 {
            self.to_target.fetch_add(to_target, Relaxed);
        }
        if to_client > 0 {
            self.to_client.fetch_add(to_client, Relaxed);
        }
    }

    pub(super) fn cut(&self, cut: Cut) {
        match cut {
            Cut::Reset => self.reset.fetch_add(1, Relaxed),
            Cut::Idle => self.idle.fetch_add(1, Relaxed),
            Cut::Stopped => 0,
        };
    }

    pub(super) fn refused(&self, refusal: Refusal) {
        let place = Refusal::ALL.iter().position(|one| *one == refusal);
        if let Some(counter) = place.and_then(|place| self.refused.get(place)) {
            counter.fetch_add(1, Relaxed);
        }
    }

    fn refusals(&self) -> BTreeMap<String, u64> {
        let all = Refusal::ALL.iter().zip(&self.refused).map(|(refusal, count)| (refusal, count.load(Relaxed)));
        all.filter(|(_, count)| *count > 0).map(|(refusal, count)| (refusal.as_str().to_owned(), count)).collect()
    }
}

/// What a rule of the port proxy says of itself.
///
/// With the feature `control` it serialises to the JSON of `isatap portproxy show -j`. Its keys are
/// stable; new ones may come.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "control", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct RuleStatus {
    /// `v4tov4`, `v4tov6`, `v6tov4` or `v6tov6`.
    pub direction: String,
    /// Where it listens.
    pub listen: String,
    /// What it connects to.
    pub connect: String,
    /// What of its address this machine lacks now, for people: it takes connections once that comes.
    #[cfg_attr(feature = "control", serde(default, skip_serializing_if = "Option::is_none"))]
    pub waiting: Option<String>,
    /// Connections that there are now, those that wait for the target included.
    pub connections: u64,
    /// Connections since the rule began that were not refused for a limit.
    pub total: u64,
    /// Bytes from clients to the target.
    pub bytes_to_target: u64,
    /// Bytes from the target to clients.
    pub bytes_to_client: u64,
    /// Connections that were refused by reason; only reasons that occurred.
    pub refused: BTreeMap<String, u64>,
    /// Connections that one side reset after they were there.
    pub reset: u64,
    /// Connections that ended because nothing was sent on them for too long.
    pub idle: u64,
}

impl RuleStatus {
    /// `waiting`: what of its address this machine lacks.
    pub(crate) fn of(rule: &super::Rule, waiting: Option<String>) -> Self {
        let counters = &rule.counters;
        Self {
            direction: rule.spec.direction.map_or("", |direction| direction.as_str()).to_owned(),
            listen: rule.spec.listen.to_string(),
            connect: rule.spec.connect.as_ref().map(ToString::to_string).unwrap_or_default(),
            waiting,
            connections: counters.now(),
            total: counters.total.load(Relaxed),
            bytes_to_target: counters.to_target.load(Relaxed),
            bytes_to_client: counters.to_client.load(Relaxed),
            refused: counters.refusals(),
            reset: counters.reset.load(Relaxed),
            idle: counters.idle.load(Relaxed),
        }
    }
}
