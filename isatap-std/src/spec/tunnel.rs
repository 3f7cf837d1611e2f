//! A configured tunnel: both IPv4 ends are given. [RFC 4213 §3]

use super::field::spec;
use super::{AddressWithLength, Refusals, check_local, check_locator, too_many};
use crate::error::Error;
use isatap_core::capacity::Capacity;
use isatap_core::configured::{Config, ConfiguredInterface};
use isatap_core::interface::Context;
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The device when nothing else is asked for.
const DEVICE: &str = "tun6in4";

spec! { tunnel(DEVICE)
    /// Run a configured tunnel (6in4): both IPv4 ends are given, as those of a tunnel broker or of
    /// Linux's `mode sit`.
    ///
    /// The prefix of each address is on-link there. Other routes are yours: ip -6 route add default dev
    /// tun6in4 metric 2049.
    // TUN-60
    Tunnel {
        /// This end's IPv4 address. While this machine does not have it, the tunnel waits.
        local: Option<Ipv4Addr> ["V4"], arg(conflicts_with = "via");
        /// Send from the first IPv4 address of this device instead, whichever that is at the time.
        via: Option<String> ["DEV"];
        /// The other end's IPv4 address.
        remote: Ipv4Addr ["V4"], new(remote);
        /// An address of this node on the tunnel; its prefix is on-link there. May be repeated.
        address: Vec<AddressWithLength> ["P/LEN"];
        /// Ask the other end whether it is still there.
        neighbor_probes: bool, unless("no-neighbor-probes");
    }
}

impl Tunnel {
    pub(super) fn resolve(&mut self) {
        self.resolve_outer();
        // Of addresses that are as near to a destination, the first is the source.
        super::once(&mut self.address);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.check_outer(refusals);
        check_local(self.local, self.via.as_deref(), "tunnel", refusals);
        // TUN-4
        if check_locator(self.remote).is_err() || Some(self.remote) == self.local {
            let error = Error::usage("send to", self.remote, "it is no other host's address");
            refusals.add("remote", error.with_advice("give the IPv4 address of the other end"));
        }
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

    pub(super) fn interface<C: Capacity>(&self) -> AnyInterface<C> {
        let mut config = Config::DEFAULT;
        (config.local, config.remote) = (self.local, Some(self.remote));
        config.policy = self.policy(OuterPolicy::DEFAULT);
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSpec;
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
        let mut tunnel = Tunnel { via: Some("eth0".to_owned()), ..Tunnel::new(Ipv4Addr::new(192, 0, 2, 2)) };
        assert!(LinkSpec::from(tunnel.clone()).check().is_empty());
        tunnel.address.push("ff02::1/64".parse().unwrap());
        assert_eq!(LinkSpec::from(tunnel).check()[0].key, "address");
    }
}
