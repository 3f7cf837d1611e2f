//! ICMPv6 errors and echo replies of a node.

use isatap_core::time::Duration;

use isatap_core::drop_reason::DropReason;
use isatap_core::engine::{Machine, Verdict, Via};
use isatap_core::node::NodeConfig;

use crate::support::*;

fn answering() -> Border {
    let mut config = NodeConfig::DEFAULT;
    config.answer_echo = true;
    border_of(config, SITE4)
}

fn answer(verdict: Verdict) -> Option<Via> {
    match verdict {
        Verdict::Answer { via, .. } => Some(via),
        _ => None,
    }
}

#[test]
fn ndp_60_what_no_error_is_ever_sent_about() {
    let mut border = border();
    // Each would be forwarded, and its hop limit ends here.
    let ending = |inner: Inner| inner.hops(1).from(FAR4, NEAR4);
    let from = v6("2001:db8:f::1");
    let to = v6("2001:db8:aa::1");
    for kind in [1, 2, 3, 4, 100, 127] {
        let outer = ending(Inner::icmp(from, to, kind, 0, &[0; 48]));
        let (verdict, _) = forward(&mut border.node, &outer);
        assert_eq!(verdict, Verdict::Drop(DropReason::HopLimit), "an error of type {kind}");
    }
    // Errors behind extension headers, and where only half of one is there.
    let hidden = Inner::icmp(from, to, 1, 0, &[0; 48]).behind(60, &[0, 0, 1, 4, 0, 0, 0, 0]);
    assert_eq!(forward(&mut border.node, &ending(hidden)).0, Verdict::Drop(DropReason::HopLimit));
    let mut bare = Inner::new(from, to);
    (bare.next_header, bare.payload) = (58, Vec::new());
    assert_eq!(forward(&mut border.node, &ending(bare)).0, Verdict::Drop(DropReason::HopLimit));
    // A group, an unspecified source, a source that is a group.
    let refused = |source: &str, destination: &str| Inner::of(source, destination);
    for inner in [refused("2001:db8:f::1", "ff0e::1"), refused("::", "2001:db8:aa::1")] {
        let (verdict, _) = forward(&mut border.node, &ending(inner.clone()));
        assert_eq!(answer(verdict), None, "{inner:?}");
    }
    let (verdict, _) = send(&mut border.node, &refused("ff02::1", "2001:db8:aa::1").len(1501));
    assert_eq!(verdict, Verdict::Drop(DropReason::SourceUnusable));
    // Informational messages and everything else are answered.
    let echo = Inner::icmp(from, to, 128, 0, &[0; 8]);
    assert!(answer(forward(&mut border.node, &ending(echo)).0).is_some());
    assert!(answer(forward(&mut border.node, &ending(Inner::new(from, to))).0).is_some());
    balanced(&border.node);
}

#[test]
fn ndp_61_errors_are_limited_by_a_token_bucket() {
    let mut config = NodeConfig::DEFAULT;
    (config.errors_per_second, config.error_burst) = (5, 7);
    let mut border = border_of(config, SITE4);
    let culprit = Inner::of("2001:db8:f::1", "2001:db8:aa::1").hops(1).from(FAR4, NEAR4);
    let mut answers = |millis: u64| {
        let now = NOW.saturating_add(Duration::from_millis(millis));
        (0..100)
            .filter(|_| answer(with(&culprit, |packet| forward_ipv4(&mut border.node, now, packet)).0).is_some())
            .count()
    };
    assert_eq!(answers(0), 7, "at once");
    assert_eq!(answers(199), 0);
    assert_eq!(answers(200), 1);
    assert_eq!(answers(1200), 5, "a second");
    assert_eq!(answers(3_600_000), 7);
    // The limit is one for all kinds and directions.
    let big = Inner::of("2001:db8:0:9::1", "2001:db8:f::1").len(1400);
    assert_eq!(send(&mut border.node, &big).0, Verdict::Drop(DropReason::PacketTooBig));
    // Echo replies are no errors; all that was limited is counted.
    assert_eq!(border.node.counters().get(DropReason::HopLimit), 500);
    balanced(&border.node);
}

#[test]
fn ndp_61_long_culprits_are_quoted_up_to_1280_bytes() {
    let mut border = border();
    for len in [1231, 1232, 1233, 1280] {
        let culprit = Inner::of("2001:db8:f::1", "2001:db8:aa::1").hops(1).len(len);
        let (verdict, bytes) = forward(&mut border.node, &culprit.from(FAR4, NEAR4));
        assert!(answer(verdict).is_some());
        let sent = seen(&bytes).inner;
        assert_eq!(sent.len(), (len + 48).min(1280));
        assert_eq!(sent, error(v6("2001:db8:0:9::1"), &culprit.bytes(), 3, 0, 0));
    }
}

#[test]
fn ndp_62_ndp_63_hop_limit_over_is_type_3_code_0_from_the_side_it_came_from() {
    let mut border = border();
    // (culprit, how it comes, from which address the answer goes, to where)
    let host = Inner::new(site6("10.0.0.3"), v6("2001:db8::1"));
    let peer = Inner::of("2001:db8:f::1", "2001:db8::1");
    for hop_limit in [0, 1] {
        let culprit = host.clone().hops(hop_limit);
        let (verdict, bytes) = forward(&mut border.node, &culprit.from("10.0.0.3", SITE4));
        assert!(matches!(verdict, Verdict::Answer { reason: Some(DropReason::HopLimit), .. }), "{verdict:?}");
        let sent = seen(&bytes);
        // NDP-64, TUN-2: an address that the host's own check lets in.
        assert_eq!((sent.source, sent.destination), (v4(SITE4), v4("10.0.0.3")));
        assert_eq!(sent.inner, error(site6(SITE4), &culprit.bytes(), 3, 0, 0));

        let culprit = peer.clone().hops(hop_limit);
        let (_, bytes) = forward(&mut border.node, &culprit.from(FAR4, NEAR4));
        assert_eq!(seen(&bytes).inner, error(v6("2001:db8:0:9::1"), &culprit.bytes(), 3, 0, 0));

        let culprit = Inner::of("2001:db8:0:8::2", "2001:db8:f::1").hops(hop_limit);
        let (verdict, bytes) = forward_native(&mut border.node, border.lan, &culprit);
        let via = Some(Via::Native { link: border.lan, next_hop: v6("2001:db8:0:8::2") });
        assert_eq!(answer(verdict), via);
        assert_eq!(bytes, error(v6("2001:db8:0:8::1"), &culprit.bytes(), 3, 0, 0));
    }
    balanced(&border.node);
}

#[test]
fn ndp_64_ndp_65_echo_requests_are_answered_from_the_address_asked() {
    let mut border = answering();
    let reply =
        |request: &Inner| Inner::icmp(request.destination, request.source, 129, 0, &request.payload[4..]).bytes();
    // By each link, to each address of the node's, its other links' included.
    let own = ["2001:db8:0:7:0:5efe:10.0.0.1", "2001:db8:0:8::1", "2001:db8:0:9::1", "2001:db8:0:7::"];
    for address in own {
        let request = Inner::echo("2001:db8:0:7:0:5efe:10.0.0.3", address).hops(3);
        let (verdict, bytes) = receive(&mut border.node, &request.from("10.0.0.3", SITE4));
        assert!(matches!(answer(verdict), Some(Via::Tunnel { link, .. }) if link == border.isatap), "{address}");
        assert_eq!(seen(&bytes).destination, v4("10.0.0.3"));
        assert_eq!(seen(&bytes).inner, reply(&request), "{address}");

        let request = Inner::echo("2001:db8:f::1", address);
        let (verdict, bytes) = forward(&mut border.node, &request.from(FAR4, NEAR4));
        assert!(matches!(answer(verdict), Some(Via::Tunnel { link, .. }) if link == border.tunnel), "{address}");
        assert_eq!(seen(&bytes).inner, reply(&request));

        let request = Inner::echo("2001:db8:0:8::2", address);
        let (verdict, bytes) = forward_native(&mut border.node, border.lan, &request);
        let next_hop = v6("2001:db8:0:8::2");
        assert_eq!(answer(verdict), Some(Via::Native { link: border.lan, next_hop }));
        assert_eq!(bytes, reply(&request));
    }
    // Link-local, back by the link that it came from.
    let request = Inner::echo("fe80::5efe:10.0.0.3", "fe80::5efe:10.0.0.1");
    let (_, bytes) = receive(&mut border.node, &request.from("10.0.0.3", SITE4));
    assert_eq!(seen(&bytes).inner, reply(&request));
    balanced(&border.node);
}

/// A node answers for itself alone.
#[test]
fn ndp_65_no_echo_reply_for_addresses_of_others() {
    let mut border = answering();
    let request = Inner::echo("2001:db8:f::1", "2001:db8:0:8::2");
    let (verdict, bytes) = receive(&mut border.node, &request.from(FAR4, NEAR4));
    assert!(matches!(verdict, Verdict::Deliver { .. }), "the caller's to judge: {verdict:?}");
    assert_eq!(bytes, request.bytes());
    // Nor to groups, nor where the checksum is wrong.
    let group = Inner::echo("2001:db8:f::1", "ff02::1");
    assert!(matches!(receive(&mut border.node, &group.from(FAR4, NEAR4)).0, Verdict::Deliver { .. }));
    let mut wrong = Inner::echo("2001:db8:f::1", "2001:db8:0:9::1");
    wrong.payload[9] ^= 1;
    assert!(matches!(receive(&mut border.node, &wrong.from(FAR4, NEAR4)).0, Verdict::Deliver { .. }));
    // Without the switch all is the kernel's.
    let mut border = crate::support::border();
    let request = Inner::echo("2001:db8:f::1", "2001:db8:0:9::1");
    assert!(matches!(receive(&mut border.node, &request.from(FAR4, NEAR4)).0, Verdict::Deliver { .. }));
}

#[test]
fn ndp_69_unknown_informational_messages_are_dropped_unknown_errors_delivered() {
    let mut border = answering();
    for (kind, is_dropped) in [(200, true), (255, true), (129, false), (100, false), (127, false)] {
        let inner = Inner::icmp(v6("2001:db8:f::1"), v6("2001:db8:0:9::1"), kind, 0, &[0; 44]);
        let (verdict, _) = receive(&mut border.node, &inner.from(FAR4, NEAR4));
        match is_dropped {
            true => assert_eq!(verdict, Verdict::Drop(DropReason::IcmpUnknown), "{kind}"),
            false => assert!(matches!(verdict, Verdict::Deliver { .. }), "{kind}: {verdict:?}"),
        }
    }
    balanced(&border.node);
}

#[test]
fn errors_need_headroom_and_leave_the_packet_whole_without() {
    let mut border = border();
    let inner = Inner::of("2001:db8:0:9::1", "2001:db8:f::1").len(1400).bytes();
    for room in [0, 19, 20, 47] {
        let mut buffer = vec![0; room + inner.len()];
        buffer[room..].copy_from_slice(&inner);
        let mut packet = isatap_core::packet::PacketMut::new(&mut buffer, room..room + inner.len()).unwrap();
        let verdict = border.node.encapsulate(NOW, &mut packet);
        assert_eq!(verdict, Verdict::Drop(DropReason::PacketTooBig));
        assert_eq!(packet.as_slice(), inner);
    }
    balanced(&border.node);
}
