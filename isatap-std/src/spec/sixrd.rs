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
use std::path::PathBuf;

/// The device when nothing else is asked for.
const DEVICE: &str = "tun6rd";

/// A delegated prefix in which every subnet has a place.
const ANY_LENGTH: u8 = 48;

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
    /// up to 4 seconds.
    ///
    /// A provider tells its domain by DHCPv4 option 212. The DHCP client is yours: have it ask for the
    /// option, and name its lease with --dhcp-lease.
    SixRd {
        /// The 6rd prefix. Of a customer edge it may come from dhcp-lease instead.
        prefix: Option<Ipv6Prefix> ["P/LEN"];
        /// How many upper bits the IPv4 addresses of all customers share, 0 to 32.
        v4_mask_len: u8 ["N"] = 0;
        /// This node's IPv4 address. While this machine does not have it, the link waits.
        local: Option<Ipv4Addr> ["V4"], arg(conflicts_with = "via");
        // S6R-9
        /// ce: send from the first IPv4 address of this device instead, whichever that is at the time.
        /// When it changes, so does the delegated prefix, and hosts of LANs hear that the old one is
        /// deprecated.
        via: Option<String> ["DEV"];
        // S6R-12, S6R-14
        /// ce: take prefix, v4-mask-len and br from DHCPv4 option 212 in this file, and follow it. It is
        /// the leases file of ISC dhclient, or has a line ip6rd=... or opt212=... as a script of
        /// udhcpc writes it. Leases of systemd-networkd do not have the option.
        dhcp_lease: Option<PathBuf> ["FILE"];
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
        let prefix = self.prefix.ok_or_else(|| {
            let error = Error::usage("start a", self.role.describe(), "no 6rd prefix is given");
            error.with_advice("give prefix, or dhcp-lease: the file of a DHCPv4 lease that has it")
        })?;
        let refused = |error: DomainError| {
            let domain = format!("{prefix} with {} common IPv4 bits", self.v4_mask_len);
            Error::usage("make a 6rd domain of", domain, error.to_string())
        };
        let around = self.customer.or(self.local).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let common = Ipv4Prefix::new(around, self.v4_mask_len)
            .ok_or(DomainError::MaskLength { ipv4_mask_len: self.v4_mask_len });
        common.and_then(|common| Domain::new(prefix, common)).map_err(refused)
    }

    pub(super) fn resolve(&mut self) {
        self.resolve_outer(POLICY);
        self.customer = self.customer.or(self.local);
        super::sort(&mut self.known_router);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        check_local(self.local, self.via.as_deref(), self.role.describe(), refusals);
        match (&self.dhcp_lease, self.domain()) {
            // How long the delegated prefix is turns out when the lease is there.
            (Some(_), _) => lan::check(&self.lan, ANY_LENGTH, refusals),
            (None, Err(error)) => refusals.add("", error),
            (None, Ok(domain)) => lan::check(&self.lan, domain.delegated_length(), refusals),
        }
        let of_lease =
            [("prefix", self.prefix.is_some()), ("v4-mask-len", self.v4_mask_len != 0), ("br", !self.br.is_empty())];
        for (key, is_given) in of_lease.into_iter().filter(|_| self.dhcp_lease.is_some()) {
            if is_given {
                let error = Error::usage("start a", self.role.describe(), format!("dhcp-lease brings {key}"));
                refusals.add(key, error.with_advice(format!("leave {key} out, or dhcp-lease")));
            }
        }
        // What the other role has.
        let (who, others): (_, &[(&'static str, bool, &'static str, &'static str)]) = match self.role {
            SixRdRole::BorderRelay => (
                "a border relay",
                &[
                    ("via", self.via.is_some(), "its customers send to one address", "give that as local"),
                    (
                        "dhcp-lease",
                        self.dhcp_lease.is_some(),
                        "it is what DHCP tells customers of",
                        "leave dhcp-lease out and give prefix, or take the role ce",
                    ),
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
        let lost = !self.lan.is_empty() && self.br.is_empty() && self.dhcp_lease.is_none();
        if lost { vec!["without br the hosts of the LANs hear of no default router".to_owned()] } else { Vec::new() }
    }

    pub(super) fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        let policy = self.outer().policy(POLICY);
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
        // The lease tells otherwise.
        let Some(prefix) = self.prefix else { return Ok(()) };
        let told = edge.configure(cx, prefix, self.v4_mask_len, self.br.iter().copied());
        told.map_err(|error| match error {
            ConfigureError::TableFull(full) => too_many("the 6rd domain", prefix, full),
            error => Error::usage("use the 6rd domain", prefix, error.to_string()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSpec;
    use super::*;

    fn edge(prefix: &str, v4_mask_len: u8) -> SixRd {
        let local = Some(Ipv4Addr::new(10, 100, 100, 1));
        SixRd { prefix: prefix.parse().ok(), v4_mask_len, local, ..SixRd::new() }
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
    fn s6r_12_s6r_14_the_domain_is_given_or_comes_by_dhcp() {
        let lease = SixRd { dhcp_lease: Some("/run/lease".into()), local: edge("::/0", 0).local, ..SixRd::new() };
        assert!(refused(&lease).is_empty());
        assert!(refused(&SixRd { lan: vec![LanOptions::new("eth1")], ..lease.clone() }).is_empty());
        assert_eq!(refused(&SixRd { dhcp_lease: None, ..lease.clone() }), [""]);
        let both = SixRd { dhcp_lease: lease.dhcp_lease.clone(), ..edge("2001:db8::/32", 8) };
        assert_eq!(refused(&both), ["prefix", "v4-mask-len"]);
        assert_eq!(refused(&SixRd { role: SixRdRole::BorderRelay, ..lease }), ["dhcp-lease"]);
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
