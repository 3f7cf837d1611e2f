use super::*;
use crate::prefix::Ipv4Prefix;
use crate::wire::hex;
use std::vec::Vec;

fn ipv4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

#[test]
fn ter_40_addresses_that_are_sent_to() {
    for refused in [
        "0.0.0.0",
        "0.1.2.3",
        "127.0.0.1",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.0.1",
        "169.254.1.1",
        "192.88.99.1",
        "192.88.99.255",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "100.64.0.1",
        "100.127.255.255",
    ] {
        assert!(!is_global_unicast(ipv4(refused)), "{refused}");
    }
    // TER-103: miredo refuses 192.88.98/24 by mistake.
    for sent_to in [
        "192.0.2.1",
        "192.88.98.1",
        "192.88.100.1",
        "100.63.255.255",
        "100.128.0.0",
        "172.32.0.1",
        "1.0.0.1",
        "223.255.255.255",
    ] {
        assert!(is_global_unicast(ipv4(sent_to)), "{sent_to}");
    }
    let own = [Locator { address: ipv4("192.0.2.9"), subnet_length: 24 }];
    let to = |text: &str| Reach { own: &own, accept_bogons: false }.may_send_to(text.parse().unwrap());
    assert!(to("192.0.2.1:1"));
    assert!(!to("192.0.2.9:1") && !to("192.0.2.255:1") && !to("192.0.2.1:0") && !to("10.0.0.1:1"));
}

/// By octets, over every IPv4 address that differs in what counts.
#[test]
fn ter_40_agrees_with_a_list_of_prefixes() {
    let list: Vec<Ipv4Prefix> = [
        "0.0.0.0/8",
        "127.0.0.0/8",
        "10.0.0.0/8",
        "172.16.0.0/12",
        "192.168.0.0/16",
        "169.254.0.0/16",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "100.64.0.0/10",
    ]
    .iter()
    .map(|text| text.parse().unwrap())
    .collect();
    // No prefix is longer than 24: the last octet never counts.
    for upper in 0..1_u32 << 24 {
        let address = Ipv4Addr::from_bits(upper << 8 | 77);
        assert_eq!(is_global_unicast(address), !list.iter().any(|prefix| prefix.contains(address)), "{address}");
    }
}

/// A lab may live in private addresses, and in no more than those.
#[test]
fn ter_40_bogons_are_private_and_shared_addresses_and_nothing_else() {
    let bogons: Vec<Ipv4Prefix> = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"]
        .iter()
        .map(|text| text.parse().unwrap())
        .collect();
    for upper in 0..1_u32 << 24 {
        let address = Ipv4Addr::from_bits(upper << 8 | 77);
        let expected = is_global_unicast(address) || bogons.iter().any(|prefix| prefix.contains(address));
        assert_eq!(is_usable(address, true), expected, "{address}");
        assert_eq!(is_usable(address, false), is_global_unicast(address), "{address}");
    }
    let own = [Locator { address: ipv4("10.0.0.9"), subnet_length: 24 }];
    let to = |text: &str| Reach { own: &own, accept_bogons: true }.may_send_to(text.parse().unwrap());
    assert!(to("10.0.0.1:1") && !to("10.0.0.9:1") && !to("10.0.0.255:1") && !to("10.0.0.1:0") && !to("127.0.0.1:1"));
}

#[test]
fn ter_84_alternates_may_be_private() {
    let own = [Locator { address: ipv4("192.168.1.2"), subnet_length: 24 }];
    let reach = Reach { own: &own, accept_bogons: false };
    let to = |text: &str| reach.may_send_to_alternate(text.parse().unwrap());
    assert!(to("192.168.1.3:1") && to("10.0.0.1:1"));
    for refused in ["192.168.1.2:1", "192.168.1.255:1", "127.0.0.1:1", "224.0.0.253:3544", "0.0.0.0:1", "192.168.1.3:0"]
    {
        assert!(!to(refused), "{refused}");
    }
}

#[test]
fn ter_16_udp_is_taken_off_when_its_checksum_holds_or_is_absent() {
    let datagram = hex("4500005900000000 40118ead c0a8010a c6336401 c8220dd8 0045d9c0
        00 01 00 00 01 23 45 67 89 ab cd ef 00 60 00 00 00 00 08 3a ff fe 80 00 00 00 00 00 00 00 00 ff ff ff ff ff
        ff ff 02 00 00 00 00 00 00 00 00 00 00 00 00 00 02 85 00 7d 37 00 00 00 00");
    let take = |bytes: &[u8]| {
        let mut bytes = bytes.to_vec();
        let len = bytes.len();
        let mut packet = PacketMut::new(&mut bytes, 0..len).unwrap();
        take_udp(&mut packet).map(|path| (path, packet.len()))
    };
    let path = Path { from: "192.168.1.10:51234".parse().unwrap(), to: "198.51.100.1:3544".parse().unwrap() };
    assert_eq!(take(&datagram), Ok((path, 61)));
    let mut none = datagram.clone();
    (none[26], none[27]) = (0, 0);
    assert_eq!(take(&none), Ok((path, 61)));
    let mut wrong = datagram.clone();
    wrong[27] ^= 1;
    assert_eq!(take(&wrong), Err(DropReason::TeredoMalformed));
    // The length of UDP is that of the datagram.
    let mut short = none.clone();
    short[25] -= 1;
    assert_eq!(take(&short), Err(DropReason::TeredoMalformed));
    let mut header = datagram.clone();
    header[8] = 1;
    assert_eq!(take(&header), Err(DropReason::OuterChecksum));
    for len in 0..datagram.len() {
        assert!(take(&datagram[..len]).is_err(), "{len}");
    }
    // TUN-11, SEC-12: the header's options are judged as those of protocol 41.
    let with_option = |option: [u8; 8]| {
        let mut bytes = datagram.clone();
        bytes.splice(20..20, option);
        (bytes[0], bytes[3]) = (0x47, bytes[3] + 8);
        bytes[10..12].fill(0);
        let checksum = crate::wire::checksum::checksum(&bytes[..28]);
        bytes[10..12].copy_from_slice(&checksum.to_be_bytes());
        take(&bytes)
    };
    assert_eq!(with_option([7, 7, 4, 0, 0, 0, 0, 0]), Ok((path, 61)));
    assert_eq!(with_option([131, 7, 8, 0, 0, 0, 0, 0]), Err(DropReason::OuterSourceRoute));
    assert_eq!(with_option([7, 9, 4, 0, 0, 0, 0, 0]), Err(DropReason::OuterOptions));
}

#[test]
fn native_is_what_is_global_and_not_teredo() {
    let native = |text: &str| is_native_global(&text.parse().unwrap());
    assert!(native("2001:db8::1") && native("2002:c000:201::1") && native("2001:1::1") && native("3fff::1"));
    for other in ["2001:0:c633:6401::1", "fe80::1", "fd00::1", "ff02::1", "::1", "::", "64:ff9b::1", "fec0::1"] {
        assert!(!native(other), "{other}");
    }
}
