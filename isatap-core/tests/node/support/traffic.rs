//! Traffic of all kinds for the border router: well-formed, misdirected,
//! spoofed, malformed.

use proptest::prelude::*;

use super::{FAR4, Inner, NEAR4, Outer, SITE4, isatap6, site6, v4, v6};
use std::net::{Ipv4Addr, Ipv6Addr};

/// IPv6 addresses that mean something to the border router, and some that
/// mean nothing.
pub fn addresses() -> Vec<Ipv6Addr> {
    let mut all: Vec<Ipv6Addr> = [
        "2001:db8:0:7::",
        "2001:db8:0:8::",
        "2001:db8:0:8::1",
        "2001:db8:0:8::2",
        "2001:db8:0:9::1",
        "2001:db8:0:9::2",
        "2001:db8:f::1",
        "2001:db8:aa::1",
        "fe80::1",
        "fe80::192.0.2.1",
        "fe80::198.51.100.1",
        "ff02::1",
        "ff02::2",
        "ff0e::1",
        "::",
        "::1",
        "::ffff:192.0.2.1",
        "::192.0.2.1",
        "2002:c000:201::1",
        "2002:c633:6401::1",
        "2001:0:4136:e378:8000:63bf:3fff:fdfe",
    ]
    .map(v6)
    .to_vec();
    for ipv4 in [SITE4, "10.0.0.3", "10.0.0.4", "10.0.0.255", NEAR4, FAR4, "127.0.0.1", "131.107.0.3"] {
        all.extend([site6(ipv4), isatap6("fe80::", ipv4), isatap6("2001:db8:bad::", ipv4)]);
    }
    all
}

/// IPv4 addresses that mean something to it.
pub fn ipv4_addresses() -> Vec<Ipv4Addr> {
    [SITE4, NEAR4, FAR4, "10.0.0.3", "10.0.0.4", "10.0.0.255", "131.107.0.3", "127.0.0.1", "224.0.0.1", "203.0.113.9"]
        .map(v4)
        .to_vec()
}

/// An inner packet.
pub fn inner() -> impl Strategy<Value = Inner> {
    let fields = (
        prop::sample::select(addresses()),
        prop::sample::select(addresses()),
        prop_oneof![Just(64_u8), Just(255), 0_u8..4],
        prop_oneof![Just(0_u8), any::<u8>()],
    );
    let kinds = (0_u8..12, prop::sample::select(addresses()), prop_oneof![Just(60_usize), Just(1280), 60..1400_usize]);
    (fields, kinds).prop_map(|((source, destination, hop_limit, class), (kind, other, len))| {
        let target = [&[0_u8; 4][..], &other.octets()].concat();
        let plain = Inner::new(source, destination);
        let mut inner = match kind {
            0 => Inner::icmp(source, destination, 128, 0, b"\0\x01\0\x02payload!"),
            1 => Inner::icmp(source, destination, 135, 0, &target),
            2 => Inner::icmp(source, destination, 136, 0, &target),
            3 => Inner::icmp(source, destination, 133, 0, &[0; 4]),
            4 => Inner::icmp(source, destination, 134, 0, &[64, 0, 7, 8, 0, 0, 0, 0, 0, 0, 0, 0]),
            5 => Inner::icmp(source, destination, 1, 3, &target),
            6 => Inner::icmp(source, destination, 200, 0, &target),
            7 => plain.behind(60, &[0, 0, 1, 4, 0, 0, 0, 0]),
            8 => plain.behind(43, &[0, 0, 0, class & 1, 0, 0, 0, 0]),
            9 => Inner { next_header: 41, payload: plain.bytes(), ..plain },
            10 => plain.behind(44, &[0, 0, 0, class & 9, 0, 0, 0, 1]),
            _ => plain.len(len),
        };
        (inner.hop_limit, inner.class) = (hop_limit, class);
        inner
    })
}

/// The outer addresses of a packet with this inner source and destination:
/// often the ones that its sender would have used.
fn outer() -> impl Strategy<Value = (u8, Ipv4Addr, Ipv4Addr, u8)> {
    let addresses = prop::sample::select(ipv4_addresses());
    (0_u8..4, addresses.clone(), addresses, prop_oneof![Just(0_u8), 0_u8..4, any::<u8>()])
}

/// A whole outer packet.
pub fn outer_packet() -> impl Strategy<Value = Vec<u8>> {
    (inner(), outer(), prop::option::weighted(0.2, (any::<prop::sample::Index>(), any::<u8>())), 0_usize..12).prop_map(
        |(inner, (kind, source, destination, tos), mutation, padding)| {
            let octets = inner.source.octets();
            let embedded = Ipv4Addr::new(octets[12], octets[13], octets[14], octets[15]);
            let (source, destination) = match kind {
                0 => (v4(FAR4), v4(NEAR4)),
                1 if octets[10..12] == [0x5e, 0xfe] => (embedded, v4(SITE4)),
                2 => (v4("10.0.0.3"), v4(SITE4)),
                _ => (source, destination),
            };
            let mut payload = inner.bytes();
            if let Some((at, value)) = mutation {
                let at = at.index(payload.len());
                payload[at] = value;
            }
            payload.resize(payload.len() + padding, 0);
            Outer::new(source, destination).tos(tos).around(&payload)
        },
    )
}
