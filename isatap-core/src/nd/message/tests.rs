#![allow(clippy::arithmetic_side_effects, clippy::as_conversions)]
use super::*;
use crate::nd::option::{Mtu, NdOption, PrefixFlags, PrefixInformation, RouteInformation};
use crate::prefix::Ipv6Prefix;
use crate::time::Lifetime;
use proptest::prelude::*;
use std::vec::Vec;

/// Hexadecimal with blanks.
fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.chars().filter_map(|c| c.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

fn written(source: &str, destination: &str, emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0xaa; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    let len = write_packet(&mut packet, &ip(source), &ip(destination), emit).unwrap();
    assert_eq!(len, packet.len());
    packet.as_slice().to_vec()
}

fn rs(source: &str, destination: &str) -> Vec<u8> {
    written(source, destination, |writer| RouterSolicitationRepr.emit(writer))
}

#[test]
fn isa_30_router_solicitations_of_the_vectors() {
    let unicast = "60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 5e fe 0a 00 00 02
        fe 80 00 00 00 00 00 00 00 00 5e fe 0a 00 00 01 85 00 ab bb 00 00 00 00";
    assert_eq!(rs("fe80::5efe:a00:2", "fe80::5efe:a00:1"), hex(unicast));
    assert_eq!(rs("fe80::5efe:a00:2", "ff02::2")[40..], hex("85 00 14 37 00 00 00 00"));
    let public = rs("fe80::200:5efe:836b:45c", "fe80::200:5efe:836b:47d1");
    assert_eq!(public[40..], hex("85 00 68 ba 00 00 00 00"));
    // The Teredo ones have the same message.
    assert_eq!(rs("fe80::ffff:ffff:ffff", "ff02::2")[40..], hex("85007d3700000000"));
    assert_eq!(rs("fe80::8000:5445:5245:444f", "ff02::2")[40..], hex("8500125d00000000"));
}

const ADVERTISEMENT: &str = "60 00 00 00 00 48 3a ff fe 80 00 00 00 00 00 00 00 00 5e fe 0a 00 00 01
    fe 80 00 00 00 00 00 00 00 00 5e fe 0a 00 00 02
    86 00 e1 5f 40 00 07 08 00 00 00 00 00 00 00 00
    05 01 00 00 00 00 05 00
    03 04 40 c0 00 01 51 80 00 00 38 40 00 00 00 00 20 01 0d b8 00 00 00 07 00 00 00 00 00 00 00 00
    18 02 30 08 00 00 07 08 20 01 0d b8 00 01 00 00";

fn advertisement_parts() -> (RouterAdvertisementRepr, [NdOption<'static>; 3]) {
    let repr = RouterAdvertisementRepr { cur_hop_limit: 64, router_lifetime: 1800, ..Default::default() };
    let options = [
        NdOption::Mtu(Mtu(1280)),
        NdOption::PrefixInformation(PrefixInformation {
            prefix: "2001:db8:0:7::/64".parse().unwrap(),
            flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
            valid_lifetime: Lifetime::from_secs(86400),
            preferred_lifetime: Lifetime::from_secs(14400),
        }),
        NdOption::RouteInformation(RouteInformation {
            prefix: "2001:db8:1::/48".parse().unwrap(),
            preference: Preference::High,
            lifetime: Lifetime::from_secs(1800),
        }),
    ];
    (repr, options)
}

#[test]
fn isa_55_the_router_advertisement_of_the_vectors() {
    let (repr, options) = advertisement_parts();
    let bytes = written("fe80::5efe:a00:1", "fe80::5efe:a00:2", |writer| {
        repr.emit(writer);
        options.iter().for_each(|option| option.emit(writer));
    });
    assert_eq!(bytes, hex(ADVERTISEMENT));

    let parsed = RouterAdvertisement::parse(&bytes[40..]).unwrap();
    assert_eq!(parsed.repr(), repr);
    assert_eq!(parsed.checksum(), 0xe15f);
    assert_eq!(parsed.router_lifetime().secs(), 1800);
    let read: Vec<_> = parsed.options().map(Result::unwrap).collect();
    assert_eq!(read, options);
}

#[test]
fn isa_48_the_neighbour_probe_and_its_answer_of_the_vectors() {
    let target = ip("fe80::5efe:a00:1");
    let ns = written("fe80::5efe:a00:2", "fe80::5efe:a00:1", |writer| {
        NeighborSolicitationRepr { target }.emit(writer);
    });
    assert_eq!(ns[40..], hex("8700422b00000000fe8000000000000000005efe0a000001"));
    let solicitation = NeighborSolicitation::parse(&ns[40..]).unwrap();
    assert_eq!(solicitation.target(), target);

    // NDP-51: no option in it.
    assert_eq!(solicitation.options().count(), 0);
    let answer = NeighborAdvertisementRepr::answer(&solicitation, true);
    let na = written("fe80::5efe:a00:1", "fe80::5efe:a00:2", |writer| answer.emit(writer));
    assert_eq!(na[40..], hex("8800812ac0000000fe8000000000000000005efe0a000001"));
    let advertisement = NeighborAdvertisement::parse(&na[40..]).unwrap();
    assert_eq!(advertisement.flags(), NeighborFlags::ROUTER | NeighborFlags::SOLICITED);
    assert_eq!(advertisement.target(), target);
}

#[test]
fn ndp_52_an_answer_copies_the_target_and_sets_s_but_not_o() {
    let bytes = written("fe80::2", "fe80::1", |writer| NeighborSolicitationRepr { target: ip("fe80::1") }.emit(writer));
    let solicitation = NeighborSolicitation::parse(&bytes[40..]).unwrap();
    let of_host = NeighborAdvertisementRepr::answer(&solicitation, false);
    assert_eq!((of_host.target, of_host.flags), (ip("fe80::1"), NeighborFlags::SOLICITED));
    let of_router = NeighborAdvertisementRepr::answer(&solicitation, true);
    assert_eq!(of_router.flags.bits(), 0xc000_0000);
}

#[test]
fn ndp_1_a_checksum_of_zero_is_sent_as_it_is() {
    // Search for a target with which the sum is all ones.
    let zero = (0..=0xffff_u16).find_map(|last| {
        let target = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, last);
        let bytes = written("fe80::5efe:a00:2", "fe80::1", |writer| NeighborSolicitationRepr { target }.emit(writer));
        (bytes[42..44] == [0, 0]).then_some(bytes)
    });
    let bytes = zero.unwrap();
    assert!(verify(&ip("fe80::5efe:a00:2"), &ip("fe80::1"), &bytes[40..]));
}

#[test]
fn ndp_1_checksum_covers_addresses_length_and_message() {
    let bytes = hex(ADVERTISEMENT);
    let (source, destination) = (ip("fe80::5efe:a00:1"), ip("fe80::5efe:a00:2"));
    assert!(verify(&source, &destination, &bytes[40..]));
    assert!(!verify(&ip("fe80::5efe:a00:3"), &destination, &bytes[40..]));
    assert!(!verify(&source, &ip("ff02::1"), &bytes[40..]));
    for at in 40..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(!verify(&source, &destination, &damaged[40..]), "byte {at}");
    }
    // One byte more, even a zero, is another length. The odd one is padded.
    let longer = [&bytes[40..], &[0]].concat();
    assert!(!verify(&source, &destination, &longer));
}

#[test]
fn ndp_2_every_packet_has_hop_limit_255() {
    let target = ip("fe80::1");
    for bytes in [
        rs("fe80::2", "ff02::2"),
        written("fe80::2", "fe80::1", |writer| RouterAdvertisementRepr::default().emit(writer)),
        written("fe80::2", "fe80::1", |writer| NeighborSolicitationRepr { target }.emit(writer)),
        written("fe80::2", "fe80::1", |writer| RedirectRepr { target, destination: target }.emit(writer)),
    ] {
        assert_eq!(bytes[6..8], [58, 255]);
        assert_eq!(usize::from(u16::from_be_bytes([bytes[4], bytes[5]])), bytes.len() - 40);
        assert!(Message::parse(&bytes[40..]).is_ok());
    }
}

#[test]
fn ndp_4_reserved_fields_are_sent_zero_and_ignored_on_receipt() {
    let mut bytes = rs("fe80::2", "ff02::2");
    assert_eq!(bytes[44..48], [0; 4]);
    bytes[44..48].fill(0xff);
    assert!(RouterSolicitation::parse(&bytes[40..]).is_ok());

    let mut bytes = hex(ADVERTISEMENT);
    bytes[45] |= 0x07;
    let advertisement = RouterAdvertisement::parse(&bytes[40..]).unwrap();
    assert!(!advertisement.flags().intersects(RouterFlags::MANAGED | RouterFlags::OTHER | RouterFlags::HOME_AGENT));
    assert_eq!(advertisement.preference(), Preference::Medium);
    // What is unknown is kept.
    let mut writer_bytes = [0; 16];
    advertisement.repr().emit(&mut Writer::new(&mut writer_bytes));
    assert_eq!(writer_bytes[5], 0x07);
}

#[test]
fn rfc_4191_preference_in_the_header() {
    let mut bytes = hex(ADVERTISEMENT);
    for (bits, preference) in
        [(0x08, Preference::High), (0x00, Preference::Medium), (0x18, Preference::Low), (0x10, Preference::Medium)]
    {
        bytes[45] = bits | 0x80;
        let advertisement = RouterAdvertisement::parse(&bytes[40..]).unwrap();
        assert_eq!(advertisement.preference(), preference);
        assert_eq!(advertisement.flags(), RouterFlags::MANAGED);
    }
    // A router lifetime of zero: not sent, not read.
    bytes[45] = 0x08;
    bytes[46..48].fill(0);
    assert_eq!(RouterAdvertisement::parse(&bytes[40..]).unwrap().preference(), Preference::Medium);
    let repr = RouterAdvertisementRepr { preference: Preference::High, ..Default::default() };
    let mut out = [0xff; 16];
    repr.emit(&mut Writer::new(&mut out));
    assert_eq!(out[5], 0);
}

#[test]
fn every_truncation_is_an_error_unless_it_ends_between_options() {
    let bytes = hex(ADVERTISEMENT);
    let message = &bytes[40..];
    for len in 0..=message.len() {
        let whole = matches!(len, 16 | 24 | 56 | 72);
        assert_eq!(Message::parse(&message[..len]).is_ok(), whole, "{len}");
    }
    for (message_type, least) in [(133, 8), (134, 16), (135, 24), (136, 24), (137, 40)] {
        let mut message = [0; 40];
        message[0] = message_type;
        for len in 0..least {
            let error = Message::parse(&message[..len]).unwrap_err();
            assert_eq!((error.kind, error.offset), (ParseErrorKind::Truncated, len));
        }
        assert!(Message::parse(&message[..least]).is_ok());
    }
}

#[test]
fn ndp_5_one_option_of_length_zero_condemns_the_message() {
    for (offset, damaged) in [(57, 0), (65, 7), (97, 3), (97, 255)] {
        let mut bytes = hex(ADVERTISEMENT);
        bytes[offset] = damaged;
        let error = Message::parse(&bytes[40..]).unwrap_err();
        let kind = if damaged == 0 { ParseErrorKind::Length } else { ParseErrorKind::Truncated };
        assert_eq!(error.layer, Layer::NeighborDiscoveryOption);
        assert_eq!(error.kind, kind, "{offset} {damaged}");
    }
}

#[test]
fn another_type_or_code_is_an_error() {
    let mut bytes = hex(ADVERTISEMENT);
    assert_eq!(Redirect::parse(&bytes[40..]).unwrap_err().kind, ParseErrorKind::Type);
    bytes[41] = 1;
    let error = Message::parse(&bytes[40..]).unwrap_err();
    assert_eq!((error.kind, error.offset), (ParseErrorKind::Code, 1));
    bytes[40] = 128;
    assert_eq!(Message::parse(&bytes[40..]).unwrap_err().kind, ParseErrorKind::Type);
    assert!(!is_neighbor_discovery(128) && is_neighbor_discovery(137) && !is_neighbor_discovery(138));
}

#[test]
fn ndp_15_a_captured_advertisement_with_garbage_behind_the_prefix_length() {
    let captured =
        hex("8600649d0000000000003a98000007d003044040ffffffffffffffff0000000020010000c2881c4cff00000000200100");
    let message = RouterAdvertisement::parse(&captured).unwrap();
    assert!(verify(&ip("fe80::8000:f227:3d77:e3b3"), &ip("fe80::ffff:ffff:fffe"), &captured));
    assert_eq!((message.reachable_time(), message.retrans_timer()), (15000, 2000));
    let Some(Ok(NdOption::PrefixInformation(option))) = message.options().next() else { panic!() };
    assert_eq!(option.prefix, "2001:0:c288:1c4c::/64".parse::<Ipv6Prefix>().unwrap());
    assert!(option.valid_lifetime.is_infinite());
}

#[test]
fn a_packet_that_does_not_fit_is_an_error_and_leaves_nothing() {
    let mut buffer = [0; 80 + 47];
    let mut packet = PacketMut::empty(&mut buffer);
    let short = write_packet(&mut packet, &ip("fe80::2"), &ip("ff02::2"), |writer| RouterSolicitationRepr.emit(writer));
    assert_eq!(short, Err(EmitError::new(48, 47)));
    assert!(packet.is_empty());

    let mut buffer = std::vec![0; 80 + 70_000];
    let mut packet = PacketMut::empty(&mut buffer);
    let long = write_packet(&mut packet, &ip("fe80::2"), &ip("ff02::2"), |writer| writer.zeros(65_536));
    assert_eq!(long, Err(EmitError::new(65_576, 65_575)));
    assert!(packet.is_empty());
}

fn any_address() -> impl Strategy<Value = Ipv6Addr> {
    any::<u128>().prop_map(Ipv6Addr::from_bits)
}

proptest! {
    #[test]
    fn advertisements_survive_the_round_trip(
        cur_hop_limit: u8, flags: u8, preference in 0..3, router_lifetime: u16, reachable_time: u32, retrans_timer: u32,
    ) {
        let preference = [Preference::Low, Preference::Medium, Preference::High][preference as usize];
        let repr = RouterAdvertisementRepr {
            cur_hop_limit,
            flags: RouterFlags::from_bits_retain(flags & 0xe7),
            preference: if router_lifetime == 0 { Preference::Medium } else { preference },
            router_lifetime,
            reachable_time,
            retrans_timer,
        };
        let bytes = written("fe80::1", "fe80::2", |writer| repr.emit(writer));
        prop_assert_eq!(bytes.len(), 40 + RouterAdvertisement::LENGTH);
        prop_assert_eq!(RouterAdvertisement::parse(&bytes[40..]).unwrap().repr(), repr);
    }

    #[test]
    fn the_others_survive_it_too(target in any_address(), destination in any_address(), flags: u32) {
        let bytes = written("fe80::1", "fe80::2", |writer| NeighborSolicitationRepr { target }.emit(writer));
        prop_assert_eq!(NeighborSolicitation::parse(&bytes[40..]).unwrap().target(), target);
        let repr = NeighborAdvertisementRepr { flags: NeighborFlags::from_bits_retain(flags), target };
        let bytes = written("fe80::1", "fe80::2", |writer| repr.emit(writer));
        let read = NeighborAdvertisement::parse(&bytes[40..]).unwrap();
        prop_assert_eq!((read.flags(), read.target()), (repr.flags, target));
        let bytes = written("fe80::1", "fe80::2", |writer| RedirectRepr { target, destination }.emit(writer));
        let read = Redirect::parse(&bytes[40..]).unwrap();
        prop_assert_eq!((read.target(), read.destination()), (target, destination));
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_harm(
        message_type in 132_u8..139, rest in prop::collection::vec(any::<u8>(), 0..200),
    ) {
        let mut bytes = std::vec![message_type, 0];
        bytes.extend(rest);
        if let Ok(message) = Message::parse(&bytes) {
            let options = message.options();
            let mut again = std::vec![0; options.as_slice().len()];
            let mut writer = Writer::new(&mut again);
            for option in options {
                option.unwrap().emit(&mut writer);
            }
            prop_assert!(writer.finish().is_ok());
        }
    }
}

proptest! {
    /// The short way writes what the long one does.
    #[test]
    fn isa_31_a_whole_solicitation_is_what_write_packet_writes(source: u128, destination: u128) {
        let (source, destination) = (Ipv6Addr::from_bits(source), Ipv6Addr::from_bits(destination));
        let mut buffer = [0xaa; 200];
        let mut packet = PacketMut::empty(&mut buffer);
        write_packet(&mut packet, &source, &destination, |writer| RouterSolicitationRepr.emit(writer)).unwrap();
        prop_assert_eq!(packet.as_slice(), router_solicitation_packet(&source, &destination));
    }
}
