//! What a client does with a packet of its host. [RFC 4380 §5.2.4]

use core::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};

use super::{ATTEMPTS, Ask, Client, Due, How, SOLICITATIONS, Session, Targets, Work};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::Verdict;
use crate::proto41::Outer;
use crate::teredo::addr::{Address, Flags};
use crate::teredo::authentication::Authenticator;
use crate::teredo::carried::{Known, Last};
use crate::teredo::ingress::{self, Outgoing, Reach};
use crate::teredo::peer::{BUBBLE_INTERVAL, HeardOn, Peer, VALIDITY};
use crate::teredo::qualify::NatKind;
use crate::teredo::server::outer;
use crate::time::Instant;

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// Case 1 of section 4.6 for most packets: to a reachable peer that is sent to where
    /// it was heard, from the primary port. Else, where the destination is among the
    /// peers, if it is. [RFC 4380 §5.2.4]
    #[inline]
    pub(super) fn send_to_known(&mut self, now: Instant, packet: &Outgoing) -> Result<Outer, Option<usize>> {
        // No group is a peer, nor is the own address.
        let place = self.peers.place(&packet.destination);
        let is_own = self.address() == Some(packet.source);
        match place.and_then(|place| Some((place, self.peers.at_mut(place)?))) {
            Some((place, peer)) if is_own && packet.fits && peer.is_reachable(now) && peer.is_sent_to_mapping() => {
                let (end, next_header) = (packet.source, packet.next_header);
                self.last = Last::Sent(Known { place, end, before: peer.sent(), next_header });
                peer.note_sent(now);
                let mapping = peer.mapping();
                Ok(self.outer(self.config.port, mapping))
            }
            _ => Err(place),
        }
    }

    /// A packet from the inside. Section 4.6 in its order. [RFC 4380 §5.2.4]
    ///
    /// `place`: of the destination, if it is a peer.
    #[inline(never)]
    pub(super) fn send(
        &mut self,
        now: Instant,
        packet: &Outgoing,
        place: Option<usize>,
    ) -> Result<Verdict, DropReason> {
        let Outgoing { source, destination, fits, .. } = packet;
        let address = self.address().ok_or(DropReason::TeredoUnqualified)?;
        if *source != address {
            return Err(DropReason::SourceUnusable);
        }
        if destination.is_multicast() {
            return Err(DropReason::Multicast);
        }
        if !fits {
            return Err(DropReason::PacketTooBig);
        }
        if *destination == address || destination.is_unspecified() || destination.is_loopback() {
            return Err(DropReason::DestinationRefused);
        }
        // Case 1.
        let mut idle = false;
        let opened = self.trusts_opened_ports();
        let reach = Reach { own: self.locator.as_slice(), accept_bogons: self.config.qualify.accept_bogons };
        if let Some(peer) = place.and_then(|place| self.peers.at_mut(place)) {
            if peer.is_reachable(now) {
                peer.note_sent(now);
                let (mapping, heard_on) = (where_to(peer, opened, reach), peer.heard_on());
                return Ok(self.tunnel(destination, mapping, heard_on));
            }
            // TER-85: silent in both directions.
            idle = peer.is_trusted() && !peer.was_sent_within(now, VALIDITY) && peer.nonce_received() != [0; 4];
        }
        let teredo = Address::from_ipv6(destination);
        let Some(teredo) = teredo else {
            // TER-7: an address of the old prefix is no peer, and no native
            // host.
            if !ingress::is_native_global(destination) {
                return Err(DropReason::NextHopUnresolvable);
            }
            // Case 2.
            return self.wait_for(now, destination, place, How::Test);
        };
        // Case 3.
        if self.local_peer(now, destination).is_some() {
            return self.wait_for(now, destination, place, How::Local);
        }
        // TER-40, TER-4: where its mapping and its server are.
        let mapping = ingress::embedded_mapping(&teredo);
        if !self.reach().may_reach(&teredo) {
            return Err(DropReason::TeredoEmbedded);
        }
        // Case 4, which RFC 5991 §3.2 wants treated as case 5.
        if self.config.trust_cone && teredo.flags.contains(Flags::CONE) {
            let peer = self.peers.at_or_insert_asked(place, now, destination).map_err(|_| DropReason::TableFull)?;
            peer.note_sent(now);
            return Ok(self.tunnel(destination, mapping, None));
        }
        // TER-85
        if idle && self.config.server_load_reduction {
            return self.wait_for(now, destination, place, How::Solicit);
        }
        // Case 5.
        self.wait_for(now, destination, place, How::Bubbles)
    }

    /// Sends a data packet: from the port that the mapping was learned on.
    pub(super) fn tunnel(&mut self, peer: &Ipv6Addr, mapping: SocketAddrV4, heard_on: Option<HeardOn>) -> Verdict {
        // TER-101 [RFC 6081 §6.3]
        let port = match heard_on {
            Some(HeardOn::Random) => self.session(peer).and_then(|session| session.port),
            _ => None,
        };
        let outer = self.outer(port.map_or(self.config.port, |port| port.number), mapping);
        Verdict::Tunnel { link: self.link, outer }
    }

    pub(super) fn outer(&mut self, port: u16, to: SocketAddrV4) -> Outer {
        self.identification = self.identification.wrapping_add(1);
        let from = self.locator.map_or(Ipv4Addr::UNSPECIFIED, |locator| locator.address);
        outer(SocketAddrV4::new(from, port), to, self.identification)
    }

    /// A packet from the inside waits until the peer is reachable.
    fn wait_for(
        &mut self,
        now: Instant,
        peer: &Ipv6Addr,
        place: Option<usize>,
        how: How,
    ) -> Result<Verdict, DropReason> {
        let row = self.session_for(now, peer, true)?;
        let place = self.peers.place_or_insert_asked(place, now, peer).map_err(|_| DropReason::TableFull)?;
        let Some(entry) = self.peers.at_mut(place) else { return Err(DropReason::TableFull) };
        let before = entry.settled_at();
        entry.set_settled(false);
        self.peers.note_change_of(peer, before);
        let (Some(entry), Some(session)) = (self.peers.at_mut(place), self.sessions.get_mut(row)) else {
            return Err(DropReason::TableFull);
        };
        session.is_own = true;
        if session.work == Work::Idle {
            // TER-45: four times in 300 s without an answer are enough. That is
            // a rule for bubbles: a native host may be asked for again.
            if how != How::Test && !entry.may_get_answer(now) {
                return Err(DropReason::TeredoNoAnswer);
            }
            entry.ask();
            // TER-45: not within 2 s of what was sent last.
            let begins = if entry.may_get_bubble(now) { now } else { now.saturating_add(BUBBLE_INTERVAL) };
            session.work = Work::Ask(Ask::new(how, 0, begins));
        }
        let ticket = session.hold(now, row, false).ok_or(DropReason::TableFull)?;
        self.attempt(now, row, Some(place));
        Ok(Verdict::Hold { ticket })
    }

    /// Sends once more what a session's work wants, if that is due; or gives
    /// up. `place`: of its peer, for who has looked already.
    pub(super) fn attempt(&mut self, now: Instant, row: usize, place: Option<usize>) {
        let symmetric = self.is_symmetric();
        let preserving = self.uses_random_ports();
        let behind_cone = self.qualification.nat() == NatKind::Cone;
        let Some(session) = self.sessions.get_mut(row) else { return };
        let ask = match &mut session.work {
            Work::Ask(ask) if ask.next <= now => ask,
            // A peer without RFC 6081 has no nonce to tell.
            Work::Confirm(until) if *until <= now => return session.finish(Ok(())),
            _ => return,
        };
        if ask.how == How::Solicit && ask.attempts >= SOLICITATIONS {
            // TER-85: as a new connection.
            (ask.how, ask.attempts) = (How::Bubbles, 0);
        }
        let may = |entry: &&mut Peer| ask.how == How::Test || entry.may_get_answer(now);
        let place = place.or_else(|| self.peers.place(&session.address));
        let entry = place.and_then(|place| self.peers.at_mut(place));
        let Some(entry) = entry.filter(may).filter(|_| ask.attempts < ATTEMPTS) else {
            session.finish(Err(DropReason::TeredoNoAnswer));
            session.close_port();
            return;
        };
        *ask = Ask {
            how: ask.how,
            attempts: ask.attempts.saturating_add(1),
            next: now.saturating_add(BUBBLE_INTERVAL),
            may_ask_secretly: true,
        };
        match ask.how {
            // A question to a known peer, which RFC 6081 §5.7 limits itself.
            How::Solicit => entry.note_sent(now),
            _ => entry.note_bubble(now),
        }
        match ask.how {
            How::Test => session.due.insert(Due::DRAW | Due::ECHO),
            How::Local => session.due.insert(Due::LOCAL | Due::LOCAL_GROUP),
            How::Solicit => session.due.insert(Due::SOLICIT),
            How::Bubbles => {
                session.due.insert(Due::DRAW | Due::INDIRECT);
                // A direct one opens our NAT for the answer; a cone NAT is open.
                if !behind_cone {
                    session.targets.insert(Targets::EMBEDDED);
                }
                if session.peer_port != 0 && (preserving || !symmetric) {
                    session.targets.insert(Targets::RANDOM);
                }
            }
        }
    }

    /// The row of a peer.
    pub(super) fn session(&self, peer: &Ipv6Addr) -> Option<&Session> {
        self.sessions.get(self.row_of(peer)?)
    }

    /// Its number: for who looks at it more than once. Nobody is `::`, as a free row is.
    ///
    /// Rows are taken in their order and never given back: behind a free one all are.
    pub(super) fn row_of(&self, peer: &Ipv6Addr) -> Option<usize> {
        let mut taken = self.sessions.iter().take_while(|session| !session.is_free());
        taken.position(|session| session.address == *peer)
    }

    /// The row of a peer, or one that is made for it. What outsiders begin
    /// takes no more than half of the rows, and no row from anybody.
    pub(super) fn session_for(&mut self, now: Instant, peer: &Ipv6Addr, own: bool) -> Result<usize, DropReason> {
        let known = self.row_of(peer);
        if let Some(row) = known.filter(|row| own || self.sessions.get(*row).is_some_and(Session::is_taken)) {
            return Ok(row);
        }
        let outsiders = || self.sessions.iter().filter(|session| session.is_outsiders()).count();
        if !own && outsiders().saturating_mul(2) >= N {
            return Err(DropReason::RateLimited);
        }
        if let Some(row) = known {
            return Ok(row);
        }
        let idle = || self.sessions.iter().enumerate().filter(|(_, session)| session.is_idle());
        let oldest = || idle().min_by_key(|(_, session)| session.last_use()).map(|(row, _)| row);
        let free = self.sessions.iter().position(Session::is_free);
        let row = free.or_else(oldest).ok_or(DropReason::TableFull)?;
        if let Some(session) = self.sessions.get_mut(row) {
            session.claim(now, *peer);
        }
        Ok(row)
    }

    /// The source of the bubble that asks a peer where it is: another one for
    /// each nonce, and none before there is one. `TER-102`
    pub(super) fn secret_source(&self, peer: &Peer) -> Option<Ipv6Addr> {
        let nonce = u32::from_be_bytes(peer.nonce_sent());
        (nonce != 0).then(|| self.peers.secret_source(&peer.address(), nonce))
    }

    pub(super) fn local_peer(&self, now: Instant, peer: &Ipv6Addr) -> Option<SocketAddrV4> {
        // Off for most: nothing is looked through then.
        let known = if self.config.local_discovery { self.local.as_slice() } else { &[] };
        known.iter().find(|local| local.address == *peer && !local.heard.is_due(now)).map(|local| local.at)
    }
}

/// Where packets to a peer go: to its mapping, or (TER-74) to the port that its
/// address says, which is open to everybody.
pub(super) fn where_to(peer: &Peer, trusts_opened_ports: bool, reach: Reach<'_>) -> SocketAddrV4 {
    let embedded = || Address::from_ipv6(&peer.address()).map(|address| ingress::embedded_mapping(&address));
    match trusts_opened_ports && peer.is_symmetric() {
        // TER-40: what may not be sent to is left alone.
        true => embedded().filter(|to| reach.may_send_to(*to)).unwrap_or(peer.mapping()),
        false => peer.mapping(),
    }
}
