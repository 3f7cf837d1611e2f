//! The five messages. [RFC 4861 §4.1-4.5]
//!
//! A view is made by `parse` alone, which checks type, code, length and that
//! the options can be walked; then its getters cannot fail. Checksum, hop
//! limit and addresses are [`validate`](super::validate)'s.
//!
//! To send one, [`write_packet`] writes the IPv6 header, calls the emitters
//! in turn (a `…Repr`, then options), and fills in length and checksum.

use core::net::Ipv6Addr;

use bitflags::bitflags;

use super::option::Options;
use crate::error::{EmitError, Layer, ParseError, ParseErrorKind};
use crate::packet::PacketMut;
use crate::prefix::halves;
use crate::route::Preference;
use crate::time::Lifetime;
use crate::wire::checksum::{self, Sum};
use crate::wire::field::{Writer, ipv6_at, u8_at, u16_at, u32_at};
use crate::wire::icmpv6::Message as Icmpv6;
use crate::wire::{icmpv6, ipv6, protocol};

/// Whether an ICMPv6 type is one of Neighbor Discovery's five.
#[must_use]
pub const fn is_neighbor_discovery(icmpv6_type: u8) -> bool {
    matches!(icmpv6_type, Icmpv6::ROUTER_SOLICITATION..=Icmpv6::REDIRECT)
}

/// Any of the five messages.
#[derive(Clone, Debug)]
pub enum Message<'a> {
    /// Who is a router?
    RouterSolicitation(RouterSolicitation<'a>),
    /// I am a router, and this is what the link is like.
    RouterAdvertisement(RouterAdvertisement<'a>),
    /// Are you there?
    NeighborSolicitation(NeighborSolicitation<'a>),
    /// I am there.
    NeighborAdvertisement(NeighborAdvertisement<'a>),
    /// There is a better first hop.
    Redirect(Redirect<'a>),
}

impl<'a> Message<'a> {
    /// Reads an ICMPv6 message, from its type byte to the end of the packet.
    ///
    /// # Errors
    /// It is none of the five, its code is not zero, it is too short, or its
    /// options cannot be walked to the end (NDP-5). The offset counts from
    /// the type byte.
    pub fn parse(icmpv6: &'a [u8]) -> Result<Self, ParseError> {
        match icmpv6.first().copied() {
            Some(Icmpv6::ROUTER_SOLICITATION) => RouterSolicitation::parse(icmpv6).map(Message::RouterSolicitation),
            Some(Icmpv6::ROUTER_ADVERTISEMENT) => RouterAdvertisement::parse(icmpv6).map(Message::RouterAdvertisement),
            Some(Icmpv6::NEIGHBOR_SOLICITATION) => {
                NeighborSolicitation::parse(icmpv6).map(Message::NeighborSolicitation)
            }
            Some(Icmpv6::NEIGHBOR_ADVERTISEMENT) => {
                NeighborAdvertisement::parse(icmpv6).map(Message::NeighborAdvertisement)
            }
            Some(Icmpv6::REDIRECT) => Redirect::parse(icmpv6).map(Message::Redirect),
            Some(_) => Err(error(ParseErrorKind::Type, 0)),
            None => Err(error(ParseErrorKind::Truncated, 0)),
        }
    }

    /// The options.
    #[must_use]
    pub fn options(&self) -> Options<'a> {
        match self {
            Message::RouterSolicitation(message) => message.options(),
            Message::RouterAdvertisement(message) => message.options(),
            Message::NeighborSolicitation(message) => message.options(),
            Message::NeighborAdvertisement(message) => message.options(),
            Message::Redirect(message) => message.options(),
        }
    }
}

macro_rules! message_view {
    ($(#[doc = $text:literal])+ $name:ident, $length:literal, $message_type:path) => {
        $(#[doc = $text])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub struct $name<'a> {
            fixed: &'a [u8; $length],
            options: &'a [u8],
        }

        impl<'a> $name<'a> {
            /// Bytes of the part that every such message has.
            pub const LENGTH: usize = $length;

            /// Reads the message from its type byte to the end of the packet.
            ///
            /// # Errors
            /// As [`Message::parse`].
            #[inline]
            pub fn parse(icmpv6: &'a [u8]) -> Result<Self, ParseError> {
                let (fixed, options) = split::<$length>(icmpv6, $message_type)?;
                Ok($name { fixed, options })
            }

            /// The options.
            #[inline]
            #[must_use]
            pub const fn options(&self) -> Options<'a> {
                Options::new(self.options, $length)
            }

            /// The checksum that was received.
            #[must_use]
            pub fn checksum(&self) -> u16 {
                u16_at::<2, $length>(self.fixed)
            }
        }
    };
}

message_view! {
    /// A Router Solicitation. [RFC 4861 §4.1]
    RouterSolicitation, 8, Icmpv6::ROUTER_SOLICITATION
}
message_view! {
    /// A Router Advertisement. [RFC 4861 §4.2]
    RouterAdvertisement, 16, Icmpv6::ROUTER_ADVERTISEMENT
}
message_view! {
    /// A Neighbor Solicitation. [RFC 4861 §4.3]
    NeighborSolicitation, 24, Icmpv6::NEIGHBOR_SOLICITATION
}
message_view! {
    /// A Neighbor Advertisement. [RFC 4861 §4.4]
    NeighborAdvertisement, 24, Icmpv6::NEIGHBOR_ADVERTISEMENT
}
message_view! {
    /// A Redirect. [RFC 4861 §4.5]
    Redirect, 40, Icmpv6::REDIRECT
}

impl RouterAdvertisement<'_> {
    /// The hop limit that hosts should send with; 0: nothing said.
    #[must_use]
    pub fn cur_hop_limit(&self) -> u8 {
        u8_at::<4, 16>(self.fixed)
    }

    /// The flags, without the preference.
    #[must_use]
    pub fn flags(&self) -> RouterFlags {
        RouterFlags::from_bits_retain(u8_at::<5, 16>(self.fixed) & !Preference::MASK)
    }

    /// The preference as a default router.
    ///
    /// The reserved value reads as medium, and a router that is no default
    /// router has none to state. `[RFC 4191 §2.2]`
    #[must_use]
    pub fn preference(&self) -> Preference {
        match self.router_lifetime() {
            Lifetime::ZERO => Preference::Medium,
            _ => Preference::from_flags(u8_at::<5, 16>(self.fixed)).unwrap_or_default(),
        }
    }

    /// How long the sender is a default router: up to 65,535 s; zero: it is
    /// none.
    #[inline]
    #[must_use]
    pub fn router_lifetime(&self) -> Lifetime {
        Lifetime::from_secs(u16_at::<6, 16>(self.fixed).into())
    }

    /// How long a neighbour counts as reachable after it answered, in ms
    /// before randomisation; 0: nothing said.
    #[must_use]
    pub fn reachable_time(&self) -> u32 {
        u32_at::<8, 16>(self.fixed)
    }

    /// Time between two Neighbor Solicitations in ms; 0: nothing said.
    #[must_use]
    pub fn retrans_timer(&self) -> u32 {
        u32_at::<12, 16>(self.fixed)
    }

    /// The fixed part, to be sent again or changed.
    #[must_use]
    pub fn repr(&self) -> RouterAdvertisementRepr {
        RouterAdvertisementRepr {
            cur_hop_limit: self.cur_hop_limit(),
            flags: self.flags(),
            preference: self.preference(),
            router_lifetime: u16_at::<6, 16>(self.fixed),
            reachable_time: self.reachable_time(),
            retrans_timer: self.retrans_timer(),
        }
    }
}

impl NeighborSolicitation<'_> {
    /// The address that is asked about.
    #[must_use]
    pub fn target(&self) -> Ipv6Addr {
        ipv6_at::<8, 24>(self.fixed)
    }
}

impl NeighborAdvertisement<'_> {
    /// The flags.
    #[must_use]
    pub fn flags(&self) -> NeighborFlags {
        NeighborFlags::from_bits_retain(u32_at::<4, 24>(self.fixed))
    }

    /// The address that is spoken about.
    #[must_use]
    pub fn target(&self) -> Ipv6Addr {
        ipv6_at::<8, 24>(self.fixed)
    }
}

impl Redirect<'_> {
    /// The better first hop: a router's link-local address, or the
    /// destination itself.
    #[must_use]
    pub fn target(&self) -> Ipv6Addr {
        ipv6_at::<8, 40>(self.fixed)
    }

    /// The destination that it is better for.
    #[must_use]
    pub fn destination(&self) -> Ipv6Addr {
        ipv6_at::<24, 40>(self.fixed)
    }
}

bitflags! {
    /// The flags of a Router Advertisement but the preference; unknown bits
    /// are kept. [RFC 4861 §4.2]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct RouterFlags: u8 {
        /// M: addresses can be had by DHCPv6.
        const MANAGED = 0x80;
        /// O: other configuration can be had by DHCPv6.
        const OTHER = 0x40;
        /// H: the router is a mobile home agent. [RFC 6275 §7.1]
        const HOME_AGENT = 0x20;
        const _ = !0;
    }
}

bitflags! {
    /// The flags of a Neighbor Advertisement, in the 32 bits that they lead;
    /// unknown bits are kept. [RFC 4861 §4.4]
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
    pub struct NeighborFlags: u32 {
        /// R: the sender is a router.
        const ROUTER = 0x8000_0000;
        /// S: it answers a solicitation.
        const SOLICITED = 0x4000_0000;
        /// O: a link-layer address in it replaces an older one.
        const OVERRIDE = 0x2000_0000;
        const _ = !0;
    }
}

/// What a Router Solicitation without options says: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterSolicitationRepr;

impl RouterSolicitationRepr {
    /// Writes the message, 8 bytes, checksum zero.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        head(Icmpv6::ROUTER_SOLICITATION, writer);
        writer.u32(0);
    }
}

/// A whole Router Solicitation without options: IPv6 header, message and
/// checksum, as [`write_packet`] would write it.
///
/// Everything but the addresses is the same in each, so there is nothing to
/// go wrong and little to compute. `ISA-31 [RFC 4861 §4.1]`
#[inline]
#[must_use]
pub fn router_solicitation_packet(source: &Ipv6Addr, destination: &Ipv6Addr) -> [u8; 48] {
    // Payload length 8, ICMPv6, hop limit 255.
    const HEAD: u64 = 0x6000_0000_0008_3aff;
    const { assert!(HOP_LIMIT == 255 && Icmpv6::ROUTER_SOLICITATION == 0x85 && protocol::ICMPV6 == 0x3a) };
    // The pseudo-header's length and next header, and the message's first
    // word: a constant, since they come first.
    let sum = Sum::ZERO.u16(8 + 58).u16(0x8500).ipv6(source).ipv6(destination);
    let [high, low] = sum.checksum().to_be_bytes();
    let message = u64::from_be_bytes([Icmpv6::ROUTER_SOLICITATION, 0, high, low, 0, 0, 0, 0]);
    let (source, destination) = (halves(source), halves(destination));
    let words = [HEAD, source.0, source.1, destination.0, destination.1, message].map(u64::to_be_bytes);
    let mut packet = [0; 48];
    for (into, word) in packet.as_chunks_mut().0.iter_mut().zip(words) {
        *into = word;
    }
    packet
}

/// The fixed part of a Router Advertisement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouterAdvertisementRepr {
    /// The hop limit that hosts should send with; 0: say nothing.
    pub cur_hop_limit: u8,
    /// The flags, without the preference.
    pub flags: RouterFlags,
    /// The preference as a default router; not written when it is none.
    pub preference: Preference,
    /// How long the sender is a default router, in seconds; 0: it is none.
    pub router_lifetime: u16,
    /// How long a neighbour counts as reachable, in ms; 0: say nothing.
    pub reachable_time: u32,
    /// Time between two Neighbor Solicitations, in ms; 0: say nothing.
    pub retrans_timer: u32,
}

impl RouterAdvertisementRepr {
    /// Writes the message, 16 bytes, checksum zero; options follow.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        // RFC 4191 §2.2: no preference without a router lifetime.
        let preference = if self.router_lifetime == 0 { Preference::Medium } else { self.preference };
        head(Icmpv6::ROUTER_ADVERTISEMENT, writer);
        writer.u8(self.cur_hop_limit);
        writer.u8(self.flags.bits() & !Preference::MASK | preference.to_flags());
        writer.u16(self.router_lifetime);
        writer.u32(self.reachable_time);
        writer.u32(self.retrans_timer);
    }
}

/// A Neighbor Solicitation without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborSolicitationRepr {
    /// The address that is asked about; on a tunnel also the destination.
    pub target: Ipv6Addr,
}

impl NeighborSolicitationRepr {
    /// Writes the message, 24 bytes, checksum zero.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        head(Icmpv6::NEIGHBOR_SOLICITATION, writer);
        writer.u32(0);
        writer.ipv6(&self.target);
    }
}

/// A Neighbor Advertisement without options.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeighborAdvertisementRepr {
    /// The flags.
    pub flags: NeighborFlags,
    /// The address that is spoken about.
    pub target: Ipv6Addr,
}

impl NeighborAdvertisementRepr {
    /// The answer to a solicitation that came from a unicast address.
    ///
    /// `NDP-52 [RFC 4861 §7.2.4]`: the target is copied, R says what this
    /// node is, S is set, and O is not since no link-layer address is sent.
    #[must_use]
    pub fn answer(solicitation: &NeighborSolicitation<'_>, is_router: bool) -> Self {
        let router = if is_router { NeighborFlags::ROUTER } else { NeighborFlags::empty() };
        NeighborAdvertisementRepr { flags: router | NeighborFlags::SOLICITED, target: solicitation.target() }
    }

    /// Writes the message, 24 bytes, checksum zero.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        head(Icmpv6::NEIGHBOR_ADVERTISEMENT, writer);
        writer.u32(self.flags.bits());
        writer.ipv6(&self.target);
    }
}

/// The fixed part of a Redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RedirectRepr {
    /// The better first hop: a router's link-local address, or the
    /// destination itself.
    pub target: Ipv6Addr,
    /// The destination that it is better for.
    pub destination: Ipv6Addr,
}

impl RedirectRepr {
    /// Writes the message, 40 bytes, checksum zero; options follow.
    pub fn emit(&self, writer: &mut Writer<'_>) {
        head(Icmpv6::REDIRECT, writer);
        writer.u32(0);
        writer.ipv6(&self.target);
        writer.ipv6(&self.destination);
    }
}

/// Replaces `packet` by an IPv6 packet with hop limit 255 whose payload is
/// the ICMPv6 message that `emit` writes, and fills in its checksum. Gives
/// the packet's length in bytes.
///
/// # Errors
/// The buffer is too short, or the message exceeds 65,535 bytes; the packet
/// is then empty.
pub fn write_packet(
    packet: &mut PacketMut<'_>,
    source: &Ipv6Addr,
    destination: &Ipv6Addr,
    emit: impl FnOnce(&mut Writer<'_>),
) -> Result<usize, EmitError> {
    let header = ipv6::Fields {
        traffic_class: 0,
        flow_label: 0,
        // Known when the rest is written.
        payload_len: 0,
        next_header: protocol::ICMPV6,
        // NDP-2 [RFC 4861 §6.1, 7.1, 8.1]
        hop_limit: HOP_LIMIT,
        source: *source,
        destination: *destination,
    };
    let len = packet.write_with(|writer| {
        writer.array(header.to_bytes());
        emit(writer);
    })?;
    finish_packet(packet, source, destination)?;
    Ok(len)
}

/// The hop limit of every Neighbor Discovery message. [RFC 4861 §6.1]
pub const HOP_LIMIT: u8 = 255;

fn finish_packet(packet: &mut PacketMut<'_>, source: &Ipv6Addr, destination: &Ipv6Addr) -> Result<(), EmitError> {
    let bytes = packet.as_mut_slice();
    let total = bytes.len();
    if let Some((header, message)) = bytes.split_first_chunk_mut::<40>() {
        let Ok(payload) = u16::try_from(message.len()) else {
            packet.clear();
            return Err(EmitError::new(total, usize::from(u16::MAX).saturating_add(40)));
        };
        let [_, _, _, _, high, low, ..] = header;
        [*high, *low] = payload.to_be_bytes();
        icmpv6::fill_checksum(message, source, destination);
    }
    Ok(())
}

/// Whether the checksum of an ICMPv6 message holds between these addresses.
///
/// `NDP-1 [RFC 4443 §2.3]`
#[inline]
#[must_use]
pub fn verify(source: &Ipv6Addr, destination: &Ipv6Addr, icmpv6: &[u8]) -> bool {
    let len = u32::try_from(icmpv6.len()).unwrap_or(u32::MAX);
    checksum::pseudo_header_ipv6(source, destination, protocol::ICMPV6, len).bytes(icmpv6).is_valid()
}

/// Type, code 0 and a checksum yet to come.
fn head(message_type: u8, writer: &mut Writer<'_>) {
    writer.array([message_type, 0, 0, 0]);
}

/// The structure that all five share: type, code 0, a fixed part, options
/// that can be walked.
#[inline]
fn split<const N: usize>(icmpv6: &[u8], message_type: u8) -> Result<(&[u8; N], &[u8]), ParseError> {
    let (fixed, options) = icmpv6.split_first_chunk::<N>().ok_or(error(ParseErrorKind::Truncated, icmpv6.len()))?;
    match icmpv6 {
        [found, ..] if *found != message_type => return Err(error(ParseErrorKind::Type, 0)),
        [_, code, ..] if *code != 0 => return Err(error(ParseErrorKind::Code, 1)),
        _ => {}
    }
    Options::new(options, N).check()?;
    Ok((fixed, options))
}

const fn error(kind: ParseErrorKind, offset: usize) -> ParseError {
    ParseError::new(Layer::NeighborDiscovery, kind, offset)
}

#[cfg(test)]
mod tests;
