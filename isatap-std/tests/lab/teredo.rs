//! Teredo in the lab: clients behind every kind of NAT, a server, a relay, a
//! native host.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::time::Duration;

use isatap_core::teredo::qualify::{self, Stage};
use isatap_std::lab::{
    Chance, Conditions, Nat, NatKind, NodeId, TeredoClient, TeredoServer, TeredoSetup, TeredoSite, World,
};

fn site(name: &str, kind_a: NatKind, kind_b: Option<NatKind>, hairpin: bool) -> TeredoSite {
    TeredoSite::new(World::for_test(name, 7), kind_a, kind_b, hairpin)
}

fn connects(site: &mut TeredoSite, from: NodeId, to: NodeId) -> bool {
    site.connect(from, to).after.is_some()
}

use NatKind::{AddressRestricted, AddressSymmetric, Cone, PortPreserving, PortRestricted, PortSymmetric, Sequential};

/// A NAT of TER-105, and whether the service port is opened by UPnP.
type Behind = (NatKind, bool);

const COLUMNS: [Behind; 9] = [
    (Cone, false),
    (AddressRestricted, false),
    (PortRestricted, false),
    (PortRestricted, true),
    (PortSymmetric, true),
    (PortPreserving, false),
    (Sequential, false),
    (PortSymmetric, false),
    (AddressSymmetric, false),
];

/// TER-105, RFC 6081 §3 figure 1: source row, destination column. `-`: never.
const MATRIX: [[&str; 9]; 9] = [
    ["yes", "yes", "yes", "yes", "S", "S", "S", "S", "S"],
    ["yes", "yes", "yes", "yes", "S", "S", "S", "S", "-"],
    ["yes", "yes", "yes", "yes", "-", "SP", "SQ", "-", "-"],
    ["yes", "yes", "yes", "yes", "SU", "-", "-", "-", "-"],
    ["S", "S", "-", "SU", "SU", "-", "-", "-", "-"],
    ["S", "S", "SP", "-", "-", "SP", "SQ", "-", "-"],
    ["S", "S", "SQ", "-", "-", "-", "-", "-", "-"],
    ["S", "S", "-", "-", "-", "-", "-", "-", "-"],
    ["S", "-", "-", "-", "-", "-", "-", "-", "-"],
];

/// Pairs that connect though the figure says never: it counts a NAT as
/// restricted though UPnP has opened the port, which lets everybody in as a
/// cone NAT does. From a symmetric NAT the nonce is enough then.
fn is_more(one: Behind, other: Behind) -> bool {
    let restricted = (PortRestricted, true);
    let is_symmetric = |(kind, upnp): Behind| !upnp && !matches!(kind, Cone | AddressRestricted | PortRestricted);
    (one == restricted && is_symmetric(other)) || (other == restricted && is_symmetric(one))
}

fn named((kind, upnp): Behind) -> String {
    format!("{}{}", if upnp { "UPnP " } else { "" }, kind.as_str())
}

#[test]
fn ter_105_the_pairs_of_nats_that_connect_and_those_that_never_do() {
    let mut wrong = Vec::new();
    for (from, row) in COLUMNS.into_iter().zip(MATRIX) {
        for (to, expected) in COLUMNS.into_iter().zip(row) {
            let mut setup = TeredoSetup::new(from.0, Some(to.0));
            setup.upnp = [from.1, to.1];
            let mut site = TeredoSite::with_setup(World::for_test("teredo-matrix", 7), setup);
            let (a, b) = (site.a, site.b);
            let connects = connects(&mut site, a, b);
            if connects != (expected != "-" || is_more(from, to)) {
                let what = if connects { "connects, and should not" } else { "does not connect" };
                wrong.push(format!("{} to {} ({expected}) {what}", named(from), named(to)));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
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

/// Thirty days behind a NAT whose mappings last 60 s, with one
/// packet in ten lost. The address holds unless three questions in a row are
/// lost, and no wake-up is wasted.
#[test]
fn ter_36_thirty_days_of_maintenance_under_loss() {
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
        longest = longest.max((now - status.server_heard).into());
        assert!(matches!(status.stage, Stage::Qualified | Stage::Maintenance));
    }
    // 30 s, and three questions of 4 s.
    let bound = Duration::from(qualify::REFRESH_INTERVAL + qualify::SOLICITATION_INTERVAL.saturating_mul(3));
    assert!(longest <= bound, "{longest:?}");
    // Three lost round trips in a row (each 19 %), then back within seconds.
    assert!(unqualified < hours * 60 / 50, "{unqualified} minutes of {}", hours * 60);
}

fn determining(kind: NatKind, timeout: u64, loss: u32) -> TeredoSite {
    let mut setup = TeredoSetup::new(kind, Some(PortRestricted));
    setup.interval_determination = true;
    setup.timeout = Duration::from_secs(timeout);
    let mut site = TeredoSite::with_setup(World::for_test("teredo-interval", 7), setup);
    site.world.keep_journey(false);
    site.world.cloud.conditions = Conditions { loss: Chance::percent(loss), ..Conditions::GOOD };
    site.world.run_for(Duration::from_secs(1200));
    site
}

/// RFC 4380 §5.2.7: what a client finds out is what its NAT keeps, or up to a
/// quarter less; between the 30 s that are configured and 120 s. It then asks
/// the server less often, and stays where it is.
#[test]
fn the_refresh_interval_is_found_out_for_nats_of_several_timeouts() {
    for (kind, timeout) in [
        (Cone, 31),
        (PortRestricted, 39),
        (AddressRestricted, 50),
        (PortRestricted, 61),
        (PortSymmetric, 77),
        (PortPreserving, 95),
        (PortRestricted, 119),
        (Sequential, 150),
        (PortRestricted, 1000),
    ] {
        let mut site = determining(kind, timeout, 0);
        let (a, server) = (site.a, site.server);
        let status = site.world.node::<TeredoClient>(a).unwrap().machine().status();
        let found = Duration::from(status.refresh_interval).as_secs_f64();
        let kept = timeout.min(120) as f64;
        assert!(found < timeout as f64 && found <= 120.0, "{timeout} s: {found}");
        assert!(found >= 0.74 * kept || found == 30.0 && kept < 42.0, "{timeout} s: {found}");
        // The mapping holds for hours at that rate.
        let (address, before) = (site.address(a), site.world.node::<TeredoServer>(server).unwrap().counters().entered);
        site.world.run_for(Duration::from_secs(6 * 3600));
        assert_eq!(site.address(a), address, "{timeout} s");
        let asked = site.world.node::<TeredoServer>(server).unwrap().counters().entered - before;
        // Two clients, each at least every interval and at most every 75 percent of it.
        let each = 6.0 * 3600.0 / found;
        assert!((2.0 * each - 4.0..=2.0 * each / 0.75 + 4.0).contains(&(asked as f64)), "{asked} for {found} s");
    }
}

/// A lost bubble is repeated; a lost answer is asked for again. What is found
/// is never too long.
#[test]
fn the_refresh_interval_is_never_found_too_long_under_loss() {
    for seed in 0..4 {
        for timeout in [45, 70, 100] {
            let site = determining(PortRestricted, timeout + seed, 10);
            let status = site.world.node::<TeredoClient>(site.a).unwrap().machine().status();
            let bounds = Duration::from_secs(30)..Duration::from_secs(timeout + seed);
            assert!(bounds.contains(&status.refresh_interval.into()), "{timeout}: {:?}", status.refresh_interval);
        }
    }
}

/// A NAT that keeps its mappings for less long than it did: the client notices,
/// is somewhere else, and stays below what was too long.
#[test]
fn a_nat_that_keeps_less_than_it_did_is_noticed() {
    let mut site = determining(PortRestricted, 150, 0);
    let (a, nat) = (site.a, site.nat_a);
    let status = |site: &TeredoSite| site.world.node::<TeredoClient>(a).unwrap().machine().status();
    let before = status(&site);
    assert!(before.refresh_interval >= Duration::from_secs(90).into());
    site.world.with_node::<Nat, _>(nat, |nat, _, _| nat.timeout = Duration::from_secs(50));
    site.world.run_for(Duration::from_secs(1200));
    let after = status(&site);
    assert_ne!(after.mapping, before.mapping);
    assert!(after.refresh_interval < Duration::from_secs(50).into(), "{:?}", after.refresh_interval);
    let address = site.address(a);
    site.world.run_for(Duration::from_secs(3600));
    assert_eq!(site.address(a), address);
}
