//! The Internet checksum. [RFC 1071, RFC 1624]
//!
//! A [`Sum`] is the one's-complement sum of 16-bit words so far. It is kept
//! in the machine's byte order and in 64 bits: the sum does not depend on
//! the byte order until it is read (RFC 1071 §2 (B)), and adding eight bytes
//! with their carry costs the same as adding two.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::field::{bytes_at, word_at};
use crate::prefix::halves;

/// A one's-complement sum in the making.
///
/// Every piece but the last must be of even length: an odd one is taken as
/// padded with a zero byte.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sum(u64);

impl Sum {
    /// Nothing summed.
    pub const ZERO: Sum = Sum(0);

    /// Adds bytes; an odd number of them as if a zero byte followed.
    #[must_use]
    pub fn bytes(self, bytes: &[u8]) -> Sum {
        let (blocks, rest) = bytes.as_chunks::<64>();
        // Carries out of a block are counted, not carried on, so that no
        // block waits for the one before.
        let (mut total, mut carries) = (self.0, 0_u64);
        for block in blocks {
            let (words, _) = block.as_chunks::<8>();
            let (mut sum, mut carry) = (0_u64, false);
            for word in words {
                (sum, carry) = sum.carrying_add(u64::from_ne_bytes(*word), carry);
            }
            (total, carry) = total.carrying_add(sum, carry);
            carries = carries.wrapping_add(u64::from(carry));
        }
        let mut sum = Sum(total).word(carries);
        let (words, rest) = rest.as_chunks::<8>();
        for word in words {
            sum = sum.word(u64::from_ne_bytes(*word));
        }
        let mut rest = rest;
        if let Some((four, behind)) = rest.split_first_chunk() {
            sum = sum.word(u64::from(u32::from_ne_bytes(*four)));
            rest = behind;
        }
        if let Some((two, behind)) = rest.split_first_chunk() {
            sum = sum.word(u64::from(u16::from_ne_bytes(*two)));
            rest = behind;
        }
        match rest.first() {
            Some(last) => sum.word(u64::from(u16::from_ne_bytes([*last, 0]))),
            None => sum,
        }
    }

    /// Adds a 16-bit field.
    #[inline]
    #[must_use]
    pub fn u16(self, field: u16) -> Sum {
        self.word(u64::from(field.to_be()))
    }

    /// Adds a 32-bit field.
    #[inline]
    #[must_use]
    pub fn u32(self, field: u32) -> Sum {
        self.word(u64::from(field.to_be()))
    }

    /// Adds an IPv4 address.
    #[inline]
    #[must_use]
    pub fn ipv4(self, address: Ipv4Addr) -> Sum {
        self.u32(address.to_bits())
    }

    /// Adds an IPv6 address.
    #[inline]
    #[must_use]
    pub fn ipv6(self, address: &Ipv6Addr) -> Sum {
        let (high, low) = halves(address);
        self.word(high.to_be()).word(low.to_be())
    }

    /// The sum as a 16-bit number.
    #[inline]
    #[must_use]
    pub fn fold(self) -> u16 {
        // What is added below carries into the upper half: see fold32().
        let [a, b, c, d, ..] = self.0.wrapping_add(self.0.rotate_left(32)).to_be_bytes();
        u16::from_be(fold32(u32::from_be_bytes([a, b, c, d])))
    }

    /// What goes into the checksum field: the complement of the sum, summed
    /// with the field itself zero.
    #[inline]
    #[must_use]
    pub fn checksum(self) -> u16 {
        !self.fold()
    }

    /// Whether bytes that include their checksum field are right.
    #[inline]
    #[must_use]
    pub fn is_valid(self) -> bool {
        self.fold() == 0xffff
    }

    /// Adds eight bytes with end-around carry.
    #[inline(always)]
    fn word(self, word: u64) -> Sum {
        let (sum, carry) = self.0.overflowing_add(word);
        // 2^64 - 1 + 2^64 - 1 leaves room for the carry.
        Sum(sum.wrapping_add(u64::from(carry)))
    }
}

/// The checksum of bytes whose checksum field is zero.
#[must_use]
pub fn checksum(bytes: &[u8]) -> u16 {
    Sum::ZERO.bytes(bytes).checksum()
}

/// The pseudo-header of UDP over IPv4. [RFC 768]
#[must_use]
pub fn pseudo_header_ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, length: u16) -> Sum {
    Sum::ZERO.ipv4(source).ipv4(destination).u16(u16::from(protocol)).u16(length)
}

/// The pseudo-header of every upper layer over IPv6; `length` is that of the
/// upper layer's header and data. [RFC 8200 §8.1]
#[must_use]
pub fn pseudo_header_ipv6(source: &Ipv6Addr, destination: &Ipv6Addr, next_header: u8, length: u32) -> Sum {
    // The numbers first: nothing can be carried out of them.
    Sum::ZERO.u32(u32::from(next_header)).u32(length).ipv6(source).ipv6(destination)
}

/// The checksum after one 16-bit field changed from `old` to `new`.
/// [RFC 1624 §3, equation 3]
#[inline]
#[must_use]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold32(u32::from(!checksum).wrapping_add(u32::from(!old)).wrapping_add(u32::from(new)))
}

/// Whether the checksum of an IPv4 header without options holds.
///
/// It does when the sum is a multiple of 0xffff other than zero; that is one
/// multiplication by the modular inverse and one comparison.
#[inline(always)]
#[must_use]
pub fn is_header_valid(header: &[u8; 20]) -> bool {
    let last = u32::from_ne_bytes(bytes_at::<16, 4, 20>(header));
    let sum = Sum(word_at::<0, 20>(header)).word(word_at::<8, 20>(header)).word(u64::from(last));
    // Version 4 is somewhere in it: the sum of a header is not zero.
    is_multiple_of_ffff(sum.0)
}

/// Whether 0xffff divides `sum`. 0xffff divides 2^64 - 1, so that a 64-bit
/// sum with end-around carry keeps its remainder.
#[inline(always)]
const fn is_multiple_of_ffff(sum: u64) -> bool {
    const INVERSE: u64 = 0xfffe_fffe_fffe_ffff;
    const _: () = assert!(INVERSE.wrapping_mul(0xffff) == 1);
    sum.wrapping_mul(INVERSE) <= u64::MAX / 0xffff
}

/// The end-around sum of the two halves: with the halves exchanged added, it
/// is the upper one, into which the lower one has carried.
#[inline]
pub(crate) const fn fold32(sum: u32) -> u16 {
    let [high, low, ..] = sum.wrapping_add(sum.rotate_left(16)).to_be_bytes();
    u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
    use super::*;
    use crate::wire::hex;
    use proptest::prelude::*;
    use std::vec;
    use std::vec::Vec;

    /// RFC 1071 §1, word by word, folding after each.
    fn oracle(bytes: &[u8]) -> u16 {
        let mut sum = 0_u32;
        for pair in bytes.chunks(2) {
            sum += u32::from(pair[0]) * 256 + u32::from(*pair.get(1).unwrap_or(&0));
            if sum > 0xffff {
                sum -= 0xffff;
            }
        }
        sum as u16
    }

    /// Zero has two representations: 0 and 0xffff.
    fn same(a: u16, b: u16) -> bool {
        a % 0xffff == b % 0xffff
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            prop::collection::vec(any::<u8>(), 0..400),
            prop::collection::vec(prop_oneof![Just(0xff_u8), Just(0), Just(0xfe)], 0..400),
        ]
    }

    proptest! {
        #[test]
        fn sums_agree_with_sixteen_bits_at_a_time(bytes in bytes(), cut in 0_usize..400) {
            let sum = Sum::ZERO.bytes(&bytes);
            prop_assert_eq!(sum.fold(), oracle(&bytes));
            let (front, back) = bytes.split_at((cut & !1).min(bytes.len() & !1));
            prop_assert_eq!(Sum::ZERO.bytes(front).bytes(back).fold(), oracle(&bytes));
        }

        #[test]
        fn fields_sum_like_their_bytes(a: u16, b: u32, c: u32, d: u128, start in bytes()) {
            let sum = Sum::ZERO.bytes(&start[..start.len() & !1]);
            let mut bytes = start[..start.len() & !1].to_vec();
            bytes.extend_from_slice(&a.to_be_bytes());
            bytes.extend_from_slice(&b.to_be_bytes());
            bytes.extend_from_slice(&c.to_be_bytes());
            bytes.extend_from_slice(&d.to_be_bytes());
            prop_assert_eq!(sum.u16(a).u32(b).ipv4(c.into()).ipv6(&d.into()).fold(), oracle(&bytes));
        }

        #[test]
        fn a_header_is_valid_when_its_sum_is_all_ones(header: [u8; 20], right: bool) {
            let mut header = header;
            header[0] = 0x45;
            if right {
                header[10..12].fill(0);
                let sum = !oracle(&header);
                header[10..12].copy_from_slice(&sum.to_be_bytes());
            }
            prop_assert_eq!(is_header_valid(&header), oracle(&header) == 0xffff);
            prop_assert!(!right || is_header_valid(&header));
        }

        #[test]
        fn an_update_is_like_summing_again(bytes in prop::collection::vec(any::<u8>(), 2..80), at in 0_usize..40, new: u16) {
            let mut bytes = bytes;
            if bytes.len() % 2 == 1 {
                bytes.pop();
            }
            let at = (at * 2) % bytes.len();
            let before = checksum(&bytes);
            let old = u16::from_be_bytes([bytes[at], bytes[at + 1]]);
            bytes[at..at + 2].copy_from_slice(&new.to_be_bytes());
            prop_assert!(same(update(before, old, new), checksum(&bytes)));
        }
    }

    #[test]
    fn carries_survive_the_longest_packet_of_ones() {
        for len in [64, 128, 65535, 65536] {
            assert_eq!(Sum::ZERO.bytes(&vec![0xff; len]).fold(), oracle(&vec![0xff; len]), "{len}");
        }
        assert_eq!(checksum(&[]), 0xffff);
    }

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(Sum::ZERO.bytes(&hex("00 01 f2 03 f4 f5 f6 f7")).fold(), 0xddf2);
    }

    #[test]
    fn the_example_of_rfc_1624() {
        // §4: the sum must not become the other zero.
        assert_eq!(update(0xdd2f, 0x5555, 0x3285), 0x0000);
    }

    #[test]
    fn ndp_1_pseudo_header() {
        // The ICMPv6 part of a neighbour probe.
        let source = "fe80::5efe:a00:2".parse().unwrap();
        let destination = "fe80::5efe:a00:1".parse().unwrap();
        let message = hex("8700422b00000000fe8000000000000000005efe0a000001");
        assert!(pseudo_header_ipv6(&source, &destination, 58, 24).bytes(&message).is_valid());
        assert!(!pseudo_header_ipv6(&source, &destination, 58, 25).bytes(&message).is_valid());
    }
}
