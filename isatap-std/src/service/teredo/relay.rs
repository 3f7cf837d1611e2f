//! The relay's side of the system.

use super::node::{Environment, LINK, Role};
use super::server::Forwarding;
use crate::driver::PARKED_PACKETS;
use crate::error::Error;
use crate::netlink::sysctl;
use crate::node::LocatorSource;
use crate::node::status::{Status, Teredo, TeredoPeer};
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Change, Event, LearnedAddress};
use isatap_core::teredo::addr::{Flags, link_local};
use isatap_core::teredo::peer::Peer;
use isatap_core::teredo::relay::{self, Wait};
use isatap_core::time::{Expiry, Instant};
#[cfg(feature = "control")]
use std::net::Ipv4Addr;
use std::net::Ipv6Addr;

/// Rows for the clients of a network, and for those of them that have not answered yet: as
/// many as packets can wait for.
pub(super) const PEERS: usize = 16_384;
pub(super) const WAITS: usize = PARKED_PACKETS;

pub(super) type Machine = relay::Relay<Vec<Peer>, Vec<Wait>>;

/// Has the kernel's packets for `2001::/32`, and gives it those of the clients.
#[derive(Debug)]
pub(super) struct RelayRole {
    locators: LocatorSource,
    there: bool,
    forwarding: Forwarding,
}

impl RelayRole {
    pub(super) fn new(locators: LocatorSource) -> Self {
        Self { locators, there: true, forwarding: Forwarding::default() }
    }
}

fn own_address(machine: &Machine) -> Ipv6Addr {
    let config = machine.config();
    link_local(Flags::empty(), config.port, config.locator.address)
}

impl Role for RelayRole {
    type Machine = Machine;

    const NAME: &'static str = "teredo-relay";

    fn counters(machine: &Machine) -> &Counters<u64> {
        machine.counters()
    }

    fn address(&self, machine: &Machine) -> Option<Ipv6Addr> {
        Some(own_address(machine))
    }

    fn start(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        self.switches_changed(env);
        // TER-5: so that the kernel has an address to speak from on the device.
        let address = LearnedAddress {
            address: own_address(env.driver.machine()),
            prefix_length: 64,
            preferred_until: Expiry::NEVER,
            valid_until: Expiry::NEVER,
        };
        env.apply(&Event::Address { link: LINK, change: Change::Added, address });
        // TER-92: announcing it further is a routing daemon's.
        env.route_teredo(Change::Added);
        self.refresh(env)
    }

    fn switches_changed(&mut self, env: &mut Environment<'_, Machine>) {
        let forwards = sysctl::forwards_both_ways(env.attachment.name());
        self.forwarding.tell(env, forwards, "this relay is its own host's only");
    }

    fn refresh(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        let there = !self.locators.find(env.netlink, None)?.locators.is_empty();
        if self.there && !there {
            env.warn("the IPv4 address is gone: nobody is reached until it is back");
        }
        self.there = there;
        Ok(())
    }

    #[cfg(feature = "control")]
    fn wanted_locators(&self) -> &[Ipv4Addr] {
        self.locators.fixed()
    }

    fn describe(&self, now: Instant, machine: &Machine, status: &mut Status) {
        let config = machine.config();
        status.locators = if self.there { vec![config.locator.address] } else { Vec::new() };
        status.forwarding = sysctl::forwards_both_ways(&status.dev);
        status.teredo = Some(Teredo {
            port: config.port,
            peers: TeredoPeer::list(now, machine.peers().iter()),
            ..Teredo::running()
        });
    }
}
