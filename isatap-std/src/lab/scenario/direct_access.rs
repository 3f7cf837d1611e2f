//! `[direct-access]`: the prefixes that DirectAccess servers derive from one IPv4 address or
//! from an organisation prefix, as words for the rest of the file. `S64-40`

use std::net::Ipv4Addr;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixtofour::addr::{DirectAccessUlaPrefixes, directaccess_prefixes, directaccess_prefixes_ula};
use serde::de::{Deserialize, Deserializer, Error as _};
use toml::de::{DeTable, ValueDeserializer};

use super::table::table;
use super::value::Text;

table! {
    /// Prefixes that DirectAccess servers derive, as words for the rest of the file, such as
    /// {intranet}::1/64.
    #[derive(Default)]
    pub(super) DirectAccessTable ["[direct-access]"] {
        /// The first of a server's two public IPv4 addresses: {intranet}, {ip-https}, {teredo}.
        "ipv4" ["\"V4\""] ipv4: Option<Ipv4Addr>,
        /// A /48: {organisation}, {isatap}, {ip-https-1}, {ip-https-2}, {dns64}, {nat64}.
        "organisation" ["\"P/48\""] organisation: Option<Organisation>,
    }
}

/// An organisation prefix, and those that follow from it.
#[derive(Clone, Debug)]
pub(super) struct Organisation(Ipv6Prefix, DirectAccessUlaPrefixes);

impl Organisation {
    fn new(prefix: Ipv6Prefix) -> Option<Self> {
        Some(Self(prefix, directaccess_prefixes_ula(&prefix)?))
    }
}

impl<'de> Deserialize<'de> for Organisation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Text(prefix) = Text::deserialize(deserializer)?;
        Self::new(prefix)
            .ok_or_else(|| D::Error::custom(format!("{prefix} is not an organisation prefix: write a /48")))
    }
}

/// Puts the derived prefixes into a file's text: `{intranet}::1/64` becomes
/// `2002:836b:2:3333::1/64`. Lines stay where they are.
///
/// `stand_in`: whether words of which nothing follows stand for example prefixes, so that a
/// mistake in `[direct-access]` is not one at each word.
pub(super) fn expand(text: &str, stand_in: bool) -> String {
    let (root, _) = DeTable::parse_recoverable(text);
    let table = root.into_inner().remove("direct-access").map(ValueDeserializer::from);
    let table = table.and_then(|table| DirectAccessTable::deserialize(table).ok()).unwrap_or_default();
    let mut words: Vec<(&str, Ipv6Prefix)> = Vec::new();
    if let Some(ipv4) = table.ipv4.or(stand_in.then_some(Ipv4Addr::new(192, 0, 2, 1))) {
        let derived = directaccess_prefixes(ipv4);
        words.extend([
            ("{intranet}", derived.organisation),
            ("{ip-https}", derived.ip_https),
            ("{teredo}", derived.teredo),
        ]);
    }
    let example = || Organisation::new("fd00::/48".parse().ok()?).filter(|_| stand_in);
    if let Some(Organisation(prefix, derived)) = table.organisation.or_else(example) {
        words.extend([
            ("{organisation}", prefix),
            ("{isatap}", derived.isatap),
            ("{ip-https-1}", derived.ip_https),
            ("{ip-https-2}", derived.second_ip_https),
            ("{dns64}", derived.dns64),
            ("{nat64}", derived.nat64),
        ]);
    }
    words.into_iter().fold(text.to_owned(), |text, (word, prefix)| text.replace(word, &groups(prefix)))
}

/// A prefix's own groups, of a /96 the first four: what follows is zero.
fn groups(prefix: Ipv6Prefix) -> String {
    let count = usize::from(prefix.length().min(64).div_ceil(16));
    let groups: Vec<String> =
        prefix.address().segments().iter().take(count).map(|group| format!("{group:x}")).collect();
    groups.join(":")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The vectors of the specification.
    #[test]
    fn s64_40_s64_43_words_become_prefixes() {
        let text = "[direct-access]\nipv4 = \"131.107.0.2\"\norganisation = \"fd9c:30c:2da4::/48\"\n";
        for (word, expected) in [
            ("{intranet}::/64", "2002:836b:2:3333::/64"),
            ("{ip-https}::/64", "2002:836b:2:1000::/64"),
            ("{teredo}::/64", "2001:0:836b:2::/64"),
            ("{isatap}::/64", "fd9c:30c:2da4:1::/64"),
            ("{ip-https-1}::7", "fd9c:30c:2da4:1000::7"),
            ("{ip-https-2}::7", "fd9c:30c:2da4:1001::7"),
            ("{organisation}:111::31", "fd9c:30c:2da4:111::31"),
            ("{nat64}::172.16.10.25", "fd9c:30c:2da4:7777::172.16.10.25"),
        ] {
            let expanded = expand(&format!("{text}# {word}"), false);
            assert_eq!(expanded.lines().last().unwrap(), format!("# {expected}"));
        }
        assert_eq!(expand("# {isatap}", false), "# {isatap}");
        assert_eq!(expand("# {isatap}", true), "# fd00:0:0:1");
    }
}
