//! Bytes of a fuzzer, taken apart.

use std::net::{Ipv4Addr, Ipv6Addr};

/// What is left of the input. An empty one gives zeros, so that a body needs
/// no error path of its own.
pub struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    /// All of it.
    pub fn new(data: &'a [u8]) -> Self {
        Input(data)
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// The next two bytes.
    pub fn u16(&mut self) -> u16 {
        u16::from_be_bytes([self.byte(), self.byte()])
    }

    /// The next four bytes.
    pub fn u32(&mut self) -> u32 {
        u32::from(self.u16()) << 16 | u32::from(self.u16())
    }

    /// At most `most` bytes.
    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// The rest.
    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    /// One of these.
    pub fn among<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.byte()) % choices.len()]
    }

    /// An IPv6 address of 16 bytes.
    pub fn ipv6(&mut self) -> Ipv6Addr {
        let mut octets = [0; 16];
        octets.fill_with(|| self.byte());
        octets.into()
    }

    /// An IPv4 address of 4 bytes.
    pub fn ipv4(&mut self) -> Ipv4Addr {
        self.u32().into()
    }
}

/// RFC 1071 with one 16-bit word at a time: the sum of bytes, folded.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut total = 0_u64;
    for part in parts {
        for pair in part.chunks(2) {
            total += u64::from(pair[0]) * 256 + u64::from(*pair.get(1).unwrap_or(&0));
        }
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

/// Sets the checksum of an IPv4 header, options included, where there is one.
pub fn fix_ipv4(packet: &mut [u8]) {
    let len = usize::from(packet.first().copied().unwrap_or(0) & 0xf) * 4;
    if let Some(header) = packet.get_mut(..len).filter(|header| header.len() >= 20) {
        header[10..12].fill(0);
        let checksum = !sum(&[header]);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
    }
}

/// Sets the ICMPv6 checksum of an IPv6 packet without extension headers.
pub fn fix_icmpv6(packet: &mut [u8]) {
    if packet.len() < 44 {
        return;
    }
    let (header, message) = packet.split_at_mut(40);
    message[2..4].fill(0);
    let len = u32::try_from(message.len()).unwrap().to_be_bytes();
    let checksum = !sum(&[&header[8..40], &len, &[0, 0, 0, 58], message]);
    message[2..4].copy_from_slice(&checksum.to_be_bytes());
}
