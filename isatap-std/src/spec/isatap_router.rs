//! An ISATAP router. [RFC 5214]

use super::field::spec;
use super::names::check_wins;
use super::{ISATAP_DEVICE, OwnPrefix, PublishedRoute, Refusals, check_locator, list, too_many};
use crate::error::Error;
use crate::resolve::{Name, NameService};
use isatap_core::capacity::Capacity;
use isatap_core::interface::Context;
use isatap_core::interface::Interface as _;
use isatap_core::isatap::{CheckNeighbors, OfferDefault, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::OuterPolicy;
use isatap_core::nd::learned::SearchDomain;
use isatap_core::nd::message::RouterFlags;
use isatap_core::nd::option::DomainName;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::{Ipv4Prefix, is_ambiguous};
use isatap_core::route::Preference;
use isatap_core::time::Lifetime;
use std::net::{Ipv4Addr, Ipv6Addr};

#[cfg(feature = "args")]
use super::value::{check_neighbors, offer_default, preference};

spec! { tunnel(ISATAP_DEVICE)
    /// Run an ISATAP router: answers the solicitations of the site's hosts; the kernel forwards.
    ///
    /// The kernel's own switch has to be on: sysctl net.ipv6.conf.all.forwarding=1. While it is off,
    /// prefixes are advertised and no default route is.
    IsatapRouter {
        /// Answer at this IPv4 address of this machine. May be repeated.
        local: Vec<Ipv4Addr> ["V4"], new(local);
        /// A prefix of 64 bits that hosts make addresses of. May be repeated. `,valid=` and `,preferred=`
        /// behind it are its own lifetimes, in seconds.
        prefix: Vec<OwnPrefix> ["PREFIX/64"], new(prefix);
        /// A more specific route to advertise, while this machine's kernel has a route to exactly that
        /// prefix by another device; with `,always` whether it has one or not. May be repeated.
        advertise_route: Vec<PublishedRoute> ["PREFIX"];
        /// When to offer a default route: auto (while this machine has one by another device), always
        /// or never.
        default: OfferDefault ["WHEN"] = OfferDefault::Auto, arg(value_parser = offer_default);
        /// Offer no default route, like --default never.
        default_route: bool, unless("no-default-route"), arg(visible_alias = "no-default");
        /// Tell hosts to get addresses by DHCPv6 (the M flag).
        managed: bool;
        /// Tell hosts to get other configuration by DHCPv6 (the O flag).
        other_config: bool;
        /// Seconds that hosts may use this router for, 0 to 65535.
        router_lifetime: u16 ["SECONDS"] = RouterConfig::DEFAULT.router_lifetime;
        /// Seconds that addresses are valid, of prefixes that say nothing else.
        valid_lifetime: u32 ["SECONDS"] = 2_592_000;
        /// Seconds that addresses are preferred, likewise.
        preferred_lifetime: u32 ["SECONDS"] = 604_800;
        /// The preference among default routers: low, medium or high.
        preference: Preference ["PREFERENCE"] = Preference::Medium, arg(value_parser = preference);
        /// Answer to the name isatap on the links of local, where nobody else has it: by llmnr, netbios, or
        /// both with a comma between them. Hosts ask so with --resolve-by llmnr,broadcast, and Windows
        /// hosts by themselves.
        answer_by: Vec<NameService> ["SERVICE"], arg(value_delimiter = ',');
        /// A WINS server to keep the name isatap registered with, for answer-by netbios. May be repeated.
        wins: Vec<Ipv4Addr> ["V4"];
        /// A DNS server to advertise. May be repeated.
        dns: Vec<Ipv6Addr> ["V6"];
        /// A search domain to advertise. May be repeated.
        search: Vec<Name> ["DOMAIN"];
        /// An IPv4 prefix of the site: packets from outside of it are dropped. May be repeated. Without
        /// it every address counts as the site's.
        member: Vec<Ipv4Prefix> ["V4/LEN"];
        /// Another tunnel router of the IPv4 network, ISATAP, 6to4, 6rd or other: nothing is taken from
        /// it, or sent to it, as if it were a host. May be repeated.
        known_router: Vec<Ipv4Addr> ["V4"];
        /// Another router of this very link: what it sends is let in whatever its source. May be
        /// repeated.
        trust_router: Vec<Ipv4Addr> ["V4"];
        /// Ask hosts whether they are there before forwarding for them, against routing loops: on, off,
        /// or where-blind: where an IPv4 address is private, which the other checks cannot judge. Hosts
        /// notice nothing: they are asked when they solicit.
        check_neighbors: CheckNeighbors ["WHEN"] = CheckNeighbors::WhereBlind, arg(value_parser = check_neighbors);
    }
}

/// What `check-neighbors` off means.
const OPEN_LOOP: &str = "the neighbour check is off, and nothing else sees a routing loop on private IPv4: one forged \
                         packet can go round between this router and another tunnel router until its hop limit ends it \
                         (RFC 6324); set check-neighbors to where-blind";

impl IsatapRouter {
    /// When it offers a default route.
    pub(crate) fn offers_default(&self) -> OfferDefault {
        if self.default_route { self.default } else { OfferDefault::Never }
    }

    /// How many seconds addresses of a prefix are valid and preferred.
    fn lifetimes(&self, own: &OwnPrefix) -> (u32, u32) {
        let valid = own.valid.unwrap_or(self.valid_lifetime);
        // Who shortens the one does not mean the other to be longer.
        (valid, own.preferred.unwrap_or(self.preferred_lifetime.min(valid)))
    }

    pub(super) fn resolve(&mut self) {
        self.resolve_outer(OuterPolicy::DEFAULT);
        if !self.default_route {
            self.default = OfferDefault::Never;
        }
        self.default_route = self.default != OfferDefault::Never;
        super::sort(&mut self.prefix);
        super::sort(&mut self.advertise_route);
        super::sort(&mut self.member);
        super::sort(&mut self.known_router);
        super::sort(&mut self.trust_router);
        super::sort(&mut self.answer_by);
        super::once(&mut self.wins);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        let needs = |what: &'static str, advice: &'static str| {
            Error::usage("start", "an ISATAP router", what).with_advice(advice)
        };
        if self.local.is_empty() {
            refusals.add("local", needs("it needs an IPv4 address of its own", "name one of this machine's"));
        }
        if self.prefix.is_empty() {
            refusals.add("prefix", needs("it needs a prefix to advertise", "name one of 64 bits"));
        }
        for local in &self.local {
            refusals.note("local", check_locator(*local));
        }
        if !self.default_route && self.default == OfferDefault::Always {
            let why = "it is to be offered always, and not at all";
            refusals.add("default", Error::usage("offer", "a default route", why).with_advice("keep one of both"));
        }
        for own in &self.prefix {
            let prefix = own.prefix;
            if self.prefix.iter().filter(|other| other.prefix == prefix).any(|other| other != own) {
                let error = Error::usage("advertise the prefix", own, "it is named twice, with other lifetimes");
                refusals.add("prefix", error.with_advice("keep one"));
            }
            let (valid, preferred) = self.lifetimes(own);
            if own.has_lifetimes() && preferred > valid {
                let why = format!("addresses are preferred for {preferred} s and valid for {valid} s");
                let error = Error::usage("advertise the prefix", own, why);
                refusals.add("prefix", error.with_advice("write no more for preferred than for valid"));
            }
            let address = prefix.address();
            let (why, advice) = if address.is_unicast_link_local() || address.is_multicast() {
                ("no router advertises such a prefix", "write one of 64 bits that the site was given".to_owned())
            } else if prefix.length() != 64 {
                (
                    "ISATAP addresses are made of prefixes of 64 bits",
                    format!("write one of 64 bits, such as {address}/64"),
                )
            } else {
                continue;
            };
            refusals.add("prefix", Error::usage("advertise the prefix", prefix, why).with_advice(advice));
        }
        if self.preferred_lifetime > self.valid_lifetime {
            let why = format!("addresses are valid for {} s only", self.valid_lifetime);
            let error = Error::usage("have addresses preferred for", format!("{} s", self.preferred_lifetime), why);
            refusals.add("preferred-lifetime", error.with_advice("write no more than valid-lifetime"));
        }
        for PublishedRoute { prefix: route, .. } in &self.advertise_route {
            let address = route.address();
            if !route.is_default() && (address.is_unicast_link_local() || address.is_multicast()) {
                let error = Error::usage("advertise the route", route, "no router advertises such a route");
                refusals.add("advertise-route", error);
            }
        }
        for router in &self.trust_router {
            let (why, advice) = if self.known_router.contains(router) {
                (
                    "it is a known router too, from which nothing is taken",
                    "name it trust-router if it is a router of this link, else known-router",
                )
            } else if self.local.contains(router) {
                ("it is this router's own address", "name the other router's")
            } else {
                continue;
            };
            refusals.add("trust-router", Error::usage("trust the router", router, why).with_advice(advice));
        }
        for server in &self.wins {
            if !self.answer_by.contains(&NameService::Netbios) {
                let error = Error::usage("register with the WINS server", server, "NetBIOS is not spoken");
                refusals.add("wins", error.with_advice("add netbios to answer-by"));
            } else {
                refusals.note("wins", check_wins("register with the WINS server", *server));
            }
        }
        for domain in &self.search {
            refusals.note("search", search_domain(domain).map(drop));
        }
    }

    /// What leaves packets with forged addresses a way round between this router and another one,
    /// until their hop limit ends them (RFC 6324).
    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let own_is_ambiguous = self.local.iter().copied().any(is_ambiguous);
        // Without a list anybody may be a host, on private IPv4 as well.
        let host_is_ambiguous =
            self.member.is_empty() || self.member.iter().any(|prefix| is_ambiguous(prefix.address()));
        if self.check_neighbors == CheckNeighbors::Off && (own_is_ambiguous || host_is_ambiguous) {
            warnings.push(OPEN_LOOP.to_owned());
        }
        let is_member = |local: &&Ipv4Addr| self.member.iter().any(|prefix| prefix.contains(**local));
        let strange = self.local.iter().filter(|local| !self.member.is_empty() && !is_member(local));
        warnings.extend(strange.map(|local| {
            let [a, b, c, _] = local.octets();
            format!(
                "no member contains {local}, this router's own address: hosts beside it are dropped (not-a-member), unless \
                 they have other addresses; add member {a}.{b}.{c}.0/24, or what the site's prefix is"
            )
        }));
        let trusted = self.trust_router.iter().filter(|router| own_is_ambiguous || is_ambiguous(**router));
        warnings.extend(trusted.map(|router| {
            format!(
                "{router} is trusted on private IPv4: a forged packet can go round between it and this router unless it \
                 checks its neighbours too (RFC 6324); trust only routers of this very link, name others known-router"
            )
        }));
        warnings
    }

    pub(super) fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        let mut config = RouterConfig::DEFAULT;
        config.policy = self.outer().policy(OuterPolicy::DEFAULT);
        config.default_route = self.offers_default();
        config.flags.set(RouterFlags::MANAGED, self.managed);
        config.flags.set(RouterFlags::OTHER, self.other_config);
        config.router_lifetime = self.router_lifetime;
        config.preference = self.preference;
        config.check_neighbors = self.check_neighbors;
        let mut router = RouterInterface::new(config);
        for member in &self.member {
            router.link_mut().add_member(*member).map_err(|full| too_many("the site's prefix", member, full))?;
        }
        let known = router.set_known_routers(&self.known_router);
        known.map_err(|full| too_many("the known router", list(&self.known_router), full))?;
        for other in &self.trust_router {
            router.add_trusted_router(*other).map_err(|full| too_many("the router", other, full))?;
        }
        for server in &self.dns {
            router.add_dns_server(*server).map_err(|full| too_many("the DNS server", server, full))?;
        }
        for domain in &self.search {
            let told = router.add_search_domain(search_domain(domain)?);
            told.map_err(|full| too_many("the search domain", domain, full))?;
        }
        Ok(AnyInterface::IsatapRouter(router))
    }

    pub(super) fn tell<C: Capacity>(
        &self,
        router: &mut RouterInterface<C>,
        cx: &mut Context<'_, C>,
    ) -> Result<(), Error> {
        for prefix in &self.prefix {
            let (valid, preferred) = self.lifetimes(prefix);
            let published = PublishedPrefix {
                prefix: prefix.prefix,
                valid_lifetime: Lifetime::from_secs(valid),
                preferred_lifetime: Lifetime::from_secs(preferred),
            };
            router.publish(cx, published).map_err(|full| too_many("the prefix", prefix, full))?;
        }
        Ok(())
    }
}

/// A domain name in the form of the DNS option.
fn search_domain(name: &Name) -> Result<SearchDomain, Error> {
    let mut wire = Vec::new();
    for label in name.labels() {
        wire.push(u8::try_from(label.len()).unwrap_or(63));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    let found = DomainName::from_wire(&wire).and_then(|name| SearchDomain::new(&name));
    found.ok_or_else(|| Error::usage("advertise the search domain", name, "it is no domain name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_without_the_routers_own_subnet_are_warned_of() {
        let told = |members: &[&str]| -> Vec<String> {
            let locals = vec![Ipv4Addr::new(10, 1, 0, 1), Ipv4Addr::new(10, 2, 0, 1)];
            let mut router = IsatapRouter::new(locals, vec!["2001:db8:0:7::/64".parse().unwrap()]);
            router.member = members.iter().map(|member| member.parse().unwrap()).collect();
            let warnings = router.warnings().into_iter();
            warnings
                .filter_map(|text| text.split_once(", this router's own").map(|(begin, _)| begin.to_owned()))
                .collect()
        };
        let none: [&str; 0] = [];
        assert_eq!(told(&[]), none);
        assert_eq!(told(&["10.0.0.0/8"]), none);
        assert_eq!(told(&["10.2.0.0/16"]), ["no member contains 10.1.0.1"]);
        assert_eq!(told(&["192.0.2.0/24"]), ["no member contains 10.1.0.1", "no member contains 10.2.0.1"]);
    }
}
