//! A Teredo client. [RFC 4380, RFC 5991, RFC 6081]

use super::field::spec;
use super::{Bind, Refusals, ServerName, check_public};
use crate::error::Error;
use crate::resolve::Entry;
use isatap_core::teredo::client::ClientConfig;
use isatap_core::time::Duration;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;
use std::str::FromStr;

spec! { teredo
    /// Run a Teredo client: an IPv6 address behind a NAT, and a default route of the lowest priority.
    ///
    /// It is the last resort: while this machine has other IPv6 (a default route by another device, and a
    /// global address) it rests, without address, route or a packet to its server.
    TeredoClient {
        /// The server, by address or name.
        server: ServerName ["HOST[:PORT]"], new(server);
        /// The server's other address; the one behind the first if it is left out.
        secondary: Option<Ipv4Addr> ["V4"];
        /// Send from this IPv4 address and UDP port. Without an address from the one that the kernel would
        /// use toward the server; without a port from any.
        bind: Option<Bind> ["[V4]:PORT"];
        /// Seconds that the server may be silent at most: less than the NAT's time-out.
        refresh_interval: u64 ["SECONDS"] = 30;
        /// Find out with a second port for how long the NAT keeps a mapping, up to 120 s, and refresh no
        /// more often than that takes.
        determine_interval: bool;
        /// Seconds until a server that did not answer is asked again, at first; twice as long each time.
        retry_interval: u64 ["SECONDS"] = 100;
        /// Qualify with the secret in this file, as its server demands. See --help of teredo server for
        /// what is in it: here one line.
        secret_file: Option<PathBuf> ["FILE"];
        /// Ask the NAT to open the port: auto, pcp or upnp. Reaches peers behind more kinds of NAT, and
        /// opens this host to everyone.
        port_mapping: PortMapping ["HOW"] = PortMapping::Off;
        /// Work behind a symmetric NAT (RFC 6081).
        symmetric_nat: bool, unless("no-symmetric-nat");
        /// Ask for a cone NAT first, as before RFC 5991.
        cone_phase: bool;
        /// Look for peers on the local network, which shows this host to its neighbours.
        local_discovery: bool;
        /// Work although this machine has other IPv6. Without it the client rests beside it.
        beside_native: bool;
    }
}

impl TeredoClient {
    /// The address that it is bound to, where it is told one.
    pub(crate) fn bound(&self) -> Option<Ipv4Addr> {
        self.bind.map(|bind| *bind.0.ip()).filter(|address| !address.is_unspecified())
    }

    /// Where its socket is to be: what is left open is 0.
    pub(crate) fn socket(&self) -> SocketAddrV4 {
        self.bind.map_or(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), |bind| bind.0)
    }

    /// How the core speaks the protocol from this UDP port. The server comes later where it has a
    /// name.
    #[must_use]
    pub fn config(&self, port: u16) -> ClientConfig {
        let server = match self.server.entry() {
            Entry::Address(address) => *address,
            Entry::Name(_) => Ipv4Addr::UNSPECIFIED,
        };
        let mut config = ClientConfig::new(server, port);
        config.qualify.secondary = self.secondary.or(config.qualify.secondary);
        config.local_discovery = self.local_discovery;
        config.interval_determination = self.determine_interval;
        let qualify = &mut config.qualify;
        qualify.accept_bogons = self.accept_bogons;
        qualify.refresh_interval = Duration::from_secs(self.refresh_interval);
        qualify.first_pause = Duration::from_secs(self.retry_interval);
        qualify.cone_phase = self.cone_phase;
        qualify.symmetric_nat = self.symmetric_nat;
        config
    }

    pub(super) fn resolve(&mut self) {
        self.bind = Some(Bind(self.socket()));
        if let Entry::Address(_) = self.server.entry() {
            self.secondary = self.config(0).qualify.secondary;
        }
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        if let Entry::Address(address) = self.server.entry() {
            refusals.note("server", check_public(*address, "use the server", self.accept_bogons));
            if self.secondary == Some(*address) {
                let error = Error::usage("use the secondary server", address, "it is the primary one as well");
                refusals.add("secondary", error.with_advice("leave secondary out if the server has no other"));
            }
        }
        if let Some(secondary) = self.secondary {
            refusals.note("secondary", check_public(secondary, "use the secondary server", self.accept_bogons));
        }
        for (key, seconds, doing) in [
            ("refresh-interval", self.refresh_interval, "refresh every"),
            ("retry-interval", self.retry_interval, "ask the server every"),
        ] {
            if seconds == 0 {
                let error = Error::usage(doing, "0 s", "the server would be asked without end");
                refusals.add(key, error.with_advice("write 1 or more"));
            }
        }
        refusals.note("port-mapping", self.port_mapping.check());
    }
}

/// Whether and how the NAT is asked to open the service port. `TER-72`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PortMapping {
    /// It is not.
    #[default]
    Off,
    /// By PCP, else by NAT-PMP, else by UPnP: as many of them as were built in.
    Auto,
    /// By PCP, else by NAT-PMP (feature `pcp`).
    Pcp,
    /// By UPnP (feature `upnp`).
    Upnp,
}

impl PortMapping {
    /// Whether this program can do it.
    ///
    /// # Errors
    ///
    /// A usage error: it was built without.
    pub fn check(self) -> Result<(), Error> {
        let (pcp, upnp) = (cfg!(feature = "pcp"), cfg!(feature = "upnp"));
        let (ok, features) = match self {
            PortMapping::Off => (true, ""),
            PortMapping::Auto => (pcp || upnp, "pcp or upnp"),
            PortMapping::Pcp => (pcp, "pcp"),
            PortMapping::Upnp => (upnp, "upnp"),
        };
        if ok {
            return Ok(());
        }
        let error = Error::usage("ask the NAT for", "a port mapping", "this program was built without the protocol");
        Err(error.with_advice(format!("build it with the feature {features}")))
    }

    const ALL: [(PortMapping, &'static str); 4] = [
        (PortMapping::Off, "off"),
        (PortMapping::Auto, "auto"),
        (PortMapping::Pcp, "pcp"),
        (PortMapping::Upnp, "upnp"),
    ];
}

impl FromStr for PortMapping {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = PortMapping::ALL.into_iter().find(|(_, name)| *name == text);
        found.map(|(how, _)| how).ok_or("expected off, auto, pcp or upnp")
    }
}

impl fmt::Display for PortMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(PortMapping::ALL.into_iter().find(|(how, _)| how == self).map_or("", |(_, name)| name))
    }
}
