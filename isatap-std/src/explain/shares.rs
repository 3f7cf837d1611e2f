//! What all addresses of an IPv6 prefix share: their forms, and the bits of the
//! IPv4 addresses in them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use isatap_core::embedded::{Form, Known, LOCAL_USE, Nat64Prefix, Role, WELL_KNOWN};
use isatap_core::isatap;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::teredo::addr::{OBSOLETE_PREFIX, PREFIX, read_identifier};

use super::address::{Ipv4Answer, Ipv4BlockAnswer, has_open_bits, scope_ipv4, scope_ipv6, text_of};

/// An IPv4 address in all addresses of a prefix, or the part of it that they share.
pub(super) struct Share {
    pub(super) form: Form,
    role: Role,
    /// How many bits they share; nothing where the form does not say which they are.
    ipv4: Option<Ipv4Prefix>,
    port: Option<u16>,
}

impl Share {
    fn new(form: Form, address: Ipv4Addr, bits: u8) -> Self {
        Share { form, role: Role::Embedded, ipv4: Ipv4Prefix::new(address, bits.min(32)), port: None }
    }

    /// The IPv4 address, where it is one.
    pub(super) fn address(&self) -> Option<Ipv4Answer> {
        let whole = self.ipv4.filter(|ipv4| ipv4.length() == 32)?;
        let (role, form) = (self.role.as_str(), self.form.as_str());
        Some(Ipv4Answer { role, address: whole.address(), port: self.port, form })
    }

    /// The block, where it is more than one.
    pub(super) fn block(&self) -> Option<Ipv4BlockAnswer> {
        let block = self.ipv4.filter(|ipv4| ipv4.length() < 32)?;
        Some(Ipv4BlockAnswer { role: self.role.as_str(), prefix: block.to_string(), form: self.form.as_str() })
    }

    pub(super) fn note(&self) -> Option<String> {
        let (ipv4, form) = (self.ipv4?, self.form.as_str());
        let whose = match self.role {
            Role::Server => " as the server",
            Role::Client => " as the client",
            _ => "",
        };
        Some(match ipv4.length() {
            32 => format!("All its addresses embed {}{whose} ({form}).", ipv4.address()),
            0 => format!("Its addresses embed IPv4 addresses{whose}, any ({form})."),
            _ => format!("Its addresses embed IPv4 addresses of {ipv4}{whose} ({form})."),
        })
    }
}

/// What the addresses of a prefix share, in the order of `embedded_ipv4s`.
pub(super) fn of(first: Ipv6Addr, length: u8, known: &Known<'_>) -> Vec<Share> {
    let mut shares = Vec::new();
    let low = Ipv4Addr::from_bits(u32::try_from(first.to_bits() & 0xffff_ffff).unwrap_or(0));
    for domain in known.sixrd.iter().filter(|domain| is_inside(&domain.prefix(), first, length)) {
        // S6R-3, S6R-15 [RFC 5969 §4]: common bits that are not known state no address.
        let bits = domain.common().length().saturating_add(length - domain.prefix().length());
        match domain.embedded_ipv4(&first) {
            Some(ipv4) if !has_open_bits(domain) => shares.push(Share::new(Form::SixRd, ipv4, bits)),
            _ => shares.push(Share { form: Form::SixRd, role: Role::Embedded, ipv4: None, port: None }),
        }
    }
    for prefix in known.nat64.iter().chain([&WELL_KNOWN]).filter(|one| is_inside(&one.prefix(), first, length)) {
        let ipv4 = prefix.embedded_ipv4(&first).unwrap_or(Ipv4Addr::UNSPECIFIED);
        shares.push(Share::new(Form::Nat64, ipv4, translated_bits(prefix, length)));
    }
    if is_inside(&LOCAL_USE, first, length) && shares.is_empty() {
        // [RFC 8215 §3] The network chooses where the IPv4 address is.
        shares.push(Share { form: Form::Nat64, role: Role::Embedded, ipv4: None, port: None });
    }
    for (form, zeros) in [(Form::Mapped, 0xffff_u128 << 32), (Form::Compatible, 0), (Form::Translated, 0xffff << 48)] {
        if Ipv6Prefix::new(Ipv6Addr::from_bits(zeros), 96).is_some_and(|prefix| is_inside(&prefix, first, length)) {
            shares.push(Share::new(form, low, length - 96));
        }
    }
    if is_inside(&PREFIX, first, length) || is_inside(&OBSOLETE_PREFIX, first, length) {
        let server = u32::try_from(first.to_bits() >> 64 & 0xffff_ffff).unwrap_or(0);
        let server = Share::new(Form::Teredo, Ipv4Addr::from_bits(server), length - 32);
        shares.push(Share { role: Role::Server, ..server });
        if length >= 96 {
            // TER-1 [RFC 4380 §4]: port and address are inverted.
            let (_, port, client) = read_identifier(&first);
            let client = Share::new(Form::Teredo, client, length - 96);
            shares.push(Share { role: Role::Client, port: Some(port), ..client });
        }
    }
    if is_inside(&Ipv6Prefix::SIX_TO_FOUR, first, length) {
        let ipv4 = u32::try_from(first.to_bits() >> 80 & 0xffff_ffff).unwrap_or(0);
        shares.push(Share::new(Form::SixToFour, Ipv4Addr::from_bits(ipv4), length - 16));
    }
    if length >= 96 && first.to_bits() >> 32 == 0xfe80 << 80 {
        // [RFC 4213 §3.7]
        shares.push(Share::new(Form::Configured, low, length - 96));
    }
    // ISA-3, ISA-4 [RFC 5214 §6.1]
    if length >= 96
        && !first.is_multicast()
        && let Some(ipv4) = isatap::addr::embedded_ipv4(&first)
    {
        shares.push(Share::new(Form::Isatap, ipv4, length - 96));
    }
    shares
}

fn is_inside(prefix: &Ipv6Prefix, first: Ipv6Addr, length: u8) -> bool {
    prefix.length() <= length && prefix.contains(&first)
}

/// N64-1 [RFC 6052 §2.2]: bits 64 to 71 are none of the IPv4 address.
fn translated_bits(prefix: &Nat64Prefix, length: u8) -> u8 {
    let start = prefix.prefix().length();
    let hole = if start < 96 { length.saturating_sub(64.max(start)).min(8) } else { 0 };
    (length - start).saturating_sub(hole).min(32)
}

/// The scope of a prefix's addresses: `several` where they differ.
pub(super) fn scope_of(first: IpAddr, length: u8) -> &'static str {
    match first {
        IpAddr::V4(first) => {
            let is_cut = |block: &&str| is_part_ipv4(block, first, length);
            if SCOPES_IPV4.iter().any(is_cut) { "several" } else { scope_ipv4(first) }
        }
        IpAddr::V6(first) => {
            // Of mapped addresses the IPv4 address has the scope.
            if length >= 96 && first.to_bits() >> 32 == 0xffff {
                let ipv4 = Ipv4Addr::from_bits(u32::try_from(first.to_bits() & 0xffff_ffff).unwrap_or(0));
                return scope_of(IpAddr::V4(ipv4), length - 96);
            }
            let is_cut = |block: &&str| {
                block.parse::<Ipv6Prefix>().is_ok_and(|block| {
                    block.length() > length
                        && Ipv6Prefix::new(first, length).is_some_and(|prefix| prefix.contains(&block.address()))
                })
            };
            // Multicast has its scope in bits 12 to 15.
            let is_open = first.is_multicast() && length < 16;
            if is_open || SCOPES_IPV6.iter().any(is_cut) { "several" } else { scope_ipv6(&first) }
        }
    }
}

fn is_part_ipv4(block: &str, first: Ipv4Addr, length: u8) -> bool {
    block.parse::<Ipv4Prefix>().is_ok_and(|block| {
        block.length() > length && Ipv4Prefix::new(first, length).is_some_and(|prefix| prefix.contains(block.address()))
    })
}

/// Blocks of one scope that lie in others.
const SCOPES_IPV4: [&str; 8] = [
    "0.0.0.0/32",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "224.0.0.0/4",
    "224.0.0.0/24",
    "239.192.0.0/14",
    "239.255.0.0/16",
    "255.255.255.255/32",
];
const SCOPES_IPV6: [&str; 6] = ["::/128", "::1/128", "::ffff:0:0/96", "fe80::/10", "fec0::/10", "ff00::/8"];

/// The forms all of whose addresses lie in a larger prefix.
pub(super) fn held(first: Ipv6Addr, length: u8) -> Option<String> {
    const FORMS: [(&str, Form); 8] = [
        ("::/96", Form::Compatible),
        ("::ffff:0:0/96", Form::Mapped),
        ("::ffff:0:0:0/96", Form::Translated),
        ("64:ff9b::/96", Form::Nat64),
        ("64:ff9b:1::/48", Form::Nat64),
        ("2001::/32", Form::Teredo),
        ("2002::/16", Form::SixToFour),
        ("3ffe:831f::/32", Form::Teredo),
    ];
    let prefix = Ipv6Prefix::new(first, length)?;
    let inside = FORMS.iter().filter_map(|(text, form)| {
        let held: Ipv6Prefix = text.parse().ok()?;
        (prefix.covers(&held) && prefix.length() < held.length())
            .then(|| format!("{} ({})", text_of(&held), form.as_str()))
    });
    let inside: Vec<String> = inside.collect();
    (!inside.is_empty()).then(|| format!("Holds all of {}.", inside.join(", ")))
}
