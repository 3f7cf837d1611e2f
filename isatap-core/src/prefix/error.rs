//! Why a text is no prefix, and what to write instead.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::str::FromStr;

use super::{Ipv4Prefix, Ipv6Prefix};
use crate::error::ParseErrorKind;

/// Text that is no prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct PrefixError {
    /// What is wrong.
    pub kind: ParseErrorKind,
    /// Where: the first byte that does not fit, or the end of a text that ends too early.
    pub offset: usize,
    hint: Hint,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Hint {
    /// The prefix that was likely meant.
    Write(IpAddr, u8),
    /// Any prefix.
    Example(IpAddr, u8),
    /// The longest there is.
    Most(u8),
}

impl PrefixError {
    /// The address in front of the slash, what stands behind, and where that is.
    /// `usual` is the length to propose.
    pub(super) fn split<A: FromStr + Into<IpAddr> + Copy>(
        text: &str,
        usual: u8,
    ) -> Result<(A, &str, usize), PrefixError> {
        let no_address = |kind, offset| {
            let hint = if usual > 32 {
                Hint::Example(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0)), usual)
            } else {
                Hint::Example(IpAddr::V4(Ipv4Addr::new(10, 0, 0, 0)), usual)
            };
            PrefixError { kind, offset, hint }
        };
        let Some((address, len)) = text.split_once('/') else {
            let missing = ParseErrorKind::Truncated;
            return Err(match text.parse::<A>() {
                Ok(address) => PrefixError::proposing(missing, text.len(), address.into(), usual),
                Err(_) => no_address(missing, text.len()),
            });
        };
        let at = address.len().saturating_add(1);
        if len.is_empty() || !len.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(PrefixError::length(at, if usual > 32 { 128 } else { 32 }));
        }
        let address = address.parse().map_err(|_| no_address(ParseErrorKind::Value, 0))?;
        Ok((address, len, at))
    }

    pub(super) const fn length(offset: usize, most: u8) -> Self {
        PrefixError { kind: ParseErrorKind::Length, offset, hint: Hint::Most(most) }
    }

    pub(super) const fn bits(offset: usize, address: IpAddr, len: u8) -> Self {
        PrefixError { kind: ParseErrorKind::Value, offset, hint: Hint::Write(address, len) }
    }

    fn proposing(kind: ParseErrorKind, offset: usize, address: IpAddr, len: u8) -> Self {
        let first = match address {
            IpAddr::V4(address) => Ipv4Prefix::new(address, len).map(|prefix| IpAddr::V4(prefix.address())),
            IpAddr::V6(address) => Ipv6Prefix::new(address, len).map(|prefix| IpAddr::V6(prefix.address())),
        };
        PrefixError { kind, offset, hint: Hint::Write(first.unwrap_or(address), len) }
    }
}

impl fmt::Display for PrefixError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let family = |address: IpAddr| if address.is_ipv4() { "IPv4" } else { "IPv6" };
        match self.hint {
            Hint::Most(most) => write!(f, "the length behind the slash is 0 to {most}"),
            Hint::Write(address, len) if self.kind == ParseErrorKind::Truncated => {
                write!(f, "the length is missing: for example, write {address}/{len}")
            }
            Hint::Write(address, len) => write!(f, "has bits behind its length: write {address}/{len}"),
            Hint::Example(address, len) => {
                write!(f, "an {} prefix was expected: write one as {address}/{len}", family(address))
            }
        }
    }
}

impl core::error::Error for PrefixError {}
