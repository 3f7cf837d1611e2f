//! Automatic tunnelling to IPv4-compatible addresses. [RFC 2893 §5]

use super::field::spec;
use super::{Refusals, check_locator};
use isatap_core::capacity::Capacity;
use isatap_core::compatible::CompatibleInterface;
use isatap_core::link::OuterPolicy;
use isatap_core::node::AnyInterface;
use std::net::Ipv4Addr;

/// The device when nothing else is asked for.
const DEVICE: &str = "tuncompat";

spec! { tunnel(DEVICE)
    /// Tunnel to IPv4-compatible addresses (::/96): each host's IPv6 address is its IPv4 address behind 96
    /// zero bits, such as ::192.0.2.1.
    ///
    /// This is history (RFC 4291 deprecates the addresses), to talk to what is left of it, such as Linux's
    /// sit0. Each host speaks for itself alone: packets for other machines are dropped, even where the
    /// kernel forwards.
    // TUN-70, TUN-71
    Compatible {
        /// Send from this IPv4 address of this machine, and have its IPv6 address. May be repeated.
        local: Vec<Ipv4Addr> ["V4"], new(local);
    }
}

impl Compatible {
    pub(super) fn resolve(&mut self) {
        self.resolve_outer(OuterPolicy::DEFAULT);
        // The first is the source where a packet has none yet.
        super::once(&mut self.local);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        self.outer().check(refusals);
        for local in &self.local {
            refusals.note("local", check_locator(*local));
        }
    }

    pub(super) fn interface<C: Capacity>(&self) -> AnyInterface<C> {
        AnyInterface::Compatible(CompatibleInterface::new(self.outer().policy(OuterPolicy::DEFAULT)))
    }
}

#[cfg(test)]
mod tests {
    use super::super::LinkSpec;
    use super::*;

    #[test]
    fn tun_71_addresses_that_no_host_can_have_are_refused() {
        for (local, refused) in [
            ("192.0.2.1", 0),
            ("10.0.0.1", 0),
            ("127.0.0.1", 1),
            ("224.0.0.1", 1),
            ("0.0.0.0", 1),
            ("255.255.255.255", 1),
        ] {
            let refusals = LinkSpec::from(Compatible::new(vec![local.parse().unwrap()])).check();
            assert_eq!(refusals.len(), refused, "{local}: {refusals:?}");
        }
    }
}
