//! The options of an IPv4 header. [RFC 791 §3.1]

use core::iter::FusedIterator;

use super::error;
use crate::error::{ParseError, ParseErrorKind};

/// The end of the list: what follows is padding.
const END: u8 = 0;
/// No operation: one byte alone.
const NO_OPERATION: u8 = 1;
/// Record Route.
pub(crate) const RECORD_ROUTE: u8 = 7;
/// Timestamp.
pub(crate) const TIMESTAMP: u8 = 68;
/// Loose Source and Record Route.
pub(crate) const LOOSE_SOURCE_ROUTE: u8 = 131;
/// The security label of CIPSO.
pub(crate) const CIPSO: u8 = 134;
/// Strict Source and Record Route.
pub(crate) const STRICT_SOURCE_ROUTE: u8 = 137;
/// Router Alert. [RFC 2113]
pub(crate) const ROUTER_ALERT: u8 = 148;

/// One option that has a length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RawOption<'a> {
    /// Copied flag, class and number.
    pub(crate) kind: u8,
    /// All of it: type, length and data.
    pub(crate) bytes: &'a [u8],
}

impl RawOption<'_> {
    /// Whether it says by which routers the packet goes.
    pub(crate) fn is_source_route(&self) -> bool {
        matches!(self.kind, LOOSE_SOURCE_ROUTE | STRICT_SOURCE_ROUTE)
    }
}

/// The options of a header, one after the other, without No Operation: a fused
/// iterator. The first error ends it, and so does End of Option List.
#[derive(Clone, Debug)]
pub(crate) struct Options<'a> {
    rest: &'a [u8],
    /// Bytes of header with all options.
    end: usize,
}

impl<'a> Options<'a> {
    /// The options in `bytes`, which follow the 20 bytes of every header.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Options { rest: bytes, end: super::HEADER_LEN.saturating_add(bytes.len()) }
    }
}

impl<'a> Iterator for Options<'a> {
    type Item = Result<RawOption<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        while let [NO_OPERATION, rest @ ..] = self.rest {
            self.rest = rest;
        }
        let at = self.end.saturating_sub(self.rest.len());
        let (&kind, len) = match self.rest {
            [] | [END, ..] => {
                self.rest = &[];
                return None;
            }
            [kind] => (kind, 0),
            [kind, len, ..] => (kind, *len),
        };
        match self.rest.split_at_checked(len.into()) {
            Some((bytes, rest)) if len >= 2 => {
                self.rest = rest;
                Some(Ok(RawOption { kind, bytes }))
            }
            _ => {
                let kind =
                    if self.rest.len() > 1 && len < 2 { ParseErrorKind::Length } else { ParseErrorKind::Truncated };
                self.rest = &[];
                Some(Err(error(kind, at)))
            }
        }
    }
}

impl FusedIterator for Options<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn read(bytes: &[u8]) -> Vec<Result<&[u8], (ParseErrorKind, usize)>> {
        Options::new(bytes)
            .map(|option| option.map(|option| option.bytes).map_err(|error| (error.kind, error.offset)))
            .collect()
    }

    #[test]
    fn options_come_one_by_one_until_the_end_of_the_list() {
        assert_eq!(read(&[]), []);
        assert_eq!(read(&[1, 1, 1, 1]), []);
        assert_eq!(read(&[0, 7, 0, 0]), [], "behind the end is padding, whatever it holds");
        assert_eq!(
            read(&[1, 148, 4, 0, 0, 7, 3, 4, 7, 3, 8, 0]),
            [Ok(&[148, 4, 0, 0][..]), Ok(&[7, 3, 4]), Ok(&[7, 3, 8])],
            "repeats survive"
        );
        assert_eq!(read(&[222, 2, 30, 2]), [Ok(&[222, 2][..]), Ok(&[30, 2])], "types that nobody knows");
    }

    #[test]
    fn tun_11_options_of_impossible_lengths_end_the_walk() {
        assert_eq!(read(&[222, 0, 1, 1]), [Err((ParseErrorKind::Length, 20))]);
        assert_eq!(read(&[1, 222, 1, 1]), [Err((ParseErrorKind::Length, 21))]);
        assert_eq!(read(&[1, 222, 4, 1]), [Err((ParseErrorKind::Truncated, 21))]);
        assert_eq!(read(&[1, 1, 1, 222]), [Err((ParseErrorKind::Truncated, 23))], "no room for a length");
        assert_eq!(
            read(&[30, 2, 222, 3, 0, 1, 1, 222]),
            [Ok(&[30, 2][..]), Ok(&[222, 3, 0]), Err((ParseErrorKind::Truncated, 27))]
        );
    }
}
