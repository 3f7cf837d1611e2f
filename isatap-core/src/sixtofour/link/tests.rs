#![allow(clippy::indexing_slicing)]
use super::*;
use crate::capacity::Standard;
use crate::prefix::special;
use proptest::prelude::*;
use std::vec::Vec;

type Link64 = SixToFourLink<Standard>;

/// Our locators and their neighbours, broadcast addresses of their subnets,
/// addresses with the same last six bits, what stands at the borders of the
/// blocks that are refused, and any.
fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    let near = prop_oneof![Just(1_u8), Just(2), Just(3), Just(66), Just(127), Just(255)];
    prop_oneof![
        4 => near.prop_map(|last| Ipv4Addr::new(131, 107, 0, last)),
        2 => prop::sample::select(special::borders()),
        1 => Just(ANYCAST_RELAY),
        1 => any::<u32>().prop_map(Ipv4Addr::from_bits),
    ]
}

fn locator() -> impl Strategy<Value = Locator> {
    let subnet_length = prop_oneof![Just(24_u8), Just(25), Just(31), Just(32)];
    (ipv4(), subnet_length).prop_map(|(address, subnet_length)| Locator { address, subnet_length })
}

/// An inner address, often one of the 6to4 site that the outer one is of.
fn inner(outer: Ipv4Addr) -> impl Strategy<Value = Ipv6Addr> {
    let of = |ipv4: Ipv4Addr| addr::host_router(ipv4);
    prop_oneof![
        4 => Just(of(outer)),
        1 => ipv4().prop_map(of),
        2 => prop::sample::select(&["2001:db8::1", "64:ff9b::1", "fc00::1", "fdff::1", "2001:ffff::", "2003::"][..])
            .prop_map(|text| text.parse().unwrap()),
        1 => prop::sample::select(&["::", "::1", "0:1::", "fe00::1", "fe80::1", "fec0::1", "ff0e::1", "::ffff:1.1.1.1"][..])
            .prop_map(|text| text.parse().unwrap()),
        1 => any::<u128>().prop_map(Ipv6Addr::from_bits),
    ]
}

fn flow() -> impl Strategy<Value = Flow> {
    (ipv4(), ipv4()).prop_flat_map(|(outer_source, outer_destination)| {
        (inner(outer_source), inner(outer_destination)).prop_map(move |(inner_source, inner_destination)| {
            Flow::between(outer_source, outer_destination, inner_source, inner_destination)
        })
    })
}

fn side() -> impl Strategy<Value = Side> {
    prop_oneof![2 => Just(Side::Site), 1 => any::<bool>().prop_map(|anycast| Side::Relay { anycast })]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn s64_20_s64_21_s64_22_s64_24_what_is_plain_is_what_the_checks_one_by_one_let_in(
        side in side(),
        accept_bogons: bool,
        locators in prop::collection::vec(locator(), 0..3),
        relays in prop::option::weighted(0.2, ipv4()),
        clients in prop::option::weighted(0.2, (ipv4(), 0_u8..=32)),
        flows in prop::collection::vec(flow(), 24),
    ) {
        let mut link = Link64::new(OuterPolicy::DEFAULT, accept_bogons, side);
        link.replace_locators(&locators).unwrap();
        let to_first = link.underlay.locators().first().map(|own| own.address);
        relays.into_iter().for_each(|relay| link.relays.add(relay, crate::error::Table::PotentialRouters).unwrap());
        let clients = clients.and_then(|(ipv4, length)| Ipv4Prefix::new(ipv4, length));
        clients.into_iter().for_each(|prefix| link.clients.add(prefix, crate::error::Table::Members).unwrap());
        for mut flow in flows {
            // As it came, and addressed to us.
            for destination in [None, to_first].into_iter().flatten().chain([flow.outer_destination]) {
                if addr::embeds(&flow.inner_destination, flow.outer_destination) {
                    flow.inner_destination = addr::host_router(destination);
                }
                flow.outer_destination = destination;
                if let Some(from) = link.plain(&flow) {
                    prop_assert_eq!(link.judge(&flow), Ok(from), "{:?}", flow);
                }
                prop_assert_eq!(link.admit(&flow), link.judge(&flow), "{:?}", flow);
            }
        }
    }
}

proptest! {
    #[test]
    fn s64_11_s64_13_s64_14_s64_22_what_plainly_may_leave_is_what_the_checks_one_by_one_let_out(
        side in side(),
        accept_bogons: bool,
        locators in prop::collection::vec(locator(), 0..3),
        packets in (ipv4(), ipv4()).prop_flat_map(|(own, peer)| {
            prop::collection::vec((inner(own), inner(peer), inner(peer), Just(own)), 24)
        }),
    ) {
        let mut link = Link64::new(OuterPolicy::DEFAULT, accept_bogons, side);
        for (source, destination, next_hop, own) in packets {
            let own = Locator { address: own, subnet_length: 24 };
            link.replace_locators(&[&[own], &locators[..]].concat()).unwrap();
            let judged = link.judge_leaving(&source, &destination, &next_hop);
            let is_plain = link.plainly_permits(&source, &destination, &next_hop);
            prop_assert!(!is_plain || judged == Ok(()), "{} {} {}", source, destination, next_hop);
            prop_assert_eq!(link.permit(&source, &destination, &next_hop), judged);
        }
    }
}

/// The short way is no short way when nobody goes it.
#[test]
fn a_site_a_relay_and_a_client_are_plain() {
    let (own, peer) = (Ipv4Addr::new(131, 107, 0, 3), Ipv4Addr::new(192, 31, 196, 1));
    let native = "2001:db8::1".parse().unwrap();
    let (here, there) = (addr::host_router(own), addr::host_router(peer));
    let flows = [(there, here), (native, here), (there, native), (native, native), (here, there)]
        .map(|(source, destination)| Flow::between(peer, own, source, destination));
    let plain = |side, locators: &[Locator]| {
        let mut link = Link64::new(OuterPolicy::DEFAULT, false, side);
        link.replace_locators(locators).unwrap();
        flows.iter().map(|flow| link.plain(flow)).collect::<Vec<_>>()
    };
    let (host, relay) = (Some(Admitted::Host), Some(Admitted::UnverifiedRelay));
    let locators = [Locator { address: own, subnet_length: 24 }];
    assert_eq!(plain(Side::Site, &locators), [host, relay, None, None, None]);
    assert_eq!(plain(Side::Relay { anycast: false }, &locators), [None, None, host, None, None]);
    assert_eq!(plain(Side::Site, &[]), [None; 5]);
    // The broadcast address of another subnet of ours: nobody may embed it.
    let other = Locator { address: Ipv4Addr::new(131, 107, 0, 1), subnet_length: 30 };
    assert_eq!(plain(Side::Site, &[locators[0], other]), [None; 5]);
    let mut link = Link64::new(OuterPolicy::DEFAULT, false, Side::Site);
    assert!(!link.plainly_permits(&here, &there, &there));
    link.replace_locators(&locators).unwrap();
    assert!(link.plainly_permits(&here, &there, &there) && link.plainly_permits(&here, &native, &there));
    link.side = Side::Relay { anycast: false };
    assert!(!link.plainly_permits(&here, &native, &there));
}
