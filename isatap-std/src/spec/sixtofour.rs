//! A 6to4 router, host/router or relay. [RFC 3056, RFC 3964, RFC 7526]

use super::field::spec;
use super::{LanOptions, Refusals, check_locator, lan, too_many};
use crate::error::Error;
use crate::resolve::{Entry, Settings};
use isatap_core::capacity::Capacity;
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use isatap_core::sixtofour::ingress;
use isatap_core::sixtofour::{Relay, RelayConfig, RelayInterface, RouterConfig, RouterInterface};
use std::net::Ipv4Addr;

/// The device when nothing else is asked for.
const DEVICE: &str = "tun6to4";

/// A site's prefix has as many bits. [RFC 3056 §2]
const SITE_LENGTH: u8 = 48;

/// What a node is to 6to4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "args", derive(clap::ValueEnum))]
#[cfg_attr(feature = "file", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum SixToFourRole {
    // RTE-7, S64-33
    /// A host that is its own router, and nobody else's.
    #[default]
    HostRouter,
    /// The router of a site.
    Router,
    /// A relay between 6to4 sites and the native Internet.
    Relay,
}

impl SixToFourRole {
    pub(super) fn describe(self) -> &'static str {
        match self {
            SixToFourRole::HostRouter => "6to4 host/router",
            SixToFourRole::Router => "6to4 router",
            SixToFourRole::Relay => "6to4 relay",
        }
    }
}

spec! { names tunnel(DEVICE)
    /// Run 6to4 on public IPv4: a host that is its own router, a site's router, or a relay.
    ///
    /// Without a relay other 6to4 sites are reached, and the native Internet is not. A relay of your own
    /// or of your provider's is meant: public ones are rare today.
    ///
    /// A router with LANs: the kernel forwards, if it is told to: sysctl
    /// net.ipv6.conf.all.forwarding=1 (devices that learn their own addresses from a router need
    /// accept_ra=2 then). Hosts get a default router only with a relay. When the IPv4 address changes, and
    /// at the end, they hear that the old prefix is not to be used any more; the end takes up to 4 seconds
    /// then.
    SixToFour {
        /// host-router serves this machine alone, and rests while it has native IPv6.
        role: SixToFourRole ["ROLE"] = SixToFourRole::HostRouter, arg(value_enum);
        /// A public IPv4 address of this machine. May be repeated; all of them if left out.
        local: Vec<Ipv4Addr> ["V4"];
        /// The way to the native Internet; 192.88.99.1 is deprecated.
        relay: Option<Entry> ["V4|NAME"];
        /// Rely on the relay only while it answers.
        probe_relay: bool;
        /// host-router: work beside native IPv6 too.
        beside_native: bool;
        /// Accept packets with native sources only from this relay, from others so named and from
        /// 192.88.99.1. May be repeated.
        accept_relay: Vec<Ipv4Addr> ["V4"];
        /// relay: work only for 6to4 routers with these IPv4 addresses. May be repeated. Without it the
        /// relay works for everybody.
        client: Vec<Ipv4Prefix> ["V4/LEN"];
        /// relay: answer at 192.88.99.1 too, which this machine has to have; deprecated.
        anycast: bool;
        /// router: give the LAN of this device a /64 of the site's prefix: put an address there, and
        /// advertise the prefix to its hosts. SUBNET is hexadecimal, as it stands in the address; left
        /// out, it is the number of the interface. May be repeated.
        lan: Vec<LanOptions> ["DEV[:SUBNET]"];
        /// Let IPv4 addresses count as public that are not global, such as private and documentation
        /// ones, for labs.
        accept_bogons: bool;
    }
}

impl SixToFour {
    /// What to do where this machine does not have the anycast address.
    pub(crate) const ANYCAST_ADVICE: &str = "add it first: ip address add 192.88.99.1/32 dev lo; or leave anycast out";

    /// The IPv4 addresses that it is given, the anycast one too; none: all public ones.
    pub(super) fn locals(&self) -> Vec<Ipv4Addr> {
        let mut locals = self.local.clone();
        // S64-31
        if self.anycast && !locals.is_empty() && !locals.contains(&ANYCAST_RELAY) {
            locals.push(ANYCAST_RELAY);
        }
        locals
    }

    /// How the name of the relay is looked up; `None`: it has none.
    pub(crate) fn settings(&self) -> Option<Settings> {
        let named = |relay: &&Entry| matches!(relay, Entry::Name(_));
        self.relay.as_ref().filter(named).map(|relay| self.name_options().settings(vec![relay.clone()]))
    }

    pub(super) fn resolve(&mut self) {
        self.resolve_outer(OuterPolicy::DEFAULT);
        self.resolve_names();
        self.local = self.locals();
        super::sort(&mut self.accept_relay);
        super::sort(&mut self.client);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        self.name_options().refuse(refusals);
        for local in &self.local {
            if let Err(error) = check_locator(*local) {
                refusals.add("local", error);
                continue;
            }
            // S64-1
            let is_anycast = self.anycast && *local == ANYCAST_RELAY;
            if !is_anycast && !ingress::locator(*local, self.accept_bogons) {
                let error = Error::usage("make a 6to4 site of", local, "it is no public IPv4 address");
                refusals
                    .add("local", error.with_advice("use ISATAP or 6rd on private IPv4; --accept-bogons is for labs"));
            }
        }
        let is_relay = self.role == SixToFourRole::Relay;
        let not_a_relays = "leave it out, or take another role";
        // S64-23
        let is_router = self.role == SixToFourRole::Router;
        for (key, is_given, why, advice) in [
            ("relay", is_relay && self.relay.is_some(), "a relay needs none", not_a_relays),
            ("probe-relay", is_relay && self.probe_relay, "a relay has none to ask", not_a_relays),
            ("beside-native", is_relay && self.beside_native, "a relay works beside native IPv6 anyway", not_a_relays),
            ("accept-relay", is_relay && !self.accept_relay.is_empty(), "only a router chooses relays", not_a_relays),
            ("client", !is_relay && !self.client.is_empty(), "only a relay has clients", "give it the role relay"),
            ("anycast", !is_relay && self.anycast, "only a relay has the anycast address", "give it the role relay"),
            ("lan", !is_router && !self.lan.is_empty(), "only a router has LANs", "give it the role router"),
        ] {
            if is_given {
                refusals.add(key, Error::usage("start a", self.role.describe(), why).with_advice(advice));
            }
        }
        lan::check(&self.lan, SITE_LENGTH, refusals);
        if let Some(Entry::Address(relay)) = self.relay {
            let (why, advice) = if !ingress::is_usable(relay, self.accept_bogons) {
                ("it is no public IPv4 address", "--accept-bogons is for labs")
            } else if self.local.contains(&relay) {
                ("it is this router's own address", "name the relay's")
            } else {
                return;
            };
            refusals.add("relay", Error::usage("use the relay", relay, why).with_advice(advice));
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.role == SixToFourRole::Relay && self.client.is_empty() {
            warnings.push("without client this relay works for every 6to4 site that can reach it".to_owned());
        }
        if !self.lan.is_empty() && self.relay.is_none() {
            warnings.push("without relay the hosts of the LANs hear of no default router".to_owned());
        }
        warnings
    }

    pub(super) fn interface<C: Capacity>(&self) -> Result<AnyInterface<C>, Error> {
        let policy = self.outer().policy(OuterPolicy::DEFAULT);
        if self.role == SixToFourRole::Relay {
            let mut config = RelayConfig::DEFAULT;
            (config.policy, config.accept_bogons, config.anycast) = (policy, self.accept_bogons, self.anycast);
            let mut relay = RelayInterface::new(config);
            for client in &self.client {
                relay.add_client(*client).map_err(|full| too_many("the client", client, full))?;
            }
            return Ok(AnyInterface::SixToFourRelay(relay));
        }
        let mut config = RouterConfig::DEFAULT;
        (config.policy, config.accept_bogons, config.probe_relay) = (policy, self.accept_bogons, self.probe_relay);
        // S64-33
        config.only_without_native = self.role == SixToFourRole::HostRouter && !self.beside_native;
        config.relay = match &self.relay {
            None => Relay::None,
            Some(Entry::Address(ANYCAST_RELAY)) => Relay::Anycast,
            Some(Entry::Address(address)) => Relay::Address(*address),
            Some(Entry::Name(_)) => Relay::Name,
        };
        let mut router = RouterInterface::new(config);
        // S64-24
        for relay in &self.accept_relay {
            router.accept_relay(*relay).map_err(|full| too_many("the relay", relay, full))?;
        }
        Ok(AnyInterface::SixToFourRouter(router))
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSpec;
    use super::*;

    fn at(role: SixToFourRole, local: &str) -> SixToFour {
        SixToFour { role, local: vec![local.parse().unwrap()], ..SixToFour::new() }
    }

    fn refused(sixtofour: &SixToFour) -> Vec<String> {
        LinkSpec::from(sixtofour.clone()).check().iter().map(|refusal| refusal.error.to_string()).collect()
    }

    #[test]
    fn s64_1_private_and_documentation_ipv4_make_a_site_only_in_labs() {
        assert!(refused(&at(SixToFourRole::Router, "131.107.0.1")).is_empty());
        for (local, in_labs) in [
            ("192.0.2.1", true),
            ("10.0.0.1", true),
            ("169.254.0.1", false),
            ("127.0.0.1", false),
            ("240.0.0.1", false),
        ] {
            assert_eq!(refused(&at(SixToFourRole::Router, local)).len(), 1, "{local}");
            let bogon = SixToFour { accept_bogons: true, ..at(SixToFourRole::Router, local) };
            assert_eq!(refused(&bogon).is_empty(), in_labs, "{local}");
        }
    }

    #[test]
    fn s64_31_only_a_relay_that_is_told_to_has_the_anycast_address() {
        assert_eq!(refused(&at(SixToFourRole::Relay, "192.88.99.1")).len(), 1);
        let anycast = |role, local| SixToFour { anycast: true, ..at(role, local) };
        assert!(refused(&anycast(SixToFourRole::Relay, "192.88.99.1")).is_empty());
        assert_eq!(refused(&anycast(SixToFourRole::Router, "131.107.0.1")).len(), 1);
        let both = anycast(SixToFourRole::Relay, "131.107.0.1").locals();
        assert_eq!(both, [Ipv4Addr::new(131, 107, 0, 1), ANYCAST_RELAY], "with its own address beside it");
    }

    #[test]
    fn s64_23_only_a_router_has_lans() {
        let with_lan = |role| SixToFour { lan: vec![LanOptions::new("eth1")], ..at(role, "131.107.0.1") };
        assert!(refused(&with_lan(SixToFourRole::Router)).is_empty());
        for role in [SixToFourRole::HostRouter, SixToFourRole::Relay] {
            let refusals = refused(&with_lan(role));
            assert!(refusals[0].contains("only a router has LANs"), "{refusals:?}");
        }
    }

    #[test]
    fn a_relay_needs_no_relay_and_nobody_is_his_own() {
        let with_relay =
            |role, relay: &str| SixToFour { relay: Some(relay.parse().unwrap()), ..at(role, "131.107.0.1") };
        assert_eq!(refused(&with_relay(SixToFourRole::Relay, "131.107.0.9")).len(), 1);
        assert!(refused(&with_relay(SixToFourRole::HostRouter, "131.107.0.9")).is_empty());
        assert_eq!(refused(&with_relay(SixToFourRole::HostRouter, "131.107.0.1")).len(), 1);
    }
}
