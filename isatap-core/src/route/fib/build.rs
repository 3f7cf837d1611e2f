//! From unsorted routes to the nodes of a [`Fib`].

use heapless::Vec;

use super::{Fib, FibRoute, IS_TREE, NO_ROUTE, Node, SECOND_LEVEL, SEPARATORS, STARTS, Tree};
use crate::capacity::{Row, Storage};
use crate::error::{Table, TableFull};
use crate::prefix::{Ipv6Prefix, halves};

/// Routes in the order in which a [`Fib`] is written.
#[derive(Debug)]
pub struct Sorted<'a> {
    routes: &'a [FibRoute],
    starts: usize,
    nodes: usize,
}

impl<'a> Sorted<'a> {
    /// Sorts routes in place. Of those with the same prefix the least value
    /// counts: who has several decides before.
    ///
    /// Takes time in proportion to the routes and the bits that tell them
    /// apart, no memory but a small stack.
    #[must_use]
    pub fn sort(routes: &'a mut [FibRoute]) -> Self {
        sort(routes, 0);
        let mut count = Count { starts: 0, second_level: 0 };
        sweep_high(routes, &mut count);
        let nodes = Tree::of(0, count.starts.div_ceil(STARTS)).map_or(usize::MAX, |(_, nodes)| nodes);
        Sorted { routes, starts: count.starts, nodes: nodes.saturating_add(count.second_level) }
    }

    /// How many nodes the table takes, of 64 bytes each; `usize::MAX`: it has
    /// too many prefixes, which takes more than 1.7 million.
    #[must_use]
    pub const fn nodes(&self) -> usize {
        self.nodes
    }

    /// Writes the table into `nodes`; more than needed are left as they are.
    ///
    /// # Errors
    /// There are fewer than [`nodes`](Self::nodes); nothing was written.
    pub fn build<S: Storage<Node>>(&self, mut nodes: S) -> Result<Fib<S>, TableFull> {
        let full = TableFull::new(Table::Routes);
        let written = nodes.as_mut().get_mut(..self.nodes).ok_or(full)?;
        let (tree, used) = Tree::of(0, self.starts.div_ceil(STARTS)).ok_or(full)?;
        let mut write = Write { nodes: written, leaf: 0, start: 0, free: used };
        sweep_high(self.routes, &mut write);
        separate(written, &tree, self.starts.div_ceil(STARTS));
        Ok(Fib { nodes, tree })
    }
}

/// The words by which routes are ordered: equal prefixes by their value.
fn key(route: &FibRoute, word: usize) -> u64 {
    let (high, low) = halves(&route.prefix.address());
    match word {
        0 => high,
        1 => low,
        _ => u64::from(route.prefix.length()) << 16 | u64::from(route.value),
    }
}

/// Words of a key.
const WORDS: usize = 3;
/// Routes that are put in order one by one.
const FEW: usize = 12;

/// Radix exchange: routes without the highest bit that tells them apart go
/// before those with it, then each part by itself. The shorter part first, so
/// that the calls nest no deeper than the length has bits. (The library's sorts
/// can panic.)
fn sort(mut routes: &mut [FibRoute], mut word: usize) {
    while routes.len() > FEW {
        let first = routes.first().map_or(0, |route| key(route, word));
        let different = routes.iter().fold(0, |bits, route| bits | (key(route, word) ^ first));
        let Some(bit) = different.checked_ilog2() else {
            word = word.saturating_add(1);
            if word == WORDS {
                return;
            }
            continue;
        };
        let has_bit = |route: &FibRoute| key(route, word).wrapping_shr(bit) & 1 == 1;
        let mut rest = routes.iter_mut();
        while let (Some(with), Some(without)) = (rest.find(|route| has_bit(route)), rest.rfind(|route| !has_bit(route)))
        {
            core::mem::swap(with, without);
        }
        let without = routes.partition_point(|route| !has_bit(route));
        let Some((one, other)) = routes.split_at_mut_checked(without) else { return };
        let (shorter, longer) = if one.len() < other.len() { (one, other) } else { (other, one) };
        sort(shorter, word);
        routes = longer;
    }
    let order = |route: &FibRoute| [0, 1, 2].map(|word| key(route, word));
    for end in 1..=routes.len() {
        let Some([sorted @ .., new]) = routes.get_mut(..end) else { return };
        let place = order(new);
        let mut hole = new;
        for before in sorted.iter_mut().rev() {
            if order(before) <= place {
                break;
            }
            core::mem::swap(before, hole);
            hole = before;
        }
    }
}

/// Takes the starts of a level in order.
trait Sink {
    fn start(&mut self, start: Start);

    /// The routes of a /64 that are longer than it, where `cover` is the value
    /// of what is not in them. Returns the pair that leads to their tree.
    fn second_level(&mut self, routes: &[FibRoute], cover: u16) -> u32;
}

/// A range start, as a leaf has it.
#[derive(Clone, Copy)]
struct Start {
    key: u64,
    shift: u64,
    pair: u32,
}

struct Count {
    starts: usize,
    /// Nodes of the trees of the lower halves.
    second_level: usize,
}

impl Sink for Count {
    fn start(&mut self, _: Start) {
        self.starts = self.starts.saturating_add(1);
    }

    fn second_level(&mut self, routes: &[FibRoute], cover: u16) -> u32 {
        let (_, nodes) = second_level_size(routes, cover);
        self.second_level = self.second_level.saturating_add(nodes);
        0
    }
}

/// Leaves of a tree of lower halves, and its nodes with the one that describes it.
fn second_level_size(routes: &[FibRoute], cover: u16) -> (usize, usize) {
    let mut count = Count { starts: 0, second_level: 0 };
    sweep_low(routes, cover, &mut count);
    let leaves = count.starts.div_ceil(STARTS);
    let nodes = Tree::of(0, leaves).map_or(usize::MAX, |(_, nodes)| nodes);
    (leaves, nodes.saturating_add(usize::from(leaves > 1)))
}

struct Write<'a> {
    nodes: &'a mut [Node],
    /// The leaf that the next start goes to, and the place there.
    leaf: usize,
    start: usize,
    /// The first node that no tree has.
    free: usize,
}

impl Sink for Write<'_> {
    fn start(&mut self, start: Start) {
        // Behind the last start of all the free places say the same.
        (self.start..STARTS).for_each(|place| self.put(place, start));
        self.start = self.start.saturating_add(1);
        if self.start == STARTS {
            self.start = 0;
            self.leaf = self.leaf.saturating_add(1);
        }
    }

    fn second_level(&mut self, routes: &[FibRoute], cover: u16) -> u32 {
        let (leaves, _) = second_level_size(routes, cover);
        let has_tree = leaves > 1;
        let first = self.free.saturating_add(usize::from(has_tree));
        let Some((tree, nodes)) = Tree::of(first, leaves) else { return 0 };
        if let Some(node) = self.nodes.get_mut(self.free).filter(|_| has_tree) {
            *node = tree.write();
        }
        let place = u32::try_from(self.free).unwrap_or(0);
        self.free = first.saturating_add(nodes);
        let mut write = Write { nodes: self.nodes, leaf: first, start: 0, free: 0 };
        sweep_low(routes, cover, &mut write);
        separate(self.nodes, &tree, leaves);
        if has_tree { place | IS_TREE } else { place }
    }
}

impl Write<'_> {
    /// Writes one place of the current leaf.
    fn put(&mut self, place: usize, start: Start) {
        let Some(leaf) = self.nodes.get_mut(self.leaf) else { return };
        let mut set = |word: usize, from: u32, width: u32, bits: u64| {
            let mask = u64::MAX.wrapping_shr(64_u32.wrapping_sub(width)).wrapping_shl(from);
            if let Some(word) = leaf.words.get_mut(word) {
                *word = *word & !mask | bits.wrapping_shl(from) & mask;
            }
        };
        let bit = u32::try_from(place).unwrap_or(0);
        set(place, 0, 64, start.key);
        set((place >> 1).saturating_add(STARTS), (bit & 1) << 5, 32, u64::from(start.pair));
        set(SEPARATORS.saturating_sub(1), bit.saturating_mul(6).saturating_add(32), 6, start.shift);
    }
}

/// Writes the inner nodes: what the leaves are told apart by.
fn separate(nodes: &mut [Node], tree: &Tree, leaves: usize) {
    let (inner, first) = tree.levels();
    let inner_nodes = nodes.get_mut(first.saturating_add(leaves)..).unwrap_or_default();
    let count = Tree::of(0, leaves).map_or(0, |(_, nodes)| nodes.saturating_sub(leaves));
    inner_nodes.iter_mut().take(count).for_each(|node| *node = Node::EMPTY);
    for leaf in 1..leaves {
        let Some(start) = nodes.get(first.saturating_add(leaf)).and_then(|leaf| leaf.words.first()).copied() else {
            return;
        };
        // The level in which this leaf is not below the first child of its node.
        let mut child = leaf;
        for &level in inner.iter().rev() {
            let (node, place) = (child.div_euclid(super::CHILDREN), child.rem_euclid(super::CHILDREN));
            if let Some(place) = place.checked_sub(1) {
                let node = nodes.get_mut(level.saturating_add(node));
                if let Some(separator) = node.and_then(|node| node.words.get_mut(place)) {
                    *separator = start.saturating_sub(1);
                }
                break;
            }
            child = node;
        }
    }
}

/// Starts of the upper halves, with the trees of what is longer than a /64.
fn sweep_high(routes: &[FibRoute], sink: &mut impl Sink) {
    let mut sweep = Sweep::new(NO_ROUTE, sink);
    let mut rest = routes;
    let mut before = None;
    while let [route, others @ ..] = rest {
        let high = route.prefix.high();
        if route.prefix.length() <= 64 {
            rest = others;
            if before.replace(route.prefix) != Some(route.prefix) {
                sweep.open(high, route.prefix.length(), route.value);
            }
        } else {
            let count = rest.iter().take_while(|route| route.prefix.high() == high).count();
            let Some((long, others)) = rest.split_at_checked(count) else { return };
            rest = others;
            sweep.open_second_level(high, long);
        }
    }
    sweep.finish();
}

/// Starts of the lower halves below one /64.
fn sweep_low(routes: &[FibRoute], cover: u16, sink: &mut impl Sink) {
    let mut sweep = Sweep::new(cover, sink);
    let mut before: Option<Ipv6Prefix> = None;
    for FibRoute { prefix, value } in routes {
        if before.replace(*prefix) != Some(*prefix) {
            sweep.open(halves(&prefix.address()).1, prefix.length().saturating_sub(64), *value);
        }
    }
    sweep.finish();
}

/// Prefixes of one half that can lie in each other, with what covers them all.
const NESTED: usize = 66;

/// Walks over prefixes in order and tells where ranges start.
struct Sweep<'a, S> {
    sink: &'a mut S,
    /// The prefixes that the walk is in, the longest last; the first never ends.
    open: Vec<Region, NESTED>,
    /// The start that is not told yet, since what follows it is not known.
    key: u64,
    region: Region,
}

/// A prefix, as far as a range start needs it.
#[derive(Clone, Copy)]
struct Region {
    end: u64,
    length: u8,
    pair: u32,
    is_second_level: bool,
}

impl Region {
    fn new(start: u64, length: u8, value: u16) -> Self {
        let host_bits = u64::MAX.checked_shr(length.into()).unwrap_or(0);
        Region { end: start | host_bits, length, pair: value.into(), is_second_level: false }
    }

    /// Whether a start can tell what follows behind the end. Not that of a tree;
    /// not that of half of all addresses, whose shift means a tree.
    fn has_end(&self) -> bool {
        !self.is_second_level && self.length != 1
    }
}

impl<'a, S: Sink> Sweep<'a, S> {
    fn new(cover: u16, sink: &'a mut S) -> Self {
        let region = Region::new(0, 0, cover);
        let mut open = Vec::new();
        // There is room for 66.
        let _ = open.push(region);
        Sweep { sink, open, key: 0, region }
    }

    /// The longest prefix that `address` and the walk are in.
    fn around(&self, address: u64) -> Region {
        self.open.iter().rev().find(|region| region.end >= address).copied().unwrap_or(self.region)
    }

    fn open(&mut self, start: u64, length: u8, value: u16) {
        // What leads where the prefix around it leads needs no start.
        if self.around(start).pair == u32::from(value) {
            return;
        }
        self.begin(start, Region::new(start, length, value));
        // Those that ended before are gone, so that there is room.
        let _ = self.open.push(self.region);
    }

    fn open_second_level(&mut self, start: u64, routes: &[FibRoute]) {
        let cover = u16::try_from(self.around(start).pair).unwrap_or(NO_ROUTE);
        let pair = self.sink.second_level(routes, cover);
        self.begin(start, Region { pair, is_second_level: true, ..Region::new(start, 64, cover) });
    }

    fn begin(&mut self, start: u64, region: Region) {
        if let Some(last) = start.checked_sub(1).filter(|&last| self.key <= last) {
            self.tell_until(last);
        }
        while self.open.last().is_some_and(|region| region.end < start) {
            self.open.pop();
        }
        (self.key, self.region) = (start, region);
    }

    /// Tells the starts up to `last`, behind which another comes.
    fn tell_until(&mut self, last: u64) {
        while let Some(behind) = self.region.end.checked_add(1).filter(|_| self.region.end < last) {
            let after = self.around(behind);
            let follows = if self.region.has_end() { after } else { self.region };
            self.tell(follows);
            let beyond = match after.end.checked_add(1) {
                _ if !self.region.has_end() => Some(behind),
                Some(beyond) if after.end < last => Some(beyond),
                _ => None,
            };
            let Some(beyond) = beyond else { return };
            (self.key, self.region) = (beyond, self.around(beyond));
        }
        self.tell(self.region);
    }

    /// Tells the current start, behind whose prefix `follows` holds.
    fn tell(&mut self, follows: Region) {
        let Region { length, pair, is_second_level, .. } = self.region;
        let start = if is_second_level {
            Start { key: self.key, shift: SECOND_LEVEL, pair }
        } else {
            let (shift, behind) = match length {
                // Without an end: the same on both sides.
                0 | 1 => (0, pair),
                _ => (64_u64.saturating_sub(length.into()), follows.pair),
            };
            Start { key: self.key, shift, pair: pair | behind.wrapping_shl(16) }
        };
        self.sink.start(start);
    }

    /// Tells the starts that are left.
    fn finish(mut self) {
        self.tell_until(u64::MAX);
    }
}
