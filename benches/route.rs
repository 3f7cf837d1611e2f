//! Lookups in a host's route table, one at a time and in batches, against a
//! plain scan of the same prefixes.
//!
//! The prefixes are drawn at random, 1 in 5 of them shorter than a /48, and a
//! default route closes the table; each destination lies in a prefix drawn at
//! random, so that the processor cannot learn where a scan ends.

use std::hint::black_box;
use std::net::Ipv6Addr;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Origin, Route, RouteId, RouteTable, Slot};

const DESTINATIONS: usize = 65_536;
const BATCH: usize = 64;

fn lookups(criterion: &mut Criterion) {
    table::<1>(criterion);
    table::<8>(criterion);
    table::<16>(criterion);
    table::<64>(criterion);
    table::<512>(criterion);
}

fn table<const ROUTES: usize>(criterion: &mut Criterion) {
    let mut random = SplitMix(ROUTES as u64);
    let mut table: Box<RouteTable<[Slot; ROUTES]>> = Box::new(RouteTable::new());
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
        let route = Route { metric, ..Route::via(*prefix, LinkId(0), next_hop, Origin::Advertised) };
        table.insert(route).expect("as many rows as prefixes");
    }
    let destinations: Vec<Ipv6Addr> = (0..DESTINATIONS)
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

    let mut group = criterion.benchmark_group("route");
    group.throughput(Throughput::Elements(DESTINATIONS as u64));
    group.bench_function(BenchmarkId::new("lookup", ROUTES), |bencher| {
        bencher.iter(|| sum(&destinations, |destination| table.lookup(destination).map_or(0, |route| route.metric)));
    });
    group.bench_function(BenchmarkId::new("lookup_on", ROUTES), |bencher| {
        let find = |destination: &_| table.lookup_on(Some(LinkId(0)), destination);
        bencher.iter(|| sum(&destinations, |destination| find(destination).map_or(0, |found| found.route.metric)));
    });
    group.bench_function(BenchmarkId::new("lookup_batch", ROUTES), |bencher| {
        let mut routes: [Option<RouteId>; BATCH] = [None; BATCH];
        bencher.iter(|| {
            for batch in destinations.chunks(BATCH) {
                table.lookup_batch(black_box(batch), &mut routes);
                black_box(&routes);
            }
        });
    });
    group.bench_function(BenchmarkId::new("linear", ROUTES), |bencher| {
        let rows: Vec<Linear> = prefixes.iter().zip(0..).map(Linear::new).collect();
        bencher.iter(|| sum(&destinations, |destination| Linear::find(&rows, destination)));
    });
    group.finish();
}

fn sum(destinations: &[Ipv6Addr], find: impl Fn(&Ipv6Addr) -> u32) -> u32 {
    destinations.iter().fold(0, |sum, destination| sum.wrapping_add(find(black_box(destination))))
}

/// The plain table: values and masks side by side, first hit.
struct Linear {
    value: u128,
    mask: u128,
    metric: u32,
}

impl Linear {
    fn new((prefix, metric): (&Ipv6Prefix, u32)) -> Self {
        let mask = !u128::MAX.checked_shr(prefix.length().into()).unwrap_or(0);
        Linear { value: prefix.address().to_bits(), mask, metric }
    }

    fn find(rows: &[Linear], destination: &Ipv6Addr) -> u32 {
        let bits = destination.to_bits();
        rows.iter().find(|row| (bits ^ row.value) & row.mask == 0).map_or(0, |row| row.metric)
    }
}

/// Steele, Lea and Flood's generator: a fixed sequence a seed.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }
}

criterion_group!(benches, lookups);
criterion_main!(benches);
