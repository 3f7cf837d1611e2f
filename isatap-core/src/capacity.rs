//! How large the tables of a machine are, chosen by one type parameter.
//!
//! The core never allocates. Each machine takes a [`Capacity`] that names an
//! array type for every table; code works on the slices behind them, so that
//! a second capacity costs no second copy of the larger functions.
//!
//! A full table is loud: [`TableFull`] from
//! the call, or an event, or a counted drop. What is evicted, if anything, is
//! written beside the table.

use core::fmt;
use core::net::Ipv4Addr;

use crate::drop_reason::Tally;
use crate::error::{Table, TableFull};

/// How many rows each table of a machine has.
///
/// One type parameter instead of a dozen numbers, which would infect every
/// enum that holds a machine. The trait is open: write your own where neither
/// [`Small`] nor [`Standard`] fits.
pub trait Capacity: Copy + 'static {
    /// IPv4 addresses that one link owns.
    type Locators: Count;
    /// Entries of one potential router list; at most 32.
    type PotentialRouters: Count;
    /// Prefixes that one interface has learned or publishes.
    type Prefixes: Count;
    /// Routes of a node.
    type Routes: Count;
    /// Neighbours of one interface under unreachability detection.
    type Neighbors: Count;
    /// Neighbours of a router's link that is checked for them (SEC-1): the
    /// hosts that talk by the router at a time, and room for questions; at
    /// most 65,535. Their memory may be taken when it is first written.
    type CheckedNeighbors: Count;
    /// Path MTU estimates of one link.
    type PathMtus: Count;
    /// Hosts that wait for a Router Advertisement, and the last ones that got it.
    type Solicitations: Count;
    /// Hosts that a router remembers to have answered a moment ago.
    type Answered: Count;
    /// DNS servers learned; RFC 8106 §5.3.1 asks for three or more.
    type DnsServers: Count;
    /// DNS search domains learned.
    type SearchDomains: Count;
    /// IPv4 prefixes that count as the site's members (SEC-2).
    type Members: Count;
    /// Other tunnel routers of the IPv4 network (SEC-4).
    type KnownRouters: Count;
    /// Configured addresses of one interface.
    type Addresses: Count;
    /// Buckets of IPv4 Identification counters (TUN-7).
    type Identifications: Count;
    /// Routers whose refused prefixes, routes and names are counted, each
    /// table apart.
    type Refusals: Count;
    /// What packets are counted in.
    type Tally: Tally;
}

/// For firmware: a whole ISATAP host fits into 2 KiB, the counts of dropped
/// packets apart.
#[derive(Clone, Copy, Debug)]
pub enum Small {}

impl Capacity for Small {
    type Locators = N<2>;
    type PotentialRouters = N<2>;
    type Prefixes = N<2>;
    type Routes = N<6>;
    type Neighbors = N<3>;
    type CheckedNeighbors = N<8>;
    type PathMtus = N<2>;
    type Solicitations = N<4>;
    type Answered = N<8>;
    type DnsServers = N<3>;
    type SearchDomains = N<0>;
    type Members = N<2>;
    type KnownRouters = N<2>;
    type Addresses = N<3>;
    type Identifications = N<2>;
    type Refusals = N<0>;
    type Tally = u16;
}

/// For programs: room for a site with several routers and prefixes.
#[derive(Clone, Copy, Debug)]
pub enum Standard {}

impl Capacity for Standard {
    type Locators = N<8>;
    type PotentialRouters = N<16>;
    type Prefixes = N<16>;
    type Routes = N<64>;
    type Neighbors = N<32>;
    type CheckedNeighbors = N<128>;
    type PathMtus = N<32>;
    type Solicitations = N<128>;
    type Answered = N<1024>;
    type DnsServers = N<8>;
    type SearchDomains = N<4>;
    type Members = N<16>;
    type KnownRouters = N<16>;
    type Addresses = N<16>;
    type Identifications = N<64>;
    type Refusals = N<8>;
    type Tally = u64;
}

/// A number of rows, as a type.
pub trait Count: Copy + 'static {
    /// An array of that many rows.
    type Of<T: Row>: Array<T>;
}

/// `COUNT` rows.
#[derive(Clone, Copy, Debug)]
pub enum N<const COUNT: usize> {}

impl<const COUNT: usize> Count for N<COUNT> {
    type Of<T: Row> = [T; COUNT];
}

/// The array of `K` rows of `T`.
pub type Rows<K, T> = <K as Count>::Of<T>;

/// Memory for rows of `T`: an array, a boxed slice, a borrowed slice.
pub trait Storage<T>: AsRef<[T]> + AsMut<[T]> {}

impl<T, S: AsRef<[T]> + AsMut<[T]> + ?Sized> Storage<T> for S {}

/// A row that has an empty value, so that arrays of it can be constants.
pub trait Row: Copy {
    /// The value of a row that is not in use.
    const EMPTY: Self;
}

impl Row for Ipv4Addr {
    const EMPTY: Self = Ipv4Addr::UNSPECIFIED;
}

/// An array of rows with a constant empty value: lets a whole machine be a
/// `static`.
pub trait Array<T>: Storage<T> + Clone {
    /// All rows empty.
    const EMPTY: Self;
}

impl<T: Row, const N: usize> Array<T> for [T; N] {
    const EMPTY: Self = [T::EMPTY; N];
}

/// A list of at most as many rows as its storage has.
#[derive(Clone)]
pub struct List<T, S> {
    storage: S,
    len: usize,
    row: core::marker::PhantomData<T>,
}

impl<T: Row, S: Array<T>> List<T, S> {
    /// No rows.
    pub const EMPTY: Self = List { storage: S::EMPTY, len: 0, row: core::marker::PhantomData };
}

impl<T: Copy, S: Storage<T>> List<T, S> {
    /// An empty list in memory of the caller's.
    pub fn with_storage(storage: S) -> Self {
        List { storage, len: 0, row: core::marker::PhantomData }
    }

    /// The rows in use.
    #[inline]
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        self.storage.as_ref().get(..self.len).unwrap_or(&[])
    }

    /// The rows in use, to be changed.
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [T] {
        self.storage.as_mut().get_mut(..self.len).unwrap_or(&mut [])
    }

    /// All rows, those that are not in use as well.
    #[inline]
    pub(crate) fn storage(&self) -> &[T] {
        self.storage.as_ref()
    }

    /// All rows, those that are not in use as well, to be changed.
    #[inline]
    pub(crate) fn storage_mut(&mut self) -> &mut [T] {
        self.storage.as_mut()
    }

    /// The rows in use, one after the other.
    pub fn iter(&self) -> core::slice::Iter<'_, T> {
        self.as_slice().iter()
    }

    /// The rows in use, one after the other, for loops that every packet runs
    /// through: counted, since a kernel's verifier of BPF programs sees the end
    /// of a loop in a number that has a bound, and not in two pointers that meet.
    #[inline(always)]
    pub(crate) fn rows(&self) -> impl Iterator<Item = &T> {
        let storage = self.storage.as_ref();
        storage.iter().take(self.len.min(storage.len()))
    }

    /// The rows in use, one after the other, to be changed.
    pub fn iter_mut(&mut self) -> core::slice::IterMut<'_, T> {
        self.as_mut_slice().iter_mut()
    }

    /// Rows in use.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether no row is in use.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Rows that there are.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.storage.as_ref().len()
    }

    /// Whether every row is in use.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.len >= self.capacity()
    }

    /// Appends a row.
    ///
    /// # Errors
    /// [`TableFull`], which names `table`; nothing changed.
    pub fn push(&mut self, row: T, table: Table) -> Result<(), TableFull> {
        let len = self.len;
        match self.storage.as_mut().get_mut(len) {
            Some(place) => {
                *place = row;
                self.len = len.saturating_add(1);
                Ok(())
            }
            None => Err(TableFull::new(table)),
        }
    }

    /// Keeps the rows that `keep` says yes to, in their order.
    pub fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut kept = 0_usize;
        for at in 0..self.len {
            let Some(row) = self.storage.as_mut().get_mut(at) else { break };
            if keep(row) {
                let row = *row;
                if let Some(place) = self.storage.as_mut().get_mut(kept) {
                    *place = row;
                }
                kept = kept.saturating_add(1);
            }
        }
        self.len = kept;
    }

    /// Removes the row at `index`; the ones behind it move up.
    pub fn remove(&mut self, index: usize) -> Option<T> {
        let removed = self.as_slice().get(index).copied()?;
        let mut at = 0_usize;
        self.retain(|_| {
            let keep = at != index;
            at = at.saturating_add(1);
            keep
        });
        Some(removed)
    }

    /// Removes the last row.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let last = self.as_slice().last().copied()?;
        self.len = self.len.saturating_sub(1);
        Some(last)
    }

    /// Inserts a row in front of the one at `index`, or at the end.
    ///
    /// # Errors
    /// [`TableFull`], which names `table`; nothing changed.
    pub fn insert(&mut self, index: usize, row: T, table: Table) -> Result<(), TableFull> {
        self.push(row, table)?;
        let index = index.min(self.len.saturating_sub(1));
        if let Some(tail) = self.as_mut_slice().get_mut(index..) {
            tail.rotate_right(1);
        }
        Ok(())
    }

    /// Forgets all rows.
    pub fn clear(&mut self) {
        self.len = 0;
    }
}

impl<T: Copy + fmt::Debug, S: Storage<T>> fmt::Debug for List<T, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_says_which_table_and_keeps_its_rows() {
        let mut list: List<Ipv4Addr, [Ipv4Addr; 2]> = List::EMPTY;
        let (a, b, c) = (Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 3));
        list.push(a, Table::Locators).unwrap();
        list.insert(0, b, Table::Locators).unwrap();
        assert_eq!(list.push(c, Table::Locators), Err(TableFull::new(Table::Locators)));
        assert_eq!(list.as_slice(), [b, a]);
        assert_eq!(list.remove(0), Some(b));
        assert_eq!(list.as_slice(), [a]);
        assert_eq!(list.remove(1), None);
    }
}
