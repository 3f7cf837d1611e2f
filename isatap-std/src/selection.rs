//! The order in which a host tries destinations, told for people: what `isatap select` says of this
//! machine and `isatap lab` of its nodes. [RFC 6724]

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::select::{Choice, Destination, DestinationRule, Policy, Source};

/// A destination, and what is known of the way there.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The destination, with the source that was chosen for it.
    pub to: Destination,
    /// The source, and the rule that chose it; `None`: no address can be used.
    pub choice: Option<Choice>,
    /// The name that it was asked for by.
    pub name: Option<String>,
    /// The device that packets leave by.
    pub device: Option<String>,
    /// The destination is this host itself: packets to it leave by no link.
    pub local: bool,
}

/// The device that packets to the host itself go by.
pub const LOOPBACK: &str = "lo";

/// Whether a destination is the host itself, which has the addresses `own`.
#[must_use]
pub fn is_local(to: &Destination, own: &[Source]) -> bool {
    let is_it = |own: &Source| own.address == to.address && (to.interface == 0 || own.interface == to.interface);
    to.address.is_loopback() || own.iter().any(is_it)
}

/// The source of packets to a loopback destination, which every host has: where `own` does not list it.
#[must_use]
pub fn loopback_source(to: &Destination, own: &[Source]) -> Option<Source> {
    let source = match to.address {
        IpAddr::V4(_) => Source::new(Ipv4Addr::LOCALHOST.into(), 8),
        IpAddr::V6(_) => Source::new(Ipv6Addr::LOCALHOST.into(), 128),
    };
    let is_listed = own.iter().any(|own| own.address == source.address);
    (to.address.is_loopback() && !is_listed).then_some(source)
}

/// A destination in its place. Its `Display` is one line for the destination and one for each rule
/// that decided.
#[derive(Clone, Debug)]
pub struct Placed {
    /// Its place, from 1.
    pub rank: usize,
    /// The destination.
    pub of: Candidate,
    /// The rule by which it comes before the next one; `None`: it is the last.
    pub rule: Option<DestinationRule>,
}

/// Puts destinations into the order in which they are tried; equal ones keep theirs.
#[must_use]
pub fn order(policy: &Policy<'_>, candidates: Vec<Candidate>) -> Vec<Placed> {
    let mut sorted: Vec<Destination> = candidates.iter().map(|one| one.to).collect();
    policy.sort(&mut sorted);
    let mut left: Vec<Option<Candidate>> = candidates.into_iter().map(Some).collect();
    let mut take = |to: &Destination| {
        let is_it = |one: &&mut Option<Candidate>| one.as_ref().is_some_and(|one| one.to == *to);
        left.iter_mut().find(is_it).and_then(Option::take)
    };
    let in_order: Vec<Candidate> = sorted.iter().filter_map(&mut take).collect();
    let rules = sorted.windows(2).map(|pair| match pair {
        [one, next] => Some(policy.compare(one, next).1),
        _ => None,
    });
    let rules = rules.chain([None]);
    in_order.into_iter().zip(rules).zip(1..).map(|((of, rule), rank)| Placed { rank, of, rule }).collect()
}

impl fmt::Display for Placed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Candidate { to, choice, name, device, local } = &self.of;
        write!(f, "{}. {}", self.rank, to.address)?;
        if let Some(name) = name {
            write!(f, " ({name})")?;
        }
        if let Some(device) = device {
            write!(f, " by {device}{}", if to.encapsulated { ", a tunnel" } else { "" })?;
        }
        if *local {
            f.write_str(", local")?;
        }
        if to.unreachable {
            f.write_str(": there is no route")?;
        }
        match choice.map(|choice| (choice.source.address, choice.rule.number(), choice.rule.as_str())) {
            Some((source, "only" | "order", why)) => write!(f, "\n   from {source}: {why}")?,
            Some((source, rule, why)) => write!(f, "\n   from {source}, by source rule {rule}: {why}")?,
            None => f.write_str("\n   from no address: none can be used")?,
        }
        match self.rule {
            Some(rule) => write!(f, "\n   before the next by rule {rule}: {}", rule.as_str()),
            None => Ok(()),
        }
    }
}
