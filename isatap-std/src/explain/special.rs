//! Blocks of addresses that have a meaning of their own. [RFC 6890 and the
//! IANA special-purpose address registries]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};

/// A block, where it comes from, and one sentence.
pub(super) struct Block {
    pub(super) prefix: &'static str,
    pub(super) rfc: &'static str,
    pub(super) what: &'static str,
}

/// The smallest special block that an address lies in.
pub(super) fn block_of(address: IpAddr) -> Option<&'static Block> {
    match address {
        IpAddr::V4(address) => IPV4.iter().find(|block| contains_ipv4(block.prefix, address)),
        IpAddr::V6(address) => IPV6.iter().find(|block| contains_ipv6(block.prefix, &address)),
    }
}

fn contains_ipv4(prefix: &str, address: Ipv4Addr) -> bool {
    prefix.parse::<Ipv4Prefix>().is_ok_and(|prefix| prefix.contains(address))
}

fn contains_ipv6(prefix: &str, address: &Ipv6Addr) -> bool {
    prefix.parse::<Ipv6Prefix>().is_ok_and(|prefix| prefix.contains(address))
}

const fn block(prefix: &'static str, rfc: &'static str, what: &'static str) -> Block {
    Block { prefix, rfc, what }
}

/// Smaller blocks in front of those around them.
const IPV4: &[Block] = &[
    block("0.0.0.0/32", "RFC 1122 §3.2.1.3", "No address: this host, which Linux connects to itself."),
    block("0.0.0.0/8", "RFC 1122 §3.2.1.3", "This network: never the source or destination of a packet."),
    block("10.0.0.0/8", "RFC 1918 §3", "Private: unique within one site only."),
    block("100.64.0.0/10", "RFC 6598 §7", "Shared between customers of one provider, behind its NAT."),
    block("127.0.0.0/8", "RFC 1122 §3.2.1.3", "Loopback: this host."),
    block("169.254.0.0/16", "RFC 3927 §2.1", "Link-local; clouds have their metadata service here."),
    block("172.16.0.0/12", "RFC 1918 §3", "Private: unique within one site only."),
    block("192.0.0.0/24", "RFC 6890 §2.2.2", "For protocols of the IETF."),
    block("192.0.2.0/24", "RFC 5737 §3", "For documentation."),
    block("192.88.99.0/24", "RFC 7526 §5", "The deprecated anycast address of 6to4 relays."),
    block("192.168.0.0/16", "RFC 1918 §3", "Private: unique within one site only."),
    block("198.18.0.0/15", "RFC 2544 §C.2.2", "For benchmarks of network devices."),
    block("198.51.100.0/24", "RFC 5737 §3", "For documentation."),
    block("203.0.113.0/24", "RFC 5737 §3", "For documentation."),
    block("224.0.0.253/32", "RFC 4380 §2.17", "The group in which Teredo clients of one link find each other."),
    block("224.0.0.0/4", "RFC 1112 §4", "Multicast."),
    block("255.255.255.255/32", "RFC 919 §7", "Broadcast on this link."),
    block("240.0.0.0/4", "RFC 1112 §4", "Reserved."),
];

const IPV6: &[Block] = &[
    block("::/128", "RFC 4291 §2.5.2", "No address: an interface that has none yet."),
    block("::1/128", "RFC 4291 §2.5.3", "Loopback: this host."),
    block("100::/64", "RFC 6666 §4", "Whatever is sent here is discarded."),
    block("2001:1::1/128", "RFC 7723 §4", "The nearest port control server."),
    block("2001:2::/48", "RFC 5180 §8", "For benchmarks of network devices."),
    block("2001:3::/32", "RFC 7450 §7", "Automatic multicast tunnelling."),
    block("2001:10::/28", "RFC 4843 §2", "Identifiers of cryptographic keys, the old ones: no addresses."),
    block("2001:20::/28", "RFC 7343 §2", "Identifiers of cryptographic keys: no addresses."),
    block("2001:db8::/32", "RFC 3849 §2", "For documentation."),
    block("2001::/23", "RFC 2928 §2", "For protocols of the IETF."),
    block("3ffe::/16", "RFC 3701 §2", "The 6bone, which ended in 2006."),
    block("3fff::/20", "RFC 9637 §3", "For documentation."),
    block("5f00::/16", "RFC 9602 §2", "Identifiers of segment routing: no addresses."),
    block("fc00::/7", "RFC 4193 §3", "Unique local: routed within sites that agree on it, not beyond."),
    block("fe80::/10", "RFC 4291 §2.5.6", "Link-local: says nothing without the interface."),
    block("fec0::/10", "RFC 3879 §4", "Site-local, deprecated."),
    block("ff02::1/128", "RFC 4291 §2.7.1", "All nodes of the link."),
    block("ff02::2/128", "RFC 4291 §2.7.1", "All routers of the link."),
    block("ff02::1:ff00:0/104", "RFC 4291 §2.7.1", "Solicited-node multicast: who has an address that ends so."),
    block("ff00::/8", "RFC 4291 §2.7", "Multicast; no tunnel of this kind carries it beyond the link."),
    block("64:ff9b:1::/48", "RFC 8215 §3", "For translators of one network."),
];
