use super::*;
use crate::prefix::Ipv4Prefix;
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
fn a_path_is_that_of_a_datagram() {
    let path = Path { from: "192.168.1.10:51234".parse().unwrap(), to: "198.51.100.1:3544".parse().unwrap() };
    assert_eq!(Path::of(&Outer::udp(path.from, path.to)), Ok(path));
    // Protocol 41 has no ports.
    let outer = Outer::new(*path.from.ip(), *path.to.ip());
    assert_eq!(Path::of(&outer), Err(DropReason::TeredoMalformed));
}

#[test]
fn native_is_what_is_global_and_not_teredo() {
    let native = |text: &str| is_native_global(&text.parse().unwrap());
    assert!(native("2001:db8::1") && native("2002:c000:201::1") && native("2001:1::1") && native("3fff::1"));
    for other in ["2001:0:c633:6401::1", "fe80::1", "fd00::1", "ff02::1", "::1", "::", "64:ff9b::1", "fec0::1"] {
        assert!(!native(other), "{other}");
    }
}
