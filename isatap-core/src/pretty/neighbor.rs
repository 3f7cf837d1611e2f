//! Neighbor Discovery messages, also those that a node would discard.

use core::net::Ipv6Addr;

use super::layer::{NdBody, NeighborDiscovery};
use super::warning::{Warning, Warnings};
use crate::error::{Layer, ParseError, ParseErrorKind};
use crate::nd::message::{NeighborFlags, RouterFlags};
use crate::nd::option::{NdOption, PrefixFlags, RawOption, option_type};
use crate::prefix::Ipv6Prefix;
use crate::route::Preference;
use crate::time::{Duration, Lifetime};
use crate::wire::field::{ipv6_at, u8_at, u16_at, u32_at};
use crate::wire::icmpv6::Message as Icmpv6;

/// The message, whatever its code and its options.
pub(super) fn read(icmpv6: &[u8]) -> Result<NeighborDiscovery<'_>, ParseError> {
    let too_short = ParseError::new(Layer::NeighborDiscovery, ParseErrorKind::Truncated, icmpv6.len());
    let (body, len) = match icmpv6.first().copied() {
        Some(Icmpv6::ROUTER_SOLICITATION) => {
            icmpv6.first_chunk::<8>().ok_or(too_short)?;
            (NdBody::RouterSolicitation, 8)
        }
        Some(Icmpv6::ROUTER_ADVERTISEMENT) => (advertisement(icmpv6.first_chunk().ok_or(too_short)?), 16),
        Some(Icmpv6::NEIGHBOR_SOLICITATION) => {
            let fixed: &[u8; 24] = icmpv6.first_chunk().ok_or(too_short)?;
            (NdBody::NeighborSolicitation { target: ipv6_at::<8, 24>(fixed) }, 24)
        }
        Some(Icmpv6::NEIGHBOR_ADVERTISEMENT) => {
            let fixed: &[u8; 24] = icmpv6.first_chunk().ok_or(too_short)?;
            let flags = NeighborFlags::from_bits_retain(u32_at::<4, 24>(fixed));
            (NdBody::NeighborAdvertisement { flags, target: ipv6_at::<8, 24>(fixed) }, 24)
        }
        Some(Icmpv6::REDIRECT) => {
            let fixed: &[u8; 40] = icmpv6.first_chunk().ok_or(too_short)?;
            (NdBody::Redirect { target: ipv6_at::<8, 40>(fixed), destination: ipv6_at::<24, 40>(fixed) }, 40)
        }
        _ => return Err(ParseError::new(Layer::NeighborDiscovery, ParseErrorKind::Type, 0)),
    };
    let options = icmpv6.get(len..).unwrap_or(&[]);
    Ok(NeighborDiscovery { body, options, options_offset: len, is_cut: false })
}

fn advertisement(fixed: &[u8; 16]) -> NdBody {
    let flags = u8_at::<5, 16>(fixed);
    NdBody::RouterAdvertisement {
        cur_hop_limit: u8_at::<4, 16>(fixed),
        flags: RouterFlags::from_bits_retain(flags & !Preference::MASK),
        preference: Preference::from_flags(flags).unwrap_or_default(),
        router_lifetime: Duration::from_secs(u64::from(u16_at::<6, 16>(fixed))),
        reachable_time: u32_at::<8, 16>(fixed),
        retrans_timer: u32_at::<12, 16>(fixed),
    }
}

/// The rules that need the message and the addresses of its packet only.
pub(super) fn check(
    message: &NeighborDiscovery<'_>,
    icmpv6: &[u8],
    addresses: &(Ipv6Addr, Ipv6Addr),
    warnings: &mut Warnings,
) {
    let (source, destination) = *addresses;
    // NDP-20 [RFC 4861 §6.1, 7.1, 8.1]
    warnings.add_if(icmpv6.get(1).is_some_and(|code| *code != 0), Warning::NdCode);
    let is_anonymous_with_address = source.is_unspecified() && has_link_layer(message);
    match message.body {
        NdBody::RouterSolicitation => warnings.add_if(is_anonymous_with_address, Warning::NdAddresses),
        // NDP-21 [RFC 4861 §6.1.2]
        NdBody::RouterAdvertisement { .. } => warnings.add_if(!is_link_local(&source), Warning::RaSource),
        NdBody::NeighborSolicitation { target } => {
            // NDP-22 [RFC 4861 §7.1.1]
            let is_wrong_probe = source.is_unspecified() && !is_solicited_node(&destination);
            let is_wrong = target.is_multicast() || is_wrong_probe || is_anonymous_with_address;
            warnings.add_if(is_wrong, Warning::NdAddresses);
        }
        NdBody::NeighborAdvertisement { flags, target } => {
            let is_answer_to_all = destination.is_multicast() && flags.contains(NeighborFlags::SOLICITED);
            warnings.add_if(target.is_multicast() || is_answer_to_all, Warning::NdAddresses);
        }
        NdBody::Redirect { target, destination } => {
            // NDP-24 [RFC 4861 §8.1]
            warnings.add_if(!is_link_local(&source), Warning::RedirectSource);
            let is_wrong = destination.is_multicast() || !is_link_local(&target) && target != destination;
            warnings.add_if(is_wrong, Warning::NdAddresses);
        }
    }
    for (index, option) in message.options().enumerate() {
        match option {
            Ok(option) => self::option(&option, warnings),
            // NDP-5 [RFC 4861 §4.6]
            Err(_) => warnings.add(Warning::NdOption),
        }
        // NDP-12 [RFC 4191 §2.3]: as many as an advertisement has room for are
        // few enough to compare each with each, but not without an end.
        if let (Ok(NdOption::RouteInformation(route)), true) = (option, index < 32) {
            let is_same = |earlier: Result<NdOption<'_>, ParseError>| matches!(earlier, Ok(NdOption::RouteInformation(earlier)) if earlier.prefix == route.prefix);
            warnings.add_if(message.options().take(index).any(is_same), Warning::RouteTwice);
        }
    }
}

/// Whether an option with a link-layer address is there.
pub(super) fn has_link_layer(message: &NeighborDiscovery<'_>) -> bool {
    message
        .options()
        .flatten()
        .any(|option| matches!(option, NdOption::SourceLinkLayerAddress(_) | NdOption::TargetLinkLayerAddress(_)))
}

fn option(option: &NdOption<'_>, warnings: &mut Warnings) {
    match option {
        NdOption::PrefixInformation(prefix) => {
            let is_autonomous = prefix.flags.contains(PrefixFlags::AUTONOMOUS);
            warnings.add_if(is_autonomous && prefix.prefix.length() != 64, Warning::PrefixLength);
            warnings.add_if(is_longer(prefix.preferred_lifetime, prefix.valid_lifetime), Warning::PrefixLifetimes);
            let link_local = Ipv6Prefix::new(Ipv6Prefix::LINK_LOCAL.address(), 10);
            warnings.add_if(
                link_local.is_some_and(|link_local| link_local.covers(&prefix.prefix)),
                Warning::PrefixLinkLocal,
            );
        }
        NdOption::Mtu(mtu) => warnings.add_if(mtu.0 < 1280, Warning::MtuOption),
        NdOption::Unusable(raw) => warnings.add(rule_of(raw)),
        _ => {}
    }
}

/// The rule that an unusable option of this type breaks.
fn rule_of(raw: &RawOption<'_>) -> Warning {
    match raw.option_type() {
        option_type::PREFIX_INFORMATION => Warning::PrefixOption,
        option_type::ROUTE_INFORMATION => Warning::RouteOption,
        option_type::MTU => Warning::MtuOption,
        option_type::RECURSIVE_DNS_SERVERS | option_type::DNS_SEARCH_LIST => Warning::DnsOption,
        _ => Warning::NdOption,
    }
}

fn is_longer(one: Lifetime, other: Lifetime) -> bool {
    one.secs() > other.secs()
}

fn is_link_local(address: &Ipv6Addr) -> bool {
    address.is_unicast_link_local()
}

/// `ff02::1:ff00:0/104`. [RFC 4291 §2.7.1]
fn is_solicited_node(address: &Ipv6Addr) -> bool {
    matches!(address.segments(), [0xff02, 0, 0, 0, 0, 1, last, _] if last >> 8 == 0xff)
}
