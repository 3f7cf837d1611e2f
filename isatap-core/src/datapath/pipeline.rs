//! The way of a packet through links and routes, whoever owns them.
//!
//! ```text
//! out: plan ──▶ neighbour ──▶ prepare ──▶ outer header beside it
//! in:  admit ─▶ decapsulate ─▶ control ─▶ for whom ─▶ neighbour ─▶ deliver, or out
//! ```
//!
//! Who only reads leaves some of these steps to the owner; a
//! [`Node`](crate::node::Node) does them all, and counts. [`Owner`] is what
//! they do differently.

use core::net::Ipv6Addr;

use super::Datapath;
use super::plan::{Origin, Plan, Refusal};
use crate::capacity::Capacity;
use crate::drop_reason::DropReason;
use crate::engine::Verdict;
use crate::interface::Interface;
use crate::link::{Admitted, Resolution};
use crate::packet::{LinkId, PacketMut};
use crate::proto41::{self, Flow, Outer};
use crate::wire::icmpv6::Unreachable;

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

    /// Whether a packet to, or from, `neighbor` may pass.
    /// `SEC-1 [RFC 6324 §3.1.1]`
    fn check_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr) -> Result<(), Unverified>;

    /// Gives a packet to this host's IPv6, or plays its part.
    fn deliver(&mut self, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict;

    /// Notes what sending changes, and gives an Identification where the
    /// packet needs one.
    fn prepare(&mut self, plan: &Plan) -> u16;

    /// Notes that a packet was sent.
    fn sent(&mut self, verdict: Verdict) -> Verdict;

    /// Drops a packet, and tells its sender where that is due.
    fn refuse(&mut self, refusal: &Refusal, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict;

    /// Drops a packet in silence.
    fn drop(&mut self, reason: DropReason) -> Verdict;

    /// Lets a packet in that came behind `outer`. `forwards`: what is not for
    /// this node is sent on in the same buffer, else all of it is delivered.
    fn receive(&mut self, forwards: bool, outer: &Outer, packet: &mut PacketMut<'_>) -> Verdict {
        let admission = self.datapath().admit_on(packet.link(), outer, packet.as_slice());
        // TUN-19 [RFC 6040 §4.2]. TUN-53: nothing is logged here, so nothing
        // needs a limit.
        let admitted = admission.and_then(|admission| proto41::decapsulate(packet, &admission.2).map(|_| admission));
        let (link, from, flow) = match admitted {
            Ok(admission) => admission,
            // SEC-11, TUN-13: in silence.
            Err(reason) => return self.drop(reason),
        };
        if self.datapath().is_control(link, &flow, packet.as_slice())
            && let Some(verdict) = self.control(link, from, &flow, packet)
        {
            return verdict;
        }
        let ends_here = match self.datapath().ends_here(link, &flow.inner_destination) {
            Ok(ends_here) => ends_here,
            Err(reason) => return self.drop(reason),
        };
        // SEC-1 [RFC 6324 §3.1.1]: the reverse check of what is sent on. Routers
        // vouch for what they forward.
        if from == Admitted::Host
            && !ends_here
            && let Err(unverified) = self.check_neighbor(link, &flow.inner_source)
        {
            return match unverified {
                Unverified::Stop(verdict) => verdict,
                Unverified::Refused => self.drop(DropReason::NeighborUnverified),
            };
        }
        if ends_here || !forwards {
            return self.deliver(link, from, packet);
        }
        self.send_on(Origin::Forwarded { link, outer_source: Some(flow.outer_source) }, packet)
    }

    /// Sends a packet from the inside, or from another link, where it belongs.
    fn send_on(&mut self, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        let plan = match self.datapath().plan(origin, packet) {
            Ok(plan) => plan,
            Err(refusal) => return self.refuse(&refusal, origin, packet),
        };
        match self.check_neighbor(plan.link, &plan.next_hop) {
            Ok(()) => {}
            Err(Unverified::Stop(verdict)) => return verdict,
            Err(Unverified::Refused) => {
                let code = Unreachable::Address;
                let refusal = Refusal::unreachable(DropReason::NeighborUnverified, code, Some(plan.link));
                return self.refuse(&refusal, origin, packet);
            }
        }
        let verdict = self.carry_out(&plan, origin, packet);
        self.sent(verdict)
    }

    /// Does what was planned for a packet.
    fn carry_out(&mut self, plan: &Plan, origin: Origin, packet: &mut PacketMut<'_>) -> Verdict {
        let identification = self.prepare(plan);
        if let Origin::Forwarded { .. } = origin {
            decrement_hop_limit(packet);
        }
        match plan.resolution {
            Resolution::Native => Verdict::Native { link: plan.link, next_hop: plan.next_hop },
            Resolution::To { source, destination } => {
                let outer = Outer {
                    source,
                    destination,
                    ports: None,
                    tos: plan.tos,
                    ttl: plan.ttl,
                    dont_fragment: plan.dont_fragment,
                    identification: if plan.dont_fragment { 0 } else { identification },
                };
                Verdict::Tunnel { link: plan.link, outer }
            }
        }
    }
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
    fn check_neighbor(&mut self, link: LinkId, neighbor: &Ipv6Addr) -> Result<(), Unverified> {
        let verified = self.datapath.port(link).is_none_or(|port| port.interface.control().is_verified(neighbor));
        if verified { Ok(()) } else { Err(Unverified::Stop(Verdict::Punt { link })) }
    }

    #[inline]
    fn deliver(&mut self, link: LinkId, from: Admitted, packet: &mut PacketMut<'_>) -> Verdict {
        if self.datapath.is_for_node(link, packet.as_slice()) {
            return Verdict::Punt { link };
        }
        Verdict::Deliver { link, from }
    }

    #[inline]
    fn prepare(&mut self, _: &Plan) -> u16 {
        self.identification
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
}
