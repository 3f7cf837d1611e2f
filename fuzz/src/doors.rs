//! The two doors of a machine: an outer header beside the bytes, as a socket
//! has it, and a whole IPv4 packet.

use std::net::Ipv4Addr;

use isatap_core::packet::{HEADROOM, PacketMut};
use isatap_core::proto41::Outer;

use crate::input::fix_ipv4;

/// Room for an answer that is longer than what it answers.
const TAILROOM: usize = 256;

/// What a call makes of a packet, and the bytes that are then in the buffer.
pub fn with_packet<R>(bytes: &[u8], call: impl FnOnce(&mut PacketMut<'_>) -> R) -> (R, Vec<u8>) {
    let mut buffer = vec![0xa5; HEADROOM];
    buffer.extend_from_slice(bytes);
    let end = buffer.len();
    buffer.resize(end + TAILROOM, 0);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..end).unwrap();
    let result = call(&mut packet);
    let left = packet.as_slice().to_vec();
    (result, left)
}

/// The packet that leaves when a machine gives this header and these bytes.
/// Whoever gets it takes the same apart again.
pub fn on_the_wire(outer: &Outer, behind: &[u8]) -> Vec<u8> {
    let (pushed, whole) = with_packet(behind, |packet| outer.push(packet));
    assert_eq!(pushed, Ok(()), "{outer:?}");
    let (pulled, left) = with_packet(&whole, Outer::pull);
    assert_eq!((pulled, &left[..]), (Ok(*outer), behind));
    whole
}

/// A packet whose header was taken off by somebody else.
pub struct Beside {
    /// What the header says, nothing of which was checked.
    pub outer: Outer,
    /// What came behind it.
    pub behind: Vec<u8>,
    /// The sound packet that has this header and these bytes, for oracles.
    pub whole: Vec<u8>,
}

/// Takes the header off any bytes; they need not be an IPv4 packet. `None`: too
/// few for a header.
pub fn beside(packet: &[u8]) -> Option<Beside> {
    let header = packet.first_chunk::<20>()?;
    let start = usize::from(header[0] & 0xf) * 4;
    let behind = packet.get(start.max(20)..).unwrap_or(&[]);
    let behind = behind[..behind.len().min(65_515)].to_vec();
    let is_protocol_41 = header[9] == 41;
    let pair = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let address = |at: usize| Ipv4Addr::new(header[at], header[at + 1], header[at + 2], header[at + 3]);
    let outer = Outer {
        source: address(12),
        destination: address(16),
        ports: (!is_protocol_41).then(|| (pair(10), pair(8))),
        tos: header[1],
        ttl: header[8],
        dont_fragment: header[6] & 0x40 != 0,
        identification: pair(4),
    };
    let mut whole = header.to_vec();
    whole[0] = 0x45;
    whole[2..4].copy_from_slice(&u16::try_from(20 + behind.len()).unwrap().to_be_bytes());
    whole[6] &= 0x40;
    whole[7] = 0;
    whole[9] = if is_protocol_41 { 41 } else { 17 };
    fix_ipv4(&mut whole);
    whole.extend_from_slice(&behind);
    Some(Beside { outer, behind, whole })
}
