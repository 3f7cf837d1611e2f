//! Recognising what the kernel has joined, or left unfinished, on receive.

use super::checksum::pseudo_header;
use super::{
    IPV6_HEADER, MINIMUM_MTU, PartialChecksum, SegmentKind, Segmentation, TCP_CHECKSUM, UDP_CHECKSUM, VirtioHeader,
    word_at,
};
use isatap_core::wire::checksum::Sum;
use isatap_core::wire::ipv6::upper_layer;
use isatap_core::wire::protocol::{TCP, UDP};
use std::num::NonZeroU16;

const CWR: u8 = 0x80;

/// The header with which the TUN device is to take a decapsulated IPv6 packet.
///
/// - **Plain**: anything whose checksum is not the kernel's half-done one.
/// - **Partial**: a TCP or UDP packet whose checksum field holds the folded sum of
///   the pseudo-header. A sender on the same machine, or the join of two short
///   segments, leaves it so.
/// - **Joined**: a TCP packet that is partial and longer than 1280 bytes. It is
///   handed on whole, with a segment size that makes packets of 1280 bytes: TCP is
///   a stream of bytes, so any size is right. The original one is not known, and
///   1280 is the only one that every later link takes (RFC 8200 §5); a larger one
///   would bring a sender whose packets all fit a Packet Too Big from the next
///   router, for ever. The size matters only where the kernel has to cut again: a
///   local stream takes the packet whole.
///
/// One whole packet in 65,536 has a complete checksum that equals the sum of its
/// pseudo-header. It is told by verifying it, so nothing true is called false. The
/// other way round, a packet damaged on the way passes if the damage left exactly
/// that sum in the field: as likely as damage that the checksum does not see.
pub fn classify(packet: &[u8]) -> VirtioHeader {
    unfinished(packet).unwrap_or_default()
}

fn unfinished(packet: &[u8]) -> Option<VirtioHeader> {
    let upper = upper_layer(packet).ok().filter(|upper| !upper.fragment)?;
    let (protocol, start) = (upper.protocol, upper.offset);
    let offset = match protocol {
        TCP => TCP_CHECKSUM,
        UDP => UDP_CHECKSUM,
        _ => return None,
    };
    let field = packet.get(start + usize::from(offset)..)?.first_chunk::<2>()?;
    let addresses = packet.get(8..IPV6_HEADER)?;
    // Padding behind the IPv6 packet is not ours to judge: it is cut before.
    let payload_length = usize::from(word_at(packet, 4)?);
    if payload_length + IPV6_HEADER != packet.len() {
        return None;
    }
    let length = packet.len() - start;
    let pseudo = pseudo_header(Sum::ZERO.bytes(addresses), protocol, length);
    if pseudo.fold().to_be_bytes() != *field || pseudo.bytes(packet.get(start..)?).is_valid() {
        return None;
    }
    let mut header = VirtioHeader {
        checksum: Some(PartialChecksum { start: u16::try_from(start).ok()?, offset }),
        segmentation: None,
    };
    if protocol == TCP && packet.len() > MINIMUM_MTU {
        let tcp_len = usize::from(packet.get(start + 12)? >> 4) * 4;
        let header_len = start + tcp_len;
        if tcp_len < 20 || header_len >= packet.len() {
            return None;
        }
        let size = u16::try_from(MINIMUM_MTU.checked_sub(header_len)?).ok()?;
        header.segmentation = Some(Segmentation {
            kind: SegmentKind::Tcp,
            size: NonZeroU16::new(size)?,
            header_len: u16::try_from(header_len).ok()?,
            ecn: packet.get(start + 13)? & CWR != 0,
        });
    }
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::super::{Segments, oracle};
    use super::*;
    use proptest::prelude::*;

    fn partial(mut packet: Vec<u8>) -> Vec<u8> {
        oracle::make_partial(&mut packet);
        packet
    }

    #[test]
    fn what_is_complete_is_plain() {
        for packet in [
            oracle::tcp_packet(1, 0x10, &[]),
            oracle::tcp_packet(1, 0x18, &[3; 1400]),
            oracle::udp_packet(&[3; 30_000]),
            oracle::udp_packet(b"x"),
        ] {
            assert!(classify(&packet).is_plain());
        }
    }

    #[test]
    fn what_the_kernel_left_open_is_partial() {
        let tcp = classify(&partial(oracle::tcp_packet(1, 0x18, &[3; 200])));
        assert_eq!(tcp.checksum, Some(PartialChecksum { start: 40, offset: 16 }));
        assert_eq!(tcp.segmentation, None);
        let udp = classify(&partial(oracle::udp_packet(&[3; 2000])));
        assert_eq!(udp.checksum, Some(PartialChecksum { start: 40, offset: 6 }));
        assert_eq!(udp.segmentation, None, "a UDP join cannot be undone");
    }

    #[test]
    fn what_the_kernel_joined_is_cut_to_1280() {
        let packet = partial(oracle::tcp_packet(1, 0x98, &[3; 20_000]));
        let header = classify(&packet);
        assert_eq!(
            header.segmentation,
            Some(Segmentation {
                kind: SegmentKind::Tcp,
                size: NonZeroU16::new(1280 - 72).unwrap(),
                header_len: 72,
                ecn: true,
            })
        );
        assert_eq!(Segments::new(&packet, &header).unwrap().longest(), 1280);
    }

    #[test]
    fn a_complete_checksum_that_looks_partial_is_told_apart() {
        // Two bytes of payload are chosen so that the whole packet's checksum
        // equals the sum of the pseudo-header.
        let found = (0..=u16::MAX).find_map(|value| {
            let packet = oracle::tcp_packet(1, 0x18, &value.to_be_bytes());
            (packet == partial(packet.clone())).then_some(packet)
        });
        let packet = found.expect("some payload must do it");
        assert!(oracle::verifies(&packet));
        assert!(classify(&packet).is_plain());
    }

    proptest! {
        #[test]
        fn joined_then_cut_is_the_stream(
            payload in proptest::collection::vec(any::<u8>(), 1300..20_000),
            sequence: u32,
        ) {
            let packet = partial(oracle::tcp_packet(sequence, 0x19, &payload));
            // Once in 65,536 times that is the checksum of the whole as well, and nobody can tell.
            prop_assume!(!oracle::verifies(&packet));
            let mut segments = Segments::new(&packet, &classify(&packet)).unwrap();
            let (mut out, mut stream) = (vec![0; 1280], Vec::new());
            while let Some(length) = segments.next_into(&mut out) {
                prop_assert!(oracle::verifies(&out[..length]));
                stream.extend_from_slice(oracle::payload(&out[..length]));
            }
            prop_assert_eq!(stream, payload);
        }

        #[test]
        fn honest_packets_are_plain(
            payload in proptest::collection::vec(any::<u8>(), 0..2000),
            sequence: u32,
            udp: bool,
        ) {
            let packet = if udp {
                oracle::udp_packet(&payload)
            } else {
                oracle::tcp_packet(sequence, 0x10, &payload)
            };
            prop_assert!(classify(&packet).is_plain());
        }

        #[test]
        fn nothing_panics_on_any_bytes(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            for protocol in [0, 6, 17, 43, 44, 60, 255] {
                if let Some(next) = bytes.get_mut(6) {
                    *next = protocol;
                }
                let header = classify(&bytes);
                prop_assert!(header.is_plain() || Segments::new(&bytes, &header).is_ok());
            }
        }
    }
}
