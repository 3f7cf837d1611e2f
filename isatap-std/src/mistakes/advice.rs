//! What is wrong with a key or value, and what to write instead.

use serde::de::DeserializeOwned;

use super::{Place, Value, bare, quoted};
use crate::advice;

/// A message for people.
pub(super) struct Advice {
    pub(super) text: String,
    /// The key that is meant, where another is written.
    pub(super) key: Option<String>,
}

/// The message of the tables' reader, with what to write instead.
pub(super) fn of<T: DeserializeOwned>(text: &str, message: &str, place: &Place) -> Advice {
    if message.starts_with("unknown field") {
        return unknown_name::<T>(message, place);
    }
    let table = place.table.as_ref().map_or("", |(name, _)| name.as_str());
    let text = match (&place.key, &place.value) {
        (Some(key), Some(value)) => {
            let wrong = Wrong { table, key, value, bare: bare(&value.text) };
            wrong.advice::<T>(text, message).unwrap_or_else(|| message.to_owned())
        }
        _ if message.starts_with("invalid type: map") => format!("there can be several of them: write [[{table}]]"),
        _ => message.to_owned(),
    };
    Advice { text, key: None }
}

/// What to write for a key that a table misses.
pub(super) fn of_missing(table: &str, key: &str) -> String {
    match example(table, key) {
        Some(example) => format!("missing field `{key}`: write {key} = {example}, say"),
        None => format!("missing field `{key}`"),
    }
}

/// A value that cannot be.
struct Wrong<'a> {
    table: &'a str,
    key: &'a str,
    value: &'a Value,
    bare: &'a str,
}

impl Wrong<'_> {
    fn advice<T: DeserializeOwned>(&self, text: &str, message: &str) -> Option<String> {
        let (key, value) = (self.key, self.value.text.as_str());
        if message.starts_with("unknown variant") {
            return Some(self.choice(&quoted(message).skip(1).collect::<Vec<_>>()));
        }
        if message.starts_with("wanted string") {
            // Which values there are is told of a text only.
            let mut empty = text.to_owned();
            empty.replace_range(self.value.span.clone(), "\"\"");
            let message = toml::from_str::<T>(&empty).err()?.message().to_owned();
            return Some(self.choice(&quoted(&message).skip(1).collect::<Vec<_>>()));
        }
        if let Some((found, expected)) =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
        {
            return self.of_other_type(found, expected);
        }
        if let Some((_, number)) =
            message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected "))
        {
            return most(number).map(|most| format!("{key} is a number {}, and {value} is not", range(most)));
        }
        if message.contains("invalid IPv4 address syntax") {
            return Some(self.ipv4());
        }
        if message.contains("invalid IPv6 address syntax") {
            return Some(format!("{}: {}", self.bare, advice::not_ipv6(self.bare)));
        }
        None
    }

    /// `KEY = VALUE`, or the value alone where it is one of a list.
    fn write(&self, value: &str) -> String {
        if self.value.is_element { format!("write {value}") } else { format!("write {} = {value}", self.key) }
    }

    fn of_other_type(&self, found: &str, expected: &str) -> Option<String> {
        let (key, value, bare) = (self.key, self.value.text.as_str(), self.bare);
        let is_table = found == "map";
        if self.table.is_empty() && (expected == "a sequence" || expected.starts_with("struct")) {
            return Some(format!("{key} is a table: write [[{key}]], and its keys in the lines below"));
        }
        Some(match expected {
            "a sequence" if is_table => {
                format!("{key} is a list and no table: write {key} = [\"…\"] below [[{}]]", self.table)
            }
            "a sequence" => format!("{key} is a list: write {key} = [{value}]"),
            _ if found == "sequence" => match &self.value.first {
                Some(first) if self.value.is_element => format!("{key} has a list in its list: write {first}"),
                Some(first) => format!("{key} is one value and no list: write {key} = {first}"),
                None => format!("{key} is one value and no list: write {key} = …, or leave it away"),
            },
            "a boolean" => {
                let meant = !matches!(bare.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0");
                format!("{key} is true or false: {}", self.write(&meant.to_string()))
            }
            number if most(number).is_some() => {
                let most = most(number)?;
                match number_in(bare).filter(|number| *number <= most) {
                    Some(number) => format!("{key} is a number: {}", self.write(&number.to_string())),
                    None => format!("{key} is a number {}, and {value} is not", range(most)),
                }
            }
            _ if is_table => format!("{key} is text and no table: {}", self.write("\"…\"")),
            _ if found.starts_with("string") => return None,
            _ => format!("{key} is text: {}", self.write(&format!("\"{bare}\""))),
        })
    }

    /// One of a few values.
    fn choice(&self, values: &[&str]) -> String {
        let (key, all) = (self.key, values.join(", "));
        let meant = match self.bare {
            "true" | "yes" => "on",
            "false" | "no" => "off",
            "border-relay" | "relay" => "br",
            "customer-edge" | "customer" => "ce",
            other => other,
        };
        let near = values.iter().find(|one| **one == meant).copied().or_else(|| nearest(meant, values.iter().copied()));
        let told = format!("{key} is one of {all}, and {} is not", self.value.text);
        match near {
            Some(near) => format!("{told}: {}", self.write(&format!("\"{near}\""))),
            None => told,
        }
    }

    fn ipv4(&self) -> String {
        let (text, advice) = (self.bare, advice::not_ipv4(self.bare));
        if (self.table, self.key) == ("isatap-host", "local") && is_device(text) {
            return format!("{text}: {advice}, or via = \"{text}\" instead of local for a device's");
        }
        format!("{text}: {advice}")
    }
}

fn is_device(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The number in a text, in seconds where it has a unit of time.
fn number_in(text: &str) -> Option<u64> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(end)?;
    let seconds = match unit.trim() {
        "" | "s" | "sec" | "seconds" | "bytes" => 1,
        "m" | "min" | "minutes" => 60,
        "h" | "hours" => 3600,
        "d" | "days" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

/// The greatest number of a type.
fn most(kind: &str) -> Option<u64> {
    Some(match kind {
        "u8" => u8::MAX.into(),
        "u16" => u16::MAX.into(),
        "u32" => u32::MAX.into(),
        "u64" | "i64" | "usize" => u64::MAX,
        _ => return None,
    })
}

fn range(most: u64) -> String {
    if most == u64::MAX { "of 0 or more".to_owned() } else { format!("of 0 to {most}") }
}

/// What a table misses beside `first`, which its reader told. What it has can be read.
pub(super) fn missing<T: DeserializeOwned>(table: &str, text: &str, first: &str) -> Vec<String> {
    let mut missing = vec![first.to_owned()];
    let mut whole = text.to_owned();
    while let Some(example) =
        missing.last().and_then(|key| example(table, key).map(|value| format!("\n{key} = {value}\n")))
    {
        whole.push_str(&example);
        let Err(error) = toml::from_str::<T>(&whole) else { break };
        let message = error.message();
        match quoted(message)
            .next()
            .filter(|key| message.starts_with("missing field") && !missing.iter().any(|one| one == key))
        {
            Some(key) => missing.push(key.to_owned()),
            None => break,
        }
    }
    missing
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

/// A table or a key that there is not.
fn unknown_name<T: DeserializeOwned>(message: &str, place: &Place) -> Advice {
    let mut names = quoted(message);
    let unknown = names.next().unwrap_or("");
    let names: Vec<&str> = names.collect();
    let (text, key) = match (&place.table, &place.key) {
        (_, None) => (
            match table_meant::<T>(unknown) {
                Some(meant) => format!("no table is named {unknown}: write {meant}"),
                None => format!("no table is named {unknown}: the tables are {}", headers(&tables::<T>(), ", ")),
            },
            None,
        ),
        (Some((table, _)), Some(_)) => unknown_key::<T>(unknown, table, &names, place),
        (None, Some(_)) => {
            let (with_it, all) = (tables_with::<T>(unknown), tables::<T>());
            let text = match nearest(unknown, names.iter().copied()) {
                _ if with_it.len() > 3 => {
                    format!(
                        "{unknown} is no key in front of the tables: write it below a header, such as {}",
                        headers(&with_it[..1], "")
                    )
                }
                _ if !with_it.is_empty() => {
                    format!("{unknown} is no key in front of the tables: write it below {}", headers(&with_it, " or "))
                }
                Some(near) => format!("{unknown} is no key in front of the tables: write {near}"),
                None => format!(
                    "{unknown} is no key in front of the tables: only {} can be, and the tables are {}",
                    names_in::<T>("").into_iter().filter(|name| !all.contains(name)).collect::<Vec<_>>().join(", "),
                    headers(&all, ", ")
                ),
            };
            (text, None)
        }
    };
    Advice { text, key }
}

fn unknown_key<T: DeserializeOwned>(
    unknown: &str,
    table: &str,
    names: &[&str],
    place: &Place,
) -> (String, Option<String>) {
    let told = format!("[[{table}]] has no key {unknown}");
    let flag = unknown.trim_start_matches('-');
    let is_false = place.value.as_ref().is_some_and(|value| value.text == "false");
    // Flags that switch something off are keys that switch it on.
    let switched = match flag.strip_prefix("no-").or_else(|| flag.strip_prefix("no_")) {
        Some("default") => Some("default-route"),
        Some(rest) => names.iter().find(|name| distance(rest, name) == 0).copied(),
        None => None,
    };
    if let Some(key) = switched.filter(|key| names.contains(key)) {
        return (format!("{told}: write {key} = {is_false}"), Some(key.to_owned()));
    }
    let alias = match flag {
        "device" | "interface" | "name" => Some("dev"),
        "bind" => Some("port"),
        _ => None,
    };
    let near = alias.filter(|alias| names.contains(alias)).or_else(|| nearest(flag, names.iter().copied()));
    if let Some(near) = near {
        return (format!("{told}: write {near}"), Some(near.to_owned()));
    }
    if flag == "user" {
        return (format!("{told}: write it in front of all tables"), None);
    }
    let others = tables_with::<T>(flag);
    let others = match others.len() {
        0 => String::new(),
        1 => format!(", which {} has", headers(&others, "")),
        2 | 3 => format!(", which {} have", headers(&others, " and ")),
        _ => ", which other tables have".to_owned(),
    };
    (format!("{told}{others}: it can have {}", names.join(", ")), None)
}

/// The names that a table can have in it, or the file as a whole: its reader knows.
fn names_in<T: DeserializeOwned>(table: &str) -> Vec<String> {
    let header = if table.is_empty() { String::new() } else { format!("[[{table}]]\n") };
    match toml::from_str::<T>(&format!("{header}\"?\" = 0\n")) {
        Ok(_) => Vec::new(),
        Err(error) => quoted(error.message()).skip(1).map(str::to_owned).collect(),
    }
}

/// The tables that there may be several of.
fn tables<T: DeserializeOwned>() -> Vec<String> {
    let is_list = |name: &String| {
        toml::from_str::<T>(&format!("{name} = 0\n")).is_err_and(|error| error.message().ends_with("a sequence"))
    };
    names_in::<T>("").into_iter().filter(is_list).collect()
}

fn tables_with<T: DeserializeOwned>(key: &str) -> Vec<String> {
    tables::<T>().into_iter().filter(|table| names_in::<T>(table).iter().any(|name| name == key)).collect()
}

fn headers(tables: &[String], between: &str) -> String {
    tables.iter().map(|name| format!("[[{name}]]")).collect::<Vec<_>>().join(between)
}

/// The header that is likely meant.
pub(super) fn table_meant<T: DeserializeOwned>(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let tables = tables::<T>();
    if let Some(table) = tables.iter().find(|table| **table == name) {
        return Some(format!("[[{table}]]"));
    }
    // As other programs call it.
    if matches!(name.as_str(), "sit" | "6in4" | "configured" | "ipip6") {
        return Some("[[tunnel]]".to_owned());
    }
    let role = tables.iter().find_map(|table| Some((table, name.strip_prefix(table.as_str())?.strip_prefix('-')?)));
    if let Some((table, role)) = role {
        return Some(format!("[[{table}]], and role = \"{role}\" below"));
    }
    let part_of = |table: &String| {
        table.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('-'))
            || table.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'))
    };
    let wholes: Vec<String> = tables.iter().filter(|table| part_of(table)).cloned().collect();
    if !wholes.is_empty() {
        return Some(headers(&wholes, " or "));
    }
    nearest(&name, tables.iter().map(String::as_str)).map(|near| format!("[[{near}]]"))
}

/// The name that is likely meant.
fn nearest<'a>(text: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let near = names.min_by_key(|name| distance(text, name))?;
    let letters = distance(text, near);
    (letters <= (text.len() / 3).max(2) && letters < text.len()).then_some(near)
}

/// How many letters differ: Levenshtein's distance, `_` and `-` being one, and large and small letters.
fn distance(one: &str, other: &str) -> usize {
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
