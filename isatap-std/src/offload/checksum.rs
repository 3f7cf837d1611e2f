//! The internet checksum (RFC 1071), as this module needs it.

use super::{OffloadError, PartialChecksum, TCP, UDP};

/// Computes the transport checksum that the kernel left open, in place.
///
/// # Errors
///
/// The field is not inside the packet; the packet is unchanged.
pub fn complete_checksum(packet: &mut [u8], partial: &PartialChecksum) -> Result<(), OffloadError> {
    let start = usize::from(partial.start);
    let field = start + usize::from(partial.offset);
    let covered = packet.get(start..).ok_or(OffloadError::Truncated)?;
    if packet.get(field..field + 2).is_none() {
        return Err(OffloadError::Truncated);
    }
    // The field is inside what is summed and holds the pseudo-header's sum.
    let value = finish(sum(covered));
    if let Some(bytes) = packet.get_mut(field..field + 2) {
        bytes.copy_from_slice(&value);
    }
    Ok(())
}

/// A sum that is not yet folded. The order of the additions does not matter.
pub(crate) type Sum = u128;

/// Adds up 16-bit words in the byte order of the machine (RFC 1071 §2(B): the
/// order of bytes matters to the result only); an odd last byte is padded with
/// zero, so only the last part of a packet may have an odd length.
pub(crate) fn sum(bytes: &[u8]) -> Sum {
    let mut words = bytes.chunks_exact(8);
    let mut sum = 0;
    for word in &mut words {
        if let Some(word) = word.first_chunk() {
            sum += Sum::from(u64::from_ne_bytes(*word));
        }
    }
    let mut last = [0; 8];
    for (to, from) in last.iter_mut().zip(words.remainder()) {
        *to = *from;
    }
    sum + Sum::from(u64::from_ne_bytes(last))
}

/// The sum of an IPv6 pseudo-header (RFC 8200 §8.1) over a packet's addresses.
/// `length` is that of the transport header and payload.
pub(crate) fn pseudo_header(addresses: &[u8], protocol: u8, length: usize) -> Sum {
    debug_assert!(addresses.len() == 32 && (protocol == TCP || protocol == UDP));
    let mut rest = [0; 8];
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let [a, b, c, d] = length.to_be_bytes();
    (rest[0], rest[1], rest[2], rest[3], rest[7]) = (a, b, c, d, protocol);
    sum(addresses) + sum(&rest)
}

/// Folds to 16 bits with end-around carry; the bytes as they stand on the wire,
/// not complemented.
pub(crate) fn fold(sum: Sum) -> [u8; 2] {
    let mut folded = sum;
    while folded > 0xffff {
        folded = (folded & 0xffff) + (folded >> 16);
    }
    u16::try_from(folded).unwrap_or(u16::MAX).to_ne_bytes()
}

/// The checksum itself. Zero is written as its other form, all ones: for UDP zero
/// means "none" (RFC 768), and elsewhere both are valid.
pub(crate) fn finish(sum: Sum) -> [u8; 2] {
    match fold(sum).map(|byte| !byte) {
        [0, 0] => [0xff, 0xff],
        bytes => bytes,
    }
}

#[cfg(test)]
mod tests {
    use super::super::oracle;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc_1071_example() {
        // RFC 1071 §3: 00 01 f2 03 f4 f5 f6 f7 adds up to ddf2.
        let bytes = [0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7];
        assert_eq!(fold(sum(&bytes)), [0xdd, 0xf2]);
        assert_eq!(finish(sum(&bytes)), [0x22, 0x0d]);
    }

    #[test]
    fn zero_is_written_as_all_ones() {
        assert_eq!(finish(sum(&[0xff, 0xff])), [0xff, 0xff]);
    }

    proptest! {
        #[test]
        fn agrees_with_a_sum_by_the_book(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            let by_the_book = !oracle::ones_complement(&bytes);
            // Zero has two forms; the book's sum of nothing is 0.
            let ours = u16::from_be_bytes(fold(sum(&bytes)));
            prop_assert_eq!(ours % 0xffff, by_the_book % 0xffff);
        }

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
