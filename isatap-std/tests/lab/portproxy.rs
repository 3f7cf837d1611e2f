//! The port proxy between nodes of the lab: the daemon's decisions, smoltcp's TCP.

use std::net::SocketAddr;
use std::time::Duration;

use isatap_std::lab::{
    Action, Answer, Chance, ConnectionState, Gateway, GatewayOptions, Hop, NATIVE_LINK, NativeHost, NodeId, Served,
    ServedEnd, Then, World,
};
use isatap_std::spec::{IsatapRouter, PortProxy};

const CLIENT: &str = "192.168.47.99";
const PROXY: &str = "10.0.0.1";
const PROXY_INSIDE: &str = "2001:db8:0:8::1";
const SERVER: &str = "2001:db8:0:8::c";

/// A client with IPv4 alone, a server with IPv6 alone, and the proxy between them.
struct Site {
    world: World,
    client: NodeId,
    proxy: NodeId,
    server: NodeId,
}

impl Site {
    fn new(name: &str, seed: u64, connect: &str, change: impl FnOnce(&mut PortProxy)) -> Self {
        let mut world = World::for_test(name, seed);
        let router = IsatapRouter::new(vec![PROXY.parse().unwrap()], vec!["2001:db8:0:7::/64".parse().unwrap()]);
        let options = GatewayOptions::new(router).lan(PROXY_INSIDE.parse().unwrap(), 64);
        let bare = GatewayOptions { tunnels: Vec::new(), lans: Vec::new(), ..options.clone() };
        let proxy = add(&mut world, "proxy", PROXY, &options);
        let client = add(&mut world, "A", CLIENT, &bare);
        let on_link = "2001:db8:0:8::/64".parse().unwrap();
        let server = world.add("C", NativeHost::new(SERVER.parse().unwrap(), on_link, None));
        let lan = world.add_lan("lan");
        world.join(proxy, isatap_std::lab::LAN_LINK, lan);
        world.join(server, NATIVE_LINK, lan);
        let mut rule = PortProxy::new(format!("{PROXY}:80").parse().unwrap());
        rule.connect = Some(connect.parse().unwrap());
        change(&mut rule);
        world.port_proxy(proxy, &[rule]);
        world.serve(server, 80, Answer::Same);
        Site { world, client, proxy, server }
    }

    fn usual(name: &str, seed: u64) -> Self {
        Self::new(name, seed, &format!("[{SERVER}]:80"), |_| {})
    }

    fn served(&self) -> Vec<Served> {
        self.world.served(self.server)
    }
}

/// By itself, since a gateway takes much of a small stack.
fn add(world: &mut World, name: &str, ipv4: &str, options: &GatewayOptions) -> NodeId {
    let node: Gateway = Gateway::new(options).unwrap();
    let id = world.add(name, node);
    world.set_ipv4(id, &[ipv4.parse().unwrap()]);
    id
}

fn at(port: u16) -> SocketAddr {
    SocketAddr::new(PROXY.parse().unwrap(), port)
}

/// `PPX-3`, `PPX-7`: half a megabyte goes through a network that loses, doubles and reorders, by more than
/// any buffer on the way; the answer to all of it comes back behind the client's end.
#[test]
fn ppx_3_ppx_7_bytes_arrive_unchanged_through_a_bad_network() {
    const BYTES: usize = 500_000;
    for seed in 1..=10 {
        let mut site = Site::usual("portproxy-bytes", seed);
        let conditions = &mut site.world.cloud.conditions;
        (conditions.loss, conditions.duplication, conditions.reordering) =
            (Chance::percent(2), Chance::percent(1), Chance::percent(2));
        site.world.keep_journey(false);
        let connection = site.world.connect(site.client, at(80), BYTES, Then::End);
        let has_ended = |world: &World| matches!(world.connection(connection), ConnectionState::Ended { .. });
        assert!(site.world.run_while_not(Duration::from_secs(600), has_ended), "seed {seed}");
        let state = site.world.connection(connection);
        assert!(matches!(state, ConnectionState::Ended { same: Some(BYTES), .. }), "seed {seed}: {state:?}");
        let from = SocketAddr::new(PROXY_INSIDE.parse().unwrap(), 40_000);
        assert_eq!(site.served(), [Served { from, bytes: BYTES, end: Some(ServedEnd::End) }], "seed {seed}");
        let [rule] = &site.world.rule_statuses(site.proxy)[..] else { panic!("one rule") };
        assert_eq!((rule.bytes_to_target, rule.bytes_to_client), (BYTES as u64, BYTES as u64));
        assert_eq!((rule.connections, rule.total, rule.reset), (0, 1, 0));
    }
}

/// `PPX-6`: the client of a target that is silent is reset when the time is over, to the millisecond.
#[test]
fn ppx_6_a_silent_target_is_given_up_when_its_time_is_over() {
    for (seconds, name) in [(20, "portproxy-20"), (3, "portproxy-3")] {
        let mut site = Site::new(name, 1, "[2001:db8:0:8::dead]:80", |rule| rule.connect_timeout = seconds);
        let connection = site.world.connect(site.client, at(80), 100, Then::End);
        site.world.run_for(Duration::from_secs(40));
        let ConnectionState::Reset { after } = site.world.connection(connection) else { panic!("no reset") };
        // To the proxy and back takes 10 ms, and its last answer to the client 5 ms.
        let late = after.saturating_sub(Duration::from_secs(seconds.into()));
        assert!(late >= Duration::from_millis(10) && late < Duration::from_millis(30), "{after:?}");
        assert_eq!(site.world.rule_statuses(site.proxy)[0].refused["target-timeout"], 1);
    }
}

/// `PPX-7`: neither side takes a reset for an end.
#[test]
fn ppx_7_the_end_of_one_direction_and_a_reset_are_passed_on_as_they_are() {
    let mut site = Site::usual("portproxy-ends", 1);
    let connection = site.world.connect(site.client, at(80), 100, Then::Keep);
    site.world.run_for(Duration::from_secs(5));
    assert_eq!(site.world.connection(connection), ConnectionState::Open);
    assert_eq!(site.served().last().map(|served| (served.bytes, served.end)), Some((100, None)));
    // The client's end: C answers behind it.
    site.world.hang_up(site.client);
    site.world.run_for(Duration::from_secs(1));
    assert!(matches!(site.world.connection(connection), ConnectionState::Ended { same: Some(100), .. }));
    let connection = site.world.connect(site.client, at(80), 100, Then::Reset);
    site.world.run_for(Duration::from_secs(1));
    assert_eq!(site.world.connection(connection), ConnectionState::Left);
    assert_eq!(site.served().last().map(|served| served.end), Some(Some(ServedEnd::Reset)));
    assert_eq!(site.world.rule_statuses(site.proxy)[0].reset, 1);
}

/// A port where nobody listens is refused, as on every machine, and what is far away stays silent.
#[test]
fn a_client_is_refused_where_nobody_listens() {
    let mut site = Site::usual("portproxy-refused", 1);
    let closed = site.world.connect(site.client, at(81), 100, Then::End);
    let nobody = site.world.connect(site.client, "10.9.9.9:80".parse().unwrap(), 100, Then::End);
    let no_way = site.world.connect(site.client, "[2001:db8::1]:80".parse().unwrap(), 100, Then::End);
    site.world.run_for(Duration::from_secs(5));
    assert_eq!(site.world.connection(closed), ConnectionState::Refused);
    assert_eq!(site.world.connection(nobody), ConnectionState::Connecting);
    assert_eq!(site.world.connection(no_way), ConnectionState::Refused);
}

/// The same seed gives the same packets, sequence numbers and all.
#[test]
fn tcp_repeats_itself_from_its_seed() {
    let journey = |seed| -> Vec<Hop> {
        let mut site = Site::usual("portproxy-seed", seed);
        site.world.connect(site.client, at(80), 5000, Then::End);
        site.world.run_for(Duration::from_secs(60));
        assert!(site.world.journey().iter().any(|hop| hop.action == Action::Send));
        site.world.take_journey()
    };
    assert_eq!(journey(1), journey(1));
    assert_ne!(journey(1), journey(2));
}
