//! What can be asked about.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::addr::Domain;

/// Something to explain, as text says it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Target {
    /// An address; in brackets and with a zone, if someone likes.
    Address(IpAddr),
    /// An address and a prefix length. Bits behind the length may be set.
    Prefix(IpAddr, u8),
    /// `0x…`: the bytes of an IP packet.
    Packet(Vec<u8>),
    /// Any other text: a file, which should be a capture.
    Capture(PathBuf),
}

impl FromStr for Target {
    type Err = TargetError;

    /// Reads a target. Whether a file is there is not looked at.
    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if let Some(digits) = text.strip_prefix("0x").or(text.strip_prefix("0X")) {
            return hex(digits).map(Target::Packet);
        }
        if let Some(address) = address(text) {
            return Ok(Target::Address(address));
        }
        if let Some((before, length)) = text.split_once('/')
            && let Some(address) = address(before)
        {
            let most = if address.is_ipv4() { 32 } else { 128 };
            return match length.parse::<u8>() {
                Ok(len) if len <= most && !length.starts_with('+') => Ok(Target::Prefix(address, len)),
                _ => Err(TargetError(format!("{text}: a prefix length of 0 to {most} was expected behind the slash"))),
            };
        }
        if text.is_empty() || text.contains('\0') {
            return Err(TargetError::not_one(text));
        }
        Ok(Target::Capture(PathBuf::from(text)))
    }
}

/// Text that is no target; says what was expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetError(pub(super) String);

impl TargetError {
    /// `text` is neither of all that can be explained.
    #[must_use]
    pub fn not_one(text: &str) -> Self {
        TargetError(format!(
            "{text:?} is nothing that can be explained: give an address, a prefix, 0x and packet bytes, \
             a pcap or pcapng file, or - for one of these a line"
        ))
    }
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TargetError {}

fn address(text: &str) -> Option<IpAddr> {
    let text = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    match text.split_once('%') {
        Some((address, zone)) if !zone.is_empty() => address.parse().ok().map(IpAddr::V6),
        _ => text.parse().ok(),
    }
}

fn hex(digits: &str) -> Result<Vec<u8>, TargetError> {
    let digits: Vec<char> = digits.chars().filter(|c| !c.is_whitespace() && *c != ':').collect();
    let values: Option<Vec<u32>> = digits.iter().map(|digit| digit.to_digit(16)).collect();
    let bytes = values.filter(|values| values.len() % 2 == 0 && !values.is_empty());
    let bytes = bytes
        .map(|values| values.chunks_exact(2).map(|pair| u8::try_from(pair[0] << 4 | pair[1]).unwrap_or(0)).collect());
    bytes.ok_or_else(|| {
        let shown: String = digits.iter().take(20).collect();
        TargetError(format!("0x{shown}…: an even number of hexadecimal digits was expected"))
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
