//! Messages of RFC 2136, signed by RFC 8945. The crate `domain` writes, reads and signs them.

use crate::resolve::WireName;
use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::{Message, MessageBuilder, ParsedName, Record, StreamTarget, ToName, Ttl, UnknownRecordData};
use domain::rdata::tsig::Time48;
use domain::rdata::{Aaaa, Soa};
use domain::tsig::{ClientTransaction, Key, ValidationError};
use std::io;
use std::net::Ipv6Addr;

/// What is to become of a name.
pub(super) struct Change<'a> {
    pub(super) zone: &'a WireName,
    pub(super) name: &'a WireName,
    /// The addresses that it has now; with others nothing is changed.
    pub(super) expected: &'a [Ipv6Addr],
    pub(super) wanted: &'a [Ipv6Addr],
    pub(super) ttl: u32,
}

/// What the server says.
#[derive(Debug)]
pub(super) enum Verdict {
    Said(Rcode),
    /// The answer, with this code, is not signed as it should be, or it complains of our signature.
    Signature(Rcode, ValidationError),
}

pub(super) type Transaction = ClientTransaction<Key>;
type Written = StreamTarget<Vec<u8>>;

/// [RFC 2136 §2]: the zone, what is taken for granted, what is to be changed.
pub(super) fn update(id: u16, change: &Change<'_>, key: Option<&Key>) -> io::Result<(Written, Option<Transaction>)> {
    let Change { zone, name, expected, wanted, ttl } = change;
    let no_data = || UnknownRecordData::from_octets(Rtype::AAAA, []).map_err(io::Error::other);
    let record = |class, ttl, address: &Ipv6Addr| Record::new(name, class, Ttl::from_secs(ttl), Aaaa::new(*address));
    let mut message = MessageBuilder::from_target(Written::new_vec()).map_err(io::Error::other)?;
    message.header_mut().set_id(id);
    message.header_mut().set_opcode(Opcode::UPDATE);
    let mut message = message.question();
    message.push((zone, Rtype::SOA)).map_err(io::Error::other)?;
    let mut message = message.answer();
    // §2.4.3: there is no such RRset; §2.4.2: it is exactly this.
    if expected.is_empty() {
        message.push(Record::new(name, Class::NONE, Ttl::ZERO, no_data()?)).map_err(io::Error::other)?;
    }
    for address in *expected {
        message.push(record(Class::IN, 0, address)).map_err(io::Error::other)?;
    }
    let mut message = message.authority();
    // §2.5.2: all of it goes; §2.5.1: and these come.
    message.push(Record::new(name, Class::ANY, Ttl::ZERO, no_data()?)).map_err(io::Error::other)?;
    for address in *wanted {
        message.push(record(Class::IN, *ttl, address)).map_err(io::Error::other)?;
    }
    let mut message = message.additional();
    let sign = |key: &Key| ClientTransaction::request(key.clone(), &mut message, Time48::now());
    let transaction = key.map(sign).transpose().map_err(io::Error::other)?;
    Ok((message.finish(), transaction))
}

/// The answer to an [`update`].
pub(super) fn verdict(answer: Vec<u8>, id: u16, transaction: Option<&Transaction>) -> io::Result<Verdict> {
    let mut answer = read(answer, id, Opcode::UPDATE)?;
    let rcode = answer.header().rcode();
    let verified = transaction.map_or(Ok(()), |transaction| transaction.answer(&mut answer, Time48::now()));
    Ok(verified.map_or_else(|error| Verdict::Signature(rcode, error), |()| Verdict::Said(rcode)))
}

/// A question; recursion is desired of who is no authority.
pub(super) fn query(id: u16, name: &WireName, rtype: Rtype, recursive: bool) -> io::Result<Written> {
    let mut message = MessageBuilder::from_target(Written::new_vec()).map_err(io::Error::other)?;
    message.header_mut().set_id(id);
    message.header_mut().set_rd(recursive);
    let mut message = message.question();
    message.push((name, rtype)).map_err(io::Error::other)?;
    Ok(message.finish())
}

/// The addresses of a name, by the zone's own server.
pub(super) fn addresses(answer: Vec<u8>, id: u16, name: &WireName) -> io::Result<Vec<Ipv6Addr>> {
    let answer = read(answer, id, Opcode::QUERY)?;
    match answer.header().rcode() {
        Rcode::NOERROR => {}
        Rcode::NXDOMAIN => return Ok(Vec::new()),
        other => return Err(io::Error::other(format!("the server answers {other}"))),
    }
    let records = answer.answer().map_err(io::Error::other)?.limit_to_in::<Aaaa>();
    let records: Result<Vec<_>, _> = records.collect();
    let own = records.map_err(io::Error::other)?.into_iter().filter(|record| record.owner() == name);
    Ok(own.map(|record| record.data().addr()).collect())
}

/// The primary server of a zone.
pub(super) fn primary(answer: Vec<u8>, id: u16, zone: &WireName) -> io::Result<WireName> {
    let answer = read(answer, id, Opcode::QUERY)?;
    let records = answer.answer().map_err(io::Error::other)?.limit_to_in::<Soa<ParsedName<_>>>();
    let records: Result<Vec<_>, _> = records.collect();
    let soa = records.map_err(io::Error::other)?.into_iter().find(|record| record.owner() == zone);
    soa.map(|soa| soa.data().mname().to_name()).ok_or_else(|| io::Error::other("there is no such zone"))
}

fn read(answer: Vec<u8>, id: u16, opcode: Opcode) -> io::Result<Message<Vec<u8>>> {
    let message = Message::from_octets(answer).map_err(|_| io::Error::other("the answer is too short"))?;
    let header = message.header();
    let is_answer = header.id() == id && header.qr() && header.opcode() == opcode;
    is_answer.then_some(message).ok_or_else(|| io::Error::other("the answer is one to another question"))
}
