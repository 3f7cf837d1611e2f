#![allow(clippy::arithmetic_side_effects)]
use super::*;
use crate::capacity::{Small, Standard};
use crate::nd::option::{PrefixFlags, PrefixInformation};
use crate::prefix::is_never_unicast;
use crate::time::{Instant, Lifetime};
use proptest::prelude::*;
use std::vec::Vec;

/// What changes the data of a link.
#[derive(Clone, Debug)]
enum Op {
    Locators(Vec<Locator>),
    List(Ipv4Addr),
    Retire(usize),
    Learn { prefix: Ipv6Prefix, on_link: bool, secs: u32 },
    Wait(u64),
    ForgetRouter,
    ForgetPrefixes,
    Member(Ipv4Prefix),
    Know(Vec<Ipv4Addr>),
}

/// Few enough for packets to meet the tables; .255 and .127 are broadcast
/// addresses of some of the subnets, and .66 and .2 share their last six bits.
fn ipv4() -> impl Strategy<Value = Ipv4Addr> {
    prop_oneof![Just(1_u8), Just(2), Just(3), Just(66), Just(127), Just(255)]
        .prop_map(|last| Ipv4Addr::new(10, 0, 0, last))
}

fn prefix() -> impl Strategy<Value = Ipv6Prefix> {
    let address = |subnet| Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, 0);
    (0_u16..3, prop_oneof![Just(48_u8), Just(64), Just(64), Just(96)])
        .prop_map(move |(subnet, length)| Ipv6Prefix::new(address(subnet), length).unwrap())
}

fn op() -> impl Strategy<Value = Op> {
    let locator = (ipv4(), prop_oneof![Just(24_u8), Just(25), Just(31), Just(32)])
        .prop_map(|(address, subnet_length)| Locator { address, subnet_length });
    prop_oneof![
        3 => prop::collection::vec(locator, 0..3).prop_map(Op::Locators),
        3 => ipv4().prop_map(Op::List),
        1 => (0_usize..3).prop_map(Op::Retire),
        4 => (prefix(), any::<bool>(), 0_u32..100).prop_map(|(prefix, on_link, secs)| Op::Learn { prefix, on_link, secs }),
        1 => (0_u64..50).prop_map(Op::Wait),
        1 => Just(Op::ForgetRouter),
        1 => Just(Op::ForgetPrefixes),
        1 => (ipv4(), 24_u8..=32).prop_map(|(ipv4, length)| Op::Member(Ipv4Prefix::new(ipv4, length).unwrap())),
        1 => proptest::collection::vec(ipv4(), 0..3).prop_map(Op::Know),
    ]
}

fn apply<C: Capacity>(link: &mut IsatapLink<C>, now: &mut Instant, op: Op) {
    match op {
        Op::Locators(locators) => {
            let _ = link.replace_locators(&locators);
        }
        Op::List(address) => {
            let _ = link.list_router(address, EntryOrigin::Static);
        }
        Op::Retire(slot) => {
            let _ = link.prl.row_mut(slot).map(|row| row.retire());
        }
        Op::Learn { prefix, on_link, secs } => {
            let lifetime = Lifetime::from_secs(secs);
            let flags = if on_link { PrefixFlags::ON_LINK } else { PrefixFlags::AUTONOMOUS };
            let option = PrefixInformation { prefix, flags, valid_lifetime: lifetime, preferred_lifetime: lifetime };
            let _ = link.prefixes.learn(*now, &option, 0);
        }
        Op::Wait(secs) => {
            *now = now.saturating_add(core::time::Duration::from_secs(secs));
            link.prefixes.expire(*now);
        }
        Op::ForgetRouter => link.prefixes.forget_router(0),
        Op::ForgetPrefixes => link.prefixes.forget_router(0),
        Op::Member(prefix) => {
            let _ = link.add_member(prefix);
        }
        Op::Know(routers) => {
            let _ = link.set_known_routers(&routers);
        }
    }
}

/// The four addresses of a packet, the inner ones often right for the outer.
fn ends() -> impl Strategy<Value = (Ipv4Addr, Ipv4Addr, Ipv6Addr, Ipv6Addr)> {
    let upper = prop_oneof![
        4 => (0_u16..3).prop_map(|subnet| 0x2001_0db8_0000_0000 | u64::from(subnet)),
        2 => Just(0xfe80_u64 << 48),
        1 => Just(0xff02_u64 << 48),
        1 => Just(0),
    ];
    let lower = |ipv4: Ipv4Addr| {
        prop_oneof![
            4 => Just(0x5efe << 32 | u64::from(ipv4.to_bits())),
            2 => Just(0x0200_5efe << 32 | u64::from(ipv4.to_bits())),
            1 => Just(0x0100_5efe << 32 | u64::from(ipv4.to_bits())),
            1 => 0_u64..3,
        ]
    };
    (ipv4(), ipv4(), ipv4()).prop_flat_map(move |(source, destination, other)| {
        let inner = |upper: u64, lower: u64| Ipv6Addr::from_bits(u128::from(upper) << 64 | u128::from(lower));
        let embedded = prop_oneof![3 => Just(source), 1 => Just(other)];
        (upper.clone(), embedded.prop_flat_map(lower), upper.clone(), lower(destination)).prop_map(
            move |(source_upper, source_lower, upper, lower)| {
                (source, destination, inner(source_upper, source_lower), inner(upper, lower))
            },
        )
    })
}

fn flow(
    (outer_source, outer_destination, inner_source, inner_destination): (Ipv4Addr, Ipv4Addr, Ipv6Addr, Ipv6Addr),
) -> Flow {
    Flow::between(outer_source, outer_destination, inner_source, inner_destination)
}

fn judged<C: Capacity>(link: &IsatapLink<C>, flow: &Flow) -> Result<Admitted, Denied> {
    let Flow { outer_source, outer_destination, inner_source, inner_destination, .. } = *flow;
    link.judge(&Judged { outer_source, outer_destination, inner_source, inner_destination })
}

/// Where a packet goes, by the tables alone.
fn resolved<C: Capacity>(
    link: &IsatapLink<C>,
    source: &Ipv6Addr,
    next_hop: &Ipv6Addr,
) -> Result<Resolution, DropReason> {
    let destination = embedded_ipv4(next_hop).ok_or(DropReason::NextHopUnresolvable)?;
    if is_never_unicast(destination) || link.locators().iter().any(|own| own.excludes(destination)) {
        return Err(DropReason::DestinationRefused);
    }
    if link.known_routers().any(|router| router == destination) {
        return Err(DropReason::KnownRouter);
    }
    if !link.prl.iter().any(|router| router.address() == destination) {
        ingress::member(destination, &link.members)?;
    }
    Ok(Resolution::To { source: link.outer_source(source, destination)?, destination })
}

fn agrees<C: Capacity>(ops: Vec<Op>, flows: &[Flow], router: bool) -> Result<(), TestCaseError> {
    let mut link = IsatapLink::<C>::new(OuterPolicy::DEFAULT, router);
    let mut now = Instant::from_secs(1);
    for op in ops {
        apply(&mut link, &mut now, op);
        for flow in flows {
            if let Some(from) = link.plain(flow) {
                prop_assert_eq!(judged(&link, flow), Ok(from), "{:?}", flow);
            }
            prop_assert_eq!(link.admit(flow), judged(&link, flow), "{:?}", flow);
            let Flow { inner_source, inner_destination, .. } = flow;
            for (source, next_hop) in [(inner_destination, inner_source), (inner_source, inner_destination)] {
                let found = link.resolve(source, next_hop);
                prop_assert_eq!(found, resolved(&link, source, next_hop), "{:?}", (source, next_hop));
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn isa_40_isa_42_isa_50_sec_2_sec_4_what_is_plain_is_what_the_checks_one_by_one_say(
        ops in prop::collection::vec(op(), 1..24),
        ends in prop::collection::vec(ends(), 24),
        router: bool,
    ) {
        let flows: Vec<Flow> = ends.into_iter().map(flow).collect();
        agrees::<Small>(ops.clone(), &flows, router)?;
        agrees::<Standard>(ops, &flows, router)?;
    }
}

/// The short way is no short way when nobody goes it.
#[test]
fn a_neighbour_and_the_first_router_are_plain() {
    let mut link = IsatapLink::<Standard>::new(OuterPolicy::DEFAULT, false);
    let mut now = Instant::from_secs(1);
    let ipv4 = |last| Ipv4Addr::new(10, 0, 0, last);
    let subnet = |subnet| Ipv6Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 0, subnet, 0, 0, 0, 0), 64).unwrap();
    let inner = |prefix: &Ipv6Prefix, last| addr::address(prefix, ipv4(last)).unwrap();
    let host = |prefix| flow((ipv4(3), ipv4(2), inner(prefix, 3), inner(&subnet(7), 2)));
    let (home, foreign, local) = (host(&subnet(7)), host(&subnet(8)), host(&Ipv6Prefix::LINK_LOCAL));
    let routed = flow((ipv4(1), ipv4(2), Ipv6Addr::new(0x2001, 0xdb8, 9, 0, 0, 0, 0, 1), inner(&subnet(7), 2)));
    let plain = |link: &IsatapLink<Standard>| [home, foreign, local, routed].map(|flow| link.plain(&flow));

    assert_eq!(plain(&link), [None; 4], "no locator");
    apply(&mut link, &mut now, Op::Locators([Locator { address: ipv4(2), subnet_length: 24 }].to_vec()));
    assert_eq!(plain(&link), [None, None, Some(Admitted::Host), None]);
    apply(&mut link, &mut now, Op::Learn { prefix: subnet(7), on_link: true, secs: 100 });
    apply(&mut link, &mut now, Op::List(ipv4(1)));
    let (host, router) = (Some(Admitted::Host), Some(Admitted::Router));
    assert_eq!(plain(&link), [host, None, host, router]);
    apply(&mut link, &mut now, Op::Wait(100));
    assert_eq!(plain(&link), [None, None, host, router], "the prefix has expired");
    apply(&mut link, &mut now, Op::Retire(0));
    assert_eq!(plain(&link), [None, None, host, None]);
}
