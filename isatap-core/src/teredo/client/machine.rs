//! The contract of a machine, kept by a client.

use core::net::Ipv6Addr;

use super::{Client, Due, End, Session};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::{Change, Entropy, Event, LearnedAddress, Machine, Transmit, Verdict, draw_key};
use crate::error::EmitError;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::route::{Origin, Route};
use crate::teredo::addr::PREFIX;
use crate::teredo::authentication::Authenticator;
use crate::teredo::ingress;
use crate::teredo::peer::Peer;
use crate::teredo::qualify::QualifyConfig;
use crate::time::{Expiry, Instant};

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Machine for Client<S, A, N> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.counters.entered = self.counters.entered.wrapping_add(1);
        match self.send(now, packet) {
            Ok(verdict) => {
                let counter = match verdict {
                    Verdict::Tunnel { .. } => &mut self.counters.tunnelled,
                    _ => &mut self.counters.consumed,
                };
                *counter = counter.wrapping_add(1);
                verdict
            }
            Err(reason) => self.drop(reason),
        }
    }

    fn decapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        match ingress::take_udp(packet) {
            Ok(path) => self.handle_datagram(now, path, packet),
            Err(reason) => {
                self.counters.entered = self.counters.entered.wrapping_add(1);
                self.drop(reason)
            }
        }
    }

    /// Nobody's word ends a test or moves a peer, so nothing is done.
    fn handle_icmpv4(&mut self, now: Instant, _message: &mut PacketMut<'_>) -> Verdict {
        self.clamp(now);
        self.counters.entered = self.counters.entered.wrapping_add(1);
        self.drop(DropReason::IcmpV4Ignored)
    }

    fn handle_timeout(&mut self, now: Instant, entropy: &mut dyn Entropy) {
        let now = self.clamp(now);
        if !self.seeded {
            self.seeded = true;
            self.peers.rekey(draw_key(entropy));
        }
        let config = QualifyConfig { refresh_interval: self.refresh_interval(), ..self.config.qualify };
        let outcome = self.qualification.handle_timeout(now, &config, entropy);
        self.take_mapping(outcome);
        self.determine(now, entropy);
        if self.form_address {
            self.form_address(now, entropy);
        }
        self.discover(now, entropy);
        for row in 0..N {
            self.attempt(now, row);
            self.ports_due(now, row);
            if self.sessions.get(row).is_some_and(|session| session.due.contains(Due::DRAW)) {
                self.draw(now, row, entropy);
            }
        }
    }

    fn poll_transmit(&mut self, out: &mut PacketMut<'_>) -> Result<Option<Transmit>, EmitError> {
        self.write_next(out)
    }

    fn poll_event(&mut self) -> Option<Event> {
        let link = self.link;
        // RTE-14: the default route comes after the address and goes before it.
        if self.told_route && self.address.is_none() {
            self.told_route = false;
            return Some(Event::Route { change: Change::Removed, route: default_route(link) });
        }
        if self.told_address != self.address
            && let Some(old) = self.told_address.take()
        {
            return Some(Event::Address { link, change: Change::Removed, address: learned(old) });
        }
        if let Some(new) = self.address.filter(|_| self.told_address.is_none()) {
            self.told_address = Some(new);
            return Some(Event::Address { link, change: Change::Added, address: learned(new) });
        }
        if self.address.is_some() && !self.told_route {
            self.told_route = true;
            return Some(Event::Route { change: Change::Added, route: default_route(link) });
        }
        let (told, port) = (self.determination.told_port, self.determination.port());
        if told != port {
            self.determination.told_port = if told == 0 { port } else { 0 };
            let change = if told == 0 { Event::OpenPort { link, port } } else { Event::ClosePort { link, port: told } };
            return Some(change);
        }
        for (row, session) in self.sessions.iter_mut().enumerate() {
            if session.told_port != session.own_port {
                if session.told_port != 0 {
                    let port = core::mem::take(&mut session.told_port);
                    return Some(Event::ClosePort { link, port });
                }
                session.told_port = session.own_port;
                return Some(Event::OpenPort { link, port: session.own_port });
            }
            for inbound in [false, true] {
                let ticket = session.ticket(row, inbound);
                let queue = if inbound { &mut session.inbound } else { &mut session.outbound };
                match queue.end.take() {
                    Some(End::Released) => return Some(Event::Released { link, ticket }),
                    Some(End::Abandoned(reason)) => return Some(Event::Abandoned { link, ticket, reason }),
                    None => {}
                }
            }
        }
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let draws = self.sessions.iter().any(|session| session.due.contains(Due::DRAW));
        if !self.seeded || self.form_address || draws || self.has_packet() || self.has_event() {
            return Some(self.now);
        }
        let sessions = self.sessions.iter().map(Session::next).min().unwrap_or(Expiry::NEVER);
        let qualification = self.qualification.deadline().min(self.determination.deadline());
        qualification.min(self.discover_at).min(sessions).instant()
    }
}

/// The own address: every Teredo address is on-link.
pub(super) fn learned(address: Ipv6Addr) -> LearnedAddress {
    LearnedAddress {
        address,
        prefix_length: PREFIX.length(),
        preferred_until: Expiry::NEVER,
        valid_until: Expiry::NEVER,
    }
}

/// Native hosts are reached over the link too, each as its own next hop.
pub(super) fn default_route(link: LinkId) -> Route {
    Route::on_link(Ipv6Prefix::DEFAULT, link, Origin::Automatic)
}
