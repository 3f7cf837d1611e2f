//! The Router Advertisement of a server: the same for every client but for the
//! destination, and written once. `TER-62 [RFC 4380 §5.3.2]`

use core::net::Ipv6Addr;

use super::ServerConfig;
use crate::nd::message::{HOP_LIMIT, RouterAdvertisementRepr, RouterFlags};
use crate::nd::option::{Mtu, PrefixFlags, PrefixInformation};
use crate::teredo::addr::{prefix_of, server_link_local};
use crate::teredo::packet;
use crate::time::Lifetime;
use crate::wire::checksum::Sum;
use crate::wire::field::{Writer, u16_at};
use crate::wire::{icmpv6, ipv6, protocol};

/// IPv6 header, Router Advertisement, prefix and MTU.
pub(super) const LEN: usize = 40 + 16 + 32 + 8;

/// An advertisement to nobody: to `::`.
#[derive(Clone)]
pub(super) struct Advertisement([u8; LEN]);

impl Advertisement {
    /// As miredo's, which every client is known to take.
    pub(super) fn new(config: &ServerConfig) -> Self {
        let (source, destination) = (server_link_local(config.primary), Ipv6Addr::UNSPECIFIED);
        let mut bytes = [0; LEN];
        let mut writer = Writer::new(&mut bytes);
        let header = ipv6::Fields {
            traffic_class: 0,
            flow_label: 0,
            payload_len: 16 + 32 + 8,
            next_header: protocol::ICMPV6,
            hop_limit: HOP_LIMIT,
            source,
            destination,
        };
        writer.bytes(&header.to_bytes());
        RouterAdvertisementRepr {
            flags: RouterFlags::empty(),
            retrans_timer: config.retrans_timer,
            ..RouterAdvertisementRepr::default()
        }
        .emit(&mut writer);
        PrefixInformation {
            prefix: prefix_of(config.primary),
            flags: PrefixFlags::AUTONOMOUS,
            valid_lifetime: Lifetime::INFINITE,
            preferred_lifetime: Lifetime::INFINITE,
        }
        .emit(&mut writer);
        Mtu(u32::from(packet::MTU)).emit(&mut writer);
        if let Some(message) = bytes.get_mut(ipv6::HEADER_LEN..) {
            icmpv6::fill_checksum(message, &source, &destination);
        }
        Advertisement(bytes)
    }

    /// The same to a client.
    pub(super) fn to(&self, client: &Ipv6Addr) -> [u8; LEN] {
        let mut bytes = self.0;
        // RFC 1624: the sum is that of before, which `::` added nothing to, and the destination's.
        let checksum = Sum::ZERO.u16(!u16_at::<42, LEN>(&bytes)).ipv6(client).checksum();
        if let Some(place) = bytes.get_mut(24..).and_then(<[u8]>::first_chunk_mut) {
            *place = client.octets();
        }
        if let Some(place) = bytes.get_mut(42..).and_then(<[u8]>::first_chunk_mut) {
            *place = checksum.to_be_bytes();
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn ter_62_only_destination_and_checksum_differ(primary: u32, retrans_timer: u32, client: u128) {
            let mut config = ServerConfig::new(Ipv4Addr::from_bits(primary));
            config.retrans_timer = retrans_timer;
            let (template, client) = (Advertisement::new(&config), Ipv6Addr::from_bits(client));
            let mut expected = template.0;
            expected[24..40].copy_from_slice(&client.octets());
            icmpv6::fill_checksum(&mut expected[40..], &server_link_local(config.primary), &client);
            prop_assert_eq!(template.to(&client), expected);
        }
    }
}
