//! What a client does when time has passed, and where it needs entropy.

use super::{Client, Due, EchoTest, Guess, Own, PORT_REFRESH, PORT_REFRESHES, Targets, Work};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, uniform};
use crate::teredo::authentication::Authenticator;
use crate::teredo::interval::draw_nonce;
use crate::teredo::peer::Peer;
use crate::teredo::qualify::Outcome;
use crate::time::{Duration, Expiry, Instant};

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// The mapping was learned, is another one, or is gone.
    pub(super) fn take_mapping(&mut self, outcome: Outcome) {
        if let Outcome::Moved | Outcome::Lost = outcome {
            // TER-36: the old address is invalid at once.
            self.determination.doubt();
            self.forget(DropReason::TeredoUnqualified);
        }
        if let Outcome::Qualified | Outcome::Moved = outcome {
            self.own = Own::Wanted;
            if self.config.interval_determination {
                self.determination.begin(self.now);
            }
            self.compare_mappings();
        }
    }

    pub(super) fn form_address(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        self.own = self.qualification.mapped().map_or(Own::None, |mapped| Own::Formed(mapped.address(entropy)));
        if self.config.local_discovery && self.address().is_some() {
            self.discover_at = Expiry::at(now);
        }
    }

    /// Draws what a session's packets need.
    pub(super) fn draw(&mut self, now: Instant, row: usize, entropy: &mut dyn Entropy) {
        let (random_ports, guesses) = (self.uses_random_ports(), self.guesses_ports());
        let number = self.draw_port(entropy);
        let Some(session) = self.sessions.get_mut(row) else { return };
        session.due.remove(Due::DRAW);
        let Some(peer) = self.peers.find_mut(&session.address) else {
            session.due = Due::empty();
            session.targets = Targets::empty();
            return;
        };
        let trusted = peer.is_trusted();
        let direct = session.targets.intersects(Targets::RANDOM | Targets::FROM_RANDOM);
        let indirect = session.due.contains(Due::INDIRECT);
        if !trusted && session.port.is_none() && ((random_ports && (indirect || direct)) || (guesses && indirect)) {
            // TER-76 [RFC 6081 §5.4.4.2]
            session.open_port(now, number);
        }
        if guesses
            && indirect
            && !trusted
            && let Some(port) = &mut session.port
            && port.tests < 2
            && !matches!(port.guess, Guess::Found(_))
            && peer.may_get_port_test()
        {
            // TER-80 [RFC 6081 §5.5.4.1]: instead of the indirect bubble.
            session.due.remove(Due::INDIRECT);
            if let Guess::None = port.guess {
                let mut nonces = [[0; 8]; 2];
                nonces.iter_mut().for_each(|nonce| entropy.fill(nonce));
                port.tests = port.tests.saturating_add(1);
                let until = now.saturating_add(Duration::from_secs(port.tests.into()));
                port.guess = Guess::Asked(EchoTest { nonces, seen: [None; 2], until });
                session.due.insert(Due::PROBES);
            }
        }
        if session.due.contains(Due::INDIRECT) {
            // TER-70: a new one for each, never zero. A peer that is
            // trusted keeps what it was trusted for.
            peer.set_nonce_sent(draw_nonce(entropy));
        }
        if session.due.contains(Due::ECHO) {
            // TER-97: provisional from here on. Not so a peer that is being
            // heard: else anybody could stop its packets by a forged one. The
            // answer moves it all the same, if a relay has changed.
            let nonce = draw_nonce(entropy);
            if peer.is_reachable(now) { peer.set_test_nonce(nonce) } else { peer.begin_test(nonce) }
        }
    }

    /// A session's other deadlines: the echo test and the refresh of ports.
    pub(super) fn ports_due(&mut self, now: Instant, row: usize) {
        let preserving = self.uses_random_ports();
        let Some(session) = self.sessions.get_mut(row) else { return };
        if session.later.is_due(now) {
            session.later = Expiry::NEVER;
            let trusted = self.peers.find(&session.address).is_none_or(Peer::is_trusted);
            if !trusted {
                // Who began has sent its indirect bubble.
                if session.work == Work::Idle {
                    session.due.insert(Due::DRAW | Due::INDIRECT);
                }
                // RFC 6081 §5.4.4.3 is silent about a peer that is behind no
                // symmetric NAT. What it sends to the random port comes in only
                // if something went out there before. Not so to a peer with a
                // random port: the NAT would then keep our port for this
                // destination, and not for that one.
                if preserving && session.peer_port == 0 {
                    session.due.insert(Due::DRAW);
                    session.targets.insert(Targets::FROM_RANDOM);
                }
            }
        }
        let is_idle = session.work == Work::Idle;
        let Some(port) = &mut session.port else { return };
        if let Guess::Asked(test) = port.guess
            && test.until <= now
        {
            port.guess = Guess::None;
            // TER-82: with a second failure the bubble goes anyway.
            session.due.insert(Due::DRAW | Due::INDIRECT);
        }
        if port.refresh_at <= now {
            // TER-75 [RFC 6081 §5.4.3]
            let peer = self.peers.find(&session.address);
            let trusted = peer.is_some_and(Peer::is_trusted);
            let sent = peer.is_some_and(|peer| peer.was_sent_within(now, PORT_REFRESH));
            port.refreshes = if sent { 0 } else { port.refreshes.saturating_add(1) };
            port.refresh_at = now.saturating_add(PORT_REFRESH);
            // Nobody was heard on it, and nobody is asked: a stranger's bubble had it opened.
            if port.refreshes > PORT_REFRESHES || (is_idle && !trusted) {
                session.close_port();
            } else if trusted && !sent {
                session.targets.insert(Targets::MAPPING);
            }
        }
    }

    /// Local discovery. `[RFC 4380 §5.2.8]`: 200 to 300 s apart.
    pub(super) fn discover(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.discover_at.is_due(now) {
            self.discover = true;
            let wait = uniform(entropy, Duration::from_secs(200), Duration::from_secs(300));
            self.discover_at = Expiry::at(now.saturating_add(wait));
        }
    }

    /// What is due of the optional determination of the refresh interval.
    pub(super) fn determine(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        if self.determination.wants_port() {
            let port = self.draw_port(entropy);
            self.determination.opened(now, &self.config.qualify, port);
        }
        self.determination.handle_timeout(now, &self.config.qualify, entropy);
    }

    /// An ephemeral port that is not in use here. [RFC 6335 §6]
    fn draw_port(&self, entropy: &mut dyn Entropy) -> u16 {
        let mut drawn = [0; 2];
        entropy.fill(&mut drawn);
        let mut port = u16::from_be_bytes(drawn) | 0xc000;
        let is_used = |port: u16| {
            let sessions = self.sessions.iter().any(|session| session.own_port() == port || session.told_port == port);
            sessions
                || port == self.config.port
                || [self.determination.port(), self.determination.told_port].contains(&port)
        };
        // One more than there can be: one of them is free.
        for _ in 0..N.saturating_mul(2).saturating_add(3) {
            if !is_used(port) {
                break;
            }
            port = port.wrapping_add(1) | 0xc000;
        }
        port
    }
}
