//! Text files that people write, in UTF-8. An editor shows the same text in other encodings, so a
//! refusal says which one it found.

use crate::error::{Error, Problem};
use std::fmt;
use std::io;
use std::path::Path;

/// Why the bytes of a file are no text in UTF-8. Its `Display` says what to do, and not the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum NotUtf8 {
    /// Several bytes a character: the name of the encoding.
    Wide(&'static str),
    /// A byte that stands for a character in encodings of one byte each.
    Byte {
        /// Its line, from 1.
        line: usize,
        /// The byte.
        byte: u8,
    },
    /// No text in any encoding.
    Binary {
        /// The line of the first zero, from 1.
        line: usize,
    },
}

impl NotUtf8 {
    /// The line, from 1.
    #[must_use]
    pub const fn line(self) -> usize {
        match self {
            NotUtf8::Wide(_) => 1,
            NotUtf8::Byte { line, .. } | NotUtf8::Binary { line } => line,
        }
    }

    /// The same as a mistake in `file`.
    #[must_use]
    pub fn problem(self, file: &str) -> Problem {
        Problem { file: file.to_owned(), line: self.line(), column: None, text: self.to_string() }
    }

    /// The same as an error: `doing` is a verb phrase ("read the key in").
    #[must_use]
    pub fn error(self, doing: String, path: &Path) -> Error {
        Error::usage(doing, format!("{}:{}", path.display(), self.line()), self.to_string())
    }
}

impl fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotUtf8::Wide(encoding) => write!(f, "the file is {encoding}: save it as UTF-8"),
            // Latin-1 and Windows-1252 differ below.
            NotUtf8::Byte { byte: byte @ 0xa0.., .. } => {
                write!(
                    f,
                    "the byte {byte:#04x} is {} in Latin-1, and not UTF-8: save the file as UTF-8",
                    char::from(*byte)
                )
            }
            NotUtf8::Byte { byte, .. } => write!(f, "the byte {byte:#04x} is not UTF-8: save the file as UTF-8"),
            NotUtf8::Binary { .. } => f.write_str("a zero byte: give a text file in UTF-8"),
        }
    }
}

impl std::error::Error for NotUtf8 {}

/// The byte order mark that editors on Windows put in front of UTF-8.
pub const MARK: &str = "\u{feff}";

/// Those of other encodings. That of UTF-32 begins with that of UTF-16.
const OTHER_MARKS: [(&[u8], &str); 4] = [
    (&[0xff, 0xfe, 0, 0], "UTF-32"),
    (&[0, 0, 0xfe, 0xff], "UTF-32"),
    (&[0xff, 0xfe], "UTF-16"),
    (&[0xfe, 0xff], "UTF-16"),
];

/// The text that bytes are, without a [`MARK`] in front.
///
/// # Errors
///
/// They are not UTF-8, or have zeros in them.
pub fn decode(bytes: &[u8]) -> Result<&str, NotUtf8> {
    if let Some((_, encoding)) = OTHER_MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return Err(NotUtf8::Wide(encoding));
    }
    let line = |offset| 1 + bytes.iter().take(offset).filter(|byte| **byte == b'\n').count();
    if let Some(zero) = bytes.iter().position(|byte| *byte == 0) {
        // Of ASCII in UTF-16 every other byte is zero.
        let is_wide = bytes.chunks_exact(2).take(8).all(|pair| (pair[0] == 0) != (pair[1] == 0));
        return Err(if is_wide { NotUtf8::Wide("UTF-16") } else { NotUtf8::Binary { line: line(zero) } });
    }
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix(MARK).unwrap_or(text)),
        Err(error) => {
            let at = error.valid_up_to();
            Err(NotUtf8::Byte { line: line(at), byte: bytes.get(at).copied().unwrap_or_default() })
        }
    }
}

/// The same where a zero, or a byte of another encoding, spoils no more than its line: a comment, as a rule. Other
/// programs read the other lines too.
///
/// # Errors
///
/// None of the lines can be read.
pub(crate) fn decode_lossy(bytes: &[u8]) -> Result<String, NotUtf8> {
    match decode(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(NotUtf8::Byte { .. } | NotUtf8::Binary { .. }) => {
            Ok(String::from_utf8_lossy(bytes.strip_prefix(MARK.as_bytes()).unwrap_or(bytes)).into_owned())
        }
        Err(wide @ NotUtf8::Wide(_)) => Err(wide),
    }
}

/// The text of a file that other programs read too, and as [`decode_lossy`] does.
///
/// # Errors
///
/// It cannot be read, or none of its lines.
pub(crate) fn read_lossy(path: &Path) -> Result<String, Unreadable> {
    let bytes = std::fs::read(path).map_err(Unreadable::Io)?;
    decode_lossy(&bytes).map_err(Unreadable::NotUtf8)
}

/// Why a file could not be read.
#[derive(Debug)]
pub enum Unreadable {
    /// The system says so.
    Io(io::Error),
    /// It is no text in UTF-8.
    NotUtf8(NotUtf8),
}

impl Unreadable {
    /// The same as an error: `doing` is a verb phrase ("read").
    #[must_use]
    pub fn error(self, doing: &'static str, path: &Path) -> Error {
        match self {
            Unreadable::Io(error) => Error::refused(doing, path.display(), error),
            Unreadable::NotUtf8(wrong) => wrong.error(doing.to_owned(), path),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unreadable::Io(error) => error.fmt(f),
            Unreadable::NotUtf8(wrong) => write!(f, "line {}: {wrong}", wrong.line()),
        }
    }
}

impl std::error::Error for Unreadable {}

/// The text of a file, as [`decode`] gives it.
///
/// # Errors
///
/// It cannot be read, or is no text in UTF-8.
pub fn read(path: &Path) -> Result<String, Unreadable> {
    let bytes = std::fs::read(path).map_err(Unreadable::Io)?;
    decode(&bytes).map(str::to_owned).map_err(Unreadable::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_utf8_is_named_with_its_line_and_what_to_do() {
        let text = "local = \"10.0.0.1\"\n# für das Büro\n";
        let wide = |order: fn(u16) -> [u8; 2], mark: &[u16]| -> Vec<u8> {
            mark.iter().copied().chain(text.encode_utf16()).flat_map(order).collect()
        };
        let latin1: Vec<u8> = text.chars().map(|sign| u8::try_from(sign).unwrap()).collect();
        let utf32: Vec<u8> = "\u{feff}x\n".chars().flat_map(|sign| u32::from(sign).to_le_bytes()).collect();
        for (bytes, told) in [
            (wide(u16::to_le_bytes, &[0xfeff]), "x:1: the file is UTF-16: save it as UTF-8"),
            (wide(u16::to_be_bytes, &[0xfeff]), "x:1: the file is UTF-16: save it as UTF-8"),
            (wide(u16::to_le_bytes, &[]), "x:1: the file is UTF-16: save it as UTF-8"),
            (wide(u16::to_be_bytes, &[]), "x:1: the file is UTF-16: save it as UTF-8"),
            (utf32, "x:1: the file is UTF-32: save it as UTF-8"),
            (latin1, "x:2: the byte 0xfc is ü in Latin-1, and not UTF-8: save the file as UTF-8"),
            (b"a\n\n\x93b\x94".to_vec(), "x:3: the byte 0x93 is not UTF-8: save the file as UTF-8"),
            (b"\x7fELF\n\0".to_vec(), "x:2: a zero byte: give a text file in UTF-8"),
        ] {
            assert_eq!(decode(&bytes).unwrap_err().problem("x").to_string(), told);
        }
        for bytes in [text.as_bytes(), &[&[0xef, 0xbb, 0xbf], text.as_bytes()].concat()] {
            assert_eq!(decode(bytes), Ok(text));
        }
        assert_eq!(decode(b""), Ok(""));
    }

    #[test]
    fn one_line_that_is_no_text_spoils_no_other() {
        let lossy = decode_lossy(b"\xef\xbb\xbf# B\xfcro\n10.0.0.1 isatap\n").unwrap();
        assert_eq!(lossy, "# B\u{fffd}ro\n10.0.0.1 isatap\n");
        let zeros = "# \0\0\n10.0.0.1 isatap\n";
        assert_eq!(decode_lossy(zeros.as_bytes()).as_deref(), Ok(zeros));
        assert_eq!(decode_lossy(b"\xff\xfe1\0"), Err(NotUtf8::Wide("UTF-16")));
    }
}
