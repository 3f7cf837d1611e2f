//! Qualification and maintenance: how a client learns its mapped address and
//! keeps it. [RFC 4380 §5.2.1, §5.2.5, RFC 5991 §3.2, RFC 6081 §5.1.1]
//!
//! [`judge`] says whether a Router Advertisement counts; [`Qualification`]
//! is the machine that asks for them. It sends nothing itself: it says which
//! solicitation is [`wanted`](Qualification::wanted).
//!
//! What is trusted here is a nonce: whoever saw the solicitation (the NAT,
//! the server, any network between) can answer it. Nobody else can.

mod advertisement;

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

pub use self::advertisement::{Advertisement, judge};
use super::addr::{Address, CLIENT_LINK_LOCAL, CLIENT_LINK_LOCAL_CONE, Flags, SERVER_PORT};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, uniform};
use crate::time::{Duration, Expiry, Instant};

/// Time between two solicitations. [RFC 4380 §5.2.1]
pub const SOLICITATION_INTERVAL: Duration = Duration::from_secs(4);

/// Solicitations of one phase. [RFC 4380 §5.2.1]
pub const SOLICITATIONS: u8 = 3;

/// How long the server may be silent at most, unless configured.
/// [RFC 4380 §5.2]
pub const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// A refresh interval is no shorter, whatever is configured.
const SHORTEST_REFRESH: Duration = Duration::from_secs(1);

/// The first pause of a client that is off-line, unless configured; it doubles,
/// up to [`LONGEST_PAUSE`]. The RFC has no rule; miredo waits as long.
pub const FIRST_PAUSE: Duration = Duration::from_secs(100);

/// See [`FIRST_PAUSE`].
pub const LONGEST_PAUSE: Duration = Duration::from_secs(3600);

/// The kind of the NAT that a client is behind, as far as it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum NatKind {
    /// There is none: the mapped address is the own one.
    None,
    /// Anybody can send to the mapped address. Found in the cone phase only.
    Cone,
    /// The mapping is the same for every destination.
    Restricted,
    /// Every destination sees another mapping.
    Symmetric,
    /// Only one server was asked.
    Unknown,
}

impl NatKind {
    /// The kind's name in kebab-case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            NatKind::None => "none",
            NatKind::Cone => "cone",
            NatKind::Restricted => "restricted",
            NatKind::Symmetric => "symmetric",
            NatKind::Unknown => "unknown",
        }
    }
}

/// Why a client is off-line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OfflineReason {
    /// It was not started, or has no IPv4 address.
    NotStarted,
    /// The server did not answer.
    ServerSilent,
    /// The secondary server did not answer.
    SecondarySilent,
    /// The NAT is symmetric, and that is not to be supported.
    SymmetricNat,
}

impl OfflineReason {
    /// The reason in kebab-case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            OfflineReason::NotStarted => "not-started",
            OfflineReason::ServerSilent => "server-silent",
            OfflineReason::SecondarySilent => "secondary-silent",
            OfflineReason::SymmetricNat => "symmetric-nat",
        }
    }
}

/// How far a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Not reachable; tries again after a pause, if it was started.
    Offline(OfflineReason),
    /// Asks for an answer from the server's other address. [RFC 4380 §5.2.1]
    Cone,
    /// Asks the server.
    Primary,
    /// Asks the secondary server.
    Secondary,
    /// Has an address.
    Qualified,
    /// Has an address, and asks whether it still holds.
    Maintenance,
}

/// How a client qualifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QualifyConfig {
    /// The server's primary address.
    pub server: Ipv4Addr,
    /// The secondary server; `None`: none is asked, and the kind of the NAT
    /// stays unknown. By convention the address behind the primary one.
    pub secondary: Option<Ipv4Addr>,
    /// Tries the cone phase first. RFC 5991 §3.2: off.
    pub cone_phase: bool,
    /// Goes on behind a symmetric NAT. [RFC 6081 §3.1]
    pub symmetric_nat: bool,
    /// How long the server may be silent at most.
    pub refresh_interval: Duration,
    /// Takes advertisements of the prefix that Windows XP used. `TER-7`
    pub accept_obsolete_prefix: bool,
    /// See [`FIRST_PAUSE`].
    pub first_pause: Duration,
    /// Counts private IPv4 addresses as global ones, for labs: see
    /// [`is_usable`](super::ingress::is_usable).
    pub accept_bogons: bool,
}

impl QualifyConfig {
    /// What the RFCs recommend, with this server.
    #[must_use]
    pub const fn new(server: Ipv4Addr) -> Self {
        QualifyConfig {
            server,
            secondary: Some(Ipv4Addr::from_bits(server.to_bits().wrapping_add(1))),
            cone_phase: false,
            symmetric_nat: true,
            refresh_interval: REFRESH_INTERVAL,
            accept_obsolete_prefix: true,
            first_pause: FIRST_PAUSE,
            accept_bogons: false,
        }
    }

    /// Both servers; twice the primary one if there is no other.
    #[must_use]
    pub fn servers(&self) -> [Ipv4Addr; 2] {
        [self.server, self.secondary.unwrap_or(self.server)]
    }
}

/// A solicitation to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Solicitation {
    /// To which server.
    pub to: SocketAddrV4,
    /// From which link-local address: it carries the cone bit.
    pub source: Ipv6Addr,
    /// The nonce, which the answer repeats.
    pub nonce: [u8; 8],
}

/// What an advertisement or a deadline changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing that others see.
    None,
    /// The client is qualified, at this mapping.
    Qualified,
    /// The mapping or the address is another one.
    Moved,
    /// The client has lost its mapping.
    Lost,
}

/// What an address is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Mapped {
    /// How the NAT shows the client to its server.
    pub(super) mapping: SocketAddrV4,
    /// The IPv4 address for bits 32 to 63.
    server: Ipv4Addr,
    nat: NatKind,
}

impl Mapped {
    /// `TER-2 [RFC 5991 §3.1]`: 12 random bits for each address formed.
    pub(super) fn address(&self, entropy: &mut dyn Entropy) -> Ipv6Addr {
        let mut random = [0; 2];
        entropy.fill(&mut random);
        let mut flags = Flags::from_random(u16::from_be_bytes(random));
        flags.set(Flags::CONE, self.nat == NatKind::Cone);
        Address { server: self.server, flags, port: self.mapping.port(), client: *self.mapping.ip() }.to_ipv6()
    }
}

/// What is asked of the server, and from when on its answer counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Question {
    /// One a phase: an answer may be to an earlier solicitation.
    nonce: [u8; 8],
    sent: u8,
    /// A solicitation waits to be polled.
    wanted: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Phase {
    Cone,
    Primary,
    /// With what the first server saw.
    Secondary(Mapped),
    Maintenance(Mapped),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Offline(OfflineReason),
    /// `None`: the nonce is to be drawn.
    Asking(Phase, Option<Question>),
    /// How long the server may be silent this time; `None`: to be drawn.
    Qualified(Mapped, Option<Duration>),
}

impl Phase {
    /// The cone bit is that of the phase, and later of what qualified.
    fn is_cone(&self) -> bool {
        matches!(self, Phase::Cone | Phase::Maintenance(Mapped { nat: NatKind::Cone, .. }))
    }

    fn source(&self) -> Ipv6Addr {
        if self.is_cone() { CLIENT_LINK_LOCAL_CONE } else { CLIENT_LINK_LOCAL }
    }

    /// Whom the phase asks.
    fn asked(&self, config: &QualifyConfig) -> Ipv4Addr {
        let [primary, secondary] = config.servers();
        if matches!(self, Phase::Secondary(_)) { secondary } else { primary }
    }

    /// Who answers the phase: with the cone bit the other address.
    fn answering(&self, config: &QualifyConfig) -> Ipv4Addr {
        let [_, secondary] = config.servers();
        if self.is_cone() { secondary } else { self.asked(config) }
    }
}

/// The machine.
///
/// ```text
/// Offline ─▶ Cone (if asked for) ─▶ Primary ─▶ Secondary ─▶ Qualified ◀─▶ Maintenance
///    ▲         three in vain: ▲──┘      └───────────┴─ three in vain           │
///    └──────────────────────────────────────────────┘        Primary ◀─────────┘
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Qualification {
    state: State,
    deadline: Expiry,
    /// When a valid packet of the server came last.
    heard: Instant,
    pauses: u8,
}

impl Default for Qualification {
    fn default() -> Self {
        Self::new()
    }
}

impl Qualification {
    /// A client that was not started.
    #[must_use]
    pub const fn new() -> Self {
        let state = State::Offline(OfflineReason::NotStarted);
        Qualification { state, deadline: Expiry::NEVER, heard: Instant::ZERO, pauses: 0 }
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        match self.state {
            State::Offline(reason) => Stage::Offline(reason),
            State::Asking(Phase::Cone, _) => Stage::Cone,
            State::Asking(Phase::Primary, _) => Stage::Primary,
            State::Asking(Phase::Secondary(_), _) => Stage::Secondary,
            State::Asking(Phase::Maintenance(_), _) => Stage::Maintenance,
            State::Qualified(..) => Stage::Qualified,
        }
    }

    /// What qualified, while it holds.
    pub(super) fn mapped(&self) -> Option<&Mapped> {
        match &self.state {
            State::Qualified(mapped, _) | State::Asking(Phase::Maintenance(mapped), _) => Some(mapped),
            _ => None,
        }
    }

    /// How the NAT shows the client, while it is qualified.
    #[must_use]
    pub fn mapping(&self) -> Option<SocketAddrV4> {
        self.mapped().map(|mapped| mapped.mapping)
    }

    /// The NAT's kind, while the client is qualified.
    #[must_use]
    pub fn nat(&self) -> NatKind {
        self.mapped().map_or(NatKind::Unknown, |mapped| mapped.nat)
    }

    /// When a valid packet of the server came last.
    #[must_use]
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Begins anew; forgets what is known. The pause grows all the same.
    pub fn start(&mut self, now: Instant, config: &QualifyConfig) {
        self.heard = now;
        // RFC 5991 §3.2: no cone phase unless asked for.
        self.ask(now, if config.cone_phase { Phase::Cone } else { Phase::Primary });
    }

    /// Asks the server now: at the end of a pause that is cut short, or whether
    /// the address still holds. Nothing happens while it is being asked, or
    /// was heard less than 4 s ago. `TER-37`
    pub(super) fn ask_now(&mut self, now: Instant) {
        match self.state {
            State::Offline(OfflineReason::NotStarted) => {}
            State::Offline(_) => self.deadline = Expiry::at(now),
            State::Qualified(mapped, _) if self.heard.saturating_add(SOLICITATION_INTERVAL) <= now => {
                self.ask(now, Phase::Maintenance(mapped));
            }
            _ => {}
        }
    }

    /// Stops: there is no IPv4 address.
    pub fn stop(&mut self) {
        *self = Qualification::new();
    }

    /// A valid packet came from the server. `TER-36`
    pub fn note_heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// The solicitation that waits to be sent; [`sent`](Self::sent) once it is.
    #[must_use]
    pub fn wanted(&self, config: &QualifyConfig) -> Option<Solicitation> {
        match &self.state {
            State::Asking(phase, Some(Question { nonce, wanted: true, .. })) => Some(Solicitation {
                to: SocketAddrV4::new(phase.asked(config), SERVER_PORT),
                source: phase.source(),
                nonce: *nonce,
            }),
            _ => None,
        }
    }

    /// What [`wanted`](Self::wanted) gave is on its way.
    pub fn sent(&mut self) {
        if let State::Asking(_, Some(question)) = &mut self.state {
            question.wanted = false;
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        self.deadline
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) -> Outcome {
        let mut outcome = Outcome::None;
        // Each step sends and waits, or goes to a state that does.
        while self.deadline.is_due(now) {
            if self.step(now, config, entropy) == Outcome::Lost {
                outcome = Outcome::Lost;
            }
        }
        outcome
    }

    fn step(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) -> Outcome {
        match &mut self.state {
            State::Offline(_) => self.start(now, config),
            State::Qualified(mapped, refresh) => {
                let refresh = refresh.get_or_insert_with(|| {
                    // RFC 6081 §5.1.1: 75 to 100 percent, drawn each time.
                    let longest = config.refresh_interval.max(SHORTEST_REFRESH);
                    let shortest = longest.saturating_sub(longest.half().half());
                    uniform(entropy, shortest, longest).max(SHORTEST_REFRESH)
                });
                let until = Expiry::at(self.heard.saturating_add(*refresh));
                if until.is_due(now) {
                    // TER-36 [RFC 4380 §5.2.5]
                    let mapped = *mapped;
                    self.ask(now, Phase::Maintenance(mapped));
                } else {
                    self.deadline = until;
                }
            }
            State::Asking(_, question) if question.is_none_or(|question| question.sent < SOLICITATIONS) => {
                let question = question.get_or_insert_with(|| {
                    let mut nonce = [0; 8];
                    entropy.fill(&mut nonce);
                    Question { nonce, sent: 0, wanted: true }
                });
                question.sent = question.sent.saturating_add(1);
                question.wanted = true;
                self.deadline = Expiry::at(now.saturating_add(SOLICITATION_INTERVAL));
            }
            State::Asking(Phase::Cone, _) => self.ask(now, Phase::Primary),
            State::Asking(Phase::Primary, _) => return self.go_offline(now, config, OfflineReason::ServerSilent),
            State::Asking(Phase::Secondary(_), _) => {
                return self.go_offline(now, config, OfflineReason::SecondarySilent);
            }
            State::Asking(Phase::Maintenance(_), _) => {
                // TER-38: back to qualification.
                self.start(now, config);
                return Outcome::Lost;
            }
        }
        Outcome::None
    }

    /// A valid advertisement.
    ///
    /// # Errors
    /// It answers no question of this phase: [`DropReason::TeredoNonce`] or
    /// [`DropReason::TeredoAdvertisement`]. Nothing changed.
    pub fn on_advertisement(
        &mut self,
        now: Instant,
        config: &QualifyConfig,
        advertisement: &Advertisement,
    ) -> Result<Outcome, DropReason> {
        // TER-32: the nonce of the phase that is under way, which is used once.
        let phase = match self.state {
            State::Asking(phase, Some(question)) if question.nonce == advertisement.nonce => phase,
            _ => return Err(DropReason::TeredoNonce),
        };
        if advertisement.destination != phase.source() || advertisement.from != phase.answering(config) {
            return Err(DropReason::TeredoAdvertisement);
        }
        self.heard = now;
        let seen = |nat| Mapped { mapping: advertisement.mapping, server: advertisement.server, nat };
        let (mapped, outcome) = match phase {
            Phase::Cone => (seen(NatKind::Cone), Outcome::Qualified),
            Phase::Primary if config.secondary.is_some() => {
                self.ask(now, Phase::Secondary(seen(NatKind::Unknown)));
                return Ok(Outcome::None);
            }
            Phase::Primary => (seen(NatKind::Unknown), Outcome::Qualified),
            Phase::Secondary(first) if first.mapping == advertisement.mapping => {
                (Mapped { nat: NatKind::Restricted, ..first }, Outcome::Qualified)
            }
            // RFC 6081 §3.1: with the first server's mapping.
            Phase::Secondary(first) if config.symmetric_nat => {
                (Mapped { nat: NatKind::Symmetric, ..first }, Outcome::Qualified)
            }
            Phase::Secondary(_) => return Ok(self.go_offline(now, config, OfflineReason::SymmetricNat)),
            Phase::Maintenance(known) => {
                // TER-36 [RFC 4380 §5.2.5]: MUST compare.
                let mapped = seen(known.nat);
                (mapped, if mapped == known { Outcome::None } else { Outcome::Moved })
            }
        };
        self.pauses = 0;
        // Due now, so that the interval is drawn.
        self.enter(now, State::Qualified(mapped, None));
        Ok(outcome)
    }

    fn ask(&mut self, now: Instant, phase: Phase) {
        self.enter(now, State::Asking(phase, None));
    }

    fn enter(&mut self, due: Instant, state: State) {
        self.state = state;
        self.deadline = Expiry::at(due);
    }

    fn go_offline(&mut self, now: Instant, config: &QualifyConfig, reason: OfflineReason) -> Outcome {
        let first = config.first_pause.max(SOLICITATION_INTERVAL);
        let pause = first.saturating_mul(1_u32.checked_shl(u32::from(self.pauses)).unwrap_or(u32::MAX));
        self.pauses = self.pauses.saturating_add(1).min(31);
        self.enter(now.saturating_add(pause.min(LONGEST_PAUSE)), State::Offline(reason));
        Outcome::Lost
    }
}

#[cfg(test)]
mod tests;
