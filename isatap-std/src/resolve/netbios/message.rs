//! Messages of the name service \[RFC 1002 §4.2\].

use std::net::Ipv4Addr;
use std::time::Duration;

use super::NetbiosName;
use crate::resolve::discard::Discard;

/// What a message is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) enum Opcode {
    Query,
    Registration,
    Release,
    /// "Wait for acknowledgement": the server needs more time (NAM-62).
    Wait,
    Refresh,
}

/// The bits of the second word of a header.
pub(in crate::resolve) mod flag {
    pub(in crate::resolve) const RESPONSE: u16 = 0x8000;
    pub(in crate::resolve) const AUTHORITATIVE: u16 = 0x0400;
    pub(in crate::resolve) const RECURSION_DESIRED: u16 = 0x0100;
    pub(in crate::resolve) const RECURSION_AVAILABLE: u16 = 0x0080;
    pub(in crate::resolve) const BROADCAST: u16 = 0x0010;
}

/// The record and question type of names.
pub(in crate::resolve) const NB: u16 = 0x0020;
const A: u16 = 0x0001;
const INTERNET: u16 = 0x0001;
/// A group's name, in the flags of an entry.
const GROUP: u16 = 0x8000;
/// "Name error": there is none, the only error code that says so.
const NAME_ERROR: u16 = 3;
/// A pointer to a name that stands elsewhere in the message, instead of a label.
const POINTER: u8 = 0xc0;
/// Names of the same message that a name may be led on to.
const MAX_POINTERS: usize = 4;

impl Opcode {
    fn of(flags: u16) -> Option<Self> {
        match flags >> 11 & 0xf {
            0 => Some(Opcode::Query),
            5 => Some(Opcode::Registration),
            6 => Some(Opcode::Release),
            7 => Some(Opcode::Wait),
            // RFC 1002 §4.2.1.1 and §4.2.4 give two numbers for it.
            8 | 9 => Some(Opcode::Refresh),
            _ => None,
        }
    }

    pub(in crate::resolve) fn bits(self) -> u16 {
        let number: u16 = match self {
            Opcode::Query => 0,
            Opcode::Registration => 5,
            Opcode::Release => 6,
            Opcode::Wait => 7,
            Opcode::Refresh => 8,
        };
        number << 11
    }
}

/// A section of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) enum Section {
    Answer,
    Authority,
    Additional,
}

/// A message that was read whole.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::resolve) struct Message<'m> {
    pub(in crate::resolve) id: u16,
    pub(in crate::resolve) flags: u16,
    pub(in crate::resolve) opcode: Opcode,
    /// Name, type and class. More than one question is asked by nobody.
    pub(in crate::resolve) question: Option<(Option<NetbiosName>, u16, u16)>,
    pub(in crate::resolve) records: Vec<Record<'m>>,
}

/// A resource record.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::resolve) struct Record<'m> {
    pub(in crate::resolve) section: Section,
    /// `None`: a name of another form, as the one of a server, or with a scope.
    pub(in crate::resolve) name: Option<NetbiosName>,
    pub(in crate::resolve) kind: u16,
    pub(in crate::resolve) class: u16,
    /// Seconds; 0: for ever.
    pub(in crate::resolve) ttl: u32,
    pub(in crate::resolve) data: &'m [u8],
}

impl<'m> Message<'m> {
    /// Reads a message; `None`: it cannot be one.
    pub(in crate::resolve) fn read(bytes: &'m [u8]) -> Option<Self> {
        let mut reader = Reader { bytes, at: 0 };
        let (id, flags) = (reader.word()?, reader.word()?);
        let counts = [reader.word()?, reader.word()?, reader.word()?, reader.word()?];
        let [questions, answers, authorities, additionals] = counts;
        let question = match questions {
            0 => None,
            1 => Some((reader.name()?, reader.word()?, reader.word()?)),
            _ => return None,
        };
        let sections =
            [(Section::Answer, answers), (Section::Authority, authorities), (Section::Additional, additionals)];
        let mut records = Vec::new();
        for (section, count) in sections {
            for _ in 0..count {
                let (name, kind, class) = (reader.name()?, reader.word()?, reader.word()?);
                let ttl = u32::from(reader.word()?) << 16 | u32::from(reader.word()?);
                let length = reader.word()?;
                let data = reader.take(length.into())?;
                records.push(Record { section, name, kind, class, ttl, data });
            }
        }
        Some(Self { id, flags, opcode: Opcode::of(flags)?, question, records })
    }

    pub(in crate::resolve) fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The error code; 0: none.
    pub(in crate::resolve) fn error_code(&self) -> u16 {
        self.flags & 0xf
    }

    pub(in crate::resolve) fn in_section(&self, section: Section) -> impl Iterator<Item = &Record<'m>> {
        self.records.iter().filter(move |record| record.section == section)
    }
}

impl Record<'_> {
    /// NAM-32: the addresses of a name record, each with whether a group has it.
    ///
    /// # Errors
    ///
    /// Their bytes are not as many as entries need.
    pub(in crate::resolve) fn entries(&self) -> Result<impl Iterator<Item = (bool, Ipv4Addr)> + '_, Discard> {
        let (entries, []) = self.data.as_chunks::<6>() else { return Err(Discard::Malformed) };
        Ok(entries.iter().map(|[high, low, a, b, c, d]| {
            (u16::from_be_bytes([*high, *low]) & GROUP != 0, Ipv4Addr::new(*a, *b, *c, *d))
        }))
    }
}

struct Reader<'m> {
    bytes: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let taken = self.bytes.get(self.at..)?.get(..length)?;
        self.at += length;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn word(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    /// A name; within, `None`: it is none of ours, since it has a scope or another form. Pointers lead
    /// backwards, a few times at most.
    fn name(&mut self) -> Option<Option<NetbiosName>> {
        let (mut reader, mut end) = (Reader { bytes: self.bytes, at: self.at }, None);
        let (mut labels, mut first, mut pointers) = (0_usize, None, 0);
        loop {
            let (start, length) = (reader.at, reader.byte()?);
            match length {
                0 => break,
                POINTER.. => {
                    let target = usize::from(length & !POINTER) << 8 | usize::from(reader.byte()?);
                    end.get_or_insert(reader.at);
                    pointers += 1;
                    if target >= start || pointers > MAX_POINTERS {
                        return None;
                    }
                    reader.at = target;
                }
                1..0x40 => {
                    let label = reader.take(length.into())?;
                    first = first.or(Some(label));
                    labels += 1;
                    if labels > 127 {
                        return None;
                    }
                }
                _ => return None,
            }
        }
        self.at = end.unwrap_or(reader.at);
        Some(first.filter(|_| labels == 1).and_then(NetbiosName::from_letters))
    }
}

/// Writes a message; see the functions below for those that there are.
pub(in crate::resolve) struct Writer(Vec<u8>);

impl Writer {
    /// A header with these counts of questions, answers, authorities and additional records.
    pub(in crate::resolve) fn new(id: u16, flags: u16, counts: [u16; 4]) -> Self {
        let words = [id, flags].into_iter().chain(counts);
        Self(words.flat_map(u16::to_be_bytes).collect())
    }

    pub(in crate::resolve) fn question(mut self, name: &NetbiosName) -> Self {
        self.name(name);
        self.words(&[NB, INTERNET]);
        self
    }

    /// A name record with one entry. `name`: `None` points to that of the question.
    pub(in crate::resolve) fn record(
        mut self,
        name: Option<&NetbiosName>,
        ttl: u32,
        entries: &[(u16, Ipv4Addr)],
    ) -> Self {
        match name {
            Some(name) => self.name(name),
            // The question stands right behind the header.
            None => self.words(&[0xc00c]),
        }
        self.words(&[NB, INTERNET]);
        self.0.extend(ttl.to_be_bytes());
        let length = entries.len().saturating_mul(6);
        self.words(&[u16::try_from(length).unwrap_or(u16::MAX)]);
        for (flags, address) in entries {
            self.words(&[*flags]);
            self.0.extend(address.octets());
        }
        self
    }

    pub(in crate::resolve) fn finish(self) -> Vec<u8> {
        self.0
    }

    fn name(&mut self, name: &NetbiosName) {
        self.0.push(32);
        self.0.extend(name.letters());
        self.0.push(0);
    }

    fn words(&mut self, words: &[u16]) {
        self.0.extend(words.iter().flat_map(|word| word.to_be_bytes()));
    }
}

/// NAM-31: the query for a name, by broadcast or to a WINS server.
#[must_use]
pub fn query(id: u16, name: &NetbiosName, by_broadcast: bool) -> Vec<u8> {
    let way = if by_broadcast { flag::BROADCAST } else { 0 };
    let flags = Opcode::Query.bits() | flag::RECURSION_DESIRED | way;
    Writer::new(id, flags, [1, 0, 0, 0]).question(name).finish()
}

/// What an answer to a query says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The machine has these addresses.
    Addresses {
        /// Not empty.
        addresses: Vec<Ipv4Addr>,
        /// How long they hold; `None`: for ever.
        ttl: Option<Duration>,
    },
    /// There is no such name.
    NoSuchName,
    /// The server has an error, or refuses to answer: it does not say whether there is such a name.
    ServerFailure,
    /// The server needs so much more time (NAM-62).
    Wait(Duration),
    /// Another server is to be asked (NAM-62).
    Redirect(Ipv4Addr),
}

/// Reads an answer to the query `id` for `name` (NAM-32, NAM-33, NAM-62).
///
/// # Errors
///
/// Why it is none.
pub fn reply(bytes: &[u8], id: u16, name: &NetbiosName) -> Result<Reply, Discard> {
    let message = Message::read(bytes).ok_or(Discard::Malformed)?;
    if message.id != id {
        return Err(Discard::WrongId);
    }
    if !message.has(flag::RESPONSE) || message.question.is_some() {
        return Err(Discard::Malformed);
    }
    let is_ours = |record: &&Record<'_>| record.name == Some(*name);
    let about = message.records.first().filter(is_ours).ok_or(Discard::OtherQuestion)?;
    match message.opcode {
        Opcode::Wait => return Ok(Reply::Wait(Duration::from_secs(about.ttl.into()))),
        Opcode::Query => {}
        _ => return Err(Discard::Malformed),
    }
    match message.error_code() {
        0 => {}
        NAME_ERROR => return Ok(Reply::NoSuchName),
        _ => return Ok(Reply::ServerFailure),
    }
    if !message.has(flag::AUTHORITATIVE) {
        return redirect(&message).map(Reply::Redirect);
    }
    let mut addresses = Vec::new();
    let (mut ttl, mut is_group) = (u32::MAX, false);
    for record in message.in_section(Section::Answer).filter(is_ours) {
        if record.kind != NB || record.class != INTERNET {
            continue;
        }
        for (is_of_group, address) in record.entries()? {
            is_group |= is_of_group;
            if !is_of_group {
                addresses.push(address);
            }
        }
        // 0 is for ever, and longer than any other.
        ttl = ttl.min(record.ttl.wrapping_sub(1));
    }
    match addresses.as_slice() {
        [] if is_group => Err(Discard::Group),
        [] => Err(Discard::NoAddress),
        _ => {
            let ttl = ttl.checked_add(1).map(|ttl| Duration::from_secs(ttl.into()));
            Ok(Reply::Addresses { addresses, ttl })
        }
    }
}

/// NAM-62: the address of the server that is to be asked instead.
fn redirect(message: &Message<'_>) -> Result<Ipv4Addr, Discard> {
    let server = message.in_section(Section::Additional).find(|record| record.kind == A && record.class == INTERNET);
    let is_redirect = message.in_section(Section::Authority).next().is_some();
    let server = server.filter(|_| is_redirect).ok_or(Discard::NoAddress)?;
    let octets: [u8; 4] = server.data.try_into().map_err(|_| Discard::Malformed)?;
    Ok(octets.into())
}

#[cfg(test)]
mod tests;
