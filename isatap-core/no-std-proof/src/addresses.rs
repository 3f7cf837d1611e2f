//! The address codecs, and IPv4 addresses embedded in IPv6 ones.

use core::net::IpAddr;

use isatap_core::embedded::{self, Form, Kind, Known, Nat64Prefix, Role};
use isatap_core::sixrd::Domain;
use isatap_core::teredo::addr as teredo;
use isatap_core::{prefix, sixtofour};

use crate::{Unknown, any, keep};

fn domain(u: &Unknown) -> Option<Domain> {
    any(Domain::new(u.prefix(), u.ipv4_prefix()).ok())
}

fn known() -> Known<'static> {
    Known { nat64: any(&[]), sixrd: any(&[]) }
}

crate::roots! {
    classes => |u| {
        let address = any(IpAddr::V6(u.ipv6()));
        (prefix::is_public(address), prefix::special::block_of(address), embedded::permits(address, &known(), |inner| any(inner.is_loopback())))
    };
    hidden => |u| {
        let mut found = embedded::embedded_ipv4s(u.ipv6(), &known());
        keep((found.is_complete(), found.as_slice().len(), found.len()));
        keep(found.next());
        (any(Form::Isatap).as_str(), any(Form::Isatap).rfc(), any(Role::Embedded).as_str(),
         embedded::classify(&u.ipv6()) == any(Kind::Other))
    };
    translation => |u| {
        let prefix = any(Nat64Prefix::new(u.prefix()))?;
        Some((prefix.prefix(), prefix.embed(u.ipv4()), prefix.embedded_ipv4(&u.ipv6())))
    };
    sixrd => |u| {
        keep((Domain::long(u.prefix(), u.ipv4_prefix()).is_ok(), Domain::around(u.prefix(), u.value(), u.ipv4()).is_ok()));
        let domain = domain(u)?;
        keep((domain.prefix(), domain.common(), domain.ipv4_mask_len(), domain.delegated_length()));
        Some((domain.delegated(u.ipv4()), domain.embedded_ipv4(&u.ipv6()), domain.anycast(u.ipv4())))
    };
    sixtofour => |u| {
        let ipv4 = u.ipv4();
        keep((sixtofour::addr::site(ipv4), sixtofour::addr::subnet(ipv4, u.value())));
        keep((sixtofour::addr::host_router(ipv4), sixtofour::addr::relay(ipv4), sixtofour::addr::embedded_ipv4(&u.ipv6())));
        (sixtofour::addr::directaccess_prefixes(ipv4), sixtofour::addr::directaccess_prefixes_ula(&u.prefix()))
    };
    teredo => |u| {
        let flags = any(teredo::Flags::from_random(u.value()));
        keep((flags.random(), flags.has_reserved(), teredo::is_cone(&u.ipv6()), teredo::read_identifier(&u.ipv6())));
        keep((teredo::prefix_of(u.ipv4()), teredo::link_local(flags, u.value(), u.ipv4()),
             teredo::server_link_local(u.ipv4()), teredo::obfuscate_port(u.value()), teredo::obfuscate_ipv4(u.ipv4())));
        keep(teredo::Address::from_obsolete_ipv6(&u.ipv6()));
        teredo::Address::from_ipv6(&u.ipv6()).map(|address| any(address).to_ipv6())
    };
}
