use super::*;

/// A fixed sequence; the seed is not zero.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

fn routes(state: &mut u64, count: usize) -> Vec<FibRoute> {
    let route = |_| {
        let length = [0, 16, 32, 40, 48, 48, 63, 64, 65, 128][random(state) as usize % 10];
        let bits = 0x2001_u128 << 112 | u128::from(random(state) & 0x3_000f_0fff) << 64 | u128::from(random(state) & 3);
        let prefix = Ipv6Prefix::new(bits.into(), length).expect("at most 128");
        FibRoute { prefix, value: random(state) as u16 }
    };
    (0..count).map(route).collect()
}

#[test]
fn batches_answer_as_single_lookups_do() {
    let mut state = 1;
    for count in [0, 1, 3, 7, 40, 300, 5_000] {
        let fib = build(&mut routes(&mut state, count)).unwrap();
        for len in [0, 1, 31, 32, 33, 100, 257] {
            let destination = |_| {
                let low = u128::from(random(&mut state) & 3);
                Ipv6Addr::from_bits(0x2001_u128 << 112 | u128::from(random(&mut state) & 0x3_000f_0fff) << 64 | low)
            };
            let mut destinations: Vec<Ipv6Addr> = (0..len).map(destination).collect();
            destinations.extend([Ipv6Addr::UNSPECIFIED, Ipv6Addr::from_bits(u128::MAX)]);
            let expected: Vec<_> = destinations.iter().map(|destination| fib.lookup(destination)).collect();
            let mut found = vec![Some(7); destinations.len()];
            lookup_batch(&fib, &destinations, &mut found);
            assert_eq!(found, expected, "{count} routes, {len} destinations");
            let mut short = vec![Some(7); destinations.len() / 2];
            lookup_batch(&fib, &destinations, &mut short);
            assert_eq!(short, expected[..short.len()], "{count} routes, {len} destinations");
            #[cfg(target_arch = "x86_64")]
            for vectors in vectors::found() {
                found.fill(Some(7));
                vectors.lookup_batch(&fib, &destinations, &mut found);
                assert_eq!(found, expected, "{vectors:?}: {count} routes, {len} destinations");
            }
        }
    }
}

/// Readers meet whole tables only, each as it was written.
#[test]
fn tables_are_replaced_while_threads_read() {
    let next_hop = |number: u128| Ipv6Addr::from_bits(0xfe80 << 112 | number);
    let table = |number: u128| {
        let prefix = |at: u128| Ipv6Prefix::new((at << 100).into(), 28).expect("at most 128");
        (0..200).map(move |at| (prefix(at), Some(next_hop(number))))
    };
    const LAST: u128 = 500;
    let shared = Arc::new(SharedTable::new(LinkId(3), table(0)).unwrap());
    let mut tables = FullTables::EMPTY;
    tables.insert(shared.clone());
    std::thread::scope(|scope| {
        let reads = || {
            // As the worker of a machine does, over its copy of the tables.
            let tables = tables.clone();
            let (mut last, mut met) = (0, 0);
            while last < LAST {
                let ways = (0..200_u128).map(|at| tables.longest(None, &(at << 100 | 1).into()));
                let numbers: Vec<u128> = ways
                    .map(|way| {
                        let way = way.expect("a table has all prefixes");
                        assert_eq!((way.length, way.link), (28, LinkId(3)));
                        way.next_hop.expect("each has one").to_bits() & 0xffff
                    })
                    .collect();
                assert!(numbers.is_sorted() && numbers[0] >= last, "{numbers:?} after {last}");
                met += u32::from(numbers[199] > last);
                last = numbers[199];
            }
            met
        };
        let readers = [scope.spawn(reads), scope.spawn(reads)];
        for number in 1..=LAST {
            shared.replace(table(number)).unwrap();
        }
        for reader in readers {
            assert!(reader.join().unwrap() > 1, "the reader met one table only");
        }
    });
    assert_eq!(shared.size().0, 200);
}

#[test]
fn a_node_has_a_table_for_each_link() {
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let table = |link, prefix: &str, next_hop: &str| {
        Arc::new(SharedTable::new(LinkId(link), [(prefix.parse().unwrap(), Some(v6(next_hop)))]).unwrap())
    };
    let mut tables = FullTables::EMPTY;
    tables.insert(table(1, "2001:db8::/32", "fe80::1"));
    tables.insert(table(2, "2001:db8:1::/48", "fe80::2"));
    let next_hop = |tables: &FullTables, link, to: &str| tables.longest(link, &v6(to)).and_then(|way| way.next_hop);
    assert_eq!(next_hop(&tables, None, "2001:db8:1::1"), Some(v6("fe80::2")));
    assert_eq!(next_hop(&tables, None, "2001:db8:2::1"), Some(v6("fe80::1")));
    assert_eq!(next_hop(&tables, Some(LinkId(1)), "2001:db8:1::1"), Some(v6("fe80::1")));
    assert_eq!(next_hop(&tables, Some(LinkId(2)), "2001:db8:2::1"), None);
    tables.insert(table(1, "2001:db8::/48", "fe80::3"));
    assert_eq!(next_hop(&tables, None, "2001:db8::1"), Some(v6("fe80::3")));
    assert!(tables.remove(LinkId(1)) && !tables.remove(LinkId(1)));
    assert_eq!(next_hop(&tables, None, "2001:db8::1"), None);
}

#[test]
fn the_first_route_of_a_prefix_counts() {
    let v6 = |text: &str| text.parse::<Ipv6Addr>().unwrap();
    let route = |prefix: &str, next_hop: &str| (prefix.parse().unwrap(), Some(v6(next_hop)));
    let list =
        [route("2001:db8::/48", "fe80::2"), route("2001:db8:1::/48", "fe80::1"), route("2001:db8::/48", "fe80::1")];
    let table = SharedTable::new(LinkId(0), list).unwrap();
    assert_eq!(table.lookup(&v6("2001:db8::1")).and_then(|way| way.next_hop), Some(v6("fe80::2")));
    assert_eq!(table.lookup(&v6("2001:db8:1::1")).and_then(|way| way.next_hop), Some(v6("fe80::1")));
    assert_eq!(table.size().0, 2);
}

#[test]
fn more_next_hops_than_a_table_can_name_are_an_error() {
    let routes = |count: u32| {
        let prefix = |at: u32| Ipv6Prefix::new((u128::from(at) << 96).into(), 32).expect("at most 128");
        (0..count).map(move |at| (prefix(at), Some(Ipv6Addr::from_bits(at.into()))))
    };
    assert!(SharedTable::new(LinkId(0), routes(65_535)).is_ok());
    assert_eq!(SharedTable::new(LinkId(0), routes(65_536)).unwrap_err(), TableFull::new(Table::Routes));
}
