//! What this machine says of a file: what it refuses, and what links would wait for.

use super::{Config, File, refused};
use crate::broker::Credentials;
use crate::driver::check_recording;
use crate::error::{Error, Problem};
use crate::netlink::Netlink;
use crate::portproxy;
use crate::runtime_dir::RuntimeDir;
use crate::service;
use crate::spec::{LinkSpec, PortProxy};
use crate::tun;
#[cfg(feature = "control")]
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::Path;

/// What this machine has.
struct Here {
    addresses: Vec<Ipv4Addr>,
    devices: Vec<String>,
}

impl Here {
    fn look() -> Result<Self, Error> {
        let netlink = Netlink::open()?;
        Ok(Self {
            addresses: netlink.ipv4_addresses()?.into_iter().map(|own| own.address).collect(),
            devices: netlink.links()?.into_iter().map(|link| link.name).collect(),
        })
    }

    /// Each with the key where it stands and the value, as far as that is known.
    fn lacks(&self, link: &LinkSpec) -> Vec<(&'static str, String, String)> {
        let mut lacks = Vec::new();
        for address in link.locals().iter().filter(|address| !self.addresses.contains(address)) {
            let text = format!(
                "this machine has no address {address} now: the link would wait for it here; see: ip -4 address"
            );
            lacks.push(("", address.to_string(), text));
        }
        let waits = "the link would wait for it here";
        lacks.extend(link.via().and_then(|via| Some(("via", via.to_owned(), self.lacks_device(via, waits)?))));
        let bound = link.binding().device;
        lacks
            .extend(bound.and_then(|device| Some(("bind-device", device.clone(), self.lacks_device(&device, waits)?))));
        if let LinkSpec::IsatapHost(host) = link {
            lacks.extend(host.addresses().filter(|router| self.addresses.contains(router)).map(|router| {
                let text = format!(
                    "{router} is this machine's own address, and no host is its own router: isatap run would wait here for \
                     another one; name the router's address, or run [[isatap-router]] on this machine"
                );
                ("router", router.to_string(), text)
            }));
        }
        for lan in link.lans() {
            let text = self.lacks_device(&lan.device, "the LAN would wait for it here");
            lacks.extend(text.map(|text| ("lan", lan.to_string(), text)));
        }
        let lease = "the link would wait for it here; a DHCP client writes it";
        let names = "its names would not be found here";
        for (key, file, consequence) in [("dhcp-lease", link.dhcp_lease(), lease), ("lmhosts", link.lmhosts(), names)] {
            let file = file.filter(|file| !file.exists()).map(Path::display);
            lacks.extend(file.map(|file| {
                (
                    key,
                    file.to_string(),
                    format!("this machine has no file {file} now: {consequence}; see: ls -l {file}"),
                )
            }));
        }
        lacks
    }

    fn lacks_device(&self, device: &str, consequence: &str) -> Option<String> {
        let text = format!("this machine has no device {device} now: {consequence}; see: ip link");
        (!self.has(device)).then_some(text)
    }

    fn has(&self, device: &str) -> bool {
        self.devices.iter().any(|name| name == device)
    }
}

impl Config {
    /// What [`Run`](crate::run::Run) refuses of it on this machine before it makes anything, in the same
    /// words and in the order of the tables: devices, files and ports that cannot be had. What a running
    /// daemon of `runtime` holds is not asked for, since it may be the one that has read this file.
    /// `owner`: the number of the user that the daemon becomes, where it is another; files may be its.
    #[must_use]
    pub fn refusals(&self, runtime: &RuntimeDir, owner: Option<u32>) -> Vec<Error> {
        let netlink = match Netlink::open() {
            Ok(netlink) => netlink,
            Err(error) => return vec![error],
        };
        let running = runtime.devices();
        let mut found = Vec::new();
        for link in &self.links {
            let device = link.device();
            let is_running = running.iter().any(|running| running == device);
            let all = [
                if tun::may_be_ours(device) { Ok(()) } else { tun::check_free(device) },
                service::secrets_of(link, owner).map(drop),
                Credentials::load(link, owner).map(drop),
                if link.is_teredo() { Ok(()) } else { service::check_here(link, &netlink, Some(runtime)).map(drop) },
                link.pcap().map_or(Ok(()), |path| check_recording(path, owner)),
                match (is_running, link.is_teredo()) {
                    (true, _) => Ok(()),
                    (false, true) => service::check_ports_of_teredo(link),
                    (false, false) => service::check_ports(link, std::iter::empty(), None),
                },
            ];
            found.extend(all.into_iter().filter_map(Result::err).map(|error| error.of_device(device)));
        }
        for native in &self.natives {
            found.extend(netlink.link(&native.dev).err().map(|error| error.of_device(&native.dev)));
        }
        let own: Vec<&str> = self.links.iter().map(LinkSpec::device).collect();
        found.extend(portproxy::check_here(&self.portproxies, &own, running_rules(runtime)));
        #[cfg(feature = "dns-update")]
        found.extend(self.dns_updates.iter().filter_map(|update| crate::dns_update::check(update, owner).err()));
        found
    }

    /// Whether what was [refused](Self::refusals) is a port that a running daemon of `runtime` has: it may
    /// be the one that reads this file again, in which a link has another `dev`, and frees it then.
    #[must_use]
    #[cfg(feature = "control")]
    pub fn is_of_daemon(&self, runtime: &RuntimeDir, error: &Error) -> bool {
        use crate::control::{Request, ask};
        let is_taken = error.io_error().is_some_and(|error| error.kind() == ErrorKind::AddrInUse);
        let link = self.links.iter().find(|link| error.device() == Some(link.device())).filter(|_| is_taken);
        let Some(link) = link else { return false };
        let ports = service::ports_of_teredo(link);
        runtime.devices().into_iter().any(|device| match ask(runtime, &device, Request::Status) {
            Ok(status) if link.is_teredo() => ports.iter().any(|port| status["teredo"]["port"] == port.port()),
            Ok(status) => status["responder"].is_object(),
            // One that may not be asked may have it.
            Err(error) => error.io_error().is_some_and(|error| error.kind() == ErrorKind::PermissionDenied),
        })
    }

    /// What the text that was [parsed](Self::parse) names and this machine does not have now: addresses,
    /// devices and files. That is no mistake: a link waits for it, and the file may be for another
    /// machine. Nothing where the kernel does not say what there is.
    #[must_use]
    pub fn lacks(file: &str, text: &str) -> Vec<Problem> {
        let (Ok(here), Ok(mut tables)) = (Here::look(), toml::from_str::<File>(text)) else { return Vec::new() };
        let mut found = Vec::new();
        let links = tables.take_links();
        let own: Vec<String> = links.iter().map(|(_, link)| link.device().to_owned()).collect();
        for (begin, link) in links {
            let lacks = here.lacks(&link).into_iter();
            found.extend(lacks.map(|(key, value, what)| refused(file, text, begin, key, &value, what)));
        }
        let rules: Vec<PortProxy> = tables.portproxy.iter().map(|table| table.get_ref().clone()).collect();
        for found_loop in portproxy::loops_here(&rules) {
            let begin = tables.portproxy.get(found_loop.link).map_or(0, |table| table.span().start);
            found.push(refused(file, text, begin, found_loop.key, &found_loop.value, found_loop.text));
        }
        for table in tables.portproxy {
            // A device that no link makes is refused.
            let missing = portproxy::missing(table.get_ref()).filter(|missing| {
                missing.strip_prefix("the device ").is_none_or(|device| own.iter().any(|own| own == device))
            });
            found.extend(missing.map(|missing| {
                let what =
                    format!("this machine lacks {missing} now: the rule would wait for it here; see: ip address");
                refused(file, text, table.span().start, "listen", &table.get_ref().listen.to_string(), what)
            }));
        }
        found.sort_by_key(|problem| (problem.line, problem.column));
        found
    }
}

/// Whether a rule may have its port already: a process with one of this port answers, or cannot be asked.
#[cfg(feature = "control")]
fn running_rules(runtime: &RuntimeDir) -> impl Fn(&PortProxy) -> bool {
    let rules = crate::control::ask_port_proxies(runtime);
    move |rule| {
        let end = format!(":{}", rule.listen.port);
        rules.as_ref().map_or(true, |rules| {
            rules.iter().filter_map(|running| running["listen"].as_str()).any(|listen| listen.ends_with(&end))
        })
    }
}

#[cfg(not(feature = "control"))]
fn running_rules(_: &RuntimeDir) -> impl Fn(&PortProxy) -> bool {
    |_| true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resolve::Entry;
    use crate::spec::{IsatapHost, Tunnel};

    #[test]
    fn a_host_that_names_this_machine_as_its_router_is_told() {
        let own = Ipv4Addr::new(10, 0, 0, 1);
        let here = Here { addresses: vec![own], devices: Vec::new() };
        let mut host = IsatapHost::new();
        host.router = vec!["10.0.0.9".parse().unwrap(), Entry::Address(own)];
        let lacks = here.lacks(&host.clone().into());
        let [(key, value, text)] = &lacks[..] else { panic!("{lacks:?}") };
        assert_eq!((*key, value.as_str()), ("router", "10.0.0.1"), "{text}");
        host.router.pop();
        assert!(here.lacks(&host.into()).is_empty());
        // The other end of a tunnel is not asked here: that is wrong on any machine.
        let tunnel = Tunnel { local: Some(own), ..Tunnel::new(Ipv4Addr::new(192, 0, 2, 1).into()) };
        assert!(here.lacks(&tunnel.into()).is_empty());
    }
}
