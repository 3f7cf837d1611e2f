//! What to write instead of a text that is not an address or a number.
//!
//! The standard library reports that a text is wrong, not why. Flags, links of `check` and
//! configuration files take the reason and the fix from here.

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What is wrong with `text` as an IPv4 address, and what to write; without the text itself.
///
/// ```
/// use isatap_std::advice::not_ipv4;
///
/// assert_eq!(not_ipv4("10.0.0.2/24"), "a prefix length is not allowed here: write 10.0.0.2");
/// ```
#[must_use]
pub fn not_ipv4(text: &str) -> String {
    if let Some(advice) = nearly::<Ipv4Addr>(text, ':') {
        return advice;
    }
    let text = text.trim();
    if text.is_empty() {
        return "an IPv4 address is missing: write one, for example 10.0.0.2".into();
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return "this is an IPv6 address: write the machine's IPv4 address, for example 10.0.0.2".into();
    }
    let numbers: Vec<&str> = text.split('.').collect();
    let are_digits = numbers.iter().all(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()));
    // Whether octal is meant cannot be known.
    let plain = numbers.iter().map(|number| number.trim_start_matches('0'));
    let plain: Vec<&str> = plain.map(|number| if number.is_empty() { "0" } else { number }).collect();
    let plain = plain.join(".");
    if are_digits && plain.parse::<Ipv4Addr>().is_ok() {
        return format!("a number starts with 0: write {plain} if you mean decimal");
    }
    let is_name = text.starts_with(|c: char| c.is_alphabetic()) && !text.contains([':', '%', '/']);
    if is_name {
        return "this is a name: write an IPv4 address, for example 10.0.0.2".into();
    }
    "not an IPv4 address: write four numbers from 0 to 255, for example 10.0.0.2".into()
}

/// What is wrong with `text` as an IPv6 address, and what to write; without the text itself.
#[must_use]
pub fn not_ipv6(text: &str) -> String {
    if let Some(advice) = nearly::<Ipv6Addr>(text, ']') {
        return advice;
    }
    let text = text.trim();
    if text.is_empty() {
        return "an IPv6 address is missing: write one, for example 2001:db8::1".into();
    }
    if text.split('/').next().is_some_and(|address| address.parse::<Ipv4Addr>().is_ok()) {
        return "this is an IPv4 address: write an IPv6 address, for example 2001:db8::1".into();
    }
    "not an IPv6 address: write up to eight groups of hexadecimal digits, for example 2001:db8::1".into()
}

/// What surrounds an address that would be right without it. `port`: what ends the address in
/// front of a port.
fn nearly<A: FromStr + Display>(text: &str, port: char) -> Option<String> {
    let parses = |text: &str| text.parse::<A>().ok();
    if let Some(address) = parses(text.trim()) {
        return Some(format!("remove the blanks: write {address}"));
    }
    if text.trim().contains([',', ';']) || text.trim().contains(char::is_whitespace) {
        return Some("this is more than one address: write each as its own value".into());
    }
    let before = |end: char| text.split_once(end).and_then(|(address, _)| parses(address.trim_start_matches('[')));
    let (what, address) = [('/', "a prefix length is"), ('%', "a device name is"), (port, "a port is")]
        .into_iter()
        .find_map(|(end, what)| Some((what, before(end)?)))?;
    let what = if port == ']' && text.ends_with(port) { "brackets are" } else { what };
    Some(format!("{what} not allowed here: write {address}"))
}

/// What is wrong with `text` as a whole number, and what to write; without the text itself.
/// `range` is the least and the greatest number allowed, if they are known; `unit` is what is
/// counted, `""` if that goes without saying.
#[must_use]
pub fn not_number(text: &str, range: Option<(u64, u64)>, unit: &str) -> String {
    let text = text.trim();
    let of = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
    let has_unit = !text.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = seconds_in(text).filter(|_| unit == "seconds" && has_unit);
    if let Some(seconds) = seconds.filter(|seconds| range.is_none_or(|(least, most)| (least..=most).contains(seconds)))
    {
        return format!("write seconds without a unit: {seconds}");
    }
    match range {
        Some((least, most)) => format!("write a whole number{of} from {least} to {most}"),
        None if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("the number{of} is too large")
        }
        None => format!("write a whole number{of}, digits only"),
    }
}

/// The seconds in a text with or without a unit of time: `90`, `90s`, `30 min`, `1h`, `2 days`.
#[must_use]
pub fn seconds_in(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let seconds = match unit.trim() {
        "" | "s" | "sec" | "second" | "seconds" => 1,
        "m" | "min" | "minute" | "minutes" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

/// The name that is likely meant, of those that there are.
#[must_use]
pub fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.min_by_key(|name| distance(text, name))?;
    let letters = distance(text, near);
    // Two letters that changed places count twice, also in a short name.
    let is_swapped = || letters == 2 && sorted(text) == sorted(near);
    (letters <= (text.len() / 3).max(text.len().min(4) / 2) || is_swapped()).then_some(near)
}

fn sorted(text: &str) -> Vec<u8> {
    let mut letters = text.to_ascii_lowercase().into_bytes();
    letters.sort_unstable();
    letters
}

/// How many letters differ: Levenshtein's distance, `_` and `-` being one, and large and small letters.
pub(crate) fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, mut c) in one.to_lowercase().chars().enumerate() {
        if c == '_' {
            c = '-';
        }
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, d) in other.iter().enumerate() {
            let changed = diagonal + usize::from(c != *d);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_advised_only_where_it_is_likely_meant() {
        let of = |text| nearest(text, ["tos", "mtu", "local", "ttl", "bind-device"].into_iter());
        for (text, meant) in [("mut", "mtu"), ("lcoal", "local"), ("tls", "tos"), ("bind_devise", "bind-device")] {
            assert_eq!(of(text), Some(meant), "{text}");
        }
        for text in ["foo", "x", "", "xy", "nat"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_nearly_an_address_is_told_what_to_leave_out() {
        for (text, advice) in [
            ("", "an IPv4 address is missing"),
            (" ", "an IPv4 address is missing"),
            ("10.0.0.2/24", "a prefix length is not allowed here: write 10.0.0.2"),
            ("10.0.0.2:3544", "a port is not allowed here: write 10.0.0.2"),
            ("10.0.0.2%eth0", "a device name is not allowed here: write 10.0.0.2"),
            ("10.0.0.2 ", "remove the blanks: write 10.0.0.2"),
            ("fe80::5efe:10.0.0.2", "this is an IPv6 address"),
            ("10.0.0.1,10.0.0.2", "this is more than one address"),
            ("10.0.0.1\n10.0.0.2", "this is more than one address"),
            ("eth0", "this is a name"),
            ("broker.example.net", "this is a name"),
            ("010.0.0.07", "a number starts with 0: write 10.0.0.7 if"),
            ("010.0.0.00", "a number starts with 0: write 10.0.0.0 if"),
            ("10.0.0", "not an IPv4 address"),
            ("10.0.0.256", "not an IPv4 address"),
            ("10..0.1", "not an IPv4 address"),
            ("10/8", "not an IPv4 address"),
            ("0x0a000002", "not an IPv4 address"),
            ("fe80::1%eth0", "not an IPv4 address"),
            ("2001:db8:::1", "not an IPv4 address"),
        ] {
            assert!(text.parse::<Ipv4Addr>().is_err(), "{text}");
            assert!(not_ipv4(text).starts_with(advice), "{text}: {}", not_ipv4(text));
        }
        for (text, advice) in [
            ("", "an IPv6 address is missing"),
            ("2001:db8::1/64", "a prefix length is not allowed here: write 2001:db8::1"),
            ("fe80::1%eth0", "a device name is not allowed here: write fe80::1"),
            ("[2001:db8::1]:53", "a port is not allowed here: write 2001:db8::1"),
            ("[2001:db8::1]", "brackets are not allowed here: write 2001:db8::1"),
            (" 2001:db8::1", "remove the blanks: write 2001:db8::1"),
            ("8.8.8.8", "this is an IPv4 address"),
            ("8.8.8.8/8", "this is an IPv4 address"),
            ("2001:db8::1 2001:db8::2", "this is more than one address"),
            ("2001:db8:::1", "not an IPv6 address"),
            ("dns.example", "not an IPv6 address"),
        ] {
            assert!(text.parse::<Ipv6Addr>().is_err(), "{text}");
            assert!(not_ipv6(text).starts_with(advice), "{text}: {}", not_ipv6(text));
        }
    }

    #[test]
    fn a_text_that_is_nearly_a_number_is_told_its_range() {
        for (text, range, unit, advice) in [
            ("30s", Some((0, 65_535)), "seconds", "write seconds without a unit: 30"),
            ("30 min", None, "seconds", "write seconds without a unit: 1800"),
            ("1h", None, "seconds", "write seconds without a unit: 3600"),
            ("70000", Some((0, 65_535)), "", "write a whole number from 0 to 65535"),
            ("20h", Some((0, 65_535)), "seconds", "write a whole number of seconds from 0 to 65535"),
            ("30m", Some((0, 255)), "", "write a whole number from 0 to 255"),
            ("-1", Some((0, 255)), "", "write a whole number from 0 to 255"),
            ("70000", Some((1280, 65_515)), "", "write a whole number from 1280 to 65515"),
            ("", Some((0, 255)), "", "write a whole number from 0 to 255"),
            ("99999999999999999999", None, "seconds", "the number of seconds is too large"),
            ("300", None, "", "the number is too large"),
            ("1.5", None, "seconds", "write a whole number of seconds, digits only"),
        ] {
            assert_eq!(not_number(text, range, unit), advice, "{text:?}");
        }
    }
}
