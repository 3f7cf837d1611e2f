//! The tables of Teredo.

use super::{Parsed, values};
use crate::error::Error;
use crate::teredo::port_mapping::PortMapping;
use crate::teredo::secrets::Secrets;
use crate::teredo::{ClientOptions, DEFAULT_DEVICE, LinkOptions, RelayOptions, RoleOptions, ServerName, ServerOptions};
use isatap_core::prefix::Ipv6Prefix;
use serde::Deserialize;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use toml::Spanned;

/// A `[[teredo-client]]`, `[[teredo-server]]` or `[[teredo-relay]]` of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct TeredoLink {
    /// What it is to be, without secrets.
    pub options: RoleOptions,
    /// Where its secrets are: a server's or client's.
    pub secret_file: Option<PathBuf>,
}

impl TeredoLink {
    /// What it is to be, with its secrets.
    ///
    /// # Errors
    ///
    /// The file with the secrets cannot be used.
    pub fn load(&self) -> Result<RoleOptions, Error> {
        let mut options = self.options.clone();
        let Some(file) = &self.secret_file else { return Ok(options) };
        match &mut options {
            RoleOptions::Client(client) => client.secrets = Secrets::load(file)?.of_client()?,
            RoleOptions::Server(server) => server.secrets = Secrets::load(file)?.of_server()?,
            RoleOptions::Relay(_) => {}
        }
        Ok(options)
    }
}

/// A UDP endpoint: `[V4]:PORT`, or a port alone.
#[derive(Clone, Copy, Debug)]
pub struct Bind(pub SocketAddrV4);

impl FromStr for Bind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, port) = text.rsplit_once(':').unwrap_or(("", text));
        let address = match address {
            "" => Ok(Ipv4Addr::UNSPECIFIED),
            address => address.parse(),
        };
        match (address, port.parse()) {
            (Ok(address), Ok(port)) => Ok(Bind(SocketAddrV4::new(address, port))),
            (Ok(_), Err(_)) if port.parse::<Ipv4Addr>().is_ok() => {
                Err("the port is missing: write [V4]:PORT, such as 192.0.2.1:40000, or 192.0.2.1:0 for any port")
            }
            (Ok(_), Err(_)) => {
                Err("a port is a number of 0 to 65535: write [V4]:PORT, such as 192.0.2.1:40000 or :40000")
            }
            (Err(_), _) => {
                Err("no IPv4 address stands in front of the port: write [V4]:PORT, such as 192.0.2.1:40000 or :40000")
            }
        }
    }
}

/// The tables of a file.
pub(super) struct Tables {
    pub(super) clients: Vec<Spanned<ClientTable>>,
    pub(super) servers: Vec<Spanned<ServerTable>>,
    pub(super) relays: Vec<Spanned<RelayTable>>,
}

impl Tables {
    /// Where each link's table begins, and the link.
    pub(super) fn links(self) -> impl Iterator<Item = (usize, Result<TeredoLink, String>)> {
        let clients = self.clients.into_iter().map(|table| (table.span().start, Ok(table.into_inner().link())));
        let servers = self.servers.into_iter().map(|table| (table.span().start, table.into_inner().link()));
        let relays = self.relays.into_iter().map(|table| (table.span().start, Ok(table.into_inner().link())));
        clients.chain(servers).chain(relays)
    }
}

/// The table of a role: its own keys, and those of all.
macro_rules! table {
    ($name:ident { $($(#[$attribute:meta])* $field:ident: $type:ty,)* }) => {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "kebab-case")]
        pub(super) struct $name {
            dev: Option<String>,
            pcap: Option<PathBuf>,
            #[serde(default)]
            accept_bogons: bool,
            $($(#[$attribute])* $field: $type,)*
        }

        impl $name {
            fn common(&mut self) -> LinkOptions {
                let mut options = LinkOptions::default();
                options.device = self.dev.take().unwrap_or_else(|| DEFAULT_DEVICE.to_owned());
                options.pcap = self.pcap.take();
                options.accept_bogons = self.accept_bogons;
                options
            }
        }
    };
}

table!(ClientTable {
    server: Parsed<ServerName>,
    secondary: Option<Ipv4Addr>,
    bind: Option<Parsed<Bind>>,
    refresh_interval: Option<u64>,
    retry_interval: Option<u64>,
    #[serde(default)]
    determine_interval: bool,
    #[serde(default)]
    cone_phase: bool,
    symmetric_nat: Option<bool>,
    #[serde(default)]
    local_discovery: bool,
    #[serde(default)]
    beside_native: bool,
    port_mapping: Option<Parsed<PortMapping>>,
    secret_file: Option<PathBuf>,
});

impl ClientTable {
    fn link(mut self) -> TeredoLink {
        let mut options =
            ClientOptions { link: self.common(), server: Some(self.server.0), ..ClientOptions::default() };
        options.secondary = self.secondary;
        options.bind = self.bind.map_or(options.bind, |bind| bind.0.0);
        options.beside_native = self.beside_native;
        options.port_mapping = self.port_mapping.map_or(PortMapping::Off, |how| how.0);
        options.config.local_discovery = self.local_discovery;
        options.config.interval_determination = self.determine_interval;
        let qualify = &mut options.config.qualify;
        qualify.refresh_interval = self.refresh_interval.map_or(qualify.refresh_interval, Duration::from_secs);
        qualify.first_pause = self.retry_interval.map_or(qualify.first_pause, Duration::from_secs);
        qualify.cone_phase = self.cone_phase;
        qualify.symmetric_nat = self.symmetric_nat.unwrap_or(qualify.symmetric_nat);
        TeredoLink { options: RoleOptions::Client(Box::new(options)), secret_file: self.secret_file }
    }
}

table!(ServerTable {
    primary: Ipv4Addr,
    secondary: Option<Ipv4Addr>,
    #[serde(default)]
    known_server: Vec<Ipv4Addr>,
    #[serde(default)]
    accept_symmetric_bubbles: bool,
    #[serde(default)]
    accept_obsolete_prefix: bool,
    secret_file: Option<PathBuf>,
});

impl ServerTable {
    fn link(mut self) -> Result<TeredoLink, String> {
        let mut options = ServerOptions { link: self.common(), ..ServerOptions::new(self.primary) };
        options.config.secondary = self.secondary.unwrap_or(options.config.secondary);
        options.config.accept_symmetric_bubbles = self.accept_symmetric_bubbles;
        options.config.accept_obsolete_prefix = self.accept_obsolete_prefix;
        let places = options.config.known_servers.len();
        if self.known_server.len() > places {
            return Err(format!("a server knows {places} others at most"));
        }
        for (place, known) in options.config.known_servers.iter_mut().zip(self.known_server) {
            *place = known;
        }
        Ok(TeredoLink { options: RoleOptions::Server(Box::new(options)), secret_file: self.secret_file })
    }
}

table!(RelayTable {
    local: Ipv4Addr,
    #[serde(default)]
    port: u16,
    #[serde(default)]
    serve: Vec<Parsed<Ipv6Prefix>>,
    #[serde(default)]
    behind_nat: bool,
});

impl RelayTable {
    fn link(mut self) -> TeredoLink {
        let mut options = RelayOptions::new(SocketAddrV4::new(self.local, self.port));
        options.link = self.common();
        options.served = values(self.serve);
        options.behind_nat = self.behind_nat;
        TeredoLink { options: RoleOptions::Relay(Box::new(options)), secret_file: None }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    #[test]
    fn bind_takes_an_address_and_a_port_or_a_port() {
        let bind = |text: &str| text.parse::<Bind>().map(|bind| bind.0);
        let any = Ipv4Addr::UNSPECIFIED;
        assert_eq!(bind(":40000"), Ok(SocketAddrV4::new(any, 40_000)));
        assert_eq!(bind("40000"), Ok(SocketAddrV4::new(any, 40_000)));
        assert_eq!(bind("192.0.2.1:0"), Ok(SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 0)));
        for wrong in ["", ":", "192.0.2.1", "192.0.2.1:65536", "[::1]:1", "x:1"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_file_describes_clients_servers_and_relays() {
        let text = r#"
            [[teredo-server]]
            dev = "teredo-server"
            primary = "198.51.100.1"
            known-server = ["203.0.113.9"]
            secret-file = "/etc/isatap/clients"

            [[teredo-relay]]
            dev = "teredo-relay"
            local = "198.51.100.9"
            port = 41000
            serve = ["2001:db8:1::/48"]

            [[teredo-client]]
            server = "teredo.example.net"
            bind = ":40000"
            refresh-interval = 20
            retry-interval = 15
            determine-interval = true
            symmetric-nat = false
            port-mapping = "off"
            accept-bogons = true
        "#;
        let config = Config::parse("node.toml", text).unwrap();
        let [client, server, relay] = config.teredo.as_slice() else { panic!("{config:?}") };
        let RoleOptions::Client(client) = &client.options else { panic!("{client:?}") };
        assert_eq!((client.link.device.as_str(), client.link.accept_bogons), ("teredo", true));
        assert_eq!((client.bind.port(), client.config.qualify.symmetric_nat), (40_000, false));
        assert_eq!(client.config.qualify.refresh_interval, Duration::from_secs(20));
        assert_eq!(client.config.qualify.first_pause, Duration::from_secs(15));
        assert!(client.config.interval_determination);
        assert_eq!(server.secret_file, Some(PathBuf::from("/etc/isatap/clients")));
        let RoleOptions::Server(server) = &server.options else { panic!("{server:?}") };
        assert_eq!(server.config.secondary, Ipv4Addr::new(198, 51, 100, 2));
        assert_eq!(server.config.known_servers[0], Ipv4Addr::new(203, 0, 113, 9));
        let RoleOptions::Relay(relay) = &relay.options else { panic!("{relay:?}") };
        assert_eq!(relay.local, "198.51.100.9:41000".parse().unwrap());
        assert_eq!(relay.served, ["2001:db8:1::/48".parse().unwrap()]);
    }

    #[test]
    fn mistakes_in_them_have_their_lines_too() {
        let problems = |text: &str| -> Vec<String> {
            Config::parse("node.toml", text).unwrap_err().iter().map(ToString::to_string).collect()
        };
        for (text, expected) in [
            (
                "[[teredo-client]]\nserver = \"198.51.100.1:53\"\n",
                "node.toml:2:10: 198.51.100.1:53: a Teredo server has port 3544",
            ),
            (
                "[[teredo-client]]\nserver = \"10.0.0.1\"\n",
                "node.toml:2:10: cannot use the server 10.0.0.1: Teredo works",
            ),
            ("[[teredo-client]]\nbind = \":1\"\n", "node.toml:1: missing field `server`"),
            (
                "[[teredo-client]]\nserver = \"a.example\"\nport-mapping = \"igd\"\n",
                "node.toml:3:16: igd: expected off, auto",
            ),
            (
                "\n[[teredo-server]]\nprimary = \"198.51.100.1\"\nsecondary = \"198.51.100.1\"\n",
                "node.toml:2: cannot answer at",
            ),
            (
                "[[teredo-relay]]\nlocal = \"198.51.100.1\"\nports = 1\n",
                "node.toml:3:1: [[teredo-relay]] has no key ports: write port",
            ),
            (
                "[[teredo-relay]]\nlocal = \"198.51.100.1\"\nport = 3544\n",
                "node.toml:1: cannot relay from 198.51.100.1:3544",
            ),
            (
                "[[teredo-server]]\nprimary = \"198.51.100.1\"\n[[teredo-relay]]\nlocal = \"198.51.100.1\"\n",
                "node.toml:3: a second link has the device teredo: give each its own dev",
            ),
            (
                "[[isatap-host]]\npcap = \"a\"\n[[teredo-relay]]\nlocal = \"198.51.100.1\"\npcap = \"a\"\n",
                "node.toml:5:8: packets are recorded into a already",
            ),
        ] {
            let found = problems(text);
            assert!(found[0].starts_with(expected), "{text:?}: {found:?}");
        }
    }
}
