//! What happened to each packet at each node.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::compatible;
use isatap_core::isatap::addr::Dotted;
use isatap_core::pretty::{Content, Layer, Layers};
use isatap_core::time::Instant;

use super::ip::{self, Ipv4, Ipv6};

/// The journey's name for who tells a scenario: titles, and whether what
/// was expected came (`met: …`, `not met: …`).
pub const NARRATOR: &str = "scenario";

/// The journey's name for the IPv4 network itself.
pub(super) const CLOUD: &str = "cloud";

/// One thing that happened at one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// When, by the world's clock.
    pub time: Instant,
    /// The node's name; `cloud` for what the IPv4 network itself does.
    pub node: String,
    /// What it did.
    pub action: Action,
    /// Who gets what was sent, unless it is lost on the way; several where the
    /// destination is multicast.
    pub to: Vec<String>,
    /// Why, or what; always there for [`Action::Drop`] and
    /// [`Action::Event`]. Reasons of the core are its kebab-case names.
    pub reason: Option<String>,
    /// The figure of a textbook that a title stands for: `15 and 16`.
    pub figure: Option<String>,
    /// The outer header, where there is one.
    pub outer: Option<OuterHeader>,
    /// The ports, where the outer header is followed by UDP.
    pub udp: Option<UdpPorts>,
    /// The inner header, where there is one.
    pub inner: Option<InnerHeader>,
    /// The whole packet, IPv4 or IPv6; empty for [`Action::Event`].
    pub bytes: Vec<u8>,
}

/// What a node did with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Sent it into the cloud inside an IPv4 packet.
    Encapsulate,
    /// Sent an IPv4 packet of its own, with no tunnel in it.
    Send,
    /// Sent an IPv4 packet on with another address, as NATs do.
    Translate,
    /// Took it out of an IPv4 packet.
    Decapsulate,
    /// Sent it out of a native link as it is.
    Forward,
    /// Gave it to the programs on the node.
    Deliver,
    /// Dropped it.
    Drop,
    /// No packet: an address, a route, a name, a change of the scenario.
    Event,
}

impl Action {
    /// The action in lower case; stable.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Action::Encapsulate => "encapsulate",
            Action::Send => "send",
            Action::Translate => "translate",
            Action::Decapsulate => "decapsulate",
            Action::Forward => "forward",
            Action::Deliver => "deliver",
            Action::Drop => "drop",
            Action::Event => "event",
        }
    }
}

/// What the journey keeps of an IPv4 header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OuterHeader {
    /// The source address.
    pub source: Ipv4Addr,
    /// The destination address.
    pub destination: Ipv4Addr,
    /// What the payload is.
    pub protocol: u8,
    /// Time to live, in routers.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// The identification.
    pub identification: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
    /// Length of the packet in bytes, header included.
    pub length: usize,
}

/// The ports of a UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UdpPorts {
    /// The source port.
    pub source: u16,
    /// The destination port.
    pub destination: u16,
}

/// What the journey keeps of an IPv6 packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerHeader {
    /// The source address.
    pub source: Ipv6Addr,
    /// The destination address.
    pub destination: Ipv6Addr,
    /// Routers that it may still pass.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// What the payload is.
    pub next_header: u8,
    /// Length of the packet in bytes, header included.
    pub length: usize,
    /// What it is, in the words of `explain`: `Router Solicitation`, with its options behind.
    pub packet: String,
    /// How many bytes of that are the options.
    options: usize,
    /// The kind of what it carries, as `explain` names layers: `router-solicitation`. An IPv6
    /// header alone is a `bubble`.
    pub message: &'static str,
}

impl Hop {
    /// Something happened that is no packet.
    pub(super) fn event(time: Instant, node: &str, text: String) -> Self {
        Hop {
            time,
            node: node.into(),
            action: Action::Event,
            to: Vec::new(),
            reason: Some(text),
            figure: None,
            outer: None,
            udp: None,
            inner: None,
            bytes: Vec::new(),
        }
    }

    /// Something happened to `packet`, IPv4 or IPv6.
    pub(super) fn packet(time: Instant, node: &str, action: Action, reason: Option<String>, packet: &[u8]) -> Self {
        let outer = Ipv4::parse(packet);
        // A part of a packet has no headers of its own, or only half of one.
        let whole = if outer.is_some_and(|outer| outer.is_fragment()) { &[][..] } else { packet };
        let udp = Layers::new(whole).find_map(|layer| match layer.content {
            Content::Udp(udp) if layer.depth == 0 => {
                Some(UdpPorts { source: udp.source, destination: udp.destination })
            }
            _ => None,
        });
        Hop {
            time,
            node: node.into(),
            action,
            to: Vec::new(),
            reason,
            figure: None,
            outer: outer.as_ref().map(OuterHeader::of),
            udp: udp.filter(|_| outer.is_some()),
            inner: InnerHeader::of(whole),
            bytes: packet.to_vec(),
        }
    }

    /// What Teredo puts in front of the IPv6 packet and behind it.
    pub fn teredo(&self) -> impl Iterator<Item = Layer<'_>> {
        let is_teredo = |content: &Content<'_>| {
            matches!(content, Content::TeredoAuthentication(_) | Content::TeredoOrigin(_) | Content::TeredoTrailer(_))
        };
        let is_whole = self.udp.is_some();
        Layers::new(&self.bytes).filter(move |layer| is_whole && !layer.is_quoted && is_teredo(&layer.content))
    }

    /// The TCP header, of the IPv6 packet or of an IPv4 packet without one.
    #[must_use]
    pub fn tcp(&self) -> Option<Layer<'_>> {
        // A part of a packet has half of one at most.
        let is_part = Ipv4::parse(&self.bytes).is_some_and(|outer| outer.is_fragment());
        let mut layers = Layers::new(&self.bytes).filter(|layer| !is_part && !layer.is_quoted);
        layers.find(|layer| matches!(layer.content, Content::Tcp(_)))
    }

    /// The flags of the TCP header, as `explain` writes them: `SYN ACK`.
    #[must_use]
    pub fn tcp_flags(&self) -> Option<String> {
        let text = self.tcp()?.content.to_string();
        Some(text.split(", ").nth(1).filter(|flags| !flags.starts_with("seq ")).unwrap_or_default().to_owned())
    }

    /// What stands in front of a title: `Figure 14`, `Figures 15 and 16`, `Table 1`.
    #[must_use]
    pub fn figure_title(&self) -> Option<String> {
        let figure = self.figure.as_deref()?;
        Some(match figure.parse::<u32>() {
            Ok(_) => format!("Figure {figure}"),
            Err(_) if figure.starts_with(|first: char| first.is_ascii_digit()) => format!("Figures {figure}"),
            Err(_) => figure.to_owned(),
        })
    }

    /// The ends of the outer packet, with ports where it has some:
    /// `157.60.0.1:4096 -> 206.73.118.1:3544`.
    #[must_use]
    pub fn outer_ends(&self) -> Option<String> {
        let outer = self.outer.as_ref()?;
        let ports = self.udp.map(|udp| (udp.source, udp.destination)).or_else(|| match self.tcp()?.content {
            Content::Tcp(tcp) if self.inner.is_none() => Some((tcp.source, tcp.destination)),
            _ => None,
        });
        Some(match ports {
            Some((source, destination)) => {
                format!("{}:{source} -> {}:{destination}", outer.source, outer.destination)
            }
            None => format!("{} -> {}", outer.source, outer.destination),
        })
    }

    /// The time as `1.500s`.
    #[must_use]
    pub fn seconds(&self) -> String {
        seconds(self.time)
    }
}

/// `instant` in seconds with three decimals: `1.500s`.
#[must_use]
pub fn seconds(instant: Instant) -> String {
    format!("{}.{:03}s", instant.micros() / 1_000_000, instant.micros() / 1_000 % 1_000)
}

impl OuterHeader {
    fn of(packet: &Ipv4<'_>) -> Self {
        OuterHeader {
            source: packet.source,
            destination: packet.destination,
            protocol: packet.protocol,
            ttl: packet.ttl,
            tos: packet.tos,
            identification: packet.identification,
            dont_fragment: packet.dont_fragment,
            length: packet.len(),
        }
    }
}

impl InnerHeader {
    /// Of the IPv6 packet in `bytes`, or that they are.
    fn of(bytes: &[u8]) -> Option<Self> {
        let mut layers = Layers::new(bytes).filter(|layer| !layer.is_quoted);
        let offset = layers.find(|layer| matches!(layer.content, Content::Ipv6(_)))?.offset;
        let packet = Ipv6::parse(bytes.get(offset..)?)?;
        let carried = layers.find(|layer| !matches!(layer.content, Content::Extension(_)));
        let carried = carried.filter(|layer| !matches!(layer.content, Content::TeredoTrailer(_)));
        let (text, with_options, message) = match carried {
            // The packet that an error is about is in it.
            Some(layer) => {
                let about = |text: String| text.trim_end_matches(", about").to_owned();
                (about(layer.content.to_string()), about(layer.to_string()), layer.content.kind())
            }
            None => ("bubble".to_owned(), "bubble".to_owned(), "bubble"),
        };
        Some(InnerHeader {
            source: packet.source,
            destination: packet.destination,
            hop_limit: packet.hop_limit,
            traffic_class: packet.traffic_class,
            next_header: packet.next_header,
            length: 40 + packet.payload.len(),
            options: with_options.len().saturating_sub(text.len()),
            packet: with_options,
            message,
        })
    }
}

impl fmt::Display for OuterHeader {
    /// `192.168.47.99 -> 10.0.0.1`, then what is not as usual.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}{}", self.source, self.destination, Rest(self))
    }
}

/// What an outer header says beside its ends.
struct Rest<'a>(&'a OuterHeader);

impl fmt::Display for Rest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rest(header) = self;
        write!(f, "   ttl {}", header.ttl)?;
        if header.tos != 0 {
            write!(f, ", tos {:#04x}", header.tos)?;
        }
        if header.dont_fragment {
            f.write_str(", DF")?;
        }
        match header.protocol {
            ip::PROTOCOL_IPV6 => Ok(()),
            ip::PROTOCOL_ICMP => f.write_str(", ICMP"),
            ip::PROTOCOL_UDP => f.write_str(", UDP"),
            ip::PROTOCOL_TCP => f.write_str(", TCP"),
            other => write!(f, ", protocol {other}"),
        }
    }
}

impl fmt::Display for InnerHeader {
    /// `fe80::5efe:10.0.0.2 -> fe80::5efe:10.0.0.1`, as [`shown`].
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}   hop limit {}", shown(self.source), shown(self.destination), self.hop_limit)
    }
}

/// An address with the IPv4 address dotted that an ISATAP address or one of `::/96` has at its end.
#[must_use]
pub fn shown(address: Ipv6Addr) -> String {
    compatible::embedded_ipv4(&address).map_or_else(|| Dotted(address).to_string(), |ipv4| format!("::{ipv4}"))
}

impl fmt::Display for Hop {
    /// One line for what happened and one for each header.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let told = self.inner.as_ref().map(|inner| inner.packet.split_at(inner.packet.len() - inner.options));
        let alone = self.tcp().filter(|_| told.is_none()).map(|tcp| tcp.content.to_string());
        let (what, options) = told.or(alone.as_deref().map(|text| (text, ""))).unwrap_or_default();
        write!(f, "{:>9}  {:<8} {:<11}  {what}", self.seconds(), self.node, self.action.as_str())?;
        match (&self.reason, what.is_empty()) {
            (Some(reason), true) => write!(f, "{reason}")?,
            (Some(reason), false) => write!(f, "  ({reason})")?,
            (None, _) => {}
        }
        if let (Some(outer), Some(ends)) = (&self.outer, self.outer_ends()) {
            write!(f, "\n{:>20}IPv4  {ends}{}", "", Rest(outer))?;
        }
        let is_behind = |layer: &Layer<'_>| matches!(layer.content, Content::TeredoTrailer(_));
        for layer in self.teredo().filter(|layer| !is_behind(layer)) {
            write!(f, "\n{:>26}{layer}", "")?;
        }
        if let Some(inner) = &self.inner {
            write!(f, "\n{:>20}IPv6  {inner}", "")?;
        }
        if !options.is_empty() {
            write!(f, "\n{:>26}{}", "", options.trim_start_matches(", "))?;
        }
        for layer in self.teredo().filter(is_behind) {
            write!(f, "\n{:>26}{layer}", "")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Ports and flags stand at every hop, in a tunnel and without one, in the words of `explain`.
    #[test]
    fn a_tcp_segment_is_told_in_a_tunnel_and_without() {
        let (own, peer) = (Ipv4Addr::new(10, 0, 0, 2), Ipv4Addr::new(10, 0, 0, 1));
        let syn_ack = [0x9c, 0x40, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 0x12, 0x10, 0, 0, 0, 0, 0];
        let [source, destination] = ["2001:db8::2", "2001:db8::1"].map(|text| text.parse().unwrap());
        let inner = Ipv6 { source, destination, next_header: 6, hop_limit: 64, traffic_class: 0, payload: &syn_ack };
        let told = "TCP 40000 -> 80, SYN ACK, seq 1, ack 0, window 4096\n";
        for (packet, ends, header) in [
            (
                ip::protocol41_packet(own, peer, &inner.emit()),
                "IPv4  10.0.0.2 -> 10.0.0.1   ttl 64\n",
                "TCP 40000 → 80",
            ),
            (
                ip::ipv4_packet(own, peer, ip::PROTOCOL_TCP, &syn_ack),
                "IPv4  10.0.0.2:40000 -> 10.0.0.1:80   ttl 64, TCP",
                "IPv4 10.0.0.2:40000 → 10.0.0.1:80",
            ),
        ] {
            let hop = Hop::packet(Instant::ZERO, "A", Action::Encapsulate, None, &packet);
            let text = hop.to_string();
            assert!(text.contains(told) && text.contains(ends), "{text}");
            assert_eq!(hop.tcp_flags().as_deref(), Some("SYN ACK"));
            let diagram = super::super::Diagram { title: "", description: "", nodes: &[], hops: &[hop] }.to_string();
            assert!(diagram.contains(">TCP SYN ACK<") && diagram.contains(header), "{diagram}");
        }
        // Half a header is none.
        let whole = ip::ipv4_packet(own, peer, ip::PROTOCOL_TCP, &[&syn_ack[..], &[0; 100]].concat());
        for part in Ipv4::parse(&whole).unwrap().fragments(68) {
            assert!(Hop::packet(Instant::ZERO, "A", Action::Encapsulate, None, &part).tcp().is_none());
        }
    }
}
