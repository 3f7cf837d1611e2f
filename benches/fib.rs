//! Lookups a second, memory and build time of the full table beside others', in one run.
//!
//! Tables that look like the Internet's, 65,536 destinations, each a random host
//! in a route drawn at random; every answer of everybody is held against a map
//! of prefixes by length. The contenders take turns, and each one's best round
//! counts: on a shared machine only ratios within a run mean anything.
//!
//! `cargo bench -p isatap-benches --bench fib` prints the table of the README;
//! `-- --test` runs the small tables once. What is built with
//! `RUSTFLAGS=-Ctarget-cpu=native` gives the peers the instructions that they
//! want: `POPCNT` above all.

use std::collections::HashMap;
use std::hint::black_box;
use std::net::Ipv6Addr;
use std::time::{Duration, Instant};

use ip_network::Ipv6Network;
use isatap_benches::internet;
use isatap_core::packet::LinkId;
use isatap_core::route::{Fib, FibRoute, Origin, Route, RouteTable, Slot, Sorted};
use isatap_std::fib::BoxedFib;

const SIZES: [usize; 7] = [8, 16, 64, 512, 10_000, 200_000, 1_000_000];
const DESTINATIONS: usize = 65_536;
const BATCH: usize = 256;

/// What is measured: the answers to all destinations, `u16::MAX` for none.
type Lookups<'a> = Box<dyn Fn(&[Ipv6Addr], &mut [u16]) + 'a>;

type Batch = fn(&BoxedFib, &[Ipv6Addr], &mut [Option<u16>]);

struct Contender<'a> {
    name: &'static str,
    is_peer: bool,
    /// Time to make the table, for each route.
    build: Duration,
    lookups: Lookups<'a>,
    best: Duration,
}

fn main() {
    let is_test = std::env::args().any(|argument| argument == "--test");
    let (sizes, rounds) = if is_test { (&SIZES[..4], 1) } else { (&SIZES[..], 15) };
    let mut rows: Vec<Row> = Vec::new();
    let mut ratios: Vec<(usize, f64, f64, f64)> = Vec::new();
    for &size in sizes {
        let routes = internet::routes(size);
        let destinations = internet::destinations(&routes, DESTINATIONS);
        let expected = oracle(&routes, &destinations);
        let mut sorted_copy = routes.clone();
        let started = Instant::now();
        let sorted = Sorted::sort(&mut sorted_copy);
        let fib = sorted.build(vec![Fib::EMPTY_NODE; sorted.nodes()].into_boxed_slice()).expect("as many as it wants");
        let build = started.elapsed() / size as u32;
        let mut contenders = ours(&fib, &routes, build);
        contenders.extend(peers(&routes));
        let mut answers = vec![0; DESTINATIONS];
        for contender in &contenders {
            answers.fill(7);
            (contender.lookups)(&destinations, &mut answers);
            assert!(answers == expected, "{} answers otherwise", contender.name);
        }
        for _ in 0..rounds {
            for contender in &mut contenders {
                // Twice: the first run brings its table back into the caches.
                (contender.lookups)(black_box(&destinations), &mut answers);
                let started = Instant::now();
                (contender.lookups)(black_box(&destinations), &mut answers);
                contender.best = contender.best.min(started.elapsed());
                black_box(&answers);
            }
        }
        let rate = |contender: &Contender<'_>| DESTINATIONS as f64 / contender.best.as_secs_f64() / 1e6;
        let peer = contenders.iter().filter(|contender| contender.is_peer).map(rate).fold(0.0, f64::max);
        let of = |name: &str| contenders.iter().find(|contender| contender.name == name).map_or(0.0, rate);
        ratios.push((size, of("Fib") / peer, of("Fib, batch") / peer, of("Fib, batch of isatap-std") / peer));
        for contender in &contenders {
            if !rows.iter().any(|row| row.0 == contender.name) {
                let before = vec!["-".to_owned(); sizes.iter().position(|one| *one == size).unwrap_or(0)];
                rows.push((contender.name, before, String::new(), String::new()));
            }
        }
        for row in &mut rows {
            let found = contenders.iter().find(|contender| contender.name == row.0);
            row.1.push(found.map_or("-".to_owned(), |contender| format!("{:.0}", rate(contender))));
            if let Some(contender) = found.filter(|_| size == 200_000) {
                row.2 = format!("{}", contender.build.as_nanos());
                if contender.name.starts_with("Fib") {
                    row.3 = format!("{:.1}", fib.memory() as f64 / size as f64);
                }
            }
        }
    }
    print(sizes, &rows, &ratios);
}

/// A name; a cell for each size; build time and memory at 200,000 routes.
type Row = (&'static str, Vec<String>, String, String);

#[expect(clippy::print_stdout, reason = "the table is what the bench is for")]
fn print(sizes: &[usize], rows: &[Row], ratios: &[(usize, f64, f64, f64)]) {
    let sizes: Vec<String> = sizes.iter().map(|size| format!("{size}")).collect();
    println!("| million lookups a second, by routes | {} | build, ns a route | bytes a route |", sizes.join(" | "));
    println!("|---|{}", "---:|".repeat(sizes.len() + 2));
    for (name, rates, build, memory) in rows {
        println!("| {name} | {} | {} | {} |", rates.join(" | "), or_dash(build), or_dash(memory));
    }
    for (name, of) in [("one at a time", 0), ("batch", 1), ("batch of isatap-std", 2)] {
        let cells = ratios.iter().map(|&(_, one, batch, std)| format!("{:.1}", [one, batch, std][of]));
        println!("| ratio to the best peer, {name} | {} | - | - |", cells.collect::<Vec<_>>().join(" | "));
    }
}

fn or_dash(cell: &str) -> &str {
    if cell.is_empty() { "-" } else { cell }
}

fn ours<'a>(fib: &'a BoxedFib, routes: &[FibRoute], build: Duration) -> Vec<Contender<'a>> {
    let batch = |lookup: Batch| {
        move |destinations: &[Ipv6Addr], answers: &mut [u16]| {
            let mut found = [None; BATCH];
            for (destinations, answers) in destinations.chunks(BATCH).zip(answers.chunks_mut(BATCH)) {
                lookup(fib, destinations, &mut found);
                answers.iter_mut().zip(found).for_each(|(answer, found)| *answer = found.unwrap_or(u16::MAX));
            }
        }
    };
    let mut all = vec![
        contender("Fib", build, each(|destination| fib.lookup(destination))),
        contender("Fib, batch", build, batch(Fib::lookup_batch)),
        contender("Fib, batch of isatap-std", build, batch(isatap_std::fib::lookup_batch)),
    ];
    if routes.len() <= 64 {
        all.push(contender("linear scan", Duration::ZERO, linear(routes)));
    }
    if routes.len() <= 512 {
        all.push(table(routes));
    }
    all
}

fn contender<'a>(name: &'static str, build: Duration, lookups: impl Fn(&[Ipv6Addr], &mut [u16]) + 'a) -> Contender<'a> {
    Contender { name, is_peer: false, build, lookups: Box::new(lookups), best: Duration::MAX }
}

/// One after the other.
fn each(lookup: impl Fn(&Ipv6Addr) -> Option<u16>) -> impl Fn(&[Ipv6Addr], &mut [u16]) {
    move |destinations, answers| {
        for (destination, answer) in destinations.iter().zip(answers) {
            *answer = lookup(black_box(destination)).unwrap_or(u16::MAX);
        }
    }
}

/// The table of hosts, whose metric carries the answer.
fn table<'a>(routes: &[FibRoute]) -> Contender<'a> {
    let started = Instant::now();
    let mut table = Box::new(RouteTable::<[Slot; 512]>::new());
    for route in routes {
        let metric = route.value.into();
        table.insert(Route { metric, ..Route::on_link(route.prefix, LinkId(0), Origin::Manual) }).expect("room");
    }
    let build = started.elapsed() / routes.len() as u32;
    let lookup = move |destination: &Ipv6Addr| table.lookup(destination).map(|route| route.metric as u16);
    contender("RouteTable", build, each(lookup))
}

/// The longest first, until one matches.
fn linear<'a>(routes: &[FibRoute]) -> impl Fn(&[Ipv6Addr], &mut [u16]) + 'a {
    let mask = |length: u8| !u128::MAX.checked_shr(length.into()).unwrap_or(0);
    let mut rows: Vec<(u128, u128, u16)> = routes
        .iter()
        .map(|route| (mask(route.prefix.length()), route.prefix.address().to_bits(), route.value))
        .collect();
    rows.sort_unstable_by_key(|row| std::cmp::Reverse(row.0));
    each(move |destination| {
        let bits = destination.to_bits();
        rows.iter().find(|(mask, prefix, _)| bits & mask == *prefix).map(|row| row.2)
    })
}

fn peers<'a>(routes: &[FibRoute]) -> Vec<Contender<'a>> {
    let plain: Vec<(Ipv6Addr, u8, u16)> =
        routes.iter().map(|route| (route.prefix.address(), route.prefix.length(), route.value)).collect();
    let timed = |name, build: &dyn Fn() -> Lookups<'a>| {
        let started = Instant::now();
        let lookups = build();
        let build = started.elapsed() / plain.len() as u32;
        Contender { name, is_peer: true, build, lookups, best: Duration::MAX }
    };
    let mut all = vec![
        timed("prefix-trie", &|| {
            let mut map = prefix_trie::PrefixMap::<(u128, u8), u16>::new();
            for (address, length, value) in &plain {
                map.insert((address.to_bits(), *length), *value);
            }
            Box::new(each(move |destination| map.get_lpm(&(destination.to_bits(), 128)).map(|found| *found.1)))
        }),
        timed("ip_network_table-deps-treebitmap", &|| {
            let mut map = ip_network_table_deps_treebitmap::IpLookupTable::<Ipv6Addr, u16>::new();
            for (address, length, value) in &plain {
                map.insert(*address, (*length).into(), *value);
            }
            Box::new(each(move |destination| map.longest_match(*destination).map(|found| *found.2)))
        }),
        timed("ip_network_table", &|| {
            let mut map = ip_network_table::IpNetworkTable::<u16>::new();
            for (address, length, value) in &plain {
                map.insert(Ipv6Network::new(*address, *length).expect("no bits behind the length"), *value);
            }
            Box::new(each(move |destination| map.longest_match_ipv6(*destination).map(|found| *found.1)))
        }),
        timed("iptrie, LC trie", &|| {
            let mut map = iptrie::map::RTrieMap::<iptrie::Ipv6Prefix, u16>::with_root(u16::MAX);
            for (address, length, value) in &plain {
                map.insert(iptrie::Ipv6Prefix::new(*address, *length).expect("at most 128"), *value);
            }
            let map = map.compress();
            let found =
                move |destination: &Ipv6Addr| Some(*map.lookup(destination).1).filter(|&value| value != u16::MAX);
            Box::new(each(found))
        }),
    ];
    // It moves all that lies behind for each route: minutes for a million.
    if routes.len() <= 200_000 {
        all.push(timed("poptrie", &|| {
            let mut map = poptrie::Poptrie::<(Ipv6Addr, u8), u16>::new();
            for (address, length, value) in &plain {
                map.insert((*address, *length), *value);
            }
            Box::new(each(move |destination| map.lookup(*destination).copied()))
        }));
    }
    all
}

/// By maps of the prefixes of each length, the longest first.
fn oracle(routes: &[FibRoute], destinations: &[Ipv6Addr]) -> Vec<u16> {
    let mut by_length: Vec<HashMap<u128, u16>> = vec![HashMap::new(); 129];
    for route in routes {
        by_length[usize::from(route.prefix.length())].insert(route.prefix.address().to_bits(), route.value);
    }
    let answer = |destination: &Ipv6Addr| {
        (0..=128_u32).rev().find_map(|length| {
            let rest = u128::MAX.checked_shr(length).unwrap_or(0);
            by_length[length as usize].get(&(destination.to_bits() & !rest)).copied()
        })
    };
    destinations.iter().map(|destination| answer(destination).unwrap_or(u16::MAX)).collect()
}
