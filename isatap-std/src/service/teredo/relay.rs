//! The relay's side of the system.

use super::LINK;
use crate::driver::{Driver, PARKED_PACKETS};
use crate::error::Error;
use crate::netlink::sysctl;
use crate::service::LocatorSource;
use crate::service::forwarding::Forwarding;
use crate::service::role::{self, Role, View};
use crate::service::status::{Status, Teredo, TeredoPeer};
use crate::udp_socket::UdpSocket;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::{Change, Event, LearnedAddress};
use isatap_core::packet::LinkId;
use isatap_core::teredo::addr::{Flags, link_local};
use isatap_core::teredo::peer::Peer;
use isatap_core::teredo::relay::{self, Wait};
use isatap_core::time::Expiry;

/// Rows for the clients of a network, and for those of them that have not answered yet: as
/// many as packets can wait for.
pub(super) const PEERS: usize = 16_384;
pub(super) const WAITS: usize = PARKED_PACKETS;

pub(super) type Machine = relay::Relay<Vec<Peer>, Vec<Wait>>;

type Environment<'n> = role::Environment<'n, RelayRole>;

/// Has the kernel's packets for `2001::/32`, and gives it those of the clients.
#[derive(Debug)]
pub(super) struct RelayRole {
    locators: LocatorSource,
    forwarding: Forwarding,
}

impl RelayRole {
    pub(super) fn new(locators: LocatorSource) -> Self {
        Self { locators, forwarding: Forwarding::default() }
    }
}

impl Role for RelayRole {
    type Machine = Machine;
    type Socket = UdpSocket;
    type Common = ();

    fn counters(driver: &Driver<Machine, UdpSocket>, _: LinkId) -> Option<&Counters<u64>> {
        Some(driver.machine().counters())
    }

    fn name(&self) -> &'static str {
        "teredo-relay"
    }

    fn locators(&self) -> &LocatorSource {
        &self.locators
    }

    fn start(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        self.switches_changed(env);
        // TER-5: so that the kernel has an address to speak from on the device.
        let config = env.driver.machine().config();
        let address = LearnedAddress {
            address: link_local(Flags::empty(), config.port, config.locator.address),
            prefix_length: 64,
            preferred_until: Expiry::NEVER,
            valid_until: Expiry::NEVER,
        };
        env.apply(&Event::Address { link: LINK, change: Change::Added, address });
        // TER-92: announcing it further is a routing daemon's.
        env.apply(&super::to_all_clients(Change::Added));
        Ok(())
    }

    fn switches_changed(&mut self, env: &mut Environment<'_>) {
        let forwards = sysctl::forwards_both_ways(env.attachment.name());
        let without = Some(("this relay is its own host's only", None));
        if let Some(notice) = self.forwarding.follow(forwards, without).and_then(|news| news.notice) {
            env.notice(&notice);
        }
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        env.find(&self.locators, None).map(drop)
    }

    fn event(&mut self, _: &mut Environment<'_>, _: &Event) -> Result<(), Error> {
        Ok(())
    }

    fn describe(&self, view: &View<'_, Self>, status: &mut Status) {
        status.forwarding = sysctl::forwards_both_ways(&status.dev);
        status.teredo = Some(Teredo {
            port: view.machine.config().port,
            peers: TeredoPeer::list(view.now, view.machine.peers().iter()),
            ..Teredo::running()
        });
    }
}
