//! The vectors of RFC 6724 §10, and what follows from the tables for tunnels.

extern crate std;

use std::string::{String, ToString};
use std::vec::Vec;

use super::*;
use crate::error::{Table, TableFull};
use crate::prefix::Ipv6Prefix;

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// `ADDRESS[/LEN] [deprecated] [temporary] [home] [encap]`, IPv6 with /64 unless it says another.
fn source(text: &str) -> Source {
    let mut words = text.split(' ');
    let address = words.next().unwrap();
    let (address, length) = address.split_once('/').unwrap_or((address, "64"));
    let mut source = Source::new(ip(address), length.parse().unwrap());
    for word in words {
        match word {
            "deprecated" => source.deprecated = true,
            "temporary" => source.temporary = true,
            "home" => source.home = true,
            _ => panic!("{word}"),
        }
    }
    source
}

fn sources(texts: &[&str]) -> Vec<Source> {
    texts.iter().map(|text| source(text)).collect()
}

#[track_caller]
fn chosen(to: &str, from: &[&str]) -> (String, &'static str) {
    let choice = Policy::RFC6724.choose_source(&Destination::new(ip(to)), sources(from)).unwrap();
    // The order of the candidates says nothing where a rule decides.
    let reversed = Policy::RFC6724.choose_source(&Destination::new(ip(to)), sources(from).into_iter().rev()).unwrap();
    if choice.rule != SourceRule::Order {
        assert_eq!((reversed.source, reversed.rule), (choice.source, choice.rule));
    }
    (choice.source.address.to_string(), choice.rule.number())
}

/// The order of destinations, and the rule between each two.
#[track_caller]
fn sorted(policy: &Policy<'_>, from: &[&str], to: &[&str]) -> (Vec<String>, Vec<&'static str>) {
    let mut list: Vec<Destination> = to.iter().map(|to| destination(policy, from, to)).collect();
    policy.sort(&mut list);
    let rules = list.windows(2).map(|pair| policy.compare(&pair[0], &pair[1]).1.number()).collect();
    (list.iter().map(|to| to.address.to_string()).collect(), rules)
}

/// `ADDRESS [tunnel]`
fn destination(policy: &Policy<'_>, from: &[&str], to: &str) -> Destination {
    let (address, tunnel) = to.split_once(' ').map_or((to, false), |(address, _)| (address, true));
    let mut to = Destination { encapsulated: tunnel, ..Destination::new(ip(address)) };
    to.source = policy.choose_source(&to, sources(from)).map(|choice| choice.source);
    to
}

const RFC: Policy<'static> = Policy::RFC6724;

/// RFC 6724 §10.1, with its misprints corrected.
#[test]
fn sel_2_sources_of_the_rfc() {
    assert_eq!(chosen("2001:db8:1::1", &["2001:db8:3::1", "fe80::1"]), ("2001:db8:3::1".into(), "2"));
    assert_eq!(chosen("ff05::1", &["2001:db8:3::1", "fe80::1"]), ("2001:db8:3::1".into(), "2"));
    assert_eq!(chosen("2001:db8:1::1", &["2001:db8:1::1 deprecated", "2001:db8:2::1"]), ("2001:db8:1::1".into(), "1"));
    assert_eq!(chosen("fe80::1", &["fe80::2 deprecated", "2001:db8:1::1"]), ("fe80::2".into(), "2"));
    assert_eq!(chosen("2001:db8:1::1", &["2001:db8:1::2", "2001:db8:3::2"]), ("2001:db8:1::2".into(), "8"));
    assert_eq!(chosen("2001:db8:1::1", &["2001:db8:1::2", "2001:db8:3::2 home"]), ("2001:db8:3::2".into(), "4"));
    assert_eq!(
        chosen("2002:c633:6401::1", &["2002:c633:6401::d5e3:7953:13eb:22e8 temporary", "2001:db8:1::2"]),
        ("2002:c633:6401:0:d5e3:7953:13eb:22e8".into(), "6")
    );
    let public_and_temporary = ["2001:db8:1::2", "2001:db8:1::d5e3:0:0:1 temporary"];
    assert_eq!(chosen("2001:db8:1::d5e3:0:0:1", &public_and_temporary), ("2001:db8:1:0:d5e3::1".into(), "1"));
    assert_eq!(chosen("2001:db8:1::1", &public_and_temporary), ("2001:db8:1:0:d5e3::1".into(), "7"));
}

/// RFC 6724 §10.2: IPv6 and IPv4, by scope.
#[test]
fn sel_1_destinations_of_the_rfc() {
    let both = ["2001:db8:1::1", "198.51.100.121"];
    let (order, rules) = sorted(&RFC, &["2001:db8:1::2", "fe80::1", "169.254.13.78"], &both);
    assert_eq!((order, rules), (["2001:db8:1::1", "198.51.100.121"].map(String::from).into(), ["2"].into()));
    let (order, rules) = sorted(&RFC, &["fe80::1", "198.51.100.117"], &both);
    assert_eq!((order, rules), (["198.51.100.121", "2001:db8:1::1"].map(String::from).into(), ["2"].into()));
    let (order, rules) = sorted(&RFC, &["2001:db8:1::2", "fe80::1", "10.1.2.4"], &["2001:db8:1::1", "10.1.2.3"]);
    assert_eq!((order, rules), (["2001:db8:1::1", "10.1.2.3"].map(String::from).into(), ["6"].into()));
    let (order, rules) = sorted(&RFC, &["2001:db8:1::2", "fe80::2 deprecated"], &["fe80::1", "2001:db8:1::1"]);
    assert_eq!((order, rules), (["2001:db8:1::1", "fe80::1"].map(String::from).into(), ["3"].into()));
    let (order, rules) = sorted(&RFC, &["2001:db8:1::2", "fe80::2"], &["2001:db8:1::1", "fe80::1"]);
    assert_eq!((order, rules), (["fe80::1", "2001:db8:1::1"].map(String::from).into(), ["8"].into()));
    let ula = ["2001:db8:1::1", "fd11:1111:1111:1::1"];
    let (order, rules) = sorted(&RFC, &ula, &["fd22:2222:2222:2::2", "2001:db8:2::2"]);
    assert_eq!((order, rules), (["2001:db8:2::2", "fd22:2222:2222:2::2"].map(String::from).into(), ["6"].into()));
}

/// RFC 6724 §10.3: IPv4 first by one changed row.
#[test]
fn sel_1_the_table_can_be_changed() {
    let mut table = PolicyTable::<12>::new(&RFC6724).unwrap();
    let (from, to) = (["2001:db8::2", "169.254.13.78"], ["2001:db8::1", "169.254.13.80"]);
    assert_eq!(sorted(&table.policy(), &from, &to).0[0], "2001:db8::1");
    let ipv4: Ipv6Prefix = "::ffff:0:0/96".parse().unwrap();
    assert_eq!(table.policy().row_of(ip("10.0.0.1")).prefix, ipv4);
    let old = table.set(PolicyRow::new(ipv4, 100, 4)).unwrap().unwrap();
    assert_eq!((old.precedence, table.rows().len()), (35, 9));
    assert_eq!(sorted(&table.policy(), &from, &to).0[0], "169.254.13.80");
    assert_eq!(table.remove(&ipv4).unwrap().precedence, 100);
    assert_eq!(table.remove(&ipv4), None);
    // The row of all addresses is left.
    assert_eq!(table.policy().row_of(ip("10.0.0.1")).label, 1);
    assert_eq!(table.remove(&Ipv6Prefix::DEFAULT).unwrap().label, 1);
    assert_eq!(table.policy().row_of(ip("10.0.0.1")), PolicyRow::new(Ipv6Prefix::DEFAULT, 40, 1));
    for subnet in 0..5_u16 {
        let prefix = Ipv6Prefix::new(Ipv6Addr::new(0x2001, subnet, 0, 0, 0, 0, 0, 0), 32).unwrap();
        // Teredo's is one of them.
        let full = table.set(PolicyRow::new(prefix, 1, 1)).is_err();
        assert!(!full, "{:?}", table.rows());
    }
    let more =
        |second| PolicyRow::new(Ipv6Prefix::new(Ipv6Addr::new(0x3fff, second, 0, 0, 0, 0, 0, 0), 32).unwrap(), 1, 1);
    assert!(table.set(more(1)).is_ok());
    assert_eq!(table.set(more(2)), Err(TableFull::new(Table::Policy)));
    assert_eq!(table.rows().len(), 12);
    let longest = |text| RFC.row_of(ip(text)).prefix.to_string();
    assert_eq!(
        ["::1", "::2", "2001:0:1::", "2001:1::", "fd00::1", "::ffff:1.2.3.4", "1.2.3.4"].map(longest),
        ["::1/128", "::/96", "2001::/32", "::/0", "fc00::/7", "::ffff:0.0.0.0/96", "::ffff:0.0.0.0/96"]
    );
}

#[test]
fn sel_2_scopes() {
    let scope = |text: &str| RFC.scope_of(ip(text)).to_string();
    for text in ["fe80::1", "fe80::5efe:10.0.0.1", "febf::", "::1", "127.0.0.1", "169.254.0.1", "ff02::1"] {
        assert_eq!(scope(text), "link-local", "{text}");
    }
    for text in ["fec0::1", "feff::", "ff05::1", "ff15::1"] {
        assert_eq!(scope(text), "site-local", "{text}");
    }
    let global = [
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "100.64.0.1",
        "198.51.100.1",
        "2002:a00:1::1",
        "2001::1",
        "fd00::1",
        "2001:db8::5efe:10.0.0.1",
        "2001:db8::5efe:169.254.0.1",
        "64:ff9b::127.0.0.1",
        "::127.0.0.1",
        "ff0e::1",
    ];
    for text in global {
        assert_eq!(scope(text), "global", "{text}");
    }
    assert_eq!(scope("ff08::1"), "scope 8");
    // RFC 3484 §3.2
    let old = |text: &str| Policy::RFC3484.scope_of(ip(text));
    for text in ["10.0.0.1", "172.31.255.1", "192.168.9.9"] {
        assert_eq!(old(text), Scope::SITE_LOCAL, "{text}");
    }
    for text in ["11.0.0.1", "172.32.0.1", "192.169.0.1", "100.64.0.1", "224.0.0.1"] {
        assert_eq!(old(text), Scope::GLOBAL, "{text}");
    }
    assert_eq!(old("169.254.1.1"), Scope::LINK_LOCAL);
}

/// Beyond 64 bits two ISATAP, 6to4 or Teredo addresses may agree by chance.
#[test]
fn sel_3_common_prefixes_end_where_the_sources_does() {
    let to = ip("2001:db8:0:7:0:5efe:a00:2");
    let common = |text: &str| common_prefix_length(&source(text), &mapped(to));
    assert_eq!(common("2001:db8:0:7:0:5efe:a00:1"), 64);
    assert_eq!(common("2001:db8:0:7:0:5efe:a00:1/128"), 126);
    assert_eq!(common("2001:db8:0:7:0:5efe:a00:2/128"), 128);
    assert_eq!(common("2001:db8:0:6::1"), 63);
    assert_eq!(common("2001:db8:0:6::1/48"), 48);
    assert_eq!(common("8000::/128"), 0);
    let far = ip("10.1.129.1");
    assert_eq!(common_prefix_length(&Source::new(ip("10.1.130.1"), 16), &mapped(far)), 112);
    assert_eq!(common_prefix_length(&Source::new(ip("10.1.130.1"), 24), &mapped(far)), 118);
    // So that the first stays: with 128 bits the second would win.
    let near = ["2001:db8:0:7:0:5efe:a00:9", "2001:db8:0:7:0:5efe:a00:3"];
    assert_eq!(chosen("2001:db8:0:7:0:5efe:a00:2", &near), ("2001:db8:0:7:0:5efe:a00:9".into(), "order"));
}

#[test]
fn sel_4_candidates_are_unicast_and_of_the_link() {
    let none = |to: &str, from: &[&str]| RFC.choose_source(&Destination::new(ip(to)), sources(from)).is_none();
    assert!(none("2001:db8::1", &["ff02::1", "::", "10.0.0.1/8"]));
    assert!(none("192.0.2.1", &["2001:db8::1", "224.0.0.1/32", "0.0.0.0/0"]));
    let on = |interface, text: &str| Source { interface, ..source(text) };
    let from = [on(1, "2001:db8:1::1"), on(1, "fe80::1"), on(2, "2001:db8:2::1"), on(2, "fe80::2")];
    let choice = |interface, text: &str| {
        let to = Destination { interface, ..Destination::new(ip(text)) };
        RFC.choose_source(&to, from).map(|choice| (choice.index, choice.rule.number()))
    };
    assert_eq!(choice(1, "fe80::9"), Some((1, "2")));
    assert_eq!(choice(2, "fe80::9"), Some((3, "2")));
    assert_eq!(choice(2, "ff02::9"), Some((3, "2")));
    // Rule 5, where the link does not exclude the others.
    assert_eq!(choice(2, "2001:db8:1::9"), Some((2, "5")));
    assert_eq!(choice(1, "2001:db8:2::9"), Some((0, "5")));
    assert_eq!(choice(3, "ff0e::9"), None);
    assert_eq!(choice(3, "fe80::9"), None);
    assert_eq!(choice(3, "2001:db8:2::9"), Some((2, "8")));
    // An interface that nobody named excludes none.
    assert_eq!(choice(0, "fe80::9"), Some((1, "order")));
    // 5.5
    let mut advertised = source("2001:db8:9::1");
    advertised.by_next_hop = true;
    let both = [source("2001:db8:1::1"), advertised];
    let choice = RFC.choose_source(&Destination::new(ip("2001:db8:1::9")), both).unwrap();
    assert_eq!((choice.index, choice.rule.number()), (1, "5.5"));
}

#[test]
fn temporary_addresses_are_a_choice() {
    let both = ["2001:db8:1::2", "2001:db8:1::3 temporary"];
    let choose = |policy: Policy<'_>| {
        policy.choose_source(&Destination::new(ip("2001:db8:1::9")), sources(&both)).unwrap().index
    };
    assert_eq!(choose(RFC), 1);
    assert_eq!(choose(Policy { prefers_temporary: false, ..RFC }), 0);
    assert_eq!(choose(Policy::RFC3484), 0);
}

/// Where nothing else differs, no tunnel; of two tunnels, the order that they came in.
#[test]
fn sel_10_s6r_27_a_route_that_encapsulates_comes_after_a_native_one() {
    // An ISATAP link and a native one; an address of ISATAP's form on the native
    // one is native.
    let from = ["2001:db8:0:7:0:5efe:a00:1", "2001:db8:1::1"];
    let (order, rules) = sorted(&RFC, &from, &["2001:db8:0:7:0:5efe:a00:2 tunnel", "2001:db8:1::2"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2001:db8:1::2", "7"));
    let (order, rules) = sorted(&RFC, &from, &["2001:db8:0:7:0:5efe:a00:2", "2001:db8:1::2"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2001:db8:0:7:0:5efe:a00:2", "10"));
    // 6rd: the table knows no prefix of it, so it is like native but for the route.
    let rd = ["2001:db8:6464:100::1", "2001:db9::1"];
    let (order, rules) = sorted(&RFC, &rd, &["2001:db8:a00:0::1 tunnel", "2001:db9::2"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2001:db9::2", "7"));
}

#[test]
fn sel_11_ipv4_before_6to4_and_teredo_and_isatap_before_ipv4() {
    const TEREDO: &str = "2001:0:4136:e378:8000:63bf:3fff:fdd2";
    let first = |from: &[&str], to: &[&str]| {
        let (order, rules) = sorted(&RFC, from, to);
        (order[0].clone(), rules[0])
    };
    let native_and_ipv4 = ["2001:db8:1::1", "203.0.113.1"];
    assert_eq!(first(&["2002:c633:6401::2", "10.1.2.3/8"], &native_and_ipv4), ("203.0.113.1".into(), "5"));
    assert_eq!(first(&[TEREDO, "10.1.2.3/8"], &native_and_ipv4), ("203.0.113.1".into(), "5"));
    let teredo_and_ipv4 = ["2001:0:4136:e378:8000:63bf:3fff:fdd9", "203.0.113.10"];
    assert_eq!(first(&[TEREDO, "10.1.2.3/8"], &teredo_and_ipv4), ("203.0.113.10".into(), "6"));
    let teredo_and_6to4 = ["2001:0:4136:e378:8000:63bf:3fff:fdd9", "2002:c633:6401::1"];
    assert_eq!(first(&[TEREDO, "2002:c000:201::1"], &teredo_and_6to4), ("2002:c633:6401::1".into(), "6"));
    let both = ["2002:836b:1::836b:1", "131.107.0.1"];
    let from = ["2002:9d3c:1::9d3c:1", "157.60.0.1/32"];
    assert_eq!(first(&from, &both), ("131.107.0.1".into(), "6"));
    assert_eq!(sorted(&Policy::RFC3484, &from, &both).0[0], "2002:836b:1::836b:1");
    // Without a row for it, Teredo beat IPv4.
    let order = sorted(&Policy::RFC3484, &[TEREDO, "198.51.100.1/32"], &teredo_and_ipv4);
    assert_eq!((order.0[0].as_str(), order.1[0]), (teredo_and_ipv4[0], "6"));
    let isatap = ["2001:db8:0:7:0:5efe:a00:1", "10.0.0.1/8"];
    assert_eq!(
        first(&isatap, &["10.0.0.2", "2001:db8:0:7:0:5efe:a00:2 tunnel"]),
        ("2001:db8:0:7:0:5efe:a00:2".into(), "6")
    );
}

/// Where something else leads there too. (That a Teredo client does not even
/// start is TER-31.)
#[test]
fn sel_14_teredo_is_the_last_resort() {
    const TEREDO: &str = "2001:0:4136:e378:8000:63bf:3fff:fdd2";
    const PEER: &str = "2001:0:4136:e378:8000:63bf:3fff:fdd9";
    for other in ["2001:db8:1::1", "2001:db8:0:7:0:5efe:a00:1"] {
        assert_eq!(chosen("2001:db8:9::1", &[TEREDO, other]), (other.into(), "6"));
        let (order, rules) = sorted(&RFC, &[TEREDO, other], &[PEER, "2001:db8:9::1"]);
        assert_eq!((order[0].as_str(), rules[0]), ("2001:db8:9::1", "6"));
    }
    let (order, rules) = sorted(&RFC, &[TEREDO, "2002:c633:6401::1"], &[PEER, "2002:c000:201::9"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2002:c000:201::9", "6"));
}

#[test]
fn sel_12_what_has_no_source_comes_last() {
    let (order, rules) = sorted(&RFC, &["10.0.0.1/8"], &["2001:db8::1", "10.0.0.2"]);
    assert_eq!((order[0].as_str(), rules[0]), ("10.0.0.2", "1"));
    let mut list = [Destination::new(ip("2001:db8::1")), Destination::new(ip("10.0.0.2"))];
    list[0].source = Some(Source::new(ip("::"), 0));
    list[1].source = Some(source("10.0.0.1/8"));
    RFC.sort(&mut list);
    assert_eq!(list[0].address, ip("10.0.0.2"));
    let mut list = [destination(&RFC, &["2001:db8::2"], "2001:db8::1"), list[0]];
    list[0].unreachable = true;
    RFC.sort(&mut list);
    assert_eq!(list[0].address, ip("10.0.0.2"));
}

#[test]
fn sel_13_a_link_local_isatap_source_is_the_last_choice_for_a_global_destination() {
    let from = ["fe80::5efe:10.0.0.1", "2001:db8:0:7:0:5efe:a00:1"];
    assert_eq!(chosen("2001:db8:9::1", &from), ("2001:db8:0:7:0:5efe:a00:1".into(), "2"));
    assert_eq!(chosen("2001:db8:9::1", &from[..1]), ("fe80::5efe:a00:1".into(), "only"));
    let (order, rules) = sorted(&RFC, &["fe80::5efe:10.0.0.1", "10.0.0.1/8"], &["2001:db8:9::1", "10.0.0.2"]);
    assert_eq!((order[0].as_str(), rules[0]), ("10.0.0.2", "2"));
}

/// Only one end has native IPv6: both use 6to4. Both have: native.
#[test]
fn sel_15_s64_32_6to4_for_both_ends_where_one_has_nothing_else() {
    let sixtofour = "2002:c000:201::1";
    assert_eq!(chosen("2002:c633:6401::1", &[sixtofour, "2001:db8::1"]), (sixtofour.into(), "6"));
    let (order, rules) = sorted(&RFC, &[sixtofour], &["2001:db8:9::1", "2002:c633:6401::1"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2002:c633:6401::1", "5"));
    let (order, rules) = sorted(&RFC, &[sixtofour, "2001:db8::1"], &["2002:c633:6401::1", "2001:db8:9::1"]);
    assert_eq!((order[0].as_str(), rules[0]), ("2001:db8:9::1", "6"));
}

/// RFC 6724 §10.4: link-local destinations behind global ones by one row more.
#[test]
fn sel_1_global_destinations_can_come_before_link_local_ones() {
    let (from, to) = (["2001:db8::2", "fe80::aa"], ["2001:db8::1", "fe80::bb"]);
    assert_eq!(sorted(&RFC, &from, &to), (["fe80::bb", "2001:db8::1"].map(String::from).into(), ["8"].into()));
    let mut table = PolicyTable::<12>::new(&RFC6724).unwrap();
    table.set(PolicyRow::new("fe80::/10".parse().unwrap(), 33, 1)).unwrap();
    let policy = table.policy();
    assert_eq!(sorted(&policy, &from, &to), (["2001:db8::1", "fe80::bb"].map(String::from).into(), ["6"].into()));
    // A rule that comes before the table still decides.
    let from = ["2001:db8::2 deprecated", "fe80::aa"];
    assert_eq!(sorted(&policy, &from, &to), (["fe80::bb", "2001:db8::1"].map(String::from).into(), ["3"].into()));
}

/// RFC 6724 §10.5: two sites reach each other by the provider that both have for that.
#[test]
fn sel_1_a_second_provider_can_be_for_one_other_site_only() {
    let from = ["2001:db8:1aaa::a", "2001:db8:70aa::a", "fe80::a"];
    let to = ["2001:db8:1bbb::b", "2001:db8:70bb::b"];
    let other = Destination::new(ip("2001:db8:70cc::c"));
    let chosen = RFC.choose_source(&other, sources(&from)).unwrap();
    assert_eq!((chosen.source.address, chosen.rule.number()), (ip("2001:db8:70aa::a"), "8"));
    let mut table = PolicyTable::<12>::new(&RFC6724).unwrap();
    for prefix in ["2001:db8:70aa::/48", "2001:db8:70bb::/48"] {
        table.set(PolicyRow::new(prefix.parse().unwrap(), 45, 14)).unwrap();
    }
    let policy = table.policy();
    let (order, rules) = sorted(&policy, &from, &to);
    assert_eq!((order[0].as_str(), rules[0]), ("2001:db8:70bb::b", "6"));
    let chosen = policy.choose_source(&Destination::new(ip(to[1])), sources(&from)).unwrap();
    assert_eq!((chosen.source.address, chosen.rule.number()), (ip("2001:db8:70aa::a"), "6"));
    // Everybody else by the other one, though they have more bits in common with this one.
    let chosen = policy.choose_source(&other, sources(&from)).unwrap();
    assert_eq!((chosen.source.address, chosen.rule.number()), (ip("2001:db8:1aaa::a"), "6"));
}

/// RFC 6724 §10.6 and §10.7.
#[test]
fn sel_16_the_own_site_can_come_first() {
    let from = ["2001:db8:1::1", "fd11:1111:1111:1::1"];
    let to = ["2001:db8:2::2", "fd11:1111:1111:2::2"];
    let mut table = PolicyTable::<16>::new(&RFC6724).unwrap();
    assert_eq!(sorted(&table.policy(), &from, &to).0[0], to[0]);
    for address in from.iter().chain(&["2002:c633:6401::1", "10.0.0.1"]) {
        table.add_site_of(ip(address)).unwrap();
    }
    assert_eq!(sorted(&table.policy(), &from, &to).0[0], to[1]);
    let site = table.policy().row_of(ip(to[1]));
    assert_eq!((site.prefix.to_string().as_str(), site.precedence, site.label), ("fd11:1111:1111::/48", 45, 14));
    let site = table.policy().row_of(ip("2002:c633:6401::9"));
    assert_eq!((site.prefix.to_string().as_str(), site.precedence, site.label), ("2002:c633:6401::/48", 45, 15));
    assert_eq!(table.rows().len(), 11);
    // Another site's addresses stay where they were.
    assert_eq!(table.policy().row_of(ip("fd22::1")).precedence, 3);
}

#[test]
fn sel_18_automatic_rows_replace_no_configured_one() {
    let mut table = PolicyTable::<16>::new(&RFC6724).unwrap();
    let prefix: Ipv6Prefix = "fd11:1111:1111::/48".parse().unwrap();
    let configured = PolicyRow::new(prefix, 7, 7);
    let automatic = PolicyRow { automatic: true, ..PolicyRow::new(prefix, 45, 14) };
    // A configured row takes the place of an automatic one, not the other way round.
    assert_eq!(table.set(automatic), Ok(None));
    assert_eq!(table.set(configured), Ok(Some(automatic)));
    assert_eq!(table.set(automatic), Ok(Some(automatic)));
    table.add_site_of(ip("fd11:1111:1111::1")).unwrap();
    assert_eq!(table.policy().row_of(ip("fd11:1111:1111::1")), configured);
    // The switch.
    table.add_site_of(ip("fd22::1")).unwrap();
    assert_eq!(table.rows().len(), 11);
    table.take_automatic(false);
    assert_eq!(table.rows().len(), 10);
    table.add_site_of(ip("fd22::1")).unwrap();
    assert_eq!((table.set(automatic), table.rows().len()), (Ok(Some(automatic)), 10));
}

#[test]
fn sel_19_a_given_source_is_used_or_refused() {
    let from = sources(&["2001:db8:1::1", "fe80::1", "10.0.0.1/8"]);
    let given = |to: &str, address: &str| {
        RFC.given_source(&Destination::new(ip(to)), from.iter().copied(), ip(address)).map(|source| source.address)
    };
    // Though a rule prefers another.
    assert_eq!(given("2001:db8:9::1", "fe80::1"), Ok(ip("fe80::1")));
    assert_eq!(given("2001:db8:9::1", "2001:db8:1::2"), Err(NotACandidate));
    assert_eq!(given("2001:db8:9::1", "10.0.0.1"), Err(NotACandidate));
    assert_eq!(given("10.9.9.9", "10.0.0.1"), Ok(ip("10.0.0.1")));
    let on = Source { interface: 1, ..source("2001:db8:1::1") };
    let to = Destination { interface: 2, ..Destination::new(ip("fe80::9")) };
    assert_eq!(RFC.given_source(&to, [on], on.address), Err(NotACandidate));
    assert!(NotACandidate.to_string().contains("cannot come from"));
}

#[test]
fn home_addresses_of_mobile_nodes() {
    let away = Source { home: true, ..source("2001:db8:1::1") };
    let at_home = Source { home: true, at_home: true, ..source("2001:db8:2::1") };
    let to = Destination::new(ip("2001:db8:1::9"));
    let choice = RFC.choose_source(&to, [away, at_home]).unwrap();
    assert_eq!((choice.index, choice.rule), (1, SourceRule::Home));
    let from = |source| Destination { source: Some(source), ..to };
    assert_eq!(RFC.compare(&from(away), &from(source("2001:db8:1::2"))).1, DestinationRule::Home);
}

#[test]
fn every_rule_has_its_number_and_its_words() {
    let rules = SourceRule::RULES.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(rules, ["1", "2", "3", "4", "5", "5.5", "6", "7", "8"]);
    let rules = DestinationRule::RULES.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(rules, ["1", "2", "3", "4", "5", "6", "7", "8"]);
    assert!(SourceRule::Only.as_str() != SourceRule::Order.as_str());
}
