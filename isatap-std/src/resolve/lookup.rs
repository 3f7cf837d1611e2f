//! One resolution: the list, the steps, the merging (NAM-1 to NAM-10, ISA-24, ISA-25).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::neighbors::{Links, Neighbors};
use super::netbios::{Cache, NetbiosName};
use super::{
    AddressLookup, Answer, Answered, Conflict, Discards, Entry, Failure, Heard, Name, ResolvConf, Settings, Source,
    Step, StubClient, SystemFile, Trial, Unusable, candidates, devolved, hosts, lmhosts,
};
use crate::text_file::{self, Unreadable};

/// The name that RFC 5214 §9 and the Windows hosts share.
pub(super) const NAME: &str = "isatap";
/// NAM-3.
const LEGACY_NAME: &str = "_isatap";
/// ISA-24: the first retry of a name that failed beside others that did not; doubled
/// each time.
const FIRST_RETRY: Duration = Duration::from_secs(30);
/// ISA-21: the default refresh interval bounds the doubling.
const LAST_RETRY: Duration = Duration::from_secs(3600);

/// Resolves the router list, blocking. It remembers what each name brought last, for
/// ISA-24 in lists of several names.
#[derive(Debug)]
pub struct Lookup<D = StubClient> {
    settings: Settings,
    dns: D,
    neighbors: Box<dyn Neighbors>,
    cache: Cache,
    earlier: HashMap<Name, Vec<Ipv4Addr>>,
    trials: Vec<Trial>,
    discards: Discards,
    /// Answers in a row that had to do without a name that failed.
    partial: u32,
}

impl Lookup {
    /// Looks up by [`StubClient`].
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Lookup::with_client(settings, StubClient::new())
    }
}

impl<D: AddressLookup> Lookup<D> {
    /// Looks up by a client of the caller's.
    #[must_use]
    pub fn with_client(settings: Settings, dns: D) -> Self {
        Lookup {
            settings,
            dns,
            neighbors: Box::new(Links),
            cache: Cache::default(),
            earlier: HashMap::new(),
            trials: Vec::new(),
            discards: Discards::default(),
            partial: 0,
        }
    }

    /// What each step said in the last resolution, in the order in which they were taken. Steps that
    /// are switched off, or came after the one that won, are not among them.
    #[must_use]
    pub fn trials(&self) -> &[Trial] {
        &self.trials
    }

    /// How many answers of neighbours and WINS servers were not used since the beginning, and why.
    #[must_use]
    pub fn discards(&self) -> &Discards {
        &self.discards
    }

    /// Resolves the whole list once, all steps from the start (NAM-6). `locators`: this
    /// host's own IPv4 addresses. It may take as long as [`Settings::deadline`] and the times of the
    /// other steps together.
    ///
    /// # Errors
    ///
    /// The weightiest [`Failure`] if there is no usable address;
    /// [`Failure::keeps_routers`] tells what becomes of the PRL.
    pub fn resolve(&mut self, locators: &[Ipv4Addr]) -> Result<Answer, Failure> {
        let entries = match self.settings.routers.as_slice() {
            [] => vec![Wanted::Automatic],
            entries => entries.iter().map(Wanted::from).collect(),
        };
        let mut steps = Steps {
            settings: &self.settings,
            dns: &mut self.dns,
            neighbors: &mut *self.neighbors,
            cache: &mut self.cache,
            discards: &mut self.discards,
            trials: Vec::new(),
            locators,
            system: System::read(&self.settings),
            deadline: Instant::now() + self.settings.deadline,
            refused: Vec::new(),
        };
        let mut merged = Merged::default();
        // Whether anything was decided, one way or the other.
        let mut decided = false;
        for wanted in entries {
            let (key, result) = match wanted {
                Wanted::Address(address) => {
                    decided = true;
                    match steps.usable(vec![address]) {
                        Ok(addresses) => merged.add(addresses, None, Source::Static),
                        Err(failure) => merged.fail(failure),
                    }
                    continue;
                }
                Wanted::Name(name) => {
                    let result = steps.listed(&name);
                    (name, result)
                }
                Wanted::Automatic => steps.automatic(),
            };
            match result {
                Ok(found) => {
                    decided = true;
                    self.earlier.insert(key, found.addresses.clone());
                    merged.add(found.addresses, found.ttl, found.source);
                }
                Err(failure) => {
                    merged.fail(failure);
                    if !failure.keeps_routers() {
                        decided = true;
                        self.earlier.remove(&key);
                    } else if let Some(addresses) = self.earlier.get(&key) {
                        // Own addresses may have changed since.
                        if let Ok(addresses) = steps.usable(addresses.clone()) {
                            let name = key.clone();
                            merged.add(addresses, None, Source::Earlier { name });
                        }
                    }
                    merged.unresolved.push((key, failure));
                }
            }
        }
        let refused = steps.refused;
        self.trials = steps.trials;
        let failure = merged.failure.unwrap_or(Failure::NoSuchName);
        // ISA-24: where nothing was decided the PRL stays, and the core counts the retries.
        if merged.found.is_empty() || !decided {
            self.partial = 0;
            return Err(failure);
        }
        let mut ttl = merged.ttl;
        if failure.keeps_routers() {
            let retry = FIRST_RETRY.saturating_mul(1 << self.partial.min(16)).min(LAST_RETRY);
            self.partial = self.partial.saturating_add(1);
            ttl = Some(ttl.map_or(retry, |ttl| ttl.min(retry)));
        } else {
            self.partial = 0;
        }
        // The list is bounded: a name with many addresses comes not before one with few.
        merged.found.sort_by_key(|(turn, ..)| *turn);
        let (addresses, address_sources) =
            merged.found.into_iter().map(|(_, address, source)| (address, source)).unzip();
        Ok(Answer { addresses, ttl, sources: merged.sources, address_sources, refused, unresolved: merged.unresolved })
    }
}

/// An entry of the list, or its absence.
enum Wanted {
    Address(Ipv4Addr),
    Name(Name),
    Automatic,
}

impl From<&Entry> for Wanted {
    fn from(entry: &Entry) -> Self {
        match entry {
            Entry::Address(address) => Wanted::Address(*address),
            Entry::Name(name) => Wanted::Name(name.clone()),
        }
    }
}

/// What the entries brought, put together.
#[derive(Default)]
struct Merged {
    /// Each with its number among those of its entry.
    found: Vec<(usize, Ipv4Addr, Source)>,
    seen: HashSet<Ipv4Addr>,
    ttl: Option<Duration>,
    sources: Vec<Source>,
    unresolved: Vec<(Name, Failure)>,
    failure: Option<Failure>,
}

impl Merged {
    fn add(&mut self, addresses: Vec<Ipv4Addr>, ttl: Option<Duration>, source: Source) {
        for (turn, address) in addresses.into_iter().enumerate() {
            if self.seen.insert(address) {
                self.found.push((turn, address, source.clone()));
            }
        }
        self.ttl = [self.ttl, ttl].into_iter().flatten().min();
        self.sources.push(source);
    }

    fn fail(&mut self, failure: Failure) {
        self.failure = self.failure.max(Some(failure));
    }
}

/// What the system says, read once for each resolution (NAM-6).
struct System {
    hosts: Result<String, Failure>,
    /// Empty unless a step reads it.
    lmhosts: Result<String, Failure>,
    conf: Result<ResolvConf, Failure>,
    host_name: String,
}

impl System {
    fn read(settings: &Settings) -> Self {
        let host_name = text_file::read_lossy(&settings.host_name_file).unwrap_or_default();
        let host_name = host_name.lines().next().unwrap_or_default().trim();
        let conf = read(&settings.resolver_file, SystemFile::Resolver);
        let mut conf = conf.map(|text| ResolvConf::parse(&text));
        if let Ok(conf) = &mut conf
            && conf.search.is_empty()
        {
            // The domain of this host is the primary suffix where no file names one.
            let domain = host_name.split_once('.').map(|(_, domain)| domain);
            conf.search.extend(domain.and_then(|d| d.parse().ok()));
        }
        // Settings that leave no question to the file make it dispensable.
        if let (Some(_), Some(_), Err(_)) = (&settings.nameservers, &settings.search, &conf) {
            conf = Ok(ResolvConf::default());
        }
        if let Ok(conf) = &mut conf {
            if let Some(nameservers) = &settings.nameservers {
                conf.nameservers.clone_from(nameservers);
            }
            if let Some(search) = &settings.search {
                conf.search.clone_from(search);
            }
            if settings.devolution {
                conf.search = devolved(&conf.search);
            }
        }
        let reads_lmhosts = settings.steps.iter().any(|step| matches!(step, Step::NetbiosCache | Step::Lmhosts));
        let lmhosts = if reads_lmhosts { read(&settings.lmhosts_file, SystemFile::Lmhosts) } else { Ok(String::new()) };
        let hosts = read(&settings.hosts_file, SystemFile::Hosts);
        System { hosts, lmhosts, conf, host_name: host_name.to_owned() }
    }
}

/// The text of a file; an absent one is empty. Octets that are not UTF-8 can only
/// spoil the line they are in, unless all of it is in another encoding.
fn read(path: &Path, file: SystemFile) -> Result<String, Failure> {
    match text_file::read_lossy(path) {
        Ok(text) => Ok(text),
        Err(Unreadable::Io(error)) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(Unreadable::Io(error)) => Err(Failure::File(file, error.kind())),
        Err(Unreadable::NotUtf8(wrong)) => Err(Failure::NotUtf8(file, wrong)),
    }
}

struct Found {
    addresses: Vec<Ipv4Addr>,
    ttl: Option<Duration>,
    source: Source,
    conflict: Option<Conflict>,
}

impl Found {
    fn without_ttl(addresses: Vec<Ipv4Addr>, source: Source) -> Self {
        Found { addresses, ttl: None, source, conflict: None }
    }
}

impl From<(Heard, Source)> for Found {
    fn from((heard, source): (Heard, Source)) -> Self {
        Found { addresses: heard.addresses, ttl: heard.ttl, source, conflict: None }
    }
}

/// The steps of NAM-1, for one resolution.
struct Steps<'l, D> {
    settings: &'l Settings,
    dns: &'l mut D,
    neighbors: &'l mut dyn Neighbors,
    cache: &'l mut Cache,
    discards: &'l mut Discards,
    trials: Vec<Trial>,
    locators: &'l [Ipv4Addr],
    system: System,
    deadline: Instant,
    refused: Vec<(Ipv4Addr, Unusable)>,
}

impl<D: AddressLookup> Steps<'_, D> {
    /// NAM-1 with the name `isatap`, then, if asked for, the legacy name (NAM-3). Only a
    /// convention: a manual list may have any name (NAM-4).
    fn automatic(&mut self) -> (Name, Result<Found, Failure>) {
        let key = known_name(NAME);
        let mut result = self.local_host_name().or_else(|_| self.listed(&key));
        if let (Err(failure), true) = (&result, self.settings.legacy_name) {
            let failure = *failure;
            result = self.listed(&known_name(LEGACY_NAME)).map_err(|legacy| legacy.max(failure));
        }
        (key, result)
    }

    fn takes(&self, step: Step) -> bool {
        self.settings.steps.contains(&step)
    }

    /// Step 1.
    fn local_host_name(&mut self) -> Result<Found, Failure> {
        let label = self.system.host_name.split('.').next().unwrap_or_default();
        if !self.takes(Step::HostName) {
            return Err(Failure::NoSuchName);
        }
        let own = if label.eq_ignore_ascii_case(NAME) { self.locators.to_vec() } else { Vec::new() };
        self.tried(Step::HostName, NAME, Ok(Found::without_ttl(own, Source::LocalHostName)))
    }

    /// Steps 2 to 8, those of a name in a manual list (NAM-2, which has 2 to 4: the NetBIOS steps are
    /// off, so whoever switches them on means them for the names that are listed too).
    fn listed(&mut self, name: &Name) -> Result<Found, Failure> {
        let candidates = match &self.system.conf {
            Ok(conf) => candidates(name, &conf.search, conf.ndots),
            Err(_) => Vec::new(),
        };
        let mut worst = Failure::NoSuchName;
        let mut has_dns_answered = false;
        for step in Step::ALL.into_iter().filter(|step| self.takes(*step)).collect::<Vec<_>>() {
            let netbios = || single_label(name).and_then(|label| NetbiosName::new(label, 0));
            let result = match step {
                Step::HostName => continue,
                Step::Hosts => self.hosts_file(name, &candidates),
                Step::Dns => self.dns(name, &candidates),
                // NAM-21: only where the DNS does not know the name.
                Step::Llmnr if has_dns_answered || single_label(name).is_none() => continue,
                Step::Llmnr => self.llmnr(name),
                Step::NetbiosCache | Step::Wins | Step::Broadcast | Step::Lmhosts => match netbios() {
                    Some(netbios) => self.netbios(step, name, &netbios),
                    None => continue,
                },
            };
            let failure = match result {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            has_dns_answered |= step == Step::Dns && failure == Failure::NoUsableAddress;
            worst = worst.max(failure);
        }
        Err(worst)
    }

    /// Notes what a step says, and takes what is usable of it.
    fn tried(&mut self, step: Step, name: &str, said: Result<Found, Failure>) -> Result<Found, Failure> {
        let conflict = said.as_ref().ok().and_then(|found| found.conflict.clone());
        let said = said.and_then(|found| match found {
            found if found.addresses.is_empty() => Err(Failure::NoSuchName),
            found if self.is_refused(&found) => Err(Failure::Conflict),
            found => Ok(found),
        });
        let addresses = said.as_ref().map(|found| found.addresses.clone()).map_err(|failure| *failure);
        self.trials.push(Trial { step, name: name.to_owned(), said: addresses, conflict });
        let found = said?;
        Ok(Found { addresses: self.usable(found.addresses)?, ..found })
    }

    /// NAM-23, NAM-33: whether it counts as none, since it is contradicted.
    fn is_refused(&self, found: &Found) -> bool {
        found.conflict.is_some() && self.settings.refuse_conflicts
    }

    /// Step 2. The whole names count too: Windows looks for each of them in the cache
    /// that the hosts file fills.
    fn hosts_file(&mut self, name: &Name, candidates: &[Name]) -> Result<Found, Failure> {
        let listed = self.system.hosts.as_ref().map_err(|failure| *failure).map(|text| {
            let mut all = [name].into_iter().chain(candidates).map(|name| hosts::addresses(text, name));
            all.find(|listed| !listed.is_empty()).unwrap_or_default()
        });
        self.tried(Step::Hosts, name.as_str(), listed.map(|listed| Found::without_ttl(listed, Source::HostsFile)))
    }

    /// Step 3: the first candidate with a usable address.
    fn dns(&mut self, name: &Name, candidates: &[Name]) -> Result<Found, Failure> {
        let conf = match self.system.conf.clone() {
            Ok(conf) => conf,
            Err(failure) => return self.tried(Step::Dns, name.as_str(), Err(failure)),
        };
        let mut worst = Failure::NoSuchName;
        for name in candidates {
            let found = self.dns.addresses(name, &conf, self.deadline).map(|records| Found {
                addresses: records.addresses,
                ttl: Some(records.ttl),
                source: Source::Dns { name: name.clone() },
                conflict: None,
            });
            let failure = match self.tried(Step::Dns, name.as_str(), found) {
                Ok(found) => return Ok(found),
                Err(failure) => failure,
            };
            worst = worst.max(failure);
            // Servers that keep silent would do so for the other suffixes too; one that
            // refuses a single zone may well know the next.
            if matches!(failure, Failure::Timeout | Failure::Unreachable) {
                break;
            }
        }
        Err(worst)
    }

    /// Step 4.
    fn llmnr(&mut self, name: &Name) -> Result<Found, Failure> {
        let found =
            self.neighbors.llmnr(name, self.discards).map(|Answered { heard, responder, interface, conflict }| {
                let source = Source::Llmnr { name: name.clone(), responder, interface };
                Found { conflict, ..(heard, source).into() }
            });
        self.tried(Step::Llmnr, name.as_str(), found)
    }

    /// Steps 5 to 8.
    fn netbios(&mut self, step: Step, name: &Name, netbios: &NetbiosName) -> Result<Found, Failure> {
        let now = Instant::now();
        let listed = |preloaded: bool| {
            let text = self.system.lmhosts.as_ref().map_err(|failure| *failure)?;
            Ok(lmhosts::addresses(text, netbios, preloaded))
        };
        let found = match step {
            Step::NetbiosCache => listed(true).map(|preloaded| match self.cache.known(now, netbios) {
                Some((addresses, left)) if preloaded.is_empty() => {
                    Found { ttl: Some(left), ..Found::without_ttl(addresses, Source::NetbiosCache) }
                }
                _ => Found::without_ttl(preloaded, Source::NetbiosCache),
            }),
            Step::Wins => {
                let heard = self.neighbors.wins(&self.settings.wins, netbios, self.discards);
                heard.map(|(heard, server)| (heard, Source::Wins { server })).map(Found::from)
            }
            Step::Broadcast => {
                let said = self.neighbors.broadcast(netbios, self.discards);
                said.map(|Answered { heard, interface, conflict, .. }| {
                    let source = Source::Broadcast { interface };
                    Found { conflict, ..(heard, source).into() }
                })
            }
            _ => listed(false).map(|listed| Found::without_ttl(listed, Source::Lmhosts)),
        };
        // NAM-33: not what is contested, or the next look-up would take it as if it were not.
        if let (Ok(found), Step::Wins | Step::Broadcast) = (&found, step)
            && found.conflict.is_none()
        {
            self.cache.remember(now, *netbios, &found.addresses, found.ttl);
        }
        self.tried(step, name.as_str(), found)
    }

    /// ISA-25. NAM-1 asks for *usable* addresses, so a step with nothing else is no hit.
    fn usable(&mut self, addresses: Vec<Ipv4Addr>) -> Result<Vec<Ipv4Addr>, Failure> {
        if addresses.is_empty() {
            return Err(Failure::NoSuchName);
        }
        let own = if self.settings.own_addresses { &[] } else { self.locators };
        let mut seen = HashSet::new();
        let mut usable = Vec::new();
        for address in addresses {
            if !seen.insert(address) {
                continue;
            }
            match Unusable::of(address, own) {
                None => usable.push(address),
                Some(reason) => self.refused.push((address, reason)),
            }
        }
        if usable.is_empty() {
            return Err(Failure::NoUsableAddress);
        }
        Ok(usable)
    }
}

/// What LLMNR and NetBIOS can be asked for: a name of one label that no dot has closed.
fn single_label(name: &Name) -> Option<&str> {
    (name.dots() == 0 && !name.is_absolute()).then(|| name.as_str())
}

fn known_name(label: &str) -> Name {
    label.parse().expect("a label of letters")
}

#[cfg(test)]
mod tests;
