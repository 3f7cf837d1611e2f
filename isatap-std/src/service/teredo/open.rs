//! How a Teredo client, server or relay begins that a [`spec`](crate::spec) describes.

use super::LINK;
use super::client::{self, ClientRole};
use super::relay::{self, RelayRole};
use super::server::{self, ServerRole};
use crate::device::Binding;
use crate::driver::Watcher;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::runtime_dir::RuntimeDir;
use crate::service::role::Role;
use crate::service::{LocatorSource, Member, Observer, Service};
use crate::spec::{LinkSpec, PortMapping, TeredoClient, TeredoRelay, TeredoServer};
use crate::teredo::port_mapping::Mapper;
use crate::teredo::secrets::Secrets;
use crate::udp_socket::UdpSocket;
use isatap_core::capacity::Row;
use isatap_core::link::Locator;
use isatap_core::prefix::Ipv4Prefix;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::relay::Wait;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// What a running link needs of its surroundings.
pub(crate) struct Surroundings<'a> {
    /// Where this process becomes the daemon of the device and can be asked; `None`: nowhere.
    pub(crate) runtime: Option<&'a RuntimeDir>,
    pub(crate) secrets: Secrets,
    pub(crate) observer: Observer,
    pub(crate) watcher: Watcher,
    /// The files that this process has recorded packets into.
    pub(crate) recorded: &'a mut Vec<PathBuf>,
}

/// The secrets of a link: a client's or a server's. `owner`: another user whose file it may be.
///
/// # Errors
///
/// The file with them cannot be used.
pub(crate) fn secrets(link: &LinkSpec, owner: Option<u32>) -> Result<Secrets, Error> {
    let secrets = link.secret_file().map(|path| Secrets::load_of(path, owner)).transpose()?;
    let secrets = secrets.map(|secrets| match link {
        LinkSpec::TeredoClient(_) => secrets.of_client(),
        _ => secrets.of_server(),
    });
    Ok(secrets.transpose()?.unwrap_or_default())
}

/// The IPv4 addresses of a link that this machine lacks, without which its sockets are not to be had.
///
/// # Errors
///
/// The kernel's refusal to list addresses, which is not expected.
pub(crate) fn missing(link: &LinkSpec) -> Result<Vec<Ipv4Addr>, Error> {
    let own = Netlink::open()?.ipv4_addresses()?;
    let is_missing = |address: &Ipv4Addr| own.iter().all(|own| own.address != *address);
    Ok(link.locals().into_iter().filter(is_missing).collect())
}

/// Whether the link's ports are free, as far as this machine has its addresses; nothing stays open.
///
/// # Errors
///
/// One is taken, or not allowed.
#[cfg(feature = "file")]
pub(crate) fn check_ports(link: &LinkSpec) -> Result<(), Error> {
    if !missing(link)?.is_empty() {
        return Ok(());
    }
    let mut socket = UdpSocket::new();
    ports(link).into_iter().try_for_each(|place| socket.open(place).map(drop))
}

/// Where its sockets are.
pub(crate) fn ports(link: &LinkSpec) -> Vec<SocketAddrV4> {
    match link {
        LinkSpec::TeredoClient(spec) => vec![spec.socket()],
        LinkSpec::TeredoRelay(spec) => vec![spec.socket()],
        link => link.locals().into_iter().map(|address| SocketAddrV4::new(address, SERVER_PORT)).collect(),
    }
}

/// Makes the device and starts.
///
/// # Errors
///
/// A usage error for what makes no sense on this machine; the kernel's refusal, mostly for lack
/// of privilege.
pub(crate) fn open(link: &LinkSpec, around: Surroundings<'_>) -> Result<Box<dyn Member>, Error> {
    link.check_first()?;
    match link {
        LinkSpec::TeredoClient(spec) => client(link, spec, around),
        LinkSpec::TeredoServer(spec) => server(link, spec, around),
        LinkSpec::TeredoRelay(spec) => relay(link, spec, around),
        _ => Err(Error::usage("speak Teredo by", link.device(), "it carries protocol 41")),
    }
}

fn client(link: &LinkSpec, spec: &TeredoClient, around: Surroundings<'_>) -> Result<Box<dyn Member>, Error> {
    let mut socket = UdpSocket::new();
    let config = spec.config(socket.open(spec.socket())?.port());
    let mapper = match spec.port_mapping {
        PortMapping::Off => None,
        how => {
            let runtime = around.runtime.filter(|_| link.remembers());
            let memory = runtime.and_then(|runtime| around.observer.memory(runtime, "the port mapping"));
            Some(Mapper::start(how, memory, &spec.dev)?)
        }
    };
    let role = ClientRole::new(spec, config.port, around.secrets.clone(), mapper)?;
    let peers = PeerTable::with_storage(vec![Peer::EMPTY; client::PEERS]);
    let machine = Box::new(client::Machine::with_parts(config, LINK, around.secrets.clone(), peers));
    begin(link, role, machine, socket, around)
}

fn server(link: &LinkSpec, spec: &TeredoServer, around: Surroundings<'_>) -> Result<Box<dyn Member>, Error> {
    let source = LocatorSource::Fixed(link.locals());
    let netlink = Netlink::open()?;
    let mut config = spec.config();
    // Of two subnets neither is both addresses': no broadcast address is known then.
    let found = source.find(&netlink, None, &Binding::default())?.locators;
    let subnet = |found: &Locator| Ipv4Prefix::new(found.address, found.subnet_length);
    let subnets: Vec<_> = found.iter().map(subnet).collect();
    config.subnet_length = match (found.first(), subnets.as_slice()) {
        (Some(first), [one, other]) if one == other => first.subnet_length,
        _ => 32,
    };
    let mut socket = UdpSocket::new();
    for place in ports(link) {
        socket.open(place)?;
    }
    let machine = Box::new(server::Machine::with_authenticator(config, LINK, around.secrets.clone()));
    begin(link, ServerRole::new(source), machine, socket, around)
}

fn relay(link: &LinkSpec, spec: &TeredoRelay, around: Surroundings<'_>) -> Result<Box<dyn Member>, Error> {
    let source = LocatorSource::Fixed(vec![spec.local]);
    let subnet_length = source.subnet_length(&Netlink::open()?)?;
    let mut socket = UdpSocket::new();
    let port = socket.open(spec.socket())?.port();
    let peers = PeerTable::with_storage(vec![Peer::EMPTY; relay::PEERS]);
    let waits = vec![Wait::EMPTY; relay::WAITS];
    let machine = Box::new(relay::Machine::with_tables(spec.config(subnet_length, port), LINK, peers, waits));
    begin(link, RelayRole::new(source), machine, socket, around)
}

fn begin<R>(
    link: &LinkSpec,
    role: R,
    machine: Box<R::Machine>,
    socket: UdpSocket,
    around: Surroundings<'_>,
) -> Result<Box<dyn Member>, Error>
where
    R: Role<Socket = UdpSocket, Common = ()> + 'static,
{
    // Whoever has the claim may clean up; so it comes before anything is made.
    let claim = around.runtime.map(|runtime| runtime.claim(link.device())).transpose()?;
    let mut service = Service::new(machine, socket, (), around.watcher, around.observer)?;
    if let Some(path) = link.pcap() {
        service.driver.record_on(path, around.recorded)?;
    }
    service.attach(LINK, link, role, claim)?;
    service.settle()?;
    Ok(Box::new(service))
}
