//! What to write instead of a text that is no address and no number.
//!
//! The standard library says that a text is none, not why. Flags, links of `check` and
//! configuration files say the same of the same text: what is here.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Why `text` is no IPv4 address, and what to write; without the text itself.
///
/// ```
/// use isatap_std::advice::not_ipv4;
///
/// assert_eq!(not_ipv4("10.0.0.2/24"), "it has a prefix length: write the address alone, 10.0.0.2");
/// ```
#[must_use]
pub fn not_ipv4(text: &str) -> String {
    let text = text.trim();
    let parses = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    if text.is_empty() {
        return "an IPv4 address is missing: write one, as 10.0.0.2".into();
    }
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| parses(address)) {
        return format!("it has a prefix length: write the address alone, {address}");
    }
    if let Some((address, _)) = text.split_once(':').filter(|(address, _)| parses(address)) {
        return format!("it has a port: write the address alone, {address}");
    }
    if text.parse::<Ipv6Addr>().is_ok() {
        return "it is an IPv6 address: write the IPv4 address of that machine, as 10.0.0.2".into();
    }
    if text.contains([',', ' ', ';']) {
        return "it is more than one address: write each as a value of its own".into();
    }
    let numbers: Vec<&str> = text.split('.').collect();
    let are_digits = numbers.iter().all(|number| number.bytes().all(|byte| byte.is_ascii_digit()));
    if !are_digits && text.bytes().any(|byte| byte.is_ascii_alphabetic()) && !text.contains('/') {
        return "it is a name: write an IPv4 address here, as 10.0.0.2".into();
    }
    // As people write it; whether octal is meant is not asked.
    let without_zeros = numbers.iter().map(|number| number.trim_start_matches('0'));
    let without_zeros: Vec<&str> = without_zeros.map(|number| if number.is_empty() { "0" } else { number }).collect();
    let without_zeros = without_zeros.join(".");
    if are_digits && parses(&without_zeros) && numbers.iter().all(|number| !number.is_empty()) {
        return format!("a number begins with 0: write {without_zeros}, if that is meant");
    }
    "no IPv4 address: write four numbers of 0 to 255, as 10.0.0.2".into()
}

/// Why `text` is no IPv6 address, and what to write; without the text itself.
#[must_use]
pub fn not_ipv6(text: &str) -> String {
    let text = text.trim();
    let parses = |text: &str| text.parse::<Ipv6Addr>().is_ok();
    if text.is_empty() {
        return "an IPv6 address is missing: write one, as 2001:db8::1".into();
    }
    if let Some((address, _)) = text.split_once('/').filter(|(address, _)| parses(address)) {
        return format!("it has a prefix length: write the address alone, {address}");
    }
    if let Some((address, _)) = text.split_once('%').filter(|(address, _)| parses(address)) {
        return format!("it names a device: write the address alone, {address}");
    }
    let inside = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    if let Some((address, _)) = inside.filter(|(address, _)| parses(address)) {
        return format!("it has brackets: write the address alone, {address}");
    }
    if text.parse::<Ipv4Addr>().is_ok() {
        return "it is an IPv4 address: write an IPv6 address, as 2001:db8::1".into();
    }
    if text.contains([',', ' ', ';']) {
        return "it is more than one address: write each as a value of its own".into();
    }
    "no IPv6 address: write eight groups of hexadecimal digits, :: for those of zeros, as 2001:db8::1".into()
}

/// Why `text` is no whole number, and what to write; without the text itself. `most` is the
/// largest that is taken, if that is known; `unit` is what it counts, `""` if that goes without
/// saying.
#[must_use]
pub fn not_number(text: &str, most: Option<u64>, unit: &str) -> String {
    let text = text.trim();
    let unit = if unit.is_empty() { String::new() } else { format!(" of {unit}") };
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic() || c == ' ');
    match digits.parse::<u64>() {
        Ok(number) if digits.len() < text.len() && most.is_none_or(|most| number <= most) => {
            format!("it has letters behind it: write a whole number{unit}, as {number}")
        }
        _ => match most {
            Some(most) => format!("write a whole number{unit} from 0 to {most}"),
            None => format!("write a whole number{unit}, digits alone"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_that_is_nearly_an_address_is_told_what_to_leave_away() {
        for (text, advice) in [
            ("", "is missing"),
            ("10.0.0.2/24", "prefix length: write the address alone, 10.0.0.2"),
            ("10.0.0.2:3544", "port: write the address alone, 10.0.0.2"),
            ("fe80::5efe:10.0.0.2", "it is an IPv6 address"),
            ("10.0.0.1,10.0.0.2", "more than one"),
            ("eth0", "it is a name"),
            ("broker.example.net", "it is a name"),
            ("010.0.0.07", "write 10.0.0.7,"),
            ("010.0.0.00", "write 10.0.0.0,"),
            ("10.0.0", "four numbers"),
            ("10.0.0.256", "four numbers"),
            ("10..0.1", "four numbers"),
            ("10/8", "four numbers"),
        ] {
            assert!(text.parse::<Ipv4Addr>().is_err(), "{text}");
            assert!(not_ipv4(text).contains(advice), "{text}: {}", not_ipv4(text));
        }
        for (text, advice) in [
            ("", "is missing"),
            ("2001:db8::1/64", "prefix length: write the address alone, 2001:db8::1"),
            ("fe80::1%eth0", "device: write the address alone, fe80::1"),
            ("[2001:db8::1]:53", "brackets: write the address alone, 2001:db8::1"),
            ("8.8.8.8", "it is an IPv4 address"),
            ("2001:db8::1 2001:db8::2", "more than one"),
            ("2001:db8:::1", "eight groups"),
            ("dns.example", "eight groups"),
        ] {
            assert!(text.parse::<Ipv6Addr>().is_err(), "{text}");
            assert!(not_ipv6(text).contains(advice), "{text}: {}", not_ipv6(text));
        }
    }

    #[test]
    fn a_text_that_is_nearly_a_number_is_told_its_range() {
        for (text, most, unit, advice) in [
            ("30s", Some(65_535), "seconds", "it has letters behind it: write a whole number of seconds, as 30"),
            ("30 s", None, "seconds", "it has letters behind it: write a whole number of seconds, as 30"),
            ("70000", Some(65_535), "", "write a whole number from 0 to 65535"),
            ("70000s", Some(65_535), "seconds", "write a whole number of seconds from 0 to 65535"),
            ("-1", Some(255), "", "write a whole number from 0 to 255"),
            ("", Some(255), "", "write a whole number from 0 to 255"),
            ("1.5", None, "seconds", "write a whole number of seconds, digits alone"),
        ] {
            assert_eq!(not_number(text, most, unit), advice, "{text:?}");
        }
    }
}
