//! All mistakes in the text of a file at once, each with what to write instead.
//!
//! The reader of TOML tables stops at the first mistake. So what it stopped at
//! is blanked, and the text is read again: every offset stays where it was.

mod advice;
mod syntax;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::error::Problem;

/// A mistake, and where.
struct Mistake {
    offset: usize,
    /// A table as a whole, rather than something in it.
    is_table: bool,
    text: String,
}

/// What a text came to. `T` is what its tables and keys are.
pub(crate) struct Outcome<T> {
    /// The tables, without what is mistaken; nothing of a text that is not TOML.
    pub(crate) file: Option<T>,
    mistakes: Vec<Mistake>,
    /// Where the tables begin that have a mistake: what is left of them says nothing. 0: what is in front of all.
    pub(crate) damaged: BTreeSet<usize>,
    /// What is left of those of which it is known which keys cannot be read.
    pub(crate) parts: Vec<Part>,
}

/// What is left of a table with mistakes.
pub(crate) struct Part {
    /// Where it begins.
    pub(crate) begin: usize,
    /// The table, with its header and without what cannot be read.
    pub(crate) text: String,
    /// The keys that are missing, cannot be read, or are written wrong.
    pub(crate) unknown: BTreeSet<String>,
}

impl<T> Outcome<T> {
    /// The mistakes, for people; `file` is the name of the text.
    pub(crate) fn problems(&self, file: &str, text: &str) -> Vec<Problem> {
        let of = |mistake: &Mistake| match mistake.is_table {
            true => Problem::of_table(file, text, mistake.offset, mistake.text.clone()),
            false => Problem::at(file, text, mistake.offset, mistake.text.clone()),
        };
        self.mistakes.iter().map(of).collect()
    }
}

/// More mistakes in one file are not looked for.
const MOST: usize = 200;

/// What messages can say of one kind of file alone.
pub(crate) trait Hints: DeserializeOwned {
    /// How other programs call a table, a key or a value, and its name here.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];
    /// A value that a key could have: its table, or `""` for any, the key, the value.
    const EXAMPLES: &'static [(&'static str, &'static str, &'static str)] = &[];
    /// Keys whose numbers are fewer than those of their type: the key, the least, the greatest.
    const RANGES: &'static [(&'static str, u16, u16)] = &[];
    /// A key that a table once had: the table, `""` for the file itself, the key, what to write now.
    const GONE: &'static [(&'static str, &'static str, &'static str)] = &[];
}

pub(crate) fn read<T: Hints>(text: &str) -> Outcome<T> {
    let mistakes = syntax::mistakes::<T>(text);
    let mut outcome = Outcome { file: None, mistakes, damaged: BTreeSet::new(), parts: Vec::new() };
    let mut rest = text.to_owned();
    if !outcome.mistakes.is_empty() {
        match syntax::without_lines_of(text, &outcome.mistakes) {
            Some(without) => rest = without,
            None => return outcome,
        }
        let (root, _) = DeTable::parse_recoverable(&rest);
        let begins = root.get_ref().values().flat_map(elements).map(|element| element.span().start);
        let headers: Vec<usize> = begins.filter(|begin| rest[*begin..].starts_with('[')).collect();
        let table = |offset| headers.iter().copied().filter(|begin| *begin <= offset).max().unwrap_or(0);
        outcome.damaged = outcome.mistakes.iter().map(|mistake| table(mistake.offset)).collect();
    }
    // Tables that lost whole lines: what they miss may have stood there.
    let torn = outcome.damaged.clone();
    // Keys that are missing only since they were blanked, or are written wrong, or are told.
    let mut known: BTreeSet<(usize, String)> = BTreeSet::new();
    let mut unknown: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
    // Tables before they were blanked as a whole.
    let mut whole: BTreeMap<usize, String> = BTreeMap::new();
    for _ in 0..MOST {
        let error = match toml::from_str::<T>(&rest) {
            Ok(file) => {
                outcome.file = Some(file);
                let left = unknown.into_iter().filter(|(begin, _)| !torn.contains(begin));
                let parts = left.filter_map(|(begin, unknown)| {
                    let text =
                        whole.remove(&begin).or_else(|| rest.get(table_around(&rest, begin)).map(str::to_owned))?;
                    Some(Part { begin, text, unknown })
                });
                outcome.parts = parts.collect();
                return outcome;
            }
            Err(error) => error,
        };
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().replace('\n', ", ");
        let place = Place::of(&rest, offset, &message);
        outcome.damaged.insert(place.top);
        if let Some(first) = quoted(&message).next().filter(|_| message.starts_with("missing field")) {
            let table = rest.get(place.whole.clone()).unwrap_or("");
            for key in advice::missing::<T>(&place.path, table, first) {
                unknown.entry(place.top).or_default().insert(key.clone());
                if !torn.contains(&place.top) && known.insert((place.begin, key.clone())) {
                    let text = advice::of_missing::<T>(&place, &key);
                    outcome.mistakes.push(Mistake { offset, is_table: true, text });
                }
            }
        } else {
            let advice = advice::of::<T>(&rest, &message, &place);
            unknown.entry(place.top).or_default().extend(advice.key.clone().into_iter().chain(place.key.clone()));
            known.extend(advice.key.map(|key| (place.begin, key)));
            outcome.mistakes.push(Mistake { offset, is_table: place.key.is_none(), text: advice.text });
        }
        known.extend(place.key.clone().map(|key| (place.begin, key)));
        match blanked(&rest, &place, offset) {
            Some((without, part)) => {
                if part.start <= place.top {
                    whole.entry(place.top).or_insert_with(|| rest.get(part.clone()).unwrap_or_default().to_owned());
                }
                rest = without;
                outcome.damaged.insert(part.start.min(place.top));
            }
            None => return outcome,
        }
    }
    outcome
}

/// Where in a table of a file a value stands as `written`, whether or not in a list and in
/// quotes; nothing if there are several keys with it. With a `key`, that one's value, whatever
/// is written there.
fn offset_of(text: &str, table: usize, key: Option<&str>, written: &str) -> Option<usize> {
    let (root, _) = DeTable::parse_recoverable(text);
    let wanted = bare(written);
    let is_wanted = |value: &Spanned<DeValue<'_>>| {
        text.get(value.span()).is_some_and(|found| bare(found).eq_ignore_ascii_case(wanted))
    };
    // Of equal elements the last: the others were there before it.
    let place = |value| elements(value).iter().rfind(|one| is_wanted(one)).map(|one| one.span().start);
    let keys = table_at(root.get_ref(), table)?;
    if let Some(key) = key {
        let (_, value) = keys.iter().find(|(name, _)| name.get_ref().as_ref() == key)?;
        return place(value).or(Some(value.span().start));
    }
    let mut found = keys.values().filter_map(place);
    found.next().filter(|_| found.next().is_none())
}

/// Where the value stands that is refused, if one key alone has it; else the table of it.
pub(crate) fn refused(file: &str, text: &str, begin: usize, key: &str, value: &str, what: String) -> Problem {
    let of_key = |key: &str| offset_of(text, begin, Some(key).filter(|key| !key.is_empty()), value);
    match of_key(key).or_else(|| if key == "bind" { of_key("port") } else { None }) {
        Some(offset) => Problem::at(file, text, offset, what),
        None => Problem::of_table(file, text, begin, what),
    }
}

/// The table that begins here, perhaps inside another.
fn table_at<'v, 't>(tables: &'v DeTable<'t>, begin: usize) -> Option<&'v DeTable<'t>> {
    tables.values().flat_map(elements).find_map(|element| match element.get_ref() {
        DeValue::Table(table) if element.span().start == begin => Some(table),
        DeValue::Table(table) => table_at(table, begin),
        _ => None,
    })
}

/// The elements of a list; of another value that alone.
fn elements<'v, 't>(value: &'v Spanned<DeValue<'t>>) -> &'v [Spanned<DeValue<'t>>] {
    match value.get_ref() {
        DeValue::Array(elements) => elements,
        _ => std::slice::from_ref(value),
    }
}

/// A value without its quotes.
fn bare(value: &str) -> &str {
    value.trim_matches(['"', '\''])
}

/// The text without what is mistaken, or without the table around it where the rest of that
/// would be no TOML; and which part that was.
fn blanked(text: &str, place: &Place, offset: usize) -> Option<(String, Range<usize>)> {
    [place.whole.clone(), table_around(text, offset)]
        .into_iter()
        .filter_map(|part| Some((blank(text, &part)?, part)))
        .find(|(without, _)| DeTable::parse(without).is_ok())
}

/// A text with blanks for a part of it, line by line; nothing where there are only blanks already.
fn blank(text: &str, part: &Range<usize>) -> Option<String> {
    let old = text.get(part.clone()).filter(|old| !old.trim().is_empty())?;
    let blanks: String = old.bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }).collect();
    let mut text = text.to_owned();
    text.replace_range(part.clone(), &blanks);
    Some(text)
}

/// Where in a file something is wrong.
#[derive(Clone)]
struct Place {
    /// The innermost table, with those that it is in: `node.lan`; `""` is the file itself.
    path: String,
    /// That table in messages: its header, or the key that has it.
    title: String,
    /// Where it begins, and where the outermost does; 0 for the file itself.
    begin: usize,
    top: usize,
    key: Option<String>,
    value: Option<Value>,
    /// What is to be blanked.
    whole: Range<usize>,
}

/// A value at fault.
#[derive(Clone)]
struct Value {
    /// As it is written.
    text: String,
    span: Range<usize>,
    /// It is one of a list.
    is_element: bool,
    /// Its own first element.
    first: Option<String>,
}

impl Place {
    fn of(text: &str, offset: usize, message: &str) -> Self {
        let whole = table_around(text, offset);
        let file = Place { path: String::new(), title: String::new(), begin: 0, top: 0, key: None, value: None, whole };
        let is_missing = message.starts_with("missing field");
        let found = DeTable::parse(text).ok().and_then(|root| file.find(text, offset, is_missing, root.get_ref()));
        found.unwrap_or(file)
    }

    /// The place in this table, or in one inside it.
    fn find(&self, text: &str, offset: usize, is_missing: bool, table: &DeTable<'_>) -> Option<Self> {
        for (key, value) in table {
            let (name, key) = (key.get_ref().as_ref(), key.span());
            for element in elements(value) {
                let DeValue::Table(inner) = element.get_ref() else { continue };
                let span = element.span();
                let written = text.get(span.clone()).unwrap_or("");
                let is_header = written.starts_with('[');
                if span.start == offset && !is_header && !is_missing {
                    break;
                }
                let mut place = self.at_key(text, span.start, (name, key.clone()), value);
                place = Place {
                    path: if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) },
                    title: if is_header { written } else { name }.to_owned(),
                    begin: span.start,
                    top: if self.path.is_empty() { span.start } else { self.top },
                    key: None,
                    value: None,
                    whole: if is_header { table_around(text, span.start) } else { place.whole },
                };
                if let Some(found) = place.find(text, offset, is_missing, inner) {
                    return Some(found);
                }
                if span.contains(&offset) && (is_header || is_missing) {
                    return Some(place);
                }
            }
            if key.contains(&offset) || value.span().contains(&offset) {
                return Some(self.at_key(text, offset, (name, key), value));
            }
        }
        None
    }

    fn at_key(&self, text: &str, offset: usize, key: (&str, Range<usize>), value: &Spanned<DeValue<'_>>) -> Self {
        let of = |span: Range<usize>| text.get(span).unwrap_or("").to_owned();
        let list = value.get_ref().as_array().map_or(&[][..], |list| list);
        let element = list.iter().find(|element| element.span().contains(&offset)).filter(|_| {
            // Of a key that cannot be, no element is at fault.
            !key.1.contains(&offset)
        });
        let at_fault = element.unwrap_or(value);
        let begin = if element.is_some() { at_fault.span().start } else { key.1.start };
        Place {
            key: Some(key.0.to_owned()),
            value: Some(Value {
                text: of(at_fault.span()),
                span: at_fault.span(),
                is_element: element.is_some(),
                first: at_fault.get_ref().as_array().and_then(|list| list.iter().next()).map(|first| of(first.span())),
            }),
            // With the comma behind it, since neither a list nor a table in braces begins with one.
            whole: begin..comma_behind(text, at_fault.span().end),
            ..self.clone()
        }
    }
}

/// The end of the comma that is the next behind an element of a list; the element's own if there is none.
fn comma_behind(text: &str, end: usize) -> usize {
    let mut is_comment = false;
    for (at, byte) in text.bytes().enumerate().skip(end) {
        match byte {
            b'\n' => is_comment = false,
            b'#' => is_comment = true,
            b',' if !is_comment => return at + 1,
            _ if is_comment || byte.is_ascii_whitespace() => {}
            _ => break,
        }
    }
    end
}

/// From the header in whose line `offset` is, or which is before it, to the next that is not of a table inside.
fn table_around(text: &str, offset: usize) -> Range<usize> {
    let (mut start, mut at, mut name) = (0, 0, "");
    for line in text.split_inclusive('\n') {
        if line.trim_start().starts_with('[') {
            let header = syntax::header_name(line);
            if at <= offset {
                (start, name) = (at, header);
            } else if name.is_empty() || !header.strip_prefix(name).is_some_and(|rest| rest.starts_with('.')) {
                return start..at;
            }
        }
        at += line.len();
    }
    start..text.len()
}

/// A text in a message: blanks at its ends seen, not longer than a line.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() > MOST {
        return format!("{}…", text.chars().take(MOST).collect::<String>());
    }
    if text.is_empty() || text.trim() != text { format!("{text:?}") } else { text.to_owned() }
}

/// What stands between backticks in a message.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests;
