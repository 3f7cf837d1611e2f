//! A Teredo relay. [RFC 4380 §5.4]

use super::field::spec;
use super::{Bind, Refusals, check_public};
use crate::error::Error;
use isatap_core::link::Locator;
use isatap_core::prefix::Ipv6Prefix;
use isatap_core::teredo::addr::SERVER_PORT;
use isatap_core::teredo::relay::{RelayConfig, SERVED};
use std::net::{Ipv4Addr, SocketAddrV4};

spec! { teredo
    /// Run a Teredo relay: takes the packets of native hosts to Teredo clients, and back.
    ///
    /// Without IPv6 forwarding it serves this machine alone (a host-specific relay).
    TeredoRelay {
        /// The IPv4 address that it sends from, of this machine.
        local: Ipv4Addr ["V4"], new(local);
        /// The UDP port that it sends from; any if it is left out. In a file, port = N is the same.
        bind: Option<Bind> ["[V4]:PORT"], alias("port");
        /// A native prefix that it serves. May be repeated, up to eight times; all if it is left out.
        serve: Vec<Ipv6Prefix> ["PREFIX"];
        /// It sits behind a NAT itself, which is no cone.
        behind_nat: bool;
    }
}

impl TeredoRelay {
    /// Where its socket is to be; port 0: any.
    pub(crate) fn socket(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.local, self.bind.map_or(0, |bind| bind.0.port()))
    }

    /// How the core speaks the protocol from this UDP port. `subnet_length`: how many bits the
    /// hosts of `local`'s own IPv4 network share.
    #[must_use]
    pub fn config(&self, subnet_length: u8, port: u16) -> RelayConfig {
        let mut config = RelayConfig::new(Locator { address: self.local, subnet_length }, port);
        config.behind_nat = self.behind_nat;
        config.accept_bogons = self.accept_bogons;
        if !self.serve.is_empty() {
            config.served = [None; SERVED];
            for (place, prefix) in config.served.iter_mut().zip(&self.serve) {
                *place = Some(*prefix);
            }
        }
        config
    }

    pub(super) fn resolve(&mut self) {
        self.bind = Some(Bind(self.socket()));
        super::sort(&mut self.serve);
    }

    pub(super) fn refuse(&self, refusals: &mut Refusals) {
        if !self.behind_nat {
            refusals.note("local", check_public(self.local, "relay from", self.accept_bogons));
        }
        if let Some(Bind(bind)) = self.bind {
            if !bind.ip().is_unspecified() && *bind.ip() != self.local {
                let error = Error::usage("relay from", bind, format!("local is {}", self.local));
                refusals.add("bind", error.with_advice(format!("write :{}, the port alone", bind.port())));
            }
            if bind.port() == SERVER_PORT {
                let error = Error::usage("relay from", self.socket(), "that is the port of servers");
                refusals.add("bind", error.with_advice("choose another port"));
            }
        }
        if let Some(more) = self.serve.get(SERVED) {
            refusals.add("serve", Error::usage("serve", more, format!("a relay serves {SERVED} prefixes at most")));
        }
    }
}
