//! Every IPv4 address through the codecs of 6to4 and of several 6rd domains.
//!
//! `cargo test` takes each 65,537th address. For all of them:
//! `ISATAP_IPV4_STEP=1 cargo test --release -p isatap-core --test every_ipv4`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;

use isatap_core::sixrd::Domain;
use isatap_core::sixtofour::addr;

/// What must hold for one IPv4 address in 6to4, computed byte by byte.
fn holds_for_sixtofour(ipv4: u32) -> bool {
    let [a, b, c, d] = ipv4.to_be_bytes();
    let ipv4 = Ipv4Addr::from(ipv4);
    let first = Ipv6Addr::from([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let last = Ipv6Addr::from([0x20, 0x02, a, b, c, d, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
    let own = addr::host_router(ipv4);
    addr::site(ipv4).address() == first
        && addr::site(ipv4).length() == 48
        && addr::site(ipv4).contains(&last)
        && own.octets() == [0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, a, b, c, d]
        && [first, last, own, addr::relay(ipv4)].iter().all(|address| addr::embedded_ipv4(address) == Some(ipv4))
}

/// What must hold for one IPv4 address in a 6rd domain, by multiplication
/// instead of shifts.
fn holds_for_sixrd(domain: &Domain, ipv4: u32) -> bool {
    let hosts = 1_u128 << (32 - domain.ipv4_mask_len());
    let size = 1_u128 << (128 - domain.delegated_length());
    let own = u128::from(ipv4) % hosts;
    let first = domain.prefix().address().to_bits() + own * size;
    let expected = u128::from(domain.common().address().to_bits()) + own;
    let delegated = domain.delegated(Ipv4Addr::from(ipv4));
    delegated.address().to_bits() == first
        && delegated.length() == domain.delegated_length()
        && [first, first + size - 1].iter().all(|&bits| {
            domain
                .embedded_ipv4(&Ipv6Addr::from_bits(bits))
                .is_some_and(|found| u128::from(found.to_bits()) == expected)
        })
}

/// Domains of every kind of length: whole addresses and parts, on byte
/// boundaries and off them, across the middle of the address, at its end.
fn domains() -> Vec<Domain> {
    [
        ("2001:db8::/32", "0.0.0.0/0"),
        ("2001:db8::/32", "10.0.0.0/8"),
        ("2001:db8::/30", "172.16.0.0/12"),
        ("2001:db8:80::/41", "172.16.0.0/16"),
        ("2001:db8:8000::/33", "10.0.0.0/8"),
        ("2001:db8:1::/56", "192.0.2.0/24"),
        ("2001:db8:1::/64", "192.0.2.129/32"),
        ("2001:db8:0:aaaa::/63", "0.0.0.0/0"),
        ("2001:db8::/96", "0.0.0.0/0"),
        ("2000::/3", "128.0.0.0/1"),
    ]
    .map(|(prefix, common)| Domain::long(prefix.parse().unwrap(), common.parse().unwrap()).unwrap())
    .to_vec()
}

/// Asks `holds` for each `step`th IPv4 address, on all processors.
fn for_each_ipv4(step: u64, holds: impl Fn(u32) -> bool + Sync) {
    let threads = thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let share = (1_u64 << 32).div_ceil(threads);
    let holds = &holds;
    thread::scope(|scope| {
        for number in 0..threads {
            scope.spawn(move || {
                // Each share starts at a multiple of the step of the whole.
                let first = (number * share).next_multiple_of(step);
                let end = ((number + 1) * share).min(1 << 32);
                for ipv4 in (first..end).step_by(step as usize) {
                    assert!(holds(ipv4 as u32), "{}", Ipv4Addr::from(ipv4 as u32));
                }
            });
        }
    });
}

fn step() -> u64 {
    std::env::var("ISATAP_IPV4_STEP").map_or(65_537, |text| text.parse().expect("ISATAP_IPV4_STEP is a number"))
}

#[test]
fn s64_1_s64_3_each_ipv4_address_has_its_site() {
    for_each_ipv4(step(), holds_for_sixtofour);
}

#[test]
fn s6r_1_s6r_3_s6r_4_each_ipv4_address_has_its_delegated_prefix() {
    for domain in domains() {
        for_each_ipv4(step(), |ipv4| holds_for_sixrd(&domain, ipv4));
    }
}
