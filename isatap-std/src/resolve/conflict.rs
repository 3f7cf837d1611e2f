//! Machines of one link that contradict each other about a name.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};
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
    /// As many machines are shown: whoever is on the link can be as many as it likes.
    pub(crate) const MOST_MACHINES: usize = 8;
    /// As many addresses of each.
    pub(crate) const MOST_ADDRESSES: usize = 4;

    /// Of what these machines say.
    pub(super) fn between<'s>(interface: &str, said: impl Iterator<Item = (Ipv4Addr, &'s [Ipv4Addr])>) -> Self {
        let mut answers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for (machine, addresses) in said {
            answers.entry(machine).or_default().extend(addresses);
        }
        Self { interface: interface.to_owned(), answers }
    }
}

/// The first of some, and how many there are beside these.
fn first(most: usize, separator: &str, mut all: impl Iterator<Item = impl Display>) -> String {
    let mut shown: Vec<String> = all.by_ref().take(most).map(|one| one.to_string()).collect();
    let left = all.count();
    shown.extend((left > 0).then(|| format!("and {left} more")));
    shown.join(separator)
}

impl Display for Conflict {
    /// `10.0.0.1 says 10.0.0.1; 10.0.0.4 says 10.0.0.4, 10.0.0.5; and 2 more`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(machine, addresses): (&Ipv4Addr, &BTreeSet<Ipv4Addr>)| {
            format!("{machine} says {}", first(Self::MOST_ADDRESSES, ", ", addresses.iter()))
        };
        f.write_str(&first(Self::MOST_MACHINES, "; ", self.answers.iter().map(one)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_23_nam_33_what_is_said_of_many_machines_and_addresses_is_short() {
        let many: Vec<Ipv4Addr> = (1..=6).map(|last| Ipv4Addr::new(10, 0, 1, last)).collect();
        let machines = (1..=10).map(|last| (Ipv4Addr::new(10, 0, 0, last), &many[..if last == 1 { 6 } else { 1 }]));
        let text = Conflict::between("eth0", machines).to_string();
        let begin = "10.0.0.1 says 10.0.1.1, 10.0.1.2, 10.0.1.3, 10.0.1.4, and 2 more; 10.0.0.2 says 10.0.1.1; ";
        assert!(text.starts_with(begin) && text.ends_with("; 10.0.0.8 says 10.0.1.1; and 2 more"), "{text}");
    }
}
