//! Qualification alone: which kind of NAT this machine is behind, as a Teredo server sees
//! it. Needs no privilege and makes no device.

use super::filtering::{Question, nat_name};
use super::secrets::Secrets;
use super::stage_name;
use crate::device::Binding;
use crate::driver::{Driver, Poller};
use crate::error::Error;
use crate::locators::LocatorSource;
use crate::netlink::Netlink;
use crate::resolve::{Entry, Lookup, Settings};
use crate::spec::{ServerName, check_public};
use crate::udp_socket::UdpSocket;
use isatap_core::drop_reason::DropReason;
use isatap_core::packet::LinkId;
use isatap_core::teredo::client::{Client, ClientConfig};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::qualify::{NatKind, Stage};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::time::{Duration, Instant};

/// What a qualification found out. Times are in microseconds.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "control", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Report {
    /// The server as it was named.
    pub server: String,
    /// Its address; absent: the name leads nowhere.
    pub address: Option<Ipv4Addr>,
    /// Whether a client would have an address now.
    pub qualified: bool,
    /// The last stage that was reached: `resolving`, `asking-server`, `asking-secondary`,
    /// `qualified`.
    pub stage: String,
    /// Why it went no further.
    pub reason: Option<String>,
    /// `none`, `cone`, `restricted`, `port-restricted`, `symmetric` or `unknown`. The first four show all
    /// servers the same mapping; they let in everybody, addresses that were sent to, or ports that
    /// were.
    pub nat: String,
    /// Where this machine sent from.
    pub local: Option<SocketAddrV4>,
    /// How the NAT shows that.
    pub mapped: Option<SocketAddrV4>,
    /// Whether the NAT has kept the port.
    pub port_preserving: Option<bool>,
    /// The Teredo address that a client would have.
    pub teredo: Option<Ipv6Addr>,
    /// The shorter round trip of those to the server and to its secondary address.
    pub round_trip_us: Option<u64>,
}

/// Twice three solicitations, 4 s apart, and something for the machine to breathe.
const PATIENCE: Duration = Duration::from_secs(27);

/// How it qualifies.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QualifyOptions {
    /// The secret of secure qualification: [`Secrets::of_client`].
    pub secrets: Secrets,
    /// Whether private IPv4 addresses count as public, for labs.
    pub accept_bogons: bool,
}

/// Qualifies once with a server, within half a minute. What the server or the network did
/// wrong is in the report.
///
/// # Errors
///
/// The kernel's refusal, which is not expected.
pub fn qualify(server: &ServerName, options: &QualifyOptions) -> Result<Report, Error> {
    let mut report = Report {
        server: server.to_string(),
        address: None,
        qualified: false,
        stage: "resolving".to_owned(),
        reason: None,
        nat: "unknown".to_owned(),
        local: None,
        mapped: None,
        port_preserving: None,
        teredo: None,
        round_trip_us: None,
    };
    let address = match server.entry() {
        Entry::Address(address) => *address,
        name @ Entry::Name(_) => {
            let mut settings = Settings::default();
            settings.routers.push(name.clone());
            match Lookup::new(settings).resolve(&[]).map(|answer| answer.addresses.first().copied()) {
                Ok(Some(address)) => address,
                Ok(None) => return Ok(report),
                Err(failure) => {
                    report.reason = Some(failure.to_string());
                    return Ok(report);
                }
            }
        }
    };
    report.address = Some(address);
    if let Err(error) = check_public(address, "use the server", options.accept_bogons) {
        report.reason = Some(error.to_string());
        return Ok(report);
    }
    let found = LocatorSource::TowardRouter.find(&Netlink::open()?, Some(address), &Binding::default())?;
    let Some(locator) = found.locators.first().copied() else {
        report.reason = Some("no IPv4 route to the server".to_owned());
        return Ok(report);
    };
    let mut socket = UdpSocket::new();
    let port = socket.open(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0))?.port();
    report.local = Some(SocketAddrV4::new(locator.address, port));
    let mut config = ClientConfig::new(address, port);
    config.qualify.accept_bogons = options.accept_bogons;
    let machine = Machine::with_parts(config, LinkId(0), options.secrets.clone(), PeerTable::new());
    let machine = Box::new(machine);
    let mut poller = Poller::open()?;
    let mut driver: Driver<_, UdpSocket> = Driver::new(machine, socket, poller.watcher(0))?;
    let now = driver.now();
    driver.machine_mut().set_locator(now, Some(locator));
    run(&mut poller, &mut driver, &mut report)?;
    let machine = driver.machine();
    if report.qualified && machine.status().nat == NatKind::Restricted {
        let [server, secondary] = machine.config().qualify.servers();
        let question = Question {
            server,
            secondary,
            locator,
            secrets: options.secrets.clone(),
            accept_bogons: options.accept_bogons,
        };
        let lets_in = question.ask(|| true).map_err(|error| Error::refused("ask", address, error))?;
        report.nat = nat_name(NatKind::Restricted, Some(lets_in)).to_owned();
    }
    Ok(report)
}

/// It has no peers.
type Machine = Client<[Peer; 1], Secrets, 1>;

fn run(poller: &mut Poller, driver: &mut Driver<Machine, UdpSocket>, report: &mut Report) -> Result<(), Error> {
    let end = Instant::now() + PATIENCE;
    let mut stage = driver.machine().status().stage;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        driver.turn(poller, Some(left))?;
        while driver.poll_event().is_some() {}
        let status = driver.machine().status();
        if let Some(trip) = driver.socket().round_trip() {
            let trip = u64::try_from(trip.as_micros()).unwrap_or(u64::MAX);
            report.round_trip_us = Some(report.round_trip_us.map_or(trip, |known| known.min(trip)));
        }
        let ended = matches!(status.stage, Stage::Offline(_) | Stage::Qualified) && status.stage != stage;
        if ended || left.is_zero() {
            report.qualified = status.stage == Stage::Qualified;
            // Off-line is where it ends up; what was asked last says more.
            let (name, _) = stage_name(if report.qualified { status.stage } else { stage });
            report.stage = name.to_owned();
            report.reason = stage_name(status.stage).1.map(str::to_owned);
            if !report.qualified && driver.machine().counters().get(DropReason::TeredoAuthentication) > 0 {
                // It was heard, and not believed.
                report.reason = Some("authentication-failed".to_owned());
            }
            report.nat = status.nat.as_str().to_owned();
            report.mapped = status.mapping;
            report.port_preserving = status.mapping.map(|_| status.port_preserving);
            report.teredo = status.address;
            return Ok(());
        }
        stage = status.stage;
    }
}
