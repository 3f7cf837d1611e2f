//! All mistakes in the text of a file at once, each with what to write instead.
//!
//! The reader of TOML tables stops at the first mistake. So what it stopped at
//! is blanked, and the text is read again: every offset stays where it was.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::tables::File;

/// A mistake, and where.
pub(super) struct Mistake {
    pub(super) offset: usize,
    /// A table as a whole, rather than something in it.
    pub(super) is_table: bool,
    pub(super) text: String,
}

/// What a text came to.
pub(super) struct Outcome {
    /// The tables, without what is mistaken; nothing of a text that is no TOML.
    pub(super) file: Option<File>,
    pub(super) mistakes: Vec<Mistake>,
    /// Where the tables begin that have a mistake: what is left of them says nothing.
    pub(super) damaged: BTreeSet<usize>,
}

/// More mistakes in one file are not looked for.
const MOST: usize = 200;

pub(super) fn read(text: &str) -> Outcome {
    let mut outcome = Outcome { file: None, mistakes: Vec::new(), damaged: BTreeSet::new() };
    let (_, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        outcome.mistakes.extend(errors.iter().map(|error| Mistake {
            offset: error.span().map_or(0, |span| span.start),
            is_table: false,
            text: error.message().replace('\n', ", "),
        }));
        return outcome;
    }
    let mut rest = text.to_owned();
    // Keys that were blanked, and are missing for that reason only.
    let mut blanked: BTreeSet<(usize, String)> = BTreeSet::new();
    for _ in 0..MOST {
        let error = match toml::from_str::<File>(&rest) {
            Ok(file) => {
                outcome.file = Some(file);
                return outcome;
            }
            Err(error) => error,
        };
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', ", ");
        let place = Place::of(&rest, offset, &message);
        outcome.damaged.extend(place.table.as_ref().map(|(_, begin)| *begin));
        let missing = quoted(&message).next().filter(|_| message.starts_with("missing field"));
        let is_ours = missing
            .zip(place.table.as_ref())
            .is_some_and(|(key, (_, begin))| blanked.contains(&(*begin, key.to_owned())));
        if !is_ours {
            let text = advice(&message, &place);
            outcome.mistakes.push(Mistake { offset, is_table: place.key.is_none(), text });
        }
        if let (Some((_, begin)), Some(key)) = (&place.table, &place.key) {
            blanked.insert((*begin, key.clone()));
        }
        if !blank(&mut rest, &place.whole) {
            return outcome;
        }
    }
    outcome
}

/// Overwrites a part of a text with blanks, line by line; whether there was any.
fn blank(text: &mut String, part: &Range<usize>) -> bool {
    let Some(old) = text.get(part.clone()).filter(|old| !old.trim().is_empty()) else { return false };
    let blanks: String = old.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    text.replace_range(part.clone(), &blanks);
    true
}

/// Where in a file something is wrong.
struct Place {
    /// The table's name, and where it begins.
    table: Option<(String, usize)>,
    key: Option<String>,
    /// The value as it is written, and its first element when it is a list.
    value: Option<(String, Option<String>)>,
    /// What is to be blanked.
    whole: Range<usize>,
}

impl Place {
    fn of(text: &str, offset: usize, message: &str) -> Self {
        let mut place = Place { table: None, key: None, value: None, whole: table_around(text, offset) };
        let Ok(root) = DeTable::parse(text) else { return place };
        // What is missing is not in the file: the table that begins last before is meant.
        let is_missing = message.starts_with("missing field");
        for (name, value) in root.get_ref() {
            let elements: &[Spanned<DeValue<'_>>] = match value.get_ref() {
                DeValue::Array(elements) => elements,
                DeValue::Table(_) => std::slice::from_ref(value),
                _ if contains(&value.span(), offset) || contains(&name.span(), offset) => {
                    place.key = Some(name.get_ref().to_string());
                    place.value = Some(written(text, value));
                    place.whole = name.span().start..value.span().end;
                    return place;
                }
                _ => continue,
            };
            for element in elements {
                let DeValue::Table(table) = element.get_ref() else { continue };
                let begin = element.span().start;
                let is_last = place.table.as_ref().is_none_or(|(_, earlier)| *earlier <= begin);
                if begin <= offset && is_last {
                    place.table = Some((name.get_ref().to_string(), begin));
                }
                let inside = table.iter().find(|(key, value)| {
                    !is_missing && (contains(&key.span(), offset) || contains(&value.span(), offset))
                });
                if let Some((key, value)) = inside {
                    place.table = Some((name.get_ref().to_string(), begin));
                    place.key = Some(key.get_ref().to_string());
                    place.value = Some(written(text, value));
                    place.whole = key.span().start..value.span().end;
                    return place;
                }
            }
        }
        place
    }
}

fn contains(span: &Range<usize>, offset: usize) -> bool {
    span.contains(&offset)
}

fn written(text: &str, value: &Spanned<DeValue<'_>>) -> (String, Option<String>) {
    let of = |span: Range<usize>| text.get(span).unwrap_or("").to_owned();
    let first = value.get_ref().as_array().and_then(|array| array.iter().next()).map(|first| of(first.span()));
    (of(value.span()), first)
}

/// From the header in whose line `offset` is, or which is before it, to the next.
fn table_around(text: &str, offset: usize) -> Range<usize> {
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            if at > offset {
                return start..at;
            }
            start = at;
        }
        at += line.len();
    }
    start..text.len()
}

/// What stands between backticks in a message.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

/// The message, with what to write instead.
fn advice(message: &str, place: &Place) -> String {
    let key = place.key.as_deref().unwrap_or("it");
    let (value, first) = place.value.as_ref().map_or(("", None), |(value, first)| (value.as_str(), first.as_deref()));
    let bare = value.trim_matches(['"', '\'']);
    if message.starts_with("unknown field") {
        let mut names = quoted(message);
        let unknown = names.next().unwrap_or("");
        let near = nearest(unknown, names);
        return match (&place.key, near) {
            (None, Some(near)) => format!("no table is named {unknown}: write [[{near}]]"),
            (Some(_), Some(near)) => format!("{message}; write {near}"),
            _ => message.to_owned(),
        };
    }
    if message.starts_with("unknown variant") {
        let mut names = quoted(message);
        let near = nearest(names.next().unwrap_or(""), names);
        return near.map_or_else(|| message.to_owned(), |near| format!("{message}; write {key} = \"{near}\""));
    }
    if let Some(missing) = quoted(message).next().filter(|_| message.starts_with("missing field")) {
        let table = place.table.as_ref().map_or("", |(name, _)| name.as_str());
        return match example(table, missing) {
            Some(example) => format!("{message}: write {missing} = {example}, say"),
            None => message.to_owned(),
        };
    }
    if let Some((found, expected)) =
        message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
    {
        return match (found, expected) {
            ("map", "a sequence") => {
                let name = place.table.as_ref().map_or(key, |(name, _)| name.as_str());
                format!("there can be several of them: write [[{name}]]")
            }
            (_, "a sequence") => format!("{key} is a list: write {key} = [{value}]"),
            ("sequence", _) => match first {
                Some(first) => format!("{key} is one value and no list: write {key} = {first}"),
                None => format!("{key} is one value and no list: write {key} = …, or leave it away"),
            },
            (_, "a boolean") => {
                let meant = !matches!(bare, "false" | "no" | "off" | "0");
                format!("{key} is true or false: write {key} = {meant}")
            }
            (_, number) if range(number).is_some() => match bare.parse::<u64>() {
                Ok(number) => format!("{key} is a number: write {key} = {number}"),
                Err(_) => format!("{key} is a number {}: write one without quotes", range(number).unwrap_or("")),
            },
            _ if !found.starts_with("string") => format!("{key} is text: write {key} = \"{bare}\""),
            _ => message.to_owned(),
        };
    }
    if let Some(number) = message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        return match range(number.1) {
            Some(range) => format!("{key} is a number {range}, and {value} is not"),
            None => message.to_owned(),
        };
    }
    if message.contains("invalid IPv4 address syntax") {
        return format!("{key}: {}", ipv4_advice(first.map_or(bare, |first| wrong_element(value, first))));
    }
    if message.contains("invalid IPv6 address syntax") {
        return format!("{key}: {value} has what is no IPv6 address: write it as 2001:db8::53");
    }
    message.to_owned()
}

/// The first element of a list of IPv4 addresses that is none.
fn wrong_element<'a>(list: &'a str, first: &'a str) -> &'a str {
    let mut elements = list.trim_matches(['[', ']']).split(',').map(|one| one.trim().trim_matches(['"', '\'']));
    elements.find(|one| one.parse::<Ipv4Addr>().is_err()).unwrap_or(first)
}

fn ipv4_advice(text: &str) -> String {
    let parses = |text: &str| text.parse::<Ipv4Addr>().is_ok();
    match (text.split_once('/'), text.split_once(':')) {
        (Some((address, _)), _) if parses(address) => {
            format!("{text} has a length: write the address alone, {address}")
        }
        (_, Some((address, _))) if parses(address) => format!("{text} has a port: write the address alone, {address}"),
        _ if text.parse::<Ipv6Addr>().is_ok() => {
            format!("{text} is an IPv6 address: write the IPv4 address of the tunnel's end, as 10.0.0.2")
        }
        _ => format!("{text} is no IPv4 address: write four numbers of 0 to 255, as 10.0.0.2"),
    }
}

fn range(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "u8" => "of 0 to 255",
        "u16" => "of 0 to 65535",
        "u32" => "of 0 to 4294967295",
        "u64" | "i64" | "usize" => "of 0 or more",
        _ => return None,
    })
}

/// A value that a key could have.
fn example(table: &str, key: &str) -> Option<&'static str> {
    Some(match (table, key) {
        ("isatap-router", "local") => "[\"10.0.0.1\"]",
        ("isatap-router", "prefix") => "[\"2001:db8:0:7::/64\"]",
        (_, "prefix") => "\"2001:db8::/32\"",
        (_, "local") => "\"10.0.0.2\"",
        (_, "remote") => "\"198.51.100.1\"",
        (_, "server") => "\"teredo.example.net\"",
        (_, "primary") => "\"198.51.100.1\"",
        (_, "dev") => "\"eth1\"",
        _ => return None,
    })
}

/// The name that is likely meant.
fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = |name: &&str| distance(text, name);
    names.min_by_key(near).filter(|name| distance(text, name) <= (text.len() / 3).max(2))
}

/// How many letters differ: Levenshtein's distance, `_` and `-` being one.
fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, mut c) in one.chars().enumerate() {
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
