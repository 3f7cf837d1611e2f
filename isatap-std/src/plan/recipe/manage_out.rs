//! Manage-out by ISATAP: hosts of an IPv4 intranet reach DirectAccess clients.
//!
//! The intranet's ISATAP router is a machine of its own, beside the DirectAccess servers; its hosts
//! learn from it the routes to the clients, and from nobody a default route.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixtofour::addr::{DirectAccessUlaPrefixes, directaccess_prefixes_ula};

use super::super::steps::{Steps, words};
use super::super::windows::{add_route, set_router};
use super::super::{Platform, Step};
use super::{check_client, hosts_line};
use crate::device::check_device;
use crate::error::Error;
use crate::resolve::{Entry, EntryError};
use crate::spec::AddressWithLength;

/// The metric of administrators' guides: it wins over the server's own ISATAP interface.
const SERVER_METRIC: &str = "200";

/// Reach DirectAccess clients from hosts of an IPv4 intranet: an ISATAP router of this tool beside
/// the servers, what the servers, the DNS and the hosts need, and the checks.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "args", derive(clap::Args))]
pub struct ManageOut {
    /// The /48 of the DirectAccess servers, as their wizard drew it.
    #[cfg_attr(feature = "args", arg(long, value_name = "PREFIX/48"))]
    pub organisation: Ipv6Prefix,
    /// The IPv4 address of the ISATAP router in the intranet.
    #[cfg_attr(feature = "args", arg(long, value_name = "V4"))]
    pub router: Ipv4Addr,
    /// The router's IPv6 address on the network of the servers.
    #[cfg_attr(feature = "args", arg(long, value_name = "V6/LEN"))]
    pub router_address: AddressWithLength,
    /// The router's device on that network.
    #[cfg_attr(feature = "args", arg(long, value_name = "DEV"))]
    pub router_dev: String,
    /// A server's IPv6 address on that network; the prefix of its clients, where it is not :1000::/64
    /// of the first server and :1001::/64 of the second. May be repeated.
    #[cfg_attr(feature = "args", arg(long, required = true, value_name = "V6[=PREFIX/64]"))]
    pub server: Vec<Server>,
    /// The servers' interface on that network, by name or index.
    #[cfg_attr(feature = "args", arg(long, value_name = "NAME|INDEX", value_parser = super::super::interface))]
    pub server_interface: Option<String>,
    /// The name by which hosts find the router.
    #[cfg_attr(feature = "args", arg(long, value_name = "NAME"))]
    pub name: Entry,
    /// A client to try it with; its IPv6 address, where no DNS knows the client.
    #[cfg_attr(feature = "args", arg(long, value_name = "NAME[=V6]"))]
    pub client: Option<Client>,
    /// A TCP port of the client.
    #[cfg_attr(feature = "args", arg(long, value_name = "PORT", default_value_t = 3389))]
    pub port: u16,
    /// The router's configuration file.
    #[cfg_attr(feature = "args", arg(long, value_name = "FILE", default_value = "/etc/isatap/isatap.toml"))]
    pub file: String,
}

/// A DirectAccess server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Server {
    /// Its address on the network of the ISATAP router.
    pub address: Ipv6Addr,
    /// The prefix of its IP-HTTPS clients; `None`: as its place among the servers says.
    pub clients: Option<Ipv6Prefix>,
}

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, clients) = match text.split_once('=') {
            None => (text, None),
            Some((address, prefix)) => (address, Some(prefix)),
        };
        let address = address.parse().map_err(|_| "an IPv6 address was expected: write fd9c:30c:2da4:111::25")?;
        let clients = clients.map(str::parse).transpose();
        let clients = clients.map_err(|_| "a prefix was expected behind the =: write fd9c:30c:2da4:1000::/64")?;
        Ok(Self { address, clients })
    }
}

/// A DirectAccess client.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Client {
    /// Its name.
    pub name: Entry,
    /// Its address, for hosts files.
    pub address: Option<Ipv6Addr>,
}

impl FromStr for Client {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = match text.split_once('=') {
            None => (text, None),
            Some((name, address)) => (name, Some(address)),
        };
        if name.starts_with('-') {
            return Err("a name that begins with a hyphen would be an option".to_owned());
        }
        let name = name.parse().map_err(|error: EntryError| error.to_string())?;
        let address = address.map(str::parse).transpose();
        let address = address.map_err(|_| "an IPv6 address was expected behind the =".to_owned())?;
        Ok(Self { name, address })
    }
}

impl ManageOut {
    /// The guide, for servers and hosts of this platform; `isatap`: Linux, this tool on the hosts.
    ///
    /// # Errors
    ///
    /// A usage error: what is given makes no set-up.
    pub fn steps(&self, platform: Platform) -> Result<Vec<Step>, Error> {
        if !matches!(platform, Platform::Windows | Platform::PowerShell | Platform::Isatap) {
            let error = Error::usage("write this recipe for", platform, "servers and hosts are Windows or Linux");
            return Err(error.with_advice("give --for windows, powershell or isatap"));
        }
        check_device(&self.router_dev)?;
        let prefixes = self.prefixes()?;
        let clients = self.clients(&prefixes)?;
        let router = self.router_steps(&prefixes, &clients);
        let servers = (1..).zip(&self.server).flat_map(|(number, _)| self.server_steps(platform, number, &prefixes));
        let all = router.into_iter().chain(servers).chain(self.names(platform)).chain(self.host(platform));
        Ok(all.chain(self.client_steps(platform, &prefixes)).chain(self.checks(platform, &prefixes)).collect())
    }

    /// `S64-40`
    fn prefixes(&self) -> Result<DirectAccessUlaPrefixes, Error> {
        directaccess_prefixes_ula(&self.organisation).ok_or_else(|| {
            let error = Error::usage("derive prefixes from", self.organisation, "it is no /48");
            error.with_advice("give the /48 of the servers, such as fd9c:30c:2da4::/48")
        })
    }

    /// The prefix of each server's clients.
    fn clients(&self, prefixes: &DirectAccessUlaPrefixes) -> Result<Vec<Ipv6Prefix>, Error> {
        let by_place = [prefixes.ip_https, prefixes.second_ip_https];
        let of = |(place, server): (usize, &Server)| {
            server.clients.or(by_place.get(place).copied()).ok_or_else(|| {
                let error = Error::usage("route to the clients of", server.address, "their prefix is not known");
                error.with_advice(format!("write {}=PREFIX/64; see ipconfig on it", server.address))
            })
        };
        self.server.iter().enumerate().map(of).collect()
    }

    fn router_steps(&self, prefixes: &DirectAccessUlaPrefixes, clients: &[Ipv6Prefix]) -> Vec<Step> {
        let mut steps = Steps::new(Platform::Isatap, "router", None, 0);
        let routes: Vec<String> = clients.iter().map(|prefix| format!("\"{prefix}\"")).collect();
        // S64-42
        let text = format!(
            "# The ISATAP router of manage-out: hosts learn the routes to the clients, and no default route.\n\
             [[isatap-router]]\nlocal = \"{}\"\nprefix = \"{}\"\ndefault-route = false\nadvertise-route = [{}]\n\n\
             [[native]]\ndev = \"{}\"\nforwarding = true\n",
            self.router,
            prefixes.isatap,
            routes.join(", "),
            escaped(&self.router_dev),
        );
        steps.write("Describe the router.", &self.file, &text).note(
            "It fails where the file is there already: choose another by --file. The prefix is exactly that of the \
                 servers' IPsec rules: with another one only ICMP comes through.",
        );
        steps.run("Check the file.", words!["isatap", "config", "check", self.file]);
        let AddressWithLength(own) = self.router_address;
        let address = format!("{}/{}", own.address, own.prefix_length);
        steps
            .run(
                "Add the router's address, if it is not there.",
                words!["ip", "-6", "address", "replace", address, "dev", self.router_dev],
            )
            .note("The undo leaves it: the router may have had it before.");
        for (server, prefix) in self.server.iter().zip(clients) {
            let route =
                |verb: &str| words!["ip", "-6", "route", verb, prefix, "via", server.address, "dev", self.router_dev];
            steps.run("Add the route to the server's clients.", route("add")).undo(route("del"));
        }
        super::super::iproute2::forward(&mut steps);
        steps
            .run("Run the router.", words!["isatap", "run", self.file])
            .note("It runs in the foreground. The README's \"At every boot\" makes a service of it.");
        steps.take()
    }

    fn server_steps(&self, platform: Platform, number: usize, prefixes: &DirectAccessUlaPrefixes) -> Vec<Step> {
        const STEP: &str = "Send what is for the intranet's ISATAP hosts to the router.";
        const NOTE: &str = "Its metric is to be lower than that of the server's own ISATAP interface.";
        let on = format!("server {number}");
        let mut steps = Steps::new(platform, &on, None, 0);
        let (prefix, router) = (prefixes.isatap.to_string(), self.router_address.0.address.to_string());
        match (&self.server_interface, platform) {
            (None, _) => steps.not_known(STEP, "the servers' interface", "give --server-interface NAME or INDEX"),
            (Some(interface), Platform::Isatap) => {
                let route = |verb: &str| words!["ip", "-6", "route", verb, prefix, "via", router, "dev", interface];
                let add = [route("add"), words!["metric", SERVER_METRIC]].concat();
                steps.run(STEP, add).undo(route("del")).note(NOTE);
            }
            (Some(interface), _) => {
                add_route(&mut steps, STEP, &prefix, interface, Some(&router), Some(SERVER_METRIC));
            }
        }
        steps.take()
    }

    fn names(&self, platform: Platform) -> Vec<Step> {
        const STEP: &str = "Let the router's name resolve.";
        let name = self.name.to_string();
        if matches!(self.name, Entry::Address(_)) {
            return Vec::new();
        }
        if platform == Platform::Isatap {
            let mut steps = Steps::new(platform, "management host", None, 0);
            hosts_line(&mut steps, STEP, &self.router.to_string(), &name);
            if let Some(Client { name, address: Some(address) }) = &self.client {
                hosts_line(&mut steps, "Let the client's name resolve.", &address.to_string(), &name.to_string());
            }
            return steps.take();
        }
        let mut steps = Steps::new(platform, "DNS server", None, 0);
        let Some((label, zone)) = name.split_once('.').filter(|(_, zone)| !zone.is_empty()) else {
            steps.not_known(STEP, "the zone of the router's name", "give --name with its domain");
            return steps.take();
        };
        let is_blocked = label.eq_ignore_ascii_case("isatap");
        if platform == Platform::PowerShell {
            let add =
                words!["Add-DnsServerResourceRecordA", "-ZoneName", zone, "-Name", label, "-IPv4Address", self.router];
            let remove =
                words!["Remove-DnsServerResourceRecord", "-ZoneName", zone, "-RRType", "A", "-Name", label, "-Force"];
            steps.run(STEP, add).undo(remove);
        } else {
            let record = |verb: &str| words!["dnscmd", verb, zone, label, "A", self.router];
            steps.run(STEP, record("/recordadd")).undo([record("/recorddelete"), words!["/f"]].concat());
        }
        // NAM-9
        if is_blocked {
            const STEP: &str = "Take isatap off the global query block list.";
            const NOTE: &str = "Every host of the site that asks for isatap becomes an ISATAP host then. A name of \
                                your own, such as da-isatap, needs neither.";
            if platform == Platform::PowerShell {
                steps
                    .run(STEP, words!["Set-DnsServerGlobalQueryBlockList", "-List", "wpad"])
                    .raw_undo("Set-DnsServerGlobalQueryBlockList -List wpad, isatap")
                    .note(NOTE);
            } else {
                let list = words!["dnscmd", "/config", "/globalqueryblocklist", "wpad"];
                steps.run(STEP, list.clone()).undo([list, words!["isatap"]].concat()).note(NOTE);
            }
        }
        steps.take()
    }

    fn host(&self, platform: Platform) -> Vec<Step> {
        let mut steps = Steps::new(platform, "management host", None, 0);
        if platform == Platform::Isatap {
            steps
                .run("Run the ISATAP host.", words!["isatap", "host", format!("--router={}", self.name)])
                .note("It runs in the foreground, and leaves nothing behind when it ends.");
        } else {
            set_router(&mut steps, &self.name.to_string());
        }
        steps.take()
    }

    fn client_steps(&self, platform: Platform, prefixes: &DirectAccessUlaPrefixes) -> Vec<Step> {
        const STEP: &str = "Let the intranet's ISATAP hosts in, by policy or on each client.";
        const RULE: &str = "Manage out";
        let mut steps = Steps::new(platform, "client", None, 0);
        match platform {
            Platform::PowerShell => {
                let rule = words![
                    "New-NetFirewallRule",
                    "-DisplayName",
                    RULE,
                    "-Direction",
                    "Inbound",
                    "-Action",
                    "Allow",
                    "-RemoteAddress",
                    prefixes.isatap
                ];
                steps.run(STEP, rule).undo(words!["Remove-NetFirewallRule", "-DisplayName", RULE]);
            }
            Platform::Windows => {
                let rule =
                    |verb: &str| words!["netsh", "advfirewall", "firewall", verb, "rule", format!("name={RULE}")];
                let remote = format!("remoteip={}", prefixes.isatap);
                let add = [rule("add"), words!["dir=in", "action=allow", remote]].concat();
                steps.run(STEP, add).undo(rule("delete"));
            }
            _ => steps.nothing(STEP, "A client's own firewall decides; a Linux client without one lets everybody in."),
        }
        steps.take()
    }

    fn checks(&self, platform: Platform, prefixes: &DirectAccessUlaPrefixes) -> Vec<Step> {
        let mut router = Steps::new(Platform::Isatap, "router", None, 0);
        router.run("Check: the router works.", words!["isatap", "doctor"]);
        let mut server = Steps::new(platform, "server 1", None, 0);
        let expected = format!("Check: {} is among the endpoints of the IPsec rules.", prefixes.isatap);
        let mut host = Steps::new(platform, "management host", None, 0);
        match platform {
            Platform::Windows => {
                server.run(expected, words!["netsh", "advfirewall", "consec", "show", "rule", "name=all"]);
                host.run("Check: the host knows its router.", words!["netsh", "interface", "isatap", "show", "router"]);
            }
            Platform::PowerShell => {
                server.raw(expected, "Get-NetIPsecRule -PolicyStore ActiveStore | Get-NetFirewallAddressFilter");
                host.run("Check: the host knows its router.", words!["Get-NetIsatapConfiguration"]);
            }
            _ => {
                host.run("Check: the host works.", words!["isatap", "doctor"]);
            }
        }
        let client = self.client.as_ref().map(|client| client.name.to_string());
        check_client(&mut host, client.as_deref(), self.port);
        [router.take(), server.take(), host.take()].concat()
    }
}

/// A device's name in a string of TOML.
fn escaped(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"")
}
