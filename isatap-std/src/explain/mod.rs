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
mod packet;
mod special;
mod target;

use std::fmt;
use std::net::IpAddr;

use isatap_core::embedded::{Known, Nat64Prefix};
use isatap_core::sixrd::addr::Domain;

pub use address::{AddressAnswer, FlagsAnswer, Ipv4Answer};
pub use packet::{PacketAnswer, WarningAnswer};
pub use target::{Target, TargetError, sixrd_domain};

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

    fn known(&self) -> Known<'_> {
        Known { nat64: &self.nat64, sixrd: &self.sixrd }
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
