//! Wall time of the operations in `lib.rs`.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use isatap_benches::embedded_ipv4;

const LINK_LOCAL: &str = "fe80::5efe:10.0.0.1";

fn timing(criterion: &mut Criterion) {
    let address = LINK_LOCAL.parse().unwrap();
    criterion.bench_function("embedded_ipv4", |bencher| bencher.iter(|| embedded_ipv4(black_box(address))));
}

criterion_group!(benches, timing);
criterion_main!(benches);
