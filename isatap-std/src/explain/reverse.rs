//! Names of the DNS for the way back: from an address to a name.

use std::net::{IpAddr, Ipv6Addr};

use isatap_core::sixtofour;

/// The name of an address, or the zones that together are those of a prefix; `first` has no bits
/// behind `length`.
///
/// `NAM-60`: an IPv6 address is 32 hexadecimal digits, the last one first, under `ip6.arpa`
/// [RFC 3596 §2.5]; an IPv4 address is its four numbers under `in-addr.arpa` [RFC 1035 §3.5].
/// Zones end between two labels: a prefix that ends inside of one is several zones, and an IPv4
/// prefix of 25 to 31 bits is a part of one.
pub(super) fn names(first: IpAddr, length: u8) -> Vec<String> {
    match first {
        IpAddr::V6(first) => {
            let labels = length.div_ceil(4);
            let step = 1_u128.checked_shl(u32::from(128 - labels * 4)).unwrap_or(0);
            let zones = 1_u128 << (labels * 4 - length);
            (0..zones).map(|zone| name_v6(first.to_bits().wrapping_add(zone * step), labels)).collect()
        }
        IpAddr::V4(first) => {
            let labels = if length > 24 && length < 32 { 3 } else { length.div_ceil(8) };
            let step = 1_u32.checked_shl(u32::from(32 - labels * 8)).unwrap_or(0);
            let zones = 1_u32 << (labels * 8).saturating_sub(length);
            (0..zones).map(|zone| name_v4(first.to_bits().wrapping_add(zone * step), labels)).collect()
        }
    }
}

/// What a zone's name alone does not say.
pub(super) fn note(first: IpAddr, length: u8) -> Option<String> {
    match first {
        // [RFC 5158 §4]
        IpAddr::V6(first) if sixtofour::addr::PREFIX.contains(&first) && length >= 48 => {
            let [zone] = <[String; 1]>::try_from(names(IpAddr::V6(site(first)), 48)).ok()?;
            Some(format!("The reverse zone of its 6to4 site is {zone}, delegated below 2.0.0.2.ip6.arpa [RFC 5158]."))
        }
        IpAddr::V4(_) if (25..32).contains(&length) => {
            Some("Its reverse names are a part of that zone, which is delegated by CNAME [RFC 2317].".to_owned())
        }
        _ => None,
    }
}

fn site(address: Ipv6Addr) -> Ipv6Addr {
    Ipv6Addr::from_bits(address.to_bits() >> 80 << 80)
}

fn name_v6(bits: u128, labels: u8) -> String {
    let digits = (0..labels).rev().map(|label| format!("{:x}.", bits >> (124 - 4 * u32::from(label)) & 0xf));
    digits.chain(["ip6.arpa".to_owned()]).collect()
}

fn name_v4(bits: u32, labels: u8) -> String {
    let numbers = (0..labels).rev().map(|label| format!("{}.", bits >> (24 - 8 * u32::from(label)) & 0xff));
    numbers.chain(["in-addr.arpa".to_owned()]).collect()
}

#[cfg(test)]
mod tests {
    use super::super::{Explainer, Target};
    use super::*;
    use proptest::prelude::*;

    fn of(text: &str) -> Vec<String> {
        let (address, length) = text.split_once('/').unwrap();
        names(address.parse().unwrap(), length.parse().unwrap())
    }

    #[test]
    fn nam_60_reverse_names_are_those_of_rfc_3596_and_of_6to4_and_isatap() {
        // The example of RFC 3596 §2.5.
        let rfc = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa";
        assert_eq!(of("4321:0:1:2:3:4:567:89ab/128"), [rfc]);
        let isatap = "1.0.0.0.0.0.a.0.e.f.e.5.0.0.0.0.7.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa";
        assert_eq!(of("2001:db8:0:7:0:5efe:a00:1/128"), [isatap]);
        assert_eq!(of("2002:836b:1::/48"), ["1.0.0.0.b.6.3.8.2.0.0.2.ip6.arpa"]);
        assert_eq!(of("2001:db8:0:7::/64"), ["7.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"]);
        assert_eq!(of("2002::/16"), ["2.0.0.2.ip6.arpa"]);
        assert_eq!(of("::/0"), ["ip6.arpa"]);
        // A prefix that ends inside of a digit.
        let of_four = ["8", "9", "a", "b"].map(|digit| format!("{digit}.b.d.0.1.0.0.2.ip6.arpa"));
        assert_eq!(of("2001:db8::/30"), of_four);
        assert_eq!(of("10.0.0.1/32"), ["1.0.0.10.in-addr.arpa"]);
        assert_eq!(of("10.0.0.0/8"), ["10.in-addr.arpa"]);
        assert_eq!(of("172.16.0.0/12").len(), 16);
        assert_eq!(of("192.0.2.64/26"), ["2.0.192.in-addr.arpa"]);
        assert_eq!(of("0.0.0.0/0"), ["in-addr.arpa"]);
    }

    #[test]
    fn a_site_of_6to4_has_a_zone_below_the_tree_of_rfc_5158() {
        let answer = Explainer::default().address("2002:836b:1::836b:1".parse().unwrap());
        let told = "The reverse zone of its 6to4 site is 1.0.0.0.b.6.3.8.2.0.0.2.ip6.arpa,";
        assert!(answer.notes.iter().any(|note| note.starts_with(told)), "{answer}");
        let answer = Explainer::default().prefix("2002::".parse().unwrap(), 16);
        assert!(!answer.to_string().contains("RFC 5158"), "{answer}");
        let answer = Explainer::default().prefix("192.0.2.64".parse().unwrap(), 26);
        assert!(answer.to_string().contains("RFC 2317"), "{answer}");
    }

    proptest! {
        /// What reads such names is older than what writes them.
        #[test]
        fn each_name_is_read_back(bits in any::<u128>(), length in 0_u8..=128, v4 in any::<u32>(), short in 0_u8..=32) {
            let first = bits & u128::MAX.checked_shl(u32::from(128 - length)).unwrap_or(0);
            let zones = names(IpAddr::V6(Ipv6Addr::from_bits(first)), length);
            let read = |name: &String| match name.parse().unwrap() {
                Target::Address(IpAddr::V6(address)) => (address.to_bits(), 128),
                Target::Prefix(IpAddr::V6(address), length) => (address.to_bits(), length),
                other => panic!("{name} is {other:?}"),
            };
            let aligned = length.div_ceil(4) * 4;
            let mut next = first;
            for zone in &zones {
                prop_assert_eq!(read(zone), (next, aligned));
                next = next.wrapping_add(1_u128.checked_shl(u32::from(128 - aligned)).unwrap_or(0));
            }
            prop_assert_eq!(zones.len(), 1 << (aligned - length));
            let first = v4 & u32::MAX.checked_shl(u32::from(32 - short)).unwrap_or(0);
            for zone in names(IpAddr::V4(first.into()), short) {
                match zone.parse().unwrap() {
                    Target::Address(IpAddr::V4(address)) => prop_assert_eq!((address.to_bits(), short), (first, 32)),
                    Target::Prefix(IpAddr::V4(address), 24) if short > 24 => {
                        prop_assert_eq!(address.to_bits(), first & 0xffff_ff00);
                    }
                    Target::Prefix(IpAddr::V4(address), length) => {
                        prop_assert_eq!(length, short.div_ceil(8) * 8);
                        prop_assert_eq!(address.to_bits() & u32::MAX.checked_shl(u32::from(32 - short)).unwrap_or(0), first);
                    }
                    other => panic!("{zone} is {other:?}"),
                }
            }
        }
    }
}
