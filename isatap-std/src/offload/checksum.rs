//! Checksums that the kernel left unfinished, on top of the core's sum.

use super::{OffloadError, PartialChecksum};
use isatap_core::wire::checksum::Sum;

/// Computes the checksum that the kernel left open, in place.
///
/// # Errors
///
/// The field is not inside the packet; the packet is unchanged.
pub fn complete_checksum(packet: &mut [u8], partial: &PartialChecksum) -> Result<(), OffloadError> {
    let value = completed(packet, partial)?;
    let field = usize::from(partial.start) + usize::from(partial.offset);
    let bytes = packet.get_mut(field..field + 2).ok_or(OffloadError::Truncated)?;
    bytes.copy_from_slice(&value);
    Ok(())
}

/// The checksum that the kernel left open.
///
/// # Errors
///
/// It begins behind the packet.
pub(super) fn completed(packet: &[u8], partial: &PartialChecksum) -> Result<[u8; 2], OffloadError> {
    let covered = packet.get(usize::from(partial.start)..).ok_or(OffloadError::Truncated)?;
    // The field is inside what is summed and holds the pseudo-header's sum.
    Ok(finish(Sum::ZERO.bytes(covered)))
}

/// The sum of an IPv6 pseudo-header (RFC 8200 §8.1) for a transport header and
/// payload of `length` bytes, begun with the sum of the addresses.
pub(super) fn pseudo_header(addresses: Sum, protocol: u8, length: usize) -> Sum {
    addresses.u32(u32::try_from(length).unwrap_or(u32::MAX)).u32(protocol.into())
}

/// What goes into the field. Zero is written as its other form, all ones: for UDP
/// zero means "none" (RFC 768), and elsewhere both are valid.
pub(super) fn finish(sum: Sum) -> [u8; 2] {
    match sum.checksum() {
        0 => [0xff, 0xff],
        checksum => checksum.to_be_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn zero_is_written_as_all_ones() {
        assert_eq!(finish(Sum::ZERO.u16(0xffff)), [0xff, 0xff]);
        assert_eq!(finish(Sum::ZERO.u16(0xfffe)), [0, 1]);
    }

    proptest! {
        #[test]
        fn completing_makes_it_verify(
            payload in proptest::collection::vec(any::<u8>(), 0..3000),
            udp: bool,
        ) {
            let mut packet = if udp {
                oracle::udp_packet(&payload)
            } else {
                oracle::tcp_packet(1, 0x18, &payload)
            };
            oracle::make_partial(&mut packet);
            let partial = PartialChecksum { start: 40, offset: if udp { 6 } else { 16 } };
            complete_checksum(&mut packet, &partial).unwrap();
            prop_assert!(oracle::verifies(&packet));
        }

        #[test]
        fn never_writes_outside(len in 0_usize..100, start: u16, offset: u16) {
            let mut packet = vec![7; len];
            let fits = usize::from(start) + usize::from(offset) + 2 <= len;
            let result = complete_checksum(&mut packet, &PartialChecksum { start, offset });
            prop_assert_eq!(result.is_ok(), fits);
            if !fits {
                prop_assert!(packet.iter().all(|&byte| byte == 7));
            }
        }
    }
}
