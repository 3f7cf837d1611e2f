//! Layers as text.

use core::fmt::{self, Formatter};

use super::layer::{Content, Extension, Icmp, Ipv6Beginning, Layer, NdBody, Tcp, Trailer};
use super::walk::Layers;
use crate::error::ParseError;
use crate::isatap::addr::Dotted;
use crate::nd::message::{NeighborFlags, RouterFlags};
use crate::nd::option::{NdOption, PrefixFlags, RawOption};
use crate::route::Preference;
use crate::wire::icmpv6::Unreachable;
use crate::wire::{ipv6, protocol};

/// A packet as text: `{}` gives one line, `{:#}` a line a layer, with options
/// and warnings below.
#[derive(Clone, Copy, Debug)]
pub struct Packet<'a>(pub &'a [u8]);

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (index, layer) in Layers::new(self.0).enumerate() {
            if f.alternate() {
                if index > 0 {
                    f.write_str("\n")?;
                }
                write!(f, "{layer:#}")?;
            } else {
                if index > 0 {
                    f.write_str(" | ")?;
                }
                write!(f, "{layer}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Layer<'_> {
    /// One line; with `#` indented by its depth, options and warnings on
    /// lines of their own.
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !f.alternate() {
            fmt::Display::fmt(&self.content, f)?;
            if let Content::NeighborDiscovery(message) = &self.content {
                for option in message.options() {
                    f.write_str(", ")?;
                    write_option(f, &option, message.is_cut())?;
                }
            }
            return Ok(());
        }
        indent(f, self.depth, "")?;
        fmt::Display::fmt(&self.content, f)?;
        if let Content::NeighborDiscovery(message) = &self.content {
            for option in message.options() {
                f.write_str("\n")?;
                indent(f, self.depth, "  option ")?;
                write_option(f, &option, message.is_cut())?;
            }
        }
        for warning in self.warnings.iter() {
            f.write_str("\n")?;
            indent(f, self.depth, "  ! ")?;
            fmt::Display::fmt(&warning, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Content<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Content::Ipv4(header) => {
                write!(f, "IPv4 {} -> {}, protocol ", header.source(), header.destination())?;
                write_protocol(f, header.protocol())?;
                write!(f, ", TTL {}, {} bytes", header.ttl(), header.total_length())?;
                write_class(f, "TOS", header.tos())?;
                if header.dont_fragment() {
                    f.write_str(", DF")?;
                }
                if header.is_fragment() {
                    let offset = u32::from(header.fragment_offset()).saturating_mul(8);
                    write!(f, ", fragment {:#06x} at {offset}", header.identification())?;
                    f.write_str(if header.more_fragments() { ", more follow" } else { ", the last" })?;
                }
                match header.options().len() {
                    0 => Ok(()),
                    len => write!(f, ", {len} bytes of options"),
                }
            }
            Content::Ipv6(header) => {
                write!(f, "IPv6 {} -> {}", Dotted(header.source()), Dotted(header.destination()))?;
                if header.payload_length() == 0 && header.next_header() == protocol::NO_NEXT_HEADER {
                    // What Teredo calls a bubble.
                    f.write_str(", next header 59 (none)")?;
                } else {
                    f.write_str(", next header ")?;
                    write_protocol(f, header.next_header())?;
                }
                write!(f, ", hop limit {}, {} bytes of payload", header.hop_limit(), header.payload_length())?;
                write_class(f, "traffic class", header.traffic_class())?;
                match header.flow_label() {
                    0 => Ok(()),
                    label => write!(f, ", flow label {label:#07x}"),
                }
            }
            Content::Extension(extension) => write_extension(f, extension),
            Content::Fragment(fragment) => {
                write!(f, "Fragment {:#010x} at {}", fragment.identification, fragment.offset)?;
                f.write_str(if fragment.more { ", more follow, next header " } else { ", the last, next header " })?;
                write_protocol(f, fragment.next_header)
            }
            Content::Udp(udp) => {
                write!(f, "UDP {} -> {}, {} bytes", udp.source, udp.destination, udp.length)?;
                if udp.checksum == 0 { f.write_str(", no checksum") } else { Ok(()) }
            }
            Content::Tcp(tcp) => write_tcp(f, tcp),
            Content::Icmpv4(message) => write_icmpv4(f, message),
            Content::Icmpv6(message) => write_icmpv6(f, message),
            Content::NeighborDiscovery(message) => write_neighbor_discovery(f, &message.body),
            Content::TeredoAuthentication(auth) => {
                f.write_str("Teredo authentication, nonce ")?;
                write_hex(f, &auth.nonce)?;
                if !auth.client_id.is_empty() {
                    f.write_str(", client id ")?;
                    write_hex(f, auth.client_id)?;
                }
                if !auth.value.is_empty() {
                    f.write_str(", value ")?;
                    write_hex(f, auth.value)?;
                }
                match auth.confirmation {
                    0 => Ok(()),
                    other => write!(f, ", confirmation {other}: get a new key"),
                }
            }
            Content::TeredoOrigin(origin) => write!(f, "Teredo origin {}:{}", origin.address, origin.port),
            Content::TeredoTrailer(trailer) => write_trailer(f, trailer),
            Content::Data(data) => {
                write!(f, "{} bytes", data.bytes.len())?;
                if let Some(number) = data.protocol {
                    f.write_str(" of protocol ")?;
                    write_protocol(f, number)?;
                }
                f.write_str(": ")?;
                write_hex(f, data.bytes)
            }
            Content::Cut(cut) => {
                write!(f, "cut here, {} bytes of the {}", cut.bytes.len(), cut.layer)?;
                if cut.bytes.is_empty() {
                    return Ok(());
                }
                f.write_str(": ")?;
                match cut.ipv6() {
                    Some(header) => write_ipv6_beginning(f, &header),
                    None => write_hex(f, cut.bytes),
                }
            }
            Content::Malformed(malformed) => {
                write!(f, "malformed, {}", malformed.error)?;
                if malformed.bytes.is_empty() {
                    return Ok(());
                }
                f.write_str(": ")?;
                write_hex(f, malformed.bytes)
            }
        }
    }
}

/// As a whole header, without what is cut off.
fn write_ipv6_beginning(f: &mut Formatter<'_>, header: &Ipv6Beginning<'_>) -> fmt::Result {
    match header.source {
        Some(source) => write!(f, "{} -> ", Dotted(source))?,
        None if header.rest.is_empty() => f.write_str("no addresses")?,
        None => f.write_str("source ")?,
    }
    write_hex(f, header.rest)?;
    if header.source.is_some() || !header.rest.is_empty() {
        f.write_str("…")?;
    }
    f.write_str(", next header ")?;
    write_protocol(f, header.next_header)?;
    write!(f, ", hop limit {}, {} bytes of payload", header.hop_limit, header.payload_length)?;
    write_class(f, "traffic class", header.traffic_class)?;
    match header.flow_label {
        0 => Ok(()),
        label => write!(f, ", flow label {label:#07x}"),
    }
}

fn write_extension(f: &mut Formatter<'_>, extension: &Extension<'_>) -> fmt::Result {
    let name = match extension.protocol {
        protocol::HOP_BY_HOP => "Hop-by-hop options",
        protocol::ROUTING => "Routing header",
        protocol::DESTINATION_OPTIONS => "Destination options",
        protocol::AUTHENTICATION => "Authentication header",
        protocol::MOBILITY => "Mobility header",
        protocol::HOST_IDENTITY => "Host identity header",
        _ => "Shim6 header",
    };
    f.write_str(name)?;
    if let Some((routing_type, segments_left)) = extension.routing() {
        write!(f, ", type {routing_type}, {segments_left} segments left")?;
    }
    if let Some(length) = extension.jumbo_payload() {
        write!(f, ", jumbo payload of {length} bytes")?;
    }
    write!(f, ", {} bytes, next header ", extension.bytes.len())?;
    write_protocol(f, extension.next_header)
}

fn write_tcp(f: &mut Formatter<'_>, tcp: &Tcp) -> fmt::Result {
    write!(f, "TCP {} -> {}", tcp.source, tcp.destination)?;
    let names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
    let mut separator = ", ";
    for (bit, name) in names.into_iter().enumerate() {
        if tcp.flags.checked_shr(u32::try_from(bit).unwrap_or(0)).unwrap_or(0) & 1 != 0 {
            write!(f, "{separator}{name}")?;
            separator = " ";
        }
    }
    write!(f, ", seq {}, ack {}, window {}", tcp.sequence, tcp.acknowledgment, tcp.window)
}

fn write_icmpv4(f: &mut Formatter<'_>, message: &Icmp<'_>) -> fmt::Result {
    let (identifier, sequence) = message.echo();
    match (message.message_type, message.code) {
        (0, _) => write!(f, "ICMPv4 echo reply, id {identifier}, seq {sequence}"),
        (8, _) => write!(f, "ICMPv4 echo request, id {identifier}, seq {sequence}"),
        // The MTU is where an echo has its sequence number.
        (3, 4) => write!(f, "ICMPv4 fragmentation needed, next-hop MTU {sequence}, about"),
        (3, code) => {
            let what = match code {
                0 => "network",
                1 => "host",
                2 => "protocol",
                3 => "port",
                9 | 10 | 13 => "administratively prohibited, destination",
                _ => "destination",
            };
            write!(f, "ICMPv4 {what} unreachable (code {code}), about")
        }
        (5, _) => {
            let [a, b, c, d] = message.header_data;
            write!(f, "ICMPv4 redirect to {a}.{b}.{c}.{d}, about")
        }
        (11, 0) => f.write_str("ICMPv4 TTL exceeded, about"),
        (11, _) => f.write_str("ICMPv4 reassembly time exceeded, about"),
        (12, _) => {
            let [pointer, ..] = message.header_data;
            write!(f, "ICMPv4 parameter problem at byte {pointer}, about")
        }
        (message_type, code) => write!(f, "ICMPv4 type {message_type}, code {code}"),
    }
}

fn write_icmpv6(f: &mut Formatter<'_>, message: &Icmp<'_>) -> fmt::Result {
    let (identifier, sequence) = message.echo();
    match (message.message_type, message.code) {
        (1, code) => {
            let what = match Unreachable::from_code(code) {
                Some(Unreachable::NoRoute) => "no route",
                Some(Unreachable::Prohibited) => "administratively prohibited",
                Some(Unreachable::Address) => "address unreachable",
                Some(Unreachable::Port) => "port unreachable",
                _ => "destination unreachable",
            };
            write!(f, "ICMPv6 {what} (code {code}), about")
        }
        (2, _) => write!(f, "ICMPv6 packet too big, MTU {}, about", message.word()),
        (3, 0) => f.write_str("ICMPv6 hop limit exceeded, about"),
        (3, _) => f.write_str("ICMPv6 reassembly time exceeded, about"),
        (4, code) => write!(f, "ICMPv6 parameter problem (code {code}) at byte {}, about", message.word()),
        (128, _) => write!(f, "ICMPv6 echo request, id {identifier}, seq {sequence}"),
        (129, _) => write!(f, "ICMPv6 echo reply, id {identifier}, seq {sequence}"),
        (130 | 131 | 132 | 143, _) => {
            write!(f, "ICMPv6 multicast listener message, type {}", message.message_type)
        }
        (message_type, code) => write!(f, "ICMPv6 type {message_type}, code {code}"),
    }
}

fn write_neighbor_discovery(f: &mut Formatter<'_>, body: &NdBody) -> fmt::Result {
    match body {
        NdBody::RouterSolicitation => f.write_str("Router Solicitation"),
        NdBody::RouterAdvertisement {
            cur_hop_limit,
            flags,
            preference,
            router_lifetime,
            reachable_time,
            retrans_timer,
        } => {
            write!(f, "Router Advertisement, lifetime {}s", router_lifetime.as_secs())?;
            if !router_lifetime.is_zero() {
                write!(f, ", preference {}", preference_name(*preference))?;
            }
            for (flag, name) in [
                (RouterFlags::MANAGED, ", managed"),
                (RouterFlags::OTHER, ", other configuration"),
                (RouterFlags::HOME_AGENT, ", home agent"),
            ] {
                if flags.contains(flag) {
                    f.write_str(name)?;
                }
            }
            if *cur_hop_limit != 0 {
                write!(f, ", hop limit {cur_hop_limit}")?;
            }
            if *reachable_time != 0 {
                write!(f, ", reachable time {reachable_time} ms")?;
            }
            if *retrans_timer != 0 {
                write!(f, ", retransmission {retrans_timer} ms")?;
            }
            Ok(())
        }
        NdBody::NeighborSolicitation { target } => write!(f, "Neighbor Solicitation for {}", Dotted(*target)),
        NdBody::NeighborAdvertisement { flags, target } => {
            write!(f, "Neighbor Advertisement of {}", Dotted(*target))?;
            for (flag, name) in [
                (NeighborFlags::ROUTER, ", router"),
                (NeighborFlags::SOLICITED, ", solicited"),
                (NeighborFlags::OVERRIDE, ", override"),
            ] {
                if flags.contains(flag) {
                    f.write_str(name)?;
                }
            }
            Ok(())
        }
        NdBody::Redirect { target, destination } => {
            write!(f, "Redirect: {} is better reached by {}", Dotted(*destination), Dotted(*target))
        }
    }
}

fn write_option(f: &mut Formatter<'_>, option: &Result<NdOption<'_>, ParseError>, is_cut: bool) -> fmt::Result {
    match option {
        Ok(NdOption::SourceLinkLayerAddress(option)) => {
            f.write_str("source link-layer address ")?;
            write_hex(f, option.address)
        }
        Ok(NdOption::TargetLinkLayerAddress(option)) => {
            f.write_str("target link-layer address ")?;
            write_hex(f, option.address)
        }
        Ok(NdOption::PrefixInformation(option)) => {
            write!(f, "prefix {}", option.prefix)?;
            for (flag, name) in [
                (PrefixFlags::ON_LINK, ", on-link"),
                (PrefixFlags::AUTONOMOUS, ", autonomous"),
                (PrefixFlags::ROUTER_ADDRESS, ", router address"),
            ] {
                if option.flags.contains(flag) {
                    f.write_str(name)?;
                }
            }
            write!(f, ", valid {}, preferred {}", option.valid_lifetime, option.preferred_lifetime)
        }
        Ok(NdOption::RedirectedHeader(option)) => {
            write!(f, "redirected packet of {} bytes", option.packet.len())?;
            match ipv6::Header::parse_quoted(option.packet) {
                Ok(header) => write!(f, ", {} -> {}", Dotted(header.source()), Dotted(header.destination())),
                Err(_) => Ok(()),
            }
        }
        Ok(NdOption::Mtu(mtu)) => write!(f, "MTU {}", mtu.0),
        Ok(NdOption::RouteInformation(route)) => {
            write!(
                f,
                "route {}, preference {}, lifetime {}",
                route.prefix,
                preference_name(route.preference),
                route.lifetime
            )
        }
        Ok(NdOption::RecursiveDnsServers(servers)) => {
            f.write_str("DNS servers")?;
            for server in servers.addresses() {
                write!(f, " {server}")?;
            }
            write!(f, ", lifetime {}", servers.lifetime())
        }
        Ok(NdOption::DnsSearchList(list)) => {
            f.write_str("DNS search")?;
            for name in list.names() {
                write!(f, " {name}")?;
            }
            write!(f, ", lifetime {}", list.lifetime())
        }
        Ok(NdOption::Unusable(raw)) => write_raw(f, "unusable option", raw),
        Ok(NdOption::Unknown(raw)) => write_raw(f, "unknown option", raw),
        Err(_) if is_cut => f.write_str("cut here"),
        Err(error) => write!(f, "malformed, {error}"),
    }
}

fn write_raw(f: &mut Formatter<'_>, what: &str, raw: &RawOption<'_>) -> fmt::Result {
    write!(f, "{what} {}: ", raw.option_type())?;
    write_hex(f, raw.body())
}

fn write_trailer(f: &mut Formatter<'_>, trailer: &Trailer<'_>) -> fmt::Result {
    match trailer.name() {
        "nonce" => {
            f.write_str("Teredo nonce trailer ")?;
            write_hex(f, trailer.value)
        }
        "alternate-address" => {
            f.write_str("Teredo alternate addresses")?;
            for (address, port) in trailer.alternates() {
                write!(f, " {address}:{port}")?;
            }
            Ok(())
        }
        "neighbor-discovery-option" => match trailer.value {
            [0, ..] => f.write_str("Teredo neighbor discovery trailer, solicitation"),
            [1, ..] => f.write_str("Teredo neighbor discovery trailer, advertisement"),
            _ => f.write_str("Teredo neighbor discovery trailer"),
        },
        "random-port" => write!(f, "Teredo random port trailer {}", trailer.port().unwrap_or(0)),
        _ => {
            write!(f, "Teredo trailer of type {}: ", trailer.trailer_type)?;
            write_hex(f, trailer.value)
        }
    }
}

fn write_class(f: &mut Formatter<'_>, name: &str, class: u8) -> fmt::Result {
    if class == 0 { Ok(()) } else { write!(f, ", {name} {class:#04x}") }
}

fn write_protocol(f: &mut Formatter<'_>, number: u8) -> fmt::Result {
    let name = match number {
        protocol::HOP_BY_HOP => "hop-by-hop options",
        protocol::ICMPV4 => "ICMPv4",
        protocol::IPV4 => "IPv4",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::IPV6 => "IPv6",
        protocol::ROUTING => "routing",
        protocol::FRAGMENT => "fragment",
        47 => "GRE",
        protocol::ESP => "ESP",
        protocol::AUTHENTICATION => "AH",
        protocol::ICMPV6 => "ICMPv6",
        protocol::NO_NEXT_HEADER => "none",
        protocol::DESTINATION_OPTIONS => "destination options",
        89 => "OSPF",
        103 => "PIM",
        132 => "SCTP",
        protocol::MOBILITY => "mobility",
        _ => return write!(f, "{number}"),
    };
    write!(f, "{number} ({name})")
}

/// At most 16 bytes; a longer text helps nobody.
fn write_hex(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const SHOWN: usize = 16;
    for byte in bytes.iter().take(SHOWN) {
        write!(f, "{byte:02x}")?;
    }
    if bytes.len() > SHOWN { f.write_str("…") } else { Ok(()) }
}

fn indent(f: &mut Formatter<'_>, depth: u8, then: &str) -> fmt::Result {
    for _ in 0..depth {
        f.write_str("  ")?;
    }
    f.write_str(then)
}

const fn preference_name(preference: Preference) -> &'static str {
    match preference {
        Preference::High => "high",
        Preference::Medium => "medium",
        Preference::Low => "low",
    }
}
