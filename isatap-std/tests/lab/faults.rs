//! What goes wrong with a site: addresses change, clocks jump, routers die,
//! names lie, advertisements come in floods.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::site::{self, A4, B4, DAY, HOUR, NAME, ROUTER4, Site, c6, global, secs, site, v6};
use isatap_core::drop_reason::DropReason;
use isatap_core::error::Table;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::addr;
use isatap_core::route::Route;
use isatap_core::time::Instant;
use isatap_std::lab::{Action, Chance, Conditions, DnsAnswer, Gateway, GatewayOptions, IsatapHost, NodeId, World, ip};
use isatap_std::spec::IsatapRouter;

const A4_LATER: Ipv4Addr = Ipv4Addr::new(172, 16, 9, 9);

fn host(world: &World, id: NodeId) -> &IsatapHost {
    world.node::<IsatapHost>(id).unwrap()
}

fn dropped(world: &World, id: NodeId, reason: DropReason) -> u64 {
    host(world, id).machine().counters().get(reason)
}

fn listed(world: &World, id: NodeId) -> Vec<Ipv4Addr> {
    let interface = host(world, id).machine().interface(isatap_std::lab::ISATAP_LINK).unwrap();
    interface.link().potential_routers().iter().map(|row| row.address()).collect()
}

#[test]
fn isa_11_isa_14_addresses_follow_the_ipv4_address() {
    let mut site = site("locator-change", 1);
    assert!(site.settle(secs(5)));
    let (a, c) = (site.a, site.c);
    site.world.set_ipv4(a, &[A4_LATER]);
    let now = site.world.ipv6(a);
    assert!(!now.contains(&global(A4)) && !now.contains(&addr::link_local(A4)), "{now:?}");
    assert!(now.contains(&addr::link_local(A4_LATER)), "at once: {now:?}");
    assert!(site.world.run_while_not(secs(5), |world| world.ipv6(a).contains(&global(A4_LATER))));
    assert!(site.reaches(a, c6()) && site.reaches(c, global(A4_LATER)) && site.reaches(a, global(B4)));
    assert!(!site.reaches(c, global(A4)), "nobody has the old one");
    // Two at once, then none, then the first again.
    site.world.set_ipv4(a, &[A4, A4_LATER]);
    site.world.run_for(secs(5));
    assert!(site.has(a, global(A4)) && site.has(a, global(A4_LATER)));
    site.world.set_ipv4(a, &[]);
    assert_eq!(site.world.ipv6(a), [] as [Ipv6Addr; 0]);
    assert!(!site.reaches(a, c6()));
    site.world.set_ipv4(a, &[A4]);
    assert!(site.settle(secs(5)) && site.reaches(a, c6()));
}

#[test]
fn clocks_that_jump_cost_at_most_a_new_start() {
    let jumps: [(&str, i64); 5] = [
        ("an hour on", 3600),
        ("an hour back", -3600),
        ("ten years on", 315_360_000),
        ("a second back", -1),
        ("a day on", 86_400),
    ];
    for (name, seconds) in jumps {
        let mut site = site("clock-jump", 1);
        assert!(site.settle(secs(5)));
        site.world.run_for(Duration::from_secs(7200));
        for id in [site.a, site.router] {
            let clock = site.world.clock(id);
            let by = i64::try_from(clock.micros()).unwrap() + seconds * 1_000_000;
            let clock = Instant::from_micros(u64::try_from(by).unwrap_or(0));
            site.world.set_clock(id, clock);
            // The other lives on by its own clock, and both must reach C.
            // What lapsed is asked for at once.
            site.world.run_for(secs(5));
            assert!(site.settle(secs(60)), "{name}");
            assert!(site.reaches(site.a, c6()) && site.reaches(site.b, c6()), "{name}");
        }
        // And it goes on: a clock set back stands until time has caught up.
        for _ in 0..6 {
            site.world.run_for(secs(1800));
            assert!(site.reaches(site.a, c6()) && site.reaches(site.a, global(B4)), "{name}, at {}", site.world.now());
        }
    }
}

#[test]
fn a_suspended_host_finds_its_way_back() {
    for asleep in [secs(10), HOUR, DAY * 40] {
        let mut site = site("suspend", 1);
        assert!(site.settle(secs(5)));
        site.world.set_suspended(site.a, true);
        site.world.run_for(asleep);
        site.world.set_suspended(site.a, false);
        // Addresses whose time is over go first, and nobody is let in for them: RTE-7.
        site.world.run_for(secs(5));
        assert!(site.settle(secs(5)), "after {asleep:?}");
        assert!(site.reaches(site.a, c6()), "after {asleep:?}");
    }
}

#[test]
fn a_router_that_comes_back_with_another_prefix_is_followed() {
    let mut site = site("other-prefix", 1);
    assert!(site.settle(secs(5)));
    for gone in [secs(1), secs(60), Duration::from_secs(3 * 3600)] {
        site.world.set_plugged(site.router, false);
        site.world.run_for(gone);
        let prefix = format!("2001:db8:0:{:x}::/64", 0x70 + gone.as_secs());
        let prefix = prefix.parse().unwrap();
        let router = site::router_of(ROUTER4, prefix);
        site.world.replace(site.router, site::gateway(router, site::on_lan()));
        site.world.set_plugged(site.router, true);
        let (a, new) = (site.a, addr::address(&prefix, A4).unwrap());
        // At the latest when the old advertisement's 80 % are over, or when
        // the search of the meantime has reached its longest pause.
        assert!(site.world.run_while_not(Duration::from_secs(3961), |world| world.ipv6(a).contains(&new)), "{gone:?}");
        let ping =
            site.world.ping_with(a, isatap_std::lab::Ping { source: Some(new), ..isatap_std::lab::Ping::to(c6()) });
        assert!(site.answered(ping), "{gone:?}");
    }
}

/// A Router Advertisement, whole, with these options.
fn advertisement(from: Ipv4Addr, to: Ipv4Addr, options: &[u8]) -> Vec<u8> {
    let body = [&[64, 0, 7, 8][..], &[0; 8], options].concat();
    let inner = ip::icmpv6_packet(addr::link_local(from), addr::link_local(to), 255, 134, &body);
    ip::protocol41_packet(from, to, &inner)
}

fn prefix_option(prefix: Ipv6Addr, valid: u32, preferred: u32) -> Vec<u8> {
    let lifetimes = [valid.to_be_bytes(), preferred.to_be_bytes()].concat();
    [&[3, 4, 64, 0xc0][..], &lifetimes, &[0; 4], &prefix.octets()].concat()
}

#[test]
fn a_flood_of_advertisements_changes_nothing_it_should_not() {
    let mut site = site("ra-flood", 1);
    site.world.keep_journey(false);
    assert!(site.settle(secs(5)));
    let a = site.a;
    let addresses = site.world.ipv6(a);
    // From somebody who is no router: 10^5, each with another prefix.
    let liar = Ipv4Addr::new(10, 6, 6, 6);
    for n in 0..100_000_u32 {
        let [b, c, d, e] = n.to_be_bytes();
        let prefix = Ipv6Addr::from([0x20, 1, 0xd, 0xb8, b, c, d, e, 0, 0, 0, 0, 0, 0, 0, 0]);
        site.world.hand_ipv4(a, &advertisement(liar, A4, &prefix_option(prefix, 86_400, 86_400)));
        site.world.run_for(Duration::from_micros(10));
    }
    assert_eq!(site.world.ipv6(a), addresses);
    assert_eq!(dropped(&site.world, a, DropReason::RaNotFromRouter), 100_000);
    // Spoofed as the router, each with another MTU, lifetimes zero and longest.
    for n in 0..10_000_u32 {
        let lifetime = [0, 1, 7201, u32::MAX][n as usize % 4];
        let mtu = [&[5, 1, 0, 0][..], &(1000 + n % 600).to_be_bytes()].concat();
        let options = [prefix_option(v6("2001:db8:0:7::"), lifetime, lifetime), mtu].concat();
        site.world.hand_ipv4(a, &advertisement(ROUTER4, A4, &options));
        site.world.run_for(Duration::from_micros(10));
    }
    assert!(site.has(a, global(A4)), "two hours are left to an address");
    assert!(site.world.ipv6(a).len() <= addresses.len());
    site.world.run_for(secs(1));
    assert!(site.reaches(a, c6()), "and the router is still one");
}

#[test]
fn a_hundred_prefixes_fill_the_table_and_no_more() {
    let mut site = site("prefixes", 1);
    assert!(site.settle(secs(5)));
    let a = site.a;
    for n in 0..100_u16 {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x77, n, 0, 0, 0, 0);
        site.world.hand_ipv4(a, &advertisement(ROUTER4, A4, &prefix_option(prefix, 86_400, 86_400)));
    }
    let global_addresses = |world: &World| world.ipv6(a).into_iter().filter(|own| !own.is_unicast_link_local()).count();
    let held = global_addresses(&site.world);
    assert!((2..=16).contains(&held), "{held}");
    assert!(site.has(a, global(A4)), "the first comers stay");
    assert!(site.world.journey().iter().any(|hop| format!("{hop}").contains("prefixes")), "and it is told");
    assert!(site.reaches(a, c6()));
    // They go, and there is room again.
    site.world.run_for(DAY + HOUR);
    assert!(global_addresses(&site.world) <= 2, "{:?}", site.world.ipv6(a));
    assert!(site.reaches(a, c6()));
}

/// A Route Information option, of high preference.
fn route_option(prefix: Ipv6Addr, length: u8) -> Vec<u8> {
    [&[24, 3, length, 8][..], &1800_u32.to_be_bytes(), &prefix.octets()].concat()
}

/// Listed by the same name as the honest router, and first to speak.
#[test]
fn a_listed_router_that_floods_keeps_out_no_other_router() {
    let liar = Ipv4Addr::new(10, 0, 0, 9);
    let mut site = site("listed-liar", 1);
    site.world.names.set_addresses(NAME, &[liar, ROUTER4], HOUR);
    site.world.set_plugged(site.router, false);
    site.world.run_for(secs(3));
    let a = site.a;
    for n in 0..35_u16 {
        let prefix = Ipv6Addr::new(0x2001, 0xdb8, 0x77, n, 0, 0, 0, 0);
        let routes = (0..60).map(|at| route_option(Ipv6Addr::new(0x2001, 0xdb8, 0x7700 + at, n, 0, 0, 0, 0), 64));
        let options = [prefix_option(prefix, 86_400, 86_400), routes.collect::<Vec<_>>().concat()].concat();
        site.world.hand_ipv4(a, &advertisement(liar, A4, &options));
    }
    assert!(site.world.ipv6(a).len() > 10, "{:?}", site.world.ipv6(a));
    site.world.set_plugged(site.router, true);
    assert!(site.settle(secs(40)));
    let machine = host(&site.world, a).machine();
    let routers: Vec<_> =
        machine.routes().filter(|route| route.prefix.is_default()).filter_map(|route| route.next_hop).collect();
    assert!(routers.contains(&addr::link_local(ROUTER4)), "{routers:?}");
    let on_link = |route: &Route| route.next_hop.is_none() && route.prefix.contains(&global(B4));
    assert!(machine.routes().any(on_link));
    assert!(site.reaches(a, global(B4)), "directly");
    let refused: Vec<_> = host(&site.world, a).machine().refusals().iter().copied().collect();
    assert!(refused.iter().all(|refusal| refusal.router == Some(addr::link_local(liar))), "{refused:?}");
    let of = |table| refused.iter().filter(|refusal| refusal.table == table).map(|refusal| refusal.count).sum::<u32>();
    assert!(of(Table::Routes) >= 2000 && of(Table::Prefixes) >= 19, "{refused:?}");
}

#[test]
fn isa_25_poisoned_answers_list_nobody_that_cannot_be_a_router() {
    let poison = [
        Ipv4Addr::LOCALHOST,
        Ipv4Addr::new(224, 0, 0, 1),
        Ipv4Addr::UNSPECIFIED,
        Ipv4Addr::BROADCAST,
        Ipv4Addr::new(240, 0, 0, 1),
        A4,
    ];
    let mut site = site("poison", 1);
    site.world.names.set_addresses(NAME, &poison, secs(60));
    let (a, b) = (site.a, site.b);
    site.world.run_for(secs(59));
    assert_eq!(listed(&site.world, a), [] as [Ipv4Addr; 0]);
    assert_eq!(listed(&site.world, b), [A4], "to B it is another's address");
    for hop in site.world.journey() {
        let Some(outer) = hop.outer.filter(|_| hop.node == "A" && hop.action == Action::Encapsulate) else { continue };
        assert!(!poison.contains(&outer.destination), "{hop}");
    }
    // Among good ones they do no harm.
    site.world.names.set_addresses(NAME, &[&poison[..], &[ROUTER4]].concat(), HOUR);
    assert!(site.settle(secs(3700)));
    assert_eq!(listed(&site.world, a), [ROUTER4]);
    assert!(site.reaches(a, c6()));
}

#[test]
fn isa_24_answers_that_fail_keep_the_list_and_ten_thousand_addresses_fill_it() {
    let mut site = site("answers", 1);
    assert!(site.settle(secs(5)));
    let a = site.a;
    for answer in [DnsAnswer::ServerFailure, DnsAnswer::NoReply] {
        site.world.names.set(NAME, answer.clone());
        site.world.run_for(HOUR * 3);
        assert_eq!(listed(&site.world, a), [ROUTER4], "{answer}");
        assert!(site.reaches(a, c6()));
    }
    let many: Vec<Ipv4Addr> =
        std::iter::once(ROUTER4).chain((0..10_000_u32).map(|n| Ipv4Addr::from_bits(0x0b00_0001 + n))).collect();
    site.world.names.set_addresses(NAME, &many, HOUR);
    site.world.run_for(HOUR * 3);
    let held = listed(&site.world, a);
    assert_eq!(held.len(), 12, "of 16; the rest is for routers given by address");
    assert!(held.contains(&ROUTER4));
    assert!(site.world.journey().iter().any(|hop| format!("{hop}").contains("router")), "and it is told");
    assert!(site.reaches(a, c6()));
    site.world.names.set(NAME, DnsAnswer::NotFound);
    site.world.run_for(HOUR * 3);
    assert_eq!(listed(&site.world, a), [] as [Ipv4Addr; 0]);
}

/// The names of a host bring one list, whichever of them there are.
#[test]
fn isa_20_routers_of_several_names_are_one_list() {
    let mut host = site::by_name();
    host.router.extend(["none.example".parse().unwrap(), "other.example".parse().unwrap()]);
    let mut site = site::site_with("names", 1, site::router(), &host);
    let other = Ipv4Addr::new(10, 0, 0, 9);
    site.world.names.set_addresses("other.example", &[other], secs(60));
    assert!(site.settle(secs(5)));
    assert_eq!(listed(&site.world, site.a), [ROUTER4, other]);
    // Good for as long as the name that is good for the shortest time.
    site.world.names.set("other.example", DnsAnswer::NotFound);
    site.world.run_for(HOUR);
    assert_eq!(listed(&site.world, site.a), [ROUTER4]);
}

/// Nodes are refused what daemons are, and what only machines have.
#[test]
fn a_node_that_the_lab_has_not_is_refused_with_the_reason() {
    let host = |change: &dyn Fn(&mut isatap_std::spec::IsatapHost)| {
        let mut host = site::by_name();
        change(&mut host);
        IsatapHost::<isatap_core::capacity::Standard>::new(&host).map(drop).unwrap_err().to_string()
    };
    assert!(host(&|host| host.via = Some("eth0".into())).contains("the lab's nodes have no IPv4 devices"));
    assert!(host(&|host| host.mtu = Some(1000)).starts_with("cannot set the MTU 1000"));
    let gateway =
        |options| Gateway::<isatap_core::capacity::Standard>::new(&options).map(drop).unwrap_err().to_string();
    assert!(gateway(GatewayOptions::new(site::by_name())).contains("an ISATAP host forwards for nobody"));
    let other = IsatapRouter::new(vec![ROUTER4], Vec::new());
    assert!(gateway(GatewayOptions::new(other)).contains("it needs a prefix"));
}

/// Black holes, small paths and ICMPv4: what a path carries is found, and
/// packets of 1,280 bytes always arrive.
#[test]
fn tun_32_small_paths_carry_1280_bytes_in_parts() {
    for mtu in [600, 1280, 1290, 1400] {
        let mut site = site("small-path", 1);
        assert!(site.settle(secs(5)));
        site.world.cloud.conditions = Conditions { mtu, ..Conditions::GOOD };
        let arrived = (0..4).filter(|_| {
            let ping = isatap_std::lab::Ping { size: 1280, ..isatap_std::lab::Ping::to(global(B4)) };
            let ping = site.world.ping_with(site.a, ping);
            site.answered(ping)
        });
        assert!(arrived.count() >= 2, "path of {mtu} bytes");
    }
}

#[test]
fn everything_at_once_with_loss() {
    for seed in 0..5 {
        let mut site = site("all-at-once", seed);
        site.world.keep_journey(false);
        site.world.cloud.conditions = Conditions {
            loss: Chance::percent(10),
            duplication: Chance::percent(5),
            reordering: Chance::percent(10),
            jitter: Duration::from_millis(20),
            ..Conditions::GOOD
        };
        assert!(site.settle(DAY), "seed {seed}");
        shake(&mut site, seed);
        // The router was away; the search for it pauses for an hour at most.
        site.world.run_for(HOUR * 3);
        assert!(site.settle(DAY), "seed {seed}");
        assert!(site.replies(site.a, c6(), 20) > 8, "seed {seed}");
    }
}

/// Address changes, jumps and absences, by the seed.
fn shake(site: &mut Site, seed: u64) {
    for n in 0..20 {
        match (seed + n) % 5 {
            0 => site.world.set_ipv4(site.a, &[A4_LATER]),
            1 => site.world.set_ipv4(site.a, &[A4]),
            2 => site.world.set_plugged(site.router, n % 2 == 0),
            3 => site.world.set_clock(site.b, site.world.clock(site.b).saturating_add(HOUR)),
            _ => site.world.set_suspended(site.b, n % 2 == 0),
        }
        site.world.run_for(secs(100 * (n + 1)));
    }
    site.world.set_plugged(site.router, true);
    site.world.set_suspended(site.b, false);
    site.world.set_ipv4(site.a, &[A4]);
    site.world.set_ipv4(site.b, &[B4]);
}

#[test]
fn the_hosts_of_other_configurations_live_too() {
    let mut host = site::by_name();
    host.neighbor_probes = false;
    let mut site = site::site_with("no-probes", 1, site::router(), &host);
    assert!(site.settle(secs(5)) && site.reaches(site.a, c6()));
}
