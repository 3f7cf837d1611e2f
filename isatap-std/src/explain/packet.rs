//! What a packet is.

use std::fmt;
use std::time::Duration;

use isatap_core::error::ParseError;
use isatap_core::nd::message::{NeighborFlags, RouterFlags};
use isatap_core::nd::option::{NdOption, PrefixFlags};
use isatap_core::pretty::{Content, Icmp, Ipv6Beginning, Layer, Layers, NdBody, NeighborDiscovery, Trailer, Warning};
use isatap_core::route::Preference;
use isatap_core::wire::{ipv6, protocol};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};

use super::{FrameAnswer, Hex};

/// The layers of a packet, and what a node would stumble over.
///
/// As JSON: `{"n","time","layers":[{"kind",…}],"warnings":[{"requirement","text",…}]}`.
#[derive(Clone, Debug)]
pub struct PacketAnswer<'a> {
    /// Its number among the packets asked about, from 1.
    pub number: u64,
    /// When it was captured, since 1970 UTC.
    pub time: Option<Duration>,
    /// Why there is no IP packet to look into.
    pub not_ip: Option<String>,
    /// The frame that it was captured in.
    pub frame: Option<FrameAnswer>,
    layers: Vec<Layer<'a>>,
}

impl<'a> PacketAnswer<'a> {
    /// The answer about an IP packet of either version.
    #[must_use]
    pub fn new(number: u64, time: Option<Duration>, packet: &'a [u8]) -> Self {
        PacketAnswer { number, time, not_ip: None, frame: None, layers: Layers::new(packet).collect() }
    }

    /// The answer about a packet of which a capture kept the start only.
    #[must_use]
    pub fn of_beginning(number: u64, time: Option<Duration>, packet: &'a [u8]) -> Self {
        PacketAnswer { layers: Layers::of_beginning(packet).collect(), ..Self::new(number, time, &[]) }
    }

    /// The answer about a frame that holds no IP packet, and why.
    #[must_use]
    pub fn of_other(number: u64, time: Option<Duration>, why: String) -> Self {
        PacketAnswer { number, time, not_ip: Some(why), frame: None, layers: Vec::new() }
    }

    /// The same answer with the frame that the packet was captured in.
    #[must_use]
    pub fn in_frame(self, frame: FrameAnswer) -> Self {
        PacketAnswer { frame: Some(frame), ..self }
    }

    /// The layers, outer to inner.
    #[must_use]
    pub fn layers(&self) -> &[Layer<'a>] {
        &self.layers
    }

    /// All warnings, with the number of the layer that they are about.
    pub fn warnings(&self) -> impl Iterator<Item = WarningAnswer> + '_ {
        self.layers
            .iter()
            .enumerate()
            .flat_map(|(layer, found)| found.warnings.iter().map(move |warning| WarningAnswer { warning, layer }))
    }
}

/// Something that a node would stumble over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WarningAnswer {
    /// What.
    pub warning: Warning,
    /// In which layer, from 0.
    pub layer: usize,
}

impl fmt::Display for PacketAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "packet {}", self.number)?;
        if let Some(time) = self.time {
            write!(f, " at {}", Seconds(time))?;
        }
        if let Some(frame) = &self.frame {
            if frame.is_cut() {
                write!(f, ", captured {} of {} bytes", frame.captured, frame.length)?;
            }
            if let Some(tags) = frame.tags() {
                write!(f, "\n  {tags}")?;
            }
        }
        if let Some(why) = &self.not_ip {
            write!(f, "\n  {why}")?;
        }
        for layer in &self.layers {
            for line in format!("{layer:#}").lines() {
                write!(f, "\n  {line}")?;
            }
        }
        Ok(())
    }
}

/// Seconds with six decimals, nine if the last three say something.
struct Seconds(Duration);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = self.0.subsec_nanos();
        if nanos.is_multiple_of(1000) {
            write!(f, "{}.{:06}", self.0.as_secs(), nanos / 1000)
        } else {
            write!(f, "{}.{nanos:09}", self.0.as_secs())
        }
    }
}

impl Serialize for PacketAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("n", &self.number)?;
        map.serialize_entry("time", &self.time.map(|time| Seconds(time).to_string()))?;
        if let Some(frame) = &self.frame {
            map.serialize_entry("frame", frame)?;
        }
        if let Some(why) = &self.not_ip {
            map.serialize_entry("not_ip", why)?;
        }
        let layers: Vec<Json<&Layer<'_>>> = self.layers.iter().map(Json).collect();
        map.serialize_entry("layers", &layers)?;
        map.serialize_entry("warnings", &self.warnings().map(Json).collect::<Vec<_>>())?;
        map.end()
    }
}

/// One layer of a packet, as JSON: `{"kind",…,"offset"}`.
#[derive(Clone, Debug)]
pub struct LayerAnswer<'a>(pub Layer<'a>);

impl Serialize for LayerAnswer<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Json(&self.0).serialize(serializer)
    }
}

/// A type of the core as JSON.
struct Json<T>(T);

impl Serialize for Json<WarningAnswer> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let WarningAnswer { warning, layer } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("requirement", warning.requirement())?;
        map.serialize_entry("text", warning.describe())?;
        map.serialize_entry("name", warning.as_str())?;
        map.serialize_entry("layer", &layer)?;
        map.end()
    }
}

impl Serialize for Json<&Layer<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.0.content.kind())?;
        content(&self.0.content, &mut map)?;
        map.serialize_entry("offset", &self.0.offset)?;
        if self.0.is_quoted {
            map.serialize_entry("quoted", &true)?;
        }
        map.end()
    }
}

fn content<M: SerializeMap>(content: &Content<'_>, map: &mut M) -> Result<(), M::Error> {
    match content {
        Content::Ipv4(header) => {
            map.serialize_entry("src", &header.source())?;
            map.serialize_entry("dst", &header.destination())?;
            map.serialize_entry("protocol", &header.protocol())?;
            map.serialize_entry("ttl", &header.ttl())?;
            map.serialize_entry("tos", &header.tos())?;
            map.serialize_entry("id", &header.identification())?;
            map.serialize_entry("df", &header.dont_fragment())?;
            map.serialize_entry("mf", &header.more_fragments())?;
            map.serialize_entry("fragment_offset", &(u32::from(header.fragment_offset()) * 8))?;
            map.serialize_entry("header_length", &header.header_len())?;
            map.serialize_entry("length", &header.total_length())
        }
        Content::Ipv6(header) => {
            map.serialize_entry("src", &header.source())?;
            map.serialize_entry("dst", &header.destination())?;
            map.serialize_entry("next_header", &header.next_header())?;
            map.serialize_entry("hop_limit", &header.hop_limit())?;
            map.serialize_entry("traffic_class", &header.traffic_class())?;
            map.serialize_entry("flow_label", &header.flow_label())?;
            map.serialize_entry("payload_length", &header.payload_length())?;
            let is_empty = header.payload_length() == 0 && header.next_header() == protocol::NO_NEXT_HEADER;
            if is_empty { map.serialize_entry("bubble", &true) } else { Ok(()) }
        }
        Content::Extension(extension) => {
            map.serialize_entry("protocol", &extension.protocol)?;
            map.serialize_entry("next_header", &extension.next_header)?;
            map.serialize_entry("length", &extension.bytes.len())?;
            if let Some(length) = extension.jumbo_payload() {
                map.serialize_entry("jumbo_payload", &length)?;
            }
            if let Some((routing_type, segments_left)) = extension.routing() {
                map.serialize_entry("routing_type", &routing_type)?;
                map.serialize_entry("segments_left", &segments_left)?;
            }
            Ok(())
        }
        Content::Fragment(fragment) => {
            map.serialize_entry("next_header", &fragment.next_header)?;
            map.serialize_entry("fragment_offset", &fragment.offset)?;
            map.serialize_entry("mf", &fragment.more)?;
            map.serialize_entry("id", &fragment.identification)
        }
        Content::Udp(udp) => {
            map.serialize_entry("src_port", &udp.source)?;
            map.serialize_entry("dst_port", &udp.destination)?;
            map.serialize_entry("length", &udp.length)?;
            map.serialize_entry("checksum", &udp.checksum)
        }
        Content::Tcp(tcp) => {
            map.serialize_entry("src_port", &tcp.source)?;
            map.serialize_entry("dst_port", &tcp.destination)?;
            map.serialize_entry("seq", &tcp.sequence)?;
            map.serialize_entry("ack", &tcp.acknowledgment)?;
            map.serialize_entry("flags", &tcp.flags)?;
            map.serialize_entry("window", &tcp.window)
        }
        Content::Icmpv4(message) => {
            map.serialize_entry("family", "icmpv4")?;
            icmp(message, map)?;
            let (identifier, sequence) = message.echo();
            match (message.message_type, message.code) {
                (0 | 8, _) => {
                    map.serialize_entry("id", &identifier)?;
                    map.serialize_entry("seq", &sequence)
                }
                (3, 4) => map.serialize_entry("mtu", &sequence),
                (12, _) => map.serialize_entry("pointer", &message.header_data[0]),
                _ => Ok(()),
            }
        }
        Content::Icmpv6(message) => {
            map.serialize_entry("family", "icmpv6")?;
            icmp(message, map)?;
            let (identifier, sequence) = message.echo();
            match message.message_type {
                128 | 129 => {
                    map.serialize_entry("id", &identifier)?;
                    map.serialize_entry("seq", &sequence)
                }
                2 => map.serialize_entry("mtu", &message.word()),
                4 => map.serialize_entry("pointer", &message.word()),
                _ => Ok(()),
            }
        }
        Content::NeighborDiscovery(message) => neighbor_discovery(message, map),
        Content::TeredoAuthentication(auth) => {
            map.serialize_entry("client_id", &Hex(auth.client_id).to_string())?;
            map.serialize_entry("value", &Hex(auth.value).to_string())?;
            map.serialize_entry("nonce", &Hex(&auth.nonce).to_string())?;
            map.serialize_entry("confirmation", &auth.confirmation)
        }
        Content::TeredoOrigin(origin) => {
            map.serialize_entry("address", &origin.address)?;
            map.serialize_entry("port", &origin.port)
        }
        Content::TeredoTrailer(trailer) => teredo_trailer(trailer, map),
        Content::Data(data) => {
            if let Some(number) = data.protocol {
                map.serialize_entry("protocol", &number)?;
            }
            map.serialize_entry("length", &data.bytes.len())
        }
        Content::Cut(cut) => {
            map.serialize_entry("layer", cut.layer)?;
            if let Some(header) = cut.ipv6() {
                ipv6_beginning(&header, map)?;
            }
            map.serialize_entry("length", &cut.bytes.len())
        }
        Content::Malformed(malformed) => {
            map.serialize_entry("error", &malformed.error.to_string())?;
            map.serialize_entry("length", &malformed.bytes.len())
        }
        _ => Ok(()),
    }
}

/// The keys of a whole header, without those that are cut off.
fn ipv6_beginning<M: SerializeMap>(header: &Ipv6Beginning<'_>, map: &mut M) -> Result<(), M::Error> {
    if let Some(source) = &header.source {
        map.serialize_entry("src", source)?;
    }
    map.serialize_entry("next_header", &header.next_header)?;
    map.serialize_entry("hop_limit", &header.hop_limit)?;
    map.serialize_entry("traffic_class", &header.traffic_class)?;
    map.serialize_entry("flow_label", &header.flow_label)?;
    map.serialize_entry("payload_length", &header.payload_length)
}

fn icmp<M: SerializeMap>(message: &Icmp<'_>, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("type", &message.message_type)?;
    map.serialize_entry("code", &message.code)
}

fn teredo_trailer<M: SerializeMap>(trailer: &Trailer<'_>, map: &mut M) -> Result<(), M::Error> {
    map.serialize_entry("name", trailer.name())?;
    map.serialize_entry("type", &trailer.trailer_type)?;
    map.serialize_entry("value", &Hex(trailer.value).to_string())?;
    if trailer.trailer_type == 3 {
        let alternates: Vec<String> = trailer.alternates().map(|(address, port)| format!("{address}:{port}")).collect();
        map.serialize_entry("alternates", &alternates)?;
    }
    match trailer.port() {
        Some(port) => map.serialize_entry("port", &port),
        None => Ok(()),
    }
}

fn neighbor_discovery<M: SerializeMap>(message: &NeighborDiscovery<'_>, map: &mut M) -> Result<(), M::Error> {
    match message.body {
        NdBody::RouterAdvertisement {
            cur_hop_limit,
            flags,
            preference,
            router_lifetime,
            reachable_time,
            retrans_timer,
        } => {
            map.serialize_entry("cur_hop_limit", &cur_hop_limit)?;
            map.serialize_entry("managed", &flags.contains(RouterFlags::MANAGED))?;
            map.serialize_entry("other", &flags.contains(RouterFlags::OTHER))?;
            map.serialize_entry("preference", preference_name(preference))?;
            map.serialize_entry("router_lifetime", &router_lifetime.as_secs())?;
            map.serialize_entry("reachable_time", &reachable_time)?;
            map.serialize_entry("retrans_timer", &retrans_timer)?;
        }
        NdBody::NeighborSolicitation { target } => map.serialize_entry("target", &target)?,
        NdBody::NeighborAdvertisement { flags, target } => {
            map.serialize_entry("target", &target)?;
            map.serialize_entry("router", &flags.contains(NeighborFlags::ROUTER))?;
            map.serialize_entry("solicited", &flags.contains(NeighborFlags::SOLICITED))?;
            map.serialize_entry("override", &flags.contains(NeighborFlags::OVERRIDE))?;
        }
        NdBody::Redirect { target, destination } => {
            map.serialize_entry("target", &target)?;
            map.serialize_entry("destination", &destination)?;
        }
        _ => {}
    }
    map.serialize_entry("options", &Json(message))
}

impl Serialize for Json<&NeighborDiscovery<'_>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut options = serializer.serialize_seq(None)?;
        for option in self.0.options() {
            match option {
                Err(_) if self.0.is_cut() => options.serialize_element(&Kind { kind: "cut" })?,
                option => options.serialize_element(&Json(option))?,
            }
        }
        options.end()
    }
}

/// An option of which nothing but its kind is said.
#[derive(serde::Serialize)]
struct Kind {
    kind: &'static str,
}

impl Serialize for Json<Result<NdOption<'_>, ParseError>> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match &self.0 {
            Ok(NdOption::SourceLinkLayerAddress(option)) => {
                map.serialize_entry("kind", "source-link-layer-address")?;
                map.serialize_entry("address", &Hex(option.address).to_string())?;
            }
            Ok(NdOption::TargetLinkLayerAddress(option)) => {
                map.serialize_entry("kind", "target-link-layer-address")?;
                map.serialize_entry("address", &Hex(option.address).to_string())?;
            }
            Ok(NdOption::PrefixInformation(option)) => {
                map.serialize_entry("kind", "prefix-information")?;
                map.serialize_entry("prefix", &option.prefix.to_string())?;
                map.serialize_entry("on_link", &option.flags.contains(PrefixFlags::ON_LINK))?;
                map.serialize_entry("autonomous", &option.flags.contains(PrefixFlags::AUTONOMOUS))?;
                map.serialize_entry("valid_lifetime", &option.valid_lifetime.secs())?;
                map.serialize_entry("preferred_lifetime", &option.preferred_lifetime.secs())?;
            }
            Ok(NdOption::RedirectedHeader(option)) => {
                map.serialize_entry("kind", "redirected-header")?;
                map.serialize_entry("length", &option.packet.len())?;
                if let Ok(header) = ipv6::Header::parse_quoted(option.packet) {
                    map.serialize_entry("src", &header.source())?;
                    map.serialize_entry("dst", &header.destination())?;
                }
            }
            Ok(NdOption::Mtu(mtu)) => {
                map.serialize_entry("kind", "mtu")?;
                map.serialize_entry("mtu", &mtu.0)?;
            }
            Ok(NdOption::RouteInformation(route)) => {
                map.serialize_entry("kind", "route-information")?;
                map.serialize_entry("prefix", &route.prefix.to_string())?;
                map.serialize_entry("preference", preference_name(route.preference))?;
                map.serialize_entry("lifetime", &route.lifetime.secs())?;
            }
            Ok(NdOption::RecursiveDnsServers(servers)) => {
                map.serialize_entry("kind", "recursive-dns-servers")?;
                map.serialize_entry("lifetime", &servers.lifetime().secs())?;
                map.serialize_entry("addresses", &servers.addresses().collect::<Vec<_>>())?;
            }
            Ok(NdOption::DnsSearchList(list)) => {
                map.serialize_entry("kind", "dns-search-list")?;
                map.serialize_entry("lifetime", &list.lifetime().secs())?;
                map.serialize_entry("names", &list.names().map(|name| name.to_string()).collect::<Vec<_>>())?;
            }
            Ok(NdOption::Unusable(raw)) => {
                map.serialize_entry("kind", "unusable")?;
                map.serialize_entry("type", &raw.option_type())?;
                map.serialize_entry("value", &Hex(raw.body()).to_string())?;
            }
            Ok(NdOption::Unknown(raw)) => {
                map.serialize_entry("kind", "unknown")?;
                map.serialize_entry("type", &raw.option_type())?;
                map.serialize_entry("value", &Hex(raw.body()).to_string())?;
            }
            Ok(_) => map.serialize_entry("kind", "unknown")?,
            Err(error) => {
                map.serialize_entry("kind", "malformed")?;
                map.serialize_entry("error", &error.to_string())?;
            }
        }
        map.end()
    }
}

fn preference_name(preference: Preference) -> &'static str {
    match preference {
        Preference::High => "high",
        Preference::Medium => "medium",
        Preference::Low => "low",
    }
}
