//! The advertisement, and to whom it goes when.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{OfferDefault, RouterInterface};
use crate::capacity::{Bounded as _, Capacity, Count as _};
use crate::drop_reason::DropReason;
use crate::error::Table;
use crate::interface::{Context, Received, Routes};
use crate::isatap::addr;
use crate::nd::learned::SearchDomain;
use crate::nd::message::RouterAdvertisementRepr;
use crate::nd::option::{DnsSearchList, Mtu, PrefixFlags, PrefixInformation, RecursiveDnsServers, RouteInformation};
use crate::packet::LinkId;
use crate::proto41::Flow;
use crate::route::Route;
use crate::time::{Duration, Expiry, Instant, Lifetime};
use crate::wire::field::Writer;

/// A host that has solicited.
#[derive(Clone, Copy, Debug)]
pub struct Solicitor {
    pub(super) host: Ipv6Addr,
    /// The locator that it asked, from which it expects the answer. `ISA-53`
    pub(super) locator: Ipv4Addr,
    pub(super) answer: Reply,
    /// Which of its advertisements is next.
    pub(super) part: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    /// The delay is to be drawn.
    Draw {
        from: Instant,
    },
    Due(Instant),
    /// Given; no other before that.
    Given {
        quiet_until: Instant,
    },
}

/// `NDP-40 [RFC 4861 §10]`
pub(super) const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);

/// No host is answered more often: less than the 4 s at which hosts repeat.
pub(super) const QUIET: Duration = Duration::from_secs(1);

/// What [`RouterConfig::answers_per_second`](super::RouterConfig) counts:
/// advertisements, and more of one that is longer than this.
pub(super) const PIECE: usize = 256;

impl<C: Capacity> RouterInterface<C> {
    /// Remembers a host that asks. `ISA-51`, `ISA-52`
    pub(super) fn solicited(&mut self, now: Instant, source: Ipv6Addr, flow: &Flow) -> Received {
        // ISA-52 [RFC 5214 §8.2]: the answer goes to the source, whose IPv4
        // address is the one that the packet came from.
        if addr::embedded_ipv4(&source) != Some(flow.outer_source) {
            return Received::Drop(DropReason::NdAddresses);
        }
        if !self.config.advertise || self.is_stopping {
            return Received::Drop(DropReason::NotARouter);
        }
        // ISA-57: an answer may go to somebody who did not ask.
        let recent = C::Answered::ROWS > 0 && self.recent.has(now, flow.outer_source, flow.outer_destination);
        // NDP-40 [RFC 4861 §6.2.6]: the delay keeps routers of one link from
        // speaking at once, and is as long as it may be while few wait. Where
        // many do it is none: a row then waits no longer than output does, and
        // no flood of forged solicitations keeps honest ones away.
        let given = |row: &Solicitor| match row.answer {
            Reply::Given { quiet_until } => Some(quiet_until),
            _ => None,
        };
        let answer = if self.is_crowded() { Reply::Due(now) } else { Reply::Draw { from: now } };
        let new = Solicitor { host: source, locator: flow.outer_destination, answer, part: 0 };
        if let Some(row) = self.solicitors.iter_mut().find(|row| row.host == source && row.locator == new.locator) {
            return match given(row) {
                // NDP-40: the delay counts from the first one.
                None => Received::Consumed,
                Some(quiet_until) if now < quiet_until => Received::Drop(DropReason::RateLimited),
                Some(_) => {
                    *row = new;
                    Received::Consumed
                }
            };
        }
        if recent {
            return Received::Drop(DropReason::RateLimited);
        }
        if self.solicitors.is_full() {
            // Rows that only remember an answer go first, the oldest of them;
            // a host that waits is never evicted.
            let oldest = self.solicitors.iter().enumerate().filter_map(|(at, row)| given(row).map(|quiet| (quiet, at)));
            match oldest.min() {
                Some((_, at)) => self.solicitors.take(at),
                None => return Received::Drop(DropReason::TableFull),
            };
        }
        match self.solicitors.add(new, Table::Solicitations) {
            Ok(()) => Received::Consumed,
            Err(_) => Received::Drop(DropReason::TableFull),
        }
    }

    /// Whether many hosts wait. Most of them may be forged.
    pub(super) fn is_crowded(&self) -> bool {
        let waiting = self.solicitors.iter().filter(|row| !matches!(row.answer, Reply::Given { .. })).count();
        waiting >= C::Solicitations::ROWS.div_euclid(2)
    }

    /// An advertisement of `len` bytes is written for the host at `at`;
    /// `more` follow.
    pub(super) fn answered(&mut self, now: Instant, at: usize, len: usize, more: bool) {
        self.count(now, len);
        let Some(row) = self.solicitors.get_mut(at) else { return };
        row.part = row.part.saturating_add(1);
        if !more {
            row.answer = Reply::Given { quiet_until: now.saturating_add(QUIET) };
            if C::Answered::ROWS > 0 {
                self.recent.note(now, &row.host, row.locator);
            }
        }
    }

    /// So many bytes are advertised. `ISA-57`
    pub(super) fn count(&mut self, now: Instant, len: usize) {
        self.sent.note(now, u16::try_from(len.div_ceil(PIECE)).unwrap_or(u16::MAX));
    }

    /// Whether it offers itself as a default router on its link, `id`, with these routes of the node.
    #[must_use]
    pub fn is_default_router(&self, id: LinkId, routes: &Routes<C>, forwarding: bool) -> bool {
        let mut elsewhere = routes.iter().filter(|route| route.prefix.is_default() && route.link != id);
        // RTE-6: a ::/0 that is published is offered whatever else is said.
        let is_wanted = match self.config.default_route {
            OfferDefault::Always => true,
            OfferDefault::Auto => elsewhere.any(|route| route.link != LinkId::NULL || route.publish),
            OfferDefault::Never => elsewhere.any(|route| route.publish),
        };
        // NDP-67, RTE-7 [RFC 4861 §6.2.5]: none without forwarding.
        is_wanted && forwarding && !self.is_stopping && self.config.router_lifetime > 0
    }

    /// The more specific routes that it advertises there.
    pub fn advertised_routes<'r>(
        &self,
        id: LinkId,
        routes: &'r Routes<C>,
        forwarding: bool,
    ) -> impl Iterator<Item = &'r Route> + use<'r, C> {
        let published = move || routes.published().filter(move |route| route.link != id && !route.prefix.is_default());
        // NDP-12 [RFC 4191 §2.3, §4]: no prefix twice, at most 17; and none
        // that this node would not forward to.
        let first = move |at: usize, route: &Route| !published().take(at).any(|before| before.prefix == route.prefix);
        let distinct = published().enumerate().filter(move |&(at, route)| first(at, route)).map(|(_, route)| route);
        distinct.filter(move |_| forwarding).take(MOST_ROUTES)
    }

    /// Writes advertisement number `part` of those that are needed to say
    /// all. `true`: another one follows. `ISA-55`
    pub(super) fn emit(&self, cx: &Context<'_, C>, part: u8, writer: &mut Writer<'_>) -> bool {
        let ra = RouterAdvertisementRepr {
            cur_hop_limit: self.config.cur_hop_limit,
            flags: self.config.flags,
            preference: self.config.preference,
            router_lifetime: if self.is_default_router(cx.id, cx.routes, cx.forwarding) {
                self.config.router_lifetime
            } else {
                0
            },
            reachable_time: self.config.reachable_time,
            retrans_timer: self.config.retrans_timer,
        };
        ra.emit(writer);
        let mut parts = Parts { wanted: part, part: 0, len: writer.written(), head: writer.written(), writer };
        let mtu = u32::from(self.link.underlay.policy.ipv6_mtu());
        parts.put(|writer| Mtu(mtu).emit(writer));
        for prefix in self.published.iter() {
            // NDP-33: nobody can make addresses of another length.
            let autonomous = if prefix.prefix.length() == 64 { PrefixFlags::AUTONOMOUS } else { PrefixFlags::empty() };
            let option = PrefixInformation {
                prefix: prefix.prefix,
                flags: PrefixFlags::ON_LINK | autonomous,
                valid_lifetime: prefix.valid_lifetime,
                preferred_lifetime: prefix.preferred_lifetime,
            };
            parts.put(|writer| option.emit(writer));
        }
        for route in self.advertised_routes(cx.id, cx.routes, cx.forwarding) {
            // NDP-42 [RFC 4191 §4]: the last words take the routes back.
            let longest = if self.is_stopping { Lifetime::ZERO } else { self.config.route_lifetime };
            // Hosts are told at once of a route that is about to end.
            let left = route.expires.remaining(cx.now);
            let left = if left <= ABOUT_TO_END { Lifetime::ZERO } else { left };
            let lifetime = longest.min(left);
            let option = RouteInformation { prefix: route.prefix, preference: route.preference, lifetime };
            parts.put(|writer| option.emit(writer));
        }
        for server in self.servers.iter() {
            parts.put(|writer| RecursiveDnsServers::emit_list(self.config.dns_lifetime, &[server.0], writer));
        }
        for name in self.domains.iter().filter_map(SearchDomain::name) {
            let name = core::iter::once(name);
            parts.put(|writer| DnsSearchList::emit_list(self.config.dns_lifetime, name.clone(), writer));
        }
        parts.part > part
    }

    /// From when on another answer may be given. `ISA-57`
    pub(super) fn next_answer(&self) -> Expiry {
        self.sent.next(self.config.answers_per_second)
    }

    /// The host that is to be answered now: who has waited longest. Over the limit all wait: the
    /// rows are bounded, and who finds none is told apart.
    pub(super) fn due(&self, now: Instant) -> Option<usize> {
        if !self.next_answer().is_due(now) {
            return None;
        }
        let due = self.solicitors.iter().enumerate().filter_map(|(place, row)| match row.answer {
            Reply::Due(at) if at <= now => Some((at, place)),
            _ => None,
        });
        due.min().map(|(_, place)| place)
    }
}

/// Spreads options over advertisements, and writes those of one.
///
/// `ISA-57 [RFC 4861 §6.2.3]`: what does not fit into 1,280 bytes goes into
/// another advertisement; each has the fixed part.
struct Parts<'w, 'o> {
    wanted: u8,
    part: u8,
    len: usize,
    head: usize,
    writer: &'w mut Writer<'o>,
}

impl Parts<'_, '_> {
    fn put(&mut self, emit: impl Fn(&mut Writer<'_>)) {
        let mut counting = Writer::counting();
        emit(&mut counting);
        let len = self.len.saturating_add(counting.written());
        if len > MOST_BYTES {
            self.part = self.part.saturating_add(1);
            self.len = self.head.saturating_add(counting.written());
        } else {
            self.len = len;
        }
        if self.part == self.wanted {
            emit(self.writer);
        }
    }
}

/// An ICMPv6 message that every IPv6 link carries whole.
const MOST_BYTES: usize = 1280 - 40;

/// Before a route ends it is taken back: a host may keep one whose time is over
/// in its table for a while.
const ABOUT_TO_END: Lifetime = Lifetime::from_secs(2);

/// `NDP-12 [RFC 4191 §4]`
const MOST_ROUTES: usize = 17;
