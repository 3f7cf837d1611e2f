//! Lookups in a host's route table, one at a time and in batches, against a
//! plain scan of the same prefixes.
//!
//! The prefixes are drawn at random, 1 in 5 of them shorter than a /48, and a
//! default route closes the table; each destination lies in a prefix drawn at
//! random, so that the processor cannot learn where a scan ends.

use std::hint::black_box;
use std::net::Ipv6Addr;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use isatap_benches::routes::{self, Random};
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::RouteId;

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
    let Random { table, prefixes, destinations } = routes::random::<ROUTES>(DESTINATIONS);
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

criterion_group!(benches, lookups);
criterion_main!(benches);
