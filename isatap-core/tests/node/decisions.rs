//! A table of decisions changes nothing but time.

use crate::oracle::twins;
use crate::support::*;
use isatap_core::configured;
use isatap_core::datapath::{Decision, Decisions, Switches};
use isatap_core::engine::{Machine, Verdict};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{CheckNeighbors, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::NativeLink;
use isatap_core::node::{AnyInterface, AnyNode, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::route::{Origin, Route};
use isatap_core::time::Duration;
use isatap_core::time::Instant;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::Cell;

/// Bytes that one number makes, so that a failure can be read.
fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ state >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb)
    };
    (0..1000).flat_map(|_| next().to_be_bytes()).collect()
}

fn twins_agree(cases: u32, least_hits: u64) {
    let found = Cell::new(0);
    let mut runner = TestRunner::new(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) });
    let result = runner.run(&any::<u64>().no_shrink(), |seed| {
        found.set(found.get() + twins::found(&noise(seed)));
        Ok(())
    });
    result.unwrap();
    assert!(found.get() > least_hits, "decisions were found {} times", found.get());
}

#[test]
fn two_nodes_of_which_one_remembers_agree() {
    twins_agree(2_000, 10_000);
}

/// The same for longer, before a release.
#[test]
#[ignore = "minutes: .ci/run release"]
fn two_nodes_of_which_one_remembers_agree_for_longer() {
    twins_agree(100_000, 500_000);
}

type Remembering = AnyNode<isatap_core::capacity::Standard, 4, Decisions<[Decision; 8]>>;

/// A configured tunnel and a LAN, which forward.
fn border() -> (Remembering, LinkId) {
    let mut node = Remembering::with_decisions(NodeConfig::DEFAULT, Decisions::new());
    let tunnel = configured::ConfiguredInterface::new(configured::Config::new(v4(NEAR4), v4(FAR4)));
    let tunnel = node.add(AnyInterface::Configured(tunnel), Switches::FORWARDING).unwrap();
    let lan = node.add(AnyInterface::Native(NativeLink::new(1500)), Switches::FORWARDING).unwrap();
    node.insert_route(Route::on_link(LAN_PREFIX.parse().unwrap(), lan, Origin::Manual)).unwrap();
    node.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
    (node, tunnel)
}

/// A packet of flow `number` through it; whether its decision was remembered.
fn is_known(node: &mut Remembering, number: u16) -> bool {
    let before = node.decisions().hits();
    let source = format!("2001:db8:f::{number:x}");
    let outer = Outer::new(v4(FAR4), v4(NEAR4)).around(&Inner::new(v6(&source), v6("2001:db8:0:8::2")).bytes());
    let (verdict, _) = with(&outer, |packet| pulled(packet, |outer, packet| node.forward(NOW, outer, packet)));
    assert!(matches!(verdict, Verdict::Native { .. }), "{verdict:?}");
    node.decisions().hits() > before
}

#[test]
fn a_decision_is_made_again_after_each_kind_of_change() {
    let (mut node, tunnel) = border();
    let route = Route::on_link("2001:db8:77::/48".parse().unwrap(), tunnel, Origin::Manual);
    let changes: [&dyn Fn(&mut Remembering); 7] = [
        &|node| node.insert_route(route).unwrap(),
        &|node| assert!(node.remove_route(&route.key()).is_some()),
        &|node| node.switches_mut(tunnel).unwrap().loop_checks ^= true,
        &|node| node.set_metric(tunnel, 7).unwrap(),
        &|node| node.set_order(&[tunnel]),
        &|node| node.add_known_prefix("2001:db8:99::/64".parse().unwrap()).unwrap(),
        &|node| {
            node.with_interface(NOW, tunnel, |interface, _| {
                interface.link_mut().underlay_mut().policy.link_mtu = 1300;
            });
        },
    ];
    assert!(!is_known(&mut node, 1) && is_known(&mut node, 1));
    for change in changes {
        change(&mut node);
        assert!(!is_known(&mut node, 1) && is_known(&mut node, 1));
    }
    // What changes no table leaves it: time that brings nothing, a solicitation that is refused.
    node.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
    while node.poll_event().is_some() {}
    let question = Inner::icmp(v6("fe80::1"), v6("fe80::2"), 135, 0, &[0; 20]);
    let outer = Outer::new(v4(FAR4), v4(NEAR4)).around(&question.bytes());
    with(&outer, |packet| node.decapsulate_ipv4(NOW, packet));
    assert!(is_known(&mut node, 1), "no stranger makes decisions void");
}

#[test]
fn a_flood_of_new_flows_takes_no_row_that_is_in_use() {
    let (mut node, _) = border();
    is_known(&mut node, 1);
    let lost = (2..2000).filter(|number| {
        is_known(&mut node, *number);
        !is_known(&mut node, 1)
    });
    assert_eq!(lost.count(), 0);
}

/// A remembered flow ends with its neighbour's answer: the next packet has it asked, and where nobody answers packets
/// wait again, however often the flow was found before.
#[test]
fn sec_1_a_remembered_flow_is_good_no_longer_than_its_neighbours_answer() {
    let (mut node, _) = border();
    let mut config = RouterConfig::DEFAULT;
    config.check_neighbors = CheckNeighbors::On;
    let router = AnyInterface::IsatapRouter(RouterInterface::new(config));
    let link = node.add(router, Switches::FORWARDING).unwrap();
    node.with_interface(NOW, link, |interface, cx| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.set_locators(cx, &locators(&[SITE4])).unwrap();
        router.publish(cx, PublishedPrefix::new(ISATAP_PREFIX.parse().unwrap())).unwrap();
    });
    const HOST4: &str = "10.0.0.3";
    let packet = Inner::new(site6(HOST4), v6("2001:db8:0:8::2")).from(HOST4, SITE4);
    let at = |node: &mut Remembering, now: Instant, bytes: &[u8]| {
        let before = node.decisions().hits();
        node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0x5a));
        while node.poll_event().is_some() {}
        let (verdict, _) = with(bytes, |packet| pulled(packet, |outer, packet| node.forward(now, outer, packet)));
        (verdict, node.decisions().hits() > before)
    };
    let asked = |node: &mut Remembering| {
        let mut buffer = [0; HEADROOM + 1500];
        let mut packet = PacketMut::empty(&mut buffer);
        std::iter::from_fn(|| node.poll_transmit(&mut packet).unwrap()).count()
    };
    assert!(matches!(at(&mut node, NOW, &packet), (Verdict::Hold { .. }, false)));
    assert_eq!(asked(&mut node), 1);
    let rest = [&[0x40, 0, 0, 0][..], &site6(HOST4).octets()].concat();
    let answer = Inner::icmp(site6(HOST4), site6(SITE4), 136, 0, &rest).hops(255).from(HOST4, SITE4);
    assert!(matches!(at(&mut node, NOW, &answer), (Verdict::Consumed { .. }, false)));
    assert!(matches!(at(&mut node, NOW, &packet), (Verdict::Native { .. }, false)), "decided, and remembered");
    let end = NOW.saturating_add(Duration::from_secs(30));
    let before = NOW.saturating_add(Duration::from_micros(29_999_999));
    assert!(matches!(at(&mut node, before, &packet), (Verdict::Native { .. }, true)));
    assert_eq!(asked(&mut node), 0);
    assert!(matches!(at(&mut node, end, &packet), (Verdict::Native { .. }, false)), "good while it is asked anew");
    assert_eq!(asked(&mut node), 1);
    let later = |seconds| end.saturating_add(Duration::from_secs(seconds));
    for second in 1..=2 {
        assert!(matches!(at(&mut node, later(second), &packet).0, Verdict::Native { .. }));
        assert_eq!(asked(&mut node), 1);
    }
    assert!(matches!(at(&mut node, later(3), &packet), (Verdict::Hold { .. }, false)));
}

/// Who carries packets of more flows than there are rows hears of those that he has, each time that one is decided anew.
#[test]
fn a_decision_is_told_of_as_it_is_made_and_as_it_serves_again() {
    let (mut node, tunnel) = border();
    node.insert_route(Route::on_link("2001:db8:77::/48".parse().unwrap(), tunnel, Origin::Manual)).unwrap();
    let mut told = |number: u16| {
        let inner = Inner::new(v6("2001:db8:0:8::2"), v6(&format!("2001:db8:77::{number:x}"))).bytes();
        let (verdict, _) = with(&inner, |packet| node.encapsulate(NOW, packet));
        assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
        node.last_sends().map(|sends| sends.again)
    };
    for _ in 0..2 {
        // Eight rows hold few of them until they come again.
        let told: Vec<_> = (1..100).map(&mut told).collect();
        assert!(told.iter().all(Option::is_some) && told.iter().filter(|again| **again == Some(false)).count() > 80);
    }
    assert_eq!(told(99), Some(true));
}
