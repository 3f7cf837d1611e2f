//! An ISATAP host and an ISATAP router on this machine: a TUN device that carries IPv6
//! across the IPv4 site, with addresses and routes as the protocol gives them.
//!
//! ```no_run
//! use isatap_std::isatap::Host;
//! use isatap_std::signal::Signals;
//!
//! let mut host = Host::builder()
//!     .local("10.0.0.2".parse()?)
//!     .router("isatap.corp.example")
//!     .device("isatap0")
//!     .open()?;
//! println!("{} up: {:?}", host.device(), host.link_local());
//! host.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it is gone when the value is dropped: device, addresses, routes. Needs
//! CAP_NET_ADMIN and CAP_NET_RAW. [`Host::turn`] and its [`AsFd`](std::os::fd::AsFd) serve loops of others.
//!
//! # What it does not do
//!
//! - It applies no DNS configuration; what routers advertise is in [`Host::status`].
//! - It switches the kernel's forwarding neither on nor off: a [`Router`] says in a
//!   [`Notice`] that it is off, and is no default router meanwhile. A [`Host`] forwards for
//!   nobody, whatever the kernel does: what is for none of this machine's addresses is
//!   dropped, and the device's own `forwarding` is 0 (RTE-7).
//! - Routes of other hands on the device are followed in the main table only.
//!
//! # Security limits
//!
//! Whoever can send protocol 41 to this machine from inside the site can pretend to be any
//! host of it, and a potential router is believed in everything. Filter protocol 41 at the
//! border. A router ends the loops that forged packets can make between it and other tunnel
//! routers by asking its hosts whether they are there (SEC-1), as long as it is let do so:
//! see [`RouterOptions::warnings`].

use crate::error::Error;
pub use crate::link::LinkOptions;
use crate::link::{self, Running, check_locator, running, too_many};
use crate::node::{FixedRole, HostRole, LinkPlan, Node, Role};
pub use crate::node::{LocatorSource, Notice};
use crate::resolve::{Entry, Name, NameError, Resolver, Settings, Unusable};
use crate::runtime_dir::Ends;
use isatap_core::datapath::Switches;
use isatap_core::isatap::{CheckNeighbors, HostConfig, HostInterface, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::OuterPolicy;
use isatap_core::nd::learned::SearchDomain;
use isatap_core::nd::option::DomainName;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::{Ipv6Prefix, is_ambiguous};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "isatap0";

/// What a host is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct HostOptions {
    /// What it has in common with a router.
    pub link: LinkOptions,
    /// Where its IPv4 addresses come from.
    pub locators: LocatorSource,
    /// The potential router list: addresses and names; empty: the name `isatap`.
    pub routers: Vec<Entry>,
    /// How the protocol is spoken. Its outer policy and `resolve` follow from the rest.
    pub config: HostConfig,
}

impl Default for HostOptions {
    fn default() -> Self {
        Self {
            link: LinkOptions::default(),
            locators: LocatorSource::TowardRouter,
            routers: Vec::new(),
            config: HostConfig::DEFAULT,
        }
    }
}

impl HostOptions {
    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        self.link.policy(OuterPolicy::DEFAULT)?;
        if let LocatorSource::Fixed(addresses) = &self.locators {
            addresses.iter().try_for_each(|address| check_locator(*address))?;
        }
        for router in &self.routers {
            if let Entry::Address(address) = router
                && let Some(why) = Unusable::of(*address, &[])
            {
                let error = Error::usage("use the router", address, format!("it is {why}"));
                return Err(error.with_advice("give the IPv4 address of the router inside the site"));
            }
        }
        let intervals = [
            (self.config.refresh_interval, "the names of routers would be looked up without end"),
            (self.config.solicitation.min_round_interval, "a router could have itself asked without end"),
        ];
        match intervals.into_iter().find(|(interval, _)| interval.is_zero()) {
            Some((_, why)) => Err(Error::usage("wait", "0 s", why).with_advice("write 1 or more")),
            None => Ok(()),
        }
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Host, Error> {
        let link = self.link.clone();
        link::open(&link, Box::new(observer), |node| self.add(node)).map(Host)
    }

    /// Makes the link in a node.
    pub(crate) fn add(self, node: &mut Node) -> Result<LinkId, Error> {
        self.check()?;
        let policy = self.link.policy(OuterPolicy::DEFAULT)?;
        self.locators.check(node.netlink())?;
        let mut addresses = Vec::new();
        let mut settings = Settings::default();
        for entry in self.routers {
            match entry {
                Entry::Address(address) => addresses.push(address),
                name @ Entry::Name(_) => settings.routers.push(name),
            }
        }
        let resolve = !settings.routers.is_empty() || addresses.is_empty();
        let names = resolve.then(|| Ok((settings.clone(), Resolver::new(settings)?))).transpose();
        let names = names.map_err(|error| Error::refused("start", "the resolver's thread", error))?;
        let mut config = self.config;
        (config.policy, config.resolve) = (policy, resolve);
        let mut interface = HostInterface::new(config);
        for prefix in &self.link.members {
            interface.link_mut().add_member(*prefix).map_err(|full| too_many("the site's member", prefix, full))?;
        }
        let plan = LinkPlan {
            device: self.link.device.clone(),
            metric: self.link.metric,
            interface: AnyInterface::IsatapHost(interface),
            switches: Switches::DEFAULT,
            role: Role::Host(Box::new(HostRole::new(self.locators, addresses, names))),
            ends: Box::new(|local| Some(Ends::Isatap { local })),
        };
        node.add(plan, self.link.runtime.as_ref())
    }
}

/// How to open a [`Host`]; see [`Host::builder`].
#[derive(Debug, Default)]
#[must_use]
pub struct HostBuilder {
    options: HostOptions,
    error: Option<Error>,
}

impl HostBuilder {
    /// Sends from this IPv4 address, one of this machine's; may be repeated. Without it, and
    /// without [`via`](Self::via), from the address that the kernel would use toward the
    /// first router, whatever it is at the time.
    pub fn local(mut self, address: Ipv4Addr) -> Self {
        add_locator(&mut self.options.locators, address);
        self
    }

    /// Sends from the IPv4 addresses of this device, whatever they are at the time.
    pub fn via(mut self, device: impl Into<String>) -> Self {
        self.options.locators = LocatorSource::Device(device.into());
        self
    }

    /// Lists a potential router, by address or name; may be repeated. Without it the name
    /// `isatap` is resolved in this host's search domains.
    ///
    /// That it is neither an address nor a name is told by [`open`](Self::open).
    pub fn router(mut self, router: impl AsRef<str>) -> Self {
        let router = router.as_ref();
        match router.parse() {
            Ok(entry) => self.options.routers.push(entry),
            Err(error) => self.error = Some(Error::usage("use the router", router, error.to_string())),
        }
        self
    }

    /// The device to make: `isatap0` if nothing is said.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.options.link.device = name.into();
        self
    }

    /// Makes the device and starts.
    ///
    /// # Errors
    ///
    /// As [`HostOptions::open`].
    pub fn open(self) -> Result<Host, Error> {
        match self.error {
            Some(error) => Err(error),
            None => self.options.open(|_| ()),
        }
    }
}

/// An ISATAP host; gone, device and all, when dropped.
#[derive(Debug)]
pub struct Host(Running);

impl Host {
    /// Starts to describe one.
    pub fn builder() -> HostBuilder {
        HostBuilder::default()
    }
}

/// What a router is to be.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct RouterOptions {
    /// What it has in common with a host.
    pub link: LinkOptions,
    /// Its IPv4 addresses, of this machine; at least one.
    pub local: Vec<Ipv4Addr>,
    /// The prefixes that hosts make addresses of, each a /64; at least one.
    pub prefixes: Vec<PublishedPrefix>,
    /// More specific routes to advertise, which this machine's kernel has.
    pub routes: Vec<Ipv6Prefix>,
    /// DNS servers to advertise.
    pub dns_servers: Vec<Ipv6Addr>,
    /// Search domains to advertise.
    pub search_domains: Vec<String>,
    /// Other tunnel routers of the IPv4 network, of any mechanism: no hosts of this link.
    /// `SEC-4`
    pub known_routers: Vec<Ipv4Addr>,
    /// Other routers of this link, which are believed in everything.
    pub trusted_routers: Vec<Ipv4Addr>,
    /// What is advertised beside. Its outer policy follows from the rest, and its MTU too
    /// where [`LinkOptions::mtu`] is given.
    pub config: RouterConfig,
}

impl RouterOptions {
    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        self.link.policy(OuterPolicy::DEFAULT)?;
        let needs = |what: &'static str| Error::usage("start", "an ISATAP router", what);
        if self.local.is_empty() {
            return Err(needs("it needs an IPv4 address of its own").with_advice("name one of this machine's"));
        }
        if self.prefixes.is_empty() {
            return Err(needs("it needs a prefix to advertise").with_advice("name one of 64 bits"));
        }
        self.local.iter().try_for_each(|address| check_locator(*address))?;
        self.prefixes.iter().try_for_each(check_published)?;
        self.routes.iter().try_for_each(check_route)?;
        if let Some(both) = self.trusted_routers.iter().find(|router| self.known_routers.contains(router)) {
            let why = "it is a known router too, from which nothing is taken";
            let advice = "name it trust-router if it is a router of this link, else known-router";
            return Err(Error::usage("trust the router", both, why).with_advice(advice));
        }
        self.search_domains.iter().try_for_each(|domain| search_domain(domain).map(drop))
    }

    /// What the options leave open: packets with forged addresses may go round between this
    /// router and another one until their hop limit ends them (RFC 6324). One line each, which
    /// says what closes it.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let own_is_ambiguous = self.local.iter().copied().any(is_ambiguous);
        // Without a list anybody may be a host, on private IPv4 as well.
        let members = &self.link.members;
        let host_is_ambiguous = members.is_empty() || members.iter().any(|prefix| is_ambiguous(prefix.address()));
        if self.config.check_neighbors == CheckNeighbors::Off && (own_is_ambiguous || host_is_ambiguous) {
            warnings.push(OPEN_LOOP.to_owned());
        }
        warnings.extend(self.trusted_routers.iter().filter(|router| own_is_ambiguous || is_ambiguous(**router)).map(
            |router| {
                format!(
                    "{router} is trusted on private IPv4: a forged packet can go round between it and this router unless \
                     it checks its neighbours too (RFC 6324); trust only routers of this very link, name others known-router"
                )
            },
        ));
        warnings
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Router, Error> {
        let link = self.link.clone();
        link::open(&link, Box::new(observer), |node| self.add(node)).map(Router)
    }

    /// Makes the link in a node.
    pub(crate) fn add(self, node: &mut Node) -> Result<LinkId, Error> {
        self.check()?;
        for warning in self.warnings() {
            node.notice(&Notice::Warning(format!("{}: {warning}", self.link.device)));
        }
        let mut config = self.config;
        config.policy = self.link.policy(OuterPolicy::DEFAULT)?;
        config.mtu = self.link.mtu.or(config.mtu);
        let locators = LocatorSource::Fixed(self.local);
        locators.check(node.netlink())?;
        let mut interface = RouterInterface::new(config);
        for prefix in &self.link.members {
            interface.link_mut().add_member(*prefix).map_err(|full| too_many("the site's member", prefix, full))?;
        }
        let known = interface.set_known_routers(&self.known_routers);
        known.map_err(|full| {
            let all: Vec<String> = self.known_routers.iter().map(ToString::to_string).collect();
            too_many("the known router", all.join(", "), full)
        })?;
        for router in &self.trusted_routers {
            interface.add_trusted_router(*router).map_err(|full| too_many("the router", router, full))?;
        }
        for server in &self.dns_servers {
            interface.add_dns_server(*server).map_err(|full| too_many("the DNS server", server, full))?;
        }
        for domain in &self.search_domains {
            let domain_name = search_domain(domain)?;
            interface.add_search_domain(domain_name).map_err(|full| too_many("the search domain", domain, full))?;
        }
        let plan = LinkPlan {
            device: self.link.device.clone(),
            metric: self.link.metric,
            interface: AnyInterface::IsatapRouter(interface),
            switches: Switches::FORWARDING,
            role: Role::Fixed(FixedRole::router("isatap-router", locators, self.link.device.clone())),
            ends: Box::new(|local| Some(Ends::Isatap { local })),
        };
        let link = node.add(plan, self.link.runtime.as_ref())?;
        for published in &self.prefixes {
            let told = node.with_interface(link, |interface, cx| match interface {
                AnyInterface::IsatapRouter(router) => router.publish(cx, *published),
                _ => Ok(()),
            });
            told.unwrap_or(Ok(())).map_err(|full| too_many("the prefix", published.prefix, full))?;
        }
        for route in &self.routes {
            node.publish_route(*route)?;
        }
        Ok(link)
    }
}

/// What `check-neighbors` off means.
const OPEN_LOOP: &str = "the neighbour check is off, and nothing else sees a routing loop on private IPv4: one \
                                    forged packet can go round between this router and another tunnel router until its hop \
                                    limit ends it (RFC 6324); set check-neighbors to where-blind";

/// How to open a [`Router`]; see [`Router::builder`].
#[derive(Debug, Default)]
#[must_use]
pub struct RouterBuilder {
    options: RouterOptions,
}

impl RouterBuilder {
    /// Answers at this IPv4 address, one of this machine's; may be repeated.
    pub fn local(mut self, address: Ipv4Addr) -> Self {
        self.options.local.push(address);
        self
    }

    /// Advertises a prefix, a /64, with the lifetimes of RFC 4861; may be repeated.
    pub fn prefix(mut self, prefix: Ipv6Prefix) -> Self {
        self.options.prefixes.push(PublishedPrefix::new(prefix));
        self
    }

    /// Advertises a more specific route; may be repeated.
    pub fn route(mut self, prefix: Ipv6Prefix) -> Self {
        self.options.routes.push(prefix);
        self
    }

    /// Does not offer itself as a default router.
    pub fn no_default_route(mut self) -> Self {
        self.options.config.advertise_default_route = false;
        self
    }

    /// The device to make: `isatap0` if nothing is said.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.options.link.device = name.into();
        self
    }

    /// Makes the device and starts.
    ///
    /// # Errors
    ///
    /// As [`RouterOptions::open`].
    pub fn open(self) -> Result<Router, Error> {
        self.options.open(|_| ())
    }
}

/// An ISATAP router; gone, device and all, when dropped.
#[derive(Debug)]
pub struct Router(Running);

impl Router {
    /// Starts to describe one.
    pub fn builder() -> RouterBuilder {
        RouterBuilder::default()
    }
}

running!(Host);
running!(Router);

fn add_locator(locators: &mut LocatorSource, address: Ipv4Addr) {
    match locators {
        LocatorSource::Fixed(addresses) => addresses.push(address),
        other => *other = LocatorSource::Fixed(vec![address]),
    }
}

fn check_route(prefix: &Ipv6Prefix) -> Result<(), Error> {
    let address = prefix.address();
    if !prefix.is_default() && (address.is_unicast_link_local() || address.is_multicast()) {
        return Err(Error::usage("advertise the route", prefix, "no router advertises such a route"));
    }
    Ok(())
}

fn check_published(published: &PublishedPrefix) -> Result<(), Error> {
    let prefix = published.prefix;
    let why = if prefix.length() != 64 {
        "ISATAP addresses are made of prefixes of 64 bits"
    } else if prefix.address().is_unicast_link_local() || prefix.address().is_multicast() {
        "no router advertises such a prefix"
    } else if published.preferred_lifetime > published.valid_lifetime {
        "the preferred lifetime is longer than the valid one"
    } else {
        return Ok(());
    };
    Err(Error::usage("advertise the prefix", prefix, why))
}

/// A domain name in the form of the DNS option.
fn search_domain(text: &str) -> Result<SearchDomain, Error> {
    let name: Name = text
        .parse()
        .map_err(|error: NameError| Error::usage("advertise the search domain", text, error.to_string()))?;
    let mut wire = Vec::with_capacity(text.len() + 2);
    for label in name.labels() {
        wire.push(u8::try_from(label.len()).unwrap_or(63));
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    let found = DomainName::from_wire(&wire).and_then(|name| SearchDomain::new(&name));
    found.ok_or_else(|| Error::usage("advertise the search domain", text, "it is no domain name"))
}
