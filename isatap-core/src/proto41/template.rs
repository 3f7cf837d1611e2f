//! The outer header with its sum taken in advance.

use core::net::Ipv4Addr;

use crate::error::EmitError;
use crate::packet::PacketMut;
use crate::wire::checksum::{self, Sum};
use crate::wire::{ipv4, protocol};

/// An outer header of which only total length, identification, checksum and
/// destination are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Template {
    version_and_tos: [u8; 2],
    flags: [u8; 2],
    ttl_and_protocol: [u8; 2],
    source: [u8; 4],
    /// The sum of these, folded, in the machine's byte order.
    sum: u16,
}

impl Template {
    /// A template for packets from `source`.
    #[must_use]
    pub fn new(source: Ipv4Addr, tos: u8, ttl: u8, dont_fragment: bool) -> Self {
        let version_and_tos = [0x45, tos];
        let flags = if dont_fragment { ipv4::DONT_FRAGMENT } else { 0 }.to_be_bytes();
        let ttl_and_protocol = [ttl, protocol::IPV6];
        let sum = Sum::ZERO.bytes(&version_and_tos).bytes(&flags).bytes(&ttl_and_protocol).ipv4(source).fold().to_be();
        Template { version_and_tos, flags, ttl_and_protocol, source: source.octets(), sum }
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
        // TUN-1 [RFC 4213 §3.5]: the inner payload length + 60. No slice is
        // long enough for this to wrap.
        let len = packet.len().wrapping_add(ipv4::HEADER_LEN);
        let Ok(total_length) = u16::try_from(len) else {
            return Err(EmitError::new(len, usize::from(u16::MAX)));
        };

        // Summed as the machine loads it, like everything in `checksum`.
        let (total_length, identification) = (total_length.to_be(), identification.to_be());
        let (first, last) = halves(destination);
        let sum = u32::from(self.sum)
            .wrapping_add(u32::from(total_length))
            .wrapping_add(u32::from(identification))
            .wrapping_add(first)
            .wrapping_add(last);
        let checksum = !checksum::fold32(sum);

        let [version, tos] = self.version_and_tos;
        let [len_high, len_low] = total_length.to_ne_bytes();
        let [id_high, id_low] = identification.to_ne_bytes();
        let [flags, offset] = self.flags;
        let [ttl, protocol] = self.ttl_and_protocol;
        let [sum_high, sum_low] = checksum.to_ne_bytes();
        let [a, b, c, d] = self.source;
        let [e, f, g, h] = destination.octets();
        *packet.push_front()? = [
            version, tos, len_high, len_low, id_high, id_low, flags, offset, ttl, protocol, sum_high, sum_low, a, b, c,
            d, e, f, g, h,
        ];
        Ok(())
    }
}

/// The two 16-bit words of an address, as the machine loads them; which is
/// which does not matter to a sum.
#[inline(always)]
fn halves(address: Ipv4Addr) -> (u32, u32) {
    let bits = u32::from_ne_bytes(address.octets());
    (bits >> 16, bits & 0xffff)
}
