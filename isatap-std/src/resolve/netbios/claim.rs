//! Having a name: registering, defending, refreshing and releasing it \[RFC 1002 §4.2.2 to §4.2.11\].

use std::net::Ipv4Addr;
use std::time::Duration;

use super::NetbiosName;
use super::message::{Message, NB, Opcode, Section, Writer, flag};
use crate::resolve::discard::Discard;

/// What kind of node it is, in the flags of an entry: one that asks by broadcast, and one that asks
/// WINS servers first.
const BROADCAST_NODE: u16 = 0x0000;
const HYBRID_NODE: u16 = 0x6000;
/// "Active error": another node has the name.
const ACTIVE_ERROR: u16 = 6;
/// "Conflict error": more than one has it.
const CONFLICT_ERROR: u16 = 7;
/// "Refused error": by its policy the server does not register the name for us. Samba says so where
/// another node has the name.
const REFUSED_ERROR: u16 = 5;
/// How long an answer holds, in seconds.
const TTL: u32 = 300;
/// The time that is asked for at a WINS server, in seconds, as Windows does it.
const WANTED_TTL: u32 = 300_000;

/// A name with its address, as it is registered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) struct Claim {
    pub(in crate::resolve) name: NetbiosName,
    pub(in crate::resolve) address: Ipv4Addr,
    /// Whether there are WINS servers.
    pub(in crate::resolve) is_hybrid: bool,
}

/// What is said of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) enum Saying {
    /// A name is claimed, for everybody to object.
    Register,
    /// It is claimed, and nobody has objected.
    Overwrite,
    /// It is still wanted.
    Refresh,
    /// It is not wanted any more.
    Release,
}

impl Claim {
    fn entry(&self) -> (u16, Ipv4Addr) {
        (if self.is_hybrid { HYBRID_NODE } else { BROADCAST_NODE }, self.address)
    }

    /// A request, by broadcast or to a WINS server.
    pub(in crate::resolve) fn say(&self, id: u16, saying: Saying, by_broadcast: bool) -> Vec<u8> {
        let (opcode, recursion) = match saying {
            Saying::Register => (Opcode::Registration, flag::RECURSION_DESIRED),
            Saying::Overwrite => (Opcode::Registration, 0),
            Saying::Refresh => (Opcode::Refresh, 0),
            Saying::Release => (Opcode::Release, 0),
        };
        let way = if by_broadcast { flag::BROADCAST } else { 0 };
        let ttl = if by_broadcast || saying == Saying::Release { 0 } else { WANTED_TTL };
        let message = Writer::new(id, opcode.bits() | recursion | way, [1, 0, 0, 1]);
        message.question(&self.name).record(None, ttl, &[self.entry()]).finish()
    }

    /// What is to be sent back for a request, if anything: the address for a query, an objection for
    /// a registration of the name by another machine.
    ///
    /// # Errors
    ///
    /// It is no request.
    pub(in crate::resolve) fn answer(&self, bytes: &[u8]) -> Result<Option<Vec<u8>>, Discard> {
        let message = Message::read(bytes).ok_or(Discard::Malformed)?;
        let about_us = matches!(message.question, Some((Some(name), NB, _)) if name == self.name);
        if message.has(flag::RESPONSE) {
            return Err(Discard::Malformed);
        }
        let answered = flag::RESPONSE | flag::AUTHORITATIVE | flag::RECURSION_DESIRED;
        let record = |flags: u16, ttl| {
            let message = Writer::new(message.id, flags, [0, 1, 0, 0]);
            Some(message.record(Some(&self.name), ttl, &[self.entry()]).finish())
        };
        Ok(match message.opcode {
            Opcode::Query if about_us => record(answered | Opcode::Query.bits(), TTL),
            Opcode::Registration if about_us && message.has(flag::RECURSION_DESIRED) => {
                let mut wanted = message.in_section(Section::Additional);
                let is_ours = wanted.all(|record| {
                    record.entries().is_ok_and(|mut entries| entries.all(|(_, address)| address == self.address))
                });
                let objection = Opcode::Registration.bits() | flag::RECURSION_AVAILABLE | ACTIVE_ERROR;
                if is_ours { None } else { record(answered | objection, 0) }
            }
            _ => None,
        })
    }

    /// What a machine or a WINS server says to the request `id`.
    ///
    /// # Errors
    ///
    /// It is no answer to it.
    pub(in crate::resolve) fn verdict(&self, bytes: &[u8], id: u16) -> Result<Verdict, Discard> {
        let message = Message::read(bytes).ok_or(Discard::Malformed)?;
        if !message.has(flag::RESPONSE) {
            return Err(Discard::Malformed);
        }
        if message.id != id {
            return Err(Discard::WrongId);
        }
        let about = message.records.first().filter(|record| record.name == Some(self.name));
        let ttl = about.ok_or(Discard::OtherQuestion)?.ttl;
        let time = (ttl > 0).then(|| Duration::from_secs(ttl.into()));
        match message.opcode {
            Opcode::Wait => Ok(Verdict::Wait(time.unwrap_or_default())),
            Opcode::Release => Ok(Verdict::Released),
            Opcode::Registration | Opcode::Refresh if message.error_code() != 0 => Ok(match message.error_code() {
                REFUSED_ERROR | ACTIVE_ERROR | CONFLICT_ERROR => Verdict::Refused,
                _ => Verdict::Failed,
            }),
            // Without RA the server wants the present owner to be asked: that one is another machine.
            Opcode::Registration | Opcode::Refresh if !message.has(flag::RECURSION_AVAILABLE) => Ok(Verdict::Refused),
            Opcode::Registration | Opcode::Refresh => Ok(Verdict::Granted(time)),
            Opcode::Query => Err(Discard::Malformed),
        }
    }
}

/// What is said to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::resolve) enum Verdict {
    /// The name is ours for this time; `None`: for ever.
    Granted(Option<Duration>),
    /// Another machine has it.
    Refused,
    /// The server has an error, and does not say who has it.
    Failed,
    /// The server needs so much more time (NAM-62).
    Wait(Duration),
    /// It is given back.
    Released,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

    fn claim() -> Claim {
        Claim { name: NetbiosName::new("isatap", 0).unwrap(), address: OWN, is_hybrid: false }
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
    }

    /// `ISATAP<00>` as it stands in a message.
    const NAME: &str = "20454a46444542464545424641434143414341434143414341434143414341414100";

    /// As Samba's nmbd does it, recorded, but for the identification and the kind of node.
    #[test]
    fn nam_31_a_registration_by_broadcast_is_that_of_nmbd() {
        let recorded =
            format!("1234 2910 0001 0000 0000 0001 {NAME} 0020 0001 c00c 0020 0001 00000000 0006 6000 0a000001");
        let hybrid = Claim { is_hybrid: true, ..claim() };
        assert_eq!(hybrid.say(0x1234, Saying::Register, true), bytes(&recorded));
    }

    #[test]
    fn nam_31_requests_of_rfc_1002() {
        let request = |flags: &str, ttl: &str| {
            bytes(&format!("1234 {flags} 0001 0000 0000 0001 {NAME} 0020 0001 c00c 0020 0001 {ttl} 0006 0000 0a000001"))
        };
        assert_eq!(claim().say(0x1234, Saying::Overwrite, true), request("2810", "00000000"));
        assert_eq!(claim().say(0x1234, Saying::Register, false), request("2900", "000493e0"));
        assert_eq!(claim().say(0x1234, Saying::Refresh, false), request("4000", "000493e0"));
        assert_eq!(claim().say(0x1234, Saying::Release, false), request("3000", "00000000"));
        assert_eq!(claim().say(0x1234, Saying::Release, true), request("3010", "00000000"));
    }

    #[test]
    fn nam_31_a_query_for_the_name_is_answered_and_no_other() {
        let query = |name: &str, kind: &str| bytes(&format!("1234 0110 0001 0000 0000 0000 {name} {kind} 0001"));
        let answer = claim().answer(&query(NAME, "0020")).unwrap().unwrap();
        let expected = format!("1234 8500 0000 0001 0000 0000 {NAME} 0020 0001 0000012c 0006 0000 0a000001");
        assert_eq!(answer, bytes(&expected));
        // Node status, and another suffix.
        assert_eq!(claim().answer(&query(NAME, "0021")), Ok(None));
        assert_eq!(claim().answer(&query(&NAME.replace("414100", "434100"), "0020")), Ok(None));
        assert_eq!(claim().answer(&answer), Err(Discard::Malformed));
    }

    #[test]
    fn nam_31_the_name_is_defended_against_other_machines() {
        let other = Claim { address: Ipv4Addr::new(10, 0, 0, 9), ..claim() };
        let objection = claim().answer(&other.say(0x1234, Saying::Register, true)).unwrap().unwrap();
        let expected = format!("1234 ad86 0000 0001 0000 0000 {NAME} 0020 0001 00000000 0006 0000 0a000001");
        assert_eq!(objection, bytes(&expected));
        assert_eq!(other.verdict(&objection, 0x1234), Ok(Verdict::Refused));
        // Our own registration comes back; nobody objects to a demand or to a release.
        assert_eq!(claim().answer(&claim().say(0x1234, Saying::Register, true)), Ok(None));
        assert_eq!(claim().answer(&other.say(0x1234, Saying::Overwrite, true)), Ok(None));
        assert_eq!(claim().answer(&other.say(0x1234, Saying::Release, true)), Ok(None));
    }

    #[test]
    fn nam_62_what_a_wins_server_says() {
        let said = |flags: &str, ttl: &str| {
            let record = format!("{NAME} 0020 0001 {ttl} 0006 0000 0a000001");
            claim().verdict(&bytes(&format!("1234 {flags} 0000 0001 0000 0000 {record}")), 0x1234)
        };
        assert_eq!(said("ad80", "0000003c"), Ok(Verdict::Granted(Some(Duration::from_secs(60)))));
        assert_eq!(said("ad80", "00000000"), Ok(Verdict::Granted(None)));
        for refused in ["ad85", "ad86", "ad87"] {
            assert_eq!(said(refused, "00000000"), Ok(Verdict::Refused), "{refused}");
        }
        for failed in ["ad81", "ad82", "ad83", "ad84"] {
            assert_eq!(said(failed, "00000000"), Ok(Verdict::Failed), "{failed}");
        }
        assert_eq!(said("bc00", "00000005"), Ok(Verdict::Wait(Duration::from_secs(5))));
        assert_eq!(said("b400", "00000000"), Ok(Verdict::Released));
        assert_eq!(said("8500", "00000000"), Err(Discard::Malformed));
        assert_eq!(said("2d80", "00000000"), Err(Discard::Malformed));
    }
}
