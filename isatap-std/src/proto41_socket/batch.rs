//! Memory for packets that are received many at a time.

use super::receive::Arrival;
use crate::offload::{BUFFER_LEN, MINIMUM_MTU};
use isatap_core::drop_reason::DropReason;
use isatap_core::packet::HEADROOM;
use isatap_core::proto41::Outer;
use std::io;
use std::num::NonZeroU16;
use std::ops::Range;

/// Buffers for [`Proto41Socket::receive`](super::Proto41Socket::receive) and its like, 64 KiB and headroom each,
/// and what was received into them. Memory that no packet has needed yet is not used.
#[derive(Debug)]
pub struct ReceiveBatch {
    slab: Vec<u8>,
    /// What joined datagrams were cut into, each in a buffer of its own.
    pieces: Vec<u8>,
    /// Of the packets that were received last, in order, and where the buffer of each is.
    arrivals: Vec<(Arrival, Buffer)>,
    /// How many buffers of the slab were received into.
    taken: usize,
    capacity: usize,
    /// How many are asked for at once.
    burst: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Buffer {
    Slab(Range<usize>),
    Piece(Range<usize>),
}

/// What one call takes: more gains nothing, and 64 buffers are 4 MiB.
pub(super) const MOST: usize = 64;
/// What is asked for where one packet came at a time.
const FEWEST: usize = 4;
/// How many datagrams the kernel joins (`UDP_MAX_SEGMENTS`).
const MOST_JOINED: usize = 128;

impl ReceiveBatch {
    /// Room for `capacity` packets, from 1 to 64, as the kernel hands them out: it may have joined some.
    pub fn new(capacity: usize) -> Self {
        let capacity = capacity.clamp(1, MOST);
        Self {
            slab: vec![0; capacity * BUFFER_LEN],
            pieces: Vec::new(),
            arrivals: Vec::with_capacity(capacity),
            taken: 0,
            capacity,
            burst: FEWEST,
        }
    }

    /// How many packets were received last.
    pub fn len(&self) -> usize {
        self.arrivals.len()
    }

    /// None was received last.
    pub fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    /// How many packets it has room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// How many more it has room for.
    pub(crate) fn room(&self) -> usize {
        self.capacity - self.taken
    }

    /// The packets received last, in order.
    pub fn arrivals(&self) -> impl Iterator<Item = &Arrival> {
        self.arrivals.iter().map(|(arrival, _)| arrival)
    }

    /// A packet received last, with its whole buffer; `None`: there are fewer.
    pub fn packet_mut(&mut self, number: usize) -> Option<(&mut [u8], &Arrival)> {
        let (arrival, buffer) = self.arrivals.get(number)?;
        let buffer = match buffer {
            Buffer::Slab(range) => self.slab.get_mut(range.clone()),
            Buffer::Piece(range) => self.pieces.get_mut(range.clone()),
        };
        buffer.map(|buffer| (buffer, arrival))
    }

    /// A part of the buffer of a packet received last: what is left of it after
    /// decapsulation. Empty when there is no such packet or place.
    pub fn packet(&self, number: usize, range: Range<usize>) -> &[u8] {
        let buffer = match self.arrivals.get(number) {
            Some((_, Buffer::Slab(buffer))) => self.slab.get(buffer.clone()),
            Some((_, Buffer::Piece(buffer))) => self.pieces.get(buffer.clone()),
            None => None,
        };
        buffer.and_then(|buffer| buffer.get(range)).unwrap_or_default()
    }

    /// Forgets what was received before other sockets fill the batch, one after the other.
    pub fn restart(&mut self) {
        // Datagrams that were joined fill as much as they did before; only many short ones need more, once.
        if self.pieces.len() > self.slab.len() {
            self.pieces.truncate(self.slab.len());
            self.pieces.shrink_to_fit();
        }
        self.burst = (self.taken + 1).next_power_of_two().clamp(FEWEST, MOST);
        self.taken = 0;
        self.arrivals.clear();
    }

    /// Takes at most `most` packets by a function that receives as many more as it is told, at most, and gives how
    /// many those were. It is told about as many as came the last time, so that one packet does not pay for
    /// the room of 64; where more wait, twice as many.
    pub(crate) fn fill_by(
        &mut self,
        most: usize,
        mut receive: impl FnMut(&mut Self, usize) -> io::Result<usize>,
    ) -> io::Result<()> {
        let mut left = most.min(self.room());
        while left > 0 {
            let asked = left.min(self.burst);
            let received = receive(self, asked)?.min(asked);
            left -= received;
            if received < asked {
                break;
            }
            self.burst = (self.burst * 2).min(MOST);
        }
        Ok(())
    }

    /// The whole buffers that nothing was received into yet.
    pub fn vacant(&mut self) -> impl Iterator<Item = &mut [u8]> {
        self.slab.chunks_exact_mut(BUFFER_LEN).skip(self.taken)
    }

    /// The first vacant buffer holds what arrived.
    pub(super) fn push(&mut self, read: impl FnOnce(&[u8]) -> Arrival) {
        let buffer = self.taken * BUFFER_LEN..(self.taken + 1) * BUFFER_LEN;
        if let Some(bytes) = self.slab.get(buffer.clone()) {
            self.arrivals.push((read(bytes), Buffer::Slab(buffer)));
            self.taken += 1;
        }
    }

    /// The first vacant buffer holds, at [`HEADROOM`], this many bytes that came behind `outer`: a datagram, or
    /// several that the kernel has joined, of `size` bytes each but for the last, which may be shorter. It joins
    /// 128 at most: more is no such thing, and nobody is to take it.
    pub fn occupy(&mut self, outer: Outer, length: usize, size: Option<NonZeroU16>) {
        let arrival =
            |length: usize| Arrival { outer, range: HEADROOM..HEADROOM + length, interface: 0, refused: None };
        let length = length.min(BUFFER_LEN - HEADROOM);
        let size = size.map_or(length, |size| usize::from(size.get()));
        if length <= size {
            return self.push(|_| arrival(length));
        }
        if length.div_ceil(size) > MOST_JOINED {
            return self.push(|_| Arrival { refused: Some(DropReason::OuterMalformed), ..arrival(length) });
        }
        let begin = self.taken * BUFFER_LEN + HEADROOM;
        let Some(joined) = self.slab.get(begin..begin + length) else { return };
        self.taken += 1;
        // An answer takes the place of what it answers, and may be as long as any IPv6 packet that needs no asking.
        let room = HEADROOM + size.max(MINIMUM_MTU);
        let used = self.arrivals.iter().rev().find_map(|(_, buffer)| match buffer {
            Buffer::Piece(range) => Some(range.end),
            Buffer::Slab(_) => None,
        });
        let mut at = used.unwrap_or_default();
        let end = at + length.div_ceil(size) * room;
        if self.pieces.len() < end {
            self.pieces.resize(end, 0);
        }
        for piece in joined.chunks(size) {
            if let Some(to) = self.pieces.get_mut(at + HEADROOM..at + HEADROOM + piece.len()) {
                to.copy_from_slice(piece);
            }
            self.arrivals.push((arrival(piece.len()), Buffer::Piece(at..at + room)));
            at += room;
        }
    }

    /// Takes an IPv4 packet as if it had been received, for sockets of tests.
    #[cfg(test)]
    pub(crate) fn receive_packet(&mut self, packet: &[u8]) {
        let at = self.taken * BUFFER_LEN + HEADROOM;
        self.slab[at..at + packet.len()].copy_from_slice(packet);
        self.push(|_| super::receive::read(packet, packet.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::{Ipv4Addr, SocketAddrV4};

    fn outer() -> Outer {
        let at = |last| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, last), 3544);
        Outer::udp(at(1), at(2))
    }

    /// As if the kernel had written there.
    fn receive(batch: &mut ReceiveBatch, bytes: &[u8], size: Option<u16>) {
        let buffer = batch.vacant().next().unwrap();
        buffer[HEADROOM..HEADROOM + bytes.len()].copy_from_slice(bytes);
        batch.occupy(outer(), bytes.len(), size.and_then(NonZeroU16::new));
    }

    fn contents(batch: &ReceiveBatch) -> Vec<Vec<u8>> {
        let part = |number: usize| batch.packet(number, batch.arrivals[number].0.range.clone()).to_vec();
        (0..batch.len()).map(part).collect()
    }

    #[test]
    fn one_packet_is_asked_for_as_few_and_a_burst_as_many() {
        // Each round: how many wait, and how many are asked for in turn.
        let rounds: [(usize, &[usize]); 6] =
            [(1, &[4]), (40, &[4, 8, 16, 32]), (40, &[64]), (64, &[64]), (0, &[64]), (100, &[4, 8, 16, 32, 4])];
        let mut batch = ReceiveBatch::new(64);
        for (mut waiting, expected) in rounds {
            let mut asked = Vec::new();
            batch.restart();
            batch
                .fill_by(64, |batch, count| {
                    asked.push(count);
                    let come = count.min(waiting);
                    waiting -= come;
                    (0..come).for_each(|_| batch.occupy(outer(), 100, None));
                    Ok(come)
                })
                .unwrap();
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn more_datagrams_than_the_kernel_joins_are_refused_and_cost_no_room() {
        let mut batch = ReceiveBatch::new(8);
        receive(&mut batch, &[7; 1280], Some(10));
        assert_eq!((batch.len(), batch.arrivals().next().unwrap().refused), (128, None));
        let room = batch.pieces.len();
        receive(&mut batch, &[7; 1281], Some(10));
        receive(&mut batch, &[7; 65_535], Some(1));
        assert_eq!((batch.len(), batch.pieces.len()), (130, room));
        for number in [128, 129] {
            assert_eq!(batch.packet_mut(number).unwrap().1.refused, Some(DropReason::OuterMalformed));
        }
    }

    #[test]
    fn room_for_many_short_datagrams_is_given_back() {
        let mut batch = ReceiveBatch::new(2);
        for _ in 0..2 {
            batch.restart();
            receive(&mut batch, &[7; 128], Some(1));
            receive(&mut batch, &[7; 128], Some(1));
            assert_eq!(batch.len(), 256);
        }
        let most = batch.pieces.capacity();
        assert!(most > 2 * BUFFER_LEN && most <= 8 * BUFFER_LEN, "{most} bytes");
        batch.restart();
        assert_eq!(batch.pieces.capacity(), 2 * BUFFER_LEN);
    }

    proptest! {
        /// Whatever the kernel joined comes as the datagrams that it was, in order, and with room for an answer.
        #[test]
        fn joined_datagrams_come_as_what_they_were(
            joins in proptest::collection::vec((1_u16..1500, 1_usize..40, 0_u16..1500, any::<bool>()), 1..8),
        ) {
            let mut batch = ReceiveBatch::new(8);
            // Twice: what a first batch leaves behind must not show in the second.
            for _ in 0..2 {
                batch.restart();
                let (mut expected, mut number) = (Vec::new(), 0_u8);
                for (size, count, last, told) in &joins {
                    let mut lengths = vec![*size; *count];
                    lengths.extend((*last > 0).then_some(*last.min(size)));
                    let datagrams: Vec<Vec<u8>> = lengths.iter().map(|length| {
                        number = number.wrapping_add(1);
                        vec![number; usize::from(*length)]
                    }).collect();
                    // One alone comes without a size, or with its own.
                    let size = (datagrams.len() > 1 || *told).then_some(*size);
                    receive(&mut batch, &datagrams.concat(), size);
                    expected.extend(datagrams);
                }
                prop_assert_eq!(contents(&batch), expected);
                for number in 0..batch.len() {
                    let (buffer, arrival) = batch.packet_mut(number).unwrap();
                    prop_assert!(arrival.range.start == HEADROOM && buffer.len() >= HEADROOM + MINIMUM_MTU);
                    // What is answered is nobody else's.
                    buffer.fill(0xee);
                    prop_assert!(number == 0 || batch.packet(number - 1, 0..1) == [0xee]);
                    prop_assert!(batch.packet(number + 1, HEADROOM..HEADROOM + 1) != [0xee]);
                }
            }
        }
    }
}
