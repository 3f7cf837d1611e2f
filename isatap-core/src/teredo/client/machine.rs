//! The contract of a machine, kept by a client.

use core::net::Ipv6Addr;

use super::{Client, Due, End, Queue, Session};
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
        let event = self.next_event()?;
        match event {
            Event::Route { change, .. } => self.told_route = change == Change::Added,
            Event::Address { change, address, .. } => {
                self.told_address = (change == Change::Added).then_some(address.address);
            }
            Event::OpenPort { port, .. } => self.port_told(port),
            Event::ClosePort { .. } => self.port_told(0),
            Event::Released { ticket, .. } | Event::Abandoned { ticket, .. } => {
                let row = usize::try_from(ticket.slot >> 1).ok().and_then(|row| self.sessions.get_mut(row));
                if let Some(session) = row {
                    session.queue_mut(ticket.slot).end = None;
                }
            }
            _ => {}
        }
        Some(event)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let draws = self.sessions.iter().any(|session| session.due.contains(Due::DRAW));
        if !self.seeded || self.form_address || draws || self.has_packet() || self.next_event().is_some() {
            return Some(self.now);
        }
        let sessions = self.sessions.iter().map(Session::next).min().unwrap_or(Expiry::NEVER);
        let qualification = self.qualification.deadline().min(self.determination.deadline());
        qualification.min(self.discover_at).min(sessions).instant()
    }
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// The next difference between what is and what was told.
    fn next_event(&self) -> Option<Event> {
        let link = self.link;
        let route = |change| Some(Event::Route { change, route: default_route(link) });
        let address = |change, address| Some(Event::Address { link, change, address: learned(address) });
        // RTE-14: the default route comes after the address and goes before it.
        match (self.told_address, self.address) {
            (_, None) if self.told_route => return route(Change::Removed),
            (Some(told), own) if own != Some(told) => return address(Change::Removed, told),
            (None, Some(own)) => return address(Change::Added, own),
            (_, Some(_)) if !self.told_route => return route(Change::Added),
            _ => {}
        }
        let port = |told: u16, own: u16| match told {
            _ if told == own => None,
            0 => Some(Event::OpenPort { link, port: own }),
            _ => Some(Event::ClosePort { link, port: told }),
        };
        port(self.determination.told_port, self.determination.port()).or_else(|| {
            self.sessions.iter().enumerate().find_map(|(row, session)| {
                let end = |inbound: bool, queue: &Queue| {
                    let ticket = session.ticket(row, inbound);
                    Some(match queue.end? {
                        End::Released => Event::Released { link, ticket },
                        End::Abandoned(reason) => Event::Abandoned { link, ticket, reason },
                    })
                };
                port(session.told_port, session.own_port)
                    .or_else(|| end(false, &session.outbound))
                    .or_else(|| end(true, &session.inbound))
            })
        })
    }

    /// The first port that is not as the caller knows it is told to be `port`.
    fn port_told(&mut self, port: u16) {
        if self.determination.told_port != self.determination.port() {
            self.determination.told_port = port;
        } else if let Some(session) = self.sessions.iter_mut().find(|session| session.told_port != session.own_port) {
            session.told_port = port;
        }
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
