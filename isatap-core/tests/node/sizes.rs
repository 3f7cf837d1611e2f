//! MTUs, identifications, "do not fragment".

use isatap_core::time::Duration;
use std::collections::HashSet;
use std::num::NonZeroU16;

use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::datapath::Switches;
use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Event, Machine, Verdict, Via};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, HostInterface};
use isatap_core::link::{InterfaceAddress, TtlMode};
use isatap_core::node::{AnyInterface, NodeConfig};
use isatap_core::packet::LinkId;
use isatap_core::proto41::ecn::{EcnMode, TosMode};
use isatap_core::proto41::mtu::MtuMode;

use crate::support::*;

#[test]
fn sec_14_the_secret_of_identifications_comes_from_the_first_entropy() {
    let first = |entropy: u8| {
        let (mut node, _) = tunnel(MtuMode::Static(1280), 1280);
        assert_eq!(node.poll_timeout(), Some(NOW), "entropy is wanted at once");
        node.handle_timeout(NOW, &mut |out: &mut [u8]| out.fill(entropy));
        let (_, outer) = with(&of_len(60).bytes(), |packet| node.encapsulate(NOW, packet));
        u16::from_be_bytes([outer[4], outer[5]])
    };
    assert!(first(1) != 0 && first(2) != 0 && first(1) != first(2));
}

/// A configured tunnel with this MTU mode, whose link would carry anything.
fn tunnel(mtu: MtuMode, link_mtu: u16) -> (Any, LinkId) {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let mut config = Config::new(v4(NEAR4), v4(FAR4));
    config.policy.mtu = mtu;
    config.policy.link_mtu = link_mtu;
    let id = node.add(AnyInterface::Configured(ConfiguredInterface::new(config)), Switches::FORWARDING).unwrap();
    let address = InterfaceAddress { address: v6("2001:db8:0:9::1"), prefix_length: 64 };
    node.with_interface(NOW, id, |interface, cx| {
        let AnyInterface::Configured(tunnel) = interface else { unreachable!() };
        tunnel.add_address(cx, address).unwrap();
    });
    (node, id)
}

fn of_len(len: usize) -> Inner {
    Inner::of("2001:db8:0:9::1", "2001:db8:0:9::2").len(len)
}

/// `Ok(DF)`, or the MTU told.
fn sent(node: &mut Any, len: usize) -> Result<bool, u32> {
    // The budget for errors is another test's matter.
    let inner = of_len(len);
    let (verdict, bytes) = send(node, &inner);
    match verdict {
        Verdict::Tunnel { .. } => Ok(seen(&bytes).dont_fragment),
        Verdict::Answer { via: Via::Host { .. }, reason: Some(DropReason::PacketTooBig) } => {
            let mtu = u32::from_be_bytes([bytes[44], bytes[45], bytes[46], bytes[47]]);
            assert_eq!(bytes, error(v6("2001:db8:0:9::1"), &inner.bytes(), 2, 0, mtu), "built in place");
            Err(mtu)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tun_30_tun_32_the_dynamic_table_of_the_vectors() {
    for (path, len, expected) in [
        (1279, 1280, Ok(false)),
        (1280, 1280, Ok(false)),
        (1280, 1281, Err(1280)),
        (1300, 1280, Ok(true)),
        (1300, 1281, Err(1280)),
        (1500, 1480, Ok(true)),
        (1500, 1481, Err(1480)),
        (68, 1280, Ok(false)),
        (68, 1281, Err(1280)),
        (9000, 8980, Ok(true)),
        (9000, 8981, Err(8980)),
    ] {
        let (mut node, _) = tunnel(MtuMode::Dynamic { interface: path }, u16::MAX);
        assert_eq!(sent(&mut node, len), expected, "path {path}, {len} bytes");
        balanced(&node);
    }
}

#[test]
fn tun_30_tun_31_the_static_mtu_and_its_knob() {
    for (mtu, len, expected) in [
        (1280, 1280, Ok(false)),
        (1280, 1281, Err(1280)),
        (1480, 1480, Ok(false)),
        (1480, 1481, Err(1480)),
        (1000, 1280, Ok(false)),
        (1000, 1281, Err(1280)),
    ] {
        let (mut node, _) = tunnel(MtuMode::Static(mtu), u16::MAX);
        assert_eq!(sent(&mut node, len), expected, "static {mtu}, {len} bytes");
    }
    // By default no link carries 64 KiB: 1,280 bytes.
    let mut border = border();
    let (verdict, _) = send(&mut border.node, &Inner::of("2001:db8:0:9::1", "2001:db8:f::1").len(1281));
    assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::PacketTooBig), .. }));
}

/// Over all sizes of packet and path.
#[test]
fn tun_32_tun_33_nothing_too_long_leaves_with_df_and_no_mtu_below_1280_is_told() {
    for path in (68..=1600).step_by(9).chain([1279, 1280, 1299, 1300, 1301, 1499, 1500, 9000, 65535]) {
        let (mut node, _) = tunnel(MtuMode::Dynamic { interface: path }, u16::MAX);
        for len in
            [40, 41, 1279, 1280, 1281, 1479, 1480, 1481, 1500, 9000, 65000, usize::from(path), usize::from(path) - 20]
                .into_iter()
                .filter(|len| *len >= 40)
        {
            let now = NOW.saturating_add(Duration::from_secs(3600));
            let (verdict, bytes) = with(&of_len(len).bytes(), |packet| node.encapsulate(now, packet));
            match verdict {
                Verdict::Tunnel { .. } => {
                    let outer = seen(&bytes);
                    assert!(!outer.dont_fragment || bytes.len() <= usize::from(path), "{path} {len}");
                    assert!(len <= 1280 || outer.dont_fragment, "{path} {len}");
                }
                Verdict::Answer { .. } => {
                    let mtu = u32::from_be_bytes([bytes[44], bytes[45], bytes[46], bytes[47]]);
                    assert_eq!(mtu, (u32::from(path) - 20).max(1280), "{path} {len}");
                    assert!(len > 1280);
                }
                Verdict::Drop(DropReason::PacketTooBig) => assert!(len > 1280),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_link_mtu_below_what_the_path_carries_is_told() {
    let (mut node, _) = tunnel(MtuMode::Dynamic { interface: 1500 }, 1400);
    assert_eq!(sent(&mut node, 1400), Ok(true));
    assert_eq!(sent(&mut node, 1401), Err(1400));
    assert_eq!(sent(&mut node, 1500), Err(1400), "the smaller of both");
    let (mut node, _) = tunnel(MtuMode::Dynamic { interface: 1400 }, 1450);
    assert_eq!(sent(&mut node, 1420), Err(1380));
}

/// The interface's MTU bounds the link's own, and every path's.
#[test]
fn isa_15_tun_32_a_link_follows_the_mtu_of_its_interface() {
    let (mut node, id) = tunnel(MtuMode::Dynamic { interface: 1500 }, u16::MAX);
    let path = |node: &Any| node.interface(id).unwrap().link().underlay().path_mtu(v4(FAR4));
    let told = |node: &mut Any, mtu| {
        node.with_interface(NOW, id, |interface, _| interface.link_mut().underlay_mut().set_interface_mtu(mtu));
        let events = std::iter::from_fn(|| node.poll_event());
        events.filter_map(|event| if let Event::Mtu { mtu, .. } = event { Some(mtu) } else { None }).last()
    };
    assert_eq!(
        (told(&mut node, 1500), sent(&mut node, 1480), sent(&mut node, 1481)),
        (Some(1480), Ok(true), Err(1480))
    );
    assert_eq!(
        (told(&mut node, 1400), sent(&mut node, 1380), sent(&mut node, 1381)),
        (Some(1380), Ok(true), Err(1380))
    );
    // Below 1300 the path may fragment, which IPv6 does not see.
    assert_eq!(
        (told(&mut node, 1299), sent(&mut node, 1280), sent(&mut node, 1281)),
        (Some(1280), Ok(false), Err(1280))
    );
    assert_eq!(told(&mut node, 576), None);
    assert_eq!(told(&mut node, 9000), Some(8980));
    assert_eq!(told(&mut node, u16::MAX), Some(65_515));
    // TUN-34: a path that was found to carry less is not forgotten for it,
    // unless the interface was what carried less.
    for (narrow, before, after) in [(1350, 1400, 1350), (1350, 1350, 1500), (1350, 1300, 1500)] {
        told(&mut node, 1500);
        let (_, bytes) = send(&mut node, &of_len(1480));
        let [high, low] = u16::to_be_bytes(narrow);
        with(&icmpv4(3, 4, [0, 0, high, low], &bytes), |packet| node.handle_icmpv4(NOW, packet));
        assert_eq!(path(&node), narrow);
        told(&mut node, before);
        told(&mut node, 1500);
        assert_eq!(path(&node), after, "{before}");
        told(&mut node, 1280);
    }
}

/// A joined packet is measured by its segments: TCP header 20 bytes.
#[test]
fn tun_32_super_packets_are_measured_by_their_segments() {
    let tcp = |len: usize| {
        let mut inner = of_len(len);
        inner.next_header = 6;
        inner.payload[12] = 0x50;
        inner
    };
    for (segment, fits) in [(1220, true), (1221, false), (1, true)] {
        let (mut node, _) = tunnel(MtuMode::Dynamic { interface: 1300 }, u16::MAX);
        let inner = tcp(40_000);
        let (verdict, bytes) = with(&inner.bytes(), |packet| {
            packet.set_segment_size(NonZeroU16::new(segment));
            node.encapsulate(NOW, packet)
        });
        if fits {
            assert!(matches!(verdict, Verdict::Tunnel { outer, .. } if outer.dont_fragment), "{verdict:?}");
            assert_eq!(bytes.len(), 40_020);
        } else {
            assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::PacketTooBig), .. }));
            assert_eq!(bytes, error(v6("2001:db8:0:9::1"), &inner.bytes(), 2, 0, 1280));
        }
    }
}

#[test]
fn tun_7_identifications_come_again_last_of_all_and_no_tunnel_stops() {
    let (mut node, _) = tunnel(MtuMode::Static(1280), 1280);
    let bytes = of_len(60).bytes();
    let mut given = Vec::new();
    for n in 0..200_000_u64 {
        let now = NOW.saturating_add(Duration::from_micros(n * 100));
        let (verdict, outer) = with(&bytes, |packet| node.encapsulate(now, packet));
        assert!(matches!(verdict, Verdict::Tunnel { .. }), "{n}: {verdict:?}");
        // TUN-31: a static MTU forbids DF, so each needs one.
        assert_eq!(outer[6..8], [0, 0]);
        given.push(u16::from_be_bytes([outer[4], outer[5]]));
    }
    for (n, lifetime) in given.windows(65_536).enumerate().step_by(20_000) {
        assert_eq!(lifetime.iter().collect::<HashSet<_>>().len(), 65_536, "one came again before others from {n} on");
    }
    assert_eq!(node.repeated_identifications(), 200_000 - 65_536);
    assert_eq!(node.poll_timeout(), Some(NOW.saturating_add(Duration::from_micros(199_999 * 100))));
    let told = std::iter::from_fn(|| node.poll_event()).filter(|event| *event == Event::IdentificationsRepeated);
    assert_eq!(told.count(), 1);
    let later = NOW.saturating_add(Duration::from_secs(150));
    assert!(matches!(with(&bytes, |packet| node.encapsulate(later, packet)).0, Verdict::Tunnel { .. }));
    assert_eq!(std::iter::from_fn(|| node.poll_event()).count(), 0, "told once");
    balanced(&node);
    // With DF the value is free: always zero, never repeated.
    let (mut node, _) = tunnel(MtuMode::Dynamic { interface: 1500 }, 1480);
    for _ in 0..70_000 {
        let (_, outer) = with(&bytes, |packet| node.encapsulate(NOW, packet));
        assert_eq!(outer[4..8], [0, 0, 0x40, 0]);
    }
}

#[test]
fn tun_50_tun_51_class_and_congestion_marks_on_entry() {
    for (tos, ecn, class, expected) in [
        (TosMode::Fixed(0), EcnMode::Compatibility, 0xb9, 0),
        (TosMode::Fixed(0x2e), EcnMode::Compatibility, 0x03, 0xb8),
        (TosMode::Fixed(0x2e), EcnMode::Normal, 0x03, 0xbb),
        (TosMode::CopyTrafficClass, EcnMode::Compatibility, 0xb9, 0xb8),
        (TosMode::CopyTrafficClass, EcnMode::Normal, 0xb9, 0xb9),
    ] {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let mut config = Config::new(v4(NEAR4), v4(FAR4));
        (config.policy.tos, config.policy.ecn) = (tos, ecn);
        let id = node.add(AnyInterface::Configured(ConfiguredInterface::new(config)), Switches::DEFAULT).unwrap();
        let inner = Inner::of("fe80::192.0.2.1", "fe80::198.51.100.1").class(class);
        let (_, bytes) = send_on(&mut node, id, &inner);
        assert_eq!(seen(&bytes).tos, expected, "{tos:?} {ecn:?} {class:#x}");
        assert_eq!(seen(&bytes).inner, inner.bytes());
    }
}

/// Whatever the three settings are, each of the three parts of the outer header follows its own, of
/// what this host sends, forwards and says itself.
#[test]
fn tun_50_tun_51_tun_60_outer_fields_of_all_that_leaves() {
    let classes = [0, 0x03, 0xb8, 0xbb];
    let toses = [TosMode::Fixed(0), TosMode::Fixed(0x2e), TosMode::CopyTrafficClass];
    let ttls = [TtlMode::Fixed(0), TtlMode::Fixed(1), TtlMode::Fixed(255), TtlMode::CopyHopLimit];
    for (tos, ttl, ecn) in toses
        .into_iter()
        .flat_map(|tos| ttls.map(|ttl| (tos, ttl)))
        .flat_map(|(tos, ttl)| [EcnMode::Normal, EcnMode::Compatibility].map(|ecn| (tos, ttl, ecn)))
    {
        let expected = |class: u8, hop_limit: u8| {
            let dscp = if let TosMode::Fixed(dscp) = tos { dscp * 4 } else { class & 0xfc };
            let mark = if ecn == EcnMode::Normal { class & 3 } else { 0 };
            // A TTL of 0 would be no packet.
            (dscp + mark, if let TtlMode::Fixed(ttl) = ttl { ttl.max(1) } else { hop_limit.max(1) })
        };
        let outer = |bytes: &[u8]| {
            let seen = seen_with_ttl(bytes);
            (seen.tos, seen.ttl)
        };
        let mut border = border();
        border.node.with_interface(NOW, border.tunnel, |interface, _| {
            let policy = &mut interface.link_mut().underlay_mut().policy;
            (policy.tos, policy.ttl, policy.ecn) = (tos, ttl, ecn);
        });
        for (class, hop_limit) in classes.into_iter().flat_map(|class| [0, 1, 2, 64, 255].map(|hops| (class, hops))) {
            let inner = Inner::of("2001:db8:0:8::1", "2001:db8:f::1").class(class).hops(hop_limit);
            let (verdict, bytes) = send(&mut border.node, &inner);
            assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
            assert_eq!(outer(&bytes), expected(class, hop_limit), "{tos:?} {ttl:?} {ecn:?} {class:#x} {hop_limit}");
            // The hop limit with which it leaves.
            let (verdict, bytes) = forward_native(&mut border.node, border.lan, &inner);
            if hop_limit > 1 {
                assert!(matches!(verdict, Verdict::Tunnel { .. }), "{verdict:?}");
                assert_eq!(outer(&bytes), expected(class, hop_limit - 1), "{tos:?} {ttl:?} {ecn:?}");
            }
        }
        // An answer of Neighbor Discovery, a probe, an error: what the node writes itself.
        let (near, far) = (v6("fe80::192.0.2.1"), v6("fe80::198.51.100.1"));
        let target = [&[0; 4][..], &near.octets()].concat();
        let probe = Inner::icmp(far, near, 135, 0, &target).hops(255);
        let (_, bytes) = receive(&mut border.node, &probe.from(FAR4, NEAR4));
        assert_eq!((outer(&bytes), bytes[20 + 7]), (expected(0, 255), 255));
        for second in 1..=6 {
            let now = NOW.saturating_add(Duration::from_secs(second));
            border.node.handle_timeout(now, &mut |out: &mut [u8]| out.fill(0));
        }
        let sent = transmits(&mut border.node);
        let probe = sent.iter().find(|packet| packet[60] == 135).unwrap();
        assert_eq!(outer(probe), expected(0, 255));
        let unknown = Inner::of("2001:db8:f::1", "2001:db8:0:9::77");
        let (verdict, bytes) = forward(&mut border.node, &unknown.from(FAR4, NEAR4));
        assert!(matches!(verdict, Verdict::Answer { .. }), "{verdict:?}");
        assert_eq!(outer(&bytes), expected(0, bytes[20 + 7]));
    }
}

/// A mark set on the way into the node goes on into the next tunnel.
#[test]
fn tun_51_congestion_marks_cross_from_tunnel_to_tunnel() {
    let mut node = Any::new(NodeConfig::DEFAULT);
    let isatap = add_router(&mut node, SITE4, ISATAP_PREFIX, Switches::FORWARDING);
    let mut config = Config::new(v4(NEAR4), v4(FAR4));
    (config.policy.tos, config.policy.ecn) = (TosMode::CopyTrafficClass, EcnMode::Normal);
    let tunnel = node.add(AnyInterface::Configured(ConfiguredInterface::new(config)), Switches::FORWARDING).unwrap();
    route(&mut node, "2001:db8:f::/48", tunnel, "fe80::1");
    let inner = Inner::new(site6("10.0.0.3"), v6("2001:db8:f::1")).class(0xb8 | 2);
    let marked = Outer::new(v4("10.0.0.3"), v4(SITE4)).tos(3).around(&inner.bytes());
    let expected = inner.class(0xb8 | 3).hops(63).bytes();
    let snapshot = node.datapath().clone();
    let (verdict, bytes) = with(&marked, |packet| pulled(packet, |outer, rest| snapshot.forward(outer, rest, 0)));
    assert!(matches!(verdict, Verdict::Tunnel { link, .. } if link == tunnel && link != isatap));
    assert_eq!((seen(&bytes).tos, seen(&bytes).inner), (0xb8 | 3, expected.clone()));
    let (_, bytes) = forward(&mut node, &marked);
    assert_eq!((seen(&bytes).tos, seen(&bytes).inner), (0xb8 | 3, expected));
}

/// `TUN-36`: the MTU of a Router Advertisement counts within bounds.
#[test]
fn tun_36_an_advertised_mtu_is_taken_from_1280_to_the_most_the_link_carries() {
    for (advertised, longest) in [(1400, 1400), (1280, 1280), (1480, 1480), (1279, 1280), (1000, 1280), (1481, 1280)] {
        let mut node = Any::new(NodeConfig::DEFAULT);
        let mut config = HostConfig::DEFAULT;
        config.resolve = false;
        let id = node.add(AnyInterface::IsatapHost(HostInterface::new(config)), Switches::DEFAULT).unwrap();
        node.with_interface(NOW, id, |interface, cx| {
            let AnyInterface::IsatapHost(host) = interface else { unreachable!() };
            host.set_locators(cx, &locators(&["10.0.0.2"])).unwrap();
            host.add_router(cx, v4(SITE4)).unwrap();
        });
        let mtu = u32::try_from(advertised).unwrap().to_be_bytes();
        let rest = [&[64, 0, 7, 8][..], &[0; 8], &[5, 1, 0, 0], &mtu].concat();
        let (own, router) = (isatap6("fe80::", "10.0.0.2"), isatap6("fe80::", SITE4));
        let advertisement = Inner::icmp(router, own, 134, 0, &rest).hops(255);
        let (verdict, _) = receive(&mut node, &advertisement.from(SITE4, "10.0.0.2"));
        assert_eq!(verdict, Verdict::Consumed { link: id });
        for len in [longest, longest + 1] {
            let inner = Inner::new(own, router).len(len);
            let (verdict, _) = send_on(&mut node, id, &inner);
            assert_eq!(matches!(verdict, Verdict::Tunnel { .. }), len == longest, "{advertised}: {len} {verdict:?}");
        }
    }
}
