//! A configured tunnel: both IPv4 ends are given. [RFC 4213 §3]

use super::field::spec;
use super::update_url::without_secrets;
use super::{AddressWithLength, LanOptions, Refusals, UpdateUrl, check_local, check_locator, lan, too_many};
use crate::error::Error;
use crate::resolve::Entry;
use isatap_core::capacity::Capacity;
use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::interface::Context;
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use isatap_core::prefix::Ipv6Prefix;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

/// The device when nothing else is asked for.
const DEVICE: &str = "tun6in4";

spec! { tunnel(DEVICE)
    /// Run a configured tunnel (6in4): both IPv4 ends are given, as those of a tunnel broker or of
    /// Linux's `mode sit`.
    ///
    /// The prefix of each address is on-link there. With a default route and LANs it is what a tunnel
    /// broker gives: the kernel forwards, if it is told to: sysctl net.ipv6.conf.all.forwarding=1. Other
    /// routes are yours: ip -6 route add 2001:db8:5::/48 dev tun6in4 metric 2049.
    // TUN-60
    Tunnel {
        /// This end's IPv4 address. While this machine does not have it, the tunnel waits.
        local: Option<Ipv4Addr> ["V4"], arg(conflicts_with = "via");
        /// Send from the first IPv4 address of this device instead, whichever that is at the time.
        via: Option<String> ["DEV"];
        /// The other end's IPv4 address, or its name, which is looked up from time to time.
        remote: Entry ["V4|NAME"], new(remote);
        /// An address of this node on the tunnel; its prefix is on-link there. May be repeated.
        address: Vec<AddressWithLength> ["P/LEN"];
        /// Send everything into the tunnel that has no nearer route.
        default_route: bool;
        /// The prefix that the other end routes to this one, for LANs: at most 64 bits long.
        routed_prefix: Option<Ipv6Prefix> ["P/LEN"];
        /// Give the LAN of this device a /64 of routed-prefix: put an address there, and advertise the
        /// prefix to its hosts. SUBNET is hexadecimal, as it stands in the address; left out, it is the
        /// number of the interface. May be repeated.
        lan: Vec<LanOptions> ["DEV[:SUBNET]"];
        /// Ask the other end whether it is still there.
        neighbor_probes: bool, unless("no-neighbor-probes");
        /// Call this URL of the tunnel broker at the start and when this end's IPv4 address changes, from
        /// that address: https://HOST/nic/update?hostname=ID&myip={address} where the broker speaks dyndns2,
        /// as Hurricane Electric's does. Behind a NAT leave {address} out: the broker takes the
        /// address that it sees, and is called again while the other end is silent. The call leaves by
        /// bind-device too, and without the mark.
        update_url: Option<UpdateUrl> ["URL"];
        /// The file with USER:PASSWORD for update-url, in one line; others may neither read nor write it. They are sent
        /// as HTTP Basic authentication, or where the URL says {user} and {password}.
        update_login: Option<PathBuf> ["FILE"];
        /// The file with the certificates of the CAs (PEM) that may have signed for update-url's server.
        /// Without it those of the system.
        update_ca: Option<PathBuf> ["FILE"];
    }
}

impl Tunnel {
    pub(super) fn resolve(&mut self) {
        self.resolve_outer(OuterPolicy::DEFAULT);
        // Of addresses that are as near to a destination, the first is the source.
        super::once(&mut self.address);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        check_local(self.local, self.via.as_deref(), "tunnel", refusals);
        // TUN-4
        if let Entry::Address(remote) = self.remote
            && (check_locator(remote).is_err() || Some(remote) == self.local)
        {
            let error = Error::usage("send to", remote, "it is no other host's address");
            refusals.add("remote", error.with_advice("give the IPv4 address of the other end"));
        }
        self.refuse_lans(refusals);
        self.refuse_update(refusals);
        for AddressWithLength(own) in &self.address {
            let address = own.address;
            let is_unicast = !address.is_multicast() && !address.is_unspecified() && !address.is_loopback();
            let (why, advice) = if !is_unicast || own.prefix().is_none() || address.to_ipv4_mapped().is_some() {
                ("it is no unicast address", "write one of this node's, such as 2001:db8:77::2/64".to_owned())
            } else if own.prefix_length < 127 && own.prefix().is_some_and(|prefix| prefix.address() == address) {
                let first = Ipv6Addr::from_bits(address.to_bits() | 1);
                (
                    "it is the prefix, without this node's own part",
                    format!("write {first}/{}, for example", own.prefix_length),
                )
            } else {
                continue;
            };
            refusals.add("address", Error::usage("use the address", address, why).with_advice(advice));
        }
    }

    fn refuse_lans(&self, refusals: &mut Refusals) {
        let Some(routed) = self.routed_prefix else {
            if let Some(lan) = self.lan.first() {
                let error = Error::usage("give a prefix to the LAN", lan, "there is no prefix to take it from");
                refusals.add("lan", error.with_advice("give routed-prefix: the one that the other end routes here"));
            }
            return;
        };
        let address = routed.address();
        if address.is_multicast() || address.is_unicast_link_local() || routed.is_default() {
            let error = Error::usage("use the routed prefix", routed, "no site has such a prefix");
            refusals.add("routed-prefix", error.with_advice("give the one that the other end routes here"));
        }
        lan::check(&self.lan, routed.length(), refusals);
    }

    fn refuse_update(&self, refusals: &mut Refusals) {
        let shown = |url: &UpdateUrl| without_secrets(&url.to_string());
        let files = [("update-login", &self.update_login), ("update-ca", &self.update_ca)];
        let given = files.into_iter().filter_map(|(key, file)| Some((key, file.as_ref()?.display())));
        let mut refuse = |key, error: Error, advice: String| refusals.add(key, error.with_advice(advice));
        match &self.update_url {
            None => {
                for (key, file) in given {
                    let error = Error::usage(format!("use {key}"), file, "there is no URL to call");
                    refuse(key, error, "give update-url".to_owned());
                }
            }
            Some(url) if cfg!(not(feature = "update-url")) => {
                let error = Error::usage("call", shown(url), "this program was built without a client of HTTP");
                refuse("update-url", error, "build it with the feature update-url".to_owned());
            }
            Some(url) if url.has_login() && self.update_login.is_none() => {
                let error = Error::usage("call", shown(url), "nobody says what {user} and {password} are");
                refuse("update-url", error, "give update-login".to_owned());
            }
            Some(url) if !url.is_https() => {
                if let Some(file) = &self.update_ca {
                    let error = Error::usage("use update-ca", file.display(), "http has no certificates");
                    refuse("update-ca", error, "write https in update-url".to_owned());
                }
            }
            Some(_) => {}
        }
    }

    pub(super) fn warnings(&self) -> Vec<String> {
        let lost = !self.lan.is_empty() && !self.default_route;
        let open = self.update_login.is_some() && self.update_url.as_ref().is_some_and(|url| !url.is_https());
        let is_marked = self.update_url.is_some() && self.mark.is_some_and(|mark| mark.0 != 0);
        let told = [
            (lost, "without default-route the hosts of the LANs hear of no default router"),
            (open, "update-url sends the password unencrypted: write https if the broker has it"),
            (
                is_marked,
                "update-url is called without the mark: where that chooses the way, write bind-device too, or have the \
                 address choose it: ip rule add from V4 lookup TABLE",
            ),
        ];
        told.into_iter().filter(|(is_so, _)| *is_so).map(|(_, text)| text.to_owned()).collect()
    }

    pub(super) fn interface<C: Capacity>(&self) -> AnyInterface<C> {
        let mut config = Config::DEFAULT;
        config.local = self.local;
        config.remote = match self.remote {
            Entry::Address(remote) => Some(remote),
            Entry::Name(_) => None,
        };
        config.policy = self.outer().policy(OuterPolicy::DEFAULT);
        // TUN-62
        config.probe_remote = self.neighbor_probes;
        AnyInterface::Configured(ConfiguredInterface::new(config))
    }

    pub(super) fn tell<C: Capacity>(
        &self,
        tunnel: &mut ConfiguredInterface<C>,
        cx: &mut Context<'_, C>,
    ) -> Result<(), Error> {
        for AddressWithLength(own) in &self.address {
            tunnel.add_address(cx, *own).map_err(|full| too_many("the address", own.address, full))?;
        }
        let routed = self.routed_prefix;
        let told = tunnel.set_routed_prefix(cx, routed).and(tunnel.set_default_route(cx, self.default_route));
        told.map_err(|full| too_many("the routes of", &self.dev, full))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{LinkSpec, Mark};
    use super::*;

    #[test]
    fn tun_4_ends_that_cannot_be_are_refused_before_anything_is_made() {
        let refused = |local: &str, remote: &str| {
            let tunnel = Tunnel { local: local.parse().ok(), ..Tunnel::new(remote.parse().unwrap()) };
            LinkSpec::from(tunnel).check().iter().map(|refusal| refusal.key).collect::<Vec<_>>()
        };
        assert!(refused("192.0.2.1", "192.0.2.2").is_empty());
        for (local, remote, key) in [
            ("192.0.2.1", "192.0.2.1", "remote"),
            ("192.0.2.1", "224.0.0.1", "remote"),
            ("192.0.2.1", "255.255.255.255", "remote"),
            ("127.0.0.1", "192.0.2.2", "local"),
            ("192.0.2.1", "0.0.0.0", "remote"),
            ("", "192.0.2.2", ""),
        ] {
            assert_eq!(refused(local, remote), [key], "{local} {remote}");
        }
        let mut tunnel = Tunnel { via: Some("eth0".to_owned()), ..Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into()) };
        assert!(LinkSpec::from(tunnel.clone()).check().is_empty());
        tunnel.address.push("ff02::1/64".parse().unwrap());
        assert_eq!(LinkSpec::from(tunnel).check()[0].key, "address");
    }

    /// The thread that calls may not mark packets.
    #[test]
    fn a_call_that_leaves_without_the_mark_is_warned_of() {
        let warned = |url: Option<&str>, mark| {
            let mut tunnel = Tunnel::new(Ipv4Addr::new(192, 0, 2, 2).into());
            (tunnel.update_url, tunnel.mark) = (url.map(|url| url.parse().unwrap()), mark);
            tunnel.warnings().iter().any(|warning| warning.contains("called without the mark"))
        };
        let url = Some("https://broker.example/");
        assert!(warned(url, Some(Mark(16))));
        assert!(!warned(url, None) && !warned(url, Some(Mark(0))) && !warned(None, Some(Mark(16))));
    }

    #[test]
    fn a_lan_has_its_prefix_of_the_one_that_is_routed_here() {
        let refused = |routed: Option<&str>, lans: &[&str]| {
            let mut tunnel = Tunnel::new("broker.example".parse().unwrap());
            tunnel.local = Some(Ipv4Addr::new(192, 0, 2, 1));
            tunnel.routed_prefix = routed.map(|routed| routed.parse().unwrap());
            tunnel.lan = lans.iter().map(|lan| lan.parse().unwrap()).collect();
            LinkSpec::from(tunnel).check().iter().map(|refusal| refusal.key).collect::<Vec<_>>()
        };
        assert!(refused(Some("2001:db8:9::/48"), &["eth1:1", "eth2:2"]).is_empty());
        assert!(refused(Some("2001:db8:9::/64"), &["eth1:1"]).is_empty());
        for (routed, lans) in [
            (None, &["eth1:1"][..]),
            (Some("2001:db8:9::/64"), &["eth1:1", "eth2:2"]),
            (Some("2001:db8:9::/56"), &["eth1:100"]),
            (Some("2001:db8:9::/72"), &["eth1:1"]),
        ] {
            assert_eq!(refused(routed, lans), ["lan"], "{routed:?} {lans:?}");
        }
        assert_eq!(refused(Some("fe80::/64"), &[]), ["routed-prefix"]);
    }
}
