//! A 6rd customer edge and a 6rd border relay on this machine. [RFC 5969]
//!
//! ```no_run
//! use isatap_std::signal::Signals;
//! use isatap_std::sixrd::{Role, SixRdOptions};
//!
//! let mut options = SixRdOptions::new(Role::CustomerEdge, "2001:db8::/32".parse()?, 8, "10.100.100.1".parse()?);
//! options.relays.push("10.0.0.1".parse()?);
//! let mut edge = options.open(|_| ())?;
//! edge.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The kernel forwards, if it is told to. A customer edge gives a /64 of its delegated prefix
//! to each of its [LANs](SixRdOptions::lans) and tells their hosts. DHCPv4 is not spoken here: `isatap_core::sixrd::dhcp` reads option 212
//! for a client that gets it.
//!
//! # Security limits
//!
//! Customers cannot speak for each other, as long as nobody in the provider's IPv4 network
//! forges IPv4 addresses and a border relay's cannot be reached from outside of it. What a
//! border relay brings from the native Internet has no source that can be verified. The
//! kernel forwards between tunnels too: a border relay that is also another tunnel's end
//! needs a filter between the two (S6R-34).

use crate::error::Error;
use crate::lan::{self, LanOptions};
use crate::link::{self, LinkOptions, Running, check_locator, running, too_many};
use crate::node::{self, FixedRole, LinkPlan, LocatorSource, Node, Notice};
use crate::runtime_dir::Ends;
use isatap_core::datapath::Switches;
use isatap_core::node::AnyInterface;
use isatap_core::packet::LinkId;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::{
    ConfigureError, Domain, DomainError, EdgeConfig, EdgeInterface, POLICY, RelayConfig, RelayInterface,
};
use std::net::Ipv4Addr;

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "tun6rd";

/// Which end of a 6rd domain a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// A customer edge.
    CustomerEdge,
    /// A border relay.
    BorderRelay,
}

/// What a 6rd link is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SixRdOptions {
    /// What it has in common with links of other kinds.
    pub link: LinkOptions,
    /// Which end it is.
    pub role: Role,
    /// The 6rd prefix.
    pub prefix: Ipv6Prefix,
    /// How many upper bits the IPv4 addresses of all customers share, 0 to 32.
    pub ipv4_mask_len: u8,
    /// This node's IPv4 address, of this machine.
    pub local: Ipv4Addr,
    /// A customer edge's border relays: the first is used, packets of all are accepted;
    /// none: no way out of the domain.
    pub relays: Vec<Ipv4Addr>,
    /// Of a border relay: an address of a customer, where its own is not in the block that
    /// they share. `S6R-15`
    pub customer: Option<Ipv4Addr>,
    /// Of a border relay: other tunnel routers of the IPv4 network, which are no customers,
    /// such as one whose configured tunnel ends here. `S6R-33`
    pub known_routers: Vec<Ipv4Addr>,
    /// Of a border relay: whether others have the same IPv4 address. `S6R-32`
    pub anycast: bool,
    /// Of a customer edge: whether packets of other customers must come from them directly.
    /// `S6R-22`
    pub strict_siblings: bool,
    /// Of a customer edge: the LANs that get a /64 of its delegated prefix.
    pub lans: Vec<LanOptions>,
}

impl SixRdOptions {
    /// An end at `local` of the domain of `prefix`, without relays.
    #[must_use]
    pub fn new(role: Role, prefix: Ipv6Prefix, ipv4_mask_len: u8, local: Ipv4Addr) -> Self {
        Self {
            link: LinkOptions { device: DEFAULT_DEVICE.to_owned(), ..LinkOptions::default() },
            role,
            prefix,
            ipv4_mask_len,
            local,
            relays: Vec::new(),
            customer: None,
            known_routers: Vec::new(),
            anycast: false,
            strict_siblings: false,
            lans: Vec::new(),
        }
    }

    /// The domain, as this node knows it.
    fn domain(&self) -> Result<Domain, Error> {
        let refused = |error: DomainError| {
            let domain = format!("{} with {} common IPv4 bits", self.prefix, self.ipv4_mask_len);
            Error::usage("make a 6rd domain of", domain, error.to_string())
        };
        let around = self.customer.unwrap_or(self.local);
        let common = Ipv4Prefix::new(around, self.ipv4_mask_len)
            .ok_or(DomainError::MaskLength { ipv4_mask_len: self.ipv4_mask_len });
        common.and_then(|common| Domain::new(self.prefix, common)).map_err(refused)
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        self.link.policy(POLICY)?;
        check_locator(self.local)?;
        let domain = self.domain()?;
        if self.role == Role::BorderRelay && !self.lans.is_empty() {
            let error = Error::usage("start", "a border relay", "only a customer edge has LANs");
            return Err(error.with_advice("name the LANs at a customer edge"));
        }
        lan::check(&self.lans, domain.delegated_length())?;
        if self.role == Role::BorderRelay && !self.relays.is_empty() {
            let error = Error::usage("start", "a border relay", "it is the way out of its domain and has none");
            return Err(error.with_advice("leave the border relay's address out, or be a customer edge"));
        }
        if self.role == Role::CustomerEdge && !self.known_routers.is_empty() {
            return Err(Error::usage(
                "start",
                "a customer edge",
                "only a border relay has customers to tell from routers",
            ));
        }
        for relay in &self.relays {
            if check_locator(*relay).is_err() || *relay == self.local {
                return Err(Error::usage("use the border relay", relay, "it is no other host's address"));
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
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<SixRd, Error> {
        let link = self.link.clone();
        link::open(&link, Box::new(observer), |node| self.add(node)).map(SixRd)
    }

    /// Makes the link in a node.
    pub(crate) fn add(self, node: &mut Node) -> Result<LinkId, Error> {
        self.check()?;
        let (prefix, ipv4_mask_len) = (self.prefix, self.ipv4_mask_len);
        let domain = self.domain()?;
        let policy = self.link.policy(POLICY)?;
        let locators = LocatorSource::Fixed(vec![self.local]);
        locators.check(node.netlink())?;
        let device = self.link.device.clone();
        let (interface, switches, role) = match self.role {
            Role::CustomerEdge => {
                let mut config = EdgeConfig::DEFAULT;
                (config.policy, config.strict_siblings) = (policy, self.strict_siblings);
                let (role, switches) = if self.lans.is_empty() {
                    (FixedRole::end("6rd-ce", locators, device), Switches::DEFAULT)
                } else {
                    (FixedRole::router("6rd-ce", locators, device), Switches::FORWARDING)
                };
                (AnyInterface::SixRdEdge(EdgeInterface::new(config)), switches, role)
            }
            Role::BorderRelay => {
                let mut config = RelayConfig::new(domain);
                (config.policy, config.anycast) = (policy, self.anycast);
                let mut relay = RelayInterface::new(config);
                let known = relay.set_known_routers(&self.known_routers);
                known.map_err(|full| too_many("the router", list(&self.known_routers), full))?;
                let role = FixedRole::router("6rd-br", locators, device);
                (AnyInterface::SixRdRelay(relay), Switches::FORWARDING, role)
            }
        };
        let plan = LinkPlan {
            device: self.link.device.clone(),
            metric: self.link.metric,
            interface,
            switches,
            role: node::Role::Fixed(role),
            ends: Box::new(move |local| Some(Ends::SixRd { local, prefix, ipv4_mask_len })),
        };
        let link = node.add(plan, self.link.runtime.as_ref())?;
        let told = node.with_interface(link, |interface, cx| match interface {
            AnyInterface::SixRdEdge(edge) => {
                edge.configure(cx, self.prefix, self.ipv4_mask_len, self.relays.iter().copied())
            }
            _ => Ok(()),
        });
        told.unwrap_or(Ok(())).map_err(|error| match error {
            ConfigureError::TableFull(full) => too_many("the 6rd domain", self.prefix, full),
            error => Error::usage("use the 6rd domain", self.prefix, error.to_string()),
        })?;
        node.add_lans(link, &self.lans, self.link.runtime.as_ref())?;
        Ok(link)
    }
}

fn list(addresses: &[Ipv4Addr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// An end of a 6rd domain; gone, device and all, when dropped.
#[derive(Debug)]
pub struct SixRd(Running);

running!(SixRd);

#[cfg(test)]
mod tests {
    use super::*;

    fn options(role: Role, prefix: &str, ipv4_mask_len: u8) -> SixRdOptions {
        SixRdOptions::new(role, prefix.parse().unwrap(), ipv4_mask_len, Ipv4Addr::new(10, 100, 100, 1))
    }

    #[test]
    fn s6r_5_domains_that_cannot_be_are_refused_before_anything_is_made() {
        assert!(options(Role::CustomerEdge, "2001:db8::/32", 8).check().is_ok());
        for (prefix, mask) in [("2001:db8::/32", 33), ("2001:db8::/48", 8), ("fe80::/16", 16), ("ff00::/16", 16)] {
            let error = options(Role::CustomerEdge, prefix, mask).check().unwrap_err();
            assert_eq!(error.class(), crate::error::Class::Usage, "{prefix} {mask}");
        }
    }

    #[test]
    fn relays_are_a_customer_edges_and_somebody_elses() {
        let mut edge = options(Role::CustomerEdge, "2001:db8::/32", 8);
        edge.relays.push(Ipv4Addr::new(10, 0, 0, 1));
        assert!(edge.check().is_ok());
        assert!(SixRdOptions { role: Role::BorderRelay, ..edge.clone() }.check().is_err());
        edge.relays.push(edge.local);
        assert!(edge.check().is_err());
    }
}
