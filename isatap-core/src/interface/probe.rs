//! Asks a relay whether packets by it come back: three tries, a second
//! apart. What is sent, and what counts as an answer, is the mechanism's.

use core::net::Ipv4Addr;

use crate::engine::Entropy;
use crate::time::{Duration, Expiry, Instant};

/// `S64-35`, `S6R-50`
const TRIES: u8 = 3;
const INTERVAL: Duration = Duration::from_secs(1);

/// The question to one relay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe {
    relay: Ipv4Addr,
    /// What an answer must bring back; drawn before the first packet.
    token: Option<u32>,
    state: State,
    /// What came of the question before this one.
    known: Option<bool>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing was asked.
    Idle,
    /// This many packets were sent; the next one, or the end, is due then.
    Asking { sent: u8, next: Instant },
    /// The answer is known.
    Ended { reachable: bool, told: bool },
}

impl Probe {
    /// Nothing was asked.
    pub(crate) const IDLE: Probe = Probe { relay: Ipv4Addr::UNSPECIFIED, token: None, state: State::Idle, known: None };

    /// Asks `relay`, from the start if it was asked before.
    pub(crate) fn start(&mut self, now: Instant, relay: Ipv4Addr) {
        *self = Probe::IDLE.asking(now, relay);
    }

    /// Asks the same relay again; what is known of it holds meanwhile.
    pub(crate) fn repeat(&mut self, now: Instant) {
        if self.state != State::Idle {
            *self = Probe { known: self.outcome(), ..Probe::IDLE.asking(now, self.relay) };
        }
    }

    const fn asking(self, now: Instant, relay: Ipv4Addr) -> Self {
        Probe { relay, state: State::Asking { sent: 0, next: now }, ..self }
    }

    /// Whether an answer is waited for; before the first packet there is none.
    pub(crate) fn is_asking(&self) -> bool {
        matches!(self.state, State::Asking { sent, .. } if sent > 0)
    }

    /// Forgets what was asked and answered.
    pub(crate) fn stop(&mut self) {
        *self = Probe::IDLE;
    }

    /// What the packets carry, so that nobody can answer who did not see one.
    pub(crate) fn token(&self) -> Option<u32> {
        self.token
    }

    /// The relay that is, or was, asked.
    pub(crate) fn target(&self) -> Option<Ipv4Addr> {
        if self.state == State::Idle { None } else { Some(self.relay) }
    }

    /// The relay asked.
    pub(crate) fn relay(&self) -> Ipv4Addr {
        self.relay
    }

    /// Whether a packet is to be sent.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.token.is_some() && matches!(self.state, State::Asking { sent, next } if sent < TRIES && next <= now)
    }

    /// The packet was sent, or lost.
    pub(crate) fn sent(&mut self, now: Instant) {
        if let State::Asking { sent, next } = &mut self.state {
            *sent = sent.saturating_add(1);
            *next = now.saturating_add(INTERVAL);
        }
    }

    /// An answer has come.
    pub(crate) fn answered(&mut self) {
        if self.is_asking() {
            self.end(true);
        }
    }

    /// Draws the token before the first packet, and gives up when the time is
    /// over; whether it did.
    pub(crate) fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) -> bool {
        if self.token.is_none() && matches!(self.state, State::Asking { .. }) {
            let mut token = [0; 4];
            entropy.fill(&mut token);
            self.token = Some(u32::from_be_bytes(token));
        }
        let over = matches!(self.state, State::Asking { sent, next } if sent >= TRIES && next <= now);
        if over {
            self.end(false);
        }
        over
    }

    fn end(&mut self, reachable: bool) {
        self.state = State::Ended { reachable, told: self.known == Some(reachable) };
    }

    /// When there is something to do.
    pub(crate) fn deadline(&self) -> Expiry {
        match self.state {
            State::Asking { next, .. } => Expiry::at(next),
            State::Idle | State::Ended { .. } => Expiry::NEVER,
        }
    }

    /// What is known; `None`: not yet, or nothing was asked.
    pub(crate) fn outcome(&self) -> Option<bool> {
        match self.state {
            State::Ended { reachable, .. } => Some(reachable),
            State::Idle | State::Asking { .. } => self.known,
        }
    }

    /// What is known and was not told; it is with this.
    pub(crate) fn poll(&mut self) -> Option<bool> {
        let State::Ended { reachable, told } = &mut self.state else { return None };
        let is_news = !core::mem::replace(told, true);
        is_news.then_some(*reachable)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn seven(out: &mut [u8]) {
        out.fill(7);
    }

    #[test]
    fn s64_35_s6r_50_three_tries_a_second_apart_and_a_second_for_the_last() {
        let mut probe = Probe::IDLE;
        assert_eq!((probe.outcome(), probe.deadline()), (None, Expiry::NEVER));
        let mut now = Instant::from_secs(10);
        probe.start(now, RELAY);
        probe.answered();
        assert_eq!(probe.outcome(), None, "nothing was asked yet");
        assert!(!probe.is_due(now), "without a token anybody could answer");
        for _ in 0..3 {
            assert!(!probe.handle_timeout(now, &mut seven) && probe.is_due(now));
            assert_eq!(probe.token(), Some(0x0707_0707));
            probe.sent(now);
            assert!(!probe.is_due(now));
            now = now.saturating_add(INTERVAL);
            assert_eq!(probe.deadline(), Expiry::at(now));
        }
        assert!(!probe.is_due(now));
        assert!(probe.handle_timeout(now, &mut seven));
        assert_eq!((probe.outcome(), probe.poll(), probe.deadline()), (Some(false), Some(false), Expiry::NEVER));
        assert_eq!((probe.outcome(), probe.poll()), (Some(false), None));
        probe.answered();
        assert_eq!(probe.outcome(), Some(false), "too late");
    }

    #[test]
    fn s64_35_s6r_50_an_answer_ends_it() {
        let mut probe = Probe::IDLE;
        probe.start(Instant::ZERO, RELAY);
        probe.sent(Instant::ZERO);
        probe.answered();
        assert_eq!((probe.outcome(), probe.poll(), probe.relay()), (Some(true), Some(true), RELAY));
        assert!(!probe.is_due(Instant::from_secs(9)) && probe.deadline() == Expiry::NEVER);
    }
}
