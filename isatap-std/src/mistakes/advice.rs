//! What is wrong with a key or value, and what to write instead.

use super::{Hints, Place, Value, bare, quoted};
use crate::advice::{self, distance, nearest};

/// A message for people.
pub(super) struct Advice {
    pub(super) text: String,
    /// The key that is meant, where another is written.
    pub(super) key: Option<String>,
}

/// The message of the tables' reader, with what to write instead.
pub(super) fn of<T: Hints>(text: &str, message: &str, place: &Place) -> Advice {
    if message.starts_with("unknown field") {
        return unknown_name::<T>(message, place);
    }
    let told = match (&place.key, &place.value) {
        (Some(key), Some(value)) => Wrong { place, key, value, bare: bare(&value.text) }.advice::<T>(text, message),
        _ if message.starts_with("invalid type: map") => Some(wrong_header::<T>(place)),
        _ => None,
    };
    Advice { text: told.unwrap_or_else(|| message.to_owned()), key: None }
}

/// What to write for a key that a table misses.
pub(super) fn of_missing<T: Hints>(place: &Place, key: &str) -> String {
    match example::<T>(&place.path, key) {
        Some(example) => format!("missing field `{key}`: for example, write {key} = {example}"),
        None if place.path.is_empty() || place.title.starts_with('[') => format!("missing field `{key}`"),
        None => format!("missing field `{key}` of {}", place.title),
    }
}

/// What to write for a header of another kind, or of what is not a table.
fn wrong_header<T: Hints>(place: &Place) -> String {
    let (table, key) = place.path.rsplit_once('.').unwrap_or(("", &place.path));
    match header::<T>(&place.path) {
        Some(header) if header.starts_with("[[") => format!("there can be several of them: write {header}"),
        Some(header) => format!("there is one of it: write {header}"),
        None if table.is_empty() => format!("{key} is not a table: write {key} = VALUE in front of all tables"),
        None => format!("{key} is not a table: write {key} = VALUE below {}", header_or::<T>(table)),
    }
}

/// A value that cannot be.
struct Wrong<'a> {
    place: &'a Place,
    key: &'a str,
    value: &'a Value,
    bare: &'a str,
}

impl Wrong<'_> {
    fn advice<T: Hints>(&self, text: &str, message: &str) -> Option<String> {
        let (key, value) = (self.key, self.value.text.as_str());
        if message.starts_with("unknown variant") {
            return Some(self.choice::<T>(&quoted(message).skip(1).collect::<Vec<_>>()));
        }
        if message.starts_with("wanted string") {
            // Which values there are is told of a text only.
            let mut empty = text.to_owned();
            empty.replace_range(self.value.span.clone(), "\"\"");
            let message = toml::from_str::<T>(&empty).err()?.message().to_owned();
            return Some(self.choice::<T>(&quoted(&message).skip(1).collect::<Vec<_>>()));
        }
        if message.starts_with("invalid length") && message.contains("expected struct") {
            return self.of_other_type::<T>("sequence", "struct");
        }
        if let Some((found, expected)) =
            message.strip_prefix("invalid type: ").and_then(|rest| rest.split_once(", expected "))
        {
            return self.of_other_type::<T>(found, expected);
        }
        if let Some((_, number)) =
            message.strip_prefix("invalid value: ").and_then(|rest| rest.rsplit_once(", expected "))
        {
            return most(number).map(|most| format!("{key} is a number {}, and {value} is not", range::<T>(key, most)));
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

    fn of_other_type<T: Hints>(&self, found: &str, expected: &str) -> Option<String> {
        let (key, value, bare) = (self.key, self.value.text.as_str(), self.bare);
        let is_table = found == "map";
        if let Some(header) = header::<T>(key).filter(|_| self.place.path.is_empty()) {
            return Some(format!("{key} is a table: write {header}, and its keys in the lines below"));
        }
        Some(match expected {
            "a sequence" if is_table => {
                format!("{key} is a list, not a table: write {key} = [\"…\"] below {}", self.place.title)
            }
            "a sequence" => format!("{key} is a list: write {key} = [{value}]"),
            _ if expected.starts_with("struct") => format!("{key} is a table: {}", self.write("{ KEY = VALUE }")),
            _ if found == "sequence" => match &self.value.first {
                Some(first) if self.value.is_element => format!("{key} has a list in its list: write {first}"),
                Some(first) => format!("{key} is one value, not a list: write {key} = {first}"),
                None => format!("{key} is one value, not a list: write {key} = …, or remove it"),
            },
            "a boolean" => {
                let meant = !matches!(bare.to_ascii_lowercase().as_str(), "false" | "no" | "off" | "0");
                format!("{key} is true or false: {}", self.write(&meant.to_string()))
            }
            number if most(number).is_some() => {
                let most = most(number)?;
                match number_in(key, bare).filter(|number| *number <= most) {
                    Some(number) => format!("{key} is a number: {}", self.write(&number.to_string())),
                    None => format!("{key} is a number {}, and {value} is not", range::<T>(key, most)),
                }
            }
            "f64" => match bare.parse::<f64>().ok().filter(|number| number.is_finite()) {
                Some(number) => format!("{key} is a number: {}", self.write(&number.to_string())),
                None => format!("{key} is a number, and {value} is not"),
            },
            "IPv4 address" if !is_table => self.ipv4(),
            "IPv6 address" if !is_table => format!("{bare}: {}", advice::not_ipv6(bare)),
            _ if is_table => format!("{key} is text, not a table: {}", self.write("\"…\"")),
            _ if expected.contains("string") && !found.starts_with("string") => {
                format!("{key} is text: {}", self.write(&format!("\"{bare}\"")))
            }
            _ => return None,
        })
    }

    /// One of a few values.
    fn choice<T: Hints>(&self, values: &[&str]) -> String {
        let told = format!("{} is one of {}, and {} is not", self.key, values.join(", "), self.value.text);
        match meant::<T>(self.bare, values) {
            Some(meant) => format!("{told}: {}", self.write(&format!("\"{meant}\""))),
            None => told,
        }
    }

    fn ipv4(&self) -> String {
        let (text, advice) = (self.bare, advice::not_ipv4(self.bare));
        if (self.place.path.as_str(), self.key) == ("isatap-host", "local") && is_device(text) {
            return format!("{text}: {advice}, or via = \"{text}\" instead of local for a device's");
        }
        format!("{text}: {advice}")
    }
}

fn is_device(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic()) && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// The number in a text: without its unit, in seconds where the key is a time.
fn number_in(key: &str, text: &str) -> Option<u64> {
    if key.ends_with("-interval") || key.ends_with("-lifetime") {
        return advice::seconds_in(text);
    }
    text.strip_suffix("bytes").unwrap_or(text).trim().parse().ok()
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

fn range<T: Hints>(key: &str, most: u64) -> String {
    // A field of a wider type has the name alone in common.
    let is_it = |(field, ..): &&(&str, u16, u16)| *field == key && most <= u64::from(u16::MAX);
    if let Some((_, least, most)) = T::RANGES.iter().find(is_it) {
        return format!("of {least} to {most}");
    }
    if most == u64::MAX { "of 0 or more".to_owned() } else { format!("of 0 to {most}") }
}

/// What a table misses beside `first`, which its reader told. What it has can be read.
pub(super) fn missing<T: Hints>(table: &str, text: &str, first: &str) -> Vec<String> {
    let mut missing = vec![first.to_owned()];
    let mut whole = text.to_owned();
    while let Some(example) =
        missing.last().and_then(|key| example::<T>(table, key).map(|value| format!("\n{key} = {value}\n")))
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
fn example<T: Hints>(table: &str, key: &str) -> Option<&'static str> {
    let table = table.rsplit('.').next();
    let of = |(of, name, _): &&(&str, &str, &str)| (of.is_empty() || Some(*of) == table) && *name == key;
    T::EXAMPLES.iter().find(of).map(|(_, _, example)| *example)
}

/// A table or a key that there is not.
fn unknown_name<T: Hints>(message: &str, place: &Place) -> Advice {
    let mut names = quoted(message);
    let unknown = names.next().unwrap_or("");
    let names: Vec<&str> = names.collect();
    if place.key.is_some() && !place.path.is_empty() {
        return unknown_key::<T>(unknown, &names, place);
    }
    let text = if place.key.is_some() {
        let told = format!("{unknown} is not a key in front of the tables");
        let with_it = tables_with::<T>(unknown);
        match nearest(unknown, names.iter().copied()) {
            _ if with_it.len() > 3 => {
                format!("{told}: write it below a header, such as {}", headers::<T>(&with_it[..1], ""))
            }
            _ if !with_it.is_empty() => format!("{told}: write it below {}", headers::<T>(&with_it, " or ")),
            Some(near) => format!("{told}: write {near}"),
            None => format!(
                "{told}: only {} can be, and the tables are {}",
                keys_in_front::<T>().join(", "),
                headers::<T>(&tables::<T>(), ", ")
            ),
        }
    } else if let Some((table, _)) = place.path.rsplit_once('.') {
        let advice = match nearest(unknown, names.iter().copied()) {
            Some(near) => format!("write {}", header_or::<T>(&format!("{table}.{near}"))),
            None => format!("{} can have {}", header_or::<T>(table), names.join(", ")),
        };
        format!("no table is named {}: {advice}", place.path)
    } else {
        let meant = || Some(format!("write {}", table_meant::<T>(unknown)?));
        match gone::<T>("", unknown).map(str::to_owned).or_else(meant) {
            Some(advice) => format!("no table is named {unknown}: {advice}"),
            None => format!("no table is named {unknown}: the tables are {}", headers::<T>(&tables::<T>(), ", ")),
        }
    };
    Advice { text, key: None }
}

/// What to write for a key, or a table, that there once was.
fn gone<T: Hints>(table: &str, key: &str) -> Option<&'static str> {
    T::GONE.iter().find(|(of, name, _)| *of == table && *name == key).map(|(.., advice)| *advice)
}

fn unknown_key<T: Hints>(unknown: &str, names: &[&str], place: &Place) -> Advice {
    let told = format!("{} has no key {unknown}", place.title);
    if let Some(advice) = gone::<T>(&place.path, unknown) {
        return Advice { text: format!("{told}: {advice}"), key: None };
    }
    let flag = unknown.trim_start_matches('-');
    let is_false = place.value.as_ref().is_some_and(|value| value.text == "false");
    // Flags that switch something off are keys that switch it on.
    let switched = match flag.strip_prefix("no-").or_else(|| flag.strip_prefix("no_")) {
        Some("default") => Some("default-route"),
        Some(rest) => names.iter().find(|name| distance(rest, name) == 0).copied(),
        None => None,
    };
    if let Some(key) = switched.filter(|key| names.contains(key)) {
        return Advice { text: format!("{told}: write {key} = {is_false}"), key: Some(key.to_owned()) };
    }
    let others = tables_with::<T>(flag);
    // A key of another table is hardly a slip of the pen: two letters of three would differ.
    let is_near = |near: &&str| others.is_empty() || distance(flag, near) * 2 < flag.len() || is_alias::<T>(flag, near);
    if let Some(near) = meant::<T>(flag, names).filter(is_near) {
        return Advice { text: format!("{told}: write {near}"), key: Some(near.to_owned()) };
    }
    if keys_in_front::<T>().iter().any(|key| key == flag) {
        return Advice { text: format!("{told}: write it in front of all tables"), key: None };
    }
    let others = match others.len() {
        0 => String::new(),
        1 => format!(", which {} has", headers::<T>(&others, "")),
        2 | 3 => format!(", which {} have", headers::<T>(&others, " and ")),
        _ => ", which other tables have".to_owned(),
    };
    Advice { text: format!("{told}{others}: it can have {}", names.join(", ")), key: None }
}

fn is_alias<T: Hints>(text: &str, name: &str) -> bool {
    T::ALIASES.iter().any(|(other, meant)| *other == text && *meant == name)
}

/// The name or value that is likely meant, of those that there are.
fn meant<'a, T: Hints>(text: &str, names: &[&'a str]) -> Option<&'a str> {
    let alias = T::ALIASES.iter().find(|(other, name)| *other == text && names.contains(name));
    match alias {
        Some((_, alias)) => names.iter().find(|name| *name == alias).copied(),
        None => nearest(text, names.iter().copied()),
    }
}

/// The names that a table can have in it, by its header, or the file as a whole: its reader knows.
fn names_below<T: Hints>(header: &str) -> Vec<String> {
    match toml::from_str::<T>(&format!("{header}\n\"?\" = 0\n")) {
        Err(error) if error.message().starts_with("unknown field `?`") => {
            quoted(error.message()).skip(1).map(str::to_owned).collect()
        }
        _ => Vec::new(),
    }
}

/// The header of a table, whether there can be several of it or one; nothing of what is not a table.
pub(super) fn header<T: Hints>(path: &str) -> Option<String> {
    // No file has tables as deep.
    if path.matches('.').count() > 8 {
        return None;
    }
    let before = match path.rsplit_once('.') {
        Some((table, _)) => header::<T>(table)? + "\n",
        None => String::new(),
    };
    let forms = [format!("[[{path}]]"), format!("[{path}]")];
    forms.into_iter().find(|header| !names_below::<T>(&format!("{before}{header}")).is_empty())
}

fn header_or<T: Hints>(path: &str) -> String {
    header::<T>(path).unwrap_or_else(|| path.to_owned())
}

/// The tables of a file.
fn tables<T: Hints>() -> Vec<String> {
    names_below::<T>("").into_iter().filter(|name| header::<T>(name).is_some()).collect()
}

/// What is not a table, but the file's own.
fn keys_in_front<T: Hints>() -> Vec<String> {
    names_below::<T>("").into_iter().filter(|name| header::<T>(name).is_none()).collect()
}

fn tables_with<T: Hints>(key: &str) -> Vec<String> {
    let has_it = |table: &String| names_below::<T>(&header_or::<T>(table)).iter().any(|name| name == key);
    tables::<T>().into_iter().filter(has_it).collect()
}

fn headers<T: Hints>(tables: &[String], between: &str) -> String {
    tables.iter().map(|table| header_or::<T>(table)).collect::<Vec<_>>().join(between)
}

/// The header that is likely meant.
pub(super) fn table_meant<T: Hints>(name: &str) -> Option<String> {
    if let Some(header) = header::<T>(name) {
        return Some(header);
    }
    let name = name.to_ascii_lowercase().replace(['_', ' '], "-");
    let tables = tables::<T>();
    let names: Vec<&str> = tables.iter().map(String::as_str).collect();
    let role = names.iter().find_map(|table| Some((table, name.strip_prefix(table)?.strip_prefix('-')?)));
    if let Some((table, role)) =
        role.filter(|(table, _)| names_below::<T>(&header_or::<T>(table)).contains(&"role".to_owned()))
    {
        return Some(format!("{}, and role = \"{role}\" below", header_or::<T>(table)));
    }
    let part_of = |table: &String| {
        table.strip_suffix(name.as_str()).is_some_and(|rest| rest.ends_with('-'))
            || table.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('-'))
    };
    let wholes: Vec<String> = tables.iter().filter(|table| part_of(table)).cloned().collect();
    if !wholes.is_empty() {
        return Some(headers::<T>(&wholes, " or "));
    }
    meant::<T>(&name, &names).map(header_or::<T>)
}
