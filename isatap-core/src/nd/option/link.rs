//! What is said of the link: addresses, the MTU, a packet that went the long
//! way. [RFC 4861 §4.6.1, 4.6.3, 4.6.4]

use super::{option_type, whole, writer_length};
use crate::wire::field::{Writer, u32_at};

/// A link-layer address, with the padding behind it. [RFC 4861 §4.6.1]
///
/// Tunnels neither send nor read it. `TUN-63 [RFC 4213 §3.8]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkLayerAddress<'a> {
    /// The bytes behind type and length: 6, 14, 22, …
    pub address: &'a [u8],
}

impl LinkLayerAddress<'_> {
    pub(super) fn emit(&self, option_type: u8, writer: &mut Writer<'_>) {
        let address = self.address.get(..2038).unwrap_or(self.address);
        writer.u8(option_type);
        let padding = writer_length(writer, address.len().saturating_add(2));
        writer.bytes(address);
        writer.zeros(padding);
    }
}

/// The packet that a Redirect answers, as much as there was room for.
/// [RFC 4861 §4.6.3]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectedHeader<'a> {
    /// The packet from its IPv6 header on, possibly cut and padded.
    pub packet: &'a [u8],
}

impl RedirectedHeader<'_> {
    /// Writes the option, as many bytes as the packet has (at most 2032) and
    /// 8 to 15 more. The caller cuts the packet so that the message keeps to
    /// 1280 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        let packet = self.packet.get(..2032).unwrap_or(self.packet);
        writer.u8(option_type::REDIRECTED_HEADER);
        let padding = writer_length(writer, packet.len().saturating_add(8));
        writer.zeros(6);
        writer.bytes(packet);
        writer.zeros(padding);
    }
}

/// The MTU of the link in bytes, whatever was sent: who uses it checks it
/// against 1280 and the link (NDP-14). [RFC 4861 §4.6.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mtu(pub u32);

impl Mtu {
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        whole::<8>(bytes).map(|bytes| Mtu(u32_at::<4, 8>(bytes)))
    }

    /// Writes the option, 8 bytes.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        writer.bytes(&[option_type::MTU, 1, 0, 0]);
        writer.u32(self.0);
    }
}
