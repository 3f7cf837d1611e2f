//! The connections by number.

/// The number of a connection, which no later one has: that of its place, and of its turn there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    place: u32,
    turn: u32,
}

/// The highest bit of [`Id::client`] stays free for other things that are waited for.
const TURNS: u32 = (1 << 31) - 1;

impl Id {
    /// The number of the client's stream: turn, place, 0.
    pub(crate) fn client(self) -> u64 {
        u64::from(self.turn) << 32 | u64::from(self.place) << 1
    }

    /// The number of the stream to the target.
    pub(crate) fn server(self) -> u64 {
        self.client() | 1
    }

    /// The connection, and whether it is the stream to the target.
    pub(crate) fn of(number: u64) -> (Self, bool) {
        let low = number as u32;
        (Self { place: low >> 1, turn: (number >> 32) as u32 }, low & 1 == 1)
    }
}

#[derive(Debug)]
pub(super) struct Slots<T> {
    slots: Vec<Slot<T>>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot<T> {
    turn: u32,
    connection: Option<T>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    pub(super) fn insert(&mut self, connection: T) -> Id {
        let place = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { turn: 0, connection: None });
            (self.slots.len() - 1) as u32
        });
        let mut turn = 0;
        if let Some(slot) = self.slots.get_mut(place as usize) {
            slot.connection = Some(connection);
            turn = slot.turn;
        }
        Id { place, turn }
    }

    pub(super) fn get(&mut self, id: Id) -> Option<&mut T> {
        let slot = self.slots.get_mut(id.place as usize).filter(|slot| slot.turn == id.turn)?;
        slot.connection.as_mut()
    }

    pub(super) fn remove(&mut self, id: Id) -> Option<T> {
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
