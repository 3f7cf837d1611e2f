//! Routers that advertise without end take nothing from a router that does
//! not.

use std::collections::BTreeSet;

use crate::support::*;
use isatap_core::capacity::{Capacity, Small, Standard};
use isatap_core::engine::{Event, Machine};
use isatap_core::error::Table;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, HostInterface};
use isatap_core::node::{AnyInterface, AnyNode, IsatapHost, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::route::Origin;
use proptest::prelude::*;

const HOST: &str = "10.0.0.2";
const HONEST: &str = "10.0.0.1";
const HOSTILE: [&str; 2] = ["10.0.0.8", "10.0.0.9"];
const DAY: u32 = 86_400;

/// One option of a hostile router; the numbers are theirs alone, or those of
/// the honest router as well.
#[derive(Clone, Debug)]
enum Say {
    Prefix { number: u8, flags: u8, gone: bool },
    Route { number: u8, length: u8, preference: u8, gone: bool },
    Server { number: u8, gone: bool },
    Domain { number: u8, gone: bool },
}

impl Say {
    fn option(&self) -> Vec<u8> {
        // The honest router's numbers are below 16. That a router may withdraw
        // what another one advertises is the RFC's, and no matter of room.
        let lifetime = |number: u8, gone: bool| if gone && number >= 16 { 0 } else { DAY };
        match *self {
            Say::Prefix { number, flags, gone } => {
                let lifetime = lifetime(number, gone);
                // The two hours that an address has left are another test's.
                let flags = if lifetime == 0 { ON_LINK } else { flags };
                pio(&format!("2001:db8:0:{number:x}::/64"), flags, lifetime, lifetime)
            }
            Say::Route { number, length, preference, gone } => {
                rio(&format!("2001:db8:{number:x}00::/{length}"), preference, lifetime(number, gone))
            }
            Say::Server { number, gone } => rdnss(lifetime(number, gone), &[&format!("2001:db8::53:{number:x}")]),
            Say::Domain { number, gone } => dnssl(lifetime(number, gone), number),
        }
    }
}

/// `d<number>.test`, in an option of its own.
fn dnssl(lifetime: u32, number: u8) -> Vec<u8> {
    let mut option = vec![31, 3, 0, 0];
    option.extend(lifetime.to_be_bytes());
    option.extend([4]);
    option.extend(format!("d{number:03}").bytes());
    option.extend(*b"\x04test\0");
    option.resize(24, 0);
    option
}

#[derive(Clone, Debug)]
enum Step {
    /// Which of the hostile routers, under which u bit, with what lifetime as
    /// a default router.
    Advertise { router: usize, universal: bool, lifetime: u16, say: Vec<Say> },
    /// Of some destination to some neighbour.
    Redirect { router: usize, number: u8 },
    /// The honest router advertises.
    Honest,
    /// The caller takes what there is to be taken.
    Drain,
}

fn any_say() -> impl Strategy<Value = Say> {
    let gone = || prop::bool::weighted(0.2);
    prop_oneof![
        (any::<u8>(), prop::sample::select(vec![ON_LINK, AUTONOMOUS, ON_LINK | AUTONOMOUS]), gone())
            .prop_map(|(number, flags, gone)| Say::Prefix { number, flags, gone }),
        (any::<u8>(), 40_u8..=64, prop::sample::select(vec![0, 0x08, 0x18]), gone())
            .prop_map(|(number, length, preference, gone)| Say::Route { number, length, preference, gone }),
        (any::<u8>(), gone()).prop_map(|(number, gone)| Say::Server { number, gone }),
        (any::<u8>(), gone()).prop_map(|(number, gone)| Say::Domain { number, gone }),
    ]
}

fn any_step(routers: usize) -> impl Strategy<Value = Step> {
    let say = prop_oneof![prop::collection::vec(any_say(), 0..40), any_flood()];
    prop_oneof![
        6 => (0..routers, any::<bool>(), prop::sample::select(vec![0, 1800]), say).prop_map(
            |(router, universal, lifetime, say)| Step::Advertise { router, universal, lifetime, say }
        ),
        1 => (0..routers, any::<u8>()).prop_map(|(router, number)| Step::Redirect { router, number }),
        3 => Just(Step::Honest),
        4 => Just(Step::Drain),
    ]
}

/// Sixty of one kind.
fn any_flood() -> impl Strategy<Value = Vec<Say>> {
    (16_u8..190, 0..4, 0..4).prop_map(|(first, kind, gone)| {
        let gone = gone == 0;
        let say = |number| match kind {
            0 => Say::Prefix { number, flags: ON_LINK | AUTONOMOUS, gone },
            1 => Say::Route { number, length: 48, preference: 0x08, gone },
            2 => Say::Server { number, gone },
            _ => Say::Domain { number, gone },
        };
        (first..first + 60).map(say).collect()
    })
}

/// How much the honest router says: an equal share of each table.
struct Share {
    prefixes: u8,
    routes: u8,
    servers: u8,
    domains: u8,
}

impl Share {
    fn options(&self) -> Vec<Vec<u8>> {
        let prefix = |number| Say::Prefix { number, flags: ON_LINK | AUTONOMOUS, gone: false };
        let route = |number| Say::Route { number, length: 48, preference: 0, gone: false };
        let says = (0..self.prefixes).map(prefix);
        let says = says.chain((0..self.routes).map(route));
        let says = says.chain((0..self.servers).map(|number| Say::Server { number, gone: false }));
        let says = says.chain((0..self.domains).map(|number| Say::Domain { number, gone: false }));
        says.map(|say| say.option()).collect()
    }
}

fn machine<C: Capacity>(routers: &[&str]) -> Run<IsatapHost<C>> {
    let mut run = Run::new(IsatapHost::<C>::host(by_address()), Dice::Middle);
    run.machine.set_locators(run.now, &[v4(HOST).into()]).unwrap();
    for router in routers {
        run.machine.add_router(run.now, v4(router)).unwrap();
    }
    run.pass(secs(2));
    run
}

fn say<C: Capacity>(run: &mut Run<IsatapHost<C>>, router: &str, source: std::net::Ipv6Addr, message: Vec<u8>) {
    let packet = outer(router, HOST, &nd(source, local(HOST), message));
    decapsulate(&mut run.machine, run.now, &packet);
}

/// What the honest router has given a host, lifetimes apart.
fn given<C: Capacity>(run: &Run<IsatapHost<C>>) -> BTreeSet<String> {
    let mut state = BTreeSet::new();
    let honest = |number: u128| number < 16;
    for address in run.addresses.keys().filter(|address| honest(address.to_bits() >> 64 & 0xffff)) {
        state.insert(format!("address {address}"));
    }
    for route in &run.routes {
        let by_it = route.next_hop == Some(local(HONEST));
        let on_link = route.origin == Origin::OnLink && honest(route.prefix.address().to_bits() >> 64 & 0xffff);
        if by_it || on_link {
            state.insert(format!("route {} {:?}", route.prefix, route.next_hop));
        }
    }
    let host = run.machine.interface(LinkId(0)).unwrap();
    for row in host.dns_servers().filter(|row| honest(row.item().0.to_bits() & 0xffff)) {
        state.insert(format!("server {}", row.item().0));
    }
    for name in host.search_domains().filter_map(|row| row.item().name()).map(|name| name.to_string()) {
        if name.starts_with("d00") || name.starts_with("d01") && name.as_str() < "d016" {
            state.insert(format!("domain {name}"));
        }
    }
    state
}

fn equal_with_and_without<C: Capacity>(steps: &[Step], share: &Share, hostile: &[&str]) {
    let mut with = machine::<C>(&[&[HONEST], hostile].concat());
    let mut without = machine::<C>(&[HONEST]);
    let mut spoken = false;
    for step in steps.iter().chain([&Step::Drain]) {
        match step {
            Step::Advertise { router, universal: u, lifetime, say: says } => {
                let router = hostile[*router];
                let options: Vec<_> = says.iter().map(Say::option).collect();
                let source = if *u { universal(router) } else { local(router) };
                say(&mut with, router, source, ra(*lifetime, &options));
            }
            Step::Redirect { router, number } => {
                let destination = v6(&format!("2001:db8:ffff::{number:x}"));
                let message = redirect(local(&format!("10.0.1.{number}")), destination);
                say(&mut with, hostile[*router], local(hostile[*router]), message);
            }
            Step::Honest => {
                spoken = true;
                for run in [&mut with, &mut without] {
                    say(run, HONEST, local(HONEST), ra(1800, &share.options()));
                }
            }
            Step::Drain => {
                with.drain();
                without.drain();
                // Before the honest router speaks, others may give what it will.
                let (with, without) = (given(&with), given(&without));
                assert!(without.is_subset(&with), "lost: {:?}", without.difference(&with));
            }
        }
    }
    if spoken {
        // A prefix is a route and an address; beside there are the default route
        // and the link-local address.
        let expected = 2 + 2 * share.prefixes + share.routes + share.servers + share.domains;
        assert_eq!(given(&without).len(), usize::from(expected), "{:?}", given(&without));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_router_has_its_equal_share_whatever_two_others_advertise(
        steps in prop::collection::vec(any_step(2), 1..30)
    ) {
        // A third of 16 prefixes, of 21 routes, of 8 servers and 4 domains.
        let share = Share { prefixes: 5, routes: 7, servers: 2, domains: 1 };
        equal_with_and_without::<Standard>(&steps, &share, &HOSTILE);
    }

    #[test]
    fn a_router_has_its_equal_share_of_the_small_tables_of_firmware(
        steps in prop::collection::vec(any_step(1), 1..30)
    ) {
        // Its caller takes what there is after every call.
        let steps: Vec<_> = steps.into_iter().flat_map(|step| [step, Step::Drain]).collect();
        // With two rows for more specific routes nothing is promised of them.
        let share = Share { prefixes: 1, routes: 0, servers: 1, domains: 0 };
        equal_with_and_without::<Small>(&steps, &share, &HOSTILE[..1]);
    }
}

fn sixty(kind: impl Fn(u8) -> Say) -> Vec<Vec<u8>> {
    (16..76).map(|number| kind(number).option()).collect()
}

#[test]
fn five_advertisements_of_sixty_routes_leave_room_for_the_default_of_another() {
    let mut run = machine::<Standard>(&[HOSTILE[0], HONEST]);
    for round in 0..5 {
        let route = |number| Say::Route { number, length: 48 + round, preference: 0x08, gone: false };
        say(&mut run, HOSTILE[0], local(HOSTILE[0]), ra(1800, &sixty(route)));
        run.drain();
    }
    let prefix = |number| Say::Prefix { number, flags: ON_LINK | AUTONOMOUS, gone: false };
    say(&mut run, HOSTILE[0], local(HOSTILE[0]), ra(1800, &sixty(prefix)));
    run.drain();
    say(
        &mut run,
        HONEST,
        local(HONEST),
        ra(1800, &[pio("2001:db8:0:7::/64", 0xc0, DAY, DAY), rio("2001:db8:700::/48", 0, DAY)]),
    );
    run.drain();
    assert_eq!(run.next_hops("2001:db8:0:7::/64"), [None]);
    assert_eq!(run.next_hops("2001:db8:700::/48"), [Some(local(HONEST))]);
    assert!(run.next_hops("::/0").contains(&Some(local(HONEST))));
    assert!(run.has_address("2001:db8:0:7:0:5efe:a00:2"));
    // What was refused is counted by name: 300 routes and 60 prefixes were
    // offered, 20 and 15 are there.
    let refused: Vec<_> = run.machine.refusals().iter().collect();
    let of = |table| refused.iter().find(|row| row.table == table).map(|row| (row.router, row.count));
    assert_eq!(of(Table::Routes), Some((Some(local(HOSTILE[0])), 280)));
    assert_eq!(of(Table::Prefixes), Some((Some(local(HOSTILE[0])), 45)));
    assert!(refused.iter().all(|row| row.router == Some(local(HOSTILE[0]))), "{refused:?}");
    assert!(run.events.iter().any(|(_, event)| matches!(event, Event::TableFull { table: Table::Routes, .. })));
}

/// Two tunnels in one process: the routes of one are not the other's to fill.
#[test]
fn one_link_takes_no_route_of_another() {
    let mut node = AnyNode::<Standard, 2>::new(NodeConfig::DEFAULT);
    let now = at(1000.0);
    for (locator, router) in [("10.0.0.2", "10.0.0.9"), ("10.1.0.2", "10.1.0.1")] {
        let host = AnyInterface::IsatapHost(HostInterface::new(by_address()));
        let id = node.add(host, isatap_core::datapath::Switches::DEFAULT).unwrap();
        node.with_interface(now, id, |interface, cx| {
            let AnyInterface::IsatapHost(host) = interface else { unreachable!() };
            host.set_locators(cx, &[v4(locator).into()]).unwrap();
            host.add_router(cx, v4(router)).unwrap();
        });
    }
    let mut run = Run::new(node, Dice::Middle);
    run.drain();
    let route = |number| Say::Route { number, length: 48, preference: 0x08, gone: false };
    let hostile = nd(local("10.0.0.9"), local("10.0.0.2"), ra(1800, &sixty(route)));
    let prefixes = |first: u8| (first..first + 16).map(|n| pio(&format!("2001:db8:1:{n:x}::/64"), ON_LINK, DAY, DAY));
    let routes = |first: u8| (first..first + 10).map(|n| rio(&format!("2001:db8:{n:x}00::/40"), 0, DAY));
    let options: Vec<_> = prefixes(0).chain(routes(0)).collect();
    let honest = nd(local("10.1.0.1"), local("10.1.0.2"), ra(1800, &options));
    for _ in 0..3 {
        run.receive(&outer("10.0.0.9", "10.0.0.2", &hostile));
        run.receive(&outer("10.1.0.1", "10.1.0.2", &honest));
    }
    let of = |link| run.routes.iter().filter(|route| route.link == LinkId(link)).count();
    assert_eq!(of(1), 1 + 16 + 10, "the default, on-link and more specific routes of the other link");
    assert_eq!(of(0), 1 + 11, "the rest of the third of 64 rows, and its default");
    let refused: Vec<_> = run.machine.refusals().iter().map(|row| (row.link, row.table, row.router)).collect();
    assert_eq!(refused, [(LinkId(0), Table::Routes, Some(local("10.0.0.9")))]);
}

#[test]
fn isa_20_names_with_many_addresses_leave_rows_for_routers_given_by_address() {
    let mut host = host(HostConfig::DEFAULT, &["10.0.0.2"], Dice::Middle);
    let named: Vec<_> = (1..=40).map(|last| v4(&format!("10.9.0.{last}"))).collect();
    let answer = isatap_core::isatap::Resolved { addresses: &named, ttl: None };
    let now = host.now;
    assert!(host.machine.routers_resolved(now, Ok(answer)).is_err());
    host.drain();
    host.router("10.0.0.1");
    let listed = host.machine.interface(LinkId(0)).unwrap().link().potential_routers();
    assert!(listed.lists(v4("10.0.0.1")));
    assert_eq!(listed.iter().count(), 12 + 1, "three quarters of 16, and the one by address");
    let refused: Vec<_> = host.machine.refusals().iter().map(|row| (row.table, row.router, row.count)).collect();
    assert_eq!(refused, [(Table::PotentialRouters, None, 28)]);
}

/// Each makes many addresses of few prefixes: a second locator doubles them.
#[test]
fn addresses_of_one_routers_prefixes_leave_room_for_those_of_another() {
    let mut host = host(by_address(), &["10.0.0.2", "10.0.0.3"], Dice::Middle);
    host.router(HOSTILE[0]);
    host.router(HONEST);
    let prefix = |number| Say::Prefix { number, flags: AUTONOMOUS, gone: false };
    host.hear(HOSTILE[0], "10.0.0.2", 1800, &sixty(prefix));
    assert_eq!(host.addresses.len(), 16, "all rows");
    host.hear(HONEST, "10.0.0.2", 1800, &[pio("2001:db8:0:7::/64", AUTONOMOUS, DAY, DAY)]);
    assert!(host.has_address("2001:db8:0:7:0:5efe:a00:2") && host.has_address("2001:db8:0:7:0:5efe:a00:3"));
    assert_eq!(host.addresses.len(), 16);
    assert!(host.machine.poll_event().is_none());
}
