#![allow(clippy::arithmetic_side_effects, clippy::indexing_slicing)]
use super::*;
use crate::error::{Table, TableFull};
use crate::prefix::halves;
use crate::teredo::addr::{Address, Flags};
use proptest::prelude::*;
use std::boxed::Box;
use std::collections::HashMap;
use std::vec;
use std::vec::Vec;

type Small = PeerTable<[Peer; 32]>;

fn address(n: u32) -> Ipv6Addr {
    Ipv6Addr::from_bits(0x2001_0000_c633_6401_0000_efff << 32 | u128::from(n))
}

fn mapping(n: u32) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::from_bits(0x0900_0000 | n), 4096)
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

/// The standard library hashes with this function too: with the key zero,
/// and words in little-endian order.
#[test]
fn hash_is_siphash_1_3() {
    use core::hash::Hasher;
    for n in [0, 1, 77, u32::MAX] {
        let address = address(n);
        let mut reference = std::collections::hash_map::DefaultHasher::new();
        reference.write(&address.octets());
        let (high, low) = halves(&address);
        let swapped = Ipv6Addr::from_bits(u128::from(high.swap_bytes()) << 64 | u128::from(low.swap_bytes()));
        assert_eq!(hash([0, 0], &swapped), reference.finish());
    }
}

#[test]
fn ter_6_a_peer_is_the_whole_address() {
    let mut table = Small::new();
    table.find_or_insert(at(0), &address(1)).unwrap().trust(at(0), mapping(1), false);
    let other_random_bits = Ipv6Addr::from_bits(address(1).to_bits() ^ 1 << 48);
    assert!(table.find(&other_random_bits).is_none());
    assert!(table.find(&address(1)).unwrap().is_trusted_at(mapping(1)));
    assert!(!table.find(&address(1)).unwrap().is_trusted_at(mapping(2)));
    table.remove(&address(1));
    assert!(table.find(&address(1)).is_none());
}

#[test]
fn a_peer_is_reachable_for_less_than_thirty_seconds() {
    let mut table = Small::new();
    let peer = table.find_or_insert(at(0), &address(1)).unwrap();
    assert!(!peer.is_reachable(at(0)), "a new peer was heard long ago, even when the clock starts");
    peer.trust(at(0), mapping(1), false);
    assert!(peer.is_reachable(Instant::from_micros(29_999_999)));
    assert!(!peer.is_reachable(at(30)));
    assert!(peer.is_trusted());
    peer.distrust();
    assert!(!peer.is_reachable(at(1)));
}

#[test]
fn ter_44_ter_45_bubbles_are_two_seconds_apart_and_four_in_three_hundred() {
    let mut table = Small::new();
    let peer = table.find_or_insert(at(0), &address(1)).unwrap();
    assert!(peer.may_get_bubble(at(0)), "a new entry may be bubbled at once");
    let mut sent = Vec::new();
    for tenth in 0..7000_u64 {
        let now = Instant::from_millis(tenth * 100);
        if peer.may_get_bubble(now) {
            peer.note_bubble(now);
            sent.push(now);
        }
    }
    assert!(sent.windows(2).all(|two| two[1].saturating_duration_since(two[0]) >= BUBBLE_INTERVAL));
    for window in sent.windows(5) {
        assert!(window[4].saturating_duration_since(window[0]) > BUBBLE_WINDOW, "{window:?}");
    }
    assert!(sent.len() >= 8, "{sent:?}");
    // A direct answer ends the count.
    peer.note_received(at(700));
    assert!(peer.may_get_bubble(at(703)));
}

#[test]
fn ter_98_an_answer_waits_for_nothing_and_is_counted() {
    let mut table = Small::new();
    let peer = table.find_or_insert(at(0), &address(1)).unwrap();
    for _ in 0..4 {
        assert!(peer.may_get_answer(at(1)));
        peer.note_bubble(at(1));
    }
    assert!(!peer.may_get_answer(at(1)));
    assert!(!peer.may_get_answer(at(300)));
    assert!(peer.may_get_answer(at(301)));
}

#[test]
fn ter_97_a_test_makes_a_peer_provisional() {
    let mut table = Small::new();
    let peer = table.find_or_insert(at(0), &address(1)).unwrap();
    peer.trust(at(0), mapping(1), true);
    peer.begin_test([7; 8]);
    assert!(!peer.is_trusted() && !peer.is_verified());
    assert_eq!(peer.test_nonce(), [7; 8]);
    peer.set_nonce_sent([1, 2, 3, 4]);
    peer.set_nonce_received([5, 6, 7, 8]);
    assert_eq!((peer.nonce_sent(), peer.nonce_received()), ([1, 2, 3, 4], [5, 6, 7, 8]));
}

#[test]
fn a_new_mapping_is_not_verified_by_the_old_one() {
    let mut table = Small::new();
    let peer = table.find_or_insert(at(0), &address(1)).unwrap();
    peer.trust(at(0), mapping(1), true);
    peer.trust(at(1), mapping(1), false);
    assert!(peer.is_verified());
    peer.trust(at(2), mapping(2), false);
    assert!(peer.is_trusted() && !peer.is_verified());
}

#[test]
fn ter_30_the_least_recently_used_goes_first() {
    let mut table = PeerTable::<[Peer; 4]>::new();
    for n in 0..4 {
        table.find_or_insert(at(1), &address(n)).unwrap().trust(at(u64::from(n) + 1), mapping(n), false);
    }
    table.find_mut(&address(0)).unwrap().note_received(at(9));
    table.find_or_insert(at(10), &address(9)).unwrap();
    assert!(table.find(&address(1)).is_none());
    assert!(table.find(&address(0)).is_some() && table.find(&address(9)).is_some());
}

#[test]
fn a_table_of_verified_peers_refuses_and_names_itself() {
    let mut table = PeerTable::<[Peer; 4]>::new();
    for n in 0..4 {
        table.find_or_insert(at(1), &address(n)).unwrap().trust(at(1), mapping(n), true);
    }
    assert_eq!(table.find_or_insert(at(2), &address(9)).unwrap_err(), TableFull::new(Table::Peers));
    assert!((0..4).all(|n| table.find(&address(n)).is_some()));
    // Who was silent for ten minutes makes room.
    table.find_or_insert(at(601), &address(9)).unwrap();
    assert!(PeerTable::<[Peer; 0]>::new().find_or_insert(at(0), &address(0)).is_err());
}

#[test]
fn a_peer_that_our_own_traffic_asks_for_is_kept_while_it_may_answer() {
    let mut table = PeerTable::<[Peer; 1]>::new();
    let peer = table.find_or_insert(at(1), &address(1)).unwrap();
    peer.ask();
    peer.note_bubble(at(1));
    assert!(table.find_or_insert(at(14), &address(2)).is_err());
    assert!(table.find_or_insert(at(16), &address(2)).is_ok());
}

/// A peer without RFC 6081 has no secret to repeat. While this node's own
/// traffic uses it, nobody outside takes its place; own traffic to others may.
#[test]
fn a_peer_that_own_traffic_uses_is_spared_by_outsiders() {
    let mut table = PeerTable::<[Peer; 4]>::new();
    for n in 0..4 {
        let peer = table.find_or_insert_asked(at(1), &address(n)).unwrap();
        peer.ask();
        peer.note_bubble(at(1));
        peer.trust(at(2), mapping(n), false);
        peer.note_sent(at(3 + u64::from(n)));
    }
    assert!(table.find_or_insert(at(30), &address(9)).is_err());
    assert!((0..4).all(|n| table.find(&address(n)).is_some()));
    // Own traffic takes the place of the one that is in use least.
    table.find_or_insert_asked(at(30), &address(9)).unwrap();
    assert!(table.find(&address(0)).is_none() && table.find(&address(3)).is_some());
    // Heard and not spoken to, or the other way round, is not in use.
    table.find_mut(&address(1)).unwrap().note_received(at(31));
    table.find_mut(&address(2)).unwrap().note_sent(at(31));
    assert!(table.find_or_insert(at(33), &address(10)).is_ok());
    assert!(table.find(&address(9)).is_none(), "it was never asked, nor spoken to");
    // Who was only ever heard from outside is no such peer, however busy.
    let mut table = PeerTable::<[Peer; 1]>::new();
    let peer = table.find_or_insert(at(1), &address(1)).unwrap();
    peer.trust(at(1), mapping(1), false);
    peer.note_sent(at(1));
    assert!(table.find_or_insert(at(1), &address(2)).is_ok());
}

/// Forged peers beside verified ones.
fn flood(capacity: usize, verified: u32, forged: u32) {
    let mut table = PeerTable::with_storage(vec![Peer::EMPTY; capacity].into_boxed_slice());
    table.rekey([0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210]);
    for n in 0..verified {
        table.find_or_insert(at(1), &address(n)).unwrap().trust(at(1), mapping(n), true);
    }
    for n in 0..forged {
        let now = Instant::from_micros(1_000_000 + u64::from(n) * 60);
        let forged = address(0x8000_0000 | n);
        if let Ok(peer) = table.find_or_insert(now, &forged) {
            peer.trust(now, mapping(n), false);
        }
    }
    assert!((0..verified).all(|n| table.find(&address(n)).is_some_and(|peer| peer.is_trusted_at(mapping(n)))));
    assert!(table.iter().count() <= capacity);
}

#[test]
fn ten_thousand_forged_peers_leave_the_verified_ones() {
    flood(1024, 100, 10_000);
    flood(256, 100, 10_000);
}

#[test]
#[cfg_attr(debug_assertions, ignore = "a million peers: seconds in a release build")]
fn a_million_forged_peers_leave_the_verified_ones() {
    flood(1024, 100, 1_000_000);
    flood(1_000_000, 100, 1_000_000);
}

/// What may happen to a table, in any order.
#[derive(Clone, Debug)]
enum Op {
    Heard(u32, bool),
    Asked(u32),
    Sent(u32),
    Bubble(u32),
    Distrust(u32),
    Remove(u32),
    Wait(u64),
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_u32..60, any::<bool>()).prop_map(|(n, verified)| Op::Heard(n, verified)),
        2 => (0_u32..60).prop_map(Op::Asked),
        1 => (0_u32..60).prop_map(Op::Sent),
        1 => (0_u32..60).prop_map(Op::Bubble),
        1 => (0_u32..60).prop_map(Op::Distrust),
        1 => (0_u32..60).prop_map(Op::Remove),
        1 => (0_u64..400).prop_map(Op::Wait),
    ]
}

proptest! {
    /// A model: a plain map of what is known of each peer. Nobody who
    /// is verified or being asked leaves it but by being removed, distrusted
    /// or silent; who is in use by own traffic leaves it for own traffic only.
    #[test]
    fn nobody_verified_is_evicted(ops in prop::collection::vec(any_op(), 0..400), key in any::<[u64; 2]>()) {
        let mut table = Small::new();
        table.rekey(key);
        let mut now = at(1);
        let mut known: HashMap<u32, Known> = HashMap::new();
        for op in ops {
            let before: Vec<_> = known.iter().filter(|(_, of)| of.in_use(now)).map(|(n, _)| *n).collect();
            let mut own = false;
            match op {
                Op::Heard(n, secret) => {
                    if let Ok(peer) = table.find_or_insert(now, &address(n)) {
                        peer.trust(now, mapping(n), secret);
                        let of = known.entry(n).or_default();
                        (of.trusted, of.heard) = (true, Some(now));
                        of.verified |= secret;
                    }
                }
                Op::Asked(n) => {
                    own = true;
                    if let Ok(peer) = table.find_or_insert_asked(now, &address(n)) {
                        peer.ask();
                        peer.note_sent(now);
                        let of = known.entry(n).or_default();
                        (of.asked, of.sent) = (true, Some(now));
                    }
                }
                Op::Sent(n) => if let Some(peer) = table.find_mut(&address(n)) {
                    peer.note_sent(now);
                    known.entry(n).or_default().sent = Some(now);
                },
                Op::Bubble(n) => if let Some(peer) =
                    table.find_mut(&address(n)).filter(|peer| peer.may_get_bubble(now))
                {
                    peer.note_bubble(now);
                    known.entry(n).or_default().sent = Some(now);
                },
                Op::Distrust(n) => if let Some(peer) = table.find_mut(&address(n)) {
                    peer.distrust();
                    let of = known.entry(n).or_default();
                    (of.trusted, of.verified) = (false, false);
                },
                Op::Remove(n) => {
                    table.remove(&address(n));
                    known.remove(&n);
                }
                Op::Wait(secs) => now = now.saturating_add(Duration::from_secs(secs)),
            }
            for (n, of) in &known {
                let here = table.find(&address(*n));
                if of.is_verified(now) {
                    prop_assert!(here.is_some_and(Peer::is_verified), "{n} is gone");
                }
                if of.is_being_asked(now) {
                    prop_assert!(here.is_some(), "{n} is gone while it is asked");
                }
                if !own && before.contains(n) && of.in_use(now) {
                    prop_assert!(here.is_some_and(Peer::is_trusted), "{n} is gone while it is used");
                }
            }
            known.retain(|n, _| table.find(&address(*n)).is_some());
            prop_assert!(table.iter().count() <= 32);
            // Nobody is in it twice.
            let mut seen: Vec<_> = table.iter().map(Peer::address).collect();
            seen.sort();
            seen.dedup();
            prop_assert_eq!(seen.len(), table.iter().count());
        }
    }
}

/// What the model knows of a peer.
#[derive(Clone, Copy, Debug, Default)]
struct Known {
    trusted: bool,
    verified: bool,
    asked: bool,
    heard: Option<Instant>,
    sent: Option<Instant>,
}

impl Known {
    fn within(of: Option<Instant>, now: Instant, secs: u64) -> bool {
        of.is_some_and(|then| now.saturating_duration_since(then) < Duration::from_secs(secs))
    }

    fn is_verified(&self, now: Instant) -> bool {
        self.trusted && self.verified && (Known::within(self.heard, now, 600) || Known::within(self.sent, now, 600))
    }

    fn is_being_asked(&self, now: Instant) -> bool {
        self.asked && !self.trusted && Known::within(self.sent, now, 15)
    }

    fn in_use(&self, now: Instant) -> bool {
        self.asked && self.trusted && Known::within(self.heard, now, 30) && Known::within(self.sent, now, 30)
    }
}

#[test]
fn a_table_may_be_a_boxed_slice_and_is_48_bytes_a_peer() {
    assert_eq!(size_of::<Peer>(), 48);
    let storage: Box<[Peer]> = vec![Peer::EMPTY; 100_000].into();
    let table = PeerTable::with_storage(storage);
    assert_eq!(table.capacity(), 100_000);
}

/// Addresses that have nearly everything in common are spread like any: chi-squared of 256
/// cells, which is 255 and seldom beyond 330.
#[test]
fn ter_6_places_are_spread_whatever_peers_have_in_common() {
    let one = Address {
        server: Ipv4Addr::new(198, 51, 100, 1),
        flags: Flags::empty(),
        port: 4096,
        client: Ipv4Addr::new(192, 0, 2, 1),
    };
    let families: [fn(Address, u16) -> Address; 4] = [
        |one, n| Address { port: n, ..one },
        |one, n| Address { flags: Flags::from_bits_retain(n), ..one },
        |one, n| Address { client: Ipv4Addr::from_bits(0x0b00_0000 | u32::from(n)), ..one },
        |one, n| Address { server: Ipv4Addr::from_bits(u32::from(n) << 16), ..one },
    ];
    for (family, vary) in families.iter().enumerate() {
        for key in [[0, 0], [1, 0], [0, 1], [u64::MAX, 7]] {
            let mut table = PeerTable::<[Peer; 256]>::new();
            table.rekey(key);
            let mut cells = [0_i64; 256];
            for n in 0..=u16::MAX {
                cells[table.start(&vary(one, n).to_ipv6())] += 1;
            }
            let chi_squared: i64 = cells.iter().map(|n| (n - 256).pow(2)).sum::<i64>() / 256;
            assert!((180..350).contains(&chi_squared), "family {family}, key {key:?}: {chi_squared}");
        }
    }
}
