//! A Teredo server. [RFC 4380]

use super::field::spec;
use super::{Refusals, check_public};
use crate::error::Error;
use isatap_core::teredo::server::ServerConfig;
use std::net::Ipv4Addr;
use std::path::PathBuf;

spec! { teredo
    /// Run a Teredo server: tells clients how their NATs show them, and carries their first packets.
    ///
    /// It needs two public IPv4 addresses of this machine, and IPv6 forwarding for clients that want to
    /// reach native hosts.
    TeredoServer {
        /// The address that is in its clients' addresses.
        primary: Ipv4Addr ["V4"], new(primary);
        /// The other one; the address behind the first if it is left out.
        secondary: Option<Ipv4Addr> ["V4"];
        /// Another server, to which nothing is sent and from which nothing is taken. May be repeated, up
        /// to eight times.
        known_server: Vec<Ipv4Addr> ["V4"];
        /// Accept bubbles of symmetric clients of other servers, against the letter of RFC 4380.
        accept_symmetric_bubbles: bool;
        /// Carry for clients of Windows XP, whose addresses are in 3ffe:831f::/32; they are told of
        /// 2001::/32 all the same.
        accept_obsolete_prefix: bool;
        /// Answer only clients with a secret in this file. It has one client on a line: an identifier,
        /// white space, the secret, as text or as 0x and hexadecimal digits, 16 bytes at least. Only its
        /// owner and group may read it.
        secret_file: Option<PathBuf> ["FILE"];
    }
}

impl TeredoServer {
    pub(crate) fn secondary(&self) -> Ipv4Addr {
        self.secondary.unwrap_or(ServerConfig::new(self.primary).secondary)
    }

    /// How the core speaks the protocol.
    #[must_use]
    pub fn config(&self) -> ServerConfig {
        let mut config = ServerConfig::new(self.primary);
        config.secondary = self.secondary();
        config.accept_bogons = self.accept_bogons;
        config.accept_symmetric_bubbles = self.accept_symmetric_bubbles;
        config.accept_obsolete_prefix = self.accept_obsolete_prefix;
        for (place, known) in config.known_servers.iter_mut().zip(&self.known_server) {
            *place = *known;
        }
        config
    }

    pub(super) fn resolve(&mut self) {
        self.secondary = Some(self.secondary());
        super::sort(&mut self.known_server);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        let secondary = self.secondary();
        if self.primary == secondary {
            let error = Error::usage("answer at", self.primary, "a Teredo server needs two addresses");
            refusals.add("secondary", error.with_advice("name another address as secondary, or leave it out"));
        }
        refusals.note("primary", check_public(self.primary, "answer at", self.accept_bogons));
        if self.primary != secondary {
            refusals.note("secondary", check_public(secondary, "answer at", self.accept_bogons));
        }
        let places = ServerConfig::new(self.primary).known_servers.len();
        if let Some(more) = self.known_server.get(places) {
            refusals
                .add("known-server", Error::usage("know the server", more, format!("{places} others are the most")));
        }
    }
}
