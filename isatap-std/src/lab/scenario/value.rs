//! Values of scenarios that are written as text.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;
use std::time::Duration;

use isatap_core::drop_reason::DropReason;
use serde::de::{self, Deserialize, Deserializer};

use super::super::cloud::Chance;
use super::super::journey::{Action, Hop};
use crate::spec::file;

/// A value of another module's that is read from text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Text<T>(pub(super) T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        file::text(deserializer).map(Text)
    }
}

/// Those of this module.
macro_rules! by_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                file::text(deserializer)
            }
        }
    )*};
}

by_text!(Span, Pair, Sent, Mapped, Reason);

/// A duration: `1500us`, `5ms`, `2s`, `30m`, `24h`, `30d`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span(pub(super) Duration);

impl Span {
    pub(super) fn hour() -> Self {
        Span(Duration::from_secs(3600))
    }

    pub(super) fn second() -> Self {
        Span(Duration::from_secs(1))
    }

    pub(super) fn two_seconds() -> Self {
        Span(Duration::from_secs(2))
    }

    fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, unit) = text.split_at(digits);
        let number: u64 = number.parse().ok()?;
        let micros = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000_u64,
            _ => return None,
        };
        Some(Span(Duration::from_micros(number.checked_mul(micros)?)))
    }
}

impl FromStr for Span {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Span::parse(text).ok_or("not a duration: write a number and us, ms, s, m, h or d, as in \"30s\"")
    }
}

/// A share in percent: `10` or `0.5`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Percent(pub(super) Chance);

impl<'de> Deserialize<'de> for Percent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let percent = f64::deserialize(deserializer)?;
        if !(0.0..=100.0).contains(&percent) {
            return Err(de::Error::custom(format!("{percent} is not a share in percent: write 0 to 100")));
        }
        // In range, so the conversion neither cuts nor wraps.
        Ok(Percent(Chance::per_million((percent * 10_000.0).round() as u32)))
    }
}

/// The source and the destination of an outer header, with UDP ports or without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pair(pub(super) End, pub(super) End);

/// One end of an outer header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) address: Ipv4Addr,
    /// Of an expected end: `None` is any port, or no UDP.
    pub(super) port: Option<u16>,
}

impl Pair {
    /// The ends of what a hop sent into the cloud.
    pub(super) fn of(hop: &Hop) -> Option<Self> {
        let outer = hop.outer.as_ref()?;
        let end = |address, port| End { address, port };
        Some(Pair(
            end(outer.source, hop.udp.map(|udp| udp.source)),
            end(outer.destination, hop.udp.map(|udp| udp.destination)),
        ))
    }

    /// Whether what was found is what was expected.
    pub(super) fn is_met_by(&self, found: &Self) -> bool {
        let is_met = |expected: End, found: End| {
            expected.address == found.address && (expected.port.is_none() || expected.port == found.port)
        };
        is_met(self.0, found.0) && is_met(self.1, found.1)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.0, self.1)
    }
}

impl End {
    fn parse(text: &str) -> Option<Self> {
        match text.split_once(':') {
            Some((address, port)) => Some(End { address: address.parse().ok()?, port: Some(port.parse().ok()?) }),
            None => Some(End { address: text.parse().ok()?, port: None }),
        }
    }
}

impl FromStr for Pair {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let pair = text.split_once(" -> ").and_then(|(from, to)| Some(Pair(End::parse(from)?, End::parse(to)?)));
        pair.ok_or(
            "not an outer header: write one as in \"192.0.2.1 -> 192.0.2.2\" or \"192.0.2.1:4096 -> 192.0.2.2:3544\"",
        )
    }
}

/// A packet that is sent into the cloud: what it is, and the ends of its outer header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The kind of what the inner packet carries, as `explain` names layers.
    message: String,
    ends: Pair,
}

impl Sent {
    /// What a hop sent into the cloud.
    pub(super) fn of(hop: &Hop) -> Option<Self> {
        let is_sent = matches!(hop.action, Action::Encapsulate | Action::Translate);
        let message = hop.inner.as_ref().filter(|_| is_sent)?.message.to_owned();
        Some(Sent { message, ends: Pair::of(hop)? })
    }

    /// Whether what was found is what was expected.
    pub(super) fn is_met_by(&self, found: &Self) -> bool {
        self.message == found.message && self.ends.is_met_by(&found.ends)
    }
}

impl fmt::Display for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.message, self.ends)
    }
}

impl FromStr for Sent {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sent = text
            .split_once(' ')
            .and_then(|(message, ends)| Some(Sent { message: message.to_owned(), ends: ends.parse().ok()? }));
        sent.ok_or_else(|| {
            "not a packet: write what it is and its outer header, as in \"bubble 192.0.2.1:4096 -> 192.0.2.2:3544\""
                .to_owned()
        })
    }
}

/// An IPv4 address and a UDP port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mapped(pub(super) SocketAddrV4);

impl FromStr for Mapped {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Mapped).map_err(|_| "not an IPv4 address with a port: write one as in \"192.0.2.1:4096\"")
    }
}

/// One of the core's reasons for a drop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reason(pub(super) DropReason);

impl FromStr for Reason {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = DropReason::ALL.iter().find(|reason| reason.as_str() == text);
        known.copied().map(Reason).ok_or("not a reason for a drop: write one as in \"no-route\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outer_headers_have_ports_or_none() {
        let pair = |text: &str| text.parse::<Pair>();
        let (plain, udp) = (pair("192.0.2.1 -> 192.0.2.2").unwrap(), pair("192.0.2.1:9 -> 192.0.2.2:10").unwrap());
        assert_eq!(
            (plain.to_string(), udp.to_string()),
            ("192.0.2.1 -> 192.0.2.2".into(), "192.0.2.1:9 -> 192.0.2.2:10".into())
        );
        assert!(plain.is_met_by(&udp) && !udp.is_met_by(&plain) && udp.is_met_by(&udp));
        assert!(!udp.is_met_by(&pair("192.0.2.1:9 -> 192.0.2.2:11").unwrap()));
        for bad in ["192.0.2.1", "192.0.2.1: -> 192.0.2.2", "192.0.2.1:70000 -> 192.0.2.2", "x -> 192.0.2.2", ""] {
            assert!(pair(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(Span::parse("30s"), Some(Span(Duration::from_secs(30))));
        assert_eq!(Span::parse("2d"), Some(Span(Duration::from_secs(172_800))));
        assert_eq!(Span::parse("1500us"), Some(Span(Duration::from_micros(1500))));
        for bad in ["", "30", "s", "3 s", "-1s", "1.5s", "99999999999999999999s", "18446744073709551615d"] {
            assert_eq!(Span::parse(bad), None, "{bad:?}");
        }
    }
}
