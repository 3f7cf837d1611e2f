use super::*;
use crate::nd::message::{
    NeighborAdvertisementRepr, NeighborSolicitationRepr, RedirectRepr, RouterAdvertisementRepr, RouterSolicitationRepr,
    write_packet,
};
use crate::packet::PacketMut;
use crate::wire::field::Writer;
use std::vec::Vec;

const SOURCE_LINK_LAYER_ADDRESS: [u8; 8] = [1, 1, 2, 0, 0x5e, 0x10, 0, 1];
const LENGTH_ZERO: [u8; 8] = [5, 0, 0, 0, 0, 0, 5, 0];

fn ip(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// A message with a right checksum, options already in it.
fn packet(source: &str, destination: &str, emit: impl FnOnce(&mut Writer<'_>)) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut packet = PacketMut::empty(&mut buffer);
    write_packet(&mut packet, &ip(source), &ip(destination), emit).unwrap();
    packet.as_slice().to_vec()
}

fn received(packet: &[u8]) -> Received<'_> {
    Received {
        source: Ipv6Addr::from(*packet[8..].first_chunk::<16>().unwrap()),
        destination: Ipv6Addr::from(*packet[24..].first_chunk::<16>().unwrap()),
        hop_limit: packet[7],
        fragmented: false,
        icmpv6: &packet[40..],
    }
}

fn judged(packet: &[u8]) -> Result<(), DropReason> {
    message(&received(packet)).map(|_| ())
}

fn rs(source: &str, options: &[u8]) -> Result<(), DropReason> {
    judged(&packet(source, "ff02::2", |writer| {
        RouterSolicitationRepr.emit(writer);
        writer.bytes(options);
    }))
}

fn ra(source: &str, options: &[u8]) -> Result<(), DropReason> {
    judged(&packet(source, "fe80::5efe:a00:2", |writer| {
        RouterAdvertisementRepr::default().emit(writer);
        writer.bytes(options);
    }))
}

fn ns(source: &str, destination: &str, target: &str, options: &[u8]) -> Result<(), DropReason> {
    judged(&packet(source, destination, |writer| {
        NeighborSolicitationRepr { target: ip(target) }.emit(writer);
        writer.bytes(options);
    }))
}

fn na(destination: &str, target: &str, flags: NeighborFlags, options: &[u8]) -> Result<(), DropReason> {
    judged(&packet("fe80::1", destination, |writer| {
        NeighborAdvertisementRepr { flags, target: ip(target) }.emit(writer);
        writer.bytes(options);
    }))
}

fn redirected(source: &str, target: &str, destination: &str, options: &[u8]) -> Result<(), DropReason> {
    judged(&packet(source, "fe80::2", |writer| {
        RedirectRepr { target: ip(target), destination: ip(destination) }.emit(writer);
        writer.bytes(options);
    }))
}

/// One valid packet of each type.
fn all_five() -> [Vec<u8>; 5] {
    let (target, destination) = (ip("fe80::3"), ip("2001:db8::1"));
    [
        packet("fe80::2", "ff02::2", |writer| RouterSolicitationRepr.emit(writer)),
        packet("fe80::1", "fe80::2", |writer| RouterAdvertisementRepr::default().emit(writer)),
        packet("fe80::1", "fe80::3", |writer| NeighborSolicitationRepr { target }.emit(writer)),
        packet("fe80::3", "fe80::2", |writer| {
            NeighborAdvertisementRepr { flags: NeighborFlags::SOLICITED, target }.emit(writer);
        }),
        packet("fe80::1", "fe80::2", |writer| RedirectRepr { target, destination }.emit(writer)),
    ]
}

#[test]
fn ndp_2_a_hop_limit_below_255_is_refused() {
    for packet in all_five() {
        assert_eq!(judged(&packet), Ok(()));
        for hop_limit in [0, 1, 64, 254] {
            let received = Received { hop_limit, ..received(&packet) };
            assert_eq!(message(&received).unwrap_err(), DropReason::NdHopLimit);
        }
    }
}

#[test]
fn ndp_3_fragments_are_refused() {
    for packet in all_five() {
        let received = Received { fragmented: true, ..received(&packet) };
        assert_eq!(message(&received).unwrap_err(), DropReason::NdFragment);
    }
}

#[test]
fn ndp_1_a_wrong_checksum_is_refused() {
    for mut packet in all_five() {
        packet[42] ^= 0x40;
        assert_eq!(judged(&packet), Err(DropReason::NdChecksum));
    }
}

#[test]
fn ndp_20_to_24_a_code_a_short_message_or_a_wrong_option_length_is_refused() {
    for whole in all_five() {
        let fixed = whole[40..].to_vec();
        let again = |bytes: &[u8]| {
            let received = received(&whole);
            let (source, destination) = (received.source, received.destination);
            let mut buffer = [0; 1500];
            let mut packet = PacketMut::empty(&mut buffer);
            // Checksum field zero, so that it is computed anew.
            let mut bytes = bytes.to_vec();
            bytes[2..4].fill(0);
            write_packet(&mut packet, &source, &destination, |writer| writer.bytes(&bytes)).unwrap();
            judged(packet.as_slice())
        };
        assert_eq!(again(&fixed), Ok(()));
        let mut coded = fixed.clone();
        coded[1] = 1;
        assert_eq!(again(&coded), Err(DropReason::NdMalformed));
        assert_eq!(again(&fixed[..fixed.len() - 1]), Err(DropReason::NdMalformed));
        assert_eq!(again(&[&fixed[..], &LENGTH_ZERO].concat()), Err(DropReason::NdMalformed));
        // NDP-4: an unknown option changes nothing.
        assert_eq!(again(&[&fixed[..], &[200, 1, 0, 0, 0, 0, 0, 0]].concat()), Ok(()));
    }
}

#[test]
fn ndp_20_router_solicitation_addresses() {
    assert_eq!(rs("fe80::5efe:a00:2", &[]), Ok(()));
    assert_eq!(rs("fe80::5efe:a00:2", &SOURCE_LINK_LAYER_ADDRESS), Ok(()));
    assert_eq!(rs("::", &[]), Ok(()));
    assert_eq!(rs("::", &SOURCE_LINK_LAYER_ADDRESS), Err(DropReason::NdAddresses));
}

#[test]
fn ndp_21_router_advertisement_addresses() {
    assert_eq!(ra("fe80::5efe:a00:1", &[]), Ok(()));
    assert_eq!(ra("fe80::5efe:a00:1", &SOURCE_LINK_LAYER_ADDRESS), Ok(()));
    assert_eq!(ra("2001:db8::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(ra("::", &[]), Err(DropReason::NdAddresses));
}

#[test]
fn ndp_22_neighbor_solicitation_addresses() {
    let solicited_node = "ff02::1:ff00:1";
    assert_eq!(ns("fe80::2", "fe80::1", "fe80::1", &[]), Ok(()));
    assert_eq!(ns("fe80::2", "fe80::1", "ff02::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(ns("::", solicited_node, "fe80::1", &[]), Ok(()));
    assert_eq!(ns("::", "fe80::1", "fe80::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(ns("::", "ff02::1", "fe80::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(ns("::", "ff02::1:fe00:1", "fe80::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(ns("::", solicited_node, "fe80::1", &SOURCE_LINK_LAYER_ADDRESS), Err(DropReason::NdAddresses));
    assert_eq!(ns("fe80::2", solicited_node, "fe80::1", &SOURCE_LINK_LAYER_ADDRESS), Ok(()));
}

#[test]
fn ndp_23_neighbor_advertisement_addresses() {
    let solicited = NeighborFlags::SOLICITED;
    assert_eq!(na("fe80::2", "fe80::1", solicited, &[]), Ok(()));
    assert_eq!(na("fe80::2", "ff02::1", solicited, &[]), Err(DropReason::NdAddresses));
    assert_eq!(na("ff02::1", "fe80::1", solicited, &[]), Err(DropReason::NdAddresses));
    assert_eq!(na("ff02::1", "fe80::1", NeighborFlags::ROUTER, &[]), Ok(()));
}

#[test]
fn ndp_24_redirect_addresses() {
    assert_eq!(redirected("fe80::1", "fe80::3", "2001:db8::1", &[]), Ok(()));
    assert_eq!(redirected("fe80::1", "2001:db8::1", "2001:db8::1", &[]), Ok(()));
    assert_eq!(redirected("fe80::1", "2001:db8::3", "2001:db8::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(redirected("fe80::1", "fe80::3", "ff05::1", &[]), Err(DropReason::NdAddresses));
    assert_eq!(redirected("2001:db8::9", "fe80::3", "2001:db8::1", &[]), Err(DropReason::NdAddresses));
}

#[test]
fn other_messages_are_not_for_these_rules() {
    let echo = packet("fe80::1", "fe80::2", |writer| writer.bytes(&[128, 0, 0, 0, 0, 1, 0, 1]));
    assert_eq!(judged(&echo), Err(DropReason::NdMalformed));
    let nothing = packet("fe80::1", "fe80::2", |_| {});
    assert_eq!(judged(&nothing), Err(DropReason::NdMalformed));
}
