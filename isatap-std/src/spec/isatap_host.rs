//! An ISATAP host. [RFC 5214]

use super::field::spec;
use super::{ISATAP_DEVICE, Refusals, check_locator, check_via, too_many};
use crate::error::Error;
use crate::resolve::{Entry, Settings, Unusable};
use isatap_core::capacity::Capacity;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{HostConfig, HostInterface, LinkLocal, SolicitDestination};
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::time::Duration;
use std::net::Ipv4Addr;

spec! { names tunnel(ISATAP_DEVICE)
    /// Run an ISATAP host: a device with IPv6 addresses and a default route across the IPv4 site.
    ///
    /// Without local and via it sends from the IPv4 address that the kernel would use toward the first
    /// router, and follows it when it changes. It forwards for nobody: packets for other machines are
    /// dropped, even where the kernel forwards.
    IsatapHost {
        /// Send from this IPv4 address of this machine. May be repeated.
        local: Vec<Ipv4Addr> ["V4"], arg(conflicts_with = "via");
        /// Send from the IPv4 addresses of this device, whatever they are at the time.
        via: Option<String> ["DEV"];
        /// A potential router. May be repeated. Without it the name isatap is looked up in this host's
        /// search domains.
        router: Vec<Entry> ["V4|NAME"];
        /// A potential router whose prefixes and routes are used, and which is never a default router and
        /// sets no MTU. May be repeated.
        router_nodefault: Vec<Ipv4Addr> ["V4"];
        /// An IPv4 prefix of the site: packets from outside of it are dropped. May be repeated. Without
        /// it every address counts as the site's.
        member: Vec<Ipv4Prefix> ["V4/LEN"];
        /// Seconds between two rounds of solicitations of one router, at least
        /// (MinRouterSolicitInterval). Shorter lifetimes than this lapse.
        min_router_solicit_interval: u64 ["SECONDS"] = 120;
        /// Seconds until names are looked up again, at most (PrlRefreshInterval).
        prl_refresh_interval: u64 ["SECONDS"] = 3600;
        /// Without router: look up _isatap where nothing is known of isatap, as Windows XP without a
        /// service pack does.
        legacy_name: bool;
        /// Solicit ff02::2 first, instead of the router's link-local address, as Windows XP does.
        solicit_all_routers: bool;
        /// Ask neighbours whether they are still there.
        neighbor_probes: bool, unless("no-neighbor-probes");
        /// Assign no link-local address until a router is found, as Windows does by default.
        link_local_with_router: bool;
    }
}

impl IsatapHost {
    /// The potential routers that are given by address.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = Ipv4Addr> {
        let by_address = self.router.iter().filter_map(|entry| match entry {
            Entry::Address(address) => Some(*address),
            Entry::Name(_) => None,
        });
        by_address.chain(self.router_nodefault.iter().copied())
    }

    /// `ISA-45`: whether it may be a default router.
    pub(crate) fn may_be_default(&self, router: Ipv4Addr) -> bool {
        !self.router_nodefault.contains(&router)
    }

    /// Those that are given by name.
    pub(crate) fn names(&self) -> impl Iterator<Item = &Entry> {
        self.router.iter().filter(|entry| matches!(entry, Entry::Name(_)))
    }

    /// Whether names are to be resolved: without any router it is the name `isatap`.
    pub(crate) fn resolves(&self) -> bool {
        (self.router.is_empty() && self.router_nodefault.is_empty()) || self.names().next().is_some()
    }

    pub(super) fn resolve(&mut self) {
        self.resolve_outer(OuterPolicy::DEFAULT);
        self.resolve_names();
        // The first one decides from which address of this machine the link speaks.
        super::once(&mut self.router);
        super::sort(&mut self.router_nodefault);
        super::sort(&mut self.member);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        self.name_options().refuse(refusals);
        if self.legacy_name && !self.router.is_empty() {
            let error = Error::usage("look up", "_isatap", "the routers are given, and no name is guessed");
            refusals.add("legacy-name", error.with_advice("leave out legacy-name or router"));
        }
        if let Some(via) = &self.via {
            check_via(via, refusals);
            if !self.local.is_empty() {
                let error = Error::usage("send from", via, "local and via exclude each other");
                refusals.add("", error.with_advice("keep one"));
            }
        }
        for local in &self.local {
            refusals.note("local", check_locator(*local));
        }
        for router in self.addresses() {
            let is_both = || self.router.contains(&Entry::Address(router)) && !self.may_be_default(router);
            let (why, advice) = match Unusable::of(router, &[]) {
                Some(why) => (format!("it is {why}"), "give the IPv4 address of the router inside the site"),
                None if self.local.contains(&router) => {
                    ("it is this host's own address".to_owned(), "give the IPv4 address of the router inside the site")
                }
                None if is_both() => {
                    ("it is a default router, and none".to_owned(), "name it router or router-nodefault")
                }
                None => continue,
            };
            let key = if self.may_be_default(router) { "router" } else { "router-nodefault" };
            refusals.add(key, Error::usage("use the router", router, why).with_advice(advice));
        }
        for (key, seconds, why) in [
            ("prl-refresh-interval", self.prl_refresh_interval, "the names of routers would be looked up without end"),
            (
                "min-router-solicit-interval",
                self.min_router_solicit_interval,
                "a router could have itself asked without end",
            ),
        ] {
            if seconds == 0 {
                refusals.add(key, Error::usage("wait", "0 s", why).with_advice("write 1 or more"));
            }
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let by_isatap = "without router, whoever answers for the name isatap in this host's search domains becomes its \
                         router and is believed in everything; a site that does not run ISATAP should own that name";
        let open = self.name_options().open_to_neighbors();
        let by_neighbors = (self.resolves() && !open.is_empty()).then(|| {
            format!(
                "anybody on the links of this host can answer to {} and becomes its router; leave them out where \
                 machines are not trusted",
                super::list(&open)
            )
        });
        let by_isatap = (self.router.is_empty() && self.router_nodefault.is_empty()).then(|| by_isatap.to_owned());
        by_isatap.into_iter().chain(by_neighbors).collect()
    }

    /// What is looked up, and how.
    pub(crate) fn settings(&self) -> Settings {
        let mut settings = self.name_options().settings(self.names().cloned().collect());
        settings.legacy_name = self.legacy_name;
        settings
    }

    pub(super) fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        let mut config = HostConfig::DEFAULT;
        config.policy = self.outer().policy(OuterPolicy::DEFAULT);
        config.resolve = self.resolves();
        config.solicitation.min_round_interval = Duration::from_secs(self.min_router_solicit_interval);
        config.refresh_interval = Duration::from_secs(self.prl_refresh_interval);
        config.probe_neighbors = self.neighbor_probes;
        if self.solicit_all_routers {
            config.solicit = SolicitDestination::AllRouters;
        }
        if self.link_local_with_router {
            config.link_local = LinkLocal::WhenRouterKnown;
        }
        let mut host = HostInterface::new(config);
        for member in &self.member {
            host.link_mut().add_member(*member).map_err(|full| too_many("the site's prefix", member, full))?;
        }
        Ok(AnyInterface::IsatapHost(host))
    }
}
