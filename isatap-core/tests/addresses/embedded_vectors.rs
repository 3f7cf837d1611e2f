//! The vectors for other projects (`vectors/embedded.json`), which a program
//! in another language made from the RFCs, against this crate.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::embedded::{Known, Nat64Prefix, embedded_ipv4s, permits};
use isatap_core::prefix::is_public;
use isatap_core::sixrd::addr::Domain;
use serde_json::Value;

const VECTORS: &str = include_str!("../vectors/embedded.json");

#[test]
fn n64_1_isa_3_s64_3_s6r_3_ter_4_every_vector_is_answered_as_it_says() {
    let file: Value = serde_json::from_str(VECTORS).unwrap();
    let vectors = file["vectors"].as_array().unwrap();
    assert!(vectors.len() > 800, "where are the vectors?");
    for vector in vectors {
        let address: Ipv6Addr = text(&vector["address"]).parse().unwrap();
        let octets: String = address.octets().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(octets, text(&vector["octets"]));
        let nat64: Vec<Nat64Prefix> = list(&vector["known"]["nat64"])
            .iter()
            .map(|prefix| Nat64Prefix::new(text(prefix).parse().unwrap()).unwrap())
            .collect();
        let sixrd: Vec<Domain> = list(&vector["known"]["6rd"])
            .iter()
            .map(|domain| {
                let common = text(&domain["ipv4"]).parse().unwrap();
                Domain::new(text(&domain["prefix"]).parse().unwrap(), common).unwrap()
            })
            .collect();
        let known = Known { nat64: &nat64, sixrd: &sixrd };
        let found: Vec<Value> = embedded_ipv4s(address, &known)
            .map(|embedded| {
                let mut entry = serde_json::json!({
                    "ipv4": embedded.address.to_string(),
                    "form": embedded.form.as_str(),
                    "role": embedded.role.as_str(),
                });
                if let Some(port) = embedded.port {
                    entry["port"] = port.into();
                }
                entry
            })
            .collect();
        assert_eq!(Value::from(found), vector["embedded"], "{address}");
        assert_eq!(permits(address.into(), &known, is_public), vector["public"], "{address}");
        // Whoever hides one of them from the question is found out.
        for embedded in embedded_ipv4s(address, &known) {
            assert!(!permits(address.into(), &known, |asked| asked != IpAddr::V4(embedded.address)), "{address}");
        }
    }
}

#[test]
fn a_plain_ipv4_address_is_asked_as_it_is() {
    let one = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    assert!(permits(one, &Known::NONE, |asked| asked == one));
    assert!(!permits(one, &Known::NONE, is_public));
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
