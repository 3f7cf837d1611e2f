//! Whether a filter lets an address in.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use isatap_core::embedded::{EmbeddedIpv4s, Known, embedded_ipv4s, permits};
use isatap_core::prefix::special::block_of;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix, is_public};
use serde::Serialize;

use super::{AddressAnswer, Explainer, Reading, Target, TargetError};

/// What a filter lets in: an address of which each part is permitted and none refused.
///
/// The parts are the address itself and every IPv4 address in it. An IPv4-mapped address is the IPv4 address alone,
/// in an address and in a rule; a rule of IPv6 that refuses more than mapped ones (`::/0`) refuses them as well.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What it permits; without any it permits nothing.
    pub permits: Vec<Rule>,
    /// What it refuses, whatever permits it: a site's own public addresses, for example.
    pub refuses: Vec<Rule>,
}

/// Some addresses, as a filter names them: `public`, an address or a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Rule {
    /// The public ones: see [`is_public`].
    Public,
    /// Those of an IPv4 prefix.
    Ipv4(Ipv4Prefix),
    /// Those of an IPv6 prefix.
    Ipv6(Ipv6Prefix),
}

/// What a filter refuses an address for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct RefusedAnswer {
    /// The address, or the first IPv4 address in it that is not permitted.
    pub address: IpAddr,
    /// The form that hides that one; nothing where it is the address itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub form: Option<&'static str>,
    /// Why it is not permitted: a sentence.
    pub reason: String,
}

impl Explainer {
    /// What the address in a text is, and whether `policy` lets it in.
    ///
    /// A text of which programs make different addresses (`010.0.0.1`, `http://8.8.8.8\@127.0.0.1/`), which is a
    /// name to others, or a URL that need not be fetched from its host (`file://8.8.8.8/etc/passwd`) is refused,
    /// whatever it is here. Whoever connects has to use the address of the answer.
    ///
    /// # Errors
    /// The text is no address. No file is looked at and no name looked up.
    pub fn judge(&self, text: &str, policy: &Policy) -> Result<AddressAnswer, TargetError> {
        let reading = Reading::new(text)?;
        let (Target::Address(address), Some(mut answer)) = (&reading.target, self.reading(text, &reading)) else {
            return Err(TargetError::no_address(text));
        };
        answer.refused = if reading.is_plain {
            policy.refusal(*address, &self.known())
        } else {
            let reason = "Programs read this text differently: ask about the address itself.".to_owned();
            Some(RefusedAnswer { address: *address, form: None, reason })
        };
        answer.permitted = Some(answer.refused.is_none());
        Ok(answer)
    }
}

impl Policy {
    fn allows(&self, part: IpAddr) -> bool {
        let is_of = |rules: &[Rule]| rules.iter().any(|rule| rule.is_of(part));
        is_of(&self.permits) && !is_of(&self.refuses)
    }

    fn refusal(&self, address: IpAddr, known: &Known<'_>) -> Option<RefusedAnswer> {
        // A mapped one is not asked about as itself below.
        let is_refused = self.refuses.iter().any(|rule| rule.is_of(address));
        if !is_refused && permits(address, known, |part| self.allows(part)) {
            return None;
        }
        let inside = match address {
            IpAddr::V6(address) if !is_refused => {
                embedded_ipv4s(address, known).find(|inside| !self.allows(inside.address.into()))
            }
            _ => None,
        };
        let part = inside.map_or(address, |inside| inside.address.into());
        Some(RefusedAnswer {
            address: part,
            form: inside.map(|inside| inside.form.as_str()),
            reason: self.reason(part),
        })
    }

    /// Why `part` is refused; an address of which all parts are permitted has too many.
    fn reason(&self, part: IpAddr) -> String {
        let refused = self.refuses.iter().find(|rule| rule.is_of(part));
        match (refused, block_of(part)) {
            (Some(rule), _) => format!("{rule} is refused."),
            _ if self.allows(part) => format!("It holds more than {} IPv4 addresses.", EmbeddedIpv4s::MAX),
            _ if !self.permits.contains(&Rule::Public) => "It is in no permitted prefix.".to_owned(),
            (None, Some((_, block))) => format!("{} [{}]", block.what, block.rfc),
            (None, None) => "It is not public, and in no permitted prefix.".to_owned(),
        }
    }
}

impl Rule {
    fn is_of(&self, address: IpAddr) -> bool {
        match (self, address) {
            (Rule::Public, address) => is_public(address),
            (Rule::Ipv4(prefix), IpAddr::V4(address)) => prefix.contains(address),
            (Rule::Ipv6(prefix), IpAddr::V6(address)) => prefix.contains(&address),
            (Rule::Ipv6(prefix), IpAddr::V4(address)) => {
                prefix.length() >= 96 && prefix.contains(&address.to_ipv6_mapped())
            }
            _ => false,
        }
    }
}

impl FromStr for Rule {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let rule = match text.parse() {
            Ok(IpAddr::V4(address)) => Ipv4Prefix::new(address, 32).map(Rule::Ipv4),
            Ok(IpAddr::V6(address)) => Ipv6Prefix::new(address, 128).map(Rule::Ipv6),
            Err(_) if text == "public" => Some(Rule::Public),
            Err(_) if text.contains(':') => text.parse().ok().map(Rule::Ipv6),
            Err(_) => text.parse().ok().map(Rule::Ipv4),
        };
        rule.ok_or_else(|| TargetError(format!("{text}: write public, an address, or a prefix such as 10.1.0.0/16")))
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Rule::Public => f.write_str("public"),
            Rule::Ipv4(prefix) => prefix.fmt(f),
            Rule::Ipv6(prefix) => prefix.fmt(f),
        }
    }
}

impl fmt::Display for RefusedAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        if let Some(form) = self.form {
            write!(f, " ({form})")?;
        }
        write!(f, ": {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use isatap_core::embedded::Nat64Prefix;
    use proptest::prelude::*;

    fn policy(permits: &[&str], refuses: &[&str]) -> Policy {
        let rules = |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect();
        Policy { permits: rules(permits), refuses: rules(refuses) }
    }

    /// Permitted, or what it is refused for.
    fn judged(text: &str, policy: &Policy) -> String {
        let nat64 = vec![Nat64Prefix::new("2600:1:2:3::/96".parse().unwrap()).unwrap()];
        let answer = Explainer { nat64, ..Explainer::default() }.judge(text, policy).unwrap();
        assert_eq!(answer.permitted, Some(answer.refused.is_none()));
        answer.refused.map_or_else(String::new, |refused| refused.to_string())
    }

    #[test]
    fn public_addresses_are_permitted_and_others_refused_for_what_they_are() {
        let public = policy(&["public"], &[]);
        for text in
            ["8.8.8.8", "8.8.8.8:53", "[2606:4700::1]:443", "::ffff:8.8.8.8", "http://8.8.8.8/a@b", "2002:808:808::1"]
        {
            assert_eq!(judged(text, &public), "", "{text}");
        }
        for text in ["HTTPS://[2606:4700::1]:443/?a=b@c#d@e", "http://8.8.8.8?a=b", "ws://8.8.8.8#a", "//8.8.8.8/a:b"] {
            assert_eq!(judged(text, &public), "", "{text}");
        }
        for (text, reason) in [
            ("10.0.0.1", "10.0.0.1: Private: unique within one site only. [RFC 1918 §3]"),
            ("::ffff:127.0.0.1", "127.0.0.1 (ipv4-mapped): Loopback: this host. [RFC 1122 §3.2.1.3]"),
            ("2002:7f00:1::", "127.0.0.1 (6to4): Loopback"),
            ("2606:4700::5efe:a00:1", "10.0.0.1 (isatap): Private"),
            ("2600:1:2:3::a00:1", "10.0.0.1 (nat64): Private"),
            ("168.63.129.16", "168.63.129.16: Azure's platform answers here"),
            ("fe80::1%eth0", "fe80::1: Link-local"),
            ("4000::1", "4000::1: It is not public, and in no permitted prefix."),
        ] {
            let said = judged(text, &public);
            assert!(said.starts_with(reason), "{text}: {said}");
        }
    }

    #[test]
    fn prefixes_are_permitted_and_refused_whatever_else_is() {
        let site = policy(&["public", "10.1.0.0/16", "fd00:1::/32"], &["10.1.9.9", "192.0.1.0/24", "2a00:1::/32"]);
        for text in ["10.1.0.1", "::ffff:10.1.0.1", "fd00:1::1", "1.1.1.1"] {
            assert_eq!(judged(text, &site), "", "{text}");
        }
        assert_eq!(judged("10.1.9.9", &site), "10.1.9.9: 10.1.9.9/32 is refused.");
        assert_eq!(judged("::ffff:192.0.1.7", &site), "192.0.1.7 (ipv4-mapped): 192.0.1.0/24 is refused.");
        assert_eq!(judged("2a00:1::1", &site), "2a00:1::1: 2a00:1::/32 is refused.");
        // A permitted prefix permits nothing that is hidden in its addresses.
        assert!(judged("fd00:1::5efe:7f00:1", &site).starts_with("127.0.0.1 (isatap): Loopback"));
        let alone = policy(&["fd00:1::/32"], &[]);
        assert_eq!(judged("8.8.8.8", &alone), "8.8.8.8: It is in no permitted prefix.");
        assert_eq!(judged("8.8.8.8", &Policy::default()), "8.8.8.8: It is in no permitted prefix.");
        assert_eq!(judged("8.8.8.8", &policy(&["public"], &["public"])), "8.8.8.8: public is refused.");
    }

    #[test]
    fn a_mapped_rule_is_one_of_ipv4() {
        for (rule, matched) in [
            ("::ffff:10.1.0.1", "10.1.0.1"),
            ("::ffff:a01:1", "::ffff:10.1.0.1"),
            ("::ffff:10.1.0.0/112", "10.1.9.9"),
            ("::ffff:0:0/96", "10.1.9.9"),
            ("::ffff:0:0/96", "64:ff9b::10.1.9.9"),
        ] {
            let refusing = policy(&["public", "10.1.0.0/16", "64:ff9b::/96"], &[rule]);
            assert!(judged(matched, &refusing).ends_with("is refused."), "{rule}: {matched}");
            assert_eq!(judged(matched, &policy(&[rule, "64:ff9b::/96"], &[])), "", "{rule}: {matched}");
        }
        // No IPv6 address in any text, and no IPv4 address but by one.
        for (rule, matched) in [("::/0", "::ffff:8.8.8.8"), ("::/64", "::ffff:8.8.8.8"), ("::/0", "2606:4700::1")] {
            assert!(judged(matched, &policy(&["public"], &[rule])).ends_with("is refused."), "{rule}: {matched}");
            assert_eq!(judged("8.8.8.8", &policy(&["public"], &[rule])), "", "{rule}");
        }
        assert!(!judged("::ffff:10.0.0.1", &policy(&["::/0"], &[])).is_empty(), "what it hides is not permitted");
    }

    /// Each of these is 8.8.8.8, or some other public address, to one program and not to all.
    #[test]
    fn what_programs_read_differently_is_refused() {
        for text in [
            "010.010.010.010",
            "0x08080808",
            "134744072",
            "8.8.2056",
            "http://8.8.8.8\\@127.0.0.1/",
            "http://127.0.0.1@8.8.8.8/",
            "http://127.0.0.1 @8.8.8.8/",
            "http://8.8.8.8./",
            "http://8.8.8.8.:80/",
            "http://8.8.8.8#@127.0.0.1/",
            "http://8.8.8.8?@127.0.0.1/",
            "http://8.8.8.8:80?a=/@127.0.0.1/",
            "127.0.0.1/://8.8.8.8/",
            "127.0.0.1?://8.8.8.8/",
            "127.0.0.1://8.8.8.8/",
            "localhost://8.8.8.8/",
            "://8.8.8.8/",
            "file://8.8.8.8/etc/passwd",
            "http://2606:4700::1/",
            "http://[8.8.8.8]/",
            "http://[8.8.8.8]:80/",
            "[8.8.8.8]",
            "[8.8.8.8]:80",
            "2606:4700::1%@127.0.0.1",
            "2606:4700::1%#",
            "[2606:4700::1%]@127.0.0.1:80]",
            "http://%38.8.8.8/",
            "http://８.8.8.8/",
            "\\\\8.8.8.8\\share",
            "8.8.8.8.in-addr.arpa",
            "http://8.8.8.8.in-addr.arpa/",
            "2606-4700--1.ipv6-literal.net",
        ] {
            let said = judged(text, &policy(&["public"], &[]));
            assert!(said.contains("Programs read this text differently"), "{text}: {said}");
        }
        for text in [
            "",
            "http://[2606:4700:.:1]:80/",
            "http://[2606:4700::1%1?]/",
            "example.com",
            "http://example.com/",
            "http://8.8.8.8\t/",
            "8.8.8.0/24",
            "0x450000140000",
            "/etc/passwd",
            "8.8.8.8\n10.0.0.1",
        ] {
            let judged = Explainer::default().judge(text, &policy(&["public"], &[]));
            assert!(judged.is_err(), "{text}: {judged:?}");
        }
    }

    #[test]
    fn a_rule_that_is_none_says_what_to_write() {
        for text in ["", "Public", "internet", "10/8", "10.0.0.0/33", "fe80::1%eth0"] {
            let error = text.parse::<Rule>().unwrap_err().to_string();
            assert!(error.contains("write public, an address, or a prefix"), "{error}");
        }
        assert_eq!("8.8.8.8".parse(), "8.8.8.8/32".parse::<Rule>());
        assert_eq!("::1".parse(), "::1/128".parse::<Rule>());
    }
    /// The only host of a text by a strict reading: `host`, `host:port`, `http://host:port/…`.
    fn strict(text: &str) -> Option<IpAddr> {
        let url = text.strip_prefix("http://").or_else(|| text.strip_prefix("//"));
        let authority = match url {
            None => text,
            Some(url) if !url.contains('@') => url.split(['/', '?', '#']).next()?,
            // To some, a host ends at a slash only, and a user stands in front of an @.
            Some(url) => url.split('/').next().filter(|authority| !authority.contains(['@', '?', '#']))?,
        };
        let (host, is_bracketed) = match authority.strip_prefix('[') {
            Some(inside) => (inside.split_once(']')?.0, true),
            None if authority.matches(':').count() == 1 => (authority.split(':').next()?, false),
            None => (authority, false),
        };
        let (address, zone) = host.split_once('%').unwrap_or((host, ""));
        let is_usual = |address: &IpAddr| match address {
            IpAddr::V4(_) => !is_bracketed,
            IpAddr::V6(_) => is_bracketed || url.is_none(),
        };
        let address = address.parse().ok().filter(is_usual)?;
        zone.bytes().all(|sign| sign.is_ascii_alphanumeric() || sign == b'.').then_some(address)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]

        #[test]
        fn what_is_permitted_is_public_and_reads_the_same_strictly(pieces in prop::collection::vec(prop::sample::select(vec![
            "http://", "//", "://", "8.8.8.8", "127.0.0.1", "2606:4700::1", "::ffff:10.0.0.1", "[", "]", "@", "\\", "#", "?", ":", ":80",
            "/", "%", "%2e", "%40", ".", " ", "\t", "0x7f", "010", "1", "a", "s4.ipv6-literal.net", ".in-addr.arpa", "８",
        ]), 1..7)) {
            let text = pieces.concat();
            let Ok(answer) = Explainer::default().judge(&text, &policy(&["public"], &[])) else { return Ok(()) };
            if answer.permitted == Some(true) {
                prop_assert!(is_public(answer.address), "{}", text);
                prop_assert_eq!(strict(text.trim()), Some(answer.address), "{}", text);
            }
        }
    }
}
