//! Addresses: IPv4 addresses embedded in IPv6 ones, and text.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::embedded::{Form, Kind, Known, classify, embedded_ipv4s, permits};
use isatap_core::prefix::is_public;
use isatap_core::{isatap, sixtofour, teredo};

/// The forms that need no configuration, from the bytes of the address.
fn expected(octets: [u8; 16]) -> Vec<(Form, Ipv4Addr)> {
    let at = |place: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&octets[place..place + 4]).unwrap());
    let mut found = Vec::new();
    if octets[..2] == [0x20, 0x02] {
        found.push((Form::SixToFour, at(2)));
    }
    if octets[..4] == [0x20, 0x01, 0, 0] {
        found.push((Form::Teredo, at(4)));
        found.push((Form::Teredo, Ipv4Addr::from(u32::from(at(12)) ^ u32::MAX)));
    }
    if octets[..12] == [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff] {
        found.push((Form::Mapped, at(12)));
    }
    if octets[..12] == [0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0] {
        found.push((Form::Nat64, at(12)));
    }
    if octets[0] != 0xff && octets[8] & 0xfd == 0 && octets[9..12] == [0, 0x5e, 0xfe] {
        found.push((Form::Isatap, at(12)));
    }
    found
}

/// 16 bytes: an address.
pub fn embedded(data: &[u8]) {
    let Some(octets) = data.first_chunk::<16>() else { return };
    let address = Ipv6Addr::from(*octets);
    let found = embedded_ipv4s(address, &Known::NONE);
    assert!(found.is_complete());
    let listed: Vec<_> = found.map(|one| (one.form, one.address)).collect();
    for one in expected(*octets) {
        assert!(listed.contains(&one), "{address}: {one:?} is missing in {listed:?}");
    }
    // Behind a 6to4 prefix there are sites, whose hosts may have ISATAP identifiers.
    let is_of_6to4 = |form: &Form| matches!(form, Form::SixToFour | Form::Isatap);
    assert!(octets[..2] != [0x20, 0x02] || listed.iter().all(|(form, _)| is_of_6to4(form)), "{address}: {listed:?}");
    // What is public holds public addresses only.
    if permits(address.into(), &Known::NONE, is_public) {
        assert!(listed.iter().all(|(_, hidden)| is_public(IpAddr::V4(*hidden))), "{address}: {listed:?}");
    }
    // A yes needs a yes for everything; asked about each, it is refused for each.
    assert!(permits(address.into(), &Known::NONE, |_| true));
    for (_, hidden) in &listed {
        assert!(!permits(address.into(), &Known::NONE, |asked| asked != IpAddr::V4(*hidden)), "{address}");
    }
    assert!(!permits(address.into(), &Known::NONE, |_| false));
    let kind = match octets {
        [0x20, 0x02, ..] => Kind::SixToFour,
        [0x20, 0x01, 0, 0, ..] => Kind::Teredo,
        _ if listed.iter().any(|(form, _)| *form == Form::Isatap) => Kind::Isatap,
        _ => Kind::Other,
    };
    assert_eq!(classify(&address), kind, "{address}");
    // What is embedded is what the address is made of.
    if let Some(ipv4) = sixtofour::addr::embedded_ipv4(&address) {
        assert_eq!(sixtofour::addr::site(ipv4).address().octets()[..6], octets[..6]);
    }
    if let Some(ipv4) = isatap::addr::embedded_ipv4(&address) {
        let text = isatap::addr::Dotted(address).to_string();
        assert!(text.ends_with(&ipv4.to_string()), "{text}");
        assert_eq!(text.parse(), Ok(address));
    }
    if let Some(client) = teredo::addr::Address::from_ipv6(&address) {
        assert_eq!(client.to_ipv6(), address);
    }
}

/// The text of an address is the address, and is never longer than RFC 5952 allows.
pub fn ipv6_text(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<16>() else { return };
    let address = Ipv6Addr::from(*bytes);
    let text = address.to_string();
    assert!(text.len() <= 45, "{text}");
    assert_eq!(text.parse(), Ok(address));
}

/// Prefixes as text: what is read is written as it was, or refused.
pub fn prefix_text(data: &[u8]) {
    use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(prefix) = text.parse::<Ipv6Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        assert!(prefix.contains(&prefix.address()) && prefix.length() <= 128);
    }
    if let Ok(prefix) = text.parse::<Ipv4Prefix>() {
        assert_eq!(prefix.to_string().parse(), Ok(prefix));
        assert!(prefix.contains(prefix.address()) && prefix.length() <= 32);
    }
}
