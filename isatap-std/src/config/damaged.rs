//! What is wrong with a table whatever is meant by what cannot be read in it.

use super::File;
use crate::device::check_device;
use crate::mistakes::Part;
use crate::spec::{LinkSpec, Native, PortProxy, Refusal};
use std::collections::BTreeSet;

/// See [`refusals`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) text: String,
}

/// Values of all kinds that a key can have: whatever a check asks, some of them pass.
const VALUES: [&str; 27] = [
    "true",
    "false",
    "1",
    "40000",
    "4000000000",
    "\"10.77.0.1\"",
    "\"11.77.0.1\"",
    "\"10.77.0.0/16\"",
    "\"2001:db8:77::/64\"",
    "\"3fff::/24\"",
    "\"2001:db8:77::1/64\"",
    "\"x0\"",
    "\":40000\"",
    "\"ce\"",
    "\"br\"",
    "\"host-router\"",
    "\"router\"",
    "\"relay\"",
    "\"on\"",
    "\"off\"",
    "\"low\"",
    "\"10.77.0.1:40000\"",
    "\"[2001:db8:77::1]:40000\"",
    "\"v4tov4\"",
    "\"v4tov6\"",
    "\"v6tov4\"",
    "\"v6tov6\"",
];

/// A prime that is greater than the number of values of a key: see [`variants`].
const PRIME: usize = 29;
const _: () = assert!(VALUES.len() + 1 < PRIME);

/// What is told of the table in each variant of it.
pub(super) fn refusals(part: &Part, accept_bogons: bool) -> Vec<Told> {
    let mut all = variants(part).into_iter().map(|table| {
        let refusals = table.check(accept_bogons).into_iter();
        let told = refusals.map(|refusal| Told {
            key: refusal.key,
            value: refusal.error.on().to_owned(),
            text: refusal.error.to_string(),
        });
        told.collect::<Vec<_>>()
    });
    let mut certain = all.next().unwrap_or_default();
    for other in all {
        certain.retain(|told| other.contains(told));
    }
    // Of those that cannot be read it is told already.
    certain.retain(|told| !part.unknown.contains(told.key));
    certain
}

/// A table of its own.
enum Table {
    Link(Box<LinkSpec>),
    Rule(PortProxy),
    Native(Native),
}

impl Table {
    /// The only one of a text.
    fn read(text: &str) -> Option<Self> {
        let mut file: File = toml::from_str(text).ok()?;
        let link = file.take_links().pop().map(|(_, link)| Self::Link(Box::new(link)));
        let rule = || file.portproxy.pop().map(|rule| Self::Rule(rule.into_inner()));
        link.or_else(rule).or_else(|| file.native.pop().map(|native| Self::Native(native.into_inner())))
    }

    fn check(self, accept_bogons: bool) -> Vec<Refusal> {
        match self {
            Self::Link(mut link) => {
                if accept_bogons {
                    link.accept_bogons();
                }
                link.check_fields()
            }
            Self::Rule(rule) => rule.check(),
            Self::Native(native) => {
                check_device(&native.dev).err().map(|error| Refusal { key: "dev", error }).into_iter().collect()
            }
        }
    }
}

/// The table with values that could stand where one cannot be read, or with none. Of any two keys
/// each value of one meets each value of the other: all combinations of more would be too many,
/// and what a check asks are two at most.
fn variants(part: &Part) -> Vec<Table> {
    let header = part.text.lines().next().unwrap_or_default();
    let fits = |key: &str, value: &str| match toml::from_str::<File>(&format!("{header}\n{key} = {value}\n")) {
        Ok(_) => true,
        Err(error) => error.message().starts_with("missing field"),
    };
    let mut choices: Vec<Vec<String>> = Vec::new();
    for key in &part.unknown {
        let values = VALUES.iter().filter(|value| fits(key, value));
        choices.push(values.map(|value| format!("{key} = {value}\n")).collect());
    }
    // A table without a key that it needs is none.
    let is_needed = |key: usize| {
        let others = choices.iter().enumerate().filter(|(at, _)| *at != key);
        Table::read(&with(part, others.filter_map(|(_, choice)| choice.first().map(String::as_str)))).is_none()
    };
    let needed: Vec<bool> = (0..choices.len()).map(is_needed).collect();
    for (choice, is_needed) in choices.iter_mut().zip(needed) {
        if choice.is_empty() || !is_needed {
            choice.push(String::new());
        }
    }
    // Two lines of different slopes over a prime number of places meet once.
    let mut texts = BTreeSet::new();
    for (start, step) in (0..PRIME).flat_map(|start| (0..PRIME).map(move |step| (start, step))) {
        let chosen = choices.iter().enumerate().filter_map(|(at, choice)| {
            let place = (start + at * step) % PRIME;
            choice.get(place % choice.len()).map(String::as_str)
        });
        texts.insert(with(part, chosen));
    }
    texts.iter().filter_map(|text| Table::read(text)).collect()
}

fn with<'l>(part: &'l Part, lines: impl Iterator<Item = &'l str>) -> String {
    std::iter::once(part.text.as_str()).chain(std::iter::once("\n")).chain(lines).collect()
}
