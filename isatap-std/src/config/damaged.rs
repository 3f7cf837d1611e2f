//! What is wrong with a table whatever is meant by what cannot be read in it.

use super::File;
use crate::mistakes::Part;
use crate::spec::LinkSpec;

/// See [`refusals`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) key: &'static str,
    pub(super) value: String,
    pub(super) text: String,
}

/// Values of all kinds that a key can have: whatever a check asks, some of them pass.
const VALUES: [&str; 21] = [
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
];

/// More variants of one table are not looked at.
const MOST: usize = 500;

/// What is told of the table in each variant of it.
pub(super) fn refusals(part: &Part, accept_bogons: bool) -> Vec<Told> {
    let mut all = variants(part).into_iter().map(|mut link| {
        if accept_bogons {
            link.accept_bogons();
        }
        let refusals = link.check_fields().into_iter();
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

/// The link, with each value that could stand where one cannot be read, or with none.
fn variants(part: &Part) -> Vec<LinkSpec> {
    let link = |text: &str| toml::from_str::<File>(text).ok()?.take_links().pop().map(|(_, link)| link);
    let header = part.text.lines().next().unwrap_or_default();
    let mut texts = vec![part.text.clone()];
    for key in &part.unknown {
        let fits = |value: &&&str| match toml::from_str::<File>(&format!("{header}\n{key} = {value}\n")) {
            Ok(_) => true,
            Err(error) => error.message().starts_with("missing field"),
        };
        let values: Vec<&&str> = VALUES.iter().filter(fits).collect();
        let with = |text: &String| -> Vec<String> {
            let with_value = values.iter().map(|value| format!("{text}\n{key} = {value}\n"));
            std::iter::once(text.clone()).chain(with_value).collect()
        };
        texts = texts.iter().flat_map(with).collect();
        if texts.len() > MOST {
            return Vec::new();
        }
    }
    texts.iter().filter_map(|text| link(text)).collect()
}
