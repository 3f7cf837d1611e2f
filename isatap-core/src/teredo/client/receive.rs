//! What a client does with a packet that it let in. [RFC 4380 §5.2.3]

use core::net::{Ipv6Addr, SocketAddrV4};

use super::{Ask, BUBBLES, CONFIRM, Client, Due, Expiry, Guess, How, PORT_REFRESH, Targets, Work};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::{Admitted, Verdict};
use crate::packet::PacketMut;
use crate::teredo::addr::{Address, SERVER_PORT};
use crate::teredo::authentication::{self, Authenticator};
use crate::teredo::carried::{Known, Last};
use crate::teredo::ingress::{self, ClientCase, ClientView, Path, Reach, is_usable};
use crate::teredo::packet::{Datagram, SignOfLife, is_bubble, origin_bytes};
use crate::teredo::peer::{HeardOn, Peer, VALIDITY};
use crate::teredo::qualify;
use crate::time::Instant;
use crate::wire::ipv6;

/// What the headers of a packet say, so that its buffer is free again.
#[derive(Clone, Copy)]
pub(super) struct Arrived {
    pub(super) path: Path,
    pub(super) source: Ipv6Addr,
    pub(super) teredo: Option<Address>,
    pub(super) origin: Option<SocketAddrV4>,
    pub(super) bubble: bool,
    pub(super) nonce: Option<[u8; 4]>,
    pub(super) sign_of_life: Option<SignOfLife>,
    pub(super) random_port: Option<u16>,
    start: usize,
    end: usize,
}

impl Arrived {
    /// Leaves the inner packet alone in the buffer.
    pub(super) fn unwrap(&self, packet: &mut PacketMut<'_>) {
        packet.pull_front(self.start);
        packet.truncate(self.end.saturating_sub(self.start));
    }
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// What [`receive`](Self::receive) would do with a payload, if that is no more than to
    /// note when its peer was heard, or to believe one that nothing is known of, and to
    /// deliver it as it is: that is then done. The short way of most packets.
    #[inline]
    pub(super) fn receive_data(&mut self, now: Instant, path: Path, payload: &[u8]) -> Option<Result<(), DropReason>> {
        let header = ingress::data(payload)?;
        // Ports of one's own, and the second one, never have this number.
        if path.to.port() != self.config.port {
            return None;
        }
        let Some(place) = self.peers.place(&header.source()) else { return self.receive_first(now, path, &header) };
        let address = self.address();
        let peer = self.peers.at_mut(place).filter(|peer| peer.is_settled())?;
        let view = ClientView {
            servers: self.config.qualify.servers(),
            address,
            peer: Some(peer),
            secret_source: None,
            testing: false,
            local: None,
            discovery: self.config.local_discovery,
            reach: Reach { own: self.locator.as_slice(), accept_bogons: self.config.qualify.accept_bogons },
        };
        if !ingress::is_trusted(&view, path, &header) {
            return None;
        }
        let (end, next_header) = (header.destination(), header.next_header());
        self.last = Last::Came(Known { place, end, before: peer.received(), next_header });
        peer.note_received(now);
        Some(Ok(()))
    }

    /// The same of who is no peer yet. Case 3 in [`direct`](Self::direct).
    #[inline(never)]
    fn receive_first(&mut self, now: Instant, path: Path, header: &ipv6::Header<'_>) -> Option<Result<(), DropReason>> {
        let source = header.source();
        if !ingress::is_mapped(self.address(), self.reach(), path, header) || self.row_of(&source).is_some() {
            return None;
        }
        let Ok(peer) = self.peers.at_or_insert(None, now, &source) else { return Some(Err(DropReason::TableFull)) };
        peer.trust(now, path.from, false);
        peer.set_heard_on(HeardOn::Primary);
        peer.set_settled(true);
        Some(Ok(()))
    }

    #[inline(never)]
    pub(super) fn receive(
        &mut self,
        now: Instant,
        path: Path,
        packet: &mut PacketMut<'_>,
    ) -> Result<Verdict, DropReason> {
        let (datagram, header) = ingress::parse(packet.as_slice())?;
        let second_port = self.determination.port();
        if second_port != 0 && path.to.port() == second_port {
            return self.at_second_port(now, path, &datagram, &header);
        }
        let source = header.source();
        let trailers = datagram.trailers().collect_known()?;
        let (servers, address) = (self.config.qualify.servers(), self.address());
        let place = self.peers.place(&source);
        let peer = place.and_then(|place| self.peers.at(place));
        // Case 1 is decided before a test counts.
        let is_known = peer.is_some_and(|peer| peer.is_trusted_at(path.from));
        // Not before its secret is drawn: many packets may come first.
        let is_tested = || {
            let session = self.session(&source).filter(|session| !session.due.contains(Due::DRAW));
            session.is_some_and(|session| matches!(session.work, Work::Ask(Ask { how: How::Test, .. })))
        };
        let view = ClientView {
            servers,
            address,
            peer,
            // Not for the many that are addressed to the own address.
            secret_source: peer
                .filter(|_| Some(header.destination()) != address)
                .and_then(|peer| self.secret_source(peer)),
            testing: !is_known && is_tested(),
            local: self.local_peer(now, &source),
            discovery: self.config.local_discovery,
            reach: self.reach(),
        };
        let before = peer.and_then(Peer::settled_at);
        let judged = ingress::client(&view, path, &datagram, &header, &trailers);
        if judged == Err(DropReason::TeredoMapping) && is_bubble(&header) {
            self.ask_from_secret(&source);
        }
        let case = judged?;
        if case == ClientCase::Advertisement {
            return self.advertised(now, path, &datagram);
        }
        if path.from.port() == SERVER_PORT && servers.contains(path.from.ip()) {
            // TER-36: any valid packet counts.
            self.qualification.note_heard(now);
        }
        let inner = datagram.inner_range();
        let arrived = Arrived {
            path,
            source,
            teredo: Address::from_ipv6(&source),
            origin: datagram.origin(),
            bubble: is_bubble(&header),
            nonce: trailers.nonce.filter(|nonce| *nonce != [0; 4]),
            sign_of_life: trailers.sign_of_life,
            random_port: trailers.random_port.filter(|port| *port != 0),
            start: inner.start,
            end: inner.end,
        };
        let result = match case {
            // TER-21: a malformed list condemns the bubble.
            ClientCase::IndirectBubble => {
                self.indirect(now, &arrived, &trailers).map(|()| Verdict::Consumed { link: self.link })
            }
            _ => self.receive_case(now, case, place, &arrived, packet),
        };
        self.peers.note_change_of(&source, before);
        result
    }

    /// What came from a peer itself, or about it: case by case.
    fn receive_case(
        &mut self,
        now: Instant,
        case: ClientCase,
        place: Option<usize>,
        arrived: &Arrived,
        packet: &mut PacketMut<'_>,
    ) -> Result<Verdict, DropReason> {
        let (source, path) = (arrived.source, arrived.path);
        match case {
            ClientCase::Trusted
            | ClientCase::Mapped
            | ClientCase::NonceBubble
            | ClientCase::SecretBubble
            | ClientCase::Local => {
                self.direct(now, case, place, arrived)?;
                self.pass_on(arrived, packet)
            }
            ClientCase::TestReply => {
                let peer = place.and_then(|place| self.peers.at_mut(place)).ok_or(DropReason::TableFull)?;
                // Case 2: the relay nearest to the peer is where the reply
                // came from. TER-97: whatever it was before.
                peer.trust(now, path.from, true);
                if let Some(session) = self.row_of(&source).and_then(|row| self.sessions.get_mut(row)) {
                    session.reached();
                }
                Ok(Verdict::Consumed { link: self.link })
            }
            ClientCase::Discovery => {
                self.discovered(now, arrived)?;
                Ok(Verdict::Consumed { link: self.link })
            }
            ClientCase::Untested => self.untested(now, arrived, packet),
            // These are handled before.
            ClientCase::Advertisement | ClientCase::IndirectBubble => Ok(Verdict::Consumed { link: self.link }),
        }
    }

    /// `TER-102`: a peer that is being asked has answered from elsewhere than
    /// its address says, and repeats no nonce. One that knows RFC 4380 only
    /// (miredo behind a symmetric NAT) never will, but answers a bubble to the
    /// address that it came from. So there is one from an address that nobody
    /// can guess, for each attempt. `TER-99`: behind a symmetric NAT the answer
    /// to it would not come in.
    fn ask_from_secret(&mut self, source: &Ipv6Addr) {
        if !self.is_symmetric()
            && let Some(session) = self.row_of(source).and_then(|row| self.sessions.get_mut(row))
            && let Work::Ask(Ask { how: How::Bubbles, may_ask_secretly: may @ true, .. }) = &mut session.work
        {
            *may = false;
            session.due.insert(Due::SECRET);
        }
    }

    /// Gives the inner packet to the host; a bubble has nothing in it.
    fn pass_on(&self, arrived: &Arrived, packet: &mut PacketMut<'_>) -> Result<Verdict, DropReason> {
        if arrived.bubble {
            return Ok(Verdict::Consumed { link: self.link });
        }
        arrived.unwrap(packet);
        Ok(Verdict::Deliver { link: self.link, from: Admitted::Remote })
    }

    /// What arrived at the port that is there for the refresh interval only: an
    /// advertisement and a bubble of our own. [RFC 4380 §5.2.7]
    fn at_second_port(
        &mut self,
        now: Instant,
        path: Path,
        datagram: &Datagram<'_>,
        header: &ipv6::Header<'_>,
    ) -> Result<Verdict, DropReason> {
        let config = self.config.qualify;
        if path.from != SocketAddrV4::new(config.server, SERVER_PORT) {
            return Err(DropReason::TeredoDestination);
        }
        if !is_bubble(header) {
            let advertisement = qualify::judge(&config, path, datagram)?;
            self.verify(datagram)?;
            self.determination.on_advertisement(now, &config, &advertisement)?;
        } else if Some(header.source()) == self.address() {
            let nonce = datagram.trailers().collect_known()?.nonce;
            self.determination.on_bubble(now, &config, &header.destination(), nonce)?;
        } else {
            return Err(DropReason::TeredoDestination);
        }
        Ok(Verdict::Consumed { link: self.link })
    }

    /// `TER-34 [RFC 4380 §5.2.2]`: MUST discard what fails the verification.
    fn verify(&self, datagram: &Datagram<'_>) -> Result<(), DropReason> {
        if self.authenticator.client_id().is_some() {
            let origin = datagram.origin().map(origin_bytes).unwrap_or_default();
            let header = datagram.authentication().ok_or(DropReason::TeredoAuthentication)?;
            let known = Some(header.client_id) == self.authenticator.client_id() && header.confirmation == 0;
            if !known || !authentication::is_valid(&self.authenticator, &header, &origin, datagram.ipv6()) {
                return Err(DropReason::TeredoAuthentication);
            }
        }
        Ok(())
    }

    /// A Router Advertisement of a server.
    fn advertised(&mut self, now: Instant, path: Path, datagram: &Datagram<'_>) -> Result<Verdict, DropReason> {
        let advertisement = qualify::judge(&self.config.qualify, path, datagram)?;
        self.verify(datagram)?;
        // TER-101: an answer to an echo test tells of a port of its own, and
        // never changes the client's mapping.
        let consumed = Ok(Verdict::Consumed { link: self.link });
        for session in &mut self.sessions {
            let Some(port) = &mut session.port else { continue };
            let Guess::Asked(test) = &mut port.guess else { continue };
            let Some(at) = test.nonces.iter().position(|nonce| *nonce == advertisement.nonce) else { continue };
            if path.to.port() != port.number {
                return Err(DropReason::TeredoNonce);
            }
            if let Some(seen) = test.seen.get_mut(at) {
                seen.get_or_insert(advertisement.mapping.port());
            }
            if let [Some(lower), Some(upper)] = test.seen {
                // TER-81: the middle; where the ports wrapped, the next one.
                let next = || lower.checked_add(1).unwrap_or(1024);
                port.guess = Guess::Found(if upper < lower { next() } else { lower.midpoint(upper) });
                session.due.insert(Due::DRAW | Due::INDIRECT);
            }
            return consumed;
        }
        // At the service port only.
        if path.to.port() != self.config.port {
            return Err(DropReason::TeredoNonce);
        }
        let outcome = self.qualification.on_advertisement(now, &self.config.qualify, &advertisement)?;
        self.take_mapping(outcome);
        consumed
    }

    /// A packet that came straight from its peer, and is believed. `place`: of the peer, if there is one.
    fn direct(
        &mut self,
        now: Instant,
        case: ClientCase,
        place: Option<usize>,
        arrived: &Arrived,
    ) -> Result<(), DropReason> {
        let (from, bubble) = (arrived.path.from, arrived.bubble);
        let ports = bubble && (self.uses_random_ports() || self.guesses_ports());
        // TER-71: who does not see us where our address says knows us by its own
        // nonce only, which comes with its indirect bubble.
        let hidden = self.is_symmetric() || !is_usable(*from.ip(), self.config.qualify.accept_bogons);
        let row = self.row_of(&arrived.source);
        let mut session = row.and_then(|row| self.sessions.get_mut(row));
        let own_port = session.as_ref().map_or(0, |session| session.own_port());
        let on_random = own_port != 0 && arrived.path.to.port() == own_port;
        if !on_random && arrived.path.to.port() != self.config.port {
            // A port that is no longer anybody's.
            return Err(DropReason::TeredoMapping);
        }
        let peer = match (place.and_then(|place| self.peers.at_mut(place)), case) {
            (Some(peer), _) => peer,
            // Case 3: MUST create.
            (None, ClientCase::Mapped) => {
                self.peers.at_or_insert(None, now, &arrived.source).map_err(|_| DropReason::TableFull)?
            }
            (None, _) => return Err(DropReason::TeredoMapping),
        };
        // Who repeats the nonce of our indirect bubble, or answers to the secret
        // source of one, is who got it.
        let nonce = bubble && peer.nonce_sent() != [0; 4] && arrived.nonce == Some(peer.nonce_sent());
        let secret = nonce || case == ClientCase::SecretBubble;
        let (was_trusted, same, before) = (peer.is_trusted(), peer.is_trusted_at(from), peer.heard_on());
        if ports && was_trusted && !same {
            // TER-79 [RFC 6081 §5.4.4.5], the rows of a trusted peer.
            let silent = !peer.was_heard_within(now, VALIDITY) && !peer.was_sent_within(now, VALIDITY);
            let again = match (on_random, before) {
                (false, Some(HeardOn::Primary)) => silent.then_some(true),
                (true, Some(HeardOn::Primary)) => None,
                (true, _) => Some(true),
                // It is heard where it was not before: believed below.
                (false, _) => Some(false),
            };
            if again.ok_or(DropReason::TeredoMapping)? {
                peer.distrust();
                let may = peer.may_get_bubble(now);
                if may {
                    peer.note_bubble(now);
                }
                if let Some(session) = session {
                    if on_random {
                        session.close_port();
                    }
                    if may {
                        session.due.insert(Due::DRAW | Due::INDIRECT);
                    }
                }
                return Err(DropReason::TeredoMapping);
            }
        }
        if same && !secret {
            peer.note_received(now);
        } else {
            peer.trust(now, from, secret);
        }
        // TER-74
        if arrived.teredo.is_some_and(|teredo| ingress::embedded_mapping(&teredo) != from) {
            peer.set_symmetric();
        }
        if on_random {
            if before != Some(HeardOn::Primary) {
                peer.set_heard_on(HeardOn::Random);
            }
        } else if bubble || !was_trusted {
            peer.set_heard_on(HeardOn::Primary);
        }
        if let Some(session) = &mut session {
            // TER-79, TER-82: heard on the primary port, the other is not needed.
            let on_primary = peer.heard_on() == Some(HeardOn::Primary);
            if on_primary && (bubble || before == Some(HeardOn::Random) || !was_trusted) {
                session.close_port();
            } else if let Some(port) = session.port.as_mut().filter(|_| on_random && !was_trusted) {
                port.refresh_at = now.saturating_add(PORT_REFRESH);
            }
            let unknown = hidden && peer.nonce_received() == [0; 4];
            match session.work {
                Work::Ask(Ask { how: How::Bubbles, .. }) if !was_trusted && unknown => {
                    session.work = Work::Confirm(now.saturating_add(CONFIRM));
                    session.later = Expiry::NEVER;
                }
                Work::Confirm(_) => {}
                _ => session.reached(),
            }
            // [RFC 4380 §5.2.3]: MAY bubble to who was heard. A peer that has just
            // become trusted by a secret may not have heard us yet.
            if !was_trusted
                && matches!(case, ClientCase::NonceBubble | ClientCase::SecretBubble)
                && self.bubbles.take(now, BUBBLES)
            {
                session.targets.insert(Targets::MAPPING);
            }
        }
        peer.set_settled(session.is_none_or(|session| session.is_settled()));
        // TER-85: MUST answer a solicitation, and no advertisement.
        if bubble
            && arrived.sign_of_life == Some(SignOfLife::Solicitation)
            && self.bubbles.take(now, BUBBLES)
            && let Ok(row) = self.session_for(now, &arrived.source, false)
            && let Some(session) = self.sessions.get_mut(row)
        {
            session.due.insert(Due::ADVERTISE);
        }
        Ok(())
    }
}
