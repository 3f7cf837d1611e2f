//! What is measured, written once: `timing` (criterion, nanoseconds) and
//! `instructions` (gungraun under valgrind, exact counts) both call these.
//!
//! A new bench is a function here and one line in each of the two.

use std::net::{Ipv4Addr, Ipv6Addr};

/// A packet of `length` bytes whose content does not matter.
pub fn packet(length: usize) -> Vec<u8> {
    (0..length).map(|index| index.to_le_bytes()[0]).collect()
}

/// The last 32 bits of an address, which an ISATAP identifier embeds.
pub fn embedded_ipv4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// The version nibble of a packet.
pub fn version(packet: &[u8]) -> Option<u8> {
    packet.first().map(|byte| byte >> 4)
}
