//! Wire views: each header at every length, and what is read written again.

use isatap_core::proto41::icmp::TunnelError;
use isatap_core::wire::{icmpv4, icmpv6, ipv4, ipv6, udp};

use crate::input::sum;
use crate::oracle::options;

/// Each view on each prefix of the input.
pub fn wire_views(data: &[u8]) {
    // Lengths about which something is decided lie below; what is longer
    // differs in the payload only.
    for len in 0..=data.len().min(160) {
        views(&data[..len]);
    }
    views(data);
}

fn views(bytes: &[u8]) {
    let (source, destination) = ("fe80::1".parse().unwrap(), "ff02::2".parse().unwrap());
    if let Ok(header) = ipv4::Header::parse(bytes) {
        let len = header.header_len();
        assert!((20..=60).contains(&len) && len % 4 == 0);
        assert_eq!(header.payload().len() + len, usize::from(header.total_length()));
        assert_eq!(header.options().len() + 20, len);
        // A source route that can be read is found, whatever comes behind it.
        if options::read(header.options()) != options::Answer::RefuseMalformed {
            let is_refused = options::read(header.options()) == options::Answer::RefuseSourceRoute;
            assert_eq!(header.is_source_routed(), is_refused);
        }
        assert_eq!(header.is_checksum_valid(), sum(&[&bytes[..len]]) == 0xffff);
        if len == 20 && header.is_checksum_valid() && bytes[6] & 0x80 == 0 {
            assert_eq!(header.fields().to_bytes(), bytes[..20]);
        }
    }
    if let Ok(header) = ipv6::Header::parse(bytes) {
        assert_eq!(header.packet_len(), 40 + header.payload().len());
        assert_eq!(header.fields().to_bytes(), bytes[..40]);
        let mut changed: [u8; 40] = bytes[..40].try_into().unwrap();
        ipv6::set_ecn(&mut changed, 3);
        assert_eq!(ipv6::traffic_class(&changed), header.traffic_class() | 3);
        if let Ok(upper) = ipv6::upper_layer(bytes) {
            assert!((40..=bytes.len()).contains(&upper.offset));
        }
        let _ = ipv6::nesting(bytes);
    }
    if let Ok(header) = udp::Header::parse(bytes) {
        assert_eq!(header.payload().len() + 8, usize::from(header.length()));
    }
    if let Ok(message) = icmpv6::Message::parse(bytes, &source, &destination) {
        let len = u32::try_from(bytes.len()).unwrap().to_be_bytes();
        let octets = [source.octets(), destination.octets()];
        assert_eq!(sum(&[&octets[0], &octets[1], &len, &[0, 0, 0, 58], bytes]), 0xffff);
        assert_eq!(message.is_error(), message.message_type() < 128);
    }
    if let Ok(message) = icmpv4::Message::parse(bytes) {
        assert_eq!(sum(&[bytes]), 0xffff);
        assert!(message.quote().len() < bytes.len());
    }
    if let Ok(error) = TunnelError::parse(bytes)
        && let Some(inner) = error.inner(bytes)
    {
        assert!(inner.len() < bytes.len());
    }
}
