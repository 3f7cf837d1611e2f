//! Prefixes in serde's formats.
//!
//! Not beside the code: where serde_json is in sight, comparisons with `[]`
//! no longer say what they compare.

use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};

#[test]
fn prefixes_are_written_as_text_and_read_back() {
    let prefix: Ipv6Prefix = "2001:db8::/32".parse().unwrap();
    let json = serde_json::to_string(&prefix).unwrap();
    assert_eq!(json, "\"2001:db8::/32\"");
    assert_eq!(serde_json::from_str::<Ipv6Prefix>(&json).unwrap(), prefix);
    let prefix: Ipv4Prefix = "10.0.0.0/8".parse().unwrap();
    let json = serde_json::to_value(prefix).unwrap();
    assert_eq!(json, "10.0.0.0/8");
    assert_eq!(serde_json::from_value::<Ipv4Prefix>(json).unwrap(), prefix);
}

#[test]
fn what_is_no_prefix_says_what_is_wrong() {
    let error = serde_json::from_str::<Ipv6Prefix>("\"2001:db8::1/32\"").unwrap_err().to_string();
    assert!(error.contains("has bits behind its length: write 2001:db8::/32"), "{error}");
    let error = serde_json::from_str::<Ipv4Prefix>("7").unwrap_err().to_string();
    assert!(error.contains("a prefix, an address and a length"), "{error}");
}
