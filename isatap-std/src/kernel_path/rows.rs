//! One of the two tables, and what this process knows of its rows.

use super::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use super::programs::of_map;
use super::ways::Question;
use aya::Pod;
use aya::maps::{HashMap, MapData};
use indexmap::IndexMap;
use isatap_core::engine::Carried;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::collections::BTreeSet;
use std::hash::Hash;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How long a row is good that is not written anew.
pub(super) const GOOD: Duration = Duration::from_secs(10);
/// From when on packets are to renew it.
pub(super) const RENEWED: Duration = Duration::from_secs(5);
/// Between two writings of a row: a packet that is not plain comes to user space at any time.
const APART: Duration = Duration::from_secs(1);
/// For how long a row surely takes packets once it is written: the kernel's clock is coarse.
const TAKES: Duration = Duration::from_secs(4);
/// Rows that are looked at in a row.
pub(super) const SLICE: usize = 512;
/// Rows that are looked at for one that gives way.
const TRIALS: usize = 8;
/// Writings in a row by which nothing went: the packets of such a flow are not plain, or come another way.
const IN_VAIN: u8 = 3;
/// How long such a flow is left to user space. One whose packets become plain meanwhile waits for the rest of it: of what they
/// are like the driver tells nothing, and trials in between would cost what this saves.
const REST: Duration = Duration::from_secs(60);

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

/// The rows of a table.
///
/// Who is new takes the place of one that is void or has carried nothing since it was looked at last, of 8 that are
/// looked at in turn; of a table that has none such, none.
pub(super) struct Rows<K, V, T = HashMap<MapData, K, V>> {
    table: T,
    /// As many as it has room for.
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
    /// By which answer of the kernel's.
    pub(super) way: Option<Question>,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
struct Written {
    at: Instant,
    generation: u64,
    about: About,
    /// As far as it was told.
    used: Used,
    /// What had gone by it when it was written, and what had not, for a second: joined datagrams.
    before: Used,
    /// When it was looked at last: what went since is still to be told.
    looked: Instant,
    /// Until when the kernel surely took each plain packet.
    takes_until: Instant,
    /// Writings before that by which nothing went.
    in_vain: u8,
    /// It has carried nothing since it was looked at last.
    is_idle: bool,
}

impl Written {
    fn is_good(&self, now: Instant, generation: u64) -> bool {
        self.generation == generation && now < self.at.saturating_add(GOOD)
    }

    /// What went by the row, which is this in the kernel, since it was told last: from now on it is told.
    fn tell<V: Value>(&mut self, now: Instant, row: Option<V>) -> Option<Carried> {
        let since = std::mem::replace(&mut self.looked, now);
        let used = *row?.used();
        let packets = used.packets.saturating_sub(self.used.packets);
        self.used = used;
        let About { link, device, destination, peer, .. } = self.about;
        (packets > 0).then_some(Carried { link, device, destination, peer, since, packets })
    }

    fn rests(&self, now: Instant) -> bool {
        self.in_vain >= IN_VAIN && now < self.at.saturating_add(REST)
    }
}

/// What is to be done about a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// It has no row.
    New,
    /// Its row is void: it is to be written as a new one is.
    Void,
    /// Its row is to be written anew.
    Renewal,
    Nothing,
}

impl Wish {
    /// Whether it is one of those that anybody may cause any number of.
    pub(super) fn is_rationed(self) -> bool {
        matches!(self, Wish::New | Wish::Void)
    }
}

impl Life {
    /// How long packets go by a row that is written now.
    fn takes(&self) -> Duration {
        let ends_before_renewal = self.renew.saturating_sub(self.until);
        TAKES.saturating_sub(Duration::from_nanos(ends_before_renewal))
    }
}

/// A row, with what is the same in both tables.
pub(super) trait Value: Pod {
    fn life(&self) -> Life;
    fn used(&mut self) -> &mut Used;
}

impl Value for Path {
    fn life(&self) -> Life {
        self.life
    }

    fn used(&mut self) -> &mut Used {
        &mut self.used
    }
}

impl Value for Admission {
    fn life(&self) -> Life {
        self.life
    }

    fn used(&mut self) -> &mut Used {
        &mut self.used
    }
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
    pub(super) fn new(table: T, most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
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

    /// What is to be done about a packet of this flow that user space has seen.
    pub(super) fn wish(&self, now: Instant, key: &K, generation: u64) -> Wish {
        match self.written.get(key) {
            Some(known) if known.rests(now) => Wish::Nothing,
            Some(known) if known.generation != generation => Wish::Void,
            Some(known) if now < known.at.saturating_add(APART) => Wish::Nothing,
            Some(_) => Wish::Renewal,
            None => Wish::New,
        }
    }

    /// Writes a row, or writes it anew: what went by it goes on being counted from there, but for
    /// what goes by in the moment between. A new one for which there is no room is not written, and none by which
    /// nothing goes.
    pub(super) fn write(&mut self, now: Instant, key: K, mut row: V, about: About) -> io::Result<()> {
        let generation = row.life().generation;
        let known = self.written.get(&key).copied();
        if known.is_none() && !self.has_room(now, generation) {
            return Ok(());
        }
        let told = known.map(|known| known.used).unwrap_or_default();
        let there = self.table.get(&key);
        let used = there.map_or(told, |mut there| *there.used());
        let in_vain = match known {
            // It has carried nothing for as long as it was there, which tells of the flow only where it could have
            // carried this packet: one that comes later is there to renew it.
            Some(known) if known.is_good(now, generation) && known.before == used => {
                known.in_vain + u8::from(now < known.takes_until)
            }
            _ => 0,
        };
        let before = used;
        let takes_until = now.saturating_add(row.life().takes());
        let looked = known.map_or(now, |known| known.looked);
        let mut written =
            Written { at: now, generation, about, used: told, before, looked, takes_until, in_vain, is_idle: false };
        if in_vain >= IN_VAIN {
            self.untold.extend(written.tell(now, there));
            self.table.remove(&key);
        } else {
            *row.used() = used;
            self.table.insert(key, row)?;
        }
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

    /// Tells what went by some rows since it was told last, and removes those that are good no more: `most` of them,
    /// where the last call ended.
    pub(super) fn collect(&mut self, now: Instant, generation: u64, most: usize, carried: &mut dyn FnMut(Carried)) {
        self.untold.drain(..).for_each(&mut *carried);
        for _ in 0..most.min(self.written.len()) {
            if self.cursor >= self.written.len() {
                self.cursor = 0;
            }
            let Some((key, known)) = self.written.get_index_mut(self.cursor) else { return };
            // The kernel may have given the place to another row.
            let row = self.table.get(key);
            let part = known.tell(now, row);
            known.is_idle = row.is_some() && part.is_none();
            part.into_iter().for_each(&mut *carried);
            if known.rests(now) || row.is_some() && known.is_good(now, generation) {
                self.cursor += 1;
            } else {
                self.remove_at(self.cursor);
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

    /// Whether there is such a row.
    pub(super) fn any(&self, is_such: impl Fn(&About) -> bool) -> bool {
        self.written.values().any(|known| is_such(&known.about))
    }

    /// Removes rows: what went by them is told next time.
    pub(super) fn remove_if(&mut self, goes: impl Fn(&About) -> bool) {
        let gone: Vec<K> = self.written.iter().filter(|(_, known)| goes(&known.about)).map(|(key, _)| *key).collect();
        gone.iter().for_each(|key| self.remove(key));
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
