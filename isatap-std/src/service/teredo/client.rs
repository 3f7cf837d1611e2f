//! The client's side of the system: the server's name, the own IPv4 address, what it says.

use crate::driver::Driver;
use crate::error::Error;
use crate::resolve::{Answer, Entry};
use crate::service::elsewhere;
#[cfg(feature = "control")]
use crate::service::evidence::Evidence;
use crate::service::question::Question;
use crate::service::role::{self, Role, SolicitedBy, View};
use crate::service::status::{PortMappingStatus, Status, Teredo, TeredoPeer};
use crate::service::{LinkEvent, LocatorSource, Notice};
use crate::spec::{DEFAULT_METRIC, ServerName, TeredoClient};
use crate::teredo::filtering::{Asker, LetsIn, Question as NatQuestion, nat_name};
use crate::teredo::port_mapping::{Mapped, Mapper};
use crate::teredo::secrets::Secrets;
use crate::teredo::stage_name;
use crate::udp_socket::UdpSocket;
use isatap_core::drop_reason::{Counters, DropReason};
use isatap_core::engine::{Change, Event};
use isatap_core::link::Locator;
use isatap_core::packet::LinkId;
use isatap_core::route::Route;
use isatap_core::teredo::client;
use isatap_core::teredo::packet::DISCOVERY_GROUP;
use isatap_core::teredo::peer::Peer;
use isatap_core::teredo::qualify::{NatKind, OfflineReason, Stage};
use isatap_core::time::Instant;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};

/// With room for a busy host; the oldest unverified peers go first.
pub(super) const PEERS: usize = 1024;

/// With 64 peers something can be under way at a time.
pub(super) type Machine = client::Client<Vec<Peer>, Secrets, 64>;

/// See the module.
#[derive(Debug)]
pub(super) struct ClientRole {
    server: ServerName,
    secondary: Option<Ipv4Addr>,
    name: Option<Question>,
    locators: LocatorSource,
    bind: Ipv4Addr,
    local_discovery: bool,
    beside_native: bool,
    /// The device beside which it rests; `None`: it works.
    yields_to: Option<String>,
    known: Option<Ipv4Addr>,
    locator: Option<Locator>,
    stage: Stage,
    /// Answers without the secret, counted when the attempt that is under way began.
    refused_before: u64,
    client_id: Option<String>,
    port: u16,
    mapper: Option<Mapper>,
    mapping: Option<Result<Mapped, String>>,
    secrets: Secrets,
    accept_bogons: bool,
    asker: Asker,
    /// What was asked last of the NAT, and whom it lets in.
    nat: Option<(NatQuestion, Option<LetsIn>)>,
}

/// The default route yields to every other: Teredo is for who has nothing better. The
/// kernel's last number stands for "no route".
const LAST_METRIC: u32 = u32::MAX - 1;

type Environment<'n> = role::Environment<'n, ClientRole>;

impl ClientRole {
    /// # Errors
    ///
    /// No thread for the resolver.
    pub(super) fn new(spec: &TeredoClient, port: u16, secrets: Secrets, mapper: Option<Mapper>) -> Result<Self, Error> {
        let client_id = secrets.ids().next();
        let locators = match spec.bound() {
            None => LocatorSource::TowardRouter,
            Some(bound) => LocatorSource::Fixed(vec![bound]),
        };
        Ok(Self {
            server: spec.server.clone(),
            secondary: spec.secondary,
            name: Question::of(spec.server.entry())?,
            locators,
            bind: *spec.socket().ip(),
            local_discovery: spec.local_discovery,
            beside_native: spec.beside_native,
            yields_to: None,
            known: None,
            locator: None,
            stage: Stage::Offline(OfflineReason::NotStarted),
            refused_before: 0,
            client_id,
            port,
            mapper,
            mapping: None,
            secrets,
            accept_bogons: spec.accept_bogons,
            asker: Asker::start()?,
            nat: None,
        })
    }

    fn ask(&mut self) {
        if let Some(name) = self.name.as_mut().filter(|_| self.yields_to.is_none()) {
            name.ask(&[]);
        }
    }

    /// `TER-31`, `SEL-14`, `RTE-14 [RFC 4380 §5.5]`: beside other IPv6 it is no client. It has no address and no
    /// route then, sends nothing to its server, and lets the mapping of the NAT go.
    fn rest_or_work(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if self.beside_native {
            return Ok(());
        }
        let now = elsewhere::other_ipv6(env.netlink, env.attachment.index())?;
        let before = std::mem::replace(&mut self.yields_to, now);
        match (&before, &self.yields_to) {
            (None, Some(device)) => {
                let text = format!("{} rests: this machine has IPv6 by {device}", env.attachment.name());
                // Who has just started it waits for an address.
                if self.stage == Stage::Offline(OfflineReason::NotStarted) {
                    env.warn(format!("{text}; --beside-native has it work all the same"));
                } else {
                    env.info(text);
                }
                if let Some(mapper) = &self.mapper {
                    mapper.unmap();
                }
                self.asker.stop();
                (self.nat, self.mapping, self.locator) = (None, None, None);
                env.found.locators.clear();
                env.driver.machine_mut().set_locator(env.now, None);
                self.follow_group(env);
                self.stage = env.driver.machine().status().stage;
                self.tell_stage(env);
            }
            (Some(device), None) => {
                env.notice(&Notice::Mended(format!(
                    "{} works again: this machine has no IPv6 by {device} any more",
                    env.attachment.name()
                )));
                self.tell_stage(env);
                self.begin(env)?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks for the server, or for where to send to it from.
    fn begin(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        match *self.server.entry() {
            Entry::Address(address) => self.use_server(env, address),
            Entry::Name(_) => {
                self.ask();
                self.refresh(env)
            }
        }
    }

    fn use_server(&mut self, env: &mut Environment<'_>, server: Ipv4Addr) -> Result<(), Error> {
        let secondary = self.secondary.unwrap_or(Ipv4Addr::from_bits(server.to_bits().wrapping_add(1)));
        if self.known != Some(server) {
            self.known = Some(server);
            env.info(format!("server {server}, secondary {secondary}"));
            env.driver.machine_mut().set_servers(env.now, server, Some(secondary));
        }
        self.refresh(env)
    }

    fn answered(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        let Some(name) = &mut self.name else { return Ok(()) };
        match name.take(env.now) {
            Some((Ok(Answer { addresses, .. }), _)) => match addresses.first().copied() {
                // A name with several addresses may turn them around each time.
                Some(_) if self.known.is_some_and(|known| addresses.contains(&known)) => Ok(()),
                Some(first) => self.use_server(env, first),
                None => Ok(()),
            },
            Some((Err(failure), _)) => {
                let wait = name.ask_later(env.now).as_secs();
                env.warn(format!("no Teredo server by the name {}: {failure}; asked again in {wait} s", self.server));
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn mapped(&mut self, env: &mut Environment<'_>) {
        let Some(outcome) = self.mapper.as_mut().and_then(Mapper::try_recv) else { return };
        match &outcome {
            Ok(Mapped { external, by, forgotten, .. }) => {
                env.info(format!("the NAT has opened {external} for us, by {by}"));
                if let Some(why) = forgotten {
                    env.warn(format!("{why}: should this daemon be killed, the port stays open"));
                }
            }
            Err(why) => env.warn(format!("no port mapping: {why}")),
        }
        let machine = env.driver.machine_mut();
        // Nothing to do where the locator is known already.
        machine.set_locator(env.now, self.locator);
        machine.port_mapped(outcome.as_ref().ok().map(|mapped| mapped.external));
        self.mapping = Some(outcome);
    }

    /// Asks the gateway for a mapping of the port; `false`: there is none to ask.
    fn order(&self, env: &mut Environment<'_>) -> bool {
        let (Some(mapper), Some(locator), Some(server)) = (&self.mapper, self.locator, self.known) else {
            return false;
        };
        let gateway = env.netlink.ipv4_path(server).ok().and_then(|path| path.gateway);
        let Some(gateway) = gateway else {
            env.info("no gateway on the way to the server: no port mapping is needed");
            return false;
        };
        let local = SocketAddrV4::new(locator.address, self.port);
        mapper.map(gateway, local)
    }

    /// Has it found out whom a NAT lets in that shows all the same mapping.
    fn ask_nat(&mut self, env: &Environment<'_>) {
        let machine = env.driver.machine();
        if machine.status().nat != NatKind::Restricted {
            self.nat = None;
            return;
        }
        let Some(locator) = self.locator else { return };
        let [server, secondary] = machine.config().qualify.servers();
        let (secrets, accept_bogons) = (self.secrets.clone(), self.accept_bogons);
        let question = NatQuestion { server, secondary, locator, secrets, accept_bogons };
        self.asker.ask(question.clone());
        self.nat = Some((question, None));
    }

    fn told_of_nat(&mut self, env: &mut Environment<'_>) {
        let Some((question, answer)) = self.asker.take() else { return };
        let Some((asked, lets_in)) = self.nat.as_mut().filter(|(asked, _)| *asked == question) else { return };
        match answer {
            Ok(answer) => {
                *lets_in = Some(answer);
                env.info(format!("the NAT is {}", nat_name(NatKind::Restricted, Some(answer))));
            }
            Err(error) => {
                let text = format!("cannot find out whom the NAT lets in, by {}: {error}", asked.server);
                env.info(text);
            }
        }
    }

    /// The kind of the NAT, as far as it is known.
    fn nat_name(&self, machine: &Machine) -> &'static str {
        nat_name(machine.status().nat, self.nat.as_ref().and_then(|(_, lets_in)| *lets_in))
    }

    /// `TER-52`: neighbours are looked for where the own address is, if at all.
    fn follow_group(&self, env: &mut Environment<'_>) {
        let group = SocketAddrV4::new(DISCOVERY_GROUP, isatap_core::teredo::addr::SERVER_PORT);
        env.driver.socket_mut().leave(*group.ip());
        if let Some(locator) = self.locator.filter(|_| self.local_discovery)
            && let Err(error) = env.driver.socket_mut().join(group, locator.address)
        {
            env.warn(error.to_string());
        }
    }

    fn tell_stage(&self, env: &mut Environment<'_>) {
        let machine = env.driver.machine();
        let status = machine.status();
        let (state, reason) = self.state(machine);
        env.link_event(LinkEvent::State { state, reason, server: self.known, mapped: status.mapping });
        match self.stage {
            Stage::Offline(OfflineReason::NotStarted) => {}
            Stage::Offline(_) => {
                let next = "it is asked again after a pause; see isatap doctor";
                let reason = self.offline_reason(env.driver.machine());
                env.warn(format!("no Teredo by {}: {reason}; {next}", self.server));
            }
            Stage::Qualified => {
                if let Some(mapping) = status.mapping {
                    let behind = match status.nat {
                        NatKind::None => "without a NAT".to_owned(),
                        // Whom it lets in is asked now, and told then.
                        NatKind::Restricted | NatKind::Unknown => "behind a NAT".to_owned(),
                        kind => format!("behind a {} NAT", kind.as_str()),
                    };
                    env.info(format!("qualified {behind}: seen as {mapping}"));
                }
            }
            _ => {}
        }
    }

    /// What it does now, and why if that is nothing; for the status as for who watches.
    fn state(&self, machine: &Machine) -> (String, Option<String>) {
        if self.yields_to.is_some() {
            return ("resting".to_owned(), None);
        }
        let (state, reason) = stage_name(machine.status().stage);
        (state.to_owned(), reason.map(|_| self.offline_reason(machine).to_owned()))
    }

    fn offline_reason(&self, machine: &Machine) -> &'static str {
        offline_reason(machine.status().stage, refused(machine) > self.refused_before)
    }
}

/// Answers that did not carry the secret, since the start.
fn refused(machine: &Machine) -> u64 {
    machine.counters().get(DropReason::TeredoAuthentication)
}

/// Why it is off-line: the stage's reason, or that the server was heard and not believed.
fn offline_reason(stage: Stage, was_refused: bool) -> &'static str {
    match stage {
        Stage::Offline(OfflineReason::ServerSilent | OfflineReason::SecondarySilent) if was_refused => {
            "authentication-failed"
        }
        stage => stage_name(stage).1.unwrap_or_default(),
    }
}

/// Whether an attempt begins: what was refused before does not explain how it ends.
fn begins(before: Stage, now: Stage) -> bool {
    // The questions of maintenance are part of the attempt that they may end.
    let rests = |stage| matches!(stage, Stage::Offline(_) | Stage::Qualified);
    now == Stage::Qualified || (rests(before) && !rests(now) && now != Stage::Maintenance)
}

impl Role for ClientRole {
    type Machine = Machine;
    type Socket = UdpSocket;
    type Common = ();

    fn counters(driver: &Driver<Machine, UdpSocket>, _: LinkId) -> Option<&Counters<u64>> {
        Some(driver.machine().counters())
    }

    fn name(&self) -> &'static str {
        "teredo-client"
    }

    fn locators(&self) -> &LocatorSource {
        &self.locators
    }

    /// TER-14: the machine lets in what is for its own address.
    fn is_host(&self) -> bool {
        true
    }

    fn descriptors(&self) -> [Option<BorrowedFd<'_>>; 3] {
        [self.name.as_ref().map(AsFd::as_fd), self.mapper.as_ref().map(AsFd::as_fd), Some(self.asker.as_fd())]
    }

    fn ready(&mut self, env: &mut Environment<'_>, at: usize) -> Result<(), Error> {
        match at {
            0 => return self.answered(env),
            1 => self.mapped(env),
            _ => self.told_of_nat(env),
        }
        Ok(())
    }

    fn start(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        self.rest_or_work(env)?;
        self.begin(env)
    }

    fn look_elsewhere(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        self.rest_or_work(env)
    }

    fn refresh(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        if self.yields_to.is_some() {
            return Ok(());
        }
        env.find(&self.locators, self.known)?;
        let locator = env.found.locators.first().copied().filter(|_| self.known.is_some());
        if locator != self.locator {
            self.locator = locator;
            self.mapping = None;
            // RFC 6081 §5.3.3: the mapping first, so that the server sees what it makes of
            // ours; the mapper says soon how that went.
            let ordered = self.order(env);
            env.driver.machine_mut().set_locator(env.now, locator.filter(|_| !ordered));
            self.follow_group(env);
        }
        Ok(())
    }

    fn adapt(&self, event: Event) -> Event {
        match event {
            Event::Route { change, route } => {
                Event::Route { change, route: Route { metric: LAST_METRIC - DEFAULT_METRIC, ..route } }
            }
            event => event,
        }
    }

    fn event(&mut self, env: &mut Environment<'_>, event: &Event) -> Result<(), Error> {
        match event {
            // Its lifetimes are not the route's.
            Event::Address { change: Change::Changed, .. } => {}
            Event::Address { change, .. } => env.apply(&super::to_all_clients(*change)),
            Event::OpenPort { port, .. } => {
                if let Err(error) = env.driver.socket_mut().open(SocketAddrV4::new(self.bind, *port)) {
                    env.warn(error.to_string());
                    env.driver.machine_mut().port_failed(env.now, *port);
                }
            }
            Event::ClosePort { port, .. } => env.driver.socket_mut().close(*port),
            _ => {}
        }
        Ok(())
    }

    fn settled(&mut self, env: &mut Environment<'_>) {
        let machine = env.driver.machine();
        let stage = machine.status().stage;
        let own = machine.address().filter(|address| !address.is_unicast_link_local());
        // Maintenance is what an address takes to be kept: nothing to tell.
        let same = |stage| if stage == Stage::Maintenance { Stage::Qualified } else { stage };
        if begins(self.stage, stage) {
            self.refused_before = refused(machine);
        }
        env.driver.answer_from(own);
        if same(stage) != same(self.stage) {
            self.stage = stage;
            self.tell_stage(env);
            if stage == Stage::Qualified {
                self.ask_nat(env);
            }
            if matches!(stage, Stage::Offline(OfflineReason::ServerSilent | OfflineReason::SecondarySilent)) {
                // The name may lead to another server by now.
                self.ask();
            }
        }
    }

    fn solicit(&mut self, env: &mut Environment<'_>, _: SolicitedBy) -> Result<Vec<Ipv4Addr>, &'static str> {
        if self.yields_to.is_some() {
            return Err("it rests beside other IPv6 of this machine");
        }
        self.ask();
        env.driver.machine_mut().ask_server(env.now);
        Ok(self.known.into_iter().collect())
    }

    fn deadline(&self) -> Option<Instant> {
        self.name.as_ref()?.deadline()
    }

    fn handle_timeout(&mut self, env: &mut Environment<'_>) -> Result<(), Error> {
        // NAM-6
        if self.name.as_mut().is_some_and(|name| name.is_reconfigured(env.now) || name.ends_wait(env.now)) {
            self.ask();
        }
        Ok(())
    }

    #[cfg(feature = "control")]
    fn testify(&self, _: &View<'_, Self>, evidence: &mut Evidence) {
        evidence.names = self.name.as_ref().map(Question::testimony);
    }

    fn describe(&self, view: &View<'_, Self>, status: &mut Status) {
        let (now, machine) = (view.now, view.machine);
        let own = machine.status();
        status.locators = self.locator.iter().map(|locator| locator.address).collect();
        status.yields_to = self.yields_to.clone();
        status.resting = status.yields_to.is_some();
        let (state, reason) = self.state(machine);
        status.teredo = Some(Teredo {
            state,
            reason,
            server: self.known,
            secondary: machine.config().qualify.secondary.filter(|_| self.known.is_some()),
            port: machine.config().port,
            mapped: own.mapping,
            nat: Some(self.nat_name(machine).to_owned()),
            server_heard: own.mapping.map(|_| now.saturating_duration_since(own.server_heard).as_secs()),
            asked_again: own.next_attempt.map(|at| at.saturating_duration_since(now).as_secs()),
            client_id: self.client_id.clone(),
            port_mapping: self.mapping.as_ref().map(|outcome| match outcome {
                Ok(mapped) => {
                    PortMappingStatus { external: Some(mapped.external), by: Some(mapped.by.to_owned()), failure: None }
                }
                Err(failure) => PortMappingStatus { external: None, by: None, failure: Some(failure.clone()) },
            }),
            peers: TeredoPeer::list(now, machine.peers().iter()),
            ..Teredo::running()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_answer_explains_the_silence_of_its_own_attempt_alone() {
        let silent = Stage::Offline(OfflineReason::ServerSilent);
        assert_eq!(offline_reason(silent, true), "authentication-failed");
        assert_eq!(offline_reason(silent, false), "server-silent");
        assert_eq!(offline_reason(Stage::Offline(OfflineReason::SecondarySilent), true), "authentication-failed");
        assert_eq!(offline_reason(Stage::Offline(OfflineReason::SymmetricNat), true), "symmetric-nat");
        assert_eq!(offline_reason(Stage::Offline(OfflineReason::NotStarted), true), "not-started");

        assert!(begins(silent, Stage::Primary) && begins(silent, Stage::Cone));
        assert!(begins(Stage::Secondary, Stage::Qualified) && begins(Stage::Qualified, Stage::Primary));
        for (before, now) in [
            (Stage::Primary, silent),
            (Stage::Cone, Stage::Primary),
            (Stage::Primary, Stage::Secondary),
            (Stage::Qualified, Stage::Maintenance),
            (Stage::Maintenance, silent),
        ] {
            assert!(!begins(before, now), "{before:?} {now:?}");
        }
    }
}
