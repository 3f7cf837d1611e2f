//! Asking all links of this host at once (NAM-21 to NAM-23, NAM-61).

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use domain::base::StreamTarget;
use socket2::{Domain, Protocol, Socket, Type};

use super::message::{LlmnrReply, query, read};
use super::{GROUP, JITTER, LARGEST, PORT, TIMEOUT, TRIES};
use crate::resolve::client::{exchange_tcp, random_id};
use crate::resolve::discard::{Discard, Discards};
use crate::resolve::interfaces::Interface;
use crate::resolve::link_socket::{Arrival, LinkSocket};
use crate::resolve::message::{WireName, wire_name};
use crate::resolve::{Answered, Conflict, Failure, Heard, Name};

/// Datagrams that are heard for one query; more are a flood.
const MAX_HEARD: usize = 256;

/// Asks everybody for a name of one label. Nobody answers: there is no such name (NAM-61).
///
/// The answers of one link are taken, that of the first: a name is unique on a link, if it is.
pub(in crate::resolve) fn ask(
    interfaces: &[Interface],
    name: &Name,
    discards: &mut Discards,
) -> Result<Answered, Failure> {
    let links = Sockets(LinkSocket::open(0).map_err(unreachable)?);
    Question::new(links, interfaces, name).map_err(unreachable)?.ask(discards)
}

fn unreachable(_: io::Error) -> Failure {
    Failure::Unreachable
}

/// The links of this host, and its clock. Those of tests are others.
trait Links {
    fn now(&self) -> Instant;

    fn pause(&mut self, time: Duration);

    /// Sends to everybody on a link.
    fn send(&mut self, bytes: &[u8], by: &Interface) -> io::Result<()>;

    /// See [`LinkSocket::receive`].
    fn receive(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<Option<Arrival>>;

    /// Asks one machine of a link by TCP; `question` has its length in front.
    fn ask_by_tcp(&mut self, question: &[u8], responder: Ipv4Addr, by: &Interface) -> io::Result<Vec<u8>>;
}

struct Sockets(LinkSocket);

impl Links for Sockets {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn pause(&mut self, time: Duration) {
        std::thread::sleep(time);
    }

    fn send(&mut self, bytes: &[u8], by: &Interface) -> io::Result<()> {
        self.0.send(bytes, SocketAddrV4::new(GROUP, PORT), by.address(), by.index)
    }

    fn receive(&mut self, buffer: &mut [u8], until: Instant) -> io::Result<Option<Arrival>> {
        self.0.receive(buffer, until)
    }

    fn ask_by_tcp(&mut self, question: &[u8], responder: Ipv4Addr, by: &Interface) -> io::Result<Vec<u8>> {
        let until = Instant::now() + TIMEOUT;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // NAM-20: nothing of it leaves the link.
        socket.set_ttl_v4(1)?;
        socket.bind(&SocketAddrV4::new(by.address(), 0).into())?;
        socket.connect_timeout(&SocketAddrV4::new(responder, PORT).into(), TIMEOUT)?;
        exchange_tcp(socket.into(), question, until)
    }
}

/// A question that is under way.
struct Question<'q, L> {
    links: L,
    interfaces: Vec<&'q Interface>,
    id: u16,
    name: WireName,
    message: StreamTarget<Vec<u8>>,
}

/// A sound answer, and whence it came.
struct Answer<'q> {
    reply: LlmnrReply,
    from: Ipv4Addr,
    interface: &'q Interface,
}

impl<'q, L: Links> Question<'q, L> {
    fn new(links: L, interfaces: &'q [Interface], name: &Name) -> io::Result<Self> {
        let (id, name) = (random_id()?, wire_name(name));
        let message = query(id, &name, &[]).map_err(io::Error::other)?;
        let interfaces = interfaces.iter().filter(|interface| interface.is_multicast).collect();
        Ok(Self { links, interfaces, id, name, message })
    }

    fn ask(&mut self, discards: &mut Discards) -> Result<Answered, Failure> {
        for _ in 0..TRIES {
            self.links.pause(jitter().map_err(unreachable)?);
            self.send()?;
            let answers = self.listen(discards).map_err(unreachable)?;
            if let Some(answer) = self.settle(answers, discards) {
                return Ok(answer);
            }
        }
        Err(Failure::NoSuchName)
    }

    fn send(&mut self) -> Result<(), Failure> {
        let (links, bytes) = (&mut self.links, self.message.as_dgram_slice());
        let sent = self.interfaces.iter().map(|interface| links.send(bytes, interface));
        // All of them, and at least one.
        if sent.filter(Result::is_ok).count() > 0 { Ok(()) } else { Err(Failure::Unreachable) }
    }

    /// NAM-22: an answer with C clear is the answer; it is waited a little for one that contradicts.
    /// After one with C set all are collected.
    fn listen(&mut self, discards: &mut Discards) -> io::Result<Vec<Answer<'q>>> {
        let asked = self.links.now();
        let (mut until, mut buffer) = (asked + TIMEOUT, vec![0; usize::from(LARGEST)]);
        let mut answers: Vec<Answer<'q>> = Vec::new();
        for _ in 0..MAX_HEARD {
            let Some(arrival) = self.links.receive(&mut buffer, until)? else { break };
            let bytes = buffer.get(..arrival.length).unwrap_or_default();
            let answer = match self.judge(&arrival, bytes, discards) {
                Ok(answer) => answer,
                Err(reason) => {
                    discards.count(reason);
                    continue;
                }
            };
            // What comes twice from one responder, or on another link, is neither news nor a conflict.
            let is_news = |first: &Answer<'_>| first.interface == answer.interface && first.from != answer.from;
            if !answers.iter().all(is_news) {
                continue;
            }
            if answer.reply.is_shared && !answers.iter().any(|before| before.reply.is_shared) {
                until = asked + TIMEOUT + JITTER;
            } else if answers.is_empty() {
                until = self.links.now() + JITTER;
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// NAM-23: what is no answer, or none of this link.
    fn judge(&mut self, arrival: &Arrival, bytes: &[u8], discards: &mut Discards) -> Result<Answer<'q>, Discard> {
        let from = *arrival.from.ip();
        let here = self.interfaces.iter().find(|interface| interface.index == arrival.interface);
        let interface = *here.filter(|interface| interface.is_on_link(from)).ok_or(Discard::OffLink)?;
        if arrival.from.port() != PORT {
            return Err(Discard::WrongPort);
        }
        let mut reply = read(bytes, self.id, &self.name)?;
        if reply.is_cut {
            // NAM-61: the whole by TCP; the one that is cut counts where there is none.
            match self.links.ask_by_tcp(self.message.as_stream_slice(), from, interface) {
                Ok(whole) => match read(&whole, self.id, &self.name) {
                    Ok(whole) => reply = whole,
                    Err(reason) => discards.count(reason),
                },
                Err(_) if reply.addresses.is_empty() => return Err(Discard::NoAddress),
                Err(_) => {}
            }
        }
        if reply.addresses.is_empty() {
            return Err(Discard::NoAddress);
        }
        Ok(Answer { reply, from, interface })
    }

    /// What the answers say together; `None`: there is none. A conflict is told to the link, and the
    /// first answer holds, whether it has C set or not: who forges an answer could also keep the true one away by
    /// contradicting it, or put a later one in its place.
    fn settle(&mut self, answers: Vec<Answer<'q>>, discards: &mut Discards) -> Option<Answered> {
        let is_shared = answers.iter().all(|answer| answer.reply.is_shared);
        // NAM-23: a name that one machine has to itself and another answers to is contested.
        let is_contested = answers.len() > 1 && !is_shared;
        let first = answers.first()?;
        let (responder, interface) = (first.from, first.interface);
        let conflict = is_contested.then(|| {
            self.tell_conflict(interface, &answers);
            let said = answers.iter().map(|answer| (answer.from, answer.reply.addresses.as_slice()));
            Conflict::between(&interface.name, said)
        });
        let mut heard: Option<Heard> = None;
        for answer in answers {
            let said = answer.reply.heard();
            match &mut heard {
                None => heard = Some(said),
                Some(heard) if is_shared => {
                    heard.addresses.extend(said.addresses);
                    heard.ttl = heard.ttl.min(said.ttl);
                }
                Some(_) => discards.count(Discard::Conflicting),
            }
        }
        Some(Answered { heard: heard?, responder, interface: interface.name.clone(), conflict })
    }

    /// NAM-23: once, and nobody answers.
    fn tell_conflict(&mut self, interface: &Interface, answers: &[Answer<'_>]) {
        let of_one = |answer: &Answer<'_>| -> Vec<(Ipv4Addr, Duration)> {
            answer.reply.addresses.iter().map(|address| (*address, answer.reply.ttl)).collect()
        };
        let mut records: Vec<(Ipv4Addr, Duration)> = answers.iter().flat_map(of_one).collect();
        // As many as fit into one datagram of any link.
        records.truncate(32);
        let told = random_id().and_then(|id| query(id, &self.name, &records).map_err(io::Error::other));
        // Whoever does not hear of it goes on as before.
        let _ = told.and_then(|told| self.links.send(told.as_dgram_slice(), interface));
    }
}

/// NAM-22: a random part of JITTER_INTERVAL.
pub(in crate::resolve) fn jitter() -> io::Result<Duration> {
    let share = u32::from(random_id()?);
    JITTER.checked_mul(share).map(|time| time / u32::from(u16::MAX)).ok_or_else(|| ErrorKind::InvalidInput.into())
}

#[cfg(test)]
mod tests;
