//! What is not TOML at all, in the words of who has written it: its parser says what it expected.

use std::collections::BTreeSet;

use toml::de::DeTable;

use super::advice::{header, table_meant};
use super::{Hints, MOST, Mistake, bare, blank, shown};

/// What is wrong with a text as TOML; of each line the first mistake, which others follow from.
pub(super) fn mistakes<T: Hints>(text: &str) -> Vec<Mistake> {
    let (_, errors) = DeTable::parse_recoverable(text);
    let mut mistakes: Vec<Mistake> = Vec::new();
    let mut offsets: Vec<(usize, &str)> =
        errors.iter().map(|error| (error.span().map_or(0, |span| span.start), error.message())).collect();
    offsets.sort_by_key(|(offset, _)| *offset);
    let mut headers: BTreeSet<&str> = BTreeSet::new();
    for (offset, message) in &offsets {
        let line = Line::at(text, *offset);
        let is_header = line.text.trim_start().starts_with('[');
        // In order: only the last can be of the same line. A header's mistake is one at each of its name.
        let is_told = mistakes.last().is_some_and(|told| told.offset >= line.start);
        if is_told || (is_header && !headers.insert(header_name(line.text))) {
            continue;
        }
        let is_other = *message == "duplicate key" || message.starts_with("cannot extend");
        if !is_other && !line.text.trim().is_empty() && DeTable::parse(line.text).is_ok() {
            let text = "a list or a table in braces before this line has no end: write ] or } behind its last element";
            mistakes.push(Mistake { offset: line.start, is_table: false, text: text.to_owned() });
            // All below is taken for more of it.
            break;
        }
        if let Some((column, told)) = line.advice::<T>(text, message) {
            mistakes.push(Mistake { offset: line.start + column, is_table: false, text: told });
        }
    }
    if let (true, Some((offset, message))) = (mistakes.is_empty(), offsets.first()) {
        mistakes.push(Mistake { offset: *offset, is_table: false, text: message.replace('\n', ", ") });
    }
    // Another kind of file, or a text: each of its lines would be told.
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if mistakes.len() > FEW && mistakes.len() * 2 > lines {
        let told = format!(
            "{} of {lines} lines are not TOML: give a file of tables and keys, as README.md has one",
            mistakes.len()
        );
        mistakes = vec![Mistake { offset: mistakes[0].offset, is_table: false, text: told }];
    }
    mistakes.truncate(MOST);
    mistakes
}

/// So many lines may be wrong in a file that is meant to be one.
const FEW: usize = 5;

/// The text without the lines of these mistakes, if that is TOML: a header is missed by what follows it.
pub(super) fn without_lines_of(text: &str, mistakes: &[Mistake]) -> Option<String> {
    let mut rest = text.to_owned();
    for mistake in mistakes {
        let line = Line::at(text, mistake.offset);
        if line.text.trim_start().starts_with('[') {
            return None;
        }
        rest = blank(&rest, &(line.start..line.start + line.text.len()))?;
    }
    DeTable::parse(&rest).is_ok().then_some(rest)
}

/// The line of a mistake.
struct Line<'a> {
    start: usize,
    text: &'a str,
    /// The mistake's column, from 0.
    at: usize,
}

impl<'a> Line<'a> {
    fn at(text: &'a str, offset: usize) -> Self {
        let start = text.get(..offset).and_then(|before| before.rfind('\n')).map_or(0, |newline| newline + 1);
        let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
        Line { start, text: line, at: offset.saturating_sub(start).min(line.len()) }
    }

    fn number(&self, text: &str) -> usize {
        1 + text.bytes().take(self.start).filter(|byte| *byte == b'\n').count()
    }

    /// The column and what to write; nothing for what only follows from another mistake.
    fn advice<T: Hints>(&self, text: &str, message: &str) -> Option<(usize, String)> {
        let (at, line) = (self.at, without_comment(self.text));
        // What it expected is one way of many.
        let message = message.split(", expected").next().and_then(|what| what.lines().next()).unwrap_or("");
        let told = |told: String| Some((at, told));
        if line.trim_start().starts_with('[') {
            return Some((at, self.header::<T>(text, line.trim(), message)?));
        }
        let (key, value) =
            line.split_once('=').map_or((line.trim(), None), |(key, value)| (key.trim(), Some(value.trim())));
        match (message, value) {
            ("duplicate key", _) => {
                let first = self.same_key_before(text, key)?;
                told(format!("{key} is in line {first} already: write it once"))
            }
            ("missing comma between array elements", _) => told(format!(
                "a comma is missing between two elements of a list: write it in front of {}",
                line.get(at..).and_then(|rest| rest.split([',', ']']).next()).unwrap_or("").trim()
            )),
            ("unclosed array", _) => told("the list has no end: write ] behind its last element".to_owned()),
            ("invalid basic string" | "invalid literal string", _) => {
                let quote = if message.contains("basic") { '"' } else { '\'' };
                told(format!("the text has no end: add {quote}"))
            }
            ("unexpected key or value", Some(value)) => {
                let behind = line.get(at..).unwrap_or("").trim();
                let first = value.strip_suffix(behind).unwrap_or("").trim();
                told(if behind.starts_with(',') {
                    format!("several values are a list: write {key} = [{value}]")
                } else if first.is_empty() {
                    format!("{behind} follows the value: remove it")
                } else {
                    format!("{behind} follows the value: write {key} = {first}")
                })
            }
            (_, Some("")) => told(format!("{key} has no value: write {key} = VALUE, or remove the line")),
            (_, Some(_)) if key.is_empty() => told("a key is missing in front of =: write KEY = VALUE".to_owned()),
            ("key with no value" | "invalid unquoted key", None) => told(self.without_equals::<T>(line)),
            (_, Some(_)) if at <= line.find(key).unwrap_or(0) + key.len() => {
                told(format!("{key} is not a key: write KEY = VALUE"))
            }
            _ => {
                let (start, token) = self.token(line);
                match without_quotes(token) {
                    Some(advice) => Some((start, advice)),
                    None => told(format!("{}: write KEY = VALUE, or [[TABLE]]", explained(message))),
                }
            }
        }
    }

    fn header<T: Hints>(&self, text: &str, line: &str, message: &str) -> Option<String> {
        let inner = line.trim_start_matches('[');
        let (name, behind) = inner.split_once(']').unwrap_or((inner, ""));
        let behind = behind.trim_start_matches(']').trim();
        let name = bare(name.trim());
        let meant = table_meant::<T>(name).unwrap_or_else(|| format!("[[{name}]]"));
        if message == "duplicate key" {
            let before = text.get(..self.start)?.lines();
            let same = |line: &str| line.trim_start().starts_with('[') && header_name(line) == name;
            let first = before.enumerate().find(|(_, line)| same(line)).map(|(at, _)| at + 1)?;
            let is_one = header::<T>(name).is_some_and(|header| !header.starts_with("[["));
            let advice = if is_one { "write it once".to_owned() } else { format!("write {meant} in front of each") };
            return Some(format!("{name} is in line {first} already: {advice}"));
        }
        Some(if behind.is_empty() {
            format!("{line} is not a header: write {meant}")
        } else {
            format!("{behind} follows a header: write it in the line below {meant}")
        })
    }

    /// The number of an earlier line of the same table with this key.
    fn same_key_before(&self, text: &str, key: &str) -> Option<usize> {
        let mut before = text.get(..self.start)?.lines().rev().take_while(|line| !line.trim_start().starts_with('['));
        let back =
            before.position(|line| line.split_once('=').is_some_and(|(name, _)| bare(name.trim()) == bare(key)))?;
        Some(self.number(text) - 1 - back)
    }

    fn without_equals<T: Hints>(&self, line: &str) -> String {
        let line = line.trim();
        let end = line.find(|c: char| !(c.is_ascii_alphanumeric() || "-_".contains(c))).unwrap_or(line.len());
        let (key, rest) = line.split_at(end);
        let value = rest.trim_start_matches(':').trim();
        if key.is_empty() || key.starts_with('-') || rest.starts_with(['>', '/']) {
            format!("{} is not TOML: write KEY = VALUE, or [[TABLE]]", shown(line))
        } else if let Some(meant) = (value.is_empty() && rest.starts_with(':')).then(|| table_meant::<T>(key)).flatten()
        {
            format!("{line} is not TOML: write {meant}")
        } else if value.is_empty() {
            format!("{key} has no value: write {key} = VALUE, or remove the line")
        } else if toml::from_str::<toml::Table>(&format!("v = {value}")).is_ok() {
            format!("= is missing between a key and its value: write {key} = {value}")
        } else {
            format!("= is missing between a key and its value: write {key} = \"{}\"", shown(bare(value)))
        }
    }

    /// The value around the mistake, and its column.
    fn token(&self, line: &'a str) -> (usize, &'a str) {
        let ends = ['=', '[', ',', ']', '{', '}'];
        let start = line.get(..self.at.min(line.len())).and_then(|before| before.rfind(ends)).map_or(0, |end| end + 1);
        let rest = line.get(start..).unwrap_or("");
        let token = rest.find(ends).and_then(|end| rest.get(..end)).unwrap_or(rest);
        (start + token.len() - token.trim_start().len(), token.trim())
    }
}

/// What to write for a value that stands there without quotes.
fn without_quotes(token: &str) -> Option<String> {
    const TYPOGRAPHIC: [char; 8] = ['“', '”', '„', '‘', '’', '‚', '«', '»'];
    if token.is_empty() || token.starts_with(['"', '\'']) {
        return None;
    }
    if token.contains(TYPOGRAPHIC) {
        return Some(format!("{token} has typographic quotes: write \"{}\"", token.trim_matches(TYPOGRAPHIC)));
    }
    let digits = token.find(|c: char| !c.is_ascii_digit()).unwrap_or(token.len());
    Some(match token.to_ascii_lowercase().as_str() {
        "true" | "yes" => format!("{token} is not a value: write true"),
        "false" | "no" => format!("{token} is not a value: write false"),
        "on" => format!("{token} is not a value: write true, or \"on\" as a text"),
        "off" => format!("{token} is not a value: write false, or \"off\" as a text"),
        _ if digits == token.len() => {
            let number = token.trim_start_matches('0');
            format!("{token} begins with 0: write {}", if number.is_empty() { "0" } else { number })
        }
        _ if digits > 0 && token.bytes().skip(digits).all(|byte| byte.is_ascii_alphabetic()) => {
            format!("{token} is neither a number nor text in quotes: write digits only, or \"{token}\"")
        }
        _ => format!("{token} has no quotes: write \"{}\"", token.replace('"', "")),
    })
}

pub(super) fn header_name(line: &str) -> &str {
    let inner = line.trim().trim_start_matches('[');
    bare(inner.split(']').next().unwrap_or(inner).trim())
}

/// A line up to its comment.
fn without_comment(line: &str) -> &str {
    let mut quote = None;
    for (at, c) in line.char_indices() {
        match (c, quote) {
            ('#', None) => return line.get(..at).unwrap_or(line),
            ('"' | '\'', None) => quote = Some(c),
            (_, Some(open)) if open == c => quote = None,
            _ => {}
        }
    }
    line
}

fn explained(message: &str) -> &str {
    if message.is_empty() { "this is not TOML" } else { message }
}
