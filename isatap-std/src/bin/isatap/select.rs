//! `isatap select`: in which order destinations are tried, and from where.

use std::io::Write;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::path::Path;

use isatap_core::select::{Destination, Policy, PolicyRow, PolicyTable, RFC3484, RFC6724, Source};
use isatap_std::policy::GaiConf;
use isatap_std::selection::{Candidate, LOOPBACK, Placed, is_local, loopback_source, order};
use isatap_std::text_file;
use serde::Serialize;

use crate::exit::{Failure, Status};
use crate::output;

#[cfg_attr(not(target_os = "linux"), path = "select/elsewhere.rs")]
mod machine;

use machine::Machine;

/// Show in which order a host tries destinations, from which address, and why (RFC 6724).
///
/// DEST is an address, with %DEV where the device is not the route's, or a name, whose addresses the
/// C library looks up. Without --source the addresses, routes and tunnels of this machine count.
/// Sends nothing.
#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The destinations, in the order in which they came.
    #[arg(required = true, value_name = "DEST")]
    destinations: Vec<String>,
    /// Print JSON, one object a destination.
    #[arg(short, long)]
    json: bool,
    /// An address that the host has, instead of this machine's: 2001:db8::1/64%eth0,deprecated. WORD is
    /// deprecated, temporary, home, advertised (by the next hop), or tunnel: its device is one.
    #[arg(short, long = "source", value_name = "ADDRESS[/LEN][%DEV][,WORD]", value_parser = Given::read)]
    sources: Vec<Given>,
    /// The source that the application asks for; an error where it cannot be used.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// The policy table: rfc6724, rfc3484 (old Windows), system (this machine's labels and gai.conf), or a
    /// file like gai.conf.
    #[arg(long, value_name = "TABLE", default_value = "rfc6724")]
    policy: String,
    /// Prefer public source addresses to temporary ones.
    #[arg(long)]
    public: bool,
    /// Put the own site first: rows for the 6to4 and unique local /48 of each source (RFC 6724 §10.6).
    #[arg(long)]
    site_rows: bool,
}

/// One `--source`.
#[derive(Clone, Debug)]
pub(crate) struct Given {
    source: Source,
    device: Option<String>,
    tunnel: bool,
}

impl Given {
    fn read(text: &str) -> Result<Self, String> {
        let mut words = text.split(',');
        let (address, device) = split_device(words.next().unwrap_or_default());
        let (address, length) =
            address.split_once('/').map_or((address, None), |(address, length)| (address, Some(length)));
        let address: IpAddr =
            address.parse().map_err(|_| format!("{address} is no address: write 2001:db8::1/64 or 10.0.0.1/24"))?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = match length {
            // A subnet's, where nobody says otherwise.
            None => {
                if address.is_ipv4() {
                    32
                } else {
                    64
                }
            }
            Some(length) => length
                .parse()
                .ok()
                .filter(|length| *length <= most)
                .ok_or_else(|| format!("{length} is no prefix length: write a number from 0 to {most}"))?,
        };
        let mut given = Given { source: Source::new(address, length), device, tunnel: false };
        for word in words {
            match word {
                "deprecated" => given.source.deprecated = true,
                "temporary" => given.source.temporary = true,
                "home" => given.source.home = true,
                "advertised" => given.source.by_next_hop = true,
                "tunnel" => given.tunnel = true,
                _ => return Err(format!("{word} is unknown: write deprecated, temporary, home, advertised or tunnel")),
            }
        }
        Ok(given)
    }
}

/// `fe80::1%eth0`, also before a length: `fe80::1/64%eth0`.
fn split_device(text: &str) -> (&str, Option<String>) {
    text.split_once('%').map_or((text, None), |(rest, device)| (rest, Some(device.to_owned())))
}

/// Where packets come from and by which devices they leave.
struct Host {
    sources: Vec<Source>,
    /// Devices that are tunnels; addresses without a device have the number 0.
    tunnels: Vec<u32>,
    devices: Vec<(String, u32)>,
    /// Only where its own addresses are asked for.
    machine: Option<Machine>,
}

impl Host {
    fn new(args: &Args) -> Result<Self, Failure> {
        if args.sources.is_empty() {
            let machine = Machine::open()?;
            let (sources, tunnels, devices) = (machine.sources()?, machine.tunnels()?, machine.devices()?);
            return Ok(Host { sources, tunnels, devices, machine: Some(machine) });
        }
        let mut host = Host { sources: Vec::new(), tunnels: Vec::new(), devices: Vec::new(), machine: None };
        for (place, given) in (1..).zip(&args.sources) {
            let mut source = given.source;
            // A tunnel without a name is a device of its own.
            let name = given.device.clone().or_else(|| given.tunnel.then(|| format!("tunnel {place}")));
            if let Some(name) = name {
                source.interface = host.device(&name).unwrap_or_else(|| {
                    host.devices.push((name, place));
                    place
                });
            }
            if given.tunnel {
                host.tunnels.push(source.interface);
            }
            host.sources.push(source);
        }
        Ok(host)
    }

    fn device(&self, name: &str) -> Option<u32> {
        self.devices.iter().find(|(of, _)| of == name).map(|(_, number)| *number)
    }

    fn name_of(&self, number: u32) -> Option<&str> {
        self.devices.iter().find(|(_, of)| *of == number).map(|(name, _)| name.as_str())
    }

    /// How a destination is reached: by the device that is named, or by the route.
    fn reach(&self, address: IpAddr, device: Option<&str>) -> Result<Reach, Failure> {
        let mut to = Destination::new(address);
        if let Some(name) = device {
            let known = self.devices.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
            to.interface = self.device(name).ok_or_else(|| {
                Failure::Usage(format!("there is no device {name} for {address}: write one of {known}"))
            })?;
        }
        let Some(machine) = &self.machine else {
            return Ok(Reach { to, given: None, local: is_local(&to, &self.sources) });
        };
        let Some(path) = machine.path(address, to.interface)? else {
            to.unreachable = true;
            return Ok(Reach { to, given: None, local: false });
        };
        // An address of this machine is one of its own device, and by the route of the loopback device.
        if !path.local {
            to.interface = path.interface;
        }
        // The kernel chooses IPv4 sources by the route.
        Ok(Reach { to, given: path.source.filter(IpAddr::is_ipv4), local: path.local })
    }
}

/// See [`Host::reach`].
struct Reach {
    to: Destination,
    /// The source that the route gives.
    given: Option<IpAddr>,
    /// It is this machine itself.
    local: bool,
}

pub(crate) fn run(args: &Args) -> Result<Status, Failure> {
    let host = Host::new(args)?;
    let [by_source, by_destination] = tables(args, &host)?;
    let policy = |rows| {
        let old = args.policy == "rfc3484";
        Policy { private_is_site_local: old, prefers_temporary: !old && !args.public, ..Policy::new(rows) }
    };
    let mut all = Vec::new();
    for text in &args.destinations {
        let asked = addresses(text)?;
        if let (Some(from), Some(one)) = (args.from, asked.first())
            && asked.iter().all(|one| one.address.is_ipv4() != from.is_ipv4())
        {
            return Err(not_from(one.address, from));
        }
        for Asked { address, device, name } in asked {
            let Reach { mut to, given, local } = host.reach(address, device.as_deref())?;
            let mut policy = policy(&by_source);
            if let (Some(machine), "system", false) = (&host.machine, args.policy.as_str(), args.public) {
                policy.prefers_temporary = machine.prefers_temporary(host.name_of(to.interface));
            }
            let candidates = host.sources.iter().copied().chain(loopback_source(&to, &host.sources));
            let choice = match args.from {
                // Of a name with addresses of both versions; who binds a socket to it cannot get there.
                Some(from) if from.is_ipv4() != address.is_ipv4() => None,
                Some(from) => {
                    let source = policy.given_source(&to, candidates, from).map_err(|_| not_from(address, from))?;
                    policy.choose_source(&to, [source])
                }
                None => policy
                    .choose_source(&to, candidates.filter(|source| given.is_none_or(|given| source.address == given))),
            };
            to.source = choice.map(|choice| choice.source);
            // Where no device is named, it is that of the source.
            let by = if to.interface == 0 { to.source.map_or(0, |source| source.interface) } else { to.interface };
            to.interface = by;
            to.encapsulated = !local && by != 0 && address.is_ipv6() && host.tunnels.contains(&by);
            // Two names may have the same address.
            if all.iter().all(|other: &Candidate| other.to != to) {
                let device = if local { Some(LOOPBACK) } else { host.name_of(to.interface) }.map(str::to_owned);
                all.push(Candidate { to, choice, name, device, local });
            }
        }
    }
    print(args.json, &order(&policy(&by_destination), all))
}

/// SEL-19: never another one instead.
fn not_from(to: IpAddr, from: IpAddr) -> Failure {
    Failure::Usage(format!(
        "cannot send to {to} from {from}: it is no unicast address of the host that can be used there; give one that it has"
    ))
}

/// A destination as it was asked for.
struct Asked {
    address: IpAddr,
    device: Option<String>,
    name: Option<String>,
}

/// The addresses that an argument stands for.
fn addresses(text: &str) -> Result<Vec<Asked>, Failure> {
    let (address, device) = split_device(text);
    if let Ok(address) = address.parse() {
        return Ok(vec![Asked { address, device, name: None }]);
    }
    let found = (text, 0).to_socket_addrs().map_err(|error| {
        Failure::Refused(format!("cannot look up {text}: {error}; give an address, or a name that exists"))
    })?;
    let mut all: Vec<Asked> = Vec::new();
    for address in found.map(|found| found.ip()) {
        // One for each kind of socket.
        if all.iter().all(|other| other.address != address) {
            all.push(Asked { address, device: None, name: Some(text.to_owned()) });
        }
    }
    Ok(all)
}

/// The rows for sources, and those for destinations.
fn tables(args: &Args, host: &Host) -> Result<[Vec<PolicyRow>; 2], Failure> {
    let both = |rows: Vec<PolicyRow>| [rows.clone(), rows];
    let tables = match args.policy.as_str() {
        "rfc6724" => both(RFC6724.to_vec()),
        "rfc3484" => both(RFC3484.to_vec()),
        "system" => Machine::tables()?,
        path => {
            let text = text_file::read(Path::new(path)).map_err(|error| {
                Failure::Usage(format!(
                    "reading {path}: {error}; give rfc6724, rfc3484, system or a file like gai.conf"
                ))
            })?;
            both(GaiConf::new(&text).rows())
        }
    };
    if !args.site_rows {
        return Ok(tables);
    }
    let full = |error| Failure::Usage(format!("{}: {error}", args.policy));
    let [sources, destinations] = tables.map(|rows| {
        let mut table = PolicyTable::<256>::new(&rows).map_err(full)?;
        host.sources.iter().try_for_each(|source| table.add_site_of(source.address)).map_err(full)?;
        Ok::<_, Failure>(table.rows().to_vec())
    });
    Ok([sources?, destinations?])
}

/// One destination; `null` for what there is none of, as a rule behind the last.
#[derive(Serialize)]
struct Line<'a> {
    rank: usize,
    destination: IpAddr,
    name: Option<&'a str>,
    source: Option<IpAddr>,
    rule: Option<&'static str>,
    why: Option<&'static str>,
    source_rule: Option<&'static str>,
    source_why: Option<&'static str>,
    dev: Option<&'a str>,
    tunnel: bool,
    local: bool,
}

impl<'a> Line<'a> {
    fn of(placed: &'a Placed) -> Self {
        let Candidate { to, choice, name, device, local } = &placed.of;
        Line {
            rank: placed.rank,
            destination: to.address,
            name: name.as_deref(),
            source: choice.map(|choice| choice.source.address),
            rule: placed.rule.map(|rule| rule.number()),
            why: placed.rule.map(|rule| rule.as_str()),
            source_rule: choice.map(|choice| choice.rule.number()),
            source_why: choice.map(|choice| choice.rule.as_str()),
            dev: device.as_deref(),
            tunnel: to.encapsulated,
            local: *local,
        }
    }
}

fn print(json: bool, all: &[Placed]) -> Result<Status, Failure> {
    let mut out = std::io::BufWriter::new(output::answer());
    for placed in all {
        if json {
            serde_json::to_writer(&mut out, &Line::of(placed)).map_err(std::io::Error::from)?;
            writeln!(out)?;
        } else {
            writeln!(out, "{placed}")?;
        }
    }
    out.flush()?;
    Ok(Status::Done)
}
