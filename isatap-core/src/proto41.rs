//! IPv6 in IPv4, protocol 41: what every mechanism shares. [RFC 4213]
//!
//! [`Flow::parse`] judges an outer packet by the rules that need no
//! mechanism, [`Flow::of`] one whose header was [taken off](Outer::pull); a
//! link then says whether it takes the flow, and [`decapsulate`] narrows the
//! packet to the inner one. The other way, [`mtu::decide`] says whether and how
//! the packet may go, and [`Outer::push`] or the faster [`Template`] put the
//! outer header in front.
//!
//! What this cannot do: it does not reassemble IPv4 fragments and does not
//! make any; both belong to the IPv4 host underneath. It protects nothing:
//! whoever can forge an outer source can send through a tunnel whatever its
//! mechanism accepts from that source.

pub mod ecn;
mod flow;
pub mod icmp;
pub mod identification;
mod marks;
pub mod mtu;
mod options;
mod outer;
mod template;
pub mod underlay;

pub use self::flow::Flow;
pub(crate) use self::marks::Marks;
pub(crate) use self::options::check_options;
pub use self::outer::Outer;
pub use self::template::Template;

use self::ecn::Ecn;
use crate::drop_reason::DropReason;
use crate::packet::PacketMut;
use crate::wire::ipv6;

/// Bytes of outer header that a protocol-41 tunnel adds.
pub const OVERHEAD: u16 = 20;

/// Bytes that an IPv4 packet has room for behind that.
pub(crate) const MOST_CARRIED: u16 = u16::MAX - OVERHEAD;

/// Narrows a packet to the inner one that `flow`, parsed from it, describes:
/// outer header, where it is still there, and padding go, and the congestion
/// mark of the outer header is combined into the inner one. With a flow of
/// [`Flow::of`] it may be done twice: the second time changes nothing.
///
/// # Errors
/// `TUN-52`: [`DropReason::EcnNotCapable`]; [`DropReason::Truncated`] when
/// the flow is of another packet. The packet is unchanged.
#[inline]
pub fn decapsulate(packet: &mut PacketMut<'_>, flow: &Flow) -> Result<ecn::Exit, DropReason> {
    let inner = Ecn::of(flow.traffic_class);
    let exit = ecn::exit(inner, Ecn::of(flow.tos))?;
    let (header_len, inner_len) = (usize::from(flow.header_len), usize::from(flow.inner_len));
    if packet.len() < header_len.saturating_add(inner_len) {
        return Err(DropReason::Truncated);
    }
    if header_len != 0 {
        packet.pull_front(header_len);
    }
    // TUN-12 [RFC 4213 §3.6]: the inner length counts, never the outer one.
    packet.truncate(inner_len);
    if exit.ecn != inner
        && let Some(header) = packet.as_mut_slice().first_chunk_mut()
    {
        ipv6::set_ecn(header, exit.ecn.bits());
    }
    Ok(exit)
}

#[cfg(test)]
mod tests;
