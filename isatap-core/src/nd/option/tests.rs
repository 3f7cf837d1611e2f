#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use crate::prefix::Ipv6Prefix;
use crate::route::Preference;
use crate::time::Lifetime;
use core::net::Ipv6Addr;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;

/// Hexadecimal with blanks.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn one(bytes: &[u8]) -> NdOption<'_> {
    let mut options = Options::new(bytes, 0);
    let option = options.next().unwrap().unwrap();
    assert!(options.next().is_none());
    option
}

fn emitted(option: &NdOption<'_>) -> Vec<u8> {
    let mut counting = Writer::counting();
    option.emit(&mut counting);
    let mut bytes = std::vec![0xaa; counting.written()];
    let mut writer = Writer::new(&mut bytes);
    option.emit(&mut writer);
    assert_eq!(writer.finish(), Ok(bytes.len()));
    bytes
}

fn prefix(text: &str) -> Ipv6Prefix {
    text.parse().unwrap()
}

fn is_unusable(text: &str) -> bool {
    matches!(one(&hex(text)), NdOption::Unusable(_))
}

#[test]
fn the_options_of_the_vectors() {
    let rio = |text, preference, secs| {
        NdOption::RouteInformation(RouteInformation {
            prefix: prefix(text),
            preference,
            lifetime: Lifetime::from_secs(secs),
        })
    };
    let pio = NdOption::PrefixInformation(PrefixInformation {
        prefix: prefix("2001:db8:0:7::/64"),
        flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
        valid_lifetime: Lifetime::from_secs(86400),
        preferred_lifetime: Lifetime::from_secs(14400),
    });
    for (text, option) in [
        ("0501000000000500", NdOption::Mtu(Mtu(1280))),
        ("030440c000015180000038400000000020010db8000000070000000000000000", pio),
        ("1801001800000708", rio("::/0", Preference::Low, 1800)),
        ("180230080000070820010db800010000", rio("2001:db8:1::/48", Preference::High, 1800)),
        ("18036000000002580064ff9b000000000000000000000000", rio("64:ff9b::/96", Preference::Medium, 600)),
    ] {
        assert_eq!(one(&hex(text)), option, "{text}");
        assert_eq!(emitted(&option), hex(text));
    }
}

#[test]
fn ndp_13_the_dns_options_of_the_vectors() {
    let bytes = hex("190300000000070820010db8000000000000000000000053");
    let NdOption::RecursiveDnsServers(servers) = one(&bytes) else { panic!() };
    assert_eq!(servers.lifetime(), Lifetime::from_secs(1800));
    assert_eq!(servers.addresses().collect::<Vec<_>>(), ["2001:db8::53".parse::<Ipv6Addr>().unwrap()]);
    assert_eq!(emitted(&NdOption::RecursiveDnsServers(servers)), bytes);

    let two: [Ipv6Addr; 2] = ["2001:db8::53".parse().unwrap(), "fe80::53".parse().unwrap()];
    let mut out = [0xaa; 40];
    let mut writer = Writer::new(&mut out);
    RecursiveDnsServers::emit_list(Lifetime::INFINITE, &two, &mut writer);
    assert_eq!(writer.finish(), Ok(40));
    assert_eq!(out[..8], hex("19050000ffffffff"));
    let NdOption::RecursiveDnsServers(servers) = one(&out) else { panic!() };
    assert!(servers.lifetime().is_infinite());
    assert_eq!(servers.addresses().collect::<Vec<_>>(), two);

    let bytes = hex("1f03000000000708076578616d706c6503636f6d00000000");
    let NdOption::DnsSearchList(list) = one(&bytes) else { panic!() };
    assert_eq!(list.lifetime(), Lifetime::from_secs(1800));
    assert_eq!(list.names().map(|name| name.to_string()).collect::<Vec<_>>(), ["example.com"]);
    assert_eq!(emitted(&NdOption::DnsSearchList(list)), bytes);
    let mut out = [0xaa; 24];
    DnsSearchList::emit_list(Lifetime::from_secs(1800), list.names(), &mut Writer::new(&mut out));
    assert_eq!(out[..], bytes);
}

#[test]
fn ndp_10_prefix_information_rules() {
    assert!(is_unusable("030340c000015180000038400000000020010db800000007"));
    assert!(is_unusable("030540c000015180000038400000000020010db8000000070000000000000000 0000000000000000"));
    assert!(is_unusable("030481c000015180000038400000000020010db8000000070000000000000000"));
    // Bits behind the length are ignored on receipt and zero on sending.
    let NdOption::PrefixInformation(option) =
        one(&hex("030440ff00015180000038401234567820010db800000007ffffffffffffffff"))
    else {
        panic!()
    };
    assert_eq!(option.prefix, prefix("2001:db8:0:7::/64"));
    assert_eq!(option.flags.bits(), 0xff);
    let again = emitted(&NdOption::PrefixInformation(option));
    assert_eq!(again, hex("030440ff00015180000038400000000020010db8000000070000000000000000"));
}

#[test]
fn ndp_11_ndp_15_route_information_length_rules() {
    assert!(is_unusable("1801400000000708"));
    assert!(is_unusable("180241000000070820010db800010000"));
    assert!(is_unusable("180430000000070820010db80001000000000000000000000000000000000000"));
    assert!(is_unusable("180230100000070820010db800010000"));
    for units in 1..=5_usize {
        for prefix_length in 0..=255_u8 {
            let mut bytes = std::vec![0xff; units * 8];
            bytes[..4].copy_from_slice(&[24, units as u8, prefix_length, 0x08 | 0xe7]);
            let allowed = match units {
                1 => prefix_length == 0,
                2 => prefix_length <= 64,
                3 => prefix_length <= 128,
                _ => false,
            };
            let read = one(&bytes);
            assert_eq!(matches!(read, NdOption::RouteInformation(_)), allowed, "{units} {prefix_length}");
            if let NdOption::RouteInformation(route) = read {
                assert_eq!(route.prefix, Ipv6Prefix::new(Ipv6Addr::from_bits(u128::MAX), prefix_length).unwrap());
                assert_eq!(route.preference, Preference::High);
            }
        }
    }
}

#[test]
fn ndp_13_dns_server_rules() {
    assert!(is_unusable("1901000000000708"));
    assert!(is_unusable("190200000000070820010db800000000"));
    assert!(is_unusable("190400000000070820010db80000000000000000000000530000000000000000"));
    assert!(is_unusable("1903000000000708ff020000000000000000000000000053"));
    assert!(is_unusable("190300000000070800000000000000000000000000000000"));
    assert!(is_unusable("190300000000070800000000000000000000000000000001"));
    // One wrong address discards the option.
    assert!(is_unusable("190500000000070820010db8000000000000000000000053ff020000000000000000000000000053"));
}

#[test]
fn ndp_13_search_list_rules() {
    // Too short; only the root; compression; a label beyond the end; no end; bytes behind the padding.
    assert!(is_unusable("1f01000000000708"));
    assert!(is_unusable("1f020000000007080000000000000000"));
    assert!(is_unusable("1f02000000000708 03636f6dc0080000"));
    assert!(is_unusable("1f02000000000708 07636f6d00000000"));
    assert!(is_unusable("1f02000000000708 03636f6d02617a7a"));
    assert!(is_unusable("1f02000000000708 03636f6d00000001"));
    assert!(is_unusable("1f02000000000708 40636f6d00000000"));
    let bytes = hex("1f03000000000708 03636f6d00036e6574000000 00000000");
    let NdOption::DnsSearchList(list) = one(&bytes) else { panic!() };
    assert_eq!(list.names().map(|name| name.to_string()).collect::<Vec<_>>(), ["com", "net"]);
}

#[test]
fn names_longer_than_255_bytes_are_none() {
    // 63 + 1 four times is 256 with the root.
    let long: Vec<u8> = (0..4).flat_map(|_| [&[63][..], &[b'a'; 63]].concat()).chain([0]).collect();
    assert!(DomainName::from_wire(&long).is_none());
    let fits: Vec<u8> = [&long[..3 * 64], &[61], &[b'b'; 61], &[0]].concat();
    assert_eq!(fits.len(), 255);
    assert!(DomainName::from_wire(&fits).unwrap().is_hostname());
    let most_labels: Vec<u8> = (0..127).flat_map(|_| [1, b'a']).chain([0]).collect();
    assert_eq!(DomainName::from_wire(&most_labels).unwrap().labels().count(), 127);
    let more_labels: Vec<u8> = (0..128).flat_map(|_| [1, b'a']).chain([0]).collect();
    assert!(DomainName::from_wire(&more_labels).is_none());
}

#[test]
fn names_show_what_is_no_plain_text() {
    let name = DomainName::from_wire(b"\x04a.\n\\\x03com\x00").unwrap();
    assert_eq!(name.to_string(), "a\\046\\010\\092.com");
    assert!(!name.is_hostname());
    assert!(DomainName::from_wire(b"\x03A-b\x00").unwrap().is_hostname());
    assert!(!DomainName::from_wire(b"\x02-b\x00").unwrap().is_hostname());
    assert!(!DomainName::from_wire(b"\x05$(ls)\x00").unwrap().is_hostname());
    assert!(DomainName::from_wire(b"\x03COM\x00").unwrap().is_same(&DomainName::from_wire(b"\x03com\x00").unwrap()));
    assert!(DomainName::from_wire(b"\x03com\x00\x00").is_none());
    assert!(DomainName::from_wire(b"\x00").is_none());
}

#[test]
fn ndp_4_unknown_options_are_yielded_and_passed() {
    let bytes = hex("fd02 000000000000 0000000000000000 0501000000000500");
    let options: Vec<_> = Options::new(&bytes, 16).map(Result::unwrap).collect();
    let NdOption::Unknown(raw) = options[0] else { panic!() };
    assert_eq!((raw.option_type(), raw.as_slice().len(), raw.body().len()), (0xfd, 16, 14));
    assert_eq!(options[1], NdOption::Mtu(Mtu(1280)));
    // An MTU option of another length is wrong by itself.
    assert!(is_unusable("05020000000005000000000000000000"));
}

#[test]
fn repeats_survive() {
    let bytes = hex("0501000000000500 05010000000005dc");
    let options: Vec<_> = Options::new(&bytes, 16).map(Result::unwrap).collect();
    assert_eq!(options, [NdOption::Mtu(Mtu(1280)), NdOption::Mtu(Mtu(1500))]);
}

#[test]
fn ndp_5_the_iterator_ends_with_the_first_error() {
    for (text, kind, offset) in [
        ("0501000000000500 0300000000000000", ParseErrorKind::Length, 24),
        ("0501000000000500 0502000000000500", ParseErrorKind::Truncated, 24),
        ("0501000000000500 05", ParseErrorKind::Truncated, 24),
    ] {
        let bytes = hex(text);
        let mut options = Options::new(&bytes, 16);
        assert!(options.next().unwrap().is_ok());
        assert_eq!(options.next(), Some(Err(ParseError::new(Layer::NeighborDiscoveryOption, kind, offset))));
        assert_eq!(options.next(), None);
        assert_eq!(options.next(), None);
    }
}

#[test]
fn tun_63_link_layer_addresses_are_read_past() {
    let bytes = hex("0102000000000000 8000f12ab9c82815");
    let NdOption::SourceLinkLayerAddress(option) = one(&bytes) else { panic!() };
    assert_eq!(option.address.len(), 14);
    assert_eq!(emitted(&one(&bytes)), bytes);
}

#[test]
fn lists_that_are_too_long_for_an_option_are_cut() {
    let many = std::vec![Ipv6Addr::LOCALHOST; 200];
    let mut counting = Writer::counting();
    RecursiveDnsServers::emit_list(Lifetime::ZERO, &many, &mut counting);
    assert_eq!(counting.written(), 8 + 127 * 16);
    let name = [&[63][..], &[b'a'; 63], &[0]].concat();
    let names = std::iter::repeat_n(DomainName::from_wire(&name).unwrap(), 100);
    let mut out = [0xaa; 2048];
    let mut writer = Writer::new(&mut out);
    DnsSearchList::emit_list(Lifetime::ZERO, names, &mut writer);
    let len = writer.finish().unwrap();
    let NdOption::DnsSearchList(list) = one(&out[..len]) else { panic!() };
    assert_eq!(list.names().count(), 2032 / 65);
    let packet = [7; 3000];
    let bytes = emitted(&NdOption::RedirectedHeader(RedirectedHeader { packet: &packet }));
    assert_eq!(bytes.len(), 2040);
    let mut counting = Writer::counting();
    RecursiveDnsServers::emit_list(Lifetime::ZERO, &[], &mut counting);
    DnsSearchList::emit_list(Lifetime::ZERO, core::iter::empty(), &mut counting);
    assert_eq!(counting.written(), 0);
}

fn any_prefix() -> impl Strategy<Value = Ipv6Prefix> {
    (any::<u128>(), 0_u8..=128).prop_map(|(bits, len)| Ipv6Prefix::new(Ipv6Addr::from_bits(bits), len).unwrap())
}

fn any_preference() -> impl Strategy<Value = Preference> {
    prop_oneof![Just(Preference::Low), Just(Preference::Medium), Just(Preference::High)]
}

proptest! {
    #[test]
    fn options_of_fixed_size_survive_the_round_trip(
        prefix in any_prefix(), flags: u8, valid: u32, preferred: u32, preference in any_preference(), mtu: u32,
    ) {
        let options = [
            NdOption::PrefixInformation(PrefixInformation {
                prefix,
                flags: PrefixFlags::from_bits_retain(flags),
                valid_lifetime: Lifetime::from_secs(valid),
                preferred_lifetime: Lifetime::from_secs(preferred),
            }),
            NdOption::RouteInformation(RouteInformation { prefix, preference, lifetime: Lifetime::from_secs(valid) }),
            NdOption::Mtu(Mtu(mtu)),
        ];
        for option in options {
            let bytes = emitted(&option);
            prop_assert_eq!(one(&bytes), option);
        }
    }

    #[test]
    fn server_lists_survive_it(addresses in prop::collection::vec(0x2001_u128 << 112..0x4000_u128 << 112, 1..20), lifetime: u32) {
        let addresses: Vec<Ipv6Addr> = addresses.into_iter().map(Ipv6Addr::from_bits).collect();
        let mut out = std::vec![0xaa; 8 + addresses.len() * 16];
        let mut writer = Writer::new(&mut out);
        RecursiveDnsServers::emit_list(Lifetime::from_secs(lifetime), &addresses, &mut writer);
        prop_assert_eq!(writer.finish(), Ok(out.len()));
        let NdOption::RecursiveDnsServers(read) = one(&out) else { panic!() };
        prop_assert_eq!(read.addresses().collect::<Vec<_>>(), addresses);
    }

    #[test]
    fn search_lists_survive_it(
        names in prop::collection::vec(prop::collection::vec("[a-z0-9]{1,10}", 1..4), 1..8), lifetime: u32,
    ) {
        // An encoder of the test's own.
        let wire: Vec<Vec<u8>> = names
            .iter()
            .map(|labels| labels.iter().flat_map(|l| [&[l.len() as u8], l.as_bytes()].concat()).chain([0]).collect())
            .collect();
        let parsed: Vec<_> = wire.iter().map(|wire| DomainName::from_wire(wire).unwrap()).collect();
        let mut out = [0xaa; 1000];
        let mut writer = Writer::new(&mut out);
        DnsSearchList::emit_list(Lifetime::from_secs(lifetime), parsed.iter().copied(), &mut writer);
        let len = writer.finish().unwrap();
        let NdOption::DnsSearchList(read) = one(&out[..len]) else { panic!() };
        let texts: Vec<String> = read.names().map(|name| name.to_string()).collect();
        prop_assert_eq!(texts, names.iter().map(|labels| labels.join(".")).collect::<Vec<_>>());
        prop_assert!(read.names().all(|name| name.is_hostname()));
    }

    #[test]
    fn any_bytes_are_walked_to_their_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut walked = 0;
        for option in Options::new(&bytes, 0) {
            match option {
                Ok(option) => {
                    let len = usize::from(bytes[walked + 1]) * 8;
                    prop_assert!(len > 0);
                    if let NdOption::Unknown(raw) | NdOption::Unusable(raw) = option {
                        prop_assert_eq!(raw.as_slice(), &bytes[walked..walked + len]);
                    }
                    walked += len;
                }
                Err(error) => prop_assert_eq!(error.offset, walked),
            }
        }
    }
}
