//! What a node would refuse in tunnelled packets, as far as a look at one
//! packet shows it.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::layer::{Trailer, Udp};
use super::walk::is_server_port;
use super::warning::{Warning, Warnings};
use crate::prefix::{is_never_unicast, is_private, is_refused_inner_source};
use crate::teredo::packet::Datagram;
use crate::wire::ipv6;
use crate::{isatap, sixtofour, teredo};

/// The ingress rules of the protocol-41 mechanisms.
pub(super) fn protocol41(
    header: &ipv6::Header<'_>,
    outer_source: Ipv4Addr,
    outer_destination: Ipv4Addr,
    warnings: &mut Warnings,
) {
    let (source, destination) = (header.source(), header.destination());
    warnings.add_if(is_never_unicast(outer_source), Warning::OuterSource);
    warnings.add_if(is_never_unicast(outer_destination), Warning::OuterDestination);
    warnings.add_if(is_refused_inner_source(&source), Warning::InnerSource);
    let of_isatap = isatap::addr::embedded_ipv4(&source);
    let of_6to4 = sixtofour::addr::embedded_ipv4(&source);
    // ISA-42 [RFC 5214 §7.3], S64-20 [RFC 3964 §5.2]: of two forms in one
    // address one that agrees is enough, the other mechanism may have it.
    if of_isatap != Some(outer_source) && of_6to4 != Some(outer_source) {
        warnings.add_if(of_6to4.is_some(), Warning::SixToFourSource);
        warnings.add_if(of_6to4.is_none() && of_isatap.is_some(), Warning::IsatapSource);
    }
    let to_6to4 = sixtofour::addr::embedded_ipv4(&destination);
    warnings.add_if(
        to_6to4.is_some_and(|ipv4| ipv4 != outer_destination)
            && isatap::addr::embedded_ipv4(&destination) != Some(outer_destination),
        Warning::SixToFourDestination,
    );
    // S64-14 [RFC 3056 §9, 3964 §5.3.2]
    let is_refused = |ipv4: Option<Ipv4Addr>| ipv4.is_some_and(is_not_global);
    warnings.add_if(is_refused(of_6to4) || is_refused(to_6to4), Warning::SixToFourPrivate);
}

/// The rules for Teredo addresses; `sender` is where the datagram is from.
pub(super) fn teredo(
    header: &ipv6::Header<'_>,
    sender: Option<(Ipv4Addr, u16)>,
    has_origin: bool,
    warnings: &mut Warnings,
) {
    warnings.add_if(header.source().is_multicast(), Warning::InnerSource);
    let source = read(&header.source(), warnings);
    read(&header.destination(), warnings);
    // TER-39 [RFC 4380 §5.2.3]: what a server passes on says where it is
    // from, and inside of a NAT nobody sees the mapped address.
    if let (Some(source), Some((ipv4, port))) = (source, sender) {
        let is_direct = !has_origin && port != teredo::addr::SERVER_PORT && !is_not_global(ipv4);
        warnings.add_if(is_direct && (source.client, source.port) != (ipv4, port), Warning::TeredoSource);
    }
}

fn read(address: &Ipv6Addr, warnings: &mut Warnings) -> Option<teredo::addr::Address> {
    let obsolete = teredo::addr::Address::from_obsolete_ipv6(address);
    warnings.add_if(obsolete.is_some(), Warning::TeredoObsolete);
    let read = teredo::addr::Address::from_ipv6(address).or(obsolete)?;
    warnings.add_if(read.flags.has_reserved(), Warning::TeredoFlags);
    warnings.add_if(read.port == 0, Warning::TeredoPort);
    let is_refused = |ipv4: Ipv4Addr| is_not_global(ipv4) || ipv4.to_bits() >> 8 == 0xc0_5863;
    warnings.add_if(is_refused(read.server) || is_refused(read.client), Warning::TeredoAddress);
    Some(read)
}

/// Trailers that decide on the packet. [RFC 6081 §4]
pub(super) fn trailer(trailer: &Trailer<'_>, warnings: &mut Warnings) {
    warnings.add_if(trailer.name() == "unknown" && trailer.trailer_type >> 6 == 1, Warning::TrailerDiscard);
    // TER-21 [RFC 6081 §5.6.4.2]
    let list = trailer.read_alternates();
    warnings.add_if(list.is_some_and(|list| list.addresses().is_err()), Warning::AlternateAddress);
}

/// Whether a datagram is Teredo: by the server's port, or because an IPv6
/// packet with a Teredo address is in it. Clients and relays speak to each
/// other at any port.
pub(super) fn is_teredo(udp: &Udp, payload: &[u8]) -> bool {
    if payload.is_empty() {
        return false;
    }
    if is_server_port(udp) {
        return true;
    }
    let Ok(datagram) = Datagram::parse(payload) else { return false };
    let Ok(header) = ipv6::Header::parse(datagram.ipv6()) else { return false };
    let is_teredo =
        |address: Ipv6Addr| teredo::addr::PREFIX.contains(&address) || teredo::addr::OBSOLETE_PREFIX.contains(&address);
    is_teredo(header.source()) || is_teredo(header.destination())
}

/// What 6to4 and Teredo refuse; documentation addresses may pass, for tests
/// and textbooks. [RFC 3964 §5.3.1, RFC 4380 §5.2.4]
fn is_not_global(ipv4: Ipv4Addr) -> bool {
    let bits = ipv4.to_bits();
    is_never_unicast(ipv4) || is_private(ipv4) || bits >> 16 == 0xa9fe || bits >> 22 == 0x6440_0000 >> 22
}
