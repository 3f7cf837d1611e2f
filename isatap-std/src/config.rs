//! One TOML file for a whole node.
//!
//! ```toml
//! [[isatap-router]]
//! dev = "isatap0"
//! local = ["10.0.0.1"]
//! prefix = ["2001:db8:0:7::/64"]
//! advertise-route = ["2001:db8:0:8::/64"]
//!
//! [[isatap-host]]
//! dev = "isatap1"
//! router = ["192.0.2.1", "isatap.example."]
//!
//! [[tunnel]]
//! local = "192.0.2.1"
//! remote = "198.51.100.1"
//! address = ["2001:db8:77::1/64"]
//!
//! [[6rd]]
//! role = "ce"
//! prefix = "2001:db8::/32"
//! v4-mask-len = 8
//! local = "10.100.100.1"
//! br = ["10.0.0.1"]
//! lan = ["eth2", "eth3:a0"]
//!
//! [[6to4]]
//! role = "relay"
//! local = ["131.107.0.1"]
//!
//! [[native]]
//! dev = "eth1"
//! forwarding = true
//!
//! [[teredo-client]]
//! server = "teredo.example.net"
//! ```
//!
//! Keys are the options of the commands `isatap host`, `router`, `tunnel`, `6rd`, `6to4` and
//! `teredo client`, `server` and `relay`; what may be repeated there is a list here. In front of
//! the tables, `user = "NAME"` is `--user NAME`. Times are whole seconds. An unknown key is a mistake, and
//! every mistake is told with its line.

mod tables;
mod teredo;

pub use crate::error::Problem;
pub use teredo::{Bind, TeredoLink};

use crate::check;
use crate::isatap::{HostOptions, LinkOptions, LocatorSource, RouterOptions};
use crate::lan::LanOptions;
use crate::mistakes;
use crate::node::MOST_LINKS;
use crate::resolve::Entry;
use crate::sixrd::{self, SixRdOptions};
use crate::sixtofour::{self, SixToFourOptions};
use crate::tun::check_name;
use crate::tunnel::TunnelOptions;
use std::net::Ipv4Addr;
use tables::{Parsed, values};

/// What a file describes.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Config {
    /// The user that the daemon becomes once everything is open; `None`: it stays who it is.
    pub user: Option<String>,
    /// Its tunnels, those of a kind in the order of the file.
    pub links: Vec<Link>,
    /// Its Teredo clients, servers and relays.
    pub teredo: Vec<TeredoLink>,
    /// What it says of native links.
    pub natives: Vec<Native>,
}

/// One protocol-41 tunnel of a file.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Link {
    /// `[[isatap-host]]`
    IsatapHost(HostOptions),
    /// `[[isatap-router]]`
    IsatapRouter(RouterOptions),
    /// `[[tunnel]]`
    Tunnel(TunnelOptions),
    /// `[[6rd]]`
    SixRd(SixRdOptions),
    /// `[[6to4]]`
    SixToFour(SixToFourOptions),
}

/// `[[native]]`: a device that carries IPv6 itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Native {
    /// The device.
    pub device: String,
    /// Whether the kernel is to forward between it and others.
    pub forwarding: bool,
}

impl Link {
    /// What it has in common with links of other kinds.
    #[must_use]
    pub fn common(&self) -> &LinkOptions {
        match self {
            Link::IsatapHost(host) => &host.link,
            Link::IsatapRouter(router) => &router.link,
            Link::Tunnel(tunnel) => &tunnel.link,
            Link::SixRd(sixrd) => &sixrd.link,
            Link::SixToFour(sixtofour) => &sixtofour.link,
        }
    }

    /// The same, to be changed.
    pub fn common_mut(&mut self) -> &mut LinkOptions {
        match self {
            Link::IsatapHost(host) => &mut host.link,
            Link::IsatapRouter(router) => &mut router.link,
            Link::Tunnel(tunnel) => &mut tunnel.link,
            Link::SixRd(sixrd) => &mut sixrd.link,
            Link::SixToFour(sixtofour) => &mut sixtofour.link,
        }
    }

    /// The device to make.
    #[must_use]
    pub fn device(&self) -> &str {
        &self.common().device
    }

    /// The LANs that get a prefix of it.
    #[must_use]
    pub fn lans(&self) -> &[LanOptions] {
        match self {
            Link::SixRd(sixrd) => &sixrd.lans,
            Link::SixToFour(sixtofour) => &sixtofour.lans,
            _ => &[],
        }
    }

    /// What it is, for people.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Link::IsatapHost(_) => "ISATAP host",
            Link::IsatapRouter(_) => "ISATAP router",
            Link::Tunnel(_) => "configured tunnel",
            Link::SixRd(SixRdOptions { role: sixrd::Role::CustomerEdge, .. }) => "6rd customer edge",
            Link::SixRd(_) => "6rd border relay",
            Link::SixToFour(SixToFourOptions { role: sixtofour::Role::HostRouter, .. }) => "6to4 host/router",
            Link::SixToFour(SixToFourOptions { role: sixtofour::Role::Router, .. }) => "6to4 router",
            Link::SixToFour(_) => "6to4 relay",
        }
    }

    /// What it leaves open, and what closes that; one line each.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        match self {
            Link::IsatapRouter(router) => router.warnings(),
            _ => Vec::new(),
        }
    }

    fn check(&self) -> Result<(), crate::Error> {
        check_name(self.device())?;
        if let Link::IsatapHost(HostOptions { locators: LocatorSource::Device(device), .. }) = self {
            check_name(device)?;
            if device.parse::<Ipv4Addr>().is_ok() {
                let error = crate::Error::usage("send from the device", device, "it is an address");
                return Err(error.with_advice(format!("write local = [\"{device}\"] instead of via")));
            }
        }
        match self {
            Link::IsatapHost(host) => host.check(),
            Link::IsatapRouter(router) => router.check(),
            Link::Tunnel(tunnel) => tunnel.check(),
            Link::SixRd(sixrd) => sixrd.check(),
            Link::SixToFour(sixtofour) => sixtofour.check(),
        }
    }
}

/// What `isatap check` is to know of a link. Names are not resolved.
impl TryFrom<&Link> for check::LinkOptions {
    type Error = crate::Error;

    fn try_from(link: &Link) -> Result<Self, crate::Error> {
        let needs_local = || {
            let error = crate::Error::usage("check", link.device(), "its IPv4 addresses are known only while it runs");
            error.with_advice("write local into the file")
        };
        Ok(match link {
            Link::IsatapHost(host) => {
                let LocatorSource::Fixed(locals) = &host.locators else { return Err(needs_local()) };
                let address = |router: &Entry| match router {
                    Entry::Address(address) => Some(*address),
                    Entry::Name(_) => None,
                };
                check::LinkOptions::Isatap(check::IsatapOptions {
                    locals: locals.clone(),
                    routers: host.routers.iter().filter_map(address).collect(),
                    members: host.link.members.clone(),
                    ..check::IsatapOptions::default()
                })
            }
            Link::IsatapRouter(router) => check::LinkOptions::Isatap(check::IsatapOptions {
                router: true,
                locals: router.local.clone(),
                routers: router.trusted_routers.clone(),
                known_routers: router.known_routers.clone(),
                prefixes: router.prefixes.iter().map(|published| published.prefix).collect(),
                members: router.link.members.clone(),
            }),
            Link::Tunnel(tunnel) => check::LinkOptions::Configured {
                local: tunnel.local,
                remote: tunnel.remote,
                addresses: tunnel.addresses.clone(),
            },
            Link::SixRd(sixrd) => check::LinkOptions::SixRd(check::SixRdOptions {
                border_relay: sixrd.role == sixrd::Role::BorderRelay,
                local: sixrd.local,
                prefix: sixrd.prefix,
                ipv4_mask_len: sixrd.ipv4_mask_len,
                relays: if sixrd.relays.is_empty() { &sixrd.known_routers } else { &sixrd.relays }.clone(),
            }),
            Link::SixToFour(sixtofour) if sixtofour.local.is_empty() => return Err(needs_local()),
            Link::SixToFour(sixtofour) => check::LinkOptions::SixToFour(check::SixToFourOptions {
                relay: sixtofour.role == sixtofour::Role::Relay,
                locals: sixtofour.local.clone(),
                accept_bogons: sixtofour.accept_bogons,
            }),
        })
    }
}

impl Config {
    /// Reads the text of a file; `file` is its name, for errors.
    ///
    /// Whether this machine has the addresses and devices that it names is not asked.
    ///
    /// # Errors
    ///
    /// All mistakes, by line and column, with what to write instead. What is wrong between
    /// two tables is told of tables without mistakes of their own.
    pub fn parse(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let at = |table: usize, what: String| Problem::of_table(file, text, table, what);
        // Where the value stands that a link's own check refuses, if one key alone has it.
        let of = |table: usize, key: Option<&str>, value: &str, what: String| match mistakes::offset_of(
            text, table, key, value,
        ) {
            Some(offset) => Problem::at(file, text, offset, what),
            None => at(table, what),
        };
        let refused = |table: usize, error: &crate::Error| of(table, None, error.on(), error.to_string());
        let read = mistakes::read::<tables::File>(text);
        let mut problems = read.problems(file, text);
        let mistakes::Outcome { file: tables, damaged, .. } = read;
        let Some(mut tables) = tables else {
            problems.sort_by_key(|problem| (problem.line, problem.column));
            return Err(problems);
        };
        let mut links: Vec<Link> = Vec::new();
        for (begin, link) in tables.links().into_iter().filter(|(begin, _)| !damaged.contains(begin)) {
            let link = match link {
                Ok(link) => link,
                Err(what) => {
                    problems.push(at(begin, what));
                    continue;
                }
            };
            if let Err(error) = link.check() {
                problems.push(refused(begin, &error));
            }
            if links.iter().any(|other| other.device() == link.device()) {
                let text = format!("a second link has the device {}: give each its own dev", link.device());
                problems.push(of(begin, Some("dev"), link.device(), text));
            }
            // One file records what all links send.
            let recorded = links.iter().find_map(|other| other.common().pcap.as_ref());
            if let (Some(first), Some(second)) = (recorded, &link.common().pcap)
                && first != second
            {
                let text = format!("packets are recorded into {} already: give pcap once", first.display());
                problems.push(of(begin, Some("pcap"), &second.display().to_string(), text));
            }
            links.push(link);
            problems.extend(conflicts(&links).map(|text| at(begin, text)));
        }
        let mut teredo: Vec<TeredoLink> = Vec::new();
        for (begin, link) in tables.teredo().links().filter(|(begin, _)| !damaged.contains(begin)) {
            let link = match link {
                Ok(link) => link,
                Err(what) => {
                    problems.push(at(begin, what));
                    continue;
                }
            };
            let common = link.options.link();
            if let Err(error) = check_name(&common.device).and_then(|()| link.options.check()) {
                problems.push(refused(begin, &error));
            }
            let others = || teredo.iter().map(|other| other.options.link());
            let same_device = |device: &str| device == common.device;
            if links.iter().any(|other| same_device(other.device())) || others().any(|other| same_device(&other.device))
            {
                let text = format!("a second link has the device {}: give each its own dev", common.device);
                problems.push(of(begin, Some("dev"), &common.device, text));
            }
            // Each has sockets of its own, and a file of its own.
            let recorded = links.iter().map(|other| &other.common().pcap).chain(others().map(|other| &other.pcap));
            if let Some(path) = recorded.flatten().find(|path| common.pcap.as_ref() == Some(*path)) {
                let text = format!("packets are recorded into {} already: give Teredo its own file", path.display());
                problems.push(of(begin, Some("pcap"), &path.display().to_string(), text));
            }
            teredo.push(link);
        }
        if links.is_empty() && teredo.is_empty() && problems.is_empty() {
            problems.push(at(
                0,
                "nothing to run: add [[isatap-host]] or [[isatap-router]], [[tunnel]], [[6rd]], [[6to4]], \
                 [[teredo-client]], [[teredo-server]] or [[teredo-relay]]"
                    .to_owned(),
            ));
        }
        let mut natives = Vec::new();
        for table in tables.native.into_iter().filter(|table| !damaged.contains(&table.span().start)) {
            let (begin, table) = (table.span().start, table.into_inner());
            if let Err(error) = check_name(&table.dev) {
                problems.push(refused(begin, &error));
            }
            natives.push(Native { device: table.dev, forwarding: table.forwarding });
        }
        let config = Config { user: tables.user, links, teredo, natives };
        problems.sort_by_key(|problem| (problem.line, problem.column));
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }
}

/// What is wrong with the last of these links beside the others: a process has room for so
/// many, and a LAN has one subnet and is no tunnel.
fn conflicts(links: &[Link]) -> impl Iterator<Item = String> {
    let mut found = Vec::new();
    let Some((last, before)) = links.split_last() else { return found.into_iter() };
    let mut lans: Vec<&LanOptions> = Vec::new();
    for lan in before.iter().flat_map(Link::lans) {
        if lans.iter().all(|known| known.device != lan.device) {
            lans.push(lan);
        }
    }
    let count = |links: usize, lans: usize| links + lans;
    let was_full = count(before.len(), lans.len()) > MOST_LINKS;
    for lan in last.lans() {
        // That a device is named twice by one link is that link's mistake, told already.
        let elsewhere = before.iter().flat_map(Link::lans).find(|known| known.device == lan.device);
        match elsewhere {
            Some(known) if known.subnet != lan.subnet => {
                found.push(format!("the LAN {lan} is {known} at another link: write the same at both"));
            }
            Some(_) => {}
            None => lans.push(lan),
        }
    }
    let of_last = last.lans().iter().find(|lan| links.iter().any(|link| link.device() == lan.device));
    let by_last = lans.iter().copied().find(|lan| lan.device == last.device());
    if let Some(lan) = of_last.or(by_last) {
        found.push(format!("{} is made by this file and no LAN: name a device with hosts", lan.device));
    }
    if !was_full && count(links.len(), lans.len()) > MOST_LINKS {
        found.push(format!("one process has at most {MOST_LINKS} links and LANs: put this one into another file"));
    }
    found.into_iter()
}

#[cfg(test)]
mod tests;
