//! 6to4 addresses: a /48 that carries an IPv4 address, and the prefixes that
//! DirectAccess servers make of theirs.
//!
//! ```text
//! byte  0  1   2 3 4 5        6 7     8 .. 15
//!       20 02  IPv4 address   subnet  identifier
//! ```
//!
//! Every IPv4 address has a /48, and every address in `2002::/16` an IPv4
//! address; whether that one may be used is [`ingress`](super::ingress)'s
//! question. [RFC 3056 §2]

use core::net::{Ipv4Addr, Ipv6Addr};

use crate::prefix::{Ipv6Prefix, halves};

/// `2002::/16`: every 6to4 site. [RFC 3056 §2]
pub const PREFIX: Ipv6Prefix = Ipv6Prefix::SIX_TO_FOUR;

/// The anycast relay: deprecated, never used unless asked for.
/// `S64-31 [RFC 3068 §2.4; RFC 7526 §5]`
pub const ANYCAST_RELAY: Ipv4Addr = Ipv4Addr::new(192, 88, 99, 1);

/// The site prefix of `ipv4`: `2002:WWXX:YYZZ::/48`.
///
/// Does not judge whether `ipv4` may be used (`S64-1`): see
/// [`ingress::locator`](super::ingress::locator).
#[inline]
#[must_use]
pub const fn site(ipv4: Ipv4Addr) -> Ipv6Prefix {
    prefix(ipv4, 0, 48)
}

/// A subnet of the site: `2002:WWXX:YYZZ:id::/64`.
#[inline]
#[must_use]
pub const fn subnet(ipv4: Ipv4Addr, id: u16) -> Ipv6Prefix {
    prefix(ipv4, id, 64)
}

/// The address that a host/router gives its 6to4 interface:
/// `2002:WWXX:YYZZ::WWXX:YYZZ`.
#[must_use]
pub const fn host_router(ipv4: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ipv4.octets();
    Ipv6Addr::from_octets([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, a, b, c, d])
}

/// The address that stands for the relay at `ipv4` as a next hop:
/// `2002:WWXX:YYZZ::1`, and `2002:c058:6301::` for the anycast relay. Any
/// address of the relay's /48 would do, only its IPv4 address counts.
#[must_use]
pub const fn relay(ipv4: Ipv4Addr) -> Ipv6Addr {
    let last = if ipv4.to_bits() == ANYCAST_RELAY.to_bits() { 0 } else { 1 };
    let [a, b, c, d] = ipv4.octets();
    Ipv6Addr::from_octets([0x20, 0x02, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, last])
}

/// The IPv4 address in a 6to4 address; `None` outside of `2002::/16`. `S64-3`
///
/// It proves nothing about who sent a packet (`S64-20`).
#[inline]
#[must_use]
#[expect(clippy::as_conversions, reason = "the lower 32 bits are meant, in a const fn")]
pub const fn embedded_ipv4(address: &Ipv6Addr) -> Option<Ipv4Addr> {
    let (high, _) = halves(address);
    if high >> 48 == 0x2002 { Some(Ipv4Addr::from_bits((high >> 16) as u32)) } else { None }
}

/// Whether `address` is a 6to4 address with `ipv4` in it.
#[inline(always)]
pub(crate) fn embeds(address: &Ipv6Addr, ipv4: Ipv4Addr) -> bool {
    let (high, _) = halves(address);
    high >> 16 == 0x2002_0000_0000 | u64::from(ipv4.to_bits())
}

/// The prefixes of a DirectAccess server with a public IPv4 address. `S64-40`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectAccessPrefixes {
    /// The organisation's intranet; the server is `::1` of it.
    pub organisation: Ipv6Prefix,
    /// Its IP-HTTPS clients.
    pub ip_https: Ipv6Prefix,
    /// Its Teredo clients; the server is their Teredo server too.
    pub teredo: Ipv6Prefix,
}

/// What a DirectAccess server makes of the first of its two public IPv4
/// addresses. Its 6to4 clients come with prefixes of their own. `S64-40`
#[must_use]
pub const fn directaccess_prefixes(ipv4: Ipv4Addr) -> DirectAccessPrefixes {
    let [a, b, c, d] = ipv4.octets();
    let teredo = Ipv6Addr::from_octets([0x20, 0x01, 0, 0, a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0]);
    DirectAccessPrefixes {
        organisation: subnet(ipv4, 0x3333),
        ip_https: subnet(ipv4, 0x1000),
        teredo: Ipv6Prefix::subnet_of(&teredo),
    }
}

/// The prefixes of DirectAccess servers behind a NAT, all in one
/// organisation prefix. `S64-40`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DirectAccessUlaPrefixes {
    /// The ISATAP hosts of the intranet. `S64-42`: the servers' IPsec rules
    /// must name exactly this prefix.
    pub isatap: Ipv6Prefix,
    /// IP-HTTPS clients of the first server.
    pub ip_https: Ipv6Prefix,
    /// IP-HTTPS clients of the second server.
    pub second_ip_https: Ipv6Prefix,
    /// Where DNS64 answers.
    pub dns64: Ipv6Prefix,
    /// IPv4 addresses of the intranet, by NAT64: a /96. `S64-43`
    pub nat64: Ipv6Prefix,
}

/// What DirectAccess servers make of an organisation prefix, by custom a
/// random one of `fd00::/8`; `None` unless it is a /48. `S64-40`
#[must_use]
pub fn directaccess_prefixes_ula(organisation: &Ipv6Prefix) -> Option<DirectAccessUlaPrefixes> {
    if organisation.length() != 48 {
        return None;
    }
    let subnet = |id: u16, len: u8| {
        let [a, b, c, ..] = organisation.address().segments();
        Ipv6Prefix::new(Ipv6Addr::new(a, b, c, id, 0, 0, 0, 0), len)
    };
    Some(DirectAccessUlaPrefixes {
        isatap: subnet(1, 64)?,
        ip_https: subnet(0x1000, 64)?,
        second_ip_https: subnet(0x1001, 64)?,
        dns64: subnet(0x3333, 64)?,
        nat64: subnet(0x7777, 96)?,
    })
}

#[inline]
const fn prefix(ipv4: Ipv4Addr, id: u16, len: u8) -> Ipv6Prefix {
    let [a, b, c, d] = ipv4.octets();
    let [s, t] = id.to_be_bytes();
    let address = Ipv6Addr::from_octets([0x20, 0x02, a, b, c, d, s, t, 0, 0, 0, 0, 0, 0, 0, 0]);
    match Ipv6Prefix::new(address, len) {
        Some(prefix) => prefix,
        None => Ipv6Prefix::DEFAULT,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::isatap;
    use proptest::prelude::*;

    fn v4(text: &str) -> Ipv4Addr {
        text.parse().unwrap()
    }

    fn v6(text: &str) -> Ipv6Addr {
        text.parse().unwrap()
    }

    fn net(text: &str) -> Ipv6Prefix {
        text.parse().unwrap()
    }

    #[test]
    fn s64_1_s64_3_sites_of_the_vectors() {
        for (ipv4, prefix, address) in [
            ("192.1.2.3", "2002:c001:203::/48", "2002:c001:203::c001:203"),
            ("9.254.253.252", "2002:9fe:fdfc::/48", "2002:9fe:fdfc::9fe:fdfc"),
            ("157.60.0.1", "2002:9d3c:1::/48", "2002:9d3c:1::9d3c:1"),
            ("131.107.0.1", "2002:836b:1::/48", "2002:836b:1::836b:1"),
            ("131.107.23.89", "2002:836b:1759::/48", "2002:836b:1759::836b:1759"),
            ("194.207.1.5", "2002:c2cf:105::/48", "2002:c2cf:105::c2cf:105"),
        ] {
            assert_eq!(site(v4(ipv4)), net(prefix));
            assert_eq!(host_router(v4(ipv4)), v6(address));
            assert_eq!(embedded_ipv4(&v6(address)), Some(v4(ipv4)));
        }
        assert_eq!(embedded_ipv4(&v6("2001:c001:203::1")), None);
        assert_eq!(embedded_ipv4(&v6("2003:c001:203::1")), None);
        assert_eq!(PREFIX, net("2002::/16"));
    }

    #[test]
    fn s64_31_s64_33_relays_as_next_hops() {
        assert_eq!(relay(v4("194.207.1.5")), v6("2002:c2cf:105::1"));
        assert_eq!(relay(ANYCAST_RELAY), v6("2002:c058:6301::"));
    }

    #[test]
    fn s64_40_s64_43_directaccess_prefixes_of_the_vectors() {
        let public = directaccess_prefixes(v4("131.107.0.2"));
        assert_eq!(public.organisation, net("2002:836b:2:3333::/64"));
        assert_eq!(public.ip_https, net("2002:836b:2:1000::/64"));
        assert_eq!(public.teredo, net("2001:0:836b:2::/64"));
        let private = directaccess_prefixes_ula(&net("fd9c:30c:2da4::/48")).unwrap();
        assert_eq!(private.isatap, net("fd9c:30c:2da4:1::/64"));
        assert_eq!(private.ip_https, net("fd9c:30c:2da4:1000::/64"));
        assert_eq!(private.second_ip_https, net("fd9c:30c:2da4:1001::/64"));
        assert_eq!(private.dns64, net("fd9c:30c:2da4:3333::/64"));
        assert_eq!(private.nat64, net("fd9c:30c:2da4:7777::/96"));
        assert_eq!(directaccess_prefixes_ula(&net("fd9c:30c:2da4:1::/64")), None);
    }

    #[test]
    fn s64_42_isatap_hosts_of_a_directaccess_site() {
        let site = directaccess_prefixes_ula(&net("fd9c:30c:2da4::/48")).unwrap().isatap;
        let host = isatap::addr::address(&site, v4("172.16.10.25"));
        assert_eq!(host, Some(v6("fd9c:30c:2da4:1:0:5efe:ac10:a19")));
    }

    proptest! {
        #[test]
        fn s64_3_every_address_of_a_site_has_its_ipv4_address(ipv4: u32, rest: [u8; 10], id: u16) {
            let ipv4 = Ipv4Addr::from_bits(ipv4);
            // Written byte by byte, as the standard draws it.
            let [a, b, c, d] = ipv4.octets();
            let [e, f, g, h, i, j, k, l, m, n] = rest;
            let any = Ipv6Addr::from([0x20, 0x02, a, b, c, d, e, f, g, h, i, j, k, l, m, n]);
            prop_assert_eq!(embedded_ipv4(&any), Some(ipv4));
            prop_assert!(site(ipv4).contains(&any));
            prop_assert!(site(ipv4).covers(&subnet(ipv4, id)));
            prop_assert!(site(ipv4).contains(&host_router(ipv4)) && site(ipv4).contains(&relay(ipv4)));
        }

        #[test]
        fn s64_3_nothing_outside_of_2002_has_one(bits: u128) {
            let address = Ipv6Addr::from_bits(bits);
            prop_assert_eq!(embedded_ipv4(&address).is_some(), address.segments()[0] == 0x2002);
            prop_assert_eq!(embedded_ipv4(&address).is_some(), PREFIX.contains(&address));
        }
    }
}
