//! Answers to "what is this?": addresses, prefixes and packets, for people
//! and for machines. The tool's `isatap explain` is this module on a terminal.
//!
//! ```
//! use isatap_std::explain::{Explainer, Target};
//!
//! let explainer = Explainer::default();
//! let Target::Address(address) = "2002:836b:1::836b:1".parse()? else { unreachable!() };
//! let answer = explainer.address(address);
//! assert_eq!((answer.kind, answer.ipv4[0].address.to_string()), ("6to4", "131.107.0.1".to_owned()));
//! println!("{answer}"); // some lines for people; it serialises to JSON as well
//! # Ok::<(), isatap_std::explain::TargetError>(())
//! ```
//!
//! The keys of the JSON objects are stable: new ones may come, none goes.
//!
//! # What it cannot do
//!
//! It knows no node: what it says that *a* node does with an address or a
//! packet, one with other links may not do. `isatap check` asks a given node.
//! It asks no DNS and sends nothing.

mod address;
mod direct_access;
mod frame;
mod host;
mod packet;
mod pasted;
mod permits;
mod reverse;
mod shares;
mod target;

use std::fmt;
use std::net::IpAddr;

use isatap_core::embedded::{Known, Nat64Prefix};
use isatap_core::sixrd::addr::Domain;

pub use address::{AddressAnswer, FlagsAnswer, Ipv4Answer, Ipv4BlockAnswer};
pub use direct_access::{DirectAccess, DirectAccessAnswer, UseAnswer};
pub use frame::{FrameAnswer, TagAnswer};
pub use packet::{LayerAnswer, PacketAnswer, WarningAnswer};
pub use permits::{Policy, RefusedAnswer, Rule};
pub use target::{Reading, Target, TargetError, sixrd_domain};

/// What is known beside the standards: translators' prefixes and 6rd domains.
#[derive(Clone, Debug, Default)]
pub struct Explainer {
    /// Prefixes of translators.
    pub nat64: Vec<Nat64Prefix>,
    /// 6rd domains.
    pub sixrd: Vec<Domain>,
}

impl Explainer {
    /// What an address is.
    #[must_use]
    pub fn address(&self, address: IpAddr) -> AddressAnswer {
        address::explain(address, &self.known())
    }

    /// What the addresses of a prefix have in common.
    #[must_use]
    pub fn prefix(&self, address: IpAddr, length: u8) -> AddressAnswer {
        address::explain_prefix(address, length, &self.known())
    }

    /// What the address or prefix of a reading is; of other targets nothing.
    #[must_use]
    pub fn reading(&self, text: &str, reading: &Reading) -> Option<AddressAnswer> {
        let mut answer = match reading.target {
            Target::Address(address) => self.address(address),
            Target::Prefix(address, length) => self.prefix(address, length),
            _ => return None,
        };
        answer.port = reading.port;
        answer.asked = (!reading.notes.is_empty()).then(|| text.trim().to_owned());
        answer.notes.splice(0..0, reading.notes.iter().cloned());
        Some(answer)
    }

    fn known(&self) -> Known<'_> {
        Known { nat64: &self.nat64, sixrd: &self.sixrd }
    }
}

/// What a text asks about, line by line: a target a line, and packets as tools
/// print them over several.
///
/// Knows the dumps of `tcpdump -x`, `-xx` and `-X`, `xxd`, `hexdump`, `od` and
/// `tshark -x`, hex streams, and arrays and strings of programming languages. A
/// link layer in front of the IP packet is left away. Headings in front of a
/// dump go with it.
pub struct Pieces(pasted::Pasted);

/// One question in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Piece {
    /// Its first line.
    pub text: String,
    /// What it asks about.
    pub reading: Result<Reading, TargetError>,
}

impl Default for Pieces {
    fn default() -> Self {
        // A file that is there is asked about, whatever its name looks like.
        Pieces(pasted::Pasted::new(|line| target::plain(line).is_some() || std::path::Path::new(line).exists()))
    }
}

impl Pieces {
    /// Takes one line: the questions that it completes.
    pub fn line(&mut self, line: &str) -> impl Iterator<Item = Piece> + use<> {
        self.0.line(line).into_iter().map(Piece::of)
    }

    /// There are no more lines.
    pub fn end(&mut self) -> impl Iterator<Item = Piece> + use<> {
        self.0.end().into_iter().map(Piece::of)
    }
}

impl Piece {
    fn of(piece: pasted::Piece) -> Self {
        let pasted::Piece { text, found } = piece;
        let reading = match found {
            pasted::Found::Line if target::plain(&text).is_none() && !text.contains('\0') => {
                Ok(Target::Capture(text.as_str().into()).into())
            }
            pasted::Found::Line => Reading::new(&text),
            pasted::Found::Packet(bytes) => Ok(Target::Packet(bytes).into()),
            pasted::Found::Wrong(error) => Err(TargetError(format!("{}: {error}", target::start_of(&text)))),
        };
        Piece { text, reading }
    }
}

/// Bytes as hexadecimal digits, all of them.
struct Hex<'a>(&'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests;
