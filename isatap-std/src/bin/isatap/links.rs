//! LINK-OPTIONS: links of a node on the command line, each `--link` with the
//! options behind it.

use std::error::Error;
use std::net::SocketAddrV4;
use std::str::FromStr;

use clap::{Arg, ArgAction, ArgMatches, Command};
use isatap_std::check::{AddressWithLength, IsatapOptions, LinkOptions, SixRdOptions, SixToFourOptions, TeredoOptions};

use crate::exit::{Failure, advice_on};

/// The links in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    links: Vec<Given>,
}

/// One `--link`.
#[derive(Clone, Debug, Default)]
struct Given {
    kind: String,
    options: Vec<(&'static str, String)>,
}

/// Options of links: name, what its value is, help.
const OPTIONS: [(&str, &str, &str); 11] = [
    ("local", "V4", "An IPv4 address of this node on the link; teredo: V4:PORT, as the capture shows the client"),
    ("router", "V4", "isatap: a potential router; repeat it for more"),
    ("prefix", "P/LEN", "isatap: an on-link prefix; repeat it for more. 6rd: the 6rd prefix"),
    ("v4-mask-len", "N", "6rd: how many upper IPv4 bits all customers share; 0 if left out"),
    ("br", "V4", "6rd: a border relay of the customer edge; to a border relay, a router that is no customer"),
    ("member", "V4/LEN", "isatap: an IPv4 prefix of the site, the only ones to be believed then (SEC-2)"),
    ("known-router", "V4", "isatap: another tunnel router, which is no host of a router's link (SEC-4)"),
    ("role", "ROLE", "isatap: host or router; 6to4: router or relay; 6rd: ce or br; the first is the default"),
    ("server", "V4", "teredo: the client's server, by its primary IPv4 address"),
    ("remote", "V4", "configured: the IPv4 address of the other end"),
    ("address", "P/LEN", "configured: an address of this node with its prefix length; repeat it for more"),
];

const KINDS: &str = "isatap, 6rd, 6to4, configured or teredo";

impl clap::Args for Links {
    fn augment_args(command: Command) -> Command {
        let link = Arg::new("link")
            .long("link")
            .value_name("KIND")
            .action(ArgAction::Append)
            .help("A link of the node: isatap, 6rd, 6to4, configured or teredo; the options behind it are its own");
        OPTIONS.iter().fold(command.arg(link), |command, &(name, value, help)| {
            command.arg(Arg::new(name).long(name).value_name(value).action(ArgAction::Append).help(help))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Links {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // Where each value stood on the command line.
        let mut given: Vec<(usize, &'static str, String)> = Vec::new();
        for name in std::iter::once("link").chain(OPTIONS.iter().map(|&(name, ..)| name)) {
            let places = matches.indices_of(name).into_iter().flatten();
            let values = matches.get_many::<String>(name).into_iter().flatten();
            given.extend(places.zip(values).map(|(place, value)| (place, name, value.clone())));
        }
        // With one link there is no doubt whose options they are, wherever they stand.
        let only_one = given.iter().filter(|(_, name, _)| *name == "link").count() == 1;
        given.sort_by_key(|&(place, name, _)| if only_one && name == "link" { 0 } else { place });
        let mut links: Vec<Given> = Vec::new();
        for (_, name, value) in given {
            if name == "link" {
                links.push(Given { kind: value, options: Vec::new() });
            } else if let Some(link) = links.last_mut() {
                link.options.push((name, value));
            } else {
                let message = format!("--{name} stands before the first --link: say first which link it belongs to\n");
                return Err(clap::Error::raw(clap::error::ErrorKind::ArgumentConflict, message));
            }
        }
        Ok(Links { links })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

impl Links {
    /// Whether there is a `--link`.
    pub(crate) fn are_given(&self) -> bool {
        !self.links.is_empty()
    }

    /// The links, their values read. `accept_bogons`: IPv4 addresses that are not global
    /// count as such, where that is asked.
    ///
    /// # Errors
    /// No link, an unknown one, a value that is not what it should be, an
    /// option of another kind of link or one that is missing.
    pub(crate) fn options(&self, accept_bogons: bool) -> Result<Vec<LinkOptions>, Failure> {
        if self.links.is_empty() {
            return Err(Failure::Usage(format!("no link is given: add --link {KINDS} and its options")));
        }
        self.links.iter().map(|link| link.read(accept_bogons)).collect()
    }
}

impl Given {
    fn read(&self, accept_bogons: bool) -> Result<LinkOptions, Failure> {
        match self.kind.as_str() {
            "isatap" => {
                self.only(&["local", "router", "prefix", "member", "known-router", "role"])?;
                let router = self.role("host", "router")?;
                self.required("local")?;
                Ok(LinkOptions::Isatap(IsatapOptions {
                    router,
                    locals: self.all("local")?,
                    routers: self.all("router")?,
                    prefixes: self.all("prefix")?,
                    members: self.all("member")?,
                    known_routers: self.all("known-router")?,
                }))
            }
            "configured" => {
                self.only(&["local", "remote", "address"])?;
                self.required("local")?;
                self.required("remote")?;
                let addresses: Vec<AddressWithLength> = self.all("address")?;
                Ok(LinkOptions::Configured {
                    local: self.one("local")?,
                    remote: self.one("remote")?,
                    addresses: addresses.into_iter().map(|address| address.0).collect(),
                })
            }
            "6rd" => {
                self.only(&["local", "prefix", "v4-mask-len", "br", "role"])?;
                self.required("local")?;
                self.required("prefix")?;
                Ok(LinkOptions::SixRd(SixRdOptions {
                    border_relay: self.role("ce", "br")?,
                    local: self.one("local")?,
                    prefix: self.one("prefix")?,
                    ipv4_mask_len: self.optional("v4-mask-len")?.unwrap_or(0),
                    relays: self.all("br")?,
                }))
            }
            "6to4" => {
                self.only(&["local", "role"])?;
                self.required("local")?;
                Ok(LinkOptions::SixToFour(SixToFourOptions {
                    relay: self.role("router", "relay")?,
                    locals: self.all("local")?,
                    accept_bogons,
                }))
            }
            "teredo" => {
                self.only(&["local", "server"])?;
                self.required("local")?;
                Ok(LinkOptions::Teredo(TeredoOptions {
                    local: self.endpoint("local")?,
                    server: self.one("server")?,
                    accept_bogons,
                }))
            }
            other => Err(Failure::Usage(format!("--link {other}: expected {KINDS}"))),
        }
    }

    /// Whether the role is the second of the two; the first is the default.
    fn role(&self, first: &str, second: &str) -> Result<bool, Failure> {
        match self.optional::<String>("role")? {
            None => Ok(false),
            Some(role) if role == first => Ok(false),
            Some(role) if role == second => Ok(true),
            Some(other) => Err(Failure::Usage(format!("--role {other}: expected {first} or {second}"))),
        }
    }

    /// An IPv4 address and a UDP port.
    fn endpoint(&self, name: &str) -> Result<SocketAddrV4, Failure> {
        let text: String = self.one(name)?;
        text.parse().map_err(|_| Failure::Usage(format!("--{name} {text}: expected V4:PORT, as 192.0.2.1:40000")))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value.as_str())
    }

    fn only(&self, allowed: &[&str]) -> Result<(), Failure> {
        match self.options.iter().find(|(name, _)| !allowed.contains(name)) {
            None => Ok(()),
            Some((name, _)) => Err(Failure::Usage(format!(
                "--{name} is no option of --link {}, which takes --{}",
                self.kind,
                allowed.join(", --")
            ))),
        }
    }

    fn required(&self, name: &str) -> Result<(), Failure> {
        match self.values(name).next() {
            Some(_) => Ok(()),
            None => Err(Failure::Usage(format!("--link {} needs --{name}", self.kind))),
        }
    }

    fn all<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<Vec<T>, Failure> {
        self.values(name).map(|value| read(name, value)).collect()
    }

    fn optional<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<Option<T>, Failure> {
        if self.values(name).nth(1).is_some() {
            return Err(Failure::Usage(format!("--{name} is given twice for --link {}", self.kind)));
        }
        self.values(name).next().map(|value| read(name, value)).transpose()
    }

    fn one<T: FromStr<Err: Error + 'static>>(&self, name: &str) -> Result<T, Failure> {
        self.optional(name)?.ok_or_else(|| Failure::Usage(format!("--link {} needs --{name}", self.kind)))
    }
}

fn read<T: FromStr<Err: Error + 'static>>(name: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|error: T::Err| {
        let advice = advice_on(value, name, &error).unwrap_or_else(|| error.to_string());
        Failure::Usage(format!("--{name} {value}: {advice}"))
    })
}
