//! The full table: the longest match among up to a million prefixes.
//!
//! A [`Fib`] answers one question, which of its prefixes is the longest that a
//! destination lies in, by the number that the caller gave that prefix: a next
//! hop's place in a table of the caller's. Metrics, preferences, lifetimes and
//! shares are a [`RouteTable`](crate::route::RouteTable)'s business; a `Fib`
//! is written at once from what has won, and never changes.
//!
//! # How it lies in memory
//! All prefixes cut the 2^64 upper halves of addresses into ranges. A leaf, one
//! cache line, has five range starts in order; with each the prefix that the
//! start lies in, the value of that prefix, and the value of what follows
//! behind the prefix's end, up to the next start. So a prefix that stands
//! alone takes one start and not two. Above the leaves lies a static B+ tree,
//! one cache line a node, eight separators each; the place of a node's child
//! is computed, not stored. A lookup reads one line a level: six for 200,000
//! prefixes.
//!
//! What is longer than a /64 lies in a tree of the same kind for its /64, over
//! the lower halves.
//!
//! # Memory
//! 14.4 bytes a start. One start a prefix, and at most one more for each two
//! prefixes: where one ends, nothing starts, and what goes on there ends before
//! the next start. That makes about 15 bytes a prefix in a table as the
//! Internet's and 21.6 at worst. A /64 with longer prefixes in it costs two
//! starts and a tree of its own: 64 bytes for up to two prefixes; for more 14.4
//! to 21.6 bytes each, and up to 128 once.

use core::net::Ipv6Addr;

use crate::capacity::Row;
use crate::prefix::{Ipv6Prefix, halves};

mod build;
#[cfg(test)]
mod tests;

pub use build::Sorted;

/// Separators of an inner node.
const SEPARATORS: usize = 8;
/// Children of an inner node.
const CHILDREN: usize = 9;
/// Range starts of a leaf.
const STARTS: usize = 5;
/// Levels of a tree, that of the leaves among them: 2.6 million starts.
const LEVELS: usize = 7;
/// The shift of a start that has a tree of its own.
const SECOND_LEVEL: u64 = 63;
/// Set where that tree has more than one leaf: its [`Tree`] lies at the place.
const IS_TREE: u32 = 1 << 31;
/// Lookups that a batch has under way at a time.
const LANES: usize = 16;

/// One prefix of a [`Fib`], and what it leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FibRoute {
    /// The destinations.
    pub prefix: Ipv6Prefix,
    /// What a lookup answers: a place in a table of the caller's.
    /// [`Fib::NO_ROUTE`]: nothing, although a shorter prefix would.
    pub value: u16,
}

impl Row for FibRoute {
    const EMPTY: Self = FibRoute { prefix: Ipv6Prefix::DEFAULT, value: NO_ROUTE };
}

const NO_ROUTE: u16 = u16::MAX;

/// Memory for a [`Fib`]: one cache line. Its inside is the table's.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
pub struct Node {
    /// An inner node: the last address before each child but the first, in
    /// order; all ones where there is no child. A leaf: five range starts,
    /// five pairs of values, five shifts of 6 bits.
    words: [u64; SEPARATORS],
}

const _: () = assert!(size_of::<Node>() == 64);

impl Row for Node {
    const EMPTY: Self = Node { words: [u64::MAX; SEPARATORS] };
}

/// The longest match among many prefixes, each with a value below 65,535.
///
/// `S` holds the nodes: an array, a boxed slice, a borrowed slice. Made by
/// [`Sorted::build`].
///
/// ```
/// use isatap_core::route::{Fib, FibRoute, Sorted};
///
/// let mut routes = [("2001:db8::/32", 0), ("::/0", 1), ("2001:db8:0:7::5/128", 2)]
///     .map(|(prefix, value)| FibRoute { prefix: prefix.parse().unwrap(), value });
/// let sorted = Sorted::sort(&mut routes);
/// let nodes = vec![Fib::EMPTY_NODE; sorted.nodes()].into_boxed_slice();
/// let fib = sorted.build(nodes)?;
/// assert_eq!(fib.lookup(&"2001:db8:0:7::5".parse().unwrap()), Some(2));
/// assert_eq!(fib.lookup(&"2001:db8:0:7::6".parse().unwrap()), Some(0));
/// assert_eq!(fib.lookup(&"2001:db9::1".parse().unwrap()), Some(1));
/// # Ok::<(), isatap_core::error::TableFull>(())
/// ```
#[derive(Clone, Debug)]
pub struct Fib<S> {
    nodes: S,
    tree: Tree,
}

impl Fib<()> {
    /// The value of a prefix that leads nowhere: a hole in a shorter one.
    pub const NO_ROUTE: u16 = NO_ROUTE;

    /// What nodes are made of before a table is written into them.
    pub const EMPTY_NODE: Node = Node::EMPTY;

    /// How many nodes of 64 bytes suffice for any table of `routes` prefixes,
    /// `long` of which are longer than a /64. [`Sorted::nodes`] tells the
    /// number that certain routes take: in a table as the Internet's, two
    /// thirds of it.
    #[must_use]
    pub const fn nodes_for(routes: usize, long: usize) -> usize {
        let short = routes.saturating_sub(long);
        let starts = short.saturating_add(short >> 1).saturating_add(long.saturating_mul(2)).saturating_add(1);
        let mut level = starts.div_ceil(STARTS);
        let mut nodes = level.saturating_add(long);
        while level > 1 {
            level = level.div_ceil(CHILDREN);
            nodes = nodes.saturating_add(level);
        }
        nodes
    }
}

impl<S: AsRef<[Node]>> Fib<S> {
    /// The value of the longest prefix that `destination` lies in.
    #[inline]
    #[must_use]
    pub fn lookup(&self, destination: &Ipv6Addr) -> Option<u16> {
        let (high, low) = halves(destination);
        let nodes = self.nodes.as_ref();
        let found = self.tree.find(nodes, high)?;
        route(found.value().unwrap_or_else(|| second_level(nodes, found, low)))
    }

    /// The values for several destinations: writes as many answers as the
    /// shorter of the two slices has places.
    ///
    /// Sixteen lookups are under way at a time, level by level, so that they
    /// wait for memory together.
    pub fn lookup_batch(&self, destinations: &[Ipv6Addr], values: &mut [Option<u16>]) {
        let (groups, rest) = destinations.as_chunks::<LANES>();
        let mut places = values.chunks_mut(LANES);
        for (group, values) in groups.iter().zip(&mut places) {
            self.lookup_lanes(group, values);
        }
        for (destination, value) in rest.iter().zip(places.flatten()) {
            *value = self.lookup(destination);
        }
    }

    #[inline]
    fn lookup_lanes(&self, destinations: &[Ipv6Addr; LANES], values: &mut [Option<u16>]) {
        let nodes = self.nodes.as_ref();
        let keys = destinations.map(|destination| halves(&destination).0);
        let mut places = [0_usize; LANES];
        let (inner, leaves) = self.tree.levels();
        for &start in inner {
            for (place, key) in places.iter_mut().zip(keys) {
                let below = nodes.get(start.wrapping_add(*place)).map_or(0, |node| node.child(key));
                *place = place.wrapping_mul(CHILDREN).wrapping_add(below);
            }
        }
        for (((value, place), key), destination) in values.iter_mut().zip(places).zip(keys).zip(destinations) {
            let found = nodes.get(leaves.wrapping_add(place)).map_or(Found::NOTHING, |leaf| leaf.range(key));
            let answer = found.value().unwrap_or_else(|| second_level(nodes, found, halves(destination).1));
            *value = route(answer);
        }
    }

    /// The nodes, and where the levels of the tree over the upper halves begin
    /// among them, the leaves' last: for lookups by a processor's own vectors,
    /// which isatap-std has.
    #[inline]
    #[must_use]
    pub fn levels(&self) -> (&[Node], &[usize]) {
        (self.nodes.as_ref(), self.tree.starts.get(..=self.tree.inner).unwrap_or(&[]))
    }

    /// The memory of the table, in bytes, without what the nodes' owner adds.
    #[must_use]
    pub fn memory(&self) -> usize {
        size_of_val(self.nodes.as_ref())
    }

    /// Gives the memory back.
    #[must_use]
    pub fn into_nodes(self) -> S {
        self.nodes
    }
}

#[inline(always)]
fn route(value: u16) -> Option<u16> {
    Some(value).filter(|&value| value != NO_ROUTE)
}

/// In the tree of a /64, by the lower half.
#[cold]
fn second_level(nodes: &[Node], of: Found, low: u64) -> u16 {
    let place = usize::try_from(of.pair & !IS_TREE).unwrap_or(usize::MAX);
    let tree = if of.pair & IS_TREE == 0 { Some(Tree::leaf(place)) } else { nodes.get(place).map(Tree::read) };
    let found = tree.and_then(|tree| tree.find(nodes, low));
    found.and_then(Found::value).unwrap_or(NO_ROUTE)
}

/// Where the levels of a tree begin, the root's first, the leaves' last.
#[derive(Clone, Copy, Debug)]
struct Tree {
    starts: [usize; LEVELS],
    /// Levels above the leaves.
    inner: usize,
}

impl Tree {
    /// A tree of one leaf.
    fn leaf(place: usize) -> Self {
        Tree { starts: [place; LEVELS], inner: 0 }
    }

    /// The tree of `leaves` leaves whose nodes lie from `first` on: the leaves,
    /// then each level above; and how many nodes that are. `None`: too many.
    fn of(first: usize, leaves: usize) -> Option<(Self, usize)> {
        let mut tree = Tree::leaf(first);
        let (mut level, mut nodes) = (leaves, leaves);
        while level > 1 {
            tree.inner = tree.inner.saturating_add(1);
            let above = tree.starts.get_mut(..=tree.inner)?;
            // The root comes first: the levels below move back.
            above.iter_mut().rev().reduce(|place, before| {
                *place = *before;
                before
            });
            *above.first_mut()? = first.saturating_add(nodes);
            level = level.div_ceil(CHILDREN);
            nodes = nodes.saturating_add(level);
        }
        Some((tree, nodes))
    }

    /// The starts of the inner levels, and that of the leaves.
    #[inline(always)]
    fn levels(&self) -> (&[usize], usize) {
        let inner = self.starts.get(..self.inner).unwrap_or(&[]);
        (inner, self.starts.get(self.inner).copied().unwrap_or(usize::MAX))
    }

    #[inline(always)]
    fn find(&self, nodes: &[Node], key: u64) -> Option<Found> {
        let (inner, leaves) = self.levels();
        let mut place = 0_usize;
        for start in inner {
            let node = nodes.get(start.wrapping_add(place))?;
            place = place.wrapping_mul(CHILDREN).wrapping_add(node.child(key));
        }
        Some(nodes.get(leaves.wrapping_add(place))?.range(key))
    }

    fn read(node: &Node) -> Self {
        let [inner, starts @ ..] = node.words.map(|word| usize::try_from(word).unwrap_or(usize::MAX));
        Tree { starts, inner }
    }

    fn write(&self) -> Node {
        let mut node = Node::EMPTY;
        for (word, value) in node.words.iter_mut().zip([self.inner].iter().chain(&self.starts)) {
            *word = u64::try_from(*value).unwrap_or(u64::MAX);
        }
        node
    }
}

impl Node {
    /// What lies in it.
    #[inline]
    #[must_use]
    pub const fn words(&self) -> &[u64; SEPARATORS] {
        &self.words
    }

    /// Which child of an inner node leads on to `key`: two comparisons choose
    /// a third of them, two more the child.
    #[inline(always)]
    fn child(&self, key: u64) -> usize {
        let is_below = |at: usize| usize::from(self.words.get(at).is_some_and(|&separator| separator < key));
        let first = is_below(2).wrapping_add(is_below(5)).wrapping_mul(3);
        first.wrapping_add(is_below(first)).wrapping_add(is_below(first.wrapping_add(1)))
    }

    /// What a leaf says of `key`.
    #[inline(always)]
    fn range(&self, key: u64) -> Found {
        let [_, second, third, fourth, fifth, _, _, shifts] = self.words;
        let later = [second, third, fourth, fifth];
        let at = later.iter().fold(0_usize, |at, &start| at.wrapping_add(usize::from(start <= key)));
        let word = |at: usize| self.words.get(at & 7).copied().unwrap_or(0);
        let bit = u32::try_from(at).unwrap_or(0);
        let pair = word((at >> 1).wrapping_add(STARTS)).wrapping_shr((bit & 1) << 5);
        let shift = shifts.wrapping_shr(bit.wrapping_mul(6).wrapping_add(32)) & 63;
        let is_behind = (key ^ word(at)).wrapping_shr(u32::try_from(shift).unwrap_or(0)) != 0;
        let pair = u32::try_from(pair & 0xffff_ffff).unwrap_or(0);
        Found { pair, is_second_level: shift == SECOND_LEVEL, is_behind }
    }
}

/// What a leaf says of a destination.
#[derive(Clone, Copy, Debug)]
struct Found {
    /// The value of the prefix, and above it that of what follows behind its
    /// end; or where the tree of the lower halves lies.
    pair: u32,
    is_second_level: bool,
    is_behind: bool,
}

impl Found {
    const NOTHING: Found = Found { pair: u32::MAX, is_second_level: false, is_behind: false };

    #[inline(always)]
    fn value(self) -> Option<u16> {
        if self.is_second_level {
            return None;
        }
        let value = if self.is_behind { self.pair >> 16 } else { self.pair & 0xffff };
        u16::try_from(value).ok()
    }
}
