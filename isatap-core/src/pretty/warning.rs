//! What is wrong or remarkable about a layer.

use core::fmt;

macro_rules! warnings {
    ($($name:ident = $string:literal, $requirement:literal, $text:literal;)+) => {
        /// Something about a layer that a node would stumble over.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Warning {
            $(#[doc = $text] $name,)+
        }

        impl Warning {
            /// Every warning.
            pub const ALL: &'static [Warning] = &[$(Warning::$name,)+];

            /// The warning in kebab-case; stable.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Warning::$name => $string,)+ }
            }

            /// The requirement, or the RFC where this project has none of it.
            #[must_use]
            pub const fn requirement(self) -> &'static str {
                match self { $(Warning::$name => $requirement,)+ }
            }

            /// One sentence for people.
            #[must_use]
            pub const fn describe(self) -> &'static str {
                match self { $(Warning::$name => $text,)+ }
            }
        }
    };
}

warnings! {
    Ipv4Checksum = "ipv4-checksum", "TUN-11", "The IPv4 header checksum does not hold.";
    Ipv4ChecksumUnset = "ipv4-checksum-unset", "TUN-11", "The IPv4 header checksum is 0: captured before the sender's network card filled it in.";
    Ipv4LengthUnset = "ipv4-length-unset", "TUN-11", "The IPv4 length is 0: segmentation offload, captured before the sender's network card cut it up.";
    Ipv4Length = "ipv4-length", "TUN-11", "The IPv4 header states more or fewer bytes than there can be.";
    Ipv4Options = "ipv4-options", "TUN-11", "An IPv4 option is malformed, comes twice or is a security label: to be dropped.";
    Ipv4SourceRoute = "ipv4-source-route", "SEC-12", "The IPv4 header has a source route: to be dropped.";
    OuterFragment = "outer-fragment", "TUN-10", "A fragment: what it carries is known after reassembly only.";
    OuterSource = "outer-source", "TUN-15", "The outer source can never be a sender.";
    OuterDestination = "outer-destination", "TUN-14", "The outer destination is no unicast address.";
    InnerVersion = "inner-version", "TUN-5", "What the tunnel carries is not IPv6.";
    InnerTruncated = "inner-truncated", "TUN-12", "The inner packet is longer than what carries it.";
    Padding = "padding", "TUN-12", "There are bytes behind the inner packet, which are to be cut off.";
    Jumbogram = "jumbogram", "TUN-12", "The packet announces a jumbogram, which no tunnel carries.";
    InnerSource = "inner-source", "TUN-16", "The inner source must never come out of a tunnel.";
    Ecn = "ecn-not-capable", "TUN-52", "The outer header says congestion, and the inner one cannot: to be dropped.";
    IsatapSource = "isatap-source-mismatch", "ISA-42", "The inner source embeds another IPv4 address than the outer source: accepted from a potential router only.";
    SixToFourSource = "6to4-source-mismatch", "S64-20", "The 6to4 source embeds another IPv4 address than the outer source: to be dropped.";
    SixToFourDestination = "6to4-destination-mismatch", "S64-20", "The 6to4 destination embeds another IPv4 address than the outer destination: to be dropped.";
    SixToFourPrivate = "6to4-private", "S64-14", "A 6to4 address embeds an IPv4 address that is not global: to be dropped.";
    Ipv6Length = "ipv6-length", "RFC 8200 §3", "The IPv6 header states more bytes than there are.";
    RoutingHeader = "routing-header", "SEC-12", "A routing header asks for further forwarding.";
    ExtensionHeaders = "extension-headers", "SEC-12", "There are more extension headers than a node looks at.";
    Nesting = "nesting", "SEC-13", "There are more tunnels in tunnels than a node accepts.";
    Icmpv6Checksum = "icmpv6-checksum", "NDP-1", "The ICMPv6 checksum does not hold.";
    NdHopLimit = "nd-hop-limit", "NDP-2", "The hop limit of Neighbor Discovery is not 255: it was forwarded.";
    NdFragment = "nd-fragment", "NDP-3", "Neighbor Discovery in a fragment: to be ignored.";
    NdCode = "nd-code", "NDP-20", "The code of a Neighbor Discovery message is not 0.";
    NdOption = "nd-option", "NDP-5", "An option of length 0, or one that runs past the end: the message is to be discarded.";
    NdAddresses = "nd-addresses", "NDP-22", "An address that this message must not have.";
    RaSource = "ra-source", "NDP-21", "The source of a Router Advertisement is not link-local.";
    RedirectSource = "redirect-source", "NDP-24", "The source of a Redirect is not link-local.";
    PrefixLength = "prefix-length", "NDP-33", "A prefix for autoconfiguration that is not a /64: no address is made of it.";
    PrefixLifetimes = "prefix-lifetimes", "NDP-33", "A prefix that is preferred for longer than it is valid: to be ignored.";
    PrefixLinkLocal = "prefix-link-local", "NDP-10", "The link-local prefix in a prefix option: to be ignored.";
    PrefixOption = "prefix-option", "NDP-10", "A prefix option that breaks its own rules: to be ignored.";
    RouteOption = "route-option", "NDP-11", "A route option that breaks its own rules: to be ignored.";
    RouteTwice = "route-twice", "NDP-12", "The same route twice in one advertisement.";
    DnsOption = "dns-option", "NDP-13", "A DNS option that breaks its own rules: to be ignored.";
    MtuOption = "mtu-option", "NDP-14", "An MTU option below 1280 or of the wrong length: to be ignored.";
    LinkLayerOption = "link-layer-option", "TUN-63", "A link-layer address, which means nothing on a tunnel: to be ignored.";
    UdpLength = "udp-length", "TER-16", "The UDP length is not that of the datagram.";
    UdpChecksum = "udp-checksum", "TER-16", "The UDP checksum does not hold.";
    Icmpv4Checksum = "icmpv4-checksum", "RFC 792", "The ICMPv4 checksum does not hold.";
    TeredoMalformed = "teredo-malformed", "TER-10", "No authentication, no origin indication and no IPv6 packet is here.";
    TeredoConfirmation = "teredo-confirmation", "TER-12", "The server says that the client's key is not valid.";
    TeredoFlags = "teredo-flags", "TER-1", "Bits of a Teredo address are set that new clients leave zero.";
    TeredoPort = "teredo-port", "TER-4", "A Teredo address with port 0: nobody can be reached there.";
    TeredoAddress = "teredo-address", "TER-40", "A Teredo address embeds an IPv4 address that nothing may be sent to.";
    TeredoObsolete = "teredo-obsolete", "TER-7", "A Teredo address of the prefix before the RFC.";
    TeredoSource = "teredo-source-mismatch", "TER-39", "The Teredo source embeds another address or port than the datagram's: it may be spoofed.";
    TrailerDiscard = "trailer-discard", "TER-13", "An unknown trailer whose type asks to discard the packet.";
    TrailerMalformed = "trailer-malformed", "TER-13", "A trailer that runs past the end: it and all behind it are ignored.";
    AlternateAddress = "alternate-address", "TER-21", "A list of alternate addresses that breaks its own rules: the bubble is to be dropped.";
}

impl Warning {
    #[expect(clippy::as_conversions, reason = "a fieldless repr(u8) enum has no other conversion")]
    const fn bit(self) -> u64 {
        match 1_u64.checked_shl(self as u32) {
            Some(bit) => bit,
            None => 0,
        }
    }
}

const _: () = assert!(Warning::ALL.len() <= 64, "more warnings than bits");

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.describe(), self.requirement())
    }
}

/// A set of warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Warnings(u64);

impl Warnings {
    /// No warning.
    pub const NONE: Warnings = Warnings(0);

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Whether this one is among them.
    #[must_use]
    pub const fn contains(self, warning: Warning) -> bool {
        self.0 & warning.bit() != 0
    }

    /// Each of them once, in the order of [`Warning::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Warning> {
        Warning::ALL.iter().copied().filter(move |warning| self.contains(*warning))
    }

    pub(super) fn add(&mut self, warning: Warning) {
        self.0 |= warning.bit();
    }

    pub(super) fn add_if(&mut self, is_so: bool, warning: Warning) {
        if is_so {
            self.add(warning);
        }
    }
}
