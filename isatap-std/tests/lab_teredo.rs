//! Teredo in the lab: clients behind every kind of NAT, a server, a relay, a
//! native host.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use isatap_core::teredo::qualify::{self, Stage};
use isatap_std::lab::{Chance, Conditions, Nat, NatKind, NodeId, TeredoClient, TeredoSite, World};

fn site(name: &str, kind_a: NatKind, kind_b: Option<NatKind>, hairpin: bool) -> TeredoSite {
    TeredoSite::new(World::for_test(name, 7), kind_a, kind_b, hairpin)
}

fn connects(site: &mut TeredoSite, from: NodeId, to: NodeId) -> bool {
    site.connect(from, to).after.is_some()
}

use NatKind::{AddressRestricted, AddressSymmetric, Cone, PortPreserving, PortRestricted, PortSymmetric, Sequential};

/// TER-105, without UPnP: source row, destination column. `-`: never.
const MATRIX: [(NatKind, [&str; 7]); 7] = [
    (Cone, ["yes", "yes", "yes", "S", "S", "S", "S"]),
    (AddressRestricted, ["yes", "yes", "yes", "S", "S", "S", "-"]),
    (PortRestricted, ["yes", "yes", "yes", "SP", "SQ", "-", "-"]),
    (PortPreserving, ["S", "S", "SP", "SP", "SQ", "-", "-"]),
    (Sequential, ["S", "S", "SQ", "-", "-", "-", "-"]),
    (PortSymmetric, ["S", "S", "-", "-", "-", "-", "-"]),
    (AddressSymmetric, ["S", "-", "-", "-", "-", "-", "-"]),
];

const COLUMNS: [NatKind; 7] =
    [Cone, AddressRestricted, PortRestricted, PortPreserving, Sequential, PortSymmetric, AddressSymmetric];

#[test]
fn ter_105_the_pairs_of_nats_that_connect() {
    let mut wrong = Vec::new();
    for (from, row) in MATRIX {
        for (to, expected) in COLUMNS.into_iter().zip(row) {
            let mut site = site("teredo-matrix", from, Some(to), false);
            let (a, b) = (site.a, site.b);
            let connects = connects(&mut site, a, b);
            // More than the RFC promises is no fault.
            if !connects && expected != "-" {
                wrong.push(format!("{} to {}", from.as_str(), to.as_str()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn ter_93_every_client_reaches_the_native_host_and_is_reached() {
    for kind in NatKind::ALL {
        for native_first in [false, true] {
            let mut site = site("teredo-native", kind, None, false);
            let (a, host) = (site.a, site.host);
            let mut ways = [(a, host), (host, a)];
            if native_first {
                ways.reverse();
            }
            for (from, to) in ways {
                assert!(connects(&mut site, from, to), "{} {from:?}, native first: {native_first}", kind.as_str());
            }
        }
    }
}

#[test]
fn ter_83_ter_84_neighbours_behind_one_nat_find_each_other() {
    for hairpin in [false, true] {
        for kind in [Cone, AddressRestricted, PortRestricted, PortSymmetric] {
            let mut site = site("teredo-hairpin", kind, None, hairpin);
            let (a, b) = (site.a, site.b);
            assert!(connects(&mut site, a, b), "{} with hairpinning {hairpin}", kind.as_str());
        }
    }
}

#[test]
fn ter_38_a_nat_that_forgets_is_noticed_and_the_client_moves() {
    let mut site = site("teredo-forgets", PortRestricted, Some(PortRestricted), false);
    let (a, host) = (site.a, site.host);
    assert!(connects(&mut site, a, host));
    let before = site.address(a);
    let nat = site.nat_a;
    site.world.with_node::<Nat, _>(nat, |nat, _, _| nat.forget());
    site.world.run_for(Duration::from_secs(60));
    assert_ne!(site.address(a), before);
    assert!(connects(&mut site, a, host));
}

/// I8, F22: thirty days behind a NAT whose mappings last 60 s, with one
/// packet in ten lost. The address holds unless three questions in a row are
/// lost, and no wake-up is wasted.
#[test]
fn ter_36_i8_thirty_days_of_maintenance_under_loss() {
    let mut site = site("teredo-thirty-days", PortRestricted, Some(PortRestricted), false);
    site.world.keep_journey(false);
    site.world.cloud.conditions = Conditions { loss: Chance::percent(10), ..Conditions::GOOD };
    let a = site.a;
    let mut longest = Duration::ZERO;
    let mut unqualified = 0_u32;
    let hours = 30 * 24;
    for _ in 0..hours * 60 {
        site.world.run_for(Duration::from_secs(60));
        let now = site.world.clock(a);
        let status = site.world.node::<TeredoClient>(a).unwrap().machine().status();
        if status.address.is_none() {
            unqualified += 1;
            continue;
        }
        longest = longest.max(now.saturating_duration_since(status.server_heard));
        assert!(matches!(status.stage, Stage::Qualified | Stage::Maintenance));
    }
    // 30 s, and three questions of 4 s.
    let bound = qualify::REFRESH_INTERVAL + 3 * qualify::SOLICITATION_INTERVAL;
    assert!(longest <= bound, "{longest:?}");
    // Three lost round trips in a row (each 19 %), then back within seconds.
    assert!(unqualified < hours * 60 / 50, "{unqualified} minutes of {}", hours * 60);
}
