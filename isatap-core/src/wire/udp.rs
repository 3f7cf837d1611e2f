//! The UDP header. [RFC 768, RFC 8200 §8.1]

use core::net::Ipv4Addr;

use super::checksum::{self, Sum};
use super::field::u16_at;
use super::protocol;
use crate::error::{Layer, ParseError, ParseErrorKind};

/// Bytes of the header.
pub const HEADER_LEN: usize = 8;

/// A UDP header over the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_LEN],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at the start of an IP payload. Bytes behind UDP's own
    /// length are ignored.
    ///
    /// # Errors
    /// Too few bytes for the header or for the length it states; a length
    /// below 8. Length 0 (a jumbogram) is one of these.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, ParseError> {
        let truncated = error(ParseErrorKind::Truncated, datagram.len());
        let (fixed, rest) = datagram.split_first_chunk::<HEADER_LEN>().ok_or(truncated)?;
        let len = usize::from(u16_at::<4, HEADER_LEN>(fixed));
        let payload_len = len.checked_sub(HEADER_LEN).ok_or(error(ParseErrorKind::Length, 4))?;
        let payload = rest.get(..payload_len).ok_or(truncated)?;
        Ok(Header { fixed, payload })
    }

    /// The source port.
    #[must_use]
    pub fn source(&self) -> u16 {
        u16_at::<0, HEADER_LEN>(self.fixed)
    }

    /// The destination port.
    #[must_use]
    pub fn destination(&self) -> u16 {
        u16_at::<2, HEADER_LEN>(self.fixed)
    }

    /// Bytes of header and payload.
    #[must_use]
    pub fn length(&self) -> u16 {
        u16_at::<4, HEADER_LEN>(self.fixed)
    }

    /// The checksum field; zero: none was sent.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at::<6, HEADER_LEN>(self.fixed)
    }

    /// What follows the header, up to the length.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the checksum holds over IPv4, where it may be absent (zero).
    #[must_use]
    pub fn is_valid_ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        let pseudo = checksum::pseudo_header_ipv4(source, destination, protocol::UDP, self.length());
        self.checksum() == 0 || pseudo.bytes(self.fixed).bytes(self.payload).is_valid()
    }

    /// The ports, to be sent again.
    #[must_use]
    pub fn fields(&self) -> Fields {
        Fields { source: self.source(), destination: self.destination() }
    }
}

/// The ports of a UDP header, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
}

impl Fields {
    /// The header in front of `payload`, sent over IPv4; `None` when the
    /// payload is longer than 65527 bytes.
    #[must_use]
    pub fn to_bytes_ipv4(&self, source: Ipv4Addr, destination: Ipv4Addr, payload: &[u8]) -> Option<[u8; HEADER_LEN]> {
        let length = length(payload)?;
        let pseudo = checksum::pseudo_header_ipv4(source, destination, protocol::UDP, length);
        Some(self.to_bytes(pseudo, length, payload))
    }

    fn to_bytes(self, pseudo: Sum, length: u16, payload: &[u8]) -> [u8; HEADER_LEN] {
        let sum = pseudo.u16(self.source).u16(self.destination).u16(length).bytes(payload);
        // [RFC 768]: a computed zero is sent as all ones, which is the same
        // number; zero means that no checksum was computed.
        let checksum = match sum.checksum() {
            0 => 0xffff,
            other => other,
        };
        let [a, b] = self.source.to_be_bytes();
        let [c, d] = self.destination.to_be_bytes();
        let [e, f] = length.to_be_bytes();
        let [g, h] = checksum.to_be_bytes();
        [a, b, c, d, e, f, g, h]
    }
}

fn length(payload: &[u8]) -> Option<u16> {
    u16::try_from(payload.len()).ok()?.checked_add(8)
}

fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Udp, kind, offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    fn datagram(header: [u8; 8], payload: &[u8]) -> Vec<u8> {
        [&header, payload].concat()
    }

    proptest! {
        #[test]
        fn parsing_undoes_emitting(
            (source, destination, from, to) in any::<(u16, u16, u32, u32)>(),
            payload in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let fields = Fields { source, destination };
            let (from, to) = (Ipv4Addr::from(from), Ipv4Addr::from(to));
            let mut bytes = datagram(fields.to_bytes_ipv4(from, to, &payload).unwrap(), &payload);
            bytes.push(0);
            let header = Header::parse(&bytes).unwrap();
            prop_assert_eq!(header.fields(), fields);
            prop_assert_eq!(header.payload(), payload.as_slice());
            prop_assert!(header.is_valid_ipv4(from, to));
            prop_assert!(header.checksum() != 0);
            for len in 0..8 + payload.len() {
                prop_assert_eq!(Header::parse(&bytes[..len]).unwrap_err().kind, ParseErrorKind::Truncated);
            }
        }
    }

    #[test]
    fn a_checksum_of_zero_is_sent_as_ones() {
        let (from, to) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2));
        let fields = Fields { source: 0, destination: 0 };
        // What is missing to a sum of all ones goes into the payload.
        let payload = fields.to_bytes_ipv4(from, to, &[0, 0]).unwrap()[6..].to_vec();
        let bytes = datagram(fields.to_bytes_ipv4(from, to, &payload).unwrap(), &payload);
        let header = Header::parse(&bytes).unwrap();
        assert_eq!(header.checksum(), 0xffff);
        assert!(header.is_valid_ipv4(from, to));
    }

    #[test]
    fn an_absent_checksum_is_valid() {
        let bytes = [0, 1, 0, 2, 0, 9, 0, 0, 0xaa];
        let header = Header::parse(&bytes).unwrap();
        assert!(header.is_valid_ipv4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST));
    }

    #[test]
    fn lengths_that_are_impossible() {
        assert_eq!(Header::parse(&[0, 1, 0, 2, 0, 7, 0, 0]).unwrap_err().kind, ParseErrorKind::Length);
        assert_eq!(Header::parse(&[0; 8]).unwrap_err().kind, ParseErrorKind::Length);
        let fields = Fields { source: 1, destination: 2 };
        let longest = vec![0; 65528];
        assert!(fields.to_bytes_ipv4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, &longest).is_none());
        assert!(fields.to_bytes_ipv4(Ipv4Addr::LOCALHOST, Ipv4Addr::LOCALHOST, &longest[1..]).is_some());
    }
}
