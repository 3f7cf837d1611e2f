//! One of the two tables, and what this process knows of its rows.

use super::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use super::programs::{lock, of_map};
use super::ways::{Question, Way};
use aya::Pod;
use aya::maps::{HashMap, MapData};
use indexmap::IndexMap;
use isatap_core::engine::Carried;
use isatap_core::packet::LinkId;
use isatap_core::time::{Expiry, Instant};
use std::collections::BTreeSet;
use std::hash::Hash;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a row is good that is not written anew.
pub(super) const GOOD: Duration = Duration::from_secs(10);
/// One that carries packets is written anew when it has no longer than this.
pub(super) const LEAST: Duration = Duration::from_secs(5);
/// But not for longer than this: then a packet is judged, by whatever stands in its way that nobody tells of.
const SEEN: Duration = Duration::from_secs(300);
/// Rows that are looked at in a row: for those that are written anew the kernel may have to be asked, 10 microseconds each.
pub(super) const SLICE: usize = 128;
/// Rows that are looked at for one that gives way.
const TRIALS: usize = 8;

/// The kernel's side of a table.
pub(super) trait Table<K, V> {
    fn get(&self, key: &K) -> Option<V>;
    fn insert(&mut self, key: K, row: V) -> io::Result<()>;
    fn remove(&mut self, key: &K);
}

impl<K: Pod, V: Pod> Table<K, V> for HashMap<MapData, K, V> {
    fn get(&self, key: &K) -> Option<V> {
        HashMap::get(self, key, 0).ok()
    }

    fn insert(&mut self, key: K, row: V) -> io::Result<()> {
        HashMap::insert(self, key, row, 0).map_err(of_map)
    }

    /// What goes by a row between its reading and this is not counted: a microsecond's packets. The kernel could give back what
    /// it deletes (BPF_MAP_LOOKUP_AND_DELETE_ELEM), which aya does not offer for tables of this kind.
    fn remove(&mut self, key: &K) {
        // It is gone already.
        let _ = HashMap::remove(self, key);
    }
}

/// A table that drivers share: none writes rows with the keys of another's.
impl<K, V, T: Table<K, V>> Table<K, V> for Arc<Mutex<T>> {
    fn get(&self, key: &K) -> Option<V> {
        lock(self).get(key)
    }

    fn insert(&mut self, key: K, row: V) -> io::Result<()> {
        lock(self).insert(key, row)
    }

    fn remove(&mut self, key: &K) {
        lock(self).remove(key);
    }
}

/// The rows of a driver in a table.
///
/// Who is new takes the place of one that is void or has carried nothing since it was looked at last, of 8 that are
/// looked at in turn; of a table that has none such, none.
pub(super) struct Rows<K, V, T = Arc<Mutex<HashMap<MapData, K, V>>>> {
    table: T,
    /// As many as there is room for.
    most: usize,
    written: IndexMap<K, Written>,
    /// Which rows are about a peer.
    of_peers: BTreeSet<(Ipv6Addr, K)>,
    /// The row that is looked at next: for what it has carried, and for one that gives way.
    cursor: usize,
    hand: usize,
    /// What went by rows that are removed, which is still to be told.
    untold: Vec<Carried>,
    of: std::marker::PhantomData<V>,
}

/// What a row is about.
#[derive(Clone, Copy, Debug)]
pub(super) struct About {
    pub(super) link: LinkId,
    /// The link whose device packets come from or go to.
    pub(super) device: LinkId,
    pub(super) destination: Option<Ipv4Addr>,
    /// The inner address of the other end.
    pub(super) peer: Ipv6Addr,
    /// Interface indexes of the tunnel's device and of that underneath.
    pub(super) interfaces: [u32; 2],
    /// What the kernel was asked, and answered: which way packets go, or those that answer them.
    pub(super) way: (Question, Result<Way, &'static str>),
    /// When it ends, if nothing changes, as the driver says.
    pub(super) until: Expiry,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
struct Written {
    generation: u64,
    /// Of a packet that user space has seen then.
    seen: Instant,
    /// When it is good no more.
    ends: Instant,
    about: About,
    /// As far as it was told.
    used: Used,
    /// When it was looked at last: what went since is still to be told.
    looked: Instant,
    /// It has carried something since it was written.
    has_carried: bool,
    /// It has carried nothing since it was looked at last.
    is_idle: bool,
}

impl Written {
    fn is_good(&self, now: Instant, generation: u64) -> bool {
        self.generation == generation && now < self.ends
    }

    /// What went by the row, which is this in the kernel, since it was told last: from now on it is told.
    fn tell<V: Value>(&mut self, now: Instant, row: Option<V>) -> Option<Carried> {
        let since = std::mem::replace(&mut self.looked, now);
        let used = *row?.used();
        let packets = used.packets.saturating_sub(self.used.packets);
        self.used = used;
        self.has_carried |= packets > 0;
        let About { link, device, destination, peer, .. } = self.about;
        (packets > 0).then_some(Carried { link, device, destination, peer, since, packets })
    }
}

/// What there is of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// A row that is good: a packet that user space sees is not plain, or comes another way.
    Good,
    /// One that is void.
    Void,
    New,
}

/// A row, with what is the same in both tables.
pub(super) trait Value: Pod {
    fn life(&mut self) -> &mut Life;
    fn used(&mut self) -> &mut Used;
}

impl Value for Path {
    fn life(&mut self) -> &mut Life {
        &mut self.life
    }

    fn used(&mut self) -> &mut Used {
        &mut self.used
    }
}

impl Value for Admission {
    fn life(&mut self) -> &mut Life {
        &mut self.life
    }

    fn used(&mut self) -> &mut Used {
        &mut self.used
    }
}

/// When a row ends, upon an answer of that time, of a decision that holds until then.
fn ends(asked: Instant, until: Expiry) -> Instant {
    let most = asked.saturating_add(GOOD);
    until.instant().map_or(most, |until| until.min(most))
}

/// A key that is compared as the kernel does.
pub(super) trait Key: Pod + Hash + Ord {
    /// None is less.
    const FIRST: Self;
}

impl Key for PathKey {
    const FIRST: Self = Self { source: [0; 2], destination: [0; 2], device: 0 };
}

impl Key for AdmissionKey {
    const FIRST: Self = Self {
        inner_source: [0; 2],
        inner_destination: [0; 2],
        outer_source: 0,
        outer_destination: 0,
        device: 0,
        ports: 0,
    };
}

impl<K: Key, V: Value, T: Table<K, V>> Rows<K, V, T> {
    pub(super) fn new(table: T, most: usize) -> Self {
        let of_peers = BTreeSet::new();
        Self {
            table,
            most,
            written: IndexMap::new(),
            of_peers,
            cursor: 0,
            hand: 0,
            untold: Vec::new(),
            of: std::marker::PhantomData,
        }
    }

    /// There is room for so many from now on: where there are more, new ones come only when these have gone.
    pub(super) fn set_most(&mut self, most: usize) {
        self.most = most;
    }

    /// What there is of the flow of a packet that user space has seen.
    pub(super) fn standing(&self, now: Instant, key: &K, generation: u64) -> Standing {
        match self.written.get(key) {
            Some(known) if known.is_good(now, generation) => Standing::Good,
            Some(_) => Standing::Void,
            None => Standing::New,
        }
    }

    /// Writes a row, upon an answer of the kernel's of that time: what went by it before goes on being counted from
    /// there, but for what goes by in the moment between. A new one for which there is no room is not written.
    pub(super) fn write(
        &mut self,
        now: Instant,
        (key, mut row): (K, V),
        generation: u64,
        asked: Instant,
        about: About,
    ) -> io::Result<()> {
        let known = self.written.get(&key).copied();
        if known.is_none() && !self.has_room(now, generation) {
            return Ok(());
        }
        let (told, looked) = known.map_or((Used::default(), now), |known| (known.used, known.looked));
        let there = self.table.get(&key);
        *row.used() = there.map_or(told, |mut there| *there.used());
        let ends = ends(asked, about.until);
        *row.life() = Life::new(generation, now, ends);
        self.table.insert(key, row)?;
        let written =
            Written { generation, seen: now, ends, about, used: told, looked, has_carried: false, is_idle: false };
        self.written.insert(key, written);
        self.of_peers.insert((about.peer, key));
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Whether there is something to tell, or may be.
    pub(super) fn is_counted(&self) -> bool {
        !self.written.is_empty() || !self.untold.is_empty()
    }

    /// Whether there is room for a row more; makes it.
    fn has_room(&mut self, now: Instant, generation: u64) -> bool {
        for _ in 0..TRIALS {
            if self.written.len() < self.most {
                return true;
            }
            let at = self.hand % self.written.len();
            self.hand = at + 1;
            let Some((key, known)) = self.written.get_index_mut(at) else { continue };
            let is_good = known.is_good(now, generation);
            if is_good && !known.is_idle {
                continue;
            }
            let carried = known.tell(now, self.table.get(key));
            known.is_idle = carried.is_none();
            self.untold.extend(carried);
            if !is_good || carried.is_none() {
                self.remove_at(at);
            }
        }
        self.written.len() < self.most
    }

    /// Tells what went by some rows since it was told last, and hears until when they hold by now. Writes those that carry
    /// packets anew, upon the answer of the time that `renews` gives, and removes those that are good no more: `most` of
    /// them, where the last call ended.
    pub(super) fn collect(
        &mut self,
        now: Instant,
        generation: u64,
        most: usize,
        carried: &mut dyn FnMut(Carried) -> Option<Expiry>,
        mut renews: impl FnMut(&About) -> Option<Instant>,
    ) {
        self.untold.drain(..).for_each(|part| _ = carried(part));
        for _ in 0..most.min(self.written.len()) {
            if self.cursor >= self.written.len() {
                self.cursor = 0;
            }
            let Some((key, known)) = self.written.get_index_mut(self.cursor) else { return };
            // The kernel may have given the place to another row.
            let row = self.table.get(key);
            let part = known.tell(now, row);
            known.is_idle = row.is_some() && part.is_none();
            if let Some(until) = part.and_then(&mut *carried) {
                known.about.until = until;
            }
            if row.is_none() || !known.is_good(now, generation) {
                self.remove_at(self.cursor);
                continue;
            }
            self.cursor += 1;
            let is_to_be_seen = known.seen.saturating_add(SEEN) <= now;
            if !known.has_carried || known.ends >= now.saturating_add(LEAST) || is_to_be_seen {
                continue;
            }
            let ends =
                renews(&known.about).map(|asked| ends(asked, known.about.until)).filter(|ends| *ends > known.ends);
            // What went by it meanwhile is counted.
            if let Some((ends, mut row)) = ends.zip(self.table.get(key)) {
                *row.life() = Life::new(generation, now, ends);
                // Else it ends, and a packet more is for user space.
                if self.table.insert(*key, row).is_ok() {
                    (known.ends, known.has_carried) = (ends, false);
                }
            }
        }
    }

    /// Removes a row of which all is told.
    fn remove_at(&mut self, at: usize) {
        if let Some((key, known)) = self.written.swap_remove_index(at) {
            self.table.remove(&key);
            self.of_peers.remove(&(known.about.peer, key));
        }
    }

    /// Whether there is such a row that is good.
    pub(super) fn any_good(&self, now: Instant, generation: u64, is_such: impl Fn(&About) -> bool) -> bool {
        self.written.values().any(|known| known.is_good(now, generation) && is_such(&known.about))
    }

    /// Removes rows: what went by them is told next time.
    pub(super) fn remove_if(&mut self, goes: impl Fn(&About) -> bool) {
        let gone: Vec<K> = self.written.iter().filter(|(_, known)| goes(&known.about)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(key));
    }

    /// Removes all, of which nothing is told any more.
    pub(super) fn clear(&mut self) {
        self.of_peers.clear();
        self.untold.clear();
        self.written.drain(..).for_each(|(key, _)| self.table.remove(&key));
    }

    /// The same of those about a peer; costs what these do.
    pub(super) fn remove_of(&mut self, peer: Ipv6Addr) {
        let first = (peer, K::FIRST);
        while let Some((_, key)) = self.of_peers.range(first..).next().copied().filter(|(of, _)| *of == peer) {
            self.remove(&key);
        }
    }

    fn remove(&mut self, key: &K) {
        let Some((at, _, known)) = self.written.get_full_mut(key) else { return };
        self.untold.extend(known.tell(known.looked, self.table.get(key)));
        self.remove_at(at);
    }
}

#[cfg(test)]
mod tests;
