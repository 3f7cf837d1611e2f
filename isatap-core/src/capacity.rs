//! How large the tables of a machine are, chosen by one type parameter.
//!
//! The core never allocates. Each machine takes a [`Capacity`] that names the
//! size of every table. A table is a `heapless::Vec`, or an array where rows
//! have fixed places: routes with their index, slots that others name by number,
//! hash tables.
//!
//! A full table is loud: [`TableFull`](crate::error::TableFull) from
//! the call, or an event, or a counted drop. What is evicted, if anything, is
//! written beside the table.

use core::net::Ipv6Addr;

use crate::drop_reason::Tally;
use crate::packet::LinkId;

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
    /// Routes behind the route table, of a router with many: `()`, none.
    type FullTable: FullTable;
}

/// Routes of a router that has more than a route table is for, in memory of its
/// owner's: a [`Fib`](crate::route::Fib) with the next hops that its values name,
/// say.
///
/// A node asks it for each destination. Of its answer and the route table's the
/// longer prefix wins, the table's where both are equally long. Metrics,
/// preferences and lifetimes are decided before; marks of unreachable next hops
/// (NDP-37) do not reach it.
pub trait FullTable: Clone {
    /// No routes.
    const EMPTY: Self;

    /// The way of the longest prefix that `destination` lies in, by `link`;
    /// `None`: by any link.
    fn longest(&self, link: Option<LinkId>, destination: &Ipv6Addr) -> Option<Longest>;
}

/// No full table.
impl FullTable for () {
    const EMPTY: Self = ();

    #[inline]
    fn longest(&self, _: Option<LinkId>, _: &Ipv6Addr) -> Option<Longest> {
        None
    }
}

/// What a [`FullTable`] knows of a destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Longest {
    /// The length of the prefix, 0 to 128.
    pub length: u8,
    /// The link that packets leave by.
    pub link: LinkId,
    /// The neighbour that forwards; `None`: the destination itself.
    pub next_hop: Option<Ipv6Addr>,
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
    type FullTable = ();
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
    type Answered = N<512>;
    type DnsServers = N<8>;
    type SearchDomains = N<4>;
    type Members = N<16>;
    type KnownRouters = N<16>;
    type Addresses = N<16>;
    type Identifications = N<64>;
    type Refusals = N<8>;
    type Tally = u64;
    type FullTable = ();
}

/// A number of rows, at most 65,535, as a type.
pub trait Count: Copy + 'static {
    /// An array of that many rows.
    type Of<T: Row>: Array<T>;
    /// A table of at most that many rows: that of [`N`].
    #[doc(hidden)]
    type Vec<T: Copy>: Bounded<T>;
}

/// `COUNT` rows.
#[derive(Clone, Copy, Debug)]
pub enum N<const COUNT: usize> {}

impl<const COUNT: usize> Count for N<COUNT> {
    type Of<T: Row> = [T; COUNT];
    type Vec<T: Copy> = heapless::Vec<T, COUNT, u16>;
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

/// An array of rows with a constant empty value: lets a whole machine be a
/// `static`.
pub trait Array<T>: Storage<T> + Clone {
    /// All rows empty.
    const EMPTY: Self;
}

impl<T: Row, const N: usize> Array<T> for [T; N] {
    const EMPTY: Self = [T::EMPTY; N];
}

/// A table of at most `K` rows of `T`.
pub(crate) type Vec<T, K> = <K as Count>::Vec<T>;

mod sealed {
    use core::ops::DerefMut;

    use heapless::VecView;

    use crate::error::{Table, TableFull};

    /// A `heapless::Vec` of any size.
    pub trait Bounded<T>: Clone + DerefMut<Target = [T]> {
        /// No rows.
        const EMPTY: Self;

        /// The table without its size.
        fn view(&self) -> &VecView<T, u16>;

        /// The table without its size, to be changed.
        fn view_mut(&mut self) -> &mut VecView<T, u16>;

        /// The rows, for code that every packet runs through. That there are no
        /// more than the capacity is said once more: a kernel's verifier of BPF
        /// programs takes the stored length for any number.
        #[inline(always)]
        fn bounded(&self) -> &[T] {
            self.get(..self.len().min(self.view().capacity())).unwrap_or(&[])
        }

        /// Appends a row.
        ///
        /// # Errors
        /// [`TableFull`], which names `table`; nothing changed.
        fn add(&mut self, row: T, table: Table) -> Result<(), TableFull> {
            self.view_mut().push(row).map_err(|_| TableFull::new(table))
        }

        /// Removes the row at `index`; the ones behind it move up. (The
        /// library's `remove` can panic.)
        fn take(&mut self, index: usize) -> Option<T>
        where
            T: Copy,
        {
            let mut rows = self.get_mut(index..)?.iter_mut();
            let mut place = rows.next()?;
            let taken = *place;
            for row in rows {
                *place = *row;
                place = row;
            }
            self.view_mut().pop();
            Some(taken)
        }
    }

    impl<T: Copy, const COUNT: usize> Bounded<T> for heapless::Vec<T, COUNT, u16> {
        const EMPTY: Self = heapless::Vec::new();

        #[inline(always)]
        fn view(&self) -> &VecView<T, u16> {
            self
        }

        #[inline(always)]
        fn view_mut(&mut self) -> &mut VecView<T, u16> {
            self
        }
    }
}

pub(crate) use sealed::Bounded;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Table, TableFull};

    #[test]
    fn a_full_table_says_which_it_is_and_keeps_its_rows() {
        let mut table: Vec<u8, N<2>> = Bounded::EMPTY;
        table.add(1, Table::Locators).unwrap();
        table.add(2, Table::Locators).unwrap();
        assert_eq!(table.add(3, Table::Locators), Err(TableFull::new(Table::Locators)));
        assert_eq!((table.take(2), table.take(0)), (None, Some(1)));
        assert_eq!(table.bounded(), [2]);
    }
}
