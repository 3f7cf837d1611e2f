//! How large the tables of a node are on Linux, with large ones in memory that is taken when it is
//! needed.

use crate::fib::FullTables;
use isatap_core::capacity::{Array, Capacity, Count, N, Row};

/// Table sizes of a node on Linux: the routes of a site and the addresses of a machine, where
/// the profiles of the core think of a few.
#[derive(Clone, Copy, Debug)]
pub enum Linux {}

impl Capacity for Linux {
    type Locators = N<16>;
    type PotentialRouters = N<32>;
    type Prefixes = N<16>;
    type Routes = N<512>;
    type Neighbors = N<64>;
    // 384 KiB, of a router that asks.
    type CheckedNeighbors = OnHeap<8192>;
    type PathMtus = N<64>;
    type Solicitations = N<128>;
    // 96 KiB, of a router.
    type Answered = OnHeap<8192>;
    type DnsServers = N<8>;
    type SearchDomains = N<8>;
    type Members = N<64>;
    type KnownRouters = N<64>;
    type Addresses = N<256>;
    type Identifications = N<64>;
    type Refusals = N<64>;
    type Tally = u64;
    type FullTable = FullTables;
}

/// `COUNT` rows that are nowhere until one is written: for large tables that most interfaces
/// never use.
#[derive(Clone, Copy, Debug)]
pub enum OnHeap<const COUNT: usize> {}

impl<const COUNT: usize> Count for OnHeap<COUNT> {
    const ROWS: usize = COUNT;
    type Of<T: Row> = HeapRows<T, COUNT>;
    type Vec<T: Copy> = <N<COUNT> as Count>::Vec<T>;
}

/// The rows of [`OnHeap`]: none, or all.
#[derive(Clone, Debug)]
pub struct HeapRows<T, const COUNT: usize>(Vec<T>);

impl<T: Row, const COUNT: usize> Array<T> for HeapRows<T, COUNT> {
    const EMPTY: Self = HeapRows(Vec::new());
}

impl<T, const COUNT: usize> AsRef<[T]> for HeapRows<T, COUNT> {
    fn as_ref(&self) -> &[T] {
        &self.0
    }
}

impl<T: Row, const COUNT: usize> AsMut<[T]> for HeapRows<T, COUNT> {
    fn as_mut(&mut self) -> &mut [T] {
        if self.0.is_empty() {
            self.0 = vec![T::EMPTY; COUNT];
        }
        &mut self.0
    }
}
