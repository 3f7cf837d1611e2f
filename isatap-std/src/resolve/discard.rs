//! Answers and questions of LLMNR and NetBIOS that are not used, counted by reason.

use std::collections::BTreeMap;
use std::fmt;

/// Why a datagram that came as an answer, or to a responder as a question, was not used.
///
/// Neither protocol authenticates anything: these checks keep out who is not on the link, and who
/// has not seen the question (NAM-23, NAM-33).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Discard {
    /// It cannot be read, or is no answer.
    Malformed,
    /// Its identification is not that of the question.
    WrongId,
    /// It answers another question.
    OtherQuestion,
    /// It does not come from the port of the protocol.
    WrongPort,
    /// A responder's: it was not sent to everybody.
    WrongDestination,
    /// Its source is not on the link on which was asked.
    OffLink,
    /// It carries an error code, which says nothing where everybody is asked.
    ErrorCode,
    /// LLMNR: whoever sends it does not know yet whether the name is its own.
    Tentative,
    /// It has no IPv4 address in it.
    NoAddress,
    /// NetBIOS: the name is a group's.
    Group,
    /// Another answer was there before, and says something else.
    Conflicting,
}

impl Discard {
    /// The name of the counter.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Discard::Malformed => "malformed",
            Discard::WrongId => "wrong-id",
            Discard::OtherQuestion => "other-question",
            Discard::WrongPort => "wrong-port",
            Discard::WrongDestination => "wrong-destination",
            Discard::OffLink => "off-link",
            Discard::ErrorCode => "error-code",
            Discard::Tentative => "tentative",
            Discard::NoAddress => "no-address",
            Discard::Group => "group",
            Discard::Conflicting => "conflicting",
        }
    }
}

impl fmt::Display for Discard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many answers, or questions to a responder, were not used, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discards(BTreeMap<Discard, u64>);

impl Discards {
    pub(super) fn count(&mut self, reason: Discard) {
        let count = self.0.entry(reason).or_default();
        *count = count.saturating_add(1);
    }

    /// The reasons that occurred, and how often.
    pub fn iter(&self) -> impl Iterator<Item = (Discard, u64)> + '_ {
        self.0.iter().map(|(reason, count)| (*reason, *count))
    }
}
