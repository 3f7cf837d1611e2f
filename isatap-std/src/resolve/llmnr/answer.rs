//! What a responder says to a query, and how it finds out whether its name is unique (NAM-25).

use std::net::Ipv4Addr;

use domain::base::iana::{Class, Opcode, Rcode, Rtype};
use domain::base::message_builder::PushError;
use domain::base::{Message, MessageBuilder, Question, StreamTarget, ToName, Ttl};
use domain::rdata::A;

use super::message::{answer_to, offer_length};
use crate::resolve::discard::Discard;
use crate::resolve::message::WireName;

/// NAM-24: the TTL of what is answered, in seconds.
const TTL: Ttl = Ttl::from_secs(30);

/// What a query asks of us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) enum Asked {
    /// The addresses of our name.
    Addresses,
    /// Something else that our name does not have: the answer is empty.
    Nothing,
    /// Somebody has heard two answers for our name. Nobody answers; it is to be checked again.
    Conflict,
}

/// A query for our name.
pub(in crate::resolve) struct Query<'q> {
    message: &'q Message<[u8]>,
    pub(in crate::resolve) asked: Asked,
}

impl<'q> Query<'q> {
    /// `None`: it is for a name of others, which is no concern of ours.
    ///
    /// # Errors
    ///
    /// Why it is to be discarded.
    pub(in crate::resolve) fn read(bytes: &'q [u8], name: &WireName) -> Result<Option<Self>, Discard> {
        let message = Message::from_slice(bytes).map_err(|_| Discard::Malformed)?;
        let (header, counts) = (message.header(), message.header_counts());
        if header.qr() || header.opcode() != Opcode::QUERY || counts.ancount() != 0 || counts.nscount() != 0 {
            return Err(Discard::Malformed);
        }
        let question = message.sole_question().map_err(|_| Discard::Malformed)?;
        if question.qname() != name || !matches!(question.qclass(), Class::IN | Class::ANY) {
            return Ok(None);
        }
        // The bit of AA is C.
        let asked = match question.qtype() {
            _ if header.aa() => Asked::Conflict,
            Rtype::A | Rtype::ANY => Asked::Addresses,
            _ => Asked::Nothing,
        };
        Ok(Some(Query { message, asked }))
    }

    /// The answer; tentative (T) as long as it is not known whether the name is unique.
    pub(in crate::resolve) fn answer(
        &self,
        addresses: &[Ipv4Addr],
        is_tentative: bool,
    ) -> Result<StreamTarget<Vec<u8>>, PushError> {
        let mut message = MessageBuilder::from_target(StreamTarget::new_vec())?;
        let header = message.header_mut();
        header.set_id(self.message.header().id());
        header.set_qr(true);
        // The bit of RD is T.
        header.set_rd(is_tentative);
        header.set_rcode(Rcode::NOERROR);
        let mut questions = message.question();
        let asked = self.message.sole_question().ok();
        if let Some(question) = &asked {
            questions.push(Question::new(question.qname(), question.qtype(), question.qclass()))?;
        }
        let mut answers = questions.answer();
        if let (Asked::Addresses, Some(question)) = (self.asked, &asked) {
            let name: WireName = question.qname().to_name();
            for address in addresses {
                answers.push((&name, Class::IN, TTL, A::new(*address)))?;
            }
        }
        let mut additional = answers.additional();
        // NAM-61: who speaks EDNS0 is answered by it.
        if self.message.opt().is_some() {
            offer_length(&mut additional)?;
        }
        Ok(additional.finish())
    }
}

/// The question whether anybody else has the name: for whatever it has.
pub(in crate::resolve) fn check(id: u16, name: &WireName) -> Result<Vec<u8>, PushError> {
    let mut message = MessageBuilder::from_target(Vec::new())?;
    message.header_mut().set_id(id);
    let mut question = message.question();
    question.push((name, Rtype::ANY))?;
    let mut additional = question.additional();
    offer_length(&mut additional)?;
    Ok(additional.finish())
}

/// That an answer to [`check`] says that somebody else has the name; `true`: tentatively, since that
/// one is checking too.
///
/// # Errors
///
/// Why it is no such answer.
pub(in crate::resolve) fn claim(bytes: &[u8], id: u16, name: &WireName) -> Result<bool, Discard> {
    Ok(answer_to(bytes, id, name, Rtype::ANY)?.header().rd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::message::wire_name;

    const OWN: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 3)];

    fn name() -> WireName {
        wire_name(&"isatap".parse().unwrap())
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// A query with these flags, counts behind the question and type.
    fn query(flags: &str, counts: &str, kind: &str) -> Vec<u8> {
        bytes(&format!("1234 {flags} 0001 {counts} 06497361746150 00 {kind} 0001"))
    }

    fn asked(bytes: &[u8]) -> Result<Option<Asked>, Discard> {
        Query::read(bytes, &name()).map(|query| query.map(|query| query.asked))
    }

    #[test]
    fn nam_25_a_query_is_answered_with_the_addresses_and_nothing_else() {
        let query = query("0000", "0000 0000 0000", "0001");
        let query = Query::read(&query, &name()).unwrap().unwrap();
        let question = "06497361746150 00 0001 0001";
        let record = |last: &str| format!("0001 0001 0000001e 0004 0a0000{last}");
        let expected = |flags: &str| {
            bytes(&format!(
                "1234 {flags} 0001 0002 0000 0000 {question} 06497361746150 00 {} 06497361746150 00 {}",
                record("01"),
                record("03")
            ))
        };
        assert_eq!(query.answer(&OWN, false).unwrap().as_dgram_slice(), expected("8000"));
        assert_eq!(query.answer(&OWN, true).unwrap().as_dgram_slice(), expected("8100"));
    }

    #[test]
    fn nam_25_other_types_of_the_name_get_an_empty_answer_without_error() {
        for kind in ["001c", "000c", "0021"] {
            let query = query("0000", "0000 0000 0000", kind);
            let query = Query::read(&query, &name()).unwrap().unwrap();
            let empty = bytes(&format!("1234 8000 0001 0000 0000 0000 06497361746150 00 {kind} 0001"));
            assert_eq!(query.answer(&OWN, false).unwrap().as_dgram_slice(), empty);
        }
    }

    #[test]
    fn nam_25_what_must_not_be_answered_is_not() {
        let none = "0000 0000 0000";
        assert_eq!(asked(&query("0000", none, "00ff")), Ok(Some(Asked::Addresses)));
        // T, TC and Z in a query say nothing.
        assert_eq!(asked(&query("03f0", none, "0001")), Ok(Some(Asked::Addresses)));
        assert_eq!(asked(&query("0400", none, "0001")), Ok(Some(Asked::Conflict)));
        assert_eq!(asked(&query("8000", none, "0001")), Err(Discard::Malformed));
        assert_eq!(asked(&query("0800", none, "0001")), Err(Discard::Malformed));
        assert_eq!(asked(&query("0000", "0001 0000 0000", "0001")), Err(Discard::Malformed));
        assert_eq!(asked(&query("0000", "0000 0001 0000", "0001")), Err(Discard::Malformed));
        let two = bytes("1234 0000 0002 0000 0000 0000 06697361746170 00 0001 0001 06697361746170 00 0001 0001");
        assert_eq!(asked(&two), Err(Discard::Malformed));
        let other = bytes("1234 0000 0001 0000 0000 0000 0477706164 00 0001 0001");
        assert_eq!(asked(&other), Ok(None));
        let longer = bytes("1234 0000 0001 0000 0000 0000 06697361746170 016100 0001 0001");
        assert_eq!(asked(&longer), Ok(None));
    }

    #[test]
    fn nam_61_who_speaks_edns0_is_answered_by_it() {
        let query = bytes("1234 0000 0001 0000 0000 0001 06697361746170 00 0001 0001 00 0029 0500 00000000 0000");
        let answer = Query::read(&query, &name()).unwrap().unwrap().answer(&OWN, false).unwrap();
        let answer = answer.as_dgram_slice();
        // The last record: root, OPT, 9,194 bytes.
        assert!(answer.ends_with(&bytes("00 0029 23ea 00000000 0000")), "{answer:02x?}");
    }

    #[test]
    fn nam_25_a_claim_is_an_answer_to_the_check() {
        let checked = "1234 0000 0001 0000 0000 0001 06697361746170 00 00ff 0001 00 0029 23ea 00000000 0000";
        assert_eq!(check(0x1234, &name()).unwrap(), bytes(checked));
        let answer = |flags: &str| bytes(&format!("1234 {flags} 0001 0000 0000 0000 06697361746170 00 00ff 0001"));
        assert_eq!(claim(&answer("8000"), 0x1234, &name()), Ok(false));
        assert_eq!(claim(&answer("8100"), 0x1234, &name()), Ok(true));
        assert_eq!(claim(&answer("8000"), 0x1235, &name()), Err(Discard::WrongId));
        assert_eq!(claim(&answer("0000"), 0x1234, &name()), Err(Discard::Malformed));
        assert_eq!(claim(&answer("8003"), 0x1234, &name()), Err(Discard::ErrorCode));
    }
}
