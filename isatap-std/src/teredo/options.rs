//! What a client, a server or a relay is to be, and how one begins.

use super::client::{self, ClientRole};
#[cfg(feature = "cli")]
use super::node::Member;
use super::node::{LINK, Node};
use super::port_mapping::{Mapper, PortMapping};
use super::relay::{self, RelayRole};
use super::secrets::Secrets;
use super::server::{self, ServerRole};
use super::{Client, DEFAULT_DEVICE, Relay, Server};
use crate::error::Error;
use crate::netlink::Netlink;
use crate::node::{LocatorSource, Notice, Observer};
use crate::resolve::Entry;
use crate::runtime_dir::RuntimeDir;
use crate::udp_socket::UdpSocket;
use isatap_core::capacity::Row;
use isatap_core::link::Locator;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::authentication::Authenticator;
use isatap_core::teredo::client::ClientConfig;
use isatap_core::teredo::ingress::{is_native_global, is_usable};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::relay::{RelayConfig, SERVED, Wait};
use isatap_core::teredo::server::ServerConfig;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

/// What client, server and relay have in common.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct LinkOptions {
    /// The TUN device to make. Its MTU is 1280.
    pub device: String,
    /// A file to record outer packets into.
    pub pcap: Option<PathBuf>,
    /// Where this process becomes the daemon of the device and can be asked; `None`: nowhere.
    pub runtime: Option<RuntimeDir>,
    /// Whether private IPv4 addresses count as public, for labs. Loopback, 169.254/16,
    /// multicast, 0/8 and 240/4 never do.
    pub accept_bogons: bool,
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { device: DEFAULT_DEVICE.to_owned(), pcap: None, runtime: None, accept_bogons: false }
    }
}

impl LinkOptions {
    /// `TER-33`, `TER-40`: what Teredo addresses embed and packets go to.
    fn check_public(&self, address: Ipv4Addr, doing: &'static str) -> Result<(), Error> {
        check_public(address, doing, self.accept_bogons)
    }
}

pub(super) fn check_public(address: Ipv4Addr, doing: &'static str, accept_bogons: bool) -> Result<(), Error> {
    if is_usable(address, accept_bogons) {
        return Ok(());
    }
    let error = Error::usage(doing, address, "Teredo works with public IPv4 addresses only");
    let is_bogon = is_usable(address, true);
    Err(if is_bogon { error.with_advice("--accept-bogons is for labs with private addresses") } else { error })
}

/// A Teredo server by address or name. `HOST:3544` is taken as well; the protocol has no
/// other port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServerName(Entry);

impl ServerName {
    /// The address or name.
    pub fn entry(&self) -> &Entry {
        &self.0
    }
}

impl FromStr for ServerName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // More colons are an IPv6 address, and no server's.
        let host = match text.split_once(':').filter(|(_, port)| !port.contains([':', '/'])) {
            Some((host, port)) if port.parse() == Ok(SERVER_PORT) => host,
            Some(("", _)) => return Err("a name is missing in front of the port: write one".to_owned()),
            Some((host, _)) => {
                return Err(format!("a Teredo server has port {SERVER_PORT}: write {host} or {host}:{SERVER_PORT}"));
            }
            None => text,
        };
        host.parse().map(Self).map_err(|error: crate::resolve::EntryError| error.to_string())
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a client is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ClientOptions {
    /// What it has in common with the others.
    pub link: LinkOptions,
    /// The server.
    pub server: Option<ServerName>,
    /// The server's other address; `None`: the one behind the first.
    pub secondary: Option<Ipv4Addr>,
    /// Where it sends from: 0.0.0.0 is the address that the kernel would use toward the
    /// server, whatever it is at the time; port 0 is one that the kernel chooses.
    pub bind: SocketAddrV4,
    /// Run although this machine has native IPv6. `TER-31`
    pub beside_native: bool,
    /// The secret of secure qualification: [`Secrets::of_client`]. `TER-34`
    pub secrets: Secrets,
    /// Whether the NAT is asked to open the port. `TER-72`
    pub port_mapping: PortMapping,
    /// How the protocol is spoken. Servers and port follow from the rest.
    pub config: ClientConfig,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            link: LinkOptions::default(),
            server: None,
            secondary: None,
            bind: SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0),
            beside_native: false,
            secrets: Secrets::default(),
            port_mapping: PortMapping::Off,
            config: ClientConfig::new(Ipv4Addr::UNSPECIFIED, 0),
        }
    }
}

impl ClientOptions {
    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        let Some(server) = &self.server else {
            return Err(Error::usage("start", "a Teredo client", "it needs a server").with_advice("name one"));
        };
        if let Entry::Address(address) = server.entry() {
            self.link.check_public(*address, "use the server")?;
            if self.secondary == Some(*address) {
                return Err(Error::usage("use the secondary server", address, "it is the primary one as well"));
            }
        }
        if let Some(secondary) = self.secondary {
            self.link.check_public(secondary, "use the secondary server")?;
        }
        if self.config.qualify.refresh_interval.is_zero() {
            return Err(Error::usage("refresh every", "0 s", "the server would be asked without end"));
        }
        self.port_mapping.check()
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Client, Error> {
        self.node(Box::new(observer), &[]).map(|node| Client(Box::new(node)))
    }

    fn node(self, observer: Observer, own: &[u32]) -> Result<Node<ClientRole>, Error> {
        self.check()?;
        if !self.beside_native {
            check_alone(&Netlink::open()?, own)?;
        }
        if !self.bind.ip().is_unspecified() {
            LocatorSource::Fixed(vec![*self.bind.ip()]).check(&Netlink::open()?)?;
        }
        let mut socket = UdpSocket::new()?;
        let mut config = self.config;
        config.port = socket.open(self.bind)?.port();
        config.qualify.accept_bogons = self.link.accept_bogons;
        let mapper = match self.port_mapping {
            PortMapping::Off => None,
            how => Some(Mapper::start(how, self.link.runtime.as_ref(), &self.link.device)?),
        };
        let role = ClientRole::new(&self, config.port, mapper)?;
        let peers = PeerTable::with_storage(vec![Peer::EMPTY; client::PEERS]);
        let machine = Box::new(client::Machine::with_parts(config, LINK, self.secrets, peers));
        Node::open(&self.link, role, machine, socket, observer)
    }
}

/// What a server is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// What it has in common with the others.
    pub link: LinkOptions,
    /// The clients that it answers: [`Secrets::of_server`]; empty: all. `TER-34`
    pub secrets: Secrets,
    /// How it answers: above all, at which addresses.
    pub config: ServerConfig,
}

impl ServerOptions {
    /// A server at this address and at the one behind it, both of this machine.
    pub fn new(primary: Ipv4Addr) -> Self {
        Self { link: LinkOptions::default(), secrets: Secrets::default(), config: ServerConfig::new(primary) }
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        if self.config.primary == self.config.secondary {
            let why = "a Teredo server needs two addresses";
            return Err(Error::usage("answer at", self.config.primary, why));
        }
        self.link.check_public(self.config.primary, "answer at")?;
        self.link.check_public(self.config.secondary, "answer at")?;
        if self.secrets.client_id().is_some() {
            return Err(Error::usage("start", "a Teredo server", "the secrets given are one client's"));
        }
        Ok(())
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Server, Error> {
        self.node(Box::new(observer)).map(|node| Server(Box::new(node)))
    }

    fn node(self, observer: Observer) -> Result<Node<ServerRole>, Error> {
        self.check()?;
        let addresses = [self.config.primary, self.config.secondary];
        let source = LocatorSource::Fixed(addresses.to_vec());
        let netlink = Netlink::open()?;
        source.check(&netlink)?;
        let mut config = self.config;
        config.subnet_length = source.subnet_length(&netlink)?;
        let mut socket = UdpSocket::new()?;
        for address in addresses {
            socket.open(SocketAddrV4::new(address, SERVER_PORT))?;
        }
        config.accept_bogons = self.link.accept_bogons;
        let machine = Box::new(server::Machine::with_authenticator(config, LINK, self.secrets));
        Node::open(&self.link, ServerRole::new(source), machine, socket, observer)
    }
}

/// What a relay is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RelayOptions {
    /// What it has in common with the others.
    pub link: LinkOptions,
    /// The IPv4 address, of this machine, and the UDP port; 0: one that the kernel chooses.
    pub local: SocketAddrV4,
    /// Native prefixes that it serves, 8 at most; none: all of them.
    pub served: Vec<Ipv6Prefix>,
    /// It sits behind a NAT that is no cone.
    pub behind_nat: bool,
}

impl RelayOptions {
    /// A relay at this address of this machine.
    pub fn new(local: SocketAddrV4) -> Self {
        Self { link: LinkOptions::default(), local, served: Vec::new(), behind_nat: false }
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        if !self.behind_nat {
            self.link.check_public(*self.local.ip(), "relay from")?;
        }
        if self.local.port() == SERVER_PORT {
            let error = Error::usage("relay from", self.local, "that is the port of servers");
            return Err(error.with_advice("choose another port"));
        }
        if self.served.len() > SERVED {
            let why = format!("a relay serves {SERVED} prefixes at most");
            return Err(Error::usage("serve", format!("{} prefixes", self.served.len()), why));
        }
        Ok(())
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Relay, Error> {
        self.node(Box::new(observer)).map(|node| Relay(Box::new(node)))
    }

    fn node(self, observer: Observer) -> Result<Node<RelayRole>, Error> {
        self.check()?;
        let address = *self.local.ip();
        let source = LocatorSource::Fixed(vec![address]);
        let netlink = Netlink::open()?;
        source.check(&netlink)?;
        let subnet_length = source.subnet_length(&netlink)?;
        let mut socket = UdpSocket::new()?;
        let port = socket.open(self.local)?.port();
        let mut config = RelayConfig::new(Locator { address, subnet_length }, port);
        config.behind_nat = self.behind_nat;
        config.accept_bogons = self.link.accept_bogons;
        if !self.served.is_empty() {
            config.served = [None; SERVED];
            for (place, prefix) in config.served.iter_mut().zip(self.served) {
                *place = Some(prefix);
            }
        }
        let peers = PeerTable::with_storage(vec![Peer::EMPTY; relay::PEERS]);
        let waits = vec![Wait::EMPTY; relay::WAITS];
        let machine = Box::new(relay::Machine::with_tables(config, LINK, peers, waits));
        Node::open(&self.link, RelayRole::new(source), machine, socket, observer)
    }
}

/// One of the three.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RoleOptions {
    /// See [`ClientOptions`].
    Client(Box<ClientOptions>),
    /// See [`ServerOptions`].
    Server(Box<ServerOptions>),
    /// See [`RelayOptions`].
    Relay(Box<RelayOptions>),
}

impl RoleOptions {
    /// What it has in common with the others.
    #[must_use]
    pub fn link(&self) -> &LinkOptions {
        match self {
            RoleOptions::Client(client) => &client.link,
            RoleOptions::Server(server) => &server.link,
            RoleOptions::Relay(relay) => &relay.link,
        }
    }

    /// The same, to be changed.
    pub fn link_mut(&mut self) -> &mut LinkOptions {
        match self {
            RoleOptions::Client(client) => &mut client.link,
            RoleOptions::Server(server) => &mut server.link,
            RoleOptions::Relay(relay) => &mut relay.link,
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            RoleOptions::Client(_) => "Teredo client",
            RoleOptions::Server(_) => "Teredo server",
            RoleOptions::Relay(_) => "Teredo relay",
        }
    }

    /// Whether the options make sense on any machine.
    ///
    /// # Errors
    ///
    /// A usage error about the first that does not.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            RoleOptions::Client(client) => client.check(),
            RoleOptions::Server(server) => server.check(),
            RoleOptions::Relay(relay) => relay.check(),
        }
    }

    /// Makes the device and starts, for a loop that runs several; `own` are the interface
    /// indices of the others' devices.
    #[cfg(feature = "cli")]
    pub(crate) fn start(self, observer: Observer, own: &[u32]) -> Result<Box<dyn Member>, Error> {
        Ok(match self {
            RoleOptions::Client(client) => Box::new(client.node(observer, own)?),
            RoleOptions::Server(server) => Box::new(server.node(observer)?),
            RoleOptions::Relay(relay) => Box::new(relay.node(observer)?),
        })
    }
}

/// `TER-31 [RFC 4380 §5.5]`: no client beside other IPv6 connectivity. The devices `own` are
/// tunnels of this process: its file names them together, and which has its address first is
/// chance.
fn check_alone(netlink: &Netlink, own: &[u32]) -> Result<(), Error> {
    let others = netlink.ipv6_addresses()?.into_iter().filter(|(device, _)| !own.contains(device));
    let native = others.map(|(_, address)| address.address).find(is_native_global);
    match native {
        None => Ok(()),
        Some(address) => {
            Err(Error::usage("start", "a Teredo client", format!("this machine has native IPv6: {address}"))
                .with_advice("use that, or run the client all the same with --beside-native"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[test]
    fn a_server_is_an_address_or_a_name_at_the_one_port() {
        let name = |text: &str| text.parse::<ServerName>();
        assert_eq!(name("198.51.100.1").unwrap().entry(), &Entry::Address(Ipv4Addr::new(198, 51, 100, 1)));
        assert_eq!(name("198.51.100.1:3544"), name("198.51.100.1"));
        assert_eq!(name("teredo.example.net:3544").unwrap().to_string(), "teredo.example.net");
        assert!(name("198.51.100.1:53").unwrap_err().contains("3544"));
        for wrong in ["", "2001:db8::1", "198.51.100.256", "a..b:3544"] {
            assert!(name(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ter_33_ter_40_private_addresses_are_usage_errors() {
        for address in ["10.0.0.1", "192.168.1.1", "127.0.0.1", "0.0.0.0"] {
            let address: Ipv4Addr = address.parse().unwrap();
            let server = ServerOptions::new(address).open(|_| ()).unwrap_err();
            assert_eq!(server.class(), Class::Usage, "{server}");
            let client = Client::builder().server(address.to_string()).open().unwrap_err();
            assert_eq!(client.class(), Class::Usage, "{client}");
        }
        let nobody = Client::builder().open().unwrap_err();
        assert!(nobody.to_string().contains("server"), "{nobody}");
    }

    #[test]
    fn bogons_are_private_addresses_for_labs_and_no_others() {
        let at = |address: &str| {
            let mut options = ServerOptions::new(address.parse().unwrap());
            options.link.accept_bogons = true;
            options.check().map_err(|error| error.to_string())
        };
        assert_eq!(at("10.0.0.1"), Ok(()));
        for refused in ["127.0.0.1", "224.0.0.1", "0.0.0.1", "240.0.0.1", "169.254.0.1"] {
            assert!(at(refused).unwrap_err().ends_with("public IPv4 addresses only"), "{refused}");
        }
        let told = ServerOptions::new(Ipv4Addr::new(10, 0, 0, 1)).check().unwrap_err().to_string();
        assert!(told.contains("--accept-bogons"), "{told}");
    }
}
