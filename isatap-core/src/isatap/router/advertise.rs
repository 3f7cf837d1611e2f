//! The advertisement, and to whom it goes when.

use core::net::{Ipv4Addr, Ipv6Addr};
use core::time::Duration;

use super::RouterInterface;
use crate::capacity::{Capacity, Row};
use crate::drop_reason::DropReason;
use crate::error::Table;
use crate::interface::Received;
use crate::isatap::addr;
use crate::nd::learned::SearchDomain;
use crate::nd::message::RouterAdvertisementRepr;
use crate::nd::option::{DnsSearchList, Mtu, PrefixFlags, PrefixInformation, RecursiveDnsServers, RouteInformation};
use crate::proto41::Flow;
use crate::route::Route;
use crate::time::{Instant, Lifetime};
use crate::wire::field::Writer;

/// A host that has solicited.
#[derive(Clone, Copy, Debug)]
pub struct Solicitor {
    pub(super) host: Ipv6Addr,
    pub(super) ipv4: Ipv4Addr,
    /// The locator that it asked, from which it expects the answer. `ISA-53`
    pub(super) locator: Ipv4Addr,
    pub(super) answer: Answer,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
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

impl Row for Solicitor {
    const EMPTY: Self = Solicitor {
        host: Ipv6Addr::UNSPECIFIED,
        ipv4: Ipv4Addr::UNSPECIFIED,
        locator: Ipv4Addr::UNSPECIFIED,
        answer: Answer::Given { quiet_until: Instant::ZERO },
    };
}

/// `NDP-40 [RFC 4861 §10]`
pub(super) const MAX_RA_DELAY_TIME: Duration = Duration::from_millis(500);

/// No host is answered more often: less than the 4 s at which hosts repeat.
pub(super) const QUIET: Duration = Duration::from_secs(1);

impl<C: Capacity> RouterInterface<C> {
    /// Remembers a host that asks. `ISA-51`, `ISA-52`
    pub(super) fn solicited(&mut self, now: Instant, source: Ipv6Addr, flow: &Flow) -> Received {
        // ISA-52 [RFC 5214 §8.2]: the answer goes to the source, whose IPv4
        // address is the one that the packet came from.
        if addr::embedded_ipv4(&source) != Some(flow.outer_source) {
            return Received::Drop(DropReason::NdAddresses);
        }
        if !self.config.advertise {
            return Received::Drop(DropReason::NotARouter);
        }
        let new = Solicitor {
            host: source,
            ipv4: flow.outer_source,
            locator: flow.outer_destination,
            answer: Answer::Draw { from: now },
        };
        if let Some(row) = self.solicitors.iter_mut().find(|row| row.host == source && row.locator == new.locator) {
            return match row.answer {
                // NDP-40: the delay counts from the first one.
                Answer::Draw { .. } | Answer::Due(_) => Received::Consumed,
                Answer::Given { quiet_until } if now < quiet_until => Received::Drop(DropReason::RateLimited),
                Answer::Given { .. } => {
                    *row = new;
                    Received::Consumed
                }
            };
        }
        if self.solicitors.is_full() {
            // Rows that only remember an answer go first, the oldest of them;
            // a host that waits is never evicted.
            let given = |row: &Solicitor| match row.answer {
                Answer::Given { quiet_until } => Some(quiet_until),
                _ => None,
            };
            let oldest = self.solicitors.iter().enumerate().filter_map(|(at, row)| given(row).map(|quiet| (quiet, at)));
            match oldest.min() {
                Some((_, at)) => self.solicitors.remove(at),
                None => return Received::Drop(DropReason::TableFull),
            };
        }
        match self.solicitors.push(new, Table::Solicitations) {
            Ok(()) => Received::Consumed,
            Err(_) => Received::Drop(DropReason::TableFull),
        }
    }

    /// Writes the advertisement. `ISA-55`
    pub(super) fn emit(
        &self,
        forwarding: bool,
        routes: &crate::interface::Routes<C>,
        id: crate::packet::LinkId,
        writer: &mut Writer<'_>,
    ) {
        let published = |route: &&Route| route.publish && route.link != id;
        let default = self.config.advertise_default_route
            || routes.published().filter(published).any(|route| route.prefix.is_default());
        let ra = RouterAdvertisementRepr {
            cur_hop_limit: self.config.cur_hop_limit,
            flags: self.config.flags,
            preference: self.config.preference,
            // NDP-67, RTE-7 [RFC 4861 §6.2.5]: no default router without
            // forwarding.
            router_lifetime: if default && forwarding { self.config.router_lifetime } else { 0 },
            reachable_time: self.config.reachable_time,
            retrans_timer: self.config.retrans_timer,
        };
        ra.emit(writer);
        if let Some(mtu) = self.config.mtu {
            Mtu(u32::from(mtu)).emit(writer);
        }
        for prefix in self.published.iter() {
            let option = PrefixInformation {
                prefix: prefix.prefix,
                flags: PrefixFlags::ON_LINK | PrefixFlags::AUTONOMOUS,
                valid_lifetime: prefix.valid_lifetime,
                preferred_lifetime: prefix.preferred_lifetime,
            };
            option.emit(writer);
        }
        // NDP-12 [RFC 4191 §2.3, §4]: no prefix twice, at most 17; and none
        // that this node would not forward to.
        let more_specific = || routes.published().filter(published).filter(|route| !route.prefix.is_default());
        for (at, route) in more_specific().enumerate().take(MOST_ROUTES) {
            let repeated = more_specific().take(at).any(|before| before.prefix == route.prefix);
            if forwarding && !repeated {
                let lifetime = Lifetime::from_secs(u32::from(self.config.router_lifetime));
                RouteInformation { prefix: route.prefix, preference: route.preference, lifetime }.emit(writer);
            }
        }
        for server in self.servers.iter() {
            RecursiveDnsServers::emit_list(self.config.dns_lifetime, &[server.0], writer);
        }
        if !self.domains.is_empty() {
            let names = self.domains.iter().filter_map(SearchDomain::name);
            DnsSearchList::emit_list(self.config.dns_lifetime, names, writer);
        }
    }

    /// One more answer in this second, if there may be. `ISA-57`
    pub(super) fn may_answer(&mut self, now: Instant) -> bool {
        let (since, count) = self.answered;
        if now.saturating_duration_since(since) >= Duration::from_secs(1) {
            self.answered = (now, 1);
            return true;
        }
        if count >= self.config.answers_per_second {
            return false;
        }
        self.answered = (since, count.saturating_add(1));
        true
    }

    pub(super) fn due(&self, now: Instant) -> Option<usize> {
        self.solicitors.iter().position(|row| matches!(row.answer, Answer::Due(at) if at <= now))
    }
}

/// `NDP-12 [RFC 4191 §4]`
const MOST_ROUTES: usize = 17;
