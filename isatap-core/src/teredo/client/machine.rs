//! The contract of a machine, kept by a client.

use core::net::{Ipv6Addr, SocketAddrV4};

use super::{Announced, Client, Due, Own, Queue, Session};
use crate::capacity::Storage;
use crate::drop_reason::DropReason;
use crate::engine::{
    Admits, Admitted, Carried, Change, Entropy, Event, LearnedAddress, Machine, Sends, Transmit, Verdict, draw_key,
};
use crate::error::EmitError;
use crate::packet::{LinkId, PacketMut};
use crate::prefix::Ipv6Prefix;
use crate::proto41::Outer;
use crate::route::{Origin, Route};
use crate::teredo::addr::PREFIX;
use crate::teredo::authentication::Authenticator;
use crate::teredo::carried::{self, Last};
use crate::teredo::ingress::{self, Path};
use crate::teredo::peer::Peer;
use crate::teredo::qualify::QualifyConfig;
use crate::time::{Expiry, Instant};

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Machine for Client<S, A, N> {
    fn encapsulate(&mut self, now: Instant, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.last = Last::Seen;
        let packet = match ingress::outgoing(packet) {
            Ok(packet) => packet,
            Err(reason) => return self.counters.settle(Err(reason)),
        };
        let result = match self.send_to_known(now, &packet) {
            Ok(outer) => return self.counters.settle(Ok(Verdict::Tunnel { link: self.link, outer })),
            Err(place) => self.send(now, &packet, place),
        };
        self.counters.settle(result)
    }

    /// What arrived at the service port, at a port that [`Event::OpenPort`]
    /// named, or (local discovery) at port 3544 of 224.0.0.253.
    ///
    /// [`Verdict::Hold`]: keep the IPv6 packet that the buffer holds; when its
    /// ticket is released, deliver it.
    fn decapsulate(&mut self, now: Instant, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        let now = self.clamp(now);
        self.last = Last::Seen;
        let path = match Path::of(outer) {
            Ok(path) => path,
            Err(reason) => return self.counters.settle(Err(reason)),
        };
        let result = match self.receive_data(now, path, packet.as_slice()) {
            Some(done) => done.map(|()| Verdict::Deliver { link: self.link, from: Admitted::Remote }),
            None => self.receive(now, path, packet),
        };
        self.counters.settle(result)
    }

    fn generation(&self) -> u32 {
        self.peers.changes()
    }

    fn poll_void(&mut self) -> Option<Ipv6Addr> {
        self.peers.next_void()
    }

    fn last_sends(&self) -> Option<Sends> {
        self.last.sends(&self.peers, self.link, self.local()?)
    }

    fn last_admits(&self) -> Option<Admits> {
        self.last.admits(&self.peers, self.link, self.local()?)
    }

    fn carried(&mut self, now: Instant, carried: &Carried) -> Option<Expiry> {
        let now = self.clamp(now);
        carried::note(&mut self.peers, &mut self.counters, now, carried)
    }

    fn refused(&mut self, now: Instant, reason: DropReason) -> Verdict {
        self.clamp(now);
        self.counters.settle(Err(reason))
    }

    /// Nobody's word ends a test or moves a peer, so nothing is done.
    fn handle_icmpv4(&mut self, now: Instant, _message: &mut PacketMut<'_>) -> Verdict {
        self.clamp(now);
        self.counters.settle(Err(DropReason::IcmpV4Ignored))
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
        if let Own::Wanted = self.own {
            self.form_address(now, entropy);
        }
        self.discover(now, entropy);
        for row in 0..N {
            self.attempt(now, row, None);
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
        if let Some((event, told)) = self.next_own() {
            self.announced = told;
            return Some(event);
        }
        let event = self.next_event()?;
        match event {
            Event::OpenPort { port, .. } => self.port_told(port),
            Event::ClosePort { .. } => self.port_told(0),
            Event::Released { ticket, .. } | Event::Abandoned { ticket, .. } => {
                let row = usize::try_from(ticket.slot >> 1).ok().and_then(|row| self.sessions.get_mut(row));
                if let Some(session) = row {
                    *session.queue_mut(ticket.slot) = Queue::Empty;
                }
            }
            _ => {}
        }
        Some(event)
    }

    fn poll_timeout(&self) -> Option<Instant> {
        let draws = self.sessions.iter().any(|session| session.due.contains(Due::DRAW));
        let wants_address = matches!(self.own, Own::Wanted);
        let has_event = || self.next_own().is_some() || self.next_event().is_some();
        if !self.seeded || wants_address || draws || self.has_packet() || has_event() {
            return Some(self.now);
        }
        let sessions = self.sessions.iter().map(Session::next).min().unwrap_or(Expiry::NEVER);
        let qualification = self.qualification.deadline().min(self.determination.deadline());
        qualification.min(self.discover_at).min(sessions).instant()
    }
}

impl<S: Storage<Peer>, A: Authenticator, const N: usize> Client<S, A, N> {
    /// Where packets come from and go to.
    fn local(&self) -> Option<SocketAddrV4> {
        self.locator.map(|own| SocketAddrV4::new(own.address, self.config.port))
    }

    /// The next step from what was told of the own address to what is, and what is told then.
    fn next_own(&self) -> Option<(Event, Announced)> {
        let link = self.link;
        let route = |change| Event::Route { change, route: default_route(link) };
        let address = |change, address| Event::Address { link, change, address: learned(address) };
        Some(match (self.announced, self.address()) {
            (Announced::Nothing, own) => (address(Change::Added, own?), Announced::Address(own?)),
            (Announced::Address(told), Some(own)) if told == own => {
                (route(Change::Added), Announced::AddressAndRoute(told))
            }
            (Announced::Address(told), _) => (address(Change::Removed, told), Announced::Nothing),
            (Announced::AddressAndRoute(told), own) if own == Some(told) => return None,
            (Announced::AddressAndRoute(told), _) => (route(Change::Removed), Announced::Address(told)),
        })
    }

    /// The next difference in ports and waits between what is and what was told.
    fn next_event(&self) -> Option<Event> {
        let link = self.link;
        let port = |told: u16, own: u16| match told {
            _ if told == own => None,
            0 => Some(Event::OpenPort { link, port: own }),
            _ => Some(Event::ClosePort { link, port: told }),
        };
        port(self.determination.told_port, self.determination.port()).or_else(|| {
            self.sessions.iter().enumerate().find_map(|(row, session)| {
                let end = |inbound: bool, queue: &Queue| match *queue {
                    Queue::Ended(end) => Some(Event::of_wait(link, session.ticket(row, inbound), end)),
                    Queue::Empty | Queue::Holding(_) => None,
                };
                port(session.told_port, session.own_port())
                    .or_else(|| end(false, &session.outbound))
                    .or_else(|| end(true, &session.inbound))
            })
        })
    }

    /// The first port that is not as the caller knows it is told to be `port`.
    fn port_told(&mut self, port: u16) {
        if self.determination.told_port != self.determination.port() {
            self.determination.told_port = port;
        } else if let Some(session) = self.sessions.iter_mut().find(|session| session.told_port != session.own_port()) {
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
