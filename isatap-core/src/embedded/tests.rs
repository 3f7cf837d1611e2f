#![allow(clippy::arithmetic_side_effects, clippy::as_conversions, clippy::indexing_slicing)]
use super::*;
use crate::prefix::{Ipv4Prefix, is_public};
use crate::sixrd::addr::Domain;
use proptest::prelude::*;
use std::string::{String, ToString};
use std::vec::Vec;
use std::{format, vec};

fn v4(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().unwrap()
}

/// Form, role, address and port, for comparisons that read well.
fn listed(address: &str) -> Vec<String> {
    embedded_ipv4s(v6(address), &Known::NONE)
        .map(|one| match one.port {
            Some(port) => format!("{} {} {}:{port}", one.form.as_str(), one.role.as_str(), one.address),
            None => format!("{} {} {}", one.form.as_str(), one.role.as_str(), one.address),
        })
        .collect()
}

#[test]
fn isa_3_isa_4_identifiers_of_either_u_bit_under_any_unicast_prefix() {
    for (address, ipv4) in [
        ("fe80::5efe:a28:11d", Some("10.40.1.29")),
        ("fe80::200:5efe:836b:47d1", Some("131.107.71.209")),
        ("2001:db8:0:7:200:5efe:836b:45c", Some("131.107.4.92")),
        ("fd9c:30c:2da4:1:0:5efe:ac10:a19", Some("172.16.10.25")),
        ("::5efe:10.0.0.1", Some("10.0.0.1")),
        ("fe80::100:5efe:10.0.0.1", None),
        ("fe80::300:5efe:10.0.0.1", None),
        ("2001:db8::5eff:10.0.0.1", None),
        ("2001:db8::1:5efe:10.0.0.1", None),
        ("ff02::5efe:10.0.0.1", None),
    ] {
        let found = embedded_ipv4s(v6(address), &Known::NONE).find(|one| one.form == Form::Isatap);
        assert_eq!(found.map(|one| one.address), ipv4.map(v4), "{address}");
    }
}

#[test]
fn s64_3_isa_3_ter_1_forms_inside_forms_are_all_listed() {
    assert_eq!(listed("2002:808:808::5efe:a00:1"), ["6to4 embedded 8.8.8.8", "isatap embedded 10.0.0.1"]);
    // Teredo identifiers are read under two prefixes of Teredo and fe80::/64 alone. [RFC 4380 §4]
    for (address, outer) in [
        ("2002:808:808:1:0:efff:80ff:fffe", &["6to4 embedded 8.8.8.8"][..]),
        ("2606:4700::8000:f227:f5ff:fffe", &[]),
        ("fe80:0:0:1:8000:f227:f5ff:fffe", &[]),
        ("fd00::8000:f227:f5ff:fffe", &[]),
    ] {
        assert_eq!(listed(address), outer, "{address}");
    }
    assert_eq!(
        listed("2001:0:4136:e378:8000:63bf:3fff:fdd2"),
        ["teredo server 65.54.227.120", "teredo client 192.0.2.45:40000"]
    );
    assert_eq!(
        listed("2001:0:808:808:0:5efe:f5ff:fffe"),
        ["teredo server 8.8.8.8", "teredo client 10.0.0.1:41217", "isatap embedded 245.255.255.254"]
    );
    assert_eq!(
        listed("3ffe:831f:ce49:7601:8000:efff:62c3:fffe"),
        ["teredo server 206.73.118.1", "teredo client 157.60.0.1:4096"]
    );
}

#[test]
fn tun_61_tun_70_tun_72_ter_5_what_is_written_by_hand_is_no_address() {
    for plain in ["::", "::1", "fe80::1", "fe80::2:3", "2606:4700:4700::1111", "fe80::ff:fe00:1", "2002::1:2:3"] {
        let found: Vec<_> = listed(plain).into_iter().filter(|text| !text.starts_with("6to4")).collect();
        assert_eq!(found, [""; 0], "{plain}");
    }
    assert_eq!(listed("::192.0.2.1"), ["ipv4-compatible embedded 192.0.2.1"]);
    assert_eq!(listed("fe80::192.0.2.1"), ["configured-link-local embedded 192.0.2.1"]);
    assert_eq!(listed("fe80::8000:f227:31b6:89fe"), ["teredo server 206.73.118.1:3544"]);
    for soliciting in ["fe80::ffff:ffff:ffff", "fe80::8000:ffff:ffff:ffff", "fe80::5445:5245:444f"] {
        assert_eq!(listed(soliciting), [""; 0], "{soliciting}");
    }
}

#[test]
fn n64_1_s6r_3_known_prefixes_and_domains_are_asked() {
    let nat64 = [Nat64Prefix::new("fd9c:30c:2da4:7777::/96".parse().unwrap()).unwrap()];
    let sixrd = [Domain::around("2001:db8::/32".parse().unwrap(), 8, v4("10.0.0.1")).unwrap()];
    let known = Known { nat64: &nat64, sixrd: &sixrd };
    let only = |address: &str, known: &Known<'_>| {
        let found: Vec<_> = embedded_ipv4s(v6(address), known).collect();
        found.first().map(|one| (one.address, one.form))
    };
    assert_eq!(only("fd9c:30c:2da4:7777::a00:5", &known), Some((v4("10.0.0.5"), Form::Nat64)));
    assert_eq!(only("2001:db8:6464:100::1", &known), Some((v4("10.100.100.1"), Form::SixRd)));
    assert_eq!(only("fd9c:30c:2da4:7777::a00:5", &Known::NONE), None);
    assert_eq!(only("2001:db8:6464:100::1", &Known::NONE), None);
}

#[test]
fn an_empty_list_is_no_yes_and_an_incomplete_one_is_a_no() {
    // Nothing is embedded, so every question about what is would be answered by yes.
    for nothing in ["fe80::1", "fd00::1", "::1", "ff02::1", "::"] {
        assert_eq!(embedded_ipv4s(v6(nothing), &Known::NONE).len(), 0);
        assert!(!permits(IpAddr::V6(v6(nothing)), &Known::NONE, is_public), "{nothing}");
    }
    let domains: Vec<Domain> = (1..=17_u32)
        .map(|number| {
            let common = Ipv4Prefix::new(Ipv4Addr::from_bits(number << 24), 8).unwrap();
            Domain::new("2600::/12".parse().unwrap(), common).unwrap()
        })
        .collect();
    let address = v6("2606:4700:4700::1111");
    let yes = |known: &Known<'_>| permits(IpAddr::V6(address), known, |_| true);
    let known = Known { nat64: &[], sixrd: &domains[..16] };
    assert!(embedded_ipv4s(address, &known).is_complete() && yes(&known));
    assert_eq!(embedded_ipv4s(address, &known).len(), EmbeddedIpv4s::MAX);
    let known = Known { nat64: &[], sixrd: &domains };
    assert!(!embedded_ipv4s(address, &known).is_complete() && !yes(&known));
    // The same twice is one.
    let known = Known { nat64: &[], sixrd: &[domains[0]; 40] };
    assert!(embedded_ipv4s(address, &known).len() == 1 && yes(&known));
}

#[test]
fn permits_asks_about_the_address_and_everything_in_it_until_a_no() {
    let asked = |address: &str, answer: bool| {
        let mut asked = vec![];
        let result = permits(address.parse().unwrap(), &Known::NONE, |ip| {
            asked.push(format!("{ip}"));
            answer
        });
        assert_eq!(result, answer);
        asked
    };
    assert_eq!(asked("10.0.0.1", true), ["10.0.0.1"]);
    assert_eq!(asked("::ffff:10.0.0.1", true), ["10.0.0.1"]);
    assert_eq!(asked("::ffff:0:10.0.0.1", true), ["::ffff:0:a00:1", "10.0.0.1"]);
    assert_eq!(asked("2002:808:808::5efe:a00:1", true), ["2002:808:808::5efe:a00:1", "8.8.8.8", "10.0.0.1"]);
    assert_eq!(asked("2002:808:808::5efe:a00:1", false), ["2002:808:808::5efe:a00:1"]);
    assert_eq!(asked("2606:4700::1", true), ["2606:4700::1"]);
}

/// Where an IPv4 address lies in 32 hexadecimal digits, found by comparing
/// text; the forms of [`Known::NONE`] but the guesses of RFC 8215.
fn by_text(address: Ipv6Addr) -> Vec<(Ipv4Addr, Option<u16>, Form)> {
    let hex: String = address.octets().iter().map(|octet| format!("{octet:02x}")).collect();
    let plain = |at: usize| Ipv4Addr::from_bits(u32::from_str_radix(&hex[at..at + 8], 16).unwrap());
    let flipped = |text: &str| -> String {
        text.chars().map(|digit| char::from_digit(15 - digit.to_digit(16).unwrap(), 16).unwrap()).collect()
    };
    let inverse = |at: usize| Ipv4Addr::from_bits(u32::from_str_radix(&flipped(&hex[at..at + 8]), 16).unwrap());
    let port = Some(u16::from_str_radix(&flipped(&hex[20..24]), 16).unwrap());
    let mut found = vec![];
    if hex.starts_with("2002") {
        found.push((plain(4), None, Form::SixToFour));
    }
    if hex.starts_with("20010000") || hex.starts_with("3ffe831f") {
        found.push((plain(8), None, Form::Teredo));
        found.push((inverse(24), port, Form::Teredo));
    }
    if hex.starts_with("0064ff9b0000000000000000") {
        found.push((plain(24), None, Form::Nat64));
    }
    if hex.starts_with("00000000000000000000ffff") {
        found.push((plain(24), None, Form::Mapped));
    }
    if hex.starts_with("0000000000000000ffff0000") {
        found.push((plain(24), None, Form::Translated));
    }
    if hex.starts_with(&"0".repeat(24)) && &hex[24..31] != "0000000"
        || hex.starts_with(&"0".repeat(31)) && &hex[31..] > "1"
    {
        found.push((plain(24), None, Form::Compatible));
    }
    if hex.starts_with("fe80000000000000") {
        let by_hand = &hex[16..24] == "00000000";
        if by_hand && &hex[24..26] != "00" {
            found.push((plain(24), None, Form::Configured));
        }
        let flags = ["0000", "8000"].contains(&&hex[16..20]);
        let usable = (1..240).contains(&inverse(24).octets()[0]);
        if flags && usable && !by_hand && &hex[22..26] != "fffe" && &hex[20..] != "54455245444f" {
            found.push((inverse(24), port, Form::Teredo));
        }
    }
    if ["00005efe", "02005efe"].contains(&&hex[16..24]) && !hex.starts_with("ff") {
        found.push((plain(24), None, Form::Isatap));
    }
    found
}

/// Addresses near the borders of every form.
fn near_a_form() -> impl Strategy<Value = Ipv6Addr> {
    let head = prop::sample::select(vec![
        0_u64,
        0x64_ff9b << 32,
        0x2002 << 48,
        0x2001_0000 << 32,
        0x2001_0001 << 32,
        0x3ffe_831f << 32,
        0xfe80 << 48,
        0x2606_4700 << 32,
        0xff02 << 48,
        0xfd00 << 48,
    ]);
    let tail = prop::sample::select(vec![
        0_u64,
        0xffff << 32,
        0xffff << 48,
        0x5efe << 32,
        0x0200_5efe << 32,
        0x8000_f227 << 32,
        0x8000 << 48,
        0x5445_5245_444f,
        0xff_fe00_0000,
    ]);
    let noise = || {
        (
            any::<u64>(),
            prop::sample::select(vec![0, 1, 1 << 32, 1 << 40, 1 << 63, 0xffff_ffff, 0xffff_ffff_ffff, u64::MAX]),
        )
    };
    (head, tail, noise(), noise()).prop_map(|(high, low, (a, b), (c, d))| {
        Ipv6Addr::from_bits(u128::from(high ^ (a & b)) << 64 | u128::from(low ^ (c & d)))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn isa_3_s64_3_ter_4_n64_5_the_list_agrees_with_comparing_text(address in near_a_form()) {
        prop_assume!(!LOCAL_USE.contains(&address));
        let found: Vec<_> = embedded_ipv4s(address, &Known::NONE).map(|one| (one.address, one.port, one.form)).collect();
        prop_assert_eq!(found, by_text(address), "{}", address);
        prop_assert!(embedded_ipv4s(address, &Known::NONE).len() <= 4);
    }

    #[test]
    fn n64_5_local_use_prefixes_are_read_in_every_length(suffix: u128, length in prop::sample::select(vec![48_u8, 56, 64, 96]), ipv4: u32) {
        prop_assume!(ipv4 >> 24 != 0);
        let bits = u128::from(halves(&LOCAL_USE.address()).0) << 64 | suffix & !(0xff << 56) & (u128::MAX >> 48);
        let prefix = Nat64Prefix::new(Ipv6Prefix::new(Ipv6Addr::from_bits(bits), length).unwrap()).unwrap();
        let address = prefix.embed(Ipv4Addr::from_bits(ipv4));
        let mut found = embedded_ipv4s(address, &Known::NONE);
        prop_assert!(found.len() <= 4);
        prop_assert!(found.any(|one| one.address.to_bits() == ipv4 && one.form == Form::Nat64));
    }

    #[test]
    fn what_permits_lets_in_embeds_nothing_that_is_refused(address in near_a_form(), refused: u32) {
        let refused = Ipv4Addr::from_bits(refused);
        let known = Known::NONE;
        let lets_in = permits(IpAddr::V6(address), &known, |ip| is_public(ip) && ip != IpAddr::V4(refused));
        if lets_in {
            for (ipv4, _, _) in by_text(address) {
                prop_assert!(is_public(IpAddr::V4(ipv4)) && ipv4 != refused);
            }
        }
        // One that is public by itself and holds public ones only is let in.
        let inside = by_text(address).iter().all(|(ipv4, ..)| is_public(IpAddr::V4(*ipv4)));
        let itself = address.to_ipv4_mapped().is_some() || is_public(IpAddr::V6(address));
        prop_assume!(!LOCAL_USE.contains(&address));
        prop_assert_eq!(permits(IpAddr::V6(address), &known, is_public), itself && inside);
    }

    #[test]
    fn isa_3_s64_3_ter_1_classify_agrees_with_comparing_text(address in near_a_form()) {
        let text = format!("{:032x}", address.to_bits());
        let expected = match &text[..4] {
            "2002" => Kind::SixToFour,
            _ if &text[..8] == "20010000" => Kind::Teredo,
            _ if &text[..2] != "ff" && &text[18..24] == "005efe" && ["00", "02"].contains(&&text[16..18]) => Kind::Isatap,
            _ => Kind::Other,
        };
        prop_assert_eq!(classify(&address), expected);
    }
}

#[test]
fn each_form_has_a_name_and_the_section_of_an_rfc_of_its_own() {
    let forms = [
        Form::Isatap,
        Form::SixToFour,
        Form::SixRd,
        Form::Teredo,
        Form::Mapped,
        Form::Compatible,
        Form::Translated,
        Form::Nat64,
        Form::Configured,
    ];
    for (at, form) in forms.iter().enumerate() {
        let (rfc, section) = form.rfc().split_once(" §").unwrap();
        assert!(rfc.strip_prefix("RFC ").unwrap().parse::<u16>().unwrap() > 2000, "{rfc}");
        assert!(section.split('.').all(|number| number.parse::<u8>().is_ok()), "{section}");
        for other in &forms[..at] {
            assert!(form.as_str() != other.as_str() && form.rfc() != other.rfc());
        }
    }
}

#[test]
fn a_translators_prefix_as_text() {
    assert_eq!(WELL_KNOWN.to_string(), "64:ff9b::/96");
    assert_eq!(format!("{WELL_KNOWN:?}"), "64:ff9b::/96");
}
