//! For how long the NAT keeps a mapping, found out with a second port.
//! [RFC 4380 §5.2.7]
//!
//! ```text
//! Begin ─ a port ─▶ Ask ─ its mapping ─▶ Wait ─ the candidate ─▶ Test ─▶ Ask … ─▶ Done
//! ```
//!
//! The second port asks the server for its mapping, is left alone for the
//! candidate interval, and then gets a bubble for which the service port asks.
//! If it arrives, the NAT has kept the mapping for that long.
//!
//! The bubble goes by the server: it is the mapping towards the server that is
//! to be kept, and a straight one would only show whether the NAT lets a packet
//! turn around. It has a nonce (RFC 6081 §4.2), so that nobody else can make
//! the interval too long; with a server that cuts trailers off, the interval
//! stays what it was. The second port does nothing else (MUST NOT).

use core::net::Ipv6Addr;
use core::time::Duration;

use super::addr::{Address, Flags};
use super::packet::Bubble;
use super::peer::BUBBLE_INTERVAL;
use super::qualify::{Advertisement, Outcome, Qualification, QualifyConfig, Solicitation};
use crate::drop_reason::DropReason;
use crate::engine::Entropy;
use crate::time::{Expiry, Instant, duration};

/// No interval is longer.
const LONGEST: Duration = Duration::from_secs(120);
/// The first that is tried.
const FIRST: Duration = Duration::from_secs(60);
/// A bubble and three repeats.
const ATTEMPTS: u8 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Not asked for, or finished, or given up.
    Idle,
    /// A port is to be drawn.
    Begin,
    /// Asks for the mapping of the second port.
    Ask,
    /// Leaves it alone.
    Wait,
    /// A bubble is on its way.
    Test,
}

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Determination {
    step: Step,
    port: u16,
    /// Which port the caller was told to open.
    pub(super) told_port: u16,
    qualification: Qualification,
    address: Option<Ipv6Addr>,
    nonce: [u8; 4],
    attempts: u8,
    bubble_wanted: bool,
    deadline: Expiry,
    /// What was found to hold; `None`: nothing yet.
    interval: Option<Duration>,
    candidate: Duration,
    longest: Duration,
    /// Where the next run begins: below what turned out too long.
    ceiling: Duration,
}

impl Determination {
    pub(super) const fn new() -> Self {
        Determination {
            step: Step::Idle,
            port: 0,
            told_port: 0,
            qualification: Qualification::new(),
            address: None,
            nonce: [0; 4],
            attempts: 0,
            bubble_wanted: false,
            deadline: Expiry::NEVER,
            interval: None,
            candidate: FIRST,
            longest: LONGEST,
            ceiling: LONGEST,
        }
    }

    /// How long the server may be silent, as far as was found out.
    pub(super) fn interval(&self) -> Option<Duration> {
        self.interval
    }

    /// The second port, while it is in use.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Begins: the client has just qualified.
    pub(super) fn begin(&mut self, now: Instant) {
        let (told_port, ceiling) = (self.told_port, self.ceiling);
        *self = Determination {
            step: Step::Begin,
            told_port,
            ceiling,
            longest: ceiling,
            deadline: Expiry::at(now),
            ..Determination::new()
        };
    }

    /// Stops, and forgets what was found.
    pub(super) fn stop(&mut self) {
        let (told_port, ceiling) = (self.told_port, self.ceiling);
        *self = Determination { told_port, ceiling, ..Determination::new() };
    }

    /// The mapping did not hold for as long as was found out: the next run
    /// stays below.
    pub(super) fn doubt(&mut self) {
        self.ceiling = self.interval.unwrap_or(self.ceiling);
    }

    /// Another network, of which nothing is known.
    pub(super) fn renew(&mut self) {
        self.ceiling = LONGEST;
    }

    /// The second port cannot be opened, or its qualification failed: the
    /// interval stays what it is.
    pub(super) fn finish(&mut self) {
        self.step = Step::Idle;
        self.port = 0;
        self.address = None;
        self.bubble_wanted = false;
        self.deadline = Expiry::NEVER;
        self.qualification.stop();
    }

    /// Whether a port is to be drawn.
    pub(super) fn wants_port(&self, now: Instant) -> bool {
        self.step == Step::Begin && self.deadline.is_due(now)
    }

    /// The port was drawn. `shortest`: the interval that is configured.
    pub(super) fn opened(&mut self, now: Instant, config: &QualifyConfig, port: u16) {
        let shortest = config.refresh_interval;
        if is_close(shortest, self.longest) {
            return self.finish();
        }
        self.port = port;
        self.candidate = if shortest < FIRST && FIRST < self.longest { FIRST } else { middle(shortest, self.longest) };
        self.ask(now, config);
    }

    fn ask(&mut self, now: Instant, config: &QualifyConfig) {
        self.step = Step::Ask;
        self.address = None;
        self.deadline = Expiry::NEVER;
        self.qualification.start(now, &second(config));
    }

    pub(super) fn deadline(&self) -> Expiry {
        match self.step {
            Step::Ask => self.qualification.deadline(),
            _ => self.deadline,
        }
    }

    /// Does what is due, but for drawing a port.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) {
        // Each step waits for something, or goes to one that does.
        while self.step != Step::Begin && self.deadline().is_due(now) {
            self.step(now, config, entropy);
        }
    }

    fn step(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) {
        match self.step {
            Step::Ask => {
                if self.qualification.handle_timeout(now, &second(config), entropy) == Outcome::Lost {
                    self.finish();
                }
            }
            Step::Wait => {
                let Some(mapping) = self.qualification.mapping() else { return self.finish() };
                let mut drawn = [0; 6];
                entropy.fill(&mut drawn);
                let [high, low, a, b, c, d] = drawn;
                let flags = Flags::from_random(u16::from_be_bytes([high, low]));
                let server = self.qualification.server();
                let address = Address { server, flags, port: mapping.port(), client: *mapping.ip() };
                self.address = Some(address.to_ipv6());
                // Zero is no nonce: TER-71.
                self.nonce = if [a, b, c, d] == [0; 4] { [1, 0, 0, 0] } else { [a, b, c, d] };
                self.attempts = 0;
                self.step = Step::Test;
                self.bubble(now);
            }
            Step::Test if self.attempts < ATTEMPTS => self.bubble(now),
            Step::Test => {
                self.longest = self.candidate;
                let held = self.interval.unwrap_or(config.refresh_interval);
                self.narrow(now, config, held);
            }
            Step::Idle | Step::Begin => {}
        }
    }

    fn bubble(&mut self, now: Instant) {
        self.attempts = self.attempts.saturating_add(1);
        self.bubble_wanted = true;
        self.deadline = Expiry::at(now.saturating_add(BUBBLE_INTERVAL));
    }

    /// The next candidate, between what holds and what does not. Finished at
    /// 75 percent: after a success too, else the search would never end.
    fn narrow(&mut self, now: Instant, config: &QualifyConfig, held: Duration) {
        if is_close(held, self.longest) {
            return self.finish();
        }
        self.candidate = duration::product(held, 2).min(middle(held, self.longest));
        self.bubble_wanted = false;
        self.ask(now, config);
    }

    /// The solicitation that waits to be sent from the second port.
    pub(super) fn wanted(&self, config: &QualifyConfig) -> Option<Solicitation> {
        self.qualification.wanted(&second(config)).filter(|_| self.step == Step::Ask)
    }

    pub(super) fn sent(&mut self) {
        self.qualification.sent();
    }

    /// The bubble that waits to be sent from the service port by the server,
    /// and its nonce.
    pub(super) fn wanted_bubble(&self, own: Ipv6Addr) -> Option<(Bubble, [u8; 4])> {
        let address = self.address.filter(|_| self.bubble_wanted)?;
        Some((Bubble::new(own, address), self.nonce))
    }

    pub(super) fn bubble_sent(&mut self) {
        self.bubble_wanted = false;
    }

    /// An advertisement at the second port.
    pub(super) fn on_advertisement(
        &mut self,
        now: Instant,
        config: &QualifyConfig,
        advertisement: &Advertisement,
    ) -> Result<(), DropReason> {
        if self.step != Step::Ask {
            return Err(DropReason::TeredoNonce);
        }
        if self.qualification.on_advertisement(now, &second(config), advertisement)? == Outcome::Qualified {
            self.step = Step::Wait;
            self.deadline = Expiry::at(now.saturating_add(self.candidate));
        }
        Ok(())
    }

    /// A bubble of our own at the second port, with this nonce.
    pub(super) fn on_bubble(
        &mut self,
        now: Instant,
        config: &QualifyConfig,
        destination: &Ipv6Addr,
        nonce: Option<[u8; 4]>,
    ) -> Result<(), DropReason> {
        if self.step != Step::Test || self.address.as_ref() != Some(destination) {
            return Err(DropReason::TeredoDestination);
        }
        if nonce != Some(self.nonce) {
            return Err(DropReason::TeredoNonce);
        }
        self.interval = Some(self.candidate);
        self.narrow(now, config, self.candidate);
        Ok(())
    }
}

/// One server and no cone bit: the kind of the NAT is known already.
fn second(config: &QualifyConfig) -> QualifyConfig {
    QualifyConfig { secondary: None, cone_phase: false, ..*config }
}

/// At least 75 percent.
fn is_close(held: Duration, longest: Duration) -> bool {
    duration::product(held, 4) >= duration::product(longest, 3)
}

fn middle(one: Duration, other: Duration) -> Duration {
    duration::quotient(duration::sum(one, other), 2)
}
