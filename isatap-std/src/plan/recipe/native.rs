//! Manage-out by native IPv6: hosts beside a DirectAccess server with a public IPv4 address.

use std::net::{Ipv4Addr, Ipv6Addr};

use isatap_core::prefix::Ipv6Prefix;
use isatap_core::sixtofour::addr::directaccess_prefixes;

use super::super::steps::{Steps, words};
use super::super::windows::{add_route, by_name_or_index};
use super::super::{Platform, Step};
use super::{Client, check_client};
use crate::error::Error;
use crate::spec::AddressWithLength;

/// Reach DirectAccess clients from hosts with native IPv6 on the network of the server: an address in
/// its prefix, and two routes to its clients, instead of a default route.
// S64-41
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "args", derive(clap::Args))]
pub struct NativeManageOut {
    /// The server's first public IPv4 address.
    #[cfg_attr(feature = "args", arg(long, value_name = "V4"))]
    pub server: Ipv4Addr,
    /// The host's interface on the network of the server, by name or index.
    #[cfg_attr(feature = "args", arg(long, value_name = "NAME|INDEX", value_parser = super::super::interface))]
    pub interface: String,
    /// The host's address in the server's intranet prefix, a /64.
    #[cfg_attr(feature = "args", arg(long, value_name = "V6/64"))]
    pub address: Option<AddressWithLength>,
    /// The server's address that forwards, where ::1 of that prefix does not.
    #[cfg_attr(feature = "args", arg(long, value_name = "V6"))]
    pub gateway: Option<Ipv6Addr>,
    /// A client to try it with.
    #[cfg_attr(feature = "args", arg(long, value_name = "NAME[=V6]"))]
    pub client: Option<Client>,
    /// A TCP port of the client.
    #[cfg_attr(feature = "args", arg(long, value_name = "PORT", default_value_t = 3389))]
    pub port: u16,
}

impl NativeManageOut {
    /// The guide, for hosts of this platform.
    ///
    /// # Errors
    ///
    /// A usage error: an address outside of the server's prefix, or another platform.
    pub fn steps(&self, platform: Platform) -> Result<Vec<Step>, Error> {
        if !matches!(platform, Platform::Windows | Platform::PowerShell | Platform::Iproute2) {
            let error = Error::usage("write this recipe for", platform, "hosts are Windows or Linux");
            return Err(error.with_advice("give --for windows, powershell or iproute2"));
        }
        let prefixes = directaccess_prefixes(self.server);
        let intranet = prefixes.organisation;
        if let Some(AddressWithLength(own)) = self.address.filter(|own| !intranet.contains(&own.0.address)) {
            let why = format!("it is not in the server's prefix {intranet}");
            return Err(Error::usage("give the host the address", own.address, why));
        }
        let gateway = self.gateway.unwrap_or_else(|| Ipv6Addr::from_bits(intranet.address().to_bits() | 1)).to_string();
        let mut steps = Steps::new(platform, "management host", None, 0);
        self.add_address(&mut steps, &intranet);
        for (step, prefix) in [
            ("Add the route to IP-HTTPS clients.", prefixes.ip_https),
            ("Add the route to Teredo clients.", prefixes.teredo),
        ] {
            let prefix = prefix.to_string();
            if platform == Platform::Iproute2 {
                let route =
                    |verb: &str| words!["ip", "-6", "route", verb, prefix, "via", gateway, "dev", self.interface];
                steps.run(step, route("add")).undo(route("del"));
            } else {
                add_route(&mut steps, step, &prefix, &self.interface, Some(&gateway), None);
            }
        }
        check_client(&mut steps, self.client.as_ref().map(|client| client.name.to_string()).as_deref(), self.port);
        Ok(steps.take())
    }

    fn add_address(&self, steps: &mut Steps<'_>, intranet: &Ipv6Prefix) {
        const STEP: &str = "Add the host's address.";
        let Some(AddressWithLength(own)) = self.address else {
            let what = format!("the host's address in {intranet}");
            return steps.not_known(STEP, &what, "give --address V6/64, such as ::2 of it");
        };
        let text = format!("{}/{}", own.address, own.prefix_length);
        match steps.platform {
            Platform::Windows => {
                let address = |verb: &str| words!["netsh", "interface", "ipv6", verb, "address", self.interface];
                let (add, remove) =
                    ([address("add"), words![text]].concat(), [address("delete"), words![own.address]].concat());
                steps.run(STEP, add).undo(remove);
            }
            Platform::PowerShell => {
                let mut add = words!["New-NetIPAddress", "-IPAddress", own.address, "-PrefixLength", own.prefix_length];
                add.extend(by_name_or_index(&self.interface));
                let step = steps.run(STEP, add);
                step.undo(words!["Remove-NetIPAddress", "-IPAddress", own.address]);
                step.undo = step.undo.take().map(|undo| format!("{undo} -Confirm:$false"));
            }
            _ => {
                let address = |verb: &str| words!["ip", "-6", "address", verb, text, "dev", self.interface];
                steps.run(STEP, address("add")).undo(address("del"));
            }
        }
    }
}
