//! What a Router Advertisement and a Redirect change.

use core::net::{Ipv4Addr, Ipv6Addr};

use super::{HostConfig, HostInterface, router_number};
use crate::capacity::{Capacity, Count as _, Parts};
use crate::drop_reason::DropReason;
use crate::error::Table;
use crate::interface::{Context, Received};
use crate::isatap::addr;
use crate::isatap::prl::{Prl, Timer};
use crate::link::Link as _;
use crate::nd::learned::Sources;
use crate::nd::message::RouterAdvertisement;
use crate::nd::solicit::Phase;
use crate::nd::{NdOption, validate};
use crate::prefix::Ipv6Prefix;
use crate::route::{Origin, Preference, Route};
use crate::time::{Duration, Expiry, Instant, Lifetime};

impl<C: Capacity> HostInterface<C> {
    /// A Router Advertisement from the router in row `slot`. `ISA-44`
    ///
    /// Without route options its header gives the one default route, so that
    /// a type C host does what types A and B would. `NDP-38 [RFC 4191 §3.1]`
    pub(super) fn learn(
        &mut self,
        cx: &mut Context<'_, C>,
        slot: usize,
        source: Ipv6Addr,
        ra: &RouterAdvertisement<'_>,
    ) {
        cx.routes.hold_index();
        self.learn_all(cx, slot, source, ra);
        cx.routes.release_index();
    }

    fn learn_all(&mut self, cx: &mut Context<'_, C>, slot: usize, source: Ipv6Addr, ra: &RouterAdvertisement<'_>) {
        let Some((default, router)) = self.link.prl.row_mut(slot).map(|row| (!row.no_default, row.address())) else {
            return;
        };
        let (now, link, number) = (cx.now, cx.id, router_number(slot));
        // ISA-26: under whichever u bit it speaks, it is one router with one
        // set of routes.
        let former = if source == addr::link_local(router) { addr::other_link_local } else { addr::link_local };
        let former = former(router);
        cx.routes.remove_if(|route| {
            route.link == link && route.origin == Origin::Advertised && route.next_hop == Some(former)
        });
        let shares = C::PARTS.contains(Parts::SHARES);
        let mut lifetimes = Lifetimes { shortest: None, longest: Lifetime::ZERO };
        if default {
            // NDP-30, NDP-31: the last advertisement wins, zero says nothing.
            self.parameters.learn(now, ra);
            let lifetime = ra.router_lifetime();
            lifetimes.useful(lifetime);
            // NDP-36 [RFC 4191 §3.1]: the header first, then each option.
            self.set_route(cx, Ipv6Prefix::DEFAULT, source, ra.preference(), lifetime);
        }
        for option in ra.options() {
            // None: the message would have been refused.
            let Ok(option) = option else { break };
            match option {
                NdOption::PrefixInformation(information) => {
                    lifetimes.useful(information.valid_lifetime);
                    lifetimes.note(information.preferred_lifetime);
                    // ISA-83, NDP-32: L makes neighbours reached directly, A
                    // makes addresses; neither implies the other.
                    let known = self.link.prefixes.iter().any(|row| row.prefix() == information.prefix);
                    let learned = self.link.prefixes.learn_displacing(now, &information, number, shares);
                    match &learned {
                        Ok(Some(gone)) => self.refuse(cx, Table::Prefixes, gone.sources(), Some(gone.prefix())),
                        Ok(None) => {}
                        Err(_) => self.refuse(cx, Table::Prefixes, Sources::of(number), Some(information.prefix)),
                    }
                    self.told.full.learned(Table::Prefixes, known, learned);
                }
                NdOption::RouteInformation(information) if C::PARTS.contains(Parts::ROUTE_INFORMATION) => {
                    let scope = information.prefix.address();
                    if scope.is_multicast() || scope.is_unicast_link_local() {
                        continue;
                    }
                    if information.prefix.is_default() && !default {
                        continue;
                    }
                    lifetimes.useful(information.lifetime);
                    self.set_route(cx, information.prefix, source, information.preference, information.lifetime);
                }
                NdOption::Mtu(mtu) if default => {
                    // NDP-14, TUN-36 [RFC 4861 §6.3.4]: what fits the link.
                    let policy = &mut self.link.underlay.policy;
                    self.parameters.learn_mtu(mtu, policy.mtu.interface_mtu());
                    if let Some(mtu) = self.parameters.mtu().filter(|_| !policy.fixed_link_mtu) {
                        policy.link_mtu = mtu;
                    }
                }
                NdOption::RecursiveDnsServers(servers) if C::DnsServers::ROWS > 0 => {
                    lifetimes.note(servers.lifetime());
                    let before = self.servers.iter().count();
                    let routers = &self.link.prl;
                    let learned = self.servers.learn_each(now, &servers, number, |sources, server| {
                        note_refused(cx, routers, Table::DnsServers, sources, Ipv6Prefix::new(server.0, 128));
                    });
                    self.told.full.learned(Table::DnsServers, self.servers.iter().count() <= before, learned);
                }
                NdOption::DnsSearchList(domains) if C::SearchDomains::ROWS > 0 => {
                    lifetimes.note(domains.lifetime());
                    let before = self.domains.iter().count();
                    let routers = &self.link.prl;
                    let learned = self.domains.learn_each(now, &domains, number, |sources| {
                        note_refused(cx, routers, Table::SearchDomains, sources, None);
                    });
                    self.told.full.learned(Table::SearchDomains, self.domains.iter().count() <= before, learned);
                }
                // NDP-13: the others count; that this one does not can be seen.
                NdOption::Unusable(_) => {
                    self.parameters.unusable_options = self.parameters.unusable_options.saturating_add(1);
                }
                _ => {}
            }
        }
        self.sync_routes(cx);
        self.sync_addresses(now);
        for form in [addr::link_local, addr::other_link_local] {
            if let Some(row) = self.link.prl.row_mut(slot) {
                cx.routes.set_unreachable(cx.id, &form(row.address()), false);
            }
        }
        let leads_on = !ra.router_lifetime().is_zero() || leads_on(cx, addr::embedded_ipv4(&source));
        if let Some(row) = self.link.prl.row_mut(slot) {
            row.set_unreachable(false);
            row.other_form = source != addr::link_local(row.address());
            // A router with much to say says it in several advertisements
            // [RFC 4861 §6.2.3]: the ones after the first, which answer no
            // question, add to it.
            let more = row.heard_since_asked;
            row.heard_since_asked = true;
            let was_new = !row.answered;
            let alive_until = Expiry::after(now, lifetimes.longest);
            row.alive_until = if more { alive_until.max(row.alive_until) } else { alive_until };
            row.answered = !row.alive_until.is_due(now);
            row.useless = if leads_on { 0 } else { row.useless.saturating_add(1).min(16) };
            let (interval, too_short) = timer(&self.config, &lifetimes, row.useless);
            if !more || !row.is_timed_before(now.saturating_add(interval)) {
                row.timer = Timer::Draw(interval);
            }
            row.heard = Expiry::at(now);
            row.warn_lifetime |= too_short;
            if leads_on {
                row.solicitation.answered();
                row.solicitation_wanted = false;
            }
            let asks_no_more = row.solicitation.phase() == Phase::Idle;
            // NDP-66 [RFC 4861 §6.3.4]
            self.neighbors.heard_router(row.address());
            if self.config.probe_neighbors && was_new && row.answered {
                // ISA-48 [RFC 5214 §8.4]: confirmed once, when its addresses
                // are new.
                let _ = self.neighbors.probe(now, row.address());
            }
            if !leads_on && asks_no_more {
                // It has said so without being asked, or the round had ended.
                self.ask_for_a_way(now, slot);
            }
        }
    }

    /// `ISA-34 [RFC 7559 §2.1]`: an advertisement that brings no way on does
    /// not end the asking. The router may forward a moment later, and nobody
    /// else would tell.
    pub(super) fn ask_for_a_way(&mut self, now: Instant, slot: usize) {
        self.start_round(now, slot, true);
    }

    fn refuse(&self, cx: &mut Context<'_, C>, table: Table, sources: Sources, what: Option<Ipv6Prefix>) {
        note_refused(cx, &self.link.prl, table, sources, what);
    }

    fn set_route(
        &mut self,
        cx: &mut Context<'_, C>,
        prefix: Ipv6Prefix,
        next_hop: Ipv6Addr,
        preference: Preference,
        lifetime: Lifetime,
    ) {
        let route = Route {
            preference,
            expires: Expiry::after(cx.now, lifetime),
            ..Route::via(prefix, cx.id, next_hop, Origin::Advertised)
        };
        if C::Routes::ROWS == 0 {
            // Without a table there are neighbours and default routers.
            let router = addr::embedded_ipv4(&next_hop).and_then(|router| self.link.prl.slot(router));
            if let Some(row) = router.filter(|_| prefix.is_default()).and_then(|slot| self.link.prl.row_mut(slot)) {
                row.set_default(cx.now, lifetime);
            }
        } else if lifetime.is_zero() {
            // ISA-47, NDP-36: zero withdraws this route and nothing else.
            cx.routes.remove(&route.key());
        } else {
            let known = cx.routes.find(&route.key()).is_some();
            self.told.full.learned(Table::Routes, known, cx.insert_route(route));
        }
    }

    pub(super) fn redirect(
        &mut self,
        cx: &mut Context<'_, C>,
        received: &validate::Received<'_>,
        target: Ipv6Addr,
        destination: Ipv6Addr,
        outer_source: Ipv4Addr,
    ) -> Received {
        // ISA-46 [RFC 4861 §8.1]: from the first hop that is in use, whose
        // entry may be a default router (ISA-45), to a neighbour of ours.
        let first_hop =
            cx.routes.lookup_on(Some(cx.id), &destination).map(|found| found.route.next_hop_for(&destination));
        let allowed = self
            .link
            .prl
            .slot(outer_source)
            .and_then(|slot| self.link.prl.row_mut(slot))
            .is_some_and(|row| !row.no_default);
        let reachable = addr::embedded_ipv4(&target).is_some() && self.link.is_on_link(&target);
        if first_hop != Some(received.source) || !allowed || !reachable || destination.is_multicast() {
            return Received::Drop(DropReason::RedirectRefused);
        }
        let Some(prefix) = Ipv6Prefix::new(destination, 128) else { return Received::Consumed };
        let expires = Expiry::after(cx.now, REDIRECT_LIFETIME);
        let on_link = Route::on_link(prefix, cx.id, Origin::Redirected);
        let next_hop = if target == destination { None } else { Some(target) };
        // Without room the packets go by the router, as before.
        let _ = cx.insert_route(Route { next_hop, expires, ..on_link });
        Received::Consumed
    }
}

/// Whether a router gives a way on: a default route, or any other.
pub(super) fn leads_on<C: Capacity>(cx: &Context<'_, C>, router: Option<Ipv4Addr>) -> bool {
    cx.routes.iter().any(|route| {
        route.link == cx.id
            && route.origin == Origin::Advertised
            && route.next_hop.is_some_and(|next_hop| addr::embedded_ipv4(&next_hop) == router)
    })
}

/// Counts what the routers of these rows of the list have no room for.
fn note_refused<C: Capacity>(
    cx: &mut Context<'_, C>,
    routers: &Prl<C>,
    table: Table,
    sources: Sources,
    what: Option<Ipv6Prefix>,
) {
    for router in sources.slots().filter_map(|slot| routers.address(usize::from(slot))) {
        cx.refusals.note(cx.id, table, Some(addr::link_local(router)), what);
    }
}

/// A redirected destination is looked up again after this long; the RFC
/// gives such entries no lifetime, a small table must.
const REDIRECT_LIFETIME: Lifetime = Lifetime::from_secs(600);

/// The lifetimes in one advertisement.
struct Lifetimes {
    /// Seconds.
    shortest: Option<u32>,
    longest: Lifetime,
}

impl Lifetimes {
    /// A lifetime that must not run out before the router is asked again.
    fn note(&mut self, lifetime: Lifetime) {
        if !lifetime.is_zero() && !lifetime.is_infinite() {
            self.shortest = Some(self.shortest.unwrap_or(u32::MAX).min(lifetime.secs()));
        }
    }

    /// The same, of something that makes the advertisement useful.
    fn useful(&mut self, lifetime: Lifetime) {
        self.note(lifetime);
        self.longest = self.longest.max(lifetime);
    }
}

/// TIMER(i) before jitter and before MinRouterSolicitInterval bounds it, and
/// whether a lifetime will run out before it.
///
/// `ISA-35 [RFC 5214 §8.3.4; RFC 7559 §2.1]`: 80 % of the shortest finite
/// lifetime, and the refresh interval at most. Where the round ends without
/// a way on, since there is no backoff, ever longer.
fn timer(config: &HostConfig, lifetimes: &Lifetimes, useless: u8) -> (Duration, bool) {
    let least = config.solicitation.min_round_interval;
    if useless > 0 && !config.solicitation.backoff {
        let factor = 1_u32.checked_shl(u32::from(useless).saturating_sub(1)).unwrap_or(u32::MAX);
        return (least.saturating_mul(factor).min(config.refresh_interval.max(least)), false);
    }
    match lifetimes.shortest {
        None => (config.refresh_interval, false),
        Some(shortest) => {
            let [early, whole] =
                [800_000, 1_000_000].map(|micros| Duration::from_micros(micros).saturating_mul(shortest));
            (early.min(config.refresh_interval), whole <= least)
        }
    }
}
