//! The server's side of the system.

use super::node::{Environment, Role};
use super::secrets::Secrets;
use crate::error::Error;
use crate::netlink::sysctl;
use crate::node::LocatorSource;
use crate::node::status::{Status, Teredo};
use isatap_core::drop_reason::Counters;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::server;
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) type Machine = server::Server<Secrets>;

/// Answers at two addresses; what is for the native Internet the kernel forwards.
#[derive(Debug)]
pub(super) struct ServerRole {
    addresses: LocatorSource,
    there: Vec<Ipv4Addr>,
    is_told: bool,
    forwarding: Forwarding,
}

impl ServerRole {
    pub(super) fn new(addresses: LocatorSource) -> Self {
        Self { addresses, there: Vec::new(), is_told: false, forwarding: Forwarding::default() }
    }
}

impl Role for ServerRole {
    type Machine = Machine;

    const NAME: &'static str = "teredo-server";

    fn counters(machine: &Machine) -> &Counters<u64> {
        machine.counters()
    }

    fn address(&self, machine: &Machine) -> Option<Ipv6Addr> {
        Some(machine.link_local())
    }

    fn start(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        self.switches_changed(env);
        self.refresh(env)
    }

    fn switches_changed(&mut self, env: &mut Environment<'_, Machine>) {
        let forwards = sysctl::forwards(env.attachment.name());
        self.forwarding.tell(env, forwards, "echo requests of clients to native hosts get no further");
    }

    fn refresh(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        let found = self.addresses.find(env.netlink, None)?.locators;
        self.there = found.iter().map(|locator| locator.address).collect();
        let is_whole = self.there.len() >= 2;
        if !is_whole && !self.is_told {
            env.warn("one of the server's addresses is gone: clients do not qualify until it is back");
        }
        self.is_told = !is_whole;
        Ok(())
    }

    #[cfg(feature = "control")]
    fn wanted_locators(&self) -> &[Ipv4Addr] {
        self.addresses.fixed()
    }

    fn describe(&self, _: Instant, machine: &Machine, status: &mut Status) {
        let config = machine.config();
        status.locators.clone_from(&self.there);
        status.forwarding = sysctl::forwards(&status.dev);
        status.teredo = Some(Teredo { server: Some(config.primary), port: SERVER_PORT, ..Teredo::running() });
    }
}

/// Whether the kernel forwards, as it was told last.
#[derive(Debug, Default)]
pub(super) struct Forwarding {
    told: Option<bool>,
}

impl Forwarding {
    /// Tells what is new; `consequence` is what follows where the kernel does not forward.
    pub(super) fn tell<M>(&mut self, env: &mut Environment<'_, M>, forwards: bool, consequence: &str) {
        let before = self.told.replace(forwards);
        if before == Some(forwards) {
            return;
        }
        if !forwards {
            env.warn(format!(
                "the kernel does not forward IPv6, so {consequence}: sysctl -w net.ipv6.conf.all.forwarding=1"
            ));
        } else if before.is_some() {
            env.info("the kernel forwards IPv6 now");
        }
    }
}
