//! UPnP. [RFC 6081 §5.3.3]

mod left;

use self::left::{Left, Memory};
use super::{Mapped, Method};
use igd_next::{
    Gateway, GatewayIpVersion, GetGenericPortMappingEntryError, PortMappingProtocol, SearchOptions, search_gateway,
};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// For ever: `TER-72`, and all that some gateways know.
const LEASE: u32 = 0;
/// A gateway that restarts forgets.
const RENEW_AFTER: Duration = Duration::from_secs(1200);
const DESCRIPTION: &str = "TEREDO";
/// So long a gateway may list its mappings.
const LISTING: Duration = Duration::from_secs(3);

/// What is asked of a gateway.
trait Device: Send {
    /// What tells it from others, without white space.
    fn name(&self) -> String;
    fn add(&self, local: SocketAddrV4) -> Result<(), String>;
    fn remove(&self, port: u16) -> Result<(), String>;
    fn external(&self) -> Result<Ipv4Addr, String>;
    /// Who has the UDP port, and the description; `None`: nobody.
    fn holder(&self, port: u16) -> Result<Option<(SocketAddrV4, String)>, String>;
}

type Search = Box<dyn FnMut(SocketAddrV4) -> Result<Box<dyn Device>, String> + Send>;

/// See the module above.
pub(super) struct Upnp {
    search: Search,
    gateway: Option<Box<dyn Device>>,
    /// What holds now.
    mapped: Option<Left>,
    /// Since nothing else ends the lease.
    memory: Memory,
}

impl Upnp {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self::with_search(Box::new(search), file)
    }

    fn with_search(search: Search, file: Option<PathBuf>) -> Self {
        Self { search, gateway: None, mapped: None, memory: Memory::open(file) }
    }
}

impl Method for Upnp {
    fn map(&mut self, _: Ipv4Addr, local: SocketAddrV4) -> Result<Mapped, String> {
        // What was found once is asked again only while it answers.
        let gateway = match self.gateway.take() {
            Some(gateway) => gateway,
            None => (self.search)(local)?,
        };
        let wanted = Left { gateway: gateway.name(), client: local, external: None };
        if let Some(before) = self.mapped.take_if(|before| !before.is_same(&wanted)) {
            self.memory.left.push(before);
        }
        // TER-72 [RFC 6081 §5.3.3]: what a predecessor has left goes first.
        self.memory.left.retain(|left| !take_back(gateway.as_ref(), left, *local.ip()));
        // Before there is one: who is killed meanwhile leaves none that nobody knows of.
        self.memory.keep(self.mapped.as_ref().or(Some(&wanted)));
        if let Err(why) = gateway.add(local) {
            // What was there before is there still.
            self.memory.keep(self.mapped.as_ref());
            return Err(why);
        }
        let external = match gateway.external() {
            Ok(external) => external,
            Err(why) => {
                // SHOULD remove it then.
                self.mapped = None;
                if gateway.remove(local.port()).is_err() {
                    self.memory.left.push(wanted);
                }
                self.memory.keep(None);
                return Err(why);
            }
        };
        self.mapped = Some(Left { external: Some(external), ..wanted });
        self.memory.keep(self.mapped.as_ref());
        self.gateway = Some(gateway);
        let external = SocketAddrV4::new(external, local.port());
        let forgotten = self.memory.failure().cloned();
        Ok(Mapped { external, by: "UPnP", renew_after: RENEW_AFTER, forgotten })
    }

    fn unmap(&mut self) {
        let Some(mapped) = self.mapped.take() else { return };
        if self.gateway.as_ref().is_none_or(|gateway| gateway.remove(mapped.client.port()).is_err()) {
            self.memory.left.push(mapped);
        }
        self.memory.keep(None);
    }
}

/// Removes what a predecessor has left, where this is still the gateway and the mapping still its own: both may belong
/// to somebody else by now. Whether it is gone.
fn take_back(gateway: &dyn Device, left: &Left, own: Ipv4Addr) -> bool {
    // Gateways of many homes have the same name; who has the same address in both cannot tell.
    let is_there = left.gateway == gateway.name()
        && (*left.client.ip() == own || left.external.is_none_or(|external| gateway.external() == Ok(external)));
    if !is_there {
        return false;
    }
    let port = left.client.port();
    match gateway.holder(port) {
        Ok(Some((client, description))) if client == left.client && description == DESCRIPTION => {
            gateway.remove(port).is_ok()
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

fn search(local: SocketAddrV4) -> Result<Box<dyn Device>, String> {
    let mut options = SearchOptions::default();
    options.bind_addr = SocketAddr::new(IpAddr::V4(*local.ip()), 0);
    options.gateway_ip_version = GatewayIpVersion::V4;
    options.timeout = Some(Duration::from_secs(3));
    options.single_search_timeout = Some(Duration::from_secs(2));
    let found = search_gateway(options).map_err(|error| format!("by UPnP: {error}"))?;
    Ok(Box::new(found))
}

impl Device for Gateway {
    fn name(&self) -> String {
        format!("{}{}", self.addr, self.root_url).split_whitespace().collect()
    }

    fn add(&self, local: SocketAddrV4) -> Result<(), String> {
        let added = self.add_port(PortMappingProtocol::UDP, local.port(), SocketAddr::V4(local), LEASE, DESCRIPTION);
        added.map_err(|error| failed(self, &error))
    }

    fn remove(&self, port: u16) -> Result<(), String> {
        self.remove_port(PortMappingProtocol::UDP, port).map_err(|error| failed(self, &error))
    }

    fn external(&self) -> Result<Ipv4Addr, String> {
        match self.get_external_ip() {
            Ok(IpAddr::V4(address)) => Ok(address),
            Ok(IpAddr::V6(_)) => Err(failed(self, &"an IPv6 address")),
            Err(error) => Err(failed(self, &error)),
        }
    }

    fn holder(&self, port: u16) -> Result<Option<(SocketAddrV4, String)>, String> {
        let end = Instant::now() + LISTING;
        // The library does not ask for a port (GetSpecificPortMappingEntry).
        for index in 0.. {
            match self.get_generic_port_mapping_entry(index) {
                Ok(entry) if matches!(entry.protocol, PortMappingProtocol::UDP) && entry.external_port == port => {
                    // A name is nobody whom we know.
                    let address = entry.internal_client.parse().unwrap_or(Ipv4Addr::UNSPECIFIED);
                    let client = SocketAddrV4::new(address, entry.internal_port);
                    return Ok(Some((client, entry.port_mapping_description)));
                }
                Ok(_) if Instant::now() < end => {}
                Ok(_) => break,
                Err(GetGenericPortMappingEntryError::SpecifiedArrayIndexInvalid) => return Ok(None),
                Err(error) => return Err(failed(self, &error)),
            }
        }
        Err(failed(self, &"its list of mappings is too long"))
    }
}

fn failed(gateway: &Gateway, error: &dyn std::fmt::Display) -> String {
    format!("by UPnP of {}: {error}", gateway.addr)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex};

    const HOME: &str = "192.168.1.1:5000/rootDesc.xml";
    const EXTERNAL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);
    type Table = Arc<Mutex<BTreeMap<u16, (SocketAddrV4, String)>>>;

    #[derive(Clone)]
    struct Fake {
        name: &'static str,
        external: Ipv4Addr,
        table: Table,
    }

    impl Device for Fake {
        fn name(&self) -> String {
            self.name.to_owned()
        }

        fn add(&self, local: SocketAddrV4) -> Result<(), String> {
            self.table.lock().unwrap().insert(local.port(), (local, DESCRIPTION.to_owned()));
            Ok(())
        }

        fn remove(&self, port: u16) -> Result<(), String> {
            self.table.lock().unwrap().remove(&port).map(drop).ok_or("no such mapping".to_owned())
        }

        fn external(&self) -> Result<Ipv4Addr, String> {
            Ok(self.external)
        }

        fn holder(&self, port: u16) -> Result<Option<(SocketAddrV4, String)>, String> {
            Ok(self.table.lock().unwrap().get(&port).cloned())
        }
    }

    impl Fake {
        fn new(name: &'static str, external: Ipv4Addr) -> Self {
            Self { name, external, table: Table::default() }
        }

        fn method(&self, file: &std::path::Path) -> Upnp {
            let gateway = self.clone();
            Upnp::with_search(Box::new(move |_| Ok(Box::new(gateway.clone()))), Some(file.to_owned()))
        }

        fn ports(&self) -> Vec<u16> {
            self.table.lock().unwrap().keys().copied().collect()
        }

        fn give(&self, port: u16, client: SocketAddrV4, description: &str) {
            self.table.lock().unwrap().insert(port, (client, description.to_owned()));
        }
    }

    fn local(last: u8, port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(Ipv4Addr::new(192, 168, 1, last), port)
    }

    fn map(method: &mut Upnp, local: SocketAddrV4) -> Mapped {
        method.map(Ipv4Addr::new(192, 168, 1, 1), local).unwrap()
    }

    #[test]
    fn ter_72_what_a_killed_client_left_goes_where_it_is_and_while_it_is_its_own() {
        let folder = std::env::temp_dir().join(format!("isatap-upnp-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("teredo.port-mapping");
        let home = Fake::new(HOME, EXTERNAL);
        // Killed: without the end.
        let kill = |port| std::mem::forget(map(&mut home.method(&file), local(2, port)));
        kill(40_001);
        assert_eq!(home.ports(), [40_001]);
        // Another gateway, and one of the same name in another home: others have the port there.
        let other = Ipv4Addr::new(203, 0, 113, 9);
        for elsewhere in [Fake::new("10.0.0.1:80/igd.xml", other), Fake::new(HOME, other)] {
            elsewhere.give(40_001, local(2, 40_001), DESCRIPTION);
            let mut method = elsewhere.method(&file);
            map(&mut method, local(7, 40_007));
            method.unmap();
            assert_eq!(elsewhere.ports(), [40_001]);
        }
        // At home again, at another address.
        let mut method = home.method(&file);
        map(&mut method, local(3, 40_002));
        assert_eq!(home.ports(), [40_002]);
        method.unmap();
        assert_eq!((home.ports(), file.exists()), (vec![], false));
        // The port is another's by now, or the user's for something else.
        for (client, description) in [(local(9, 40_003), DESCRIPTION), (local(2, 40_003), "game")] {
            kill(40_003);
            home.give(40_003, client, description);
            let mut method = home.method(&file);
            map(&mut method, local(2, 40_004));
            method.unmap();
            assert_eq!((home.ports(), file.exists()), (vec![40_003], false), "{description}");
        }
        std::fs::remove_dir_all(&folder).unwrap();
        let forgotten = map(&mut home.method(&file), local(2, 40_005)).forgotten.unwrap();
        assert!(forgotten.contains("cannot keep ") && forgotten.contains("No such file"), "{forgotten}");
    }
}
