#![allow(clippy::unwrap_used)]
use super::*;
use serde_json::{Value, json};

/// An address as machines see it.
fn json(text: &str, explainer: &Explainer) -> Value {
    let answer = match text.parse().unwrap() {
        Target::Address(address) => explainer.address(address),
        Target::Prefix(address, length) => explainer.prefix(address, length),
        other => panic!("{text} is {other:?}"),
    };
    assert!(answer.to_string().lines().count() >= 3, "{answer}");
    serde_json::to_value(answer).unwrap()
}

#[track_caller]
fn is(text: &str, kind: &str, prefix: Option<&str>, ipv4: &[&str]) {
    let answer = json(text, &Explainer::default());
    assert_eq!(answer["kind"], kind, "{answer}");
    assert_eq!(answer["prefix"], json!(prefix), "{answer}");
    let found: Vec<String> = answer["ipv4"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| match one["port"].as_u64() {
            Some(port) => format!("{} {}:{port}", one["role"].as_str().unwrap(), one["address"].as_str().unwrap()),
            None => format!("{} {}", one["role"].as_str().unwrap(), one["address"].as_str().unwrap()),
        })
        .collect();
    assert_eq!(found, ipv4, "{answer}");
}

#[test]
fn addresses_have_the_kind_that_decides_forwarding() {
    is("fe80::5efe:10.40.1.29", "isatap", Some("fe80::/64"), &["embedded 10.40.1.29"]);
    is("2001:db8:0:7:200:5efe:836b:45c", "isatap", Some("2001:db8:0:7::/64"), &["embedded 131.107.4.92"]);
    is("2002:836b:1::836b:1", "6to4", Some("2002:836b:1::/48"), &["embedded 131.107.0.1"]);
    is("2002:836b:2:3333::1", "6to4", Some("2002:836b:2::/48"), &["embedded 131.107.0.2"]);
    is(
        "2001:0:4136:e378:8000:63bf:3fff:fdd2",
        "teredo",
        Some("2001:0:4136:e378::/64"),
        &["server 65.54.227.120", "client 192.0.2.45:40000"],
    );
    is("fe80::8000:f227:31b6:89fe", "teredo", Some("fe80::/64"), &["server 206.73.118.1:3544"]);
    is("fe80::ffff:ffff:ffff", "teredo", Some("fe80::/64"), &[]);
    is("::ffff:127.0.0.1", "ipv4-mapped", Some("::ffff:0:0/96"), &["embedded 127.0.0.1"]);
    is("::192.0.2.1", "ipv4-compatible", Some("::/96"), &["embedded 192.0.2.1"]);
    is("64:ff9b::c000:221", "nat64", Some("64:ff9b::/96"), &["embedded 192.0.2.33"]);
    is("64:ff9b:1::a00:5", "nat64", Some("64:ff9b:1::/48"), &["embedded 10.0.0.5"]);
    is("2606:4700:4700::1111", "native", Some("2606:4700:4700::/64"), &[]);
    is("fe80::192.0.2.1", "native", Some("fe80::/64"), &["embedded 192.0.2.1"]);
    is("::1", "native", None, &[]);
    is("ff02::2", "native", None, &[]);
    is("10.0.0.1", "native", Some("10.0.0.0/8"), &[]);
    is("[fe80::5efe:10.0.0.1%isatap0]", "isatap", Some("fe80::/64"), &["embedded 10.0.0.1"]);
    let both = json("2002:808:808::5efe:a00:1", &Explainer::default());
    assert_eq!((&both["kind"], &both["also"]), (&json!("6to4"), &json!(["isatap"])));
}

#[test]
fn a_6rd_domain_or_translator_is_seen_where_it_is_given() {
    let explainer = Explainer {
        sixrd: vec![sixrd_domain("2001:db8::/32,10.0.0.0/8").unwrap()],
        nat64: vec![Nat64Prefix::new("fd9c:30c:2da4:7777::/96".parse().unwrap()).unwrap()],
    };
    let ce = json("2001:db8:6464:100::1", &explainer);
    assert_eq!((&ce["kind"], &ce["prefix"]), (&json!("6rd"), &json!("2001:db8:6464:100::/56")));
    assert_eq!(ce["ipv4"][0]["address"], "10.100.100.1");
    assert_eq!(json("2001:db8:6464:100::/56", &explainer)["ipv4"][0]["address"], "10.100.100.1");
    assert_eq!(json("2001:db8:6464::/48", &explainer)["ipv4"], json!([]));
    let dns64 = json("fd9c:30c:2da4:7777::a00:5", &explainer);
    assert_eq!((&dns64["kind"], &dns64["ipv4"][0]["address"]), (&json!("nat64"), &json!("10.0.0.5")));
    assert_eq!(json("2001:db8:6464:100::1", &Explainer::default())["kind"], "native");
    // The mask's length alone leaves the shared bits open.
    let open = Explainer { sixrd: vec![sixrd_domain("2001:db8::/32,8").unwrap()], nat64: vec![] };
    assert_eq!(json("2001:db8:6464:100::1", &open)["ipv4"][0]["address"], "0.100.100.1");
    for wrong in ["2001:db8::/32,33", "2001:db8::1/32", "2001:db8::/32,x", "2001:db8::", "2001:db8::/100"] {
        assert!(sixrd_domain(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn prefixes_say_what_all_their_addresses_share() {
    is("2002:836b:1::/48", "6to4", Some("2002:836b:1::/48"), &["embedded 131.107.0.1"]);
    is("2002:836b:1:5::/64", "6to4", Some("2002:836b:1:5::/64"), &["embedded 131.107.0.1"]);
    is("2002::/16", "6to4", Some("2002::/16"), &[]);
    is("2001:0:4136:e378::/64", "teredo", Some("2001:0:4136:e378::/64"), &["server 65.54.227.120"]);
    is("2001::/32", "teredo", Some("2001::/32"), &[]);
    is("2001::/16", "native", Some("2001::/16"), &[]);
    is("64:ff9b::/96", "nat64", Some("64:ff9b::/96"), &[]);
    is("fe80::/64", "native", Some("fe80::/64"), &[]);
    is("::/0", "native", Some("::/0"), &[]);
    is("10.0.0.0/8", "native", Some("10.0.0.0/8"), &[]);
    is("2002:836b:1::1/128", "6to4", Some("2002:836b:1::1/128"), &["embedded 131.107.0.1"]);
    let sites = json("2002:a00::/24", &Explainer::default());
    assert_eq!(sites["notes"], json!(["The 6to4 sites of 10.0.0.0/8."]));
    let host_bits = json("2001:db8::1/64", &Explainer::default());
    assert_eq!(host_bits["prefix"], "2001:db8::/64");
}

#[test]
fn flags_and_scope_are_said() {
    let answer = |text: &str| json(text, &Explainer::default());
    let seed = answer("2001:0:ce49:7601:e866:efff:62c3:fffe")["flags"].clone();
    let expected = json!({"bits": "0xe866", "cone": true, "reserved": true, "universal": false, "group": false,
                          "random": "0xa66"});
    assert_eq!(seed, expected);
    assert_eq!(answer("fe80::200:5efe:8.8.8.8")["flags"], json!({"universal": true}));
    assert!(answer("2002:808:808::1").get("flags").is_none());
    for (text, scope) in [
        ("fe80::1", "link-local"),
        ("::1", "link-local"),
        ("::", "unspecified"),
        ("fec0::1", "site-local"),
        ("fd00::1", "global"),
        ("2001:db8::1", "global"),
        ("::ffff:127.0.0.1", "link-local"),
        ("ff02::1", "link-local"),
        ("ff05::1", "site-local"),
        ("ff0e::1", "global"),
        ("10.0.0.1", "global"),
        ("169.254.1.1", "link-local"),
        ("224.0.0.253", "link-local"),
    ] {
        assert_eq!(answer(text)["scope"], scope, "{text}");
    }
}

#[test]
fn text_is_an_address_a_prefix_bytes_or_a_file() {
    assert_eq!("0x6000".parse(), Ok(Target::Packet(vec![0x60, 0])));
    assert_eq!("0X45 00:aB".parse(), Ok(Target::Packet(vec![0x45, 0, 0xab])));
    assert_eq!(" fe80::1%eth0 ".parse(), Ok(Target::Address("fe80::1".parse().unwrap())));
    assert_eq!("10.0.0.0/8".parse(), Ok(Target::Prefix("10.0.0.0".parse().unwrap(), 8)));
    assert_eq!("a/b.pcap".parse(), Ok(Target::Capture("a/b.pcap".into())));
    for wrong in ["", "0x", "0x123", "0xfg", "::/129", "10.0.0.0/33", "10.0.0.0/", "::/+1", "a\0b"] {
        assert!(wrong.parse::<Target>().is_err(), "{wrong}");
    }
}

#[test]
fn a_packet_is_its_layers_and_its_warnings() {
    // V-ISA, with a hop limit that says that it was forwarded.
    let Target::Packet(bytes) =
        "0x45000044000000004029668f0a0000020a0000016000000000083a40fe8000000000000000005efe0a000002\
                                 fe8000000000000000005efe0a0000018500abbb00000000"
            .parse()
            .unwrap()
    else {
        panic!()
    };
    let answer = PacketAnswer::new(3, Some(std::time::Duration::from_micros(1_500_000)), &bytes);
    assert_eq!(
        serde_json::to_value(&answer).unwrap(),
        json!({
            "n": 3, "time": "1.500000",
            "layers": [
                {"kind": "ipv4", "src": "10.0.0.2", "dst": "10.0.0.1", "protocol": 41, "ttl": 64, "tos": 0, "id": 0,
                 "df": false, "mf": false, "fragment_offset": 0, "header_length": 20, "length": 68, "offset": 0},
                {"kind": "ipv6", "src": "fe80::5efe:a00:2", "dst": "fe80::5efe:a00:1", "next_header": 58,
                 "hop_limit": 64, "traffic_class": 0, "flow_label": 0, "payload_length": 8, "offset": 20},
                {"kind": "router-solicitation", "options": [], "offset": 60},
            ],
            "warnings": [{"requirement": "NDP-2", "name": "nd-hop-limit", "layer": 2,
                          "text": "The hop limit of Neighbor Discovery is not 255: it was forwarded."}],
        })
    );
    assert_eq!(answer.to_string().lines().count(), 5, "{answer}");
    let nothing = PacketAnswer::new(1, None, &[]);
    assert_eq!(serde_json::to_value(nothing).unwrap()["layers"][0]["kind"], "malformed");
}
