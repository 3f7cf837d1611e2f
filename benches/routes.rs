//! Route tables of random prefixes, and destinations in them.

use std::net::Ipv6Addr;

use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route, RouteTable, Slot};

/// A table with `ROUTES` routes.
pub type Table<const ROUTES: usize> = RouteTable<[Slot; ROUTES]>;

/// What is looked up in one table.
pub struct Random<const ROUTES: usize> {
    /// The table, full.
    pub table: Box<Table<ROUTES>>,
    /// Its prefixes, the longest first.
    pub prefixes: Vec<Ipv6Prefix>,
    /// Addresses, each in a prefix drawn at random.
    pub destinations: Vec<Ipv6Addr>,
}

/// Prefixes of which 1 in 5 is shorter than a /48, with a default route; and
/// `count` destinations. The same each time.
pub fn random<const ROUTES: usize>(count: usize) -> Random<ROUTES> {
    let mut random = SplitMix(ROUTES as u64);
    let mut table: Box<Table<ROUTES>> = Box::new(RouteTable::new());
    let mut prefixes = vec![Ipv6Prefix::DEFAULT];
    while prefixes.len() < ROUTES {
        let length = if random.below(5) == 0 { 32 + random.below(16) } else { 48 + random.below(17) };
        let address = 0x2001_u128 << 112 | u128::from(random.next()) << 48;
        let prefix = Ipv6Prefix::new(address.into(), length as u8).expect("at most /64");
        if !prefixes.contains(&prefix) {
            prefixes.push(prefix);
        }
    }
    for (metric, prefix) in (0..).zip(&prefixes) {
        let next_hop = Ipv6Addr::from_bits(0xfe80_u128 << 112 | u128::from(metric));
        let route = Route { metric, ..Route::via(*prefix, LinkId(0), next_hop, Origin::Manual) };
        table.insert(route).expect("as many rows as prefixes");
    }
    let destinations: Vec<Ipv6Addr> = (0..count)
        .map(|_| {
            let prefix = prefixes[random.below(prefixes.len() as u64) as usize];
            let host = u128::from(random.next()) << 64 | u128::from(random.next());
            let mask = u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
            (prefix.address().to_bits() | host & mask).into()
        })
        .collect();
    prefixes.sort_by_key(|prefix| std::cmp::Reverse(prefix.length()));
    for destination in &destinations {
        let plain = prefixes.iter().find(|prefix| prefix.contains(destination));
        assert_eq!(table.lookup(destination).map(|route| &route.prefix), plain);
    }
    Random { table, prefixes, destinations }
}

/// Steele, Lea and Flood's generator: a fixed sequence a seed.
pub(crate) struct SplitMix(pub(crate) u64);

impl SplitMix {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}
