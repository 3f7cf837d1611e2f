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
//!
//! A table of no rows is off: what belongs in it is passed over in silence, and
//! the code for it folds away. So do the [`Parts`] that a capacity leaves out.
//! [`Minimal`] is what is left for the smallest flash.

use core::net::Ipv6Addr;

use bitflags::bitflags;

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
    /// Routes of a node; none: each packet goes to a neighbour on one of the
    /// links, or by a way that a [link knows](crate::link::Link::next_hop). That is
    /// enough for a node of one tunnel. No
    /// [`Event::Route`](crate::engine::Event::Route) is told then.
    type Routes: Count;
    /// Neighbours of one interface under unreachability detection.
    type Neighbors: Count;
    /// Neighbours of a router's link that is checked for them (SEC-1): the
    /// hosts that talk by the router at a time, and room for questions; at
    /// most 65,535. Their memory may be taken when it is first written.
    type CheckedNeighbors: Count;
    /// Path MTU estimates of one link; none: it lets IPv4 routers fragment.
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
    /// What is compiled in, where that is not everything.
    const PARTS: Parts = Parts::all();
}

bitflags! {
    /// What a machine can do without. A part that a [`Capacity`] leaves out takes
    /// no code; what it would have done is not done, whatever the configuration
    /// says.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Parts: u16 {
        /// ICMPv6 errors: to who sends what cannot be sent on, and of ICMPv4
        /// errors about packets of theirs. Without it such packets are dropped
        /// and counted. Do not leave it out of what forwards: a sender that hears
        /// of no [MTU](crate::engine::Event::Mtu) needs "packet too big".
        /// `TUN-42`, `NDP-60 [RFC 4443 §2.4]`
        const ERRORS = 1;
        /// Echo requests, if
        /// [`answer_echo`](crate::node::NodeConfig::answer_echo) is set.
        /// `NDP-65`
        const ECHO = 1 << 1;
        /// Route information options; without it a host is of type A or B.
        /// `NDP-36 [RFC 4191 §3.1]`
        const ROUTE_INFORMATION = 1 << 2;
        /// Redirects, which need [routes](Capacity::Routes) too; without it a host
        /// goes on to send by the router.
        /// `ISA-46 [RFC 4861 §8.3]`
        const REDIRECTS = 1 << 3;
        /// The address checks against routing loops, of links whose
        /// [switches](crate::datapath::Switches::loop_checks) ask for them. What
        /// has one link and does not forward closes no loop.
        /// `SEC-3 [RFC 6324 §3.3]`
        const LOOP_CHECKS = 1 << 4;
        /// That links and routers share the rows of full tables equally. Without
        /// it who comes first has the row.
        const SHARES = 1 << 5;
        /// Shortcuts to what is decided of most packets. Without them each packet
        /// takes the longer way, to the same decision.
        const SHORTCUTS = 1 << 6;
        /// Packets that stand for several, whose
        /// [segment size](crate::packet::PacketMut::set_segment_size) is set.
        /// Without it they count whole.
        const OFFLOAD = 1 << 7;
        /// Questions to relays of 6to4 and 6rd, whether they are there. `S64-35`,
        /// `S6R-50`
        const PROBES = 1 << 8;
        /// Packets from IPv4-compatible addresses, which links of automatic
        /// tunnelling let in. Without it they are refused as by any other link.
        /// `TUN-72`
        const COMPATIBLE = 1 << 9;
    }
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

/// For the smallest flash: one locator, two routers and prefixes, no route table,
/// and of the [`Parts`] none.
///
/// What a node of this size does without, besides: path MTUs (IPv4 routers may
/// fragment its packets, which are as large as the link's MTU says: the static
/// MTU of RFC 4213 §3.2.1, `TUN-31`), unreachability
/// detection of neighbours (`ISA-48`, RFC 4861 §7.3: a router that is silent is
/// left when its lifetime ends), the preferences of routers (RFC 4191: the one
/// in the first row of the list that is a default router is used), DNS servers and search domains, members (`SEC-2`), known
/// routers (`SEC-4`) and Identifications that are counted by pair (`TUN-7`: one
/// counter for all). Whatever else a peer must be refused for is refused as
/// anywhere: a property test holds it against [`Standard`].
///
/// Take it for what has one link and does not forward, by itself or by the stack
/// above it. A router takes [`MinimalRouter`]. Who needs one thing more writes a capacity of his own with
/// that part, or rows for that table.
#[derive(Clone, Copy, Debug)]
pub enum Minimal {}

impl Capacity for Minimal {
    type Locators = N<1>;
    type PotentialRouters = N<2>;
    type Prefixes = N<2>;
    type Routes = N<0>;
    type Neighbors = N<0>;
    type CheckedNeighbors = N<0>;
    type PathMtus = N<0>;
    type Solicitations = N<0>;
    type Answered = N<0>;
    type DnsServers = N<0>;
    type SearchDomains = N<0>;
    type Members = N<0>;
    type KnownRouters = N<0>;
    type Addresses = N<3>;
    type Identifications = N<0>;
    type Refusals = N<0>;
    type Tally = u16;
    type FullTable = ();
    const PARTS: Parts = Parts::empty();
}

/// For a router with one tunnel in the smallest flash: [`Minimal`] with ICMPv6
/// errors and the checks against routing loops, which who forwards has to have.
///
/// What it does without, besides: asking whether neighbours are there (`SEC-1`,
/// whatever the configuration says, so that a neighbour who is not is not
/// refused), telling hosts that did not ask of changes
/// and of its end (`ISA-56`, `NDP-42`; they hear when they ask again). Its
/// upstream router is the [gateway](crate::link::NativeLink::set_gateway) of the
/// native link, and it offers itself as a default router where
/// [`OfferDefault::Always`](crate::isatap::OfferDefault::Always) says so, since
/// there is no route that `Auto` could look for.
#[derive(Clone, Copy, Debug)]
pub enum MinimalRouter {}

impl Capacity for MinimalRouter {
    type Locators = N<1>;
    type PotentialRouters = N<1>;
    type Prefixes = N<2>;
    type Routes = N<0>;
    type Neighbors = N<0>;
    type CheckedNeighbors = N<0>;
    type PathMtus = N<0>;
    type Solicitations = N<4>;
    type Answered = N<0>;
    type DnsServers = N<0>;
    type SearchDomains = N<0>;
    type Members = N<0>;
    type KnownRouters = N<0>;
    type Addresses = N<3>;
    type Identifications = N<0>;
    type Refusals = N<0>;
    type Tally = u16;
    type FullTable = ();
    const PARTS: Parts = Parts::ERRORS.union(Parts::LOOP_CHECKS);
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
    /// That number.
    const ROWS: usize;
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
    const ROWS: usize = COUNT;
    type Of<T: Row> = [T; COUNT];
    type Vec<T: Copy> = List<T, COUNT>;
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
    use core::ops::{Deref, DerefMut};

    use crate::error::{Table, TableFull};

    /// A `heapless::Vec`, whose rows the compiler knows to be none where there
    /// is no room for one.
    #[derive(Clone)]
    pub struct List<T: Copy, const COUNT: usize>(heapless::Vec<T, COUNT, u16>);

    impl<T: Copy, const COUNT: usize> Deref for List<T, COUNT> {
        type Target = [T];

        #[inline(always)]
        fn deref(&self) -> &[T] {
            if COUNT == 0 { &[] } else { &self.0 }
        }
    }

    impl<T: Copy, const COUNT: usize> DerefMut for List<T, COUNT> {
        #[inline(always)]
        fn deref_mut(&mut self) -> &mut [T] {
            if COUNT == 0 { &mut [] } else { &mut self.0 }
        }
    }

    /// A [`List`] of any size.
    pub trait Bounded<T: Copy>: Clone + DerefMut<Target = [T]> {
        /// No rows.
        const EMPTY: Self;

        /// How many rows there may be.
        const CAPACITY: usize;

        /// Keeps so many rows from the front.
        fn truncate(&mut self, len: usize);

        /// Appends a row.
        ///
        /// # Errors
        /// [`TableFull`], which names `table`; nothing changed.
        fn add(&mut self, row: T, table: Table) -> Result<(), TableFull>;

        /// The rows, for code that every packet runs through. That there are no
        /// more than the capacity is said once more: a kernel's verifier of BPF
        /// programs takes the stored length for any number.
        #[inline(always)]
        fn bounded(&self) -> &[T] {
            self.get(..self.len().min(Self::CAPACITY)).unwrap_or(&[])
        }

        /// Whether there is no room for another row.
        fn is_full(&self) -> bool {
            self.len() >= Self::CAPACITY
        }

        /// Removes all rows.
        fn clear(&mut self) {
            self.truncate(0);
        }

        /// Removes the row at `index`; the ones behind it move up. (The
        /// library's `remove` can panic.)
        fn take(&mut self, index: usize) -> Option<T> {
            let mut rows = self.get_mut(index..)?.iter_mut();
            let mut place = rows.next()?;
            let taken = *place;
            for row in rows {
                write(place, row);
                place = row;
            }
            self.truncate(self.len().wrapping_sub(1));
            Some(taken)
        }

        /// Keeps the rows that `keep`, which may change them, says yes to.
        fn keep(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
            let mut kept = 0_usize;
            for at in 0..self.len() {
                if !self.get_mut(at).is_some_and(&mut keep) {
                    continue;
                }
                // Each row is in its place until one went.
                if let Some((before, rest)) = self.split_at_mut_checked(at)
                    && let (Some(place), Some(row)) = (before.get_mut(kept), rest.first())
                {
                    write(place, row);
                }
                kept = kept.wrapping_add(1);
            }
            self.truncate(kept);
        }
    }

    /// Out of line, so that the compiler knows them for two rows: where it does
    /// not, it moves memory by a routine for overlapping ranges, which small
    /// images have for nothing else.
    #[inline(never)]
    fn write<T: Copy>(place: &mut T, row: &T) {
        *place = *row;
    }

    impl<T: Copy, const COUNT: usize> Bounded<T> for List<T, COUNT> {
        const EMPTY: Self = List(heapless::Vec::new());
        const CAPACITY: usize = COUNT;

        #[inline]
        fn truncate(&mut self, len: usize) {
            if COUNT > 0 {
                self.0.truncate(len);
            }
        }

        #[inline]
        fn add(&mut self, row: T, table: Table) -> Result<(), TableFull> {
            if COUNT == 0 {
                return Err(TableFull::new(table));
            }
            self.0.push(row).map_err(|_| TableFull::new(table))
        }
    }
}

pub(crate) use sealed::Bounded;
use sealed::List;

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
        table.add(5, Table::Locators).unwrap();
        table.keep(|row| {
            *row += 1;
            *row > 3
        });
        assert_eq!((table.bounded(), table.is_full()), (&[6][..], false));
        table.clear();
        assert!(table.is_empty());
    }

    #[test]
    fn a_table_of_no_rows_has_none() {
        let mut none: Vec<u8, N<0>> = Bounded::EMPTY;
        assert_eq!(none.add(1, Table::Locators), Err(TableFull::new(Table::Locators)));
        none.keep(|_| true);
        assert_eq!((none.take(0), none.len(), none.is_full()), (None, 0, true));
    }
}
