//! ICMPv4 errors about packets that a tunnel sent, and what the sender of
//! the inner packet is told. [RFC 4213 §3.4]

use core::net::{Ipv4Addr, Ipv6Addr};

use super::OVERHEAD;
use super::mtu::TooBig;
use super::underlay::TtlMode;
use crate::drop_reason::DropReason;
use crate::packet::PacketMut;
use crate::wire::icmpv4::Message;
use crate::wire::icmpv6::{self, ErrorKind, Refusal, Unreachable};
use crate::wire::{ipv4, ipv6, protocol};

/// An ICMPv4 error whose quote is of a protocol-41 packet.
///
/// `TUN-45`: nothing in it is trusted; it finds the tunnel, lowers an
/// estimate within bounds, and is quoted back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct TunnelError {
    /// The source of the quoted outer packet: ours, if we sent it.
    pub source: Ipv4Addr,
    /// The destination of the quoted outer packet.
    pub destination: Ipv4Addr,
    /// What the error says.
    pub kind: TunnelErrorKind,
    /// The total length of the quoted outer packet, in bytes.
    pub quoted_total_length: u16,
    /// The header length of the quoted outer packet, in bytes.
    pub quoted_header_len: u8,
    /// Where in the message the inner packet starts, and how much of it is
    /// there: at least its header. `None`: less than that.
    inner: Option<(u16, u16)>,
}

/// What an ICMPv4 error says about a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TunnelErrorKind {
    /// `TUN-41`: larger than some link's MTU.
    TooBig {
        /// That MTU in bytes; zero from old routers.
        next_hop_mtu: u16,
    },
    /// `TUN-42`: the other end cannot be reached: log, tell the sender.
    Unreachable {
        /// The ICMPv4 code.
        code: u8,
    },
    /// `TUN-42`: the TTL was used up: as unreachable.
    TtlExceeded,
    /// `TUN-43`: nothing follows from it.
    Ignored,
}

impl TunnelError {
    /// Reads an ICMPv4 message, without the IPv4 header that carried it.
    ///
    /// # Errors
    /// [`DropReason::IcmpV4Ignored`]: malformed, a wrong checksum, no error,
    /// or about a packet that no protocol-41 tunnel can have sent.
    pub fn parse(message: &[u8]) -> Result<Self, DropReason> {
        let message = Message::parse(message).map_err(|_| DropReason::IcmpV4Ignored)?;
        let quote = message.quote();
        let kind = match (message.message_type(), message.code()) {
            (Message::DESTINATION_UNREACHABLE, Message::FRAGMENTATION_NEEDED) => {
                TunnelErrorKind::TooBig { next_hop_mtu: message.next_hop_mtu() }
            }
            // TUN-43 [RFC 4213 §3.4]
            (Message::DESTINATION_UNREACHABLE, Message::SOURCE_ROUTE_FAILED) => TunnelErrorKind::Ignored,
            (Message::DESTINATION_UNREACHABLE, code @ 0..=13) => TunnelErrorKind::Unreachable { code },
            (Message::TIME_EXCEEDED, 0) => TunnelErrorKind::TtlExceeded,
            (Message::DESTINATION_UNREACHABLE | Message::TIME_EXCEEDED, _)
            | (Message::SOURCE_QUENCH | Message::PARAMETER_PROBLEM, _) => TunnelErrorKind::Ignored,
            _ => return Err(DropReason::IcmpV4Ignored),
        };
        TunnelError::from_quote(kind, quote, QUOTE_AT)
    }

    /// The same from a quoted outer packet, for callers whose kernel takes
    /// ICMPv4 messages apart. `at`: where [`TunnelError::inner`] will find
    /// the quote in the bytes that it is given.
    ///
    /// # Errors
    /// As [`TunnelError::parse`].
    fn from_quote(kind: TunnelErrorKind, quote: &[u8], at: u16) -> Result<Self, DropReason> {
        let outer = ipv4::Header::parse_quoted(quote).map_err(|_| DropReason::IcmpV4Ignored)?;
        // TUN-40 [RFC 792]: at least 8 bytes behind the header.
        if outer.protocol() != protocol::IPV6 || outer.payload().len() < LEAST_QUOTE {
            return Err(DropReason::IcmpV4Ignored);
        }
        let header_len = u8::try_from(outer.header_len()).unwrap_or(u8::MAX);
        let is_first = outer.fragment_offset() == 0;
        if is_first && outer.payload().first().is_none_or(|first| first >> 4 != 6) {
            return Err(DropReason::IcmpV4Ignored);
        }
        // No length field is believed beyond what is there.
        let there = outer.payload().len().min(usize::from(outer.total_length().saturating_sub(u16::from(header_len))));
        let len = u16::try_from(there).unwrap_or(u16::MAX);
        let inner = (is_first && there >= ipv6::HEADER_LEN).then(|| (at.saturating_add(u16::from(header_len)), len));
        Ok(TunnelError {
            source: outer.source(),
            destination: outer.destination(),
            kind,
            quoted_total_length: outer.total_length(),
            quoted_header_len: header_len,
            inner,
        })
    }

    /// The beginning of the inner packet, if at least its header is quoted.
    /// `message` must be what the error was parsed from.
    #[must_use]
    pub fn inner<'m>(&self, message: &'m [u8]) -> Option<&'m [u8]> {
        let (start, len) = self.inner?;
        message.get(usize::from(start)..)?.get(..usize::from(len))
    }

    /// The claim for `PathMtus::too_big`, if this is one.
    #[must_use]
    pub fn too_big(&self) -> Option<TooBig> {
        match self.kind {
            TunnelErrorKind::TooBig { next_hop_mtu } => Some(TooBig {
                destination: self.destination,
                quoted_total_length: self.quoted_total_length,
                quoted_header_len: self.quoted_header_len,
                next_hop_mtu,
            }),
            _ => None,
        }
    }

    /// Whether only the hops of the inner packet were used up, of a tunnel whose
    /// outer headers have this TTL.
    pub(crate) fn is_hop_limit(&self, ttl: TtlMode) -> bool {
        self.kind == TunnelErrorKind::TtlExceeded && ttl == TtlMode::CopyHopLimit
    }

    /// Turns the message itself, which this error was parsed from, into the
    /// ICMPv6 error for the sender of the inner packet: Packet Too Big with
    /// what `path_mtu` leaves, hop limit exceeded where the tunnel's `ttl` is
    /// the inner one, or address unreachable. Rate limits are the caller's.
    ///
    /// # Errors
    /// Too little is quoted ([`Refusal::NotIpv6`]), nothing follows from the
    /// error ([`Refusal::NothingFollows`]), the rules of ICMPv6 forbid it, or
    /// there are less than 20 bytes of headroom. The message is then of no use.
    pub fn answer(
        &self,
        message: &mut PacketMut<'_>,
        source: Ipv6Addr,
        path_mtu: u16,
        ttl: TtlMode,
    ) -> Result<(), Refusal> {
        let kind = match self.kind {
            TunnelErrorKind::TooBig { .. } => {
                ErrorKind::PacketTooBig { mtu: u32::from(path_mtu.saturating_sub(OVERHEAD)) }
            }
            TunnelErrorKind::TtlExceeded if self.is_hop_limit(ttl) => ErrorKind::HopLimitExceeded,
            TunnelErrorKind::Unreachable { .. } | TunnelErrorKind::TtlExceeded => {
                ErrorKind::Unreachable(Unreachable::Address)
            }
            TunnelErrorKind::Ignored => return Err(Refusal::NothingFollows),
        };
        let (start, len) = self.inner.ok_or(Refusal::NotIpv6)?;
        message.pull_front(start.into());
        message.truncate(len.into());
        icmpv6::error_in_place(message, source, kind)
    }
}

/// Where an ICMPv4 error quotes.
const QUOTE_AT: u16 = 8;

/// Bytes behind the quoted header that every error has.
const LEAST_QUOTE: usize = 8;

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::{hex, icmpv4};
    use proptest::prelude::*;
    use std::vec::Vec;

    /// Fragmentation needed, next-hop MTU 1300.
    const TOO_BIG: &str = "03045ca7000005144500003c0000000040298e63c0000201c63364016000000000003b40";

    /// The packet that it quotes, carrying an echo request.
    const SENT: &str = "45 00 00 4c 00 00 00 00 40 29 00 00 c0 00 02 01 c6 33 64 01
        6000000000103a40 20010db80000000700005efe0a000002 20010db8000100000000000000000001
        800029a2000100016162636465666768";

    fn message(message_type: u8, code: u8, data: [u8; 4], quote: &[u8]) -> Vec<u8> {
        [&icmpv4::header(message_type, code, data, quote)[..], quote].concat()
    }

    #[test]
    fn tun_41_vector() {
        let bytes = hex(TOO_BIG);
        let error = TunnelError::parse(&bytes).unwrap();
        assert_eq!(error.kind, TunnelErrorKind::TooBig { next_hop_mtu: 1300 });
        assert_eq!((error.source, error.destination), ([192, 0, 2, 1].into(), [198, 51, 100, 1].into()));
        let claim = TooBig {
            destination: [198, 51, 100, 1].into(),
            quoted_total_length: 60,
            quoted_header_len: 20,
            next_hop_mtu: 1300,
        };
        assert_eq!(error.too_big(), Some(claim));
        // TUN-40: eight bytes of inner header are not enough to answer.
        assert_eq!(error.inner(&bytes), None);
        for len in 0..bytes.len() {
            assert_eq!(TunnelError::parse(&bytes[..len]), Err(DropReason::IcmpV4Ignored), "{len}");
        }
    }

    #[test]
    fn tun_40_quotes_of_every_length() {
        let sent = hex(SENT);
        for len in 0..=sent.len() {
            let bytes = message(3, 1, [0; 4], &sent[..len]);
            let error = TunnelError::parse(&bytes);
            match len {
                0..28 => assert_eq!(error, Err(DropReason::IcmpV4Ignored)),
                28..60 => assert_eq!(error.unwrap().inner(&bytes), None, "{len}"),
                _ => assert_eq!(error.unwrap().inner(&bytes), Some(&sent[20..len]), "{len}"),
            }
        }
    }

    #[test]
    fn tun_42_tun_43_what_follows_from_which_error() {
        let sent = hex(SENT);
        for message_type in 0..=255_u8 {
            for code in 0..=20_u8 {
                let expected = match (message_type, code) {
                    (3, 4) => Some(TunnelErrorKind::TooBig { next_hop_mtu: 0x0203 }),
                    (3, 0..=3 | 6..=13) => Some(TunnelErrorKind::Unreachable { code }),
                    (11, 0) => Some(TunnelErrorKind::TtlExceeded),
                    (3 | 4 | 11 | 12, _) => Some(TunnelErrorKind::Ignored),
                    _ => None,
                };
                let bytes = message(message_type, code, [0, 0, 2, 3], &sent);
                assert_eq!(TunnelError::parse(&bytes).ok().map(|error| error.kind), expected, "{message_type} {code}");
            }
        }
    }

    #[test]
    fn tun_35_quotes_of_packets_that_no_tunnel_sent() {
        let judged = |change: &dyn Fn(&mut Vec<u8>)| {
            let mut quote = hex(SENT);
            change(&mut quote);
            TunnelError::parse(&message(3, 4, [0, 0, 5, 0x14], &quote)).map(|error| error.inner.is_some())
        };
        assert_eq!(judged(&|_| {}), Ok(true));
        assert_eq!(judged(&|quote| quote[9] = 17), Err(DropReason::IcmpV4Ignored));
        assert_eq!(judged(&|quote| quote[20] = 0x45), Err(DropReason::IcmpV4Ignored));
        assert_eq!(judged(&|quote| quote[0] = 0x65), Err(DropReason::IcmpV4Ignored));
        assert_eq!(judged(&|quote| quote[0] = 0x44), Err(DropReason::IcmpV4Ignored));
        // A later fragment's data is not the inner header.
        assert_eq!(judged(&|quote| (quote[7], quote[20]) = (1, 0)), Ok(false));
        let mut wrong = message(3, 4, [0, 0, 5, 0x14], &hex(SENT));
        wrong[2] ^= 1;
        assert_eq!(TunnelError::parse(&wrong), Err(DropReason::IcmpV4Ignored));
    }

    #[test]
    fn tun_45_no_length_field_is_believed() {
        let mut quote = hex(SENT);
        // The outer length says less than is there, the inner one more.
        (quote[3], quote[24]) = (70, 0xff);
        let bytes = message(3, 1, [0; 4], &quote);
        let error = TunnelError::parse(&bytes).unwrap();
        assert_eq!(error.inner(&bytes), Some(&quote[20..70]));
        assert_eq!(error.inner(&bytes[..60]), None);
        quote[3] = 30;
        let bytes = message(3, 1, [0; 4], &quote);
        assert_eq!(TunnelError::parse(&bytes).unwrap().inner(&bytes), None);
    }

    #[test]
    fn tun_42_answer_to_the_sender() {
        let source = "fe80::5efe:a00:2".parse().unwrap();
        let sent = hex(SENT);
        let (fixed, copied) = (TtlMode::Fixed(64), TtlMode::CopyHopLimit);
        for (error, ttl, path_mtu, expected) in [
            (message(3, 1, [0; 4], &sent), fixed, 0, Ok("0103663a00000000")),
            (message(11, 0, [0; 4], &sent), fixed, 0, Ok("0103663a00000000")),
            (message(3, 1, [0; 4], &sent), copied, 0, Ok("0103663a00000000")),
            (message(11, 0, [0; 4], &sent), copied, 0, Ok("0300643d00000000")),
            (message(11, 1, [0; 4], &sent), copied, 0, Err(Refusal::NothingFollows)),
            (message(3, 4, [0, 0, 4, 0], &sent), fixed, 1024, Ok("0200603d00000500")),
            (message(3, 4, [0, 0, 4, 0], &sent), copied, 1300, Ok("0200603d00000500")),
            (message(3, 5, [0; 4], &sent), fixed, 0, Err(Refusal::NothingFollows)),
            (message(3, 1, [0; 4], &sent[..59]), fixed, 0, Err(Refusal::NotIpv6)),
            // ICMPv6, and its type is not quoted: it may be an error.
            (message(3, 1, [0; 4], &sent[..60]), fixed, 0, Err(Refusal::AboutAnError)),
        ] {
            let parsed = TunnelError::parse(&error).unwrap();
            let mut buffer = [&[0xee; 20], &error[..]].concat();
            let end = buffer.len();
            let mut packet = PacketMut::new(&mut buffer, 20..end).unwrap();
            let result = parsed.answer(&mut packet, source, path_mtu, ttl);
            match expected {
                Ok(expected) => {
                    result.unwrap();
                    assert_eq!(packet.as_slice()[40..], [hex(expected), sent[20..].to_vec()].concat());
                }
                Err(refusal) => assert_eq!(result, Err(refusal)),
            }
        }
    }

    proptest! {
        #[test]
        fn any_quote_is_read_without_harm(
            message_type in prop_oneof![Just(3_u8), Just(11), Just(12)], code in 0_u8..8, data: [u8; 4],
            quote in prop::collection::vec(any::<u8>(), 0..120),
        ) {
            let mut quote = quote;
            if quote.len() > 20 {
                (quote[0], quote[9], quote[20]) = (0x40 | quote[0] & 15, 41, 0x60);
            }
            let bytes = message(message_type, code, data, &quote);
            if let Ok(error) = TunnelError::parse(&bytes) {
                let inner = error.inner(&bytes);
                prop_assert!(inner.is_none_or(|inner| inner.len() >= 40));
                let mut buffer = [&[0; 20], &bytes[..]].concat();
                let end = buffer.len();
                let mut packet = PacketMut::new(&mut buffer, 20..end).unwrap();
                if error.answer(&mut packet, Ipv6Addr::LOCALHOST, 1300, TtlMode::Fixed(64)).is_ok() {
                    prop_assert_eq!(&packet.as_slice()[48..], inner.unwrap());
                }
            }
        }
    }
}
