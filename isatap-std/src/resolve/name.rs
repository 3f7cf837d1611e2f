//! Names as the DNS can carry them, and the entries of a router list.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// The longest name in its encoded form, length octets and root label included \[RFC 1035 §2.3.4\].
pub(super) const MAX_NAME_OCTETS: usize = 255;
/// The longest label, in octets \[RFC 1035 §2.3.4\].
pub(super) const MAX_LABEL_OCTETS: usize = 63;

/// A domain name: labels of printable ASCII joined by dots, kept in lower case.
///
/// A trailing dot marks the name as absolute: no suffix of the search list is
/// ever added to it. Limits: 63 octets a label, 255 octets encoded
/// \[RFC 1035 §2.3.4\]. Internationalised names must be given in their ASCII form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Name {
    /// Without the trailing dot.
    text: String,
    absolute: bool,
}

impl Name {
    /// Whether the name ended in a dot, so that it is looked up as it stands.
    #[must_use]
    pub fn is_absolute(&self) -> bool {
        self.absolute
    }

    /// The number of dots between labels; the trailing dot does not count.
    #[must_use]
    pub fn dots(&self) -> usize {
        self.text.bytes().filter(|byte| *byte == b'.').count()
    }

    /// The labels, left to right, in lower case.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.text.split('.')
    }

    /// The name without its trailing dot.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same name marked as absolute.
    #[must_use]
    pub fn to_absolute(&self) -> Name {
        Name { text: self.text.clone(), absolute: true }
    }

    /// `self` in front of `suffix`, absolute; `None` when that is longer than 255 octets.
    #[must_use]
    pub fn with_suffix(&self, suffix: &Name) -> Option<Name> {
        let text = format!("{}.{}", self.text, suffix.text);
        (text.len() + 2 <= MAX_NAME_OCTETS).then_some(Name { text, absolute: true })
    }

    /// The name without its left-most label; `None` for a single label.
    #[must_use]
    pub fn parent(&self) -> Option<Name> {
        let (_, rest) = self.text.split_once('.')?;
        Some(Name { text: rest.to_owned(), absolute: self.absolute })
    }

    /// Whether `text`, with or without a trailing dot and in any case, is this name.
    pub(super) fn matches(&self, text: &str) -> bool {
        text.strip_suffix('.').unwrap_or(text).eq_ignore_ascii_case(&self.text)
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let (labels, absolute) = match text.strip_suffix('.') {
            Some(labels) => (labels, true),
            None => (text, false),
        };
        if labels.is_empty() {
            return Err(NameError::Empty);
        }
        // One length octet for each label plus the root label: two more than the text.
        if labels.len() + 2 > MAX_NAME_OCTETS {
            return Err(NameError::TooLong);
        }
        for label in labels.split('.') {
            if label.is_empty() {
                return Err(NameError::EmptyLabel);
            }
            if label.len() > MAX_LABEL_OCTETS {
                return Err(NameError::LabelTooLong);
            }
        }
        if let Some(offset) = labels.bytes().position(|byte| !byte.is_ascii_graphic()) {
            return Err(NameError::Character { offset });
        }
        Ok(Name { text: labels.to_ascii_lowercase(), absolute })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)?;
        if self.absolute {
            f.write_str(".")?;
        }
        Ok(())
    }
}

/// Why a text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing, or only the root.
    Empty,
    /// More than 255 octets encoded.
    TooLong,
    /// A label of more than 63 octets.
    LabelTooLong,
    /// Two dots in a row, or a dot in front.
    EmptyLabel,
    /// Not printable ASCII.
    Character {
        /// Octets from the start of the text, all of them ASCII.
        offset: usize,
    },
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NameError::Empty => f.write_str("a name is missing: write one, for example isatap.example.net"),
            NameError::TooLong => {
                f.write_str("a name in the DNS has at most 253 characters: write a shorter name, or the address")
            }
            NameError::LabelTooLong => f.write_str(
                "a label, the part between two dots, has at most 63 characters: write a shorter name, or the address",
            ),
            NameError::EmptyLabel => f.write_str(
                "a label is missing between two dots, or before the first: write a name like isatap.example.net",
            ),
            NameError::Character { offset } => write!(
                f,
                "character {} is not allowed in a name: use letters, digits and hyphens, and the xn-- form of an \
                 international name",
                offset + 1
            ),
        }
    }
}

impl std::error::Error for NameError {}

/// One line of a manual router list: an address, or a name to look up (NAM-2, ISA-20).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entry {
    /// A static address.
    Address(Ipv4Addr),
    /// A name of letters, digits, hyphens and underscores, given to the hosts file and the DNS
    /// as it stands.
    Name(Name),
}

impl From<Ipv4Addr> for Entry {
    fn from(address: Ipv4Addr) -> Self {
        Entry::Address(address)
    }
}

impl FromStr for Entry {
    type Err = EntryError;

    fn from_str(text: &str) -> Result<Self, EntryError> {
        if let Ok(address) = text.parse() {
            return Ok(Entry::Address(address));
        }
        // A slip must not become a question to the DNS, which answers it late and with "no such name".
        if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return Err(EntryError::Address);
        }
        if is_misspelt_address(text) {
            return Err(EntryError::Address);
        }
        if text.contains("://") {
            return Err(EntryError::Url);
        }
        if text.trim().contains([',', ';']) || text.trim().contains(char::is_whitespace) {
            return Err(EntryError::Several);
        }
        match text.bytes().filter(|byte| *byte == b':').count() {
            0 => {}
            1 => return Err(EntryError::Port),
            _ => return Err(EntryError::Ipv6),
        }
        if text.contains('/') {
            return Err(EntryError::Length);
        }
        let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if let Some(offset) = text.bytes().position(|byte| !is_of_host(byte)) {
            return Err(EntryError::Name(NameError::Character { offset }));
        }
        text.parse().map(Entry::Name).map_err(EntryError::Name)
    }
}

/// Four labels, three of them numbers, and the other one with a letter that looks like a digit, as
/// in 10.0.0.l: no top-level domain has one letter, or a digit.
fn is_misspelt_address(text: &str) -> bool {
    let labels: Vec<&str> = text.split('.').collect();
    let is_number = |label: &&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    let (numbers, others): (Vec<&str>, Vec<&str>) = labels.iter().partition(|label| is_number(label));
    let looks_like = |label: &str| {
        let has_digit = label.bytes().any(|byte| byte.is_ascii_digit());
        let is_alike = label.bytes().all(|byte| byte.is_ascii_digit() || b"lLiIoO".contains(&byte));
        (1..=3).contains(&label.len()) && is_alike && (has_digit || label.len() == 1)
    };
    numbers.len() == 3 && matches!(others.as_slice(), [label] if looks_like(label))
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Address(address) => address.fmt(f),
            Entry::Name(name) => name.fmt(f),
        }
    }
}

/// Why a text is not an [`Entry`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EntryError {
    /// Digits and dots that are not an IPv4 address.
    Address,
    /// An IPv6 address: a router of the list is reached by IPv4.
    Ipv6,
    /// A port behind it.
    Port,
    /// A prefix length behind it.
    Length,
    /// A URL.
    Url,
    /// Several in one text.
    Several,
    /// Not the name of a host.
    Name(NameError),
}

impl fmt::Display for EntryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EntryError::Address => "not an IPv4 address: write four numbers from 0 to 255, for example 10.0.0.2",
            EntryError::Ipv6 => "an IPv6 address is not allowed here: write an IPv4 address or a name",
            EntryError::Port => "a port is not allowed here: write only the IPv4 address or the name",
            EntryError::Length => "a prefix length is not allowed here: write only the IPv4 address or the name",
            EntryError::Url => "a URL is not allowed here: write only the IPv4 address or the name in it",
            EntryError::Several => "this is more than one: write each as its own value",
            EntryError::Name(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for EntryError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nam_2_a_trailing_dot_means_absolute() {
        let name: Name = "Router.Example.COM.".parse().unwrap();
        assert!(name.is_absolute());
        assert_eq!(name.as_str(), "router.example.com");
        assert_eq!(name.to_string(), "router.example.com.");
        assert!(!"router.example.com".parse::<Name>().unwrap().is_absolute());
    }

    #[test]
    fn names_keep_the_limits_of_the_dns() {
        let label = "a".repeat(63);
        assert!(label.parse::<Name>().is_ok());
        assert_eq!("a".repeat(64).parse::<Name>(), Err(NameError::LabelTooLong));
        // 63.63.63.61 is 253 characters and 255 octets encoded: the longest name.
        let longest = format!("{label}.{label}.{label}.{}", "b".repeat(61));
        assert_eq!(longest.len(), 253);
        assert!(longest.parse::<Name>().is_ok());
        assert_eq!(format!("{longest}b").parse::<Name>(), Err(NameError::TooLong));
        for (text, error) in [
            ("", NameError::Empty),
            (".", NameError::Empty),
            ("a..b", NameError::EmptyLabel),
            (".a", NameError::EmptyLabel),
            ("a b", NameError::Character { offset: 1 }),
            ("b\u{fc}ro", NameError::Character { offset: 1 }),
        ] {
            assert_eq!(text.parse::<Name>(), Err(error), "{text:?}");
        }
    }

    #[test]
    fn a_suffix_that_does_not_fit_gives_no_name() {
        let label = "a".repeat(63);
        let long: Name = format!("{label}.{label}.{label}").parse().unwrap();
        // 191 + 1 + 61 characters are the 253 that fit.
        let fits: Name = "b".repeat(61).parse().unwrap();
        let over: Name = "b".repeat(62).parse().unwrap();
        assert_eq!(long.with_suffix(&fits).unwrap().as_str().len(), 253);
        assert_eq!(long.with_suffix(&over), None);
    }

    #[test]
    fn nam_2_an_entry_is_an_address_or_a_name() {
        assert_eq!("10.0.0.1".parse(), Ok(Entry::Address(Ipv4Addr::new(10, 0, 0, 1))));
        assert_eq!("isatap".parse(), Ok(Entry::Name("isatap".parse().unwrap())));
        for name in ["10.0.0.fr", "10.0.0.il", "1.0.0.10.in-addr.arpa", "r1.0.0.1", "a.0.0.1"] {
            assert_eq!(name.parse(), Ok(Entry::Name(name.parse().unwrap())), "{name}");
        }
        assert_eq!("_ISATAP".parse(), Ok(Entry::Name("_isatap".parse().unwrap())));
        for (text, error) in [
            ("10.0.0.256", EntryError::Address),
            ("10.0.0", EntryError::Address),
            ("10.0.0.l", EntryError::Address),
            ("1O.0.0.1", EntryError::Address),
            ("fe80::1", EntryError::Ipv6),
            ("::ffff:10.0.0.1", EntryError::Ipv6),
            ("::1", EntryError::Ipv6),
            ("router.example.net:53", EntryError::Port),
            ("10.0.0.1:3544", EntryError::Port),
            ("10.0.0.1:99999", EntryError::Port),
            ("isatap.example:http", EntryError::Port),
            ("isatap.example:", EntryError::Port),
            ("10.0.0.1/24", EntryError::Length),
            ("http://router.example.net/", EntryError::Url),
            ("10.0.0.1,10.0.0.2", EntryError::Several),
            ("10.0.0.1 10.0.0.2", EntryError::Several),
            ("", EntryError::Name(NameError::Empty)),
            ("a..b", EntryError::Name(NameError::EmptyLabel)),
            ("router@site", EntryError::Name(NameError::Character { offset: 6 })),
            (" isatap", EntryError::Name(NameError::Character { offset: 0 })),
            ("b\u{fc}ro", EntryError::Name(NameError::Character { offset: 1 })),
        ] {
            assert_eq!(text.parse::<Entry>(), Err(error), "{text:?}");
            let told = error.to_string();
            assert!(told.contains("write ") || told.contains("use "), "{text:?}: {told}");
        }
    }
}
