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
mod tests {
    use super::*;
    use crate::resolve::{Records, Steps as Switches};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    const ROUTER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
    const OTHER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 10);

    /// A DNS of a few lines; a name that is not there does not exist.
    #[derive(Default)]
    struct Zone {
        names: HashMap<&'static str, Result<(Vec<Ipv4Addr>, u64), Failure>>,
        asked: Vec<String>,
    }

    impl Zone {
        fn has(&mut self, name: &'static str, addresses: &[Ipv4Addr], ttl: u64) {
            self.names.insert(name, Ok((addresses.to_vec(), ttl)));
        }

        fn fails(&mut self, name: &'static str, failure: Failure) {
            self.names.insert(name, Err(failure));
        }
    }

    impl AddressLookup for Zone {
        fn addresses(&mut self, name: &Name, _: &ResolvConf, _: Instant) -> Result<Records, Failure> {
            assert!(name.is_absolute());
            self.asked.push(name.to_string());
            let answer = self.names.get(name.as_str()).cloned();
            let (addresses, ttl) = answer.unwrap_or(Err(Failure::NoSuchName))?;
            let ttl = Duration::from_secs(ttl);
            Ok(Records { addresses, ttl })
        }
    }

    /// Files of this test alone, gone with it.
    struct Files(PathBuf);

    impl Files {
        fn new(hosts: &str, resolver: &str, host_name: &str) -> Files {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("isatap-lookup-{}-{next}", std::process::id());
            let files = Files(std::env::temp_dir().join(name));
            std::fs::create_dir_all(&files.0).unwrap();
            files.write("hosts", hosts);
            files.write("resolv.conf", resolver);
            files.write("hostname", host_name);
            files
        }

        fn write(&self, file: &str, text: &str) {
            std::fs::write(self.0.join(file), text).unwrap();
        }

        fn settings(&self, routers: &[&str]) -> Settings {
            Settings {
                routers: routers.iter().map(|text| text.parse().unwrap()).collect(),
                hosts_file: self.0.join("hosts"),
                resolver_file: self.0.join("resolv.conf"),
                host_name_file: self.0.join("hostname"),
                ..Settings::default()
            }
        }

        fn lookup(&self, routers: &[&str]) -> Lookup<Zone> {
            Lookup::with_client(self.settings(routers), Zone::default())
        }
    }

    impl Drop for Files {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn site() -> Files {
        Files::new("", "search example.com example.net\n", "host\n")
    }

    #[test]
    fn nam_1_the_steps_are_taken_in_order_and_the_first_hit_ends_them() {
        let files = Files::new("10.0.0.2 isatap\n", "search example.com\n", "ISATAP.example.com\n");
        let mut settings = files.settings(&[]);
        settings.own_addresses = true;
        let locators = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 2)];
        let resolve = |steps: Switches| {
            let settings = Settings { steps, ..settings.clone() };
            let mut lookup = Lookup::with_client(settings, Zone::default());
            lookup.dns.has("isatap.example.com", &[ROUTER], 60);
            let answer = lookup.resolve(&locators);
            (answer.map(|a| (a.addresses, a.ttl, a.sources)), lookup.dns.asked)
        };
        let mut steps = Switches::default();
        let (answer, asked) = resolve(steps);
        assert_eq!(answer, Ok((locators.to_vec(), None, vec![Source::LocalHostName])));
        assert!(asked.is_empty());

        steps.local_host_name = false;
        let (answer, asked) = resolve(steps);
        let listed = Ipv4Addr::new(10, 0, 0, 2);
        assert_eq!(answer, Ok((vec![listed], None, vec![Source::HostsFile])));
        assert!(asked.is_empty());

        steps.hosts_file = false;
        let (answer, asked) = resolve(steps);
        let name = "isatap.example.com.".parse().unwrap();
        let ttl = Some(Duration::from_secs(60));
        assert_eq!(answer, Ok((vec![ROUTER], ttl, vec![Source::Dns { name }])));
        assert_eq!(asked, ["isatap.example.com."]);

        steps.dns = false;
        assert_eq!(resolve(steps), (Err(Failure::NoSuchName), vec![]));
    }

    #[test]
    fn nam_1_a_step_without_a_usable_address_is_no_hit() {
        let files = Files::new("127.0.0.1 isatap\n224.0.0.1 isatap\n", "search example.com\n", "isatap\n");
        let mut lookup = files.lookup(&[]);
        lookup.dns.has("isatap.example.com", &[ROUTER], 60);
        // Called `isatap`, but a host: its own address is no router (ISA-25).
        let own = Ipv4Addr::new(192, 0, 2, 1);
        let answer = lookup.resolve(&[own]).unwrap();
        assert_eq!(answer.addresses, [ROUTER]);
        assert_eq!(
            answer.refused,
            [
                (own, Unusable::Own),
                (Ipv4Addr::LOCALHOST, Unusable::Loopback),
                (Ipv4Addr::new(224, 0, 0, 1), Unusable::Multicast),
            ]
        );
    }

    #[test]
    fn nam_2_nam_4_a_manual_list_mixes_addresses_and_names() {
        let files = Files::new(
            "10.0.0.3 gateway\n",
            "search example.com\n",
            // The host's name counts for the automatic list only.
            "isatap\n",
        );
        let mut lookup = files.lookup(&["10.0.0.10", "isatap", "gateway", "da.example.net", "10.0.0.1"]);
        lookup.dns.has("isatap.example.com", &[ROUTER, OTHER], 300);
        lookup.dns.has("da.example.net", &[Ipv4Addr::new(10, 0, 0, 4)], 60);
        let answer = lookup.resolve(&[Ipv4Addr::new(192, 0, 2, 1)]).unwrap();
        let expected: Vec<Ipv4Addr> = [10, 1, 3, 4].map(|n| [10, 0, 0, n].into()).to_vec();
        assert_eq!(answer.addresses, expected);
        assert_eq!(answer.ttl, Some(Duration::from_secs(60)), "ISA-22: the smallest");
        assert_eq!(answer.sources.len(), 5);
        assert!(answer.unresolved.is_empty());
    }

    #[test]
    fn nam_3_the_legacy_name_comes_after_the_first_failed() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        lookup.dns.has("_isatap.example.net", &[ROUTER], 60);
        assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
        lookup.settings.legacy_name = true;
        lookup.dns.asked.clear();
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
        assert_eq!(
            lookup.dns.asked,
            ["isatap.example.com.", "isatap.example.net.", "_isatap.example.com.", "_isatap.example.net."]
        );
        // What one name failed at is not forgotten for the other's absence.
        lookup.dns = Zone::default();
        lookup.dns.fails("isatap.example.com", Failure::ServerFailure);
        assert_eq!(lookup.resolve(&[]), Err(Failure::ServerFailure));
    }

    #[test]
    fn nam_5_static_answers_have_no_ttl() {
        let files = site();
        let answer = files.lookup(&["10.0.0.1"]).resolve(&[]).unwrap();
        assert_eq!((answer.ttl, answer.sources), (None, vec![Source::Static]));
    }

    #[test]
    fn nam_6_each_refresh_takes_the_full_order_again() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        lookup.dns.has("isatap.example.com", &[ROUTER], 60);
        lookup.dns.has("isatap.example.org", &[OTHER], 60);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
        files.write("resolv.conf", "search example.org\n");
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [OTHER]);
        files.write("hosts", "10.0.0.3 isatap\n");
        let answer = lookup.resolve(&[]).unwrap();
        assert_eq!(answer.addresses, [Ipv4Addr::new(10, 0, 0, 3)]);
        assert_eq!(answer.sources, [Source::HostsFile]);
    }

    #[test]
    fn nam_10_the_domain_of_the_host_is_the_suffix_where_no_other_is_named() {
        let files = Files::new("", "", "host.corp.example.com\n");
        let mut lookup = files.lookup(&[]);
        assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
        assert_eq!(lookup.dns.asked, ["isatap.corp.example.com."]);
        lookup.settings.devolution = true;
        lookup.dns.asked.clear();
        assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
        assert_eq!(lookup.dns.asked, ["isatap.corp.example.com.", "isatap.example.com."]);
        lookup.settings.search = Some(vec!["example.org".parse().unwrap()]);
        lookup.settings.devolution = false;
        lookup.dns.asked.clear();
        assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
        assert_eq!(lookup.dns.asked, ["isatap.example.org."]);
    }

    #[test]
    fn a_whole_name_in_the_hosts_file_counts_too() {
        let files = Files::new("10.0.0.1 isatap.example.net\n", "search example.com example.net\n", "");
        let mut lookup = files.lookup(&[]);
        lookup.dns.has("isatap.example.com", &[OTHER], 60);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
    }

    #[test]
    fn isa_24_one_suffix_that_fails_is_not_an_absence() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        lookup.dns.fails("isatap.example.com", Failure::ServerFailure);
        let failure = lookup.resolve(&[]).unwrap_err();
        assert_eq!(failure, Failure::ServerFailure);
        assert!(failure.keeps_routers());
        assert_eq!(lookup.dns.asked.len(), 2);
        // A later suffix may still answer.
        lookup.dns.has("isatap.example.net", &[ROUTER], 60);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
    }

    #[test]
    fn isa_24_silent_servers_are_not_asked_for_every_suffix() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        lookup.dns.fails("isatap.example.com", Failure::Timeout);
        lookup.dns.has("isatap.example.net", &[ROUTER], 60);
        assert_eq!(lookup.resolve(&[]), Err(Failure::Timeout));
        assert_eq!(lookup.dns.asked, ["isatap.example.com."]);
    }

    #[test]
    fn isa_24_a_name_that_fails_keeps_its_addresses_beside_others() {
        let files = site();
        let mut lookup = files.lookup(&["10.0.0.10", "isatap"]);
        lookup.dns.has("isatap.example.com", &[ROUTER], 3600);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [OTHER, ROUTER]);

        lookup.dns.fails("isatap.example.com", Failure::Timeout);
        // Retried early, and later each time up to the refresh interval.
        for seconds in [30, 60, 120, 240, 480, 960, 1920, 3600, 3600] {
            let answer = lookup.resolve(&[]).unwrap();
            assert_eq!(answer.addresses, [OTHER, ROUTER]);
            assert_eq!(answer.ttl, Some(Duration::from_secs(seconds)));
            let name: Name = "isatap".parse().unwrap();
            assert_eq!(answer.unresolved, [(name.clone(), Failure::Timeout)]);
            assert_eq!(answer.sources[1], Source::Earlier { name });
        }
        // The address became our own meanwhile.
        assert_eq!(lookup.resolve(&[ROUTER]).unwrap().addresses, [OTHER]);

        // A definite no removes them, and for good.
        lookup.dns = Zone::default();
        let answer = lookup.resolve(&[]).unwrap();
        assert_eq!((answer.addresses, answer.ttl), (vec![OTHER], None));
        lookup.dns.fails("isatap.example.com", Failure::Timeout);
        let answer = lookup.resolve(&[]).unwrap();
        assert_eq!(answer.addresses, [OTHER]);
        assert_eq!(answer.ttl, Some(Duration::from_secs(30)), "counted anew");
    }

    #[test]
    fn isa_24_the_retry_comes_before_a_long_ttl_and_after_a_short_one() {
        let files = site();
        for (ttl, expected) in [(3600, 30), (10, 10)] {
            let mut lookup = files.lookup(&["isatap", "gateway"]);
            lookup.dns.has("isatap.example.com", &[ROUTER], ttl);
            lookup.dns.fails("gateway.example.com", Failure::ServerFailure);
            let answer = lookup.resolve(&[]).unwrap();
            assert_eq!(answer.addresses, [ROUTER]);
            assert_eq!(answer.ttl, Some(Duration::from_secs(expected)));
        }
    }

    #[test]
    fn isa_24_a_list_that_fails_as_a_whole_is_a_failure() {
        let files = site();
        let mut lookup = files.lookup(&["isatap", "gateway"]);
        lookup.dns.has("isatap.example.com", &[ROUTER], 3600);
        lookup.dns.has("gateway.example.com", &[OTHER], 3600);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER, OTHER]);
        lookup.dns.fails("isatap.example.com", Failure::Timeout);
        lookup.dns.fails("gateway.example.com", Failure::ServerFailure);
        assert_eq!(lookup.resolve(&[]), Err(Failure::ServerFailure));
        // Now the absence of one is certain: its router goes, the other's stays.
        lookup.dns.names.remove("gateway.example.com");
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
    }

    #[test]
    fn isa_24_a_file_that_cannot_be_read_is_a_failure() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        // A directory is there and cannot be read, also for root.
        lookup.settings.hosts_file = files.0.clone();
        assert!(matches!(lookup.resolve(&[]), Err(Failure::File(_))));
        lookup.dns.has("isatap.example.com", &[ROUTER], 60);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
        lookup.settings.resolver_file = files.0.clone();
        assert!(matches!(lookup.resolve(&[]), Err(Failure::File(_))));
        // An absent file is no failure.
        lookup.settings.hosts_file = files.0.join("absent");
        lookup.settings.resolver_file = files.0.join("absent");
        assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
    }

    #[test]
    fn isa_25_only_unusable_addresses_are_a_definite_answer() {
        let files = site();
        let mut lookup = files.lookup(&["127.0.0.1", "isatap"]);
        lookup.dns.has("isatap.example.com", &[ROUTER], 60);
        let failure = lookup.resolve(&[ROUTER]).unwrap_err();
        assert_eq!(failure, Failure::NoUsableAddress);
        assert!(!failure.keeps_routers());
        lookup.settings.own_addresses = true;
        assert_eq!(lookup.resolve(&[ROUTER]).unwrap().addresses, [ROUTER]);
    }

    /// Two routers whose texts contain each other, in both orders.
    #[test]
    fn isa_23_addresses_are_compared_whole() {
        let files = site();
        for routers in [["10.0.0.1", "10.0.0.10"], ["10.0.0.10", "10.0.0.1"]] {
            let answer = files.lookup(&routers).resolve(&[]).unwrap();
            let texts: Vec<String> = answer.addresses.iter().map(ToString::to_string).collect();
            assert_eq!(texts, routers);
        }
        // Nor does an own address take the longer one with it.
        let mut lookup = files.lookup(&["10.0.0.10", "10.0.0.1"]);
        assert_eq!(lookup.resolve(&[ROUTER]).unwrap().addresses, [OTHER]);
    }

    /// The net effect of the KAME script, without its removal of everything when the
    /// question fails.
    #[test]
    fn nam_50_duplicates_are_harmless_and_an_empty_answer_is_no_answer() {
        let files = site();
        let mut lookup = files.lookup(&[]);
        lookup.dns.has("isatap.example.com", &[ROUTER, OTHER, ROUTER], 60);
        assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER, OTHER]);
        lookup.dns.fails("isatap.example.com", Failure::Timeout);
        assert!(lookup.resolve(&[]).unwrap_err().keeps_routers());
    }
}
