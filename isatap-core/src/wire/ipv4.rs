//! The IPv4 header. [RFC 791 §3.1]

pub(crate) mod options;

use core::net::Ipv4Addr;

use self::options::Options;
use super::checksum::{self, Sum};
use super::field::{ipv4_at, u8_at, u16_at};
use crate::error::{Layer, ParseError, ParseErrorKind};

/// Bytes of a header without options.
pub const HEADER_LEN: usize = 20;

/// An IPv4 header over the bytes it was found in.
#[derive(Clone, Copy, Debug)]
pub struct Header<'a> {
    fixed: &'a [u8; HEADER_LEN],
    options: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    /// The header at the start of `packet`. Bytes behind the total length are
    /// ignored.
    ///
    /// # Errors
    /// Too few bytes for the header, its options or the total length; another
    /// version; impossible lengths. The checksum is not looked at: see
    /// [`Header::is_checksum_valid`].
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        let header = Header::parse_quoted(packet)?;
        let total = usize::from(header.total_length());
        let payload_len = total.checked_sub(header.header_len()).ok_or(error(ParseErrorKind::Length, 2))?;
        let payload = header.payload.get(..payload_len).ok_or(error(ParseErrorKind::Truncated, packet.len()))?;
        Ok(Header { payload, ..header })
    }

    /// The header of a packet of which only the beginning is there, as an
    /// ICMPv4 error quotes it: the total length is not compared with what is
    /// there.
    ///
    /// # Errors
    /// As [`Header::parse`], without the total length.
    pub fn parse_quoted(packet: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, rest) =
            packet.split_first_chunk::<HEADER_LEN>().ok_or(error(ParseErrorKind::Truncated, packet.len()))?;
        let first = u8_at::<0, HEADER_LEN>(fixed);
        if first >> 4 != 4 {
            return Err(error(ParseErrorKind::Version, 0));
        }
        let options_len = header_len(first).checked_sub(HEADER_LEN).ok_or(error(ParseErrorKind::Length, 0))?;
        let (options, payload) =
            rest.split_at_checked(options_len).ok_or(error(ParseErrorKind::Truncated, packet.len()))?;
        Ok(Header { fixed, options, payload })
    }

    /// Bytes of the header with its options: 20 to 60.
    #[must_use]
    pub fn header_len(&self) -> usize {
        header_len(u8_at::<0, HEADER_LEN>(self.fixed))
    }

    /// DSCP (upper 6 bits) and ECN (lower 2).
    #[must_use]
    pub fn tos(&self) -> u8 {
        u8_at::<1, HEADER_LEN>(self.fixed)
    }

    /// Bytes of header and payload.
    #[must_use]
    pub fn total_length(&self) -> u16 {
        u16_at::<2, HEADER_LEN>(self.fixed)
    }

    /// What fragments of one datagram have in common.
    #[must_use]
    pub fn identification(&self) -> u16 {
        u16_at::<4, HEADER_LEN>(self.fixed)
    }

    /// Whether routers must not fragment.
    #[must_use]
    pub fn dont_fragment(&self) -> bool {
        u16_at::<6, HEADER_LEN>(self.fixed) & DONT_FRAGMENT != 0
    }

    /// Whether fragments follow.
    #[must_use]
    pub fn more_fragments(&self) -> bool {
        u16_at::<6, HEADER_LEN>(self.fixed) & MORE_FRAGMENTS != 0
    }

    /// Where the payload belongs in the datagram, in units of 8 bytes.
    #[must_use]
    pub fn fragment_offset(&self) -> u16 {
        u16_at::<6, HEADER_LEN>(self.fixed) & OFFSET_MASK
    }

    /// Whether this is a fragment: not the first or not the last part.
    #[must_use]
    pub fn is_fragment(&self) -> bool {
        u16_at::<6, HEADER_LEN>(self.fixed) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Hops left.
    #[must_use]
    pub fn ttl(&self) -> u8 {
        u8_at::<8, HEADER_LEN>(self.fixed)
    }

    /// The payload's [`protocol`](super::protocol).
    #[must_use]
    pub fn protocol(&self) -> u8 {
        u8_at::<9, HEADER_LEN>(self.fixed)
    }

    /// The checksum field.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at::<10, HEADER_LEN>(self.fixed)
    }

    /// The source address.
    #[must_use]
    pub fn source(&self) -> Ipv4Addr {
        ipv4_at::<12, HEADER_LEN>(self.fixed)
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> Ipv4Addr {
        ipv4_at::<16, HEADER_LEN>(self.fixed)
    }

    /// The options, padded to a multiple of 4 bytes.
    #[must_use]
    pub fn options(&self) -> &'a [u8] {
        self.options
    }

    /// Whether a source route is among the options, pending or done.
    #[must_use]
    pub fn is_source_routed(&self) -> bool {
        Options::new(self.options).flatten().any(|option| option.is_source_route())
    }

    /// What follows the header, up to the total length.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Whether the header checksum holds, options included.
    #[must_use]
    pub fn is_checksum_valid(&self) -> bool {
        Sum::ZERO.bytes(self.fixed).bytes(self.options).is_valid()
    }

    /// The fields to be sent again; options are left out.
    #[must_use]
    pub fn fields(&self) -> Fields {
        Fields {
            tos: self.tos(),
            payload_len: self.total_length().saturating_sub(u16::try_from(self.header_len()).unwrap_or(u16::MAX)),
            identification: self.identification(),
            dont_fragment: self.dont_fragment(),
            more_fragments: self.more_fragments(),
            fragment_offset: self.fragment_offset(),
            ttl: self.ttl(),
            protocol: self.protocol(),
            source: self.source(),
            destination: self.destination(),
        }
    }
}

/// The fields of an IPv4 header without options, to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fields {
    /// DSCP (upper 6 bits) and ECN (lower 2).
    pub tos: u8,
    /// Bytes behind the header, at most 65515.
    pub payload_len: u16,
    /// What fragments of one datagram have in common.
    pub identification: u16,
    /// Whether routers must not fragment.
    pub dont_fragment: bool,
    /// Whether fragments follow.
    pub more_fragments: bool,
    /// Where the payload belongs in the datagram, in units of 8 bytes, at
    /// most 8191.
    pub fragment_offset: u16,
    /// Hops left.
    pub ttl: u8,
    /// The payload's [`protocol`](super::protocol).
    pub protocol: u8,
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
}

impl Fields {
    /// The header on the wire, its checksum right. Values beyond their field
    /// are cut: the total length saturates, the offset loses upper bits.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let [len_high, len_low] = self.payload_len.saturating_add(20).to_be_bytes();
        let [id_high, id_low] = self.identification.to_be_bytes();
        let mut fragment = self.fragment_offset & OFFSET_MASK;
        if self.dont_fragment {
            fragment |= DONT_FRAGMENT;
        }
        if self.more_fragments {
            fragment |= MORE_FRAGMENTS;
        }
        let [fragment_high, fragment_low] = fragment.to_be_bytes();
        let [a, b, c, d] = self.source.octets();
        let [e, f, g, h] = self.destination.octets();
        let mut bytes = [
            0x45,
            self.tos,
            len_high,
            len_low,
            id_high,
            id_low,
            fragment_high,
            fragment_low,
            self.ttl,
            self.protocol,
            0,
            0,
            a,
            b,
            c,
            d,
            e,
            f,
            g,
            h,
        ];
        let checksum = checksum::checksum(&bytes);
        let [_, _, _, _, _, _, _, _, _, _, sum_high, sum_low, ..] = &mut bytes;
        [*sum_high, *sum_low] = checksum.to_be_bytes();
        bytes
    }
}

/// Don't-fragment flag in the field that also holds the fragment offset.
pub(crate) const DONT_FRAGMENT: u16 = 0x4000;
/// More-fragments flag.
pub(crate) const MORE_FRAGMENTS: u16 = 0x2000;
/// The fragment offset.
pub(crate) const OFFSET_MASK: u16 = 0x1fff;

/// Bytes of the header that starts with `first`: IHL counts 4 bytes.
#[inline]
pub(crate) fn header_len(first: u8) -> usize {
    usize::from((first & 0x0f) << 2)
}

fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Ipv4, kind, offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;

    const MINIMAL: &str = "45 00 00 3c 00 00 00 00 40 29 8e 63 c0 00 02 01 c6 33 64 01";

    proptest! {
        #[test]
        fn parsing_undoes_emitting(
            (tos, payload_len, identification, dont_fragment, more_fragments) in any::<(u8, u16, u16, bool, bool)>(),
            (fragment_offset, ttl, protocol, source, destination) in any::<(u16, u8, u8, u32, u32)>(),
        ) {
            let fields = Fields {
                tos, payload_len: payload_len.min(65515), identification, dont_fragment, more_fragments,
                fragment_offset: fragment_offset & 0x1fff, ttl, protocol,
                source: source.into(), destination: destination.into(),
            };
            let bytes = fields.to_bytes();
            let header = Header::parse_quoted(&bytes).unwrap();
            prop_assert_eq!(header.fields(), fields);
            prop_assert!(header.is_checksum_valid());
            prop_assert_eq!(header.is_fragment(), more_fragments || fields.fragment_offset != 0);
            prop_assert_eq!(usize::from(header.total_length()), HEADER_LEN + usize::from(fields.payload_len));
        }

        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Ok(header) = Header::parse(&bytes) {
                prop_assert_eq!(usize::from(header.total_length()), header.header_len() + header.payload().len());
                prop_assert_eq!(header.options().len() + HEADER_LEN, header.header_len());
            }
        }
    }

    #[test]
    fn the_minimal_packet_cut_at_every_length() {
        let mut packet = hex(MINIMAL);
        packet.resize(70, 0);
        for len in 0..60 {
            let error = Header::parse(&packet[..len]).unwrap_err();
            assert_eq!((error.kind, error.offset), (ParseErrorKind::Truncated, len));
        }
        for len in 60..70 {
            assert_eq!(Header::parse(&packet[..len]).unwrap().payload().len(), 40);
        }
        assert_eq!(Header::parse(&packet).unwrap().fields().to_bytes(), packet[..20]);
    }

    #[test]
    fn tun_11_lengths_and_versions_that_are_impossible() {
        let mut packet = hex(MINIMAL);
        packet.resize(60, 0);
        packet[0] = 0x44;
        assert_eq!(Header::parse(&packet).unwrap_err().kind, ParseErrorKind::Length);
        packet[0] = 0x65;
        assert_eq!(Header::parse(&packet).unwrap_err().kind, ParseErrorKind::Version);
        packet[0] = 0x4f;
        packet[3] = 59;
        assert_eq!(Header::parse(&packet).unwrap_err().kind, ParseErrorKind::Length);
        packet[3] = 60;
        assert_eq!(Header::parse(&packet).unwrap().payload(), []);
    }
}
