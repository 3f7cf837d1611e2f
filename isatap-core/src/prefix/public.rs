//! Which addresses are reachable from anywhere. [RFC 6890, and the IANA
//! special-purpose address registries that it began]

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::halves;
use super::special::{Kinds, has_ipv4, has_ipv6};

/// Whether an address is one of the public internet: unicast, and "globally
/// reachable" in IANA's registry of special-purpose addresses.
///
/// Not so are, in IPv4: 0/8, 10/8, 100.64/10, 127/8, 169.254/16, 172.16/12,
/// 192.0.0/24, 192.0.2/24, 192.88.99/24, 192.168/16, 198.18/15, 198.51.100/24,
/// 203.0.113/24, and everything from 224/4 on. In IPv6: all outside of
/// `2000::/3`, 2001::/23 but for its public parts, 2001:db8::/32, 3fff::/20,
/// and the 6bone's old 3ffe::/16.
///
/// Refused, too, are the addresses of services that the network around a host
/// answers, another one at each place. The registry does not have the first,
/// and calls the others globally reachable:
///
/// | address | who answers |
/// |---|---|
/// | 168.63.129.16 | Azure's platform, to each virtual machine: DNS, DHCP, and the "wire server" that tells agents settings and keys |
/// | 192.0.0.9, 2001:1::1 | the NAT or firewall in front, which opens ports (PCP). RFC 7723 §4 |
/// | 192.0.0.10, 2001:1::2 | the nearest TURN server, which relays to where its asker cannot reach. RFC 8155 |
/// | 2001:1::3 | the nearest server that registers services for DNS-SD. RFC 9665 |
///
/// Public are those that anybody reaches across the Internet: AS112 servers
/// (192.31.196/24, 192.175.48/24, 2001:4:112::/48, 2620:4f:8000::/48), relays
/// of multicast (192.52.193/24, 2001:3::/32), and the identifiers 2001:20::/28
/// and 2001:30::/28.
///
/// Where the registry says "not applicable" or what counts is an IPv4 address
/// inside, that one is asked: `2002::/16`, both addresses of Teredo, and
/// `64:ff9b::/96`. This is **not** all that can hide in an address: see
/// [`embedded`](crate::embedded), whose `permits` is made to ask this
/// function about everything.
#[must_use]
pub const fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_ipv4(address),
        IpAddr::V6(address) => is_public_ipv6(&address),
    }
}

const fn is_public_ipv4(address: Ipv4Addr) -> bool {
    !has_ipv4::<{ Kinds::all().bits() }>(address)
}

#[expect(clippy::as_conversions, reason = "parts of a word are meant, in a const fn")]
const fn is_public_ipv6(address: &Ipv6Addr) -> bool {
    let (high, low) = halves(address);
    if high == 0x0064_ff9b << 32 && low >> 32 == 0 {
        is_public_ipv4(Ipv4Addr::from_bits(low as u32))
    } else if high >> 32 == 0x2001_0000 {
        is_public_ipv4(Ipv4Addr::from_bits(high as u32)) && is_public_ipv4(Ipv4Addr::from_bits(!low as u32))
    } else if high >> 48 == 0x2002 {
        is_public_ipv4(Ipv4Addr::from_bits((high >> 16) as u32))
    } else {
        high >> 61 == 1 && (has_ipv6(address, Kinds::GLOBAL) || !has_ipv6(address, Kinds::all()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prefix::{Ipv4Prefix, Ipv6Prefix};
    use std::vec::Vec;

    /// At the borders of each block, inside and out, against lists.
    #[test]
    fn n64_2_public_ends_where_the_blocks_of_the_registries_do() {
        let not_public = [
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "168.63.129.16/32",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/4",
            "240.0.0.0/4",
        ]
        .map(|text| text.parse::<Ipv4Prefix>().unwrap());
        let mut borders: Vec<u32> = Vec::new();
        for block in &not_public {
            let first = block.address().to_bits();
            let last = block.broadcast().map_or(first, Ipv4Addr::to_bits);
            borders.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)]);
        }
        for ipv4 in borders.iter().copied().map(Ipv4Addr::from_bits) {
            let expected = !not_public.iter().any(|block| block.contains(ipv4));
            assert_eq!(is_public(IpAddr::V4(ipv4)), expected, "{ipv4}");
            // Where an IPv4 address is what counts, that one is asked.
            let [a, b, c, d] = ipv4.octets();
            let six_to_four = Ipv6Addr::from_octets([0x20, 2, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
            let nat64 = Ipv6Addr::from_octets([0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0, a, b, c, d]);
            let server = Ipv6Addr::from_octets([0x20, 1, 0, 0, a, b, c, d, 0, 0, 0, 0, 247, 247, 247, 247]);
            let client = Ipv6Addr::from_octets([0x20, 1, 0, 0, 8, 8, 8, 8, 0, 0, 0, 0, !a, !b, !c, !d]);
            for address in [six_to_four, nat64, server, client] {
                assert_eq!(is_public(IpAddr::V6(address)), expected, "{address}");
            }
        }
        // The first that match decide.
        let blocks = [
            ("2001:1::1/128", false),
            ("2001:1::2/127", false),
            ("2001:3::/32", true),
            ("2001:4:112::/48", true),
            ("2001:20::/28", true),
            ("2001:30::/28", true),
            ("2001::/23", false),
            ("2001:db8::/32", false),
            ("3ffe::/16", false),
            ("3fff::/20", false),
            ("2000::/3", true),
            ("::/0", false),
        ]
        .map(|(text, public)| (text.parse::<Ipv6Prefix>().unwrap(), public));
        let of_ipv4 = ["2001::/32", "2002::/16", "64:ff9b::/96"].map(|text| text.parse::<Ipv6Prefix>().unwrap());
        for (block, _) in &blocks {
            let first = block.address().to_bits();
            let last = first | u128::MAX.checked_shr(block.length().into()).unwrap_or(0);
            for bits in [first, last, first.wrapping_sub(1), last.wrapping_add(1)] {
                let address = Ipv6Addr::from_bits(bits);
                if of_ipv4.iter().any(|prefix| prefix.contains(&address)) {
                    continue;
                }
                let expected =
                    blocks.iter().find(|(block, _)| block.contains(&address)).is_some_and(|(_, public)| *public);
                assert_eq!(is_public(IpAddr::V6(address)), expected, "{address}");
            }
        }
    }

    #[test]
    fn n64_2_public_addresses_are_those_of_the_registries() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "168.63.129.15",
            "168.63.129.17",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.31.196.1",
            "192.52.193.1",
            "192.175.48.1",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "203.0.114.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "2000::",
            "3ffd:ffff::",
            "3fff:1000::1",
            "2001:200::1",
            "2001:3::1",
            "2001:4:112::1",
            "2620:4f:8000::1",
            "2001:20::1",
            "2001:3f:ffff::1",
            "2003::1",
            "2002:808:808::1",
            "64:ff9b::8.8.8.8",
            "2001:0:808:808:0:efff:f7f7:f7f7",
            "2606:4700::5efe:10.0.0.1",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for other in [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "100.100.100.200",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.8",
            "192.0.0.9",
            "192.0.0.10",
            "192.0.0.11",
            "192.0.0.192",
            "192.0.2.33",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::8.8.8.8",
            "::ffff:8.8.8.8",
            "::ffff:0:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "100::1",
            "1fff:ffff::",
            "100:0:0:1::1",
            "2001:1::",
            "2001:1::1",
            "2001:1::2",
            "2001:1::3",
            "2001:1::4",
            "2001:2::1",
            "2001:10::1",
            "2001:40::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2002:a00:1::1",
            "2002:7f00:1::",
            "3ffe::1",
            "3fff::1",
            "3fff:fff::1",
            "4000::",
            "5f00::1",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:0:8e0:1:0:ffff:f5ff:fffe",
            "2001:0:a00:1:0:efff:f7f7:f7f7",
        ] {
            assert!(!is_public(other.parse().unwrap()), "{other}");
        }
    }
}
