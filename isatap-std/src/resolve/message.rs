//! DNS messages: the A question and what an answer to it says \[RFC 1035 §4\].
//!
//! The crate `domain` reads and writes them. It checks each access and follows at most 255
//! pointers a name, each backwards. Bounded here: eight aliases a chain, one pass over the
//! records.

use std::net::Ipv4Addr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::PushError;
use domain::base::name::NameBuilder;
use domain::base::wire::ParseError;
use domain::base::{Message, MessageBuilder, ParsedName, StreamTarget, ToName};
use domain::rdata::{A, Cname};

use super::Name;

/// CNAME records followed for one name, over all answers together (NAM-7).
pub(super) const MAX_ALIASES: u8 = 8;

/// A name as it stands in a message; two that differ in case only are equal.
///
/// An alias may carry octets that a [`Name`] refuses.
pub(crate) type WireName = domain::base::Name<Vec<u8>>;

/// `name` as it goes into a message.
pub(crate) fn wire_name(name: &Name) -> WireName {
    let mut wire = NameBuilder::new_vec();
    for label in name.labels() {
        wire.append_label(label.as_bytes()).expect("a `Name` keeps the limits of the DNS");
    }
    wire.into_name().expect("a `Name` keeps the limits of the DNS")
}

/// The A question for `name`: recursion desired, one question, nothing else. As a datagram,
/// or as a stream carries it.
pub(super) fn query(id: u16, name: &WireName) -> Result<StreamTarget<Vec<u8>>, PushError> {
    let mut message = MessageBuilder::from_target(StreamTarget::new_vec())?;
    message.header_mut().set_id(id);
    message.header_mut().set_rd(true);
    let mut question = message.question();
    question.push((name, Rtype::A))?;
    Ok(question.finish())
}

/// What the answer to an A question says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// NAM-5, NAM-7: addresses, and the smallest TTL of the chain that led to them.
    Addresses { addresses: Vec<Ipv4Addr>, ttl: Duration },
    /// The chain ends in a name of which this answer holds no address.
    Alias {
        target: WireName,
        ttl: Duration,
        /// How many aliases led there.
        links: u8,
    },
    /// The name does not exist, or has no address.
    NoSuchName,
    /// TC: ask again by TCP.
    Truncated,
    /// The server could not or would not answer.
    ServerFailure,
    /// The answer is ours and cannot be right.
    Malformed,
}

/// Reads an answer to the question `id`, `name`. `None`: it is not the answer to
/// that question, so the caller goes on waiting. `links`: aliases still allowed.
pub(super) fn reply(message: &[u8], id: u16, name: &WireName, links: u8) -> Option<Reply> {
    let message = Message::from_slice(message).ok()?;
    let (header, counts) = (message.header(), message.header_counts());
    if header.id() != id || !header.qr() || header.opcode() != Opcode::QUERY {
        return None;
    }
    let rcode = header.rcode();
    // A server that could not even read the question may leave it out. Such an
    // answer may only say that: believed as "no such name", it would be easy to forge.
    if counts.qdcount() == 0 && rcode != Rcode::NOERROR && rcode != Rcode::NXDOMAIN {
        return Some(Reply::ServerFailure);
    }
    let question = message.sole_question().ok()?;
    if question.qname() != name || question.qtype() != Rtype::A || question.qclass() != Class::IN {
        return None;
    }
    match rcode {
        Rcode::NXDOMAIN => return Some(Reply::NoSuchName),
        Rcode::NOERROR => {}
        _ => return Some(Reply::ServerFailure),
    }
    if header.tc() {
        return Some(Reply::Truncated);
    }
    // Neither an answer nor the service we asked for: a referral, or a server
    // that does not serve us. It says nothing about the name.
    if counts.ancount() == 0 && !header.aa() && !header.ra() {
        return Some(Reply::ServerFailure);
    }
    Some(records(message).map_or(Reply::Malformed, |records| follow(name, &records, links)))
}

/// The addresses that an answer has for `name`, along at most so many aliases, and their TTL; `None`:
/// it has none.
pub(super) fn addresses(
    message: &Message<[u8]>,
    name: &WireName,
    links: u8,
) -> Result<Option<(Vec<Ipv4Addr>, Duration)>, ParseError> {
    Ok(match follow(name, &records(message)?, links) {
        Reply::Addresses { addresses, ttl } => Some((addresses, ttl)),
        _ => None,
    })
}

/// NAM-7: from the name asked for, along its aliases, to the addresses.
fn follow(name: &WireName, records: &[Record], links: u8) -> Reply {
    let mut owner = name;
    let mut ttl = u32::MAX;
    for link in 0..=links {
        let mut addresses = Vec::new();
        let mut shortest = ttl;
        let mut alias = None;
        for record in records.iter().filter(|record| record.owner == *owner) {
            match &record.data {
                Data::Address(address) => {
                    addresses.push(*address);
                    shortest = shortest.min(record.ttl);
                }
                Data::Alias(target) => alias = alias.or(Some((target, record.ttl))),
            }
        }
        if !addresses.is_empty() {
            return Reply::Addresses { addresses, ttl: Duration::from_secs(shortest.into()) };
        }
        match alias {
            Some((target, alias_ttl)) => {
                owner = target;
                ttl = ttl.min(alias_ttl);
            }
            None if link == 0 => return Reply::NoSuchName,
            None => {
                return Reply::Alias { target: owner.clone(), ttl: Duration::from_secs(ttl.into()), links: link };
            }
        }
    }
    Reply::Malformed
}

struct Record {
    owner: WireName,
    ttl: u32,
    data: Data,
}

enum Data {
    Address(Ipv4Addr),
    Alias(WireName),
}

/// NAM-8: the A and CNAME records of the answer; AAAA and all others are passed over.
fn records(message: &Message<[u8]>) -> Result<Vec<Record>, ParseError> {
    let mut records = Vec::new();
    for record in message.answer()? {
        let record = record?;
        if record.class() != Class::IN {
            continue;
        }
        let data = if let Some(address) = record.to_record::<A>()? {
            Data::Address(address.data().addr())
        } else if let Some(alias) = record.to_record::<Cname<ParsedName<&[u8]>>>()? {
            Data::Alias(alias.data().cname().to_name())
        } else {
            continue;
        };
        // RFC 2181 §8: a TTL with the high bit set counts as 0.
        let ttl = Some(record.ttl().as_secs()).filter(|ttl| ttl >> 31 == 0).unwrap_or(0);
        records.push(Record { owner: record.owner().to_name(), ttl, data });
    }
    Ok(records)
}

#[cfg(test)]
mod tests;
