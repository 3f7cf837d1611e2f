//! What the outer packets of a tunnel say, and how they leave. [RFC 4213 §3, RFC 6040]

use super::{LARGEST_MTU, Refusals, check_device};
use crate::device::Binding;
use crate::error::Error;
use isatap_core::link::{OuterPolicy, TtlMode};
use isatap_core::proto41::ecn::{EcnMode, TosMode};
use isatap_core::wire::ipv6::MINIMUM_MTU;
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// What takes over a field of the inner packet, as Linux calls it.
pub const INHERIT: &str = "inherit";

/// The time to live of outer packets: `64`, or `inherit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ttl(pub TtlMode);

impl FromStr for Ttl {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == INHERIT {
            return Ok(Self(TtlMode::CopyHopLimit));
        }
        let ttl = text.parse().map_err(|_| "write a whole number from 1 to 255, or inherit")?;
        Ok(Self(TtlMode::Fixed(ttl)))
    }
}

impl fmt::Display for Ttl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TtlMode::Fixed(ttl) => ttl.fmt(f),
            TtlMode::CopyHopLimit => f.write_str(INHERIT),
        }
    }
}

/// The DSCP of outer packets, as the TOS octet that it is the upper six bits of: `0xb8`, `184`,
/// `ef`, or `inherit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tos(pub TosMode);

impl FromStr for Tos {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == INHERIT {
            return Ok(Self(TosMode::CopyTrafficClass));
        }
        if let Some(dscp) = dscp_named(text) {
            return Ok(Self(TosMode::Fixed(dscp)));
        }
        let octet = number(text).and_then(|octet| u8::try_from(octet).ok());
        let octet = octet.ok_or("write 0x00 to 0xfc, a name such as ef, af41 or cs6, or inherit")?;
        match octet & 3 {
            0 => Ok(Self(TosMode::Fixed(octet >> 2))),
            _ => Err(format!(
                "the two lowest bits are those of ECN, which has a key of its own: write {:#04x}",
                octet & 0xfc
            )),
        }
    }
}

impl fmt::Display for Tos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            TosMode::Fixed(dscp) => write!(f, "{:#04x}", dscp << 2),
            TosMode::CopyTrafficClass => f.write_str(INHERIT),
        }
    }
}

/// [RFC 2474 §4.2.2, RFC 2597 §6, RFC 3246 §2.7, RFC 8622 §4]
fn dscp_named(name: &str) -> Option<u8> {
    match *name.to_ascii_lowercase().as_bytes() {
        [b'c', b's', class @ b'0'..=b'7'] => Some((class - b'0') << 3),
        [b'a', b'f', class @ b'1'..=b'4', drop @ b'1'..=b'3'] => Some((class - b'0') << 3 | (drop - b'0') << 1),
        [b'e', b'f'] => Some(46),
        [b'l', b'e'] => Some(1),
        _ => None,
    }
}

/// Whether outer packets carry the congestion marks of the inner ones. [RFC 6040 §4.1]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ecn(pub EcnMode);

impl FromStr for Ecn {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "normal" => Ok(Self(EcnMode::Normal)),
            "compatibility" => Ok(Self(EcnMode::Compatibility)),
            _ => Err("expected normal or compatibility"),
        }
    }
}

impl fmt::Display for Ecn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            EcnMode::Normal => "normal",
            EcnMode::Compatibility => "compatibility",
        })
    }
}

/// A mark of packets for this machine's firewall and policy routing: `0x10`, or `16`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Mark(pub u32);

impl FromStr for Mark {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        number(text).map(Self).ok_or("write 0x0 to 0xffffffff, or the same in decimal digits")
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

/// With `0x` in front, or in decimal digits: `+5` is none.
fn number(text: &str) -> Option<u32> {
    let (digits, radix) = text.strip_prefix("0x").map_or((text, 10), |digits| (digits, 16));
    digits.bytes().next().filter(u8::is_ascii_hexdigit)?;
    u32::from_str_radix(digits, radix).ok()
}

/// The fields that every tunnel has.
#[derive(Clone, Copy, Debug)]
pub(super) struct OuterFields<'s> {
    pub(super) dev: &'s str,
    pub(super) mtu: Option<u16>,
    pub(super) ttl: Ttl,
    pub(super) tos: Option<Tos>,
    pub(super) ecn: Option<Ecn>,
    pub(super) path_mtu_discovery: bool,
    pub(super) mark: Mark,
    pub(super) bind_device: Option<&'s str>,
}

impl OuterFields<'_> {
    /// `base`, changed as they say.
    pub(super) fn policy(&self, base: OuterPolicy) -> OuterPolicy {
        let mut policy = base.with_link_mtu(self.mtu);
        policy.ttl = self.ttl.0;
        policy.tos = self.tos.map_or(policy.tos, |tos| tos.0);
        policy.ecn = self.ecn.map_or(policy.ecn, |ecn| ecn.0);
        if self.path_mtu_discovery { policy } else { policy.without_path_mtu() }
    }

    pub(super) fn binding(&self) -> Binding {
        Binding { mark: self.mark.0, device: self.bind_device.map(str::to_owned) }
    }

    pub(super) fn check(&self, refusals: &mut Refusals) {
        if let Some(mtu) = self.mtu.filter(|mtu| !(MINIMUM_MTU..=LARGEST_MTU).contains(mtu)) {
            let why = format!("a tunnel carries {MINIMUM_MTU} to {LARGEST_MTU} bytes");
            refusals.add("mtu", Error::usage("set the MTU", mtu, why));
        }
        if self.ttl.0 == TtlMode::Fixed(0) {
            let error = Error::usage("set the time to live", 0, "nothing would leave this machine");
            refusals.add("ttl", error.with_advice("write 1 to 255, or inherit"));
        }
        if let Some(Tos(TosMode::Fixed(dscp))) = self.tos.filter(|tos| matches!(tos.0, TosMode::Fixed(64..))) {
            refusals.add("tos", Error::usage("set the DSCP", dscp, "it has six bits").with_advice("write 0 to 63"));
        }
        let Some(device) = self.bind_device else { return };
        refusals.note("bind-device", check_device(device));
        if device.parse::<Ipv4Addr>().is_ok() {
            let error = Error::usage("bind to the device", device, "it is an address");
            refusals.add("bind-device", error.with_advice("give it as local instead of bind-device"));
        } else if device == self.dev {
            let error = Error::usage("bind to the device", device, "it is the tunnel's own");
            refusals.add("bind-device", error.with_advice(Binding::INSTEAD));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use isatap_core::proto41::mtu::MtuMode;

    #[test]
    fn tun_50_a_tos_is_an_octet_without_ecn_a_name_or_the_inner_one() {
        let read = |text: &str| text.parse::<Tos>().map(|tos| tos.to_string());
        for (text, tos) in [
            ("inherit", "inherit"),
            ("0", "0x00"),
            ("0xfc", "0xfc"),
            ("184", "0xb8"),
            ("ef", "0xb8"),
            ("AF41", "0x88"),
            ("af13", "0x38"),
            ("cs0", "0x00"),
            ("cs6", "0xc0"),
            ("le", "0x04"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(tos), "{text}");
        }
        assert!(read("0xb9").unwrap_err().ends_with("write 0xb8"));
        for wrong in ["", "0x", "0x100", "256", "-4", "+4", "0x-4", "af44", "cs8", "Inherit", "b8"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // What a name is, the octet is.
        for octet in (0..=255_u8).step_by(4) {
            assert_eq!(format!("{octet}").parse::<Tos>(), Ok(Tos(TosMode::Fixed(octet / 4))));
            assert_eq!(Tos(TosMode::Fixed(octet / 4)).to_string().parse::<Tos>(), Ok(Tos(TosMode::Fixed(octet / 4))));
        }
    }

    #[test]
    fn isa_15_tun_31_the_mtu_is_what_is_written_then_what_ipv4_carries_and_1280_without_discovery() {
        for (mtu, path_mtu_discovery, mode, shown) in [
            (None, true, OuterPolicy::DEFAULT.mtu, 1480),
            (Some(1280), true, OuterPolicy::DEFAULT.mtu, 1280),
            (Some(9000), true, OuterPolicy::DEFAULT.mtu, 9000),
            (None, false, MtuMode::Static(1280), 1280),
            (Some(1400), false, MtuMode::Static(1400), 1400),
        ] {
            let mut tunnel = crate::spec::Tunnel::new("192.0.2.9".parse().unwrap());
            (tunnel.mtu, tunnel.path_mtu_discovery) = (mtu, path_mtu_discovery);
            let policy = tunnel.outer().policy(OuterPolicy::DEFAULT);
            assert_eq!((policy.mtu, policy.ipv6_mtu(), policy.fixed_link_mtu), (mode, shown, mtu.is_some()));
        }
    }

    #[test]
    fn marks_and_times_to_live_are_read_as_they_are_written() {
        for (text, mark) in [("0", 0), ("16", 16), ("0x10", 16), ("0xffffffff", u32::MAX), ("4294967295", u32::MAX)] {
            assert_eq!(text.parse::<Mark>(), Ok(Mark(mark)));
        }
        for wrong in ["", "0x", "-1", "+1", "0x100000000", "4294967296", "1/0xff", "x"] {
            assert!(wrong.parse::<Mark>().is_err(), "{wrong}");
        }
        for (text, ttl) in [("inherit", TtlMode::CopyHopLimit), ("1", TtlMode::Fixed(1)), ("255", TtlMode::Fixed(255))]
        {
            let read: Ttl = text.parse().unwrap();
            assert_eq!((read.0, read.to_string().as_str()), (ttl, text));
        }
        for wrong in ["", "256", "-1", "inherits"] {
            assert!(wrong.parse::<Ttl>().is_err(), "{wrong}");
        }
    }
}
