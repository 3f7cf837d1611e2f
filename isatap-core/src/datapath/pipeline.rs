//! The way of a packet through links and routes, whoever owns them.
//!
//! ```text
//! out: way ──▶ fit ──▶ neighbour ──▶ prepare ──▶ outer header beside it
//! in:  admit ─▶ decapsulate ─▶ control ─▶ for whom ─▶ neighbour ─▶ deliver, or out
//!
//! The way, the admission, for whom, and a neighbour that is known to be there, are
//! the [decision](super::decision), which may be remembered; all else is done for
//! each packet.
//! ```
//!
//! Who only reads leaves some of these steps to the owner; a
//! [`Node`](crate::node::Node) does them all, and counts. [`Owner`] is what
//! they do differently.

use core::net::Ipv6Addr;

use super::checks::{check_inner, is_neighbor_discovery_packet};
use super::decision::{Decision, Entrance, Entry, Key, Memory, NOWHERE, NoDecisions};
use super::plan::{Avoided, Fit, InnerHeader, Origin, Refusal, Way};
use super::{Datapath, Offered};
use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::engine::Verdict;
use crate::interface::Interface;
use crate::link::{Admitted, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::ecn;
use crate::proto41::{self, Flow, Outer};
use crate::time::Expiry;
use crate::wire::field::{ipv6_at, u8_at, u16_at};
use crate::wire::icmpv6::Unreachable;
use crate::wire::protocol;

/// Why a packet to or from a neighbour does not pass.
pub(crate) enum Unverified {
    /// The neighbour did not answer.
    Refused,
    /// The packet ends, or waits, here.
    Stop(Verdict),
}

/// What is done with a packet on its way.
pub(crate) trait Owner<I: Interface<C>, C: Capacity, const LINKS: usize> {
    /// Links and routes.
    fn datapath(&self) -> &Datapath<I, C, LINKS>;

    /// Gives a packet to the control machine of the link that let it in.
    /// `None`: it is not interested.
    fn control(&mut self, link: LinkId, from: Admitted, flow: &Flow, packet: &mut PacketMut<'_>) -> Option<Verdict>;

    /// Whether a packet to, or from, `neighbor` may pass, and until when that
    /// need not be asked again. `SEC-1 [RFC 6324 §3.1.1]`
    fn check_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr) -> Result<Expiry, Unverified>;

    /// Gives a packet to this host's IPv6, or plays its part.
    fn deliver(&mut self, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict;

    /// Notes what sending changes, and gives an Identification where the
    /// packet needs one.
    fn prepare(&mut self, way: &Way, fit: &Fit, avoided: Option<Avoided>) -> u16;

    /// Notes that a packet was sent.
    fn sent(&mut self, verdict: Verdict) -> Verdict;

    /// Drops a packet, and tells its sender where that is due.
    fn refuse(&mut self, refusal: &Refusal, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict;

    /// Drops a packet in silence.
    fn drop(&mut self, reason: DropReason) -> Verdict;

    /// A number that changes with what decisions are made from.
    fn generation(&self) -> u32;

    /// The place of a decision that holds, or where a new one belongs.
    fn recall(&mut self, entrance: Entrance<'_>, packet: &PacketMut<'_>) -> Result<usize, usize>;

    /// Where they are.
    fn decisions(&self) -> &impl Memory;

    /// For what a decision is kept at the place that [`recall`](Self::recall) said.
    fn kept(&self, entrance: Entrance<'_>, place: Result<usize, usize>, packet: &PacketMut<'_>) -> Kept;

    /// The row for what is decided of a packet. `None`: it is not kept.
    fn remember(&mut self, kept: &Kept, until: Expiry) -> Option<&mut Decision>;

    /// Lets a packet in that came behind `outer`. `forwards`: what is not for
    /// this node is sent on in the same buffer, else all of it is delivered.
    #[inline]
    fn receive(&mut self, forwards: bool, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        let place = self.recall(Entrance::In(outer), packet);
        if let Ok(known) = place
            && let Some(header) = plain(outer, packet)
            && let Some(Decision { entry: Some(entry), way, .. }) = self.decisions().known(known)
        {
            if entry.ends_here || !forwards {
                let Entry { link, from, .. } = *entry;
                packet.truncate(header.len);
                return self.deliver(link, from, packet);
            }
            if let Some(way) = *way {
                let origin = Origin::Forwarded { link: entry.link, outer_source: Some(outer.source) };
                packet.truncate(header.len);
                return self.send_by(&way, origin, &header, packet);
            }
        }
        let kept = self.kept(Entrance::In(outer), place, packet);
        self.receive_any(forwards, outer, packet, &kept)
    }

    /// The same of any packet, flows that are not known and packets that are not
    /// plain.
    #[inline(never)]
    fn receive_any(&mut self, forwards: bool, outer: &Outer, packet: &mut PacketMut<'_>, kept: &Kept) -> Verdict {
        // By reference, here as below: what is handed on in one value is copied.
        let judged = self.datapath().judge(outer, packet.as_slice());
        let flow = match &judged {
            Ok(flow) => flow,
            // SEC-11, TUN-13: in silence.
            Err(reason) => return self.drop(*reason),
        };
        let known = kept.place.ok().and_then(|place| self.decisions().known(place));
        let known = known.and_then(|known| Some((known.entry?, known.until())));
        let offered = match known {
            Some((entry, _)) => {
                let Entry { link, from, .. } = entry;
                let is_awaited = self.datapath().awaits(link, flow);
                Ok(Offered { link, from, is_awaited, is_local: entry.ends_here })
            }
            None => self.datapath().offer(packet.link(), flow),
        };
        // TUN-19 [RFC 6040 §4.2]. TUN-53: nothing is logged here, so nothing
        // needs a limit.
        let offered = match offered {
            Ok(offered) => offered,
            Err(reason) => return self.drop(reason),
        };
        let Offered { link, from, is_awaited, .. } = offered;
        let exit = match self.open(&offered, flow, packet) {
            Ok(exit) => exit,
            Err(verdict) => return verdict,
        };
        let (entry, until) = match known {
            Some(known) => known,
            None => {
                let ends_here = match self.datapath().ends_here(&offered, &flow.inner_destination) {
                    Ok(ends_here) => ends_here,
                    Err(reason) => return self.drop(reason),
                };
                // SEC-1 [RFC 6324 §3.1.1]: the reverse check of what is sent on. Routers
                // vouch for what they forward.
                let mut until = Expiry::NEVER;
                if from == Admitted::Host && !ends_here {
                    until = match self.check_neighbor(link, &flow.inner_source) {
                        Ok(until) => until,
                        Err(Unverified::Stop(verdict)) => return verdict,
                        Err(Unverified::Refused) => return self.drop(DropReason::NeighborUnverified),
                    };
                }
                (Entry { link, from, ends_here }, until)
            }
        };
        // Of a packet that a machine awaits less was judged.
        let is_kept = known.is_none() && !is_awaited;
        if entry.ends_here || !forwards {
            if is_kept && let Some(row) = self.remember(kept, until) {
                (row.entry, row.way) = (Some(entry), None);
            }
            return self.deliver(link, from, packet);
        }
        let header = InnerHeader::behind::<C>(flow, exit, packet);
        let origin = Origin::Forwarded { link, outer_source: Some(flow.outer_source) };
        let entry = Some(entry).filter(|_| !is_awaited);
        self.send(kept, (entry, until), origin, &header, packet)
    }

    /// Checks and decapsulates a packet that a link has let in. `Err`: it goes
    /// no further, or the link's control machine took it.
    #[inline]
    fn open(&mut self, offered: &Offered, flow: &Flow, packet: &mut PacketMut<'_>) -> Result<ecn::Exit, Verdict> {
        // Nothing hides behind those, nor is Neighbor Discovery in them.
        let is_plain = matches!(flow.next_header, protocol::TCP | protocol::UDP);
        let checked = if is_plain { Ok(()) } else { check_inner(flow, packet.as_slice()) };
        let exit = checked.and_then(|()| proto41::decapsulate(packet, flow)).map_err(|reason| self.drop(reason))?;
        if (offered.is_awaited || (!is_plain && is_neighbor_discovery_packet(flow, packet.as_slice())))
            && let Some(verdict) = self.control(offered.link, offered.from, flow, packet)
        {
            return Err(verdict);
        }
        Ok(exit)
    }

    /// Sends a packet from the inside.
    #[inline]
    fn send_out(&mut self, packet: &mut PacketMut<'_>) -> Verdict {
        let place = self.recall(Entrance::Out, packet);
        if let Ok(known) = place
            && let Some(header) = InnerHeader::read::<C>(packet)
            && let Some(Decision { way: Some(way), .. }) = self.decisions().known(known)
        {
            let way = *way;
            return self.send_by(&way, Origin::Local, &header, packet);
        }
        self.send_any(packet, place)
    }

    /// The same of any packet.
    #[inline(never)]
    fn send_any(&mut self, packet: &mut PacketMut<'_>, place: Result<usize, usize>) -> Verdict {
        let kept = self.kept(Entrance::Out, place, packet);
        let Some(header) = InnerHeader::of::<C>(packet) else { return self.drop(DropReason::NotIpv6) };
        self.send(&kept, (None, Expiry::NEVER), Origin::Local, &header, packet)
    }

    /// Sends a packet where it belongs. Beside `kept`: what was decided of it
    /// before, and how long that holds.
    fn send(
        &mut self,
        kept: &Kept,
        (entry, until): (Option<Entry>, Expiry),
        origin: Origin,
        header: &InnerHeader,
        packet: &mut PacketMut<'_>,
    ) -> Verdict {
        if let Ok(known) = kept.place
            && let Some(Decision { way: Some(way), .. }) = self.decisions().known(known)
        {
            let way = *way;
            return self.send_by(&way, origin, header, packet);
        }
        // Only what this host sends is bound to a link; what is forwarded goes
        // where the routes say.
        let zone = packet.link().filter(|_| matches!(origin, Origin::Local));
        let found = self.datapath().way(origin, zone, &header.source, &header.destination);
        let (way, avoided) = match &found {
            Ok(found) => found,
            Err(refusal) => return self.refuse(refusal, origin, packet),
        };
        let fit = match way.fit(origin, header) {
            Ok(fit) => fit,
            Err(refusal) => return self.refuse(&refusal, origin, packet),
        };
        let passes = match self.check_neighbor(way.link, &way.next_hop) {
            Ok(passes) => passes,
            Err(Unverified::Stop(verdict)) => return verdict,
            Err(Unverified::Refused) => {
                let code = Unreachable::Address;
                let refusal = Refusal::unreachable(DropReason::NeighborUnverified, code, Some(way.link));
                return self.refuse(&refusal, origin, packet);
            }
        };
        // NDP-37: a better router that is avoided is to be asked again. Nor has what was awaited
        // a decision of its own.
        if avoided.is_none()
            && (entry.is_some() || !kept.key.is_in())
            && let Some(row) = self.remember(kept, until.min(passes))
        {
            (row.entry, row.way) = (entry, Some(*way));
        }
        let verdict = self.carry_out(way, &fit, *avoided, origin, packet);
        self.sent(verdict)
    }

    /// Sends a packet by a way that is known.
    #[inline(always)]
    fn send_by(&mut self, way: &Way, origin: Origin, header: &InnerHeader, packet: &mut PacketMut<'_>) -> Verdict {
        match way.fit(origin, header) {
            Ok(fit) => {
                let verdict = self.carry_out(way, &fit, None, origin, packet);
                self.sent(verdict)
            }
            Err(refusal) => self.refuse(&refusal, origin, packet),
        }
    }

    /// Does what was decided of a packet.
    #[inline(always)]
    fn carry_out(
        &mut self,
        way: &Way,
        fit: &Fit,
        avoided: Option<Avoided>,
        origin: Origin,
        packet: &mut PacketMut<'_>,
    ) -> Verdict {
        let identification = self.prepare(way, fit, avoided);
        if let Origin::Forwarded { .. } = origin {
            decrement_hop_limit(packet);
        }
        let Fit { dont_fragment, tos, ttl } = *fit;
        match way.resolution {
            Resolution::Native => Verdict::Native { link: way.link, next_hop: way.next_hop },
            Resolution::To { source, destination } => {
                let outer = Outer { source, destination, ports: None, tos, ttl, dont_fragment, identification };
                Verdict::Tunnel { link: way.link, outer }
            }
        }
    }
}

/// What counts of a packet that is clearly in order but for its addresses.
/// `None` says only that [`receive_any`](Owner::receive_any) must look.
///
/// What is refused for its addresses has no decision; so this asks for what
/// [`Flow::of`], [`check_inner`] and [`proto41::decapsulate`] ask of other bytes:
/// lengths, no extension headers and no tunnel in it, no Neighbor Discovery, marks
/// that stay as they are.
#[inline(always)]
fn plain(outer: &Outer, packet: &PacketMut<'_>) -> Option<InnerHeader> {
    let bytes = packet.as_slice();
    let header = bytes.first_chunk::<40>()?;
    let first = u16_at::<0, 40>(header);
    let len = usize::from(u16_at::<4, 40>(header)).wrapping_add(40);
    let traffic_class = (first >> 4).to_be_bytes()[1];
    let marks = outer.tos & 3;
    let is_plain = first >> 12 == 6
        && matches!(u8_at::<6, 40>(header), protocol::TCP | protocol::UDP)
        && len > 40
        && len <= bytes.len().min(proto41::MOST_CARRIED.into())
        && (marks == 0 || marks == traffic_class & 3)
        && outer.ports.is_none()
        && packet.segment_size().is_none();
    is_plain.then_some(InnerHeader {
        source: ipv6_at::<8, 40>(header),
        destination: ipv6_at::<24, 40>(header),
        traffic_class,
        hop_limit: u8_at::<7, 40>(header),
        len,
    })
}

/// Where and for what a decision is kept.
pub(crate) struct Kept {
    pub(crate) key: Key,
    /// Where it is kept already, or may be.
    pub(crate) place: Result<usize, usize>,
    /// Of what the decision is made.
    pub(crate) generation: u32,
}

impl Kept {
    /// For who remembers nothing.
    pub(crate) const NOWHERE: Kept = Kept { key: Key::NONE, place: Err(NOWHERE), generation: 0 };
}

/// `TUN-6`, `TUN-21`: only who forwards counts a hop; the plan knows that there is
/// one left.
fn decrement_hop_limit(packet: &mut PacketMut<'_>) {
    if let Some(hop_limit) = packet.as_mut_slice().get_mut(7) {
        *hop_limit = hop_limit.saturating_sub(1);
    }
}

/// Links and routes that are only read. What is left to their owner
/// ([`Verdict::Punt`]) is as good as untouched: decapsulated twice is the same
/// as once.
pub(super) struct Reader<'a, I, C: Capacity, const LINKS: usize> {
    pub(super) datapath: &'a Datapath<I, C, LINKS>,
    pub(super) identification: u16,
}

impl<I: Interface<C>, C: Capacity, const LINKS: usize> Owner<I, C, LINKS> for Reader<'_, I, C, LINKS> {
    #[inline]
    fn datapath(&self) -> &Datapath<I, C, LINKS> {
        self.datapath
    }

    #[inline]
    fn control(&mut self, link: LinkId, _: Admitted, _: &Flow, _: &mut PacketMut<'_>) -> Option<Verdict> {
        Some(Verdict::Punt { link })
    }

    #[inline]
    fn check_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr) -> Result<Expiry, Unverified> {
        let verified = self.datapath.port(link).is_none_or(|port| port.interface.control().is_verified(neighbor));
        if verified { Ok(Expiry::NEVER) } else { Err(Unverified::Stop(Verdict::Punt { link })) }
    }

    #[inline]
    fn deliver(&mut self, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict {
        if self.datapath.is_for_node(link, packet.as_slice()) {
            return Verdict::Punt { link };
        }
        Verdict::Deliver { link, from }
    }

    #[inline]
    fn prepare(&mut self, _: &Way, fit: &Fit, _: Option<Avoided>) -> u16 {
        if fit.dont_fragment { 0 } else { self.identification }
    }

    #[inline]
    fn sent(&mut self, verdict: Verdict) -> Verdict {
        verdict
    }

    /// Errors are the owner's to write.
    #[inline]
    fn refuse(&mut self, refusal: &Refusal, _: Origin, _: &mut PacketMut<'_>) -> Verdict {
        match (refusal.answer, refusal.link) {
            (Some(_), Some(link)) => Verdict::Punt { link },
            _ => Verdict::Drop(refusal.reason),
        }
    }

    #[inline]
    fn drop(&mut self, reason: DropReason) -> Verdict {
        Verdict::Drop(reason)
    }

    #[inline]
    fn generation(&self) -> u32 {
        0
    }

    #[inline]
    fn recall(&mut self, _: Entrance<'_>, _: &PacketMut<'_>) -> Result<usize, usize> {
        Err(NOWHERE)
    }

    #[inline]
    fn decisions(&self) -> &impl Memory {
        &NoDecisions
    }

    #[inline]
    fn kept(&self, _: Entrance<'_>, _: Result<usize, usize>, _: &PacketMut<'_>) -> Kept {
        Kept::NOWHERE
    }

    #[inline]
    fn remember(&mut self, _: &Kept, _: Expiry) -> Option<&mut Decision> {
        None
    }
}
