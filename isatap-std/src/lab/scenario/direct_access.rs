//! `[direct-access]`: the prefixes that DirectAccess servers derive from one IPv4 address or
//! from an organisation prefix, as words for the rest of the file. `S64-40`

use std::net::Ipv4Addr;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixtofour::addr::{directaccess_prefixes, directaccess_prefixes_ula};
use toml::Spanned;

use super::file::Text;

/// `[direct-access]`
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct DirectAccessTable {
    /// The first of a server's two public IPv4 addresses: `{intranet}`, `{ip-https}`,
    /// `{teredo}`.
    ipv4: Option<Ipv4Addr>,
    /// A /48: `{organisation}`, `{isatap}`, `{ip-https-1}`, `{ip-https-2}`, `{dns64}`,
    /// `{nat64}`.
    organisation: Option<Spanned<Text<Ipv6Prefix>>>,
}

/// What is read before the whole can be.
#[derive(serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Beginning {
    direct_access: Option<DirectAccessTable>,
}

/// Puts the derived prefixes into a file's text: `{intranet}::1/64` becomes
/// `2002:836b:2:3333::1/64`. Lines stay where they are.
///
/// # Errors
/// Where a prefix stands of which nothing can be derived, and why.
pub(super) fn expand(text: &str) -> Result<String, (usize, String)> {
    // What is no TOML is told of later, with the text as it is.
    let Ok(Beginning { direct_access: Some(table) }) = toml::from_str(text) else { return Ok(text.to_owned()) };
    let mut words: Vec<(&str, Ipv6Prefix)> = Vec::new();
    if let Some(ipv4) = table.ipv4 {
        let derived = directaccess_prefixes(ipv4);
        words.extend([
            ("{intranet}", derived.organisation),
            ("{ip-https}", derived.ip_https),
            ("{teredo}", derived.teredo),
        ]);
    }
    if let Some(organisation) = table.organisation {
        let (at, prefix) = (organisation.span().start, organisation.into_inner().0);
        let derived = directaccess_prefixes_ula(&prefix)
            .ok_or_else(|| (at, format!("{prefix} is no organisation prefix: write a /48")))?;
        words.extend([
            ("{organisation}", prefix),
            ("{isatap}", derived.isatap),
            ("{ip-https-1}", derived.ip_https),
            ("{ip-https-2}", derived.second_ip_https),
            ("{dns64}", derived.dns64),
            ("{nat64}", derived.nat64),
        ]);
    }
    Ok(words.into_iter().fold(text.to_owned(), |text, (word, prefix)| text.replace(word, &groups(prefix))))
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
            let expanded = expand(&format!("{text}# {word}")).unwrap();
            assert_eq!(expanded.lines().last().unwrap(), format!("# {expected}"));
        }
        assert_eq!(expand("# {isatap}").unwrap(), "# {isatap}");
        assert_eq!(expand(&text.replace("/48", "/56")).unwrap_err().0, text.find("\"fd9c").unwrap());
    }
}
