//! Reading fields from checked arrays, writing fields in order.
//!
//! The only place where byteorder is used, and always on arrays: a read at
//! an offset that does not fit does not compile, so getters cannot fail.

use byteorder::{BigEndian, ByteOrder};
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::error::EmitError;

/// The `LEN` bytes at offset `AT`; the bounds are checked by the compiler.
#[inline(always)]
#[must_use]
pub fn bytes_at<const AT: usize, const LEN: usize, const N: usize>(from: &[u8; N]) -> [u8; LEN] {
    const {
        assert!(AT <= N && LEN <= N - AT, "the field lies outside the array");
    }
    match from.get(AT..).and_then(|rest| rest.first_chunk::<LEN>()) {
        Some(field) => *field,
        None => [0; LEN],
    }
}

/// The byte at offset `AT`.
#[inline(always)]
#[must_use]
pub fn u8_at<const AT: usize, const N: usize>(from: &[u8; N]) -> u8 {
    let [byte] = bytes_at::<AT, 1, N>(from);
    byte
}

/// The big-endian 16 bits at offset `AT`.
#[inline(always)]
#[must_use]
pub fn u16_at<const AT: usize, const N: usize>(from: &[u8; N]) -> u16 {
    BigEndian::read_u16(&bytes_at::<AT, 2, N>(from))
}

/// The big-endian 32 bits at offset `AT`.
#[inline(always)]
#[must_use]
pub fn u32_at<const AT: usize, const N: usize>(from: &[u8; N]) -> u32 {
    BigEndian::read_u32(&bytes_at::<AT, 4, N>(from))
}

/// The eight bytes at offset `AT` as the machine loads them: for tests
/// against masks that are made of bytes too, and for sums.
#[inline(always)]
#[must_use]
pub fn word_at<const AT: usize, const N: usize>(from: &[u8; N]) -> u64 {
    u64::from_ne_bytes(bytes_at::<AT, 8, N>(from))
}

/// The IPv4 address at offset `AT`.
#[inline(always)]
#[must_use]
pub fn ipv4_at<const AT: usize, const N: usize>(from: &[u8; N]) -> Ipv4Addr {
    Ipv4Addr::from(bytes_at::<AT, 4, N>(from))
}

/// The IPv6 address at offset `AT`.
#[inline(always)]
#[must_use]
pub fn ipv6_at<const AT: usize, const N: usize>(from: &[u8; N]) -> Ipv6Addr {
    Ipv6Addr::from(bytes_at::<AT, 16, N>(from))
}

/// Writes fields one after the other and counts them, so that one emit
/// function gives both length and bytes.
///
/// Bytes that no longer fit are counted and dropped; [`Writer::finish`] then
/// says how many were needed. A writer over an empty slice only counts.
#[derive(Debug)]
pub struct Writer<'a> {
    out: &'a mut [u8],
    written: usize,
}

impl<'a> Writer<'a> {
    /// A writer that fills `out` from its start.
    #[must_use]
    pub fn new(out: &'a mut [u8]) -> Self {
        Writer { out, written: 0 }
    }

    /// A writer that only counts.
    #[must_use]
    pub fn counting() -> Self {
        Writer { out: &mut [], written: 0 }
    }

    /// Appends bytes.
    #[inline]
    pub fn bytes(&mut self, bytes: &[u8]) {
        let end = self.written.saturating_add(bytes.len());
        if let Some(place) = self.out.get_mut(self.written..end) {
            // Not `copy_from_slice`: optimised for size, its test of the two
            // lengths stays, and with it a panic.
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        }
        self.written = end;
    }

    /// Appends as many bytes as the type says: one move and no loop.
    #[inline]
    pub fn array<const N: usize>(&mut self, bytes: [u8; N]) {
        if let Some(place) = self.out.get_mut(self.written..).and_then(<[u8]>::first_chunk_mut) {
            *place = bytes;
        }
        self.written = self.written.saturating_add(N);
    }

    /// Appends `count` zero bytes.
    pub fn zeros(&mut self, count: usize) {
        let end = self.written.saturating_add(count);
        if let Some(place) = self.out.get_mut(self.written..end) {
            place.fill(0);
        }
        self.written = end;
    }

    /// Appends one byte.
    #[inline]
    pub fn u8(&mut self, value: u8) {
        self.array([value]);
    }

    /// Appends 16 bits, big-endian.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        let mut field = [0; 2];
        BigEndian::write_u16(&mut field, value);
        self.array(field);
    }

    /// Appends 32 bits, big-endian.
    #[inline]
    pub fn u32(&mut self, value: u32) {
        let mut field = [0; 4];
        BigEndian::write_u32(&mut field, value);
        self.array(field);
    }

    /// Appends an IPv4 address.
    #[inline]
    pub fn ipv4(&mut self, address: Ipv4Addr) {
        self.array(address.octets());
    }

    /// Appends an IPv6 address.
    #[inline]
    pub fn ipv6(&mut self, address: &Ipv6Addr) {
        self.array(address.octets());
    }

    /// Bytes counted so far, whether they fitted or not.
    #[must_use]
    pub fn written(&self) -> usize {
        self.written
    }

    /// The number of bytes written.
    ///
    /// # Errors
    /// They did not all fit: [`EmitError`] says how many are needed.
    pub fn finish(self) -> Result<usize, EmitError> {
        if self.written <= self.out.len() {
            Ok(self.written)
        } else {
            Err(EmitError::new(self.written, self.out.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_buffer_is_an_error_that_says_how_much_is_needed() {
        let mut out = [0xff; 5];
        let mut writer = Writer::new(&mut out);
        writer.u16(0x0102);
        writer.u32(3);
        assert_eq!(writer.finish(), Err(EmitError::new(6, 5)));
        let mut counting = Writer::counting();
        counting.zeros(3);
        counting.u8(1);
        assert_eq!(counting.written(), 4);
    }

    #[test]
    fn fields_are_big_endian() {
        let bytes = [1, 2, 3, 4, 5, 6];
        assert_eq!(u16_at::<1, 6>(&bytes), 0x0203);
        assert_eq!(u32_at::<2, 6>(&bytes), 0x0304_0506);
        assert_eq!(ipv4_at::<0, 6>(&bytes), Ipv4Addr::new(1, 2, 3, 4));
    }
}
