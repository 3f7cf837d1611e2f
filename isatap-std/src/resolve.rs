//! Potential routers by name: from the settings, the hosts file and the DNS to
//! IPv4 addresses for the PRL.
//!
//! [`Resolver`] does the work on a thread of its own; [`Lookup`] is the same work,
//! blocking. The steps, in the order in which Windows hosts take them (NAM-1), each
//! switched on by [`Settings::steps`]:
//!
//! 1. the host itself is called `isatap`: its own IPv4 addresses,
//! 2. the hosts file,
//! 3. the DNS: an A question for the name in front of each suffix of the search list,
//! 4. LLMNR: the single label, asked of everybody on the links of this host,
//! 5. the NetBIOS name cache: lines of lmhosts with `#PRE`, and earlier answers of 6 and 7,
//! 6. WINS servers,
//! 7. NetBIOS broadcasts on the links of this host,
//! 8. the lmhosts file.
//!
//! The first step with a usable address wins. The files are read anew each time, so
//! a later entry of the hosts file, or another name server, holds from the next
//! refresh on (NAM-6); the daemon starts one when the resolver configuration changes.
//! Steps 4 to 8 are for single labels, the last four for those of at most 15 characters;
//! they are off unless they are asked for, and 4, 6 and 7 exist on Linux only. What
//! answered is in [`Answer::address_sources`], what each step said in [`Lookup::trials`].
//!
//! When to ask is not decided here: the host machine of isatap-core asks
//! (`Event::ResolveRouters`) and takes the answer, and with it the TTL (ISA-22) and
//! the difference between *failed* and *no such name* (ISA-24, [`Failure::keeps_routers`]).
//!
//! # Security
//!
//! Whoever answers for the name chooses the routers of this host. DNS answers are
//! not authenticated; a search list that leaves the site, and [`Settings::devolution`]
//! above all, hands the choice to strangers. LLMNR and NetBIOS hand it to everybody on the link: an
//! answer has to come from there, from the right port and with the identification of the question
//! ([`Discard`]), which whoever hears the question knows. A static address, or an absolute name in a
//! zone of the site, does not have this weakness.
//!
//! # The client of the DNS
//!
//! [`StubClient`] asks one question at a time over std's sockets. The crate `domain` reads and
//! writes the messages; servers, retries and aliases are ours, because the PRL needs more than
//! an address: the TTL of the whole chain, and *failed* apart from *no such name*. Another
//! client is an [`AddressLookup`].

mod client;
mod conflict;
mod discard;
pub mod hosts;
#[cfg(target_os = "linux")]
mod interfaces;
#[cfg(target_os = "linux")]
mod link_socket;
mod llmnr;
pub mod lmhosts;
mod lookup;
mod message;
mod name;
mod name_service;
mod neighbors;
mod netbios;
mod resolv_conf;
#[cfg(target_os = "linux")]
mod responder;
mod search;
mod step;
mod worker;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use isatap_core::isatap::ResolveFailure;

use crate::text_file::NotUtf8;

pub use self::client::StubClient;
#[cfg(all(target_os = "linux", any(feature = "dns-update", feature = "update-url")))]
pub(crate) use self::client::remaining;
#[cfg(all(target_os = "linux", feature = "dns-update"))]
pub(crate) use self::client::{exchange_tcp, first_answer, random_id};
pub use self::conflict::Conflict;
pub use self::discard::{Discard, Discards};
pub(crate) use self::llmnr::PORT as LLMNR_PORT;
pub use self::llmnr::{LlmnrReply, llmnr_reply};
pub use self::lookup::Lookup;
#[cfg(all(target_os = "linux", feature = "dns-update"))]
pub(crate) use self::message::{WireName, wire_name};
pub use self::name::{Entry, EntryError, Name, NameError};
pub use self::name_service::{NameService, NameServiceError};
pub use self::netbios::{NetbiosName, Reply as NetbiosReply, query as netbios_query, reply as netbios_reply};
pub use self::resolv_conf::ResolvConf;
#[cfg(target_os = "linux")]
pub(crate) use self::responder::Ending;
#[cfg(target_os = "linux")]
pub use self::responder::{Holding, LinkReport, Responder, ResponderReport, ResponderSettings};
pub use self::search::{candidates, devolved};
pub use self::step::{Step, StepError, Trial};
pub use self::worker::Resolver;

/// What to look up, where, and within which time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// The manual router list: addresses and names, mixed (ISA-20, NAM-2). Empty, the
    /// default: the name `isatap`.
    pub routers: Vec<Entry>,
    /// Which steps are taken; their order is always the same. [`Step::DEFAULT`] unless told
    /// otherwise.
    pub steps: Vec<Step>,
    /// The WINS servers, in the order in which they are asked.
    pub wins: Vec<Ipv4Addr>,
    /// Try `_isatap`, the name of Windows XP without a service pack, after `isatap`
    /// brought nothing (NAM-3). Off by default; no effect on a manual list.
    pub legacy_name: bool,
    /// Try the parents of the primary suffix too, down to two labels (NAM-10). Off by default.
    pub devolution: bool,
    /// The suffix list, instead of the one of the resolver configuration.
    pub search: Option<Vec<Name>>,
    /// The name servers, instead of those of the resolver configuration.
    pub nameservers: Option<Vec<SocketAddr>>,
    /// Take no address of a name about which machines of one link contradict each other (NAM-23, NAM-33):
    /// [`Failure::Conflict`]. Off by default: the first answer holds.
    pub refuse_conflicts: bool,
    /// Accept this host's own addresses: a router may list itself, a host may not
    /// (ISA-25). Off by default.
    pub own_addresses: bool,
    /// The hosts file; by default the system's.
    pub hosts_file: PathBuf,
    /// The resolver configuration; by default `/etc/resolv.conf`.
    pub resolver_file: PathBuf,
    /// The lmhosts file; by default Samba's, on Windows the system's.
    pub lmhosts_file: PathBuf,
    /// A file whose first line is the name of this host; by default Linux's
    /// `/proc/sys/kernel/hostname`. Where it is absent, the first step finds nothing.
    pub host_name_file: PathBuf,
    /// How long the DNS may take for one request, all names together; default 30 s. The other steps
    /// have the times of their RFCs: 3.3 s for LLMNR, 0.75 s for broadcasts, 15 s for a WINS server.
    pub deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let (hosts_file, lmhosts_file) = if cfg!(windows) {
            (r"C:\Windows\System32\drivers\etc\hosts", r"C:\Windows\System32\drivers\etc\lmhosts")
        } else {
            ("/etc/hosts", "/etc/samba/lmhosts")
        };
        Settings {
            routers: Vec::new(),
            steps: Step::DEFAULT.to_vec(),
            wins: Vec::new(),
            legacy_name: false,
            devolution: false,
            search: None,
            nameservers: None,
            refuse_conflicts: false,
            own_addresses: false,
            hosts_file: hosts_file.into(),
            lmhosts_file: lmhosts_file.into(),
            resolver_file: "/etc/resolv.conf".into(),
            host_name_file: "/proc/sys/kernel/hostname".into(),
            deadline: Duration::from_secs(30),
        }
    }
}

/// Routers that were found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Answer {
    /// The addresses, each once, in the order of the list and of the answers.
    /// Never empty; none of them is unusable (ISA-25).
    pub addresses: Vec<Ipv4Addr>,
    /// How long the answer holds: the smallest TTL of all records that took part
    /// (NAM-7). `None`: no record had one, the refresh interval alone counts (NAM-5).
    /// Zero: resolve before each solicitation (ISA-22).
    pub ttl: Option<Duration>,
    /// Where the addresses come from, one for each entry of the list that brought some.
    pub sources: Vec<Source>,
    /// Where each address comes from, in their order; of several entries that brought it,
    /// the first.
    pub address_sources: Vec<Source>,
    /// Addresses that were refused, and why.
    pub refused: Vec<(Ipv4Addr, Unusable)>,
    /// Names that brought no addresses this time. For those that *failed* (ISA-24), the
    /// addresses they had before are in `addresses`, and `ttl` calls for an early retry.
    pub unresolved: Vec<(Name, Failure)>,
}

/// Where an address was found.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// An address of the manual list.
    Static,
    /// This host is called `isatap`.
    LocalHostName,
    /// The hosts file.
    HostsFile,
    /// The DNS.
    Dns {
        /// The absolute name that was answered; it may be the start of a chain of aliases.
        name: Name,
    },
    /// LLMNR.
    Llmnr {
        /// The name that was asked for.
        name: Name,
        /// Who answered first.
        responder: Ipv4Addr,
        /// On which interface.
        interface: String,
    },
    /// The NetBIOS name cache: lmhosts with `#PRE`, or an earlier answer of WINS or a broadcast.
    NetbiosCache,
    /// WINS.
    Wins {
        /// The server that answered.
        server: Ipv4Addr,
    },
    /// A NetBIOS broadcast.
    Broadcast {
        /// On which interface.
        interface: String,
    },
    /// The lmhosts file.
    Lmhosts,
    /// An earlier answer for this name, kept because asking again failed (ISA-24).
    Earlier {
        /// The name as the list has it.
        name: Name,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Static => f.write_str("static"),
            Source::LocalHostName => f.write_str("local host name"),
            Source::HostsFile => f.write_str("hosts file"),
            Source::Dns { name } => write!(f, "dns {name}"),
            Source::Llmnr { name, responder, interface } => write!(f, "llmnr {name} from {responder} on {interface}"),
            Source::NetbiosCache => f.write_str("netbios cache"),
            Source::Wins { server } => write!(f, "wins {server}"),
            Source::Broadcast { interface } => write!(f, "netbios broadcast on {interface}"),
            Source::Lmhosts => f.write_str("lmhosts file"),
            Source::Earlier { name } => write!(f, "earlier answer for {name}"),
        }
    }
}

/// Why an address cannot be a potential router (ISA-25).
///
/// A subnet's directed broadcast address is not known here and passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Unusable {
    /// In 0.0.0.0/8.
    ThisNetwork,
    /// In 127.0.0.0/8.
    Loopback,
    /// In 224.0.0.0/4.
    Multicast,
    /// 255.255.255.255.
    Broadcast,
    /// One of this host's own.
    Own,
}

impl Unusable {
    /// The reason why `address` may not be in the PRL of a host with these locators;
    /// `None` if it may (ISA-25). A router that lists itself passes no locators.
    #[must_use]
    pub fn of(address: Ipv4Addr, locators: &[Ipv4Addr]) -> Option<Unusable> {
        if address.octets()[0] == 0 {
            Some(Unusable::ThisNetwork)
        } else if address.is_loopback() {
            Some(Unusable::Loopback)
        } else if address.is_multicast() {
            Some(Unusable::Multicast)
        } else if address.is_broadcast() {
            Some(Unusable::Broadcast)
        } else if locators.contains(&address) {
            Some(Unusable::Own)
        } else {
            None
        }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unusable::ThisNetwork => "in 0.0.0.0/8",
            Unusable::Loopback => "a loopback address",
            Unusable::Multicast => "a multicast address",
            Unusable::Broadcast => "the broadcast address",
            Unusable::Own => "an address of this host",
        })
    }
}

/// Why no router was found.
///
/// `Ord` is the order of importance when several names or suffixes failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// No name exists or has an IPv4 address: NXDOMAIN, empty answers, or no suffix
    /// to put behind a single label. The normal case of a network without ISATAP (NAM-9).
    NoSuchName,
    /// Addresses were found, and each of them is [`Unusable`].
    NoUsableAddress,
    /// A file that is there could not be read.
    File(SystemFile, io::ErrorKind),
    /// A file is in an encoding in which none of its lines can be read.
    NotUtf8(SystemFile, NotUtf8),
    /// No name server could be reached.
    Unreachable,
    /// No name server answered in time.
    Timeout,
    /// The answer was not a sound one: malformed, a chain of more than eight aliases, or a WINS server
    /// that only sends elsewhere or asks to wait.
    BadAnswer,
    /// The servers answered with an error: SERVFAIL, REFUSED and the like.
    ServerFailure,
    /// Machines of one link contradict each other ([`Settings::refuse_conflicts`]).
    Conflict,
    /// The thread of the resolver is gone.
    Stopped,
}

/// A file by which names are looked up. [`Settings`] has its path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum SystemFile {
    /// [`Settings::hosts_file`].
    Hosts,
    /// [`Settings::resolver_file`].
    Resolver,
    /// [`Settings::lmhosts_file`].
    Lmhosts,
}

impl fmt::Display for SystemFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SystemFile::Hosts => "the hosts file",
            SystemFile::Resolver => "resolv.conf",
            SystemFile::Lmhosts => "lmhosts",
        })
    }
}

impl Failure {
    /// ISA-24: whether the PRL stays as it is. `true`: the question failed and may be
    /// answered later. `false`: the answer is that there are no routers.
    #[must_use]
    pub fn keeps_routers(self) -> bool {
        !matches!(self, Failure::NoSuchName | Failure::NoUsableAddress)
    }

    /// NAM-9: whether this is worth no more than an information in a log.
    #[must_use]
    pub fn is_routine(self) -> bool {
        self == Failure::NoSuchName
    }

    /// NAM-9: what to tell someone who asks why there is no router.
    #[must_use]
    pub fn hint(self) -> Option<&'static str> {
        match self {
            Failure::NoSuchName => Some(
                "a Windows DNS server refuses to answer for `isatap` until the name is taken \
                 off its global query block list; a line in the hosts file, or a router given \
                 by address or by another name, works without that",
            ),
            Failure::NoUsableAddress => {
                Some("the name leads to this host itself or to addresses that no router can have")
            }
            Failure::Unreachable => {
                Some("check the `nameserver` lines of /etc/resolv.conf, and the network of this host")
            }
            Failure::File(_, io::ErrorKind::PermissionDenied) => Some(
                "a daemon that gave up its privileges reads no folder that came after its start, as that of a resolver: \
                 start isatap again",
            ),
            Failure::Conflict => Some(
                "isatap status names the machines: take the name from those that should not have it, or give the router \
                 by address",
            ),
            _ => None,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::NoSuchName => f.write_str("no such name, or no IPv4 address for it"),
            Failure::NoUsableAddress => f.write_str("no usable IPv4 address"),
            Failure::File(file, kind) => write!(f, "{file} cannot be read: {kind}"),
            Failure::NotUtf8(file, wrong) => write!(f, "{file} cannot be read: {wrong}"),
            Failure::Unreachable => f.write_str("no name server can be reached"),
            Failure::Timeout => f.write_str("no name server answered in time"),
            Failure::BadAnswer => f.write_str("the answer of the name server is not sound"),
            Failure::ServerFailure => f.write_str("the name server answered with an error"),
            Failure::Conflict => f.write_str("machines of one link contradict each other about the name"),
            Failure::Stopped => f.write_str("the resolver has stopped"),
        }
    }
}

impl std::error::Error for Failure {}

/// ISA-24: what the host machine makes of it.
impl From<Failure> for ResolveFailure {
    fn from(failure: Failure) -> Self {
        if failure.keeps_routers() { ResolveFailure::Unavailable } else { ResolveFailure::NoSuchName }
    }
}

/// The addresses that the DNS has for one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    /// As answered, unfiltered; not empty.
    pub addresses: Vec<Ipv4Addr>,
    /// The minimum over the addresses and the aliases that led to them (NAM-7).
    pub ttl: Duration,
}

/// What a neighbour or a WINS server says: not empty, unfiltered; a TTL of `None` is for ever.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Heard {
    addresses: Vec<Ipv4Addr>,
    ttl: Option<Duration>,
}

/// What everybody on a link was asked, and the first said, or those together that share a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Answered {
    heard: Heard,
    /// Who was first.
    responder: Ipv4Addr,
    interface: String,
    conflict: Option<Conflict>,
}

/// A client of the DNS: the third step, exchangeable.
pub trait AddressLookup: Send {
    /// The A records of the absolute name `name`, aliases followed, by the servers and
    /// within the times of `conf`, and not later than `deadline`. Blocks.
    ///
    /// # Errors
    ///
    /// [`Failure::NoSuchName`] if a server said so or had no A record; any other
    /// [`Failure`] if no server gave a sound answer.
    fn addresses(&mut self, name: &Name, conf: &ResolvConf, deadline: Instant) -> Result<Records, Failure>;
}

impl<T: AddressLookup + ?Sized> AddressLookup for Box<T> {
    fn addresses(&mut self, name: &Name, conf: &ResolvConf, deadline: Instant) -> Result<Records, Failure> {
        (**self).addresses(name, conf, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn isa_25_addresses_that_no_router_can_have() {
        let own = Ipv4Addr::new(10, 0, 0, 1);
        for (address, reason) in [
            ([0, 0, 0, 0], Some(Unusable::ThisNetwork)),
            ([0, 255, 255, 255], Some(Unusable::ThisNetwork)),
            ([1, 0, 0, 0], None),
            ([10, 0, 0, 1], Some(Unusable::Own)),
            ([10, 0, 0, 10], None),
            ([126, 255, 255, 255], None),
            ([127, 0, 0, 0], Some(Unusable::Loopback)),
            ([127, 255, 255, 255], Some(Unusable::Loopback)),
            ([128, 0, 0, 0], None),
            ([223, 255, 255, 255], None),
            ([224, 0, 0, 0], Some(Unusable::Multicast)),
            ([239, 255, 255, 255], Some(Unusable::Multicast)),
            ([240, 0, 0, 1], None),
            ([255, 255, 255, 254], None),
            ([255, 255, 255, 255], Some(Unusable::Broadcast)),
        ] {
            assert_eq!(Unusable::of(address.into(), &[own]), reason, "{address:?}");
        }
    }

    #[test]
    fn isa_24_only_a_definite_no_takes_routers_away() {
        assert!(!Failure::NoSuchName.keeps_routers());
        assert_eq!(ResolveFailure::from(Failure::NoSuchName), ResolveFailure::NoSuchName);
        assert_eq!(ResolveFailure::from(Failure::Timeout), ResolveFailure::Unavailable);
        assert!(!Failure::NoUsableAddress.keeps_routers());
        for failure in [
            Failure::File(SystemFile::Hosts, io::ErrorKind::PermissionDenied),
            Failure::Unreachable,
            Failure::Timeout,
            Failure::BadAnswer,
            Failure::ServerFailure,
            Failure::Conflict,
            Failure::Stopped,
        ] {
            assert!(failure.keeps_routers(), "{failure}");
            // What keeps the routers outweighs what does not.
            assert!(failure > Failure::NoUsableAddress);
        }
    }

    #[test]
    fn nam_9_no_such_name_is_routine_and_hints_at_the_block_list() {
        assert!(Failure::NoSuchName.is_routine());
        assert!(!Failure::Timeout.is_routine());
        let hint = Failure::NoSuchName.hint().unwrap();
        assert!(hint.contains("global query block list"), "{hint}");
    }

    #[test]
    fn a_file_that_may_not_be_read_is_named_with_what_to_do() {
        let failure = Failure::File(SystemFile::Resolver, io::ErrorKind::PermissionDenied);
        assert_eq!(failure.to_string(), "resolv.conf cannot be read: permission denied");
        assert!(failure.hint().unwrap().ends_with("start isatap again"));
    }
}
