//! ICMP for IPv4: the errors that a tunnel receives, and echo. [RFC 792]

use super::checksum::{self, Sum};
use super::field::{u8_at, u16_at};
use crate::error::{Layer, ParseError, ParseErrorKind};

/// Bytes in front of the quote or the echo data.
pub const HEADER_LEN: usize = 8;

/// An ICMPv4 message whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    fixed: &'a [u8; HEADER_LEN],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// Type of the answer to an echo request.
    pub const ECHO_REPLY: u8 = 0;
    /// Type of an error: the destination cannot be reached.
    pub const DESTINATION_UNREACHABLE: u8 = 3;
    /// Type of an error: slow down. Deprecated by RFC 6633.
    pub const SOURCE_QUENCH: u8 = 4;
    /// Type of a hint to use another router.
    pub const REDIRECT: u8 = 5;
    /// Type of a request to answer.
    pub const ECHO_REQUEST: u8 = 8;
    /// Type of an error: TTL or reassembly time used up.
    pub const TIME_EXCEEDED: u8 = 11;
    /// Type of an error: a field is not understood.
    pub const PARAMETER_PROBLEM: u8 = 12;

    /// Code of type 3: larger than the next link's MTU, and DF set.
    pub const FRAGMENTATION_NEEDED: u8 = 4;
    /// Code of type 3: the source route failed.
    pub const SOURCE_ROUTE_FAILED: u8 = 5;

    /// The message that is the whole payload of an IPv4 packet.
    ///
    /// # Errors
    /// Fewer than 8 bytes; a checksum that does not hold.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ParseError> {
        let (fixed, body) =
            bytes.split_first_chunk::<HEADER_LEN>().ok_or(error(ParseErrorKind::Truncated, bytes.len()))?;
        if !Sum::ZERO.bytes(bytes).is_valid() {
            return Err(error(ParseErrorKind::Checksum, 2));
        }
        Ok(Message { fixed, body })
    }

    /// The message's type.
    #[must_use]
    pub fn message_type(&self) -> u8 {
        u8_at::<0, HEADER_LEN>(self.fixed)
    }

    /// The message's code.
    #[must_use]
    pub fn code(&self) -> u8 {
        u8_at::<1, HEADER_LEN>(self.fixed)
    }

    /// The checksum field.
    #[must_use]
    pub fn checksum(&self) -> u16 {
        u16_at::<2, HEADER_LEN>(self.fixed)
    }

    /// The next link's MTU in an error of type 3 code 4; zero from routers
    /// older than RFC 1191.
    #[must_use]
    pub fn next_hop_mtu(&self) -> u16 {
        u16_at::<6, HEADER_LEN>(self.fixed)
    }

    /// Identifier and sequence number of an echo.
    #[must_use]
    pub fn echo(&self) -> (u16, u16) {
        (u16_at::<4, HEADER_LEN>(self.fixed), u16_at::<6, HEADER_LEN>(self.fixed))
    }

    /// What follows the first 8 bytes.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.body
    }

    /// The packet that an error quotes, without the extensions that may
    /// follow it. [RFC 4884 §4]
    #[must_use]
    pub fn quote(&self) -> &'a [u8] {
        let words = match self.message_type() {
            Message::DESTINATION_UNREACHABLE | Message::TIME_EXCEEDED | Message::PARAMETER_PROBLEM => {
                usize::from(u8_at::<5, HEADER_LEN>(self.fixed))
            }
            _ => 0,
        };
        match words.saturating_mul(4) {
            // The field was unused before RFC 4884.
            0 => self.body,
            len => self.body.get(..len).unwrap_or(self.body),
        }
    }
}

/// The first 8 bytes of a message in front of `body`, the checksum right.
/// `data` are the four bytes whose meaning depends on the type.
#[must_use]
pub fn header(message_type: u8, code: u8, data: [u8; 4], body: &[u8]) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = data;
    let sum = Sum::ZERO.u16(u16::from_be_bytes([message_type, code])).u32(u32::from_be_bytes(data)).bytes(body);
    let [high, low] = sum.checksum().to_be_bytes();
    [message_type, code, high, low, a, b, c, d]
}

/// Turns an echo request into its answer.
///
/// # Errors
/// It is no echo request with a right checksum; the bytes are unchanged.
pub fn echo_reply_in_place(message: &mut [u8]) -> Result<(), ParseError> {
    let request = Message::parse(message)?;
    if request.message_type() != Message::ECHO_REQUEST {
        return Err(error(ParseErrorKind::Type, 0));
    }
    let old = u16::from_be_bytes([Message::ECHO_REQUEST, request.code()]);
    let [high, low] = checksum::update(request.checksum(), old, 0).to_be_bytes();
    if let Some(start) = message.first_chunk_mut::<4>() {
        *start = [Message::ECHO_REPLY, 0, high, low];
    }
    Ok(())
}

fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Icmpv4, kind, offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;
    use std::vec;

    /// Fragmentation needed, next-hop MTU 1300.
    const TOO_BIG: &str = "03045ca7000005144500003c0000000040298e63c0000201c63364016000000000003b40";

    #[test]
    fn tun_41_fragmentation_needed() {
        let bytes = hex(TOO_BIG);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!((message.message_type(), message.code(), message.next_hop_mtu()), (3, 4, 1300));
        assert_eq!(message.quote(), &bytes[8..]);
        assert_eq!(header(3, 4, [0, 0, 5, 0x14], &bytes[8..]), bytes[..8]);
        for len in 0..bytes.len() {
            assert!(Message::parse(&bytes[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn extensions_are_not_part_of_the_quote() {
        let mut body = vec![0x45; 128];
        body.extend_from_slice(&[0x20, 0, 0, 0]);
        let bytes = [&header(3, 4, [0, 32, 5, 0x14], &body)[..], &body].concat();
        assert_eq!(Message::parse(&bytes).unwrap().quote().len(), 128);
        // A length that is not there, and one of a type that has none.
        let bytes = [&header(3, 4, [0, 34, 5, 0x14], &body)[..], &body].concat();
        assert_eq!(Message::parse(&bytes).unwrap().quote().len(), 132);
        let bytes = [&header(4, 0, [0, 32, 0, 0], &body)[..], &body].concat();
        assert_eq!(Message::parse(&bytes).unwrap().quote().len(), 132);
    }

    proptest! {
        #[test]
        fn an_echo_comes_back(data: [u8; 4], body in prop::collection::vec(any::<u8>(), 0..50)) {
            let mut bytes = [&header(8, 0, data, &body)[..], &body].concat();
            echo_reply_in_place(&mut bytes).unwrap();
            let reply = Message::parse(&bytes).unwrap();
            prop_assert_eq!((reply.message_type(), reply.code()), (0, 0));
            prop_assert_eq!(reply.echo().0, u16::from_be_bytes([data[0], data[1]]));
            prop_assert_eq!(reply.body(), body.as_slice());
            prop_assert_eq!(echo_reply_in_place(&mut bytes).unwrap_err().kind, ParseErrorKind::Type);
        }
    }
}
