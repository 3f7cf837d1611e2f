//! What a client does for those who are not believed yet: bubbles that came by
//! the server, native hosts to be tested, neighbours. [RFC 4380 §5.2.6, §5.2.8, §5.2.9]

use core::net::{Ipv6Addr, SocketAddrV4};

use super::receive::Arrived;
use super::{
    Ask, BUBBLES, Client, Due, How, LOCAL_LIFETIME, LocalPeer, OwedBubble, PORT_TRIAL, PRIMARY_FIRST, TESTS, Targets,
    Work,
};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::Verdict;
use crate::packet::PacketMut;
use crate::teredo::authentication::Authenticator;
use crate::teredo::ingress::{Reach, is_native_global};
use crate::teredo::packet::KnownTrailers;
use crate::teredo::peer::{BUBBLE_INTERVAL, BUBBLE_LIMIT, BUBBLE_WINDOW, Peer, VALIDITY};
use crate::time::{Expiry, Instant};

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// A bubble that came by the server. `TER-96`, `TER-46`
    pub(super) fn indirect(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        trailers: &KnownTrailers<'_>,
    ) -> Result<(), DropReason> {
        let Some(teredo) = arrived.teredo else {
            // A relay: it trusts only an answer to the very address that it
            // used, link-local or not.
            let origin = arrived.origin.ok_or(DropReason::TeredoOrigin)?;
            self.answer(now, arrived.source, origin)?;
            // [RFC 4380 §5.2.3]: the test is what makes the peer trusted.
            if is_native_global(&arrived.source) {
                let _ = self.test(now, &arrived.source);
            }
            return Ok(());
        };
        if !self.reach().may_reach(&teredo) {
            return Err(DropReason::TeredoEmbedded);
        }
        let alternates = match trailers.alternates {
            Some(alternates) => Some(alternates.addresses()?),
            None => None,
        };
        let symmetric_peers = self.config.qualify.symmetric_nat;
        let strict = self.config.strict_bubble_timer;
        let own_symmetric = self.is_symmetric();
        let preserving = self.uses_random_ports();
        let random_ports = preserving || self.guesses_ports();
        let row = self.session_for(now, &arrived.source, false)?;
        let peer = self.peers.find_or_insert(now, &arrived.source).map_err(|_| DropReason::TableFull)?;
        peer.set_settled(false);
        // TER-70: stored, and gone where there is none.
        peer.set_nonce_received(arrived.nonce.unwrap_or([0; 4]));
        let may_bubble = peer.may_get_bubble(now);
        // TER-98: at once, four in 300 s.
        let may = if strict { may_bubble } else { peer.may_get_answer(now) };
        if !may || !self.bubbles.take(now, BUBBLES) {
            return Err(DropReason::RateLimited);
        }
        let reach = Reach { own: self.locator.as_slice(), accept_bogons: self.config.qualify.accept_bogons };
        let Some(session) = self.sessions.get_mut(row) else { return Err(DropReason::TableFull) };
        // TER-78 [RFC 6081 §5.4.4.4]
        if let Some(port) = arrived.random_port
            && port != session.peer_port
        {
            let busy = peer.was_heard_within(now, VALIDITY) || peer.was_sent_within(now, VALIDITY);
            if session.peer_port == 0 {
                session.peer_port = port;
            } else if !busy {
                session.peer_port = port;
                if random_ports {
                    session.close_port();
                }
            }
        }
        peer.note_bubble(now);
        if peer.is_trusted() {
            // TER-84: to a trusted peer one, where it is.
            session.targets.insert(Targets::MAPPING);
            if let Work::Confirm(_) = session.work {
                // Our bubble tells it where we are; now data may follow.
                session.finish(Ok(()));
            }
            return Ok(());
        }
        session.targets.insert(Targets::EMBEDDED);
        if let Some(port) = &mut session.port {
            port.refresh_at = now.saturating_add(PORT_TRIAL);
        }
        // TER-77, TER-100. Whose NAT counts probes its port first: TER-80.
        if session.peer_port != 0 && (preserving || !own_symmetric) {
            session.targets.insert(Targets::RANDOM);
            session.due.insert(Due::DRAW);
        }
        // TER-84: each once.
        if let Some(alternates) = alternates {
            let usable = alternates.filter(|alternate| reach.may_send_to_alternate(*alternate));
            let targets = session.set_alternates(usable);
            session.targets.insert(targets);
        }
        // TER-46 [RFC 6081 §3.1]: never within 2 s, so that two such clients do
        // not keep each other busy.
        if random_ports {
            session.later = Expiry::at(now.saturating_add(PRIMARY_FIRST));
        } else if symmetric_peers && may_bubble && session.work == Work::Idle {
            session.due.insert(Due::DRAW | Due::INDIRECT);
        }
        Ok(())
    }

    /// Wants a bubble to somebody who is no Teredo peer. `TER-96`
    fn answer(&mut self, now: Instant, destination: Ipv6Addr, to: SocketAddrV4) -> Result<(), DropReason> {
        if !self.reach().may_send_to(to) {
            return Err(DropReason::TeredoEmbedded);
        }
        if !self.bubbles.take(now, BUBBLES) {
            return Err(DropReason::RateLimited);
        }
        self.note_answer(now, destination, to)
    }

    fn note_answer(&mut self, now: Instant, destination: Ipv6Addr, to: SocketAddrV4) -> Result<(), DropReason> {
        let first = OwedBubble { destination, to, wanted: true, count: 1, since: now };
        let is_same = |answer: &&mut OwedBubble| answer.destination == destination && answer.to == to;
        match self.answers.iter_mut().find(is_same) {
            Some(answer) if now.saturating_duration_since(answer.since) >= BUBBLE_WINDOW => *answer = first,
            // TER-98: four in 300 s. The address is a relay's secret of the day, so
            // a relay that is in use has another one soon.
            Some(answer) if answer.count >= BUBBLE_LIMIT => return Err(DropReason::RateLimited),
            Some(answer) => {
                answer.wanted = true;
                answer.count = answer.count.saturating_add(1);
            }
            None => {
                if self.answers.push(first).is_err() {
                    let idle = self.answers.iter_mut().filter(|answer| !answer.wanted);
                    *idle.min_by_key(|answer| answer.since).ok_or(DropReason::RateLimited)? = first;
                }
            }
        }
        Ok(())
    }

    /// Begins a connectivity test that somebody else causes. `TER-41`: for a
    /// global unicast address only, four times in 300 s, and few in all.
    fn test(&mut self, now: Instant, source: &Ipv6Addr) -> Result<usize, DropReason> {
        let row = self.session_for(now, source, false)?;
        let running = self.sessions.get(row).is_some_and(|session| session.work != Work::Idle);
        if running {
            return Ok(row);
        }
        let peer = self.peers.find_or_insert(now, source).map_err(|_| DropReason::TableFull)?;
        peer.set_settled(false);
        if !peer.may_get_answer(now) || !self.tests.take(now, TESTS) {
            return Err(DropReason::RateLimited);
        }
        peer.note_bubble(now);
        if let Some(session) = self.sessions.get_mut(row) {
            session.work = Work::Ask(Ask::new(How::Test, 1, now.saturating_add(BUBBLE_INTERVAL)));
            session.due.insert(Due::DRAW | Due::ECHO);
        }
        Ok(row)
    }

    /// Case 6: the packet waits until its source has passed the test.
    pub(super) fn untested(
        &mut self,
        now: Instant,
        arrived: &Arrived,
        packet: &mut PacketMut<'_>,
    ) -> Result<Verdict, DropReason> {
        if arrived.bubble || arrived.path.to.port() != self.config.port {
            return Err(DropReason::TeredoMapping);
        }
        let row = self.test(now, &arrived.source)?;
        let session = self.sessions.get_mut(row).ok_or(DropReason::TableFull)?;
        let ticket = session.hold(now, row, true).ok_or(DropReason::TableFull)?;
        arrived.unwrap(packet);
        Ok(Verdict::Hold { ticket })
    }

    /// `TER-51 [RFC 4380 §5.2.8]`
    pub(super) fn discovered(&mut self, now: Instant, arrived: &Arrived) -> Result<(), DropReason> {
        let at = arrived.path.from;
        let heard = Expiry::at(now.saturating_add(LOCAL_LIFETIME));
        let local = LocalPeer { address: arrived.source, at, heard };
        let known = self.local.iter().position(|local| local.address == arrived.source);
        let row = known.or_else(|| self.local.iter().position(|local| local.heard.is_due(now)));
        match row.and_then(|row| self.local.get_mut(row)) {
            Some(row) => *row = local,
            None => self.local.push(local).map_err(|_| DropReason::TableFull)?,
        }
        let peer = self.peers.find_or_insert(now, &arrived.source).map_err(|_| DropReason::TableFull)?;
        let may = peer.may_get_bubble(now);
        if may && self.bubbles.take(now, BUBBLES) {
            peer.note_bubble(now);
            // SHOULD reply, to where it came from.
            self.note_answer(now, arrived.source, at)?;
        }
        Ok(())
    }
}
