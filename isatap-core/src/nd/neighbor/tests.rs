#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use crate::capacity::N;
use core::net::Ipv4Addr;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::vec::Vec;

type Table = Neighbors<Ipv4Addr, N<3>>;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

const A: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);

fn key(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(10, 0, 0, last)
}

/// Lets time pass to `until`, waking at each deadline; what was sent and
/// given up, in ms.
fn run(table: &mut Table, from: u64, until: u64) -> (Vec<u64>, Vec<u64>) {
    let (mut sent, mut failed) = (Vec::new(), Vec::new());
    let mut now = at(from);
    loop {
        table.handle_timeout(now);
        while let Some(key) = table.next_probe(now) {
            table.probe_sent(now, key);
            sent.push(now.micros() / 1000);
        }
        while table.next_failed().is_some() {
            failed.push(now.micros() / 1000);
        }
        match table.deadline().instant() {
            Some(next) if next <= at(until) => {
                assert!(next > now, "a deadline survived");
                now = next;
            }
            _ => return (sent, failed),
        }
    }
}

#[test]
fn ndp_50_three_solicitations_then_the_entry_is_gone() {
    let mut table = Table::EMPTY;
    table.note_sent(at(0), A).unwrap();
    assert_eq!(table.reachability(A), Some(Reachability::Delay));
    let (sent, failed) = run(&mut table, 0, 100_000);
    assert_eq!(sent, [5000, 6000, 7000]);
    assert_eq!(failed, [8000]);
    assert_eq!(table.reachability(A), None);
}

#[test]
fn ndp_50_reachable_becomes_stale_and_stays_so_without_traffic() {
    let mut table = Table::EMPTY;
    table.note_sent(at(0), A).unwrap();
    table.confirm(at(1000), A);
    assert_eq!(table.reachability(A), Some(Reachability::Reachable));
    table.note_sent(at(2000), A).unwrap();
    assert_eq!(table.reachability(A), Some(Reachability::Reachable));
    assert_eq!(table.deadline(), Expiry::at(at(31_000)));
    assert_eq!(run(&mut table, 2000, 1_000_000), (Vec::new(), Vec::new()));
    assert_eq!(table.reachability(A), Some(Reachability::Stale));
    assert_eq!(table.deadline(), Expiry::NEVER);
    table.note_sent(at(1_000_000), A).unwrap();
    assert_eq!(run(&mut table, 1_000_000, 1_006_000).0, [1_005_000, 1_006_000]);
}

#[test]
fn ndp_50_an_upper_layer_confirms_while_the_delay_runs() {
    let mut table = Table::EMPTY;
    table.note_sent(at(0), A).unwrap();
    table.confirm(at(4999), A);
    assert_eq!(run(&mut table, 5000, 30_000).0, [0; 0]);
    // Of somebody who is not watched it says nothing.
    table.confirm(at(0), key(9));
    assert_eq!(table.reachability(key(9)), None);
}

#[test]
fn isa_5_an_entry_begins_stale_without_a_solicitation() {
    let mut table = Table::EMPTY;
    table.note_sent(at(0), A).unwrap();
    assert_eq!(table.next_probe(at(0)), None);
    assert_eq!(table.reachability(A), Some(Reachability::Delay));
}

#[test]
fn isa_48_a_probe_can_be_asked_for() {
    let mut table = Table::EMPTY;
    table.probe(at(0), A).unwrap();
    assert_eq!(table.next_probe(at(0)), Some(A));
    // Not written yet: still wanted.
    assert_eq!(table.next_probe(at(0)), Some(A));
    table.probe_sent(at(0), A);
    assert_eq!(table.next_probe(at(0)), None);
    assert_eq!(table.advertised(at(20), A, true, true), Advertised::Accepted { was_router: false, is_router: true });
    assert_eq!(table.reachability(A), Some(Reachability::Reachable));
    table.probe(at(30), A).unwrap();
    assert_eq!(table.next_probe(at(30)), None);
}

#[test]
fn ndp_53_only_a_solicited_advertisement_confirms() {
    let mut table = Table::EMPTY;
    assert_eq!(table.advertised(at(0), A, true, true), Advertised::Unknown);
    assert_eq!(table.reachability(A), None);
    table.probe(at(0), A).unwrap();
    table.advertised(at(0), A, false, true);
    assert_eq!(table.reachability(A), Some(Reachability::Probe));
    assert_eq!(table.advertised(at(0), A, true, false), Advertised::Accepted { was_router: true, is_router: false });
    assert_eq!(table.reachability(A), Some(Reachability::Reachable));
    // In Stale, an unsolicited one leaves it so.
    table.doubt(at(1), A);
    table.advertised(at(2), A, false, false);
    assert_eq!(table.reachability(A), Some(Reachability::Stale));
}

#[test]
fn ndp_66_who_is_a_router() {
    let mut table = Table::EMPTY;
    table.heard_router(A);
    assert_eq!(table.reachability(A), None);
    table.note_sent(at(0), A).unwrap();
    let before = table.reachability(A);
    table.heard_router(A);
    assert!(table.iter().all(Neighbor::is_router));
    assert_eq!(table.reachability(A), before);
}

#[test]
fn ndp_68_link_information_casts_doubt_and_never_confirms() {
    let mut table = Table::EMPTY;
    table.doubt(at(0), A);
    assert_eq!(table.reachability(A), None);
    table.note_sent(at(0), A).unwrap();
    table.doubt(at(1), A);
    assert_eq!(table.reachability(A), Some(Reachability::Delay));
    table.confirm(at(2), A);
    table.doubt(at(3), A);
    assert_eq!(table.reachability(A), Some(Reachability::Stale));
}

#[test]
fn ndp_55_the_longest_stale_makes_room_then_the_first_to_end() {
    let mut table = Table::EMPTY;
    for (last, now) in [(1, 10), (2, 20), (3, 30)] {
        table.note_sent(at(now), key(last)).unwrap();
        table.confirm(at(now), key(last));
    }
    table.doubt(at(50), key(3));
    table.doubt(at(60), key(2));
    table.note_sent(at(70), key(4)).unwrap();
    assert_eq!(table.reachability(key(3)), None);
    table.note_sent(at(71), key(5)).unwrap();
    assert_eq!(table.reachability(key(2)), None);
    table.note_sent(at(72), key(6)).unwrap();
    assert_eq!(table.reachability(key(1)), None);
    // Whoever is being asked stays.
    assert_eq!(table.note_sent(at(73), key(7)), Err(TableFull::new(crate::error::Table::Neighbors)));
    assert_eq!(table.note_sent(at(73), key(4)), Ok(()));
    assert_eq!(table.iter().count(), 3);
    table.forget(key(4));
    table.note_sent(at(74), key(7)).unwrap();
    table.clear();
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn times_that_were_advertised_are_used() {
    let mut table = Table::EMPTY;
    table.set_times(Duration::from_secs(10), Duration::from_millis(200));
    table.probe(at(0), A).unwrap();
    assert_eq!(run(&mut table, 0, 60_000), (std::vec![0, 200, 400], std::vec![600]));
    table.note_sent(at(60_000), A).unwrap();
    table.confirm(at(60_000), A);
    assert_eq!(table.deadline(), Expiry::at(at(70_000)));
    table.set_times(Duration::ZERO, Duration::ZERO);
    table.confirm(at(61_000), A);
    assert!(!table.deadline().is_due(at(61_000)));
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Sent(u8),
    Confirm(u8),
    Advertised(u8, bool, bool),
    Doubt(u8),
    Probe(u8),
    Wait(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let key = || 1_u8..5;
    prop_oneof![
        4 => key().prop_map(Step::Sent),
        1 => key().prop_map(Step::Confirm),
        1 => (key(), any::<bool>(), any::<bool>()).prop_map(|(k, s, r)| Step::Advertised(k, s, r)),
        1 => key().prop_map(Step::Doubt),
        1 => key().prop_map(Step::Probe),
        6 => prop_oneof![0_u32..3, 0_u32..1500, 0_u32..40_000].prop_map(Step::Wait),
    ]
}

/// A neighbour as RFC 4861's appendix C tells it, one millisecond at a time.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Naive {
    state: Reachability,
    /// Milliseconds since the state was entered, or since the last probe.
    age: u32,
    probes: u8,
    /// Milliseconds since a solicitation was sent; saturates.
    since_probe: u32,
}

impl Naive {
    const NEW: Naive = Naive { state: Reachability::Stale, age: 0, probes: 0, since_probe: 1_000_000 };

    fn enter(&mut self, state: Reachability) {
        (self.state, self.age, self.probes) = (state, 0, 0);
    }

    /// One millisecond: (sends, fails).
    fn tick(&mut self) -> (bool, bool) {
        self.age += 1;
        self.since_probe = self.since_probe.saturating_add(1);
        self.due()
    }

    fn due(&mut self) -> (bool, bool) {
        match self.state {
            Reachability::Reachable if self.age >= 30_000 => self.enter(Reachability::Stale),
            Reachability::Delay if self.age >= 5000 => self.enter(Reachability::Probe),
            _ => {}
        }
        if self.state == Reachability::Probe && self.since_probe >= 1000 {
            if self.probes >= 3 {
                return (false, true);
            }
            self.probes += 1;
            self.since_probe = 0;
            return (true, false);
        }
        (false, false)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    /// Against the naive model, one millisecond at a time; with as many rows
    /// as neighbours, so that none is evicted.
    #[test]
    fn unreachability_detection_agrees_with_a_naive_model(steps in prop::collection::vec(any_step(), 1..60)) {
        let mut table: Neighbors<u8, N<4>> = Neighbors::EMPTY;
        let mut model: BTreeMap<u8, Naive> = BTreeMap::new();
        let mut now = 0_u64;
        let mut last_probe: BTreeMap<u8, u64> = BTreeMap::new();
        for step in steps {
            let mut wait = 0;
            match step {
                Step::Sent(k) => {
                    table.note_sent(at(now), k).unwrap();
                    let row = model.entry(k).or_insert(Naive::NEW);
                    if row.state == Reachability::Stale { row.enter(Reachability::Delay); }
                }
                Step::Probe(k) => {
                    table.probe(at(now), k).unwrap();
                    let row = model.entry(k).or_insert(Naive::NEW);
                    if matches!(row.state, Reachability::Stale | Reachability::Delay) { row.enter(Reachability::Probe); }
                }
                Step::Confirm(k) => {
                    table.confirm(at(now), k);
                    if let Some(row) = model.get_mut(&k) { row.enter(Reachability::Reachable); }
                }
                Step::Advertised(k, solicited, router) => {
                    let known = table.advertised(at(now), k, solicited, router) != Advertised::Unknown;
                    prop_assert_eq!(known, model.contains_key(&k));
                    if let (Some(row), true) = (model.get_mut(&k), solicited) { row.enter(Reachability::Reachable); }
                }
                Step::Doubt(k) => {
                    table.doubt(at(now), k);
                    if let Some(row) = model.get_mut(&k) && row.state == Reachability::Reachable {
                        row.enter(Reachability::Stale);
                    }
                }
                Step::Wait(millis) => wait = millis,
            }
            for tick in 0..=wait {
                let mut expected = (Vec::new(), Vec::new());
                for (k, row) in &mut model {
                    let (sends, fails) = if tick == 0 { row.due() } else { row.tick() };
                    if sends { expected.0.push(*k); }
                    if fails { expected.1.push(*k); }
                }
                for k in &expected.1 { model.remove(k); }
                now += u64::from(tick > 0);
                let mut found = (Vec::new(), Vec::new());
                // A caller that sleeps until the deadline is enough.
                if table.deadline().is_due(at(now)) {
                    table.handle_timeout(at(now));
                    while let Some(k) = table.next_probe(at(now)) {
                        // NDP-68
                        let last = last_probe.insert(k, now);
                        prop_assert!(last.is_none_or(|last| now - last >= 1000));
                        table.probe_sent(at(now), k);
                        found.0.push(k);
                    }
                    while let Some(k) = table.next_failed() { found.1.push(k); }
                    prop_assert!(!table.deadline().is_due(at(now)));
                }
                found.0.sort_unstable();
                found.1.sort_unstable();
                prop_assert_eq!(found, expected, "at {} ms", now);
            }
            for k in 1..5 {
                prop_assert_eq!(table.reachability(k), model.get(&k).map(|row| row.state));
            }
        }
    }

    /// With too few rows nothing breaks, and no deadline survives.
    #[test]
    fn ndp_55_a_crowd_stays_bounded(steps in prop::collection::vec((1_u8..20, 0_u8..5, 0_u64..8000), 1..150)) {
        let mut table = Table::EMPTY;
        let mut now = 0;
        for (last, event, gap) in steps {
            now += gap;
            match event {
                0 | 1 => { let _ = table.note_sent(at(now), key(last)); }
                2 => table.confirm(at(now), key(last)),
                3 => { let _ = table.probe(at(now), key(last)); }
                _ => table.doubt(at(now), key(last)),
            }
            table.handle_timeout(at(now));
            while let Some(key) = table.next_probe(at(now)) { table.probe_sent(at(now), key); }
            while table.next_failed().is_some() {}
            prop_assert!(!table.deadline().is_due(at(now)));
            prop_assert!(table.iter().count() <= 3);
        }
    }
}
