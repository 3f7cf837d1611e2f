//! The same work by other libraries: as much of it as they offer.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

/// By etherparse.
pub mod by_etherparse {
    use super::*;
    use etherparse::icmpv6::{Icmpv6PayloadSlice, NdpOptionSlice};
    use etherparse::{IpNumber, Ipv4Header, Ipv4HeaderSlice, Ipv6HeaderSlice};

    /// Both headers, with the checksum of the outer one; no address is judged.
    #[inline(always)]
    pub fn parse(outer: &[u8]) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let ipv4 = Ipv4HeaderSlice::from_slice(outer).ok()?;
        if ipv4.header_checksum() != ipv4.to_header().calc_header_checksum() || ipv4.protocol() != IpNumber::IPV6 {
            return None;
        }
        let inner = outer.get(usize::from(ipv4.ihl()) * 4..usize::from(ipv4.total_len()))?;
        let ipv6 = Ipv6HeaderSlice::from_slice(inner).ok()?;
        if inner.len() < 40 + usize::from(ipv6.payload_length()) {
            return None;
        }
        black_box((ipv4.destination_addr(), ipv6.destination_addr()));
        Some((ipv4.source_addr(), ipv6.source_addr()))
    }

    /// The outer header, in front of a packet.
    #[inline(always)]
    pub fn encapsulate(front: &mut [u8; 20], payload: u16, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        let Ok(mut header) = Ipv4Header::new(payload, 64, IpNumber::IPV6, source.octets(), destination.octets()) else {
            return false;
        };
        header.header_checksum = header.calc_header_checksum();
        front.copy_from_slice(&header.to_bytes());
        true
    }

    /// An advertisement, its checksum verified and its options read.
    #[inline(always)]
    pub fn router_advertisement(packet: &[u8]) -> Option<(u32, u32, u8)> {
        let ipv6 = Ipv6HeaderSlice::from_slice(packet).ok()?;
        let message = etherparse::Icmpv6Slice::from_slice(packet.get(40..)?).ok()?;
        if ipv6.hop_limit() != 255 || !message.is_checksum_valid(ipv6.source(), ipv6.destination()) {
            return None;
        }
        let Ok(Icmpv6PayloadSlice::RouterAdvertisement(payload)) = message.payload_slice() else { return None };
        let (mut mtu, mut length) = (0, 0);
        for option in payload.options_iterator().flatten() {
            match option {
                NdpOptionSlice::PrefixInformation(option) => {
                    black_box(option.prefix());
                    length = option.prefix_length();
                }
                NdpOptionSlice::Mtu(option) => mtu = option.mtu(),
                _ => {}
            }
        }
        let etherparse::Icmpv6Type::RouterAdvertisement(header) = message.icmp_type() else { return None };
        Some((u32::from(header.router_lifetime), mtu, length))
    }

    /// A solicitation without options, with its IPv6 header.
    #[inline(always)]
    pub fn router_solicitation(out: &mut [u8; 48], source: &Ipv6Addr, destination: &Ipv6Addr) -> bool {
        let header = etherparse::Ipv6Header {
            payload_length: 8,
            next_header: IpNumber::IPV6_ICMP,
            hop_limit: 255,
            source: source.octets(),
            destination: destination.octets(),
            ..Default::default()
        };
        let Ok(message) = etherparse::Icmpv6Type::RouterSolicitation.to_header(header.source, header.destination, &[])
        else {
            return false;
        };
        let (front, back) = out.split_at_mut(40);
        front.copy_from_slice(&header.to_bytes());
        back.copy_from_slice(&message.to_bytes());
        true
    }

    /// The Internet checksum.
    #[inline(always)]
    pub fn internet_checksum(bytes: &[u8]) -> u16 {
        etherparse::checksum::Sum16BitWords::new().add_slice(bytes).ones_complement().to_be()
    }
}

/// By smoltcp's wire module.
pub mod by_smoltcp {
    use super::*;
    use smoltcp::phy::ChecksumCapabilities;
    use smoltcp::wire::{Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, NdiscRepr};

    const IPV6: IpProtocol = IpProtocol::Unknown(41);

    /// Both headers, with the checksum of the outer one; no address is judged.
    #[inline(always)]
    pub fn parse(outer: &[u8]) -> Option<(Ipv4Addr, Ipv6Addr)> {
        let ipv4 = Ipv4Packet::new_checked(outer).ok()?;
        if !ipv4.verify_checksum() || ipv4.next_header() != IPV6 {
            return None;
        }
        let ipv6 = Ipv6Packet::new_checked(ipv4.payload()).ok()?;
        black_box((ipv4.dst_addr(), ipv6.dst_addr()));
        Some((ipv4.src_addr(), ipv6.src_addr()))
    }

    /// The outer header, in front of a packet.
    #[inline(always)]
    pub fn encapsulate(front: &mut [u8; 20], payload: u16, source: Ipv4Addr, destination: Ipv4Addr) -> bool {
        let repr = Ipv4Repr {
            src_addr: source,
            dst_addr: destination,
            next_header: IPV6,
            payload_len: usize::from(payload),
            hop_limit: 64,
        };
        repr.emit(&mut Ipv4Packet::new_unchecked(front.as_mut_slice()), &ChecksumCapabilities::default());
        true
    }

    /// An advertisement, its checksum verified and its options read.
    #[inline(always)]
    pub fn router_advertisement(packet: &[u8]) -> Option<(u32, u32, u8)> {
        let ipv6 = Ipv6Packet::new_checked(packet).ok()?;
        if ipv6.hop_limit() != 255 {
            return None;
        }
        let message = Icmpv6Packet::new_checked(ipv6.payload()).ok()?;
        let capabilities = ChecksumCapabilities::default();
        match Icmpv6Repr::parse(&ipv6.src_addr(), &ipv6.dst_addr(), &message, &capabilities).ok()? {
            Icmpv6Repr::Ndisc(NdiscRepr::RouterAdvert { router_lifetime, mtu, prefix_info, .. }) => {
                let prefix = black_box(prefix_info?);
                Some((router_lifetime.secs() as u32, mtu?, prefix.prefix_len))
            }
            _ => None,
        }
    }

    /// A solicitation without options, with its IPv6 header.
    #[inline(always)]
    pub fn router_solicitation(out: &mut [u8; 48], source: &Ipv6Addr, destination: &Ipv6Addr) -> bool {
        let repr = Icmpv6Repr::Ndisc(NdiscRepr::RouterSolicit { lladdr: None });
        let header = Ipv6Repr {
            src_addr: *source,
            dst_addr: *destination,
            next_header: IpProtocol::Icmpv6,
            payload_len: repr.buffer_len(),
            hop_limit: 255,
        };
        let (front, back) = out.split_at_mut(40);
        header.emit(&mut Ipv6Packet::new_unchecked(front));
        repr.emit(source, destination, &mut Icmpv6Packet::new_unchecked(back), &ChecksumCapabilities::default());
        true
    }

    /// The Internet checksum.
    #[inline(always)]
    pub fn internet_checksum(bytes: &[u8]) -> u16 {
        !smoltcp::wire::checksum::data(bytes)
    }
}
