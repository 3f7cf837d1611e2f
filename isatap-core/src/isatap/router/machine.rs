//! The control machine: messages, time, packets and events.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::RouterInterface;
use super::advertise::{MAX_RA_DELAY_TIME, Reply};
use crate::capacity::{Capacity, Count as _};
use crate::drop_reason::DropReason;
use crate::engine::{Entropy, Event, Transmit, uniform};
use crate::error::EmitError;
use crate::interface::{Context, Control, Heard, NeighborCheck, Received};
use crate::isatap::addr;
use crate::link::Link as _;
use crate::nd::message::{self, Message, NeighborFlags, NeighborSolicitationRepr};
use crate::packet::{LinkId, PacketMut};
use crate::time::{Duration, Expiry, Instant};

impl<C: Capacity> Control<C> for RouterInterface<C> {
    fn receive(&mut self, cx: &mut Context<'_, C>, heard: &Heard<'_>) -> Received {
        let Heard { flow, received, message, .. } = heard;
        match message {
            Message::RouterSolicitation(_) => {
                // ISA-51: to all-routers, or to us under either u bit.
                if !received.destination.is_multicast() && !self.link.is_local(&received.destination) {
                    return Received::Drop(DropReason::NdAddresses);
                }
                self.solicited(cx.now, received.source, flow)
            }
            // NDP-25 [RFC 4861 §6.2.7]: what other routers say is not ours to use.
            Message::RouterAdvertisement(_) => Received::Consumed,
            Message::NeighborAdvertisement(na) => {
                // SEC-1: by the neighbour itself, not by a router for it; and
                // only a solicited one confirms (NDP-53).
                let target = na.target();
                let itself = target == received.source && addr::embedded_ipv4(&target) == Some(flow.outer_source);
                let solicited = na.flags().contains(NeighborFlags::SOLICITED);
                if itself && solicited && self.neighbors.answered(cx.now, &target) {
                    Received::Consumed
                } else {
                    Received::Drop(DropReason::NdUnknownTarget)
                }
            }
            Message::NeighborSolicitation(_) => Received::Drop(DropReason::NdUnknownTarget),
            // NDP-70 [RFC 4861 §8.2]
            Message::Redirect(_) => Received::Drop(DropReason::RedirectRefused),
        }
    }

    fn is_verified(&self, neighbor: &Ipv6Addr) -> bool {
        !self.asks(neighbor) || self.neighbors.is_verified(neighbor)
    }

    fn check_neighbor(&mut self, now: Instant, id: LinkId, neighbor: &Ipv6Addr, may_wait: bool) -> NeighborCheck {
        match self.asks(neighbor) {
            true if may_wait => self.neighbors.check(now, id, neighbor),
            true => self.neighbors.check_known(now, neighbor),
            false => NeighborCheck::Pass,
        }
    }

    fn passes_until(&self, neighbor: &Ipv6Addr) -> Expiry {
        if self.asks(neighbor) { self.neighbors.passes_until(neighbor) } else { Expiry::NEVER }
    }

    fn prolong(&mut self, now: Instant, neighbor: &Ipv6Addr, destination: Option<Ipv4Addr>) -> Option<Expiry> {
        // Packets to who is behind it end with it.
        let is_itself = destination.is_none_or(|destination| addr::embedded_ipv4(neighbor) == Some(destination));
        if is_itself && self.asks(neighbor) { self.neighbors.prolong(now, neighbor) } else { None }
    }

    fn take_verified(&mut self) -> bool {
        C::CheckedNeighbors::ROWS > 0 && self.neighbors.take_change()
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        self.time_neighbors(cx.now, entropy);
        if C::Answered::ROWS > 0 {
            self.recent.draw(entropy);
        }
        for row in self.solicitors.iter_mut() {
            if let Reply::Draw { from } = row.answer {
                // NDP-40 [RFC 4861 §6.2.6]
                row.answer = Reply::Due(from.saturating_add(uniform(entropy, Duration::ZERO, MAX_RA_DELAY_TIME)));
            }
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        while let Some(neighbor) = self.neighbors.due().filter(|_| C::CheckedNeighbors::ROWS > 0) {
            if let Some(sent) = self.solicit(cx, &neighbor, out)? {
                return Ok(Some(sent));
            }
        }
        while let Some(at) = self.due(cx.now) {
            if let Some(sent) = self.advertise(cx, at, out)? {
                return Ok(Some(sent));
            }
        }
        self.tell(cx, out)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let of_neighbors = if C::CheckedNeighbors::ROWS > 0 { self.neighbors.poll_event(cx.now, cx.id) } else { None };
        of_neighbors.or_else(|| self.told.poll_event(cx.id, &self.link.underlay.policy))
    }

    fn retry(&mut self, _cx: &mut Context<'_, C>) {
        self.sync_addresses();
    }

    fn deadline(&self) -> Expiry {
        let next_answer = self.next_answer();
        let rows = self.solicitors.iter().map(|row| match row.answer {
            Reply::Draw { from } => Expiry::at(from),
            Reply::Due(at) => Expiry::at(at).max(next_answer),
            Reply::Given { .. } => Expiry::NEVER,
        });
        let of_neighbors = if C::CheckedNeighbors::ROWS > 0 { self.neighbors.deadline() } else { Expiry::NEVER };
        rows.min().unwrap_or(Expiry::NEVER).min(of_neighbors).min(self.round_deadline())
    }
}

impl<C: Capacity> RouterInterface<C> {
    /// Answers the host in a row that is due. `NDP-41 [RFC 4861 §6.2.6]`: to
    /// the one who asked.
    fn advertise(
        &mut self,
        cx: &mut Context<'_, C>,
        at: usize,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let Some(row) = self.solicitors.get(at).copied() else { return Ok(None) };
        let source = addr::link_local(row.locator);
        let mut more = false;
        message::write_packet(out, &source, &row.host, |writer| more = self.emit(cx, row.part, writer))?;
        let crowded = self.is_crowded();
        self.answered(cx.now, at, out.len(), more);
        if !more && !crowded {
            // SEC-1: it knows what its addresses are now. Behind an answer to a
            // forged solicitation it would be asked three times, which is more
            // than was sent (ISA-57): beside many its first packet asks.
            self.expect(cx.now, &row.host);
        }
        let Some(host) = addr::embedded_ipv4(&row.host) else { return Ok(None) };
        Ok(cx.send(&*self.link, row.locator, host, out))
    }

    /// Asks a neighbour whether it is there. `SEC-1`, `NDP-51`: by a packet to
    /// it alone, from the address that it knows this router by.
    fn solicit(
        &mut self,
        cx: &mut Context<'_, C>,
        neighbor: &Ipv6Addr,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        let ends = self
            .link
            .source_for(neighbor)
            .and_then(|source| Some((source, addr::embedded_ipv4(&source)?, addr::embedded_ipv4(neighbor)?)));
        let mut sent = None;
        if let Some((source, locator, destination)) = ends {
            let repr = NeighborSolicitationRepr { target: *neighbor };
            message::write_packet(out, &source, neighbor, |writer| repr.emit(writer))?;
            sent = cx.send(&*self.link, locator, destination, out);
        }
        // One that could not be sent is as good as lost.
        self.neighbors.sent(cx.now);
        Ok(sent)
    }
}
