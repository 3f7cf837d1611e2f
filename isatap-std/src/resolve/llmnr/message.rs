//! Queries, and what an answer to one says.

use std::net::Ipv4Addr;
use std::time::Duration;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::{AdditionalBuilder, PushError};
use domain::base::wire::Composer;
use domain::base::{Message, MessageBuilder, StreamTarget, Ttl};
use domain::rdata::A;

use super::LARGEST;
use crate::resolve::discard::Discard;
use crate::resolve::message::{self, MAX_ALIASES, WireName};
use crate::resolve::{Heard, Name};

/// NAM-20: the question for the addresses of a name, the only one in its message, with all flags clear.
///
/// With `conflicting` records it is what a sender says that got several answers for a name that is
/// to be unique (NAM-23): C is set, and nobody answers.
pub(super) fn query(
    id: u16,
    name: &WireName,
    conflicting: &[(Ipv4Addr, Duration)],
) -> Result<StreamTarget<Vec<u8>>, PushError> {
    let mut message = MessageBuilder::from_target(StreamTarget::new_vec())?;
    message.header_mut().set_id(id);
    // The bit of AA is C.
    message.header_mut().set_aa(!conflicting.is_empty());
    let mut question = message.question();
    question.push((name, Rtype::A))?;
    let mut additional = question.additional();
    for (address, ttl) in conflicting {
        let ttl = Ttl::from_secs(u32::try_from(ttl.as_secs()).unwrap_or(u32::MAX));
        additional.push((name, Class::IN, ttl, A::new(*address)))?;
    }
    if conflicting.is_empty() {
        offer_length(&mut additional)?;
    }
    Ok(additional.finish())
}

/// NAM-61: says by EDNS0 how long a message may be for us.
pub(super) fn offer_length<T: Composer>(additional: &mut AdditionalBuilder<T>) -> Result<(), PushError> {
    additional.opt(|opt| {
        opt.set_udp_payload_size(LARGEST);
        Ok(())
    })
}

/// A sound answer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LlmnrReply {
    /// The addresses of the name; in one that is cut they may be missing.
    pub addresses: Vec<Ipv4Addr>,
    /// How long they hold.
    pub ttl: Duration,
    /// C: the name is not meant to be unique, and others may answer too.
    pub is_shared: bool,
    /// TC: the whole of it is to be had by TCP (NAM-61).
    pub is_cut: bool,
}

impl LlmnrReply {
    pub(super) fn heard(self) -> Heard {
        Heard { addresses: self.addresses, ttl: Some(self.ttl) }
    }
}

/// Reads an answer to the query `id` for `name` (NAM-23).
///
/// # Errors
///
/// Why it is none.
pub fn llmnr_reply(message: &[u8], id: u16, name: &Name) -> Result<LlmnrReply, Discard> {
    read(message, id, &message::wire_name(name))
}

pub(super) fn read(message: &[u8], id: u16, name: &WireName) -> Result<LlmnrReply, Discard> {
    let message = answer_to(message, id, name, Rtype::A)?;
    let header = message.header();
    if header.rd() {
        return Err(Discard::Tentative);
    }
    let (is_shared, is_cut) = (header.aa(), header.tc());
    match message::addresses(message, name, MAX_ALIASES) {
        Ok(Some((addresses, ttl))) => Ok(LlmnrReply { addresses, ttl, is_shared, is_cut }),
        // What is cut may be cut in a record.
        Ok(None) | Err(_) if is_cut => Ok(LlmnrReply { addresses: Vec::new(), ttl: Duration::ZERO, is_shared, is_cut }),
        Ok(None) => Err(Discard::NoAddress),
        Err(_) => Err(Discard::Malformed),
    }
}

/// A message without an error that answers the query `id` for this type of records of `name`, and no
/// other (NAM-23).
pub(super) fn answer_to<'m>(
    bytes: &'m [u8],
    id: u16,
    name: &WireName,
    of_type: Rtype,
) -> Result<&'m Message<[u8]>, Discard> {
    let message = Message::from_slice(bytes).map_err(|_| Discard::Malformed)?;
    let header = message.header();
    if !header.qr() || header.opcode() != Opcode::QUERY {
        return Err(Discard::Malformed);
    }
    if header.id() != id {
        return Err(Discard::WrongId);
    }
    // More or fewer questions than one are to be discarded, whatever they are.
    let question = message.sole_question().map_err(|_| Discard::Malformed)?;
    if question.qname() != name || question.qtype() != of_type || question.qclass() != Class::IN {
        return Err(Discard::OtherQuestion);
    }
    if header.rcode() != Rcode::NOERROR {
        return Err(Discard::ErrorCode);
    }
    Ok(message)
}

#[cfg(test)]
mod tests;
