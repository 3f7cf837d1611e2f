//! What a file names that this machine does not have, or has where another machine should.

use super::{Config, File, refused};
use crate::error::{Error, Problem};
use crate::netlink::Netlink;
use crate::spec::{LinkSpec, SixToFour};
use crate::tun;
use isatap_core::sixtofour::addr::ANYCAST_RELAY;
use std::net::Ipv4Addr;

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
        let device = link.device();
        // One that may be a running daemon's, wherever that one has its runtime folder, is no news:
        // it is most often the one that has read this file.
        if self.has(device) && !tun::may_be_ours(device) {
            let text = format!(
                "this machine has a device {device} now that is not isatap's: isatap run would not start here; choose \
                 another dev"
            );
            lacks.push(("dev", device.to_owned(), text));
        }
        let is_anycast = matches!(link, LinkSpec::SixToFour(spec) if spec.anycast);
        let mut locals = link.locals();
        if is_anycast && !locals.contains(&ANYCAST_RELAY) {
            locals.push(ANYCAST_RELAY);
        }
        for address in locals.iter().filter(|address| !self.addresses.contains(address)) {
            let of_anycast = is_anycast && *address == ANYCAST_RELAY;
            let (key, consequence) = if of_anycast {
                ("anycast", format!("isatap run would not start here; {}", SixToFour::ANYCAST_ADVICE))
            } else {
                ("", "the link would wait for it here; see: ip -4 address".to_owned())
            };
            let text = format!("this machine has no address {address} now: {consequence}");
            lacks.push((key, address.to_string(), text));
        }
        let waits = "the link would wait for it here";
        lacks.extend(link.via().and_then(|via| Some(("via", via.to_owned(), self.lacks_device(via, waits)?))));
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
    /// What the text that was [parsed](Self::parse) names and this machine does not have now, or has
    /// already: addresses and devices. That is no mistake, since the file may be for another machine,
    /// or for another time. Nothing where the kernel does not say what there is.
    #[must_use]
    pub fn lacks(file: &str, text: &str) -> Vec<Problem> {
        let (Ok(here), Ok(mut tables)) = (Here::look(), toml::from_str::<File>(text)) else { return Vec::new() };
        let mut found = Vec::new();
        for (begin, link) in tables.take_links() {
            let lacks = here.lacks(&link).into_iter();
            found.extend(lacks.map(|(key, value, what)| refused(file, text, begin, key, &value, what)));
        }
        for table in tables.native {
            let dev = &table.get_ref().dev;
            let what = here.lacks_device(dev, "isatap run would not start here");
            found.extend(what.map(|what| refused(file, text, table.span().start, "dev", dev, what)));
        }
        found.sort_by_key(|problem| (problem.line, problem.column));
        found
    }
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
