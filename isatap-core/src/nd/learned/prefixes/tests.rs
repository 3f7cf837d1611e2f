#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use crate::capacity::N;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::vec::Vec;

type Table = Prefixes<N<4>>;

const HOUR: u32 = 3600;

fn at(secs: u32) -> Instant {
    Instant::from_secs(u64::from(secs))
}

fn prefix(text: &str) -> Ipv6Prefix {
    text.parse().unwrap()
}

fn pio(text: &str, flags: &str, valid: u32, preferred: u32) -> PrefixInformation {
    let flag = |letter, flag| if flags.contains(letter) { flag } else { PrefixFlags::empty() };
    PrefixInformation {
        prefix: prefix(text),
        flags: flag('L', PrefixFlags::ON_LINK) | flag('A', PrefixFlags::AUTONOMOUS),
        valid_lifetime: Lifetime::from_secs(valid),
        preferred_lifetime: Lifetime::from_secs(preferred),
    }
}

/// The state of an autoconfigured address. [RFC 4862 §5.5.4]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AddressState {
    Preferred,
    Deprecated,
    Absent,
}

/// `NDP-35 [RFC 4862 §5.5.4]`
fn address_state(row: &LearnedPrefix, now: Instant) -> AddressState {
    if row.valid.is_due(now) {
        AddressState::Absent
    } else if row.preferred.is_due(now) {
        AddressState::Deprecated
    } else {
        AddressState::Preferred
    }
}

fn only(table: &Table) -> LearnedPrefix {
    assert_eq!(table.iter().count(), 1);
    *table.iter().next().unwrap()
}

#[test]
fn ndp_34_the_two_hour_rule_of_the_vectors() {
    let now = at(1000);
    for (received, remaining, result) in [
        (100, 86400, 7200),
        (7201, 86400, 7201),
        (7200, 86400, 7200),
        (86400, 100, 86400),
        (0, 7200, 7200),
        (0, 7201, 7200),
        (50, 40, 50),
        (7200, 7200, 7200),
        (3600, 5000, 5000),
        (u32::MAX, 10, u32::MAX),
        (10, u32::MAX, 7200),
        (u32::MAX, u32::MAX, u32::MAX),
    ] {
        let valid = Expiry::after(now, Lifetime::from_secs(remaining));
        let after = two_hour_rule(now, valid, Lifetime::from_secs(received));
        assert_eq!(after.remaining(now), Lifetime::from_secs(result), "({received}, {remaining})");
        // The same through the table, with the prefix known before.
        let mut table = Table::EMPTY;
        table.learn(now, &pio("2001:db8:0:7::/64", "A", remaining, 0), 0).unwrap();
        table.learn(now, &pio("2001:db8:0:7::/64", "A", received, 0), 0).unwrap();
        assert_eq!(only(&table).valid_until(), Some(after));
    }
}

#[test]
fn ndp_34_the_preferred_lifetime_is_always_the_received_one() {
    let mut table = Table::EMPTY;
    table.learn(at(0), &pio("2001:db8::/64", "A", 24 * HOUR, 20 * HOUR), 0).unwrap();
    table.learn(at(1), &pio("2001:db8::/64", "A", 60, 30), 0).unwrap();
    assert_eq!(only(&table).preferred_until(), Some(Expiry::at(at(31))));
    assert_eq!(only(&table).valid_until(), Some(Expiry::at(at(7201))));
    table.learn(at(2), &pio("2001:db8::/64", "A", 0, 0), 0).unwrap();
    assert_eq!(only(&table).preferred_until(), None);
    assert_eq!(address_state(&only(&table), at(2)), AddressState::Deprecated);
}

#[test]
fn ndp_32_on_link_knows_no_two_hour_rule() {
    let mut table = Table::EMPTY;
    let address = "2001:db8::1".parse().unwrap();
    table.learn(at(0), &pio("2001:db8::/64", "L", 24 * HOUR, 0), 0).unwrap();
    assert!(table.is_on_link(&address));
    table.learn(at(1), &pio("2001:db8::/64", "L", 10, 0), 0).unwrap();
    assert_eq!(only(&table).on_link, Expiry::at(at(11)));
    // L = 0 says nothing, not even with a lifetime of zero.
    table.learn(at(2), &pio("2001:db8::/64", "", 0, 0), 0).unwrap();
    table.learn(at(2), &pio("2001:db8::/64", "A", 0, 0), 0).unwrap();
    assert!(table.is_on_link(&address));
    table.learn(at(3), &pio("2001:db8::/64", "L", 0, 0), 1).unwrap();
    assert!(!table.is_on_link(&address));
    // An address without an on-link prefix is off-link.
    table.learn(at(4), &pio("2001:db8::/64", "A", 100, 100), 0).unwrap();
    assert!(!table.is_on_link(&address));
    assert!(!table.is_on_link(&"fe80::1".parse().unwrap()));
}

#[test]
fn ndp_32_ndp_33_link_local_prefixes_are_ignored() {
    let mut table = Table::EMPTY;
    for text in ["fe80::/64", "fe80::/10", "febf:1::/64", "ff02::/64", "ff00::/8"] {
        table.learn(at(0), &pio(text, "LA", 100, 100), 0).unwrap();
        assert_eq!(table.iter().count(), 0, "{text}");
    }
    table.learn(at(0), &pio("fec0::/64", "LA", 100, 100), 0).unwrap();
    assert_eq!(table.iter().count(), 1);
}

#[test]
fn ndp_33_prefixes_that_make_no_address() {
    let state = |option: &PrefixInformation| {
        let mut table = Table::EMPTY;
        table.learn(at(0), option, 0).unwrap();
        (table.iter().count(), table.iter().next().map(|row| address_state(row, at(0))))
    };
    assert_eq!(state(&pio("2001:db8::/64", "A", 100, 100)), (1, Some(AddressState::Preferred)));
    assert_eq!(state(&pio("2001:db8::/64", "A", 100, 101)), (0, None));
    assert_eq!(state(&pio("2001:db8::/64", "A", 0, 0)), (0, None));
    assert_eq!(state(&pio("2001:db8::/48", "A", 100, 100)), (0, None));
    assert_eq!(state(&pio("2001:db8::/65", "A", 100, 100)), (0, None));
    // Still of use for what is on-link.
    assert_eq!(state(&pio("2001:db8::/48", "LA", 100, 100)), (1, Some(AddressState::Absent)));
    assert_eq!(state(&pio("2001:db8::/64", "LA", 100, 101)), (1, Some(AddressState::Absent)));
    assert_eq!(state(&pio("2001:db8::/64", "A", u32::MAX, u32::MAX)), (1, Some(AddressState::Preferred)));
}

#[test]
fn ndp_35_preferred_then_deprecated_then_gone() {
    let mut table = Table::EMPTY;
    table.learn(at(0), &pio("2001:db8::/64", "A", 100, 60), 0).unwrap();
    let row = only(&table);
    for (now, state) in [
        (0, AddressState::Preferred),
        (59, AddressState::Preferred),
        (60, AddressState::Deprecated),
        (99, AddressState::Deprecated),
        (100, AddressState::Absent),
    ] {
        assert_eq!(address_state(&row, at(now)), state);
        let mut table = table.clone();
        table.expire(at(now));
        assert_eq!(table.iter().next().map_or(AddressState::Absent, |row| address_state(row, at(now))), state);
    }
    assert_eq!(table.deadline(), Expiry::at(at(60)));
    table.expire(at(60));
    assert_eq!(table.deadline(), Expiry::at(at(100)));
    table.expire(at(100));
    assert_eq!(table.deadline(), Expiry::NEVER);
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn ndp_31_an_advertisement_without_the_prefix_changes_nothing_for_it() {
    let mut table = Table::EMPTY;
    table.learn(at(0), &pio("2001:db8:a::/64", "LA", 100, 100), 0).unwrap();
    let before = only(&table);
    table.learn(at(1), &pio("2001:db8:b::/64", "LA", 100, 100), 1).unwrap();
    assert_eq!(*table.iter().next().unwrap(), before);
}

#[test]
fn isa_23_what_only_a_vanished_router_said_goes_with_it() {
    let mut table = Table::EMPTY;
    table.learn(at(0), &pio("2001:db8:a::/64", "LA", 100, 100), 0).unwrap();
    table.learn(at(0), &pio("2001:db8:b::/64", "LA", 100, 100), 0).unwrap();
    table.learn(at(0), &pio("2001:db8:b::/64", "LA", 100, 100), 31).unwrap();
    table.learn(at(0), &pio("2001:db8:c::/64", "L", 100, 100), 0).unwrap();
    table.learn(at(0), &pio("2001:db8:c::/64", "A", 100, 100), 31).unwrap();
    table.forget_router(0);
    let left: Vec<_> = table
        .iter()
        .map(|row| (row.prefix(), row.is_on_link(), address_state(row, at(0)) == AddressState::Preferred))
        .collect();
    assert_eq!(left, [(prefix("2001:db8:b::/64"), true, true), (prefix("2001:db8:c::/64"), false, true)]);
    table.forget_router(31);
    assert_eq!(table.iter().count(), 0);
    // A slot that has another router now has said nothing.
    table.learn(at(0), &pio("2001:db8:a::/64", "LA", 100, 100), 5).unwrap();
    assert!(only(&table).on_link_sources.contains(5) && only(&table).autonomous_sources.contains(5));
    table.forget_router(0);
    assert_eq!(table.iter().count(), 1);
    table.forget_router(5);
    assert_eq!(table.iter().count(), 0);
}

#[test]
fn a_full_table_says_so_and_keeps_what_it_has() {
    let mut table = Table::EMPTY;
    for text in ["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64", "2001:db8:4::/64"] {
        table.learn(at(0), &pio(text, "L", 100, 100), 0).unwrap();
    }
    let full = Err(TableFull::new(crate::error::Table::Prefixes));
    assert_eq!(table.learn(at(0), &pio("2001:db8:5::/64", "L", 100, 100), 0), full);
    // Known prefixes and withdrawals need no room.
    assert_eq!(table.learn(at(0), &pio("2001:db8:1::/64", "L", 200, 100), 0), Ok(()));
    assert_eq!(table.learn(at(0), &pio("2001:db8:6::/64", "LA", 0, 0), 0), Ok(()));
    assert_eq!(table.iter().count(), 4);
}

#[test]
fn a_row_with_another_prefix_first_tells_of_the_old_one() {
    let mut table = Table::EMPTY;
    let texts = ["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64", "2001:db8:4::/64"];
    for text in texts {
        table.learn(at(0), &pio(text, "L", 100, 100), 0).unwrap();
        assert_eq!(table.poll_on_link(), Some((Change::Added, prefix(text))));
    }
    table.learn(at(1), &pio(texts[1], "L", 0, 0), 0).unwrap();
    table.learn(at(1), &pio("2001:db8:5::/64", "L", 100, 100), 0).unwrap();
    assert_eq!(table.poll_on_link(), Some((Change::Removed, prefix(texts[1]))));
    assert_eq!(table.poll_on_link(), Some((Change::Added, prefix("2001:db8:5::/64"))));
    assert_eq!(table.poll_on_link(), None);
}

#[test]
fn a_prefix_that_changed_rows_unseen_is_no_change() {
    let mut table = Table::EMPTY;
    let texts = ["2001:db8:1::/64", "2001:db8:2::/64", "2001:db8:3::/64", "2001:db8:4::/64"];
    for text in texts {
        table.learn(at(0), &pio(text, "L", 100, 100), 0).unwrap();
    }
    while table.poll_on_link().is_some() {}
    // 1 and 2 end; 5 takes the row of 1, then 1 comes back into the row of 2.
    table.learn(at(1), &pio(texts[0], "L", 0, 0), 0).unwrap();
    table.learn(at(1), &pio(texts[1], "L", 0, 0), 0).unwrap();
    table.learn(at(1), &pio("2001:db8:5::/64", "L", 100, 100), 0).unwrap();
    table.learn(at(1), &pio(texts[0], "L", 100, 100), 0).unwrap();
    let mut changes = Vec::new();
    while let Some(change) = table.poll_on_link() {
        changes.push(change);
    }
    changes.sort_by_key(|change| change.0 == Change::Added);
    assert_eq!(changes, [(Change::Removed, prefix(texts[1])), (Change::Added, prefix("2001:db8:5::/64"))]);
}

#[derive(Clone, Debug)]
enum Step {
    Learn { prefix: u8, on_link: bool, autonomous: bool, valid: u32, preferred: u32, router: u8 },
    Forget(u8),
    Poll,
    Wait(u32),
}

fn any_step() -> impl Strategy<Value = Step> {
    let secs = || prop_oneof![Just(0), 1_u32..20_000, Just(7200), Just(u32::MAX)];
    prop_oneof![
        6 => (0_u8..6, any::<bool>(), any::<bool>(), secs(), secs(), 0_u8..3).prop_map(
            |(prefix, on_link, autonomous, valid, preferred, router)| Step::Learn {
                prefix, on_link, autonomous, valid, preferred, router
            }
        ),
        1 => (0_u8..3).prop_map(Step::Forget),
        2 => Just(Step::Poll),
        3 => (0_u32..9000).prop_map(Step::Wait),
    ]
}

/// What the RFCs say of one prefix, in seconds and without a table.
#[derive(Clone, Debug, Default, PartialEq)]
struct Naive {
    on_link: Option<u64>,
    valid: Option<u64>,
    preferred: u64,
    on_link_by: BTreeSet<u8>,
    valid_by: BTreeSet<u8>,
}

impl Naive {
    fn after(now: u64, lifetime: u32) -> u64 {
        if lifetime == u32::MAX { u64::MAX } else { now + u64::from(lifetime) }
    }

    fn learn(&mut self, now: u64, on_link: bool, autonomous: bool, valid: u32, preferred: u32, router: u8) {
        if on_link {
            self.on_link = (valid > 0).then_some(Self::after(now, valid));
            if valid > 0 {
                self.on_link_by.insert(router);
            } else {
                self.on_link_by.clear();
            }
        }
        if autonomous && preferred <= valid {
            match self.valid {
                None if valid == 0 => return,
                None => {
                    self.valid = Some(Self::after(now, valid));
                    self.valid_by.clear();
                }
                Some(until) => {
                    let remaining = until - now;
                    let received = Self::after(now, valid) - now;
                    self.valid = Some(if received > 7200 || received > remaining {
                        Self::after(now, valid)
                    } else if remaining <= 7200 {
                        until
                    } else {
                        now + 7200
                    });
                }
            }
            self.preferred = Self::after(now, preferred);
            self.valid_by.insert(router);
        }
    }

    fn pass(&mut self, now: u64) {
        self.on_link = self.on_link.filter(|&until| until > now);
        self.valid = self.valid.filter(|&until| until > now);
        if self.on_link.is_none() {
            self.on_link_by.clear();
        }
        if self.valid.is_none() {
            self.valid_by.clear();
        }
    }

    fn forget(&mut self, router: u8) {
        if self.on_link_by.remove(&router) && self.on_link_by.is_empty() {
            self.on_link = None;
        }
        if self.valid_by.remove(&router) && self.valid_by.is_empty() {
            self.valid = None;
        }
    }
}

/// The prefixes of which one may go for a new one of `router`.
fn victims(model: &BTreeMap<u8, Naive>, router: u8) -> Vec<u8> {
    let routers = |row: &Naive| row.on_link_by.union(&row.valid_by).copied().collect::<BTreeSet<u8>>();
    let has = |router: u8| model.values().filter(|row| routers(row).contains(&router)).count();
    let weight = |row: &Naive| routers(row).into_iter().map(has).min().unwrap();
    let heaviest = model.values().map(weight).max().unwrap_or(0);
    let taken = model.iter().filter(|(_, row)| weight(row) == heaviest && heaviest >= has(router) + 2);
    taken.map(|(prefix, _)| *prefix).collect()
}

fn numbered(number: u8) -> Ipv6Prefix {
    Ipv6Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 0, u16::from(number), 0, 0, 0, 1), 64).unwrap()
}

proptest! {
    /// Against the naive model, with a table that sometimes is full; what
    /// was told always leads to what is.
    #[test]
    fn prefixes_agree_with_a_naive_model(steps in prop::collection::vec(any_step(), 1..80)) {
        let mut table = Table::EMPTY;
        let mut model: BTreeMap<u8, Naive> = BTreeMap::new();
        let mut told: BTreeSet<Ipv6Addr> = BTreeSet::new();
        let mut secs = 0;
        for step in steps {
            let now = Instant::from_secs(secs);
            match step {
                Step::Learn { prefix, on_link, autonomous, valid, preferred, router } => {
                    let letters = match (on_link, autonomous) {
                        (true, true) => "LA", (true, false) => "L", (false, true) => "A", (false, false) => "",
                    };
                    let option = PrefixInformation { prefix: numbered(prefix), ..pio("::/0", letters, valid, preferred) };
                    let mut candidate = model.clone();
                    candidate.entry(prefix).or_default().learn(secs, on_link, autonomous, valid, preferred, router);
                    candidate.retain(|_, row| row.on_link.is_some() || row.valid.is_some());
                    let victims = victims(&model, router);
                    let is_full = candidate.len() > 4;
                    match table.learn_displacing(now, &option, router, true) {
                        Ok(None) => prop_assert!(!is_full),
                        Ok(Some(gone)) => {
                            let gone = gone.prefix().address().segments()[3] as u8;
                            prop_assert!(is_full && victims.contains(&gone), "{gone} of {victims:?}");
                            candidate.remove(&gone);
                        }
                        Err(_) => {
                            prop_assert!(is_full && victims.is_empty(), "{victims:?}");
                            candidate.remove(&prefix);
                        }
                    }
                    model = candidate;
                }
                Step::Forget(router) => {
                    table.forget_router(router);
                    model.values_mut().for_each(|row| row.forget(router));
                }
                Step::Poll => {
                    while let Some((change, prefix)) = table.poll_on_link() {
                        let new = match change {
                            Change::Added => told.insert(prefix.address()),
                            Change::Removed => told.remove(&prefix.address()),
                        };
                        prop_assert!(new, "{change:?} {prefix} twice");
                    }
                    let on_link: BTreeSet<_> =
                        table.iter().filter(|row| row.is_on_link()).map(|row| row.prefix().address()).collect();
                    prop_assert_eq!(&told, &on_link);
                }
                Step::Wait(more) => {
                    secs += u64::from(more);
                    table.expire(Instant::from_secs(secs));
                    prop_assert!(!table.deadline().is_due(Instant::from_secs(secs)));
                    model.values_mut().for_each(|row| row.pass(secs));
                }
            }
            model.retain(|_, row| row.on_link.is_some() || row.valid.is_some());
            let now = Instant::from_secs(secs);
            prop_assert_eq!(table.iter().count(), model.len());
            for row in table.iter() {
                let number = row.prefix().address().segments()[3] as u8;
                let expected = &model[&number];
                let instant = |secs: u64| if secs == u64::MAX { Expiry::NEVER } else { Expiry::at(Instant::from_secs(secs)) };
                prop_assert_eq!(row.is_on_link().then_some(row.on_link), expected.on_link.map(instant));
                prop_assert_eq!(row.valid_until(), expected.valid.map(instant));
                let state = match expected.valid {
                    None => AddressState::Absent,
                    Some(_) if expected.preferred > secs => AddressState::Preferred,
                    Some(_) => AddressState::Deprecated,
                };
                prop_assert_eq!(address_state(row, now), state);
            }
        }
    }
}
