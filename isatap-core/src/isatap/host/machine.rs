//! The control machine: messages, time, packets and events.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::HostInterface;
use super::learn::leads_on;
use crate::capacity::{Capacity, Parts};
use crate::drop_reason::DropReason;
use crate::engine::{Change, Entropy, Event, Transmit};
use crate::error::EmitError;
use crate::interface::{Context, Control, Heard, Received};
use crate::isatap::prl::PotentialRouter;
use crate::isatap::{addr, ingress};
use crate::nd::message::{self, Message, NeighborFlags, NeighborSolicitationRepr};
use crate::nd::neighbor::Advertised;
use crate::packet::PacketMut;
use crate::route::Origin;
use crate::time::{Duration, Expiry, Instant, Lifetime};

impl<C: Capacity> Control<C> for HostInterface<C> {
    fn receive(&mut self, cx: &mut Context<'_, C>, heard: &Heard<'_>) -> Received {
        let &Heard { from, flow, ref received, ref message } = heard;
        match message {
            // ISA-49, NDP-25 [RFC 4861 §6.2.6]
            Message::RouterSolicitation(_) => Received::Drop(DropReason::NotARouter),
            Message::NeighborSolicitation(_) => Received::Drop(DropReason::NdUnknownTarget),
            Message::RouterAdvertisement(ra) => {
                if let Err(reason) = ingress::advertisement(&received.source, flow.outer_source, from) {
                    return Received::Drop(reason);
                }
                let Some(slot) = self.link.prl.slot(flow.outer_source) else {
                    return Received::Drop(DropReason::RaNotFromRouter);
                };
                self.learn(cx, slot, received.source, ra);
                Received::Consumed
            }
            Message::NeighborAdvertisement(na) => {
                // The neighbour is who sent the packet: its target must be it.
                if addr::embedded_ipv4(&na.target()) != Some(flow.outer_source) {
                    return Received::Drop(DropReason::NdUnknownTarget);
                }
                let solicited = na.flags().contains(NeighborFlags::SOLICITED);
                let is_router = na.flags().contains(NeighborFlags::ROUTER);
                if self.neighbors.advertised(cx.now, flow.outer_source, solicited, is_router) == Advertised::Unknown {
                    return Received::Drop(DropReason::NdUnknownTarget);
                }
                let mut lost_default = false;
                for form in [addr::link_local(flow.outer_source), addr::other_link_local(flow.outer_source)] {
                    if solicited {
                        cx.routes.set_unreachable(cx.id, &form, false);
                    }
                    // NDP-53 [RFC 4861 §7.2.5]: a router no more.
                    if !is_router {
                        let removed = cx.routes.remove_if(|route| {
                            route.link == cx.id
                                && route.origin == Origin::Advertised
                                && route.prefix.is_default()
                                && route.next_hop == Some(form)
                        });
                        lost_default |= removed > 0;
                    }
                }
                let slot = self.link.prl.slot(flow.outer_source);
                if let Some(row) = slot.and_then(|slot| self.link.prl.row_mut(slot)) {
                    if solicited {
                        row.set_unreachable(false);
                    }
                    if !is_router {
                        lost_default |= row.is_default_router();
                        row.set_default(cx.now, Lifetime::ZERO);
                    }
                }
                let slot = slot.filter(|_| lost_default);
                if let Some(slot) = slot.filter(|_| !leads_on(cx, Some(flow.outer_source))) {
                    self.ask_for_a_way(cx.now, slot);
                }
                Received::Consumed
            }
            Message::Redirect(_) if !C::PARTS.contains(Parts::REDIRECTS) => Received::Drop(DropReason::RedirectRefused),
            Message::Redirect(redirect) => {
                self.redirect(cx, received, redirect.target(), redirect.destination(), flow.outer_source)
            }
        }
    }

    fn note_sent(&mut self, now: Instant, destination: Ipv4Addr) {
        if self.config.probe_neighbors {
            // A full table watches no more neighbours; nothing else changes.
            let _ = self.neighbors.note_sent(now, destination);
        }
    }

    fn note_avoided(&mut self, now: Instant, next_hop: &Ipv6Addr) {
        let slot = addr::embedded_ipv4(next_hop).and_then(|ipv4| self.link.prl.slot(ipv4));
        if let Some(row) = slot.and_then(|slot| self.link.prl.row_mut(slot))
            && row.avoided_until <= now
        {
            // NDP-37 [RFC 4191 §3.5]: there is traffic for it now; once a minute.
            row.avoided_until = now.saturating_add(AVOIDED_PROBE_INTERVAL);
            let _ = self.neighbors.probe(now, row.address());
        }
    }

    fn doubt(&mut self, now: Instant, destination: Ipv4Addr) {
        self.neighbors.doubt(now, destination);
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, C>, entropy: &mut dyn Entropy) {
        let now = cx.now;
        if self.names.refresh.is_due(now) {
            self.names.refresh = Expiry::NEVER;
            self.names.wanted |= self.config.resolve && !self.link.locators().is_empty();
        }
        self.servers.expire(now);
        self.domains.expire(now);
        self.parameters.handle_timeout(now, entropy);
        if self.link.prefixes.deadline().is_due(now) {
            self.link.prefixes.expire(now);
            self.sync_routes(cx);
            self.sync_addresses(now);
        }
        self.neighbors.set_times(self.parameters.reachable_time(), self.parameters.retrans_timer());
        self.neighbors.handle_timeout(now);
        while let Some(unreachable) = self.neighbors.next_failed() {
            for form in [addr::link_local(unreachable), addr::other_link_local(unreachable)] {
                // NDP-37 [RFC 4191 §3.2]: skipped while another is reachable.
                cx.routes.set_unreachable(cx.id, &form, true);
            }
            // NDP-50 [RFC 4861 §7.3.3]: next-hop determination is done again,
            // so that what was redirected to it goes by the routers.
            let link = cx.id;
            cx.routes.remove_if(|route| {
                let to = route.next_hop_for(&route.prefix.address());
                route.link == link
                    && route.origin == Origin::Redirected
                    && addr::embedded_ipv4(&to) == Some(unreachable)
            });
            if let Some(slot) = self.link.prl.slot(unreachable) {
                if let Some(row) = self.link.prl.row_mut(slot) {
                    row.set_unreachable(true);
                }
                self.start_round(now, slot, false);
            }
        }
        for slot in 0..self.slots() {
            if self.link.prl.row(slot).is_some_and(|row| row.deadline().is_due(now)) {
                self.row_timeout(now, slot, entropy);
            }
        }
    }

    fn poll_transmit(
        &mut self,
        cx: &mut Context<'_, C>,
        out: &mut PacketMut<'_>,
    ) -> Result<Option<Transmit>, EmitError> {
        while let Some(row) = self.next_solicited() {
            let locator = self.link.locator_for(row.address());
            let mut sent = None;
            if let Some(locator) = locator {
                // ISA-31: from the link-local address of the locator that the
                // outer header names; hop limit 255; no link-layer address.
                let (source, destination) = (addr::link_local(locator), self.solicitation_destination(&row));
                out.copy_from(&message::router_solicitation_packet(&source, &destination))?;
                sent = cx.send(&*self.link, locator, row.address(), out);
            }
            self.solicited(row.address());
            if sent.is_some() {
                return Ok(sent);
            }
        }
        while let Some(neighbor) = self.neighbors.next_probe(cx.now) {
            let other_form = self.link.prl.iter().any(|row| row.address() == neighbor && row.other_form);
            let target = if other_form { addr::other_link_local(neighbor) } else { addr::link_local(neighbor) };
            let mut sent = None;
            if let Some(locator) = self.link.locator_for(neighbor) {
                // NDP-51: to the target itself.
                let (source, repr) = (addr::link_local(locator), NeighborSolicitationRepr { target });
                message::write_packet(out, &source, &target, |writer| repr.emit(writer))?;
                sent = cx.send(&*self.link, locator, neighbor, out);
            }
            self.neighbors.probe_sent(cx.now, neighbor);
            if sent.is_some() {
                return Ok(sent);
            }
        }
        Ok(None)
    }

    fn poll_event(&mut self, cx: &mut Context<'_, C>) -> Option<Event> {
        let link = cx.id;
        if self.names.wanted && !self.names.asked {
            self.names.wanted = false;
            self.names.asked = true;
            return Some(Event::ResolveRouters { link });
        }
        let has_news = |row: &PotentialRouter| row.told != row.answered || row.warn_lifetime;
        if self.link.prl.rows().any(has_news)
            && let Some((_, row)) = self.link.prl.rows_mut().find(|(_, row)| has_news(row))
        {
            let address = row.address();
            if row.told == row.answered {
                row.warn_lifetime = false;
                return Some(Event::LifetimeTooShort { link, address });
            }
            row.told = row.answered;
            let change = if row.told { Change::Added } else { Change::Removed };
            return Some(Event::Router { link, change, address });
        }
        if self.servers.poll_changed() {
            return Some(Event::DnsServers { link });
        }
        if self.domains.poll_changed() {
            return Some(Event::SearchDomains { link });
        }
        self.told.poll_event(link, &self.link.underlay.policy)
    }

    fn retry(&mut self, cx: &mut Context<'_, C>) {
        self.sync_routes(cx);
        self.sync_addresses(cx.now);
    }

    fn deadline(&self) -> Expiry {
        let rows = self.link.prl.rows().map(PotentialRouter::deadline);
        [
            self.names.refresh,
            self.link.prefixes.deadline(),
            self.servers.deadline(),
            self.domains.deadline(),
            self.parameters.deadline(),
            self.neighbors.deadline(),
        ]
        .into_iter()
        .chain(rows)
        .min()
        .unwrap_or(Expiry::NEVER)
    }
}

/// At most one probe a minute of a router that is avoided. [RFC 4191 §3.5]
const AVOIDED_PROBE_INTERVAL: Duration = Duration::from_secs(60);
