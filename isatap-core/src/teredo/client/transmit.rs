//! What a client writes of its own accord.

use core::net::{Ipv6Addr, SocketAddrV4};

use super::send::where_to;
use super::{Client, Due, Guess, Opened, OwedBubble, OwnPort, Targets, Work};
use crate::capacity::Storage;
use crate::engine::Transmit;
use crate::error::EmitError;
use crate::nd::message::{self, RouterSolicitationRepr};
use crate::packet::PacketMut;
use crate::teredo::addr::{Address, CLIENT_LINK_LOCAL, SERVER_PORT};
use crate::teredo::authentication::{Authenticator, Sealed};
use crate::teredo::ingress;
use crate::teredo::packet::{ALL_ROUTERS, Bubble, DISCOVERY_GROUP, SignOfLife, Trailer, emit_alternates};
use crate::teredo::peer::{HeardOn, Peer};
use crate::teredo::qualify::Solicitation;
use crate::wire::field::Writer;
use crate::wire::icmpv6;

/// What the next packet is.
enum Next {
    /// To the server.
    Solicitation(Solicitation),
    /// The same from the second port, and the bubble to that. [RFC 4380 §5.2.7]
    SecondPort(Solicitation),
    ToSecondPort(Bubble, [u8; 4]),
    /// Of the session in this row.
    Piece(usize, Piece),
    /// To who is no Teredo peer: the answer in this row.
    Owed(usize, OwedBubble),
    /// To the neighbours.
    Discovery,
}

/// A packet of a session.
enum Piece {
    Due(Due),
    Target(Targets),
}

/// A packet to be written: from which port, to where.
struct Letter {
    port: u16,
    to: SocketAddrV4,
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// The next packet; what was written is no longer wanted.
    pub(super) fn write_next(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        while let Some(next) = self.next_packet() {
            out.clear();
            let letter = self.write(&next, out)?;
            let sent = letter.map(|letter| self.transmit(&letter));
            self.written(&next);
            if sent.is_some() {
                return Ok(sent);
            }
        }
        out.clear();
        Ok(None)
    }

    /// Whether [`write_next`](Self::write_next) has something.
    pub(super) fn has_packet(&self) -> bool {
        self.next_packet().is_some()
    }

    fn next_packet(&self) -> Option<Next> {
        let config = &self.config.qualify;
        let second = || self.determination.wanted(config).map(Next::SecondPort);
        let to_second = || {
            let (bubble, nonce) = self.determination.wanted_bubble(self.address()?)?;
            Some(Next::ToSecondPort(bubble, nonce))
        };
        let piece = || (0..N).find_map(|row| Some(Next::Piece(row, self.next_piece(row)?)));
        let answer = || {
            let mut answers = self.answers.iter().enumerate();
            answers.find(|(_, answer)| answer.wanted).map(|(row, answer)| Next::Owed(row, *answer))
        };
        let first = self.qualification.wanted(config).map(Next::Solicitation);
        first
            .or_else(second)
            .or_else(to_second)
            .or_else(piece)
            .or_else(answer)
            .or_else(|| self.discover.then_some(Next::Discovery))
    }

    /// Writes the UDP payload; `None`: there is nobody to send it to.
    fn write(&self, next: &Next, out: &mut PacketMut<'_>) -> Result<Option<Letter>, EmitError> {
        let port = self.config.port;
        Ok(match *next {
            Next::Solicitation(ref solicitation) => {
                // TUN-4: what a name stands for may be a broadcast address; it is a silent server then.
                if self.locator.is_some_and(|own| own.is_broadcast(*solicitation.to.ip())) {
                    return Ok(None);
                }
                self.write_solicitation(out, &solicitation.source, solicitation.nonce)?;
                Some(Letter { port, to: solicitation.to })
            }
            Next::SecondPort(ref solicitation) => {
                self.write_solicitation(out, &solicitation.source, solicitation.nonce)?;
                Some(Letter { port: self.determination.port(), to: solicitation.to })
            }
            Next::ToSecondPort(bubble, nonce) => {
                write_bubble(out, bubble, |writer| Trailer::Nonce(nonce).emit(writer))?;
                Some(Letter { port, to: SocketAddrV4::new(self.config.qualify.server, SERVER_PORT) })
            }
            Next::Piece(row, ref piece) => self.write_piece(row, piece, out)?,
            Next::Owed(_, answer) => {
                let Some(address) = self.address() else { return Ok(None) };
                write_bubble(out, Bubble::new(address, answer.destination), |_| {})?;
                Some(Letter { port, to: answer.to })
            }
            Next::Discovery => {
                let Some(address) = self.address() else { return Ok(None) };
                write_bubble(out, Bubble::discovery(address), |_| {})?;
                Some(Letter { port, to: SocketAddrV4::new(DISCOVERY_GROUP, SERVER_PORT) })
            }
        })
    }

    fn written(&mut self, next: &Next) {
        match *next {
            Next::Solicitation(_) => self.qualification.sent(),
            Next::SecondPort(_) | Next::ToSecondPort(..) => self.determination.sent(),
            Next::Piece(row, ref piece) => {
                let Some(session) = self.sessions.get_mut(row) else { return };
                match *piece {
                    Piece::Due(due) => session.due.remove(due),
                    Piece::Target(target) => session.targets.remove(target),
                }
            }
            Next::Owed(row, _) => {
                if let Some(answer) = self.answers.get_mut(row) {
                    answer.wanted = false;
                }
            }
            Next::Discovery => self.discover = false,
        }
    }

    /// The first thing that a session waits to send.
    fn next_piece(&self, row: usize) -> Option<Piece> {
        let session = self.sessions.get(row).filter(|session| !session.due.contains(Due::DRAW))?;
        // RFC 6081 §5.5.4.1: the three of a test go first, in their order.
        const FIRST: [Due; 4] = [Due::PROBE_LOWER, Due::PROBE_PEER, Due::PROBE_UPPER, Due::ADVERTISE];
        let first = FIRST.into_iter().find(|due| session.due.contains(*due)).map(Piece::Due);
        // The direct bubbles go before the indirect one: our NAT is open when
        // the answer comes.
        let target = || session.targets.iter().next().map(Piece::Target);
        first.or_else(target).or_else(|| session.due.iter().next().map(Piece::Due))
    }

    fn write_piece(&self, row: usize, piece: &Piece, out: &mut PacketMut<'_>) -> Result<Option<Letter>, EmitError> {
        let (Some(session), Some(address)) = (self.sessions.get(row), self.address()) else { return Ok(None) };
        let Some(peer) = self.peers.find(&session.address) else { return Ok(None) };
        let port = self.config.port;
        let server = SocketAddrV4::new(self.config.qualify.server, SERVER_PORT);
        let [_, secondary] = self.config.qualify.servers();
        let teredo = Address::from_ipv6(&session.address);
        let bubble = Bubble::new(address, session.address);
        // TER-70: the nonce of the last indirect bubble that came, if any.
        let direct = |writer: &mut Writer<'_>| {
            if peer.nonce_received() != [0; 4] {
                Trailer::Nonce(peer.nonce_received()).emit(writer);
            }
        };
        // TER-76, TER-101: where the NAT shows the port of one's own.
        let own_port = session.port.map(|port| port.number);
        let random = match session.port.map(|port| port.guess) {
            Some(Guess::Found(port)) => Some(port),
            _ => own_port.filter(|_| !self.guesses_ports()),
        };
        // TER-101: of two ports, the one that the mapping was learned on.
        let mapping_port = own_port.filter(|_| peer.heard_on() == Some(HeardOn::Random)).unwrap_or(port);
        let mapping = where_to(peer, self.trusts_opened_ports(), self.reach());
        let letter = match *piece {
            Piece::Due(Due::INDIRECT) => {
                let Some(teredo) = teredo else { return Ok(None) };
                let to = SocketAddrV4::new(teredo.server, SERVER_PORT);
                write_bubble(out, bubble, |writer| {
                    Trailer::Nonce(peer.nonce_sent()).emit(writer);
                    // TER-83: before communication is established.
                    if !peer.is_trusted() {
                        self.emit_alternates(writer);
                    }
                    if let Some(random) = random {
                        Trailer::RandomPort(random).emit(writer);
                    }
                })?;
                Letter { port, to }
            }
            Piece::Due(Due::SECRET) => {
                let (Some(teredo), Some(source)) = (teredo, self.secret_source(peer)) else { return Ok(None) };
                // Without trailers: who does not know RFC 6081 is asked.
                write_bubble(out, Bubble::new(source, session.address), |_| {})?;
                Letter { port, to: SocketAddrV4::new(teredo.server, SERVER_PORT) }
            }
            Piece::Due(Due::ECHO) => {
                // TER-64: small enough for every server.
                let sequence = if let Work::Ask(ask) = session.work { ask.attempts.into() } else { 0 };
                let echo = icmpv6::Echo { identifier: 0, sequence };
                echo.request(out, address, session.address, &peer.test_nonce())?;
                Letter { port, to: server }
            }
            Piece::Due(Due::SOLICIT) => {
                write_bubble(out, bubble, |writer| {
                    direct(writer);
                    Trailer::NeighborDiscovery(SignOfLife::Solicitation).emit(writer);
                })?;
                Letter { port: mapping_port, to: mapping }
            }
            Piece::Due(Due::ADVERTISE) => {
                write_bubble(out, bubble, |writer| {
                    direct(writer);
                    Trailer::NeighborDiscovery(SignOfLife::Advertisement).emit(writer);
                })?;
                Letter { port: mapping_port, to: mapping }
            }
            Piece::Due(Due::LOCAL) => {
                let Some(to) = self.local_peer(self.now, &session.address) else { return Ok(None) };
                write_bubble(out, bubble, |_| {})?;
                Letter { port, to }
            }
            Piece::Due(Due::LOCAL_GROUP) => {
                write_bubble(out, Bubble::discovery(address), |_| {})?;
                Letter { port, to: SocketAddrV4::new(DISCOVERY_GROUP, SERVER_PORT) }
            }
            Piece::Due(probe @ (Due::PROBE_LOWER | Due::PROBE_PEER | Due::PROBE_UPPER)) => {
                let Some(OwnPort { number: port, guess: Guess::Asked(test), .. }) = session.port else {
                    return Ok(None);
                };
                let [lower, upper] = test.nonces;
                let to = match probe {
                    Due::PROBE_LOWER => {
                        self.write_solicitation(out, &CLIENT_LINK_LOCAL, lower)?;
                        server
                    }
                    Due::PROBE_UPPER => {
                        self.write_solicitation(out, &CLIENT_LINK_LOCAL, upper)?;
                        SocketAddrV4::new(secondary, SERVER_PORT)
                    }
                    _ => {
                        let Some(teredo) = teredo else { return Ok(None) };
                        write_bubble(out, bubble, direct)?;
                        // The NAT's next port is for this destination and no other: the
                        // one from which the peer will send.
                        let mut to = ingress::embedded_mapping(&teredo);
                        if session.peer_port != 0 {
                            to.set_port(session.peer_port);
                        }
                        if !self.reach().may_send_to(to) {
                            return Ok(None);
                        }
                        to
                    }
                };
                Letter { port, to }
            }
            Piece::Due(_) => return Ok(None),
            Piece::Target(target) => {
                let embedded = teredo.as_ref().map(ingress::embedded_mapping);
                let (port, to) = match target {
                    Targets::EMBEDDED => (port, embedded),
                    Targets::MAPPING => (mapping_port, Some(mapping)),
                    Targets::RANDOM => {
                        let to = embedded.map(|to| SocketAddrV4::new(*to.ip(), session.peer_port));
                        // TER-77: from our own, if we have one. TER-100: else
                        // from the primary one.
                        (own_port.unwrap_or(port), to)
                    }
                    Targets::FROM_RANDOM => (own_port.unwrap_or(port), embedded.filter(|_| own_port.is_some())),
                    alternate => (port, session.alternate(alternate)),
                };
                let Some(to) = to else { return Ok(None) };
                let checked = matches!(target, Targets::EMBEDDED | Targets::RANDOM | Targets::FROM_RANDOM);
                if checked && !self.reach().may_send_to(to) {
                    return Ok(None);
                }
                write_bubble(out, bubble, |writer| {
                    direct(writer);
                    if matches!(target, Targets::RANDOM | Targets::FROM_RANDOM)
                        && own_port.is_some()
                        && let Some(random) = random
                    {
                        Trailer::RandomPort(random).emit(writer);
                    }
                })?;
                Letter { port, to }
            }
        };
        Ok(Some(letter))
    }

    /// `TER-83 [RFC 6081 §5.6.4.1]`: the local address and port, and what a port
    /// mapping protocol has got.
    fn emit_alternates(&self, writer: &mut Writer<'_>) {
        if !self.config.hairpinning {
            return;
        }
        let Some(locator) = self.locator else { return };
        let local = SocketAddrV4::new(locator.address, self.config.port);
        match self.opened {
            Opened::Other(mapped) => emit_alternates(writer, &[local, mapped]),
            Opened::Nothing | Opened::Mapping => emit_alternates(writer, &[local]),
        }
    }

    /// A Router Solicitation with its authentication header.
    /// `[RFC 4380 §5.2.1, §5.2.2]`
    fn write_solicitation(&self, out: &mut PacketMut<'_>, source: &Ipv6Addr, nonce: [u8; 8]) -> Result<(), EmitError> {
        message::write_packet(out, source, &ALL_ROUTERS, |writer| RouterSolicitationRepr.emit(writer))?;
        let mut solicitation = [0; SOLICITATION_LEN];
        if let Some(bytes) = out.as_slice().first_chunk() {
            solicitation = *bytes;
        }
        let sealed = match self.authenticator.client_id().and_then(|id| Sealed::of(id, nonce, 0)) {
            Some(mut sealed) => {
                sealed.seal(&self.authenticator, &[], &solicitation);
                sealed
            }
            // Always with a nonce, so that the answer proves something.
            None => Sealed::open(nonce),
        };
        out.write_with(|writer| {
            sealed.emit(writer);
            writer.bytes(&solicitation);
        })
        .map(|_| ())
    }

    fn transmit(&mut self, letter: &Letter) -> Transmit {
        let mut outer = self.outer(letter.port, letter.to);
        if *letter.to.ip() == DISCOVERY_GROUP {
            // [RFC 4380 §5.2.8]: it stays on the link.
            outer.ttl = 1;
        }
        Transmit::tunnel(self.link, outer)
    }
}

/// IPv6 header and Router Solicitation.
const SOLICITATION_LEN: usize = 48;

fn write_bubble(
    out: &mut PacketMut<'_>,
    bubble: Bubble,
    trailers: impl FnOnce(&mut Writer<'_>),
) -> Result<(), EmitError> {
    out.write_with(|writer| {
        bubble.emit(writer);
        trailers(writer);
    })
    .map(|_| ())
}
