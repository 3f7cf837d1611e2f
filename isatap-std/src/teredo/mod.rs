//! A Teredo client, server and relay on this machine: IPv6 in UDP, through NATs.
//!
//! ```no_run
//! use isatap_std::signal::Signals;
//! use isatap_std::teredo::Client;
//!
//! let mut client = Client::builder().server("teredo.example.net").open()?;
//! client.run_until(&mut Signals::catch()?)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! All of it is gone when the value is dropped: device, addresses, routes. Needs
//! CAP_NET_ADMIN; [`qualify()`] needs no privilege.
//!
//! | who | device | routes |
//! |---|---|---|
//! | client | its Teredo address while it is qualified | `2001::/32`; a default route with the highest metric |
//! | server | no address: what it delivers, the kernel forwards | none |
//! | relay | a link-local address | `2001::/32` |
//!
//! First packets wait until the peer has answered: 3 of them for a peer, 32 in all.
//!
//! # What it does not do
//!
//! - Secure qualification: the core takes a hash of the caller's, and this crate brings none.
//! - UPnP and PCP.
//! - The metric, and whether `2001::/32` is announced to others, is not a relay's to decide:
//!   a routing daemon's.
//!
//! # Security limits
//!
//! A client is reachable by everybody through its NAT: run a firewall on the device. Its
//! address shows the NAT's address and port. The server sees who talks to whom at first, and
//! with the networks between it can forge what it likes.

mod client;
mod node;
pub mod qualify;
mod relay;
mod server;

use crate::driver::attachment::Attachment;
use crate::error::Error;
use crate::netlink::Netlink;
use crate::node::status::Status;
use crate::node::{LocatorSource, Notice};
use crate::resolve::Entry;
use crate::runtime_dir::RuntimeDir;
use crate::signal::Signals;
use crate::udp_socket::UdpSocket;
use client::ClientRole;
use isatap_core::capacity::Row;
use isatap_core::link::Locator;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::authentication::Open;
use isatap_core::teredo::client::ClientConfig;
use isatap_core::teredo::ingress::{is_global_unicast, is_native_global};
use isatap_core::teredo::peer::{Peer, PeerTable};
use isatap_core::teredo::qualify::Stage;
use isatap_core::teredo::relay::{RelayConfig, SERVED, Wait};
use isatap_core::teredo::server::ServerConfig;
use node::{LINK, Node};
pub use qualify::qualify;
use relay::RelayRole;
use server::ServerRole;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

/// The device when nothing else is asked for.
pub const DEFAULT_DEVICE: &str = "teredo";

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
}

impl Default for LinkOptions {
    fn default() -> Self {
        Self { device: DEFAULT_DEVICE.to_owned(), pcap: None, runtime: None }
    }
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
        let host = match text.rsplit_once(':') {
            Some((host, port)) if port.parse() == Ok(SERVER_PORT) => host,
            Some((_, port)) if port.parse::<u16>().is_ok() => {
                return Err(format!("a Teredo server listens at port {SERVER_PORT} only"));
            }
            _ => text,
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
            config: ClientConfig::new(Ipv4Addr::UNSPECIFIED, 0),
        }
    }
}

impl ClientOptions {
    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// A usage error for options that make no sense on this machine; the kernel's refusal,
    /// mostly for lack of privilege.
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Client, Error> {
        let server = self
            .server
            .ok_or_else(|| Error::usage("start", "a Teredo client", "it needs a server").with_advice("name one"))?;
        if let Entry::Address(address) = server.entry() {
            check_public(*address, "use the server")?;
        }
        if !self.beside_native {
            check_alone(&Netlink::open()?)?;
        }
        if !self.bind.ip().is_unspecified() {
            LocatorSource::Fixed(vec![*self.bind.ip()]).check(&Netlink::open()?)?;
        }
        let mut socket = UdpSocket::new()?;
        let mut config = self.config;
        config.port = socket.open(self.bind)?.port();
        let role = ClientRole::new(server, self.secondary, *self.bind.ip(), config.local_discovery)?;
        let peers = PeerTable::with_storage(vec![Peer::EMPTY; client::PEERS]);
        let machine = Box::new(client::Machine::with_parts(config, LINK, Open, peers));
        Node::open(&self.link, role, machine, socket, Box::new(observer)).map(|node| Client(Box::new(node)))
    }
}

/// How to open a [`Client`]; see [`Client::builder`].
#[derive(Debug, Default)]
#[must_use]
pub struct ClientBuilder {
    options: ClientOptions,
    error: Option<Error>,
}

impl ClientBuilder {
    /// The server, by address or name.
    ///
    /// That it is neither is told by [`open`](Self::open).
    pub fn server(mut self, server: impl AsRef<str>) -> Self {
        let server = server.as_ref();
        match server.parse() {
            Ok(name) => self.options.server = Some(name),
            Err(why) => self.error = Some(Error::usage("use the server", server, why)),
        }
        self
    }

    /// Where it sends from; see [`ClientOptions::bind`].
    pub fn bind(mut self, address: SocketAddrV4) -> Self {
        self.options.bind = address;
        self
    }

    /// The device to make: `teredo` if nothing is said.
    pub fn device(mut self, name: impl Into<String>) -> Self {
        self.options.link.device = name.into();
        self
    }

    /// Makes the device and starts.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self) -> Result<Client, Error> {
        match self.error {
            Some(error) => Err(error),
            None => self.options.open(|_| ()),
        }
    }
}

/// A Teredo client; gone, device and all, when dropped.
pub struct Client(Box<Node<ClientRole>>);

impl Client {
    /// Starts to describe one.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::default()
    }
}

/// What a server is to be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ServerOptions {
    /// What it has in common with the others.
    pub link: LinkOptions,
    /// How it answers: above all, at which addresses.
    pub config: ServerConfig,
}

impl ServerOptions {
    /// A server at this address and at the one behind it, both of this machine.
    pub fn new(primary: Ipv4Addr) -> Self {
        Self { link: LinkOptions::default(), config: ServerConfig::new(primary) }
    }

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Server, Error> {
        let addresses = [self.config.primary, self.config.secondary];
        if self.config.primary == self.config.secondary {
            let why = "a Teredo server needs two addresses";
            return Err(Error::usage("answer at", self.config.primary, why));
        }
        let source = LocatorSource::Fixed(addresses.to_vec());
        let mut socket = UdpSocket::new()?;
        for address in addresses {
            check_public(address, "answer at")?;
        }
        source.check(&Netlink::open()?)?;
        for address in addresses {
            socket.open(SocketAddrV4::new(address, SERVER_PORT))?;
        }
        let machine = Box::new(server::Machine::new(self.config, LINK));
        Node::open(&self.link, ServerRole::new(source), machine, socket, Box::new(observer))
            .map(|node| Server(Box::new(node)))
    }
}

/// A Teredo server; gone, device and all, when dropped.
pub struct Server(Box<Node<ServerRole>>);

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

    /// Makes the device and starts; `observer` is called with what happens.
    ///
    /// # Errors
    ///
    /// As [`ClientOptions::open`].
    pub fn open(self, observer: impl FnMut(&Notice) + Send + 'static) -> Result<Relay, Error> {
        let address = *self.local.ip();
        let source = LocatorSource::Fixed(vec![address]);
        let netlink = Netlink::open()?;
        source.check(&netlink)?;
        if !self.behind_nat {
            check_public(address, "relay from")?;
        }
        if self.served.len() > SERVED {
            let why = format!("a relay serves {SERVED} prefixes at most");
            return Err(Error::usage("serve", format!("{} prefixes", self.served.len()), why));
        }
        let subnet_length = source.find(&netlink, None)?.locators.first().map_or(32, |found| found.subnet_length);
        let mut socket = UdpSocket::new()?;
        let port = socket.open(self.local)?.port();
        let mut config = RelayConfig::new(Locator { address, subnet_length }, port);
        config.behind_nat = self.behind_nat;
        if !self.served.is_empty() {
            config.served = [None; SERVED];
            for (place, prefix) in config.served.iter_mut().zip(self.served) {
                *place = Some(prefix);
            }
        }
        let peers = PeerTable::with_storage(vec![Peer::EMPTY; relay::PEERS]);
        let waits = vec![Wait::EMPTY; relay::WAITS];
        let machine = Box::new(relay::Machine::with_tables(config, LINK, peers, waits));
        Node::open(&self.link, RelayRole::new(source), machine, socket, Box::new(observer))
            .map(|node| Relay(Box::new(node)))
    }
}

/// A Teredo relay; gone, device and all, when dropped.
pub struct Relay(Box<Node<RelayRole>>);

macro_rules! running {
    ($role:ident) => {
        impl $role {
            /// The name of the device.
            pub fn device(&self) -> &str {
                Attachment::name(self.0.attachment())
            }

            /// The address that it is known by: a client's Teredo address, once it is
            /// qualified; the link-local address of a server or relay.
            pub fn address(&self) -> Option<Ipv6Addr> {
                self.0.address()
            }

            /// What it knows and has counted.
            pub fn status(&self) -> Status {
                self.0.status()
            }

            /// Waits at most `timeout` for something to do, and does it: a batch of packets,
            /// what is due, what the system has changed. `Some(Duration::ZERO)` does not wait.
            ///
            /// # Errors
            ///
            /// Somebody deleted the device. What single packets meet is counted instead.
            pub fn turn(&mut self, timeout: Option<Duration>) -> Result<(), Error> {
                self.0.turn(timeout).map(drop)
            }

            /// Turns until a signal asks to stop.
            ///
            /// # Errors
            ///
            /// As [`turn`](Self::turn).
            pub fn run_until(&mut self, signals: &mut Signals) -> Result<(), Error> {
                self.0.run_until(signals)
            }
        }

        impl AsFd for $role {
            /// Readable when [`turn`](Self::turn) has something to do, deadlines included.
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.0.as_fd()
            }
        }

        impl fmt::Debug for $role {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($role)).field("attachment", self.0.attachment()).finish_non_exhaustive()
            }
        }
    };
}

running!(Client);
running!(Server);
running!(Relay);

/// `TER-33`, `TER-40`: what Teredo addresses embed and packets go to.
fn check_public(address: Ipv4Addr, doing: &'static str) -> Result<(), Error> {
    if is_global_unicast(address) {
        return Ok(());
    }
    Err(Error::usage(doing, address, "Teredo works with public IPv4 addresses only"))
}

/// `TER-31 [RFC 4380 §5.5]`: no client beside other IPv6 connectivity.
fn check_alone(netlink: &Netlink) -> Result<(), Error> {
    let native = netlink.ipv6_addresses()?.into_iter().map(|(_, own)| own.address).find(is_native_global);
    match native {
        None => Ok(()),
        Some(address) => {
            Err(Error::usage("start", "a Teredo client", format!("this machine has native IPv6: {address}"))
                .with_advice("use that, or run the client all the same with --beside-native"))
        }
    }
}

/// The stage's name in kebab-case, and why it is off-line; stable.
fn stage_name(stage: Stage) -> (&'static str, Option<&'static str>) {
    match stage {
        Stage::Offline(reason) => ("offline", Some(reason.as_str())),
        Stage::Cone => ("asking-cone", None),
        Stage::Primary => ("asking-server", None),
        Stage::Secondary => ("asking-secondary", None),
        Stage::Qualified | Stage::Maintenance => ("qualified", None),
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
}
