//! Addresses as people have them: with ports, in URLs, as names, as libc reads them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::target::{Reading, Target, TargetError};

type Read = Option<Result<Reading, TargetError>>;

/// An address or a prefix in any form; nothing when the text is neither.
pub(super) fn read(text: &str) -> Read {
    // A UNC path of Windows has its host where a URL has it.
    if text.contains("://") || text.starts_with("//") || text.starts_with("\\\\") {
        return url(text);
    }
    if let Some(found) = name(text) {
        return Some(found);
    }
    if let Some((before, length)) = text.rsplit_once('/') {
        return prefix(text, before, length);
    }
    with_port(text).or_else(|| inet_aton(text))
}

fn wrong(text: &str, what: &str) -> Read {
    Some(Err(TargetError(format!("{text}: {what}"))))
}

fn ok(target: Target) -> Read {
    Some(Ok(target.into()))
}

/// Schemes whose URLs all programs connect to the host of: the special ones of the URL standard of WHATWG, but `file`.
const SCHEMES: [&str; 5] = ["http", "https", "ws", "wss", "ftp"];

/// An address without a port, in brackets or not, with a zone or not.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() && !zone.contains('/') => address.parse().ok().map(IpAddr::V6),
        _ => text.parse().ok(),
    }
}

fn prefix(text: &str, before: &str, length: &str) -> Read {
    let Some(address) = address(before) else {
        let Some(Ok(Reading { target: Target::Address(IpAddr::V4(short)), .. })) = inet_aton(before) else {
            return None;
        };
        // 10/8 is 10.0.0.0/8 to people, and 0.0.0.10/8 to libc.
        let parts: Vec<&str> = before.split('.').collect();
        let is_number = length.bytes().all(|byte| byte.is_ascii_digit()) && !length.is_empty();
        if !is_number {
            return None;
        }
        let padded = [parts.as_slice(), &["0"; 3]].concat();
        let meant = padded.get(..4).unwrap_or(&[]).join(".");
        let meant = if meant.parse::<Ipv4Addr>().is_ok() { meant } else { short.to_string() };
        return wrong(text, &format!("a prefix needs all four parts of its address: write {meant}/{length}"));
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    match length.parse::<u8>() {
        Ok(len) if len <= most && !length.starts_with('+') => return ok(Target::Prefix(address, len)),
        _ => {}
    }
    if let Some((length, zone)) = length.split_once('%') {
        return wrong(text, &format!("the zone stands behind the address: write {before}%{zone}/{length}"));
    }
    // A netmask.
    if let Ok(mask) = length.parse::<Ipv4Addr>()
        && address.is_ipv4()
        && mask.to_bits().leading_ones() + mask.to_bits().trailing_zeros() == 32
    {
        return wrong(
            text,
            &format!("a length stands behind the slash: write {before}/{}", mask.to_bits().leading_ones()),
        );
    }
    let hint = format!("write {before}/{}", if address.is_ipv4() { 24 } else { 64 });
    wrong(text, &format!("a prefix length of 0 to {most} was expected behind the slash: {hint}, say"))
}

/// Whether an address is written as RFC 3986 has it (§3.2.2): IPv6 alone in brackets, no separators in its zone.
fn is_plain(text: &str, address: IpAddr) -> bool {
    let is_of_zone = |sign: char| sign.is_ascii_alphanumeric() || "-._~".contains(sign);
    let (bare, is_bracketed) = match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(inside) => (inside, true),
        None => (text, false),
    };
    bare.split_once('%').is_none_or(|(_, zone)| zone.chars().all(is_of_zone)) && !(is_bracketed && address.is_ipv4())
}

/// `fe80::1`, `[::1]:80`, `10.0.0.1:80`.
fn with_port(text: &str) -> Read {
    let of = |text, address| Reading { is_plain: is_plain(text, address), ..Target::Address(address).into() };
    if let Some(address) = address(text) {
        return Some(Ok(of(text, address)));
    }
    let (host, port) = text.rsplit_once(':')?;
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    let mut reading = match address(host) {
        Some(address) if is_bracketed || address.is_ipv4() => of(host, address),
        _ if host.contains(':') => return None,
        _ => match inet_aton(host)? {
            Ok(reading) => reading,
            Err(error) => return Some(Err(error)),
        },
    };
    match port.parse() {
        Ok(port) if port_is_plain(text, port) => {
            reading.port = Some(port);
            Some(Ok(reading))
        }
        _ => wrong(text, "a port of 0 to 65535 was expected behind the colon"),
    }
}

fn port_is_plain(text: &str, port: u16) -> bool {
    text.ends_with(&format!(":{port}"))
}

/// What libc's `inet_aton` makes of it: one to four parts, each decimal, octal
/// with a leading 0 or hexadecimal with 0x; the last part fills what is left.
fn inet_aton(text: &str) -> Read {
    let parts: Vec<&str> = text.split('.').collect();
    let is_number = |part: &&str| {
        let digits = part.strip_prefix("0x").or(part.strip_prefix("0X"));
        digits.map_or_else(
            || !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()),
            |digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        )
    };
    if !parts.iter().all(is_number) {
        return None;
    }
    if let [a, b, c, d, port] = parts.as_slice() {
        return wrong(text, &format!("five parts; a port stands behind a colon: write {a}.{b}.{c}.{d}:{port}"));
    }
    let (last, before) = parts.split_last()?;
    if before.len() > 3 || before.is_empty() && last.len() > 12 {
        return None;
    }
    let number = |part: &str| {
        let (digits, base) = match part.strip_prefix("0x").or(part.strip_prefix("0X")) {
            Some(digits) => (digits, 16),
            None if part.len() > 1 && part.starts_with('0') => (part, 8),
            None => (part, 10),
        };
        u32::from_str_radix(digits, base).ok()
    };
    let mut bits = 0_u32;
    for (part, shift) in before.iter().zip([24, 16, 8]) {
        let Some(value) = number(part).filter(|value| *value <= 255) else { return bad_part(text, part) };
        bits |= value << shift;
    }
    let most = u32::MAX.checked_shr(8 * u32::try_from(before.len()).unwrap_or(0)).unwrap_or(0);
    let Some(value) = number(last).filter(|value| *value <= most) else { return bad_part(text, last) };
    let address = Ipv4Addr::from(bits | value);
    let mut note = format!("{text} is {address} to libc (inet_aton) and to browsers; strict parsers refuse it.");
    let decimal: String = parts
        .iter()
        .map(|part| part.trim_start_matches('0'))
        .map(|part| if part.is_empty() { "0" } else { part })
        .collect::<Vec<_>>()
        .join(".");
    if let Ok(other) = decimal.parse::<Ipv4Addr>()
        && other != address
    {
        note = format!("{text} is {address} to libc (a leading 0 is octal) and {other} to others.");
    }
    let target = Target::Address(IpAddr::V4(address));
    Some(Ok(Reading { notes: vec![note], is_plain: false, ..target.into() }))
}

fn bad_part(text: &str, part: &str) -> Read {
    let decimal = part.trim_start_matches('0');
    if part.starts_with('0') && decimal.parse::<u8>().is_ok() {
        return wrong(text, &format!("{part} begins with 0 and is no octal number: write {decimal} without the 0"));
    }
    wrong(text, &format!("{part} is too large for its place in an IPv4 address: write four numbers of 0 to 255"))
}

/// The host of `http://user:password@host:80/path`.
fn url(text: &str) -> Read {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (Some(scheme), rest),
        None => (None, text.trim_start_matches(['/', '\\'])),
    };
    let end = rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len());
    let (authority, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (user, host) = match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    };
    let decoded = ascii_of(&percent_decoded(host));
    let is_decoded = decoded != host;
    let host = decoded.as_str();
    if host.is_empty() {
        return wrong(text, "a URL without a host: write scheme://address/");
    }
    // Browsers take one dot at the end away, and `%25` is the zone's `%`.
    let bare = without_dot(host);
    let found = name(&bare).or_else(|| with_port(&bare)).or_else(|| inet_aton(&bare));
    let mut reading = match found {
        Some(Ok(reading)) => reading,
        Some(Err(error)) => return Some(Err(error)),
        None => {
            return wrong(
                text,
                &format!("its host {host} is a name, and no DNS is asked here: give one of its addresses"),
            );
        }
    };
    let mut notes = Vec::new();
    if let Target::Address(address) = reading.target {
        let shown = match user {
            Some(user) => format!("The URL's host is {address}: {user} in front of the @ is a user's name."),
            None if is_decoded => format!("The URL's host is {address}, written in signs that browsers decode."),
            None => format!("The URL's host is {address}."),
        };
        notes.push(shown);
    }
    reading.notes.splice(0..0, notes);
    let has_odd_signs = text.contains(|c: char| c == '\\' || c.is_whitespace() || c.is_control());
    let has_usual_scheme = scheme.is_none_or(|scheme| SCHEMES.iter().any(|usual| scheme.eq_ignore_ascii_case(usual)));
    // To some, the host ends at a slash only.
    let has_late_user = !behind.starts_with('/') && behind.contains('@');
    let is_bare_ipv6 = matches!(reading.target, Target::Address(IpAddr::V6(_))) && !host.starts_with('[');
    reading.is_plain &= user.is_none() && !is_decoded && bare == host && !has_odd_signs;
    reading.is_plain &= has_usual_scheme && !has_late_user && !is_bare_ipv6;
    Some(Ok(reading))
}

/// A host without the dot at its end, which may have a port behind it.
fn without_dot(host: &str) -> String {
    match host.rsplit_once(".:") {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => format!("{name}:{port}"),
        _ => host.strip_suffix('.').unwrap_or(host).to_owned(),
    }
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let digits = behind.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        let value = digits
            .filter(|digits| *first == b'%' && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match value {
            Some(value) => {
                bytes.push(value);
                rest = behind.get(2..).unwrap_or(&[]);
            }
            None => {
                bytes.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Digits, letters and dots of other widths, as IDNA maps them.
fn ascii_of(text: &str) -> String {
    let plain = |c: char| {
        let code = u32::from(c);
        match code {
            0x3002 | 0xff61 => Some('.'),
            0xff01..=0xff5e => char::from_u32(code - 0xff01 + 0x21),
            0x2460..=0x2468 => char::from_u32(code - 0x2460 + u32::from('1')),
            0x24ea => Some('0'),
            _ => None,
        }
    };
    text.chars().map(|c| plain(c).unwrap_or(c)).collect()
}

/// Names that are addresses.
fn name(text: &str) -> Read {
    let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let is_of = |zone: &str| {
        lower
            .strip_suffix(zone)
            .filter(|labels| labels.is_empty() || labels.ends_with('.'))
            .map(|labels| labels.trim_end_matches('.').to_owned())
    };
    // NAM-60 [RFC 3596 §2.5]: a nibble a label, the last one first.
    if let Some(labels) = is_of("ip6.arpa") {
        let labels: Vec<&str> = labels.split('.').filter(|label| !label.is_empty()).collect();
        let nibbles: Option<Vec<u32>> = labels
            .iter()
            .rev()
            .map(|label| if label.len() == 1 { u32::from_str_radix(label, 16).ok() } else { None })
            .collect();
        let Some(nibbles) = nibbles.filter(|nibbles| nibbles.len() <= 32) else {
            return wrong(text, "a name below ip6.arpa has up to 32 labels of one hexadecimal digit each");
        };
        let length = u8::try_from(nibbles.len()).unwrap_or(32) * 4;
        let bits = nibbles.iter().fold(0_u128, |bits, nibble| bits << 4 | u128::from(*nibble));
        let address = IpAddr::V6(Ipv6Addr::from(bits.checked_shl(u32::from(128 - length)).unwrap_or(0)));
        return of_name(address, length, 128);
    }
    if let Some(labels) = is_of("in-addr.arpa") {
        let labels: Vec<&str> = labels.split('.').filter(|label| !label.is_empty()).collect();
        let octets: Option<Vec<u8>> = labels.iter().rev().map(|label| label.parse().ok()).collect();
        let Some(octets) = octets.filter(|octets| octets.len() <= 4) else {
            return wrong(text, "a name below in-addr.arpa has up to four labels of 0 to 255");
        };
        let length = u8::try_from(octets.len()).unwrap_or(4) * 8;
        let mut address = [0; 4];
        address.iter_mut().zip(&octets).for_each(|(place, octet)| *place = *octet);
        return of_name(IpAddr::V4(Ipv4Addr::from(address)), length, 32);
    }
    // What Windows writes where a colon cannot stand.
    let literal = lower.strip_suffix(".ipv6-literal.net")?;
    let (literal, _zone) = literal.split_once('s').unwrap_or((literal, ""));
    match literal.replace('-', ":").parse() {
        Ok(address) => of_name(IpAddr::V6(address), 128, 128),
        Err(_) => wrong(text, "an address with - in place of : was expected: write fe80--1.ipv6-literal.net"),
    }
}

/// Others look such a name up.
fn of_name(address: IpAddr, length: u8, most: u8) -> Read {
    let target = if length == most { Target::Address(address) } else { Target::Prefix(address, length) };
    Some(Ok(Reading { is_plain: false, ..target.into() }))
}
