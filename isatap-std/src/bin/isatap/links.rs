//! LINK-OPTIONS: links of a node on the command line, each `--link` with the options behind it.
//! They are those of the link's own command, and what a running node would have learned.

use std::net::SocketAddrV4;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};
use isatap_core::prefix::Ipv6Prefix;
use isatap_std::advice;
use isatap_std::check::Subject;
use isatap_std::resolve::Entry;
use isatap_std::spec::{Compatible, IsatapHost, IsatapRouter, LinkSpec, SixRd, SixToFour, TeredoClient, Tunnel};

use crate::exit::{self, Failure};

/// The links in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Links {
    links: Vec<Given>,
}

/// One `--link`.
#[derive(Clone, Debug, Default)]
struct Given {
    kind: String,
    /// Names and values; of a flag that is given, an empty one.
    options: Vec<(String, String)>,
}

/// The options that `--help` shows: name, what its value is, help.
const SHOWN: [(&str, &str, &str); 11] = [
    ("local", "V4", "An IPv4 address of this node on the link; teredo: V4:PORT, as the capture shows the client"),
    ("router", "V4", "isatap: a potential router; repeat it for more"),
    ("prefix", "P/LEN", "isatap: an on-link prefix; repeat it for more. 6rd: the 6rd prefix"),
    ("v4-mask-len", "N", "6rd: how many upper IPv4 bits all customers share; 0 if left out"),
    ("br", "V4", "6rd: a border relay of the customer edge"),
    ("member", "V4/LEN", "isatap: an IPv4 prefix of the site, the only ones to be believed then"),
    ("known-router", "V4", "isatap router, 6rd border relay: another tunnel router, which is none of its hosts"),
    (
        "role",
        "ROLE",
        "isatap: host or router; 6to4: host-router, router or relay; 6rd: ce or br; the first is the default",
    ),
    ("server", "V4", "teredo: the client's server, by its primary IPv4 address"),
    ("remote", "V4", "configured: the IPv4 address of the other end"),
    ("address", "P/LEN", "configured: an address of this node with its prefix length; repeat it for more"),
];

const KINDS: &str = "isatap, 6rd, 6to4, tunnel (a configured one), compatible or teredo";

/// Those of the command itself, and those that no packet is judged by.
const NOT_OF_LINKS: [&str; 9] =
    ["pcap", "accept-bogons", "dev", "metric", "secret-file", "port-mapping", "lan", "advertise-route", "dhcp-lease"];

/// The options of all links: the name, and whether it has a value.
fn options() -> Vec<(String, bool)> {
    let all = Command::new("");
    let all = [
        IsatapHost::augment_args(all.clone()),
        IsatapRouter::augment_args(all.clone()),
        Tunnel::augment_args(all.clone()),
        Compatible::augment_args(all.clone()),
        SixRd::augment_args(all.clone()),
        SixToFour::augment_args(all.clone()),
        TeredoClient::augment_args(all),
    ];
    let mut options: Vec<(String, bool)> = Vec::new();
    for argument in all.iter().flat_map(Command::get_arguments) {
        let Some(name) = argument.get_long() else { continue };
        if !NOT_OF_LINKS.contains(&name) && options.iter().all(|(known, _)| known != name) {
            options.push((name.to_owned(), argument.get_action().takes_values()));
        }
    }
    options
}

impl Args for Links {
    fn augment_args(command: Command) -> Command {
        let link = Arg::new("link")
            .long("link")
            .value_name("KIND")
            .action(ArgAction::Append)
            .help("A link of the node: isatap, 6rd, 6to4, configured (or tunnel) or teredo; the options behind it are its own");
        options().into_iter().fold(command.arg(link), |command, (name, has_value)| {
            let shown = SHOWN.iter().find(|(shown, ..)| *shown == name);
            let argument = Arg::new(name.clone()).long(name).action(ArgAction::Append).hide(shown.is_none());
            command.arg(match shown {
                Some((_, value, help)) => argument.value_name(*value).help(*help),
                None if has_value => argument,
                None => argument.num_args(0).default_missing_value(""),
            })
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Links {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        // Where each value stood on the command line.
        let mut given: Vec<(usize, String, String)> = Vec::new();
        for name in std::iter::once("link".to_owned()).chain(options().into_iter().map(|(name, _)| name)) {
            let places = matches.indices_of(&name).into_iter().flatten();
            let values = matches.get_many::<String>(&name).into_iter().flatten();
            given.extend(places.zip(values).map(|(place, value)| (place, name.clone(), value.clone())));
        }
        // With one link there is no doubt whose options they are, wherever they stand.
        let only_one = given.iter().filter(|(_, name, _)| *name == "link").count() == 1;
        given.sort_by_key(|(place, name, _)| if only_one && name == "link" { 0 } else { *place });
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
    pub(crate) fn subjects(&self, accept_bogons: bool) -> Result<Vec<Subject>, Failure> {
        if self.links.is_empty() {
            return Err(Failure::Usage(format!("no link is given: add --link {KINDS} and its options")));
        }
        let subjects = self.links.iter().map(|link| {
            let mut subject = link.read()?;
            if accept_bogons {
                subject.link.accept_bogons();
            }
            Ok(subject)
        });
        subjects.collect()
    }
}

/// What a running node would have learned, as options.
#[derive(clap::Args)]
struct OnLink {
    #[arg(long)]
    prefix: Vec<Ipv6Prefix>,
}

#[derive(clap::Args)]
struct Mapped {
    #[arg(long, value_name = "V4:PORT", value_parser = endpoint)]
    local: SocketAddrV4,
}

#[derive(clap::Args)]
struct Nothing {}

fn endpoint(text: &str) -> Result<SocketAddrV4, &'static str> {
    text.parse().map_err(|_| "expected V4:PORT, as 192.0.2.1:40000")
}

impl Given {
    fn read(&self) -> Result<Subject, Failure> {
        if self.kind == "isatap" && self.values("role").nth(1).is_some() {
            return Err(Failure::Usage("--role is given twice for --link isatap: keep one".to_owned()));
        }
        match self.kind.as_str() {
            "isatap" => match self.values("role").next() {
                None | Some("host") => {
                    let (host, learned): (IsatapHost, OnLink) = self.parse()?;
                    if let Some(Entry::Name(name)) = host.router.iter().find(|router| matches!(router, Entry::Name(_)))
                    {
                        let advice = advice::not_ipv4(&name.to_string());
                        return Err(Failure::Usage(format!("--link isatap: --router {name}: {advice}")));
                    }
                    let mut subject = Subject::from(LinkSpec::from(host));
                    subject.prefixes = learned.prefix;
                    Ok(subject)
                }
                Some("router") => self.alone::<IsatapRouter>(),
                Some(other) => Err(Failure::Usage(format!("--role {other}: expected host or router"))),
            },
            "configured" | "tunnel" => self.alone::<Tunnel>(),
            "compatible" => self.alone::<Compatible>(),
            "6rd" => self.alone::<SixRd>(),
            "6to4" => self.alone::<SixToFour>(),
            "teredo" => {
                let (client, learned): (TeredoClient, Mapped) = self.parse()?;
                let mut subject = Subject::from(LinkSpec::from(client));
                subject.mapped = Some(learned.local);
                Ok(subject)
            }
            other => Err(Failure::Usage(format!("--link {other}: expected {KINDS}"))),
        }
    }

    fn alone<S: Args + Into<LinkSpec>>(&self) -> Result<Subject, Failure> {
        let (link, Nothing {}): (S, Nothing) = self.parse()?;
        Ok(Subject::from(link.into()))
    }

    /// Reads the options as the link's command does, and those of what is learned.
    fn parse<S: Args, L: Args>(&self) -> Result<(S, L), Failure> {
        let command = Command::new("check").no_binary_name(true).disable_help_flag(true);
        let command = L::augment_args(S::augment_args(command));
        let names: Vec<&str> = command.get_arguments().filter_map(Arg::get_long).collect();
        // An ISATAP link says by it which of two commands is meant.
        let is_role = |name: &str| name == "role" && self.kind == "isatap";
        let given = || self.options.iter().filter(|(name, _)| !is_role(name));
        if let Some((name, _)) = given().find(|(name, _)| !names.contains(&name.as_str())) {
            let names: Vec<&str> = names.into_iter().filter(|name| !NOT_OF_LINKS.contains(name)).collect();
            let all = names.join(", --");
            let role = self.values("role").next().filter(|_| self.kind == "isatap");
            let link =
                format!("--link {}{}", self.kind, role.map(|role| format!(" --role {role}")).unwrap_or_default());
            return Err(Failure::Usage(format!("--{name} is no option of {link}, which takes --{all}")));
        }
        let written = given().map(|(name, value)| match value.as_str() {
            "" => format!("--{name}"),
            value => format!("--{name}={value}"),
        });
        let parsed = command.clone().try_get_matches_from(written.collect::<Vec<_>>());
        let parsed = parsed.and_then(|matches| Ok((S::from_arg_matches(&matches)?, L::from_arg_matches(&matches)?)));
        parsed.map_err(|error| Failure::Usage(format!("--link {}: {}", self.kind, exit::one_line(&error))))
    }

    fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.options.iter().filter(move |(given, _)| given == name).map(|(_, value)| value.as_str())
    }
}
