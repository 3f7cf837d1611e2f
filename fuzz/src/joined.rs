//! Datagrams that the kernel has joined, as it hands them out: any lengths.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU16;

use isatap_core::packet::HEADROOM;
use isatap_core::proto41::Outer;
use isatap_std::proto41_socket::ReceiveBatch;

/// What the kernel joins at most.
const MOST: usize = 128;
/// What an answer may be as long as.
const ANSWER: usize = 1280;

/// The first byte says how many buffers there are; each four that follow are the size of a datagram, as the kernel
/// tells it, and the length of all. Twice, so that what a first batch leaves behind meets a second: each datagram comes as
/// the bytes that it was, with room in front and for an answer, and nobody else's room is in it.
pub fn joined_datagrams(data: &[u8]) {
    let Some((capacity, joins)) = data.split_first() else { return };
    let mut batch = ReceiveBatch::new(usize::from(capacity % 8) + 1);
    for _ in 0..2 {
        batch.restart();
        // Each datagram with what refuses it.
        let mut expected: Vec<(Vec<u8>, bool)> = Vec::new();
        for (number, join) in joins.chunks_exact(4).take(batch.capacity()).enumerate() {
            let [size, length] = [[join[0], join[1]], [join[2], join[3]]].map(u16::from_le_bytes);
            let bytes: Vec<u8> = (0..usize::from(length)).map(|at| (at ^ at >> 8 ^ number << 4) as u8).collect();
            let buffer = batch.vacant().next().expect("one for each join");
            buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(&bytes);
            let at = |last| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 3544);
            batch.occupy(Outer::udp(at(1), at(2)), bytes.len(), NonZeroU16::new(size));
            let mut rest = bytes.clone();
            let mut datagrams = Vec::new();
            while size > 0 && rest.len() > usize::from(size) && datagrams.len() <= MOST {
                let behind = rest.split_off(size.into());
                datagrams.push((std::mem::replace(&mut rest, behind), false));
            }
            datagrams.push((rest, false));
            expected.extend(if datagrams.len() > MOST { vec![(bytes, true)] } else { datagrams });
        }
        assert_eq!(batch.len(), expected.len());
        for (number, (bytes, is_refused)) in expected.iter().enumerate() {
            let (buffer, arrival) = batch.packet_mut(number).expect("one for each datagram");
            assert_eq!(arrival.range, HEADROOM..HEADROOM + bytes.len());
            assert_eq!((&buffer[arrival.range.clone()], arrival.refused.is_some()), (&bytes[..], *is_refused));
            assert!(buffer.len() >= HEADROOM + ANSWER);
            // Those behind it are compared after this.
            buffer.fill(0xee);
        }
        for number in 0..expected.len() {
            let (buffer, _) = batch.packet_mut(number).expect("one for each datagram");
            assert!(buffer.iter().all(|byte| *byte == 0xee));
        }
    }
}
