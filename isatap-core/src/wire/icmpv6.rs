//! ICMPv6: the frame, its checksum, echo and errors. [RFC 4443]
//!
//! Neighbor Discovery messages share the frame; their bodies are elsewhere.

use core::fmt;
use core::net::Ipv6Addr;

use super::field::{Writer, bytes_at, u8_at, u16_at, u32_at};
use super::{checksum, ipv6, protocol};
use crate::error::{EmitError, Layer, ParseError, ParseErrorKind};
use crate::packet::PacketMut;

/// Bytes in front of every message's body: type, code, checksum and the four
/// bytes whose meaning depends on the type.
pub const HEADER_LEN: usize = 8;

/// The most bytes of an error, IPv6 header included. [RFC 4443 §2.4 (c)]
pub const MAX_ERROR_LEN: usize = 1280;

/// The hop limit of what this module sends.
pub const HOP_LIMIT: u8 = 64;

/// An ICMPv6 message whose checksum holds.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    fixed: &'a [u8; HEADER_LEN],
    bytes: &'a [u8],
}

impl<'a> Message<'a> {
    /// Type of an error: the destination cannot be reached.
    pub const DESTINATION_UNREACHABLE: u8 = 1;
    /// Type of an error: larger than the next link's MTU.
    pub const PACKET_TOO_BIG: u8 = 2;
    /// Type of an error: hop limit or reassembly time used up.
    pub const TIME_EXCEEDED: u8 = 3;
    /// Type of an error: a field is not understood.
    pub const PARAMETER_PROBLEM: u8 = 4;
    /// Type of a request to answer.
    pub const ECHO_REQUEST: u8 = 128;
    /// Type of the answer to an echo request.
    pub const ECHO_REPLY: u8 = 129;
    /// Type of a Router Solicitation. [RFC 4861 §4.1]
    pub const ROUTER_SOLICITATION: u8 = 133;
    /// Type of a Router Advertisement. [RFC 4861 §4.2]
    pub const ROUTER_ADVERTISEMENT: u8 = 134;
    /// Type of a Neighbor Solicitation. [RFC 4861 §4.3]
    pub const NEIGHBOR_SOLICITATION: u8 = 135;
    /// Type of a Neighbor Advertisement. [RFC 4861 §4.4]
    pub const NEIGHBOR_ADVERTISEMENT: u8 = 136;
    /// Type of a Redirect. [RFC 4861 §4.5]
    pub const REDIRECT: u8 = 137;

    /// The message that is the whole upper layer of a packet between these
    /// addresses.
    ///
    /// # Errors
    /// Fewer than 8 bytes, which is what the shortest known message has; a
    /// checksum that does not hold.
    pub fn parse(bytes: &'a [u8], source: &Ipv6Addr, destination: &Ipv6Addr) -> Result<Self, ParseError> {
        let fixed = bytes.first_chunk().ok_or(error(ParseErrorKind::Truncated, bytes.len()))?;
        // NDP-1 [RFC 4443 §2.3]: with the field in it the sum is all ones.
        if !pseudo_header(source, destination, bytes.len()).bytes(bytes).is_valid() {
            return Err(error(ParseErrorKind::Checksum, 2));
        }
        Ok(Message { fixed, bytes })
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

    /// The four bytes behind the checksum.
    #[must_use]
    pub fn header_data(&self) -> [u8; 4] {
        bytes_at::<4, 4, HEADER_LEN>(self.fixed)
    }

    /// What follows the first 8 bytes: an error's quote, an echo's data.
    #[must_use]
    pub fn body(&self) -> &'a [u8] {
        self.bytes.get(HEADER_LEN..).unwrap_or(&[])
    }

    /// The whole message.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// Whether the type is an error's: below 128. [RFC 4443 §2.1]
    #[must_use]
    pub fn is_error(&self) -> bool {
        is_error(self.message_type())
    }

    /// What the message means, as far as this module knows.
    #[must_use]
    pub fn kind(&self) -> Kind {
        let code = self.code();
        let word = u32_at::<4, HEADER_LEN>(self.fixed);
        match self.message_type() {
            Message::ECHO_REQUEST => Kind::EchoRequest(self.echo()),
            Message::ECHO_REPLY => Kind::EchoReply(self.echo()),
            Message::DESTINATION_UNREACHABLE => match Unreachable::from_code(code) {
                Some(unreachable) => Kind::Error(ErrorKind::Unreachable(unreachable)),
                None => Kind::Other,
            },
            Message::PACKET_TOO_BIG => Kind::Error(ErrorKind::PacketTooBig { mtu: word }),
            Message::TIME_EXCEEDED if code == 0 => Kind::Error(ErrorKind::HopLimitExceeded),
            Message::TIME_EXCEEDED if code == 1 => Kind::Error(ErrorKind::ReassemblyTimeExceeded),
            Message::PARAMETER_PROBLEM => Kind::Error(ErrorKind::ParameterProblem { code, pointer: word }),
            _ => Kind::Other,
        }
    }

    fn echo(&self) -> Echo {
        Echo { identifier: u16_at::<4, HEADER_LEN>(self.fixed), sequence: u16_at::<6, HEADER_LEN>(self.fixed) }
    }
}

/// What an ICMPv6 message means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// A request to answer; its data is [`Message::body`].
    EchoRequest(Echo),
    /// The answer to one.
    EchoReply(Echo),
    /// An error about the packet whose beginning is [`Message::body`].
    Error(ErrorKind),
    /// Another message; its type says which. `NDP-69 [RFC 4443 §2.4 (a), (b)]`:
    /// an error goes to the upper layer, an informational one is discarded.
    Other,
}

/// What tells one echo from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Echo {
    /// Chosen by the requester.
    pub identifier: u16,
    /// Counted by the requester.
    pub sequence: u16,
}

impl Echo {
    /// Puts an echo request with `data` into `packet`, IPv6 header included.
    ///
    /// # Errors
    /// The buffer is too short; the packet is then empty.
    pub fn request(
        self,
        packet: &mut PacketMut<'_>,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        data: &[u8],
    ) -> Result<(), EmitError> {
        packet.write_with(|writer| {
            writer.u8(Message::ECHO_REQUEST);
            writer.zeros(3);
            writer.u16(self.identifier);
            writer.u16(self.sequence);
            writer.bytes(data);
        })?;
        enclose(packet, source, destination, HOP_LIMIT)
    }
}

/// An ICMPv6 error. [RFC 4443 §3]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Type 1.
    Unreachable(Unreachable),
    /// Type 2.
    PacketTooBig {
        /// The next link's MTU in bytes, at least 1280.
        mtu: u32,
    },
    /// Type 3 code 0.
    HopLimitExceeded,
    /// Type 3 code 1.
    ReassemblyTimeExceeded,
    /// Type 4.
    ParameterProblem {
        /// 0 erroneous field, 1 unknown next header, 2 unknown option.
        code: u8,
        /// Where in the packet: bytes from its start.
        pointer: u32,
    },
}

impl ErrorKind {
    /// Type, code and the four bytes behind the checksum. `NDP-62`
    #[must_use]
    pub fn to_wire(self) -> (u8, u8, u32) {
        match self {
            ErrorKind::Unreachable(unreachable) => (Message::DESTINATION_UNREACHABLE, unreachable.code(), 0),
            // TUN-33 [RFC 8200 §5]: no link of IPv6 has less.
            ErrorKind::PacketTooBig { mtu } => (Message::PACKET_TOO_BIG, 0, mtu.max(u32::from(ipv6::MINIMUM_MTU))),
            ErrorKind::HopLimitExceeded => (Message::TIME_EXCEEDED, 0, 0),
            ErrorKind::ReassemblyTimeExceeded => (Message::TIME_EXCEEDED, 1, 0),
            ErrorKind::ParameterProblem { code, pointer } => (Message::PARAMETER_PROBLEM, code, pointer),
        }
    }

    /// Whether it may be about a packet to a multicast destination.
    /// [RFC 4443 §2.4 (e.3)]
    fn may_concern_multicast(self) -> bool {
        matches!(self, ErrorKind::PacketTooBig { .. } | ErrorKind::ParameterProblem { code: 2, .. })
    }
}

/// Why a destination cannot be reached: the code of type 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unreachable {
    /// Code 0: no route.
    NoRoute,
    /// Code 1: administratively prohibited.
    Prohibited,
    /// Code 2: beyond the scope of the source address.
    BeyondScope,
    /// Code 3: address unreachable.
    Address,
    /// Code 4: nothing listens on the port.
    Port,
    /// Code 5: the source address failed a policy.
    SourcePolicy,
    /// Code 6: the route says reject.
    RejectRoute,
}

impl Unreachable {
    /// The code on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Unreachable::NoRoute => 0,
            Unreachable::Prohibited => 1,
            Unreachable::BeyondScope => 2,
            Unreachable::Address => 3,
            Unreachable::Port => 4,
            Unreachable::SourcePolicy => 5,
            Unreachable::RejectRoute => 6,
        }
    }

    /// The meaning of a code, if it has one.
    #[must_use]
    pub const fn from_code(code: u8) -> Option<Self> {
        Some(match code {
            0 => Unreachable::NoRoute,
            1 => Unreachable::Prohibited,
            2 => Unreachable::BeyondScope,
            3 => Unreachable::Address,
            4 => Unreachable::Port,
            5 => Unreachable::SourcePolicy,
            6 => Unreachable::RejectRoute,
            _ => return None,
        })
    }
}

/// Why there is no ICMPv6 answer to a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// The packet has no IPv6 header.
    NotIpv6,
    /// It is an ICMPv6 error itself, or too little of it is there to tell.
    AboutAnError,
    /// It is a Redirect.
    AboutARedirect,
    /// Its destination is a multicast group, or not one to answer from.
    MulticastDestination,
    /// Its source is unspecified or a multicast group.
    Source,
    /// It is no echo request, or one in a fragment or with a wrong checksum.
    NotAnEcho,
    /// What happened is not passed on.
    NothingFollows,
    /// The buffer has too little room in front of it.
    NoRoom(EmitError),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::NotIpv6 => "not an IPv6 packet",
            Refusal::AboutAnError => "no error about an ICMPv6 error",
            Refusal::AboutARedirect => "no error about a Redirect",
            Refusal::MulticastDestination => "no answer to a multicast destination",
            Refusal::Source => "the source cannot be answered",
            Refusal::NotAnEcho => "no valid echo request",
            Refusal::NothingFollows => "not passed on",
            Refusal::NoRoom(error) => return fmt::Display::fmt(error, f),
        })
    }
}

impl core::error::Error for Refusal {}

/// Turns a packet into the ICMPv6 error about it: pushes 48 bytes in front
/// and cuts the quote so that no more than 1280 bytes remain. The packet may
/// be only the beginning of one, as an ICMPv4 error quotes it.
///
/// Whose address `source` is, and how many errors a second: the caller's
/// (`NDP-61`, `NDP-64`).
///
/// # Errors
/// The rules forbid an answer, or less than 48 bytes of headroom; the packet
/// is unchanged.
pub fn error_in_place(packet: &mut PacketMut<'_>, source: Ipv6Addr, kind: ErrorKind) -> Result<(), Refusal> {
    let culprit = ipv6::Header::parse_quoted(packet.as_slice()).map_err(|_| Refusal::NotIpv6)?;
    may_be_answered(packet.as_slice(), &culprit, kind)?;
    let destination = culprit.source();

    // NDP-61 [RFC 4443 §2.4 (c)]: as much as fits. Room is asked for first,
    // so that a refusal leaves the packet whole.
    let quote = packet.len().min(QUOTE_LEN);
    let headers = packet.push_front::<HEADERS_LEN>().map_err(Refusal::NoRoom)?;
    let (message_type, code, word) = kind.to_wire();
    let fields = ipv6::Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len: u16::try_from(quote.saturating_add(HEADER_LEN)).unwrap_or(u16::MAX),
        next_header: protocol::ICMPV6,
        hop_limit: HOP_LIMIT,
        source,
        destination,
    };
    let mut writer = Writer::new(headers);
    writer.bytes(&fields.to_bytes());
    writer.bytes(&[message_type, code, 0, 0]);
    writer.u32(word);
    packet.truncate(quote.saturating_add(HEADERS_LEN));
    packet.set_segment_size(None);
    if let Some(message) = packet.as_mut_slice().get_mut(ipv6::HEADER_LEN..) {
        fill_checksum(message, &source, &destination);
    }
    Ok(())
}

/// `NDP-60 [RFC 4443 §2.4 (e)]`
fn may_be_answered(packet: &[u8], culprit: &ipv6::Header<'_>, kind: ErrorKind) -> Result<(), Refusal> {
    let source = culprit.source();
    if source.is_unspecified() || source.is_multicast() {
        return Err(Refusal::Source);
    }
    if culprit.destination().is_multicast() && !kind.may_concern_multicast() {
        return Err(Refusal::MulticastDestination);
    }
    // What cannot be told from an ICMPv6 error is treated as one: two nodes
    // that answer each other's errors do not stop.
    let upper = ipv6::walk(culprit, None).map_err(|_| Refusal::AboutAnError)?;
    if upper.protocol == protocol::ICMPV6 && upper.fragment_offset == 0 {
        match packet.get(upper.offset) {
            Some(&Message::REDIRECT) => return Err(Refusal::AboutARedirect),
            Some(&message_type) if !is_error(message_type) => {}
            _ => return Err(Refusal::AboutAnError),
        }
    }
    Ok(())
}

/// Turns an echo request into its answer, whose source is the address that
/// the request was sent to. Extension headers are not sent back.
///
/// # Errors
/// It is not an echo request with a right checksum, or was sent to a group or
/// from an address that cannot be answered; the packet is unchanged.
pub fn echo_reply_in_place(packet: &mut PacketMut<'_>) -> Result<(), Refusal> {
    let bytes = packet.as_slice();
    let header = ipv6::Header::parse(bytes).map_err(|_| Refusal::NotIpv6)?;
    let (asked, asker) = (header.destination(), header.source());
    if asker.is_unspecified() || asker.is_multicast() {
        return Err(Refusal::Source);
    }
    if asked.is_multicast() || asked.is_unspecified() {
        return Err(Refusal::MulticastDestination);
    }
    let upper = ipv6::upper_layer(bytes).map_err(|_| Refusal::NotAnEcho)?;
    if upper.protocol != protocol::ICMPV6 || upper.fragment_offset != 0 || upper.more_fragments {
        return Err(Refusal::NotAnEcho);
    }
    let message = bytes.get(upper.offset..header.packet_len()).unwrap_or(&[]);
    let message = Message::parse(message, &asker, &asked).map_err(|_| Refusal::NotAnEcho)?;
    if message.message_type() != Message::ECHO_REQUEST || message.code() != 0 {
        return Err(Refusal::NotAnEcho);
    }

    // NDP-65 [RFC 4443 §4.2]: identifier, sequence and data stay where they
    // are. The addresses change places, which the checksum does not notice.
    let old = u16::from_be_bytes([Message::ECHO_REQUEST, 0]);
    let new = u16::from_be_bytes([Message::ECHO_REPLY, 0]);
    let [high, low] = checksum::update(message.checksum(), old, new).to_be_bytes();
    let len = message.as_bytes().len();
    packet.pull_front(upper.offset);
    packet.truncate(len);
    if let Some(start) = packet.as_mut_slice().first_chunk_mut::<4>() {
        *start = [Message::ECHO_REPLY, 0, high, low];
    }
    push_header(packet, asked, asker, HOP_LIMIT).map_err(Refusal::NoRoom)
}

/// Finishes an ICMPv6 message that is the whole packet: writes its checksum
/// and pushes the IPv6 header in front.
///
/// # Errors
/// Less than 40 bytes of headroom or more than 65535 bytes of message; the
/// packet is unchanged but for the checksum.
pub fn enclose(
    packet: &mut PacketMut<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
) -> Result<(), EmitError> {
    fill_checksum(packet.as_mut_slice(), &source, &destination);
    push_header(packet, source, destination, hop_limit)
}

/// Writes the checksum of a message, whatever the field holds. A message
/// without a checksum field stays as it is.
pub fn fill_checksum(message: &mut [u8], source: &Ipv6Addr, destination: &Ipv6Addr) {
    if let Some([_, _, high, low]) = message.first_chunk_mut::<4>() {
        (*high, *low) = (0, 0);
    }
    let sum = pseudo_header(source, destination, message.len()).bytes(message);
    if let Some([_, _, high, low]) = message.first_chunk_mut::<4>() {
        [*high, *low] = sum.checksum().to_be_bytes();
    }
}

/// Bytes of an error in front of the quote.
const HEADERS_LEN: usize = 48;

/// The most bytes that are quoted.
const QUOTE_LEN: usize = MAX_ERROR_LEN.saturating_sub(HEADERS_LEN);

fn push_header(
    packet: &mut PacketMut<'_>,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    hop_limit: u8,
) -> Result<(), EmitError> {
    let len = packet.len();
    let payload_len = u16::try_from(len).map_err(|_| EmitError::new(len, usize::from(u16::MAX)))?;
    let fields = ipv6::Fields {
        traffic_class: 0,
        flow_label: 0,
        payload_len,
        next_header: protocol::ICMPV6,
        hop_limit,
        source,
        destination,
    };
    *packet.push_front()? = fields.to_bytes();
    Ok(())
}

fn pseudo_header(source: &Ipv6Addr, destination: &Ipv6Addr, len: usize) -> checksum::Sum {
    let len = u32::try_from(len).unwrap_or(u32::MAX);
    checksum::pseudo_header_ipv6(source, destination, protocol::ICMPV6, len)
}

/// Whether a type is an error's. [RFC 4443 §2.1]
const fn is_error(message_type: u8) -> bool {
    message_type < 128
}

fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::Icmpv6, kind, offset)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::packet::HEADROOM;
    use crate::wire::hex;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// An echo request of an ISATAP host.
    const REQUEST: &str = "6000000000103a40 20010db80000000700005efe0a000002 20010db8000100000000000000000001
        800029a2000100016162636465666768";

    fn router() -> Ipv6Addr {
        "fe80::5efe:a00:2".parse().unwrap()
    }

    /// What `act` makes of a packet in a buffer with headroom.
    fn with_packet<T>(bytes: &[u8], act: impl FnOnce(&mut PacketMut<'_>) -> T) -> (T, Vec<u8>) {
        let mut buffer = vec![0xee; HEADROOM + bytes.len()];
        buffer[HEADROOM..].copy_from_slice(bytes);
        let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + bytes.len()).unwrap();
        let result = act(&mut packet);
        (result, packet.as_slice().to_vec())
    }

    fn error_about(bytes: &[u8], kind: ErrorKind) -> Result<Vec<u8>, Refusal> {
        let (result, after) = with_packet(bytes, |packet| error_in_place(packet, router(), kind));
        if result.is_err() {
            assert_eq!(after, bytes, "a refusal leaves the packet as it was");
        }
        result.map(|()| after)
    }

    /// A packet to `destination` with this payload and a right checksum.
    fn message(source: &str, destination: &str, bytes: &[u8]) -> Vec<u8> {
        let (result, packet) =
            with_packet(bytes, |packet| enclose(packet, source.parse().unwrap(), destination.parse().unwrap(), 64));
        result.unwrap();
        packet
    }

    #[test]
    fn tun_42_error_bytes() {
        let quote = hex(REQUEST);
        for (kind, expected) in [
            (ErrorKind::Unreachable(Unreachable::Address), "0103663a00000000"),
            (ErrorKind::PacketTooBig { mtu: 1280 }, "0200603d00000500"),
        ] {
            let error = error_about(&quote, kind).unwrap();
            let header = ipv6::Header::parse(&error).unwrap();
            assert_eq!((header.source(), header.next_header(), header.hop_limit()), (router(), 58, 64));
            assert_eq!(header.destination(), "2001:db8:0:7:0:5efe:a00:2".parse::<Ipv6Addr>().unwrap());
            assert_eq!(header.payload(), [hex(expected), quote.clone()].concat());
            let parsed = Message::parse(header.payload(), &header.source(), &header.destination()).unwrap();
            assert_eq!(parsed.kind(), Kind::Error(kind));
            assert!(parsed.is_error());
        }
    }

    #[test]
    fn tun_33_never_less_than_1280() {
        let error = error_about(&hex(REQUEST), ErrorKind::PacketTooBig { mtu: 1279 }).unwrap();
        assert_eq!(error[44..48], 1280_u32.to_be_bytes());
    }

    #[test]
    fn ndp_61_as_much_as_fits_into_1280() {
        for len in [1199, 1231, 1232, 1233, 1500, 9000] {
            let mut culprit = hex(REQUEST);
            culprit.resize(len, 0x5a);
            culprit[4..6].copy_from_slice(&u16::try_from(len - 40).unwrap().to_be_bytes());
            let error = error_about(&culprit, ErrorKind::HopLimitExceeded).unwrap();
            assert_eq!(error.len(), 1280.min(len + 48));
            assert_eq!(error[48..], culprit[..error.len() - 48]);
            let header = ipv6::Header::parse(&error).unwrap();
            assert_eq!(header.packet_len(), error.len());
            assert!(Message::parse(header.payload(), &header.source(), &header.destination()).is_ok());
        }
    }

    #[test]
    fn ndp_62_types_codes_and_the_way_back() {
        let quote = hex(REQUEST);
        for (kind, start) in [
            (ErrorKind::HopLimitExceeded, [3, 0, 0, 0, 0, 0]),
            (ErrorKind::ReassemblyTimeExceeded, [3, 1, 0, 0, 0, 0]),
            (ErrorKind::ParameterProblem { code: 1, pointer: 40 }, [4, 1, 0, 0, 0, 40]),
            (ErrorKind::PacketTooBig { mtu: 0x0102_0304 }, [2, 0, 1, 2, 3, 4]),
        ] {
            let error = error_about(&quote, kind).unwrap();
            assert_eq!([&error[40..42], &error[44..48]].concat(), start);
        }
        for code in 0..=255_u8 {
            let Some(unreachable) = Unreachable::from_code(code) else {
                assert!(code > 6);
                continue;
            };
            assert_eq!(unreachable.code(), code);
            let error = error_about(&quote, ErrorKind::Unreachable(unreachable)).unwrap();
            assert_eq!(error[40..42], [1, code]);
        }
    }

    #[test]
    fn ndp_60_what_no_error_is_about() {
        let kind = ErrorKind::Unreachable(Unreachable::Address);
        let (a, b) = ("2001:db8::1", "2001:db8::2");
        for message_type in 0..=255_u8 {
            let expected = match message_type {
                0..=127 => Some(Refusal::AboutAnError),
                137 => Some(Refusal::AboutARedirect),
                _ => None,
            };
            let culprit = message(a, b, &[message_type, 0, 0, 0, 0, 0, 0, 0]);
            assert_eq!(error_about(&culprit, kind).err(), expected, "{message_type}");
        }
        let echo = [128, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(error_about(&message("::", b, &echo), kind), Err(Refusal::Source));
        assert_eq!(error_about(&message("ff02::1", b, &echo), kind), Err(Refusal::Source));
        let to_group = message(a, "ff05::1", &echo);
        assert_eq!(error_about(&to_group, kind), Err(Refusal::MulticastDestination));
        let problem = |code| ErrorKind::ParameterProblem { code, pointer: 6 };
        assert_eq!(error_about(&to_group, problem(1)), Err(Refusal::MulticastDestination));
        assert!(error_about(&to_group, problem(2)).is_ok());
        assert!(error_about(&to_group, ErrorKind::PacketTooBig { mtu: 1400 }).is_ok());
    }

    #[test]
    fn ndp_60_an_error_behind_extension_headers_or_cut_off_is_one() {
        let kind = ErrorKind::HopLimitExceeded;
        let mut culprit = message("2001:db8::1", "2001:db8::2", &hex("3a00000000000000 0100000000000000"));
        culprit[6] = 60;
        assert_eq!(error_about(&culprit, kind), Err(Refusal::AboutAnError));
        culprit[48] = 128;
        assert!(error_about(&culprit, kind).is_ok());
        // Cut in front of the type, in front of the whole chain.
        assert_eq!(error_about(&culprit[..48], kind), Err(Refusal::AboutAnError));
        assert_eq!(error_about(&culprit[..40], kind), Err(Refusal::AboutAnError));
        assert_eq!(error_about(&culprit[..39], kind), Err(Refusal::NotIpv6));
        // A later fragment of ICMPv6 cannot be told; its first one was.
        let mut culprit = message("2001:db8::1", "2001:db8::2", &hex("3a00000800000001 0100000000000000"));
        culprit[6] = 44;
        assert!(error_about(&culprit, kind).is_ok());
    }

    #[test]
    fn no_headroom_leaves_the_packet_whole() {
        let mut buffer = vec![0; 47 + 1400];
        buffer[47..103].copy_from_slice(&hex(REQUEST));
        let mut packet = PacketMut::new(&mut buffer, 47..1447).unwrap();
        let refusal = error_in_place(&mut packet, router(), ErrorKind::HopLimitExceeded);
        assert_eq!(refusal, Err(Refusal::NoRoom(EmitError::new(48, 47))));
        assert_eq!(packet.range(), 47..1447);
    }

    #[test]
    fn ndp_65_echo_reply() {
        let request = hex(REQUEST);
        let (result, reply) = with_packet(&request, echo_reply_in_place);
        result.unwrap();
        let header = ipv6::Header::parse(&reply).unwrap();
        assert_eq!(header.source(), "2001:db8:1::1".parse::<Ipv6Addr>().unwrap());
        assert_eq!(header.destination(), "2001:db8:0:7:0:5efe:a00:2".parse::<Ipv6Addr>().unwrap());
        assert_eq!(header.hop_limit(), 64);
        let message = Message::parse(header.payload(), &header.source(), &header.destination()).unwrap();
        assert_eq!(message.kind(), Kind::EchoReply(Echo { identifier: 1, sequence: 1 }));
        assert_eq!(message.body(), b"abcdefgh");
        // The checksum by hand: type 129 instead of 128.
        assert_eq!(message.checksum(), 0x28a2);
    }

    #[test]
    fn ndp_65_behind_extension_headers_and_padding() {
        let mut request = hex(REQUEST);
        request.splice(40..40, hex("3a00000000000000"));
        (request[5], request[6]) = (0x18, 60);
        request.extend_from_slice(&[1, 2, 3]);
        let (result, reply) = with_packet(&request, echo_reply_in_place);
        result.unwrap();
        let (_, expected) = with_packet(&hex(REQUEST), echo_reply_in_place);
        assert_eq!(reply, expected);
    }

    #[test]
    fn ndp_65_what_is_not_answered() {
        let refused = |packet: &[u8]| {
            let (result, after) = with_packet(packet, echo_reply_in_place);
            assert_eq!(after, packet);
            result.unwrap_err()
        };
        let (a, b) = ("2001:db8::1", "2001:db8::2");
        let echo = [128, 0, 0, 0, 0, 1, 0, 2];
        assert_eq!(refused(&message("::", b, &echo)), Refusal::Source);
        assert_eq!(refused(&message("ff02::1", b, &echo)), Refusal::Source);
        assert_eq!(refused(&message(a, "ff02::1", &echo)), Refusal::MulticastDestination);
        assert_eq!(refused(&message(a, b, &[129, 0, 0, 0, 0, 1, 0, 2])), Refusal::NotAnEcho);
        assert_eq!(refused(&message(a, b, &[128, 1, 0, 0, 0, 1, 0, 2])), Refusal::NotAnEcho);
        let mut wrong = message(a, b, &echo);
        wrong[43] ^= 1;
        assert_eq!(refused(&wrong), Refusal::NotAnEcho);
        let whole = hex(REQUEST);
        for len in 0..whole.len() {
            assert_eq!(refused(&whole[..len]), Refusal::NotIpv6, "{len}");
        }
    }

    #[test]
    fn ndp_1_the_checksum_covers_addresses_and_length() {
        let packet = message("fe80::1", "fe80::2", &[133, 0, 0, 0, 0, 0, 0, 0]);
        let [one, two, other] = ["fe80::1", "fe80::2", "fe80::3"].map(|text| text.parse::<Ipv6Addr>().unwrap());
        assert!(Message::parse(&packet[40..], &one, &two).is_ok());
        assert_eq!(Message::parse(&packet[40..], &one, &other).unwrap_err().kind, ParseErrorKind::Checksum);
        let longer = [&packet[40..], &[0, 0]].concat();
        assert_eq!(Message::parse(&longer, &one, &two).unwrap_err().kind, ParseErrorKind::Checksum);
        for len in 0..8 {
            assert_eq!(Message::parse(&packet[40..40 + len], &one, &two).unwrap_err().kind, ParseErrorKind::Truncated);
        }
    }

    #[test]
    fn ndp_69_unknown_messages_say_whether_they_are_errors() {
        for (message_type, is_error) in [(100, true), (127, true), (200, false), (255, false)] {
            let packet = message("fe80::1", "fe80::2", &[message_type, 0, 0, 0, 0, 0, 0, 0]);
            let header = ipv6::Header::parse(&packet).unwrap();
            let parsed = Message::parse(header.payload(), &header.source(), &header.destination()).unwrap();
            assert_eq!((parsed.kind(), parsed.is_error()), (Kind::Other, is_error));
        }
    }

    proptest! {
        #[test]
        fn what_is_sent_parses(
            (identifier, sequence, source, destination) in any::<(u16, u16, u128, u128)>(),
            data in prop::collection::vec(any::<u8>(), 0..60),
        ) {
            let echo = Echo { identifier, sequence };
            let (source, destination) = (source.into(), destination.into());
            let mut buffer = [0xff; 200];
            let mut packet = PacketMut::empty(&mut buffer);
            echo.request(&mut packet, source, destination, &data).unwrap();
            let header = ipv6::Header::parse(packet.as_slice()).unwrap();
            prop_assert_eq!(header.packet_len(), packet.len());
            let message = Message::parse(header.payload(), &source, &destination).unwrap();
            prop_assert_eq!((message.kind(), message.body()), (Kind::EchoRequest(echo), data.as_slice()));
        }

        #[test]
        fn any_packet_is_answered_or_left_alone(bytes in prop::collection::vec(any::<u8>(), 0..120), next_header: u8) {
            let mut bytes = bytes;
            if bytes.len() > 6 {
                (bytes[0], bytes[6]) = (0x60, next_header);
            }
            if let Ok(error) = error_about(&bytes, ErrorKind::HopLimitExceeded) {
                let header = ipv6::Header::parse(&error).unwrap();
                prop_assert!(Message::parse(header.payload(), &header.source(), &header.destination()).is_ok());
                prop_assert_eq!(&error[48..], &bytes[..]);
            }
        }
    }
}
