//! Router Advertisements whose many routes change, at a host.

use std::net::Ipv4Addr;
use std::time::Duration;

use isatap_core::capacity::Standard;
use isatap_core::engine::{Machine, Verdict};
use isatap_core::isatap::{HostConfig, Resolved, addr};
use isatap_core::nd::message::{RouterAdvertisementRepr, RouterFlags, write_packet};
use isatap_core::nd::option::RouteInformation;
use isatap_core::node::IsatapHost;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Preference, Route};
use isatap_core::time::Lifetime;

use crate::inputs::{Arrived, HOST, NOW, ROUTER, packet, settle};

/// Another router of its list.
const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 9);
/// Routes that the host has from others than its routers.
const OTHERS: u32 = 36;
/// Routes that routers may have: a third of the table.
const SHARE: u32 = 21;
/// Options of a measured advertisement.
pub const OPTIONS: u32 = 160;

/// A host that has other routes, and an advertisement that adds as many to
/// them as it withdraws.
pub fn changing() -> (&'static mut IsatapHost<Standard>, Arrived) {
    let options = (0..OPTIONS / 2).flat_map(|number| [(number, true), (number, false)]);
    (host(), advertisement(ROUTER, options))
}

/// A host whose routers have all the routes that they may have, in turns; and
/// an advertisement of one of them with more.
pub fn refused() -> (&'static mut IsatapHost<Standard>, Arrived) {
    let host = host();
    for (number, router) in [(0, ROUTER), (1, OTHER)] {
        let options = (number..SHARE).step_by(2).map(|number| (number, true));
        receive(host, &mut advertisement(router, options));
        settle(host, &mut |out: &mut [u8]| out.fill(0x5a));
    }
    let full = host.routes().filter(|route| route.origin == Origin::Advertised && !route.prefix.is_default());
    assert_eq!(full.count(), SHARE as usize, "a third");
    (host, advertisement(ROUTER, (SHARE..SHARE + OPTIONS).map(|number| (number, true))))
}

/// What is measured. Not inlined, so that the other benches of this machine are compiled as if
/// this one was not there.
#[inline(never)]
pub fn receive(host: &mut IsatapHost<Standard>, (outer, packet): &mut Arrived) -> Verdict {
    host.decapsulate(NOW, outer, packet)
}

fn host() -> &'static mut IsatapHost<Standard> {
    let host = Box::leak(Box::new(IsatapHost::<Standard>::host(HostConfig::DEFAULT)));
    host.set_locators(NOW, &[HOST.into()]).expect("room for one locator");
    host.routers_resolved(
        NOW,
        Ok(Resolved { addresses: &[ROUTER, OTHER], ttl: Some(Duration::from_secs(3600).into()) }),
    )
    .expect("room for two routers");
    for number in 0..OTHERS {
        let route = Route::via(prefix(1000 + number), LinkId(0), addr::link_local(ROUTER), Origin::Manual);
        host.insert_route(route).expect("room");
    }
    settle(host, &mut |out: &mut [u8]| out.fill(0x5a));
    host
}

/// Longer ones are found first: where two routers have every other one, their
/// rows take turns in the table.
fn prefix(number: u32) -> Ipv6Prefix {
    let address = 0x2001_0db8_u128 << 96 | u128::from(number) << 64;
    let length = 128 - (number % 60) as u8;
    Ipv6Prefix::new(address.into(), length).expect("at most 128")
}

fn advertisement(router: Ipv4Addr, routes: impl Iterator<Item = (u32, bool)> + Clone) -> Arrived {
    let repr = RouterAdvertisementRepr {
        cur_hop_limit: 64,
        flags: RouterFlags::empty(),
        preference: Preference::Medium,
        router_lifetime: 1800,
        reachable_time: 0,
        retrans_timer: 0,
    };
    let mut packet = packet(&[0; 8192]);
    write_packet(&mut packet, &addr::link_local(router), &addr::link_local(HOST), |writer| {
        repr.emit(writer);
        for (number, is_new) in routes.clone() {
            let lifetime = Lifetime::from_secs(if is_new { 1800 } else { 0 });
            RouteInformation { prefix: prefix(number), preference: Preference::Medium, lifetime }.emit(writer);
        }
    })
    .expect("room");
    (Outer::new(router, HOST), packet)
}
