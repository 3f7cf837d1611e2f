use super::*;
use domain::base::iana::Class;
use domain::base::{Message, MessageBuilder, Record, StreamTarget, Ttl};
use domain::rdata::Aaaa;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

#[test]
fn names_are_within_their_zone() {
    let full = |name: Option<&str>| {
        let mut spec = DnsUpdate::new("example.com".parse().unwrap());
        spec.name = name.map(|name| name.parse().unwrap());
        full_name(&spec).map(|name| name.as_str().to_owned()).map_err(|error| error.to_string())
    };
    assert_eq!(full(Some("host")).unwrap(), "host.example.com");
    assert_eq!(full(Some("a.b")).unwrap(), "a.b.example.com");
    assert_eq!(full(Some("host.example.com.")).unwrap(), "host.example.com");
    assert_eq!(full(Some("example.com.")).unwrap(), "example.com");
    assert!(full(Some("host.example.org.")).unwrap_err().contains("is not within it"));
    assert!(full(Some("hostexample.com.")).unwrap_err().contains("is not within it"));
    let own = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let own = own.trim().split('.').next().unwrap().to_ascii_lowercase();
    assert_eq!(full(None).unwrap(), format!("{own}.example.com"));
}

/// What a server does with an update that it has applied.
#[derive(Clone, Copy, PartialEq)]
enum Then {
    Answers,
    HangsUp,
    IsSilent,
}

/// A server of one name, which judges prerequisites as RFC 2136 §2.4 says.
struct Server {
    address: SocketAddr,
    zone: Arc<Mutex<(BTreeSet<Ipv6Addr>, Then)>>,
}

impl Server {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let zone = Arc::new(Mutex::new((BTreeSet::new(), Then::Answers)));
        let shared = zone.clone();
        std::thread::spawn(move || {
            let mut silent = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let answer = Self::answer(&mut stream, &mut shared.lock().unwrap());
                match answer {
                    Some(answer) => stream.write_all(&answer).unwrap(),
                    None if shared.lock().unwrap().1 == Then::IsSilent => silent.push(stream),
                    None => {}
                }
            }
        });
        Self { address, zone }
    }

    fn answer(stream: &mut TcpStream, (records, then): &mut (BTreeSet<Ipv6Addr>, Then)) -> Option<Vec<u8>> {
        let mut length = [0; 2];
        stream.read_exact(&mut length).ok()?;
        let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
        stream.read_exact(&mut message).ok()?;
        let message = Message::from_octets(message).unwrap();
        let is_update = message.header().opcode() == domain::base::iana::Opcode::UPDATE;
        let mut rcode = Rcode::NOERROR;
        if is_update {
            let expected = message.answer().unwrap().limit_to_in::<Aaaa>().map(|record| record.unwrap().data().addr());
            if expected.collect::<BTreeSet<_>>() == *records {
                let wanted = message.authority().unwrap().limit_to_in::<Aaaa>();
                *records = wanted.map(|record| record.unwrap().data().addr()).collect();
            } else {
                rcode = Rcode::NXRRSET;
            }
        }
        if *then != Then::Answers {
            return None;
        }
        let builder = MessageBuilder::from_target(StreamTarget::new_vec()).unwrap();
        let mut answer = builder.start_answer(&message, rcode).unwrap();
        for address in records.iter().filter(|_| !is_update) {
            let question = message.sole_question().unwrap();
            answer.push(Record::new(question.qname(), Class::IN, Ttl::ZERO, Aaaa::new(*address))).unwrap();
        }
        Some(answer.finish().as_stream_slice().to_vec())
    }

    fn then(&self, then: Then) {
        self.zone.lock().unwrap().1 = then;
    }

    #[track_caller]
    fn wait_for(&self, records: &[Ipv6Addr]) {
        let begin = Instant::now();
        while !self.records().iter().eq(records) {
            assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", self.records());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn records(&self) -> BTreeSet<Ipv6Addr> {
        self.zone.lock().unwrap().0.clone()
    }

    fn updater(&self, memory: Option<&Path>) -> Updater {
        let mut spec = DnsUpdate::new("example.com".parse().unwrap());
        spec.name = Some("host".parse().unwrap());
        spec.server = Some(DnsServer::Address(self.address));
        Updater::start(&spec, memory.map(Ok), |_| ()).unwrap()
    }
}

const A: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xa);
const B: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xb);

#[test]
fn an_address_whose_update_was_not_answered_is_replaced_by_the_next() {
    let server = Server::start();
    let mut updater = server.updater(None);
    server.then(Then::HangsUp);
    updater.follow("isatap0", A, true);
    server.wait_for(&[A]);
    server.then(Then::Answers);
    updater.follow("isatap0", A, false);
    updater.follow("isatap0", B, true);
    server.wait_for(&[B]);
    // The server has done it before its answer is there.
    let begin = Instant::now();
    while updater.state().failure.is_some() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", updater.state().failure);
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn an_address_whose_update_was_not_answered_goes_at_the_end() {
    let server = Server::start();
    let mut updater = server.updater(None);
    server.then(Then::HangsUp);
    updater.follow("isatap0", A, true);
    server.wait_for(&[A]);
    server.then(Then::Answers);
    drop(updater);
    assert_eq!(server.records(), BTreeSet::new());
}

#[test]
fn an_address_is_on_disk_before_its_update_is_sent() {
    let folder = std::env::temp_dir().join(format!("isatap-dns-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("host.example.com.dns");
    let server = Server::start();
    let mut killed = server.updater(Some(&folder));
    server.then(Then::HangsUp);
    killed.follow("isatap0", A, true);
    server.wait_for(&[A]);
    let left = fs::read_to_string(&file).unwrap();
    assert_eq!(left, format!("{A}\n"));
    // It cannot remove anything, as if it were killed.
    drop(killed);
    assert_eq!(fs::read_to_string(&file).unwrap(), left);
    server.zone.lock().unwrap().0 = BTreeSet::from([A]);
    server.then(Then::Answers);
    let mut next = server.updater(Some(&folder));
    next.follow("isatap0", B, true);
    server.wait_for(&[B]);
    drop(next);
    assert_eq!(server.records(), BTreeSet::new());
    assert!(!file.exists());
    fs::remove_dir(folder).unwrap();
}

/// No address comes to the daemon after it.
#[test]
fn records_that_a_killed_daemon_left_go_without_new_ones() {
    let folder = std::env::temp_dir().join(format!("isatap-dns-left-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("host.example.com.dns"), format!("{A}\n")).unwrap();
    let server = Server::start();
    server.zone.lock().unwrap().0 = BTreeSet::from([A]);
    let _updater = server.updater(Some(&folder));
    server.wait_for(&[]);
    wait_until_gone(&folder.join("host.example.com.dns"));
    fs::remove_dir(folder).unwrap();
}

#[track_caller]
fn wait_until_gone(file: &Path) {
    let begin = Instant::now();
    while file.exists() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{}", file.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn records_of_another_stay_and_an_update_that_was_refused_is_not_remembered() {
    let server = Server::start();
    server.zone.lock().unwrap().0 = BTreeSet::from([A]);
    let mut updater = server.updater(None);
    updater.follow("isatap0", B, true);
    let begin = Instant::now();
    while updater.state().failure.is_none() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(updater.state().failure.unwrap().cause.contains(&format!("did not make ({A})")));
    drop(updater);
    assert_eq!(server.records(), BTreeSet::from([A]));
}

#[test]
fn the_end_cuts_an_attempt_short_and_removes_the_record() {
    let server = Server::start();
    let mut updater = server.updater(None);
    server.then(Then::IsSilent);
    updater.follow("isatap0", A, true);
    server.wait_for(&[A]);
    server.then(Then::Answers);
    let begin = Instant::now();
    drop(updater);
    assert_eq!(server.records(), BTreeSet::new());
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[test]
fn several_updaters_end_within_one_deadline() {
    let server = Server::start();
    let mut updaters: Vec<Updater> = (0..3).map(|_| server.updater(None)).collect();
    server.then(Then::IsSilent);
    updaters.iter_mut().for_each(|updater| updater.follow("isatap0", A, true));
    server.wait_for(&[A]);
    let begin = Instant::now();
    updaters.iter_mut().for_each(Updater::close);
    drop(updaters);
    assert!(begin.elapsed() < Duration::from_millis(4500), "{:?}", begin.elapsed());
}

/// All are closed before the first is waited for: what removes the records is under way then, and is not
/// cut again.
#[test]
fn an_updater_that_is_closed_before_it_is_dropped_waits_for_the_server() {
    const SLOW: Duration = Duration::from_millis(300);
    let server = Server::start();
    let mut updater = server.updater(None);
    updater.follow("isatap0", A, true);
    server.wait_for(&[A]);
    let held = server.zone.lock().unwrap();
    updater.close();
    std::thread::sleep(SLOW);
    let begin = Instant::now();
    let dropped = std::thread::spawn(move || {
        drop(updater);
        begin.elapsed()
    });
    std::thread::sleep(SLOW);
    drop(held);
    assert!(dropped.join().unwrap() >= SLOW / 2);
    assert_eq!(server.records(), BTreeSet::new());
}
