//! Tables that had no room.

use crate::error::{Table, TableFull};

/// Which tables were found full, and which were told so.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FullTables {
    now: u8,
    told: u8,
}

/// The tables of an interface that can be full, by bit.
const TABLES: [Table; 7] = [
    Table::PotentialRouters,
    Table::Prefixes,
    Table::Routes,
    Table::Addresses,
    Table::DnsServers,
    Table::SearchDomains,
    Table::Locators,
];

impl FullTables {
    pub(crate) const NONE: FullTables = FullTables { now: 0, told: 0 };

    fn bit(table: Table) -> u8 {
        let at = TABLES.iter().position(|&other| other == table).and_then(|at| u32::try_from(at).ok());
        at.and_then(|at| 1_u8.checked_shl(at)).unwrap_or(0)
    }

    /// The outcome of giving rows to some of what there is.
    pub(crate) fn note<T>(&mut self, result: Result<T, TableFull>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(full) => {
                self.now |= Self::bit(full.table);
                None
            }
        }
    }

    /// The outcome of giving a row of `table` to all that there is.
    pub(crate) fn set<T>(&mut self, table: Table, result: Result<T, TableFull>) {
        self.learned(table, false, result);
    }

    /// The outcome of learning something; `known`: it had its row already,
    /// so that success says nothing of room for others.
    pub(crate) fn learned<T>(&mut self, table: Table, known: bool, result: Result<T, TableFull>) {
        if self.note(result).is_some() && !known {
            self.found_room(table);
        }
    }

    pub(crate) fn found_room(&mut self, table: Table) {
        let bit = Self::bit(table);
        self.now &= !bit;
        self.told &= !bit;
    }

    /// Whether something has no row.
    pub(crate) fn is_any(&self) -> bool {
        self.now != 0
    }

    /// The next one that was not told.
    pub(crate) fn poll(&mut self) -> Option<Table> {
        let table = TABLES.into_iter().find(|&table| self.now & !self.told & Self::bit(table) != 0)?;
        self.told |= Self::bit(table);
        Some(table)
    }
}
