//! Peers whose bubbles are not answered yet, in three lists.
//!
//! A row is in one list at a time: to be sent, waiting for an answer, ended
//! and to be told. All wait equally long, so the list of those that wait is
//! in the order of their deadlines, and nothing walks over all rows.

use core::net::Ipv6Addr;

use crate::capacity::{Row, Storage};
use crate::drop_reason::DropReason;
use crate::engine::Ticket;
use crate::time::Expiry;

/// Packets that wait for one peer. `TER-42`
pub(super) const HELD: u8 = 4;

/// No row.
const NONE: u32 = u32::MAX;

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Free,
    Sending,
    Waiting,
    Ended,
}

const LISTS: usize = 4;

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
    pub(super) deadline: Expiry,
    /// Why the packets are given up; `None`: they are released.
    pub(super) failed: Option<DropReason>,
    pub(super) attempts: u8,
    pub(super) held: u8,
    /// The direct bubble goes after the indirect one.
    pub(super) indirect_sent: bool,
    generation: u16,
    list: List,
    previous: u32,
    next: u32,
}

impl Row for Wait {
    const EMPTY: Self = Wait {
        address: Ipv6Addr::UNSPECIFIED,
        deadline: Expiry::NEVER,
        failed: None,
        attempts: 0,
        held: 0,
        indirect_sent: false,
        generation: 0,
        list: List::Free,
        previous: NONE,
        next: NONE,
    };
}

/// The rows, in memory of the caller's choice.
#[derive(Clone)]
pub(super) struct Waits<Q> {
    rows: Q,
    heads: [u32; LISTS],
    tails: [u32; LISTS],
    /// Rows from here on were never used: the list of free ones need not be
    /// made beforehand.
    fresh: u32,
}

impl<Q> Waits<Q> {
    pub(super) const fn new(rows: Q) -> Self {
        Waits { rows, heads: [NONE; LISTS], tails: [NONE; LISTS], fresh: 0 }
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
        (wait.address == *address && matches!(wait.list, List::Sending | List::Waiting)).then_some(row)
    }

    pub(super) fn first(&self, list: List) -> Option<u32> {
        self.heads.get(list.index()).copied().filter(|row| *row != NONE)
    }

    /// Whether [`begin`](Self::begin) has a row.
    pub(super) fn has_room(&self) -> bool {
        let is_fresh = |row: u16| self.get(u32::from(row)).is_some();
        self.first(List::Free).is_some() || u16::try_from(self.fresh).is_ok_and(is_fresh)
    }

    /// A row for a peer, in the list of those to be sent.
    pub(super) fn begin(&mut self, address: Ipv6Addr) -> Option<u32> {
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
                self.append(row, List::Free);
                row
            }
        };
        let wait = self.get_mut(row)?;
        let generation = wait.generation.wrapping_add(1);
        let (list, previous, next) = (wait.list, wait.previous, wait.next);
        *wait = Wait { address, generation, list, previous, next, ..Wait::EMPTY };
        self.put(row, List::Sending);
        Some(row)
    }

    /// Moves a row to the end of a list.
    pub(super) fn put(&mut self, row: u32, list: List) {
        self.take_out(row);
        self.append(row, list);
    }

    pub(super) fn ticket(&self, row: u32) -> Option<Ticket> {
        let generation = self.get(row)?.generation;
        Some(Ticket { slot: u16::try_from(row & 0xffff).unwrap_or(0), generation })
    }

    fn take_out(&mut self, row: u32) {
        let Some(wait) = self.get(row) else { return };
        let (list, previous, next) = (wait.list.index(), wait.previous, wait.next);
        match self.get_mut(previous) {
            Some(before) => before.next = next,
            None => set(&mut self.heads, list, next),
        }
        match self.get_mut(next) {
            Some(behind) => behind.previous = previous,
            None => set(&mut self.tails, list, previous),
        }
    }

    fn append(&mut self, row: u32, list: List) {
        let last = self.tails.get(list.index()).copied().unwrap_or(NONE);
        match self.get_mut(last) {
            Some(before) => before.next = row,
            None => set(&mut self.heads, list.index(), row),
        }
        set(&mut self.tails, list.index(), row);
        if let Some(wait) = self.get_mut(row) {
            wait.list = list;
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

    proptest! {
        /// Against plain vectors: each row is in the list that it was put
        /// into last, in that order.
        #[test]
        fn lists_keep_their_order(moves in prop::collection::vec((0_u32..10, 0_usize..5), 0..200)) {
            let mut waits = Waits::new([Wait::EMPTY; 8]);
            let mut model: Vec<(u32, usize)> = Vec::new();
            for (row, to) in moves {
                if to == 4 {
                    match waits.begin(Ipv6Addr::from_bits(7)) {
                        Some(row) => {
                            model.retain(|(other, _)| *other != row);
                            model.push((row, 1));
                        }
                        None => prop_assert_eq!(model.iter().filter(|(_, list)| *list != 0).count(), 8),
                    }
                } else if model.iter().any(|(other, _)| *other == row) {
                    let list = [List::Free, List::Sending, List::Waiting, List::Ended][to];
                    waits.put(row, list);
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
