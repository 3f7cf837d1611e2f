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
//! CAP_NET_ADMIN and CAP_NET_RAW. [`Host::turn`] and [`Host::as_fd`] serve loops of others.
//!
//! # What it does not do
//!
//! - It applies no DNS configuration; what routers advertise is in [`Host::status`].
//! - It switches the kernel's forwarding neither on nor off: a [`Router`] says in a
//!   [`Notice`] that it is off, and is no default router meanwhile.
//! - Routes of other hands on the device are followed in the main table only.
//!
//! # Security limits
//!
//! Whoever can send protocol 41 to this machine from inside the site can pretend to be any
//! host of it, and a potential router is believed in everything. Filter protocol 41 at the
//! border, and list the site's prefixes with `member` where it uses private IPv4 (SEC-2).

use crate::driver::attachment::{Attachment, DEFAULT_METRIC};
use crate::error::Error;
use crate::netlink::Netlink;
use crate::node::status::Status;
use crate::node::{HostRole, LinkPlan, Node, Observer, Role, RouterRole};
pub use crate::node::{LocatorSource, Notice};
use crate::proto41_socket;
use crate::resolve::{Entry, Name, NameError, Resolver, Settings, Unusable};
use crate::runtime_dir::RuntimeDir;
use crate::signal::Signals;
use isatap_core::datapath::Switches;
use isatap_core::error::TableFull;
use isatap_core::isatap::addr::is_locator;
use isatap_core::isatap::{HostConfig, HostInterface, PublishedPrefix, RouterConfig, RouterInterface};
use isatap_core::link::OuterPolicy;
use isatap_core::nd::learned::SearchDomain;
use isatap_core::nd::option::DomainName;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::proto41::mtu::MtuMode;
use isatap_core::wire::ipv6::MINIMUM_MTU;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::time::Duration;

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "isatap0";

/// What host and router have in common.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkOptions {
    /// The TUN device to make.
    pub device: String,
    /// The IPv6 MTU in bytes, 1280 to 65515; `None`: 1280, and for a host what a router
    /// advertises.
    pub mtu: Option<u16>,
    /// Outer time to live.
    pub ttl: u8,
    /// Whether the IPv4 path MTU is found by DF and ICMPv4. Without it, packets of up to the
    /// MTU are fragmented where they do not fit.
    pub path_mtu_discovery: bool,
    /// The site's IPv4 prefixes; none: every address counts as the site's. `SEC-2`
    pub members: Vec<Ipv4Prefix>,
    /// The metric of routes through the device.
    pub metric: u32,
    /// A file to record outer packets into.
    pub pcap: Option<PathBuf>,
    /// Where this process becomes the daemon of the device and can be asked; `None`: nowhere.
    pub runtime: Option<RuntimeDir>,
    /// How the raw sockets are opened.
    pub socket: proto41_socket::Options,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self {
            device: DEFAULT_DEVICE.to_owned(),
            mtu: None,
            ttl: OuterPolicy::DEFAULT.ttl,
            path_mtu_discovery: true,
            members: Vec::new(),
            metric: DEFAULT_METRIC,
            pcap: None,
            runtime: None,
            socket: proto41_socket::Options::default(),
        }
    }
}

impl LinkOptions {
    fn policy(&self) -> Result<OuterPolicy, Error> {
        let mut policy = OuterPolicy::DEFAULT;
        if let Some(mtu) = self.mtu {
            if !(MINIMUM_MTU..=LARGEST_MTU).contains(&mtu) {
                let why = format!("an ISATAP link carries {MINIMUM_MTU} to {LARGEST_MTU} bytes");
                return Err(Error::usage("set the MTU", mtu, why));
            }
            policy.link_mtu = mtu;
        }
        if self.ttl == 0 {
            return Err(Error::usage("set the time to live", self.ttl, "nothing would leave this machine"));
        }
        policy.ttl = self.ttl;
        if !self.path_mtu_discovery {
            policy.mtu = MtuMode::Static(policy.link_mtu);
        }
        Ok(policy)
    }
}

/// The longest inner packet that an IPv4 packet takes.
const LARGEST_MTU: u16 = 65_515;

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
        self.link.policy()?;
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
        Ok(())
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Host, Error> {
        self.check()?;
        let policy = self.link.policy()?;
        self.locators.check(&Netlink::open()?)?;
        let mut addresses = Vec::new();
        let mut settings = Settings::default();
        for entry in self.routers {
            match entry {
                Entry::Address(address) => addresses.push(address),
                name @ Entry::Name(_) => settings.routers.push(name),
            }
        }
        let resolve = !settings.routers.is_empty() || addresses.is_empty();
        let resolver = resolve.then(|| Resolver::new(settings)).transpose();
        let resolver = resolver.map_err(|error| Error::refused("start", "the resolver's thread", error))?;
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
            role: Role::Host(HostRole::new(self.locators, addresses, resolver)),
        };
        let (mut node, link) = start(plan, &self.link, Box::new(observer))?;
        node.add_native(Switches::DEFAULT)?;
        node.settle()?;
        Ok(Host(Running { node, link }))
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
    /// Other routers of the site. `SEC-4`
    pub known_routers: Vec<Ipv4Addr>,
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
        self.link.policy()?;
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
        self.search_domains.iter().try_for_each(|domain| search_domain(domain).map(drop))
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Router, Error> {
        self.check()?;
        let mut config = self.config;
        config.policy = self.link.policy()?;
        config.mtu = self.link.mtu.or(config.mtu);
        let locators = LocatorSource::Fixed(self.local);
        locators.check(&Netlink::open()?)?;
        let mut interface = RouterInterface::new(config);
        for prefix in &self.link.members {
            interface.link_mut().add_member(*prefix).map_err(|full| too_many("the site's member", prefix, full))?;
        }
        for router in &self.known_routers {
            interface.add_known_router(*router).map_err(|full| too_many("the router", router, full))?;
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
            role: Role::Router(RouterRole::new(locators, self.link.device.clone())),
        };
        let (mut node, link) = start(plan, &self.link, Box::new(observer))?;
        for published in &self.prefixes {
            let told = node.with_interface(link, |interface, cx| match interface {
                AnyInterface::IsatapRouter(router) => router.publish(cx, *published),
                _ => Ok(()),
            });
            told.unwrap_or(Ok(())).map_err(|full| too_many("the prefix", published.prefix, full))?;
        }
        node.add_native(Switches::FORWARDING)?;
        for route in &self.routes {
            node.publish_route(*route)?;
        }
        node.settle()?;
        Ok(Router(Running { node, link }))
    }
}

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

/// A node with one link, in its loop.
struct Running {
    node: Box<Node>,
    link: LinkId,
}

macro_rules! running {
    ($role:ident) => {
        impl $role {
            /// The name of the device.
            pub fn device(&self) -> &str {
                self.0.attachment().map_or("", Attachment::name)
            }

            /// The first link-local address; `None` while there is no IPv4 address to make
            /// it of.
            pub fn link_local(&self) -> Option<Ipv6Addr> {
                let addresses = self.0.attachment()?.addresses();
                addresses.iter().map(|address| address.address).find(Ipv6Addr::is_unicast_link_local)
            }

            /// What it knows and has counted.
            pub fn status(&self) -> Option<Status> {
                self.0.node.status(0)
            }

            /// Waits at most `timeout` for something to do, and does it: a batch of packets,
            /// what is due, what the system has changed. `Some(Duration::ZERO)` does not wait.
            ///
            /// # Errors
            ///
            /// Somebody deleted the device. What single packets meet is counted instead.
            pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
                self.0.node.turn(timeout).map(drop)
            }

            /// Turns until a signal asks to stop.
            ///
            /// # Errors
            ///
            /// As [`turn`](Self::turn).
            pub fn run_until(&mut self, signals: &mut Signals) -> Result<(), Error> {
                self.0.node.run_until(signals)
            }
        }

        impl AsFd for $role {
            /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.node.as_fd()
            }
        }
    };
}

running!(Host);
running!(Router);

impl Running {
    fn attachment(&self) -> Option<&Attachment> {
        self.node.attachment(self.link)
    }
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Running").field("attachment", &self.attachment()).finish_non_exhaustive()
    }
}

fn start(plan: LinkPlan, options: &LinkOptions, observer: Observer) -> Result<(Box<Node>, LinkId), Error> {
    let mut node = Box::new(Node::open(&options.socket, observer)?);
    if let Some(path) = &options.pcap {
        node.driver_mut().record(path)?;
    }
    let link = node.add(plan, options.runtime.as_ref())?;
    Ok((node, link))
}

fn add_locator(locators: &mut LocatorSource, address: Ipv4Addr) {
    match locators {
        LocatorSource::Fixed(addresses) => addresses.push(address),
        other => *other = LocatorSource::Fixed(vec![address]),
    }
}

fn too_many(what: &'static str, which: impl std::fmt::Display, full: TableFull) -> Error {
    Error::usage(format!("use {what}"), which, full.to_string())
}

fn check_locator(address: Ipv4Addr) -> Result<(), Error> {
    if is_locator(address) {
        return Ok(());
    }
    Err(Error::usage("send from", address, "no host can have this address").with_advice("see: ip -4 address"))
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
