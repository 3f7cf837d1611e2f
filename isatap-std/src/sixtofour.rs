//! A 6to4 router, host/router or relay on this machine. [RFC 3056, RFC 3964, RFC 7526]
//!
//! ```no_run
//! use isatap_std::signal::Signals;
//! use isatap_std::sixtofour::{Role, SixToFourOptions};
//!
//! let mut options = SixToFourOptions::new(Role::HostRouter);
//! options.relay = Some("192.0.2.1".parse()?);
//! let mut router = options.open(|_| ())?;
//! router.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The kernel forwards, if it is told to. A router gives a /64 of its prefix to each of its
//! [LANs](SixToFourOptions::lans) and tells their hosts.
//!
//! # What it cannot do
//!
//! No crossing of a NAT, not even of one with public-looking addresses (`S64-36`), and no
//! native Internet without somebody's relay.
//!
//! # Security limits
//!
//! A packet with a native source may come from any relay, and nothing vouches for it
//! (`S64-24`); name those to believe with [`SixToFourOptions::accepted_relays`]. A relay
//! without a list of clients works for everybody (`S64-46`).

use crate::error::Error;
use crate::lan::{self, LanOptions};
use crate::link::{self, LinkOptions, Running, check_locator, running, too_many};
use crate::node::{self, FixedRole, LinkPlan, LocatorSource, Node, Notice};
use crate::resolve::{Entry, Resolver, Settings};
use crate::runtime_dir::Ends;
use isatap_core::datapath::Switches;
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use isatap_core::sixtofour::ingress;
use isatap_core::sixtofour::{Relay, RelayConfig, RelayInterface, RouterConfig, RouterInterface};
use std::net::Ipv4Addr;

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "tun6to4";

/// A site's prefix has as many bits. [RFC 3056 §2]
const SITE_LENGTH: u8 = 48;

/// What a node is to 6to4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A host that is its own router, and nobody else's: what is for none of this machine's
    /// addresses is dropped, whatever the kernel forwards (RTE-7). It rests while the machine
    /// has native IPv6. `S64-33`
    HostRouter,
    /// The router of a site.
    Router,
    /// A relay between 6to4 sites and the native Internet.
    Relay,
}

/// What a 6to4 link is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SixToFourOptions {
    /// What it has in common with links of other kinds.
    pub link: LinkOptions,
    /// What it is.
    pub role: Role,
    /// Its IPv4 addresses, of this machine; empty: all that are public.
    pub local: Vec<Ipv4Addr>,
    /// The way to the native Internet, by address or by name; `None`: other 6to4 sites
    /// only. 192.88.99.1 is whichever relay answers there: deprecated. `S64-31`
    pub relay: Option<Entry>,
    /// Whether the relay is asked for an answer before it is relied on. `S64-35`
    pub probe_relay: bool,
    /// Whether it works beside native IPv6 too. `S64-33`
    pub beside_native: bool,
    /// The relays that packets with native sources are accepted from, and 192.88.99.1;
    /// empty: all. `S64-24`
    pub accepted_relays: Vec<Ipv4Addr>,
    /// Of a relay: the 6to4 routers that it works for; empty: all. `S64-46`
    pub clients: Vec<Ipv4Prefix>,
    /// Of a relay: whether it answers at 192.88.99.1 too; deprecated. `S64-31`
    pub anycast: bool,
    /// Of a router: the LANs that get a /64 of the site's prefix, that of its first public
    /// IPv4 address. `S64-37`
    pub lans: Vec<LanOptions>,
    /// Whether IPv4 addresses count as public that are not global, such as private and
    /// documentation ones: for labs.
    pub accept_bogons: bool,
}

impl SixToFourOptions {
    /// No relay; all public IPv4 addresses.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self {
            link: LinkOptions { device: DEFAULT_DEVICE.to_owned(), ..LinkOptions::default() },
            role,
            local: Vec::new(),
            relay: None,
            probe_relay: false,
            beside_native: role != Role::HostRouter,
            accepted_relays: Vec::new(),
            clients: Vec::new(),
            anycast: false,
            lans: Vec::new(),
            accept_bogons: false,
        }
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        self.link.policy(OuterPolicy::DEFAULT)?;
        for local in &self.local {
            check_locator(*local)?;
            // S64-1
            let is_anycast = self.anycast && *local == ANYCAST_RELAY;
            if !is_anycast && !ingress::locator(*local, self.accept_bogons) {
                let error = Error::usage("make a 6to4 site of", local, "it is no public IPv4 address");
                return Err(error.with_advice("use ISATAP or 6rd on private IPv4; --accept-bogons is for labs"));
            }
        }
        if self.role == Role::Relay && self.relay.is_some() {
            return Err(Error::usage("start", "a 6to4 relay", "it is a relay and needs none"));
        }
        if self.role != Role::Relay && (self.anycast || !self.clients.is_empty()) {
            return Err(Error::usage("start", "a 6to4 router", "only a relay has clients or an anycast address"));
        }
        // S64-23
        if self.role != Role::Router && !self.lans.is_empty() {
            let error = Error::usage("start", "6to4", "only a router has LANs");
            return Err(error.with_advice("give it the role router"));
        }
        lan::check(&self.lans, SITE_LENGTH)?;
        if let Some(Entry::Address(relay)) = self.relay
            && !ingress::is_usable(relay, self.accept_bogons)
        {
            let error = Error::usage("use the relay", relay, "it is no public IPv4 address");
            return Err(error.with_advice("--accept-bogons is for labs"));
        }
        Ok(())
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<SixToFour, Error> {
        let link = self.link.clone();
        link::open(&link, Box::new(observer), |node| self.add(node)).map(SixToFour)
    }

    /// Makes the link in a node.
    pub(crate) fn add(self, node: &mut Node) -> Result<LinkId, Error> {
        self.check()?;
        let locators =
            if self.local.is_empty() { LocatorSource::All } else { LocatorSource::Fixed(self.local.clone()) };
        locators.check(node.netlink())?;
        let (interface, switches, role) = match self.role {
            Role::Relay => self.relay_interface(locators)?,
            Role::Router | Role::HostRouter => self.router_interface(locators)?,
        };
        let (anycast, accept_bogons) = (self.anycast, self.accept_bogons);
        let plan = LinkPlan {
            device: self.link.device.clone(),
            metric: self.link.metric,
            interface,
            switches,
            role: node::Role::Fixed(role),
            ends: Box::new(move |local| {
                let is_anycast = anycast && local == ANYCAST_RELAY;
                (is_anycast || ingress::locator(local, accept_bogons)).then_some(Ends::SixToFour { local })
            }),
        };
        let link = node.add(plan, self.link.runtime.as_ref())?;
        node.add_lans(link, &self.lans, self.link.runtime.as_ref())?;
        Ok(link)
    }

    fn relay_interface(&self, locators: LocatorSource) -> Result<Parts, Error> {
        let mut config = RelayConfig::DEFAULT;
        config.policy = self.link.policy(OuterPolicy::DEFAULT)?;
        (config.accept_bogons, config.anycast) = (self.accept_bogons, self.anycast);
        let mut relay = RelayInterface::new(config);
        for client in &self.clients {
            relay.add_client(*client).map_err(|full| too_many("the client", client, full))?;
        }
        let role = FixedRole::router("6to4-relay", locators, self.link.device.clone());
        Ok((AnyInterface::SixToFourRelay(relay), Switches::FORWARDING, role))
    }

    fn router_interface(&self, locators: LocatorSource) -> Result<Parts, Error> {
        let mut config = RouterConfig::DEFAULT;
        config.policy = self.link.policy(OuterPolicy::DEFAULT)?;
        config.accept_bogons = self.accept_bogons;
        config.only_without_native = !self.beside_native;
        config.probe_relay = self.probe_relay;
        let mut resolver = None;
        config.relay = match &self.relay {
            None => Relay::None,
            Some(Entry::Address(ANYCAST_RELAY)) => Relay::Anycast,
            Some(Entry::Address(address)) => Relay::Address(*address),
            Some(name @ Entry::Name(_)) => {
                let settings = Settings { routers: vec![name.clone()], ..Settings::default() };
                let started = Resolver::new(settings);
                resolver = Some(started.map_err(|error| Error::refused("start", "the resolver's thread", error))?);
                Relay::Name
            }
        };
        let mut router = RouterInterface::new(config);
        for relay in &self.accepted_relays {
            router.accept_relay(*relay).map_err(|full| too_many("the relay", relay, full))?;
        }
        let device = self.link.device.clone();
        let (role, switches) = match self.role {
            Role::HostRouter => (FixedRole::host("6to4-host-router", locators, device), Switches::DEFAULT),
            _ => (FixedRole::router("6to4-router", locators, device), Switches::FORWARDING),
        };
        Ok((AnyInterface::SixToFourRouter(router), switches, role.with_relay(resolver)))
    }
}

type Parts = (AnyInterface<node::Linux>, Switches, FixedRole);

/// A 6to4 link; gone, device and all, when dropped.
#[derive(Debug)]
pub struct SixToFour(Running);

running!(SixToFour);

#[cfg(test)]
mod tests {
    use super::*;

    fn at(role: Role, local: &str) -> SixToFourOptions {
        SixToFourOptions { local: vec![local.parse().unwrap()], ..SixToFourOptions::new(role) }
    }

    #[test]
    fn s64_1_private_and_documentation_ipv4_make_a_site_only_in_labs() {
        assert!(at(Role::Router, "131.107.0.1").check().is_ok());
        for (local, in_labs) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("169.254.0.1", false),
            ("127.0.0.1", false),
            ("240.0.0.1", false),
        ] {
            assert!(at(Role::Router, local).check().is_err(), "{local}");
            let options = SixToFourOptions { accept_bogons: true, ..at(Role::Router, local) };
            assert_eq!(options.check().is_ok(), in_labs, "{local}");
        }
    }

    #[test]
    fn s64_31_only_a_relay_that_is_told_to_has_the_anycast_address() {
        assert!(at(Role::Relay, "192.88.99.1").check().is_err());
        assert!(SixToFourOptions { anycast: true, ..at(Role::Relay, "192.88.99.1") }.check().is_ok());
        assert!(SixToFourOptions { anycast: true, ..at(Role::Router, "131.107.0.1") }.check().is_err());
    }

    #[test]
    fn s64_23_only_a_router_has_lans() {
        let with_lan = |role| SixToFourOptions { lans: vec![LanOptions::new("eth1")], ..at(role, "131.107.0.1") };
        assert!(with_lan(Role::Router).check().is_ok());
        for role in [Role::HostRouter, Role::Relay] {
            let error = with_lan(role).check().unwrap_err().to_string();
            assert!(error.contains("only a router has LANs"), "{error}");
        }
    }

    #[test]
    fn a_relay_needs_no_relay() {
        let relay = Some("131.107.0.9".parse().unwrap());
        assert!(SixToFourOptions { relay: relay.clone(), ..at(Role::Relay, "131.107.0.1") }.check().is_err());
        assert!(SixToFourOptions { relay, ..at(Role::HostRouter, "131.107.0.1") }.check().is_ok());
    }
}
