//! One of the two tables, and what this process knows of its rows.

use super::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use super::programs::of_map;
use aya::Pod;
use aya::maps::{HashMap as Table, MapData};
use isatap_core::engine::Carried;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::collections::HashMap;
use std::hash::Hash;
use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

/// How long a row is good that is not written anew.
pub(super) const GOOD: Duration = Duration::from_secs(10);
/// From when on packets are to renew it.
pub(super) const RENEWED: Duration = Duration::from_secs(5);
/// Between two writings of a row: a packet that is not plain comes to user space at any time.
const APART: Duration = Duration::from_secs(1);
/// As many as the kernel has room for.
const MOST: usize = 16_384;

/// The rows of a table.
pub(super) struct Rows<K, V> {
    table: Table<MapData, K, V>,
    written: HashMap<K, Written>,
}

/// What was written.
#[derive(Clone, Copy, Debug)]
struct Written {
    at: Instant,
    generation: u64,
    link: LinkId,
    device: LinkId,
    destination: Option<Ipv4Addr>,
    /// As far as it was told.
    used: Used,
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
pub(super) trait Key: Pod + Eq + Hash {}

impl Key for PathKey {}
impl Key for AdmissionKey {}

impl<K: Key, V: Value> Rows<K, V> {
    pub(super) fn new(table: Table<MapData, K, V>) -> Self {
        Self { table, written: HashMap::new() }
    }

    /// Whether a row is to be written.
    pub(super) fn wants(&self, now: Instant, key: &K, generation: u64) -> bool {
        match self.written.get(key) {
            Some(known) => known.generation != generation || known.at.saturating_add(APART) <= now,
            None => self.written.len() < MOST,
        }
    }

    /// Writes a row, or writes it anew: what went by it goes on being counted from there, but for
    /// what goes by in the moment between.
    pub(super) fn write(
        &mut self,
        now: Instant,
        key: K,
        mut row: V,
        (link, device, destination): (LinkId, LinkId, Option<Ipv4Addr>),
    ) -> io::Result<()> {
        let told = self.written.get(&key).map(|known| known.used).unwrap_or_default();
        *row.used() = self.table.get(&key, 0).map_or(told, |mut there| *there.used());
        let written = Written { at: now, generation: row.life().generation, link, device, destination, used: told };
        self.table.insert(key, row, 0).map_err(of_map)?;
        self.written.insert(key, written);
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.written.len()
    }

    /// Tells what went by since it was told last, and removes rows that are good no more.
    pub(super) fn collect(&mut self, now: Instant, generation: u64, carried: &mut dyn FnMut(Carried)) {
        let table = &mut self.table;
        self.written.retain(|key, known| {
            // The kernel may have given the place to another row.
            let Ok(mut row) = table.get(key, 0) else { return false };
            let used = *row.used();
            let packets = used.packets.saturating_sub(known.used.packets);
            if packets > 0 {
                carried(Carried { link: known.link, device: known.device, destination: known.destination, packets });
                known.used = used;
            }
            let is_good = known.generation == generation && now < known.at.saturating_add(GOOD);
            if !is_good {
                let _ = table.remove(key);
            }
            is_good
        });
    }
}
