//! Machines of one link that contradict each other about a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::Ipv4Addr;

/// Several machines of one link answer to a name that one should have (NAM-23), or give it different
/// addresses (NAM-33).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Conflict {
    /// The interface of the link.
    pub interface: String,
    /// Each machine, and the addresses that it gives the name. In an order of their own, so that the same
    /// machines are the same conflict, whoever is first.
    pub answers: BTreeMap<Ipv4Addr, BTreeSet<Ipv4Addr>>,
}

impl Conflict {
    /// Of what these machines say.
    pub(super) fn between<'s>(interface: &str, said: impl Iterator<Item = (Ipv4Addr, &'s [Ipv4Addr])>) -> Self {
        let mut answers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (machine, addresses) in said {
            answers.entry(machine).or_default().extend(addresses);
        }
        Self { interface: interface.to_owned(), answers }
    }
}

impl fmt::Display for Conflict {
    /// `10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4, 10.0.0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(machine, addresses): (&Ipv4Addr, &BTreeSet<Ipv4Addr>)| {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            format!("{machine} says {}", addresses.join(", "))
        };
        f.write_str(&self.answers.iter().map(one).collect::<Vec<_>>().join("; "))
    }
}
