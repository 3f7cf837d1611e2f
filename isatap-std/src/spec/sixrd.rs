//! A 6rd customer edge and a 6rd border relay. [RFC 5969]

use super::field::spec;
use super::{LanOptions, Refusals, check_local, check_locator, lan, list, too_many};
use crate::error::Error;
use isatap_core::capacity::Capacity;
use isatap_core::interface::Context;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::{Ipv4Prefix, Ipv6Prefix};
use isatap_core::sixrd::{
    ConfigureError, Domain, DomainError, EdgeConfig, EdgeInterface, POLICY, RelayConfig, RelayInterface,
};
use std::net::Ipv4Addr;

/// The device when nothing else is asked for.
const DEVICE: &str = "tun6rd";

/// Which end of a 6rd domain a node is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "args", derive(clap::ValueEnum))]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum SixRdRole {
    /// A customer edge.
    #[default]
    #[cfg_attr(feature = "args", value(name = "ce"))]
    #[cfg_attr(feature = "file", serde(rename = "ce"))]
    CustomerEdge,
    /// A border relay.
    #[cfg_attr(feature = "args", value(name = "br"))]
    #[cfg_attr(feature = "file", serde(rename = "br"))]
    BorderRelay,
}

impl SixRdRole {
    pub(super) fn describe(self) -> &'static str {
        match self {
            SixRdRole::CustomerEdge => "6rd customer edge",
            SixRdRole::BorderRelay => "6rd border relay",
        }
    }
}

spec! { tunnel(DEVICE)
    /// Run a 6rd customer edge, or a border relay: a provider's IPv6 across its IPv4 network.
    ///
    /// The kernel forwards, if it is told to: sysctl net.ipv6.conf.all.forwarding=1 (devices that learn
    /// their own addresses from a router need accept_ra=2 then). Hosts of LANs get a default router only
    /// with a border relay; at the end they hear that the prefix is not to be used any more, which takes
    /// up to 4 seconds. DHCPv4 option 212 is not asked for here.
    SixRd {
        /// The 6rd prefix.
        prefix: Ipv6Prefix ["P/LEN"], new(prefix);
        /// How many upper bits the IPv4 addresses of all customers share, 0 to 32.
        v4_mask_len: u8 ["N"] = 0;
        /// This node's IPv4 address. While this machine does not have it, the link waits.
        local: Option<Ipv4Addr> ["V4"], arg(conflicts_with = "via");
        // S6R-9
        /// ce: send from the first IPv4 address of this device instead, whichever that is at the time.
        /// When it changes, so does the delegated prefix, and hosts of LANs hear that the old one is
        /// deprecated.
        via: Option<String> ["DEV"];
        /// ce: a border relay. Packets of all are accepted, the first is used. May be repeated. Without
        /// it there is no way out of the domain.
        br: Vec<Ipv4Addr> ["V4"];
        /// ce: customer edge, br: border relay.
        role: SixRdRole ["ROLE"] = SixRdRole::CustomerEdge, arg(value_enum);
        /// br: an address of a customer, where local is not in the block that customers share.
        customer: Option<Ipv4Addr> ["V4"];
        /// br: another tunnel router of the network, which is no customer: if it has a tunnel to this
        /// relay, packets may go round between the two otherwise. May be repeated.
        known_router: Vec<Ipv4Addr> ["V4"];
        /// br: others have the same IPv4 address, so that no outer packet may be fragmented.
        anycast: bool;
        /// ce: let in packets of other customers only from themselves, not by the border relay.
        strict_siblings: bool;
        /// ce: give the LAN of this device a /64 of the delegated prefix: put an address there, and
        /// advertise the prefix to its hosts. SUBNET is hexadecimal, as it stands in the address; left
        /// out, it is the number of the interface. May be repeated.
        lan: Vec<LanOptions> ["DEV[:SUBNET]"];
    }
}

impl SixRd {
    /// The domain, as this node knows it; without an IPv4 address its common bits are zero. `S6R-15`
    pub(crate) fn domain(&self) -> Result<Domain, Error> {
        let refused = |error: DomainError| {
            let domain = format!("{} with {} common IPv4 bits", self.prefix, self.v4_mask_len);
            Error::usage("make a 6rd domain of", domain, error.to_string())
        };
        let around = self.customer.or(self.local).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let common = Ipv4Prefix::new(around, self.v4_mask_len)
            .ok_or(DomainError::MaskLength { ipv4_mask_len: self.v4_mask_len });
        common.and_then(|common| Domain::new(self.prefix, common)).map_err(refused)
    }

    pub(super) fn resolve(&mut self) {
        self.resolve_outer();
        self.customer = self.customer.or(self.local);
        super::sort(&mut self.known_router);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.check_outer(refusals);
        check_local(self.local, self.via.as_deref(), self.role.describe(), refusals);
        match self.domain() {
            Err(error) => refusals.add("", error),
            Ok(domain) => lan::check(&self.lan, domain.delegated_length(), refusals),
        }
        // What the other role has.
        let (who, others): (_, &[(&'static str, bool, &'static str, &'static str)]) = match self.role {
            SixRdRole::BorderRelay => (
                "a border relay",
                &[
                    ("via", self.via.is_some(), "its customers send to one address", "give that as local"),
                    ("lan", !self.lan.is_empty(), "only a customer edge has LANs", "name the LANs at a customer edge"),
                    (
                        "br",
                        !self.br.is_empty(),
                        "it is the way out of its domain and has none",
                        "leave br out, or take the role ce; routers that are no customers are known-router",
                    ),
                    (
                        "strict-siblings",
                        self.strict_siblings,
                        "only a customer edge has siblings",
                        "leave strict-siblings out, or take the role ce",
                    ),
                ],
            ),
            SixRdRole::CustomerEdge => (
                "a customer edge",
                &[
                    (
                        "known-router",
                        !self.known_router.is_empty(),
                        "only a border relay has customers to tell from routers",
                        "leave known-router out, or take the role br",
                    ),
                    (
                        "customer",
                        self.customer.is_some(),
                        "it is a customer itself",
                        "leave customer out, or take the role br",
                    ),
                    (
                        "anycast",
                        self.anycast,
                        "only border relays share an address",
                        "leave anycast out, or take the role br",
                    ),
                ],
            ),
        };
        for (key, is_given, why, advice) in others {
            if *is_given {
                refusals.add(key, Error::usage("start", who, *why).with_advice(*advice));
            }
        }
        for relay in &self.br {
            if check_locator(*relay).is_err() || Some(*relay) == self.local {
                refusals.add("br", Error::usage("use the border relay", relay, "it is no other host's address"));
            }
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let lost = !self.lan.is_empty() && self.br.is_empty();
        if lost { vec!["without br the hosts of the LANs hear of no default router".to_owned()] } else { Vec::new() }
    }

    pub(super) fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        let policy = self.policy(POLICY);
        match self.role {
            SixRdRole::CustomerEdge => {
                let mut config = EdgeConfig::DEFAULT;
                (config.policy, config.strict_siblings) = (policy, self.strict_siblings);
                Ok(AnyInterface::SixRdEdge(EdgeInterface::new(config)))
            }
            SixRdRole::BorderRelay => {
                let mut config = RelayConfig::new(self.domain()?);
                (config.policy, config.anycast) = (policy, self.anycast);
                let mut relay = RelayInterface::new(config);
                let known = relay.set_known_routers(&self.known_router);
                known.map_err(|full| too_many("the router", list(&self.known_router), full))?;
                Ok(AnyInterface::SixRdRelay(relay))
            }
        }
    }

    pub(super) fn tell<C: Capacity>(&self, edge: &mut EdgeInterface<C>, cx: &mut Context<'_, C>) -> Result<(), Error> {
        let told = edge.configure(cx, self.prefix, self.v4_mask_len, self.br.iter().copied());
        told.map_err(|error| match error {
            ConfigureError::TableFull(full) => too_many("the 6rd domain", self.prefix, full),
            error => Error::usage("use the 6rd domain", self.prefix, error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSpec;
    use super::*;

    fn edge(prefix: &str, v4_mask_len: u8) -> SixRd {
        let local = Some(Ipv4Addr::new(10, 100, 100, 1));
        SixRd { v4_mask_len, local, ..SixRd::new(prefix.parse().unwrap()) }
    }

    fn refused(sixrd: &SixRd) -> Vec<&'static str> {
        LinkSpec::from(sixrd.clone()).check().iter().map(|refusal| refusal.key).collect()
    }

    #[test]
    fn s6r_5_domains_that_cannot_be_are_refused_before_anything_is_made() {
        assert!(refused(&edge("2001:db8::/32", 8)).is_empty());
        for (prefix, mask) in [("2001:db8::/32", 33), ("2001:db8::/48", 8), ("fe80::/16", 16), ("ff00::/16", 16)] {
            assert_eq!(refused(&edge(prefix, mask)), [""], "{prefix} {mask}");
        }
    }

    #[test]
    fn relays_are_a_customer_edges_and_somebody_elses() {
        let mut edge = edge("2001:db8::/32", 8);
        edge.br.push(Ipv4Addr::new(10, 0, 0, 1));
        assert!(refused(&edge).is_empty());
        assert_eq!(refused(&SixRd { role: SixRdRole::BorderRelay, ..edge.clone() }), ["br"]);
        edge.br.extend(edge.local);
        assert_eq!(refused(&edge), ["br"]);
    }

    #[test]
    fn s6r_9_an_edge_follows_a_device_or_has_one_address() {
        let given = edge("2001:db8::/32", 8);
        let via = SixRd { local: None, via: Some("eth0".to_owned()), ..given.clone() };
        assert!(refused(&via).is_empty());
        assert_eq!(refused(&SixRd { local: given.local, ..via.clone() }), [""]);
        assert_eq!(refused(&SixRd { via: None, ..via.clone() }), [""]);
        assert_eq!(refused(&SixRd { via: Some("10.0.0.1".to_owned()), ..via.clone() }), ["via"]);
        assert_eq!(refused(&SixRd { role: SixRdRole::BorderRelay, ..via }), ["via"]);
    }

    #[test]
    fn what_only_the_other_role_has_is_refused() {
        let mut both = edge("2001:db8::/32", 8);
        (both.anycast, both.strict_siblings, both.customer) = (true, true, Some(Ipv4Addr::new(10, 1, 1, 1)));
        assert_eq!(refused(&both), ["customer", "anycast"]);
        both.role = SixRdRole::BorderRelay;
        assert_eq!(refused(&both), ["strict-siblings"]);
    }
}
