//! Configured tunnels, driven through bytes.

use crate::support::*;
use isatap_core::capacity::Standard;
use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Admitted, Change, Event, Machine, Verdict, Via};
use isatap_core::link::{InterfaceAddress, Locator};
use isatap_core::nd::neighbor::Reachability;
use isatap_core::node::{Node, NodeConfig};
use isatap_core::packet::{HEADROOM, LinkId, PacketMut};
use isatap_core::proto41::Outer;
use isatap_core::route::{Origin, Route};

const LINK: LinkId = LinkId(0);
const CONSUMED: Verdict = Verdict::Consumed { link: LINK };

type Tunnel = Run<Node<ConfiguredInterface<Standard>, Standard, 1>>;

/// From 192.0.2.1 to 198.51.100.1, 2001:db8::1/64, default route into it.
fn tunnel(config: Config, switches: Switches) -> Tunnel {
    let mut node = Node::new(NodeConfig::DEFAULT);
    let id = node.add(ConfiguredInterface::new(config), switches).unwrap();
    let address = InterfaceAddress { address: v6("2001:db8::1"), prefix_length: 64 };
    node.with_interface(at(1.0), id, |tunnel, cx| tunnel.add_address(cx, address)).unwrap().unwrap();
    node.insert_route(Route::via(prefix("::/0"), id, v6("fe80::c633:6401"), Origin::Manual)).unwrap();
    let mut run = Run::new(node, Dice::Middle);
    run.drain();
    run
}

fn config() -> Config {
    Config::new(v4("192.0.2.1"), v4("198.51.100.1"))
}

fn standard() -> Tunnel {
    tunnel(config(), Switches::DEFAULT)
}

/// An IPv6 packet from the other end.
fn from_remote(tunnel: &mut Tunnel, inner: &[u8]) -> Verdict {
    tunnel.receive(&outer("198.51.100.1", "192.0.2.1", inner))
}

fn reachability(tunnel: &Tunnel) -> Option<Reachability> {
    tunnel.machine.interface(LINK).unwrap().remote_reachability()
}

#[test]
fn tun_60_everything_goes_to_the_configured_remote_whatever_the_addresses_say() {
    let mut tunnel = standard();
    let ends = Ok((v4("192.0.2.1"), v4("198.51.100.1")));
    // 6to4, ISATAP, IPv4-compatible: nothing in them is looked at.
    for destination in ["2001:db8:5::1", "2002:a00:5::1", "2001:db8:5::5efe:10.0.0.5", "::10.0.0.5", "2001:db8::99"] {
        assert_eq!(tunnel.send(v6("2001:db8::1"), v6(destination)), ends, "{destination}");
    }
    assert_eq!(tunnel.send(v6("fe80::c000:201"), v6("fe80::c633:6401")), ends);
    // A point-to-point link carries groups.
    assert_eq!(tunnel.send(v6("fe80::c000:201"), v6("ff02::5")), ends);
}

#[test]
fn tun_60_tun_13_only_the_configured_remote_is_heard() {
    let inner = ipv6(v6("2001:db8:5::1"), v6("2001:db8::1"), 59, 64, &[]);
    for (from, to, expected) in [
        ("198.51.100.1", "192.0.2.1", Verdict::Deliver { link: LINK, from: Admitted::Remote }),
        ("198.51.100.2", "192.0.2.1", Verdict::Drop(DropReason::NotAddressed)),
        ("198.51.100.1", "192.0.2.2", Verdict::Drop(DropReason::NotAddressed)),
    ] {
        assert_eq!(standard().receive(&outer(from, to, &inner)), expected, "{from} {to}");
    }
}

#[test]
fn tun_61_it_has_the_link_local_address_of_its_ipv4_address() {
    let tunnel = standard();
    let addresses: Vec<_> = tunnel.addresses.keys().map(ToString::to_string).collect();
    assert_eq!(addresses, ["2001:db8::1", "fe80::c000:201"]);
}

#[test]
fn tun_62_tun_63_probes_are_answered_and_link_layer_addresses_ignored() {
    let target = v6("fe80::c000:201");
    let peer = v6("fe80::c633:6401");
    let with_address = [ns(target), vec![1, 1, 192, 0, 2, 99, 0, 0]].concat();
    for message in [ns(target), with_address] {
        for (forwarding, flags) in [(Switches::DEFAULT, 0x40), (Switches::FORWARDING, 0xc0)] {
            let mut tunnel = tunnel(config(), forwarding);
            let verdict = from_remote(&mut tunnel, &nd(peer, target, message.clone()));
            assert!(matches!(verdict, Verdict::Answer { via: Via::Tunnel { .. }, reason: None }), "{verdict:?}");
            let sent = tunnel.take().pop().unwrap();
            assert_eq!(sent.outer, (v4("192.0.2.1"), v4("198.51.100.1")));
            assert_eq!((sent.kind(), sent.source, sent.destination, sent.icmpv6[4]), (NA, target, peer, flags));
            assert_eq!(sent.icmpv6[8..], target.octets(), "and no link-layer address");
        }
    }
    // NDP-68: not an address of this interface.
    let verdict = from_remote(&mut standard(), &nd(peer, v6("2001:db8::9"), ns(v6("2001:db8::9"))));
    assert_eq!(verdict, Verdict::Drop(DropReason::NdUnknownTarget));
}

#[test]
fn ndp_52_tun_61_duplicate_address_detection_of_the_peer_is_answered_to_all() {
    let target = v6("fe80::c000:201");
    let mut tunnel = standard();
    let question = nd(v6("::"), v6("ff02::1:ff00:201"), ns(target));
    let verdict = from_remote(&mut tunnel, &question);
    assert!(matches!(verdict, Verdict::Answer { .. }), "{verdict:?}");
    let sent = tunnel.take().pop().unwrap();
    assert_eq!((sent.destination, sent.icmpv6[4]), (ALL_NODES, 0), "S = 0: nobody asked by name");
    // An address that is not ours is free for the peer.
    let question = nd(v6("::"), v6("ff02::1:ff00:7"), ns(v6("2001:db8::7")));
    assert_eq!(from_remote(&mut tunnel, &question), Verdict::Drop(DropReason::NdUnknownTarget));
}

#[test]
fn tun_62_ndp_50_the_remote_is_probed_when_packets_are_sent() {
    let mut tunnel = standard();
    tunnel.pass(secs(1000));
    assert_eq!((tunnel.take(), reachability(&tunnel)), (vec![], None), "no traffic, no probes");
    let peer = v6("fe80::c633:6401");
    tunnel.send(v6("2001:db8::1"), v6("2001:db8:5::1")).unwrap();
    let start = tunnel.now;
    tunnel.pass(secs(5));
    let sent = tunnel.take().pop().unwrap();
    assert_eq!((sent.kind(), sent.source, sent.destination), (NS, v6("fe80::c000:201"), peer));
    assert_eq!((sent.icmpv6.len(), &sent.icmpv6[8..]), (24, &peer.octets()[..]));
    assert_eq!(from_remote(&mut tunnel, &nd(peer, v6("fe80::c000:201"), na(0xc0, peer))), CONSUMED);
    assert_eq!(reachability(&tunnel), Some(Reachability::Reachable));
    // Reachable for 30 s; then a packet, 5 s, and three probes a second apart.
    tunnel.pass(secs(30));
    assert_eq!(reachability(&tunnel), Some(Reachability::Stale));
    tunnel.sent.clear();
    tunnel.send(v6("2001:db8::1"), v6("2001:db8:5::1")).unwrap();
    let second = tunnel.now;
    tunnel.pass(secs(60));
    let times: Vec<_> = tunnel.sent.iter().map(|(at, _)| at.saturating_duration_since(second)).collect();
    assert_eq!(times, [secs(5), secs(6), secs(7)]);
    assert_eq!(reachability(&tunnel), None, "given up, until the next packet");
    assert!(tunnel.send(v6("2001:db8::1"), v6("2001:db8:5::1")).is_ok(), "there is no other way to send it");
    assert!(second > start);
    // The switch.
    let mut quiet = config();
    quiet.probe_remote = false;
    let mut tunnel = self::tunnel(quiet, Switches::DEFAULT);
    tunnel.send(v6("2001:db8::1"), v6("2001:db8:5::1")).unwrap();
    tunnel.pass(secs(100));
    assert_eq!(tunnel.take(), []);
}

/// The length of the subnet comes with the address, which may come later than the tunnel.
#[test]
fn tun_4_a_broadcast_address_is_no_remote() {
    let broadcast = "192.0.2.127";
    let mut tunnel = tunnel(Config::new(v4("192.0.2.1"), v4(broadcast)), Switches::DEFAULT);
    let send = |tunnel: &mut Tunnel| tunnel.send(v6("2001:db8::1"), v6("2001:db8:5::1"));
    assert!(send(&mut tunnel).is_ok(), "the subnet is not known");
    tunnel.pass(secs(10));
    assert!(tunnel.take().iter().any(|sent| sent.kind() == NS));
    assert!(send(&mut tunnel).is_ok());
    let own = Locator { address: v4("192.0.2.1"), subnet_length: 25 };
    let set = |tunnel: &mut Tunnel, own: &[Locator]| {
        tunnel.machine.with_interface(tunnel.now, LINK, |tunnel, cx| tunnel.set_locators(cx, own)).unwrap().unwrap();
    };
    set(&mut tunnel, &[own]);
    let refused = Verdict::Answer { via: Via::Host { link: LINK }, reason: Some(DropReason::DestinationRefused) };
    assert_eq!(send(&mut tunnel), Err(refused));
    tunnel.pass(secs(60));
    assert_eq!(tunnel.take(), [], "nor is it asked whether it is there");
    let question = nd(v6("fe80::c000:27f"), v6("fe80::c000:201"), ns(v6("fe80::c000:201")));
    let heard = tunnel.receive(&outer(broadcast, "192.0.2.1", &question));
    assert_eq!(heard, Verdict::Drop(DropReason::OuterSourceRefused), "nor answered");
    // Of another subnet than the local end's.
    set(&mut tunnel, &[Locator { address: v4("192.0.2.66"), subnet_length: 26 }]);
    assert_eq!(send(&mut tunnel), Err(refused));
    set(&mut tunnel, &[Locator { subnet_length: 24, ..own }]);
    assert!(send(&mut tunnel).is_ok());
}

#[test]
fn tun_64_what_came_in_does_not_bounce_back() {
    let mut tunnel = tunnel(config(), Switches::FORWARDING);
    let packet = outer("198.51.100.1", "192.0.2.1", &ipv6(v6("2001:db8:5::1"), v6("2001:db8::77"), 59, 64, &[]));
    let mut buffer = vec![0; HEADROOM + packet.len() + 1300];
    buffer[HEADROOM..HEADROOM + packet.len()].copy_from_slice(&packet);
    let mut packet = PacketMut::new(&mut buffer, HEADROOM..HEADROOM + packet.len()).unwrap();
    let header = Outer::pull(&mut packet).unwrap();
    let verdict = tunnel.machine.forward(tunnel.now, &header, &mut packet);
    let Verdict::Answer { via: Via::Tunnel { outer, .. }, reason } = verdict else { panic!("{verdict:?}") };
    outer.push(&mut packet).unwrap();
    assert_eq!(reason, Some(DropReason::PointToPointBounce));
    let sent = Sent::read(packet.as_slice());
    assert_eq!(sent.icmpv6[..2], [1, 3], "destination unreachable, address unreachable");
    assert_eq!((sent.source, sent.destination), (v6("2001:db8::1"), v6("2001:db8:5::1")));
}

#[test]
fn ndp_70_there_is_no_second_neighbour_to_be_redirected_to() {
    let mut tunnel = standard();
    let message = redirect(v6("fe80::9"), v6("2001:db8:5::1"));
    let verdict = from_remote(&mut tunnel, &nd(v6("fe80::c633:6401"), v6("fe80::c000:201"), message));
    assert_eq!(verdict, Verdict::Drop(DropReason::RedirectRefused));
    // Advertisements are the stack's, which runs on this link like on any other.
    let packet = nd(v6("fe80::c633:6401"), ALL_NODES, ra(1800, &[]));
    assert_eq!(from_remote(&mut tunnel, &packet), Verdict::Deliver { link: LINK, from: Admitted::Remote });
    assert!(tunnel.machine.poll_event().is_none());
}

/// A tunnel that begins without ends, of which both change later.
#[test]
fn tun_60_tun_61_ends_come_later_and_change() {
    let mut node = Node::new(NodeConfig::DEFAULT);
    let id = node.add(ConfiguredInterface::new(Config::DEFAULT), Switches::DEFAULT).unwrap();
    let mut tunnel: Tunnel = Run::new(node, Dice::Middle);
    type Own<'a> = isatap_core::interface::Context<'a, Standard>;
    let tell = |tunnel: &mut Tunnel, what: &dyn Fn(&mut ConfiguredInterface<Standard>, &mut Own<'_>)| {
        tunnel.machine.with_interface(tunnel.now, id, |tunnel, cx| what(tunnel, cx)).unwrap();
        tunnel.drain();
    };
    let to = |remote: Option<&'static str>| {
        move |tunnel: &mut ConfiguredInterface<Standard>, cx: &mut Own<'_>| {
            tunnel.set_remote(cx, remote.map(v4)).unwrap();
        }
    };
    let from = |own: &'static str| {
        move |tunnel: &mut ConfiguredInterface<Standard>, cx: &mut Own<'_>| {
            let own: Vec<Locator> = own.split_whitespace().map(|own| v4(own).into()).collect();
            tunnel.set_locators(cx, &own).unwrap();
        }
    };
    let send = |tunnel: &mut Tunnel| tunnel.send(v6("fe80::1"), v6("2001:db8:5::1"));
    let inner = ipv6(v6("2001:db8:5::1"), v6("fe80::c000:201"), 59, 64, &[]);
    tell(&mut tunnel, &|tunnel, cx| tunnel.set_default_route(cx, true).unwrap());
    assert!(tunnel.addresses.is_empty() && tunnel.routes.is_empty() && send(&mut tunnel).is_err());

    tell(&mut tunnel, &from("192.0.2.1 192.0.2.7"));
    assert!(tunnel.has_address("fe80::c000:201") && tunnel.routes.is_empty() && send(&mut tunnel).is_err());
    assert_eq!(from_remote(&mut tunnel, &inner), Verdict::Drop(DropReason::NotAddressed));
    tell(&mut tunnel, &to(Some("198.51.100.1")));
    assert_eq!(tunnel.next_hops("::/0"), [None]);
    assert_eq!(send(&mut tunnel), Ok((v4("192.0.2.1"), v4("198.51.100.1"))));
    assert_eq!(from_remote(&mut tunnel, &inner), Verdict::Deliver { link: LINK, from: Admitted::Remote });

    tell(&mut tunnel, &from("192.0.2.9"));
    assert_eq!(tunnel.addresses.keys().copied().collect::<Vec<_>>(), [v6("fe80::c000:209")]);
    assert_eq!(send(&mut tunnel), Ok((v4("192.0.2.9"), v4("198.51.100.1"))));
    assert_eq!(from_remote(&mut tunnel, &inner), Verdict::Drop(DropReason::NotAddressed));
    tell(&mut tunnel, &to(Some("198.51.100.2")));
    assert_eq!(reachability(&tunnel), None, "of the new one nothing is known");
    assert_eq!(send(&mut tunnel), Ok((v4("192.0.2.9"), v4("198.51.100.2"))));
    // Our own address is no other end.
    for remote in [Some("192.0.2.9"), None] {
        tell(&mut tunnel, &to(remote));
        assert!(tunnel.routes.is_empty() && send(&mut tunnel).is_err(), "{remote:?}");
    }
    tell(&mut tunnel, &from(""));
    assert!(tunnel.addresses.is_empty());
    tunnel.pass(secs(100));
    assert_eq!(tunnel.take(), []);
}

#[test]
fn what_no_lan_has_of_a_routed_prefix_does_not_return_into_the_tunnel() {
    let mut tunnel = standard();
    let routed = |routed: Option<&str>, tunnel: &mut Tunnel| {
        let routed = routed.map(prefix);
        tunnel
            .machine
            .with_interface(tunnel.now, LINK, |tunnel, cx| tunnel.set_routed_prefix(cx, routed))
            .unwrap()
            .unwrap();
        tunnel.events.clear();
        tunnel.drain();
        let delegations = tunnel.events.iter().filter_map(|(_, event)| match event {
            Event::Delegation { change, delegation, .. } => Some((*change, delegation.prefix)),
            _ => None,
        });
        delegations.collect::<Vec<_>>()
    };
    let into = |tunnel: &mut Tunnel, to: &str| tunnel.send(v6("2001:db8::1"), v6(to)).is_ok();
    assert!(into(&mut tunnel, "2001:db8:9::1"));
    assert_eq!(routed(Some("2001:db8:9::/48"), &mut tunnel), [(Change::Added, prefix("2001:db8:9::/48"))]);
    assert!(!into(&mut tunnel, "2001:db8:9::1") && into(&mut tunnel, "2001:db8:5::1"));
    let changes = routed(Some("2001:db8:8::/48"), &mut tunnel);
    assert_eq!(changes, [(Change::Removed, prefix("2001:db8:9::/48")), (Change::Added, prefix("2001:db8:8::/48"))]);
    assert!(into(&mut tunnel, "2001:db8:9::1") && !into(&mut tunnel, "2001:db8:8::1"));
    assert_eq!(routed(None, &mut tunnel), [(Change::Removed, prefix("2001:db8:8::/48"))]);
    assert!(into(&mut tunnel, "2001:db8:8::1"));
}
