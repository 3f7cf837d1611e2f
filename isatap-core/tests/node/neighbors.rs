//! `SEC-1`: nothing goes to, or comes from, a neighbour that is not there.

use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Event, Machine, Ticket, Verdict, Via, WaitEnd};
use isatap_core::isatap::CheckNeighbors;
use isatap_core::link::Link;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::time::Instant;

use crate::support::*;

const HOST4: &str = "10.0.0.3";

/// Switches the check of the router at `id`.
pub fn set_check(node: &mut Any, id: LinkId, check: CheckNeighbors) {
    node.with_interface(NOW, id, |interface, _| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.config_mut().check_neighbors = check;
    });
}

fn checking() -> Border {
    let mut border = border();
    set_check(&mut border.node, border.isatap, CheckNeighbors::On);
    border
}

fn events(node: &mut Any) -> Vec<Event> {
    std::iter::from_fn(|| node.poll_event())
        .filter(|event| matches!(event, Event::Released { .. } | Event::Abandoned { .. }))
        .collect()
}

fn held((verdict, bytes): Outcome, original: &[u8]) -> Ticket {
    let Verdict::Hold { ticket } = verdict else { panic!("{verdict:?}") };
    assert_eq!(bytes, original, "what waits is as it came");
    ticket
}

/// A Neighbor Solicitation for `target` from this router, and nothing else.
fn solicitation(target: &str) -> Inner {
    let rest = [&[0; 4][..], &site6(target).octets()].concat();
    Inner::icmp(site6(SITE4), site6(target), 135, 0, &rest).hops(255)
}

/// The advertisement of a host that is there: `S` set.
fn advertisement(host: &str, flags: u8) -> Inner {
    let rest = [&[flags, 0, 0, 0][..], &site6(host).octets()].concat();
    Inner::icmp(site6(host), site6(SITE4), 136, 0, &rest).hops(255)
}

fn asks(node: &mut Any, host: &str) {
    let sent = transmits(node);
    assert_eq!(sent.len(), 1);
    let sent = seen(&sent[0]);
    assert_eq!((sent.source, sent.destination), (v4(SITE4), v4(host)));
    assert_eq!(sent.inner, solicitation(host).bytes());
}

fn outside(destination: &str) -> Inner {
    Inner::new(v6("2001:db8:99::1"), site6(destination))
}

#[test]
fn sec_1_a_packet_into_the_tunnel_waits_until_its_neighbour_has_answered() {
    let mut border = checking();
    let packet = outside(HOST4);
    let ticket = held(forward_native(&mut border.node, border.lan, &packet), &packet.bytes());
    assert_eq!(held(send(&mut border.node, &packet), &packet.bytes()), ticket, "of our own as well");
    asks(&mut border.node, HOST4);
    assert!(transmits(&mut border.node).is_empty() && events(&mut border.node).is_empty());
    let (verdict, _) = receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert!(matches!(verdict, Verdict::Consumed { .. }), "{verdict:?}");
    let link = border.isatap;
    assert_eq!(events(&mut border.node), [Event::Released { link, ticket }]);
    let (verdict, bytes) = forward_native(&mut border.node, border.lan, &packet);
    assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == border.isatap), "{verdict:?}");
    assert_eq!(seen(&bytes).inner, packet.clone().hops(63).bytes());
    assert_eq!(border.node.counters().held, 2);
    balanced(&border.node);
}

#[test]
fn sec_1_without_an_answer_the_sender_is_told_that_the_address_is_unreachable() {
    let mut border = checking();
    let packet = outside(HOST4);
    let ticket = held(forward_native(&mut border.node, border.lan, &packet), &packet.bytes());
    for second in 0..3 {
        asks(&mut border.node, HOST4);
        border.node.handle_timeout(Instant::from_secs(1001 + second), &mut |out: &mut [u8]| out.fill(0));
    }
    assert!(transmits(&mut border.node).is_empty());
    let told = events(&mut border.node);
    let (link, reason) = (border.isatap, DropReason::NeighborUnverified);
    assert_eq!(told, [Event::Abandoned { link, ticket, reason }]);
    assert_eq!(told[0].wait_end(), Some((ticket, WaitEnd::Again)));
    let (verdict, bytes) = forward_native(&mut border.node, border.lan, &packet);
    assert!(
        matches!(verdict, Verdict::Answer { via: Via::Native { .. }, reason: Some(DropReason::NeighborUnverified) }),
        "{verdict:?}"
    );
    assert_eq!(bytes, error(v6("2001:db8:0:8::1"), &packet.bytes(), 1, 3, 0));
    balanced(&border.node);
}

#[test]
fn sec_1_a_packet_of_an_unknown_neighbour_waits_as_it_came() {
    let mut border = checking();
    let packet = Inner::new(site6(HOST4), v6("2001:db8:99::1")).from(HOST4, SITE4);
    let ticket = held(forward(&mut border.node, &packet), &packet);
    assert_eq!(held(receive(&mut border.node, &packet), &packet), ticket, "for a kernel to forward as well");
    asks(&mut border.node, HOST4);
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_eq!(events(&mut border.node).len(), 1);
    assert!(matches!(forward(&mut border.node, &packet).0, Verdict::Native { .. }));
    assert!(matches!(receive(&mut border.node, &packet).0, Verdict::Deliver { .. }));
    // What is for the router itself goes nowhere, and waits for nobody.
    let own = Inner::echo("2001:db8:0:7:0:5efe:a00:4", "2001:db8:0:7:0:5efe:a00:1").from("10.0.0.4", SITE4);
    assert!(matches!(forward(&mut border.node, &own).0, Verdict::Deliver { .. }));
    // One who does not answer is not believed, in silence.
    let made_up = Inner::new(site6("10.0.0.9"), v6("2001:db8:99::1")).from("10.0.0.9", SITE4);
    held(forward(&mut border.node, &made_up), &made_up);
    for second in 0..3 {
        transmits(&mut border.node);
        border.node.handle_timeout(Instant::from_secs(1001 + second), &mut |out: &mut [u8]| out.fill(0));
    }
    let (verdict, bytes) = forward(&mut border.node, &made_up);
    assert_eq!(verdict, Verdict::Drop(DropReason::NeighborUnverified));
    assert_eq!(bytes, made_up);
    balanced(&border.node);
}

#[test]
fn sec_1_only_a_solicited_advertisement_of_the_neighbour_itself_counts() {
    let mut border = checking();
    let packet = outside(HOST4);
    // Before it was asked, nobody has to answer.
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    held(forward_native(&mut border.node, border.lan, &packet), &packet.bytes());
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    asks(&mut border.node, HOST4);
    let mut of_another = advertisement(HOST4, 0x40);
    of_another.source = site6("10.0.0.4");
    let of_another = Inner::icmp(of_another.source, site6(SITE4), 136, 0, &of_another.payload[4..]).hops(255);
    for (inner, outer) in [(advertisement(HOST4, 0), HOST4), (of_another, "10.0.0.4")] {
        let (verdict, _) = receive(&mut border.node, &inner.from(outer, SITE4));
        assert_eq!(verdict, Verdict::Drop(DropReason::NdUnknownTarget), "{inner:?}");
    }
    assert!(events(&mut border.node).is_empty());
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_eq!(events(&mut border.node).len(), 1);
}

#[test]
fn sec_1_threads_leave_a_neighbour_that_is_not_verified_to_the_owner() {
    let mut border = checking();
    let out = outside(HOST4);
    let back = Inner::new(site6(HOST4), v6("2001:db8:99::1")).from(HOST4, SITE4);
    let punt = Verdict::Punt { link: border.isatap };
    let snapshot = border.node.snapshot();
    assert_eq!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)), (punt, out.bytes()));
    assert_eq!(with(&back, |packet| snapshot.decapsulate(packet)), (punt, back.clone()));
    assert_eq!(with(&back, |packet| snapshot.forward(packet, 1)), (punt, back.clone()));
    held(send(&mut border.node, &out), &out.bytes());
    asks(&mut border.node, HOST4);
    let before = border.node.generation();
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_ne!(border.node.generation(), before, "a new snapshot is due");
    let snapshot = border.node.snapshot();
    assert!(matches!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)).0, Verdict::Tunnel { .. }));
    assert!(matches!(with(&back, |packet| snapshot.forward(packet, 1)).0, Verdict::Native { .. }));
    assert!(border.node.interface(border.isatap).unwrap().is_verified(&site6(HOST4)));
}

#[test]
fn sec_1_off_unless_asked_for_and_by_choice_only_where_nothing_else_sees_loops() {
    let checks = |address: &str, check, tell: fn(&mut isatap_core::isatap::RouterInterface<_>)| {
        let mut border = border_of(isatap_core::node::NodeConfig::DEFAULT, address);
        set_check(&mut border.node, border.isatap, check);
        border
            .node
            .with_interface(NOW, border.isatap, |interface, _| {
                let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
                tell(router);
                router.checks_neighbors()
            })
            .unwrap()
    };
    let default = isatap_core::isatap::RouterConfig::DEFAULT.check_neighbors;
    assert!(!checks(SITE4, default, |_| ()));
    assert!(checks("131.107.71.209", CheckNeighbors::On, |_| ()));
    for (address, private) in [(SITE4, true), ("100.64.0.1", true), ("131.107.71.209", false)] {
        assert_eq!(checks(address, CheckNeighbors::WhereBlind, |_| ()), private, "{address}");
    }
    assert!(!checks(SITE4, CheckNeighbors::WhereBlind, |router| {
        router.link_mut().add_member(Ipv4Prefix::new(v4(SITE4), 24).unwrap()).unwrap();
    }));
    assert!(!checks(SITE4, CheckNeighbors::WhereBlind, |router| router.link_mut().set_refuse_routers(true)));
}

#[test]
fn sec_1_a_router_that_is_configured_is_not_asked() {
    let mut border = checking();
    border.node.with_interface(NOW, border.isatap, |interface, _| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.add_known_router(v4("10.0.0.2")).unwrap();
    });
    assert!(matches!(send(&mut border.node, &outside("10.0.0.2")).0, Verdict::Tunnel { .. }));
    let by_router = Inner::new(v6("2001:db8:77::1"), v6("2001:db8:99::1")).from("10.0.0.2", SITE4);
    assert!(matches!(forward(&mut border.node, &by_router).0, Verdict::Native { .. }));
}
