//! How large a packet may enter a tunnel, and what is known about the IPv4
//! paths underneath. [RFC 4213 §3.2, RFC 1191]

use core::fmt;
use core::net::Ipv4Addr;
use core::num::NonZeroU16;

use super::{MOST_CARRIED, OVERHEAD};
use crate::capacity::{Bounded, Count};
use crate::error::Table;
use crate::time::{Duration, Expiry, Instant};
use crate::wire::{ipv6, protocol};

/// How the MTU of a tunnel is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MtuMode {
    /// This many bytes of inner packet; routers may fragment the outer one.
    /// `TUN-31`: 1280 to 1480 unless the administrator knows better; taken
    /// as 1280 when it is less, and as 65515, which is all that an IPv4
    /// packet has room for, when it is more.
    Static(u16),
    /// As the IPv4 path allows.
    Dynamic {
        /// The IPv4 MTU of the interface underneath, in bytes.
        interface: u16,
    },
}

impl Default for MtuMode {
    /// `TUN-31 [RFC 4213 §3.2.1]`
    fn default() -> Self {
        MtuMode::Static(ipv6::MINIMUM_MTU)
    }
}

impl MtuMode {
    /// The MTU that the tunnel's interface shows, in bytes of inner packet.
    #[must_use]
    pub const fn interface_mtu(self) -> u16 {
        match self {
            MtuMode::Static(mtu) => at_most_room(at_least_minimum(mtu)),
            MtuMode::Dynamic { interface } => at_least_minimum(interface.saturating_sub(OVERHEAD)),
        }
    }
}

/// What to do with a packet of some length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MtuDecision {
    /// Encapsulate it.
    Send {
        /// The outer header's flag.
        dont_fragment: bool,
    },
    /// Answer with an ICMPv6 Packet Too Big, and drop it.
    TooBig {
        /// The MTU to report, in bytes; never under 1280.
        mtu: u16,
    },
}

/// Whether an inner packet of `inner_len` bytes may go, over a path of which
/// `path_mtu` bytes are known to pass. Without knowledge that is the
/// interface's; it is ignored in static mode.
#[inline]
#[must_use]
pub fn decide(mode: MtuMode, path_mtu: u16, inner_len: usize) -> MtuDecision {
    let (limit, dont_fragment) = limit(mode, path_mtu);
    if inner_len > usize::from(limit) {
        MtuDecision::TooBig { mtu: limit }
    } else {
        MtuDecision::Send { dont_fragment }
    }
}

/// The most bytes of inner packet that may go, and the outer header's flag.
#[inline]
pub(crate) fn limit(mode: MtuMode, path_mtu: u16) -> (u16, bool) {
    match mode {
        // TUN-31 [RFC 4213 §3.2.1]: never set.
        MtuMode::Static(mtu) => (at_most_room(at_least_minimum(mtu)), false),
        // TUN-32 [RFC 4213 §3.2.2]: what the path cannot carry whole although
        // IPv6 promises it is left to IPv4 fragmentation.
        MtuMode::Dynamic { interface } => {
            let room = path_mtu.min(interface).saturating_sub(OVERHEAD);
            // TUN-33 [RFC 8200 §5]
            (at_least_minimum(room), room >= ipv6::MINIMUM_MTU)
        }
    }
}

/// The length that is compared with the MTU: that of the packet, or of the
/// largest one it will be cut into when it stands for several. One whose
/// transport header cannot be found counts whole.
#[inline]
#[must_use]
pub fn length_on_the_wire(packet: &[u8], segment_size: Option<NonZeroU16>) -> usize {
    match segment_size {
        None => packet.len(),
        Some(size) => length_of_a_segment(packet, size),
    }
}

/// The same of one that stands for several.
#[cold]
#[inline(never)]
pub(crate) fn length_of_a_segment(packet: &[u8], size: NonZeroU16) -> usize {
    let headers = headers_len(packet).unwrap_or(packet.len());
    headers.saturating_add(usize::from(size.get())).min(packet.len())
}

/// Bytes up to the end of the TCP or UDP header.
fn headers_len(packet: &[u8]) -> Option<usize> {
    // A joined packet's payload length may be zero or cut off: the bytes
    // count, so the quoted form.
    let upper = ipv6::walk(&ipv6::Header::parse_quoted(packet).ok()?, None).ok()?;
    let transport = packet.get(upper.offset..)?;
    let len = match upper.protocol {
        protocol::UDP => 8,
        // The upper four bits count words of 4 bytes. [RFC 9293 §3.1]
        protocol::TCP => usize::from(transport.get(12)? >> 4).saturating_mul(4),
        _ => return None,
    };
    (len <= transport.len()).then(|| upper.offset.saturating_add(len))
}

/// What an IPv4 packet has room for.
const fn at_most_room(mtu: u16) -> u16 {
    if mtu > MOST_CARRIED { MOST_CARRIED } else { mtu }
}

const fn at_least_minimum(mtu: u16) -> u16 {
    if mtu < ipv6::MINIMUM_MTU { ipv6::MINIMUM_MTU } else { mtu }
}

/// What is known about the IPv4 path to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PathMtu {
    destination: Ipv4Addr,
    mtu: u16,
    /// What the interface underneath carries: the estimate never goes above.
    ceiling: u16,
    changed: Instant,
    raise: Expiry,
}

/// An ICMPv4 claim that a packet was too big.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TooBig {
    /// The destination of the quoted packet.
    pub destination: Ipv4Addr,
    /// The total length of the quoted packet, in bytes.
    pub quoted_total_length: u16,
    /// The header length of the quoted packet, in bytes.
    pub quoted_header_len: u8,
    /// What the next link carries, in bytes; zero from old routers.
    pub next_hop_mtu: u16,
}

/// Path MTU estimates, one a tunnel end that had a packet too big.
///
/// A destination without a row has the interface's MTU. When the table is
/// full the row that has not changed for longest is forgotten: its next
/// packet too big brings it back.
#[derive(Clone)]
pub(crate) struct PathMtus<K: Count> {
    rows: K::Vec<PathMtu>,
}

impl<K: Count> fmt::Debug for PathMtus<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.rows, f)
    }
}

impl<K: Count> PathMtus<K> {
    /// Nothing known.
    pub(crate) const EMPTY: Self = PathMtus { rows: Bounded::EMPTY };

    /// The estimate never goes under this. [RFC 1191 §3]
    pub(crate) const MINIMUM: u16 = 68;

    /// How long an estimate stands before a larger one is tried.
    /// [RFC 1191 §3]
    pub(crate) const RAISE_AFTER: Duration = Duration::from_secs(600);

    /// How long until the next try when one went well.
    pub(crate) const RAISE_AGAIN_AFTER: Duration = Duration::from_secs(120);

    /// The bytes of outer packet thought to reach `destination`, if that is
    /// less than the interface carries.
    #[inline]
    #[must_use]
    pub(crate) fn get(&self, destination: Ipv4Addr) -> Option<u16> {
        self.rows.iter().find(|row| row.destination == destination).map(|row| row.mtu)
    }

    /// Takes a claim, whose quote must already be known to be of a packet
    /// that this tunnel can have sent. `ceiling`: the MTU of the interface
    /// underneath. Returns the new estimate if there is one.
    pub(crate) fn too_big(&mut self, now: Instant, claim: &TooBig, ceiling: u16) -> Option<u16> {
        if K::ROWS == 0 {
            return None;
        }
        let known = self.rows.iter_mut().find(|row| row.destination == claim.destination);
        let current = known.as_ref().map_or(ceiling, |row| row.mtu);
        let claimed = match claim.next_hop_mtu {
            0 => plateau_below(claim.corrected_length(current)),
            mtu => mtu,
        }
        .max(Self::MINIMUM);
        // TUN-35 [RFC 1191 §3]: never up, and who claims more than is
        // already known is late or lies.
        if claimed > current {
            return None;
        }
        let raise = Expiry::at(now.saturating_add(Self::RAISE_AFTER));
        match known {
            Some(row) => {
                // A claim of what is known already says that it still holds.
                row.raise = raise;
                row.changed = now;
                let is_new = row.mtu != claimed;
                row.mtu = claimed;
                is_new.then_some(claimed)
            }
            None if claimed == current => None,
            None => {
                let row = PathMtu { destination: claim.destination, mtu: claimed, ceiling, changed: now, raise };
                self.insert(row);
                Some(claimed)
            }
        }
    }

    /// Raises the estimates whose time has come to the next plateau; one
    /// that reaches the interface's MTU is forgotten. Returns how many
    /// changed.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> usize {
        let mut raised = 0_usize;
        self.rows.keep(|row| {
            if !row.raise.is_due(now) {
                return true;
            }
            raised = raised.saturating_add(1);
            row.mtu = plateau_above(row.mtu).min(row.ceiling);
            row.changed = now;
            row.raise = Expiry::at(now.saturating_add(Self::RAISE_AGAIN_AFTER));
            row.mtu < row.ceiling
        });
        raised
    }

    /// Forgets the estimates of `mtu` bytes and more, since the interface now
    /// carries no more than that: they would outlast it.
    pub(crate) fn forget_from(&mut self, mtu: u16) {
        self.rows.keep(|row| row.mtu < mtu);
    }

    /// When [`PathMtus::handle_timeout`] has something to do.
    #[must_use]
    pub(crate) fn next_deadline(&self) -> Expiry {
        self.rows.iter().map(|row| row.raise).min().unwrap_or(Expiry::NEVER)
    }

    fn insert(&mut self, row: PathMtu) {
        if self.rows.add(row, Table::PathMtus).is_ok() {
            return;
        }
        if let Some(oldest) = self.rows.iter_mut().min_by_key(|row| row.changed) {
            *oldest = row;
        }
    }
}

impl TooBig {
    /// The quoted packet's length, corrected for routers that count its
    /// header twice.
    ///
    /// `TUN-34 [RFC 1191 §5]`: a packet of at least the estimate's length was
    /// sent before the estimate went down, or its length is wrong.
    fn corrected_length(&self, estimate: u16) -> u16 {
        if self.quoted_total_length < estimate {
            self.quoted_total_length
        } else {
            self.quoted_total_length.saturating_sub(u16::from(self.quoted_header_len))
        }
    }
}

/// MTUs that are common, descending. [RFC 1191 §7]
const PLATEAUS: [u16; 11] = [65535, 32000, 17914, 8166, 4352, 2002, 1492, 1006, 508, 296, 68];

/// The greatest plateau below `len`; the least one when there is none.
fn plateau_below(len: u16) -> u16 {
    PLATEAUS.into_iter().find(|plateau| *plateau < len).unwrap_or(68)
}

/// The least plateau above `mtu`; the greatest one when there is none.
fn plateau_above(mtu: u16) -> u16 {
    PLATEAUS.into_iter().rev().find(|plateau| *plateau > mtu).unwrap_or(65535)
}

#[cfg(test)]
mod tests;
