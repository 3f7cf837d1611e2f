//! Link layers: from a frame to the IP packet in it.

mod record;
mod serial;

use std::fmt;

use super::link_type;
use super::wireless;

/// The IP packet in a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct IpPacket<'a> {
    /// The packet, with whatever padding the link layer added behind it.
    pub bytes: &'a [u8],
    /// How many bytes there were on the wire.
    pub length: usize,
    /// What stood between link layer and packet, outermost first.
    pub tags: Vec<Tag>,
}

/// Something between a link layer and an IP packet that says where the packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tag {
    /// A VLAN, of 802.1Q or 802.1ad.
    Vlan {
        /// Its number.
        id: u16,
        /// Its priority, 0 to 7.
        priority: u8,
    },
    /// An entry of an MPLS label stack. [RFC 3032 §2.1]
    Mpls {
        /// The label.
        label: u32,
        /// The traffic class, 0 to 7.
        class: u8,
        /// Hops left.
        ttl: u8,
    },
    /// A PPPoE session. [RFC 2516 §4]
    Pppoe {
        /// Its number.
        session: u16,
    },
    /// The frame is one of Ethernet inside of another: a bridge or a pseudowire.
    Ethernet,
}

impl Tag {
    /// The tag's name in kebab-case.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Tag::Vlan { .. } => "vlan",
            Tag::Mpls { .. } => "mpls",
            Tag::Pppoe { .. } => "pppoe",
            Tag::Ethernet => "ethernet",
        }
    }

    /// The number of the VLAN, the label of MPLS, the session of PPPoE.
    #[must_use]
    pub fn id(&self) -> Option<u32> {
        match *self {
            Tag::Vlan { id, .. } => Some(id.into()),
            Tag::Mpls { label, .. } => Some(label),
            Tag::Pppoe { session } => Some(session.into()),
            Tag::Ethernet => None,
        }
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Tag::Vlan { id, priority: 0 } => write!(f, "VLAN {id}"),
            Tag::Vlan { id, priority } => write!(f, "VLAN {id}, priority {priority}"),
            Tag::Mpls { label, class: 0, ttl } => write!(f, "MPLS label {label}, TTL {ttl}"),
            Tag::Mpls { label, class, ttl } => write!(f, "MPLS label {label}, class {class}, TTL {ttl}"),
            Tag::Pppoe { session } => write!(f, "PPPoE session {session}"),
            Tag::Ethernet => f.write_str("Ethernet inside"),
        }
    }
}

/// Why a frame gives no IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotIp {
    /// The frame is too short for its link layer.
    Short,
    /// It carries something else: an EtherType, or what its link layer has
    /// in its place.
    OtherProtocol(u32),
    /// What it carries cannot be looked into: encrypted, compressed, no data.
    Opaque(&'static str),
    /// Frames of this link type are not understood here.
    LinkType(u16),
}

impl fmt::Display for NotIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotIp::Short => f.write_str("frame too short for its link layer"),
            NotIp::OtherProtocol(0x0806) => f.write_str("not IP: ARP"),
            NotIp::OtherProtocol(protocol) => write!(f, "not IP: protocol {protocol:#06x}"),
            NotIp::Opaque(what) => write!(f, "not IP: {what}"),
            NotIp::LinkType(number) => match link_type::name(*number) {
                Some(name) => write!(f, "frames of link type {number} ({name}) are not understood"),
                None => write!(f, "frames of link type {number} are not understood"),
            },
        }
    }
}

/// The bytes of the IP packet in a frame of link type `link_type`; see [`Frame::ip`](super::Frame::ip).
///
/// # Errors
/// There is none.
pub fn ip(link_type: u16, frame: &[u8]) -> Result<&[u8], NotIp> {
    packet(link_type, frame).map(|packet| packet.bytes)
}

pub(super) fn packet(link_type: u16, frame: &[u8]) -> Result<IpPacket<'_>, NotIp> {
    let mut walk = Walk { rest: frame, tags: Vec::new(), depth: 0 };
    walk.link(link_type)?;
    Ok(IpPacket { bytes: walk.rest, length: walk.rest.len(), tags: walk.tags })
}

/// Bytes of a frame that are not looked at yet. Each method takes a layer off.
pub(super) struct Walk<'a> {
    pub(super) rest: &'a [u8],
    tags: Vec<Tag>,
    /// Layers that can hold themselves.
    depth: u8,
}

/// More layers are no frame that anyone sends; and each is a call.
const MOST_LAYERS: u8 = 32;

/// EtherTypes.
mod ether_type {
    pub(super) const IPV4: u16 = 0x0800;
    pub(super) const IPV6: u16 = 0x86dd;
    /// 802.1Q, 802.1ad and those before it.
    pub(super) const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
    pub(super) const MPLS: [u16; 2] = [0x8847, 0x8848];
    pub(super) const PPPOE_SESSION: u16 = 0x8864;
    /// Ethernet in something else.
    pub(super) const BRIDGED: u16 = 0x6558;
    /// LLC in a frame of more than 1500 bytes.
    pub(super) const LLC: u16 = 0x8870;
    /// 802.1ah: a backbone of a provider's.
    pub(super) const BACKBONE: u16 = 0x88e7;
    pub(super) const MACSEC: u16 = 0x88e5;
    pub(super) const HSR: u16 = 0x892f;
    pub(super) const PPP: u16 = 0x880b;
    /// Cisco's security group tags.
    pub(super) const CISCO_METADATA: u16 = 0x8909;
    /// Marvell's switches.
    pub(super) const MARVELL: u16 = 0xdada;
    pub(super) const NSH: u16 = 0x894f;
}

/// Address families of the systems that there are: of IPv4, of IPv6.
const fn is_ip_family(family: u32) -> bool {
    matches!(family, 2 | 10 | 24 | 26 | 28 | 30)
}

impl Walk<'_> {
    /// The layer that `link_type` is the number of.
    pub(super) fn link(&mut self, link_type: u16) -> Result<(), NotIp> {
        use link_type::*;
        self.deeper()?;
        match link_type {
            ETHERNET | NETANALYZER_TRANSPARENT => self.ethernet(),
            RAW | RAW_BSD | RAW_OPENBSD => self.raw(),
            IPV4 | IPV6 => Ok(()),
            NULL | LOOP => self.family(),
            LINUX_SLL => {
                let (hardware, protocol) = (self.u16(2)?, self.u16(14)?);
                self.skip(16)?;
                self.cooked(hardware, protocol)
            }
            LINUX_SLL2 => {
                let (hardware, protocol) = (self.u16(8)?, self.u16(0)?);
                self.skip(20)?;
                self.cooked(hardware, protocol)
            }
            // Cisco's frames stand among them; editcap writes 9 for 50.
            PPP | PPP_HDLC => match self.u8(0)? {
                0x0f | 0x8f => self.cisco_hdlc(),
                _ => self.ppp_framed(),
            },
            PPP_ETHER => self.pppoe(),
            // A byte for the direction, in place of the address or in front of it.
            PPP_PPPD => {
                self.skip(1)?;
                if self.u8(0)? == 0x03 {
                    self.skip(1)?;
                }
                self.ppp_framed()
            }
            PPP_WITH_DIR => self.skip(1).and_then(|()| self.ppp_framed()),
            C_HDLC => self.cisco_hdlc(),
            C_HDLC_WITH_DIR => self.skip(1).and_then(|()| self.cisco_hdlc()),
            FRELAY => self.frame_relay(),
            FRELAY_WITH_DIR => self.skip(1).and_then(|()| self.frame_relay()),
            SLIP => {
                let is_compressed = self.u8(1)? & 0x80 != 0;
                self.skip(16)?;
                if is_compressed { Err(NotIp::Opaque("compressed by SLIP")) } else { self.raw() }
            }
            TOKEN_RING => {
                let is_routed = self.u8(8)? & 0x80 != 0;
                self.skip(14)?;
                if is_routed {
                    self.skip(usize::from(self.u8(0)? & 0x1f))?;
                }
                self.llc()
            }
            FDDI => match self.u8(0)? & 0xf0 {
                // Frames of LLC, asynchronous and synchronous.
                0x50 | 0xd0 => self.skip(13).and_then(|()| self.llc()),
                control => Err(NotIp::OtherProtocol(control.into())),
            },
            ARCNET => self.arcnet(2),
            ARCNET_LINUX => self.arcnet(4),
            ATM_RFC1483 => self.llc(),
            ATM_CLIP => {
                if self.rest.starts_with(&[0xaa, 0xaa, 3]) {
                    self.llc()
                } else {
                    self.raw()
                }
            }
            SUNATM => match self.u8(0)? & 0x0f {
                2 => self.skip(4).and_then(|()| self.llc()),
                other => Err(NotIp::OtherProtocol(other.into())),
            },
            IP_OVER_FC => self.skip(16).and_then(|()| self.llc()),
            ENC => {
                let family = self.either_u32(0)?;
                self.skip(12)?;
                self.of_family(family)
            }
            PFLOG => {
                let (length, family) = (usize::from(self.u8(0)?), self.u8(1)?);
                self.skip(length.next_multiple_of(4))?;
                self.of_family(family.into())
            }
            IPNET => {
                let family = self.u8(1)?;
                self.skip(24)?;
                self.of_family(family.into())
            }
            NFLOG => self.nflog(),
            MPLS => self.mpls(),
            IPOIB => {
                // Behind a global route header: a type and two reserved bytes.
                let ether_type = self.u16(40)?;
                self.skip(44)?;
                self.ether_type(ether_type)
            }
            SYMANTEC => {
                let (second, third) = (self.u16(6)?, self.u16(20)?);
                let (header, ether_type) = if second == 0 { (56, third) } else { (44, second) };
                self.skip(header)?;
                self.ether_type(ether_type)
            }
            IEEE802_11 => wireless::data_frame(self, false),
            RADIOTAP => wireless::radiotap(self),
            PRISM => wireless::prism(self),
            AVS => wireless::avs(self),
            PPI => {
                let (length, inner) = (self.little_u16(2)?, self.little_u16(4)?);
                self.skip(usize::from(length))?;
                self.link(inner)
            }
            PKTAP => {
                let (length, inner) = (self.little_u16(0)?, self.little_u16(8)?);
                self.skip(usize::from(length))?;
                self.link(inner)
            }
            ERF => self.erf(),
            JUNIPER_ETHER | JUNIPER_PPP | JUNIPER_FRELAY | JUNIPER_CHDLC => self.juniper(link_type),
            WIRESHARK_UPPER_PDU => self.exported(),
            NETANALYZER => self.skip(4).and_then(|()| self.ethernet()),
            other => Err(NotIp::LinkType(other)),
        }
    }

    /// What is IP by its version, or nothing.
    fn raw(&self) -> Result<(), NotIp> {
        match self.u8(0)? >> 4 {
            4 | 6 => Ok(()),
            version => Err(NotIp::OtherProtocol(version.into())),
        }
    }

    /// Four bytes of address family, in either byte order, as BSD's loopback has them.
    fn family(&mut self) -> Result<(), NotIp> {
        let family = self.either_u32(0)?;
        self.skip(4)?;
        match u16::try_from(family) {
            Ok(protocol) if protocol >= 0x0600 => self.ether_type(protocol),
            _ => self.of_family(family),
        }
    }

    fn of_family(&self, family: u32) -> Result<(), NotIp> {
        if is_ip_family(family) { Ok(()) } else { Err(NotIp::OtherProtocol(family)) }
    }

    pub(super) fn ethernet(&mut self) -> Result<(), NotIp> {
        let ether_type = self.u16(12)?;
        self.skip(14)?;
        // Up to there it is a length, and LLC follows.
        if ether_type <= 1500 { self.llc() } else { self.ether_type(ether_type) }
    }

    /// Linux's "any" device.
    fn cooked(&mut self, hardware: u16, protocol: u16) -> Result<(), NotIp> {
        match (hardware, protocol) {
            // What the protocol field means there is netlink's.
            (824, _) => Err(NotIp::Opaque("netlink")),
            (803, 0x0004) => wireless::radiotap(self),
            (_, 0x0004) => self.llc(),
            (512, 0x0007 | 0x0008) => self.ppp_framed(),
            _ => self.ether_type(protocol),
        }
    }

    pub(super) fn ether_type(&mut self, ether_type: u16) -> Result<(), NotIp> {
        self.deeper()?;
        match ether_type {
            ether_type::IPV4 | ether_type::IPV6 => Ok(()),
            vlan if ether_type::VLAN.contains(&vlan) => {
                let (control, inner) = (self.u16(0)?, self.u16(2)?);
                self.skip(4)?;
                let priority = u8::try_from(control >> 13).unwrap_or(0);
                self.tags.push(Tag::Vlan { id: control & 0x0fff, priority });
                if inner <= 1500 { self.llc() } else { self.ether_type(inner) }
            }
            mpls if ether_type::MPLS.contains(&mpls) => self.mpls(),
            ether_type::PPPOE_SESSION => self.pppoe(),
            ether_type::BRIDGED => self.bridged(),
            ether_type::LLC => self.llc(),
            ether_type::BACKBONE => self.skip(4).and_then(|()| self.bridged()),
            ether_type::PPP => self.ppp_framed(),
            ether_type::MACSEC => {
                let control = self.u8(0)?;
                if control & 0x0c != 0 {
                    return Err(NotIp::Opaque("encrypted by MACsec"));
                }
                self.skip(if control & 0x20 == 0 { 6 } else { 14 })?;
                self.behind(0)
            }
            ether_type::HSR => self.behind(4),
            ether_type::CISCO_METADATA => {
                let words = usize::from(self.u8(1)?);
                self.behind(2 + 4 * words)
            }
            ether_type::MARVELL => self.behind(6),
            ether_type::NSH => {
                let (words, next) = (self.u16(0)? & 0x3f, self.u8(3)?);
                self.skip(usize::from(words) * 4)?;
                match next {
                    1 | 2 => Ok(()),
                    3 => self.bridged(),
                    5 => self.mpls(),
                    other => Err(NotIp::OtherProtocol(other.into())),
                }
            }
            other => Err(NotIp::OtherProtocol(other.into())),
        }
    }

    /// The EtherType `count` bytes on, and what is behind it.
    fn behind(&mut self, count: usize) -> Result<(), NotIp> {
        let ether_type = self.u16(count)?;
        self.skip(count + 2)?;
        if ether_type <= 1500 { self.llc() } else { self.ether_type(ether_type) }
    }

    fn bridged(&mut self) -> Result<(), NotIp> {
        self.deeper()?;
        self.tags.push(Tag::Ethernet);
        self.ethernet()
    }

    /// 802.2, with or without SNAP.
    pub(super) fn llc(&mut self) -> Result<(), NotIp> {
        match self.rest {
            [0xaa, 0xaa, 3, a, b, c, high, low, ..] => {
                let (organisation, protocol) = ([*a, *b, *c], u16::from_be_bytes([*high, *low]));
                self.skip(8)?;
                match (organisation, protocol) {
                    ([0, 0, 0] | [0, 0, 0xf8], protocol) => self.ether_type(protocol),
                    // RFC 2684 §5.2: bridged Ethernet, two bytes of padding in front of it.
                    ([0, 0x80, 0xc2], 1 | 7) => self.skip(2).and_then(|()| self.bridged()),
                    (_, protocol) => Err(NotIp::OtherProtocol(protocol.into())),
                }
            }
            [0x06, 0x06, 3, ..] => self.skip(3),
            [0xfe, 0xfe, 3, ..] => self.skip(3).and_then(|()| self.nlpid()),
            [dsap, _, _, ..] => Err(NotIp::OtherProtocol((*dsap).into())),
            _ => Err(NotIp::Short),
        }
    }

    /// A protocol as ISO numbers them. [RFC 2427 §4]
    fn nlpid(&mut self) -> Result<(), NotIp> {
        if self.u8(0)? == 0 {
            self.skip(1)?;
        }
        match self.u8(0)? {
            0xcc | 0x8e => self.skip(1),
            0x80 => {
                let (organisation, protocol) = ([self.u8(1)?, self.u8(2)?, self.u8(3)?], self.u16(4)?);
                self.skip(6)?;
                match (organisation, protocol) {
                    ([0, 0, 0], protocol) => self.ether_type(protocol),
                    ([0, 0x80, 0xc2], 1 | 7) => self.bridged(),
                    (_, protocol) => Err(NotIp::OtherProtocol(protocol.into())),
                }
            }
            0xcf => self.skip(1).and_then(|()| self.ppp()),
            other => Err(NotIp::OtherProtocol(other.into())),
        }
    }

    fn mpls(&mut self) -> Result<(), NotIp> {
        loop {
            self.deeper()?;
            let entry = u32::from(self.u16(0)?) << 16 | u32::from(self.u16(2)?);
            self.skip(4)?;
            let [_, _, bottom, ttl] = entry.to_be_bytes();
            self.tags.push(Tag::Mpls { label: entry >> 12, class: bottom >> 1 & 7, ttl });
            if bottom & 1 != 0 {
                break;
            }
        }
        // The packet says itself what it is. [RFC 4928 §3]
        match self.u8(0)? >> 4 {
            4 | 6 => Ok(()),
            // A control word in front of a pseudowire's frame [RFC 4385 §3], or a frame without
            // one, whose destination begins like that: the reading that comes to a packet.
            0 => {
                let (frame, tags) = (self.rest, self.tags.len());
                // Depth is not given back: two readings a label do not multiply.
                match self.skip(4).and_then(|()| self.bridged()).and_then(|()| self.raw()) {
                    Ok(()) => Ok(()),
                    Err(why) => {
                        self.rest = frame;
                        self.tags.truncate(tags);
                        // Of what is no packet either way, the standard's reading is told.
                        self.bridged().and_then(|()| self.raw()).map_err(|_| why)
                    }
                }
            }
            1 => Err(NotIp::Opaque("a pseudowire's control channel")),
            _ => self.bridged(),
        }
    }

    /// Counts a layer.
    fn deeper(&mut self) -> Result<(), NotIp> {
        self.depth += 1;
        if self.depth > MOST_LAYERS { Err(NotIp::Opaque("too many layers in front of a packet")) } else { Ok(()) }
    }

    pub(super) fn skip(&mut self, count: usize) -> Result<(), NotIp> {
        self.rest = self.rest.get(count..).ok_or(NotIp::Short)?;
        Ok(())
    }

    pub(super) fn u8(&self, at: usize) -> Result<u8, NotIp> {
        self.rest.get(at).copied().ok_or(NotIp::Short)
    }

    pub(super) fn array<const N: usize>(&self, at: usize) -> Result<[u8; N], NotIp> {
        self.rest.get(at..).and_then(<[u8]>::first_chunk).copied().ok_or(NotIp::Short)
    }

    pub(super) fn u16(&self, at: usize) -> Result<u16, NotIp> {
        self.array(at).map(u16::from_be_bytes)
    }

    pub(super) fn little_u16(&self, at: usize) -> Result<u16, NotIp> {
        self.array(at).map(u16::from_le_bytes)
    }

    /// A small number in either byte order.
    fn either_u32(&self, at: usize) -> Result<u32, NotIp> {
        let word = u32::from_be_bytes(self.array(at)?);
        Ok(word.min(word.swap_bytes()))
    }
}
