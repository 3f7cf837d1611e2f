//! Dumps: rows of an offset, bytes, and often the same bytes as text.
//!
//! The offset of each row counts the bytes before it, and the text has a
//! character for each byte. So a row's end is known twice, and what does not
//! agree is refused.

use super::{LARGEST, frame, literal};

/// A dump of which some rows have been read.
pub(super) struct Dump {
    text: String,
    /// Bytes of all rows but the last.
    bytes: Vec<u8>,
    unit: Unit,
    /// Whether a mark or its width tells the offset from bytes.
    is_told: bool,
    /// The ways to read the last row.
    last: Vec<Row>,
    rows: usize,
    /// The rows as bytes only, as long as the offset may be two of them.
    as_bytes: Option<Vec<u8>>,
    /// `*`: the last row again, up to the next offset.
    is_squeezed: bool,
    /// The length that a last line without bytes states.
    stated: Option<usize>,
    error: Option<String>,
}

/// What the tokens of a row are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    /// Bytes in hexadecimal, in their order.
    Bytes,
    /// Bytes in octal.
    Octets,
    /// Numbers of 16 bits in the byte order of the machine, to this base.
    Words(u32),
}

/// One way to read a row.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Row {
    bytes: Vec<u8>,
    /// What stands behind is the same as text.
    is_checked: bool,
    /// What stands behind is set apart from the bytes.
    is_apart: bool,
    /// Nothing stands behind.
    is_all: bool,
}

/// The first token of a row.
struct Offset<'a> {
    digits: &'a str,
    is_hex: bool,
    is_marked: bool,
    rest: &'a str,
}

impl Dump {
    /// The dump that a line begins: an error when it begins in the middle.
    pub(super) fn begin(line: &str) -> Option<Result<Self, String>> {
        let offset = Offset::of(line)?;
        let tokens: Vec<&str> = offset.rest.split_ascii_whitespace().collect();
        let first = *tokens.first()?;
        if !offset.is(0) {
            let message = format!("a dump that begins at offset {}: paste it from its first line", offset.digits);
            return offset.is_marked.then_some(Err(message));
        }
        let wide = !offset.is_marked && offset.digits.len() >= 6;
        let unit = match first.len() {
            3 if wide => Unit::Octets,
            4 if wide => Unit::Words(16),
            6 if wide => Unit::Words(8),
            width if width % 2 == 0 && !wide || width == 2 => Unit::Bytes,
            _ if offset.is_marked || wide => {
                return Some(Err(format!("{first:?} is no byte and no group of bytes: {ADVICE}")));
            }
            _ => return None,
        };
        let is_bits = |token: &&str| token.len() == 8 && token.bytes().all(|byte| matches!(byte, b'0' | b'1'));
        if tokens.iter().take(6).all(is_bits) && unit == Unit::Bytes {
            return Some(Err(format!("a dump of bits: {ADVICE}")));
        }
        let rows = rows(offset.rest, unit);
        if rows.is_empty() {
            return offset.is_marked.then(|| Err(format!("{first:?} is no byte and no group of bytes: {ADVICE}")));
        }
        let is_told = offset.is_marked || wide || first.len() != offset.digits.len();
        // `0000 0000 0... = Offset`: the bits of a field, as tshark -V shows them.
        if !is_told && !rows.iter().any(|row| row.is_all || row.is_checked) {
            return None;
        }
        let as_bytes = if is_told { None } else { literal::hex_line(line) };
        Some(Ok(Dump {
            text: line.trim().to_owned(),
            bytes: Vec::new(),
            unit,
            is_told,
            last: rows,
            rows: 1,
            as_bytes,
            is_squeezed: false,
            stated: None,
            error: None,
        }))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether the line belongs to the dump.
    pub(super) fn takes(&mut self, line: &str) -> bool {
        let text = line.trim();
        if text.is_empty() {
            return true;
        }
        if self.stated.is_some() {
            return false;
        }
        if text == "*" {
            self.is_squeezed = true;
            return true;
        }
        let Some(offset) = Offset::of(line) else { return self.takes_bytes(line) };
        if self.error.is_some() || self.bytes.len() > LARGEST {
            return !offset.is(0);
        }
        if !self.settle(&offset) {
            if offset.is(0) && !offset.rest.is_empty() {
                return false;
            }
            if self.takes_bytes(line) {
                return true;
            }
            let before = self.bytes.len() + self.last.first().map_or(0, |row| row.bytes.len());
            self.error = Some(format!(
                "a dump whose row {} is at offset {}, with {before} bytes before it: paste all its rows",
                self.rows + 1,
                offset.digits
            ));
            return true;
        }
        self.rows += 1;
        self.is_told = true;
        self.as_bytes = None;
        if offset.rest.is_empty() {
            // Of an odd length one less: settle has said so.
            self.stated = self.stated.or(Some(self.bytes.len()));
            self.last.clear();
            return true;
        }
        self.last = rows(offset.rest, self.unit);
        if self.last.is_empty() {
            self.error = Some(format!("row {} of a dump has no bytes: {ADVICE}", self.rows));
        }
        true
    }

    /// A row without an offset, while the first may have had none.
    fn takes_bytes(&mut self, line: &str) -> bool {
        let (Some(bytes), Some(more)) = (&mut self.as_bytes, literal::hex_line(line)) else { return false };
        if bytes.len() <= LARGEST {
            bytes.extend(more);
        }
        self.rows += 1;
        self.last.clear();
        true
    }

    /// Ends the last row where the next offset says. Whether it can.
    fn settle(&mut self, offset: &Offset<'_>) -> bool {
        let before = self.bytes.len();
        let found = self.last.iter().filter_map(|row| {
            let length = row.bytes.len();
            // Of an odd length the last word has a byte too many.
            let odd = matches!(self.unit, Unit::Words(_)) && offset.rest.is_empty() && !self.is_squeezed;
            offset.values().find_map(|value| match value.checked_sub(before)? {
                more if more == length || odd && more + 1 == length => Some((row, 1)),
                more if self.is_squeezed && more > length && more % length == 0 && more <= LARGEST => {
                    Some((row, more / length))
                }
                _ => None,
            })
        });
        // Both can only be when one is the other with more of the text.
        let Some((row, times)) = found.min_by_key(|(row, _)| (!row.is_checked, !row.is_all)) else { return false };
        let (row, is_odd) = (row.bytes.clone(), !offset.is(before + row.bytes.len() * times));
        for _ in 0..times {
            self.bytes.extend(&row);
        }
        if is_odd {
            // The word stays whole until the byte order is known.
            self.stated = Some(self.bytes.len() - 1);
        }
        self.is_squeezed = false;
        true
    }

    pub(super) fn finish(mut self) -> Result<Vec<u8>, String> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.is_squeezed {
            return Err("a dump that ends with *, with no offset behind: paste its last line too".to_owned());
        }
        if let Unit::Words(_) = self.unit {
            return self.words();
        }
        if self.stated.is_none() && !self.last.is_empty() {
            let row = last_row(&self.bytes, &self.last).ok_or_else(|| {
                format!("the bytes of row {} of a dump cannot be told from the text behind them: {ADVICE}", self.rows)
            })?;
            self.bytes.extend(&row.bytes);
        }
        let Some(as_bytes) = self.as_bytes.filter(|_| !self.is_told) else { return Ok(self.bytes) };
        if self.rows > 1 {
            return Ok(as_bytes);
        }
        // One row: only one of the two may be a packet.
        match (frame::at(&self.bytes), frame::at(&as_bytes)) {
            (Ok(_), Err(_)) if frame::is_whole(&self.bytes) => Ok(self.bytes),
            (Err(_), Ok(_)) if frame::is_whole(&as_bytes) => Ok(as_bytes),
            _ => Err("the first digits can be an offset or two bytes: write 0000: for an offset, or 0x and the bytes \
                      in one line"
                .to_owned()),
        }
    }

    /// Words of od and hexdump, whose byte order only the packet tells.
    fn words(self) -> Result<Vec<u8>, String> {
        let Some(stated) = self.stated else {
            return Err(format!(
                "words of od or hexdump without the last line, which states their length: paste it too, or {ADVICE}"
            ));
        };
        let cut = |mut bytes: Vec<u8>| {
            bytes.truncate(stated);
            bytes
        };
        let swapped = self.bytes.chunks(2).flat_map(|pair| pair.iter().rev().copied()).collect();
        let found: Vec<Vec<u8>> =
            [cut(self.bytes.clone()), cut(swapped)].into_iter().filter(|bytes| frame::at(bytes).is_ok()).collect();
        match <[Vec<u8>; 1]>::try_from(found) {
            Ok([bytes]) => Ok(bytes),
            Err(_) => Err(format!("words of od or hexdump whose byte order cannot be told: {ADVICE}")),
        }
    }
}

const ADVICE: &str = "print the bytes with xxd, hexdump -C, od -A x -t x1 or tcpdump -x";

/// Whether a line is a row of a dump that began before.
pub(super) fn is_later_row(line: &str) -> bool {
    Offset::of(line).is_some_and(|offset| !offset.is(0))
}

impl<'a> Offset<'a> {
    /// The offset in front of a line: `0x0010:`, `00000010:`, `0010`.
    fn of(line: &'a str) -> Option<Self> {
        let line = line.trim();
        let (token, rest) = line.split_once(|c: char| c.is_ascii_whitespace()).unwrap_or((line, ""));
        let token = token.trim_end_matches('\u{a0}');
        let (token, is_marked) = match token.strip_suffix(':') {
            Some(token) => (token, true),
            None => (token, false),
        };
        let (digits, is_hex) = match token.strip_prefix("0x") {
            Some(digits) => (digits, true),
            None => (token, false),
        };
        let is_number = (4..=10).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        // `0x4500` alone is bytes.
        (is_number && (is_marked || !is_hex)).then_some(Offset { digits, is_hex, is_marked, rest })
    }

    /// What it can be: hexadecimal, octal of od, decimal.
    fn values(&self) -> impl Iterator<Item = usize> + '_ {
        let bases: &[u32] = if self.is_hex { &[16] } else { &[16, 8, 10] };
        bases.iter().filter_map(|base| usize::from_str_radix(self.digits, *base).ok())
    }

    fn is(&self, value: usize) -> bool {
        self.values().any(|one| one == value)
    }
}

/// The ways to read what is behind an offset.
fn rows(text: &str, unit: Unit) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut bytes = Vec::new();
    let mut width = None;
    let mut rest = text.trim_start();
    while let Some(token) = rest.split_ascii_whitespace().next() {
        let first = *width.get_or_insert(token.len());
        // The last group of a row may be short.
        let is_last = token.len() < first;
        if token.len() > first {
            break;
        }
        let Some(more) = token_bytes(token, unit, first) else { break };
        bytes.extend(more);
        let behind = rest.get(token.len()..).unwrap_or("");
        rest = behind.trim_start();
        rows.push(Row {
            bytes: bytes.clone(),
            is_checked: is_text(behind, &bytes),
            is_apart: behind.starts_with("  ") || behind.trim_start().starts_with(['|', '>']),
            is_all: rest.is_empty(),
        });
        if is_last || bytes.len() > 4096 {
            break;
        }
    }
    // Words have no text in an order that says anything.
    if rows.iter().any(|row| row.is_all || row.is_checked) && matches!(unit, Unit::Bytes | Unit::Octets) {
        rows.retain(|row| row.is_all || row.is_checked);
    }
    rows
}

/// The row that stands when no offset follows the bytes `before` it: the one whose text is set
/// apart, the only one, or the one with which the packet is as long as it says.
fn last_row<'a>(before: &[u8], rows: &'a [Row]) -> Option<&'a Row> {
    let only = |is_it: &dyn Fn(&Row) -> bool| {
        let mut found = rows.iter().filter(|row| is_it(row));
        found.next().filter(|_| found.next().is_none())
    };
    let readable = |row: &Row| row.is_all || row.is_checked;
    let apart = only(&|row| row.is_checked && row.is_apart);
    // Of bytes that are digits and spaces, one group can be the text of those before it.
    let whole = || only(&|row| readable(row) && frame::is_whole(&[before, &row.bytes].concat()));
    apart.or_else(|| only(&|_| true).filter(|row| readable(row))).or_else(whole)
}

fn token_bytes(token: &str, unit: Unit, width: usize) -> Option<Vec<u8>> {
    match unit {
        Unit::Bytes => literal::digits(token),
        Unit::Octets => (token.len() == 3).then(|| u8::from_str_radix(token, 8).ok().map(|byte| vec![byte]))?,
        Unit::Words(base) => {
            let is_word = token.len() == width && token.bytes().all(|byte| byte.is_ascii_hexdigit());
            let word = u16::from_str_radix(token, base).ok().filter(|_| is_word)?;
            Some(word.to_be_bytes().to_vec())
        }
    }
}

/// Whether `text` is what a dump shows beside `bytes`: a character for each,
/// with dots for those that cannot be shown.
fn is_text(text: &str, bytes: &[u8]) -> bool {
    let spaces = text.len() - text.trim_start().len();
    if text.trim().is_empty() {
        return false;
    }
    let is_same = |shown: &str| {
        let mut shown = shown.chars();
        let all = bytes.iter().all(|byte| match shown.next() {
            Some('.') => !byte.is_ascii_graphic() || *byte == b'.',
            Some(c) if c.is_ascii() => u32::from(c) == u32::from(*byte),
            // Newer tools show other signs than a dot.
            Some(_) => !byte.is_ascii_graphic(),
            // Spaces at the end of a line get lost.
            None => *byte == b' ',
        });
        all && shown.all(|c| c == ' ')
    };
    let framed = |open, close| text.trim().strip_prefix(open).and_then(|text: &str| text.strip_suffix(close));
    if framed('|', '|').is_some_and(is_same) || framed('>', '<').is_some_and(is_same) {
        return true;
    }
    (0..=spaces).filter_map(|at| text.get(at..)).any(|shown| {
        // Some put a gap in the middle.
        is_same(shown)
            || shown.is_char_boundary(8) && shown.get(8..9) == Some(" ") && {
                let (left, right) = shown.split_at(8);
                is_same(&format!("{left}{}", right.get(1..).unwrap_or("")))
            }
    })
}
