//! `SEC-1`: nothing goes to, or comes from, a neighbour that is not there.

use isatap_core::capacity::Standard;
use isatap_core::datapath::Datapath;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Carried, Event, Machine, Ticket, Verdict, Via, WaitEnd};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{CheckNeighbors, RouterConfig, RouterInterface};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Route};
use isatap_core::time::{Expiry, Instant};

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
    // The key of its table is drawn before anybody is asked.
    border.node.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(0x5a));
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

/// The same of a packet that came behind a header: that is off.
fn held_inner(outcome: Outcome, original: &[u8]) -> Ticket {
    held(outcome, &original[20..])
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

/// Packets that are carried elsewhere, by the kernel say, do not stop while it is asked.
#[test]
fn sec_1_a_neighbour_whose_packets_are_carried_elsewhere_is_asked_ahead() {
    let mut border = checking();
    held(forward_native(&mut border.node, border.lan, &outside(HOST4)), &outside(HOST4).bytes());
    asks(&mut border.node, HOST4);
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_eq!(events(&mut border.node).len(), 1, "the end of the wait");
    let at = |second: u64| Instant::from_secs(1000 + second);
    let (link, device) = (border.isatap, border.isatap);
    let part = |destination| Carried { link, device, destination, peer: site6(HOST4), since: at(0), packets: 1 };
    let good = Some(Expiry::at(at(30)));
    assert_eq!(border.node.carried(at(20), &part(Some(v4(HOST4)))), good);
    assert!(transmits(&mut border.node).is_empty());
    // By somebody else, who has another row.
    assert_eq!(border.node.carried(at(28), &part(Some(v4(SITE4)))), None);
    assert!(transmits(&mut border.node).is_empty());
    assert_eq!(border.node.carried(at(28), &part(None)), good);
    asks(&mut border.node, HOST4);
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_eq!(border.node.carried(at(29), &part(Some(v4(HOST4)))), Some(Expiry::at(at(58))));
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
    let ticket = held_inner(forward(&mut border.node, &packet), &packet);
    assert_eq!(held_inner(receive(&mut border.node, &packet), &packet), ticket, "for a kernel to forward as well");
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
    held_inner(forward(&mut border.node, &made_up), &made_up);
    for second in 0..3 {
        transmits(&mut border.node);
        border.node.handle_timeout(Instant::from_secs(1001 + second), &mut |out: &mut [u8]| out.fill(0));
    }
    let (verdict, bytes) = forward(&mut border.node, &made_up);
    assert_eq!(verdict, Verdict::Drop(DropReason::NeighborUnverified));
    assert_eq!(bytes, made_up[20..]);
    balanced(&border.node);
}

/// Whoever keeps a packet keeps the header that it came behind, and hands both
/// in again: the congestion mark is then in the packet already.
#[test]
fn sec_1_tun_52_what_waited_or_was_punted_is_handed_in_again_behind_its_header() {
    for (inner_mark, outer_mark) in (0..16_u8).map(|pair| (pair & 3, pair >> 2)) {
        let mut border = checking();
        let outer = Outer { tos: 0x28 | outer_mark, ..Outer::new(v4(HOST4), v4(SITE4)) };
        let came = Inner::new(site6(HOST4), v6("2001:db8:99::1")).class(0xb8 | inner_mark);
        let combined = match (inner_mark, outer_mark) {
            (0, 3) => {
                let refused = (Verdict::Drop(DropReason::EcnNotCapable), came.bytes());
                assert_eq!(with(&came.bytes(), |packet| border.node.forward(NOW, &outer, packet)), refused);
                continue;
            }
            (0, _) => 0,
            (3, _) | (_, 3) => 3,
            (2, 1) => 1,
            (inner, _) => inner,
        };
        let marked = came.clone().class(0xb8 | combined);
        let snapshot = border.node.datapath().clone();
        let punted = with(&came.bytes(), |packet| snapshot.forward(&outer, packet, 1));
        assert_eq!(punted, (Verdict::Punt { link: border.isatap }, marked.bytes()), "{inner_mark} in {outer_mark}");
        held(with(&punted.1, |packet| border.node.forward(NOW, &outer, packet)), &marked.bytes());
        let kept = with(&came.bytes(), |packet| border.node.forward(NOW, &outer, packet));
        held(kept.clone(), &marked.bytes());
        asks(&mut border.node, HOST4);
        receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
        for bytes in [kept.1, came.bytes()] {
            let (verdict, after) = with(&bytes, |packet| border.node.forward(NOW, &outer, packet));
            assert!(matches!(verdict, Verdict::Native { .. }), "{verdict:?}");
            assert_eq!(after, marked.clone().hops(63).bytes(), "{inner_mark} in {outer_mark}");
        }
        balanced(&border.node);
    }
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
    let snapshot = border.node.datapath().clone();
    assert_eq!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)), (punt, out.bytes()));
    let inner = || back[20..].to_vec();
    let decapsulated = with(&back, |packet| pulled(packet, |outer, rest| snapshot.decapsulate(outer, rest)));
    assert_eq!(decapsulated, (punt, inner()));
    let forward = |snapshot: &Datapath<AnyInterface<Standard>, Standard, 4>| {
        with(&back, |packet| pulled(packet, |outer, rest| snapshot.forward(outer, rest, 1)))
    };
    assert_eq!(forward(&snapshot), (punt, inner()));
    held(send(&mut border.node, &out), &out.bytes());
    asks(&mut border.node, HOST4);
    let before = border.node.generation();
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    assert_ne!(border.node.generation(), before, "a new snapshot is due");
    let snapshot = border.node.datapath().clone();
    assert!(matches!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)).0, Verdict::Tunnel { .. }));
    assert!(matches!(forward(&snapshot).0, Verdict::Native { .. }));
    assert!(border.node.interface(border.isatap).unwrap().control().is_verified(&site6(HOST4)));
    // They have no clock: what was last heard 30 s ago is the owner's to ask again.
    while let Some(now) = border.node.poll_timeout().filter(|now| *now <= Instant::from_secs(1030)) {
        border.node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0));
        while border.node.poll_event().is_some() {}
    }
    let snapshot = border.node.datapath().clone();
    assert_eq!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)), (punt, out.bytes()));
    assert_eq!(forward(&snapshot), (punt, inner()));
    // While it is asked anew, readers believe it again: they are told by the generation.
    let before = border.node.generation();
    assert!(matches!(send(&mut border.node, &out).0, Verdict::Tunnel { .. }));
    assert_ne!(border.node.generation(), before, "a new snapshot is due");
    let snapshot = border.node.datapath().clone();
    assert!(matches!(with(&out.bytes(), |packet| snapshot.encapsulate(packet, 1)).0, Verdict::Tunnel { .. }));
    asks(&mut border.node, HOST4);
}

/// Whom a router at `address` asks before it forwards to him.
fn asked(address: &str, check: CheckNeighbors, tell: impl FnOnce(&mut RouterInterface<Standard>)) -> [bool; 2] {
    let mut border = border_of(NodeConfig::DEFAULT, address);
    set_check(&mut border.node, border.isatap, check);
    border.node.with_interface(NOW, border.isatap, |interface, _| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        tell(router);
    });
    ["10.0.0.3", "131.107.200.3"].map(|host| match send(&mut border.node, &outside(host)).0 {
        Verdict::Hold { .. } => true,
        Verdict::Tunnel { .. } => false,
        other => panic!("{other:?}"),
    })
}

#[test]
fn sec_1_by_default_who_has_a_private_address_is_asked_and_everybody_by_who_has_one() {
    let default = RouterConfig::DEFAULT.check_neighbors;
    assert_eq!(default, CheckNeighbors::WhereBlind);
    for (address, everybody) in [(SITE4, true), ("100.64.0.1", true), ("131.107.71.209", false)] {
        assert_eq!(asked(address, default, |_| ()), [true, everybody], "{address}");
        assert_eq!(asked(address, CheckNeighbors::On, |_| ()), [true, true], "{address}");
        assert_eq!(asked(address, CheckNeighbors::Off, |_| ()), [false, false], "{address}");
    }
}

/// Two routers may both be members, and a list may lack one.
#[test]
fn sec_1_neither_members_nor_known_routers_replace_the_question() {
    let check = CheckNeighbors::WhereBlind;
    for site in ["10.0.0.0/8", "10.0.0.0/24", "0.0.0.0/0"] {
        let members = |router: &mut RouterInterface<Standard>| {
            router.link_mut().add_member(site.parse().unwrap()).unwrap();
            router.link_mut().add_member("131.107.0.0/16".parse().unwrap()).unwrap();
        };
        assert_eq!(asked(SITE4, check, members), [true, true], "{site}");
    }
    assert_eq!(asked(SITE4, check, |router| router.set_known_routers(&[v4("10.0.0.2")]).unwrap()), [true, true]);
}

#[test]
fn sec_1_a_host_that_solicits_and_answers_is_known_before_its_first_packet() {
    let mut border = checking();
    let solicitation = Inner::icmp(isatap6("fe80::", HOST4), v6("ff02::2"), 133, 0, &[0; 4]).hops(255);
    receive(&mut border.node, &solicitation.from(HOST4, SITE4));
    for _ in 0..2 {
        let now = border.node.poll_timeout().unwrap();
        border.node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0));
    }
    let sent = transmits(&mut border.node);
    let kinds: Vec<u8> = sent.iter().map(|packet| seen(packet).inner[40]).collect();
    assert_eq!(kinds, [134, 135], "an advertisement, and a question behind it");
    let question = seen(&sent[1]);
    assert_eq!(question.destination, v4(HOST4));
    // Of an address in the prefix: a router of another site has a link-local one too.
    assert_eq!(question.inner, self::solicitation(HOST4).bytes());
    receive(&mut border.node, &advertisement(HOST4, 0x40).from(HOST4, SITE4));
    let first = Inner::new(site6(HOST4), v6("2001:db8:99::1")).from(HOST4, SITE4);
    assert!(matches!(forward(&mut border.node, &first).0, Verdict::Native { .. }));
    assert!(matches!(forward_native(&mut border.node, border.lan, &outside(HOST4)).0, Verdict::Tunnel { .. }));
    assert!(transmits(&mut border.node).is_empty());
    assert_eq!(border.node.counters().held, 0);
}

/// A router of another site has `fe80::5efe:V4` as every ISATAP node has.
#[test]
fn sec_1_the_link_local_address_vouches_for_no_other() {
    let mut border = checking();
    let packet = Inner::new(site6(HOST4), v6("2001:db8:99::1")).from(HOST4, SITE4);
    held_inner(forward(&mut border.node, &packet), &packet);
    asks(&mut border.node, HOST4);
    let local = isatap6("fe80::", HOST4);
    let rest = [&[0x40, 0, 0, 0][..], &local.octets()].concat();
    let answer = Inner::icmp(local, isatap6("fe80::", SITE4), 136, 0, &rest).hops(255);
    assert_eq!(
        receive(&mut border.node, &answer.from(HOST4, SITE4)).0,
        Verdict::Drop(DropReason::NdUnknownTarget),
        "nobody asked"
    );
    held_inner(forward(&mut border.node, &packet), &packet);
}

/// What it sends is let in; that an address is its own is asked all the same,
/// or two routers that trust each other would be two halves of a loop.
#[test]
fn sec_1_a_trusted_router_is_asked_unless_a_route_names_it() {
    let mut border = checking();
    border.node.with_interface(NOW, border.isatap, |interface, _| {
        let AnyInterface::IsatapRouter(router) = interface else { unreachable!() };
        router.add_trusted_router(v4("10.0.0.2")).unwrap();
    });
    held(send(&mut border.node, &outside("10.0.0.2")), &outside("10.0.0.2").bytes());
    let by_router = Inner::new(v6("2001:db8:77::1"), v6("2001:db8:99::1")).from("10.0.0.2", SITE4);
    assert!(matches!(forward(&mut border.node, &by_router).0, Verdict::Native { .. }));
    for (next_hop, is_asked) in [("10.0.0.2", false), ("10.0.0.3", true)] {
        let next_hop = isatap6("fe80::", next_hop);
        route(&mut border.node, "2001:db8:77::/48", border.isatap, &next_hop.to_string());
        let (verdict, _) = send(&mut border.node, &Inner::of("2001:db8:99::1", "2001:db8:77::1"));
        assert_eq!(matches!(verdict, Verdict::Hold { .. }), is_asked, "{next_hop}: {verdict:?}");
        border.node.remove_route(
            &Route::via("2001:db8:77::/48".parse().unwrap(), border.isatap, next_hop, Origin::Manual).key(),
        );
    }
}
