#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use crate::error::{Table, TableFull};
use crate::time::Instant;
use std::collections::BTreeMap;
use std::string::ToString;
use std::vec::Vec;

use proptest::prelude::*;

type Small = RouteTable<[Slot; 8]>;

// A table may be a static.
static TABLE: Small = Small::new();

const ISATAP: LinkId = LinkId(0);
const LAN: LinkId = LinkId(1);

fn prefix(text: &str) -> Ipv6Prefix {
    text.parse().unwrap()
}

fn address(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn advertised(destinations: &str, next_hop: &str) -> Route {
    Route::via(prefix(destinations), ISATAP, address(next_hop), Origin::Advertised)
}

fn on_link(destinations: &str, link: LinkId) -> Route {
    Route::on_link(prefix(destinations), link, Origin::OnLink)
}

fn manual(destinations: &str, link: LinkId, next_hop: &str) -> Route {
    Route::via(prefix(destinations), link, address(next_hop), Origin::Manual)
}

const R1: &str = "fe80::5efe:10.0.0.1";
const R2: &str = "fe80::5efe:10.0.0.2";
const R3: &str = "fe80::5efe:10.0.0.3";
const FAR: &str = "2001:db8:ffff::1";

fn next_hop(table: &Small, destination: &str) -> Option<Ipv6Addr> {
    let destination = address(destination);
    table.lookup(&destination).map(|route| route.next_hop_for(&destination))
}

fn changes(table: &mut Small) -> Vec<(Change, RouteKey)> {
    std::iter::from_fn(|| table.poll_change()).map(|(change, route)| (change, route.key())).collect()
}

#[test]
fn rte_1_the_longest_prefix_then_preference_then_metric_then_the_first() {
    assert_eq!(TABLE.lookup(&address(FAR)), None);
    let mut table: RouteTable<[Slot; 15]> = RouteTable::new();
    let next_hop = |table: &RouteTable<_>, destination| {
        let destination = address(destination);
        table.lookup(&destination).map(|route| route.next_hop_for(&destination))
    };
    table.insert(advertised("::/0", R1)).unwrap();
    table.insert(Route { preference: Preference::High, ..advertised("2001:db8::/32", R1) }).unwrap();
    table.insert(Route { metric: 900, preference: Preference::Low, ..advertised("2001:db8::/48", R2) }).unwrap();
    assert_eq!(next_hop(&table, "2001:db8::1"), Some(address(R2)), "length counts before all else");
    assert_eq!(next_hop(&table, "2001:db8:1::1"), Some(address(R1)));

    table.insert(Route { metric: 1_000, ..advertised("2001:db8::/48", R1) }).unwrap();
    assert_eq!(next_hop(&table, "2001:db8::1"), Some(address(R1)), "preference counts before the metric");
    table.insert(Route { metric: 999, ..advertised("2001:db8::/48", R3) }).unwrap();
    assert_eq!(next_hop(&table, "2001:db8::1"), Some(address(R3)), "the lower metric");
    table.insert(Route { metric: 999, ..advertised("2001:db8::/48", "fe80::9") }).unwrap();
    assert_eq!(next_hop(&table, "2001:db8::1"), Some(address(R3)), "the first of equals");
    // Replacing a route does not make it the last of its equals.
    table.insert(Route { metric: 999, publish: true, ..advertised("2001:db8::/48", R3) }).unwrap();
    assert_eq!(next_hop(&table, "2001:db8::1"), Some(address(R3)));
}

#[test]
fn rte_1_a_manual_route_of_lower_metric_wins_over_the_interfaces_own() {
    // Walk 6: the server of the seed reaches the ISATAP prefix by its
    // neighbour on the LAN, not by its own ISATAP interface.
    let mut table = Small::new();
    table.set_interface_metric(ISATAP, 256).unwrap();
    table.insert(on_link("fd9c:30c:2da4:1::/64", ISATAP)).unwrap();
    let key = Route { metric: 200, ..manual("fd9c:30c:2da4:1::/64", LAN, "fd9c:30c:2da4:111::31") };
    table.insert(key).unwrap();
    assert_eq!(next_hop(&table, "fd9c:30c:2da4:1::5efe:10.0.0.9"), Some(address("fd9c:30c:2da4:111::31")));
    // The LAN's own metric counts as well.
    table.set_interface_metric(LAN, 57).unwrap();
    assert_eq!(next_hop(&table, "fd9c:30c:2da4:1::5efe:10.0.0.9"), Some(address("fd9c:30c:2da4:1::5efe:10.0.0.9")));
    assert_eq!(table.set_interface_metric(LinkId(8), 1), Err(TableFull::new(Table::Links)));
}

#[test]
fn rte_1_an_advertisement_does_not_touch_a_manual_route() {
    let mut table = Small::new();
    let by_hand = manual("::/0", ISATAP, R1);
    table.insert(by_hand).unwrap();
    table.insert(advertised("::/0", R1)).unwrap();
    assert_eq!(table.len(), 2);
    table.remove(&advertised("::/0", R1).key());
    assert_eq!(table.iter().collect::<Vec<_>>(), [&by_hand]);
}

#[test]
fn rte_2_on_link_is_its_own_next_hop() {
    let mut table = Small::new();
    table.insert(on_link("2001:db8:0:7::/64", ISATAP)).unwrap();
    table.insert(advertised("::/0", R1)).unwrap();
    assert_eq!(next_hop(&table, "2001:db8:0:7::5efe:10.0.0.9"), Some(address("2001:db8:0:7::5efe:10.0.0.9")));
    assert_eq!(next_hop(&table, FAR), Some(address(R1)));
}

#[test]
fn rte_5_no_route_is_an_answer() {
    let mut table = Small::new();
    assert_eq!(next_hop(&table, FAR), None);
    table.insert(on_link("2001:db8:0:7::/64", ISATAP)).unwrap();
    assert_eq!(next_hop(&table, FAR), None);
    assert_eq!(table.lookup_on(Some(LAN), &address("2001:db8:0:7::1")), None);
}

#[test]
fn s6r_20_rte_10_a_null_route_is_found_by_whatever_link_a_packet_came() {
    let mut table = Small::new();
    table.insert(on_link("2001:db8::/32", ISATAP)).unwrap();
    table.insert(Route::null("2001:db8:7::/48".parse().unwrap(), Origin::Automatic)).unwrap();
    table.insert(on_link("2001:db8:7:1::/64", LAN)).unwrap();
    let link_of = |by: Option<LinkId>, text: &str| table.lookup_on(by, &address(text)).map(|found| found.route.link);
    for by in [None, Some(ISATAP), Some(LAN)] {
        assert_eq!(link_of(by, "2001:db8:7:2::1"), Some(LinkId::NULL), "{by:?}");
    }
    // What leads on is found before, on its own link.
    assert_eq!(link_of(None, "2001:db8:7:1::1"), Some(LAN));
    assert_eq!(link_of(Some(LAN), "2001:db8:7:1::1"), Some(LAN));
    assert_eq!(link_of(Some(ISATAP), "2001:db8:7:1::1"), Some(LinkId::NULL));
    assert_eq!(link_of(Some(ISATAP), "2001:db8:8::1"), Some(ISATAP));
}

#[test]
fn rte_6_only_published_routes_are_published() {
    let mut table = Small::new();
    let published = Route { publish: true, ..on_link("2001:db8:0:7::/64", ISATAP) };
    table.insert(published).unwrap();
    table.insert(advertised("::/0", R1)).unwrap();
    assert_eq!(table.published().collect::<Vec<_>>(), [&published]);
}

#[test]
fn rte_8_routes_go_with_their_interface_and_their_lifetime() {
    let mut table = Small::new();
    table.insert(on_link("fe80::/64", ISATAP)).unwrap();
    table.insert(on_link("fe80::/64", LAN)).unwrap();
    table.insert(Route { expires: Expiry::at(Instant::from_secs(30)), ..advertised("::/0", R1) }).unwrap();
    table.insert(Route { expires: Expiry::at(Instant::from_secs(20)), ..advertised("::/0", R2) }).unwrap();
    assert_eq!(table.deadline(), Expiry::at(Instant::from_secs(20)));
    assert_eq!(table.expire(Instant::from_micros(19_999_999)), 0);
    assert_eq!(table.expire(Instant::from_secs(20)), 1);
    assert_eq!(table.deadline(), Expiry::at(Instant::from_secs(30)));
    assert_eq!(table.remove_next_hop(ISATAP, &address(R2)), 0);
    assert_eq!(table.remove_next_hop(LAN, &address(R1)), 0);
    assert_eq!(table.remove_next_hop(ISATAP, &address(R1)), 1);
    assert_eq!(table.deadline(), Expiry::NEVER);
    assert_eq!(table.remove_link(ISATAP), 1);
    assert_eq!(table.iter().collect::<Vec<_>>(), [&on_link("fe80::/64", LAN)]);
}

#[test]
fn rte_15_several_routers_by_reachability_preference_and_metric() {
    let mut table = Small::new();
    table.insert(Route { metric: 5, ..advertised("::/0", R1) }).unwrap();
    table.insert(Route { metric: 9, preference: Preference::High, ..advertised("::/0", R2) }).unwrap();
    table.insert(Route { metric: 1, ..advertised("::/0", R3) }).unwrap();
    assert_eq!(next_hop(&table, FAR), Some(address(R2)));
    assert!(table.set_unreachable(ISATAP, &address(R2), true));
    assert_eq!(next_hop(&table, FAR), Some(address(R3)));
    assert!(table.set_unreachable(ISATAP, &address(R3), true));
    assert_eq!(next_hop(&table, FAR), Some(address(R1)));
    assert!(table.set_unreachable(ISATAP, &address(R2), false));
    assert!(!table.set_unreachable(ISATAP, &address(R2), false));
    assert_eq!(next_hop(&table, FAR), Some(address(R2)));
}

#[test]
fn rte_16_the_zone_chooses_among_link_local_prefixes() {
    let mut table = Small::new();
    table.insert(on_link("fe80::/64", ISATAP)).unwrap();
    table.insert(on_link("fe80::/64", LAN)).unwrap();
    let destination = address("fe80::5efe:192.168.41.30");
    for link in [ISATAP, LAN] {
        assert_eq!(table.lookup_on(Some(link), &destination).unwrap().route.link, link);
    }
    assert_eq!(table.lookup_on(None, &destination).unwrap().route.link, ISATAP, "the first is the default zone");
    assert_eq!(table.lookup_on(Some(LinkId(2)), &destination), None);
}

#[test]
fn ndp_36_one_row_a_prefix_and_next_hop() {
    let mut table = Small::new();
    // The header first, then an option for ::/0: the option's preference and
    // lifetime hold.
    table.insert(Route { expires: Expiry::at(Instant::from_secs(1_800)), ..advertised("::/0", R1) }).unwrap();
    let before = table.generation();
    let option =
        Route { preference: Preference::Low, expires: Expiry::at(Instant::from_secs(60)), ..advertised("::/0", R1) };
    table.insert(option).unwrap();
    assert_eq!(table.iter().collect::<Vec<_>>(), [&option]);
    assert_ne!(table.generation(), before, "what was remembered of lookups is void");
    // Only the lifetime: nothing that a lookup would notice.
    let before = table.generation();
    table.insert(Route { expires: Expiry::NEVER, ..option }).unwrap();
    assert_eq!(table.generation(), before);
    assert_eq!(table.deadline(), Expiry::NEVER);
    table.insert(advertised("::/0", R2)).unwrap();
    assert_eq!(table.len(), 2);
    assert_ne!(table.generation(), before);
}

#[test]
fn ndp_37_unreachable_routers_are_skipped_unless_there_is_no_other() {
    let mut table = Small::new();
    table.insert(advertised("2001:db8::/32", R1)).unwrap();
    table.insert(advertised("::/0", R2)).unwrap();
    let found = |table: &Small| {
        let lookup = table.lookup_on(None, &address("2001:db8::1")).unwrap();
        assert_eq!(table.lookup(&address("2001:db8::1")), Some(lookup.route));
        (lookup.route.next_hop, lookup.avoided.map(|route| route.next_hop))
    };
    let (r1, r2) = (Some(address(R1)), Some(address(R2)));
    assert_eq!(found(&table), (r1, None));
    table.set_unreachable(ISATAP, &address(R1), true);
    assert!(table.is_unreachable(ISATAP, &address(R1)));
    assert_eq!(found(&table), (r2, Some(r1)), "the shorter prefix, and R1 is worth a probe");
    // What would not have used R1 gives no reason to probe it.
    assert_eq!(table.lookup_on(None, &address("3fff::1")).unwrap().avoided, None);
    table.set_unreachable(ISATAP, &address(R2), true);
    assert_eq!(found(&table), (r1, None), "all are unreachable: the best anyway");
    table.set_unreachable(ISATAP, &address(R1), false);
    assert_eq!(found(&table), (r1, None), "R2 is unreachable, but no better");
    assert!(!table.set_unreachable(LAN, &address(R1), true), "another link's neighbour");
    // A later route by the same router does not bring it back.
    table.insert(Route { preference: Preference::High, ..advertised("2001:db8::/32", R2) }).unwrap();
    assert_eq!(found(&table), (r1, Some(r2)));
}

#[test]
fn ndp_39_unreachable_equals_take_turns() {
    let mut table = Small::new();
    for router in [R1, R2, R3] {
        table.insert(advertised("::/0", router)).unwrap();
        table.set_unreachable(ISATAP, &address(router), true);
    }
    let mut used = Vec::new();
    for _ in 0..6 {
        let route = *table.lookup(&address(FAR)).unwrap();
        assert!(table.rotate(&route.key()));
        used.push(route.next_hop.unwrap());
    }
    assert_eq!(used, [R1, R2, R3, R1, R2, R3].map(address));
    assert!(!table.rotate(&advertised("::/0", "fe80::9").key()));
    // A reachable one is before all of them.
    table.set_unreachable(ISATAP, &address(R2), false);
    assert_eq!(next_hop(&table, FAR), Some(address(R2)));
}

#[test]
fn what_comes_and_goes_between_polls_is_silence() {
    let mut table = Small::new();
    let route = advertised("::/0", R1);
    table.insert(route).unwrap();
    table.remove(&route.key());
    assert_eq!(changes(&mut table), []);

    table.insert(route).unwrap();
    assert_eq!(changes(&mut table), [(Change::Added, route.key())]);
    table.remove(&route.key());
    assert_eq!(table.lookup(&address(FAR)), None);
    table.insert(route).unwrap();
    assert_eq!(changes(&mut table), [], "removed and added again as it was");

    table.remove(&route.key());
    table.insert(Route { metric: 7, ..route }).unwrap();
    assert_eq!(changes(&mut table), [(Change::Changed, route.key())]);
    table.insert(Route { metric: 9, ..route }).unwrap();
    table.insert(Route { metric: 7, ..route }).unwrap();
    assert_eq!(changes(&mut table), [], "changed and changed back");

    // Never told: what was made by the one who would be told.
    table.insert(manual("::/0", LAN, R1)).unwrap();
    table.insert(Route { origin: Origin::Mirrored, ..manual("::/0", LAN, R2) }).unwrap();
    assert_eq!(changes(&mut table), []);
    table.remove_link(LAN);
    assert_eq!(changes(&mut table), []);
}

#[test]
fn a_removal_is_told_with_the_metric_that_was_told() {
    let mut table = Small::new();
    table.set_interface_metric(ISATAP, 100).unwrap();
    let route = Route { metric: 5, ..advertised("::/0", R1) };
    table.insert(route).unwrap();
    assert_eq!(table.poll_change(), Some((Change::Added, Route { metric: 105, ..route })));
    table.insert(Route { metric: 6, preference: Preference::High, ..route }).unwrap();
    table.remove(&route.key());
    assert_eq!(table.poll_change(), Some((Change::Removed, Route { metric: 105, ..route })));
    assert_eq!(table.poll_change(), None);

    table.insert(route).unwrap();
    table.poll_change();
    table.set_interface_metric(ISATAP, 200).unwrap();
    assert_eq!(table.poll_change(), Some((Change::Changed, Route { metric: 205, ..route })));
    assert_eq!(table.poll_change(), None);
}

#[test]
fn rows_whose_removal_is_not_yet_told_are_not_free() {
    let mut table: RouteTable<[Slot; 1]> = RouteTable::new();
    let (first, second) = (advertised("::/0", R1), advertised("::/0", R2));
    table.insert(first).unwrap();
    assert_eq!(table.insert(second), Err(TableFull::new(Table::Routes)));
    table.poll_change();
    table.remove(&first.key());
    assert_eq!(table.insert(second), Err(TableFull::new(Table::Routes)));
    assert!(table.is_empty());
    table.insert(first).unwrap();
    table.remove(&first.key());
    assert_eq!(table.poll_change(), Some((Change::Removed, first)));
    table.insert(second).unwrap();
    assert_eq!(table.poll_change(), Some((Change::Added, second)));
}

#[test]
fn a_table_without_rows_refuses_and_finds_nothing() {
    let mut table: RouteTable<[Slot; 0]> = RouteTable::new();
    assert_eq!(table.insert(advertised("::/0", R1)), Err(TableFull::new(Table::Routes)));
    assert_eq!(table.lookup(&address(FAR)), None);
    assert_eq!(table.lookup_on(Some(ISATAP), &address(FAR)), None);
    assert_eq!(table.poll_change(), None);
}

#[test]
fn routes_read_like_routes() {
    let route =
        Route { metric: 5, preference: Preference::High, publish: true, ..advertised("2001:db8::/32", "fe80::1") };
    assert_eq!(route.to_string(), "2001:db8::/32 via fe80::1 link 0 metric 5 advertised preference high published");
    assert_eq!(on_link("fe80::/64", LAN).to_string(), "fe80::/64 on-link link 1 metric 0 on-link");
    assert!(Preference::Low < Preference::Medium && Preference::Medium < Preference::High);
}

/// The same table, written to be read: a bag of rows that is searched whole,
/// and what the operating system was told beside it.
#[derive(Default)]
struct Model {
    rows: Vec<ModelRow>,
    added: u64,
    metrics: BTreeMap<u8, u32>,
    told: BTreeMap<Key, (u32, Preference)>,
    capacity: usize,
}

#[derive(Clone, Copy)]
struct ModelRow {
    route: Route,
    added: u64,
    unreachable: bool,
}

type Key = (u128, u8, u8, Option<Ipv6Addr>, Origin);

fn model_key(route: &Route) -> Key {
    (route.prefix.address().to_bits(), route.prefix.length(), route.link.0, route.next_hop, route.origin)
}

impl Model {
    fn matches(route: &Route, destination: Ipv6Addr) -> bool {
        let differing = destination.to_bits() ^ route.prefix.address().to_bits();
        differing.leading_zeros() >= u32::from(route.prefix.length())
    }

    fn metric(&self, route: &Route) -> u32 {
        route.metric.saturating_add(*self.metrics.get(&route.link.0).unwrap_or(&0))
    }

    fn best(&self, link: Option<LinkId>, destination: Ipv6Addr, reachable_only: bool) -> Option<ModelRow> {
        self.rows
            .iter()
            .filter(|row| Self::matches(&row.route, destination))
            .filter(|row| link.is_none() || link == Some(row.route.link) || row.route.link == LinkId::NULL)
            .filter(|row| !(reachable_only && row.unreachable))
            .max_by_key(|row| {
                let route = &row.route;
                (route.prefix.length(), route.preference, !self.metric(route), !row.added)
            })
            .copied()
    }

    fn wanted(&self) -> BTreeMap<Key, (u32, Preference)> {
        let told = |row: &&ModelRow| row.route.origin != Origin::Manual && row.route.origin != Origin::Mirrored;
        self.rows
            .iter()
            .filter(told)
            .map(|row| (model_key(&row.route), (self.metric(&row.route), row.route.preference)))
            .collect()
    }

    /// Whether the table did right with a new route, and does the same.
    fn insert(&mut self, route: Route, outcome: Result<Option<Route>, TableFull>) {
        let key = model_key(&route);
        if let Some(row) = self.rows.iter_mut().find(|row| model_key(&row.route) == key) {
            row.route = route;
            assert_eq!(outcome, Ok(None), "it has its row");
            return;
        }
        match (self.fate(&route), outcome) {
            (Fate::Fits, Ok(None)) => {}
            (Fate::Takes(those), Ok(Some(displaced))) => {
                assert!(those.contains(&model_key(&displaced)), "{displaced} must not go for {route}");
                self.rows.retain(|row| model_key(&row.route) != model_key(&displaced));
            }
            (Fate::Refused, Err(full)) => {
                assert_eq!(full, TableFull::new(Table::Routes));
                return;
            }
            (fate, outcome) => panic!("{route}: {outcome:?} where {fate:?} is right"),
        }
        let marked = |row: &ModelRow| row.unreachable && row.route.link == route.link;
        let unreachable =
            route.next_hop.is_some() && self.rows.iter().any(|row| marked(row) && row.route.next_hop == route.next_hop);
        self.rows.push(ModelRow { route, added: self.added, unreachable });
        self.added += 1;
    }

    fn fate(&self, route: &Route) -> Fate {
        let of = |kinds: &[Kind]| self.rows.iter().filter(|row| kinds.contains(&kind(&row.route))).collect::<Vec<_>>();
        let wanted: Vec<Key> = self.rows.iter().map(|row| model_key(&row.route)).collect();
        let ghosts = self.told.keys().filter(|told| !wanted.contains(told)).count();
        let no_place = wanted.len() + ghosts >= self.capacity && !self.told.contains_key(&model_key(route));
        let third = std::cmp::max(self.capacity / 3, 1);
        let (same, over): (&[Kind], bool) = match kind(route) {
            Kind::Kept => (&[], false),
            Kind::Mirrored => (&[Kind::Mirrored], of(&[Kind::Mirrored]).len() >= third),
            learned => (
                if learned == Kind::Learned { &[Kind::Redirected, Kind::Learned] } else { &[Kind::Redirected] },
                of(&[Kind::Redirected, Kind::Learned]).len() >= third,
            ),
        };
        if !no_place && !over {
            return Fate::Fits;
        }
        let those = match kind(route) {
            Kind::Kept => &[Kind::Redirected, Kind::Learned, Kind::Mirrored][..],
            _ => same,
        };
        for kind_of in those {
            let mut rows = of(&[*kind_of]);
            rows.retain(|row| !no_place || !self.told.contains_key(&model_key(&row.route)));
            if kind(route) != Kind::Kept && *kind_of != Kind::Redirected {
                let all = of(&[*kind_of]);
                let of_link = |link| all.iter().filter(|row| row.route.link == link).count();
                let of_router = |(link, low): (LinkId, _)| {
                    all.iter().filter(|row| row.route.link == link && low_bits(&row.route) == low).count()
                };
                let most = rows.iter().map(|row| of_link(row.route.link)).max().unwrap_or(0);
                let from_other = most > of_link(route.link) + 1;
                rows.retain(
                    |row| if from_other { of_link(row.route.link) == most } else { row.route.link == route.link },
                );
                let who = |row: &ModelRow| (row.route.link, low_bits(&row.route));
                let here = rows.clone();
                let most = |link| {
                    let of_it = here.iter().filter(|row| row.route.link == link);
                    of_it.map(|row| of_router(who(row))).max().unwrap_or(0)
                };
                let own = of_router((route.link, low_bits(route)));
                let heaviest = |row: &&ModelRow| of_router(who(row)) == most(row.route.link);
                let kept: Vec<&ModelRow> = rows
                    .iter()
                    .copied()
                    .filter(|row| heaviest(row) && (from_other || of_router(who(row)) > own + 1))
                    .collect();
                rows = kept;
            }
            if !rows.is_empty() {
                return Fate::Takes(rows.iter().map(|row| model_key(&row.route)).collect());
            }
        }
        Fate::Refused
    }
}

/// What becomes of a new route: it takes the row of one of those.
#[derive(Debug)]
enum Fate {
    Fits,
    Takes(Vec<Key>),
    Refused,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Kept,
    Mirrored,
    Learned,
    Redirected,
}

fn kind(route: &Route) -> Kind {
    match route.origin {
        Origin::Mirrored => Kind::Mirrored,
        Origin::Redirected => Kind::Redirected,
        Origin::Advertised if route.prefix.length() > 0 => Kind::Learned,
        _ => Kind::Kept,
    }
}

/// The routers of a link are told apart by these; mirrored routes by none.
fn low_bits(route: &Route) -> Option<u128> {
    let next_hop = if route.origin == Origin::Mirrored { None } else { route.next_hop };
    next_hop.map(|next_hop| next_hop.to_bits() & 0xffff_ffff)
}

#[derive(Clone, Debug)]
enum Op {
    Insert(Route),
    Remove(Route),
    RemoveLink(LinkId),
    RemoveNextHop(LinkId, Ipv6Addr),
    Expire(u64),
    SetUnreachable(LinkId, Ipv6Addr, bool),
    SetMetric(LinkId, u32),
    Rotate(Route),
    PollOne,
    PollAll,
    HoldIndex,
    ReleaseIndex,
}

fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    // Few of them, close together: they must collide.
    prop_oneof![
        (0_u128..4, 0_u128..4).prop_map(|(net, host)| (0x2001_0db8 << 96 | net << 64 | host).into()),
        (0_u128..3).prop_map(|host| (0xfe80 << 112 | host).into()),
        any::<u128>().prop_map(Ipv6Addr::from),
    ]
}

fn any_link() -> impl Strategy<Value = LinkId> {
    prop_oneof![6 => (0_u8..3).prop_map(LinkId), 1 => Just(LinkId::NULL)]
}

fn any_next_hop() -> impl Strategy<Value = Ipv6Addr> {
    (1_u128..4).prop_map(|host| (0xfe80 << 112 | host).into())
}

fn any_route() -> impl Strategy<Value = Route> {
    let length = prop::sample::select(std::vec![0_u8, 1, 16, 32, 63, 64, 65, 96, 127, 128]);
    let origin = prop::sample::select(std::vec![
        Origin::Manual,
        Origin::Advertised,
        Origin::OnLink,
        Origin::Mirrored,
        Origin::Redirected,
        // Most of all.
        Origin::Advertised,
    ]);
    let preference = prop::sample::select(std::vec![Preference::Low, Preference::Medium, Preference::High]);
    let metric = prop_oneof![0_u32..3, Just(u32::MAX)];
    let expires = prop_oneof![Just(Expiry::NEVER), (0_u64..40).prop_map(|at| Expiry::at(Instant::from_secs(at)))];
    (any_address(), length, any_link(), prop::option::of(any_next_hop()), origin, preference, metric, expires).prop_map(
        |(address, length, link, next_hop, origin, preference, metric, expires)| Route {
            prefix: Ipv6Prefix::new(address, length).unwrap(),
            link,
            next_hop,
            preference,
            metric,
            publish: metric == 1,
            origin,
            expires,
        },
    )
}

fn any_op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => any_route().prop_map(Op::Insert),
        3 => any_route().prop_map(Op::Remove),
        1 => any_link().prop_map(Op::RemoveLink),
        1 => (any_link(), any_next_hop()).prop_map(|(link, next_hop)| Op::RemoveNextHop(link, next_hop)),
        1 => (0_u64..40).prop_map(Op::Expire),
        3 => (any_link(), any_next_hop(), any::<bool>()).prop_map(|(link, next_hop, mark)| Op::SetUnreachable(link, next_hop, mark)),
        1 => ((0_u8..3).prop_map(LinkId), 0_u32..3).prop_map(|(link, metric)| Op::SetMetric(link, metric)),
        2 => any_route().prop_map(Op::Rotate),
        5 => prop::sample::select(std::vec![
            Op::PollOne,
            Op::PollOne,
            Op::PollAll,
            Op::HoldIndex,
            Op::ReleaseIndex
        ]),
    ]
}

/// Applies one poll to what the model's operating system knows.
fn poll(table: &mut RouteTable<impl crate::capacity::Storage<Slot>>, model: &mut Model) -> bool {
    let Some((change, route)) = table.poll_change() else {
        assert_eq!(model.told, model.wanted());
        return false;
    };
    let (key, values) = (model_key(&route), (route.metric, route.preference));
    match change {
        Change::Added => assert_eq!(model.told.insert(key, values), None),
        Change::Changed => assert!(model.told.insert(key, values).is_some_and(|old| old != values)),
        Change::Removed => assert_eq!(model.told.remove(&key), Some(values)),
    }
    true
}

/// Keys of earlier inserts are what removals and rotations are about; a fresh
/// random one would hardly ever be there.
fn known(model: &Model, route: &Route) -> Route {
    let at = usize::try_from(route.prefix.address().to_bits() % 1_000).unwrap();
    if model.rows.is_empty() { *route } else { model.rows[at % model.rows.len()].route }
}

fn play<const N: usize>(ops: &[Op], destinations: &[Ipv6Addr]) {
    let mut table: RouteTable<[Slot; N]> = RouteTable::new();
    let mut model = Model { capacity: N, ..Model::default() };
    for op in ops {
        match op {
            Op::Insert(route) => {
                let inserted = table.insert_displacing(*route, true);
                model.insert(*route, inserted.map(|(_, displaced)| displaced));
                if let Ok((id, _)) = inserted {
                    assert_eq!(table.get(id), Some(route));
                }
            }
            Op::Remove(route) => {
                let route = known(&model, route);
                let there = model.rows.iter().position(|row| model_key(&row.route) == model_key(&route));
                assert_eq!(table.remove(&route.key()), there.map(|at| model.rows.remove(at).route));
            }
            Op::RemoveLink(link) => {
                table.remove_link(*link);
                model.rows.retain(|row| row.route.link != *link);
            }
            Op::RemoveNextHop(link, next_hop) => {
                table.remove_next_hop(*link, next_hop);
                model.rows.retain(|row| row.route.link != *link || row.route.next_hop != Some(*next_hop));
            }
            Op::Expire(secs) => {
                let now = Instant::from_secs(*secs);
                let before = model.rows.len();
                model.rows.retain(|row| row.route.expires.instant().is_none_or(|end| end > now));
                assert_eq!(table.expire(now), before - model.rows.len());
                assert!(!table.deadline().is_due(now), "no deadline survives");
            }
            Op::SetUnreachable(link, next_hop, mark) => {
                table.set_unreachable(*link, next_hop, *mark);
                for row in &mut model.rows {
                    if row.route.link == *link && row.route.next_hop == Some(*next_hop) {
                        row.unreachable = *mark;
                    }
                }
            }
            Op::SetMetric(link, metric) => {
                table.set_interface_metric(*link, *metric).unwrap();
                model.metrics.insert(link.0, *metric);
            }
            Op::Rotate(route) => {
                let route = known(&model, route);
                let there = model.rows.iter_mut().find(|row| model_key(&row.route) == model_key(&route));
                assert_eq!(table.rotate(&route.key()), there.is_some());
                if let Some(row) = there {
                    row.added = model.added;
                    model.added += 1;
                }
            }
            Op::PollOne => drop(poll(&mut table, &mut model)),
            Op::PollAll => while poll(&mut table, &mut model) {},
            Op::HoldIndex => table.hold_index(),
            Op::ReleaseIndex => table.release_index(),
        }
        check(&table, &model, destinations);
    }
    while poll(&mut table, &mut model) {}
}

fn insert_all<const N: usize>(routes: &[Route], destinations: &[Ipv6Addr]) {
    let mut table: RouteTable<[Slot; N]> = RouteTable::new();
    let mut model = Model { capacity: N, ..Model::default() };
    for route in routes {
        model.insert(*route, table.insert_displacing(*route, true).map(|(_, displaced)| displaced));
    }
    check(&table, &model, destinations);
    // The scan while an advertisement is read, told or not, and the index after it.
    table.hold_index();
    while poll(&mut table, &mut model) {}
    for route in routes.iter().step_by(3) {
        table.remove(&route.key());
        model.rows.retain(|row| model_key(&row.route) != model_key(route));
    }
    check(&table, &model, destinations);
    table.release_index();
    check(&table, &model, destinations);
    while poll(&mut table, &mut model) {}
    check(&table, &model, destinations);
}

fn check<const N: usize>(table: &RouteTable<[Slot; N]>, model: &Model, destinations: &[Ipv6Addr]) {
    assert_eq!(table.len(), model.rows.len());
    assert_eq!(table.deadline(), model.rows.iter().map(|row| row.route.expires).min().unwrap_or(Expiry::NEVER));
    let mut batch = std::vec![None; destinations.len()];
    table.lookup_batch(destinations, &mut batch);
    for (destination, id) in destinations.iter().zip(batch) {
        for link in [None, Some(LinkId(0)), Some(LinkId(1))] {
            let best = model.best(link, *destination, false);
            let reachable = model.best(link, *destination, true);
            let expected = reachable.or(best).map(|row| row.route);
            let avoided = match (best, reachable) {
                (Some(best), Some(reachable)) if best.added != reachable.added => Some(best.route),
                _ => None,
            };
            let found = table.lookup_on(link, destination);
            assert_eq!(found.map(|lookup| *lookup.route), expected, "{destination} on {link:?}: {table:?}");
            assert_eq!(found.and_then(|lookup| lookup.avoided.copied()), avoided, "{destination} on {link:?}");
            if link.is_none() {
                assert_eq!(table.lookup(destination).copied(), expected);
                assert_eq!(id.and_then(|id| table.get(id)).copied(), expected);
            }
        }
    }
}

proptest! {
    #[test]
    fn the_table_does_what_a_bag_of_routes_does(
        ops in prop::collection::vec(any_op(), 1..80),
        destinations in prop::collection::vec(any_address(), 1..8),
    ) {
        play::<1>(&ops, &destinations);
        play::<8>(&ops, &destinations);
        play::<64>(&ops, &destinations);
    }

    #[test]
    fn no_deadline_survives_being_due(routes in prop::collection::vec(any_route(), 1..30)) {
        let mut table: RouteTable<[Slot; 16]> = RouteTable::new();
        for route in &routes {
            let _ = table.insert(*route);
        }
        let mut turns = 0;
        while let Some(deadline) = table.deadline().instant() {
            prop_assert!(table.expire(deadline) > 0, "something was due");
            prop_assert!(table.deadline() > Expiry::at(deadline));
            turns += 1;
            prop_assert!(turns <= 16);
        }
        prop_assert!(table.iter().all(|route| route.expires == Expiry::NEVER));
    }
}

proptest! {
    // Each case inserts hundreds of rows.
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn more_rows_than_a_word_of_the_index_has_bits(
        routes in prop::collection::vec((any::<u64>(), 0_u8..=128), 65..220),
        near in prop::collection::vec((any::<prop::sample::Index>(), any::<u128>()), 32),
    ) {
        let routes: Vec<Route> = routes
            .into_iter()
            // The upper bits decide little, as in a site of one provider.
            .map(|(seed, length)| (0x2001_0db8 << 96 | u128::from(seed) << 32 & (u128::MAX >> 40), length))
            .map(|(bits, length)| Ipv6Prefix::new(bits.into(), length).unwrap())
            .map(|prefix| Route::on_link(prefix, LinkId(0), Origin::OnLink))
            .collect();
        let destinations: Vec<Ipv6Addr> = near
            .iter()
            .map(|(at, noise)| (at.get(&routes).prefix.address().to_bits() | noise >> 88).into())
            .collect();
        insert_all::<100>(&routes, &destinations);
        insert_all::<200>(&routes, &destinations);
    }
}
