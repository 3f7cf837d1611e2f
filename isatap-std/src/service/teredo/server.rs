//! The server's side of the system.

use crate::driver::Driver;
use crate::error::Error;
use crate::netlink::sysctl;
use crate::service::LocatorSource;
use crate::service::forwarding::Forwarding;
use crate::service::role::{self, Role, View};
use crate::service::status::{Status, Teredo};
use crate::teredo::secrets::Secrets;
use crate::udp_socket::UdpSocket;
use isatap_core::drop_reason::Counters;
use isatap_core::engine::Event;
use isatap_core::packet::LinkId;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::server;
use std::net::Ipv6Addr;

pub(super) type Machine = server::Server<Secrets>;

type Environment<'n> = role::Environment<'n, ServerRole>;

/// Answers at two addresses; what is for the native Internet the kernel forwards.
#[derive(Debug)]
pub(super) struct ServerRole {
    addresses: LocatorSource,
    is_told: bool,
    forwarding: Forwarding,
}

impl ServerRole {
    pub(super) fn new(addresses: LocatorSource) -> Self {
        Self { addresses, is_told: false, forwarding: Forwarding::default() }
    }
}

impl Role for ServerRole {
    type Machine = Machine;
    type Socket = UdpSocket;
    type Common = ();

    fn counters(driver: &Driver<Machine, UdpSocket>, _: LinkId) -> Option<&Counters<u64>> {
        Some(driver.machine().counters())
    }

    fn name(&self) -> &'static str {
        "teredo-server"
    }

    fn locators(&self) -> &LocatorSource {
        &self.addresses
    }

    fn address(&self, machine: &Machine) -> Option<Ipv6Addr> {
        Some(machine.link_local())
    }

    fn start(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        self.switches_changed(env);
        Ok(())
    }

    fn switches_changed(&mut self, env: &mut Environment<'_>) {
        let forwards = sysctl::forwards(env.attachment.name());
        let without = Some(("echo requests of clients to native hosts get no further", None));
        if let Some(notice) = self.forwarding.follow(forwards, without).and_then(|news| news.notice) {
            env.notice(&notice);
        }
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        env.find(&self.addresses, None)?;
        let is_whole = env.found.locators.len() >= 2;
        if !is_whole && !self.is_told {
            env.warn(format!(
                "{}: one of the server's addresses is gone: clients do not qualify until it is back",
                env.attachment.name()
            ));
        }
        self.is_told = !is_whole;
        Ok(())
    }

    fn event(&mut self, _: &mut Environment<'_>, _: &Event) -> Result<(), Error> {
        Ok(())
    }

    fn describe(&self, view: &View<'_, Self>, status: &mut Status) {
        status.forwarding = sysctl::forwards(&status.dev);
        let config = view.machine.config();
        status.teredo = Some(Teredo { server: Some(config.primary), port: SERVER_PORT, ..Teredo::running() });
    }
}
