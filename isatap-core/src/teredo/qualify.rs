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
use core::time::Duration;

pub use self::advertisement::{Advertisement, judge};
use super::addr::{CLIENT_LINK_LOCAL, CLIENT_LINK_LOCAL_CONE, SERVER_PORT};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, uniform};
use crate::time::{Expiry, Instant, duration};

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

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Qualification {
    stage: Stage,
    /// Solicitations of this phase so far.
    sent: u8,
    /// The nonce of this phase, while an answer is awaited.
    nonce: Option<[u8; 8]>,
    /// A solicitation waits to be polled.
    wanted: bool,
    deadline: Expiry,
    /// What the server says the mapping is.
    mapping: Option<SocketAddrV4>,
    /// The IPv4 address for bits 32 to 63.
    server: Ipv4Addr,
    nat: NatKind,
    /// When a valid packet of the server came last.
    heard: Instant,
    /// How long it may be silent this time.
    refresh: Duration,
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
        Qualification {
            stage: Stage::Offline(OfflineReason::NotStarted),
            sent: 0,
            nonce: None,
            wanted: false,
            deadline: Expiry::NEVER,
            mapping: None,
            server: Ipv4Addr::UNSPECIFIED,
            nat: NatKind::Unknown,
            heard: Instant::ZERO,
            refresh: REFRESH_INTERVAL,
            pauses: 0,
        }
    }

    /// How far it is.
    #[must_use]
    pub fn stage(&self) -> Stage {
        self.stage
    }

    /// Whether there is an address.
    #[must_use]
    pub fn is_qualified(&self) -> bool {
        matches!(self.stage, Stage::Qualified | Stage::Maintenance)
    }

    /// How the NAT shows the client, while it is qualified.
    #[must_use]
    pub fn mapping(&self) -> Option<SocketAddrV4> {
        self.mapping.filter(|_| self.is_qualified())
    }

    /// The IPv4 address of the server in the own address.
    #[must_use]
    pub fn server(&self) -> Ipv4Addr {
        self.server
    }

    /// The NAT's kind.
    #[must_use]
    pub fn nat(&self) -> NatKind {
        self.nat
    }

    /// When a valid packet of the server came last.
    #[must_use]
    pub fn last_heard(&self) -> Instant {
        self.heard
    }

    /// Begins anew; forgets what is known. The pause grows all the same.
    pub fn start(&mut self, now: Instant, config: &QualifyConfig) {
        let pauses = self.pauses;
        *self = Qualification { pauses, heard: now, ..Qualification::new() };
        // RFC 5991 §3.2: no cone phase unless asked for.
        self.enter(now, if config.cone_phase { Stage::Cone } else { Stage::Primary });
    }

    /// Asks the server now: at the end of a pause that is cut short, or whether
    /// the address still holds. Nothing happens while it is being asked, or
    /// was heard less than 4 s ago. `TER-37`
    pub(super) fn ask_now(&mut self, now: Instant) {
        match self.stage {
            Stage::Offline(OfflineReason::NotStarted) => {}
            Stage::Offline(_) => self.deadline = Expiry::at(now),
            Stage::Qualified if self.heard.saturating_add(SOLICITATION_INTERVAL) <= now => {
                self.enter(now, Stage::Maintenance);
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
        let nonce = self.nonce.filter(|_| self.wanted)?;
        Some(Solicitation { to: SocketAddrV4::new(self.asked(config), SERVER_PORT), source: self.source(), nonce })
    }

    /// What [`wanted`](Self::wanted) gave is on its way.
    pub fn sent(&mut self) {
        self.wanted = false;
    }

    /// When [`handle_timeout`](Self::handle_timeout) has something to do.
    #[must_use]
    pub fn deadline(&self) -> Expiry {
        self.deadline
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) -> Outcome {
        let mut outcome = Outcome::None;
        // Each step sends and waits, or goes to a stage that does.
        while self.deadline.is_due(now) {
            if self.step(now, config, entropy) == Outcome::Lost {
                outcome = Outcome::Lost;
            }
        }
        outcome
    }

    fn step(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) -> Outcome {
        match self.stage {
            Stage::Offline(_) => self.start(now, config),
            Stage::Qualified if self.refresh.is_zero() => {
                // RFC 6081 §5.1.1: 75 to 100 percent, drawn each time.
                let longest = config.refresh_interval.max(SHORTEST_REFRESH);
                let shortest = duration::difference(longest, duration::quotient(longest, 4));
                self.refresh = uniform(entropy, shortest, longest).max(SHORTEST_REFRESH);
                self.deadline = Expiry::at(self.heard.saturating_add(self.refresh));
            }
            Stage::Qualified if self.heard.saturating_add(self.refresh) > now => {
                self.deadline = Expiry::at(self.heard.saturating_add(self.refresh));
            }
            // TER-36 [RFC 4380 §5.2.5]
            Stage::Qualified => self.enter(now, Stage::Maintenance),
            _ if self.sent < SOLICITATIONS => {
                if self.sent == 0 {
                    // One nonce a phase: an answer may be to an earlier one.
                    let mut nonce = [0; 8];
                    entropy.fill(&mut nonce);
                    self.nonce = Some(nonce);
                }
                self.sent = self.sent.saturating_add(1);
                self.wanted = true;
                self.deadline = Expiry::at(now.saturating_add(SOLICITATION_INTERVAL));
            }
            Stage::Cone => self.enter(now, Stage::Primary),
            Stage::Primary => return self.go_offline(now, config, OfflineReason::ServerSilent),
            Stage::Secondary => return self.go_offline(now, config, OfflineReason::SecondarySilent),
            Stage::Maintenance => {
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
        if self.nonce.is_none() || self.nonce != Some(advertisement.nonce) {
            return Err(DropReason::TeredoNonce);
        }
        if advertisement.destination != self.source() || advertisement.from != self.answering(config) {
            return Err(DropReason::TeredoAdvertisement);
        }
        self.heard = now;
        self.nonce = None;
        self.wanted = false;
        let mapping = advertisement.mapping;
        match self.stage {
            Stage::Cone => {
                self.server = advertisement.server;
                Ok(self.qualify(now, mapping, NatKind::Cone))
            }
            Stage::Primary => {
                self.server = advertisement.server;
                self.mapping = Some(mapping);
                if config.secondary.is_none() {
                    return Ok(self.qualify(now, mapping, NatKind::Unknown));
                }
                self.enter(now, Stage::Secondary);
                Ok(Outcome::None)
            }
            Stage::Secondary => match self.mapping {
                Some(first) if first == mapping => Ok(self.qualify(now, first, NatKind::Restricted)),
                // RFC 6081 §3.1: with the first server's mapping.
                Some(first) if config.symmetric_nat => Ok(self.qualify(now, first, NatKind::Symmetric)),
                _ => Ok(self.go_offline(now, config, OfflineReason::SymmetricNat)),
            },
            Stage::Maintenance => {
                // TER-36 [RFC 4380 §5.2.5]: MUST compare.
                let moved = self.mapping != Some(mapping) || self.server != advertisement.server;
                self.server = advertisement.server;
                let nat = self.nat;
                self.qualify(now, mapping, nat);
                Ok(if moved { Outcome::Moved } else { Outcome::None })
            }
            Stage::Offline(_) | Stage::Qualified => Err(DropReason::TeredoNonce),
        }
    }

    fn qualify(&mut self, now: Instant, mapping: SocketAddrV4, nat: NatKind) -> Outcome {
        self.stage = Stage::Qualified;
        self.mapping = Some(mapping);
        self.nat = nat;
        self.pauses = 0;
        // Due now, so that the interval is drawn.
        self.refresh = Duration::ZERO;
        self.deadline = Expiry::at(now);
        Outcome::Qualified
    }

    fn enter(&mut self, now: Instant, stage: Stage) {
        self.stage = stage;
        self.sent = 0;
        self.nonce = None;
        self.wanted = false;
        self.deadline = Expiry::at(now);
    }

    fn go_offline(&mut self, now: Instant, config: &QualifyConfig, reason: OfflineReason) -> Outcome {
        self.enter(now, Stage::Offline(reason));
        self.mapping = None;
        let first = config.first_pause.max(SOLICITATION_INTERVAL);
        let pause = duration::product(first, 1_u32.checked_shl(u32::from(self.pauses)).unwrap_or(u32::MAX));
        self.pauses = self.pauses.saturating_add(1).min(31);
        self.deadline = Expiry::at(now.saturating_add(pause.min(LONGEST_PAUSE)));
        Outcome::Lost
    }

    /// The cone bit is that of the phase, and later of what qualified.
    fn is_cone(&self) -> bool {
        self.stage == Stage::Cone || (self.is_qualified() && self.nat == NatKind::Cone)
    }

    fn source(&self) -> Ipv6Addr {
        if self.is_cone() { CLIENT_LINK_LOCAL_CONE } else { CLIENT_LINK_LOCAL }
    }

    /// Whom the phase asks.
    fn asked(&self, config: &QualifyConfig) -> Ipv4Addr {
        match self.stage {
            Stage::Secondary => config.secondary.unwrap_or(config.server),
            _ => config.server,
        }
    }

    /// Who answers the phase: with the cone bit the other address.
    fn answering(&self, config: &QualifyConfig) -> Ipv4Addr {
        match self.is_cone() {
            true => config.secondary.unwrap_or(config.server),
            false => self.asked(config),
        }
    }
}

#[cfg(test)]
mod tests;
