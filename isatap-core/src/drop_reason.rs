//! Why a packet was dropped, and how often.
//!
//! A drop is an answer, not an error: each has one reason, and whoever owns
//! the machine counts it. The strings are stable; the tool's `check` and
//! `status` print them.

use core::fmt;

macro_rules! drop_reasons {
    ($($(#[doc = $text:literal])+ $name:ident = $string:literal, $requirement:literal;)+) => {
        /// Why a packet was dropped.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum DropReason {
            $($(#[doc = $text])+ $name,)+
        }

        impl DropReason {
            /// Every reason, in the order of [`Counters`].
            pub const ALL: &'static [DropReason] = &[$(DropReason::$name,)+];

            /// The reason in kebab-case; stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(DropReason::$name => $string,)+ }
            }

            /// The requirement that the packet broke.
            #[must_use]
            pub const fn requirement(self) -> &'static str {
                match self { $(DropReason::$name => $requirement,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(DropReason::$name => concat!($($text),+).trim_ascii(),)+ }
            }
        }
    };
}

drop_reasons! {
    // The outer header.
    /// The outer header is no IPv4 header.
    OuterMalformed = "outer-malformed", "TUN-11";
    /// The outer header checksum does not hold.
    OuterChecksum = "outer-checksum", "TUN-11";
    /// An option of the outer header is malformed, comes twice or is a security label.
    OuterOptions = "outer-options", "TUN-11";
    /// The outer header has a source route.
    OuterSourceRoute = "outer-source-route", "SEC-12";
    /// The outer packet is a fragment; reassembly comes first and is the caller's.
    OuterFragment = "outer-fragment", "TUN-10";
    /// The outer packet is not protocol 41.
    NotProtocol41 = "not-protocol-41", "TUN-5";
    /// The outer packet is too short for an IPv6 header.
    TooShort = "too-short", "TUN-11";
    /// The outer source can never be valid: 0/8, 127/8, multicast, 240/4, a broadcast address.
    OuterSourceRefused = "outer-source-refused", "TUN-15";
    /// The outer destination is not a unicast address.
    OuterDestinationRefused = "outer-destination-refused", "TUN-14";
    /// No link of this node has these outer addresses.
    NotAddressed = "not-addressed", "ISA-40";
    // The inner header.
    /// The inner packet is not IPv6.
    InnerVersion = "inner-version", "TUN-5";
    /// The inner packet is longer than what carried it.
    Truncated = "truncated", "TUN-12";
    /// The inner packet announces a jumbogram.
    Jumbogram = "jumbogram", "TUN-12";
    /// The inner source must never appear behind a tunnel: multicast, ::1, ::/96, IPv4-mapped.
    InnerSourceRefused = "inner-source-refused", "TUN-16";
    /// The inner source is unspecified, which an automatic tunnel has no use for.
    InnerSourceUnspecified = "inner-source-unspecified", "TUN-16";
    /// The inner destination is a multicast or loopback address that the link does not carry.
    InnerDestinationRefused = "inner-destination-refused", "ISA-70";
    /// More extension headers than are looked at.
    ExtensionHeaders = "extension-headers", "SEC-12";
    /// A routing header asks this node to forward further.
    RoutingHeader = "routing-header", "SEC-12";
    /// Tunnels in tunnels beyond the limit.
    Nesting = "nesting", "SEC-13";
    /// The outer header says congestion, the inner one cannot carry it.
    EcnNotCapable = "ecn-not-capable", "TUN-52";
    // Ingress checks.
    /// The inner source neither embeds the outer source on an on-link prefix nor came from a potential router.
    IsatapSourceMismatch = "isatap-source-mismatch", "ISA-42";
    /// The outer source is not among the site's known members.
    NotAMember = "not-a-member", "SEC-2";
    /// The inner source is off-link and embeds one of this node's IPv4 addresses.
    LoopSource = "loop-source", "SEC-3";
    /// The inner destination is off-link and embeds one of this node's IPv4 addresses.
    LoopDestination = "loop-destination", "SEC-3";
    /// The outer address belongs to another known tunnel router.
    KnownRouter = "known-router", "SEC-4";
    /// The neighbour did not answer whether it is there.
    NeighborUnverified = "neighbor-unverified", "SEC-1";
    /// The packet would go back to the outer source it came from.
    BackToSender = "back-to-sender", "SEC-5";
    /// The inner source is this node's own.
    OwnSource = "own-source", "SEC-10";
    /// An unverified source is on-link on another link.
    SourceOfOtherLink = "source-of-other-link", "TUN-23";
    /// The inner source is not allowed in from this side.
    IngressFilter = "ingress-filter", "TUN-17";
    // 6to4, 6rd and IPv4-compatible addresses.
    /// An outer address of a 6to4 packet is not a global unicast one.
    SixToFourOuterRefused = "6to4-outer-refused", "S64-20";
    /// An inner address of a 6to4 packet is in ::/16, fe80::/10, fec0::/10 or ff00::/8.
    SixToFourInnerRefused = "6to4-inner-refused", "S64-20";
    /// The IPv4 address in a 6to4 address is not a global unicast one.
    SixToFourEmbeddedRefused = "6to4-embedded-refused", "S64-14";
    /// The IPv4 address in the 6to4 source is not the outer source.
    SixToFourSourceMismatch = "6to4-source-mismatch", "S64-20";
    /// The IPv4 address in the 6to4 destination is not the outer destination.
    SixToFourDestinationMismatch = "6to4-destination-mismatch", "S64-20";
    /// Neither the inner source nor the inner destination is a 6to4 address.
    NativeToNative = "native-to-native", "S64-20";
    /// The inner destination is not in this 6to4 router's site.
    OutsideSite = "outside-site", "S64-21";
    /// A relay does not carry packets from one 6to4 site to another.
    SixToFourToSixToFour = "6to4-to-6to4", "S64-22";
    /// A packet to another 6to4 site would go by a relay.
    SixToFourByRelay = "6to4-by-relay", "S64-13";
    /// The outer source is not among the relays that native packets are accepted from.
    NotARelay = "not-a-relay", "S64-24";
    /// The outer source is not among the 6to4 routers that this relay serves.
    NotAClient = "not-a-client", "S64-46";
    /// The outer source is no border relay, and not the IPv4 address in the 6rd source.
    SixRdSourceMismatch = "6rd-source-mismatch", "S6R-22";
    /// The inner destination is not in this customer edge's delegated prefix.
    OutsideDelegation = "outside-delegation", "S6R-23";
    /// A packet of another customer edge came by the border relay.
    SiblingByRelay = "6rd-sibling-by-relay", "S6R-22";
    /// A packet with a source of the 6rd domain came from outside of it.
    SixRdSourceFromOutside = "6rd-source-from-outside", "S6R-35";
    /// Another automatic tunnel brought the packet, which does not enter a 6rd domain.
    TunnelToTunnel = "tunnel-to-tunnel", "S6R-34";
    /// The IPv4-compatible addresses are not those of the outer packet.
    CompatibleMismatch = "compatible-mismatch", "TUN-71";
    // Neighbor Discovery.
    /// A Neighbor Discovery message whose hop limit is not 255.
    NdHopLimit = "nd-hop-limit", "NDP-2";
    /// A Neighbor Discovery message in a fragment.
    NdFragment = "nd-fragment", "NDP-3";
    /// A Neighbor Discovery message that is malformed.
    NdMalformed = "nd-malformed", "NDP-5";
    /// An ICMPv6 message with a wrong checksum.
    NdChecksum = "nd-checksum", "NDP-1";
    /// A Neighbor Discovery message with addresses that its type forbids.
    NdAddresses = "nd-addresses", "NDP-24";
    /// A Router Advertisement that did not come from a potential router's link-local address.
    RaNotFromRouter = "ra-not-from-router", "ISA-43";
    /// A Redirect that did not come from the first hop, or to a target that is no neighbour.
    RedirectRefused = "redirect-refused", "ISA-46";
    /// A Router Solicitation where no router is.
    NotARouter = "not-a-router", "NDP-25";
    /// A Neighbor Solicitation or Advertisement about an address that is not known here.
    NdUnknownTarget = "nd-unknown-target", "NDP-68";
    /// An ICMPv6 informational message of unknown type.
    IcmpUnknown = "icmp-unknown", "NDP-69";
    // Tables and rates.
    /// No room to remember; the sender asks again.
    TableFull = "table-full", "SEC-5";
    /// More than the limit of answers in this time.
    RateLimited = "rate-limited", "ISA-57";
    // Sending.
    /// The packet from the inside is no whole IPv6 packet.
    NotIpv6 = "not-ipv6", "TUN-5";
    /// No route to the destination.
    NoRoute = "no-route", "RTE-5";
    /// The destination is in a prefix of this node's that no link has.
    NullRoute = "null-route", "S6R-20";
    /// The next hop has no IPv4 address in it.
    NextHopUnresolvable = "next-hop-unresolvable", "ISA-80";
    /// The outer destination must not be sent to.
    DestinationRefused = "destination-refused", "TUN-4";
    /// Multicast does not cross this link.
    Multicast = "multicast", "ISA-70";
    /// The link has no IPv4 address to send from.
    NoLocator = "no-locator", "ISA-11";
    /// The inner source does not belong to a locator that is still there.
    SourceUnusable = "source-unusable", "ISA-13";
    /// Larger than the tunnel's MTU.
    PacketTooBig = "packet-too-big", "TUN-32";
    /// The caller's buffer has no room for what is to be written into it: an
    /// answer, or a header in front.
    NoHeadroom = "no-headroom", "TUN-1";
    // Forwarding.
    /// Forwarding is off where the packet came in or would go out.
    ForwardingOff = "forwarding-off", "RTE-7";
    /// The hop limit ended here.
    HopLimit = "hop-limit", "NDP-63";
    /// The address's scope ends at this link.
    Scope = "scope", "NDP-62";
    /// Received for the subnet of the point-to-point link that it came from.
    PointToPointBounce = "point-to-point-bounce", "TUN-64";
    // Teredo.
    /// The UDP payload is no Teredo packet.
    TeredoMalformed = "teredo-malformed", "TER-10";
    /// A trailer of unknown type asks to drop the packet.
    TeredoTrailer = "teredo-trailer", "TER-10";
    /// The alternate addresses of a bubble are malformed.
    TeredoAlternates = "teredo-alternates", "TER-21";
    /// The destination is no address of this client.
    TeredoDestination = "teredo-destination", "TER-14";
    /// The packet did not come from the address and port that its source embeds.
    TeredoMapping = "teredo-mapping", "TER-39";
    /// The nonce of an advertisement is missing or is not the one sent.
    TeredoNonce = "teredo-nonce", "TER-32";
    /// The message authentication code is missing or wrong.
    TeredoAuthentication = "teredo-authentication", "TER-34";
    /// The advertisement of a server breaks a rule of qualification.
    TeredoAdvertisement = "teredo-advertisement", "TER-32";
    /// The mapped address in the origin indication can be in no Teredo address.
    TeredoOrigin = "teredo-origin", "TER-33";
    /// An IPv4 address taken out of an IPv6 address is not to be sent to.
    TeredoEmbedded = "teredo-embedded", "TER-40";
    /// A discovery bubble that did not come from the local subnet.
    TeredoDiscovery = "teredo-discovery", "TER-50";
    /// The client is not qualified.
    TeredoUnqualified = "teredo-unqualified", "TER-36";
    /// The peer did not answer bubbles or the connectivity test.
    TeredoNoAnswer = "teredo-no-answer", "TER-42";
    /// Neither a bubble nor ICMPv6, and longer than a server carries.
    TeredoNotForServer = "teredo-not-for-server", "TER-60";
    /// Neither end is a client of this server.
    TeredoNotOurClient = "teredo-not-our-client", "TER-60";
    /// The packet comes from, or would go to, a server's own address and port.
    TeredoServerLoop = "teredo-server-loop", "TER-63";
    /// The relay does not serve this destination, or does not know this peer.
    TeredoNotServed = "teredo-not-served", "TER-91";
    // ICMPv4.
    /// An ICMPv4 error that matches nothing this node sent, or is not acted upon.
    IcmpV4Ignored = "icmpv4-ignored", "TUN-35";
}

impl DropReason {
    /// How many reasons there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The reason's place in [`Counters`].
    #[must_use]
    #[expect(clippy::as_conversions, reason = "a fieldless repr(u8) enum has no other conversion")]
    pub const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl core::error::Error for DropReason {}

/// What happened to packets: one counter a reason, and the good ends.
///
/// Whatever enters by `encapsulate`, `decapsulate`, `forward` or
/// `handle_icmpv4` is counted once in `entered` and once in one of the
/// others. Counters wrap: `u64` ones never in practice, the `u32` ones of the
/// smallest capacity after 2^32 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters<T = u64> {
    /// Packets handed in.
    pub entered: T,
    /// Packets that left encapsulated.
    pub tunnelled: T,
    /// Packets handed to this host's IPv6.
    pub delivered: T,
    /// Packets that left over a native link.
    pub native: T,
    /// Packets that a control machine took.
    pub consumed: T,
    /// Packets that the caller was asked to hold. Handed in again, they enter
    /// again; what a Teredo client held of the network's is not.
    pub held: T,
    /// Dropped, by [`DropReason::index`].
    by_reason: [T; DropReason::COUNT],
}

/// A counter: `u16`, `u32` or `u64`.
pub trait Tally: Copy + fmt::Debug + PartialEq + 'static {
    /// Nothing counted.
    const ZERO: Self;

    /// Counts `more` than before, wrapping.
    #[must_use]
    fn plus(self, more: u64) -> Self;

    /// The count.
    fn get(self) -> u64;
}

impl Tally for u64 {
    const ZERO: Self = 0;

    fn plus(self, more: u64) -> Self {
        self.wrapping_add(more)
    }

    fn get(self) -> u64 {
        self
    }
}

/// For firmware: wraps after 65,536.
impl Tally for u16 {
    const ZERO: Self = 0;

    fn plus(self, more: u64) -> Self {
        self.wrapping_add(u16::try_from(more & 0xffff).unwrap_or(0))
    }

    fn get(self) -> u64 {
        self.into()
    }
}

impl Tally for u32 {
    const ZERO: Self = 0;

    fn plus(self, more: u64) -> Self {
        self.wrapping_add(u32::try_from(more & 0xffff_ffff).unwrap_or(0))
    }

    fn get(self) -> u64 {
        self.into()
    }
}

impl<T: Tally> Counters<T> {
    /// Nothing counted.
    pub const ZERO: Self = Counters {
        entered: T::ZERO,
        tunnelled: T::ZERO,
        delivered: T::ZERO,
        native: T::ZERO,
        consumed: T::ZERO,
        held: T::ZERO,
        by_reason: [T::ZERO; DropReason::COUNT],
    };

    /// Counts one drop.
    pub fn count(&mut self, reason: DropReason) {
        if let Some(counter) = self.by_reason.get_mut(reason.index()) {
            *counter = counter.plus(1);
        }
    }

    /// Drops for `reason` so far.
    #[must_use]
    pub fn get(&self, reason: DropReason) -> u64 {
        self.by_reason.get(reason.index()).copied().map_or(0, T::get)
    }

    /// The reasons that were counted at least once.
    pub fn dropped(&self) -> impl Iterator<Item = (DropReason, u64)> + '_ {
        DropReason::ALL.iter().map(|&reason| (reason, self.get(reason))).filter(|&(_, count)| count > 0)
    }

    /// Drops of every reason.
    #[must_use]
    pub fn total_dropped(&self) -> u64 {
        self.by_reason.iter().fold(0, |sum, &count| sum.wrapping_add(count.get()))
    }

    /// Adds what another thread counted.
    pub fn merge<U: Tally>(&mut self, other: &Counters<U>) {
        let add = |into: &mut T, from: U| *into = into.plus(from.get());
        add(&mut self.entered, other.entered);
        add(&mut self.tunnelled, other.tunnelled);
        add(&mut self.delivered, other.delivered);
        add(&mut self.native, other.native);
        add(&mut self.consumed, other.consumed);
        add(&mut self.held, other.held);
        for (into, from) in self.by_reason.iter_mut().zip(other.by_reason) {
            add(into, from);
        }
    }
}

impl<T: Tally> Default for Counters<T> {
    fn default() -> Self {
        Counters::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_string_requirement_and_sentence() {
        let mut counters = Counters::<u32>::ZERO;
        for (index, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(reason.index(), index);
            assert!(reason.as_str().bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            assert!(reason.requirement().contains('-'));
            assert!(reason.describe().ends_with('.'), "{}", reason.describe());
            assert_eq!(DropReason::ALL.iter().filter(|other| other.as_str() == reason.as_str()).count(), 1);
            counters.count(*reason);
        }
        assert_eq!(counters.total_dropped(), u64::try_from(DropReason::COUNT).unwrap());
        let mut sum = Counters::<u64>::ZERO;
        sum.merge(&counters);
        sum.merge(&counters);
        assert_eq!(sum.get(DropReason::HopLimit), 2);
    }
}
