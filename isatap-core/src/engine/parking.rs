//! Packets that wait, in memory of the caller's.

use core::num::NonZeroU16;

use super::{Event, Ticket};
use crate::capacity::{Row, Storage};
use crate::drop_reason::DropReason;
use crate::packet::{LinkId, PacketMut};

/// Keeps the packets of [`Verdict::Hold`](super::Verdict::Hold), until their
/// ticket is [`Released`](Event::Released) or [`Abandoned`](Event::Abandoned).
///
/// The memory is cut into as many places of the same length as there are rows
/// of `S`. For one ticket at most 4 packets
/// wait, and the newest are kept (`NDP-50 [RFC 4861 §7.2.2]`); a ticket never
/// takes a place from another one.
///
/// `W` is what the caller wants to know again of a packet: the call that
/// answered, and the [`Outer`](crate::proto41::Outer) of what came in one.
#[derive(Clone, Debug)]
pub struct Parking<S, B, W> {
    rows: S,
    bytes: B,
    /// Numbers packets, to know the oldest.
    next: u32,
    way: core::marker::PhantomData<W>,
}

/// A place of a [`Parking`].
#[derive(Clone, Copy, Debug)]
pub struct Parked<W> {
    held: Option<Held<W>>,
}

#[derive(Clone, Copy, Debug)]
struct Held<W> {
    ticket: Ticket,
    number: u32,
    len: usize,
    link: Option<LinkId>,
    segment_size: Option<NonZeroU16>,
    way: W,
}

impl<W> Parked<W> {
    /// Nobody is there.
    pub const EMPTY: Self = Parked { held: None };
}

impl<W: Copy> Row for Parked<W> {
    const EMPTY: Self = Parked::EMPTY;
}

impl<S: Storage<Parked<W>>, B: AsRef<[u8]> + AsMut<[u8]>, W: Copy> Parking<S, B, W> {
    /// Packets that wait for one ticket, at most: as many as machines hold
    /// (`TER-42`).
    const PER_TICKET: usize = 4;

    /// Nobody waits. Places are as long as `bytes` divided by the number of
    /// `rows`.
    pub const fn new(rows: S, bytes: B) -> Self {
        Parking { rows, bytes, next: 0, way: core::marker::PhantomData }
    }

    /// Packets that wait.
    pub fn len(&self) -> usize {
        self.rows.as_ref().iter().filter(|row| row.held.is_some()).count()
    }

    /// Whether no packet waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn place_len(&self) -> usize {
        self.bytes.as_ref().len().checked_div(self.rows.as_ref().len()).unwrap_or(0)
    }

    /// Keeps a copy of `packet`. Gives how many packets are lost by that: this
    /// one, where there is no room, or the oldest of its ticket.
    #[must_use]
    pub fn park(&mut self, ticket: Ticket, way: W, packet: &PacketMut<'_>) -> usize {
        let place_len = self.place_len();
        let (len, number) = (packet.len(), self.next);
        if len > place_len {
            return 1;
        }
        let rows = self.rows.as_ref();
        let is_of = |row: &Parked<W>| row.held.as_ref().is_some_and(|held| held.ticket == ticket);
        let place = if rows.iter().filter(|row| is_of(row)).count() >= Self::PER_TICKET {
            self.oldest(ticket)
        } else {
            rows.iter().position(|row| row.held.is_none())
        };
        let Some(place) = place else { return 1 };
        let start = place.saturating_mul(place_len);
        let bytes = self.bytes.as_mut().get_mut(start..start.saturating_add(len));
        let (Some(row), Some(bytes)) = (self.rows.as_mut().get_mut(place), bytes) else { return 1 };
        bytes.iter_mut().zip(packet.as_slice()).for_each(|(to, from)| *to = *from);
        let (link, segment_size) = (packet.link(), packet.segment_size());
        let before = row.held.replace(Held { ticket, number, len, link, segment_size, way });
        self.next = self.next.wrapping_add(1);
        usize::from(before.is_some())
    }

    /// Takes the oldest packet that waits for `ticket` into `out`. It is lost
    /// where `out` is too short.
    pub fn take(&mut self, ticket: Ticket, out: &mut PacketMut<'_>) -> Option<W> {
        let place_len = self.place_len();
        loop {
            let place = self.oldest(ticket)?;
            let held = self.rows.as_mut().get_mut(place)?.held.take()?;
            let start = place.saturating_mul(place_len);
            let bytes = self.bytes.as_ref().get(start..start.saturating_add(held.len))?;
            out.clear();
            if out.copy_from(bytes).is_ok() {
                out.set_link(held.link);
                out.set_segment_size(held.segment_size);
                return Some(held.way);
            }
        }
    }

    /// Drops what waits for `ticket`; how many packets that were.
    pub fn discard(&mut self, ticket: Ticket) -> usize {
        self.discard_if(|waits| waits == ticket)
    }

    /// Drops what waits for tickets that `doomed` says yes to, of a link that
    /// is gone for instance ([`Ticket::is_of`]); how many packets that were.
    pub fn discard_if(&mut self, doomed: impl Fn(Ticket) -> bool) -> usize {
        let rows = self.rows.as_mut().iter_mut();
        rows.filter(|row| row.held.as_ref().is_some_and(|held| doomed(held.ticket))).map(|row| row.held = None).count()
    }

    fn oldest(&self, ticket: Ticket) -> Option<usize> {
        let of_ticket = self.rows.as_ref().iter().enumerate().filter_map(|(place, row)| {
            let held = row.held.as_ref().filter(|held| held.ticket == ticket)?;
            // Numbers wrap; none is older than there are places.
            Some((self.next.wrapping_sub(held.number), place))
        });
        of_ticket.max_by_key(|(age, _)| *age).map(|(_, place)| place)
    }
}

/// What is to be done with the packets of a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitEnd {
    /// Hand them in again to the call that held them, behind the same outer
    /// header if they came in one.
    Again,
    /// Drop them.
    Drop(DropReason),
}

impl Event {
    /// The end of a wait: its packets are released, or abandoned for this reason.
    pub(crate) fn of_wait(link: LinkId, ticket: Ticket, end: Result<(), DropReason>) -> Self {
        match end {
            Ok(()) => Event::Released { link, ticket },
            Err(reason) => Event::Abandoned { link, ticket, reason },
        }
    }

    /// The ticket whose wait this event ends, if it does, and how.
    ///
    /// What waited for a neighbour that did not answer is handed in again as
    /// well: the machine then tells its sender. `SEC-1`
    #[must_use]
    pub const fn wait_end(&self) -> Option<(Ticket, WaitEnd)> {
        match *self {
            Event::Released { ticket, .. } => Some((ticket, WaitEnd::Again)),
            Event::Abandoned { ticket, reason: DropReason::NeighborUnverified, .. } => Some((ticket, WaitEnd::Again)),
            Event::Abandoned { ticket, reason, .. } => Some((ticket, WaitEnd::Drop(reason))),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::string::String;
    use std::vec::Vec;

    const A: Ticket = Ticket { slot: 1, generation: 1 };
    const B: Ticket = Ticket { slot: 1, generation: 2 };

    type Lot = Parking<[Parked<char>; 6], [u8; 24], char>;

    fn lot() -> Lot {
        Parking::new([Parked::EMPTY; 6], [0; 24])
    }

    fn park(lot: &mut Lot, ticket: Ticket, way: char, bytes: &[u8]) -> bool {
        let mut buffer = [0; 96];
        let mut packet = PacketMut::empty(&mut buffer);
        packet.copy_from(bytes).unwrap();
        packet.set_link(Some(LinkId(7)));
        packet.set_segment_size(NonZeroU16::new(9));
        lot.park(ticket, way, &packet) == 0
    }

    fn take(lot: &mut Lot, ticket: Ticket) -> Option<(char, Vec<u8>)> {
        let mut buffer = [0; 96];
        let mut packet = PacketMut::empty(&mut buffer);
        let way = lot.take(ticket, &mut packet)?;
        assert_eq!((packet.link(), packet.segment_size()), (Some(LinkId(7)), NonZeroU16::new(9)));
        Some((way, packet.as_slice().to_vec()))
    }

    #[test]
    fn packets_come_back_in_their_order_to_their_ticket() {
        let mut lot = lot();
        assert!(park(&mut lot, A, 'a', b"one") && park(&mut lot, B, 'b', b"two") && park(&mut lot, A, 'c', b"six"));
        assert_eq!(take(&mut lot, A), Some(('a', b"one".to_vec())));
        assert_eq!(take(&mut lot, A), Some(('c', b"six".to_vec())));
        assert_eq!(take(&mut lot, A), None);
        assert_eq!((lot.len(), lot.discard(B), lot.is_empty()), (1, 1, true));
    }

    #[test]
    fn ter_42_the_newest_four_of_a_ticket_are_kept_and_no_other_ticket_loses_its_place() {
        let mut lot = lot();
        for (way, bytes) in [('1', b"1"), ('2', b"2"), ('3', b"3"), ('4', b"4"), ('5', b"5")] {
            assert_eq!(park(&mut lot, A, way, bytes), way != '5', "the oldest is lost by the fifth");
        }
        assert!(park(&mut lot, B, 'b', b"b") && park(&mut lot, B, 'c', b"c"));
        assert!(!park(&mut lot, B, 'd', b"d"), "no place is left");
        assert!(!park(&mut lot, A, '6', b"6"), "in place of its own oldest");
        let ways: String = core::iter::from_fn(|| take(&mut lot, A)).map(|(way, _)| way).collect();
        assert_eq!((ways.as_str(), lot.len()), ("3456", 2));
    }

    #[test]
    fn a_packet_longer_than_a_place_is_not_kept() {
        let mut lot = lot();
        assert!(park(&mut lot, A, 'a', b"four") && !park(&mut lot, A, 'b', b"fives"));
    }
}
