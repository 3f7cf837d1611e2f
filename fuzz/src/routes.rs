//! Route operations against a naive table.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::route::{Fib, FibRoute, Origin, Route, RouteTable, Slot, Sorted};
use isatap_core::time::{Expiry, Instant};

use crate::input::Input;

const ROOM: usize = 12;

/// Bits of an address that make prefixes meet: few, and spread over it.
fn address(input: &mut Input<'_>) -> Ipv6Addr {
    let (head, middle, tail) = (input.byte() & 3, input.byte() & 7, input.byte() & 3);
    Ipv6Addr::from_bits(0x2001_u128 << 112 | u128::from(head) << 96 | u128::from(middle) << 62 | u128::from(tail))
}

/// A list of operations: insert, remove, expire, look up. One next hop a
/// prefix, so that only lengths decide.
pub fn route_operations(data: &[u8]) {
    let mut input = Input::new(data);
    let mut table: Box<RouteTable<[Slot; ROOM]>> = Box::new(RouteTable::new());
    let mut model: BTreeMap<(u8, u128), Route> = BTreeMap::new();
    let mut now = Instant::from_secs(1);
    while !input.is_empty() {
        match input.byte() % 5 {
            0 | 1 => {
                let length = input.among(&[0, 16, 32, 62, 64, 65, 96, 127, 128]);
                let prefix = Ipv6Prefix::new(address(&mut input), length).unwrap();
                let next_hop = Ipv6Addr::from_bits(0xfe80 << 112 | u128::from(input.byte()));
                let expires = match input.byte() {
                    0 => Expiry::NEVER,
                    seconds => Expiry::at(Instant::from_micros(now.micros() + u64::from(seconds) * 1_000_000)),
                };
                let route = Route { expires, ..Route::via(prefix, LinkId(0), next_hop, Origin::Manual) };
                let key = (length, prefix.address().to_bits());
                if let Some(old) = model.remove(&key) {
                    assert_eq!(table.remove(&old.key()), Some(old));
                }
                match table.insert(route) {
                    Ok(id) => {
                        assert_eq!(table.get(id), Some(&route));
                        model.insert(key, route);
                    }
                    Err(_) => assert_eq!(model.len(), ROOM, "refused with room left"),
                }
            }
            2 => {
                let keys: Vec<_> = model.keys().copied().collect();
                if !keys.is_empty() {
                    let route = model.remove(&input.among(&keys)).unwrap();
                    assert_eq!(table.remove(&route.key()), Some(route));
                    assert_eq!(table.remove(&route.key()), None);
                }
            }
            3 => {
                now = Instant::from_micros(now.micros() + u64::from(input.byte()) * 500_000);
                let before = model.len();
                model.retain(|_, route| route.expires.instant().is_none_or(|end| end > now));
                assert_eq!(table.expire(now), before - model.len());
                let next = model.values().map(|route| route.expires).min().unwrap_or(Expiry::NEVER);
                assert_eq!(table.deadline(), next);
            }
            _ => {
                let destination = address(&mut input);
                let expected = model
                    .values()
                    .filter(|route| covers(&route.prefix, &destination))
                    .max_by_key(|route| route.prefix.length());
                assert_eq!(table.lookup(&destination), expected, "{destination}");
                let mut found = [None];
                table.lookup_batch(&[destination], &mut found);
                assert_eq!(found[0].and_then(|id| table.get(id)), expected, "{destination}");
            }
        }
        assert_eq!(table.len(), model.len());
    }
    let mut told = 0;
    while table.poll_change().is_some() {
        told += 1;
        assert!(told <= 2 * ROOM, "changes that never end");
    }
}

fn covers(prefix: &Ipv6Prefix, address: &Ipv6Addr) -> bool {
    let rest = 128 - u32::from(prefix.length());
    let cut = |bits: u128| bits.checked_shr(rest).unwrap_or(0);
    cut(prefix.address().to_bits()) == cut(address.to_bits())
}

/// Any prefixes, close to each other or not: what a full table made of them
/// answers, one at a time and in a batch, beside asking each prefix.
pub fn fib(data: &[u8]) {
    let mut input = Input::new(data);
    let count = usize::from(input.byte());
    let bits = |input: &mut Input<'_>| {
        let (base, noise, place) = (input.byte(), u128::from(input.byte()), u32::from(input.byte() & 127));
        let base = [0, u128::MAX, 0x2001_0db8 << 96, (0x2001_0db8 << 96) | u128::from(u64::MAX)][usize::from(base & 3)];
        base ^ noise.rotate_left(place)
    };
    let mut routes = Vec::new();
    while routes.len() < count && !input.is_empty() {
        let (length, address) = (input.byte().min(128), bits(&mut input));
        let prefix = Ipv6Prefix::new(address.into(), length).unwrap();
        let value = u16::from(input.byte() & 7).checked_sub(1).unwrap_or(Fib::NO_ROUTE);
        routes.push(FibRoute { prefix, value });
    }
    let naive = |destination: u128| {
        let mut best: Option<(u8, u16)> = None;
        for FibRoute { prefix, value } in &routes {
            let mask = (0..prefix.length()).fold(0_u128, |mask, bit| mask | 1 << (127 - bit));
            if destination & mask == prefix.address().to_bits()
                && best.is_none_or(|best| prefix.length() > best.0 || (prefix.length() == best.0 && *value < best.1))
            {
                best = Some((prefix.length(), *value));
            }
        }
        best.map(|best| best.1).filter(|&value| value != Fib::NO_ROUTE)
    };
    let mut in_order = routes.clone();
    let sorted = Sorted::sort(&mut in_order);
    let long = routes.iter().filter(|route| route.prefix.length() > 64).count();
    assert!(sorted.nodes() <= Fib::nodes_for(routes.len(), long));
    let fib = sorted.build(vec![Fib::EMPTY_NODE; sorted.nodes()]).unwrap();
    let mut destinations = vec![Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)];
    for route in &routes {
        let first = route.prefix.address().to_bits();
        let last = first | u128::MAX.checked_shr(route.prefix.length().into()).unwrap_or(0);
        destinations.extend([first, last, first.wrapping_sub(1), last.wrapping_add(1)].map(Ipv6Addr::from_bits));
    }
    while !input.is_empty() {
        destinations.push(bits(&mut input).into());
    }
    let mut found = vec![None; destinations.len()];
    fib.lookup_batch(&destinations, &mut found);
    for (destination, found) in destinations.iter().zip(found) {
        let expected = naive(destination.to_bits());
        assert_eq!((fib.lookup(destination), found), (expected, expected), "{destination} in {routes:?}");
    }
}
