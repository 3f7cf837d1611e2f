//! Address selection by a second reading of RFC 6724: rule after rule for each
//! pair, over bits, with nothing of the core's but its structs.

use std::cmp::Ordering::{self, Equal, Greater, Less};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::select::{Destination, Policy, PolicyRow, Source};

use super::input::Input;

/// Bits that make addresses meet in every row, scope and length.
fn address(input: &mut Input<'_>) -> IpAddr {
    const HEADS: [u16; 14] =
        [0x2001, 0x2001, 0x2002, 0x2600, 0x3ffe, 0xfc00, 0xfd00, 0xfe80, 0xfebf, 0xfec0, 0xff02, 0xff05, 0xff0e, 0];
    let choice = usize::from(input.byte());
    if choice.is_multiple_of(4) {
        let heads = [10, 127, 169, 172, 192, 198, 203, 224, 0];
        let mut octets = [input.among(&heads), input.among(&[0, 16, 168, 254]), input.byte() & 3, input.byte()];
        if octets[0] == 0 {
            octets = [0; 4];
        }
        return Ipv4Addr::from(octets).into();
    }
    let head = u128::from(HEADS[choice % HEADS.len()]) << 112;
    let [b, c, d] = [input.byte(), input.byte(), input.byte()].map(u128::from);
    let second = if b & 1 == 0 { 0 } else { 0xdb8_u128 << 96 };
    let isatap = if b & 2 == 0 { 0 } else { 0x5efe_u128 << 32 | 0x0a00_0000 };
    Ipv6Addr::from_bits(head | second | (c & 7) << 80 | (c >> 3) << 64 | isatap | d & 7).into()
}

pub fn source(input: &mut Input<'_>) -> Source {
    let mut source = Source::new(address(input), input.among(&[0, 8, 24, 32, 48, 64, 64, 96, 128, 255]));
    let bits = input.byte();
    source.interface = u32::from(bits & 3);
    source.deprecated = bits & 0b1100 == 0b1100;
    source.temporary = bits & 0b1_0000 != 0;
    source.home = bits & 0b110_0000 == 0b110_0000;
    source.at_home = bits & 0b1000_0000 != 0;
    source.by_next_hop = input.byte() & 3 == 3;
    source
}

/// Some are an address of this node.
pub fn destination(input: &mut Input<'_>, sources: &[Source]) -> Destination {
    let mut to = Destination::new(address(input));
    let bits = input.byte();
    if let (Some(own), true) = (sources.first(), bits >> 6 == 3) {
        to.address = own.address;
    }
    to.interface = u32::from(bits & 3);
    to.encapsulated = bits & 4 != 0;
    to.unreachable = bits & 0b11_1000 == 0b11_1000;
    to
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits()
}

fn row(policy: &Policy<'_>, address: IpAddr) -> (u32, u32) {
    let fits = |row: &&PolicyRow| {
        let differs = row.prefix.address().to_bits() ^ bits(address);
        differs.leading_zeros() >= u32::from(row.prefix.length())
    };
    let mut rows: Vec<_> = policy.rows.iter().filter(fits).collect();
    rows.sort_by_key(|row| row.prefix.length());
    rows.last().map_or((40, 1), |row| (row.precedence, row.label))
}

fn scope(policy: &Policy<'_>, address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(address) if address.is_loopback() || address.is_link_local() => 2,
        IpAddr::V4(address) if address.is_private() && policy.private_is_site_local => 5,
        IpAddr::V4(_) => 14,
        IpAddr::V6(address) if address.is_multicast() => address.octets()[1] & 15,
        IpAddr::V6(address) if address.is_loopback() || address.is_unicast_link_local() => 2,
        IpAddr::V6(address) if address.segments()[0] & 0xffc0 == 0xfec0 => 5,
        IpAddr::V6(_) => 14,
    }
}

fn common(source: &Source, to: IpAddr) -> u32 {
    let same = (bits(source.address) ^ bits(to)).leading_zeros();
    let before = if source.address.is_ipv4() { 96 } else { 0 };
    same.min(before + u32::from(source.prefix_length))
}

fn is_candidate(source: &Source, to: &Destination) -> bool {
    let from = source.address;
    let link = to.address.is_multicast() || scope(&Policy::RFC6724, to.address) <= 2;
    let elsewhere = source.interface != 0 && to.interface != 0 && source.interface != to.interface;
    let excluded = from.is_multicast() || from.is_unspecified() || (link && elsewhere);
    from.is_ipv4() == to.address.is_ipv4() && !excluded
}

/// Says yes for the first where a rule prefers it.
fn prefers(yes_a: bool, yes_b: bool) -> Ordering {
    match (yes_a, yes_b) {
        (true, false) => Less,
        (false, true) => Greater,
        _ => Equal,
    }
}

fn home(a: &Source, b: &Source) -> Ordering {
    prefers(a.home && a.at_home, b.home && b.at_home).then(prefers(a.home, b.home))
}

/// RFC 6724 §5: the rules one by one, and the number of the one that decides.
fn compare_sources(policy: &Policy<'_>, to: &Destination, a: &Source, b: &Source) -> (Ordering, &'static str) {
    let target = to.address;
    let (scope_a, scope_b, scope_d) = (scope(policy, a.address), scope(policy, b.address), scope(policy, target));
    let by_scope = match scope_a.cmp(&scope_b) {
        Less if scope_a < scope_d => Greater,
        Less => Less,
        Greater if scope_b < scope_d => Less,
        Greater => Greater,
        Equal => Equal,
    };
    let outgoing = |source: &Source| source.interface == 0 || to.interface == 0 || source.interface == to.interface;
    let label = |source: &Source| row(policy, source.address).1 == row(policy, target).1;
    let wanted = policy.prefers_temporary;
    let rules = [
        (prefers(a.address == target, b.address == target), "1"),
        (by_scope, "2"),
        (prefers(!a.deprecated, !b.deprecated), "3"),
        (home(a, b), "4"),
        (prefers(outgoing(a), outgoing(b)), "5"),
        (prefers(a.by_next_hop, b.by_next_hop), "5.5"),
        (prefers(label(a), label(b)), "6"),
        (prefers(a.temporary == wanted, b.temporary == wanted), "7"),
        (common(b, target).cmp(&common(a, target)), "8"),
    ];
    rules.into_iter().find(|(order, _)| *order != Equal).unwrap_or((Equal, "order"))
}

/// RFC 6724 §6, the same.
fn compare_destinations(policy: &Policy<'_>, a: &Destination, b: &Destination) -> (Ordering, &'static str) {
    let source = |to: &Destination| to.source.filter(|source| !source.address.is_unspecified());
    let (from_a, from_b) = (source(a), source(b));
    let usable = prefers(from_a.is_some() && !a.unreachable, from_b.is_some() && !b.unreachable);
    if usable != Equal {
        return (usable, "1");
    }
    let (at_a, at_b) = (a.address, b.address);
    let has = |from: Option<Source>, says: &dyn Fn(Source) -> bool| from.is_some_and(says);
    let same_scope = |from: Option<Source>, to| has(from, &|from| scope(policy, from.address) == scope(policy, to));
    let same_label = |from: Option<Source>, to| has(from, &|from| row(policy, from.address).1 == row(policy, to).1);
    let preferred = |from: Option<Source>| has(from, &|from| !from.deprecated);
    let at_home = match (from_a, from_b) {
        (Some(from_a), Some(from_b)) => home(&from_a, &from_b),
        (from_a, from_b) => prefers(has(from_a, &|from| from.home), has(from_b, &|from| from.home)),
    };
    let bits_of = |from: Option<Source>, to| from.map_or(0, |from| common(&from, to));
    let longer =
        if at_a.is_ipv4() == at_b.is_ipv4() { bits_of(from_b, at_b).cmp(&bits_of(from_a, at_a)) } else { Equal };
    let rules = [
        (prefers(same_scope(from_a, at_a), same_scope(from_b, at_b)), "2"),
        (prefers(preferred(from_a), preferred(from_b)), "3"),
        (at_home, "4"),
        (prefers(same_label(from_a, at_a), same_label(from_b, at_b)), "5"),
        (row(policy, at_b).0.cmp(&row(policy, at_a).0), "6"),
        (prefers(!a.encapsulated, !b.encapsulated), "7"),
        (scope(policy, at_a).cmp(&scope(policy, at_b)), "8"),
        (longer, "9"),
    ];
    rules.into_iter().find(|(order, _)| *order != Equal).unwrap_or((Equal, "10"))
}

/// A policy, some sources, some destinations.
pub fn address_selection(data: &[u8]) {
    let mut input = Input::new(data);
    let mut rows = Vec::new();
    for _ in 0..input.byte() % 6 {
        let prefix = Ipv6Prefix::new(
            Ipv6Addr::from_bits(bits(address(&mut input))),
            input.among(&[0, 7, 10, 16, 32, 48, 64, 96, 104, 128]),
        );
        let row = PolicyRow::new(prefix.unwrap(), u32::from(input.byte() & 7), u32::from(input.byte() & 3));
        // A table has a prefix once.
        rows.retain(|other: &PolicyRow| other.prefix != row.prefix);
        rows.push(row);
    }
    let flags = input.byte();
    let mut policy = match flags & 3 {
        0 => Policy::RFC6724,
        1 => Policy::RFC3484,
        _ => Policy::new(&rows),
    };
    policy.prefers_temporary ^= flags & 4 != 0;
    let sources: Vec<Source> = (0..input.byte() % 6).map(|_| source(&mut input)).collect();
    let mut destinations = Vec::new();
    while !input.is_empty() && destinations.len() < 8 {
        let mut to = destination(&mut input, &sources);
        let choice = policy.choose_source(&to, sources.iter().copied());
        check_source(&policy, &to, &sources, choice.map(|choice| (choice.index, choice.rule.number())));
        to.source = choice.map(|choice| choice.source);
        if input.byte() & 3 == 3 {
            // Whatever the system would say.
            to.source = sources.first().copied();
        }
        destinations.push(to);
    }
    check_order(&policy, &destinations);
}

fn check_source(policy: &Policy<'_>, to: &Destination, sources: &[Source], choice: Option<(usize, &str)>) {
    let candidates: Vec<usize> = (0..sources.len()).filter(|at| is_candidate(&sources[*at], to)).collect();
    // A given one is used or refused.
    for source in sources {
        let possible = candidates.iter().any(|at| sources[*at].address == source.address);
        let given = policy.given_source(to, sources.iter().copied(), source.address);
        assert_eq!(given.map(|given| given.address).ok(), possible.then_some(source.address));
    }
    let Some((index, rule)) = choice else {
        assert!(candidates.is_empty(), "{to:?} has a source in {sources:?}");
        return;
    };
    assert!(candidates.contains(&index));
    // Better than all before, no worse than all behind; the rule is the last one that was needed.
    let others: Vec<_> = candidates.iter().filter(|at| **at != index).collect();
    let mut needed = "only";
    for other in others {
        let (order, by) = compare_sources(policy, to, &sources[index], &sources[*other]);
        assert!(order == Less || (order == Equal && *other > index), "{to:?}: {index} and {other} of {sources:?}");
        let place =
            |rule| ["only", "1", "2", "3", "4", "5", "5.5", "6", "7", "8", "order"].iter().position(|r| *r == rule);
        if place(by) > place(needed) {
            needed = by;
        }
    }
    assert_eq!(rule, needed, "{to:?} from {index} of {sources:?}");
}

fn check_order(policy: &Policy<'_>, destinations: &[Destination]) {
    for a in destinations {
        for b in destinations {
            let (order, rule) = policy.compare(a, b);
            assert_eq!((order, rule.number()), compare_destinations(policy, a, b), "{a:?} {b:?}");
            assert_eq!(policy.compare(b, a), (order.reverse(), rule));
        }
    }
    let mut sorted = destinations.to_vec();
    policy.sort(&mut sorted);
    assert_eq!(sorted.len(), destinations.len());
    // Nothing is lost, and no neighbours stand the wrong way round.
    let mut left: Vec<_> = sorted.iter().map(|to| (to.address, to.interface, to.source)).collect();
    for to in destinations {
        let at = left.iter().position(|other| *other == (to.address, to.interface, to.source));
        left.swap_remove(at.unwrap_or_else(|| panic!("{to:?} is gone")));
    }
    for pair in sorted.windows(2) {
        assert_ne!(compare_destinations(policy, &pair[0], &pair[1]).0, Greater, "{pair:?}");
    }
    // Within a family the order is one of all pairs, and equals keep theirs.
    for family in [true, false] {
        let mut expected: Vec<_> = destinations.iter().filter(|to| to.address.is_ipv4() == family).collect();
        expected.sort_by(|a, b| compare_destinations(policy, a, b).0);
        let expected: Vec<_> = expected.iter().map(|to| (to.address, to.interface, to.source)).collect();
        let mut alone: Vec<_> = destinations.iter().filter(|to| to.address.is_ipv4() == family).copied().collect();
        policy.sort(&mut alone);
        assert_eq!(alone.iter().map(|to| (to.address, to.interface, to.source)).collect::<Vec<_>>(), expected);
    }
}
