//! What rows say: a decision of the driver as the programs read it.

use super::layout::{Admission, AdmissionKey, Life, Path, PathKey, Used};
use super::ways::Way;
use isatap_core::engine::{Admits, Sends};
use isatap_core::proto41::OVERHEAD;
use isatap_core::time::Instant;
use nix::time::{ClockId, clock_gettime};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

impl PathKey {
    pub(super) fn of(sends: &Sends, device: u32) -> Self {
        Self { source: words(sends.source), destination: words(sends.destination), device: device.into() }
    }
}

impl Path {
    pub(super) fn of(sends: &Sends, way: Way, mark: u32) -> Self {
        Self {
            life: Life::NONE,
            used: Used::default(),
            outer_source: half(sends.outer_source),
            outer_destination: half(sends.outer_destination),
            underlay: way.interface,
            mark,
            mtu: u32::from(sends.mtu).min(way.mtu.saturating_sub(overhead(sends.ports))),
            tos: sends.tos,
            tos_mask: sends.tos_mask,
            ttl: sends.ttl,
            unused: 0,
            ports: ports(sends.ports),
            unused_behind: 0,
        }
    }
}

impl AdmissionKey {
    /// By the device of this interface index.
    pub(super) fn of(admits: &Admits, interface: u32) -> Self {
        Self {
            inner_source: words(admits.source),
            inner_destination: words(admits.destination),
            outer_source: half(admits.outer_source),
            outer_destination: half(admits.outer_destination),
            device: interface,
            ports: ports(admits.ports),
        }
    }
}

impl Admission {
    pub(super) fn of(admits: &Admits, device: u32) -> Self {
        Self { life: Life::NONE, used: Used::default(), device, awaited: admits.awaited.into() }
    }
}

impl Life {
    /// None: the row says it once it is written.
    pub(super) const NONE: Self = Self { generation: 0, until: 0 };

    /// Of a row that is written now and good until then.
    pub(super) fn new(generation: u64, now: Instant, ends: Instant) -> Self {
        let left = ends.saturating_duration_since(now).as_micros().saturating_mul(1_000);
        Self { generation, until: coarse_now().saturating_add(left) }
    }
}

/// An address as it lies in a packet.
fn words(address: Ipv6Addr) -> [u64; 2] {
    let [high, low] = [address.to_bits() >> 64, address.to_bits() & u128::from(u64::MAX)];
    [high, low].map(|half| u64::try_from(half).unwrap_or_default().to_be())
}

/// The same of IPv4.
fn half(address: Ipv4Addr) -> u32 {
    address.to_bits().to_be()
}

/// The same of the ports of a UDP header; where there is none, 0.
fn ports(ports: Option<(u16, u16)>) -> u32 {
    ports.map_or(0, |(source, destination)| (u32::from(source) << 16 | u32::from(destination)).to_be())
}

/// Bytes of outer headers.
fn overhead(ports: Option<(u16, u16)>) -> u32 {
    let udp = if ports.is_some() { 8 } else { 0 };
    u32::from(OVERHEAD) + udp
}

/// The clock of the programs, in nanoseconds.
fn coarse_now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).map_or(Duration::ZERO, Duration::from);
    u64::try_from(now.as_nanos()).unwrap_or(u64::MAX)
}
