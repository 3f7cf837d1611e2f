//! What every link lets in, alone and beside others, against a second reading
//! of the rules, on bytes that are the same in each run. The fuzz targets
//! `tunnel_packet` and `link_pairs` look further.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use isatap_core::sixtofour::ingress;

use crate::oracle::input::Input;
use crate::oracle::options;
use crate::oracle::packets::{self, WORLD};
use crate::oracle::rules::{Packet, may_be_sixtofour};
use crate::oracle::tunnels::{link_pairs, own, rules, tunnel_packet};

/// The high bytes of a linear congruential generator.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state.to_be_bytes()[0]
    })
    .take(len)
    .collect()
}

#[test]
fn each_link_alone_lets_in_what_the_rules_say_and_nothing_else() {
    for seed in 0..4_000 {
        tunnel_packet(&noise(seed, 600));
    }
}

#[test]
fn tun_23_links_of_one_node_let_in_what_their_rules_say_together() {
    for seed in 0..3_000 {
        link_pairs(&noise(seed, 700));
    }
}

/// Headers with options are among the packets, in order and not.
#[test]
fn tun_11_sec_12_the_inputs_have_options_of_every_answer() {
    let mut answers = BTreeMap::new();
    for seed in 0..20_000 {
        let bytes = noise(seed, 400);
        let packet = packets::outer(&mut Input::new(&bytes), &WORLD);
        let header_len = usize::from(packet[0] & 0xf) * 4;
        if let Some(options @ [_, ..]) = packet.get(20..header_len) {
            *answers.entry(options::read(options)).or_insert(0) += 1;
        }
    }
    assert!(answers.len() == 3 && answers.values().all(|count| *count > 50), "{answers:?}");
}

/// A target that never lets a packet in proves nothing.
#[test]
fn the_inputs_of_the_targets_reach_every_kind_of_link_both_ways() {
    let mut answers = BTreeSet::new();
    for seed in 0..12_000 {
        let bytes = noise(seed, 640);
        let mut input = Input::new(&bytes);
        let kind = input.byte() % 8;
        let own = own(&mut input);
        let mut world = WORLD;
        let rules = rules(&mut input, kind, &own, &mut world);
        while !input.is_empty() {
            if let Some(packet) = Packet::read(&packets::outer(&mut input, &world)) {
                answers.insert((kind, format!("{:?}", rules.judge(&packet))));
            }
        }
    }
    let of =
        |kind: u8| answers.iter().filter(|(of, _)| *of == kind).map(|(_, answer)| answer.as_str()).collect::<Vec<_>>();
    assert_eq!(of(0), ["Admitted(Remote)", "NotAddressed", "Refused"]);
    for kind in [1, 2] {
        assert_eq!(of(kind), ["Admitted(Host)", "Admitted(Router)", "NotAddressed", "Refused"]);
    }
    for kind in [3, 4] {
        assert_eq!(of(kind), ["Admitted(Anybody)", "Admitted(Host)", "NotAddressed", "Refused"]);
    }
    assert_eq!(of(5), ["Admitted(Anybody)", "Admitted(Host)", "Admitted(Router)", "NotAddressed", "Refused"]);
    for kind in [6, 7] {
        assert_eq!(of(kind), ["Admitted(Host)", "NotAddressed", "Refused"]);
    }
}

/// At the borders of every block that RFC 3964 and RFC 6890 name.
#[test]
fn s64_1_s64_14_ipv4_addresses_that_may_be_a_6to4_sites() {
    let mut usable = 0;
    for border in [
        "0.0.0.0",
        "1.0.0.0",
        "10.0.0.0",
        "11.0.0.0",
        "100.64.0.0",
        "100.128.0.0",
        "127.0.0.0",
        "128.0.0.0",
        "169.254.0.0",
        "169.255.0.0",
        "172.16.0.0",
        "172.32.0.0",
        "192.0.0.0",
        "192.0.1.0",
        "192.0.2.0",
        "192.0.3.0",
        "192.88.99.0",
        "192.88.99.1",
        "192.88.99.2",
        "192.168.0.0",
        "192.169.0.0",
        "198.18.0.0",
        "198.20.0.0",
        "198.51.100.0",
        "198.51.101.0",
        "203.0.113.0",
        "203.0.114.0",
        "224.0.0.0",
        "240.0.0.0",
        "255.255.255.255",
    ] {
        let border = border.parse::<Ipv4Addr>().unwrap().to_bits();
        for bits in [border.wrapping_sub(1), border, border.wrapping_add(1), border ^ 0x80, border ^ 0x8000] {
            let ipv4 = Ipv4Addr::from_bits(bits);
            for strangers in [false, true] {
                let expected = may_be_sixtofour(bits, &[], strangers);
                assert_eq!(ingress::is_usable(ipv4, strangers), expected, "{ipv4} {strangers}");
                let is_anycast = ipv4 == Ipv4Addr::new(192, 88, 99, 1);
                assert_eq!(ingress::locator(ipv4, strangers), expected && !is_anycast, "{ipv4} {strangers}");
                usable += u32::from(expected);
            }
        }
    }
    assert!(usable > 100, "{usable}");
}
