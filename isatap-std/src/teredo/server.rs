//! The server's side of the system.

use super::node::{Environment, Role};
use crate::error::Error;
use crate::netlink::sysctl;
use crate::node::LocatorSource;
use crate::node::status::{Status, Teredo};
use isatap_core::drop_reason::Counters;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::server;
use isatap_core::time::Instant;
use std::net::Ipv6Addr;

pub(super) type Machine = server::Server;

/// Answers at two addresses; what is for the native Internet the kernel forwards.
#[derive(Debug)]
pub(super) struct ServerRole {
    addresses: LocatorSource,
    there: Option<usize>,
}

impl ServerRole {
    pub(super) fn new(addresses: LocatorSource) -> Self {
        Self { addresses, there: None }
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
        warn_without_forwarding(env, "echo requests of clients to native hosts get no further");
        self.refresh(env)
    }

    fn refresh(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        let there = self.addresses.find(env.netlink, None)?.locators.len();
        if there < 2 && self.there != Some(there) {
            env.warn("one of the server's addresses is gone: clients do not qualify until it is back");
        }
        self.there = Some(there);
        Ok(())
    }

    fn describe(&self, _: Instant, machine: &Machine, status: &mut Status) {
        let config = machine.config();
        status.locators = vec![config.primary, config.secondary];
        status.teredo = Some(Teredo {
            state: "running".to_owned(),
            reason: None,
            server: Some(config.primary),
            port: SERVER_PORT,
            mapped: None,
            nat: None,
            server_heard: None,
            peers: Vec::new(),
        });
    }
}

/// On Linux the kernel forwards, when it is told to for all devices.
pub(super) fn warn_without_forwarding<M>(env: &mut Environment<'_, M>, consequence: &str) {
    let device = env.attachment.name().to_owned();
    let is_on = |device: &str| sysctl::ipv6(device, "forwarding").is_ok_and(|value| value != 0);
    if !(is_on("all") && is_on(&device)) {
        env.warn(format!(
            "the kernel does not forward IPv6, so {consequence}: \
             sysctl -w net.ipv6.conf.all.forwarding=1 net.ipv6.conf.{device}.forwarding=1"
        ));
    }
}
