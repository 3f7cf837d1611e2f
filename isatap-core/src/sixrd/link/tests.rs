#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::capacity::Standard;
use crate::prefix::{Ipv4Prefix, special};
use proptest::prelude::*;
use std::vec::Vec;

/// Few enough for packets to meet the tables; .255 and .127 are broadcast
/// addresses of some of the subnets, and .66 and .2 share their last six bits.
fn near() -> impl Strategy<Value = Ipv4Addr> {
    let last = prop_oneof![Just(1_u8), Just(2), Just(3), Just(66), Just(127), Just(255)];
    (prop_oneof![4 => Just(0_u8), 1 => Just(1)], last).prop_map(|(third, last)| Ipv4Addr::new(10, 0, third, last))
}

fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![
        8 => near(),
        1 => prop::sample::select(special::borders()),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
    ]
}

fn locator() -> impl Strategy<Value = Locator> {
    let subnet_length = prop_oneof![Just(24_u8), Just(25), Just(31), Just(32)];
    (near(), subnet_length).prop_map(|(address, subnet_length)| Locator { address, subnet_length })
}

/// 6rd prefixes of many lengths, also those that end behind the 64th bit.
fn domain() -> impl Strategy<Value = Domain> {
    let prefix = prop_oneof![Just("2001:db8::"), Just("2001:db8:ffff:ffff::"), Just("0:1::"), Just("2002::")];
    (prefix, 16_u8..=96, 0_u8..=32, near()).prop_filter_map("no domain", |(prefix, length, mask, ipv4)| {
        let prefix = Ipv6Prefix::new(prefix.parse().unwrap(), length)?;
        Domain::long(prefix, Ipv4Prefix::new(ipv4, mask)?).ok()
    })
}

/// An inner address by the domain, often of the outer address; perhaps with a
/// bit that is another.
fn inner(domain: Domain, outer: Ipv4Addr) -> impl Strategy<Value = Ipv6Addr> {
    let of = move |ipv4| domain.delegated(ipv4).address().to_bits();
    let address = prop_oneof![
        6 => (Just(of(outer)), any::<bool>()).prop_map(|(bits, one)| bits | u128::from(one)),
        2 => ipv4().prop_map(of),
        2 => Just(0x2001_4860_u128 << 96 | 1),
        1 => prop_oneof![Just(0_u128), Just(1), Just(0xfe80 << 112), Just(0xff02 << 112 | 1), Just(0x1 << 96)],
        1 => any::<u128>(),
    ];
    let flip = prop_oneof![8 => Just(0_u128), 1 => (0_u32..128).prop_map(|bit| 1 << bit)];
    (address, flip).prop_map(|(address, flip)| Ipv6Addr::from_bits(address ^ flip))
}

fn flow(domain: Domain) -> impl Strategy<Value = Flow> {
    (ipv4(), near()).prop_flat_map(move |(outer_source, outer_destination)| {
        (inner(domain, outer_source), inner(domain, outer_destination))
            .prop_map(move |(source, destination)| Flow::between(outer_source, outer_destination, source, destination))
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![2 => Just(Side::Edge), 1 => any::<bool>().prop_map(|anycast| Side::Relay { anycast })]
}

/// A link as the interfaces make it.
fn link(domain: Domain, side: Side, strict: bool, locators: &[Locator], relays: &[Ipv4Addr]) -> SixRdLink<Standard> {
    let mut link = SixRdLink::<Standard>::new(OuterPolicy::DEFAULT, side, strict);
    link.replace_relays(relays.iter().copied()).unwrap();
    link.replace_locators(locators).unwrap();
    link.place = link.underlay.locators().first().map(|own| Place::new(domain, *own));
    if side == Side::Edge {
        link.relay = link.relays.iter().copied().find(|relay| link.underlay.may_send_to(*relay));
    }
    link
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn s6r_22_s6r_23_s6r_26_s6r_31_s6r_33_what_is_plain_is_what_the_checks_one_by_one_let_in(
        (domain, flows) in domain().prop_flat_map(|domain| (Just(domain), prop::collection::vec(flow(domain), 24))),
        side in side(),
        strict in prop::bool::weighted(0.2),
        locators in prop::collection::vec(locator(), 0..3),
        relays in prop::collection::vec(near(), 0..3),
    ) {
        let link = link(domain, side, strict, &locators, &relays);
        for flow in flows {
            if let Some(from) = link.plain(&flow) {
                prop_assert_eq!(link.judge(&flow), Ok(from), "{} {:?}", domain, flow);
            }
            prop_assert_eq!(link.admit(&flow), link.judge(&flow), "{} {:?}", domain, flow);
        }
    }

    #[test]
    fn s6r_3_the_short_way_finds_the_ipv4_address_that_the_long_one_does(
        (domain, address) in (domain(), ipv4()).prop_flat_map(|(domain, ipv4)| (Just(domain), inner(domain, ipv4))),
    ) {
        prop_assert_eq!(domain.embedded_ipv4(&address), domain.embedded_far(&address), "{} {}", domain, address);
    }

    /// Whom the bits rule out has another address.
    #[test]
    fn s6r_15_addresses_of_one_delegated_prefix_are_embedded_alike(domain in domain(), one in ipv4(), other in ipv4()) {
        prop_assert_eq!(domain.is_embedded_alike(one, other), domain.delegated(one) == domain.delegated(other));
    }
}

/// The short way is no short way when nobody goes it.
#[test]
fn a_customer_and_the_relay_are_plain() {
    let ipv4 = |last| Ipv4Addr::new(10, 0, 0, last);
    let common = Ipv4Prefix::new(ipv4(0), 8).unwrap();
    let domain = Domain::new("2001:db8::/32".parse().unwrap(), common).unwrap();
    let native = "2001:4860::1".parse().unwrap();
    let (own, peer) = (domain.anycast(ipv4(2)), domain.anycast(ipv4(3)));
    let flows =
        [(3, peer, own), (1, native, own), (1, peer, own), (3, native, own), (3, peer, native), (9, native, own)]
            .map(|(from, source, destination)| Flow::between(ipv4(from), ipv4(2), source, destination));
    let plain = |side, strict, locators: &[Locator]| {
        let link = link(domain, side, strict, locators, &[ipv4(1), ipv4(9)]);
        flows.iter().map(|flow| link.plain(flow)).collect::<Vec<_>>()
    };
    let locators = [Locator { address: ipv4(2), subnet_length: 24 }];
    let host = Some(Admitted::Host);
    let (relay, router) = (Some(Admitted::Relay), Some(Admitted::Router));
    assert_eq!(plain(Side::Edge, false, &locators), [host, relay, router, None, None, None]);
    assert_eq!(plain(Side::Edge, true, &locators), [host, None, None, None, None, None]);
    assert_eq!(plain(Side::Relay { anycast: false }, false, &locators), [host, None, None, None, host, None]);
    assert_eq!(plain(Side::Edge, false, &[]), [None; 6]);
}
