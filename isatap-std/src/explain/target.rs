//! What can be asked about.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use super::{host, pasted};

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::addr::Domain;

/// Something to explain, as text says it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An address.
    Address(IpAddr),
    /// An address and a prefix length. Bits behind the length may be set.
    Prefix(IpAddr, u8),
    /// The bytes of an IP packet.
    Packet(Vec<u8>),
    /// Any other text: a file, which should be a capture.
    Capture(PathBuf),
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads a target. Whether a file is there is not looked at.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        Reading::new(text).map(|reading| reading.target)
    }
}

/// A target, with what its text says beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// The target.
    pub target: Target,
    /// The port that stands with an address.
    pub port: Option<u16>,
    /// How the text was read, where others may read it otherwise: sentences.
    pub notes: Vec<String>,
    /// Whether all programs read it so: it is the usual text of its target, or a URL without anything odd about it.
    pub is_plain: bool,
}

impl Reading {
    /// Reads text: a target in any of the forms that people have it in. Whether a
    /// file is there is not looked at.
    ///
    /// Addresses come in brackets, with port, zone, in URLs, as names of `ip6.arpa`,
    /// `in-addr.arpa` and `ipv6-literal.net`, and as libc's `inet_aton` reads them;
    /// packets as [`Pieces`](super::Pieces) reads them.
    ///
    /// # Errors
    /// It is none; says what to write instead.
    pub fn new(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if let Some(known) = plain(text) {
            return known;
        }
        if text.is_empty() || text.contains('\0') {
            return Err(TargetError::not_one(text));
        }
        let mut pieces = pasted::pieces(text, |line| plain(line).is_some());
        match (pieces.pop().map(|piece| piece.found), pieces.is_empty()) {
            (Some(pasted::Found::Packet(bytes)), true) => Ok(Target::Packet(bytes).into()),
            (Some(pasted::Found::Wrong(error)), true) => Err(TargetError(format!("{}: {error}", start_of(text)))),
            _ => Ok(Target::Capture(PathBuf::from(text)).into()),
        }
    }
}

impl From<Target> for Reading {
    fn from(target: Target) -> Self {
        Reading { target, port: None, notes: Vec::new(), is_plain: true }
    }
}

/// Text that means something by itself, whatever files there are.
pub(super) fn plain(text: &str) -> Option<Result<Reading, TargetError>> {
    if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X"))
        && !digits.contains(['.', ',', '/', 'x', 'X'])
    {
        let (first, behind) = digits.split_once(':').unwrap_or((digits, "-"));
        // tcpdump's offset; up to 8 digits alone are an address to libc.
        let is_offset = first.len() >= 4 && (behind.is_empty() || behind.starts_with(char::is_whitespace));
        let is_number = digits.len() <= 8 && !digits.contains([':', ' ', '\t']);
        if is_offset && first.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        if !is_number {
            return Some(hex(digits).map(|bytes| {
                let start = pasted::ip_start(&bytes);
                Target::Packet(bytes.get(start..).unwrap_or(&[]).to_vec()).into()
            }));
        }
    }
    host::read(text)
}

/// The beginning of text that was pasted, for an error.
pub(super) fn start_of(text: &str) -> String {
    let line = text.lines().next().unwrap_or("").trim();
    match line.char_indices().nth(40) {
        Some((end, _)) => format!("{}…", line.get(..end).unwrap_or(line)),
        None => line.to_owned(),
    }
}

/// Text that is no target; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(pub(super) String);

impl TargetError {
    /// `text` is neither of all that can be explained.
    #[must_use]
    pub fn not_one(text: &str) -> Self {
        Self::of(text, "is nothing that can be explained")
    }

    /// `text` is no address, where nothing else will do.
    pub(super) fn no_address(text: &str) -> Self {
        TargetError(format!("{:?} is no address: give an IPv6 or IPv4 address", start_of(text)))
    }

    /// `text` could be the name of a file alone, and there is none.
    #[must_use]
    pub fn no_such_file(text: &str) -> Self {
        Self::of(text, "is no address or packet, and there is no such file")
    }

    fn of(text: &str, what: &str) -> Self {
        TargetError(format!(
            "{text:?} {what}: give an address, a prefix, 0x and packet bytes, a dump of a packet, \
             a pcap or pcapng file, or - for these on standard input"
        ))
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TargetError {}

fn hex(digits: &str) -> Result<Vec<u8>, TargetError> {
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let values: Option<Vec<u32>> = digits.iter().map(|digit| digit.to_digit(16)).collect();
    let bytes = values.filter(|values| values.len() % 2 == 0 && !values.is_empty());
    let bytes = bytes
        .map(|values| values.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap_or(0)).collect());
    bytes.ok_or_else(|| {
        let shown: String = digits.iter().take(20).collect();
        let what = match digits.iter().find(|digit| !digit.is_ascii_hexdigit()) {
            Some(other) => format!("{other:?} is no hexadecimal digit"),
            None => format!("{} digits", digits.len()),
        };
        TargetError(format!("0x{shown}…: {what}; an even number of hexadecimal digits was expected"))
    })
}

/// Reads a 6rd domain: `PREFIX/LEN`, `PREFIX/LEN,MASKLEN`, or with the whole
/// IPv4 block that its members share, `PREFIX/LEN,10.0.0.0/8`.
///
/// With the mask's length alone the shared bits are not known and read as
/// zero.
///
/// # Errors
/// The text is none of these, or the numbers make no domain.
pub fn sixrd_domain(text: &str) -> Result<Domain, TargetError> {
    let wrong = |what: &dyn fmt::Display| TargetError(format!("6rd domain {text}: {what}"));
    let (prefix, mask) = text.split_once(',').unwrap_or((text, "0"));
    let prefix: Ipv6Prefix = prefix.parse().map_err(|error| wrong(&error))?;
    let common = match mask.parse::<u8>() {
        Ok(length) => Ipv4Prefix::new(Ipv4Addr::UNSPECIFIED, length)
            .ok_or_else(|| wrong(&"the length of an IPv4 mask is 0 to 32"))?,
        Err(_) => mask.parse().map_err(|error| wrong(&error))?,
    };
    Domain::long(prefix, common).map_err(|error| wrong(&error))
}
