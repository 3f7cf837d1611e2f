//! The client's side of the system: the server's name, the own IPv4 address, what it says.

use super::node::{Environment, Role};
use super::{ServerName, stage_name};
use crate::error::Error;
use crate::node::LocatorSource;
use crate::node::status::{Status, Teredo, TeredoPeer};
use crate::resolve::{Answer, Entry, Failure, Resolver, Settings};
use isatap_core::drop_reason::Counters;
use isatap_core::link::Locator;
use isatap_core::teredo::authentication::Open;
use isatap_core::teredo::client;
use isatap_core::teredo::packet::DISCOVERY_GROUP;
use isatap_core::teredo::peer::Peer;
use isatap_core::teredo::qualify::{OfflineReason, Stage};
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// With room for a busy host; the oldest unverified peers go first.
pub(super) const PEERS: usize = 1024;

/// With 64 peers something can be under way at a time.
pub(super) type Machine = client::Client<Vec<Peer>, Open, 64>;

/// See the module.
#[derive(Debug)]
pub(super) struct ClientRole {
    server: ServerName,
    secondary: Option<Ipv4Addr>,
    resolver: Option<Resolver>,
    locators: LocatorSource,
    bind: Ipv4Addr,
    local_discovery: bool,
    known: Option<Ipv4Addr>,
    locator: Option<Locator>,
    underlay_mtu: Option<u16>,
    stage: Stage,
    failures: u32,
    ask_at: Option<Instant>,
}

/// The first wait after the name brought nothing; doubled each time.
const FIRST_RETRY: Duration = Duration::from_secs(10);
const LAST_RETRY: Duration = Duration::from_secs(600);

impl ClientRole {
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn new(
        server: ServerName,
        secondary: Option<Ipv4Addr>,
        bind: Ipv4Addr,
        local_discovery: bool,
    ) -> Result<Self, Error> {
        let resolver = match server.entry() {
            Entry::Address(_) => None,
            name @ Entry::Name(_) => {
                let mut settings = Settings::default();
                settings.routers.push(name.clone());
                let resolver = Resolver::new(settings);
                Some(resolver.map_err(|error| Error::refused("start", "the resolver's thread", error))?)
            }
        };
        let locators = match bind.is_unspecified() {
            true => LocatorSource::TowardRouter,
            false => LocatorSource::Fixed(vec![bind]),
        };
        Ok(Self {
            server,
            secondary,
            resolver,
            locators,
            bind,
            local_discovery,
            known: None,
            locator: None,
            underlay_mtu: None,
            stage: Stage::Offline(OfflineReason::NotStarted),
            failures: 0,
            ask_at: None,
        })
    }

    fn ask(&mut self) {
        self.ask_at = None;
        if let Some(resolver) = &mut self.resolver {
            // An answer that is under way already serves as well.
            let _ = resolver.request(&[]);
        }
    }

    fn use_server(&mut self, env: &mut Environment<'_, Machine>, server: Ipv4Addr) -> Result<(), Error> {
        let secondary = self.secondary.unwrap_or(Ipv4Addr::from_bits(server.to_bits().wrapping_add(1)));
        if self.known != Some(server) {
            self.known = Some(server);
            env.info(format!("server {server}, secondary {secondary}"));
            env.driver.machine_mut().set_servers(env.now, server, Some(secondary));
        }
        self.refresh(env)
    }

    fn answered(&mut self, env: &mut Environment<'_, Machine>, answer: Result<Answer, Failure>) -> Result<(), Error> {
        match answer {
            Ok(Answer { addresses, .. }) => {
                self.failures = 0;
                match addresses.first() {
                    // A name with several addresses may turn them around each time.
                    Some(_) if self.known.is_some_and(|known| addresses.contains(&known)) => Ok(()),
                    Some(first) => self.use_server(env, *first),
                    None => Ok(()),
                }
            }
            Err(failure) => {
                let wait = FIRST_RETRY.saturating_mul(1 << self.failures.min(16)).min(LAST_RETRY);
                self.failures += 1;
                self.ask_at = Some(env.now.saturating_add(wait));
                env.warn(format!(
                    "no Teredo server by the name {}: {failure}; asked again in {} s",
                    self.server,
                    wait.as_secs()
                ));
                Ok(())
            }
        }
    }

    /// `TER-52`: neighbours are looked for where the own address is, if at all.
    fn follow_group(&self, env: &mut Environment<'_, Machine>) {
        let group = SocketAddrV4::new(DISCOVERY_GROUP, isatap_core::teredo::addr::SERVER_PORT);
        env.driver.socket_mut().leave(*group.ip());
        if let Some(locator) = self.locator.filter(|_| self.local_discovery)
            && let Err(error) = env.driver.socket_mut().join(group, locator.address)
        {
            env.warn(error.to_string());
        }
    }

    fn tell_stage(&self, env: &mut Environment<'_, Machine>) {
        let status = env.driver.machine().status();
        match self.stage {
            Stage::Offline(OfflineReason::NotStarted) => {}
            Stage::Offline(reason) => {
                let next = "it is asked again after a pause; see isatap teredo qualify";
                env.warn(format!("no Teredo by {}: {}; {next}", self.server, reason.as_str()));
            }
            Stage::Qualified => {
                if let Some(mapping) = status.mapping {
                    env.info(format!("qualified behind a NAT ({}): seen as {mapping}", status.nat.as_str()));
                }
            }
            _ => {}
        }
    }
}

impl Role for ClientRole {
    type Machine = Machine;

    const NAME: &'static str = "teredo-client";

    fn counters(machine: &Machine) -> &Counters<u64> {
        machine.counters()
    }

    fn address(&self, machine: &Machine) -> Option<Ipv6Addr> {
        machine.address()
    }

    fn start(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        match self.server.entry() {
            Entry::Address(address) => {
                let address = *address;
                self.use_server(env, address)
            }
            Entry::Name(_) => {
                self.ask();
                Ok(())
            }
        }
    }

    fn refresh(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        let found = self.locators.find(env.netlink, self.known)?;
        self.underlay_mtu = found.mtu;
        let locator = found.locators.first().copied().filter(|_| self.known.is_some());
        if locator != self.locator {
            self.locator = locator;
            env.info(match locator {
                Some(locator) => format!("sends from {}", locator.address),
                None => "no IPv4 address to send from".to_owned(),
            });
            env.driver.machine_mut().set_locator(env.now, locator);
            self.follow_group(env);
        }
        Ok(())
    }

    fn turned(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        let stage = env.driver.machine().status().stage;
        // Maintenance is what an address takes to be kept: nothing to tell.
        let same = |stage| if stage == Stage::Maintenance { Stage::Qualified } else { stage };
        if same(stage) != same(self.stage) {
            self.stage = stage;
            self.tell_stage(env);
            if matches!(stage, Stage::Offline(OfflineReason::ServerSilent | OfflineReason::SecondarySilent)) {
                // The name may lead to another server by now.
                self.ask();
            }
        }
        Ok(())
    }

    fn resolver_fd(&self) -> Option<BorrowedFd<'_>> {
        self.resolver.as_ref().map(AsFd::as_fd)
    }

    fn resolved(&mut self, env: &mut Environment<'_, Machine>) -> Result<(), Error> {
        match self.resolver.as_mut().and_then(Resolver::try_recv) {
            Some(answer) => self.answered(env, answer),
            None => Ok(()),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.ask_at
    }

    fn handle_timeout(&mut self, _: &mut Environment<'_, Machine>) -> Result<(), Error> {
        self.ask();
        Ok(())
    }

    fn port(&self, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(self.bind, port)
    }

    fn port_failed(machine: &mut Machine, now: Instant, port: u16) {
        machine.port_failed(now, port);
    }

    fn describe(&self, now: Instant, machine: &Machine, status: &mut Status) {
        let own = machine.status();
        status.locators = self.locator.iter().map(|locator| locator.address).collect();
        status.underlay_mtu = self.underlay_mtu;
        let (state, reason) = stage_name(own.stage);
        status.teredo = Some(Teredo {
            state: state.to_owned(),
            reason: reason.map(str::to_owned),
            server: self.known,
            port: machine.config().port,
            mapped: own.mapping,
            nat: Some(own.nat.as_str().to_owned()),
            server_heard: own.mapping.map(|_| now.saturating_duration_since(own.server_heard).as_secs()),
            peers: TeredoPeer::list(now, machine.peers().iter()),
        });
    }
}
