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

use super::packet::Bubble;
use super::peer::BUBBLE_INTERVAL;
use super::qualify::{Advertisement, Mapped, Outcome, Qualification, QualifyConfig, Solicitation};
use crate::drop_reason::DropReason;
use crate::engine::Entropy;
use crate::time::{Duration, Expiry, Instant};

/// No interval is longer.
const LONGEST: Duration = Duration::from_secs(120);
/// The first that is tried.
const FIRST: Duration = Duration::from_secs(60);
/// A bubble and three repeats.
const ATTEMPTS: u8 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Not asked for, or finished, or given up.
    Idle,
    /// A port is to be drawn.
    Begin(Instant),
    /// Asks for the mapping of the second port.
    Ask(u16, Qualification),
    /// Leaves it alone until then.
    Wait(u16, Mapped, Instant),
    /// Sends bubbles to it.
    Test(u16, Test),
}

#[derive(Clone, Copy, Debug)]
struct Test {
    address: Ipv6Addr,
    nonce: [u8; 4],
    attempts: u8,
    /// A bubble waits to be polled.
    wanted: bool,
    next: Instant,
}

/// The machine.
#[derive(Clone, Debug)]
pub(super) struct Determination {
    step: Step,
    /// Which port the caller was told to open.
    pub(super) told_port: u16,
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
            told_port: 0,
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
        match self.step {
            Step::Ask(port, _) | Step::Wait(port, ..) | Step::Test(port, _) => port,
            Step::Idle | Step::Begin(_) => 0,
        }
    }

    /// Begins: the client has just qualified.
    pub(super) fn begin(&mut self, now: Instant) {
        self.stop();
        self.step = Step::Begin(now);
        self.longest = self.ceiling;
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
    }

    /// Whether a port is to be drawn.
    pub(super) fn wants_port(&self) -> bool {
        matches!(self.step, Step::Begin(_))
    }

    /// The port was drawn. `shortest`: the interval that is configured.
    pub(super) fn opened(&mut self, now: Instant, config: &QualifyConfig, port: u16) {
        let shortest = config.refresh_interval;
        if is_close(shortest, self.longest) {
            return self.finish();
        }
        self.candidate = if shortest < FIRST && FIRST < self.longest { FIRST } else { middle(shortest, self.longest) };
        self.ask(now, config, port);
    }

    fn ask(&mut self, now: Instant, config: &QualifyConfig, port: u16) {
        let mut qualification = Qualification::new();
        qualification.start(now, &second(config));
        self.step = Step::Ask(port, qualification);
    }

    pub(super) fn deadline(&self) -> Expiry {
        match &self.step {
            Step::Idle => Expiry::NEVER,
            Step::Ask(_, qualification) => qualification.deadline(),
            Step::Begin(at) | Step::Wait(_, _, at) | Step::Test(_, Test { next: at, .. }) => Expiry::at(*at),
        }
    }

    /// Does what is due, but for drawing a port.
    pub(super) fn handle_timeout(&mut self, now: Instant, config: &QualifyConfig, entropy: &mut dyn Entropy) {
        // Each step waits for something, or goes to one that does.
        while self.deadline().is_due(now) {
            match &mut self.step {
                Step::Idle | Step::Begin(_) => return,
                Step::Ask(_, qualification) => {
                    if qualification.handle_timeout(now, &second(config), entropy) == Outcome::Lost {
                        self.finish();
                    }
                }
                Step::Wait(port, mapped, _) => {
                    let (address, nonce) = (mapped.address(entropy), draw_nonce(entropy));
                    self.step = Step::Test(*port, Test { address, nonce, attempts: 0, wanted: false, next: now });
                }
                Step::Test(_, test) if test.attempts < ATTEMPTS => {
                    test.attempts = test.attempts.saturating_add(1);
                    test.wanted = true;
                    test.next = now.saturating_add(BUBBLE_INTERVAL);
                }
                Step::Test(port, _) => {
                    let port = *port;
                    self.longest = self.candidate;
                    let held = self.interval.unwrap_or(config.refresh_interval);
                    self.narrow(now, config, port, held);
                }
            }
        }
    }

    /// The next candidate, between what holds and what does not. Finished at
    /// 75 percent: after a success too, else the search would never end.
    fn narrow(&mut self, now: Instant, config: &QualifyConfig, port: u16, held: Duration) {
        if is_close(held, self.longest) {
            return self.finish();
        }
        self.candidate = held.saturating_mul(2).min(middle(held, self.longest));
        self.ask(now, config, port);
    }

    /// The solicitation that waits to be sent from the second port.
    pub(super) fn wanted(&self, config: &QualifyConfig) -> Option<Solicitation> {
        match &self.step {
            Step::Ask(_, qualification) => qualification.wanted(&second(config)),
            _ => None,
        }
    }

    /// The bubble that waits to be sent from the service port by the server,
    /// and its nonce.
    pub(super) fn wanted_bubble(&self, own: Ipv6Addr) -> Option<(Bubble, [u8; 4])> {
        match &self.step {
            Step::Test(_, test) if test.wanted => Some((Bubble::new(own, test.address), test.nonce)),
            _ => None,
        }
    }

    /// What was wanted is on its way.
    pub(super) fn sent(&mut self) {
        match &mut self.step {
            Step::Ask(_, qualification) => qualification.sent(),
            Step::Test(_, test) => test.wanted = false,
            _ => {}
        }
    }

    /// An advertisement at the second port.
    pub(super) fn on_advertisement(
        &mut self,
        now: Instant,
        config: &QualifyConfig,
        advertisement: &Advertisement,
    ) -> Result<(), DropReason> {
        let Step::Ask(port, qualification) = &mut self.step else { return Err(DropReason::TeredoNonce) };
        qualification.on_advertisement(now, &second(config), advertisement)?;
        if let Some(mapped) = qualification.mapped() {
            self.step = Step::Wait(*port, *mapped, now.saturating_add(self.candidate));
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
        match self.step {
            Step::Test(port, test) if test.address == *destination => {
                if nonce != Some(test.nonce) {
                    return Err(DropReason::TeredoNonce);
                }
                self.interval = Some(self.candidate);
                self.narrow(now, config, port, self.candidate);
                Ok(())
            }
            _ => Err(DropReason::TeredoDestination),
        }
    }
}

/// Not zero, which is no nonce. `TER-70`, `TER-71`
pub(super) fn draw_nonce<const LEN: usize>(entropy: &mut dyn Entropy) -> [u8; LEN] {
    let mut nonce = [0; LEN];
    entropy.fill(&mut nonce);
    if nonce == [0; LEN]
        && let Some(first) = nonce.first_mut()
    {
        *first = 1;
    }
    nonce
}

/// One server and no cone bit: the kind of the NAT is known already.
fn second(config: &QualifyConfig) -> QualifyConfig {
    QualifyConfig { secondary: None, cone_phase: false, ..*config }
}

/// At least 75 percent.
fn is_close(held: Duration, longest: Duration) -> bool {
    held.saturating_mul(4) >= longest.saturating_mul(3)
}

fn middle(one: Duration, other: Duration) -> Duration {
    one.saturating_add(other).half()
}
