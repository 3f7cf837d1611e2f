#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::error::{Table, TableFull};
use proptest::prelude::*;
use std::boxed::Box;
use std::vec;
use std::vec::Vec;

/// The answer, by asking each route.
fn naive(routes: &[FibRoute], destination: u128) -> Option<u16> {
    let matches = routes.iter().filter(|route| {
        let rest = 128 - u32::from(route.prefix.length());
        (route.prefix.address().to_bits() ^ destination).checked_shr(rest).unwrap_or(0) == 0 || rest == 128
    });
    let longest = matches.max_by_key(|route| (route.prefix.length(), core::cmp::Reverse(route.value)))?;
    (longest.value != Fib::NO_ROUTE).then_some(longest.value)
}

fn build(routes: &[FibRoute]) -> Fib<Box<[Node]>> {
    let mut routes = routes.to_vec();
    let sorted = Sorted::sort(&mut routes);
    // What stood in the memory before does not matter.
    let nodes = vec![Node { words: [0x5555_5555_5555_5555; 8] }; sorted.nodes()];
    sorted.build(nodes.into_boxed_slice()).unwrap()
}

/// Every border of every prefix and what lies beside it, and `others`.
fn check(routes: &[FibRoute], others: &[u128]) -> Result<(), TestCaseError> {
    let fib = build(routes);
    let long = routes.iter().filter(|route| route.prefix.length() > 64).count();
    prop_assert!(fib.memory() <= 64 * Fib::nodes_for(routes.len(), long), "{} {}", fib.memory(), routes.len());
    let borders = routes.iter().flat_map(|route| {
        let first = route.prefix.address().to_bits();
        let last = first | u128::MAX.checked_shr(route.prefix.length().into()).unwrap_or(0);
        [first, last, first.wrapping_sub(1), last.wrapping_add(1), first | ((last - first) / 3)]
    });
    let all: Vec<u128> = borders.chain(others.iter().copied()).chain([0, u128::MAX, 1 << 127]).collect();
    let expected: Vec<_> = all.iter().map(|destination| naive(routes, *destination)).collect();
    let destinations: Vec<Ipv6Addr> = all.iter().map(|bits| Ipv6Addr::from_bits(*bits)).collect();
    for (destination, expected) in destinations.iter().zip(&expected) {
        prop_assert_eq!(fib.lookup(destination), *expected, "{} in {:?}", destination, routes);
    }
    let mut found = vec![Some(7); all.len()];
    fib.lookup_batch(&destinations, &mut found);
    prop_assert_eq!(found, expected);
    Ok(())
}

fn route(bits: u128, length: u8, value: u16) -> FibRoute {
    FibRoute { prefix: Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap(), value }
}

fn parse(text: &str, value: u16) -> FibRoute {
    FibRoute { prefix: text.parse().unwrap(), value }
}

/// Prefixes close to each other: nested, adjacent, the same ones again.
fn crowded() -> impl Strategy<Value = FibRoute> {
    let base = prop_oneof![
        Just(0_u128),
        Just(u128::MAX),
        Just(0x2001_0db8_u128 << 96),
        Just((0x2001_0db8_u128 << 96) | u128::from(u64::MAX)),
    ];
    let bits = (base, any::<u128>(), 0_u32..128).prop_map(|(base, noise, from)| base ^ (noise & 7_u128 << from));
    let length = prop_oneof![0_u8..=128, 60_u8..=68, Just(0), Just(1), Just(64), Just(65), Just(128), 28_u8..=36];
    (bits, length, prop_oneof![0_u16..4, Just(Fib::NO_ROUTE)])
        .prop_map(|(bits, length, value)| route(bits, length, value))
}

fn anywhere() -> impl Strategy<Value = FibRoute> {
    (any::<u128>(), 0_u8..=128, 0_u16..u16::MAX).prop_map(|(bits, length, value)| route(bits, length, value))
}

proptest! {
    #[test]
    fn crowded_prefixes(routes in prop::collection::vec(crowded(), 0..40), others: [u128; 4]) {
        check(&routes, &others)?;
    }

    #[test]
    fn prefixes_anywhere(routes in prop::collection::vec(anywhere(), 0..400), others: [u128; 4]) {
        check(&routes, &others)?;
    }

    /// Many in one /64, so that its tree has inner nodes.
    #[test]
    fn prefixes_of_one_subnet(
        hosts in prop::collection::vec((any::<u64>(), 64_u8..=128, any::<u16>()), 0..300),
        others: [u64; 4],
    ) {
        let subnet = 0x2001_0db8_u128 << 96 | 7 << 64;
        let routes: Vec<_> = hosts.iter().map(|&(low, length, value)| route(subnet | u128::from(low), length, value)).collect();
        check(&routes, &others.map(|low| subnet | u128::from(low)))?;
    }
}

#[test]
fn every_length_at_both_ends_and_nested() {
    for bits in [0, u128::MAX, 0x5555_u128 << 112] {
        for length in 0..=128 {
            check(&[route(bits, length, 3)], &[]).unwrap();
            check(&[route(bits, length, 3), route(bits, 128 - length, 4)], &[]).unwrap();
        }
        let nested: Vec<_> = (0..=128).rev().map(|length| route(bits, length, length.into())).collect();
        check(&nested, &[]).unwrap();
    }
}

/// What covers the whole range without a gap, and the number of levels.
#[test]
fn adjacent_prefixes_up_to_many_levels() {
    for bits in [0_u8, 1, 2, 3, 4, 6, 9] {
        for from in [0_u8, 16, 60, 64] {
            let length = from + bits;
            let all = (0..1_u128 << bits).rev().map(|at| route(at << (128 - u32::from(length)), length, at as u16 & 1));
            let all: Vec<_> = if length == 0 { vec![route(0, 0, 1)] } else { all.collect() };
            check(&all, &[]).unwrap();
        }
    }
}

#[test]
fn the_least_value_of_a_prefix_counts() {
    let routes = [parse("2001:db8::/32", 9), parse("2001:db8::/32", 4), parse("2001:db8::/32", 5), parse("::/0", 4)];
    assert_eq!(build(&routes).lookup(&"2001:db8::1".parse().unwrap()), Some(4));
    let long = [parse("2001:db8::/96", 2), parse("2001:db8::/96", 1), parse("2001:db8::/64", 1)];
    assert_eq!(build(&long).lookup(&"2001:db8::1".parse().unwrap()), Some(1));
}

#[test]
fn too_few_nodes_are_an_error() {
    let mut routes: Vec<_> = (0..100).map(|at| route(at << 100, 28, at as u16)).collect();
    let sorted = Sorted::sort(&mut routes);
    let mut nodes = vec![Fib::EMPTY_NODE; sorted.nodes()];
    let short = nodes.len() - 1;
    assert_eq!(sorted.build(&mut nodes[..short]).unwrap_err(), TableFull::new(Table::Routes));
    assert!(nodes.iter().all(|node| node.words == Fib::EMPTY_NODE.words));
    let fib = sorted.build(nodes).unwrap();
    assert_eq!(fib.lookup(&Ipv6Addr::from_bits(99 << 100)), Some(99));
    assert_eq!(fib.into_nodes().len(), short + 1);
}

#[test]
fn no_routes_lead_nowhere() {
    let fib = build(&[]);
    assert_eq!((fib.memory(), fib.lookup(&Ipv6Addr::LOCALHOST)), (64, None));
}

/// A fifth of them in others, as in the Internet's table: the memory that the module promises.
#[test]
fn memory_of_a_prefix() {
    let mut state = 1_u64;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let routes: Vec<_> = (0..20_000_u64)
        .map(|number| {
            let covering = 0x2a00_u128 << 112 | u128::from(number / 5) << 92;
            let within = if number % 5 == 0 { 0 } else { u128::from(random() % 0x1_0000) << 80 };
            route(covering | within, if number % 5 == 0 { 36 } else { 48 }, random() as u16)
        })
        .collect();
    let fib = build(&routes);
    assert!(fib.memory() <= 17 * routes.len(), "{}", fib.memory());
}
