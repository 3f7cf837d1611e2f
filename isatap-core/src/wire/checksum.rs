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
        let [a, b, c, d, e, f, g, h] = self.0.to_ne_bytes();
        let (sum, carry) = u32::from_ne_bytes([a, b, c, d]).overflowing_add(u32::from_ne_bytes([e, f, g, h]));
        u16::from_be(fold32(sum.wrapping_add(u32::from(carry))))
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
    Sum::ZERO.ipv6(source).ipv6(destination).u32(length).u32(u32::from(next_header))
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

/// Adds the upper half to the lower one until nothing is carried.
#[inline]
pub(crate) const fn fold32(sum: u32) -> u16 {
    let once = (sum & 0xffff).wrapping_add(sum >> 16);
    let [_, _, high, low] = once.wrapping_add(once >> 16).to_be_bytes();
    u16::from_be_bytes([high, low])
}
