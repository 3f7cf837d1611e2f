//! Asking all links of this host at once (NAM-21 to NAM-23, NAM-61).

use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::message::{LlmnrReply, query, read};
use super::{GROUP, JITTER, LARGEST, PORT, TIMEOUT, TRIES};
use crate::resolve::client::{exchange_tcp, random_id};
use crate::resolve::discard::{Discard, Discards};
use crate::resolve::interfaces::Interface;
use crate::resolve::link_socket::{Arrival, LinkSocket};
use crate::resolve::message::{WireName, wire_name};
use crate::resolve::{Failure, Heard, Name};

/// Datagrams that are heard for one query; more are a flood.
const MAX_HEARD: usize = 256;

/// Asks everybody for a name of one label. Nobody answers: there is no such name (NAM-61).
///
/// The answers of one link are taken, that of the first: a name is unique on a link, if it is.
pub(in crate::resolve) fn ask(
    interfaces: &[Interface],
    name: &Name,
    discards: &mut Discards,
) -> Result<(Heard, Ipv4Addr, String), Failure> {
    let unreachable = |_: io::Error| Failure::Unreachable;
    let mut question = Question::new(interfaces, name).map_err(unreachable)?;
    for _ in 0..TRIES {
        std::thread::sleep(jitter().map_err(unreachable)?);
        question.send()?;
        let answers = question.listen(discards).map_err(unreachable)?;
        if let Some(answer) = question.settle(answers, discards) {
            return Ok(answer);
        }
    }
    Err(Failure::NoSuchName)
}

/// A question that is under way.
struct Question<'q> {
    interfaces: Vec<&'q Interface>,
    socket: LinkSocket,
    id: u16,
    name: WireName,
    bytes: Vec<u8>,
}

/// A sound answer, and whence it came.
struct Answer<'q> {
    reply: LlmnrReply,
    from: Ipv4Addr,
    interface: &'q Interface,
}

impl<'q> Question<'q> {
    fn new(interfaces: &'q [Interface], name: &Name) -> io::Result<Self> {
        let (id, name) = (random_id()?, wire_name(name));
        let bytes = query(id, &name, &[]).map_err(io::Error::other)?.as_dgram_slice().to_vec();
        let interfaces = interfaces.iter().filter(|interface| interface.is_multicast).collect();
        Ok(Self { interfaces, socket: LinkSocket::open(0)?, id, name, bytes })
    }

    fn send(&self) -> Result<(), Failure> {
        let sent = self.interfaces.iter().map(|interface| self.send_by(interface, &self.bytes));
        // All of them, and at least one.
        if sent.filter(Result::is_ok).count() > 0 { Ok(()) } else { Err(Failure::Unreachable) }
    }

    fn send_by(&self, interface: &Interface, bytes: &[u8]) -> io::Result<()> {
        self.socket.send(bytes, SocketAddrV4::new(GROUP, PORT), interface.address(), interface.index)
    }

    /// NAM-22: an answer with C clear is the answer; it is waited a little for one that contradicts.
    /// After one with C set all are collected.
    fn listen(&self, discards: &mut Discards) -> io::Result<Vec<Answer<'q>>> {
        let asked = Instant::now();
        let (mut until, mut buffer) = (asked + TIMEOUT, vec![0; LARGEST]);
        let mut answers: Vec<Answer<'q>> = Vec::new();
        for _ in 0..MAX_HEARD {
            let Some(arrival) = self.socket.receive(&mut buffer, until)? else { break };
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
                until = Instant::now() + JITTER;
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    /// NAM-23: what is no answer, or none of this link.
    fn judge(&self, arrival: &Arrival, bytes: &[u8], discards: &mut Discards) -> Result<Answer<'q>, Discard> {
        let from = *arrival.from.ip();
        let here = self.interfaces.iter().find(|interface| interface.index == arrival.interface);
        let interface = *here.filter(|interface| interface.is_on_link(from)).ok_or(Discard::OffLink)?;
        if arrival.from.port() != PORT {
            return Err(Discard::WrongPort);
        }
        let mut reply = read(bytes, self.id, &self.name)?;
        if reply.is_cut {
            // NAM-61: the whole by TCP; the one that is cut counts where there is none.
            match self.ask_by_tcp(from, interface) {
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

    fn ask_by_tcp(&self, responder: Ipv4Addr, interface: &Interface) -> io::Result<Vec<u8>> {
        let until = Instant::now() + TIMEOUT;
        let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
        // NAM-20: nothing of it leaves the link.
        socket.set_ttl_v4(1)?;
        socket.bind(&SocketAddrV4::new(interface.address(), 0).into())?;
        socket.connect_timeout(&SocketAddrV4::new(responder, PORT).into(), TIMEOUT)?;
        let question = query(self.id, &self.name, &[]).map_err(io::Error::other)?;
        exchange_tcp(socket.into(), question.as_stream_slice(), until)
    }

    /// What the answers say together; `None`: there is none. A conflict is told to the link, and the
    /// first answer holds: who forges an answer could also keep the true one away by contradicting it.
    fn settle(&mut self, answers: Vec<Answer<'q>>, discards: &mut Discards) -> Option<(Heard, Ipv4Addr, String)> {
        let is_shared = answers.iter().any(|answer| answer.reply.is_shared);
        let mut taken = answers.into_iter().filter(|answer| answer.reply.is_shared == is_shared);
        let first = taken.next()?;
        let (from, interface) = (first.from, first.interface);
        let mut heard = first.reply.heard();
        let others: Vec<Answer<'q>> = taken.collect();
        if is_shared {
            for other in others {
                let other = other.reply.heard();
                heard.addresses.extend(other.addresses);
                heard.ttl = heard.ttl.min(other.ttl);
            }
        } else if !others.is_empty() {
            others.iter().for_each(|_| discards.count(Discard::Conflicting));
            self.tell_conflict(interface, &heard, &others);
        }
        Some((heard, from, interface.name.clone()))
    }

    /// NAM-23: once, and nobody answers.
    fn tell_conflict(&self, interface: &Interface, first: &Heard, others: &[Answer<'_>]) {
        let ttl = first.ttl.unwrap_or_default();
        let mut records: Vec<(Ipv4Addr, Duration)> = first.addresses.iter().map(|address| (*address, ttl)).collect();
        for other in others {
            records.extend(other.reply.addresses.iter().map(|address| (*address, other.reply.ttl)));
        }
        // As many as fit into one datagram of any link.
        records.truncate(32);
        let told = random_id().and_then(|id| query(id, &self.name, &records).map_err(io::Error::other));
        // Whoever does not hear of it goes on as before.
        let _ = told.and_then(|told| self.send_by(interface, told.as_dgram_slice()));
    }
}

/// NAM-22: a random part of JITTER_INTERVAL.
pub(in crate::resolve) fn jitter() -> io::Result<Duration> {
    let share = u32::from(random_id()?);
    JITTER.checked_mul(share).map(|time| time / u32::from(u16::MAX)).ok_or_else(|| ErrorKind::InvalidInput.into())
}
