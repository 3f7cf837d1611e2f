//! DNS messages: the A question and what an answer to it says \[RFC 1035 §4\].
//!
//! Bytes from the network are read with checked accesses only, and every walk is
//! bounded: 128 steps a name, eight aliases a chain, one pass over the records.

use std::net::Ipv4Addr;
use std::time::Duration;

use super::Name;
use super::name::{MAX_LABEL_OCTETS, MAX_NAME_OCTETS};

/// CNAME records followed for one name, over all answers together (NAM-7).
pub(super) const MAX_ALIASES: u8 = 8;

const HEADER_LEN: usize = 12;
/// A name of 255 octets has at most 127 labels; pointers count as steps too.
const MAX_NAME_STEPS: usize = 128;
const TYPE_A: u16 = 1;
const TYPE_CNAME: u16 = 5;
const CLASS_IN: u16 = 1;
const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const AUTHORITATIVE: u16 = 0x0400;
const TRUNCATED: u16 = 0x0200;
const RECURSION_DESIRED: u16 = 0x0100;
const RECURSION_AVAILABLE: u16 = 0x0080;
const RCODE: u16 = 0x000f;
const RCODE_NO_ERROR: u16 = 0;
const RCODE_NAME_ERROR: u16 = 3;

/// A name as it stands in a message: length octets, labels in lower case, the root.
///
/// An alias may carry octets that a [`Name`] refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct WireName(Vec<u8>);

impl From<&Name> for WireName {
    fn from(name: &Name) -> Self {
        let mut octets = Vec::with_capacity(MAX_NAME_OCTETS);
        for label in name.labels() {
            // A `Name` holds labels of 1 to 63 octets only.
            octets.push(u8::try_from(label.len()).unwrap_or(0));
            octets.extend_from_slice(label.as_bytes());
        }
        octets.push(0);
        WireName(octets)
    }
}

/// The A question for `name`: recursion desired, one question, nothing else.
pub(super) fn query(id: u16, name: &WireName) -> Vec<u8> {
    let mut message = Vec::with_capacity(HEADER_LEN + name.0.len() + 4);
    for field in [id, RECURSION_DESIRED, 1, 0, 0, 0] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    message.extend_from_slice(&name.0);
    for field in [TYPE_A, CLASS_IN] {
        message.extend_from_slice(&field.to_be_bytes());
    }
    message
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
    let mut reader = Reader { message, at: 0 };
    if reader.u16()? != id {
        return None;
    }
    let flags = reader.u16()?;
    if flags & RESPONSE == 0 || flags & OPCODE != 0 {
        return None;
    }
    let questions = reader.u16()?;
    let answers = reader.u16()?;
    let _authorities_and_additionals = (reader.u16()?, reader.u16()?);
    let rcode = flags & RCODE;
    // A server that could not even read the question may leave it out. Such an
    // answer may only say that: believed as "no such name", it would be easy to forge.
    if questions == 0 && rcode != RCODE_NO_ERROR && rcode != RCODE_NAME_ERROR {
        return Some(Reply::ServerFailure);
    }
    if questions != 1 || reader.name()? != *name || reader.u16()? != TYPE_A || reader.u16()? != CLASS_IN {
        return None;
    }
    match rcode {
        RCODE_NAME_ERROR => return Some(Reply::NoSuchName),
        RCODE_NO_ERROR => {}
        _ => return Some(Reply::ServerFailure),
    }
    if flags & TRUNCATED != 0 {
        return Some(Reply::Truncated);
    }
    // Neither an answer nor the service we asked for: a referral, or a server
    // that does not serve us. It says nothing about the name.
    if answers == 0 && flags & (AUTHORITATIVE | RECURSION_AVAILABLE) == 0 {
        return Some(Reply::ServerFailure);
    }
    let records = reader.records(answers);
    Some(match records {
        Some(records) => follow(name, &records, links),
        None => Reply::Malformed,
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

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl Reader<'_> {
    fn u16(&mut self) -> Option<u16> {
        let field = self.message.get(self.at..)?.first_chunk()?;
        self.at += field.len();
        Some(u16::from_be_bytes(*field))
    }

    fn u32(&mut self) -> Option<u32> {
        let field = self.message.get(self.at..)?.first_chunk()?;
        self.at += field.len();
        Some(u32::from_be_bytes(*field))
    }

    /// A name, with pointers followed; the reader stands behind it afterwards.
    fn name(&mut self) -> Option<WireName> {
        let mut octets = Vec::with_capacity(MAX_NAME_OCTETS);
        let mut at = self.at;
        // Pointers lead strictly backwards, each in front of the part it was found in.
        let mut part = self.at;
        let mut end = None;
        for _ in 0..MAX_NAME_STEPS {
            let length = *self.message.get(at)?;
            match length {
                0 => {
                    octets.push(0);
                    self.at = end.unwrap_or(at + 1);
                    return (octets.len() <= MAX_NAME_OCTETS).then_some(WireName(octets));
                }
                1..=0x3f => {
                    let length = usize::from(length);
                    debug_assert!(length <= MAX_LABEL_OCTETS);
                    let label = self.message.get(at + 1..at + 1 + length)?;
                    octets.push(*self.message.get(at)?);
                    octets.extend(label.iter().map(u8::to_ascii_lowercase));
                    at += 1 + length;
                }
                0xc0.. => {
                    let low = *self.message.get(at + 1)?;
                    let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                    if target >= part {
                        return None;
                    }
                    end = end.or(Some(at + 2));
                    at = target;
                    part = target;
                }
                _ => return None,
            }
        }
        None
    }

    /// NAM-8: the A and CNAME records of the answer; AAAA and all others are passed over.
    fn records(&mut self, count: u16) -> Option<Vec<Record>> {
        let mut records = Vec::new();
        for _ in 0..count {
            let owner = self.name()?;
            let (kind, class) = (self.u16()?, self.u16()?);
            // RFC 2181 §8: a TTL with the high bit set counts as 0.
            let ttl = Some(self.u32()?).filter(|ttl| ttl >> 31 == 0).unwrap_or(0);
            let length = usize::from(self.u16()?);
            let end = self.at + length;
            let data = self.message.get(self.at..end)?;
            let data = match (kind, class) {
                (TYPE_A, CLASS_IN) => {
                    let octets: [u8; 4] = data.try_into().ok()?;
                    Some(Data::Address(octets.into()))
                }
                (TYPE_CNAME, CLASS_IN) => {
                    let target = self.name()?;
                    if self.at != end {
                        return None;
                    }
                    Some(Data::Alias(target))
                }
                _ => None,
            };
            self.at = end;
            records.extend(data.map(|data| Record { owner, ttl, data }));
        }
        Some(records)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: String = text.split_whitespace().collect();
        assert_eq!(digits.len() % 2, 0);
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    fn isatap() -> WireName {
        WireName::from(&"isatap.example.com".parse::<Name>().unwrap())
    }

    /// The header, flags and counts to choose, and a question at offset 12.
    fn answer(flags: &str, answers: &str, records: &str) -> Vec<u8> {
        hex(&format!(
            "1234 {flags} 0001 {answers} 0000 0000
             06 697361746170 07 6578616d706c65 03 636f6d 00 0001 0001 {records}"
        ))
    }

    fn read(message: &[u8]) -> Option<Reply> {
        reply(message, 0x1234, &isatap(), MAX_ALIASES)
    }

    fn addresses(list: &[[u8; 4]], ttl: u64) -> Option<Reply> {
        Some(Reply::Addresses {
            addresses: list.iter().map(|octets| (*octets).into()).collect(),
            ttl: Duration::from_secs(ttl),
        })
    }

    /// A query byte for byte.
    #[test]
    fn nam_2_the_question_is_the_vector() {
        let question = query(0x1234, &isatap());
        assert_eq!(
            question,
            hex("1234 0100 0001 0000 0000 0000 06 697361746170
                 07 6578616d706c65 03 636f6d 00 0001 0001")
        );
        assert_eq!(question.len(), 36);
    }

    #[test]
    fn nam_5_addresses_come_with_the_smallest_ttl() {
        let two = "c00c 0001 0001 00000e10 0004 0a000001 c00c 0001 0001 0000001e 0004 0a00000a";
        assert_eq!(read(&answer("8180", "0002", two)), addresses(&[[10, 0, 0, 1], [10, 0, 0, 10]], 30));
    }

    #[test]
    fn nam_5_a_negative_ttl_is_zero() {
        let record = "c00c 0001 0001 80000001 0004 0a000001";
        assert_eq!(read(&answer("8180", "0001", record)), addresses(&[[10, 0, 0, 1]], 0));
    }

    #[test]
    fn nam_7_the_ttl_is_the_minimum_over_the_chain() {
        // isatap -> da-isatap.example.com -> 10.0.0.1, the records out of order and
        // in mixed case; c013 is "example.com" of the question.
        let chain = "09 44412d495341544150 c013 0001 0001 00000e10 0004 0a000001
                     c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013";
        assert_eq!(read(&answer("8180", "0002", chain)), addresses(&[[10, 0, 0, 1]], 60));
    }

    #[test]
    fn nam_7_a_chain_without_its_end_names_the_target() {
        let chain = "c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013";
        let target = WireName::from(&"da-isatap.example.com".parse::<Name>().unwrap());
        assert_eq!(
            read(&answer("8180", "0001", chain)),
            Some(Reply::Alias { target, ttl: Duration::from_secs(60), links: 1 })
        );
    }

    #[test]
    fn nam_7_a_loop_of_aliases_ends() {
        // An alias to itself, by pointer to the question.
        let own = "c00c 0005 0001 0000003c 0002 c00c";
        assert_eq!(read(&answer("8180", "0001", own)), Some(Reply::Malformed));
    }

    #[test]
    fn nam_7_eight_aliases_are_followed_and_nine_are_not() {
        for (links, expected) in [(8, addresses(&[[10, 0, 0, 1]], 2)), (9, Some(Reply::Malformed))] {
            // x0 is the name asked for; x1, x2 … are "b", "c" … under the root.
            let mut records = String::new();
            for link in 0..links {
                let owner = match link {
                    0 => "c00c".to_owned(),
                    n => format!("01 {:02x} 00", 0x61 + n),
                };
                let target = 0x61 + link + 1;
                let ttl = if link == 0 { 2 } else { 5 };
                records += &format!("{owner} 0005 0001 {ttl:08x} 0003 01 {target:02x} 00 ");
            }
            records += &format!("01 {:02x} 00 0001 0001 00000e10 0004 0a000001", 0x61 + links);
            let count = format!("{:04x}", links + 1);
            assert_eq!(read(&answer("8180", &count, &records)), expected, "{links}");
        }
    }

    #[test]
    fn nam_8_aaaa_and_foreign_records_are_ignored() {
        let records = "c00c 001c 0001 0000001e 0010 20010db8000000000000000000000001
                       00 0001 0001 00000001 0004 0a0000fe
                       c00c 0001 0003 00000001 0004 0a0000fd
                       c00c 0010 0001 00000001 0000
                       c00c 0001 0001 00000e10 0004 0a000001";
        assert_eq!(read(&answer("8180", "0005", records)), addresses(&[[10, 0, 0, 1]], 3600));
        let only_aaaa = "c00c 001c 0001 0000001e 0010 20010db8000000000000000000000001";
        assert_eq!(read(&answer("8180", "0001", only_aaaa)), Some(Reply::NoSuchName));
    }

    #[test]
    fn isa_24_no_such_name_and_failure_are_told_apart() {
        assert_eq!(read(&answer("8183", "0000", "")), Some(Reply::NoSuchName), "NXDOMAIN");
        assert_eq!(read(&answer("8180", "0000", "")), Some(Reply::NoSuchName), "an empty answer");
        assert_eq!(
            read(&answer("8500", "0000", "")),
            Some(Reply::NoSuchName),
            "an empty answer of the zone's own server"
        );
        for (flags, what) in
            [("8181", "FORMERR"), ("8182", "SERVFAIL"), ("8184", "NOTIMP"), ("8185", "REFUSED"), ("8100", "a referral")]
        {
            let expected = Some(Reply::ServerFailure);
            assert_eq!(read(&answer(flags, "0000", "")), expected, "{what}");
        }
        let bare = |flags: &str| hex(&format!("1234 {flags} 0000 0000 0000 0000"));
        assert_eq!(read(&bare("8181")), Some(Reply::ServerFailure));
        assert_eq!(read(&bare("8183")), None, "NXDOMAIN needs the question");
    }

    #[test]
    fn nam_7_truncated_is_told() {
        let record = "c00c 0001 0001 0000001e 0004 0a000001";
        assert_eq!(read(&answer("8380", "0001", record)), Some(Reply::Truncated));
    }

    #[test]
    fn answers_to_other_questions_are_not_ours() {
        let record = "c00c 0001 0001 0000001e 0004 0a000001";
        let good = answer("8180", "0001", record);
        assert!(read(&good).is_some());
        assert_eq!(reply(&good, 0x1235, &isatap(), MAX_ALIASES), None, "id");
        let other = WireName::from(&"isatap.example.net".parse::<Name>().unwrap());
        assert_eq!(reply(&good, 0x1234, &other, MAX_ALIASES), None, "name");
        assert_eq!(read(&query(0x1234, &isatap())), None, "our own question");
        assert_eq!(read(&answer("a980", "0001", record)), None, "opcode 5");
        for (at, value, what) in [(33, 0x1c, "type AAAA"), (35, 3, "class CH"), (5, 2, "QDCOUNT")] {
            let mut changed = good.clone();
            changed[at] = value;
            assert_eq!(read(&changed), None, "{what}");
        }
    }

    #[test]
    fn pointers_lead_strictly_backwards() {
        for owner in [
            "c024",       // to itself
            "c026",       // forwards
            "c0ff",       // past the end
            "01 61 c024", // back to the part it is in
            "40",         // a label type that was never defined
            "80",
        ] {
            let record = format!("{owner} 0001 0001 0000001e 0004 0a000001");
            let message = answer("8180", "0001", &record);
            assert_eq!(read(&message), Some(Reply::Malformed), "{owner}");
        }
    }

    #[test]
    fn a_pointer_forward_of_the_one_that_led_to_it_is_refused() {
        // Octets 36..47 are an unknown record's head, 47.. its data: at 47 a pointer, at
        // 49 the root. The owner of the second record points to 47.
        let ladder = |target: &str| {
            let records = format!(
                "00 0063 0001 00000000 0003 {target} 00
                 c02f 0001 0001 0000001e 0004 0a000001"
            );
            read(&answer("8180", "0002", &records))
        };
        assert_eq!(ladder("c031"), Some(Reply::Malformed));
        assert_eq!(ladder("c00c"), addresses(&[[10, 0, 0, 1]], 30));
    }

    /// Pointers to pointers without a label cost steps too.
    #[test]
    fn a_ladder_of_pointers_ends() {
        let mut message = answer("8180", "0002", "");
        // An unknown record whose data is the ladder, each rung to the one before.
        message.extend(hex("00 0063 0001 00000000"));
        message.extend_from_slice(&2000u16.to_be_bytes());
        let mut target = 12u16;
        for _ in 0..1000 {
            let here = u16::try_from(message.len()).unwrap();
            message.extend_from_slice(&(0xc000 | target).to_be_bytes());
            target = here;
        }
        let short = message.len() - 2 * 900;
        let record = "0001 0001 0000001e 0004 0a000001";
        let mut long_ladder = message.clone();
        long_ladder.extend_from_slice(&(0xc000 | target).to_be_bytes());
        long_ladder.extend(hex(record));
        assert_eq!(read(&long_ladder), Some(Reply::Malformed));
        // Entered at its hundredth rung it is short enough, and leads to the question.
        message.extend_from_slice(&(0xc000 | u16::try_from(short - 2).unwrap()).to_be_bytes());
        message.extend(hex(record));
        assert_eq!(read(&message), addresses(&[[10, 0, 0, 1]], 30));
    }

    #[test]
    fn a_short_message_is_refused_at_every_length() {
        let chain = "c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013
                     c030 0001 0001 00000e10 0004 0a000001";
        let message = answer("8180", "0002", chain);
        assert_eq!(read(&message), addresses(&[[10, 0, 0, 1]], 60));
        for length in 0..message.len() {
            let expected = (length >= 36).then_some(Reply::Malformed);
            assert_eq!(read(&message[..length]), expected, "{length}");
        }
    }

    #[test]
    fn record_lengths_must_fit() {
        for record in [
            "c00c 0001 0001 0000001e 0003 0a0000",
            "c00c 0001 0001 0000001e 0005 0a00000100",
            "c00c 0005 0001 0000001e 0001 c00c",
            "c00c 0005 0001 0000001e 0003 c00c00",
            "c00c 0010 0001 0000001e 00ff 00",
        ] {
            let message = answer("8180", "0001", record);
            assert_eq!(read(&message), Some(Reply::Malformed), "{record}");
        }
    }

    #[test]
    fn no_bit_flip_panics() {
        let chain = "c00c 0005 0001 0000003c 000c 09 64612d697361746170 c013
                     c030 0001 0001 00000e10 0004 0a000001";
        let message = answer("8180", "0002", chain);
        let mut refused = 0;
        for bit in 0..message.len() * 8 {
            let mut flipped = message.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            refused += usize::from(!matches!(read(&flipped), Some(Reply::Addresses { .. })));
        }
        // Far from all bits matter to us: TTLs, addresses, counts we do not read.
        assert!(refused > 300, "{refused}");
    }
}
