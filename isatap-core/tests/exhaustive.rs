//! Every IPv4 address there is, through the address codecs and classes,
//! against bytes written down a second time.
//!
//! Ignored: it wants an optimised build (`.ci/run exhaustive`).
#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing, clippy::unwrap_used)]

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use isatap_core::isatap::addr as isatap;
use isatap_core::prefix::{Ipv6Prefix, is_never_unicast, is_private, is_refused_inner_source};
use isatap_core::sixtofour::addr as sixtofour;

/// Calls `check` with all 2^32 addresses, on every processor.
fn for_each_ipv4(check: impl Fn(u32) + Sync) {
    let workers = thread::available_parallelism().map_or(1, usize::from) as u64;
    let share = (1_u64 << 32).div_ceil(workers);
    thread::scope(|scope| {
        for worker in 0..workers {
            let check = &check;
            scope.spawn(move || {
                for bits in worker * share..((worker + 1) * share).min(1 << 32) {
                    check(bits as u32);
                }
            });
        }
    });
}

#[test]
#[ignore = "wants an optimised build: .ci/run exhaustive"]
fn i1_i3_isa_2_isa_5_tun_15_every_ipv4_address_through_the_isatap_codec_and_the_classes() {
    let prefix = Ipv6Prefix::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 7, 0, 0, 0, 0), 64).unwrap();
    for_each_ipv4(|bits| {
        let ipv4 = Ipv4Addr::from(bits);
        let [a, b, c, d] = bits.to_be_bytes();
        // Both u bits come back, whichever this library would have set.
        let high = 0x2001_0db8_0000_0007_u128 << 64;
        for identifier in [0x5efe_u128, 0x0200_5efe] {
            let address = Ipv6Addr::from(high | identifier << 32 | u128::from(bits));
            assert_eq!(isatap::embedded_ipv4(&address), Some(ipv4));
        }
        assert_eq!(isatap::embedded_ipv4(&Ipv6Addr::from(high | 0x0100_5efe << 32 | u128::from(bits))), None);
        // ISA-2: the list of what is not known to be unique, by bytes.
        let shared = match a {
            0 | 10 | 127 => true,
            100 => b & 0xc0 == 64,
            169 => b == 254,
            172 => b & 0xf0 == 16,
            192 => b == 168 || (b == 0 && c == 2) || (b == 88 && c == 99),
            198 => b & 0xfe == 18,
            255 => b == 255 && c == 255 && d == 255,
            _ => (224..=239).contains(&a),
        };
        assert_eq!(isatap::is_globally_unique(ipv4), !shared, "{ipv4}");
        let u = if shared { 0 } else { 2 };
        assert_eq!(isatap::identifier(ipv4), [u, 0, 0x5e, 0xfe, a, b, c, d]);
        let made = isatap::address(&prefix, ipv4).unwrap();
        assert_eq!(made.octets()[..8], [0x20, 1, 0xd, 0xb8, 0, 0, 0, 7]);
        assert_eq!(made.octets()[8..], [u, 0, 0x5e, 0xfe, a, b, c, d]);
        // I3
        let never = matches!(a, 0 | 127 | 224..=255);
        assert_eq!(is_never_unicast(ipv4), never, "{ipv4}");
        assert_eq!(isatap::is_locator(ipv4), !never, "{ipv4}");
        let private = a == 10 || (a == 172 && (16..32).contains(&b)) || (a == 192 && b == 168);
        assert_eq!(is_private(ipv4), private, "{ipv4}");
        // TUN-16: ::/96 but `::`, and the mapped addresses.
        assert_eq!(is_refused_inner_source(&Ipv6Addr::from(u128::from(bits))), bits != 0);
        assert!(is_refused_inner_source(&ipv4.to_ipv6_mapped()));
    });
}

#[test]
#[ignore = "wants an optimised build: .ci/run exhaustive"]
fn i1_every_ipv4_address_through_the_6to4_codec() {
    for_each_ipv4(|bits| {
        let ipv4 = Ipv4Addr::from(bits);
        let [a, b, c, d] = bits.to_be_bytes();
        let site = sixtofour::site(ipv4);
        assert_eq!(site.length(), 48);
        assert_eq!(site.address().octets()[..8], [0x20, 0x02, a, b, c, d, 0, 0]);
        let inside = Ipv6Addr::from(0x2002_u128 << 112 | u128::from(bits) << 80 | 0x1234_5efe_0a00_0001);
        assert_eq!(sixtofour::embedded_ipv4(&inside), Some(ipv4));
        assert!(site.contains(&inside));
    });
}
