//! Full route tables of a machine with memory: replaced while others read, and
//! looked up with the widest vectors that the processor has.
//!
//! [`Fib`] itself is the core's, which says what it is. A [`SharedTable`] holds
//! one with the next hops of a link. Any number of threads read it while one
//! replaces it: a reader goes on with the table that it has begun with, and
//! nobody waits. While a new table is made both are in memory, about 15 bytes a
//! route each, and the 32 bytes a route that it is made of.

use arc_swap::ArcSwap;
use isatap_core::capacity::{FullTable, Longest};
use isatap_core::error::{Table, TableFull};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Fib, FibRoute, Node, Sorted};
use std::collections::{HashMap, HashSet};
use std::net::Ipv6Addr;
use std::sync::Arc;

#[cfg(test)]
mod tests;
#[cfg(target_arch = "x86_64")]
mod vectors;

/// A full table in memory of its own.
pub type BoxedFib = Fib<Box<[Node]>>;

/// Makes a table of routes, which are sorted in place.
///
/// # Errors
///
/// More than about 1.7 million routes.
pub fn build(routes: &mut [FibRoute]) -> Result<BoxedFib, TableFull> {
    let sorted = Sorted::sort(routes);
    // Too many for any table: `build` says so.
    let nodes = Some(sorted.nodes()).filter(|&nodes| nodes != usize::MAX).unwrap_or_default();
    sorted.build(vec![Fib::EMPTY_NODE; nodes].into_boxed_slice())
}

/// [`Fib::lookup_batch`], with AVX-512 or AVX2 where the processor has it.
pub fn lookup_batch(fib: &BoxedFib, destinations: &[Ipv6Addr], values: &mut [Option<u16>]) {
    #[cfg(target_arch = "x86_64")]
    if let Some(vectors) = vectors::found().next() {
        return vectors.lookup_batch(fib, destinations, values);
    }
    fib.lookup_batch(destinations, values);
}

/// The routes of one link, for all who read while they are replaced.
#[derive(Debug)]
pub struct SharedTable {
    link: LinkId,
    current: ArcSwap<Ways>,
}

/// A table, and what its values name: lengths of prefixes with next hops.
#[derive(Debug)]
struct Ways {
    fib: BoxedFib,
    ways: Box<[(u8, Option<Ipv6Addr>)]>,
    routes: usize,
}

impl Ways {
    fn new(routes: impl IntoIterator<Item = (Ipv6Prefix, Option<Ipv6Addr>)>) -> Result<Self, TableFull> {
        let mut ways = Vec::new();
        let mut numbers = HashMap::new();
        let mut known = HashSet::new();
        let mut rows = Vec::new();
        for (prefix, next_hop) in routes.into_iter().filter(|(prefix, _)| known.insert(*prefix)) {
            let way = (prefix.length(), next_hop);
            let value = *numbers.entry(way).or_insert_with(|| {
                ways.push(way);
                ways.len() - 1
            });
            let value = u16::try_from(value).ok().filter(|&value| value != Fib::NO_ROUTE);
            rows.push(FibRoute { prefix, value: value.ok_or(TableFull::new(Table::Routes))? });
        }
        Ok(Ways { fib: build(&mut rows)?, ways: ways.into(), routes: rows.len() })
    }
}

impl SharedTable {
    /// A table of prefixes by `link`, each with the neighbour that forwards; without one, the
    /// destinations are neighbours themselves. Of those with the same prefix the first counts.
    ///
    /// # Errors
    ///
    /// More than about 1.7 million routes, or 65,535 different pairs of a length and a next hop.
    pub fn new(
        link: LinkId,
        routes: impl IntoIterator<Item = (Ipv6Prefix, Option<Ipv6Addr>)>,
    ) -> Result<Self, TableFull> {
        Ok(SharedTable { link, current: ArcSwap::from_pointee(Ways::new(routes)?) })
    }

    /// Puts a table of these routes in the place of the one that is there.
    ///
    /// # Errors
    ///
    /// As [`new`](Self::new); the table stays as it was.
    pub fn replace(&self, routes: impl IntoIterator<Item = (Ipv6Prefix, Option<Ipv6Addr>)>) -> Result<(), TableFull> {
        self.current.store(Arc::new(Ways::new(routes)?));
        Ok(())
    }

    /// How many routes were given, and how many bytes the table takes.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let table = self.current.load();
        (table.routes, table.fib.memory() + size_of_val(&*table.ways))
    }

    /// The way of the longest prefix that `destination` lies in.
    #[must_use]
    pub fn lookup(&self, destination: &Ipv6Addr) -> Option<Longest> {
        let table = self.current.load();
        let (length, next_hop) = *table.ways.get(usize::from(table.fib.lookup(destination)?))?;
        Some(Longest { length, link: self.link, next_hop })
    }
}

/// The full tables of a node: one a link. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct FullTables(Vec<Arc<SharedTable>>);

impl FullTables {
    /// Puts in the table of its link, in the place of any that the link has.
    pub fn insert(&mut self, table: Arc<SharedTable>) {
        self.remove(table.link);
        self.0.push(table);
    }

    /// Takes out the table of a link; whether there was one.
    pub fn remove(&mut self, link: LinkId) -> bool {
        let before = self.0.len();
        self.0.retain(|table| table.link != link);
        self.0.len() < before
    }
}

impl FullTable for FullTables {
    const EMPTY: Self = FullTables(Vec::new());

    fn longest(&self, link: Option<LinkId>, destination: &Ipv6Addr) -> Option<Longest> {
        let tables = self.0.iter().filter(|table| link.is_none_or(|link| link == table.link));
        // Of equals the first link's.
        tables.rev().filter_map(|table| table.lookup(destination)).max_by_key(|way| way.length)
    }
}
