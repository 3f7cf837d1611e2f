//! Peers whose bubbles are not answered yet, in three lists.
//!
//! A row is in one list at a time: to be sent, waiting for an answer, ended
//! and to be told. All wait equally long, so the list of those that wait is
//! in the order of their deadlines, and nothing walks over all rows.

use core::net::Ipv6Addr;

use crate::capacity::{Row, Storage};
use crate::drop_reason::DropReason;
use crate::engine::Ticket;
use crate::teredo::peer::hash;
use crate::time::Instant;

/// Packets that wait for one peer. `TER-42`
const HELD: u8 = 4;

/// No row.
const NONE: u32 = u32::MAX;

/// How far the question to a peer is: there is a list of each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Free,
    /// A bubble waits to be sent; the direct one goes after the indirect one.
    Sending {
        direct: bool,
    },
    /// An answer is awaited until then.
    Waiting(Instant),
    /// Yet to be told: the packets are released, or given up for this reason.
    Ended(Result<(), DropReason>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Free,
    Sending,
    Waiting,
    Ended,
}

const LISTS: usize = 4;

impl State {
    fn list(self) -> List {
        match self {
            State::Free => List::Free,
            State::Sending { .. } => List::Sending,
            State::Waiting(_) => List::Waiting,
            State::Ended(_) => List::Ended,
        }
    }
}

impl List {
    fn index(self) -> usize {
        match self {
            List::Free => 0,
            List::Sending => 1,
            List::Waiting => 2,
            List::Ended => 3,
        }
    }
}

/// A peer that is being asked.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub(super) address: Ipv6Addr,
    pub(super) state: State,
    pub(super) attempts: u8,
    held: u8,
    /// Who asked for it: the upper half of the native address.
    pub(super) subnet: u64,
    /// Where its packets are counted.
    share: usize,
    generation: u16,
    previous: u32,
    next: u32,
}

impl Row for Wait {
    const EMPTY: Self = Wait {
        address: Ipv6Addr::UNSPECIFIED,
        state: State::Free,
        attempts: 0,
        held: 0,
        subnet: 0,
        share: 0,
        generation: 0,
        previous: NONE,
        next: NONE,
    };
}

impl Wait {
    /// Whether packets wait for it.
    pub(super) fn has_packets(&self) -> bool {
        self.held > 0
    }
}

/// Counts of packets, shared by the /64s whose keyed hash is the same.
const SHARES: usize = 1024;

/// The rows, in memory of the caller's choice.
///
/// As many packets may wait as there are rows. A /64 may have one more wait as
/// long as it has fewer waiting than would still find room: one that asks for
/// clients that nobody has keeps half of the room free for all others, and two
/// of them a third.
#[derive(Clone)]
pub(super) struct Waits<Q> {
    rows: Q,
    key: [u64; 2],
    shares: [u16; SHARES],
    held: usize,
    heads: [u32; LISTS],
    tails: [u32; LISTS],
    /// Rows from here on were never used: the list of free ones need not be
    /// made beforehand.
    fresh: u32,
}

impl<Q> Waits<Q> {
    pub(super) const fn new(rows: Q) -> Self {
        let (heads, tails) = ([NONE; LISTS], [NONE; LISTS]);
        Waits { rows, key: [0; 2], shares: [0; SHARES], held: 0, heads, tails, fresh: 0 }
    }
}

impl<Q: Storage<Wait>> Waits<Q> {
    pub(super) fn get(&self, row: u32) -> Option<&Wait> {
        self.rows.as_ref().get(usize::try_from(row).ok()?)
    }

    pub(super) fn get_mut(&mut self, row: u32) -> Option<&mut Wait> {
        self.rows.as_mut().get_mut(usize::try_from(row).ok()?)
    }

    /// The row of `address`, if `row` is still it and not ended.
    pub(super) fn of(&self, row: u32, address: &Ipv6Addr) -> Option<u32> {
        let wait = self.get(row)?;
        (wait.address == *address && matches!(wait.state, State::Sending { .. } | State::Waiting(_))).then_some(row)
    }

    pub(super) fn first(&self, list: List) -> Option<u32> {
        self.heads.get(list.index()).copied().filter(|row| *row != NONE)
    }

    /// Hides which /64s share a count.
    pub(super) fn rekey(&mut self, key: [u64; 2]) {
        self.key = key;
    }

    /// Whether [`begin`](Self::begin) has a row.
    pub(super) fn has_room(&self) -> bool {
        let is_fresh = |row: u16| self.get(u32::from(row)).is_some();
        self.first(List::Free).is_some() || u16::try_from(self.fresh).is_ok_and(is_fresh)
    }

    fn share(&self, subnet: u64) -> usize {
        let hash = hash(self.key, &Ipv6Addr::from_bits(u128::from(subnet)));
        usize::try_from(hash & 0xffff_ffff).unwrap_or(0).checked_rem(SHARES).unwrap_or(0)
    }

    /// Whether a /64 may have one more packet wait.
    pub(super) fn may_hold(&self, subnet: u64) -> bool {
        self.has_left(self.share(subnet))
    }

    fn has_left(&self, share: usize) -> bool {
        let own = self.shares.get(share).map_or(usize::MAX, |own| usize::from(*own));
        own < self.rows.as_ref().len().saturating_sub(self.held)
    }

    /// One more packet waits, if there is room for it.
    pub(super) fn hold(&mut self, row: u32) -> bool {
        let Some(share) = self.get(row).filter(|wait| wait.held < HELD).map(|wait| wait.share) else { return false };
        let granted = self.has_left(share);
        if granted {
            if let Some(share) = self.shares.get_mut(share) {
                *share = share.saturating_add(1);
            }
            if let Some(wait) = self.get_mut(row) {
                wait.held = wait.held.saturating_add(1);
            }
            self.held = self.held.saturating_add(1);
        }
        granted
    }

    /// Gives a row back, and what waited for it.
    pub(super) fn release(&mut self, row: u32) {
        let Some(wait) = self.get_mut(row) else { return };
        let (held, share) = (core::mem::take(&mut wait.held), wait.share);
        if let Some(share) = self.shares.get_mut(share) {
            *share = share.saturating_sub(u16::from(held));
        }
        self.held = self.held.saturating_sub(usize::from(held));
        self.put(row, State::Free);
    }

    /// A row for a peer that a /64 asks for, whose first bubble is to be sent.
    pub(super) fn begin(&mut self, address: Ipv6Addr, subnet: u64) -> Option<u32> {
        let row = match self.first(List::Free) {
            Some(row) => row,
            None => {
                // A ticket has 16 bits for the place.
                let row = u32::from(u16::try_from(self.fresh).ok()?);
                self.get(row)?;
                self.fresh = row.saturating_add(1);
                if let Some(wait) = self.get_mut(row) {
                    *wait = Wait::EMPTY;
                }
                self.append(row, State::Free);
                row
            }
        };
        let share = self.share(subnet);
        let wait = self.get_mut(row)?;
        let generation = wait.generation.wrapping_add(1);
        // It is in the list of the free rows still.
        let (previous, next) = (wait.previous, wait.next);
        *wait = Wait { address, subnet, share, generation, attempts: 1, previous, next, ..Wait::EMPTY };
        self.put(row, State::Sending { direct: false });
        Some(row)
    }

    /// Moves a row to the end of the list of its new state.
    pub(super) fn put(&mut self, row: u32, state: State) {
        self.take_out(row);
        self.append(row, state);
    }

    pub(super) fn ticket(&self, row: u32) -> Option<Ticket> {
        let generation = self.get(row)?.generation;
        Some(Ticket { slot: row, generation })
    }

    fn take_out(&mut self, row: u32) {
        let Some(wait) = self.get(row) else { return };
        let (list, previous, next) = (wait.state.list().index(), wait.previous, wait.next);
        match self.get_mut(previous) {
            Some(before) => before.next = next,
            None => set(&mut self.heads, list, next),
        }
        match self.get_mut(next) {
            Some(behind) => behind.previous = previous,
            None => set(&mut self.tails, list, previous),
        }
    }

    fn append(&mut self, row: u32, state: State) {
        let list = state.list().index();
        let last = self.tails.get(list).copied().unwrap_or(NONE);
        match self.get_mut(last) {
            Some(before) => before.next = row,
            None => set(&mut self.heads, list, row),
        }
        set(&mut self.tails, list, row);
        if let Some(wait) = self.get_mut(row) {
            wait.state = state;
            wait.previous = last;
            wait.next = NONE;
        }
    }
}

fn set(of: &mut [u32; LISTS], list: usize, row: u32) {
    if let Some(place) = of.get_mut(list) {
        *place = row;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::vec::Vec;

    fn rows(waits: &Waits<[Wait; 8]>, list: List) -> Vec<u32> {
        let mut at = waits.first(list);
        let mut found = Vec::new();
        while let Some(row) = at {
            found.push(row);
            at = waits.get(row).map(|wait| wait.next).filter(|next| *next != NONE);
        }
        found
    }

    /// TER-107: of 8 places one asker gets 4, a second one half of the rest.
    #[test]
    fn ter_107_who_asks_much_leaves_room_for_others() {
        let mut waits = Waits::new([Wait::EMPTY; 8]);
        let ask = |waits: &mut Waits<_>, subnet| {
            let row = (waits.may_hold(subnet) && waits.has_room())
                .then(|| waits.begin(Ipv6Addr::from_bits(subnet.into()), subnet))??;
            waits.hold(row).then_some(row)
        };
        let first: Vec<_> = (0..20).filter_map(|_| ask(&mut waits, 1)).collect();
        let second: Vec<_> = (0..20).filter_map(|_| ask(&mut waits, 2)).collect();
        let third: Vec<_> = (0..20).filter_map(|_| ask(&mut waits, 3)).collect();
        assert_eq!((first.len(), second.len(), third.len()), (4, 2, 1));
        // More packets to the same client are counted all the same.
        assert!(!waits.hold(first[0]) && !waits.hold(second[0]));
        for row in first {
            waits.release(row);
        }
        assert!(waits.hold(second[0]) && waits.hold(third[0]));
        for row in second.into_iter().chain(third) {
            waits.release(row);
        }
        assert_eq!((waits.held, waits.shares.iter().sum::<u16>()), (0, 0));
        // Of one client no more than four: TER-42.
        let row = ask(&mut waits, 1).unwrap();
        assert_eq!((0..20).filter(|_| waits.hold(row)).count(), 3);
    }

    proptest! {
        /// Against plain vectors: each row is in the list that it was put
        /// into last, in that order.
        #[test]
        fn lists_keep_their_order(moves in prop::collection::vec((0_u32..10, 0_usize..5), 0..200)) {
            let mut waits = Waits::new([Wait::EMPTY; 8]);
            let mut model: Vec<(u32, usize)> = Vec::new();
            for (row, to) in moves {
                if to == 4 {
                    match waits.begin(Ipv6Addr::from_bits(7), 1) {
                        Some(row) => {
                            model.retain(|(other, _)| *other != row);
                            model.push((row, 1));
                        }
                        None => prop_assert_eq!(model.iter().filter(|(_, list)| *list != 0).count(), 8),
                    }
                } else if model.iter().any(|(other, _)| *other == row) {
                    let (direct, at) = (false, Instant::ZERO);
                    let states = [State::Free, State::Sending { direct }, State::Waiting(at), State::Ended(Ok(()))];
                    waits.put(row, states[to]);
                    model.retain(|(other, _)| *other != row);
                    model.push((row, to));
                }
                for (index, list) in [List::Free, List::Sending, List::Waiting, List::Ended].into_iter().enumerate() {
                    let expected: Vec<u32> =
                        model.iter().filter(|(_, of)| *of == index).map(|(row, _)| *row).collect();
                    prop_assert_eq!(rows(&waits, list), expected);
                }
            }
        }
    }
}
