//! The outer header with its sum taken in advance.

use core::net::Ipv4Addr;

use crate::error::EmitError;
use crate::packet::PacketMut;
use crate::wire::{checksum, ipv4, protocol};

/// An outer header of which only total length, identification, checksum and
/// destination are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    /// The header with zeros where something is missing.
    header: [u8; ipv4::HEADER_LEN],
    /// Its folded sum.
    sum: u16,
}

impl Template {
    /// A template for packets from `source`.
    #[must_use]
    pub fn new(source: Ipv4Addr, tos: u8, ttl: u8, dont_fragment: bool) -> Self {
        let [a, b, c, d] = source.octets();
        let [flags, _] = if dont_fragment { ipv4::DONT_FRAGMENT } else { 0 }.to_be_bytes();
        let header = [0x45, tos, 0, 0, 0, 0, flags, 0, ttl, protocol::IPV6, 0, 0, a, b, c, d, 0, 0, 0, 0];
        Template { header, sum: checksum::Sum::ZERO.bytes(&header).fold() }
    }

    /// Pushes the outer header in front of an inner packet, which must be
    /// exactly as long as its IPv6 header says. Never reads the payload.
    ///
    /// # Errors
    /// Less than 20 bytes of headroom, or more than 65535 bytes with the
    /// header; the packet is unchanged.
    #[inline]
    pub fn encapsulate(
        &self,
        packet: &mut PacketMut<'_>,
        destination: Ipv4Addr,
        identification: u16,
    ) -> Result<(), EmitError> {
        // TUN-1 [RFC 4213 §3.5]: the inner payload length + 60.
        let len = packet.len().saturating_add(ipv4::HEADER_LEN);
        let Ok(total_length) = u16::try_from(len) else {
            return Err(EmitError::new(len, usize::from(u16::MAX)));
        };
        let bits = destination.to_bits();
        let sum = u32::from(self.sum)
            .wrapping_add(u32::from(total_length))
            .wrapping_add(u32::from(identification))
            .wrapping_add(bits >> 16)
            .wrapping_add(bits & 0xffff);
        let checksum = !checksum::fold32(sum);

        let [len_high, len_low] = total_length.to_be_bytes();
        let [id_high, id_low] = identification.to_be_bytes();
        let [sum_high, sum_low] = checksum.to_be_bytes();
        let [e, f, g, h] = destination.octets();
        let [version, tos, _, _, _, _, flags, zero, ttl, protocol, _, _, a, b, c, d, ..] = self.header;
        *packet.push_front()? = [
            version, tos, len_high, len_low, id_high, id_low, flags, zero, ttl, protocol, sum_high, sum_low, a, b, c,
            d, e, f, g, h,
        ];
        Ok(())
    }
}
