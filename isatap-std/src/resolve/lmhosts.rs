//! The lmhosts file: NetBIOS names and their IPv4 addresses (NAM-40).

use std::net::Ipv4Addr;

use super::netbios::NetbiosName;

/// The IPv4 addresses that an lmhosts file gives to `name`, in the order of the file and each once.
/// A byte order mark would be part of the first line: [`decode`](crate::text_file::decode) takes it off.
/// `preloaded`: of the lines with `#PRE` only, which are in the NetBIOS name cache (NAM-34).
///
/// A line is `address name [#PRE] [#DOM:domain] [# comment]`; a name has up to 15 characters, in any
/// case. In quotes it may have blanks and, behind 15 characters, its suffix: `"ISATAP         \0x00"`.
/// `#INCLUDE` and other directives are ignored, and so is a line that cannot be read.
#[must_use]
pub fn addresses(lmhosts: &str, name: &NetbiosName, preloaded: bool) -> Vec<Ipv4Addr> {
    let mut found = Vec::new();
    for line in lmhosts.lines() {
        let Some((address, listed, rest)) = entry(line) else { continue };
        // What is no keyword is a comment, with all that comes after it.
        let keywords = rest.split_ascii_whitespace().take_while(|word| {
            word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("#DOM:")) || word.eq_ignore_ascii_case("#PRE")
        });
        let is_preloaded = keywords.into_iter().any(|word| word.eq_ignore_ascii_case("#PRE"));
        if listed == *name && (is_preloaded || !preloaded) && !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// Address and name of a line, and what stands behind them.
fn entry(line: &str) -> Option<(Ipv4Addr, NetbiosName, &str)> {
    // A line that begins with # is a comment or a directive, and has no address.
    let (address, rest) = line.trim_ascii_start().split_once([' ', '\t'])?;
    let (address, rest) = (address.parse().ok()?, rest.trim_ascii_start());
    if let Some(quoted) = rest.strip_prefix('"') {
        let (name, rest) = quoted.split_once('"')?;
        return Some((address, quoted_name(name)?, rest));
    }
    let end = rest.find([' ', '\t', '\r', '#']).unwrap_or(rest.len());
    let (name, rest) = rest.split_at_checked(end)?;
    Some((address, NetbiosName::new(name, 0)?, rest))
}

/// A name with its suffix as `\0xNN`, or without.
fn quoted_name(text: &str) -> Option<NetbiosName> {
    match text.split_once('\\') {
        None => NetbiosName::new(text.trim_ascii_end(), 0),
        Some((name, suffix)) => {
            let digits = suffix.strip_prefix("0x").or_else(|| suffix.strip_prefix("0X"))?;
            NetbiosName::new(name.trim_ascii_end(), u8::from_str_radix(digits, 16).ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LMHOSTS: &str = "# routers\n\
        #INCLUDE \\\\server\\lmhosts\n\
        10.0.0.10\tIsatap #PRE #DOM:site\n\
        10.0.0.11 isatap # 10.0.0.99 isatap #PRE\n\
        10.0.0.12 isatap#PRE\r\n\
        10.0.0.13 \"ISATAP         \\0x00\" #PRE\n\
        10.0.0.14 \"ISATAP         \\0x20\" #PRE\n\
        10.0.0.15 \"isatap\"\n\
        10.0.0.16 \"isatap\n\
        10.0.0.17 isatap2\n\
        10.0.0.18 a-name-of-16-chrs\n\
        10.0.0.300 isatap\n\
        10.0.0.10 isatap\n\
        #10.0.0.19 isatap\n\
        isatap\n\
        10.0.0.20\n";

    fn found(preloaded: bool) -> Vec<u8> {
        let name = NetbiosName::new("isatap", 0).unwrap();
        addresses(LMHOSTS, &name, preloaded).iter().map(|address| address.octets()[3]).collect()
    }

    #[test]
    fn nam_40_lines_of_one_name_add_up_in_quotes_or_without() {
        assert_eq!(found(false), [10, 11, 12, 13, 15]);
    }

    #[test]
    fn nam_34_what_is_to_be_preloaded_is() {
        assert_eq!(found(true), [10, 12, 13]);
    }

    #[test]
    fn nam_3_the_older_name_has_lines_of_its_own() {
        let name = NetbiosName::new("_isatap", 0).unwrap();
        assert_eq!(addresses("10.0.0.1 _ISATAP\n10.0.0.2 ISATAP", &name, false), [Ipv4Addr::new(10, 0, 0, 1)]);
    }
}
