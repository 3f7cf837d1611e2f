use super::*;
use crate::resolve::{Discard, Records};
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
            lmhosts_file: self.0.join("lmhosts"),
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
    let resolve = |steps: &[Step]| {
        let settings = Settings { steps: steps.to_vec(), ..settings.clone() };
        let mut lookup = Lookup::with_client(settings, Zone::default());
        lookup.dns.has("isatap.example.com", &[ROUTER], 60);
        let answer = lookup.resolve(&locators);
        (answer.map(|a| (a.addresses, a.ttl, a.sources)), lookup.dns.asked)
    };
    // The order in which they are written says nothing.
    let (answer, asked) = resolve(&[Step::Dns, Step::Hosts, Step::HostName]);
    assert_eq!(answer, Ok((locators.to_vec(), None, vec![Source::LocalHostName])));
    assert!(asked.is_empty());

    let (answer, asked) = resolve(&[Step::Dns, Step::Hosts]);
    let listed = Ipv4Addr::new(10, 0, 0, 2);
    assert_eq!(answer, Ok((vec![listed], None, vec![Source::HostsFile])));
    assert!(asked.is_empty());

    let (answer, asked) = resolve(&[Step::Dns]);
    let name = "isatap.example.com.".parse().unwrap();
    let ttl = Some(Duration::from_secs(60));
    assert_eq!(answer, Ok((vec![ROUTER], ttl, vec![Source::Dns { name }])));
    assert_eq!(asked, ["isatap.example.com."]);

    assert_eq!(resolve(&[]), (Err(Failure::NoSuchName), vec![]));
}

/// Neighbours and servers that know some names.
#[derive(Debug, Default)]
struct Site {
    llmnr: Option<Ipv4Addr>,
    wins: Option<Ipv4Addr>,
    broadcast: Option<Ipv4Addr>,
    /// Another machine on the link that has the name.
    rival: Option<Ipv4Addr>,
    asked: std::sync::Arc<std::sync::Mutex<Vec<String>>>,
}

impl Site {
    fn ask(&self, what: String, known: Option<Ipv4Addr>, ttl: u64, discards: &mut Discards) -> Result<Heard, Failure> {
        self.asked.lock().unwrap().push(what);
        let address = known.ok_or_else(|| {
            discards.count(Discard::WrongId);
            Failure::NoSuchName
        })?;
        Ok(Heard { addresses: vec![address], ttl: Some(Duration::from_secs(ttl)) })
    }

    fn answered(&self, heard: Heard) -> Answered {
        let rival = self.rival.map(|rival| [(ROUTER, heard.addresses.clone()), (rival, vec![rival])]);
        let said = |rival: [(Ipv4Addr, Vec<Ipv4Addr>); 2]| {
            Conflict::between("eth0", rival.iter().map(|(from, addresses)| (*from, addresses.as_slice())))
        };
        Answered { conflict: rival.map(said), heard, responder: ROUTER, interface: "eth0".to_owned() }
    }
}

const SERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 53);

impl Neighbors for Site {
    fn llmnr(&mut self, name: &Name, discards: &mut Discards) -> Result<Answered, Failure> {
        let heard = self.ask(format!("llmnr {name}"), self.llmnr, 30, discards)?;
        Ok(self.answered(heard))
    }

    fn wins(
        &mut self,
        servers: &[Ipv4Addr],
        name: &NetbiosName,
        discards: &mut Discards,
    ) -> Result<(Heard, Ipv4Addr), Failure> {
        assert_eq!(servers, [SERVER]);
        Ok((self.ask(format!("wins {name}"), self.wins, 7200, discards)?, SERVER))
    }

    fn broadcast(&mut self, name: &NetbiosName, discards: &mut Discards) -> Result<Answered, Failure> {
        let heard = self.ask(format!("broadcast {name}"), self.broadcast, 300, discards)?;
        Ok(self.answered(heard))
    }
}

/// All steps for a list, what neighbours know, and lines of lmhosts; who was asked too.
fn with_all_steps(
    routers: &[&str],
    site: Site,
    lmhosts: &str,
) -> (Files, Lookup<Zone>, std::sync::Arc<std::sync::Mutex<Vec<String>>>) {
    let files = Files::new("", "search example.com\n", "host\n");
    files.write("lmhosts", lmhosts);
    let mut settings = files.settings(routers);
    (settings.steps, settings.wins) = (Step::ALL.to_vec(), vec![SERVER]);
    let asked = site.asked.clone();
    let mut lookup = Lookup::with_client(settings, Zone::default());
    lookup.neighbors = Box::new(site);
    (files, lookup, asked)
}

#[test]
fn nam_1_the_later_steps_are_taken_when_the_earlier_ones_know_nothing() {
    let address = |last| Ipv4Addr::new(10, 0, 0, last);
    let llmnr = Source::Llmnr { name: "isatap".parse().unwrap(), responder: ROUTER, interface: "eth0".to_owned() };
    let broadcast = Source::Broadcast { interface: "eth0".to_owned() };
    let (all, lines) =
        ([Some(address(4)), Some(address(6)), Some(address(7))], "10.0.0.5 isatap #PRE\n10.0.0.8 isatap");
    let second_line = "10.0.0.8 isatap";
    for (known, lmhosts, expected, source, steps) in [
        (all, lines, address(4), llmnr, 1),
        ([None, all[1], all[2]], lines, address(5), Source::NetbiosCache, 1),
        ([None, all[1], all[2]], second_line, address(6), Source::Wins { server: SERVER }, 2),
        ([None, None, all[2]], second_line, address(7), broadcast, 3),
        ([None, None, None], second_line, address(8), Source::Lmhosts, 3),
    ] {
        let [llmnr, wins, broadcast] = known;
        let site = Site { llmnr, wins, broadcast, ..Site::default() };
        let (_files, mut lookup, asked) = with_all_steps(&[], site, lmhosts);
        let answer = lookup.resolve(&[]).unwrap();
        assert_eq!((answer.addresses[0], &answer.sources[..]), (expected, &[source][..]));
        let order = ["llmnr isatap", "wins ISATAP<00>", "broadcast ISATAP<00>"];
        assert_eq!(asked.lock().unwrap().as_slice(), &order[..steps]);
    }
}

#[test]
fn nam_9_each_step_leaves_what_it_said_and_refused_answers_are_counted() {
    let site = Site { broadcast: Some(ROUTER), ..Site::default() };
    let (_files, mut lookup, _) = with_all_steps(&[], site, "");
    lookup.resolve(&[]).unwrap();
    let said: Vec<String> = lookup.trials().iter().map(ToString::to_string).collect();
    let none = "no such name, or no IPv4 address for it";
    assert_eq!(
        said,
        [
            format!("host-name isatap: {none}"),
            format!("hosts isatap: {none}"),
            format!("dns isatap.example.com: {none}"),
            format!("llmnr isatap: {none}"),
            format!("netbios-cache isatap: {none}"),
            format!("wins isatap: {none}"),
            "broadcast isatap: 10.0.0.1".to_owned(),
        ]
    );
    lookup.resolve(&[]).unwrap();
    assert_eq!(lookup.discards().iter().collect::<Vec<_>>(), [(Discard::WrongId, 3)]);
}

#[test]
fn nam_34_what_a_broadcast_has_answered_is_known_the_next_time() {
    let site = Site { broadcast: Some(ROUTER), ..Site::default() };
    let (_files, mut lookup, asked) = with_all_steps(&[], site, "");
    assert_eq!(lookup.resolve(&[]).unwrap().ttl, Some(Duration::from_secs(300)));
    let again = lookup.resolve(&[]).unwrap();
    assert_eq!(again.sources, [Source::NetbiosCache]);
    assert!(again.ttl.is_some_and(|ttl| ttl <= Duration::from_secs(300)), "{:?}", again.ttl);
    assert_eq!(asked.lock().unwrap().len(), 4, "LLMNR twice, WINS and the broadcast once");
}

#[test]
fn nam_6_a_line_of_hosts_that_comes_later_wins_over_neighbours() {
    let site = Site { llmnr: Some(ROUTER), ..Site::default() };
    let (files, mut lookup, _) = with_all_steps(&[], site, "");
    assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
    files.write("hosts", "10.0.0.10 isatap\n");
    assert_eq!(lookup.resolve(&[]).unwrap().addresses, [OTHER]);
}

#[test]
fn nam_23_nam_33_a_contradicted_answer_is_told_and_counts_as_none_where_that_is_asked_for() {
    let resolve = |refuse_conflicts| {
        let site = Site { llmnr: Some(ROUTER), broadcast: Some(ROUTER), rival: Some(OTHER), ..Site::default() };
        let (_files, mut lookup, _) = with_all_steps(&[], site, "");
        lookup.settings.refuse_conflicts = refuse_conflicts;
        let answers = [lookup.resolve(&[]), lookup.resolve(&[])].map(|said| said.map(|answer| answer.addresses));
        let contested =
            lookup.trials().iter().filter_map(|trial| Some((trial.step, trial.conflict.as_ref()?.to_string())));
        (answers, contested.collect::<Vec<_>>())
    };
    let conflict = "10.0.0.1 says 10.0.0.1; 10.0.0.10 says 10.0.0.10".to_owned();
    let first = Ok(vec![ROUTER]);
    assert_eq!(resolve(false), ([first.clone(), first], vec![(Step::Llmnr, conflict.clone())]));
    // Nothing of it is remembered: the second time goes no better.
    let contested = vec![(Step::Llmnr, conflict.clone()), (Step::Broadcast, conflict)];
    assert_eq!(resolve(true), ([Err(Failure::Conflict), Err(Failure::Conflict)], contested));
}

#[test]
fn nam_33_a_contested_answer_is_not_remembered_but_asked_for_again() {
    let site = Site { broadcast: Some(ROUTER), rival: Some(OTHER), ..Site::default() };
    let (_files, mut lookup, _) = with_all_steps(&[], site, "");
    for _ in 0..2 {
        lookup.resolve(&[]).unwrap();
        let last = lookup.trials().last().unwrap();
        assert!(last.step == Step::Broadcast && last.conflict.is_some(), "{last}");
    }
}

#[test]
fn nam_3_the_older_name_goes_through_all_steps_after_the_first() {
    let (_files, mut lookup, asked) = with_all_steps(&[], Site::default(), "10.0.0.1 _ISATAP\n");
    lookup.settings.legacy_name = true;
    assert_eq!(lookup.resolve(&[]).unwrap().sources, [Source::Lmhosts]);
    let asked = asked.lock().unwrap();
    assert_eq!(asked[..3], ["llmnr isatap", "wins ISATAP<00>", "broadcast ISATAP<00>"]);
    assert_eq!(asked[3..], ["llmnr _isatap", "wins _ISATAP<00>", "broadcast _ISATAP<00>"]);
}

#[test]
fn nam_21_llmnr_is_asked_for_single_labels_that_the_dns_does_not_know() {
    let asked_for = |router: &str, in_dns: &[Ipv4Addr]| {
        let site = Site { llmnr: Some(ROUTER), ..Site::default() };
        let (_files, mut lookup, asked) = with_all_steps(&[router], site, "");
        lookup.dns.has("router.example.com", in_dns, 60);
        let _ = lookup.resolve(&[]);
        let asked = asked.lock().unwrap().clone();
        asked.into_iter().filter(|asked| asked.starts_with("llmnr")).collect::<Vec<_>>()
    };
    assert_eq!(asked_for("gateway", &[]), ["llmnr gateway"]);
    assert!(asked_for("gateway.", &[]).is_empty());
    assert!(asked_for("gateway.example.net", &[]).is_empty());
    assert!(asked_for("router", &[OTHER]).is_empty());
    // The DNS has answered, whatever the answer is worth.
    assert!(asked_for("router", &[Ipv4Addr::LOCALHOST]).is_empty());
}

#[test]
fn nam_35_no_neighbour_is_asked_unless_it_is_asked_for() {
    let site = Site { llmnr: Some(ROUTER), wins: Some(ROUTER), broadcast: Some(ROUTER), ..Site::default() };
    let (_files, mut lookup, asked) = with_all_steps(&[], site, "10.0.0.1 isatap #PRE\n");
    lookup.settings.steps = Settings::default().steps;
    assert_eq!(lookup.resolve(&[]), Err(Failure::NoSuchName));
    assert!(asked.lock().unwrap().is_empty());
}

#[test]
fn isa_24_servers_that_keep_silent_keep_the_routers_whatever_neighbours_say() {
    let (_files, mut lookup, _) = with_all_steps(&[], Site::default(), "");
    lookup.dns.fails("isatap.example.com", Failure::Timeout);
    assert_eq!(lookup.resolve(&[]), Err(Failure::Timeout));
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
    assert!(matches!(lookup.resolve(&[]), Err(Failure::File(..))));
    lookup.dns.has("isatap.example.com", &[ROUTER], 60);
    assert_eq!(lookup.resolve(&[]).unwrap().addresses, [ROUTER]);
    lookup.settings.resolver_file = files.0.clone();
    assert!(matches!(lookup.resolve(&[]), Err(Failure::File(..))));
    // A hosts file of Windows Notepad, of which no line can be read; one byte of Latin-1 spoils its line alone.
    lookup.settings.resolver_file = files.0.join("resolv.conf");
    lookup.settings.hosts_file = files.0.join("hosts");
    let text = "10.0.0.1 isatap\n";
    let utf16: Vec<u8> = format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    std::fs::write(files.0.join("hosts"), utf16).unwrap();
    lookup.dns.names.clear();
    let refused = lookup.resolve(&[]).unwrap_err();
    assert_eq!(refused.to_string(), "the hosts file cannot be read: the file is UTF-16: save it as UTF-8");
    std::fs::write(files.0.join("hosts"), [b"# B\xfcro\n", text.as_bytes()].concat()).unwrap();
    assert_eq!(lookup.resolve(&[]).unwrap().addresses, [Ipv4Addr::new(10, 0, 0, 1)]);
    lookup.settings.resolver_file = files.0.clone();
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
