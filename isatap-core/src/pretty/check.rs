//! What a node would refuse in tunnelled packets, as far as a look at one
//! packet shows it.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::layer::{Trailer, Udp};
use super::walk::is_server_port;
use super::warning::{Warning, Warnings};
use crate::prefix::{is_ambiguous, is_never_unicast, is_refused_inner_source};
use crate::teredo::packet;
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
    let is_other = of_isatap != Some(outer_source) && of_6to4 != Some(outer_source);
    warnings.add_if(is_other && of_6to4.is_some(), Warning::SixToFourSource);
    let to_6to4 = sixtofour::addr::embedded_ipv4(&destination);
    warnings.add_if(
        to_6to4.is_some_and(|ipv4| ipv4 != outer_destination)
            && isatap::addr::embedded_ipv4(&destination) != Some(outer_destination),
        Warning::SixToFourDestination,
    );
    // S64-14 [RFC 3056 §9, 3964 §5.3.2]
    let is_refused = |ipv4: Option<Ipv4Addr>| ipv4.is_some_and(is_not_global);
    warnings.add_if(is_refused(of_6to4) || is_refused(to_6to4), Warning::SixToFourPrivate);
    // What no node accepts needs no word on who would.
    let is_lost = [
        Warning::OuterSource,
        Warning::OuterDestination,
        Warning::InnerSource,
        Warning::SixToFourDestination,
        Warning::SixToFourPrivate,
    ];
    let is_lost = is_lost.into_iter().any(|warning| warnings.contains(warning));
    warnings.add_if(is_other && of_6to4.is_none() && of_isatap.is_some() && !is_lost, Warning::IsatapSource);
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
    let is_usable = teredo::ingress::is_global_unicast;
    warnings.add_if(!is_usable(read.server) || !is_usable(read.client), Warning::TeredoAddress);
    Some(read)
}

/// Trailers that decide on the packet. [RFC 6081 §4]
pub(super) fn trailer(trailer: &Trailer<'_>, warnings: &mut Warnings) {
    warnings.add_if(trailer.name() == "unknown" && trailer.trailer_type >> 6 == 1, Warning::TrailerDiscard);
    // TER-21 [RFC 6081 §5.6.4.2]
    let list = trailer.read_alternates();
    warnings.add_if(list.is_some_and(|list| list.addresses().is_err()), Warning::AlternateAddress);
}

/// Whether a datagram is Teredo, by its structure: an IPv6 packet with a Teredo
/// address, behind what may stand in front of one. Clients and relays speak to
/// each other at any port; with a server also from link-local addresses. The
/// server's port alone says nothing: DNS and others may have it. [RFC 4380 §5.1.1]
pub(super) fn is_teredo(udp: &Udp, payload: &[u8], is_partial: bool) -> bool {
    let with_server = is_server_port(udp);
    let mut rest = payload;
    if let [0, 1, ..] = rest {
        match packet::Authentication::parse(rest) {
            // TER-12: no other confirmation is defined.
            Ok((header, _)) if with_server && header.confirmation <= 1 => return true,
            Ok((_, len)) => rest = rest.get(len..).unwrap_or(&[]),
            Err(_) => return with_server && is_partial,
        }
    }
    if let [0, 0, ..] = rest {
        rest = rest.get(packet::ORIGIN_LEN..).unwrap_or(&[]);
    }
    match ipv6::Header::parse_quoted(rest) {
        Ok(header) => {
            let is_teredo = |address: Ipv6Addr| {
                teredo::addr::PREFIX.contains(&address) || teredo::addr::OBSOLETE_PREFIX.contains(&address)
            };
            let is_whole = is_partial || with_server || header.packet_len() <= rest.len();
            let is_local = with_server && header.source().is_unicast_link_local();
            is_whole && (is_teredo(header.source()) || is_teredo(header.destination()) || is_local)
        }
        Err(_) => with_server && is_partial && rest.first().is_some_and(|first| first >> 4 == 6),
    }
}

/// What 6to4 and Teredo refuse; documentation addresses may pass, for tests
/// and textbooks. [RFC 3964 §5.3.1, RFC 4380 §5.2.4]
fn is_not_global(ipv4: Ipv4Addr) -> bool {
    is_never_unicast(ipv4) || is_ambiguous(ipv4)
}
