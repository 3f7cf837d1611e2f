//! UPnP. [RFC 6081 §5.3.3]

use super::{Mapped, Method};
use crate::runtime_dir::{keep, kept};
use igd_next::{Gateway, GatewayIpVersion, PortMappingProtocol, SearchOptions, search_gateway};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::Duration;

/// For ever: `TER-72`, and all that some gateways know.
const LEASE: u32 = 0;
/// A gateway that restarts forgets.
const RENEW_AFTER: Duration = Duration::from_secs(1200);
const DESCRIPTION: &str = "TEREDO";

/// See the module above.
pub(super) struct Upnp {
    gateway: Option<Gateway>,
    external_port: Option<u16>,
    /// Remembers the port as long as it is mapped, since nothing else ends the lease.
    file: Option<PathBuf>,
}

impl Upnp {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self { gateway: None, external_port: None, file }
    }

    fn remembered(&self) -> Option<u16> {
        kept(self.file.as_ref()?).ok()?.trim().parse().ok()
    }

    fn remember(&self, port: Option<u16>) {
        let Some(file) = &self.file else { return };
        // Not remembered is what a full disk costs: the mapping stays after a kill.
        let _ = keep(file, &port.map(|port| port.to_string()).unwrap_or_default());
    }

    fn search(&self, local: SocketAddrV4) -> Result<Gateway, String> {
        let mut options = SearchOptions::default();
        options.bind_addr = SocketAddr::new(IpAddr::V4(*local.ip()), 0);
        options.gateway_ip_version = GatewayIpVersion::V4;
        options.timeout = Some(Duration::from_secs(3));
        options.single_search_timeout = Some(Duration::from_secs(2));
        search_gateway(options).map_err(|error| format!("by UPnP: {error}"))
    }
}

impl Method for Upnp {
    fn map(&mut self, _: Ipv4Addr, local: SocketAddrV4) -> Result<Mapped, String> {
        // What was found once is asked again only while it answers.
        let gateway = match self.gateway.take() {
            Some(gateway) => gateway,
            None => self.search(local)?,
        };
        let failed = |error: &dyn std::fmt::Display| format!("by UPnP of {}: {error}", gateway.addr);
        // TER-72 [RFC 6081 §5.3.3]: what a predecessor has left goes first.
        let left = self.remembered().filter(|port| Some(*port) != self.external_port);
        let left = left.filter(|port| gateway.remove_port(PortMappingProtocol::UDP, *port).is_err());
        let port = local.port();
        // Before there is one: who is killed meanwhile leaves none that nobody knows of.
        self.remember(Some(port));
        let added = gateway.add_port(PortMappingProtocol::UDP, port, SocketAddr::V4(local), LEASE, DESCRIPTION);
        if let Err(error) = added {
            // What was there before is there still.
            self.remember(self.external_port.or(left));
            return Err(failed(&error));
        }
        let external = match gateway.get_external_ip() {
            Ok(IpAddr::V4(address)) => Ok(address),
            Ok(IpAddr::V6(_)) => Err(failed(&"an IPv6 address")),
            Err(error) => Err(failed(&error)),
        };
        let external = match external {
            Ok(external) => SocketAddrV4::new(external, port),
            Err(why) => {
                // SHOULD remove it then.
                if gateway.remove_port(PortMappingProtocol::UDP, port).is_ok() {
                    self.external_port = None;
                    self.remember(left);
                }
                return Err(why);
            }
        };
        self.external_port = Some(port);
        self.gateway = Some(gateway);
        Ok(Mapped { external, by: "UPnP", renew_after: RENEW_AFTER })
    }

    fn unmap(&mut self) {
        if let (Some(gateway), Some(port)) = (&self.gateway, self.external_port.take())
            && gateway.remove_port(PortMappingProtocol::UDP, port).is_ok()
        {
            self.remember(None);
        }
    }
}
