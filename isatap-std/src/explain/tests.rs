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
    // Of blocks in blocks the smallest.
    is("192.0.0.9", "native", Some("192.0.0.9/32"), &[]);
    is("192.0.0.8", "native", Some("192.0.0.0/24"), &[]);
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
    let answer = json("2001:db8:6464:100::1", &open);
    assert_eq!((&answer["kind"], &answer["ipv4"]), (&json!("6rd"), &json!([])), "no address that is none");
    assert!(answer["notes"].to_string().contains("The first 8 bits of its IPv4 address"), "{answer}");
    assert_eq!(json("2001:db8:6400::/40", &open).get("ipv4_blocks"), None);
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

/// Prefix, kind, other kinds, whole IPv4 addresses, IPv4 blocks, scope.
#[test]
fn prefixes_are_judged_whole_and_show_their_ipv4_block() {
    type Row<'a> = (&'a str, &'a str, &'a [&'a str], &'a [&'a str], &'a [&'a str], &'a str);
    let rows: [Row<'_>; 21] = [
        ("fe80::5efe:0:0/96", "isatap", &[], &[], &["embedded 0.0.0.0/0"], "link-local"),
        ("2001:db8::200:5efe:a00:0/104", "isatap", &[], &[], &["embedded 10.0.0.0/8"], "global"),
        ("2001:db8::5efe:a00:0/95", "native", &[], &[], &[], "global"),
        ("ff02::5efe:a00:0/104", "native", &[], &[], &[], "link-local"),
        ("::ffff:10.0.0.0/104", "ipv4-mapped", &[], &[], &["embedded 10.0.0.0/8"], "global"),
        ("::ffff:127.0.0.0/104", "ipv4-mapped", &[], &[], &["embedded 127.0.0.0/8"], "link-local"),
        ("64:ff9b::/96", "nat64", &[], &[], &["embedded 0.0.0.0/0"], "global"),
        ("64:ff9b::a00:0/104", "nat64", &[], &[], &["embedded 10.0.0.0/8"], "global"),
        ("64:ff9b:1::/48", "nat64", &[], &[], &[], "global"),
        ("2002:a00::/24", "6to4", &[], &[], &["embedded 10.0.0.0/8"], "global"),
        ("2002:a00:1::/48", "6to4", &[], &["embedded 10.0.0.1"], &[], "global"),
        ("2002:a00:1::5efe:0:0/96", "6to4", &["isatap"], &["embedded 10.0.0.1"], &["embedded 0.0.0.0/0"], "global"),
        ("2001:0:4136::/48", "teredo", &[], &[], &["server 65.54.0.0/16"], "global"),
        ("2001:0:4136:e378::/64", "teredo", &[], &["server 65.54.227.120"], &[], "global"),
        (
            "2001:0:4136:e378:8000:63bf:3fff:fd00/120",
            "teredo",
            &[],
            &["server 65.54.227.120"],
            &["client 192.0.2.0/24"],
            "global",
        ),
        ("3ffe:831f::/32", "teredo", &[], &[], &["server 0.0.0.0/0"], "global"),
        ("::/96", "ipv4-compatible", &[], &[], &["embedded 0.0.0.0/0"], "several"),
        ("::ffff:0:a00:0/104", "nat64", &[], &[], &["embedded 10.0.0.0/8"], "global"),
        ("fe80::/96", "native", &[], &[], &["embedded 0.0.0.0/0"], "link-local"),
        ("::/0", "native", &[], &[], &[], "several"),
        ("160.0.0.0/4", "native", &[], &[], &[], "several"),
    ];
    for (prefix, kind, also, ipv4, blocks, scope) in rows {
        let answer = json(prefix, &Explainer::default());
        let shown = |key: &str, value: &str| -> Vec<String> {
            let all = answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            all.iter()
                .map(|one| format!("{} {}", one["role"].as_str().unwrap(), one[value].as_str().unwrap()))
                .collect()
        };
        assert_eq!(
            (&answer["kind"], &answer["also"], &answer["scope"]),
            (&json!(kind), &json!(also), &json!(scope)),
            "{answer}"
        );
        assert_eq!(
            (shown("ipv4", "address"), shown("ipv4_blocks", "prefix")),
            (ipv4.iter().map(|s| (*s).to_owned()).collect(), blocks.iter().map(|s| (*s).to_owned()).collect()),
            "{answer}"
        );
    }
    let known = Explainer {
        sixrd: vec![sixrd_domain("2001:db8::/32,10.0.0.0/8").unwrap()],
        nat64: ["fd00::/32", "fd01::/40", "fd02::/64"]
            .map(|text| Nat64Prefix::new(text.parse().unwrap()).unwrap())
            .to_vec(),
    };
    for (prefix, block) in [
        ("2001:db8:6400::/40", "10.100.0.0/16"),
        ("2001:db8::/32", "10.0.0.0/8"),
        ("fd00:0:a00::/40", "10.0.0.0/8"),
        // Bits 64 to 71 are none of the IPv4 address.
        ("fd01:0:a:1::/64", "10.0.1.0/24"),
        ("fd01:0:a:1:80::/72", "10.0.1.0/24"),
        ("fd02::a:0:0:0/80", "10.0.0.0/8"),
    ] {
        let answer = json(prefix, &known);
        assert_eq!(answer["ipv4_blocks"][0]["prefix"], block, "{answer}");
    }
    assert!(json("2000::/3", &Explainer::default())["notes"].to_string().contains("2002::/16 (6to4)"));
}

/// No two notes of an answer say opposite things.
#[test]
fn notes_do_not_contradict_each_other() {
    let says = |text: &str, what: &str| json(text, &Explainer::default())["notes"].to_string().contains(what);
    for text in [
        // The server is private; the prefix is obsolete.
        "2001:0:a00:1:0:63bf:3fff:fdd2",
        "3ffe:831f:4136:e378:8000:63bf:f7f7:f7f7",
        "2001:0:a00:1:0:63bf:f7f7:f7f7",
    ] {
        assert!(says(text, "nothing is sent"), "{text}");
        assert!(!says(text, "send UDP to"), "{text}");
    }
    assert!(says("2001:0:4136:e378:8000:63bf:f7f7:f7f7", "send UDP to 8.8.8.8 port 40000"));
    // What looks like a Teredo identifier is one under Teredo's prefixes and fe80::/64, and leads nowhere there.
    let behind_6to4 = json("2002:808:808:0:8000:63bf:f7f7:f7f7", &Explainer::default());
    assert_eq!((&behind_6to4["also"], behind_6to4["ipv4"].as_array().unwrap().len()), (&json!([]), 1));
    for link_local in ["fe80::8000:f227:31b6:89fe", "fe80::8000:63bf:f7f7:f7f7", "fe80::8000:63bf:f5ff:fffe"] {
        assert!(!says(link_local, "send UDP to") && says(link_local, "nothing is sent there for it"), "{link_local}");
    }
}

/// Text, the address and port that it is, and what a note says of it.
#[test]
fn nam_60_addresses_are_read_as_people_have_them() {
    for (text, address, port, note) in [
        ("[::1]:80", "::1", Some(80), ""),
        ("[2001:db8::1]", "2001:db8::1", None, ""),
        ("[fe80::1%eth0]:53", "fe80::1", Some(53), ""),
        ("10.0.0.1:65535", "10.0.0.1", Some(65535), ""),
        ("http://[::ffff:7f00:1]:80/", "::ffff:127.0.0.1", Some(80), "The URL's host is ::ffff:127.0.0.1."),
        ("http://[fe80::1%25eth0]/", "fe80::1", None, "host"),
        ("http://0x7f.1/", "127.0.0.1", None, "0x7f.1 is 127.0.0.1 to libc"),
        ("HTTPS://user:pass@10.0.0.1:8443/a?b#c", "10.0.0.1", Some(8443), "user:pass in front of the @"),
        ("http://example.com@127.0.0.1/", "127.0.0.1", None, "example.com in front of the @"),
        ("http://a@b@127.0.0.1#@example.com/", "127.0.0.1", None, "a@b in front"),
        ("http://127.0.0.1\\@example.com/", "127.0.0.1", None, "host is 127.0.0.1"),
        ("http://127.0.0.1./", "127.0.0.1", None, "host"),
        ("//10.0.0.1/x", "10.0.0.1", None, "host"),
        ("http://%31%32%37.0.0.1/", "127.0.0.1", None, "signs that browsers decode"),
        ("http://①②⑦。⓪.⓪.１/", "127.0.0.1", None, "signs that browsers decode"),
        ("2130706433", "127.0.0.1", None, "inet_aton"),
        ("0x7f000001", "127.0.0.1", None, "inet_aton"),
        ("0x7F.0.0.1", "127.0.0.1", None, "inet_aton"),
        ("017700000001", "127.0.0.1", None, "inet_aton"),
        ("127.1", "127.0.0.1", None, "inet_aton"),
        ("127.65530", "127.0.255.250", None, "inet_aton"),
        ("10.1.258", "10.1.1.2", None, "inet_aton"),
        ("010.0.0.1", "8.0.0.1", None, "8.0.0.1 to libc (a leading 0 is octal) and 10.0.0.1 to others"),
        ("127.1:80", "127.0.0.1", Some(80), "inet_aton"),
        ("1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6.arpa.", "2001:db8::1", None, ""),
        ("1.0.0.10.in-addr.arpa", "10.0.0.1", None, ""),
        ("fe80--5efe-a00-1s4.ipv6-literal.net", "fe80::5efe:a00:1", None, ""),
        ("\\\\2001-db8--1.ipv6-literal.net\\share", "2001:db8::1", None, "host"),
    ] {
        let reading = Reading::new(text).unwrap();
        let answer = Explainer::default().reading(text, &reading).unwrap();
        let value = serde_json::to_value(&answer).unwrap();
        assert_eq!((answer.address, answer.port), (address.parse().unwrap(), port), "{text}");
        assert!(reading.notes.join(" ").contains(note), "{text}: {:?}", reading.notes);
        assert_eq!(value.get("asked").is_some(), !note.is_empty(), "{value}");
    }
    for (text, address, length) in [
        ("fe80::1%eth0/64", "fe80::1", 64),
        ("[2001:db8::]/32", "2001:db8::", 32),
        ("8.b.d.0.1.0.0.2.ip6.arpa", "2001:db8::", 32),
        ("0.10.in-addr.arpa", "10.0.0.0", 16),
        ("ip6.arpa", "::", 0),
    ] {
        assert_eq!(text.parse(), Ok(Target::Prefix(address.parse().unwrap(), length)), "{text}");
    }
}

/// What is refused, and what to write instead.
#[test]
fn what_cannot_be_read_says_what_to_write() {
    for (text, expected) in [
        ("fe80::1/64%eth0", "write fe80::1%eth0/64"),
        ("10/8", "write 10.0.0.0/8"),
        ("192.168/16", "write 192.168.0.0/16"),
        ("10.0.0.0/255.0.0.0", "write 10.0.0.0/8"),
        ("::/129", "a prefix length of 0 to 128"),
        ("10.0.0.0/33", "a prefix length of 0 to 32"),
        ("10.0.0.0/", "a prefix length of 0 to 32"),
        ("::/+1", "a prefix length of 0 to 128"),
        ("10.0.0.1.80", "write 10.0.0.1:80"),
        ("10.0.0.256", "256 is too large for its place"),
        ("08.0.0.1", "write 8 without the 0"),
        ("4294967296", "too large for its place"),
        ("10.0.0.1:99999", "a port of 0 to 65535"),
        ("[::1]:http", "a port of 0 to 65535"),
        ("http://example.com/", "example.com is a name, and no DNS is asked"),
        ("http:///x", "a URL without a host"),
        ("g.ip6.arpa", "one hexadecimal digit each"),
        ("256.in-addr.arpa", "labels of 0 to 255"),
        ("fe80.ipv6-literal.net", "write fe80--1.ipv6-literal.net"),
        ("0x123456789", "9 digits; an even number of hexadecimal digits"),
        ("0x45000050zz", "'z' is no hexadecimal digit"),
        ("", "nothing that can be explained"),
        ("a\0b", "nothing that can be explained"),
    ] {
        let error = text.parse::<Target>().unwrap_err().to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{text}: {error}");
    }
    assert_eq!("a/b.pcap".parse(), Ok(Target::Capture("a/b.pcap".into())));
    assert_eq!(" fe80::1%eth0 ".parse(), Ok(Target::Address("fe80::1".parse().unwrap())));
    assert_eq!("0X45 00:aB 01 02".parse(), Ok(Target::Packet(vec![0x45, 0, 0xab, 1, 2])));
}

#[test]
fn a_packet_is_its_layers_and_its_warnings() {
    // A solicitation, with a hop limit that says that it was forwarded.
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
