//! What links of protocol 41 and their LANs say of themselves.

use super::lan::Lan;
use super::{Machine, Proto41Role};
use crate::service::Linux;
#[cfg(feature = "control")]
use crate::service::evidence::{Evidence, NeighborHealth};
use crate::service::question::Question;
use crate::service::role::View;
use crate::service::status::{
    Advertised, DecisionsStatus, LanPrefix, LanStatus, OuterStatus, PotentialRouterStatus, ResponderStatus,
    RouteStatus, Router, Status, UpdateStatus, refused, seconds,
};
use isatap_core::error::{Table, TableFull};
use isatap_core::interface::Interface as _;
use isatap_core::isatap::addr;
use isatap_core::isatap::prl::{EntryOrigin, PotentialRouter};
use isatap_core::isatap::{HostInterface, RouterInterface};
use isatap_core::lan::Published;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::time::Instant;
use std::fmt;

impl View<'_, Proto41Role> {
    fn interface(&self, id: LinkId) -> Option<&AnyInterface<Linux>> {
        self.machine.interface(id).map(|interface| &**interface)
    }

    fn forwards(&self, id: LinkId) -> bool {
        self.machine.datapath().port(id).is_some_and(|port| port.switches.forwarding)
    }
}

pub(super) fn describe(role: &Proto41Role, view: &View<'_, Proto41Role>, status: &mut Status) {
    let (now, id, machine) = (view.now, view.id, view.machine);
    let Some(interface) = view.interface(id) else { return };
    status.mtu = interface.link().underlay().policy.ipv6_mtu();
    status.outer = Some(OuterStatus::of(&interface.link().underlay().policy));
    status.forwarding = view.forwards(id);
    status.routes =
        machine.routes().filter(|route| route.link == id).map(|route| RouteStatus::of(now, route)).collect();
    status.refused = refused(machine.refusals().iter().filter(|refusal| refusal.link == id));
    let repeated = machine.repeated_identifications();
    if repeated > 0 {
        status.io.insert("identifications-repeated".to_owned(), repeated.into());
    }
    let decisions = machine.decisions();
    let (hits, misses, flows) = (decisions.hits(), decisions.misses(), decisions.capacity());
    status.decisions = Some(DecisionsStatus { hits, misses, flows });
    status.lans = view.common.lans_of(id).map(|lan| lan_status(view, lan)).collect();
    match interface {
        AnyInterface::IsatapHost(host) => describe_host(role, now, host, status),
        AnyInterface::IsatapRouter(router) => {
            describe_router(view, router, status);
            if let Proto41Role::Fixed(fixed) = role {
                status.responder = fixed.responder.as_ref().map(|responder| ResponderStatus::of(&responder.report()));
            }
        }
        AnyInterface::Configured(tunnel) => {
            status.remote = tunnel.link().remote();
            status.delegated = tunnel.delegation().map(|delegation| delegation.prefix.to_string());
            if let Proto41Role::Fixed(fixed) = role
                && let Some(remote) = &fixed.remote
            {
                status.names = Some(remote.names().status());
                status.waiting = status.waiting.take().or_else(|| remote.waiting());
            }
            status.reachability = tunnel.remote_reachability().map(in_lower_case);
            if let Proto41Role::Fixed(fixed) = role {
                (status.heard, status.silent) = (fixed.answers.heard(now), fixed.answers.silent(now));
                status.update = fixed.updater.as_ref().map(UpdateStatus::of);
            }
        }
        AnyInterface::SixRdEdge(edge) => {
            status.remote = edge.link().relay();
            status.relay_answers = edge.is_relay_reachable();
            status.delegated = edge.link().delegated().map(|prefix| prefix.to_string());
            if let Proto41Role::Fixed(fixed) = role
                && let Some(what) = fixed.lease.as_ref().and_then(|lease| lease.waiting())
            {
                status.waiting.get_or_insert(what);
                // What an earlier lease said holds no longer. S6R-14
                (status.remote, status.relay_answers, status.delegated) = (None, None, None);
            }
        }
        AnyInterface::SixRdRelay(relay) => {
            status.delegated = relay.link().delegated().map(|prefix| prefix.to_string());
        }
        AnyInterface::SixToFourRouter(router) => {
            status.remote = router.known_relay();
            status.relay_answers = router.relay().is_none().then_some(false).filter(|_| status.remote.is_some());
            status.resting = router.is_resting();
            status.yields_to = view.common.native_by.clone().filter(|_| status.resting);
            if let Proto41Role::Fixed(fixed) = role {
                status.names = fixed.relay.as_ref().map(Question::status);
            }
            if router.link().locators().is_empty() && !status.resting {
                status.waiting.get_or_insert_with(|| "a public IPv4 address".to_owned());
            }
            status.delegated = router.delegation().map(|delegation| delegation.prefix.to_string());
        }
        _ => {}
    }
}

fn describe_host(role: &Proto41Role, now: Instant, host: &HostInterface<Linux>, status: &mut Status) {
    status.locators = host.link().locators().iter().map(|locator| locator.address).collect();
    for row in host.link().potential_routers().iter() {
        status.prl.push(potential_router(role, now, row));
        if row.is_alive(now) {
            let address = row.address();
            status.routers.push(Router {
                address,
                link_local: addr::link_local(address),
                reachability: host.neighbors().reachability(address).map(in_lower_case),
            });
        }
    }
    if let Proto41Role::Host(role) = role {
        status.names = role.names.as_ref().map(Question::status);
        status.prl_error = role.answer().and_then(|answer| answer.as_ref().err()).map(ToString::to_string);
    }
    status.dns.servers = host.dns_servers().map(|row| row.item().0).collect();
    let names = host.search_domains().filter_map(|row| row.item().name());
    status.dns.search = names.map(|name| name.to_string()).collect();
    status.unusable_options = host.unusable_options();
}

fn describe_router(view: &View<'_, Proto41Role>, router: &RouterInterface<Linux>, status: &mut Status) {
    status.answered = router.last_answered().map(|at| view.now.saturating_duration_since(at).as_secs());
    status.check_neighbors = Some(router.config().check_neighbors.as_str().to_owned());
    status.known_routers = router.link().known_routers().collect();
    status.trusted_routers = router.link().potential_routers().iter().map(PotentialRouter::address).collect();
    let (routes, forwarding) = (view.machine.datapath().routes(), status.forwarding);
    let advertised = router.advertised_routes(view.id, routes, forwarding);
    status.advertises = Some(Advertised {
        prefixes: router.published().iter().map(|row| row.prefix.to_string()).collect(),
        routes: advertised.map(|route| route.prefix.to_string()).collect(),
        default_route: router.is_default_router(view.id, routes, forwarding),
    });
}

fn potential_router(role: &Proto41Role, now: Instant, row: &PotentialRouter) -> PotentialRouterStatus {
    let by_name = match role {
        Proto41Role::Host(host) => host.source(row.address()),
        Proto41Role::Fixed(_) => None,
    };
    PotentialRouterStatus {
        address: row.address(),
        source: match row.origin() {
            EntryOrigin::Static => "static".to_owned(),
            _ => by_name.map_or_else(|| "name".to_owned(), ToString::to_string),
        },
        default: row.may_be_default(),
        alive: row.is_alive(now),
        heard: row.last_heard().map(|at| now.saturating_duration_since(at).as_secs()),
        attempts: row.attempts(),
        next_solicitation: row.next_solicitation().map(|at| at.saturating_duration_since(now).as_secs()),
    }
}

fn lan_status(view: &View<'_, Proto41Role>, lan: &Lan) -> LanStatus {
    let facts = lan.facts();
    let published = match view.interface(facts.id) {
        Some(AnyInterface::Lan(lan)) => lan.published(),
        _ => &[],
    };
    let forwarding = view.forwards(facts.id);
    let leads_on = view.machine.routes().any(|route| route.prefix.is_default() && route.link != facts.id);
    let prefix = |row: &Published| LanPrefix {
        prefix: row.prefix.to_string(),
        deprecated: row.is_deprecated,
        until: seconds(view.now, row.until),
    };
    LanStatus {
        dev: facts.device.to_owned(),
        subnet: facts.subnet.map(|subnet| format!("{subnet:x}")),
        link_local: facts.link_local,
        forwarding,
        default_router: facts.link_local.is_some() && forwarding && leads_on,
        prefixes: published.iter().map(prefix).collect(),
        problem: facts.problem.map(|(problem, _)| problem.to_owned()),
        fix: facts.problem.and_then(|(_, fix)| fix.map(str::to_owned)),
    }
}

/// Which table of a link is full, and who asked for more.
pub(super) fn no_room(machine: &Machine, id: LinkId, table: Table) -> String {
    let of_it = machine.refusals().iter().filter(|refusal| refusal.link == id && refusal.table == table);
    let refused: Vec<String> = refused(of_it).iter().map(ToString::to_string).collect();
    let refused = if refused.is_empty() { "the rest".to_owned() } else { refused.join(", ") };
    format!("{}: {refused} not used", TableFull::new(table))
}

#[cfg(feature = "control")]
pub(super) fn testify(role: &Proto41Role, view: &View<'_, Proto41Role>, evidence: &mut Evidence) {
    evidence.taken = view.common.claims.taken(view.id);
    if let Proto41Role::Host(role) = role {
        evidence.names = role.names.as_ref().map(Question::testimony);
    }
    if let Some(AnyInterface::IsatapHost(host)) = view.interface(view.id) {
        evidence.advertised_mtu = host.parameters().mtu();
        let neighbors = host.neighbors().iter();
        evidence.neighbors = neighbors
            .map(|row| NeighborHealth { address: row.key(), reachability: in_lower_case(row.reachability()) })
            .collect();
    }
}

fn in_lower_case(state: impl fmt::Debug) -> String {
    format!("{state:?}").to_lowercase()
}
