//! One resolution: the list, the steps, the merging (NAM-1 to NAM-10, ISA-24, ISA-25).

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{
    AddressLookup, Answer, Entry, Failure, Name, ResolvConf, Settings, Source, StubClient, Unusable, candidates,
    devolved, hosts,
};

/// The name that RFC 5214 §9 and the Windows hosts share.
const NAME: &str = "isatap";
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
    earlier: HashMap<Name, Vec<Ipv4Addr>>,
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
        Lookup { settings, dns, earlier: HashMap::new(), partial: 0 }
    }

    /// Resolves the whole list once, all steps from the start (NAM-6). `locators`: this
    /// host's own IPv4 addresses. Takes at most [`Settings::deadline`].
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
    conf: Result<ResolvConf, Failure>,
    host_name: String,
}

impl System {
    fn read(settings: &Settings) -> Self {
        let host_name = read(&settings.host_name_file).unwrap_or_default();
        let host_name = host_name.lines().next().unwrap_or_default().trim();
        let mut conf = read(&settings.resolver_file).map(|text| ResolvConf::parse(&text));
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
        System { hosts: read(&settings.hosts_file), conf, host_name: host_name.to_owned() }
    }
}

/// The text of a file; an absent one is empty. Octets that are not UTF-8 can only
/// spoil the line they are in.
fn read(path: &Path) -> Result<String, Failure> {
    match std::fs::read(path) {
        Ok(octets) => Ok(String::from_utf8_lossy(&octets).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Failure::File(error.kind())),
    }
}

struct Found {
    addresses: Vec<Ipv4Addr>,
    ttl: Option<Duration>,
    source: Source,
}

/// The steps of NAM-1, for one resolution.
struct Steps<'l, D> {
    settings: &'l Settings,
    dns: &'l mut D,
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

    /// Step 1.
    fn local_host_name(&mut self) -> Result<Found, Failure> {
        let label = self.system.host_name.split('.').next().unwrap_or_default();
        if !self.settings.steps.local_host_name || !label.eq_ignore_ascii_case(NAME) {
            return Err(Failure::NoSuchName);
        }
        Ok(Found { addresses: self.usable(self.locators.to_vec())?, ttl: None, source: Source::LocalHostName })
    }

    /// Steps 2 and 3, those of a name in a manual list (NAM-2).
    fn listed(&mut self, name: &Name) -> Result<Found, Failure> {
        let candidates = match &self.system.conf {
            Ok(conf) => candidates(name, &conf.search, conf.ndots),
            Err(_) => Vec::new(),
        };
        let hosts = self.hosts_file(name, &candidates);
        hosts.or_else(|failure| self.dns(&candidates).map_err(|dns| dns.max(failure)))
    }

    /// Step 2. The whole names count too: Windows looks for each of them in the cache
    /// that the hosts file fills.
    fn hosts_file(&mut self, name: &Name, candidates: &[Name]) -> Result<Found, Failure> {
        if !self.settings.steps.hosts_file {
            return Err(Failure::NoSuchName);
        }
        let text = self.system.hosts.as_ref().map_err(|failure| *failure)?;
        let mut listed = Vec::new();
        for name in [name].into_iter().chain(candidates) {
            listed = hosts::addresses(text, name);
            if !listed.is_empty() {
                break;
            }
        }
        Ok(Found { addresses: self.usable(listed)?, ttl: None, source: Source::HostsFile })
    }

    /// Step 3: the first candidate with a usable address.
    fn dns(&mut self, candidates: &[Name]) -> Result<Found, Failure> {
        if !self.settings.steps.dns {
            return Err(Failure::NoSuchName);
        }
        let conf = self.system.conf.clone()?;
        let mut worst = Failure::NoSuchName;
        for name in candidates {
            let result = self.dns.addresses(name, &conf, self.deadline);
            let failure = match result {
                Ok(records) => match self.usable(records.addresses) {
                    Ok(addresses) => {
                        return Ok(Found {
                            addresses,
                            ttl: Some(records.ttl),
                            source: Source::Dns { name: name.clone() },
                        });
                    }
                    Err(failure) => failure,
                },
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

fn known_name(label: &str) -> Name {
    label.parse().expect("a label of letters")
}

#[cfg(test)]
mod tests;
