#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::capacity::N;
use crate::nd::option::{NdOption, Options};
use crate::wire::field::Writer;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

type Servers = TimedSet<DnsServer, N<3>>;
type Domains = TimedSet<SearchDomain<32>, N<2>>;

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

fn server(last: u16) -> DnsServer {
    DnsServer(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, last))
}

fn listed(servers: &Servers) -> Vec<u16> {
    servers.iter().map(|row| row.item().0.segments()[7]).collect()
}

/// A search list option with these names, by an encoder of the test's own.
fn search_list(lifetime: u32, names: &[&str]) -> Vec<u8> {
    let mut bytes = std::vec![31, 0, 0, 0];
    bytes.extend(lifetime.to_be_bytes());
    for name in names {
        for label in name.split('.') {
            bytes.push(u8::try_from(label.len()).unwrap());
            bytes.extend(label.as_bytes());
        }
        bytes.push(0);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes[1] = u8::try_from(bytes.len() / 8).unwrap();
    bytes
}

fn learn_list(domains: &mut Domains, now: Instant, bytes: &[u8]) -> Result<(), TableFull> {
    let Some(Ok(NdOption::DnsSearchList(list))) = Options::new(bytes, 0).next() else { panic!("{bytes:?}") };
    domains.learn_each(now, &list, 0, |_| {})
}

fn names(domains: &Domains) -> Vec<String> {
    domains.iter().map(|row| row.item().name().unwrap().to_string()).collect()
}

#[test]
fn ndp_13_servers_live_as_long_as_advertised() {
    let mut servers = Servers::EMPTY;
    assert!(!servers.poll_changed());
    servers.learn(at(0), server(1), Lifetime::from_secs(100), 0).unwrap();
    servers.learn(at(0), server(2), Lifetime::INFINITE, 0).unwrap();
    assert!(servers.poll_changed() && !servers.poll_changed());
    // A refresh is no change of the list.
    servers.learn(at(50), server(1), Lifetime::from_secs(100), 1).unwrap();
    assert!(!servers.poll_changed());
    assert_eq!(servers.deadline(), Expiry::at(at(150)));
    servers.expire(at(149));
    assert_eq!(listed(&servers), [1, 2]);
    servers.expire(at(150));
    assert_eq!(listed(&servers), [2]);
    assert!(servers.poll_changed());
    // Zero: stop using it. Of one that is unknown it says nothing.
    servers.learn(at(151), server(7), Lifetime::ZERO, 0).unwrap();
    assert!(!servers.poll_changed());
    servers.learn(at(151), server(2), Lifetime::ZERO, 0).unwrap();
    assert!(listed(&servers).is_empty() && servers.poll_changed());
    assert_eq!(servers.deadline(), Expiry::NEVER);
}

#[test]
fn ndp_13_three_servers_are_kept_and_a_fourth_is_loud() {
    let mut servers = Servers::EMPTY;
    let four: Vec<Ipv6Addr> = (1..=4).map(|last| server(last).0).collect();
    let mut bytes = [0; 72];
    RecursiveDnsServers::emit_list(Lifetime::from_secs(60), &four, &mut Writer::new(&mut bytes));
    let Some(Ok(NdOption::RecursiveDnsServers(option))) = Options::new(&bytes, 0).next() else { panic!() };
    assert_eq!(servers.learn_each(at(0), &option, 0, |_, _| {}), Err(TableFull::new(Table::DnsServers)));
    assert_eq!(listed(&servers), [1, 2, 3]);
    servers.learn(at(0), server(2), Lifetime::from_secs(90), 0).unwrap();
}

#[test]
fn isa_23_servers_of_a_vanished_router_go() {
    let mut servers = Servers::EMPTY;
    servers.learn(at(0), server(1), Lifetime::from_secs(100), 0).unwrap();
    servers.learn(at(0), server(1), Lifetime::from_secs(100), 1).unwrap();
    servers.learn(at(0), server(2), Lifetime::from_secs(100), 0).unwrap();
    servers.forget_router(0);
    assert_eq!(listed(&servers), [1]);
    assert!(servers.iter().all(|row| row.sources().contains(1) && !row.sources().contains(0)));
    servers.poll_changed();
    servers.forget_router(1);
    assert!(listed(&servers).is_empty() && servers.poll_changed());
}

#[test]
fn ndp_13_search_domains_without_regard_to_case() {
    let mut domains = Domains::EMPTY;
    learn_list(&mut domains, at(0), &search_list(100, &["corp.example.com", "example.com"])).unwrap();
    assert_eq!(names(&domains), ["corp.example.com", "example.com"]);
    assert!(domains.poll_changed());
    learn_list(&mut domains, at(10), &search_list(100, &["EXAMPLE.com"])).unwrap();
    assert!(!domains.poll_changed());
    domains.expire(at(100));
    assert_eq!(names(&domains), ["example.com"]);
    learn_list(&mut domains, at(101), &search_list(0, &["example.COM"])).unwrap();
    assert!(names(&domains).is_empty());
}

#[test]
fn names_that_a_script_could_misread_are_ignored() {
    let mut domains = Domains::EMPTY;
    for name in ["$(reboot)", "a b", "x\ny", "-rf", "a;b", "`ls`"] {
        learn_list(&mut domains, at(0), &search_list(100, &[name])).unwrap();
    }
    learn_list(&mut domains, at(0), &search_list(100, &["a b.example", "good_1.example"])).unwrap();
    assert_eq!(names(&domains), ["good_1.example"]);
}

#[test]
fn a_name_longer_than_a_row_is_loud() {
    let mut domains = Domains::EMPTY;
    let long = ["a".repeat(32), "example".to_string()].join(".");
    let full = Err(TableFull::new(Table::SearchDomains));
    assert_eq!(learn_list(&mut domains, at(0), &search_list(100, &[&long])), full);
    assert_eq!(learn_list(&mut domains, at(0), &search_list(0, &[&long])), Ok(()));
    let fits = "a".repeat(30);
    learn_list(&mut domains, at(0), &search_list(100, &[&fits, "b", "c"])).unwrap_err();
    assert_eq!(names(&domains), [fits.as_str(), "b"]);
    // A table without rows, as the small profile has it.
    let mut none = TimedSet::<SearchDomain, N<0>>::EMPTY;
    let bytes = search_list(100, &["example"]);
    let Some(Ok(NdOption::DnsSearchList(list))) = Options::new(&bytes, 0).next() else { panic!() };
    assert_eq!(none.learn_each(at(0), &list, 0, |_| {}), full);
}

proptest! {
    #[test]
    fn no_deadline_survives_being_polled(steps in prop::collection::vec((0_u16..5, 0_u32..100, 0_u64..60), 1..50)) {
        let mut servers = Servers::EMPTY;
        let mut now = 0;
        for (last, lifetime, gap) in steps {
            now += gap;
            servers.expire(at(now));
            prop_assert!(!servers.deadline().is_due(at(now)));
            let _ = servers.learn(at(now), server(last), Lifetime::from_secs(lifetime), 0);
            prop_assert!(!servers.deadline().is_due(at(now)));
            prop_assert!(servers.iter().all(|row| row.until() > Expiry::at(at(now))));
        }
    }
}
