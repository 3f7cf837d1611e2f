//! The connections by number.

use super::super::connection::Connection;

/// The number of a connection, which no later one has: that of its place, and of its turn there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in super::super) struct Id {
    place: u32,
    turn: u32,
}

/// The highest bit is of listeners, the lowest of the bell.
const TURNS: u32 = (1 << 31) - 1;

impl Id {
    /// The number of the client's socket: turn, place, 0.
    pub(super) fn client(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.place) << 1
    }

    /// The number of the socket to the target.
    pub(super) fn server(self) -> u64 {
        self.client() | 1
    }

    /// The connection, and whether it is the socket to the target.
    pub(super) fn of(number: u64) -> (Self, bool) {
        let low = number as u32;
        (Self { place: low >> 1, turn: (number >> 32) as u32 }, low & 1 == 1)
    }
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug, Default)]
struct Slot {
    turn: u32,
    connection: Option<Connection>,
}

impl Slots {
    pub(super) fn insert(&mut self, connection: Connection) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            (self.slots.len() - 1) as u32
        });
        let mut turn = 0;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.connection = Some(connection);
            turn = slot.turn;
        }
        Id { place, turn }
    }

    pub(super) fn get(&mut self, id: Id) -> Option<&mut Connection> {
        let slot = self.slots.get_mut(id.place as usize).filter(|slot| slot.turn == id.turn)?;
        slot.connection.as_mut()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<Connection> {
        let slot = self.slots.get_mut(id.place as usize).filter(|slot| slot.turn == id.turn)?;
        let connection = slot.connection.take()?;
        slot.turn = (slot.turn + 1) & TURNS;
        self.free.push(id.place);
        Some(connection)
    }

    pub(super) fn ids(&self) -> Vec<Id> {
        let all = self.slots.iter().zip(0..);
        let taken = all.filter(|(slot, _)| slot.connection.is_some());
        taken.map(|(slot, place)| Id { place, turn: slot.turn }).collect()
    }
}
