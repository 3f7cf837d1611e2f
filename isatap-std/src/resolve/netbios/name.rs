//! Names of NetBIOS.

use std::fmt;

/// Characters of a name, without the suffix.
const LENGTH: usize = 15;

/// A NetBIOS name: 15 characters in upper case, padded with blanks, and a suffix that says what it
/// is the name of; 0 is the machine itself (NAM-30).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct NetbiosName([u8; LENGTH + 1]);

impl NetbiosName {
    /// Of a label; `None`: it is empty, longer than 15 characters, or not printable ASCII.
    #[must_use]
    pub fn new(label: &str, suffix: u8) -> Option<Self> {
        let is_plain = label.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if label.is_empty() || !is_plain {
            return None;
        }
        let mut name = [b' '; LENGTH + 1];
        let (characters, last) = name.split_at_mut(LENGTH);
        let room = characters.get_mut(..label.len())?;
        for (to, from) in room.iter_mut().zip(label.bytes()) {
            *to = from.to_ascii_uppercase();
        }
        last.fill(suffix);
        Some(Self(name))
    }

    /// NAM-30: the 32 letters of RFC 1001 §14.1, two for each byte: 'A' and its upper, then its
    /// lower half.
    #[must_use]
    pub fn letters(&self) -> [u8; 32] {
        let mut letters = [0; 32];
        for (pair, byte) in letters.chunks_exact_mut(2).zip(self.0) {
            pair.copy_from_slice(&[b'A' + (byte >> 4), b'A' + (byte & 0xf)]);
        }
        letters
    }

    /// The name that 32 letters stand for; `None`: they are none, or not all of them letters of the
    /// first sixteen.
    #[must_use]
    pub fn from_letters(letters: &[u8]) -> Option<Self> {
        let letters: &[u8; 32] = letters.try_into().ok()?;
        let half = |letter: u8| letter.to_ascii_uppercase().checked_sub(b'A').filter(|half| *half < 16);
        let mut name = [0; LENGTH + 1];
        for (byte, pair) in name.iter_mut().zip(letters.chunks_exact(2)) {
            let [high, low] = pair else { return None };
            *byte = half(*high)? << 4 | half(*low)?;
        }
        Some(Self(name))
    }
}

impl fmt::Display for NetbiosName {
    /// `ISATAP<00>`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (characters, suffix) = self.0.split_at(LENGTH);
        write!(f, "{}", characters.trim_ascii_end().escape_ascii())?;
        suffix.iter().try_for_each(|suffix| write!(f, "<{suffix:02x}>"))
    }
}

impl fmt::Debug for NetbiosName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letters(name: &str, suffix: u8) -> String {
        String::from_utf8(NetbiosName::new(name, suffix).unwrap().letters().to_vec()).unwrap()
    }

    #[test]
    fn nam_30_names_are_written_as_32_letters() {
        assert_eq!(letters("isatap", 0), "EJFDEBFEEBFACACACACACACACACACAAA");
        assert_eq!(letters("_ISATAP", 0), "FPEJFDEBFEEBFACACACACACACACACAAA");
        // RFC 1002 §4.1, where the suffix is a blank.
        assert_eq!(letters("FRED", b' '), "EGFCEFEECACACACACACACACACACACACA");
    }

    #[test]
    fn nam_30_letters_are_read_in_any_case_and_nothing_else_is() {
        let name = NetbiosName::new("isatap", 0).unwrap();
        assert_eq!(NetbiosName::from_letters(&name.letters()), Some(name));
        assert_eq!(NetbiosName::from_letters(&name.letters().to_ascii_lowercase()), Some(name));
        assert_eq!(name.to_string(), "ISATAP<00>");
        for wrong in ["", "EJ", "EJFDEBFEEBFACACACACACACACACACAAAAA", "QJFDEBFEEBFACACACACACACACACACAAA"] {
            assert_eq!(NetbiosName::from_letters(wrong.as_bytes()), None, "{wrong}");
        }
    }

    #[test]
    fn nam_30_a_name_has_at_most_15_characters() {
        assert!(NetbiosName::new("a-name-of-15-ch", 0).is_some());
        assert!(NetbiosName::new("a-name-of-16-chr", 0).is_none());
        assert!(NetbiosName::new("", 0).is_none() && NetbiosName::new("ísatap", 0).is_none());
    }
}
