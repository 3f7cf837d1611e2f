//! Bytes without offsets: hex streams, and what programming languages write.

use super::LARGEST;

/// The bytes of a line of hexadecimal digits: `4500 0050`, `45:00:00:50`,
/// `"45000050"`, `bytes.fromhex('45000050')`.
pub(super) fn hex_line(line: &str) -> Option<Vec<u8>> {
    let line = quoted(line.trim()).unwrap_or(line).trim();
    let mut bytes = Vec::new();
    for token in line.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|token| !token.is_empty()) {
        let is_separated = token.contains([':', '-']);
        for (index, part) in token.split([':', '-']).enumerate() {
            // One stray separator at the end of a line, of openssl.
            if part.is_empty() && index > 0 && index == token.matches([':', '-']).count() {
                continue;
            }
            if is_separated && part.len() != 2 {
                return None;
            }
            bytes.extend(digits(part)?);
        }
    }
    (!bytes.is_empty()).then_some(bytes)
}

/// What is between the outermost quotes of a line.
fn quoted(line: &str) -> Option<&str> {
    let start = line.find(['"', '\''])?;
    let quote = line.get(start..)?.chars().next()?;
    let inner = line.get(start + 1..)?;
    inner.get(..inner.rfind(quote)?)
}

/// An even number of hexadecimal digits as bytes.
pub(super) fn digits(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let pairs = (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2));
    pairs.map(|pair| u8::from_str_radix(pair, 16).ok()).collect()
}

/// The bytes of a line of `0x45, 0x00`.
pub(super) fn list_line(line: &str) -> Option<Vec<u8>> {
    let line = without_comment(line);
    let tokens = line.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|token| !token.is_empty());
    let bytes: Option<Vec<u8>> = tokens.map(hex_byte).collect();
    bytes.filter(|bytes| !bytes.is_empty())
}

/// `0x45`: one byte.
fn hex_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("0x").or(token.strip_prefix("0X"))?;
    let is_byte = matches!(digits.len(), 1 | 2) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_byte { u8::from_str_radix(digits, 16).ok() } else { None }
}

fn without_comment(line: &str) -> &str {
    let line = match (line.find("/*"), line.rfind("*/")) {
        // The text of a dump in a comment may hold anything.
        (Some(start), Some(end))
            if start < end && line.get(end + 2..).is_some_and(|behind| behind.trim().is_empty()) =>
        {
            line.get(..start).unwrap_or(line)
        }
        _ => line,
    };
    line.split("//").next().unwrap_or(line)
}

/// `{ 0x45, 0x00, … }` of C, `[69, 0, …]` of others.
pub(super) struct Array {
    text: String,
    close: char,
    stated: Option<usize>,
    bytes: Result<Vec<u8>, String>,
    is_closed: bool,
}

impl Array {
    /// The array that a line opens.
    pub(super) fn begin(line: &str) -> Option<Self> {
        let (open, close) = match (line.find('{'), line.find('[')) {
            (Some(open), _) => (open, '}'),
            (None, Some(open)) if line.contains(',') => (open, ']'),
            _ => return None,
        };
        let inside = line.get(open + 1..)?;
        let first = without_comment(inside).trim_start().chars().next();
        if first.is_some_and(|first| !first.is_ascii_digit()) {
            return None;
        }
        // `pkt[94] = {`, `[]byte{`, `vec![`, `bytes([`: no brace of a sentence.
        let declared = line.get(..open)?.trim();
        let opens =
            declared.is_empty() || declared.ends_with(['=', '(', '!', '&', ']', ')']) || declared.ends_with("byte");
        if !opens {
            return None;
        }
        let stated = declared.rsplit_once('[').and_then(|(_, size)| size.split(']').next()?.trim().parse().ok());
        let text = line.trim().to_owned();
        let mut array = Array { text, close, stated, bytes: Ok(Vec::new()), is_closed: false };
        array.read(inside);
        Some(array)
    }

    /// Whether the line belongs to the array.
    pub(super) fn takes(&mut self, line: &str) -> bool {
        if self.is_closed {
            // xxd -i says the length in a line of its own.
            return line.contains("_len = ") && line.ends_with(';');
        }
        self.read(line);
        true
    }

    fn read(&mut self, line: &str) {
        let line = without_comment(line);
        let end = line.find(self.close);
        self.is_closed = end.is_some();
        let line = end.and_then(|end| line.get(..end)).unwrap_or(line);
        for token in line.split(|c: char| c.is_ascii_whitespace() || c == ',').filter(|token| !token.is_empty()) {
            let Ok(bytes) = &mut self.bytes else { return };
            let is_decimal = token == "0" || !token.starts_with('0');
            match hex_byte(token).or_else(|| token.parse().ok().filter(|_| is_decimal)) {
                Some(byte) if bytes.len() <= LARGEST => bytes.push(byte),
                Some(_) => {}
                None => {
                    self.bytes = Err(format!("{token:?} in an array is no byte: write each as 0x45 or 0 to 255"));
                }
            }
        }
    }

    pub(super) fn finish(self) -> (String, Result<Vec<u8>, String>) {
        let Array { text, stated, bytes, is_closed, close, .. } = self;
        let bytes = bytes.and_then(|bytes| match stated {
            Some(stated) if stated != bytes.len() => {
                Err(format!("an array of {stated} bytes of which {} are here: paste all its lines", bytes.len()))
            }
            _ if !is_closed => Err(format!("an array without its end: paste it up to {close}")),
            _ => Ok(bytes),
        });
        (text, bytes)
    }
}

/// `"\x45\x00"`, of one line or several.
pub(super) struct Strings {
    text: String,
    bytes: Result<Vec<u8>, String>,
}

impl Strings {
    /// The string that a line begins.
    pub(super) fn begin(line: &str) -> Option<Self> {
        let is_one = line.contains("\\x") && (line.trim_start().starts_with("\\x") || line.contains(['"', '\'']));
        is_one.then(|| Strings { text: line.trim().to_owned(), bytes: read_strings(line) })
    }

    /// Whether the line goes on with it.
    pub(super) fn takes(&mut self, line: &str) -> bool {
        let start = line.trim_start().trim_start_matches(['b', 'B']);
        if !start.starts_with(['"', '\'']) && !start.starts_with("\\x") {
            return false;
        }
        if let Ok(bytes) = &mut self.bytes
            && bytes.len() <= LARGEST
        {
            match read_strings(line) {
                Ok(more) => bytes.extend(more),
                Err(error) => self.bytes = Err(error),
            }
        }
        true
    }

    pub(super) fn finish(self) -> (String, Result<Vec<u8>, String>) {
        (self.text, self.bytes)
    }
}

/// The bytes of all quoted strings of a line; of a line without quotes those
/// of its escapes.
fn read_strings(line: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut chars = line.chars().peekable();
    let bare = line.trim_start().starts_with("\\x");
    let mut quote = if bare { Some('\n') } else { None };
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '"' | '\'') => quote = Some(c),
            (None, _) => {}
            (Some(open), c) if c == open => quote = None,
            (Some(_), '\\') => match escape(&mut chars) {
                Some(byte) => bytes.push(byte),
                None if bare && chars.peek().is_none() => {}
                None => return Err("a backslash with nothing that can be read: write each byte as \\x45".to_owned()),
            },
            (Some('\n'), c) if c.is_ascii_whitespace() => {}
            (Some('\n'), c) => {
                return Err(format!("{c:?} between the bytes: write each byte as \\x45, or put quotes around them"));
            }
            (Some(_), c) if c.is_ascii() => bytes.push(u8::try_from(u32::from(c)).unwrap_or(0)),
            (Some(_), c) => return Err(format!("{c:?} in a string is no byte: write each byte as \\x45")),
        }
    }
    match quote {
        Some('"' | '\'') => Err("a string without its end: paste it up to the quote".to_owned()),
        _ => Ok(bytes),
    }
}

/// What stands behind a backslash.
fn escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Option<u8> {
    let first = chars.next()?;
    Some(match first {
        'x' => {
            let (high, low) = (chars.next()?.to_digit(16)?, chars.next()?.to_digit(16)?);
            u8::try_from(high << 4 | low).ok()?
        }
        '0'..='7' => {
            let mut value = first.to_digit(8)?;
            for _ in 0..2 {
                let Some(digit) = chars.peek().and_then(|c| c.to_digit(8)) else { break };
                value = value << 3 | digit;
                chars.next();
            }
            u8::try_from(value).ok()?
        }
        'a' => 7,
        'b' => 8,
        't' => 9,
        'n' => 10,
        'v' => 11,
        'f' => 12,
        'r' => 13,
        '\\' | '"' | '\'' => u8::try_from(u32::from(first)).ok()?,
        _ => return None,
    })
}
